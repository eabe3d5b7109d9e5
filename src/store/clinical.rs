//! Visits and lab reports. Each belongs to a patient record; its One ID is that record's.

use rusqlite::{Row, params};

use super::packed::{PackedText, unpack_text};
use super::{Reader, StoreError, Transaction, row_limit, signed};

/// A visit, stay or appointment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The source that owns the number.
    pub source: String,
    /// The visit number.
    pub number: String,
    /// The patient record that it belongs to.
    pub record: i64,
    /// Grows by one with each published change.
    pub version: u64,
    /// Version of the mapping by which it was last written; empty in what is older than this column.
    pub mapping: String,
    /// `state::VisitState` as JSON; the store never looks inside.
    pub state: String,
}

/// A report with its results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabReport {
    /// The source that owns the number.
    pub source: String,
    /// The filler order number.
    pub number: String,
    /// The patient record that it belongs to.
    pub record: i64,
    /// The visit that it belongs to; it need not be known yet.
    pub visit_id: Option<String>,
    /// Grows by one with each published change.
    pub version: u64,
    /// Version of the mapping by which it was last written; empty in what is older than this column.
    pub mapping: String,
    /// `state::LabReportState` as JSON; the store never looks inside.
    pub state: String,
}

/// `SOURCE:NUMBER`, the published name of a visit or report.
pub fn published_id(source: &str, number: &str) -> String {
    format!("{source}:{number}")
}

impl Visit {
    /// `visit_id`.
    pub fn visit_id(&self) -> String {
        published_id(&self.source, &self.number)
    }
}

impl LabReport {
    /// `report_id`.
    pub fn report_id(&self) -> String {
        published_id(&self.source, &self.number)
    }
}

macro_rules! select_visit {
    ($rest:literal) => {
        concat!("SELECT visit.source, visit.number, record, version, visit.state, visit.id, mapping FROM visit ", $rest)
    };
}

macro_rules! select_report {
    ($rest:literal) => {
        concat!(
            "SELECT lab_report.source, lab_report.number, record, version, lab_report.state, lab_report.id, visit_id, ",
            "mapping FROM lab_report ",
            $rest
        )
    };
}

/// A visit by its key.
///
/// # Errors
/// See [`StoreError`].
pub fn visit(reader: &Reader<'_>, source: &str, number: &str) -> Result<Option<Visit>, StoreError> {
    reader.one(select_visit!("WHERE number = ?1 AND source = ?2"), params![number, source], read_visit)
}

/// Inserts or replaces a visit.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Constraint`] when the record does not exist.
pub fn put_visit(transaction: &Transaction<'_>, visit: &Visit) -> Result<(), StoreError> {
    transaction.run(
        "INSERT INTO visit (number, source, record, version, state, mapping) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (number, source) DO UPDATE SET record = ?3, version = ?4, state = ?5, mapping = ?6",
        params![
            visit.number,
            visit.source,
            visit.record,
            signed(visit.version)?,
            PackedText::pack(&visit.state),
            visit.mapping,
        ],
    )?;
    Ok(())
}

/// The number that a visit number of `source` answers as now: itself, or the one that it was changed or merged into.
///
/// # Errors
/// See [`StoreError`].
pub fn visit_number_now(reader: &Reader<'_>, source: &str, number: &str) -> Result<String, StoreError> {
    let mut now = number.to_owned();
    // Redirects form no cycle ([`redirect_visit`]); the bound keeps a damaged store from holding a thread for ever.
    for _ in 0..10_000 {
        let sql = "SELECT into_number FROM visit_redirect WHERE source = ?1 AND number = ?2";
        match reader.one(sql, params![source, now], |row| Ok(row.get(0)?))? {
            Some(next) => now = next,
            None => return Ok(now),
        }
    }
    Err(StoreError::Damaged { what: "visit_redirect" })
}

/// From now on the visit number `retired` answers as `into`. Both must be alive, that is answer as themselves, and differ: then no
/// cycle can come to be.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Constraint`] when `retired` answers as another number already.
pub fn redirect_visit(
    transaction: &Transaction<'_>,
    source: &str,
    retired: &str,
    into: &str,
    at: i64,
) -> Result<(), StoreError> {
    transaction.run(
        "INSERT INTO visit_redirect (source, number, into_number, at) VALUES (?1, ?2, ?3, ?4)",
        params![source, retired, into, at],
    )?;
    Ok(())
}

/// A page of a person's visits, in the order in which they became known: at most `limit` after the place `after` (0 for the
/// beginning). Each with its place.
///
/// # Errors
/// See [`StoreError`].
pub fn visits_of_person(
    reader: &Reader<'_>,
    one_id: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, Visit)>, StoreError> {
    reader.all(
        select_visit!(
            "WHERE record IN (SELECT id FROM patient_record WHERE one_id = ?1) AND id > ?2 ORDER BY id LIMIT ?3"
        ),
        params![one_id, after, row_limit(limit)],
        |row| Ok((row.get(5)?, read_visit(row)?)),
    )
}

/// A page of all visits, as [`visits_of_person`], each with the One ID whose it is.
///
/// # Errors
/// See [`StoreError`].
pub fn all_visits(reader: &Reader<'_>, after: i64, limit: usize) -> Result<Vec<(i64, Visit, String)>, StoreError> {
    let sql = "SELECT visit.source, visit.number, record, version, visit.state, visit.id, visit.mapping, one_id
               FROM visit JOIN patient_record ON patient_record.id = record WHERE visit.id > ?1 ORDER BY visit.id LIMIT ?2";
    reader.all(sql, params![after, row_limit(limit)], |row| Ok((row.get(5)?, read_visit(row)?, row.get(7)?)))
}

/// A report by its key.
///
/// # Errors
/// See [`StoreError`].
pub fn lab_report(reader: &Reader<'_>, source: &str, number: &str) -> Result<Option<LabReport>, StoreError> {
    reader.one(select_report!("WHERE number = ?1 AND source = ?2"), params![number, source], read_report)
}

/// Inserts or replaces a report.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Constraint`] when the record does not exist.
pub fn put_lab_report(transaction: &Transaction<'_>, report: &LabReport) -> Result<(), StoreError> {
    transaction.run(
        "INSERT INTO lab_report (number, source, record, visit_id, version, state, mapping) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (number, source) DO UPDATE SET record = ?3, visit_id = ?4, version = ?5, state = ?6, mapping = ?7",
        params![
            report.number,
            report.source,
            report.record,
            report.visit_id,
            signed(report.version)?,
            PackedText::pack(&report.state),
            report.mapping,
        ],
    )?;
    Ok(())
}

/// A page of a person's reports, as [`visits_of_person`].
///
/// # Errors
/// See [`StoreError`].
pub fn lab_reports_of_person(
    reader: &Reader<'_>,
    one_id: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, LabReport)>, StoreError> {
    reader.all(
        select_report!(
            "WHERE record IN (SELECT id FROM patient_record WHERE one_id = ?1) AND id > ?2 ORDER BY id LIMIT ?3"
        ),
        params![one_id, after, row_limit(limit)],
        |row| Ok((row.get(5)?, read_report(row)?)),
    )
}

/// A page of all reports, as [`all_visits`].
///
/// # Errors
/// See [`StoreError`].
pub fn all_lab_reports(
    reader: &Reader<'_>,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, LabReport, String)>, StoreError> {
    let sql = "SELECT lab_report.source, lab_report.number, record, version, lab_report.state, lab_report.id, visit_id,
                      lab_report.mapping, one_id
               FROM lab_report JOIN patient_record ON patient_record.id = record
               WHERE lab_report.id > ?1 ORDER BY lab_report.id LIMIT ?2";
    reader.all(sql, params![after, row_limit(limit)], |row| Ok((row.get(5)?, read_report(row)?, row.get(8)?)))
}

fn read_visit(row: &Row<'_>) -> Result<Visit, StoreError> {
    Ok(Visit {
        source: row.get(0)?,
        number: row.get(1)?,
        record: row.get(2)?,
        version: row.get::<_, i64>(3)?.unsigned_abs(),
        mapping: row.get(6)?,
        state: unpack_text(row.get_ref(4)?, "visit.state")?,
    })
}

fn read_report(row: &Row<'_>) -> Result<LabReport, StoreError> {
    Ok(LabReport {
        source: row.get(0)?,
        number: row.get(1)?,
        record: row.get(2)?,
        version: row.get::<_, i64>(3)?.unsigned_abs(),
        state: unpack_text(row.get_ref(4)?, "lab_report.state")?,
        visit_id: row.get(6)?,
        mapping: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{insert_person, link, store, write};
    use super::super::records::{self, LinkKind};
    use super::*;

    #[test]
    fn visits_and_reports_are_replaced_under_their_key_and_go_with_their_record() {
        let (_directory, store) = store();
        write(&store, |t| {
            let record = insert_person(t, "P1", "1001")?;
            insert_person(t, "P2", "1002")?;
            let mut visit = Visit {
                source: "his".to_owned(),
                number: "V1".to_owned(),
                record,
                version: 1,
                mapping: "m1".to_owned(),
                state: "{}".to_owned(),
            };
            let mut report = LabReport {
                source: "lis".to_owned(),
                number: "F1".to_owned(),
                record,
                visit_id: None,
                version: 1,
                mapping: "m1".to_owned(),
                state: "{\"results\":[]}".repeat(500),
            };
            put_visit(t, &visit)?;
            put_lab_report(t, &report)?;
            (visit.version, report.version) = (2, 2);
            (visit.mapping, report.mapping) = ("m2".to_owned(), "m2".to_owned());
            report.visit_id = Some(visit.visit_id());
            put_visit(t, &visit)?;
            put_lab_report(t, &report)?;
            visit.number = "V2".to_owned();
            put_visit(t, &visit)?;
            assert_eq!(lab_report(t, "lis", "F1")?, Some(report));
            assert_eq!(super::visit(t, "his", "V2")?, Some(visit));
            assert_eq!(super::visit(t, "lis", "V2")?, None);
            records::link(t, &link(record, "P2", LinkKind::Manual))
        });
        let visits = |one_id: &str, after: i64| {
            let page = store.read(|r| visits_of_person(r, one_id, after, 9)).unwrap();
            page.into_iter().map(|(place, visit)| (place, visit.number, visit.version)).collect::<Vec<_>>()
        };
        assert_eq!(visits("P1", 0), []);
        let all = visits("P2", 0);
        assert_eq!(all, [(all[0].0, "V1".to_owned(), 2), (all[1].0, "V2".to_owned(), 2)]);
        assert_eq!(visits("P2", all[0].0), all[1..]);
        let reports = store.read(|r| lab_reports_of_person(r, "P2", 0, 9)).unwrap();
        assert_eq!(reports[0].1.visit_id.as_deref(), Some("his:V1"));
    }
}
