//! Who is who: from patient records to persons (One IDs). Pure.
//!
//! The caller finds candidates (by number, by [`PatientFacts::identity_numbers`]) and writes what is decided; this module
//! decides. It never merges data: a golden record is a view over the records that are linked now, so a link can be undone.
//!
//! Invariants
//! - Evidence, decisions and refusals carry kinds of agreement, never a patient's value, so they may be stored and shown.
//! - A placeholder, an invalid number, a newborn's or an unknown patient's name never links two records.
//! - Two different valid resident numbers never become one person by themselves.
//! - The golden record depends on the set of linked records, never on their order.

mod compare;
mod decide;
mod golden;
mod grade;
mod keys;
mod merge;
mod model;
mod normalise;
mod placeholder;

pub use compare::{
    AddressLevel, BirthDateLevel, CardLevel, Comparison, NameLevel, NumberLevel, PhoneLevel, SexLevel, Term, compare,
};
pub use decide::{Candidate, CandidateRecord, Decision, Doubt, Evidence, Tie, Veto, decide, passes, weigh};
pub use golden::{Member, golden};
pub use grade::{Grade, grade};
pub use keys::{BlockKey, KeyKind, keys, terms};
pub use merge::{MergePlan, MergeRefusal, MergeRequest, plan_merge};
pub use model::{Fact, FactKind, Frequencies, Model, Score, Setting, probability};
pub use normalise::{IDENTITY_KINDS, IdentityNumber, NameClass, PatientFacts, name_key, phone_digits, pinyin_key};
pub use placeholder::is_placeholder;
