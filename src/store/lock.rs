//! One daemon on a store: an advisory lock on `<path>.lock`, released by the operating system when its holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::StoreError;

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
        let mut name = store.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let failed = |error: std::io::Error| StoreError::File { path: path.clone(), reason: error.to_string() };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::DaemonRunning { path: store.to_owned() }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}
