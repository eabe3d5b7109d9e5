//! `heyi mapping explain`: field, path, text as sent, coercion, table row, rule.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::super::{Verdict, WrongUsage, audited, existing_store, output};
use super::{short, source};
use crate::config::Config;
use crate::fhir::compose::{FOCAL, Set};
use crate::hl7v2::batch;
use crate::mapping::{Disposition, ExplainedField, Format};
use crate::pipeline::{self, Examined, Failure, Source};
use crate::record::{Fields, Value};
use crate::store::messages::{self, Message};

#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// The source whose mapping is asked; with --message it may be left out.
    #[arg(required_unless_present = "message")]
    source: Option<String>,
    /// A file with one message, or with resources of FHIR (a resource, a Bundle, NDJSON); - is standard input.
    #[arg(required_unless_present = "message", conflicts_with = "message")]
    file: Option<PathBuf>,
    /// A stored message, by its number, as the mapping files are now.
    #[arg(long, value_name = "ID")]
    message: Option<i64>,
    /// Which message of the file, or which unit of its resources, from 1.
    #[arg(long, value_name = "N", conflicts_with = "message")]
    number: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let (source, inputs, stored) = match (arguments.message, &arguments.source, &arguments.file) {
        (Some(id), name, _) => {
            let (source, raw, message) = stored(config, id, name.as_deref())?;
            (source, vec![raw], message)
        }
        (None, Some(name), Some(file)) => {
            let source = source(config, name)?;
            let inputs = match source.mapping.format() {
                Format::Hl7v2 => vec![from_file(file, arguments.number)?],
                Format::Fhir => units(file, arguments.number)?,
            };
            (source, inputs, None)
        }
        _ => bail!("name a source and a file, or --message ID"),
    };
    let all: Vec<Examined> = inputs.iter().map(|raw| pipeline::examine(&source, raw)).collect();
    let mut told: Vec<(&Examined, Vec<Explained<'_>>)> = Vec::new();
    for examined in &all {
        let records = (0..examined.mapped.records.len()).map(|index| explained(&source, examined, index));
        let is_told =
            |record: &Explained<'_>| told.iter().flat_map(|(_, told)| told).any(|other| other.record == record.record);
        // Each unit says the whole of its patient: once is enough.
        let records = records.filter(|record| !is_told(record)).collect();
        told.push((examined, records));
    }
    if arguments.json {
        let mut document = document(&source, &told);
        if let Some(message) = &stored {
            document["message"] = json!({
                "id": message.id,
                "state": message.outcome.state.name(),
                "mapping_version": message.outcome.mapping,
            });
        }
        output::json(&document)?;
    } else {
        output::line(format!("mapping {} of source {}", source.mapping.version(), source.name))?;
        if let Some(Message { id, outcome, .. }) = &stored {
            let (state, version) = (outcome.state.name(), &outcome.mapping);
            let by = if *version == source.mapping.version() { "this mapping" } else { &format!("mapping {version}") };
            output::line(format!("message {id} is stored as {state}, by {by}"))?;
        }
        for (examined, records) in &told {
            print(examined, records)?;
        }
    }
    Ok(if all.iter().all(|examined| examined.failure.is_none()) { Verdict::Fine } else { Verdict::Wrong })
}

fn stored(config: &Config, id: i64, name: Option<&str>) -> anyhow::Result<(Source, Vec<u8>, Option<Message>)> {
    let store = existing_store(config)?;
    let (message, bytes) = store.read(|reader| Ok((messages::get(reader, id)?, messages::bytes(reader, id)?)))?;
    let message =
        message.ok_or_else(|| WrongUsage(format!("no message has the number {id}; retention may have removed it")))?;
    audited::about(|entry| {
        entry.object("message", id);
        entry.persons(message.outcome.one_id.as_deref());
    });
    if let Some(name) = name.filter(|name| *name != message.source) {
        return Err(WrongUsage(format!("message {id} is of source {}, not of {name}", message.source)).into());
    }
    let bytes = bytes.filter(|bytes| !bytes.is_empty());
    let bytes =
        bytes.with_context(|| format!("the bytes of message {id} are not kept; its sender can send it again"))?;
    Ok((source(config, &message.source)?, bytes, Some(message)))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(file).map_err(|error| WrongUsage(format!("{}: {error}", file.display())))?;
    }
    Ok(bytes)
}

/// The units of a file of resources, or the one of this number.
fn units(file: &Path, number: Option<usize>) -> anyhow::Result<Vec<Vec<u8>>> {
    let wrong = |text: String| WrongUsage(format!("{}: {text}", file.display()));
    let resources = Set::read(&read(file)?).map_err(|error| wrong(error.to_string()))?;
    let mut units: Vec<Vec<u8>> = resources.units().iter().map(|unit| unit.to_string().into_bytes()).collect();
    if units.is_empty() {
        let focal = FOCAL.join(", ");
        return Err(wrong(format!("of its {} resources none makes a record: {focal}", resources.len())).into());
    }
    let Some(number) = number else { return Ok(units) };
    match number.checked_sub(1).filter(|index| *index < units.len()) {
        Some(index) => Ok(vec![units.swap_remove(index)]),
        None => Err(wrong(format!("it makes {} units", units.len())).into()),
    }
}

fn from_file(file: &Path, number: Option<usize>) -> anyhow::Result<Vec<u8>> {
    let bytes = read(file)?;
    let messages = batch::split(&bytes).messages;
    match (messages.len(), number) {
        (0 | 1, None | Some(1)) => Ok(bytes),
        (_, Some(number)) => {
            let message = number.checked_sub(1).and_then(|index| messages.get(index));
            let told = || WrongUsage(format!("{} holds {} messages", file.display(), messages.len()));
            Ok(message.ok_or_else(told)?.to_vec())
        }
        (count, None) => {
            let text = format!("{} holds {count} messages; choose one with --number 1 to {count}", file.display());
            Err(WrongUsage(text).into())
        }
    }
}

/// One record and where its fields are from.
struct Explained<'e> {
    kind: &'static str,
    record: Fields,
    fields: Vec<&'e ExplainedField>,
    /// What no rule gave by itself: it follows from other fields, or from the configuration.
    derived: Vec<(String, Value)>,
}

fn explained<'e>(source: &Source, examined: &'e Examined, index: usize) -> Explained<'e> {
    let mapped = &examined.mapped.records[index];
    let record = pipeline::preview(source, mapped);
    let fields: Vec<_> = examined.mapped.explanation.iter().filter(|field| field.record == index).collect();
    let mut derived = Vec::new();
    leaves("", &Value::Object(record.clone()), &mut |place, value| {
        let is_told = fields.iter().any(|field| {
            place.strip_prefix(field.field.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
        if !is_told {
            derived.push((place.to_owned(), value.clone()));
        }
    });
    Explained { kind: mapped.kind.name(), record, fields, derived }
}

/// Every single value with its place, `identifiers[0].value`; a list of texts is one value.
fn leaves(place: &str, value: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let place = if place.is_empty() { name.to_string() } else { format!("{place}.{name}") };
                leaves(&place, value, visit);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.as_object().is_some()) => {
            for (index, item) in items.iter().enumerate() {
                leaves(&format!("{place}[{index}]"), item, visit);
            }
        }
        value => visit(place, value),
    }
}

fn document(source: &Source, told: &[(&Examined, Vec<Explained<'_>>)]) -> serde_json::Value {
    let records: Vec<serde_json::Value> = told
        .iter()
        .flat_map(|(_, records)| records)
        .map(|Explained { kind, record, fields, derived }| {
            let told = fields.iter().map(|field| {
                let mut told = json!({
                    "field": field.field,
                    "value": field.value,
                    "path": field.path,
                    "raw": field.raw,
                    "as": field.coercion,
                    "table": field.table,
                    "row": field.row.as_ref().map(|(file, line)| format!("{file}:{line}")),
                    "file": field.file,
                    "line": field.line,
                });
                if let Some(outcome) = field.unmapped {
                    told["unmapped"] = json!(outcome.name());
                }
                told
            });
            let derived = derived.iter().map(|(field, value)| {
                json!({
                    "field": field, "value": value, "path": null, "raw": null, "as": null, "table": null, "row": null,
                    "file": null, "line": null, "derived": true,
                })
            });
            json!({"kind": kind, "record": record, "fields": told.chain(derived).collect::<Vec<_>>()})
        })
        .collect();
    let mapped = || told.iter().map(|(examined, _)| &examined.mapped);
    let skipped = mapped().flat_map(|mapped| &mapped.skipped);
    let skipped = skipped.map(|one| json!({"path": one.path, "rule": one.rule, "reason": one.reason}));
    let rejected = mapped().flat_map(|mapped| &mapped.rejected);
    let rejected = rejected.map(|one| json!({"path": one.path, "code": one.code.as_str(), "text": one.text}));
    let unmapped = told
        .iter()
        .flat_map(|(examined, _)| &examined.unmapped)
        .map(|one| json!({"table": one.table, "code": one.code, "target": one.target, "outcome": one.outcome.name()}));
    let mut document = json!({
        "source": source.name,
        "mapping": source.mapping.version(),
        "records": records,
        "skipped": skipped.collect::<Vec<_>>(),
        "rejected": rejected.collect::<Vec<_>>(),
        "unmapped": unmapped.collect::<Vec<_>>(),
        "notes": told.iter().flat_map(|(examined, _)| notes(examined)).collect::<Vec<_>>(),
    });
    if let Some(reason) = mapped().find_map(|mapped| match &mapped.disposition {
        Disposition::Ignored { reason } => Some(reason),
        Disposition::Records => None,
    }) {
        document["ignored"] = json!(reason);
    }
    if let Some(Failure { code, location, text }) = told.iter().find_map(|(examined, _)| examined.failure.as_ref()) {
        let location = location.as_ref().map(ToString::to_string).unwrap_or_default();
        document["error"] = json!({"code": code.as_str(), "location": location, "text": text});
    }
    document
}

fn notes(examined: &Examined) -> Vec<&String> {
    examined.notes.iter().chain(&examined.mapped.notes).collect()
}

fn print(examined: &Examined, records: &[Explained<'_>]) -> anyhow::Result<()> {
    for Explained { kind, fields, derived, .. } in records {
        output::line(format!("\n{kind}"))?;
        let mut rows: Vec<Vec<String>> = fields.iter().map(|field| row(field)).collect();
        rows.extend(derived.iter().map(|(field, value)| {
            let mut row = vec![field.clone(), short(value), "(derived)".to_owned()];
            row.resize(6, String::new());
            row
        }));
        output::table(&["FIELD", "VALUE", "PATH", "SENT", "READ AS", "RULE"], &rows)?;
    }
    let mapped = &examined.mapped;
    if let Disposition::Ignored { reason } = &mapped.disposition {
        output::line(format!("\nignored: {reason}"))?;
    }
    let skipped = mapped.skipped.iter().map(|one| format!("skipped   {} by {}: {}", one.path, one.rule, one.reason));
    let rejected =
        mapped.rejected.iter().map(|one| format!("rejected  {} ({}): {}", one.path, one.code.as_str(), one.text));
    let unmapped = examined
        .unmapped
        .iter()
        .map(|one| format!("unmapped  {} {}, for {}: {}", one.table, one.code, one.target, one.outcome.name()));
    let notes = notes(examined).into_iter().map(|note| format!("note      {note}"));
    let others: Vec<String> = skipped.chain(rejected).chain(unmapped).chain(notes).collect();
    if !others.is_empty() {
        output::line("")?;
    }
    others.iter().try_for_each(output::line)?;
    if let Some(Failure { code, location, text }) = &examined.failure {
        let location = location.as_ref().map(ToString::to_string).unwrap_or_default();
        output::line(format!("\nthe message fails: {} {location} {text}", code.as_str()))?;
    }
    Ok(())
}

fn row(field: &ExplainedField) -> Vec<String> {
    let mut through = match (&field.table, &field.row) {
        (Some(table), Some((file, line))) => format!(", table {table} ({file}:{line})"),
        (Some(table), None) => format!(", table {table}"),
        (None, _) => String::new(),
    };
    if let Some(outcome) = field.unmapped {
        through.push_str(&format!(": unknown, {}", outcome.name()));
    }
    vec![
        field.field.clone(),
        if field.value.is_null() { "(cleared)".to_owned() } else { short(&field.value) },
        field.path.clone().unwrap_or_else(|| "(rule)".to_owned()),
        field.raw.as_ref().map(|raw| short(&Value::from(raw.as_str()))).unwrap_or_default(),
        field.coercion.map(|coercion| format!("{coercion}{through}")).unwrap_or_default(),
        format!("{}:{}", field.file, field.line),
    ]
}
