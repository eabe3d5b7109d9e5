//! `heyi mapping`: what a mapping makes of messages, tried before it is in force.
//!
//! Values of messages are printed for who asked at this terminal, which is what these commands are for; none goes to a log.

mod coverage;
mod diff;
mod explain;
mod inputs;
mod test;
mod unmapped;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Unusable, Verdict, audited, load_config, output, unknown_source};
use crate::app::count;
use crate::app::mappings::{load_mapping, pipeline_site, pipeline_source};
use crate::config::{self, Config};
use crate::fhir::Dictionary;
use crate::mapping::{Mapping, schema};
use crate::pipeline::Source;
use crate::record::Value;
use crate::store::messages::{self, MessageFilter, Page};
use crate::store::{Reader, Store, StoreError};

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Where every field of a message's records comes from, and what was left out and why.
    Explain(explain::Arguments),
    /// Run the cases beside the mappings: fixtures/MAPPING/CASE.hl7 against CASE.expected.json.
    Test(test::Arguments),
    /// What a mapping leaves unread in messages, which fields stay empty, which rules never give anything.
    Coverage(coverage::Arguments),
    /// What another mapping file would make of the stored messages of a source.
    Diff(diff::Arguments),
    /// Codes that no table knows, and how many messages wait for each.
    Unmapped(unmapped::Arguments),
    /// Print the JSON Schema of mapping files, for editors.
    Schema,
}

pub(super) fn run(file: &Path, verb: Verb) -> anyhow::Result<Verdict> {
    match verb {
        Verb::Schema => {
            output::json(&schema::document())?;
            Ok(Verdict::Fine)
        }
        Verb::Explain(arguments) => explain::run(&load_config(file)?, &arguments),
        Verb::Test(arguments) => test::run(&load_config(file)?, &arguments),
        Verb::Coverage(arguments) => coverage::run(&load_config(file)?, &arguments),
        Verb::Diff(arguments) => diff::run(&load_config(file)?, &arguments),
        Verb::Unmapped(arguments) => unmapped::run(&load_config(file)?, &arguments),
    }
}

/// A mapping file, its problems printed.
fn mapping(config: &Config, file: &Path) -> anyhow::Result<Mapping> {
    load_mapping(config, file).map_err(|problems| {
        output::diagnostics(&problems);
        Unusable.into()
    })
}

/// A source of the configuration by name.
fn settings<'c>(config: &'c Config, name: &str) -> anyhow::Result<&'c config::Source> {
    config.sources.iter().find(|source| source.name == name).ok_or_else(|| unknown_source(config, name).into())
}

/// A source with its mapping as the files are now.
fn source(config: &Config, name: &str) -> anyhow::Result<Source> {
    let settings = settings(config, name)?;
    Ok(pipeline_source(settings, mapping(config, &settings.mapping)?, &pipeline_site(config)))
}

/// Rows read at a time.
const PAGE: usize = 200;

/// Stored messages that were looked at.
#[derive(Default)]
struct Looked {
    /// With their bytes.
    given: usize,
    /// Of which the bytes are not kept any more.
    without_bytes: usize,
}

impl Looked {
    /// What keeps the stored messages from saying anything.
    fn complain(&self, source: &str) {
        match self {
            Self { given: 0, without_bytes: 0 } => output::complain(&format!("no message of {source} is stored")),
            Self { without_bytes: 0, .. } => {}
            Self { without_bytes, .. } => {
                let stored = count(without_bytes, "message");
                output::complain(&format!("{stored} of {source} could not be tried: the bytes are not kept any more"));
            }
        }
    }
}

/// Hands the newest `count` stored messages of a source to `each`, newest first, with their bytes; those whose bytes are not kept
/// are left out.
fn each_stored(
    store: &Store,
    source: &str,
    count: usize,
    mut each: impl FnMut(i64, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<Looked> {
    audited::about(|entry| entry.object("source", source));
    let filter = MessageFilter { source: Some(source.to_owned()), ..MessageFilter::default() };
    let (mut after, mut looked) = (None, Looked::default());
    let mut progress = Progress::new();
    while looked.given + looked.without_bytes < count {
        let left = count - looked.given - looked.without_bytes;
        let page = |reader: &Reader<'_>| {
            let listed = messages::list(reader, &filter, Page::NewestFirst(after), PAGE.min(left))?;
            let bytes = listed.messages.iter().map(|message| Ok((message.id, messages::bytes(reader, message.id)?)));
            Ok((bytes.collect::<Result<Vec<_>, StoreError>>()?, listed.next))
        };
        let (page, next) = store.read(page)?;
        for (id, bytes) in page {
            match bytes.filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => {
                    looked.given += 1;
                    each(id, &bytes)?;
                }
                None => looked.without_bytes += 1,
            }
            progress.one();
        }
        let Some(next) = next else { break };
        after = Some(next);
    }
    Ok(looked)
}

/// A line on standard error every few seconds of long work.
struct Progress {
    done: u64,
    reported: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { done: 0, reported: Instant::now() }
    }

    fn one(&mut self) {
        /// Between two lines.
        const REPORT: Duration = Duration::from_secs(3);
        self.done += 1;
        if self.reported.elapsed() >= REPORT {
            self.reported = Instant::now();
            output::complain(&format!("{} so far", count(self.done, "message")));
        }
    }
}

/// Resources that no record is made of, by type; those of a type that FHIR does not have are named so.
fn unused_document(unused: &inputs::Unused) -> serde_json::Value {
    let rows = unused.iter().map(|(kind, count)| json!({"resource": kind, "count": count, "known": is_known(kind)}));
    rows.collect()
}

/// See [`unused_document`].
fn unused_lines(unused: &inputs::Unused) -> Vec<String> {
    let told = |(kind, number): (&String, &u64)| {
        let none = if is_known(kind) { "" } else { " (FHIR has no such type)" };
        format!("unused    {}: {kind}{none}", count(*number, "resource"))
    };
    let heading = "\nIn no unit, so in no record:".to_owned();
    let lines: Vec<String> = unused.iter().map(told).collect();
    if lines.is_empty() { lines } else { std::iter::once(heading).chain(lines).collect() }
}

fn is_known(kind: &str) -> bool {
    let dictionary = Dictionary::standard();
    dictionary.named(kind).is_some_and(|kind| dictionary.is_resource(kind))
}

/// A value in one short line: texts without quotes, the rest as JSON.
fn short(value: &Value) -> String {
    /// Columns of a terminal that one value may take.
    const MOST: usize = 48;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= MOST {
        return line;
    }
    let start: String = line.chars().take(MOST - 1).collect();
    format!("{start}…")
}
