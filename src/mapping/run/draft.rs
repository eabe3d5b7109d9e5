//! A record or item in work: a place for each field that its block can fill, known since the mapping was loaded.

use crate::mapping::coerce::lab_value::LabValue;
use crate::mapping::coerce::range::Range;
use crate::mapping::compile::{BlockPlan, RulePlan};
use crate::mapping::input::{Location, LostReference};
use crate::record::{Fields, Text, Value as Json};

/// What the rules of a block have given so far.
pub(super) struct Draft<'p> {
    /// The fields that the block can fill, in the order of records.
    names: &'p [&'static str],
    /// What they have become, by the position in `names`.
    values: Vec<Option<Json>>,
    /// Rules that found `""` and where: they clear what no other path or rule fills.
    pub(super) nulls: Vec<(&'p RulePlan, Location)>,
    /// Rules that found something and give nothing: their targets stay as they were.
    pub(super) left: Vec<&'p RulePlan>,
    /// Rules that found references that lead to nothing, where it is asked for.
    pub(super) lost: Vec<(&'p RulePlan, LostReference)>,
    /// Something other than the time was said.
    pub(super) has_substance: bool,
    /// What a result's value and range were understood as.
    pub(super) value: Option<LabValue>,
    pub(super) range: Option<Range>,
}

impl<'p> Draft<'p> {
    /// Nothing yet of what the block can fill.
    pub(super) fn of(block: &'p BlockPlan) -> Self {
        Self {
            names: &block.names,
            values: block.names.iter().map(|_| None).collect(),
            nulls: Vec::new(),
            left: Vec::new(),
            lost: Vec::new(),
            has_substance: false,
            value: None,
            range: None,
        }
    }

    /// Whether the rule's target has a value, be it `null`.
    pub(super) fn is_filled(&self, rule: &RulePlan) -> bool {
        let filled = self.values[rule.slot].as_ref();
        match rule.target.parent {
            Some(_) => filled.is_some_and(|object| object.get(rule.target.name).is_some()),
            // A value may bring a unit, and a unit alone is no value.
            None if rule.target.spread => rule.target.fills().iter().any(|name| *name != "unit" && self.has(name)),
            None => filled.is_some(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.binary_search(&name).is_ok_and(|slot| self.values[slot].is_some())
    }

    /// Sets the rule's target: a field, or a part of one.
    pub(super) fn put(&mut self, rule: &RulePlan, json: Json) {
        let slot = &mut self.values[rule.slot];
        match (rule.target.parent, slot) {
            (None, slot) => *slot = Some(json),
            (Some(_), Some(Json::Object(parts))) => drop(parts.insert(Text::new_static(rule.target.name), json)),
            (Some(_), slot) => *slot = Some(Json::Object(Fields::from_iter([(rule.target.name, json)]))),
        }
    }

    /// Sets one of the fields that a target spreads over.
    pub(super) fn put_in(&mut self, name: &str, json: Json) {
        if let Ok(slot) = self.names.binary_search(&name) {
            self.values[slot] = Some(json);
        }
    }

    /// Clears a field that has no value; whether it did.
    pub(super) fn clear(&mut self, name: &str) -> bool {
        let slot = self.names.binary_search(&name).ok().filter(|slot| self.values[*slot].is_none());
        slot.is_some_and(|slot| self.values[slot].replace(Json::Null).is_none())
    }

    /// The fields that have a value.
    pub(super) fn into_fields(self) -> Fields {
        let mut entries = Vec::with_capacity(self.values.iter().flatten().count() + 1);
        for (name, value) in self.names.iter().zip(self.values) {
            if let Some(value) = value {
                entries.push((Text::new_static(name), value));
            }
        }
        Fields::of_sorted(entries)
    }
}
