//! How far the reading of a server has got: its notes, what is held, what is to be asked for.

use rusqlite::{Row, params};

use super::{Reader, ResourceName, StoreError, Transaction, row_limit, row_of};

/// Asks for a resource again at `at`, whatever is known of it.
///
/// # Errors
/// See [`StoreError`].
pub fn refresh(transaction: &Transaction<'_>, source: &str, name: &ResourceName, at: i64) -> Result<(), StoreError> {
    let row = row_of(transaction, source, name)?;
    transaction.run("UPDATE resource SET refresh_at = ?2 WHERE id = ?1", params![row, at])?;
    Ok(())
}

/// Resources of a source to be read one by one: what others name and nobody has read, then what was to be asked for again by `now`.
/// Each with its version, if it is present.
///
/// # Errors
/// See [`StoreError`].
pub fn wanted(
    reader: &Reader<'_>,
    source: &str,
    now: i64,
    limit: usize,
) -> Result<Vec<(ResourceName, Option<String>)>, StoreError> {
    let named = |row: &Row<'_>| Ok((ResourceName { kind: row.get(0)?, id: row.get(1)? }, row.get(2)?));
    // What nothing names any more is of no interest.
    let mut wanted = reader.all(
        "SELECT type, logical_id, NULL FROM resource r WHERE source = ?1 AND state = 'unread'
         AND EXISTS (SELECT 1 FROM resource_reference WHERE to_resource = r.id) ORDER BY id LIMIT ?2",
        params![source, row_limit(limit)],
        named,
    )?;
    let left = limit.saturating_sub(wanted.len());
    wanted.extend(reader.all(
        "SELECT type, logical_id, version FROM resource r WHERE source = ?1 AND refresh_at <= ?2 AND state <> 'unread'
         AND EXISTS (SELECT 1 FROM resource_reference WHERE to_resource = r.id) ORDER BY refresh_at LIMIT ?3",
        params![source, now, row_limit(left)],
        named,
    )?);
    Ok(wanted)
}

/// Types of which a source has resources.
///
/// # Errors
/// See [`StoreError`].
pub fn types(reader: &Reader<'_>, source: &str) -> Result<Vec<String>, StoreError> {
    reader.all("SELECT DISTINCT type FROM resource WHERE source = ?1", [source], |row| Ok(row.get(0)?))
}

/// Asks for the present resources of a type again at `at`, at most `limit` of those that nobody would ask for; `None`: polling tells of their
/// changes from now on. Gives how many there were.
///
/// # Errors
/// See [`StoreError`].
pub fn refresh_type(
    transaction: &Transaction<'_>,
    source: &str,
    kind: &str,
    at: Option<i64>,
    limit: usize,
) -> Result<usize, StoreError> {
    transaction.run(
        "UPDATE resource SET refresh_at = ?3 WHERE id IN (SELECT id FROM resource WHERE source = ?1 AND type = ?2
         AND state = 'present' AND (refresh_at IS NULL) = (?3 IS NOT NULL) LIMIT ?4)",
        params![source, kind, at, row_limit(limit)],
    )
}

/// Asks at `at` for everything that was to be asked for later: another server answers now.
///
/// # Errors
/// See [`StoreError`].
pub fn refresh_all(transaction: &Transaction<'_>, source: &str, at: i64) -> Result<(), StoreError> {
    transaction
        .run("UPDATE resource SET refresh_at = ?2 WHERE source = ?1 AND refresh_at > ?2", params![source, at])?;
    Ok(())
}

/// Takes all notes of a source away but those under `kept`.
///
/// # Errors
/// See [`StoreError`].
pub fn forget_notes(transaction: &Transaction<'_>, source: &str, kept: [&str; 2]) -> Result<(), StoreError> {
    transaction
        .run("DELETE FROM reading WHERE source = ?1 AND key NOT IN (?2, ?3)", params![source, kept[0], kept[1]])?;
    Ok(())
}

/// Present resources of a type with their versions, in order of id, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub fn held(
    reader: &Reader<'_>,
    source: &str,
    kind: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<(String, Option<String>)>, StoreError> {
    reader.all(
        "SELECT logical_id, version FROM resource WHERE source = ?1 AND type = ?2 AND logical_id > ?3 AND state = 'present'
         ORDER BY logical_id LIMIT ?4",
        params![source, kind, after, row_limit(limit)],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// How many resources of a source are in each state, by type.
///
/// # Errors
/// See [`StoreError`].
pub fn counts(reader: &Reader<'_>, source: &str) -> Result<Vec<(String, String, u64)>, StoreError> {
    reader.all(
        "SELECT type, state, count(*) FROM resource WHERE source = ?1 GROUP BY type, state ORDER BY type, state",
        [source],
        |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs())),
    )
}

/// Resources of a source that are present and cannot be read, the first `limit` of them.
///
/// # Errors
/// See [`StoreError`].
pub fn unreadable(reader: &Reader<'_>, source: &str, limit: usize) -> Result<Vec<ResourceName>, StoreError> {
    reader.all(
        "SELECT type, logical_id FROM resource WHERE source = ?1 AND unreadable IS NOT NULL ORDER BY id LIMIT ?2",
        params![source, row_limit(limit)],
        |row| Ok(ResourceName { kind: row.get(0)?, id: row.get(1)? }),
    )
}

/// How many there are of [`unreadable`].
///
/// # Errors
/// See [`StoreError`].
pub fn unreadable_count(reader: &Reader<'_>, source: &str) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM resource WHERE source = ?1 AND unreadable IS NOT NULL";
    Ok(reader.one(sql, [source], |row| Ok(row.get::<_, i64>(0)?))?.unwrap_or(0).unsigned_abs())
}

/// A note of who reads a source.
///
/// # Errors
/// See [`StoreError`].
pub fn note(reader: &Reader<'_>, source: &str, key: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT progress FROM reading WHERE source = ?1 AND key = ?2";
    reader.one(sql, params![source, key], |row| Ok(row.get(0)?))
}

/// Keeps a note, or with `None` takes it away.
///
/// # Errors
/// See [`StoreError`].
pub fn put_note(transaction: &Transaction<'_>, source: &str, key: &str, text: Option<&str>) -> Result<(), StoreError> {
    match text {
        Some(text) => transaction.run(
            "INSERT INTO reading (source, key, progress) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET progress = ?3",
            params![source, key, text],
        )?,
        None => transaction.run("DELETE FROM reading WHERE source = ?1 AND key = ?2", params![source, key])?,
    };
    Ok(())
}
