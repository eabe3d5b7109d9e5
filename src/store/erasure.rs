//! Taking out of the store what is held of one person. What is to go is found by `pipeline::rights`; here is only how it goes.
//!
//! Invariants
//! - The One ID stays, as do the numbers of messages and events: nothing is ever given out twice, and a resend of an erased message is
//!   still known as one.
//! - What went leaves no trace in the file: SQLite overwrites deleted content (`secure_delete`), and [`super::Store::forget`] gives
//!   back the pages that became free and empties the write-ahead log.

use std::collections::BTreeMap;

use rusqlite::{Row, params};

use super::messages::{self, MessageState};
use super::packed::{PackedBytes, unpack_text};
use super::resources::{self, ResourceName};
use super::{Reader, StoreError, Transaction, row_limit, signed, unmapped};

/// A message as a search through all of them sees it.
#[derive(Debug)]
pub struct HeldMessage {
    /// Its number.
    pub id: i64,
    /// Its source.
    pub source: String,
    /// Its patient, as resolved when it was processed.
    pub one_id: Option<String>,
    /// Its bytes, packed as they are stored: unpack them outside of the read.
    pub bytes: PackedBytes,
}

/// An event as a search through all of them sees it.
#[derive(Debug)]
pub struct HeldEvent {
    /// Its place in the log.
    pub sequence: u64,
    /// The One ID that it was about.
    pub subject: String,
    /// The message that caused it.
    pub message: Option<i64>,
    /// Its `data`, as JSON.
    pub data: String,
}

/// The messages after the number `after` whose bytes are kept, in their order.
///
/// # Errors
/// See [`StoreError`].
pub fn messages_after(reader: &Reader<'_>, after: i64, limit: usize) -> Result<Vec<HeldMessage>, StoreError> {
    reader.all(
        "SELECT id, source, one_id, compressed, bytes FROM message JOIN message_content ON message = id
         WHERE id > ?1 AND length(bytes) > 0 ORDER BY id LIMIT ?2",
        params![after, row_limit(limit)],
        |row| {
            let bytes = PackedBytes { compressed: row.get(3)?, bytes: row.get(4)? };
            Ok(HeldMessage { id: row.get(0)?, source: row.get(1)?, one_id: row.get(2)?, bytes })
        },
    )
}

/// The events after a place in the log whose data is kept, in their order.
///
/// # Errors
/// See [`StoreError`].
pub fn events_after(reader: &Reader<'_>, after: u64, limit: usize) -> Result<Vec<HeldEvent>, StoreError> {
    reader.all(
        "SELECT sequence, subject, message, data FROM event WHERE sequence > ?1 AND length(data) > 0
         ORDER BY sequence LIMIT ?2",
        params![signed(after)?, row_limit(limit)],
        |row| {
            let data = unpack_text(row.get_ref(3)?, "event.data")?;
            let sequence = row.get::<_, i64>(0)?.unsigned_abs();
            Ok(HeldEvent { sequence, subject: row.get(1)?, message: row.get(2)?, data })
        },
    )
}

/// Empties an event: it keeps its place and is told to nobody any more.
///
/// # Errors
/// See [`StoreError`].
pub fn empty_event(transaction: &Transaction<'_>, sequence: u64) -> Result<(), StoreError> {
    transaction.run("UPDATE event SET data = '' WHERE sequence = ?1", [signed(sequence)?])?;
    Ok(())
}

/// Removes a message's bytes and what was noted of it. One that had failed waits for nobody any more.
///
/// # Errors
/// See [`StoreError`].
pub fn empty_message(transaction: &Transaction<'_>, id: i64, note: &str) -> Result<(), StoreError> {
    let Some(message) = messages::get(transaction, id)? else { return Ok(()) };
    transaction.run("UPDATE message_content SET compressed = 0, bytes = x'' WHERE message = ?1", [id])?;
    // Of a FHIR unit it is the resource's id, which may be a number of the patient's.
    if message.control_id.contains('/') {
        transaction.run("UPDATE message SET control_id = '' WHERE id = ?1", [id])?;
    }
    unmapped::release_all(transaction, id)?;
    let mut outcome = message.outcome.clone();
    outcome.error = None;
    if outcome.state == MessageState::Failed {
        outcome.state = MessageState::Ignored;
    }
    outcome.notes = vec![note.to_owned()];
    messages::set_outcome(transaction, &message, &outcome)
}

/// Empties what was read of FHIR servers about these records: each Patient that was told as one of them, and whatever leads to it. What is
/// left tells nothing but whether the server still says the same, so that only a change of it is taken in again. Gives how many.
///
/// # Errors
/// See [`StoreError`].
pub fn empty_resources(transaction: &Transaction<'_>, records: &[i64]) -> Result<usize, StoreError> {
    let mut found = BTreeMap::new();
    let mut open = Vec::new();
    for record in records {
        let sql = "SELECT id, source, type, logical_id FROM resource WHERE record = ?1";
        open.extend(transaction.all(sql, [record], named_resource)?);
    }
    while let Some((row, source, name)) = open.pop() {
        if found.insert(row, (source, name)).is_some() {
            continue;
        }
        // Another patient who names this one is another patient still.
        let sql = "SELECT id, source, type, logical_id FROM resource_reference JOIN resource ON id = from_resource
                   WHERE to_resource = ?1 AND type <> 'Patient'";
        open.extend(transaction.all(sql, [row], named_resource)?);
    }
    for (row, (source, name)) in &found {
        let id = resources::erased_id(transaction, source, name)?;
        transaction.run(
            "UPDATE resource SET logical_id = ?2, compressed = 0, body = CASE WHEN body IS NULL THEN NULL ELSE x'' END, number = NULL,
             record = NULL, told_digest = NULL, told_by = NULL, due = NULL, due_at = NULL, refresh_at = NULL, unreadable = ?3,
             unreadable_by = NULL WHERE id = ?1",
            params![row, id, "it was erased"],
        )?;
        transaction.run("DELETE FROM resource_spread WHERE resource = ?1", [row])?;
    }
    Ok(found.len())
}

fn named_resource(row: &Row<'_>) -> Result<(i64, String, ResourceName), StoreError> {
    Ok((row.get(0)?, row.get(1)?, ResourceName { kind: row.get(2)?, id: row.get(3)? }))
}

/// Removes a record with its visits, reports, history, cases and what else hangs on it. What it is found by (identifiers,
/// keys and counts of matching) the caller has removed.
///
/// # Errors
/// See [`StoreError`].
pub fn remove_record(transaction: &Transaction<'_>, record: i64) -> Result<(), StoreError> {
    let said: Vec<i64> =
        transaction.all("SELECT consent FROM consent_record WHERE record = ?1", [record], |row| Ok(row.get(0)?))?;
    for statement in [
        "DELETE FROM review_answer WHERE review IN (SELECT id FROM review WHERE record = ?1 OR other = ?1)",
        "DELETE FROM review WHERE record = ?1 OR other = ?1",
        "DELETE FROM no_link WHERE one = ?1 OR other = ?1",
        "DELETE FROM restriction WHERE record = ?1",
        "DELETE FROM link_history WHERE record = ?1",
        "DELETE FROM consent_word WHERE record = ?1",
        "DELETE FROM consent_record WHERE record = ?1",
        "DELETE FROM visit WHERE record = ?1",
        "DELETE FROM lab_report WHERE record = ?1",
        "UPDATE patient_record SET merged_into = NULL WHERE merged_into = ?1",
        "DELETE FROM patient_record WHERE id = ?1",
    ] {
        transaction.run(statement, [record])?;
    }
    for consent in said {
        let alone =
            "DELETE FROM consent WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM consent_record WHERE consent = ?1)";
        transaction.run(alone, [consent])?;
    }
    Ok(())
}

/// Forgets the numbers that a visit had before.
///
/// # Errors
/// See [`StoreError`].
pub fn remove_redirects(transaction: &Transaction<'_>, source: &str, number: &str) -> Result<(), StoreError> {
    let former: Vec<String> = transaction.all(
        "SELECT number FROM visit_redirect WHERE source = ?1 AND into_number = ?2",
        [source, number],
        |row| Ok(row.get(0)?),
    )?;
    transaction.run("DELETE FROM visit_redirect WHERE source = ?1 AND into_number = ?2", [source, number])?;
    // Redirects form no cycle.
    former.iter().try_for_each(|number| remove_redirects(transaction, source, number))
}
