//! What a FHIR server holds, as it was last read: the mirror from which records are made.
//!
//! A resource that another one names is known here from then on, `unread` until somebody has read it. Whatever changes a record marks
//! its resource as *due*; who has told the record anew takes the mark away, unless it was set once more meanwhile.
//!
//! Invariants
//! - A page of resources, what they name, what becomes due by it and how far the reading has got are one transaction of the caller.
//! - Nothing here knows what a resource means: types, references and what is due by what come as arguments.

use rusqlite::{Row, params};

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
    /// How often it became due.
    pub marks: i64,
    /// The number of the record that it was last told as.
    pub number: Option<String>,
    /// The source time under which it was.
    pub told_at: Option<i64>,
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
}

/// A statement that reads resources, for [`resource`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.type, r.logical_id, r.state, r.version, r.updated_at, r.digest, r.marks, r.number, r.told_at FROM resource r ",
            $rest
        )
    };
}

fn resource(row: &Row<'_>) -> Result<Resource, StoreError> {
    let state: String = row.get(3)?;
    let state = ResourceState::ALL.into_iter().find(|known| known.name() == state);
    let digest: Option<[u8; 16]> = row.get(6)?;
    Ok(Resource {
        row: row.get(0)?,
        name: ResourceName { kind: row.get(1)?, id: row.get(2)? },
        state: state.ok_or(StoreError::Damaged { what: "resource.state" })?,
        version: row.get(4)?,
        updated_at: row.get(5)?,
        digest: digest.map(ContentDigest::from_bytes),
        marks: row.get(7)?,
        number: row.get(8)?,
        told_at: row.get(9)?,
    })
}

/// What the mirror knows of a resource.
///
/// # Errors
/// See [`StoreError`].
pub fn get(reader: &Reader<'_>, source: &str, name: &ResourceName) -> Result<Option<Resource>, StoreError> {
    let sql = select!("WHERE r.source = ?1 AND r.type = ?2 AND r.logical_id = ?3");
    reader.one(sql, params![source, name.kind, name.id], resource)
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

/// Enters what the server has now and gives its row. What was named before keeps being known.
///
/// # Errors
/// See [`StoreError`].
pub fn put(transaction: &Transaction<'_>, source: &str, read: &ReadResource) -> Result<i64, StoreError> {
    let ReadResource { name, version, updated_at, digest, body, references } = read;
    let row = row_of(transaction, source, name)?;
    transaction.run(
        "UPDATE resource SET state = 'present', version = ?2, updated_at = ?3, digest = ?4, compressed = ?5, body = ?6 WHERE id = ?1",
        params![row, version, updated_at, digest.bytes(), body.compressed, body.bytes],
    )?;
    let mut named = Vec::with_capacity(references.len());
    for reference in references {
        named.push(row_of(transaction, source, reference)?);
    }
    refer(transaction, row, &named)?;
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
         body = NULL WHERE id = ?1",
        params![row, state.name(), at],
    )?;
    refer(transaction, row, &[])?;
    Ok(row)
}

/// The row of a resource; one that is not known is unread from now on.
fn row_of(transaction: &Transaction<'_>, source: &str, name: &ResourceName) -> Result<i64, StoreError> {
    let known = transaction.one(
        "SELECT id FROM resource WHERE source = ?1 AND type = ?2 AND logical_id = ?3",
        params![source, name.kind, name.id],
        |row| Ok(row.get(0)?),
    )?;
    match known {
        Some(row) => Ok(row),
        None => transaction.insert(
            "INSERT INTO resource (source, type, logical_id, state) VALUES (?1, ?2, ?3, 'unread')",
            params![source, name.kind, name.id],
        ),
    }
}

/// A resource names these, and no others.
fn refer(transaction: &Transaction<'_>, row: i64, named: &[i64]) -> Result<(), StoreError> {
    let before =
        transaction.all("SELECT to_resource FROM resource_reference WHERE from_resource = ?1", [row], |row| {
            Ok(row.get::<_, i64>(0)?)
        })?;
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

/// Marks a resource as due. Of a lower `rank` comes first.
///
/// # Errors
/// See [`StoreError`].
pub fn mark_due(transaction: &Transaction<'_>, row: i64, rank: i64) -> Result<(), StoreError> {
    transaction.run("UPDATE resource SET due = ?2, marks = marks + 1 WHERE id = ?1", params![row, rank])?;
    Ok(())
}

/// The resources of a source that are due, in the order in which they should be told, after `after` (rank and row).
///
/// # Errors
/// See [`StoreError`].
pub fn due(
    reader: &Reader<'_>,
    source: &str,
    after: (i64, i64),
    limit: usize,
) -> Result<Vec<(i64, Resource)>, StoreError> {
    let sql = concat!(
        "SELECT r.id, r.type, r.logical_id, r.state, r.version, r.updated_at, r.digest, r.marks, r.number, r.told_at, r.due ",
        "FROM resource r WHERE r.source = ?1 AND r.due IS NOT NULL AND (r.due, r.id) > (?2, ?3) ORDER BY r.due, r.id LIMIT ?4"
    );
    reader.all(sql, params![source, after.0, after.1, row_limit(limit)], |row| Ok((row.get(10)?, resource(row)?)))
}

/// Takes the mark away, if it is the one that was seen: `marks` as it was read before the record was told. `false`: it became due again
/// meanwhile.
///
/// # Errors
/// See [`StoreError`].
pub fn settle(transaction: &Transaction<'_>, row: i64, marks: i64) -> Result<bool, StoreError> {
    Ok(transaction.run("UPDATE resource SET due = NULL WHERE id = ?1 AND marks = ?2", params![row, marks])? > 0)
}

/// Writes down as what record a resource was told, and under which source time.
///
/// # Errors
/// See [`StoreError`].
pub fn told(transaction: &Transaction<'_>, row: i64, number: Option<&str>, at: i64) -> Result<(), StoreError> {
    transaction.run(
        "UPDATE resource SET number = ?2, told_at = max(?3, coalesce(told_at, ?3)) WHERE id = ?1",
        params![row, number, at],
    )?;
    Ok(())
}

/// Whether another resource of the type was told as this record: two may bear one number.
///
/// # Errors
/// See [`StoreError`].
pub fn is_told_by_another(
    reader: &Reader<'_>,
    source: &str,
    resource: &Resource,
    number: &str,
) -> Result<bool, StoreError> {
    let found = reader.one(
        "SELECT 1 FROM resource WHERE source = ?1 AND type = ?2 AND number = ?3 AND id <> ?4 AND state = 'present' LIMIT 1",
        params![source, resource.name.kind, number, resource.row],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Resources of a source that others name and nobody has read.
///
/// # Errors
/// See [`StoreError`].
pub fn unread(reader: &Reader<'_>, source: &str, limit: usize) -> Result<Vec<ResourceName>, StoreError> {
    // One that nothing names any more is of no interest.
    reader.all(
        "SELECT type, logical_id FROM resource r WHERE source = ?1 AND state = 'unread'
         AND EXISTS (SELECT 1 FROM resource_reference WHERE to_resource = r.id) ORDER BY id LIMIT ?2",
        params![source, row_limit(limit)],
        |row| Ok(ResourceName { kind: row.get(0)?, id: row.get(1)? }),
    )
}

/// Ids of the present resources of a type, in order, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub fn ids(
    reader: &Reader<'_>,
    source: &str,
    kind: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    reader.all(
        "SELECT logical_id FROM resource WHERE source = ?1 AND type = ?2 AND logical_id > ?3 AND state = 'present'
         ORDER BY logical_id LIMIT ?4",
        params![source, kind, after, row_limit(limit)],
        |row| Ok(row.get(0)?),
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

/// How far the reading of a source has got: what its client wrote down, by its keys.
///
/// # Errors
/// See [`StoreError`].
pub fn progress(reader: &Reader<'_>, source: &str) -> Result<Vec<(String, String)>, StoreError> {
    reader.all("SELECT key, progress FROM reading WHERE source = ?1 ORDER BY key", [source], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

/// Writes down how far a part of the reading has got.
///
/// # Errors
/// See [`StoreError`].
pub fn put_progress(transaction: &Transaction<'_>, source: &str, key: &str, progress: &str) -> Result<(), StoreError> {
    transaction.run(
        "INSERT INTO reading (source, key, progress) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET progress = ?3",
        params![source, key, progress],
    )?;
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
        }
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
            store.read(move |r| Ok((names(named_by(r, row)?), unread(r, "emr", 9)?, unread(r, "other", 9)?))).unwrap()
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
        let found = store.read(|r| Ok((get(r, "emr", &name("Encounter/1"))?, body(r, row)?, unread(r, "emr", 9)?)));
        let (resource, body, missing) = found.unwrap();
        let resource = resource.unwrap();
        assert_eq!((resource.state, resource.updated_at, body), (ResourceState::Deleted, Some(20), None));
        assert_eq!(missing, []);
        assert_eq!(store.read(|r| ids(r, "emr", "Encounter", "", 9)).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_mark_that_was_set_again_meanwhile_stays() {
        let (_directory, store) = store();
        let (visit, patient) = write(&store, |t| {
            let rows = (put(t, "emr", &read("Encounter/1", "{}", &[]))?, put(t, "emr", &read("Patient/1", "{}", &[]))?);
            mark_due(t, rows.0, 1)?;
            mark_due(t, rows.1, 0)?;
            Ok(rows)
        });
        let order = |after| store.read(|r| due(r, "emr", after, 9)).unwrap();
        let seen = order((-1, 0));
        assert_eq!(seen.iter().map(|(rank, due)| (*rank, due.row)).collect::<Vec<_>>(), [(0, patient), (1, visit)]);
        assert_eq!(order((0, patient)).len(), 1);
        let marks = seen[1].1.marks;
        write(&store, move |t| mark_due(t, visit, 1));
        assert!(!write(&store, move |t| settle(t, visit, marks)));
        assert!(write(&store, move |t| settle(t, visit, marks + 1)));
        assert_eq!(store.read(|r| due_count(r, "emr")).unwrap(), 1);
    }

    #[test]
    fn a_record_is_never_told_under_an_older_time() {
        let (_directory, store) = store();
        let row = write(&store, |t| put(t, "emr", &read("Encounter/1", "{}", &[])));
        for (number, at) in [("V1", 50), ("V2", 40)] {
            write(&store, move |t| told(t, row, Some(number), at));
        }
        let known = store.read(|r| get(r, "emr", &name("Encounter/1"))).unwrap().unwrap();
        assert_eq!((known.number.as_deref(), known.told_at), (Some("V2"), Some(50)));
    }

    #[test]
    fn reading_goes_on_where_it_was() {
        let (_directory, store) = store();
        for text in ["{\"mark\":1}", "{\"mark\":2}"] {
            write(&store, move |t| put_progress(t, "emr", "Patient", text));
        }
        let known = store.read(|r| progress(r, "emr")).unwrap();
        assert_eq!(known, [("Patient".to_owned(), "{\"mark\":2}".to_owned())]);
    }
}
