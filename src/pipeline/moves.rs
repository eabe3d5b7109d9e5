//! Whose a record is, looked at again: records that find their person, leave one, or bring two together.
//!
//! The records that a source has merged (A40) are one patient by its own word: they stay and move together, and where the surviving
//! one has a resident number, those of the retired ones count no more.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{About, Cause, Job, Trouble};
use super::patient::{golden_of, medical_record_numbers, state_of};
use crate::feed::EventKind;
use crate::identity::{Candidate, Decision, Evidence, PatientFacts, Veto, decide};
use crate::record::{Fields, RecordNumber, Value, json};
use crate::state::{LabReportState, Moment, changed};
use crate::store::clinical::{LabReport, Visit};
use crate::store::persons::Person;
use crate::store::records::{LinkKind, PatientRecord};
use crate::store::{StoreError, all_pages, clinical, persons, records};
use crate::view::{self, stored};

/// Persons looked at for one identity number. More than a few mean that it is everybody's number; the rest cannot change that.
const CANDIDATE_RECORDS: usize = 64;
/// Visits or reports moved in one step of a merge.
const PAGE: usize = 1_000;

/// A record of a person, and what it says of who that is.
struct Known {
    row: PatientRecord,
    record: Fields,
    facts: PatientFacts,
}

impl Known {
    /// All numbers by which sources know it.
    fn numbers(&self) -> impl Iterator<Item = RecordNumber> {
        std::iter::once(self.row.number.clone()).chain(medical_record_numbers(&self.record))
    }
}

impl Job<'_> {
    /// A record that has become known better may not be who it was taken for, or somebody who is known already: the outcome is as
    /// if the better record had come first.
    pub(super) fn look_again(&self, row: &PatientRecord, moment: Moment) -> Result<String, Trouble> {
        let members = self.records_of(&row.one_id)?;
        let own = members
            .iter()
            .find(|known| known.row.id == row.id)
            .ok_or(StoreError::Damaged { what: "patient_record.one_id" })?;
        let (group, rest): (Vec<&Known>, Vec<&Known>) = {
            let tied = tied(&members, own);
            members.iter().partition(|known| tied.contains(&known.row.id))
        };
        let rest = rest.iter().map(|known| known.facts.clone()).collect();
        let rest = Candidate { one_id: row.one_id.clone(), records: rest };
        let Some(evidence) = contradiction(&own.facts, &rest) else {
            return self.join(own, &members, moment);
        };
        self.detach(own, &group, &evidence, moment)?;
        let row = self.record(row.id)?;
        let members = self.records_of(&row.one_id)?;
        match members.iter().find(|known| known.row.id == row.id) {
            Some(own) => self.join(own, &members, moment),
            None => Ok(row.one_id),
        }
    }

    /// Makes one person of two if the record `own` of the person with `members` shows that they are one.
    fn join(&self, own: &Known, members: &[Known], moment: Moment) -> Result<String, Trouble> {
        let one_id = own.row.one_id.as_str();
        let all: BTreeSet<i64> = members.iter().map(|known| known.row.id).collect();
        let same_number = self.same_number(&own.row.number, &own.record, &all)?;
        let same_identity = self.same_identity_number(&own.facts, &all)?;
        let Decision::Link { one_id: other, evidence } = decide(&own.facts, &same_number, &same_identity) else {
            return Ok(one_id.to_owned());
        };
        let others = members.iter().filter(|known| known.row.id != own.row.id);
        if any_veto(others, &other, &same_number, &same_identity) {
            return Ok(one_id.to_owned());
        }
        self.note_doubt(&evidence);
        // The older One ID lives on, so that the outcome does not depend on which record was completed last.
        let (survivor, retired) = if *other < *one_id { (other.as_str(), one_id) } else { (one_id, other.as_str()) };
        self.merge_persons(survivor, retired, &basis(own, &json!(evidence)), moment)?;
        Ok(survivor.to_owned())
    }

    /// The record `own` says what the others of its person rule out: with the `group` that is tied to it, and their visits and reports,
    /// it goes to the person that it would have found first, else to a new one.
    fn detach(&self, own: &Known, group: &[&Known], evidence: &[Evidence], moment: Moment) -> Result<(), Trouble> {
        let ids: BTreeSet<i64> = group.iter().map(|known| known.row.id).collect();
        let mut moved = self.belongings(&own.row.one_id)?;
        moved.visits.retain(|visit| ids.contains(&visit.record));
        moved.reports.retain(|report| ids.contains(&report.record));
        let same_number = self.same_number(&own.row.number, &own.record, &ids)?;
        let same_identity = self.same_identity_number(&own.facts, &ids)?;
        let found = match decide(&own.facts, &same_number, &same_identity) {
            Decision::Link { one_id, evidence } => {
                let others = group.iter().copied().filter(|known| known.row.id != own.row.id);
                (!any_veto(others, &one_id, &same_number, &same_identity)).then_some((one_id, evidence))
            }
            Decision::Ambiguous { .. } | Decision::New { .. } => None,
        };
        let mut basis = basis(own, &json!(evidence));
        let (one_id, is_known) = match found {
            Some((one_id, found)) => {
                self.note_doubt(&found);
                if let Some(basis) = basis.as_object_mut() {
                    basis.insert("found", json!(found));
                }
                (one_id, true)
            }
            None => (self.new_person(golden_of(group.iter().map(|known| &known.row))?, moment)?, false),
        };
        for known in group {
            records::link(self.transaction, &self.link_change(known.row.id, &one_id, LinkKind::Auto, basis.clone()))?;
        }
        let told = [("new_one_id", json!(one_id)), ("basis", basis), ("records", moved.ids())];
        self.tell_change(EventKind::PatientSplit, &own.row.one_id, told, moment)?;
        if is_known {
            self.refresh_person(&one_id, EventKind::PatientUpdated, moment)?;
        }
        self.publish_moved(moved, &one_id, moment, Cause::Split)
    }

    /// After a merge that a source declared for the record `merged`: whoever the person had linked by an identity number that is now
    /// ruled out does not come along.
    pub(super) fn look_at_others(&self, merged: i64, moment: Moment) -> Result<(), Trouble> {
        let one_id = self.record(merged)?.one_id;
        let members = self.records_of(&one_id)?;
        let Some(own) = members.iter().find(|known| known.row.id == merged) else { return Ok(()) };
        let tied = tied(&members, own);
        for known in members.iter().filter(|known| !tied.contains(&known.row.id)) {
            // Read anew: one that left before may have taken it along.
            let row = self.record(known.row.id)?;
            if row.one_id == one_id {
                self.look_again(&row, moment)?;
            }
        }
        Ok(())
    }

    /// The persons of all records that bear, or name, one of the record's medical record numbers, without the records `except`.
    pub(super) fn same_number(
        &self,
        own: &RecordNumber,
        record: &Fields,
        except: &BTreeSet<i64>,
    ) -> Result<Vec<Candidate>, Trouble> {
        let mut found = records::with_number(self.transaction, own)?;
        for number in medical_record_numbers(record).filter(|number| number != own) {
            found.extend(records::with_number(self.transaction, &number)?);
        }
        self.candidates(found, except)
    }

    /// The persons of all records that have one of the identity numbers, without the records `except`.
    pub(super) fn same_identity_number(
        &self,
        facts: &PatientFacts,
        except: &BTreeSet<i64>,
    ) -> Result<Vec<Candidate>, Trouble> {
        let mut found = Vec::new();
        for number in &facts.identity_numbers {
            found.extend(records::with_identifier(self.transaction, &number.kind, &number.value, CANDIDATE_RECORDS)?);
        }
        self.candidates(found, except)
    }

    /// The persons of these records, each with all its records; without the records `except`.
    fn candidates(&self, found: Vec<PatientRecord>, except: &BTreeSet<i64>) -> Result<Vec<Candidate>, Trouble> {
        let found = found.into_iter().filter(|record| !except.contains(&record.id));
        let persons: BTreeSet<String> = found.map(|record| record.one_id).collect();
        let candidate = |one_id: String| {
            let known = self.records_of(&one_id)?.into_iter().filter(|known| !except.contains(&known.row.id));
            Ok(Candidate { records: known.map(|known| known.facts).collect(), one_id })
        };
        persons.into_iter().map(candidate).collect()
    }

    /// The records of a person. A retired one is without its resident number if the one that it was merged into has one.
    fn records_of(&self, one_id: &str) -> Result<Vec<Known>, StoreError> {
        let rows = records::of_person(self.transaction, one_id)?;
        let known = rows.into_iter().map(|row| {
            let record = state_of(&row)?.record();
            Ok(Known { facts: PatientFacts::of(&record), record, row })
        });
        let mut members = known.collect::<Result<Vec<_>, StoreError>>()?;
        if members.iter().all(|known| known.row.merged_into.is_none()) {
            return Ok(members);
        }
        let ahead: BTreeMap<i64, (Option<i64>, bool)> = members
            .iter()
            .map(|known| (known.row.id, (known.row.merged_into, known.facts.has_resident_id())))
            .collect();
        for known in &mut members {
            let mut next = known.row.merged_into;
            while let Some((into, has_resident_id)) = next.and_then(|id| ahead.get(&id)) {
                if *has_resident_id {
                    known.facts.forget_resident_ids();
                    break;
                }
                next = *into;
            }
        }
        Ok(members)
    }

    /// All records of `retired` become the survivor's; consumers are told which visits and reports moved, and get each anew
    /// under its new One ID.
    pub(super) fn merge_persons(
        &self,
        survivor: &str,
        retired: &str,
        basis: &Value,
        moment: Moment,
    ) -> Result<(), Trouble> {
        let moved = self.belongings(retired)?;
        for row in records::of_person(self.transaction, retired)? {
            records::link(self.transaction, &self.link_change(row.id, survivor, LinkKind::Auto, basis.clone()))?;
        }
        let gone = self.person(retired)?;
        let redirected = Person { merged_into: Some(survivor.to_owned()), ..gone.clone() };
        persons::update(self.transaction, &gone, &redirected)?;
        let told = [("retired", json!([retired])), ("basis", basis.clone()), ("records", moved.ids())];
        self.tell_change(EventKind::PatientMerged, survivor, told, moment)?;
        self.publish_moved(moved, survivor, moment, Cause::Merge)
    }

    /// Publishes that the records of a person changed hands: its golden record anew, and what moved.
    fn tell_change(
        &self,
        kind: EventKind,
        one_id: &str,
        told: [(&str, Value); 3],
        moment: Moment,
    ) -> Result<(), Trouble> {
        let before = self.person(one_id)?;
        let after = Person { version: before.version + 1, golden: self.golden(one_id)?, ..before.clone() };
        persons::update(self.transaction, &before, &after)?;
        let changed = changed(&before.golden, &after.golden);
        let about = About { kind, record: one_id, one_id, moment, version: after.version };
        let mut data = view::person(after);
        data.extend(told.map(|(name, value)| (name.to_owned(), value)));
        self.publish(about, &changed, data, self.cause)?;
        Ok(())
    }

    fn belongings(&self, one_id: &str) -> Result<Belongings, Trouble> {
        Ok(Belongings {
            visits: all_pages(|after| clinical::visits_of_person(self.transaction, one_id, after, PAGE))?,
            reports: all_pages(|after| clinical::lab_reports_of_person(self.transaction, one_id, after, PAGE))?,
        })
    }

    /// Publishes each visit and report under the One ID that it belongs to now.
    fn publish_moved(&self, moved: Belongings, one_id: &str, moment: Moment, cause: Cause) -> Result<(), Trouble> {
        let changed = ["one_id".to_owned()];
        for mut visit in moved.visits {
            visit.version += 1;
            let (record, version) = (visit.visit_id(), visit.version);
            let about = About { kind: EventKind::VisitUpdated, record: &record, one_id, moment, version };
            self.publish(about, &changed, view::visit(&visit, one_id)?, cause)?;
            clinical::put_visit(self.transaction, &visit)?;
        }
        for mut report in moved.reports {
            report.version += 1;
            let state: LabReportState = stored(&report.state, "lab_report.state")?;
            let (record, version) = (report.report_id(), report.version);
            let about = About { kind: state.event(), record: &record, one_id, moment, version };
            self.publish(about, &changed, view::lab_report_record(state.record(), &report, one_id), cause)?;
            clinical::put_lab_report(self.transaction, &report)?;
        }
        Ok(())
    }
}

/// What belongs to a person beside the records themselves.
struct Belongings {
    visits: Vec<Visit>,
    reports: Vec<LabReport>,
}

impl Belongings {
    /// `records` of the events that tell who has them now.
    fn ids(&self) -> Value {
        let visits: Vec<String> = self.visits.iter().map(Visit::visit_id).collect();
        let reports: Vec<String> = self.reports.iter().map(LabReport::report_id).collect();
        json!({"visits": visits, "lab_reports": reports})
    }
}

/// The records that move with `own`, itself among them: those that its source merged with it, and those that are here by the same
/// number and rule nothing out.
fn tied(members: &[Known], own: &Known) -> BTreeSet<i64> {
    let mut tied = BTreeSet::from([own.row.id]);
    let mut numbers: BTreeSet<RecordNumber> = own.numbers().collect();
    let alone = |known: &Known| Candidate { one_id: String::new(), records: vec![known.facts.clone()] };
    loop {
        let merged = |known: &Known| {
            known.row.merged_into.is_some_and(|into| tied.contains(&into))
                || members
                    .iter()
                    .any(|other| tied.contains(&other.row.id) && other.row.merged_into == Some(known.row.id))
        };
        let next = members.iter().filter(|known| !tied.contains(&known.row.id)).find(|known| {
            merged(known)
                || known.numbers().any(|number| numbers.contains(&number))
                    && contradiction(&own.facts, &alone(known)).is_none()
        });
        let Some(next) = next else { return tied };
        tied.insert(next.row.id);
        numbers.extend(next.numbers());
    }
}

/// The evidence, if the records of `rest` have other resident numbers than `facts`.
fn contradiction(facts: &PatientFacts, rest: &Candidate) -> Option<Vec<Evidence>> {
    let (Decision::Ambiguous { evidence } | Decision::New { evidence }) =
        decide(facts, std::slice::from_ref(rest), &[])
    else {
        return None;
    };
    evidence.iter().any(|evidence| evidence.vetoes.contains(&Veto::DifferentResidentId)).then_some(evidence)
}

/// Whether one of these records and the person `other` among the candidates must not be one.
fn any_veto<'a>(
    mut records: impl Iterator<Item = &'a Known>,
    other: &str,
    same_number: &[Candidate],
    same_identity: &[Candidate],
) -> bool {
    let Some(found) = same_number.iter().chain(same_identity).find(|candidate| candidate.one_id == other) else {
        return false;
    };
    records.any(|known| {
        // One that shares no identity number is not weighed by it: a number of its own may rule the other out all the same.
        let by_identity = decide(&known.facts, &[], std::slice::from_ref(found));
        let (Decision::Ambiguous { evidence } | Decision::New { evidence }) = by_identity else { return false };
        evidence.iter().any(|evidence| !evidence.vetoes.is_empty()) || contradiction(&known.facts, found).is_some()
    })
}

/// Why a record of a person changed its person.
fn basis(own: &Known, evidence: &Value) -> Value {
    json!({"source": own.row.source, "record": own.row.number.to_string(), "evidence": evidence})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::hl7v2::{CharsetSetting, Limits};
    use crate::mapping::Mapping;
    use crate::pipeline::{Cause, Source, commit, prepare};
    use crate::store::messages::MessageState;
    use crate::store::records::LinkChange;
    use crate::store::{Access, Store, StoreConfig};

    fn source() -> Arc<Source> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mapping = Mapping::load("mappings/hl7v2.toml", &|file| std::fs::read_to_string(root.join(file)));
        Arc::new(Source {
            name: "his".to_owned(),
            mapping: mapping.unwrap(),
            zone: jiff::tz::TimeZone::UTC,
            facility: None,
            charset: CharsetSetting::Auto,
            limits: Limits::default(),
            site: Arc::default(),
        })
    }

    fn take(store: &Store, source: &Arc<Source>, kind: &str, id: &str, body: &str) {
        let text = format!("MSH|^~\\&|HIS|H|HEYI|H|20240305080000||ADT^{kind}|{id}|P|2.5\rEVN||20240305080000\r{body}");
        let unit = prepare(source, text.as_bytes(), 1_750_000_000_000_000);
        let done = store.submit_blocking(move |transaction| commit(transaction, unit, Cause::Message)).unwrap();
        assert_eq!(done.state, MessageState::Processed, "{:?}", done.error);
    }

    /// The One IDs of `his`, by number.
    fn one_ids(store: &Store) -> BTreeMap<String, String> {
        let links = store.read(|reader| records::links(reader, 0, 10)).unwrap();
        links.into_iter().map(|link| (link.number.value, link.one_id)).collect()
    }

    #[test]
    fn a_merge_said_again_brings_together_what_stands_at_two_persons() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon)).unwrap();
        let source = source();
        for number in ["P1", "P2", "P3"] {
            take(&store, &source, "A28", number, &format!("PID|1||{number}^^^HIS^MR||张^伟||19800102|M"));
        }
        let other = one_ids(&store)["P3"].clone();
        let merge = "PID|1||P1^^^HIS^MR\rMRG|P2^^^HIS^MR";
        take(&store, &source, "A40", "M1", merge);
        store
            .submit_blocking(move |transaction| {
                let retired = records::find(
                    transaction,
                    "his",
                    &RecordNumber { system: "HIS".to_owned(), value: "P2".to_owned() },
                )?;
                let change = LinkChange {
                    record: retired.map_or(0, |record| record.id),
                    from: None,
                    to: other,
                    kind: LinkKind::Auto,
                    basis: json!({}),
                    message: None,
                    at: 1,
                };
                records::link(transaction, &change)
            })
            .unwrap();
        assert_ne!(one_ids(&store)["P1"], one_ids(&store)["P2"]);
        take(&store, &source, "A40", "M2", merge);
        assert_eq!(one_ids(&store)["P1"], one_ids(&store)["P2"]);
        store.close();
    }
}
