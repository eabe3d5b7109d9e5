//! `heyi person show`: a person with visits and reports, as people read it.

use anyhow::Context;
use serde_json::json;

use super::super::{Verdict, audited, output};
use super::PAGE;
use crate::record::{Fields, Value};
use crate::store::persons;
use crate::store::{Store, all_pages, clinical};
use crate::view;

pub(super) fn show(store: &Store, one_id: &str, json: bool) -> anyhow::Result<Verdict> {
    audited::about(|entry| entry.person(one_id));
    let shown = store.read(|reader| {
        let Some(person) = persons::resolve(reader, one_id)? else { return Ok(None) };
        let now = person.one_id.clone();
        let visits = all_pages(|after| clinical::visits_of_person(reader, &now, after, PAGE))?;
        let reports = all_pages(|after| clinical::lab_reports_of_person(reader, &now, after, PAGE))?;
        let visits: Vec<Fields> = visits.iter().map(|visit| view::visit(visit, &now)).collect::<Result<_, _>>()?;
        let reports: Vec<Fields> =
            reports.iter().map(|report| view::lab_report(report, &now)).collect::<Result<_, _>>()?;
        Ok(Some((now, view::person_looked_up(reader, person)?, visits, reports)))
    })?;
    let (survivor, mut document, visits, reports) =
        shown.with_context(|| format!("no person has the One ID {one_id}"))?;
    audited::about(|entry| entry.person(&survivor));
    if survivor != one_id {
        document.insert("merged_into", survivor.into());
    }
    if json {
        document.insert("visits", json!(visits).into());
        document.insert("lab_reports", json!(reports).into());
        output::json(&document)?;
        return Ok(Verdict::Fine);
    }
    for (name, value) in &document {
        // What each source says, and each address and contact, is a line of its own.
        for (place, line) in said(name, value).into_iter().enumerate() {
            output::line(format!("{:18} {line}", if place == 0 { name } else { "" }))?;
        }
    }
    let cell = |record: &Fields, name: &str| record.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let rows = |records: &[Fields], names: &[&str]| -> Vec<Vec<String>> {
        records.iter().map(|record| names.iter().map(|name| cell(record, name)).collect()).collect()
    };
    output::line("")?;
    let names = ["visit_id", "class", "status", "started_at", "ended_at", "ward"];
    output::table(&["VISIT", "CLASS", "STATUS", "STARTED", "ENDED", "WARD"], &rows(&visits, &names))?;
    output::line("")?;
    let names = ["report_id", "kind", "status", "reported_at", "visit_id"];
    output::table(&["REPORT", "KIND", "STATUS", "REPORTED", "VISIT"], &rows(&reports, &names))?;
    Ok(Verdict::Fine)
}

/// A field of a person as people read it, in lines.
fn said(name: &str, value: &Value) -> Vec<String> {
    let Some(items) = value.as_array() else { return vec![plain(value)] };
    let numbers = |list: &Value| -> String {
        let kind = |identifier: &Value| identifier.get("type").map(plain).filter(|kind| kind != "mrn");
        let shown = list.as_array().into_iter().flatten().filter_map(|identifier| {
            let kind = kind(identifier).map(|kind| format!("{kind} ")).unwrap_or_default();
            Some(format!("{kind}{}", number(identifier)?.trim_start_matches('|')))
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    match name {
        "identifiers" => vec![numbers(value)],
        "sources" => {
            let part = |source: &Value, name: &str| source.get(name).map(plain).unwrap_or_default();
            let line = |source: &Value| {
                let known = source.get("identifiers").map(numbers).unwrap_or_default();
                format!("{}  {known}  {}", part(source, "source"), part(source, "updated_at"))
            };
            items.iter().map(line).collect()
        }
        _ if items.iter().all(|item| item.as_object().is_none()) => {
            vec![items.iter().map(plain).collect::<Vec<_>>().join(", ")]
        }
        _ => items.iter().map(plain).collect(),
    }
}

/// A value without the marks of JSON: the parts of an object in the order of their names.
fn plain(value: &Value) -> String {
    let all = |values: &mut dyn Iterator<Item = &Value>| values.map(plain).collect::<Vec<_>>().join(" ");
    match value {
        Value::String(text) => text.to_string(),
        Value::Array(items) => all(&mut items.iter()),
        Value::Object(fields) => all(&mut fields.iter().map(|(_, value)| value)),
        other => other.to_string(),
    }
}

/// `SYSTEM|VALUE`.
pub(super) fn number(identifier: &Value) -> Option<String> {
    let text = |part: &str| identifier.get(part).and_then(Value::as_str);
    Some(format!("{}|{}", text("system").unwrap_or_default(), text("value")?))
}
