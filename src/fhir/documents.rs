//! Resources of a text: one resource, a Bundle of any type, several of these one after the other, or one on each line (NDJSON). The
//! one place where files are taken apart: `heyi import`, `heyi mapping` and the cases of mappings read the same in them.
//!
//! A Bundle may name its resources by `urn:uuid` (a transaction gives them their ids later). Such a name becomes `Type/id` wherever it is
//! referred to, with the UUID as the id of a resource that has none: what is kept must be found again by what comes after the
//! Bundle. All other resources keep their bytes.
//!
//! Invariants
//! - What is no resource costs itself alone, and is told with its place; only behind a text that is no JSON nothing more can be found,
//!   except in NDJSON, where each line stands for itself.
//! - No text of a problem holds anything of the content.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Deserializer, Value};

use super::problem_of_json;

/// Bundles inside Bundles: the answer to a batch holds the answers to its searches, and no more.
const MOST_NESTED: usize = 4;

/// A resource of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated<'t> {
    /// Where it stands: `line 7`, `Bundle.entry[3].resource`.
    pub place: String,
    /// Where its Bundle says that it is.
    pub full_url: Option<String>,
    /// Its JSON, an object with a `resourceType`.
    pub text: Cow<'t, [u8]>,
}

/// Something that is no resource where one should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Unreadable {
    /// `line 7`, `line 7, column 12`, `Bundle.entry[3].resource`, `the file`.
    pub place: String,
    /// What it is not.
    pub problem: Cow<'static, str>,
}

/// A resource, or what stands where one should.
pub type Found<'t> = Result<Stated<'t>, Unreadable>;

impl Unreadable {
    /// Of a place of the text.
    pub fn new(place: impl Into<String>, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }

    /// A text that is no JSON; `before`: the lines above it.
    pub(super) fn json(error: &serde_json::Error, before: usize) -> Self {
        let (line, column) = (error.line() + before, error.column());
        Self::new(format!("line {line}, column {column}"), format!("this is not JSON: {}", problem_of_json(error)))
    }
}

/// Hands the resources of a text to `take`, in order, until it gives `false`. Texts in which the first line is a resource and others
/// follow are NDJSON, whatever they are called.
pub fn each<'t>(text: &'t [u8], take: &mut impl FnMut(Found<'t>) -> bool) {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut lines = text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !is_blank(line));
    let is_whole = |line: &[u8]| serde_json::from_slice::<IgnoredAny>(line).is_ok();
    if lines.next().is_some_and(|(_, line)| is_whole(line)) && lines.next().is_some() {
        let lines = text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !is_blank(line));
        for (before, line) in lines {
            if stated(line.trim_ascii_end(), before, take).is_none() {
                return;
            }
        }
        return;
    }
    let _ = stated(text, 0, take);
}

/// The same of one line of NDJSON, by its number from 1. Gives whether more is wanted.
pub fn line<'t>(line: &'t [u8], number: usize, take: &mut impl FnMut(Found<'t>) -> bool) -> bool {
    let line = if number == 1 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
    is_blank(line) || stated(line.trim_ascii_end(), number.saturating_sub(1), take).is_some()
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// The resources of what stands behind `before` lines. `None`: no more are wanted.
fn stated<'t>(text: &'t [u8], before: usize, take: &mut impl FnMut(Found<'t>) -> bool) -> Option<()> {
    if let Err(error) = std::str::from_utf8(text) {
        let line = before + 1 + lines_in(&text[..error.valid_up_to()]);
        let problem = "this is not UTF-8, as the JSON of FHIR has to be";
        return take(Err(Unreadable::new(format!("line {line}"), problem))).then_some(());
    }
    let mut documents = Deserializer::from_slice(text).into_iter::<&'t RawValue>();
    while let Some(document) = documents.next() {
        let raw = match document {
            Ok(document) => document.get(),
            Err(error) => return take(Err(Unreadable::json(&error, before))).then_some(()),
        };
        let start = documents.byte_offset().saturating_sub(raw.len());
        let place = format!("line {}", before + 1 + lines_in(&text[..start]));
        one(raw, None, place, 0, take)?;
    }
    Some(())
}

fn lines_in(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// A resource, or those of a Bundle.
fn one<'t>(
    raw: &'t str,
    full_url: Option<String>,
    place: String,
    depth: usize,
    take: &mut impl FnMut(Found<'t>) -> bool,
) -> Option<()> {
    let found = match resource_type(raw) {
        Some(kind) if kind == "Bundle" && depth < MOST_NESTED => match entries(raw) {
            Some(entries) => return bundled(&entries, &place, depth, take),
            None => Err(Unreadable::new(place, "a Bundle whose entries cannot be read")),
        },
        Some(_) => Ok(Stated { place, full_url, text: Cow::Borrowed(raw.as_bytes()) }),
        None => Err(Unreadable::new(place, "no FHIR resource: it has no resourceType")),
    };
    take(found).then_some(())
}

fn resource_type(raw: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        resource_type: String,
    }
    serde_json::from_str::<Head>(raw).ok().map(|head| head.resource_type).filter(|kind| !kind.is_empty())
}

/// An entry of a Bundle: its full URL, its place, its resource.
type Entry<'t> = (Option<String>, usize, &'t str);

/// The entries of a Bundle that hold a resource; a deletion in a history holds none.
fn entries(raw: &str) -> Option<Vec<Entry<'_>>> {
    #[derive(Deserialize)]
    struct Bundle<'t> {
        #[serde(borrow, default)]
        entry: Option<Vec<Content<'t>>>,
    }
    #[derive(Deserialize)]
    struct Content<'t> {
        #[serde(rename = "fullUrl")]
        full_url: Option<String>,
        #[serde(borrow)]
        resource: Option<&'t RawValue>,
    }
    let bundle: Bundle<'_> = serde_json::from_str(raw).ok()?;
    let entries = bundle.entry.unwrap_or_default().into_iter().enumerate();
    Some(entries.filter_map(|(place, entry)| Some((entry.full_url, place, entry.resource?.get()))).collect())
}

fn bundled<'t>(
    entries: &[Entry<'t>],
    around: &str,
    depth: usize,
    take: &mut impl FnMut(Found<'t>) -> bool,
) -> Option<()> {
    // By their full URLs: what the Bundle names otherwise than by type and id.
    let mut names: BTreeMap<&str, (String, String)> = BTreeMap::new();
    for (full_url, _, resource) in entries {
        let Some((url, uuid)) = full_url.as_deref().and_then(|url| Some((url, url.strip_prefix("urn:uuid:")?))) else {
            continue;
        };
        let Ok(Value::Object(members)) = serde_json::from_str(resource) else { continue };
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(kind) = text("resourceType") {
            names.insert(url, (kind, text("id").unwrap_or_else(|| uuid.to_owned())));
        }
    }
    for (full_url, place, raw) in entries {
        let place = match depth {
            0 => format!("Bundle.entry[{place}].resource"),
            _ => format!("{around}.entry[{place}].resource"),
        };
        let is_named = full_url.as_deref().is_some_and(|url| names.contains_key(url));
        let is_renamed = is_named || raw.contains("urn:uuid:");
        match is_renamed.then(|| renamed(raw, full_url.as_deref(), &names)).flatten() {
            Some(text) => {
                let full_url = full_url.clone();
                take(Ok(Stated { place, full_url, text: Cow::Owned(text) })).then_some(())?;
            }
            None => one(raw, full_url.clone(), place, depth + 1, take)?,
        }
    }
    Some(())
}

/// A resource with its id and with references by type and id. `None`: it is none, or a Bundle, whose names are its own.
fn renamed(raw: &str, full_url: Option<&str>, names: &BTreeMap<&str, (String, String)>) -> Option<Vec<u8>> {
    let mut resource: Value = serde_json::from_str(raw).ok()?;
    let kind = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    if matches!(kind, "" | "Bundle") {
        return None;
    }
    if let (Some((_, id)), Some(members)) = (full_url.and_then(|url| names.get(url)), resource.as_object_mut()) {
        members.entry("id").or_insert_with(|| Value::from(id.as_str()));
    }
    rename(&mut resource, names);
    serde_json::to_vec(&resource).ok()
}

/// serde_json bounds the depth.
fn rename(value: &mut Value, names: &BTreeMap<&str, (String, String)>) {
    match value {
        Value::Object(members) => {
            for (key, inner) in members {
                match inner.as_str().and_then(|text| names.get(text)).filter(|_| key == "reference") {
                    Some((kind, id)) => *inner = Value::from(format!("{kind}/{id}")),
                    None => rename(inner, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        each(text, &mut |resource| {
            found.push(match resource {
                Ok(resource) => format!("{} {}", resource.place, String::from_utf8_lossy(&resource.text)),
                Err(problem) => problem.to_string(),
            });
            true
        });
        found
    }

    const PATIENT: &str = r#"{"resourceType":"Patient","id":"1", "active":true}"#;

    #[test]
    fn a_resource_a_bundle_and_lines_give_the_bytes_that_are_there() {
        let line = |number: usize| format!("line {number} {PATIENT}");
        assert_eq!(read(PATIENT.as_bytes()), [line(1)]);
        let marked = format!("\u{feff}\n{PATIENT}\r\n");
        assert_eq!(read(marked.as_bytes()), [line(2)]);
        let bundle = format!(
            r#"{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{PATIENT}}},{{"request":{{"method":"DELETE"}}}}]}}"#
        );
        assert_eq!(read(bundle.as_bytes()), [format!("Bundle.entry[0].resource {PATIENT}")]);
        let lines = format!("{PATIENT}\r\n\r\nnot JSON\n{{\"id\":\"1\"}}\n{bundle}\n{PATIENT}");
        assert_eq!(
            read(lines.as_bytes()),
            [
                line(1),
                "line 3, column 2: this is not JSON: a syntax error".to_owned(),
                "line 4: no FHIR resource: it has no resourceType".to_owned(),
                format!("Bundle.entry[0].resource {PATIENT}"),
                line(6),
            ]
        );
    }

    #[test]
    fn a_bundle_in_a_bundle_is_opened_and_a_bottomless_one_is_not() {
        let within = |inner: &str| format!(r#"{{"resourceType":"Bundle","entry":[{{"resource":{inner}}}]}}"#);
        let place = "Bundle.entry[0].resource.entry[0].resource";
        assert_eq!(read(within(&within(PATIENT)).as_bytes()), [format!("{place} {PATIENT}")]);
        let deep = (0..1000).fold(PATIENT.to_owned(), |inner, _| within(&inner));
        assert_eq!(read(deep.as_bytes()).len(), 1);
    }

    #[test]
    fn names_that_only_a_bundle_knows_become_type_and_id() {
        let bundle = r#"{"resourceType":"Bundle","type":"transaction","entry":[
            {"fullUrl":"urn:uuid:0a","resource":{"resourceType":"Patient","id":"7"}},
            {"fullUrl":"urn:uuid:0b","resource":{"resourceType":"Encounter","subject":{"reference":"urn:uuid:0a"}}}]}"#;
        assert_eq!(
            read(bundle.as_bytes()),
            [
                r#"Bundle.entry[0].resource {"id":"7","resourceType":"Patient"}"#,
                r#"Bundle.entry[1].resource {"id":"0b","resourceType":"Encounter","subject":{"reference":"Patient/7"}}"#
            ]
        );
    }

    #[test]
    fn what_is_no_resource_is_told_with_its_place_and_what_came_before_it_is_not_lost() {
        let broken = "{\n \"resourceType\":\"Patient\"\n}\n{\"resourceType\":";
        let found = read(broken.as_bytes());
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], "line 4, column 16: this is not JSON: it ends too early");
        assert_eq!(
            read(br#"{"resourceType":"Bundle","entry":[{"resource":{}},{"resource":7}]}"#),
            [
                "Bundle.entry[0].resource: no FHIR resource: it has no resourceType",
                "Bundle.entry[1].resource: no FHIR resource: it has no resourceType"
            ]
        );
        assert_eq!(
            read(b"{\"resourceType\":\"Patient\",\n\"id\":\"\xD5\xC5\"}"),
            ["line 2: this is not UTF-8, as the JSON of FHIR has to be"]
        );
        assert_eq!(read(b"%PDF-1.7\n"), ["line 1, column 1: this is not JSON: a syntax error"]);
        assert_eq!(read(b" \n"), Vec::<String>::new());
    }
}
