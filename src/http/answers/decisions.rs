//! What people decide: merges, splits, consents and doubtful matches.

use serde_json::{Value, json};

use super::persons::{evidence, patient_record, record_number};
use super::{integer, list, moment, string};
use crate::http::messages::MOST_REASON;
use crate::http::persons::MOST_RECORDS;
use crate::http::routes::REVIEW_KINDS;

pub(crate) fn merge_request() -> Value {
    json!({
        "type": "object",
        "required": ["into", "reason"],
        "additionalProperties": false,
        "properties": {
            "into": {"type": "string", "description": "the One ID that lives on"},
            "reason": decision_reason()
        }
    })
}

pub(crate) fn split_request() -> Value {
    json!({
        "type": "object",
        "required": ["reason"],
        "additionalProperties": false,
        "properties": {
            "records": {
                "type": "array",
                "items": {"type": "string", "description": "SYSTEM|VALUE"},
                "maxItems": MOST_RECORDS,
                "description": "the records that leave, all of one patient; none: those that the last merge brought"
            },
            "reason": decision_reason()
        }
    })
}

fn decision_reason() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": MOST_REASON, "description": "why; kept with the history"})
}

pub(crate) fn decided() -> Value {
    let mut properties = outcome();
    properties["one_id"] =
        json!({"type": "string", "description": "the One ID that lives on, or that gave records back"});
    properties["other"] =
        json!({"type": "string", "description": "the One ID that is given up, or that has the records now"});
    properties["records"] = moved("records that have another One ID now, as SYSTEM|VALUE, or SYSTEM|VALUE#GENERATION");
    let required = [
        "one_id",
        "records",
        "visits",
        "lab_reports",
        "retired",
        "revived",
        "reviews",
        "overruled",
        "warnings",
        "changed",
    ];
    json!({"type": "object", "required": required, "properties": properties})
}

fn moved(meaning: &str) -> Value {
    json!({"type": "array", "items": string(), "description": meaning})
}

/// What a decision led to.
fn outcome() -> Value {
    let pair = || json!({"type": "array", "items": string(), "minItems": 2, "maxItems": 2});
    let overruled = json!({
        "type": "object",
        "required": ["decision", "by", "reason", "at", "records"],
        "properties": {
            "decision": {"type": "string", "description": "link, unlink, merge, split, reject, or told_apart"},
            "by": {"type": "string", "description": "who decided so: a person or a source"},
            "reason": string(),
            "at": moment(),
            "records": pair(),
            "review": {"type": "integer", "description": "the case that was decided so"}
        }
    });
    let warning = json!({
        "type": "object",
        "required": ["veto", "text", "records"],
        "properties": {
            "veto": {"type": "string", "description": "as in evidence; or other_sex, other_birth_date"},
            "text": string(),
            "records": pair()
        }
    });
    json!({
        "visits": moved("visits that went with the records"),
        "lab_reports": moved("reports that went with the records"),
        "retired": moved("One IDs that are given up and answer as another"),
        "revived": moved("One IDs that were given up and live again"),
        "reviews": {"type": "array", "items": integer(), "description": "other cases for review that this answers or opens"},
        "overruled": {"type": "array", "items": overruled, "description": "earlier decisions that do not hold any more"},
        "warnings": {"type": "array", "items": warning, "description": "what forbids a rule to bring these records together"},
        "take_back": {"type": "string", "description": "the command that takes it back"},
        "changed": {"type": "boolean", "description": "false: it was so already"}
    })
}

const PURPOSES: [&str; 3] = ["care", "marketing", "operations"];
const CONSENT_STATES: [&str; 2] = ["given", "withdrawn"];

pub(crate) fn consent_request() -> Value {
    json!({
        "type": "object",
        "required": ["purpose", "state", "reason"],
        "additionalProperties": false,
        "properties": {
            "purpose": {"type": "string", "enum": PURPOSES},
            "state": {"type": "string", "enum": CONSENT_STATES},
            "reason": decision_reason(),
            "since": {"type": "string", "description": "in force from then on; default: now"},
            "until": {"type": "string", "description": "ends by itself"}
        }
    })
}

pub(crate) fn consent_said() -> Value {
    json!({
        "type": "object",
        "required": ["one_id", "purpose", "holds", "changed"],
        "properties": {
            "one_id": {"type": "string", "description": "the person, redirects followed"},
            "purpose": {"type": "string", "enum": PURPOSES},
            "holds": {"type": ["string", "null"], "description": "given, withdrawn, or null: nothing holds"},
            "changed": {"type": "boolean", "description": "false: it was so already"}
        }
    })
}

pub(crate) fn consents() -> Value {
    let said = json!({
        "type": "object",
        "required": ["one_id", "purpose", "state", "since", "basis", "source", "said_by", "at", "records"],
        "properties": {
            "one_id": {"type": "string", "description": "of whom it was said"},
            "purpose": {"type": "string", "enum": PURPOSES},
            "state": {"type": "string", "enum": CONSENT_STATES},
            "since": moment(),
            "until": moment(),
            "basis": {"type": "string", "description": "the paper, the form, the reason"},
            "source": {"type": "string", "description": "who told it; manual: somebody at a desk"},
            "said_by": string(),
            "at": moment(),
            "records": {"type": "array", "items": string(), "description": "SYSTEM|VALUE of the records that it is of"}
        }
    });
    let mut schema = list("consents", said);
    schema["properties"]["one_id"] = string();
    schema["properties"]["holds"] = json!({"type": "object", "additionalProperties": {"type": "string", "enum": CONSENT_STATES}, "description": "by purpose"});
    schema
}

fn review_properties() -> Value {
    let pair = |meaning: &str| json!({"type": "array", "items": string(), "minItems": 2, "maxItems": 2, "description": meaning});
    json!({
        "id": integer(),
        "kind": {"type": "string", "enum": REVIEW_KINDS},
        "state": {"type": "string", "enum": ["open", "linked", "rejected"]},
        "rank": {"type": "number", "description": "what an answer is worth: probability, times the visits that wait for it and one"},
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
        "records": pair("SYSTEM|VALUE of the two records, the older first"),
        "names": pair("as decisions name them: with #GENERATION where a source has used the number for several patients"),
        "persons": pair("their One IDs now"),
        "evidence": evidence(),
        "created_at": moment(),
        "message": {"type": "integer", "description": "id of the message that led to it"},
        "decided_at": moment(),
        "decided_by": string(),
        "reason": string(),
        "answered_by": {"type": "string", "description": "the case itself was not decided: link, unlink, merge, split or reject of others answers it, or `source`: a FHIR server took back what led to it"},
        "now": {"type": "string", "enum": ["one_person", "two_persons"], "description": "what holds now"}
    })
}

fn review_of(properties: Value) -> Value {
    let required =
        ["id", "kind", "state", "rank", "probability", "records", "names", "persons", "evidence", "created_at", "now"];
    json!({"type": "object", "required": required, "properties": properties})
}

pub(crate) fn reviews() -> Value {
    list("reviews", review_of(review_properties()))
}

pub(crate) fn review_with_sides() -> Value {
    let mut properties = review_properties();
    properties["sides"] = json!({"type": "array", "minItems": 2, "maxItems": 2, "items": {
        "type": "object",
        "required": ["record", "generation", "source", "one_id", "patient"],
        "properties": {"record": record_number(), "generation": integer(), "source": string(), "one_id": string(), "patient": patient_record()}
    }});
    properties["answers"] = json!({
        "type": "array",
        "description": "all that was answered so far, oldest first; state open: another decision took the ground of an answer away",
        "items": {
            "type": "object",
            "required": ["state", "decided_at", "decided_by", "reason"],
            "properties": {
                "state": {"type": "string", "enum": ["open", "linked", "rejected"]},
                "decided_at": moment(),
                "decided_by": string(),
                "reason": string(),
                "answered_by": string()
            }
        }
    });
    review_of(properties)
}

pub(crate) fn review_decision() -> Value {
    json!({
        "type": "object",
        "required": ["decision", "reason"],
        "additionalProperties": false,
        "properties": {
            "decision": {"type": "string", "enum": ["link", "reject"], "description": "one patient, or two"},
            "reason": decision_reason()
        }
    })
}

pub(crate) fn review_decided() -> Value {
    let mut schema = review_with_sides();
    if let (Some(properties), Value::Object(outcome)) = (schema["properties"].as_object_mut(), outcome()) {
        properties.extend(outcome);
        properties.insert("moved".to_owned(), moved("records that have another One ID now"));
    }
    schema
}
