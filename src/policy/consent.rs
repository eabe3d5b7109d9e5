//! Purposes, consents, and the rule that says which consent holds.
//!
//! A statement is of patient records. One that a source makes is of its own record and goes wherever that goes. One that somebody makes of
//! a One ID is of all records that the person had then.
//!
//! The rule, for one purpose:
//! 1. of each record the statement that was said last counts, and only while it is in force;
//! 2. a withdrawal of one record is a withdrawal of the person: it stands until somebody gives consent for the same record again;
//! 3. a consent holds while all records that it was said of are the person's. When they part (a split), nobody knows whose word it was:
//!    it holds for none of them until it is said again. Withdrawals go with every record.

use std::collections::BTreeSet;
use std::str::FromStr;

/// What a consumer uses personal data for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Treatment and follow-up.
    Care,
    /// Only with the patient's consent.
    Marketing,
    /// Running the hospital.
    Operations,
}

impl Purpose {
    /// All.
    pub const ALL: [Purpose; 3] = [Self::Care, Self::Marketing, Self::Operations];

    /// The purpose as the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Care => "care",
            Purpose::Marketing => "marketing",
            Purpose::Operations => "operations",
        }
    }

    /// Whether nothing may leave for it of whoever has not consented. For the others a withdrawal counts as an objection.
    pub fn needs_consent(self) -> bool {
        self == Self::Marketing
    }
}

impl FromStr for Purpose {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.name() == text)
            .ok_or("must be `care`, `marketing` or `operations`")
    }
}

/// What somebody said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsentState {
    /// Yes.
    Given,
    /// No, or no more.
    Withdrawn,
}

impl ConsentState {
    /// `given`, `withdrawn`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl FromStr for ConsentState {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Given, Self::Withdrawn]
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or("must be `given` or `withdrawn`")
    }
}

/// A statement as somebody makes it: at a desk, or in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentWord {
    /// What for.
    pub purpose: Purpose,
    /// What was said.
    pub state: ConsentState,
    /// From when on it is in force, microseconds since the epoch; `None`: from now.
    pub since: Option<i64>,
    /// When it ends by itself.
    pub until: Option<i64>,
    /// The paper, the form, the reason.
    pub basis: String,
    /// Who says it, or took it down.
    pub by: String,
}

/// Why a statement was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsentRefusal {
    /// There is no such person.
    #[error("no person has the One ID {0}")]
    UnknownOneId(String),
    /// Nobody said why.
    #[error("say why: the paper, the form, the patient's own word")]
    NoBasis,
    /// Nobody would be told when it begins.
    #[error("it begins in the future: take it down when it does")]
    BeginsLater,
    /// It would never be in force.
    #[error("it would end before it begins")]
    EndsBeforeItBegins,
}

/// What a statement came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentOutcome {
    /// The person that it is of: redirects are followed.
    pub one_id: String,
    /// What holds now for the purpose.
    pub holds: Option<ConsentState>,
    /// `false`: it was so already, nothing was written down.
    pub changed: bool,
}

/// A statement, as far as the rule looks at it. Times are microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Grows with each statement of the store.
    pub id: i64,
    /// The records that it is of.
    pub records: BTreeSet<i64>,
    /// What was said.
    pub state: ConsentState,
    /// From when on it is in force; of several statements the one with the latest counts.
    pub since: i64,
    /// When it ends by itself.
    pub until: Option<i64>,
}

/// What holds for the person with these records; `statements` are those of one purpose about any of them. `None`: nobody has said
/// anything that holds.
pub fn holding(records: &BTreeSet<i64>, statements: &[Statement], now: i64) -> Option<ConsentState> {
    let mut given = false;
    for record in records {
        let of_record = statements.iter().filter(|said| said.since <= now && said.records.contains(record));
        match of_record.max_by_key(|said| (said.since, said.id)) {
            Some(Statement { state: ConsentState::Withdrawn, until, .. }) if until.is_none_or(|until| now < until) => {
                return Some(ConsentState::Withdrawn);
            }
            Some(said) if said.state == ConsentState::Given => {
                given |= said.until.is_none_or(|until| now < until) && said.records.is_subset(records);
            }
            _ => {}
        }
    }
    given.then_some(ConsentState::Given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConsentState::{Given, Withdrawn};

    fn said(id: i64, records: &[i64], state: ConsentState, since: i64, until: Option<i64>) -> Statement {
        Statement { id, records: records.iter().copied().collect(), state, since, until }
    }

    fn check(records: &[i64], statements: &[Statement], now: i64, expected: Option<ConsentState>) {
        let records = records.iter().copied().collect();
        assert_eq!(holding(&records, statements, now), expected, "{records:?} at {now}");
        let backwards: Vec<Statement> = statements.iter().rev().cloned().collect();
        assert_eq!(holding(&records, &backwards, now), expected, "whatever the order");
    }

    #[test]
    fn the_last_word_of_a_record_counts_while_it_is_in_force() {
        let words = [said(1, &[1], Given, 10, Some(100)), said(2, &[1], Withdrawn, 50, None)];
        check(&[1], &[], 20, None);
        check(&[1], &words, 5, None);
        check(&[1], &words, 20, Some(Given));
        check(&[1], &words, 60, Some(Withdrawn));
        check(&[1], &words[..1], 100, None);
        check(&[1], &[words[0].clone(), said(3, &[1], Withdrawn, 10, None)], 20, Some(Withdrawn));
        let again = [words[1].clone(), said(4, &[1], Given, 70, None)];
        check(&[1], &again, 80, Some(Given));
    }

    #[test]
    fn a_merge_keeps_a_consent_and_a_withdrawal_of_either_wins() {
        let words = [said(1, &[1], Given, 10, None), said(2, &[2], Withdrawn, 5, None)];
        check(&[1, 3], &words[..1], 20, Some(Given));
        check(&[1, 2], &words, 20, Some(Withdrawn));
        // Said again of the one person, it counts for both records.
        check(&[1, 2], &[words[0].clone(), words[1].clone(), said(3, &[1, 2], Given, 30, None)], 40, Some(Given));
    }

    #[test]
    fn a_split_leaves_a_consent_with_nobody_whose_word_is_not_known_and_a_withdrawal_with_all() {
        let of_person = [said(1, &[1, 2], Given, 10, None)];
        check(&[1], &of_person, 20, None);
        check(&[2], &of_person, 20, None);
        check(&[1, 2, 3], &of_person, 20, Some(Given));
        let of_record = [said(1, &[1], Given, 10, None)];
        check(&[1], &of_record, 20, Some(Given));
        check(&[2], &[], 20, None);
        let withdrawn = [said(1, &[1, 2], Withdrawn, 10, None)];
        check(&[1], &withdrawn, 20, Some(Withdrawn));
        check(&[2], &withdrawn, 20, Some(Withdrawn));
    }
}
