//! Names, people, numbers, addresses and phones.

use serde_json::Value as Json;

use super::{RESIDENT_ID, Type, coded, items, text_in, type_of};
use crate::mapping::coerce::person::{self, Name};
use crate::mapping::input::Element;

/// A HumanName: its text, else its parts in the order in which they are read.
pub(crate) fn name(element: &Element<'_>) -> Option<Name> {
    match (type_of(element), element.json()) {
        (Type::HumanName, Some(json)) => name_of(json),
        _ => {
            let whole = element.text();
            (!whole.is_empty()).then(|| Name { whole: person::tidy(&whole), family: None, given: None })
        }
    }
}

fn name_of(name: &Json) -> Option<Name> {
    let parts = |list: &str| {
        let given = items(name, list).iter().filter_map(Json::as_str);
        given.map(person::tidy).filter(|part| !part.is_empty()).collect::<Vec<_>>()
    };
    let family = text_in(name, "family").map(person::tidy).or_else(|| {
        // Several of them, before R4.
        let parts = parts("family");
        (!parts.is_empty()).then(|| parts.join(" "))
    });
    let (mut given, suffix) = (parts("given"), parts("suffix"));
    let is_chinese = family.iter().chain(&given).any(|part| person::is_chinese(part));
    if is_chinese {
        given = Some(given.concat()).filter(|given| !given.is_empty()).into_iter().collect();
    }
    let parts: Vec<&str> = if is_chinese {
        family.iter().chain(&given).map(String::as_str).collect()
    } else {
        given.iter().chain(&family).chain(&suffix).map(String::as_str).collect()
    };
    let joined = parts.join(if is_chinese { "" } else { " " });
    let whole = text_in(name, "text").map(person::tidy).unwrap_or(joined);
    if whole.is_empty() {
        return None;
    }
    let given = given.into_iter().next();
    let is_split = family.is_some() && given.is_some();
    Some(Name { whole, family: family.filter(|_| is_split), given: given.filter(|_| is_split) })
}

/// The number and name of who is meant: a Reference by the Practitioner it leads to (through a PractitionerRole too), else by its own
/// words; a name alone as such.
pub(super) fn staff(element: &Element<'_>) -> (Option<String>, Option<String>) {
    let Some(json) = element.json() else { return (None, None) };
    match type_of(element) {
        Type::Reference => of_reference(element, json),
        Type::CodeableReference => match json.get("reference") {
            Some(reference) => of_reference(element, reference),
            None => (None, json.get("concept").and_then(coded::concept_text).map(str::to_owned)),
        },
        Type::Identifier => (text_in(json, "value").map(str::to_owned), None),
        Type::Other if json.get("resourceType").is_some() => of_resource(element, json, MOST_STEPS),
        _ => (None, name(element).map(|name| name.whole)),
    }
}

/// Resources between a reference and a person: a PractitionerRole is one.
const MOST_STEPS: usize = 3;

fn of_reference(element: &Element<'_>, reference: &Json) -> (Option<String>, Option<String>) {
    let (id, name) = element.referred(reference).map_or((None, None), |found| of_resource(element, found, MOST_STEPS));
    let own = || number_of_reference(reference).map(str::to_owned);
    (id.or_else(own), name.or_else(|| text_in(reference, "display").map(person::tidy)))
}

fn of_resource(element: &Element<'_>, resource: &Json, steps: usize) -> (Option<String>, Option<String>) {
    if let (Some(practitioner), Some(steps)) = (resource.get("practitioner"), steps.checked_sub(1)) {
        let found = element.referred(practitioner).map(|found| of_resource(element, found, steps));
        let (id, name) = found.unwrap_or_default();
        let own = || number_of_reference(practitioner).map(str::to_owned);
        return (id.or_else(own), name.or_else(|| text_in(practitioner, "display").map(person::tidy)));
    }
    let number = best_identifier(resource).and_then(|identifier| text_in(identifier, "value"));
    let id = number.or_else(|| text_in(resource, "id")).map(str::to_owned);
    let names = items(resource, "name");
    let named = names.iter().find(|name| text_in(name, "use") == Some("official")).or_else(|| names.first());
    let name = match named {
        Some(name) => name_of(name).map(|name| name.whole),
        // Of an Organization.
        None => text_in(resource, "name").map(person::tidy),
    };
    (id, name)
}

/// The number by which a resource is known among people: official before usual, never an old one, nor a resident identity number.
pub(super) fn best_identifier(resource: &Json) -> Option<&Json> {
    let in_use = |identifier: &&Json| {
        text_in(identifier, "value").is_some()
            && text_in(identifier, "use") != Some("old")
            && !text_in(identifier, "system").is_some_and(|system| system.ends_with(RESIDENT_ID))
    };
    let all = || items(resource, "identifier").iter().filter(in_use);
    all().find(|identifier| text_in(identifier, "use") == Some("official")).or_else(|| all().next())
}

/// What a reference says of a number itself: its identifier, else the id at the end of the reference.
pub(super) fn number_of_reference(reference: &Json) -> Option<&str> {
    let identifier = reference.get("identifier").and_then(|identifier| text_in(identifier, "value"));
    identifier.or_else(|| {
        let text = text_in(reference, "reference")?;
        let text = text.split_once("/_history/").map_or(text, |(text, _)| text);
        let (_, id) = text.rsplit_once('/')?;
        Some(id).filter(|id| !id.is_empty() && !id.contains(['?', '#']))
    })
}

/// The number and its system. An object identifier is written without `urn:oid:`, as HL7 v2 has it.
pub(super) fn identifier(element: &Element<'_>) -> Option<(String, Option<String>)> {
    let json = element.json()?;
    match type_of(element) {
        Type::Identifier => identifier_of(json),
        Type::Reference => {
            let found = element.referred(json).and_then(best_identifier).and_then(identifier_of);
            let own = || json.get("identifier").and_then(identifier_of);
            found.or_else(own).or_else(|| Some((number_of_reference(json)?.to_owned(), None)))
        }
        _ => Some((element.text().into_owned(), None)).filter(|(number, _)| !number.is_empty()),
    }
}

fn identifier_of(identifier: &Json) -> Option<(String, Option<String>)> {
    let number = text_in(identifier, "value")?;
    let system = text_in(identifier, "system").map(|system| system.strip_prefix("urn:oid:").unwrap_or(system));
    let assigner = || identifier.get("assigner").and_then(|assigner| text_in(assigner, "display"));
    Some((number.to_owned(), system.or_else(assigner).map(str::to_owned)))
}

/// An Address as one line: its text, else its parts.
pub(super) fn address(element: &Element<'_>) -> Option<String> {
    let json = match (type_of(element), element.json()) {
        (Type::Address, Some(json)) => json,
        _ => return Some(element.text().into_owned()).filter(|text| !text.is_empty()),
    };
    if let Some(text) = text_in(json, "text") {
        return Some(text.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let street = lines(json);
    let [city, province, postal_code, district] =
        ["city", "state", "postalCode", "district"].map(|name| text_in(json, name));
    person::address_line(street.as_deref(), None, city, province, postal_code, district)
}

/// The lines of an Address as one: the street with the house.
pub(super) fn street(element: &Element<'_>) -> Option<String> {
    match (type_of(element), element.json()) {
        (Type::Address, Some(json)) => lines(json),
        _ => Some(element.text().into_owned()).filter(|text| !text.is_empty()),
    }
}

fn lines(address: &Json) -> Option<String> {
    let lines: Vec<&str> = items(address, "line").iter().filter_map(Json::as_str).map(str::trim).collect();
    let is_chinese = lines.iter().any(|line| person::is_chinese(line));
    Some(lines.join(if is_chinese { "" } else { ", " })).filter(|street| !street.is_empty())
}

/// A ContactPoint that can be called, in the form of [`person::dialled`].
pub(super) fn phone(element: &Element<'_>) -> Option<String> {
    let number = contact(element, |system| matches!(system, "phone" | "sms" | "pager" | "other" | ""))?;
    let is_number = number.chars().any(char::is_numeric) && !number.contains('@');
    let number = number.strip_prefix("tel:").unwrap_or(&number);
    is_number.then(|| person::dialled(number)).filter(|number| number.len() <= 64)
}

/// A ContactPoint that is an e-mail address.
pub(super) fn email(element: &Element<'_>) -> Option<String> {
    let address = contact(element, |system| matches!(system, "email" | "other" | ""))?;
    let address = address.strip_prefix("mailto:").unwrap_or(&address);
    address.contains('@').then(|| address.to_owned())
}

fn contact(element: &Element<'_>, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    match (type_of(element), element.json()) {
        (Type::ContactPoint, Some(json)) => {
            let value = text_in(json, "value").filter(|_| is_wanted(text_in(json, "system").unwrap_or_default()));
            value.map(str::to_owned)
        }
        _ => Some(element.text().into_owned()).filter(|text| !text.is_empty()),
    }
}
