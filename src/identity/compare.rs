//! Two patient records side by side: how far each fact agrees, as a level, not as a weight.
//!
//! The levels are those of record linkage (Fellegi–Sunter with partial agreement); what a level is worth is the model's. A fact that one
//! side does not give is `Missing` and speaks neither way. Nothing here depends on any other record.

use serde::{Deserialize, Serialize};

use super::block::phone_term;
use super::contact::Address;
use super::frequency::{name_frequency, sound_frequency, surname_frequency};
use super::name::{Name, Script, is_blot};
use super::number::Card;
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
    /// Addresses.
    pub address: AddressLevel,
    /// The address that is equal.
    pub address_term: Option<Term>,
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
    let (address, address_term) = addresses(one, other);
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
        number,
        card,
        is_own_card: card == CardLevel::Exact && one.cards.iter().any(own_card),
        phone,
        phone_term,
        is_child: one.is_child || other.is_child,
        address,
        address_term,
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

/// An insurance card may be a parent's.
fn is_own(card: &Card) -> bool {
    card.kind != "insurance_card"
}

// ------------------------------------------------------------------------------------------------------------------- names

/// The best level of all pairs of names; of several pairs at that level the smallest term, so that the order is all one. With the share of
/// people who are assumed to bear what agrees.
fn names(one: &PatientFacts, other: &PatientFacts) -> (NameLevel, Option<Term>, Option<f64>) {
    if one.names.is_empty() || other.names.is_empty() {
        return (NameLevel::Missing, None, None);
    }
    let mut best = (NameLevel::Different, None);
    let mut pair = None;
    for mine in &one.names {
        for theirs in &other.names {
            let (level, term) = name_pair(mine, theirs);
            if level < best.0 || level == best.0 && term < best.1 {
                best = (level, term);
                pair = Some((mine, theirs));
            }
        }
    }
    let (level, term) = best;
    // A child is named anew: the name of its first days speaks neither for nor against the later one.
    let is_named_anew = (one.name_class == NameClass::Newborn) != (other.name_class == NameClass::Newborn);
    if is_named_anew && level >= NameLevel::SameSurname {
        return (NameLevel::Missing, None, None);
    }
    let frequency = pair.filter(|_| term.is_some()).and_then(|(mine, theirs)| {
        let share = |name: &Name| match level {
            NameLevel::Exact => name_frequency(name),
            NameLevel::SameSurname => surname_frequency(name),
            _ => sound_frequency(name),
        };
        // Of a rendering only the characters tell.
        let tells = |name: &&Name| mine.script == theirs.script || name.script == Script::Chinese;
        [mine, theirs].into_iter().filter(tells).map(share).reduce(f64::max)
    });
    (level, term, frequency)
}

fn name_pair(one: &Name, other: &Name) -> (NameLevel, Option<Term>) {
    let is_whole = !one.key.contains(is_blot);
    if one.is_pinyin && other.is_pinyin {
        return pinyin_pair(one, other);
    }
    if is_whole && (one.term == other.term && one.script == other.script || one.key == other.key) {
        return (NameLevel::Exact, Some(one.term.min(other.term)));
    }
    let same_surname = one.surname_term.is_some() && one.surname_term == other.surname_term;
    let level = match (one.script, other.script) {
        (Script::Letters, Script::Letters) => return letters(one, other, same_surname),
        (Script::Chinese, Script::Chinese) if one.sound == other.sound => NameLevel::SameSound,
        (Script::Chinese, Script::Chinese) if is_one_character_apart(one, other) => NameLevel::OneCharacter,
        (Script::Chinese, Script::Chinese) => NameLevel::Different,
        (Script::Letters, _) if is_pinyin_of(one, other) => NameLevel::Rendering,
        (_, Script::Letters) if is_pinyin_of(other, one) => NameLevel::Rendering,
        (Script::Letters, _) | (_, Script::Letters) => NameLevel::Different,
        _ if one.sound == other.sound || is_blotted(one, other) || is_blotted(other, one) => NameLevel::Rendering,
        _ => NameLevel::Different,
    };
    match level {
        NameLevel::SameSound => (level, one.sound_term),
        NameLevel::Rendering => (level, one.sound_term.or(other.sound_term)),
        NameLevel::Different if same_surname => (NameLevel::SameSurname, one.surname_term),
        level => (level, None),
    }
}

/// Two names in pinyin: the characters are not known, so equal letters are no more than one sound, and a slip may be another name.
fn pinyin_pair(one: &Name, other: &Name) -> (NameLevel, Option<Term>) {
    let turned = |name: &Name| format!("{}{}", name.surname, name.given);
    let same = one.sound == other.sound || turned(one) == other.sound || one.sound == turned(other);
    let same_surname = one.surname_term.is_some() && one.surname_term == other.surname_term;
    if same {
        (NameLevel::Rendering, None)
    } else if is_similar(&one.sound, &other.sound) {
        (NameLevel::OneCharacter, None)
    } else if same_surname {
        (NameLevel::SameSurname, one.surname_term)
    } else {
        (NameLevel::Different, None)
    }
}

/// Both have at least three characters and the same surname, and one other character differs, is missing or too many.
fn is_one_character_apart(one: &Name, other: &Name) -> bool {
    let long = |name: &Name| name.key.chars().nth(2).is_some();
    let same_start = one.surname == other.surname && one.key.chars().next() == other.key.chars().next();
    long(one) && long(other) && same_start && is_one_edit(&one.given, &other.given)
}

/// Whether a name in letters is the pinyin of one in characters, in either order of its parts: ZHANG WEI, Wei Zhang, zhangwei.
/// Systems without ü write u or v.
fn is_pinyin_of(letters: &Name, characters: &Name) -> bool {
    let same = |one: &str, two: &str, sound: &str| {
        let plain = |byte: u8| if byte == b'v' { b'u' } else { byte };
        one.bytes().chain(two.bytes()).map(plain).eq(sound.bytes().map(plain))
    };
    let given_sound = characters.sound.get(characters.surname_sound.len()..).unwrap_or_default();
    same(&letters.sound, "", &characters.sound)
        || same(&letters.surname, &letters.given, &characters.sound)
        || !characters.surname.is_empty()
            && same(&letters.sound, "", &format!("{given_sound}{}", characters.surname_sound))
}

/// Whether `damaged` is `whole` with signs for some of its characters: one or two signs for each. At least one character stands.
fn is_blotted(damaged: &Name, whole: &Name) -> bool {
    fn fits(damaged: &[char], whole: &[char]) -> bool {
        match (damaged, whole) {
            ([], []) => true,
            ([sign, rest @ ..], [_, whole @ ..]) if is_blot(*sign) => {
                fits(rest, whole) || rest.first().is_some_and(|sign| is_blot(*sign)) && fits(&rest[1..], whole)
            }
            ([letter, rest @ ..], [same, whole @ ..]) if letter == same => fits(rest, whole),
            _ => false,
        }
    }
    let (damaged, whole): (Vec<char>, Vec<char>) = (damaged.key.chars().collect(), whole.key.chars().collect());
    let stands = damaged.iter().filter(|letter| !is_blot(**letter)).count();
    stands >= 1
        && damaged.len() > stands
        && damaged.len() <= 2 * whole.len()
        && damaged.len() <= 16
        && fits(&damaged, &whole)
}

/// How two parts of names in letters agree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Equal,
    Similar,
    /// One is missing or an initial of the other.
    Open,
    Different,
}

fn letters(one: &Name, other: &Name, same_surname: bool) -> (NameLevel, Option<Term>) {
    let straight = [part(&one.surname, &other.surname), part(&one.given, &other.given)];
    let turned = [part(&one.surname, &other.given), part(&one.given, &other.surname)];
    let rank = |pair: [Part; 2]| {
        let [best, worst] = if pair[0] <= pair[1] { pair } else { [pair[1], pair[0]] };
        match (best, worst) {
            (Part::Equal, Part::Equal) => NameLevel::Exact,
            (Part::Equal | Part::Similar, Part::Similar) => NameLevel::Similar,
            (Part::Equal | Part::Similar, Part::Open) => NameLevel::PartlyEqual,
            _ => NameLevel::Different,
        }
    };
    let level = rank(straight).min(rank(turned));
    // Written together, or cut elsewhere: `elk i`, `van dyke`.
    let level =
        if level > NameLevel::Similar && is_similar(&one.sound, &other.sound) { NameLevel::Similar } else { level };
    match level {
        NameLevel::Exact => (level, Some(one.term.min(other.term))),
        NameLevel::Similar | NameLevel::PartlyEqual => (level, None),
        _ if same_surname => (NameLevel::SameSurname, one.surname_term),
        // The given name, and another surname: by marriage, or another person.
        _ if straight.contains(&Part::Equal) || turned.contains(&Part::Equal) => (NameLevel::PartlyEqual, None),
        _ => (NameLevel::Different, None),
    }
}

fn part(one: &str, other: &str) -> Part {
    let is_initial = |short: &str, long: &str| short.len() == 1 && long.starts_with(short);
    if one.is_empty() || other.is_empty() {
        Part::Open
    } else if one == other {
        Part::Equal
    } else if is_initial(one, other) || is_initial(other, one) {
        Part::Open
    } else if is_similar(one, other) {
        Part::Similar
    } else {
        Part::Different
    }
}

/// A slip in at least three letters, two in at least six, or a Jaro-Winkler similarity of 0.9 and more.
fn is_similar(one: &str, other: &str) -> bool {
    let shorter = one.len().min(other.len());
    if shorter < 3 || one.len().abs_diff(other.len()) > 4 {
        return false;
    }
    is_one_edit(one, other) || shorter >= 6 && edits(one, other) <= 2 || strsim::jaro_winkler(one, other) >= 0.9
}

// ------------------------------------------------------------------------------------------------------------- birth dates

/// A date as given, `YYYY-MM-DD` or less.
type Date = ([u8; 10], usize);

/// The record's own date, and those of its resident numbers where they say another one.
fn dates(facts: &PatientFacts) -> impl Iterator<Item = (Date, bool)> {
    let own = facts.birth_date.as_deref().and_then(date);
    let numbers = own_resident_ids(facts).filter_map(|number| {
        let [y, e, a, r, m, o, d, t] = *number.as_bytes().get(6..14)?.first_chunk()?;
        Some(([y, e, a, r, b'-', m, o, b'-', d, t], 10))
    });
    let others = numbers.filter(move |date| Some(*date) != own).map(|date| (date, false));
    own.map(|date| (date, true)).into_iter().chain(others)
}

fn date(text: &str) -> Option<Date> {
    let mut date = [0; 10];
    date.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some((date, text.len()))
}

fn birth_dates(one: &PatientFacts, other: &PatientFacts) -> (BirthDateLevel, Option<u16>) {
    let mut best: Option<BirthDateLevel> = None;
    let mut apart: Option<u16> = None;
    for (mine, mine_is_own) in dates(one) {
        for (theirs, theirs_is_own) in dates(other) {
            // Two dates of numbers only say again what the numbers say.
            if mine_is_own || theirs_is_own {
                let level = date_pair(&mine.0[..mine.1], &theirs.0[..theirs.1]);
                best = Some(best.map_or(level, |best| best.min(level)));
                let year = |date: Date| std::str::from_utf8(&date.0[..4]).ok()?.parse::<u16>().ok();
                let years = year(mine).zip(year(theirs)).map(|(mine, theirs)| mine.abs_diff(theirs));
                apart = apart.into_iter().chain(years).min();
            }
        }
    }
    (best.unwrap_or(BirthDateLevel::Missing), apart)
}

fn date_pair(one: &[u8], other: &[u8]) -> BirthDateLevel {
    let is_whole = one.len() == 10 && other.len() == 10;
    if one == other && is_whole {
        BirthDateLevel::Exact
    } else if one.starts_with(other) || other.starts_with(one) {
        BirthDateLevel::Partial
    } else if is_whole && is_near(one, other) {
        BirthDateLevel::Near
    } else if one.get(..4) == other.get(..4) {
        BirthDateLevel::SameYear
    } else {
        BirthDateLevel::Different
    }
}

/// Two dates of ten places: one digit differs, two that stand beside each other are swapped, or day and month are.
fn is_near(one: &[u8], other: &[u8]) -> bool {
    let places: Vec<usize> = (0..one.len().min(other.len())).filter(|place| one[*place] != other[*place]).collect();
    let swapped = |place: usize, next: usize| one[place] == other[next] && one[next] == other[place];
    match places[..] {
        [_] => true,
        // 4 and 7 are hyphens: the last digit of the year and the first of the month stand beside each other.
        [place, next] if next == place + 1 || next == place + 2 && one[place + 1] == b'-' => swapped(place, next),
        _ => one[..4] == other[..4] && one[5..7] == other[8..10] && one[8..10] == other[5..7],
    }
}

// ----------------------------------------------------------------------------------------------------------------- numbers

fn numbers(one: &PatientFacts, other: &PatientFacts) -> NumberLevel {
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
fn own_resident_ids(facts: &PatientFacts) -> impl Iterator<Item = &str> {
    let born = facts.birth_date.as_deref().and_then(year);
    facts.resident_ids().filter(move |number| {
        let says = number.get(6..10).and_then(year);
        born.zip(says).is_none_or(|(born, says)| born.abs_diff(says) < YEARS_OF_PARENTS)
    })
}

/// Nobody is a parent earlier, and no slip in a date is told from another person by less.
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

fn cards(one: &PatientFacts, other: &PatientFacts, number: NumberLevel) -> CardLevel {
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

/// Whether two texts are one edit apart: once the same beginning and end are off, at most one letter is left of each, or two that
/// are swapped.
fn is_one_edit(one: &str, other: &str) -> bool {
    if one == other || one.len().abs_diff(other.len()) > 4 {
        return false;
    }
    let (one, other) = middles(one, other);
    let (mut one, mut other) = (one.chars(), other.chars());
    match ([one.next(), one.next(), one.next()], [other.next(), other.next(), other.next()]) {
        ([_, None, None], [_, None, None]) => true,
        ([first, second, None], [same_second, same_first, None]) => first == same_first && second == same_second,
        _ => false,
    }
}

/// What is left of two texts without their common beginning and end.
fn middles<'t>(one: &'t str, other: &'t str) -> (&'t str, &'t str) {
    let is_same = |(one, other): &(char, char)| one == other;
    let same = |pairs: &mut dyn Iterator<Item = (char, char)>| -> usize {
        pairs.take_while(is_same).map(|(letter, _)| letter.len_utf8()).sum()
    };
    let start = same(&mut one.chars().zip(other.chars()));
    let (one, other) = (&one[start..], &other[start..]);
    let end = same(&mut one.chars().rev().zip(other.chars().rev()));
    (&one[..one.len() - end], &other[..other.len() - end])
}

/// Edits between two texts, neighbours swapped counting as one.
fn edits(one: &str, other: &str) -> usize {
    let (one, other) = middles(one, other);
    strsim::osa_distance(one, other)
}

// ---------------------------------------------------------------------------------------------------------------- contacts

fn phones(one: &PatientFacts, other: &PatientFacts) -> (PhoneLevel, Option<Term>) {
    if one.phones.is_empty() || other.phones.is_empty() {
        return (PhoneLevel::Missing, None);
    }
    // Sorted: the first that both have is the same from either side.
    if let Some(phone) = one.phones.iter().find(|phone| other.phones.contains(phone)) {
        return (PhoneLevel::Exact, Some(phone_term(phone)));
    }
    let is_slip = |mine: &String| other.phones.iter().any(|theirs| is_one_edit(mine, theirs));
    (if one.phones.iter().any(is_slip) { PhoneLevel::OneEdit } else { PhoneLevel::Different }, None)
}

fn addresses(one: &PatientFacts, other: &PatientFacts) -> (AddressLevel, Option<Term>) {
    let mut best = (AddressLevel::Missing, None);
    for mine in &one.addresses {
        for theirs in &other.addresses {
            let level = address_pair(mine, theirs);
            let found = (level, (level == AddressLevel::Exact).then_some(mine.term));
            if best.0 == AddressLevel::Missing || level != AddressLevel::Missing && found < best {
                best = found;
            }
        }
    }
    best
}

fn address_pair(one: &Address, other: &Address) -> AddressLevel {
    let agree = |one: &str, other: &str| !one.is_empty() && one == other;
    let open = |one: &str, other: &str| one.is_empty() || other.is_empty();
    let same_code = agree(&one.postal_code, &other.postal_code);
    let same_area = agree(&one.area, &other.area);
    // Some write the street where others write the house's name.
    let ((street, extra), (other_street, other_extra)) = (street_and_extra(one), street_and_extra(other));
    if open(street, other_street) {
        return match (same_code, open(&one.postal_code, &other.postal_code)) {
            (true, _) => AddressLevel::SameArea,
            (false, true) => AddressLevel::Missing,
            (false, false) => AddressLevel::Different,
        };
    }
    let near_area = same_area || same_code || open(&one.area, &other.area) || is_like(&one.area, &other.area);
    let same_house = agree(&one.house, &other.house);
    if street == other_street && one.house == other.house && near_area {
        return AddressLevel::Exact;
    }
    let lines = [(street, other_street), (street, other_extra), (extra, other_street)];
    // Written together, or with a blank too many: `copland drive`, `coplanddrive`.
    let same_letters = |one: &str, other: &str| {
        let letters = |text: &str| text.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>();
        is_one_edit(&letters(one), &letters(other)) || letters(one) == letters(other)
    };
    let same_street_line = same_letters(street, other_street);
    let same_house_line = same_house && same_street_line;
    let like_street = lines.iter().any(|(one, other)| !open(one, other) && is_like(one, other));
    // Without the flat, or without the building: 12-5-301 and 12.
    let part_of_house =
        !open(&one.house, &other.house) && (is_within(&one.house, &other.house) || is_within(&other.house, &one.house));
    let one_slip = is_one_edit(&one.house, &other.house) || open(&one.house, &other.house);
    let same_street = street == other_street;
    if same_house_line || like_street && near_area && (same_house || same_street && same_area && same_code && one_slip)
    {
        AddressLevel::Close
    } else if same_street_line && (same_code || same_area) {
        AddressLevel::SameStreet
    } else if same_code || like_street && (same_area || part_of_house && near_area) {
        AddressLevel::SameArea
    } else if like_street && open(&one.area, &other.area) {
        // Every town has a street of that name.
        AddressLevel::Missing
    } else {
        AddressLevel::Different
    }
}

fn street_and_extra(address: &Address) -> (&str, &str) {
    match address.street.as_str() {
        "" => (&address.extra, ""),
        street => (street, &address.extra),
    }
}

/// Whether house numbers begin alike, number by number.
fn is_within(short: &str, long: &str) -> bool {
    long.strip_prefix(short).is_some_and(|rest| rest.starts_with('-'))
}

/// Jaro-Winkler 0.85 and more, or one holds the other.
fn is_like(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    short.chars().nth(1).is_some() && (long.contains(short) || strsim::jaro_winkler(one, other) >= 0.85)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{TermKind, keys, terms};
    use crate::record::{Value, json};
    use proptest::prelude::*;

    fn facts(record: &Value) -> PatientFacts {
        PatientFacts::of(record.as_object().unwrap())
    }

    fn both(one: Value, other: Value) -> Comparison {
        let (one, other) = (facts(&one), facts(&other));
        let (found, turned) = (compare(&one, &other), compare(&other, &one));
        assert_eq!(Comparison { classes: found.classes, ..turned }, found, "{one:?} {other:?}");
        found
    }

    #[test]
    fn names_agree_level_by_level() {
        use NameLevel::*;
        for (one, other, expected) in [
            ("张伟", "張 伟（男）", Exact),
            ("阿卜杜拉·买买提", "阿卜杜拉．买买提", Exact),
            ("张伟", "张玮", SameSound),
            // 27, 28: what laboratories and old systems write.
            ("张伟", "ZHANG WEI", Rendering),
            ("张伟", "Wei Zhang", Rendering),
            ("ZHANG WEI", "Wei Zhang", Rendering),
            ("ZHANG JIANGUO", "ZHANG JIANJUN", OneCharacter),
            ("JOHN SMITH", "JON SMITH", Similar),
            ("张伟", "zhangwei", Rendering),
            ("吕强", "LYU QIANG", Rendering),
            ("吕强", "LU QIANG", Rendering),
            ("王翾民", "王?民", Rendering),
            ("王翾民", "王??民", Rendering),
            ("王翾民", "王□民", Rendering),
            ("王翾民", "王xuan民", Rendering),
            ("王翾民", "李?民", Different),
            ("王?民", "王?民", Rendering),
            ("张国强", "张国栋", OneCharacter),
            ("欧阳娜娜", "欧阳娜", OneCharacter),
            ("张小三", "张三", SameSurname),
            ("张伟", "张芳", SameSurname),
            ("张国强", "李国强", Different),
            // 20: the name of the first days.
            ("张三之子", "张三", Missing),
            ("张三之子", "李小宝", Missing),
            ("张三之子", "李四之女", Different),
            ("john smith", "Smith, John", Exact),
            ("Mary-Ann O'Neil", "maryann oneil", Exact),
            ("José Müller", "jose muller", Exact),
            ("john smith", "jhon smith", Similar),
            ("katelyn colegate", "katelbyn colegte", Similar),
            ("john smith", "smithe john", Similar),
            ("john smith", "j smith", PartlyEqual),
            ("john smith", "smith", PartlyEqual),
            ("john smith", "john brown", PartlyEqual),
            ("john smith", "peter smith", SameSurname),
            ("john smith", "peter brown", Different),
            ("张伟", "", Missing),
            ("无名氏", "无名氏", Missing),
            ("急诊017", "张伟", Missing),
        ] {
            assert_eq!(both(json!({"name": one}), json!({"name": other})).name, expected, "{one} {other}");
        }
        // 32: a former name.
        let named = both(json!({"name": "李四", "other_names": ["张三"]}), json!({"name": "张三"}));
        assert_eq!(named.name, Exact);
    }

    #[test]
    fn what_is_equal_is_a_term_that_is_counted() {
        for (one, other, kind) in [
            ("张伟", "張偉", TermKind::Name),
            ("张伟", "张玮", TermKind::Sound),
            ("张伟", "ZHANG WEI", TermKind::Sound),
            ("张伟", "张芳", TermKind::Surname),
            ("john smith", "smith john", TermKind::Name),
        ] {
            let term = both(json!({"name": one}), json!({"name": other})).name_term.unwrap();
            assert!(terms(&facts(&json!({"name": one}))).contains(&(kind, term)), "{one} {other}");
        }
        let home = json!({"phones": [{"value": "13812345678"}], "addresses": [{"text": "知春路5号"}]});
        let found = both(home.clone(), home.clone());
        let counted = terms(&facts(&home));
        assert!(counted.contains(&(TermKind::Phone, found.phone_term.unwrap())));
        assert!(counted.contains(&(TermKind::Address, found.address_term.unwrap())));
    }

    #[test]
    fn birth_dates_agree_level_by_level() {
        use BirthDateLevel::*;
        for (one, other, expected, apart) in [
            ("1990-03-07", "1990-03-07", Exact, Some(0)),
            ("1990-03-07", "1990-03", Partial, Some(0)),
            ("1990", "1990", Partial, Some(0)),
            ("1990-03-07", "1990-07-03", Near, Some(0)),
            ("1990-03-07", "1980-03-07", Near, Some(10)),
            ("1990-03-17", "1990-03-71", Near, Some(0)),
            ("1990-03-17", "1990-05-28", SameYear, Some(0)),
            ("1990-03-07", "1965-11-28", Different, Some(25)),
            ("1990-03-07", "1900-01-01", Missing, None),
        ] {
            let found = both(json!({"birth_date": one}), json!({"birth_date": other}));
            assert_eq!((found.birth_date, found.years_apart), (expected, apart), "{one} {other}");
        }
    }

    fn numbered(kind: &str, number: &str) -> Value {
        json!({"identifiers": [{"type": kind, "system": "S", "value": number}]})
    }

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
    fn case_9_the_date_of_the_resident_number_counts() {
        let with = |date: &str| json!({"birth_date": date, "identifiers": [{"type": "resident_id", "value": "110101199003073458"}]});
        assert_eq!(both(with("1990-03-07"), with("1990-07-03")).birth_date, BirthDateLevel::Exact);
        assert_eq!(both(with("1991-12-28"), json!({"birth_date": "1990-03-07"})).birth_date, BirthDateLevel::Exact);
        // Two numbers alone say nothing more than that they are the same.
        assert_eq!(both(with(""), with("")).birth_date, BirthDateLevel::Missing);
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

    #[test]
    fn addresses_and_phones_agree_level_by_level() {
        use AddressLevel::*;
        let at = |text: &str| json!({"addresses": [{"text": text}]});
        for (one, other, expected) in [
            ("广东省深圳市南山区学府路12号301室", "深圳市南山区学府路12号301", Exact),
            ("广东省深圳市南山区学府路12号301室", "学府路１２号３０１室", Exact),
            ("深圳市南山区学府大路12号301室", "深圳市南山区学府路12号301室", Close),
            ("深圳市南山区学府路12号301室", "深圳市南山区学府路88号", SameStreet),
            ("深圳市南山区学府路12号301室", "哈尔滨市道里区中央大街7号", Different),
            ("深圳市南山区学府路12号301室", "广东省深圳市", Missing),
            ("7 wallaby street, delmar", "7 wallaby st., delmar", Exact),
        ] {
            assert_eq!(both(at(one), at(other)).address, expected, "{one} {other}");
        }
        let phone = |text: &str| json!({"phones": [{"value": text}]});
        for (one, other, expected) in [
            ("13812345678", "+86 138-1234-5678", PhoneLevel::Exact),
            ("0755-86123456-801", "0755-86123456", PhoneLevel::Exact),
            ("13812345678", "13812345687", PhoneLevel::OneEdit),
            ("13812345678", "13987654321", PhoneLevel::Different),
            ("13800000000", "13800000000", PhoneLevel::Missing),
        ] {
            assert_eq!(both(phone(one), phone(other)).phone, expected, "{one} {other}");
        }
    }

    #[test]
    fn cases_16_and_17_birth_orders_tell_twins_apart() {
        let twin = |name: &str, order: i64| json!({"name": name, "multiple_birth": order});
        assert!(both(twin("张丽", 1), twin("张莉", 2)).other_birth_order);
        assert!(!both(twin("张丽", 1), twin("张莉", 1)).other_birth_order);
        for (one, other, expected) in
            [("张三之子甲", "张三之子乙", true), ("张三之子1", "张三之子2", true), ("张三之子", "张三之子", false)]
        {
            assert_eq!(both(json!({"name": one}), json!({"name": other})).other_birth_order, expected, "{one} {other}");
        }
    }

    #[test]
    fn case_33_an_unknown_sex_is_no_disagreement() {
        let of = |sex: &str| json!({"sex": sex});
        assert_eq!(both(of("male"), of("unknown")).sex, SexLevel::Missing);
        assert_eq!(both(of("male"), of("female")).sex, SexLevel::Different);
        // The 17th digit says male.
        assert_eq!(both(of("female"), numbered("resident_id", "110101199003073458")).sex, SexLevel::Different);
    }

    fn patient() -> impl Strategy<Value = Value> {
        let name = prop::sample::select(vec![
            "",
            "张伟",
            "張偉",
            "张玮",
            "ZHANG WEI",
            "张国强",
            "张国栋",
            "张三之子甲",
            "无名氏",
            "john smith",
            "smith, jhon",
            "smith",
            "王?民",
            "王翾民",
        ]);
        let date = prop::sample::select(vec!["", "1990", "1990-03-07", "1990-07-03", "1965-11-28", "1900-01-01"]);
        let number = prop::sample::select(vec![
            "",
            "110101199003073458",
            "110101199003073450",
            "11010519491231002X",
            "110101900307345",
            "E12345679",
        ]);
        let phone = prop::sample::select(vec!["", "13812345678", "13812345687", "13800000000"]);
        let address = prop::sample::select(vec!["", "学府路12号301", "学府路12号", "7 wallaby st", "深圳市"]);
        (name.clone(), name, date, number.clone(), number, phone, address).prop_map(
            |(name, other, date, number, card, phone, address)| {
                let kind = if number.starts_with('E') { "passport" } else { "resident_id" };
                json!({
                    "name": name, "other_names": [other], "birth_date": date, "phones": [{"value": phone}],
                    "identifiers": [{"type": kind, "value": number}, {"type": "other", "system": "SSN", "value": card}],
                    "insurance": [{"number": card}], "addresses": [{"text": address}],
                })
            },
        )
    }

    proptest! {
        #[test]
        fn comparing_is_symmetrical(one in patient(), other in patient()) {
            both(one, other);
        }

        #[test]
        fn a_record_agrees_with_itself(record in patient()) {
            let facts = facts(&record);
            let found = both(record.clone(), record);
            // A sign for a rare character, pinyin, and a number that fails its check, prove less than they could.
            prop_assert!(facts.names.iter().all(|name| name.is_pinyin || name.key.contains(is_blot)) || found.name == NameLevel::Exact);
            prop_assert!(own_resident_ids(&facts).next().is_none() || found.number == NumberLevel::Exact);
            prop_assert!(found.birth_date <= BirthDateLevel::Partial || found.birth_date == BirthDateLevel::Missing);
            prop_assert!(matches!(found.card, CardLevel::Exact | CardLevel::Missing));
            prop_assert!(matches!(found.phone, PhoneLevel::Exact | PhoneLevel::Missing));
            prop_assert!(matches!(found.address, AddressLevel::Exact | AddressLevel::Missing));
            prop_assert!(found.sex != SexLevel::Different && !found.other_birth_order);
        }

        #[test]
        fn one_edit_is_what_the_distance_says(one in "[ab张]{0,5}", other in "[ab张]{0,5}") {
            prop_assert_eq!(is_one_edit(&one, &other), strsim::osa_distance(&one, &other) == 1);
        }

        #[test]
        fn no_text_panics(
            name in ".*", number in "[0-9X张 ]{0,20}", address in ".*", phone in ".*", date in "[0-9-张]{0,12}",
        ) {
            let record = json!({
                "name": name, "birth_date": date, "phones": [{"value": phone}], "addresses": [{"text": address}],
                "identifiers": [{"type": "resident_id", "value": number}, {"type": "other", "system": "S", "value": number}],
            });
            let facts = facts(&record);
            let _ = (both(record.clone(), record), keys(&facts), terms(&facts));
        }
    }
}
