//! `heyi message`: stored messages.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::json;

use super::{Verdict, load_config, open_store, output};
use crate::app::pipeline_sources;
use crate::config::Config;
use crate::pipeline;
use crate::store::Store;
use crate::store::messages::{self, Message, MessageFilter, MessageState, Page};
use crate::view;

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List messages, newest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// At most so many; the default is 50, with --json all.
        #[arg(long)]
        limit: Option<usize>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one message with its text.
    Show {
        /// Its number.
        id: i64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Try failed messages again, in the order of their arrival.
    Retry {
        /// Their numbers; none: all failed ones that fit the filter.
        ids: Vec<i64>,
        #[command(flatten)]
        filter: Filter,
    },
}

#[derive(clap::Args)]
pub(super) struct Filter {
    /// Of this source.
    #[arg(long)]
    source: Option<String>,
    /// processed, failed or ignored.
    #[arg(long, value_parser = state)]
    state: Option<MessageState>,
    /// Of this type, for example ADT or ADT^A01.
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// With this MSH-10.
    #[arg(long)]
    control_id: Option<String>,
    /// Of this patient.
    #[arg(long, value_name = "ONE_ID")]
    patient: Option<String>,
    /// Received at this time or later, for example 2026-11-22T08:00:00+08:00.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Received before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

fn state(text: &str) -> Result<MessageState, &'static str> {
    text.parse().map_err(|()| "processed, failed or ignored")
}

impl Filter {
    fn for_store(self) -> MessageFilter {
        MessageFilter {
            source: self.source,
            state: self.state,
            message_type: self.message_type,
            control_id: self.control_id,
            one_id: self.patient,
            from: self.since.map(Timestamp::as_microsecond),
            before: self.until.map(Timestamp::as_microsecond),
        }
    }
}

/// Rows read at a time.
const PAGE: usize = 500;
/// Rows of a table unless asked for more.
const ROWS: usize = 50;

pub(super) fn run(file: &Path, verb: Verb) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let store = open_store(&config)?;
    match verb {
        Verb::List { filter, limit, json } => {
            let filter = filter.for_store();
            if json {
                list_json(&store, &filter, limit.unwrap_or(usize::MAX))?;
            } else {
                list_table(&store, &filter, limit.unwrap_or(ROWS))?;
            }
            Ok(Verdict::Fine)
        }
        Verb::Show { id, json } => show(&config, &store, id, json),
        Verb::Retry { ids, filter } => retry(&config, &store, ids, filter.for_store()),
    }
}

/// Hands at most `limit` messages to `each`, newest first, and says whether there are more.
fn each_message(
    store: &Store,
    filter: &MessageFilter,
    limit: usize,
    mut each: impl FnMut(Message) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let (mut after, mut left) = (None, limit);
    loop {
        let wanted = PAGE.min(left.saturating_add(1));
        let page = store.read(|reader| messages::list(reader, filter, Page::NewestFirst(after), wanted))?;
        let complete = page.len() < wanted;
        for message in page {
            if left == 0 {
                return Ok(true);
            }
            left -= 1;
            after = Some(message.id);
            each(message)?;
        }
        if complete {
            return Ok(false);
        }
    }
}

fn list_json(store: &Store, filter: &MessageFilter, limit: usize) -> anyhow::Result<()> {
    // Written as it is read: a list of millions need not fit in memory.
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut separator = "{\"messages\":[\n";
    each_message(store, filter, limit, |message| {
        write!(out, "{separator}{}", view::message(&message))?;
        separator = ",\n";
        Ok(())
    })?;
    let start = if separator.starts_with('{') { separator } else { "" };
    writeln!(out, "{start}\n]}}")?;
    Ok(out.flush()?)
}

fn list_table(store: &Store, filter: &MessageFilter, limit: usize) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let more = each_message(store, filter, limit, |message| {
        let error = message.outcome.error.map(|error| format!("{} {} {}", error.code, error.location, error.text));
        rows.push(vec![
            message.id.to_string(),
            output::local_time(message.received_at),
            message.source,
            message.message_type,
            message.control_id,
            message.outcome.state.name().to_owned(),
            error.unwrap_or_default(),
        ]);
        Ok(())
    })?;
    output::table(&["ID", "RECEIVED", "SOURCE", "TYPE", "CONTROL ID", "STATE", "ERROR"], &rows)?;
    if more {
        output::line(format!("… and older ones; --limit {} shows more", limit.saturating_mul(2)))?;
    }
    Ok(())
}

fn show(config: &Config, store: &Store, id: i64, json: bool) -> anyhow::Result<Verdict> {
    let (message, bytes) = store.read(|reader| Ok((messages::get(reader, id)?, messages::bytes(reader, id)?)))?;
    let message = message.with_context(|| format!("no message has the number {id}; retention may have removed it"))?;
    let bytes = bytes.unwrap_or_default();
    let setting = config.sources.iter().find(|source| source.name == message.source).map(|source| &source.charset);
    let decoded = setting.and_then(|setting| crate::hl7v2::text::decode(&bytes, setting, &Default::default()).ok());
    let text = decoded.map(|decoded| decoded.text);
    let mut document = view::message(&message);
    if json {
        document["raw"] = json!(text);
        output::json(&document)?;
        return Ok(Verdict::Fine);
    }
    for (name, value) in document.as_object().into_iter().flatten() {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output::line(format!("{name:15} {shown}"))?;
    }
    output::line("")?;
    match text {
        Some(text) => output::line(text.replace('\r', "\n").trim_end())?,
        None => output::line(format!("({} bytes that cannot be read as text)", bytes.len()))?,
    }
    Ok(Verdict::Fine)
}

fn retry(config: &Config, store: &Store, ids: Vec<i64>, mut filter: MessageFilter) -> anyhow::Result<Verdict> {
    let sources = pipeline_sources(config).map_err(|problems| {
        output::diagnostics(&problems);
        super::Unusable
    })?;
    let sources: BTreeMap<&str, _> = sources.iter().map(|source| (source.name.as_str(), source)).collect();
    filter.state = Some(MessageState::Failed);
    let mut queue = ids.clone();
    queue.sort_unstable();
    let (mut processed, mut failed, mut after) = (0_u64, 0_u64, None);
    loop {
        if ids.is_empty() {
            let page = store.read(|reader| messages::list(reader, &filter, Page::OldestFirst(after), PAGE))?;
            queue = page.iter().map(|message| message.id).collect();
        }
        for id in std::mem::take(&mut queue) {
            after = Some(id);
            let message = store.read(|reader| messages::get(reader, id))?;
            let Some(message) = message else { bail!("no message has the number {id}") };
            let Some(source) = sources.get(message.source.as_str()).map(|source| std::sync::Arc::clone(source)) else {
                output::complain(&format!("message {id}: its source {} is not configured any more", message.source));
                failed += 1;
                continue;
            };
            match store.submit_blocking(move |transaction| pipeline::retry_stored(transaction, &source, id))? {
                Some(done) if done.error.is_none() => processed += 1,
                Some(done) => {
                    failed += 1;
                    let error = done.error.map(|error| format!("{} {}", error.location, error.text));
                    output::line(format!("{id}: {}", error.unwrap_or_default()))?;
                }
                None => output::line(format!("{id}: not failed, or its bytes were not kept; left as it is"))?,
            }
        }
        if !ids.is_empty() || after.is_none() || queue_is_done(store, &filter, after)? {
            break;
        }
    }
    output::line(format!("{processed} processed, {failed} failed again"))?;
    Ok(if failed == 0 { Verdict::Fine } else { Verdict::Wrong })
}

fn queue_is_done(store: &Store, filter: &MessageFilter, after: Option<i64>) -> anyhow::Result<bool> {
    Ok(store.read(|reader| messages::list(reader, filter, Page::OldestFirst(after), 1))?.is_empty())
}
