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

/// Asks for a resource again at `at`, whatever is known of it.
///
/// # Errors
/// See [`StoreError`].
pub fn refresh(transaction: &Transaction<'_>, source: &str, name: &ResourceName, at: i64) -> Result<(), StoreError> {
    let row = row_of(transaction, source, name)?;
    transaction.run("UPDATE resource SET refresh_at = ?2 WHERE id = ?1", params![row, at])?;
    Ok(())
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

/// The rows that a resource names.
fn referred(reader: &Reader<'_>, row: i64) -> Result<Vec<i64>, StoreError> {
    reader.all("SELECT to_resource FROM resource_reference WHERE from_resource = ?1", [row], |row| Ok(row.get(0)?))
}

/// A resource that named those `before` names these, and no others.
fn refer(transaction: &Transaction<'_>, row: i64, before: &[i64], named: &[i64]) -> Result<(), StoreError> {
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

/// Remembers what a unit said, for [`Mark::IfDifferent`]; `None`: nothing came of it.
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

/// How many resources of a source are due.
///
/// # Errors
/// See [`StoreError`].
pub fn due_count(reader: &Reader<'_>, source: &str) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM resource WHERE source = ?1 AND due IS NOT NULL";
    Ok(reader.one(sql, [source], |row| Ok(row.get::<_, i64>(0)?))?.unwrap_or(0).unsigned_abs())
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

#[cfg(test)]
mod tests {
    use super::super::fixtures::{store, write};
    use super::*;

    fn name(text: &str) -> ResourceName {
        let (kind, id) = text.split_once('/').unwrap();
        ResourceName { kind: kind.to_owned(), id: id.to_owned() }
    }

    fn read(text: &str, body: &str, references: &[&str]) -> ReadResource {
        ReadResource {
            name: name(text),
            version: Some("1".to_owned()),
            updated_at: Some(10),
            digest: ContentDigest::of(body.as_bytes()),
            body: PackedBytes::pack(body.as_bytes()),
            references: references.iter().map(|reference| name(reference)).collect(),
            refresh_at: None,
            unreadable: None,
        }
    }

    fn put(transaction: &Transaction<'_>, source: &str, read: &ReadResource) -> Result<i64, StoreError> {
        let known = get(transaction, source, &read.name)?.map(|known| known.row);
        super::put(transaction, source, read, known)
    }

    fn missing(reader: &Reader<'_>, source: &str) -> Result<Vec<ResourceName>, StoreError> {
        Ok(wanted(reader, source, 0, 9)?.into_iter().map(|(name, _)| name).collect())
    }

    fn names(resources: Vec<Resource>) -> Vec<String> {
        resources.into_iter().map(|resource| format!("{} {}", resource.name, resource.state.name())).collect()
    }

    #[test]
    fn what_is_named_is_known_before_it_is_read() {
        let (_directory, store) = store();
        let encounter = read("Encounter/1", "{}", &["Patient/1", "Location/7"]);
        let row = write(&store, move |t| put(t, "emr", &encounter));
        let look = |row| {
            store.read(move |r| Ok((names(named_by(r, row)?), missing(r, "emr")?, missing(r, "other")?))).unwrap()
        };
        let (named, missing, elsewhere) = look(row);
        assert_eq!(named, ["Patient/1 unread", "Location/7 unread"]);
        assert_eq!((missing, elsewhere), (vec![name("Patient/1"), name("Location/7")], vec![]));
        write(&store, move |t| put(t, "emr", &read("Patient/1", "{\"a\":1}", &[])));
        // The new version names its patient no more.
        write(&store, move |t| put(t, "emr", &read("Encounter/1", "{}", &["Location/8"])));
        let (named, missing, _) = look(row);
        assert_eq!((named, missing), (vec!["Location/8 unread".to_owned()], vec![name("Location/8")]));
        let patient = store.read(|r| get(r, "emr", &name("Patient/1"))).unwrap().unwrap();
        assert_eq!(patient.state, ResourceState::Present);
        assert_eq!(store.read(|r| body(r, patient.row)).unwrap().unwrap(), b"{\"a\":1}");
        assert_eq!(store.read(|r| naming(r, patient.row)).unwrap(), []);
    }

    #[test]
    fn what_the_server_has_no_more_has_no_body_and_names_nothing() {
        let (_directory, store) = store();
        let row = write(&store, |t| put(t, "emr", &read("Encounter/1", "{}", &["Patient/1"])));
        write(&store, |t| remove(t, "emr", &name("Encounter/1"), ResourceState::Deleted, Some(20)));
        let found = store.read(|r| Ok((get(r, "emr", &name("Encounter/1"))?, body(r, row)?, missing(r, "emr")?)));
        let (resource, body, missing) = found.unwrap();
        let resource = resource.unwrap();
        assert_eq!((resource.state, resource.updated_at, body), (ResourceState::Deleted, Some(20), None));
        assert_eq!(missing, []);
        assert_eq!(store.read(|r| held(r, "emr", "Encounter", "", 9)).unwrap(), []);
    }

    #[test]
    fn a_mark_that_was_set_again_meanwhile_stays() {
        let (_directory, store) = store();
        let (visit, patient) = write(&store, |t| {
            let rows = (put(t, "emr", &read("Encounter/1", "{}", &[]))?, put(t, "emr", &read("Patient/1", "{}", &[]))?);
            mark_due(t, rows.0, 1, Mark::Anew, 5)?;
            mark_due(t, rows.1, 0, Mark::Anew, 5)?;
            Ok(rows)
        });
        let order = |after| store.read(|r| due(r, "emr", after, Ready::ALL, 9)).unwrap();
        let seen = order((-1, 0));
        assert_eq!(seen.iter().map(|(rank, due)| (*rank, due.row)).collect::<Vec<_>>(), [(0, patient), (1, visit)]);
        assert_eq!(order((0, patient)).len(), 1);
        let marks = seen[1].1.marks;
        write(&store, move |t| mark_due(t, visit, 1, Mark::Anew, 6));
        assert!(!write(&store, move |t| settle(t, visit, marks)));
        assert!(write(&store, move |t| settle(t, visit, marks + 1)));
        assert_eq!(store.read(|r| due_count(r, "emr")).unwrap(), 1);
    }

    #[test]
    fn a_record_is_never_told_under_an_older_time() {
        let (_directory, store) = store();
        let row = write(&store, |t| put(t, "emr", &read("Encounter/1", "{}", &[])));
        for (number, at) in [("V1", 50), ("V2", 40)] {
            write(&store, move |t| told(t, row, Told { number: Some(number), record: None, at, message: Some(1) }));
        }
        let known = store.read(|r| get(r, "emr", &name("Encounter/1"))).unwrap().unwrap();
        assert_eq!((known.number.as_deref(), known.told_at), (Some("V2"), Some(50)));
    }

    #[test]
    fn what_names_something_unread_waits_for_it_as_long_as_somebody_has_patience() {
        let (_directory, store) = store();
        write(&store, |t| {
            let row = put(t, "emr", &read("Encounter/1", "{}", &["Patient/1"]))?;
            mark_due(t, row, 1, Mark::Anew, 50)
        });
        let due_then = |since| {
            store.read(move |r| due(r, "emr", (-1, 0), Ready { patient_since: since, ..Ready::ALL }, 9)).unwrap().len()
        };
        assert_eq!((due_then(49), due_then(50)), (0, 1));
        write(&store, |t| remove(t, "emr", &name("Patient/1"), ResourceState::Absent, None));
        assert_eq!(due_then(0), 1);
    }

    #[test]
    fn what_may_be_a_part_of_something_that_is_to_come_waits_until_it_was_told_once() {
        let (_directory, store) = store();
        let row = write(&store, |t| {
            let row = put(t, "emr", &read("Observation/1", "{}", &[]))?;
            mark_due(t, row, 4, Mark::Anew, 50)?;
            Ok(row)
        });
        let due_then = |since| {
            let ready = Ready { parts_from: 4, settled_since: since, ..Ready::ALL };
            store.read(move |r| due(r, "emr", (-1, 0), ready, 9)).unwrap().len()
        };
        assert_eq!((due_then(49), due_then(50)), (0, 1));
        write(&store, move |t| told(t, row, Told { number: Some("1"), record: None, at: 1, message: None }));
        assert_eq!(due_then(49), 1);
    }

    #[test]
    fn what_was_to_be_asked_for_again_is_wanted_then_with_its_version() {
        let (_directory, store) = store();
        write(&store, |t| {
            put(t, "emr", &read("Encounter/1", "{}", &["Practitioner/1"]))?;
            put(t, "emr", &ReadResource { refresh_at: Some(100), ..read("Practitioner/1", "{}", &[]) })
        });
        let wanted_at = |now| store.read(move |r| wanted(r, "emr", now, 9)).unwrap();
        assert_eq!(wanted_at(99), []);
        assert_eq!(wanted_at(100), [(name("Practitioner/1"), Some("1".to_owned()))]);
        write(&store, |t| refresh(t, "emr", &name("Practitioner/1"), 200));
        assert_eq!(wanted_at(150), []);
    }

    #[test]
    fn notes_are_kept_replaced_and_taken_away() {
        let (_directory, store) = store();
        for text in [Some("{\"mark\":1}"), Some("{\"mark\":2}"), None] {
            write(&store, move |t| put_note(t, "emr", "type/Patient", text));
            assert_eq!(store.read(|r| note(r, "emr", "type/Patient")).unwrap().as_deref(), text);
        }
    }
}
