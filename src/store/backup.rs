//! Backups: a copy of the store as it is at one moment, made beside the running daemon, and the way back.
//!
//! Invariants
//! - A backup is whole or is not there: it is written under another name, looked at, made durable, and renamed.
//! - A backup is no store: it says so itself and is refused by [`super::Store::open`]. Only [`put_back`] makes a store of it, and
//!   that is another log (`feed::cursor`): whoever has read further than the backup must learn of it.
//! - Nothing is thrown away: the store that a restore replaces stays beside it under another name.
//!
//! `VACUUM INTO` reads one snapshot and never waits for the writer. It copies rows, not pages, so that what was deleted is not in
//! the copy, and every row of every table is read once on the way. As long as it runs, the write-ahead log cannot be reset.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};

use super::{DaemonLock, Reader, StoreError, events, make_directory, schema};
use crate::feed::Cursor;

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The feed's head in the copy.
    pub head: Cursor,
    /// Size of the copy.
    pub bytes: u64,
}

/// What a restore came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// When the backup was made; `None` for a copy that was no backup of [`write()`].
    pub backup_at: Option<i64>,
    /// The feed's head, in the new epoch.
    pub head: Cursor,
    /// Where the store is that was replaced; `None` where there was none.
    pub replaced: Option<PathBuf>,
    /// Whether the tokens are those of the replaced store: a token that was revoked since the backup stays so. `false`: it could not be
    /// read, and the tokens are those of the backup.
    pub tokens_kept: bool,
    /// One IDs that the replaced store had erased, some of which the backup may hold; `None`: it could not be read.
    pub erased: Option<Vec<String>>,
}

/// How long a restore waits for a command to let go of the store that it replaces.
const RELEASE_WAIT: Duration = Duration::from_secs(2);

/// Copies the store at `store` into the new file `target`, readable by its owner only. `at` is now, in microseconds.
///
/// # Errors
/// [`StoreError::BackupExists`], [`StoreError::File`] when the target cannot be written, [`StoreError::DiskFull`], and those of a store that cannot be read.
/// Whatever it is, no target is left behind.
pub fn write(store: &Path, target: &Path, at: i64) -> Result<Backup, StoreError> {
    if target.try_exists().map_err(|error| failed(target, &error))? {
        return Err(StoreError::BackupExists { path: target.to_owned() });
    }
    make_directory(target)?;
    let source = open_to_read(store)?;
    let unfinished = Unfinished::new(partial(target))?;
    copy(&source, &unfinished.0)?;
    let copy = schema::open_copy(&unfinished.0)?;
    copy.execute("UPDATE meta SET backup_at = ?1", [at])?;
    let head = events::head(&Reader::new(&copy))?;
    close(copy, "DELETE")?;
    let bytes = unfinished.0.metadata().map_err(|error| failed(target, &error))?.len();
    unfinished.rename(target)?;
    Ok(Backup { head, bytes })
}

/// The file that [`write()`] fills until it is whole, for whoever shows progress.
pub fn partial(target: &Path) -> PathBuf {
    with_ending(target, ".partial")
}

/// Makes the store at `store` of a backup. The backup stays as it is; the store that was there is set aside, and with it the `checkpoints` of
/// its audit trail, which tell of more than the backup holds. `at` is now, in microseconds.
///
/// # Errors
/// [`StoreError::DaemonRunning`], [`StoreError::Busy`] when a command has the store open, [`StoreError::NotAStore`],
/// [`StoreError::NewerStore`], [`StoreError::Broken`] when the backup is damaged, [`StoreError::File`], [`StoreError::DiskFull`].
/// Up to the last step the store is as it was.
pub fn put_back(backup: &Path, store: &Path, checkpoints: &Path, at: i64) -> Result<Restored, StoreError> {
    let source = open_to_read(backup)?;
    make_directory(store)?;
    let _lock = DaemonLock::acquire(store)?;
    let same = |path: &Path| path.canonicalize().ok();
    if same(backup).is_some_and(|backup| same(store) == Some(backup)) {
        return Err(StoreError::File {
            path: store.to_owned(),
            reason: "this is the store itself, no backup".to_owned(),
        });
    }
    let sound: String = source.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if sound != "ok" {
        return Err(StoreError::Broken { reason: format!("{}: the backup is damaged", backup.display()) });
    }
    let unfinished = Unfinished::new(with_ending(store, ".restoring"))?;
    copy(&source, &unfinished.0)?;
    drop(source);
    let copy = schema::open_copy(&unfinished.0)?;
    let backup_at = copy.query_row("SELECT backup_at FROM meta", [], |row| row.get(0))?;
    let former = take(store)?;
    let former_epoch = former.as_ref().and_then(epoch_of);
    let erased = former.as_ref().and_then(|former| erased_in(former).ok());
    let tokens_kept = former.as_ref().is_some_and(|former| keep_tokens(former, &copy).is_ok());
    let epoch = next_epoch(events::epoch(&Reader::new(&copy))?, former_epoch, at)?;
    copy.execute(
        "UPDATE meta SET backup_at = NULL, epoch = ?1, epoch_began = (SELECT coalesce(max(sequence), 0) FROM event)",
        [epoch],
    )?;
    let head = events::head(&Reader::new(&copy))?;
    close(copy, "WAL")?;
    drop(former);
    let replaced = set_aside(store, checkpoints, at)?;
    unfinished.rename(store)?;
    Ok(Restored { backup_at, head, replaced, tokens_kept, erased })
}

/// A store or a backup that this program knows, to be read only.
fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    if !path.try_exists().map_err(|error| failed(path, &error))? {
        return Err(failed(path, &io::Error::from(io::ErrorKind::NotFound)));
    }
    // A store in use is read through its log, for which SQLite needs a file that it may write; a backup may lie on a medium that is
    // read-only.
    let writable = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, writable)?;
    schema::refuse_foreign(&connection, path)?;
    schema::wait_for_others(&mut connection)?;
    Ok(connection)
}

/// All rows of `source` into the empty file `target`.
fn copy(source: &Connection, target: &Path) -> Result<(), StoreError> {
    let name = target
        .to_str()
        .ok_or_else(|| StoreError::File { path: target.to_owned(), reason: "the name is not UTF-8".to_owned() })?;
    source.execute("VACUUM INTO ?1", [name])?;
    Ok(())
}

/// Closes the only connection to a copy, which leaves all of it in its one file.
fn close(copy: Connection, journal_mode: &str) -> Result<(), StoreError> {
    copy.pragma_update(None, "journal_mode", journal_mode)?;
    Ok(copy.close().map_err(|(_, error)| error)?)
}

/// Takes the present store from everybody, with all of it in its one file. `None`: there is none, or it cannot be read, which is what
/// a restore is for.
fn take(store: &Path) -> Result<Option<Connection>, StoreError> {
    if !store.try_exists().map_err(|error| failed(store, &error))? {
        return Ok(None);
    }
    let Ok(connection) = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_WRITE) else { return Ok(None) };
    connection.busy_timeout(RELEASE_WAIT)?;
    // Leaving the WAL mode needs the file for oneself alone.
    let left = connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0));
    let taken = left.map_err(StoreError::from).and_then(|_| Ok(connection.execute_batch("BEGIN EXCLUSIVE")?));
    match taken {
        Ok(()) => Ok(Some(connection)),
        Err(error @ StoreError::Busy { .. }) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The epoch of a store that may be damaged or no store at all.
fn epoch_of(store: &Connection) -> Option<u32> {
    store.query_row("SELECT epoch FROM meta", [], |row| row.get(0)).ok()
}

/// Tokens say who may come in, not what is known of patients: those of the store in use hold.
fn keep_tokens(former: &Connection, copy: &Connection) -> Result<(), StoreError> {
    let mut tokens = former.prepare("SELECT name, role, sha256, created_at, revoked_at, last_used_at FROM token")?;
    let mut rows = tokens.query([])?;
    let put = "INSERT INTO token (name, role, sha256, created_at, revoked_at, last_used_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (sha256) DO UPDATE SET revoked_at = excluded.revoked_at, last_used_at = excluded.last_used_at";
    while let Some(row) = rows.next()? {
        let columns =
            (0..6).map(|column| row.get::<_, rusqlite::types::Value>(column)).collect::<Result<Vec<_>, _>>()?;
        copy.execute(put, rusqlite::params_from_iter(columns))?;
    }
    Ok(())
}

/// Golden records that hold nothing but that they were erased (`pipeline::rights`).
fn erased_in(former: &Connection) -> Result<Vec<String>, StoreError> {
    let mut rows = former.prepare("SELECT one_id FROM person WHERE golden LIKE '{\"erased_at\"%'")?;
    let one_ids = rows.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    Ok(one_ids)
}

/// An epoch that no cursor bears yet: after those of the backup and of the store that it replaces. Where that store is lost, an earlier
/// restore of the same backup may have handed out cursors of any small number, so it is the time, in seconds.
fn next_epoch(held: u32, former: Option<u32>, at: i64) -> Result<u32, StoreError> {
    let floor = former.unwrap_or_else(|| u32::try_from(at.div_euclid(1_000_000)).unwrap_or(0));
    held.max(floor).checked_add(1).ok_or(StoreError::OutOfRange { what: "the feed's epoch" })
}

/// Renames the present store with its log; a log that is there alone must not meet the new store either.
fn set_aside(store: &Path, checkpoints: &Path, at: i64) -> Result<Option<PathBuf>, StoreError> {
    let time = Timestamp::from_microsecond(at).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
    let free = |number: u32| {
        let ending = if number == 0 { format!(".replaced-{time}") } else { format!(".replaced-{time}-{number}") };
        Some(with_ending(store, &ending)).filter(|path| !path.exists())
    };
    let aside =
        (0..1_000).find_map(free).ok_or_else(|| failed(store, &io::Error::from(io::ErrorKind::AlreadyExists)))?;
    let mut replaced = None;
    for ending in ["-wal", "-shm", ""] {
        let from = with_ending(store, ending);
        match fs::rename(&from, with_ending(&aside, ending)) {
            Ok(()) if ending.is_empty() => replaced = Some(aside.clone()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&from, &error)),
            _ => {}
        }
    }
    if let Err(error) = fs::rename(checkpoints, with_ending(&aside, ".audit.checkpoints"))
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed(checkpoints, &error));
    }
    Ok(replaced)
}

/// A file in the making; it goes when it is not finished.
struct Unfinished(PathBuf);

impl Unfinished {
    /// An empty file that only its owner may read. One that an interrupted run left behind is replaced.
    fn new(path: PathBuf) -> Result<Self, StoreError> {
        let unfinished = Self(path);
        unfinished.remove();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        match options.open(&unfinished.0) {
            Ok(_) => Ok(unfinished),
            Err(error) => Err(failed(&unfinished.0, &error)),
        }
    }

    /// Durable under its name, and never there as less than the whole.
    fn rename(self, target: &Path) -> Result<(), StoreError> {
        let lasting = || {
            File::open(&self.0)?.sync_all()?;
            fs::rename(&self.0, target)?;
            let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        };
        lasting().map_err(|error: io::Error| failed(target, &error))
    }

    fn remove(&self) {
        for ending in ["", "-journal", "-wal", "-shm"] {
            // What is not there needs no removal; what cannot be removed is told by whoever makes the file.
            let _ = fs::remove_file(with_ending(&self.0, ending));
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.remove();
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), reason: error.to_string() }
}
