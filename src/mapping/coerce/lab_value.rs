//! One laboratory value as text: number, comparator and number, titre, qualitative answer, or free text.
//!
//! The content decides, not the declared type: analysers send `>1000` as ST and words as NM. What is not understood as a
//! whole stays text; it is never half understood (`12.3 (重复)` is no 12.3).

use serde_json::Number;

use super::coded::unit_key;
use super::number::{decimal, grouped, half_width, has_power, power_of_ten};

/// What a value's text says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LabValue {
    /// A number, perhaps with what stood before and after it.
    Number {
        /// `<`, `<=`, `>` or `>=`.
        comparator: Option<&'static str>,
        /// The number, digits as sent.
        number: Number,
        /// The flag (HL7 table 0078) that an arrow, 高, 低, H, L, a star or an answer beside the number means.
        flag: Option<&'static str>,
    },
    /// A qualitative answer.
    Qualitative(Level),
    /// A titre: `1:80`, `<1:20`.
    Titre {
        /// As of a number.
        comparator: Option<&'static str>,
        /// What stands after `1:`.
        dilution: Number,
    },
    /// Words, nothing that looks like a measured value.
    Words,
    /// It starts like a number, a comparison or an answer, but is none as a whole.
    Unclear,
}

/// Qualitative answers in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// 阴性, 未检出, `(-)`.
    Negative,
    /// 微量, trace.
    Trace,
    /// 弱阳性, 可疑, `±`.
    Weak,
    /// 阳性, `+` to `++++`.
    Positive,
}

/// What a text says as a qualitative answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This.
    Level(Level),
    /// Words and signs that exclude each other: `阳性(-)`.
    Contradiction,
    /// It is none.
    None,
}

/// Words of qualitative answers, compared as wholes: 阳性 is inside 弱阳性, and 性 alone means nothing.
const WORDS: &[(&str, Level)] = &[
    ("阴性", Level::Negative),
    ("阴", Level::Negative),
    ("未检出", Level::Negative),
    ("未检测到", Level::Negative),
    ("未检到", Level::Negative),
    ("未见", Level::Negative),
    ("未查见", Level::Negative),
    ("未找到", Level::Negative),
    ("未发现", Level::Negative),
    ("无反应性", Level::Negative),
    ("无反应", Level::Negative),
    ("negative", Level::Negative),
    ("neg", Level::Negative),
    ("not detected", Level::Negative),
    ("none detected", Level::Negative),
    ("undetected", Level::Negative),
    ("nonreactive", Level::Negative),
    ("non-reactive", Level::Negative),
    ("微量", Level::Trace),
    ("trace", Level::Trace),
    ("弱阳性", Level::Weak),
    ("弱阳", Level::Weak),
    ("可疑", Level::Weak),
    ("可疑阳性", Level::Weak),
    ("weakly positive", Level::Weak),
    ("weak positive", Level::Weak),
    ("阳性", Level::Positive),
    ("阳", Level::Positive),
    ("强阳性", Level::Positive),
    ("检出", Level::Positive),
    ("有反应性", Level::Positive),
    ("有反应", Level::Positive),
    ("positive", Level::Positive),
    ("pos", Level::Positive),
    ("strongly positive", Level::Positive),
    ("detected", Level::Positive),
    ("reactive", Level::Positive),
];

/// Signs of qualitative answers and what they can mean, the likeliest first.
const SIGNS: &[(&[&str], &[Level])] = &[
    (&["-", "--", "—"], &[Level::Negative]),
    (&["±", "+-", "-+", "+/-", "-/+"], &[Level::Weak, Level::Trace]),
    (&["+", "1+", "+1"], &[Level::Positive, Level::Weak]),
    (&["++", "+++", "++++", "2+", "3+", "4+", "+2", "+3", "+4"], &[Level::Positive]),
];

/// Comparators as written, longest first. Those with `&` were escaped for XML and never unescaped.
const COMPARATORS: &[(&str, &str)] = &[
    ("&lt;=", "<="),
    ("&gt;=", ">="),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("<=", "<="),
    (">=", ">="),
    ("=<", "<="),
    ("=>", ">="),
    ("≤", "<="),
    ("≥", ">="),
    ("≦", "<="),
    ("≧", ">="),
    ("⩽", "<="),
    ("⩾", ">="),
    ("<", "<"),
    (">", ">"),
    ("小于等于", "<="),
    ("大于等于", ">="),
    ("不超过", "<="),
    ("不高于", "<="),
    ("不低于", ">="),
    ("小于", "<"),
    ("低于", "<"),
    ("不足", "<"),
    ("大于", ">"),
    ("高于", ">"),
    ("超过", ">"),
];
/// The same behind a number, longest first. Both include the number itself (Civil Code of China, article 1259).
const COMPARATORS_BEHIND: &[(&str, &str)] = &[("及以上", ">="), ("及以下", "<="), ("以上", ">="), ("以下", "<=")];

/// Alone they stand for a test that was not done as often as for a negative one.
const DASHES: &[&str] = &["-", "--", "---", "----", "—", "——"];

/// What may stand around a number and says in which direction it is off, longest first.
const ARROWS: &[(&str, &str)] = &[("↑↑↑", "HH"), ("↓↓↓", "LL"), ("↑↑", "HH"), ("↓↓", "LL"), ("↑", "H"), ("↓", "L")];
/// The same as words, only after the number.
const WORDS_OF_DIRECTION: &[(&str, &str)] = &[("偏高", "H"), ("偏低", "L"), ("高", "H"), ("低", "L")];
/// The same as letters, only after the number.
const LETTERS: &[(&str, &str)] = &[("HH", "HH"), ("LL", "LL"), ("H", "H"), ("L", "L")];

/// The same before the number, and a blank between: `H 12.3`. `H12.3` may be the code of something.
fn after_a_letter(text: &str) -> Option<(&str, &'static str)> {
    let (letter, rest) = text.split_once(' ')?;
    let (_, meant) = LETTERS.iter().find(|(written, _)| *written == letter)?;
    let rest = rest.trim_start();
    rest.starts_with(|first: char| first.is_ascii_digit()).then_some((rest, *meant))
}

/// Longest text that is read as a value; longer ones are findings and reports.
const MAX_BYTES: usize = 96;

/// Reads a value. The text is unescaped and not empty; `unit` is what OBX-6 says.
pub(crate) fn lab_value(text: &str, unit: Option<&str>) -> LabValue {
    if text.len() > MAX_BYTES {
        return LabValue::Words;
    }
    let text = half_width(text.trim());
    let text = text.trim();
    // `+2` is the second of four degrees.
    if let Some(number) = decimal(text).filter(|_| !text.starts_with('+')) {
        return LabValue::Number { comparator: None, number, flag: None };
    }
    if DASHES.contains(&text) {
        return LabValue::Words;
    }
    match answer(text) {
        Answer::Level(level) => return LabValue::Qualitative(level),
        Answer::Contradiction => return LabValue::Unclear,
        Answer::None => {}
    }
    let (rest, level) = beside_an_answer(text);
    let (rest, direction) = beside_a_direction(rest, unit);
    let (comparator, rest) = comparator(without_unit(rest, unit));
    let rest = without_unit(rest, unit);
    // A power beside a unit that has one might count twice.
    let power = || power_of_ten(rest).filter(|_| !has_power(unit));
    if let Some(number) = decimal(rest).or_else(power).or_else(|| grouped(rest)) {
        let by_answer = match level {
            Some(Level::Positive) => Some("POS"),
            Some(Level::Negative) => Some("NEG"),
            Some(Level::Trace | Level::Weak) | None => None,
        };
        return LabValue::Number { comparator, number, flag: direction.or(by_answer) };
    }
    match titre(rest).filter(|_| direction.is_none()) {
        Some(dilution) => level.map_or(LabValue::Titre { comparator, dilution }, LabValue::Qualitative),
        // Prose may end with a word of direction: 左室舒张功能减低.
        None if comparator.is_some()
            || looks_measured(text)
            || (direction.is_some() && is_nothing_or_measured(rest)) =>
        {
            LabValue::Unclear
        }
        None => LabValue::Words,
    }
}

fn looks_measured(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
}

fn is_nothing_or_measured(text: &str) -> bool {
    text.is_empty() || looks_measured(text)
}

/// A comparator and the number beside it: `<5`, `5以下`.
pub(crate) fn comparator(text: &str) -> (Option<&'static str>, &str) {
    let found = strip_start(text, COMPARATORS).or_else(|| strip_end(text, COMPARATORS_BEHIND));
    found.map_or((None, text), |(rest, meant)| (Some(meant), rest))
}

fn strip_start<'t>(text: &'t str, known: &[(&str, &'static str)]) -> Option<(&'t str, &'static str)> {
    known.iter().find_map(|(written, meant)| Some((text.strip_prefix(written)?.trim_start(), *meant)))
}

fn strip_end<'t>(text: &'t str, known: &[(&str, &'static str)]) -> Option<(&'t str, &'static str)> {
    known.iter().find_map(|(written, meant)| Some((text.strip_suffix(written)?.trim_end(), *meant)))
}

/// What stands beside an arrow, 高 or 低, H or L, or a star, which says abnormal only. A lone letter behind the number is a flag only where
/// OBX-6 gives another unit: `2L` may be two litres, `24H` as many hours.
fn beside_a_direction<'t>(text: &'t str, unit: Option<&str>) -> (&'t str, Option<&'static str>) {
    if let Some((rest, meant)) = strip_start(text, ARROWS).or_else(|| strip_end(text, ARROWS)) {
        return (rest, Some(meant));
    }
    let is_number = |rest: &str| rest.ends_with(|last: char| last.is_ascii_digit());
    if let Some(rest) = text.strip_suffix('*').map(str::trim_end).filter(|rest| is_number(rest)) {
        return (rest, Some("A"));
    }
    if let Some(found) = after_a_letter(text) {
        return (found.0, Some(found.1));
    }
    if let Some((rest, meant)) = in_brackets(text).and_then(|(rest, inner)| {
        let whole = |(rest, meant): (&str, _)| rest.is_empty().then_some(meant);
        let known = [ARROWS, WORDS_OF_DIRECTION, LETTERS].into_iter();
        known.filter_map(|known| strip_end(inner, known).and_then(whole)).next().map(|meant| (rest, meant))
    }) {
        return (rest, Some(meant));
    }
    let letters = || {
        let found = strip_end(text, LETTERS).filter(|(_, meant)| {
            meant.len() > 1 || unit.is_some_and(|unit| !unit.is_empty() && !unit.eq_ignore_ascii_case(meant))
        });
        found.filter(|(rest, _)| is_number(rest))
    };
    match strip_end(text, WORDS_OF_DIRECTION).or_else(letters) {
        // `2 g/L` ends with its unit, not with a flag.
        Some((rest, meant)) if !unit.is_some_and(|unit| text.ends_with(unit)) => (rest, Some(meant)),
        _ => (text, None),
    }
}

/// `before(inner)`, and nothing after it.
fn in_brackets(text: &str) -> Option<(&str, &str)> {
    let (rest, inner) = text.strip_suffix([')', ']'])?.rsplit_once(['(', '['])?;
    Some((rest.trim_end(), inner.trim()))
}

/// A number or titre beside a qualitative answer: `0.02(-)`, `阴性(0.02)`, `1:80 阳性(+)`, `阴性 <0.05`. A sign needs brackets, a word
/// none.
pub(crate) fn beside_an_answer(text: &str) -> (&str, Option<Level>) {
    if let Some(found) = behind_an_answer(text) {
        return found;
    }
    let bracketed = in_brackets(text).filter(|(rest, _)| !rest.is_empty()).and_then(|(rest, inner)| {
        match (answer(inner), answer(rest)) {
            (Answer::Level(level), Answer::None) => Some((rest, level)),
            (Answer::None, Answer::Level(level)) => Some((inner, level)),
            _ => None,
        }
    });
    let (rest, by_bracket) = bracketed.map_or((text, None), |(rest, level)| (rest, Some(level)));
    match (beside_a_word(rest), by_bracket) {
        (Some((_, by_word)), Some(level)) if by_word != level => (text, None),
        (Some((rest, level)), _) => (rest, Some(level)),
        (None, level) => (rest, level),
    }
}

/// What follows an answer that ends with a bracket: `阳性(+)1:64`, `(-) 0.02`.
fn behind_an_answer(text: &str) -> Option<(&str, Option<Level>)> {
    let end = text.find([')', ']'])? + 1;
    let (answered, rest) = text.split_at(end);
    let rest = rest.trim_start_matches([' ', ':']);
    match answer(answered) {
        Answer::Level(level) if !rest.is_empty() && answer(rest) == Answer::None => Some((rest, Some(level))),
        _ => None,
    }
}

/// What is left beside the longest word that the text begins or ends with.
fn beside_a_word(text: &str) -> Option<(&str, Level)> {
    let at_start = |word: &str| start_of(text, word).map(|rest| rest.trim_start_matches([' ', ':']));
    let at_end = |word: &str| end_of(text, word).map(|rest| rest.trim_end_matches([' ', ':']));
    let found =
        WORDS.iter().filter_map(|(word, level)| Some((word.len(), at_start(word).or_else(|| at_end(word))?, *level)));
    found.max_by_key(|(length, ..)| *length).map(|(_, rest, level)| (rest, level)).filter(|(rest, _)| !rest.is_empty())
}

/// What follows a word at the start, in any ASCII case.
fn start_of<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

/// What precedes a word at the end, in any ASCII case.
fn end_of<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let (rest, end) = text.split_at_checked(text.len().checked_sub(word.len())?)?;
    end.eq_ignore_ascii_case(word).then_some(rest)
}

/// Without the unit that OBX-6 gives anyhow.
pub(crate) fn without_unit<'t>(text: &'t str, unit: Option<&str>) -> &'t str {
    let Some(unit) = unit.filter(|unit| !unit.is_empty()) else { return text };
    let rest = text.strip_suffix(unit).or_else(|| without_unit_in_another_spelling(text, unit));
    rest.map_or(text, str::trim_end)
}

/// `88 μmol/L` where OBX-6 says `umol/L`, `12 mg/dL` where it says `mg/dl`. Of letters in another case only that of the litre is the same
/// unit: `mIU` and `MIU` are two.
fn without_unit_in_another_spelling<'t>(text: &'t str, unit: &str) -> Option<&'t str> {
    // Most values and ranges are numbers alone, and nothing longer is a unit: each place where one may begin costs its length.
    const MOST: usize = 64;
    if unit.len() > MOST || text.bytes().all(|byte| byte.is_ascii_digit() || b".-~<>= ".contains(&byte)) {
        return None;
    }
    let key = |unit: &str| unit_key(unit).replace('l', "L");
    let wanted = key(unit);
    let digits = text.find(|first: char| first.is_ascii_digit())?;
    // A unit is no longer than this in any spelling.
    let from = digits.max(text.len().saturating_sub(unit.len() * 3 + 8));
    let starts = text.char_indices().map(|(start, _)| start).filter(|start| *start > from);
    starts.map(|start| text.split_at(start)).find(|(_, rest)| key(rest) == wanted).map(|(before, _)| before)
}

/// What stands after `1:`.
pub(crate) fn titre(text: &str) -> Option<Number> {
    let dilution = text.strip_prefix('1')?.trim_start().strip_prefix(':')?.trim_start();
    let is_whole = !dilution.is_empty() && dilution.len() <= 10 && dilution.bytes().all(|byte| byte.is_ascii_digit());
    if is_whole { decimal(dilution) } else { None }
}

/// What a text says as a qualitative answer: `阳性(++)`, `弱阳性±`, `+-`, `2+`, `(±)`. It is half width and trimmed.
pub(crate) fn answer(text: &str) -> Answer {
    let pieces = || text.split(['(', ')', '[', ']']).map(str::trim).filter(|piece| !piece.is_empty());
    let are_balanced = text.matches(['(', '[']).count() == text.matches([')', ']']).count();
    if pieces().next().is_none() || !are_balanced {
        return Answer::None;
    }
    let mut word = None;
    let mut signs: Option<&[Level]> = None;
    for piece in pieces() {
        let Some((level, meant)) = word_and_sign(piece) else { return Answer::None };
        let differs = |known: Option<Level>| known.is_some_and(|known| level.is_some_and(|level| level != known));
        if differs(word) || signs.is_some_and(|known| meant.is_some_and(|meant| meant != known)) {
            return Answer::Contradiction;
        }
        word = word.or(level);
        signs = signs.or(meant);
    }
    match (word, signs) {
        (Some(level), Some(signs)) if !signs.contains(&level) => Answer::Contradiction,
        (Some(level), _) | (None, Some(&[level, ..])) => Answer::Level(level),
        (None, _) => Answer::None,
    }
}

/// A word, a sign, or both in either order.
fn word_and_sign(piece: &str) -> Option<(Option<Level>, Option<&'static [Level]>)> {
    let sign = |text: &str| SIGNS.iter().find(|(written, _)| written.contains(&text)).map(|(_, levels)| *levels);
    if let Some(levels) = sign(piece) {
        return Some((None, Some(levels)));
    }
    WORDS.iter().find_map(|(word, level)| match start_of(piece, word).or_else(|| end_of(piece, word))?.trim() {
        "" => Some((Some(*level), None)),
        rest => sign(rest).map(|levels| (Some(*level), Some(levels))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_words_and_signs() {
        use Level::*;
        for (text, expected) in [
            ("阴性(-)", Answer::Level(Negative)),
            ("(-)阴性", Answer::Level(Negative)),
            ("-(阴性)", Answer::Level(Negative)),
            ("阳性++", Answer::Level(Positive)),
            ("阳性(2+)", Answer::Level(Positive)),
            ("弱阳性(+)", Answer::Level(Weak)),
            ("微量(±)", Answer::Level(Trace)),
            ("±", Answer::Level(Weak)),
            ("Not Detected", Answer::Level(Negative)),
            ("阳性(-)", Answer::Contradiction),
            ("阴性(±)", Answer::Contradiction),
            ("阴性阳性", Answer::None),
            ("性", Answer::None),
            ("阳性对照", Answer::None),
            ("阴性(", Answer::None),
            ("", Answer::None),
            ("()", Answer::None),
        ] {
            assert_eq!(answer(text), expected, "{text}");
        }
    }

    #[test]
    fn marks_beside_a_number_are_flags() {
        for (text, expected) in [
            ("5.6*", Some("A")),
            ("5.6 *", Some("A")),
            ("H 12.3", Some("H")),
            ("LL 0.3", Some("LL")),
            ("H12.3", None),
            ("5*6*", None),
        ] {
            let found = match lab_value(text, Some("g/L")) {
                LabValue::Number { flag, .. } => flag,
                _ => None,
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_unit_may_stand_beside_the_number_in_another_spelling() {
        for (text, unit, is_number) in [
            ("5.6 mmol/L", "mmol/l", true),
            ("88 μmol/L", "umol/L", true),
            ("88µmol/L", "μmol/L", true),
            ("12 mg/dL", "mg/dl", true),
            ("5.6×10^9/L", "10*9/L", true),
            ("<0.5 ng/ml", "ng/mL", true),
            ("5 MIU/L", "mIU/L", false),
            ("5 mg/L", "g/l", false),
        ] {
            assert_eq!(matches!(lab_value(text, Some(unit)), LabValue::Number { .. }), is_number, "{text} {unit}");
        }
        // What is longer than any unit is compared as it is sent alone.
        let long = "l".repeat(65);
        let is_number = |text: &str| matches!(lab_value(text, Some(&long)), LabValue::Number { .. });
        assert!(is_number(&format!("5{long}")) && !is_number(&format!("5{}", long.to_uppercase())));
    }

    #[test]
    fn prose_that_ends_with_a_direction_is_words() {
        for text in ["左室舒张功能减低", "EF 60%,左室舒张功能减低", "血糖偏高"] {
            assert_eq!(lab_value(text, None), LabValue::Words, "{text}");
        }
        for text in ["↑", "12.3.4 高", "5-6↑"] {
            assert_eq!(lab_value(text, None), LabValue::Unclear, "{text}");
        }
    }

    #[test]
    fn a_litre_is_no_flag() {
        let flag = |text: &str, unit| match lab_value(text, unit) {
            LabValue::Number { flag, .. } => flag,
            _ => None,
        };
        assert_eq!(flag("2 L", None), None);
        assert_eq!(lab_value("2 L", None), LabValue::Unclear);
        assert_eq!(flag("2 L", Some("g/L")), Some("L"));
        assert_eq!(flag("2 L", Some("L")), None);
        assert_eq!(flag("2 g/L", Some("g/L")), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in ".*", likely in "[0-9.<>≤≥:↑↓()+±阴阳弱性检出未 HL-]{0,12}") {
            for text in [text, likely] {
                let _ = (lab_value(&text, None), lab_value(&text, Some("g/L")));
            }
        }
    }
}
