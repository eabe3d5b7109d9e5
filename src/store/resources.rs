//! What a FHIR server holds, as it was last read: the mirror from which records are made.
//!
//! A resource that another one names is known here from then on, `unread` until somebody has read it. Whatever changes a record marks
//! its resource as *due*; who has told the record anew takes the mark away, unless it was set once more meanwhile.
//!
//! Invariants
//! - A page of resources, what they name, what becomes due by it and how far the reading has got are one transaction of the caller.
//! - Nothing here knows what a resource means: types, references and what is due by what come as arguments.

use rusqlite::{Row, params};
use sha2::{Digest, Sha256};

use super::consents;
use super::messages::ContentDigest;
use super::{PackedBytes, Reader, StoreError, Transaction, row_limit};

/// Names a resource of one source: `Encounter/123`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName {
    /// Resource type, `Encounter`.
    pub kind: String,
    /// Logical id, `123`.
    pub id: String,
}

impl std::fmt::Display for ResourceName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.id)
    }
}

/// What is known of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceState {
    /// Another one names it, and it was not read yet.
    Unread,
    /// The server has it.
    Present,
    /// The server says that it had it (410, or a deletion in its history).
    Deleted,
    /// The server does not have it, or does not show it (404).
    Absent,
}

impl ResourceState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Unread, Self::Present, Self::Deleted, Self::Absent];

    /// `unread`, `present`, `deleted`, `absent`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Present => "present",
            Self::Deleted => "deleted",
            Self::Absent => "absent",
        }
    }
}

/// One resource of the mirror, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its row.
    pub row: i64,
    /// Its name at its server.
    pub name: ResourceName,
    /// What is known of it.
    pub state: ResourceState,
    /// `meta.versionId`.
    pub version: Option<String>,
    /// `meta.lastUpdated`, or when it was deleted.
    pub updated_at: Option<i64>,
    /// Of its body.
    pub digest: Option<ContentDigest>,
    /// It has to be told.
    pub is_due: bool,
    /// How often it became due.
    pub marks: i64,
    /// What it was last told as: the number of a patient's record, else the id of a visit or report.
    pub number: Option<String>,
    /// Of a Patient: the row of that record. `None` with a number: it was told before this was remembered.
    pub record: Option<i64>,
    /// Of what its unit said then; `None`: it is told anew whatever it says.
    pub told_digest: Option<ContentDigest>,
    /// Why its body cannot be read.
    pub unreadable: Option<String>,
    /// The message that says so.
    pub unreadable_by: Option<i64>,
    /// The source time under which it was.
    pub told_at: Option<i64>,
    /// The message that told it last.
    pub told_by: Option<i64>,
}

/// A resource as a server gave it.
#[derive(Debug, Clone)]
pub struct ReadResource {
    /// Its name.
    pub name: ResourceName,
    /// `meta.versionId`.
    pub version: Option<String>,
    /// `meta.lastUpdated`.
    pub updated_at: Option<i64>,
    /// Of the body as it came.
    pub digest: ContentDigest,
    /// JSON as it came.
    pub body: PackedBytes,
    /// The resources of the same server that it names, each once.
    pub references: Vec<ResourceName>,
    /// When to ask for it again; `None`: polling tells of its changes.
    pub refresh_at: Option<i64>,
    /// Why the body cannot be read, without content; `None`: it can.
    pub unreadable: Option<String>,
}

/// The columns that [`resource`] reads.
macro_rules! columns {
    () => {
        "r.id, r.type, r.logical_id, r.state, r.version, r.updated_at, r.digest, r.marks, r.number, r.told_at, r.told_by, r.record, \
         r.told_digest, r.unreadable, r.unreadable_by, r.due"
    };
}

/// A statement that reads resources, for [`resource`].
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM resource r ", $rest)
    };
}

mod due;
mod naming;
mod reading;
mod told;

pub use due::{Mark, Ready, Spread, due, due_count, end_spread, mark_due, next_spread, put_spread, settle};
pub use naming::{named_by, naming, naming_from, naming_of, naming_their_kind};
use naming::{refer, referred};
pub use reading::{
    counts, forget_notes, held, note, put_note, refresh, refresh_all, refresh_type, types, unreadable,
    unreadable_count, wanted,
};
pub use told::{
    Told, put_told_digest, put_unreadable_by, tell_after, told, told_as_record, told_as_well, was_told_by_another,
};

fn resource(row: &Row<'_>) -> Result<Resource, StoreError> {
    let state: String = row.get(3)?;
    let state = ResourceState::ALL.into_iter().find(|known| known.name() == state);
    let digest: Option<[u8; 16]> = row.get(6)?;
    let told_digest: Option<[u8; 16]> = row.get(12)?;
    Ok(Resource {
        row: row.get(0)?,
        name: ResourceName { kind: row.get(1)?, id: row.get(2)? },
        state: state.ok_or(StoreError::Damaged { what: "resource.state" })?,
        version: row.get(4)?,
        updated_at: row.get(5)?,
        digest: digest.map(ContentDigest::from_bytes),
        is_due: row.get::<_, Option<i64>>(15)?.is_some(),
        marks: row.get(7)?,
        number: row.get(8)?,
        told_at: row.get(9)?,
        told_by: row.get(10)?,
        record: row.get(11)?,
        told_digest: told_digest.map(ContentDigest::from_bytes),
        unreadable: row.get(13)?,
        unreadable_by: row.get(14)?,
    })
}

/// What the mirror knows of a resource.
///
/// # Errors
/// See [`StoreError`].
pub fn get(reader: &Reader<'_>, source: &str, name: &ResourceName) -> Result<Option<Resource>, StoreError> {
    let sql = select!("WHERE r.source = ?1 AND r.type = ?2 AND r.logical_id = ?3");
    match reader.one(sql, params![source, name.kind, name.id], resource)? {
        Some(found) => Ok(Some(found)),
        None => reader.one(sql, params![source, name.kind, erased_id(reader, source, name)?], resource),
    }
}

/// The bodies of all that was read about the patient of a record, each with its source: the Patient, and whatever leads to it.
///
/// # Errors
/// See [`StoreError`].
pub fn about(reader: &Reader<'_>, record: i64) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let sql = "WITH RECURSIVE about (id) AS (
                   SELECT id FROM resource WHERE record = ?1
                   UNION SELECT resource.id FROM about JOIN resource_reference ON to_resource = about.id
                   JOIN resource ON resource.id = from_resource WHERE type <> 'Patient')
               SELECT source, compressed, body FROM resource JOIN about USING (id) WHERE length(body) > 0 ORDER BY id";
    reader.all(sql, [record], |row| {
        Ok((row.get(0)?, PackedBytes { compressed: row.get(1)?, bytes: row.get(2)? }.unpack()?))
    })
}

/// What stands for the id of a resource that was erased: as long as its server says the same of it, it is not taken in again.
///
/// # Errors
/// See [`StoreError`].
pub fn erased_id(reader: &Reader<'_>, source: &str, name: &ResourceName) -> Result<String, StoreError> {
    let mut digest = Sha256::new();
    digest.update(consents::pseudonym_secret(reader)?);
    for part in [source, &name.kind, &name.id] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    Ok(format!("erased-{}", crate::audit::hexadecimal(&digest.finalize()[..16])))
}

/// The same by its row.
///
/// # Errors
/// See [`StoreError`].
pub fn by_row(reader: &Reader<'_>, row: i64) -> Result<Option<Resource>, StoreError> {
    reader.one(select!("WHERE r.id = ?1"), [row], resource)
}

/// The body of a resource, JSON as it came; `None` unless it is present.
///
/// # Errors
/// See [`StoreError`].
pub fn body(reader: &Reader<'_>, row: i64) -> Result<Option<Vec<u8>>, StoreError> {
    let found = reader.one(
        "SELECT compressed, body FROM resource WHERE id = ?1 AND state = 'present' AND body IS NOT NULL",
        [row],
        |row| Ok(PackedBytes { compressed: row.get(0)?, bytes: row.get(1)? }),
    )?;
    found.map(PackedBytes::unpack).transpose()
}

/// Enters what the server has now and gives its row; `known` is its row, where it has one. What was named before keeps being known.
///
/// # Errors
/// See [`StoreError`].
pub fn put(
    transaction: &Transaction<'_>,
    source: &str,
    read: &ReadResource,
    known: Option<i64>,
) -> Result<i64, StoreError> {
    let ReadResource { name, version, updated_at, digest, body, references, refresh_at, unreadable } = read;
    let digest = digest.bytes();
    let row = match known {
        Some(row) => {
            transaction.run(
                "UPDATE resource SET state = 'present', version = ?2, updated_at = ?3, digest = ?4, compressed = ?5, body = ?6,
                 refresh_at = ?7, unreadable = ?8, logical_id = ?9 WHERE id = ?1",
                params![row, version, updated_at, digest, body.compressed, body.bytes, refresh_at, unreadable, name.id],
            )?;
            row
        }
        None => transaction.insert(
            "INSERT INTO resource (source, type, logical_id, state, version, updated_at, digest, compressed, body, refresh_at, unreadable)
             VALUES (?1, ?2, ?3, 'present', ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                source,
                name.kind,
                name.id,
                version,
                updated_at,
                digest,
                body.compressed,
                body.bytes,
                refresh_at,
                unreadable
            ],
        )?,
    };
    let mut named = Vec::with_capacity(references.len());
    for reference in references {
        named.push(row_of(transaction, source, reference)?);
    }
    let before = if known.is_some() { referred(transaction, row)? } else { Vec::new() };
    refer(transaction, row, &before, &named)?;
    Ok(row)
}

/// Enters that the server does not have a resource (any more), and gives its row. It names nothing from now on.
///
/// # Errors
/// See [`StoreError`].
pub fn remove(
    transaction: &Transaction<'_>,
    source: &str,
    name: &ResourceName,
    state: ResourceState,
    at: Option<i64>,
) -> Result<i64, StoreError> {
    let row = row_of(transaction, source, name)?;
    transaction.run(
        "UPDATE resource SET state = ?2, version = NULL, updated_at = coalesce(?3, updated_at), digest = NULL, compressed = 0,
         body = NULL, refresh_at = NULL, unreadable = NULL WHERE id = ?1",
        params![row, state.name(), at],
    )?;
    refer(transaction, row, &referred(transaction, row)?, &[])?;
    Ok(row)
}

/// The row of a resource; one that is not known is unread from now on.
fn row_of(transaction: &Transaction<'_>, source: &str, name: &ResourceName) -> Result<i64, StoreError> {
    let known = |id: &str| {
        let sql = "SELECT id FROM resource WHERE source = ?1 AND type = ?2 AND logical_id = ?3";
        transaction.one(sql, params![source, name.kind, id], |row| Ok(row.get(0)?))
    };
    if let Some(row) = known(&name.id)? {
        return Ok(row);
    }
    match known(&erased_id(transaction, source, name)?)? {
        Some(row) => Ok(row),
        None => transaction.insert(
            "INSERT INTO resource (source, type, logical_id, state) VALUES (?1, ?2, ?3, 'unread')",
            params![source, name.kind, name.id],
        ),
    }
}

#[cfg(test)]
mod tests;
