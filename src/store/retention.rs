//! Forgetting what has been kept long enough, in steps small enough to share the writer with live traffic.
//!
//! Each function is one step for one job; call it again until it says that nothing is left, with a pause in between.
//! Failed messages stay until they are resolved. The newest message and the newest event always stay, so that no number is
//! ever given twice.

use rusqlite::params;

use super::{StoreError, Transaction, row_limit};

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneStep {
    /// Rows removed.
    pub removed: usize,
    /// Where the next step goes on; `None`: nothing is left to remove.
    pub next: Option<i64>,
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
    let removed = transaction.run(
        "DELETE FROM message WHERE id > ?1 AND id <= ?2 AND received_at < ?3 AND state <> 'failed'
             AND id < (SELECT max(id) FROM message)",
        params![after, last, before],
    )?;
    Ok(PruneStep { removed, next: Some(last) })
}

/// Removes events recorded before `before`: the oldest `rows` of the log at most. `next` is the oldest event still kept.
///
/// # Errors
/// See [`StoreError`].
pub fn prune_events(transaction: &Transaction<'_>, before: i64, rows: usize) -> Result<PruneStep, StoreError> {
    let removed = transaction.run(
        "DELETE FROM event WHERE sequence < (SELECT max(sequence) FROM event) AND recorded_at < ?1
             AND sequence IN (SELECT sequence FROM event ORDER BY sequence LIMIT ?2)",
        params![before, row_limit(rows)],
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
