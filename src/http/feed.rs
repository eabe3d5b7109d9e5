//! The feed over HTTP: pages of events after a cursor, long poll, the committed cursor.
//!
//! Invariants
//! - Events leave in the order of the log, and `next` never passes one that the consumer was to get and did not.
//! - A cursor that no longer means what it meant is refused with the way out; a gap is never silent.
//! - The log is read anew for each look; the wake-up on new events only shortens the wait.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::audit::name_events;
use super::call::{Answer, Call, from_store, from_writer, json, now, with_type};
use super::parameter::cursor_not_valid;
use super::problem::{Problem, ProblemKind};
use super::{AppState, limits};
use crate::disclosure::Recipient;
use crate::feed::{Cursor, Event, EventKind, Position};
use crate::outgoing::{self, Log, Lost, Page, Request};
use crate::store::{Reader, Transaction, consumers, events};
use crate::view;

/// Media type of a page with one event a line.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// `GET /v1/feed`.
pub(crate) async fn page(state: Arc<AppState>, call: Call) -> Answer {
    let person = call.parameters.text("person").map(str::to_owned);
    let limit = call.parameters.integer("limit") as usize;
    let wait = Duration::from_secs(call.parameters.integer("wait").into());
    let mut after = begin(&state, &call).await?;
    let deadline = Instant::now() + wait;
    let mut head = state.store.head();
    if !wait.is_zero() && is_close(after, *head.borrow(), limit) {
        sleep(limits::POLL_GATHERING).await;
    }
    let page = loop {
        // Marked as seen before reading: an event committed while we read wakes us.
        head.mark_unchanged();
        let page = read_page(&state, &call, after, limit, person.clone()).await?;
        if !page.events.is_empty() || Instant::now() >= deadline || state.stopping.is_cancelled() {
            break page;
        }
        after = Some(Position::At(page.next));
        if page.next == page.head {
            wait_for_news(&mut head, deadline, &state.stopping).await;
            sleep_until(deadline.min(Instant::now() + limits::POLL_GATHERING)).await;
        }
    };
    let consumer = consumer(&state, &call)?;
    if !is_pushed(&state, &consumer) {
        state.metrics.consumer_delivered(&consumer.name, page.events.len() as u64);
    }
    call.trace.about(|entry| name_events(entry, &page));
    if call.accepts(NDJSON) { lines(&page) } else { document(&page) }
}

/// Whether something, but less than a page, was written after the position.
fn is_close(after: Option<Position>, head: u64, limit: usize) -> bool {
    let Some(Position::At(after)) = after else { return false };
    (1..limit as u64).contains(&head.saturating_sub(after.sequence))
}

/// Where a page begins that names a position, a time, or a person; `None`: at the committed cursor.
async fn begin(state: &AppState, call: &Call) -> Result<Option<Position>, Problem> {
    let (after, since) = (call.parameters.position("after"), call.parameters.moment("since"));
    match (after, since) {
        (Some(_), Some(_)) => Err(Problem::new(
            ProblemKind::ParameterNotValid,
            "Give `after` or `since`: the next page begins after `next`.",
        )),
        (None, Some(since)) => {
            let read = move |reader: &Reader<'_>| {
                Ok(Position::At(Log::read(reader)?.cursor(events::before_time(reader, since)?)))
            };
            Ok(Some(state.store.read_async(read).await.map_err(from_store)?))
        }
        // All that is kept of a person is asked for, whatever the consumer has taken.
        (None, None) if call.parameters.text("person").is_some() => Ok(Some(Position::Start)),
        (after, None) => Ok(after),
    }
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
    if is_pushed(&state, &consumer) {
        let detail = "Events are pushed to this consumer, so its cursor is what was delivered. \
             POST /v1/consumers/{name}/replay and `heyi feed replay` give events again.";
        return Err(Problem::new(ProblemKind::DeliveryRefused, detail));
    }
    let at = now();
    let job = move |transaction: &Transaction<'_>| {
        let log = Log::read(transaction)?;
        let cursor = match log.resolve(position) {
            Ok(sequence) => log.cursor(sequence),
            Err(why) => return Ok(Err(lost(log, why))),
        };
        consumers::commit(transaction, &consumer.name, cursor, at)?;
        Ok(Ok((cursor, log.head)))
    };
    let (cursor, head) = state.store.submit(job).await.map_err(from_writer)??;
    json(&json!({"cursor": cursor.to_string(), "head": head.to_string()}))
}

/// The consumer who calls.
pub(super) fn consumer(state: &AppState, call: &Call) -> Result<Recipient, Problem> {
    let refused = || Problem::new(ProblemKind::RoleNotAllowed, "The feed is read by consumers.");
    call.recipient(state)?.ok_or_else(refused)
}

/// Whether its position is what was delivered.
fn is_pushed(state: &AppState, consumer: &Recipient) -> bool {
    state.consumers.iter().any(|known| known.name == consumer.name && known.is_pushed)
}

pub(super) async fn wait_for_news(head: &mut watch::Receiver<u64>, deadline: Instant, stopping: &CancellationToken) {
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

/// The problem of a position that means nothing in the log, with the way out.
pub fn lost(log: Log, lost: Lost) -> Problem {
    let (kind, detail) = match lost {
        Lost::OtherEpoch => (
            ProblemKind::CursorOfAnotherEpoch,
            "The store was put back from a backup: the cursor's numbers mean other events in this log, and what you read \
             after the backup may not be there. Compare what you keep with /v1/feed/reconcile, or take /v1/feed/snapshot, \
             and go on from the `cursor` that it gives.",
        ),
        Lost::BeyondHead => (
            ProblemKind::CursorBeyondHead,
            "No such event was written yet: the cursor is mistyped, or a copy of the store was put back. \
             In the second case compare what you keep with /v1/feed/reconcile, and go on from the `cursor` that it gives.",
        ),
        Lost::Expired => (
            ProblemKind::CursorExpired,
            "Retention removed events that you have not read. \
             Take /v1/feed/snapshot and go on from the `cursor` that it gives; `start` is the oldest event kept.",
        ),
    };
    Problem::new(kind, detail).with("start", log.start().to_string()).with("head", log.head.to_string())
}

fn document(page: &Page) -> Answer {
    // No `json!`: it would read each event's data into a tree to write it again.
    #[derive(Serialize)]
    struct Document<'p> {
        events: &'p [Event],
        next: String,
        head: String,
    }
    json(&Document { events: &page.events, next: page.next.to_string(), head: page.head.to_string() })
}

/// One event a line, and a checkpoint as the last line, which carries what the document has beside its events.
fn lines(page: &Page) -> Answer {
    let mut lines = Vec::new();
    for event in &page.events {
        serde_json::to_writer(&mut lines, event).map_err(|_| {
            Problem::new(ProblemKind::Internal, "An event that is stored could not be written as JSON.")
        })?;
        lines.push(b'\n');
    }
    lines.extend_from_slice(checkpoint(page.next, page.head).to_string().as_bytes());
    lines.push(b'\n');
    Ok(with_type(NDJSON, lines))
}

/// A `feed.checkpoint`: a position, and no event of the log.
pub(super) fn checkpoint(next: Cursor, head: Cursor) -> Value {
    json!({
        "specversion": "1.0",
        "id": format!("checkpoint-{next}"),
        "source": "heyi/feed",
        "type": EventKind::FeedCheckpoint.name(),
        "time": view::moment(now()),
        "sequence": format!("{:012}", next.sequence),
        "dataschema": EventKind::FeedCheckpoint.schema_path(),
        "datacontenttype": "application/json",
        "data": {"next": next.to_string(), "head": head.to_string()},
    })
}

/// Events that the consumer gets after the position, or after its committed cursor.
async fn read_page(
    state: &AppState,
    call: &Call,
    after: Option<Position>,
    limit: usize,
    person: Option<String>,
) -> Result<Page, Problem> {
    state.store.give_way(limits::GIVING_WAY_TIME).await;
    // Anew for each look: a policy may have changed while nothing came.
    let consumer = consumer(state, call)?;
    let at = now();
    let read = move |reader: &Reader<'_>| {
        let log = Log::read(reader)?;
        let position = match after {
            Some(position) => position,
            None => outgoing::committed(reader, &consumer.name)?,
        };
        let after = match log.resolve(position) {
            Ok(after) => after,
            Err(why) => return Ok(Err(lost(log, why))),
        };
        let request = Request { after, limit, bytes: limits::PAGE_BYTES, person: person.as_deref() };
        Ok(Ok(outgoing::next(reader, &consumer, request, at)?))
    };
    state.store.read_async(read).await.map_err(from_store)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_that_means_nothing_is_refused_with_the_way_out() {
        let log = Log { first: 11, head: Cursor { epoch: 2, sequence: 20 } };
        for (why, kind) in [
            (Lost::OtherEpoch, ProblemKind::CursorOfAnotherEpoch),
            (Lost::BeyondHead, ProblemKind::CursorBeyondHead),
            (Lost::Expired, ProblemKind::CursorExpired),
        ] {
            let problem = lost(log, why);
            assert_eq!(problem.kind, kind);
            assert_eq!(problem.members["start"], "2-000000000010");
            assert_eq!(problem.members["head"], "2-000000000020");
        }
    }
}
