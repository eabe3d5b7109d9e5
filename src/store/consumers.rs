//! Where each consumer of the feed has got to.

use rusqlite::{Row, params};

use super::{Reader, StoreError, Transaction, events, holds, signed};
use crate::feed::Cursor;

/// What a consumer is read from, in the order that [`consumer`] expects.
macro_rules! columns {
    () => {
        "SELECT name, epoch, sequence, updated_at, moved, delivered_at FROM consumer"
    };
}

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
    /// How often the position was moved by somebody; see [`commit`].
    pub moved: u64,
    /// When an event was last taken that was pushed to it.
    pub delivered_at: Option<i64>,
}

/// The committed position; `None` for a consumer that never committed one.
///
/// # Errors
/// See [`StoreError`].
pub fn position(reader: &Reader<'_>, name: &str) -> Result<Option<Cursor>, StoreError> {
    reader.one("SELECT epoch, sequence FROM consumer WHERE name = ?1", [name], |row| cursor(row, 0))
}

/// Commits a position, also one further back: who delivers by it begins anew there. The caller has checked its epoch and that it is not
/// beyond the head.
///
/// # Errors
/// See [`StoreError`].
pub fn commit(transaction: &Transaction<'_>, name: &str, cursor: Cursor, at: i64) -> Result<(), StoreError> {
    transaction.run(
        "INSERT INTO consumer (name, epoch, sequence, updated_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET epoch = ?2, sequence = ?3, updated_at = ?4, moved = moved + 1",
        params![name, cursor.epoch, signed(cursor.sequence)?, at],
    )?;
    Ok(())
}

/// Commits what was delivered, unless somebody moved the position meanwhile (`moved` is not what it was); gives whether it was committed.
///
/// # Errors
/// See [`StoreError`].
pub fn advance(
    transaction: &Transaction<'_>,
    name: &str,
    cursor: Cursor,
    moved: u64,
    delivered_at: Option<i64>,
    at: i64,
) -> Result<bool, StoreError> {
    let changed = transaction.run(
        "INSERT INTO consumer (name, epoch, sequence, updated_at, delivered_at) VALUES (?1, ?2, ?3, ?4, ?6)
         ON CONFLICT DO UPDATE SET epoch = ?2, sequence = ?3, updated_at = ?4, delivered_at = coalesce(?6, delivered_at)
         WHERE moved = ?5",
        params![name, cursor.epoch, signed(cursor.sequence)?, at, signed(moved)?, delivered_at],
    )?;
    Ok(changed > 0)
}

/// Removes a consumer's position; gives whether there was one.
///
/// # Errors
/// See [`StoreError`].
pub fn forget(transaction: &Transaction<'_>, name: &str) -> Result<bool, StoreError> {
    Ok(transaction.run("DELETE FROM consumer WHERE name = ?1", [name])? > 0)
}

/// One consumer that ever committed a position.
///
/// # Errors
/// See [`StoreError`].
pub fn get(reader: &Reader<'_>, name: &str) -> Result<Option<Consumer>, StoreError> {
    let head = events::head(reader)?;
    reader.one(concat!(columns!(), " WHERE name = ?1"), [name], |row| consumer(row, head))
}

/// Every consumer that ever committed a position, by name.
///
/// # Errors
/// See [`StoreError`].
pub fn list(reader: &Reader<'_>) -> Result<Vec<Consumer>, StoreError> {
    let head = events::head(reader)?;
    reader.all(concat!(columns!(), " ORDER BY name"), [], |row| consumer(row, head))
}

/// The floor where no consumer needs an event.
const NOBODY: u64 = i64::MAX as u64;

/// The sequence number up to which every consumer has been given everything: what is in the store, and `configured`, of whom some may
/// never have come. A position of another epoch counts by its number: the log is the same up to the backup, and delivery goes on there.
///
/// # Errors
/// See [`StoreError`].
pub fn floor(reader: &Reader<'_>, configured: &[String]) -> Result<u64, StoreError> {
    let known = list(reader)?;
    // Nobody needs anything: as large as the store can count.
    let mut floor = NOBODY;
    if configured.iter().any(|name| known.iter().all(|consumer| consumer.name != *name)) {
        floor = 0;
    }
    for consumer in &known {
        floor = floor.min(consumer.cursor.sequence);
    }
    for name in holds::consumers(reader)? {
        let first = holds::counts(reader, &name)?.first;
        floor = floor.min(first.map_or(NOBODY, |first| first.saturating_sub(1)));
    }
    Ok(floor)
}

fn consumer(row: &Row<'_>, head: Cursor) -> Result<Consumer, StoreError> {
    let cursor = cursor(row, 1)?;
    let lag = (cursor.epoch == head.epoch).then(|| head.sequence.saturating_sub(cursor.sequence));
    let moved = row.get::<_, i64>(4)?.unsigned_abs();
    Ok(Consumer { name: row.get(0)?, cursor, updated_at: row.get(3)?, lag, moved, delivered_at: row.get(5)? })
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

    #[test]
    fn what_was_delivered_is_committed_unless_somebody_moved_the_position() {
        let (_directory, store) = store();
        let at = |sequence| Cursor { epoch: 1, sequence };
        assert!(write(&store, move |t| advance(t, "crm", at(3), 0, Some(5), 10)), "the first position");
        write(&store, move |t| commit(t, "crm", at(1), 11));
        assert!(!write(&store, move |t| advance(t, "crm", at(4), 0, Some(6), 12)));
        let found = store.read(|r| get(r, "crm")).unwrap().unwrap();
        assert_eq!((found.cursor.sequence, found.moved, found.delivered_at), (1, 1, Some(5)));
        assert!(write(&store, move |t| advance(t, "crm", at(4), 1, None, 13)));
        let found = store.read(|r| get(r, "crm")).unwrap().unwrap();
        assert_eq!((found.cursor.sequence, found.delivered_at), (4, Some(5)));
    }

    #[test]
    fn the_floor_is_the_slowest_consumer_and_what_is_held() {
        let (_directory, store) = store();
        let floor_of = |configured: &[&str]| {
            let configured: Vec<String> = configured.iter().map(ToString::to_string).collect();
            store.read(|r| floor(r, &configured)).unwrap()
        };
        assert_eq!((floor_of(&[]), floor_of(&["crm"])), (NOBODY, 0));
        write(&store, |t| {
            commit(t, "crm", Cursor { epoch: 1, sequence: 7 }, 10)?;
            commit(t, "old", Cursor { epoch: 0, sequence: 2 }, 10)
        });
        assert_eq!((floor_of(&["crm"]), floor_of(&["crm", "new"])), (2, 0), "one of another epoch goes on there");
        write(&store, |t| forget(t, "old"));
        assert_eq!(floor_of(&["crm"]), 7);
        write(&store, |t| holds::put_back(t, "crm", &[(5, vec!["A".to_owned()])], 1));
        assert_eq!(floor_of(&["crm"]), 4);
        write(&store, |t| {
            holds::forget(t, "crm")?;
            forget(t, "crm")
        });
        assert_eq!(floor_of(&[]), NOBODY);
    }
}
