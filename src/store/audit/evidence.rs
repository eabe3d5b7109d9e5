//! Verifying a trail without touching it: the file is opened for reading, no key is needed that signs, nothing is noted.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::super::schema::prepare_connection;
use super::super::{Reader, StoreError};
use super::{IN_ORDER, checkpoints, entry, files, index};
use crate::audit::{Break, Broken, Checkpoint, Extent, PublicKey, Row, Verified, Verifier};

/// What verifying came to.
pub type Findings = Result<Verified, Broken>;

/// A store that is looked at as evidence.
pub struct Evidence {
    connection: Connection,
}

const HIDDEN: &str = "all entries are as they were written, but the index of persons lacks this one, so that a list by person does not show \
                      it: look at the list without --person, and put the index back with `heyi audit reindex`";

fn unreadable(sequence: u64) -> Broken {
    Broken { sequence, kind: Break::Unreadable, text: "what is stored is no entry or no checkpoint" }
}

/// Whether a line of an export is to the byte what is written of this entry or checkpoint.
fn is_as_exported(line: &str, name: &str, document: &Value) -> bool {
    let written = json!({ name: document }).to_string();
    written == line
}

/// A line of an export holds more than its entry, a member twice, or a value in another spelling: whoever reads it sees something else than
/// what is verified.
fn otherwise_written(sequence: u64) -> Broken {
    Broken { sequence, kind: Break::Changed, text: "the line is not as it was exported" }
}

impl Evidence {
    /// Opens the store for reading.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        prepare_connection(&mut connection)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Self { connection })
    }

    /// Verifies every entry against `trusted` keys, and against the checkpoints in `outside`, a file that need not exist.
    ///
    /// # Errors
    /// Store or file cannot be read at all; what is wrong with the trail is no error but a finding.
    pub fn verify(&self, trusted: BTreeSet<PublicKey>, outside: &Path) -> Result<Findings, StoreError> {
        // Before the snapshot of the store: the daemon may add to both meanwhile.
        let outside = files::read_checkpoints(outside)?;
        let snapshot = self.connection.unchecked_transaction()?;
        let findings = verify(&Reader::new(&snapshot), trusted, outside);
        snapshot.finish()?;
        findings
    }
}

/// Verifies what a reader sees.
pub(super) fn verify(
    reader: &Reader<'_>,
    trusted: BTreeSet<PublicKey>,
    outside: Vec<Checkpoint>,
) -> Result<Findings, StoreError> {
    let stored = match checkpoints(reader) {
        Err(StoreError::Damaged { .. }) => return Ok(Err(unreadable(0))),
        stored => stored?,
    };
    let mut trail = match Verifier::new(Extent::Whole, trusted, stored, outside) {
        Ok(trail) => trail,
        Err(broken) => return Ok(Err(broken)),
    };
    let is_indexed = index::is_there(reader)?;
    let mut hidden = None;
    let mut statement = reader.connection().prepare(IN_ORDER)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let row = match entry(row) {
            Err(StoreError::Damaged { .. }) => return Ok(Err(unreadable(trail.reached() + 1))),
            row => row?,
        };
        if let Err(broken) = trail.row(&row) {
            return Ok(Err(broken));
        }
        if is_indexed && hidden.is_none() && !index::finds(reader, &row)? {
            hidden = Some(row.sequence);
        }
    }
    // What is wrong with the entries themselves comes first.
    Ok(trail.finish().and_then(|verified| match hidden {
        None => Ok(verified),
        Some(sequence) => Err(Broken { sequence, kind: Break::Index, text: HIDDEN }),
    }))
}

/// Verifies an export: lines with `{"entry": …}` and `{"checkpoint": …}`, checkpoints anywhere.
///
/// Without `trusted` keys it is held to those that it names itself, which are given back.
///
/// # Errors
/// The lines, or the checkpoints kept `outside`, cannot be read.
pub fn evidence_of_export(
    lines: impl Fn() -> std::io::Result<Box<dyn BufRead>>,
    trusted: Option<BTreeSet<PublicKey>>,
    outside: Option<&Path>,
) -> std::io::Result<(Findings, BTreeSet<PublicKey>)> {
    let outside = outside.map_or(Ok(Vec::new()), files::read_checkpoints).map_err(std::io::Error::other)?;
    // Checkpoints first, then the entries: an export may be longer than memory.
    let mut own = Vec::new();
    for line in lines()?.lines() {
        let line = line?;
        let document: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(checkpoint) = document.get("checkpoint") {
            match Checkpoint::from_document(checkpoint) {
                Some(checkpoint) if !is_as_exported(&line, "checkpoint", &checkpoint.document()) => {
                    return Ok((Err(otherwise_written(checkpoint.sequence)), BTreeSet::new()));
                }
                Some(checkpoint) => own.push(checkpoint),
                None => return Ok((Err(unreadable(0)), BTreeSet::new())),
            }
        }
    }
    let keys: BTreeSet<PublicKey> = own.iter().map(|checkpoint| checkpoint.key).collect();
    let mut trail = match Verifier::new(Extent::Export, trusted.unwrap_or_else(|| keys.clone()), own, outside) {
        Ok(trail) => trail,
        Err(broken) => return Ok((Err(broken), keys)),
    };
    for line in lines()?.lines() {
        let line = line?;
        let document: Value = serde_json::from_str(&line).unwrap_or_default();
        if document.get("checkpoint").is_some() {
            continue;
        }
        let Some(row) = document.get("entry").and_then(Row::from_document) else {
            return Ok((Err(unreadable(trail.reached() + 1)), keys));
        };
        if let Err(broken) = trail.row(&row) {
            return Ok((Err(broken), keys));
        }
        if !is_as_exported(&line, "entry", &row.document()) {
            return Ok((Err(otherwise_written(row.sequence)), keys));
        }
    }
    Ok((trail.finish(), keys))
}
