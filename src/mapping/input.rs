//! What a mapping reads, whichever format it comes in: one set of names for messages of HL7 v2 and units of FHIR, so that rules,
//! tables, defaults, conditions, reports and explanations are one code.
//!
//! What only one format knows stays with it: the owners of OBX segments and the patients of a message with HL7 v2, types and
//! references with FHIR.

mod fhir;

use std::borrow::Cow;
use std::fmt;

pub use fhir::LostReference;
pub(crate) use fhir::{Element, ElementPath, ElementScope, ElementTypes};

use super::expression::Expression;
use crate::fhir::Unit;
use crate::hl7v2::{self, Message};

/// The format that a mapping is for: `format = "hl7v2"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Messages of HL7 v2.
    #[default]
    Hl7v2,
    /// Units of FHIR resources.
    Fhir,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Hl7v2, Self::Fhir];

    /// Its name in mapping files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hl7v2 => "hl7v2",
            Self::Fhir => "fhir",
        }
    }
}

/// What a mapping is applied to.
#[derive(Debug, Clone, Copy)]
pub enum Input<'m> {
    /// A message of HL7 v2.
    Message(&'m Message),
    /// A focal resource of FHIR and what belongs to it.
    Unit(&'m Unit),
}

impl Input<'_> {
    /// Its format.
    pub fn format(&self) -> Format {
        match self {
            Self::Message(_) => Format::Hl7v2,
            Self::Unit(_) => Format::Fhir,
        }
    }
}

impl<'m> Input<'m> {
    /// The places of its OBX segments or Observations, each of which ends as stored, skipped or rejected.
    pub(crate) fn observations(&self) -> Vec<usize> {
        match self {
            Self::Message(message) => message.segments_named("OBX").map(|segment| segment.index()).collect(),
            Self::Unit(unit) => fhir::observations(unit),
        }
    }

    /// Where one of them is, by its place.
    pub(crate) fn observation_path(&self, place: usize) -> Option<String> {
        match self {
            Self::Message(message) => Some(message.segment(place)?.location_of(0).to_string()),
            Self::Unit(unit) => fhir::location_of(unit, place),
        }
    }
}

impl Input<'_> {
    /// The references of a unit that lead to nothing in it, although what they name would belong to it.
    pub(crate) fn lost(&self) -> Vec<LostReference> {
        match self {
            Self::Message(_) => Vec::new(),
            Self::Unit(unit) => fhir::lost(unit),
        }
    }
}

impl<'m> From<&'m Message> for Input<'m> {
    fn from(message: &'m Message) -> Self {
        Self::Message(message)
    }
}

impl<'m> From<&'m Unit> for Input<'m> {
    fn from(unit: &'m Unit) -> Self {
        Self::Unit(unit)
    }
}

/// Where something is in what was mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `PID-3[2].1`
    Hl7v2(hl7v2::Location),
    /// `Encounter.identifier[0].value`
    Fhir(String),
}

impl Location {
    /// A place of an HL7 v2 message, for ERR-2.
    pub fn hl7v2(&self) -> Option<&hl7v2::Location> {
        match self {
            Self::Hl7v2(location) => Some(location),
            Self::Fhir(_) => None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hl7v2(location) => location.fmt(formatter),
            Self::Fhir(location) => formatter.write_str(location),
        }
    }
}

impl From<hl7v2::Location> for Location {
    fn from(location: hl7v2::Location) -> Self {
        Self::Hl7v2(location)
    }
}

/// A path of a mapping file.
#[derive(Debug, Clone)]
pub(crate) enum Path {
    Hl7v2(hl7v2::Path),
    Fhir(Box<ElementPath>),
}

/// What the paths of a block are relative to, as far as it is known when a mapping is loaded.
#[derive(Debug, Clone)]
pub(crate) enum Within {
    /// A message of HL7 v2: its paths name their segments.
    Message,
    /// Elements of these types.
    Elements(ElementTypes),
}

impl Within {
    /// What the paths of records are relative to.
    pub(crate) fn whole(format: Format) -> Self {
        match format {
            Format::Hl7v2 => Self::Message,
            Format::Fhir => Self::Elements(ElementTypes::focal()),
        }
    }

    /// Anything.
    pub(crate) fn unknown(format: Format) -> Self {
        match format {
            Format::Hl7v2 => Self::Message,
            Format::Fhir => Self::Elements(ElementTypes::any()),
        }
    }
}

/// A condition of a mapping file.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Hl7v2(Expression),
    Fhir(Box<ElementPath>),
}

/// What a path is asked of.
#[derive(Debug, Clone)]
pub(crate) enum Scope<'m> {
    Hl7v2(hl7v2::Scope<'m>),
    Fhir(ElementScope<'m>),
}

/// What a path leads to.
#[derive(Debug, Clone)]
pub(crate) enum Value<'m> {
    Hl7v2(hl7v2::Value<'m>),
    Fhir(Element<'m>),
}

/// What a path leads to, or why to nothing.
#[derive(Debug, Clone)]
pub(crate) enum Resolved<'m> {
    /// Nothing is said.
    Absent,
    /// HL7's `""`: there is no value any more.
    Null,
    /// There may be one, which is not for us: it is masked, or behind a reference that leads out of the unit.
    Withheld,
    Value(Value<'m>),
}

impl<'m> From<hl7v2::Resolved<'m>> for Resolved<'m> {
    #[inline]
    fn from(resolved: hl7v2::Resolved<'m>) -> Self {
        match resolved {
            hl7v2::Resolved::Absent => Self::Absent,
            hl7v2::Resolved::Null => Self::Null,
            hl7v2::Resolved::Value(value) => Self::Value(Value::Hl7v2(value)),
        }
    }
}

impl<'m> Resolved<'m> {
    pub(crate) fn value(self) -> Option<Value<'m>> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null | Self::Withheld => None,
        }
    }
}

impl Path {
    /// What a value is taken from: the first that the path leads to.
    #[inline]
    pub(crate) fn resolve<'m>(&'m self, scope: &Scope<'m>) -> Resolved<'m> {
        match (self, scope) {
            (Self::Hl7v2(path), Scope::Hl7v2(scope)) => path.resolve(scope).into(),
            (Self::Fhir(path), Scope::Fhir(scope)) => path.resolve(scope),
            // A plan has paths of one format, and is asked with scopes of that format only.
            _ => Resolved::Absent,
        }
    }

    /// All values that the path leads to.
    pub(crate) fn values<'m>(&'m self, scope: &Scope<'m>) -> Vec<Value<'m>> {
        match (self, scope) {
            (Self::Hl7v2(path), Scope::Hl7v2(scope)) => {
                path.resolve_all(scope).into_iter().filter_map(|found| Resolved::from(found).value()).collect()
            }
            (Self::Fhir(path), Scope::Fhir(scope)) => path.values(scope).into_iter().map(Value::Fhir).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it may lead to several values, and means them all: `PID-3[*]`. Of a FHIRPath the target decides.
    pub(crate) fn is_plural(&self) -> bool {
        match self {
            Self::Hl7v2(path) => path.is_plural(),
            Self::Fhir(_) => false,
        }
    }

    /// It names a segment or a resource, and no part of one.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Hl7v2(path) => path.field().is_none(),
            Self::Fhir(_) => false,
        }
    }

    /// The same with all repetitions of its field.
    pub(crate) fn with_repetitions(self) -> Self {
        match self {
            Self::Hl7v2(path) => Self::Hl7v2(hl7v2::Path::parse(&format!("{path}[*]")).unwrap_or(path)),
            path @ Self::Fhir(_) => path,
        }
    }

    /// The places that a condition in it chooses from, and of them those that it chooses. Nothing of a path without one.
    pub(crate) fn choice(&self, scope: &Scope<'_>) -> Option<[Vec<String>; 2]> {
        match (self, scope) {
            (Self::Hl7v2(path), Scope::Hl7v2(scope)) => {
                let places = |found: Vec<hl7v2::Location>| found.iter().map(ToString::to_string).collect();
                path.choice(scope).map(|found| found.map(places))
            }
            (Self::Fhir(path), Scope::Fhir(scope)) => path.choice(scope),
            _ => None,
        }
    }

    pub(crate) fn hl7v2(&self) -> Option<&hl7v2::Path> {
        match self {
            Self::Hl7v2(path) => Some(path),
            Self::Fhir(_) => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hl7v2(path) => path.fmt(formatter),
            Self::Fhir(path) => path.fmt(formatter),
        }
    }
}

impl Condition {
    #[inline]
    pub(crate) fn holds(&self, scope: &Scope<'_>) -> bool {
        match (self, scope) {
            (Self::Hl7v2(condition), Scope::Hl7v2(scope)) => condition.holds(scope),
            (Self::Fhir(condition), Scope::Fhir(scope)) => condition.holds(scope),
            _ => false,
        }
    }
}

impl Path {
    /// The references on its way that lead out of the unit.
    pub(crate) fn lost(&self, scope: &Scope<'_>) -> Vec<LostReference> {
        match (self, scope) {
            (Self::Fhir(path), Scope::Fhir(scope)) => path.lost(scope),
            _ => Vec::new(),
        }
    }
}

impl Condition {
    /// Why it has no answer there.
    pub(crate) fn trouble(&self, scope: &Scope<'_>) -> Option<String> {
        match (self, scope) {
            (Self::Fhir(condition), Scope::Fhir(scope)) => condition.trouble(scope),
            _ => None,
        }
    }
}

impl Path {
    /// Why it has no answer there.
    pub(crate) fn trouble(&self, scope: &Scope<'_>) -> Option<String> {
        match (self, scope) {
            (Self::Fhir(path), Scope::Fhir(scope)) => path.trouble(scope),
            _ => None,
        }
    }
}

impl<'m> Scope<'m> {
    /// All of it.
    pub(crate) fn whole(input: Input<'m>) -> Self {
        match input {
            Input::Message(message) => Self::Hl7v2(message.scope()),
            Input::Unit(unit) => Self::Fhir(ElementScope::whole(unit)),
        }
    }

    /// One scope for each patient; see [`hl7v2::Scope::patients`]. A unit is about one.
    pub(crate) fn patients(&self) -> Vec<Self> {
        match self {
            Self::Hl7v2(scope) => scope.patients().into_iter().map(Self::Hl7v2).collect(),
            Self::Fhir(scope) => vec![Self::Fhir(scope.clone())],
        }
    }

    /// The scopes that `each` opens here.
    pub(crate) fn each(&self, path: &'m Path) -> Vec<Self> {
        match (self, path) {
            (Self::Hl7v2(scope), Path::Hl7v2(path)) => {
                let mut found = Vec::new();
                scope.visit_each(path, &mut |scope| found.push(Self::Hl7v2(scope)));
                found
            }
            (Self::Fhir(scope), Path::Fhir(path)) => scope.each(path).into_iter().map(Self::Fhir).collect(),
            _ => Vec::new(),
        }
    }

    /// Position of the segment that opened it.
    pub(crate) fn position(&self) -> Option<usize> {
        match self {
            Self::Hl7v2(scope) => scope.anchor().map(|anchor| anchor.index()),
            Self::Fhir(_) => None,
        }
    }

    /// Whether the first segment that `each` means stands before this position of the message.
    pub(crate) fn begins_before(&self, each: &Path, position: usize) -> bool {
        match (self, each) {
            (Self::Hl7v2(scope), Path::Hl7v2(each)) => {
                scope.segment(each.segment()).is_some_and(|segment| segment.index() < position)
            }
            _ => false,
        }
    }

    /// Where a merge is asked for.
    pub(crate) fn merge(&self) -> Location {
        match self {
            Self::Hl7v2(_) => Location::Hl7v2(hl7v2::Location::segment("MRG")),
            Self::Fhir(_) => self.header(),
        }
    }

    /// Number of the OBX or Observation that it is in, by its place in the message or unit.
    #[inline]
    pub(crate) fn observation(&self) -> Option<usize> {
        match self {
            Self::Hl7v2(scope) => scope.anchor().filter(|anchor| anchor.name() == "OBX").map(|anchor| anchor.index()),
            Self::Fhir(scope) => scope.observation(),
        }
    }

    /// Where it is: `OBX[3]`, `PID-3[2]`, `Patient.identifier[1]`.
    pub(crate) fn path(&self, each: Option<&Path>) -> String {
        match self {
            Self::Hl7v2(scope) => {
                if let Some(path) =
                    each.and_then(Path::hl7v2).filter(|path| path.field().is_some()).map(hl7v2::Path::current)
                    && let hl7v2::Resolved::Value(value) = path.resolve(scope)
                {
                    return value.location().to_string();
                }
                scope.anchor().map_or_else(|| "MSH".to_owned(), |anchor| anchor.location_of(0).to_string())
            }
            Self::Fhir(scope) => scope.location(),
        }
    }

    /// The place of a value that is missing: in the scope's own segment or element, if the path means that.
    pub(crate) fn missing(&self, path: &Path) -> Location {
        match (self, path) {
            (Self::Hl7v2(scope), Path::Hl7v2(path)) => {
                Location::Hl7v2(match scope.anchor().filter(|anchor| anchor.name() == path.segment()) {
                    Some(anchor) => {
                        hl7v2::Location { component: path.component(), ..anchor.location_of(path.field().unwrap_or(0)) }
                    }
                    None => path.location(),
                })
            }
            (Self::Fhir(scope), path) => Location::Fhir(format!("{}: {path}", scope.location())),
            (Self::Hl7v2(_), Path::Fhir(path)) => Location::Fhir(path.to_string()),
        }
    }

    /// The place to name where no path does: the header, or the scope itself.
    pub(crate) fn header(&self) -> Location {
        match self {
            Self::Hl7v2(_) => Location::Hl7v2(hl7v2::Location::segment("MSH")),
            Self::Fhir(scope) => Location::Fhir(scope.location()),
        }
    }
}

impl<'m> Value<'m> {
    /// As meant: without escapes, without blanks around it. Nothing, where it has parts and no text.
    pub(crate) fn text(&self) -> Cow<'m, str> {
        match self {
            Self::Hl7v2(value) => value.text(),
            Self::Fhir(element) => element.text(),
        }
    }

    /// As sent.
    pub(crate) fn raw(&self) -> Cow<'m, str> {
        match self {
            Self::Hl7v2(value) => Cow::Borrowed(value.raw()),
            Self::Fhir(element) => element.raw(),
        }
    }

    pub(crate) fn location(&self) -> Location {
        match self {
            Self::Hl7v2(value) => Location::Hl7v2(value.location()),
            Self::Fhir(element) => Location::Fhir(element.location()),
        }
    }
}
