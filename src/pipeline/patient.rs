//! Patients and persons: a source record finds its One ID, a person's golden record follows its records, merges move them.

use std::collections::BTreeSet;

use ulid::Ulid;

use super::apply::{About, Job, Owner, Trouble};
use crate::feed::EventKind;
use crate::hl7v2::{ErrorCode, Location};
use crate::identity::{Agreement, Decision, Evidence, Ground, Member, NameClass, PatientFacts, decide, golden};
use crate::record::{Fields, RecordNumber, Value, json};
use crate::state::{Moment, PatientState, changed};
use crate::store::persons::Person;
use crate::store::records::{LinkChange, LinkKind, NewRecord, PatientRecord, RecordIdentifier};
use crate::store::{StoreError, persons, records};
use crate::view::{self, stored, to_stored};

impl Job<'_> {
    /// Applies what the message says of a patient. `None`: it names no number, so there is nobody to apply it to.
    pub(super) fn patient(&self, mut patch: Fields) -> Result<Option<Owner>, Trouble> {
        name_authorities(self.source, &mut patch);
        let Some(number) = record_number(&patch) else { return Ok(None) };
        let moment = self.moment(&patch);
        match records::find(self.transaction, self.source, &number)? {
            Some(record) => self.update_record(record, patch, moment).map(Some),
            None => self.new_record(&number, patch, moment).map(Some),
        }
    }

    fn new_record(&self, number: &RecordNumber, patch: Fields, moment: Moment) -> Result<Owner, Trouble> {
        let mut state = PatientState::default();
        let record = state.apply(patch, moment).record;
        let facts = PatientFacts::of(&record);
        let nobody = BTreeSet::new();
        let same_number = self.same_number(number, &record, &nobody)?;
        let same_identity = self.same_identity_number(&facts, &nobody)?;
        let (known, evidence) = match decide(&facts, &same_number, &same_identity) {
            Decision::Link { one_id, evidence } => {
                self.note_doubt(&evidence);
                (Some(one_id), vec![evidence])
            }
            Decision::Ambiguous { evidence } | Decision::New { evidence } => (None, evidence),
        };
        let is_known = known.is_some();
        let one_id = match known {
            Some(one_id) => one_id,
            None => self.new_person(only(self.source, &state, &record), moment)?,
        };
        let link = self.link_change(0, &one_id, LinkKind::Auto, json!(evidence));
        let id = self.insert_record(number, &state, &record, &facts, link, moment)?;
        if !is_known {
            return Ok(Owner { record: id, number: number.clone(), one_id });
        }
        self.refresh_person(&one_id, EventKind::PatientUpdated, moment)?;
        // Its number led to one person, its identity number leads to another: the record shows that they are one.
        let one_id = if same_identity.iter().any(|candidate| candidate.one_id != one_id) {
            self.look_again(&self.record(id)?, moment)?
        } else {
            one_id
        };
        Ok(Owner { record: id, number: number.clone(), one_id })
    }

    /// A number under its authority joins, whatever else is said: where all else differs, somebody should look.
    pub(super) fn note_doubt(&self, evidence: &Evidence) {
        let differs = [evidence.name, evidence.birth_date] == [Agreement::Different; 2];
        if evidence.ground == Ground::SameNumber && differs {
            let doubt = "PID-3: joined to a known person by its number, although the name and the birth date differ: look at \
                         `heyi person history`";
            self.notes.borrow_mut().push(doubt.to_owned());
        }
    }

    pub(super) fn insert_record(
        &self,
        number: &RecordNumber,
        state: &PatientState,
        record: &Fields,
        facts: &PatientFacts,
        link: LinkChange,
        moment: Moment,
    ) -> Result<i64, Trouble> {
        let new = NewRecord {
            source: self.source.to_owned(),
            number: number.clone(),
            generation: 1,
            updated_at: moment.at,
            state: to_stored(state)?,
        };
        let id = records::insert(self.transaction, &new, &link)?;
        records::set_identifiers(self.transaction, id, &[], &identifiers(record, facts))?;
        Ok(id)
    }

    pub(super) fn link_change(&self, record: i64, to: &str, kind: LinkKind, basis: Value) -> LinkChange {
        LinkChange { record, from: None, to: to.to_owned(), kind, basis, message: self.message, at: self.now }
    }

    fn update_record(&self, row: PatientRecord, patch: Fields, moment: Moment) -> Result<Owner, Trouble> {
        let mut state = state_of(&row)?;
        let said = PatientFacts::of(&patch);
        let applied = state.apply(patch, moment);
        let facts_before = PatientFacts::of(&applied.before);
        if is_somebody_else(&facts_before, &said) {
            return Err(Trouble::content(
                ErrorCode::DuplicateKeyIdentifier,
                Location::field("PID", 3),
                "the number belongs to another patient: name, birth date and resident number all differ from what this source \
                 has said; nothing was overwritten, correct the sender or give the patient another number",
            ));
        }
        records::update(self.transaction, row.id, row.updated_at.max(moment.at), &to_stored(&state)?)?;
        if applied.changed.is_empty() {
            // Said again, later: among several records of the person this one may now be the newest.
            if records::has_others(self.transaction, &row.one_id, row.id)? {
                self.refresh_person(&row.one_id, EventKind::PatientUpdated, moment)?;
            }
            return Ok(Owner { record: row.id, number: row.number, one_id: row.one_id });
        }
        let facts = PatientFacts::of(&applied.record);
        let renumbered = applied.changed.iter().any(|name| name == "identifiers");
        if renumbered {
            let (before, after) = (identifiers(&applied.before, &facts_before), identifiers(&applied.record, &facts));
            records::set_identifiers(self.transaction, row.id, &before, &after)?;
        }
        self.refresh_person(&row.one_id, EventKind::PatientUpdated, moment)?;
        let one_id =
            if facts == facts_before && !renumbered { row.one_id.clone() } else { self.look_again(&row, moment)? };
        Ok(Owner { record: row.id, number: row.number, one_id })
    }

    /// A person whose golden record is this, and the event that tells of it.
    pub(super) fn new_person(&self, golden: Fields, moment: Moment) -> Result<String, Trouble> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| StoreError::Defect { reason: format!("the system gives no random numbers: {error}") })?;
        let milliseconds = u64::try_from(self.now / 1_000).unwrap_or_default();
        let one_id = Ulid::from_parts(milliseconds, u128::from_be_bytes(random)).to_string();
        let changed: Vec<String> = golden.keys().map(ToString::to_string).collect();
        let person = Person { one_id: one_id.clone(), version: 1, merged_into: None, created_at: self.now, golden };
        persons::create(self.transaction, &person)?;
        let about = About { kind: EventKind::PatientCreated, record: &one_id, one_id: &one_id, moment, version: 1 };
        self.publish(about, &changed, view::person(person), self.cause)?;
        Ok(one_id)
    }

    /// Brings the golden record up to date and publishes `kind` if it changed.
    pub(super) fn refresh_person(&self, one_id: &str, kind: EventKind, moment: Moment) -> Result<(), Trouble> {
        let before = self.person(one_id)?;
        let golden = self.golden(one_id)?;
        let changed = changed(&before.golden, &golden);
        if changed.is_empty() {
            return Ok(());
        }
        let after = Person { version: before.version + 1, golden, ..before.clone() };
        persons::update(self.transaction, &before, &after)?;
        let about = About { kind, record: one_id, one_id, moment, version: after.version };
        self.publish(about, &changed, view::person(after), self.cause)?;
        Ok(())
    }

    pub(super) fn person(&self, one_id: &str) -> Result<Person, Trouble> {
        Ok(persons::get(self.transaction, one_id)?.ok_or(StoreError::Damaged { what: "patient_record.one_id" })?)
    }

    pub(super) fn golden(&self, one_id: &str) -> Result<Fields, Trouble> {
        Ok(golden_of(records::of_person(self.transaction, one_id)?.iter())?)
    }
}

/// The golden record of a person with this one record.
pub(super) fn only(source: &str, state: &PatientState, record: &Fields) -> Fields {
    golden(&[Member { source, record, is_retired: false, set_at: state.set_at() }])
}

/// The golden record of these records.
pub(super) fn golden_of<'a>(rows: impl Iterator<Item = &'a PatientRecord>) -> Result<Fields, StoreError> {
    let known = rows.map(|row| state_of(row).map(|state| (row, state))).collect::<Result<Vec<_>, _>>()?;
    let projected: Vec<Fields> = known.iter().map(|(_, state)| state.record()).collect();
    let members = known.iter().zip(&projected).map(|((row, state), record)| Member {
        source: &row.source,
        record,
        is_retired: row.merged_into.is_some(),
        set_at: state.set_at(),
    });
    Ok(golden(&members.collect::<Vec<_>>()))
}

pub(super) fn state_of(row: &PatientRecord) -> Result<PatientState, StoreError> {
    stored(&row.state, "patient_record.state")
}

/// The number that names the source's record of a patient: the first medical record number, else the first number of any kind.
fn record_number(patch: &Fields) -> Option<RecordNumber> {
    medical_record_numbers(patch).next().or_else(|| numbers(patch, |_| true).next())
}

pub(super) fn medical_record_numbers(record: &Fields) -> impl Iterator<Item = RecordNumber> {
    numbers(record, |kind| kind == "mrn")
}

/// The numbers of a record whose type is wanted, in its order.
fn numbers(record: &Fields, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = RecordNumber> {
    numbers_in(record, "identifiers", wanted)
}

pub(super) fn numbers_in(
    record: &Fields,
    list: &str,
    wanted: impl Fn(&str) -> bool,
) -> impl Iterator<Item = RecordNumber> {
    let identifiers = record.get(list).and_then(Value::as_array).into_iter().flatten();
    identifiers.filter_map(move |identifier| {
        let text = |part: &str| identifier.get(part).and_then(Value::as_str).filter(|text| !text.is_empty());
        let system = text("system").unwrap_or_default().to_owned();
        let value = text("value")?.to_owned();
        wanted(text("type").unwrap_or_default()).then_some(RecordNumber { system, value })
    })
}

/// A number that stands for another patient: everything that tells two people apart is known on both sides and differs. Two patients
/// in one record could never be told apart again. `said` is the message's own word: what is late changes none of this, and would mix
/// in all the rest.
fn is_somebody_else(known: &PatientFacts, said: &PatientFacts) -> bool {
    let resident = |facts: &PatientFacts| {
        facts.identity_numbers.iter().find(|number| number.kind == "resident_id").map(|number| number.value.clone())
    };
    let differ = |one: Option<String>, other: Option<String>| one.is_some() && other.is_some() && one != other;
    let named = known.name_class == NameClass::Normal && said.name_class == NameClass::Normal;
    named
        && known.pinyin != said.pinyin
        && differ(known.birth_date.clone(), said.birth_date.clone())
        && differ(resident(known), resident(said))
}

/// What the store looks records up by: all numbers as sent, and identity numbers in normal form.
fn identifiers(record: &Fields, facts: &PatientFacts) -> Vec<RecordIdentifier> {
    let sent = record.get("identifiers").and_then(Value::as_array).into_iter().flatten();
    let sent = sent.map(|identifier| {
        let text = |part| identifier.get(part).and_then(Value::as_str).unwrap_or_default().to_owned();
        RecordIdentifier { kind: text("type"), system: text("system"), value: text("value") }
    });
    let normal = facts.identity_numbers.iter().map(|number| RecordIdentifier {
        kind: number.kind.clone(),
        system: String::new(),
        value: number.value.clone(),
    });
    sent.chain(normal).collect()
}

/// A number without an assigning authority belongs to the source itself.
pub(super) fn name_authorities(source: &str, patch: &mut Fields) {
    let identifiers = patch.get_mut("identifiers").and_then(Value::as_array_mut).into_iter().flatten();
    for identifier in identifiers.filter_map(Value::as_object_mut) {
        if identifier.get("type").is_some_and(|kind| kind == "mrn") {
            identifier.get_or_insert_with("system", || Value::from(source));
        }
    }
}
