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

mod decide;
mod golden;
mod manual;
mod merge;
mod normalise;
mod placeholder;

pub use decide::{Agreement, Candidate, Decision, Evidence, Ground, Veto, decide};
pub use golden::{Member, golden};
pub use manual::{Decided, ManualDecision, ManualRefusal, ManualStep, NamedRecord};
pub use merge::{MergePlan, MergeRefusal, MergeRequest, plan_merge};
pub use normalise::{IDENTITY_KINDS, IdentityNumber, NameClass, PatientFacts, name_key, phone_digits, pinyin_key};
pub use placeholder::is_placeholder;
