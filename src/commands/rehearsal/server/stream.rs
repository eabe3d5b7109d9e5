//! The stage as server-sent events: what a page tells, as it comes. A stream that cannot go on ends; whoever comes back is told why.

use std::io;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::{mpsc, watch};

use super::super::stage::{Page, Reply};
use super::{LONGEST_WAIT, Shared, busy, problem};
use crate::feed::Position;
use crate::http::{EVENT_STREAM, Pieces, ProblemKind};

/// Events in one piece.
const EVENTS: usize = 100;

/// Bytes of the next event that are there as well where a stream breaks off.
const TORN: usize = 20;

/// Opens a stream after a position, else where the consumer has committed.
///
/// # Errors
/// The answer that it cannot be opened.
pub(super) fn open(shared: &Shared, after: Option<&str>) -> Result<Response, Response> {
    let after = after.map(str::parse::<Position>).transpose();
    let after = after.map_err(|error| problem(ProblemKind::CursorNotValid, &error.to_string()))?;
    let moved = shared.0.moved.subscribe();
    match shared.with(|stage| stage.ask(after, EVENTS, true, Instant::now(), true)) {
        Reply::Busy(status, seconds) => Err(busy(status, seconds)),
        Reply::Problem(kind, what) => Err(problem(kind, &what)),
        reply => {
            let (pieces, body) = mpsc::channel(1);
            tokio::spawn(run(shared.clone(), moved, reply, pieces));
            Ok(([(header::CONTENT_TYPE, EVENT_STREAM)], Body::new(Pieces(body))).into_response())
        }
    }
}

async fn run(
    shared: Shared,
    mut moved: watch::Receiver<u64>,
    mut reply: Reply,
    pieces: mpsc::Sender<io::Result<Bytes>>,
) {
    let send = async |text: String| pieces.send(Ok(Bytes::from(text))).await.is_ok();
    if !send("retry: 200\n: connected\n\n".to_owned()).await {
        return;
    }
    loop {
        let told = match reply {
            Reply::Page(page) if send(page.server_sent().concat()).await => page.next,
            Reply::Cut(page) => {
                send(torn(&page)).await;
                // Whoever reads sees an error, not an end. Nobody may be there to see it.
                let _ = pieces.send(Err(io::Error::from(io::ErrorKind::ConnectionAborted))).await;
                return;
            }
            Reply::Empty(page) => {
                let news = tokio::select! {
                    () = pieces.closed() => return,
                    news = tokio::time::timeout(LONGEST_WAIT, moved.changed()) => news,
                };
                if news.is_err() {
                    shared.with(|stage| stage.nothing_streamed(page.next, Instant::now()));
                    if !send(": \n\n".to_owned()).await {
                        return;
                    }
                }
                page.next
            }
            Reply::Page(_) | Reply::Busy(..) | Reply::Problem(..) => return,
        };
        // Seen before looking: what is told meanwhile wakes us.
        moved.mark_unchanged();
        match shared.look(|stage| stage.go_on(told, EVENTS, Instant::now())) {
            Some(next) => reply = next,
            None => return,
        }
    }
}

/// Half of the events, and the beginning of the next one.
fn torn(page: &Page) -> String {
    let texts = page.server_sent();
    let whole = page.events.len() / 2;
    let mut text = texts.iter().take(whole).map(String::as_str).collect::<String>();
    text.extend(texts.get(whole).into_iter().flat_map(|next| next.chars().take(TORN)));
    text
}
