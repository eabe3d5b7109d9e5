//! One visit, stay or appointment.

use serde::{Deserialize, Serialize};

use super::{Applied, Moment, Published};
use crate::record::Fields;

/// State of one visit; stored as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VisitState {}

impl VisitState {
    /// Takes what one message says of the visit.
    pub fn apply(&mut self, patch: Fields, moment: Moment) -> Applied {
        let _ = (patch, moment);
        Applied::default()
    }

    /// The visit record, without `visit_id`, `one_id`, `version`, `source`.
    pub fn record(&self) -> Fields {
        Fields::new()
    }

    /// Remembers the event that the message `arrival` made, so that A11, A12 or A13 can name it in `reverses`.
    /// Call it for each published happening of [`VisitState::apply`], before the state is stored.
    pub fn remember(&mut self, arrival: i64, event: Published) {
        let _ = (arrival, event);
    }
}
