//! One laboratory report with its results.
//!
//! What is final outranks what is preliminary, whatever the times: a preliminary message after the final one fills what is
//! missing and changes nothing else. Between equals the newer source time wins.
//!
//! A result is found again by its code (OBX-3.1), its sub-id (OBX-4), and its ordinal among those that share both in one
//! message; never by value or time. Results that a later message leaves out stay.
//!
//! Stored: `l` registers, `s` the newest status as `[rank, at, precedence, arrival, status]`, `r` results by key.

mod result;
mod status;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::registers::{Registers, Stamp};
use super::{Applied, Happening, Moment, changed};
use crate::feed::EventKind;
use crate::record::{Fields, Kind, Value};
use result::{Observation, ResultState};
use status::{LabStatus, summary};

/// State of one report; stored as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LabReportState {
    #[serde(rename = "l")]
    registers: Registers,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    status: Option<StatusRegister>,
    #[serde(rename = "r", default, skip_serializing_if = "BTreeMap::is_empty")]
    results: BTreeMap<String, ResultState>,
}

/// The status as the report itself gives it (OBR-25); compared in the order of its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct StatusRegister(u8, i64, u8, i64, LabStatus);

impl LabReportState {
    /// Takes what one message says of the report. Several records of one message with one key go through [`combine`] first.
    pub fn apply(&mut self, patch: Fields, moment: Moment) -> Applied {
        let (before, critical_before) = (self.record(), self.critical());
        self.enter(patch, moment);
        self.applied(before, &critical_before)
    }

    /// Takes what is all that there is to say of the report, as a FHIR server's resource is: what it leaves out is no more, and a report
    /// that is preliminary again is preliminary. Of two such statements the newer one stands, whichever came first.
    pub fn apply_whole(&mut self, patch: Fields, moment: Moment) -> Applied {
        let (before, critical_before) = (self.record(), self.critical());
        if self.newest().is_none_or(|newest| newest <= moment) {
            *self = Self::default();
            self.enter(patch, moment);
        }
        self.applied(before, &critical_before)
    }

    /// The newest moment of which anything is known.
    fn newest(&self) -> Option<Moment> {
        let said = self.registers.layers().map(|(stamp, _)| stamp.moment);
        let results = self.results.values().filter_map(ResultState::newest);
        said.chain(results).chain(self.status.map(|StatusRegister(_, at, _, arrival, _)| Moment { at, arrival })).max()
    }

    fn enter(&mut self, mut patch: Fields, moment: Moment) {
        let stated = LabStatus::of(patch.get("status"));
        let observations = observations(&mut patch);
        patch.remove("status");
        if let Some(status) = stated {
            let said = StatusRegister(status.rank(), moment.at, status.precedence(), moment.arrival, status);
            self.status = self.status.max(Some(said));
        }
        let own = stated.or_else(|| summary(observations.iter().map(|observation| observation.status)));
        let rank = own.map_or(status::UNSTATED, LabStatus::rank);
        self.registers.apply(Kind::LabReport, Stamp { rank, moment }, patch);
        self.take(observations, moment);
    }

    /// What is different from `before`, and what that means.
    fn applied(&self, before: Fields, critical_before: &BTreeMap<String, Fields>) -> Applied {
        let record = self.record();
        let changed = changed(&before, &record);
        let mut happenings = Vec::new();
        if !changed.is_empty() {
            happenings.push(Happening { kind: self.event(), reverses: None });
            let is_new = |(key, shown): (&String, &Fields)| {
                critical_before.get(key).is_none_or(|before| !result::same_value(before, shown))
            };
            if self.critical().iter().any(is_new) {
                happenings.push(Happening { kind: EventKind::LabCritical, reverses: None });
            }
        }
        Applied { before, record, changed, happenings }
    }

    /// The report record, without `report_id`, `one_id`, `visit_id`, `version`, `source`.
    pub fn record(&self) -> Fields {
        let mut record = self.registers.record(Kind::LabReport);
        let status = self.status();
        if let Some(status) = status {
            record.insert("status", Value::from(status.name()));
        }
        if !self.results.is_empty() {
            let mut results: Vec<&ResultState> = self.results.values().collect();
            results.sort_by_key(|result| result.first());
            for flag in ["abnormal", "critical"] {
                // Absent is not known: only results that say so make a report normal.
                let said =
                    results.iter().filter_map(|result| result.fields()?.get(flag)?.as_bool()).reduce(|a, b| a || b);
                if let Some(said) = said.filter(|_| !status.is_some_and(LabStatus::is_void)) {
                    record.insert(flag, Value::from(said));
                }
            }
            record.insert(
                "results".to_owned(),
                results.into_iter().map(|result| Value::Object(result.record())).collect(),
            );
        }
        record
    }

    /// Number of the visit that the report belongs to, as last said.
    pub fn visit_number(&self) -> Option<&str> {
        self.registers.text("visit_number")
    }

    /// The source that owns the visit number; `None`: the report's own source.
    pub fn visit_source(&self) -> Option<&str> {
        self.registers.text("visit_source")
    }

    /// Enters the results of one message under their keys.
    fn take(&mut self, observations: Vec<Observation>, moment: Moment) {
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for (index, observation) in observations.into_iter().enumerate() {
            let mut key = observation.key();
            let ordinal = seen.entry(key.clone()).and_modify(|ordinal| *ordinal += 1).or_insert(0);
            if *ordinal > 0 {
                key.push_str(&format!("\n{ordinal}"));
            }
            self.results.entry(key).or_default().take(observation, moment, index);
        }
    }

    /// The report's own word, unless the results know better: they came after it was only announced, or one was corrected
    /// since it was final.
    fn status(&self) -> Option<LabStatus> {
        let stated = self.status.map(|StatusRegister(.., status)| status);
        let mut statuses = self.results.values().map(ResultState::status);
        match stated {
            None | Some(LabStatus::Registered) => summary(statuses).or(stated),
            Some(LabStatus::Final) if statuses.any(|status| status == Some(LabStatus::Corrected)) => {
                Some(LabStatus::Corrected)
            }
            stated => stated,
        }
    }

    /// The event type of the report as it stands.
    pub fn event(&self) -> EventKind {
        match self.status() {
            None | Some(LabStatus::Registered) => EventKind::LabRegistered,
            Some(LabStatus::Partial | LabStatus::Preliminary) => EventKind::LabPreliminary,
            Some(LabStatus::Final | LabStatus::FinalWithoutValue) => EventKind::LabResulted,
            Some(LabStatus::Corrected) => EventKind::LabCorrected,
            Some(LabStatus::Cancelled | LabStatus::EnteredInError) => EventKind::LabCancelled,
        }
    }

    /// Results that are critical now, by key. None in a report that is void.
    fn critical(&self) -> BTreeMap<String, Fields> {
        if self.status().is_some_and(LabStatus::is_void) {
            return BTreeMap::new();
        }
        let results = self.results.iter().filter_map(|(key, result)| Some((key, result.fields()?)));
        let critical = results.filter(|(_, fields)| fields.get("critical") == Some(&Value::Bool(true)));
        critical.map(|(key, fields)| (key.clone(), fields.clone())).collect()
    }
}

/// One patch from all records of one message that have the same report key: results in order of appearance, the first
/// value of each field, and the status that is true for all of them (`partial` if only some are final).
pub fn combine(patches: Vec<Fields>) -> Fields {
    let mut patches = patches;
    if patches.len() < 2 {
        return patches.pop().unwrap_or_default();
    }
    let mut combined = Fields::new();
    let (mut results, mut statuses, mut any_stated) = (Vec::new(), Vec::new(), false);
    for mut patch in patches {
        let stated = LabStatus::of(patch.get("status"));
        let observations = observations(&mut patch);
        any_stated |= stated.is_some();
        statuses.push(stated.or_else(|| summary(observations.iter().map(|observation| observation.status))));
        results.extend(observations.into_iter().map(Observation::into_patch));
        for (name, value) in patch {
            combined.get_or_insert_with(name, || value);
        }
    }
    combined.remove("status");
    if let Some(status) = summary(statuses.into_iter()).filter(|_| any_stated) {
        combined.insert("status", Value::from(status.name()));
    }
    if !results.is_empty() {
        combined.insert("results", Value::Array(results));
    }
    combined
}

/// Takes the results out of a patch. One without a status (OBX-11 is empty in old versions) has the one of its report.
fn observations(patch: &mut Fields) -> Vec<Observation> {
    let inherited = LabStatus::of(patch.get("status")).map(LabStatus::of_results);
    let results = match patch.remove("results") {
        Some(Value::Array(results)) => results,
        _ => Vec::new(),
    };
    results.into_iter().filter_map(|result| Observation::of(result, inherited)).collect()
}

#[cfg(test)]
mod tests;
