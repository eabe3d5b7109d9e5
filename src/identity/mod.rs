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

mod block;
mod compare;
mod contact;
mod decide;
mod facts;
mod frequency;
mod golden;
mod grade;
mod hash;
mod manual;
mod merge;
mod model;
mod name;
mod number;
mod placeholder;
mod train;

pub use block::{BlockKey, BlockKind, TermKind, keys, terms};
pub use compare::{
    AddressLevel, BirthDateLevel, CardLevel, Comparison, NameLevel, NumberLevel, PhoneLevel, SexLevel, Term, compare,
};
pub use contact::{Address, phone_digits};
pub use decide::{Candidate, CandidateRecord, Decision, Doubt, Evidence, Tie, Veto, decide, passes, weigh};
pub use facts::PatientFacts;
pub use frequency::{RAREST, name_frequency, prior_frequency, sound_frequency, surname_frequency};
pub use golden::{Member, golden};
pub use grade::{Grade, grade};
pub use manual::{Decided, ManualDecision, ManualRefusal, ManualStep, NamedRecord, Overruled, Warning};
pub use merge::{MergePlan, MergeRefusal, MergeRequest, plan_merge};
pub use model::{Fact, FactKind, Frequencies, Model, Score, Setting, probability};
pub use name::{Name, NameClass, Script, Sex, name_key, pinyin_key};
pub use number::{CARD_KINDS, Card, IDENTITY_KINDS, IdentityNumber};
pub use placeholder::is_placeholder;
pub use train::{BlockResult, Blocking, FEWEST_MATCHES, FEWEST_STRANGERS, Kept, Learned, Sample, Training, train};
