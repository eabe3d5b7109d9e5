//! One result of a report: which of the values that were sent stands.
//!
//! | OBX-11 | effect |
//! |---|---|
//! | F, C, A, D, W, X | stands against everything preliminary; between them the newest, of one time the graver |
//! | U | turns the preliminary value of its time final; what is preliminary after it is history |
//! | P, R | the newest, until one of the above |
//! | I, O, S, N | only until something else comes |
//!
//! Stored: `h` what is held (`t` time, `n` arrival, `s` status, `v` fields), `i` place in its first message, `f` moment of that
//! message where it is not the oldest held.

use serde::{Deserialize, Serialize};

use super::status::{LabStatus, UNSTATED};
use crate::record::{Fields, Value};
use crate::state::Moment;
use crate::state::registers::drop_nulls;

/// Preliminary values that a result keeps until it is final: a `U` that comes late, for an older time, finds its value.
/// A culture is updated daily for about a week; beyond that the oldest are forgotten.
const VALUES_KEPT: usize = 8;

/// Fields that make up a value. A result that has none (cancelled, entered in error) shows none of them.
const VALUE: [&str; 7] = ["value_number", "value_text", "value_code", "comparator", "flags", "abnormal", "critical"];

/// One result as a message sends it.
pub(super) struct Observation {
    pub(super) status: Option<LabStatus>,
    /// Its fields but the status, without values where the status says that there are none.
    fields: Fields,
}

impl Observation {
    pub(super) fn of(mut result: Value, inherited: Option<LabStatus>) -> Option<Self> {
        drop_nulls(&mut result);
        let Value::Object(mut fields) = result else { return None };
        let status = LabStatus::of(fields.remove("status").as_ref()).or(inherited);
        if status.is_some_and(|status| !status.has_value()) {
            VALUE.iter().for_each(|name| drop(fields.remove(name)));
        }
        Some(Self { status, fields })
    }

    /// Back to what a patch holds.
    pub(super) fn into_patch(self) -> Value {
        let mut fields = self.fields;
        if let Some(status) = self.status {
            fields.extend([("status".to_owned(), code(status))]);
        }
        Value::Object(fields)
    }

    /// Code (else name) and sub-id, by which a result is found again.
    pub(super) fn key(&self) -> String {
        let text = |name: &str| self.fields.get(name).and_then(Value::as_str);
        let code = text("code").or_else(|| text("name")).unwrap_or_default();
        // Neither a tab nor the line feed before an ordinal can occur in an HL7 code.
        match text("sub_id") {
            Some(sub_id) => format!("{code}\t{sub_id}"),
            None => code.to_owned(),
        }
    }
}

/// State of one result.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct ResultState {
    #[serde(rename = "i")]
    index: usize,
    #[serde(rename = "f", skip_serializing_if = "Option::is_none")]
    first: Option<(i64, i64)>,
    /// What can still matter, in the order of time. Never empty once something was taken.
    #[serde(rename = "h")]
    held: Vec<Held>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Held {
    #[serde(rename = "t")]
    at: i64,
    #[serde(rename = "n")]
    arrival: i64,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    status: Option<LabStatus>,
    #[serde(rename = "v")]
    fields: Fields,
}

impl Held {
    fn moment(&self) -> (i64, i64) {
        (self.at, self.arrival)
    }

    fn is(&self, status: LabStatus) -> bool {
        self.status == Some(status)
    }

    /// Final, with a word of its own on the value.
    fn is_settled(&self) -> bool {
        self.status.map_or(UNSTATED, LabStatus::rank) == UNSTATED && !self.is(LabStatus::FinalWithoutValue)
    }
}

impl ResultState {
    /// Takes what one message says; `index` is the place of the result in it.
    pub(super) fn take(&mut self, observation: Observation, moment: Moment, index: usize) {
        let (at, arrival) = (moment.at, moment.arrival);
        let here = (at, arrival, index);
        let first = if self.held.is_empty() { here } else { self.first().min(here) };

        self.held.retain(|held| held.moment() != (at, arrival));
        self.held.push(Held { at, arrival, status: observation.status, fields: observation.fields });
        self.held.sort_by_key(Held::moment);
        self.forget();

        self.index = first.2;
        self.first = Some((first.0, first.1)).filter(|first| self.held.first().map(Held::moment) != Some(*first));
    }

    /// The first message that had this result, and its place in it: the order of the list.
    pub(super) fn first(&self) -> (i64, i64, usize) {
        let (at, arrival) = self.first.or_else(|| self.held.first().map(Held::moment)).unwrap_or_default();
        (at, arrival, self.index)
    }

    /// The newest moment of which anything is held.
    pub(super) fn newest(&self) -> Option<Moment> {
        self.held.last().map(|held| Moment { at: held.at, arrival: held.arrival })
    }

    pub(super) fn status(&self) -> Option<LabStatus> {
        self.held.last()?.status
    }

    /// The fields that stand, without the status.
    pub(super) fn fields(&self) -> Option<&Fields> {
        let shown = match self.held.as_slice() {
            [.., value, promotion] if promotion.is(LabStatus::FinalWithoutValue) => Some(value),
            held => held.last(),
        };
        shown.map(|held| &held.fields)
    }

    /// The result as it is published.
    pub(super) fn record(&self) -> Fields {
        let mut record = self.fields().cloned().unwrap_or_default();
        if let Some(status) = self.status() {
            record.insert("status", Value::from(status.name()));
        }
        record
    }

    /// Drops what cannot matter any more, whatever may still come late.
    fn forget(&mut self) {
        let settled = self.held.iter().enumerate().filter(|(_, held)| held.is_settled());
        let newest =
            settled.max_by_key(|(_, held)| (held.at, held.status.map_or(0, LabStatus::precedence), held.arrival));
        if let Some((newest, _)) = newest {
            self.held.swap(0, newest);
            self.held.truncate(1);
            return;
        }
        if let Some(promotion) = self.held.iter().position(|held| held.is(LabStatus::FinalWithoutValue)) {
            self.held.truncate(promotion + 1);
        }
        if self.held.iter().any(|held| !held.is(LabStatus::Registered)) {
            self.held.retain(|held| !held.is(LabStatus::Registered));
        } else {
            self.held.drain(..self.held.len() - 1);
        }
        let excess = self.held.len().saturating_sub(VALUES_KEPT);
        self.held.drain(..excess);
    }
}

/// Whether two results say the same value; `5.6` is `5.60`.
pub(super) fn same_value(one: &Fields, other: &Fields) -> bool {
    let number = |fields: &Fields| fields.get("value_number").and_then(Value::as_f64);
    number(one) == number(other)
        && ["value_text", "value_code", "comparator"].iter().all(|name| one.get(name) == other.get(name))
}

fn code(status: LabStatus) -> Value {
    match status {
        LabStatus::FinalWithoutValue => Value::from("final_without_value"),
        status => Value::from(status.name()),
    }
}
