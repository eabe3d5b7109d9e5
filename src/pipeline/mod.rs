//! One message through the whole house: the only place that knows the order of work.
//!
//! ```text
//! prepare (anywhere, in parallel, pure)         commit (in the writer, one transaction)
//! bytes ─► text ─► Message ─► mapping ─► Unit ─► seen before? ─► attempt { identify ─► state ─► events } ─► message row
//! ```
//!
//! Invariants
//! - [`prepare`] never fails: what cannot be read or mapped becomes a [`Unit`] that says why.
//! - [`commit`] keeps every message it is given. If its records cannot be applied, their effects are rolled back and the message is
//!   kept as `failed` in the same transaction.
//! - The same bytes under the same control id have one effect, however often they come; a message that failed is tried again.
//! - A retry takes the message's own arrival, so it can never turn newer values back.

mod apply;
mod consent;
mod due;
mod explain;
mod giving_way;
mod life;
mod link;
mod matching;
mod merge;
mod mirror;
mod moves;
mod patient;
mod preview;
mod rank;
mod renumber;
mod rescore;
mod review;
pub mod rights;
mod telling;
mod training;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::fhir;
use crate::fhir::UnitError;
use crate::hl7v2::message::ReadError;
use crate::hl7v2::{self, Charset, CharsetSetting, ErrorCode, Header, Limits, Message, header};
use crate::identity::Model;
use crate::mapping::{Context, Disposition, Format, Input, Location, MapError, Mapped, Mapping, Unmapped};
use crate::record::when;
use crate::store::messages::{self, ContentDigest, MessageError, MessageState, NewMessage, Outcome, Seen};
use crate::store::unmapped::{self, MetCode};
use crate::store::{ErrorClass, PackedBytes, Store, StoreError, Transaction};

pub use apply::Cause;
use apply::{Job, Trouble};
pub use consent::consent_by_hand;
pub use due::{Due, DueUnit, FIRST_DUE, commit_due, due, prepare_due, ready};
pub use explain::{Unexplained, explain};
pub use giving_way::try_held_back_again;
pub use life::decide_by_hand;
pub use mirror::{Entered, Order, Removal, enter, spread};
pub use preview::{Examined, examine, preview};
pub use rank::{Ranked, matches, rank};
pub use rescore::{Rescored, rescore};
use telling::Statement;
pub use telling::Subject;
pub use training::{Change, Differences, Drawn, PairVerdict, SampledPair, compare_models, draw};

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
    /// What holds for all sources.
    pub site: Arc<Site>,
}

/// What the pipeline must know beside the sources; one for all of them.
#[derive(Debug, Default)]
pub struct Site {
    /// Which source owns which assigning authority.
    pub owners: BTreeMap<String, String>,
    /// What agreement is worth.
    pub model: Model,
}

/// A message, ready for the writer.
#[derive(Debug)]
pub struct Unit {
    source: Arc<Source>,
    envelope: Arc<Envelope>,
    message_time: Option<i64>,
    charset: String,
    digest: ContentDigest,
    bytes: PackedBytes,
    notes: Vec<String>,
    /// Codes that no table knows, also where the mapping failed for one of them.
    unmapped: Vec<Unmapped>,
    mapped: Result<Mapped, Failure>,
    /// What it is about, where it is all that there is to say of it.
    subject: Option<Subject>,
}

/// What an answer needs of a message, while the message itself is with the writer.
#[derive(Debug)]
pub struct Envelope {
    /// The message's header.
    pub header: Header,
    /// When its frame was complete, in microseconds since the epoch.
    pub received_at: i64,
    /// The text could not be read at all.
    pub is_unreadable: bool,
    /// Only that it came is kept: its bytes are beyond the limit, or not all there.
    pub is_left_out: bool,
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
}

/// Runs `work`; a panic in it, which is a defect of this program, becomes a failure of the one message that found it.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        Failure::internal("a defect of Heyi: report it with the log of this moment and the kind of message".to_owned())
    })
}

impl Failure {
    fn internal(text: String) -> Self {
        Self { code: ErrorCode::ApplicationInternalError, location: None, text }
    }

    /// Without MSH-9 nothing says what the message is about.
    fn untyped() -> Self {
        Self {
            code: ErrorCode::RequiredFieldMissing,
            location: Some(hl7v2::Location::field("MSH", 9).into()),
            text: "MSH-9 is empty: the message does not say what it is".to_owned(),
        }
    }

    /// The bytes are no unit of FHIR.
    pub fn unreadable_unit(error: &UnitError) -> Self {
        let text = format!("{error}: send FHIR as JSON, a resource or a Bundle");
        Self { code: ErrorCode::SegmentSequence, location: None, text }
    }

    /// See [`Failure::nothing`], in the words of the format.
    pub fn nothing_in(format: Format) -> Self {
        match format {
            Format::Hl7v2 => Self::nothing(),
            Format::Fhir => Self {
                code: ErrorCode::RequiredFieldMissing,
                location: None,
                text:
                    "the unit holds no patient, visit or report that the mapping reads: does its Patient say who it is?"
                        .to_owned(),
            },
        }
    }

    /// A message of a type that the mapping takes, but without anything in it: positive silence would lose it.
    pub fn nothing() -> Self {
        Self {
            code: ErrorCode::SegmentSequence,
            location: Some(hl7v2::Location::segment("PID").into()),
            text: "the message holds no patient, visit or report that the mapping reads: is a segment missing?"
                .to_owned(),
        }
    }
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
    /// Bytes of a source of which nothing is known yet.
    fn of(source: &Arc<Source>, raw: &[u8]) -> Self {
        let header = Header::from_line("", Charset::Utf8);
        Self {
            source: Arc::clone(source),
            envelope: Arc::new(Envelope { header, received_at: 0, is_unreadable: true, is_left_out: false }),
            message_time: None,
            charset: Charset::Utf8.to_string(),
            digest: ContentDigest::of(raw),
            bytes: PackedBytes::pack(raw),
            notes: Vec::new(),
            unmapped: Vec::new(),
            mapped: Ok(Mapped::default()),
            subject: None,
        }
    }

    fn reading(self) -> Reading {
        let Self { notes, unmapped, mapped, subject, .. } = self;
        Reading { notes, unmapped, mapped, subject }
    }

    /// What stays with whoever answers.
    pub fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }
}

/// Reads and maps one message, or one unit of FHIR resources. `received_at` is in microseconds since the epoch.
pub fn prepare(source: &Arc<Source>, raw: &[u8], received_at: i64) -> Unit {
    match source.mapping.format() {
        Format::Hl7v2 => prepare_message(source, raw, received_at),
        Format::Fhir => match due::read(raw) {
            Ok((subject, unit)) => prepare_unit(source, raw, (subject, Ok(unit)), received_at),
            Err(failure) => Unit {
                mapped: Err(failure),
                envelope: Arc::new(Envelope {
                    header: Header::from_line("", Charset::Utf8),
                    received_at,
                    is_unreadable: true,
                    is_left_out: false,
                }),
                ..Unit::of(source, raw)
            },
        },
    }
}

/// Maps a unit of FHIR resources, which is what is to be said of `subject`; without a unit its record is no more.
fn prepare_unit(
    source: &Arc<Source>,
    raw: &[u8],
    (subject, unit): (Subject, Result<Option<fhir::Unit>, Failure>),
    received_at: i64,
) -> Unit {
    let mut unmapped = Vec::new();
    let mapped = unit.and_then(|unit| match &unit {
        Some(unit) => apply_mapping(source, unit.into(), &mut unmapped),
        None => Ok(Mapped::default()),
    });
    let header = Header {
        message_type: subject.focal.kind.clone(),
        control_id: subject.focal.to_string(),
        ..Header::from_line("", Charset::Utf8)
    };
    Unit {
        envelope: Arc::new(Envelope { header, received_at, is_unreadable: false, is_left_out: false }),
        unmapped,
        mapped,
        subject: Some(subject),
        ..Unit::of(source, raw)
    }
}

fn prepare_message(source: &Arc<Source>, raw: &[u8], received_at: i64) -> Unit {
    let read = Message::read(raw, &source.charset, &source.limits);
    let header = match &read {
        Ok((message, _)) => message.header(),
        Err(_) => header::peek(raw, &source.charset),
    };
    let mut unmapped = Vec::new();
    let (message_time, notes, mapped) = match &read {
        Ok((message, notes)) => {
            let mapped = match header.message_type.as_str() {
                "" => Err(Failure::untyped()),
                _ => apply_mapping(source, message.into(), &mut unmapped),
            };
            (message_time(message, &source.zone), notes.iter().map(ToString::to_string).collect(), mapped)
        }
        Err(error) => (None, Vec::new(), Err(Failure::from(error))),
    };
    let is_unreadable = read.is_err();
    Unit {
        charset: header.charset.to_string(),
        envelope: Arc::new(Envelope { header, received_at, is_unreadable, is_left_out: false }),
        message_time,
        notes,
        unmapped,
        mapped,
        ..Unit::of(source, raw)
    }
}

/// What the mapping says; codes that no table knows go to `unmapped`, also where it failed for one of them.
fn apply_mapping(source: &Source, input: Input<'_>, unmapped: &mut Vec<Unmapped>) -> Result<Mapped, Failure> {
    let context = Context { zone: &source.zone, facility: source.facility.as_deref(), explain: false };
    guarded(|| source.mapping.apply(input, &context)).and_then(|mut mapped| {
        let met = mapped.as_mut().map_or_else(|error| &mut error.unmapped, |mapped| &mut mapped.unmapped);
        *unmapped = std::mem::take(met);
        mapped.map_err(Failure::from)
    })
}

/// A message beyond the size limit, of which only the head was read. Its bytes are not kept: a retry could take the head for
/// the message.
pub fn too_large(source: &Arc<Source>, head: &[u8], length: u64, received_at: i64) -> Unit {
    let limit = source.limits.message_bytes;
    let text =
        format!("the message has {length} bytes, the limit is {limit}: raise max_message if such messages are wanted");
    mention(source, head, received_at, text)
}

/// A frame of more messages than [`hl7v2::limits::MESSAGES_OF_FRAME`], as one message: `head` is the beginning of its first. Not kept,
/// for the same reason.
pub fn too_many(source: &Arc<Source>, head: &[u8], messages: usize, received_at: i64) -> Unit {
    let limit = hl7v2::limits::MESSAGES_OF_FRAME;
    let text = format!(
        "the frame holds {messages} messages, the limit is {limit}: send fewer in one frame, or import them as a file"
    );
    mention(source, head, received_at, text)
}

/// A message whose frame never ended. Not kept, for the same reason; nobody waits for its answer.
pub fn cut(source: &Arc<Source>, bytes: &[u8], length: u64, received_at: i64) -> Unit {
    let text = format!("the frame broke off after {length} bytes: the sender got no answer and should send it again");
    mention(source, bytes, received_at, text)
}

fn mention(source: &Arc<Source>, head: &[u8], received_at: i64, text: String) -> Unit {
    let header = header::peek(head, &source.charset);
    Unit {
        charset: header.charset.to_string(),
        envelope: Arc::new(Envelope { header, received_at, is_unreadable: true, is_left_out: true }),
        // Not the digest of the bytes: what comes whole later is another message, whose bytes have to be kept.
        digest: ContentDigest::of(&[text.as_bytes(), head].concat()),
        mapped: Err(Failure { code: ErrorCode::ApplicationInternalError, location: None, text }),
        ..Unit::of(source, &[])
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
        Self { code: error.code(), location: error.location().cloned().map(Location::from), text: error.to_string() }
    }
}

impl From<MapError> for Failure {
    fn from(error: MapError) -> Self {
        Self { code: error.code, location: Some(error.location), text: error.text }
    }
}

/// Keeps the message and applies what it says; runs inside the writer, alone in its job or savepoint.
///
/// # Errors
/// Only what the store itself says; then nothing was kept.
pub fn commit(transaction: &Transaction<'_>, unit: Unit, cause: Cause) -> Result<Done, StoreError> {
    let Envelope { header, received_at, is_left_out, .. } = &*unit.envelope;
    let same_control_id = match messages::seen(transaction, &unit.source.name, &header.control_id, unit.digest)? {
        // Of what was left out nothing is kept: even where somebody dismissed it, it may not be taken for known.
        Seen::Repeat(message) if message.outcome.state == MessageState::Failed || *is_left_out => {
            let (source, received_at) = (Arc::clone(&unit.source), *received_at);
            return retry(transaction, &source, unit.reading(), &message, received_at);
        }
        Seen::Repeat(message) => {
            return Ok(Done { repeat: true, ..done(message.id, message.received_at, &message.outcome) });
        }
        // An empty MSH-10 is no control id that could be the same.
        Seen::SameControlId => !header.control_id.is_empty(),
        Seen::Never => false,
    };
    keep(transaction, unit, cause, same_control_id)
}

/// Keeps a message that was not kept before and applies what it says.
fn keep(transaction: &Transaction<'_>, unit: Unit, cause: Cause, same_control_id: bool) -> Result<Done, StoreError> {
    let Unit { source, envelope, message_time, charset, digest, bytes, notes, unmapped, mapped, subject } = unit;
    let Envelope { header, received_at, .. } = &*envelope;
    let id = messages::next_id(transaction)?;
    let job = Job {
        transaction,
        source: &source.name,
        zone: &source.zone,
        site: &source.site,
        mapping: source.mapping.version(),
        digest,
        message: Some(id),
        received_at: *received_at,
        now: *received_at,
        cause,
        notes: RefCell::default(),
        refused: RefCell::default(),
        statement: subject.map(|subject| Statement::of(transaction, &source.name, subject)).transpose()?,
    };
    let outcome = outcome(&job, notes, mapped)?;
    let message = NewMessage {
        source: source.name.clone(),
        received_at: *received_at,
        message_type: message_type(header),
        control_id: header.control_id.clone(),
        message_time,
        charset,
        digest,
        bytes,
        same_control_id,
    };
    messages::insert(transaction, id, &message, &outcome)?;
    if !unmapped.is_empty() {
        hold_codes(transaction, &source, id, &unmapped, *received_at)?;
    }
    Ok(done(id, *received_at, &outcome))
}

/// What was read of a message and made of it.
#[derive(Debug)]
struct Reading {
    notes: Vec<String>,
    unmapped: Vec<Unmapped>,
    mapped: Result<Mapped, Failure>,
    subject: Option<Subject>,
}

/// A stored message, read and mapped once more, ready for the writer.
#[derive(Debug)]
pub struct Again {
    id: i64,
    source: Arc<Source>,
    reading: Reading,
}

/// Reads and maps the stored message `id` through the mapping of now, as [`prepare`] does: outside the writer. `None`: there is no
/// such message, or its bytes are not kept.
///
/// # Errors
/// See [`StoreError`].
pub fn prepare_again(store: &Store, source: &Arc<Source>, id: i64) -> Result<Option<Again>, StoreError> {
    let read = store.read(|reader| Ok(messages::get(reader, id)?.zip(messages::bytes(reader, id)?)))?;
    let Some((message, bytes)) = read.filter(|(_, bytes)| !bytes.is_empty()) else { return Ok(None) };
    let reading = prepare(source, &bytes, message.received_at).reading();
    Ok(Some(Again { id, source: Arc::clone(source), reading }))
}

/// Takes a stored message in again, if it is still there and `wanted` says so of it; runs inside the writer. What it says takes its
/// old place, so nothing newer is turned back. `None`: it was left as it is.
///
/// # Errors
/// As [`commit`].
pub fn commit_again(
    transaction: &Transaction<'_>,
    again: Again,
    wanted: impl FnOnce(&messages::Message) -> bool,
    now: i64,
) -> Result<Option<Done>, StoreError> {
    let Again { id, source, reading } = again;
    match messages::get(transaction, id)? {
        Some(message) if wanted(&message) => retry(transaction, &source, reading, &message, now).map(Some),
        _ => Ok(None),
    }
}

/// Tries a stored message again, as if it came now but in its old place.
fn retry(
    transaction: &Transaction<'_>,
    source: &Source,
    reading: Reading,
    message: &messages::Message,
    now: i64,
) -> Result<Done, StoreError> {
    let Reading { notes, unmapped, mapped, subject } = reading;
    let messages::Message { id, received_at, digest, .. } = *message;
    let job = Job {
        transaction,
        source: &source.name,
        zone: &source.zone,
        site: &source.site,
        mapping: source.mapping.version(),
        digest,
        message: Some(id),
        received_at,
        now,
        cause: Cause::Retry,
        notes: RefCell::default(),
        refused: RefCell::default(),
        statement: subject.map(|subject| Statement::of(transaction, &source.name, subject)).transpose()?,
    };
    let outcome = outcome(&job, notes, mapped)?;
    messages::finish(transaction, id, &outcome)?;
    // Also where there is none: what the message waited for is known by now.
    hold_codes(transaction, source, id, &unmapped, now)?;
    Ok(done(id, received_at, &outcome))
}

/// The message waits for these codes, and for no others.
fn hold_codes(
    transaction: &Transaction<'_>,
    source: &Source,
    message: i64,
    unmapped: &[Unmapped],
    at: i64,
) -> Result<(), StoreError> {
    let codes: Vec<MetCode<'_>> = unmapped
        .iter()
        .map(|met| MetCode { table: &met.table, code: &met.code, target: &met.target, outcome: met.outcome.name() })
        .collect();
    unmapped::hold(transaction, &source.name, message, &codes, at)
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

/// Applies what was mapped and says what became of it.
fn outcome(job: &Job<'_>, mut notes: Vec<String>, mapped: Result<Mapped, Failure>) -> Result<Outcome, StoreError> {
    let mapping = job.mapping.to_owned();
    let mapped = match mapped {
        Ok(mapped) => mapped,
        Err(failure) => return Ok(failed(failure, notes, mapping)),
    };
    if let Disposition::Ignored { reason } = mapped.disposition {
        notes.push(reason);
        return Ok(Outcome { state: MessageState::Ignored, error: None, notes, mapping, one_id: None });
    }
    let left_out = mapped.skipped.iter().map(|skipped| format!("{}: skipped, {}", skipped.path, skipped.reason));
    // Of a statement too that is the last word: a record that was told before is withdrawn.
    if mapped.holds_nothing() && job.statement.is_none() {
        notes.extend(left_out);
        return Ok(failed(Failure::nothing(), notes, mapping));
    }
    // The first that is written: what a failure takes back is all of it, and nothing else.
    let records = mapped.records;
    let applied = job
        .transaction
        .attempt(|_| guarded(|| job.carry_out(records)).unwrap_or_else(|defect| Err(Trouble::Content(defect))));
    notes.extend(mapped.notes);
    notes.extend(left_out);
    notes.extend(mapped.rejected.iter().map(|rejected| format!("{}: rejected, {}", rejected.path, rejected.text)));
    match applied {
        Ok(one_id) => {
            notes.append(&mut job.notes.borrow_mut());
            Ok(Outcome { state: MessageState::Processed, error: None, notes, mapping, one_id })
        }
        Err(Trouble::Content(failure)) => {
            // What it noted is taken back with what it did.
            job.notes.borrow_mut().clear();
            job.raise_refused()?;
            notes.append(&mut job.notes.borrow_mut());
            Ok(failed(failure, notes, mapping))
        }
        // A rule of the store refuses these records, and will do so again: kept as failed, or its sender would repeat it for ever.
        Err(Trouble::Store(error)) if error.class() == ErrorClass::Content => {
            Ok(failed(Failure::internal(error.to_string()), notes, mapping))
        }
        Err(Trouble::Store(error)) => Err(error),
    }
}

fn failed(failure: Failure, notes: Vec<String>, mapping: String) -> Outcome {
    let Failure { code, location, text } = failure;
    let location = location.as_ref().map(ToString::to_string).unwrap_or_default();
    let error = Some(MessageError { code: code.as_str().to_owned(), location, text });
    Outcome { state: MessageState::Failed, error, notes, mapping, one_id: None }
}
