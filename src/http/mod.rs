//! The HTTP side of the contract: the feed for consumers, persons and messages for people and tools, health for operators.
//!
//! Invariants
//! - One table, in `routes`, says which paths there are, who may call them and what they take; the router, the checks before a
//!   handler and the OpenAPI document are all made from it, so none of them can differ.
//! - Deny by default: what leaves to a consumer goes through `disclosure`; one whose policy is not in force gets nothing.
//! - What gives personal data or changes something is in the audit trail before its answer leaves (`audit`).
//! - Nothing here changes a record; the only writes are the audit trail, a consumer's cursor and what is done with its deliveries, a token's
//!   last use, that a failed message is dismissed, and, through the pipeline, a retry and what somebody decides of identities or says of
//!   consent.
//! - Logs and metrics name a request by its path template, never by its path or query: those hold patient data.
//! - Every request, body, page, wait and connection has a bound ([`limits`]).
//!
//! Not here yet, and therefore not routed: FHIR.

mod answers;
mod asyncapi;
mod audit;
mod call;
mod consents;
mod consumers;
mod feed;
mod guard;
pub mod limits;
mod messages;
mod openapi;
mod operations;
mod parameter;
mod persons;
mod problem;
mod reviews;
mod routes;
mod schemas;
mod server;
mod snapshot;
mod stream;
mod tokens;
mod trail;

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::audit::Entry;
use crate::disclosure::Policies;
use crate::identity::{Decided, ManualDecision, ManualRefusal};
use crate::outgoing::Consumer;
use crate::policy::{ConsentOutcome, ConsentRefusal, ConsentWord};
use crate::record::{Fields, RecordNumber};
use crate::store::{Reader, Store, StoreError, WriteError};
use crate::telemetry::Metrics;

pub use crate::policy::{FULL_POLICY, Purpose};
pub use audit::RequestIds;
pub use call::router;
pub use feed::lost;
pub use guard::{Guard, GuardSettings};
pub use messages::add_raw;
pub use openapi::document;
pub use problem::{PROBLEMS, Problem, ProblemKind};
pub use server::serve;
pub use stream::{EVENT_STREAM, LAST_EVENT_ID, Pieces, Streams, server_sent_event};
pub use tokens::{PREFIX, RandomError, Role, RoleError, Secret, digest};

/// What the handlers work with, put together by the application.
pub struct AppState {
    /// The store.
    pub store: Store,
    /// The configured consumers. Empty: every consumer token reads everything.
    pub consumers: Vec<Consumer>,
    /// The field policies in force.
    pub policies: watch::Receiver<Arc<Policies>>,
    /// The configured sources.
    pub sources: Vec<Source>,
    /// The daemon's numbers.
    pub metrics: Arc<Metrics>,
    /// Brings into `metrics` what others count themselves (the listeners); called before each look at them.
    pub refresh_metrics: RefreshMetrics,
    /// Runs a failed message through the pipeline again.
    pub retry: Retry,
    /// Carries out what somebody decides of identities.
    pub decide: Decide,
    /// Takes down what somebody says of consent.
    pub say_consent: SayConsent,
    /// Says why a record is a person's or is not.
    pub explain: Explain,
    /// Looks for the persons whom a patient record may be.
    pub find_matches: FindMatches,
    /// Decodes a message's bytes as its source would.
    pub raw_text: RawText,
    /// Cancelled when the daemon stops: long polls answer at once.
    pub stopping: CancellationToken,
    /// Whether the store took a job lately.
    pub probe: StoreProbe,
    /// How it goes with a consumer that events are pushed to, as JSON; by its name.
    pub pushes: Pushes,
    /// The streams that are open.
    pub streams: Streams,
    /// Who is let in, and how often.
    pub guard: Arc<Guard>,
    /// Names the requests in the audit trail.
    pub requests: RequestIds,
}

/// The last look at whether the store takes jobs. Anybody may ask `/readyz`, so the look is shared: however many ask, the queue of
/// the writer holds one probe at most.
#[derive(Debug, Default)]
pub struct StoreProbe(tokio::sync::Mutex<Option<(tokio::time::Instant, bool)>>);

/// A source, as configured, and how it is.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// `mllp`, `files` or `fhir`.
    pub kind: &'static str,
    /// Where it listens or reads.
    pub place: String,
    /// Whether it takes messages.
    pub state: watch::Receiver<SourceState>,
    /// Where it is polled.
    pub polling: Option<Polling>,
}

/// A source that is polled.
#[derive(Clone)]
pub struct Polling {
    /// How it stands with its server, as JSON; without personal data.
    pub status: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// Has it polled now.
    pub poke: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Polling {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Polling").finish_non_exhaustive()
    }
}

/// Whether a source takes messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceState {
    /// Yes.
    Up,
    /// No, for this reason; it holds no patient data.
    Down(String),
}

/// Runs one failed message, named by its number, through the pipeline again; the entry goes into the audit trail in the same transaction.
pub type Retry = Arc<dyn Fn(i64, Entry) -> Pin<Box<dyn Future<Output = Result<(), RetryError>> + Send>> + Send + Sync>;

/// Why a message was not tried again. That it fails once more is no error here: its state says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetryError {
    /// Someone else retried it, it was removed, or its bytes were not kept.
    #[error("the message is not in state `failed`, or its bytes were not kept")]
    NotFailed,
    /// No source of its name is configured (any more).
    #[error("the message's source is not configured any more")]
    NoSource,
    /// The store or the pipeline does not take it now.
    #[error("the message could not be tried now: {0}")]
    Unavailable(String),
}

/// Carries out one decision about identities; what refuses it is no failure of the store. What was done, or refused, goes into the audit
/// trail in the same transaction.
pub type Decide = Arc<
    dyn Fn(
            ManualDecision,
            Entry,
        ) -> Pin<Box<dyn Future<Output = Result<Result<Decided, ManualRefusal>, WriteError>> + Send>>
        + Send
        + Sync,
>;

/// Takes down what somebody says of a One ID's consent; what refuses it is no failure of the store.
pub type SayConsent = Arc<
    dyn Fn(
            String,
            ConsentWord,
            Entry,
        ) -> Pin<Box<dyn Future<Output = Result<Result<ConsentOutcome, ConsentRefusal>, WriteError>> + Send>>
        + Send
        + Sync,
>;

/// The explanation of a record beside the person of a One ID; else a sentence that says which of the two is not known.
pub type Explain = Arc<
    dyn Fn(&Reader<'_>, &str, &RecordNumber) -> Result<Result<serde_json::Value, String>, StoreError> + Send + Sync,
>;

/// Persons whom a patient record may be, best first, at most so many; `None`: the record says too little.
pub type FindMatches =
    Arc<dyn Fn(&Reader<'_>, &Fields, usize) -> Result<Option<Vec<serde_json::Value>>, StoreError> + Send + Sync>;

/// See [`AppState::pushes`].
pub type Pushes = Arc<dyn Fn(&str) -> Option<serde_json::Value> + Send + Sync>;

/// See [`AppState::refresh_metrics`].
pub type RefreshMetrics = Arc<dyn Fn(&Metrics) + Send + Sync>;

/// Text of a message's bytes, by the name of its source. `None`: they do not decode.
pub type RawText = Arc<dyn Fn(&str, &[u8]) -> Option<String> + Send + Sync>;

#[cfg(test)]
mod tests;
