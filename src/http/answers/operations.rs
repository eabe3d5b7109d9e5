//! Messages, sources, data quality and the audit trail.

use serde_json::{Value, json};

use super::{integer, list, moment, string};
use crate::audit::Action;
use crate::http::messages::MOST_REASON;
use crate::http::routes::MESSAGE_STATES;
use crate::http::routes::PAGE_SIZE;

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
