//! Reference ranges: `3.5~9.5`, `<5.0`, `阴性`, `<1:80`, `男:120-160 女:110-150`. Not understood as a whole means text only.

use serde_json::Number;

use super::coded::unit_key;
use super::lab_value::{Answer, LabValue, Level, answer, beside_an_answer, comparator, titre, without_unit};
use super::number::{approximate, decimal, grouped, half_width, has_power, power_of_ten};

/// What is normal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Range {
    /// Between two numbers, or on one side of one.
    Numbers(Limits),
    /// Dilutions of a titre: `<1:80`.
    Titres(Limits),
    /// At most this level.
    AtMost(Level),
}

/// Limits, and whether each is itself normal.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Limits {
    pub(crate) low: Option<(Number, bool)>,
    pub(crate) high: Option<(Number, bool)>,
}

/// What a text says as a range.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ReadRange {
    /// This.
    Range(Range),
    /// It differs by sex, and the patient's is not known.
    BySex,
    /// That there is none.
    Nothing,
    /// It is not understood.
    Unclear,
}

/// Longest text that is read as a range; longer ones are explanations by age and week.
const MAX_CHARACTERS: usize = 64;

/// Marks between two limits, longest first. A double dash is how some systems escape a dash.
const BETWEEN: &[&str] = &["---", "--", "~~", "~", "-", "–", "——", "—", "～", "…", "至", "到", " to ", " TO "];

/// What is written where there is no range.
const NOTHING: &[&str] = &["-", "--", "---", "—", "——", "/", "\\", ".", "*", "无", "~", "N/A", "n/a"];

/// What may stand before a range, longest first.
const TITLES: &[&str] = &["正常参考值", "参考范围", "参考区间", "参考值", "正常范围", "正常值"];

/// Words for the two sexes, longest first.
const MALE: &[&str] = &["男性", "男", "male", "Male", "MALE", "M"];
const FEMALE: &[&str] = &["女性", "女", "female", "Female", "FEMALE", "F"];

/// Reads a range for a patient of this sex (`male`, `female`); a range by sex means nothing for another. `unit` is what OBX-6 says.
pub(crate) fn reference_range(text: &str, sex: Option<&str>, unit: Option<&str>) -> ReadRange {
    if is_bare(text)
        && let Some(range) = between(text, None)
    {
        return found(range);
    }
    if text.chars().count() > MAX_CHARACTERS {
        return ReadRange::Unclear;
    }
    let text = half_width(text.trim());
    let text = without_title(text.trim());
    if NOTHING.contains(&text) {
        return ReadRange::Nothing;
    }
    if let Some(range) = plain(text, unit) {
        return found(range);
    }
    match (by_sex(text, unit), sex) {
        (Some((male, _)), Some("male")) => ReadRange::Range(male),
        (Some((_, female)), Some("female")) => ReadRange::Range(female),
        (Some(_), _) => ReadRange::BySex,
        (None, _) => ReadRange::Unclear,
    }
}

/// From nothing to nothing, `0.00-0.00`, is how a database writes that nobody has entered one.
fn found(range: Range) -> ReadRange {
    let is_zero = |limit: &Option<(Number, bool)>| limit.as_ref().is_some_and(|(limit, _)| limit.as_f64() == Some(0.0));
    match &range {
        Range::Numbers(Limits { low, high }) if is_zero(low) && is_zero(high) => ReadRange::Nothing,
        _ => ReadRange::Range(range),
    }
}

/// Nothing but digits and what may stand between two numbers, as in most ranges: there is no unit in it, and no word to look for.
pub(crate) fn is_bare(text: &str) -> bool {
    text.len() <= MAX_CHARACTERS
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b" .-~".contains(&byte))
}

fn without_title(text: &str) -> &str {
    let rest = TITLES.iter().find_map(|title| text.strip_prefix(title));
    rest.map_or(text, |rest| rest.trim_start_matches([':', ' ']))
}

/// Without the unit that OBX-6 gives anyhow, in whatever spelling, in brackets or not: `3.5-9.5×10^9/L`, `3.5-9.5(10⁹/L)`.
fn without_spelling_of<'t>(text: &'t str, unit: Option<&str>) -> &'t str {
    let plain = without_unit(text, unit);
    let Some(unit) = unit.filter(|_| !plain.ends_with(|last: char| last.is_ascii_digit())) else { return plain };
    let key = unit_key(unit);
    let is_unit = |end: &str| {
        let end = end.strip_prefix('(').and_then(|end| end.strip_suffix(')')).unwrap_or(end);
        unit_key(end) == key
    };
    let mut splits = text.char_indices().map(|(start, _)| text.split_at(start));
    splits.find(|(_, end)| is_unit(end)).map_or(plain, |(rest, _)| rest.trim_end())
}

/// Ranges for men and for women, each named before its range (`男:120-160 女:110-150`) or after it (`120-160(男) 110-150(女)`).
fn by_sex(text: &str, unit: Option<&str>) -> Option<(Range, Range)> {
    let (male, female) = (word(text, MALE)?, word(text, FEMALE)?);
    let (first, second) = if male.start < female.start { (&male, &female) } else { (&female, &male) };
    let between = [' ', ',', ';', ':', '、', '/', '。', '|', '\n', '(', ')', '[', ']'];
    let range = |part: &str| plain(part.trim_matches(between), unit);
    let (first_range, second_range) = if text[..first.start].trim_matches(between).is_empty() {
        (range(&text[first.end..second.start])?, range(&text[second.end..])?)
    } else if text[second.end..].trim_matches(between).is_empty() {
        (range(&text[..first.start])?, range(&text[first.end..second.start])?)
    } else {
        return None;
    };
    Some(if male.start < female.start { (first_range, second_range) } else { (second_range, first_range) })
}

/// Where one of these words stands; `None` too where it stands twice, or as a part of a longer one: `male` is inside `female`.
fn word(text: &str, words: &[&str]) -> Option<std::ops::Range<usize>> {
    let is_letter = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphabetic());
    let stands = |start: usize, word: &str| {
        !is_letter(word.chars().next())
            || !is_letter(text[..start].chars().next_back()) && !is_letter(text[start + word.len()..].chars().next())
    };
    words.iter().find_map(|word| {
        let mut places = text.match_indices(word).map(|(start, _)| start).filter(|start| stands(*start, word));
        places.next().filter(|_| places.next().is_none()).map(|start| start..start + word.len())
    })
}

fn plain(text: &str, unit: Option<&str>) -> Option<Range> {
    let text = unwrapped(without_spelling_of(unwrapped(text.trim()), unit));
    if is_bare(text) {
        return between(text, unit);
    }
    if let Some(highest) = highest_level(text) {
        return Some(Range::AtMost(highest));
    }
    // `阴性(<1.0)`: what is negative, in numbers.
    let text = match beside_an_answer(text) {
        (rest, Some(Level::Negative)) => without_unit(unwrapped(rest), unit),
        (_, Some(_)) => return None,
        (text, None) => text,
    };
    if let (Some(comparator), rest) = comparator(text) {
        let rest = without_unit(rest.trim(), unit);
        return match titre(rest) {
            Some(limit) => Some(Range::Titres(one_sided(comparator, limit))),
            None => number(rest, unit).map(|limit| Range::Numbers(one_sided(comparator, limit))),
        };
    }
    if let Some(limit) = titre(text) {
        // `1:80` alone is the highest that is normal.
        return Some(Range::Titres(one_sided("<=", limit)));
    }
    between(text, unit)
}

/// A limit; one with a power of ten only where the unit has none, or it might count twice.
fn number(text: &str, unit: Option<&str>) -> Option<Number> {
    decimal(text).or_else(|| power_of_ten(text).filter(|_| !has_power(unit))).or_else(|| grouped(text))
}

fn one_sided(comparator: &str, limit: Number) -> Limits {
    match comparator {
        "<" => Limits { low: None, high: Some((limit, false)) },
        "<=" => Limits { low: None, high: Some((limit, true)) },
        ">" => Limits { low: Some((limit, false)), high: None },
        _ => Limits { low: Some((limit, true)), high: None },
    }
}

/// Two limits. Every way to cut the text in two is tried, and only one may make sense: `-5--2` could be two ranges.
fn between(text: &str, unit: Option<&str>) -> Option<Range> {
    let mut found: Option<(Number, Number)> = None;
    let may_be_a_mark = |character: char| !(character.is_ascii_digit() || character == '.');
    for (position, _) in text.char_indices().skip(1).filter(|(_, character)| may_be_a_mark(*character)) {
        let (low, behind) = text.split_at(position);
        for high in BETWEEN.iter().filter_map(|mark| behind.strip_prefix(mark)) {
            // `3.5-9.5×10^9`: whether the power is meant for both is not said.
            if has_power(Some(low)) != has_power(Some(high)) {
                continue;
            }
            let Some(low) = number(without_unit(low.trim_end(), unit), unit) else { continue };
            let Some(high) = number(high.trim_start(), unit).filter(|high| approximate(&low) <= approximate(high))
            else {
                continue;
            };
            match &found {
                Some(before) if *before != (low.clone(), high.clone()) => return None,
                _ => found = Some((low, high)),
            }
        }
    }
    found.map(|(low, high)| Range::Numbers(Limits { low: Some((low, true)), high: Some((high, true)) }))
}

fn unwrapped(text: &str) -> &str {
    for (open, close) in [('(', ')'), ('[', ']'), ('【', '】')] {
        if let Some(inner) = text.strip_prefix(open).and_then(|text| text.strip_suffix(close)) {
            // `(-)` is a level, not a bracketed range.
            if inner.chars().any(|character| character.is_ascii_digit()) && !inner.contains([open, close]) {
                return inner.trim();
            }
        }
    }
    text
}

/// `阴性`, `阴性或弱阳性`, `阴性(-)`, `Negative`.
fn highest_level(text: &str) -> Option<Level> {
    let level = |part: &str| match answer(part.trim()) {
        Answer::Level(level) => Some(level),
        Answer::Contradiction | Answer::None => None,
    };
    level(text).or_else(|| {
        let levels = text.split(['或', '/', '、']).map(level).collect::<Option<Vec<_>>>()?;
        // `阴性/阳性` are the answers that there are, not those that are normal.
        let all = levels.contains(&Level::Negative) && levels.contains(&Level::Positive);
        levels.into_iter().max().filter(|_| !all)
    })
}

/// Is the value outside the range? `None` if the two cannot be compared, or not surely.
pub(crate) fn is_outside(value: &LabValue, range: &Range) -> Option<bool> {
    match (value, range) {
        (LabValue::Qualitative(level), Range::AtMost(highest)) => Some(level > highest),
        (LabValue::Number { comparator, number, .. }, Range::Numbers(limits))
        | (LabValue::Titre { comparator, dilution: number }, Range::Titres(limits)) => {
            let value = approximate(number)?;
            let limit = |limit: &Option<(Number, bool)>| match limit {
                Some((number, included)) => approximate(number).map(|limit| Some((limit, *included))),
                None => Some(None),
            };
            outside(*comparator, value, limit(&limits.low)?, limit(&limits.high)?)
        }
        _ => None,
    }
}

fn outside(comparator: Option<&str>, value: f64, low: Option<(f64, bool)>, high: Option<(f64, bool)>) -> Option<bool> {
    let below = low.is_some_and(|(limit, included)| value < limit || (value == limit && !included));
    let above = high.is_some_and(|(limit, included)| value > limit || (value == limit && !included));
    match comparator {
        None => Some(below || above),
        // All that is less than a value: judged where the whole of it lies outside or inside. What is measured is seldom below 0, so a
        // limit of 0 is none.
        Some(comparator @ ("<" | "<=")) => {
            let low = low.filter(|(limit, _)| *limit != 0.0);
            let is_open = comparator == "<";
            if low.is_some_and(|(limit, included)| value < limit || (value == limit && (is_open || !included))) {
                return Some(true);
            }
            let fits = |(limit, included)| value < limit || (value == limit && (is_open || included));
            (value > 0.0 && low.is_none() && high.is_some_and(fits)).then_some(false)
        }
        Some(comparator) => {
            let is_open = comparator == ">";
            if high.is_some_and(|(limit, included)| value > limit || (value == limit && (is_open || !included))) {
                return Some(true);
            }
            let fits = |(limit, included)| value > limit || (value == limit && (is_open || included));
            (high.is_none() && low.is_some_and(fits)).then_some(false)
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
        match reference_range(text, sex, Some("g/L")) {
            ReadRange::Range(Range::Numbers(Limits { low, high })) => format!("{}..{}", limit(low), limit(high)),
            ReadRange::Range(Range::Titres(Limits { low, high })) => format!("1:{}..1:{}", limit(low), limit(high)),
            ReadRange::Range(Range::AtMost(level)) => format!("{level:?}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn ranges_are_understood_as_wholes_or_not_at_all() {
        for (text, expected) in [
            ("-2.0~3.0", "-2.0..3.0"),
            ("-2.0-3.0", "-2.0..3.0"),
            ("-5~-2", "-5..-2"),
            ("-5--2", "Unclear"),
            ("9.5-3.5", "Unclear"),
            ("3.5-9.5 mmol/L", "Unclear"),
            ("3.5-9.5 g/L", "3.5..9.5"),
            ("3.5g/L-9.5g/L", "3.5..9.5"),
            ("参考范围：3.5-9.5", "3.5..9.5"),
            ("3.50～9.50(g/L)", "3.50..9.50"),
            ("(3.5-9.5)g/L", "3.5..9.5"),
            ("<1:80", "1:..1:80!"),
            ("1:40", "1:..1:40"),
            ("阴性(<1.0)", "..1.0!"),
            ("阳性(>1.0)", "Unclear"),
            ("", "Unclear"),
            ("3.5", "Unclear"),
        ] {
            assert_eq!(shown(text, None), expected, "{text}");
        }
    }

    #[test]
    fn a_unit_behind_a_range_may_be_spelled_in_another_way() {
        for text in [
            "3.5-9.5 10^9/L",
            "3.5-9.5×10^9/L",
            "(3.5-9.5)×10^9/L",
            "(3.5-9.5×10⁹/L)",
            "3.5～9.5(10^9/L)",
            "参考值 3.5-9.5*10^9/L",
        ] {
            for unit in ["10^9/L", "10*9/L", "×10⁹/L"] {
                let limit = |text: &str| Some((decimal(text).unwrap(), true));
                let expected = ReadRange::Range(Range::Numbers(Limits { low: limit("3.5"), high: limit("9.5") }));
                assert_eq!(reference_range(text, None, Some(unit)), expected, "{text} {unit}");
            }
        }
        assert_eq!(reference_range("3.5-9.5×10^12/L", None, Some("10^9/L")), ReadRange::Unclear);
    }

    #[test]
    fn a_range_by_sex_needs_the_sex() {
        for text in [
            "男:120-160 女:110-150",
            "男：120～160；女：110～150",
            "女性110-150,男性120-160",
            "120-160(男) 110-150(女)",
            "M:120-160/F:110-150",
            "female 110-150; male 120-160",
            "男:120-160g/L 女:110-150g/L",
        ] {
            assert_eq!(shown(text, Some("male")), "120..160", "{text}");
            assert_eq!(shown(text, Some("female")), "110..150", "{text}");
            assert_eq!(shown(text, Some("unknown")), "BySex", "{text}");
        }
        for text in
            ["男:120-160 女:见说明", "男:1-2 女:3-4 孕妇:5-6", "男:1-2", "成年男:1-2 女:3-4", "男:1-2 男:2-3 女:3-4"]
        {
            assert_eq!(shown(text, Some("male")), "Unclear", "{text}");
        }
    }

    #[test]
    fn outside_is_said_only_where_it_is_sure() {
        for (value, range, expected) in [
            ("5", "3.5-9.5", Some(false)),
            ("3.5", "3.5-9.5", Some(false)),
            ("9.6", "3.5-9.5", Some(true)),
            ("5.0", "<5.0", Some(true)),
            ("40", "≤40", Some(false)),
            ("<0.05", "0-0.5", Some(false)),
            ("<0.5", "0-10", Some(false)),
            ("<0.5", "0-0.3", None),
            ("<0", "0-10", None),
            ("<=5", "<5", None),
            ("<5", "<5", Some(false)),
            ("<=3", ">3", Some(true)),
            (">=5", ">5", None),
            ("<5", "-2-10", None),
            ("1:80(阳性)", "<1:80", None),
            ("<0.05", "<0.5", Some(false)),
            ("<3", "3.5-9.5", Some(true)),
            (">1000", "0-500", Some(true)),
            (">100", "0-500", None),
            ("阳性(+)", "阴性", Some(true)),
            ("阳性(+)1:64", "阴性", Some(true)),
            ("阴性(-) 1:10", "阴性", Some(false)),
            ("阳性(-)1:64", "阴性", None),
            ("阴性(-)", "阴性", Some(false)),
            ("弱阳性", "阴性或弱阳性", Some(false)),
            ("阳性", "0-5", None),
            ("1:80", "阴性", None),
            ("1:160", "<1:80", Some(true)),
            ("<1:20", "<1:80", Some(false)),
            ("1:80", "1:80", Some(false)),
        ] {
            let ReadRange::Range(range) = reference_range(range, None, None) else { panic!("{range}") };
            assert_eq!(is_outside(&lab_value(value, None), &range), expected, "{value} in {range:?}");
        }
    }
}
