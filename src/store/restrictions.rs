//! Who wants to be kept and sent to nobody: said of the records of a person, so that it follows them.

use rusqlite::params;

use super::{Reader, StoreError, Transaction};

/// That a record is sent to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restriction {
    /// The record.
    pub record: i64,
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: i64,
    /// Who lifted it, and when; `None`: it holds.
    pub lifted: Option<(String, i64)>,
}

/// Whether a person is sent to nobody: any of the records says so.
///
/// # Errors
/// See [`StoreError`].
pub fn holds(reader: &Reader<'_>, one_id: &str) -> Result<bool, StoreError> {
    let held = "SELECT 1 FROM patient_record JOIN restriction ON restriction.record = patient_record.id
                WHERE one_id = ?1 AND lifted_at IS NULL LIMIT 1";
    Ok(reader.one(held, [one_id], |_| Ok(()))?.is_some())
}

/// Whether anybody at all is sent to nobody: where not, nobody needs to be looked at.
///
/// # Errors
/// See [`StoreError`].
pub fn any(reader: &Reader<'_>) -> Result<bool, StoreError> {
    Ok(reader.one("SELECT 1 FROM restriction WHERE lifted_at IS NULL LIMIT 1", [], |_| Ok(()))?.is_some())
}

/// Restricts a record; once more changes nothing. Gives whether it was free before.
///
/// # Errors
/// See [`StoreError`].
pub fn restrict(
    transaction: &Transaction<'_>,
    record: i64,
    by: &str,
    reason: &str,
    at: i64,
) -> Result<bool, StoreError> {
    let changed = transaction.run(
        "INSERT INTO restriction (record, said_by, reason, at) SELECT ?1, ?2, ?3, ?4
         WHERE NOT EXISTS (SELECT 1 FROM restriction WHERE record = ?1 AND lifted_at IS NULL)",
        params![record, by, reason, at],
    )?;
    Ok(changed > 0)
}

/// Lifts the restriction of a record; gives whether there was one.
///
/// # Errors
/// See [`StoreError`].
pub fn lift(transaction: &Transaction<'_>, record: i64, by: &str, at: i64) -> Result<bool, StoreError> {
    let lifted = "UPDATE restriction SET lifted_by = ?2, lifted_at = ?3 WHERE record = ?1 AND lifted_at IS NULL";
    Ok(transaction.run(lifted, params![record, by, at])? > 0)
}

/// All that was ever said of a record, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn of_record(reader: &Reader<'_>, record: i64) -> Result<Vec<Restriction>, StoreError> {
    reader.all(
        "SELECT record, said_by, reason, at, lifted_by, lifted_at FROM restriction WHERE record = ?1 ORDER BY id",
        [record],
        |row| {
            let lifted = row.get::<_, Option<String>>(4)?.zip(row.get(5)?);
            Ok(Restriction { record: row.get(0)?, by: row.get(1)?, reason: row.get(2)?, at: row.get(3)?, lifted })
        },
    )
}
