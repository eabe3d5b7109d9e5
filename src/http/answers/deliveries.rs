//! Consumers and what waits for them.

use serde_json::{Value, json};

use super::{list, moment, string};
use crate::http::parameter::Form;

pub(crate) fn consumers() -> Value {
    let consumer = json!({
        "type": "object",
        "required": ["name", "configured", "cursor", "lag"],
        "properties": {
            "name": string(),
            "configured": {"type": "boolean"},
            "events": {"type": "array", "items": string()},
            "policy": string(),
            "purpose": string(),
            "cursor": string(),
            "lag": {"type": ["integer", "null"], "description": "events after the cursor; null: it is of another epoch"},
            "events_behind": {"type": ["integer", "null"], "description": "those, and the ones that are held"},
            "held": {"type": "integer", "description": "events that wait for the trouble of a person to end"},
            "parked": {"type": "integer", "description": "persons (with whom they were merged) that are tried no more until somebody says so"},
            "oldest_at": moment(),
            "committed_at": moment(),
            "delivered_at": moment(),
            "pushed": {"type": "boolean", "description": "whether it has a webhook"},
            "push": {
                "type": "object",
                "properties": {
                    "to": string(),
                    "state": {"type": "string", "enum": ["up", "down", "stopped"]},
                    "reason": {"type": ["string", "null"]},
                    "deliveries": {"type": "integer"},
                    "retries": {"type": "integer"}
                }
            }
        }
    });
    list("consumers", consumer)
}

pub(crate) fn parked() -> Value {
    let optional = |mut schema: Value| {
        schema["type"] = json!(["string", "null"]);
        schema
    };
    let hold = json!({
        "type": "object",
        "properties": {
            "one_id": optional(string()),
            "sequence": {"type": "integer"},
            "event": optional(string()),
            "type": optional(string()),
            "events": {"type": "integer", "description": "how many wait, this one included"},
            "since": moment(),
            "attempts": {"type": "integer"},
            "next_at": optional(moment()),
            "parked_at": optional(moment()),
            "error": string()
        }
    });
    let mut list = list("holds", hold);
    list["properties"]["actions"] = json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "at": moment(),
                "action": {"type": "string", "enum": ["replay", "release", "skip", "forget"]},
                "by": string(),
                "reason": string(),
                "detail": {"type": "object"}
            }
        }
    });
    list
}

pub(crate) fn replay_request() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "from": Form::Cursor.schema(),
            "since": moment(),
            "to": Form::Cursor.schema(),
            "person": string(),
            "reason": string()
        }
    })
}

pub(crate) fn replayed() -> Value {
    json!({
        "type": "object",
        "properties": {
            "cursor": {"type": "string", "description": "where the consumer is now, if it was moved"},
            "events": {"type": "integer", "description": "how many are delivered again, if they were put back"}
        }
    })
}

pub(crate) fn person_request() -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": {"person": string(), "reason": string()}})
}

pub(crate) fn released() -> Value {
    json!({"type": "object", "required": ["released"], "properties": {"released": {"type": "integer"}}})
}

pub(crate) fn skip_request() -> Value {
    let mut request = person_request();
    request["required"] = json!(["person", "reason"]);
    request
}

pub(crate) fn skipped() -> Value {
    let skipped = json!({"type": "object", "properties": {"sequence": {"type": "integer"}, "event": {"type": ["string", "null"]}}});
    json!({"type": "object", "required": ["skipped"], "properties": {"skipped": skipped}})
}
