//! What somebody who decided is told: what moved, which earlier decisions do not hold any more, what would have forbidden it to a rule,
//! and how it is taken back. Changes nothing.

use std::collections::BTreeSet;

use super::super::apply::Job;
use super::super::patient::state_of;
use super::{Life, Stop};
use crate::feed::TypeFilter;
use crate::identity::{
    BirthDateLevel, Candidate, CandidateRecord, Decided, ManualStep, NamedRecord, Overruled, PatientFacts, SexLevel,
    Veto, Warning, compare,
};
use crate::record::{Fields, Value};
use crate::store::events::{self, PageRequest};
use crate::store::records::{self, LinkChange, LinkKind, PatientRecord};
use crate::store::{StoreError, no_links, reviews};

/// The events that tell of merges and splits, and of whoever lives again.
const PERSONS: &str = "patient.*";
/// Records of one person that are compared for warnings: more are no patient's, and each pair is weighed.
const COMPARED: usize = 32;
/// Events read at a time.
const PAGE: usize = 1_000;
/// Their bytes.
const PAGE_BYTES: usize = 1 << 24;

impl Life<'_, '_> {
    /// The outcome with all that it led to; `before`: the newest event before the decision.
    pub(super) fn told(&self, mut decided: Decided, before: u64) -> Result<Decided, Stop> {
        if !decided.changed {
            return Ok(decided);
        }
        decided.reviews = self.answer_cases(&decided)?;
        if decided.take_back.is_none() {
            decided.take_back = self.take_back(&decided);
        }
        decided.overruled = self.overruled.take();
        decided.warnings = self.warnings.take();
        self.read_events(&mut decided, before)?;
        Ok(decided)
    }

    /// What moved is what consumers were told.
    fn read_events(&self, decided: &mut Decided, before: u64) -> Result<(), Stop> {
        let filters: Vec<TypeFilter> = PERSONS.parse().into_iter().collect();
        let mut after = before;
        loop {
            let request = PageRequest { after, limit: PAGE, bytes: PAGE_BYTES, filters: filters.clone() };
            let page = events::page(self.job.transaction, &request)?;
            for event in &page.events {
                let data: Fields =
                    serde_json::from_str(event.data.get()).map_err(|_| StoreError::Damaged { what: "event.data" })?;
                let moved = |name: &str| texts(data.get("records").and_then(|records| records.get(name)));
                decided.visits.extend(moved("visits"));
                decided.lab_reports.extend(moved("lab_reports"));
                decided.retired.extend(texts(data.get("retired")));
                if texts(data.get("changed")).iter().any(|name| name == "merged_into") {
                    decided.revived.push(event.subject.clone());
                }
            }
            if page.next == after {
                break;
            }
            after = page.next;
        }
        // Whoever goes by way of another One ID is told of twice.
        for list in [&mut decided.visits, &mut decided.lab_reports, &mut decided.retired] {
            let mut known = BTreeSet::new();
            list.retain(|id| known.insert(id.clone()));
        }
        Ok(())
    }

    fn take_back(&self, decided: &Decided) -> Option<String> {
        match &self.decision.step {
            ManualStep::Link { record: NamedRecord { number, source }, .. } => {
                let source = source.as_ref().map(|source| format!(" --source {source}")).unwrap_or_default();
                Some(format!("heyi person unlink {}{source}", quoted(&number.to_string())))
            }
            ManualStep::Unlink { .. } | ManualStep::Split { .. } => {
                decided.other.as_ref().map(|other| format!("heyi person merge {other} {}", decided.one_id))
            }
            ManualStep::Merge { .. } => decided.other.as_ref().map(|retired| format!("heyi person split {retired}")),
            // Linked again in the case, the older One ID would live on, which may be the other one.
            ManualStep::Review { is_same: false, .. } if !decided.records.is_empty() => {
                decided.other.as_ref().map(|other| format!("heyi person merge {other} {}", decided.one_id))
            }
            ManualStep::Review { review, is_same } => {
                let otherwise = if *is_same { "reject" } else { "link" };
                Some(format!("heyi review decide {review} {otherwise}"))
            }
        }
    }

    /// Notes that it holds no more that these two were told apart.
    pub(super) fn overrule_pair(&self, pair: (i64, i64)) -> Result<(), Stop> {
        let transaction = self.job.transaction;
        let Some(told) = no_links::get(transaction, pair)? else { return Ok(()) };
        let case = reviews::about(transaction, told.one, told.other)?;
        let verdict = case.and_then(|case| Some((case.id, case.verdict?))).filter(|(_, verdict)| verdict.at == told.at);
        let mut moves = records::moves_of(transaction, told.one)?;
        moves.extend(records::moves_of(transaction, told.other)?);
        let by_move = moves.iter().find(|(_, change)| change.at == told.at).and_then(|(_, change)| decision_of(change));
        let decision = match (&by_move, &verdict) {
            (Some(decision), _) => decision.clone(),
            (None, Some((_, verdict))) => verdict.answered_by.clone().unwrap_or_else(|| "reject".to_owned()),
            (None, None) => "told_apart".to_owned(),
        };
        self.note(Overruled {
            decision,
            by: told.by,
            reason: told.reason,
            at: told.at,
            records: (self.name(told.one)?, self.name(told.other)?),
            review: verdict.map(|(id, _)| id),
        });
        Ok(())
    }

    /// Notes the decisions that brought a record of `group` and one of the `rest` together, which part now.
    pub(super) fn overrule_joins(&self, group: &[PatientRecord], rest: &[PatientRecord]) -> Result<(), Stop> {
        let with_moves = |rows: &[PatientRecord]| -> Result<Vec<(i64, Moves)>, StoreError> {
            rows.iter().map(|row| Ok((row.id, records::moves_of(self.job.transaction, row.id)?))).collect()
        };
        let rest = with_moves(rest)?;
        for (own, moves) in with_moves(group)? {
            for (other, others_moves) in &rest {
                let Some(change) = join_of(&moves, others_moves) else { continue };
                let text = |name: &str| change.basis.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                self.note(Overruled {
                    decision: text("decision"),
                    by: text("by"),
                    reason: text("reason"),
                    at: change.at,
                    records: (self.name(own)?, self.name(*other)?),
                    review: change.basis.get("review").and_then(Value::as_i64),
                });
            }
        }
        Ok(())
    }

    /// When a record came to its person, in the order of the history of all links.
    pub(in crate::pipeline) fn arrival(&self, row: &PatientRecord) -> Result<i64, Stop> {
        Ok(arrival(&records::moves_of(self.job.transaction, row.id)?))
    }

    /// One decision is told once, whatever it was about.
    fn note(&self, overruled: Overruled) {
        let mut known = self.overruled.borrow_mut();
        let same = |other: &Overruled| {
            (other.at, &other.by, &other.decision) == (overruled.at, &overruled.by, &overruled.decision)
        };
        if !known.iter().any(same) {
            known.push(overruled);
        }
    }

    /// Notes what would forbid a rule to bring these together.
    pub(in crate::pipeline) fn warn(&self, moving: &[PatientRecord], others: &[PatientRecord]) -> Result<(), Stop> {
        let facts = |row: &PatientRecord| self.job.usable(PatientFacts::of(&state_of(row)?.record()));
        // What its source has given up speaks for nobody.
        let live = |rows: &[PatientRecord]| -> Result<Vec<(PatientRecord, PatientFacts)>, StoreError> {
            let live = rows.iter().filter(|row| row.merged_into.is_none()).take(COMPARED);
            live.map(|row| Ok((row.clone(), facts(row)?))).collect()
        };
        let others = live(others)?;
        for (row, own) in live(moving)? {
            for (other, known) in &others {
                let record = CandidateRecord {
                    id: other.id,
                    facts: known.clone(),
                    tie: None,
                    is_parted: false,
                    patient: other.id,
                };
                let candidate = Candidate { one_id: other.one_id.clone(), records: vec![record] };
                let evidence = self.job.weigh(&own, &candidate, BTreeSet::new())?;
                let vetoes = evidence.map(|evidence| evidence.vetoes).unwrap_or_default();
                let mut found: Vec<String> = vetoes.into_iter().map(veto_name).collect();
                let compared = compare(&own, known);
                found.extend((compared.sex == SexLevel::Different).then(|| "other_sex".to_owned()));
                let other_birth = matches!(compared.birth_date, BirthDateLevel::Different | BirthDateLevel::SameYear);
                found.extend(other_birth.then(|| "other_birth_date".to_owned()));
                for veto in found {
                    if self.warnings.borrow().iter().all(|warning| warning.veto != veto) {
                        let records = (self.name(row.id)?, self.name(other.id)?);
                        self.warnings.borrow_mut().push(Warning { veto, records });
                    }
                }
            }
        }
        Ok(())
    }

    /// The record as people name it.
    pub(in crate::pipeline) fn name(&self, record: i64) -> Result<String, Stop> {
        Ok(records::name(self.job.transaction, &self.job.record(record)?)?)
    }
}

impl Job<'_> {
    /// Whether two records of one person are so by somebody's decision.
    pub(in crate::pipeline) fn joined_by_hand(
        &self,
        one: &PatientRecord,
        other: &PatientRecord,
    ) -> Result<bool, StoreError> {
        if one.id == other.id || one.link == LinkKind::Manual && other.link == LinkKind::Manual {
            return Ok(true);
        }
        let moves = |row: &PatientRecord| records::moves_of(self.transaction, row.id);
        Ok(join_of(&moves(one)?, &moves(other)?).is_some())
    }

    /// Whether somebody has put one of these records and one of the rest of their person together.
    pub(in crate::pipeline) fn are_joined_by_hand(
        &self,
        group: &[PatientRecord],
        rest: &[PatientRecord],
    ) -> Result<bool, StoreError> {
        for row in group {
            for other in rest {
                if self.joined_by_hand(row, other)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// The moves of a record, oldest first, each with its number in the history of all.
type Moves = Vec<(i64, LinkChange)>;

/// Somebody's decision by which two records of one person came together; `None`: a rule or a source did it.
fn join_of<'m>(one: &'m Moves, other: &'m Moves) -> Option<&'m LinkChange> {
    let together = together_since(one, other);
    let by_hand = one
        .iter()
        .chain(other)
        .filter(|(id, change)| *id >= together && change.kind == LinkKind::Manual && decision_of(change).is_some());
    by_hand.min_by_key(|(id, _)| *id).map(|(_, change)| change)
}

/// The move by which two records of one person came together; where they went on together since, that changes nothing.
fn together_since(one: &Moves, other: &Moves) -> i64 {
    let arrivals = |moves: &'_ Moves| -> Vec<(i64, LinkChange)> {
        moves.iter().rev().filter(|(_, change)| change.from.as_ref() != Some(&change.to)).cloned().collect()
    };
    let (one, other) = (arrivals(one), arrivals(other));
    let is_joint = |((_, one), (_, other)): &(&(i64, LinkChange), &(i64, LinkChange))| {
        one.from.is_some() && (one.at, &one.from, &one.to) == (other.at, &other.from, &other.to)
    };
    let joint = one.iter().zip(&other).take_while(is_joint).count();
    let id = |moves: &[(i64, LinkChange)]| moves.get(joint).map_or(0, |(id, _)| *id);
    id(&one).max(id(&other))
}

/// The move that brought a record to its person.
fn arrival(moves: &Moves) -> i64 {
    moves.iter().rev().find(|(_, change)| change.from.as_ref() != Some(&change.to)).map_or(0, |(id, _)| *id)
}

/// What somebody decided that moved a record.
fn decision_of(change: &LinkChange) -> Option<String> {
    change.basis.get("by")?;
    change.basis.get("decision").and_then(Value::as_str).map(str::to_owned)
}

fn veto_name(veto: Veto) -> String {
    serde_json::json!(veto).as_str().unwrap_or_default().to_owned()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let texts = list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// A record's name as an argument in a shell.
pub(in crate::pipeline) fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\'', r"'\''"))
}
