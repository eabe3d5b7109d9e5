//! What is known of one record, whatever the order in which its messages came. Pure.
//!
//! A state takes patches ([`crate::record`]: absent says nothing, `null` clears), each with its [`Moment`], and projects the
//! record that consumers see. States are stored as JSON beside the record and are private to this module; their keys are
//! short because every message reads and writes one.
//!
//! Invariants
//! - The projected record depends on the *set* of patches and their moments alone: any order, any number of repeats. Only
//!   beyond the bounds of what is kept one by one (the last line) does order matter, as each of them says.
//! - A late message fills what was never set and never turns newer values back.
//! - Only trigger events move a visit's status; an update (A08, A31) never does.
//! - Events follow from the difference between two projections. No difference, no event.
//! - States stay bounded: one value for each field, the newest movements of a visit and what the older ones came to, the newest
//!   preliminary values of a result.
//!
//! Never here: a clock, SQL, randomness, or the ids of persons; they are the caller's.

mod lab_report;
mod patient;
mod registers;
mod visit;

pub use lab_report::{LabReportState, combine};
pub use patient::PatientState;
pub use visit::VisitState;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::feed::EventKind;
use crate::record::{Fields, Text, Value};

/// When a patch was so, and when it came. Orders patches of one source; newer wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Source time (EVN-2, OBR-22, else MSH-7) in microseconds since the epoch, UTC.
    pub at: i64,
    /// Message id: of two patches with one source time the one that came later wins. A retried message keeps its id.
    pub arrival: i64,
}

/// What one patch did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Applied {
    /// The whole record before the patch.
    pub before: Fields,
    /// The whole record now, without ids, version and steering fields, never with `null`.
    pub record: Fields,
    /// Names of the fields that differ from before, sorted; all fields for a new record. Empty: nothing to publish and no
    /// new version, though the state itself may have changed and must be stored. See [`changed`].
    pub changed: Vec<String>,
    /// The events to publish, in order; empty if `changed` is. Always empty for a patient, whose events are about the person.
    pub happenings: Vec<Happening>,
}

/// An event to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// Its type.
    pub kind: EventKind,
    /// The published event that this one takes back (`data.reverses` is `{"type": …, "id": …}`): A11, A12, A13.
    pub reverses: Option<Published>,
}

/// An event that consumers have seen. Stored as `[type, id]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(String, String)", into = "(String, String)")]
pub struct Published {
    /// Its type.
    pub kind: EventKind,
    /// Its id.
    pub id: String,
}

impl TryFrom<(String, String)> for Published {
    type Error = String;

    fn try_from((kind, id): (String, String)) -> Result<Self, String> {
        match kind.parse() {
            Ok(kind) => Ok(Self { kind, id }),
            Err(()) => Err(format!("no such event type: {kind}")),
        }
    }
}

impl From<Published> for (String, String) {
    fn from(event: Published) -> Self {
        (event.kind.name().to_owned(), event.id)
    }
}

/// Names of the top-level fields in which two records differ, sorted.
///
/// `updated_at` alone, or inside `sources` alone, is no difference: a source that repeats itself has said nothing new. Beside
/// another difference it is named like any field.
pub fn changed(before: &Fields, after: &Fields) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    // Both are sorted: what differs, or is on one side only, comes out in order.
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        names.extend(was.or(is).filter(|_| was != is).map(|(name, _)| name.as_str()));
    }
    let matters = |name: &&str| match *name {
        "updated_at" => false,
        "sources" => undated(before.get("sources")) != undated(after.get("sources")),
        _ => true,
    };
    if !names.iter().any(matters) {
        return Vec::new();
    }
    names.into_iter().map(str::to_owned).collect()
}

/// The entries of `sources` without their times.
fn undated(sources: Option<&Value>) -> Option<Vec<Vec<(&Text, &Value)>>> {
    let entries = sources?.as_array()?.iter().filter_map(Value::as_object);
    Some(entries.map(|entry| entry.iter().filter(|(name, _)| *name != "updated_at").collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json;

    #[test]
    fn a_newer_time_alone_is_no_change() {
        let check = |before: Value, after: Value, expected: &[&str]| {
            assert_eq!(changed(before.as_object().unwrap(), after.as_object().unwrap()), expected);
        };
        check(json!({"a": 1, "updated_at": "x"}), json!({"a": 1, "updated_at": "y"}), &[]);
        check(json!({"b": 1, "updated_at": "x"}), json!({"a": 1, "updated_at": "y"}), &["a", "b", "updated_at"]);
        let sources = |time: &str, number: &str| json!({"sources": [{"updated_at": time, "identifiers": [number]}]});
        check(sources("x", "1"), sources("y", "1"), &[]);
        check(sources("x", "1"), sources("x", "2"), &["sources"]);
    }
}
