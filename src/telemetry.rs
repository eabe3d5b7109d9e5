//! What the daemon says of itself: logs to standard error, numbers at `/metrics`.
//!
//! Invariants
//! - Label values come from the configuration or from the closed lists below, so the number of series is bounded.
//! - No patient's value reaches a log line or a metric. A panic's text may quote a message (slicing does), so of a panic only
//!   the place is logged.
//! - The registry is a value, not a process-wide global: a test reads the numbers of its own daemon.
//!
//! This module imports no other module of the house; every layer above the pure one may use it.

mod polling;

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

use polling::PollingFamilies;
pub use polling::{PolledType, PollingNumbers};

/// Log filter when neither `--log` nor the environment names one.
pub const DEFAULT_LOG_FILTER: &str = "info";

/// Upper bounds of the latency buckets in seconds: one commit takes about 4 ms, a long poll up to 30 s.
const LATENCY_BUCKETS: [f64; 12] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 31.0];

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter given by `--log` is not in the filter language.
    #[error(
        "the log filter does not read: {0}; expected a level such as `info`, or `heyi=debug,warn` for levels by module"
    )]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A subscriber was installed before.
    #[error("logging was already started in this process")]
    AlreadyStarted,
}

/// Starts logging to standard error, one line an event, by a filter such as `info` or `heyi=debug,warn`. Panics are logged too,
/// without what they say.
///
/// # Errors
/// The filter does not read, or logging was already started.
pub fn start_logging(filter: &str) -> Result<(), TelemetryError> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse(filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init()
        .map_err(|_| TelemetryError::AlreadyStarted)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(place, thread, "a defect: a thread panicked; report the place");
    }));
    Ok(())
}

macro_rules! label {
    ($(#[$about:meta])* $name:ident { $($variant:ident $text:literal $meaning:literal)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $meaning] $variant,)* }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
                match self { $($name::$variant => $text,)* }.encode(encoder)
            }
        }
    };
}

label! {
    /// Why a connection to a source's listener was refused, or closed from this side.
    ConnectionEnd {
        RefusedAddress "refused_address" "The peer's address is not on the allow-list."
        RefusedFull "refused_full" "The listener's `max_connections` was reached."
        FailedTls "failed_tls" "The TLS handshake failed."
        Yielded "yielded" "It was silent and made room for a new one."
        Idle "idle" "It was silent for the idle time-out."
        SlowFrame "slow_frame" "A frame took longer than the in-frame time-out."
        Undelivered "undelivered" "The peer did not take its answer."
        Panicked "panicked" "The handler panicked; a defect."
    }
}

label! {
    /// What became of a message.
    MessageState {
        Processed "processed" "Its records and events are in the store."
        Failed "failed" "It is kept and could not be processed."
        Ignored "ignored" "It is kept; the mapping does not take it."
        Repeated "repeated" "Byte-identical to one before: it got that one's answer and no effect."
    }
}

label! {
    /// What became of an attempt to load changed mappings.
    MappingLoad {
        InForce "in_force" "The new set took the place of the old one."
        Refused "refused" "It has errors; the old set stays."
    }
}

label! {
    /// What became of a message that waited for a code, tried again by itself.
    WaitingRetry {
        TakenIn "taken_in" "It went through the mapping in force."
        Left "left" "It stays as it is: the mapping in force would not process it, or it is gone."
        Failed "failed" "An error or a defect; the log says more."
    }
}

label! {
    /// The code of an answer (HL7 table 0008).
    AnswerCode {
        ApplicationAccept "AA" "Processed."
        ApplicationError "AE" "Kept, could not be processed."
        ApplicationReject "AR" "Not taken."
        CommitAccept "CA" "Kept."
        CommitError "CE" "Could not be kept."
        CommitReject "CR" "Not taken."
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionEndLabel {
    source: String,
    reason: ConnectionEnd,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabel {
    source: String,
    state: MessageState,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabel {
    source: String,
    code: AnswerCode,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitingRetryLabel {
    result: WaitingRetry,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MappingLoadLabel {
    result: MappingLoad,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConsumerLabel {
    consumer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

/// Every number of one daemon. Shared as `Arc<Metrics>`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sources: SourceFamilies,
    answer_seconds: Family<SourceLabel, Histogram>,
    mapping_loads: Family<MappingLoadLabel, Counter>,
    mapping_refused: Gauge,
    policies_refused: Gauge,
    waiting_retries: Family<WaitingRetryLabel, Counter>,
    source_up: Family<SourceLabel, Gauge>,
    failed_waiting: Family<SourceLabel, Gauge>,
    held: Gauge,
    feed_head: Gauge,
    consumers: ConsumerFamilies,
    requests: Family<RequestLabel, Counter>,
    request_seconds: Family<RouteLabel, Histogram>,
    /// HTTP connections that are open.
    pub http_connections: Gauge,
    writer: WriterCounters,
    polling: PollingFamilies,
}

#[derive(Debug, Clone, Default)]
struct SourceFamilies {
    open: Family<SourceLabel, Gauge>,
    accepted: Family<SourceLabel, Counter>,
    ended: Family<ConnectionEndLabel, Counter>,
    accept_errors: Family<SourceLabel, Counter>,
    frames: Family<SourceLabel, Counter>,
    oversized_frames: Family<SourceLabel, Counter>,
    cut_frames: Family<SourceLabel, Counter>,
    junk_bytes: Family<SourceLabel, Counter>,
    messages: Family<MessageLabel, Counter>,
    answers: Family<AnswerLabel, Counter>,
}

#[derive(Debug, Default)]
struct ConsumerFamilies {
    lag: Family<ConsumerLabel, Gauge>,
    head: Family<ConsumerLabel, Gauge>,
    cursor: Family<ConsumerLabel, Gauge>,
    behind: Family<ConsumerLabel, Gauge>,
    oldest: Family<ConsumerLabel, Gauge>,
    parked: Family<ConsumerLabel, Gauge>,
    deliveries: Family<ConsumerLabel, Counter>,
    retries: Family<ConsumerLabel, Counter>,
}

/// Where a consumer stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsumerNumbers {
    /// Sequence number of the newest event.
    pub head: u64,
    /// That of its position.
    pub cursor: u64,
    /// Events after its position.
    pub lag: u64,
    /// Those, and the ones that are held for persons in trouble.
    pub behind: u64,
    /// Age of the oldest event that it was not given.
    pub oldest_seconds: u64,
    /// Persons whose events wait until somebody says so.
    pub parked: u64,
}

#[derive(Debug, Default)]
struct WriterCounters {
    batches: Counter,
    failed_batches: Counter,
    jobs: Counter,
    failed_jobs: Counter,
    panics: Counter,
    commit_microseconds: Counter,
    queue: Gauge,
}

/// What the store's writer thread has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterNumbers {
    /// Transactions committed.
    pub batches: u64,
    /// Transactions that could not be begun or committed.
    pub failed_batches: u64,
    /// Jobs committed.
    pub jobs: u64,
    /// Jobs that failed by themselves and were rolled back.
    pub failed_jobs: u64,
    /// Jobs that panicked and were rolled back.
    pub panics: u64,
    /// Microseconds spent in `COMMIT`, fsync included.
    pub commit_microseconds: u64,
    /// Jobs that wait now.
    pub queue: u64,
}

/// What a source's listener has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerNumbers {
    /// Connections let in.
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// Failures to accept.
    pub accept_errors: u64,
    /// Connections that were refused, or closed from this side, by reason.
    pub ended: Vec<(ConnectionEnd, u64)>,
    /// Frames read to their end.
    pub frames: u64,
    /// Of them, longer than `max_message`; each was drained and answered.
    pub oversized_frames: u64,
    /// Frames that never ended: the next one began, or the peer was gone.
    pub cut_frames: u64,
    /// Bytes outside frames, dropped.
    pub junk_bytes: u64,
}

/// The numbers of one source; a clone counts on the same numbers.
#[derive(Debug, Clone)]
pub struct SourceMetrics {
    source: String,
    families: SourceFamilies,
    answer_seconds: Histogram,
}

fn latency_histogram() -> Histogram {
    Histogram::new(LATENCY_BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry with every number at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("heyi"),
            sources: SourceFamilies::default(),
            answer_seconds: Family::new_with_constructor(latency_histogram),
            mapping_loads: Family::default(),
            mapping_refused: Gauge::default(),
            policies_refused: Gauge::default(),
            waiting_retries: Family::default(),
            source_up: Family::default(),
            failed_waiting: Family::default(),
            held: Gauge::default(),
            feed_head: Gauge::default(),
            consumers: ConsumerFamilies::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(latency_histogram),
            http_connections: Gauge::default(),
            writer: WriterCounters::default(),
            polling: PollingFamilies::default(),
        };
        metrics.register();
        metrics
    }

    /// The numbers of one configured source.
    pub fn source(&self, name: &str) -> SourceMetrics {
        let answer_seconds = self.answer_seconds.get_or_create_owned(&SourceLabel { source: name.to_owned() });
        SourceMetrics { source: name.to_owned(), families: self.sources.clone(), answer_seconds }
    }

    /// Takes over what a source's poller counts itself.
    pub fn set_polling(&self, source: &str, numbers: &PollingNumbers) {
        self.polling.set(source, numbers);
    }

    /// Counts one attempt to load changed mappings.
    pub fn mapping_load(&self, result: MappingLoad) {
        self.mapping_loads.get_or_create(&MappingLoadLabel { result }).inc();
    }

    /// Sets whether the mapping files as they are now cannot be used.
    pub fn set_mapping_refused(&self, refused: bool) {
        self.mapping_refused.set(i64::from(refused));
    }

    /// Sets whether the policy files as they are now cannot be used.
    pub fn set_policies_refused(&self, refused: bool) {
        self.policies_refused.set(i64::from(refused));
    }

    /// Counts messages that waited for a code and were tried again.
    pub fn waiting_retry(&self, result: WaitingRetry, messages: u64) {
        self.waiting_retries.get_or_create(&WaitingRetryLabel { result }).inc_by(messages);
    }

    /// Sets whether a source takes messages.
    pub fn set_source_up(&self, source: &str, is_up: bool) {
        self.source_up.get_or_create(&SourceLabel { source: source.to_owned() }).set(i64::from(is_up));
    }

    /// Sets how many bytes of messages all sources hold: reserved for large frames being read, and in work.
    pub fn set_held(&self, bytes: u64) {
        self.held.set(gauge_value(bytes));
    }

    /// Sets how many messages of a source wait as failed.
    pub fn set_failed_waiting(&self, source: &str, messages: u64) {
        self.failed_waiting.get_or_create(&SourceLabel { source: source.to_owned() }).set(gauge_value(messages));
    }

    /// Sets the sequence number of the newest event.
    pub fn set_feed_head(&self, sequence: u64) {
        self.feed_head.set(gauge_value(sequence));
    }

    /// Sets where a consumer stands.
    pub fn set_consumer(&self, consumer: &str, numbers: &ConsumerNumbers) {
        let label = ConsumerLabel { consumer: consumer.to_owned() };
        let families = &self.consumers;
        for (family, value) in [
            (&families.head, numbers.head),
            (&families.cursor, numbers.cursor),
            (&families.lag, numbers.lag),
            (&families.behind, numbers.behind),
            (&families.oldest, numbers.oldest_seconds),
            (&families.parked, numbers.parked),
        ] {
            family.get_or_create(&label).set(gauge_value(value));
        }
    }

    /// Counts events that a consumer fetched.
    pub fn consumer_delivered(&self, consumer: &str, events: u64) {
        self.consumers.deliveries.get_or_create(&ConsumerLabel { consumer: consumer.to_owned() }).inc_by(events);
    }

    /// Takes over what was pushed to a consumer.
    pub fn set_pushed(&self, consumer: &str, deliveries: u64, retries: u64) {
        let label = ConsumerLabel { consumer: consumer.to_owned() };
        raise(&self.consumers.deliveries.get_or_create(&label), deliveries);
        raise(&self.consumers.retries.get_or_create(&label), retries);
    }

    /// Takes over what the store's writer counts itself.
    pub fn set_writer(&self, numbers: WriterNumbers) {
        raise(&self.writer.batches, numbers.batches);
        raise(&self.writer.failed_batches, numbers.failed_batches);
        raise(&self.writer.jobs, numbers.jobs);
        raise(&self.writer.failed_jobs, numbers.failed_jobs);
        raise(&self.writer.panics, numbers.panics);
        raise(&self.writer.commit_microseconds, numbers.commit_microseconds);
        self.writer.queue.set(gauge_value(numbers.queue));
    }

    /// Counts one HTTP request; `route` is the template of its path, never the path.
    pub fn http_request(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabel { method, route, status }).inc();
        self.request_seconds.get_or_create(&RouteLabel { route }).observe(took.as_secs_f64());
    }

    /// Every number as OpenMetrics text, for Prometheus.
    ///
    /// # Errors
    /// A formatter's error, which writing into a `String` does not have.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let sources = &self.sources;
        registry.register("build", "Version of this program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("connections_open", "Open connections of a source", sources.open.clone());
        registry.register("connections", "Connections of a source that were let in", sources.accepted.clone());
        registry.register("connections_ended", "Connections refused, or closed from this side", sources.ended.clone());
        registry.register("accept_errors", "Connections that could not be accepted", sources.accept_errors.clone());
        registry.register("frames", "Frames read to their end", sources.frames.clone());
        registry.register("frames_oversized", "Frames over max_message, answered", sources.oversized_frames.clone());
        registry.register("frames_cut", "Frames that never ended", sources.cut_frames.clone());
        registry.register_with_unit("junk", "Bytes outside frames, dropped", Unit::Bytes, sources.junk_bytes.clone());
        registry.register("messages", "Messages by what became of them", sources.messages.clone());
        registry.register("answers", "Answers sent by code (HL7 table 0008)", sources.answers.clone());
        registry.register_with_unit(
            "answer",
            "Time from a whole frame to its answer",
            Unit::Seconds,
            self.answer_seconds.clone(),
        );
        registry.register("mapping_loads", "Attempts to load changed mappings", self.mapping_loads.clone());
        let refused = "1: the mapping files cannot be used as they are now, older ones are in force";
        registry.register("mapping_refused", refused, self.mapping_refused.clone());
        let refused = "1: the policy files cannot be used as they are now, older ones are in force";
        registry.register("policies_refused", refused, self.policies_refused.clone());
        let retries = "Messages that waited for a code, by what became of them when it was known";
        registry.register("waiting_retries", retries, self.waiting_retries.clone());
        let held = "Messages that are being read or in work: memory that is taken or reserved";
        registry.register_with_unit("messages_held", held, Unit::Bytes, self.held.clone());
        self.polling.register(registry);
        registry.register("source_up", "Whether a source takes messages: 1, else 0", self.source_up.clone());
        registry.register(
            "messages_waiting_failed",
            "Messages kept as failed that nobody has resolved",
            self.failed_waiting.clone(),
        );
        registry.register("feed_head", "Sequence number of the newest event", self.feed_head.clone());
        let consumers = &self.consumers;
        registry.register("consumer_lag", "Events between a consumer's cursor and the head", consumers.lag.clone());
        registry.register("consumer_head", "Sequence number of the newest event", consumers.head.clone());
        registry.register("consumer_cursor", "Sequence number of a consumer's cursor", consumers.cursor.clone());
        let behind = "Events that a consumer was not given: after its cursor, and held for persons in trouble";
        registry.register("consumer_events_behind", behind, consumers.behind.clone());
        registry.register_with_unit(
            "consumer_oldest",
            "Age of the oldest event that a consumer was not given; 0: there is none",
            Unit::Seconds,
            consumers.oldest.clone(),
        );
        registry.register("consumer_parked", "Persons whose events wait for somebody", consumers.parked.clone());
        registry.register(
            "consumer_deliveries",
            "Events fetched by or pushed to a consumer",
            consumers.deliveries.clone(),
        );
        registry.register("consumer_retries", "Requests for events not taken at first", consumers.retries.clone());
        registry.register("http_requests", "HTTP requests by route and status", self.requests.clone());
        registry.register_with_unit(
            "http_request",
            "Time to answer an HTTP request, long polls included",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register("http_connections_open", "Open HTTP connections", self.http_connections.clone());
        registry.register("writer_batches", "Transactions committed", self.writer.batches.clone());
        let failed_batches = self.writer.failed_batches.clone();
        registry.register("writer_failed_batches", "Transactions that could not be begun or committed", failed_batches);
        registry.register("writer_jobs", "Jobs committed", self.writer.jobs.clone());
        registry.register(
            "writer_failed_jobs",
            "Jobs that failed and were rolled back",
            self.writer.failed_jobs.clone(),
        );
        registry.register("writer_panics", "Jobs that panicked and were rolled back", self.writer.panics.clone());
        registry.register(
            "writer_commit_microseconds",
            "Microseconds spent committing, fsync included",
            self.writer.commit_microseconds.clone(),
        );
        registry.register("writer_queue", "Jobs that wait for the writer", self.writer.queue.clone());
    }
}

impl SourceMetrics {
    /// Takes over what the source's listener counts itself.
    pub fn set_listener(&self, numbers: &ListenerNumbers) {
        let source = SourceLabel { source: self.source.clone() };
        let families = &self.families;
        families.open.get_or_create(&source).set(gauge_value(numbers.open));
        for (family, total) in [
            (&families.accepted, numbers.accepted),
            (&families.accept_errors, numbers.accept_errors),
            (&families.frames, numbers.frames),
            (&families.oversized_frames, numbers.oversized_frames),
            (&families.cut_frames, numbers.cut_frames),
            (&families.junk_bytes, numbers.junk_bytes),
        ] {
            raise(&family.get_or_create(&source), total);
        }
        for &(reason, total) in &numbers.ended {
            let label = ConnectionEndLabel { source: self.source.clone(), reason };
            raise(&families.ended.get_or_create(&label), total);
        }
    }

    /// Counts one message by what became of it.
    pub fn message(&self, state: MessageState) {
        self.families.messages.get_or_create(&MessageLabel { source: self.source.clone(), state }).inc();
    }

    /// Counts one answer by its code and the time since its frame was whole.
    pub fn answer(&self, code: AnswerCode, took: Duration) {
        self.families.answers.get_or_create(&AnswerLabel { source: self.source.clone(), code }).inc();
        self.answer_seconds.observe(took.as_secs_f64());
    }
}

/// Others count with their own atomics, which are the truth and only ever grow: the larger number is the newer one.
fn raise(counter: &Counter, total: u64) {
    counter.inner().fetch_max(total, Ordering::Relaxed);
}

fn gauge_value(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_counted_under_its_own_name() {
        let metrics = Metrics::new();
        let his = metrics.source("his");
        let ended = vec![(ConnectionEnd::RefusedFull, 1)];
        his.set_listener(&ListenerNumbers { accepted: 3, open: 1, ended, frames: 2, ..ListenerNumbers::default() });
        metrics.source("lis").set_listener(&ListenerNumbers::default());
        his.message(MessageState::Processed);
        his.clone().message(MessageState::Processed);
        his.answer(AnswerCode::ApplicationAccept, Duration::from_millis(4));
        let text = metrics.text().unwrap();
        for line in [
            "heyi_connections_total{source=\"his\"} 3",
            "heyi_connections_open{source=\"his\"} 1",
            "heyi_connections_ended_total{source=\"his\",reason=\"refused_full\"} 1",
            "heyi_frames_total{source=\"his\"} 2",
            "heyi_frames_cut_total{source=\"lis\"} 0",
            "heyi_messages_total{source=\"his\",state=\"processed\"} 2",
            "heyi_answers_total{source=\"his\",code=\"AA\"} 1",
            "heyi_answer_seconds_bucket{le=\"0.005\",source=\"his\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn the_writer_s_numbers_never_go_back() {
        let metrics = Metrics::new();
        let failed_batches = 2;
        metrics.set_writer(WriterNumbers { batches: 7, failed_batches, queue: 3, ..WriterNumbers::default() });
        metrics.set_writer(WriterNumbers { batches: 5, jobs: 9, queue: 1, ..WriterNumbers::default() });
        let text = metrics.text().unwrap();
        assert!(text.contains("heyi_writer_batches_total 7\n"), "{text}");
        assert!(text.contains("heyi_writer_failed_batches_total 2\n"), "{text}");
        assert!(text.contains("heyi_writer_queue 1\n"), "{text}");
    }

    #[test]
    fn a_filter_that_does_not_read_is_refused_with_an_example() {
        let error = start_logging("heyi=loud").unwrap_err().to_string();
        assert!(error.contains("heyi=debug,warn"), "{error}");
    }
}
