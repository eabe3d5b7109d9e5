//! A FHIR ConceptMap (R4, R5) as a code table: each element of its groups is a row.
//!
//! - The target is the one that is equal, equivalent or wider; several of these are an error, because a table has one answer.
//! - An element that the map says has no counterpart (`unmatched`, `disjoint`, `not-related-to`, `noMap`) is a known code that says
//!   nothing. What is to be done with other codes is the mapping's to say (`on_unmapped`), not the map's (`group.unmapped`).
//! - Where a FHIR code system has other codes than a record's field, the targets are illegal there, and that is said.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::table::Row;
use crate::diagnostic::{Diagnostic, SourceFile, similar};

/// ConceptMapEquivalence of R4.
const EQUIVALENCES: &[&str] = &[
    "relatedto",
    "equivalent",
    "equal",
    "wider",
    "subsumes",
    "narrower",
    "specializes",
    "inexact",
    "unmatched",
    "disjoint",
];
/// ConceptMapRelationship of R5.
const RELATIONSHIPS: &[&str] =
    &["related-to", "equivalent", "source-is-narrower-than-target", "source-is-broader-than-target", "not-related-to"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConceptMap<'j> {
    resource_type: Cow<'j, str>,
    #[serde(borrow, default)]
    group: Vec<Group<'j>>,
}

#[derive(Deserialize)]
struct Group<'j> {
    /// Kept as text, so that each has its place in the file.
    #[serde(borrow, default)]
    element: Vec<&'j RawValue>,
    #[serde(borrow)]
    unmapped: Option<&'j RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Element {
    code: Option<String>,
    #[serde(default)]
    target: Vec<Target>,
    /// R5: there is no target on purpose.
    #[serde(default)]
    no_map: bool,
}

#[derive(Deserialize)]
struct Target {
    code: Option<String>,
    /// R4.
    equivalence: Option<String>,
    /// R5.
    relationship: Option<String>,
}

impl Target {
    /// Whether it says that there is no counterpart.
    fn is_none(&self) -> bool {
        let relation = self.relationship.as_deref().or(self.equivalence.as_deref());
        matches!(relation, Some("unmatched" | "disjoint" | "not-related-to"))
    }

    /// How near it is; the nearest is taken.
    fn rank(&self) -> u8 {
        match self.relationship.as_deref().or(self.equivalence.as_deref()) {
            Some("equal" | "equivalent") => 0,
            None | Some("relatedto" | "related-to" | "wider" | "subsumes" | "source-is-narrower-than-target") => 1,
            Some(_) => 2,
        }
    }
}

/// The rows of a ConceptMap. `index` is the file's number among the mapping's files.
pub(crate) fn rows(file: &SourceFile, index: usize, problems: &mut Vec<Diagnostic>) -> Vec<Row> {
    let map: ConceptMap<'_> = match serde_json::from_str(&file.text) {
        Ok(map) => map,
        Err(error) => {
            let start = position(&file.text, error.line(), error.column());
            let text = format!("not readable as a FHIR ConceptMap: {error}");
            problems.push(Diagnostic::error(file, start..start + 1, "M007", text));
            return Vec::new();
        }
    };
    if map.resource_type != "ConceptMap" {
        let text = format!("a table in JSON is a FHIR ConceptMap, this is a {}", map.resource_type);
        problems.push(Diagnostic::error(file, 0..1, "M007", text));
        return Vec::new();
    }
    let mut rows: Vec<Row> = Vec::new();
    for group in &map.group {
        if let Some(unmapped) = group.unmapped {
            let text = "what becomes of other codes is said by the rule that uses the table, this is not read";
            let problem = Diagnostic::warning(file, first_line(&file.text, unmapped), "M007", text);
            problems.push(problem.hint("use on_unmapped in the rule, and remove this"));
        }
        for element in &group.element {
            let span = first_line(&file.text, element);
            let parsed: Result<Element, String> = serde_json::from_str(element.get())
                .map_err(|error: serde_json::Error| format!("no element of a ConceptMap: {error}"));
            if let Ok(parsed) = &parsed {
                unknown_relations(parsed, element, file, problems);
            }
            match parsed.and_then(|parsed| row(parsed, file, index, span.clone())) {
                Ok(row) => match rows.iter().find(|before| before.source == row.source) {
                    None => rows.push(row),
                    Some(before) => {
                        let line = file.line(before.span.start);
                        let text = format!("the code {} has an element already, in line {line}", row.source);
                        problems.push(Diagnostic::error(file, span, "M007", text));
                    }
                },
                Err(text) => problems.push(Diagnostic::error(file, span, "M007", text)),
            }
        }
    }
    rows
}

/// Tells of words for how near a target is that no version of FHIR has: such a target counts as one that is only similar.
fn unknown_relations(element: &Element, raw: &RawValue, file: &SourceFile, problems: &mut Vec<Diagnostic>) {
    for target in &element.target {
        for (written, known) in [(&target.equivalence, EQUIVALENCES), (&target.relationship, RELATIONSHIPS)] {
            let Some(written) = written.as_deref().filter(|written| !known.contains(written)) else { continue };
            let quoted = serde_json::to_string(written).unwrap_or_default();
            let at = raw.get().find(&quoted).filter(|_| !quoted.is_empty());
            let whole = first_line(&file.text, raw);
            let span = at.map_or(whole.clone(), |at| whole.start + at..whole.start + at + quoted.len());
            let text = format!("FHIR has no word {written:?} for how near a target is");
            let hint = match similar(written, known.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("there are {}", known.join(", ")),
            };
            problems.push(Diagnostic::warning(file, span, "M007", text).hint(hint));
        }
    }
}

fn row(element: Element, document: &SourceFile, file: usize, span: Range<usize>) -> Result<Row, String> {
    let source = element.code.map(|code| code.trim().to_owned()).filter(|code| !code.is_empty());
    let source = source.ok_or("an element needs a code")?;
    let related: Vec<&Target> = element.target.iter().filter(|target| !target.is_none()).collect();
    let nearest = related.iter().map(|target| target.rank()).min();
    let mut nearest = related.iter().filter(|target| Some(target.rank()) == nearest);
    let target = match (nearest.next(), nearest.next()) {
        (None, _) => String::new(),
        _ if element.no_map => return Err(format!("the element {source} has noMap and a target")),
        (Some(target), None) => {
            target.code.clone().ok_or_else(|| format!("the target of {source} needs a code"))?.trim().to_owned()
        }
        (Some(_), Some(_)) => {
            return Err(format!("the code {source} has several targets, and none is nearer than the others"));
        }
    };
    Ok(Row {
        source,
        target,
        file,
        line: document.line(span.start),
        target_span: span.clone(),
        span,
        note: String::new(),
    })
}

/// Where a piece of the text stands, to the end of its first line.
fn first_line(text: &str, piece: &RawValue) -> Range<usize> {
    // The piece is borrowed from the text, so the distance of the two is its place.
    let start = (piece.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
    start..start + piece.get().find(['\r', '\n']).unwrap_or(piece.get().len())
}

/// The byte at a line and column, both from 1.
fn position(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    text.floor_char_boundary((start + column.saturating_sub(1)).min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<(String, String)>, Vec<String>) {
        let file = SourceFile { name: "t.json".to_owned(), text: text.to_owned() };
        let mut problems = Vec::new();
        let rows = rows(&file, 0, &mut problems);
        let rows = rows.into_iter().map(|row| (row.source, row.target)).collect();
        (rows, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn elements_of_both_versions_are_rows() {
        let (rows, problems) = read(
            r#"{"resourceType": "ConceptMap", "status": "active", "group": [
              {"source": "http://terminology.hl7.org/CodeSystem/v2-0001", "element": [
                {"code": "M", "display": "Male", "target": [{"code": "male", "equivalence": "equal"}]},
                {"code": "F", "target": [{"code": "other", "equivalence": "inexact"}, {"code": "female", "equivalence": "equivalent"}]},
                {"code": "A", "target": [{"equivalence": "unmatched"}]}]},
              {"element": [
                {"code": "O", "target": [{"code": "other", "relationship": "source-is-narrower-than-target"}]},
                {"code": "N", "noMap": true}, {"code": "X"}]}]}"#,
        );
        assert_eq!(problems, Vec::<String>::new());
        let expected = [("M", "male"), ("F", "female"), ("A", ""), ("O", "other"), ("N", ""), ("X", "")];
        assert_eq!(rows, expected.map(|(source, target)| (source.to_owned(), target.to_owned())));
    }

    #[test]
    fn a_word_for_how_near_a_target_is_that_fhir_does_not_have_is_told() {
        let map = |key: &str, word: &str| {
            read(&format!(
                "{{\"resourceType\": \"ConceptMap\", \"group\": [{{\"element\": [\n{{\"code\": \"M\", \"target\": [{{\"code\": \"male\", \"{key}\": \"{word}\"}}]}}]}}]}}"
            ))
        };
        let (rows, problems) = map("equivalence", "equal to");
        assert_eq!(rows, [("M".to_owned(), "male".to_owned())]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("t.json:2:58 warning[M007]"), "{}", problems[0]);
        assert!(problems[0].ends_with("(did you mean equal?)"), "{}", problems[0]);
        assert!(
            map("relationship", "wider").1[0].contains("there are related-to"),
            "{:?}",
            map("relationship", "wider")
        );
        for (key, word) in [("equivalence", "wider"), ("relationship", "equivalent"), ("equivalence", "unmatched")] {
            assert_eq!(map(key, word).1, Vec::<String>::new(), "{key} {word}");
        }
    }

    #[test]
    fn what_a_table_cannot_say_is_an_error_at_its_line() {
        let (_, problems) = read(
            "{\"resourceType\": \"ConceptMap\", \"group\": [{\"element\": [\n{\"code\": \"M\", \"target\": [{\"code\": \"a\"}, {\"code\": \"b\"}]},\n\
             {\"display\": \"x\"},\n{\"code\": \"Q\", \"target\": [{}]},\n{\"code\": \"R\"},\n {\"code\": \"R\"}],\n\"unmapped\": {\"mode\": \"fixed\"}}]}",
        );
        let places: Vec<&str> = problems.iter().map(|problem| problem.split(' ').next().unwrap()).collect();
        assert_eq!(places, ["t.json:7:13", "t.json:2:1", "t.json:3:1", "t.json:4:1", "t.json:6:2"], "{problems:#?}");
        assert!(read("{\"resourceType\": \"Patient\"}").1[0].contains("this is a Patient"));
        assert!(
            read("{\n\"resourceType\": 7}").1[0].starts_with("t.json:2:"),
            "{:?}",
            read("{\n\"resourceType\": 7}").1
        );
        assert!(read("").1[0].contains("error[M007]"));
    }
}
