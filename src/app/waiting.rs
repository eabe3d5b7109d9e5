//! Messages that wait for a code are taken in again by themselves once a mapping knows it: after a start, and after each new set.
//!
//! Invariants
//! - One at a time, in the order of arrival, each after the commit of the one before; live messages always come between.
//! - A message is tried once with each version of its mapping, except one that would become worse.
//! - What was processed stays so: where a retry would fail or ignore it, the message, what it did and what it waits for stay.
//! - A retry takes the message's old place, so it never turns newer values back.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::mappings::{Set, named};
use super::now;
use super::supervise::supervise;
use crate::pipeline::{self, Again, Done};
use crate::store::messages::{Message, MessageState};
use crate::store::unmapped::{self, OTHERS};
use crate::store::{Store, StoreError, Transaction, WriteError};

/// Messages looked at together.
const PAGE: usize = 500;
/// Pause after each retry, so that live messages always come between.
const PAUSE: Duration = Duration::from_millis(5);
/// Jobs that wait for the writer above which a retry waits too.
const BUSY: u64 = 16;
/// How long it waits then.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// After this time whatever was read with the set before has been committed: a second walk finds it.
const SETTLED: Duration = Duration::from_secs(10);

/// Retries what waited, after each change of `sets`, until `stop`.
pub(super) async fn keep(store: Store, sets: watch::Receiver<Set>, stop: CancellationToken) {
    supervise("waiting messages", &stop, |_| (), || serve(store.clone(), sets.clone(), stop.clone())).await;
}

async fn serve(store: Store, mut sets: watch::Receiver<Set>, stop: CancellationToken) {
    loop {
        let set = Arc::clone(&sets.borrow_and_update());
        for pause in [Some(SETTLED), None] {
            if let Err(error) = walk(&store, &set, &sets, &stop).await {
                tracing::warn!(%error, "messages that wait for a code could not be taken in again");
            }
            let rest = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = sets.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = rest => {}
            }
        }
    }
}

/// One walk over all that waits. Ends early for a newer set.
async fn walk(
    store: &Store,
    set: &Set,
    sets: &watch::Receiver<Set>,
    stop: &CancellationToken,
) -> Result<(), WriteError> {
    let listed = store.read_async(|reader| unmapped::list(reader, usize::MAX)).await.map_err(WriteError::Job)?;
    let is_known = |code: &&unmapped::UnmappedCode| {
        named(set, &code.source)
            .is_some_and(|source| code.code == OTHERS || source.mapping.knows(&code.table, &code.code))
    };
    let known: BTreeSet<i64> = listed.iter().filter(is_known).map(|code| code.id).collect();
    if known.is_empty() {
        return Ok(());
    }
    let (mut after, mut retried, mut left) = (0, 0, 0);
    'walk: loop {
        let page = store.read_async(move |reader| unmapped::waiting(reader, after, PAGE)).await;
        let page = page.map_err(WriteError::Job)?;
        if page.is_empty() {
            break;
        }
        for message in page {
            after = message.message;
            let source = named(set, &message.source).filter(|source| source.mapping.version() != message.mapping);
            let Some(source) = source.filter(|_| message.codes.iter().any(|code| known.contains(code))) else {
                continue;
            };
            while store.writer_statistics().queue_depth.load(Ordering::Relaxed) > BUSY && !stop.is_cancelled() {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            if stop.is_cancelled() || sets.has_changed().unwrap_or(true) {
                break 'walk;
            }
            let id = message.message;
            let reading = store.clone();
            let prepared = tokio::task::spawn_blocking(move || pipeline::prepare_again(&reading, &source, id)).await;
            let Some(again) = prepared.map_err(|_| WriteError::Panicked)?.map_err(WriteError::Job)? else { continue };
            match store.submit(move |transaction| take_in(transaction, again)).await? {
                Some(_) => retried += 1,
                None => left += 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    if retried > 0 {
        tracing::info!(messages = retried, "messages that waited for a code were taken in again");
    }
    if left > 0 {
        tracing::warn!(
            messages = left,
            "messages whose code is known now stay as they are: they are gone, dismissed, or the mapping of now would not process them"
        );
    }
    // Codes whose messages retention has removed have nobody left to release them.
    let known: Vec<i64> =
        listed.iter().filter(|code| known.contains(&code.id) && code.code != OTHERS).map(|code| code.id).collect();
    store
        .submit(move |transaction| known.iter().try_for_each(|id| unmapped::forget_unless_held(transaction, *id)))
        .await
}

/// Takes one message in again, unless it was dismissed or would no longer be processed; then all stays as it was.
fn take_in(transaction: &Transaction<'_>, again: Again) -> Result<Option<Done>, StoreError> {
    let was_processed = Cell::new(false);
    let wanted = |message: &Message| {
        was_processed.set(message.outcome.state == MessageState::Processed);
        !message.is_dismissed()
    };
    let taken = transaction.savepoint(|transaction| {
        match pipeline::commit_again(transaction, again, wanted, now()).map_err(Untaken::Store)? {
            Some(done) if was_processed.get() && done.state != MessageState::Processed => Err(Untaken::Worse),
            done => Ok(done),
        }
    });
    match taken {
        Ok(done) => Ok(done),
        Err(Untaken::Worse) => Ok(None),
        Err(Untaken::Store(error)) => Err(error),
    }
}

/// Why a retry is taken back.
enum Untaken {
    /// The message was processed and would be no more.
    Worse,
    /// The store says so.
    Store(StoreError),
}

impl From<StoreError> for Untaken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
