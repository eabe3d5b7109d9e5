//! Patients and persons: a source record finds its One ID, a person's golden record follows its records, merges move them.

use std::collections::BTreeSet;

use ulid::Ulid;

use super::apply::{About, Job, Owner, Trouble};
use super::life::Conflict;
use super::matching::{Asked, terms_of_candidate};
use super::telling::Statement;
use crate::feed::EventKind;
use crate::identity::{Decision, Evidence, FactKind, Member, NameClass, PatientFacts, Tie, golden, passes};
use crate::record::{Fields, Kind, RecordNumber, Value, json};
use crate::state::{Applied, Moment, PatientState, changed};
use crate::store::persons::Person;
use crate::store::records::{LinkChange, LinkKind, NewRecord, PatientRecord, RecordIdentifier};
use crate::store::reviews::ReviewKind;
use crate::store::{StoreError, matching, persons, records, resources};
use crate::view::{self, stored, to_stored};

impl Job<'_> {
    /// Applies what the message says of a patient. `visit_of`: the record whose visit the message names. `None`: it names no number, so
    /// there is nobody to apply it to.
    pub(super) fn patient(&self, mut patch: Fields, visit_of: Option<i64>) -> Result<Option<Owner>, Trouble> {
        name_authorities(self.source, &mut patch);
        let Some(number) = record_number(&patch) else { return Ok(None) };
        let moment = self.moment_of(Kind::Patient, &patch);
        let mut generations = records::generations(self.transaction, self.source, &number)?;
        let said = PatientFacts::of(&patch);
        let owner = match self.meant(&generations, &said)? {
            Some(place) => {
                let record = generations.swap_remove(place);
                if record.merged_into.is_some() && self.statement.is_none() {
                    self.note("PID-3: the number was given up for another one (merged or renamed): what is said counts for that one");
                }
                self.update_record(record, patch, moment)?
            }
            None => self.new_record(&number, patch, visit_of, moment, &generations)?,
        };
        if let Some(statement) = &self.statement {
            statement.remember_patient(&self.record(owner.record)?, moment);
        }
        Ok(Some(owner))
    }

    /// Which of the patients for whom a source has used one number a message means that says `said`; `None`: none of them. Of several that
    /// could be meant the one that agrees in most, then the one that the source spoke of last.
    ///
    /// A server's Patient is the record that it was told as before, and that of another Patient, be that one deleted, only if the two may be
    /// one.
    pub(super) fn meant(&self, generations: &[PatientRecord], said: &PatientFacts) -> Result<Option<usize>, Trouble> {
        let own = self.statement.as_ref().and_then(Statement::own_record);
        let mut best: Option<(usize, usize)> = None;
        for (place, row) in generations.iter().enumerate() {
            let known = PatientFacts::of(&state_of(row)?.record());
            // A server says by its own id whose resource it is.
            let is_other = is_somebody_else(&known, said)
                || own.is_none() && known.is_wholly_other(said) && !self.is_held_by_hand(row)?;
            if is_other && !self.is_survivor_of(row, said)? {
                continue;
            }
            if let Some((patient, record)) = own {
                if record == Some(row.id) {
                    return Ok(Some(place));
                }
                if are_two(&known, said) && resources::was_told_by_another(self.transaction, row.id, patient)? {
                    continue;
                }
            }
            let agreements = agreements(&known, said);
            if best.is_none_or(|(most, _)| agreements > most) {
                best = Some((agreements, place));
            }
        }
        Ok(best.map(|(_, place)| place))
    }

    /// Whether somebody has put the record where it is, or another one there with it: it stays, and somebody is asked.
    fn is_held_by_hand(&self, row: &PatientRecord) -> Result<bool, Trouble> {
        if row.link == LinkKind::Manual {
            return Ok(true);
        }
        let rest: Vec<PatientRecord> =
            records::of_person(self.transaction, &row.one_id)?.into_iter().filter(|other| other.id != row.id).collect();
        Ok(self.are_joined_by_hand(std::slice::from_ref(row), &rest)?)
    }

    /// Whether a number that was given up is said of the patient for whom it was: a sender that goes on using it means the survivor, whatever
    /// was known under it before.
    fn is_survivor_of(&self, retired: &PatientRecord, said: &PatientFacts) -> Result<bool, Trouble> {
        let survivor = self.live(retired.clone())?;
        if survivor.id == retired.id || survivor.one_id != retired.one_id {
            return Ok(false);
        }
        let known = PatientFacts::of(&state_of(&survivor)?.record());
        // One of three may be a relative's or a namesake's, who has the number now.
        Ok(agreements(&known, said) >= 2)
    }

    /// A record that is not known. `earlier` are the patients for whom its source has used the number before: it is none of them.
    fn new_record(
        &self,
        number: &RecordNumber,
        patch: Fields,
        visit_of: Option<i64>,
        moment: Moment,
        earlier: &[PatientRecord],
    ) -> Result<Owner, Trouble> {
        let mut state = PatientState::default();
        let record = self.stated(&mut state, patch, moment).record;
        let all_facts = PatientFacts::of(&record);
        let facts = self.usable(all_facts.clone())?;
        let asked = Asked { number, record: &record, facts: &facts, visit_of, except: &BTreeSet::new() };
        let mut candidates = self.candidates(&asked)?;
        candidates.retain(|candidate| earlier.iter().all(|known| known.one_id != candidate.one_id));
        let decision = self.decide(&facts, &[], &candidates, BTreeSet::new())?;
        let (known, evidence) = match &decision {
            Decision::Link { evidence, others } => {
                self.note_doubt(evidence);
                let all = std::iter::once(evidence).chain(others).cloned().collect();
                (Some(evidence.one_id.clone()), all)
            }
            Decision::Ambiguous { evidence, .. } | Decision::New { evidence } => (None, evidence.clone()),
        };
        let is_known = known.is_some();
        let one_id = match known {
            Some(one_id) => one_id,
            None => {
                matching::count_person(self.transaction, 1)?;
                self.new_person(only(self.source, &state, &record), moment)?
            }
        };
        let link = self.link_change(0, &one_id, LinkKind::Auto, json!(self.told(&evidence)));
        let generation = earlier.iter().map(|known| known.generation).max().map_or(1, |last| last + 1);
        let id = self.insert_record((number, generation), &state, &record, &all_facts, link, moment)?;
        let members = candidates.iter().find(|candidate| candidate.one_id == one_id);
        let counted = || Ok(members.map(terms_of_candidate).unwrap_or_default());
        self.index_beside(id, counted, &PatientFacts::default(), &all_facts)?;
        if let Some(former) = earlier.first() {
            self.part_by_number(&self.record(id)?, earlier, former.id)?;
        }
        let shaken = self.quarantine(id, &all_facts)?;
        let owner = |one_id| Owner { record: id, number: number.clone(), one_id };
        if is_known {
            self.refresh_person(&one_id, EventKind::PatientUpdated, moment)?;
        }
        // Its number led to one person, its identity number leads to another: the record shows that they are one.
        let leads_on = matches!(&decision, Decision::Link { others, .. }
            if others.iter().any(|found| passes(&self.site.model, found)));
        if leads_on || !shaken.is_empty() {
            self.look_again(&self.record(id)?, moment)?;
        }
        self.look_at_shaken(shaken, id, moment)?;
        self.ask_about(id, &decision)?;
        if is_known {
            self.look_at_asked(&self.record(id)?.one_id, moment)?;
        }
        Ok(owner(self.record(id)?.one_id))
    }

    /// A number that stood for the patients `earlier` stands for one more: they are told apart, and somebody is asked.
    pub(super) fn part_by_number(
        &self,
        row: &PatientRecord,
        earlier: &[PatientRecord],
        former: i64,
    ) -> Result<(), Trouble> {
        let reason = "the source uses the number for another patient";
        self.tell_apart(std::slice::from_ref(row), earlier, self.source, reason)?;
        self.raise(Conflict::NumberReused, (former, row.id))
    }

    /// Looks again at records whose links may have rested on a value that proves nothing any more.
    fn look_at_shaken(&self, shaken: BTreeSet<i64>, cause: i64, moment: Moment) -> Result<(), Trouble> {
        // The later ones first: who was there before stays.
        for id in shaken.into_iter().rev() {
            let before = self.record(id)?;
            if self.look_again_without(&before, moment)? != before.one_id {
                let known = self.records_of(&before.one_id)?;
                if let Some(left) = known.first() {
                    self.ask_why(ReviewKind::Quarantine, (id, left.row.id), false)?;
                }
            }
            self.ask_why(ReviewKind::Quarantine, (cause, id), false)?;
        }
        Ok(())
    }

    /// A number under its authority joins, whatever else is said: where all else differs, somebody should look.
    pub(super) fn note_doubt(&self, evidence: &Evidence) {
        let differs =
            |fact: FactKind| evidence.score.facts.iter().any(|found| found.fact == fact && found.weight < 0.0);
        if evidence.tie == Some(Tie::SameNumber) && differs(FactKind::Name) && differs(FactKind::BirthDate) {
            let doubt = "PID-3: joined to a known person by its number, although the name and the birth date differ: look at \
                         `heyi person history`";
            self.notes.borrow_mut().push(doubt.to_owned());
        }
    }

    pub(super) fn insert_record(
        &self,
        (number, generation): (&RecordNumber, u32),
        state: &PatientState,
        record: &Fields,
        facts: &PatientFacts,
        link: LinkChange,
        moment: Moment,
    ) -> Result<i64, Trouble> {
        let new = NewRecord {
            source: self.source.to_owned(),
            number: number.clone(),
            generation,
            updated_at: moment.at,
            mapping: self.mapping.to_owned(),
            state: to_stored(state)?,
        };
        let id = records::insert(self.transaction, &new, &link)?;
        records::set_identifiers(self.transaction, id, &[], &identifiers(record, facts))?;
        Ok(id)
    }

    pub(super) fn link_change(&self, record: i64, to: &str, kind: LinkKind, basis: Value) -> LinkChange {
        LinkChange { record, from: None, to: to.to_owned(), kind, basis, message: self.message, at: self.now }
    }

    fn stated(&self, state: &mut PatientState, patch: Fields, moment: Moment) -> Applied {
        // A visit or report that knows its patient by a number alone says nothing of the rest.
        let is_whole = self.statement.as_ref().is_some_and(|statement| statement.own_record().is_some());
        if is_whole { state.apply_whole(patch, moment) } else { state.apply(patch, moment) }
    }

    fn update_record(&self, row: PatientRecord, patch: Fields, moment: Moment) -> Result<Owner, Trouble> {
        // A server that has the patient again has it, whatever time it gives; of two words of one time the one that came later counts.
        if row.deactivated_at.is_some_and(|at| self.statement.is_some() || at == moment.at) {
            records::reactivate(self.transaction, row.id)?;
        }
        let mut state = state_of(&row)?;
        let applied = self.stated(&mut state, patch, moment);
        let facts_before = PatientFacts::of(&applied.before);
        let updated_at = row.updated_at.max(moment.at);
        records::update(self.transaction, row.id, updated_at, self.mapping, &to_stored(&state)?)?;
        if row.link == LinkKind::Pending {
            // Known from a merge alone until now; its own source speaks of it.
            let model = self.site.model.version.as_str();
            let basis = json!({"source": self.source, "record": row.number.to_string(), "model": model});
            records::link(self.transaction, &self.link_change(row.id, &row.one_id, LinkKind::Auto, basis))?;
        }
        if applied.changed.is_empty() {
            // Said again, later: among several records of the person this one may now be the newest.
            // One that its source had deleted is back.
            if row.deactivated_at.is_some() || records::has_others(self.transaction, &row.one_id, row.id)? {
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
        if facts == facts_before && !renumbered {
            return Ok(Owner { record: row.id, number: row.number, one_id: row.one_id });
        }
        self.index(row.id, &row.one_id, &facts_before, &facts)?;
        let shaken = self.quarantine(row.id, &facts)?;
        self.look_again(&row, moment)?;
        self.doubt_merge(&row, &facts)?;
        self.look_at_shaken(shaken, row.id, moment)?;
        let one_id = self.record(row.id)?.one_id;
        if one_id != row.one_id {
            self.look_at_asked(&one_id, moment)?;
        }
        let one_id = self.record(row.id)?.one_id;
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
    let (former_names, set_at) = (state.former_names(), state.set_at());
    golden(&[Member { source, record, is_retired: false, is_deactivated: false, former_names, set_at }])
}

/// The golden record of these records.
pub(super) fn golden_of<'a>(rows: impl Iterator<Item = &'a PatientRecord>) -> Result<Fields, StoreError> {
    let known = rows.map(|row| state_of(row).map(|state| (row, state))).collect::<Result<Vec<_>, _>>()?;
    let projected: Vec<Fields> = known.iter().map(|(_, state)| state.record()).collect();
    let members = known.iter().zip(&projected).map(|((row, state), record)| Member {
        source: &row.source,
        record,
        is_retired: row.merged_into.is_some() || row.is_deactivated(),
        is_deactivated: row.is_deactivated(),
        former_names: state.former_names(),
        set_at: state.set_at(),
    });
    Ok(golden(&members.collect::<Vec<_>>()))
}

pub(super) fn state_of(row: &PatientRecord) -> Result<PatientState, StoreError> {
    stored(&row.state, "patient_record.state")
}

/// The number that names the source's record of a patient: the first medical record number, else the first number of any kind.
pub(super) fn record_number(patch: &Fields) -> Option<RecordNumber> {
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
    differences(known, said) == [true; 3]
}

/// Two Patients that a server has beside each other: two of three that tell people apart differ, and nothing shows that they are one.
fn are_two(known: &PatientFacts, said: &PatientFacts) -> bool {
    let differences = differences(known, said).into_iter().filter(|differs| *differs).count();
    differences >= 2 && !shares_number(known, said)
}

/// How many of name, birth date and identity number agree.
fn agreements(known: &PatientFacts, said: &PatientFacts) -> usize {
    let agreements = [
        !said.pinyin.is_empty() && known.pinyin == said.pinyin,
        said.birth_date.is_some() && known.birth_date == said.birth_date,
        shares_number(known, said),
    ];
    agreements.into_iter().filter(|agrees| *agrees).count()
}

fn shares_number(known: &PatientFacts, said: &PatientFacts) -> bool {
    known.identity_numbers.iter().any(|number| said.identity_numbers.contains(number))
}

/// Whether name, birth date and resident number are known on both sides and differ.
fn differences(known: &PatientFacts, said: &PatientFacts) -> [bool; 3] {
    let resident = |facts: &PatientFacts| {
        facts.identity_numbers.iter().find(|number| number.kind == "resident_id").map(|number| number.value.clone())
    };
    let differ = |one: Option<String>, other: Option<String>| one.is_some() && other.is_some() && one != other;
    let named = known.name_class == NameClass::Normal && said.name_class == NameClass::Normal;
    [
        named && known.pinyin != said.pinyin,
        differ(known.birth_date.clone(), said.birth_date.clone()),
        differ(resident(known), resident(said)),
    ]
}

/// What the store looks records up by: all numbers as sent, and identity numbers in normal form.
pub(super) fn identifiers(record: &Fields, facts: &PatientFacts) -> Vec<RecordIdentifier> {
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
