//! What FHIR STU3, R4, R4B and R5 say that there is: the elements of the resources that Heyi reads, of the data types in them, and
//! the names of all other types. All versions are taken together: an element that one of them has is an element.
//!
//! The facts are the files beside this one, made by `tools/fhir_dictionary.py`. A resource type that is named there without
//! elements is known, and its content is not checked. Codes are those of elements that every version binds to a closed list
//! (<https://hl7.org/fhir/R4/terminologies.html#required>).

use std::collections::HashMap;
use std::sync::LazyLock;

/// All versions together.
static STANDARD: LazyLock<Dictionary> =
    LazyLock::new(|| Dictionary::read(include_str!("dictionary/elements.tsv"), include_str!("dictionary/codes.tsv")));

/// A FHIR type, backbone element (`Patient.contact`) or System type of FHIRPath.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(u16);

/// The types of FHIRPath itself, in this order at the start of the table.
const SYSTEM: [&str; 8] = [
    "System.Boolean",
    "System.String",
    "System.Integer",
    "System.Decimal",
    "System.Date",
    "System.DateTime",
    "System.Time",
    "System.Quantity",
];

/// Types of which nothing is by itself.
const ABSTRACT: [&str; 6] = ["Resource", "DomainResource", "Element", "BackboneElement", "Base", "DataType"];

/// How the JSON of a primitive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// No primitive, or not known.
    Complex,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Decimal,
    /// Text.
    String,
    /// A date, perhaps partial.
    Date,
    /// A date, perhaps with a time of day.
    DateTime,
    /// A time of day.
    Time,
    /// FHIR's Quantity and what is made from it.
    Quantity,
}

/// Types and their elements.
#[derive(Debug)]
pub struct Dictionary {
    types: Vec<TypeFacts>,
    names: HashMap<&'static str, TypeId>,
    /// Every element of a name: the types that have it themselves, sorted.
    elements: HashMap<&'static str, Vec<(TypeId, Element)>>,
}

#[derive(Debug)]
struct TypeFacts {
    name: &'static str,
    parent: Option<TypeId>,
    shape: Shape,
    is_checked: bool,
    /// Something of this type is always of another type that is made from it.
    is_abstract: bool,
    own: Vec<&'static str>,
}

/// One element of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Written in JSON as the name followed by the type, as `valueQuantity`.
    pub is_choice: bool,
    /// It may repeat in some version.
    pub repeats: bool,
    /// It may repeat in every version that has it.
    pub always_repeats: bool,
    /// In some version it has one of these types.
    pub types: Vec<TypeId>,
    /// The resources that a reference may lead to; empty: any, or it is no reference.
    pub targets: Vec<TypeId>,
    /// The codes that it may have, those of all versions; empty: any.
    pub codes: Vec<&'static str>,
}

impl TypeId {
    pub(super) const BOOLEAN: Self = Self(0);
    pub(super) const STRING: Self = Self(1);
    pub(super) const INTEGER: Self = Self(2);
    pub(super) const DECIMAL: Self = Self(3);
    pub(super) const DATE: Self = Self(4);
    pub(super) const DATE_TIME: Self = Self(5);
    pub(super) const TIME: Self = Self(6);
    pub(super) const QUANTITY: Self = Self(7);

    /// Whether this is a type of FHIRPath itself and not one of FHIR.
    pub fn is_system(self) -> bool {
        usize::from(self.0) < SYSTEM.len()
    }

    /// The name of the type: `HumanName`, `Patient.contact`, `System.Boolean`.
    pub fn name(self) -> &'static str {
        STANDARD.facts(self).map_or("", |facts| facts.name)
    }
}

impl Dictionary {
    /// The standard's.
    pub fn standard() -> &'static Self {
        &STANDARD
    }

    fn read(text: &'static str, codes: &'static str) -> Self {
        let lines = || facts_of(text);
        let codes: HashMap<&str, &'static str> = facts_of(codes).filter_map(|line| line.split_once('\t')).collect();
        let mut dictionary = Self { types: Vec::new(), names: HashMap::new(), elements: HashMap::new() };
        for name in SYSTEM {
            dictionary.add(name);
        }
        for line in lines() {
            dictionary.add(columns(line).0);
        }
        for line in lines() {
            let (structure, parent, elements) = columns(line);
            let Some(holder) = dictionary.named(structure) else { continue };
            let parent = dictionary.named(parent);
            let mut own = Vec::new();
            for word in elements.split(' ').filter(|word| !word.is_empty()) {
                let Some((name, mut element)) = dictionary.element(word) else { continue };
                let bound = codes.get(format!("{structure}.{name}").as_str());
                element.codes = bound.map_or_else(Vec::new, |codes| codes.split(' ').collect());
                own.push(name);
                dictionary.elements.entry(name).or_default().push((holder, element));
            }
            if let Some(facts) = dictionary.types.get_mut(usize::from(holder.0)) {
                facts.parent = parent;
                facts.is_abstract = ABSTRACT.contains(&structure);
                facts.is_checked = !own.is_empty() || structure.contains('.');
                facts.own = own;
            }
        }
        dictionary.merge();
        for index in 0..dictionary.types.len() {
            let id = TypeId(u16::try_from(index).unwrap_or(u16::MAX));
            let shape = dictionary.lineage(id).find_map(|kind| shape_of(dictionary.facts(kind)?.name));
            // A primitive has no elements but those of every element.
            if let (Some(shape), Some(facts)) = (shape, dictionary.types.get_mut(index)) {
                facts.shape = shape;
                facts.is_checked |= shape != Shape::Complex;
            }
        }
        dictionary
    }

    fn add(&mut self, name: &'static str) {
        let id = TypeId(u16::try_from(self.types.len()).unwrap_or(u16::MAX));
        self.types.push(TypeFacts {
            name,
            parent: None,
            shape: Shape::Complex,
            is_checked: false,
            is_abstract: false,
            own: Vec::new(),
        });
        self.names.insert(name, id);
    }

    /// `value[x]*:Quantity|Reference(Patient,Group)`; with two stars it repeats in every version
    fn element(&self, word: &'static str) -> Option<(&'static str, Element)> {
        let (name, kinds) = word.split_once(':')?;
        let (name, repeats) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
        let (name, always_repeats) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
        let (name, is_choice) = name.strip_suffix("[x]").map_or((name, false), |name| (name, true));
        let mut element =
            Element { is_choice, repeats, always_repeats, types: Vec::new(), targets: Vec::new(), codes: Vec::new() };
        for kind in kinds.split('|') {
            let (kind, targets) = kind.split_once('(').unwrap_or((kind, ""));
            element.types.extend(self.named(kind));
            let targets = targets.trim_end_matches(')').split(',');
            element.targets.extend(targets.filter_map(|target| self.named(target)));
        }
        Some((name, element))
    }

    /// An element that is a choice in one version and not in another is written in two words.
    fn merge(&mut self) {
        for entries in self.elements.values_mut() {
            entries.sort_by_key(|(holder, element)| (*holder, element.is_choice));
            entries.dedup_by(|(holder, next), (kept, first)| {
                let same = holder == kept;
                if same {
                    first.is_choice |= next.is_choice;
                    first.repeats |= next.repeats;
                    first.always_repeats &= next.always_repeats;
                    first.types.append(&mut next.types);
                    first.targets.append(&mut next.targets);
                }
                same
            });
        }
    }

    fn facts(&self, id: TypeId) -> Option<&TypeFacts> {
        self.types.get(usize::from(id.0))
    }

    /// The type of this name: `Patient`, `Patient.contact`, `string`, `System.String`.
    pub fn named(&self, name: &str) -> Option<TypeId> {
        self.names.get(name).copied()
    }

    /// The names of all types.
    pub fn type_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.types.iter().map(|facts| facts.name)
    }

    /// The type, and all that it is made from.
    pub fn lineage(&self, id: TypeId) -> impl Iterator<Item = TypeId> + '_ {
        std::iter::successors(Some(id), |id| self.facts(*id)?.parent)
    }

    /// Whether `id` is `other` or made from it.
    pub fn is_a(&self, id: TypeId, other: TypeId) -> bool {
        self.lineage(id).any(|kind| kind == other)
    }

    /// Whether this is a type of resource.
    pub fn is_resource(&self, id: TypeId) -> bool {
        self.named("Resource").is_some_and(|resource| self.is_a(id, resource))
    }

    /// How the JSON of this type is read.
    pub fn shape(&self, id: TypeId) -> Shape {
        self.facts(id).map_or(Shape::Complex, |facts| facts.shape)
    }

    /// Whether all elements of this type are known, so that another one is a mistake.
    pub fn is_checked(&self, id: TypeId) -> bool {
        self.facts(id).is_some_and(|facts| facts.is_checked && !facts.is_abstract)
    }

    /// Whether something of this type is always of another type that is made from it.
    pub(super) fn is_abstract(&self, id: TypeId) -> bool {
        self.facts(id).is_some_and(|facts| facts.is_abstract)
    }

    /// What a type has under this name.
    pub fn member(&self, id: TypeId, name: &str) -> Option<&Element> {
        self.element_of(self.elements_named(name), id)
    }

    /// Whether any type has an element of this name.
    pub fn has_element(&self, name: &str) -> bool {
        !self.elements_named(name).is_empty()
    }

    /// The types that have an element of this name themselves, sorted.
    pub(super) fn elements_named(&self, name: &str) -> &[(TypeId, Element)] {
        self.elements.get(name).map_or(&[], Vec::as_slice)
    }

    /// The same as [`Dictionary::member`], with what [`Dictionary::elements_named`] gave.
    pub(super) fn element_of<'e>(&self, entries: &'e [(TypeId, Element)], id: TypeId) -> Option<&'e Element> {
        self.lineage(id).find_map(|kind| {
            let index = entries.binary_search_by_key(&kind, |(holder, _)| *holder).ok()?;
            entries.get(index).map(|(_, element)| element)
        })
    }

    /// The names of all elements of a type.
    pub fn members(&self, id: TypeId) -> impl Iterator<Item = &'static str> + '_ {
        self.lineage(id).filter_map(|kind| self.facts(kind)).flat_map(|facts| facts.own.iter().copied())
    }

    /// The type that stands behind the name of a choice in JSON: `Quantity` of `valueQuantity`, `dateTime` of `valueDateTime`.
    pub(super) fn choice_suffix(&self, suffix: &str) -> Option<TypeId> {
        let first = suffix.chars().next().filter(char::is_ascii_uppercase)?;
        self.named(suffix).filter(|id| !self.is_resource(*id)).or_else(|| {
            let mut lower = String::with_capacity(suffix.len());
            lower.push(first.to_ascii_lowercase());
            lower.push_str(suffix.get(1..)?);
            self.named(&lower)
        })
    }
}

/// The lines of a file of facts that say something.
fn facts_of(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

fn columns(line: &'static str) -> (&'static str, &'static str, &'static str) {
    let mut columns = line.split('\t');
    let mut next = || columns.next().unwrap_or_default();
    (next(), next(), next())
}

fn shape_of(name: &str) -> Option<Shape> {
    Some(match name {
        "boolean" | "System.Boolean" => Shape::Boolean,
        "integer" | "integer64" | "System.Integer" => Shape::Integer,
        "decimal" | "System.Decimal" => Shape::Decimal,
        "string" | "uri" | "base64Binary" | "xhtml" | "System.String" => Shape::String,
        "date" | "System.Date" => Shape::Date,
        "dateTime" | "instant" | "System.DateTime" => Shape::DateTime,
        "time" | "System.Time" => Shape::Time,
        "Quantity" | "System.Quantity" => Shape::Quantity,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(holder: &str, member: &str) -> Vec<&'static str> {
        let dictionary = Dictionary::standard();
        let element = dictionary.member(dictionary.named(holder).unwrap(), member).unwrap();
        element.types.iter().map(|id| id.name()).collect()
    }

    #[test]
    fn elements_have_the_types_of_the_standard() {
        assert_eq!(types("Patient", "birthDate"), ["date"]);
        assert_eq!(types("Patient", "contact"), ["Patient.contact"]);
        assert_eq!(types("Patient", "extension"), ["Extension"]);
        assert_eq!(types("Patient.contact", "modifierExtension"), ["Extension"]);
        assert_eq!(types("Encounter", "class"), ["CodeableConcept", "Coding"]);
        assert!(types("Observation", "value").contains(&"Quantity"));
        assert_eq!(types("Duration", "value"), ["decimal"]);
    }

    #[test]
    fn closed_lists_and_repetitions_are_those_of_all_versions() {
        let dictionary = Dictionary::standard();
        let element =
            |holder: &str, member: &str| dictionary.member(dictionary.named(holder).unwrap(), member).unwrap().clone();
        let status = element("Encounter", "status").codes;
        for code in ["triaged", "finished", "discharged", "completed", "unknown"] {
            assert!(status.contains(&code), "{code}");
        }
        assert_eq!(element("Encounter.location", "status").codes, ["planned", "active", "reserved", "completed"]);
        assert!(element("DiagnosticReport", "code").codes.is_empty());
        // A list in R5 only.
        assert_eq!(
            (element("Encounter", "class").repeats, element("Encounter", "class").always_repeats),
            (true, false)
        );
        assert!(element("HumanName", "given").always_repeats && !element("HumanName", "family").repeats);
    }

    #[test]
    fn every_element_with_a_closed_list_is_one_of_the_dictionary() {
        let dictionary = Dictionary::standard();
        for line in facts_of(include_str!("dictionary/codes.tsv")) {
            let (path, codes) = line.split_once('\t').unwrap();
            let (holder, member) = path.rsplit_once('.').unwrap();
            let element = dictionary.member(dictionary.named(holder).unwrap(), member).unwrap();
            assert_eq!(element.codes, codes.split(' ').collect::<Vec<_>>(), "{path}");
        }
    }

    #[test]
    fn all_types_come_from_their_parents() {
        let dictionary = Dictionary::standard();
        let id = |name: &str| dictionary.named(name).unwrap();
        assert!(dictionary.is_a(id("code"), id("string")));
        assert!(dictionary.is_resource(id("Patient")) && !dictionary.is_resource(id("HumanName")));
        assert_eq!(dictionary.shape(id("Age")), Shape::Quantity);
        assert_eq!(dictionary.shape(id("positiveInt")), Shape::Integer);
        assert_eq!(dictionary.shape(id("uuid")), Shape::String);
        assert!(dictionary.is_checked(id("Patient")) && !dictionary.is_checked(id("ValueSet")));
        assert!(!dictionary.is_checked(id("Resource")));
        assert_eq!(dictionary.choice_suffix("DateTime"), Some(id("dateTime")));
        assert_eq!(dictionary.choice_suffix("Quantity"), Some(id("Quantity")));
    }

    #[test]
    fn every_type_that_an_element_has_is_known() {
        for line in include_str!("dictionary/elements.tsv").lines().filter(|line| !line.starts_with('#')) {
            for word in columns(line).2.split(' ').filter(|word| !word.is_empty()) {
                let (_, kinds) = word.split_once(':').unwrap();
                for kind in kinds.split('|') {
                    let kind = kind.split('(').next().unwrap();
                    assert!(Dictionary::standard().named(kind).is_some(), "{word}");
                }
            }
        }
    }
}
