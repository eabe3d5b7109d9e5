//! The feed over HTTP: pages of events after a cursor, long poll, the committed cursor.
//!
//! Invariants
//! - Events leave in the order of the log, and `next` never passes one that the consumer was to get and did not.
//! - A cursor that no longer means what it meant is refused with the way out; a gap is never silent.
//! - The log is read anew for each look; the wake-up on new events only shortens the wait.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::call::{Answer, Call, from_store, from_writer, json, now, with_type};
use super::parameter::cursor_not_valid;
use super::problem::{Problem, ProblemKind};
use super::{AppState, Consumer, Purpose, limits};
use crate::feed::{Cursor, Event, EventKind, Position};
use crate::store::events::{self, PageRequest};
use crate::store::{Reader, StoreError, Transaction, consumers};
use crate::view;

/// Media type of a page with one event a line.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// `GET /v1/feed`.
pub(crate) async fn page(state: Arc<AppState>, call: Call) -> Answer {
    let consumer = consumer(&state, &call)?;
    let limit = call.parameters.integer("limit") as usize;
    let wait = Duration::from_secs(call.parameters.integer("wait").into());
    let mut after = call.parameters.position("after");
    let deadline = Instant::now() + wait;
    let mut head = state.store.head();
    let page = loop {
        // Marked as seen before reading: an event committed while we read wakes us.
        head.mark_unchanged();
        let page = read_page(&state, &consumer, after, limit).await?;
        if !page.events.is_empty() || Instant::now() >= deadline || state.stopping.is_cancelled() {
            break page;
        }
        after = Some(Position::At(page.next));
        if page.next == page.head {
            wait_for_news(&mut head, deadline, &state.stopping).await;
        }
    };
    if let (Some(first), Some(last)) = (page.events.first(), page.events.last()) {
        call.trace.object("events", format_args!("{}-{}..{}", page.next.epoch, first.sequence, last.sequence));
        call.trace.object("policy", &consumer.policy);
        call.trace.persons(page.events.iter().map(|event| event.subject.as_str()));
    }
    if call.accepts(NDJSON) { page.lines() } else { page.document() }
}

/// `GET /v1/feed/cursor`.
pub(crate) async fn cursor(state: Arc<AppState>, call: Call) -> Answer {
    let consumer = consumer(&state, &call)?;
    let read = move |reader: &Reader<'_>| Ok((consumers::position(reader, &consumer.name)?, events::head(reader)?));
    let (committed, head) = state.store.read_async(read).await.map_err(from_store)?;
    let cursor = committed.map_or("start".to_owned(), |committed| committed.to_string());
    json(&json!({"cursor": cursor, "head": head.to_string()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CursorRequest {
    cursor: String,
}

/// `PUT /v1/feed/cursor`.
pub(crate) async fn commit_cursor(state: Arc<AppState>, call: Call) -> Answer {
    let consumer = consumer(&state, &call)?;
    let request: CursorRequest = call.json("{\"cursor\": CURSOR}")?;
    let position: Position = request.cursor.parse().map_err(|_| cursor_not_valid())?;
    let at = now();
    let job = move |transaction: &Transaction<'_>| {
        let log = Log::read(transaction)?;
        let cursor = match log.resolve(position) {
            Ok(sequence) => log.cursor(sequence),
            Err(problem) => return Ok(Err(problem)),
        };
        consumers::commit(transaction, &consumer.name, cursor, at)?;
        Ok(Ok((cursor, log.head)))
    };
    let (cursor, head) = state.store.submit(job).await.map_err(from_writer)??;
    json(&json!({"cursor": cursor.to_string(), "head": head.to_string()}))
}

fn consumer(state: &AppState, call: &Call) -> Result<Consumer, Problem> {
    let refused = || Problem::new(ProblemKind::RoleNotAllowed, "The feed is read by consumers.");
    call.consumer(state)?.ok_or_else(refused)
}

async fn wait_for_news(head: &mut watch::Receiver<u64>, deadline: Instant, stopping: &CancellationToken) {
    let news = async {
        if head.changed().await.is_err() {
            // The writer is gone; other processes may still write.
            std::future::pending::<()>().await;
        }
    };
    let most = limits::HEAD_CHECK.min(deadline.saturating_duration_since(Instant::now()));
    tokio::select! {
        () = news => {}
        () = sleep(most) => {}
        () = stopping.cancelled() => {}
    }
}

/// The log's ends at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Sequence number of the oldest event kept; one more than the head's when none is.
    first: u64,
    head: Cursor,
}

impl Log {
    /// Reads them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn read(reader: &Reader<'_>) -> Result<Self, StoreError> {
        let head = events::head(reader)?;
        Ok(Self { first: events::first_kept(reader)?.unwrap_or(head.sequence + 1), head })
    }

    fn cursor(self, sequence: u64) -> Cursor {
        Cursor { sequence, ..self.head }
    }

    /// Sequence number of the last event before the position, if the position means something in this log.
    ///
    /// # Errors
    /// The problem that says where to go on instead.
    pub fn resolve(self, position: Position) -> Result<u64, Problem> {
        let before_first = self.first.saturating_sub(1);
        let cursor = match position {
            Position::Start => return Ok(before_first),
            Position::Head => return Ok(self.head.sequence),
            Position::At(cursor) => cursor,
        };
        let (kind, detail) = if cursor.epoch != self.head.epoch {
            let detail = "The cursor is of another log than this one: its numbers mean other events here. \
                 Check what you keep against /v1/persons, then go on from `start` or `head`.";
            (ProblemKind::CursorOfAnotherEpoch, detail)
        } else if cursor.sequence > self.head.sequence {
            let detail = "No such event was written yet: the cursor is mistyped, or a copy of the store was put back. \
                 In the second case check what you keep against /v1/persons, and go on from `start`.";
            (ProblemKind::CursorBeyondHead, detail)
        } else if cursor.sequence < before_first {
            let detail = "Retention removed events that you have not read. \
                 Check what you keep against /v1/persons, then go on from `start` (the oldest event kept) or `head`.";
            (ProblemKind::CursorExpired, detail)
        } else {
            return Ok(cursor.sequence);
        };
        let start = self.cursor(before_first).to_string();
        Err(Problem::new(kind, detail).with("start", start).with("head", self.head.to_string()))
    }
}

#[derive(Serialize)]
struct Page {
    events: Vec<Event>,
    #[serde(serialize_with = "as_text")]
    next: Cursor,
    #[serde(serialize_with = "as_text")]
    head: Cursor,
}

fn as_text<S: serde::Serializer>(cursor: &Cursor, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cursor)
}

impl Page {
    fn document(&self) -> Answer {
        json(self)
    }

    /// One event a line, and a checkpoint as the last line, which carries what the document has beside its events.
    fn lines(&self) -> Answer {
        let checkpoint = json!({
            "specversion": "1.0",
            "id": format!("checkpoint-{}", self.next),
            "source": "heyi/feed",
            "type": EventKind::FeedCheckpoint.name(),
            "time": view::moment(now()),
            "sequence": format!("{:012}", self.next.sequence),
            "dataschema": EventKind::FeedCheckpoint.schema_path(),
            "datacontenttype": "application/json",
            "data": {"next": self.next.to_string(), "head": self.head.to_string()},
        });
        let mut lines = Vec::new();
        for event in &self.events {
            serde_json::to_writer(&mut lines, event).map_err(|_| {
                Problem::new(ProblemKind::Internal, "An event that is stored could not be written as JSON.")
            })?;
            lines.push(b'\n');
        }
        lines.extend_from_slice(checkpoint.to_string().as_bytes());
        lines.push(b'\n');
        Ok(with_type(NDJSON, lines))
    }
}

/// Events that the consumer gets after the position, or after its committed cursor.
async fn read_page(
    state: &AppState,
    consumer: &Consumer,
    after: Option<Position>,
    limit: usize,
) -> Result<Page, Problem> {
    let name = consumer.name.clone();
    // Without consents nothing may leave for marketing. The consumer moves on all the same, so its lag stays true.
    let filters = if consumer.purpose == Purpose::Marketing { Vec::new() } else { consumer.events.clone() };
    let read = move |reader: &Reader<'_>| {
        let log = Log::read(reader)?;
        let position = match after {
            Some(position) => position,
            None => consumers::position(reader, &name)?.map_or(Position::Start, Position::At),
        };
        let after = match log.resolve(position) {
            Ok(after) => after,
            Err(problem) => return Ok(Err(problem)),
        };
        let page = events::page(reader, &PageRequest { after, limit, bytes: limits::PAGE_BYTES, filters })?;
        Ok(Ok(Page { events: page.events, next: log.cursor(page.next), head: page.head }))
    };
    state.store.read_async(read).await.map_err(from_store)?
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Log = Log { first: 11, head: Cursor { epoch: 2, sequence: 20 } };

    #[test]
    fn a_cursor_means_something_or_is_refused_with_the_way_out() {
        for (text, expected) in [
            ("start", Ok(10)),
            ("head", Ok(20)),
            ("2-10", Ok(10)),
            ("2-15", Ok(15)),
            ("2-20", Ok(20)),
            ("2-21", Err(ProblemKind::CursorBeyondHead)),
            ("2-9", Err(ProblemKind::CursorExpired)),
            ("1-15", Err(ProblemKind::CursorOfAnotherEpoch)),
            ("3-15", Err(ProblemKind::CursorOfAnotherEpoch)),
        ] {
            let resolved = LOG.resolve(text.parse().unwrap());
            if let Err(problem) = &resolved {
                assert_eq!(problem.members["start"], "2-000000000010", "{text}");
                assert_eq!(problem.members["head"], "2-000000000020", "{text}");
            }
            assert_eq!(resolved.map_err(|problem| problem.kind), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_log_has_one_position() {
        let log = Log { first: 1, head: Cursor { epoch: 1, sequence: 0 } };
        assert_eq!(log.resolve(Position::Start), Ok(0));
        assert_eq!(log.resolve(Position::Head), Ok(0));
        assert!(log.resolve("1-1".parse().unwrap()).is_err());
    }
}
