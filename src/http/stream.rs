//! The feed as server-sent events (HTML Living Standard, 9.2): what a page gives, as it comes.
//!
//! Invariants
//! - `id:` is the cursor after the event, so who comes back with `Last-Event-ID` goes on without a hole and without a repeat.
//! - A slow reader holds two pages at most, and never a reading transaction.
//! - The token is looked at again before anything is sent: one that is revoked ends its streams.
//! - A stream commits nothing: the consumer does, when it has kept what it got.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::audit::{self, Trace};
use super::call::{Answer, Call, from_store, now, recipient, with_type};
use super::feed::{checkpoint, consumer, lost, wait_for_news};
use super::parameter::cursor_not_valid;
use super::problem::{Problem, ProblemKind};
use super::{AppState, limits, tokens};
use crate::feed::{Cursor, EventKind, Position};
use crate::outgoing::{self, Log, Page, Request};
use crate::store::Reader;

/// Media type of a stream.
pub const EVENT_STREAM: &str = "text/event-stream";

/// The header in which a client that comes back says what it got last.
pub const LAST_EVENT_ID: &str = "Last-Event-ID";

/// What a stream begins with: how long a client waits before it comes back, in milliseconds.
const PREAMBLE: &str = "retry: 2000\n: connected\n\n";

/// The streams that may be open at a time.
#[derive(Debug)]
pub struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(limits::STREAMS)))
    }
}

/// `GET /v1/feed/stream`.
pub(crate) async fn stream(state: Arc<AppState>, call: Call) -> Answer {
    let consumer = consumer(&state, &call)?;
    // Where both are given, the client came back to a URL with `after`: the header is the newer.
    let after = match call.header(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
        Some(id) => Some(id.parse::<Position>().map_err(|_| cursor_not_valid())?),
        None => call.parameters.position("after"),
    };
    let name = consumer.name;
    let asks = name.clone();
    let begin = move |reader: &Reader<'_>| {
        let log = Log::read(reader)?;
        let position = match after {
            Some(position) => position,
            None => outgoing::committed(reader, &asks)?,
        };
        Ok(log.resolve(position).map(|sequence| log.cursor(sequence)).map_err(|why| lost(log, why)))
    };
    let begin = state.store.read_async(begin).await.map_err(from_store)??;
    let full = |_| Problem::new(ProblemKind::StreamsFull, "Close one that is not needed, or read pages: GET /v1/feed.");
    let permit = Arc::clone(&state.streams.0).try_acquire_owned().map_err(full)?;
    let (sender, pieces) = mpsc::channel(1);
    let source = Source {
        state,
        name,
        trace: call.trace.clone(),
        headers: call.into_headers(),
        position: begin,
        told: begin,
        sender,
        _permit: permit,
    };
    tokio::spawn(source.run());
    Ok(with_type(EVENT_STREAM, Body::new(Pieces(pieces))))
}

/// The body of a stream: pieces as they are made; an error breaks it off.
#[derive(Debug)]
pub struct Pieces<E>(pub mpsc::Receiver<Result<Bytes, E>>);

impl<E> HttpBody for Pieces<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// An event as a stream tells it; `data` is JSON in one line, `id` the cursor after the event.
pub fn server_sent_event(id: Cursor, kind: &str, data: &str) -> String {
    format!("id: {id}\nevent: {kind}\ndata: {data}\n\n")
}

/// What fills a stream.
struct Source {
    state: Arc<AppState>,
    /// Whose it is.
    name: String,
    /// Of the request, with its token.
    headers: HeaderMap,
    /// Up to here the log was looked at.
    position: Cursor,
    /// The last `id:`.
    told: Cursor,
    trace: Trace,
    sender: mpsc::Sender<Result<Bytes, Infallible>>,
    _permit: OwnedSemaphorePermit,
}

impl Source {
    async fn run(mut self) {
        let mut head = self.state.store.head();
        let mut sign_of_life = Instant::now() + limits::STREAM_COMMENT;
        if self.send(PREAMBLE.to_owned()).await.is_none() {
            return;
        }
        loop {
            // Marked as seen before reading: an event committed while we read wakes us.
            head.mark_unchanged();
            let looked = Instant::now();
            self.state.store.give_way(limits::GIVING_WAY_TIME).await;
            if !tokens::is_valid(&self.state, &self.headers).await {
                return;
            }
            let Some(page) = self.page().await else { return };
            let (next, newest) = (page.next, page.head);
            let Some(mut piece) = self.written(&page) else { return };
            if next.sequence - self.told.sequence >= limits::STREAM_CHECKPOINT {
                piece.push_str(&self.checkpoint(newest));
            }
            if Instant::now() >= sign_of_life {
                sign_of_life += limits::STREAM_COMMENT;
                piece.push_str(": \n\n");
                if self.told != self.position {
                    piece.push_str(&self.checkpoint(newest));
                }
            }
            if !page.events.is_empty() && self.write_down(&page).await.is_err() {
                return;
            }
            if !piece.is_empty() && self.send(piece).await.is_none() {
                return;
            }
            if next.sequence >= newest.sequence {
                let sender = self.sender.clone();
                tokio::select! {
                    () = sender.closed() => return,
                    () = wait_for_news(&mut head, sign_of_life, &self.state.stopping) => {}
                }
                sleep_until(looked + limits::STREAM_GATHERING).await;
            }
            if self.state.stopping.is_cancelled() {
                return;
            }
        }
    }

    /// What comes next. `None`: the position means nothing any more, the policy is not in force, or the store does not answer; whoever comes back is told.
    async fn page(&self) -> Option<Page> {
        // Anew for each look: a policy may have changed while nothing came.
        let consumer = recipient(&self.state, &self.name).ok()?;
        let (position, at) = (self.position, now());
        let read = move |reader: &Reader<'_>| {
            let Ok(after) = Log::read(reader)?.resolve(Position::At(position)) else { return Ok(None) };
            let request = Request { after, limit: limits::STREAM_EVENTS, bytes: limits::STREAM_BYTES, person: None };
            outgoing::next(reader, &consumer, request, at).map(Some)
        };
        match self.state.store.read_async(read).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "a stream ends: the store did not answer");
                None
            }
        }
    }

    /// Puts what leaves into the audit trail, before it does.
    async fn write_down(&self, page: &Page) -> Result<(), Problem> {
        let mut entry = self.trace.for_change();
        audit::name_events(&mut entry, page);
        audit::name_policy(&self.state, &mut entry);
        audit::append(&self.state, vec![entry]).await
    }

    /// The piece that tells a page. `None`: an event cannot be told, and a stream must not go on over it.
    fn written(&mut self, page: &Page) -> Option<String> {
        let mut text = String::new();
        for event in &page.events {
            // What is stored is JSON in one line.
            let (Ok(sequence), Ok(data)) = (event.sequence.parse(), serde_json::to_string(event)) else {
                tracing::error!(
                    event = event.id,
                    "a stream ends: an event that is stored could not be written as JSON"
                );
                return None;
            };
            self.told = Cursor { sequence, ..page.next };
            text.push_str(&server_sent_event(self.told, &event.kind, &data));
        }
        self.position = page.next;
        Some(text)
    }

    /// Says the position where events were passed over that are not for this consumer.
    fn checkpoint(&mut self, head: Cursor) -> String {
        self.told = self.position;
        server_sent_event(self.told, EventKind::FeedCheckpoint.name(), &checkpoint(self.told, head).to_string())
    }

    /// Waits until the reader takes it. `None`: it is gone, or the daemon stops.
    async fn send(&self, piece: String) -> Option<()> {
        tokio::select! {
            sent = self.sender.send(Ok(Bytes::from(piece))) => sent.ok(),
            () = self.state.stopping.cancelled() => None,
        }
    }
}
