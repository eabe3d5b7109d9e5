//! Merges that a source declares (A40 and its older forms): two of its numbers are one patient.

use super::apply::{Job, Trouble};
use super::patient::{numbers_in, only};
use crate::feed::EventKind;
use crate::hl7v2::{ErrorCode, Location};
use crate::identity::{MergePlan, MergeRefusal, MergeRequest, PatientFacts, plan_merge};
use crate::record::{Fields, RecordNumber, Value, json};
use crate::state::{Moment, PatientState};
use crate::store::records;
use crate::store::records::{LinkKind, PatientRecord};

impl Job<'_> {
    /// Carries out a merge that the source declares (A40 and its older forms): each retired number of MRG-1 goes to the number of
    /// PID-3 under the same authority. All or nothing.
    pub(super) fn merge(&self, fields: &Fields) -> Result<(), Trouble> {
        let survivors = merge_numbers(fields, "survivor");
        let retired = merge_numbers(fields, "retired");
        let Some(first) = survivors.first().filter(|_| !retired.is_empty()) else {
            return Err(Trouble::content(
                ErrorCode::RequiredFieldMissing,
                Location::field("MRG", 1),
                "a merge needs the surviving number in PID-3 and the retired number in MRG-1",
            ));
        };
        let moment = self.moment(fields);
        let named = |system: &str| if system.is_empty() { self.source.to_owned() } else { system.to_owned() };
        for number in &retired {
            // A number without an authority is meant under the survivor's.
            let system = if number.system.is_empty() { &first.system } else { &number.system };
            let survivor = survivors.iter().find(|survivor| survivor.system == *system).unwrap_or(first);
            let survivor = RecordNumber { system: named(&survivor.system), value: survivor.value.clone() };
            let retired = RecordNumber { system: named(system), value: number.value.clone() };
            self.merge_numbers(&survivor, &retired, moment)?;
        }
        Ok(())
    }

    fn merge_numbers(&self, survivor: &RecordNumber, retired: &RecordNumber, moment: Moment) -> Result<(), Trouble> {
        let find = |number| match records::find(self.transaction, self.source, number)? {
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
        let plan = plan_merge(&request).map_err(|refusal| {
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
        })?;
        let basis = json!({"source": self.source, "survivor": survivor.to_string(), "retired": retired.to_string()});
        let MergePlan::Apply { survivor, retired } = plan else {
            return self.heal(retired, &basis, moment);
        };
        let survivor_record = match survivor_record {
            Some(record) => record,
            None => self.stub(&survivor, None, &basis, moment)?,
        };
        let one_id = &survivor_record.one_id;
        let known = retired_record.is_some();
        let retired_record = match retired_record {
            Some(record) => record,
            None => self.stub(&retired, Some(one_id), &basis, moment)?,
        };
        records::set_merged_into(self.transaction, retired_record.id, Some(survivor_record.id))?;
        if known && retired_record.one_id == *one_id {
            // One person already: the step is written down, so that it can be taken back.
            records::link(
                self.transaction,
                &self.link_change(retired_record.id, one_id, LinkKind::Auto, basis.clone()),
            )?;
        }
        // Whoever has one of the two numbers, from whatever source, is the survivor's person now.
        let mut merged = false;
        for number in [&retired, &survivor] {
            for record in records::with_number(self.transaction, number)? {
                // Read anew: the merge before may have moved it.
                let other = self.record(record.id)?.one_id;
                if other != *one_id {
                    self.merge_persons(one_id, &other, &basis, moment)?;
                    merged = true;
                }
            }
        }
        if !merged {
            self.refresh_person(one_id, EventKind::PatientUpdated, moment)?;
        }
        self.look_at_others(survivor_record.id, moment)
    }

    /// A merge said once more: records that were merged but stand at two persons are brought together.
    fn heal(&self, retired: &RecordNumber, basis: &Value, moment: Moment) -> Result<(), Trouble> {
        let Some(mut record) = records::find(self.transaction, self.source, retired)? else { return Ok(()) };
        while let Some(into) = record.merged_into {
            let next = self.record(into)?;
            // Read anew: the step before may have moved it.
            let one_id = self.record(record.id)?.one_id;
            if one_id != next.one_id {
                self.merge_persons(&next.one_id, &one_id, basis, moment)?;
            }
            record = next;
        }
        self.look_at_others(record.id, moment)
    }

    /// The record that a retired one answers as; itself if it is live. Merges refuse cycles.
    fn live(&self, mut record: PatientRecord) -> Result<PatientRecord, Trouble> {
        while let Some(into) = record.merged_into {
            record = self.record(into)?;
        }
        Ok(record)
    }

    /// A record with nothing but its number, for a merge that comes before any message under that number: whatever comes
    /// later finds the merge done. It belongs to `one_id`, else to whoever has the number elsewhere, else to a new person.
    fn stub(
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
                None => self.new_person(only(self.source, &state, &record), moment)?,
            },
        };
        let link = self.link_change(0, &one_id, LinkKind::Pending, basis.clone());
        let id = self.insert_record(number, &state, &record, &PatientFacts::of(&record), link, moment)?;
        self.record(id)
    }
}

/// The numbers of one side of a merge: medical record numbers; where there are none, all.
fn merge_numbers(fields: &Fields, side: &str) -> Vec<RecordNumber> {
    let medical: Vec<RecordNumber> = numbers_in(fields, side, |kind| kind == "mrn").collect();
    if medical.is_empty() { numbers_in(fields, side, |_| true).collect() } else { medical }
}
