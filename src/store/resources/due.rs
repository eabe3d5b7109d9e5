//! What has to be told, in which order, and changes that have yet to reach all that name their resource.
//!
//! Invariants
//! - A mark that was set again while its resource was told stays: who settles it says which mark was seen.

use rusqlite::params;

use super::{Reader, Resource, StoreError, Transaction, resource, row_limit};

/// A change that has not yet reached all that name its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// The row of the resource.
    pub row: i64,
    /// Who waited for it need wait no longer.
    pub appears: bool,
    /// How far to go on from here.
    pub steps: usize,
    /// The last row that was reached.
    pub after: i64,
}

/// Writes down that a change has yet to reach those that name the resource. What was under way begins anew.
///
/// # Errors
/// See [`StoreError`].
pub fn put_spread(transaction: &Transaction<'_>, source: &str, spread: Spread) -> Result<(), StoreError> {
    let Spread { row, appears, steps, after } = spread;
    transaction.run(
        "INSERT INTO resource_spread (resource, source, appears, steps, after) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET appears = max(appears, ?3), steps = max(steps, ?4), after = ?5",
        params![row, source, appears, row_limit(steps), after],
    )?;
    Ok(())
}

/// A change of a source that has yet to go on; `None`: all have reached everything.
///
/// # Errors
/// See [`StoreError`].
pub fn next_spread(reader: &Reader<'_>, source: &str) -> Result<Option<Spread>, StoreError> {
    let sql = "SELECT resource, appears, steps, after FROM resource_spread WHERE source = ?1 ORDER BY resource LIMIT 1";
    reader.one(sql, [source], |row| {
        let steps = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        Ok(Spread { row: row.get(0)?, appears: row.get(1)?, steps, after: row.get(3)? })
    })
}

/// A change has reached everything.
///
/// # Errors
/// See [`StoreError`].
pub fn end_spread(transaction: &Transaction<'_>, row: i64) -> Result<(), StoreError> {
    transaction.run("DELETE FROM resource_spread WHERE resource = ?1", [row])?;
    Ok(())
}

/// Whether what is due is told whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A part of it changed: it is told if its unit says something else than before.
    IfDifferent,
    /// It is told anew.
    Anew,
}

/// Marks a resource as due from `now`. Of a lower `rank` comes first.
///
/// # Errors
/// See [`StoreError`].
pub fn mark_due(transaction: &Transaction<'_>, row: i64, rank: i64, mark: Mark, now: i64) -> Result<(), StoreError> {
    transaction.run(
        "UPDATE resource SET due = ?2, due_at = coalesce(due_at, ?3), marks = marks + 1,
         told_digest = CASE WHEN ?4 THEN NULL ELSE told_digest END WHERE id = ?1",
        params![row, rank, now, mark == Mark::Anew],
    )?;
    Ok(())
}

/// Who may be told now of what is due.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// What names something unread waits for it, unless it is due since then or longer.
    pub patient_since: i64,
    /// What is of this rank or above, and was never told, waits as well until it is due since [`Ready::settled_since`].
    pub parts_from: i64,
    /// See there.
    pub settled_since: i64,
}

impl Ready {
    /// Whatever is due, however long.
    pub const ALL: Self = Self { patient_since: i64::MAX, parts_from: i64::MAX, settled_since: i64::MAX };
}

/// The resources of a source that are due and `ready`, in the order in which they should be told, after `after` (rank and row).
///
/// # Errors
/// See [`StoreError`].
pub fn due(
    reader: &Reader<'_>,
    source: &str,
    after: (i64, i64),
    ready: Ready,
    limit: usize,
) -> Result<Vec<(i64, Resource)>, StoreError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM resource r WHERE r.source = ?1 AND r.due IS NOT NULL AND (r.due, r.id) > (?2, ?3) AND (r.due_at <= ?4 OR NOT EXISTS ",
        "(SELECT 1 FROM resource_reference f JOIN resource p ON p.id = f.to_resource WHERE f.from_resource = r.id AND p.state = 'unread')) ",
        "AND (r.due < ?6 OR r.number IS NOT NULL OR r.due_at <= ?7) ORDER BY r.due, r.id LIMIT ?5"
    );
    let Ready { patient_since, parts_from, settled_since } = ready;
    let values = params![source, after.0, after.1, patient_since, row_limit(limit), parts_from, settled_since];
    reader.all(sql, values, |row| Ok((row.get(15)?, resource(row)?)))
}

/// Takes the mark away, if it is the one that was seen: `marks` as it was read before the record was told. `false`: it became due again
/// meanwhile.
///
/// # Errors
/// See [`StoreError`].
pub fn settle(transaction: &Transaction<'_>, row: i64, marks: i64) -> Result<bool, StoreError> {
    Ok(transaction
        .run("UPDATE resource SET due = NULL, due_at = NULL WHERE id = ?1 AND marks = ?2", params![row, marks])?
        > 0)
}

/// How many resources of a source are due.
///
/// # Errors
/// See [`StoreError`].
pub fn due_count(reader: &Reader<'_>, source: &str) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM resource WHERE source = ?1 AND due IS NOT NULL";
    Ok(reader.one(sql, [source], |row| Ok(row.get::<_, i64>(0)?))?.unwrap_or(0).unsigned_abs())
}
