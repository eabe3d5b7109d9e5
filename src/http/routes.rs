//! The route table: every path of the contract that this version serves.

mod table;

use std::sync::Arc;

use axum::routing::MethodFilter;
use serde_json::Value;

use super::AppState;
use super::audit::Audited;
use super::call::{Call, Pending};
use super::parameter::{Form, Parameter, parameter};
use super::problem::ProblemKind;
use super::tokens::Role;
use crate::store::reviews::{ReviewKind, ReviewStates};

pub(crate) use table::ROUTES;

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
