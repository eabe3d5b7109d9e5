//! A directory that a sending system puts files into. Every message of a file goes to the handler; then the file moves to
//! `done/`, or to `failed/` if one of its messages could not be processed.
//!
//! Invariants
//! - A file is touched only when it has not changed for [`Limits::settled`], and moves only if it has not changed meanwhile.
//!   (Safest for the sender: write under another name, then rename.)
//! - A file moves only after each of its messages is kept. If the process ends before, the file is read again, and the handler
//!   knows its messages by their content: nothing is lost, nothing counts twice.
//! - Files go one after the other, oldest first; one whose messages cannot be kept for the moment is not overtaken.
//! - A file is never overwritten or removed. Empty files and other names stay where they are.
//!
//! It must never log a file's name: some systems name files after patients. The handler gets it, `failed/` shows it.

use std::collections::{BinaryHeap, HashMap};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::files::{MessageReader, has_extension};
use super::window::{Turn, Window, WindowLimits};
use crate::hl7v2::batch::Piece;

const DONE: &str = "done";
const FAILED: &str = "failed";

/// How one directory is read.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The source's name, for the log.
    pub source: String,
    /// The directory. It must exist: a missing one may be a share that is not mounted.
    pub directory: PathBuf,
    /// Which files are meant, by the end of their names, without the dot.
    pub extensions: Vec<String>,
    /// Bounds.
    pub limits: Limits,
}

/// The bounds of one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message.
    pub message: usize,
    /// Messages in work at once.
    pub window: WindowLimits,
    /// Time between two looks.
    pub interval: Duration,
    /// How long a file must be unchanged. Copies over a slow network pause for a second or two.
    pub settled: Duration,
    /// Time until a file that cannot be read or moved is tried again: somebody has to put it right first.
    pub retry: Duration,
    /// Files remembered at a look; more wait for the next one. A backlog of a year must not fill the memory.
    pub files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 16 * 1024 * 1024,
            window: WindowLimits::default(),
            interval: Duration::from_secs(1),
            settled: Duration::from_secs(5),
            retry: Duration::from_secs(60),
            files: 10_000,
        }
    }
}

/// Where a message was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: Arc<Path>,
    /// Which message of it, from 1.
    pub number: u64,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Kept, and processed or rightly ignored.
    Processed,
    /// Kept, but it could not be processed.
    Failed,
    /// Not kept (the store cannot write for the moment): the file is read again later.
    NotKept,
}

/// Why a directory cannot be a source.
#[derive(Debug, thiserror::Error)]
#[error(
    "source {source_name}: {}: cannot be used ({error}); it must exist, and the service's user must be able to create `done` and `failed` in it",
    .directory.display()
)]
pub struct DirectoryError {
    source_name: String,
    directory: PathBuf,
    error: io::Error,
}

/// A directory that is ready to be read.
#[derive(Debug)]
pub struct Directory {
    settings: Settings,
    known: HashMap<PathBuf, Known>,
}

/// A file as it looked the last time.
#[derive(Debug, Clone, Copy)]
struct Known {
    stamp: Stamp,
    /// When it may be read, if it does not change until then.
    ready: Instant,
}

/// Time of change and length.
type Stamp = (SystemTime, u64);

/// How a file went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All its messages are kept; how many there were, and how many of them failed.
    Read { messages: u64, failed: u64 },
    /// Again later.
    Later,
    /// It cannot be read.
    Unreadable,
}

impl Directory {
    /// Makes sure that files can be found and moved.
    pub fn open(settings: Settings) -> Result<Self, DirectoryError> {
        let usable = fs::read_dir(&settings.directory)
            .and_then(|_| fs::create_dir_all(settings.directory.join(DONE)))
            .and_then(|()| fs::create_dir_all(settings.directory.join(FAILED)));
        match usable {
            Ok(()) => Ok(Self { settings, known: HashMap::new() }),
            Err(error) => {
                let Settings { source, directory, .. } = settings;
                Err(DirectoryError { source_name: source, directory, error })
            }
        }
    }

    /// Looks for files until `stop` is cancelled, and gives each message to `handler`. A file that is under way when it stops
    /// is read again after the next start.
    pub async fn serve<H, F>(mut self, handler: H, stop: CancellationToken)
    where
        H: Fn(Piece, Origin, Turn) -> F,
        F: Future<Output = Outcome> + Send + 'static,
    {
        while !stop.is_cancelled() {
            for file in self.settled_files().await {
                let end = self.read(&file, &handler, &stop).await;
                if !self.settle(&file, end).await || stop.is_cancelled() {
                    break;
                }
            }
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(self.settings.limits.interval) => {} }
        }
    }

    /// The files that have not changed for long enough, oldest first.
    async fn settled_files(&mut self) -> Vec<PathBuf> {
        let Settings { source, directory, extensions, limits } = self.settings.clone();
        let listed = blocking(move || list(&directory, &extensions, limits.files)).await;
        let listed = listed.unwrap_or_else(|error| {
            tracing::warn!(source, %error, "the directory cannot be read for the moment");
            Vec::new()
        });
        let now = Instant::now();
        let before = std::mem::take(&mut self.known);
        let mut settled = Vec::new();
        for (stamp, path) in listed {
            let unchanged = before.get(&path).filter(|known| known.stamp == stamp);
            let known = unchanged.copied().unwrap_or(Known { stamp, ready: now + limits.settled });
            if unchanged.is_some() && now >= known.ready {
                settled.push(path.clone());
            }
            self.known.insert(path, known);
        }
        settled
    }

    /// Gives the messages of one file to the handler, and waits for all of them.
    async fn read<H, F>(&self, file: &Path, handler: &H, stop: &CancellationToken) -> End
    where
        H: Fn(Piece, Origin, Turn) -> F,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let limits = self.settings.limits;
        let file: Arc<Path> = Arc::from(file);
        // One piece waits here, the reader holds those of one chunk: that is all that is read ahead.
        let (sender, mut pieces) = mpsc::channel(1);
        let path = Arc::clone(&file);
        let reader = blocking(move || read_pieces(&path, limits.message, &sender));
        tokio::pin!(reader);
        let mut window = Window::new(limits.window);
        let (mut number, mut failed, mut later, mut reading) = (0, 0, false, true);
        let mut read = None;
        while reading || read.is_none() || !window.is_empty() {
            tokio::select! {
                biased;
                Some(result) = window.next() => match result {
                    Ok(Outcome::Processed) => {}
                    Ok(Outcome::Failed) => failed += 1,
                    Ok(Outcome::NotKept) => later = true,
                    Err(_) => {
                        tracing::error!(source = self.settings.source, number, "a message was not taken in: its handler panicked");
                        failed += 1;
                    }
                },
                () = stop.cancelled(), if !later => later = true,
                result = &mut reader, if read.is_none() => read = Some(result),
                piece = pieces.recv(), if reading && !later && window.has_room() => match piece {
                    None => reading = false,
                    Some(piece) => {
                        number += 1;
                        let size = match &piece {
                            Piece::Message(bytes) => bytes.len(),
                            Piece::TooLarge { head, .. } => head.len(),
                        };
                        let origin = Origin { file: Arc::clone(&file), number };
                        window.start(size, |turn| handler(piece, origin, turn));
                    }
                },
            }
            if later {
                // The reader fails to send and ends.
                pieces.close();
                reading = false;
            }
        }
        match read {
            _ if later => End::Later,
            Some(Ok(())) => End::Read { messages: number, failed },
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => End::Later,
            _ => End::Unreadable,
        }
    }

    /// Moves the file where it belongs. `false`: the files behind it have to wait.
    async fn settle(&mut self, file: &Path, end: End) -> bool {
        let source = &self.settings.source;
        let folder = match end {
            End::Read { messages: 0, .. } => {
                tracing::warn!(source, "a file holds no message; moved to `failed`");
                FAILED
            }
            End::Read { messages, failed: 0 } => {
                tracing::info!(source, messages, "file done");
                DONE
            }
            End::Read { messages, failed } => {
                tracing::warn!(
                    source,
                    messages,
                    failed,
                    "messages of a file could not be processed; moved to `failed`"
                );
                FAILED
            }
            End::Later => {
                tracing::info!(source, "a file was not kept to its end; it will be read again");
                return false;
            }
            End::Unreadable => {
                tracing::warn!(source, directory = %self.settings.directory.display(), "a file cannot be read; the next try is in a while");
                self.put_off(file);
                return true;
            }
        };
        let Some(known) = self.known.get(file).copied() else { return true };
        let (from, to) = (file.to_owned(), self.settings.directory.join(folder));
        if let Err(error) = blocking(move || move_into(&from, &to, known.stamp)).await {
            tracing::warn!(source, directory = %self.settings.directory.display(), %error, "a file that is done cannot be moved; the next try is in a while");
            self.put_off(file);
        }
        true
    }

    fn put_off(&mut self, file: &Path) {
        if let Some(known) = self.known.get_mut(file) {
            known.ready = Instant::now() + self.settings.limits.retry;
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// The `most` oldest files of the given extensions that hold something.
fn list(directory: &Path, extensions: &[String], most: usize) -> io::Result<Vec<(Stamp, PathBuf)>> {
    // Orders by time of change, then name; the stamp's length only matters between two states of one file.
    let mut oldest = BinaryHeap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if !has_extension(&path, extensions) {
            continue;
        }
        // Gone again, or not ours to see: nothing to pick up. A pipe or device would block, so only plain files count.
        let Some(stamp) = stamp(&path) else { continue };
        oldest.push((stamp.0, path, stamp.1));
        if oldest.len() > most {
            oldest.pop();
        }
    }
    let sorted = oldest.into_sorted_vec().into_iter();
    Ok(sorted.map(|(changed, path, length)| ((changed, length), path)).collect())
}

/// What a plain file that holds something looks like now.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::symlink_metadata(path).ok().filter(|metadata| metadata.is_file() && metadata.len() > 0)?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Sends the messages of a file, until it ends or nobody takes them any more.
fn read_pieces(path: &Path, limit: usize, sender: &mpsc::Sender<Piece>) -> io::Result<()> {
    for piece in MessageReader::new(fs::File::open(path)?, limit) {
        if sender.blocking_send(piece?).is_err() {
            break;
        }
    }
    Ok(())
}

/// Moves a file that still looks as it did, under a name that is free. One that has changed is left to be read again.
fn move_into(file: &Path, folder: &Path, expected: Stamp) -> io::Result<()> {
    if stamp(file) != Some(expected) {
        return Ok(());
    }
    let name = file.file_name().unwrap_or_default();
    let mut target = folder.join(name);
    let mut copy = 1;
    while target.symlink_metadata().is_ok() {
        copy += 1;
        let mut numbered = name.to_owned();
        numbered.push(format!(".{copy}"));
        target = folder.join(numbered);
    }
    fs::rename(file, target)
}
