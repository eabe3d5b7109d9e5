//! Laboratory results: what OBX-5 says, what its range says, and whether the one is outside the other.

use crate::record::{Value as Json, json};

use super::coerce::lab_value::{LabValue, lab_value};
use super::coerce::number::decimal;
use super::coerce::range::{self, Range};
use super::coerce::{self, coded, part};
use crate::hl7v2::{Path, Value};
use crate::record::schema::{self, Field, Shape};
use crate::record::{Fields, Kind};

/// Flags (HL7 table 0078) that say abnormal, and those that say normal. Others, such as susceptibilities, say neither.
const ABNORMAL: &[&str] = &["H", "L", "A", "HH", "LL", "AA", "HU", "LU", "<", ">", "POS", "DET", "RR"];
const NORMAL: &[&str] = &["N", "NEG", "ND", "NR"];
/// Flags that say critical. A site's own critical codes are mapped to these by its table.
const CRITICAL: &[&str] = &["HH", "LL", "AA"];
/// Data types whose content is a document, image or wave form: kept in the raw message, not in the record.
const NOT_TEXT: &[&str] = &["ED", "RP", "NA", "MA"];
/// Data types whose digits are no measured number.
const TIMES: &[&str] = &["DT", "TM", "TS", "DTM"];
const CODED: &[&str] = &["CE", "CWE", "CNE", "CF", "IS"];
/// More digits than any measurement has: barcodes, sample numbers.
const MAX_MEASURED_DIGITS: usize = 15;

/// What OBX-5 says.
#[derive(Debug, Default)]
pub(crate) struct ReadValue {
    /// Fields of the result and what they become.
    pub(crate) fields: Vec<(&'static str, Json)>,
    /// The value as understood, to compare with the range.
    pub(crate) value: Option<LabValue>,
    /// What was not understood. Holds no value.
    pub(crate) note: Option<&'static str>,
}

/// Reads all repetitions of OBX-5; there is at least one. The content decides, OBX-2 only guides.
pub(crate) fn read_value(values: &[Value<'_>]) -> ReadValue {
    let Some(first) = values.first() else { return ReadValue::default() };
    let segment = first.segment();
    let declared = if segment.name() == "OBX" { segment.field(2).trim() } else { "" };
    if NOT_TEXT.contains(&declared) {
        return ReadValue {
            note: Some("a document, image or wave form, kept in the message only"),
            ..ReadValue::default()
        };
    }
    if CODED.contains(&declared) {
        if let [value] = values {
            // One component alone is a value that was only declared as coded.
            if let Some(coded) = coded::coded(value).filter(|coded| coded.name.is_some() || coded.system.is_some()) {
                return ReadValue {
                    fields: vec![("value_code", coerce::coded_object(value_code(), coded))],
                    ..ReadValue::default()
                };
            }
        } else {
            let names = values.iter().filter_map(|value| part(value, 2).or_else(|| part(value, 1)));
            let lines: Vec<String> = names.map(Into::into).collect();
            let note = Some("several coded values, their names kept as text");
            return ReadValue { fields: vec![("value_text", json!(lines.join("\n")))], note, value: None };
        }
    }
    let separator = if matches!(declared, "TX" | "FT") { "\n" } else { "~" };
    let text = match values {
        [value] if declared == "SN" => structured(value),
        [value] => value.text().into_owned(),
        _ => values.iter().map(|value| value.text()).collect::<Vec<_>>().join(separator),
    };
    read_text(text, declared)
}

fn read_text(text: String, declared: &str) -> ReadValue {
    if text.is_empty() {
        return ReadValue::default();
    }
    if TIMES.contains(&declared) || (declared != "NM" && is_number_of_a_thing(&text)) {
        return ReadValue { fields: vec![("value_text", json!(text))], ..ReadValue::default() };
    }
    // `+2` is the second of four degrees only where no number was announced.
    let announced = decimal(&text).filter(|_| matches!(declared, "NM" | "SN"));
    let value = match announced {
        Some(number) => LabValue::Number { comparator: None, number, flag: None },
        None => lab_value(&text),
    };
    let mut fields = Vec::with_capacity(3);
    let mut note = None;
    match &value {
        LabValue::Number { comparator, number, flag } => {
            fields.push(("value_number", Json::Number(number.clone())));
            if let Some(comparator) = comparator {
                fields.push(("comparator", json!(comparator)));
            }
            if comparator.is_some() || flag.is_some() {
                fields.push(("value_text", json!(text)));
            }
        }
        LabValue::Unclear => note = Some("not understood as lab_value, kept as text"),
        LabValue::Words if matches!(declared, "NM" | "SN") => note = Some("declared as a number, kept as text"),
        LabValue::Words | LabValue::Qualitative(_) | LabValue::Titre => {}
    }
    if fields.is_empty() {
        fields.push(("value_text", json!(text)));
    }
    ReadValue { fields, value: Some(value), note }
}

/// `0012345`, or longer than any measurement: digits that name something.
fn is_number_of_a_thing(text: &str) -> bool {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits && (text.len() > MAX_MEASURED_DIGITS || (text.len() > 1 && text.starts_with('0')))
}

/// SN (HL7 v2.5.1 chapter 2A, 2A.73): comparator ^ number ^ separator ^ number, as one would write it.
fn structured(value: &Value<'_>) -> String {
    if value.component(2).value().is_none() {
        return value.text().into_owned();
    }
    (1..=4).filter_map(|number| part(value, number)).collect()
}

/// OBX-7 as an object, and what it was understood as. The whole field counts: a `~` between two limits is no repetition.
pub(crate) fn reference_range(path: &Path, value: &Value<'_>, sex: Option<&str>) -> (Option<Json>, Option<Range>) {
    let text = match (path.field(), path.component()) {
        (Some(field), None) => value.text_of(value.segment().field(field)),
        _ => value.text(),
    };
    let text = text.trim();
    if text.is_empty() {
        return (None, None);
    }
    let range = range::reference_range(text, sex);
    let mut object = Fields::new();
    if let Some(Range::Numbers { low, high }) = &range {
        for (name, limit) in [("low", low), ("high", high)] {
            if let Some((number, _)) = limit {
                object.insert(name, Json::Number(number.clone()));
            }
        }
    }
    object.insert("text", json!(text));
    (Some(Json::Object(object)), range)
}

/// Sets `flags` from an arrow, and `abnormal` and `critical` from the flags, else from value and range, unless the mapping did.
pub(crate) fn judge(fields: &mut Fields, value: Option<&LabValue>, range: Option<&Range>) {
    if let (Some(LabValue::Number { flag: Some(flag), .. }), false) = (value, fields.contains_key("flags")) {
        fields.insert("flags", json!([flag]));
    }
    let flags: Vec<&str> =
        fields.get("flags").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    let has = |known: &[&str]| flags.iter().any(|flag| known.contains(flag));
    let by_flags = match (has(ABNORMAL), has(NORMAL)) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    let abnormal = match (flags.is_empty(), value, range) {
        (true, Some(value), Some(range)) => range::is_outside(value, range),
        _ => by_flags,
    };
    let is_critical = has(CRITICAL);
    if let (Some(abnormal), false) = (abnormal, fields.contains_key("abnormal")) {
        fields.insert("abnormal", json!(abnormal));
    }
    // Absent is "not known": a source without critical flags must not look as if it had checked.
    if is_critical && !fields.contains_key("critical") {
        fields.insert("critical", json!(true));
    }
}

fn value_code() -> &'static [Field] {
    match schema::find(Kind::LabReport, "results.value_code").map(|field| field.shape) {
        Some(Shape::Object(inner)) => inner,
        _ => &[],
    }
}
