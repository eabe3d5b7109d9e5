//! Persons, their history, and who may be meant.

use serde_json::{Value, json};

use super::{integer, list, moment, string};
use crate::http::openapi::reference;

pub(crate) fn person() -> Value {
    reference("person.v1.json")
}

pub(crate) fn persons() -> Value {
    list("persons", person())
}

pub(crate) fn visits() -> Value {
    list("visits", reference("visit.v1.json"))
}

pub(crate) fn lab_reports() -> Value {
    list("lab_reports", reference("lab_report.v1.json"))
}

pub(crate) fn history() -> Value {
    let entry = json!({
        "type": "object",
        "required": ["record", "source", "to", "kind", "basis", "at"],
        "properties": {
            "record": {"type": "string", "description": "SYSTEM|VALUE"},
            "source": string(),
            "from": {"type": "string", "description": "the One ID before; absent for a new record"},
            "to": string(),
            "kind": {"type": "string", "enum": ["auto", "manual", "pending"]},
            "basis": {"description": "the evidence"},
            "at": moment(),
            "message": {"type": "integer", "description": "id of the message behind it"}
        }
    });
    list("history", entry)
}

pub(super) fn evidence() -> Value {
    reference("evidence.v1.json")
}

pub(crate) fn explanation() -> Value {
    let comparison = json!({
        "type": "object",
        "required": ["record", "source", "evidence"],
        "properties": {"record": record_number(), "source": string(), "evidence": evidence()}
    });
    let candidate = json!({
        "type": "object",
        "required": ["one_id", "record", "chosen", "evidence"],
        "properties": {"one_id": string(), "record": record_number(), "chosen": {"type": "boolean"}, "evidence": evidence()}
    });
    let step = json!({
        "type": "object",
        "required": ["record", "source", "to", "kind", "at"],
        "properties": {
            "record": record_number(),
            "source": string(),
            "from": string(),
            "to": string(),
            "kind": link_kind(),
            "at": moment(),
            "message": integer(),
            "model": {"type": "string", "description": "version of the model then"},
            "candidates": {"type": "array", "items": candidate, "description": "who was looked at then, chosen or not"},
            "basis": {"description": "why, where no candidates were weighed"}
        }
    });
    let explanation = json!({
        "type": "object",
        "required": ["source", "one_id", "link", "comparisons", "decided"],
        "properties": {
            "source": string(),
            "one_id": {"type": "string", "description": "the record's person now"},
            "link": link_kind(),
            "evidence": evidence(),
            "comparisons": {"type": "array", "items": comparison, "description": "with each other record of the person"},
            "decided": {"type": "array", "items": step, "description": "how the record came to where it is"}
        }
    });
    let threshold = || json!({"type": "number", "description": "bits"});
    json!({
        "type": "object",
        "required": ["one_id", "record", "model", "thresholds", "explanations"],
        "properties": {
            "one_id": {"type": "string", "description": "the person, redirects followed"},
            "merged_into": {"type": "string", "description": "the same, where the One ID asked for is retired"},
            "record": record_number(),
            "model": {"type": "string", "description": "version of the model in force"},
            "thresholds": {
                "type": "object",
                "required": ["link", "review", "margin"],
                "properties": {"link": threshold(), "review": threshold(), "margin": threshold()}
            },
            "explanations": {"type": "array", "items": explanation, "description": "one for each source that uses the number"}
        }
    })
}

pub(super) fn record_number() -> Value {
    json!({"type": "string", "description": "SYSTEM|VALUE"})
}

fn link_kind() -> Value {
    json!({"type": "string", "enum": ["auto", "manual", "pending"]})
}

pub(crate) fn patient_record() -> Value {
    reference("patient.v1.json")
}

pub(crate) fn candidates() -> Value {
    let candidate = json!({
        "type": "object",
        "required": ["one_id", "score", "probability", "grade", "evidence", "person"],
        "properties": {
            "one_id": string(),
            "score": {"type": "number", "description": "bits"},
            "probability": {"type": "number", "minimum": 0, "maximum": 1},
            "grade": {
                "type": "string",
                "enum": ["certain", "probable", "possible"],
                "description": "certain: a record that says this would be linked by itself; probable: nine in ten, and nothing forbids it; possible: more likely than not, or something forbids a link"
            },
            "evidence": evidence(),
            "person": person()
        }
    });
    json!({
        "type": "object",
        "required": ["candidates"],
        "properties": {"candidates": {"type": "array", "items": candidate, "description": "by score"}}
    })
}
