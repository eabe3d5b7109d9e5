//! Moving pages from the write-ahead log into the store's file, off the writer's thread.
//!
//! SQLite's own checkpoint runs inside a COMMIT and was the whole of the measured p99. Here a second thread, on its own
//! connection, does the copying and the fsync of the main file (PASSIVE never blocks a writer or a reader). Because a PASSIVE
//! pass under constant load can never reset the log, the writer resets it once it passes a bound, right after two passes: each
//! leaves only what was committed during it, so that little is left for the writer to copy.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::schema::wait_for_others;
use super::writer::WriterStatistics;
use super::{Limits, StoreError};

/// How long the writer waits for readers when it has to reset the log: a slow reader must not hold up acknowledgements.
const RESET_WAIT: Duration = Duration::from_millis(20);

/// How long the last checkpoint waits for readers: stopping must end in time, and the next start can do it as well.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// The writer's end of the checkpointing thread.
pub(super) struct Checkpointer {
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
    statistics: Arc<WriterStatistics>,
    /// Pages in the log, by the last commit.
    pages: Arc<AtomicU32>,
    /// Pages in the log at which the thread is woken next.
    next_wake: u32,
    /// Passes that were done when the log passed its bound, or was last tried to be reset.
    passes_before: Option<u64>,
    limits: Limits,
}

impl Checkpointer {
    /// Starts the thread on `connection` and counts the pages that `writer` leaves in the log.
    pub(super) fn start(
        writer: &mut Connection,
        connection: Connection,
        limits: &Limits,
        statistics: Arc<WriterStatistics>,
    ) -> Result<Self, StoreError> {
        let pages = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&pages);
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count: i32| {
            counter.store(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let (wake, woken) = sync_channel(1);
        let counters = Arc::clone(&statistics);
        let thread = std::thread::Builder::new()
            .name("heyi-checkpoint".to_owned())
            .spawn(move || run(&connection, &woken, &counters))
            .map_err(|error| StoreError::Thread { reason: error.to_string() })?;
        let next_wake = limits.checkpoint_pages;
        Ok(Self { wake, thread, statistics, pages, next_wake, passes_before: None, limits: limits.clone() })
    }

    /// To be called by the writer between transactions.
    pub(super) fn after_batch(&mut self, writer: &mut Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        self.statistics.wal_pages.store(pages, Ordering::Relaxed);
        if pages < self.limits.checkpoint_pages {
            // The log began anew.
            self.next_wake = self.limits.checkpoint_pages;
            self.passes_before = None;
            return;
        }
        let over = pages >= self.limits.wal_pages;
        let mut alone = false;
        if pages >= self.next_wake || over {
            self.next_wake = pages.saturating_add(self.limits.checkpoint_pages);
            // Full: the thread is at work and will look again.
            alone = matches!(self.wake.try_send(()), Err(TrySendError::Disconnected(())));
        }
        if over {
            let passes = self.statistics.checkpoints.load(Ordering::Relaxed);
            let before = *self.passes_before.get_or_insert(passes);
            if passes >= before + 2 || alone {
                self.passes_before = Some(passes);
                self.reset(writer);
            }
        }
    }

    /// Makes the next transaction begin the log anew. Readers or the thread in the way: tried again after two more passes.
    fn reset(&self, writer: &mut Connection) {
        let result = writer.busy_timeout(RESET_WAIT).map_err(StoreError::from).and_then(|()| {
            let done = checkpoint(writer, "RESTART");
            wait_for_others(writer)?;
            done
        });
        match result {
            Ok(true) => {
                self.statistics.log_resets.fetch_add(1, Ordering::Relaxed);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the write-ahead log could not be reset"),
        }
    }

    /// Ends the thread; the daemon empties the log as well. A command leaves it alone: it would hold the daemon's write lock
    /// for as long as a reader of a third process is in the way.
    pub(super) fn close(self, writer: &mut Connection, is_daemon: bool) {
        drop(self.wake);
        // A panic of the thread left nothing undone that the last checkpoint does not do.
        let _ = self.thread.join();
        if !is_daemon {
            return;
        }
        if let Err(error) = writer.busy_timeout(CLOSE_WAIT) {
            tracing::debug!(%error, "the last checkpoint may wait longer for readers");
        }
        if let Err(error) = checkpoint(writer, "TRUNCATE") {
            tracing::warn!(%error, "the last checkpoint failed; the write-ahead log is replayed at the next start");
        }
    }
}

fn run(connection: &Connection, woken: &Receiver<()>, statistics: &WriterStatistics) {
    while woken.recv().is_ok() {
        match checkpoint(connection, "PASSIVE") {
            Ok(_) => {
                statistics.checkpoints.fetch_add(1, Ordering::Relaxed);
            }
            // The writer meets the same failure and names it; the log only grows meanwhile.
            Err(error) => tracing::warn!(%error, "checkpoint failed"),
        }
    }
}

/// Copies all of the write-ahead log into the file and cuts it to nothing, waiting up to `patience` for whoever is in the way.
pub(super) fn empty_log(path: &Path, patience: Duration) -> Result<bool, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(patience)?;
    checkpoint(&connection, "TRUNCATE")
}

/// Whether the checkpoint was complete; `false` when another connection was in its way.
fn checkpoint(connection: &Connection, mode: &str) -> Result<bool, StoreError> {
    Ok(connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok(row.get::<_, i64>(0)? == 0))?)
}
