//! Cases for review: two records of which somebody has to say whether they are one patient. A case is about records, so that it follows
//! every merge and split; of two records there is one.

use std::str::FromStr;

use rusqlite::{Row, params};

use super::packed::{PackedText, unpack_text};
use super::{Reader, StoreError, Transaction, row_limit};
use crate::record::Value;

/// Why somebody is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReviewKind {
    /// Much agrees, and not enough.
    PossibleMatch,
    /// Two persons fit one record: they may be one.
    PossibleDuplicate,
    /// Enough agrees, but something forbids a link by rule.
    Veto,
    /// Two persons fit nearly as well.
    Margin,
    /// A number came under too many names; a link rested on it.
    Quarantine,
    /// A source merged what a decision or a number keeps apart.
    SourceMergeConflict,
    /// A source gave a number to another patient.
    NumberReused,
    /// A record says what its person cannot be, and a decision holds it.
    DataQuality,
}

impl ReviewKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::PossibleMatch,
        Self::PossibleDuplicate,
        Self::Veto,
        Self::Margin,
        Self::Quarantine,
        Self::SourceMergeConflict,
        Self::NumberReused,
        Self::DataQuality,
    ];

    /// Their names.
    pub const NAMES: [&str; 8] = {
        let mut names = [""; 8];
        let mut place = 0;
        while place < names.len() {
            names[place] = Self::ALL[place].name();
            place += 1;
        }
        names
    };

    /// `possible_match` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PossibleMatch => "possible_match",
            Self::PossibleDuplicate => "possible_duplicate",
            Self::Veto => "veto",
            Self::Margin => "margin",
            Self::Quarantine => "quarantine",
            Self::SourceMergeConflict => "source_merge_conflict",
            Self::NumberReused => "number_reused",
            Self::DataQuality => "data_quality",
        }
    }

    /// Whether the case stands while both records belong to one person. The lists below spell these kinds out.
    fn concerns_one_person(self) -> bool {
        matches!(self, Self::SourceMergeConflict | Self::DataQuality)
    }
}

impl FromStr for ReviewKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(())
    }
}

/// What became of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReviewState {
    /// Nobody has decided.
    Open,
    /// They are one patient.
    Linked,
    /// They are two.
    Rejected,
}

impl ReviewState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Open, Self::Linked, Self::Rejected];

    /// `open`, `linked`, `rejected`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Linked => "linked",
            Self::Rejected => "rejected",
        }
    }
}

impl FromStr for ReviewState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or(())
    }
}

/// Which states a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReviewStates {
    /// What waits for an answer.
    #[default]
    Open,
    /// Those that were linked.
    Linked,
    /// Those that were rejected.
    Rejected,
    /// Both.
    Decided,
    /// All.
    All,
}

impl ReviewStates {
    /// The names, as people write them.
    pub const NAMES: [&str; 5] = ["open", "linked", "rejected", "decided", "all"];

    /// One of [`Self::NAMES`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Linked => "linked",
            Self::Rejected => "rejected",
            Self::Decided => "decided",
            Self::All => "all",
        }
    }
}

impl FromStr for ReviewStates {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Open, Self::Linked, Self::Rejected, Self::Decided, Self::All]
            .into_iter()
            .find(|states| states.name() == text)
            .ok_or(())
    }
}

/// What somebody is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Why.
    pub kind: ReviewKind,
    /// The two records, in any order.
    pub records: (i64, i64),
    /// log2 of the odds that they are one patient.
    pub bits: f64,
    /// What speaks for and against it.
    pub evidence: Value,
    /// The message that led to it.
    pub message: Option<i64>,
    /// When.
    pub at: i64,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// When.
    pub at: i64,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A case.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// Its number.
    pub id: i64,
    /// What was asked; `records.0` is the older one.
    pub question: Question,
    /// The One IDs of the two records now.
    pub one_ids: (String, String),
    /// What became of it.
    pub state: ReviewState,
    /// Who decided, and why.
    pub verdict: Option<Verdict>,
    /// Visits of the two records: how much waits for the answer.
    pub visits: u64,
}

/// Which cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReviewFilter {
    /// In these states.
    pub states: ReviewStates,
    /// Of this kind only.
    pub kind: Option<ReviewKind>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT review.id, review.kind, review.record, review.other, review.state, bits, evidence, message, asked_at, ",
            "decided_at, decided_by, reason, one.one_id, two.one_id, ",
            "(SELECT count(*) FROM visit WHERE visit.record = review.record) + ",
            "(SELECT count(*) FROM visit WHERE visit.record = review.other) AS visits FROM review ",
            "JOIN patient_record AS one ON one.id = review.record JOIN patient_record AS two ON two.id = review.other ",
            $rest
        )
    };
}

/// Asks, unless it was asked before: an open case takes the newest evidence, one that was decided stays decided. Gives the case's number, and
/// whether it is open.
///
/// # Errors
/// See [`StoreError`].
pub fn ask(transaction: &Transaction<'_>, question: &Question) -> Result<(i64, bool), StoreError> {
    let Question { kind, records: (one, other), bits, evidence, message, at } = question;
    let (record, other) = (one.min(other), one.max(other));
    let known = transaction.one(
        "SELECT id, state FROM review WHERE record = ?1 AND other = ?2",
        params![record, other],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
    )?;
    let evidence = serde_json::to_string(evidence).unwrap_or_default();
    let evidence = PackedText::pack(&evidence);
    match known {
        Some((id, state)) if state != ReviewState::Open.name() => Ok((id, false)),
        Some((id, _)) => {
            transaction.run(
                "UPDATE review SET kind = ?2, bits = ?3, evidence = ?4, message = ?5 WHERE id = ?1",
                params![id, kind.name(), bits, evidence, message],
            )?;
            Ok((id, true))
        }
        None => {
            let id = transaction.insert(
                "INSERT INTO review (kind, record, other, state, bits, evidence, message, asked_at)
                 VALUES (?1, ?2, ?3, 'open', ?4, ?5, ?6, ?7)",
                params![kind.name(), record, other, bits, evidence, message, at],
            )?;
            Ok((id, true))
        }
    }
}

/// A case by its number.
///
/// # Errors
/// See [`StoreError`].
pub fn get(reader: &Reader<'_>, id: i64) -> Result<Option<Review>, StoreError> {
    reader.one(select!("WHERE review.id = ?1"), [id], review)
}

/// The case about two records.
///
/// # Errors
/// See [`StoreError`].
pub fn about(reader: &Reader<'_>, one: i64, other: i64) -> Result<Option<Review>, StoreError> {
    reader.one(
        select!("WHERE review.record = ?1 AND review.other = ?2"),
        params![one.min(other), one.max(other)],
        review,
    )
}

/// Cases that fit, at most `limit`, beginning after the case `after`. Open ones alone: the weightiest first, see [`Review::rank`]; else the
/// newest question first. Open ones whose records have become one person meanwhile are settled and left out.
///
/// # Errors
/// See [`StoreError`].
pub fn list(
    reader: &Reader<'_>,
    filter: ReviewFilter,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<Review>, StoreError> {
    if filter.states == ReviewStates::Open {
        return weightiest(reader, filter.kind, after, limit);
    }
    reader.all(
        select!(
            "WHERE (?1 IS NULL OR review.id < ?1)
               AND (?2 = 'all' OR review.state = ?2 OR (?2 = 'decided' AND review.state <> 'open'))
               AND (?3 IS NULL OR review.kind = ?3)
               AND (review.state <> 'open' OR one.one_id <> two.one_id
                    OR review.kind = 'source_merge_conflict' OR review.kind = 'data_quality')
             ORDER BY review.id DESC LIMIT ?4"
        ),
        params![after, filter.states.name(), filter.kind.map(ReviewKind::name), row_limit(limit)],
        review,
    )
}

/// Open cases by their rank. Only what the rank is made of is read of all of them.
fn weightiest(
    reader: &Reader<'_>,
    kind: Option<ReviewKind>,
    after: Option<i64>,
    limit: usize,
) -> Result<Vec<Review>, StoreError> {
    let mut ranks: Vec<(f64, i64)> = reader.all(
        "SELECT review.id, bits,
                (SELECT count(*) FROM visit WHERE visit.record = review.record) +
                (SELECT count(*) FROM visit WHERE visit.record = review.other)
         FROM review
         JOIN patient_record AS one ON one.id = review.record JOIN patient_record AS two ON two.id = review.other
         WHERE review.state = 'open' AND (?1 IS NULL OR review.kind = ?1)
           AND (one.one_id <> two.one_id OR review.kind = 'source_merge_conflict' OR review.kind = 'data_quality')",
        params![kind.map(ReviewKind::name)],
        |row| Ok((rank(row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs()), row.get(0)?)),
    )?;
    if let Some(after) = after {
        // It may have been decided since it was listed; its place is known from what it weighs.
        let last = get(reader, after)?.map_or(f64::INFINITY, |review| review.rank());
        ranks.retain(|(rank, id)| *rank < last || *rank == last && *id > after);
    }
    ranks.sort_by(|(one, one_id), (other, other_id)| other.total_cmp(one).then(one_id.cmp(other_id)));
    ranks.truncate(limit);
    ranks.into_iter().map(|(_, id)| get(reader, id)?.ok_or(StoreError::Damaged { what: "review.id" })).collect()
}

fn rank(bits: f64, visits: u64) -> f64 {
    crate::identity::probability(bits) * (1.0 + visits as f64)
}

impl Review {
    /// How much an answer is worth: the probability, times the visits that wait for it.
    pub fn rank(&self) -> f64 {
        rank(self.question.bits, self.visits)
    }

    /// Whether nothing is left to decide: it is open, and the records are one person by now.
    pub fn is_settled(&self) -> bool {
        self.state == ReviewState::Open && self.one_ids.0 == self.one_ids.1 && !self.question.kind.concerns_one_person()
    }
}

/// Writes a decision down, or takes it back (`None`).
///
/// # Errors
/// See [`StoreError`].
pub fn decide(
    transaction: &Transaction<'_>,
    id: i64,
    state: ReviewState,
    verdict: Option<&Verdict>,
) -> Result<(), StoreError> {
    transaction.run(
        "UPDATE review SET state = ?2, decided_at = ?3, decided_by = ?4, reason = ?5 WHERE id = ?1",
        params![
            id,
            state.name(),
            verdict.map(|verdict| verdict.at),
            verdict.map(|verdict| &verdict.by),
            verdict.map(|verdict| &verdict.reason)
        ],
    )?;
    Ok(())
}

fn review(row: &Row<'_>) -> Result<Review, StoreError> {
    let damaged = |what| StoreError::Damaged { what };
    let evidence = unpack_text(row.get_ref(6)?, "review.evidence")?;
    let verdict = match (row.get::<_, Option<i64>>(9)?, row.get::<_, Option<String>>(10)?) {
        (Some(at), Some(by)) => Some(Verdict { at, by, reason: row.get::<_, Option<String>>(11)?.unwrap_or_default() }),
        _ => None,
    };
    Ok(Review {
        id: row.get(0)?,
        question: Question {
            kind: row.get::<_, String>(1)?.parse().map_err(|()| damaged("review.kind"))?,
            records: (row.get(2)?, row.get(3)?),
            bits: row.get(5)?,
            evidence: serde_json::from_str(&evidence).map_err(|_| damaged("review.evidence"))?,
            message: row.get(7)?,
            at: row.get(8)?,
        },
        one_ids: (row.get(12)?, row.get(13)?),
        state: row.get::<_, String>(4)?.parse().map_err(|()| damaged("review.state"))?,
        verdict,
        visits: row.get::<_, i64>(14)?.unsigned_abs(),
    })
}
