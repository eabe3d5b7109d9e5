//! How far `heyi import` has got with each file. Written in the transaction of the messages that it counts.

use rusqlite::params;

use super::messages::ContentDigest;
use super::{Reader, StoreError, Transaction, signed};

/// The state of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportProgress {
    /// The source that the file is imported as.
    pub source: String,
    /// The file's path as it was given.
    pub path: String,
    /// Its size then: another size is another file.
    pub size: u64,
    /// Of its bytes: other bytes are another file.
    pub digest: ContentDigest,
    /// Messages taken from it.
    pub messages: u64,
    /// Nothing is left of it.
    pub finished: bool,
    /// When this was written.
    pub updated_at: i64,
}

/// How far a file has got; `None` when it was never begun.
///
/// # Errors
/// See [`StoreError`].
pub fn progress(reader: &Reader<'_>, source: &str, path: &str) -> Result<Option<ImportProgress>, StoreError> {
    reader.one(
        "SELECT size, digest, messages, finished, updated_at FROM import_progress WHERE source = ?1 AND path = ?2",
        params![source, path],
        |row| {
            Ok(ImportProgress {
                source: source.to_owned(),
                path: path.to_owned(),
                size: row.get::<_, i64>(0)?.unsigned_abs(),
                digest: ContentDigest::from_bytes(row.get(1)?),
                messages: row.get::<_, i64>(2)?.unsigned_abs(),
                finished: row.get(3)?,
                updated_at: row.get(4)?,
            })
        },
    )
}

/// Writes down how far a file has got.
///
/// # Errors
/// See [`StoreError`].
pub fn record(transaction: &Transaction<'_>, progress: &ImportProgress) -> Result<(), StoreError> {
    transaction.run(
        "INSERT INTO import_progress (source, path, size, digest, messages, finished, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET size = ?3, digest = ?4, messages = ?5, finished = ?6, updated_at = ?7",
        params![
            progress.source,
            progress.path,
            signed(progress.size)?,
            progress.digest.bytes(),
            signed(progress.messages)?,
            progress.finished,
            progress.updated_at,
        ],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{store, write};
    use super::*;

    #[test]
    fn an_import_goes_on_where_it_was() {
        let (_directory, store) = store();
        assert_eq!(store.read(|r| progress(r, "his", "day.hl7")), Ok(None));
        let mut state = ImportProgress {
            source: "his".to_owned(),
            path: "day.hl7".to_owned(),
            size: 900,
            digest: ContentDigest::of(b"MSH"),
            messages: 2,
            finished: false,
            updated_at: 1,
        };
        for (offset, finished) in [(300, false), (900, true)] {
            (state.messages, state.finished) = (offset, finished);
            let now = state.clone();
            write(&store, move |t| record(t, &now));
            assert_eq!(store.read(|r| progress(r, "his", "day.hl7")), Ok(Some(state.clone())));
        }
    }
}
