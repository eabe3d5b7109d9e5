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

use super::checkpoint::Checkpointer;
use super::lock::DaemonLock;
use super::reader::Reader;
use super::{ErrorClass, Limits, StoreError, WriteError, events};

/// The open transaction of the writer, as a job sees it. Reads see everything that this and earlier jobs wrote.
pub struct Transaction<'c> {
    reader: Reader<'c>,
    appended: Cell<bool>,
}

impl<'c> Deref for Transaction<'c> {
    type Target = Reader<'c>;

    fn deref(&self) -> &Reader<'c> {
        &self.reader
    }
}

impl<'c> Transaction<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self { reader: Reader::new(connection), appended: Cell::new(false) }
    }

    /// Runs `work`; when it fails, everything that it wrote is taken back and the transaction goes on. May be nested.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::TransactionLost`] when the database ended the transaction meanwhile.
    pub fn savepoint<T, E: From<StoreError>>(&self, work: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        self.scoped("SAVEPOINT part", "RELEASE part", "ROLLBACK TO part", work)
    }

    /// A job's own savepoint has another name: after a panic inside a `part`, the whole job is rolled back.
    fn job<T, E: From<StoreError>>(&self, work: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
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
    /// Times that the writer had to checkpoint itself because the write-ahead log passed its bound.
    pub forced_checkpoints: AtomicU64,
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
            self.checkpointer.after_batch(&self.connection);
        }
        self.checkpointer.close(&self.connection);
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
            self.statistics.queue_depth.fetch_sub(1, Ordering::Relaxed);
            first(Err(error));
            return;
        }
        let started = Instant::now();
        let transaction = Transaction::new(&self.connection);
        let mut ran = Vec::new();
        let mut waiting = Some(first);
        while let Some(job) = waiting {
            self.statistics.queue_depth.fetch_sub(1, Ordering::Relaxed);
            ran.extend(job(Ok(&transaction)));
            let full = ran.len() >= self.limits.batch_jobs || started.elapsed() >= self.limits.batch_time;
            if full || transaction.lost() || fatal(&ran).is_some() {
                break;
            }
            waiting = match self.queue.try_recv() {
                Ok(Command::Run(job)) => Some(job),
                Ok(Command::Close) => {
                    self.queue.close();
                    self.queue.try_recv().ok().and_then(Command::job)
                }
                Err(_) => None,
            };
        }
        let worked = Instant::now();
        add(&self.statistics.work_nanoseconds, nanoseconds(worked - started));
        let committed = self.commit(&transaction, &ran);
        add(&self.statistics.commit_nanoseconds, nanoseconds(worked.elapsed()));
        let fate = match committed {
            Ok(head) => {
                add(&self.statistics.batches, 1);
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

    /// Commits, unless the transaction may not be committed; gives the log's new head if it moved.
    fn commit(&self, transaction: &Transaction<'_>, ran: &[Ran]) -> Result<Option<u64>, StoreError> {
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
        transaction.execute("COMMIT")?;
        Ok(head)
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

impl Command {
    fn job(self) -> Option<Job> {
        match self {
            Self::Run(job) => Some(job),
            Self::Close => None,
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
