//! `heyi mapping diff`: what another mapping file would make of the stored messages.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;

use super::super::{Verdict, WrongUsage, existing_store, output};
use super::{each_stored, mapping, settings, short};
use crate::app::count as number_of;
use crate::app::mappings::pipeline_source;
use crate::config::Config;
use crate::fhir::Unit;
use crate::hl7v2::Message;
use crate::mapping::compare::{Change, changes};
use crate::mapping::{Context, Format, Input, MapError, Mapped, Mapping, Rejected};
use crate::pipeline::Source;
use crate::record::Value;

#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// The source whose messages are tried.
    source: String,
    /// The mapping file to try.
    #[arg(value_name = "NEW.toml")]
    new: PathBuf,
    /// What to compare it with, instead of the source's own mapping file.
    #[arg(long, value_name = "OLD.toml")]
    against: Option<PathBuf>,
    /// How many of the newest messages to try.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    last: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Examples kept for one field, each another one: enough to see what kind of change it is.
const SAMPLES: usize = 3;

/// The changes of one field.
#[derive(Default)]
struct Tally {
    messages: u64,
    changes: u64,
    samples: Vec<(i64, Change)>,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let settings = settings(config, &arguments.source)?;
    let load = |file: &PathBuf| -> anyhow::Result<Mapping> {
        mapping(config, &std::path::absolute(file).with_context(|| file.display().to_string())?)
    };
    let old = load(arguments.against.as_ref().unwrap_or(&settings.mapping))?;
    let new = load(&arguments.new)?;
    if old.format() != new.format() {
        let [old, new] = [old.format(), new.format()].map(Format::name);
        let text =
            format!("{} reads format {new:?}, the messages of {} are {old:?}", arguments.new.display(), settings.name);
        return Err(WrongUsage(text).into());
    }
    let source = pipeline_source(settings, old, &std::sync::Arc::default());
    let context = Context { zone: &source.zone, facility: source.facility.as_deref(), explain: false };
    let mut fields: BTreeMap<String, Tally> = BTreeMap::new();
    let (mut changed, mut newly_failed, mut lost) = (0_u64, 0_u64, 0_u64);
    // By what is said of it: how many messages, the newest of them, and where in it.
    let mut rejected: BTreeMap<String, (u64, i64, String)> = BTreeMap::new();
    let looked = each_stored(&existing_store(config)?, &source.name, arguments.last, |id, raw| {
        let Some(stored) = Stored::read(&source, raw) else { return Ok(()) };
        let (before, after) = (source.mapping.apply(stored.input(), &context), new.apply(stored.input(), &context));
        let fails = |outcome: &Result<Mapped, _>| outcome.as_ref().map_or(true, Mapped::holds_nothing);
        let is_newly_failed = !fails(&before) && fails(&after);
        newly_failed += u64::from(is_newly_failed);
        let found = changes(&before, &after);
        lost += u64::from(!is_newly_failed && found.iter().any(Change::loses_a_record));
        changed += u64::from(!found.is_empty());
        for (text, path) in newly_rejected(&before, &after) {
            rejected.entry(text).or_insert((0, id, path)).0 += 1;
        }
        let mut of_message: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        found.into_iter().for_each(|change| of_message.entry(change.field.clone()).or_default().push(change));
        for (field, found) in of_message {
            let tally = fields.entry(field).or_default();
            tally.messages += 1;
            tally.changes += found.len() as u64;
            let is_new = |change: &Change| !tally.samples.iter().any(|(_, known)| known == change);
            if let Some(change) = found.into_iter().find(is_new).filter(|_| tally.samples.len() < SAMPLES) {
                tally.samples.push((id, change));
            }
        }
        Ok(())
    })?;
    looked.complain(&source.name);
    let tried = looked.given;
    if arguments.json {
        let rejected = rejected.iter().map(|(text, (messages, message, path))| {
            json!({"text": text, "messages": messages, "sample": {"message": message, "path": path}})
        });
        let fields: Vec<serde_json::Value> = fields.iter().map(|(field, tally)| document(field, tally)).collect();
        output::json(&json!({
            "before": source.mapping.version(),
            "after": new.version(),
            "messages": tried,
            "changed": changed,
            "newly_failed": newly_failed,
            "lost": lost,
            "fields": fields,
            "newly_rejected": rejected.collect::<Vec<_>>(),
        }))?;
    } else {
        output::line(format!(
            "{} of {}: {changed} would change, {newly_failed} would fail that do not now, {lost} would lose a record",
            number_of(tried, "message"),
            source.name
        ))?;
        fields.iter().try_for_each(|(field, tally)| print(field, tally))?;
        for (index, (text, (messages, message, path))) in rejected.iter().enumerate() {
            let heading = if index == 0 { "\nnewly rejected:\n" } else { "" };
            output::line(format!(
                "{heading}  {text}, in {} (message {message}, {path})",
                number_of(*messages, "message")
            ))?;
        }
    }
    Ok(if newly_failed + lost == 0 && tried > 0 { Verdict::Fine } else { Verdict::Wrong })
}

/// What was stored, in the format of the source's mapping.
enum Stored {
    Message(Message),
    Unit(Unit),
}

impl Stored {
    /// `None`: it cannot be read, by whichever mapping.
    fn read(source: &Source, raw: &[u8]) -> Option<Self> {
        match source.mapping.format() {
            Format::Hl7v2 => {
                Message::read(raw, &source.charset, &source.limits).ok().map(|(message, _)| Self::Message(message))
            }
            Format::Fhir => Unit::parse(raw).ok().map(Self::Unit),
        }
    }

    fn input(&self) -> Input<'_> {
        match self {
            Self::Message(message) => message.into(),
            Self::Unit(unit) => unit.into(),
        }
    }
}

/// What the second mapping rejects of a message and the first does not: what is said of it, once, with the first place.
fn newly_rejected(before: &Result<Mapped, MapError>, after: &Result<Mapped, MapError>) -> BTreeMap<String, String> {
    let (Ok(before), Ok(after)) = (before, after) else { return BTreeMap::new() };
    let is_new = |one: &&Rejected| !before.rejected.iter().any(|known| known == *one);
    let new = after.rejected.iter().filter(is_new).rev();
    new.map(|one| (one.text.clone(), one.path.clone())).collect()
}

fn document(field: &str, tally: &Tally) -> serde_json::Value {
    let samples = tally
        .samples
        .iter()
        .map(|(message, change)| json!({"message": message, "before": change.before, "after": change.after}));
    json!({
        "field": field,
        "messages": tally.messages,
        "changes": tally.changes,
        "samples": samples.collect::<Vec<_>>(),
    })
}

fn print(field: &str, tally: &Tally) -> anyhow::Result<()> {
    let (changes, messages) = (number_of(tally.changes, "change"), number_of(tally.messages, "message"));
    output::line(format!("\n{field}: {changes} in {messages}"))?;
    let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), short);
    for (message, change) in &tally.samples {
        output::line(format!("  message {message}: {} → {}", shown(&change.before), shown(&change.after)))?;
    }
    Ok(())
}
