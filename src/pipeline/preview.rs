//! One message looked at without a store: what the mapping makes of it, and the records as they would be published if it were all
//! that is known. What an explanation shows.

use super::apply::{NO_REPORT_NUMBER, report_number};
use super::patient::{name_authorities, record_number};
use super::{Failure, Source};
use crate::fhir::Unit;
use crate::hl7v2::{ErrorCode, Location, Message};
use crate::mapping::{Context, Format, Input, Mapped, MappedRecord, Unmapped};
use crate::record::{Fields, Kind, RecordNumber, Text, Value};
use crate::state::{LabReportState, Moment, PatientState, VisitState};
use crate::store::clinical::published_id;

/// No other message is there to be earlier or later.
const MOMENT: Moment = Moment { at: 0, arrival: 1 };

/// What became of a message under a mapping.
#[derive(Debug, Default)]
pub struct Examined {
    /// What was mended before it could be read.
    pub notes: Vec<String>,
    /// What the mapping made of it, explained; empty if it failed.
    pub mapped: Mapped,
    /// Codes that no table knows.
    pub unmapped: Vec<Unmapped>,
    /// Why the message would be kept as failed.
    pub failure: Option<Failure>,
}

/// Reads and maps one message, or one unit of FHIR, as [`super::prepare`] does, with an explanation.
pub fn examine(source: &Source, raw: &[u8]) -> Examined {
    if source.mapping.format() == Format::Fhir {
        return match Unit::parse(raw) {
            Ok(unit) => mapped(source, (&unit).into(), Vec::new()),
            Err(error) => Examined { failure: Some(Failure::unreadable_unit(&error)), ..Examined::default() },
        };
    }
    let (message, notes) = match Message::read(raw, &source.charset, &source.limits) {
        Ok(read) => read,
        Err(error) => return Examined { failure: Some(Failure::from(&error)), ..Examined::default() },
    };
    let notes = notes.iter().map(ToString::to_string).collect();
    if message.header().message_type.is_empty() {
        return Examined { notes, failure: Some(Failure::untyped()), ..Examined::default() };
    }
    mapped(source, (&message).into(), notes)
}

fn mapped(source: &Source, input: Input<'_>, notes: Vec<String>) -> Examined {
    let context = Context { zone: &source.zone, facility: source.facility.as_deref(), explain: true };
    match source.mapping.apply(input, &context) {
        Ok(mut mapped) => Examined {
            notes,
            unmapped: std::mem::take(&mut mapped.unmapped),
            failure: (mapped.holds_nothing().then(|| Failure::nothing_in(input.format())))
                .or_else(|| nameless_report(&mapped.records)),
            mapped,
        },
        Err(mut error) => Examined {
            notes,
            unmapped: std::mem::take(&mut error.unmapped),
            failure: Some(Failure::from(error)),
            ..Examined::default()
        },
    }
}

/// The patient of the message whose a record is, as their own number names them.
fn patient_of(records: &[MappedRecord], of: &MappedRecord) -> Option<RecordNumber> {
    let mut patients = records.iter().filter(|record| record.kind == Kind::Patient && record.patient == of.patient);
    patients.find_map(|patient| record_number(&patient.fields))
}

/// A report that nothing gives a number.
fn nameless_report(records: &[MappedRecord]) -> Option<Failure> {
    let mut reports = records.iter().filter(|record| record.kind == Kind::LabReport);
    reports.find(|report| report_number(&report.fields, patient_of(records, report).as_ref()).is_none())?;
    let location = Some(Location::field("OBR", 3).into());
    Some(Failure { code: ErrorCode::RequiredFieldMissing, location, text: NO_REPORT_NUMBER.to_owned() })
}

/// The record that `mapped` alone makes, one of the `records` of its message, with the ids that do not depend on who the patient is. Lists are in the order of the
/// message. A merge or a consent stays as it is mapped.
pub fn preview(source: &Source, mapped: &MappedRecord, records: &[MappedRecord]) -> Fields {
    let mut patch = mapped.fields.clone();
    if matches!(mapped.kind, Kind::Merge | Kind::Consent) {
        return patch;
    }
    name_authorities(&source.name, &mut patch);
    let is_list = |(name, value): &(&Text, &Value)| value.as_array().is_some() && *name != "results";
    let lists: Fields = patch.iter().filter(is_list).map(|(name, value)| (name.clone(), value.clone())).collect();
    let owner_of = |system: Option<Value>| {
        let owner = system.as_ref().and_then(Value::as_str).and_then(|system| source.site.owners.get(system));
        owner.map_or(source.name.as_str(), String::as_str)
    };
    let of = owner_of(patch.remove("number_system"));
    let visits_of = patch.remove("visit_system").map(|system| owner_of(Some(system)));
    let id = |number: &str| Value::from(published_id(of, number));
    let mut record = match mapped.kind {
        Kind::LabReport => {
            let number = report_number(&patch, patient_of(records, mapped).as_ref()).map(|number| id(&number));
            let mut state = LabReportState::default();
            let mut record = state.apply(patch, MOMENT).record;
            record.extend(number.map(|id| ("report_id", id)));
            if let Some(visit) = state.visit_number() {
                let visit = published_id(visits_of.or(state.visit_source()).unwrap_or(&source.name), visit);
                record.insert("visit_id", Value::from(visit));
            }
            record
        }
        Kind::Visit => {
            let number = patch.get("number").and_then(Value::as_str).map(id);
            let mut record = VisitState::default().apply(patch, MOMENT).record;
            record.extend(number.map(|id| ("visit_id", id)));
            record
        }
        Kind::Patient | Kind::Merge | Kind::Consent => PatientState::default().apply(patch, MOMENT).record,
    };
    record.extend(lists);
    record.insert("source", Value::from(source.name.as_str()));
    record
}
