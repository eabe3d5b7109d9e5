//! `heyi person export`, `erase` and `restrict`: what a person may ask for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::json;

use super::super::{Unusable, Verdict, audited, output, user};
use super::Why;
use crate::app::{now, pipeline_site, pipeline_sources, zone_of_decisions};
use crate::config::Config;
use crate::pipeline::Source;
use crate::pipeline::rights::{self, Erased, Request, RightsRefusal, Trace};
use crate::store::Store;

/// Between two lines of progress.
const REPORT: Duration = Duration::from_secs(3);
/// How long an erasure waits for readers of the write-ahead log.
pub(in crate::commands) const PATIENCE: Duration = Duration::from_secs(30);
/// How often an erasure begins anew because messages about the person came meanwhile.
const TRIES: usize = 3;

pub(super) fn export(config: &Config, store: &Store, one_id: &str) -> anyhow::Result<Verdict> {
    let sources = sources(config)?;
    let trace = traced(store, &sources, one_id)?;
    audited::about(|entry| entry.persons(trace.one_ids.iter().map(String::as_str)));
    let document = store.read(|reader| rights::export(reader, &sources, &trace))?;
    output::json(&document)?;
    Ok(Verdict::Fine)
}

pub(super) fn erase(config: &Config, store: &Store, one_id: &str, why: Why) -> anyhow::Result<Verdict> {
    let Why { json, .. } = why;
    let request = request(why)?;
    let erased = carry_out(config, store, one_id, &request)?;
    let is_gone = store.forget(PATIENCE)?;
    if json {
        output::json(&json!({
            "one_id": erased.one_id, "one_ids": erased.one_ids, "records": erased.records, "visits": erased.visits,
            "lab_reports": erased.lab_reports, "messages": erased.messages, "resources": erased.resources, "events": erased.events, "complete": is_gone,
        }))?;
    } else {
        let Erased { one_id, records, visits, lab_reports, messages, resources, events, .. } = &erased;
        output::line(format!(
            "erased {one_id}: {records} records, {visits} visits, {lab_reports} reports, {messages} messages, {resources} resources, {events} events"
        ))?;
        output::line("every consumer is told; backups, exports and files of sources made before still hold it")?;
    }
    if !is_gone {
        output::complain(
            "something reads the store without pause: the write-ahead log holds the erased values until it is reset",
        );
        return Ok(Verdict::Wrong);
    }
    Ok(Verdict::Fine)
}

/// Erases a person: traced again when it changed meanwhile.
pub(in crate::commands) fn carry_out(
    config: &Config,
    store: &Store,
    one_id: &str,
    request: &Request,
) -> anyhow::Result<Erased> {
    let sources = sources(config)?;
    let (site, zone) = (pipeline_site(config), zone_of_decisions(config));
    for _ in 0..TRIES {
        let trace = traced(store, &sources, one_id)?;
        let (site, zone, sources, request) = (Arc::clone(&site), zone.clone(), sources.clone(), request.clone());
        let erased = audited::change_of(store, &[one_id], move |transaction| {
            rights::erase(transaction, &site, &zone, &sources, trace, &request, now())
        })?;
        match erased {
            Err(RightsRefusal::ChangedMeanwhile) => {}
            done => return Ok(done?),
        }
    }
    bail!(RightsRefusal::ChangedMeanwhile)
}

pub(super) fn restrict(config: &Config, store: &Store, one_id: &str, lift: bool, why: Why) -> anyhow::Result<Verdict> {
    let Why { json, .. } = why;
    let request = request(why)?;
    let (site, zone, asked) = (pipeline_site(config), zone_of_decisions(config), one_id.to_owned());
    let (one_id, changed) = audited::change_of(store, &[one_id], move |transaction| {
        rights::restrict(transaction, &site, &zone, &asked, lift, &request, now())
    })??;
    if json {
        output::json(&json!({"one_id": one_id, "restricted": !lift, "changed": changed}))?;
    } else if !changed {
        output::line(format!("{one_id}: it was so already, nothing is changed"))?;
    } else if lift {
        output::line(format!("{one_id} is sent again; every consumer is told all as it is now"))?;
    } else {
        output::line(format!("{one_id} is kept, and sent to nobody; every consumer is told"))?;
    }
    Ok(Verdict::Fine)
}

fn request(why: Why) -> anyhow::Result<Request> {
    if why.reason.trim().is_empty() {
        bail!("say why with --reason");
    }
    Ok(Request { by: why.by.unwrap_or_else(user), reason: why.reason })
}

fn sources(config: &Config) -> anyhow::Result<Vec<Arc<Source>>> {
    pipeline_sources(config).map_err(|problems| {
        output::diagnostics(&problems);
        Unusable.into()
    })
}

fn traced(store: &Store, sources: &[Arc<Source>], one_id: &str) -> anyhow::Result<Trace> {
    let mut reported = Instant::now();
    let trace = rights::trace(store, sources, one_id, |looked| {
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            output::complain(&format!("{looked} messages and events looked through"));
        }
    })?;
    Ok(trace.ok_or(RightsRefusal::UnknownOneId)?)
}
