//! One laboratory report with its results.

use serde::{Deserialize, Serialize};

use super::{Applied, Moment};
use crate::record::Fields;

/// State of one report; stored as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LabReportState {}

impl LabReportState {
    /// Takes what one message says of the report. Several records of one message with one key go through [`combine`] first.
    pub fn apply(&mut self, patch: Fields, moment: Moment) -> Applied {
        let _ = (patch, moment);
        Applied::default()
    }

    /// The report record, without `report_id`, `one_id`, `visit_id`, `version`, `source`.
    pub fn record(&self) -> Fields {
        Fields::new()
    }

    /// The event type of the report as it stands.
    pub fn present_event(&self) -> crate::feed::EventKind {
        crate::feed::EventKind::LabResulted
    }

    /// Number of the visit that the report belongs to, as last said.
    pub fn visit_number(&self) -> Option<&str> {
        None
    }

    /// The source that owns the visit number; `None`: the report's own source.
    pub fn visit_source(&self) -> Option<&str> {
        None
    }
}

/// One patch from all records of one message that have the same report key: results in order of appearance, the first
/// value of each field, and the status that is true for all of them.
pub fn combine(patches: Vec<Fields>) -> Fields {
    patches.into_iter().next().unwrap_or_default()
}
