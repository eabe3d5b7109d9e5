//! Numbers as people and analysers write them, digits kept as sent (only `E` becomes `e`).

use std::borrow::Cow;

use serde_json::Number;

use crate::hl7v2::path::trimmed;

/// Longest text that is read as a number. No measured value has more digits; codes and barcodes have.
const MAX_DIGITS: usize = 32;
/// Most digits of an exponent, so that every consumer's decimal type can hold the number.
const MAX_EXPONENT_DIGITS: usize = 2;

/// Full-width and small ASCII (`３．５`, `＜`, `﹤`, `：`) as half width, every blank as a space, invisible characters left out. Chinese
/// keyboards mix all of them freely.
pub(crate) fn half_width(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter_map(half_width_character).collect())
}

fn half_width_character(character: char) -> Option<char> {
    Some(match character {
        '\u{200B}'..='\u{200D}' | '\u{FEFF}' => return None,
        '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{3000}' => ' ',
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(character) - 0xFEE0).unwrap_or(character),
        '\u{2212}' | '﹣' => '-',
        '﹢' => '+',
        '﹤' => '<',
        '﹥' => '>',
        '﹪' => '%',
        '﹕' | '∶' => ':',
        '∕' | '⁄' => '/',
        _ => character,
    })
}

/// Superscript digits as people type them without: `10⁹` as `10^9`, `10⁻³` as `10^-3`.
pub(crate) fn without_superscripts(text: &str) -> Cow<'_, str> {
    const DIGITS: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";
    let plain = |character: char| match character {
        '⁻' => Some('-'),
        '⁺' => Some('+'),
        _ => DIGITS.chars().position(|digit| digit == character).and_then(|value| char::from_digit(value as u32, 10)),
    };
    if !text.chars().any(|character| plain(character).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut folded = String::with_capacity(text.len());
    let mut is_raised = false;
    for character in text.chars() {
        let raised = plain(character);
        if raised.is_some() && !is_raised {
            folded.push('^');
        }
        is_raised = raised.is_some();
        folded.push(raised.unwrap_or(character));
    }
    Cow::Owned(folded)
}

/// What people put between a number and a power of ten.
pub(crate) const TIMES: [char; 5] = ['×', 'x', 'X', '*', '·'];

/// Whether a unit counts in powers of ten: `10^9/L`, `10*9/L`, `×10⁹/L`.
pub(crate) fn has_power(unit: Option<&str>) -> bool {
    unit.filter(|unit| unit.bytes().any(|byte| byte == b'^' || byte == b'*' || !byte.is_ascii())).is_some_and(|unit| {
        let unit = without_superscripts(unit);
        unit.contains("10^") || unit.contains("10*")
    })
}

/// `1.2×10^5`, `3.5x10⁴`, `10^6` as one number; `text` is half width.
pub(crate) fn power_of_ten(text: &str) -> Option<Number> {
    let text = without_superscripts(text);
    let (before, exponent) = text.split_once("10^")?;
    let mantissa = match before.trim_end() {
        "" => "1",
        before => before.strip_suffix(TIMES)?.trim_end(),
    };
    let exponent = exponent.trim();
    // An exponent of its own, or none: `1e5×10^3` and `10^` mean nothing that is sure.
    let is_whole =
        !exponent.is_empty() && exponent.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit());
    if !is_whole || mantissa.contains(['e', 'E']) {
        return None;
    }
    decimal(&format!("{mantissa}e{exponent}"))
}

/// A number with thousands separators, where they can be nothing else: several groups of three digits (`1,234,567`), or one and a decimal
/// point (`12,345.6`). `1,200` alone stays what it was: analysers set up in Europe write it for 1.2, laboratories here for 1200, and a
/// factor of a thousand is too much to guess. `text` is half width.
pub(crate) fn grouped(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let are_groups = (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && groups.clone().all(|group| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit()));
    let is_sure = match groups.count() {
        0 => false,
        1 => !fraction.is_empty(),
        _ => true,
    };
    if are_groups && is_sure { decimal(&text.replace(',', "")) } else { None }
}

/// The number that `text` is as a whole, or `None`. Takes `5`, `-0.5`, `.5`, `5.`, `+5`, `007`, `3.2E+03`, full width.
///
/// No thousands separators and no decimal comma: `1,234` could be either, see [`grouped`].
pub(crate) fn decimal(text: &str) -> Option<Number> {
    let text = half_width(trimmed(text));
    json_number(trimmed(&text))?.parse().ok()
}

/// `text` as JSON writes the same number, digits untouched.
fn json_number(text: &str) -> Option<Cow<'_, str>> {
    if text.is_empty() || text.len() > MAX_DIGITS {
        return None;
    }
    let (negative, unsigned) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(position) => (&unsigned[..position], &unsigned[position..]),
        None => (unsigned, ""),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    if !exponent.is_empty() {
        let digits = exponent[1..].strip_prefix(['+', '-']).unwrap_or(&exponent[1..]);
        let digits_that_count = digits.trim_start_matches('0');
        if digits.is_empty() || digits_that_count.len() > MAX_EXPONENT_DIGITS || !all_digits(digits) {
            return None;
        }
    }
    let legal_whole = whole == "0" || (!whole.is_empty() && !whole.starts_with('0'));
    if legal_whole && !text.starts_with('+') && (!fraction.is_empty() || mantissa.len() == whole.len()) {
        return Some(Cow::Borrowed(text));
    }
    let whole = whole.trim_start_matches('0');
    let sign = if negative { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(Cow::Owned(format!("{sign}{whole}{point}{fraction}{exponent}")))
}

/// The whole number that `text` is, or `None`.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let text = half_width(text.trim());
    text.trim().strip_prefix('+').unwrap_or(text.trim()).parse().ok()
}

/// The number for comparisons only; records keep the digits.
pub(crate) fn approximate(number: &Number) -> Option<f64> {
    number.as_f64().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        for (text, expected) in [
            ("5", "5"),
            ("1.10", "1.10"),
            ("-0.5", "-0.5"),
            ("−3", "-3"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("5.", "5"),
            ("+5", "5"),
            ("007", "7"),
            ("00.50", "0.50"),
            ("0", "0"),
            ("3.2E+03", "3.2e+03"),
            ("1e-5", "1e-5"),
            (" 12.3 ", "12.3"),
            ("３．５", "3.5"),
            ("123456789012345678901", "123456789012345678901"),
        ] {
            assert_eq!(decimal(text).map(|number| number.to_string()).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_wholly_a_number_is_none() {
        for text in [
            "", " ", ".", "-", "+", "e5", "1e", "1e+", "1,234", "3.5.1", "12.3↑", "1:80", "0x10", "1e999", "5 mg",
            "NaN", "inf",
        ] {
            assert_eq!(decimal(text), None, "{text}");
        }
        assert_eq!(decimal(&"9".repeat(40)), None);
    }

    #[test]
    fn commas_count_where_they_can_only_be_thousands() {
        for (text, expected) in [
            ("1,234,567", Some("1234567")),
            ("12,345.60", Some("12345.60")),
            ("-1,234.5", Some("-1234.5")),
            ("1,234", None),
            ("1,234.", None),
            ("0,123.4", None),
            ("1234,567.8", None),
            ("1,23,456", None),
            ("1,234,56", None),
            ("1.234,567", None),
            ("1,2e4,567.8", None),
            (",123,456", None),
            ("123456", None),
        ] {
            assert_eq!(grouped(text).map(|number| number.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn powers_of_ten_are_numbers() {
        for (text, expected) in [
            ("1.2×10^5", Some("1.2e+5")),
            ("3.50x10⁴", Some("3.50e+4")),
            ("2 * 10^-3", Some("2e-3")),
            ("10^6", Some("1e+6")),
            ("10⁻³", Some("1e-3")),
            ("10^", None),
            ("10^5-10^6", None),
            ("1e5×10^3", None),
            ("1.2 10^5", None),
            ("1×10^1000", None),
            ("×10^5", None),
        ] {
            assert_eq!(power_of_ten(text).map(|number| number.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn integers_are_whole() {
        for (text, expected) in
            [("1", Some(1)), (" 02 ", Some(2)), ("+3", Some(3)), ("１", Some(1)), ("1.5", None), ("", None)]
        {
            assert_eq!(integer(text), expected, "{text}");
        }
    }
}
