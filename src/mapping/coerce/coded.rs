//! Codes, identifiers, units and truth values.

use std::borrow::Cow;

use super::number::{TIMES, half_width, without_superscripts};
use super::{first_of, part};
use crate::hl7v2::Value;

/// A code with its display text and coding system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Coded {
    pub(crate) code: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) system: Option<String>,
    /// The same in another coding system.
    pub(crate) alternate: Option<Box<Coded>>,
}

/// CE, CWE (HL7 v2.5.1 chapter 2A, 2A.13): code ^ text ^ system ^ alternate code, text, system; CWE.9 is the original text.
pub(crate) fn coded(value: &Value<'_>) -> Option<Coded> {
    let triple = |first: usize| Coded {
        code: part(value, first).map(Into::into),
        name: part(value, first + 1).map(Into::into),
        system: part(value, first + 2).map(Into::into),
        alternate: None,
    };
    let mut coded = triple(1);
    match part(value, 4) {
        Some(_) if coded.code.is_none() => {
            let alternate = triple(4);
            coded = Coded { name: alternate.name.or(coded.name), ..alternate };
        }
        Some(_) => coded.alternate = alternate(value).map(Box::new),
        None => {}
    }
    if coded.name.is_none() {
        coded.name = part(value, 9).or_else(|| part(value, 5)).map(Into::into);
    }
    (coded.code.is_some() || coded.name.is_some()).then_some(coded)
}

/// CE, CWE: alternate code ^ text ^ system, where they say something beside a code of their own.
pub(crate) fn alternate(value: &Value<'_>) -> Option<Coded> {
    let code = part(value, 4)?;
    let (own, system) = (part(value, 1)?, part(value, 6));
    if own == code && system.as_ref().is_none_or(|system| part(value, 3).as_ref() == Some(system)) {
        return None;
    }
    let name = part(value, 5).map(Into::into);
    Some(Coded { code: Some(code.into()), name, system: system.map(Into::into), alternate: None })
}

/// CX, EI: the number and its assigning authority (HD: namespace, else universal id), which may be absent.
pub(crate) fn identifier(value: &Value<'_>) -> Option<(String, Option<String>)> {
    let number = part(value, 1)?.into_owned();
    let authority = first_of(value, 4).or_else(|| value.component(4).value().and_then(|authority| part(&authority, 2)));
    Some((number, authority.map(Into::into)))
}

/// OBX-6 as one text. `10^9/L` is a unit whose `^` was not escaped, not the code `10` with the text `9/L`. See [`joined`] for `m^2`.
pub(crate) fn unit(value: &Value<'_>) -> Option<String> {
    unit_of(part(value, 1), part(value, 2)).map(Cow::into_owned)
}

fn unit_of<'m>(code: Option<Cow<'m, str>>, name: Option<Cow<'m, str>>) -> Option<Cow<'m, str>> {
    match (code, name) {
        (Some(code), Some(name)) if is_power_base(&code) && name.starts_with(|first: char| first.is_ascii_digit()) => {
            Some(Cow::Owned(format!("{code}^{name}")))
        }
        (code, name) => match code.or(name)? {
            Cow::Borrowed(unit) => Some(half_width(unit)),
            Cow::Owned(unit) => Some(Cow::Owned(half_width(&unit).into_owned())),
        },
    }
}

/// OBX-6 as a table knows it: joined, see [`joined`], where `is_known` says so of that, else as [`unit()`] has it.
pub(crate) fn known_unit<'m>(value: &Value<'m>, is_known: impl Fn(&str) -> bool) -> Option<Cow<'m, str>> {
    let (code, name) = (part(value, 1), part(value, 2));
    let joined = joined(code.as_deref(), name.as_deref()).filter(|joined| is_known(joined));
    joined.map(Cow::Owned).or_else(|| unit_of(code, name))
}

/// The unit as it reads if its `^` was not escaped: `kg/m^2`, where the second component begins with an exponent. Only a table can tell
/// whether that is one.
fn joined(code: Option<&str>, exponent: Option<&str>) -> Option<String> {
    let (code, exponent) = (code?, exponent?);
    let is_joined =
        code.ends_with(|last: char| last.is_alphabetic()) && exponent.starts_with(|first: char| first.is_ascii_digit());
    is_joined.then(|| half_width(&format!("{code}^{exponent}")).into_owned())
}

fn is_power_base(code: &str) -> bool {
    code.trim_start_matches(TIMES).trim_start() == "10"
}

/// A unit in the spelling that tables list, for units in other spellings: `×10⁹ / L`, `10^9/L`, `10E9/L` and `x10*9/L` are
/// `10*9/L`; `μmol/L` is `umol/L`, `㎎/㎗` is `mg/dl`. Nothing is converted.
pub(crate) fn unit_key(unit: &str) -> String {
    const SQUARES: [(char, &str); 14] = [
        ('㎎', "mg"),
        ('㎍', "ug"),
        ('㎏', "kg"),
        ('㎖', "mL"),
        ('㎕', "uL"),
        ('㎗', "dL"),
        ('㎜', "mm"),
        ('㎝', "cm"),
        ('㎛', "um"),
        ('㎡', "m2"),
        ('㎥', "m3"),
        ('㏖', "mol"),
        ('µ', "u"),
        ('μ', "u"),
    ];
    let half = half_width(unit);
    let plain = without_superscripts(&half);
    let mut key = String::with_capacity(plain.len());
    for character in plain.chars().filter(|character| !character.is_whitespace()) {
        match SQUARES.iter().find(|(square, _)| *square == character) {
            Some((_, letters)) => key.push_str(letters),
            None => key.push(character),
        }
    }
    let power = key.trim_start_matches(TIMES).strip_prefix("10").and_then(|rest| {
        let exponent = ["^", "**", "*", "E", "e"].iter().find_map(|mark| rest.strip_prefix(mark))?;
        exponent
            .trim_start_matches('+')
            .starts_with(|digit: char| digit.is_ascii_digit() || digit == '-')
            .then_some(exponent)
    });
    match power {
        Some(exponent) => format!("10*{}", exponent.trim_start_matches('+')),
        None => key,
    }
}

/// Truth values as seen in Y/N fields (HL7 table 0136) and Chinese systems.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    const TRUE: &[&str] = &["Y", "YES", "1", "T", "TRUE", "是", "有"];
    const FALSE: &[&str] = &["N", "NO", "0", "F", "FALSE", "否", "无"];
    let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match (is_one_of(TRUE), is_one_of(FALSE)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn codes_fall_back_to_the_alternate_and_the_original_text() {
        for (sent, expected) in [
            ("WBC^白细胞^L", (Some("WBC"), Some("白细胞"), Some("L"))),
            ("WBC", (Some("WBC"), None, None)),
            ("^白细胞", (None, Some("白细胞"), None)),
            ("^^^6690-2^Leukocytes^LN", (Some("6690-2"), Some("Leukocytes"), Some("LN"))),
            ("625-4^^LN^^^^^^Bacteria", (Some("625-4"), Some("Bacteria"), Some("LN"))),
        ] {
            let found = read(sent, coded).unwrap();
            assert_eq!((found.code.as_deref(), found.name.as_deref(), found.system.as_deref()), expected, "{sent}");
        }
        assert_eq!(read("^^L", coded), None);
    }

    #[test]
    fn identifiers_have_an_authority_or_none() {
        for (sent, number, authority) in [
            ("P1^^^HIS^MR", "P1", Some("HIS")),
            ("P1^^^HIS&1.2.3&ISO", "P1", Some("HIS")),
            ("P1^^^&1.2.3&ISO", "P1", Some("1.2.3")),
            ("P1", "P1", None),
        ] {
            assert_eq!(read(sent, identifier), Some((number.to_owned(), authority.map(Into::into))), "{sent}");
        }
        assert_eq!(read("^^^HIS", identifier), None);
    }

    #[test]
    fn units_split_by_an_unescaped_separator_are_mended() {
        for (sent, expected) in [
            ("mmol/L", Some("mmol/L")),
            ("10^9/L", Some("10^9/L")),
            ("×10^9/L", Some("×10^9/L")),
            ("10*9/L^^UCUM", Some("10*9/L")),
            ("beats/min^^ISO", Some("beats/min")),
            ("^per minute", Some("per minute")),
            ("ｍｇ／Ｌ", Some("mg/L")),
            ("", None),
        ] {
            assert_eq!(read(sent, unit).as_deref(), expected, "{sent}");
        }
    }

    #[test]
    fn what_may_be_an_exponent_is_joined() {
        for (sent, expected) in [
            ("kg/m^2", Some("kg/m^2")),
            ("ml/(min·1.73m^2)", Some("ml/(min·1.73m^2)")),
            ("mmol/L^^UCUM", None),
            ("beats/min^per minute", None),
            ("10*9^2", None),
        ] {
            let found =
                read(sent, |value| known_unit(value, |_| true).map(Cow::into_owned).filter(|unit| unit.contains('^')));
            assert_eq!(found.as_deref(), expected, "{sent}");
        }
    }

    #[test]
    fn units_have_one_spelling_to_be_looked_up_by() {
        for (unit, expected) in [
            ("×10⁹/L", "10*9/L"),
            ("x10^9 / L", "10*9/L"),
            ("10E+12/L", "10*12/L"),
            ("*10**6/ml", "10*6/ml"),
            ("10^-3", "10*-3"),
            ("μmol／L", "umol/L"),
            ("㎎/㎗", "mg/dL"),
            ("m²", "m^2"),
            ("10", "10"),
            ("xyz", "xyz"),
            ("10EU/L", "10EU/L"),
        ] {
            assert_eq!(unit_key(unit), expected, "{unit}");
        }
    }

    #[test]
    fn truth_is_written_in_several_ways() {
        for (text, expected) in [("Y", Some(true)), ("n", Some(false)), ("是", Some(true)), ("2", None), ("", None)] {
            assert_eq!(boolean(text), expected, "{text}");
        }
    }
}
