//! Numbers that name a person: identity numbers, what was meant as one, and cards.

use unicode_normalization::UnicodeNormalization;

use super::name::squeezed;
use super::placeholder::{UNKNOWN_BIRTH_DATE, is_filler, is_placeholder};
use crate::record::resident_id::ResidentId;
use crate::record::{Fields, Value};

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

    /// Whether the number proves itself by a check character.
    pub(super) fn is_checked(&self) -> bool {
        self.kind == "resident_id"
    }
}

/// Letters and digits of a passport or permit, upper case; `None` if it cannot be one.
fn travel_document(text: &str) -> Option<String> {
    let number = plain(text);
    // ICAO 9303: nine places, permits up to eleven; at least five digits in every series in use.
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    (number.is_ascii() && (6..=11).contains(&number.len()) && digits >= 5).then_some(number)
}

/// Letters and digits of a number, upper case.
fn plain(text: &str) -> String {
    if text.is_ascii() {
        return text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect();
    }
    text.nfkc().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

/// A number that names a person within its authority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Card {
    /// Identifier type of `record::schema`: one of [`CARD_KINDS`].
    pub kind: String,
    /// The assigning authority in upper case; empty for insurance and health cards, which are one series wherever they were read.
    pub system: String,
    /// Letters and digits, upper case.
    pub value: String,
}

/// Identifier types of cards. Patient numbers, accounts, visit cards and household books are none: they name no person, or
/// several.
pub const CARD_KINDS: [&str; 5] = ["insurance_card", "health_card", "officer_id", "resident_id", "other"];

/// Fewest letters and digits of a card: shorter numbers are equal by chance.
const SHORTEST_CARD: usize = 5;

impl Card {
    /// Reads a card; `None` if the type is none, or the number cannot be anybody's.
    fn of(kind: &str, system: &str, value: &str) -> Option<Self> {
        if !CARD_KINDS.contains(&kind) {
            return None;
        }
        let number = plain(value);
        // A national number of another country; what is as long as the Chinese one was meant as one.
        if kind == "resident_id" && number.len() >= 14 {
            return None;
        }
        let resident = if number.len() >= 15 { ResidentId::read(&number) } else { None };
        if resident.as_ref().is_some_and(|id| id.birth_date == UNKNOWN_BIRTH_DATE) {
            return None;
        }
        // A number of an unnamed kind and authority is compared with nothing.
        let is_named = kind != "other" || !system.trim().is_empty();
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        let is_card = number.len() >= SHORTEST_CARD && number.len() <= 64 && digits >= 3;
        if !is_named || !is_card || is_filler(&number.to_ascii_lowercase()) || is_filler(&squeezed(value)) {
            return None;
        }
        let is_one_series = kind != "other";
        let system = if is_one_series { String::new() } else { squeezed(system).to_uppercase() };
        let value = resident.map_or(number, |id| id.number);
        Some(Self { kind: kind.to_owned(), system, value })
    }

    /// Whether the number has the form of a resident number, which many regions print on their cards.
    pub(super) fn is_resident_number(&self) -> bool {
        self.value.len() == 18 && ResidentId::read(&self.value).is_some()
    }
}

/// A text that was meant as a resident number and is none, in upper case: 14 to 19 digits, the last maybe `X`. Of numbers whose
/// type is `other` only what also has a birth date in the right place.
fn near_resident(kind: &str, text: &str) -> Option<String> {
    if !matches!(kind, "resident_id" | "other") {
        return None;
    }
    let number = plain(text);
    let body = number.strip_suffix('X').unwrap_or(&number);
    let is_digits = body.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits || !(14..=19).contains(&number.len()) || ResidentId::read(&number).is_some() || is_filler(&number) {
        return None;
    }
    let mut seen = [false; 10];
    body.bytes().for_each(|byte| seen[usize::from(byte - b'0')] = true);
    let part = |places: std::ops::Range<usize>| body.get(places).and_then(|part| part.parse::<u32>().ok());
    let (year, month, day) = if number.len() <= 16 {
        (part(6..8).map(|year| 1900 + year), part(8..10), part(10..12))
    } else {
        (part(6..10), part(10..12), part(12..14))
    };
    let is_date = |year| {
        (1900..2100).contains(&year)
            && month.is_some_and(|month| (1..=12).contains(&month))
            && day.is_some_and(|day| (1..=31).contains(&day))
    };
    let is_unknown = year == Some(1900) && month == Some(1) && day == Some(1);
    let is_typed = kind == "resident_id" || matches!(number.len(), 15 | 17 | 18) && year.is_some_and(is_date);
    let is_varied = seen.iter().filter(|seen| **seen).count() >= 4 && !number.starts_with("00");
    (is_typed && is_varied && !is_unknown).then_some(number)
}

/// All numbers of a patient record that name a person.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) identity: Vec<IdentityNumber>,
    pub(super) near: Vec<String>,
    pub(super) cards: Vec<Card>,
}

impl Numbers {
    pub(super) fn of(record: &Fields) -> Self {
        let list = |name: &str| record.get(name).and_then(Value::as_array).into_iter().flatten();
        let mut numbers = Self::default();
        for identifier in list("identifiers") {
            let text = |name: &str| identifier.get(name).and_then(Value::as_str).unwrap_or_default();
            let (kind, value) = (text("type"), text("value"));
            if let Some(number) = IdentityNumber::of(kind, value) {
                numbers.identity.push(number);
            } else if let Some(near) = near_resident(kind, value) {
                numbers.near.push(near);
            } else if let Some(card) = Card::of(kind, text("system"), value) {
                numbers.cards.push(card);
            }
        }
        let insured = list("insurance").filter_map(|insurance| insurance.get("number")?.as_str());
        numbers.cards.extend(insured.filter_map(|number| Card::of("insurance_card", "", number)));
        let Self { identity, near, cards } = &mut numbers;
        // Many regions print the resident number on their cards: where it is not given itself, this is it.
        if !identity.iter().any(IdentityNumber::is_checked) {
            let borne = cards.iter().filter_map(|card| IdentityNumber::of("resident_id", &card.value));
            identity.extend(borne.take(1));
        }
        sort(identity);
        sort(near);
        sort(cards);
        // Made from the identity number: the same evidence again.
        cards.retain(|card| {
            !identity.iter().any(|number| card.value.contains(&number.value)) && !near.contains(&card.value)
        });
        numbers
    }
}

fn sort<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json;

    /// One identifier `type:system:value` and an insured number, as `identity | near | cards`.
    fn check(identifiers: &[(&str, &str, &str)], insured: &str, expected: &str) {
        let identifiers = identifiers
            .iter()
            .map(|(kind, system, value)| json!({"type": (*kind), "system": (*system), "value": (*value)}))
            .collect();
        let mut record = Fields::new();
        record.insert("identifiers", Value::Array(identifiers));
        record.insert("insurance", json!([{"number": insured}]));
        let Numbers { identity, near, cards } = Numbers::of(&record);
        let identity: Vec<&str> = identity.iter().map(|number| number.value.as_str()).collect();
        let cards: Vec<String> = cards.iter().map(|card| format!("{}:{}", card.system, card.value)).collect();
        let found = format!("{} | {} | {}", identity.join(" "), near.join(" "), cards.join(" "));
        assert_eq!(found, expected, "{record:?}");
    }

    #[test]
    fn case_5_a_slip_in_a_resident_number_is_kept_apart_from_valid_ones() {
        for number in ["110101199003073450", "11010119900307345", "1101011990030734588", "110101900307998"] {
            check(&[("resident_id", "", number)], "", &format!(" | {number} | "));
        }
        // What is no resident number by its type has to look like one.
        check(&[("other", "SSN", "110101199003073450")], "", " | 110101199003073450 | ");
        check(&[("other", "BANK", "622202219053073450")], "", " |  | BANK:622202219053073450");
    }

    #[test]
    fn case_10_placeholders_are_no_numbers_of_any_kind() {
        for number in
            ["111111111111111111", "000000000000000000", "123456789012345678", "110101190001011009", "none", "无", ""]
        {
            for kind in ["resident_id", "other", "insurance_card", "passport"] {
                check(&[(kind, "S", number)], number, " |  | ");
            }
        }
    }

    #[test]
    fn case_31_a_card_made_from_the_identity_number_is_no_second_evidence() {
        let (own, made) = (("resident_id", "", "110101199003073458"), ("health_card", "", "H110101199003073458A"));
        check(&[own, made], "110101199003073458", "110101199003073458 |  | ");
        check(&[own], "110101900307345", "110101199003073458 |  | ");
        check(&[own], "A1234509", "110101199003073458 |  | :A1234509");
        check(&[], "110101199003073458", "110101199003073458 |  | ");
    }

    #[test]
    fn numbers_that_name_no_person_are_no_cards() {
        for kind in ["mrn", "visit_card", "account", "household_book"] {
            check(&[(kind, "S", "P1234509")], "12", " |  | ");
        }
        check(&[("other", "", "1234509")], "", " |  | ");
        check(&[("other", "SSN", "123-450-9")], "", " |  | SSN:1234509");
    }
}
