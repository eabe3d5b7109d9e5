//! Who names whom in the mirror: a resource keeps known what it names, also what nobody has read.

use rusqlite::params;

use super::{Reader, Resource, StoreError, Transaction, resource, row_limit};

/// The rows that a resource names.
pub(super) fn referred(reader: &Reader<'_>, row: i64) -> Result<Vec<i64>, StoreError> {
    reader.all("SELECT to_resource FROM resource_reference WHERE from_resource = ?1", [row], |row| Ok(row.get(0)?))
}

/// A resource that named those `before` names these, and no others.
pub(super) fn refer(transaction: &Transaction<'_>, row: i64, before: &[i64], named: &[i64]) -> Result<(), StoreError> {
    for gone in before.iter().filter(|known| !named.contains(known)) {
        transaction
            .run("DELETE FROM resource_reference WHERE from_resource = ?1 AND to_resource = ?2", params![row, gone])?;
    }
    for new in named.iter().filter(|named| !before.contains(named)) {
        transaction.run(
            "INSERT INTO resource_reference (from_resource, to_resource) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![row, new],
        )?;
    }
    Ok(())
}

/// The resources that a resource names, those that were never read too.
///
/// # Errors
/// See [`StoreError`].
pub fn named_by(reader: &Reader<'_>, row: i64) -> Result<Vec<Resource>, StoreError> {
    let sql = select!("JOIN resource_reference f ON f.to_resource = r.id WHERE f.from_resource = ?1 ORDER BY r.id");
    reader.all(sql, [row], resource)
}

/// The resources that name a resource.
///
/// # Errors
/// See [`StoreError`].
pub fn naming(reader: &Reader<'_>, row: i64) -> Result<Vec<Resource>, StoreError> {
    let sql = select!("JOIN resource_reference f ON f.from_resource = r.id WHERE f.to_resource = ?1 ORDER BY r.id");
    reader.all(sql, [row], resource)
}

/// Those of [`naming`] that are of one type.
///
/// # Errors
/// See [`StoreError`].
pub fn naming_of(reader: &Reader<'_>, row: i64, kind: &str) -> Result<Vec<Resource>, StoreError> {
    let sql = select!(
        "JOIN resource_reference f ON f.from_resource = r.id WHERE f.to_resource = ?1 AND r.type = ?2 ORDER BY r.id"
    );
    reader.all(sql, params![row, kind], resource)
}

/// The first `limit` resources behind the row `after` that name a resource.
///
/// # Errors
/// See [`StoreError`].
pub fn naming_from(reader: &Reader<'_>, row: i64, after: i64, limit: usize) -> Result<Vec<Resource>, StoreError> {
    let sql = select!(
        "JOIN resource_reference f ON f.from_resource = r.id WHERE f.to_resource = ?1 AND f.from_resource > ?2 \
         ORDER BY f.from_resource LIMIT ?3"
    );
    reader.all(sql, params![row, after, row_limit(limit)], resource)
}

/// The first `limit` present resources of a type, in order of id, after `after`, that name another one of their type.
///
/// # Errors
/// See [`StoreError`].
pub fn naming_their_kind(
    reader: &Reader<'_>,
    source: &str,
    kind: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<Resource>, StoreError> {
    let sql = select!(
        "WHERE r.source = ?1 AND r.type = ?2 AND r.state = 'present' AND r.logical_id > ?3 AND EXISTS (SELECT 1 FROM resource_reference f \
         JOIN resource o ON o.id = f.to_resource WHERE f.from_resource = r.id AND o.type = ?2) ORDER BY r.logical_id LIMIT ?4"
    );
    reader.all(sql, params![source, kind, after, row_limit(limit)], resource)
}
