//! The log of events: appended in the transaction of what caused them, read in pages.
//!
//! Sequence numbers begin at 1 and have no holes: SQLite gives the greatest in the table plus one, a job that is rolled back
//! gives its numbers back, and pruning always leaves the newest event.

use rusqlite::{Row, Rows, params};
use serde_json::value::RawValue;

use super::packed::{PackedText, unpack_text};
use super::{Reader, StoreError, Transaction, row_limit, signed};
use crate::feed::{Cursor, Event, EventKind, NewEvent, TypeFilter};

/// Rows that one page may pass over, so that a filter that takes little cannot hold a connection for long.
const SCAN_LIMIT: usize = 20_000;

/// What an event is read from, in the order that [`event`] expects.
macro_rules! columns {
    () => {
        "SELECT sequence, type, id, subject, time, source, data, length(data) > 0 FROM event"
    };
}

/// How much of the log to read.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRequest {
    /// After the event with this sequence number; 0 is the beginning.
    pub after: u64,
    /// At most so many events.
    pub limit: usize,
    /// At most so many bytes of `data`; the first event is always taken.
    pub bytes: usize,
    /// Take an event when one of these matches; `[*]` takes all, an empty list none.
    pub filters: Vec<TypeFilter>,
}

/// A page of the log.
#[derive(Debug)]
pub struct EventPage {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The sequence to go on after; it moves past events that the filters left out.
    pub next: u64,
    /// The newest event's position, of the same moment.
    pub head: Cursor,
}

/// Appends an event; gives its sequence number, which counts once the transaction is committed.
///
/// # Errors
/// See [`StoreError`].
pub fn append(
    transaction: &Transaction<'_>,
    event: &NewEvent,
    message: Option<i64>,
    recorded_at: i64,
) -> Result<u64, StoreError> {
    let data = serde_json::to_string(&event.data).map_err(|_| StoreError::Damaged { what: "event.data" })?;
    let sequence = transaction.insert(
        "INSERT INTO event (id, type, subject, time, source, recorded_at, message, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            event.id,
            event.kind.name(),
            event.subject,
            event.time,
            event.source,
            recorded_at,
            message,
            PackedText::pack(&data),
        ],
    )?;
    transaction.note_append();
    Ok(sequence.unsigned_abs())
}

/// The newest event's position; sequence 0 in an empty log.
///
/// # Errors
/// See [`StoreError`].
pub fn head(reader: &Reader<'_>) -> Result<Cursor, StoreError> {
    Ok(Cursor { epoch: epoch(reader)?, sequence: head_sequence(reader)? })
}

/// The present epoch.
///
/// # Errors
/// See [`StoreError`].
pub fn epoch(reader: &Reader<'_>) -> Result<u32, StoreError> {
    let epoch = reader.one("SELECT epoch FROM meta", [], |row| Ok(row.get(0)?))?;
    epoch.ok_or(StoreError::Damaged { what: "meta.epoch" })
}

/// The newest event's position when the present epoch began: where the log went on after a restore.
///
/// # Errors
/// See [`StoreError`].
pub fn epoch_began(reader: &Reader<'_>) -> Result<Cursor, StoreError> {
    let began = reader.one("SELECT epoch, epoch_began FROM meta", [], |row| {
        Ok(Cursor { epoch: row.get(0)?, sequence: row.get::<_, i64>(1)?.unsigned_abs() })
    })?;
    began.ok_or(StoreError::Damaged { what: "meta.epoch" })
}

/// The oldest event that is still kept; `None` in an empty log. A cursor before it has lost events to retention.
///
/// # Errors
/// See [`StoreError`].
pub fn first_kept(reader: &Reader<'_>) -> Result<Option<u64>, StoreError> {
    let first = reader.one("SELECT min(sequence) FROM event", [], |row| Ok(row.get::<_, Option<i64>>(0)?))?;
    Ok(first.flatten().map(i64::unsigned_abs))
}

/// Reads on from a position.
///
/// # Errors
/// See [`StoreError`].
pub fn page(reader: &Reader<'_>, request: &PageRequest) -> Result<EventPage, StoreError> {
    // The head first: both reads are of one snapshot.
    let head = head(reader)?;
    let mut page = EventPage { events: Vec::new(), next: request.after, head };
    let sql = concat!(columns!(), " WHERE sequence > ?1 ORDER BY sequence LIMIT ?2");
    let mut statement = reader.connection().prepare_cached(sql)?;
    fill(&mut page, statement.query(params![signed(request.after)?, row_limit(SCAN_LIMIT)])?, request)?;
    Ok(page)
}

/// As [`page`], of the events about these One IDs alone.
///
/// # Errors
/// See [`StoreError`].
pub fn page_about(reader: &Reader<'_>, subjects: &[String], request: &PageRequest) -> Result<EventPage, StoreError> {
    let head = head(reader)?;
    let mut page = EventPage { events: Vec::new(), next: request.after, head };
    let subjects = serde_json::to_string(subjects).map_err(|_| StoreError::Damaged { what: "event.subject" })?;
    let sql = concat!(
        columns!(),
        " WHERE subject IN (SELECT value FROM json_each(?3)) AND sequence > ?1 ORDER BY sequence LIMIT ?2"
    );
    let mut statement = reader.connection().prepare_cached(sql)?;
    let rows = statement.query(params![signed(request.after)?, row_limit(SCAN_LIMIT), subjects])?;
    // Nothing more of them up to the head: the position moves there, as it does over what a filter leaves out.
    if fill(&mut page, rows, request)? == Looked::ToTheEnd {
        page.next = page.next.max(page.head.sequence);
    }
    Ok(page)
}

/// Whether a page ended because there was no more.
#[derive(PartialEq)]
enum Looked {
    ToTheEnd,
    ToALimit,
}

fn fill(page: &mut EventPage, mut rows: Rows<'_>, request: &PageRequest) -> Result<Looked, StoreError> {
    let (mut bytes, mut seen) = (0, 0);
    while page.events.len() < request.limit {
        let Some(row) = rows.next()? else {
            return Ok(if seen < SCAN_LIMIT { Looked::ToTheEnd } else { Looked::ToALimit });
        };
        seen += 1;
        let sequence = row.get::<_, i64>(0)?.unsigned_abs();
        let kind = kind(row)?;
        // Left out before its data is touched.
        // One that was erased keeps its place and is told to nobody.
        if kind.is_wanted(&request.filters) && row.get(7)? {
            let event = event(row, kind)?;
            bytes += event.data.get().len();
            if bytes > request.bytes && !page.events.is_empty() {
                break;
            }
            page.events.push(event);
        }
        page.next = sequence;
    }
    Ok(Looked::ToALimit)
}

/// One event; `None`: there is none of this number, or it is kept no more, or what it told was erased.
///
/// # Errors
/// See [`StoreError`].
pub fn get(reader: &Reader<'_>, sequence: u64) -> Result<Option<Event>, StoreError> {
    reader.one(concat!(columns!(), " WHERE sequence = ?1 AND length(data) > 0"), [signed(sequence)?], |row| {
        event(row, kind(row)?)
    })
}

/// When an event was written, microseconds since the epoch; `None`: it is not kept.
///
/// # Errors
/// See [`StoreError`].
pub fn recorded_at(reader: &Reader<'_>, sequence: u64) -> Result<Option<i64>, StoreError> {
    reader.one("SELECT recorded_at FROM event WHERE sequence = ?1", [signed(sequence)?], |row| Ok(row.get(0)?))
}

/// The sequence number after which what was written at `at` or later begins. The clock may have been set back: of the rows before the
/// place that a search finds so many are looked at one by one, and if need be too much is given rather than too little.
///
/// # Errors
/// See [`StoreError`].
pub fn before_time(reader: &Reader<'_>, at: i64) -> Result<u64, StoreError> {
    let head = head_sequence(reader)?;
    let (mut low, mut high) = (first_kept(reader)?.unwrap_or(head + 1), head + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match recorded_at(reader, middle)? {
            Some(recorded) if recorded >= at => high = middle,
            _ => low = middle + 1,
        }
    }
    let earlier = reader.one(
        "SELECT min(sequence) FROM event WHERE sequence < ?1 AND sequence >= ?2 AND recorded_at >= ?3",
        params![signed(low)?, signed(low.saturating_sub(SCAN_LIMIT as u64))?, at],
        |row| Ok(row.get::<_, Option<i64>>(0)?),
    )?;
    Ok(earlier.flatten().map_or(low, i64::unsigned_abs).saturating_sub(1))
}

/// The payloads of the last events about `subject` before `sequence`, newest first, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub fn payloads_before(
    reader: &Reader<'_>,
    subject: &str,
    sequence: u64,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    reader.all(
        "SELECT data FROM event WHERE subject = ?1 AND sequence < ?2 AND length(data) > 0
         ORDER BY sequence DESC LIMIT ?3",
        params![subject, signed(sequence)?, row_limit(limit)],
        |row| unpack_text(row.get_ref(0)?, "event.data"),
    )
}

pub(super) fn head_sequence(reader: &Reader<'_>) -> Result<u64, StoreError> {
    let newest = reader.one("SELECT max(sequence) FROM event", [], |row| Ok(row.get::<_, Option<i64>>(0)?))?;
    Ok(newest.flatten().unwrap_or(0).unsigned_abs())
}

fn kind(row: &Row<'_>) -> Result<EventKind, StoreError> {
    let name = row.get_ref(1)?.as_str().map_err(|_| StoreError::Damaged { what: "event.type" })?;
    name.parse().map_err(|()| StoreError::Damaged { what: "event.type" })
}

fn event(row: &Row<'_>, kind: EventKind) -> Result<Event, StoreError> {
    let data = unpack_text(row.get_ref(6)?, "event.data")?;
    Ok(Event {
        specversion: "1.0",
        id: row.get(2)?,
        source: format!("heyi/{}", row.get_ref(5)?.as_str().map_err(|_| StoreError::Damaged { what: "event.source" })?),
        kind: kind.name().to_owned(),
        subject: row.get(3)?,
        time: row.get(4)?,
        sequence: format!("{:012}", row.get::<_, i64>(0)?),
        dataschema: kind.schema_path(),
        datacontenttype: "application/json",
        data: RawValue::from_string(data).map_err(|_| StoreError::Damaged { what: "event.data" })?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{event as new, store, write};
    use super::*;

    fn filled(store: &super::super::Store) {
        write(store, |t| {
            for (number, kind) in [
                (1, EventKind::PatientCreated),
                (2, EventKind::VisitAdmitted),
                (1, EventKind::LabResulted),
                (1, EventKind::LabCritical),
                (2, EventKind::VisitDischarged),
            ] {
                let mut event = new(kind, &format!("P{number}"));
                event.data.insert("note".to_owned(), "x".repeat(2_000).into());
                append(t, &event, None, 1)?;
            }
            Ok(())
        });
    }

    #[test]
    fn a_page_is_bounded_and_filtered_and_always_moves_on() {
        let (_directory, store) = store();
        filled(&store);
        let check = |after: u64, limit: usize, bytes: usize, filter: &str, expected: &[u64], next: u64| {
            let filters = filter.split_whitespace().map(|text| text.parse().unwrap()).collect();
            let page = store.read(|r| page(r, &PageRequest { after, limit, bytes, filters })).unwrap();
            let sequences: Vec<u64> = page.events.iter().map(|event| event.sequence.parse().unwrap()).collect();
            assert_eq!((sequences.as_slice(), page.next), (expected, next), "{after} {limit} {bytes} {filter}");
            assert_eq!(page.head, Cursor { epoch: 1, sequence: 5 });
        };
        check(0, 100, 1 << 20, "*", &[1, 2, 3, 4, 5], 5);
        check(0, 2, 1 << 20, "*", &[1, 2], 2);
        check(2, 100, 1 << 20, "*", &[3, 4, 5], 5);
        check(5, 100, 1 << 20, "*", &[], 5);
        check(0, 100, 1 << 20, "lab.*", &[3, 4], 5);
        check(0, 1, 1 << 20, "lab.*", &[3], 3);
        check(0, 100, 1 << 20, "patient.merged", &[], 5);
        check(0, 100, 1 << 20, "", &[], 5);
        check(0, 100, 5_000, "*", &[1, 2], 2);
        check(0, 100, 1, "visit.*", &[2], 4);
        check(9, 100, 1 << 20, "*", &[], 9);
    }

    #[test]
    fn an_event_comes_back_as_a_cloud_event() {
        let (_directory, store) = store();
        filled(&store);
        let event = store.read(|r| get(r, 2)).unwrap().unwrap();
        assert!(store.read(|r| get(r, 6)).unwrap().is_none());
        let event = serde_json::to_value(&event).unwrap();
        assert_eq!(event["type"], "visit.admitted");
        assert_eq!(event["source"], "heyi/his");
        assert_eq!(event["sequence"], "000000000002");
        assert_eq!(event["dataschema"], "/schemas/visit.v1.json");
        assert_eq!(event["data"]["one_id"], "P2");
    }

    #[test]
    fn one_person_s_events_are_read_under_all_names_and_the_position_goes_to_the_end() {
        let (_directory, store) = store();
        filled(&store);
        let check = |subjects: &[&str], after: u64, limit: usize, expected: &[u64], next: u64| {
            let named: Vec<String> = subjects.iter().map(ToString::to_string).collect();
            let request = PageRequest { after, limit, bytes: 1 << 20, filters: vec![TypeFilter::ALL] };
            let page = store.read(|r| page_about(r, &named, &request)).unwrap();
            let sequences: Vec<u64> = page.events.iter().map(|event| event.sequence.parse().unwrap()).collect();
            assert_eq!((sequences.as_slice(), page.next), (expected, next), "{subjects:?} {after} {limit}");
        };
        check(&["P1"], 0, 9, &[1, 3, 4], 5);
        check(&["P1"], 0, 2, &[1, 3], 3);
        check(&["P2"], 2, 9, &[5], 5);
        check(&["P1", "P2"], 0, 9, &[1, 2, 3, 4, 5], 5);
        check(&["P3"], 0, 9, &[], 5);
    }

    #[test]
    fn a_time_is_found_in_the_log_also_where_the_clock_went_back() {
        let (_directory, store) = store();
        write(&store, |t| {
            for at in [10, 20, 20, 30, 25, 40] {
                append(t, &new(EventKind::VisitAdmitted, "P1"), None, at)?;
            }
            Ok(())
        });
        for (at, expected) in [(0, 0), (10, 0), (11, 1), (20, 1), (21, 3), (26, 3), (30, 3), (31, 5), (40, 5), (41, 6)]
        {
            assert_eq!(store.read(|r| before_time(r, at)), Ok(expected), "{at}");
        }
    }
}
