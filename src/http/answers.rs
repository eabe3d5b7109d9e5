//! JSON Schemas of answers and request bodies, for the OpenAPI document.

use serde_json::{Value, json};

use super::messages::MOST_REASON;
use super::openapi::reference;
use super::parameter::Form;
use super::persons::MOST_RECORDS;
use super::routes::{MESSAGE_STATES, PAGE_SIZE, REVIEW_KINDS};
use crate::audit::Action;
use crate::feed::snapshot::Part;

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

fn evidence() -> Value {
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

fn record_number() -> Value {
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

pub(crate) fn message() -> Value {
    json!({
        "type": "object",
        "required": ["id", "source", "state", "type", "control_id", "received_at"],
        "properties": {
            "id": integer(),
            "source": string(),
            "state": {"type": "string", "enum": MESSAGE_STATES},
            "type": string(),
            "control_id": string(),
            "received_at": moment(),
            "message_time": moment(),
            "charset": string(),
            "mapping": {"type": "string", "description": "version of the mapping that was used"},
            "attempts": integer(),
            "one_id": string(),
            "same_control_id": {"type": "boolean", "description": "an earlier message had this MSH-10 and other content"},
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "string", "description": "HL7 table 0357"},
                    "location": {"type": "string", "description": "e.g. PID-3"},
                    "text": string()
                }
            },
            "notes": {"type": "array", "items": string()}
        }
    })
}

pub(crate) fn messages() -> Value {
    list("messages", message())
}

pub(crate) fn message_with_raw() -> Value {
    let mut schema = message();
    schema["properties"]["raw"] = json!({"type": "string", "description": "the text"});
    schema["properties"]["raw_hex"] =
        json!({"type": "string", "description": "the bytes in hexadecimal, where they do not decode"});
    schema
}

pub(crate) fn retry_request() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "source": {"type": "string", "description": "only messages of this source"},
            "from": {"type": "string", "pattern": "^[0-9]+$", "description": "`next` of the answer before; default: the oldest"},
            "limit": PAGE_SIZE.schema()
        }
    })
}

pub(crate) fn retry() -> Value {
    json!({
        "type": "object",
        "required": ["retried", "processed", "ignored", "failed", "more", "next"],
        "properties": {
            "retried": integer(),
            "processed": integer(),
            "ignored": integer(),
            "failed": integer(),
            "more": {"type": "boolean", "description": "further failed messages were not tried"},
            "next": {"type": ["string", "null"], "description": "`from` of the request that goes on with them"}
        }
    })
}

pub(crate) fn dismiss_request() -> Value {
    json!({
        "type": "object",
        "required": ["reason"],
        "additionalProperties": false,
        "properties": {
            "reason": {
                "type": "string",
                "minLength": 1,
                "maxLength": MOST_REASON,
                "description": "why nobody has to look at it any more; kept with the message"
            }
        }
    })
}

pub(crate) fn sources() -> Value {
    let counts = json!({"type": "object", "additionalProperties": integer()});
    let source = json!({
        "type": "object",
        "required": ["name", "kind", "place", "state", "messages"],
        "properties": {
            "name": string(),
            "kind": {"type": "string", "enum": ["mllp", "files", "fhir"]},
            "polling": {
                "type": "object",
                "description": "of a FHIR source: how it stands with its server, by type of resource: mark, mode, last success, last failure, what is remarkable",
                "additionalProperties": true
            },
            "place": {"type": "string", "description": "where it listens or reads"},
            "state": {"type": "string", "enum": ["up", "down"]},
            "reason": {"type": "string", "description": "why it is down"},
            "messages": counts,
            "last_message_at": moment(),
            "mapping": {
                "type": "object",
                "required": ["version", "loaded_at"],
                "properties": {
                    "version": {"type": "string", "description": "of the mapping in force, as in a message's `mapping`"},
                    "loaded_at": moment(),
                    "refused": {
                        "type": "object",
                        "description": "the files were changed since and cannot be used; older ones are in force",
                        "required": ["at", "problems"],
                        "properties": {
                            "at": moment(),
                            "problems": {"type": "array", "items": string(), "description": "the errors, each with its place"}
                        }
                    }
                }
            }
        }
    });
    list("sources", source)
}

pub(crate) fn poll() -> Value {
    json!({
        "type": "object",
        "required": ["source", "poll"],
        "properties": {"source": string(), "poll": {"type": "string", "enum": ["asked"]}}
    })
}

pub(crate) fn audit() -> Value {
    let texts = || json!({"type": "array", "items": string()});
    let entry = json!({
        "type": "object",
        "required": ["sequence", "at", "actor", "name", "role", "action", "outcome", "origin", "request", "persons", "objects",
            "detail", "hash"],
        "properties": {
            "sequence": integer(),
            "at": moment(),
            "actor": {"type": "string", "enum": ["token", "shell", "daemon", "unknown"]},
            "name": {"type": "string", "description": "of the token, or of the user of the shell"},
            "role": string(),
            "action": {"type": "string", "enum": Action::NAMES},
            "outcome": {"type": "string", "enum": ["ok", "refused", "failed", "begun"]},
            "origin": {"type": "string", "description": "an address, `shell` or `daemon`"},
            "request": {"type": "string", "description": "as the answer's X-Request-Id said"},
            "persons": texts(),
            "objects": {"type": "array", "items": string(), "description": "KIND/ID: messages, cases, events, files with digests"},
            "detail": {"type": "string", "description": "what it was looked for by: names of parameters, never their values"},
            "hash": string()
        }
    });
    list("entries", entry)
}

pub(crate) fn quality() -> Value {
    let code = json!({
        "type": "object",
        "required": ["source", "table", "code", "target", "count", "waiting", "first_seen", "last_seen", "message"],
        "properties": {
            "source": string(),
            "table": string(),
            "code": {"type": "string", "description": "as the sender wrote it"},
            "target": {"type": "string", "description": "the field that it was meant for"},
            "outcome": {
                "type": "string",
                "enum": ["kept", "left", "replaced", "rejected"],
                "description": "the record has the sender's code, its field stayed as it was, it has the value that the mapping names for such codes, or the item or message was not taken"
            },
            "count": integer(),
            "waiting": {"type": "integer", "description": "messages that are taken in again once the table knows the code"},
            "first_seen": moment(),
            "last_seen": moment(),
            "message": {"type": "integer", "description": "a message that holds it"}
        }
    });
    let source = json!({
        "type": "object",
        "required": ["name", "messages", "unmapped"],
        "properties": {
            "name": string(),
            "messages": {"type": "object", "additionalProperties": integer()},
            "unmapped": {"type": "array", "items": code}
        }
    });
    list("sources", source)
}

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
