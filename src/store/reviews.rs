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

/// [`Verdict::answered_by`] where no decision answers a case, but a source that took back what led to the question.
pub const BY_SOURCE: &str = "source";

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// When.
    pub at: i64,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The decision that answers the case although it was not about it: `merge`, `split` and so on, or another case's answer; or
    /// [`BY_SOURCE`]. `None`: somebody decided the case itself.
    pub answered_by: Option<String>,
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
            "decided_at, decided_by, reason, one.one_id, two.one_id, answered_by, ",
            "(SELECT count(*) FROM visit WHERE visit.record = review.record) + ",
            "(SELECT count(*) FROM visit WHERE visit.record = review.other) AS visits FROM review ",
            "JOIN patient_record AS one ON one.id = review.record JOIN patient_record AS two ON two.id = review.other ",
            $rest
        )
    };
}

/// Asks, unless it was asked before: an open case takes the newest evidence, one that was decided stays decided, unless it was
/// rejected and a source now says that the two are one. One that another decision answered is open again where the two records do not stand as
/// that decision left them, and one that a source answered always. What a source led to stays a question of that kind. Gives
/// the case's number, and whether it is open.
///
/// # Errors
/// See [`StoreError`].
pub fn ask(transaction: &Transaction<'_>, question: &Question) -> Result<(i64, bool), StoreError> {
    let Question { kind, records: (one, other), bits, evidence, message, at } = question;
    let (record, other) = (one.min(other), one.max(other));
    let known = transaction.one(
        "SELECT review.id, review.state, answered_by, one.one_id = two.one_id, kind FROM review
         JOIN patient_record AS one ON one.id = review.record JOIN patient_record AS two ON two.id = review.other
         WHERE record = ?1 AND other = ?2",
        params![record, other],
        |row| {
            let (state, answered_by): (String, Option<String>) = (row.get(1)?, row.get(2)?);
            let is_so = (state == ReviewState::Linked.name()) == row.get::<_, bool>(3)?;
            let was: String = row.get(4)?;
            // A source that contradicts the decision asks something new, once: not of two whom somebody has linked, and who are one by it.
            let contradicts = *kind == ReviewKind::SourceMergeConflict
                && was != kind.name()
                && (answered_by.is_some() || state == ReviewState::Rejected.name());
            // A source that took back its question has told nobody apart.
            let is_anew = answered_by.as_deref() == Some(BY_SOURCE);
            let is_waiting = state == ReviewState::Open.name();
            let is_open = is_waiting || contradicts || answered_by.is_some() && (!is_so || is_anew);
            // What a source did is still why somebody is asked, whatever rules find beside it.
            let stays = is_waiting && is_of_source(&was) && !is_of_source(kind.name());
            Ok((row.get::<_, i64>(0)?, is_open, if stays { was } else { kind.name().to_owned() }))
        },
    )?;
    let evidence = serde_json::to_string(evidence).unwrap_or_default();
    let evidence = PackedText::pack(&evidence);
    match known {
        Some((id, false, _)) => Ok((id, false)),
        Some((id, true, kind)) => {
            transaction.run(
                "UPDATE review SET kind = ?2, bits = ?3, evidence = ?4, message = ?5, state = 'open', decided_at = NULL,
                        decided_by = NULL, reason = NULL, answered_by = NULL WHERE id = ?1",
                params![id, kind, bits, evidence, message],
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

/// Whether a case of the kind is about what a source did, and not about how much agrees.
fn is_of_source(kind: &str) -> bool {
    [ReviewKind::SourceMergeConflict, ReviewKind::NumberReused].iter().any(|of_source| of_source.name() == kind)
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

/// Whether an open case asks about two persons, by any of their records.
///
/// # Errors
/// See [`StoreError`].
pub fn is_asked(reader: &Reader<'_>, one_id: &str, other_one_id: &str) -> Result<bool, StoreError> {
    let found = reader.one(
        "SELECT 1 FROM patient_record AS one JOIN review ON review.record = one.id OR review.other = one.id
         JOIN patient_record AS two ON two.id = CASE WHEN review.record = one.id THEN review.other ELSE review.record END
         WHERE one.one_id = ?1 AND two.one_id = ?2 AND review.state = 'open' LIMIT 1",
        params![one_id, other_one_id],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// The records of others about which open cases ask whether they are this person's too, oldest first, at most `limit`.
///
/// # Errors
/// See [`StoreError`].
pub fn asked_about(reader: &Reader<'_>, one_id: &str, limit: usize) -> Result<Vec<i64>, StoreError> {
    reader.all(
        "SELECT DISTINCT two.id FROM patient_record AS one JOIN review ON review.record = one.id OR review.other = one.id
         JOIN patient_record AS two ON two.id = CASE WHEN review.record = one.id THEN review.other ELSE review.record END
         WHERE one.one_id = ?1 AND two.one_id <> ?1 AND review.state = 'open' ORDER BY two.id LIMIT ?2",
        params![one_id, row_limit(limit)],
        |row| Ok(row.get(0)?),
    )
}

/// The number of the newest case; 0 where there is none.
///
/// # Errors
/// See [`StoreError`].
pub fn newest(reader: &Reader<'_>) -> Result<i64, StoreError> {
    Ok(reader.one("SELECT max(id) FROM review", [], |row| Ok(row.get::<_, Option<i64>>(0)?))?.flatten().unwrap_or(0))
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
    /// Whether somebody has decided it: not only a source, which says nothing of who the two are.
    pub fn is_decided(&self) -> bool {
        let by_source = self.verdict.as_ref().is_some_and(|verdict| verdict.answered_by.as_deref() == Some(BY_SOURCE));
        self.state != ReviewState::Open && !by_source
    }

    /// How much an answer is worth: the probability, times the visits that wait for it.
    pub fn rank(&self) -> f64 {
        rank(self.question.bits, self.visits)
    }

    /// Whether nothing is left to decide: it is open, and the records are one person by now.
    pub fn is_settled(&self) -> bool {
        self.state == ReviewState::Open && self.one_ids.0 == self.one_ids.1 && !self.question.kind.concerns_one_person()
    }
}

/// Writes an answer down; with [`ReviewState::Open`], that the one before does not hold any more.
///
/// # Errors
/// See [`StoreError`].
pub fn decide(transaction: &Transaction<'_>, id: i64, state: ReviewState, verdict: &Verdict) -> Result<(), StoreError> {
    let Verdict { at, by, reason, answered_by } = verdict;
    let in_force = (state != ReviewState::Open).then_some(());
    transaction.run(
        "UPDATE review SET state = ?2, decided_at = ?3, decided_by = ?4, reason = ?5, answered_by = ?6 WHERE id = ?1",
        params![
            id,
            state.name(),
            in_force.map(|()| at),
            in_force.map(|()| by),
            in_force.map(|()| reason),
            in_force.and(answered_by.as_ref()),
        ],
    )?;
    transaction.insert(
        "INSERT INTO review_answer (review, state, at, said_by, reason, answered_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id, state.name(), at, by, reason, answered_by],
    )?;
    Ok(())
}

/// All answers of a case, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn answers(reader: &Reader<'_>, id: i64) -> Result<Vec<(ReviewState, Verdict)>, StoreError> {
    reader.all(
        "SELECT state, at, said_by, reason, answered_by FROM review_answer WHERE review = ?1 ORDER BY id",
        [id],
        |row| {
            let state = row.get::<_, String>(0)?.parse();
            let verdict = Verdict { at: row.get(1)?, by: row.get(2)?, reason: row.get(3)?, answered_by: row.get(4)? };
            Ok((state.map_err(|()| StoreError::Damaged { what: "review_answer.state" })?, verdict))
        },
    )
}

/// All cases about a record, whatever became of them, by their numbers.
///
/// # Errors
/// See [`StoreError`].
pub fn of_record(reader: &Reader<'_>, record: i64) -> Result<Vec<Review>, StoreError> {
    let mut found = reader.all(select!("WHERE review.record = ?1"), [record], review)?;
    found.extend(reader.all(select!("WHERE review.other = ?1"), [record], review)?);
    found.sort_by_key(|review| review.id);
    Ok(found)
}

/// Up to which record all were looked at again under this model; 0: nobody did.
///
/// # Errors
/// See [`StoreError`].
pub fn rescored(reader: &Reader<'_>, model: &str) -> Result<i64, StoreError> {
    let last = reader.one("SELECT record FROM rescored WHERE model = ?1", [model], |row| Ok(row.get(0)?))?;
    Ok(last.unwrap_or(0))
}

/// Notes up to which record all were looked at again under this model.
///
/// # Errors
/// See [`StoreError`].
pub fn set_rescored(transaction: &Transaction<'_>, model: &str, record: i64) -> Result<(), StoreError> {
    transaction.run(
        "INSERT INTO rescored (model, record) VALUES (?1, ?2) ON CONFLICT (model) DO UPDATE SET record = ?2 WHERE record < ?2",
        params![model, record],
    )?;
    Ok(())
}

fn review(row: &Row<'_>) -> Result<Review, StoreError> {
    let damaged = |what| StoreError::Damaged { what };
    let evidence = unpack_text(row.get_ref(6)?, "review.evidence")?;
    let verdict = match (row.get::<_, Option<i64>>(9)?, row.get::<_, Option<String>>(10)?) {
        (Some(at), Some(by)) => Some(Verdict {
            at,
            by,
            reason: row.get::<_, Option<String>>(11)?.unwrap_or_default(),
            answered_by: row.get(14)?,
        }),
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
        visits: row.get::<_, i64>(15)?.unsigned_abs(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::clinical::{Visit, put_visit};
    use super::super::fixtures::{insert_person, link, store, write};
    use super::super::records::{self, LinkKind};
    use super::*;
    use crate::record::json;

    fn question(kind: ReviewKind, records: (i64, i64), bits: f64) -> Question {
        Question { kind, records, bits, evidence: json!({"model": "m", "candidates": []}), message: Some(4), at: 9 }
    }

    /// Persons P1 to P4 with a record each; the records' numbers.
    fn four(store: &Store) -> Vec<i64> {
        write(store, |t| (1..=4).map(|place| insert_person(t, &format!("P{place}"), &format!("100{place}"))).collect())
    }

    fn asked(store: &Store, question: Question) -> (i64, bool) {
        write(store, move |t| ask(t, &question))
    }

    fn ids(
        store: &Store,
        states: ReviewStates,
        kind: Option<ReviewKind>,
        after: Option<i64>,
        limit: usize,
    ) -> Vec<i64> {
        let found = store.read(|r| list(r, ReviewFilter { states, kind }, after, limit)).unwrap();
        found.into_iter().map(|review| review.id).collect()
    }

    #[test]
    fn every_kind_and_state_is_read_by_its_name() {
        for kind in ReviewKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        for state in ReviewState::ALL {
            assert_eq!(state.name().parse(), Ok(state));
        }
        for name in ReviewStates::NAMES {
            assert_eq!(name.parse::<ReviewStates>().map(ReviewStates::name), Ok(name));
        }
        assert!("Open".parse::<ReviewStates>().is_err() && "".parse::<ReviewKind>().is_err());
    }

    #[test]
    fn of_two_records_there_is_one_case_with_the_newest_evidence() {
        let (_directory, store) = store();
        let records = four(&store);
        let (id, is_open) = asked(&store, question(ReviewKind::PossibleMatch, (records[1], records[0]), 1.0));
        assert!(is_open);
        let again = Question { at: 20, ..question(ReviewKind::Veto, (records[0], records[1]), 3.0) };
        assert_eq!(asked(&store, again), (id, true));
        let found = store.read(|r| get(r, id)).unwrap().unwrap();
        assert_eq!((found.question.kind, found.question.bits, found.question.at), (ReviewKind::Veto, 3.0, 9));
        assert_eq!(found.question.records, (records[0], records[1]), "the older one first");
        assert_eq!((found.one_ids.0.as_str(), found.one_ids.1.as_str()), ("P1", "P2"));
        assert_eq!((found.state, &found.verdict, found.question.message), (ReviewState::Open, &None, Some(4)));
        assert_eq!(store.read(|r| about(r, records[1], records[0])).unwrap().map(|review| review.id), Some(id));
        assert_eq!(store.read(|r| about(r, records[1], records[2])), Ok(None));
    }

    #[test]
    fn what_was_decided_stays_decided_until_somebody_decides_otherwise() {
        let (_directory, store) = store();
        let records = four(&store);
        let pair = (records[0], records[1]);
        let (id, _) = asked(&store, question(ReviewKind::PossibleMatch, pair, 1.0));
        let verdict = Verdict { at: 30, by: "li".to_owned(), reason: "two cards".to_owned(), answered_by: None };
        let given = verdict.clone();
        write(&store, move |t| decide(t, id, ReviewState::Rejected, &given));
        assert_eq!(asked(&store, question(ReviewKind::Veto, pair, 9.0)), (id, false), "not asked again");
        let found = store.read(|r| get(r, id)).unwrap().unwrap();
        assert_eq!(
            (found.state, found.verdict, found.question.bits),
            (ReviewState::Rejected, Some(verdict.clone()), 1.0)
        );
        let again = Verdict { at: 31, answered_by: Some("merge".to_owned()), ..verdict.clone() };
        let given = again.clone();
        write(&store, move |t| decide(t, id, ReviewState::Open, &given));
        let said = vec![(ReviewState::Rejected, verdict), (ReviewState::Open, again)];
        assert_eq!(store.read(|r| answers(r, id)), Ok(said), "nothing that was said is lost");
        let found = store.read(|r| get(r, id)).unwrap().unwrap();
        assert_eq!((found.state, found.verdict), (ReviewState::Open, None));
        assert_eq!(asked(&store, question(ReviewKind::Veto, pair, 9.0)), (id, true));
    }

    #[test]
    fn open_cases_lead_to_the_records_of_others() {
        let (_directory, store) = store();
        let records = four(&store);
        asked(&store, question(ReviewKind::Margin, (records[0], records[2]), 1.0));
        asked(&store, question(ReviewKind::Veto, (records[0], records[1]), 1.0));
        let (rejected, _) = asked(&store, question(ReviewKind::Veto, (records[0], records[3]), 1.0));
        let verdict = Verdict { at: 30, by: "li".to_owned(), reason: "two cards".to_owned(), answered_by: None };
        write(&store, move |t| decide(t, rejected, ReviewState::Rejected, &verdict));
        let found = |one_id: &str, limit| store.read(|r| asked_about(r, one_id, limit)).unwrap();
        assert_eq!(found("P1", 9), [records[1], records[2]]);
        assert_eq!((found("P1", 1), found("P3", 9), found("P4", 9)), (vec![records[1]], vec![records[0]], vec![]));
    }

    #[test]
    fn open_cases_come_by_what_an_answer_is_worth_and_page_by_page() {
        let (_directory, store) = store();
        let records = four(&store);
        let likely = asked(&store, question(ReviewKind::PossibleMatch, (records[0], records[1]), 5.0)).0;
        let unlikely = asked(&store, question(ReviewKind::Margin, (records[0], records[2]), -5.0)).0;
        let even = asked(&store, question(ReviewKind::Margin, (records[1], records[3]), 0.0)).0;
        assert_eq!(ids(&store, ReviewStates::Open, None, None, 9), [likely, even, unlikely]);
        // Three visits wait for the even one: 0.5 x 4 is more than 0.97 x 1.
        let (busy, source) = (records[3], "his".to_owned());
        write(&store, move |t| {
            (0..3).try_for_each(|place| {
                let number = format!("V{place}");
                put_visit(
                    t,
                    &Visit {
                        source: source.clone(),
                        number,
                        record: busy,
                        version: 1,
                        mapping: String::new(),
                        state: String::new(),
                    },
                )
            })
        });
        assert_eq!(ids(&store, ReviewStates::Open, None, None, 9), [even, likely, unlikely]);
        let found = store.read(|r| get(r, even)).unwrap().unwrap();
        assert_eq!((found.visits, found.rank()), (3, 2.0));
        assert_eq!(ids(&store, ReviewStates::Open, None, None, 2), [even, likely]);
        assert_eq!(ids(&store, ReviewStates::Open, None, Some(likely), 2), [unlikely]);
        assert_eq!(ids(&store, ReviewStates::Open, Some(ReviewKind::Margin), None, 9), [even, unlikely]);
        // The page goes on behind a case that was decided after it was listed.
        let verdict = Verdict { at: 30, by: "li".to_owned(), reason: String::new(), answered_by: None };
        write(&store, move |t| decide(t, even, ReviewState::Linked, &verdict));
        assert_eq!(ids(&store, ReviewStates::Open, None, Some(even), 9), [likely, unlikely]);
        for (states, expected) in [
            (ReviewStates::Linked, &[even][..]),
            (ReviewStates::Rejected, &[]),
            (ReviewStates::Decided, &[even]),
            (ReviewStates::All, &[even, unlikely, likely]),
        ] {
            assert_eq!(ids(&store, states, None, None, 9), expected, "{states:?}");
        }
        assert_eq!(ids(&store, ReviewStates::All, None, Some(even), 1), [unlikely]);
    }

    #[test]
    fn a_case_whose_records_became_one_person_s_is_settled_unless_it_is_about_one_person() {
        let (_directory, store) = store();
        let records = four(&store);
        let settled = asked(&store, question(ReviewKind::PossibleMatch, (records[0], records[1]), 1.0)).0;
        let conflict = asked(&store, question(ReviewKind::DataQuality, (records[2], records[3]), 1.0)).0;
        let (moved, other) = (records[1], records[3]);
        write(&store, move |t| {
            records::link(t, &link(moved, "P1", LinkKind::Auto))?;
            records::link(t, &link(other, "P3", LinkKind::Auto))
        });
        for states in [ReviewStates::Open, ReviewStates::All] {
            assert_eq!(ids(&store, states, None, None, 9), [conflict], "{states:?}");
        }
        let found = |id| store.read(|r| get(r, id)).unwrap().unwrap();
        assert!(found(settled).is_settled() && !found(conflict).is_settled());
        assert_eq!(found(settled).one_ids, ("P1".to_owned(), "P1".to_owned()), "as they are now");
        write(&store, move |t| records::link(t, &link(moved, "P2", LinkKind::Auto)));
        assert_eq!(
            ids(&store, ReviewStates::Open, None, None, 9),
            [settled, conflict],
            "apart again, it is open again"
        );
    }
}
