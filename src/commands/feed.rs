//! `heyi feed`: the event log from the shell.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::{Verdict, existing_store, load_config, output, rehearsal};
use crate::config::Config;
use crate::feed::snapshot::{Part, Place};
use crate::feed::{Event, Position, TypeFilter};
use crate::http::Log;
use crate::store::consumers::{self, Consumer};
use crate::store::events::{self, PageRequest};
use crate::store::{Reader, Store, StoreError};
use crate::view::moment;
use crate::view::snapshot::{self, Detail};

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
    /// Show each consumer's position and how far it is behind.
    Consumers {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
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
    }
}

/// The sequence to begin after.
fn begin(store: &Store, position: Position) -> anyhow::Result<u64> {
    let begin = store.read(Log::read)?.resolve(position);
    begin.map_err(|problem| anyhow!("--after: {} {}", problem.kind.title(), problem.detail))
}

/// Prints everything after `sequence` and gives the new position.
fn print(store: &Store, mut sequence: u64, types: &[TypeFilter], json: bool) -> anyhow::Result<u64> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    loop {
        let filters = types.to_vec();
        let request = PageRequest { after: sequence, limit: PAGE, bytes: PAGE_BYTES, filters };
        let page = store.read(|reader| events::page(reader, &request))?;
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
        let page = store.read(|reader| snapshot::page(reader, after, Part::ALL, PAGE, detail))?;
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

/// A consumer: configured, or known by the position that it committed.
pub(super) struct Standing {
    pub(super) name: String,
    is_configured: bool,
    committed: Option<Consumer>,
    /// Events that it has not taken; `None` when its position is of another epoch.
    pub(super) lag: Option<u64>,
}

/// Every consumer, by name.
pub(super) fn standings(config: &Config, reader: &Reader<'_>) -> Result<Vec<Standing>, StoreError> {
    let head = events::head(reader)?.sequence;
    let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
    for committed in consumers::list(reader)? {
        let (name, lag) = (committed.name.clone(), committed.lag);
        standings.insert(name.clone(), Standing { name, is_configured: false, committed: Some(committed), lag });
    }
    for configured in &config.consumers {
        let name = &configured.name;
        let never = Standing { name: name.clone(), is_configured: true, committed: None, lag: Some(head) };
        standings.entry(name.clone()).or_insert(never).is_configured = true;
    }
    Ok(standings.into_values().collect())
}

impl Standing {
    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "configured": self.is_configured,
            "cursor": self.cursor(),
            "lag": self.lag,
            "committed_at": self.committed.as_ref().map(|committed| moment(committed.updated_at)),
        })
    }

    /// As `--after` and the interface take it.
    pub(super) fn cursor(&self) -> String {
        self.committed.as_ref().map_or("start".to_owned(), |committed| committed.cursor.to_string())
    }

    /// Where consumers are configured, others are let in no more.
    pub(super) fn is_left_over(&self, config: &Config) -> bool {
        !self.is_configured && !config.consumers.is_empty()
    }
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
            let lag = consumer.lag.map_or("of another epoch".to_owned(), |lag| lag.to_string());
            let remark = if consumer.is_left_over(config) { "not configured" } else { "" };
            vec![consumer.name.clone(), consumer.cursor(), lag, at, remark.to_owned()]
        })
        .collect();
    output::table(&["CONSUMER", "POSITION", "BEHIND", "COMMITTED", ""], &rows)?;
    output::line(format!("head {head}"))
}
