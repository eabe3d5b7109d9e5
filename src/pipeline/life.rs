//! The life of an identity after its records are known: what people decide (link, unlink, merge, split), and what keeps rules from
//! deciding otherwise.
//!
//! Invariants
//! - A record that was linked by hand is moved by nobody's rule; two records that are told apart (`store::no_links`) are never brought
//!   to one person but by a decision that takes that back.
//! - The same decision again changes nothing and tells nothing.
//! - A One ID that was retired lives again with the records that it had; what came after the merge stays, and is asked about.
//! - Every change is told at once: who is who now, and each visit and report anew under its One ID.

mod answers;
mod conflict;
mod outcome;
mod parting;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::Site;
use super::apply::{Job, Trouble};
use crate::identity::{Decided, ManualDecision, ManualRefusal, ManualStep, NamedRecord, Overruled, Warning};
use crate::record::{RecordNumber, Value, json};
use crate::state::Moment;
use crate::store::persons::Person;
use crate::store::records::{LinkKind, PatientRecord};
use crate::store::{StoreError, Transaction, events, no_links, persons, records};

pub(super) use conflict::Conflict;
pub(super) use outcome::quoted;
pub(super) use parting::{Goal, with_merged};

/// Carries out what somebody decided; runs inside the writer. A refusal leaves everything as it was.
///
/// # Errors
/// Only what the store itself says; then nothing was kept.
pub fn decide_by_hand(
    transaction: &Transaction<'_>,
    site: &Site,
    zone: &TimeZone,
    decision: &ManualDecision,
    now: i64,
) -> Result<Result<Decided, ManualRefusal>, StoreError> {
    if decision.reason.trim().is_empty() {
        return Ok(Err(ManualRefusal::NoReason));
    }
    // Two decisions of one moment are two.
    let job = Job::by_hand(transaction, site, zone, &format!("{decision:?} {now}"), now);
    let outcome = transaction.attempt(|_| {
        let before = events::head(transaction).map_err(Trouble::from)?.sequence;
        let life = Life { job: &job, decision, overruled: RefCell::default(), warnings: RefCell::default() };
        life.carry_out().and_then(|decided| life.told(decided, before))
    });
    match outcome {
        Ok(decided) => Ok(Ok(decided)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Trouble(trouble)) => Err(trouble.into_store_error()),
    }
}

/// Why a decision ends early.
pub(super) enum Stop {
    Refused(ManualRefusal),
    Trouble(Trouble),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<ManualRefusal> for Stop {
    fn from(refusal: ManualRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A decision in work.
pub(super) struct Life<'j, 'a> {
    pub(super) job: &'j Job<'a>,
    pub(super) decision: &'j ManualDecision,
    /// Earlier decisions that it takes back.
    overruled: RefCell<Vec<Overruled>>,
    /// What would have forbidden it to a rule.
    warnings: RefCell<Vec<Warning>>,
}

impl Life<'_, '_> {
    fn carry_out(&self) -> Result<Decided, Stop> {
        match &self.decision.step {
            ManualStep::Link { record, one_id } => self.link(record, one_id),
            ManualStep::Unlink { record } => self.unlink(record),
            ManualStep::Merge { one_id, into } => self.merge(one_id, into),
            ManualStep::Split { one_id, records } if records.is_empty() => self.undo_merge(one_id),
            ManualStep::Split { one_id, records } => self.split_off(one_id, records),
            ManualStep::Review { review, is_same } => self.review(*review, *is_same),
        }
    }

    fn link(&self, named: &NamedRecord, one_id: &str) -> Result<Decided, Stop> {
        let job = self.job;
        let target = self.person_now(one_id)?;
        let rows = self.named(named)?;
        let mut leaving: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        let mut told = Vec::new();
        let (mut left, mut changed) = (None, false);
        for row in rows {
            if row.one_id != target {
                leaving.entry(row.one_id).or_default().insert(row.id);
            } else if row.link != LinkKind::Manual {
                records::link(
                    job.transaction,
                    &job.link_change(row.id, &target, LinkKind::Manual, self.basis(Value::Null)),
                )?;
                changed = true;
            }
        }
        for (from, ids) in leaving {
            let there = records::of_person(job.transaction, &from)?;
            let (group, rest) = with_merged(there, &ids);
            told.extend(self.names(&group)?);
            let others = records::of_person(job.transaction, &target)?;
            self.warn(&group, &others)?;
            self.lift(&group, &others)?;
            if rest.is_empty() {
                job.merge_persons(&target, &from, &self.basis(json!({"retired": from})), self.moment())?;
            } else {
                self.overrule_joins(&group, &rest)?;
                left = Some(from.clone());
                job.part(&from, &group, Goal::Known(&target), self.basis(json!({"from": from})), self.moment())?;
                job.tell_apart(&group, &rest, &self.decision.by, &self.decision.reason)?;
            }
            changed = true;
        }
        // Away from others, it goes back there; else it leaves as it came.
        let take_back = left.filter(|_| changed).map(|from| {
            let source = named.source.as_ref().map(|source| format!(" --source {source}")).unwrap_or_default();
            format!("heyi person link {} {from}{source}", quoted(&named.number.to_string()))
        });
        Ok(Decided { one_id: target, records: told, take_back, changed, ..Decided::default() })
    }

    fn unlink(&self, named: &NamedRecord) -> Result<Decided, Stop> {
        let rows = self.named(named)?;
        let persons: BTreeSet<&str> = rows.iter().map(|row| row.one_id.as_str()).collect();
        let [one_id] = Vec::from_iter(persons)[..] else { return Err(ManualRefusal::SeveralPersons.into()) };
        let (group, rest) = self.group(one_id, &rows.iter().map(|row| row.id).collect())?;
        if rest.is_empty() {
            return Ok(unchanged(one_id));
        }
        self.leave(one_id, &group, &rest)
    }

    pub(super) fn merge(&self, one_id: &str, into: &str) -> Result<Decided, Stop> {
        let job = self.job;
        if one_id == into {
            return Err(ManualRefusal::SameOneId.into());
        }
        let (retired, survivor) = (self.person_now(one_id)?, self.person_now(into)?);
        if retired == survivor {
            return Ok(unchanged(&survivor));
        }
        let moved = records::of_person(job.transaction, &retired)?;
        let others = records::of_person(job.transaction, &survivor)?;
        self.warn(&moved, &others)?;
        self.lift(&moved, &others)?;
        job.merge_persons(&survivor, &retired, &self.basis(json!({"retired": retired})), self.moment())?;
        let records = self.names(&moved)?;
        Ok(Decided { one_id: survivor, other: Some(retired), records, changed: true, ..Decided::default() })
    }

    /// Takes a merge back, only this step of a chain: who was retired by it lives again with its records.
    pub(super) fn undo_merge(&self, one_id: &str) -> Result<Decided, Stop> {
        let job = self.job;
        let given = self.person(one_id)?;
        let retired = if given.merged_into.is_some() {
            given
        } else {
            let merged = persons::merged_directly_into(job.transaction, one_id)?;
            match &merged[..] {
                [] => return self.split_before(one_id),
                [only] => self.person(only)?,
                _ => return Err(ManualRefusal::SeveralMerged { one_ids: merged }.into()),
            }
        };
        let holder = self.person_now(&retired.one_id)?;
        let step = job.merge_step(&retired)?.ok_or(ManualRefusal::MovedSince)?;
        let there = records::of_person(job.transaction, &holder)?;
        let back: BTreeSet<i64> = there.iter().map(|row| row.id).filter(|id| step.records.contains(id)).collect();
        if back.is_empty() {
            return Err(ManualRefusal::MovedSince.into());
        }
        let (group, rest) = with_merged(there, &back);
        if rest.is_empty() {
            return Err(ManualRefusal::NothingLeft.into());
        }
        self.overrule_joins(&group, &rest)?;
        let basis = self.basis(json!({"retired": retired.one_id, "undone": "merge"}));
        job.part(&holder, &group, Goal::Revived(&retired.one_id), basis, self.moment())?;
        self.tell_apart_since(&group, rest, step.at)?;
        let records = self.names(&group)?;
        Ok(Decided { one_id: holder, other: Some(retired.one_id), records, changed: true, ..Decided::default() })
    }

    /// A One ID that stands alone: that is as it should be if it was split before.
    fn split_before(&self, one_id: &str) -> Result<Decided, Stop> {
        let apart = |row: PatientRecord| no_links::list(self.job.transaction, row.id);
        let told = records::of_person(self.job.transaction, one_id)?.into_iter().map(apart);
        let told = told.collect::<Result<Vec<_>, StoreError>>()?;
        if told.into_iter().flatten().any(|pair| pair.undone.is_none()) {
            return Ok(unchanged(one_id));
        }
        Err(ManualRefusal::NothingMerged.into())
    }

    fn split_off(&self, one_id: &str, numbers: &[RecordNumber]) -> Result<Decided, Stop> {
        let job = self.job;
        let holder = self.person_now(one_id)?;
        let there = records::of_person(job.transaction, &holder)?;
        let mut ids = BTreeSet::new();
        let mut gone = 0;
        for number in numbers {
            let named = records::meant_by(job.transaction, number)?;
            let found: Vec<&PatientRecord> = named.iter().filter(|row| row.one_id == holder).collect();
            if found.is_empty() {
                let own: Vec<i64> = there.iter().map(|row| row.id).collect();
                if no_links::between(job.transaction, &self::ids(&named), &own)?.is_none() {
                    return Err(ManualRefusal::NotOfPerson.into());
                }
                gone += 1;
            }
            self.one_patient(found.iter().copied())?;
            ids.extend(found.into_iter().map(|row| row.id));
        }
        if gone == numbers.len() {
            return Ok(unchanged(&holder));
        }
        let (group, rest) = with_merged(there, &ids);
        if rest.is_empty() {
            return Err(ManualRefusal::NothingLeft.into());
        }
        self.leave(&holder, &group, &rest)
    }

    /// The records `group` of a person go to a One ID of their own, and are told apart from the `rest`. Where the One ID was made for the
    /// group, and the rest came to it by a merge, the rest goes back: each has its former One ID then.
    pub(super) fn leave(&self, holder: &str, group: &[PatientRecord], rest: &[PatientRecord]) -> Result<Decided, Stop> {
        let job = self.job;
        let mut former = job.former_one_id(group)?;
        let (mut group, mut rest) = (group, rest);
        if former.is_none()
            && self.is_made_for(holder, group)?
            && let Some(others) = job.former_one_id(rest)?
            && let Some(step) = job.merge_step(&self.person(&others)?)?
            && rest.iter().all(|row| step.records.contains(&row.id))
        {
            (group, rest, former) = (rest, group, Some(others));
        }
        let step = match &former {
            Some(one_id) => job.merge_step(&self.person(one_id)?)?,
            None => None,
        };
        self.overrule_joins(group, rest)?;
        let goal = former.as_deref().map_or(Goal::New, Goal::Revived);
        let other = job.part(holder, group, goal, self.basis(json!({"from": holder})), self.moment())?;
        self.tell_apart_since(group, rest.to_vec(), step.map_or(i64::MAX, |step| step.at))?;
        let records = self.names(group)?;
        Ok(Decided { one_id: holder.to_owned(), other: Some(other), records, changed: true, ..Decided::default() })
    }

    fn is_made_for(&self, one_id: &str, group: &[PatientRecord]) -> Result<bool, Stop> {
        let first = records::first_of(self.job.transaction, one_id)?;
        Ok(first.is_some_and(|first| group.iter().any(|row| row.id == first)))
    }

    /// The records that leave are told apart from all of the `rest` that were there at the step `at` of the history; whose those are that
    /// came later nobody has said, and somebody is asked.
    fn tell_apart_since(&self, group: &[PatientRecord], rest: Vec<PatientRecord>, at: i64) -> Result<(), Stop> {
        let job = self.job;
        let mut parted = Vec::new();
        for row in rest {
            let first = records::moves_of(job.transaction, row.id)?.first().map_or(0, |(id, _)| *id);
            if first <= at {
                parted.push(row);
            } else if let Some(own) = group.first() {
                job.raise(Conflict::AfterSplit, (row.id, own.id))?;
            }
        }
        Ok(job.tell_apart(group, &parted, &self.decision.by, &self.decision.reason)?)
    }

    fn group(&self, one_id: &str, ids: &BTreeSet<i64>) -> Result<(Vec<PatientRecord>, Vec<PatientRecord>), Stop> {
        Ok(with_merged(records::of_person(self.job.transaction, one_id)?, ids))
    }

    /// The decision takes back that some of these were told apart.
    fn lift(&self, some: &[PatientRecord], others: &[PatientRecord]) -> Result<(), Stop> {
        let (some, others) = (ids(some), ids(others));
        while let Some(pair) = no_links::between(self.job.transaction, &some, &others)? {
            self.allow(pair)?;
        }
        Ok(())
    }

    /// Takes back that these two were told apart. `false`: they were not.
    pub(super) fn allow(&self, pair: (i64, i64)) -> Result<bool, Stop> {
        self.overrule_pair(pair)?;
        Ok(no_links::allow(self.job.transaction, pair, &self.decision.by, self.job.now)?)
    }

    fn named(&self, named: &NamedRecord) -> Result<Vec<PatientRecord>, Stop> {
        let mut rows = records::meant_by(self.job.transaction, &named.number)?;
        rows.retain(|row| named.source.as_ref().is_none_or(|source| row.source == *source));
        if rows.is_empty() {
            return Err(ManualRefusal::UnknownRecord.into());
        }
        self.one_patient(rows.iter())?;
        Ok(rows)
    }

    /// Refuses a number that one source has used for several of these patients: whom it means nobody can tell.
    fn one_patient<'r>(&self, rows: impl Iterator<Item = &'r PatientRecord> + Clone) -> Result<(), Stop> {
        let mut sources = BTreeSet::new();
        if rows.clone().all(|row| sources.insert((&row.source, &row.number))) {
            return Ok(());
        }
        let names = rows.map(|row| records::name(self.job.transaction, row));
        let names: BTreeSet<String> = names.collect::<Result<_, StoreError>>()?;
        Err(ManualRefusal::SeveralGenerations { names: names.into_iter().collect() }.into())
    }

    /// The records as people name them.
    pub(super) fn names(&self, rows: &[PatientRecord]) -> Result<Vec<String>, Stop> {
        let names = rows.iter().map(|row| records::name(self.job.transaction, row));
        Ok(names.collect::<Result<_, StoreError>>()?)
    }

    pub(super) fn person(&self, one_id: &str) -> Result<Person, Stop> {
        let unknown = || ManualRefusal::UnknownOneId { one_id: one_id.to_owned() };
        Ok(persons::get(self.job.transaction, one_id)?.ok_or_else(unknown)?)
    }

    /// The One ID that answers for this one.
    pub(super) fn person_now(&self, one_id: &str) -> Result<String, Stop> {
        let unknown = || ManualRefusal::UnknownOneId { one_id: one_id.to_owned() };
        Ok(persons::resolve(self.job.transaction, one_id)?.ok_or_else(unknown)?.one_id)
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { at: self.job.now, arrival: 0 }
    }

    /// What the history and the event say of the decision.
    pub(super) fn basis(&self, more: Value) -> Value {
        let ManualDecision { step, by, reason } = self.decision;
        let mut basis = json!({"decision": step.name(), "by": by, "reason": reason});
        if let (Some(basis), Value::Object(more)) = (basis.as_object_mut(), more) {
            basis.extend(more);
        }
        if let (Some(basis), ManualStep::Review { review, .. }) = (basis.as_object_mut(), step) {
            basis.insert("review", (*review).into());
        }
        basis
    }
}

impl Job<'_> {
    /// Somebody should look at these two records: told in the notes of the message, and asked.
    pub(super) fn raise(&self, conflict: Conflict, records: (i64, i64)) -> Result<(), Trouble> {
        self.note(conflict.sentence());
        // What a Patient of a server leads to, it may take back.
        let of_link =
            conflict.is_about_merge() && self.statement.as_ref().is_some_and(|told| told.focal_patient().is_some());
        self.ask_why(conflict.kind(), records, of_link)
    }

    /// Asks about what was refused: what the message did is taken back, the question stays.
    pub(super) fn raise_refused(&self) -> Result<(), StoreError> {
        for (conflict, (one, other)) in self.refused.take() {
            // Not about records that were taken back with all else.
            if records::get(self.transaction, one)?.is_none() || records::get(self.transaction, other)?.is_none() {
                continue;
            }
            self.raise(conflict, (one, other)).map_err(Trouble::into_store_error)?;
        }
        Ok(())
    }

    /// Two records of these persons that must not become one person's by a rule, if there are any.
    pub(super) fn kept_apart(&self, one: &str, other: &str) -> Result<Option<(i64, i64)>, Trouble> {
        let of_person = |one_id| Ok::<_, StoreError>(ids(&records::of_person(self.transaction, one_id)?));
        Ok(no_links::between(self.transaction, &of_person(one)?, &of_person(other)?)?)
    }

    /// Whether one of these records is told apart from one of the person's.
    pub(super) fn is_told_apart(&self, records: &BTreeSet<i64>, one_id: &str) -> Result<bool, Trouble> {
        let some: Vec<i64> = records.iter().copied().collect();
        let others = ids(&records::of_person(self.transaction, one_id)?);
        Ok(no_links::between(self.transaction, &some, &others)?.is_some())
    }

    /// Makes one person of two by a rule, if no decision stands against it: the older One ID lives on, so that the outcome does not
    /// depend on which record was completed last; but nobody who was linked by hand is moved. Gives the survivor.
    pub(super) fn merge_by_rule(
        &self,
        one: &str,
        other: &str,
        basis: &Value,
        moment: Moment,
    ) -> Result<Option<String>, Trouble> {
        let mut by_hand = [false; 2];
        for (has, one_id) in by_hand.iter_mut().zip([one, other]) {
            let rows = records::of_person(self.transaction, one_id)?;
            *has = rows.iter().any(|row| row.link == LinkKind::Manual);
        }
        if by_hand == [true; 2] || self.kept_apart(one, other)?.is_some() {
            return Ok(None);
        }
        let first = by_hand[0] || (!by_hand[1] && *one < *other);
        let (survivor, retired) = if first { (one, other) } else { (other, one) };
        self.merge_persons(survivor, retired, basis, moment)?;
        Ok(Some(survivor.to_owned()))
    }

    /// Whether a source's word that makes one person of the two records' persons stands against a decision: somebody has told them
    /// apart. If so, both stay as they are and somebody is asked. A link by hand is no obstacle: who was linked so comes along.
    pub(super) fn is_contested(&self, survivor: &PatientRecord, retired: &PatientRecord) -> Result<bool, Trouble> {
        if survivor.one_id == retired.one_id {
            return Ok(false);
        }
        let Some(pair) = self.kept_apart(&survivor.one_id, &retired.one_id)? else { return Ok(false) };
        self.raise(Conflict::Decided, pair)?;
        Ok(true)
    }

    /// Each of the one is told apart from each of the others.
    pub(super) fn tell_apart(
        &self,
        some: &[PatientRecord],
        others: &[PatientRecord],
        by: &str,
        reason: &str,
    ) -> Result<(), Trouble> {
        for one in some {
            for other in others {
                no_links::forbid(self.transaction, (one.id, other.id), by, reason, self.now)?;
            }
        }
        Ok(())
    }
}

/// It was so already.
fn unchanged(one_id: &str) -> Decided {
    Decided { one_id: one_id.to_owned(), ..Decided::default() }
}

fn ids(rows: &[PatientRecord]) -> Vec<i64> {
    rows.iter().map(|row| row.id).collect()
}

#[cfg(test)]
mod tests;
