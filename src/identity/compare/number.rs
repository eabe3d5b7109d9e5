//! How far numbers agree: those that name a person for life, and cards.

use super::super::PatientFacts;
use super::super::number::Card;
use super::edits::{edits, is_one_edit};
use super::{CardLevel, NumberLevel};

pub(super) fn numbers(one: &PatientFacts, other: &PatientFacts) -> NumberLevel {
    let shares = |checked: bool| {
        let mut mine = one.identity_numbers.iter().filter(|number| number.is_checked() == checked);
        mine.any(|number| other.identity_numbers.contains(number))
    };
    if shares(true) {
        let borrowed = |facts: &PatientFacts| own_resident_ids(facts).next().is_none();
        return match (borrowed(one), borrowed(other)) {
            (false, false) => NumberLevel::Exact,
            (true, true) => NumberLevel::Missing,
            _ => NumberLevel::Lent,
        };
    }
    // Also where one of them may be a parent's: nobody is linked against a number.
    let clash = one.resident_ids().any(|mine| other.resident_ids().any(|theirs| series(mine) == series(theirs)));
    if clash {
        return NumberLevel::Conflict;
    }
    if shares(false) {
        return NumberLevel::Exact;
    }
    let to_theirs = one.near_numbers.iter().flat_map(|near| resident_like(other).map(|theirs| apart(near, theirs)));
    let to_mine = other.near_numbers.iter().flat_map(|near| one.resident_ids().map(|mine| apart(near, mine)));
    match to_theirs.chain(to_mine).min() {
        Some(..=1) => NumberLevel::OneEdit,
        Some(2) => NumberLevel::TwoEdits,
        Some(_) => NumberLevel::Different,
        None if one
            .identity_numbers
            .iter()
            .any(|mine| other.identity_numbers.iter().any(|theirs| mine.kind == theirs.kind)) =>
        {
            NumberLevel::Different
        }
        None => NumberLevel::Missing,
    }
}

/// The resident numbers that may be the record's own: a number whose year of birth is far from the record's is a parent's.
pub(super) fn own_resident_ids(facts: &PatientFacts) -> impl Iterator<Item = &str> {
    let born = facts.birth_date.as_deref().and_then(year);
    facts.resident_ids().filter(move |number| {
        let says = number.get(6..10).and_then(year);
        born.zip(says).is_none_or(|(born, says)| born.abs_diff(says) < YEARS_OF_PARENTS)
    })
}

/// Nobody is a parent earlier.
const YEARS_OF_PARENTS: u16 = 12;

fn year(date: &str) -> Option<u16> {
    date.get(..4)?.parse().ok()
}

/// Citizens' numbers, residence permits of Hong Kong, Macao and Taiwan (81 to 83), permits of foreign residents (9): one person may come
/// to have one of each.
fn series(number: &str) -> u8 {
    number.bytes().next().filter(|digit| matches!(digit, b'8' | b'9')).unwrap_or_default()
}

fn resident_like(facts: &PatientFacts) -> impl Iterator<Item = &str> {
    facts.resident_ids().chain(facts.near_numbers.iter().map(String::as_str))
}

/// Edits between two numbers; of a long and a short form those between the short ones (no century, no check character).
fn apart(one: &str, other: &str) -> usize {
    let is_short = |number: &str| number.len() <= 16;
    let shortened = |number: &str| match (number.get(..6), number.get(8..17.min(number.len()))) {
        (Some(region), Some(rest)) => format!("{region}{rest}"),
        _ => number.to_owned(),
    };
    match (is_short(one), is_short(other)) {
        (true, false) => edits(one, &shortened(other)),
        (false, true) => edits(&shortened(one), other),
        _ => edits(one, other),
    }
}

pub(super) fn cards(one: &PatientFacts, other: &PatientFacts, number: NumberLevel) -> CardLevel {
    // A card that bears the other's resident number: the same evidence again where the numbers are equal, else the number itself.
    let bears = |card: &Card, facts: &PatientFacts| facts.resident_ids().any(|number| card.value.contains(number));
    let is_borne = one.cards.iter().any(|card| bears(card, other)) || other.cards.iter().any(|card| bears(card, one));
    if is_borne && number != NumberLevel::Exact {
        return CardLevel::Exact;
    }
    let mut best = CardLevel::Missing;
    for mine in one.cards.iter().filter(|card| !is_borne || !bears(card, other)) {
        for theirs in other.cards.iter().filter(|card| !is_borne || !bears(card, one)) {
            if mine.kind == theirs.kind && mine.system == theirs.system {
                let is_long = mine.value.len().min(theirs.value.len()) >= 7;
                let level = if mine.value == theirs.value {
                    return CardLevel::Exact;
                } else if is_long && is_one_edit(&mine.value, &theirs.value) {
                    CardLevel::OneEdit
                } else {
                    CardLevel::Different
                };
                best = if best == CardLevel::Missing { level } else { best.min(level) };
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::tests::{both, numbered};
    use super::*;
    use crate::record::json;

    #[test]
    fn numbers_agree_level_by_level() {
        use NumberLevel::*;
        let valid = ("resident_id", "110101199003073458");
        for (one, two, expected) in [
            (valid, valid, Exact),
            (valid, ("resident_id", "110101900307345"), Exact),
            // 5: a near number is near, never a conflict.
            (valid, ("resident_id", "110101199003073450"), OneEdit),
            (valid, ("resident_id", "110101199003037458"), OneEdit),
            (valid, ("resident_id", "11010119900307345"), OneEdit),
            (valid, ("other", "110101199003073450"), OneEdit),
            (valid, ("resident_id", "110101199003074350"), TwoEdits),
            (("resident_id", "110101199003073450"), ("resident_id", "110101199003073450"), OneEdit),
            // 6
            (valid, ("resident_id", "11010519491231002X"), Conflict),
            // 30: renewed, or of another kind.
            (("passport", "E12345679"), ("passport", "E98765431"), Different),
            (("passport", "E12345679"), ("hk_macau_permit", "H12345679"), Missing),
            (valid, ("passport", "E12345679"), Missing),
            (valid, ("mrn", "110101199003073458"), Missing),
        ] {
            assert_eq!(both(numbered(one.0, one.1), numbered(two.0, two.1)).number, expected, "{one:?} {two:?}");
        }
    }

    #[test]
    fn cards_agree_within_their_kind_and_authority() {
        use CardLevel::*;
        for (one, two, expected) in [
            (("insurance_card", "A1234509"), ("insurance_card", "a 1234509"), Exact),
            (("insurance_card", "A1234509"), ("insurance_card", "A1234589"), OneEdit),
            (("insurance_card", "A1234509"), ("insurance_card", "B7654321"), Different),
            (("insurance_card", "A1234509"), ("health_card", "A1234509"), Missing),
            // 31: the number on the card is the identity number, and one piece of evidence.
            (("insurance_card", "110101199003073458"), ("resident_id", "110101199003073458"), Missing),
        ] {
            assert_eq!(both(numbered(one.0, one.1), numbered(two.0, two.1)).card, expected, "{one:?} {two:?}");
        }
        let own = json!({"insurance": [{"number": "110101900307345"}], "identifiers": [
            {"type": "resident_id", "value": "110101199003073458"}, {"type": "health_card", "value": "H110101199003073458"},
        ]});
        assert_eq!(both(own.clone(), own).card, Missing);
    }
}
