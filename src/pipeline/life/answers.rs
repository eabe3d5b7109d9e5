//! Cases for review that a decision answers although it was not about them: two records that it made one person, or two.
//!
//! A case tells what holds now. One that a decision answered is open again once another decision takes its ground away.

use std::collections::{BTreeMap, BTreeSet};

use super::{Life, Stop};
use crate::identity::{Decided, ManualStep};
use crate::store::records::{self, PatientRecord};
use crate::store::reviews::{self, Review, ReviewKind, ReviewState, Verdict};
use crate::store::{StoreError, no_links};

impl Life<'_, '_> {
    /// Answers and opens cases as the decision leaves their records; gives their numbers.
    pub(super) fn answer_cases(&self, decided: &Decided) -> Result<Vec<i64>, Stop> {
        let transaction = self.job.transaction;
        let mut persons: BTreeMap<String, Vec<PatientRecord>> = BTreeMap::new();
        let mut cases: BTreeMap<i64, Review> = BTreeMap::new();
        for one_id in std::iter::once(&decided.one_id).chain(&decided.other) {
            for row in self.members(&mut persons, one_id)? {
                cases.extend(reviews::of_record(transaction, row.id)?.into_iter().map(|case| (case.id, case)));
            }
        }
        if let ManualStep::Review { review, .. } = self.decision.step {
            cases.remove(&review);
        }
        let mut answered = Vec::new();
        for case in cases.into_values() {
            let Some(state) = self.answer(&case, &mut persons)?.filter(|state| *state != case.state) else { continue };
            let verdict = Verdict {
                at: self.job.now,
                by: self.decision.by.clone(),
                reason: self.decision.reason.trim().to_owned(),
                answered_by: Some(self.decision.step.name().to_owned()),
            };
            reviews::decide(transaction, case.id, state, &verdict)?;
            answered.push(case.id);
        }
        Ok(answered)
    }

    /// What the decision says of a case; `None`: nothing.
    fn answer(
        &self,
        case: &Review,
        persons: &mut BTreeMap<String, Vec<PatientRecord>>,
    ) -> Result<Option<ReviewState>, Stop> {
        let (one, other) = case.question.records;
        if case.one_ids.0 == case.one_ids.1 {
            // What was one person before is so by rule, or the case asks about just that.
            let was_together = self.person_before(one)? == self.person_before(other)?;
            return Ok((!was_together || case.state == ReviewState::Rejected).then_some(ReviewState::Linked));
        }
        let asks_in_spite = matches!(case.question.kind, ReviewKind::SourceMergeConflict | ReviewKind::NumberReused);
        let told = self.told_apart(case, persons)?;
        Ok(match case.state {
            ReviewState::Linked if told.is_some() => Some(ReviewState::Rejected),
            ReviewState::Linked => Some(ReviewState::Open),
            ReviewState::Open => match told {
                // Asked although they were told apart: only what is said now answers it.
                Some(at) if !asks_in_spite || at == self.job.now => Some(ReviewState::Rejected),
                _ => None,
            },
            ReviewState::Rejected => {
                let by_another =
                    case.is_decided() && case.verdict.as_ref().is_some_and(|verdict| verdict.answered_by.is_some());
                (by_another && told.is_none()).then_some(ReviewState::Open)
            }
        })
    }

    /// When the two records were told apart last: themselves, or others that somebody has decided to be one patient with them.
    fn told_apart(
        &self,
        case: &Review,
        persons: &mut BTreeMap<String, Vec<PatientRecord>>,
    ) -> Result<Option<i64>, Stop> {
        let (one, other) = case.question.records;
        let some = self.members(persons, &case.one_ids.0)?;
        let others = self.members(persons, &case.one_ids.1)?;
        let mut last = None;
        for (mine, theirs, at) in self.pairs_between(&some, &others)? {
            let of = |id: i64, rows: &[PatientRecord]| rows.iter().find(|row| row.id == id).cloned();
            let (Some(own), Some(joined)) = (of(one, &some), of(mine, &some)) else { continue };
            let (Some(others_own), Some(others_joined)) = (of(other, &others), of(theirs, &others)) else { continue };
            if self.job.joined_by_hand(&own, &joined)? && self.job.joined_by_hand(&others_own, &others_joined)? {
                last = last.max(Some(at));
            }
        }
        Ok(last)
    }

    /// Each pair of `some` and `others` that is told apart, and when it was.
    pub(in crate::pipeline) fn pairs_between(
        &self,
        some: &[PatientRecord],
        others: &[PatientRecord],
    ) -> Result<Vec<(i64, i64, i64)>, StoreError> {
        let theirs: BTreeSet<i64> = others.iter().map(|row| row.id).collect();
        let mut found = Vec::new();
        for row in some {
            for pair in no_links::list(self.job.transaction, row.id)? {
                let partner = if pair.one == row.id { pair.other } else { pair.one };
                if pair.undone.is_none() && theirs.contains(&partner) {
                    found.push((row.id, partner, pair.at));
                }
            }
        }
        Ok(found)
    }

    /// The person of a record before this decision.
    fn person_before(&self, record: i64) -> Result<String, Stop> {
        let moves = records::moves_of(self.job.transaction, record)?;
        let first = moves.into_iter().find(|(_, change)| change.at == self.job.now);
        match first.and_then(|(_, change)| change.from) {
            Some(from) => Ok(from),
            None => Ok(self.job.record(record)?.one_id),
        }
    }

    fn members(
        &self,
        persons: &mut BTreeMap<String, Vec<PatientRecord>>,
        one_id: &str,
    ) -> Result<Vec<PatientRecord>, Stop> {
        if let Some(known) = persons.get(one_id) {
            return Ok(known.clone());
        }
        let rows = records::of_person(self.job.transaction, one_id)?;
        persons.insert(one_id.to_owned(), rows.clone());
        Ok(rows)
    }
}
