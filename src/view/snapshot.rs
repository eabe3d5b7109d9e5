//! The current state, row by row: every person, visit and report as the newest event about it holds it.
//!
//! Each page is one short read, so that a consumer that takes hours for a snapshot keeps no log of writes from being reset; see
//! [`crate::feed::snapshot`] for why the pages make up a state all the same.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{person, published_lab_report, published_visit};
use crate::feed::snapshot::{Part, Place};
use crate::record::Fields;
use crate::store::{Reader, StoreError, clinical, persons};

/// One row of a snapshot.
#[derive(Debug, Serialize)]
pub struct Row {
    /// `person`, `visit` or `lab_report`.
    pub kind: &'static str,
    /// One ID, `visit_id` or `report_id`.
    pub id: String,
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

/// At most `limit` rows after `place`, of these parts only.
///
/// # Errors
/// See [`StoreError`].
pub fn page(
    reader: &Reader<'_>,
    place: Place,
    parts: &[Part],
    limit: usize,
    detail: Detail,
) -> Result<Page, StoreError> {
    let (mut rows, mut last, mut bytes) = (Vec::new(), place, 0);
    let begun = Part::ALL.iter().position(|part| *part == place.part).unwrap_or(0);
    for part in Part::ALL.iter().skip(begun).filter(|part| parts.contains(part)) {
        let after = if *part == place.part { place.row } else { 0 };
        // One more than fits tells whether this was all.
        for (row, entry) in read(reader, *part, after, limit - rows.len() + 1)? {
            let (entry, size) = entry.finish(*part, detail)?;
            bytes += size;
            let is_full = rows.len() == limit
                || matches!(detail, Detail::Records { bytes: most } if bytes > most && !rows.is_empty());
            if is_full {
                return Ok(Page { rows, next: Some(last) });
            }
            last = Place { part: *part, row, ..place };
            rows.push(entry);
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
    /// The row, and the bytes of its record.
    fn finish(self, part: Part, detail: Detail) -> Result<(Row, usize), StoreError> {
        let record = match detail {
            Detail::Versions => None,
            Detail::Records { .. } => {
                let record = serde_json::value::to_raw_value(&(self.record)()?);
                Some(record.map_err(|_| StoreError::Damaged { what: "a record's state" })?)
            }
        };
        let size = record.as_ref().map_or(0, |record| record.get().len());
        Ok((Row { kind: part.name(), id: self.id, one_id: self.one_id, version: self.version, record }, size))
    }
}

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
