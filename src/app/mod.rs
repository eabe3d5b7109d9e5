//! Builds the daemon from its configuration: the order of start and stop, and nothing else.
//!
//! Start: store, mappings, every port, then the `ready` line; whatever is missing stops the start before the first message.
//! Stop: listeners take nothing new, what is in the writer is finished and answered, HTTP ends, the store closes. All of it shares one
//! deadline, set when the stop is asked for: what is not done by then is cut off, and no part has a time-out of its own.
//! Between the two each part is supervised: one that a defect ends is down, logged and started again.

mod audit;
pub mod intake;
pub mod mappings;
pub mod policies;
mod polling;
mod supervise;
mod upkeep;
mod waiting;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::audit::{Entry, Outcome};
use crate::config::{self, Arrival, Config};
use crate::diagnostic::Diagnostic;
use crate::disclosure::Policies;
use crate::hl7v2::{Limits, text};
use crate::http::{self, AppState, RetryError, SourceState};
use crate::identity::{Decided, ManualDecision, ManualRefusal};
use crate::outgoing::Consumer;
use crate::pipeline;
use crate::push::{self, PushError, Pusher};
use crate::source::budget::Budget;
use crate::source::directory::{self, Directory, DirectoryError};
use crate::source::fhir::FhirError;
use crate::source::mllp::{self, ListenError, Listener};
use crate::store::audit as trail;
use crate::store::messages::{self, Message, MessageState};
use crate::store::{Access, Store, StoreConfig, StoreError, Transaction, WriteError};
use crate::telemetry::{ConnectionEnd, ListenerNumbers, Metrics};
use crate::tls::{ServerFiles, ServerTls, TlsError};

use audit::Journal;
use intake::Intake;
use mappings::{LiveSource, Reloader, Set, named};
use polling::Polled;
use supervise::supervise;

pub use mappings::{pipeline_site, pipeline_sources};
pub use polling::{read_resource, standing_of};

/// How long stopping may take in all.
const STOP_TIME: Duration = Duration::from_secs(10);
/// What of it is the store's: finishing the last batch and emptying the write-ahead log takes a second on a slow disk.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// The store of a configuration.
pub fn store_config(config: &Config, access: Access) -> StoreConfig {
    StoreConfig { audit: config.audit.clone(), ..StoreConfig::new(&config.store, access) }
}

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing could be written to the audit trail.
    #[error("the start cannot be written to the audit trail, and nothing is done without it: {0}")]
    Audit(WriteError),
    /// Mapping files; one diagnostic for each problem.
    #[error("{} in the mappings", count(.0.len(), "problem"))]
    Mappings(Vec<Diagnostic>),
    /// Policy files; one diagnostic for each problem.
    #[error("{} in the policies", count(.0.len(), "problem"))]
    Policies(Vec<Diagnostic>),
    /// A source's port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A source's directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A FHIR source's certificate or key.
    #[error("{name}: {error}")]
    Server {
        /// Which source.
        name: String,
        /// What is wrong.
        error: FhirError,
    },
    /// A consumer's secret or certificate.
    #[error("{name}: {error}")]
    Push {
        /// Which consumer.
        name: String,
        /// What is wrong.
        error: PushError,
    },
    /// The TLS files of the HTTP listener.
    #[error("http: {0}")]
    Tls(#[from] TlsError),
    /// The HTTP port.
    #[error("http: cannot listen on {address} ({error}); choose a free port of this machine, or stop what uses it")]
    Http {
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The signal handlers.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// The daemon, every port taken, nothing served yet.
pub struct App {
    store: Store,
    retention: config::Retention,
    sources: Vec<BoundSource>,
    pushers: Vec<Arc<Pusher>>,
    sets: watch::Receiver<Set>,
    reloader: Reloader,
    http: TcpListener,
    http_address: SocketAddr,
    http_tls: Option<ServerTls>,
    state: Arc<AppState>,
    journal: Journal,
    stop: CancellationToken,
}

struct BoundSource {
    name: String,
    entrance: Entrance,
    address: String,
    state: watch::Sender<SourceState>,
}

enum Entrance {
    Mllp(Arc<Listener>, Intake),
    Directory(Arc<Directory>, Intake),
    Server(Box<Polled>),
}

impl App {
    /// Opens the store, reads the mappings and takes every port.
    ///
    /// # Errors
    /// The first part that cannot be had, by name.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let (policies_in_force, policies) =
            watch::channel(Arc::new(policies::load(config).set.map_err(StartError::Policies)?));
        let loaded = mappings::load(config);
        let (set, sets) = watch::channel::<Set>(loaded.set.map_err(StartError::Mappings)?.into());
        let store = Store::open(&store_config(config, Access::Daemon))?;
        let requests = http::RequestIds::new(now());
        let journal = Journal::new(&store, config, requests.run());
        let files = loaded.files.iter().cloned().chain(policies::files(config));
        let files: Vec<PathBuf> = files.filter(|file| file.exists()).collect();
        journal.start(config, &files).await.map_err(StartError::Audit)?;
        let metrics = Arc::new(Metrics::new());
        let stop = CancellationToken::new();
        let budget = Budget::new(config.sources.iter().map(|source| source.max_message).max().unwrap_or_default());
        let mut bound = Vec::new();
        for (place, settings) in config.sources.iter().enumerate() {
            let source = LiveSource::new(sets.clone(), place);
            bound.push(bind_source(settings, source, &store, &metrics, &budget).await?);
        }
        let reloader =
            Reloader::new(config, set, policies_in_force, loaded.files, journal.clone(), Arc::clone(&metrics));
        let http_tls = config.http.tls.as_ref().map(server_files).map(ServerTls::load).transpose()?;
        let address = config.http.listen;
        let http = TcpListener::bind(address).await.map_err(|error| StartError::Http { address, error })?;
        let http_address = http.local_addr().map_err(|error| StartError::Http { address, error })?;
        let pushers = pushers(config, &store, &policies)?;
        let state = Arc::new(AppState {
            store: store.clone(),
            consumers: outgoing_consumers(config),
            sources: bound.iter().map(http_source).collect(),
            metrics,
            refresh_metrics: listener_numbers(&bound, budget, &pushers),
            retry: retry(&store, &sets),
            decide: decide(&store, config),
            say_consent: say_consent(&store, config),
            policies,
            explain: explain(config),
            find_matches: find_matches(config),
            raw_text: raw_text(&sets),
            stopping: stop.child_token(),
            probe: http::StoreProbe::default(),
            pushes: shown_pushes(&pushers),
            streams: http::Streams::default(),
            guard: Arc::new(http::Guard::new(config.http.guard.clone())),
            requests,
        });
        let retention = config.retention;
        Ok(Self {
            store,
            retention,
            sources: bound,
            pushers,
            sets,
            reloader,
            http,
            http_address,
            http_tls,
            state,
            journal,
            stop,
        })
    }

    /// Cancel it to stop the daemon.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Notify it to have the mappings read again now.
    pub fn reload(&self) -> Arc<Notify> {
        self.reloader.asked()
    }

    /// Where HTTP listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// The sources with where each takes messages, in the order of the configuration.
    pub fn source_addresses(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sources.iter().map(|bound| (bound.name.as_str(), bound.address.as_str()))
    }

    /// The store, for a command that lives in the same process.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The one line that says that every listener accepts: `ready http=… his=… store=… sources=1`.
    pub fn ready_line(&self) -> String {
        let mut line = format!("ready http={}", self.http_address);
        for (name, address) in self.source_addresses() {
            line.push_str(&format!(" {name}={address}"));
        }
        line.push_str(&format!(" store={} sources={}", self.store.path().display(), self.sources.len()));
        line
    }

    /// Serves until [`App::stop_token`] is cancelled or the store fails for good; then stops in order.
    ///
    /// # Errors
    /// The sentence that names why the store failed.
    pub async fn serve(self) -> Result<(), WriteError> {
        let Self { store, retention, sources, pushers, sets, reloader, http, http_tls, state, journal, stop, .. } =
            self;
        let metrics = Arc::clone(&state.metrics);
        let mut parts = Parts::default();
        let mut certificates: Vec<(&str, &ServerTls)> = Vec::new();
        certificates.extend(http_tls.iter().map(|tls| ("http", tls)));
        certificates.extend(sources.iter().filter_map(|bound| match &bound.entrance {
            Entrance::Mllp(listener, _) => listener.tls().map(|tls| (bound.name.as_str(), tls)),
            Entrance::Directory(..) | Entrance::Server(_) => None,
        }));
        for (name, tls) in certificates {
            let (journal, renewals, stop) = (journal.clone(), tls.renewals(), stop.clone());
            let certificate = tls.certificate().to_owned();
            let note = async move { journal.note_renewals(renewals, certificate, stop).await };
            parts.spawn(format!("{name}, certificates"), note);
        }
        parts.spawn("audit checkpoints".to_owned(), audit::keep_checkpoints(store.clone(), stop.clone()));
        for bound in sources {
            if let Entrance::Directory(directory, _) = &bound.entrance {
                let (source, directory) = (bound.name.clone(), Arc::clone(directory));
                let keep =
                    upkeep::keep_files(store.clone(), source.clone(), directory, retention.messages, stop.clone());
                parts.spawn(format!("{source}, old files"), keep);
            }
            parts.spawn(bound.name.clone(), serve_source(bound, stop.clone()));
        }
        for pusher in pushers {
            let (part, stop) = (format!("push to {}", pusher.consumer()), stop.clone());
            parts.spawn(part.clone(), async move {
                let serve = || Arc::clone(&pusher).serve(stop.clone());
                supervise(&part, &stop, |_| (), serve).await;
            });
        }
        let served = state.consumers.iter().map(|consumer| consumer.name.clone()).collect();
        parts.spawn("retention".to_owned(), upkeep::keep(store.clone(), retention, served, stop.clone()));
        parts.spawn("http".to_owned(), serve_http(Arc::new(http), http_tls.map(Arc::new), state, stop.clone()));
        parts.spawn("mappings".to_owned(), mappings::keep(reloader, stop.clone()));
        parts.spawn("waiting messages".to_owned(), waiting::keep(store.clone(), sets, metrics, stop.clone()));

        let mut failure = store.failure();
        let failed = tokio::select! {
            () = stop.cancelled() => None,
            failed = failure.wait_for(Option::is_some) => failed.ok().and_then(|reason| reason.clone()),
        };
        stop.cancel();
        let deadline = Instant::now() + STOP_TIME;
        tracing::info!("stopping, within {} s", STOP_TIME.as_secs());
        parts.end(deadline - CLOSE_TIME).await;
        // Not beyond the deadline: whoever stops the machine does not wait.
        let _ = timeout_at(deadline, journal.stop()).await;
        let closed = tokio::task::spawn_blocking(move || store.close());
        if !matches!(timeout_at(deadline, closed).await, Ok(Ok(()))) {
            tracing::error!("the store did not close in order; it recovers at the next start");
        }
        match failed {
            Some(reason) => Err(WriteError::Stopped { reason }),
            None => Ok(()),
        }
    }
}

/// The daemon's parts while they run, each under its name.
#[derive(Default)]
struct Parts {
    tasks: JoinSet<String>,
    names: BTreeSet<String>,
}

impl Parts {
    fn spawn(&mut self, name: String, part: impl Future<Output = ()> + Send + 'static) {
        self.names.insert(name.clone());
        self.tasks.spawn(async move {
            part.await;
            name
        });
    }

    /// Waits until all have ended, and cuts off what has not by `deadline`: connections and requests go with their part.
    async fn end(mut self, deadline: Instant) {
        while let Ok(Some(ended)) = timeout_at(deadline, self.tasks.join_next()).await {
            self.names.retain(|name| ended.as_ref().is_ok_and(|ended| name != ended));
        }
        if !self.names.is_empty() {
            let parts: Vec<&str> = self.names.iter().map(String::as_str).collect();
            tracing::warn!(parts = parts.join(", "), "not done in time to stop: cut off");
        }
        self.tasks.shutdown().await;
    }
}

/// The bounds of a source's messages.
pub fn message_limits(source: &config::Source) -> Limits {
    Limits { message_bytes: source.max_message, ..Limits::default() }
}

async fn bind_source(
    settings: &config::Source,
    source: LiveSource,
    store: &Store,
    metrics: &Metrics,
    budget: &Budget,
) -> Result<BoundSource, StartError> {
    let counters = metrics.source(&settings.name);
    let intake = || {
        let (store, source) = (store.clone(), source.clone());
        Intake::new(store, source, settings.acknowledge, settings.on_error, counters.clone())
    };
    let (entrance, address) = match &settings.arrival {
        Arrival::Mllp(mllp) => {
            let listener = Listener::bind(listener_settings(settings, mllp, budget.clone())).await?;
            let address = listener.address().to_string();
            (Entrance::Mllp(Arc::new(listener), intake()), address)
        }
        Arrival::Files(files) => {
            let limits = directory::Limits {
                message: settings.max_message,
                interval: files.interval,
                ..directory::Limits::default()
            };
            let directory = Directory::open(directory::Settings {
                source: settings.name.clone(),
                directory: files.directory.clone(),
                extensions: FILE_EXTENSIONS.map(str::to_owned).to_vec(),
                limits,
                budget: budget.clone(),
            })?;
            (Entrance::Directory(Arc::new(directory), intake()), files.directory.display().to_string())
        }
        Arrival::Fhir(fhir) => {
            let polled = Polled::new(fhir, source.clone(), store, counters.clone());
            let polled = polled.map_err(|error| StartError::Server { name: settings.name.clone(), error })?;
            (Entrance::Server(Box::new(polled)), fhir.base_url.to_string())
        }
    };
    // Its port is taken: connections wait in the system's queue until it is served.
    let (state, _) = watch::channel(SourceState::Up);
    Ok(BoundSource { name: settings.name.clone(), entrance, address, state })
}

/// Which files of a directory hold messages.
pub const FILE_EXTENSIONS: [&str; 3] = ["hl7", "txt", "dat"];

/// Which files of a directory hold FHIR resources.
pub const RESOURCE_EXTENSIONS: [&str; 2] = ["json", "ndjson"];

fn listener_settings(settings: &config::Source, mllp: &config::Mllp, budget: Budget) -> mllp::Settings {
    let mut limits = mllp::Limits { connections: mllp.max_connections, idle: mllp.idle_timeout, ..Default::default() };
    limits.frame.message = settings.max_message;
    mllp::Settings {
        source: settings.name.clone(),
        listen: mllp.listen,
        allow: mllp.allow.clone(),
        tls: mllp.tls.as_ref().map(server_files),
        limits,
        budget,
    }
}

/// The files of a TLS section, for [`ServerTls`].
pub fn server_files(tls: &config::Tls) -> ServerFiles {
    ServerFiles {
        certificate: tls.certificate.clone(),
        key_file: tls.key_file.clone(),
        client_ca: tls.client_ca.clone(),
    }
}

async fn serve_source(bound: BoundSource, stop: CancellationToken) {
    let BoundSource { name, entrance, state, .. } = bound;
    let report = {
        let (name, stop, state) = (name.clone(), stop.clone(), Arc::new(state));
        move |found: Result<(), String>| {
            let now = found.map_or_else(SourceState::Down, |()| SourceState::Up);
            let before = state.send_replace(now.clone());
            match now {
                _ if now == before || stop.is_cancelled() => {}
                SourceState::Up => tracing::info!(source = name, "up again"),
                SourceState::Down(reason) => tracing::error!(source = name, reason, "down"),
            }
        }
    };
    match entrance {
        Entrance::Mllp(listener, intake) => {
            let handler = move |received, _peer, turn| {
                let intake = intake.clone();
                async move { intake.frame(received, turn).await }
            };
            let asked = stop.clone();
            let serve = move || Arc::clone(&listener).serve(handler.clone(), asked.clone());
            supervise(&name, &stop, report, serve).await;
        }
        Entrance::Directory(directory, intake) => {
            let handler = move |piece, _origin, turn| {
                let intake = intake.clone();
                async move { intake.file(piece, turn).await }
            };
            let serve = || {
                let (directory, handler) = (Arc::clone(&directory), handler.clone());
                let (looked, stop) = (report.clone(), stop.clone());
                async move { directory.serve(handler, looked, stop).await }
            };
            supervise(&name, &stop, report.clone(), serve).await;
        }
        Entrance::Server(polled) => polled.serve(report, stop).await,
    }
}

async fn serve_http(
    listener: Arc<TcpListener>,
    tls: Option<Arc<ServerTls>>,
    state: Arc<AppState>,
    stop: CancellationToken,
) {
    let serve = move || http::serve(Arc::clone(&listener), tls.clone(), Arc::clone(&state));
    supervise("http", &stop, |_| (), serve).await;
}

/// The consumers of a configuration, as what leaves is decided by.
pub fn outgoing_consumers(config: &Config) -> Vec<Consumer> {
    config.consumers.iter().map(outgoing_consumer).collect()
}

fn outgoing_consumer(consumer: &config::Consumer) -> Consumer {
    Consumer {
        name: consumer.name.clone(),
        events: consumer.events.clone(),
        policy: consumer.policy.clone(),
        purpose: consumer.purpose,
        is_pushed: consumer.webhook.is_some(),
    }
}

/// How a consumer is pushed to; `None`: it is not.
pub fn push_settings(config: &Config, consumer: &config::Consumer) -> Option<push::Settings> {
    let webhook = consumer.webhook.as_ref()?;
    Some(push::Settings {
        consumer: outgoing_consumer(consumer),
        url: webhook.url.clone(),
        secret_file: webhook.secret_file.clone(),
        schedule: webhook.schedule.clone(),
        timeout: webhook.timeout,
        tls: webhook.tls.clone(),
        allowed: config.allowed.clone(),
        limits: push::Limits::default(),
    })
}

fn pushers(
    config: &Config,
    store: &Store,
    policies: &watch::Receiver<Arc<Policies>>,
) -> Result<Vec<Arc<Pusher>>, StartError> {
    let settings = config.consumers.iter().filter_map(|consumer| push_settings(config, consumer));
    let pushers = settings.map(|settings| {
        let name = settings.consumer.name.clone();
        Pusher::new(store, settings, policies.clone()).map(Arc::new).map_err(|error| StartError::Push { name, error })
    });
    pushers.collect()
}

/// How HTTP shows pushing.
fn shown_pushes(pushers: &[Arc<Pusher>]) -> http::Pushes {
    let shown: Vec<_> = pushers.iter().map(|pusher| (pusher.consumer().to_owned(), pusher.status())).collect();
    Arc::new(move |name| shown.iter().find(|(known, _)| known == name).map(|(_, status)| status.document()))
}

fn http_source(bound: &BoundSource) -> http::Source {
    http::Source {
        name: bound.name.clone(),
        kind: match bound.entrance {
            Entrance::Mllp(..) => "mllp",
            Entrance::Directory(..) => "files",
            Entrance::Server(_) => "fhir",
        },
        polling: match &bound.entrance {
            Entrance::Server(polled) => Some(polled.for_http()),
            Entrance::Mllp(..) | Entrance::Directory(..) => None,
        },
        place: bound.address.clone(),
        state: bound.state.subscribe(),
    }
}

/// Brings what the sources count themselves into the metrics.
fn listener_numbers(bound: &[BoundSource], budget: Budget, pushers: &[Arc<Pusher>]) -> http::RefreshMetrics {
    let pushed: Vec<_> = pushers.iter().map(|pusher| (pusher.consumer().to_owned(), pusher.status())).collect();
    let mut listeners: Vec<(String, Arc<mllp::Statistics>)> = Vec::new();
    let mut polled: Vec<(String, polling::Numbers)> = Vec::new();
    for BoundSource { name, entrance, .. } in bound {
        match entrance {
            Entrance::Mllp(listener, _) => listeners.push((name.clone(), listener.statistics())),
            Entrance::Server(server) => polled.push((name.clone(), server.numbers())),
            Entrance::Directory(..) => {}
        }
    }
    Arc::new(move |metrics| {
        metrics.set_held(budget.taken());
        for (consumer, status) in &pushed {
            let numbers = status.numbers();
            metrics.set_pushed(consumer, numbers.deliveries, numbers.retries);
        }
        polled.iter().for_each(|(source, numbers)| metrics.set_polling(source, &numbers()));
        for (source, counted) in &listeners {
            let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            metrics.source(source).set_listener(&ListenerNumbers {
                accepted: number(&counted.accepted),
                open: number(&counted.open),
                accept_errors: number(&counted.accept_errors),
                ended: vec![
                    (ConnectionEnd::RefusedAddress, number(&counted.refused_address)),
                    (ConnectionEnd::RefusedFull, number(&counted.refused_full)),
                    (ConnectionEnd::FailedTls, number(&counted.tls_failures)),
                    (ConnectionEnd::Yielded, number(&counted.yielded)),
                    (ConnectionEnd::Idle, number(&counted.idle_timeouts)),
                    (ConnectionEnd::SlowFrame, number(&counted.frame_timeouts)),
                    (ConnectionEnd::Undelivered, number(&counted.undelivered)),
                    (ConnectionEnd::Panicked, number(&counted.panics)),
                ],
                frames: number(&counted.frames),
                oversized_frames: number(&counted.too_large),
                cut_frames: number(&counted.cut),
                junk_bytes: number(&counted.junk_bytes),
            });
        }
    })
}

/// How HTTP has a failed message tried again.
fn retry(store: &Store, sets: &watch::Receiver<Set>) -> http::Retry {
    let (store, sets) = (store.clone(), sets.clone());
    Arc::new(move |id, entry| {
        let (store, set) = (store.clone(), Arc::clone(&sets.borrow()));
        Box::pin(async move {
            let found = store.read_async(move |reader| messages::get(reader, id)).await;
            let message = found.map_err(|error| RetryError::Unavailable(error.to_string()))?;
            let message = message.ok_or(RetryError::NotFailed)?;
            let source = named(&set, &message.source).ok_or(RetryError::NoSource)?;
            let (reading, unavailable) =
                (store.clone(), |error: StoreError| RetryError::Unavailable(error.to_string()));
            let prepared = tokio::task::spawn_blocking(move || pipeline::prepare_again(&reading, &source, id));
            let again = prepared.await.map_err(|error| RetryError::Unavailable(error.to_string()))?;
            let again = again.map_err(unavailable)?.ok_or(RetryError::NotFailed)?;
            let done = store.submit(move |transaction| {
                // Looked at inside the writer: another retry may have been faster.
                let is_failed = |message: &Message| message.outcome.state == MessageState::Failed;
                let done = pipeline::commit_again(transaction, again, is_failed, now())?;
                if done.is_some() {
                    trail::append(transaction, &entry)?;
                }
                Ok(done)
            });
            match done.await.map_err(|error| RetryError::Unavailable(error.to_string()))? {
                Some(_) => Ok(()),
                None => Err(RetryError::NotFailed),
            }
        })
    })
}

/// How HTTP has a decision about identities carried out.
fn decide(store: &Store, config: &Config) -> http::Decide {
    let (store, site, zone) = (store.clone(), pipeline_site(config), zone_of_decisions(config));
    Arc::new(move |decision, entry| {
        let (store, site, zone) = (store.clone(), Arc::clone(&site), zone.clone());
        Box::pin(async move {
            let decide =
                move |transaction: &Transaction<'_>| decide_audited(transaction, &site, &zone, &decision, entry);
            store.submit(decide).await
        })
    })
}

/// How HTTP has a consent taken down.
fn say_consent(store: &Store, config: &Config) -> http::SayConsent {
    let (store, site, zone) = (store.clone(), pipeline_site(config), zone_of_decisions(config));
    Arc::new(move |one_id, word, mut entry: Entry| {
        let (store, site, zone) = (store.clone(), Arc::clone(&site), zone.clone());
        Box::pin(async move {
            let say = move |transaction: &Transaction<'_>| {
                let said = pipeline::consent_by_hand(transaction, &site, &zone, &one_id, &word, now())?;
                if let Ok(outcome) = &said {
                    entry.persons([outcome.one_id.as_str()]);
                    trail::append(transaction, &entry)?;
                }
                Ok(said)
            };
            store.submit(say).await
        })
    })
}

/// Carries out a decision and writes it down, done or refused, in the same transaction.
///
/// # Errors
/// See [`StoreError`].
pub fn decide_audited(
    transaction: &Transaction<'_>,
    site: &pipeline::Site,
    zone: &TimeZone,
    decision: &ManualDecision,
    mut entry: Entry,
) -> Result<Result<Decided, ManualRefusal>, StoreError> {
    let decided = pipeline::decide_by_hand(transaction, site, zone, decision, now())?;
    match &decided {
        Ok(decided) => {
            let others = decided.other.iter().chain(&decided.retired).chain(&decided.revived);
            entry.persons([&decided.one_id].into_iter().chain(others).map(String::as_str));
            decided.reviews.iter().for_each(|review| entry.object("review", review));
        }
        Err(_) => entry.outcome = Outcome::Refused,
    }
    trail::append(transaction, &entry)?;
    Ok(decided)
}

/// How HTTP has a link explained.
fn explain(config: &Config) -> http::Explain {
    let site = pipeline_site(config);
    Arc::new(move |reader, one_id, record| {
        let explained = pipeline::explain(reader, &site, one_id, record)?;
        Ok(explained.map_err(|unexplained| unexplained.to_string()))
    })
}

/// How HTTP looks for whom a record may be.
fn find_matches(config: &Config) -> http::FindMatches {
    let site = pipeline_site(config);
    Arc::new(move |reader, record, limit| {
        let found = pipeline::matches(reader, &site, record, limit)?;
        Ok(found.map(|found| found.into_iter().map(|ranked| ranked.document(&site.model.version)).collect()))
    })
}

/// The zone in which events tell when somebody decided: that of the first source.
pub fn zone_of_decisions(config: &Config) -> TimeZone {
    config.sources.first().map_or(TimeZone::UTC, |source| source.time_zone.clone())
}

/// How HTTP shows a stored message as text.
fn raw_text(sets: &watch::Receiver<Set>) -> http::RawText {
    let sets = sets.clone();
    Arc::new(move |name, bytes| {
        let source = named(&sets.borrow(), name)?;
        text::decode(bytes, &source.charset, &source.limits).ok().map(|decoded| decoded.text)
    })
}

/// Waits for SIGTERM or SIGINT and then cancels `stop`; the next one ends the process at once.
///
/// # Errors
/// The handlers cannot be installed.
pub fn stop_on_signals(stop: CancellationToken) -> Result<(), StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {}, () = stop.cancelled() => {} }
        stop.cancel();
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::warn!("ended at once by a second signal; the store recovers at the next start");
        std::process::exit(1);
    });
    Ok(())
}

/// Has the mappings read again at each SIGHUP.
///
/// # Errors
/// The handler cannot be installed.
pub fn reload_on_hangup(reload: Arc<Notify>) -> Result<(), StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload.notify_one();
        }
    });
    Ok(())
}

/// `1 problem`, `2 problems`.
pub fn count(number: impl std::fmt::Display, noun: &str) -> String {
    let number = number.to_string();
    format!("{number} {noun}{}", if number == "1" { "" } else { "s" })
}

/// Microseconds since the epoch.
pub fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
