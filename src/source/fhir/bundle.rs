//! Answers taken apart: a Bundle into its entries, with every resource as the bytes that came.
//!
//! Nothing here recurses, so nesting of any depth is harmless. An entry that does not read costs itself, not its page: what has a type and
//! an id is a resource here, whatever else is in it, and who keeps it finds out whether anybody can read it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::FhirError;
use super::instant::Instant;
use super::sink::{Origin, Reference, Resource};

/// Issues told of one OperationOutcome.
const ISSUES: usize = 5;

/// A page.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    /// `total`: matches in all.
    pub(super) total: Option<u64>,
    /// The link to the next page, as it came.
    pub(super) next: Option<String>,
    /// The link that says what was understood of the question.
    pub(super) own: Option<String>,
    /// What was found, in order.
    pub(super) entries: Vec<Entry>,
}

/// An entry of a page.
#[derive(Debug)]
pub(super) enum Entry {
    /// A resource: it matched, or was included.
    Resource(Resource),
    /// What the server has to say of the question; whether it is a warning at least.
    Outcome { warning: bool },
    /// In a history: something happened to a resource.
    Happened(Happening),
    /// Neither type nor id, or no JSON object.
    Unreadable,
}

/// An entry of a history.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    pub(super) reference: Reference,
    pub(super) deleted: bool,
    pub(super) at: Option<Instant>,
    /// As it was then, if the entry has it.
    pub(super) resource: Option<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBundle<'a> {
    resource_type: Option<String>,
    total: Option<Value>,
    #[serde(default)]
    link: Option<Vec<RawLink>>,
    #[serde(borrow, default)]
    entry: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct RawLink {
    relation: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntry<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    full_url: Option<String>,
    search: Option<RawSearch>,
    request: Option<RawRequest>,
    response: Option<RawResponse>,
}

#[derive(Deserialize)]
struct RawSearch {
    mode: Option<String>,
}

#[derive(Deserialize)]
struct RawRequest {
    method: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawResponse {
    last_modified: Option<String>,
}

/// The members of an object, unread; of two with one name the last counts, as for whoever reads all of it.
type Members<'t> = BTreeMap<String, &'t RawValue>;

/// What stands for bytes that are no UTF-8: half of a pair, which is a part of no text, so that whoever reads the resource sees that it is not
/// whole (RFC 8259 §8.2).
const NO_TEXT: &[u8] = br"\ud800";

/// The answer to a search for `wanted`; `place` is for errors.
pub(super) fn search(body: &[u8], wanted: &str, place: &str) -> Result<Bundle, FhirError> {
    let body = as_text(body);
    let raw = open(&body, place)?;
    let (total, next, own) = links(&raw);
    let entries = raw.entry.unwrap_or_default().into_iter().map(|entry| search_entry(entry, wanted)).collect();
    Ok(Bundle { total, next, own, entries })
}

/// A page of the history of `wanted`.
pub(super) fn history(body: &[u8], wanted: &str, place: &str) -> Result<Bundle, FhirError> {
    let body = as_text(body);
    let raw = open(&body, place)?;
    let (total, next, own) = links(&raw);
    let entries = raw.entry.unwrap_or_default().into_iter().map(|entry| history_entry(entry, wanted)).collect();
    Ok(Bundle { total, next, own, entries })
}

/// One resource by itself.
pub fn resource(body: &[u8], origin: Origin) -> Option<Resource> {
    let body = as_text(trimmed(body));
    let members: Members<'_> = serde_json::from_slice(&body).ok()?;
    let reference = Reference::new(&text(&members, "resourceType")?, &text(&members, "id")?)?;
    let meta: Members<'_> =
        members.get("meta").and_then(|meta| serde_json::from_str(meta.get()).ok()).unwrap_or_default();
    let (version_id, last_updated) = (text(&meta, "versionId"), text(&meta, "lastUpdated"));
    let last_updated = last_updated.as_deref().and_then(Instant::parse);
    Some(Resource { reference, version_id, last_updated, body: body.into_owned(), origin })
}

/// UTF-8, with half of a surrogate pair for what is none.
pub fn as_text(body: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(body).is_ok() {
        return Cow::Borrowed(body);
    }
    let mut text = Vec::with_capacity(body.len() + NO_TEXT.len());
    for chunk in body.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            text.extend_from_slice(NO_TEXT);
        }
    }
    Cow::Owned(text)
}

/// Severities and codes of an OperationOutcome, such as `error invalid`; nothing of its words. Empty if it is none.
pub(super) fn issues(body: &[u8]) -> String {
    let Ok(outcome) = serde_json::from_slice::<Outcome>(trimmed(body)) else { return String::new() };
    if outcome.resource_type != "OperationOutcome" {
        return String::new();
    }
    let told: Vec<String> = outcome.issue.iter().take(ISSUES).map(Issue::told).collect();
    if told.is_empty() { "no issue".to_owned() } else { told.join(", ") }
}

/// What an error answer says, in lower case, for looking for names of parameters in. Never to be shown.
pub(super) fn complaint(body: &[u8]) -> String {
    /// An explanation is not longer; what is, is a stack trace.
    const LONGEST: usize = 16 * 1024;
    String::from_utf8_lossy(body.get(..LONGEST.min(body.len())).unwrap_or_default()).to_lowercase()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    resource_type: String,
    #[serde(default)]
    issue: Vec<Issue>,
}

#[derive(Deserialize)]
struct Issue {
    severity: Option<String>,
    code: Option<String>,
}

impl Issue {
    fn told(&self) -> String {
        let word = |text: &Option<String>| {
            // Both are from value sets; what is not a word of such a set is not repeated.
            let text = text.as_deref().unwrap_or("unknown");
            let plain = text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            if plain { text.to_owned() } else { "unknown".to_owned() }
        };
        format!("{} {}", word(&self.severity), word(&self.code))
    }
}

/// Without a byte order mark and white space around it: a reader may pass over the mark (RFC 8259 §8.1).
pub(super) fn trimmed(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii()
}

fn open<'a>(body: &'a [u8], place: &str) -> Result<RawBundle<'a>, FhirError> {
    let body = trimmed(body);
    let not_fhir = |what| FhirError::NotFhir { place: place.to_owned(), what };
    match body.first() {
        None => return Err(not_fhir("empty")),
        Some(b'<') => return Err(not_fhir("HTML or XML instead of JSON")),
        Some(b'{') => {}
        Some(_) => return Err(not_fhir("not a JSON object")),
    }
    let raw: RawBundle<'a> = serde_json::from_slice(body).map_err(|error| {
        if error.is_eof() {
            FhirError::Interrupted { place: place.to_owned() }
        } else {
            not_fhir("damaged JSON, or no Bundle")
        }
    })?;
    match raw.resource_type.as_deref() {
        Some("Bundle") => Ok(raw),
        Some("OperationOutcome") => Err(FhirError::Outcome { place: place.to_owned(), issues: issues(body) }),
        _ => Err(not_fhir("JSON, but no Bundle")),
    }
}

fn links(raw: &RawBundle<'_>) -> (Option<u64>, Option<String>, Option<String>) {
    // An empty link is none.
    let link = |relation: &str| {
        let mut links = raw.link.iter().flatten();
        let found = links.find(|link| link.relation.as_deref() == Some(relation)).and_then(|link| link.url.clone());
        found.filter(|url| !url.trim().is_empty())
    };
    (raw.total.as_ref().and_then(Value::as_u64), link("next"), link("self"))
}

fn search_entry(entry: &RawValue, wanted: &str) -> Entry {
    let Ok(RawEntry { resource: Some(raw), search, request: None, .. }) =
        serde_json::from_str::<RawEntry<'_>>(entry.get())
    else {
        return happened_or_found(entry, wanted);
    };
    found(raw, search, wanted)
}

/// An entry of a search that says, as those of a history do, what was done to its resource; some servers let deleted ones match.
fn happened_or_found(entry: &RawValue, wanted: &str) -> Entry {
    match history_entry(entry, wanted) {
        Entry::Happened(happening) if happening.deleted && entry.get().contains("DELETE") => Entry::Happened(happening),
        _ => match serde_json::from_str::<RawEntry<'_>>(entry.get()) {
            Ok(RawEntry { resource: Some(raw), search, .. }) => found(raw, search, wanted),
            _ => Entry::Unreadable,
        },
    }
}

fn found(raw: &RawValue, search: Option<RawSearch>, wanted: &str) -> Entry {
    let mode = search.and_then(|search| search.mode);
    match resource(raw.get().as_bytes(), Origin::Search) {
        // An outcome needs no id.
        None => match serde_json::from_str::<Outcome>(raw.get()) {
            Ok(outcome) if outcome.resource_type == "OperationOutcome" => warning(&outcome),
            _ => Entry::Unreadable,
        },
        Some(resource) if resource.reference.resource_type == "OperationOutcome" => {
            serde_json::from_str::<Outcome>(raw.get()).map_or(Entry::Unreadable, |outcome| warning(&outcome))
        }
        Some(mut resource) => {
            // Servers without `search.mode` exist: then the type tells.
            let included = mode.as_deref() == Some("include") || resource.reference.resource_type != wanted;
            if included {
                resource.origin = Origin::Include;
            }
            Entry::Resource(resource)
        }
    }
}

fn warning(outcome: &Outcome) -> Entry {
    Entry::Outcome { warning: outcome.issue.iter().any(|issue| issue.severity.as_deref() != Some("information")) }
}

fn history_entry(entry: &RawValue, wanted: &str) -> Entry {
    let Ok(entry) = serde_json::from_str::<RawEntry<'_>>(entry.get()) else { return Entry::Unreadable };
    let inner = entry.resource.and_then(|raw| resource(raw.get().as_bytes(), Origin::Search));
    let method = entry.request.as_ref().and_then(|request| request.method.as_deref());
    let deleted = match method {
        Some(method) => method.eq_ignore_ascii_case("DELETE"),
        None => inner.is_none(),
    };
    let named = |text: &str| {
        let path = text.split(['?', '#']).next().unwrap_or_default();
        let (before, _) = path.split_once("/_history").unwrap_or((path, ""));
        let mut parts = before.rsplit('/');
        let (id, resource_type) = (parts.next()?, parts.next().unwrap_or(wanted));
        Reference::new(resource_type, id).filter(|reference| reference.resource_type == wanted)
    };
    let by_request = entry.request.as_ref().and_then(|request| request.url.as_deref()).and_then(named);
    let reference = match &inner {
        Some(resource) => Some(resource.reference.clone()),
        None => by_request.or_else(|| entry.full_url.as_deref().and_then(named)),
    };
    let modified = entry.response.and_then(|response| response.last_modified);
    let updated = inner.as_ref().and_then(|resource| resource.last_updated.clone());
    let at = modified.as_deref().and_then(Instant::parse).or(updated);
    match reference {
        Some(reference) if reference.resource_type == wanted => {
            let resource = inner.filter(|_| !deleted);
            Entry::Happened(Happening { reference, deleted, at, resource })
        }
        _ => Entry::Unreadable,
    }
}

/// A text, or a number where a text is due; some servers number their versions so.
fn text(members: &Members<'_>, name: &str) -> Option<String> {
    match serde_json::from_str(members.get(name)?.get()).ok()? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_keeps_its_bytes() {
        let body = r#"{"resourceType":"Bundle","entry":[{"resource": {"id":"1", "value":1.50,
            "resourceType":"Observation","x":{"y":[ ]}}}]}"#;
        let bundle = search(body.as_bytes(), "Observation", "GET").unwrap();
        let Some(Entry::Resource(resource)) = bundle.entries.first() else { panic!("a resource") };
        let start = body.find("{\"id\"").unwrap();
        assert_eq!(resource.body, &body.as_bytes()[start..body.len() - 3]);
    }

    #[test]
    fn nesting_of_any_depth_is_harmless() {
        let depth = 200_000;
        let body = format!(
            r#"{{"resourceType":"Bundle","entry":[{{"resource":{{"resourceType":"Patient","id":"1","x":{}{}}}}}]}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        );
        assert!(matches!(search(body.as_bytes(), "Patient", "GET").unwrap().entries[..], [Entry::Resource(_)]));
    }

    #[test]
    fn an_entry_that_does_not_read_costs_only_itself() {
        let body = r#"{"resourceType":"Bundle","entry":[7,{},{"resource":{"resourceType":"Patient"}},
            {"resource":{"resourceType":"Patient","id":"../x"}},{"search":"match","resource":{"resourceType":"Patient","id":"1"}},
            {"resource":{"resourceType":"Patient","id":"2","meta":{"versionId":3}}},
            {"resource":{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"not-supported"}]}}]}"#;
        let bundle = search(body.as_bytes(), "Patient", "GET").unwrap();
        let readable: Vec<_> = bundle
            .entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Resource(resource) => Some((resource.reference.id.as_str(), resource.version_id.as_deref())),
                _ => None,
            })
            .collect();
        assert_eq!(readable, [("2", Some("3"))]);
        assert!(matches!(bundle.entries.last(), Some(Entry::Outcome { warning: true })));
    }

    #[test]
    fn what_is_no_bundle_says_what_it_is() {
        let kind = |body: &str| search(body.as_bytes(), "Patient", "GET").unwrap_err().kind();
        assert_eq!(kind("<html>"), "not_fhir");
        assert_eq!(kind(""), "not_fhir");
        assert_eq!(kind(r#"{"resourceType":"Bundle","entry":[{"#), "interrupted");
        assert_eq!(kind(r#"{"resourceType":"Patient"}"#), "not_fhir");
        let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"throttled","diagnostics":"Wang Wei"}]}"#;
        let error = search(outcome.as_bytes(), "Patient", "GET").unwrap_err();
        assert_eq!(error.kind(), "operation_outcome");
        assert!(error.to_string().contains("error throttled") && !error.to_string().contains("Wang"));
    }

    #[test]
    fn what_only_some_can_read_costs_no_other_and_keeps_its_name() {
        let wild: [&[u8]; 5] = [
            br#""name":"\ud800""#,
            br#""value":1e999"#,
            b"\"name\":\"\xC3\x28\"",
            br#""id":"0","meta":{"versionId":"1","versionId":"2"},"id":"1""#,
            br#""meta":{"versionId":"3","tag":["\udc00"]}"#,
        ];
        for inside in wild {
            let body = [
                br#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"1","#.as_slice(),
                inside,
                br#"}},{"resource":{"resourceType":"Patient","id":"2"}}]}"#,
            ];
            let bundle = search(&body.concat(), "Patient", "GET").unwrap();
            let names: Vec<String> = bundle
                .entries
                .iter()
                .map(|entry| match entry {
                    Entry::Resource(resource) => resource.reference.to_string(),
                    _ => "unreadable".to_owned(),
                })
                .collect();
            assert_eq!(names, ["Patient/1", "Patient/2"], "{}", String::from_utf8_lossy(inside));
        }
    }

    #[test]
    fn a_deletion_in_a_history_needs_no_resource() {
        let body = r#"{"resourceType":"Bundle","entry":[
            {"fullUrl":"http://h/Patient/1","request":{"method":"DELETE","url":"Patient/1"},"response":{"status":"204","lastModified":"2026-01-01T00:00:00Z"}},
            {"request":{"method":"DELETE","url":"http://h/fhir/Patient/2/_history/3"}},
            {"fullUrl":"http://h/Patient/3","request":{"method":"PUT","url":"Patient/3"},"resource":{"resourceType":"Patient","id":"3"}}]}"#;
        let bundle = history(body.as_bytes(), "Patient", "GET").unwrap();
        let told: Vec<_> = bundle
            .entries
            .iter()
            .map(|entry| match entry {
                Entry::Happened(happening) => (happening.reference.id.as_str(), happening.deleted),
                _ => ("", false),
            })
            .collect();
        assert_eq!(told, [("1", true), ("2", true), ("3", false)]);
    }
}
