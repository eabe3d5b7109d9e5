//! Messages as they came, and what became of them.
//!
//! Ids are the order of arrival. A message is inserted once it is known what became of it: take [`next_id`] first, work with
//! it, then [`insert`].

use std::io;
use std::str::FromStr;

use rusqlite::{Row, params};
use sha2::{Digest as _, Sha256};

use super::{PackedBytes, Reader, StoreError, Transaction, unmapped};

/// A statement that reads messages, for [`message`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, source, received_at, type, control_id, message_time, charset, digest, same_control_id, attempts, ",
            "state, error_code, error_location, error_text, notes, mapping, one_id FROM message ",
            $rest
        )
    };
}

mod list;

pub use list::{MessageFilter, MessagePage, Page, list};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// Mapped and applied.
    Processed,
    /// Kept, but it could not be processed; it can be retried.
    Failed,
    /// Kept; no mapping wants it, or somebody dismissed it after it had failed.
    Ignored,
}

impl MessageState {
    /// All states.
    pub const ALL: [MessageState; 3] = [Self::Processed, Self::Failed, Self::Ignored];

    /// `processed`, `failed`, `ignored`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }
}

impl FromStr for MessageState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or(())
    }
}

/// What tells one message's bytes from another's: the first 128 bits of SHA-256. Take it before the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest([u8; 16]);

impl ContentDigest {
    /// The digest of the bytes as they came.
    pub fn of(bytes: &[u8]) -> Self {
        Self::start_of(Sha256::digest(bytes))
    }

    /// The digest of all that `reader` gives.
    ///
    /// # Errors
    /// Those of `reader`.
    pub fn of_stream(mut reader: impl io::Read) -> io::Result<Self> {
        let mut sha256 = Sha256::new();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match reader.read(&mut chunk)? {
                0 => break,
                length => sha256.update(&chunk[..length]),
            }
        }
        Ok(Self::start_of(sha256.finalize()))
    }

    fn start_of(hash: impl IntoIterator<Item = u8>) -> Self {
        let mut start = [0; 16];
        start.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(start)
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its octets, for what is derived from the content (event ids).
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A message on its way into the store.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The source's name.
    pub source: String,
    /// When its frame was complete.
    pub received_at: i64,
    /// `ADT^A01`; what could be read of MSH-9, else empty.
    pub message_type: String,
    /// MSH-10; empty when it could not be read.
    pub control_id: String,
    /// MSH-7.
    pub message_time: Option<i64>,
    /// The charset that it was decoded by, or that it claims.
    pub charset: String,
    /// Of the bytes as they came.
    pub digest: ContentDigest,
    /// The bytes as they came.
    pub bytes: PackedBytes,
    /// An earlier message of the source had this MSH-10 and other bytes.
    pub same_control_id: bool,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its state.
    pub state: MessageState,
    /// Why it failed.
    pub error: Option<MessageError>,
    /// What was mended, skipped or rejected, one sentence each, without values.
    pub notes: Vec<String>,
    /// Version of the mapping, empty when it came to none.
    pub mapping: String,
    /// The One ID of its patient.
    pub one_id: Option<String>,
}

/// Why a message failed, as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageError {
    /// HL7 table 0357.
    pub code: String,
    /// Where, e.g. `PID-3`.
    pub location: String,
    /// A sentence without the patient's values.
    pub text: String,
}

/// A stored message without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Order of arrival.
    pub id: i64,
    /// The source's name.
    pub source: String,
    /// When its frame was complete.
    pub received_at: i64,
    /// `ADT^A01`.
    pub message_type: String,
    /// MSH-10.
    pub control_id: String,
    /// MSH-7.
    pub message_time: Option<i64>,
    /// The charset that it was decoded by.
    pub charset: String,
    /// Of the bytes as they came.
    pub digest: ContentDigest,
    /// An earlier message of the source had this MSH-10 and other bytes.
    pub same_control_id: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// How the note on a dismissal begins.
const DISMISSED: &str = "dismissed by ";

impl Message {
    /// Whether somebody dismissed it and it was not tried again since.
    pub fn is_dismissed(&self) -> bool {
        let Outcome { state, notes, .. } = &self.outcome;
        *state == MessageState::Ignored && notes.last().is_some_and(|note| note.starts_with(DISMISSED))
    }
}

/// Whether a message was here before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Its control id is new for the source.
    Never,
    /// The control id was used before, with other bytes.
    SameControlId,
    /// The very same bytes came before; the newest such message.
    Repeat(Box<Message>),
}

/// Looks for earlier messages with this control id, byte-identical or not.
///
/// # Errors
/// See [`StoreError`].
pub fn seen(reader: &Reader<'_>, source: &str, control_id: &str, digest: ContentDigest) -> Result<Seen, StoreError> {
    let same_id = "SELECT 1 FROM message WHERE control_id = ?1 AND source = ?2 LIMIT 1";
    if reader.one(same_id, params![control_id, source], |_| Ok(()))?.is_none() {
        return Ok(Seen::Never);
    }
    let same_bytes = select!("WHERE control_id = ?1 AND source = ?2 AND digest = ?3 ORDER BY id DESC LIMIT 1");
    let repeat = reader.one(same_bytes, params![control_id, source, digest.0], message)?;
    Ok(repeat.map_or(Seen::SameControlId, |repeat| Seen::Repeat(Box::new(repeat))))
}

/// The id that the next message gets. It stays free until the transaction ends: nobody else writes meanwhile.
///
/// # Errors
/// See [`StoreError`].
pub fn next_id(transaction: &Transaction<'_>) -> Result<i64, StoreError> {
    let newest = transaction.one("SELECT max(id) FROM message", [], |row| Ok(row.get::<_, Option<i64>>(0)?))?;
    Ok(newest.flatten().unwrap_or(0) + 1)
}

/// Inserts a message with what became of it, under an id from [`next_id`].
///
/// # Errors
/// See [`StoreError`].
pub fn insert(
    transaction: &Transaction<'_>,
    id: i64,
    message: &NewMessage,
    outcome: &Outcome,
) -> Result<(), StoreError> {
    let error = outcome.error.as_ref();
    transaction.insert(
        "INSERT INTO message (id, source, received_at, type, control_id, message_time, charset, digest, same_control_id,
             attempts, state, error_code, error_location, error_text, notes, mapping, one_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            id,
            message.source,
            message.received_at,
            message.message_type,
            message.control_id,
            message.message_time,
            message.charset,
            message.digest.0,
            message.same_control_id,
            outcome.state.name(),
            error.map(|error| &error.code),
            error.map(|error| &error.location),
            error.map(|error| &error.text),
            notes_text(&outcome.notes),
            outcome.mapping,
            outcome.one_id,
        ],
    )?;
    transaction.insert(
        "INSERT INTO message_content (message, compressed, bytes) VALUES (?1, ?2, ?3)",
        params![id, message.bytes.compressed, message.bytes.bytes],
    )?;
    count(transaction, &message.source, outcome.state, 1, message.received_at)
}

/// Writes down what became of a message that was tried again. Of its notes those stay, in front, that say who had dismissed it.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Constraint`] when there is no such message (any more).
pub fn finish(transaction: &Transaction<'_>, id: i64, outcome: &Outcome) -> Result<(), StoreError> {
    let before = get(transaction, id)?
        .ok_or_else(|| StoreError::Constraint { reason: format!("message {id} is not in the store") })?;
    transaction.run("UPDATE message SET attempts = attempts + 1 WHERE id = ?1", [id])?;
    let mut outcome = outcome.clone();
    let dismissals = before.outcome.notes.iter().filter(|note| note.starts_with(DISMISSED)).cloned();
    outcome.notes.splice(..0, dismissals);
    set_outcome(transaction, &before, &outcome)
}

/// Takes a failed message out of those that wait, for good: it becomes [`MessageState::Ignored`], and its notes say why it had failed,
/// who dismissed it and for what reason. `None`: there is no such message, or it is not failed.
///
/// # Errors
/// See [`StoreError`].
pub fn dismiss(transaction: &Transaction<'_>, id: i64, by: &str, reason: &str) -> Result<Option<Message>, StoreError> {
    let Some(mut message) = get(transaction, id)?.filter(|message| message.outcome.state == MessageState::Failed)
    else {
        return Ok(None);
    };
    let mut outcome = message.outcome.clone();
    outcome.state = MessageState::Ignored;
    let error = outcome.error.take();
    outcome
        .notes
        .extend(error.map(|MessageError { code, location, text }| format!("failed: {code} {location} {text}")));
    outcome.notes.push(format!("{DISMISSED}{by}: {reason}"));
    set_outcome(transaction, &message, &outcome)?;
    unmapped::release_all(transaction, id)?;
    message.outcome = outcome;
    Ok(Some(message))
}

pub(super) fn set_outcome(
    transaction: &Transaction<'_>,
    before: &Message,
    outcome: &Outcome,
) -> Result<(), StoreError> {
    let error = outcome.error.as_ref();
    transaction.run(
        "UPDATE message SET state = ?2, error_code = ?3, error_location = ?4, error_text = ?5, notes = ?6, mapping = ?7, one_id = ?8
             WHERE id = ?1",
        params![
            before.id,
            outcome.state.name(),
            error.map(|error| &error.code),
            error.map(|error| &error.location),
            error.map(|error| &error.text),
            notes_text(&outcome.notes),
            outcome.mapping,
            outcome.one_id,
        ],
    )?;
    if before.outcome.state != outcome.state {
        count(transaction, &before.source, before.outcome.state, -1, before.received_at)?;
        count(transaction, &before.source, outcome.state, 1, before.received_at)?;
    }
    Ok(())
}

/// A message without its bytes.
///
/// # Errors
/// See [`StoreError`].
pub fn get(reader: &Reader<'_>, id: i64) -> Result<Option<Message>, StoreError> {
    reader.one(select!("WHERE id = ?1"), [id], message)
}

/// A message's bytes as they came.
///
/// # Errors
/// See [`StoreError`].
pub fn bytes(reader: &Reader<'_>, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
    reader.one("SELECT compressed, bytes FROM message_content WHERE message = ?1", [id], |row| {
        PackedBytes { compressed: row.get(0)?, bytes: row.get(1)? }.unpack()
    })
}

/// Counts messages of a source into or out of a state.
///
/// # Errors
/// See [`StoreError`].
pub(super) fn count(
    transaction: &Transaction<'_>,
    source: &str,
    state: MessageState,
    change: i64,
    received_at: i64,
) -> Result<(), StoreError> {
    transaction.run(
        "INSERT INTO message_count (source, state, count, last_received_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET count = count + ?3, last_received_at = max(last_received_at, ?4)",
        params![source, state.name(), change, received_at],
    )?;
    Ok(())
}

fn notes_text(notes: &[String]) -> Option<String> {
    if notes.is_empty() { None } else { Some(serde_json::json!(notes).to_string()) }
}

fn message(row: &Row<'_>) -> Result<Message, StoreError> {
    let state: String = row.get(10)?;
    let error_code: Option<String> = row.get(11)?;
    let notes: Option<String> = row.get(14)?;
    let notes = notes.map_or(Ok(Vec::new()), |text| serde_json::from_str(&text));
    let outcome = Outcome {
        state: state.parse().map_err(|()| StoreError::Damaged { what: "message.state" })?,
        error: match error_code {
            Some(code) => Some(MessageError { code, location: row.get(12)?, text: row.get(13)? }),
            None => None,
        },
        notes: notes.map_err(|_| StoreError::Damaged { what: "message.notes" })?,
        mapping: row.get(15)?,
        one_id: row.get(16)?,
    };
    Ok(Message {
        id: row.get(0)?,
        source: row.get(1)?,
        received_at: row.get(2)?,
        message_type: row.get(3)?,
        control_id: row.get(4)?,
        message_time: row.get(5)?,
        charset: row.get(6)?,
        digest: ContentDigest::from_bytes(row.get(7)?),
        same_control_id: row.get(8)?,
        attempts: row.get(9)?,
        outcome,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{insert, message as new, outcome, store, write};
    use super::super::statistics::message_counts;
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was_stored() {
        let (_directory, store) = store();
        let text = "MSH|^~\\&|HIS\rPID|||张三\r".repeat(40);
        let mut stored = new("his", "C1", &text);
        stored.same_control_id = true;
        let failed = Outcome {
            state: MessageState::Failed,
            error: Some(MessageError {
                code: "101".to_owned(),
                location: "PID-3".to_owned(),
                text: "PID-3 is missing".to_owned(),
            }),
            notes: vec!["OBX[3]-5: kept as text".to_owned()],
            mapping: "aabbccddeeff".to_owned(),
            one_id: Some("P1".to_owned()),
        };
        let expected = failed.clone();
        let id = write(&store, move |t| {
            let id = next_id(t)?;
            insert_as(t, id, &stored, &failed)?;
            Ok(id)
        });
        let found = store.read(|r| get(r, id)).unwrap().unwrap();
        assert_eq!(found.outcome, expected);
        assert_eq!((found.source.as_str(), found.control_id.as_str(), found.attempts), ("his", "C1", 1));
        assert_eq!((found.received_at, found.message_time, found.same_control_id), (1_000, Some(900), true));
        assert_eq!(store.read(|r| bytes(r, id)), Ok(Some(text.into_bytes())));
        assert_eq!(store.read(|r| bytes(r, id + 1)), Ok(None));
    }

    fn insert_as(t: &Transaction<'_>, id: i64, message: &NewMessage, outcome: &Outcome) -> Result<(), StoreError> {
        super::insert(t, id, message, outcome)
    }

    #[test]
    fn a_repeat_is_told_from_another_message_under_the_same_control_id() {
        let (_directory, store) = store();
        let id = write(&store, |t| insert(t, &new("his", "C1", "text")));
        let check = |source: &str, control_id: &str, text: &str| {
            store.read(|r| seen(r, source, control_id, ContentDigest::of(text.as_bytes()))).unwrap()
        };
        assert!(matches!(check("his", "C1", "text"), Seen::Repeat(message) if message.id == id));
        assert_eq!(check("his", "C1", "other"), Seen::SameControlId);
        assert_eq!(check("his", "C2", "text"), Seen::Never);
        assert_eq!(check("lis", "C1", "text"), Seen::Never);
    }

    #[test]
    fn a_retry_moves_a_message_to_its_new_state_and_its_count() {
        let (_directory, store) = store();
        write(&store, |t| super::insert(t, 1, &new("his", "C1", "x"), &outcome(MessageState::Failed)));
        write(&store, |t| super::insert(t, 2, &new("his", "C2", "x"), &outcome(MessageState::Processed)));
        write(&store, |t| finish(t, 1, &outcome(MessageState::Processed)));
        let found = store.read(|r| get(r, 1)).unwrap().unwrap();
        assert_eq!((found.outcome.state, found.attempts), (MessageState::Processed, 2));
        let counts = store.read(message_counts).unwrap();
        let counts: Vec<_> = counts.iter().map(|row| (row.state, row.count)).collect();
        assert_eq!(counts, [(MessageState::Failed, 0), (MessageState::Processed, 2)]);
        assert!(store.submit_blocking(|t| finish(t, 9, &outcome(MessageState::Processed))).is_err());
    }

    #[test]
    fn a_dismissed_message_no_longer_waits_and_says_why() {
        let (_directory, store) = store();
        let error =
            MessageError { code: "101".to_owned(), location: "PID-3".to_owned(), text: "PID-3 is missing".to_owned() };
        let failed = Outcome { error: Some(error), ..outcome(MessageState::Failed) };
        write(&store, move |t| super::insert(t, 1, &new("his", "C1", "x"), &failed));
        let dismissed = write(&store, |t| dismiss(t, 1, "test", "sent twice")).unwrap();
        assert_eq!(store.read(|r| get(r, 1)), Ok(Some(dismissed.clone())));
        assert!(dismissed.is_dismissed());
        assert_eq!(
            (dismissed.outcome.state, dismissed.outcome.error, dismissed.attempts),
            (MessageState::Ignored, None, 1)
        );
        assert_eq!(dismissed.outcome.notes, ["failed: 101 PID-3 PID-3 is missing", "dismissed by test: sent twice"]);
        let counts = store.read(message_counts).unwrap();
        let counts: Vec<_> = counts.iter().map(|row| (row.state, row.count)).collect();
        assert_eq!(counts, [(MessageState::Failed, 0), (MessageState::Ignored, 1)]);
        for id in [1, 9] {
            assert_eq!(write(&store, move |t| dismiss(t, id, "test", "again")), None);
        }
        // Tried again all the same, it still says who had dismissed it.
        for state in [MessageState::Processed, MessageState::Failed] {
            let again = Outcome { notes: vec!["again".to_owned()], ..outcome(state) };
            write(&store, move |t| finish(t, 1, &again));
            let found = store.read(|r| get(r, 1)).unwrap().unwrap();
            assert_eq!(found.outcome.notes, ["dismissed by test: sent twice", "again"]);
            assert!(!found.is_dismissed());
        }
    }
}
