//! The feed, snapshots and cursors.

use serde_json::{Value, json};

use super::{integer, list, string};
use crate::feed::snapshot::Part;
use crate::http::openapi::reference;
use crate::http::parameter::Form;

pub(crate) fn feed() -> Value {
    json!({
        "type": "object",
        "required": ["events", "next", "head"],
        "properties": {
            "events": {"type": "array", "items": reference("event.v1.json")},
            "next": {"type": "string", "description": "cursor to go on from; moves even when no event passed the filter"},
            "head": {"type": "string", "description": "cursor of the newest event"}
        }
    })
}

pub(crate) fn feed_line() -> Value {
    let mut line = reference("event.v1.json");
    line["description"] = json!("one event a line; the last line is a feed.checkpoint with next and head");
    line
}

pub(crate) fn snapshot() -> Value {
    let record = json!({
        "description": "the record as events hold it: a person's with `merged_into` when its One ID is retired",
        "anyOf": [reference("person.v1.json"), reference("visit.v1.json"), reference("lab_report.v1.json")]
    });
    rows(&["kind", "id", "one_id", "version", "record"], Some(record))
}

pub(crate) fn versions() -> Value {
    rows(&["kind", "id", "one_id", "version"], None)
}

/// Rows of a snapshot, with records or without.
fn rows(required: &[&str], record: Option<Value>) -> Value {
    let kinds: Vec<&str> = Part::ALL.iter().map(|part| part.name()).collect();
    let mut properties = json!({
        "kind": {"type": "string", "enum": kinds},
        "id": {"type": "string", "description": "One ID, visit_id or report_id"},
        "one_id": string(),
        "version": integer()
    });
    if let Some(record) = record {
        properties["record"] = record;
    }
    let mut page = list("records", json!({"type": "object", "required": required, "properties": properties}));
    page["required"] = json!(["records", "next", "cursor"]);
    page["properties"]["cursor"] =
        json!({"type": "string", "description": "cursor to go on from in the feed after the last page"});
    page
}

pub(crate) fn cursor() -> Value {
    json!({
        "type": "object",
        "required": ["cursor", "head"],
        "properties": {"cursor": string(), "head": string()}
    })
}

pub(crate) fn cursor_request() -> Value {
    json!({
        "type": "object",
        "required": ["cursor"],
        "additionalProperties": false,
        "properties": {"cursor": Form::Cursor.schema()}
    })
}
