//! `heyi audit`: who read or changed what, and whether the trail is as it was written.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Verdict, audited, existing_store, load_config, output};
use crate::app::now;
use crate::audit::{Action, is_one_id};
use crate::audit::{Break, CheckpointKind, PublicKey, Row};
use crate::config::Config;
use crate::store::audit::{self, AuditFilter, AuditOrder, Evidence, Findings, evidence_of_export, public_keys};
use crate::store::{Store, StoreError};

#[derive(clap::Subcommand)]
pub(super) enum Verb {
    /// List entries, newest first.
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
    /// Look whether any entry was changed, removed, added or moved; say the first broken place.
    Verify {
        /// An export instead of the store.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Keys to trust, one a line, instead of those beside the signing key.
        #[arg(long, value_name = "FILE")]
        public_key: Vec<PathBuf>,
        /// Checkpoints that were kept elsewhere, instead of [audit] checkpoints_file.
        #[arg(long, value_name = "FILE")]
        checkpoints: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put back what lacks in the index by which entries are found by person; `verify` says whether something does.
    Reindex,
    /// Print the trail as one JSON object a line, oldest first, with all that is needed to verify it elsewhere.
    Export {
        /// Entries of this time or later: 2026-11-22, 2026-11-22T08:00 (local) or 2026-11-22T08:00:00+08:00.
        #[arg(long, value_name = "TIME", value_parser = output::read_time)]
        since: Option<Timestamp>,
    },
}

#[derive(clap::Args)]
pub(super) struct Filter {
    /// At this time or later: 2026-11-22, 2026-11-22T08:00 (local) or 2026-11-22T08:00:00+08:00.
    #[arg(long, value_name = "TIME", value_parser = output::read_time)]
    since: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = output::read_time)]
    until: Option<Timestamp>,
    /// Of this token, or user of the shell.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// About this person.
    #[arg(long, value_name = "ONE_ID", value_parser = one_id)]
    person: Option<String>,
    /// Of this action, for example person.read, or person.* for all of a kind.
    #[arg(long, value_parser = action)]
    action: Option<String>,
}

// What is asked for amiss finds nothing, which reads as if nothing had been done.

fn one_id(text: &str) -> Result<String, &'static str> {
    is_one_id(text).then(|| text.to_owned()).ok_or("no One ID: `heyi person find` tells a patient's")
}

fn action(text: &str) -> Result<String, String> {
    let refused =
        || format!("no such action: write one of {}, or a kind of them such as person.*", Action::NAMES.join(", "));
    Action::is_named_by(text).then(|| text.to_owned()).ok_or_else(refused)
}

/// Rows read at a time.
const PAGE: usize = 1_000;
/// Rows of a table unless asked for more.
const ROWS: usize = 50;

pub(super) fn run(file: &Path, verb: Verb) -> anyhow::Result<Verdict> {
    match verb {
        Verb::List { filter, limit, json } => {
            let store = existing_store(&load_config(file)?)?;
            audited::about(|entry| filter.person.iter().for_each(|person| entry.person(person)));
            let filter = AuditFilter {
                since: filter.since.map(Timestamp::as_microsecond),
                until: filter.until.map(Timestamp::as_microsecond),
                who: filter.who,
                person: filter.person,
                action: filter.action,
            };
            list(&store, &filter, limit.unwrap_or(if json { usize::MAX } else { ROWS }), json)
        }
        Verb::Verify { file: Some(export), public_key, checkpoints, json } => {
            let trusted = if public_key.is_empty() { None } else { Some(read_keys(&public_key)?) };
            verify_export(&export, trusted, checkpoints.as_deref(), json)
        }
        Verb::Verify { file: None, public_key, checkpoints, json } => {
            let config = load_config(file)?;
            let trusted = if public_key.is_empty() {
                public_keys(&config.audit.public()).context("name the keys to trust with --public-key")?
            } else {
                read_keys(&public_key)?
            };
            let outside = checkpoints.unwrap_or_else(|| config.audit.checkpoints.clone());
            let findings = Evidence::open(&config.store)?.verify(trusted, &outside)?;
            tell(&findings, None, json)
        }
        Verb::Reindex => reindex(&existing_store(&load_config(file)?)?),
        Verb::Export { since } => export(&load_config(file)?, since),
    }
}

/// In steps, so that messages are taken in between.
fn reindex(store: &Store) -> anyhow::Result<Verdict> {
    let (mut after, mut added) = (0, 0);
    loop {
        let step = store.submit_blocking(move |transaction| audit::reindex(transaction, after, PAGE))?;
        added += step.added;
        match step.next {
            Some(next) => after = next,
            None => break,
        }
    }
    output::line(format!("put back: {added}"))?;
    Ok(Verdict::Fine)
}

fn read_keys(files: &[PathBuf]) -> anyhow::Result<BTreeSet<PublicKey>> {
    let mut keys = BTreeSet::new();
    for file in files {
        keys.extend(public_keys(file)?);
    }
    Ok(keys)
}

fn list(store: &Store, filter: &AuditFilter, limit: usize, json: bool) -> anyhow::Result<Verdict> {
    let mut found: Vec<Row> = Vec::new();
    let mut before = None;
    // One more than asked for, so that it is known whether there are more.
    let wanted = limit.saturating_add(1);
    loop {
        let left = PAGE.min(wanted - found.len());
        let page = store.read(|reader| audit::list(reader, filter, AuditOrder::NewestFirst(before), left))?;
        found.extend(page.entries);
        before = page.next;
        if before.is_none() || found.len() >= wanted {
            break;
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    if json {
        let entries: Vec<Value> = found.iter().map(Row::document).collect();
        output::json(&json!({"entries": entries}))?;
        return Ok(Verdict::Fine);
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|row| {
            let who = if row.role.is_empty() { row.name.clone() } else { format!("{} ({})", row.name, row.role) };
            let who = if who.is_empty() { row.actor.clone() } else { who };
            vec![
                row.sequence.to_string(),
                output::local_time(row.at),
                who,
                row.action.clone(),
                row.outcome.clone(),
                row.origin.clone(),
                some(&row.persons),
                some(&row.objects),
            ]
        })
        .collect();
    output::table(&["ENTRY", "TIME", "WHO", "ACTION", "OUTCOME", "FROM", "PERSONS", "OF"], &rows)?;
    if more {
        output::line(format!("… and older ones; --limit {} shows more", limit.saturating_mul(2)))?;
    }
    Ok(Verdict::Fine)
}

/// The first of a list, and how many more there are.
fn some(list: &str) -> String {
    let mut parts = list.split(' ').filter(|part| !part.is_empty());
    let first: Vec<&str> = parts.by_ref().take(2).collect();
    match parts.count() {
        0 => first.join(" "),
        more => format!("{} and {more} more", first.join(" ")),
    }
}

fn verify_export(
    file: &Path,
    trusted: Option<BTreeSet<PublicKey>>,
    checkpoints: Option<&Path>,
    json: bool,
) -> anyhow::Result<Verdict> {
    let open = || Ok(Box::new(BufReader::new(File::open(file)?)) as Box<dyn BufRead>);
    let is_trusted = trusted.is_some();
    let (findings, keys) =
        evidence_of_export(open, trusted, checkpoints).with_context(|| file.display().to_string())?;
    let own: Vec<String> = keys.iter().map(PublicKey::fingerprint).collect();
    let unchecked = (!is_trusted).then(|| {
        format!("its keys are its own ({}): compare them, or give --public-key with the site's", own.join(", "))
    });
    tell(&findings, unchecked, json)
}

fn tell(findings: &Findings, remark: Option<String>, json: bool) -> anyhow::Result<Verdict> {
    match findings {
        Ok(verified) => {
            let keys: Vec<String> = verified.keys.iter().map(PublicKey::fingerprint).collect();
            if json {
                output::json(&json!({
                    "verified": true,
                    "first": verified.first,
                    "last": verified.last,
                    "checkpoints": verified.checkpoints,
                    "outside": verified.outside,
                    "keys": keys,
                    "remark": remark,
                }))?;
            } else {
                output::line(format!(
                    "entries {} to {} are as they were written; {} signatures, {} checkpoints kept outside, keys {}",
                    verified.first,
                    verified.last,
                    verified.checkpoints,
                    verified.outside,
                    keys.join(", ")
                ))?;
                remark.iter().try_for_each(output::line)?;
            }
            Ok(Verdict::Fine)
        }
        Err(broken) => {
            if json {
                let (sequence, kind) = (broken.sequence, broken.kind.name());
                output::json(&json!({"verified": false, "sequence": sequence, "kind": kind, "text": broken.text}))?;
            } else {
                let broken_part = if broken.kind == Break::Index { "index of persons" } else { "trail" };
                output::line(format!("the {broken_part} is broken at entry {}: {}", broken.sequence, broken.text))?;
                output::line(format!("({})", broken.kind.name()))?;
            }
            Ok(Verdict::Wrong)
        }
    }
}

fn export(config: &Config, since: Option<Timestamp>) -> anyhow::Result<Verdict> {
    let store = existing_store(config)?;
    // Its own entry comes first, and is the last of what it exports.
    audited::before_output()?;
    let since = since.map(Timestamp::as_microsecond);
    let (checkpoints, last, after) = store.read(|reader| {
        let checkpoints = audit::checkpoints(reader)?;
        let last = checkpoints.iter().find(|checkpoint| checkpoint.kind == CheckpointKind::Head);
        let after = since.map(|since| audit::last_before(reader, since)).transpose()?.flatten();
        Ok((checkpoints.clone(), last.map_or(0, |head| head.sequence), after))
    })?;
    let mark = after.map(|after| audit::part(&store, after, now())).transpose()?.flatten();
    let mut after = mark.as_ref().map_or(0, |mark| mark.sequence);
    let mut out = std::io::BufWriter::new(output::writer()?);
    let is_in_part = |kind: CheckpointKind, sequence: u64| match kind {
        CheckpointKind::Beginning => mark.is_none(),
        _ => sequence > after,
    };
    for checkpoint in checkpoints.iter().filter(|one| is_in_part(one.kind, one.sequence)).chain(&mark) {
        writeln!(out, "{}", json!({"checkpoint": checkpoint.document()}))?;
    }
    while after < last {
        let next = |reader: &crate::store::Reader<'_>| {
            audit::list(reader, &AuditFilter::default(), AuditOrder::OldestFirst(after), PAGE)
        };
        let page = store.read(next)?;
        // What came after the signature that is exported is left for the next export.
        for row in page.entries.iter().filter(|row| row.sequence <= last) {
            writeln!(out, "{}", json!({"entry": row.document()}))?;
        }
        after = match page.entries.last() {
            Some(row) => row.sequence,
            None => return Err(StoreError::Damaged { what: "audit_entry" }.into()),
        };
    }
    out.flush()?;
    Ok(Verdict::Fine)
}
