//! Results of FHIR: `Observation.value[x]` and `referenceRange`.

use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::{ReadReference, ReadValue, read_text, value_code};
use crate::mapping::coerce::fhir::{self, Type, text_in, type_of};
use crate::mapping::coerce::lab_value::{LabValue, lab_value};
use crate::mapping::coerce::number::decimal;
use crate::mapping::coerce::range::{self, Limits, Range, ReadRange};
use crate::mapping::coerce::{self, coded};
use crate::mapping::input::Element;
use crate::record::{Fields, Value};

/// Comparators of FHIR that records have; `ad` (R5, sufficient to achieve) is none of them.
const COMPARATORS: [&str; 4] = ["<=", ">=", "<", ">"];

/// Reads `value[x]`.
pub(super) fn value(element: &Element<'_>, zone: &TimeZone) -> ReadValue {
    let as_text = |text: String| match text.is_empty() {
        true => ReadValue::default(),
        false => ReadValue { fields: vec![("value_text", Value::from(text))], ..ReadValue::default() },
    };
    match (type_of(element), element.json()) {
        (Type::Quantity, Some(json)) => quantity(json),
        (Type::CodeableConcept | Type::Coding | Type::CodeableReference, Some(_)) => concept(element),
        (Type::SampledData | Type::Attachment, _) => {
            ReadValue { note: Some("a document, image or wave form, kept in the message only"), ..ReadValue::default() }
        }
        (Type::Ratio, _) => {
            let text = element.text().into_owned();
            let titre = Some(lab_value(&text, None)).filter(|value| matches!(value, LabValue::Titre { .. }));
            ReadValue { value: titre, ..as_text(text) }
        }
        (Type::Primitive, json) => match (element.type_name(), json) {
            ("dateTime" | "date" | "instant", _) => as_text(fhir::point_in_time(&element.text(), zone)),
            ("time" | "boolean", _) | (_, Some(Json::Bool(_))) => as_text(element.text().into_owned()),
            (_, Some(Json::Number(_))) => read_text(&element.text(), "NM", || None),
            _ => read_text(&element.text(), "ST", || None),
        },
        _ => as_text(element.text().into_owned()),
    }
}

/// The number with its comparator; its unit is a field of its own, with a rule of its own.
fn quantity(json: &Json) -> ReadValue {
    let Some(sent) = json.get("value").and_then(fhir::number_text) else { return ReadValue::default() };
    let Some(number) = decimal(&sent) else {
        // A number as text, as some servers have it.
        return read_text(&sent, "ST", || fhir::quantity_unit_of(json));
    };
    let written = text_in(json, "comparator");
    let comparator = COMPARATORS.into_iter().find(|known| Some(*known) == written);
    let mut fields = vec![("value_number", Value::Number(number.clone()))];
    fields.extend(comparator.map(|comparator| ("comparator", Value::from(comparator))));
    let note = (written.is_some() && comparator.is_none()).then_some("a comparator that records do not have, left out");
    ReadValue { fields, value: Some(LabValue::Number { comparator, number, flag: None }), note }
}

fn concept(element: &Element<'_>) -> ReadValue {
    let Some(coded) = fhir::coding(element) else { return ReadValue::default() };
    let coded::Coded { code, name, .. } = &coded;
    let said = name.as_deref().or(code.as_deref()).map(|text| lab_value(text, None));
    let said = said.filter(|value| matches!(value, LabValue::Qualitative(_)));
    match (code, name) {
        // Words alone are a value like any other text.
        (None, Some(text)) => read_text(text, "ST", || None),
        _ => ReadValue {
            fields: vec![("value_code", coerce::coded_object(value_code(), coded))],
            value: said,
            note: None,
        },
    }
}

/// Reads those of an Observation's reference ranges that are for this patient. Where several remain, all of them are kept as text.
pub(super) fn ranges(elements: &[Element<'_>], sex: Option<&str>) -> ReadReference {
    let all: Vec<&Json> = elements.iter().filter_map(Element::json).collect();
    let by_sex = |range: &&&Json| sex_of(range).is_none_or(|of| Some(of) == sex);
    let mut left: Vec<&Json> = all.iter().filter(by_sex).copied().collect();
    if left.is_empty() && !all.is_empty() {
        let note = "a range by sex, and the patient's is not known; kept as text";
        return ReadReference { object: joined(&all), range: None, note: Some(note) };
    }
    let normal: Vec<&Json> = left.iter().filter(|range| is_normal(range)).copied().collect();
    if normal.is_empty() && !left.is_empty() {
        // Therapeutic, recommended, critical …: nothing that a flag could be judged by.
        return ReadReference { object: joined(&left), ..ReadReference::default() };
    }
    left = normal;
    // One that is for this sex says more than one for all.
    let own: Vec<&Json> = left.iter().filter(|range| sex_of(range).is_some()).copied().collect();
    if !own.is_empty() {
        left = own;
    }
    match left.as_slice() {
        [] => ReadReference::default(),
        [one] => single(one, sex),
        several => ReadReference {
            object: joined(several),
            range: None,
            note: Some("several reference ranges (by age or other conditions), kept as text"),
        },
    }
}

fn single(json: &Json, sex: Option<&str>) -> ReadReference {
    let limit = |name: &str| {
        let limit = json.get(name)?;
        Some((decimal(&fhir::number_text(limit.get("value")?)?)?, true))
    };
    let (low, high) = (limit("low"), limit("high"));
    let Some(text) = range_text(json) else { return ReadReference::default() };
    if low.is_none() && high.is_none() {
        let (range, note) = match range::reference_range(&text, sex, None) {
            ReadRange::Range(range) => (Some(range), None),
            ReadRange::Nothing => (None, None),
            ReadRange::BySex => (None, Some("a range by sex, and the patient's is not known; kept as text")),
            ReadRange::Unclear => (None, Some("not understood as reference_range, kept as text")),
        };
        return ReadReference { object: Some(super::range_object(range.as_ref(), &text)), range, note };
    }
    let range = Range::Numbers(Limits { low, high });
    ReadReference { object: Some(super::range_object(Some(&range), &text)), range: Some(range), note: None }
}

/// The text of a range, else its limits in words.
fn range_text(json: &Json) -> Option<String> {
    text_in(json, "text").map(str::to_owned).or_else(|| fhir::range_text(json)).or_else(|| {
        // R5: a range of words.
        let normal = json.get("normalValue")?;
        fhir::concept_text(normal).map(str::to_owned)
    })
}

fn joined(ranges: &[&Json]) -> Option<Value> {
    let texts: Vec<String> = ranges
        .iter()
        .filter_map(|range| {
            let text = range_text(range)?;
            let applies = fhir::items(range, "appliesTo").iter().filter_map(fhir::concept_text);
            let age = range.get("age").and_then(fhir::range_text);
            let about: Vec<String> = applies.map(str::to_owned).chain(age).collect();
            Some(if about.is_empty() { text } else { format!("{text} ({})", about.join(", ")) })
        })
        .collect();
    let mut object = Fields::new();
    object.insert("text", Value::from(texts.join("; ")));
    (!texts.is_empty()).then_some(Value::Object(object))
}

/// Of the meanings of <http://terminology.hl7.org/CodeSystem/referencerange-meaning> the one that a flag is judged by.
fn is_normal(range: &Json) -> bool {
    let Some(meaning) = range.get("type") else { return true };
    fhir::items(meaning, "coding").iter().any(|coding| text_in(coding, "code") == Some("normal"))
}

/// The sex that a range is for, where it says one.
fn sex_of(range: &Json) -> Option<&'static str> {
    // AdministrativeGender, v3 and SNOMED CT (female, male), and words.
    const FEMALE: &[&str] = &["female", "F", "248152002", "女", "女性"];
    const MALE: &[&str] = &["male", "M", "248153007", "男", "男性"];
    let concepts = fhir::items(range, "appliesTo");
    let codes = concepts.iter().flat_map(|concept| {
        let codings = fhir::items(concept, "coding").iter();
        codings.filter_map(|coding| text_in(coding, "code")).chain(text_in(concept, "text"))
    });
    codes.into_iter().find_map(|code| {
        let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(code));
        if is(FEMALE) { Some("female") } else { is(MALE).then_some("male") }
    })
}
