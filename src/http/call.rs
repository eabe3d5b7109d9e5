//! One request's way: authenticate, check role, check parameters, read the body, run the handler, answer.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use axum::routing::on;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::audit::{Trace, conclude, refused};
use super::parameter::Parameters;
use super::problem::{Problem, ProblemKind};
use super::routes::{Access, ROUTES, Route};
use super::tokens::{self, Caller, Role};
use super::{AppState, limits};
use crate::disclosure::Recipient;
use crate::outgoing::Consumer;
use crate::store::{ErrorClass, StoreError, WriteError};

/// What a handler gives.
pub(crate) type Answer = Result<Response<Body>, Problem>;
/// A handler on its way.
pub(crate) type Pending = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A request that passed every check of the route table.
pub(crate) struct Call {
    /// Who asks; `None` where no token is needed.
    pub(crate) caller: Option<Caller>,
    pub(crate) parameters: Parameters,
    /// Values of the path's names, in order.
    path: Vec<String>,
    headers: HeaderMap,
    body: Bytes,
    /// What the audit trail will say of the request.
    pub(crate) trace: Trace,
}

/// The address of whoever is connected, as an extension of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl Call {
    /// The value of the path's only name.
    pub(crate) fn path(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// Whether the caller asks for this media type by name.
    pub(crate) fn accepts(&self, media_type: &str) -> bool {
        let accepted = self.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        accepted
            .flat_map(|value| value.split(','))
            .any(|range| range.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(media_type)))
    }

    /// A header, if it is there once and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The headers, for who looks at the token again later.
    pub(crate) fn into_headers(self) -> HeaderMap {
        self.headers
    }

    /// The body as JSON. serde's own message is left out: it quotes what was sent.
    pub(crate) fn json<T: DeserializeOwned>(&self, expected: &str) -> Result<T, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|_| Problem::new(ProblemKind::BodyNotValid, format!("Expected JSON: {expected}.")))
    }

    pub(crate) fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// The consumer who asks, with its policy. `None`: the caller is no consumer.
    ///
    /// Deny by default: without configured consumers a token reads everything; with them, an unknown name reads nothing.
    pub(crate) fn recipient(&self, state: &AppState) -> Result<Option<Recipient>, Problem> {
        let Some(caller) = self.caller.as_ref().filter(|caller| caller.role == Role::Consumer) else {
            return Ok(None);
        };
        recipient(state, &caller.name).map(Some)
    }
}

/// The consumer of this name; `None`: others are configured, and it is not.
pub(super) fn consumer_of(state: &AppState, name: &str) -> Option<Consumer> {
    let configured = state.consumers.iter().find(|consumer| consumer.name == name).cloned();
    configured.or_else(|| state.consumers.is_empty().then(|| Consumer::unconfigured(name)))
}

/// The consumer of this name with what applies to it now.
pub(super) fn recipient(state: &AppState, name: &str) -> Result<Recipient, Problem> {
    let consumer = consumer_of(state, name).ok_or_else(|| {
        let detail = format!("Add [[consumers]] with name = \"{name}\" to the configuration.");
        Problem::new(ProblemKind::ConsumerNotConfigured, detail)
    })?;
    let policies = Arc::clone(&state.policies.borrow());
    let refused = || Problem::new(ProblemKind::PolicyNotAvailable, consumer.refusal());
    consumer.recipient(&policies).ok_or_else(refused)
}

/// The router: every route of the table and nothing else.
pub fn router(state: Arc<AppState>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let state = Arc::clone(&state);
        let handler = move |request: Request| async move { answer(route, &state, request).await };
        router = router.route(route.path, on(route.method.filter(), handler));
    }
    let unknown = refuse_all(Arc::clone(&state), ProblemKind::PathUnknown, "See /openapi.json for what there is.");
    let wrong = refuse_all(state, ProblemKind::MethodNotAllowed, "See /openapi.json for the methods of this path.");
    router.fallback(unknown).method_not_allowed_fallback(wrong)
}

/// A handler for what no route takes. Its metrics bear no path: that would be one series a typing error.
fn refuse_all(
    state: Arc<AppState>,
    kind: ProblemKind,
    detail: &'static str,
) -> impl Fn() -> std::future::Ready<Response<Body>> + Clone + Send + Sync + 'static {
    move || {
        state.metrics.http_request("-", "-", kind.status(), std::time::Duration::ZERO);
        std::future::ready(finished(Problem::new(kind, detail).into_response()))
    }
}

async fn answer(route: &'static Route, state: &Arc<AppState>, request: Request) -> Response<Body> {
    let started = Instant::now();
    let handled = tokio::time::timeout(limits::REQUEST_TIME, handle(route, state, request)).await;
    let took_too_long = || Err(Problem::new(ProblemKind::TookTooLong, "Ask for less, or try again."));
    let response = handled.unwrap_or_else(|_| took_too_long()).unwrap_or_else(Problem::into_response);
    let (status, took) = (response.status().as_u16(), started.elapsed());
    state.metrics.http_request(route.method.name(), route.path, status, took);
    tracing::debug!(method = route.method.name(), route = route.path, status, ?took, "answered");
    finished(response)
}

/// What every answer bears: personal data must not stay in a cache, and a browser must not guess at types.
fn finished(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn handle(route: &'static Route, state: &Arc<AppState>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let address = parts.extensions.get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| *address);
    let trace = Trace::new(state, route.audit, address);
    let caller = match route.access {
        Access::Open => None,
        Access::AnyToken | Access::Roles(_) => match tokens::authenticate(state, &parts.headers, address).await {
            Ok(caller) => {
                trace.caller(&caller);
                Some(caller)
            }
            Err(tokens::Refused { problem, told }) => {
                refused(state, &trace, told).await?;
                return Err(problem);
            }
        },
    };
    let answer = checked(route, state, caller, parts, body, &trace).await;
    conclude(state, route.audit, &trace, answer).await
}

async fn checked(
    route: &'static Route,
    state: &Arc<AppState>,
    caller: Option<Caller>,
    mut parts: Parts,
    body: Body,
    trace: &Trace,
) -> Answer {
    if let (Access::Roles(roles), Some(caller)) = (route.access, &caller)
        && !roles.contains(&caller.role)
    {
        let needed: Vec<&str> = roles.iter().copied().map(Role::name).collect();
        let detail = format!("This needs a token with role {}.", needed.join(" or "));
        return Err(Problem::new(ProblemKind::RoleNotAllowed, detail));
    }
    let parameters = Parameters::read(&parts.uri, route.parameters)?;
    let path: Vec<String> = match RawPathParams::from_request_parts(&mut parts, &()).await {
        Ok(names) => names.iter().map(|(_, value)| value.to_owned()).collect(),
        Err(_) => return Err(Problem::new(ProblemKind::PathUnknown, "The path is not percent-encoded UTF-8.")),
    };
    let body = read_body(&parts.headers, body).await?;
    trace.asked_by(&parameters.given());
    // What is no One ID is left out; numbers are named once they are found to be a message's or a case's.
    trace.persons(path.iter().map(String::as_str));
    let call = Call { caller, parameters, path, headers: parts.headers, body, trace: trace.clone() };
    (route.handler)(Arc::clone(state), call).await
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("A body holds at most {} bytes.", limits::BODY_BYTES);
        Problem::new(ProblemKind::BodyTooLarge, detail)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > limits::BODY_BYTES) {
        return Err(too_large());
    }
    // Without an announced length (chunks) the only likely failure is the bound; a peer that left reads no answer.
    to_bytes(body, limits::BODY_BYTES).await.map_err(|_| too_large())
}

/// A JSON answer.
pub(crate) fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => Ok(with_type("application/json", bytes)),
        Err(_) => Err(Problem::new(ProblemKind::Internal, "What is stored could not be written as JSON.")),
    }
}

/// An answer of this media type.
pub(crate) fn with_type(media_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Now, in microseconds since the epoch.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

/// Splits what was found with a limit of one more than `limit`: the page, and the key to go on after if there is more.
pub(crate) fn cut<T>(mut found: Vec<T>, limit: usize, key: impl Fn(&T) -> i64) -> (Vec<T>, Option<String>) {
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| key(last).to_string());
    (found, next)
}

/// The problem that a failed read is.
pub(crate) fn from_store(error: StoreError) -> Problem {
    problem_of_class(error.class(), &error.to_string())
}

/// The problem that a failed write is.
pub(crate) fn from_writer(error: WriteError) -> Problem {
    problem_of_class(error.class(), &error.to_string())
}

/// The store's sentences hold no values, so they may leave.
fn problem_of_class(class: ErrorClass, sentence: &str) -> Problem {
    tracing::warn!(%sentence, "the store did not serve a request");
    let kind = match class {
        ErrorClass::Content => ProblemKind::Internal,
        ErrorClass::Transient | ErrorClass::Fatal => ProblemKind::StoreUnavailable,
    };
    Problem::new(kind, format!("{sentence}."))
}
