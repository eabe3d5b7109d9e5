//! `heyi status`: one screen.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::feed::{remark, standings};
use super::{Verdict, existing_store, load_config, output};
use crate::app::{now, standing_of};
use crate::config::{Arrival, Config};
use crate::outgoing::Standing;
use crate::source::directory;
use crate::source::fhir::status::ServerStanding;
use crate::store::messages::MessageState;
use crate::store::resources::{self, ResourceState};
use crate::store::{DaemonLock, Reader, StoreError, mappings, statistics, unmapped};
use crate::view::{self, moment};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Unmapped codes that are counted. What they are is told by `heyi mapping unmapped`, which is audited: where a sender has slipped, a name
/// or a number stands in the place of a code.
const CODES: usize = 10_000;

pub(super) fn run(file: &Path, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let store = existing_store(&config)?;
    let read = |reader: &crate::store::Reader<'_>| {
        let codes = unmapped::list(reader, CODES)?;
        Ok((statistics::read(&store, reader)?, standings(&config, reader)?, mappings::list(reader)?, codes))
    };
    let (numbers, consumers, mappings, codes) = store.read(read)?;
    let mut unmapped: BTreeMap<(&str, &str), (usize, u64)> = BTreeMap::new();
    for code in &codes {
        let (codes, times) = unmapped.entry((&code.source, &code.table)).or_default();
        *codes += 1;
        *times += code.count;
    }
    let count = |source: &str, state: MessageState| {
        let found = numbers.messages.iter().find(|count| count.source == source && count.state == state);
        found.map_or(0, |count| count.count)
    };
    let last = |source: &str| {
        numbers.messages.iter().filter(|count| count.source == source).map(|count| count.last_received_at).max()
    };
    // Sources that are configured, and those that only the store remembers.
    let mut names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    for count in &numbers.messages {
        if !names.contains(&count.source.as_str()) {
            names.push(&count.source);
        }
    }
    let mirrors = store.read(|reader| {
        let polled = names.iter().map(|name| Ok((*name, Mirror::read(reader, name)?)));
        polled.collect::<Result<Vec<_>, StoreError>>()
    })?;
    let mirror = |name: &str| {
        let found = mirrors.iter().find(|(other, _)| *other == name).map(|(_, mirror)| mirror);
        // What a source without FHIR never had is not shown as none.
        found.filter(|mirror| mirror.resources > 0 || is_polled(&config, name))
    };
    let runs = DaemonLock::is_held(&config.store);
    // Pruning comes by every ten minutes; a day more is no reason to say anything.
    let kept = config.retention.feed + Duration::from_secs(86_400);
    let before = now().saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX));
    let keeping: Vec<&str> = consumers
        .iter()
        .filter(|consumer| consumer.oldest_at.is_some_and(|at| at < before))
        .map(|consumer| consumer.name.as_str())
        .collect();
    if arguments.json {
        let sources: Vec<_> = names
            .iter()
            .map(|name| {
                let mapping = mappings.iter().find(|mapping| mapping.source == *name);
                let trouble = trouble(&config, name, runs, mirror(name));
                let mut source = json!({
                    "name": name,
                    "state": state(&trouble),
                    "reason": trouble,
                    "processed": count(name, MessageState::Processed),
                    "failed": count(name, MessageState::Failed),
                    "ignored": count(name, MessageState::Ignored),
                    "last_message_at": last(name).map(moment),
                    "mapping": mapping.map(view::mapping_in_force),
                });
                if let Some(mirror) = mirror(name) {
                    source["resources"] = mirror.json();
                    source["polling"] = json!(mirror.standing);
                }
                source
            })
            .collect();
        let consumers: Vec<_> = consumers.iter().map(Standing::json).collect();
        let keeping = &keeping;
        let codes = unmapped.iter().map(|((source, table), (codes, times))| {
            json!({"source": source, "table": table, "codes": codes, "count": times})
        });
        let codes: Vec<_> = codes.collect();
        output::json(&json!({
            "running": runs,
            "sources": sources,
            "feed": {"head": numbers.head.to_string(), "first_kept": numbers.first_kept, "kept_for": keeping},
            "consumers": consumers,
            "unmapped": codes,
            "store": {
                "path": store.path(),
                "file_bytes": numbers.file_bytes,
                "free_bytes": numbers.free_bytes,
                "wal_bytes": numbers.wal_bytes,
                "persons": numbers.persons,
                "records": numbers.records,
                "visits": numbers.visits,
                "lab_reports": numbers.lab_reports,
            },
        }))?;
        return Ok(Verdict::Fine);
    }
    let rows: Vec<Vec<String>> = names
        .iter()
        .map(|name| {
            vec![
                (*name).to_owned(),
                state(&trouble(&config, name, runs, mirror(name))).to_owned(),
                last(name).map_or_else(|| "-".to_owned(), output::local_time),
                count(name, MessageState::Processed).to_string(),
                count(name, MessageState::Ignored).to_string(),
                count(name, MessageState::Failed).to_string(),
            ]
        })
        .collect();
    output::table(&["SOURCE", "STATE", "LAST MESSAGE", "PROCESSED", "IGNORED", "FAILED"], &rows)?;
    output::line("")?;
    output::line(format!("daemon    {}", if runs { "running" } else { "not running" }))?;
    for name in names.iter().filter(|_| runs) {
        if let Some(trouble) = trouble(&config, name, runs, mirror(name)) {
            output::line(format!("down      {name}: {trouble}"))?;
        }
    }
    for (name, mirror) in names.iter().filter_map(|name| Some((name, mirror(name)?))) {
        output::line(format!("resources {name}: {mirror}"))?;
        if let Some(standing) = &mirror.standing {
            output::line(format!("server    {name}: {}", in_words(standing)))?;
        }
    }
    output::line(format!("feed      head {}", numbers.head))?;
    for consumer in &consumers {
        let lag = consumer.behind().map_or_else(|| "of another epoch".to_owned(), |lag| format!("{lag} behind"));
        let remark = remark(consumer, &config);
        let remark = if remark.is_empty() { remark } else { format!(", {remark}") };
        output::line(format!("consumer  {} at {}, {lag}{remark}", consumer.name, consumer.cursor()))?;
    }
    if !keeping.is_empty() {
        output::line(format!(
            "feed      older events than retention.feed are kept for {}: bring them on, or `heyi feed forget`",
            keeping.join(", ")
        ))?;
    }
    for mapping in &mappings {
        let since = output::local_time(mapping.loaded_at);
        output::line(format!("mapping   {} {} since {since}", mapping.source, mapping.version))?;
    }
    // A set is refused as a whole, so every source says the same.
    if let Some(refused) = mappings.iter().find_map(|mapping| mapping.refused.as_ref()) {
        let at = output::local_time(refused.at);
        output::line(format!("mapping   the files as of {at} cannot be used:"))?;
        refused.problems.iter().try_for_each(|problem| output::line(format!("            {problem}")))?;
        if refused.problems.len() >= mappings::MOST_PROBLEMS {
            output::line("            (`heyi check` shows whether there are more)")?;
        }
    }
    for ((source, table), (codes, times)) in &unmapped {
        output::line(format!("unmapped  {source} {table}: {codes} codes, {times} times (`heyi mapping unmapped`)"))?;
    }
    output::line(format!(
        "store     {} persons, {} records, {} visits, {} reports; {} MiB, {} MiB of it free, {} MiB log: {}",
        numbers.persons,
        numbers.records,
        numbers.visits,
        numbers.lab_reports,
        numbers.file_bytes >> 20,
        numbers.free_bytes >> 20,
        numbers.wal_bytes >> 20,
        store.path().display(),
    ))?;
    Ok(Verdict::Fine)
}

/// What is held of a FHIR server.
struct Mirror {
    /// All that are known, those that were deleted too.
    resources: u64,
    present: u64,
    /// What others name and nobody has read yet.
    unread: u64,
    /// What is not yet told.
    due: u64,
    unreadable: u64,
    /// How its server stood when it was last asked.
    standing: Option<ServerStanding>,
}

impl Mirror {
    fn read(reader: &Reader<'_>, source: &str) -> Result<Self, StoreError> {
        let counts = resources::counts(reader, source)?;
        let count = |state: ResourceState| {
            counts.iter().filter(|(_, found, _)| found == state.name()).map(|(.., count)| count).sum()
        };
        Ok(Self {
            resources: counts.iter().map(|(.., count)| count).sum(),
            present: count(ResourceState::Present),
            unread: count(ResourceState::Unread),
            due: resources::due_count(reader, source)?,
            unreadable: resources::unreadable_count(reader, source)?,
            standing: standing_of(reader, source)?,
        })
    }

    fn json(&self) -> serde_json::Value {
        json!({"present": self.present, "unread": self.unread, "due": self.due, "unreadable": self.unreadable})
    }
}

impl std::fmt::Display for Mirror {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { present, unread, due, unreadable, .. } = self;
        write!(formatter, "{present} held, {unread} to be read yet, {due} to be told")?;
        if *unreadable > 0 {
            write!(formatter, ", {unreadable} that nobody can read (`heyi message list --state failed`)")?;
        }
        Ok(())
    }
}

fn is_polled(config: &Config, name: &str) -> bool {
    config.sources.iter().any(|source| source.name == name && matches!(source.arrival, Arrival::Fhir(_)))
}

/// Why a source takes no messages, as far as it shows from outside the daemon: a running one keeps its listeners up, and what it
/// does with a directory that is gone can be seen there as well.
fn trouble(config: &Config, name: &str, daemon_runs: bool, mirror: Option<&Mirror>) -> Option<String> {
    let Some(source) = config.sources.iter().find(|source| source.name == name) else {
        return Some("it is not configured any more".to_owned());
    };
    match &source.arrival {
        _ if !daemon_runs => Some("no daemon runs on this store".to_owned()),
        Arrival::Files(files) => directory::usable(&files.directory).err(),
        Arrival::Mllp(_) => None,
        Arrival::Fhir(_) => {
            let standing = mirror?.standing.as_ref().filter(|standing| standing.answers == Some(false))?;
            let text = standing.last_error.as_ref().map(|error| error.text.clone());
            Some(text.unwrap_or_else(|| "its server does not answer".to_owned()))
        }
    }
}

/// How a server stands: `answers since …`, with what it does not do as it should; `does not answer since …, last success …: why`.
fn in_words(standing: &ServerStanding) -> String {
    let time =
        |at: Option<jiff::Timestamp>| at.map_or_else(|| "-".to_owned(), |at| output::local_time(at.as_microsecond()));
    let (since, last) = (time(standing.since), time(standing.last_success));
    match (standing.answers, &standing.last_error) {
        (None, _) => "was not asked yet".to_owned(),
        (Some(true), _) if standing.remarks.is_empty() => format!("answers since {since}, last success {last}"),
        (Some(true), _) => {
            let remarks = standing.remarks.iter().map(|(resource_type, remarks)| {
                let remarks = remarks.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                if resource_type.is_empty() { remarks } else { format!("{resource_type} {remarks}") }
            });
            let remarks = remarks.collect::<Vec<_>>().join("; ");
            format!("answers since {since}, last success {last}; not as it should: {remarks}")
        }
        (Some(false), error) => {
            let why = error.as_ref().map_or("", |error| error.text.as_str());
            format!("does not answer since {since}, last success {last}: {why}")
        }
    }
}

fn state(trouble: &Option<String>) -> &'static str {
    if trouble.is_some() { "down" } else { "up" }
}
