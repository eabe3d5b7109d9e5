//! What matching looks up: records by what they share, how many people bear a value, and values that prove nothing.

use rusqlite::params;

use super::{Reader, StoreError, Transaction, row_limit};

/// Stands for everybody among the counts.
const EVERYBODY: u64 = 0;

/// A hash as SQLite keeps it: the same 64 bits with a sign.
fn stored(hash: u64) -> i64 {
    i64::from_ne_bytes(hash.to_ne_bytes())
}

/// The records that have a key, by the store's numbers, oldest first, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub fn records_with(reader: &Reader<'_>, hash: u64, limit: usize) -> Result<Vec<i64>, StoreError> {
    reader.all(
        "SELECT record FROM match_key WHERE hash = ?1 ORDER BY record LIMIT ?2",
        params![stored(hash), row_limit(limit)],
        |row| Ok(row.get(0)?),
    )
}

/// Makes `after` the keys of a record, where `before` are those that it has; both sorted, each once. Writes only what differs.
///
/// # Errors
/// See [`StoreError`].
pub fn set_keys(transaction: &Transaction<'_>, record: i64, before: &[u64], after: &[u64]) -> Result<(), StoreError> {
    for hash in before.iter().filter(|hash| after.binary_search(hash).is_err()) {
        transaction.run("DELETE FROM match_key WHERE hash = ?1 AND record = ?2", params![stored(*hash), record])?;
    }
    for hash in after.iter().filter(|hash| before.binary_search(hash).is_err()) {
        transaction
            .run("INSERT OR IGNORE INTO match_key (hash, record) VALUES (?1, ?2)", params![stored(*hash), record])?;
    }
    Ok(())
}

/// How many people bear a value.
///
/// # Errors
/// See [`StoreError`].
pub fn people_with(reader: &Reader<'_>, term: u64) -> Result<u64, StoreError> {
    let count = reader
        .one("SELECT people FROM term_count WHERE hash = ?1", [stored(term)], |row| Ok(row.get::<_, i64>(0)?))?
        .unwrap_or(0);
    Ok(u64::try_from(count).unwrap_or(0))
}

/// How many people there are.
///
/// # Errors
/// See [`StoreError`].
pub fn people(reader: &Reader<'_>) -> Result<u64, StoreError> {
    people_with(reader, EVERYBODY)
}

/// One person more, or one less, bears these values.
///
/// # Errors
/// See [`StoreError`].
pub fn count_terms(transaction: &Transaction<'_>, terms: &[u64], by: i64) -> Result<(), StoreError> {
    for term in terms {
        let changed = transaction
            .run("UPDATE term_count SET people = max(people + ?2, 0) WHERE hash = ?1", params![stored(*term), by])?;
        if changed == 0 && by > 0 {
            transaction.run("INSERT INTO term_count (hash, people) VALUES (?1, ?2)", params![stored(*term), by])?;
        }
    }
    Ok(())
}

/// One person more, or one less.
///
/// # Errors
/// See [`StoreError`].
pub fn count_person(transaction: &Transaction<'_>, by: i64) -> Result<(), StoreError> {
    count_terms(transaction, &[EVERYBODY], by)
}

/// Whether a value proves nothing, because too many people bear it.
///
/// # Errors
/// See [`StoreError`].
pub fn is_quarantined(reader: &Reader<'_>, hash: u64) -> Result<bool, StoreError> {
    Ok(reader.one("SELECT 1 FROM quarantine WHERE hash = ?1", [stored(hash)], |_| Ok(()))?.is_some())
}

/// From now on the value proves nothing.
///
/// # Errors
/// See [`StoreError`].
pub fn quarantine(transaction: &Transaction<'_>, hash: u64, kind: &str, at: i64) -> Result<(), StoreError> {
    transaction.run(
        "INSERT OR IGNORE INTO quarantine (hash, kind, at) VALUES (?1, ?2, ?3)",
        params![stored(hash), kind, at],
    )?;
    Ok(())
}
