//! From what arrived to what is answered: one intake for each source, whichever way its messages come.
//!
//! Invariants
//! - A positive answer is built only from what the writer said after its commit.
//! - Every frame has an answer; MSH-15 and MSH-16 choose which (original or enhanced mode).
//! - A byte-identical repeat gets the very answer that the first one got: answers depend on stored facts only.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::mappings::LiveSource;
use super::now;
use crate::config::{Acknowledge, OnError};
use crate::hl7v2::ack::{self, Ack, AckCode, AckError};
use crate::hl7v2::batch::{self, Piece};
use crate::hl7v2::limits::MESSAGES_OF_FRAME;
use crate::hl7v2::{ErrorCode, Location};
use crate::pipeline::{self, Cause, Done, Envelope, Unit};
use crate::source::directory::Outcome;
use crate::source::frame::{FrameLimits, Received};
use crate::source::window::Turn;
use crate::store::messages::MessageState;
use crate::store::{Pending, Store, WriteError};
use crate::telemetry::{self, SourceMetrics};

/// Beyond this size a message is read and mapped on a thread of its own: it would hold up other connections' work.
const LARGE: usize = 256 * 1024;

/// Messages of one frame in work at once: a full commit's worth, and a bound on what they need in memory.
const GROUP: usize = 64;

/// What a source's messages go through.
#[derive(Clone)]
pub struct Intake {
    store: Store,
    source: LiveSource,
    acknowledge: Acknowledge,
    on_error: OnError,
    metrics: SourceMetrics,
}

/// A message after its commit, or the reason why there was none.
struct Taken {
    envelope: Arc<Envelope>,
    /// What the writer says.
    result: Result<Done, WriteError>,
}

/// The label under which a message is counted.
pub(super) fn counted_as(done: &Done) -> telemetry::MessageState {
    match done.state {
        _ if done.repeat => telemetry::MessageState::Repeated,
        MessageState::Processed => telemetry::MessageState::Processed,
        MessageState::Failed => telemetry::MessageState::Failed,
        MessageState::Ignored => telemetry::MessageState::Ignored,
    }
}

/// A message that is with the writer.
type Waiting = (Arc<Envelope>, Result<Pending<Done>, WriteError>);

impl Intake {
    /// An intake for `source`.
    pub fn new(
        store: Store,
        source: LiveSource,
        acknowledge: Acknowledge,
        on_error: OnError,
        metrics: SourceMetrics,
    ) -> Self {
        Self { store, source, acknowledge, on_error, metrics }
    }

    /// Takes one frame in and gives its answers: one for each message of a batch, two where enhanced mode asks for both.
    pub async fn frame(&self, received: Received, mut turn: Turn) -> Vec<Vec<u8>> {
        let started = Instant::now();
        let received_at = now();
        let (frame, messages) = match received {
            Received::Whole(bytes) if bytes.len() < LARGE => messages(bytes),
            Received::Whole(bytes) => blocking(move || messages(bytes)).await,
            Received::TooLarge { head, length } => {
                let unit = pipeline::too_large(&self.source.current(), &head, length, received_at);
                return self.answered(self.commit(vec![unit], turn).await, started);
            }
            Received::Cut { bytes, length } => {
                let unit = pipeline::cut(&self.source.current(), &bytes, length, received_at);
                return self.answered(self.commit(vec![unit], turn).await, started);
            }
        };
        if messages.len() > MESSAGES_OF_FRAME {
            let first = messages.first().map_or(&[][..], |first| &frame[first.clone()]);
            let head = &first[..first.len().min(FrameLimits::default().head)];
            let unit = pipeline::too_many(&self.source.current(), head, messages.len(), received_at);
            return self.answered(self.commit(vec![unit], turn).await, started);
        }
        let mut groups = messages.chunks(GROUP);
        let last = groups.next_back().unwrap_or_default();
        let mut answers = Vec::new();
        for group in groups {
            let units = self.prepared(&frame, group, received_at).await;
            // The line waits until the whole frame is with the writer.
            turn.come().await;
            let waiting = self.enqueue(units).await;
            answers.extend(self.answered(self.finish(waiting).await, started));
        }
        let units = self.prepared(&frame, last, received_at).await;
        answers.extend(self.answered(self.commit(units, turn).await, started));
        answers
    }

    /// Takes one message of a file in.
    pub async fn file(&self, piece: Piece, turn: Turn) -> Outcome {
        let received_at = now();
        let unit = match piece {
            Piece::Message(bytes) => {
                let whole = 0..bytes.len();
                self.prepare(&Arc::new(bytes), whole, received_at).await
            }
            Piece::TooLarge { head, length } => pipeline::too_large(&self.source.current(), &head, length, received_at),
        };
        let taken = self.commit(vec![unit], turn).await;
        match taken.first().map(|taken| &taken.result) {
            Some(Ok(done)) if done.state == MessageState::Failed => Outcome::Failed,
            Some(Ok(_)) => Outcome::Processed,
            Some(Err(_)) | None => Outcome::NotKept,
        }
    }

    async fn prepared(&self, frame: &Arc<Vec<u8>>, group: &[Range<usize>], received_at: i64) -> Vec<Unit> {
        let mut units = Vec::with_capacity(group.len());
        for message in group {
            units.push(self.prepare(frame, message.clone(), received_at).await);
        }
        units
    }

    /// Reads and maps the message that is at `place` in `bytes`.
    async fn prepare(&self, bytes: &Arc<Vec<u8>>, place: Range<usize>, received_at: i64) -> Unit {
        let source = self.source.current();
        if place.len() < LARGE {
            return pipeline::prepare(&source, &bytes[place], received_at);
        }
        let bytes = Arc::clone(bytes);
        blocking(move || pipeline::prepare(&source, &bytes[place], received_at)).await
    }

    /// Hands units to the writer in the order of their line, lets the next of the line come, and waits for the commits.
    async fn commit(&self, units: Vec<Unit>, mut turn: Turn) -> Vec<Taken> {
        turn.come().await;
        let waiting = self.enqueue(units).await;
        drop(turn);
        self.finish(waiting).await
    }

    async fn enqueue(&self, units: Vec<Unit>) -> Vec<Waiting> {
        let mut waiting = Vec::with_capacity(units.len());
        for unit in units {
            let envelope = Arc::clone(unit.envelope());
            let pending = self.store.enqueue(|transaction| pipeline::commit(transaction, unit, Cause::Message)).await;
            waiting.push((envelope, pending));
        }
        waiting
    }

    async fn finish(&self, waiting: Vec<Waiting>) -> Vec<Taken> {
        let mut taken = Vec::with_capacity(waiting.len());
        for (envelope, pending) in waiting {
            let result = match pending {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            };
            self.count(&result);
            taken.push(Taken { envelope, result });
        }
        taken
    }

    fn answered(&self, taken: Vec<Taken>, started: Instant) -> Vec<Vec<u8>> {
        let answers = taken.iter().flat_map(|taken| self.answers(taken));
        let answers = answers.map(|(code, answer)| {
            self.metrics.answer(metric_code(code), started.elapsed());
            answer
        });
        answers.collect()
    }

    fn count(&self, result: &Result<Done, WriteError>) {
        let source = &self.source.current().name;
        match result {
            Ok(done) => {
                self.metrics.message(counted_as(done));
                if let Some(error) = &done.error {
                    tracing::warn!(
                        source,
                        message_id = done.id,
                        code = error.code,
                        location = error.location,
                        reason = error.text,
                        "message kept as failed"
                    );
                }
            }
            Err(error) => tracing::error!(source, %error, "message not kept: its sender is told to send it again"),
        }
    }

    fn answers(&self, taken: &Taken) -> Vec<(AckCode, Vec<u8>)> {
        let header = &taken.envelope.header;
        let (application, errors) = self.verdict(taken);
        let (id, received_at) = match &taken.result {
            Ok(done) => (format!("H{}", done.id), done.received_at),
            Err(_) => (format!("R{}", taken.envelope.received_at), taken.envelope.received_at),
        };
        let time = hl7_time(received_at, &self.source.current().zone);
        let answer = |code: AckCode, control_id: &str, errors: &[AckError]| {
            (code, ack::build(header, &Ack { code, control_id, time: &time, errors }))
        };
        let (accept, apply) = (&header.accept_acknowledgement, &header.application_acknowledgement);
        let asks = |condition: &str| matches!(condition, "AL" | "ER" | "SU");
        if !asks(accept) && !asks(apply) {
            return vec![answer(application, &id, &errors)];
        }
        // Enhanced mode, HL7 v2.5.1 chapter 2, 2.9.3: first whether the message is kept, then what came of it.
        let commit = match &taken.result {
            Err(_) => AckCode::CR,
            Ok(_) if taken.envelope.is_unreadable => AckCode::CE,
            Ok(_) => AckCode::CA,
        };
        let mut answers = Vec::new();
        let application = (commit.is_positive() && is_wanted(apply, application))
            .then(|| answer(application, &format!("{id}A"), &errors));
        // A sender that wants to hear of errors alone is told of success as well: on a line without any answer it could not
        // tell success from a message that was lost.
        if is_wanted(accept, commit) || application.is_none() {
            let errors: &[AckError] = if commit.is_positive() { &[] } else { &errors };
            answers.push(answer(commit, &id, errors));
        }
        answers.extend(application);
        answers
    }

    /// The application's answer in original mode.
    fn verdict(&self, taken: &Taken) -> (AckCode, Vec<AckError>) {
        let done = match &taken.result {
            Ok(done) => done,
            Err(error) => {
                let text = format!("the message was not kept ({error}); send it again");
                return (
                    AckCode::AR,
                    vec![AckError { code: ErrorCode::ApplicationInternalError, location: None, text }],
                );
            }
        };
        let Some(error) = &done.error else { return (AckCode::AA, Vec::new()) };
        if self.acknowledge == Acknowledge::Received && !taken.envelope.is_unreadable {
            return (AckCode::AA, Vec::new());
        }
        let code = match self.on_error {
            // Too large to be kept: the sender still has the only copy.
            _ if taken.envelope.is_left_out => AckCode::AR,
            OnError::Ae => AckCode::AE,
            OnError::Ar => AckCode::AR,
        };
        let error = AckError {
            code: error.code.parse().unwrap_or(ErrorCode::ApplicationInternalError),
            location: error.location.parse::<Location>().ok(),
            text: error.text.clone(),
        };
        (code, vec![error])
    }
}

/// Long work off the threads that serve connections.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// A frame and where its messages are in it. A frame with one message is that message, with whatever lies around it: that is the
/// reader's to note.
fn messages(frame: Vec<u8>) -> (Arc<Vec<u8>>, Vec<Range<usize>>) {
    let found = batch::split(&frame).messages;
    let place = |message: &&[u8]| {
        let start = message.as_ptr().addr() - frame.as_ptr().addr();
        start..start + message.len()
    };
    let whole = 0..frame.len();
    let places = if found.len() <= 1 { vec![whole] } else { found.iter().map(place).collect() };
    (Arc::new(frame), places)
}

/// Whether a condition of MSH-15 or MSH-16 (HL7 table 0155) wants this answer. Empty beside a filled one counts as never.
fn is_wanted(condition: &str, code: AckCode) -> bool {
    match condition {
        "AL" => true,
        "ER" => !code.is_positive(),
        "SU" => code.is_positive(),
        _ => false,
    }
}

/// `20240305103000+0800`
fn hl7_time(microseconds: i64, zone: &TimeZone) -> String {
    let time = Timestamp::from_microsecond(microseconds).unwrap_or_default();
    time.to_zoned(zone.clone()).strftime("%Y%m%d%H%M%S%z").to_string()
}

fn metric_code(code: AckCode) -> telemetry::AnswerCode {
    use telemetry::AnswerCode;
    match code {
        AckCode::AA => AnswerCode::ApplicationAccept,
        AckCode::AE => AnswerCode::ApplicationError,
        AckCode::AR => AnswerCode::ApplicationReject,
        AckCode::CA => AnswerCode::CommitAccept,
        AckCode::CE => AnswerCode::CommitError,
        AckCode::CR => AnswerCode::CommitReject,
    }
}
