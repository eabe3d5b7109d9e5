//! What is written down of each request: one place, before any answer leaves.
//!
//! Invariants
//! - A route that gives personal data or changes something names its action in the route table; an answer of it leaves only after its entry
//!   is committed and on disk. Where that cannot be, the answer is 503 and nothing else.
//! - A change carries its entry into its own transaction; what is refused or fails is written down here.
//! - An entry never holds what was asked for or sent, only One IDs, numbers and our own words.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::{HeaderValue, Response, header::HeaderName};

use super::AppState;
use super::call::{Answer, consumer_of, now};
use super::problem::{Problem, ProblemKind};
use super::tokens::{Caller, Role};
use crate::audit::{Action, Actor, Entry, Outcome};
use crate::outgoing::Page;
use crate::store::audit;

/// What a route's answers are in the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audited {
    /// Nothing: no personal data is told and nothing is changed but a consumer's own position.
    Nothing,
    /// Each request, with this action.
    Each(Action),
    /// Each page that holds something: an empty one tells nothing, and there are many.
    Pages(Action),
}

/// The name that the answers bear, so that a request can be found in the trail.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Numbers the requests of one run of the daemon.
#[derive(Debug)]
pub struct RequestIds {
    run: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Of a run that began at this time, in microseconds since the epoch.
    pub fn new(began: i64) -> Self {
        Self { run: format!("{began:x}"), next: AtomicU64::new(1) }
    }

    /// The run as a whole: in entries that belong to no request.
    pub fn run(&self) -> &str {
        &self.run
    }

    fn next(&self) -> String {
        format!("{}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The entry of one request while it is answered. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    entry: Arc<Mutex<Entry>>,
    is_written: Arc<AtomicBool>,
}

impl Trace {
    /// Of a request from `address` to a route.
    pub(crate) fn new(state: &AppState, audited: Audited, address: IpAddr) -> Self {
        let action = match audited {
            Audited::Nothing => Action::AccessRefuse,
            Audited::Each(action) | Audited::Pages(action) => action,
        };
        let request = state.requests.next();
        let entry = Entry::new(now(), Actor::Unknown, action, &address.to_canonical().to_string(), &request);
        Self { entry: Arc::new(Mutex::new(entry)), is_written: Arc::default() }
    }

    fn entry(&self) -> MutexGuard<'_, Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn caller(&self, caller: &Caller) {
        self.entry().actor = Actor::Token { name: caller.name.clone(), role: caller.role.name() };
    }

    /// Persons of whom something is told or changed.
    pub(crate) fn persons<'a>(&self, one_ids: impl IntoIterator<Item = &'a str>) {
        self.entry().persons(one_ids);
    }

    /// A thing of which something is told or changed.
    pub(crate) fn object(&self, kind: &str, id: impl std::fmt::Display) {
        self.entry().object(kind, id);
    }

    /// Which of its parameters the request gave: their names, never their values.
    pub(crate) fn asked_by(&self, names: &[&str]) {
        self.entry().detail = names.join(" ");
    }

    /// Adds to it.
    pub(crate) fn about(&self, add: impl FnOnce(&mut Entry)) {
        add(&mut self.entry());
    }

    /// The entry for the transaction that carries the change out. Say [`Trace::written`] once that is committed.
    pub(crate) fn for_change(&self) -> Entry {
        self.entry().clone().at(now())
    }

    /// The entry is in the trail.
    pub(crate) fn written(&self) {
        self.is_written.store(true, Ordering::Relaxed);
    }
}

/// Names the events of a page and whom they are about.
pub(crate) fn name_events(entry: &mut Entry, page: &Page) {
    let (Some(first), Some(last)) = (page.events.first(), page.events.last()) else { return };
    entry.object("events", format_args!("{}-{}..{}", page.next.epoch, first.sequence, last.sequence));
    entry.persons(page.events.iter().map(|event| event.subject.as_str()));
}

/// Names by which field policy a consumer is told; of others nothing.
pub(crate) fn name_policy(state: &AppState, entry: &mut Entry) {
    let Actor::Token { name, role } = &entry.actor else { return };
    if *role != Role::Consumer.name() {
        return;
    }
    if let Some(consumer) = consumer_of(state, name) {
        entry.object("policy", consumer.policy);
    }
}

/// Writes down what the request came to, and only then lets the answer go.
pub(crate) async fn conclude(state: &AppState, audited: Audited, trace: &Trace, answer: Answer) -> Answer {
    if trace.is_written.load(Ordering::Relaxed) {
        return answer.map(|response| named(response, trace));
    }
    let problem = answer.as_ref().err();
    let is_denied = problem.is_some_and(|problem| problem.kind.status() == 403);
    let is_told = match audited {
        Audited::Nothing => is_denied,
        Audited::Each(_) => true,
        Audited::Pages(_) => is_denied || trace.entry().has_objects(),
    };
    if !is_told {
        return answer;
    }
    let outcome = match problem.map(|problem| problem.kind.status()) {
        None => Outcome::Ok,
        Some(500..) => Outcome::Failed,
        Some(_) => Outcome::Refused,
    };
    let mut entry = trace.for_change().with(outcome);
    name_policy(state, &mut entry);
    problem.iter().for_each(|problem| entry.object("problem", problem.kind.slug()));
    match append(state, vec![entry]).await {
        Ok(()) => answer.map(|response| named(response, trace)),
        // What is wrong already says why; the other would hide it.
        Err(_) if outcome == Outcome::Failed => answer,
        Err(problem) => Err(problem),
    }
}

/// Writes down why a token, or none, was refused.
pub(crate) async fn refused(state: &AppState, trace: &Trace, told: Vec<(Action, String)>) -> Result<(), Problem> {
    if told.is_empty() {
        return Ok(());
    }
    let entries = told.into_iter().map(|(action, token)| {
        let mut entry = trace.for_change().with(Outcome::Refused);
        entry.action = action;
        if !token.is_empty() {
            entry.object("token_sha256", token);
        }
        entry
    });
    append(state, entries.collect()).await
}

/// Writes down that an address showed no certificate that is let in. Nobody is answered: where it cannot be written, the log says so.
pub(crate) async fn certificate_refused(state: &AppState, address: IpAddr) {
    if !state.guard.missing(address, Instant::now()) {
        return;
    }
    let mut entry = Trace::new(state, Audited::Each(Action::AuthenticationFail), address).for_change();
    entry.object("certificate", "client");
    // The failure is logged there.
    drop(append(state, vec![entry.with(Outcome::Refused)]).await);
}

pub(crate) async fn append(state: &AppState, entries: Vec<Entry>) -> Result<(), Problem> {
    let job = move |transaction: &crate::store::Transaction<'_>| {
        entries.iter().try_for_each(|entry| audit::append(transaction, entry).map(drop))
    };
    state.store.submit(job).await.map_err(|error| {
        tracing::error!(%error, "a request is refused because it cannot be audited");
        Problem::new(ProblemKind::NotAudited, format!("{error}. Nothing is answered that cannot be written down."))
    })
}

fn named(mut response: Response<axum::body::Body>, trace: &Trace) -> Response<axum::body::Body> {
    if let Ok(request) = HeaderValue::from_str(&trace.entry().request) {
        response.headers_mut().insert(REQUEST_ID, request);
    }
    response
}
