//! One daemon on a store: an advisory lock on `<path>.lock`, released by the operating system when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreError;

/// Tries to take the lock, and the pause between two: [`DaemonLock::is_held`] of another process has it for an instant.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);

/// The lock; held as long as the value lives. The file stays behind on purpose: removing it would race with the next holder.
#[derive(Debug)]
pub struct DaemonLock {
    _file: File,
}

impl DaemonLock {
    /// Takes the lock of the store at `store`.
    ///
    /// # Errors
    /// [`StoreError::DaemonRunning`] when it is held, [`StoreError::File`] when the lock file cannot be made.
    pub fn acquire(store: &Path) -> Result<Self, StoreError> {
        let path = path(store);
        let failed = |error: std::io::Error| StoreError::File { path: path.clone(), reason: error.to_string() };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        for tried in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tried < TRIES => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(StoreError::DaemonRunning { path: store.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Ok(Self { _file: file })
    }

    /// Whether a daemon has the store. Makes no file, and is in nobody's way.
    pub fn is_held(store: &Path) -> bool {
        File::open(path(store)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

fn path(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
