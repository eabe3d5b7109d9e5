//! `heyi feed`: the event log from the shell.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::{Verdict, audited, deliveries, existing_store, load_config, output, rehearsal};
use crate::app::now;
use crate::app::outgoing_consumers;
use crate::config::Config;
use crate::disclosure::Gate;
use crate::feed::snapshot::{Part, Place};
use crate::feed::{Event, Position, TypeFilter};
use crate::http;
use crate::outgoing::snapshot::{self, Detail};
use crate::outgoing::{self, Log, Standing};
use crate::store::events::{self, PageRequest};
use crate::store::{Reader, Store, StoreError};

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// Print events as they come.
    Tail {
        /// Where to begin: start, head or a cursor.
        #[arg(long, default_value = "head", value_name = "CURSOR")]
        after: Position,
        /// Only these types, for example visit.*; may be given more than once.
        #[arg(long = "type", value_name = "PATTERN", default_value = "*")]
        types: Vec<TypeFilter>,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Print the log as one JSON object a line, up to its end.
    Export {
        /// Where to begin: start or a cursor.
        #[arg(long, default_value = "start", value_name = "CURSOR")]
        after: Position,
        /// Only these types, for example visit.*; may be given more than once.
        #[arg(long = "type", value_name = "PATTERN", default_value = "*")]
        types: Vec<TypeFilter>,
        /// Accepted for symmetry: an export is always JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the current state, one JSON object a line: every person, visit and report, and last the cursor to go on from.
    Snapshot {
        /// Accepted for symmetry: a snapshot is always JSON.
        #[arg(long)]
        json: bool,
    },
    /// Play at a consumer what a feed may do to it (repeats, merges, erasures, a restore), and say what it did wrong.
    Rehearse(Box<rehearsal::Arguments>),
    /// Show each consumer's position, how far it is behind, and what waits.
    Consumers {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Deliveries(deliveries::Verb),
}

/// Events read at a time.
const PAGE: usize = 1_000;
/// Bytes of events read at a time.
const PAGE_BYTES: usize = 8 << 20;
/// How often the log's end is looked at: the events come from another process.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn run(file: &Path, verb: Verb) -> anyhow::Result<Verdict> {
    // Of the site it needs nothing.
    if let Verb::Rehearse(arguments) = &verb {
        return rehearsal::run(arguments);
    }
    let config = load_config(file)?;
    let store = existing_store(&config)?;
    match verb {
        Verb::Tail { after, types, json } => {
            let mut position = begin(&store, after)?;
            loop {
                position = print(&store, position, &types, json)?;
                std::thread::sleep(LOOK);
            }
        }
        Verb::Export { after, types, json: _ } => {
            print(&store, begin(&store, after)?, &types, true)?;
            Ok(Verdict::Fine)
        }
        Verb::Snapshot { json: _ } => {
            print_snapshot(&store)?;
            Ok(Verdict::Fine)
        }
        Verb::Rehearse(arguments) => rehearsal::run(&arguments),
        Verb::Consumers { json } => {
            list_consumers(&config, &store, json)?;
            Ok(Verdict::Fine)
        }
        Verb::Deliveries(verb) => deliveries::run(&config, &store, verb),
    }
}

/// The sequence to begin after.
fn begin(store: &Store, position: Position) -> anyhow::Result<u64> {
    let log = store.read(Log::read)?;
    log.resolve(position).map_err(|lost| {
        let problem = http::lost(log, lost);
        anyhow!("--after: {} {}", problem.kind.title(), problem.detail)
    })
}

/// Prints everything after `sequence` and gives the new position.
fn print(store: &Store, mut sequence: u64, types: &[TypeFilter], json: bool) -> anyhow::Result<u64> {
    let mut out = std::io::BufWriter::new(output::writer()?);
    loop {
        let filters = types.to_vec();
        let request = PageRequest { after: sequence, limit: PAGE, bytes: PAGE_BYTES, filters };
        let page = store.read(|reader| events::page(reader, &request))?;
        if let (Some(first), Some(last)) = (page.events.first(), page.events.last()) {
            audited::page(|entry| {
                entry.object("events", format_args!("{}-{}..{}", page.head.epoch, first.sequence, last.sequence));
                entry.persons(page.events.iter().map(|event| event.subject.as_str()));
            })?;
        }
        for event in &page.events {
            if json {
                serde_json::to_writer(&mut out, event)?;
                writeln!(out)?;
            } else {
                writeln!(out, "{}", output::printable(&summary(event)))?;
            }
        }
        if page.next == sequence {
            out.flush()?;
            return Ok(sequence);
        }
        sequence = page.next;
    }
}

/// Prints the rows of a snapshot, and the cursor from which the feed goes on.
fn print_snapshot(store: &Store) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let begun = store.read(events::head)?;
    let mut place = Some(Place::first(begun));
    while let Some(after) = place {
        let detail = Detail::Records { bytes: PAGE_BYTES };
        let page = store.read(|reader| {
            let gate = Gate::new(reader, None, now())?;
            snapshot::page(reader, after, Part::ALL, PAGE, detail, &gate)
        })?;
        for row in &page.rows {
            serde_json::to_writer(&mut out, row)?;
            writeln!(out)?;
        }
        place = page.next;
    }
    writeln!(out, "{}", json!({"cursor": begun.to_string()}))?;
    Ok(out.flush()?)
}

/// One event in one line: position, time, type, One ID, record and what changed.
pub(super) fn summary(event: &Event) -> String {
    let data: Value = serde_json::from_str(event.data.get()).unwrap_or_default();
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    let record = text("visit_id").filter(|_| text("report_id").is_none()).or_else(|| text("report_id"));
    let changed: Vec<&str> =
        data.get("changed").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    format!(
        "{} {} {:18} {} {} [{}]",
        event.sequence,
        event.time,
        event.kind,
        event.subject,
        record.or_else(|| text("name")).unwrap_or("-"),
        changed.join(" "),
    )
}

/// Every consumer, by name.
pub(super) fn standings(config: &Config, reader: &Reader<'_>) -> Result<Vec<Standing>, StoreError> {
    outgoing::standings(reader, &outgoing_consumers(config))
}

/// Where consumers are configured, others are let in no more.
pub(super) fn is_left_over(standing: &Standing, config: &Config) -> bool {
    standing.configured.is_none() && !config.consumers.is_empty()
}

/// What is to be known of a consumer beside its position.
pub(super) fn remark(standing: &Standing, config: &Config) -> String {
    let mut remarks = Vec::new();
    if standing.held.events > 0 {
        remarks.push(format!("{} held", standing.held.events));
    }
    if standing.held.parked > 0 {
        remarks.push(format!("{} parked", standing.held.parked));
    }
    if is_left_over(standing, config) {
        remarks.push("not configured".to_owned());
    }
    remarks.join(", ")
}

fn list_consumers(config: &Config, store: &Store, json: bool) -> anyhow::Result<()> {
    let (head, consumers) = store.read(|reader| Ok((events::head(reader)?, standings(config, reader)?)))?;
    if json {
        let consumers: Vec<Value> = consumers.iter().map(Standing::json).collect();
        return output::json(&json!({"consumers": consumers, "head": head.to_string()}));
    }
    let rows: Vec<Vec<String>> = consumers
        .iter()
        .map(|consumer| {
            let committed = consumer.committed.as_ref();
            let at = committed.map_or("never".to_owned(), |committed| output::local_time(committed.updated_at));
            let lag = consumer.behind().map_or("of another epoch".to_owned(), |behind| behind.to_string());
            let oldest = consumer.oldest_at.map_or("-".to_owned(), output::local_time);
            vec![consumer.name.clone(), consumer.cursor(), lag, oldest, at, remark(consumer, config)]
        })
        .collect();
    output::table(&["CONSUMER", "POSITION", "BEHIND", "OLDEST", "COMMITTED", ""], &rows)?;
    output::line(format!("head {head}"))
}
