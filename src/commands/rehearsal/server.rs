//! The stage as a consumer sees it: Heyi's interface for consumers on a listener of its own.

mod stream;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::duty::{Duty, Finding};
use super::held::Held;
use super::stage::{Page, Reply, Stage};
use crate::feed::snapshot::Place;
use crate::feed::{Cursor, Position};
use crate::http::{LAST_EVENT_ID, Problem, ProblemKind};

/// The longest that a question waits here: a rehearsal shall not take an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The media type of a page with one event a line.
const NDJSON: &str = "application/x-ndjson";

/// The stage, shared between the server and who directs.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

struct Inner {
    stage: Mutex<Stage>,
    /// Counts what happened: whoever waits for something looks again.
    moved: watch::Sender<u64>,
    token: String,
    held: Option<Held>,
    /// Whether each commit is to be compared with what the consumer holds at that moment.
    checks_commits: Mutex<bool>,
    /// Commits that were compared.
    commits_checked: Mutex<u64>,
}

impl Shared {
    pub(super) fn new(token: String, held: Option<Held>) -> Self {
        Self(Arc::new(Inner {
            stage: Mutex::new(Stage::new()),
            moved: watch::channel(0).0,
            token,
            held,
            checks_commits: Mutex::new(false),
            commits_checked: Mutex::new(0),
        }))
    }

    /// The stage, and afterwards everybody looks again.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Stage) -> T) -> T {
        let result = work(&mut lock(&self.0.stage));
        self.0.moved.send_modify(|count| *count += 1);
        result
    }

    /// A look that is announced only if it brought the consumer to the end of what is told: several who look do not wake each other.
    fn look<T>(&self, work: impl FnOnce(&mut Stage) -> T) -> T {
        let mut stage = lock(&self.0.stage);
        let was_through = stage.is_through();
        let result = work(&mut stage);
        let is_through = stage.is_through();
        drop(stage);
        if is_through != was_through {
            self.0.moved.send_modify(|count| *count += 1);
        }
        result
    }

    /// Waits until the stage is as wanted, at most so long; whether it came to that.
    pub(super) async fn until(&self, patience: Duration, wanted: impl Fn(&Stage) -> bool) -> bool {
        let mut moved = self.0.moved.subscribe();
        let waiting = async {
            loop {
                moved.mark_unchanged();
                if wanted(&lock(&self.0.stage)) {
                    return;
                }
                if moved.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(patience, waiting).await.is_ok()
    }

    /// What the consumer says that it holds.
    pub(super) fn held(&self) -> Option<&Held> {
        self.0.held.as_ref()
    }

    /// Has each commit compared, or no longer; gives how many were.
    pub(super) fn check_commits(&self, on: bool) -> u64 {
        *lock(&self.0.checks_commits) = on;
        *lock(&self.0.commits_checked)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers on `listener` until `stop`.
pub(super) fn start(listener: TcpListener, shared: Shared, stop: CancellationToken) {
    let routes = Router::new().fallback(answer).with_state(shared);
    tokio::spawn(axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).into_future());
}

/// A request, taken apart.
struct Asked {
    parameters: BTreeMap<String, String>,
    lines: bool,
}

impl Asked {
    fn number(&self, name: &str, default: usize) -> usize {
        self.parameters.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let wanted = format!("Bearer {}", shared.0.token);
    if headers.get(header::AUTHORIZATION).is_none_or(|given| given.as_bytes() != wanted.as_bytes()) {
        return problem(
            ProblemKind::TokenNotValid,
            "Give the token that the rehearsal printed, as `Authorization: Bearer …`.",
        );
    }
    let last_id = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let lines =
        headers.get(header::ACCEPT).is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains(NDJSON)));
    let asked = Asked { parameters, lines };
    shared.with(|stage| stage.seen.requests += 1);
    let answer = match (&method, uri.path()) {
        (&Method::GET, "/v1/feed") => events(&shared, &asked).await,
        (&Method::GET, "/v1/feed/stream") => {
            let after = last_id.or(asked.parameters.get("after").map(String::as_str));
            Some(stream::open(&shared, after).unwrap_or_else(|refusal| refusal))
        }
        (&Method::GET, "/v1/feed/cursor") => cursor(&shared),
        (&Method::PUT, "/v1/feed/cursor") => commit(&shared, &body).await,
        (&Method::GET, "/v1/feed/snapshot") => rows(&shared, &asked, true),
        (&Method::GET, "/v1/feed/reconcile") => rows(&shared, &asked, false),
        (&Method::GET, path) => person(&shared, path),
        _ => None,
    };
    answer.unwrap_or_else(|| {
        problem(
            ProblemKind::PathUnknown,
            "A rehearsal has /v1/feed with stream, cursor, snapshot and reconcile, and /v1/persons/{one_id}.",
        )
    })
}

async fn events(shared: &Shared, asked: &Asked) -> Option<Response> {
    let after = match asked.parameters.get("after").map(|after| after.parse::<Position>()) {
        Some(Err(error)) => return Some(problem(ProblemKind::CursorNotValid, &error.to_string())),
        Some(Ok(position)) => Some(position),
        None => None,
    };
    let (limit, wait) = (asked.number("limit", 100).clamp(1, 1000), asked.number("wait", 0));
    let wait = LONGEST_WAIT.min(Duration::from_secs(wait as u64));
    let deadline = tokio::time::Instant::now() + wait;
    let mut moved = shared.0.moved.subscribe();
    let mut is_first = true;
    loop {
        let reply = shared.with(|stage| stage.ask(after, limit, asked.lines, Instant::now(), is_first));
        // Our own look moved it. What came at that very moment is found at the end of the wait, a second later.
        moved.mark_unchanged();
        is_first = false;
        let page = match reply {
            Reply::Page(page) => return Some(written(&page, asked.lines, false)),
            Reply::Cut(page) => return Some(written(&page, asked.lines, true)),
            Reply::Busy(status, seconds) => return Some(busy(status, seconds)),
            Reply::Problem(kind, what) => return Some(problem(kind, &what)),
            Reply::Empty(page) => page,
        };
        if tokio::time::timeout_at(deadline, moved.changed()).await.is_err() {
            shared.with(|stage| stage.nothing_told(!wait.is_zero(), Instant::now()));
            return Some(written(&page, asked.lines, false));
        }
    }
}

fn cursor(shared: &Shared) -> Option<Response> {
    let (committed, head) = shared.with(|stage| (stage.seen.committed, stage.head()));
    let committed = committed.map_or("start".to_owned(), |committed| committed.to_string());
    Some(document(&json!({"cursor": committed, "head": head.to_string()})))
}

async fn commit(shared: &Shared, body: &[u8]) -> Option<Response> {
    let given: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(Ok(position)) = given["cursor"].as_str().map(str::parse::<Position>) else {
        return Some(problem(ProblemKind::BodyNotValid, "Expected JSON: {\"cursor\": CURSOR}."));
    };
    if let Position::At(cursor) = position
        && *lock(&shared.0.checks_commits)
    {
        look_at_commit(shared, cursor).await;
    }
    let (result, head) = shared.with(|stage| (stage.commit(position), stage.head()));
    Some(match result {
        Ok(cursor) => document(&json!({"cursor": cursor.to_string(), "head": head.to_string()})),
        Err(Reply::Problem(kind, what)) => problem(kind, &what),
        Err(_) => problem(ProblemKind::Internal, "The rehearsal has a defect."),
    })
}

/// Compares, before the commit is answered: if the consumer ended now, this is all that it would ever have.
async fn look_at_commit(shared: &Shared, cursor: Cursor) {
    let Some(held) = shared.held() else { return };
    let Ok(state) = held.read().await else { return };
    *lock(&shared.0.commits_checked) += 1;
    let nothing = std::collections::BTreeSet::new();
    shared.with(|stage| {
        let states = stage.states_from(cursor);
        let differences: Vec<_> = states.iter().map(|model| model.differences(&state, &nothing)).collect();
        if differences.iter().any(Vec::is_empty) {
            return;
        }
        if let Some(first) = differences.first().and_then(|found| found.first()) {
            let finding = Finding {
                sent: format!("its commit of {cursor}, not yet answered"),
                expected: format!("{} {}: it lies before that position", first.record, first.expected),
                found: first.found.clone(),
            };
            stage.seen.findings.push((Duty::Commit, finding));
        }
    });
}

fn rows(shared: &Shared, asked: &Asked, records: bool) -> Option<Response> {
    let place = match asked.parameters.get("after").map(|after| after.parse::<Place>()) {
        Some(Err(error)) => return Some(problem(ProblemKind::ParameterNotValid, &error.to_string())),
        Some(Ok(place)) => Some(place),
        None => None,
    };
    let after = place.map_or(0, |place| usize::try_from(place.row).unwrap_or(usize::MAX));
    let limit = asked.number("limit", 1000).max(1);
    let page = shared.with(|stage| stage.rows(place.map(|place| place.begun), after, limit, records));
    Some(match page {
        Ok(page) => document(&page),
        Err(Reply::Problem(kind, what)) => problem(kind, &what),
        Err(_) => problem(ProblemKind::Internal, "The rehearsal has a defect."),
    })
}

fn person(shared: &Shared, path: &str) -> Option<Response> {
    let mut pieces = path.strip_prefix("/v1/persons/")?.split('/');
    let (one_id, part) = (pieces.next()?, pieces.next());
    let person = shared.with(|stage| stage.state.person(one_id));
    let Some(person) = person else { return Some(problem(ProblemKind::RecordUnknown, "No such One ID.")) };
    let of = |table: &str| {
        let living = person["one_id"].as_str().unwrap_or_default();
        let records = shared.with(|stage| stage.state.records_of(living, table));
        Some(document(&json!({table: records, "next": null})))
    };
    match part {
        None => Some(document(&person)),
        Some("visits") => of("visits"),
        Some("lab-reports") => of("lab_reports"),
        Some(_) => None,
    }
}

fn document(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn problem(kind: ProblemKind, detail: &str) -> Response {
    Problem::new(kind, detail).into_response()
}

fn busy(status: u16, seconds: u64) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let body = json!({"type": "about:blank", "title": "Not now.", "status": status.as_u16(), "detail": "Ask again after Retry-After."});
    let headers =
        [(header::CONTENT_TYPE, "application/problem+json".to_owned()), (header::RETRY_AFTER, seconds.to_string())];
    (status, headers, body.to_string()).into_response()
}

/// A page as it was asked for; broken off in its middle if so wanted.
fn written(page: &Page, lines: bool, is_cut: bool) -> Response {
    let (media_type, text) = if lines { (NDJSON, page.lines()) } else { ("application/json", page.document()) };
    let headers = [(header::CONTENT_TYPE, media_type)];
    if !is_cut {
        return (headers, text).into_response();
    }
    let whole =
        if lines { text.lines().take(page.events.len() / 2).map(|line| line.len() + 1).sum::<usize>() } else { 0 };
    // Some of the next line is there as well, or half of the document.
    let cut = if lines { whole + 20 } else { text.len() / 2 };
    let bytes = Bytes::from(text);
    let body = BrokenOff { length: bytes.len() as u64, rest: Some(bytes.slice(..cut.min(bytes.len()))) };
    (headers, Body::new(body)).into_response()
}

/// A body that announces more than it gives: the connection ends in its middle.
struct BrokenOff {
    length: u64,
    rest: Option<Bytes>,
}

impl hyper::body::Body for BrokenOff {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(match self.rest.take() {
            Some(bytes) => Ok(Frame::data(bytes)),
            None => {
                context.waker().wake_by_ref();
                Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
            }
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
