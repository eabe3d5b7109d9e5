//! Whose a record is, looked at again: records that find their person, leave one, or bring two together.
//!
//! The records that a source has merged (A40) are one patient by its own word: they stay and move together, and where the surviving
//! one has a resident number, those of the retired ones count no more.

use std::collections::BTreeSet;

use super::apply::{About, Cause, Job, Trouble};
use super::life::Goal;
use super::matching::{Asked, Known, patients, terms_of_all};
use crate::feed::EventKind;
use crate::identity::{Candidate, CandidateRecord, Decision, Evidence, NumberLevel, PatientFacts, Tie, Veto, compare};
use crate::record::{RecordNumber, Value, json};
use crate::state::{LabReportState, Moment, VisitState, changed};
use crate::store::clinical::{LabReport, Visit};
use crate::store::persons::Person;
use crate::store::records::{LinkKind, PatientRecord};
use crate::store::reviews::ReviewKind;
use crate::store::{StoreError, all_pages, clinical, matching, persons, records, reviews};
use crate::view::{self, stored};

/// Visits or reports moved in one step of a merge.
const PAGE: usize = 1_000;
/// Records looked at again because a person became known better: a bound on the work of one message.
const ASKED: usize = 16;

impl Job<'_> {
    /// A record that has become known better may not be who it was taken for, or somebody who is known already: the outcome is as
    /// if the better record had come first. Gives its One ID.
    pub(super) fn look_again(&self, row: &PatientRecord, moment: Moment) -> Result<String, Trouble> {
        self.judge(row, self.site.model.review_bits(), moment)
    }

    /// The same of a record whose link may have rested on a value that proves nothing any more: it stays only where it would be linked
    /// without it.
    pub(super) fn look_again_without(&self, row: &PatientRecord, moment: Moment) -> Result<String, Trouble> {
        self.judge(row, self.site.model.link_bits(), moment)
    }

    /// `enough`: bits with which a link stays.
    fn judge(&self, row: &PatientRecord, enough: f64, moment: Moment) -> Result<String, Trouble> {
        let members = self.records_of(&row.one_id)?;
        let own = members
            .iter()
            .find(|known| known.row.id == row.id)
            .ok_or(StoreError::Damaged { what: "patient_record.one_id" })?;
        let tied = tied(&members, own);
        let (group, rest): (Vec<&Known>, Vec<&Known>) = members.iter().partition(|known| tied.contains(&known.row.id));
        let Some(evidence) = self.contradiction(own, &group, &rest, enough)? else {
            return self.join(own, &members, moment);
        };
        let by_hand = |known: &&Known| known.row.link == LinkKind::Manual;
        // What a source has merged with one that was linked by hand came with that one.
        let patients = patients(&rest);
        let patient = |known: &Known| patients.get(&known.row.id).copied();
        let mut held: BTreeSet<Option<i64>> = BTreeSet::new();
        for known in &rest {
            if by_hand(known) || self.one_by_source(&group, known)? {
                held.insert(patient(known));
            }
        }
        let by_rule: Vec<&Known> = rest.iter().copied().filter(|known| !held.contains(&patient(known))).collect();
        let is_held = by_rule.len() < rest.len() && self.contradiction(own, &group, &by_rule, enough)?.is_none();
        if is_held || group.iter().any(by_hand) {
            // Somebody has decided so, or its source has said so (A24), of this record or of those that rule it out: it stays, and somebody
            // should know.
            self.ask(ReviewKind::DataQuality, (own.row.id, evidence.record), &evidence)?;
            return Ok(row.one_id.clone());
        }
        let rows = |known: &[&Known]| known.iter().map(|known| known.row.clone()).collect::<Vec<_>>();
        if self.are_joined_by_hand(&rows(&group), &rows(&rest))? {
            // Somebody has put it together with one of those who stay: whoever is here by rule alone leaves instead.
            self.ask(ReviewKind::DataQuality, (own.row.id, evidence.record), &evidence)?;
            for known in by_rule {
                let others: Vec<&Known> = members.iter().filter(|other| other.row.id != known.row.id).collect();
                let now = self.record(known.row.id)?;
                if now.one_id == row.one_id && !self.are_joined_by_hand(std::slice::from_ref(&now), &rows(&others))? {
                    self.look_again(&now, moment)?;
                }
            }
            return Ok(self.record(row.id)?.one_id);
        }
        self.detach(own, &group, &evidence, moment)?;
        if !evidence.ruled_out {
            self.ask(ReviewKind::Veto, (own.row.id, evidence.record), &evidence)?;
        }
        let holder = row.one_id.as_str();
        let row = self.record(row.id)?;
        let members = self.records_of(&row.one_id)?;
        if let Some(own) = members.iter().find(|known| known.row.id == row.id) {
            self.join(own, &members, moment)?;
        }
        // Who was ruled out by the one that left alone may be one of those who stay.
        self.look_at_asked(&self.present(holder)?, moment)?;
        Ok(self.record(row.id)?.one_id)
    }

    /// Whether their source has linked one of the group with this record.
    fn one_by_source(&self, group: &[&Known], known: &Known) -> Result<bool, StoreError> {
        for own in group {
            if self.linked_by_source(&own.row, &known.row)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same, but nobody is moved: somebody is asked wherever the record would leave its person, or find another one.
    pub(super) fn only_ask(&self, row: &PatientRecord) -> Result<(), Trouble> {
        let members = self.records_of(&row.one_id)?;
        let own = members
            .iter()
            .find(|known| known.row.id == row.id)
            .ok_or(StoreError::Damaged { what: "patient_record.one_id" })?;
        let tied = tied(&members, own);
        let (group, rest): (Vec<&Known>, Vec<&Known>) = members.iter().partition(|known| tied.contains(&known.row.id));
        if let Some(evidence) = self.contradiction(own, &group, &rest, self.site.model.review_bits())? {
            return self.ask(ReviewKind::DataQuality, (row.id, evidence.record), &evidence);
        }
        let all: BTreeSet<i64> = members.iter().map(|known| known.row.id).collect();
        let asked = Asked { number: &row.number, record: &own.record, facts: &own.facts, visit_of: None, except: &all };
        let others = members.iter().filter(|known| known.row.id != row.id);
        let group: Vec<&PatientFacts> = others.map(|known| &known.facts).collect();
        match self.decide(&own.facts, &group, &self.candidates(&asked)?, terms_of_all(&members))? {
            Decision::Link { evidence, .. } => {
                self.ask(ReviewKind::PossibleMatch, (row.id, evidence.record), &evidence)
            }
            decision => self.ask_about(row.id, &decision),
        }
    }

    /// The evidence, if a record is no longer one of its person: something forbids the link, or too little speaks for it. Of those in the
    /// `group` that are one patient's by a source's word one speaks for all, but each for its resident number.
    fn contradiction(
        &self,
        own: &Known,
        group: &[&Known],
        rest: &[&Known],
        enough: f64,
    ) -> Result<Option<Evidence>, Trouble> {
        let found = self.contradiction_of(own, rest, enough)?;
        if found.as_ref().is_none_or(|evidence| evidence.vetoes.contains(&Veto::DifferentResidentId)) {
            return Ok(found);
        }
        let patients = patients(group);
        let is_alias =
            |known: &&&Known| known.row.id != own.row.id && patients.get(&known.row.id) == patients.get(&own.row.id);
        for alias in group.iter().filter(is_alias) {
            if self.contradiction_of(alias, rest, enough)?.is_none() {
                return Ok(None);
            }
        }
        Ok(found)
    }

    fn contradiction_of(&self, own: &Known, rest: &[&Known], enough: f64) -> Result<Option<Evidence>, Trouble> {
        let mut numbers: BTreeSet<RecordNumber> = own.numbers().collect();
        // Numbers lead on: who shares one with a record that shares one is known by the sources' word as well.
        let mut by_number: BTreeSet<i64> = BTreeSet::new();
        while let Some(known) = rest
            .iter()
            .find(|known| !by_number.contains(&known.row.id) && known.numbers().any(|number| numbers.contains(&number)))
        {
            by_number.insert(known.row.id);
            numbers.extend(known.numbers());
        }
        let patients = patients(rest);
        let records = rest.iter().map(|known| CandidateRecord {
            id: known.row.id,
            facts: known.facts.clone(),
            tie: by_number.contains(&known.row.id).then_some(Tie::SameNumber),
            is_parted: false,
            patient: patients.get(&known.row.id).copied().unwrap_or(known.row.id),
        });
        let candidate = Candidate { one_id: own.row.one_id.clone(), records: records.collect() };
        let Some(evidence) = self.weigh(&own.facts, &candidate, BTreeSet::new())? else { return Ok(None) };
        let holds =
            evidence.vetoes.is_empty() && (evidence.tie.is_some() || evidence.gate || evidence.score.bits >= enough);
        Ok((!holds).then_some(evidence))
    }

    /// Makes one person of two if the record `own` of the person with `members` shows that they are one; asks where it is in doubt.
    fn join(&self, own: &Known, members: &[Known], moment: Moment) -> Result<String, Trouble> {
        let one_id = own.row.one_id.as_str();
        let decision = self.decide_for(own, members)?;
        let Decision::Link { evidence, .. } = &decision else {
            self.ask_about(own.row.id, &decision)?;
            return Ok(one_id.to_owned());
        };
        let basis = self.basis(own, std::slice::from_ref(evidence));
        let survivor = self.merge_by_rule(one_id, &evidence.one_id, &basis, moment)?;
        match survivor {
            Some(survivor) => {
                self.note_doubt(evidence);
                Ok(survivor)
            }
            None => {
                self.ask(ReviewKind::PossibleDuplicate, (own.row.id, evidence.record), evidence)?;
                Ok(one_id.to_owned())
            }
        }
    }

    /// To whom else the record `own` of the person with `members` would belong.
    fn decide_for(&self, own: &Known, members: &[Known]) -> Result<Decision, Trouble> {
        let all: BTreeSet<i64> = members.iter().map(|known| known.row.id).collect();
        let asked =
            Asked { number: &own.row.number, record: &own.record, facts: &own.facts, visit_of: None, except: &all };
        let others = members.iter().filter(|known| known.row.id != own.row.id);
        let group: Vec<&PatientFacts> = others.map(|known| &known.facts).collect();
        self.decide(&own.facts, &group, &self.candidates(&asked)?, terms_of_all(members))
    }

    /// Asks what the record by itself leaves in doubt, as if it came only now; moves nobody.
    pub(super) fn ask_again(&self, record: i64) -> Result<(), Trouble> {
        let row = self.record(record)?;
        let members = self.records_of(&row.one_id)?;
        let Some(own) = members.iter().find(|known| known.row.id == record) else { return Ok(()) };
        let decision = self.decide_for(own, &members)?;
        self.ask_about(record, &decision)
    }

    /// A person about whom more is known by now: whoever may be this person too, and was left to somebody's decision, is looked at again, as
    /// if that record came only now. It may find its person; it leaves none. Whoever was linked by hand stays.
    pub(super) fn look_at_asked(&self, one_id: &str, moment: Moment) -> Result<(), Trouble> {
        let mut one_id = one_id.to_owned();
        let mut seen: BTreeSet<i64> = BTreeSet::new();
        // Whoever joins may bring questions of its own.
        while seen.len() < ASKED {
            let asked = reviews::asked_about(self.transaction, &one_id, ASKED)?;
            let Some(next) = asked.into_iter().find(|id| !seen.contains(id)) else { break };
            seen.insert(next);
            let row = self.record(next)?;
            if row.link == LinkKind::Manual || row.merged_into.is_some() {
                continue;
            }
            let members = self.records_of(&row.one_id)?;
            let Some(own) = members.iter().find(|known| known.row.id == next) else { continue };
            self.join(own, &members, moment)?;
            one_id = self.present(&one_id)?;
        }
        Ok(())
    }

    /// The One ID that answers for this one now.
    fn present(&self, one_id: &str) -> Result<String, Trouble> {
        let person = persons::resolve(self.transaction, one_id)?;
        Ok(person.ok_or(StoreError::Damaged { what: "patient_record.one_id" })?.one_id)
    }

    /// The record `own` says what the others of its person rule out: with the `group` that is tied to it, and their visits and reports,
    /// it goes to the person that it would have found first, else to the One ID that it had before, else to a new one.
    fn detach(&self, own: &Known, group: &[&Known], evidence: &Evidence, moment: Moment) -> Result<(), Trouble> {
        let ids: BTreeSet<i64> = group.iter().map(|known| known.row.id).collect();
        let asked =
            Asked { number: &own.row.number, record: &own.record, facts: &own.facts, visit_of: None, except: &ids };
        let others = group.iter().filter(|known| known.row.id != own.row.id);
        let along: Vec<&PatientFacts> = others.map(|known| &known.facts).collect();
        let found = match self.decide(&own.facts, &along, &self.candidates(&asked)?, BTreeSet::new())? {
            Decision::Link { evidence, .. }
                if evidence.one_id != own.row.one_id && !self.is_told_apart(&ids, &evidence.one_id)? =>
            {
                Some(evidence)
            }
            _ => None,
        };
        let mut basis = self.basis(own, std::slice::from_ref(evidence));
        if let Some(found) = &found {
            self.note_doubt(found);
            if let Some(basis) = basis.as_object_mut() {
                basis.insert("found", json!(self.told(std::slice::from_ref(found))));
            }
        }
        let rows: Vec<PatientRecord> = group.iter().map(|known| known.row.clone()).collect();
        let former = self.former_one_id(&rows)?;
        let goal = match (&found, &former) {
            (Some(found), _) => Goal::Known(&found.one_id),
            (None, Some(former)) => Goal::Revived(former),
            (None, None) => Goal::New,
        };
        self.part(&own.row.one_id, &rows, goal, basis, moment)?;
        Ok(())
    }

    /// After a merge that a source declared for the record `merged`: whoever the person had linked by an identity number that is now
    /// ruled out does not come along.
    pub(super) fn look_at_others(&self, merged: i64, moment: Moment) -> Result<(), Trouble> {
        let one_id = self.record(merged)?.one_id;
        let members = self.records_of(&one_id)?;
        let Some(own) = members.iter().find(|known| known.row.id == merged) else { return Ok(()) };
        let tied = tied(&members, own);
        let (merged, others): (Vec<&Known>, Vec<&Known>) =
            members.iter().partition(|known| tied.contains(&known.row.id));
        // First whom the merged records themselves rule out: nobody leaves because of one who leaves as well.
        let (mut ruled_out, mut free) = (Vec::new(), Vec::new());
        for known in others {
            let found = self.contradiction_of(known, &merged, self.site.model.review_bits())?;
            let is_ruled_out = found.is_some_and(|evidence| !evidence.vetoes.is_empty());
            if is_ruled_out { ruled_out.push(known) } else { free.push(known) }
        }
        for known in ruled_out.into_iter().chain(free) {
            // Read anew: one that left before may have taken it along.
            let row = self.record(known.row.id)?;
            if row.one_id == one_id {
                self.look_again(&row, moment)?;
            }
        }
        Ok(())
    }

    /// Why a record of a person changed its person.
    fn basis(&self, own: &Known, evidence: &[Evidence]) -> Value {
        json!({"source": own.row.source, "record": own.row.number.to_string(), "evidence": self.told(evidence)})
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
        let consents = self.consents_of([survivor, retired])?;
        let moved = self.belongings(retired)?;
        self.count_as_one(survivor, retired)?;
        let rows = records::of_person(self.transaction, retired)?;
        let basis = &moved.noted_in(basis.clone(), rows.len());
        for row in rows {
            // Who was linked by hand, or is now, stays with those.
            let by_hand = self.cause == Cause::Manual || row.link == LinkKind::Manual;
            let kind = if by_hand { LinkKind::Manual } else { LinkKind::Auto };
            records::link(self.transaction, &self.link_change(row.id, survivor, kind, basis.clone()))?;
        }
        let gone = self.person(retired)?;
        let redirected = Person { merged_into: Some(survivor.to_owned()), ..gone.clone() };
        persons::update(self.transaction, &gone, &redirected)?;
        let told = [("retired", json!([retired])), ("basis", basis.clone()), ("records", moved.ids())];
        self.tell_change(EventKind::PatientMerged, survivor, told, moment)?;
        self.publish_moved(moved, survivor, moment, Cause::Merge)?;
        self.tell_consents(consents, moment)?;
        self.try_merges_again(survivor)
    }

    /// Two persons who were counted apart become one: what both bear one person bears.
    fn count_as_one(&self, survivor: &str, retired: &str) -> Result<(), Trouble> {
        let (own, others) = (self.records_of(survivor)?, self.records_of(retired)?);
        if own.is_empty() || others.is_empty() {
            return Ok(());
        }
        let shared: Vec<_> = terms_of_all(&own).intersection(&terms_of_all(&others)).copied().collect();
        matching::count_terms(self.transaction, &shared, -1)?;
        Ok(matching::count_person(self.transaction, -1)?)
    }

    /// Publishes that the records of a person changed hands: its golden record anew, and what moved.
    pub(super) fn tell_change(
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

    pub(super) fn belongings(&self, one_id: &str) -> Result<Belongings, Trouble> {
        Ok(Belongings {
            visits: all_pages(|after| clinical::visits_of_person(self.transaction, one_id, after, PAGE))?,
            reports: all_pages(|after| clinical::lab_reports_of_person(self.transaction, one_id, after, PAGE))?,
        })
    }

    /// Publishes each visit and report under the One ID that it belongs to now.
    pub(super) fn publish_moved(
        &self,
        moved: Belongings,
        one_id: &str,
        moment: Moment,
        cause: Cause,
    ) -> Result<(), Trouble> {
        let changed = ["one_id".to_owned()];
        for mut visit in moved.visits {
            visit.version += 1;
            let (record, version) = (visit.visit_id(), visit.version);
            let about = About { kind: EventKind::VisitUpdated, record: &record, one_id, moment, version };
            let state: VisitState = stored(&visit.state, "visit.state")?;
            self.publish(about, &changed, view::visit_record(state.record(), &visit, one_id), cause)?;
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
pub(super) struct Belongings {
    visits: Vec<Visit>,
    reports: Vec<LabReport>,
}

impl Belongings {
    /// Leaves only what belongs to these records.
    pub(super) fn keep_of(&mut self, records: &BTreeSet<i64>) {
        self.visits.retain(|visit| records.contains(&visit.record));
        self.reports.retain(|report| records.contains(&report.record));
    }

    /// The basis of a move, which says in addition how much moved: the history outlives the events that name each.
    pub(super) fn noted_in(&self, mut basis: Value, records: usize) -> Value {
        if let Some(basis) = basis.as_object_mut() {
            let (visits, reports) = (self.visits.len(), self.reports.len());
            basis.insert("moved", json!({"records": records, "visits": visits, "lab_reports": reports}));
        }
        basis
    }

    /// `records` of the events that tell who has them now.
    pub(super) fn ids(&self) -> Value {
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
                    && compare(&own.facts, &known.facts).number != NumberLevel::Conflict
        });
        let Some(next) = next else { return tied };
        tied.insert(next.row.id);
        numbers.extend(next.numbers());
    }
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
    fn nobody_leaves_a_merged_person_because_of_one_who_leaves_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon)).unwrap();
        let source = source();
        let (mistyped, right) = ("110101196103073478", "110101196103073451");
        for (number, resident) in [("P1", mistyped), ("P2", right), ("P3", right), ("P4", mistyped)] {
            let body = format!("PID|1||{number}^^^HIS^MR~{resident}^^^^NI||李^娜||19610307|M");
            take(&store, &source, "A28", number, &body);
        }
        take(&store, &source, "A40", "M1", "PID|1||P2^^^HIS^MR\rMRG|P1^^^HIS^MR");
        let one_ids = one_ids(&store);
        assert_eq!((&one_ids["P1"], &one_ids["P3"]), (&one_ids["P2"], &one_ids["P2"]));
        assert_ne!(one_ids["P4"], one_ids["P2"]);
        store.close();
    }

    #[test]
    fn a_name_is_as_rare_among_others_whoever_of_its_bearers_came_first() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon)).unwrap();
        let source = source();
        let patient = |number: &str, own: &str, surname: &str, street: &str| {
            let home = format!("25 werriwa {street}^the old parsonage^calista^wa^4205");
            format!("PID|1||{number}^^^HIS^MR~{own}^^^^SS||{surname}^bradley||||||{home}")
        };
        take(&store, &source, "A28", "P1", &patient("P1", "7572011", "koebut", "crescent"));
        take(&store, &source, "A28", "P2", &patient("P2", "7577439", "korbut", "coescent"));
        let persons = |store: &Store| one_ids(store).into_values().collect::<BTreeSet<_>>().len();
        assert_eq!(persons(&store), 2, "a slip in the name beside another number");
        // It is the first by its number, and bears the second's name: what it is counted for by now makes the name no more common.
        take(&store, &source, "A28", "P3", &patient("P3", "7572011", "korbut", "crescent"));
        assert_eq!(persons(&store), 1);
        store.close();
    }

    #[test]
    fn who_was_left_between_two_persons_is_looked_at_again_when_they_become_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreConfig::new(directory.path().join("heyi.db"), Access::Daemon)).unwrap();
        let source = source();
        let patient = |number: &str, numbers: &str, born: &str, home: &str| {
            format!("PID|1||{number}^^^HIS^MR{numbers}||钟离^慕白||{born}|M|||{home}")
        };
        let (resident, passport) = ("~110101197705253411^^^^NI", "~E56565656^^^^PPN");
        let home = "槐荫路56号||13900005601";
        take(&store, &source, "A28", "P1", &patient("P1", resident, "19770525", ""));
        take(&store, &source, "A28", "P2", &patient("P2", passport, "", home));
        // It fits both, who have no more than a name in common.
        take(&store, &source, "A28", "P3", &patient("P3", &format!("{resident}{passport}"), "19770525", home));
        let persons = |store: &Store| one_ids(store).into_values().collect::<BTreeSet<_>>().len();
        assert_eq!(persons(&store), 3);
        // The first two are one by the source's word; nothing is said of the third.
        take(&store, &source, "A40", "M1", "PID|1||P1^^^HIS^MR\rMRG|P2^^^HIS^MR");
        assert_eq!(persons(&store), 1);
        store.close();
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
