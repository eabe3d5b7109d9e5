//! Two patient records side by side: how far each fact agrees, as a level, not as a weight.
//!
//! The levels are those of record linkage (Fellegi–Sunter with partial agreement); what a level is worth is the model's. A fact that one
//! side does not give is [`Level::Missing`] and speaks neither way. Nothing here depends on any other record.

use serde::{Deserialize, Serialize};

use super::frequency::{name_frequency, sound_frequency, surname_frequency};
use super::block::phone_term;
use super::contact::Address;
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
    let (name, name_term, name_frequency) = names(one, other);
    let (birth_date, years_apart) = birth_dates(one, other);
    let number = numbers(one, other);
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
        card: cards(one, other, number),
        phone,
        phone_term,
        address,
        address_term,
        sex,
        classes: (one.name_class, other.name_class),
        other_birth_order: orders.is_some_and(|(one, other)| one != other),
    }
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
    let frequency = pair.filter(|_| term.is_some()).map(|(mine, theirs)| {
        let known = if mine.script == Script::Letters { theirs } else { mine };
        match level {
            NameLevel::Exact => name_frequency(known),
            NameLevel::SameSurname => surname_frequency(known),
            _ => sound_frequency(known),
        }
    });
    (level, term, frequency)
}

fn name_pair(one: &Name, other: &Name) -> (NameLevel, Option<Term>) {
    let is_whole = !one.key.contains(is_blot);
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

/// Both have at least three characters and the same surname, and one other character differs, is missing or too many.
fn is_one_character_apart(one: &Name, other: &Name) -> bool {
    let long = |name: &Name| name.key.chars().nth(2).is_some();
    let same_start = one.surname == other.surname && one.key.chars().next() == other.key.chars().next();
    long(one) && long(other) && same_start && strsim::osa_distance(&one.given, &other.given) == 1
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
            (Part::Equal, Part::Open) => NameLevel::PartlyEqual,
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

/// A slip in at least four letters, two in at least seven, or a Jaro-Winkler similarity of 0.9 and more.
fn is_similar(one: &str, other: &str) -> bool {
    let shorter = one.len().min(other.len());
    if shorter < 3 || one.len().abs_diff(other.len()) > 4 {
        return false;
    }
    let edits = strsim::osa_distance(one, other);
    edits <= 1 && shorter >= 3 || edits <= 2 && shorter >= 6 || strsim::jaro_winkler(one, other) >= 0.9
}

// ------------------------------------------------------------------------------------------------------------- birth dates

/// A date as given, `YYYY-MM-DD` or less.
type Date = ([u8; 10], usize);

/// The record's own date, and those of its resident numbers where they say another one.
fn dates(facts: &PatientFacts) -> impl Iterator<Item = (Date, bool)> {
    let own = facts.birth_date.as_deref().and_then(date);
    let numbers = facts
        .resident_ids()
        .filter_map(|number| date(&format!("{}-{}-{}", number.get(6..10)?, number.get(10..12)?, number.get(12..14)?)));
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
        return NumberLevel::Exact;
    }
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
        (true, false) => strsim::osa_distance(one, &shortened(other)),
        (false, true) => strsim::osa_distance(&shortened(one), other),
        _ => strsim::osa_distance(one, other),
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

fn is_one_edit(one: &str, other: &str) -> bool {
    one.len().abs_diff(other.len()) <= 1 && strsim::osa_distance(one, other) == 1
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
    if open(&one.street, &other.street) {
        return match (same_code, open(&one.postal_code, &other.postal_code)) {
            (true, _) => AddressLevel::SameArea,
            (false, true) => AddressLevel::Missing,
            (false, false) => AddressLevel::Different,
        };
    }
    let near_area = same_area || same_code || open(&one.area, &other.area) || is_like(&one.area, &other.area);
    let same_house = agree(&one.house, &other.house);
    if one.street == other.street && one.house == other.house && near_area {
        return AddressLevel::Exact;
    }
    let lines = [(&one.street, &other.street), (&one.street, &other.extra), (&one.extra, &other.street)];
    let like_street = lines.iter().any(|(one, other)| !open(one, other) && is_like(one, other));
    // Without the flat, or without the building: 12-5-301 and 12.
    let part_of_house =
        !open(&one.house, &other.house) && (is_within(&one.house, &other.house) || is_within(&other.house, &one.house));
    let one_slip = is_one_edit(&one.house, &other.house) || open(&one.house, &other.house);
    let same_street = one.street == other.street;
    if like_street && near_area && (same_house || same_street && same_area && same_code && one_slip) {
        AddressLevel::Close
    } else if same_code || like_street && near_area || same_area && (part_of_house && like_street) {
        AddressLevel::SameArea
    } else {
        AddressLevel::Different
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
