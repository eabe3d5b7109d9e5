//! What somebody says of a case for review: the two records are one patient's, or two patients'.
//!
//! A verdict holds whatever rules find later, and another verdict takes it back, with all that it told apart.

use std::collections::BTreeSet;

use super::life::{Life, Stop, with_merged};
use crate::identity::{Decided, ManualRefusal};
use crate::record::Value;
use crate::store::records::{LinkKind, PatientRecord};
use crate::store::reviews::{self, Review, ReviewState, Verdict};
use crate::store::{no_links, records};

impl Life<'_, '_> {
    /// Carries a verdict out and writes it down. The same again, while it holds, changes nothing: who said it first stays.
    pub(super) fn review(&self, id: i64, is_same: bool) -> Result<Decided, Stop> {
        let job = self.job;
        let review = reviews::get(job.transaction, id)?.ok_or(ManualRefusal::UnknownReview)?;
        let (one, other) = review.question.records;
        let (one, other) = (job.record(one)?, job.record(other)?);
        let (mut decided, state) = if is_same {
            (self.unite(&review, &one, &other)?, ReviewState::Linked)
        } else {
            (self.keep_apart(&one, &other)?, ReviewState::Rejected)
        };
        decided.changed |= review.state != state;
        if decided.changed {
            let verdict =
                Verdict { at: job.now, by: self.decision.by.clone(), reason: self.decision.reason.trim().to_owned() };
            reviews::decide(job.transaction, id, state, Some(&verdict))?;
        }
        Ok(decided)
    }

    /// The two records' persons become one; the older One ID lives on. Both records stay there by hand.
    fn unite(&self, review: &Review, one: &PatientRecord, other: &PatientRecord) -> Result<Decided, Stop> {
        let job = self.job;
        let allow = |pair| no_links::allow(job.transaction, pair, &self.decision.by, job.now);
        let mut changed = allow((one.id, other.id))?;
        let mut decided = Decided { one_id: one.one_id.clone(), other: None, records: Vec::new(), changed: false };
        if one.one_id != other.one_id {
            let (some, others) = (ids_of(job, &one.one_id)?, ids_of(job, &other.one_id)?);
            // What the verdict before this one told apart goes with it; what another decision did, stands.
            while let Some(pair) = no_links::between(job.transaction, &some, &others)? {
                let told = no_links::list(job.transaction, pair.0)?;
                let told = told.into_iter().find(|told| told.other == pair.1 && told.undone.is_none());
                let by_this =
                    review.verdict.as_ref().is_some_and(|verdict| told.is_some_and(|told| told.at == verdict.at));
                if !by_this {
                    let review = reviews::about(job.transaction, pair.0, pair.1)?;
                    let review = review.filter(|review| review.state == ReviewState::Rejected).map(|review| review.id);
                    return Err(ManualRefusal::ToldApart { review }.into());
                }
                changed |= allow(pair)?;
            }
            let (survivor, retired) =
                if one.one_id < other.one_id { (&one.one_id, &other.one_id) } else { (&other.one_id, &one.one_id) };
            decided = self.merge(retired, survivor)?;
        }
        for id in [one.id, other.id] {
            let row = job.record(id)?;
            if row.link != LinkKind::Manual {
                let by_hand = job.link_change(id, &row.one_id, LinkKind::Manual, self.basis(Value::Null));
                records::link(job.transaction, &by_hand)?;
                changed = true;
            }
        }
        decided.changed |= changed;
        Ok(decided)
    }

    /// The two records are told apart; if they are one person's, they part as they came together.
    fn keep_apart(&self, one: &PatientRecord, other: &PatientRecord) -> Result<Decided, Stop> {
        let job = self.job;
        let mut decided = if one.one_id == other.one_id {
            self.part_pair(one, other)?
        } else {
            let (one_id, other) = (one.one_id.clone(), Some(other.one_id.clone()));
            Decided { one_id, other, records: Vec::new(), changed: false }
        };
        let pair = (one.id, other.id);
        decided.changed |= no_links::forbid(job.transaction, pair, &self.decision.by, &self.decision.reason, job.now)?;
        Ok(decided)
    }

    fn part_pair(&self, one: &PatientRecord, other: &PatientRecord) -> Result<Decided, Stop> {
        let job = self.job;
        let holder = &one.one_id;
        // A merge of persons that brought them together is taken back with all that it moved.
        for (came, was_there) in [(other, one), (one, other)] {
            let moves = records::moves_of(job.transaction, came.id)?;
            let came_from =
                moves.into_iter().rev().find_map(|(_, change)| change.from.filter(|from| *from != change.to));
            let Some(came_from) = came_from else { continue };
            let retired = self.person(&came_from)?;
            if retired.merged_into.is_none() || self.person_now(&came_from)? != *holder {
                continue;
            }
            let brought = job.merge_step(&retired)?.map(|step| step.records).unwrap_or_default();
            let there = records::of_person(job.transaction, holder)?;
            let back: BTreeSet<i64> = there.iter().map(|row| row.id).filter(|id| brought.contains(id)).collect();
            let (group, _) = with_merged(there, &back);
            let leaves = |record: &PatientRecord| group.iter().any(|row| row.id == record.id);
            if leaves(came) && !leaves(was_there) {
                return self.undo_merge(&came_from);
            }
        }
        // Else the later one leaves, with what its source has merged into it; unless the earlier one is merged into it.
        let there = records::of_person(job.transaction, holder)?;
        let of = |record: &PatientRecord| with_merged(there.clone(), &BTreeSet::from([record.id]));
        let (group, rest) = of(other);
        let (group, rest) = if group.iter().any(|row| row.id == one.id) { of(one) } else { (group, rest) };
        self.leave(holder, &group, &rest)
    }
}

fn ids_of(job: &super::apply::Job<'_>, one_id: &str) -> Result<Vec<i64>, Stop> {
    Ok(records::of_person(job.transaction, one_id)?.iter().map(|row| row.id).collect())
}
