//! The route table: every path of the contract that this version serves.

use std::sync::Arc;

use axum::routing::MethodFilter;
use serde_json::{Value, json};

use super::call::{Call, Pending};
use super::openapi::reference;
use super::parameter::{Form, Parameter, parameter};
use super::problem::ProblemKind;
use super::tokens::Role;
use super::{AppState, feed, messages, operations, persons};

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// `operationId`.
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) access: Access,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) body: Option<RequestBody>,
    /// Media types of a good answer with their schemas.
    pub(crate) answers: &'static [(&'static str, fn() -> Value)],
    /// Problems beyond those that access, parameters and body bring with them.
    pub(crate) special_problems: &'static [ProblemKind],
    pub(crate) handler: fn(Arc<AppState>, Call) -> Pending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Put,
    Post,
}

/// Who may call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access {
    /// Everyone, without a token.
    Open,
    /// Every token that is not revoked.
    AnyToken,
    /// Tokens of these roles.
    Roles(&'static [Role]),
}

/// What a request carries.
pub(crate) struct RequestBody {
    pub(crate) required: bool,
    pub(crate) schema: fn() -> Value,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Put => "PUT",
            Method::Post => "POST",
        }
    }

    pub(crate) fn filter(self) -> MethodFilter {
        match self {
            Method::Get => MethodFilter::GET,
            Method::Put => MethodFilter::PUT,
            Method::Post => MethodFilter::POST,
        }
    }
}

impl Route {
    /// Every problem that the route can answer with.
    pub(crate) fn problems(&self) -> Vec<ProblemKind> {
        use ProblemKind::*;
        let mut kinds = vec![ParameterUnknown, BodyTooLarge, Internal, StoreUnavailable, TookTooLong];
        match self.access {
            Access::Open => {}
            Access::AnyToken => kinds.extend([TokenMissing, TokenNotValid]),
            Access::Roles(_) => kinds.extend([TokenMissing, TokenNotValid, RoleNotAllowed]),
        }
        if let Access::Roles(roles) = self.access
            && roles.contains(&Role::Consumer)
        {
            kinds.extend([ConsumerNotConfigured, PolicyNotAvailable]);
        }
        if !self.parameters.is_empty() {
            kinds.push(ParameterNotValid);
        }
        if self.body.is_some() {
            kinds.push(BodyNotValid);
        }
        kinds.extend(self.special_problems);
        kinds
    }
}

const CONSUMER: Access = Access::Roles(&[Role::Consumer]);
const PERSON_READERS: Access = Access::Roles(&[Role::Records, Role::Engineer, Role::Consumer]);
const ENGINEER: Access = Access::Roles(&[Role::Engineer]);
/// Raw messages are for `engineer` and `admin`, so the paths that lead to them are too.
const MESSAGE_READERS: Access = Access::Roles(&[Role::Engineer, Role::Admin]);

const PAGE_SIZE: Form = Form::Integer { least: 1, most: 1000, default: 100 };
const LIMIT: Parameter = parameter("limit", PAGE_SIZE, "most entries in the answer");
const CURSOR_PROBLEMS: &[ProblemKind] = &[
    ProblemKind::CursorNotValid,
    ProblemKind::CursorBeyondHead,
    ProblemKind::CursorOfAnotherEpoch,
    ProblemKind::CursorExpired,
];
const PERSON_PROBLEMS: &[ProblemKind] = &[ProblemKind::RecordUnknown, ProblemKind::PurposeNeedsConsent];
/// The states in which a message is kept.
const MESSAGE_STATES: &[&str] = &["processed", "failed", "ignored"];

/// The table.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/healthz",
        name: "health",
        summary: "Whether the process answers",
        access: Access::Open,
        parameters: &[],
        body: None,
        answers: &[("application/json", status_schema)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::health(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/readyz",
        name: "ready",
        summary: "Whether every source takes messages and the store takes writes",
        access: Access::Open,
        parameters: &[],
        body: None,
        answers: &[("application/json", status_schema)],
        special_problems: &[ProblemKind::NotReady],
        handler: |state, call| Box::pin(operations::ready(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/metrics",
        name: "metrics",
        summary: "Numbers for Prometheus",
        access: Access::AnyToken,
        parameters: &[],
        body: None,
        answers: &[(operations::METRICS_TYPE, plain_text)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::metrics(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/openapi.json",
        name: "openapi",
        summary: "This document",
        access: Access::AnyToken,
        parameters: &[],
        body: None,
        answers: &[("application/json", any_object)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::openapi(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/schemas/{name}",
        name: "schema",
        summary: "JSON Schema of a record or an event, as named by an event's `dataschema`",
        access: Access::AnyToken,
        parameters: &[],
        body: None,
        answers: &[("application/schema+json", any_object)],
        special_problems: &[ProblemKind::RecordUnknown],
        handler: |state, call| Box::pin(operations::schema(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/feed",
        name: "feed",
        summary: "The next events for this consumer; waits for one if asked to",
        access: CONSUMER,
        parameters: &[
            parameter("after", Form::Cursor, "where to go on from; default: the committed cursor, else `start`"),
            parameter("limit", PAGE_SIZE, "most events in the answer"),
            parameter("wait", Form::Integer { least: 0, most: 30, default: 0 }, "seconds to wait for an event"),
        ],
        body: None,
        answers: &[("application/json", feed_schema), (feed::NDJSON, feed_line_schema)],
        special_problems: CURSOR_PROBLEMS,
        handler: |state, call| Box::pin(feed::page(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/feed/cursor",
        name: "feed_cursor",
        summary: "This consumer's committed cursor; `start` before the first commit",
        access: CONSUMER,
        parameters: &[],
        body: None,
        answers: &[("application/json", cursor_schema)],
        special_problems: &[],
        handler: |state, call| Box::pin(feed::cursor(state, call)),
    },
    Route {
        method: Method::Put,
        path: "/v1/feed/cursor",
        name: "commit_feed_cursor",
        summary: "Commits this consumer's cursor; moving back replays",
        access: CONSUMER,
        parameters: &[],
        body: Some(RequestBody { required: true, schema: cursor_request }),
        answers: &[("application/json", cursor_schema)],
        special_problems: CURSOR_PROBLEMS,
        handler: |state, call| Box::pin(feed::commit_cursor(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons",
        name: "find_persons",
        summary: "Persons by identifier, by name with birth date or phone, or by phone",
        access: PERSON_READERS,
        parameters: &[
            parameter("identifier", Form::Text, "SYSTEM|VALUE: assigning authority and number"),
            parameter("name", Form::Text, "whole name"),
            parameter("birth_date", Form::Date, "date of birth"),
            parameter("phone", Form::Text, "phone number"),
            LIMIT,
        ],
        body: None,
        answers: &[("application/json", persons_schema)],
        special_problems: &[ProblemKind::PurposeNeedsConsent],
        handler: |state, call| Box::pin(persons::find(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons/{one_id}",
        name: "person",
        summary: "The golden record; a retired One ID answers with the surviving one and `merged_into`",
        access: PERSON_READERS,
        parameters: &[],
        body: None,
        answers: &[("application/json", person_schema)],
        special_problems: PERSON_PROBLEMS,
        handler: |state, call| Box::pin(persons::show(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons/{one_id}/visits",
        name: "visits",
        summary: "Every visit of the person",
        access: PERSON_READERS,
        parameters: &[],
        body: None,
        answers: &[("application/json", visits_schema)],
        special_problems: PERSON_PROBLEMS,
        handler: |state, call| Box::pin(persons::visits(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons/{one_id}/lab-reports",
        name: "lab_reports",
        summary: "Every report of the person",
        access: PERSON_READERS,
        parameters: &[],
        body: None,
        answers: &[("application/json", lab_reports_schema)],
        special_problems: PERSON_PROBLEMS,
        handler: |state, call| Box::pin(persons::lab_reports(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons/{one_id}/history",
        name: "person_history",
        summary: "Which source records came to and left this One ID, when and why",
        access: PERSON_READERS,
        parameters: &[],
        body: None,
        answers: &[("application/json", history_schema)],
        special_problems: PERSON_PROBLEMS,
        handler: |state, call| Box::pin(persons::history(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/messages",
        name: "messages",
        summary: "Stored messages, newest first",
        access: MESSAGE_READERS,
        parameters: &[
            parameter("source", Form::Text, "name of the source"),
            parameter("state", Form::Code(MESSAGE_STATES), "what became of it"),
            parameter("type", Form::Text, "message type, e.g. ADT^A01 or ADT"),
            parameter("control_id", Form::Text, "MSH-10"),
            parameter("one_id", Form::Text, "the patient's One ID"),
            parameter("from", Form::DateTime, "received at or after"),
            parameter("to", Form::DateTime, "received before"),
            parameter("after", Form::Key, "`next` of the page before"),
            LIMIT,
        ],
        body: None,
        answers: &[("application/json", messages_schema)],
        special_problems: &[],
        handler: |state, call| Box::pin(messages::list(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/messages/{id}",
        name: "message",
        summary: "One message with its raw text",
        access: MESSAGE_READERS,
        parameters: &[],
        body: None,
        answers: &[("application/json", message_with_raw_schema)],
        special_problems: &[ProblemKind::RecordUnknown],
        handler: |state, call| Box::pin(messages::show(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/messages/{id}/retry",
        name: "retry_message",
        summary: "Runs a failed message through the mapping of now; answers with its new state",
        access: ENGINEER,
        parameters: &[],
        body: None,
        answers: &[("application/json", message_schema)],
        special_problems: &[ProblemKind::RecordUnknown, ProblemKind::MessageNotFailed],
        handler: |state, call| Box::pin(messages::retry(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/messages/retry",
        name: "retry_messages",
        summary: "Runs failed messages, oldest first, through the mapping of now",
        access: ENGINEER,
        parameters: &[],
        body: Some(RequestBody { required: false, schema: retry_request }),
        answers: &[("application/json", retry_schema)],
        special_problems: &[],
        handler: |state, call| Box::pin(messages::retry_many(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/sources",
        name: "sources",
        summary: "The sources: state, messages by outcome, the last one",
        access: ENGINEER,
        parameters: &[],
        body: None,
        answers: &[("application/json", sources_schema)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::sources(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/consumers",
        name: "consumers",
        summary: "The consumers: cursor and lag",
        access: ENGINEER,
        parameters: &[],
        body: None,
        answers: &[("application/json", consumers_schema)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::consumers(state, call)),
    },
];

fn string() -> Value {
    json!({"type": "string"})
}

fn integer() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn moment() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn plain_text() -> Value {
    string()
}

fn any_object() -> Value {
    json!({"type": "object"})
}

fn list(plural: &str, item: Value) -> Value {
    json!({
        "type": "object",
        "required": [plural, "next"],
        "properties": {plural: {"type": "array", "items": item}, "next": {"type": ["string", "null"]}}
    })
}

fn status_schema() -> Value {
    json!({"type": "object", "required": ["status"], "properties": {"status": string()}})
}

fn feed_schema() -> Value {
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

fn feed_line_schema() -> Value {
    let mut line = reference("event.v1.json");
    line["description"] = json!("one event a line; the last line is a feed.checkpoint with next and head");
    line
}

fn cursor_schema() -> Value {
    json!({
        "type": "object",
        "required": ["cursor", "head"],
        "properties": {"cursor": string(), "head": string()}
    })
}

fn cursor_request() -> Value {
    json!({
        "type": "object",
        "required": ["cursor"],
        "additionalProperties": false,
        "properties": {"cursor": Form::Cursor.schema()}
    })
}

fn person_schema() -> Value {
    reference("person.v1.json")
}

fn persons_schema() -> Value {
    list("persons", person_schema())
}

fn visits_schema() -> Value {
    list("visits", reference("visit.v1.json"))
}

fn lab_reports_schema() -> Value {
    list("lab_reports", reference("lab_report.v1.json"))
}

fn history_schema() -> Value {
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
            "message": {"type": "string", "description": "number of the message behind it"}
        }
    });
    list("history", entry)
}

fn message_schema() -> Value {
    json!({
        "type": "object",
        "required": ["id", "source", "state", "type", "control_id", "received_at"],
        "properties": {
            "id": string(),
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

fn messages_schema() -> Value {
    list("messages", message_schema())
}

fn message_with_raw_schema() -> Value {
    let mut schema = message_schema();
    schema["properties"]["raw"] = json!({"type": "string", "description": "the text, where the bytes decode"});
    schema["properties"]["raw_hex"] = json!({"type": "string", "description": "the bytes as they came, in hexadecimal"});
    schema
}

fn retry_request() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "source": {"type": "string", "description": "only messages of this source"},
            "limit": PAGE_SIZE.schema()
        }
    })
}

fn retry_schema() -> Value {
    json!({
        "type": "object",
        "required": ["retried", "processed", "ignored", "failed", "more"],
        "properties": {
            "retried": integer(),
            "processed": integer(),
            "ignored": integer(),
            "failed": integer(),
            "more": {"type": "boolean", "description": "further failed messages were not tried"}
        }
    })
}

fn sources_schema() -> Value {
    let counts = json!({"type": "object", "additionalProperties": integer()});
    let source = json!({
        "type": "object",
        "required": ["name", "kind", "place", "state", "messages"],
        "properties": {
            "name": string(),
            "kind": {"type": "string", "enum": ["mllp", "files"]},
            "place": {"type": "string", "description": "where it listens or reads"},
            "state": {"type": "string", "enum": ["starting", "up", "down"]},
            "reason": {"type": "string", "description": "why it is down"},
            "messages": counts,
            "last_message_at": moment()
        }
    });
    list("sources", source)
}

fn consumers_schema() -> Value {
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
            "lag": {"type": "integer", "minimum": 0, "description": "events between the cursor and the head"},
            "committed_at": moment()
        }
    });
    list("consumers", consumer)
}
