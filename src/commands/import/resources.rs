//! FHIR resources from files: into the mirror as if their server had given them, then told, all of them together.
//!
//! A record is made of several resources, which need not come in one file nor in a sensible order. So telling begins when all files are
//! read; a file that is broken off goes on where it was, and so does telling, also by the daemon.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::{GROUP, GROUP_BYTES, PAUSE, REPORT, Tally, progress_of};
use crate::app::{now, read_resource};
use crate::commands::{output, resource_files};
use crate::config::{Arrival, Config};
use crate::fhir::documents::Unreadable;
use crate::pipeline::{self, Cause, Order, Source};
use crate::source::fhir;
use crate::source::fhir::sink::Origin;
use crate::source::fhir::sink::Resource;
use crate::store::resources::{ReadResource, Ready};
use crate::store::{Store, imports};

/// Puts the resources of a file into the mirror.
pub(super) fn import_file(
    store: &Store,
    config: &Config,
    source: &Source,
    path: &Path,
    tally: &mut Tally,
    reported: &mut Instant,
) -> anyhow::Result<()> {
    let mut progress = progress_of(store, source, path)?;
    tally.read += progress.messages;
    if progress.finished {
        return Ok(());
    }
    let (base, polled) = server(config, &source.name);
    // The server itself is asked as soon as it is polled: a file tells of the past.
    let read =
        |resource: &Resource| read_resource(resource, &base, |kind| polled.iter().any(|polled| polled == kind), now());
    let (mut number, skip) = (0, progress.messages);
    let (mut group, mut bytes) = (Vec::with_capacity(GROUP), 0);
    let mut written = Ok(());
    let mut enter = |group: Vec<ReadResource>, finished: bool| -> anyhow::Result<()> {
        progress.messages += group.len() as u64;
        progress.updated_at = now();
        progress.finished = finished;
        tally.read += group.len() as u64;
        let (row, name, at) = (progress.clone(), source.name.clone(), now());
        store.submit_blocking(move |transaction| {
            imports::record(transaction, &row)?;
            pipeline::enter(transaction, &name, &group, &[], Order::SourceTime, at)
        })?;
        std::thread::sleep(PAUSE);
        if reported.elapsed() >= REPORT {
            *reported = Instant::now();
            output::complain(&format!("{}: {} resources read", progress.path, progress.messages));
        }
        Ok(())
    };
    let mut problems = 0;
    resource_files::each(path, source.limits.message_bytes, &mut |found| {
        // What is kept is found again by its type and id.
        let named = found.and_then(|stated| {
            let problem = || Unreadable::new(stated.place.clone(), "no FHIR resource with a type and an id");
            fhir::resource(&stated.text, Origin::Export).ok_or_else(problem)
        });
        match named {
            Ok(resource) => {
                number += 1;
                if number > skip {
                    bytes += resource.body.len();
                    group.push(read(&resource));
                }
            }
            Err(problem) => {
                problems += 1;
                output::complain(&format!("{}: {problem}", path.display()));
            }
        }
        if group.len() >= GROUP || bytes >= GROUP_BYTES {
            bytes = 0;
            written = enter(std::mem::take(&mut group), false);
        }
        written.is_ok()
    })?;
    written?;
    // A file that something is wrong with is read again, so that it is told each time.
    enter(group, problems == 0)?;
    tally.notes += problems;
    Ok(())
}

/// The server's base URL, by which resources may name each other, and the types that are polled there.
fn server<'c>(config: &'c Config, name: &str) -> (String, &'c [String]) {
    let source = config.sources.iter().find(|source| source.name == name);
    match source.map(|source| &source.arrival) {
        Some(Arrival::Fhir(settings)) => (settings.base_url.to_string(), &settings.resources),
        _ => (String::new(), &[]),
    }
}

/// Makes records of all that is due.
pub(super) fn tell(
    store: &Store,
    source: &Arc<Source>,
    tally: &mut Tally,
    reported: &mut Instant,
) -> anyhow::Result<()> {
    let name = &source.name;
    let more = |name: String| store.submit_blocking(move |transaction| pipeline::spread(transaction, &name, now()));
    while more(name.clone())? {
        std::thread::sleep(PAUSE);
    }
    let mut after = pipeline::FIRST_DUE;
    loop {
        // What nobody has read is in none of the files: nothing is waited for.
        let group = store.read(|reader| pipeline::due(reader, &source.name, after, Ready::ALL, GROUP))?;
        let Some(last) = group.last() else { return Ok(()) };
        after = last.place();
        let units: Vec<_> = group.into_iter().map(|due| pipeline::prepare_due(source, due, now())).collect();
        let done = store.submit_blocking(move |transaction| {
            let commit = |unit| transaction.savepoint(|part| pipeline::commit_due(part, unit, Cause::Import));
            units.into_iter().map(commit).collect::<Result<Vec<_>, _>>()
        })?;
        done.into_iter().flatten().for_each(|done| tally.count(&done));
        std::thread::sleep(PAUSE);
        if reported.elapsed() >= REPORT {
            *reported = Instant::now();
            output::complain(&tally.line());
        }
    }
}
