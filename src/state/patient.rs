//! What one source says of one patient.
//!
//! Every field is a register. Of `identifiers`, the numbers of one type and authority are a fact of their own: a message that
//! sends fewer kinds of numbers (an ORU with the patient number only) does not take the others away, a new resident number
//! replaces the old one. `""` in PID-3 clears all that was said until then.
//!
//! Inside the state such a fact is a field `#TYPE|AUTHORITY` with the list of its numbers. A name that was once said is
//! remembered when another one takes its place (marriage, adoption, a newborn that is named): a field `@NAME`, of which the newest
//! [`NAMES_KEPT`] are kept.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::registers::{Registers, Stamp, clear_unsaid};
use super::{Applied, Moment, changed};
use crate::record::schema::IDENTIFIER_TYPES;
use crate::record::{Fields, Kind, Value};

/// Names kept of one record, the present one among them: more than anybody has borne.
const NAMES_KEPT: usize = 8;

/// State of one source record; stored as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PatientState {
    registers: Registers,
}

impl PatientState {
    /// Takes what one message says of the patient.
    pub fn apply(&mut self, mut patch: Fields, moment: Moment) -> Applied {
        if let Some(identifiers) = patch.remove("identifiers") {
            patch.extend(numbers_by_kind(identifiers));
        }
        self.enter(patch, moment)
    }

    /// Takes what is all that there is to say of the patient, as a FHIR server's resource is: what it leaves out is cleared.
    pub fn apply_whole(&mut self, mut patch: Fields, moment: Moment) -> Applied {
        if let Some(identifiers) = patch.remove("identifiers") {
            patch.extend(numbers_by_kind(identifiers));
        }
        // Clears the numbers that were said until then, not those of the same message.
        clear_unsaid(Kind::Patient, &mut patch, &["updated_at"]);
        self.enter(patch, moment)
    }

    fn enter(&mut self, mut patch: Fields, moment: Moment) -> Applied {
        let before = self.record();
        if let Some(name) = patch.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
            // The same message mapped better: what it was misread as was never a name.
            let misread = self.names().into_iter().filter(|(stamp, known)| stamp.moment == moment && *known != name);
            let misread: Vec<String> = misread.map(|(_, name)| format!("@{name}")).collect();
            misread.iter().for_each(|name| self.registers.forget(name));
            patch.insert(format!("@{name}"), Value::Bool(true));
        }
        self.registers.apply(Kind::Patient, moment.into(), patch);
        self.forget_names();
        let record = self.record();
        let changed = changed(&before, &record);
        Applied { before, record, changed, happenings: Vec::new() }
    }

    /// The patient record, without `source`.
    pub fn record(&self) -> Fields {
        let mut record = self.registers.record(Kind::Patient);
        record.retain(|name, _| !name.starts_with(['#', '@']));
        let identifiers = self.identifiers();
        if !identifiers.is_empty() {
            record.insert("identifiers", Value::Array(identifiers));
        }
        record
    }

    /// The names that this source said before, newest first. They are shown and searched, and prove nothing of who the patient is: a
    /// number that was given to somebody else has had the former patient's name.
    pub fn former_names(&self) -> Vec<&str> {
        let present = self.registers.text("name");
        self.names().into_iter().rev().map(|(_, name)| name).filter(|name| Some(*name) != present).collect()
    }

    /// Every name that was said, by when it was said last, then by itself.
    fn names(&self) -> Vec<(Stamp, &str)> {
        let mut names: Vec<(Stamp, &str)> = self
            .registers
            .layers()
            .flat_map(|(stamp, fields)| fields.keys().filter_map(move |name| Some((stamp, name.strip_prefix('@')?))))
            .collect();
        names.sort_unstable();
        names
    }

    /// Drops the oldest names beyond [`NAMES_KEPT`]: those that were said last stay, in whatever order they came.
    fn forget_names(&mut self) {
        let names = self.names();
        let excess = names.len().saturating_sub(NAMES_KEPT);
        let old: Vec<String> = names.into_iter().take(excess).map(|(_, name)| format!("@{name}")).collect();
        old.iter().for_each(|name| self.registers.forget(name));
    }

    /// The source time of each field of [`PatientState::record`] but the identifiers, for survivorship.
    pub fn set_at(&self) -> BTreeMap<&str, i64> {
        let mut times = BTreeMap::new();
        for (stamp, fields) in self.registers.layers() {
            let valued = fields.iter().filter(|(name, value)| !value.is_null() && !name.starts_with(['#', '@']));
            times.extend(valued.map(|(name, _)| (name.as_str(), stamp.moment.at)));
        }
        times
    }

    /// The numbers that stand, by type in the order of the schema, then by authority, then as sent.
    fn identifiers(&self) -> Vec<Value> {
        let cleared = self.registers.get("identifiers").map(|(stamp, _)| stamp);
        let mut kinds: Vec<(usize, &str, &str, &Vec<Value>)> = self
            .registers
            .layers()
            .filter(|(stamp, _)| Some(*stamp) >= cleared)
            .flat_map(|(_, fields)| fields)
            .filter_map(|(name, numbers)| {
                let (kind, system) = name.strip_prefix('#')?.split_once('|')?;
                let rank = IDENTIFIER_TYPES.iter().position(|known| *known == kind)?;
                Some((rank, system, kind, numbers.as_array()?))
            })
            .collect();
        kinds.sort_unstable_by_key(|(rank, system, ..)| (*rank, *system));
        let mut identifiers = Vec::new();
        for (_, system, kind, numbers) in kinds {
            identifiers.extend(numbers.iter().map(|number| {
                let system = (!system.is_empty()).then(|| ("system", Value::from(system)));
                let parts = system.into_iter().chain([("type", Value::from(kind)), ("value", number.clone())]);
                Value::Object(parts.collect())
            }));
        }
        identifiers
    }
}

/// `identifiers` of a patch as one field for each type and authority.
fn numbers_by_kind(identifiers: Value) -> Fields {
    let mut fields = Fields::new();
    let Value::Array(identifiers) = identifiers else {
        fields.insert("identifiers", Value::Null);
        return fields;
    };
    let mut known = HashSet::with_capacity(identifiers.len());
    for identifier in &identifiers {
        let text = |name: &str| identifier.get(name).and_then(Value::as_str).unwrap_or_default();
        let kind = if IDENTIFIER_TYPES.contains(&text("type")) { text("type") } else { "other" };
        let (system, number) = (text("system"), text("value"));
        let numbers = fields.get_or_insert_with(format!("#{kind}|{system}"), || Value::Array(Vec::new()));
        // A repetition without a number (`""` in CX.1) says that there is none of its kind.
        if let (Value::Array(numbers), false) = (numbers, number.is_empty())
            && known.insert((kind, system, number))
        {
            numbers.push(Value::from(number));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::json;
    use proptest::prelude::*;

    fn patch(value: Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    /// Applies patches `(at, patch)` in the order given; the record must be `expected`.
    fn check(patches: &[(i64, Value)], expected: Value) {
        let mut state = PatientState::default();
        for (arrival, (at, fields)) in patches.iter().enumerate() {
            state.apply(patch(fields.clone()), Moment { at: *at, arrival: arrival as i64 });
        }
        assert_eq!(Value::Object(state.record()), expected);
    }

    fn mrn(value: &str) -> Value {
        json!({"type": "mrn", "system": "HIS", "value": value})
    }

    fn resident(value: &str) -> Value {
        json!({"type": "resident_id", "value": value})
    }

    #[test]
    fn a_whole_statement_clears_what_it_leaves_out_and_former_names_are_remembered() {
        let mut state = PatientState::default();
        let mrn = json!({"type": "mrn", "system": "HIS", "value": "1"});
        let first = json!({"name": "张三", "sex": "male", "identifiers": [mrn, {"type": "health_card", "system": "H", "value": "9"}]});
        state.apply_whole(first.as_object().unwrap().clone(), Moment { at: 1, arrival: 1 });
        let second = json!({"name": "张山", "identifiers": [mrn]});
        let applied = state.apply_whole(second.as_object().unwrap().clone(), Moment { at: 1, arrival: 2 });
        assert_eq!(Value::Object(applied.record), second);
        assert_eq!(applied.changed, ["identifiers", "name", "sex"]);
        assert_eq!(state.former_names(), ["张三"]);
        assert!(
            state.apply_whole(second.as_object().unwrap().clone(), Moment { at: 2, arrival: 3 }).changed.is_empty()
        );
    }

    #[test]
    fn a_message_with_fewer_kinds_of_numbers_takes_none_away() {
        check(
            &[
                (1, json!({"identifiers": [resident("A"), mrn("1")], "name": "张三"})),
                (2, json!({"identifiers": [mrn("1")]})),
            ],
            json!({"identifiers": [mrn("1"), resident("A")], "name": "张三"}),
        );
    }

    #[test]
    fn a_late_message_brings_the_numbers_that_were_missing() {
        check(
            &[(2, json!({"identifiers": [mrn("1")]})), (1, json!({"identifiers": [mrn("1"), resident("A")]}))],
            json!({"identifiers": [mrn("1"), resident("A")]}),
        );
    }

    #[test]
    fn a_new_number_of_a_kind_replaces_the_old_one_and_an_empty_one_removes_it() {
        check(
            &[(1, json!({"identifiers": [resident("A")]})), (2, json!({"identifiers": [resident("B")]}))],
            json!({"identifiers": [resident("B")]}),
        );
        let none = json!({"type": "resident_id", "value": null});
        check(
            &[(1, json!({"identifiers": [mrn("1"), resident("A")]})), (2, json!({"identifiers": [mrn("1"), none]}))],
            json!({"identifiers": [mrn("1")]}),
        );
    }

    #[test]
    fn clearing_all_numbers_clears_what_was_said_until_then() {
        check(
            &[
                (2, json!({"identifiers": null})),
                (1, json!({"identifiers": [resident("A")]})),
                (3, json!({"identifiers": [mrn("1")]})),
            ],
            json!({"identifiers": [mrn("1")]}),
        );
    }

    #[test]
    fn a_name_is_replaced_whole() {
        check(
            &[
                (1, json!({"name": "张三", "family_name": "张", "given_name": "三", "sex": "male"})),
                (2, json!({"name": "李四"})),
            ],
            json!({"name": "李四", "sex": "male"}),
        );
    }

    #[test]
    fn case_32_a_former_name_is_remembered_whatever_the_order() {
        let former = |names: &mut dyn Iterator<Item = (i64, &str)>| {
            let mut state = PatientState::default();
            for (at, name) in names {
                state.apply(patch(json!({"name": name})), Moment { at, arrival: at });
            }
            state.former_names().join(" ")
        };
        let check = |names: &[&str], expected: &str| {
            let said = || (1..).zip(names.iter().copied());
            assert_eq!(former(&mut said()), expected);
            assert_eq!(former(&mut said().collect::<Vec<_>>().into_iter().rev()), expected, "backwards");
        };
        check(&["王明"], "");
        check(&["王明", "李明", "李晓明"], "李明 王明");
        // Who takes the old name again has the other one as a former name.
        check(&["王明", "李明", "王明"], "李明");
        let many: Vec<String> = (1..=20).map(|at| format!("张{at}")).collect();
        check(&many.iter().map(String::as_str).collect::<Vec<_>>(), "张19 张18 张17 张16 张15 张14 张13");
    }

    #[test]
    fn what_a_message_was_misread_as_is_no_former_name() {
        let mut state = PatientState::default();
        for name in ["ÕÅÈý", "张三"] {
            state.apply(patch(json!({"name": name})), Moment { at: 1, arrival: 1 });
        }
        assert_eq!(state.former_names(), [""; 0]);
    }

    #[test]
    fn each_field_has_the_time_of_the_message_that_set_it() {
        let mut state = PatientState::default();
        state.apply(patch(json!({"name": "张三", "sex": "male"})), Moment { at: 1, arrival: 1 });
        state.apply(patch(json!({"sex": "female", "vip": null})), Moment { at: 2, arrival: 2 });
        assert_eq!(state.set_at(), BTreeMap::from([("name", 1), ("sex", 2)]));
    }

    #[test]
    fn a_repeat_changes_nothing() {
        let mut state = PatientState::default();
        let said = patch(json!({"identifiers": [mrn("1")], "name": "张三", "updated_at": "2024-03-05"}));
        let first = state.apply(said.clone(), Moment { at: 1, arrival: 1 });
        assert_eq!(first.changed, ["identifiers", "name", "updated_at"]);
        assert_eq!(state.apply(said, Moment { at: 1, arrival: 9 }).changed, [""; 0]);
    }

    fn any_patch() -> impl Strategy<Value = Fields> {
        let number = prop_oneof![
            Just(mrn("1")),
            Just(mrn("2")),
            Just(resident("A")),
            Just(resident("B")),
            Just(json!({"type": "resident_id", "value": null})),
        ];
        let identifiers = prop_oneof![
            4 => prop::collection::vec(number, 1..3).prop_map(|numbers| json!({"identifiers": numbers})),
            1 => Just(json!({"identifiers": null})),
        ];
        let other = prop_oneof![
            Just(json!({"name": "张三", "given_name": "三"})),
            (0..12_u8).prop_map(|order| json!({"name": format!("张{order}")})),
            Just(json!({"family_name": "李"})),
            Just(json!({"name": null})),
            Just(json!({"sex": "male"})),
            Just(json!({"sex": null, "phones": [{"value": "1"}]})),
        ];
        (identifiers, other).prop_map(|(identifiers, other)| {
            let mut fields = patch(identifiers);
            fields.extend(patch(other));
            fields
        })
    }

    proptest! {
        #[test]
        fn any_order_and_any_repeat_ends_in_the_same_state(
            patches in prop::collection::vec((0..4_i64, any_patch()), 1..7)
                .prop_map(|patches| patches.into_iter().enumerate().collect::<Vec<_>>())
                .prop_flat_map(|patches| (Just(patches.clone()), Just([patches.clone(), patches].concat()).prop_shuffle()))
        ) {
            let run = |patches: &[(usize, (i64, Fields))]| {
                let mut state = PatientState::default();
                for (arrival, (at, fields)) in patches {
                    state.apply(fields.clone(), Moment { at: *at, arrival: *arrival as i64 });
                }
                state
            };
            let expected = run(&patches.0);
            prop_assert_eq!(&run(&patches.1), &expected);
            let text = serde_json::to_string(&expected).unwrap();
            prop_assert_eq!(serde_json::from_str::<PatientState>(&text).unwrap(), expected);
        }
    }
}
