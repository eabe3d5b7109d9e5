//! What the resources of the mirror were told as.

use rusqlite::params;

use super::{ContentDigest, Reader, Resource, StoreError, Transaction, resource};

/// What a record was told as, and when.
#[derive(Debug, Clone, Copy)]
pub struct Told<'t> {
    /// [`Resource::number`].
    pub number: Option<&'t str>,
    /// [`Resource::record`].
    pub record: Option<i64>,
    /// The source time under which it was.
    pub at: i64,
    /// The message that told it.
    pub message: Option<i64>,
}

/// Writes down as what a resource was told.
///
/// # Errors
/// See [`StoreError`].
pub fn told(transaction: &Transaction<'_>, row: i64, told: Told<'_>) -> Result<(), StoreError> {
    let Told { number, record, at, message } = told;
    transaction.run(
        "UPDATE resource SET number = ?2, record = ?3, told_at = max(?4, coalesce(told_at, ?4)), told_by = coalesce(?5, told_by)
         WHERE id = ?1",
        params![row, number, record, at, message],
    )?;
    Ok(())
}

/// What is said of a resource from now on counts after all that was said before `at`.
///
/// # Errors
/// See [`StoreError`].
pub fn tell_after(transaction: &Transaction<'_>, row: i64, at: i64) -> Result<(), StoreError> {
    transaction.run("UPDATE resource SET told_at = max(?2, coalesce(told_at, ?2)) WHERE id = ?1", params![row, at])?;
    Ok(())
}

/// Remembers what a unit said, for [`super::due::Mark::IfDifferent`]; `None`: nothing came of it.
///
/// # Errors
/// See [`StoreError`].
pub fn put_told_digest(
    transaction: &Transaction<'_>,
    row: i64,
    digest: Option<ContentDigest>,
) -> Result<(), StoreError> {
    let digest = digest.as_ref().map(ContentDigest::bytes);
    transaction.run("UPDATE resource SET told_digest = ?2 WHERE id = ?1", params![row, digest])?;
    Ok(())
}

/// The message that says that a resource cannot be read; `None`: there is none any more.
///
/// # Errors
/// See [`StoreError`].
pub fn put_unreadable_by(transaction: &Transaction<'_>, row: i64, message: Option<i64>) -> Result<(), StoreError> {
    transaction.run("UPDATE resource SET unreadable_by = ?2 WHERE id = ?1", params![row, message])?;
    Ok(())
}

/// Other present resources that were told as the same visit or report: two may bear one number, also two of different types.
///
/// # Errors
/// See [`StoreError`].
pub fn told_as_well(
    reader: &Reader<'_>,
    source: &str,
    resource_told: &Resource,
    number: &str,
) -> Result<Vec<Resource>, StoreError> {
    let sql =
        select!("WHERE r.source = ?1 AND r.number = ?2 AND r.id <> ?3 AND r.state = 'present' ORDER BY r.id LIMIT 100");
    reader.all(sql, params![source, number, resource_told.row], resource)
}

/// Present Patients, other than the row `except`, that were told as a record.
///
/// # Errors
/// See [`StoreError`].
pub fn told_as_record(reader: &Reader<'_>, record: i64, except: i64) -> Result<Vec<Resource>, StoreError> {
    let sql = select!("WHERE r.record = ?1 AND r.id <> ?2 AND r.state = 'present' ORDER BY r.id LIMIT 100");
    reader.all(sql, params![record, except], resource)
}

/// Whether a Patient, other than the row `except`, was last told as a record, also one that is there no more.
///
/// # Errors
/// See [`StoreError`].
pub fn was_told_by_another(reader: &Reader<'_>, record: i64, except: i64) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM resource WHERE record = ?1 AND id <> ?2 LIMIT 1";
    Ok(reader.one(sql, params![record, except], |_| Ok(()))?.is_some())
}
