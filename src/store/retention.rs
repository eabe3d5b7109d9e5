//! Forgetting what has been kept long enough, in steps small enough to share the writer with live traffic.
//!
//! Each function is one step for one job; call it again until it says that nothing is left, with a pause in between.
//! Failed messages whose bytes are kept stay until they are resolved: they can be tried again. The newest message and the newest event always stay, so that no number is
//! ever given twice.

use rusqlite::params;

use super::messages::{self, MessageState};
use super::{StoreError, Transaction, row_limit};

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneStep {
    /// Rows removed.
    pub removed: usize,
    /// Where the next step goes on; `None`: nothing is left to remove.
    pub next: Option<i64>,
}

/// What goes: of a stretch of messages those that are old enough and need nobody any more.
macro_rules! old {
    () => {
        "id > ?1 AND id <= ?2 AND received_at < ?3 AND id < (SELECT max(id) FROM message) AND (state <> 'failed'
             OR NOT EXISTS (SELECT 1 FROM message_content WHERE message = message.id AND length(bytes) > 0))"
    };
}

/// Removes messages received before `before`: looks at `rows` of them after the message `after` (0 for the beginning).
///
/// # Errors
/// See [`StoreError`].
pub fn prune_messages(
    transaction: &Transaction<'_>,
    before: i64,
    after: i64,
    rows: usize,
) -> Result<PruneStep, StoreError> {
    // Ids are in the order of arrival, near enough: the first young message ends the walk.
    let last: Option<i64> = transaction
        .one(
            "SELECT max(id) FROM (SELECT id, received_at FROM message WHERE id > ?1 ORDER BY id LIMIT ?2)
             WHERE received_at < ?3",
            params![after, row_limit(rows), before],
            |row| Ok(row.get(0)?),
        )?
        .flatten();
    let Some(last) = last else {
        return Ok(PruneStep { removed: 0, next: None });
    };
    // A failed message counts for as long as it waits for somebody.
    let failed = transaction.all(
        concat!("SELECT source, received_at FROM message WHERE state = 'failed' AND ", old!()),
        params![after, last, before],
        |row| Ok((row.get::<_, String>(0)?, row.get(1)?)),
    )?;
    for (source, received_at) in failed {
        messages::count(transaction, &source, MessageState::Failed, -1, received_at)?;
    }
    let removed = transaction.run(concat!("DELETE FROM message WHERE ", old!()), params![after, last, before])?;
    Ok(PruneStep { removed, next: Some(last) })
}

/// Removes the beginning of the log up to the first event recorded at `before` or later, at most `rows` events, and nothing that a
/// consumer was not given yet ([`super::consumers::floor`], with the `configured` ones). What is left has no holes, whatever the clock
/// did. `next` is the oldest event still kept.
///
/// # Errors
/// See [`StoreError`].
pub fn prune_events(
    transaction: &Transaction<'_>,
    before: i64,
    configured: &[String],
    rows: usize,
) -> Result<PruneStep, StoreError> {
    let floor = i64::try_from(super::consumers::floor(transaction, configured)?).unwrap_or(i64::MAX);
    let removed = transaction.run(
        "DELETE FROM event WHERE sequence < (SELECT max(sequence) FROM event) AND sequence <= ?3
             AND sequence < coalesce(
                 (SELECT sequence FROM event WHERE recorded_at >= ?1 ORDER BY sequence LIMIT 1), 9223372036854775807)
             AND sequence IN (SELECT sequence FROM event ORDER BY sequence LIMIT ?2)",
        params![before, row_limit(rows), floor],
    )?;
    let next = if removed == 0 { None } else { super::events::first_kept(transaction)? };
    Ok(PruneStep { removed, next: next.and_then(|sequence| i64::try_from(sequence).ok()) })
}

/// Gives up to `pages` free pages (4 KiB) back to the file system; returns how many are still free.
///
/// # Errors
/// See [`StoreError`].
pub fn return_space(transaction: &Transaction<'_>, pages: u32) -> Result<u64, StoreError> {
    // Each row of the pragma is one page moved: it has to be stepped to its end.
    let mut statement = transaction.connection().prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    let free: Option<i64> = transaction.one("PRAGMA freelist_count", [], |row| Ok(row.get(0)?))?;
    Ok(free.unwrap_or(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{event, message, outcome, store, write};
    use super::super::messages::Page;
    use super::super::{consumers, events};
    use super::*;
    use crate::feed::EventKind;

    #[test]
    fn messages_are_pruned_in_steps_and_failed_ones_and_the_newest_stay() {
        let (_directory, store) = store();
        write(&store, |t| {
            for id in 1..=10 {
                let mut new = message("his", &id.to_string(), "x");
                new.received_at = id;
                let state = if matches!(id, 3 | 6) { MessageState::Failed } else { MessageState::Processed };
                if id == 6 {
                    new.bytes = super::super::PackedBytes::pack(b"");
                }
                messages::insert(t, id, &new, &outcome(state))?;
            }
            Ok(())
        });
        let (mut next, mut removed) = (Some(0), Vec::new());
        while let Some(after) = next {
            let step = write(&store, move |t| prune_messages(t, 8, after, 4));
            removed.push(step.removed);
            next = step.next;
        }
        assert_eq!(removed, [3, 3, 0]);
        let ids = || {
            let left = store.read(|r| messages::list(r, &Default::default(), Page::OldestFirst(None), 99)).unwrap();
            left.messages.into_iter().map(|message| message.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(), [3, 8, 9, 10], "a failed message stays if there is something to try again");
        let counts = store.read(super::super::statistics::message_counts).unwrap();
        let counts: Vec<_> = counts.iter().map(|row| (row.state, row.count)).collect();
        assert_eq!(counts, [(MessageState::Failed, 1), (MessageState::Processed, 8)]);
        assert_eq!(store.read(|r| messages::bytes(r, 2)), Ok(None));
        write(&store, |t| prune_messages(t, i64::MAX, 0, 99));
        assert_eq!(ids(), [3, 10]);
        assert_eq!(write(&store, messages::next_id), 11);
    }

    #[test]
    fn events_are_pruned_from_the_start_and_numbers_go_on() {
        let (_directory, store) = store();
        write(&store, |t| {
            for at in 1..=6 {
                events::append(t, &event(EventKind::VisitAdmitted, "P1"), None, at)?;
            }
            Ok(())
        });
        let prune = |before: i64| write(&store, move |t| prune_events(t, before, &[], 2));
        assert_eq!(prune(4), PruneStep { removed: 2, next: Some(3) });
        assert_eq!(prune(4), PruneStep { removed: 1, next: Some(4) });
        assert_eq!(prune(4), PruneStep { removed: 0, next: None });
        while prune(i64::MAX).next.is_some() {}
        assert_eq!(store.read(events::first_kept), Ok(Some(6)));
        let next = write(&store, |t| events::append(t, &event(EventKind::VisitAdmitted, "P1"), None, 9));
        assert_eq!(next, 7);
    }

    #[test]
    fn an_event_that_a_consumer_was_not_given_yet_is_kept() {
        let (_directory, store) = store();
        write(&store, |t| {
            for at in 1..=6 {
                events::append(t, &event(EventKind::VisitAdmitted, "P1"), None, at)?;
            }
            consumers::commit(t, "crm", crate::feed::Cursor { epoch: 1, sequence: 3 }, 1)
        });
        let prune = |configured: &[&str]| {
            let configured: Vec<String> = configured.iter().map(ToString::to_string).collect();
            write(&store, move |t| prune_events(t, i64::MAX, &configured, 99)).removed
        };
        assert_eq!(prune(&["never-came"]), 0);
        assert_eq!((prune(&["crm"]), prune(&["crm"])), (3, 0));
        assert_eq!(store.read(events::first_kept), Ok(Some(4)));
    }

    #[test]
    fn pruned_space_is_given_back() {
        let (_directory, store) = store();
        write(&store, |t| {
            for id in 1..=200 {
                let mut new = message("his", &id.to_string(), "x");
                new.bytes = super::super::PackedBytes { compressed: false, bytes: vec![7; 20_000] };
                messages::insert(t, id, &new, &outcome(MessageState::Processed))?;
            }
            Ok(())
        });
        write(&store, |t| prune_messages(t, i64::MAX, 0, 1_000));
        let size = || store.read(|r| super::super::statistics::read(&store, r)).unwrap();
        let before = size();
        assert!(before.free_bytes > 3_000_000);
        let left = write(&store, |t| return_space(t, 100));
        assert_eq!(before.free_bytes / 4096 - left, 100);
        write(&store, |t| return_space(t, 1_000_000));
        let after = size();
        assert!(after.free_bytes == 0 && after.file_bytes < before.file_bytes / 10, "{after:?}");
    }
}
