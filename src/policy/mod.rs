//! Field policies: what of a record leaves to which consumer. Pure: the files, the clock and the consents come as arguments.
//!
//! ```text
//! policies/NAME.toml ─► Policy ─┐
//! special-categories.toml ──────┼─► Lens: a record in, what may leave out, or nothing
//! key of the store, today ──────┘
//! ```
//!
//! Invariants
//! - Deny by default, three times over: a class that a policy does not name is left out, a field without a class never leaves, a special
//!   category that a policy does not name is withheld.
//! - What is hidden does not show by another way: names in `changed`, times in ids, a number inside another number, a visit that is named
//!   by a report. `joint` refuses policies of which one part gives away what another hides.
//! - Masks cannot be reversed; stand-ins for numbers are keyed.
//!
//! Which consumer reads what of whom is decided in `disclosure`, which adds purpose and consent.

mod apply;
mod class;
mod consent;
mod file;
mod joint;
pub mod mask;
mod pseudonym;
mod special;

pub use apply::{Lens, changed_names, is_news};
pub use class::{Document, FieldClass, Form, Row, Treatment, identifier_class};
pub use consent::{ConsentOutcome, ConsentRefusal, ConsentState, ConsentWord, Purpose, Statement, holding};
pub use file::{CODE, FULL_POLICY, Policy, shipped};
pub use pseudonym::PseudonymKey;
pub use special::{Categories, Category, SPECIAL_FILE, SPECIAL_TEXT};
