//! What of all that a plan reads is in the message.

use crate::hl7v2::FieldSet;
use crate::mapping::compile::{Plan, Reads};
use crate::mapping::input::Input;

/// The fields that the message fills, by the places of the plan's segments.
pub(super) struct Present {
    /// `None`: everything may be there.
    filled: Option<Vec<FieldSet>>,
}

impl Present {
    /// Anything may be there: all rules are tried.
    pub(super) const ANYTHING: Self = Self { filled: None };

    /// What is there.
    pub(super) fn of(plan: &Plan, input: Input<'_>) -> Self {
        match input {
            Input::Message(message) => {
                Self { filled: Some(plan.segments.iter().map(|name| message.filled(*name)).collect()) }
            }
            Input::Unit(_) => Self::ANYTHING,
        }
    }

    /// Whether there is anything for a rule or block; `false` is sure.
    #[inline]
    pub(super) fn has(&self, reads: &Reads) -> bool {
        match (reads, &self.filled) {
            (Reads::Fields(fields), Some(filled)) => fields.iter().any(|(place, set)| filled[*place].meets(*set)),
            _ => true,
        }
    }
}
