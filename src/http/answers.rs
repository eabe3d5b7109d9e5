//! JSON Schemas of answers and request bodies, for the OpenAPI document.

mod decisions;
mod deliveries;
mod feed;
mod operations;
mod persons;

use serde_json::{Value, json};

pub(crate) use decisions::*;
pub(crate) use deliveries::*;
pub(crate) use feed::*;
pub(crate) use operations::*;
pub(crate) use persons::*;

fn string() -> Value {
    json!({"type": "string"})
}

fn integer() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn moment() -> Value {
    json!({"type": "string", "format": "date-time"})
}

pub(crate) fn plain_text() -> Value {
    string()
}

pub(crate) fn any_object() -> Value {
    json!({"type": "object"})
}

fn list(plural: &str, item: Value) -> Value {
    json!({
        "type": "object",
        "required": [plural, "next"],
        "properties": {plural: {"type": "array", "items": item}, "next": {"type": ["string", "null"]}}
    })
}

pub(crate) fn status() -> Value {
    json!({"type": "object", "required": ["status"], "properties": {"status": string()}})
}
