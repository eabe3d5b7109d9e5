//! `heyi import`: backfill from files, with the guarantees of live traffic.
//!
//! Messages go to the writer in groups, each together with how far the file has been read: after a break the same command goes
//! on where the last commit ended, and a message that was taken before has no second effect.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;

mod resources;

use super::{Unusable, Verdict, audited, load_config, open_store, output, unknown_source};
use crate::app::{FILE_EXTENSIONS, RESOURCE_EXTENSIONS, now, pipeline_sources};
use crate::hl7v2::batch::Piece;
use crate::mapping::Format;
use crate::pipeline::{self, Cause, Done, Source, Unit};
use crate::source::files::{MessageReader, walk};
use crate::store::Store;
use crate::store::imports::{self, ImportProgress};
use crate::store::messages::{ContentDigest, MessageState};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The source that the files belong to.
    source: String,
    /// Files of messages (single, concatenated, FHS/BHS batches), or of FHIR resources (JSON, Bundles, NDJSON), or directories.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Messages in one commit: enough that its fsync does not count, few enough that live traffic between two is not held up.
const GROUP: usize = 64;
/// Groups that are read and mapped ahead of the writer.
const AHEAD: usize = 4;
/// Bytes of messages at which a group is full before it has [`GROUP`] of them.
const GROUP_BYTES: usize = 4 << 20;
/// Pause after a commit, so that a daemon beside the import gets its turn.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two lines of progress.
const REPORT: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Tally {
    processed: u64,
    ignored: u64,
    failed: u64,
    repeated: u64,
    /// FHIR resources of the files.
    read: u64,
    /// What there is to say of whole files.
    notes: u64,
}

pub(super) fn run(file: &Path, arguments: &Arguments) -> anyhow::Result<Verdict> {
    let config = load_config(file)?;
    let sources = pipeline_sources(&config).map_err(|problems| {
        output::diagnostics(&problems);
        Unusable
    })?;
    let source = sources.into_iter().find(|source| source.name == arguments.source);
    let source = source.ok_or_else(|| unknown_source(&config, &arguments.source))?;
    audited::about(|entry| entry.object("source", &source.name));
    let store = open_store(&config)?;
    let mut tally = Tally::default();
    let mut reported = Instant::now();
    let extensions = match source.mapping.format() {
        Format::Hl7v2 => FILE_EXTENSIONS.as_slice(),
        Format::Fhir => RESOURCE_EXTENSIONS.as_slice(),
    };
    let extensions: Vec<String> = extensions.iter().map(|&extension| extension.to_owned()).collect();
    for path in walk(&arguments.paths, &extensions) {
        match source.mapping.format() {
            Format::Hl7v2 => import_file(&store, &source, &path?, &mut tally, &mut reported)?,
            Format::Fhir => resources::import_file(&store, &config, &source, &path?, &mut tally, &mut reported)?,
        }
    }
    if source.mapping.format() == Format::Fhir {
        resources::tell(&store, &source, &mut tally, &mut reported)?;
    }
    output::line(tally.line())?;
    if tally.failed > 0 {
        let (failed, name) = (tally.failed, &source.name);
        output::complain(&format!(
            "{failed} failed: `heyi message list --source {name} --state failed` says which and why"
        ));
    }
    if tally.messages() == 0 {
        let endings: Vec<String> = extensions.iter().map(|extension| format!(".{extension}")).collect();
        let endings = endings.join(", ");
        let what = match source.mapping.format() {
            Format::Hl7v2 => "HL7 v2 messages",
            Format::Fhir => "FHIR resources",
        };
        output::complain(&format!(
            "nothing was found: give files of {what}, or directories with such files ({endings})"
        ));
    }
    let is_fine = tally.failed == 0 && tally.notes == 0 && tally.messages() > 0;
    Ok(if is_fine { Verdict::Fine } else { Verdict::Wrong })
}

impl Tally {
    fn line(&self) -> String {
        let Self { processed, ignored, failed, repeated, read, notes: _ } = self;
        match read {
            0 => format!("{processed} processed, {ignored} ignored, {failed} failed, {repeated} known before"),
            read => {
                format!("{read} resources read; records: {processed} processed, {ignored} ignored, {failed} failed")
            }
        }
    }

    fn messages(&self) -> u64 {
        self.processed + self.ignored + self.failed + self.repeated + self.read
    }

    fn count(&mut self, done: &Done) {
        match done.state {
            _ if done.repeat => self.repeated += 1,
            MessageState::Processed => self.processed += 1,
            MessageState::Ignored => self.ignored += 1,
            MessageState::Failed => self.failed += 1,
        }
    }
}

fn import_file(
    store: &Store,
    source: &Arc<Source>,
    path: &Path,
    tally: &mut Tally,
    reported: &mut Instant,
) -> anyhow::Result<()> {
    let mut progress = progress_of(store, source, path)?;
    tally.repeated += progress.messages;
    if progress.finished {
        return Ok(());
    }
    let (sender, groups) = sync_channel(AHEAD);
    let skip = progress.messages;
    let notes = std::thread::scope(|scope| {
        let reader = scope.spawn(move || read_groups(source, path, skip, &sender));
        let written = write_groups(store, &mut progress, &groups, tally, reported);
        // Without its receiver the reader ends at once, whatever is left of the file.
        drop(groups);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(read)
    })?;
    tally.notes += notes;
    // A file that something is wrong with is read again, so that it is told each time.
    progress.finished = notes == 0;
    store.submit_blocking(move |transaction| imports::record(transaction, &progress))?;
    Ok(())
}

/// How far an earlier run got with this very file.
fn progress_of(store: &Store, source: &Source, path: &Path) -> anyhow::Result<ImportProgress> {
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let size = file.metadata()?.len();
    let digest = ContentDigest::of_stream(file)?;
    let name = std::path::absolute(path)?.display().to_string();
    let known = store.read(|reader| imports::progress(reader, &source.name, &name))?;
    Ok(known.filter(|known| known.size == size && known.digest == digest).unwrap_or_else(|| ImportProgress {
        source: source.name.clone(),
        path: name,
        size,
        digest,
        messages: 0,
        finished: false,
        updated_at: now(),
    }))
}

/// Reads and maps on a thread of its own, ahead of the writer. Gives how much there was to say of the file as a whole.
fn read_groups(source: &Arc<Source>, path: &Path, skip: u64, groups: &SyncSender<Vec<Unit>>) -> anyhow::Result<u64> {
    let mut pieces = MessageReader::open(path, source.limits.message_bytes)?;
    let mut group = Vec::with_capacity(GROUP);
    let (mut number, mut bytes) = (0, 0);
    for piece in &mut pieces {
        let piece = piece?;
        number += 1;
        if number <= skip {
            continue;
        }
        group.push(match piece {
            Piece::Message(message) => {
                bytes += message.len();
                pipeline::prepare(source, &message, now())
            }
            Piece::TooLarge { head, length } => pipeline::too_large(source, &head, length, now()),
        });
        if group.len() == GROUP || bytes >= GROUP_BYTES {
            bytes = 0;
            if groups.send(std::mem::take(&mut group)).is_err() {
                // The writer failed and says so itself.
                return Ok(0);
            }
        }
    }
    for note in pieces.notes() {
        output::complain(&format!("{}: {note}", path.display()));
    }
    if !group.is_empty() {
        // As above.
        let _ = groups.send(group);
    }
    Ok(pieces.notes().len() as u64)
}

fn write_groups(
    store: &Store,
    progress: &mut ImportProgress,
    groups: &Receiver<Vec<Unit>>,
    tally: &mut Tally,
    reported: &mut Instant,
) -> anyhow::Result<()> {
    for group in groups {
        progress.messages += group.len() as u64;
        progress.updated_at = now();
        let row = progress.clone();
        let done = store.submit_blocking(move |transaction| {
            imports::record(transaction, &row)?;
            group
                .into_iter()
                .map(|unit| transaction.savepoint(|part| pipeline::commit(part, unit, Cause::Import)))
                .collect::<Result<Vec<_>, _>>()
        })?;
        done.iter().for_each(|done| tally.count(done));
        std::thread::sleep(PAUSE);
        if reported.elapsed() >= REPORT {
            *reported = Instant::now();
            output::complain(&format!("{}: {} messages; {}", progress.path, progress.messages, tally.line()));
        }
    }
    Ok(())
}
