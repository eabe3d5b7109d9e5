//! Errors as RFC 9457 problem documents.
//!
//! Every error that leaves by HTTP is one of [`PROBLEMS`], so that a client can tell them apart by `type` and the OpenAPI
//! document can list them. `detail` says what to do; it never holds a patient's value, nor what the caller sent.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

/// Media type of a problem document (RFC 9457, 6.1).
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! problems {
    ($($variant:ident $status:literal $slug:literal $title:literal)*) => {
        /// What kinds of problem there are; the text is the last part of `type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ProblemKind { $(#[doc = $title] $variant,)* }

        /// Every kind, in the order of the documentation.
        pub const PROBLEMS: &[ProblemKind] = &[$(ProblemKind::$variant,)*];

        impl ProblemKind {
            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(ProblemKind::$variant => $status,)* }
            }

            /// The last part of the problem's `type`.
            pub fn slug(self) -> &'static str {
                match self { $(ProblemKind::$variant => $slug,)* }
            }

            /// One sentence that is the same for every problem of the kind.
            pub fn title(self) -> &'static str {
                match self { $(ProblemKind::$variant => $title,)* }
            }
        }
    };
}

problems! {
    ParameterNotValid 400 "parameter-not-valid" "A query parameter is not valid."
    ParameterUnknown 400 "parameter-unknown" "A query parameter is not known here."
    BodyNotValid 400 "body-not-valid" "The request's body is not valid."
    CursorNotValid 400 "cursor-not-valid" "The text is not a cursor."
    CursorBeyondHead 400 "cursor-beyond-head" "The cursor is beyond the newest event."
    TokenMissing 401 "token-missing" "A token is needed."
    TokenNotValid 401 "token-not-valid" "The token is not known or was revoked."
    RoleNotAllowed 403 "role-not-allowed" "The token's role may not do this."
    ConsumerNotConfigured 403 "consumer-not-configured" "The token's consumer is not configured."
    PolicyNotAvailable 403 "policy-not-available" "The consumer's field policy cannot be applied."
    HiddenByPolicy 403 "hidden-by-policy" "The consumer's field policy hides what is asked."
    PathUnknown 404 "path-unknown" "There is nothing at this path."
    RecordUnknown 404 "record-unknown" "There is no such record."
    MethodNotAllowed 405 "method-not-allowed" "The path does not take this method."
    CursorOfAnotherEpoch 409 "cursor-of-another-epoch" "The cursor is of another epoch of the log."
    MessageNotFailed 409 "message-not-failed" "The message is not in state failed."
    SourceNotConfigured 409 "source-not-configured" "The message's source is not configured."
    DecisionRefused 409 "decision-refused" "The decision cannot be carried out."
    DeliveryRefused 409 "delivery-refused" "This cannot be done with the consumer's deliveries."
    CursorExpired 410 "cursor-expired" "Events after the cursor are no longer kept."
    BodyTooLarge 413 "body-too-large" "The request's body is too large."
    RecordSaysTooLittle 422 "record-says-too-little" "The record says too little to look for anybody."
    LockedOut 429 "locked-out" "Too many wrong tokens came from this address."
    TooManyRequests 429 "too-many-requests" "The token asks more often than it may."
    Internal 500 "internal" "Heyi failed to answer."
    NotAudited 503 "not-audited" "The request could not be written to the audit trail."
    NotReady 503 "not-ready" "Not everything is up yet."
    StreamsFull 503 "streams-full" "Too many streams are open."
    StoreUnavailable 503 "store-unavailable" "The store cannot be read or written now."
    TookTooLong 503 "took-too-long" "The request took too long."
}

impl ProblemKind {
    /// The problem's `type`: a URI path.
    pub fn uri(self) -> String {
        format!("/problems/{}", self.slug())
    }
}

/// One problem on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Which kind it is.
    pub kind: ProblemKind,
    /// What is wrong here and what to do, in a sentence or two.
    pub detail: String,
    /// Further members, for programs (RFC 9457, 3.2).
    pub members: Map<String, Value>,
    /// Seconds to wait, with a 429.
    wait: Option<u64>,
}

impl Problem {
    /// A problem without further members.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), members: Map::new(), wait: None }
    }

    /// The same with one more member.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// The same with the time after which it may be tried again, in whole seconds.
    pub(crate) fn after(mut self, wait: std::time::Duration) -> Self {
        self.wait = Some(wait.as_secs_f64().ceil() as u64);
        self
    }

    /// The whole answer: status, headers, document.
    pub fn into_response(self) -> Response<Body> {
        let mut document = self.members;
        for (member, value) in [
            ("type", json!(self.kind.uri())),
            ("title", json!(self.kind.title())),
            ("status", json!(self.kind.status())),
            ("detail", json!(self.detail)),
        ] {
            document.insert(member.to_owned(), value);
        }
        let mut response = Response::new(Body::from(Value::Object(document).to_string()));
        *response.status_mut() = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        match self.kind.status() {
            // RFC 6750, 3: says how to authenticate.
            401 => headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"heyi\"")),
            // RFC 6585, 4.
            429 => headers.insert(header::RETRY_AFTER, HeaderValue::from(self.wait.unwrap_or(1))),
            503 => headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1")),
            _ => None,
        };
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_its_own_type_and_an_error_status() {
        let slugs: std::collections::BTreeSet<&str> = PROBLEMS.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), PROBLEMS.len());
        for kind in PROBLEMS {
            assert!(StatusCode::from_u16(kind.status()).is_ok_and(|status| status.as_u16() >= 400), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn a_problem_is_a_document_with_its_members() {
        let problem = Problem::new(ProblemKind::CursorOfAnotherEpoch, "Read from `start`.").with("epoch", 2);
        let response = problem.into_response();
        assert_eq!(response.status(), 409);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({
                "type": "/problems/cursor-of-another-epoch",
                "title": "The cursor is of another epoch of the log.",
                "status": 409,
                "detail": "Read from `start`.",
                "epoch": 2,
            })
        );
    }
}
