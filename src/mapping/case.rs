//! Cases beside the mappings: a message as sent and what is expected of it. The runner behind `heyi mapping test`.
//!
//! A case is `fixtures/<mapping>/<case>.hl7`, or `<case>.json` with resources of FHIR, with `<case>.expected.json`; who reads and writes these files is not decided here.

use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use super::{Context, Disposition, Format, MapError, Mapped, Mapping};
use crate::fhir::{Unit, compose};
use crate::hl7v2::{CharsetSetting, Limits, Message, batch};

/// What a mapping makes of the bytes of one message, or of a file of resources, in the form of `.expected.json`: `records`, and where there are any
/// `skipped`, `rejected`, `unmapped` and `notes`; else `ignored` or `error`.
pub fn outcome(mapping: &Mapping, raw: &[u8], charset: &CharsetSetting, zone: &TimeZone) -> Json {
    let context = Context { zone, facility: None, explain: false };
    match mapping.format() {
        Format::Hl7v2 => match batch::split(raw).messages.len() {
            // What follows the first one would go by unseen.
            several @ 2.. => unreadable(&format!("a case is one message, and this file holds {several}")),
            _ => match Message::read(raw, charset, &Limits::default()) {
                Ok((message, _)) => shown(mapping.apply(&message, &context)),
                Err(error) => unreadable(&error),
            },
        },
        Format::Fhir => match compose::Set::read(raw) {
            Ok(resources) if resources.is_empty() => unreadable(&"it holds no FHIR resource"),
            Ok(resources) => units_outcome(mapping, &resources, &context),
            Err(error) => unreadable(&error),
        },
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> Json {
    json!({"error": {"text": error.to_string()}})
}

/// Why an outcome is a rejection: the message, or a unit of it, cannot be read or mapped. `None`: it is none.
pub fn rejection(outcome: &Json) -> Option<String> {
    let units = outcome.get("units").and_then(Json::as_array);
    if units.is_some_and(Vec::is_empty) {
        return Some("of its resources none makes a record".to_owned());
    }
    let units = units.into_iter().flatten();
    let error = std::iter::once(outcome).chain(units).find_map(|outcome| outcome.get("error"))?;
    let [location, text] = ["location", "text"].map(|name| error.get(name).and_then(Json::as_str).unwrap_or_default());
    Some(if location.is_empty() { text.to_owned() } else { format!("{location}: {text}") })
}

/// What becomes of each unit that resources make, named by its focal resource; of a single one without the name.
fn units_outcome(mapping: &Mapping, resources: &compose::Set, context: &Context<'_>) -> Json {
    let outcomes = resources.units().into_iter().map(|bundle| match Unit::from_json(bundle) {
        Ok(unit) => {
            let mut outcome = shown(mapping.apply(&unit, context));
            outcome["unit"] = json!(unit.focal().name());
            outcome
        }
        Err(error) => unreadable(&error),
    });
    let mut outcomes: Vec<Json> = outcomes.collect();
    match outcomes.as_mut_slice() {
        [single] => {
            if let Some(fields) = single.as_object_mut() {
                fields.remove("unit");
            }
            outcomes.remove(0)
        }
        _ => json!({"units": outcomes}),
    }
}

fn shown(outcome: Result<Mapped, MapError>) -> Json {
    match outcome {
        Ok(mapped) => mapped_outcome(mapped),
        Err(MapError { location, code, text, .. }) => {
            json!({"error": {"location": location.to_string(), "code": code.as_str(), "text": text}})
        }
    }
}

fn mapped_outcome(mapped: Mapped) -> Json {
    if let Disposition::Ignored { reason } = mapped.disposition {
        return json!({"ignored": reason});
    }
    let records: Vec<Json> =
        mapped.records.into_iter().map(|record| json!({"kind": record.kind.name(), "record": record.fields})).collect();
    let mut outcome = json!({"records": records});
    let lists = [
        ("skipped", list(&mapped.skipped, |one| json!({"path": one.path, "rule": one.rule, "reason": one.reason}))),
        (
            "rejected",
            list(&mapped.rejected, |one| json!({"path": one.path, "code": one.code.as_str(), "text": one.text})),
        ),
        ("unmapped", list(&mapped.unmapped, |one| json!({"table": one.table, "code": one.code, "target": one.target}))),
        ("notes", list(&mapped.notes, |note| json!(note))),
    ];
    for (name, entries) in lists {
        if !entries.is_empty() {
            outcome[name] = Json::Array(entries);
        }
    }
    outcome
}

fn list<T>(entries: &[T], to_json: impl Fn(&T) -> Json) -> Vec<Json> {
    entries.iter().map(to_json).collect()
}

/// Where two outcomes differ, one line each: `records[0].record.name: expected "张伟", found nothing`.
pub fn differences(expected: &Json, found: &Json) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", Some(expected), Some(found), &mut lines);
    lines
}

fn compare(place: &str, expected: Option<&Json>, found: Option<&Json>, lines: &mut Vec<String>) {
    match (expected, found) {
        (Some(Json::Object(expected)), Some(Json::Object(found))) => {
            let mut names: Vec<&String> = expected.keys().chain(found.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                compare(&place, expected.get(name), found.get(name), lines);
            }
        }
        (Some(Json::Array(expected)), Some(Json::Array(found))) => {
            for index in 0..expected.len().max(found.len()) {
                compare(&format!("{place}[{index}]"), expected.get(index), found.get(index), lines);
            }
        }
        (expected, found) if expected != found => {
            let shown = |value: Option<&Json>| value.map_or_else(|| "nothing".to_owned(), Json::to_string);
            lines.push(format!("{place}: expected {}, found {}", shown(expected), shown(found)));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_their_places() {
        let expected = json!({"records": [{"name": "张伟", "sex": "male", "n": 1}, {"a": 1}]});
        let found = json!({"records": [{"name": "张伟", "sex": "female", "more": true, "n": 1}]});
        assert_eq!(
            differences(&expected, &found),
            [
                "records[0].more: expected nothing, found true",
                "records[0].sex: expected \"male\", found \"female\"",
                "records[1]: expected {\"a\":1}, found nothing",
            ]
        );
        assert_eq!(differences(&expected, &expected), Vec::<String>::new());
    }
}
