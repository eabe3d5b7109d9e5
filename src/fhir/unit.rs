//! A unit: the resources of one FHIR "message". The first is the focal one; references are looked up among the others, never
//! outside.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::dictionary::{Dictionary, TypeId};

/// Resources that one unit may hold: far above a stay with all its results, and a bound on what one message costs.
const MAXIMUM_RESOURCES: usize = 50_000;

/// One FHIR "message".
#[derive(Debug)]
pub struct Unit {
    entries: Vec<Entry>,
    /// `Patient/1`, full URLs and what they end with; the place of the entry. `None`: several, so it means none of them.
    places: HashMap<String, Option<usize>>,
}

#[derive(Debug)]
struct Entry {
    json: Json,
    full_url: Option<String>,
    kind: Option<TypeId>,
}

/// One resource of a unit.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'u> {
    pub(super) unit: &'u Unit,
    pub(super) index: usize,
}

/// Why bytes are no unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// They are not JSON.
    #[error("this is not JSON: {problem} at line {line} column {column}")]
    Json {
        /// What the reader of JSON found, without any content.
        problem: &'static str,
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
    },
    /// They are JSON without a resource.
    #[error("{place} is no FHIR resource: it has no `resourceType`")]
    NoResource {
        /// Where a resource was expected: `the document`, `Bundle.entry[3].resource`.
        place: String,
    },
    /// A Bundle without resources.
    #[error("the Bundle holds no resource")]
    Empty,
    /// More resources than one message may have.
    #[error("the Bundle holds more than {MAXIMUM_RESOURCES} resources")]
    TooMany,
}

/// What stands around a resource in a unit, for a reader that bounds nesting: the Bundle, the list of its entries, the entry.
const AROUND: (&[u8], &[u8]) = (b"[[[", b"]]]");

/// Reads a resource by itself exactly as it will be read inside a unit: what this accepts keeps no unit that holds it from being read.
///
/// # Errors
/// What the reader of JSON found, without any content.
pub fn read_resource(body: &[u8]) -> Result<Json, String> {
    let inside = [AROUND.0, body, AROUND.1].concat();
    match serde_json::from_slice::<Json>(&inside) {
        Ok(mut json) => match json.pointer_mut("/0/0/0").map(Json::take) {
            Some(resource) if resource_type(&resource).is_some() => Ok(resource),
            _ => Err("it has no resourceType".to_owned()),
        },
        // The texts of syntax errors are serde_json's own, and never of the content.
        Err(error) if error.is_syntax() => {
            let text = error.to_string();
            Err(text.split_once(" at line").map_or(text.as_str(), |(text, _)| text).to_owned())
        }
        Err(error) => Err(super::problem_of_json(&error).to_owned()),
    }
}

impl Unit {
    /// Reads a resource, or a Bundle whose first resource is the focal one. Entries without a resource (deletions, in a history)
    /// are left out.
    pub fn parse(bytes: &[u8]) -> Result<Self, UnitError> {
        let json: Json = serde_json::from_slice(bytes).map_err(|error| UnitError::Json {
            problem: super::problem_of_json(&error),
            line: error.line(),
            column: error.column(),
        })?;
        Self::from_json(json)
    }

    /// The same, of what was read before.
    pub fn from_json(mut json: Json) -> Result<Self, UnitError> {
        let mut entries = Vec::new();
        match resource_type(&json) {
            None => return Err(UnitError::NoResource { place: "the document".to_owned() }),
            Some("Bundle") => {
                let list = json.get_mut("entry").and_then(Json::as_array_mut).map(std::mem::take).unwrap_or_default();
                if list.len() > MAXIMUM_RESOURCES {
                    return Err(UnitError::TooMany);
                }
                for (index, mut entry) in list.into_iter().enumerate() {
                    let full_url = entry.get("fullUrl").and_then(Json::as_str).map(str::to_owned);
                    let Some(resource) = entry.get_mut("resource").map(Json::take) else { continue };
                    if resource_type(&resource).is_none() {
                        return Err(UnitError::NoResource { place: format!("Bundle.entry[{index}].resource") });
                    }
                    entries.push(Entry::new(resource, full_url));
                }
            }
            Some(_) => entries.push(Entry::new(json, None)),
        }
        if entries.is_empty() {
            return Err(UnitError::Empty);
        }
        let mut unit = Self { entries, places: HashMap::new() };
        unit.index();
        Ok(unit)
    }

    fn index(&mut self) {
        let mut places: HashMap<String, Option<usize>> = HashMap::with_capacity(self.entries.len());
        for (index, entry) in self.entries.iter().enumerate() {
            let local = entry.local_reference();
            let named = entry.full_url.iter().cloned().chain(local);
            for name in named {
                places
                    .entry(name)
                    // The same resource twice, as a history has it: the first is the newest.
                    .and_modify(|place| {
                        let same =
                            place.and_then(|place| self.entries.get(place)).is_some_and(|first| first.is_same(entry));
                        if !same {
                            *place = None;
                        }
                    })
                    .or_insert(Some(index));
            }
        }
        self.places = places;
    }

    /// The focal resource.
    pub fn focal(&self) -> Resource<'_> {
        Resource { unit: self, index: 0 }
    }

    /// All resources, the focal one first.
    pub fn resources(&self) -> impl ExactSizeIterator<Item = Resource<'_>> {
        (0..self.entries.len()).map(|index| Resource { unit: self, index })
    }

    /// The patient that the unit is about: the focal resource; else the one that its `subject`, `patient` or `beneficiary` names;
    /// else the one patient among its participants; else the only one there is. Whoever is named is never replaced by another:
    /// `None` if the unit does not hold them, or holds several.
    pub fn patient(&self) -> Option<Resource<'_>> {
        let is_patient = |resource: &Resource<'_>| resource.type_name() == "Patient";
        let focal = self.focal();
        if is_patient(&focal) {
            return Some(focal);
        }
        let led_to = |reference: &str| match self.resolve(focal, reference) {
            Some(Resolved::Resource(resource)) => Some(resource).filter(is_patient),
            _ => None,
        };
        let text = |reference: &'_ Json| reference.get("reference").and_then(Json::as_str).map(str::to_owned);
        let json = focal.json();
        if let Some(named) = ["subject", "patient", "beneficiary"].into_iter().find_map(|name| json.get(name)) {
            if let Some(reference) = text(named) {
                return led_to(&reference);
            }
            if let Some(identifier) = named.get("identifier") {
                return only(self.resources().filter(is_patient).filter(|patient| bears(patient.json(), identifier)));
            }
        }
        let participants = json.get("participant").and_then(Json::as_array).into_iter().flatten();
        let named: Vec<String> = participants.filter_map(|participant| text(participant.get("actor")?)).collect();
        let is_named = |reference: &String| led_to(reference).is_some() || reference.contains("Patient/");
        if named.iter().any(is_named) {
            let mut patients = named.iter().filter(|reference| is_named(reference)).map(|reference| led_to(reference));
            let first = patients.next().flatten()?;
            return patients.all(|patient| patient == Some(first)).then_some(first);
        }
        only(self.resources().filter(is_patient))
    }

    /// What a reference in a resource leads to, inside the unit.
    pub(super) fn resolve<'u>(&'u self, home: Resource<'u>, reference: &str) -> Option<Resolved<'u>> {
        if let Some(id) = reference.strip_prefix('#') {
            if id.is_empty() {
                return Some(Resolved::Resource(home));
            }
            let contained = home.json().get("contained")?.as_array()?;
            let mut found = contained.iter().filter(|resource| resource.get("id").and_then(Json::as_str) == Some(id));
            return match (found.next(), found.next()) {
                (Some(json), None) => Some(Resolved::Contained(json)),
                _ => None,
            };
        }
        let reference = reference.split_once("/_history/").map_or(reference, |(reference, _)| reference);
        // A relative reference is meant on the server of the resource that has it.
        let full = home.base().filter(|_| is_local(reference)).map(|base| format!("{base}/{reference}"));
        let known = full.and_then(|full| self.places.get(&full)).or_else(|| self.places.get(reference));
        let place = match known {
            Some(place) => *place,
            None => self.elsewhere(home, reference),
        }?;
        Some(Resolved::Resource(Resource { unit: self, index: place }))
    }

    /// An absolute URL of an entry without a full URL. On another server the same id is another resource.
    fn elsewhere(&self, home: Resource<'_>, reference: &str) -> Option<usize> {
        let (base, local) = split_base(reference)?;
        let place = self.places.get(local).copied().flatten()?;
        let full_url = self.entry(place)?.full_url.as_deref();
        (full_url.is_none() && home.base().is_none_or(|own| own == base)).then_some(place)
    }

    fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }
}

/// What a reference leads to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Resolved<'u> {
    /// A resource of the unit.
    Resource(Resource<'u>),
    /// A resource inside the one that refers to it.
    Contained(&'u Json),
}

impl Entry {
    fn new(json: Json, full_url: Option<String>) -> Self {
        let kind = resource_type(&json).and_then(|name| Dictionary::standard().named(name));
        Self { json, full_url, kind }
    }

    /// `Patient/1`, by its id or by what its full URL ends with.
    fn local_reference(&self) -> Option<String> {
        let name = resource_type(&self.json)?;
        if let Some(id) = self.json.get("id").and_then(Json::as_str) {
            return Some(format!("{name}/{id}"));
        }
        let (_, local) = split_base(self.full_url.as_deref()?)?;
        local.split('/').next().filter(|kind| *kind == name).map(|_| local.to_owned())
    }

    fn is_same(&self, other: &Self) -> bool {
        self.local_reference() == other.local_reference()
            && (self.full_url == other.full_url || self.full_url.is_none() || other.full_url.is_none())
    }
}

impl<'u> Resource<'u> {
    /// Its content.
    pub fn json(self) -> &'u Json {
        self.unit.entry(self.index).map_or(&Json::Null, |entry| &entry.json)
    }

    /// `Patient`
    pub fn type_name(self) -> &'u str {
        resource_type(self.json()).unwrap_or_default()
    }

    /// The type, if the dictionary names it.
    pub fn kind(self) -> Option<TypeId> {
        self.unit.entry(self.index)?.kind
    }

    /// Its id on its server.
    pub fn id(self) -> Option<&'u str> {
        self.json().get("id")?.as_str()
    }

    /// Where it was read, if the Bundle says so.
    pub fn full_url(self) -> Option<&'u str> {
        self.unit.entry(self.index)?.full_url.as_deref()
    }

    /// The server's address, as the full URL has it.
    fn base(self) -> Option<&'u str> {
        split_base(self.full_url()?).map(|(base, _)| base)
    }

    /// The unit that it is part of.
    pub fn unit(self) -> &'u Unit {
        self.unit
    }
}

impl PartialEq for Resource<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.unit, other.unit) && self.index == other.index
    }
}

/// The only one.
fn only<'u>(mut resources: impl Iterator<Item = Resource<'u>>) -> Option<Resource<'u>> {
    let first = resources.next()?;
    resources.next().is_none().then_some(first)
}

/// Whether a resource has an identifier of this system and value.
fn bears(json: &Json, identifier: &Json) -> bool {
    let same = |other: &Json| ["system", "value"].into_iter().all(|name| other.get(name) == identifier.get(name));
    identifier.get("value").is_some() && json.get("identifier").and_then(Json::as_array).into_iter().flatten().any(same)
}

/// `Patient/1`
fn is_local(reference: &str) -> bool {
    reference.split('/').count() == 2
}

/// `https://server/fhir` and `Patient/1` of a whole URL; none of what is no URL, as `urn:uuid:…`.
fn split_base(url: &str) -> Option<(&str, &str)> {
    let (before, _) = url.rsplit_once('/')?;
    let (base, _) = before.rsplit_once('/')?;
    base.contains("://").then(|| url.split_at(base.len())).map(|(base, local)| (base, local.trim_start_matches('/')))
}

pub(super) fn resource_type(json: &Json) -> Option<&str> {
    json.get("resourceType")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(entries: &[&str]) -> Unit {
        let entries: Vec<String> = entries.iter().map(|entry| format!("{{{entry}}}")).collect();
        let bundle = format!(r#"{{"resourceType": "Bundle", "entry": [{}]}}"#, entries.join(","));
        Unit::parse(bundle.as_bytes()).unwrap()
    }

    fn resolved(unit: &Unit, reference: &str) -> Option<usize> {
        match unit.resolve(unit.focal(), reference)? {
            Resolved::Resource(resource) => Some(resource.index),
            Resolved::Contained(_) => None,
        }
    }

    #[test]
    fn what_is_no_unit_is_refused_without_its_content() {
        let problem = |text: &str| Unit::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(problem("{\"resourceType\": \"Pat"), "this is not JSON: it ends too early at line 1 column 21");
        assert_eq!(problem("MSH|^~"), "this is not JSON: a syntax error at line 1 column 1");
        assert_eq!(problem("[]"), "the document is no FHIR resource: it has no `resourceType`");
        assert_eq!(
            problem(r#"{"resourceType": "Bundle", "entry": [{"request": {"method": "DELETE"}}]}"#),
            "the Bundle holds no resource"
        );
        let nested = r#"{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}, {"resource": {"id": "1"}}]}"#;
        assert_eq!(problem(nested), "Bundle.entry[1].resource is no FHIR resource: it has no `resourceType`");
        assert!(problem(&"[".repeat(100_000)).starts_with("this is not JSON"));
    }

    #[test]
    fn a_reference_leads_to_the_resource_that_it_names_and_to_no_other() {
        let unit = unit(&[
            r#""fullUrl": "https://a/fhir/Encounter/1", "resource": {"resourceType": "Encounter", "id": "1"}"#,
            r#""fullUrl": "https://a/fhir/Patient/1", "resource": {"resourceType": "Patient", "id": "1"}"#,
            r#""fullUrl": "https://b/fhir/Patient/1", "resource": {"resourceType": "Patient", "id": "1"}"#,
            r#""fullUrl": "urn:uuid:2", "resource": {"resourceType": "Patient"}"#,
            r#""resource": {"resourceType": "Patient", "id": "3"}"#,
        ]);
        // A relative reference is meant on the server of the one who refers.
        assert_eq!(resolved(&unit, "Patient/1"), Some(1));
        assert_eq!(resolved(&unit, "Patient/1/_history/7"), Some(1));
        assert_eq!(resolved(&unit, "https://b/fhir/Patient/1"), Some(2));
        assert_eq!(resolved(&unit, "https://c/fhir/Patient/1"), None);
        assert_eq!(resolved(&unit, "urn:uuid:2"), Some(3));
        assert_eq!(resolved(&unit, "Patient/3"), Some(4));
        assert_eq!(resolved(&unit, "https://a/fhir/Patient/3"), Some(4));
        assert_eq!(resolved(&unit, "https://b/fhir/Patient/3"), None);
        for reference in ["", "#", "#x", "Patient/", "Patient", "/", "//", "urn:uuid:9", "Patient?identifier=1"] {
            assert!(resolved(&unit, reference).is_none_or(|found| found == 0), "{reference}");
        }
    }

    #[test]
    fn two_resources_of_one_name_are_told_apart_or_not_taken() {
        let unit = unit(&[
            r#""fullUrl": "urn:uuid:1", "resource": {"resourceType": "Encounter", "id": "1"}"#,
            r#""fullUrl": "https://a/fhir/Patient/1", "resource": {"resourceType": "Patient", "id": "1"}"#,
            r#""fullUrl": "https://b/fhir/Patient/1", "resource": {"resourceType": "Patient", "id": "1"}"#,
        ]);
        assert_eq!(resolved(&unit, "Patient/1"), None);
        assert_eq!(resolved(&unit, "https://a/fhir/Patient/1"), Some(1));
    }

    #[test]
    fn the_patient_is_the_one_who_is_named_and_nobody_instead() {
        let patient = |focal: &str| {
            let unit = unit(&[
                &format!(r#""resource": {focal}"#),
                r#""resource": {"resourceType": "Patient", "id": "1", "identifier": [{"system": "a", "value": "7"}]}"#,
            ]);
            unit.patient().and_then(|patient| patient.id().map(str::to_owned))
        };
        let one = Some("1".to_owned());
        assert_eq!(patient(r#"{"resourceType": "Encounter", "subject": {"reference": "Patient/1"}}"#), one);
        assert_eq!(patient(r#"{"resourceType": "Coverage", "beneficiary": {"reference": "Patient/1"}}"#), one);
        let appointment = r#"{"resourceType": "Appointment", "participant": [{"actor": {"reference": "Practitioner/9"}}, {"actor": {"reference": "Patient/1"}}]}"#;
        assert_eq!(patient(appointment), one);
        assert_eq!(patient(r#"{"resourceType": "Patient", "id": "2"}"#), Some("2".to_owned()));
        assert_eq!(patient(r#"{"resourceType": "Encounter"}"#), one);
        assert_eq!(patient(r#"{"resourceType": "Encounter", "subject": {"reference": "Patient/2"}}"#), None);
        assert_eq!(patient(r#"{"resourceType": "Encounter", "subject": {"reference": "urn:uuid:2"}}"#), None);
        assert_eq!(patient(r#"{"resourceType": "Encounter", "subject": {"reference": "Group/2"}}"#), None);
        assert_eq!(patient(r#"{"resourceType": "Encounter", "subject": {"display": "somebody"}}"#), one);
        let named = |system: &str| {
            patient(&format!(
                r#"{{"resourceType": "Encounter", "subject": {{"identifier": {{"system": "{system}", "value": "7"}}}}}}"#
            ))
        };
        assert_eq!((named("a"), named("b")), (one, None));
        let two = r#"{"resourceType": "Appointment", "participant": [{"actor": {"reference": "Patient/1"}}, {"actor": {"reference": "Patient/2"}}]}"#;
        assert_eq!(patient(two), None);
    }
}
