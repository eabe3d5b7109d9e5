//! Statuses of reports and results, and how final each is.

use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Serialize};

use crate::record::Value;

/// `record::schema::REPORT_STATUSES` and `RESULT_STATUSES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LabStatus {
    /// Nothing yet (OBX-11 I, O, S, N).
    Registered,
    /// Some results are final (a report).
    Partial,
    /// May still change (P, R).
    Preliminary,
    /// Final (F).
    Final,
    /// OBX-11 `U`: what was preliminary is final, and is not sent again.
    FinalWithoutValue,
    /// Replaced after it was final (C, A).
    Corrected,
    /// There will be no result (X).
    Cancelled,
    /// Wrong, for example of another patient (D, W).
    EnteredInError,
}

use LabStatus::*;

/// Rank of a message or result that gives no status at all: old senders report final results only.
pub(super) const UNSTATED: u8 = 2;

impl LabStatus {
    /// The status in a record's field, if it is one.
    pub(super) fn of(value: Option<&Value>) -> Option<Self> {
        Self::deserialize(StrDeserializer::<Error>::new(value?.as_str()?)).ok()
    }

    /// The name that is published.
    pub(super) fn name(self) -> &'static str {
        match self {
            Registered => "registered",
            Partial => "partial",
            Preliminary => "preliminary",
            Final | FinalWithoutValue => "final",
            Corrected => "corrected",
            Cancelled => "cancelled",
            EnteredInError => "entered_in_error",
        }
    }

    /// How final it is: a lower rank never replaces a higher one.
    pub(super) fn rank(self) -> u8 {
        match self {
            Registered => 0,
            Partial | Preliminary => 1,
            Final | FinalWithoutValue | Corrected | Cancelled | EnteredInError => UNSTATED,
        }
    }

    /// Which of two stands that have one source time: many laboratories correct a report and leave OBR-22 as it was.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Registered | Partial | Preliminary | Final | FinalWithoutValue => 0,
            Corrected => 1,
            Cancelled => 2,
            EnteredInError => 3,
        }
    }

    /// Whether nothing in it may be acted upon.
    pub(super) fn is_void(self) -> bool {
        matches!(self, Cancelled | EnteredInError)
    }

    /// Whether a result of this status carries a value.
    pub(super) fn has_value(self) -> bool {
        matches!(self, Partial | Preliminary | Final | Corrected)
    }

    /// What a report's status says of a result that gives none: of a partial report no result is surely final, and not every
    /// result of a corrected report was corrected.
    pub(super) fn of_results(self) -> Self {
        match self {
            Partial => Preliminary,
            Corrected => Final,
            status => status,
        }
    }
}

/// The one status that is true for all; `None` if none is stated. Where some are stated, the others count as final.
pub(super) fn summary(statuses: impl Iterator<Item = Option<LabStatus>>) -> Option<LabStatus> {
    let mut any = [false; 8];
    let mut stated = false;
    for status in statuses {
        stated |= status.is_some();
        any[status.unwrap_or(Final) as usize] = true;
    }
    let has = |status: LabStatus| any[status as usize];
    let settled = has(Final) || has(FinalWithoutValue) || has(Corrected) || has(Cancelled) || has(EnteredInError);
    let open = has(Registered) || has(Preliminary);
    if !stated {
        None
    } else if has(Partial) || settled && open {
        Some(Partial)
    } else if has(Preliminary) {
        Some(Preliminary)
    } else if has(Registered) {
        Some(Registered)
    } else if has(Corrected) {
        Some(Corrected)
    } else if has(Final) || has(FinalWithoutValue) {
        Some(Final)
    } else if has(Cancelled) {
        Some(Cancelled)
    } else {
        Some(EnteredInError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::{REPORT_STATUSES, RESULT_STATUSES};

    #[test]
    fn the_codes_are_those_of_the_schema() {
        for name in REPORT_STATUSES.iter().chain(RESULT_STATUSES) {
            let status = LabStatus::of(Some(&Value::from(*name))).unwrap();
            assert!(status.name() == *name || status == FinalWithoutValue, "{name}");
        }
    }

    #[test]
    fn a_summary_is_true_for_all() {
        for (statuses, expected) in [
            (&[][..], None),
            (&[None, None], None),
            (&[Some(Final), None], Some(Final)),
            (&[Some(Preliminary), None], Some(Partial)),
            (&[Some(Final), Some(Preliminary)], Some(Partial)),
            (&[Some(Cancelled), Some(Registered)], Some(Partial)),
            (&[Some(Preliminary), Some(Registered)], Some(Preliminary)),
            (&[Some(Final), Some(Corrected)], Some(Corrected)),
            (&[Some(Final), Some(Cancelled)], Some(Final)),
            (&[Some(Cancelled), Some(EnteredInError)], Some(Cancelled)),
            (&[Some(Registered)], Some(Registered)),
            (&[Some(FinalWithoutValue)], Some(Final)),
        ] {
            assert_eq!(summary(statuses.iter().copied()), expected, "{statuses:?}");
        }
    }
}
