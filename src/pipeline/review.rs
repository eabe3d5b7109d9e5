//! What somebody says of a case for review: the two records are one patient's, or two patients'.
//!
//! A verdict holds whatever rules find later, and another verdict takes it back, with all that it told apart.

use std::collections::BTreeSet;

use super::life::{Goal, Life, Stop, quoted, with_merged};
use crate::identity::{Decided, ManualRefusal};
use crate::record::{Value, json};
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
            let verdict = Verdict {
                at: job.now,
                by: self.decision.by.clone(),
                reason: self.decision.reason.trim().to_owned(),
                answered_by: None,
            };
            reviews::decide(job.transaction, id, state, &verdict)?;
        }
        Ok(decided)
    }

    /// The two records' persons become one; the older One ID lives on. Both records stay there by hand. Whoever told these two apart is
    /// overruled with all that the same decision told apart; what another decision did, stands.
    fn unite(&self, review: &Review, one: &PatientRecord, other: &PatientRecord) -> Result<Decided, Stop> {
        let job = self.job;
        let mut decided = Decided { one_id: one.one_id.clone(), ..Decided::default() };
        let mut changed = false;
        if one.one_id == other.one_id {
            changed = self.allow((one.id, other.id))?;
        } else {
            let some = records::of_person(job.transaction, &one.one_id)?;
            let others = records::of_person(job.transaction, &other.one_id)?;
            let own = no_links::get(job.transaction, (one.id, other.id))?.map(|told| told.at);
            let verdict = review.verdict.as_ref().map(|verdict| verdict.at);
            let pairs = self.pairs_between(&some, &others)?;
            let in_the_way = pairs.into_iter().filter(|(.., at)| ![own, verdict].contains(&Some(*at)));
            let in_the_way: Vec<(i64, i64)> = in_the_way.map(|(mine, theirs, _)| (mine, theirs)).collect();
            if in_the_way.is_empty() {
                let (survivor, retired) =
                    if one.one_id < other.one_id { (&one.one_id, &other.one_id) } else { (&other.one_id, &one.one_id) };
                decided = self.merge(retired, survivor)?;
            } else {
                decided = self.change_over((one, &some), (other, &others), &in_the_way)?;
            }
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

    /// Of two persons who are two patients by another decision, one has its record in question by rule alone: that one goes over. Else
    /// nobody can tell which decision is meant to give way, and it is refused.
    fn change_over(
        &self,
        (one, some): (&PatientRecord, &[PatientRecord]),
        (other, others): (&PatientRecord, &[PatientRecord]),
        in_the_way: &[(i64, i64)],
    ) -> Result<Decided, Stop> {
        let job = self.job;
        let mut movers = Vec::new();
        for (record, own, target) in [(one, some, other), (other, others, one)] {
            let (group, rest) = with_merged(own.to_vec(), &BTreeSet::from([record.id]));
            let mut is_free = !rest.is_empty();
            for row in &group {
                for known in own
                    .iter()
                    .filter(|known| in_the_way.iter().any(|(mine, theirs)| *mine == known.id || *theirs == known.id))
                {
                    is_free &= !job.joined_by_hand(row, known)?;
                }
            }
            if is_free {
                movers.push((group, rest, record, target));
            }
        }
        let [(group, rest, record, target)] = &movers[..] else {
            let Some(pair) = in_the_way.first() else { return Err(ManualRefusal::UnknownReview.into()) };
            let told = no_links::get(job.transaction, *pair)?;
            let review = reviews::about(job.transaction, pair.0, pair.1)?;
            let review = review.filter(|review| review.state == ReviewState::Rejected).map(|review| review.id);
            let by = told.map(|told| told.by).unwrap_or_default();
            return Err(
                ManualRefusal::ToldApart { records: (self.name(pair.0)?, self.name(pair.1)?), by, review }.into()
            );
        };
        let there = records::of_person(job.transaction, &target.one_id)?;
        self.warn(group, &there)?;
        for row in group {
            for known in &there {
                self.allow((row.id, known.id))?;
            }
        }
        let basis = self.basis(json!({"from": record.one_id}));
        job.part(&record.one_id, group, Goal::Known(&target.one_id), basis, self.moment())?;
        job.tell_apart(group, rest, &self.decision.by, &self.decision.reason)?;
        let (one_id, from) = (target.one_id.clone(), record.one_id.clone());
        let take_back = Some(format!("heyi person link {} {from}", quoted(&self.name(record.id)?)));
        let records = self.names(group)?;
        Ok(Decided { one_id, other: Some(from), records, take_back, changed: true, ..Decided::default() })
    }

    /// The two records are told apart; if they are one person's, they part as they came together.
    fn keep_apart(&self, one: &PatientRecord, other: &PatientRecord) -> Result<Decided, Stop> {
        let job = self.job;
        let mut decided = if one.one_id == other.one_id {
            self.part_pair(one, other)?
        } else {
            let (one_id, other) = (one.one_id.clone(), Some(other.one_id.clone()));
            Decided { one_id, other, ..Decided::default() }
        };
        let pair = (one.id, other.id);
        decided.changed |= no_links::forbid(job.transaction, pair, &self.decision.by, &self.decision.reason, job.now)?;
        Ok(decided)
    }

    fn part_pair(&self, one: &PatientRecord, other: &PatientRecord) -> Result<Decided, Stop> {
        let job = self.job;
        let holder = &one.one_id;
        let (came, was_there) = if self.arrival(one)? > self.arrival(other)? { (one, other) } else { (other, one) };
        // A merge of persons that brought them together is taken back with all that it moved.
        let moves = records::moves_of(job.transaction, came.id)?;
        let came_from = moves.into_iter().rev().find_map(|(_, change)| change.from.filter(|from| *from != change.to));
        if let Some(came_from) = came_from {
            let retired = self.person(&came_from)?;
            let brought = job.merge_step(&retired)?.map(|step| step.records).unwrap_or_default();
            let there = records::of_person(job.transaction, holder)?;
            let back: BTreeSet<i64> = there.iter().map(|row| row.id).filter(|id| brought.contains(id)).collect();
            let (group, _) = with_merged(there, &back);
            let leaves = |record: &PatientRecord| group.iter().any(|row| row.id == record.id);
            if leaves(came) && !leaves(was_there) && self.person_now(&came_from)? == *holder {
                return self.undo_merge(&came_from);
            }
        }
        // Else the one that came later leaves, with what its source has merged into it; unless the other is merged into it.
        let there = records::of_person(job.transaction, holder)?;
        let of = |record: &PatientRecord| with_merged(there.clone(), &BTreeSet::from([record.id]));
        let (group, rest) = of(came);
        let (group, rest) = if group.iter().any(|row| row.id == was_there.id) { of(was_there) } else { (group, rest) };
        self.leave(holder, &group, &rest)
    }
}
