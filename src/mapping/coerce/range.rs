//! Reference ranges: `3.5~9.5`, `<5.0`, `阴性`, `男:120-160 女:110-150`. Not understood as a whole means text only.

use serde_json::Number;

use super::lab_value::{LabValue, Level, comparator, level};
use super::number::{approximate, decimal, half_width};

/// What is normal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Range {
    /// Between two numbers, or on one side of one.
    Numbers {
        /// Lower limit, and whether it is itself normal.
        low: Option<(Number, bool)>,
        /// Upper limit, and whether it is itself normal.
        high: Option<(Number, bool)>,
    },
    /// At most this level.
    AtMost(Level),
}

/// Longest text that is read as a range; longer ones are explanations by age and week.
const MAX_CHARACTERS: usize = 64;

/// Marks between two limits, longest first. A double dash is how some systems escape a dash.
const BETWEEN: &[&str] = &["--", "~~", "~", "-", "–", "—", "～", "至", " to "];

/// Reads a range for a patient of this sex (`male`, `female`); a range by sex means nothing for another.
pub(crate) fn reference_range(text: &str, sex: Option<&str>) -> Option<Range> {
    if text.chars().count() > MAX_CHARACTERS {
        return None;
    }
    let text = half_width(text.trim());
    let text = text.trim();
    match by_sex(text) {
        Some((male, female)) => match sex {
            Some("male") => Some(male),
            Some("female") => Some(female),
            _ => None,
        },
        None => plain(text),
    }
}

fn by_sex(text: &str) -> Option<(Range, Range)> {
    let (male, female) = (text.find('男')?, text.find('女')?);
    let (first, second) = (male.min(female), male.max(female));
    if first != 0 {
        return None;
    }
    let range = |part: &str| {
        let part = part.trim_start_matches(['男', '女']).trim_start_matches('性').trim_start();
        plain(part.trim_start_matches(':').trim_matches([' ', ',', ';', '、', '/', '。']))
    };
    let (first_range, second_range) = (range(&text[..second])?, range(&text[second..])?);
    Some(if male == 0 { (first_range, second_range) } else { (second_range, first_range) })
}

fn plain(text: &str) -> Option<Range> {
    let text = unwrapped(text.trim());
    if let Some(highest) = highest_level(text) {
        return Some(Range::AtMost(highest));
    }
    if let (Some(comparator), rest) = comparator(text) {
        let limit = decimal(rest)?;
        return Some(match comparator {
            "<" => Range::Numbers { low: None, high: Some((limit, false)) },
            "<=" => Range::Numbers { low: None, high: Some((limit, true)) },
            ">" => Range::Numbers { low: Some((limit, false)), high: None },
            _ => Range::Numbers { low: Some((limit, true)), high: None },
        });
    }
    between(text)
}

/// Two limits. Every way to cut the text in two is tried, and only one may make sense: `-5--2` could be two ranges.
fn between(text: &str) -> Option<Range> {
    let mut found: Option<(Number, Number)> = None;
    for mark in BETWEEN {
        for (position, _) in text.match_indices(mark).filter(|(position, _)| *position > 0) {
            let limits = decimal(&text[..position]).zip(decimal(&text[position + mark.len()..]));
            let Some((low, high)) = limits.filter(|(low, high)| approximate(low) <= approximate(high)) else {
                continue;
            };
            match &found {
                Some(before) if *before != (low.clone(), high.clone()) => return None,
                _ => found = Some((low, high)),
            }
        }
    }
    found.map(|(low, high)| Range::Numbers { low: Some((low, true)), high: Some((high, true)) })
}

fn unwrapped(text: &str) -> &str {
    for (open, close) in [('(', ')'), ('[', ']'), ('【', '】')] {
        if let Some(inner) = text.strip_prefix(open).and_then(|text| text.strip_suffix(close)) {
            // `(-)` is a level, not a bracketed range.
            if inner.chars().any(|character| character.is_ascii_digit()) {
                return inner.trim();
            }
        }
    }
    text
}

/// `阴性`, `阴性或弱阳性`, `阴性(-)`. A lone dash means "no range".
fn highest_level(text: &str) -> Option<Level> {
    if text == "-" || text == "--" {
        return None;
    }
    text.split(['或', '/']).map(|part| level(part.trim())).collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Is the value outside the range? `None` if the two cannot be compared, or not surely.
pub(crate) fn is_outside(value: &LabValue, range: &Range) -> Option<bool> {
    match (value, range) {
        (LabValue::Qualitative(level), Range::AtMost(highest)) => Some(level > highest),
        (LabValue::Number { comparator, number, .. }, Range::Numbers { low, high }) => {
            let value = approximate(number)?;
            let limit = |limit: &Option<(Number, bool)>| match limit {
                Some((number, included)) => approximate(number).map(|limit| Some((limit, *included))),
                None => Some(None),
            };
            outside(*comparator, value, limit(low)?, limit(high)?)
        }
        _ => None,
    }
}

fn outside(comparator: Option<&str>, value: f64, low: Option<(f64, bool)>, high: Option<(f64, bool)>) -> Option<bool> {
    let below = low.is_some_and(|(limit, included)| value < limit || (value == limit && !included));
    let above = high.is_some_and(|(limit, included)| value > limit || (value == limit && !included));
    match comparator {
        None => Some(below || above),
        // "Less than value" is surely outside only if all of it is, and surely inside only where nothing is too low.
        Some("<" | "<=") => {
            if low.is_some_and(|(limit, _)| value < limit || (value == limit && comparator == Some("<"))) {
                Some(true)
            } else if low.is_none() && high.is_some_and(|(limit, _)| value <= limit) {
                Some(false)
            } else {
                None
            }
        }
        _ => {
            if high.is_some_and(|(limit, _)| value > limit || (value == limit && comparator == Some(">"))) {
                Some(true)
            } else if high.is_none() && low.is_some_and(|(limit, _)| value >= limit) {
                Some(false)
            } else {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lab_value::lab_value;
    use super::*;

    fn shown(text: &str, sex: Option<&str>) -> String {
        let limit = |limit: Option<(Number, bool)>| {
            limit.map_or(String::new(), |(number, included)| format!("{number}{}", if included { "" } else { "!" }))
        };
        match reference_range(text, sex) {
            Some(Range::Numbers { low, high }) => format!("{}..{}", limit(low), limit(high)),
            Some(Range::AtMost(level)) => format!("{level:?}"),
            None => "text".to_owned(),
        }
    }

    #[test]
    fn ranges_are_understood_as_wholes_or_not_at_all() {
        for (text, expected) in [
            ("3.5~9.5", "3.5..9.5"),
            ("3.5--9.5", "3.5..9.5"),
            ("3.5-9.5", "3.5..9.5"),
            ("3.5－9.5", "3.5..9.5"),
            ("3.5～9.5", "3.5..9.5"),
            ("3.5 - 9.5", "3.5..9.5"),
            ("３．５－９．５", "3.5..9.5"),
            ("(3.5-9.5)", "3.5..9.5"),
            ("0-0.5", "0..0.5"),
            ("-2.0~3.0", "-2.0..3.0"),
            ("-2.0-3.0", "-2.0..3.0"),
            ("-5~-2", "-5..-2"),
            ("<5.0", "..5.0!"),
            ("＜5.0", "..5.0!"),
            ("≤40", "..40"),
            (">60", "60!.."),
            ("≥ 60", "60.."),
            ("阴性", "Negative"),
            ("阴性(-)", "Negative"),
            ("阴性或弱阳性", "Weak"),
            ("-5--2", "text"),
            ("9.5-3.5", "text"),
            ("3.5-9.5 mmol/L", "text"),
            ("-", "text"),
            ("--", "text"),
            ("", "text"),
            ("见说明", "text"),
            ("3.5", "text"),
            ("成人 3-5", "text"),
            ("男:120-160 女:110-150", "text"),
        ] {
            assert_eq!(shown(text, None), expected, "{text}");
        }
    }

    #[test]
    fn a_range_by_sex_needs_the_sex() {
        for text in ["男:120-160 女:110-150", "男：120～160；女：110～150", "女性110-150,男性120-160"] {
            assert_eq!(shown(text, Some("male")), "120..160", "{text}");
            assert_eq!(shown(text, Some("female")), "110..150", "{text}");
            assert_eq!(shown(text, Some("unknown")), "text", "{text}");
        }
        assert_eq!(shown("男:120-160 女:见说明", Some("male")), "text");
    }

    #[test]
    fn outside_is_said_only_where_it_is_sure() {
        for (value, range, expected) in [
            ("5", "3.5-9.5", Some(false)),
            ("3.5", "3.5-9.5", Some(false)),
            ("9.6", "3.5-9.5", Some(true)),
            ("5.0", "<5.0", Some(true)),
            ("40", "≤40", Some(false)),
            ("<0.05", "0-0.5", None),
            ("<0.05", "<0.5", Some(false)),
            ("<3", "3.5-9.5", Some(true)),
            (">1000", "0-500", Some(true)),
            (">100", "0-500", None),
            ("阳性(+)", "阴性", Some(true)),
            ("阴性(-)", "阴性", Some(false)),
            ("弱阳性", "阴性或弱阳性", Some(false)),
            ("阳性", "0-5", None),
            ("1:80", "阴性", None),
        ] {
            let range = reference_range(range, None).unwrap();
            assert_eq!(is_outside(&lab_value(value), &range), expected, "{value} in {range:?}");
        }
    }
}
