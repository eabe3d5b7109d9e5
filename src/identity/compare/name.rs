//! How far names agree: characters, their sound, letters, and what stands for a rare character.

use super::super::frequency::{name_frequency, sound_frequency, surname_frequency};
use super::super::name::{Name, Script, is_blot};
use super::super::{NameClass, PatientFacts};
use super::edits::{edits, is_one_edit, similarity};
use super::{NameLevel, Term};

/// The best level of all pairs of names; of several pairs at that level the smallest term, so that the order is all one. With the share of
/// people who are assumed to bear what agrees.
pub(super) fn names(one: &PatientFacts, other: &PatientFacts) -> (NameLevel, Option<Term>, Option<f64>) {
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
        _ if straight[0] == Part::Similar => (NameLevel::SameSurname, None),
        // The given name, perhaps with a slip, and another surname: by marriage, or another person.
        _ if straight[1] <= Part::Similar || turned.contains(&Part::Equal) => (NameLevel::PartlyEqual, None),
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
    is_one_edit(one, other) || shorter >= 6 && edits(one, other) <= 2 || similarity(one, other) >= 0.9
}

#[cfg(test)]
mod tests {
    use super::super::tests::{both, facts};
    use super::*;
    use crate::identity::{TermKind, terms};
    use crate::record::json;

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
            ("john smith", "jhon brown", PartlyEqual),
            ("john smith", "peter smith", SameSurname),
            ("john smith", "peter smyth", SameSurname),
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
}
