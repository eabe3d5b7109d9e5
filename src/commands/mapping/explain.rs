//! `heyi mapping explain`: field, path, text as sent, coercion, table row, rule.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::super::{Verdict, WrongUsage, audited, existing_store, output};
use super::inputs::{self, Content, Place, Unused};
use super::{short, source, unused_document, unused_lines};
use crate::app::count;
use crate::config::Config;
use crate::fhir::Unit;
use crate::mapping::{Disposition, ExplainedField, Format, LostFields, LostReference};
use crate::pipeline::{self, Examined, Failure, Source};
use crate::record::{Fields, Kind, Value};
use crate::store::messages::{self, Message};

#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// The source whose mapping is asked; with --message it may be left out.
    #[arg(required_unless_present = "message")]
    source: Option<String>,
    /// Files of messages, or of FHIR resources (a resource, a Bundle, NDJSON), or directories; - is standard input.
    #[arg(required_unless_present = "message", conflicts_with = "message")]
    paths: Vec<PathBuf>,
    /// A stored message, by its number, as the mapping files are now.
    #[arg(long, value_name = "ID")]
    message: Option<i64>,
    /// Only this message of all that the files hold, or this unit of their resources, from 1.
    #[arg(long, value_name = "N", conflicts_with = "message")]
    number: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A message or unit, and what becomes of it.
struct Told {
    /// `None`: standard input, or the store.
    place: Place,
    /// What it is called beside others: `Encounter/8`, `day.hl7, message 2`.
    name: String,
    examined: Examined,
    /// Its focal resource, of which no record is made.
    idle_focal: Option<String>,
}

/// All that is told of.
#[derive(Default)]
struct Report {
    told: Vec<Told>,
    /// What cannot be read, and why.
    unreadable: Vec<(Place, String)>,
    unused: Unused,
}

impl Report {
    fn is_fine(&self) -> bool {
        self.unreadable.is_empty()
            && !self.told.is_empty()
            && self.told.iter().all(|told| told.examined.failure.is_none())
    }
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let (source, report, stored) = match (arguments.message, &arguments.source, arguments.paths.as_slice()) {
        (Some(id), name, _) => {
            let (source, raw, message) = stored(config, id, name.as_deref())?;
            let told = vec![examine(&source, Place::Stored { id }, &raw)];
            (source, Report { told, ..Report::default() }, Some(message))
        }
        (None, Some(name), paths @ [_, ..]) => {
            let source = source(config, name)?;
            let report = from_files(&source, paths, arguments.number)?;
            (source, report, None)
        }
        _ => bail!("name a source and a file, or --message ID"),
    };
    // Each unit says the whole of its patient: once is enough.
    let mut known: Vec<(Fields, String)> = Vec::new();
    let mut records: Vec<Vec<Explained<'_>>> = Vec::new();
    for Told { examined, name, .. } in &report.told {
        let mut all: Vec<_> =
            (0..examined.mapped.records.len()).map(|index| explained(&source, examined, index)).collect();
        for explained in all.iter_mut().filter(|_| source.mapping.format() == Format::Fhir) {
            match known.iter().find(|(record, _)| *record == explained.record) {
                Some((_, before)) => explained.as_under = Some(before.clone()),
                None => known.push((explained.record.clone(), name.clone())),
            }
        }
        records.push(all);
    }
    if arguments.json {
        let mut document = document(&source, &report, &records);
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
        let has_headings = report.told.len() + report.unreadable.len() > 1 || source.mapping.format() == Format::Fhir;
        for (told, records) in report.told.iter().zip(&records) {
            if has_headings {
                output::line(format!(
                    "\n== {} ==",
                    if stored.is_some() { told.name.clone() } else { told.place.to_string() }
                ))?;
            }
            print(told, records)?;
        }
        print_others(&report, has_headings)?;
    }
    Ok(if report.is_fine() { Verdict::Fine } else { Verdict::Wrong })
}

fn stored(config: &Config, id: i64, name: Option<&str>) -> anyhow::Result<(Source, Vec<u8>, Message)> {
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
    Ok((source(config, &message.source)?, bytes, message))
}

/// What files and directories hold, or the one of this number.
fn from_files(source: &Source, paths: &[PathBuf], number: Option<usize>) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut seen = 0;
    report.unused = inputs::each(source, paths, |place, content| {
        seen += 1;
        if number.is_none_or(|number| number == seen) {
            match content {
                Content::Bytes(raw) => report.told.push(examine(source, place, &raw)),
                Content::Unreadable(reason) => report.unreadable.push((place, reason)),
            }
        }
        Ok(())
    })?;
    match number {
        Some(number) if number == 0 || number > seen => {
            let noun = if source.mapping.format() == Format::Fhir { "unit" } else { "message" };
            let named: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            let verb = if let [_] = paths { "makes" } else { "make" };
            Err(WrongUsage(format!("{} {verb} {}", named.join(", "), count(seen, noun))).into())
        }
        // What the others hold was not asked for.
        Some(_) => Ok(Report { unused: Unused::new(), ..report }),
        None => Ok(report),
    }
}

fn examine(source: &Source, place: Place, raw: &[u8]) -> Told {
    let examined = pipeline::examine(source, raw);
    let focal = match source.mapping.format() {
        Format::Fhir => Unit::parse(raw).ok().map(|unit| (unit.focal().type_name().to_owned(), unit.focal().name())),
        Format::Hl7v2 => None,
    };
    let idle_focal = focal.as_ref().filter(|(kind, name)| is_idle(&examined, kind, name)).map(|(_, name)| name.clone());
    let name = match &place {
        Place::Unit { focal, .. } => focal.clone(),
        place => focal.map_or_else(|| place.to_string(), |(_, name)| name),
    };
    Told { place, name, examined, idle_focal }
}

/// Whether nothing says what became of a focal resource: no record of its kind, no rule that leaves it out.
fn is_idle(examined: &Examined, kind: &str, name: &str) -> bool {
    let wanted: &[Kind] = match kind {
        "Patient" => &[Kind::Patient, Kind::Merge, Kind::Consent],
        "Encounter" | "Appointment" => &[Kind::Visit],
        _ => &[Kind::LabReport],
    };
    let mapped = &examined.mapped;
    mapped.disposition == Disposition::Records
        && examined.failure.is_none()
        && !mapped.records.iter().any(|record| wanted.contains(&record.kind))
        && !mapped
            .skipped
            .iter()
            .any(|skipped| skipped.rule != "unread" && (skipped.path == kind || skipped.path == name))
}

/// One record and where its fields are from.
struct Explained<'e> {
    kind: &'static str,
    record: Fields,
    fields: Vec<&'e ExplainedField>,
    /// What no rule gave by itself: it follows from other fields, or from the configuration.
    derived: Vec<(String, Value)>,
    /// The unit under which the same record was told before.
    as_under: Option<String>,
}

fn explained<'e>(source: &Source, examined: &'e Examined, index: usize) -> Explained<'e> {
    let mapped = &examined.mapped.records[index];
    let record = pipeline::preview(source, mapped, &examined.mapped.records);
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
    Explained { kind: mapped.kind.name(), record, fields, derived, as_under: None }
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

fn document(source: &Source, report: &Report, explained: &[Vec<Explained<'_>>]) -> serde_json::Value {
    let told = &report.told;
    // One message by itself has no name beside others.
    let has_names = source.mapping.format() == Format::Fhir || told.len() + report.unreadable.len() > 1;
    let named = |unit: &Told, mut row: serde_json::Value| {
        if has_names {
            row["unit"] = json!(unit.name);
        }
        row
    };
    let mut records: Vec<serde_json::Value> = Vec::new();
    for (unit, explained) in told.iter().zip(explained) {
        let new = explained.iter().filter(|record| record.as_under.is_none());
        records.extend(new.map(|record| named(unit, record_document(record))));
    }
    let of_each = |rows: &dyn Fn(&Examined) -> Vec<serde_json::Value>| -> Vec<serde_json::Value> {
        told.iter()
            .flat_map(|unit| rows(&unit.examined).into_iter().map(|row| named(unit, row)).collect::<Vec<_>>())
            .collect()
    };
    let skipped = of_each(&|examined| {
        let skipped = examined.mapped.skipped.iter();
        skipped.map(|one| json!({"path": one.path, "rule": one.rule, "reason": one.reason})).collect()
    });
    let rejected = of_each(&|examined| {
        let rejected = examined.mapped.rejected.iter();
        rejected.map(|one| json!({"path": one.path, "code": one.code.as_str(), "text": one.text})).collect()
    });
    let unmapped = of_each(&|examined| {
        let row = |one: &crate::mapping::Unmapped| json!({"table": one.table, "code": one.code, "target": one.target, "outcome": one.outcome.name()});
        examined.unmapped.iter().map(row).collect()
    });
    let references = of_each(&|examined| {
        let row = |(lost, fields): (&LostReference, &LostFields)| json!({"path": lost.element, "names": lost.names, "empty": fields.empty, "partial": fields.partial});
        examined.mapped.trace.lost.iter().map(row).collect()
    });
    let mut document = json!({
        "source": source.name,
        "mapping": source.mapping.version(),
        "records": records,
        "skipped": skipped,
        "rejected": rejected,
        "unmapped": unmapped,
        "notes": told.iter().flat_map(|told| notes(&told.examined)).collect::<Vec<_>>(),
    });
    let row = |(place, targets): (&String, &BTreeSet<String>)| json!({"path": place, "targets": targets});
    document["unchosen"] = json!(of_each(&|examined| examined.mapped.trace.unchosen.iter().map(row).collect()));
    if source.mapping.format() == Format::Fhir {
        document["references"] = json!(references);
        document["unused"] = unused_document(&report.unused);
    }
    if has_names {
        document["units"] = told.iter().map(unit_document).collect();
        let unreadable = report.unreadable.iter().map(|(place, reason)| {
            let mut row = place.document();
            row["reason"] = json!(reason);
            row
        });
        document["unreadable"] = unreadable.collect();
    }
    if let Some(reason) = told.iter().find_map(|told| ignored(&told.examined)) {
        document["ignored"] = json!(reason);
    }
    let failure = told.iter().find_map(|told| told.examined.failure.as_ref()).map(failure_document);
    let unreadable = report.unreadable.first();
    let unreadable =
        || unreadable.map(|(place, text)| json!({"code": null, "location": place.to_string(), "text": text}));
    if let Some(error) = failure.or_else(unreadable) {
        document["error"] = error;
    }
    document
}

fn unit_document(told: &Told) -> serde_json::Value {
    let mut document = told.place.document();
    document["unit"] = json!(told.name);
    document["records"] =
        json!(told.examined.mapped.records.iter().map(|record| record.kind.name()).collect::<Vec<_>>());
    if told.idle_focal.is_some() {
        document["without_record"] = json!(true);
    }
    if let Some(reason) = ignored(&told.examined) {
        document["ignored"] = json!(reason);
    }
    if let Some(failure) = &told.examined.failure {
        document["error"] = failure_document(failure);
    }
    document
}

fn ignored(examined: &Examined) -> Option<&String> {
    match &examined.mapped.disposition {
        Disposition::Ignored { reason } => Some(reason),
        Disposition::Records => None,
    }
}

fn failure_document(Failure { code, location, text }: &Failure) -> serde_json::Value {
    let location = location.as_ref().map(ToString::to_string).unwrap_or_default();
    json!({"code": code.as_str(), "location": location, "text": text})
}

fn record_document(Explained { kind, record, fields, derived, .. }: &Explained<'_>) -> serde_json::Value {
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
}

fn notes(examined: &Examined) -> Vec<&String> {
    examined.notes.iter().chain(&examined.mapped.notes).collect()
}

fn print(told: &Told, records: &[Explained<'_>]) -> anyhow::Result<()> {
    let examined = &told.examined;
    for Explained { kind, fields, derived, as_under, .. } in records {
        if let Some(before) = as_under {
            output::line(format!("\n{kind}: the same as under {before}"))?;
            continue;
        }
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
    let idle =
        told.idle_focal.iter().map(|name| format!("unused    {name}: no block of the mapping makes a record of it"));
    let references = examined.mapped.trace.lost.iter().map(reference_line);
    let unchosen = examined.mapped.trace.unchosen.iter().map(|(place, targets)| {
        let targets = targets.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("unchosen  {place} fits no condition of {targets}: nothing is read of it")
    });
    let notes = notes(examined).into_iter().map(|note| format!("note      {note}"));
    let others: Vec<String> =
        idle.chain(skipped).chain(rejected).chain(unmapped).chain(references).chain(unchosen).chain(notes).collect();
    if !others.is_empty() {
        output::line("")?;
    }
    others.iter().try_for_each(output::line)?;
    if let Some(Failure { code, location, text }) = &examined.failure {
        let location = location.as_ref().map(|location| format!(" {location}")).unwrap_or_default();
        output::line(format!("\nthe message fails: {}{location} {text}", code.as_str()))?;
    }
    Ok(())
}

/// `reference Encounter.partOf names Encounter/7, which is not here: visit.stay_number stays empty`
fn reference_line((lost, LostFields { empty, partial }): (&LostReference, &LostFields)) -> String {
    let listed =
        |fields: &std::collections::BTreeSet<String>| fields.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let stays = if empty.len() == 1 { "stays" } else { "stay" };
    let effect = match (empty.is_empty(), partial.is_empty()) {
        (false, true) => format!("{} {stays} empty", listed(empty)),
        (true, false) => format!("for {} only what the reference says itself is known", listed(partial)),
        (false, false) => {
            format!(
                "{} {stays} empty, for {} only what the reference says itself is known",
                listed(empty),
                listed(partial)
            )
        }
        (true, true) => "no field is the worse for it".to_owned(),
    };
    format!("reference {} names {}, which is not here: {effect}", lost.element, lost.names)
}

/// What is told of all of it, at the end.
fn print_others(report: &Report, is_several: bool) -> anyhow::Result<()> {
    unused_lines(&report.unused).iter().try_for_each(output::line)?;
    if !report.unreadable.is_empty() {
        output::line("")?;
    }
    for (place, reason) in &report.unreadable {
        output::line(format!("cannot be read: {place}: {reason}"))?;
    }
    if report.told.is_empty() && report.unreadable.is_empty() {
        output::line("\nnothing here makes a record")?;
    }
    let failed: Vec<&Told> = report.told.iter().filter(|told| told.examined.failure.is_some()).collect();
    if !is_several || failed.is_empty() {
        return Ok(());
    }
    output::line(format!("\n{} of {} failed:", failed.len(), report.told.len()))?;
    for (told, failure) in failed.iter().filter_map(|told| Some((told, told.examined.failure.as_ref()?))) {
        let location = failure.location.as_ref().map(|location| format!(" {location}")).unwrap_or_default();
        output::line(format!("  {}:{location} {}", told.place, failure.text))?;
    }
    Ok(())
}

/// The places of a value. Of many, such as the lines of a text, the first and how many they are.
fn places(path: &str) -> String {
    const MOST: usize = 3;
    let all: Vec<&str> = path.split(", ").collect();
    match all.get(..MOST).filter(|_| all.len() > MOST) {
        Some(first) => format!("{}, … ({} places)", first.join(", "), all.len()),
        None => path.to_owned(),
    }
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
        field.path.as_deref().map_or_else(|| "(rule)".to_owned(), places),
        field.raw.as_ref().map(|raw| short(&Value::from(raw.as_str()))).unwrap_or_default(),
        field.coercion.map(|coercion| format!("{coercion}{through}")).unwrap_or_default(),
        format!("{}:{}", field.file, field.line),
    ]
}
