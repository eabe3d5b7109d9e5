//! What `heyi status` shows. Every figure costs a few lookups, however large the store is.

use super::messages::MessageState;
use super::{Reader, Store, StoreError, events};
use crate::feed::Cursor;

/// Messages of one source in one state, since the store began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageCount {
    /// The source.
    pub source: String,
    /// The state.
    pub state: MessageState,
    /// How many; retried and dismissed ones count in their new state. Pruned ones count on, but for failed ones: those that wait.
    pub count: u64,
    /// When the newest of them was received.
    pub last_received_at: i64,
}

/// The store at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatistics {
    /// By source and state.
    pub messages: Vec<MessageCount>,
    /// One IDs ever given, retired ones too.
    pub persons: u64,
    /// Patient records.
    pub records: u64,
    /// Visits.
    pub visits: u64,
    /// Lab reports.
    pub lab_reports: u64,
    /// The newest event.
    pub head: Cursor,
    /// The oldest event still kept.
    pub first_kept: Option<u64>,
    /// Size of the store's file, bytes.
    pub file_bytes: u64,
    /// Of it, free for reuse.
    pub free_bytes: u64,
    /// Size of the write-ahead log, bytes.
    pub wal_bytes: u64,
}

/// Reads the figures; `store` is where the reader is from.
///
/// # Errors
/// See [`StoreError`].
pub fn read(store: &Store, reader: &Reader<'_>) -> Result<StoreStatistics, StoreError> {
    let number = |sql: &str| -> Result<u64, StoreError> {
        let value = reader.one(sql, [], |row| Ok(row.get::<_, Option<i64>>(0)?))?;
        Ok(value.flatten().unwrap_or(0).unsigned_abs())
    };
    let page = number("PRAGMA page_size")?;
    let mut log = store.path().as_os_str().to_owned();
    log.push("-wal");
    Ok(StoreStatistics {
        messages: message_counts(reader)?,
        // Their rows are never deleted, so the greatest number is their count.
        persons: number("SELECT max(id) FROM person")?,
        records: number("SELECT max(id) FROM patient_record")?,
        visits: number("SELECT max(id) FROM visit")?,
        lab_reports: number("SELECT max(id) FROM lab_report")?,
        head: events::head(reader)?,
        first_kept: events::first_kept(reader)?,
        file_bytes: number("PRAGMA page_count")? * page,
        free_bytes: number("PRAGMA freelist_count")? * page,
        wal_bytes: std::fs::metadata(log).map_or(0, |metadata| metadata.len()),
    })
}

/// Messages by source and state, since the store began.
///
/// # Errors
/// See [`StoreError`].
pub fn message_counts(reader: &Reader<'_>) -> Result<Vec<MessageCount>, StoreError> {
    reader.all("SELECT source, state, count, last_received_at FROM message_count ORDER BY source, state", [], |row| {
        let state: String = row.get(1)?;
        Ok(MessageCount {
            source: row.get(0)?,
            state: state.parse().map_err(|()| StoreError::Damaged { what: "message_count.state" })?,
            count: row.get::<_, i64>(2)?.unsigned_abs(),
            last_received_at: row.get(3)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{event, insert, insert_person, message, store, write};
    use super::*;
    use crate::feed::EventKind;

    #[test]
    fn the_store_at_a_glance() {
        let (_directory, store) = store();
        write(&store, |t| {
            insert_person(t, "P1", "1001")?;
            insert(t, &message("his", "1", "x"))?;
            insert(t, &message("his", "2", "x"))?;
            events::append(t, &event(EventKind::PatientCreated, "P1"), None, 1)
        });
        let found = store.read(|r| read(&store, r)).unwrap();
        assert_eq!((found.persons, found.records, found.visits, found.lab_reports), (1, 1, 0, 0));
        assert_eq!((found.head.sequence, found.first_kept), (1, Some(1)));
        let count = MessageCount {
            source: "his".to_owned(),
            state: MessageState::Processed,
            count: 2,
            last_received_at: 1_000,
        };
        assert_eq!(found.messages, [count]);
        assert!(found.file_bytes > 0 && found.wal_bytes > 0);
    }
}
