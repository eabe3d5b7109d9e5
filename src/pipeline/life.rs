//! The life of an identity after its records are known: what people decide (link, unlink, merge, split), and what keeps rules from
//! deciding otherwise.
//!
//! Invariants
//! - A record that was linked by hand is moved by nobody's rule; two records that are told apart (`store::no_links`) are never brought
//!   to one person but by a decision that takes that back.
//! - The same decision again changes nothing and tells nothing.
//! - A One ID that was retired lives again with the records that it had; what came after the merge stays, and is asked about.
//! - Every change is told at once: who is who now, and each visit and report anew under its One ID.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::apply::{About, Cause, Job, Trouble};
use super::patient::golden_of;
use super::{Failure, Site};
use crate::feed::EventKind;
use crate::identity::{Decided, ManualDecision, ManualRefusal, ManualStep, NamedRecord};
use crate::record::{RecordNumber, Value, json};
use crate::state::{Moment, changed};
use crate::store::messages::ContentDigest;
use crate::store::persons::Person;
use crate::store::records::{LinkKind, PatientRecord};
use crate::store::reviews::ReviewKind;
use crate::store::{ErrorClass, StoreError, Transaction, no_links, persons, records};
use crate::view;

/// The source of events that come of a decision: `heyi/manual`.
const BY_HAND: &str = "manual";

/// What somebody should look at, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    /// A source merges, links or moves what was decided otherwise by hand.
    Decided,
    /// A source uses a patient's number for another patient.
    NumberReused,
    /// A record came to a person after a merge that was undone: whose is it?
    AfterSplit,
    /// A source merges two patients who have different resident numbers: done, for the numbers are its own.
    OtherNumber,
    /// A source merges two numbers the other way round than before: refused.
    Opposite,
}

impl Conflict {
    fn kind(self) -> ReviewKind {
        match self {
            Self::Decided | Self::OtherNumber | Self::Opposite => ReviewKind::SourceMergeConflict,
            Self::NumberReused => ReviewKind::NumberReused,
            Self::AfterSplit => ReviewKind::PossibleMatch,
        }
    }

    /// The sentence for the notes of the message.
    fn sentence(self) -> &'static str {
        match self {
            Self::Decided => {
                "the two numbers stay with two persons: somebody has decided so by hand; look at `heyi person history`, and link or \
                 merge them by hand if the source is right"
            }
            Self::NumberReused => {
                "PID-3: the number stood for another patient: name, birth date and resident number all differ; taken for a new \
                 patient, the former one is as before"
            }
            Self::AfterSplit => {
                "a record came after a merge that was undone: it stays where it is until somebody decides"
            }
            Self::OtherNumber => {
                "the two merged numbers are of patients with different valid resident numbers: merged, as the source says; somebody \
                 should look, `heyi review list`"
            }
            Self::Opposite => {
                "the source says the opposite of an earlier merge: refused; somebody should look, `heyi review list`"
            }
        }
    }
}

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
    let job = Job {
        transaction,
        source: BY_HAND,
        zone,
        site,
        mapping: "",
        // Two decisions of one moment are two: event ids are made of it.
        digest: ContentDigest::of(format!("{decision:?} {now}").as_bytes()),
        message: None,
        received_at: now,
        now,
        cause: Cause::Manual,
        notes: RefCell::default(),
        refused: RefCell::default(),
        statement: None,
    };
    let outcome = transaction.attempt(|_| Life { job: &job, decision }.carry_out());
    match outcome {
        Ok(decided) => Ok(Ok(decided)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Trouble(Trouble::Store(error))) => Err(error),
        Err(Stop::Trouble(Trouble::Content(Failure { text, .. }))) => {
            let error = StoreError::Defect { reason: text };
            debug_assert_ne!(error.class(), ErrorClass::Fatal);
            Err(error)
        }
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
        let mut changed = false;
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
            told.extend(group.iter().map(|row| row.number.to_string()));
            self.lift(&group, &records::of_person(job.transaction, &target)?)?;
            if rest.is_empty() {
                job.merge_persons(&target, &from, &self.basis(json!({"retired": from})), self.moment())?;
            } else {
                job.part(&from, &group, Goal::Known(&target), self.basis(json!({"from": from})), self.moment())?;
                job.tell_apart(&group, &rest, &self.decision.by, &self.decision.reason)?;
            }
            changed = true;
        }
        Ok(Decided { one_id: target, other: None, records: told, changed })
    }

    fn unlink(&self, named: &NamedRecord) -> Result<Decided, Stop> {
        let rows = self.named(named)?;
        let persons: BTreeSet<&str> = rows.iter().map(|row| row.one_id.as_str()).collect();
        let [one_id] = Vec::from_iter(persons)[..] else { return Err(ManualRefusal::SeveralPersons.into()) };
        let (group, rest) = self.group(one_id, &rows.iter().map(|row| row.id).collect())?;
        if rest.is_empty() {
            return Ok(Decided { one_id: one_id.to_owned(), other: None, records: Vec::new(), changed: false });
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
            return Ok(Decided { one_id: survivor, other: None, records: Vec::new(), changed: false });
        }
        let moved = records::of_person(job.transaction, &retired)?;
        self.lift(&moved, &records::of_person(job.transaction, &survivor)?)?;
        job.merge_persons(&survivor, &retired, &self.basis(json!({"retired": retired})), self.moment())?;
        let records = moved.iter().map(|row| row.number.to_string()).collect();
        Ok(Decided { one_id: survivor, other: Some(retired), records, changed: true })
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
        let basis = self.basis(json!({"retired": retired.one_id, "undone": "merge"}));
        job.part(&holder, &group, Goal::Revived(&retired.one_id), basis, self.moment())?;
        self.tell_apart_since(&group, rest, step.at)?;
        let records = group.iter().map(|row| row.number.to_string()).collect();
        Ok(Decided { one_id: holder, other: Some(retired.one_id), records, changed: true })
    }

    /// A One ID that stands alone: that is as it should be if it was split before.
    fn split_before(&self, one_id: &str) -> Result<Decided, Stop> {
        let apart = |row: PatientRecord| no_links::list(self.job.transaction, row.id);
        let told = records::of_person(self.job.transaction, one_id)?.into_iter().map(apart);
        let told = told.collect::<Result<Vec<_>, StoreError>>()?;
        if told.into_iter().flatten().any(|pair| pair.undone.is_none()) {
            return Ok(Decided { one_id: one_id.to_owned(), other: None, records: Vec::new(), changed: false });
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
            let found: Vec<i64> = there.iter().filter(|row| row.number == *number).map(|row| row.id).collect();
            if found.is_empty() {
                let elsewhere: Vec<i64> =
                    records::named(job.transaction, number)?.into_iter().map(|row| row.id).collect();
                let own: Vec<i64> = there.iter().map(|row| row.id).collect();
                if no_links::between(job.transaction, &elsewhere, &own)?.is_none() {
                    return Err(ManualRefusal::NotOfPerson.into());
                }
                gone += 1;
            }
            ids.extend(found);
        }
        if gone == numbers.len() {
            return Ok(Decided { one_id: holder, other: None, records: Vec::new(), changed: false });
        }
        let (group, rest) = with_merged(there, &ids);
        if rest.is_empty() {
            return Err(ManualRefusal::NothingLeft.into());
        }
        self.leave(&holder, &group, &rest)
    }

    /// The records `group` of a person go to a One ID of their own, and are told apart from the `rest`.
    pub(super) fn leave(&self, holder: &str, group: &[PatientRecord], rest: &[PatientRecord]) -> Result<Decided, Stop> {
        let job = self.job;
        let former = job.former_one_id(group)?;
        let step = match &former {
            Some(one_id) => job.merge_step(&self.person(one_id)?)?,
            None => None,
        };
        let goal = former.as_deref().map_or(Goal::New, Goal::Revived);
        let other = job.part(holder, group, goal, self.basis(json!({"from": holder})), self.moment())?;
        self.tell_apart_since(group, rest.to_vec(), step.map_or(i64::MAX, |step| step.at))?;
        let records = group.iter().map(|row| row.number.to_string()).collect();
        Ok(Decided { one_id: holder.to_owned(), other: Some(other), records, changed: true })
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
            no_links::allow(self.job.transaction, pair, &self.decision.by, self.job.now)?;
        }
        Ok(())
    }

    fn named(&self, named: &NamedRecord) -> Result<Vec<PatientRecord>, Stop> {
        let mut rows = records::named(self.job.transaction, &named.number)?;
        rows.retain(|row| named.source.as_ref().is_none_or(|source| row.source == *source));
        if rows.is_empty() { Err(ManualRefusal::UnknownRecord.into()) } else { Ok(rows) }
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

    fn moment(&self) -> Moment {
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

/// Where records go that leave a person.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal<'a> {
    /// To a living person.
    Known(&'a str),
    /// To a One ID that was retired and lives again.
    Revived(&'a str),
    /// To a new One ID.
    New,
}

/// A merge as the history has it.
pub(super) struct MergeStep {
    /// The records that it moved.
    pub(super) records: BTreeSet<i64>,
    /// Its first line in the history of all links.
    pub(super) at: i64,
}

impl Job<'_> {
    /// Somebody should look at these two records: told in the notes of the message, and asked.
    pub(super) fn raise(&self, conflict: Conflict, records: (i64, i64)) -> Result<(), Trouble> {
        self.note(conflict.sentence());
        self.ask_why(conflict.kind(), records)
    }

    /// Asks about what was refused: what the message did is taken back, the question stays.
    pub(super) fn raise_refused(&self) -> Result<(), StoreError> {
        for (conflict, (one, other)) in self.refused.take() {
            // Not about records that were taken back with all else.
            if records::get(self.transaction, one)?.is_none() || records::get(self.transaction, other)?.is_none() {
                continue;
            }
            match self.raise(conflict, (one, other)) {
                Ok(()) => {}
                Err(Trouble::Store(error)) => return Err(error),
                Err(Trouble::Content(Failure { text, .. })) => return Err(StoreError::Defect { reason: text }),
            }
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

    /// The merge that retired this One ID, which is still in force.
    pub(super) fn merge_step(&self, retired: &Person) -> Result<Option<MergeStep>, Trouble> {
        let Some(survivor) = retired.merged_into.as_deref() else { return Ok(None) };
        let history = records::history(self.transaction, &retired.one_id, 0, usize::MAX)?;
        // Nothing leaves a One ID once it is retired: its last moves are the merge. Others may have gone to the survivor one by one before.
        let mut steps =
            history.into_iter().rev().filter(|(_, change)| change.from.as_deref() == Some(&*retired.one_id));
        let Some((last, merge)) = steps.next().filter(|(_, change)| change.to == survivor) else { return Ok(None) };
        let mut step = MergeStep { records: BTreeSet::from([merge.record]), at: last };
        let with_it = steps
            .take_while(|(_, change)| (change.at, &change.to, &change.basis) == (merge.at, &merge.to, &merge.basis));
        for (id, change) in with_it {
            step.records.insert(change.record);
            step.at = id;
        }
        Ok(Some(step))
    }

    /// The One ID that these records had before they were merged, if it is theirs to have again: retired, common to all of them, and
    /// begun with one of them.
    pub(super) fn former_one_id(&self, group: &[PatientRecord]) -> Result<Option<String>, Trouble> {
        let mut common: Option<Vec<String>> = None;
        let mut begun = BTreeSet::new();
        for row in group {
            let moves = records::moves_of(self.transaction, row.id)?;
            begun.extend(moves.iter().find(|(_, change)| change.from.is_none()).map(|(_, change)| change.to.clone()));
            let from: Vec<String> = moves.into_iter().filter_map(|(_, change)| change.from).collect();
            common = Some(match common {
                None => from,
                Some(common) => common.into_iter().filter(|one_id| from.contains(one_id)).collect(),
            });
        }
        for one_id in common.unwrap_or_default() {
            if begun.contains(&one_id) && self.person(&one_id)?.merged_into.is_some() {
                return Ok(Some(one_id));
            }
        }
        Ok(None)
    }

    /// The records `group` of `holder` go to their goal, with their visits and reports; gives its One ID. A merge of their source's
    /// that ties one of them to a record that stays is taken back.
    pub(super) fn part(
        &self,
        holder: &str,
        group: &[PatientRecord],
        goal: Goal<'_>,
        basis: Value,
        moment: Moment,
    ) -> Result<String, Trouble> {
        let leaving: BTreeSet<i64> = group.iter().map(|row| row.id).collect();
        let mut moved = self.belongings(holder)?;
        moved.keep_of(&leaving);
        let one_id = match goal {
            Goal::Known(one_id) => one_id.to_owned(),
            Goal::Revived(one_id) => {
                let before = self.person(one_id)?;
                persons::update(self.transaction, &before, &Person { merged_into: None, ..before.clone() })?;
                one_id.to_owned()
            }
            Goal::New => self.new_person(golden_of(group.iter())?, moment)?,
        };
        let by_hand = self.cause == Cause::Manual;
        for row in group {
            if row.merged_into.is_some_and(|into| !leaving.contains(&into)) {
                records::set_merged_into(self.transaction, row.id, None)?;
            }
            let kind = if by_hand || row.link == LinkKind::Manual { LinkKind::Manual } else { LinkKind::Auto };
            records::link(self.transaction, &self.link_change(row.id, &one_id, kind, basis.clone()))?;
        }
        let told = [("new_one_id", json!(one_id)), ("basis", basis), ("records", moved.ids())];
        self.tell_change(EventKind::PatientSplit, holder, told, moment)?;
        match goal {
            Goal::Known(one_id) => self.refresh_person(one_id, EventKind::PatientUpdated, moment)?,
            Goal::Revived(one_id) => self.tell_revival(one_id, moment)?,
            // Its golden record is of records that stood retired, or of one that now stands alone.
            Goal::New => self.refresh_person(&one_id, EventKind::PatientUpdated, moment)?,
        }
        self.publish_moved(moved, &one_id, moment, Cause::Split)?;
        Ok(one_id)
    }

    /// A One ID that was retired answers for itself again: told, also where its golden record is as it was.
    fn tell_revival(&self, one_id: &str, moment: Moment) -> Result<(), Trouble> {
        let before = self.person(one_id)?;
        let after = Person { version: before.version + 1, golden: self.golden(one_id)?, ..before.clone() };
        persons::update(self.transaction, &before, &after)?;
        let mut changed = changed(&before.golden, &after.golden);
        changed.push("merged_into".to_owned());
        changed.sort_unstable();
        let about = About { kind: EventKind::PatientUpdated, record: one_id, one_id, moment, version: after.version };
        self.publish(about, &changed, view::person(after), self.cause)?;
        Ok(())
    }
}

/// The records of these numbers with all that their source has merged into them, and the others.
pub(super) fn with_merged(rows: Vec<PatientRecord>, ids: &BTreeSet<i64>) -> (Vec<PatientRecord>, Vec<PatientRecord>) {
    let mut group = ids.clone();
    loop {
        let grown = group.len();
        let merged = rows.iter().filter(|row| row.merged_into.is_some_and(|into| group.contains(&into)));
        let merged: Vec<i64> = merged.map(|row| row.id).collect();
        group.extend(merged);
        if group.len() == grown {
            break;
        }
    }
    rows.into_iter().partition(|row| group.contains(&row.id))
}

fn ids(rows: &[PatientRecord]) -> Vec<i64> {
    rows.iter().map(|row| row.id).collect()
}

#[cfg(test)]
mod tests;
