//! What can go wrong in the store, and of which class it is.
//!
//! SQLite's own texts name tables and columns, never values, so they may be shown; bound values never enter an error.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// What a failure means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The request itself cannot be carried out; its neighbours can. A message is kept as failed.
    Content,
    /// It may succeed later without any change. Nothing may be answered positively and nothing kept as failed.
    Transient,
    /// The store can no longer be trusted or written. The writer stops, by name.
    Fatal,
}

/// A failure inside the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The linked SQLite has the WAL-reset defect (fixed in 3.51.3).
    #[error("SQLite {found} can corrupt the store, 3.51.3 or newer is needed: use the bundled one")]
    OldSqlite {
        /// The linked version.
        found: &'static str,
    },
    /// The file was written by a later program.
    #[error("{path}: store of schema {found}, this program knows up to {known}: start the newer heyi that wrote it")]
    NewerStore {
        /// The store's file.
        path: PathBuf,
        /// `user_version` of the file.
        found: i64,
        /// The newest schema of this program.
        known: i64,
    },
    /// The file is something else.
    #[error("{path}: not a Heyi store: choose another [store] path")]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The file is a backup, which only a restore makes a store of.
    #[error("{path}: a backup, not a store in use: put it back with `heyi restore`, which tells the feed's consumers")]
    IsBackup {
        /// The file.
        path: PathBuf,
    },
    /// A daemon holds the store.
    #[error("{path}: another heyi daemon runs on this store: stop it first, or choose another [store] path")]
    DaemonRunning {
        /// The store's file.
        path: PathBuf,
    },
    /// A directory or the lock file could not be made.
    #[error("{path}: {reason}: check the [store] path, its owner and its rights")]
    File {
        /// What was touched.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// A backup is to be written where there is something.
    #[error("{path}: exists already: a backup is a new file each time, name another one")]
    BackupExists {
        /// The file.
        path: PathBuf,
    },
    /// A file of the audit trail cannot be used.
    #[error("{path}: {reason}: without the audit trail's files nothing is done; see [audit] in the configuration")]
    AuditFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A background thread could not be started.
    #[error("the store's thread could not be started: {reason}")]
    Thread {
        /// The operating system's words.
        reason: String,
    },
    /// A rule of the schema refused the change.
    #[error("the store's rules refuse the change: {reason}")]
    Constraint {
        /// The rule, by table and column.
        reason: String,
    },
    /// A stored value cannot be read back.
    #[error("{what}: the stored value cannot be read back: restore a backup, or report the defect")]
    Damaged {
        /// Table and column.
        what: &'static str,
    },
    /// A number does not fit the store.
    #[error("{what} is out of range")]
    OutOfRange {
        /// What the number means.
        what: &'static str,
    },
    /// Another process holds the write lock, or every reader is busy, for longer than the limit.
    #[error("the store is busy: {reason}; it is tried again")]
    Busy {
        /// What was waited for.
        reason: String,
    },
    /// No space left on the device (or the page limit is reached).
    #[error("the disk of the store is full: make room, the store goes on by itself")]
    DiskFull,
    /// SQLite ended the transaction by itself, as it may when memory or the disk gives out.
    #[error("the transaction was ended by the database, nothing of it was kept; it is tried again")]
    TransactionLost,
    /// I/O error, corruption, read-only medium, not a database.
    #[error("the store cannot be used: {reason}: check the disk, then restart")]
    Broken {
        /// What SQLite says.
        reason: String,
    },
    /// A statement that this program wrote wrongly.
    #[error("a defect in the store's own statements: {reason}: report it")]
    Defect {
        /// What SQLite says.
        reason: String,
    },
}

impl StoreError {
    /// What the failure means; see [`ErrorClass`].
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Constraint { .. } | Self::Damaged { .. } | Self::OutOfRange { .. } | Self::Defect { .. } => {
                ErrorClass::Content
            }
            Self::Busy { .. } | Self::DiskFull | Self::TransactionLost => ErrorClass::Transient,
            Self::OldSqlite { .. }
            | Self::NewerStore { .. }
            | Self::NotAStore { .. }
            | Self::IsBackup { .. }
            | Self::DaemonRunning { .. }
            | Self::File { .. }
            | Self::BackupExists { .. }
            | Self::AuditFile { .. }
            | Self::Thread { .. }
            | Self::Broken { .. } => ErrorClass::Fatal,
        }
    }
}

/// Why a job of the writer came to nothing. Whatever the variant: nothing of the job is in the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The job itself failed; its neighbours were not touched.
    #[error(transparent)]
    Job(StoreError),
    /// The job panicked; its neighbours were not touched.
    #[error("the job panicked and was rolled back: report it with the log of this moment")]
    Panicked,
    /// The transaction that held the job could not be begun or committed.
    #[error("nothing was written: {0}")]
    Commit(StoreError),
    /// The writer stopped for good.
    #[error("the store's writer has stopped: {reason}")]
    Stopped {
        /// The failure that stopped it, or that the store was closed.
        reason: String,
    },
}

impl WriteError {
    /// What the failure means; see [`ErrorClass`].
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Job(error) | Self::Commit(error) => error.class(),
            Self::Panicked => ErrorClass::Content,
            Self::Stopped { .. } => ErrorClass::Fatal,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let reason = error.to_string();
        let Some(code) = error.sqlite_error_code() else {
            return Self::Defect { reason };
        };
        match code {
            ErrorCode::ConstraintViolation | ErrorCode::TooBig => Self::Constraint { reason },
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted
            | ErrorCode::FileLockingProtocolFailed => Self::Busy { reason },
            ErrorCode::DiskFull => Self::DiskFull,
            ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied => Self::Broken { reason },
            _ => Self::Defect { reason },
        }
    }
}
