//! What a source says of its numbers: two are one patient's (A40 and its older forms), one was wrong (A46 to A48), one is another
//! patient's (A43); a patient is deleted (A29). That two patients are one person (A24) is said in `link`.
//!
//! What was decided by hand stands against all of it: the message is processed, the numbers stay as they are, somebody is asked.

use std::collections::BTreeSet;

use super::apply::{Job, Owner, Trouble};
use super::life::{Conflict, Goal, with_merged};
use super::patient::{identifiers, numbers_in, only, state_of};
use super::renumber::VisitAction;
use super::telling::Statement;
use crate::feed::EventKind;
use crate::hl7v2::{ErrorCode, Location};
use crate::identity::{
    BirthDateLevel, MergePlan, MergeRefusal, MergeRequest, NameClass, NameLevel, NumberLevel, PatientFacts, compare,
    plan_merge,
};
use crate::record::{Fields, RecordNumber, Value, json};
use crate::state::{Moment, PatientState};
use crate::store::records::{LinkKind, PatientRecord};
use crate::store::{StoreError, matching, records, resources};
use crate::view::to_stored;

/// What a message does to numbers: `record::schema::MERGE_ACTIONS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Two numbers are one patient's, and one of them is given up.
    Merge,
    /// A number was wrong: the right one is known to be the same patient's before anything is said under it.
    Rename,
    /// What was said under a number is another patient's.
    Move,
    /// Two patients are one person, each number stays.
    Link,
    /// They are not.
    Unlink,
    /// The source deletes the patient.
    Deactivate,
    /// Of visits.
    Visit(VisitAction),
}

impl Action {
    pub(super) fn of(fields: &Fields) -> Self {
        match fields.get("action").and_then(Value::as_str).unwrap_or_default() {
            "rename" => Self::Rename,
            "move" => Self::Move,
            "link" => Self::Link,
            "unlink" => Self::Unlink,
            "deactivate" => Self::Deactivate,
            "merge_visit" => Self::Visit(VisitAction::Merge),
            "merge_account" => Self::Visit(VisitAction::MergeAccount),
            "move_visit" => Self::Visit(VisitAction::Move),
            _ => Self::Merge,
        }
    }
}

impl Job<'_> {
    /// Carries out a merge that the source declares (A40 and its older forms), or a change of a number (A46, A47): each retired number
    /// of MRG-1 goes to the number of PID-3 under the same authority. All or nothing. Gives whom the first number stands for now.
    pub(super) fn merge(&self, fields: &Fields, action: Action) -> Result<Option<Owner>, Trouble> {
        let (survivors, retired) = (sides(fields, "survivor"), sides(fields, "retired"));
        let Some(first) = survivors.first().filter(|_| !retired.is_empty()) else {
            return Err(Trouble::content(
                ErrorCode::RequiredFieldMissing,
                Location::field("MRG", 1),
                "a merge needs the surviving number in PID-3 and the retired number in MRG-1",
            ));
        };
        let moment = self.moment(fields);
        for number in &retired {
            // A number without an authority is meant under the survivor's.
            let system = if number.system.is_empty() { &first.system } else { &number.system };
            let survivor = self.named(survivors.iter().find(|survivor| survivor.system == *system).unwrap_or(first));
            let retired = self.named(&RecordNumber { system: system.clone(), value: number.value.clone() });
            // A number that changes into itself says that another one changed.
            if action == Action::Rename && survivor == retired {
                continue;
            }
            self.merge_numbers(&survivor, &retired, action, moment)?;
        }
        self.stands_for(&self.named(first))
    }

    /// Whom a number of this source stands for now, through every merge.
    pub(super) fn stands_for(&self, number: &RecordNumber) -> Result<Option<Owner>, Trouble> {
        let record = records::find(self.transaction, self.source, number)?;
        let record = record.map(|record| self.live(record)).transpose()?;
        Ok(record.map(|record| Owner { record: record.id, number: record.number, one_id: record.one_id }))
    }

    /// Where a Patient says that it gave way to another one: it stays the record that it was, and answers as the other one's.
    pub(super) fn remember_retired(&self, fields: &Fields) -> Result<(), Trouble> {
        let Some(statement) = &self.statement else { return Ok(()) };
        if let Some(record) =
            retired(self.source, fields).map(|number| self.record_under(&number)).transpose()?.flatten()
        {
            let moment = self.moment(fields);
            statement.remember_patient(&record, moment);
            self.bear_only(&record, moment)?;
        }
        Ok(())
    }

    /// A record that gave way to another one bears the number under which it did, whatever number it was told under before.
    fn bear_only(&self, record: &PatientRecord, moment: Moment) -> Result<(), Trouble> {
        let mut state = state_of(record)?;
        let known = state.record();
        let mut numbers = numbers_in(&known, "identifiers", |kind| kind == "mrn");
        if numbers.all(|number| number == record.number) {
            return Ok(());
        }
        let only = json!([{"type": "mrn", "system": record.number.system, "value": record.number.value}]);
        let applied = state.apply(Fields::from_iter([("identifiers".to_owned(), only)]), moment);
        let updated_at = record.updated_at.max(moment.at);
        records::update(self.transaction, record.id, updated_at, self.mapping, &to_stored(&state)?)?;
        let of = |fields: &Fields| identifiers(fields, &PatientFacts::of(fields));
        records::set_identifiers(self.transaction, record.id, &of(&applied.before), &of(&applied.record))?;
        self.refresh_person(&self.record(record.id)?.one_id, EventKind::PatientUpdated, moment)
    }

    /// The record that a number means: of several patients' the one that the Patient in work was told as, else the one spoken of last.
    fn record_under(&self, number: &RecordNumber) -> Result<Option<PatientRecord>, Trouble> {
        let own = self.statement.as_ref().and_then(Statement::own_record).and_then(|(_, record)| record);
        if let Some(record) = own.map(|own| records::get(self.transaction, own)).transpose()?.flatten()
            && record.number == *number
        {
            return Ok(Some(record));
        }
        Ok(records::find(self.transaction, self.source, number)?)
    }

    pub(super) fn named(&self, number: &RecordNumber) -> RecordNumber {
        named(self.source, number)
    }

    /// The record `retired` is no longer merged into `survivor`, by the word of the server that had said so. Its records, and those that came
    /// with it, stay together only as far as rules would join them.
    pub(super) fn undo_merge_of(
        &self,
        retired: &PatientRecord,
        survivor: &PatientRecord,
        moment: Moment,
    ) -> Result<(), Trouble> {
        let step = self.merged_apart(retired.id, survivor.id)?;
        records::set_merged_into(self.transaction, retired.id, None)?;
        self.say_again(retired)?;
        if retired.one_id != survivor.one_id {
            self.refresh_person(&retired.one_id, EventKind::PatientUpdated, moment)?;
            return self.try_merges_again(&retired.one_id);
        }
        if !self.leave_if_apart(retired, moment)? {
            self.look_again_without(&self.record(retired.id)?, moment)?;
        }
        let along = step.map(|(_, records)| records).unwrap_or_default();
        for id in along.into_iter().filter(|id| *id != retired.id) {
            let row = self.record(id)?;
            if row.one_id == survivor.one_id {
                self.look_again_without(&row, moment)?;
            }
        }
        self.refresh_person(&survivor.one_id, EventKind::PatientUpdated, moment)?;
        self.try_merges_again(&survivor.one_id)
    }

    /// Whether the merge of `retired` into `survivor` brought records along that other Patients of the server were told as.
    pub(super) fn brought_others(&self, retired: &PatientRecord, survivor: &PatientRecord) -> Result<bool, Trouble> {
        let along = self.merged_apart(retired.id, survivor.id)?.map(|(_, records)| records).unwrap_or_default();
        for id in along.into_iter().filter(|id| *id != retired.id) {
            if !resources::told_as_record(self.transaction, id, 0)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What was said under the numbers of MRG-1 is the patient's of PID-3 (A43): their records leave whoever they were with.
    pub(super) fn move_numbers(&self, fields: &Fields) -> Result<(), Trouble> {
        let survivors: Vec<RecordNumber> = sides(fields, "survivor").iter().map(|number| self.named(number)).collect();
        let moment = self.moment(fields);
        for number in sides(fields, "retired") {
            let system = survivors.first().filter(|_| number.system.is_empty()).map(|first| first.system.clone());
            let number = self.named(&RecordNumber { system: system.unwrap_or(number.system), value: number.value });
            let Some(target) = survivors.iter().find(|survivor| **survivor != number) else {
                return Err(refused(MergeRefusal::SameNumber));
            };
            self.owned(&number)?;
            self.owned(target)?;
            let Some(record) = records::find(self.transaction, self.source, &number)? else {
                self.note("MRG-1: this source has sent no patient under the number: nothing to move");
                continue;
            };
            let basis = json!({"source": self.source, "action": "move", "record": number.to_string(), "to": target.to_string()});
            let target = match records::find(self.transaction, self.source, target)? {
                Some(record) => self.live(record)?,
                None => self.stub(target, None, &basis, moment)?,
            };
            if record.one_id == target.one_id {
                continue;
            }
            let there = records::of_person(self.transaction, &record.one_id)?;
            let (group, rest) = with_merged(there, &BTreeSet::from([record.id]));
            let ids = group.iter().map(|row| row.id).collect();
            let is_held = record.link == LinkKind::Manual || self.are_joined_by_hand(&group, &rest)?;
            if is_held || self.is_told_apart(&ids, &target.one_id)? {
                self.raise(Conflict::Decided, (record.id, target.id))?;
            } else {
                // No merge, also where nothing is left: the One ID that it is taken from is not the other's.
                self.part(&record.one_id, &group, Goal::Known(&target.one_id), basis, moment)?;
                self.tell_apart(&group, &rest, self.source, "the source moved the number to another patient (A43)")?;
            }
        }
        Ok(())
    }

    /// The source deletes a patient (A29): the record stays with all that belongs to it, and counts as retired until the source speaks
    /// of it again.
    pub(super) fn deactivate(&self, fields: &Fields) -> Result<(), Trouble> {
        let moment = self.moment(fields);
        for number in sides(fields, "survivor").iter().map(|number| self.named(number)) {
            self.owned(&number)?;
            let Some(record) = records::find(self.transaction, self.source, &number)? else {
                self.note("PID-3: this source has sent no patient under the number: nothing to delete");
                continue;
            };
            self.deactivate_record(&record, moment)?;
        }
        Ok(())
    }

    pub(super) fn deactivate_record(&self, record: &PatientRecord, moment: Moment) -> Result<(), Trouble> {
        records::set_deactivated(self.transaction, record.id, moment.at)?;
        self.refresh_person(&record.one_id, EventKind::PatientUpdated, moment)
    }

    /// Refuses what a source does in an authority that another one owns.
    pub(super) fn owned(&self, number: &RecordNumber) -> Result<(), Trouble> {
        match self.site.owners.get(&number.system) {
            Some(owner) if owner != self.source => Err(refused(MergeRefusal::NotOwner)),
            _ => Ok(()),
        }
    }

    pub(super) fn note(&self, text: &str) {
        self.notes.borrow_mut().push(text.to_owned());
    }

    fn merge_numbers(
        &self,
        survivor: &RecordNumber,
        retired: &RecordNumber,
        action: Action,
        moment: Moment,
    ) -> Result<(), Trouble> {
        let find = |number| match self.record_under(number)? {
            Some(record) => self.live(record).map(Some),
            None => Ok(None),
        };
        let (survivor_record, retired_record): (_, Option<PatientRecord>) = (find(survivor)?, find(retired)?);
        let request = MergeRequest {
            source: self.source,
            owner: self.site.owners.get(&survivor.system).map(String::as_str),
            survivor,
            retired,
            survivor_now: survivor_record.as_ref().map_or(survivor, |record| &record.number),
            retired_now: retired_record.as_ref().map_or(retired, |record| &record.number),
        };
        let plan = match plan_merge(&request) {
            Ok(plan) => plan,
            Err(refusal) => {
                let known = |number| records::find(self.transaction, self.source, number);
                if let (MergeRefusal::Opposite, Some(one), Some(other)) = (&refusal, known(survivor)?, known(retired)?)
                {
                    self.refused.borrow_mut().push((Conflict::Opposite, (one.id, other.id)));
                }
                return Err(refused(refusal));
            }
        };
        let basis = json!({"source": self.source, "survivor": survivor.to_string(), "retired": retired.to_string()});
        let MergePlan::Apply { survivor, retired } = plan else {
            let Some(record) = records::find(self.transaction, self.source, retired)? else { return Ok(()) };
            return self.heal(record, &basis, moment);
        };
        if let (Some(survivor), Some(retired)) = (&survivor_record, &retired_record) {
            if self.is_contested(survivor, retired)? {
                return Ok(());
            }
            self.doubt_numbers(survivor, retired)?;
        }
        let survivor_record = match survivor_record {
            Some(record) => record,
            None => {
                // A right number in place of a wrong one is nobody new.
                let known = retired_record.as_ref().filter(|_| action == Action::Rename);
                self.stub(&survivor, known.map(|record| record.one_id.as_str()), &basis, moment)?
            }
        };
        let one_id = &survivor_record.one_id;
        let known = retired_record.is_some();
        let retired_record = match retired_record {
            Some(record) => record,
            None => self.stub(&retired, Some(one_id), &basis, moment)?,
        };
        records::set_merged_into(self.transaction, retired_record.id, Some(survivor_record.id))?;
        if known && retired_record.one_id == *one_id {
            self.write_down(&retired_record, &basis)?;
        }
        // Whoever has one of the two numbers, from whatever source, is the survivor's person now.
        let mut merged = false;
        for number in [&retired, &survivor] {
            for record in records::with_number(self.transaction, number)? {
                // Read anew: the merge before may have moved it.
                let other = self.record(record.id)?;
                if other.one_id != *one_id && !self.is_contested(&survivor_record, &other)? {
                    self.merge_persons(one_id, &other.one_id, &basis, moment)?;
                    merged = true;
                }
            }
        }
        if !merged {
            self.refresh_person(one_id, EventKind::PatientUpdated, moment)?;
        }
        self.look_at_others(survivor_record.id, moment)?;
        self.look_at_asked(&self.record(survivor_record.id)?.one_id, moment)
    }

    /// Two that a source makes one are one already: the step is written down, so that it can be taken back. Who was linked by hand stays so.
    pub(super) fn write_down(&self, record: &PatientRecord, basis: &Value) -> Result<(), StoreError> {
        let kind = if record.link == LinkKind::Manual { LinkKind::Manual } else { LinkKind::Auto };
        records::link(self.transaction, &self.link_change(record.id, &record.one_id, kind, basis.clone()))
    }

    /// Asks about two records that their source makes one, if each has a valid resident number of its own.
    pub(super) fn doubt_numbers(&self, one: &PatientRecord, other: &PatientRecord) -> Result<(), Trouble> {
        let said = |record| state_of(record).map(|state| PatientFacts::of(&state.record()));
        if compare(&said(one)?, &said(other)?).number == NumberLevel::Conflict {
            self.raise(Conflict::OtherNumber, (one.id, other.id))?;
        }
        Ok(())
    }

    /// A record that its source has merged with others says more by now: where it shows that they are two patients, somebody is asked, as if
    /// it had been known when they were merged. `row` is the record as it was before.
    pub(super) fn doubt_merge(&self, row: &PatientRecord, said: &PatientFacts) -> Result<(), Trouble> {
        let there = records::of_person(self.transaction, &self.record(row.id)?.one_id)?;
        let Some(own) = there.iter().find(|known| known.id == row.id) else { return Ok(()) };
        let survivor = live_among(&there, own);
        for other in there.iter().filter(|other| other.id != row.id && live_among(&there, other) == survivor) {
            let known = PatientFacts::of(&state_of(other)?.record());
            let compared = compare(said, &known);
            // Whoever merged two records that were known had both before them; here nobody had.
            let was_unseen = row.link == LinkKind::Pending
                && compared.classes == (NameClass::Normal, NameClass::Normal)
                && matches!(compared.name, NameLevel::Different | NameLevel::SameSurname)
                && matches!(compared.birth_date, BirthDateLevel::Different | BirthDateLevel::SameYear);
            if compared.number == NumberLevel::Conflict {
                self.raise(Conflict::OtherNumber, (other.id, row.id))?;
            } else if was_unseen {
                self.raise(Conflict::OtherPatient, (other.id, row.id))?;
            }
        }
        Ok(())
    }

    /// A merge said once more: records that were merged but stand at two persons are brought together.
    pub(super) fn heal(&self, mut record: PatientRecord, basis: &Value, moment: Moment) -> Result<(), Trouble> {
        while let Some(into) = record.merged_into {
            let next = self.record(into)?;
            // Read anew: the step before may have moved it.
            let record_now = self.record(record.id)?;
            if record_now.one_id != next.one_id && !self.is_contested(&next, &record_now)? {
                self.merge_persons(&next.one_id, &record_now.one_id, basis, moment)?;
            }
            record = next;
        }
        self.look_at_others(record.id, moment)?;
        self.look_at_asked(&self.record(record.id)?.one_id, moment)
    }

    /// The record that a retired one answers as; itself if it is live. Merges refuse cycles.
    pub(super) fn live(&self, mut record: PatientRecord) -> Result<PatientRecord, Trouble> {
        while let Some(into) = record.merged_into {
            record = self.record(into)?;
        }
        Ok(record)
    }

    /// A record with nothing but its number, for a merge that comes before any message under that number: whatever comes
    /// later finds the merge done. It belongs to `one_id`, else to whoever has the number elsewhere, else to a new person.
    pub(super) fn stub(
        &self,
        number: &RecordNumber,
        one_id: Option<&str>,
        basis: &Value,
        moment: Moment,
    ) -> Result<PatientRecord, Trouble> {
        let identifier = json!({"type": "mrn", "system": number.system, "value": number.value});
        let only_the_number = Fields::from_iter([("identifiers".to_owned(), json!([identifier]))]);
        let mut state = PatientState::default();
        // As old as can be: anything that a message says is newer.
        let record = state.apply(only_the_number, Moment { at: i64::MIN, arrival: 0 }).record;
        let one_id = match one_id {
            Some(one_id) => one_id.to_owned(),
            None => match records::with_number(self.transaction, number)?.into_iter().next() {
                Some(record) => record.one_id,
                None => {
                    matching::count_person(self.transaction, 1)?;
                    self.new_person(only(self.source, &state, &record), moment)?
                }
            },
        };
        let link = self.link_change(0, &one_id, LinkKind::Pending, basis.clone());
        let id = self.insert_record((number, 1), &state, &record, &PatientFacts::of(&record), link, moment)?;
        self.record(id)
    }
}

/// The record that a retired one answers as, of those of one person.
pub(super) fn live_among(rows: &[PatientRecord], row: &PatientRecord) -> i64 {
    let mut live = row;
    // Merges refuse cycles; no chain is longer than the person has records.
    for _ in rows {
        match rows.iter().find(|known| live.merged_into == Some(known.id)) {
            Some(into) => live = into,
            None => break,
        }
    }
    live.id
}

fn refused(refusal: MergeRefusal) -> Trouble {
    let (code, field) = match refusal {
        MergeRefusal::AcrossAuthorities | MergeRefusal::NotOwner => {
            (ErrorCode::UnknownKeyIdentifier, Location::field("MRG", 1))
        }
        MergeRefusal::Opposite => (ErrorCode::DuplicateKeyIdentifier, Location::field("PID", 3)),
        MergeRefusal::SameNumber | MergeRefusal::MergedElsewhere => {
            (ErrorCode::DuplicateKeyIdentifier, Location::field("MRG", 1))
        }
    };
    Trouble::content(code, field, refusal.to_string())
}

/// A number without an authority belongs to the source itself.
fn named(source: &str, number: &RecordNumber) -> RecordNumber {
    let system = if number.system.is_empty() { source.to_owned() } else { number.system.clone() };
    RecordNumber { system, value: number.value.clone() }
}

/// The numbers that live on by a merge.
pub(super) fn survivors(source: &str, fields: &Fields) -> Vec<RecordNumber> {
    if Action::of(fields) != Action::Merge {
        return Vec::new();
    }
    sides(fields, "survivor").iter().map(|number| named(source, number)).collect()
}

/// The number that is given up by a merge, or by a change of number.
pub(super) fn retired(source: &str, fields: &Fields) -> Option<RecordNumber> {
    sides(fields, "retired").first().map(|number| named(source, number))
}

/// The numbers of one side of a merge: medical record numbers; where there are none, all.
pub(super) fn sides(fields: &Fields, side: &str) -> Vec<RecordNumber> {
    let medical: Vec<RecordNumber> = numbers_in(fields, side, |kind| kind == "mrn").collect();
    if medical.is_empty() { numbers_in(fields, side, |_| true).collect() } else { medical }
}
