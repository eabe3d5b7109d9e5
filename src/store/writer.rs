//! The one writing thread: many jobs, one transaction, one fsync, then all answers.
//!
//! A batch is whatever waited while the last commit was on its way to disk, up to a limit of jobs and of time; there is no
//! timer. Each job runs in a savepoint.
//!
//! Invariants
//! - A job's `Ok` is sent after the `COMMIT` that holds it returned, with `synchronous=FULL`; never before.
//! - A job that fails or panics is rolled back alone.
//! - Whatever ends the whole transaction (disk full, a lost lock) reaches every job of the batch as an error.
//! - I/O errors and corruption stop the writer for good: every later job is refused with the name of the failure.

use std::cell::Cell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Params};
use tokio::sync::{mpsc, oneshot, watch};

use super::audit::{self, Sealer};
use super::checkpoint::Checkpointer;
use super::lock::DaemonLock;
use super::reader::Reader;
use super::{ErrorClass, Limits, StoreError, WriteError, events};
use crate::audit::Checkpoint;

/// The open transaction of the writer, as a job sees it. Reads see everything that this and earlier jobs wrote.
pub struct Transaction<'c> {
    reader: Reader<'c>,
    appended: Cell<bool>,
    /// The audit trail has new entries, which the commit has signed.
    audited: Cell<bool>,
    checkpoint_asked: Cell<bool>,
    sealer: &'c Sealer,
    /// Open savepoints below the job's own.
    parts: Cell<u32>,
}

impl<'c> Deref for Transaction<'c> {
    type Target = Reader<'c>;

    fn deref(&self) -> &Reader<'c> {
        &self.reader
    }
}

impl<'c> Transaction<'c> {
    fn new(connection: &'c Connection, sealer: &'c Sealer) -> Self {
        Self {
            reader: Reader::new(connection),
            appended: Cell::new(false),
            audited: Cell::new(false),
            checkpoint_asked: Cell::new(false),
            sealer,
            parts: Cell::new(0),
        }
    }

    /// Runs `work`; when it fails, everything that it wrote is taken back and the transaction goes on. May be nested.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::TransactionLost`] when the database ended the transaction meanwhile.
    pub fn savepoint<T, E: From<StoreError>>(&self, work: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        self.parts.set(self.parts.get() + 1);
        let result = self.scoped("SAVEPOINT part", "RELEASE part", "ROLLBACK TO part", work);
        self.parts.set(self.parts.get() - 1);
        result
    }

    /// Runs `work` as the first writing of a job (or of a [`Transaction::savepoint`]); when it fails, everything that was written
    /// since the job began is taken back and the job goes on. Unlike a savepoint of its own it costs nothing where it succeeds.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::TransactionLost`] when the database ended the transaction meanwhile.
    pub fn attempt<T, E: From<StoreError>>(&self, work: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        let result = work(self);
        if result.is_err() {
            if self.lost() {
                return Err(StoreError::TransactionLost.into());
            }
            self.execute(if self.parts.get() > 0 { "ROLLBACK TO part" } else { "ROLLBACK TO job" })?;
        }
        result
    }

    /// A job's own savepoint has another name: after a panic inside a `part`, the whole job is rolled back, and with it that part.
    fn job<T, E: From<StoreError>>(&self, work: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        self.parts.set(0);
        self.scoped("SAVEPOINT job", "RELEASE job", "ROLLBACK TO job", work)
    }

    fn scoped<T, E: From<StoreError>>(
        &self,
        begin: &str,
        release: &str,
        undo: &str,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.execute(begin)?;
        let result = catch_unwind(AssertUnwindSafe(|| work(self)));
        // Past this point nothing may be written outside the transaction, so a lost one ends the job, whatever it says.
        if self.lost() {
            return Err(StoreError::TransactionLost.into());
        }
        if !matches!(result, Ok(Ok(_))) {
            self.execute(undo)?;
        }
        self.execute(release)?;
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn execute(&self, statement: &str) -> Result<(), StoreError> {
        self.run(statement, []).map(drop)
    }

    /// Runs a writing statement; gives the number of rows that it changed.
    pub(super) fn run(&self, sql: &str, values: impl Params) -> Result<usize, StoreError> {
        Ok(self.connection().prepare_cached(sql)?.execute(values)?)
    }

    /// Runs an INSERT; gives the new row's number.
    pub(super) fn insert(&self, sql: &str, values: impl Params) -> Result<i64, StoreError> {
        Ok(self.connection().prepare_cached(sql)?.insert(values)?)
    }

    /// Some errors (disk full, out of memory) make SQLite roll the whole transaction back by itself.
    fn lost(&self) -> bool {
        self.connection().is_autocommit()
    }

    /// To be called by whoever appends to the log: the head is published after the commit.
    pub(super) fn note_append(&self) {
        self.appended.set(true);
    }

    /// To be called by whoever appends to the audit trail: the commit signs its newest entry.
    pub(super) fn note_audited(&self) {
        self.audited.set(true);
    }

    /// Has the commit make a regular checkpoint of the audit trail.
    pub(super) fn ask_for_checkpoint(&self) {
        self.checkpoint_asked.set(true);
    }

    /// What signs the audit trail.
    pub(super) fn sealer(&self) -> &Sealer {
        self.sealer
    }
}

/// What the writer has done since it started. Plain counters; read them at any time.
#[derive(Debug, Default)]
pub struct WriterStatistics {
    /// Jobs that wait or run now.
    pub queue_depth: AtomicU64,
    /// Committed transactions.
    pub batches: AtomicU64,
    /// Jobs that were committed.
    pub jobs: AtomicU64,
    /// Jobs that failed by themselves.
    pub failed_jobs: AtomicU64,
    /// Jobs that panicked.
    pub panics: AtomicU64,
    /// Transactions that could not be begun or committed.
    pub failed_batches: AtomicU64,
    /// Time spent in jobs, nanoseconds.
    pub work_nanoseconds: AtomicU64,
    /// Time spent in COMMIT (write and fsync), nanoseconds.
    pub commit_nanoseconds: AtomicU64,
    /// Checkpoints completed by the checkpointing thread.
    pub checkpoints: AtomicU64,
    /// Times that the writer reset the write-ahead log because it passed its bound.
    pub log_resets: AtomicU64,
    /// Pages in the write-ahead log after the last commit.
    pub wal_pages: AtomicU32,
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A job that is in the queue. Dropping it does not take the job back; only its answer is lost.
#[must_use = "the job's result arrives here, after its commit"]
#[derive(Debug)]
pub struct Pending<T> {
    answer: oneshot::Receiver<Result<T, WriteError>>,
}

impl<T> Future for Pending<T> {
    type Output = Result<T, WriteError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(closed())))
    }
}

impl<T> Pending<T> {
    /// Waits on the calling thread. Not inside an async task: it would block the runtime (and tokio panics).
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn wait(self) -> Result<T, WriteError> {
        self.answer.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }
}

pub(super) fn closed() -> WriteError {
    WriteError::Stopped { reason: "the store is closed".to_owned() }
}

/// Tells a job's caller how it ended; given the fate of the whole transaction.
type Answer = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

/// A job after it ran and before its transaction is committed.
pub(super) struct Ran {
    failure: Option<WriteError>,
    answer: Answer,
}

/// Runs in the transaction, or learns why there is none.
pub(super) type Job = Box<dyn for<'c> FnOnce(Result<&Transaction<'c>, WriteError>) -> Option<Ran> + Send>;

pub(super) enum Command {
    Run(Job),
    /// Finish what is in the queue, take nothing new, end.
    Close,
}

/// Packs `work` for the queue.
pub(super) fn job<T, F>(work: F) -> (Command, Pending<T>)
where
    T: Send + 'static,
    F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
{
    let (sender, answer) = oneshot::channel();
    let run = move |transaction: Result<&Transaction<'_>, WriteError>| {
        // A caller that went away no longer wants the answer; the job counts all the same.
        let transaction = match transaction {
            Ok(transaction) => transaction,
            Err(error) => {
                let _ = sender.send(Err(error));
                return None;
            }
        };
        let outcome = match catch_unwind(AssertUnwindSafe(|| transaction.job(work))) {
            Ok(result) => result.map_err(WriteError::Job),
            Err(_) => Err(WriteError::Panicked),
        };
        let failure = outcome.as_ref().err().cloned();
        let answer = Box::new(move |committed: Result<(), WriteError>| {
            let _ = sender.send(outcome.and_then(|value| committed.map(|()| value)));
        });
        Some(Ran { failure, answer })
    };
    (Command::Run(Box::new(run)), Pending { answer })
}

/// The writing thread's own things.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) queue: mpsc::Receiver<Command>,
    pub(super) limits: Limits,
    pub(super) statistics: Arc<WriterStatistics>,
    pub(super) head: watch::Sender<u64>,
    pub(super) failure: watch::Sender<Option<String>>,
    pub(super) checkpointer: Checkpointer,
    pub(super) sealer: Arc<Sealer>,
    /// Held until the thread ends, so that the next daemon starts on a closed store.
    pub(super) lock: Option<DaemonLock>,
}

impl Writer {
    /// Works until the queue is closed, or every [`super::Store`] is dropped, and then leaves a store without a log to replay.
    pub(super) fn run(mut self) {
        while let Some(command) = self.queue.blocking_recv() {
            match command {
                Command::Run(job) => self.batch(job),
                Command::Close => self.queue.close(),
            }
            self.checkpointer.after_batch(&mut self.connection);
        }
        self.checkpointer.close(&mut self.connection, self.lock.is_some());
        drop(self.connection);
        drop(self.lock);
    }

    fn batch(&mut self, first: Job) {
        let stopped = self.failure.borrow().clone();
        let begun = match stopped {
            Some(reason) => Err(WriteError::Stopped { reason }),
            None => begin(&self.connection).map_err(|error| self.note_failure(error)),
        };
        if let Err(error) = begun {
            add(&self.statistics.failed_batches, 1);
            // All who wait learn it now: the next would only wait for the same lock as long again.
            let mut waiting = Some(first);
            while let Some(job) = waiting {
                self.statistics.queue_depth.fetch_sub(1, Ordering::Relaxed);
                job(Err(error.clone()));
                waiting = next(&mut self.queue);
            }
            return;
        }
        let started = Instant::now();
        let transaction = Transaction::new(&self.connection, &self.sealer);
        let mut ran = Vec::new();
        let mut waiting = Some(first);
        while let Some(job) = waiting {
            self.statistics.queue_depth.fetch_sub(1, Ordering::Relaxed);
            ran.extend(job(Ok(&transaction)));
            let full = ran.len() >= self.limits.batch_jobs || started.elapsed() >= self.limits.batch_time;
            if full || transaction.lost() || fatal(&ran).is_some() {
                break;
            }
            waiting = next(&mut self.queue);
        }
        let worked = Instant::now();
        add(&self.statistics.work_nanoseconds, nanoseconds(worked - started));
        let committed = self.commit(&transaction, &ran);
        add(&self.statistics.commit_nanoseconds, nanoseconds(worked.elapsed()));
        let fate = match committed {
            Ok((head, checkpoint)) => {
                add(&self.statistics.batches, 1);
                if let Some(error) = checkpoint.and_then(|made| self.sealer.publish(&made).err()) {
                    tracing::error!(%error, "a checkpoint of the audit trail is in the store only; copied at the next start");
                }
                if let Some(head) = head {
                    self.head.send_replace(head);
                }
                Ok(())
            }
            Err(error) => {
                add(&self.statistics.failed_batches, 1);
                if !transaction.lost() {
                    // A failure here means that the transaction is gone already, which is what was wanted.
                    let _ = self.connection.execute_batch("ROLLBACK");
                }
                Err(self.note_failure(error))
            }
        };
        for Ran { failure, answer } in ran {
            match failure {
                None if fate.is_ok() => add(&self.statistics.jobs, 1),
                None => {}
                Some(WriteError::Panicked) => add(&self.statistics.panics, 1),
                Some(_) => add(&self.statistics.failed_jobs, 1),
            }
            answer(fate.clone());
        }
    }

    /// Commits, unless the transaction may not be committed; gives the log's new head if it moved, and the audit trail's new
    /// checkpoint if one was made.
    fn commit(
        &self,
        transaction: &Transaction<'_>,
        ran: &[Ran],
    ) -> Result<(Option<u64>, Option<Checkpoint>), StoreError> {
        if let Some(error) = fatal(ran) {
            return Err(error.clone());
        }
        if transaction.lost() {
            let cause = ran.iter().rev().find_map(|ran| match &ran.failure {
                Some(WriteError::Job(error)) if error.class() != ErrorClass::Content => Some(error.clone()),
                _ => None,
            });
            return Err(cause.unwrap_or(StoreError::TransactionLost));
        }
        let head = if transaction.appended.get() { Some(events::head_sequence(transaction)?) } else { None };
        let is_asked = transaction.checkpoint_asked.get();
        let checkpoint = if transaction.audited.get() || is_asked { audit::seal(transaction, is_asked)? } else { None };
        transaction.execute("COMMIT")?;
        Ok((head, checkpoint))
    }

    /// Names the failure for the callers, and stops the writer for good if it is fatal.
    fn note_failure(&self, error: StoreError) -> WriteError {
        if error.class() == ErrorClass::Fatal {
            tracing::error!(%error, "the store's writer stops");
            self.failure.send_replace(Some(error.to_string()));
        }
        WriteError::Commit(error)
    }
}

/// The next job that waits already.
fn next(queue: &mut mpsc::Receiver<Command>) -> Option<Job> {
    loop {
        match queue.try_recv().ok()? {
            Command::Run(job) => return Some(job),
            Command::Close => queue.close(),
        }
    }
}

fn begin(connection: &Connection) -> Result<(), StoreError> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    Ok(())
}

/// The error of a job after which the store can no longer be trusted.
fn fatal(ran: &[Ran]) -> Option<&StoreError> {
    ran.last().and_then(|ran| match &ran.failure {
        Some(WriteError::Job(error)) if error.class() == ErrorClass::Fatal => Some(error),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command as Process, Stdio};
    use std::sync::mpsc::channel;

    use super::super::fixtures::{event, insert, message, open, store, write};
    use super::super::{Store, StoreConfig, messages};
    use super::*;
    use crate::feed::EventKind;

    /// Holds the writer, so that everything enqueued meanwhile becomes one batch; dropped, it lets go.
    struct Held {
        release: std::sync::mpsc::Sender<()>,
        pending: Pending<()>,
    }

    impl Held {
        async fn new(store: &Store) -> Self {
            let (release, released) = channel();
            let (begun, has_begun) = channel();
            let hold = move |_: &Transaction<'_>| {
                begun.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            };
            let pending = store.enqueue(hold).await.unwrap();
            has_begun.recv().unwrap();
            Self { release, pending }
        }

        async fn let_go(self) -> Result<(), WriteError> {
            self.release.send(()).unwrap();
            self.pending.await
        }
    }

    fn refused() -> StoreError {
        StoreError::Constraint { reason: "test".to_owned() }
    }

    #[tokio::test]
    async fn a_failing_and_a_panicking_job_leave_their_neighbours_alone() {
        let (_directory, store) = store();
        let held = Held::new(&store).await;
        let good = |name: &'static str| store.enqueue(move |t| insert(t, &message("his", name, name)));
        let first = good("first").await.unwrap();
        let failing = store
            .enqueue(|t| {
                insert(t, &message("his", "failing", "x"))?;
                events::append(t, &event(EventKind::VisitAdmitted, "P1"), None, 1)?;
                Err::<(), _>(refused())
            })
            .await
            .unwrap();
        let second = good("second").await.unwrap();
        let panicking = store
            .enqueue(|t| {
                insert(t, &message("his", "panicking", "x"))?;
                t.savepoint(|t| -> Result<(), StoreError> {
                    insert(t, &message("his", "deeper", "x"))?;
                    panic!("test");
                })
            })
            .await
            .unwrap();
        let third = good("third").await.unwrap();
        let attempting = store
            .enqueue(|t| {
                let attempt: Result<(), StoreError> = t.attempt(|t| {
                    insert(t, &message("his", "attempted", "x"))?;
                    Err(refused())
                });
                assert_eq!(attempt, Err(refused()));
                insert(t, &message("his", "fourth", "x"))
            })
            .await
            .unwrap();
        held.let_go().await.unwrap();
        assert_eq!(first.await, Ok(1));
        assert_eq!(failing.await, Err(WriteError::Job(refused())));
        assert_eq!(second.await, Ok(2), "a job that failed gives its message id back");
        assert_eq!(panicking.await, Err(WriteError::Panicked));
        assert_eq!(third.await, Ok(3));
        assert_eq!(attempting.await, Ok(4), "an attempt after a panic in a savepoint takes its own work back");
        let kept = store.read_async(|r| messages::list(r, &Default::default(), messages::Page::OldestFirst(None), 9));
        let kept: Vec<String> = kept.await.unwrap().messages.into_iter().map(|message| message.control_id).collect();
        assert_eq!(kept, ["first", "second", "third", "fourth"]);
        let statistics = store.writer_statistics();
        assert_eq!(statistics.batches.load(Ordering::Relaxed), 1);
        assert_eq!(statistics.jobs.load(Ordering::Relaxed), 5);
        assert_eq!(statistics.failed_jobs.load(Ordering::Relaxed), 1);
        assert_eq!(statistics.panics.load(Ordering::Relaxed), 1);
        assert_eq!(statistics.queue_depth.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_savepoint_takes_back_its_own_work_only() {
        let (_directory, store) = store();
        let id = write(&store, |t| {
            let id = insert(t, &message("his", "kept", "x"))?;
            let effects: Result<(), StoreError> = t.savepoint(|t| {
                events::append(t, &event(EventKind::VisitAdmitted, "P1"), Some(id), 1)?;
                Err(refused())
            });
            assert_eq!(effects, Err(refused()));
            Ok(id)
        });
        assert_eq!(store.read(|r| Ok(messages::get(r, id)?.is_some())), Ok(true));
        assert_eq!(store.read(|r| Ok(events::head(r)?.sequence)), Ok(0));
    }

    #[test]
    fn sequences_have_no_holes_and_the_head_follows_the_commit() {
        let (_directory, store) = store();
        let head = store.head();
        let append = |t: &Transaction<'_>| events::append(t, &event(EventKind::VisitAdmitted, "P1"), None, 1);
        assert_eq!(write(&store, append), 1);
        let failed = store.submit_blocking(move |t| append(t).and_then(|_| Err::<(), _>(refused())));
        assert!(failed.is_err());
        assert_eq!(*head.borrow(), 1);
        assert_eq!(write(&store, append), 2);
        assert_eq!(*head.borrow(), 2);
    }

    #[test]
    fn what_was_answered_is_there_after_the_store_is_opened_again() {
        let (directory, store) = store();
        let id = write(&store, |t| insert(t, &message("his", "1", "text")));
        write(&store, |t| events::append(t, &event(EventKind::VisitAdmitted, "P1"), None, 1));
        // Not closed: what follows reads the write-ahead log, as after a crash.
        let second = open(&directory, |config| config.access = super::super::Access::Command);
        assert_eq!(second.read(|r| messages::bytes(r, id)), Ok(Some(b"text".to_vec())));
        assert_eq!(*second.head().borrow(), 1);
        store.close();
        assert_eq!(second.read(|r| messages::bytes(r, id)), Ok(Some(b"text".to_vec())));
    }

    #[test]
    fn commits_are_synced() {
        let (_directory, store) = store();
        let pragma = |name: &'static str| {
            write(&store, move |t| Ok(t.one(&format!("PRAGMA {name}"), [], |row| Ok(row.get::<_, i64>(0)?))?.unwrap()))
        };
        assert_eq!(pragma("synchronous"), 2, "FULL: power loss after an answer must lose nothing");
        assert_eq!(pragma("foreign_keys"), 1);
        assert_eq!(pragma("auto_vacuum"), 2);
        assert_eq!(pragma("wal_autocheckpoint"), 0);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_to_all_who_lost_and_passes_by_itself() {
        let (_directory, store) = store();
        let pages = |t: &Transaction<'_>, pages: i64| {
            t.one(&format!("PRAGMA max_page_count = {pages}"), [], |row| Ok(row.get::<_, i64>(0)?))
        };
        let big = "0123456789".repeat(100_000);
        let big = move |t: &Transaction<'_>| {
            let mut new = message("his", "big", &big);
            new.bytes = super::super::PackedBytes { compressed: false, bytes: big.clone().into_bytes() };
            insert(t, &new)
        };
        let held = Held::new(&store).await;
        let small = store.enqueue(|t| insert(t, &message("his", "small", "x"))).await.unwrap();
        let limit = store.enqueue(move |t| pages(t, 1)).await.unwrap();
        let full = store.enqueue(big.clone()).await.unwrap();
        held.let_go().await.ok();
        let (small, _) = (small.await, limit.await);
        assert_eq!(full.await.map_err(|error| error.class()), Err(ErrorClass::Transient));
        // Either SQLite kept the transaction and the neighbour with it, or it ended it and the neighbour was told.
        let stored = store.read_async(|r| Ok(messages::get(r, 1)?.is_some())).await.unwrap();
        assert_eq!(stored, small.is_ok());
        assert_eq!(*store.failure().borrow(), None, "a full disk does not stop the writer for good");
        store.submit(move |t| pages(t, 1_000_000)).await.unwrap();
        store.submit(big).await.unwrap();
    }

    #[tokio::test]
    async fn a_fatal_failure_stops_the_writer_by_name() {
        let (_directory, store) = store();
        let held = Held::new(&store).await;
        let neighbour = store.enqueue(|t| insert(t, &message("his", "1", "x"))).await.unwrap();
        let broken = || StoreError::Broken { reason: "disk I/O error".to_owned() };
        let fatal = store.enqueue(move |_| Err::<(), _>(broken())).await.unwrap();
        assert_eq!(held.let_go().await, Err(WriteError::Commit(broken())));
        assert_eq!(neighbour.await, Err(WriteError::Commit(broken())));
        assert_eq!(fatal.await, Err(WriteError::Job(broken())));
        assert!(store.failure().borrow().as_ref().unwrap().contains("disk I/O error"));
        let later = store.submit(|_| Ok(())).await;
        assert!(matches!(later, Err(WriteError::Stopped { reason }) if reason.contains("disk I/O error")));
    }

    #[test]
    fn a_store_held_by_another_process_is_waited_for() {
        let (directory, store) = store();
        let other = Connection::open(directory.path().join("heyi.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let waiting = std::thread::spawn(move || write(&store, |t| insert(t, &message("his", "1", "x"))));
        std::thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished());
        other.execute_batch("COMMIT").unwrap();
        assert_eq!(waiting.join().unwrap(), 1);
    }

    #[test]
    fn a_closed_store_finishes_its_queue_and_refuses_the_rest() {
        let (directory, store) = store();
        let jobs: Vec<_> = (0..50)
            .map(|number: i32| {
                let store = store.clone();
                std::thread::spawn(move || {
                    store.submit_blocking(move |t| insert(t, &message("his", &number.to_string(), "x")))
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(5));
        store.close();
        let answered = jobs.into_iter().filter_map(|job| job.join().unwrap().ok()).count();
        assert!(matches!(store.submit_blocking(|_| Ok(())), Err(WriteError::Stopped { .. })));
        drop(store);
        let again = open(&directory, |_| {});
        let kept =
            again.read(|r| messages::list(r, &Default::default(), messages::Page::OldestFirst(None), 99)).unwrap();
        assert_eq!(kept.messages.len(), answered);
    }

    #[test]
    fn the_write_ahead_log_stays_within_its_bound_and_is_emptied_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory, |config| {
            config.limits.checkpoint_pages = 20;
            config.limits.wal_pages = 100;
        });
        let statistics = store.writer_statistics();
        // How many commits fit between two passes is the machine's affair.
        for number in 0..20_000 {
            write(&store, move |t| insert(t, &message("his", &number.to_string(), "text")));
            if statistics.log_resets.load(Ordering::Relaxed) == 2 {
                break;
            }
        }
        assert_eq!(statistics.log_resets.load(Ordering::Relaxed), 2);
        write(&store, |t| insert(t, &message("his", "last", "text")));
        write(&store, |_| Ok(()));
        assert!(statistics.wal_pages.load(Ordering::Relaxed) < 50, "the log began anew");
        let log = directory.path().join("heyi.db-wal");
        store.close();
        assert_eq!(log.metadata().map_or(0, |metadata| metadata.len()), 0);
    }

    const CHILD: &str = "HEYI_TEST_KILLED_WRITER";

    /// Not a test by itself: the process that the next test kills.
    #[test]
    fn child_that_writes_until_it_is_killed() {
        let Ok(path) = std::env::var(CHILD) else { return };
        let store = Store::open(&StoreConfig::new(path, super::super::Access::Daemon)).unwrap();
        for number in 0_u64.. {
            let text = format!("text {number}");
            let id = write(&store, move |t| {
                events::append(t, &event(EventKind::VisitAdmitted, "P1"), None, 1)?;
                insert(t, &message("his", &number.to_string(), &text))
            });
            println!("answered {id}");
        }
    }

    #[test]
    fn a_killed_writer_loses_nothing_that_it_answered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("heyi.db");
        for _ in 0..3 {
            let mut child = Process::new(std::env::current_exe().unwrap())
                .args(["--exact", "store::writer::tests::child_that_writes_until_it_is_killed", "--nocapture"])
                .env(CHILD, &path)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut last = 0;
            for (count, line) in lines.map_while(Result::ok).filter(|line| line.starts_with("answered")).enumerate() {
                last = line.split(' ').nth(1).unwrap().parse::<i64>().unwrap();
                if count == 40 {
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            assert!(last >= 40);
            let store = Store::open(&StoreConfig::new(&path, super::super::Access::Daemon)).unwrap();
            let kept = store.read(|r| messages::get(r, last)).unwrap();
            assert!(kept.is_some(), "message {last} was answered");
            let head = store.read(events::head).unwrap().sequence;
            let newest = store.read(|r| messages::list(r, &Default::default(), messages::Page::NewestFirst(None), 1));
            assert_eq!(head, newest.unwrap().messages[0].id.unsigned_abs(), "an event and its message are one commit");
            store.close();
        }
    }
}
