//! The audit trail in the store: entries are appended in the transaction of what they tell of, and the newest is signed in the same
//! commit.
//!
//! Invariants
//! - [`append`] is the only way to an entry, and nothing changes one afterwards; [`prune`] removes the oldest ones and leaves a signed mark.
//! - A transaction that appended commits with a new signature of its newest entry, or not at all.
//! - The signing key is no part of the store's file ([`AuditFiles`]).

mod evidence;
mod files;
mod index;

use rusqlite::{Row as SqlRow, ToSql, params};

use super::retention::PruneStep;
use super::{Reader, Store, StoreError, Transaction, row_limit, signed};
use crate::audit::{Action, Actor, Checkpoint, CheckpointKind, Entry, GENESIS, Hash, PublicKey, Row};

pub use evidence::{Evidence, Findings, evidence_of_export};
pub(super) use files::Sealer;
pub use files::{AuditFiles, public_keys};
pub use index::{ReindexStep, reindex};

/// Entries between two regular checkpoints.
const CHECKPOINT_ENTRIES: u64 = 1_000;
/// Time between two regular checkpoints, in microseconds: ten minutes.
const CHECKPOINT_TIME: i64 = 600_000_000;

macro_rules! entries {
    ($rest:literal) => {
        concat!(
            "SELECT audit_entry.sequence, at, actor, name, role, action, outcome, origin, request, persons, objects, detail, \
             hash FROM audit_entry ",
            $rest
        )
    };
}

macro_rules! fitting {
    ($order:literal) => {
        concat!(
            entries!(
                "WHERE sequence BETWEEN ?1 AND ?2 AND at >= ?3 AND at < ?4 AND (?5 IS NULL OR name = ?5) \
                 AND (?6 IS NULL OR action = ?6) AND (?7 IS NULL OR action LIKE ?7) ORDER BY sequence "
            ),
            $order,
            " LIMIT ?8"
        )
    };
}

macro_rules! fitting_of_person {
    ($order:literal) => {
        concat!(
            entries!(
                "JOIN audit_person ON audit_person.sequence = audit_entry.sequence \
                 WHERE person IN (?9, '*') AND instr(' ' || persons || ' ', ' ' || ?9 || ' ') > 0 AND audit_person.sequence BETWEEN ?1 AND ?2 AND at >= ?3 AND at < ?4 \
                 AND (?5 IS NULL OR name = ?5) AND (?6 IS NULL OR action = ?6) AND (?7 IS NULL OR action LIKE ?7) \
                 ORDER BY audit_person.sequence "
            ),
            $order,
            " LIMIT ?8"
        )
    };
}

/// How many rows are looked at for a page, and the last of them.
macro_rules! stretch {
    ($of:literal, $end:literal, $beyond:literal, $order:literal) => {
        concat!(
            "SELECT count(*), ",
            $end,
            "(sequence) FROM (SELECT sequence FROM ",
            $of,
            " sequence ",
            $beyond,
            " ?1 ORDER BY sequence ",
            $order,
            " LIMIT ?2)"
        )
    };
}

macro_rules! checkpoints {
    ($rest:literal) => {
        concat!("SELECT kind, sequence, hash, at, previous, key, signature FROM audit_checkpoint ", $rest)
    };
}

const IN_ORDER: &str = entries!("ORDER BY sequence");

/// Appends an entry; gives its place. It is kept when the job's transaction is.
///
/// # Errors
/// See [`StoreError`].
pub fn append(transaction: &Transaction<'_>, entry: &Entry) -> Result<u64, StoreError> {
    let key = transaction.sealer().public();
    let head = checkpoint_of(transaction, CheckpointKind::Head)?;
    if head.as_ref().is_none_or(|head| head.key != key) {
        let since = signed(head.as_ref().map_or(0, |head| head.sequence))?;
        let told: Option<()> = transaction.one(
            "SELECT 1 FROM audit_entry WHERE sequence > ?1 AND action = ?2",
            params![since, Action::AuditKey.name()],
            |_| Ok(()),
        )?;
        if told.is_none() {
            let mut new = Entry::new(entry.at, Actor::Daemon, Action::AuditKey, "daemon", &entry.request);
            new.object("key", key.fingerprint());
            head.iter().for_each(|head| new.object("former_key", head.key.fingerprint()));
            push(transaction, &new)?;
        }
    }
    push(transaction, entry)
}

fn push(transaction: &Transaction<'_>, entry: &Entry) -> Result<u64, StoreError> {
    let (last, hash) = end(transaction)?;
    let row = entry.row(last + 1, &hash);
    transaction.insert(
        "INSERT INTO audit_entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            signed(row.sequence)?,
            row.at,
            row.actor,
            row.name,
            row.role,
            row.action,
            row.outcome,
            row.origin,
            row.request,
            row.persons,
            row.objects,
            row.detail,
            row.hash
        ],
    )?;
    index::add(transaction, row.sequence, &row.persons)?;
    transaction.note_audited();
    Ok(row.sequence)
}

/// The newest entry's place and hash.
fn end(reader: &Reader<'_>) -> Result<(u64, Hash), StoreError> {
    let last = reader.one("SELECT sequence, hash FROM audit_entry ORDER BY sequence DESC LIMIT 1", [], |row| {
        Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, Hash>(1)?))
    })?;
    Ok(last.unwrap_or((0, GENESIS)))
}

/// Signs the newest entry, and makes a regular checkpoint where it is time for one or `is_asked`; gives that one.
pub(super) fn seal(transaction: &Transaction<'_>, is_asked: bool) -> Result<Option<Checkpoint>, StoreError> {
    let newest =
        transaction.one("SELECT sequence, hash, at FROM audit_entry ORDER BY sequence DESC LIMIT 1", [], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, Hash>(1)?, row.get::<_, i64>(2)?))
        })?;
    let Some((sequence, hash, at)) = newest else { return Ok(None) };
    let mut previous = checkpoint_of(transaction, CheckpointKind::Head)?.map_or(0, |head| head.previous);
    let last: Option<i64> = transaction.one(
        "SELECT at FROM audit_checkpoint WHERE kind = 'regular' ORDER BY sequence DESC LIMIT 1",
        [],
        |row| Ok(row.get(0)?),
    )?;
    let is_due = sequence - previous >= CHECKPOINT_ENTRIES
        || last.is_none_or(|last| at.saturating_sub(last) >= CHECKPOINT_TIME)
        || is_asked;
    let sealer = transaction.sealer();
    let made = (is_due && sequence > previous)
        .then(|| sealer.key().sign(CheckpointKind::Regular, sequence, hash, at, previous));
    if let Some(made) = &made {
        insert(transaction, made)?;
        previous = sequence;
    }
    put(transaction, &sealer.key().sign(CheckpointKind::Head, sequence, hash, at, previous))?;
    Ok(made)
}

fn insert(transaction: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let Checkpoint { kind, sequence, hash, at, previous, key, signature } = checkpoint;
    transaction.run(
        "INSERT INTO audit_checkpoint (kind, sequence, hash, at, previous, key, signature) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![kind.name(), signed(*sequence)?, hash, at, signed(*previous)?, key.0, signature],
    )?;
    Ok(())
}

/// In place of the one of its kind.
fn put(transaction: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    transaction.run("DELETE FROM audit_checkpoint WHERE kind = ?1", [checkpoint.kind.name()])?;
    insert(transaction, checkpoint)
}

fn checkpoint_of(reader: &Reader<'_>, kind: CheckpointKind) -> Result<Option<Checkpoint>, StoreError> {
    reader.one(checkpoints!("WHERE kind = ?1"), [kind.name()], checkpoint)
}

/// Has the newest entry signed with a regular checkpoint, which is then kept outside of the store as well.
///
/// # Errors
/// See [`StoreError`].
pub fn make_checkpoint(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    transaction.ask_for_checkpoint();
    Ok(())
}

/// Regular checkpoints after this place.
pub(super) fn checkpoints_after(reader: &Reader<'_>, after: u64) -> Result<Vec<Checkpoint>, StoreError> {
    let sql = checkpoints!("WHERE kind = 'regular' AND sequence > ?1 ORDER BY sequence");
    reader.all(sql, [signed(after)?], checkpoint)
}

/// All checkpoints, in the order of their places.
///
/// # Errors
/// See [`StoreError`]; one that cannot be read is [`StoreError::Damaged`].
pub fn checkpoints(reader: &Reader<'_>) -> Result<Vec<Checkpoint>, StoreError> {
    reader.all(checkpoints!("ORDER BY sequence, kind"), [], checkpoint)
}

/// Which entries a list is of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// At this time or later.
    pub since: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
    /// Of this token or user.
    pub who: Option<String>,
    /// About this person.
    pub person: Option<String>,
    /// Of this action; `person.*` for all of a kind.
    pub action: Option<String>,
}

/// A page of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<Row>,
    /// Where the next page goes on; `None`: this is the last.
    pub next: Option<u64>,
}

/// Entries looked at for one page: bounds how long a filter that fits nothing takes.
const LOOKED_AT: usize = 20_000;
/// The same where a person is looked for: one about many persons is some 30 KB.
const LOOKED_AT_FOR_PERSON: usize = 2_000;

/// Where a page of entries begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOrder {
    /// Before this entry, newest first.
    NewestFirst(Option<u64>),
    /// After this entry, oldest first.
    OldestFirst(u64),
}

/// At most `limit` entries that fit. A page may be short, or empty, and have a next one: a filter is looked for in a bounded stretch.
///
/// # Errors
/// See [`StoreError`].
pub fn list(
    reader: &Reader<'_>,
    filter: &AuditFilter,
    order: AuditOrder,
    limit: usize,
) -> Result<AuditPage, StoreError> {
    let AuditFilter { since, until, who, person, action } = filter;
    let group = action.as_deref().and_then(|action| action.strip_suffix('*')).map(|group| format!("{group}%"));
    let exact = action.as_deref().filter(|_| group.is_none());
    let is_newest_first = matches!(order, AuditOrder::NewestFirst(_));
    let place = match order {
        AuditOrder::NewestFirst(before) => signed(before.unwrap_or(i64::MAX.unsigned_abs()))?,
        AuditOrder::OldestFirst(after) => signed(after)?,
    };
    let most = row_limit(if person.is_some() { LOOKED_AT_FOR_PERSON } else { LOOKED_AT });
    // The stretch first, so that its end is known whatever fits.
    let stretch = |row: &SqlRow<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?));
    let stretch = match (person, is_newest_first) {
        (None, true) => reader.one(stretch!("audit_entry WHERE", "min", "<", "DESC"), params![place, most], stretch),
        (None, false) => reader.one(stretch!("audit_entry WHERE", "max", ">", "ASC"), params![place, most], stretch),
        (Some(person), true) => reader.one(
            stretch!("audit_person WHERE person IN (?3, '*') AND", "min", "<", "DESC"),
            params![place, most, person],
            stretch,
        ),
        (Some(person), false) => reader.one(
            stretch!("audit_person WHERE person IN (?3, '*') AND", "max", ">", "ASC"),
            params![place, most, person],
            stretch,
        ),
    }?;
    let Some((looked_at, Some(end))) = stretch else { return Ok(AuditPage { entries: Vec::new(), next: None }) };
    let (from, to) = if is_newest_first { (end, place.saturating_sub(1)) } else { (place.saturating_add(1), end) };
    let values =
        params![from, to, since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX), who, exact, group, row_limit(limit)];
    let found = match person {
        None => reader.all(if is_newest_first { fitting!("DESC") } else { fitting!("ASC") }, values, entry)?,
        Some(person) => {
            let sql = if is_newest_first { fitting_of_person!("DESC") } else { fitting_of_person!("ASC") };
            let values: Vec<&dyn ToSql> = values.iter().copied().chain([person as &dyn ToSql]).collect();
            reader.all(sql, values.as_slice(), entry)?
        }
    };
    let next = if found.len() >= limit {
        found.last().map(|last| last.sequence)
    } else {
        (looked_at >= most).then_some(end.unsigned_abs())
    };
    Ok(AuditPage { entries: found, next })
}

/// Removes at most `rows` of the oldest entries, those before `before`, and signs where the trail begins now. The newest stays. `at`: now.
///
/// # Errors
/// See [`StoreError`].
pub fn prune(transaction: &Transaction<'_>, before: i64, rows: usize, at: i64) -> Result<PruneStep, StoreError> {
    let last = transaction
        .one(
            "SELECT max(sequence) FROM (SELECT sequence FROM audit_entry ORDER BY sequence LIMIT ?2) \
             WHERE sequence < coalesce((SELECT sequence FROM audit_entry WHERE at >= ?1 ORDER BY sequence LIMIT 1), \
                                       9223372036854775807) \
             AND sequence < (SELECT max(sequence) FROM audit_entry)",
            params![before, row_limit(rows)],
            |row| Ok(row.get::<_, Option<i64>>(0)?),
        )?
        .flatten();
    let Some(last) = last else { return Ok(PruneStep { removed: 0, next: None }) };
    let hash: Option<Hash> =
        transaction.one("SELECT hash FROM audit_entry WHERE sequence = ?1", [last], |row| Ok(row.get(0)?))?;
    let hash = hash.ok_or(StoreError::Damaged { what: "audit_entry.hash" })?;
    let mark = transaction.sealer().key().sign(CheckpointKind::Beginning, last.unsigned_abs(), hash, at, 0);
    put(transaction, &mark)?;
    let removed = transaction.run("DELETE FROM audit_entry WHERE sequence <= ?1", [last])?;
    index::remove(transaction, last)?;
    transaction.run("DELETE FROM audit_checkpoint WHERE kind = 'regular' AND sequence <= ?1", [last])?;
    let mut entry = Entry::new(at, Actor::Daemon, Action::AuditPrune, "daemon", "");
    entry.object("entries_up_to", last);
    append(transaction, &entry)?;
    Ok(PruneStep { removed, next: Some(last) })
}

/// A signed mark that an export begins after the entry `after`; `None`: at the beginning of the trail none is needed. `at`: now.
///
/// # Errors
/// See [`StoreError`].
pub fn part(store: &Store, after: u64, at: i64) -> Result<Option<Checkpoint>, StoreError> {
    let hash: Option<Hash> = store.read(|reader| {
        let after = signed(after)?;
        reader.one("SELECT hash FROM audit_entry WHERE sequence = ?1", [after], |row| Ok(row.get(0)?))
    })?;
    Ok(hash.map(|hash| store.sealer().key().sign(CheckpointKind::Part, after, hash, at, 0)))
}

/// The last of the entries before the first one of this time or later; `None`: there is none before, or none that late.
///
/// # Errors
/// See [`StoreError`].
pub fn last_before(reader: &Reader<'_>, since: i64) -> Result<Option<u64>, StoreError> {
    let first: Option<i64> = reader
        .one("SELECT min(sequence) FROM audit_entry WHERE at >= ?1", [since], |row| Ok(row.get::<_, Option<i64>>(0)?))?
        .flatten();
    let before = reader.one(
        "SELECT max(sequence) FROM audit_entry WHERE sequence < ?1",
        [first.unwrap_or(i64::MIN)],
        |row| Ok(row.get::<_, Option<i64>>(0)?),
    )?;
    Ok(before.flatten().map(i64::unsigned_abs))
}

/// When the oldest entry was made.
///
/// # Errors
/// See [`StoreError`].
pub fn oldest(reader: &Reader<'_>) -> Result<Option<i64>, StoreError> {
    reader.one("SELECT at FROM audit_entry ORDER BY sequence LIMIT 1", [], |row| Ok(row.get(0)?))
}

fn entry(row: &SqlRow<'_>) -> Result<Row, StoreError> {
    let damaged = || StoreError::Damaged { what: "audit_entry" };
    let text = |column: usize| row.get::<_, String>(column).map_err(|_| damaged());
    let place = |column| row.get::<_, i64>(column).ok().and_then(|place| place.try_into().ok()).ok_or_else(damaged);
    Ok(Row {
        sequence: place(0)?,
        at: row.get(1).map_err(|_| damaged())?,
        actor: text(2)?,
        name: text(3)?,
        role: text(4)?,
        action: text(5)?,
        outcome: text(6)?,
        origin: text(7)?,
        request: text(8)?,
        persons: text(9)?,
        objects: text(10)?,
        detail: text(11)?,
        hash: row.get(12).map_err(|_| damaged())?,
    })
}

fn checkpoint(row: &SqlRow<'_>) -> Result<Checkpoint, StoreError> {
    let damaged = || StoreError::Damaged { what: "audit_checkpoint" };
    let place = |column| row.get::<_, i64>(column).ok().and_then(|place| place.try_into().ok()).ok_or_else(damaged);
    let kind: String = row.get(0).map_err(|_| damaged())?;
    Ok(Checkpoint {
        kind: CheckpointKind::named(&kind).ok_or_else(damaged)?,
        sequence: place(1)?,
        hash: row.get(2).map_err(|_| damaged())?,
        at: row.get(3).map_err(|_| damaged())?,
        previous: place(4)?,
        key: PublicKey(row.get(5).map_err(|_| damaged())?),
        signature: row.get(6).map_err(|_| damaged())?,
    })
}

#[cfg(test)]
mod tests;
