//! What the daemon does beside the messages: what is older than the retention says goes, in steps that no answer waits for;
//! so do the files that a source has read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::now;
use super::supervise::supervise;
use crate::audit::{Action, Actor, Entry};
use crate::config::Retention;
use crate::source::directory::Directory;
use crate::store::retention::{self, PruneStep};
use crate::store::{Reader, Store, StoreError, Transaction, WriteError, audit, consumers, events};

/// Pause between two rounds of pruning: retention counts in days.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);
/// Rows removed in one job: a job of this size takes a few milliseconds, so no acknowledgement waits for it.
const PRUNE_ROWS: usize = 500;
/// Free pages given back to the system in one job, for the same reason.
const FREE_PAGES: u32 = 200;
/// Pause between two jobs of pruning, so that messages always come between.
const PRUNE_PAUSE: Duration = Duration::from_millis(50);

/// Pause between two looks at the files that were read: there may be millions, on a share.
const FILES_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// Removes files that source `name` has read and that were kept long enough, until `stop`.
pub(super) async fn keep_files(
    store: Store,
    name: String,
    directory: Arc<Directory>,
    kept: Duration,
    stop: CancellationToken,
) {
    let start = || prune_files(store.clone(), name.clone(), Arc::clone(&directory), kept, stop.clone());
    supervise("retention of files", &stop, |_| (), start).await;
}

async fn prune_files(store: Store, source: String, directory: Arc<Directory>, kept: Duration, stop: CancellationToken) {
    loop {
        let directory = Arc::clone(&directory);
        let pruned = tokio::task::spawn_blocking(move || {
            SystemTime::now().checked_sub(kept).map_or(Ok(0), |before| directory.prune(before))
        });
        match tokio::select! { () = stop.cancelled() => return, pruned = pruned => pruned } {
            Ok(Ok(0)) => {}
            Ok(Ok(files)) => {
                tracing::info!(source, files, "removed files older than the retention");
                let mut entry = removed(files);
                entry.object("files_of", &source);
                let noted = store.submit(move |transaction| audit::append(transaction, &entry).map(drop)).await;
                if let Err(error) = noted {
                    tracing::error!(source, %error, "that files were removed could not be written to the audit trail");
                }
            }
            Ok(Err(error)) => tracing::warn!(source, %error, "old files could not be removed; tried again later"),
            Err(error) => tracing::error!(source, %error, "removing old files failed by a defect; tried again later"),
        }
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(FILES_INTERVAL) => {} }
    }
}

/// Removes what is older than the retention says, in small steps, until `stop`; of events nothing that one of `consumers` was not given.
pub(super) async fn keep(store: Store, kept: Retention, consumers: Vec<String>, stop: CancellationToken) {
    supervise("retention", &stop, |_| (), || prune(store.clone(), kept, consumers.clone(), stop.clone())).await;
}

async fn prune(store: Store, kept: Retention, consumers: Vec<String>, stop: CancellationToken) {
    loop {
        if let Err(error) = prune_once(&store, &kept, &consumers, &stop).await {
            tracing::warn!(%error, "old messages and events could not be removed; tried again later");
        }
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(PRUNE_INTERVAL) => {} }
    }
}

async fn prune_once(
    store: &Store,
    kept: &Retention,
    consumers: &[String],
    stop: &CancellationToken,
) -> Result<(), WriteError> {
    let mut removed = 0;
    let before = before(kept.messages);
    let mut next = Some(0);
    while let Some(after) = next.filter(|_| !stop.is_cancelled()) {
        let prune = move |transaction: &Transaction<'_>| {
            let step = retention::prune_messages(transaction, before, after, PRUNE_ROWS)?;
            note(transaction, step, "messages_up_to")?;
            Ok(step)
        };
        let step = store.submit(prune).await?;
        removed += step.removed;
        next = step.next;
        tokio::time::sleep(PRUNE_PAUSE).await;
    }
    let before = self::before(kept.feed);
    tell_who_keeps(store, consumers, before).await?;
    let mut more = true;
    while more && !stop.is_cancelled() {
        let consumers = consumers.to_vec();
        let prune = move |transaction: &Transaction<'_>| {
            let step = retention::prune_events(transaction, before, &consumers, PRUNE_ROWS)?;
            note(transaction, step, "events_before")?;
            Ok(step)
        };
        let step = store.submit(prune).await?;
        removed += step.removed;
        more = step.removed > 0 && step.next.is_some();
        tokio::time::sleep(PRUNE_PAUSE).await;
    }
    removed += prune_audit(store, kept.audit, stop).await?;
    if removed == 0 {
        return Ok(());
    }
    tracing::info!(rows = removed, "removed what is older than the retention");
    let mut free = u64::MAX;
    while !stop.is_cancelled() {
        let left = store.submit(|transaction| retention::return_space(transaction, FREE_PAGES)).await?;
        if left == 0 || left >= free {
            break;
        }
        free = left;
        tokio::time::sleep(PRUNE_PAUSE).await;
    }
    Ok(())
}

/// Writes down what a step removed, in its own transaction; `bound` says what its `next` is.
fn note(transaction: &Transaction<'_>, step: PruneStep, bound: &str) -> Result<(), StoreError> {
    let Some(next) = step.next.filter(|_| step.removed > 0) else { return Ok(()) };
    let mut entry = removed(step.removed);
    entry.object(bound, next);
    audit::append(transaction, &entry).map(drop)
}

/// The entry of something that went because it was older than the retention says.
fn removed(count: impl std::fmt::Display) -> Entry {
    let mut entry = Entry::new(now(), Actor::Daemon, Action::RetentionPrune, "daemon", "");
    entry.object("removed", count);
    entry
}

/// Says for whom events are kept that are older than the retention says.
async fn tell_who_keeps(store: &Store, consumers: &[String], before: i64) -> Result<(), WriteError> {
    let consumers = consumers.to_vec();
    let read = move |reader: &Reader<'_>| {
        let floor = consumers::floor(reader, &consumers)?;
        Ok(events::recorded_at(reader, floor.saturating_add(1).min(i64::MAX as u64))?.is_some_and(|at| at < before))
    };
    if store.read_async(read).await.map_err(WriteError::Job)? {
        tracing::warn!("events older than retention.feed are kept for a consumer: `heyi status` says for which");
    }
    Ok(())
}

/// Removes entries of the audit trail that are older than `kept`. Each step is an entry itself, so a day's worth goes at once.
async fn prune_audit(store: &Store, kept: Duration, stop: &CancellationToken) -> Result<usize, WriteError> {
    const DAY: Duration = Duration::from_secs(86_400);
    // A year of the configuration has 365 days; nothing goes before its calendar years are over.
    let kept = kept + kept / 365;
    let oldest = store.read_async(audit::oldest).await.map_err(WriteError::Job)?;
    if oldest.is_none_or(|oldest| oldest >= before(kept + DAY)) {
        return Ok(0);
    }
    let (mut removed, before) = (0, before(kept));
    while !stop.is_cancelled() {
        let step = store.submit(move |transaction| audit::prune(transaction, before, PRUNE_ROWS, now())).await?;
        removed += step.removed;
        if step.next.is_none() {
            break;
        }
        tokio::time::sleep(PRUNE_PAUSE).await;
    }
    Ok(removed)
}

/// The time before which things are older than `kept`.
fn before(kept: Duration) -> i64 {
    now().saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::budget::Budget;
    use crate::source::directory::{Limits, Settings};
    use crate::source::window::WindowLimits;
    use crate::store::audit::{AuditFilter, AuditOrder};
    use crate::store::{Access, StoreConfig};

    #[tokio::test]
    async fn files_that_went_are_an_entry() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon)).unwrap();
        let second = Duration::from_secs(1);
        let limits = Limits {
            message: 1000,
            window: WindowLimits { messages: 1, bytes: 1000 },
            interval: second,
            settled: second,
            retry: second,
            notes: 1,
            files: 10,
            look: second,
        };
        let settings = Settings {
            source: "drop".to_owned(),
            directory: directory.path().to_owned(),
            extensions: vec!["hl7".to_owned()],
            limits,
            budget: Budget::new(1000),
        };
        let read = Arc::new(Directory::open(settings).unwrap());
        for name in ["done/a.hl7", "done/b.hl7"] {
            std::fs::write(directory.path().join(name), "MSH|").unwrap();
        }
        let stop = CancellationToken::new();
        let kept = tokio::spawn(keep_files(store.clone(), "drop".to_owned(), read, Duration::ZERO, stop.clone()));
        let list = |reader: &Reader<'_>| {
            let filter = AuditFilter { action: Some("retention.prune".to_owned()), ..AuditFilter::default() };
            audit::list(reader, &filter, AuditOrder::OldestFirst(0), 10)
        };
        let told = loop {
            let page = store.read_async(list).await.unwrap();
            match page.entries.into_iter().next() {
                Some(entry) => break entry,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert_eq!((told.actor.as_str(), told.objects.as_str()), ("daemon", "removed/2 files_of/drop"));
        stop.cancel();
        kept.await.unwrap();
    }
}
