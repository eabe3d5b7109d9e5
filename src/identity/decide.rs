//! To whom a new record belongs.

use serde::{Deserialize, Serialize};

use super::PatientFacts;

/// A person who might be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The One ID, redirects followed.
    pub one_id: String,
    /// All records that are linked to the person now: a veto holds if one of them gives it.
    pub records: Vec<PatientFacts>,
}

/// What speaks for or against one candidate. Stored with the link, shown in reviews; holds no patient's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The candidate's One ID.
    pub one_id: String,
    /// How the candidate was found.
    pub ground: Ground,
    /// The best agreement of names.
    pub name: Agreement,
    /// The agreement of birth dates, of the record with the best name.
    pub birth_date: Agreement,
    /// What forbids a link without a person's decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vetoes: Vec<Veto>,
}

/// How a candidate was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// The same number under the same assigning authority.
    SameNumber,
    /// The same valid identity number.
    SameIdentityNumber,
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Equal in normal form.
    Equal,
    /// Equal in pinyin only (names).
    SamePinyin,
    /// One side says nothing.
    Missing,
    /// Different.
    Different,
}

/// What forbids an automatic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Veto {
    /// Both have a valid resident number, and they differ.
    DifferentResidentId,
    /// One is named as a newborn: an identity number there is a parent's.
    NewbornName,
    /// One is an unknown patient.
    UnknownName,
}

/// What to do with a new record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Link it to this person.
    Link {
        /// The person.
        one_id: String,
        /// Why.
        evidence: Evidence,
    },
    /// A new person, and a case for review: what was found is not enough, or fits more than one person.
    Ambiguous {
        /// The persons found, best first.
        evidence: Vec<Evidence>,
    },
    /// A new person.
    New {
        /// Persons found and ruled out, for the record.
        evidence: Vec<Evidence>,
    },
}

/// Decides for a record that has no person yet.
///
/// `same_number`: persons with a record of the same (assigning authority, number). `same_identity_number`: persons with a
/// record that has one of [`PatientFacts::identity_numbers`].
pub fn decide(record: &PatientFacts, same_number: &[Candidate], same_identity_number: &[Candidate]) -> Decision {
    let _ = (record, same_number, same_identity_number);
    Decision::New { evidence: Vec::new() }
}
