//! `heyi person`: One ID from the shell.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde_json::json;

use super::{Verdict, WrongUsage, audited, decided, evidence, existing_store, history, load_config, output};
use crate::app::{decide_audited, pipeline_site, zone_of_decisions};
use crate::config::Config;
use crate::identity::{Decided, Evidence, Grade, ManualDecision, ManualStep, NamedRecord};
use crate::pipeline;
use crate::policy::{ConsentState, ConsentWord, Purpose};
use crate::record::{Fields, RecordNumber, Value, json as record_json, schema, when};
use crate::store::persons::{self, Person, PersonSearch};
use crate::store::records::{self, LinkRow};
use crate::store::{Store, StoreError, all_pages};
use crate::view;

mod consent;
pub(super) mod rights;
mod show;

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
        /// Whoever a patient record in JSON may be: a file, or - for standard input.
        #[arg(long = "match", value_name = "FILE", conflicts_with_all = ["identifier", "name", "birth_date", "phone"])]
        record: Option<PathBuf>,
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
    /// Say why a source record is a person's or is not: what each agreement is worth, now and when it was decided.
    Explain {
        /// The One ID, whether or not it has the record.
        one_id: String,
        /// The record, as `heyi person links` lists it; SYSTEM|VALUE#2 is the second patient for whom its source used the number.
        #[arg(value_name = "SYSTEM|VALUE")]
        record: RecordNumber,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give a source record to a person: whatever rules find, it stays there.
    Link {
        /// The record, as `heyi person links` lists it; SYSTEM|VALUE#2 is the second patient for whom its source used the number.
        #[arg(value_name = "SYSTEM|VALUE")]
        record: RecordNumber,
        /// The One ID.
        one_id: String,
        /// Only what this source says under the number; default: what all do.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        decision: Why,
    },
    /// Take a source record from its person: it gets a One ID of its own, the one that it had before if it had one.
    Unlink {
        /// The record, as `heyi person links` lists it; SYSTEM|VALUE#2 is the second patient for whom its source used the number.
        #[arg(value_name = "SYSTEM|VALUE")]
        record: RecordNumber,
        /// Only what this source says under the number; default: what all do.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        decision: Why,
    },
    /// Make one person of two One IDs.
    Merge {
        /// The One ID that is given up; it goes on answering, as the other one.
        one_id: String,
        /// The One ID that lives on.
        into: String,
        #[command(flatten)]
        decision: Why,
    },
    /// Take a merge back: the retired One ID lives again with its records. Or give the records named to a One ID of their own.
    Split {
        /// The retired One ID; or the one that lives.
        one_id: String,
        /// The records that leave, all of one patient.
        #[arg(value_name = "SYSTEM|VALUE")]
        records: Vec<RecordNumber>,
        #[command(flatten)]
        decision: Why,
    },
    /// Print everything that is held of a person, as JSON: what sources say, visits, reports, messages, events, decisions.
    Export {
        /// The One ID.
        one_id: String,
        /// Accepted for symmetry: an export is always JSON.
        #[arg(long)]
        json: bool,
    },
    /// Erase everything that is held of a person but the One ID, and have every consumer told to erase it too. There is no way back.
    Erase {
        /// The One ID.
        one_id: String,
        #[command(flatten)]
        decision: Why,
    },
    /// Keep what is held of a person, and send nothing of it to anybody any more.
    Restrict {
        /// The One ID.
        one_id: String,
        /// Take the restriction back: all is sent again, as it is now.
        #[arg(long)]
        lift: bool,
        #[command(flatten)]
        decision: Why,
    },
    /// Take down that a person gives or withdraws consent for a purpose; or show what was said so far.
    Consent {
        /// The One ID.
        one_id: String,
        /// marketing, care or operations.
        #[arg(long, default_value = "marketing")]
        purpose: Purpose,
        /// The person consents.
        #[arg(long, conflicts_with = "withdraw")]
        give: bool,
        /// The person does not, or no more.
        #[arg(long)]
        withdraw: bool,
        /// The paper, the form, the patient's own word.
        #[arg(long, required_if_eq_any = [("give", "true"), ("withdraw", "true")])]
        reason: Option<String>,
        /// In force from then on: a date, or RFC 3339; default: now.
        #[arg(long)]
        since: Option<String>,
        /// Ends by itself.
        #[arg(long)]
        until: Option<String>,
        /// Who takes it down; default: the user of this shell.
        #[arg(long)]
        by: Option<String>,
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

#[derive(clap::Args)]
pub(super) struct Why {
    /// Why; kept with the history.
    #[arg(long)]
    reason: String,
    /// Who decides; default: the user of this shell.
    #[arg(long)]
    by: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Persons shown at most: a search that finds more is too wide.
const FOUND: usize = 100;
/// Rows read at a time.
const PAGE: usize = 1_000;

pub(super) fn run(file: &Path, verb: Verb) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let store = existing_store(&config)?;
    match verb {
        Verb::Find { record: Some(record), json, .. } => matches(&config, &store, &record, json),
        Verb::Find { identifier: Some(number), json, .. } => {
            let found = store.read(|reader| persons::with_identifier(reader, &number, FOUND + 1))?;
            find(found.into_iter().map(Found::unweighed).collect(), json)
        }
        Verb::Find { name, birth_date, phone, json, .. } => {
            let search = PersonSearch { name, birth_date, phone };
            if search == PersonSearch::default() {
                return Err(WrongUsage("give SYSTEM|VALUE, --name, --birth-date, --phone or --match".to_owned()).into());
            }
            if search.birth_date.as_deref().is_some_and(|date| !when::is_date(date)) {
                return Err(WrongUsage("--birth-date is no date as YYYY-MM-DD".to_owned()).into());
            }
            find(weighed(&config, &store, &search)?, json)
        }
        Verb::Show { one_id, json } => show::show(&store, &one_id, json),
        Verb::History { one_id, json } => show_history(&store, &one_id, json),
        Verb::Explain { one_id, record, json } => explain(&config, &store, &one_id, &record, json),
        Verb::Link { record, one_id, source, decision } => {
            let record = NamedRecord { number: record, source };
            decide(&config, &store, ManualStep::Link { record, one_id }, decision)
        }
        Verb::Unlink { record, source, decision } => {
            let record = NamedRecord { number: record, source };
            decide(&config, &store, ManualStep::Unlink { record }, decision)
        }
        Verb::Merge { one_id, into, decision } => decide(&config, &store, ManualStep::Merge { one_id, into }, decision),
        Verb::Split { one_id, records, decision } => {
            decide(&config, &store, ManualStep::Split { one_id, records }, decision)
        }
        Verb::Export { one_id, json: _ } => rights::export(&config, &store, &one_id),
        Verb::Erase { one_id, decision } => rights::erase(&config, &store, &one_id, decision),
        Verb::Restrict { one_id, lift, decision } => rights::restrict(&config, &store, &one_id, lift, decision),
        Verb::Consent { one_id, purpose, give, withdraw, reason, since, until, by, json } => {
            if !give && !withdraw {
                return consent::show(&store, &one_id, json);
            }
            let zone = zone_of_decisions(&config);
            let time = |text: Option<String>, option: &str| match text.map(|text| when::instant(&text, &zone)) {
                None => Ok(None),
                Some(Some(instant)) => Ok(Some(instant.as_microsecond())),
                Some(None) => Err(anyhow!("{option} is no date as YYYY-MM-DD, nor RFC 3339")),
            };
            let word = ConsentWord {
                purpose,
                state: if give { ConsentState::Given } else { ConsentState::Withdrawn },
                since: time(since, "--since")?,
                until: time(until, "--until")?,
                basis: reason.unwrap_or_default(),
                by: by.unwrap_or_else(super::user),
            };
            consent::say(&config, &store, one_id, word, json)
        }
        Verb::Links { csv, json } => links(&store, csv, json),
    }
}

fn decide(config: &Config, store: &Store, step: ManualStep, why: Why) -> anyhow::Result<Verdict> {
    let Why { reason, by, json } = why;
    let (site, zone) = (pipeline_site(config), zone_of_decisions(config));
    let verb = step.name();
    let decision = ManualDecision { step, by: by.unwrap_or_else(super::user), reason };
    let done =
        audited::change(store, move |transaction, entry| decide_audited(transaction, &site, &zone, &decision, entry))?;
    let decided = done?;
    if json {
        output::json(&view::decided(&decided))?;
        return Ok(Verdict::Fine);
    }
    if !decided.changed {
        output::line(format!("{}: it was so already, nothing is changed", decided.one_id))?;
        return Ok(Verdict::Fine);
    }
    let Decided { one_id, other, .. } = &decided;
    let other = other.as_deref().unwrap_or_default();
    output::line(match verb {
        "link" => format!("linked to {one_id}"),
        "merge" => format!("merged {other} into {one_id}"),
        _ => format!("parted from {one_id}, is now {other}"),
    })?;
    decided::outcome(&decided)?;
    Ok(Verdict::Fine)
}

/// A person that was looked for; weighed against what was asked, where that can be.
struct Found {
    person: Person,
    weighed: Option<(Evidence, Option<Grade>)>,
}

impl Found {
    fn unweighed(person: Person) -> Self {
        Self { person, weighed: None }
    }

    fn score(&self) -> Option<f64> {
        self.weighed.as_ref().map(|(evidence, _)| evidence.score.bits)
    }
}

/// Everybody who fits the search, who is likeliest meant first.
fn weighed(config: &Config, store: &Store, search: &PersonSearch) -> anyhow::Result<Vec<Found>> {
    let mut asked = Fields::new();
    for (name, value) in [("name", &search.name), ("birth_date", &search.birth_date)] {
        asked.extend(value.as_ref().map(|value| (name, Value::from(value.as_str()))));
    }
    asked.extend(search.phone.as_ref().map(|phone| ("phones", record_json!([{"value": phone}]))));
    let site = pipeline_site(config);
    let (found, ranked) = store.read(|reader| {
        let found = persons::search(reader, search, FOUND + 1)?;
        let ranked = pipeline::rank(reader, &site, &asked, &found)?;
        Ok((found, ranked))
    })?;
    let mut evidence: BTreeMap<String, (Evidence, Option<Grade>)> =
        ranked.into_iter().map(|ranked| (ranked.person.one_id, (ranked.evidence, ranked.grade))).collect();
    let mut found: Vec<Found> =
        found.into_iter().map(|person| Found { weighed: evidence.remove(&person.one_id), person }).collect();
    let bits = |found: &Found| found.score().unwrap_or(f64::NEG_INFINITY);
    // The same order as before where two weigh the same.
    found.sort_by(|one, other| bits(other).total_cmp(&bits(one)));
    Ok(found)
}

fn find(mut found: Vec<Found>, json: bool) -> anyhow::Result<Verdict> {
    if found.len() > FOUND {
        output::complain(&format!("more than {FOUND} persons fit, these are the first: search by more"));
        found.truncate(FOUND);
    }
    audited::about(|entry| entry.persons(found.iter().map(|found| found.person.one_id.as_str())));
    let verdict = if found.is_empty() { Verdict::Wrong } else { Verdict::Fine };
    if json {
        let persons = found.into_iter().map(|found| {
            let mut document = view::person(found.person);
            if let Some((evidence, grade)) = found.weighed {
                document.insert("score", record_json!(evidence.score.bits));
                document.insert("grade", record_json!(grade.map(Grade::name)));
            }
            document
        });
        output::json(&json!({"persons": persons.collect::<Vec<_>>()}))?;
        return Ok(verdict);
    }
    let is_weighed = found.iter().any(|found| found.weighed.is_some());
    let rows: Vec<Vec<String>> = found
        .into_iter()
        .map(|found| {
            let score = found.score().map_or_else(|| "-".to_owned(), |bits| format!("{bits:+.2}"));
            let grade = found.weighed.as_ref().and_then(|(_, grade)| *grade).map_or("-", Grade::name).to_owned();
            let weighed = if is_weighed { vec![score, grade] } else { Vec::new() };
            [summary(&found.person), weighed].concat()
        })
        .collect();
    output::table(if is_weighed { &WEIGHED } else { &WEIGHED[..5] }, &rows)?;
    Ok(verdict)
}

const WEIGHED: [&str; 7] = ["ONE ID", "NAME", "SEX", "BORN", "NUMBERS", "SCORE", "GRADE"];

fn summary(person: &Person) -> Vec<String> {
    let text = |name: &str| person.golden.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let numbers = person.golden.get("identifiers").and_then(Value::as_array).into_iter().flatten();
    let numbers: Vec<String> = numbers.filter_map(show::number).collect();
    vec![person.one_id.clone(), text("name"), text("sex"), text("birth_date"), numbers.join(" ")]
}

/// The persons whom the patient record in a file may be.
fn matches(config: &Config, store: &Store, file: &Path, json: bool) -> anyhow::Result<Verdict> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).context("standard input")?
    } else {
        std::fs::read_to_string(file).with_context(|| file.display().to_string())?
    };
    // serde's own message would quote the record.
    let asked = serde_json::from_str(&text).map_err(|_| anyhow!("expected a patient record as a JSON object"))?;
    let asked = schema::asked_patient(asked).map_err(anyhow::Error::msg)?;
    let site = pipeline_site(config);
    let found = store.read(|reader| pipeline::matches(reader, &site, &asked, FOUND))?;
    let found = found.context(
        "the record says too little to look for anybody: add an identity number, a card, a phone, a medical record number with \
         its authority, or a birth date beside the name",
    )?;
    let verdict = if found.is_empty() { Verdict::Wrong } else { Verdict::Fine };
    audited::about(|entry| entry.persons(found.iter().map(|ranked| ranked.person.one_id.as_str())));
    if json {
        let shown: Vec<serde_json::Value> =
            found.into_iter().map(|ranked| ranked.document(&site.model.version)).collect();
        output::json(&json!({"candidates": shown}))?;
        return Ok(verdict);
    }
    find(
        found
            .into_iter()
            .map(|ranked| Found { person: ranked.person, weighed: Some((ranked.evidence, ranked.grade)) })
            .collect(),
        false,
    )
}

fn explain(config: &Config, store: &Store, one_id: &str, record: &RecordNumber, json: bool) -> anyhow::Result<Verdict> {
    audited::about(|entry| entry.person(one_id));
    let site = pipeline_site(config);
    let document = store.read(|reader| pipeline::explain(reader, &site, one_id, record))??;
    if json {
        output::json(&document)?;
        return Ok(Verdict::Fine);
    }
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let now = text(&document["one_id"]);
    if now != one_id {
        output::line(format!("{one_id} is {now} since a merge"))?;
    }
    let bits = |name: &str| evidence::bits(&document["thresholds"][name]);
    let (link, review, margin) = (bits("link"), bits("review"), bits("margin"));
    output::line(format!(
        "linked from {link} bits and {margin} ahead of the second person; asked about from {review}"
    ))?;
    for explanation in document["explanations"].as_array().into_iter().flatten() {
        let (source, holder) = (text(&explanation["source"]), text(&explanation["one_id"]));
        output::line("")?;
        let record = text(&explanation["name"]);
        output::line(format!("{record} of {source} is {holder}'s, linked {}", text(&explanation["link"])))?;
        for compared in explanation["comparisons"].as_array().into_iter().flatten() {
            output::line("")?;
            output::line(format!("beside {} of {}", text(&compared["record"]), text(&compared["source"])))?;
            evidence::waterfall(&compared["evidence"])?;
        }
        let mut rows = Vec::new();
        for step in explanation["decided"].as_array().into_iter().flatten() {
            let begin = [output::local_text(&text(&step["at"])), text(&step["kind"]), text(&step["to"])];
            let candidates = step["candidates"].as_array().cloned().unwrap_or_default();
            for candidate in &candidates {
                let weighed = &candidate["evidence"];
                let mut row = begin.to_vec();
                row.extend([text(&candidate["one_id"]), text(&candidate["record"]), evidence::bits(&weighed["bits"])]);
                row.extend([
                    evidence::percent(&weighed["probability"]),
                    text(&step["model"]),
                    evidence::remarks(weighed),
                ]);
                rows.push(row);
            }
            if candidates.is_empty() {
                let why = step.get("basis").map_or_else(|| "nobody was like it".to_owned(), ToString::to_string);
                let mut row = begin.to_vec();
                row.extend(["-", "-", "-", "-"].map(str::to_owned));
                row.extend([text(&step["model"]), why]);
                rows.push(row);
            }
        }
        output::line("")?;
        let names = ["DECIDED", "KIND", "FOR", "LOOKED AT", "RECORD", "BITS", "PROBABILITY", "MODEL", "WHY"];
        output::table(&names, &rows)?;
    }
    Ok(Verdict::Fine)
}

fn show_history(store: &Store, one_id: &str, json: bool) -> anyhow::Result<Verdict> {
    let found = store.read(|reader| {
        let Some(person) = persons::resolve(reader, one_id)? else { return Ok(None) };
        let changes = all_pages(|after| records::whole_history(reader, &person.one_id, after, PAGE))?;
        if json {
            let steps = changes.into_iter().map(|change| view::link(reader, change));
            return Ok(Some((
                person.one_id,
                steps.collect::<Result<Vec<Fields>, StoreError>>()?,
                Vec::new(),
                BTreeSet::new(),
            )));
        }
        let steps = history::steps(reader, changes)?;
        let retired = persons::answering_as(reader, &person.one_id)?.into_iter().filter(|name| *name != person.one_id);
        Ok(Some((person.one_id.clone(), Vec::new(), steps, retired.collect())))
    })?;
    audited::about(|entry| entry.person(one_id));
    let (now, documents, steps, retired) = found.with_context(|| format!("no person has the One ID {one_id}"))?;
    audited::about(|entry| entry.person(&now));
    if json {
        output::json(&json!({"history": documents}))?;
        return Ok(Verdict::Fine);
    }
    if now != one_id {
        output::line(format!("{one_id} answers as {now}"))?;
    }
    history::print(&steps, &retired)?;
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
    /// The place of the number.
    const IDENTIFIER: usize = 2;
    let next = |after: i64| store.read(|reader| records::links(reader, after, PAGE));
    if csv {
        let mut writer = csv::Writer::from_writer(output::writer()?);
        writer.write_record(&NAMES[..CSV])?;
        each_link(next, |link| Ok(writer.write_record(&row(link)[..CSV])?))?;
        writer.flush()?;
        return Ok(Verdict::Fine);
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut documents: Vec<Fields> = Vec::new();
    each_link(next, |link| {
        if json {
            let texts = NAMES.iter().zip(row(link)).map(|(name, value)| (*name, Value::from(value)));
            let mut document: Fields = texts.collect();
            document.insert("generation", u64::from(link.generation).into());
            documents.push(document);
            return Ok(());
        }
        let mut row = row(link).to_vec();
        // A number of several patients is named with its generation.
        if link.generation > 1 {
            row[IDENTIFIER] = format!("{}#{}", row[IDENTIFIER], link.generation);
        }
        rows.push(row);
        Ok(())
    })?;
    if json {
        output::json(&json!({"links": documents}))?;
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
        audited::page(|entry| entry.persons(page.iter().map(|link| link.one_id.as_str())))?;
        page.iter().try_for_each(&mut each)?;
    }
}
