//! Messages that wait for a code are taken in again by themselves once the mapping in force knows it. It is looked for them again and
//! again, because another process (`heyi import`, `heyi message retry`) may store one that waits at any time.
//!
//! Invariants
//! - One at a time, in the order of arrival, each after the commit of the one before; live messages always come between.
//! - A message is tried once with each set of mappings. A defect or an error that is its own costs the others nothing.
//! - What the store cannot write at the moment is tried again.
//! - What was processed stays so: where a retry would fail or ignore it, the message, what it did and what it waits for stay.
//! - A retry takes the message's old place, so it never turns newer values back.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mappings::{Set, named};
use super::now;
use super::supervise::supervise;
use crate::pipeline::{self, Again, Done};
use crate::store::messages::{self, Message, MessageState};
use crate::store::unmapped::{self, OTHERS};
use crate::store::{ErrorClass, Store, StoreError, Transaction, WriteError};
use crate::telemetry::{Metrics, WaitingRetry};

/// Between two looks. One costs a short read where nothing waits, and whatever was read with the set before is committed long since
/// when the second comes.
const LOOK: Duration = Duration::from_secs(10);
/// A look that took long is followed by so many times its length: looking shall not take a processor's twentieth part.
const REST: u32 = 20;
/// Pause after each retry, so that live messages always come between.
const PAUSE: Duration = Duration::from_millis(5);
/// Jobs that wait for the writer above which a retry waits too.
const BUSY: u64 = 16;
/// How long it waits then.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How often a message is tried while the store cannot write, before the next one has its turn.
const TRIES: u32 = 5;
/// How long the store is left alone after that has happened once, and so many times as often.
const UNWRITTEN_PAUSE: Duration = Duration::from_millis(200);

/// Retries what waits for a code that the newest of `sets` knows, until `stop`.
pub(super) async fn keep(store: Store, sets: watch::Receiver<Set>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let start = || serve(store.clone(), sets.clone(), Arc::clone(&metrics), stop.clone());
    supervise("waiting messages", &stop, |_| (), start).await;
}

async fn serve(store: Store, mut sets: watch::Receiver<Set>, metrics: Arc<Metrics>, stop: CancellationToken) {
    loop {
        let set = Arc::clone(&sets.borrow_and_update());
        // What stays as it is under this set.
        let mut settled = BTreeSet::new();
        loop {
            let begun = Instant::now();
            let found = look(&store, &set).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "messages that wait for a code could not be looked for; done again later");
                BTreeSet::new()
            });
            let pause = LOOK.max(begun.elapsed() * REST);
            let is_over = || stop.is_cancelled() || sets.has_changed().unwrap_or(true);
            let counted =
                walk(&found, &mut settled, is_over, |id| retry(store.clone(), Arc::clone(&set), id, stop.clone()));
            counted.await.tell(&metrics);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = sets.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// The messages that wait for a code which the set knows. A known code that nobody waits for any more leaves the list: retention has
/// removed its messages.
async fn look(store: &Store, set: &Set) -> Result<BTreeSet<i64>, WriteError> {
    let known = Arc::clone(set);
    let read = store.read_async(move |reader| {
        let (mut waiting, mut released) = (BTreeSet::new(), Vec::new());
        for code in unmapped::codes(reader)? {
            let Some(source) = named(&known, &code.source) else { continue };
            if code.code != OTHERS && !source.mapping.knows(&code.table, &code.code) {
                continue;
            }
            let held = unmapped::held_by(reader, code.id, source.mapping.version())?;
            if !held.is_held && code.code != OTHERS {
                released.push(code.id);
            }
            waiting.extend(held.messages);
        }
        Ok((waiting, released))
    });
    let (waiting, released) = read.await.map_err(WriteError::Job)?;
    if !released.is_empty() {
        let forget = move |transaction: &Transaction<'_>| {
            released.iter().try_for_each(|id| unmapped::forget_unless_held(transaction, *id))
        };
        store.submit(forget).await?;
    }
    Ok(waiting)
}

/// What a walk did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    /// Taken in again.
    taken_in: u64,
    /// Left as they are.
    left: u64,
    /// An error of their own, or a defect.
    failed: u64,
    /// The store could not write them: tried again with the next look.
    unwritten: u64,
}

impl Counted {
    fn tell(&self, metrics: &Metrics) {
        let Self { taken_in, left, failed, unwritten } = *self;
        if taken_in > 0 {
            tracing::info!(messages = taken_in, "messages that waited for a code were taken in again");
        }
        if left > 0 {
            tracing::warn!(
                messages = left,
                "messages whose code is known now stay as they are: they are gone, dismissed, or the mapping of now would not process them"
            );
        }
        if unwritten > 0 {
            tracing::warn!(
                messages = unwritten,
                "messages that waited for a code could not be written; tried again later"
            );
        }
        metrics.waiting_retry(WaitingRetry::TakenIn, taken_in);
        metrics.waiting_retry(WaitingRetry::Left, left);
        metrics.waiting_retry(WaitingRetry::Failed, failed);
    }
}

/// Has each of these messages tried that is not settled, in the order of arrival. Ends early when `is_over` or the store has stopped.
async fn walk<F>(
    found: &BTreeSet<i64>,
    settled: &mut BTreeSet<i64>,
    is_over: impl Fn() -> bool,
    retry: impl Fn(i64) -> F,
) -> Counted
where
    F: Future<Output = Result<Option<Done>, WriteError>>,
{
    // What waits no more need not be remembered.
    settled.retain(|id| found.contains(id));
    let mut counted = Counted::default();
    for id in found {
        if settled.contains(id) {
            continue;
        }
        let mut tries = 0;
        let tried = loop {
            if is_over() {
                return counted;
            }
            tries += 1;
            match retry(*id).await {
                Err(error) if error.class() == ErrorClass::Transient && tries < TRIES => {
                    tokio::time::sleep(UNWRITTEN_PAUSE * tries).await;
                }
                tried => break tried,
            }
        };
        match tried {
            Ok(Some(_)) => counted.taken_in += 1,
            Ok(None) => {
                counted.left += 1;
                settled.insert(*id);
            }
            Err(error) => match error.class() {
                ErrorClass::Transient => counted.unwritten += 1,
                ErrorClass::Content => {
                    tracing::error!(message = id, %error, "a message that waited for a code could not be taken in again");
                    counted.failed += 1;
                    settled.insert(*id);
                }
                ErrorClass::Fatal => {
                    tracing::error!(%error, "messages that wait for a code cannot be taken in again");
                    return counted;
                }
            },
        }
        tokio::time::sleep(PAUSE).await;
    }
    counted
}

/// Tries one message with the mapping of its source in the set, once the writer has time. `None`: it stays as it is.
async fn retry(store: Store, set: Set, id: i64, stop: CancellationToken) -> Result<Option<Done>, WriteError> {
    while store.writer_statistics().queue_depth.load(Ordering::Relaxed) > BUSY && !stop.is_cancelled() {
        tokio::time::sleep(BUSY_PAUSE).await;
    }
    let reading = store.clone();
    let prepared = tokio::task::spawn_blocking(move || {
        let message = reading.read(|reader| messages::get(reader, id))?;
        let source = message.and_then(|message| named(&set, &message.source));
        source.map_or(Ok(None), |source| pipeline::prepare_again(&reading, &source, id))
    });
    // Whoever panics there says so in the log.
    let Some(again) = prepared.await.map_err(|_| WriteError::Panicked)?.map_err(WriteError::Job)? else {
        return Ok(None);
    };
    store.submit(move |transaction| take_in(transaction, again)).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn done(id: i64) -> Done {
        Done { id, state: MessageState::Processed, received_at: 0, error: None, repeat: false }
    }

    /// Walks over messages 1 to 4; gives what was tried and what is settled with the count.
    async fn walked(
        settled: &[i64],
        answer: impl Fn(i64, usize) -> Result<Option<Done>, WriteError>,
    ) -> (Vec<i64>, Vec<i64>, Counted) {
        let (tried, mut settled) = (RefCell::new(Vec::new()), settled.iter().copied().collect());
        let found = BTreeSet::from([1, 2, 3, 4]);
        let counted = walk(
            &found,
            &mut settled,
            || false,
            |id| {
                let before = tried.borrow().iter().filter(|tried| **tried == id).count();
                tried.borrow_mut().push(id);
                std::future::ready(answer(id, before))
            },
        );
        let counted = counted.await;
        (tried.into_inner(), settled.into_iter().collect(), counted)
    }

    #[tokio::test]
    async fn a_defect_or_an_error_costs_the_one_message_that_has_it() {
        let constraint = WriteError::Job(StoreError::Constraint { reason: "as asked".to_owned() });
        let (tried, settled, counted) = walked(&[], |id, _| match id {
            1 => Err(WriteError::Panicked),
            2 => Err(constraint.clone()),
            3 => Ok(None),
            _ => Ok(Some(done(id))),
        })
        .await;
        assert_eq!((tried, settled), (vec![1, 2, 3, 4], vec![1, 2, 3]), "the first three are not tried again");
        assert_eq!(counted, Counted { taken_in: 1, left: 1, failed: 2, unwritten: 0 });
    }

    #[tokio::test]
    async fn what_is_settled_is_tried_no_more_and_forgotten_when_it_is_gone() {
        let (tried, settled, counted) = walked(&[2, 4, 9], |id, _| Ok(Some(done(id)))).await;
        assert_eq!((tried, settled, counted.taken_in), (vec![1, 3], vec![2, 4], 2));
    }

    #[tokio::test]
    async fn what_cannot_be_written_now_is_tried_again_and_then_left_for_the_next_look() {
        let full = WriteError::Commit(StoreError::DiskFull);
        let (tried, settled, counted) = walked(&[], |id, before| match id {
            1 if before < 2 => Err(full.clone()),
            3 => Err(full.clone()),
            _ => Ok(Some(done(id))),
        })
        .await;
        assert_eq!((tried, settled), (vec![1, 1, 1, 2, 3, 3, 3, 3, 3, 4], vec![]));
        assert_eq!(counted, Counted { taken_in: 3, left: 0, failed: 0, unwritten: 1 });
    }

    #[tokio::test]
    async fn a_store_that_has_stopped_ends_the_walk() {
        let stopped = WriteError::Stopped { reason: "as asked".to_owned() };
        let (tried, settled, _) = walked(&[], |_, _| Err(stopped.clone())).await;
        assert_eq!((tried, settled), (vec![1], vec![]));
    }
}
