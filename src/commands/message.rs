//! `heyi message`: stored messages: listing, showing, taking in again, dismissing.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::{Verdict, audited, existing_store, load_config, output};
use crate::app::{message_limits, now, pipeline_sources};
use crate::audit::{Entry, Outcome as Audited};
use crate::config::Config;
use crate::hl7v2::text;
use crate::http::add_raw;
use crate::pipeline::{self, Source};
use crate::store::audit;
use crate::store::messages::{self, Message, MessageFilter, MessageState, Outcome, Page};
use crate::store::{Reader, Store, Transaction};
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
    /// Take messages in again, in the order of their arrival, through the mapping of now.
    Retry {
        /// Their numbers, whatever their state; none: all that fit the filter, failed ones unless --state says otherwise.
        #[arg(conflicts_with = "filter")]
        ids: Vec<i64>,
        #[command(flatten)]
        filter: Filter,
        /// Begin at this number, where an earlier call ended.
        #[arg(long, value_name = "ID", conflicts_with = "ids")]
        from: Option<i64>,
        /// At most so many; the default is all.
        #[arg(long, conflicts_with = "ids")]
        limit: Option<usize>,
    },
    /// Take failed messages out of the list of failures for good: they stay stored, as ignored, with the reason.
    Dismiss {
        /// Their numbers.
        #[arg(required = true)]
        ids: Vec<i64>,
        /// Why; kept with the message.
        #[arg(long)]
        reason: String,
    },
}

#[derive(clap::Args)]
#[group(id = "filter", multiple = true)]
pub(super) struct Filter {
    /// Of this source.
    #[arg(long)]
    source: Option<String>,
    /// processed, failed or ignored.
    #[arg(long, value_parser = state)]
    state: Option<MessageState>,
    /// Of this type, for example ADT, ADT^A01 or, of a FHIR source, Encounter.
    #[arg(long = "type", value_name = "TYPE")]
    message_type: Option<String>,
    /// With this MSH-10; of a FHIR source, of this resource: Encounter/123.
    #[arg(long)]
    control_id: Option<String>,
    /// Of this patient.
    #[arg(long, value_name = "ONE_ID")]
    patient: Option<String>,
    /// Received at this time or later: 2026-11-22, 2026-11-22T08:00 (local) or 2026-11-22T08:00:00+08:00.
    #[arg(long, value_name = "TIME", value_parser = output::read_time)]
    since: Option<Timestamp>,
    /// Received before this time.
    #[arg(long, value_name = "TIME", value_parser = output::read_time)]
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
    let store = existing_store(&config)?;
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
        Verb::Retry { ids, filter, from, limit } => {
            let mut retry = Retry::new(&config, &store)?;
            if ids.is_empty() {
                retry.all(filter.for_store(), from, limit.unwrap_or(usize::MAX))
            } else {
                retry.named(ids)
            }
        }
        Verb::Dismiss { ids, reason } => dismiss(&store, &ids, &reason),
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
        let page = store.read(|reader| messages::list(reader, filter, Page::NewestFirst(after), PAGE.min(left)))?;
        left -= page.messages.len();
        if let (Some(first), Some(last)) = (page.messages.first(), page.messages.last()) {
            audited::page(|entry| {
                entry.object("messages", format_args!("{}..{}", last.id, first.id));
                entry.persons(page.messages.iter().filter_map(|message| message.outcome.one_id.as_deref()));
            })?;
        }
        page.messages.into_iter().try_for_each(&mut each)?;
        after = page.next;
        if left == 0 || after.is_none() {
            return Ok(after.is_some());
        }
    }
}

fn list_json(store: &Store, filter: &MessageFilter, limit: usize) -> anyhow::Result<()> {
    // Written as it is read: a list of millions need not fit in memory.
    let mut out = std::io::BufWriter::new(output::writer()?);
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
        let note = note(&message.outcome);
        rows.push(vec![
            message.id.to_string(),
            output::local_time(message.received_at),
            message.source,
            message.message_type,
            message.control_id,
            message.outcome.state.name().to_owned(),
            note,
        ]);
        Ok(())
    })?;
    output::table(&["ID", "RECEIVED", "SOURCE", "TYPE", "CONTROL ID", "STATE", "NOTE"], &rows)?;
    if more {
        output::line(format!("… and older ones; --limit {} shows more", limit.saturating_mul(2)))?;
    }
    Ok(())
}

/// Why the message failed or was ignored, else the first part of it that was left out, with how many more there are.
fn note(outcome: &Outcome) -> String {
    if let Some(error) = &outcome.error {
        return format!("{} {} {}", error.code, error.location, error.text);
    }
    if outcome.state == MessageState::Ignored {
        return outcome.notes.last().cloned().unwrap_or_default();
    }
    let is_left_out = |note: &&String| note.contains(": skipped, ") || note.contains(": rejected, ");
    let mut left_out = outcome.notes.iter().filter(is_left_out);
    let Some(first) = left_out.next() else { return String::new() };
    match left_out.count() {
        0 => first.clone(),
        more => format!("{first} (and {more} more)"),
    }
}

fn show(config: &Config, store: &Store, id: i64, json: bool) -> anyhow::Result<Verdict> {
    let (message, bytes) = store.read(|reader| Ok((messages::get(reader, id)?, messages::bytes(reader, id)?)))?;
    let message = message.with_context(|| unknown(&[id]))?;
    audited::about(|entry| {
        entry.object("message", id);
        entry.persons(message.outcome.one_id.as_deref());
    });
    let bytes = bytes.unwrap_or_default();
    let source = config.sources.iter().find(|source| source.name == message.source);
    // Resources are JSON, which is UTF-8; no message of HL7 v2 begins so.
    let resources = std::str::from_utf8(&bytes).ok().filter(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    let decode = || {
        let source = source?;
        Some(text::decode(&bytes, &source.charset, &message_limits(source)).ok()?.text)
    };
    let text = resources.map(str::to_owned).or_else(decode);
    let mut document = view::message(&message);
    if json {
        add_raw(&mut document, &bytes, text);
        output::json(&document)?;
        return Ok(Verdict::Fine);
    }
    for (name, value) in document.as_object().into_iter().flatten() {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        output::line(format!("{name:15} {shown}"))?;
    }
    output::line("")?;
    match text {
        Some(text) if resources.is_some() => output::line(output::indented(&text))?,
        Some(text) => output::line(text.replace('\r', "\n").trim_end())?,
        None if bytes.is_empty() => output::line("(its bytes are not kept)")?,
        None => {
            for segment in bytes.split(|byte| matches!(byte, b'\r' | b'\n')) {
                output::line(segment.escape_ascii())?;
            }
        }
    }
    Ok(Verdict::Fine)
}

fn unknown(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("no message has the number {}; retention may have removed it", ids.join(", "))
}

/// Takes messages in again and counts what came of it.
struct Retry<'a> {
    store: &'a Store,
    sources: Vec<Arc<Source>>,
    processed: u64,
    ignored: u64,
    failed: u64,
    left: u64,
}

impl<'a> Retry<'a> {
    fn new(config: &Config, store: &'a Store) -> anyhow::Result<Self> {
        let sources = pipeline_sources(config).map_err(|problems| {
            output::diagnostics(&problems);
            super::Unusable
        })?;
        Ok(Self { store, sources, processed: 0, ignored: 0, failed: 0, left: 0 })
    }

    /// Messages by number, whatever their state.
    fn named(&mut self, mut ids: Vec<i64>) -> anyhow::Result<Verdict> {
        ids.sort_unstable();
        ids.dedup();
        let read = |reader: &Reader<'_>| ids.iter().map(|id| messages::get(reader, *id)).collect::<Result<Vec<_>, _>>();
        let found = self.store.read(read)?;
        let missing: Vec<i64> =
            ids.iter().zip(&found).filter(|(_, message)| message.is_none()).map(|(id, _)| *id).collect();
        if !missing.is_empty() {
            bail!("{}; nothing was retried", unknown(&missing));
        }
        found.iter().flatten().try_for_each(|message| self.one(message, |_| true))?;
        self.tell()?;
        Ok(if self.failed == 0 && self.left == 0 { Verdict::Fine } else { Verdict::Wrong })
    }

    /// At most `limit` messages by filter, oldest first, beginning with the number `from`.
    fn all(&mut self, mut filter: MessageFilter, from: Option<i64>, limit: usize) -> anyhow::Result<Verdict> {
        let state = *filter.state.get_or_insert(MessageState::Failed);
        // What arrives from now on went through the mapping of now.
        let everything = MessageFilter::default();
        let newest = self.store.read(|reader| messages::list(reader, &everything, Page::NewestFirst(None), 1))?;
        let newest = newest.messages.first().map_or(0, |message| message.id);
        let mut after = Some(from.map_or(0, |from| from.saturating_sub(1)));
        let mut left = limit;
        while let Some(begin) = after.filter(|after| left > 0 && *after < newest) {
            let page = Page::OldestFirst(Some(begin));
            let page = self.store.read(|reader| messages::list(reader, &filter, page, PAGE.min(left)))?;
            left -= page.messages.len();
            // What somebody dismissed comes back only when it is named.
            for message in page.messages.iter().filter(|message| message.id <= newest && !message.is_dismissed()) {
                // Another retry may have been faster.
                self.one(message, move |now| now.outcome.state == state)?;
            }
            after = page.next;
        }
        self.tell()?;
        if let Some(after) = after.filter(|after| *after < newest) {
            output::line(format!("… and newer ones; --from {} goes on with them", after + 1))?;
        }
        Ok(if self.failed == 0 { Verdict::Fine } else { Verdict::Wrong })
    }

    fn one(
        &mut self,
        message: &Message,
        is_wanted: impl FnOnce(&Message) -> bool + Send + 'static,
    ) -> anyhow::Result<()> {
        let id = message.id;
        let Some(source) = self.sources.iter().find(|source| source.name == message.source) else {
            output::complain(&format!("message {id}: its source {} is not configured any more", message.source));
            self.failed += 1;
            return Ok(());
        };
        let Some(again) = pipeline::prepare_again(self.store, source, id)? else {
            output::complain(&format!("message {id}: its bytes are not kept; its sender can send it again"));
            self.left += 1;
            return Ok(());
        };
        let one_id = message.outcome.one_id.clone();
        let commit = move |transaction: &Transaction<'_>, mut entry: Entry| {
            let done = pipeline::commit_again(transaction, again, is_wanted, now())?;
            entry.object("message", id);
            entry.persons(one_id.as_deref());
            let outcome = if done.is_some() { Audited::Ok } else { Audited::Refused };
            audit::append(transaction, &entry.with(outcome))?;
            Ok(done)
        };
        let Some(done) = audited::change(self.store, commit)? else {
            output::complain(&format!("message {id}: somebody else has resolved it meanwhile"));
            self.left += 1;
            return Ok(());
        };
        if let Some(error) = done.error {
            output::line(format!("{id}: {} {}", error.location, error.text))?;
        }
        match done.state {
            MessageState::Processed => self.processed += 1,
            MessageState::Ignored => self.ignored += 1,
            MessageState::Failed => self.failed += 1,
        }
        Ok(())
    }

    fn tell(&self) -> anyhow::Result<()> {
        let Self { processed, ignored, failed, left, .. } = self;
        output::line(format!("{processed} processed, {ignored} ignored, {failed} failed, {left} left as they are"))
    }
}

fn dismiss(store: &Store, ids: &[i64], reason: &str) -> anyhow::Result<Verdict> {
    if reason.trim().is_empty() {
        bail!("--reason is empty: say why nobody has to look at them any more");
    }
    let by = super::user();
    let mut dismissed = 0;
    for &id in ids {
        let (by, reason) = (by.clone(), reason.to_owned());
        let dismiss = move |transaction: &Transaction<'_>, mut entry: Entry| {
            let dismissed = messages::dismiss(transaction, id, &by, &reason)?;
            match &dismissed {
                Some(message) => {
                    entry.object("message", id);
                    entry.persons(message.outcome.one_id.as_deref());
                }
                None => entry.outcome = Audited::Refused,
            }
            audit::append(transaction, &entry)?;
            Ok(dismissed)
        };
        match audited::change(store, dismiss)? {
            Some(_) => dismissed += 1,
            None => output::complain(&format!("message {id} is not failed, or not there: left as it is")),
        }
    }
    output::line(format!("{dismissed} dismissed"))?;
    Ok(if dismissed == ids.len() { Verdict::Fine } else { Verdict::Wrong })
}
