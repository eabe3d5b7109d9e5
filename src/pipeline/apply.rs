//! The records of one message, applied: patients to persons, visits and reports to patients, differences to events.

use serde_json::{Value, json};

use super::{Failure, Source};
use crate::feed::{EventKind, NewEvent, event_id};
use crate::hl7v2::Location;
use crate::hl7v2::ack::ErrorCode;
use crate::mapping::MappedRecord;
use crate::record::{Fields, Kind, when};
use crate::state::{Applied, LabReportState, Moment, Published, VisitState, combine};
use crate::store::clinical::{self, LabReport, Visit};
use crate::store::messages::ContentDigest;
use crate::store::{StoreError, Transaction, events, records};

/// Why records could not be applied.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The message is at fault.
    Content(Failure),
    /// The store is.
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Trouble {
    pub(super) fn content(code: ErrorCode, location: Location, text: impl Into<String>) -> Self {
        Self::Content(Failure { code, location: Some(location), text: text.into(), unreadable: false })
    }
}

/// `cause` of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Message,
    Retry,
    Merge,
}

impl Cause {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Retry => "retry",
            Self::Merge => "merge",
        }
    }
}

/// One message inside the writer.
pub(super) struct Job<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) source: &'a Source,
    pub(super) digest: ContentDigest,
    /// The message's number: its arrival.
    pub(super) message: i64,
    pub(super) received_at: i64,
    pub(super) cause: Cause,
}

/// The patient whose visits and reports follow.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    /// Row of the source record.
    pub(super) record: i64,
    pub(super) one_id: String,
}

impl Job<'_> {
    /// Applies all records and gives the One ID of the first patient.
    pub(super) fn apply(&self, mapped: &[MappedRecord]) -> Result<Option<String>, Trouble> {
        let mut owner: Option<Owner> = None;
        let mut first = None;
        let mut index = 0;
        while let Some(record) = mapped.get(index) {
            index += 1;
            match record.kind {
                Kind::Patient => {
                    owner = self.patient(&record.fields)?;
                    first = first.or_else(|| owner.as_ref().map(|owner| owner.one_id.clone()));
                }
                Kind::Merge => self.merge(&record.fields)?,
                Kind::Visit => self.visit(&record.fields, owner.as_ref())?,
                Kind::LabReport => {
                    // One message may spread one report over several OBR: together they are what it says of the report.
                    let number = report_number(&record.fields);
                    let mut parts = vec![record.fields.clone()];
                    while let Some(next) = mapped.get(index)
                        && next.kind == Kind::LabReport
                        && report_number(&next.fields) == number
                    {
                        parts.push(next.fields.clone());
                        index += 1;
                    }
                    self.lab_report(number, combine(parts), owner.as_ref())?;
                }
            }
        }
        Ok(first)
    }

    /// The moment of a record: its own `updated_at`, else when the message came.
    pub(super) fn moment(&self, fields: &Fields) -> Moment {
        let at = fields
            .get("updated_at")
            .and_then(Value::as_str)
            .and_then(|text| when::instant(text, &self.source.zone))
            .map_or(self.received_at, jiff::Timestamp::as_microsecond);
        Moment { at, arrival: self.message }
    }

    fn visit(&self, patch: &Fields, owner: Option<&Owner>) -> Result<(), Trouble> {
        let source = &self.source.name;
        let Some(number) = patch.get("number").and_then(Value::as_str) else {
            return Err(Trouble::content(
                ErrorCode::RequiredFieldMissing,
                Location::field("PV1", 19),
                "the mapping gives a visit without a number: mark `number` in [visit] as required = \"skip\" or fill it",
            ));
        };
        let known = clinical::visit(self.transaction, source, number)?;
        let owner = match (owner, &known) {
            (Some(owner), _) => owner.clone(),
            (None, Some(visit)) => self.owner_of(visit.record)?,
            (None, None) => return Err(no_patient()),
        };
        let mut patch = patch.clone();
        if let Some(facility) = &self.source.facility {
            patch.entry("facility").or_insert_with(|| json!(facility));
        }
        let moment = self.moment(&patch);
        let (mut state, version, before) = match &known {
            Some(visit) => (visit.state.clone(), visit.version, Some(visit.record)),
            None => (VisitState::default(), 0, None),
        };
        let Applied { record, mut changed, happenings } = state.apply(patch, moment);
        let mut happenings: Vec<(EventKind, Option<Published>)> =
            happenings.into_iter().map(|happening| (happening.kind, happening.reverses)).collect();
        if let Some(before) = before
            && before != owner.record
            && self.owner_of(before)?.one_id != owner.one_id
        {
            changed.push("one_id".to_owned());
            changed.sort();
            if happenings.is_empty() {
                happenings.push((EventKind::VisitUpdated, None));
            }
        }
        let visit_id = clinical::visit_id(source, number);
        let mut version = version;
        for (kind, reverses) in happenings {
            version += 1;
            let mut data = record.clone();
            data.insert("visit_id".into(), json!(visit_id));
            data.insert("source".into(), json!(source));
            if let Some(reverses) = &reverses {
                data.insert("reverses".into(), json!({"type": reverses.kind.name(), "id": reverses.id}));
            }
            let id = self.publish(kind, &visit_id, &owner.one_id, moment, version, &changed, data, self.cause)?;
            state.remember(moment.arrival, Published { kind, id });
        }
        let visit = Visit { source: source.clone(), number: number.to_owned(), record: owner.record, version, state };
        Ok(clinical::put_visit(self.transaction, &visit)?)
    }

    fn lab_report(&self, number: Option<String>, patch: Fields, owner: Option<&Owner>) -> Result<(), Trouble> {
        let source = &self.source.name;
        let Some(number) = number else {
            return Err(Trouble::content(
                ErrorCode::RequiredFieldMissing,
                Location::field("OBR", 3),
                "a report needs a filler number (OBR-3), or a placer number with OBR-4, or a visit number with OBR-4 and OBR-7",
            ));
        };
        let known = clinical::lab_report(self.transaction, source, &number)?;
        let owner = match (owner, &known) {
            (Some(owner), _) => owner.clone(),
            (None, Some(report)) => self.owner_of(report.record)?,
            (None, None) => self.owner_of_visit(&patch)?.ok_or_else(no_patient)?,
        };
        let moment = self.moment(&patch);
        let (mut state, mut version, before) = match &known {
            Some(report) => (report.state.clone(), report.version, Some(report.record)),
            None => (LabReportState::default(), 0, None),
        };
        let Applied { mut record, mut changed, happenings } = state.apply(patch, moment);
        let visit_id = state
            .visit_number()
            .map(|number| clinical::visit_id(state.visit_source().unwrap_or(source), number));
        if known.as_ref().is_some_and(|report| report.visit_id != visit_id) {
            changed.push("visit_id".to_owned());
        }
        if let Some(before) = before
            && before != owner.record
            && self.owner_of(before)?.one_id != owner.one_id
        {
            changed.push("one_id".to_owned());
        }
        changed.sort();
        let mut kinds: Vec<EventKind> = happenings.into_iter().map(|happening| happening.kind).collect();
        if kinds.is_empty() && !changed.is_empty() {
            kinds.push(state.present_event());
        }
        let report_id = clinical::report_id(source, &number);
        if let Some(visit_id) = &visit_id {
            record.insert("visit_id".into(), json!(visit_id));
        }
        record.insert("report_id".into(), json!(report_id));
        record.insert("source".into(), json!(source));
        for kind in kinds {
            version += 1;
            self.publish(kind, &report_id, &owner.one_id, moment, version, &changed, record.clone(), self.cause)?;
        }
        let report = LabReport { source: source.clone(), number, record: owner.record, visit_id, version, state };
        Ok(clinical::put_lab_report(self.transaction, &report)?)
    }

    /// The owner of the visit that a report without a patient names.
    fn owner_of_visit(&self, patch: &Fields) -> Result<Option<Owner>, Trouble> {
        let text = |name: &str| patch.get(name).and_then(Value::as_str);
        let Some(number) = text("visit_number") else { return Ok(None) };
        let source = text("visit_source").unwrap_or(&self.source.name);
        match clinical::visit(self.transaction, source, number)? {
            Some(visit) => self.owner_of(visit.record).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn owner_of(&self, record: i64) -> Result<Owner, Trouble> {
        let one_id = records::get(self.transaction, record)?.one_id;
        Ok(Owner { record, one_id })
    }

    /// Appends one event and gives its id.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn publish(
        &self,
        kind: EventKind,
        record: &str,
        one_id: &str,
        moment: Moment,
        version: u64,
        changed: &[String],
        mut data: Fields,
        cause: Cause,
    ) -> Result<String, Trouble> {
        data.insert("one_id".into(), json!(one_id));
        data.insert("version".into(), json!(version));
        data.insert("changed".into(), json!(changed));
        data.insert("cause".into(), json!(cause.name()));
        let id = event_id(moment.at / 1_000, kind, record, self.digest.bytes());
        let time = jiff::Timestamp::from_microsecond(moment.at).unwrap_or_default();
        let event = NewEvent {
            id: id.clone(),
            kind,
            subject: one_id.to_owned(),
            time: when::written(time, &self.source.zone),
            source: self.source.name.clone(),
            data,
        };
        events::append(self.transaction, &event, Some(self.message), self.received_at)?;
        Ok(id)
    }
}

fn no_patient() -> Trouble {
    Trouble::content(
        ErrorCode::UnknownKeyIdentifier,
        Location::field("PID", 3),
        "the message names no patient: PID-3 is empty, and no known visit leads to one",
    )
}

/// The number of a report within its source: filler number, else placer number and panel, else visit, panel and collection time.
fn report_number(patch: &Fields) -> Option<String> {
    let text = |name: &str| patch.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let panel = || patch.get("panel").and_then(|panel| panel.get("code")).and_then(Value::as_str);
    if let Some(filler) = text("filler_order_number") {
        return Some(filler.to_owned());
    }
    match (text("placer_order_number"), text("visit_number"), text("collected_at")) {
        (Some(placer), _, _) => Some(format!("{placer}/{}", panel()?)),
        (None, Some(visit), Some(collected)) => Some(format!("{visit}/{}/{collected}", panel()?)),
        _ => None,
    }
}
