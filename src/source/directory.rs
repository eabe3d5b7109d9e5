//! A directory that a sending system puts files into. Every message of a file goes to the handler; then the file moves to
//! `done/`, or to `failed/` if one of its messages could not be processed.
//!
//! Invariants
//! - A file is touched only when it has not changed for [`Limits::settled`], and moves only if it has not changed meanwhile.
//!   (Safest for the sender: write under another name, then rename.)
//! - A file moves only after each of its messages is kept. If the process ends before, or a message could not be taken in by a defect,
//!   the file is read again, and the handler knows its messages by their content: nothing is lost, nothing counts twice.
//! - Files go one after the other, oldest first; one whose messages cannot be kept for the moment is not overtaken.
//! - A file is never overwritten, and never removed where it was put before it is where it belongs. Empty files and other names stay
//!   where they are.
//! - [`Directory::prune`] removes only what was moved to `done`, and looks like it: see there. What is in `failed` may be nowhere else
//!   (too large a message, text that is none), so it stays until somebody has looked at it.
//! - A directory that cannot be read for the moment (a share that is not mounted) is told to whoever asked to be told, looked for
//!   at every interval, and read again once it is back.
//!
//! A file's name is logged at the levels that ask for somebody's attention, and only there: who is to look for a file has to know which,
//! but some systems name files after patients.

use std::collections::{BinaryHeap, HashMap};
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::files::{MessageReader, has_extension};
use super::window::{Turn, Window, WindowLimits};
use crate::hl7v2::batch::{BatchNote, Piece};

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
    /// What it shares with the other sources.
    pub budget: Budget,
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
    /// Lines in the log about one file's framing.
    pub notes: usize,
    /// Files remembered at a look; more wait for the next one. A backlog of a year must not fill the memory.
    pub files: usize,
    /// How long a look may take before the directory counts as gone: a share whose server is down answers nothing for minutes.
    pub look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 16 * 1024 * 1024,
            window: WindowLimits::default(),
            interval: Duration::from_secs(1),
            settled: Duration::from_secs(5),
            retry: Duration::from_secs(60),
            notes: 5,
            files: 10_000,
            look: Duration::from_secs(30),
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

/// A directory that was ready to be read when it was opened.
#[derive(Debug)]
pub struct Directory {
    settings: Settings,
}

/// A directory while it is read.
struct Watch<'a> {
    settings: &'a Settings,
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
    /// It cannot be read for now, or not all of its messages could be taken in.
    Unreadable,
}

impl Directory {
    /// Makes sure that files can be found and moved.
    pub fn open(settings: Settings) -> Result<Self, DirectoryError> {
        match fs::read_dir(&settings.directory).and_then(|_| make_folders(&settings.directory)) {
            Ok(()) => Ok(Self { settings }),
            Err(error) => {
                let Settings { source, directory, .. } = settings;
                Err(DirectoryError { source_name: source, directory, error })
            }
        }
    }

    /// Removes the files that were moved to `done` before `before`; gives how many. Anything else stays: other names, directories, links,
    /// and all of it where the folder itself is a link. Blocking.
    ///
    /// # Errors
    /// What the system says of the folder; a file that cannot be removed is passed over.
    pub fn prune(&self, before: SystemTime) -> io::Result<u64> {
        let mut removed = 0;
        let folder = self.settings.directory.join(DONE);
        if !fs::symlink_metadata(&folder)?.is_dir() {
            return Ok(removed);
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let ours = has_extension(&first_name(&path), &self.settings.extensions);
            if ours && moved_at(&path).is_some_and(|moved| moved < before) && fs::remove_file(&path).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Looks for files until `stop` is cancelled, and gives each message to `handler`. A file that is under way when it stops
    /// is read again after the next start. `report` learns after each look whether the directory could be used, and if not, why.
    pub async fn serve<H, F>(&self, handler: H, report: impl Fn(Result<(), String>), stop: CancellationToken)
    where
        H: Fn(Piece, Origin, Turn) -> F,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut watch = Watch { settings: &self.settings, known: HashMap::new() };
        while !stop.is_cancelled() {
            let settled = tokio::select! {
                settled = watch.settled_files(&report) => settled,
                () = stop.cancelled() => return,
            };
            for file in settled {
                let end = watch.read(&file, &handler, &stop).await;
                if !watch.settle(&file, end).await || stop.is_cancelled() {
                    break;
                }
            }
            tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(self.settings.limits.interval) => {} }
        }
    }
}

impl Watch<'_> {
    /// The files that have not changed for long enough, oldest first.
    async fn settled_files(&mut self, report: &impl Fn(Result<(), String>)) -> Vec<PathBuf> {
        let Settings { directory, extensions, limits, .. } = self.settings.clone();
        let place = directory.clone();
        // Whoever empties `done` may well remove it, and what is mounted again may be another disk: the folders are made anew.
        let look = blocking(move || {
            let listed = list(&directory, &extensions, limits.files)?;
            make_folders(&directory).map(|()| listed)
        });
        tokio::pin!(look);
        let listed = match tokio::time::timeout(limits.look, &mut look).await {
            Ok(listed) => listed,
            Err(_) => {
                report(Err(format!("{} does not answer", place.display())));
                look.await
            }
        };
        report(listed.as_ref().map(drop).map_err(|error| trouble(&place, error)));
        let listed = listed.unwrap_or_default();
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
        let mut defect = false;
        let mut read = None;
        while reading || read.is_none() || !window.is_empty() {
            tokio::select! {
                biased;
                Some(result) = window.next() => match result {
                    Ok(Outcome::Processed) => {}
                    Ok(Outcome::Failed) => failed += 1,
                    Ok(Outcome::NotKept) => later = true,
                    Err(_) => {
                        tracing::error!(source = self.settings.source, file = ?name(&file), "a message was not taken in: its handler panicked");
                        defect = true;
                    }
                },
                () = stop.cancelled(), if reading => later = true,
                result = &mut reader, if read.is_none() => read = Some(result),
                piece = pieces.recv(), if reading && window.has_room() => match piece {
                    None => reading = false,
                    Some(piece) => {
                        number += 1;
                        let size = match &piece {
                            Piece::Message(bytes) => bytes.len(),
                            Piece::TooLarge { head, .. } => head.len(),
                        };
                        let origin = Origin { file: Arc::clone(&file), number };
                        // Who holds shares gets on by itself, messages of this file too; so this wait is short.
                        let share = match self.settings.budget.work(size) {
                            Ok(share) => Some(share),
                            Err(claim) => claim.await,
                        };
                        window.start(size, |turn| {
                            let work = handler(piece, origin, turn);
                            async move {
                                let outcome = work.await;
                                drop(share);
                                outcome
                            }
                        });
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
            _ if defect => End::Unreadable,
            Some(Ok(notes)) => {
                for note in notes.iter().take(limits.notes) {
                    tracing::warn!(
                        source = self.settings.source,
                        file = ?name(&file),
                        notes = notes.len(),
                        "a file is not what it should be: {note}"
                    );
                }
                End::Read { messages: number, failed }
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => End::Later,
            _ => End::Unreadable,
        }
    }

    /// Moves the file where it belongs. `false`: the files behind it have to wait.
    async fn settle(&mut self, file: &Path, end: End) -> bool {
        let source = &self.settings.source;
        let name = name(file);
        let folder = match end {
            End::Read { messages: 0, .. } => {
                tracing::warn!(source, file = ?name, "a file holds no message; moved to `failed`");
                FAILED
            }
            End::Read { messages, failed: 0 } => {
                tracing::info!(source, messages, "file done");
                DONE
            }
            End::Read { messages, failed } => {
                tracing::warn!(
                    source,
                    file = ?name,
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
                tracing::warn!(source, directory = %self.settings.directory.display(), file = ?name, "a file cannot be read to its end; the next try is in a while");
                self.put_off(file);
                return true;
            }
        };
        let Some(known) = self.known.get(file).copied() else { return true };
        let (from, to) = (file.to_owned(), self.settings.directory.join(folder));
        if let Err(error) = blocking(move || move_into(&from, &to, known.stamp)).await {
            tracing::warn!(source, directory = %self.settings.directory.display(), file = ?name, %error, "a file that is done cannot be moved; the next try is in a while");
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

/// Whether files could be found in `directory` now; if not, why.
///
/// # Errors
/// The reason, for people.
pub fn usable(directory: &Path) -> Result<(), String> {
    fs::read_dir(directory).map(drop).map_err(|error| trouble(directory, &error))
}

fn trouble(directory: &Path, error: &io::Error) -> String {
    format!("{} cannot be used ({error})", directory.display())
}

/// Makes the folders that files are moved into, where they are missing.
fn make_folders(directory: &Path) -> io::Result<()> {
    [DONE, FAILED].map(|folder| directory.join(folder)).into_iter().try_for_each(|folder| {
        match fs::create_dir(&folder) {
            Err(error) if !folder.is_dir() => Err(error),
            _ => Ok(()),
        }
    })
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

/// The name under which a file was put, before [`move_into`] gave it a number.
fn first_name(path: &Path) -> PathBuf {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => path.with_extension(""),
        _ => path.to_owned(),
    }
}

/// A file's name, for the log: quoted there, so that it cannot look like another line.
fn name(file: &Path) -> &OsStr {
    file.file_name().unwrap_or_default()
}

/// When a plain file was last changed or moved, whichever is later: its content may have been old when it came.
fn moved_at(path: &Path) -> Option<SystemTime> {
    let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    let moved = SystemTime::UNIX_EPOCH + Duration::from_secs(metadata.ctime().try_into().ok()?);
    Some(metadata.modified().ok()?.max(moved))
}

/// Sends the messages of a file, until it ends or nobody takes them any more.
fn read_pieces(path: &Path, limit: usize, sender: &mpsc::Sender<Piece>) -> io::Result<Vec<BatchNote>> {
    let mut reader = MessageReader::new(fs::File::open(path)?, limit);
    for piece in reader.by_ref() {
        if sender.blocking_send(piece?).is_err() {
            break;
        }
    }
    Ok(reader.notes().to_vec())
}

/// Moves a file that still looks as it did, under a name that is free. One that has changed is left to be read again.
fn move_into(file: &Path, folder: &Path, expected: Stamp) -> io::Result<()> {
    if stamp(file) != Some(expected) {
        return Ok(());
    }
    let name = name(file);
    let mut target = folder.join(name);
    let mut copy = 1;
    while target.symlink_metadata().is_ok() {
        copy += 1;
        let mut numbered = name.to_owned();
        numbered.push(format!(".{copy}"));
        target = folder.join(numbered);
    }
    match fs::rename(file, &target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_over(file, &target, expected),
        moved => moved,
    }
}

/// Moves a file to another file system. Under its name there is nothing or all of it, and it is gone here only once it is safe there; one
/// that changes meanwhile is left to be read again.
fn copy_over(file: &Path, target: &Path, expected: Stamp) -> io::Result<()> {
    let mut hidden = OsString::from(".");
    hidden.push(name(target));
    hidden.push(".part");
    let part = target.with_file_name(hidden);
    // Left by a move that broke off, perhaps without the right to write in it.
    let _ = fs::remove_file(&part);
    let copied = fs::copy(file, &part).and_then(|_| {
        let copy = fs::File::open(&part)?;
        copy.set_modified(expected.0)?;
        copy.sync_all()
    });
    if let Err(error) = copied {
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    if stamp(file) != Some(expected) {
        return fs::remove_file(&part);
    }
    fs::rename(&part, target)?;
    let moved = target.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all());
    moved.and_then(|()| fs::remove_file(file)).inspect_err(|_| {
        // Else every try would leave one more copy.
        let _ = fs::remove_file(target);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const LIMITS: Limits = Limits {
        message: 1000,
        window: WindowLimits { messages: 4, bytes: 1000 },
        interval: Duration::from_millis(5),
        settled: Duration::from_millis(30),
        retry: Duration::from_secs(60),
        notes: 5,
        files: 100,
        look: Duration::from_secs(60),
    };

    /// A directory under watch; its handler notes each message as `file#number` and does what the message's MSH-3 says.
    struct Watched {
        directory: tempfile::TempDir,
        seen: Arc<Mutex<Vec<String>>>,
        stop: CancellationToken,
        /// Whether the store cannot write for the moment.
        closed: Arc<Mutex<bool>>,
        /// What the last look found of the directory itself.
        report: Arc<Mutex<Option<Result<(), String>>>>,
    }

    impl Watched {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let (seen, closed, report) = Default::default();
            Self { directory, seen, stop: CancellationToken::new(), closed, report }
        }

        fn start(&self, limits: Limits) -> tokio::task::JoinHandle<()> {
            let settings = Settings {
                source: "test".to_owned(),
                directory: self.directory.path().to_owned(),
                extensions: vec!["hl7".to_owned()],
                limits,
                budget: Budget::of(10, 10),
            };
            let (seen, closed) = (Arc::clone(&self.seen), Arc::clone(&self.closed));
            let handler = move |piece: Piece, origin: Origin, mut turn: Turn| {
                let (seen, closed) = (Arc::clone(&seen), Arc::clone(&closed));
                async move {
                    let text = match piece {
                        Piece::Message(bytes) => String::from_utf8(bytes).unwrap(),
                        Piece::TooLarge { .. } => "too large".to_owned(),
                    };
                    turn.come().await;
                    if *closed.lock().unwrap() {
                        return Outcome::NotKept;
                    }
                    let name = origin.file.file_name().unwrap().to_str().unwrap().to_owned();
                    seen.lock().unwrap().push(format!("{name}#{}", origin.number));
                    match text.split('|').nth(2) {
                        Some("bad") => Outcome::Failed,
                        Some("defect") if seen.lock().unwrap().len() < 4 => panic!("as asked"),
                        Some("slow") => {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            Outcome::Processed
                        }
                        Some(_) => Outcome::Processed,
                        None => Outcome::Failed,
                    }
                }
            };
            let (directory, stop) = (Directory::open(settings).unwrap(), self.stop.clone());
            let told = Arc::clone(&self.report);
            let report = move |found| *told.lock().unwrap() = Some(found);
            tokio::spawn(async move { directory.serve(handler, report, stop).await })
        }

        fn at(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// Writes a file of messages, of the given age in seconds.
        fn put(&self, name: &str, kinds: &[&str], age: u64) {
            let text: String = kinds.iter().map(|kind| format!("MSH|^~\\&|{kind}|\rPID|1\r")).collect();
            fs::write(self.at(name), text).unwrap();
            let file = fs::File::options().append(true).open(self.at(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }

        async fn until(&self, name: &str) {
            let there = async {
                while !self.at(name).exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            assert!(tokio::time::timeout(Duration::from_secs(10), there).await.is_ok(), "{name} does not appear");
        }

        fn seen(&self) -> Vec<String> {
            self.seen.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn files_are_read_oldest_first_and_moved_by_what_became_of_them() {
        let watched = Watched::new();
        watched.put("young.hl7", &["good"], 10);
        watched.put("old.HL7", &["good", "bad", "good"], 30);
        watched.put("middle.hl7", &["good", "good"], 20);
        fs::write(watched.at("empty.hl7"), "").unwrap();
        fs::write(watched.at("other.txt"), "MSH|^~\\&|").unwrap();
        watched.start(LIMITS);
        watched.until("done/young.hl7").await;
        assert_eq!(
            watched.seen(),
            ["old.HL7#1", "old.HL7#2", "old.HL7#3", "middle.hl7#1", "middle.hl7#2", "young.hl7#1"]
        );
        assert!(watched.at("failed/old.HL7").exists() && watched.at("done/middle.hl7").exists());
        assert!(watched.at("empty.hl7").exists() && watched.at("other.txt").exists());

        watched.put("young.hl7", &["good"], 0);
        watched.until("done/young.hl7.2").await;
        assert!(watched.at("done/young.hl7").exists(), "the first one is not overwritten");
        fs::write(watched.at("nothing.hl7"), "no message").unwrap();
        watched.until("failed/nothing.hl7").await;
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_kept_stays_and_is_not_overtaken() {
        let watched = Watched::new();
        *watched.closed.lock().unwrap() = true;
        watched.put("first.hl7", &["good", "good"], 20);
        watched.put("second.hl7", &["good"], 10);
        watched.start(LIMITS);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(watched.seen().is_empty() && watched.at("first.hl7").exists());
        *watched.closed.lock().unwrap() = false;
        watched.until("done/second.hl7").await;
        assert_eq!(watched.seen(), ["first.hl7#1", "first.hl7#2", "second.hl7#1"]);
    }

    #[tokio::test]
    async fn a_file_with_a_message_that_was_never_kept_is_tried_again_and_not_moved() {
        let watched = Watched::new();
        watched.put("defect.hl7", &["good", "defect"], 20);
        watched.put("next.hl7", &["good"], 10);
        watched.start(Limits { retry: Duration::from_millis(50), ..LIMITS });
        watched.until("done/defect.hl7").await;
        assert!(!watched.at("failed/defect.hl7").exists() && watched.at("done/next.hl7").exists());
        assert_eq!(watched.seen(), ["defect.hl7#1", "defect.hl7#2", "next.hl7#1", "defect.hl7#1", "defect.hl7#2"]);
    }

    #[tokio::test]
    async fn a_folder_may_be_a_link_to_another_file_system() {
        let watched = Watched::new();
        let elsewhere = tempfile::tempdir_in("/dev/shm");
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
        let Some(elsewhere) = elsewhere.ok().filter(|other| device(other.path()) != device(watched.directory.path()))
        else {
            eprintln!("SKIPPED: /dev/shm is no other file system here, so moving to one is not tested");
            return;
        };
        std::os::unix::fs::symlink(elsewhere.path(), watched.at("done")).unwrap();
        watched.put("a.hl7", &["good"], 20);
        let (text, changed) = (fs::read(watched.at("a.hl7")).unwrap(), stamp(&watched.at("a.hl7")));
        watched.start(LIMITS);
        watched.until("done/a.hl7").await;
        assert_eq!(fs::read(watched.at("done/a.hl7")).unwrap(), text);
        assert_eq!(stamp(&watched.at("done/a.hl7")), changed, "as old as it was");
        watched.put("a.hl7", &["good", "good"], 10);
        watched.until("done/a.hl7.2").await;
        let gone = async {
            while watched.at("a.hl7").exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), gone).await.is_ok(), "it would be read again");
        assert_eq!(watched.seen().len(), 3);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 2, "nothing half is left");
    }

    #[tokio::test]
    async fn a_file_that_still_grows_is_left_alone() {
        let watched = Watched::new();
        watched.start(Limits { settled: Duration::from_millis(500), ..LIMITS });
        for length in 1..=4 {
            watched.put("growing.hl7", &["good"; 4][..length], 0);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(watched.seen().is_empty());
        }
        watched.until("done/growing.hl7").await;
        assert_eq!(watched.seen().len(), 4);
    }

    #[tokio::test]
    async fn a_file_that_grows_while_it_is_read_is_read_again() {
        let watched = Watched::new();
        watched.put("late.hl7", &["slow"], 10);
        watched.start(LIMITS);
        while watched.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        watched.put("late.hl7", &["slow", "good"], 0);
        watched.until("done/late.hl7").await;
        assert_eq!(watched.seen(), ["late.hl7#1", "late.hl7#1", "late.hl7#2"]);
    }

    #[tokio::test]
    async fn a_stop_in_the_middle_of_a_file_leaves_it_in_place() {
        let watched = Watched::new();
        watched.put("long.hl7", &["slow"; 20], 10);
        let served = watched.start(LIMITS);
        while watched.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        watched.stop.cancel();
        served.await.unwrap();
        assert!(watched.seen().len() < 20);
        assert!(watched.at("long.hl7").exists());
    }

    #[tokio::test]
    async fn a_directory_that_vanishes_is_told_and_read_again_once_it_is_back() {
        let watched = Watched::new();
        let aside = watched.directory.path().with_extension("aside");
        watched.start(LIMITS);
        let until = async |wanted: fn(&Result<(), String>) -> bool| {
            let told = async {
                while !watched.report.lock().unwrap().as_ref().is_some_and(wanted) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            assert!(tokio::time::timeout(Duration::from_secs(10), told).await.is_ok(), "{:?}", watched.report);
        };
        until(Result::is_ok).await;
        fs::rename(watched.directory.path(), &aside).unwrap();
        until(Result::is_err).await;
        // What comes back is another disk, without the folders.
        fs::create_dir(watched.directory.path()).unwrap();
        fs::remove_dir_all(&aside).unwrap();
        until(Result::is_ok).await;
        watched.put("back.hl7", &["good"], 10);
        watched.until("done/back.hl7").await;
    }

    #[test]
    fn only_what_was_moved_and_is_old_is_pruned() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let settings = Settings {
            source: "test".to_owned(),
            directory: directory.path().to_owned(),
            extensions: vec!["hl7".to_owned()],
            limits: LIMITS,
            budget: Budget::of(10, 10),
        };
        let watched = Directory::open(settings).unwrap();
        let ours = ["done/a.hl7", "done/a.hl7.2", "done/b.HL7"];
        let others =
            ["new.hl7", "done/notes.txt", "done/a.tar.2", "done/.hidden.hl7", "done/2026/c.hl7", "failed/d.hl7"];
        fs::create_dir(at("done/2026")).unwrap();
        for name in ours.iter().chain(&others) {
            fs::write(at(name), "MSH|").unwrap();
            let file = fs::File::options().append(true).open(at(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        std::os::unix::fs::symlink(at("new.hl7"), at("done/link.hl7")).unwrap();
        let hour = Duration::from_secs(3600);
        assert_eq!(watched.prune(SystemTime::now() - hour).unwrap(), 0, "moved just now, however old its content");
        assert_eq!(watched.prune(SystemTime::now() + hour).unwrap(), 3);
        assert!(ours.iter().all(|name| !at(name).exists()));
        assert!(others.iter().chain(&["done/link.hl7"]).all(|name| at(name).exists()));
        // An archive elsewhere is not ours.
        fs::rename(at("done"), at("elsewhere")).unwrap();
        fs::write(at("elsewhere/d.hl7"), "MSH|").unwrap();
        std::os::unix::fs::symlink(at("elsewhere"), at("done")).unwrap();
        assert_eq!(watched.prune(SystemTime::now() + hour).unwrap(), 0);
        assert!(at("elsewhere/d.hl7").exists());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let settings = Settings {
            source: "his".to_owned(),
            directory: PathBuf::from("/nowhere/in"),
            extensions: Vec::new(),
            limits: Limits::default(),
            budget: Budget::of(10, 10),
        };
        let text = Directory::open(settings).unwrap_err().to_string();
        assert!(text.contains("source his") && text.contains("/nowhere/in"), "{text}");
    }
}
