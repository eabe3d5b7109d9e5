//! Codes, concepts, quantities and what references name.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::person::{self, best_identifier};
use super::{Type, items, number_text, text_in, type_of};
use crate::mapping::coerce::coded::Coded;
use crate::mapping::input::Element;

/// The Unified Code for Units of Measure, as a coding system.
const UCUM: &str = "http://unitsofmeasure.org";

/// Every code of an element, the likeliest first: those of its codings, else its text. A table takes the first that it knows.
pub(crate) fn codes<'m>(element: &Element<'m>) -> Vec<Cow<'m, str>> {
    let Some(json) = element.json().filter(|json| json.is_object()) else {
        return Some(element.text()).filter(|text| !text.is_empty()).into_iter().collect();
    };
    let found: Vec<Cow<'m, str>> = match type_of(element) {
        Type::CodeableConcept => concept_codes(json),
        Type::CodeableReference => json.get("concept").map(concept_codes).unwrap_or_default(),
        Type::Coding => {
            text_in(json, "code").or_else(|| text_in(json, "display")).map(Cow::Borrowed).into_iter().collect()
        }
        Type::Quantity => quantity_unit_of(json).map(Cow::Owned).into_iter().collect(),
        _ => Vec::new(),
    };
    if !found.is_empty() {
        return found;
    }
    Some(element.text()).filter(|text| !text.is_empty()).into_iter().collect()
}

fn concept_codes(concept: &Json) -> Vec<Cow<'_, str>> {
    let found: Vec<_> = in_order(concept).filter_map(|coding| text_in(coding, "code")).map(Cow::Borrowed).collect();
    if found.is_empty() { concept_text(concept).map(Cow::Borrowed).into_iter().collect() } else { found }
}

/// The codings of a concept, the one that a person chose first.
fn in_order(concept: &Json) -> impl Iterator<Item = &Json> {
    let codings = items(concept, "coding");
    let is_chosen = |coding: &&Json| coding.get("userSelected").and_then(Json::as_bool) == Some(true);
    codings.iter().filter(is_chosen).chain(codings.iter().filter(move |coding| !is_chosen(coding)))
}

/// The code, its system and display text. What a Reference leads to is a code as well: of an Organization or Location, for a
/// department.
pub(crate) fn coding(element: &Element<'_>) -> Option<Coded> {
    let json = match element.json() {
        Some(json) if json.is_object() => json,
        _ => {
            let text = element.text();
            return (!text.is_empty()).then(|| Coded { name: Some(text.into_owned()), ..Coded::default() });
        }
    };
    match type_of(element) {
        Type::CodeableConcept => of_concept(json),
        Type::Coding => of_coding(json),
        Type::CodeableReference => {
            let concept = json.get("concept").and_then(of_concept);
            concept.or_else(|| of_reference(element, json.get("reference")?))
        }
        Type::Reference => of_reference(element, json),
        Type::Other if json.get("resourceType").is_some() => of_resource(json),
        _ => {
            let text = element.text();
            (!text.is_empty()).then(|| Coded { name: Some(text.into_owned()), ..Coded::default() })
        }
    }
}

fn of_coding(coding: &Json) -> Option<Coded> {
    let part = |name: &str| text_in(coding, name).map(str::to_owned);
    let coded = Coded { code: part("code"), name: part("display"), system: part("system"), alternate: None };
    (coded.code.is_some() || coded.name.is_some()).then_some(coded)
}

fn of_concept(concept: &Json) -> Option<Coded> {
    let with_code = in_order(concept).find(|coding| text_in(coding, "code").is_some());
    let mut coded = with_code.or_else(|| in_order(concept).next()).and_then(of_coding).unwrap_or_default();
    // What was chosen or entered, in the words in which it was; the display of a coding is its system's.
    if let Some(text) = text_in(concept, "text") {
        coded.name = Some(text.to_owned());
    }
    coded.alternate = another(in_order(concept)).map(Box::new);
    (coded.code.is_some() || coded.name.is_some()).then_some(coded)
}

/// The second coding of a concept that has several: the same in another system. In the order in which they are sent, as paths read them.
pub(super) fn alternate(element: &Element<'_>) -> Option<Coded> {
    let json = element.json()?;
    let concept = match type_of(element) {
        Type::CodeableConcept => json,
        Type::CodeableReference => json.get("concept")?,
        _ => return None,
    };
    another(items(concept, "coding").iter())
}

/// Of codings with a code the first that says something else than the first.
fn another<'j>(codings: impl Iterator<Item = &'j Json>) -> Option<Coded> {
    let code_of = |coding: &'j Json| Some((text_in(coding, "code")?, text_in(coding, "system")));
    let mut codings = codings.filter_map(|coding| Some((coding, code_of(coding)?)));
    let (_, first) = codings.next()?;
    codings.find(|(_, code)| *code != first).and_then(|(coding, _)| of_coding(coding))
}

fn of_reference(element: &Element<'_>, reference: &Json) -> Option<Coded> {
    if let Some(coded) = element.referred(reference).and_then(of_resource) {
        return Some(Coded { name: coded.name.or_else(|| text_in(reference, "display").map(str::to_owned)), ..coded });
    }
    let code = person::number_of_reference(reference).map(str::to_owned);
    let name = text_in(reference, "display").map(str::to_owned);
    (code.is_some() || name.is_some()).then_some(Coded { code, name, ..Coded::default() })
}

/// An Organization, Location, HealthcareService …: its number, else its id, and its name. Of a Condition or Procedure its code.
fn of_resource(resource: &Json) -> Option<Coded> {
    if let Some(concept) = resource.get("code").filter(|code| code.is_object()) {
        return of_concept(concept);
    }
    let number = best_identifier(resource).and_then(|identifier| text_in(identifier, "value"));
    let code = number.or_else(|| text_in(resource, "id")).map(str::to_owned);
    let name = text_in(resource, "name").map(str::to_owned);
    (code.is_some() || name.is_some()).then_some(Coded { code, name, ..Coded::default() })
}

/// What a concept or coding says in words, else its code.
pub(crate) fn concept_text(json: &Json) -> Option<&str> {
    let of_coding = |coding| text_in(coding, "display");
    text_in(json, "text")
        .or_else(|| in_order(json).find_map(of_coding))
        .or_else(|| of_coding(json))
        .or_else(|| in_order(json).find_map(|coding| text_in(coding, "code")))
        .or_else(|| text_in(json, "code"))
}

/// What a reference says in words: its display, else the name of what it leads to.
pub(super) fn reference_text<'m>(element: &Element<'m>, reference: &'m Json) -> Option<&'m str> {
    text_in(reference, "display").or_else(|| {
        let resource = element.referred(reference)?;
        text_in(resource, "name").or_else(|| concept_text(resource.get("code")?))
    })
}

/// The unit of a Quantity: its UCUM code, else what is shown; a primitive is the unit itself.
pub(crate) fn quantity_unit(element: &Element<'_>) -> Option<String> {
    match element.json() {
        Some(json) if json.is_object() => quantity_unit_of(json),
        _ => Some(element.text().into_owned()).filter(|unit| !unit.is_empty()),
    }
}

/// See [`quantity_unit`].
pub(crate) fn quantity_unit_of(quantity: &Json) -> Option<String> {
    let code = text_in(quantity, "code");
    let ucum = code.filter(|_| text_in(quantity, "system") == Some(UCUM));
    ucum.or_else(|| text_in(quantity, "unit")).or(code).map(str::to_owned)
}

/// `<5.0 mmol/L`
pub(super) fn quantity_text(quantity: &Json) -> Option<String> {
    let number = number_text(quantity.get("value")?)?;
    let unit = text_in(quantity, "unit").or_else(|| text_in(quantity, "code"));
    let unit = unit.filter(|unit| *unit != "1").map_or(String::new(), |unit| format!(" {unit}"));
    Some(format!("{}{number}{unit}", text_in(quantity, "comparator").unwrap_or_default()))
}

/// `3.5-9.5 g/L`, `>=3.5`, `<=9.5`
pub(crate) fn range_text(range: &Json) -> Option<String> {
    let limit = |name: &str| range.get(name).and_then(|limit| number_text(limit.get("value")?));
    let unit = ["high", "low"].into_iter().find_map(|name| quantity_unit_of(range.get(name)?));
    let unit = unit.filter(|unit| unit != "1").map_or(String::new(), |unit| format!(" {unit}"));
    Some(match (limit("low"), limit("high")) {
        (Some(low), Some(high)) => format!("{low}-{high}{unit}"),
        (Some(low), None) => format!(">={low}{unit}"),
        (None, Some(high)) => format!("<={high}{unit}"),
        (None, None) => return None,
    })
}

/// `1:80`, `5 mg/2 mL`
pub(super) fn ratio_text(ratio: &Json) -> Option<String> {
    let [numerator, denominator] = ["numerator", "denominator"].map(|name| ratio.get(name));
    let (numerator, denominator) = (numerator?, denominator?);
    let has_unit = [numerator, denominator].iter().any(|part| quantity_unit_of(part).is_some_and(|unit| unit != "1"));
    let between = if has_unit { "/" } else { ":" };
    Some(format!("{}{between}{}", quantity_text(numerator)?, quantity_text(denominator)?))
}
