//! Normal forms of names, numbers and phones, for comparing only; records keep what was sent.

use pinyin::ToPinyin;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::placeholder::{is_filler, is_placeholder};
use crate::record::resident_id::ResidentId;
use crate::record::{Fields, Value};

/// What matching may know of one patient record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PatientFacts {
    /// Normal form of the name, see [`name_key`]; empty if there is none.
    pub name: String,
    /// Toneless pinyin of the name, see [`pinyin_key`].
    pub pinyin: String,
    /// What kind of name it is.
    pub name_class: NameClass,
    /// `YYYY-MM-DD`, or less as sent. Absent where it is a placeholder (1900-01-01).
    pub birth_date: Option<String>,
    /// Valid identity numbers in normal form, placeholders left out, sorted.
    pub identity_numbers: Vec<IdentityNumber>,
}

impl PatientFacts {
    /// Reads a patient record.
    pub fn of(record: &Fields) -> Self {
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut name = match text("name") {
            "" => format!("{}{}", text("family_name"), text("given_name")),
            name => name.to_owned(),
        };
        let name_class = NameClass::of(&name);
        if name_class == NameClass::Missing {
            name.clear();
        }
        let birth_date = Some(text("birth_date")).filter(|date| !date.is_empty() && *date != UNKNOWN_BIRTH_DATE);
        let identifiers = record.get("identifiers").and_then(Value::as_array).into_iter().flatten();
        let mut identity_numbers: Vec<IdentityNumber> = identifiers
            .filter_map(|identifier| {
                IdentityNumber::of(identifier.get("type")?.as_str()?, identifier.get("value")?.as_str()?)
            })
            .collect();
        identity_numbers.sort_unstable();
        identity_numbers.dedup();
        Self {
            name_class,
            pinyin: pinyin_key(&name),
            name: name_key(&name),
            birth_date: birth_date.map(str::to_owned),
            identity_numbers,
        }
    }

    /// Whether there is a valid resident number.
    pub fn has_resident_id(&self) -> bool {
        self.resident_ids().next().is_some()
    }

    /// Leaves the resident numbers out: they count no more.
    pub fn forget_resident_ids(&mut self) {
        self.identity_numbers.retain(|number| number.kind != "resident_id");
    }

    /// Leaves out the value of a key: it counts no more.
    pub fn forget(&mut self, _key: super::BlockKey) {}

    /// Whether two names may be one person's.
    pub fn is_called_like(&self, other: &Self) -> bool {
        self.name == other.name
    }

    /// The valid resident numbers.
    pub(super) fn resident_ids(&self) -> impl Iterator<Item = &str> {
        self.identity_numbers.iter().filter(|number| number.kind == "resident_id").map(|number| number.value.as_str())
    }
}

/// The date that systems put where none is known.
pub(super) const UNKNOWN_BIRTH_DATE: &str = "1900-01-01";

/// Kinds of names; only normal ones take part in matching by identity number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameClass {
    /// No name.
    #[default]
    Missing,
    /// A person's own name.
    Normal,
    /// Named after the mother until there is a name: `张三之子`.
    Newborn,
    /// Nobody knows: `无名氏`, `急诊017`.
    Unknown,
}

/// Ends of newborns' names, before a birth order (`之子甲`, `之女2`).
const NEWBORN_ENDS: [&str; 9] = ["之子", "之女", "之婴", "之男", "之儿", "之男婴", "之女婴", "婴儿", "新生儿"];
/// Birth orders in newborns' names, with Latin letters and digits.
const BIRTH_ORDERS: &str = "甲乙丙丁一二三四大小长次双胎";
/// Beginnings of names in other scripts that mothers' hospitals give.
const NEWBORN_STARTS: [&str; 3] = ["babyof", "babyboy", "babygirl"];
/// Beginnings of the names of patients whom nobody knows.
const UNKNOWN_STARTS: [&str; 11] =
    ["无名", "佚名", "未知", "不详", "姓名不详", "三无", "急诊", "unknown", "emergency", "johndoe", "janedoe"];

impl NameClass {
    /// The class of a name as sent.
    pub fn of(name: &str) -> Self {
        let name = squeezed(name);
        let order = |letter: char| letter.is_ascii_alphanumeric() || BIRTH_ORDERS.contains(letter);
        let named = name.trim_end_matches(order);
        if UNKNOWN_STARTS.iter().any(|start| name.starts_with(start)) {
            Self::Unknown
        } else if name.is_empty() || is_filler(&name) {
            Self::Missing
        } else if NEWBORN_ENDS.iter().any(|end| named.ends_with(end))
            || NEWBORN_STARTS.iter().any(|start| name.starts_with(start))
        {
            Self::Newborn
        } else {
            Self::Normal
        }
    }
}

/// A valid identity number in normal form: what a store indexes and looks up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdentityNumber {
    /// Identifier type of `record::schema`: one of [`IDENTITY_KINDS`].
    pub kind: String,
    /// The number in normal form.
    pub value: String,
}

/// Identifier types that name a person for life or for years, and one person only. Household books and insurance cards are
/// shared in families, visit cards are handed on.
pub const IDENTITY_KINDS: [&str; 4] = ["resident_id", "passport", "hk_macau_permit", "taiwan_permit"];

impl IdentityNumber {
    /// Reads a number of this identifier type; `None` if the type names no person, or the number cannot be real.
    pub fn of(kind: &str, value: &str) -> Option<Self> {
        if !IDENTITY_KINDS.contains(&kind) || is_placeholder(kind, value) {
            return None;
        }
        let value = match kind {
            "resident_id" => ResidentId::read(value)?.number,
            _ => travel_document(value)?,
        };
        Some(Self { kind: kind.to_owned(), value })
    }

    /// Whether the number proves itself by a check character; others need an equal birth date beside them.
    pub(super) fn is_checked(&self) -> bool {
        self.kind == "resident_id"
    }
}

/// Letters and digits of a passport or permit, upper case; `None` if it cannot be one.
fn travel_document(text: &str) -> Option<String> {
    let number: String = text.nfkc().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    // ICAO 9303: nine places, permits up to eleven; at least five digits in every series in use.
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    (number.is_ascii() && (6..=11).contains(&number.len()) && digits >= 5).then_some(number)
}

/// Remarks that registration desks put behind a name.
const REMARKS: [&str; 9] = ["(男)", "(女)", "(vip)", "vip", "(军)", "(本院)", "先生", "女士", "小姐"];

/// Normal form of a name: NFKC, lower case, without blanks, middle dots, remarks (`(男)`, `VIP`) and trailing digits.
pub fn name_key(name: &str) -> String {
    let mut name = squeezed(name);
    loop {
        let shorter = REMARKS.iter().find_map(|remark| name.strip_suffix(remark)).unwrap_or(&name);
        let shorter = shorter.trim_end_matches(|letter: char| letter.is_ascii_digit());
        // What is left of `张先生` names nobody: keep it as it was.
        if shorter.len() == name.len() || shorter.chars().nth(1).is_none() {
            return name;
        }
        name = shorter.to_owned();
    }
}

/// NFKC, lower case, without blanks, invisible characters, and the punctuation that stands between parts.
pub(super) fn squeezed(name: &str) -> String {
    let drop = |letter: &char| {
        letter.is_whitespace() || letter.is_control() || "·•・‧∙⋅.˙,'`’-_\u{200b}\u{feff}".contains(*letter)
    };
    // Again at the end: what stood apart may compose now.
    name.nfkc().filter(|letter| !drop(letter)).flat_map(char::to_lowercase).nfkc().collect()
}

/// Characters that are read differently as a surname.
const SURNAMES: [(&str, &str); 29] = [
    ("尉迟", "yuchi"),
    ("尉遲", "yuchi"),
    ("万俟", "moqi"),
    ("单于", "chanyu"),
    ("澹台", "tantai"),
    ("曾", "zeng"),
    ("单", "shan"),
    ("單", "shan"),
    ("解", "xie"),
    ("仇", "qiu"),
    ("查", "zha"),
    ("区", "ou"),
    ("區", "ou"),
    ("朴", "piao"),
    ("翟", "zhai"),
    ("缪", "miao"),
    ("繆", "miao"),
    ("覃", "qin"),
    ("黑", "he"),
    ("秘", "bi"),
    ("折", "she"),
    ("种", "chong"),
    ("洗", "xian"),
    ("员", "yun"),
    ("員", "yun"),
    ("繁", "po"),
    ("召", "shao"),
    ("祭", "zhai"),
    ("乜", "nie"),
];

/// Toneless pinyin of a name's normal form, surnames by their reading as surnames; other scripts stay.
pub fn pinyin_key(name: &str) -> String {
    let name = name_key(name);
    let (surname, reading) =
        SURNAMES.iter().find(|(surname, _)| name.starts_with(surname)).copied().unwrap_or_default();
    let mut key = reading.to_owned();
    for letter in name[surname.len()..].chars() {
        match letter.to_pinyin() {
            Some(pinyin) => key.push_str(pinyin.plain()),
            None => key.push(letter),
        }
    }
    // Passports write LYU, keyboards LV.
    key.replace('ü', "v").replace("lyu", "lv").replace("nyu", "nv")
}

/// A phone number as digits, without the country code of mainland mobile numbers: what a search compares.
pub fn phone_digits(phone: &str) -> String {
    let digits: String = phone.nfkc().filter(char::is_ascii_digit).collect();
    let national = digits.strip_prefix("00").unwrap_or(&digits).strip_prefix("86");
    let mobile = |number: &&str| number.len() == 11 && number.starts_with('1');
    national.filter(mobile).map(str::to_owned).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json;
    use proptest::prelude::*;

    #[test]
    fn names_are_compared_without_what_desks_put_around_them() {
        for (name, expected) in [
            ("张 三", "张三"),
            ("张　三（男）", "张三"),
            ("张三VIP", "张三"),
            ("张三2", "张三"),
            ("张三丰先生", "张三丰"),
            ("张先生", "张先生"),
            ("阿卜杜拉·买买提", "阿卜杜拉买买提"),
            ("阿卜杜拉．买买提", "阿卜杜拉买买提"),
            ("阿卜杜拉•买买提", "阿卜杜拉买买提"),
            ("ＺＨＡＮＧ Wei", "zhangwei"),
            ("O'Neil, Mary-Ann", "oneilmaryann"),
            ("", ""),
        ] {
            assert_eq!(name_key(name), expected, "{name}");
        }
    }

    #[test]
    fn surnames_are_read_as_surnames() {
        for (name, expected) in [
            ("曾国强", "zengguoqiang"),
            ("单田芳", "shantianfang"),
            ("解小东", "xiexiaodong"),
            ("仇英", "qiuying"),
            ("任长霞", "renzhangxia"),
            ("查良镛", "zhaliangyong"),
            ("尉迟恭", "yuchigong"),
            ("王单", "wangdan"),
            ("張偉", "zhangwei"),
            ("ZHANG Wei", "zhangwei"),
            ("吕女", "lvnv"),
            ("LYU NYU", "lvnv"),
        ] {
            assert_eq!(pinyin_key(name), expected, "{name}");
        }
    }

    #[test]
    fn newborns_and_unknown_patients_are_known_by_their_names() {
        use NameClass::*;
        for (name, expected) in [
            ("张三", Normal),
            ("王之涣", Normal),
            ("ZHANG WEI", Normal),
            ("张三之子", Newborn),
            ("张三 之女", Newborn),
            ("张三之子A", Newborn),
            ("张三之女乙", Newborn),
            ("张三之子2", Newborn),
            ("Baby of Zhang", Newborn),
            ("无名氏", Unknown),
            ("无名氏3", Unknown),
            ("急诊017", Unknown),
            ("Unknown", Unknown),
            ("", Missing),
            (" · ", Missing),
            ("无", Missing),
        ] {
            assert_eq!(NameClass::of(name), expected, "{name}");
        }
    }

    #[test]
    fn facts_hold_valid_identity_numbers_only() {
        let record = json!({
            "name": "张三",
            "birth_date": "1900-01-01",
            "identifiers": [
                {"type": "mrn", "system": "HIS", "value": "11010519491231003X"},
                {"type": "resident_id", "value": "11010519900307345"},
                {"type": "resident_id", "value": "110101199003073458"},
                {"type": "resident_id", "value": "110101900307345"},
                {"type": "passport", "value": " e 12345678 "},
                {"type": "passport", "value": "000000000"},
                {"type": "household_book", "value": "110101199"},
            ],
        });
        let facts = PatientFacts::of(record.as_object().unwrap());
        let numbers: Vec<_> =
            facts.identity_numbers.iter().map(|number| (number.kind.as_str(), number.value.as_str())).collect();
        assert_eq!(numbers, [("passport", "E12345678"), ("resident_id", "110101199003073458")]);
        assert_eq!((facts.name.as_str(), facts.birth_date), ("张三", None));
    }

    proptest! {
        #[test]
        fn normal_forms_are_stable_and_never_panic(text in ".*") {
            prop_assert_eq!(name_key(&name_key(&text)), name_key(&text));
            let _ = (pinyin_key(&text), phone_digits(&text), NameClass::of(&text));
        }
    }
}
