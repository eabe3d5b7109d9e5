//! Two patient records side by side: how far each fact agrees, as a level, not as a weight.
//!
//! The levels are those of record linkage (Fellegi–Sunter with partial agreement); what a level is worth is the model's. A fact that one
//! side does not give is [`Level::Missing`] and speaks neither way. Nothing here depends on any other record.

use serde::{Deserialize, Serialize};

use super::{NameClass, PatientFacts};

/// How far names agree, the best of all names that the two records bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameLevel {
    /// Equal in normal form; Latin names also with their parts in another order.
    Exact,
    /// Chinese characters of the same toneless pinyin.
    SameSound,
    /// One is a rendering of the other: pinyin for characters, `?` or a box for a rare one.
    Rendering,
    /// Chinese names of at least three characters, of which one differs, is missing or too many.
    OneCharacter,
    /// Latin names with a slip or two in one part.
    Similar,
    /// Latin names that share one part; the other is missing, an initial, or another one.
    PartlyEqual,
    /// The surname only.
    SameSurname,
    /// One side has no name that counts.
    Missing,
    /// Anything else.
    Different,
}

/// How far birth dates agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BirthDateLevel {
    /// The same day.
    Exact,
    /// Equal as far as both are given, which is less than a day.
    Partial,
    /// One digit differs, two digits next to each other or day and month are swapped.
    Near,
    /// The same year.
    SameYear,
    /// One side gives none.
    Missing,
    /// Anything else.
    Different,
}

/// How far identity numbers (resident number, passport, permits) agree, the best of all pairs of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberLevel {
    /// The same valid number.
    Exact,
    /// One edit apart (substitution, insertion, deletion, neighbours swapped), and not both valid.
    OneEdit,
    /// Two edits apart, and not both valid.
    TwoEdits,
    /// One side gives none of a kind that the other gives.
    Missing,
    /// Different, at least one of them not valid, or of a kind that is renewed (passports, permits).
    Different,
    /// Both have a valid resident number, and they differ.
    Conflict,
}

/// How far cards agree: insurance, health and other numbers that name a person within their authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardLevel {
    /// A number of one kind and authority is the same.
    Exact,
    /// One edit apart, of at least seven places.
    OneEdit,
    /// No kind and authority in common.
    Missing,
    /// All different.
    Different,
}

/// How far phones agree, the best pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhoneLevel {
    /// The same number.
    Exact,
    /// One edit apart.
    OneEdit,
    /// One side gives none.
    Missing,
    /// All different.
    Different,
}

/// How far addresses agree, the best pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressLevel {
    /// Equal in normal form.
    Exact,
    /// Alike: abbreviated, a slip, the province left out; the house is the same.
    Close,
    /// The same postal code, or the same town or district and street, and no more.
    SameArea,
    /// One side gives none that says more than a town.
    Missing,
    /// Different.
    Different,
}

/// How far the administrative sex agrees; `other` and `unknown` are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SexLevel {
    /// The same.
    Equal,
    /// One side does not say.
    Missing,
    /// Male and female.
    Different,
}

/// A value that two records share and whose frequency says how much that proves: a key of [`super::terms`].
pub type Term = u64;

/// Two records compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Names.
    pub name: NameLevel,
    /// The name that is equal, where [`NameLevel::Exact`]; the sound, where [`NameLevel::SameSound`]; the surname, where
    /// [`NameLevel::SameSurname`].
    pub name_term: Option<Term>,
    /// The share of people who are assumed to bear that name, sound or surname.
    pub name_frequency: Option<f64>,
    /// Birth dates.
    pub birth_date: BirthDateLevel,
    /// Full years between the years of birth; `None` where one is not known.
    pub years_apart: Option<u16>,
    /// Identity numbers.
    pub number: NumberLevel,
    /// Cards; missing where the equal card only repeats the equal identity number (an electronic health card made from it).
    pub card: CardLevel,
    /// Phones.
    pub phone: PhoneLevel,
    /// The phone that is equal.
    pub phone_term: Option<Term>,
    /// Addresses.
    pub address: AddressLevel,
    /// The address that is equal.
    pub address_term: Option<Term>,
    /// Administrative sex.
    pub sex: SexLevel,
    /// The classes of the two names, in the order of the records.
    pub classes: (NameClass, NameClass),
    /// Both are of a multiple birth and their birth orders differ, or one says it is of a multiple birth's other child.
    pub other_birth_order: bool,
}

/// Compares two records; symmetrical but for the order of `classes`.
pub fn compare(one: &PatientFacts, other: &PatientFacts) -> Comparison {
    let name = if one.name.is_empty() || other.name.is_empty() {
        NameLevel::Missing
    } else if one.name == other.name {
        NameLevel::Exact
    } else if one.pinyin == other.pinyin {
        NameLevel::SameSound
    } else {
        NameLevel::Different
    };
    let birth_date = match (&one.birth_date, &other.birth_date) {
        (Some(one), Some(other)) if one == other => BirthDateLevel::Exact,
        (Some(_), Some(_)) => BirthDateLevel::Different,
        _ => BirthDateLevel::Missing,
    };
    Comparison {
        name,
        name_term: None,
        name_frequency: None,
        birth_date,
        years_apart: None,
        number: NumberLevel::Missing,
        card: CardLevel::Missing,
        phone: PhoneLevel::Missing,
        phone_term: None,
        address: AddressLevel::Missing,
        address_term: None,
        sex: SexLevel::Missing,
        classes: (one.name_class, other.name_class),
        other_birth_order: false,
    }
}
