//! A server's Patient that gives way to another one of the same server (`Patient.link` of type `replaced-by`).
//!
//! A server is the owner of the ids of its resources: that two of them are one patient is its word to say, also where their numbers belong to
//! different authorities, or one of them has none. What is merged is therefore the record of the one Patient with that of the other, and not
//! one number with another: a third Patient of the same number does not go along, and the numbers of two Patients that bear the same one are
//! no obstacle. What a server cannot say is that two numbers of an authority are one patient's which another source owns: there that one alone
//! merges, as by HL7 v2 (A40).
//!
//! Invariants
//! - Who gives way is told after whoever it gives way to, so that the order in which resources come makes no difference; those that give way to
//!   each other wait for nobody.
//! - A Patient that gives way no longer is told apart from the other one again, if it was before.

use std::collections::BTreeSet;

use super::apply::{Job, Owner, Trouble};
use super::life::{Conflict, Goal, with_merged};
use super::merge::{refused, retired as retired_number};
use super::patient::state_of;
use super::telling::Statement;
use crate::feed::EventKind;
use crate::fhir;
use crate::identity::{MergeRefusal, NumberLevel, PatientFacts, compare};
use crate::record::{Fields, RecordNumber, json};
use crate::state::Moment;
use crate::store::records::{LinkKind, PatientRecord};
use crate::store::resources::{self, Resource, ResourceState};
use crate::store::{Reader, StoreError, no_links, records};

/// The Patients that replace this one, in its own order, as far as the server has them.
pub(super) fn successors(reader: &Reader<'_>, patient: &Resource) -> Result<Vec<Resource>, StoreError> {
    let Some(body) = resources::body(reader, patient.row)? else { return Ok(Vec::new()) };
    let ids = fhir::replaced_by(&body);
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // What the mirror knows it names: a reference to another server is none of them.
    let named = resources::named_by(reader, patient.row)?;
    let of_id = |id: &String| {
        let mut named = named.iter();
        named.find(|other| other.name.kind == patient.name.kind && other.name.id == *id && other.row != patient.row)
    };
    let present = ids.iter().filter_map(of_id).filter(|other| other.state == ResourceState::Present);
    Ok(present.cloned().collect())
}

/// Whether a Patient gives way to one that is to be told first.
pub(super) fn waits(reader: &Reader<'_>, patient: &Resource) -> Result<bool, StoreError> {
    for next in due_successors(reader, patient)? {
        let mut reached = BTreeSet::from([next.row]);
        let mut open = vec![next];
        while let Some(next) = open.pop() {
            for further in due_successors(reader, &next)? {
                if reached.insert(further.row) {
                    open.push(further);
                }
            }
        }
        if !reached.contains(&patient.row) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn due_successors(reader: &Reader<'_>, patient: &Resource) -> Result<Vec<Resource>, StoreError> {
    let mut found = successors(reader, patient)?;
    found.retain(|other| other.is_due);
    Ok(found)
}

impl Job<'_> {
    /// The records of the Patients that replace this one, as they stand for the patient now.
    pub(super) fn records_ahead(&self, patient: &Resource) -> Result<Vec<PatientRecord>, Trouble> {
        let mut ahead: Vec<PatientRecord> = Vec::new();
        for other in successors(self.transaction, patient)? {
            let Some(record) = self.told_record(&other)? else { continue };
            let record = self.live(record)?;
            if ahead.iter().all(|known| known.id != record.id) {
                ahead.push(record);
            }
        }
        Ok(ahead)
    }

    /// Merges the record of the Patient in work with that of the Patient that replaces it, and gives whose it is from now on. `None`: the
    /// message is not of such a Patient, or nobody knows the other one.
    pub(super) fn give_way(&self, fields: &Fields) -> Result<Option<Owner>, Trouble> {
        let Some((statement, patient)) = self.statement.as_ref().and_then(|told| Some((told, told.focal_patient()?)))
        else {
            return Ok(None);
        };
        let ahead = self.records_ahead(patient)?;
        let Some(survivor) = ahead.first() else { return Ok(None) };
        let moment = self.moment(fields);
        let basis = |retired: &RecordNumber| json!({"source": self.source, "survivor": survivor.number.to_string(), "retired": retired.to_string()});
        let retired = match self.record_in_work(statement, fields)? {
            Some(record) => record,
            None => {
                let Some(number) = retired_number(self.source, fields) else { return Ok(None) };
                self.stub(&number, Some(&survivor.one_id), &basis(&number), moment)?
            }
        };
        statement.remember_patient(&retired, moment);
        if retired.id != survivor.id {
            // Of two that both replace it, it can be only one's.
            if ahead.len() > 1 {
                return Err(refused(MergeRefusal::MergedElsewhere));
            }
            self.merge_records(survivor, &retired, basis(&retired.number), moment)?;
        }
        let record = self.live(self.record(retired.id)?)?;
        Ok(Some(Owner { record: record.id, number: record.number, one_id: record.one_id }))
    }

    /// The record of the Patient in work. Where its unit says nothing of the person (a mapping may leave that out), the one that it was told as,
    /// else the one of its number.
    fn record_in_work(&self, statement: &Statement, fields: &Fields) -> Result<Option<PatientRecord>, Trouble> {
        let told = statement.told_patient().or_else(|| statement.own_record().and_then(|(_, record)| record));
        match told {
            Some(row) => Ok(Some(self.record(row)?)),
            None => match retired_number(self.source, fields) {
                Some(number) => Ok(records::find(self.transaction, self.source, &number)?),
                None => Ok(None),
            },
        }
    }

    fn merge_records(
        &self,
        survivor: &PatientRecord,
        retired: &PatientRecord,
        basis: crate::record::Value,
        moment: Moment,
    ) -> Result<(), Trouble> {
        if retired.merged_into.is_some() {
            if self.live(retired.clone())?.id != survivor.id {
                return Err(refused(MergeRefusal::MergedElsewhere));
            }
            // Said again; a decision may have parted them meanwhile, or what was in the way may be gone.
            return self.heal(retired.clone(), &basis, moment);
        }
        self.may_say(survivor, retired)?;
        self.take_back_own_word(survivor, retired)?;
        if self.is_contested(survivor, retired)? {
            return Ok(());
        }
        let said = |record| state_of(record).map(|state| PatientFacts::of(&state.record()));
        if compare(&said(survivor)?, &said(retired)?).number == NumberLevel::Conflict {
            self.raise(Conflict::OtherNumber, (survivor.id, retired.id))?;
        }
        records::set_merged_into(self.transaction, retired.id, Some(survivor.id))?;
        let one_id = &survivor.one_id;
        if retired.one_id == *one_id {
            // One person already: the step is written down, so that it can be taken back.
            records::link(self.transaction, &self.link_change(retired.id, one_id, LinkKind::Auto, basis))?;
            self.refresh_person(one_id, EventKind::PatientUpdated, moment)?;
        } else {
            self.merge_persons(one_id, &retired.one_id, &basis, moment)?;
        }
        self.look_at_others(survivor.id, moment)
    }

    /// Refuses what would make one patient of two numbers of an authority that another source owns: of the two records themselves, and of the
    /// owner's own records that are the same persons'.
    fn may_say(&self, survivor: &PatientRecord, retired: &PatientRecord) -> Result<(), Trouble> {
        if survivor.one_id == retired.one_id {
            return Ok(());
        }
        let numbers = |record: &PatientRecord| -> Result<Vec<RecordNumber>, Trouble> {
            let of_person = records::of_person(self.transaction, &record.one_id)?;
            let owners_own = of_person.into_iter().filter(|row| row.source != self.source && row.merged_into.is_none());
            Ok(owners_own.map(|row| row.number).chain([record.number.clone()]).collect())
        };
        let (some, others) = (numbers(survivor)?, numbers(retired)?);
        for number in some {
            if others.iter().any(|other| other.system == number.system && *other != number) {
                self.owned(&number)?;
            }
        }
        Ok(())
    }

    /// That a number stands for two of its Patients was the server's word, and it says now that they are one: with all that gave way to them.
    fn take_back_own_word(&self, survivor: &PatientRecord, retired: &PatientRecord) -> Result<(), Trouble> {
        let others: BTreeSet<i64> = self.along_with(survivor)?.into_iter().map(|row| row.id).collect();
        for own in self.along_with(retired)? {
            for pair in no_links::list(self.transaction, own.id)? {
                let other = if pair.one == own.id { pair.other } else { pair.one };
                if pair.undone.is_none() && pair.by == self.source && others.contains(&other) {
                    no_links::allow(self.transaction, (pair.one, pair.other), self.source, self.now)?;
                }
            }
        }
        Ok(())
    }

    /// A Patient stands for itself again: what it was told apart from by its server's word, and what the server took back, holds again.
    pub(super) fn say_again(&self, retired: &PatientRecord) -> Result<(), Trouble> {
        let group = self.along_with(retired)?;
        for own in &group {
            for pair in no_links::list(self.transaction, own.id)? {
                let is_taken_back = pair.undone.as_ref().is_some_and(|(by, _)| by == self.source);
                let is_one = group.iter().any(|row| row.id != own.id && (row.id == pair.one || row.id == pair.other));
                if pair.by == self.source && is_taken_back && !is_one {
                    no_links::forbid(self.transaction, (pair.one, pair.other), self.source, &pair.reason, self.now)?;
                }
            }
        }
        Ok(())
    }

    /// A record with those of its person that gave way to it.
    fn along_with(&self, record: &PatientRecord) -> Result<Vec<PatientRecord>, Trouble> {
        let there = records::of_person(self.transaction, &record.one_id)?;
        Ok(with_merged(there, &BTreeSet::from([record.id])).0)
    }

    /// A record that is told apart from another one of its person leaves, whatever number the two share. `false`: it is told apart from none.
    pub(super) fn leave_if_apart(&self, record: &PatientRecord, moment: Moment) -> Result<bool, Trouble> {
        let (group, rest) =
            with_merged(records::of_person(self.transaction, &record.one_id)?, &BTreeSet::from([record.id]));
        let ids = |rows: &[PatientRecord]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        if no_links::between(self.transaction, &ids(&group), &ids(&rest))?.is_none() {
            return Ok(false);
        }
        let former = self.former_one_id(&group)?;
        let goal = former.as_deref().map_or(Goal::New, Goal::Revived);
        let basis = json!({"source": self.source, "record": record.number.to_string(), "action": "unmerge"});
        self.part(&record.one_id, &group, goal, basis, moment)?;
        Ok(true)
    }
}
