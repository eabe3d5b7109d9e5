//! Which entries are about whom: an index beside the trail, by which the entries of a person are found without reading all of it.
//!
//! It follows from the entries, so it is neither chained nor signed: verifying compares it with them ([`finds`]), and [`reindex`] puts back what
//! lacks. What stands in it too much shows nothing: what is found by it is looked at once more.
//!
//! Invariant: rows are added with their entry and go with it, in the same transaction.

use rusqlite::{OptionalExtension, params};

use super::super::{Reader, StoreError, Transaction, row_limit, signed};
use crate::audit::Row;

/// Persons of an entry that each find it by the index. One about more (a page of events) is found among those of [`OF_MANY`]: it would
/// else cost the writer as many rows as the page has persons, for each consumer.
const INDEXED_PERSONS: usize = 16;
/// Stands in the index for all persons of an entry about more than [`INDEXED_PERSONS`].
const OF_MANY: &str = "*";

/// Under what an entry about these persons stands.
fn keys(persons: &str) -> impl Iterator<Item = &str> {
    let is_of_many = persons.split_whitespace().nth(INDEXED_PERSONS).is_some();
    let each = persons.split_whitespace().filter(move |_| !is_of_many);
    is_of_many.then_some(OF_MANY).into_iter().chain(each)
}

/// Adds what lacks of an entry; gives how much that was.
pub(super) fn add(transaction: &Transaction<'_>, sequence: u64, persons: &str) -> Result<usize, StoreError> {
    let sequence = signed(sequence)?;
    let mut added = 0;
    for key in keys(persons) {
        let sql = "INSERT OR IGNORE INTO audit_person (person, sequence) VALUES (?1, ?2)";
        added += transaction.run(sql, params![key, sequence])?;
    }
    Ok(added)
}

/// Removes what stands in it of entries up to this one.
pub(super) fn remove(transaction: &Transaction<'_>, last: i64) -> Result<(), StoreError> {
    transaction.run("DELETE FROM audit_person WHERE sequence <= ?1", [last])?;
    Ok(())
}

/// Whether there is an index: a store that an older Heyi wrote, looked at as evidence, has none. Where somebody took it away from another,
/// no entry can be written any more.
pub(super) fn is_there(reader: &Reader<'_>) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'audit_person'";
    Ok(reader.connection().query_row(sql, [], |_| Ok(())).optional()?.is_some())
}

/// Whether the index finds the entry for everybody whom it is about.
pub(super) fn finds(reader: &Reader<'_>, row: &Row) -> Result<bool, StoreError> {
    let sequence = signed(row.sequence)?;
    for key in keys(&row.persons) {
        let sql = "SELECT 1 FROM audit_person WHERE person = ?1 AND sequence = ?2";
        if reader.one(sql, params![key, sequence], |_| Ok(()))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What one step of [`reindex`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReindexStep {
    /// Rows that lacked.
    pub added: usize,
    /// After which entry the next step goes on; `None`: this was the last.
    pub next: Option<u64>,
}

/// Puts back what lacks in the index of at most `rows` entries after this one.
///
/// # Errors
/// See [`StoreError`].
pub fn reindex(transaction: &Transaction<'_>, after: u64, rows: usize) -> Result<ReindexStep, StoreError> {
    let entries = transaction.all(
        "SELECT sequence, persons FROM audit_entry WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        params![signed(after)?, row_limit(rows)],
        |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, String>(1)?)),
    )?;
    let mut added = 0;
    for (sequence, persons) in &entries {
        added += add(transaction, *sequence, persons)?;
    }
    Ok(ReindexStep { added, next: entries.last().map(|(sequence, _)| *sequence) })
}
