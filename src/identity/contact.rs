//! Phones and addresses in the form in which they are compared.

use unicode_normalization::UnicodeNormalization;

use super::compare::Term;
use super::hash::fingerprint;
use super::name::{Script, is_han, simplified};
use super::placeholder::is_filler;
use crate::record::{Fields, Value};

/// A phone number as digits, without the country code of mainland mobile numbers: what a search compares.
pub fn phone_digits(phone: &str) -> String {
    let digits: String = match phone.is_ascii() {
        true => phone.chars().filter(char::is_ascii_digit).collect(),
        false => phone.nfkc().filter(char::is_ascii_digit).collect(),
    };
    let national = digits.strip_prefix("00").unwrap_or(&digits).strip_prefix("86");
    let mobile = |number: &&str| number.len() == 11 && number.starts_with('1');
    national.filter(mobile).map(str::to_owned).unwrap_or(digits)
}

/// Numbers that are written everywhere and nobody's: a service line of China Mobile that stands in every example.
const NOBODYS_PHONES: [&str; 2] = ["13800138000", "13900139000"];

/// The phones that a text names, as digits: without extension, with the area code where it was given; placeholders left out.
pub(super) fn phones(text: &str) -> impl Iterator<Item = String> {
    text.split(['/', ',', ';', '、', '，', '；']).filter_map(|one| {
        let one = one.split(['转', 'x', 'X', '#', 'e', 'E', '分']).next().unwrap_or_default();
        // 0755-86123456-801: what stands behind the subscriber's number is an extension.
        let mut groups = one.split('-').map(str::trim);
        let digits = match (groups.next(), groups.next(), groups.next(), groups.next()) {
            (Some(area), Some(subscriber), Some(_), None)
                if area.starts_with('0') && matches!(subscriber.len(), 7 | 8) =>
            {
                format!("{area}{subscriber}")
            }
            _ => phone_digits(one),
        };
        is_somebodys(&digits).then_some(digits)
    })
}

/// Whether digits may be one person's phone: 7 to 15 (ITU-T E.164), not one digit seven times at the end, not counted up.
fn is_somebodys(digits: &str) -> bool {
    let same_end = digits.bytes().rev().zip(digits.bytes().rev().skip(1)).take_while(|(one, next)| one == next).count();
    (7..=15).contains(&digits.len()) && same_end < 6 && !is_filler(digits) && !NOBODYS_PHONES.contains(&digits)
}

/// An address, taken apart as far as comparing needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Address {
    /// City, district and town in normal form, the finest last; in letters the town.
    pub area: String,
    /// Street, village or estate, without area and numbers.
    pub street: String,
    /// The numbers in order, `12-5-301`: of the house, the building, the flat.
    pub house: String,
    /// Further lines of an address in letters.
    pub extra: String,
    /// Postal code, digits and letters.
    pub postal_code: String,
    /// What the characters are: Chinese or letters.
    pub script: Script,
    /// What [`super::AddressLevel::Exact`] counts: street and house.
    pub term: Term,
}

/// Names of provinces without what is put behind them.
const PROVINCES: [&str; 34] = [
    "北京",
    "天津",
    "上海",
    "重庆",
    "河北",
    "山西",
    "辽宁",
    "吉林",
    "黑龙江",
    "江苏",
    "浙江",
    "安徽",
    "福建",
    "江西",
    "山东",
    "河南",
    "湖北",
    "湖南",
    "广东",
    "海南",
    "四川",
    "贵州",
    "云南",
    "陕西",
    "甘肃",
    "青海",
    "台湾",
    "内蒙古",
    "广西",
    "西藏",
    "宁夏",
    "新疆",
    "香港",
    "澳门",
];
const PROVINCE_ENDS: [&str; 6] = ["维吾尔自治区", "壮族自治区", "回族自治区", "特别行政区", "自治区", "省"];

/// Words of addresses in letters and their short forms.
const SHORT_FORMS: [(&str, &str); 30] = [
    ("street", "st"),
    ("str", "st"),
    ("road", "rd"),
    ("avenue", "ave"),
    ("av", "ave"),
    ("place", "pl"),
    ("crescent", "cres"),
    ("cr", "cres"),
    ("drive", "dr"),
    ("court", "ct"),
    ("circuit", "cct"),
    ("close", "cl"),
    ("lane", "ln"),
    ("boulevard", "blvd"),
    ("highway", "hwy"),
    ("parade", "pde"),
    ("terrace", "tce"),
    ("square", "sq"),
    ("apartment", "apt"),
    ("building", "bldg"),
    ("floor", "fl"),
    ("room", "rm"),
    ("north", "n"),
    ("south", "s"),
    ("east", "e"),
    ("west", "w"),
    ("mount", "mt"),
    ("saint", "st"),
    ("number", "no"),
    ("grove", "gr"),
];

/// Words for a part of a house or of an estate, which a letter or two may follow: `Apt B`.
const PARTS_OF_HOUSES: [&str; 12] =
    ["apt", "unit", "flat", "fl", "rm", "room", "suite", "ste", "level", "lot", "shop", "bldg"];

/// Whether a further line of an address is the name of one house or estate: letters, and no flat in a house.
pub(super) fn is_named_house(extra: &str) -> bool {
    extra.len() >= 4
        && !extra.chars().any(|letter| letter.is_ascii_digit())
        && !PARTS_OF_HOUSES.iter().any(|part| extra.strip_prefix(part).is_some_and(|rest| rest.len() <= 2))
}

/// A line in letters whose last word was written together with the one before it, with that word's short form: `coplanddrive` is
/// `coplanddr`. Letters and digits only.
pub(super) fn joined_short_form(line: &str) -> String {
    let letters: String = line.chars().filter(|letter| letter.is_alphanumeric()).collect();
    let whole = |long: &&(&str, &str)| long.0.len() > 4 && letters.len() > long.0.len() + 1;
    let joined = SHORT_FORMS.iter().filter(whole).find_map(|(long, short)| Some((letters.strip_suffix(long)?, short)));
    match joined {
        Some((name, short)) => format!("{name}{short}"),
        None => letters,
    }
}

impl Address {
    /// Reads one address of a record; `None` if it says no more than a town, and has no postal code.
    pub(super) fn of(address: &Value) -> Option<Self> {
        let text = |name: &str| address.get(name).and_then(Value::as_str).unwrap_or_default();
        let whole = text("text");
        let whole = if whole.is_empty() { text("street") } else { whole };
        let mut read = if whole.chars().any(is_han) {
            Self::of_characters(whole, [text("province"), text("city"), text("district")])
        } else {
            Self::of_letters(whole, text("street"), text("city"), text("province"), text("postal_code"))
        };
        read.postal_code = squeezed(text("postal_code"));
        if read.postal_code.len() < 4 || read.postal_code.bytes().all(|byte| byte == b'0') {
            read.postal_code.clear();
        }
        read.term = fingerprint(&[&read.street, &read.house]);
        (!read.street.is_empty() || !read.postal_code.is_empty()).then_some(read)
    }

    fn of_characters(whole: &str, parts: [&str; 3]) -> Self {
        let whole = squeezed(&spelt_numbers(whole));
        let mut rest = whole.as_str();
        let mut area = String::new();
        for part in parts.map(squeezed) {
            // A first part that is no province's name is a city all the same.
            if let Some(after) = rest.strip_prefix(&part).filter(|_| !part.is_empty()) {
                rest = after;
                if !PROVINCES.iter().any(|province| part.starts_with(province)) {
                    area = part;
                }
            }
        }
        if let Some(after) = PROVINCES.iter().find_map(|province| rest.strip_prefix(province)) {
            let end = PROVINCE_ENDS.iter().find_map(|end| after.strip_prefix(end));
            // 北京市 is a province and a city, 吉林市 a city alone.
            rest = end.or_else(|| after.strip_prefix('市')).unwrap_or(after);
        }
        for ends in [&["市", "自治州", "地区", "盟"][..], &["区", "县", "旗", "市"], &["街道", "镇", "乡"]]
        {
            if let Some(length) = division(rest, ends) {
                let (found, after) = rest.split_at(length);
                area = found.to_owned();
                rest = after;
            }
        }
        let (street, house) = numbers_apart(rest);
        Self { area, street, house, script: Script::Chinese, ..Self::default() }
    }

    fn of_letters(whole: &str, street: &str, city: &str, province: &str, postal_code: &str) -> Self {
        let lines = if squeezed(whole).starts_with(&squeezed(street)) { whole } else { street };
        // Behind the first line of the street: its second line, the town. `12, rue Haute` is one line.
        let first_ends = |place: &usize| lines[..*place].contains(char::is_alphabetic);
        let first = lines.match_indices(',').map(|(place, _)| place).find(first_ends).unwrap_or(lines.len());
        let (street_line, further) = lines.split_at(first);
        let (house, street) = words_apart(street_line);
        // What the whole text has beside the street, without the parts that are known by name.
        let known = [city, province, postal_code].map(squeezed);
        let extra: String =
            further.split(',').map(squeezed).filter(|part| !part.is_empty() && !known.contains(part)).collect();
        Self { area: squeezed(city), street, house, extra, ..Self::default() }
    }
}

/// An address with a unit for each sign between its numbers: `5-2-301` has three.
fn spelt_numbers(text: &str) -> String {
    let mut last = ' ';
    let spelt = text.chars().map(|letter| {
        let is_sign = last.is_numeric() && matches!(letter, '-' | '－' | '—' | '–' | '#' | '/' | '、');
        last = letter;
        if is_sign { '号' } else { letter }
    });
    spelt.collect()
}

/// The length of a division's name at the beginning: two to eight characters, the last of which say what it is.
fn division(text: &str, ends: &[&str]) -> Option<usize> {
    let (place, length) = ends
        .iter()
        .filter_map(|end| Some((text.find(end)?, text.find(end)? + end.len())))
        .min_by_key(|found| found.1)?;
    let name = &text[..place];
    let count = name.chars().count();
    // An estate, a yard, a park: parts of a street's address.
    let is_estate = name.ends_with(['小', '社', '园', '厂', '院', '校', '库']);
    ((1..=7).contains(&count) && !is_estate && name.chars().all(is_han)).then_some(length)
}

/// NFKC, lower case, simplified, without blanks and punctuation.
fn squeezed(text: &str) -> String {
    // Most letters are their own normal form, and so are all texts of such letters.
    if text.chars().all(|letter| letter.is_ascii() || matches!(letter, '\u{4e00}'..='\u{9fff}')) {
        let letters = text.chars().filter(|letter| !letter.is_ascii() || letter.is_ascii_alphanumeric());
        return letters.map(|letter| simplified(letter.to_ascii_lowercase())).collect();
    }
    let letters = text.nfkc().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase).map(simplified).collect()
}

/// A Chinese address behind its divisions: what is in characters, without the words between numbers, and the numbers.
fn numbers_apart(rest: &str) -> (String, String) {
    const UNITS: [&str; 17] =
        ["号楼", "号院", "单元", "号", "室", "房", "栋", "幢", "座", "楼", "层", "门", "户", "弄", "组", "队", "巷"];
    let (mut street, mut house) = (String::new(), String::new());
    let mut left = rest;
    while let Some(letter) = left.chars().next() {
        let digits = left.len() - left.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let written = if digits == 0 && "一二三四五六七八九十".contains(letter) {
            chinese_number(left, &UNITS)
        } else {
            None
        };
        if digits > 0 || written.is_some() {
            if !house.is_empty() {
                house.push('-');
            }
            match written {
                Some((value, length)) => {
                    house.push_str(&value.to_string());
                    left = &left[length..];
                }
                None => {
                    house.push_str(left[..digits].trim_start_matches('0'));
                    left = &left[digits..];
                }
            }
            if let Some(unit) = UNITS.iter().find(|unit| left.starts_with(**unit)) {
                left = &left[unit.len()..];
            }
            continue;
        }
        street.push(letter);
        left = &left[letter.len_utf8()..];
    }
    (street, house)
}

/// A number in Chinese characters below a hundred that stands before a unit: its value and its length in bytes.
fn chinese_number(text: &str, units: &[&str]) -> Option<(u32, usize)> {
    const DIGITS: &str = "一二三四五六七八九";
    let digit =
        |letter: char| DIGITS.chars().position(|digit| digit == letter).and_then(|place| u32::try_from(place + 1).ok());
    let (mut value, mut length) = (0, 0);
    for letter in text.chars() {
        match (digit(letter), letter) {
            (Some(digit), _) => value += digit,
            (None, '十') => value = if value == 0 { 10 } else { value * 10 },
            _ => break,
        }
        length += letter.len_utf8();
    }
    (length > 0 && length <= 9 && units.iter().any(|unit| text[length..].starts_with(unit))).then_some((value, length))
}

/// A street line in letters: its numbers, and its words in short form without blanks.
fn words_apart(line: &str) -> (String, String) {
    let line: String = line.nfkc().flat_map(char::to_lowercase).collect();
    let (mut house, mut street) = (String::new(), String::new());
    for word in line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if word.starts_with(|letter: char| letter.is_ascii_digit()) {
            if !house.is_empty() {
                house.push('-');
            }
            house.push_str(word);
        } else {
            let short = SHORT_FORMS.iter().find(|(long, _)| *long == word).map_or(word, |(_, short)| short);
            street.push_str(short);
        }
    }
    (house, street)
}

/// The phones and addresses of a patient record, each once.
pub(super) fn contacts(record: &Fields) -> (Vec<String>, Vec<Address>) {
    let list = |name: &str| record.get(name).and_then(Value::as_array).into_iter().flatten();
    let mut numbers: Vec<String> = Vec::new();
    for text in list("phones").filter_map(|phone| phone.get("value")?.as_str()) {
        numbers.extend(phones(text));
    }
    numbers.sort_unstable();
    numbers.dedup();
    let mut addresses: Vec<Address> = list("addresses").filter_map(Address::of).collect();
    addresses.sort_unstable();
    addresses.dedup();
    (numbers, addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json;

    #[test]
    fn phones_are_digits_without_extension_and_nobodys_phones_are_none() {
        for (text, expected) in [
            ("+86 138-1234-5678", &["13812345678"][..]),
            ("１３８１２３４５６７８", &["13812345678"]),
            ("0755-86123456-801", &["075586123456"]),
            ("0755-86123456转801", &["075586123456"]),
            ("13812345678/13912345678", &["13812345678", "13912345678"]),
            ("13800000000", &[]),
            ("13888888888", &[]),
            ("13800138000", &[]),
            ("12345678901", &[]),
            ("110", &[]),
            ("无", &[]),
        ] {
            assert_eq!(phones(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn chinese_addresses_are_street_and_house_whatever_stands_around_them() {
        for (text, expected) in [
            ("广东省深圳市南山区学府路12号", ("南山区", "学府路", "12")),
            ("广东深圳市南山区学府路１２号", ("南山区", "学府路", "12")),
            ("北京市海淀区中关村街道知春路5栋2单元301室", ("中关村街道", "知春路", "5-2-301")),
            ("北京市海淀区中关村街道知春路5-2-301", ("中关村街道", "知春路", "5-2-301")),
            ("知春路五号楼十二层1203", ("", "知春路", "5-12-1203")),
            ("廣東省廣州市越秀區中山路12號", ("越秀区", "中山路", "12")),
            ("阳光小区3号楼", ("", "阳光小区", "3")),
            ("广东省深圳市", ("", "", "")),
        ] {
            let read = Address::of(&json!({"text": text})).unwrap_or_default();
            assert_eq!((read.area.as_str(), read.street.as_str(), read.house.as_str()), expected, "{text}");
        }
    }
}
