//! What one source says of one patient.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Applied, Moment};
use crate::record::Fields;

/// State of one source record; stored as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PatientState {}

impl PatientState {
    /// Takes what one message says of the patient.
    pub fn apply(&mut self, patch: Fields, moment: Moment) -> Applied {
        let _ = (patch, moment);
        Applied::default()
    }

    /// The patient record, without `source`.
    pub fn record(&self) -> Fields {
        Fields::new()
    }

    /// The source time of each field of [`PatientState::record`], for survivorship.
    pub fn set_at(&self) -> BTreeMap<&str, i64> {
        BTreeMap::new()
    }
}
