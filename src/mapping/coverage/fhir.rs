//! Elements of a unit that no rule read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::fhir::dictionary::TypeId;
use crate::fhir::{Dictionary, Resource, Unit};
use crate::mapping::{Asked, Skipped};

/// Elements of every resource that are about it and not about its patient, or that the engine follows by itself.
const OF_THE_ENGINE: &[&str] =
    &["resourceType", "id", "meta", "text", "implicitRules", "contained", "subject", "patient", "encounter", "context"];

/// What stands behind an element that was read whole, with all that is in it.
pub(crate) const WHOLE: &str = ".*";

/// Counts the elements with a value that nothing asked for, by their names: `Patient.maritalStatus`.
pub(super) fn count_unread(
    unit: &Unit,
    asked: &BTreeSet<Asked>,
    skipped: &[Skipped],
    unread: &mut BTreeMap<Asked, u64>,
) {
    let asked: BTreeSet<&str> = asked
        .iter()
        .filter_map(|asked| match asked {
            Asked::Element(element) => Some(element.as_str()),
            Asked::Field { .. } => None,
        })
        .collect();
    let focal = unit.focal();
    // The Encounter of a report, or a Patient who is linked, only says who it is here; the rest is read with its own unit.
    let is_of_another = |resource: &Resource<'_>| {
        *resource != focal
            && matches!(resource.type_name(), "Encounter" | "Patient")
            && unit.patient().is_none_or(|patient| patient != *resource)
    };
    for resource in unit.resources().filter(|resource| !is_of_another(resource)) {
        let name = resource.type_name();
        if skipped.iter().any(|skipped| skipped.path == name || skipped.path == resource.name()) {
            continue;
        }
        let Some(members) = resource.json().as_object() else { continue };
        let walk = Walk { asked: &asked };
        for (member, value) in members.iter().filter(|(member, _)| !OF_THE_ENGINE.contains(&member.as_str())) {
            walk.member((name, resource.kind()), member, value, unread);
        }
    }
}

struct Walk<'w> {
    asked: &'w BTreeSet<&'w str>,
}

impl Walk<'_> {
    fn member(
        &self,
        (place, kind): (&str, Option<TypeId>),
        member: &str,
        value: &Json,
        unread: &mut BTreeMap<Asked, u64>,
    ) {
        // The extensions of a primitive are named as those of its element.
        let member = member.strip_prefix('_').unwrap_or(member);
        let (name, kind) = element(kind, member);
        let place = format!("{place}.{name}");
        let is_whole = self.asked.contains(format!("{place}{WHOLE}").as_str());
        let below = format!("{place}.");
        let is_read_in_part = self.asked.range(below.as_str()..).next().is_some_and(|next| next.starts_with(&below));
        if is_whole || (self.asked.contains(place.as_str()) && !is_read_in_part) {
            return;
        }
        let values = match value {
            Json::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        for value in values.iter().filter(|value| !value.is_null()) {
            match value {
                Json::Object(members) if is_read_in_part => {
                    for (member, value) in members.iter().filter(|(member, _)| *member != "id") {
                        self.member((&place, kind), member, value, unread);
                    }
                }
                _ if self.asked.contains(place.as_str()) => {}
                _ => *unread.entry(Asked::Element(place.clone())).or_default() += 1,
            }
        }
    }
}

/// The element that a name of JSON means: `valueQuantity` is `value`, a Quantity.
fn element(kind: Option<TypeId>, member: &str) -> (&str, Option<TypeId>) {
    let dictionary = Dictionary::standard();
    let Some(kind) = kind else { return (member, None) };
    if let Some(element) = dictionary.member(kind, member) {
        return (member, element.types.first().copied().filter(|_| element.types.len() == 1));
    }
    let capitals = member.char_indices().filter(|(_, letter)| letter.is_ascii_uppercase());
    for (start, _) in capitals {
        let (name, data_type) = member.split_at(start);
        if dictionary.member(kind, name).is_some_and(|element| element.is_choice) {
            return (name, dictionary.named(data_type));
        }
    }
    (member, None)
}
