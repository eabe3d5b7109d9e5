//! Resources from files: one resource, a Bundle of any type, or a resource on each line (NDJSON). For `heyi import`. Blocking.
//!
//! A Bundle may name its resources by `urn:uuid` (a transaction gives them their ids later). Such a name becomes `Type/id` wherever it is
//! referred to, with the UUID as the id of a resource that has none: what is kept must be found again by what comes after the
//! Bundle. All other resources keep their bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;

use super::bundle;
use super::sink::{Origin, Resource};

/// Bytes of a file without lines: a Bundle is read as a whole, with all its resources.
const DOCUMENT_BYTES: u64 = 1 << 30;

/// Something in a file that is no resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Unreadable {
    /// `line 7`, `Bundle.entry[3]`, `the file`.
    pub place: String,
    /// What it is not; nothing of its content.
    pub problem: &'static str,
}

/// A resource, or what stands where one should.
pub type Found = Result<Resource, Unreadable>;

/// Hands the resources of a file to `take`, in order, until it gives `false`. `limit`: bytes of one line.
///
/// # Errors
/// Those of the system.
pub fn each(path: &Path, limit: usize, mut take: impl FnMut(Found) -> bool) -> std::io::Result<()> {
    let file = File::open(path)?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ndjson")) {
        return each_line(BufReader::new(file), limit, &mut take);
    }
    if file.metadata()?.len() > DOCUMENT_BYTES {
        let problem = "it is larger than 1 GiB: give NDJSON (.ndjson), a resource on each line";
        take(Err(Unreadable { place: "the file".to_owned(), problem }));
        return Ok(());
    }
    let mut text = Vec::new();
    file.take(DOCUMENT_BYTES).read_to_end(&mut text)?;
    let _ = document(&text, &mut take);
    Ok(())
}

fn each_line(mut lines: impl BufRead, limit: usize, take: &mut impl FnMut(Found) -> bool) -> std::io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        if (&mut lines).take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let is_cut = line.len() >= limit && !line.ends_with(b"\n");
        if is_cut {
            lines.skip_until(b'\n')?;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let place = || format!("line {number}");
        let found = match bundle::resource(&line, Origin::Export) {
            _ if is_cut => Err(Unreadable { place: place(), problem: "the line is longer than a resource may be" }),
            Some(resource) => Ok(resource),
            None => Err(Unreadable { place: place(), problem: "no FHIR resource with a type and an id" }),
        };
        if !take(found) {
            return Ok(());
        }
    }
    Ok(())
}

/// The resources of what is one resource, or a Bundle, or several of these one after the other. `None`: no more are wanted.
fn document(text: &[u8], take: &mut impl FnMut(Found) -> bool) -> Option<()> {
    let text = bundle::as_text(text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text));
    for document in serde_json::Deserializer::from_slice(&text).into_iter::<&RawValue>() {
        let Ok(document) = document else {
            take(Err(Unreadable {
                place: "the file".to_owned(),
                problem: "it is not JSON, or only as far as what was read",
            }));
            return None;
        };
        let raw = document.get().as_bytes();
        match entries(raw) {
            Some(entries) => bundled(&entries, take)?,
            None => {
                let none =
                    || Unreadable { place: "the file".to_owned(), problem: "no FHIR resource with a type and an id" };
                take(bundle::resource(raw, Origin::Export).ok_or_else(none)).then_some(())?;
            }
        }
    }
    Some(())
}

/// An entry of a Bundle: its full URL, its place, its resource.
type Entry<'t> = (Option<String>, usize, &'t RawValue);

/// The entries of a Bundle that hold a resource; `None`: it is no Bundle.
fn entries(raw: &[u8]) -> Option<Vec<Entry<'_>>> {
    #[derive(serde::Deserialize)]
    struct Bundle<'t> {
        #[serde(rename = "resourceType")]
        resource_type: String,
        #[serde(borrow, default)]
        entry: Vec<Content<'t>>,
    }
    #[derive(serde::Deserialize)]
    struct Content<'t> {
        #[serde(rename = "fullUrl")]
        full_url: Option<String>,
        #[serde(borrow)]
        resource: Option<&'t RawValue>,
    }
    let bundle: Bundle<'_> = serde_json::from_slice(raw).ok()?;
    let entries = bundle.entry.into_iter().enumerate();
    let entries = entries.filter_map(|(place, entry)| Some((entry.full_url, place, entry.resource?)));
    (bundle.resource_type == "Bundle").then(|| entries.collect())
}

fn bundled(entries: &[Entry<'_>], take: &mut impl FnMut(Found) -> bool) -> Option<()> {
    // By their full URLs: what the Bundle names otherwise than by type and id.
    let mut names: BTreeMap<&str, (String, String)> = BTreeMap::new();
    for (full_url, _, resource) in entries {
        let Some((url, uuid)) = full_url.as_deref().and_then(|url| Some((url, url.strip_prefix("urn:uuid:")?))) else {
            continue;
        };
        let Ok(Value::Object(members)) = serde_json::from_str(resource.get()) else { continue };
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(kind) = text("resourceType") {
            names.insert(url, (kind, text("id").unwrap_or_else(|| uuid.to_owned())));
        }
    }
    for (full_url, place, resource) in entries {
        let raw = resource.get();
        let is_named = full_url.as_deref().is_some_and(|url| names.contains_key(url));
        let named =
            if is_named || raw.contains("urn:uuid:") { renamed(raw, full_url.as_deref(), &names) } else { None };
        let bytes = named.as_deref().unwrap_or(raw.as_bytes());
        let found = bundle::resource(bytes, Origin::Export).ok_or_else(|| Unreadable {
            place: format!("Bundle.entry[{place}]"),
            problem: "no FHIR resource with a type and an id",
        });
        take(found).then_some(())?;
    }
    Some(())
}

/// A resource with its id and with references by type and id.
fn renamed(raw: &str, full_url: Option<&str>, names: &BTreeMap<&str, (String, String)>) -> Option<Vec<u8>> {
    let mut resource: Value = serde_json::from_str(raw).ok()?;
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

    fn read(name: &str, text: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut found = Vec::new();
        each(&path, 120, |resource| {
            found.push(match resource {
                Ok(resource) => format!("{} {}", resource.reference, String::from_utf8(resource.body).unwrap()),
                Err(problem) => problem.to_string(),
            });
            true
        })
        .unwrap();
        found
    }

    const PATIENT: &str = r#"{"resourceType":"Patient","id":"1", "active":true}"#;

    #[test]
    fn a_resource_a_bundle_and_lines_give_the_bytes_that_are_there() {
        let expected = format!("Patient/1 {PATIENT}");
        assert_eq!(read("one.json", PATIENT), [expected.as_str()]);
        let bundle = format!(
            r#"{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{PATIENT}}},{{"request":{{"method":"DELETE"}}}}]}}"#
        );
        assert_eq!(read("bundle.json", &bundle), [expected.as_str()]);
        let long = format!(r#"{{"resourceType":"Patient","id":"{}"}}"#, "9".repeat(200));
        let lines = format!("{PATIENT}\n\nnot JSON\n{long}\n{PATIENT}");
        assert_eq!(
            read("all.ndjson", &lines),
            [
                expected.as_str(),
                "line 3: no FHIR resource with a type and an id",
                "line 4: the line is longer than a resource may be",
                expected.as_str()
            ]
        );
    }

    #[test]
    fn names_that_only_a_bundle_knows_become_type_and_id() {
        let bundle = r#"{"resourceType":"Bundle","type":"transaction","entry":[
            {"fullUrl":"urn:uuid:0a","resource":{"resourceType":"Patient","id":"7"}},
            {"fullUrl":"urn:uuid:0b","resource":{"resourceType":"Encounter","subject":{"reference":"urn:uuid:0a"}}}]}"#;
        assert_eq!(
            read("day.json", bundle),
            [
                r#"Patient/7 {"id":"7","resourceType":"Patient"}"#,
                r#"Encounter/0b {"id":"0b","resourceType":"Encounter","subject":{"reference":"Patient/7"}}"#
            ]
        );
    }

    #[test]
    fn what_is_no_json_is_told_and_what_came_before_it_is_not_lost() {
        let found = read("two.json", &format!("{PATIENT}\n{{\"resourceType\":"));
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], "the file: it is not JSON, or only as far as what was read");
    }
}
