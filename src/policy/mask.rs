//! What is left of a value that is masked or made wider. Each function says what it shows; nothing else of the value is in its answer.
//! `None`: nothing can be shown.

use crate::record::resident_id::ResidentId;

/// Stands for what is hidden.
const STARS: &str = "****";

/// Surnames of two characters that are in use; the others of the old list of a hundred surnames have died out.
const COMPOUND_SURNAMES: &[&str] = &[
    "欧阳", "太史", "端木", "上官", "司马", "东方", "独孤", "南宫", "万俟", "闻人", "夏侯", "诸葛", "尉迟", "公羊",
    "赫连", "澹台", "皇甫", "宗政", "濮阳", "公冶", "太叔", "申屠", "公孙", "慕容", "仲孙", "钟离", "长孙", "宇文",
    "司徒", "鲜于", "司空", "闾丘", "子车", "亓官", "司寇", "巫马", "公西", "颛孙", "壤驷", "公良", "漆雕", "乐正",
    "宰父", "谷梁", "拓跋", "夹谷", "轩辕", "令狐", "段干", "百里", "呼延", "东郭", "南门", "羊舌", "微生", "梁丘",
    "左丘", "东门", "西门", "第五", "歐陽", "上官", "司馬", "東方", "諸葛", "尉遲", "皇甫", "公孫", "慕容", "長孫",
    "鍾離", "司徒", "令狐", "夏侯", "聞人",
];

/// Mail services that everybody uses: their names say nothing of whoever writes from there.
const MAIL_SERVICES: &[&str] = &[
    "qq.com",
    "vip.qq.com",
    "foxmail.com",
    "163.com",
    "126.com",
    "yeah.net",
    "139.com",
    "189.cn",
    "sina.com",
    "sina.cn",
    "sohu.com",
    "aliyun.com",
    "gmail.com",
    "outlook.com",
    "hotmail.com",
    "icloud.com",
    "yahoo.com",
];

/// A name: 张三 → 张*, 张三丰 → 张*丰, 欧阳某某 → 欧阳**, four characters and more: the first. Of names in parts (foreign, of minorities) the
/// first part: John Smith → John *. Of anything else the first letter.
pub fn name(text: &str) -> Option<String> {
    let text = text.trim();
    let is_han = |letter: char| matches!(letter, '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}' | '〇');
    let joined: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    if !joined.is_empty() && joined.chars().all(is_han) {
        return Some(han_name(&joined));
    }
    let is_dot = |letter: char| matches!(letter, '·' | '•' | '・' | '‧');
    let is_separator = |letter: char| letter.is_whitespace() || is_dot(letter) || matches!(letter, ',' | '，' | '^');
    let mut parts = text.split(is_separator).filter(|part| !part.is_empty());
    let first = parts.next()?;
    let is_last = parts.next().is_none();
    let all_han = |part: &str| part.chars().all(is_han);
    let is_word =
        |part: &str| part.chars().all(|letter| letter.is_alphabetic() && !is_han(letter) || "-'.".contains(letter));
    let is_minority_name = text.contains(is_dot) && text.split(is_dot).all(|part| all_han(part.trim()));
    if !is_last && (is_word(first) || is_minority_name) {
        let after = text.split_once(first).and_then(|(_, after)| after.chars().next());
        let mark = after.filter(|letter| is_dot(*letter)).unwrap_or(' ');
        return Some(format!("{first}{mark}*"));
    }
    first.chars().next().map(|letter| if letter.is_alphabetic() { format!("{letter}*") } else { "*".to_owned() })
}

fn han_name(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let surname: String = letters.iter().take(2).collect();
    let hidden = |letters: usize| "*".repeat(letters);
    match letters.len() {
        1 => hidden(1),
        2 => format!("{}*", letters[0]),
        length if COMPOUND_SURNAMES.contains(&surname.as_str()) => format!("{surname}{}", hidden(length - 2)),
        3 => format!("{}*{}", letters[0], letters[2]),
        length => format!("{}{}", letters[0], hidden(length - 1)),
    }
}

/// A phone: of a mobile number of China the first three digits and the last four, of any other its last four, without extension; of fewer
/// than seven digits, or of several numbers, none.
pub fn phone(text: &str) -> Option<String> {
    let digit = |letter: char| letter.to_digit(10).or_else(|| wide_digit(letter));
    let digits_of =
        |part: &str| part.chars().filter_map(digit).filter_map(|digit| char::from_digit(digit, 10)).collect::<String>();
    let digits = digits_of(text);
    if digits.is_empty() {
        return None;
    }
    let national = ["0086", "86"].iter().find_map(|code| digits.strip_prefix(code).filter(|rest| rest.len() == 11));
    let national = national.unwrap_or(&digits);
    let is_foreign = text.trim_start().starts_with('+') && national.len() == digits.len();
    let is_mobile = national.len() == 11 && national.starts_with('1') && matches!(national.as_bytes()[1], b'3'..=b'9');
    if is_mobile && !is_foreign {
        return Some(format!("{}{STARS}{}", &national[..3], &national[7..]));
    }
    // 0755-86123456-801: the number itself is the longest part.
    let parts = text.split(|letter: char| digit(letter).is_none()).map(digits_of);
    let longest = parts.max_by_key(String::len).unwrap_or_default();
    let number = if longest.len() >= 7 { &longest } else { &digits };
    let shown = (7..=15).contains(&number.len()) && digits.len() <= 19;
    Some(if shown { format!("{STARS}{}", &number[number.len() - 4..]) } else { STARS.to_owned() })
}

/// A full-width digit.
fn wide_digit(letter: char) -> Option<u32> {
    u32::from(letter).checked_sub(0xff10).filter(|digit| *digit < 10)
}

/// An e-mail address: its first letter, and the service where everybody uses it.
pub fn email(text: &str) -> Option<String> {
    let (local, service) = text.trim().rsplit_once('@')?;
    let first = local.chars().next()?;
    let service = service.to_ascii_lowercase();
    let service = MAIL_SERVICES.iter().find(|known| **known == service).copied().unwrap_or("***");
    Some(format!("{first}***@{service}"))
}

/// A number: its last four characters, of a short one at most half. Of a resident number of fifteen digits three: the fourth is of the
/// birth date.
pub fn number(text: &str) -> Option<String> {
    let letters: Vec<char> = text.chars().filter(|letter| letter.is_alphanumeric()).collect();
    let is_old = letters.len() == 15 && ResidentId::read(text).is_some();
    let shown = if is_old { 3 } else { (letters.len() / 2).min(4) };
    let tail: String = letters[letters.len() - shown..].iter().collect();
    (!letters.is_empty()).then(|| format!("{STARS}{tail}"))
}

/// Age from which all have one year of birth.
const POOLED_AGE: i16 = 90;

/// The year of birth. Who is ninety or older in this year is told with the latest such year.
pub fn birth_year(text: &str, this_year: i16) -> Option<String> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    if text.len() > 4 && !text[4..].starts_with('-') {
        return None;
    }
    let year: i16 = digits.parse().ok()?;
    Some(format!("{:04}", year.max(this_year.saturating_sub(POOLED_AGE))))
}

/// The day of a time.
pub fn day(text: &str) -> Option<String> {
    let day = text.get(..10).unwrap_or(text);
    let is_date = !day.is_empty() && day.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_date.then(|| day.to_owned())
}

/// A province, city or district, if it looks like the name of one: some sources write whole addresses into these fields.
pub fn district(text: &str) -> Option<String> {
    let text = text.trim();
    let length = text.chars().count();
    let is_han = text.chars().all(|letter| matches!(letter, '\u{3400}'..='\u{9fff}'));
    let fits = if is_han {
        // 路北区 and 道里区 are districts; 人民路小区 is none.
        let within: String = text.chars().skip(1).collect();
        let is_place = text.ends_with(['省', '市', '区', '區', '县', '縣', '旗', '州', '盟']);
        let is_finer = [
            "小区", "小區", "社区", "社區", "园区", "园區", "宿舍", "路", "街", "巷", "弄", "村", "组", "号", "楼",
            "栋", "室",
        ]
        .iter()
        .any(|finer| within.contains(finer));
        !is_finer && (length <= 3 || is_place && length <= 15)
    } else {
        length <= 30 && text.chars().all(|letter| letter.is_ascii_alphabetic() || matches!(letter, ' ' | '-' | '\''))
    };
    (fits && length > 0).then(|| text.to_owned())
}

/// The category of an ICD code: its first three characters (ICD-10, volume 2, 2.4).
pub fn diagnosis(code: &str) -> Option<String> {
    let category: String = code.trim().chars().take(3).map(|letter| letter.to_ascii_uppercase()).collect();
    let bytes = category.as_bytes();
    let fits =
        bytes.len() == 3 && bytes[0].is_ascii_uppercase() && bytes[1].is_ascii_digit() && bytes[2].is_ascii_digit();
    fits.then_some(category)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(of: impl Fn(&str) -> Option<String>, cases: &[(&str, Option<&str>)]) {
        for (text, expected) in cases {
            assert_eq!(of(text).as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn names_show_what_is_stated() {
        check(
            name,
            &[
                ("张三", Some("张*")),
                ("张三丰", Some("张*丰")),
                ("张 三 丰", Some("张*丰")),
                ("欧阳某某", Some("欧阳**")),
                ("欧阳修", Some("欧阳*")),
                ("欧阳", Some("欧*")),
                ("张李三丰", Some("张***")),
                ("张", Some("*")),
                ("阿依古丽·买买提", Some("阿依古丽·*")),
                ("·阿·依", Some("阿·*")),
                ("John Smith", Some("John *")),
                ("O'Neil, Mary Ann", Some("O'Neil *")),
                ("Madonna", Some("M*")),
                ("张伟 Zhang Wei", Some("张*")),
                ("张三13800138000", Some("张*")),
                ("MRN7734512 x", Some("M*")),
                ("7734512", Some("*")),
                ("  ", None),
                ("", None),
            ],
        );
    }

    #[test]
    fn phones_mails_and_numbers_show_what_is_stated() {
        check(
            phone,
            &[
                ("13800138000", Some("138****8000")),
                ("+86 138 0013 8000", Some("138****8000")),
                ("0755-86123456", Some("****3456")),
                ("0755-86123456-801", Some("****3456")),
                ("86123456", Some("****3456")),
                ("120", Some("****")),
                ("13800138000/13900139000", Some("****")),
                ("１３８００１３８０００", Some("138****8000")),
                ("+1 202 555 0123", Some("****0123")),
                ("+1 312 555 0123", Some("****0123")),
                ("家", None),
            ],
        );
        check(
            email,
            &[
                ("zhangsan@qq.com", Some("z***@qq.com")),
                ("zhang.san@zhangsan.name", Some("z***@***")),
                ("zhangsan", None),
                ("@qq.com", None),
            ],
        );
        check(
            number,
            &[
                ("11010519491231002X", Some("****002X")),
                ("110105491231002", Some("****002")),
                ("E12345678", Some("****5678")),
                ("P0001", Some("****01")),
                ("7", Some("****")),
                ("-", None),
            ],
        );
    }

    #[test]
    fn wider_values_show_what_is_stated() {
        let year = |text: &str| birth_year(text, 2026);
        check(
            year,
            &[
                ("1980-05-06", Some("1980")),
                ("1980", Some("1980")),
                ("1936-12-31", Some("1936")),
                ("1935-01-01", Some("1936")),
                ("1901", Some("1936")),
                ("19800506", None),
                ("80", None),
                ("", None),
            ],
        );
        check(day, &[("2026-03-16T16:10:00+08:00", Some("2026-03-16")), ("2026-03", Some("2026-03")), ("soon", None)]);
        check(
            district,
            &[
                ("南山区", Some("南山区")),
                ("路北区", Some("路北区")),
                ("道里区", Some("道里区")),
                ("延边朝鲜族自治州", Some("延边朝鲜族自治州")),
                ("深圳", Some("深圳")),
                ("梧桐街七十七号", None),
                ("阳光小区", None),
                ("南山区科技园路1号", None),
                ("Brooklyn", Some("Brooklyn")),
                ("12 Elm", None),
                ("440305", None),
            ],
        );
        check(diagnosis, &[("I21.900x001", Some("I21")), ("e11", Some("E11")), ("高血压", None), ("I2", None)]);
    }

    proptest! {
        #[test]
        fn of_a_name_in_chinese_no_more_than_the_stated_characters_remain(letters in "[一-龥]{1,6}") {
            let masked = name(&letters).unwrap();
            let shown = masked.chars().filter(|letter| *letter != '*').count();
            let length = letters.chars().count();
            prop_assert!(shown <= match length { 1 => 0, 2 => 1, _ => 2 }, "{letters} {masked}");
            prop_assert!(masked.contains('*') && masked != letters);
        }

        #[test]
        fn of_any_text_a_masked_name_holds_one_part_at_most(text in ".{0,24}") {
            if let Some(masked) = name(&text) {
                prop_assert!(masked.contains('*'));
                prop_assert!(masked.chars().all(|letter| letter == '*' || letter == ' ' || text.contains(letter)));
                prop_assert!(masked.chars().filter(char::is_ascii_digit).count() == 0, "{masked}");
            }
        }

        #[test]
        fn of_a_phone_the_digits_in_the_middle_are_gone(middle in "[0-9]{4}", tail in "[0-9]{4}") {
            prop_assert_eq!(phone(&format!("138{middle}{tail}")), Some(format!("138****{tail}")));
            prop_assert_eq!(phone(&format!("0755-{middle}{tail}")), Some(format!("****{tail}")));
        }

        #[test]
        fn of_any_text_a_masked_phone_or_number_shows_few_characters(text in ".{0,40}") {
            let shown = |masked: &str| masked.chars().filter(|letter| *letter != '*').count();
            prop_assert!(phone(&text).is_none_or(|masked| shown(&masked) <= 7));
            prop_assert!(number(&text).is_none_or(|masked| shown(&masked) <= 4 && shown(&masked) <= text.chars().count() / 2));
            prop_assert!(birth_year(&text, 2026).is_none_or(|year| year.len() == 4 && year.as_str() >= "1936"));
        }
    }
}
