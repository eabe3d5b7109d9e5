//! Elements of a unit that no rule read.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{Hash as _, Hasher as _};

use serde_json::Value as Json;

use crate::fhir::dictionary::TypeId;
use crate::fhir::{Dictionary, Resource, Unit, extension_place};
use crate::mapping::{Asked, Skipped};

/// Elements of every resource that are about it and not about its patient, or that the engine follows by itself.
const OF_THE_ENGINE: &[&str] =
    &["resourceType", "id", "meta", "text", "implicitRules", "contained", "subject", "patient", "encounter", "context"];

/// What stands behind an element that was read whole, with all that is in it.
pub(crate) const WHOLE: &str = ".*";

/// The resources of a unit that were counted already, by their names, such as the Patient of several Encounters; the others are known from
/// now on.
pub(super) fn counted_before(unit: &Unit, counted: &mut HashSet<u64>) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for resource in unit.resources() {
        let mut hasher = DefaultHasher::new();
        (resource.name(), resource.json().to_string()).hash(&mut hasher);
        if !counted.insert(hasher.finish()) {
            known.insert(resource.name());
        }
    }
    known
}

/// Whether a place is in one of these resources: `Patient.telecom[1]`, `Observation/7.code`.
pub(super) fn is_of(place: &str, resources: &BTreeSet<String>) -> bool {
    let resource = place.split('.').next().unwrap_or(place);
    resources.iter().any(|known| known == resource || known.split('/').next() == Some(resource))
}

/// Counts the elements with a value that nothing asked for, by their names: `Patient.maritalStatus`.
pub(super) fn count_unread(
    unit: &Unit,
    asked: &BTreeSet<Asked>,
    (skipped, known): (&[Skipped], &BTreeSet<String>),
    unread: &mut BTreeMap<Asked, u64>,
) {
    let mut root = Looked::default();
    for asked in asked {
        if let Asked::Element(element) = asked {
            root.add(element);
        }
    }
    let focal = unit.focal();
    // The Encounter of a report, or a Patient who is linked, only says who it is here; the rest is read with its own unit.
    let is_of_another = |resource: &Resource<'_>| {
        *resource != focal
            && matches!(resource.type_name(), "Encounter" | "Patient")
            && unit.patient().is_none_or(|patient| patient != *resource)
    };
    for resource in unit.resources().filter(|resource| !is_of_another(resource)) {
        let name = resource.type_name();
        let is_left_out = skipped.iter().any(|skipped| skipped.path == name || skipped.path == resource.name());
        if is_left_out || known.contains(&resource.name()) {
            continue;
        }
        let Some(members) = resource.json().as_object() else { continue };
        let looked: Vec<&Looked<'_>> = root.parts.get(name).into_iter().collect();
        for (member, value) in members.iter().filter(|(member, _)| !OF_THE_ENGINE.contains(&member.as_str())) {
            count_member((name, resource.kind()), &looked, member, value, unread);
        }
    }
}

/// What was looked at, by the names of elements: `Patient`, in it `name`, in it `family`.
#[derive(Default)]
struct Looked<'a> {
    /// With all that is in it.
    whole: bool,
    /// By itself: whether it is there, or which text it is.
    itself: bool,
    parts: BTreeMap<&'a str, Looked<'a>>,
}

impl<'a> Looked<'a> {
    fn add(&mut self, element: &'a str) {
        let (path, whole) = element.strip_suffix(WHOLE).map_or((element, false), |path| (path, true));
        let looked = names(path).into_iter().fold(self, |looked, name| looked.parts.entry(name).or_default());
        looked.whole |= whole;
        looked.itself |= !whole;
    }

    /// All that is in it counts as read: it was read whole, or asked for and nothing in it.
    fn is_whole(&self) -> bool {
        self.whole || (self.itself && self.parts.is_empty())
    }
}

/// The names of a path of elements: the URL of an extension has dots of its own.
fn names(path: &str) -> Vec<&str> {
    let mut is_in_url = false;
    let is_between = |letter: char| {
        is_in_url ^= letter == '\'';
        letter == '.' && !is_in_url
    };
    path.split(is_between).collect()
}

/// Members that say what their element is, and nothing by themselves: where a Reference leads to is followed by the engine, and the URL of
/// an extension is its name.
fn is_of_the_engine(kind: Option<TypeId>, member: &str) -> bool {
    member == "id"
        || match kind.map(TypeId::name) {
            Some("Reference") => matches!(member, "reference" | "type"),
            Some("Extension") => member == "url",
            _ => false,
        }
}

fn count_member(
    (place, kind): (&str, Option<TypeId>),
    around: &[&Looked<'_>],
    member: &str,
    value: &Json,
    unread: &mut BTreeMap<Asked, u64>,
) {
    // The extensions of a primitive are named as those of its element.
    let member = member.strip_prefix('_').unwrap_or(member);
    let (name, kind) = element(kind, member);
    let values = match value {
        Json::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    for value in values.iter().filter(|value| !value.is_null()) {
        let url = value.get("url").and_then(Json::as_str).filter(|_| matches!(name, "extension" | "modifierExtension"));
        // Those of one URL are an element of their own.
        let own = url.map(|url| extension_place(name, url));
        let place = format!("{place}.{}", own.as_deref().unwrap_or(name));
        let names = [Some(name), own.as_deref()];
        let looked: Vec<&Looked<'_>> = around
            .iter()
            .flat_map(|looked| names.iter().flatten().filter_map(|name| looked.parts.get(*name)))
            .collect();
        if looked.iter().any(|looked| looked.is_whole()) {
            continue;
        }
        match value {
            Json::Object(members) if looked.iter().any(|looked| !looked.parts.is_empty()) => {
                for (member, value) in members.iter().filter(|(member, _)| !is_of_the_engine(kind, member)) {
                    count_member((&place, kind), &looked, member, value, unread);
                }
            }
            _ if looked.iter().any(|looked| looked.itself) => {}
            _ => *unread.entry(Asked::Element(place)).or_default() += 1,
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
