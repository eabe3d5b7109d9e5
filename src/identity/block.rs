//! Under what a record is found: keys that two records of one person share, whatever else was mistyped, and that few others do.
//!
//! Keys are stored. Their fingerprints (`hash`) and the numbers of their kinds never change between versions; a key that is
//! computed otherwise is a new kind, for which a store is indexed again.

use super::PatientFacts;
use super::compare::Term;
use super::frequency::name_frequency;
use super::hash::fingerprint;
use super::name::{Name, NameClass, Script, Sex, pinyin_surnames, plain_umlaut};
use super::number::{Card, IdentityNumber};

/// What a key is made of. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BlockKind {
    /// An identity number.
    IdentityNumber = 1,
    /// A resident number without one of its parts (region, birth date, serial): a slip is in one of them.
    ResidentNumberPart = 2,
    /// A card.
    Card = 3,
    /// A phone.
    Phone = 4,
    /// Name and birth date.
    NameBirthDate = 5,
    /// Sound of the name and year of birth: of names that few bear, and of names in letters.
    SoundBirthYear = 6,
    /// Sound of the surname, birth date and sex.
    SurnameBirthDate = 7,
    /// Sound of the name, and address: where no birth date is known.
    NameAddress = 8,
    /// A part of a name in letters, with a part of the birth date.
    PartBirthDate = 9,
    /// A part of a name in letters, and the postal code.
    PartPostalCode = 10,
    /// Street and house in letters.
    StreetHouse = 11,
    /// Birth date and postal code or town, where the address is in letters.
    BirthDatePlace = 12,
    /// A name in letters, whatever the order of its parts, and the town.
    NameTown = 13,
}

/// Share of people up to which a name with a year of birth is a key. Of a more common one they prove too little to ask about (a name of
/// this share weighs 13 bits, a birth date that is nearly the same 6, the sex 1, and it starts at -20), and those who share them become
/// ever more as a town grows.
const TELLING_NAME: f64 = 1.2e-4;

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey {
    /// What it is made of.
    pub kind: BlockKind,
    /// Fingerprint of kind and values.
    pub hash: u64,
}

/// What is counted for term frequencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TermKind {
    /// Names.
    Name = 1,
    /// Sounds of Chinese names.
    Sound = 2,
    /// Surnames.
    Surname = 3,
    /// Phones.
    Phone = 4,
    /// Addresses.
    Address = 5,
}

/// All keys of a record, sorted. An unknown patient has those of numbers only, a newborn none by name.
pub fn keys(facts: &PatientFacts) -> Vec<BlockKey> {
    let mut keys = Keys(Vec::with_capacity(16));
    for number in &facts.identity_numbers {
        keys.0.push(number_key(number));
        if number.is_checked() {
            keys.add_parts(facts, &number.value);
        }
    }
    facts.near_numbers.iter().for_each(|number| keys.add_parts(facts, number));
    for card in &facts.cards {
        keys.0.push(card_key(card));
    }
    if facts.name_class != NameClass::Unknown {
        facts.phones.iter().for_each(|phone| keys.add(BlockKind::Phone, &[phone]));
    }
    let has_own_name = matches!(facts.name_class, NameClass::Normal | NameClass::Missing);
    for name in facts.names.iter().filter(|_| has_own_name) {
        match name.script {
            Script::Chinese | Script::Damaged => keys.add_name(facts, name),
            Script::Letters => keys.add_letters(facts, name),
        }
    }
    if has_own_name {
        keys.add_letters_addresses(facts);
    }
    keys.0.sort_unstable();
    keys.0.dedup();
    keys.0
}

fn key(kind: BlockKind, values: &[&str]) -> BlockKey {
    let number = (kind as u8).to_string();
    BlockKey { kind, hash: fingerprint(&[&[number.as_str()], values].concat()) }
}

impl BlockKind {
    /// What the value is called, of which a patient has a number of their own; `None` for keys made of several facts.
    pub fn value_name(self) -> Option<&'static str> {
        match self {
            Self::IdentityNumber => Some("identity number"),
            Self::Card => Some("card"),
            Self::Phone => Some("phone"),
            _ => None,
        }
    }
}

impl PatientFacts {
    /// Leaves out the number, card or phone of this key: it counts no more.
    pub fn forget(&mut self, forgotten: BlockKey) {
        let stays = |other: BlockKey| other != forgotten;
        self.identity_numbers.retain(|number| stays(number_key(number)));
        self.cards.retain(|card| stays(card_key(card)));
        self.phones.retain(|phone| stays(key(BlockKind::Phone, &[phone])));
    }
}

fn number_key(number: &IdentityNumber) -> BlockKey {
    key(BlockKind::IdentityNumber, &[&number.kind, &number.value])
}

fn card_key(card: &Card) -> BlockKey {
    if card.is_resident_number() {
        key(BlockKind::IdentityNumber, &["resident_id", &card.value])
    } else {
        key(BlockKind::Card, &[&card.kind, &card.system, &card.value])
    }
}

struct Keys(Vec<BlockKey>);

impl Keys {
    fn add(&mut self, kind: BlockKind, values: &[&str]) {
        self.0.push(key(kind, values));
    }

    /// Region and birth date, birth date and serial, region and serial: places 1 to 6, 7 to 14, 15 to 18. Whatever is too many or
    /// too few stands in one of the parts. The first and the last are shared by ever more people of a town as it grows: only a record
    /// that cannot be found by name and birth date has them.
    fn add_parts(&mut self, facts: &PatientFacts, number: &str) {
        let long;
        let number = if number.len() <= 16 {
            long = format!("{}19{}?", &number[..6], &number[6..]);
            &long
        } else {
            number
        };
        let last = number.len() - 1;
        self.add(BlockKind::ResidentNumberPart, &["23", &number[last - 11..last]]);
        if facts.names.is_empty() || facts.birth_date.is_none() {
            self.add(BlockKind::ResidentNumberPart, &["12", &number[..14]]);
            self.add(BlockKind::ResidentNumberPart, &["13", &number[..6], &number[last - 3..]]);
        }
    }

    fn add_name(&mut self, facts: &PatientFacts, name: &Name) {
        for date in dates(facts) {
            self.add(BlockKind::NameBirthDate, &[&name.key, date]);
            if name_frequency(name) <= TELLING_NAME {
                self.add(BlockKind::SoundBirthYear, &[&name.sound, date.get(..4).unwrap_or_default()]);
            }
            if date.len() == 10 && !name.surname_sound.is_empty() {
                self.add(BlockKind::SurnameBirthDate, &[&name.surname_sound, date, sex(facts)]);
            }
        }
        for address in facts.addresses.iter().filter(|address| !address.house.is_empty()) {
            self.add(BlockKind::NameAddress, &[&name.sound, &address.street, &address.house]);
        }
    }

    fn add_letters(&mut self, facts: &PatientFacts, name: &Name) {
        for date in dates(facts) {
            // ZHANG WEI, Wei Zhang and 张伟 meet here.
            self.add(BlockKind::SoundBirthYear, &[&name.sound, date.get(..4).unwrap_or_default()]);
            if !name.surname.is_empty() {
                let turned = plain_umlaut(format!("{}{}", name.surname, name.given));
                self.add(BlockKind::SoundBirthYear, &[&turned, date.get(..4).unwrap_or_default()]);
            }
        }
        // ZHANG WEI meets 张伟 by surname and birth date, however common the name.
        for surname in pinyin_surnames(name) {
            for date in dates(facts).filter(|date| date.len() == 10) {
                let sexes = match sex(facts) {
                    "" => &["", "m", "f"][..],
                    "m" => &["m"],
                    _ => &["f"],
                };
                sexes.iter().for_each(|sex| self.add(BlockKind::SurnameBirthDate, &[surname, date, sex]));
            }
        }
        let parts = || [&name.surname, &name.given].into_iter().filter(|part| !part.is_empty());
        let whole = letters_of(&name.sound);
        for part in parts() {
            for date in dates(facts).filter(|date| date.len() == 10) {
                self.add(BlockKind::PartBirthDate, &[&skeleton(part), date]);
            }
        }
        for address in &facts.addresses {
            for part in parts().filter(|_| !address.postal_code.is_empty()) {
                self.add(BlockKind::PartPostalCode, &[&letters_of(part), &address.postal_code]);
            }
            if !address.area.is_empty() {
                self.add(BlockKind::NameTown, &[&whole, &letters_of(&address.area)]);
            }
        }
    }

    /// Where addresses are in letters, whatever the name: it may be mistyped in both parts.
    fn add_letters_addresses(&mut self, facts: &PatientFacts) {
        for address in facts.addresses.iter().filter(|address| address.script == Script::Letters) {
            for date in dates(facts).filter(|date| date.len() == 10) {
                for place in [&address.postal_code, &address.area].into_iter().filter(|place| !place.is_empty()) {
                    self.add(BlockKind::BirthDatePlace, &[date, &letters_of(place)]);
                }
            }
            for line in [&address.street, &address.extra] {
                if !address.house.is_empty() && !line.is_empty() {
                    self.add(BlockKind::StreetHouse, &[&letters_of(line), &address.house]);
                }
            }
        }
    }
}

/// The letters of a word in the order of the alphabet: two that were swapped make no difference.
fn letters_of(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters.into_iter().collect()
}

/// The consonants of a word, each once, in the order of the alphabet; all its letters, where it has fewer than two.
fn skeleton(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().filter(|letter| !"aeiouyhw".contains(*letter)).collect();
    letters.sort_unstable();
    letters.dedup();
    if letters.len() < 2 { letters_of(word) } else { letters.into_iter().collect() }
}

/// The record's own birth date.
fn dates(facts: &PatientFacts) -> impl Iterator<Item = &str> {
    facts.birth_date.as_deref().into_iter()
}

fn sex(facts: &PatientFacts) -> &'static str {
    match facts.sex {
        Some(Sex::Male) => "m",
        Some(Sex::Female) => "f",
        None => "",
    }
}

/// What is counted of a record, each term once, sorted.
pub fn terms(facts: &PatientFacts) -> Vec<(TermKind, Term)> {
    let mut terms = Vec::with_capacity(8);
    for name in &facts.names {
        terms.push((TermKind::Name, name.term));
        terms.extend(name.sound_term.map(|term| (TermKind::Sound, term)));
        terms.extend(name.surname_term.map(|term| (TermKind::Surname, term)));
    }
    terms.extend(facts.phones.iter().map(|phone| (TermKind::Phone, phone_term(phone))));
    terms.extend(facts.addresses.iter().map(|address| (TermKind::Address, address.term)));
    terms.sort_unstable();
    terms.dedup();
    terms
}

pub(super) fn phone_term(phone: &str) -> Term {
    fingerprint(&[phone])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::resident_id::ResidentId;
    use crate::record::{Value, json};

    fn keys_of(record: &Value) -> Vec<BlockKey> {
        keys(&PatientFacts::of(record.as_object().unwrap()))
    }

    #[test]
    fn what_may_be_one_person_shares_a_key() {
        for (one, other, kind) in [
            (
                json!({"name": "张伟", "birth_date": "1990-03-07"}),
                json!({"name": "張 伟", "birth_date": "1990-03-07"}),
                BlockKind::NameBirthDate,
            ),
            (
                json!({"name": "欧阳喆", "birth_date": "1990-03-07"}),
                json!({"name": "OUYANG ZHE", "birth_date": "1990-12-28"}),
                BlockKind::SoundBirthYear,
            ),
            (
                json!({"name": "欧阳喆", "birth_date": "1990-03-07"}),
                json!({"name": "ZHE OUYANG", "birth_date": "1990"}),
                BlockKind::SoundBirthYear,
            ),
            (
                json!({"name": "张伟", "sex": "male", "birth_date": "1990-03-07"}),
                json!({"name": "zhangwei", "sex": "male", "birth_date": "1990-03-07"}),
                BlockKind::SurnameBirthDate,
            ),
            (
                json!({"name": "张伟", "sex": "male", "birth_date": "1990-03-07"}),
                json!({"name": "WEI ZHANG", "birth_date": "1990-03-07"}),
                BlockKind::SurnameBirthDate,
            ),
            (
                json!({"name": "张国强", "birth_date": "1990-03-07"}),
                json!({"name": "张国栋", "birth_date": "1990-03-07"}),
                BlockKind::SurnameBirthDate,
            ),
            (
                json!({"name": "张伟", "birth_date": "1990-03-07", "addresses": [{"text": "知春路5号"}]}),
                json!({"name": "张伟", "addresses": [{"text": "知春路5"}]}),
                BlockKind::NameAddress,
            ),
            (
                json!({"phones": [{"value": "13812345678"}]}),
                json!({"phones": [{"value": "+86 13812345678"}]}),
                BlockKind::Phone,
            ),
            (
                json!({"insurance": [{"number": "A1234509"}]}),
                json!({"insurance": [{"number": "a-1234509"}]}),
                BlockKind::Card,
            ),
            (
                json!({"insurance": [{"number": "110101199003073458"}]}),
                json!({"identifiers": [{"type": "resident_id", "value": "110101900307345"}]}),
                BlockKind::IdentityNumber,
            ),
            (
                json!({"name": "katelyn colegate", "birth_date": "1990-03-07"}),
                json!({"name": "colegtea katelny", "birth_date": "1990-03-07"}),
                BlockKind::PartBirthDate,
            ),
        ] {
            let shared: Vec<_> = keys_of(&one).into_iter().filter(|key| keys_of(&other).contains(key)).collect();
            assert!(shared.iter().any(|key| key.kind == kind), "{one:?} {other:?} {shared:?}");
        }
    }

    #[test]
    fn a_common_name_and_a_year_of_birth_are_no_key() {
        let by_year = |name: &str| {
            let keys = keys_of(&json!({"name": name, "birth_date": "1990-03-07"}));
            keys.iter().any(|key| key.kind == BlockKind::SoundBirthYear)
        };
        assert_eq!(["张伟", "欧阳喆", "JOHN SMITH"].map(by_year), [false, true, true]);
    }

    #[test]
    fn case_5_a_resident_number_is_found_whatever_digit_is_wrong() {
        let number = |value: &str| json!({"identifiers": [{"type": "resident_id", "value": value}]});
        let valid = "110101199003073458";
        let known = keys_of(&number(valid));
        for place in 0..18 {
            let mut wrong = valid.to_owned();
            let digit = if &valid[place..=place] == "7" { "2" } else { "7" };
            wrong.replace_range(place..=place, digit);
            assert!(keys_of(&number(&wrong)).iter().any(|key| known.contains(key)), "{wrong}");
            wrong.remove(place);
            // One in eleven is another valid number, whose X was left out.
            if ResidentId::read(&wrong).is_some() {
                continue;
            }
            assert!(keys_of(&number(&wrong)).iter().any(|key| known.contains(key)), "{wrong}");
        }
    }

    #[test]
    fn case_22_who_is_unknown_or_newborn_is_not_found_by_name() {
        for (name, phone) in [("无名氏", false), ("急诊017", false), ("张三之子", true)] {
            let record = json!({
                "name": name, "birth_date": "2024-03-07", "phones": [{"value": "13812345678"}],
                "addresses": [{"text": "知春路5号"}],
            });
            let kinds: Vec<_> = keys_of(&record).into_iter().map(|key| key.kind).collect();
            assert_eq!(kinds, if phone { vec![BlockKind::Phone] } else { vec![] }, "{name}");
        }
    }
}
