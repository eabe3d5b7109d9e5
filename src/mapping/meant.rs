//! What was probably meant by a text that is no path or condition of HL7 v2: other spellings, other languages' operators, characters of
//! an input method. Only hints are made of it; nothing is ever read as something else than it says.

pub(super) mod fhir;

use crate::diagnostic::{listed, plain_character, plain_characters, similar};
use crate::fhir::Dictionary as FhirDictionary;
use crate::hl7v2::{Dictionary, Path};

/// The words of a condition.
pub(super) const WORDS: &[&str] = &["and", "or", "not", "in", "is", "true", "false", "number", "resident_id"];

/// Marks of other languages, and what is written instead. Longer ones first.
const FOREIGN_MARKS: &[(&str, &str)] = &[
    ("===", "write ="),
    ("!==", "write !="),
    ("==", "write ="),
    ("=~", "write =, or in ['…', '…']"),
    ("<>", "write !="),
    ("&&", "write and"),
    ("||", "write or"),
    ("!", "write not before the path, or !="),
    ("&", "write and"),
    ("|", "write or; a list is written in ['…', '…']"),
    ("<", "values are compared as texts and have no order; list them: in ['…', '…']"),
    (">", "values are compared as texts and have no order; list them: in ['…', '…']"),
    ("~", "write ="),
];

/// Words of other languages, and what is written instead.
const FOREIGN_WORDS: &[(&str, &str)] = &[
    ("eq", "write ="),
    ("equals", "write ="),
    ("ne", "write !="),
    ("like", "write in ['…', '…']; patterns stand in match only"),
    ("matches", "write in ['…', '…']; patterns stand in match only"),
    ("contains", "write in ['…', '…']"),
    ("exists", "a path alone asks whether there is a value"),
    ("empty", "not before a path asks whether there is no value"),
    ("null", "not before a path asks whether there is no value"),
    ("xor", "write (… and not …) or (not … and …)"),
];

/// The path that a text was probably meant for, as it is written.
pub(super) fn path(written: &str) -> Option<String> {
    let plain = plain_characters(written);
    // `msg['PID']['PID.7']['PID.7.1']` of Mirth, `/PID-7-1` of HAPI's Terser, `PID|7`.
    let plain = match plain.rsplit(['\'', '"']).nth(1).filter(|_| plain.contains("['") || plain.contains("[\"")) {
        Some(last) => last.to_owned(),
        None => plain.strip_prefix('/').unwrap_or(&plain).replace('|', "-"),
    };
    let dictionary = Dictionary::standard();
    let is_known = |path: &Path| path.segment().starts_with('Z') || dictionary.has_segment(path.segment());
    let candidate = Path::parse(&plain).ok().filter(|_| plain != written).or_else(|| Path::meant_by(&plain));
    if let Some(path) = candidate.filter(is_known) {
        return Some(path.to_string());
    }
    // A segment's name with a letter too few or too many: PV-11.
    let (name, rest) = plain.trim().split_once(['-', '.'])?;
    let is_name = (2..=4).contains(&name.len()) && name.bytes().all(|letter| letter.is_ascii_alphanumeric());
    let mut known: Vec<&str> = dictionary.segments().collect();
    known.sort_unstable();
    let name = similar(&name.to_ascii_uppercase(), known).filter(|_| is_name)?;
    let spelled = format!("{name}-{rest}");
    Path::parse(&spelled).ok().or_else(|| Path::meant_by(&spelled)).map(|path| path.to_string())
}

/// Whether a text is a path to a field that HL7 v2 has.
pub(super) fn is_field(text: &str) -> bool {
    Path::parse(text).is_ok_and(|path| path.field().is_some() && Dictionary::standard().meaning(&path).is_ok())
}

/// What to say of a text that is no path: the hint for [`path`], or for a path of FHIR.
pub(super) fn hint_of_path(written: &str) -> String {
    let parts: Vec<&str> = written.split([',', '，', '+', ';', '|']).map(str::trim).collect();
    if parts.len() > 1 && parts.iter().all(|part| Path::parse(part).is_ok()) {
        return format!("several are a list, of which the first with a value counts: {parts:?}");
    }
    match path(written) {
        Some(meant) => format!("did you mean {meant}?"),
        None if is_like_an_element(written) => {
            "this mapping reads messages of HL7 v2; FHIRPath stands in mappings with format = \"fhir\"".to_owned()
        }
        None => String::new(),
    }
}

/// `birthDate`, `name.given`, `Patient.name`.
fn is_like_an_element(written: &str) -> bool {
    let first = written.trim().split(['.', '(', '[']).next().unwrap_or_default();
    let dictionary = FhirDictionary::standard();
    dictionary.has_element(first) || dictionary.named(first).is_some()
}

/// What a condition that goes on with `text` was probably meant to say there.
pub(super) fn hint_of_mark(text: &str) -> Option<String> {
    if let Some((_, hint)) = FOREIGN_MARKS.iter().find(|(mark, _)| text.starts_with(mark)) {
        return Some((*hint).to_owned());
    }
    let first = text.chars().next()?;
    match plain_character(first)? {
        '\'' | '"' => Some("write plain quotes: 'A01'".to_owned()),
        ' ' => Some("write a plain blank".to_owned()),
        plain => Some(format!("write a plain {plain}")),
    }
}

/// What was probably meant by a word of a condition that has no meaning where it stands; `text`: the condition from there.
pub(super) fn hint_of_word(word: &str, text: &str) -> Option<String> {
    let small = word.to_lowercase();
    if WORDS.contains(&small.as_str()) && small != word {
        return Some(format!("write {small}, in small letters"));
    }
    if small == "not" && text.get(word.len()..).is_some_and(|rest| rest.trim_start().to_lowercase().starts_with("null"))
    {
        return Some("a path alone asks whether there is a value: leave is not null out".to_owned());
    }
    let foreign = FOREIGN_WORDS.iter().find(|(known, _)| *known == small);
    let end = text.find(|end: char| end.is_whitespace() || "=!,()".contains(end)).unwrap_or(text.len());
    foreign
        .map(|(_, hint)| (*hint).to_owned())
        .or_else(|| path(&text[..end]).map(|meant| format!("did you mean {meant}?")))
        .or_else(|| similar(&small, WORDS.iter().copied()).map(|meant| format!("did you mean {meant}?")))
}

/// What was probably meant by a pattern of `match` that none of these codes fits: one of them, or several written as one.
pub(super) fn hint_of_pattern(pattern: &str, codes: &[&str]) -> String {
    let parts: Vec<&str> =
        pattern.split([',', ';', '|', '/', ' ', '，', '、', '；']).filter(|part| !part.is_empty()).collect();
    if parts.len() > 1 && parts.iter().all(|part| codes.contains(part)) {
        return format!("several are a list: {parts:?}");
    }
    match similar(pattern, codes.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("there are {}", listed(codes.iter().copied())),
    }
}

#[cfg(test)]
mod tests {
    use super::{hint_of_path, path};

    #[test]
    fn paths_in_another_spelling_are_recognised() {
        for (written, meant) in
            [("PV-11", "PV1-11"), ("pv1-11", "PV1-11"), ("PID－３", "PID-3"), ("PIDD-3", "PID-3"), ("zpv.1", "ZPV-1")]
        {
            assert_eq!(path(written).as_deref(), Some(meant), "{written}");
        }
        assert_eq!(path("name.given"), None);
        assert!(hint_of_path("name.given").contains("FHIRPath"));
        assert_eq!(hint_of_path("???"), "");
    }
}
