//! Patients and persons: a source record finds its One ID, a person's golden record follows its records, merges move them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use ulid::Ulid;

use super::apply::{Cause, Job, Owner, Trouble};
use crate::feed::EventKind;
use crate::hl7v2::Location;
use crate::hl7v2::ack::ErrorCode;
use crate::identity::{
    Candidate, Decision, Evidence, Ground, Member, MergePlan, MergeRequest, PatientFacts, decide, golden, plan_merge,
};
use crate::record::{Fields, RecordNumber};
use crate::state::{Moment, PatientState, changed};
use crate::store::persons::Person;
use crate::store::records::{LinkKind, NewRecord, Record};
use crate::store::{clinical, persons, records};

impl Job<'_> {
    /// Applies what the message says of a patient. `None`: it names no number, so there is nobody to apply it to.
    pub(super) fn patient(&self, patch: &Fields) -> Result<Option<Owner>, Trouble> {
        let mut patch = patch.clone();
        self.name_authorities(&mut patch);
        let Some(number) = record_number(&patch) else { return Ok(None) };
        let moment = self.moment(&patch);
        match records::find(self.transaction, &self.source.name, &number)? {
            Some(record) => self.update_record(record, patch, moment).map(Some),
            None => self.new_record(&number, patch, moment).map(Some),
        }
    }

    /// A number without an assigning authority belongs to the source itself.
    fn name_authorities(&self, patch: &mut Fields) {
        let identifiers = patch.get_mut("identifiers").and_then(Value::as_array_mut).into_iter().flatten();
        for identifier in identifiers.filter_map(Value::as_object_mut) {
            if identifier.get("type").is_some_and(|kind| kind == "mrn") {
                identifier.entry("system").or_insert_with(|| json!(self.source.name));
            }
        }
    }

    fn new_record(&self, number: &RecordNumber, patch: Fields, moment: Moment) -> Result<Owner, Trouble> {
        let mut state = PatientState::default();
        let applied = state.apply(patch, moment);
        let facts = PatientFacts::of(&applied.record);
        let same_number = self.candidates(records::with_number(self.transaction, number)?)?;
        let same_identity = self.same_identity_number(&facts)?;
        let (one_id, evidence) = match decide(&facts, &same_number, &same_identity) {
            Decision::Link { one_id, evidence } => (Some(one_id), vec![evidence]),
            Decision::Ambiguous { evidence } | Decision::New { evidence } => (None, evidence),
        };
        let linked = one_id.is_some();
        let one_id = match one_id {
            Some(one_id) => one_id,
            None => self.new_person()?,
        };
        let new = NewRecord {
            source: self.source.name.clone(),
            number: number.clone(),
            one_id: one_id.clone(),
            link: LinkKind::Auto,
            updated_at: moment.at,
            state,
        };
        let record = records::create(self.transaction, &new, &identifiers(&applied.record, &facts))?;
        records::log_link(self.transaction, record, None, &one_id, LinkKind::Auto, &json!(evidence), self.message, self.received_at)?;
        let kind = if linked { EventKind::PatientUpdated } else { EventKind::PatientCreated };
        self.refresh_person(&one_id, kind, moment)?;
        Ok(Owner { record, one_id })
    }

    fn update_record(&self, mut record: Record, patch: Fields, moment: Moment) -> Result<Owner, Trouble> {
        let before = PatientFacts::of(&record.state.record());
        let applied = record.state.apply(patch, moment);
        record.updated_at = record.updated_at.max(moment.at);
        let mut owner = Owner { record: record.id, one_id: record.one_id.clone() };
        if applied.changed.is_empty() {
            records::put_state(self.transaction, &record)?;
            return Ok(owner);
        }
        let facts = PatientFacts::of(&applied.record);
        records::put_state(self.transaction, &record)?;
        records::put_identifiers(self.transaction, record.id, &identifiers(&applied.record, &facts))?;
        self.refresh_person(&owner.one_id, EventKind::PatientUpdated, moment)?;
        if facts != before {
            owner.one_id = self.look_again(&owner.one_id, &facts, moment)?;
        }
        Ok(owner)
    }

    /// A record that has become known better may be somebody who is known already: then the two persons are one, as they
    /// would have been had the better record come first.
    fn look_again(&self, one_id: &str, facts: &PatientFacts, moment: Moment) -> Result<String, Trouble> {
        let mut others = self.same_identity_number(facts)?;
        others.retain(|candidate| candidate.one_id != one_id);
        let Decision::Link { one_id: other, evidence } = decide(facts, &[], &others) else {
            return Ok(one_id.to_owned());
        };
        // A veto of any record of this person against the other forbids it.
        let found: Vec<Candidate> = others.into_iter().filter(|candidate| candidate.one_id == other).collect();
        for record in records::of_person(self.transaction, one_id)? {
            let facts = PatientFacts::of(&record.state.record());
            let (Decision::Ambiguous { evidence } | Decision::New { evidence }) = decide(&facts, &[], &found) else { continue };
            if evidence.iter().any(|evidence| !evidence.vetoes.is_empty()) {
                return Ok(one_id.to_owned());
            }
        }
        // The older One ID lives on, so that the outcome does not depend on which record was completed last.
        let (survivor, retired) = if *other < *one_id { (other.as_str(), one_id) } else { (one_id, other.as_str()) };
        self.merge_persons(survivor, retired, &json!({"evidence": evidence}), moment, self.cause)?;
        Ok(survivor.to_owned())
    }

    fn same_identity_number(&self, facts: &PatientFacts) -> Result<Vec<Candidate>, Trouble> {
        let mut found = Vec::new();
        for number in &facts.identity_numbers {
            found.extend(records::with_identity_number(self.transaction, &number.kind, &number.value)?);
        }
        self.candidates(found)
    }

    /// The persons of these records, each with all its records.
    fn candidates(&self, found: Vec<Record>) -> Result<Vec<Candidate>, Trouble> {
        let mut persons: BTreeMap<String, Vec<PatientFacts>> = BTreeMap::new();
        for record in found {
            if !persons.contains_key(&record.one_id) {
                let facts = records::of_person(self.transaction, &record.one_id)?
                    .iter()
                    .map(|record| PatientFacts::of(&record.state.record()))
                    .collect();
                persons.insert(record.one_id, facts);
            }
        }
        Ok(persons.into_iter().map(|(one_id, records)| Candidate { one_id, records }).collect())
    }

    fn new_person(&self) -> Result<String, Trouble> {
        let mut random = [0; 10];
        getrandom::fill(&mut random)
            .map_err(|error| crate::store::StoreError::Defect { reason: format!("no random numbers: {error}") })?;
        let random = random.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let milliseconds = u64::try_from(self.received_at / 1_000).unwrap_or_default();
        let one_id = Ulid::from_parts(milliseconds, random).to_string();
        let person = Person {
            one_id: one_id.clone(),
            version: 0,
            merged_into: None,
            created_at: self.received_at,
            golden: Fields::new(),
        };
        persons::create(self.transaction, &person)?;
        Ok(one_id)
    }

    /// Brings the golden record up to date and publishes `kind` if it changed.
    fn refresh_person(&self, one_id: &str, kind: EventKind, moment: Moment) -> Result<(), Trouble> {
        let before = self.person(one_id)?;
        let after = Person { golden: self.golden(one_id)?, ..before.clone() };
        let changed = changed(&before.golden, &after.golden);
        if changed.is_empty() && before.version > 0 {
            return Ok(());
        }
        let after = Person { version: before.version + 1, ..after };
        persons::update(self.transaction, &before, &after)?;
        self.publish(kind, one_id, one_id, moment, after.version, &changed, after.golden, self.cause)?;
        Ok(())
    }

    fn person(&self, one_id: &str) -> Result<Person, Trouble> {
        Ok(persons::get(self.transaction, one_id)?
            .ok_or_else(|| crate::store::StoreError::Defect { reason: "a record's person is missing".to_owned() })?)
    }

    fn golden(&self, one_id: &str) -> Result<Fields, Trouble> {
        let records = records::of_person(self.transaction, one_id)?;
        let projected: Vec<Fields> = records.iter().map(|record| record.state.record()).collect();
        let members: Vec<Member<'_>> = records
            .iter()
            .zip(&projected)
            .map(|(row, record)| Member { source: &row.source, record, set_at: row.state.set_at() })
            .collect();
        Ok(golden(&members))
    }

    /// Carries out a merge that the source declares (A40 and its older forms).
    pub(super) fn merge(&self, fields: &Fields) -> Result<(), Trouble> {
        let (Some(survivor), Some(retired)) = (self.number(fields, "survivor"), self.number(fields, "retired")) else {
            return Err(Trouble::content(
                ErrorCode::RequiredFieldMissing,
                Location::field("MRG", 1),
                "a merge needs the surviving number in PID-3 and the retired number in MRG-1",
            ));
        };
        let moment = self.moment(fields);
        let survivor_record = self.find_or_stub(&survivor, None, moment)?;
        let survivor_now = self.live(survivor_record)?;
        let known = records::find(self.transaction, &self.source.name, &retired)?;
        let retired_now = match known {
            Some(record) => self.live(record)?.number,
            None => retired.clone(),
        };
        let request = MergeRequest {
            source: &self.source.name,
            owner: self.source.owners.get(&survivor.system).map(String::as_str),
            survivor: &survivor,
            retired: &retired,
            survivor_now: &survivor_now.number,
            retired_now: &retired_now,
        };
        let plan = plan_merge(&request).map_err(|refusal| {
            Trouble::content(ErrorCode::ApplicationInternalError, Location::field("MRG", 1), refusal.to_string())
        })?;
        let MergePlan::Apply { retired, .. } = plan else { return Ok(()) };
        let record = self.find_or_stub(&retired, Some(&survivor_now.one_id), moment)?;
        records::retire(self.transaction, record.id, survivor_now.id)?;
        let basis = json!({"source": self.source.name, "survivor": survivor_now.number.to_string(), "retired": retired.to_string()});
        if record.one_id == survivor_now.one_id {
            // One person already, or a number that nobody had used: only the golden record's identifiers may change.
            return self.refresh_person(&survivor_now.one_id, EventKind::PatientUpdated, moment);
        }
        self.merge_persons(&survivor_now.one_id, &record.one_id, &basis, moment, Cause::Merge)
    }

    fn number(&self, fields: &Fields, name: &str) -> Option<RecordNumber> {
        let number = fields.get(name)?;
        let text = |part: &str| number.get(part).and_then(Value::as_str).filter(|text| !text.is_empty());
        Some(RecordNumber {
            system: text("system").unwrap_or(&self.source.name).to_owned(),
            value: text("value")?.to_owned(),
        })
    }

    /// The record that a retired one answers as; itself if it is live.
    fn live(&self, mut record: Record) -> Result<Record, Trouble> {
        while let Some(into) = record.merged_into {
            record = records::get(self.transaction, into)?;
        }
        Ok(record)
    }

    /// The record of a number that a merge names; a record with nothing but the number if no message has brought one yet, so
    /// that whatever comes later under it finds the merge done. Belongs to `one_id`, or to a new person.
    fn find_or_stub(&self, number: &RecordNumber, one_id: Option<&str>, moment: Moment) -> Result<Record, Trouble> {
        if let Some(record) = records::find(self.transaction, &self.source.name, number)? {
            return Ok(record);
        }
        let identifiers_only = Fields::from_iter([(
            "identifiers".to_owned(),
            json!([{"type": "mrn", "system": number.system, "value": number.value}]),
        )]);
        // As old as can be: anything that a later message says is newer.
        let stub = Moment { at: i64::MIN, arrival: moment.arrival };
        let (one_id, created) = match one_id {
            Some(one_id) => (one_id.to_owned(), false),
            None => {
                let candidates = self.candidates(records::with_number(self.transaction, number)?)?;
                match candidates.into_iter().next() {
                    Some(candidate) => (candidate.one_id, false),
                    None => (self.new_person()?, true),
                }
            }
        };
        let mut state = PatientState::default();
        let applied = state.apply(identifiers_only, stub);
        let facts = PatientFacts::of(&applied.record);
        let new = NewRecord {
            source: self.source.name.clone(),
            number: number.clone(),
            one_id: one_id.clone(),
            link: LinkKind::Auto,
            updated_at: moment.at,
            state,
        };
        let id = records::create(self.transaction, &new, &identifiers(&applied.record, &facts))?;
        records::log_link(self.transaction, id, None, &one_id, LinkKind::Auto, &json!([]), self.message, self.received_at)?;
        if created {
            self.refresh_person(&one_id, EventKind::PatientCreated, moment)?;
        }
        Ok(records::get(self.transaction, id)?)
    }

    /// All records of `retired` become the survivor's; consumers are told which visits and reports moved, and get each anew.
    fn merge_persons(
        &self,
        survivor: &str,
        retired: &str,
        basis: &Value,
        moment: Moment,
        cause: Cause,
    ) -> Result<(), Trouble> {
        let moved = records::of_person(self.transaction, retired)?;
        let (mut visits, mut reports) = (Vec::new(), Vec::new());
        for record in &moved {
            visits.extend(clinical::visits_of_record(self.transaction, record.id)?);
            reports.extend(clinical::lab_reports_of_record(self.transaction, record.id)?);
            records::move_to_person(self.transaction, record.id, survivor, LinkKind::Auto)?;
            records::log_link(
                self.transaction,
                record.id,
                Some(retired),
                survivor,
                LinkKind::Auto,
                basis,
                self.message,
                self.received_at,
            )?;
        }
        let gone = self.person(retired)?;
        persons::update(self.transaction, &gone, &Person { merged_into: Some(survivor.to_owned()), ..gone.clone() })?;
        let before = self.person(survivor)?;
        let after = Person { version: before.version + 1, golden: self.golden(survivor)?, ..before.clone() };
        persons::update(self.transaction, &before, &after)?;
        let mut data = after.golden.clone();
        data.insert("retired".into(), json!([retired]));
        data.insert("basis".into(), basis.clone());
        let visit_ids: Vec<String> = visits.iter().map(|visit| clinical::visit_id(&visit.source, &visit.number)).collect();
        let report_ids: Vec<String> =
            reports.iter().map(|report| clinical::report_id(&report.source, &report.number)).collect();
        data.insert("records".into(), json!({"visits": visit_ids, "lab_reports": report_ids}));
        let changed = changed(&before.golden, &after.golden);
        self.publish(EventKind::PatientMerged, survivor, survivor, moment, after.version, &changed, data, cause)?;
        let moved = ["one_id".to_owned()];
        for (mut visit, visit_id) in visits.into_iter().zip(visit_ids) {
            visit.version += 1;
            let data = clinical::visit_record(&visit);
            self.publish(EventKind::VisitUpdated, &visit_id, survivor, moment, visit.version, &moved, data, Cause::Merge)?;
            clinical::put_visit(self.transaction, &visit)?;
        }
        for (mut report, report_id) in reports.into_iter().zip(report_ids) {
            report.version += 1;
            let data = clinical::lab_report_record(&report);
            let kind = report.state.present_event();
            self.publish(kind, &report_id, survivor, moment, report.version, &moved, data, Cause::Merge)?;
            clinical::put_lab_report(self.transaction, &report)?;
        }
        Ok(())
    }
}

/// The number that names the source's record of a patient: the first medical record number, else the first number of any kind.
fn record_number(patch: &Fields) -> Option<RecordNumber> {
    let identifiers = patch.get("identifiers")?.as_array()?;
    let number = |identifier: &Value| {
        let text = |part: &str| identifier.get(part).and_then(Value::as_str).filter(|text| !text.is_empty());
        Some(RecordNumber { system: text("system").unwrap_or_default().to_owned(), value: text("value")?.to_owned() })
    };
    let medical = identifiers.iter().filter(|identifier| identifier.get("type").is_some_and(|kind| kind == "mrn"));
    medical.chain(identifiers).find_map(number)
}

/// What the store looks records up by: all numbers as sent, and identity numbers in normal form.
fn identifiers(record: &Fields, facts: &PatientFacts) -> Vec<(String, RecordNumber)> {
    let sent = record.get("identifiers").and_then(Value::as_array).into_iter().flatten();
    let text = |identifier: &Value, part: &str| {
        identifier.get(part).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let sent = sent.map(|identifier| {
        let number = RecordNumber { system: text(identifier, "system"), value: text(identifier, "value") };
        (text(identifier, "type"), number)
    });
    let identity = facts.identity_numbers.iter().map(|number| {
        (number.kind.clone(), RecordNumber { system: String::new(), value: number.value.clone() })
    });
    sent.chain(identity).collect()
}
