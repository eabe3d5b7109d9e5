//! The records of one message, applied: patients to persons, visits and reports to patients, differences to events.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::tz::TimeZone;

use super::consent::keep_strictest;
use super::life::Conflict;
use super::merge::Action;
use super::renumber::VisitAction;
use super::telling::Statement;
use super::{Failure, Site};
use crate::feed::{EventKind, NewEvent, event_id};
use crate::hl7v2::{ErrorCode, Location};
use crate::mapping::MappedRecord;
use crate::record::{Fields, Kind, RecordNumber, Value, json, when};
use crate::state::{Applied, Happening, LabReportState, Moment, Published, VisitState, changed, combine};
use crate::store::clinical::{self, LabReport, Visit, published_id};
use crate::store::messages::ContentDigest;
use crate::store::records::PatientRecord;
use crate::store::{StoreError, Transaction, events, records};
use crate::view::{self, stored, to_stored};

/// How far a sender's clock may be ahead: a day covers a wrong zone. Microseconds.
pub(super) const CLOCK_AHEAD: i64 = 86_400_000_000;

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
        Self::Content(Failure { code, location: Some(location.into()), text: text.into() })
    }

    /// For what is done of our own accord: no message says it, so that none can be at fault, and it is a defect.
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Content(Failure { text, .. }) => StoreError::Defect { reason: text },
        }
    }
}

/// What made an event: its `data.cause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A message that a source sent.
    Message,
    /// A message that was read from a file of the past.
    Import,
    /// What a server had when it was asked.
    Poll,
    /// A message that had failed before.
    Retry,
    /// A merge that moved the record to another One ID.
    Merge,
    /// A record that became a person of its own and took the record along.
    Split,
    /// Somebody's decision.
    Manual,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Import => "import",
            Self::Poll => "poll",
            Self::Retry => "retry",
            Self::Merge => "merge",
            Self::Split => "split",
            Self::Manual => "manual",
        }
    }
}

/// One message, or one decision, inside the writer.
pub(super) struct Job<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    /// The name of the source that says it.
    pub(super) source: &'a str,
    /// Zone of its times without an offset.
    pub(super) zone: &'a TimeZone,
    pub(super) site: &'a Site,
    /// Version of the mapping that says it; empty where somebody decides by hand.
    pub(super) mapping: &'a str,
    pub(super) digest: ContentDigest,
    /// The message's number: its arrival. `None` where somebody decides by hand.
    pub(super) message: Option<i64>,
    /// When it came.
    pub(super) received_at: i64,
    /// When this is done; later than `received_at` for a retry.
    pub(super) now: i64,
    pub(super) cause: Cause,
    /// What somebody should know of what was done; kept with the message. Holds no patient's value.
    pub(super) notes: RefCell<Vec<String>>,
    /// What somebody should look at although the message is refused.
    pub(super) refused: RefCell<Vec<(Conflict, (i64, i64))>>,
    /// Where what is said is all that there is to say of its records.
    pub(super) statement: Option<Statement>,
}

/// The source of what somebody decides or asks for: `heyi/manual`.
pub(super) const BY_HAND: &str = "manual";

impl<'a> Job<'a> {
    /// What somebody has done, and no message says. `said` is what it comes of, with its time: event ids are made of it, so that two
    /// words of one moment are two.
    pub(super) fn by_hand(
        transaction: &'a Transaction<'a>,
        site: &'a Site,
        zone: &'a TimeZone,
        said: &str,
        now: i64,
    ) -> Self {
        Self {
            transaction,
            source: BY_HAND,
            zone,
            site,
            mapping: "",
            digest: ContentDigest::of(said.as_bytes()),
            message: None,
            received_at: now,
            now,
            cause: Cause::Manual,
            notes: RefCell::default(),
            refused: RefCell::default(),
            statement: None,
        }
    }
}

/// What a message about a patient means for whose a visit or report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The same person's as before, and this record's from now on.
    Same,
    /// The same person's, and the record's that it was: something newer has said so of another record of the person.
    Kept,
    /// This patient's from now on: the message is newer than all that was said.
    Moved,
    /// Another person's: something newer has said so.
    Late,
}

/// How much a resource says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All that there is to say.
    Whole,
    /// It adds to another source's record and takes nothing away.
    Part,
}

/// What an event is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) kind: EventKind,
    /// The id of the record that changed.
    pub(super) record: &'a str,
    pub(super) one_id: &'a str,
    pub(super) moment: Moment,
    /// Its version after the change.
    pub(super) version: u64,
}

/// The patient whose visits and reports follow.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    /// Row of the source record.
    pub(super) record: i64,
    /// Its own number.
    pub(super) number: RecordNumber,
    pub(super) one_id: String,
}

impl Job<'_> {
    /// Does what a message or a unit of resources says, and gives the One ID that it is about.
    pub(super) fn carry_out(&self, mapped: Vec<MappedRecord>) -> Result<Option<String>, Trouble> {
        match &self.statement {
            Some(statement) => self.tell(statement, mapped),
            None => self.apply(mapped, None),
        }
    }

    /// Applies all records and gives the One ID of the first patient. `owner`: whose they are, where they do not say it themselves.
    pub(super) fn apply(&self, mut mapped: Vec<MappedRecord>, owner: Option<Owner>) -> Result<Option<String>, Trouble> {
        keep_strictest(&mut mapped);
        let mut first = owner.as_ref().map(|owner| owner.one_id.clone());
        let mut owner = owner;
        let mut patient = 0;
        // What is about visits waits for their patient; what is about two patients, for both.
        let mut of_visits: Vec<(VisitAction, Fields)> = Vec::new();
        let mut of_patients: Vec<(Action, Fields)> = Vec::new();
        let visits = self.visits_named(&mapped)?;
        for (record, parts) in together(mapped) {
            if record.patient != patient {
                self.renumber(&mut of_visits, owner.as_ref())?;
                // A patient that was left out must not leave what is its own to the one before.
                owner = None;
                patient = record.patient;
            }
            match record.kind {
                Kind::Patient => {
                    owner = self.patient(record.fields, visits.get(&patient).copied())?;
                    first = first.or_else(|| owner.as_ref().map(|owner| owner.one_id.clone()));
                }
                Kind::Merge => match Action::of(&record.fields) {
                    action @ (Action::Merge | Action::Rename) => {
                        if let Some(remaining) = self.give_way(&record.fields)? {
                            first = Some(remaining.one_id.clone());
                            owner = Some(remaining);
                            continue;
                        }
                        let survivor = self.merge_by_number(&record.fields, action)?;
                        self.remember_retired(&record.fields)?;
                        // Of a resource that gave way to another one nothing else is said; what names it is the other one's.
                        if owner.is_none() && self.statement.is_some() {
                            owner = survivor;
                        }
                    }
                    Action::Move => self.move_numbers(&record.fields)?,
                    Action::Deactivate => self.deactivate(&record.fields)?,
                    action @ (Action::Link | Action::Unlink) => of_patients.push((action, record.fields)),
                    Action::Visit(action) => of_visits.push((action, record.fields)),
                },
                Kind::Consent => {
                    let owner = owner.as_ref().ok_or_else(no_patient)?;
                    self.hear_consent(&record.fields, owner)?;
                }
                Kind::Visit => {
                    self.renumber(&mut of_visits, owner.as_ref())?;
                    self.visit(record.fields, owner.as_ref())?;
                }
                Kind::LabReport => {
                    let number = report_number(&record.fields, owner.as_ref().map(|owner| &owner.number));
                    let parts = std::iter::once(record.fields).chain(parts).collect();
                    self.lab_report(number, combine(parts), owner.as_ref())?;
                }
            }
        }
        self.renumber(&mut of_visits, owner.as_ref())?;
        if let Some((action, _)) = of_patients.first() {
            let (action, patients) = (*action, of_patients.into_iter().map(|(_, fields)| fields).collect::<Vec<_>>());
            self.link_patients(&patients, action)?;
            // Whoever was first may be another person now.
            if let Some(owner) = &owner {
                first = Some(self.owner_of(owner.record)?.one_id);
            }
        }
        Ok(first)
    }

    /// The moment of a record: its own `updated_at`, else when the message came. A time far ahead is a wrong clock, and would
    /// outrank everything that comes in the years up to it.
    pub(super) fn moment(&self, fields: &Fields) -> Moment {
        self.moment_of(Kind::Visit, fields)
    }

    /// [`Job::moment`] for a record of a kind: of a whole statement, never before what the last one said.
    pub(super) fn moment_of(&self, kind: Kind, fields: &Fields) -> Moment {
        let said = fields
            .get("updated_at")
            .and_then(Value::as_str)
            .and_then(|text| when::instant(text, self.zone))
            .map_or(self.received_at, jiff::Timestamp::as_microsecond);
        let at = self
            .statement
            .as_ref()
            .and_then(|statement| statement.not_before(kind))
            .map_or(said, |last| said.max(last));
        Moment { at: at.min(self.received_at.saturating_add(CLOCK_AHEAD)), arrival: self.message.unwrap_or_default() }
    }

    /// The source whose visits or reports bear numbers of an authority: its owner, where the authority has one. So what two sources
    /// say of one visit comes together where they name it by the same authority.
    fn source_of(&self, patch: &mut Fields, system: &str) -> &str {
        let system = patch.remove(system);
        let owner = system.as_ref().and_then(Value::as_str).and_then(|system| self.site.owners.get(system));
        owner.map_or(self.source, String::as_str)
    }

    fn visit(&self, mut patch: Fields, owner: Option<&Owner>) -> Result<(), Trouble> {
        let source = self.source_of(&mut patch, "number_system");
        let Some(number) = patch.get("number").and_then(Value::as_str).map(str::to_owned) else {
            return Err(Trouble::content(
                ErrorCode::RequiredFieldMissing,
                Location::field("PV1", 19),
                "the mapping gives a visit without a number: mark `number` in [visit] as required = \"skip\" or fill it",
            ));
        };
        let number = clinical::visit_number_now(self.transaction, source, &number)?;
        patch.insert("number", Value::from(number.as_str()));
        let known = clinical::visit(self.transaction, source, &number)?;
        let owner = match (owner, &known) {
            (Some(owner), _) => owner.clone(),
            (None, Some(visit)) => self.owner_of(visit.record)?,
            (None, None) => return Err(no_patient()),
        };
        if let Some(visit) = known.as_ref().filter(|visit| visit.source != self.source) {
            self.same_person(visit.record, &owner, "visit")?;
        }
        let moment = self.moment(&patch);
        let mut visit = match known {
            Some(visit) => visit,
            None => Visit {
                source: source.to_owned(),
                number,
                record: owner.record,
                version: 0,
                mapping: String::new(),
                state: String::new(),
            },
        };
        let mut state: VisitState = stored(&visit.state, "visit.state")?;
        let claim = self.claim(visit.record, &owner, || state.record(), moment)?;
        // A late message says what was once thought of the visit: it fills in as any other, and the visit stays whose it is now.
        let owner = if matches!(claim, Claim::Kept | Claim::Late) { self.owner_of(visit.record)? } else { owner };
        let moved = claim == Claim::Moved;
        visit.record = owner.record;
        let applied = match self.statement_of(Kind::Visit, &visit.visit_id(), moment) {
            Some(Extent::Whole) => state.apply_whole(patch, moment),
            Some(Extent::Part) => {
                patch.retain(|_, value| !value.is_null());
                state.apply(patch, moment)
            }
            None => state.apply(patch, moment),
        };
        let Applied { record, mut changed, mut happenings, .. } = applied;
        if moved {
            changed.push("one_id".to_owned());
            changed.sort_unstable();
            if happenings.is_empty() {
                happenings.push(Happening { kind: EventKind::VisitUpdated, reverses: None });
            }
        }
        let applied = Applied { before: Fields::new(), record, changed, happenings };
        self.keep_visit(visit, state, applied, &owner.one_id, moment)
    }

    /// Publishes what happened to a visit and stores it.
    pub(super) fn keep_visit(
        &self,
        mut visit: Visit,
        mut state: VisitState,
        applied: Applied,
        one_id: &str,
        moment: Moment,
    ) -> Result<(), Trouble> {
        let visit_id = visit.visit_id();
        for Happening { kind, reverses } in applied.happenings {
            visit.version += 1;
            let mut data = view::visit_record(applied.record.clone(), &visit, one_id);
            if let Some(reverses) = &reverses {
                data.insert("reverses", json!({"type": reverses.kind.name(), "id": reverses.id}));
            }
            let about = About { kind, record: &visit_id, one_id, moment, version: visit.version };
            let id = self.publish(about, &applied.changed, data, self.cause)?;
            state.remember(moment.arrival, Published { kind, id });
        }
        visit.mapping.replace_range(.., self.mapping);
        visit.state = to_stored(&state)?;
        Ok(clinical::put_visit(self.transaction, &visit)?)
    }

    /// Whose a visit or report of the record `known` is after a message about `owner`, `said` being what was said of it so far.
    pub(super) fn claim(
        &self,
        known: i64,
        owner: &Owner,
        said: impl FnOnce() -> Fields,
        moment: Moment,
    ) -> Result<Claim, Trouble> {
        if known == owner.record {
            return Ok(Claim::Same);
        }
        let is_late = moment.at < self.moment(&said()).at;
        Ok(match (self.owner_of(known)?.one_id == owner.one_id, is_late) {
            (true, false) => Claim::Same,
            (true, true) => Claim::Kept,
            (false, false) => Claim::Moved,
            (false, true) => Claim::Late,
        })
    }

    /// Refuses what a source says of another source's visit or report where the two mean different persons: whose it is, its own source
    /// says.
    fn same_person(&self, record: i64, owner: &Owner, what: &str) -> Result<(), Trouble> {
        if self.owner_of(record)?.one_id == owner.one_id {
            return Ok(());
        }
        let text = format!(
            "the {what} is known from the source that owns its number, as another patient's: link the two patients, or correct the number"
        );
        Err(Trouble::Content(Failure { code: ErrorCode::DuplicateKeyIdentifier, location: None, text }))
    }

    /// Remembers what a resource was told as, and says how much of the record `id` that is. `None`: a message says what it says.
    fn statement_of(&self, kind: Kind, id: &str, moment: Moment) -> Option<Extent> {
        self.statement.as_ref()?.remember(kind, id, moment);
        let is_own = id.strip_prefix(self.source).is_some_and(|rest| rest.starts_with(':'));
        Some(if is_own { Extent::Whole } else { Extent::Part })
    }

    fn lab_report(&self, number: Option<String>, mut patch: Fields, owner: Option<&Owner>) -> Result<(), Trouble> {
        let source = self.source_of(&mut patch, "number_system");
        if let Some(visits) =
            patch.get("visit_system").and_then(Value::as_str).and_then(|system| self.site.owners.get(system))
        {
            patch.insert("visit_source", Value::from(visits.as_str()));
        }
        patch.remove("visit_system");
        let Some(number) = number else {
            return Err(Trouble::content(ErrorCode::RequiredFieldMissing, Location::field("OBR", 3), NO_REPORT_NUMBER));
        };
        let known = clinical::lab_report(self.transaction, source, &number)?;
        let owner = match (owner, &known) {
            (Some(owner), _) => owner.clone(),
            (None, Some(report)) => self.owner_of(report.record)?,
            (None, None) => self.owner_of_visit(&patch)?.ok_or_else(no_patient)?,
        };
        if let Some(report) = known.as_ref().filter(|report| report.source != self.source) {
            self.same_person(report.record, &owner, "report")?;
        }
        let moment = self.moment(&patch);
        let mut report = match known {
            Some(report) => report,
            None => LabReport {
                source: source.to_owned(),
                number,
                record: owner.record,
                visit_id: None,
                version: 0,
                mapping: String::new(),
                state: String::new(),
            },
        };
        let mut state: LabReportState = stored(&report.state, "lab_report.state")?;
        let claim = self.claim(report.record, &owner, || state.record(), moment)?;
        if claim == Claim::Late {
            return Err(Trouble::content(
                ErrorCode::DuplicateKeyIdentifier,
                Location::field("OBR", 3),
                "the report number belongs to another patient by a newer message: nothing was changed, correct the sender",
            ));
        }
        let moved = claim == Claim::Moved;
        let former = if moved {
            // Laboratories count filler numbers anew each day: another patient's report of the number holds none of the results.
            let former = std::mem::take(&mut state);
            self.withdraw(&mut report, &former, moment)?;
            Some(former.record())
        } else {
            None
        };
        if claim != Claim::Kept {
            report.record = owner.record;
        }
        let applied = match self.statement_of(Kind::LabReport, &report.report_id(), moment) {
            Some(Extent::Whole) => state.apply_whole(patch, moment),
            Some(Extent::Part) => {
                patch.retain(|_, value| !value.is_null());
                state.apply(patch, moment)
            }
            None => state.apply(patch, moment),
        };
        let Applied { record, changed: by_message, happenings, .. } = applied;
        let mut changed = former.map_or(by_message, |former| changed(&former, &record));
        let visit_id = match state.visit_number() {
            Some(number) => {
                let of = state.visit_source().unwrap_or(self.source);
                Some(published_id(of, &clinical::visit_number_now(self.transaction, of, number)?))
            }
            None => None,
        };
        if report.visit_id != visit_id {
            changed.push("visit_id".to_owned());
            report.visit_id = visit_id;
        }
        if moved {
            changed.push("one_id".to_owned());
        }
        changed.sort_unstable();
        let kinds = happenings.into_iter().map(|happening| happening.kind);
        self.keep_lab_report(report, &state, (record, changed), kinds, &owner.one_id, moment)
    }

    /// Publishes what happened to a report and stores it. What changed without an event of its own is told by the one of its status.
    pub(super) fn keep_lab_report(
        &self,
        mut report: LabReport,
        state: &LabReportState,
        (record, changed): (Fields, Vec<String>),
        kinds: impl Iterator<Item = EventKind>,
        one_id: &str,
        moment: Moment,
    ) -> Result<(), Trouble> {
        let mut kinds: Vec<EventKind> = kinds.collect();
        if kinds.is_empty() && !changed.is_empty() {
            kinds.push(state.event());
        }
        let report_id = report.report_id();
        for kind in kinds {
            report.version += 1;
            let data = view::lab_report_record(record.clone(), &report, one_id);
            let about = About { kind, record: &report_id, one_id, moment, version: report.version };
            self.publish(about, &changed, data, self.cause)?;
        }
        report.mapping.replace_range(.., self.mapping);
        report.state = to_stored(state)?;
        Ok(clinical::put_lab_report(self.transaction, &report)?)
    }

    /// Tells those who follow the patient of `report` that it is theirs no more: its number stands for another patient's from now on.
    /// One that was void before needs no telling.
    fn withdraw(&self, report: &mut LabReport, state: &LabReportState, moment: Moment) -> Result<(), Trouble> {
        if state.event() == EventKind::LabCancelled {
            return Ok(());
        }
        let former = self.owner_of(report.record)?.one_id;
        let before = state.record();
        let mut withdrawn = before.clone();
        withdrawn.insert("status", Value::from("entered_in_error"));
        // As of every void report.
        withdrawn.remove("abnormal");
        withdrawn.remove("critical");
        let changed = changed(&before, &withdrawn);
        report.version += 1;
        let data = view::lab_report_record(withdrawn, report, &former);
        let report_id = report.report_id();
        let about = About {
            kind: EventKind::LabCancelled,
            record: &report_id,
            one_id: &former,
            moment,
            version: report.version,
        };
        self.publish(about, &changed, data, self.cause)?;
        Ok(())
    }

    /// The owner of the visit that a report without a patient names.
    fn owner_of_visit(&self, patch: &Fields) -> Result<Option<Owner>, Trouble> {
        let text = |name: &str| patch.get(name).and_then(Value::as_str);
        let Some(number) = text("visit_number") else { return Ok(None) };
        let owner = text("visit_system").and_then(|system| self.site.owners.get(system));
        let source = owner.map(String::as_str).or(text("visit_source")).unwrap_or(self.source);
        let number = clinical::visit_number_now(self.transaction, source, number)?;
        match clinical::visit(self.transaction, source, &number)? {
            Some(visit) => self.owner_of(visit.record).map(Some),
            None => Ok(None),
        }
    }

    /// The record whose visit the reports of a patient name, by the patient's place in the message: a laboratory that sends no more than a
    /// name sends the visit as well.
    fn visits_named(&self, mapped: &[MappedRecord]) -> Result<BTreeMap<usize, i64>, Trouble> {
        let mut visits = BTreeMap::new();
        for report in mapped.iter().filter(|record| record.kind == Kind::LabReport) {
            if let Some(owner) = self.owner_of_visit(&report.fields)? {
                visits.entry(report.patient).or_insert(owner.record);
            }
        }
        Ok(visits)
    }

    /// The record of this number, which is known to exist.
    pub(super) fn record(&self, id: i64) -> Result<PatientRecord, Trouble> {
        Ok(records::get(self.transaction, id)?.ok_or(StoreError::Damaged { what: "patient_record" })?)
    }

    pub(super) fn owner_of(&self, record: i64) -> Result<Owner, Trouble> {
        let row = self.record(record)?;
        Ok(Owner { record, number: row.number, one_id: row.one_id })
    }

    /// Appends one event and gives its id. `data` is the record after the change, as [`view`] shows it.
    pub(super) fn publish(
        &self,
        about: About<'_>,
        changed: &[String],
        mut data: Fields,
        cause: Cause,
    ) -> Result<String, Trouble> {
        let About { kind, record, one_id, moment, version } = about;
        data.insert("changed", changed.iter().map(|name| Value::from(name.as_str())).collect());
        data.insert("cause", cause.name().into());
        let (record, epoch) = (format!("{record}#{version}"), events::epoch(self.transaction)?);
        let id = event_id(moment.at.div_euclid(1_000), kind, &record, self.digest.bytes(), epoch);
        let time = jiff::Timestamp::from_microsecond(moment.at).unwrap_or_default();
        let event = NewEvent {
            id: id.clone(),
            kind,
            subject: one_id.to_owned(),
            time: when::written(time, self.zone),
            source: self.source.to_owned(),
            data,
        };
        events::append(self.transaction, &event, self.message, self.now)?;
        Ok(id)
    }
}

pub(super) fn no_patient() -> Trouble {
    Trouble::content(
        ErrorCode::UnknownKeyIdentifier,
        Location::field("PID", 3),
        "the message names no patient: PID-3 is empty, and no known visit leads to one",
    )
}

/// The records in their order; a report with all later records of the same patient and number, of which it is one: a message may
/// spread one report over several OBR, next to each other or not.
fn together(mapped: Vec<MappedRecord>) -> Vec<(MappedRecord, Vec<Fields>)> {
    let mut together: Vec<(MappedRecord, Vec<Fields>)> = Vec::with_capacity(mapped.len());
    let mut places: BTreeMap<(usize, String), usize> = BTreeMap::new();
    for record in mapped {
        let number = (record.kind == Kind::LabReport).then(|| report_number(&record.fields, None)).flatten();
        let Some(number) = number else {
            together.push((record, Vec::new()));
            continue;
        };
        match places.entry((record.patient, number)) {
            Entry::Occupied(place) => together[*place.get()].1.push(record.fields),
            Entry::Vacant(place) => {
                place.insert(together.len());
                together.push((record, Vec::new()));
            }
        }
    }
    together
}

/// Why a report cannot be kept for want of a number.
pub(super) const NO_REPORT_NUMBER: &str =
    "a report needs a filler number (OBR-3), or a placer number (OBR-2) with OBR-4, or a collection time (OBR-7)";

/// The number of a report within its source: filler number, else placer number and panel, else visit, panel and collection
/// time, else the patient's own number in place of the visit's (vital signs often come with nothing more).
pub(super) fn report_number(patch: &Fields, patient: Option<&RecordNumber>) -> Option<String> {
    let text = |name: &str| patch.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(filler) = text("filler_order_number") {
        return Some(filler.to_owned());
    }
    let panel = patch.get("panel").and_then(|panel| panel.get("code")).and_then(Value::as_str).unwrap_or_default();
    if let Some(placer) = text("placer_order_number").filter(|_| !panel.is_empty()) {
        return Some(format!("{placer}/{panel}"));
    }
    let collected = text("collected_at")?;
    match (text("visit_number"), patient) {
        (Some(visit), _) => Some(format!("{visit}/{panel}/{collected}")),
        (None, Some(patient)) => Some(format!("{}/{panel}/{collected}", patient.value)),
        (None, None) => None,
    }
}
