//! What two mappings make of one message, field by field.
//!
//! Records are paired by kind, patient and order; results by code and sub-id; items of other lists by what they say, and what is
//! left of them in order. So one item more is one difference, however many follow it.

use super::{Disposition, MapError, Mapped, MappedRecord};
use crate::record::{Fields, Kind, Value as Json};

/// The field of a change of the message as a whole, and what is said of it.
const MESSAGE: &str = "message";
const TAKEN: &str = "taken";
const IGNORED: &str = "ignored: ";

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The field without positions, `lab_report.results.unit`; `message` for the message as a whole.
    pub field: String,
    /// What the first mapping makes of it.
    pub before: Option<Json>,
    /// What the second does.
    pub after: Option<Json>,
}

impl Change {
    /// A whole record of the first mapping is missing from the second's, or all of them are, because it is for other messages.
    pub fn loses_a_record(&self) -> bool {
        let is = |said: &Option<Json>, what: &str| {
            said.as_ref().and_then(Json::as_str).is_some_and(|said| said.starts_with(what))
        };
        let is_ignored = self.field == MESSAGE && is(&self.before, TAKEN) && is(&self.after, IGNORED);
        is_ignored || (self.after.is_none() && Kind::ALL.iter().any(|kind| kind.name() == self.field))
    }
}

/// The differences between what two mappings made of one message. Empty: none.
pub fn changes(before: &Result<Mapped, MapError>, after: &Result<Mapped, MapError>) -> Vec<Change> {
    let (said, says) = (outcome(before), outcome(after));
    if said != says {
        return vec![Change { field: MESSAGE.to_owned(), before: Some(said.into()), after: Some(says.into()) }];
    }
    let (Ok(before), Ok(after)) = (before, after) else { return Vec::new() };
    let mut changes = Vec::new();
    let mut left: Vec<&MappedRecord> = after.records.iter().collect();
    for record in &before.records {
        let is_same = |other: &&MappedRecord| other.kind == record.kind && other.patient == record.patient;
        let other = left.iter().position(is_same).map(|position| left.remove(position));
        match other {
            Some(other) => compare_fields(record.kind.name(), &record.fields, &other.fields, &mut changes),
            None => changes.push(gone(record.kind.name(), Json::Object(record.fields.clone()))),
        }
    }
    changes.extend(left.into_iter().map(|record| come(record.kind.name(), Json::Object(record.fields.clone()))));
    changes
}

/// Whether the message makes records, without their content.
fn outcome(result: &Result<Mapped, MapError>) -> String {
    match result {
        Err(error) => format!("failed: {error}"),
        Ok(mapped) => match &mapped.disposition {
            Disposition::Ignored { reason } => format!("{IGNORED}{reason}"),
            Disposition::Records => TAKEN.to_owned(),
        },
    }
}

fn gone(field: &str, before: Json) -> Change {
    Change { field: field.to_owned(), before: Some(before), after: None }
}

fn come(field: &str, after: Json) -> Change {
    Change { field: field.to_owned(), before: None, after: Some(after) }
}

fn compare_fields(place: &str, before: &Fields, after: &Fields, changes: &mut Vec<Change>) {
    for (name, value) in before {
        let place = format!("{place}.{name}");
        match after.get(name) {
            Some(other) => compare(&place, value, other, changes),
            None => changes.push(gone(&place, value.clone())),
        }
    }
    for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(name)) {
        changes.push(come(&format!("{place}.{name}"), value.clone()));
    }
}

fn compare(place: &str, before: &Json, after: &Json, changes: &mut Vec<Change>) {
    match (before, after) {
        _ if before == after => {}
        (Json::Object(before), Json::Object(after)) => compare_fields(place, before, after, changes),
        (Json::Array(before), Json::Array(after)) => compare_items(place, before, after, changes),
        _ => changes.push(Change { field: place.to_owned(), before: Some(before.clone()), after: Some(after.clone()) }),
    }
}

fn compare_items(place: &str, before: &[Json], after: &[Json], changes: &mut Vec<Change>) {
    let mut left: Vec<&Json> = after.iter().collect();
    let mut open: Vec<&Json> = Vec::new();
    for item in before {
        match left.iter().position(|other| *other == item) {
            Some(position) => drop(left.remove(position)),
            None => open.push(item),
        }
    }
    let is_keyed = place.ends_with(".results");
    for item in open {
        let is_same = |other: &&&Json| !is_keyed || key(item) == key(other);
        match left.iter().position(|other| is_same(&other)) {
            Some(position) => compare(place, item, left.remove(position), changes),
            None => changes.push(gone(place, item.clone())),
        }
    }
    changes.extend(left.into_iter().map(|item| come(place, item.clone())));
}

/// What tells one result from another, as the state does.
fn key(item: &Json) -> (Option<&Json>, Option<&Json>) {
    (item.get("code"), item.get("sub_id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Kind, json};

    fn mapped(records: &[(Kind, Json)]) -> Result<Mapped, MapError> {
        let records = records.iter().map(|(kind, fields)| MappedRecord {
            kind: *kind,
            patient: 0,
            fields: fields.as_object().unwrap().clone(),
        });
        Ok(Mapped { records: records.collect(), ..Mapped::default() })
    }

    fn check(before: &[(Kind, Json)], after: &[(Kind, Json)], expected: &[(&str, Json, Json)]) {
        let found: Vec<_> = changes(&mapped(before), &mapped(after))
            .into_iter()
            .map(|change| (change.field, change.before.unwrap_or_default(), change.after.unwrap_or_default()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(field, before, after)| ((*field).to_owned(), before.clone(), after.clone()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn one_item_more_is_one_difference() {
        let result = |code: &str, value: u8| json!({"code": code, "value_number": value});
        let report = |results: Json| (Kind::LabReport, json!({"results": results}));
        check(
            &[report(json!([result("NA", 140), result("K", 4)]))],
            &[report(json!([result("X", 1), result("NA", 141), result("K", 4)]))],
            &[
                ("lab_report.results.value_number", json!(140), json!(141)),
                ("lab_report.results", Json::Null, result("X", 1)),
            ],
        );
    }

    #[test]
    fn fields_records_and_items_that_come_and_go_are_named() {
        let number = |kind: &str| json!({"identifiers": [{"type": kind, "value": "1"}, {"type": "mrn", "value": "2"}]});
        check(
            &[(Kind::Patient, number("other")), (Kind::Visit, json!({"class": "inpatient"}))],
            &[(Kind::Patient, number("passport"))],
            &[
                ("patient.identifiers.type", json!("other"), json!("passport")),
                ("visit", json!({"class": "inpatient"}), Json::Null),
            ],
        );
        let visit = |fields: Json| (Kind::Visit, fields);
        check(
            &[visit(json!({"ward": "3"}))],
            &[visit(json!({"class": "inpatient", "ward": "3"}))],
            &[("visit.class", Json::Null, json!("inpatient"))],
        );
    }

    #[test]
    fn a_message_that_is_taken_no_more_is_one_difference() {
        let ignored = Mapped { disposition: Disposition::Ignored { reason: "MSH-3".into() }, ..Mapped::default() };
        let found = changes(&mapped(&[(Kind::Patient, json!({"sex": "male"}))]), &Ok(ignored));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].field.as_str(), &found[0].after), ("message", &Some(json!("ignored: MSH-3"))));
        assert!(found[0].loses_a_record(), "all that it said");
    }
}
