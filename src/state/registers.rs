//! One value for each field, the newest: last-writer-wins registers.
//!
//! Stored as layers, `[[rank, at, arrival], {field: value, …}]`, oldest first: what still stands of each message. Messages
//! set many fields at once, so a stamp is written once for all of them. A `null` in a layer is a field that was cleared then:
//! it keeps older messages from filling it again, and it is not published.

use serde::{Deserialize, Serialize};

use super::Moment;
use crate::record::{Fields, Kind, Value, schema};

/// What orders two messages that set one field; the greater wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u8, i64, i64)", into = "(u8, i64, i64)")]
pub(super) struct Stamp {
    /// Rank before time: for lab reports how final the message is, else 0.
    pub(super) rank: u8,
    /// When it was so.
    pub(super) moment: Moment,
}

impl From<(u8, i64, i64)> for Stamp {
    fn from((rank, at, arrival): (u8, i64, i64)) -> Self {
        Self { rank, moment: Moment { at, arrival } }
    }
}

impl From<Stamp> for (u8, i64, i64) {
    fn from(stamp: Stamp) -> Self {
        (stamp.rank, stamp.moment.at, stamp.moment.arrival)
    }
}

impl From<Moment> for Stamp {
    fn from(moment: Moment) -> Self {
        Self { rank: 0, moment }
    }
}

/// The newest value of each field.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Registers {
    layers: Vec<Layer>,
}

/// What still stands of one message. Never empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Layer(Stamp, Fields);

impl Registers {
    /// Takes a patch. The same stamp again replaces: it is the same message, perhaps mapped better.
    pub(super) fn apply(&mut self, kind: Kind, stamp: Stamp, mut patch: Fields) {
        complete_groups(kind, &mut patch);
        let place = self.layers.partition_point(|layer| layer.0 < stamp);
        if self.layers.get(place).is_none_or(|layer| layer.0 != stamp) {
            self.layers.insert(place, Layer(stamp, Fields::new()));
        }
        let (older, rest) = self.layers.split_at_mut(place);
        if let Some((own, newer)) = rest.split_first_mut() {
            for (name, mut value) in patch {
                if newer.iter().any(|layer| layer.1.contains_key(&name)) {
                    continue;
                }
                // A field stands in one layer only, so the first hit is the last.
                older.iter_mut().any(|layer| layer.1.remove(&name).is_some());
                drop_nulls(&mut value);
                own.1.insert(name, value);
            }
        }
        self.layers.retain(|layer| !layer.1.is_empty());
    }

    /// Takes a field out, as if nothing had been said of it.
    pub(super) fn forget(&mut self, name: &str) {
        self.layers.iter_mut().for_each(|layer| drop(layer.1.remove(name)));
        self.layers.retain(|layer| !layer.1.is_empty());
    }

    /// What was set or cleared, oldest first.
    pub(super) fn layers(&self) -> impl Iterator<Item = (Stamp, &Fields)> {
        self.layers.iter().map(|layer| (layer.0, &layer.1))
    }

    /// The field's value, `null` if it was cleared, and the stamp of the message that said so.
    pub(super) fn get(&self, name: &str) -> Option<(Stamp, &Value)> {
        self.layers().find_map(|(stamp, fields)| Some((stamp, fields.get(name)?)))
    }

    /// The field's text, if it has one.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.1.as_str()
    }

    /// All fields that have a value and are not steering.
    pub(super) fn record(&self, kind: Kind) -> Fields {
        let mut record = Fields::new();
        for layer in &self.layers {
            let valued = layer.1.iter().filter(|(_, value)| !value.is_null());
            record.extend(valued.map(|(name, value)| (name.clone(), value.clone())));
        }
        for field in schema::fields(kind).iter().filter(|field| field.steering) {
            record.remove(field.name);
        }
        record
    }
}

/// A patch that sets one field of a group replaces all of them: what it leaves out is cleared.
fn complete_groups(kind: Kind, patch: &mut Fields) {
    let fields = schema::fields(kind);
    for field in fields.iter().filter(|field| field.group.is_some()) {
        let touched = fields.iter().any(|other| other.group == field.group && patch.contains_key(other.name));
        if touched && !patch.contains_key(field.name) {
            patch.insert(field.name.to_owned(), Value::Null);
        }
    }
}

/// Makes a patch a whole statement: every field that it leaves out is cleared, but for `kept`.
pub(super) fn clear_unsaid(kind: Kind, patch: &mut Fields, kept: &[&str]) {
    for field in schema::fields(kind) {
        if !patch.contains_key(field.name) && !kept.contains(&field.name) {
            patch.insert(field.name, Value::Null);
        }
    }
}

/// Takes nulls out of the inside of a value; an object or a list with nothing left in it becomes `null`.
///
/// Recursion ends at the depth of [`schema`], whose shapes a mapping cannot leave.
pub(super) fn drop_nulls(value: &mut Value) {
    let left = match value {
        Value::Object(object) => {
            object.values_mut().for_each(drop_nulls);
            object.retain(|_, inner| !inner.is_null());
            object.len()
        }
        Value::Array(items) => {
            items.iter_mut().for_each(drop_nulls);
            items.retain(|item| !item.is_null());
            items.len()
        }
        _ => return,
    };
    if left == 0 {
        *value = Value::Null;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json;

    /// Applies visit patches `(at, arrival, patch)` in the order given and in reverse; both must end in `expected`.
    fn check(patches: &[(i64, i64, Value)], expected: Value) {
        let apply = |registers: &mut Registers, (at, arrival, patch): &(i64, i64, Value)| {
            let stamp = Moment { at: *at, arrival: *arrival }.into();
            registers.apply(Kind::Visit, stamp, patch.as_object().unwrap().clone());
        };
        let (mut forwards, mut backwards) = (Registers::default(), Registers::default());
        patches.iter().for_each(|patch| apply(&mut forwards, patch));
        patches.iter().rev().for_each(|patch| apply(&mut backwards, patch));
        assert_eq!(Value::Object(forwards.record(Kind::Visit)), expected);
        assert_eq!(forwards, backwards);
        patches.iter().for_each(|patch| apply(&mut forwards, patch));
        assert_eq!(forwards, backwards, "a repeat changed the state");
    }

    #[test]
    fn a_late_message_fills_and_never_turns_back() {
        check(
            &[(2, 1, json!({"facility": "B"})), (1, 2, json!({"facility": "A", "reason": "fever"}))],
            json!({"facility": "B", "reason": "fever"}),
        );
    }

    #[test]
    fn of_two_messages_of_one_time_the_one_that_came_later_wins() {
        check(&[(1, 2, json!({"facility": "B"})), (1, 1, json!({"facility": "A"}))], json!({"facility": "B"}));
    }

    #[test]
    fn null_clears_and_an_older_message_does_not_fill_it_again() {
        check(
            &[(1, 1, json!({"reason": "fever", "facility": "A"})), (2, 2, json!({"reason": null}))],
            json!({"facility": "A"}),
        );
    }

    #[test]
    fn a_group_is_replaced_as_one() {
        check(
            &[(1, 1, json!({"ward": "W1", "room": "1", "bed": "01"})), (2, 2, json!({"ward": "W2"}))],
            json!({"ward": "W2"}),
        );
    }

    #[test]
    fn nulls_inside_values_are_not_kept_and_what_is_empty_is_cleared() {
        check(
            &[
                (1, 1, json!({"department": {"code": "X", "name": "Y"}})),
                (2, 2, json!({"department": {"code": "Z", "name": null}, "attending": {"id": null}, "diagnoses": []})),
            ],
            json!({"department": {"code": "Z"}}),
        );
    }

    #[test]
    fn a_stamp_is_stored_once_for_all_fields_of_a_message() {
        let mut registers = Registers::default();
        let patch = json!({"facility": "A", "reason": "fever"});
        registers.apply(Kind::Visit, Moment { at: 5, arrival: 7 }.into(), patch.as_object().unwrap().clone());
        let text = serde_json::to_string(&registers).unwrap();
        assert_eq!(text, r#"[[[0,5,7],{"facility":"A","reason":"fever"}]]"#);
        assert_eq!(serde_json::from_str::<Registers>(&text).unwrap(), registers);
    }
}
