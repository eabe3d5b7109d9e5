//! The store: one SQLite file that holds messages, state, identity and the log. The only room that knows SQL.
//!
//! Writing is a job for the one writing thread ([`Store::submit`]); many jobs share one transaction and one fsync. Reading is a
//! closure over a snapshot ([`Store::read_async`]). What can be asked and written is in the domain's words: [`audit`], [`messages`],
//! [`records`], [`persons`], [`clinical`], [`backup`], [`erasure`], [`events`], [`consumers`], [`consents`], [`holds`], [`tokens`], [`unmapped`], [`mappings`], [`matching`], [`reviews`], [`imports`], [`resources`], [`restrictions`], [`retention`],
//! [`no_links`], [`statistics`]. Functions that read take a [`Reader`]; those that write take a [`Transaction`], which is also a `Reader`.
//!
//! Invariants
//! - A positive answer of the writer means committed and fsynced. Whoever acknowledges to the outside waits for it.
//! - A job is all or nothing, and never touches the fate of its neighbours.
//! - Times are microseconds since the epoch (UTC) and come as arguments: the store never asks the clock for data.
//! - No connection, statement or row of SQLite leaves this module.
//!
//! It must never put a stored value into an error or a log line.

mod checkpoint;
mod error;
#[cfg(test)]
mod fixtures;
mod lock;
mod packed;
mod reader;
mod schema;
mod search_key;
mod writer;

pub mod audit;
pub mod backup;
pub mod clinical;
pub mod consents;
pub mod consumers;
pub mod erasure;
pub mod events;
pub mod holds;
pub mod imports;
pub mod mappings;
pub mod matching;
pub mod messages;
pub mod no_links;
pub mod persons;
pub mod records;
pub mod resources;
pub mod restrictions;
pub mod retention;
pub mod reviews;
pub mod statistics;
pub mod tokens;
pub mod unmapped;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, watch};

use audit::{AuditFiles, Sealer};
use checkpoint::Checkpointer;
use reader::ReaderPool;
use writer::{Command, Writer};

pub use error::{ErrorClass, StoreError, WriteError};
pub use lock::DaemonLock;
pub use packed::PackedBytes;
pub use reader::Reader;
pub use writer::{Pending, Transaction, WriterStatistics};

/// Where the store is, who opens it, and its limits.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The file; missing directories are made.
    pub path: PathBuf,
    /// Daemon or command.
    pub access: Access,
    /// Bounds; the defaults fit a hospital.
    pub limits: Limits,
    /// What of the audit trail lies outside of the file.
    pub audit: AuditFiles,
}

/// Who opens the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The daemon: only one may have the store.
    Daemon,
    /// A command: reads and writes beside the daemon. It makes or migrates a store only while no daemon runs.
    Command,
}

/// The store's bounds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Jobs that may wait for the writer; a full queue makes callers wait (that is the back-pressure). Four full batches.
    pub queue: usize,
    /// Jobs in one transaction. Beyond some hundred, one fsync no longer counts, and the first one's wait does.
    pub batch_jobs: usize,
    /// Time for the jobs of one transaction: bounds what slow jobs add to the wait of the first.
    pub batch_time: Duration,
    /// Connections that read at the same time.
    pub readers: usize,
    /// How long a reader waits for a free connection.
    pub reader_wait: Duration,
    /// Pages (4 KiB) in the write-ahead log that wake the checkpointing thread: 8 MiB.
    pub checkpoint_pages: u32,
    /// Pages in the write-ahead log at which the writer itself resets it: 128 MiB on disk at most, about.
    pub wal_pages: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 2048,
            batch_jobs: 512,
            batch_time: Duration::from_millis(20),
            readers: 8,
            reader_wait: Duration::from_secs(10),
            checkpoint_pages: 2_000,
            wal_pages: 32_000,
        }
    }
}

impl StoreConfig {
    /// The store at `path`, with the default limits and the audit trail's key beside it.
    pub fn new(path: impl Into<PathBuf>, access: Access) -> Self {
        let path = path.into();
        let audit = AuditFiles::beside(&path);
        Self { path, access, limits: Limits::default(), audit }
    }
}

/// Free pages given back in one transaction of [`Store::forget`]: 8 MiB, some tens of milliseconds.
const FORGET_PAGES: u32 = 2_048;
/// Between two looks of [`Store::give_way`] at the writer.
const GIVING_WAY_PAUSE: Duration = Duration::from_millis(2);

/// An open store. Clones share it; it closes with the last of them, or by [`Store::close`].
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    queue: mpsc::Sender<Command>,
    readers: ReaderPool,
    head: watch::Receiver<u64>,
    failure: watch::Receiver<Option<String>>,
    statistics: Arc<WriterStatistics>,
    sealer: Arc<Sealer>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store, making or migrating it as [`Access`] allows, and starts its threads.
    ///
    /// # Errors
    /// A second daemon, a newer or foreign file, a directory that cannot be made, an unusable disk: see [`StoreError`].
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let StoreConfig { path, access, limits, audit } = config;
        make_directory(path)?;
        let lock = match access {
            Access::Daemon => Some(DaemonLock::acquire(path)?),
            Access::Command => None,
        };
        let mut connection = schema::open(path, *access)?;
        // Random places of big indexes are read for every message; 32 MiB keep their inner pages.
        connection.pragma_update(None, "cache_size", -32_768)?;
        let head = events::head_sequence(&Reader::new(&connection))?;
        let sealer = Arc::new(open_sealer(audit, &Reader::new(&connection))?);
        let (head_sender, head) = watch::channel(head);
        let (failure_sender, failure) = watch::channel(None);
        let (queue, commands) = mpsc::channel(limits.queue.max(1));
        let statistics = Arc::new(WriterStatistics::default());
        let mut second = Connection::open(path)?;
        schema::prepare_connection(&mut second)?;
        let checkpointer = Checkpointer::start(&mut connection, second, limits, Arc::clone(&statistics))?;
        let writer = Writer {
            connection,
            queue: commands,
            limits: limits.clone(),
            statistics: Arc::clone(&statistics),
            head: head_sender,
            failure: failure_sender,
            checkpointer,
            sealer: Arc::clone(&sealer),
            lock,
        };
        let thread = std::thread::Builder::new()
            .name("heyi-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Thread { reason: error.to_string() })?;
        let shared = Shared {
            path: path.clone(),
            queue,
            readers: ReaderPool::new(path.clone(), limits.readers.max(1), limits.reader_wait),
            head,
            failure,
            statistics,
            sealer,
            writer: Mutex::new(Some(thread)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Puts a job into the writer's queue, waiting while it is full. Jobs run in the order in which they were put in.
    ///
    /// The job runs once the returned value exists, whether or not it is waited for.
    ///
    /// # Errors
    /// [`WriteError::Stopped`] when the store is closed.
    pub async fn enqueue<T, F>(&self, work: F) -> Result<Pending<T>, WriteError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let place = self.shared.queue.reserve().await.map_err(|_| writer::closed())?;
        let (command, pending) = writer::job(work);
        self.shared.statistics.queue_depth.fetch_add(1, Ordering::Relaxed);
        place.send(command);
        Ok(pending)
    }

    /// Runs a job in the writer and waits for its commit: `Ok` means committed and fsynced.
    ///
    /// # Errors
    /// See [`WriteError`]; whatever it is, nothing of the job was kept.
    pub async fn submit<T, F>(&self, work: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.enqueue(work).await?.await
    }

    /// [`Store::submit`] for commands and other plain threads; tokio panics when it is called inside an async task.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn submit_blocking<T, F>(&self, work: F) -> Result<T, WriteError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (command, pending) = writer::job(work);
        self.shared.statistics.queue_depth.fetch_add(1, Ordering::Relaxed);
        if self.shared.queue.blocking_send(command).is_err() {
            self.shared.statistics.queue_depth.fetch_sub(1, Ordering::Relaxed);
            return Err(writer::closed());
        }
        pending.wait()
    }

    /// Reads on the calling thread. `work` should be short: an open snapshot keeps the write-ahead log from being reset.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::Busy`] when every connection stays in use.
    pub fn read<T>(&self, work: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.shared.readers.read(work)
    }

    /// [`Store::read`] from an async task, on a thread for blocking work.
    ///
    /// # Errors
    /// As [`Store::read`]; a panic of `work` is [`StoreError::Defect`].
    pub async fn read_async<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Reader<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.read(work))
            .await
            .unwrap_or_else(|_| Err(StoreError::Defect { reason: "a reading task panicked".to_owned() }))
    }

    /// Sequence number of the newest event, updated after each commit of this process. Another process may be ahead of it.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.shared.head.clone()
    }

    /// `Some` once the writer has stopped for good, with the sentence that names why.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.shared.failure.clone()
    }

    /// Waits until the writer has nothing to do, no longer than `most`: for reading that can wait, so that taking in does not.
    pub async fn give_way(&self, most: Duration) {
        let deadline = tokio::time::Instant::now() + most;
        while self.shared.statistics.queue_depth.load(Ordering::Relaxed) > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(GIVING_WAY_PAUSE).await;
        }
    }

    /// The writer's counters.
    pub fn writer_statistics(&self) -> &WriterStatistics {
        &self.shared.statistics
    }

    /// What signs the audit trail.
    fn sealer(&self) -> &Sealer {
        &self.shared.sealer
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Takes what was deleted out of the files: gives free pages back and empties the write-ahead log, waiting up to `patience` for readers
    /// that are in the way. `false`: they still were; what was deleted is in the log until it is reset.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn forget(&self, patience: Duration) -> Result<bool, WriteError> {
        while self.submit_blocking(|transaction| retention::return_space(transaction, FORGET_PAGES))? > 0 {}
        checkpoint::empty_log(self.path(), patience).map_err(WriteError::Job)
    }

    /// Finishes what is in the queue, empties the write-ahead log and gives the daemon's lock back; later jobs are refused.
    /// Calling it twice does no harm. It blocks: from async code only through `spawn_blocking` (tokio panics otherwise).
    pub fn close(&self) {
        let thread = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A writer that is gone already needs no word.
            let _ = self.shared.queue.blocking_send(Command::Close);
            if thread.join().is_err() {
                tracing::error!("the store's writing thread panicked");
            }
        }
    }
}

/// Everything that `page` gives, page by page: rows with the key that the next page begins after.
///
/// # Errors
/// Those of `page`.
pub fn all_pages<T>(mut page: impl FnMut(i64) -> Result<Vec<(i64, T)>, StoreError>) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let rows = page(after)?;
        let Some((last, _)) = rows.last() else { return Ok(all) };
        after = *last;
        all.extend(rows.into_iter().map(|(_, row)| row));
    }
}

/// The audit trail's key; and copies of the checkpoints that an earlier process could not copy.
fn open_sealer(files: &AuditFiles, reader: &Reader<'_>) -> Result<Sealer, StoreError> {
    let sealer = Sealer::open(files)?;
    match sealer.published() {
        Ok(published) => audit::checkpoints_after(reader, published)?.iter().try_for_each(|one| sealer.publish(one))?,
        // What is wrong with the copies is for `heyi audit verify` to say.
        Err(error) => tracing::error!(%error, "the copies of the audit trail's checkpoints cannot be read"),
    }
    Ok(sealer)
}

/// Makes the directory of `path`, each new level durable in its parent.
fn make_directory(path: &Path) -> Result<(), StoreError> {
    let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    if directory.is_dir() {
        return Ok(());
    }
    make_directory(directory)?;
    let failed = |error: std::io::Error| StoreError::File { path: directory.to_owned(), reason: error.to_string() };
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
}

/// A count or sequence as SQLite holds it.
fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::OutOfRange { what: "a sequence or version number" })
}

/// A LIMIT.
fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
