//! What a path finds: nodes of a resource, borrowed, and values that were computed from them.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::moment::{Moment, Unit as TimeUnit};
use crate::fhir::decimal::Decimal;
use crate::fhir::dictionary::{Dictionary, Shape, TypeId};
use crate::fhir::unit::Resource;

/// One thing that a path found.
#[derive(Debug, Clone)]
pub struct Node<'r>(pub(super) Item<'r>);

#[derive(Debug, Clone)]
pub(super) enum Item<'r> {
    Data(Data<'r>),
    Computed(Atom<'r>),
}

/// A place in a resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Data<'r> {
    /// Absent of a primitive that has only extensions.
    pub(super) value: Option<&'r Json>,
    /// `_birthDate` beside `birthDate`: the id and extensions of a primitive.
    pub(super) sibling: Option<&'r Json>,
    pub(super) kind: Option<TypeId>,
    /// The resource of the unit that it is in.
    pub(super) home: Resource<'r>,
}

/// A value of one of FHIRPath's own types.
#[derive(Debug, Clone)]
pub(super) enum Atom<'r> {
    Boolean(bool),
    Integer(i64),
    Decimal(Decimal),
    String(Cow<'r, str>),
    Date(Moment),
    DateTime(Moment),
    Time(Moment),
    Quantity(Decimal, QuantityUnit<'r>),
}

#[derive(Debug, Clone)]
pub(super) enum QuantityUnit<'r> {
    /// `4 days`: the calendar's.
    Calendar(TimeUnit),
    /// `4 'mg'`: UCUM's, or FHIR's own text.
    Code(Cow<'r, str>),
}

/// What a path found, in order. Nothing is allocated for one node.
#[derive(Debug, Clone, Default)]
pub enum Nodes<'r> {
    /// Nothing.
    #[default]
    None,
    /// One node.
    One(Node<'r>),
    /// Any number of nodes.
    Many(Vec<Node<'r>>),
}

impl<'r> Nodes<'r> {
    /// Nodes as a slice.
    pub fn as_slice(&self) -> &[Node<'r>] {
        match self {
            Self::None => &[],
            Self::One(node) => std::slice::from_ref(node),
            Self::Many(nodes) => nodes,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Node<'r>> {
        self.as_slice().iter()
    }

    /// The first.
    pub fn first(&self) -> Option<&Node<'r>> {
        self.as_slice().first()
    }

    pub(super) fn push(&mut self, node: Node<'r>) {
        match std::mem::take(self) {
            Self::None => *self = Self::One(node),
            Self::One(first) => *self = Self::Many(vec![first, node]),
            Self::Many(mut nodes) => {
                nodes.push(node);
                *self = Self::Many(nodes);
            }
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        match (&*self, other) {
            (Self::None, other) => *self = other,
            (_, other) => other.into_iter().for_each(|node| self.push(node)),
        }
    }

    pub(super) fn atom(atom: Atom<'r>) -> Self {
        Self::One(Node(Item::Computed(atom)))
    }

    pub(super) fn boolean(truth: Option<bool>) -> Self {
        truth.map_or(Self::None, |truth| Self::atom(Atom::Boolean(truth)))
    }
}

impl<'r> IntoIterator for Nodes<'r> {
    type Item = Node<'r>;
    type IntoIter = IntoNodes<'r>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::None => IntoNodes::One(None),
            Self::One(node) => IntoNodes::One(Some(node)),
            Self::Many(nodes) => IntoNodes::Many(nodes.into_iter()),
        }
    }
}

impl<'n, 'r> IntoIterator for &'n Nodes<'r> {
    type Item = &'n Node<'r>;
    type IntoIter = std::slice::Iter<'n, Node<'r>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'r> FromIterator<Node<'r>> for Nodes<'r> {
    fn from_iter<I: IntoIterator<Item = Node<'r>>>(nodes: I) -> Self {
        let mut all = Self::None;
        nodes.into_iter().for_each(|node| all.push(node));
        all
    }
}

/// See [`Nodes`].
#[derive(Debug)]
#[allow(missing_docs, reason = "two ways to hold nodes")]
pub enum IntoNodes<'r> {
    One(Option<Node<'r>>),
    Many(std::vec::IntoIter<Node<'r>>),
}

impl<'r> Iterator for IntoNodes<'r> {
    type Item = Node<'r>;

    fn next(&mut self) -> Option<Node<'r>> {
        match self {
            Self::One(node) => node.take(),
            Self::Many(nodes) => nodes.next(),
        }
    }
}

impl<'r> Node<'r> {
    /// A resource as a whole.
    pub fn resource(resource: Resource<'r>) -> Self {
        Self(Item::Data(Data { value: Some(resource.json()), sibling: None, kind: resource.kind(), home: resource }))
    }

    /// The JSON in the resource; `None` of what was computed, and of a primitive that has only extensions.
    pub fn json(&self) -> Option<&'r Json> {
        match &self.0 {
            Item::Data(data) => data.value,
            Item::Computed(_) => None,
        }
    }

    /// The resource of the unit that it was found in; `None` of what was computed.
    pub fn home(&self) -> Option<Resource<'r>> {
        match &self.0 {
            Item::Data(data) => Some(data.home),
            Item::Computed(_) => None,
        }
    }

    /// The type: `HumanName`, `code`, `Patient.contact`, `System.Boolean`; `None` where FHIR leaves it open.
    pub fn type_name(&self) -> Option<&'static str> {
        self.kind().map(TypeId::name)
    }

    /// The type.
    pub fn kind(&self) -> Option<TypeId> {
        match &self.0 {
            Item::Data(data) => data.kind,
            Item::Computed(atom) => Some(atom.kind()),
        }
    }

    /// The text of a primitive, a number as it is written; `None` of what has elements or no value.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match &self.0 {
            Item::Data(data) => match data.value? {
                Json::String(text) => Some(Cow::Borrowed(text)),
                Json::Number(number) => Some(Cow::Borrowed(number.as_str())),
                Json::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
                _ => None,
            },
            Item::Computed(Atom::String(text)) => Some(Cow::Borrowed(text)),
            Item::Computed(atom) => Some(Cow::Owned(atom.text())),
        }
    }

    /// Whether it is a primitive with a value.
    pub fn has_value(&self) -> bool {
        self.text().is_some()
    }

    /// Where it stands: `Encounter.identifier[0].value`; `None` of what was computed. Looked for when it is asked for.
    pub fn location(&self) -> Option<String> {
        let Item::Data(data) = &self.0 else { return None };
        let wanted = data.value.or(data.sibling)?;
        let mut path = data.home.type_name().to_owned();
        find(data.home.json(), wanted, &mut path).then_some(path)
    }

    /// A member of an element, or of what stands beside a primitive.
    pub(super) fn member_json(&self, name: &str) -> Option<&'r Json> {
        match &self.0 {
            Item::Data(data) => data.value.and_then(|value| value.get(name)).or_else(|| data.sibling?.get(name)),
            Item::Computed(_) => None,
        }
    }

    /// Steps that a copy costs: of computed texts, their length.
    pub(super) fn weight(&self) -> usize {
        match &self.0 {
            Item::Computed(Atom::String(Cow::Owned(text))) => text.len() / super::limits::BYTES_A_STEP,
            _ => 0,
        }
    }

    /// As a value of FHIRPath. `None`: it has elements, no value, or one that its type does not allow.
    pub(super) fn atom(&self) -> Option<Atom<'r>> {
        match &self.0 {
            Item::Data(data) => data.atom(),
            Item::Computed(atom) => Some(atom.clone()),
        }
    }
}

impl<'r> Data<'r> {
    pub(super) fn atom(&self) -> Option<Atom<'r>> {
        let shape = self.kind.map_or(Shape::Complex, |kind| Dictionary::standard().shape(kind));
        match (self.value?, shape) {
            (Json::Bool(truth), _) => Some(Atom::Boolean(*truth)),
            (Json::Number(number), shape) => {
                let text = number.as_str();
                let decimal = Decimal::parse(text)?;
                match shape {
                    Shape::Decimal => Some(Atom::Decimal(decimal)),
                    _ if text.contains(['.', 'e', 'E']) => Some(Atom::Decimal(decimal)),
                    _ => decimal.to_integer().map(Atom::Integer).or(Some(Atom::Decimal(decimal))),
                }
            }
            (Json::String(text), Shape::Date) => Moment::date(text).map(Atom::Date),
            (Json::String(text), Shape::DateTime) => Moment::date_time(text).map(Atom::DateTime),
            (Json::String(text), Shape::Time) => Moment::time(text).map(Atom::Time),
            (Json::String(text), _) => Some(Atom::String(Cow::Borrowed(text))),
            (value @ Json::Object(_), Shape::Quantity) => quantity(value),
            _ => None,
        }
    }
}

/// A FHIR Quantity as one of FHIRPath. One with a comparator (`<`) is no single value.
fn quantity(value: &Json) -> Option<Atom<'_>> {
    let text = |name: &str| value.get(name).and_then(Json::as_str);
    if text("comparator").is_some() {
        return None;
    }
    let Json::Number(number) = value.get("value")? else { return None };
    let decimal = Decimal::parse(number.as_str())?;
    let unit = match text("system") {
        Some("http://unitsofmeasure.org") => text("code").unwrap_or("1"),
        _ => text("code").or_else(|| text("unit")).unwrap_or("1"),
    };
    // FHIR, "Use of FHIR Quantity": the calendar's units are written in UCUM, of which year and month are not the calendar's.
    let unit = match unit {
        "a" => QuantityUnit::Calendar(TimeUnit::Year),
        "mo" => QuantityUnit::Calendar(TimeUnit::Month),
        unit => QuantityUnit::Code(Cow::Borrowed(unit)),
    };
    Some(Atom::Quantity(decimal, unit))
}

impl Atom<'_> {
    /// The same, without a copy of its text.
    pub(super) fn borrowed(&self) -> Atom<'_> {
        match self {
            Self::String(text) => Atom::String(Cow::Borrowed(text)),
            Self::Quantity(number, QuantityUnit::Code(unit)) => {
                Atom::Quantity(*number, QuantityUnit::Code(Cow::Borrowed(unit)))
            }
            Self::Quantity(number, QuantityUnit::Calendar(unit)) => {
                Atom::Quantity(*number, QuantityUnit::Calendar(*unit))
            }
            Self::Boolean(truth) => Atom::Boolean(*truth),
            Self::Integer(number) => Atom::Integer(*number),
            Self::Decimal(number) => Atom::Decimal(*number),
            Self::Date(moment) => Atom::Date(*moment),
            Self::DateTime(moment) => Atom::DateTime(*moment),
            Self::Time(moment) => Atom::Time(*moment),
        }
    }

    pub(super) fn kind(&self) -> TypeId {
        match self {
            Self::Boolean(_) => TypeId::BOOLEAN,
            Self::Integer(_) => TypeId::INTEGER,
            Self::Decimal(_) => TypeId::DECIMAL,
            Self::String(_) => TypeId::STRING,
            Self::Date(_) => TypeId::DATE,
            Self::DateTime(_) => TypeId::DATE_TIME,
            Self::Time(_) => TypeId::TIME,
            Self::Quantity(..) => TypeId::QUANTITY,
        }
    }

    /// As `toString()` writes it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Boolean(truth) => truth.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Decimal(number) => number.to_string(),
            Self::String(text) => text.clone().into_owned(),
            Self::Date(moment) | Self::DateTime(moment) | Self::Time(moment) => moment.to_string(),
            Self::Quantity(number, QuantityUnit::Code(unit)) => format!("{number} '{unit}'"),
            Self::Quantity(number, QuantityUnit::Calendar(unit)) => format!("{number} {}", unit.name()),
        }
    }

    pub(super) fn decimal(&self) -> Option<Decimal> {
        match self {
            Self::Integer(number) => Some(Decimal::from_integer(*number)),
            Self::Decimal(number) => Some(*number),
            _ => None,
        }
    }
}

/// Extends `path` to the place of `wanted` below `json`. Found by address: nodes borrow from the resource.
fn find(json: &Json, wanted: &Json, path: &mut String) -> bool {
    if std::ptr::eq(json, wanted) {
        return true;
    }
    let length = path.len();
    match json {
        Json::Object(members) => {
            for (name, member) in members {
                path.push('.');
                // What is beside a primitive stands where the primitive does.
                path.push_str(name.strip_prefix('_').unwrap_or(name));
                if find(member, wanted, path) {
                    return true;
                }
                path.truncate(length);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                if find(item, wanted, path) {
                    return true;
                }
                path.truncate(length);
            }
        }
        _ => {}
    }
    false
}
