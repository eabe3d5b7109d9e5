//! How frequent a name is before any was counted: 张伟 is common and 欧阳靖翾 is not, also in an empty store.
//!
//! Shares of all people. A full name is surname times given name; a given name is one of the listed, else one character, else
//! two characters one by one. No country is known of names in letters: they get one moderate share for each part.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::PatientFacts;
use super::block::TermKind;
use super::compare::Term;
use super::name::{Name, Script, given_pinyin, pinyin_key};

/// Nothing is rarer than this: a value that is seen once may be one of ten million.
pub const RAREST: f64 = 1e-7;
/// Share of a surname that is not listed, about the 250th.
const OTHER_SURNAME: f64 = 2e-4;
/// Share of a given name of one character that is not listed.
const OTHER_SINGLE: f64 = 2e-5;
/// Of the share of a character among given names of two, its share as a given name of its own: the listed ones have a tenth and more.
const ALONE: f64 = 0.05;
/// Share, among the places of given names of two characters, of a character that is not listed.
const OTHER_CHARACTER: f64 = 1e-4;
/// Share of people whose given name has two characters and is not listed itself.
const TWO_CHARACTERS: f64 = 0.65;
/// Share of a surname in letters.
const LATIN_SURNAME: f64 = 1e-3;
/// Share of a given name in letters.
const LATIN_GIVEN: f64 = 2e-3;

struct Shares {
    surnames: HashMap<&'static str, f64>,
    given: HashMap<&'static str, f64>,
    characters: HashMap<&'static str, f64>,
    surname_sounds: HashMap<String, f64>,
    given_sounds: HashMap<String, f64>,
    character_sounds: HashMap<String, f64>,
}

static SHARES: LazyLock<Shares> = LazyLock::new(|| {
    let mut lists: [HashMap<&str, f64>; 3] = Default::default();
    for line in include_str!("frequency.tsv").lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let list = match columns.next() {
            Some("surname") => &mut lists[0],
            Some("given") => &mut lists[1],
            _ => &mut lists[2],
        };
        let entries = columns.filter_map(|column| column.split_once(' '));
        list.extend(entries.filter_map(|(name, share)| Some((name, share.parse::<f64>().ok()? / 100.0))));
    }
    let [surnames, given, characters] = lists;
    let by_sound = |list: &HashMap<&'static str, f64>, is_surname: bool| {
        let mut sounds: HashMap<String, f64> = HashMap::new();
        for (name, share) in list {
            let sound = if is_surname { pinyin_key(name) } else { given_pinyin(name) };
            *sounds.entry(sound).or_default() += share;
        }
        sounds
    };
    Shares {
        surname_sounds: by_sound(&surnames, true),
        given_sounds: by_sound(&given, false),
        character_sounds: by_sound(&characters, false),
        surnames,
        given,
        characters,
    }
});

/// The sounds of all listed surnames.
pub(super) fn surname_sounds() -> impl Iterator<Item = &'static str> {
    SHARES.surname_sounds.keys().map(String::as_str)
}

/// Share of people who bear this name.
pub fn name_frequency(name: &Name) -> f64 {
    if name.script == Script::Letters {
        return letters(name);
    }
    let shares = &*SHARES;
    let mut characters = name.given.char_indices();
    let single = || shares.given.get(name.given.as_str()).copied();
    let of = |text: &str| shares.characters.get(text).copied().unwrap_or(OTHER_CHARACTER);
    let given = match (characters.next(), characters.next(), characters.next()) {
        (Some(_), None, _) => single().unwrap_or_else(|| (ALONE * of(&name.given)).max(OTHER_SINGLE)),
        (Some(_), Some((second, _)), None) => {
            let (one, two) = name.given.split_at(second);
            single().unwrap_or(0.0).max(TWO_CHARACTERS * of(one) * of(two))
        }
        _ => RAREST,
    };
    (surname_frequency(name) * given).max(RAREST)
}

/// Share of people whose name sounds like this one.
pub fn sound_frequency(name: &Name) -> f64 {
    if name.script == Script::Letters {
        return letters(name);
    }
    let shares = &*SHARES;
    let surname = shares.surname_sounds.get(&name.surname_sound).copied().unwrap_or_default().max(OTHER_SURNAME);
    let whole = name.sound.get(name.surname_sound.len()..).unwrap_or_default();
    let mut syllables = name.given.chars().map(|letter| given_pinyin(letter.encode_utf8(&mut [0; 4])));
    // Several characters that are not listed share a sound.
    let of = |sound: &str| shares.character_sounds.get(sound).copied().unwrap_or_default() + 4.0 * OTHER_CHARACTER;
    let listed = shares.given_sounds.get(whole).copied().unwrap_or_default();
    let given = match (syllables.next(), syllables.next(), syllables.next()) {
        (Some(_), None, _) => listed + 4.0 * OTHER_SINGLE,
        (Some(one), Some(two), None) => listed + TWO_CHARACTERS * of(&one) * of(&two),
        _ => RAREST,
    };
    (surname * given).max(name_frequency(name))
}

/// Share of people who bear this surname.
pub fn surname_frequency(name: &Name) -> f64 {
    match name.script {
        Script::Letters => LATIN_SURNAME,
        _ => SHARES.surnames.get(name.surname.as_str()).copied().unwrap_or(OTHER_SURNAME),
    }
}

fn letters(name: &Name) -> f64 {
    let surname = if name.surname.is_empty() { 1.0 } else { LATIN_SURNAME };
    let given = if name.given.is_empty() { 1.0 } else { LATIN_GIVEN };
    (surname * given).max(RAREST)
}

/// The share to begin with of a term of this record; [`RAREST`] for a phone or an address, and for a term that is not the record's.
pub fn prior_frequency(facts: &PatientFacts, kind: TermKind, term: Term) -> f64 {
    let found = |wanted: fn(&Name) -> Option<Term>, share: fn(&Name) -> f64| {
        facts.names.iter().find(|name| wanted(name) == Some(term)).map(share)
    };
    let share = match kind {
        TermKind::Name => found(|name| Some(name.term), name_frequency),
        TermKind::Sound => found(|name| name.sound_term, sound_frequency),
        TermKind::Surname => found(|name| name.surname_term, surname_frequency),
        TermKind::Phone | TermKind::Address => None,
    };
    share.unwrap_or(RAREST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::of(text, "", "").unwrap()
    }

    fn within(found: f64, expected: f64, factor: f64, what: &str) {
        assert!(
            found <= expected * factor && found >= expected / factor,
            "{what}: {found:e}, expected about {expected:e}"
        );
    }

    #[test]
    fn the_commonest_names_are_as_frequent_as_published() {
        // Bearers in thousands, of 1.4 thousand million (Ministry of Public Security).
        for (text, thousands) in [
            ("张伟", 299.0),
            ("王伟", 290.0),
            ("王芳", 277.0),
            ("李伟", 269.0),
            ("李娜", 258.0),
            ("张敏", 245.0),
            ("李静", 243.0),
            ("王静", 243.0),
            ("刘伟", 241.0),
            ("王秀英", 241.0),
            ("张丽", 241.0),
            ("李秀英", 232.0),
            ("王丽", 231.0),
            ("张静", 231.0),
            ("李强", 222.0),
        ] {
            within(name_frequency(&name(text)), thousands / 1.4e6, 2.0, text);
        }
    }

    #[test]
    fn a_rare_name_is_rare_and_a_sound_is_never_rarer_than_its_name() {
        assert!(name_frequency(&name("欧阳靖翾")) < 2.0 * RAREST);
        within(surname_frequency(&name("欧阳靖翾")), 9e-4, 1.1, "欧阳");
        within(surname_frequency(&name("虞世南")), 2e-4, 1.1, "虞");
        for text in ["张伟", "李娜", "王秀英", "欧阳靖翾", "阿卜杜拉·买买提", "张?", "曾国强", "Zhang Wei"]
        {
            let name = name(text);
            let (own, sound) = (name_frequency(&name), sound_frequency(&name));
            assert!(sound >= own && own >= RAREST && sound < 0.01, "{text}: {own:e} {sound:e}");
        }
        // 张伟 张薇 张威 张炜 …
        assert!(sound_frequency(&name("张伟")) > 1.3 * name_frequency(&name("张伟")));
        within(sound_frequency(&name("张炜")), sound_frequency(&name("张伟")), 1.01, "the same sound");
    }

    #[test]
    fn every_row_of_the_table_is_read() {
        let entries = include_str!("frequency.tsv").lines().filter(|line| !line.starts_with('#'));
        let entries = entries.map(|line| line.split('\t').count() - 1).sum::<usize>();
        let shares = &*SHARES;
        assert_eq!(shares.surnames.len() + shares.given.len() + shares.characters.len(), entries);
        for list in [&shares.surnames, &shares.given, &shares.characters] {
            let sum: f64 = list.values().sum();
            assert!(sum > 0.1 && sum < 1.0, "{sum}");
        }
    }

    #[test]
    fn a_term_begins_with_the_share_of_its_name() {
        let record = crate::record::json!({"name": "张伟", "other_names": ["李靖翾"]});
        let facts = PatientFacts::of(record.as_object().unwrap());
        let other = &facts.names[1];
        for (kind, term, expected) in [
            (TermKind::Name, facts.names[0].term, name_frequency(&facts.names[0])),
            (TermKind::Name, other.term, name_frequency(other)),
            (TermKind::Sound, other.sound_term.unwrap(), sound_frequency(other)),
            (TermKind::Surname, other.surname_term.unwrap(), surname_frequency(other)),
            (TermKind::Name, 1, RAREST),
            (TermKind::Phone, 1, RAREST),
        ] {
            assert_eq!(prior_frequency(&facts, kind, term), expected, "{kind:?}");
        }
    }
}
