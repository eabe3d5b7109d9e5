//! What matching may know of one patient record.

use super::compare::{AddressLevel, BirthDateLevel, NameLevel, NumberLevel, SexLevel, compare};
use super::contact::{Address, contacts};
use super::name::{Name, NameClass, Script, Sex, name_key, newborn_signs, pinyin_key};
use super::number::{Card, IdentityNumber, Numbers};
use super::placeholder::UNKNOWN_BIRTH_DATE;
use crate::record::{Fields, RecordNumber, Value};

/// What matching may know of one patient record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PatientFacts {
    /// Normal form of the name, see [`name_key`]; empty if there is none.
    pub name: String,
    /// Toneless pinyin of the name, see [`pinyin_key`].
    pub pinyin: String,
    /// What kind of name it is.
    pub name_class: NameClass,
    /// The names that count, taken apart, the record's own first: normal ones, and a newborn's own; an unknown patient's never.
    pub names: Vec<Name>,
    /// `YYYY-MM-DD`, or less as sent. Absent where it is a placeholder (1900-01-01).
    pub birth_date: Option<String>,
    /// Male or female; where the record does not say, from the resident number, then from a newborn's name.
    pub sex: Option<Sex>,
    /// Valid identity numbers in normal form, placeholders left out, sorted.
    pub identity_numbers: Vec<IdentityNumber>,
    /// What was meant as a resident number and fails its check, sorted.
    pub near_numbers: Vec<String>,
    /// Cards, placeholders and what repeats an identity number left out, sorted.
    pub cards: Vec<Card>,
    /// Phones as digits, placeholders left out, sorted.
    pub phones: Vec<String>,
    /// Addresses, sorted.
    pub addresses: Vec<Address>,
    /// Birth order in a multiple birth, as sent or from a newborn's name (`张三之子乙`).
    pub birth_order: Option<u8>,
    /// Full years between the year of birth and that in which the source last spoke of the patient.
    pub age: Option<u16>,
    /// The mother's number under its authority; a relation, never an identity.
    pub mother: Option<RecordNumber>,
}

/// Names of one record beyond these do not count: a bound on the work of one comparison.
const MOST_NAMES: usize = 6;

impl PatientFacts {
    /// Reads a patient record.
    pub fn of(record: &Fields) -> Self {
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        let (family, given) = (text("family_name"), text("given_name"));
        let joined;
        let own = match text("name") {
            "" => {
                joined = format!("{family}{given}");
                &joined
            }
            name => name,
        };
        let name_class = NameClass::of(own);
        let own = if name_class == NameClass::Missing { "" } else { own };
        let numbers = Numbers::of(record);
        let (phones, addresses) = contacts(record);
        let (told_order, told_sex) =
            if name_class == NameClass::Newborn { newborn_signs(own) } else { Default::default() };
        let sent_order = record.get("multiple_birth").and_then(|order| match order {
            Value::Number(number) => number.as_u64().and_then(|order| u8::try_from(order).ok()),
            _ => None,
        });
        let birth_date = Some(text("birth_date")).filter(|date| !date.is_empty() && *date != UNKNOWN_BIRTH_DATE);
        let sex = match text("sex") {
            "male" => Some(Sex::Male),
            "female" => Some(Sex::Female),
            _ => numbers.identity.iter().find_map(sex_of).or(told_sex),
        };
        let names = names(record, own, name_class, family, given);
        let (name, pinyin) = match names.first().filter(|_| is_named(name_class)) {
            Some(first) if first.script != Script::Letters => (first.key.clone(), first.sound.clone()),
            _ => (name_key(own), pinyin_key(own)),
        };
        Self {
            name,
            pinyin,
            name_class,
            names,
            age: birth_date.and_then(year).zip(year(text("updated_at"))).map(|(born, said)| said.saturating_sub(born)),
            birth_date: birth_date.map(str::to_owned),
            sex,
            identity_numbers: numbers.identity,
            near_numbers: numbers.near,
            cards: numbers.cards,
            phones,
            addresses,
            birth_order: sent_order.filter(|order| (1..=9).contains(order)).or(told_order),
            mother: mother(record),
        }
    }

    /// Whether the names of two records may be one person's: equal, alike or nearly so; in letters also any two of one birth date.
    pub fn is_called_like(&self, other: &Self) -> bool {
        let compared = compare(self, other);
        compared.name <= NameLevel::PartlyEqual || compared.in_letters && compared.birth_date == BirthDateLevel::Exact
    }

    /// Whether two records say who they are and nothing of it agrees: name, birth date and sex differ, and neither a number nor a phone nor
    /// a home is shared.
    pub fn is_wholly_other(&self, other: &Self) -> bool {
        let compared = compare(self, other);
        compared.classes == (NameClass::Normal, NameClass::Normal)
            && matches!(compared.name, NameLevel::SameSurname | NameLevel::Different)
            && compared.birth_date == BirthDateLevel::Different
            && compared.sex == SexLevel::Different
            && !compared.shares_belongings()
            && compared.number != NumberLevel::Lent
            && compared.address != AddressLevel::SameStreet
    }

    /// Whether there is a valid resident number.
    pub fn has_resident_id(&self) -> bool {
        self.resident_ids().next().is_some()
    }

    /// Whether the patient is so young that a phone is a parent's.
    pub(super) fn is_child(&self) -> bool {
        self.age.is_some_and(|age| age < CHILDHOOD)
    }

    /// Leaves the resident numbers out: they count no more.
    pub fn forget_resident_ids(&mut self) {
        self.identity_numbers.retain(|number| number.kind != "resident_id");
    }

    /// The valid resident numbers.
    pub(super) fn resident_ids(&self) -> impl Iterator<Item = &str> {
        self.identity_numbers.iter().filter(|number| number.kind == "resident_id").map(|number| number.value.as_str())
    }
}

/// Years in which few have a phone of their own.
const CHILDHOOD: u16 = 15;

fn year(date: &str) -> Option<u16> {
    date.get(..4)?.parse().ok()
}

fn is_named(class: NameClass) -> bool {
    matches!(class, NameClass::Normal | NameClass::Newborn)
}

fn names(record: &Fields, own: &str, class: NameClass, family: &str, given: &str) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    if is_named(class) {
        names.extend(Name::of(own, family, given));
    }
    let others = record.get("other_names").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for other in others.filter(|other| NameClass::of(other) == NameClass::Normal) {
        if let Some(name) = Name::of(other, "", "").filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    names.truncate(MOST_NAMES);
    names
}

/// The 17th digit is odd for men (GB 11643-1999).
fn sex_of(number: &IdentityNumber) -> Option<Sex> {
    let digit = number.value.as_bytes().get(16).filter(|_| number.is_checked())?;
    Some(if digit % 2 == 1 { Sex::Male } else { Sex::Female })
}

fn mother(record: &Fields) -> Option<RecordNumber> {
    let mother = record.get("mother_identifier")?;
    let text = |name: &str| mother.get(name).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    // Without its authority a number may be any mother's.
    Some(RecordNumber { system: text("system"), value: text("value") })
        .filter(|number| !number.value.is_empty() && !number.system.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json;

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
}
