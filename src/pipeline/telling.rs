//! Records of a FHIR server's resources: whole statements, each of which is all that there is to say of its record.
//!
//! What a resource was last told as is remembered with it: a Patient's own record, which no other Patient of the same number changes, and a
//! visit's or report's number. So a record whose number has changed at the server is withdrawn under the old
//! number, a resource that is gone withdraws its record, and whatever clock a server has, what it says later is never
//! taken for older than what it said before. A merge that the server took back is undone by looking again at whose the records are.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::apply::{CLOCK_AHEAD, Cause, Job, Owner, Trouble};
use super::giving_way::successors;
use super::merge::{retired, survivors};
use super::patient::{name_authorities, record_number};
use crate::identity::PatientFacts;
use crate::mapping::MappedRecord;
use crate::record::{Fields, Kind, RecordNumber, Value};
use crate::state::{Applied, LabReportState, Moment};
use crate::store::clinical;
use crate::store::consents::ConsentName;
use crate::store::records;
use crate::store::records::PatientRecord;
use crate::store::resources::{self, Mark, Resource, ResourceName, ResourceState, Told};
use crate::store::{Reader, StoreError};
use crate::view::stored;

/// What a unit of resources is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The resource whose record it is.
    pub focal: ResourceName,
    /// The Patient that it carries.
    pub patient: Option<ResourceName>,
    /// The record is no more: its resource was deleted, or is a part of another record now.
    pub is_gone: bool,
}

/// A whole statement in work.
#[derive(Debug)]
pub(super) struct Statement {
    subject: Subject,
    /// What is known of the focal resource. `None`: its source has been read anew since the message was kept.
    focal: Option<Resource>,
    /// The same of the unit's Patient.
    patient: Option<Resource>,
    /// What was told now.
    told: RefCell<Vec<Remembered>>,
    /// The Consents that it holds.
    consents: RefCell<BTreeSet<ConsentName>>,
}

/// What a record was told as just now.
#[derive(Debug, Clone)]
struct Remembered {
    kind: Kind,
    number: String,
    /// The row of a patient's record.
    record: Option<i64>,
    at: i64,
}

impl Statement {
    /// Of a unit, with what is known of its resources.
    pub(super) fn of(reader: &Reader<'_>, source: &str, subject: Subject) -> Result<Self, StoreError> {
        let focal = resources::get(reader, source, &subject.focal)?;
        let patient = subject.patient.as_ref().map(|name| resources::get(reader, source, name)).transpose()?.flatten();
        Ok(Self { subject, focal, patient, told: RefCell::default(), consents: RefCell::default() })
    }

    /// The earliest source time that a record of `kind` can have now.
    pub(super) fn not_before(&self, kind: Kind) -> Option<i64> {
        let resource = if kind == Kind::Patient { &self.patient } else { &self.focal };
        resource.as_ref()?.told_at
    }

    /// The Patient that it is about, and the record that this one was told as before.
    pub(super) fn own_record(&self) -> Option<(i64, Option<i64>)> {
        self.patient.as_ref().map(|patient| (patient.row, patient.record))
    }

    /// Remembers what a visit or report was told as.
    pub(super) fn remember(&self, kind: Kind, number: &str, moment: Moment) {
        let number = number.to_owned();
        self.told.borrow_mut().push(Remembered { kind, number, record: None, at: moment.at });
    }

    /// Remembers the record that a Patient was told as.
    pub(super) fn remember_patient(&self, record: &PatientRecord, moment: Moment) {
        let (number, record) = (record.number.to_string(), Some(record.id));
        self.told.borrow_mut().push(Remembered { kind: Kind::Patient, number, record, at: moment.at });
    }

    /// The Patient that the unit is about, if it is about nothing else.
    pub(super) fn focal_patient(&self) -> Option<&Resource> {
        self.patient.as_ref().filter(|_| self.subject.focal.kind == "Patient")
    }

    /// The record that the Patient was told as just now.
    pub(super) fn told_patient(&self) -> Option<i64> {
        self.last(&[Kind::Patient])?.record
    }

    /// Remembers that it holds a Consent.
    pub(super) fn remember_consent(&self, name: &ConsentName) {
        self.consents.borrow_mut().insert(name.clone());
    }

    /// What the last record of these kinds was told as.
    fn last(&self, kinds: &[Kind]) -> Option<Remembered> {
        let told = self.told.borrow();
        told.iter().rev().find(|told| kinds.contains(&told.kind)).cloned()
    }
}

impl Job<'_> {
    /// Applies the records of a unit, and withdraws what the resource was told as before and is no more.
    pub(super) fn tell(&self, statement: &Statement, mut mapped: Vec<MappedRecord>) -> Result<Option<String>, Trouble> {
        let Statement { subject, focal, patient, .. } = statement;
        let Some(focal) = focal else {
            self.note("the resource is not known any more: nothing to tell");
            return Ok(None);
        };
        let is_present = focal.state == ResourceState::Present;
        if focal.told_by > self.message || (self.cause == Cause::Retry && is_present == subject.is_gone) {
            self.note("the resource was told anew since: nothing of this is said again");
            return Ok(None);
        }
        if subject.focal.kind == "Patient" && subject.is_gone {
            self.withdraw_patient(focal)?;
            // Nobody gives way to a Patient that is not there.
            let naming = resources::naming_of(self.transaction, focal.row, "Patient")?;
            naming.iter().try_for_each(|other| self.tell_again(other))?;
            return Ok(None);
        }
        let mut owner = None;
        let mut stays = true;
        if let Some(patient) = patient {
            if subject.focal.kind != "Patient" {
                owner = self.told_record(patient)?.map(|record| self.owner_now(record)).transpose()?;
            } else {
                if let Some(record) = self.told_record(patient)? {
                    stays = !self.take_back_merge(patient, &record, &mapped)?;
                }
                if let Some((number, said)) = self.number_now(&mapped) {
                    stays &= self.follow_number(patient, &number, said.as_ref())?;
                    // Whoever was this record before it may have given way, and be gone.
                    if let Some(record) = said.map(|said| self.record_meant(&number, &said)).transpose()?.flatten() {
                        self.take_back_merge(patient, &record, &mapped)?;
                    }
                }
            }
        }
        // What is about a patient who was told says nothing of the patient: that has a time of its own.
        if owner.is_some() {
            mapped.retain(|record| !matches!(record.kind, Kind::Patient | Kind::Merge | Kind::Consent));
        }
        // A Patient that gives way is somebody first: whose record that is its own words tell.
        if subject.focal.kind == "Patient" {
            mapped.sort_by_key(|record| record.kind == Kind::Merge);
        }
        let one_id = self.apply(mapped, owner)?;
        if let (Some(patient), Some(told)) = (patient, statement.last(&[Kind::Patient])) {
            stays &= patient.record.is_none_or(|former| told.record == Some(former));
            self.tell_as(patient, Some(&told), told.at)?;
        }
        if subject.focal.kind == "Patient" {
            if let Some((number, record)) =
                statement.last(&[Kind::Patient]).and_then(|told| Some((told.number, told.record?)))
            {
                if focal.number.as_ref() != Some(&number) || focal.record != Some(record) {
                    self.try_merges_again(&self.record(record)?.one_id)?;
                }
                self.close_moot(record)?;
                if let Some(former) = focal.record.filter(|former| *former != record) {
                    self.close_moot(former)?;
                }
                // Where nobody replaces it any more, another Patient of its record may be replaced by one alone.
                if successors(self.transaction, focal)?.is_empty() {
                    self.try_others_again(focal, record)?;
                }
                let moment = Moment { at: self.received_at, arrival: self.message.unwrap_or_default() };
                self.take_back_consents(&self.owner_of(record)?, &statement.consents.borrow(), moment)?;
            }
            // Another record is the patient's from now on: what is about the patient goes there.
            if !stays {
                self.remind_of_number(focal)?;
            }
            return Ok(one_id);
        }
        let now = statement.last(&[Kind::Visit, Kind::LabReport]);
        let number = now.as_ref().map(|now| now.number.as_str());
        let at = now.as_ref().map(|now| now.at).or(focal.updated_at).unwrap_or(self.received_at);
        self.tell_as(focal, now.as_ref(), at)?;
        if let Some(former) = focal.number.as_deref().filter(|former| number != Some(*former)) {
            self.withdraw_record(focal, former)?;
            self.remind_of_number(focal)?;
        }
        Ok(one_id)
    }

    fn tell_as(&self, resource: &Resource, told: Option<&Remembered>, at: i64) -> Result<(), Trouble> {
        let (number, record) = (told.map(|told| told.number.as_str()), told.and_then(|told| told.record));
        let told = Told { number, record, at, message: self.message };
        Ok(resources::told(self.transaction, resource.row, told)?)
    }

    /// The record that a Patient was told as, also where it has given way to another one since.
    pub(super) fn told_record(&self, patient: &Resource) -> Result<Option<PatientRecord>, Trouble> {
        match (patient.record, told_number(patient)) {
            (Some(row), _) => Ok(records::get(self.transaction, row)?),
            (None, Some(number)) => Ok(records::find(self.transaction, self.source, &number)?),
            (None, None) => Ok(None),
        }
    }

    /// Whose the visits and reports of a Patient are that was told as this record: through every merge, whatever else bears its number.
    fn owner_now(&self, record: PatientRecord) -> Result<Owner, Trouble> {
        let record = self.live(record)?;
        Ok(Owner { record: record.id, number: record.number, one_id: record.one_id })
    }

    /// A Patient that had given way to another one (`replaced-by`), and does so no longer: its record stands for itself again, and whose it is
    /// is found out as if the two had never been one. What people decided stays, and somebody is asked. `true`: it was taken back.
    fn take_back_merge(
        &self,
        patient: &Resource,
        record: &PatientRecord,
        mapped: &[MappedRecord],
    ) -> Result<bool, Trouble> {
        let Some(into) = record.merged_into else { return Ok(false) };
        let into = self.live(self.record(into)?)?;
        let merges: Vec<&MappedRecord> = mapped.iter().filter(|mapped| mapped.kind == Kind::Merge).collect();
        if !merges.is_empty() && self.record_ahead(patient, record.id)?.is_some_and(|ahead| ahead.id == into.id) {
            return Ok(false);
        }
        let mut survivors = merges.iter().flat_map(|merge| survivors(self.source, &merge.fields)).peekable();
        // One that gives way to somebody whom nobody knows says nothing.
        if survivors.peek().is_none() && !mapped.iter().any(|mapped| mapped.kind == Kind::Patient) {
            return Ok(false);
        }
        let by_number = merges.is_empty() || self.records_ahead(patient, Some(record.id))?.is_empty();
        for survivor in survivors.filter(|_| by_number) {
            if self.stands_for(&survivor)?.is_some_and(|survivor| survivor.record == into.id) {
                return Ok(false);
            }
        }
        if self.another_gives_way(patient, record.id, into.id)? {
            return Ok(false);
        }
        self.undo_merge_of(record, &into, self.withdrawn_at(patient))?;
        Ok(true)
    }

    /// Whether of several Patients that are one record another one gives way to the same record.
    fn another_gives_way(&self, patient: &Resource, record: i64, into: i64) -> Result<bool, Trouble> {
        for other in resources::told_as_record(self.transaction, record, patient.row)? {
            if self.record_ahead(&other, record)?.is_some_and(|ahead| ahead.id == into) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The moment at which a server withdrew something: never before it was told.
    fn withdrawn_at(&self, resource: &Resource) -> Moment {
        let latest = self.received_at.saturating_add(CLOCK_AHEAD);
        let at = resource.updated_at.map(|at| at.min(latest)).max(resource.told_at).unwrap_or(self.received_at);
        Moment { at, arrival: self.message.unwrap_or_default() }
    }

    /// The number that a Patient's unit gives it, and what it says of the person: nothing where it gave way to another one.
    fn number_now(&self, mapped: &[MappedRecord]) -> Option<(RecordNumber, Option<PatientFacts>)> {
        if let Some(patient) = mapped.iter().find(|record| record.kind == Kind::Patient) {
            let mut named = patient.fields.clone();
            name_authorities(self.source, &mut named);
            return Some((record_number(&named)?, Some(PatientFacts::of(&named))));
        }
        let merge = mapped.iter().find(|record| record.kind == Kind::Merge)?;
        Some((retired(self.source, &merge.fields)?, None))
    }

    /// The record that a Patient of this number, of whom this is `said`, is told as; `None`: it is a new one.
    fn record_meant(&self, number: &RecordNumber, said: &PatientFacts) -> Result<Option<PatientRecord>, Trouble> {
        let mut generations = records::generations(self.transaction, self.source, number)?;
        Ok(self.meant(&generations, said)?.map(|place| generations.swap_remove(place)))
    }

    /// A Patient that was told under another number is known by its new one from now on, unless that stands for the same person
    /// already.
    /// `false`: another record is the patient's now.
    fn follow_number(
        &self,
        patient: &Resource,
        number: &RecordNumber,
        said: Option<&PatientFacts>,
    ) -> Result<bool, Trouble> {
        let Some(record) = self.told_record(patient)? else { return Ok(patient.number.is_none()) };
        if *number == record.number {
            return Ok(true);
        }
        // Several Patients may be one record: what the others said stays where it is.
        if self.leaves_to_others(patient, &record)? {
            return Ok(false);
        }
        let others = records::generations(self.transaction, self.source, number)?;
        if let Some(said) = said
            && self.meant(&others, said)?.is_some()
        {
            self.withdraw_patient(patient)?;
            return Ok(false);
        }
        records::rename(self.transaction, record.id, number)?;
        if let Some(other) = others.first().filter(|_| said.is_some()) {
            self.part_by_number(&self.record(record.id)?, &others, other.id)?;
        }
        Ok(true)
    }

    /// Whether other resources were told as the same visit or report: those are told anew, for it is theirs alone now.
    fn is_told_by_another(&self, resource: &Resource, number: &str) -> Result<bool, Trouble> {
        self.tell_others_again(resource, resources::told_as_well(self.transaction, self.source, resource, number)?)
    }

    /// The same of a patient's record, which this Patient is no more. Where that one gave way because of this Patient alone, it does so no longer.
    fn leaves_to_others(&self, patient: &Resource, record: &PatientRecord) -> Result<bool, Trouble> {
        let others = resources::told_as_record(self.transaction, record.id, patient.row)?;
        if let Some(into) = record.merged_into.filter(|_| !others.is_empty()) {
            let into = self.live(self.record(into)?)?;
            if !self.another_gives_way(patient, record.id, into.id)? {
                self.undo_merge_of(record, &into, self.withdrawn_at(patient))?;
            }
        }
        self.tell_others_again(patient, others)
    }

    fn tell_others_again(&self, resource: &Resource, others: Vec<Resource>) -> Result<bool, Trouble> {
        let at = self.withdrawn_at(resource).at;
        for other in &others {
            // What is said of it now counts after all that the one that goes has said.
            resources::tell_after(self.transaction, other.row, at)?;
            self.tell_again(other)?;
        }
        Ok(!others.is_empty())
    }

    /// The server has the Patient no more.
    fn withdraw_patient(&self, patient: &Resource) -> Result<(), Trouble> {
        let Some(record) = self.told_record(patient)? else { return Ok(()) };
        if self.leaves_to_others(patient, &record)? {
            return self.close_moot(record.id);
        }
        let withdrawn = self.withdrawn_at(patient);
        let moment = Moment { at: withdrawn.at.max(record.updated_at), ..withdrawn };
        // Who gave way stays where it went: its numbers still mean that patient. Others that went along with it say for themselves whose they are.
        if let Some(into) = record.merged_into {
            let into = self.live(self.record(into)?)?;
            if self.brought_others(&record, &into)? {
                self.undo_merge_of(&record, &into, withdrawn)?;
            }
        }
        self.deactivate_record(&record, moment)?;
        // The record is remembered: should the Patient come back, and give way no longer, it is known whose merge is to be taken back.
        let told = Told { number: None, record: Some(record.id), at: moment.at, message: self.message };
        resources::told(self.transaction, patient.row, told)?;
        self.close_moot(record.id)
    }

    /// The visit or report that a resource was told as, by its id, is none of the server's any more. What it added to another source's
    /// stays: only that source knows whether there is such a visit.
    fn withdraw_record(&self, focal: &Resource, id: &str) -> Result<(), Trouble> {
        let Some(number) = id.strip_prefix(self.source).and_then(|rest| rest.strip_prefix(':')) else { return Ok(()) };
        if self.is_told_by_another(focal, id)? {
            return Ok(());
        }
        let moment = self.withdrawn_at(focal);
        if matches!(focal.name.kind.as_str(), "Encounter" | "Appointment") {
            let Some(visit) = clinical::visit(self.transaction, self.source, number)? else { return Ok(()) };
            let one_id = self.owner_of(visit.record)?.one_id;
            return self.void_visit(visit, &one_id, moment);
        }
        let Some(report) = clinical::lab_report(self.transaction, self.source, number)? else { return Ok(()) };
        let one_id = self.owner_of(report.record)?.one_id;
        let mut state: LabReportState = stored(&report.state, "lab_report.state")?;
        let Applied { record, changed, happenings, .. } =
            state.apply(Fields::from_iter([("status", Value::from("entered_in_error"))]), moment);
        let kinds = happenings.iter().map(|found| found.kind);
        self.keep_lab_report(report, &state, (record, changed), kinds, &one_id, moment)
    }

    /// What names a visit or a patient by a former number is told anew.
    fn remind_of_number(&self, focal: &Resource) -> Result<(), Trouble> {
        let naming = resources::naming(self.transaction, focal.row)?;
        naming.iter().filter(|other| other.state == ResourceState::Present).try_for_each(|other| self.tell_again(other))
    }

    /// Makes a resource due, if a record is made of its type.
    pub(super) fn tell_again(&self, resource: &Resource) -> Result<(), Trouble> {
        if let Some(rank) = super::mirror::rank(&resource.name.kind) {
            resources::mark_due(self.transaction, resource.row, rank, Mark::Anew, self.now)?;
        }
        Ok(())
    }
}

/// The number under which a Patient was told.
fn told_number(patient: &Resource) -> Option<RecordNumber> {
    patient.number.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests;
