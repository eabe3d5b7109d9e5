//! The route table: every path of the contract that this version serves.

use std::sync::Arc;

use axum::routing::MethodFilter;
use serde_json::Value;

use super::audit::Audited;
use super::call::{Call, Pending};
use super::parameter::{Form, Parameter, parameter};
use super::problem::ProblemKind;
use super::tokens::Role;
use super::{
    AppState, answers, consents, consumers, feed, messages, operations, persons, reviews, snapshot, stream, trail,
};
use crate::audit::Action;
use crate::store::reviews::{ReviewKind, ReviewStates};

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// `operationId`.
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) access: Access,
    /// What the audit trail says of it.
    pub(crate) audit: Audited,
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
            Access::AnyToken => kinds.extend(TOKEN_PROBLEMS),
            Access::Roles(_) => {
                kinds.extend(TOKEN_PROBLEMS);
                kinds.push(RoleNotAllowed);
            }
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

/// What can be wrong with any token; that nothing could be written down of it is one of them.
const TOKEN_PROBLEMS: &[ProblemKind] = &[
    ProblemKind::TokenMissing,
    ProblemKind::TokenNotValid,
    ProblemKind::LockedOut,
    ProblemKind::TooManyRequests,
    ProblemKind::NotAudited,
];
const CONSUMER: Access = Access::Roles(&[Role::Consumer]);
const PERSON_READERS: Access = Access::Roles(&[Role::Records, Role::Engineer, Role::Consumer]);
/// Whoever answers for the patients' records.
const RECORDS: Access = Access::Roles(&[Role::Records]);
const CONSENT_READERS: Access = Access::Roles(&[Role::Records, Role::Engineer]);
const DECISION_PROBLEMS: &[ProblemKind] = &[ProblemKind::RecordUnknown, ProblemKind::DecisionRefused];
const ENGINEER: Access = Access::Roles(&[Role::Engineer]);
/// Who answers for deliveries.
const DELIVERERS: Access = Access::Roles(&[Role::Engineer, Role::Admin]);
const POLLERS: Access = Access::Roles(&[Role::Engineer, Role::Admin, Role::Source]);
/// Raw messages are for `engineer` and `admin`, so the paths that lead to them are too.
const MESSAGE_READERS: Access = Access::Roles(&[Role::Engineer, Role::Admin]);

/// Who reads the audit trail does nothing else.
const AUDITORS: Access = Access::Roles(&[Role::Auditor]);

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
const PERSON_PROBLEMS: &[ProblemKind] = &[ProblemKind::RecordUnknown, ProblemKind::HiddenByPolicy];
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
        audit: Audited::Nothing,
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
        audit: Audited::Nothing,
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
        audit: Audited::Nothing,
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
        audit: Audited::Nothing,
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
        audit: Audited::Nothing,
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
        audit: Audited::Nothing,
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
        audit: Audited::Pages(Action::FeedDeliver),
        parameters: &[
            parameter("after", Form::Cursor, "where to go on from; default: the committed cursor, else `start`"),
            parameter("limit", PAGE_SIZE, "most events in the answer"),
            parameter("wait", Form::Integer { least: 0, most: 30, default: 0 }, "seconds to wait for an event"),
            parameter("since", Form::DateTime, "instead of `after`: from what was written at this time or later"),
            parameter("person", Form::Text, "only what is about this One ID, or any that answers as the same person"),
        ],
        body: None,
        answers: &[("application/json", answers::feed), (feed::NDJSON, answers::feed_line)],
        special_problems: CURSOR_PROBLEMS,
        handler: |state, call| Box::pin(feed::page(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/feed/stream",
        name: "feed_stream",
        summary: "The events for this consumer as they come, as server-sent events; `id` is a cursor, and `Last-Event-ID` goes on there",
        access: CONSUMER,
        parameters: &[parameter(
            "after",
            Form::Cursor,
            "where to go on from; default: the committed cursor, else `start`",
        )],
        audit: Audited::Pages(Action::FeedDeliver),
        body: None,
        answers: &[(stream::EVENT_STREAM, answers::plain_text)],
        special_problems: &[
            ProblemKind::CursorNotValid,
            ProblemKind::CursorBeyondHead,
            ProblemKind::CursorOfAnotherEpoch,
            ProblemKind::CursorExpired,
            ProblemKind::StreamsFull,
        ],
        handler: |state, call| Box::pin(stream::stream(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/feed/cursor",
        name: "feed_cursor",
        summary: "This consumer's committed cursor; `start` before the first commit",
        access: CONSUMER,
        audit: Audited::Nothing,
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
        audit: Audited::Nothing,
        parameters: &[],
        body: Some(RequestBody { required: true, schema: answers::cursor_request }),
        answers: &[("application/json", answers::cursor)],
        special_problems: &[
            ProblemKind::CursorNotValid,
            ProblemKind::CursorBeyondHead,
            ProblemKind::CursorOfAnotherEpoch,
            ProblemKind::CursorExpired,
            ProblemKind::DeliveryRefused,
        ],
        handler: |state, call| Box::pin(feed::commit_cursor(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/feed/snapshot",
        name: "feed_snapshot",
        summary: "The current state, row by row, and the cursor to go on from in the feed",
        access: CONSUMER,
        parameters: &[SNAPSHOT_AFTER, LIMIT],
        audit: Audited::Pages(Action::FeedSnapshot),
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
        audit: Audited::Pages(Action::FeedSnapshot),
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
        audit: Audited::Each(Action::PersonSearch),
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
        special_problems: &[ProblemKind::HiddenByPolicy],
        handler: |state, call| Box::pin(persons::find(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons/{one_id}",
        name: "person",
        summary: "The golden record; a retired One ID answers with the surviving one and `merged_into`",
        access: PERSON_READERS,
        audit: Audited::Each(Action::PersonRead),
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
        audit: Audited::Each(Action::PersonVisits),
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
        audit: Audited::Each(Action::PersonLabReports),
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
        audit: Audited::Each(Action::PersonHistory),
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
        audit: Audited::Each(Action::PersonExplain),
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
        audit: Audited::Each(Action::PersonMatch),
        parameters: &[parameter("limit", MATCHES, "most candidates in the answer")],
        body: Some(RequestBody { required: true, schema: answers::patient_record }),
        answers: &[("application/json", answers::candidates)],
        special_problems: &[ProblemKind::RecordSaysTooLittle, ProblemKind::HiddenByPolicy],
        handler: |state, call| Box::pin(persons::find_matches(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/persons/{one_id}/merge",
        name: "merge_persons",
        summary: "The One ID of the path is given up: its records are those of `into`; said again it changes nothing",
        access: RECORDS,
        audit: Audited::Each(Action::PersonMerge),
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
        audit: Audited::Each(Action::PersonSplit),
        parameters: &[],
        body: Some(RequestBody { required: true, schema: answers::split_request }),
        answers: &[("application/json", answers::decided)],
        special_problems: DECISION_PROBLEMS,
        handler: |state, call| Box::pin(persons::split(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/persons/{one_id}/consents",
        name: "consents",
        summary: "What was said of the person's consent, oldest first, and what holds now, by purpose",
        access: CONSENT_READERS,
        parameters: &[],
        audit: Audited::Each(Action::PersonConsents),
        body: None,
        answers: &[("application/json", answers::consents)],
        special_problems: &[ProblemKind::RecordUnknown],
        handler: |state, call| Box::pin(consents::list(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/persons/{one_id}/consents",
        name: "say_consent",
        summary: "Takes down that the person gives or withdraws consent for a purpose; said again it changes nothing",
        access: RECORDS,
        parameters: &[],
        audit: Audited::Each(Action::PersonConsent),
        body: Some(RequestBody { required: true, schema: answers::consent_request }),
        answers: &[("application/json", answers::consent_said)],
        special_problems: &[ProblemKind::RecordUnknown],
        handler: |state, call| Box::pin(consents::say(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/reviews",
        name: "reviews",
        summary: "Doubtful matches: open ones by what an answer is worth, others newest first",
        access: REVIEWERS,
        audit: Audited::Each(Action::ReviewList),
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
        audit: Audited::Each(Action::ReviewRead),
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
        audit: Audited::Each(Action::ReviewDecide),
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
        audit: Audited::Each(Action::MessageList),
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
        audit: Audited::Each(Action::MessageRead),
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
        audit: Audited::Each(Action::MessageRetry),
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
        audit: Audited::Each(Action::MessageDismiss),
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
        audit: Audited::Each(Action::MessageRetry),
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
        audit: Audited::Nothing,
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
        audit: Audited::Nothing,
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
        summary: "The consumers: cursor, lag, what waits, and how pushing goes",
        access: ENGINEER,
        audit: Audited::Nothing,
        parameters: &[],
        body: None,
        answers: &[("application/json", answers::consumers)],
        special_problems: &[],
        handler: |state, call| Box::pin(consumers::list(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/consumers/{name}/parked",
        name: "parked",
        summary: "What waits for the trouble of a person to end, and what was done by hand, newest first",
        access: DELIVERERS,
        parameters: &[AFTER, LIMIT],
        audit: Audited::Each(Action::DeliveryRead),
        body: None,
        answers: &[("application/json", answers::parked)],
        special_problems: &[ProblemKind::RecordUnknown],
        handler: |state, call| Box::pin(consumers::parked(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/consumers/{name}/replay",
        name: "replay",
        summary: "Gives a consumer events again: everything from a cursor or a time, or one person's, or up to a cursor",
        access: DELIVERERS,
        parameters: &[],
        audit: Audited::Each(Action::DeliveryReplay),
        body: Some(RequestBody { required: true, schema: answers::replay_request }),
        answers: &[("application/json", answers::replayed)],
        special_problems: &[
            ProblemKind::RecordUnknown,
            ProblemKind::DeliveryRefused,
            ProblemKind::CursorNotValid,
            ProblemKind::CursorBeyondHead,
            ProblemKind::CursorOfAnotherEpoch,
            ProblemKind::CursorExpired,
        ],
        handler: |state, call| Box::pin(consumers::replay(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/consumers/{name}/release",
        name: "release",
        summary: "Has what waits tried again at once: of one person, else of all who are parked",
        access: DELIVERERS,
        parameters: &[],
        audit: Audited::Each(Action::DeliveryRelease),
        body: Some(RequestBody { required: true, schema: answers::person_request }),
        answers: &[("application/json", answers::released)],
        special_problems: &[ProblemKind::RecordUnknown],
        handler: |state, call| Box::pin(consumers::release(state, call)),
    },
    Route {
        method: Method::Post,
        path: "/v1/consumers/{name}/skip",
        name: "skip",
        summary: "Gives up the one event that a person's others wait for: this consumer is never given it",
        access: DELIVERERS,
        parameters: &[],
        audit: Audited::Each(Action::DeliverySkip),
        body: Some(RequestBody { required: true, schema: answers::skip_request }),
        answers: &[("application/json", answers::skipped)],
        special_problems: &[ProblemKind::RecordUnknown],
        handler: |state, call| Box::pin(consumers::skip(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/quality",
        name: "quality",
        summary: "What the sources' data lacks: messages by outcome, and the codes that no table knows, most frequent first",
        access: ENGINEER,
        audit: Audited::Each(Action::CodeRead),
        parameters: &[],
        body: None,
        answers: &[("application/json", answers::quality)],
        special_problems: &[],
        handler: |state, call| Box::pin(operations::quality(state, call)),
    },
    Route {
        method: Method::Get,
        path: "/v1/audit",
        name: "audit",
        summary: "The audit trail, newest first; a page that is short or empty and has a `next` is not the last",
        access: AUDITORS,
        audit: Audited::Each(Action::AuditRead),
        parameters: &[
            parameter("since", Form::DateTime, "at or after"),
            parameter("until", Form::DateTime, "before"),
            parameter("who", Form::Text, "name of a token or of a user of the shell"),
            parameter("person", Form::Text, "the person's One ID"),
            parameter("action", Form::Text, "what was done, e.g. person.read or person.*"),
            AFTER,
            LIMIT,
        ],
        body: None,
        answers: &[("application/json", answers::audit)],
        special_problems: &[],
        handler: |state, call| Box::pin(trail::list(state, call)),
    },
];
