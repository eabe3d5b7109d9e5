//! Who might be meant: candidates from the store for [`identity::decide`](crate::identity), and the questions that are left.
//!
//! What only looks is a [`Matcher`] and needs no more than a [`Reader`]: a decision is explained with the same steps by which it was
//! made. What writes is a [`Job`]'s.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::Site;
use super::apply::{Job, Trouble};
use super::giving_way::resting_on_link;
use super::patient::{medical_record_numbers, state_of};
use crate::identity::{
    BlockKind, Candidate, CandidateRecord, Decision, Doubt, Evidence, Frequencies, NumberLevel, PatientFacts, Term,
    Tie, compare, decide, keys, passes, terms, weigh,
};
use crate::record::{Fields, RecordNumber, json};
use crate::store::records::PatientRecord;
use crate::store::reviews::{Question, ReviewKind};
use crate::store::{Reader, StoreError, matching, no_links, records, reviews};

/// Records looked at for one key. More than a few mean that many share it; what it could still prove, other keys prove too.
pub(super) const RECORDS_OF_KEY: usize = 64;
/// Candidates kept as evidence and asked about.
const EVIDENCE: usize = 5;

/// Whom a record is compared with.
pub(super) struct Asked<'a> {
    /// The record's own number.
    pub(super) number: &'a RecordNumber,
    /// All that is said of it.
    pub(super) record: &'a Fields,
    /// What of it counts.
    pub(super) facts: &'a PatientFacts,
    /// The record whose visit the message names.
    pub(super) visit_of: Option<i64>,
    /// Records that are no candidates: its own and those that move with it.
    pub(super) except: &'a BTreeSet<i64>,
}

/// A record of a person, and what it says of who that is.
pub(super) struct Known {
    pub(super) row: PatientRecord,
    pub(super) record: Fields,
    pub(super) facts: PatientFacts,
}

impl Known {
    /// All numbers by which sources know it.
    pub(super) fn numbers(&self) -> impl Iterator<Item = RecordNumber> {
        std::iter::once(self.row.number.clone()).chain(medical_record_numbers(&self.record))
    }
}

/// Looks for whom a record may belong to; writes nothing.
#[derive(Clone, Copy)]
pub(super) struct Matcher<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) site: &'a Site,
}

impl<'a> Matcher<'a> {
    /// What of a record counts: without the values that too many bear.
    pub(super) fn usable(&self, mut facts: PatientFacts) -> Result<PatientFacts, StoreError> {
        for key in keys(&facts).into_iter().filter(|key| limit(self.site, key.kind).is_some()) {
            if matching::is_quarantined(self.reader, key.hash)? {
                facts.forget(key);
            }
        }
        Ok(facts)
    }

    /// All persons who share a number or a key with a record of these `numbers` and `facts`; `visit_of` and `except` as in [`Asked`].
    pub(super) fn candidates(
        &self,
        numbers: &BTreeSet<RecordNumber>,
        facts: &PatientFacts,
        visit_of: Option<i64>,
        except: &BTreeSet<i64>,
    ) -> Result<Vec<Candidate>, StoreError> {
        let mut ties: BTreeMap<i64, Tie> = BTreeMap::new();
        let visit_of = visit_of.filter(|_| self.site.model.links_by_visit());
        ties.extend(visit_of.map(|record| (record, Tie::SameVisit)));
        for number in numbers {
            for found in records::with_number(self.reader, number)? {
                ties.insert(found.id, Tie::SameNumber);
            }
        }
        let mut found: BTreeSet<i64> = ties.keys().copied().collect();
        for key in keys(facts) {
            let sharing = matching::records_with(self.reader, key.hash, RECORDS_OF_KEY + 1)?;
            if sharing.len() <= RECORDS_OF_KEY {
                found.extend(sharing);
            }
        }
        let mut persons: BTreeSet<String> = BTreeSet::new();
        for record in found.into_iter().filter(|record| !except.contains(record)) {
            let one_id = records::one_id(self.reader, record)?;
            persons.insert(one_id.ok_or(StoreError::Damaged { what: "patient_record" })?);
        }
        persons.into_iter().map(|one_id| self.candidate(one_id, &ties, except)).collect()
    }

    /// A person as a candidate: its records but for `except`, with what ties them to the record in question.
    pub(super) fn candidate(
        &self,
        one_id: String,
        ties: &BTreeMap<i64, Tie>,
        except: &BTreeSet<i64>,
    ) -> Result<Candidate, StoreError> {
        let members = self.records_of(&one_id)?;
        let patients = patients(&members.iter().collect::<Vec<_>>());
        let own: Vec<i64> = except.iter().copied().collect();
        let records = members.into_iter().filter(|known| !except.contains(&known.row.id)).map(|known| {
            let is_parted = no_links::between(self.reader, &own, &[known.row.id])?.is_some();
            let tie = ties.get(&known.row.id).copied();
            let id = known.row.id;
            let patient = patients.get(&id).copied().unwrap_or(id);
            Ok(CandidateRecord { id, tie, facts: known.facts, is_parted, patient })
        });
        Ok(Candidate { records: records.collect::<Result<_, StoreError>>()?, one_id })
    }

    /// To whom a record of these facts belongs; `group` comes along. `own`: what its own person is counted for already.
    pub(super) fn decide(
        &self,
        facts: &PatientFacts,
        group: &[&PatientFacts],
        candidates: &[Candidate],
        own: BTreeSet<Term>,
    ) -> Result<Decision, StoreError> {
        let counted = Counted::new(self.reader, own)?;
        let decision = decide(&self.site.model, &counted, facts, group, candidates);
        counted.finish()?;
        Ok(decision)
    }

    /// What speaks for and against a record being this person's; `own` as for [`Self::decide`].
    pub(super) fn weigh(
        &self,
        facts: &PatientFacts,
        candidate: &Candidate,
        own: BTreeSet<Term>,
    ) -> Result<Option<Evidence>, StoreError> {
        let counted = Counted::new(self.reader, own)?;
        let evidence = weigh(&self.site.model, &counted, facts, &[], candidate);
        counted.finish()?;
        Ok(evidence)
    }

    /// The records of a person. A retired one is without its resident number if the one that it was merged into has one.
    pub(super) fn records_of(&self, one_id: &str) -> Result<Vec<Known>, StoreError> {
        let rows = records::of_person(self.reader, one_id)?;
        let known = rows.into_iter().map(|row| {
            let record = state_of(&row)?.record();
            Ok(Known { facts: self.usable(PatientFacts::of(&record))?, record, row })
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

    /// What a person is counted for beside the person `other` with whom it is compared.
    pub(super) fn counted_of(&self, one_id: &str, other: &str) -> Result<BTreeSet<Term>, StoreError> {
        if one_id == other { Ok(BTreeSet::new()) } else { Ok(terms_of_all(&self.records_of(one_id)?)) }
    }

    pub(super) fn record(&self, id: i64) -> Result<PatientRecord, StoreError> {
        records::get(self.reader, id)?.ok_or(StoreError::Damaged { what: "patient_record" })
    }
}

impl Job<'_> {
    /// The same steps for whoever only looks.
    pub(super) fn matcher(&self) -> Matcher<'_> {
        Matcher { reader: self.transaction, site: self.site }
    }

    pub(super) fn usable(&self, facts: PatientFacts) -> Result<PatientFacts, StoreError> {
        self.matcher().usable(facts)
    }

    /// All persons who share a key with the record.
    pub(super) fn candidates(&self, asked: &Asked<'_>) -> Result<Vec<Candidate>, Trouble> {
        let numbers = std::iter::once(asked.number.clone()).chain(medical_record_numbers(asked.record)).collect();
        Ok(self.matcher().candidates(&numbers, asked.facts, asked.visit_of, asked.except)?)
    }

    pub(super) fn decide(
        &self,
        facts: &PatientFacts,
        group: &[&PatientFacts],
        candidates: &[Candidate],
        own: BTreeSet<Term>,
    ) -> Result<Decision, Trouble> {
        Ok(self.matcher().decide(facts, group, candidates, own)?)
    }

    pub(super) fn weigh(
        &self,
        facts: &PatientFacts,
        candidate: &Candidate,
        own: BTreeSet<Term>,
    ) -> Result<Option<Evidence>, Trouble> {
        Ok(self.matcher().weigh(facts, candidate, own)?)
    }

    pub(super) fn records_of(&self, one_id: &str) -> Result<Vec<Known>, StoreError> {
        self.matcher().records_of(one_id)
    }

    /// Asks whether two records are one patient.
    pub(super) fn ask(&self, kind: ReviewKind, records: (i64, i64), evidence: &Evidence) -> Result<(), Trouble> {
        self.put_question(kind, records, evidence.score.bits, self.told(std::slice::from_ref(evidence)))
    }

    fn put_question(
        &self,
        kind: ReviewKind,
        records: (i64, i64),
        bits: f64,
        evidence: serde_json::Value,
    ) -> Result<(), Trouble> {
        let question = Question { kind, records, bits, evidence: json!(evidence), message: self.message, at: self.now };
        reviews::ask(self.transaction, &question)?;
        Ok(())
    }

    /// Asks whether two records are one patient, for a reason that needs no weighing; `of_link`: as long as a Patient's link gives it.
    pub(super) fn ask_why(&self, kind: ReviewKind, records: (i64, i64), of_link: bool) -> Result<(), Trouble> {
        if records.0 == records.1 {
            return Ok(());
        }
        let facts = |row: &PatientRecord| -> Result<PatientFacts, Trouble> {
            Ok(self.usable(PatientFacts::of(&state_of(row)?.record()))?)
        };
        let (one, other) = (self.record(records.0)?, self.record(records.1)?);
        let known =
            CandidateRecord { id: other.id, facts: facts(&other)?, tie: None, is_parted: false, patient: other.id };
        let own = self.matcher().counted_of(&one.one_id, &other.one_id)?;
        let candidate = Candidate { one_id: other.one_id, records: vec![known] };
        match self.weigh(&facts(&one)?, &candidate, own)? {
            Some(evidence) if of_link => {
                let told = resting_on_link(self.told(std::slice::from_ref(&evidence)));
                self.put_question(kind, records, evidence.score.bits, told)
            }
            Some(evidence) => self.ask(kind, records, &evidence),
            None => Ok(()),
        }
    }

    /// Asks about everybody whom the decision for `record` leaves in doubt.
    pub(super) fn ask_about(&self, record: i64, decision: &Decision) -> Result<(), Trouble> {
        let (doubt, evidence) = match decision {
            Decision::Ambiguous { doubt, evidence } => (doubt, evidence),
            Decision::Link { others, .. } => return self.ask_about_others(record, others),
            Decision::New { .. } => return Ok(()),
        };
        let open = evidence.iter().filter(|found| !found.ruled_out).take(EVIDENCE);
        let mut passing: Vec<&Evidence> = Vec::new();
        for found in open {
            let kind = match doubt {
                _ if !found.vetoes.is_empty() => ReviewKind::Veto,
                Doubt::Margin => ReviewKind::Margin,
                _ => ReviewKind::PossibleMatch,
            };
            self.ask(kind, (record, found.record), found)?;
            if *doubt == Doubt::SeveralFit && passes(&self.site.model, found) {
                passing.push(found);
            }
        }
        // Whoever fits two persons says that they may be one.
        for (place, one) in passing.iter().enumerate() {
            for other in &passing[place + 1..] {
                self.ask_why(ReviewKind::PossibleDuplicate, (one.record, other.record), false)?;
            }
        }
        Ok(())
    }

    /// Asks about those who may be the person of a record that was linked to somebody else; once for two persons.
    fn ask_about_others(&self, record: i64, others: &[Evidence]) -> Result<(), Trouble> {
        let one_id = self.record(record)?.one_id;
        let doubtful = |found: &&Evidence| !found.ruled_out && found.score.bits >= self.site.model.review_bits();
        for found in others.iter().filter(doubtful).take(EVIDENCE) {
            let other = self.record(found.record)?.one_id;
            if other != one_id && !reviews::is_asked(self.transaction, &one_id, &other)? {
                self.ask(ReviewKind::PossibleDuplicate, (record, found.record), found)?;
            }
        }
        Ok(())
    }

    /// Evidence as it is stored: the best few, with the version of the model.
    pub(super) fn told(&self, evidence: &[Evidence]) -> serde_json::Value {
        let best = &evidence[..evidence.len().min(EVIDENCE)];
        serde_json::json!({"model": self.site.model.version, "candidates": best})
    }

    /// Makes the keys and the counts of a record those of `after`, where they were those of `before`.
    pub(super) fn index(
        &self,
        record: i64,
        one_id: &str,
        before: &PatientFacts,
        after: &PatientFacts,
    ) -> Result<(), Trouble> {
        let others = || -> Result<BTreeSet<Term>, Trouble> {
            let members = self.records_of(one_id)?;
            Ok(terms_of_all(members.iter().filter(|known| known.row.id != record)))
        };
        self.index_beside(record, others, before, after)
    }

    /// The same; `others`: what the other records of the person say, asked for only where it matters.
    pub(super) fn index_beside(
        &self,
        record: i64,
        others: impl FnOnce() -> Result<BTreeSet<Term>, Trouble>,
        before: &PatientFacts,
        after: &PatientFacts,
    ) -> Result<(), Trouble> {
        let hashes = |facts: &PatientFacts| {
            let mut hashes: Vec<u64> = keys(facts).iter().map(|key| key.hash).collect();
            hashes.sort_unstable();
            hashes.dedup();
            hashes
        };
        matching::set_keys(self.transaction, record, &hashes(before), &hashes(after))?;
        let (before, after): (BTreeSet<Term>, BTreeSet<Term>) = (terms_of(before).collect(), terms_of(after).collect());
        if before == after {
            return Ok(());
        }
        // People are counted, not records: what another record of the person says is counted already.
        let others = others()?;
        let only = |one: &BTreeSet<Term>, other: &BTreeSet<Term>| -> Vec<Term> {
            one.iter().filter(|term| !other.contains(term) && !others.contains(term)).copied().collect()
        };
        matching::count_terms(self.transaction, &only(&before, &after), -1)?;
        matching::count_terms(self.transaction, &only(&after, &before), 1)?;
        Ok(())
    }

    /// Takes values that came under too many names out of matching, from this record on. Gives the records whose links may rest on them.
    pub(super) fn quarantine(&self, record: i64, facts: &PatientFacts) -> Result<BTreeSet<i64>, Trouble> {
        let mut shaken = BTreeSet::new();
        for key in keys(facts) {
            let Some(limit) = limit(self.site, key.kind) else { continue };
            // What rested on it was looked at when it was taken out.
            if matching::is_quarantined(self.transaction, key.hash)? {
                continue;
            }
            let sharing = matching::records_with(self.transaction, key.hash, RECORDS_OF_KEY + 1)?;
            if sharing.len() <= limit {
                continue;
            }
            let mut names: Vec<PatientFacts> = Vec::new();
            for id in &sharing {
                let row = self.record(*id)?;
                let facts = PatientFacts::of(&state_of(&row)?.record());
                if !facts.name.is_empty() && !names.iter().any(|known| known.is_called_like(&facts)) {
                    names.push(facts);
                }
                if names.len() > limit {
                    break;
                }
            }
            if names.len() <= limit {
                continue;
            }
            matching::quarantine(self.transaction, key.hash, key.kind.value_name().unwrap_or_default(), self.now)?;
            self.notes.borrow_mut().push(format!(
                "PID: the {} came under more than {limit} names: it is no evidence from now on, and links that rest on it are looked at again",
                key.kind.value_name().unwrap_or_default()
            ));
            shaken.extend(sharing.into_iter().filter(|id| *id != record));
        }
        Ok(shaken)
    }
}

/// Which of these records are one patient's by a source's word: it has merged their numbers, or they are of one number and nothing in
/// them says otherwise. Gives each record the number that stands for its patient.
pub(super) fn patients(records: &[&Known]) -> BTreeMap<i64, i64> {
    let mut patients: BTreeMap<i64, i64> = records.iter().map(|known| (known.row.id, known.row.id)).collect();
    let is_same = |one: &Known, other: &Known| {
        one.row.merged_into == Some(other.row.id)
            || one.row.number == other.row.number
                && one.facts.is_called_like(&other.facts)
                && compare(&one.facts, &other.facts).number != NumberLevel::Conflict
    };
    for one in records {
        for other in records.iter().filter(|other| other.row.id != one.row.id && is_same(one, other)) {
            let (Some(own), Some(others)) = (patients.get(&one.row.id).copied(), patients.get(&other.row.id).copied())
            else {
                continue;
            };
            patients.values_mut().filter(|patient| **patient == others).for_each(|patient| *patient = own);
        }
    }
    patients
}

/// What is counted of records, each once.
pub(super) fn terms_of_all<'a>(records: impl IntoIterator<Item = &'a Known>) -> BTreeSet<Term> {
    records.into_iter().flat_map(|known| terms_of(&known.facts)).collect()
}

/// What is counted of a candidate's records, each once.
pub(super) fn terms_of_candidate(candidate: &Candidate) -> BTreeSet<Term> {
    candidate.records.iter().flat_map(|known| terms_of(&known.facts)).collect()
}

/// What is counted of a record.
fn terms_of(facts: &PatientFacts) -> impl Iterator<Item = Term> {
    terms(facts).into_iter().map(|(_, term)| term)
}

/// Under how many names a value may come, if it is counted.
fn limit(site: &Site, kind: BlockKind) -> Option<usize> {
    match kind {
        BlockKind::IdentityNumber => Some(site.model.names_of_number()),
        BlockKind::Card => Some(site.model.names_of_card()),
        BlockKind::Phone => Some(site.model.names_of_phone()),
        _ => None,
    }
}

/// The store's counts, read once each.
struct Counted<'a> {
    reader: &'a Reader<'a>,
    people: u64,
    own: BTreeSet<Term>,
    known: RefCell<BTreeMap<Term, u64>>,
    error: RefCell<Option<StoreError>>,
}

impl<'a> Counted<'a> {
    /// `own`: what the person of the record in question is counted for already, which a record that is new has none of.
    fn new(reader: &'a Reader<'a>, own: BTreeSet<Term>) -> Result<Self, StoreError> {
        let people = matching::people(reader)?;
        Ok(Self { reader, people, own, known: RefCell::default(), error: RefCell::default() })
    }

    /// What went wrong while counting.
    fn finish(self) -> Result<(), StoreError> {
        self.error.into_inner().map_or(Ok(()), Err)
    }
}

impl Frequencies for Counted<'_> {
    fn count(&self, term: Term) -> (u64, u64) {
        let mut known = self.known.borrow_mut();
        let count = *known.entry(term).or_insert_with(|| {
            matching::people_with(self.reader, term).unwrap_or_else(|error| {
                self.error.replace(Some(error));
                0
            })
        });
        // One of them is the candidate, and one whoever is in question: how common a value is among others does not depend on who came
        // first.
        (count.saturating_sub(1 + u64::from(self.own.contains(&term))), self.people)
    }

    fn people(&self) -> u64 {
        self.people
    }

    fn are_parted(&self, one: i64, other: i64) -> bool {
        no_links::between(self.reader, &[one], &[other]).map(|pair| pair.is_some()).unwrap_or_else(|error| {
            self.error.replace(Some(error));
            true
        })
    }
}
