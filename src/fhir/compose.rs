//! Units cut out of a set of resources: for each focal resource, it and what its record needs.
//!
//! ```text
//! Patient ──────────────────► the patient                 with it: who its links name, Coverages, RelatedPersons, Consents
//! Encounter, Appointment ───► a visit, and its patient    with it: people, places, Conditions and Procedures
//! DiagnosticReport ─────────► a report, and its patient   with it: its Encounter, Observations with their members, orders, specimens
//! Observation by itself ────► a report, and its patient   one that no report and no other Observation has
//! ```
//!
//! Invariants
//! - Pure, whatever holds the resources: a file in memory, or a store that knows references both ways ([`Resources`]).
//! - The same resources give the same units, in the same order. What refers to a Patient is in the Patient's own unit alone: the patient is
//!   told by that one, by others only until then.
//! - A unit is finite: a resource is in it once, and only what `FOLLOWED` names is followed.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;

use serde_json::Value as Json;

use super::documents::{self, Stated, Unreadable};

/// Types whose resources make records, in the order in which their units come: a patient before what refers to it.
pub const FOCAL: [&str; 5] = ["Patient", "Encounter", "Appointment", "DiagnosticReport", "Observation"];

/// Most resources of one unit. A stay with all its diagnoses and a report with all its results have some hundreds.
pub const MOST: usize = 10_000;

/// Which references are followed: from resources of a type to resources of others, wherever in the resource the reference stands.
const FOLLOWED: &[(&str, &[&str])] = &[
    ("Patient", &["Organization"]),
    (
        "Encounter",
        &[
            "Patient",
            "Encounter",
            "Practitioner",
            "PractitionerRole",
            "Organization",
            "Location",
            "Condition",
            "Procedure",
        ],
    ),
    ("Appointment", &["Patient", "Practitioner", "PractitionerRole", "Organization", "Location", "HealthcareService"]),
    (
        "DiagnosticReport",
        &[
            "Patient",
            "Encounter",
            "EpisodeOfCare",
            "Observation",
            "ServiceRequest",
            "ProcedureRequest",
            "DiagnosticRequest",
            "ReferralRequest",
            "Specimen",
            "Practitioner",
            "PractitionerRole",
            "Organization",
        ],
    ),
    (
        "Observation",
        &[
            "Patient",
            "Encounter",
            "Observation",
            "ServiceRequest",
            "ProcedureRequest",
            "DiagnosticRequest",
            "Specimen",
            "Practitioner",
            "PractitionerRole",
            "Organization",
        ],
    ),
    ("ServiceRequest", &["Practitioner", "PractitionerRole", "Organization"]),
    ("ProcedureRequest", &["Practitioner", "PractitionerRole", "Organization"]),
    ("DiagnosticRequest", &["Practitioner", "PractitionerRole", "Organization"]),
    ("PractitionerRole", &["Practitioner", "Organization"]),
    // A bed is in a room, a room in a ward.
    ("Location", &["Location"]),
];

/// Every type that a unit may hold: whatever else a server has is of no use to any record.
pub const READ: [&str; 21] = [
    "Patient",
    "Coverage",
    "RelatedPerson",
    "Consent",
    "Encounter",
    "Appointment",
    "DiagnosticReport",
    "Observation",
    "Condition",
    "Procedure",
    "ServiceRequest",
    "ProcedureRequest",
    "DiagnosticRequest",
    "ReferralRequest",
    "Specimen",
    "EpisodeOfCare",
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Location",
    "HealthcareService",
];

/// What refers to a focal resource and belongs to its record.
const GATHERED: &[(&str, &[&str])] =
    &[("Patient", &["Coverage", "RelatedPerson", "Consent"]), ("Encounter", &["Condition", "Procedure"])];

/// A resource and where it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Held<'r> {
    /// `Encounter/1`; of a resource without an id what else names it, such as `urn:uuid:…`.
    pub key: String,
    /// Where its Bundle says that it is.
    pub full_url: Option<String>,
    /// Its content.
    pub json: Cow<'r, Json>,
}

impl Held<'_> {
    /// `Encounter`
    pub fn type_name(&self) -> &str {
        type_name(&self.json)
    }
}

/// What holds resources: finds them by reference, and those that refer to one.
pub trait Resources {
    /// Why it cannot answer.
    type Error;

    /// The resource that a reference in `home` means: `Patient/1`, a URL, `urn:uuid:…`, with or without a version. `None`: it is
    /// not held.
    fn referred(&self, home: &Held<'_>, reference: &str) -> Result<Option<Held<'_>>, Self::Error>;

    /// The resources of type `kind` that refer to this one, in an order that is always the same.
    fn referring(&self, to: &Held<'_>, kind: &str) -> Result<Vec<Held<'_>>, Self::Error>;
}

/// The unit of a focal resource, as the Bundle that is kept as its message: the focal resource first.
///
/// # Errors
/// What the resources say themselves.
pub fn compose<R: Resources>(resources: &R, focal: Held<'_>) -> Result<Json, R::Error> {
    Ok(bundle(parts(resources, focal)?))
}

/// The resources of a unit, the focal one first.
fn parts<'r, R: Resources>(resources: &'r R, focal: Held<'r>) -> Result<Vec<Held<'r>>, R::Error> {
    let mut taken: Vec<Held<'_>> = Vec::new();
    let mut known: HashMap<String, ()> = HashMap::new();
    known.insert(focal.key.clone(), ());
    for (_, kinds) in GATHERED.iter().filter(|(kind, _)| *kind == focal.type_name()) {
        for kind in *kinds {
            taken.extend(resources.referring(&focal, kind)?);
        }
    }
    // What refers to the focal resource comes behind what it refers to.
    let gathered = std::mem::take(&mut taken);
    taken.push(focal);
    let mut next = 0;
    let mut gathered = Some(gathered);
    while next < taken.len() || gathered.is_some() {
        if next == taken.len() {
            for held in gathered.take().into_iter().flatten() {
                if known.insert(held.key.clone(), ()).is_none() {
                    taken.push(held);
                }
            }
            continue;
        }
        let mut references = Vec::new();
        collect_references(&taken[next].json, &mut references);
        for reference in references {
            if taken.len() >= MOST {
                break;
            }
            let home = &taken[next];
            let Some(found) = resources.referred(home, &reference)? else { continue };
            if is_followed(home, next == 0, &found) && known.insert(found.key.clone(), ()).is_none() {
                taken.push(found);
            }
        }
        next += 1;
    }
    Ok(taken)
}

fn is_followed(home: &Held<'_>, is_focal: bool, found: &Held<'_>) -> bool {
    is_part(home.type_name(), is_focal, found.type_name())
}

/// Types whose resources belong to the record of a focal one that they refer to.
pub fn gathered_by(focal: &str) -> &'static [&'static str] {
    GATHERED.iter().find(|(kind, _)| *kind == focal).map_or(&[], |(_, kinds)| kinds)
}

/// Whether a resource of type `to` is a part of a unit in which one of type `from` refers to it.
///
/// The Encounter of a report says which visit it is, and no more; who a patient is linked with is known by its own unit.
pub fn is_part(from: &str, is_focal: bool, to: &str) -> bool {
    match (from, to) {
        ("Encounter", _) if !is_focal => false,
        ("Patient", "Patient") => is_focal,
        _ => FOLLOWED.iter().any(|(kind, kinds)| *kind == from && kinds.contains(&to)),
    }
}

/// The types whose resources a unit of this focal type may hold.
pub fn types_of_unit(focal: &'static str) -> Vec<&'static str> {
    let mut types = vec![focal];
    types.extend(gathered_by(focal));
    let mut next = 0;
    while let Some(from) = types.get(next).copied() {
        let parts = READ.into_iter().filter(|to| is_part(from, next == 0, to));
        for to in parts.collect::<Vec<_>>() {
            if !types.contains(&to) {
                types.push(to);
            }
        }
        next += 1;
    }
    types
}

/// Whether any resource that one of type `from` refers to [is a part](is_part) of the unit.
pub fn has_parts(from: &str, is_focal: bool) -> bool {
    (is_focal || from != "Encounter") && FOLLOWED.iter().any(|(kind, _)| *kind == from)
}

/// Whether a resource has a unit of its own: a focal type, and of Observations those that no report and no other Observation has.
///
/// # Errors
/// What the resources say themselves.
pub fn is_focal<R: Resources>(resources: &R, held: &Held<'_>) -> Result<bool, R::Error> {
    if held.type_name() != "Observation" {
        return Ok(FOCAL.contains(&held.type_name()));
    }
    for kind in ["DiagnosticReport", "Observation"] {
        let all = resources.referring(held, kind)?;
        if all.iter().any(|other| has_as_result(resources, other, held).unwrap_or(false)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a report has the Observation as a result, or an Observation as a member; being derived from it, or its trigger, is less.
fn has_as_result<R: Resources>(resources: &R, other: &Held<'_>, observation: &Held<'_>) -> Result<bool, R::Error> {
    let items = |name: &str| other.json.get(name).and_then(Json::as_array).into_iter().flatten();
    let results = items("result").chain(items("hasMember"));
    // STU3.
    let related = items("related").filter(|related| related.get("type").and_then(Json::as_str) == Some("has-member"));
    for reference in results.chain(related.filter_map(|related| related.get("target"))) {
        let Some(reference) = reference.get("reference").and_then(Json::as_str) else { continue };
        if resources.referred(other, reference)?.is_some_and(|found| found.key == observation.key) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Every reference in a resource, in order; those inside contained resources too.
pub fn collect_references(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::Object(members) => {
            for (name, value) in members {
                match value {
                    Json::String(reference) if name == "reference" && !reference.starts_with('#') => {
                        found.push(reference.clone());
                    }
                    value => collect_references(value, found),
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

fn bundle(resources: Vec<Held<'_>>) -> Json {
    let entries = resources.into_iter().map(|held| {
        let mut entry = serde_json::Map::new();
        if let Some(full_url) = held.full_url {
            entry.insert("fullUrl".to_owned(), Json::from(full_url));
        }
        entry.insert("resource".to_owned(), held.json.into_owned());
        Json::Object(entry)
    });
    serde_json::json!({"resourceType": "Bundle", "type": "collection", "entry": entries.collect::<Vec<_>>()})
}

fn type_name(json: &Json) -> &str {
    json.get("resourceType").and_then(Json::as_str).unwrap_or_default()
}

/// A reference without its version.
fn without_version(reference: &str) -> &str {
    reference.split_once("/_history/").map_or(reference, |(reference, _)| reference)
}

/// Resources of a file, in memory.
#[derive(Debug, Default)]
pub struct Set {
    entries: Vec<SetEntry>,
    /// By `Type/id` and by full URL.
    places: HashMap<String, usize>,
    /// By the place of a resource, the places of those that refer to it.
    referring: HashMap<usize, Vec<usize>>,
}

/// What the resources of a [`Set`] make.
#[derive(Debug)]
pub struct Cut {
    /// The names of the focal resources, as [`Set::add`] gives them, and the units as the Bundles that are kept as their messages.
    pub units: Vec<(String, Json)>,
    /// By type, how many resources are in no unit: nothing that they say is in any record.
    pub unused: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct SetEntry {
    key: String,
    full_url: Option<String>,
    json: Json,
}

impl Set {
    /// Reads the resources of a text, all of which must be such; see [`documents`]. Of several versions of a resource, as a history
    /// has them, the first one counts.
    ///
    /// # Errors
    /// The first that is none, with its place; nothing of its content.
    pub fn read(text: &[u8]) -> Result<Self, Unreadable> {
        let mut set = Self::default();
        let mut problem = None;
        documents::each(text, &mut |found| {
            problem = found.and_then(|stated| set.add(&stated)).err();
            problem.is_none()
        });
        match problem {
            Some(problem) => Err(problem),
            None => Ok(set.ready()),
        }
    }

    /// Puts a resource in, unless there is one of its name. After the last one comes [`Set::ready`]. Gives its name, `Patient/1`.
    ///
    /// # Errors
    /// It is no JSON that can be held, such as one of too many levels.
    pub fn add(&mut self, stated: &Stated<'_>) -> Result<String, Unreadable> {
        let json = serde_json::from_slice(&stated.text).map_err(|error| {
            Unreadable::new(stated.place.clone(), format!("this cannot be read: {}", super::problem_of_json(&error)))
        })?;
        Ok(self.put(json, stated.full_url.clone()))
    }

    /// All of them are in: what refers to what is known from now on.
    #[must_use]
    pub fn ready(mut self) -> Self {
        self.index();
        self
    }

    fn put(&mut self, json: Json, full_url: Option<String>) -> String {
        let id = json.get("id").and_then(Json::as_str);
        let local = id.map(|id| format!("{}/{id}", type_name(&json)));
        let nameless = || format!("{}#{}", type_name(&json), self.entries.len());
        let key = local.or_else(|| full_url.clone()).unwrap_or_else(nameless);
        if self.places.contains_key(&key) {
            return key;
        }
        let place = self.entries.len();
        self.places.insert(key.clone(), place);
        if let Some(url) = &full_url {
            self.places.entry(without_version(url).to_owned()).or_insert(place);
        }
        self.entries.push(SetEntry { key: key.clone(), full_url, json });
        key
    }

    fn index(&mut self) {
        for place in 0..self.entries.len() {
            let mut references = Vec::new();
            collect_references(&self.entries[place].json, &mut references);
            for reference in references {
                if let Some(to) = self.place(&reference) {
                    let referring = self.referring.entry(to).or_default();
                    if referring.last() != Some(&place) {
                        referring.push(place);
                    }
                }
            }
        }
    }

    fn place(&self, reference: &str) -> Option<usize> {
        let reference = without_version(reference);
        self.places.get(reference).copied().or_else(|| {
            // A URL of a resource that is held without one.
            let mut parts = reference.rsplitn(3, '/');
            let (id, kind, _base) = (parts.next()?, parts.next()?, parts.next()?);
            let place = *self.places.get(&format!("{kind}/{id}"))?;
            self.entries.get(place).filter(|entry| entry.full_url.is_none()).map(|_| place)
        })
    }

    fn held(&self, place: usize) -> Option<Held<'_>> {
        let entry = self.entries.get(place)?;
        Some(Held { key: entry.key.clone(), full_url: entry.full_url.clone(), json: Cow::Borrowed(&entry.json) })
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The units of all focal resources: by type in the order of [`FOCAL`], of each type in the order of the file. One resource alone
    /// that is not of a focal type makes none.
    pub fn units(&self) -> Vec<Json> {
        self.cut().units.into_iter().map(|(_, unit)| unit).collect()
    }

    /// See [`Set::units`]; with what is in none of them.
    pub fn cut(&self) -> Cut {
        let mut units = Vec::new();
        let mut used: HashSet<String> = HashSet::new();
        for kind in FOCAL {
            for held in (0..self.entries.len()).filter_map(|place| self.held(place)) {
                let is_wanted = held.type_name() == kind && is_focal(self, &held).unwrap_or(false);
                let name = held.key.clone();
                if is_wanted && let Ok(parts) = parts(self, held) {
                    used.extend(parts.iter().map(|held| held.key.clone()));
                    units.push((name, bundle(parts)));
                }
            }
        }
        let mut unused: BTreeMap<String, u64> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| !used.contains(&entry.key)) {
            *unused.entry(type_name(&entry.json).to_owned()).or_default() += 1;
        }
        Cut { units, unused }
    }
}

impl Resources for Set {
    type Error = Infallible;

    fn referred(&self, _: &Held<'_>, reference: &str) -> Result<Option<Held<'_>>, Infallible> {
        Ok(self.place(reference).and_then(|place| self.held(place)))
    }

    fn referring(&self, to: &Held<'_>, kind: &str) -> Result<Vec<Held<'_>>, Infallible> {
        let place = self.places.get(&to.key);
        let all = place.and_then(|place| self.referring.get(place)).into_iter().flatten();
        Ok(all.filter_map(|place| self.held(*place)).filter(|held| held.type_name() == kind).collect())
    }
}
