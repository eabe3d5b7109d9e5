//! The current state, row by row: every person, visit and report as the newest event about it holds it.
//!
//! Each page is one short read, so that a consumer that takes hours for a snapshot keeps no log of writes from being reset; see
//! [`crate::feed::snapshot`] for why the pages make up a state all the same.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::disclosure::Gate;
use crate::feed::snapshot::{Part, Place};
use crate::policy::Document;
use crate::record::{Fields, Value};
use crate::store::{Reader, StoreError, clinical, persons};
use crate::view::{person, published_lab_report, published_visit};

/// One row of a snapshot.
#[derive(Debug, Serialize)]
pub struct Row {
    /// `person`, `visit` or `lab_report`.
    pub kind: &'static str,
    /// One ID, `visit_id` or `report_id`, as the record has it; `None` where the consumer's policy leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whose it is.
    pub one_id: String,
    /// The record's version.
    pub version: u64,
    /// The record as events hold it; `None` where only versions were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<RawValue>>,
}

/// What the rows of a page hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The records, at most so many bytes of them in a page; the first is always taken.
    Records {
        /// The bound.
        bytes: usize,
    },
    /// Names and versions only.
    Versions,
}

/// A page of a snapshot.
#[derive(Debug)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next page begins; `None` after the last row.
    pub next: Option<Place>,
}

/// At most `limit` rows after `place`, of these parts only, with what may leave of them.
///
/// # Errors
/// See [`StoreError`].
pub fn page(
    reader: &Reader<'_>,
    place: Place,
    parts: &[Part],
    limit: usize,
    detail: Detail,
    gate: &Gate<'_>,
) -> Result<Page, StoreError> {
    let (mut rows, mut last, mut bytes, mut looked) = (Vec::new(), place, 0, 0);
    let begun = Part::ALL.iter().position(|part| *part == place.part).unwrap_or(0);
    for part in Part::ALL.iter().skip(begun).filter(|part| parts.contains(part)) {
        let mut after = if *part == place.part { place.row } else { 0 };
        loop {
            // No more than a page of this size can hold, and one to see that there is more.
            let entries = read(reader, *part, after, READ.min(limit + 1))?;
            if entries.is_empty() {
                break;
            }
            for (row, entry) in entries {
                if looked == LOOKED_AT || rows.len() == limit {
                    return Ok(Page { rows, next: Some(last) });
                }
                (looked, after) = (looked + 1, row);
                if let Some((entry, size)) = entry.finish(*part, detail, gate)? {
                    bytes += size;
                    if matches!(detail, Detail::Records { bytes: most } if bytes > most && !rows.is_empty()) {
                        return Ok(Page { rows, next: Some(last) });
                    }
                    rows.push(entry);
                }
                last = Place { part: *part, row, ..place };
            }
        }
    }
    Ok(Page { rows, next: None })
}

/// A row whose record is not yet written.
struct Entry {
    id: String,
    one_id: String,
    version: u64,
    record: Box<dyn FnOnce() -> Result<Fields, StoreError>>,
}

impl Entry {
    /// The row, and the bytes of its record; `None`: nothing of it may leave.
    fn finish(self, part: Part, detail: Detail, gate: &Gate<'_>) -> Result<Option<(Row, usize)>, StoreError> {
        let Self { id, one_id, version, record } = self;
        if detail == Detail::Versions && gate.is_open() {
            return Ok(Some((Row { kind: part.name(), id: Some(id), one_id, version, record: None }, 0)));
        }
        if !gate.admits(&one_id)? {
            return Ok(None);
        }
        let (document, name) = match part {
            Part::Person => (Document::Person, "one_id"),
            Part::Visit => (Document::Visit, "visit_id"),
            Part::LabReport => (Document::LabReport, "report_id"),
        };
        let Some(shown) = gate.show(document, record()?)? else { return Ok(None) };
        let id = shown.get(name).and_then(Value::as_str).map(str::to_owned);
        let record = match detail {
            Detail::Versions => None,
            Detail::Records { .. } => Some(
                serde_json::value::to_raw_value(&shown)
                    .map_err(|_| StoreError::Damaged { what: "a record's state" })?,
            ),
        };
        let size = record.as_ref().map_or(0, |record| record.get().len());
        Ok(Some((Row { kind: part.name(), id, one_id, version, record }, size)))
    }
}

/// Rows in one read of the store.
const READ: usize = 500;
/// Rows that one page may pass over, so that a consumer to whom little may leave cannot hold a connection for long.
const LOOKED_AT: usize = 20_000;

/// The rows of one part, each with its place.
fn read(reader: &Reader<'_>, part: Part, after: i64, limit: usize) -> Result<Vec<(i64, Entry)>, StoreError> {
    Ok(match part {
        Part::Person => {
            let entry = |(row, found): (i64, persons::Person)| {
                let (one_id, version) = (found.one_id.clone(), found.version);
                (row, Entry { id: one_id.clone(), one_id, version, record: Box::new(|| Ok(person(found))) })
            };
            persons::all(reader, after, limit)?.into_iter().map(entry).collect()
        }
        Part::Visit => {
            let entry = |(row, found, one_id): (i64, clinical::Visit, String)| {
                let (id, version, whose) = (found.visit_id(), found.version, one_id.clone());
                (row, Entry { id, one_id, version, record: Box::new(move || published_visit(&found, &whose)) })
            };
            clinical::all_visits(reader, after, limit)?.into_iter().map(entry).collect()
        }
        Part::LabReport => {
            let entry = |(row, found, one_id): (i64, clinical::LabReport, String)| {
                let (id, version, whose) = (found.report_id(), found.version, one_id.clone());
                (row, Entry { id, one_id, version, record: Box::new(move || published_lab_report(&found, &whose)) })
            };
            clinical::all_lab_reports(reader, after, limit)?.into_iter().map(entry).collect()
        }
    })
}
