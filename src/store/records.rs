//! Patient records (what one source says of one of its numbers), their identifiers, and their links to persons.

use std::str::FromStr;

use rusqlite::{Row, params};

use super::packed::{PackedText, unpack_text};
use super::{Reader, StoreError, Transaction, row_limit};
use crate::record::{RecordNumber, Value};

/// How a record came to its person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// By rule.
    Auto,
    /// By a person's decision; rules never change it.
    Manual,
    /// By a merge that came before the record itself.
    Pending,
}

impl LinkKind {
    /// All kinds.
    pub const ALL: [LinkKind; 3] = [Self::Auto, Self::Manual, Self::Pending];

    /// `auto`, `manual`, `pending`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
            Self::Pending => "pending",
        }
    }
}

impl FromStr for LinkKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(())
    }
}

/// A patient record on its way into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The source that says it.
    pub source: String,
    /// Its own number (the first `mrn`).
    pub number: RecordNumber,
    /// 1, and more when the source gave the number to another patient.
    pub generation: u32,
    /// Newest source time in the state.
    pub updated_at: i64,
    /// Version of the mapping by which it was last written; empty in what is older than this column.
    pub mapping: String,
    /// `state::PatientState` as JSON; the store never looks inside.
    pub state: String,
}

/// A stored patient record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientRecord {
    /// The store's number for it.
    pub id: i64,
    /// The source that says it.
    pub source: String,
    /// Its own number.
    pub number: RecordNumber,
    /// 1, and more when the source gave the number to another patient.
    pub generation: u32,
    /// Its person; never a retired One ID.
    pub one_id: String,
    /// How it came to that person.
    pub link: LinkKind,
    /// The record that its source merged it into.
    pub merged_into: Option<i64>,
    /// Newest source time in the state.
    pub updated_at: i64,
    /// Version of the mapping by which it was last written; empty in what is older than this column.
    pub mapping: String,
    /// `state::PatientState` as JSON.
    pub state: String,
    /// Source time at which its source deleted the patient.
    pub deactivated_at: Option<i64>,
}

impl PatientRecord {
    /// Its source has deleted the patient and said nothing of them since.
    pub fn is_deactivated(&self) -> bool {
        self.deactivated_at.is_some_and(|at| at >= self.updated_at)
    }
}

/// A number by which a record can be found; normalised by the caller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordIdentifier {
    /// One of `schema::IDENTIFIER_TYPES`.
    pub kind: String,
    /// Assigning authority, empty where there is none.
    pub system: String,
    /// The number.
    pub value: String,
}

/// The move of a record to a person.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkChange {
    /// The record.
    pub record: i64,
    /// Its person before; `None` for a new record. Filled in by the store.
    pub from: Option<String>,
    /// Its person now.
    pub to: String,
    /// By rule, by decision, or ahead of the record.
    pub kind: LinkKind,
    /// The evidence.
    pub basis: Value,
    /// The message that caused it.
    pub message: Option<i64>,
    /// When.
    pub at: i64,
}

/// A row of the list of all links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// The record; the next page begins after it.
    pub record: i64,
    /// The source.
    pub source: String,
    /// The record's own number.
    pub number: RecordNumber,
    /// Its person.
    pub one_id: String,
    /// How it came to that person.
    pub link: LinkKind,
    /// Version of the mapping by which it was last written; empty in what is older than this column.
    pub mapping: String,
    /// 1, and more when the source gave the number to another patient.
    pub generation: u32,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT patient_record.id, patient_record.source, patient_record.system, patient_record.value, generation, ",
            "one_id, link, merged_into, updated_at, state, deactivated_at, mapping FROM patient_record ",
            $rest
        )
    };
}

/// What `source` says under its number now: of several generations the one that it spoke of last.
///
/// # Errors
/// See [`StoreError`].
pub fn find(reader: &Reader<'_>, source: &str, number: &RecordNumber) -> Result<Option<PatientRecord>, StoreError> {
    reader.one(
        select!("WHERE system = ?1 AND value = ?2 AND source = ?3 ORDER BY updated_at DESC, generation DESC LIMIT 1"),
        params![number.system, number.value, source],
        record,
    )
}

/// All generations of a number of `source`: the patients that it stood for, the one that the source spoke of last first.
///
/// # Errors
/// See [`StoreError`].
pub fn generations(reader: &Reader<'_>, source: &str, number: &RecordNumber) -> Result<Vec<PatientRecord>, StoreError> {
    reader.all(
        select!("WHERE system = ?1 AND value = ?2 AND source = ?3 ORDER BY updated_at DESC, generation DESC"),
        params![number.system, number.value, source],
        record,
    )
}

/// What every source says under this number, each of the patient that it spoke of last, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn named(reader: &Reader<'_>, number: &RecordNumber) -> Result<Vec<PatientRecord>, StoreError> {
    let found =
        reader.all(select!("WHERE system = ?1 AND value = ?2"), params![number.system, number.value], record)?;
    let present = found.iter().filter(|record| is_present(record, &found)).cloned().collect();
    Ok(oldest_first(present))
}

/// Every record under this number, of whatever source and generation, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn all_named(reader: &Reader<'_>, number: &RecordNumber) -> Result<Vec<PatientRecord>, StoreError> {
    let found =
        reader.all(select!("WHERE system = ?1 AND value = ?2"), params![number.system, number.value], record)?;
    Ok(oldest_first(found))
}

/// Stands between a number that its source has used for several patients and its generation: `HIS|P0001#2`.
const GENERATION: char = '#';

/// The records that people mean by this name: those under the number, and where it ends in `#N` and nobody has it so, those of
/// that generation of the number before it.
///
/// # Errors
/// See [`StoreError`].
pub fn meant_by(reader: &Reader<'_>, name: &RecordNumber) -> Result<Vec<PatientRecord>, StoreError> {
    let found = all_named(reader, name)?;
    let generation = name.value.rsplit_once(GENERATION).filter(|(value, _)| found.is_empty() && !value.is_empty());
    let Some((value, Ok(generation))) = generation.map(|(value, number)| (value, number.parse::<u32>())) else {
        return Ok(found);
    };
    let mut found = all_named(reader, &RecordNumber { system: name.system.clone(), value: value.to_owned() })?;
    found.retain(|row| row.generation == generation);
    Ok(found)
}

/// How people name this record: `SYSTEM|VALUE`, and its generation where the source has used the number for several patients.
///
/// # Errors
/// See [`StoreError`].
pub fn name(reader: &Reader<'_>, row: &PatientRecord) -> Result<String, StoreError> {
    let others = reader.one(
        "SELECT 1 FROM patient_record WHERE system = ?1 AND value = ?2 AND source = ?3 AND generation <> ?4 LIMIT 1",
        params![row.number.system, row.number.value, row.source, row.generation],
        |_| Ok(()),
    )?;
    Ok(match others {
        Some(()) => format!("{}{GENERATION}{}", row.number, row.generation),
        None => row.number.to_string(),
    })
}

/// The record that came to this One ID before all others; `None`: none ever did.
///
/// # Errors
/// See [`StoreError`].
pub fn first_of(reader: &Reader<'_>, one_id: &str) -> Result<Option<i64>, StoreError> {
    // The lowest id of an index that ends in it: no sorting.
    reader.one("SELECT record FROM link_history WHERE to_one_id = ?1 ORDER BY id LIMIT 1", [one_id], |row| {
        Ok(row.get(0)?)
    })
}

/// No other generation of its number in its source is newer.
fn is_present(record: &PatientRecord, among: &[PatientRecord]) -> bool {
    let age = |record: &PatientRecord| (record.updated_at, record.generation);
    !among.iter().any(|other| other.source == record.source && age(other) > age(record))
}

/// Its source has used the number for several patients.
fn is_reused(record: &PatientRecord, among: &[PatientRecord]) -> bool {
    among.iter().any(|other| other.source == record.source && other.generation != record.generation)
}

/// What all sources say under this number of the patient that it stands for now, and what names it among its medical record
/// numbers, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn with_number(reader: &Reader<'_>, number: &RecordNumber) -> Result<Vec<PatientRecord>, StoreError> {
    let own = reader.all(select!("WHERE system = ?1 AND value = ?2"), params![number.system, number.value], record)?;
    let naming = reader.all(
        select!(
            "JOIN identifier ON patient_record.id = identifier.record
             WHERE identifier.value = ?2 AND identifier.type = 'mrn' AND identifier.system = ?1"
        ),
        params![number.system, number.value],
        record,
    )?;
    // A number that was given to another patient: whoever is one person with the former one alone meant that one.
    let holds = |one_id: &str, present: bool| {
        own.iter().any(|row| row.one_id == one_id && is_present(row, &own) == present && is_reused(row, &own))
    };
    let is_former = |known: &PatientRecord| {
        known.number == *number && !is_present(known, &own)
            || holds(&known.one_id, false) && !holds(&known.one_id, true)
    };
    let present = own.iter().chain(&naming).filter(|known| !is_former(known)).cloned().collect();
    Ok(oldest_first(present))
}

/// Records that name this identifier, whatever its authority, oldest first, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub fn with_identifier(
    reader: &Reader<'_>,
    kind: &str,
    value: &str,
    limit: usize,
) -> Result<Vec<PatientRecord>, StoreError> {
    let found = reader.all(
        select!(
            // Its index is sorted by authority: the oldest are chosen before any record is read.
            "WHERE id IN (SELECT DISTINCT record FROM identifier WHERE value = ?1 AND type = ?2 ORDER BY record LIMIT ?3)"
        ),
        params![value, kind, row_limit(limit)],
        record,
    )?;
    Ok(oldest_first(found))
}

/// Each record once. Sorted here: SQLite would build a temporary table for it, with every new patient.
fn oldest_first(mut records: Vec<PatientRecord>) -> Vec<PatientRecord> {
    records.sort_by_key(|record| record.id);
    records.dedup_by_key(|record| record.id);
    records
}

/// Whether the person has other records than this one.
///
/// # Errors
/// See [`StoreError`].
pub fn has_others(reader: &Reader<'_>, one_id: &str, record: i64) -> Result<bool, StoreError> {
    let other = "SELECT 1 FROM patient_record WHERE one_id = ?1 AND id <> ?2 LIMIT 1";
    Ok(reader.one(other, params![one_id, record], |_| Ok(()))?.is_some())
}

/// The One ID of the person that has this record.
///
/// # Errors
/// See [`StoreError`].
pub fn one_id_of(reader: &Reader<'_>, record: i64) -> Result<Option<String>, StoreError> {
    reader.one("SELECT one_id FROM patient_record WHERE id = ?1", [record], |row| Ok(row.get(0)?))
}

/// The records of a person, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn of_person(reader: &Reader<'_>, one_id: &str) -> Result<Vec<PatientRecord>, StoreError> {
    reader.all(select!("WHERE one_id = ?1 ORDER BY id"), [one_id], record)
}

/// People with records, by their One IDs, at most `limit` after `after` (empty for the beginning).
///
/// # Errors
/// See [`StoreError`].
pub fn holders(reader: &Reader<'_>, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
    reader.all(
        "SELECT DISTINCT one_id FROM patient_record WHERE one_id > ?1 ORDER BY one_id LIMIT ?2",
        params![after, row_limit(limit)],
        |row| Ok(row.get(0)?),
    )
}

/// A record by the store's number for it.
///
/// # Errors
/// See [`StoreError`].
pub fn get(reader: &Reader<'_>, id: i64) -> Result<Option<PatientRecord>, StoreError> {
    reader.one(select!("WHERE id = ?1"), [id], record)
}

/// Whose a record is, by the store's number for it.
///
/// # Errors
/// See [`StoreError`].
pub fn one_id(reader: &Reader<'_>, id: i64) -> Result<Option<String>, StoreError> {
    reader.one("SELECT one_id FROM patient_record WHERE id = ?1", [id], |row| Ok(row.get(0)?))
}

/// Inserts a record with its first link (whose `record` and `from` are ignored); gives its number.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Constraint`] when the record exists or the person does not.
pub fn insert(transaction: &Transaction<'_>, new: &NewRecord, link: &LinkChange) -> Result<i64, StoreError> {
    let id = transaction.insert(
        "INSERT INTO patient_record (source, system, value, generation, one_id, link, updated_at, state, mapping)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            new.source,
            new.number.system,
            new.number.value,
            new.generation,
            link.to,
            link.kind.name(),
            new.updated_at,
            PackedText::pack(&new.state),
            new.mapping,
        ],
    )?;
    note_link(transaction, id, None, link)?;
    Ok(id)
}

/// Replaces a record's state; `mapping` is the version of the mapping that says so.
///
/// # Errors
/// See [`StoreError`].
pub fn update(
    transaction: &Transaction<'_>,
    id: i64,
    updated_at: i64,
    mapping: &str,
    state: &str,
) -> Result<(), StoreError> {
    transaction.run(
        "UPDATE patient_record SET updated_at = ?2, state = ?3, mapping = ?4 WHERE id = ?1",
        params![id, updated_at, PackedText::pack(state), mapping],
    )?;
    Ok(())
}

/// Makes `after` the identifiers by which the record is found, where `before` are those that it has; writes only what differs.
///
/// # Errors
/// See [`StoreError`].
pub fn set_identifiers(
    transaction: &Transaction<'_>,
    id: i64,
    before: &[RecordIdentifier],
    after: &[RecordIdentifier],
) -> Result<(), StoreError> {
    for RecordIdentifier { kind, system, value } in before.iter().filter(|known| !after.contains(known)) {
        transaction.run(
            "DELETE FROM identifier WHERE value = ?1 AND type = ?2 AND system = ?3 AND record = ?4",
            params![value, kind, system, id],
        )?;
    }
    for RecordIdentifier { kind, system, value } in after.iter().filter(|wanted| !before.contains(wanted)) {
        // OR IGNORE: a message may name one number twice.
        transaction.run(
            "INSERT OR IGNORE INTO identifier (value, type, system, record) VALUES (?1, ?2, ?3, ?4)",
            params![value, kind, system, id],
        )?;
    }
    Ok(())
}

/// Moves a record to a person and writes the move into its history. Its visits and reports go with it.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Constraint`] when the record or the person does not exist.
pub fn link(transaction: &Transaction<'_>, change: &LinkChange) -> Result<(), StoreError> {
    let from: Option<String> =
        transaction.one("SELECT one_id FROM patient_record WHERE id = ?1", [change.record], |row| Ok(row.get(0)?))?;
    let from = from.ok_or_else(|| StoreError::Constraint { reason: "patient_record.id: no such record".to_owned() })?;
    transaction.run(
        "UPDATE patient_record SET one_id = ?2, link = ?3 WHERE id = ?1",
        params![change.record, change.to, change.kind.name()],
    )?;
    note_link(transaction, change.record, Some(&from), change)
}

/// Notes that the source merged a record into another of its records; `None` takes it back.
///
/// # Errors
/// See [`StoreError`].
pub fn set_merged_into(transaction: &Transaction<'_>, id: i64, survivor: Option<i64>) -> Result<(), StoreError> {
    transaction.run("UPDATE patient_record SET merged_into = ?2 WHERE id = ?1", params![id, survivor])?;
    Ok(())
}

/// Notes that the source has deleted the patient at this source time; an older word than one that is known changes nothing.
///
/// # Errors
/// See [`StoreError`].
pub fn set_deactivated(transaction: &Transaction<'_>, id: i64, at: i64) -> Result<(), StoreError> {
    transaction.run(
        "UPDATE patient_record SET deactivated_at = ?2 WHERE id = ?1 AND (deactivated_at IS NULL OR deactivated_at < ?2)",
        params![id, at],
    )?;
    Ok(())
}

/// Takes back that the source deleted the patient.
///
/// # Errors
/// See [`StoreError`].
pub fn reactivate(transaction: &Transaction<'_>, id: i64) -> Result<(), StoreError> {
    transaction.run("UPDATE patient_record SET deactivated_at = NULL WHERE id = ?1", [id])?;
    Ok(())
}

/// Gives a record another number of its source, as the next patient that this stands for.
///
/// # Errors
/// See [`StoreError`].
pub fn rename(transaction: &Transaction<'_>, id: i64, number: &RecordNumber) -> Result<(), StoreError> {
    transaction.run(
        "UPDATE patient_record SET system = ?2, value = ?3, generation = 1 + coalesce((SELECT max(generation) FROM patient_record other
         WHERE other.source = patient_record.source AND other.system = ?2 AND other.value = ?3 AND other.id <> ?1), 0) WHERE id = ?1",
        params![id, number.system, number.value],
    )?;
    Ok(())
}

/// The moves of one record, oldest first, each with its number in the history of all.
///
/// # Errors
/// See [`StoreError`].
pub fn moves_of(reader: &Reader<'_>, id: i64) -> Result<Vec<(i64, LinkChange)>, StoreError> {
    reader.all(
        "SELECT id, record, from_one_id, to_one_id, kind, basis, message, at FROM link_history
         WHERE record = ?1 ORDER BY id",
        [id],
        step,
    )
}

/// Every move that a person took part in (as the former or the new one), oldest first, at most `limit` after the change `after`
/// (0 for the beginning). Each with its number for the next page.
///
/// # Errors
/// See [`StoreError`].
pub fn history(
    reader: &Reader<'_>,
    one_id: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, LinkChange)>, StoreError> {
    reader.all(
        "SELECT id, record, from_one_id, to_one_id, kind, basis, message, at FROM link_history
         WHERE (from_one_id = ?1 OR to_one_id = ?1) AND id > ?2 ORDER BY id LIMIT ?3",
        params![one_id, after, row_limit(limit)],
        step,
    )
}

/// The same of a person and of all One IDs that answer as it: a chain of merges with every step.
///
/// # Errors
/// See [`StoreError`].
pub fn whole_history(
    reader: &Reader<'_>,
    one_id: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, LinkChange)>, StoreError> {
    reader.all(
        "WITH RECURSIVE name (one_id) AS (
             VALUES (?1) UNION SELECT person.one_id FROM person JOIN name ON person.merged_into = name.one_id
         )
         SELECT id, record, from_one_id, to_one_id, kind, basis, message, at FROM link_history
         WHERE (from_one_id IN (SELECT one_id FROM name) OR to_one_id IN (SELECT one_id FROM name)) AND id > ?2
         ORDER BY id LIMIT ?3",
        params![one_id, after, row_limit(limit)],
        step,
    )
}

/// All links in the order of their records, at most `limit` after the record `after` (0 for the beginning).
///
/// # Errors
/// See [`StoreError`].
pub fn links(reader: &Reader<'_>, after: i64, limit: usize) -> Result<Vec<LinkRow>, StoreError> {
    reader.all(
        "SELECT id, source, system, value, one_id, link, mapping, generation FROM patient_record WHERE id > ?1 ORDER BY id LIMIT ?2",
        params![after, row_limit(limit)],
        |row| {
            Ok(LinkRow {
                record: row.get(0)?,
                source: row.get(1)?,
                number: RecordNumber { system: row.get(2)?, value: row.get(3)? },
                one_id: row.get(4)?,
                link: link_kind(&row.get::<_, String>(5)?, "patient_record.link")?,
                mapping: row.get(6)?,
                generation: row.get(7)?,
            })
        },
    )
}

fn note_link(
    transaction: &Transaction<'_>,
    record: i64,
    from: Option<&str>,
    change: &LinkChange,
) -> Result<(), StoreError> {
    transaction.insert(
        "INSERT INTO link_history (record, from_one_id, to_one_id, kind, basis, message, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![record, from, change.to, change.kind.name(), change.basis.to_string(), change.message, change.at],
    )?;
    Ok(())
}

fn step(row: &Row<'_>) -> Result<(i64, LinkChange), StoreError> {
    let basis: String = row.get(5)?;
    let change = LinkChange {
        record: row.get(1)?,
        from: row.get(2)?,
        to: row.get(3)?,
        kind: link_kind(&row.get::<_, String>(4)?, "link_history.kind")?,
        basis: serde_json::from_str(&basis).map_err(|_| StoreError::Damaged { what: "link_history.basis" })?,
        message: row.get(6)?,
        at: row.get(7)?,
    };
    Ok((row.get(0)?, change))
}

fn link_kind(text: &str, what: &'static str) -> Result<LinkKind, StoreError> {
    text.parse().map_err(|()| StoreError::Damaged { what })
}

fn record(row: &Row<'_>) -> Result<PatientRecord, StoreError> {
    Ok(PatientRecord {
        id: row.get(0)?,
        source: row.get(1)?,
        number: RecordNumber { system: row.get(2)?, value: row.get(3)? },
        generation: row.get(4)?,
        one_id: row.get(5)?,
        link: link_kind(&row.get::<_, String>(6)?, "patient_record.link")?,
        merged_into: row.get(7)?,
        updated_at: row.get(8)?,
        mapping: row.get(11)?,
        state: unpack_text(row.get_ref(9)?, "patient_record.state")?,
        deactivated_at: row.get(10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{insert_person, link as change, number, store, write};
    use super::*;
    use crate::record::json;

    #[test]
    fn a_record_is_found_by_its_number_in_its_source_and_in_any() {
        let (_directory, store) = store();
        let (his, lis, second) = write(&store, |t| {
            let his = insert_person(t, "P1", "1001")?;
            let mut new = NewRecord {
                source: "lis".to_owned(),
                number: number("1001"),
                generation: 1,
                updated_at: 4,
                mapping: "m1".to_owned(),
                state: json!({"name": "张三".repeat(1000)}).to_string(),
            };
            let lis = insert(t, &new, &change(0, "P1", LinkKind::Auto))?;
            new.generation = 2;
            Ok((his, lis, insert(t, &new, &change(0, "P1", LinkKind::Auto))?))
        });
        let check = |source: &str| store.read(|r| find(r, source, &number("1001"))).unwrap();
        assert_eq!(check("his").unwrap().id, his);
        let newest = check("lis").unwrap();
        assert_eq!((newest.id, newest.generation, newest.one_id.as_str()), (second, 2, "P1"));
        assert!(newest.state.contains("张三张三"));
        assert_eq!(check("emr"), None);
        let ids = |records: Vec<PatientRecord>| records.into_iter().map(|record| record.id).collect::<Vec<_>>();
        // A former generation answers to nothing but its own name.
        for found in [with_number, named] {
            assert_eq!(ids(store.read(|r| found(r, &number("1001"))).unwrap()), [his, second]);
        }
        assert_eq!(ids(store.read(|r| generations(r, "lis", &number("1001"))).unwrap()), [second, lis]);
        assert_eq!(ids(store.read(|r| of_person(r, "P1")).unwrap()), [his, lis, second]);
        write(&store, move |t| {
            update(t, his, 9, "m2", "{\"a\":1}")?;
            set_merged_into(t, his, Some(lis))
        });
        let changed = store.read(|r| get(r, his)).unwrap().unwrap();
        assert_eq!((changed.updated_at, changed.state.as_str(), changed.merged_into), (9, "{\"a\":1}", Some(lis)));
        let versions = store.read(|r| links(r, 0, 9)).unwrap().into_iter().map(|row| row.mapping).collect::<Vec<_>>();
        assert_eq!((changed.mapping.as_str(), versions), ("m2", ["m2", "m1", "m1"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn identifiers_follow_the_record() {
        let (_directory, store) = store();
        let record = write(&store, |t| insert_person(t, "P1", "1001"));
        let numbers = |values: &[&str]| -> Vec<RecordIdentifier> {
            let number = |value: &&str| RecordIdentifier {
                kind: "resident_id".to_owned(),
                system: String::new(),
                value: (*value).to_owned(),
            };
            values.iter().map(number).collect()
        };
        let set = |before: &[&str], after: &[&str]| {
            let (before, after) = (numbers(before), numbers(after));
            write(&store, move |t| set_identifiers(t, record, &before, &after));
        };
        let found = |value: &str| store.read(|r| with_identifier(r, "resident_id", value, 9)).unwrap().len();
        set(&[], &["A", "B", "B"]);
        assert_eq!((found("A"), found("B")), (1, 1));
        set(&["A", "B", "B"], &["B", "C"]);
        assert_eq!((found("A"), found("B"), found("C")), (0, 1, 1));
        assert_eq!(store.read(|r| with_identifier(r, "passport", "B", 9)), Ok(Vec::new()));
        // The later record's authority is the first by name, and the older one has the number of two.
        let of = |system: &str| RecordIdentifier {
            kind: "resident_id".to_owned(),
            system: system.to_owned(),
            value: "D".to_owned(),
        };
        let (older, later) = ([of("X"), of("Y")], [of("A")]);
        let newest = write(&store, move |t| {
            let newest = insert_person(t, "P2", "1002")?;
            set_identifiers(t, record, &[], &older)?;
            set_identifiers(t, newest, &[], &later)?;
            Ok(newest)
        });
        let first = |limit| -> Vec<i64> {
            let found = store.read(|r| with_identifier(r, "resident_id", "D", limit)).unwrap();
            found.iter().map(|found| found.id).collect()
        };
        assert_eq!((first(1), first(2)), (vec![record], vec![record, newest]));
    }

    #[test]
    fn every_move_of_a_record_is_in_the_history_of_both_persons() {
        let (_directory, store) = store();
        let record = write(&store, |t| {
            let record = insert_person(t, "P1", "1001")?;
            insert_person(t, "P2", "1002")?;
            link(t, &change(record, "P2", LinkKind::Manual))?;
            Ok(record)
        });
        let moves = |one_id: &str| {
            let history = store.read(|r| history(r, one_id, 0, 9)).unwrap();
            history.into_iter().map(|(_, change)| (change.record, change.from, change.to)).collect::<Vec<_>>()
        };
        let [p1, p2] = ["P1", "P2"].map(str::to_owned);
        assert_eq!(moves("P1"), [(record, None, p1.clone()), (record, Some(p1.clone()), p2.clone())]);
        assert_eq!(moves("P2"), [(record + 1, None, p2.clone()), (record, Some(p1), p2.clone())]);
        let rows = store.read(|r| links(r, 0, 9)).unwrap();
        assert_eq!(rows.iter().map(|row| row.one_id.as_str()).collect::<Vec<_>>(), ["P2", "P2"]);
        assert_eq!((rows[0].link, rows[1].link), (LinkKind::Manual, LinkKind::Auto));
        assert_eq!(store.read(|r| links(r, record, 9)).unwrap().len(), 1);
        let nobody = store.submit_blocking(move |t| link(t, &change(record, "P9", LinkKind::Auto)));
        assert!(nobody.is_err(), "a record cannot belong to nobody");
    }
}
