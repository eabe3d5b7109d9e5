//! Laboratory results: what OBX-5 says, what its range says, and whether the one is outside the other. Those of FHIR are in [`fhir`].

mod fhir;

use std::borrow::Cow;

use crate::record::Value as Json;
use jiff::tz::TimeZone;

use super::coerce::lab_value::{LabValue, lab_value};
use super::coerce::number::decimal;
use super::coerce::range::{self, Limits, Range, ReadRange};
use super::coerce::{self, coded, part, person};
use super::input;
use crate::hl7v2::{Path, Value, when};
use crate::record::schema::{self, Field, Shape};
use crate::record::{Fields, Kind};

/// Flags (HL7 table 0078) that say abnormal, and those that say normal. Others, such as susceptibilities, say neither.
const ABNORMAL: &[&str] = &["H", "L", "A", "HH", "LL", "AA", "HU", "LU", "<", ">", "POS", "DET", "RR"];
const NORMAL: &[&str] = &["N", "NEG", "ND", "NR"];
/// Flags that say critical. A site's own critical codes are mapped to these by its table.
const CRITICAL: &[&str] = &["HH", "LL", "AA"];
/// Data types whose content is a document, image or wave form: kept in the raw message, not in the record.
const NOT_TEXT: &[&str] = &["ED", "RP", "NA", "MA"];
/// Other types of numbers of things and of places: whatever digits they hold were not measured.
const NAMING: &[&str] = &["HD", "EI", "PL"];
const CODED: &[&str] = &["CE", "CWE", "CNE", "CF", "IS"];
const UNCLEAR: &str = "not understood as lab_value, kept as text";
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

/// Reads what a result is: all repetitions of OBX-5, or the value of an Observation. `zone` is the source's, for times.
pub(crate) fn value(values: &[input::Value<'_>], zone: &TimeZone) -> ReadValue {
    match values {
        [input::Value::Hl7v2(value)] => read_value(std::slice::from_ref(value), zone),
        [input::Value::Fhir(element), ..] => fhir::value(element, zone),
        values => {
            let fields = values.iter().filter_map(|value| match value {
                input::Value::Hl7v2(value) => Some(*value),
                input::Value::Fhir(_) => None,
            });
            read_value(&fields.collect::<Vec<_>>(), zone)
        }
    }
}

/// Reads all repetitions of OBX-5; there is at least one. The content decides, OBX-2 only guides. `zone` is the source's, for times.
fn read_value(values: &[Value<'_>], zone: &TimeZone) -> ReadValue {
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
                let said = coded.name.as_deref().or(coded.code.as_deref()).map(|text| lab_value(text, None));
                return ReadValue {
                    fields: vec![("value_code", coerce::coded_object(value_code(), coded))],
                    value: said.filter(|value| matches!(value, LabValue::Qualitative(_))),
                    note: None,
                };
            }
        } else {
            let names = values.iter().filter_map(|value| part(value, 2).or_else(|| part(value, 1)));
            let lines: Vec<String> = names.map(Into::into).collect();
            let note = Some("several coded values, their names kept as text");
            return ReadValue { fields: vec![("value_text", Json::from(lines.join("\n")))], note, value: None };
        }
    }
    let separator = if matches!(declared, "TX" | "FT") { "\n" } else { "~" };
    let lines: Option<Vec<_>> = values.iter().map(|value| in_words(declared, value, zone)).collect();
    if let Some(lines) = lines {
        let note = lines.iter().any(Option::is_none).then_some("not what OBX-2 says, kept as sent");
        let lines =
            lines.into_iter().zip(values).map(|(words, value)| words.map_or_else(|| whole_text(value), Cow::Owned));
        let text = lines.collect::<Vec<_>>().join("\n");
        return ReadValue { fields: vec![("value_text", Json::from(text))], note, value: None };
    }
    let text = match values {
        [value] if declared == "SN" => Cow::Owned(structured(value)),
        [value] => whole_text(value),
        _ => Cow::Owned(values.iter().map(whole_text).collect::<Vec<_>>().join(separator)),
    };
    let read = read_text(&text, declared, || unit_beside(first));
    match (&read.value, values) {
        // `~5` may say "about 5", and is no empty repetition with a 5 behind it.
        (Some(LabValue::Number { .. }), [value]) if value.is_after_nothing() => {
            let whole = value.text_of(segment.field(value.location().field.unwrap_or(0)));
            ReadValue { fields: vec![("value_text", Json::from(&*whole))], note: Some(UNCLEAR), value: None }
        }
        _ => read,
    }
}

/// A value as people write it, of a data type that is put in words: times and dates in the form of records, names, addresses, amounts of
/// money. `None`: a value of another type is not put in words; `Some(None)`: it is none of its type.
fn in_words(declared: &str, value: &Value<'_>, zone: &TimeZone) -> Option<Option<String>> {
    let with = |text: Option<String>, more: Option<String>| match (text, more) {
        (Some(text), Some(more)) => Some(format!("{text} ({more})")),
        (text, more) => text.or(more),
    };
    let own = |text: Cow<'_, str>| text.into_owned();
    Some(match declared {
        "DT" | "TS" | "DTM" => part(value, 1).and_then(|sent| point_in_time(&sent, zone)),
        "TM" => part(value, 1).and_then(|sent| when::time_of_day(&sent)),
        "DR" => {
            let [start, end] = [1, 2].map(|number| part(value, number).map(|sent| point_in_time(&sent, zone)));
            match (start, end) {
                (Some(start), Some(end)) => start.zip(end).map(|(start, end)| format!("{start} - {end}")),
                (start, end) => start.or(end).flatten(),
            }
        }
        "NR" => {
            // A number by itself is no range: some write NR where they mean "numeric result".
            let [low, high] = [1, 2].map(|number| part(value, number));
            let is_number = |part: &Option<Cow<'_, str>>| part.as_deref().is_none_or(|part| decimal(part).is_some());
            match (&low, &high) {
                _ if !is_number(&low) || !is_number(&high) => None,
                (Some(low), Some(high)) => Some(format!("{low}-{high}")),
                (None, Some(high)) => Some(format!("<={high}")),
                _ => None,
            }
        }
        "MO" => part(value, 1).filter(|amount| decimal(amount).is_some()).map(|amount| match part(value, 2) {
            Some(currency) => format!("{amount} {currency}"),
            None => own(amount),
        }),
        "XPN" | "PN" => person::name(value).map(|name| name.whole),
        "XCN" | "CN" => {
            let (id, name) = person::staff(value);
            with(name, id)
        }
        "XAD" | "AD" => person::address(value),
        "XTN" | "TN" => person::phone(value).or_else(|| person::email(value)),
        "XON" => with(part(value, 1).map(own), part(value, 10).or_else(|| part(value, 3)).map(own)),
        "CX" | "CK" => coded::identifier(value).and_then(|(number, authority)| with(Some(number), authority)),
        _ => return None,
    })
}

/// A date or time in the form of records; `None` where it is none.
fn point_in_time(sent: &str, zone: &TimeZone) -> Option<String> {
    when::parse(sent, zone).ok().flatten()
}

/// All of a repetition: `10^5` may have lost its escape. Components that are empty at its end say nothing.
fn whole_text<'m>(value: &Value<'m>) -> Cow<'m, str> {
    let separator = char::from(value.message().delimiters().component);
    value.text_of(value.raw().trim_end().trim_end_matches(separator))
}

/// What OBX-6 says beside this value.
fn unit_beside(value: &Value<'_>) -> Option<String> {
    value.beside(6).value().filter(|_| value.segment().name() == "OBX").and_then(|unit| coded::unit(&unit))
}

fn read_text(text: &str, declared: &str, unit: impl Fn() -> Option<String>) -> ReadValue {
    if text.is_empty() {
        return ReadValue::default();
    }
    if NAMING.contains(&declared) || (declared != "NM" && is_number_of_a_thing(text)) {
        return ReadValue { fields: vec![("value_text", Json::from(text))], ..ReadValue::default() };
    }
    let plain = decimal(text);
    // `+2` is the second of four degrees only where no number was announced.
    let announced = plain.clone().filter(|_| matches!(declared, "NM" | "SN"));
    let mut fields = Vec::with_capacity(4);
    let value = match announced {
        Some(number) => LabValue::Number { comparator: None, number, flag: None },
        None if plain.is_some() => lab_value(text, None),
        None => {
            let unit = unit();
            let percent = || text.trim_end().ends_with(['%', '％']).then_some("%");
            let value = lab_value(text, unit.as_deref().or_else(percent));
            if let (LabValue::Number { .. }, None, Some(percent)) = (&value, &unit, percent()) {
                fields.push(("unit", Json::from(percent)));
            }
            value
        }
    };
    let mut note = None;
    match &value {
        LabValue::Number { comparator, number, .. } => {
            fields.push(("value_number", Json::Number(number.clone())));
            if let Some(comparator) = comparator {
                fields.push(("comparator", Json::from(*comparator)));
            }
            if plain.is_none() {
                fields.push(("value_text", Json::from(text)));
            }
        }
        // From one number to another.
        LabValue::Unclear if declared == "SN" && is_span(text) => {}
        LabValue::Unclear => note = Some(UNCLEAR),
        LabValue::Words if matches!(declared, "NM" | "SN") => note = Some("declared as a number, kept as text"),
        LabValue::Words | LabValue::Qualitative(_) | LabValue::Titre { .. } => {}
    }
    if fields.is_empty() {
        fields.push(("value_text", Json::from(text)));
    }
    ReadValue { fields, value: Some(value), note }
}

/// `0012345`, or longer than any measurement: digits that name something.
fn is_number_of_a_thing(text: &str) -> bool {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits && (text.len() > MAX_MEASURED_DIGITS || (text.len() > 1 && text.starts_with('0')))
}

/// `10-20`.
fn is_span(text: &str) -> bool {
    text.split_once('-').is_some_and(|(low, high)| decimal(low).is_some() && decimal(high).is_some())
}

/// SN (HL7 v2.5.1 chapter 2A, 2A.73): comparator ^ number ^ separator ^ number, as one would write it.
fn structured(value: &Value<'_>) -> String {
    if value.component(2).value().is_none() {
        return whole_text(value).into_owned();
    }
    // `=` is what no comparator says too.
    (1..=4).filter_map(|number| part(value, number).filter(|part| number > 1 || part != "=")).collect()
}

/// What OBX-7 says.
#[derive(Debug, Default)]
pub(crate) struct ReadReference {
    /// `reference_range`; `None` if there is nothing in it.
    pub(crate) object: Option<Json>,
    /// The range as understood, to compare with the value.
    pub(crate) range: Option<Range>,
    /// What was not understood. Holds no value.
    pub(crate) note: Option<&'static str>,
}

/// Reads the reference range of a result; `all`: what else the path leads to in FHIR, where ranges are told apart.
pub(crate) fn range<'m>(
    path: &input::Path,
    value: &input::Value<'m>,
    all: impl FnOnce() -> Vec<input::Value<'m>>,
    sex: Option<&str>,
) -> ReadReference {
    match (path, value) {
        (input::Path::Hl7v2(path), input::Value::Hl7v2(value)) => reference_range(path, value, sex),
        _ => {
            let elements = all().into_iter().filter_map(|value| match value {
                input::Value::Fhir(element) => Some(element),
                input::Value::Hl7v2(_) => None,
            });
            fhir::ranges(&elements.collect::<Vec<_>>(), sex)
        }
    }
}

/// Reads OBX-7. The whole field counts: a `~` between two limits is no repetition.
fn reference_range(path: &Path, value: &Value<'_>, sex: Option<&str>) -> ReadReference {
    let text = match (path.field(), path.component()) {
        (Some(field), None) => value.text_of(value.segment().field(field)),
        _ => value.text(),
    };
    let text = text.trim();
    if text.is_empty() {
        return ReadReference::default();
    }
    let unit = if range::is_bare(text) { None } else { unit_beside(value) };
    let (range, note) = match range::reference_range(text, sex, unit.as_deref()) {
        ReadRange::Range(range) => (Some(range), None),
        ReadRange::Nothing => (None, None),
        ReadRange::BySex => (None, Some("a range by sex, and the patient's is not known; kept as text")),
        ReadRange::Unclear => match coded_answer(value) {
            Some(highest) => (Some(highest), None),
            None => (None, Some("not understood as reference_range, kept as text")),
        },
    };
    ReadReference { object: Some(range_object(range.as_ref(), text)), range, note }
}

/// `reference_range` as records have it.
fn range_object(range: Option<&Range>, text: &str) -> Json {
    let mut object = Fields::new();
    if let Some(Range::Numbers(Limits { low, high })) = range {
        for (name, limit) in [("low", low), ("high", high)] {
            if let Some((number, _)) = limit {
                object.insert(name, Json::Number(number.clone()));
            }
        }
    }
    object.insert("text", Json::from(text));
    Json::Object(object)
}

/// The answer of a range that came as a coded value: `N^阴性^L`.
fn coded_answer(value: &Value<'_>) -> Option<Range> {
    match range::reference_range(&part(value, 2)?, None, None) {
        ReadRange::Range(highest @ Range::AtMost(_)) => Some(highest),
        _ => None,
    }
}

/// Sets `flags` from an arrow, and `abnormal` and `critical` from the flags, else from value and range, unless the mapping did. A flag that
/// says nothing of either (a source's own word, how the value has changed) does not hide what the others say.
pub(crate) fn judge(fields: &mut Fields, value: Option<&LabValue>, range: Option<&Range>) {
    let known = |flag: &Json| flag.as_str().is_some_and(|flag| ABNORMAL.contains(&flag) || NORMAL.contains(&flag));
    let mut sent = fields.get("flags").and_then(Json::as_array).cloned().unwrap_or_default();
    if let Some(LabValue::Number { flag: Some(flag), .. }) = value
        && !sent.iter().any(known)
    {
        sent.push(Json::from(*flag));
        fields.insert("flags", Json::Array(sent.clone()));
    }
    let flags: Vec<&str> = sent.iter().filter_map(Json::as_str).collect();
    let has = |known: &[&str]| flags.iter().any(|flag| known.contains(flag));
    let by_flags = match (has(ABNORMAL), has(NORMAL)) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    let by_range = || value.zip(range).and_then(|(value, range)| range::is_outside(value, range));
    let abnormal = by_flags.or_else(by_range);
    let is_critical = has(CRITICAL);
    if let (Some(abnormal), false) = (abnormal, fields.contains_key("abnormal")) {
        fields.insert("abnormal", Json::from(abnormal));
    }
    // Absent is "not known": a source without critical flags must not look as if it had checked.
    if is_critical && !fields.contains_key("critical") {
        fields.insert("critical", Json::from(true));
    }
}

fn value_code() -> &'static [Field] {
    match schema::find(Kind::LabReport, "results.value_code").map(|field| field.shape) {
        Some(Shape::Object(inner)) => inner,
        _ => &[],
    }
}
