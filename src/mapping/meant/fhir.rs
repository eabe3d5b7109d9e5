//! What was probably meant by a text that is no FHIRPath: paths of HL7 v2, of JSON and of XML, conditions of SQL.

use crate::hl7v2::{Dictionary, Path};

/// Fields of HL7 v2 and the elements of FHIR R4 that hold the same, after the HL7 v2-to-FHIR guide.
const ELEMENTS: &[(&str, &str)] = &[
    ("PID-3", "identifier"),
    ("PID-5", "name"),
    ("PID-7", "birthDate"),
    ("PID-8", "gender"),
    ("PID-11", "address"),
    ("PID-13", "telecom"),
    ("PID-16", "maritalStatus"),
    ("PV1-2", "class"),
    ("PV1-7", "participant"),
    ("PV1-19", "identifier"),
    ("PV1-44", "period.start"),
    ("PV1-45", "period.end"),
    ("OBR-3", "identifier"),
    ("OBR-4", "code"),
    ("OBX-3", "code"),
    ("OBX-5", "value"),
    ("OBX-7", "referenceRange"),
    ("OBX-8", "interpretation"),
    ("OBX-11", "status"),
];

/// What to write instead, where the text is in a known other language. `offset`: where reading it ended.
pub(in crate::mapping) fn hint(written: &str, offset: usize) -> Option<String> {
    let from = written.get(offset..).unwrap_or_default();
    let end = from.find(|letter: char| !(letter.is_ascii_alphanumeric() || "-.[]*".contains(letter)));
    if let Some(path) = field(&from[..end.unwrap_or(from.len())]) {
        let place = format!("{}-{}", path.segment(), path.field().unwrap_or_default());
        let element = ELEMENTS.iter().find(|(known, _)| *known == place).map(|(_, element)| *element);
        let as_in = element.map_or(String::new(), |element| format!(", as in {element}"));
        return Some(format!("{path} is of HL7 v2, and this mapping reads FHIR: write FHIRPath{as_in}"));
    }
    let trimmed = written.trim();
    let small = trimmed.to_ascii_lowercase();
    for (words, function) in
        [(" is not null", "exists()"), (" is null", "empty()"), (" is not empty", "exists()"), (" is empty", "empty()")]
    {
        if let Some(start) = small.find(words) {
            let path = trimmed[..start].rsplit([' ', '(']).next().unwrap_or_default();
            return Some(format!("write {path}.{function}"));
        }
    }
    if let Some(start) = small.find(" like ") {
        let path = trimmed[..start].rsplit([' ', '(']).next().unwrap_or_default();
        return Some(format!("write {path}.startsWith('…'), {path}.contains('…') or {path}.matches('…')"));
    }
    if let Some(rest) = trimmed.strip_prefix("$.").or_else(|| trimmed.strip_prefix("$..")) {
        return Some(format!("this is JSONPath; write {}", rest.replace("[*]", "")));
    }
    if let Some(rest) = trimmed.strip_prefix('/') {
        return Some(format!("this is XPath; write {}", rest.trim_start_matches('/').replace('/', ".")));
    }
    if trimmed.contains("[*]") {
        return Some(format!("a path takes all there are: write {}", trimmed.replace("[*]", "")));
    }
    if let Some((list, rest)) = trimmed.split_once('[')
        && let Some((condition, rest)) = rest.split_once(']')
        && condition.contains('=')
    {
        return Some(format!("write {list}.where({condition}){rest}"));
    }
    if trimmed.starts_with("entry.") || trimmed.starts_with("Bundle.") {
        return Some("a path is asked of the resource, and not of the Bundle around it".to_owned());
    }
    if trimmed.contains('"') {
        return Some(format!("write {}", trimmed.replace('"', "'")));
    }
    None
}

/// A text without quotes, where it is compared with something: `use=official`.
pub(in crate::mapping) fn hint_of_text(written: &str, offset: usize) -> Option<String> {
    let is_compared = written.get(..offset)?.trim_end().ends_with(['=', '~', '|']);
    let from = written.get(offset..)?;
    let end =
        from.find(|letter: char| !(letter.is_ascii_alphanumeric() || "-_".contains(letter))).unwrap_or(from.len());
    let (word, behind) = from.split_at(end);
    let is_alone = !word.is_empty() && !matches!(word, "null" | "NULL" | "nil") && !behind.starts_with(['.', '(']);
    (is_compared && is_alone).then(|| format!("a text stands in quotes: '{word}'"))
}

/// A path of HL7 v2 to a field of a segment that there is.
fn field(text: &str) -> Option<Path> {
    let path = Path::parse(text.trim_end_matches('.')).ok()?;
    let is_known = path.segment().starts_with('Z') || Dictionary::standard().has_segment(path.segment());
    (is_known && path.field().is_some()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::{hint, hint_of_text};

    #[test]
    fn paths_and_conditions_of_other_languages_are_recognised() {
        for (written, offset, expected) in [
            ("PID-7", 0, "PID-7 is of HL7 v2, and this mapping reads FHIR: write FHIRPath, as in birthDate"),
            ("PV1-2.1 = 'I'", 0, "PV1-2.1 is of HL7 v2, and this mapping reads FHIR: write FHIRPath, as in class"),
            ("period.end is not null", 14, "write period.end.exists()"),
            ("(status = 'x') and period.end IS NULL", 30, "write period.end.empty()"),
            ("$.name[0].text", 0, "this is JSONPath; write name[0].text"),
            ("/Patient/name/text", 0, "this is XPath; write Patient.name.text"),
            ("name[*].text", 5, "a path takes all there are: write name.text"),
            ("identifier[system='x'].value", 11, "write identifier.where(system='x').value"),
            ("name.where(use = \"usual\")", 17, "write name.where(use = 'usual')"),
        ] {
            assert_eq!(hint(written, offset).as_deref(), Some(expected), "{written}");
        }
        assert_eq!(hint("name.familly", 5), None);
        assert_eq!(hint("Organization.name", 0), None);
    }

    #[test]
    fn a_text_without_quotes_is_recognised_where_it_is_compared() {
        for (written, offset, expected) in [
            ("name.where(use=official)", 15, Some("a text stands in quotes: 'official'")),
            ("status != entered-in-error", 10, Some("a text stands in quotes: 'entered-in-error'")),
            ("name.where(use = other.code)", 17, None),
            ("name.familly", 5, None),
        ] {
            assert_eq!(hint_of_text(written, offset).as_deref(), expected, "{written}");
        }
    }
}
