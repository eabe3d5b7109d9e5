//! The route table: every path of the contract that this version serves.

use std::sync::Arc;

use axum::routing::MethodFilter;
use serde_json::Value;

use super::call::{Call, Pending};
use super::parameter::{Form, Parameter, parameter};
use super::problem::ProblemKind;
use super::tokens::Role;
use super::{AppState, answers, feed, messages, operations, persons, reviews, snapshot};
use crate::store::reviews::{ReviewKind, ReviewStates};

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
    pub(crate) answers: &'static [(&'static str, Schema)],
    /// Problems beyond those that access, parameters and body bring with them.
    pub(crate) special_problems: &'static [ProblemKind],
    pub(crate) handler: fn(Arc<AppState>, Call) -> Pending,
}

/// Makes a JSON Schema.
pub(crate) type Schema = fn() -> Value;

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
    pub(crate) schema: Schema,
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
/// Whoever answers for the patients' records.
const RECORDS: Access = Access::Roles(&[Role::Records]);
const DECISION_PROBLEMS: &[ProblemKind] = &[ProblemKind::RecordUnknown, ProblemKind::DecisionRefused];
const ENGINEER: Access = Access::Roles(&[Role::Engineer]);
const POLLERS: Access = Access::Roles(&[Role::Engineer, Role::Admin, Role::Source]);
/// Raw messages are for `engineer` and `admin`, so the paths that lead to them are too.
const MESSAGE_READERS: Access = Access::Roles(&[Role::Engineer, Role::Admin]);

/// Entries in a page.
pub(crate) const PAGE_SIZE: Form = Form::Integer { least: 1, most: 1000, default: 100 };
const LIMIT: Parameter = parameter("limit", PAGE_SIZE, "most entries in the answer");
/// Candidates of a match: more than a few are no help.
const MATCHES: Form = Form::Integer { least: 1, most: 100, default: 10 };
const AFTER: Parameter = parameter("after", Form::Key, "`next` of the page before");
const SNAPSHOT_AFTER: Parameter = parameter("after", Form::Text, "`next` of the page before; none: a new one begins");
/// Names and versions are short, and a consumer compares all of them.
const VERSIONS: Form = Form::Integer { least: 1, most: 10_000, default: 1_000 };
/// A report may hold hundreds of results, so their pages are shorter.
const RECORD_PAGE: &[Parameter] =
    &[AFTER, parameter("limit", Form::Integer { least: 1, most: 200, default: 100 }, "most entries in the answer")];
const CURSOR_PROBLEMS: &[ProblemKind] = &[
    ProblemKind::CursorNotValid,
    ProblemKind::CursorBeyondHead,
    ProblemKind::CursorOfAnotherEpoch,
    ProblemKind::CursorExpired,
];
const PERSON_PROBLEMS: &[ProblemKind] = &[ProblemKind::RecordUnknown, ProblemKind::PurposeNeedsConsent];
/// Doubtful matches are decided by the records department; an administrator may stand in.
const REVIEWERS: Access = Access::Roles(&[Role::Records, Role::Admin]);
/// Which cases for review a list may be of.
const REVIEW_STATES: &[&str] = &ReviewStates::NAMES;
/// Why somebody is asked.
pub(crate) const REVIEW_KINDS: &[&str] = &ReviewKind::NAMES;
/// The states in which a message is kept.
pub(crate) const MESSAGE_STATES: &[&str] = &["processed", "failed", "ignored"];

/// The table.
pub(crate) static ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/healthz",
        name: "health",
        summary: "Whether the process answers",
        access: Access::Open,
        parameters: &[],
        body: None,
        answers: &[("application/json", answers::status)],
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
        answers: &[("application/json", answers::status)],
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
        answers: &[(operations::METRICS_TYPE, answers::plain_text)],
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
        answers: &[("application/json", answers::any_object)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::openapi(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/asyncapi.json",
        name: "asyncapi",
        summary: "The events and the ways by which they leave, as AsyncAPI",
        access: Access::AnyToken,
        parameters: &[],
        body: None,
        answers: &[("application/json", answers::any_object)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::asyncapi(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/schemas/{name}",
        name: "schema",
        summary: "JSON Schema of a record or an event, as named by an event's `dataschema`",
        access: Access::AnyToken,
        parameters: &[],
        body: None,
        answers: &[("application/schema+json", answers::any_object)],
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
        answers: &[("application/json", answers::feed), (feed::NDJSON, answers::feed_line)],
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
        answers: &[("application/json", answers::cursor)],
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
        body: Some(RequestBody { required: true, schema: answers::cursor_request }),
        answers: &[("application/json", answers::cursor)],
        special_problems: CURSOR_PROBLEMS,
        handler: |state, call| Box::pin(feed::commit_cursor(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/feed/snapshot",
        name: "feed_snapshot",
        summary: "The current state, row by row, and the cursor to go on from in the feed",
        access: CONSUMER,
        parameters: &[SNAPSHOT_AFTER, LIMIT],
        body: None,
        answers: &[("application/json", answers::snapshot)],
        special_problems: CURSOR_PROBLEMS,
        handler: |state, call| Box::pin(snapshot::state(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/feed/reconcile",
        name: "feed_reconcile",
        summary: "Every record's name and version, to compare with what a consumer keeps, and the cursor to go on from in the feed",
        access: CONSUMER,
        parameters: &[SNAPSHOT_AFTER, parameter("limit", VERSIONS, "most entries in the answer")],
        body: None,
        answers: &[("application/json", answers::versions)],
        special_problems: CURSOR_PROBLEMS,
        handler: |state, call| Box::pin(snapshot::reconcile(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons",
        name: "find_persons",
        summary: "Persons by identifier, by name with birth date or phone, or by phone",
        access: PERSON_READERS,
        parameters: &[
            parameter(
                "identifier",
                Form::Text,
                "SYSTEM|VALUE: assigning authority and number; |VALUE: any number of that value",
            ),
            parameter("name", Form::Text, "whole name"),
            parameter("birth_date", Form::Date, "date of birth"),
            parameter("phone", Form::Text, "phone number"),
            LIMIT,
        ],
        body: None,
        answers: &[("application/json", answers::persons)],
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
        answers: &[("application/json", answers::person)],
        special_problems: PERSON_PROBLEMS,
        handler: |state, call| Box::pin(persons::show(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons/{one_id}/visits",
        name: "visits",
        summary: "Every visit of the person",
        access: PERSON_READERS,
        parameters: RECORD_PAGE,
        body: None,
        answers: &[("application/json", answers::visits)],
        special_problems: PERSON_PROBLEMS,
        handler: |state, call| Box::pin(persons::visits(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons/{one_id}/lab-reports",
        name: "lab_reports",
        summary: "Every report of the person",
        access: PERSON_READERS,
        parameters: RECORD_PAGE,
        body: None,
        answers: &[("application/json", answers::lab_reports)],
        special_problems: PERSON_PROBLEMS,
        handler: |state, call| Box::pin(persons::lab_reports(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons/{one_id}/history",
        name: "person_history",
        summary: "Which source records came to and left this One ID, when and why",
        access: PERSON_READERS,
        parameters: RECORD_PAGE,
        body: None,
        answers: &[("application/json", answers::history)],
        special_problems: PERSON_PROBLEMS,
        handler: |state, call| Box::pin(persons::history(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons/{one_id}/explain",
        name: "explain",
        summary: "Why a source record is this person's or is not: weighed now, and what was known when it was decided",
        access: PERSON_READERS,
        parameters: &[parameter("record", Form::Text, "SYSTEM|VALUE: assigning authority and number of the record")],
        body: None,
        answers: &[("application/json", answers::explanation)],
        special_problems: PERSON_PROBLEMS,
        handler: |state, call| Box::pin(persons::explain(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/persons/match",
        name: "match_persons",
        summary: "The persons whom a patient record may be, by score, with a grade and the evidence; nothing is written",
        access: PERSON_READERS,
        parameters: &[parameter("limit", MATCHES, "most candidates in the answer")],
        body: Some(RequestBody { required: true, schema: answers::patient_record }),
        answers: &[("application/json", answers::candidates)],
        special_problems: &[ProblemKind::RecordSaysTooLittle, ProblemKind::PurposeNeedsConsent],
        handler: |state, call| Box::pin(persons::find_matches(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/persons/{one_id}/merge",
        name: "merge_persons",
        summary: "The One ID of the path is given up: its records are those of `into`; said again it changes nothing",
        access: RECORDS,
        parameters: &[],
        body: Some(RequestBody { required: true, schema: answers::merge_request }),
        answers: &[("application/json", answers::decided)],
        special_problems: DECISION_PROBLEMS,
        handler: |state, call| Box::pin(persons::merge(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/persons/{one_id}/split",
        name: "split_person",
        summary: "Takes a merge back, or gives the records named to a One ID of their own; said again it changes nothing",
        access: RECORDS,
        parameters: &[],
        body: Some(RequestBody { required: true, schema: answers::split_request }),
        answers: &[("application/json", answers::decided)],
        special_problems: DECISION_PROBLEMS,
        handler: |state, call| Box::pin(persons::split(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/reviews",
        name: "reviews",
        summary: "Doubtful matches: open ones by what an answer is worth, others newest first",
        access: REVIEWERS,
        parameters: &[
            parameter("state", Form::Code(REVIEW_STATES), "what became of it; default: open"),
            parameter("kind", Form::Code(REVIEW_KINDS), "why somebody is asked"),
            AFTER,
            LIMIT,
        ],
        body: None,
        answers: &[("application/json", answers::reviews)],
        special_problems: &[],
        handler: |state, call| Box::pin(reviews::list(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/reviews/{id}",
        name: "review",
        summary: "One doubtful match with what both records say",
        access: REVIEWERS,
        parameters: &[],
        body: None,
        answers: &[("application/json", answers::review_with_sides)],
        special_problems: &[ProblemKind::RecordUnknown],
        handler: |state, call| Box::pin(reviews::show(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/reviews/{id}",
        name: "decide_review",
        summary: "One patient or two: no rule changes it, another decision takes it back, the same again changes nothing",
        access: REVIEWERS,
        parameters: &[],
        body: Some(RequestBody { required: true, schema: answers::review_decision }),
        answers: &[("application/json", answers::review_decided)],
        special_problems: DECISION_PROBLEMS,
        handler: |state, call| Box::pin(reviews::decide(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/messages",
        name: "messages",
        summary: "Stored messages, newest first; a page that is short or empty and has a `next` is not the last",
        access: MESSAGE_READERS,
        parameters: &[
            parameter("source", Form::Text, "name of the source"),
            parameter("state", Form::Code(MESSAGE_STATES), "what became of it"),
            parameter("type", Form::Text, "message type, e.g. ADT^A01 or ADT"),
            parameter("control_id", Form::Text, "MSH-10"),
            parameter("one_id", Form::Text, "the patient's One ID"),
            parameter("from", Form::DateTime, "received at or after"),
            parameter("to", Form::DateTime, "received before"),
            AFTER,
            LIMIT,
        ],
        body: None,
        answers: &[("application/json", answers::messages)],
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
        answers: &[("application/json", answers::message_with_raw)],
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
        answers: &[("application/json", answers::message)],
        special_problems: &[
            ProblemKind::RecordUnknown,
            ProblemKind::MessageNotFailed,
            ProblemKind::SourceNotConfigured,
        ],
        handler: |state, call| Box::pin(messages::retry(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/messages/{id}/dismiss",
        name: "dismiss_message",
        summary: "Takes a failed message out of the failures for good: it stays stored, as ignored, with the reason in its notes",
        access: ENGINEER,
        parameters: &[],
        body: Some(RequestBody { required: true, schema: answers::dismiss_request }),
        answers: &[("application/json", answers::message)],
        special_problems: &[ProblemKind::RecordUnknown, ProblemKind::MessageNotFailed],
        handler: |state, call| Box::pin(messages::dismiss(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/messages/retry",
        name: "retry_messages",
        summary: "Runs failed messages, oldest first, through the mapping of now",
        access: ENGINEER,
        parameters: &[],
        body: Some(RequestBody { required: false, schema: answers::retry_request }),
        answers: &[("application/json", answers::retry)],
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
        answers: &[("application/json", answers::sources)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::sources(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/sources/{name}/poll",
        name: "pollSource",
        summary: "Have a FHIR source polled now: where a subscription of its server leads to. The body is not looked at",
        access: POLLERS,
        parameters: &[],
        body: None,
        answers: &[("application/json", answers::poll)],
        special_problems: &[ProblemKind::RecordUnknown],
        handler: |state, call| Box::pin(operations::poll(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/consumers",
        name: "consumers",
        summary: "The consumers: cursor and lag",
        access: ENGINEER,
        parameters: &[],
        body: None,
        answers: &[("application/json", answers::consumers)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::consumers(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/quality",
        name: "quality",
        summary: "What the sources' data lacks: messages by outcome, and the codes that no table knows, most frequent first",
        access: ENGINEER,
        parameters: &[],
        body: None,
        answers: &[("application/json", answers::quality)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::quality(state, call)),
    },
];
