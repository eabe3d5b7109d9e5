//! Moving pages from the write-ahead log into the store's file, off the writer's thread.
//!
//! SQLite's own checkpoint runs inside a COMMIT and was the whole of the measured p99. Here a second thread, on its own
//! connection, does the copying and the fsync of the main file (PASSIVE never blocks a writer or a reader). Because a PASSIVE
//! pass under constant load can never reset the log, the writer resets it itself once it passes a hard bound; by then nearly
//! all pages are copied and little is left to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::schema::BUSY_TIMEOUT;
use super::writer::WriterStatistics;
use super::{Limits, StoreError};

/// How long the writer waits for readers when it has to reset the log: a slow reader must not hold up acknowledgements.
const RESET_WAIT: Duration = Duration::from_millis(100);

/// The writer's end of the checkpointing thread.
pub(super) struct Checkpointer {
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
    statistics: Arc<WriterStatistics>,
    pages: Arc<AtomicU32>,
    /// Pages in the log at which the thread is woken next.
    next_wake: u32,
    /// Pages in the log at which the writer resets it next.
    next_reset: u32,
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
        let (next_wake, next_reset) = (limits.checkpoint_pages, limits.wal_pages);
        Ok(Self { wake, thread, statistics, pages, next_wake, next_reset, limits: limits.clone() })
    }

    /// To be called by the writer between transactions.
    pub(super) fn after_batch(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        self.statistics.wal_pages.store(pages, Ordering::Relaxed);
        if pages < self.limits.checkpoint_pages {
            // The log began anew.
            self.next_wake = self.limits.checkpoint_pages;
            self.next_reset = self.limits.wal_pages;
            return;
        }
        if pages >= self.next_reset {
            self.statistics.forced_checkpoints.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = reset(writer) {
                tracing::warn!(%error, "the write-ahead log could not be reset");
            }
            // Readers in the way: try again when it has grown by another step, not with every batch.
            self.next_reset = pages.saturating_add(self.limits.checkpoint_pages);
        }
        if pages >= self.next_wake {
            match self.wake.try_send(()) {
                // Full: the thread is at work and will look again.
                Ok(()) | Err(TrySendError::Full(())) => {
                    self.next_wake = pages.saturating_add(self.limits.checkpoint_pages)
                }
                Err(TrySendError::Disconnected(())) => {}
            }
        }
    }

    /// Ends the thread and empties the log.
    pub(super) fn close(self, writer: &Connection) {
        drop(self.wake);
        // A panic of the thread left nothing undone that the last checkpoint does not do.
        let _ = self.thread.join();
        if let Err(error) = checkpoint(writer, "TRUNCATE") {
            tracing::warn!(%error, "the last checkpoint failed; the write-ahead log is replayed at the next start");
        }
    }
}

fn run(connection: &Connection, woken: &Receiver<()>, statistics: &WriterStatistics) {
    while woken.recv().is_ok() {
        match checkpoint(connection, "PASSIVE") {
            Ok(()) => {
                statistics.checkpoints.fetch_add(1, Ordering::Relaxed);
            }
            // The writer meets the same failure and names it; the log only grows meanwhile.
            Err(error) => tracing::warn!(%error, "checkpoint failed"),
        }
    }
}

fn reset(writer: &Connection) -> Result<(), StoreError> {
    writer.busy_timeout(RESET_WAIT)?;
    let result = checkpoint(writer, "RESTART");
    writer.busy_timeout(BUSY_TIMEOUT)?;
    result
}

/// A checkpoint that readers stopped half way is no error: it is tried again.
fn checkpoint(connection: &Connection, mode: &str) -> Result<(), StoreError> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))?;
    Ok(())
}
