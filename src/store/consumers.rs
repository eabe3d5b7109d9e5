//! Where each consumer of the feed has got to.

use rusqlite::{Row, params};

use super::{Reader, StoreError, Transaction, events, signed};
use crate::feed::Cursor;

/// A consumer's committed position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// What it has taken.
    pub cursor: Cursor,
    /// When it committed that.
    pub updated_at: i64,
    /// Events after it; `None` when the position is of another epoch.
    pub lag: Option<u64>,
}

/// The committed position; `None` for a consumer that never committed one.
///
/// # Errors
/// See [`StoreError`].
pub fn position(reader: &Reader<'_>, name: &str) -> Result<Option<Cursor>, StoreError> {
    reader.one("SELECT epoch, sequence FROM consumer WHERE name = ?1", [name], |row| cursor(row, 0))
}

/// Commits a position, also one further back. The caller has checked its epoch and that it is not beyond the head.
///
/// # Errors
/// See [`StoreError`].
pub fn commit(transaction: &Transaction<'_>, name: &str, cursor: Cursor, at: i64) -> Result<(), StoreError> {
    transaction.run(
        "INSERT INTO consumer (name, epoch, sequence, updated_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET epoch = ?2, sequence = ?3, updated_at = ?4",
        params![name, cursor.epoch, signed(cursor.sequence)?, at],
    )?;
    Ok(())
}

/// Every consumer that ever committed a position, by name.
///
/// # Errors
/// See [`StoreError`].
pub fn list(reader: &Reader<'_>) -> Result<Vec<Consumer>, StoreError> {
    let head = events::head(reader)?;
    reader.all("SELECT name, epoch, sequence, updated_at FROM consumer ORDER BY name", [], |row| {
        let cursor = cursor(row, 1)?;
        let lag = (cursor.epoch == head.epoch).then(|| head.sequence.saturating_sub(cursor.sequence));
        Ok(Consumer { name: row.get(0)?, cursor, updated_at: row.get(3)?, lag })
    })
}

fn cursor(row: &Row<'_>, first: usize) -> Result<Cursor, StoreError> {
    Ok(Cursor { epoch: row.get(first)?, sequence: row.get::<_, i64>(first + 1)?.unsigned_abs() })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{event, store, write};
    use super::*;
    use crate::feed::EventKind;

    #[test]
    fn positions_move_both_ways_and_show_their_lag() {
        let (_directory, store) = store();
        assert_eq!(store.read(|r| position(r, "crm")), Ok(None));
        write(&store, |t| {
            for _ in 0..4 {
                events::append(t, &event(EventKind::VisitAdmitted, "P1"), None, 1)?;
            }
            commit(t, "crm", Cursor { epoch: 1, sequence: 3 }, 10)?;
            commit(t, "old", Cursor { epoch: 0, sequence: 3 }, 11)
        });
        let lags = || store.read(list).unwrap().into_iter().map(|consumer| consumer.lag).collect::<Vec<_>>();
        assert_eq!(lags(), [Some(1), None]);
        write(&store, |t| commit(t, "crm", Cursor { epoch: 1, sequence: 1 }, 12));
        assert_eq!(lags(), [Some(3), None]);
        assert_eq!(store.read(|r| position(r, "crm")), Ok(Some(Cursor { epoch: 1, sequence: 1 })));
    }
}
