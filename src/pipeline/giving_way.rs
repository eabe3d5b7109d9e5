//! A server's Patient that gives way to another one of the same server (`Patient.link` of type `replaced-by`).
//!
//! A server is the owner of the ids of its resources: that two of them are one patient is its word to say, also where their numbers belong to
//! different authorities, or one of them has none. What is merged is therefore the record of the one Patient with that of the other, and not
//! one number with another: a third Patient of the same number does not go along, and the numbers of two Patients that bear the same one are
//! no obstacle. What a server cannot say is that two numbers of an authority are one patient's which another source owns: there that one alone
//! merges, as by HL7 v2 (A40).
//!
//! Nor can it say that one is two: a Patient that gives way to several is nobody's but its own, until they are one.
//!
//! Invariants
//! - Who gives way is told after whoever it gives way to, so that the order in which resources come makes no difference; those that give way to
//!   each other wait for nobody.
//! - What a Patient says of the person is told whatever becomes of the merge. One that is not done is noted with the message, asked about, and
//!   tried again as soon as the records or persons of either side change: [`Job::try_merges_again`].
//! - A Patient that gives way no longer is told apart from the other one again, if it was before; what was asked because it gave way is asked no
//!   longer, unless what both say of themselves asks it too.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use super::Site;
use super::apply::{Job, Owner, Trouble};
use super::life::{Conflict, Goal, with_merged};
use super::merge::{Action, retired as retired_number};
use super::patient::state_of;
use super::telling::Statement;
use crate::feed::EventKind;
use crate::fhir;
use crate::identity::{NumberLevel, PatientFacts, compare};
use crate::record::{Fields, RecordNumber, Value, json};
use crate::state::Moment;
use crate::store::records::{LinkKind, PatientRecord};
use crate::store::resources::{self, Resource, ResourceState};
use crate::store::reviews::{self, BY_SOURCE, ReviewState, Verdict};
use crate::store::{Reader, StoreError, Transaction, no_links, records};

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

/// Makes due which of a source's Patients the server's word has not brought to where it says, for another source may own their numbers by now, or
/// none: looks at the first `limit` that name another Patient, by id behind `after`, and gives the id of the last. `None`: there are no more.
///
/// # Errors
/// Only what the store itself says; then nothing was kept.
pub fn try_held_back_again(
    transaction: &Transaction<'_>,
    (source, site): (&str, &Site),
    after: &str,
    limit: usize,
    now: i64,
) -> Result<Option<String>, StoreError> {
    // Nothing is published, so nothing is named after it.
    let zone = TimeZone::UTC;
    let job = Job { source, ..Job::by_hand(transaction, site, &zone, "authorities", now) };
    let naming = resources::naming_their_kind(transaction, source, "Patient", after, limit)?;
    naming.iter().try_for_each(|patient| job.try_again(patient)).map_err(Trouble::into_store_error)?;
    Ok(naming.last().map(|last| last.name.id.clone()))
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

/// What is asked about one Patient that gives way to several: a bound on the work of one message.
const ASKED: usize = 4;

/// The member of a case's evidence that says that somebody is asked because of a Patient's link, and not only because of what agrees.
const LINK: &str = "link";

/// Evidence of a case that a Patient's link led to.
pub(super) fn resting_on_link(mut evidence: serde_json::Value) -> serde_json::Value {
    if let Some(members) = evidence.as_object_mut() {
        members.insert(LINK.to_owned(), true.into());
    }
    evidence
}

fn rests_on_link(evidence: &Value) -> bool {
    evidence.get(LINK).is_some()
}

impl Job<'_> {
    /// The record that a Patient gives way to, which was told as `own`; `None`: to none, or to several that are not one.
    pub(super) fn record_ahead(&self, patient: &Resource, own: i64) -> Result<Option<PatientRecord>, Trouble> {
        let mut ahead = self.records_ahead(patient, Some(own))?;
        Ok(if ahead.len() == 1 { ahead.pop() } else { None })
    }

    /// The records of the Patients that replace this one, as they stand for the patient now. Of one that was told as the record `own` also of
    /// those that replace another Patient told as the same record, for it is one patient's; and not that record itself.
    pub(super) fn records_ahead(&self, patient: &Resource, own: Option<i64>) -> Result<Vec<PatientRecord>, Trouble> {
        let mut ahead: Vec<PatientRecord> = Vec::new();
        let shared = own.map(|own| resources::told_as_record(self.transaction, own, patient.row)).transpose()?;
        for one in std::iter::once(patient).chain(shared.iter().flatten()) {
            for other in successors(self.transaction, one)? {
                let Some(record) = self.told_record(&other)? else { continue };
                let record = self.live(record)?;
                if own != Some(record.id) && ahead.iter().all(|known| known.id != record.id) {
                    ahead.push(record);
                }
            }
        }
        Ok(ahead)
    }

    /// Merges the record of the Patient in work with that of the Patient that replaces it, where its server may say so, and gives whose it is
    /// from now on. `None`: the message is not of such a Patient, or the server has no other one.
    pub(super) fn give_way(&self, fields: &Fields) -> Result<Option<Owner>, Trouble> {
        let Some((statement, patient)) = self.statement.as_ref().and_then(|told| Some((told, told.focal_patient()?)))
        else {
            return Ok(None);
        };
        let named = self.records_ahead(patient, None)?;
        let Some(first) = named.first() else {
            // One that is here and was not told as yet: who names it is told again when it is.
            let waits = !successors(self.transaction, patient)?.is_empty();
            return statement.told_patient().filter(|_| waits).map(|row| self.owner_of(row)).transpose();
        };
        let moment = self.moment(fields);
        let basis = |retired: &RecordNumber| json!({"source": self.source, "survivor": first.number.to_string(), "retired": retired.to_string()});
        let retired = match self.record_in_work(statement, fields)? {
            Some(record) => record,
            None => {
                let Some(number) = retired_number(self.source, fields) else { return Ok(None) };
                let one_id = (named.len() == 1).then_some(first.one_id.as_str());
                self.stub(&number, one_id, &basis(&number), moment)?
            }
        };
        statement.remember_patient(&retired, moment);
        match self.records_ahead(patient, Some(retired.id))?.as_slice() {
            [] => {}
            [survivor] => self.merge_records(survivor, &retired, basis(&retired.number), moment)?,
            several => {
                several
                    .iter()
                    .take(ASKED)
                    .try_for_each(|other| self.raise(Conflict::Several, (other.id, retired.id)))?;
                // Another Patient that is the same record may have given way alone until now.
                self.try_others_again(patient, retired.id)?;
            }
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
        basis: Value,
        moment: Moment,
    ) -> Result<(), Trouble> {
        if retired.merged_into.is_some() {
            if self.live(retired.clone())?.id != survivor.id {
                // It is another Patient's record as well, which gives way to somebody else.
                return self.raise(Conflict::Several, (survivor.id, retired.id));
            }
            // Said again; a decision may have parted them meanwhile, or what was in the way may be gone.
            return self.heal(retired.clone(), &basis, moment);
        }
        if !self.may_say(survivor, retired)? {
            return self.raise(Conflict::NotItsNumbers, (survivor.id, retired.id));
        }
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
        self.look_at_others(survivor.id, moment)?;
        self.try_merges_again(&self.record(survivor.id)?.one_id)
    }

    /// A merge of numbers that a Patient's unit says, whose other Patient the mirror does not have. Of a whole statement it is one word among others:
    /// what cannot be done is noted.
    pub(super) fn merge_by_number(&self, fields: &Fields, action: Action) -> Result<Option<Owner>, Trouble> {
        if self.statement.is_none() {
            return self.merge(fields, action);
        }
        match self.transaction.savepoint(|_| self.merge(fields, action)) {
            Err(Trouble::Content(failure)) => {
                self.note(&format!("Patient.link: the two Patients stay two: {}", failure.text));
                self.raise_refused()?;
                Ok(None)
            }
            merged => merged,
        }
    }

    /// Makes due whom of a person's Patients, and of those that give way to them, the server's word has not brought to where it says.
    pub(super) fn try_merges_again(&self, one_id: &str) -> Result<(), Trouble> {
        let in_work = self.statement.as_ref().and_then(Statement::focal_patient).map(|patient| patient.row);
        let mut seen = BTreeSet::from_iter(in_work);
        for record in records::of_person(self.transaction, one_id)? {
            for patient in resources::told_as_record(self.transaction, record.id, 0)? {
                let naming = resources::naming_of(self.transaction, patient.row, &patient.name.kind)?;
                for other in std::iter::once(patient).chain(naming) {
                    if seen.insert(other.row) {
                        self.try_again(&other)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The same of the Patients, other than this one, that were told as the record `own`.
    pub(super) fn try_others_again(&self, patient: &Resource, own: i64) -> Result<(), Trouble> {
        let others = resources::told_as_record(self.transaction, own, patient.row)?;
        others.iter().try_for_each(|other| self.try_again(other))
    }

    /// Answers what was asked because one Patient gives way to another one (of this record, or of its person), where none does any more: by the
    /// server's word, for nobody has said anything. What the records say of themselves is asked anew.
    pub(super) fn close_moot(&self, record: i64) -> Result<(), Trouble> {
        let mut cases = Vec::new();
        for row in records::of_person(self.transaction, &self.record(record)?.one_id)? {
            cases.extend(reviews::of_record(self.transaction, row.id)?);
        }
        for case in cases {
            let (one, other) = (&case.one_ids.0, &case.one_ids.1);
            if case.state != ReviewState::Open
                || !rests_on_link(&case.question.evidence)
                || self.one_gives_way(one, other)?
                || self.one_gives_way(other, one)?
            {
                continue;
            }
            let verdict = Verdict {
                at: self.now,
                by: self.source.to_owned(),
                reason: "Patient.link: the server no longer says that one of the two gives way to the other".to_owned(),
                answered_by: Some(BY_SOURCE.to_owned()),
            };
            reviews::decide(self.transaction, case.id, ReviewState::Rejected, &verdict)?;
            self.note(&format!("Patient.link: taken back before it was done: case {} is closed", case.id));
            self.ask_again(case.question.records.1)?;
        }
        Ok(())
    }

    /// Whether a Patient of one person gives way to one of the other.
    fn one_gives_way(&self, one_id: &str, other: &str) -> Result<bool, Trouble> {
        for record in records::of_person(self.transaction, one_id)? {
            for patient in resources::told_as_record(self.transaction, record.id, 0)? {
                if self.records_ahead(&patient, Some(record.id))?.iter().any(|ahead| ahead.one_id == other) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn try_again(&self, patient: &Resource) -> Result<(), Trouble> {
        if patient.is_due || self.is_where_it_says(patient)? { Ok(()) } else { self.tell_again(patient) }
    }

    /// Whether the record of a Patient is merged with that of the Patient which replaces it, or with none where several do.
    fn is_where_it_says(&self, patient: &Resource) -> Result<bool, Trouble> {
        // One that was not told is told once it can be.
        let Some(own) = self.told_record(patient)? else { return Ok(true) };
        match self.records_ahead(patient, Some(own.id))?.as_slice() {
            [] => Ok(true),
            [only] => Ok(self.live(own)?.id == only.id),
            _ => Ok(own.merged_into.is_none()),
        }
    }

    /// Whether it would not make one patient of two numbers of an authority that another source owns: of the two records themselves, and of the
    /// owner's own records that are the same persons'.
    fn may_say(&self, survivor: &PatientRecord, retired: &PatientRecord) -> Result<bool, Trouble> {
        if survivor.one_id == retired.one_id {
            return Ok(true);
        }
        let numbers = |record: &PatientRecord| -> Result<Vec<RecordNumber>, Trouble> {
            let of_person = records::of_person(self.transaction, &record.one_id)?;
            let owners_own = of_person.into_iter().filter(|row| row.source != self.source && row.merged_into.is_none());
            Ok(owners_own.map(|row| row.number).chain([record.number.clone()]).collect())
        };
        let (some, others) = (numbers(survivor)?, numbers(retired)?);
        let is_anothers = |system: &str| self.site.owners.get(system).is_some_and(|owner| owner != self.source);
        let differ =
            |number: &RecordNumber| others.iter().any(|other| other.system == number.system && other != number);
        Ok(!some.iter().any(|number| is_anothers(&number.system) && differ(number)))
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
