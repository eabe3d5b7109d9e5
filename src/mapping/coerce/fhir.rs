//! The coercions for elements of FHIR: by the type of the element where it is known, else by what it holds.
//!
//! What one type of FHIR holds in several ways is read in the order in which they say most: a `CodeableConcept` by the coding that a
//! person chose, then the first with a code, then its text; a `Reference` by the resource that it leads to inside the unit, then by
//! what it says itself.

mod coded;
mod person;
mod when;

use std::borrow::Cow;

use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::{Coercion, Refusal, number, object};
use crate::mapping::input::Element;
use crate::record::Value;
use crate::record::resident_id::ResidentId;
use crate::record::schema::Field;

pub(crate) use coded::{codes, coding, concept_text, quantity_unit, quantity_unit_of, range_text};
pub(crate) use person::name;
pub(crate) use when::point_in_time;

/// OID of the Chinese resident identity number.
const RESIDENT_ID: &str = "2.16.156.10011.1.3";

/// What [`super::code`] is for an element: the code of its first coding, else its text.
pub(crate) fn code<'m>(element: &Element<'m>) -> Cow<'m, str> {
    codes(element).into_iter().next().unwrap_or_default()
}

/// What [`super::apply`] is for an element.
pub(crate) fn apply(
    coercion: Coercion,
    element: &Element<'_>,
    inner: &[Field],
    zone: &TimeZone,
) -> Result<Option<Value>, Refusal> {
    let text = || Some(element.text()).filter(|text| !text.is_empty());
    let sent = |text: &str| Value::from(text);
    let given = |text: Option<String>| text.map(Value::from);
    Ok(match coercion {
        Coercion::Text => text().as_deref().map(sent),
        Coercion::Code => Some(code(element)).filter(|code| !code.is_empty()).as_deref().map(sent),
        Coercion::Name => given(name(element).map(|name| name.whole)),
        Coercion::Date => when::read(element, zone)?.map(|when| {
            let end = when.find('T').unwrap_or(when.len());
            Value::from(&when[..end])
        }),
        Coercion::DateTime | Coercion::Instant => given(when::read(element, zone)?),
        Coercion::Integer => match number_of(element) {
            Some(sent) => Some(Value::from(number::integer(&sent).ok_or("not a whole number")?)),
            None => None,
        },
        Coercion::Decimal => match number_of(element) {
            Some(sent) => Some(Value::Number(number::decimal(&sent).ok_or("not a number")?)),
            None => None,
        },
        Coercion::Boolean => match text() {
            Some(sent) => Some(Value::from(super::coded::boolean(&sent).ok_or("neither yes nor no")?)),
            None => None,
        },
        Coercion::Phone => given(person::phone(element)),
        Coercion::Email => given(person::email(element)),
        Coercion::ResidentId => {
            let sent = number_in(element);
            given(sent.map(|sent| ResidentId::read(&sent).map_or_else(|| sent.into_owned(), |id| id.number)))
        }
        Coercion::Address => given(person::address(element)),
        Coercion::Street => given(person::street(element)),
        Coercion::Unit => given(quantity_unit(element)),
        Coercion::Identifier => person::identifier(element)
            .map(|(value, system)| object(inner, [("value", Some(value)), ("system", system)])),
        Coercion::Coded => coding(element).map(|coded| super::coded_object(inner, coded)),
        Coercion::Alternate => coded::alternate(element).map(|coded| super::coded_object(inner, coded)),
        Coercion::Staff => match person::staff(element) {
            (None, None) => None,
            (id, name) => Some(object(inner, [("id", id), ("name", name)])),
        },
        // These need more than one value: the run applies them.
        Coercion::LabValue | Coercion::ReferenceRange => None,
    })
}

/// What an element is to be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Primitive,
    HumanName,
    CodeableConcept,
    Coding,
    CodeableReference,
    Quantity,
    Range,
    Ratio,
    Period,
    Timing,
    Reference,
    Identifier,
    ContactPoint,
    Address,
    Annotation,
    ReferenceRange,
    SampledData,
    Attachment,
    Other,
}

/// The type of an element: as the dictionary says, and where it leaves that open, by what only one type has.
pub(crate) fn type_of(element: &Element<'_>) -> Type {
    let Some(json) = element.json() else { return Type::Primitive };
    let has = |name: &str| json.get(name).is_some();
    match element.type_name() {
        _ if !json.is_object() => Type::Primitive,
        "HumanName" => Type::HumanName,
        "CodeableConcept" => Type::CodeableConcept,
        "Coding" => Type::Coding,
        "CodeableReference" => Type::CodeableReference,
        "Quantity" | "Age" | "Count" | "Distance" | "Duration" | "SimpleQuantity" | "MoneyQuantity" => Type::Quantity,
        "Range" => Type::Range,
        "Ratio" => Type::Ratio,
        "Period" => Type::Period,
        "Timing" => Type::Timing,
        "Reference" => Type::Reference,
        "Identifier" => Type::Identifier,
        "ContactPoint" => Type::ContactPoint,
        "Address" => Type::Address,
        "Annotation" => Type::Annotation,
        "Observation.referenceRange" => Type::ReferenceRange,
        "SampledData" => Type::SampledData,
        "Attachment" => Type::Attachment,
        "" if has("coding") => Type::CodeableConcept,
        "" if has("family") || has("given") => Type::HumanName,
        "" if has("reference") => Type::Reference,
        "" if has("concept") => Type::CodeableReference,
        "" if has("numerator") => Type::Ratio,
        "" if has("low") || has("high") => Type::Range,
        "" if has("start") || has("end") => Type::Period,
        "" if has("line") || has("postalCode") => Type::Address,
        "" if json.get("value").is_some_and(Json::is_number) => Type::Quantity,
        "" if has("code") => Type::Coding,
        "" if has("text") => Type::CodeableConcept,
        _ => Type::Other,
    }
}

/// The elements of other resources that a coercion looks at, where a Reference leads to them: `Practitioner.identifier`. The kinds of
/// [`text`], [`coding`], `identifier` and `staff`.
pub(crate) fn read_behind(coercion: Coercion, element: &Element<'_>) -> Vec<String> {
    let Some(json) = element.json() else { return Vec::new() };
    let first = match type_of(element) {
        Type::Reference => element.referred(json),
        Type::CodeableReference => json.get("reference").and_then(|reference| element.referred(reference)),
        Type::Other if json.get("resourceType").is_some() => Some(json),
        _ => None,
    };
    let looked_at: &[&str] = match coercion {
        Coercion::Staff => &["practitioner", "identifier", "name"],
        Coercion::Identifier => &["identifier"],
        Coercion::Coded => &["code", "identifier", "name"],
        _ => &["name", "code"],
    };
    let person = first.filter(|_| coercion == Coercion::Staff).and_then(|first| first.get("practitioner"));
    let second = person.and_then(|person| element.referred(person));
    let resources = first.into_iter().chain(second);
    let kinds = resources.filter_map(|resource| text_in(resource, "resourceType"));
    kinds.flat_map(|kind| looked_at.iter().map(move |name| format!("{kind}.{name}"))).collect()
}

/// A text inside an element, without blanks around it; `None` if it is empty.
pub(crate) fn text_in<'j>(json: &'j Json, name: &str) -> Option<&'j str> {
    json.get(name).and_then(Json::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// The items of a list inside an element; an older version may have one where a newer has several.
pub(crate) fn items<'j>(json: &'j Json, name: &str) -> &'j [Json] {
    match json.get(name) {
        Some(Json::Array(items)) => items,
        Some(single @ Json::Object(_)) => std::slice::from_ref(single),
        _ => &[],
    }
}

/// A number as it is written in JSON, or as text.
pub(crate) fn number_text(json: &Json) -> Option<String> {
    match json {
        Json::Number(number) => Some(number.to_string()),
        Json::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// The number of a Quantity or a primitive.
fn number_of(element: &Element<'_>) -> Option<String> {
    match (type_of(element), element.json()) {
        (Type::Quantity, Some(json)) => number_text(json.get("value")?),
        _ => Some(element.text().into_owned()).filter(|text| !text.is_empty()),
    }
}

/// The number of an Identifier or a primitive.
fn number_in<'m>(element: &Element<'m>) -> Option<Cow<'m, str>> {
    match (type_of(element), element.json()) {
        (Type::Identifier, Some(json)) => text_in(json, "value").map(Cow::Borrowed),
        _ => Some(element.text()).filter(|text| !text.is_empty()),
    }
}

/// What an element says, as a person would read it: the text of a concept, the display of a reference, a quantity with its unit.
/// Nothing for elements that have no such reading.
pub(crate) fn text<'m>(element: &Element<'m>) -> Cow<'m, str> {
    let Some(json) = element.json() else { return element.computed().map_or(Cow::Borrowed(""), Cow::Owned) };
    let owned = |text: Option<String>| Cow::Owned(text.unwrap_or_default());
    match json {
        Json::String(text) => Cow::Borrowed(text.trim()),
        Json::Number(number) => Cow::Owned(number.to_string()),
        Json::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
        Json::Null | Json::Array(_) => Cow::Borrowed(""),
        Json::Object(_) => match type_of(element) {
            Type::HumanName => owned(name(element).map(|name| name.whole)),
            Type::CodeableConcept | Type::Coding => Cow::Borrowed(coded::concept_text(json).unwrap_or_default()),
            Type::CodeableReference => {
                let concept = json.get("concept").and_then(coded::concept_text);
                let reference = json.get("reference").and_then(|reference| coded::reference_text(element, reference));
                Cow::Borrowed(concept.or(reference).unwrap_or_default())
            }
            Type::Reference => Cow::Borrowed(coded::reference_text(element, json).unwrap_or_default()),
            Type::Quantity => owned(coded::quantity_text(json)),
            Type::Range => owned(coded::range_text(json)),
            Type::Ratio => owned(coded::ratio_text(json)),
            Type::Period => {
                let [start, end] = ["start", "end"].map(|name| text_in(json, name));
                owned(match (start, end) {
                    (Some(start), Some(end)) => Some(format!("{start}/{end}")),
                    (start, end) => start.or(end).map(str::to_owned),
                })
            }
            Type::Address => owned(person::address(element)),
            Type::Identifier | Type::ContactPoint => Cow::Borrowed(text_in(json, "value").unwrap_or_default()),
            Type::Annotation | Type::ReferenceRange => Cow::Borrowed(text_in(json, "text").unwrap_or_default()),
            Type::Attachment => Cow::Borrowed(text_in(json, "title").unwrap_or_default()),
            Type::Primitive | Type::Timing | Type::SampledData | Type::Other => Cow::Borrowed(""),
        },
    }
}
