//! One laboratory value as text: number, comparator and number, titre, qualitative word, or free text.
//!
//! The content decides, not the declared type: analysers send `>1000` as ST and words as NM. What is not understood as a
//! whole stays text; it is never half understood (`12.3 (重复)` is no 12.3).

use serde_json::Number;

use super::number::{decimal, half_width};

/// What a value's text says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum LabValue {
    /// A number, perhaps with what stood before and after it.
    Number {
        /// `<`, `<=`, `>` or `>=`.
        comparator: Option<&'static str>,
        /// The number, digits as sent.
        number: Number,
        /// The flag that an arrow, 高 or 低 after the number means.
        flag: Option<&'static str>,
    },
    /// A qualitative answer.
    Qualitative(Level),
    /// A titre, `1:80`.
    Titre,
    /// Words, nothing that looks like a measured number.
    Words,
    /// It starts like a number or a comparison, but is neither as a whole.
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

/// Words of qualitative answers, compared as wholes: 阳性 is inside 弱阳性, and 性 alone means nothing.
const WORDS: &[(&str, Level)] = &[
    ("阴性", Level::Negative),
    ("阴", Level::Negative),
    ("未检出", Level::Negative),
    ("未检测到", Level::Negative),
    ("未见", Level::Negative),
    ("negative", Level::Negative),
    ("neg", Level::Negative),
    ("not detected", Level::Negative),
    ("none detected", Level::Negative),
    ("nonreactive", Level::Negative),
    ("non-reactive", Level::Negative),
    ("微量", Level::Trace),
    ("trace", Level::Trace),
    ("弱阳性", Level::Weak),
    ("弱阳", Level::Weak),
    ("可疑", Level::Weak),
    ("weakly positive", Level::Weak),
    ("阳性", Level::Positive),
    ("阳", Level::Positive),
    ("检出", Level::Positive),
    ("positive", Level::Positive),
    ("pos", Level::Positive),
    ("detected", Level::Positive),
    ("reactive", Level::Positive),
];

/// Comparators as written, longest first.
const COMPARATORS: &[(&str, &str)] = &[
    ("<=", "<="),
    (">=", ">="),
    ("=<", "<="),
    ("=>", ">="),
    ("≤", "<="),
    ("≥", ">="),
    ("≦", "<="),
    ("≧", ">="),
    ("<", "<"),
    (">", ">"),
];

/// Alone they stand for a test that was not done as often as for a negative one.
const DASHES: &[&str] = &["-", "--", "—"];

/// What may follow a number and says in which direction it is off. No letters: in `2 L` it is a unit.
const ARROWS: &[(&str, &str)] = &[("↑↑", "HH"), ("↓↓", "LL"), ("↑", "H"), ("↓", "L"), ("高", "H"), ("低", "L")];

/// Reads a value. The text is unescaped and not empty.
pub(crate) fn lab_value(text: &str) -> LabValue {
    let text = half_width(text.trim());
    let text = text.trim();
    if DASHES.contains(&text) {
        return LabValue::Words;
    }
    if let Some(level) = level(text) {
        return LabValue::Qualitative(level);
    }
    let (comparator, rest) = comparator(text);
    let (rest, flag) = arrow(rest);
    if let Some(number) = decimal(rest) {
        return LabValue::Number { comparator, number, flag };
    }
    if is_titre(rest) {
        return LabValue::Titre;
    }
    let looks_measured =
        comparator.is_some() || text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    if looks_measured { LabValue::Unclear } else { LabValue::Words }
}

/// A comparator and what follows it.
pub(crate) fn comparator(text: &str) -> (Option<&'static str>, &str) {
    COMPARATORS
        .iter()
        .find_map(|(written, meant)| text.strip_prefix(written).map(|rest| (Some(*meant), rest.trim_start())))
        .unwrap_or((None, text))
}

fn arrow(text: &str) -> (&str, Option<&'static str>) {
    ARROWS
        .iter()
        .find_map(|(written, flag)| text.strip_suffix(written).map(|rest| (rest.trim_end(), Some(*flag))))
        .unwrap_or((text, None))
}

fn is_titre(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.len() <= 10 && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':').is_some_and(|(one, dilution)| number(one.trim()) && number(dilution.trim()))
}

/// The level of a qualitative answer: `阳性(++)`, `+-`, `2+`, `(±)`. `text` is half width and trimmed.
pub(crate) fn level(text: &str) -> Option<Level> {
    if let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        return signs(inner);
    }
    let (word, sign) = match text.split_once('(') {
        Some((word, rest)) => (word.trim_end(), Some(rest.strip_suffix(')')?)),
        None => (text, None),
    };
    let by_word = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, level)| *level);
    match (by_word, sign) {
        (Some(level), None) => Some(level),
        // A word and a sign that contradict each other are not understood.
        (Some(level), Some(sign)) => signs(sign).filter(|by_sign| *by_sign == level),
        (None, None) => signs(text),
        (None, Some(_)) => None,
    }
}

fn signs(text: &str) -> Option<Level> {
    match text {
        "-" | "--" | "—" => Some(Level::Negative),
        "±" | "+-" | "-+" | "+/-" | "-/+" => Some(Level::Weak),
        "+" | "++" | "+++" | "++++" => Some(Level::Positive),
        "1+" | "2+" | "3+" | "4+" | "+1" | "+2" | "+3" | "+4" => Some(Level::Positive),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(comparator: Option<&'static str>, digits: &str, flag: Option<&'static str>) -> LabValue {
        LabValue::Number { comparator, number: digits.parse().unwrap(), flag }
    }

    #[test]
    fn values_are_understood_as_wholes_or_not_at_all() {
        for (text, expected) in [
            ("5.6", number(None, "5.6", None)),
            ("0.570", number(None, "0.570", None)),
            ("3.2E+03", number(None, "3.2E+03", None)),
            ("<0.05", number(Some("<"), "0.05", None)),
            ("≥1000", number(Some(">="), "1000", None)),
            ("＞1000", number(Some(">"), "1000", None)),
            ("＜ 0.5", number(Some("<"), "0.5", None)),
            (">=10", number(Some(">="), "10", None)),
            ("≤40", number(Some("<="), "40", None)),
            ("12.3↑", number(None, "12.3", Some("H"))),
            ("12.3 ↓", number(None, "12.3", Some("L"))),
            ("7.9↑↑", number(None, "7.9", Some("HH"))),
            ("12.3 高", number(None, "12.3", Some("H"))),
            ("12.3 H", LabValue::Unclear),
            ("2 L", LabValue::Unclear),
            ("-", LabValue::Words),
            (" -- ", LabValue::Words),
            ("(-)", LabValue::Qualitative(Level::Negative)),
            ("1:80", LabValue::Titre),
            ("1：160", LabValue::Titre),
            ("<1:80", LabValue::Titre),
            ("阴性", LabValue::Qualitative(Level::Negative)),
            ("阴性(-)", LabValue::Qualitative(Level::Negative)),
            ("阴性（-）", LabValue::Qualitative(Level::Negative)),
            ("未检出", LabValue::Qualitative(Level::Negative)),
            ("弱阳性(±)", LabValue::Qualitative(Level::Weak)),
            ("+-", LabValue::Qualitative(Level::Weak)),
            ("+/-", LabValue::Qualitative(Level::Weak)),
            ("阳性(+)", LabValue::Qualitative(Level::Positive)),
            ("2+", LabValue::Qualitative(Level::Positive)),
            ("+1", LabValue::Qualitative(Level::Positive)),
            ("++", LabValue::Qualitative(Level::Positive)),
            ("NEGATIVE", LabValue::Qualitative(Level::Negative)),
            ("见报告", LabValue::Words),
            ("溶血", LabValue::Words),
            ("性", LabValue::Words),
            ("阳性(-)", LabValue::Words),
            ("强阳性", LabValue::Words),
            ("12.3(重复)", LabValue::Unclear),
            ("3.5-9.5", LabValue::Unclear),
            ("<低", LabValue::Unclear),
            ("1,234", LabValue::Unclear),
            ("27~25", LabValue::Unclear),
        ] {
            assert_eq!(lab_value(text), expected, "{text}");
        }
    }
}
