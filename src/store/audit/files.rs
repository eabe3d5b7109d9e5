//! What of the audit trail lies outside of the store: the signing key, its public half, and a copy of every regular checkpoint.
//!
//! The key is made with the store's first entry, readable by its owner only, and refused when others can read it. One that is missing is made
//! anew, for a hospital whose disk broke must be able to go on: the trail says so, and verifying it asks for the former public key.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
#[cfg(unix)]
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::StoreError;
use crate::audit::{Checkpoint, PublicKey, SigningKey, from_hexadecimal, hexadecimal};

/// Where the key and the copies of checkpoints lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFiles {
    /// The secret; its public half lies beside it, with `.pub` at the end.
    pub key: PathBuf,
    /// Every regular checkpoint, one a line; only ever appended to.
    pub checkpoints: PathBuf,
}

impl AuditFiles {
    /// Beside a store: `heyi.db` has `heyi.audit.key` and `heyi.audit.checkpoints`.
    pub fn beside(store: &Path) -> Self {
        Self { key: store.with_extension("audit.key"), checkpoints: store.with_extension("audit.checkpoints") }
    }

    /// The file of the public half: every key that ever signed, one a line.
    pub fn public(&self) -> PathBuf {
        let mut name = self.key.clone().into_os_string();
        name.push(".pub");
        name.into()
    }
}

/// Signs, and keeps copies of checkpoints.
#[derive(Debug)]
pub(in super::super) struct Sealer {
    key: SigningKey,
    checkpoints: PathBuf,
}

fn failed(path: &Path, reason: impl std::fmt::Display) -> StoreError {
    StoreError::AuditFile { path: path.to_owned(), reason: reason.to_string() }
}

impl Sealer {
    /// Reads the key, or makes one.
    pub(in super::super) fn open(files: &AuditFiles) -> Result<Self, StoreError> {
        let secret = match read_secret(&files.key)? {
            Some(secret) => secret,
            None => {
                make_secret(&files.key)?;
                read_secret(&files.key)?.ok_or_else(|| failed(&files.key, "the key that was just made is gone"))?
            }
        };
        let key = SigningKey::new(&secret).map_err(|error| failed(&files.key, error))?;
        note_public(&files.public(), key.public())?;
        Ok(Self { key, checkpoints: files.checkpoints.clone() })
    }

    pub(in super::super) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(in super::super) fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// Copies a committed checkpoint to the file beside the store and to the log, whichever of them is kept elsewhere.
    pub(in super::super) fn publish(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        tracing::info!(
            sequence = checkpoint.sequence,
            hash = hexadecimal(&checkpoint.hash),
            key = checkpoint.key.fingerprint(),
            "audit checkpoint"
        );
        let path = &self.checkpoints;
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        options.mode(0o600);
        let mut file = options.open(path).map_err(|error| failed(path, error))?;
        // One write a line: a second process appends between lines, not within one.
        let line = format!("{}\n", checkpoint.document());
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(|error| failed(path, error))
    }

    /// The place of the newest checkpoint in the file; 0 where there is none.
    pub(in super::super) fn published(&self) -> Result<u64, StoreError> {
        let kept = read_checkpoints(&self.checkpoints)?;
        Ok(kept.iter().map(|checkpoint| checkpoint.sequence).max().unwrap_or(0))
    }
}

/// The checkpoints of a file, one a line; none where there is no file.
///
/// # Errors
/// The file cannot be read, or a line is no checkpoint.
pub(super) fn read_checkpoints(path: &Path) -> Result<Vec<Checkpoint>, StoreError> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|error| failed(path, error))?,
    };
    let read = |line: &str| Checkpoint::from_document(&serde_json::from_str(line).ok()?);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            read(line).ok_or_else(|| failed(path, format_args!("line {} is no checkpoint", number + 1)))
        })
        .collect()
}

/// The keys of a file, one a line.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn public_keys(path: &Path) -> Result<BTreeSet<PublicKey>, StoreError> {
    let text = std::fs::read_to_string(path).map_err(|error| failed(path, error))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| PublicKey::read(line).ok_or_else(|| failed(path, "a line is no public key"))).collect()
}

fn read_secret(path: &Path) -> Result<Option<[u8; 32]>, StoreError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| failed(path, error))?,
    };
    #[cfg(unix)]
    {
        let mode = file.metadata().map_err(|error| failed(path, error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(failed(path, "others can read the key: chmod 600"));
        }
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| failed(path, error))?;
    from_hexadecimal(text.trim()).map(Some).ok_or_else(|| failed(path, "holds no audit key: 64 hexadecimal digits"))
}

/// Makes a key, unless another process was faster.
fn make_secret(path: &Path) -> Result<(), StoreError> {
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).map_err(|error| failed(path, error))?;
    super::super::make_directory(path)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(format!("{}\n", hexadecimal(&secret)).as_bytes())?;
        file.sync_all()
    });
    // Linked and not renamed: a key that another process has made meanwhile stays.
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // A draft that stays is of no use to anybody who cannot read the key itself.
    let _ = std::fs::remove_file(&draft);
    linked.map_err(|error| failed(path, error))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| failed(path, error))
}

/// Adds the key to the file of public keys, unless it is there.
fn note_public(path: &Path, key: PublicKey) -> Result<(), StoreError> {
    if path.exists() && public_keys(path)?.contains(&key) {
        return Ok(());
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(|error| failed(path, error))?;
    let line = format!("{}\n", key.text());
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| failed(path, error))
}
