//! One message through the whole house: the only place that knows the order of work.
//!
//! ```text
//! prepare (anywhere, in parallel, pure)         commit (in the writer, one transaction)
//! bytes ─► text ─► Message ─► mapping ─► Unit ─► seen before? ─► savepoint { identify ─► state ─► events } ─► message row
//! ```
//!
//! Invariants
//! - [`prepare`] never fails: what cannot be read or mapped becomes a [`Unit`] that says why.
//! - [`commit`] keeps every message it is given. If its records cannot be applied, their effects are rolled back and the message is
//!   kept as `failed` in the same transaction.
//! - The same bytes under the same control id have one effect, however often they come; a message that failed is tried again.
//! - A retry takes the message's own arrival, so it can never turn newer values back.

mod apply;
mod patient;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::hl7v2::message::ReadError;
use crate::hl7v2::{self, CharsetSetting, ErrorCode, Header, Limits, Location, Message, header};
use crate::mapping::{Context, Disposition, MapError, Mapped, Mapping};
use crate::record::when;
use crate::store::messages::{self, ContentDigest, MessageError, MessageState, NewMessage, Outcome, Seen};
use crate::store::{PackedBytes, StoreError, Transaction, unmapped};

pub use apply::Cause;
use apply::Trouble;

/// What the pipeline must know of a source.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its mapping.
    pub mapping: Mapping,
    /// Zone of times without an offset.
    pub zone: TimeZone,
    /// Facility of visits that name none.
    pub facility: Option<String>,
    /// How to read its bytes.
    pub charset: CharsetSetting,
    /// What it may send at most.
    pub limits: Limits,
    /// Which source owns which assigning authority; the same for all sources.
    pub owners: Arc<BTreeMap<String, String>>,
}

/// A message, ready for the writer.
#[derive(Debug)]
pub struct Unit {
    source: Arc<Source>,
    header: Header,
    received_at: i64,
    message_time: Option<i64>,
    charset: String,
    digest: ContentDigest,
    bytes: PackedBytes,
    notes: Vec<String>,
    kept: Kept,
    mapped: Result<Mapped, Failure>,
}

/// Why a message could not be processed. Holds no patient's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong, by HL7 table 0357.
    pub code: ErrorCode,
    /// Where in the message.
    pub location: Option<Location>,
    /// A sentence that says what to do.
    pub text: String,
    /// The text itself could not be read (as against: it could not be processed).
    pub unreadable: bool,
}

impl Failure {
    /// A message of a type that the mapping takes, but without anything in it: positive silence would lose it.
    fn nothing() -> Self {
        Self {
            code: ErrorCode::SegmentSequence,
            location: Some(Location::segment("PID")),
            text: "the message holds no patient, visit or report that the mapping reads: is a segment missing?"
                .to_owned(),
            unreadable: false,
        }
    }
}

/// Whether a message's bytes are in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Whole,
    /// Only that it came: its bytes are beyond the limit, or not all there.
    Mention,
}

/// What became of a message.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its number in the store.
    pub id: i64,
    /// Its state.
    pub state: MessageState,
    /// When it first came: a repeat is answered as the first one was.
    pub received_at: i64,
    /// Why it failed, as stored.
    pub error: Option<MessageError>,
    /// It had come before and this time changed nothing.
    pub repeat: bool,
}

impl Unit {
    /// The message's header, for the answer.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// When its frame was complete, in microseconds since the epoch.
    pub fn received_at(&self) -> i64 {
        self.received_at
    }

    /// Its bytes are not kept, only that it came.
    pub fn is_left_out(&self) -> bool {
        self.kept == Kept::Mention
    }

    /// The text could not be read at all.
    pub fn is_unreadable(&self) -> bool {
        matches!(&self.mapped, Err(failure) if failure.unreadable)
    }
}

/// Reads and maps one message. `received_at` is in microseconds since the epoch.
pub fn prepare(source: &Arc<Source>, raw: &[u8], received_at: i64) -> Unit {
    let read = Message::read(raw, &source.charset, &source.limits);
    let header = match &read {
        Ok((message, _)) => message.header(),
        Err(_) => header::peek(raw, &source.charset),
    };
    let (message_time, notes, mapped) = match &read {
        Ok((message, notes)) => {
            let facility = source.facility.as_deref();
            let context = Context { zone: &source.zone, facility, explain: false };
            let mapped = source.mapping.apply(message, &context).map_err(Failure::from);
            (message_time(message, &source.zone), notes.iter().map(ToString::to_string).collect(), mapped)
        }
        Err(error) => (None, Vec::new(), Err(Failure::from(error))),
    };
    Unit {
        source: Arc::clone(source),
        charset: header.charset.to_string(),
        header,
        received_at,
        message_time,
        digest: ContentDigest::of(raw),
        bytes: PackedBytes::pack(raw),
        notes,
        kept: Kept::Whole,
        mapped,
    }
}

/// A message beyond the size limit, of which only the head was read. Its bytes are not kept: a retry could take the head for
/// the message.
pub fn too_large(source: &Arc<Source>, head: &[u8], length: u64, received_at: i64) -> Unit {
    let limit = source.limits.message_bytes;
    let text =
        format!("the message has {length} bytes, the limit is {limit}: raise max_message if such messages are wanted");
    mention(source, head, received_at, text)
}

/// A message whose frame never ended. Not kept, for the same reason; nobody waits for its answer.
pub fn cut(source: &Arc<Source>, bytes: &[u8], length: u64, received_at: i64) -> Unit {
    let text = format!("the frame broke off after {length} bytes: the sender got no answer and should send it again");
    mention(source, bytes, received_at, text)
}

fn mention(source: &Arc<Source>, head: &[u8], received_at: i64, text: String) -> Unit {
    let header = header::peek(head, &source.charset);
    let failure = Failure { code: ErrorCode::ApplicationInternalError, location: None, text, unreadable: true };
    Unit {
        source: Arc::clone(source),
        charset: header.charset.to_string(),
        header,
        received_at,
        message_time: None,
        digest: ContentDigest::of(head),
        bytes: PackedBytes::pack(&[]),
        notes: Vec::new(),
        kept: Kept::Mention,
        mapped: Err(failure),
    }
}

/// MSH-7 in microseconds since the epoch.
fn message_time(message: &Message, zone: &TimeZone) -> Option<i64> {
    let text = message.segment(0)?.field(7);
    let written = hl7v2::when::parse(text, zone).ok()??;
    when::instant(&written, zone).map(Timestamp::as_microsecond)
}

impl From<&ReadError> for Failure {
    fn from(error: &ReadError) -> Self {
        // A place is known when a value there is at fault; else the message as a whole is no sequence of segments.
        let code = if error.location().is_some() { ErrorCode::DataType } else { ErrorCode::SegmentSequence };
        Self { code, location: error.location().cloned(), text: error.to_string(), unreadable: true }
    }
}

impl From<MapError> for Failure {
    fn from(error: MapError) -> Self {
        Self { code: error.code, location: Some(error.location), text: error.text, unreadable: false }
    }
}

/// Keeps the message and applies what it says; runs inside the writer. The unit stays the caller's, for the answer.
///
/// # Errors
/// Only what the store itself says; then nothing was kept.
pub fn commit(transaction: &Transaction<'_>, unit: &Unit, cause: Cause) -> Result<Done, StoreError> {
    let header = &unit.header;
    let same_control_id = match messages::seen(transaction, &unit.source.name, &header.control_id, unit.digest)? {
        Seen::Repeat(message) if message.outcome.state == MessageState::Failed => {
            return retry(transaction, unit, &message);
        }
        Seen::Repeat(message) => {
            return Ok(Done { repeat: true, ..done(message.id, message.received_at, &message.outcome) });
        }
        // An empty MSH-10 is no control id that could be the same.
        Seen::SameControlId => !header.control_id.is_empty(),
        Seen::Never => false,
    };
    let id = messages::next_id(transaction)?;
    let outcome = outcome(transaction, unit, id, unit.received_at, cause)?;
    let done = done(id, unit.received_at, &outcome);
    messages::insert(
        transaction,
        id,
        &NewMessage {
            source: unit.source.name.clone(),
            received_at: unit.received_at,
            message_type: message_type(header),
            control_id: header.control_id.clone(),
            message_time: unit.message_time,
            charset: unit.charset.clone(),
            digest: unit.digest,
            bytes: unit.bytes.clone(),
            same_control_id,
        },
        &outcome,
    )?;
    Ok(done)
}

/// Tries the failed message `id` again; runs inside the writer. `None`: there is no such message, it is not failed, or its bytes
/// are not kept.
///
/// # Errors
/// As [`commit`].
pub fn retry_stored(transaction: &Transaction<'_>, source: &Arc<Source>, id: i64) -> Result<Option<Done>, StoreError> {
    let Some(message) = messages::get(transaction, id)? else { return Ok(None) };
    let bytes = messages::bytes(transaction, id)?.unwrap_or_default();
    if message.outcome.state != MessageState::Failed || bytes.is_empty() {
        return Ok(None);
    }
    let unit = prepare(source, &bytes, message.received_at);
    retry(transaction, &unit, &message).map(Some)
}

/// Tries a stored message again; runs inside the writer. `unit` was prepared from the stored bytes.
///
/// # Errors
/// As [`commit`].
fn retry(transaction: &Transaction<'_>, unit: &Unit, message: &messages::Message) -> Result<Done, StoreError> {
    let outcome = outcome(transaction, unit, message.id, message.received_at, Cause::Retry)?;
    messages::finish(transaction, message.id, &outcome)?;
    Ok(done(message.id, message.received_at, &outcome))
}

fn done(id: i64, received_at: i64, outcome: &Outcome) -> Done {
    Done { id, state: outcome.state, received_at, error: outcome.error.clone(), repeat: false }
}

/// `ADT^A01`, or what there is of it.
fn message_type(header: &Header) -> String {
    if header.trigger_event.is_empty() {
        header.message_type.clone()
    } else {
        format!("{}^{}", header.message_type, header.trigger_event)
    }
}

fn outcome(
    transaction: &Transaction<'_>,
    unit: &Unit,
    id: i64,
    received_at: i64,
    cause: Cause,
) -> Result<Outcome, StoreError> {
    let mut notes = unit.notes.clone();
    let mapping = unit.source.mapping.version().to_owned();
    let mapped = match &unit.mapped {
        Ok(mapped) => mapped,
        Err(failure) => return Ok(failed(failure, notes, mapping)),
    };
    if let Disposition::Ignored { reason } = &mapped.disposition {
        notes.push(reason.clone());
        return Ok(Outcome { state: MessageState::Ignored, error: None, notes, mapping, one_id: None });
    }
    if mapped.records.is_empty() && mapped.skipped.is_empty() {
        return Ok(failed(&Failure::nothing(), notes, mapping));
    }
    for code in &mapped.unmapped {
        unmapped::note(transaction, &unit.source.name, &code.table, &code.code, &code.target, id, received_at)?;
    }
    notes.extend(mapped.notes.iter().cloned());
    notes.extend(mapped.skipped.iter().map(|skipped| format!("{}: skipped, {}", skipped.path, skipped.reason)));
    notes.extend(mapped.rejected.iter().map(|rejected| format!("{}: rejected, {}", rejected.path, rejected.text)));
    let job = apply::Job { transaction, source: &unit.source, digest: unit.digest, message: id, received_at, cause };
    match transaction.savepoint(|_| job.apply(&mapped.records)) {
        Ok(one_id) => Ok(Outcome { state: MessageState::Processed, error: None, notes, mapping, one_id }),
        Err(Trouble::Content(failure)) => Ok(failed(&failure, notes, mapping)),
        Err(Trouble::Store(error)) => Err(error),
    }
}

fn failed(failure: &Failure, notes: Vec<String>, mapping: String) -> Outcome {
    Outcome {
        state: MessageState::Failed,
        error: Some(MessageError {
            code: failure.code.as_str().to_owned(),
            location: failure.location.as_ref().map(ToString::to_string).unwrap_or_default(),
            text: failure.text.clone(),
        }),
        notes,
        mapping,
        one_id: None,
    }
}
