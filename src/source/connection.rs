//! One MLLP connection, over anything that reads and writes: frames in, work, answers out in order.
//!
//! Invariants
//! - One task does all of it; only the handler's work runs beside it, bounded by the window and by the budget of all sources. When
//!   either is used up nothing more is read: TCP slows the sender down.
//! - Answers leave in the order of their frames. If one is missing (a panic), none after it leaves: a sender that counts
//!   instead of comparing MSA-2 would take it for the missing one.
//! - Messages in work are awaited even when nobody can be answered any more.

use std::future::Future;
use std::ops::Range;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinError;
use tokio::time::{sleep_until, timeout};

use super::budget::{Budget, Claim, SMALL, Share};
use super::frame::{Decoder, Event, Guess, Received, framed};
use super::mllp::{Answers, Limits, Peer, Statistics};
use super::slots::Slot;
use super::window::{Turn, Window};

/// Bytes per read: several ordinary messages (about 1 KiB), and small enough to hold for every silent connection.
const READ_BUFFER: usize = 16 * 1024;

/// What a connection knows of its listener.
pub(super) struct Context<'a> {
    pub(super) source: &'a str,
    pub(super) peer: Peer,
    pub(super) limits: &'a Limits,
    pub(super) budget: &'a Budget,
    pub(super) statistics: &'a Statistics,
    pub(super) slot: &'a Slot,
}

/// Serves one connection to its end.
pub(super) async fn run<S, H, F>(context: Context<'_>, stream: S, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Received, Peer, Turn) -> F,
    F: Future<Output = Answers> + Send + 'static,
{
    let mut line = Line {
        decoder: Decoder::new(context.limits.frame),
        window: Window::new(context.limits.window),
        buffer: vec![0; READ_BUFFER],
        unread: 0..0,
        input: Input::Open,
        reading: Vec::new(),
        waiting: None,
        since: Instant::now(),
        context,
        stream,
        handler,
    };
    if line.work().await {
        line.close().await;
    } else {
        while line.window.next().await.is_some() {}
    }
}

struct Line<'a, S, H> {
    context: Context<'a>,
    stream: S,
    handler: H,
    decoder: Decoder,
    window: Window<Answers>,
    buffer: Vec<u8>,
    /// What of `buffer` the decoder has not taken yet.
    unread: Range<usize>,
    input: Input,
    /// The shares of a large frame that has begun, the furthest reaching last.
    reading: Vec<Share>,
    /// Nothing more is read or begun until the budget gives this.
    waiting: Option<Waiting>,
    /// When the peer last did what it should: began or ended a frame, sent something between frames, took an answer.
    since: Instant,
}

struct Waiting {
    claim: Claim,
    /// What it is for: the work on this, else reading on.
    received: Option<Received>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// No more will be read; what was read still counts.
    Ended,
    /// No more frames are taken.
    Closed,
}

impl<S, H, F> Line<'_, S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Received, Peer, Turn) -> F,
    F: Future<Output = Answers> + Send + 'static,
{
    /// Until all that was taken is answered (`true`) or answering has become impossible (`false`).
    async fn work(&mut self) -> bool {
        loop {
            self.hand_over();
            if self.input == Input::Closed && self.window.is_empty() && self.waiting.is_none() {
                return true;
            }
            let in_frame = self.decoder.in_frame();
            let silent = self.window.is_empty() && self.waiting.is_none() && !in_frame;
            self.context.slot.mark(silent.then_some(self.since));
            let limits = self.context.limits;
            let patience = if in_frame { limits.in_frame } else { limits.idle };
            let is_free = self.input == Input::Open && self.waiting.is_none();
            tokio::select! {
                biased;
                Some(result) = self.window.next() => {
                    if !self.answer(result).await {
                        return false;
                    }
                }
                () = self.context.slot.close.cancelled(), if self.input != Input::Closed => {
                    self.input = Input::Closed;
                    self.waiting = None;
                }
                share = granted(&mut self.waiting) => self.go_on(share),
                read = self.stream.read(&mut self.buffer), if is_free && self.unread.is_empty() => self.take(read),
                () = sleep_until((self.since + patience).into()), if is_free && self.window.is_empty() => {
                    self.time_out(in_frame);
                }
            }
        }
    }

    fn take(&mut self, read: std::io::Result<usize>) {
        match read {
            Ok(0) => self.input = Input::Ended,
            Ok(count) => {
                self.unread = 0..count;
                // Bytes inside a frame are no sign of progress: one a minute would hold the connection for ever.
                if !self.decoder.in_frame() {
                    self.since = Instant::now();
                }
            }
            Err(error) => {
                tracing::debug!(source = self.context.source, peer = %self.context.peer.address, %error, "connection lost");
                self.input = Input::Ended;
            }
        }
    }

    fn time_out(&mut self, in_frame: bool) {
        let Context { source, peer, statistics, .. } = &self.context;
        if in_frame {
            Statistics::add(&statistics.frame_timeouts, 1);
            tracing::warn!(source, peer = %peer.address, "a frame was begun and not ended in time; connection closed");
        } else {
            Statistics::add(&statistics.idle_timeouts, 1);
            tracing::debug!(source, peer = %peer.address, "silent connection closed");
        }
        self.input = Input::Ended;
    }

    /// Starts the work on the frames that were read, as far as there is room.
    fn hand_over(&mut self) {
        while self.input != Input::Closed && self.waiting.is_none() && self.window.has_room() {
            let mut rest = &self.buffer[self.unread.clone()];
            let event = self.decoder.next(&mut rest);
            self.unread.start = self.unread.end - rest.len();
            match event {
                Some(event) => self.event(event),
                None if self.input == Input::Ended => {
                    if let Some(event) = self.decoder.finish() {
                        self.event(event);
                    }
                    self.input = Input::Closed;
                }
                None => {
                    let (bytes, guess) = self.decoder.junk();
                    if bytes > self.context.limits.junk || is_another_protocol(guess) {
                        self.input = Input::Ended;
                        continue;
                    }
                    return self.reserve();
                }
            }
        }
    }

    /// Takes the next share for the frame that is being read, once it is larger than what it has: that is at most one read too late.
    fn reserve(&mut self) {
        let reach = self.reading.last().map_or(SMALL, Share::reach);
        if self.decoder.held() <= reach {
            return;
        }
        match self.context.budget.reading(reach) {
            Ok(share) => self.reading.push(share),
            Err(claim) => self.waiting = Some(Waiting { claim, received: None }),
        }
    }

    fn event(&mut self, event: Event) {
        let Context { source, peer, statistics, .. } = &self.context;
        let received = match event {
            Event::Received(received) => received,
            Event::Junk { bytes, guess } => {
                Statistics::add(&statistics.junk_bytes, bytes);
                tracing::warn!(source, peer = %peer.address, bytes, "{}", guess.hint());
                if is_another_protocol(guess) {
                    self.input = Input::Closed;
                }
                return;
            }
        };
        self.since = Instant::now();
        match &received {
            Received::Whole(_) => Statistics::add(&statistics.frames, 1),
            Received::TooLarge { length, .. } => {
                Statistics::add(&statistics.frames, 1);
                Statistics::add(&statistics.too_large, 1);
                let limit = self.context.limits.frame.message;
                tracing::warn!(source, peer = %peer.address, bytes = length, limit, "message above the size limit refused");
            }
            Received::Cut { length, .. } => {
                Statistics::add(&statistics.cut, 1);
                tracing::warn!(source, peer = %peer.address, bytes = length, "a frame without an end, kept but not answered");
            }
        }
        match self.context.budget.work(received.weight()) {
            Ok(share) => self.start(received, share),
            Err(claim) => self.waiting = Some(Waiting { claim, received: Some(received) }),
        }
    }

    /// What was waited for has been given.
    fn go_on(&mut self, share: Option<Share>) {
        let received = self.waiting.take().and_then(|waiting| waiting.received);
        // It was not the peer who kept us waiting.
        self.since = Instant::now();
        match (share, received) {
            (Some(share), Some(received)) => self.start(received, share),
            (share, None) => self.reading.extend(share),
            (None, Some(_)) => self.input = Input::Closed,
        }
    }

    /// Starts the work on a frame. Its bytes are counted until it is done, whatever becomes of the connection.
    fn start(&mut self, received: Received, share: Share) {
        self.reading.clear();
        let answered = !matches!(received, Received::Cut { .. });
        let (handler, peer) = (&self.handler, self.context.peer);
        self.window.start(received.held(), |turn| {
            let work = handler(received, peer, turn);
            async move {
                let answers = work.await;
                drop(share);
                if answered { answers } else { Answers::new() }
            }
        });
    }

    /// Writes one frame's answers, and in the same go those after it that are there already: a group commit finishes many
    /// messages at once. `false`: the line is broken.
    async fn answer(&mut self, first: Result<Answers, JoinError>) -> bool {
        let Context { source, peer, statistics, .. } = &self.context;
        let mut bytes = Vec::new();
        let mut count = 0;
        let mut unbroken = true;
        let mut next = Some(first);
        while let Some(result) = next {
            match result {
                Ok(answers) => {
                    count += answers.len() as u64;
                    bytes.extend(answers.iter().flat_map(|answer| framed(answer)));
                }
                Err(_) => {
                    Statistics::add(&statistics.panics, 1);
                    tracing::error!(source, peer = %peer.address, "a message could not be answered: its handler panicked; connection closed");
                    unbroken = false;
                    break;
                }
            }
            next = self.window.next_ready().await;
        }
        let stream = &mut self.stream;
        let written = timeout(self.context.limits.write, async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => Statistics::add(&statistics.answers, count),
            failed => {
                Statistics::add(&statistics.undelivered, 1);
                let reason = failed.map_or("not taken in time".to_owned(), |result| {
                    result.map_or_else(|error| error.to_string(), |()| String::new())
                });
                tracing::warn!(source, peer = %peer.address, reason, "answers could not be delivered; the sender will send again");
                unbroken = false;
            }
        }
        self.since = Instant::now();
        unbroken
    }

    /// Says good-bye and waits a moment for the peer to do so, so that the last answers arrive.
    async fn close(&mut self) {
        let Self { stream, buffer, .. } = self;
        let _ = timeout(self.context.limits.linger, async {
            stream.shutdown().await?;
            while stream.read(buffer).await? > 0 {}
            Ok::<_, std::io::Error>(())
        })
        .await;
    }
}

/// Resolves when the budget gives what is waited for. May be cancelled without losing the place in the line.
async fn granted(waiting: &mut Option<Waiting>) -> Option<Share> {
    match waiting {
        Some(waiting) => waiting.claim.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Nothing that such a peer sends can become a message, and a handshake holds bytes that look like framing.
fn is_another_protocol(guess: Guess) -> bool {
    matches!(guess, Guess::Tls | Guess::Http)
}
