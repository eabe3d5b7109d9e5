//! Names, staff, addresses, phones and identity numbers.

use std::borrow::Cow;

use super::number::half_width;
use super::{first_of, part};
use crate::hl7v2::Value;
use crate::record::resident_id::ResidentId;
use crate::record::{Fields, Value as Json};

/// A person's name. Only what was sent: a whole name in one component is not cut in two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) whole: String,
    pub(crate) family: Option<String>,
    pub(crate) given: Option<String>,
}

/// XPN, and PN before v2.3 (HL7 v2.5.1 chapter 2A, 2A.88): family ^ given ^ further given ^ suffix ^ prefix.
///
/// Chinese names are written family name first without a blank, others in the Western order.
pub(crate) fn name(value: &Value<'_>) -> Option<Name> {
    let [family, given, further, suffix] =
        [first_of(value, 1), part(value, 2), part(value, 3), part(value, 4)].map(|part| part.map(|part| tidy(&part)));
    let is_chinese = [&family, &given].into_iter().flatten().any(|part| part.chars().any(is_han));
    let (order, between) =
        if is_chinese { ([&family, &given, &further, &None], "") } else { ([&given, &further, &family, &suffix], " ") };
    let whole: Vec<&str> = order.into_iter().flatten().map(String::as_str).filter(|part| !part.is_empty()).collect();
    if whole.is_empty() {
        return None;
    }
    let whole = whole.join(between);
    let given = given.or(further);
    let split = family.is_some() && given.is_some();
    let kept = |part: Option<String>| part.filter(|_| split);
    Some(Name { whole, family: kept(family), given: kept(given) })
}

/// A name without what keyboards and forms put into it: full-width letters become half width, blanks between Chinese characters
/// go (`张　伟`), several others become one, and the dot of transcribed names is `·` in all its shapes.
pub(super) fn tidy(name: &str) -> String {
    if name.chars().all(is_han) {
        return name.to_owned();
    }
    let half = half_width(name);
    let is_chinese = half.chars().any(is_han);
    let dotted: String = half
        .chars()
        .map(|character| match character {
            '•' | '‧' | '・' | '･' | '∙' | '⋅' | '●' if is_chinese => '·',
            '.' if is_chinese && !half.contains(|letter: char| letter.is_ascii_alphanumeric()) => '·',
            character => character,
        })
        .collect();
    let mut tidy = String::with_capacity(dotted.len());
    for word in dotted.split_whitespace() {
        let joins = |last: Option<char>, first: Option<char>| {
            [last, first].into_iter().flatten().any(|character| is_han(character) || character == '·')
        };
        if !tidy.is_empty() && !joins(tidy.chars().next_back(), word.chars().next()) {
            tidy.push(' ');
        }
        tidy.push_str(word);
    }
    tidy
}

/// XCN, and CN before v2.3: id ^ family ^ given ^ further given names ^ …. Small systems put a name where the number belongs, and a title
/// behind a Chinese name, which has no further ones.
pub(crate) fn staff(value: &Value<'_>) -> (Option<String>, Option<String>) {
    let id = part(value, 1);
    let family = first_of(value, 2).map(|part| tidy(&part));
    let given = part(value, 3).map(|part| tidy(&part));
    let is_chinese = [&family, &given].into_iter().flatten().any(|part| part.chars().any(is_han));
    let further = part(value, 4).map(|part| tidy(&part)).filter(|_| !is_chinese && given.is_some());
    let name = match (family, given) {
        (Some(family), Some(given)) if is_chinese => Some(format!("{family}{given}")),
        (family, given) => {
            let parts: Vec<&str> = [&given, &further, &family].into_iter().flatten().map(String::as_str).collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        }
    };
    match (id, name) {
        (Some(id), None) if id.chars().any(is_han) => (None, Some(tidy(&id))),
        (id, name) => (id.map(Cow::into_owned), name),
    }
}

/// XAD as one line: Chinese from the province down without blanks, others from the street up with commas.
pub(crate) fn address(value: &Value<'_>) -> Option<String> {
    let street = value.component(1).value().and_then(|street| street_line(&street));
    let [other, city, province, postal_code, district] = [2, 3, 4, 5, 9].map(|number| part(value, number));
    address_line(
        street.as_deref(),
        other.as_deref(),
        city.as_deref(),
        province.as_deref(),
        postal_code.as_deref(),
        district.as_deref(),
    )
}

/// XAD: the street with the house, and what else is known of it (XAD.2: flat, floor, second line).
pub(crate) fn street(value: &Value<'_>) -> Option<String> {
    let street = value.component(1).value().and_then(|street| street_line(&street));
    match (street, part(value, 2)) {
        (Some(street), Some(other)) => Some(format!("{street}{}{other}", if is_chinese(&street) { "" } else { ", " })),
        (street, other) => street.or(other.map(Cow::into_owned)),
    }
}

/// SAD as one line: SAD.1 is the street line, whole or what the sender has of it, SAD.2 the street's name, SAD.3 the number of the house.
/// What a part before says already is not said again.
fn street_line(street: &Value<'_>) -> Option<String> {
    let [line, name, house] = [1, 2, 3].map(|number| part(street, number));
    let is_western = [&line, &name, &house].into_iter().flatten().all(|part| !is_chinese(part));
    let parts = if line.is_none() && is_western { [house, name, None] } else { [line, name, house] };
    let mut whole: Option<String> = None;
    for part in parts.into_iter().flatten() {
        whole = Some(match whole {
            None => part.into_owned(),
            Some(before) if before.contains(part.as_ref()) => before,
            Some(before) => format!("{before}{}{part}", if is_western { " " } else { "" }),
        });
    }
    whole
}

/// The parts of an address as one line.
pub(super) fn address_line(
    street: Option<&str>,
    other: Option<&str>,
    city: Option<&str>,
    province: Option<&str>,
    postal_code: Option<&str>,
    district: Option<&str>,
) -> Option<String> {
    if ![street, city, province].into_iter().flatten().any(is_chinese) {
        let parts: Vec<&str> = [street, other, city, district, province, postal_code].into_iter().flatten().collect();
        return (!parts.is_empty()).then(|| parts.join(", "));
    }
    let mut line = format!("{}{}", street.unwrap_or_default(), other.unwrap_or_default());
    // From the district up. A part with which the line begins already stands for those below it too.
    let areas = [district, city, province];
    let is_there = |area: &Option<&str>| area.is_some_and(|area| begins_with_area(&line, area));
    let above = areas.iter().rposition(is_there).map_or(0, |place| place + 1);
    for area in areas.into_iter().skip(above).flatten() {
        // A municipality is its own province: 北京, 北京市.
        if !begins_with_area(&line, area) {
            line.insert_str(0, area);
        }
    }
    (!line.is_empty()).then_some(line)
}

/// Whether a line begins with an area: in full, or with its name and another area's kind, 内蒙古呼和浩特市 of 内蒙古自治区. Streets bear the names
/// of cities: 朝阳小区, 长沙路. 吉林市 is a city of 吉林省, while 北京 may stand for 北京市.
fn begins_with_area(line: &str, area: &str) -> bool {
    const KINDS: [&str; 7] = ["特别行政区", "维吾尔自治区", "壮族自治区", "回族自治区", "自治区", "省", "市"];
    if line.starts_with(area) {
        return true;
    }
    let (name, kind) = KINDS.iter().find_map(|kind| Some((area.strip_suffix(kind)?, *kind))).unwrap_or((area, ""));
    let Some(rest) = line.strip_prefix(name).filter(|_| name.chars().nth(1).is_some()) else { return false };
    if rest.starts_with('市') {
        return kind != "省";
    }
    // What stands before the first sign of a street.
    let areas = rest.split(['路', '街', '道', '巷', '号', '弄', '村']).next().unwrap_or_default();
    let is_area =
        |at: usize| areas[..at].chars().count() >= 1 && !areas[..at].ends_with(['小', '社', '园', '校', '城']);
    ['市', '区', '县', '州', '盟', '旗'].iter().filter_map(|kind| areas.find(*kind)).any(is_area)
}

/// Whether a text is written in Chinese characters, at least in part.
pub(super) fn is_chinese(text: &str) -> bool {
    text.chars().any(is_han)
}

/// XTN: the number in the form of [`dialled`], else put together from its parts. E-mail addresses are no phones.
pub(crate) fn phone(value: &Value<'_>) -> Option<String> {
    let is_internet = |part: Option<Cow<'_, str>>| {
        part.is_some_and(|part| part.eq_ignore_ascii_case("NET") || part.eq_ignore_ascii_case("Internet"))
    };
    let sent = part(value, 1).filter(|number| number.chars().any(|character| character.is_numeric()));
    let number = match sent {
        Some(number) if number.contains('@') => return None,
        Some(number) => dialled(&number),
        None => match (part(value, 12), part(value, 7)) {
            (Some(unformatted), _) => dialled(&unformatted),
            (None, Some(local)) => {
                let country = part(value, 5).map(|country| format!("+{}", country.trim_start_matches('+')));
                let number = [country, part(value, 6).map(Cow::into_owned), Some(local.into_owned())];
                let extension = part(value, 8).map_or(String::new(), |extension| format!("-{extension}"));
                dialled(&(number.into_iter().flatten().collect::<Vec<_>>().join("-") + &extension))
            }
            (None, None) => return None,
        },
    };
    let only_internet = is_internet(part(value, 3)) && !number.chars().all(|character| !character.is_alphabetic());
    Some(number).filter(|number| !only_internet && number.len() <= 64)
}

/// A number of mainland China as it is dialled there: `13800001234`, `0755-86123456`, `0755-86123456-801`. All others as sent,
/// without blanks: `(555)555-5555`, `13800001234/13900001234`.
pub(super) fn dialled(sent: &str) -> String {
    let is_mobile = |digits: &str| digits.len() == 11 && matches!(digits.as_bytes(), [b'1', b'3'..=b'9', ..]);
    if is_mobile(sent) && sent.bytes().all(|byte| byte.is_ascii_digit()) {
        return sent.to_owned();
    }
    let number = without_blanks(sent);
    let apart: String = half_width(sent).split_whitespace().collect::<Vec<_>>().join("-");
    let marked = ["转分机", "分机号", "分机", "转", "ext.", "ext", "EXT", "Ext.", "Ext", "x", "X", "#"];
    let (main, extension) = marked.iter().find_map(|mark| apart.split_once(mark)).unwrap_or((&apart, ""));
    let (main, extension) = (main.trim_end_matches('-'), extension.trim_matches([':', '-']));
    let is_extension = extension.len() <= 6 && extension.bytes().all(|byte| byte.is_ascii_digit());
    if !is_extension || !main.bytes().all(|byte| byte.is_ascii_digit() || b"+-()".contains(&byte)) {
        return number;
    }
    let abroad = ["+86", "0086", "(+86)", "(86)", "86-"].iter().find_map(|prefix| main.strip_prefix(prefix));
    let groups: Vec<&str> = abroad.unwrap_or(main).split(['-', '(', ')']).filter(|group| !group.is_empty()).collect();
    let digits = groups.concat();
    let extended = |number: String| if extension.is_empty() { number } else { format!("{number}-{extension}") };
    if is_mobile(&digits) || digits.strip_prefix("86").filter(|_| abroad.is_none()).is_some_and(is_mobile) {
        return extended(digits[digits.len() - 11..].to_owned());
    }
    // Area codes have three or four digits with their 0, which is left out behind +86; subscribers' numbers seven or eight.
    let (area, subscriber, rest) = match groups[..] {
        [area, subscriber] => (area, subscriber, ""),
        [area, subscriber, rest] if extension.is_empty() => (area, subscriber, rest),
        _ => return number,
    };
    let is_area = match area.strip_prefix('0') {
        Some(area) => matches!(area.len(), 2 | 3),
        None => abroad.is_some() && matches!(area.len(), 2 | 3),
    };
    if !is_area || !matches!(subscriber.len(), 7 | 8) || rest.len() > 6 {
        return number;
    }
    let zero = if area.starts_with('0') { "" } else { "0" };
    let rest = if rest.is_empty() { String::new() } else { format!("-{rest}") };
    extended(format!("{zero}{area}-{subscriber}{rest}"))
}

/// Whether what [`phone`] gives is one number that can be dialled, and not two of them or words beside it.
pub(crate) fn is_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let written = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-().*#xX".contains(&byte));
    written && (3..=20).contains(&digits)
}

/// XTN: the e-mail address (XTN.4, or XTN.1 of systems that write it there).
pub(crate) fn email(value: &Value<'_>) -> Option<String> {
    [4, 1].into_iter().filter_map(|number| part(value, number)).find(|part| part.contains('@')).map(Cow::into_owned)
}

fn without_blanks(text: &str) -> String {
    half_width(text).chars().filter(|character| !character.is_whitespace()).collect()
}

/// Brings an identifier that is typed as a resident number into its normal form. Gives what is doubtful in one that is typed so, or that
/// looks so, and is none; it holds no value.
pub(crate) fn settle_identifier(identifier: &mut Fields) -> Option<&'static str> {
    let text = |name: &str| identifier.get(name).and_then(Json::as_str);
    match (text("type"), text("value")?) {
        (Some("resident_id"), sent) => match ResidentId::read(sent) {
            Some(ResidentId { number, .. }) => {
                identifier.insert("value", Json::from(number));
                None
            }
            None => Some("no valid resident number"),
        },
        (Some("other"), sent) if is_meant_as_resident_id(sent) && ResidentId::read(sent).is_none() => {
            Some("it looks like a resident number, and its check character, region or date of birth is wrong")
        }
        _ => None,
    }
}

/// Eighteen digits, the last one maybe `X`, of which those of the birth date begin as one of people alive.
fn is_meant_as_resident_id(text: &str) -> bool {
    let text = text.trim();
    let (Some(body), Some(last), 18) = (text.get(..17), text.bytes().last(), text.len()) else { return false };
    let is_body = body.bytes().all(|byte| byte.is_ascii_digit()) && matches!(&body[6..8], "19" | "20");
    is_body && (last.is_ascii_digit() || last.eq_ignore_ascii_case(&b'X'))
}

fn is_han(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{323AF}')
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn names_are_put_together_in_the_order_of_their_script() {
        for (sent, whole, family, given) in [
            ("张^伟", "张伟", Some("张"), Some("伟")),
            ("张伟", "张伟", None, None),
            ("欧阳^娜娜^^^^^L", "欧阳娜娜", Some("欧阳"), Some("娜娜")),
            ("Everyman&&&&Aniston^Adam^A^III^Dr.", "Adam A Everyman III", Some("Everyman"), Some("Adam")),
            ("ZHANG^WEI", "WEI ZHANG", Some("ZHANG"), Some("WEI")),
            ("Bing^^Josh", "Josh Bing", Some("Bing"), Some("Josh")),
            ("SMITH", "SMITH", None, None),
            ("^Prince", "Prince", None, None),
            (" 张 ^ 伟 ", "张伟", Some("张"), Some("伟")),
        ] {
            let found = read(sent, name).unwrap();
            let shown = (found.whole.as_str(), found.family.as_deref(), found.given.as_deref());
            assert_eq!(shown, (whole, family, given), "{sent}");
        }
        for sent in ["", "^^^", "\"\"", "^^^^Dr"] {
            assert_eq!(read(sent, name), None, "{sent}");
        }
    }

    #[test]
    fn staff_have_a_number_and_a_name() {
        for (sent, id, shown) in [
            ("D001^王^医生", Some("D001"), Some("王医生")),
            ("D001^王医生", Some("D001"), Some("王医生")),
            ("1122334^Alaz&van^Mohammed", Some("1122334"), Some("Mohammed Alaz")),
            ("R7^Brown^Eve^Mary A.^^Dr", Some("R7"), Some("Eve Mary A. Brown")),
            ("R7^Brown^^Mary", Some("R7"), Some("Brown")),
            ("D001^王^医生^主任医师", Some("D001"), Some("王医生")),
            ("D001", Some("D001"), None),
            ("王医生", None, Some("王医生")),
            ("^王医生", None, Some("王医生")),
            ("", None, None),
        ] {
            let (found_id, name) = read(sent, staff);
            assert_eq!((found_id.as_deref(), name.as_deref()), (id, shown), "{sent}");
        }
    }

    #[test]
    fn a_street_has_its_house_and_its_second_line() {
        for (sent, expected) in [
            ("1000&Hospital Lane^Ste. 123^Ann Arbor^MI", Some("1000 Hospital Lane, Ste. 123")),
            ("&Hospital Lane&1000^^Ann Arbor", Some("1000 Hospital Lane")),
            ("44 Name House^Flanker Road^Westerham", Some("44 Name House, Flanker Road")),
            ("中山路&&12号^3幢201室^南京市", Some("中山路12号3幢201室")),
            ("^Flat 2^Town", Some("Flat 2")),
            ("^^Town^MI", None),
        ] {
            assert_eq!(read(sent, street).as_deref(), expected, "{sent}");
        }
    }

    #[test]
    fn what_is_meant_as_a_resident_number_and_is_none_is_told() {
        let doubt = |kind: &str, value: &str| {
            let mut item = Fields::new();
            item.insert("type", Json::from(kind));
            item.insert("value", Json::from(value));
            settle_identifier(&mut item).is_some()
        };
        for (kind, value, expected) in [
            ("resident_id", "110105194912310021", true),
            ("resident_id", "11010519491231002x", false),
            ("other", "110105194912310021", true),
            ("other", "11010519491231002X", false),
            ("other", "622202219053073450", false),
            ("other", "DL123", false),
            ("mrn", "110105194912310021", false),
        ] {
            assert_eq!(doubt(kind, value), expected, "{kind} {value}");
        }
    }

    #[test]
    fn addresses_become_one_line() {
        for (sent, expected) in [
            ("朝阳路1号^^南京市^江苏省^210000^CHN^H", Some("江苏省南京市朝阳路1号")),
            ("江苏省南京市玄武区朝阳路1号^^南京市^江苏省", Some("江苏省南京市玄武区朝阳路1号")),
            ("朝阳路1号^2栋^南京市^江苏省^^^^^玄武区", Some("江苏省南京市玄武区朝阳路1号2栋")),
            ("1979 MILKY WAY^^VERONA^WI^53593^US", Some("1979 MILKY WAY, VERONA, WI, 53593")),
            ("1000&Hospital Lane^Ste. 123^Ann Arbor ^MI", Some("1000 Hospital Lane, Ste. 123, Ann Arbor, MI")),
            ("1000 Hospital Lane&Hospital Lane&1000^^Ann Arbor^MI", Some("1000 Hospital Lane, Ann Arbor, MI")),
            ("&Hospital Lane&1000^^Ann Arbor^MI", Some("1000 Hospital Lane, Ann Arbor, MI")),
            ("中山路&&12号^3幢201室^南京市^江苏省", Some("江苏省南京市中山路12号3幢201室")),
            ("&中山路&12号^^南京市", Some("南京市中山路12号")),
            ("^^^^^CHN", None),
            // What the street begins with is not said again, nor what stands below it.
            ("南山区科技路5号^^深圳市^广东省^^^^^南山区", Some("广东省深圳市南山区科技路5号")),
            ("深圳市科技路5号^^深圳市^广东省^^^^^南山区", Some("广东省深圳市科技路5号")),
            ("内蒙古呼和浩特市新城区1号^^呼和浩特市^内蒙古自治区", Some("内蒙古呼和浩特市新城区1号")),
            ("1号^^北京市^北京^^^^^海淀区", Some("北京市海淀区1号")),
            ("北京海淀区1号^^北京市^北京", Some("北京海淀区1号")),
            ("长沙路5号^^长沙市^湖南省", Some("湖南省长沙市长沙路5号")),
            ("^^南京市^江苏省", Some("江苏省南京市")),
            ("解放路1号^^吉林市^吉林省", Some("吉林省吉林市解放路1号")),
            ("吉林市船营区解放路1号^^吉林市^吉林省", Some("吉林省吉林市船营区解放路1号")),
            ("朝阳小区5号^^朝阳市^辽宁省^^^^^双塔区", Some("辽宁省朝阳市双塔区朝阳小区5号")),
            ("中山花园3栋^^中山市^广东省", Some("广东省中山市中山花园3栋")),
            ("广东深圳市南山区1号^^深圳市^广东省", Some("广东深圳市南山区1号")),
        ] {
            assert_eq!(read(sent, address).as_deref(), expected, "{sent}");
        }
    }

    #[test]
    fn phones_lose_their_blanks_and_emails_are_no_phones() {
        for (sent, expected) in [
            ("138 0000 1234", Some("13800001234")),
            ("１３８００００１２３４", Some("13800001234")),
            ("025-8888 6666", Some("025-88886666")),
            ("(555)555-5555^BPN^PH", Some("(555)555-5555")),
            ("^PRN^PH^^^810^4502369", Some("810-4502369")),
            ("^WPN^PH^^1^^5555555^22", Some("+1-5555555-22")),
            ("^WPN^PH^^^^^^^^^(608)271-9001", Some("(608)271-9001")),
            ("^NET^Internet^someone@example.org", None),
            ("someone1@example.org^NET", None),
            ("78788788^^CP^5555", Some("78788788")),
            ("无", None),
            ("", None),
        ] {
            assert_eq!(read(sent, phone).as_deref(), expected, "{sent}");
        }
        assert_eq!(read("^NET^Internet^a@example.org", email).as_deref(), Some("a@example.org"));
        assert_eq!(read("a@example.org^NET", email).as_deref(), Some("a@example.org"));
        assert_eq!(read("13800001234^PRN", email), None);
    }
}
