//! Two patient records side by side: how far each fact agrees, as a level, not as a weight.
//!
//! The levels are those of record linkage (Fellegi–Sunter with partial agreement); what a level is worth is the model's. A fact that one
//! side does not give is `Missing` and speaks neither way. Nothing here depends on any other record. Each kind of fact has its file.

mod birth_date;
mod contact;
mod edits;
mod name;
mod number;

use serde::{Deserialize, Serialize};

use super::name::{Name, Script};
use super::number::Card;
use super::{NameClass, PatientFacts};
use birth_date::{birth_dates, own_birth_dates_disagree};
use contact::{addresses, phones};
use name::names;
use number::{cards, numbers, own_resident_ids};

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
    /// The surname only; in letters perhaps with a slip.
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
    /// The same valid resident number, and by the year of birth in it one of the two has borrowed it: a child's under its parent's.
    Lent,
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
    /// The same street of one town or postal code, another house or none.
    SameStreet,
    /// The same postal code, or a street alike in the same town or district.
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
    /// The birth dates disagree that the records themselves give, whatever their numbers say.
    pub own_birth_dates_disagree: bool,
    /// Identity numbers.
    pub number: NumberLevel,
    /// Cards; missing where the equal card only repeats the equal identity number (an electronic health card made from it).
    pub card: CardLevel,
    /// The card that is equal is the person's own, as a social security number is; an insurance card may be a parent's.
    pub is_own_card: bool,
    /// Phones.
    pub phone: PhoneLevel,
    /// The phone that is equal.
    pub phone_term: Option<Term>,
    /// One of them is a child, whose phone is a parent's.
    pub is_child: bool,
    /// The age of the younger, in years; `None` where one is not known.
    pub age: Option<u16>,
    /// Addresses.
    pub address: AddressLevel,
    /// The address that is equal.
    pub address_term: Option<Term>,
    /// The homes have other numbers in their streets.
    pub is_other_house: bool,
    /// Administrative sex.
    pub sex: SexLevel,
    /// Both name the same mother, by her number.
    pub same_mother: bool,
    /// Both names are in letters and not the pinyin of Chinese names.
    pub in_letters: bool,
    /// The classes of the two names, in the order of the records.
    pub classes: (NameClass, NameClass),
    /// Both are of a multiple birth and their birth orders differ, or one says it is of a multiple birth's other child.
    pub other_birth_order: bool,
    /// Both say which child of their birth they are, and it is the same.
    pub same_birth_order: bool,
}

impl Comparison {
    /// How many of what people have of their own are said on both sides and differ: phones, homes, cards.
    pub fn differing_belongings(&self) -> [bool; 3] {
        [
            self.phone == PhoneLevel::Different,
            self.address == AddressLevel::Different || self.is_other_house,
            self.card == CardLevel::Different,
        ]
    }

    /// Whether a number, a phone or an address agrees: what people have of their own, beside name and birthday.
    pub fn shares_belongings(&self) -> bool {
        matches!(self.number, NumberLevel::Exact | NumberLevel::OneEdit | NumberLevel::TwoEdits)
            || matches!(self.card, CardLevel::Exact | CardLevel::OneEdit)
            || matches!(self.phone, PhoneLevel::Exact | PhoneLevel::OneEdit)
            || matches!(self.address, AddressLevel::Exact | AddressLevel::Close)
    }
}

/// Compares two records; symmetrical but for the order of `classes`.
pub fn compare(one: &PatientFacts, other: &PatientFacts) -> Comparison {
    let (name, name_term, name_frequency) = names(one, other);
    let (birth_date, years_apart) = birth_dates(one, other);
    let number = numbers(one, other);
    let card = cards(one, other, number);
    let own_card = |card: &Card| is_own(card) && other.cards.contains(card);
    let first_is = |facts: &PatientFacts, wanted: fn(&Name) -> bool| facts.names.first().is_some_and(wanted);
    let in_letters = |facts| first_is(facts, |name| name.script == Script::Letters);
    let is_pinyin = |facts| first_is(facts, |name| name.is_pinyin);
    let (phone, phone_term) = phones(one, other);
    let (address, address_term, is_other_house) = addresses(one, other);
    let sex = match (one.sex, other.sex) {
        (Some(one), Some(other)) if one == other => SexLevel::Equal,
        (Some(_), Some(_)) => SexLevel::Different,
        _ => SexLevel::Missing,
    };
    let orders = one.birth_order.zip(other.birth_order);
    Comparison {
        name,
        name_term,
        name_frequency,
        birth_date,
        years_apart,
        own_birth_dates_disagree: own_birth_dates_disagree(one, other),
        number,
        card,
        is_own_card: card == CardLevel::Exact && one.cards.iter().any(own_card),
        phone,
        phone_term,
        is_child: one.is_child() || other.is_child(),
        age: one.age.zip(other.age).map(|(one, other)| one.min(other)),
        address,
        address_term,
        is_other_house,
        sex,
        same_mother: one.mother.is_some() && one.mother == other.mother,
        in_letters: in_letters(one) && in_letters(other) && !(is_pinyin(one) && is_pinyin(other)),
        classes: (one.name_class, other.name_class),
        other_birth_order: orders.is_some_and(|(one, other)| one != other),
        same_birth_order: orders.is_some_and(|(one, other)| one == other),
    }
}

/// Whether two records share a valid resident number, or another card, of the patient's own.
pub(super) fn share_own_number(one: &PatientFacts, other: &PatientFacts) -> bool {
    own_resident_ids(one).any(|mine| own_resident_ids(other).any(|theirs| mine == theirs))
        || one.cards.iter().any(|card| is_own(card) && other.cards.contains(card))
}

/// The same, but with a slip, under names in letters.
pub(super) fn share_near_number(one: &PatientFacts, other: &PatientFacts) -> bool {
    let in_letters = |facts: &PatientFacts| facts.names.first().is_some_and(|name| name.script == Script::Letters);
    in_letters(one) && in_letters(other) && cards(one, other, NumberLevel::Missing) == CardLevel::OneEdit
}

/// An insurance card may be a parent's.
fn is_own(card: &Card) -> bool {
    card.kind != "insurance_card"
}

#[cfg(test)]
mod tests;
