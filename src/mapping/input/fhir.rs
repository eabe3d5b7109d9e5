//! Resources of FHIR as a mapping reads them: FHIRPath for paths and conditions, nodes of resources for values.
//!
//! A path of a record's `each` opens its resource; what it finds in other units, such as `Encounter` in that of a report, where the
//! Encounter only says which visit it was, opens nothing unless the path says more than the type.

mod choice;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde_json::Value as Json;

use super::{Resolved, Value, Within};
use crate::fhir::{Node, Path, PathError, Remark, Resource, Scope, Truth, Types, Unit, compose};
use crate::mapping::coerce::fhir::text;

/// A FHIRPath of a mapping file.
#[derive(Debug, Clone)]
pub(crate) struct ElementPath {
    path: Path,
    /// What stands before the first `.resolve()`: where there is something there and nothing behind, a reference leads out of the unit.
    reference: Option<Path>,
    /// Why there is no value, where the server says so.
    absent_reason: Option<Path>,
    /// It is the name of a resource type and no more.
    is_type: bool,
    is_condition: bool,
}

/// What paths are relative to: nodes of these types.
#[derive(Debug, Clone)]
pub(crate) struct ElementTypes {
    types: Types,
    /// The focal type whose resource a record's `each` has opened.
    opened: Option<&'static str>,
}

/// What a FHIRPath is asked of.
#[derive(Debug, Clone)]
pub(crate) enum ElementScope<'m> {
    /// A unit as a whole.
    Unit(Scope<'m>),
    /// Something in it.
    Element(Scope<'m>),
}

/// What a FHIRPath leads to.
#[derive(Debug, Clone)]
pub(crate) struct Element<'m>(Node<'m>);

impl Within {
    /// The focal type whose resource the block of the record has opened, if it is known.
    pub(crate) fn opened(&self) -> Option<&'static str> {
        match self {
            Self::Elements(elements) => elements.opened,
            Self::Message => None,
        }
    }
}

/// A Reference that leads to nothing in the unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostReference {
    /// Where it stands: `Encounter.participant[0].individual`.
    pub element: String,
    /// What it names: `Practitioner/9`, or an identifier.
    pub names: String,
}

const RESOLVE: &str = ".resolve()";
const ABSENT_REASON: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

impl ElementTypes {
    /// The focal resource, of whichever type.
    pub(crate) fn focal() -> Self {
        let all = compose::FOCAL.into_iter().filter_map(Types::resource).reduce(|all, next| all.or(&next));
        Self { types: all.unwrap_or_else(Types::any), opened: None }
    }

    /// Anything.
    pub(crate) fn any() -> Self {
        Self { types: Types::any(), opened: None }
    }
}

fn types(within: &Within) -> Types {
    match within {
        Within::Elements(elements) => elements.types.clone(),
        Within::Message => Types::any(),
    }
}

impl ElementPath {
    /// Compiles a path that is asked of these types.
    pub(crate) fn parse(source: &str, within: &Within) -> Result<Self, PathError> {
        let types = types(within);
        let path = Path::parse_in(source, &types)?;
        let before = source.find(RESOLVE).map(|end| source[..end].trim_start_matches('('));
        // In parentheses or a function it is not a path of its own: then nothing is known of the reference.
        let reference = before.and_then(|before| Path::parse_in(before, &types).ok());
        let is_type = Types::resource(source.trim()).is_some();
        let reason = format!("({source}).first().extension('{ABSENT_REASON}').value");
        let absent_reason = Path::parse_in(&reason, &types).ok();
        Ok(Self { path, reference, absent_reason, is_type, is_condition: false })
    }

    /// The path that was probably meant by one that is none, as far as its problems name what was meant.
    pub(crate) fn meant_by(source: &str, within: &Within) -> Option<Self> {
        let mut source = source.to_owned();
        // One slip, or two.
        for _ in 0..2 {
            match Self::parse(&source, within) {
                Ok(path) => return Some(path),
                Err(problem) => {
                    let place = problem.offset..problem.offset + problem.length;
                    source.get(place.clone())?;
                    source.replace_range(place, &problem.meant?);
                }
            }
        }
        Self::parse(&source, within).ok()
    }

    /// Compiles a condition that is asked of these types.
    pub(crate) fn condition(source: &str, within: &Within) -> Result<Self, PathError> {
        let path = Path::condition_in(source, &types(within))?;
        Ok(Self { path, reference: None, absent_reason: None, is_type: false, is_condition: true })
    }

    /// What paths inside its nodes are relative to.
    pub(crate) fn inside(&self, outer: &Within) -> Within {
        let before = match outer {
            Within::Elements(elements) => elements.opened,
            Within::Message => None,
        };
        let named = compose::FOCAL.into_iter().find(|focal| self.is_type && *focal == self.path.source().trim());
        Within::Elements(ElementTypes { types: self.path.types().clone().each(), opened: before.or(named) })
    }

    /// Whether it was compiled as a condition.
    pub(crate) fn is_condition(&self) -> bool {
        self.is_condition
    }

    /// What it says that was hardly meant so.
    pub(crate) fn remarks(&self) -> &[Remark] {
        self.path.remarks()
    }

    /// The types of resources that it asks of the unit by name, and where (bytes).
    pub(crate) fn roots(&self) -> impl Iterator<Item = (&'static str, Range<usize>)> {
        self.path.roots()
    }

    /// The codes that it may lead to; `None`: any text.
    pub(crate) fn codes(&self) -> Option<Vec<&'static str>> {
        Some(self.path.types().codes()?.iter().copied().collect())
    }

    /// The names of the types that it may lead to; `None`: others as well.
    pub(crate) fn types(&self) -> Option<Vec<String>> {
        let types = self.path.types();
        (!types.is_open()).then(|| types.type_names().into_iter().map(str::to_owned).collect())
    }

    /// Whether it leads to elements that are texts, and what they are is said by their names: not by `value`, nor computed.
    pub(crate) fn is_named_text(&self) -> bool {
        self.path.types().are_named_texts()
    }

    /// The elements that it asks for: `Patient.name.given`.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &str> {
        self.path.mentioned()
    }

    /// The elements that it leads to. Resources are none: nobody makes something of a whole one.
    pub(crate) fn results(&self) -> impl Iterator<Item = &str> {
        self.path.types().paths().filter(|path| path.contains('.'))
    }

    /// The references on its way that lead out of the unit.
    pub(crate) fn lost(&self, scope: &ElementScope<'_>) -> Vec<LostReference> {
        let Some(Ok(references)) = self.reference.as_ref().map(|path| path.evaluate(scope.inner())) else {
            return Vec::new();
        };
        references.iter().filter_map(|node| Element(node.clone()).lost()).collect()
    }

    /// The first value; none where the path cannot be answered.
    pub(crate) fn resolve<'m>(&'m self, scope: &ElementScope<'m>) -> Resolved<'m> {
        match self.path.first(scope.inner()) {
            Ok(Some(node)) if is_without_value(&node) => match self.is_withheld(scope) {
                true => Resolved::Withheld,
                false => Resolved::Absent,
            },
            Ok(Some(node)) => Resolved::Value(Value::Fhir(Element(node))),
            Ok(None) if self.leads_out(scope) => Resolved::Withheld,
            Ok(None) => Resolved::Absent,
            Err(_) => Resolved::Withheld,
        }
    }

    /// Whether the server says that there may be a value, which it does not show.
    fn is_withheld(&self, scope: &ElementScope<'_>) -> bool {
        /// Codes of <http://terminology.hl7.org/CodeSystem/data-absent-reason> by which a value exists, or may.
        const WITHHELD: &[&str] = &["masked", "not-permitted", "temp-unknown", "unsupported", "error", "as-text"];
        let Some(reason) = &self.absent_reason else { return false };
        let reasons = reason.evaluate(scope.inner()).unwrap_or_default();
        reasons.iter().filter_map(Node::text).any(|reason| WITHHELD.contains(&&*reason))
    }

    fn leads_out(&self, scope: &ElementScope<'_>) -> bool {
        let Some(reference) = &self.reference else { return false };
        let Ok(references) = reference.evaluate(scope.inner()) else { return true };
        references.iter().any(|node| {
            let element = Element(node.clone());
            element.json().is_some_and(|json| element.referred(json).is_none())
        })
    }

    /// All values.
    pub(crate) fn values<'m>(&'m self, scope: &ElementScope<'m>) -> Vec<Element<'m>> {
        let found = self.path.evaluate(scope.inner()).unwrap_or_default();
        found.into_iter().filter(|node| !is_without_value(node)).map(Element).collect()
    }

    /// Why it has no answer in this scope; says nothing of what the resource holds.
    pub(crate) fn trouble(&self, scope: &ElementScope<'_>) -> Option<String> {
        let of_condition = || match self.path.truth(scope.inner()) {
            Truth::Unclear(fault) => Some(fault),
            Truth::True | Truth::False => None,
        };
        let fault = if self.is_condition { of_condition() } else { self.path.evaluate(scope.inner()).err() };
        fault.map(|fault| format!("{}: {} cannot be answered: {fault}", scope.location(), self.path))
    }

    /// Whether the condition holds; one that cannot be answered does not.
    pub(crate) fn holds(&self, scope: &ElementScope<'_>) -> bool {
        self.path.truth(scope.inner()).holds()
    }
}

impl fmt::Display for ElementPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(formatter)
    }
}

impl<'m> ElementScope<'m> {
    pub(crate) fn whole(unit: &'m Unit) -> Self {
        Self::Unit(Scope::focal(unit))
    }

    fn inner(&self) -> &Scope<'m> {
        match self {
            Self::Unit(scope) | Self::Element(scope) => scope,
        }
    }

    /// The scopes that `each` opens: for the name of a type, of a record, the focal resource or the patient of the unit.
    pub(crate) fn each(&self, path: &'m ElementPath) -> Vec<Self> {
        if let (Self::Unit(scope), true) = (self, path.is_type) {
            let name = path.path.source().trim();
            let focal = scope.unit().focal();
            let resource = if focal.type_name() == name {
                Some(focal)
            } else if name == "Patient" {
                scope.unit().patient()
            } else {
                None
            };
            return resource.map(Scope::resource).map(Self::Element).into_iter().collect();
        }
        path.values(self).into_iter().map(|Element(node)| Self::Element(self.inner().inside(node))).collect()
    }

    /// The place of the Observation that this is in.
    pub(crate) fn observation(&self) -> Option<usize> {
        let home = self.inner().focus().home().filter(|home| home.type_name() == "Observation")?;
        self.inner().unit().resources().position(|resource| resource == home)
    }

    /// `Patient.identifier[0]`
    pub(crate) fn location(&self) -> String {
        located(self.inner().focus()).unwrap_or_else(|| self.inner().unit().focal().type_name().to_owned())
    }
}

impl<'m> Element<'m> {
    /// The JSON of it; `None` of what was computed.
    pub(crate) fn json(&self) -> Option<&'m Json> {
        self.0.json()
    }

    /// The type, as far as it is known: `HumanName`.
    pub(crate) fn type_name(&self) -> &'static str {
        self.0.type_name().unwrap_or_default()
    }

    /// The resource that a Reference in it leads to, inside the unit.
    pub(crate) fn referred(&self, reference: &Json) -> Option<&'m Json> {
        let reference = reference.get("reference").and_then(Json::as_str)?;
        self.0.home()?.referred(reference)
    }

    /// What it names, if it is a Reference that leads out of the unit.
    pub(crate) fn lost(&self) -> Option<LostReference> {
        let json = self.json()?;
        let names = names(json).filter(|_| self.referred(json).is_none())?;
        Some(LostReference { element: self.location(), names })
    }

    /// What was computed, as text.
    pub(crate) fn computed(&self) -> Option<String> {
        self.0.text().map(|text| text.trim().to_owned())
    }

    /// See [`text`].
    pub(crate) fn text(&self) -> Cow<'m, str> {
        text(self)
    }

    /// As sent: a text, or its JSON.
    pub(crate) fn raw(&self) -> Cow<'m, str> {
        match self.json() {
            Some(Json::String(text)) => Cow::Borrowed(text),
            Some(json) => Cow::Owned(json.to_string()),
            None => Cow::Owned(self.0.text().map(Cow::into_owned).unwrap_or_default()),
        }
    }

    /// `Encounter.identifier[0].value`
    pub(crate) fn location(&self) -> String {
        located(&self.0).unwrap_or_else(|| "computed".to_owned())
    }
}

/// Where a node is; with the id of its resource, where the unit has several of the type: `Observation/7.code`.
fn located(node: &Node<'_>) -> Option<String> {
    let (location, home) = (node.location()?, node.home()?);
    Some(format!("{}{}", called(home), location.strip_prefix(home.type_name()).unwrap_or_default()))
}

/// A resource by its type; where the unit has several of the type, by its id too.
fn called(resource: Resource<'_>) -> String {
    let name = resource.type_name();
    let mut alike = resource.unit().resources().filter(|other| other.type_name() == name);
    if alike.nth(1).is_none() { name.to_owned() } else { resource.name() }
}

/// What a Reference names.
fn names(reference: &Json) -> Option<String> {
    let text = reference.get("reference").and_then(Json::as_str).map(str::to_owned);
    text.or_else(|| {
        let identifier = reference.get("identifier")?;
        let [system, value] = ["system", "value"].map(|name| identifier.get(name).and_then(Json::as_str));
        Some(format!("the identifier {}|{}", system.unwrap_or_default(), value?))
    })
}

/// The references in a unit that lead to nothing in it, although what they name would belong to it.
pub(super) fn lost(unit: &Unit) -> Vec<LostReference> {
    let mut found = Vec::new();
    for resource in unit.resources() {
        collect_lost(resource, resource.json(), &called(resource), &mut found);
    }
    found
}

/// serde_json bounds the depth.
fn collect_lost(home: Resource<'_>, json: &Json, place: &str, found: &mut Vec<LostReference>) {
    match json {
        Json::Object(members) => {
            for (name, value) in members {
                match value.as_str().filter(|_| name == "reference") {
                    Some(reference) => {
                        if belongs(home, reference) && home.referred(reference).is_none() {
                            found.push(LostReference { element: place.to_owned(), names: reference.to_owned() });
                        }
                    }
                    None => collect_lost(home, value, &format!("{place}.{name}"), found),
                }
            }
        }
        Json::Array(items) => {
            let place = |index: usize| format!("{place}[{index}]");
            items.iter().enumerate().for_each(|(index, item)| collect_lost(home, item, &place(index), found));
        }
        _ => {}
    }
}

/// Whether what a reference names would be in the unit if it were known. Of a name without a type nobody can tell.
fn belongs(home: Resource<'_>, reference: &str) -> bool {
    let reference = reference.split_once("/_history/").map_or(reference, |(reference, _)| reference);
    let kind = reference.rsplit('/').nth(1).filter(|kind| kind.starts_with(|letter: char| letter.is_ascii_uppercase()));
    let is_focal = home == home.unit().focal();
    match kind {
        Some(kind) => compose::is_part(home.type_name(), is_focal, kind),
        None => reference.starts_with('#') || compose::has_parts(home.type_name(), is_focal),
    }
}

/// A primitive without a value, or an element of extensions alone.
fn is_without_value(node: &Node<'_>) -> bool {
    match node.json() {
        None | Some(Json::Null) => !node.has_value(),
        Some(Json::Object(members)) => members.keys().all(|name| name == "extension" || name == "id"),
        Some(_) => false,
    }
}

/// The places of the Observations of a unit.
pub(super) fn observations(unit: &Unit) -> Vec<usize> {
    let is_observation = |resource: Resource<'_>| resource.type_name() == "Observation";
    unit.resources().enumerate().filter(|(_, resource)| is_observation(*resource)).map(|(place, _)| place).collect()
}

/// What a resource of a unit is called: `Observation/1`.
pub(super) fn location_of(unit: &Unit, place: usize) -> Option<String> {
    Some(unit.resources().nth(place)?.name())
}
