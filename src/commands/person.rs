//! `heyi person`: One ID from the shell.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::json;

use super::{Verdict, existing_store, load_config, output};
use crate::record::{Fields, RecordNumber, Value};
use crate::store::persons::{self, Person, PersonSearch};
use crate::store::records::{self, LinkRow};
use crate::store::{Store, StoreError, all_pages, clinical};
use crate::view;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Find persons by a number, a name, a phone, or a name with a birth date.
    Find {
        /// A number under its assigning authority, for example 'HIS|P0001'; '|VALUE' for any number of that value.
        #[arg(value_name = "SYSTEM|VALUE")]
        identifier: Option<RecordNumber>,
        /// The whole name.
        #[arg(long)]
        name: Option<String>,
        /// YYYY-MM-DD.
        #[arg(long)]
        birth_date: Option<String>,
        /// A phone number.
        #[arg(long)]
        phone: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a person with visits and reports; a retired One ID shows the one that answers for it.
    Show {
        /// The One ID.
        one_id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show how the person's records came to it.
    History {
        /// The One ID.
        one_id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List every source record with its One ID.
    Links {
        /// Print CSV: source,system,identifier,one_id,link.
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Persons shown at most: a search that finds more is too wide.
const FOUND: usize = 100;
/// Rows read at a time.
const PAGE: usize = 1_000;

pub(super) fn run(file: &Path, verb: Verb) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let store = existing_store(&config)?;
    match verb {
        Verb::Find { identifier, name, birth_date, phone, json } => {
            let search = PersonSearch { name, birth_date, phone };
            let found = match identifier {
                Some(number) => store.read(|reader| persons::with_identifier(reader, &number, FOUND + 1))?,
                None if search == PersonSearch::default() => {
                    bail!("give SYSTEM|VALUE, --name, --birth-date or --phone")
                }
                None => store.read(|reader| persons::search(reader, &search, FOUND + 1))?,
            };
            find(found, json)
        }
        Verb::Show { one_id, json } => show(&store, &one_id, json),
        Verb::History { one_id, json } => history(&store, &one_id, json),
        Verb::Links { csv, json } => links(&store, csv, json),
    }
}

fn find(mut found: Vec<Person>, json: bool) -> anyhow::Result<Verdict> {
    if found.len() > FOUND {
        output::complain(&format!("more than {FOUND} persons fit, these are the first: search by more"));
        found.truncate(FOUND);
    }
    let verdict = if found.is_empty() { Verdict::Wrong } else { Verdict::Fine };
    if json {
        let persons: Vec<Fields> = found.into_iter().map(view::person).collect();
        output::json(&json!({"persons": persons}))?;
        return Ok(verdict);
    }
    let rows: Vec<Vec<String>> = found
        .into_iter()
        .map(|person| {
            let text = |name: &str| person.golden.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
            let numbers = person.golden.get("identifiers").and_then(Value::as_array).into_iter().flatten();
            let numbers: Vec<String> = numbers.filter_map(number).collect();
            vec![person.one_id.clone(), text("name"), text("sex"), text("birth_date"), numbers.join(" ")]
        })
        .collect();
    output::table(&["ONE ID", "NAME", "SEX", "BORN", "NUMBERS"], &rows)?;
    Ok(verdict)
}

fn number(identifier: &Value) -> Option<String> {
    let text = |part: &str| identifier.get(part).and_then(Value::as_str);
    Some(format!("{}|{}", text("system").unwrap_or_default(), text("value")?))
}

fn show(store: &Store, one_id: &str, json: bool) -> anyhow::Result<Verdict> {
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
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output::line(format!("{name:18} {shown}"))?;
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

fn history(store: &Store, one_id: &str, json: bool) -> anyhow::Result<Verdict> {
    let steps = store.read(|reader| {
        let Some(person) = persons::resolve(reader, one_id)? else { return Ok(None) };
        let changes = all_pages(|after| records::history(reader, &person.one_id, after, PAGE))?;
        let steps: Vec<Fields> =
            changes.into_iter().map(|change| view::link(reader, change)).collect::<Result<_, _>>()?;
        Ok(Some(steps))
    })?;
    let steps = steps.with_context(|| format!("no person has the One ID {one_id}"))?;
    if json {
        output::json(&json!({"history": steps}))?;
        return Ok(Verdict::Fine);
    }
    let cell = |step: &Fields, name: &str| {
        step.get(name)
            .map_or_else(|| "-".to_owned(), |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let names = ["at", "source", "record", "from", "to", "kind", "message", "basis"];
    let rows: Vec<Vec<String>> = steps.iter().map(|step| names.iter().map(|name| cell(step, name)).collect()).collect();
    output::table(&["AT", "SOURCE", "RECORD", "FROM", "TO", "KIND", "MESSAGE", "BASIS"], &rows)?;
    Ok(Verdict::Fine)
}

fn links(store: &Store, csv: bool, json: bool) -> anyhow::Result<Verdict> {
    let row = |link: &LinkRow| {
        [
            link.source.clone(),
            link.number.system.clone(),
            link.number.value.clone(),
            link.one_id.clone(),
            link.link.name().to_owned(),
            link.mapping.clone(),
        ]
    };
    const NAMES: [&str; 6] = ["source", "system", "identifier", "one_id", "link", "mapping_version"];
    /// Of them, those of the CSV: its columns are fixed.
    const CSV: usize = 5;
    let next = |after: i64| store.read(|reader| records::links(reader, after, PAGE));
    if csv {
        let mut writer = csv::Writer::from_writer(std::io::stdout().lock());
        writer.write_record(&NAMES[..CSV])?;
        each_link(next, |link| Ok(writer.write_record(&row(link)[..CSV])?))?;
        writer.flush()?;
        return Ok(Verdict::Fine);
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    each_link(next, |link| {
        rows.push(row(link).to_vec());
        Ok(())
    })?;
    if json {
        let rows: Vec<Fields> = rows
            .into_iter()
            .map(|row| NAMES.iter().zip(row).map(|(name, value)| (*name, Value::from(value))).collect())
            .collect();
        output::json(&json!({"links": rows}))?;
    } else {
        output::table(&["SOURCE", "SYSTEM", "IDENTIFIER", "ONE ID", "LINK", "MAPPING"], &rows)?;
    }
    Ok(Verdict::Fine)
}

fn each_link(
    next: impl Fn(i64) -> Result<Vec<LinkRow>, StoreError>,
    mut each: impl FnMut(&LinkRow) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let page = next(after)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.record;
        page.iter().try_for_each(&mut each)?;
    }
}
