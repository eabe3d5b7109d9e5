//! What leaves for a consumer: the one place that decides it. Pages, streams and webhooks all read the log through here.
//!
//! Invariants
//! - Deny by default: a consumer whose policy is not in force is served nothing ([`Consumer::recipient`]), never everything instead.
//! - Each event passes [`Gate::event`] on its way out, whenever it leaves: also one that was held back for a while, so what is decided
//!   meanwhile counts.
//! - A position that no longer means what it meant is an error that names the way out; a gap is never silent.

pub mod act;
pub mod snapshot;
mod standing;

use std::sync::Arc;

use serde::Deserialize;

use crate::disclosure::{Gate, Policies, Recipient};
use crate::feed::{Cursor, Event, EventKind, Position, TypeFilter};
use crate::policy::{FULL_POLICY, Purpose};
use crate::store::events::{self, EventPage, PageRequest};
use crate::store::{Reader, StoreError, consumers, persons};

pub use standing::{Standing, action, hold, known, standings};

/// A consumer of the feed, as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Consumer {
    /// Its name; its tokens bear it.
    pub name: String,
    /// Which event types it gets.
    pub events: Vec<TypeFilter>,
    /// The name of its field policy.
    pub policy: String,
    /// What it uses the data for.
    pub purpose: Purpose,
    /// Whether events are pushed to it: then its position is moved by what was delivered, not by itself.
    pub is_pushed: bool,
}

impl Consumer {
    /// A consumer where none is configured: everything, for care.
    pub fn unconfigured(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            events: vec![TypeFilter::ALL],
            policy: FULL_POLICY.to_owned(),
            purpose: Purpose::Care,
            is_pushed: false,
        }
    }

    /// What applies to it now; `None`: its policy is not in force, and nothing is sent to it.
    pub fn recipient(&self, policies: &Policies) -> Option<Recipient> {
        let policy = Arc::clone(policies.policies.get(&self.policy)?);
        let Self { name, events, purpose, .. } = self.clone();
        Some(Recipient { name, events, policy, purpose, categories: Arc::clone(&policies.categories) })
    }

    /// Why it is sent nothing, where [`Consumer::recipient`] gives none.
    pub fn refusal(&self) -> String {
        format!("There is no policy `{}`; nothing is sent unmasked instead.", self.policy)
    }
}

/// What of the log is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// After the event with this sequence number.
    pub after: u64,
    /// At most so many events.
    pub limit: usize,
    /// At most so many bytes of their data; the first event is always taken.
    pub bytes: usize,
    /// Only what is about this person, under any of the One IDs that answer as it.
    pub person: Option<&'a str>,
}

/// The next events that a consumer gets.
#[derive(Debug)]
pub struct Page<T = Event> {
    /// The events, in order.
    pub events: Vec<T>,
    /// Where to go on; it moves past what is not for this consumer.
    pub next: Cursor,
    /// The newest event's position, of the same moment.
    pub head: Cursor,
}

/// An event with its place and all that it must keep its order with.
#[derive(Debug)]
pub struct Ordered {
    /// Its sequence number.
    pub sequence: u64,
    /// See [`order_keys`].
    pub keys: Vec<String>,
    /// What leaves.
    pub event: Event,
}

/// The next events that the consumer gets after a position. `at` is now, in microseconds.
///
/// # Errors
/// See [`StoreError`].
pub fn next(reader: &Reader<'_>, to: &Recipient, request: Request<'_>, at: i64) -> Result<Page, StoreError> {
    page(reader, to, request, at, |gate, _, event| gate.event(event))
}

/// As [`next`], for who delivers several at a time.
///
/// # Errors
/// See [`StoreError`].
pub fn next_ordered(
    reader: &Reader<'_>,
    to: &Recipient,
    request: Request<'_>,
    at: i64,
) -> Result<Page<Ordered>, StoreError> {
    page(reader, to, request, at, ordered)
}

/// One event of the log as it leaves for the consumer now; `None`: it is not kept any more, or nothing of it is for this consumer.
///
/// # Errors
/// See [`StoreError`].
pub fn one_ordered(reader: &Reader<'_>, to: &Recipient, sequence: u64, at: i64) -> Result<Option<Ordered>, StoreError> {
    let Some(event) = events::get(reader, sequence)? else { return Ok(None) };
    let is_wanted = event.kind.parse::<EventKind>().is_ok_and(|kind| kind.is_wanted(&to.events));
    if is_wanted { ordered(&Gate::new(reader, Some(to), at)?, sequence, event) } else { Ok(None) }
}

fn ordered(gate: &Gate<'_>, sequence: u64, event: Event) -> Result<Option<Ordered>, StoreError> {
    // Before anything is taken out of it.
    let keys = order_keys(&event);
    Ok(gate.event(event)?.map(|event| Ordered { sequence, keys, event }))
}

fn page<T>(
    reader: &Reader<'_>,
    to: &Recipient,
    request: Request<'_>,
    at: i64,
    take: impl Fn(&Gate<'_>, u64, Event) -> Result<Option<T>, StoreError>,
) -> Result<Page<T>, StoreError> {
    let found = found(reader, &to.events, request)?;
    let gate = Gate::new(reader, Some(to), at)?;
    let sequence = |event: &Event| event.sequence.parse().map_err(|_| StoreError::Damaged { what: "event.sequence" });
    let taken = found.events.into_iter().map(|event| take(&gate, sequence(&event)?, event));
    let events = taken.filter_map(Result::transpose).collect::<Result<_, StoreError>>()?;
    Ok(Page { events, next: Cursor { sequence: found.next, ..found.head }, head: found.head })
}

/// The next events of the log that a consumer of these types asks for; what of them leaves is another matter.
fn found(reader: &Reader<'_>, types: &[TypeFilter], request: Request<'_>) -> Result<EventPage, StoreError> {
    let Request { after, limit, bytes, person } = request;
    let asked = PageRequest { after, limit, bytes, filters: types.to_vec() };
    match person {
        None => events::page(reader, &asked),
        Some(one_id) => events::page_about(reader, &names_of(reader, one_id)?, &asked),
    }
}

/// The One ID that answers for this one now, and all that answer as it.
///
/// # Errors
/// See [`StoreError`].
pub fn names_of(reader: &Reader<'_>, one_id: &str) -> Result<Vec<String>, StoreError> {
    let living = persons::resolve(reader, one_id)?.map_or_else(|| one_id.to_owned(), |person| person.one_id);
    persons::answering_as(reader, &living)
}

/// What an event is about, by which its order counts: two events with a key in common leave in the order of the log. A merge is about
/// the persons that it retires too, a split about who comes out of it; and what moves between persons keeps its own order.
pub fn order_keys(event: &Event) -> Vec<String> {
    #[derive(Deserialize, Default)]
    struct Named {
        #[serde(default)]
        retired: Vec<String>,
        new_one_id: Option<String>,
        visit_id: Option<String>,
        report_id: Option<String>,
        #[serde(default)]
        basis: Option<Basis>,
    }
    #[derive(Deserialize, Default)]
    struct Basis {
        #[serde(default)]
        redirected: Vec<String>,
    }
    let named: Named = serde_json::from_str(event.data.get()).unwrap_or_default();
    let mut keys = vec![event.subject.clone()];
    keys.extend(named.retired);
    keys.extend(named.new_one_id);
    keys.extend(named.basis.unwrap_or_default().redirected);
    // Records have names of their own: `SOURCE:NUMBER` is no One ID. A report's visit is another record than the report.
    match (named.report_id, named.visit_id) {
        (Some(report), _) => keys.push(format!("report {report}")),
        (None, Some(visit)) => keys.push(format!("visit {visit}")),
        (None, None) => {}
    }
    keys
}

/// The log's ends at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Sequence number of the oldest event kept; one more than the head's when none is.
    pub first: u64,
    /// The newest event's position.
    pub head: Cursor,
}

/// Why a position means nothing in this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It is of another epoch.
    OtherEpoch,
    /// Nothing was written there yet.
    BeyondHead,
    /// Retention removed events that follow it.
    Expired,
}

impl Log {
    /// Reads them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn read(reader: &Reader<'_>) -> Result<Self, StoreError> {
        let head = events::head(reader)?;
        Ok(Self { first: events::first_kept(reader)?.unwrap_or(head.sequence + 1), head })
    }

    /// The position after the event with this sequence number.
    pub fn cursor(self, sequence: u64) -> Cursor {
        Cursor { sequence, ..self.head }
    }

    /// The position before the oldest event kept.
    pub fn start(self) -> Cursor {
        self.cursor(self.first.saturating_sub(1))
    }

    /// Sequence number of the last event before the position, if the position means something in this log.
    ///
    /// # Errors
    /// Why it does not.
    pub fn resolve(self, position: Position) -> Result<u64, Lost> {
        let start = self.start().sequence;
        match position {
            Position::Start => Ok(start),
            Position::Head => Ok(self.head.sequence),
            Position::At(cursor) if cursor.epoch != self.head.epoch => Err(Lost::OtherEpoch),
            Position::At(cursor) if cursor.sequence > self.head.sequence => Err(Lost::BeyondHead),
            Position::At(cursor) if cursor.sequence < start => Err(Lost::Expired),
            Position::At(cursor) => Ok(cursor.sequence),
        }
    }
}

/// Where a consumer goes on that names no position: at its committed one, else at the start.
///
/// # Errors
/// See [`StoreError`].
pub fn committed(reader: &Reader<'_>, name: &str) -> Result<Position, StoreError> {
    Ok(consumers::position(reader, name)?.map_or(Position::Start, Position::At))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    #[test]
    fn a_cursor_means_something_or_says_why_not() {
        let log = Log { first: 11, head: Cursor { epoch: 2, sequence: 20 } };
        for (text, expected) in [
            ("start", Ok(10)),
            ("head", Ok(20)),
            ("2-10", Ok(10)),
            ("2-15", Ok(15)),
            ("2-20", Ok(20)),
            ("2-21", Err(Lost::BeyondHead)),
            ("2-9", Err(Lost::Expired)),
            ("1-15", Err(Lost::OtherEpoch)),
            ("3-15", Err(Lost::OtherEpoch)),
        ] {
            assert_eq!(log.resolve(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_log_has_one_position() {
        let log = Log { first: 1, head: Cursor { epoch: 1, sequence: 0 } };
        assert_eq!(log.resolve(Position::Start), Ok(0));
        assert_eq!(log.resolve(Position::Head), Ok(0));
        assert!(log.resolve("1-1".parse().unwrap()).is_err());
    }

    fn event(data: &str) -> Event {
        Event {
            specversion: "1.0",
            id: "1".to_owned(),
            source: "heyi/his".to_owned(),
            kind: "visit.admitted".to_owned(),
            subject: "P1".to_owned(),
            time: String::new(),
            sequence: "000000000001".to_owned(),
            dataschema: "",
            datacontenttype: "application/json",
            data: RawValue::from_string(data.to_owned()).unwrap(),
        }
    }

    #[test]
    fn an_event_keeps_its_order_with_all_that_it_is_about() {
        for (data, expected) in [
            (r#"{"one_id":"P1"}"#, &["P1"][..]),
            (r#"{"retired":["P2","P3"],"basis":{"rule":"x"}}"#, &["P1", "P2", "P3"]),
            (r#"{"new_one_id":"P4","basis":{"redirected":["P5"]}}"#, &["P1", "P4", "P5"]),
            (r#"{"visit_id":"his:1"}"#, &["P1", "visit his:1"]),
            (r#"{"report_id":"lis:1","visit_id":"his:1"}"#, &["P1", "report lis:1"]),
        ] {
            assert_eq!(order_keys(&event(data)), expected, "{data}");
        }
    }

    #[test]
    fn a_consumer_whose_policy_is_not_in_force_gets_nothing() {
        let consumer = Consumer::unconfigured("crm");
        assert!(consumer.recipient(&Policies::full()).is_some());
        let refused = Consumer { policy: "care".to_owned(), ..consumer };
        assert!(refused.recipient(&Policies::full()).is_none());
    }
}
