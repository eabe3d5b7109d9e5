//! Events that wait for the trouble of a person to end, for each consumer that events are pushed to.
//!
//! Invariants
//! - An event is held at most once for a consumer, in the hold of everything that it is about: what shares a key shares a hold, and two
//!   holds that an event joins become one. Within a hold the order is that of the log.
//! - Of a hold only the first event is tried; the next follows when that one was taken or given up.
//! - Nothing leaves a hold unless it was taken, somebody gave it up, or the log keeps it no more.
//! - Rows are few: only events of persons in trouble have one, and it holds no more than the event's number.

use std::collections::BTreeSet;

use rusqlite::{Row, params};
use serde_json::Value;

use super::{Reader, StoreError, Transaction, row_limit, signed};

/// What a hold is read from, in the order that [`hold`] expects.
macro_rules! hold_columns {
    () => {
        "SELECT id, consumer, since, attempts, next_at, parked_at, last_error,
             (SELECT min(sequence) FROM hold_event WHERE hold_event.hold = hold.id),
             (SELECT count(*) FROM hold_event WHERE hold_event.hold = hold.id) FROM hold"
    };
}

/// A held event's number and what it is about.
pub type Place = (u64, Vec<String>);

/// The trouble of a hold's first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Failed attempts.
    pub attempts: u32,
    /// When it is tried again, microseconds since the epoch.
    pub next_at: i64,
    /// When it was parked.
    pub parked_at: Option<i64>,
    /// What the last attempt came to; without personal data.
    pub last_error: String,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its number.
    pub id: i64,
    /// For whom.
    pub consumer: String,
    /// When its trouble began.
    pub since: i64,
    /// Of its first event.
    pub trouble: Trouble,
    /// The first event's sequence number.
    pub first: u64,
    /// How many events wait.
    pub events: u64,
}

/// What is held for one consumer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Holds that are tried no more until somebody says so.
    pub parked: u64,
    /// The lowest sequence number.
    pub first: Option<u64>,
}

/// Of events in the order of the log, those that belong behind what is held are held too; gives their numbers.
///
/// # Errors
/// See [`StoreError`].
pub fn join(transaction: &Transaction<'_>, consumer: &str, places: &[Place]) -> Result<BTreeSet<u64>, StoreError> {
    let mut joined = BTreeSet::new();
    for place in places {
        if let Some(hold) = union(transaction, consumer, &place.1)? {
            add(transaction, consumer, hold, place)?;
            joined.insert(place.0);
        }
    }
    Ok(joined)
}

/// Whether any of these keys is held.
///
/// # Errors
/// See [`StoreError`].
pub fn is_held<'k>(
    reader: &Reader<'_>,
    consumer: &str,
    keys: impl IntoIterator<Item = &'k str>,
) -> Result<bool, StoreError> {
    for key in keys {
        if hold_of(reader, consumer, key)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Holds an event that failed, and behind it `later`, which are about the same.
///
/// # Errors
/// See [`StoreError`].
pub fn begin(
    transaction: &Transaction<'_>,
    consumer: &str,
    failed: &Place,
    later: &[Place],
    trouble: &Trouble,
    at: i64,
) -> Result<(), StoreError> {
    let hold = match union(transaction, consumer, &failed.1)? {
        Some(hold) => hold,
        None => insert(transaction, consumer, trouble, at)?,
    };
    for place in std::iter::once(failed).chain(later) {
        // An event that is about somebody else in trouble brings the two together.
        union(transaction, consumer, &place.1)?;
        add(transaction, consumer, current(transaction, consumer, &failed.1, hold)?, place)?;
    }
    Ok(())
}

/// Has events tried (again) at once, those of a hold that is parked too.
///
/// # Errors
/// See [`StoreError`].
pub fn put_back(transaction: &Transaction<'_>, consumer: &str, places: &[Place], at: i64) -> Result<(), StoreError> {
    let trouble = Trouble { attempts: 0, next_at: at, parked_at: None, last_error: String::new() };
    for place in places {
        let hold = match union(transaction, consumer, &place.1)? {
            Some(hold) => hold,
            None => insert(transaction, consumer, &trouble, at)?,
        };
        add(transaction, consumer, hold, place)?;
        set(transaction, hold, &trouble)?;
    }
    Ok(())
}

/// Holds whose time has come, the longest due first; with the sequence number of the first event.
///
/// # Errors
/// See [`StoreError`].
pub fn due(reader: &Reader<'_>, consumer: &str, now: i64, limit: usize) -> Result<Vec<Hold>, StoreError> {
    reader.all(
        concat!(
            hold_columns!(),
            " WHERE consumer = ?1 AND next_at <= ?2 AND parked_at IS NULL ORDER BY next_at, id LIMIT ?3"
        ),
        params![consumer, now, row_limit(limit)],
        hold,
    )
}

/// When the next hold is due that is not due at `now`; `None`: none will be.
///
/// # Errors
/// See [`StoreError`].
pub fn next_due(reader: &Reader<'_>, consumer: &str, now: i64) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT min(next_at) FROM hold WHERE consumer = ?1 AND next_at > ?2 AND parked_at IS NULL";
    Ok(reader.one(sql, params![consumer, now], |row| Ok(row.get::<_, Option<i64>>(0)?))?.flatten())
}

/// Lets an event go: it was taken, given up, or nothing of it is for the consumer any more. What waits behind it is due at once. An event
/// that is not held (any more) changes nothing; gives whether it was.
///
/// # Errors
/// See [`StoreError`].
pub fn let_go(transaction: &Transaction<'_>, consumer: &str, sequence: u64, at: i64) -> Result<bool, StoreError> {
    let sequence = signed(sequence)?;
    let held = "SELECT hold FROM hold_event WHERE consumer = ?1 AND sequence = ?2";
    let Some(hold) = transaction.one(held, params![consumer, sequence], |row| Ok(row.get::<_, i64>(0)?))? else {
        return Ok(false);
    };
    let was_first = first(transaction, hold)? == Some(sequence.unsigned_abs());
    transaction.run("DELETE FROM hold_event WHERE consumer = ?1 AND sequence = ?2", params![consumer, sequence])?;
    match first(transaction, hold)? {
        None => remove(transaction, hold)?,
        Some(_) if was_first => {
            let trouble = Trouble { attempts: 0, next_at: at, parked_at: None, last_error: String::new() };
            set(transaction, hold, &trouble)?;
        }
        Some(_) => {}
    }
    Ok(true)
}

/// Notes that a hold's first event failed again. Where it is the first no more (it was skipped meanwhile), nothing changes.
///
/// # Errors
/// See [`StoreError`].
pub fn note(transaction: &Transaction<'_>, hold: i64, sequence: u64, trouble: &Trouble) -> Result<(), StoreError> {
    if first(transaction, hold)? == Some(sequence) {
        set(transaction, hold, trouble)?;
    }
    Ok(())
}

/// Has holds tried again at once: that of a key, else every parked one. Gives how many.
///
/// # Errors
/// See [`StoreError`].
pub fn release(transaction: &Transaction<'_>, consumer: &str, key: Option<&str>, at: i64) -> Result<usize, StoreError> {
    match key {
        Some(key) => transaction.run(
            "UPDATE hold SET attempts = 0, next_at = ?3, parked_at = NULL
             WHERE id = (SELECT hold FROM hold_key WHERE consumer = ?1 AND key = ?2)",
            params![consumer, key, at],
        ),
        None => transaction.run(
            "UPDATE hold SET attempts = 0, next_at = ?2, parked_at = NULL WHERE consumer = ?1 AND parked_at IS NOT NULL",
            params![consumer, at],
        ),
    }
}

/// The hold of a key.
///
/// # Errors
/// See [`StoreError`].
pub fn of_key(reader: &Reader<'_>, consumer: &str, key: &str) -> Result<Option<Hold>, StoreError> {
    reader.one(
        concat!(hold_columns!(), " WHERE id = (SELECT hold FROM hold_key WHERE consumer = ?1 AND key = ?2)"),
        [consumer, key],
        hold,
    )
}

/// Holds of a consumer by their number, after `after`.
///
/// # Errors
/// See [`StoreError`].
pub fn list(reader: &Reader<'_>, consumer: &str, after: i64, limit: usize) -> Result<Vec<Hold>, StoreError> {
    reader.all(
        concat!(hold_columns!(), " WHERE consumer = ?1 AND id > ?2 ORDER BY id LIMIT ?3"),
        params![consumer, after, row_limit(limit)],
        hold,
    )
}

/// What is held for a consumer.
///
/// # Errors
/// See [`StoreError`].
pub fn counts(reader: &Reader<'_>, consumer: &str) -> Result<Counts, StoreError> {
    let events = "SELECT count(*), min(sequence) FROM hold_event WHERE consumer = ?1";
    let found = reader.one(events, [consumer], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let (events, first) = found.unwrap_or_default();
    let parked = "SELECT count(*) FROM hold WHERE consumer = ?1 AND parked_at IS NOT NULL";
    let parked = reader.one(parked, [consumer], |row| Ok(row.get::<_, i64>(0)?))?.unwrap_or_default();
    Ok(Counts { events: events.unsigned_abs(), parked: parked.unsigned_abs(), first: first.map(i64::unsigned_abs) })
}

/// Consumers that anything is held for.
///
/// # Errors
/// See [`StoreError`].
pub fn consumers(reader: &Reader<'_>) -> Result<Vec<String>, StoreError> {
    reader.all("SELECT DISTINCT consumer FROM hold ORDER BY consumer", [], |row| Ok(row.get(0)?))
}

/// Forgets all that is held for a consumer; gives how many events that were.
///
/// # Errors
/// See [`StoreError`].
pub fn forget(transaction: &Transaction<'_>, consumer: &str) -> Result<usize, StoreError> {
    transaction.run("DELETE FROM hold_key WHERE consumer = ?1", [consumer])?;
    let events = transaction.run("DELETE FROM hold_event WHERE consumer = ?1", [consumer])?;
    transaction.run("DELETE FROM hold WHERE consumer = ?1", [consumer])?;
    Ok(events)
}

/// What somebody did with a consumer's deliveries.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// When.
    pub at: i64,
    /// Whose.
    pub consumer: String,
    /// `replay`, `release`, `skip` or `forget`.
    pub action: String,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
    /// Positions and ids.
    pub detail: Value,
}

/// Keeps what somebody did.
///
/// # Errors
/// See [`StoreError`].
pub fn keep_action(transaction: &Transaction<'_>, done: &Action) -> Result<(), StoreError> {
    transaction.insert(
        "INSERT INTO consumer_action (at, consumer, action, done_by, reason, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![done.at, done.consumer, done.action, done.by, done.reason, done.detail.to_string()],
    )?;
    Ok(())
}

/// What was done with a consumer's deliveries, newest first.
///
/// # Errors
/// See [`StoreError`].
pub fn actions(reader: &Reader<'_>, consumer: &str, limit: usize) -> Result<Vec<Action>, StoreError> {
    reader.all(
        "SELECT at, consumer, action, done_by, reason, detail FROM consumer_action WHERE consumer = ?1
         ORDER BY id DESC LIMIT ?2",
        params![consumer, row_limit(limit)],
        |row| {
            let detail =
                row.get_ref(5)?.as_str().map_err(|_| StoreError::Damaged { what: "consumer_action.detail" })?;
            Ok(Action {
                at: row.get(0)?,
                consumer: row.get(1)?,
                action: row.get(2)?,
                by: row.get(3)?,
                reason: row.get(4)?,
                detail: serde_json::from_str(detail)
                    .map_err(|_| StoreError::Damaged { what: "consumer_action.detail" })?,
            })
        },
    )
}

fn hold(row: &Row<'_>) -> Result<Hold, StoreError> {
    let attempts = row.get::<_, i64>(3)?;
    Ok(Hold {
        id: row.get(0)?,
        consumer: row.get(1)?,
        since: row.get(2)?,
        trouble: Trouble {
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            next_at: row.get(4)?,
            parked_at: row.get(5)?,
            last_error: row.get(6)?,
        },
        // A hold without an event is removed in the transaction that empties it.
        first: row.get::<_, Option<i64>>(7)?.ok_or(StoreError::Damaged { what: "hold" })?.unsigned_abs(),
        events: row.get::<_, i64>(8)?.unsigned_abs(),
    })
}

fn hold_of(reader: &Reader<'_>, consumer: &str, key: &str) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT hold FROM hold_key WHERE consumer = ?1 AND key = ?2";
    reader.one(sql, [consumer, key], |row| Ok(row.get(0)?))
}

/// The one hold of all these keys, after it was made one; `None`: none of them is held.
fn union(transaction: &Transaction<'_>, consumer: &str, keys: &[String]) -> Result<Option<i64>, StoreError> {
    let mut holds = BTreeSet::new();
    for key in keys {
        holds.extend(hold_of(transaction, consumer, key)?);
    }
    // The one whose first event comes first goes on with its own trouble: that event is the first of all.
    let mut by_first = Vec::new();
    for hold in holds {
        by_first.push((first(transaction, hold)?, hold));
    }
    by_first.sort_unstable();
    let mut by_first = by_first.into_iter().map(|(_, hold)| hold);
    let Some(kept) = by_first.next() else { return Ok(None) };
    for other in by_first {
        transaction.run("UPDATE hold_key SET hold = ?1 WHERE hold = ?2", [kept, other])?;
        transaction.run("UPDATE hold_event SET hold = ?1 WHERE hold = ?2", [kept, other])?;
        transaction.run("DELETE FROM hold WHERE id = ?1", [other])?;
    }
    Ok(Some(kept))
}

/// The hold that these keys have now, else `hold`.
fn current(transaction: &Transaction<'_>, consumer: &str, keys: &[String], hold: i64) -> Result<i64, StoreError> {
    for key in keys {
        if let Some(found) = hold_of(transaction, consumer, key)? {
            return Ok(found);
        }
    }
    Ok(hold)
}

fn insert(transaction: &Transaction<'_>, consumer: &str, trouble: &Trouble, at: i64) -> Result<i64, StoreError> {
    transaction.insert(
        "INSERT INTO hold (consumer, since, attempts, next_at, parked_at, last_error) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![consumer, at, trouble.attempts, trouble.next_at, trouble.parked_at, trouble.last_error],
    )
}

fn set(transaction: &Transaction<'_>, hold: i64, trouble: &Trouble) -> Result<(), StoreError> {
    transaction.run(
        "UPDATE hold SET attempts = ?2, next_at = ?3, parked_at = ?4, last_error = ?5 WHERE id = ?1",
        params![hold, trouble.attempts, trouble.next_at, trouble.parked_at, trouble.last_error],
    )?;
    Ok(())
}

fn add(transaction: &Transaction<'_>, consumer: &str, hold: i64, place: &Place) -> Result<(), StoreError> {
    let (sequence, keys) = place;
    for key in keys {
        let sql = "INSERT INTO hold_key (consumer, key, hold) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        transaction.run(sql, params![consumer, key, hold])?;
    }
    let sql = "INSERT INTO hold_event (consumer, sequence, hold) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    transaction.run(sql, params![consumer, signed(*sequence)?, hold])?;
    Ok(())
}

fn first(reader: &Reader<'_>, hold: i64) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT min(sequence) FROM hold_event WHERE hold = ?1";
    Ok(reader.one(sql, [hold], |row| Ok(row.get::<_, Option<i64>>(0)?))?.flatten().map(i64::unsigned_abs))
}

fn remove(transaction: &Transaction<'_>, hold: i64) -> Result<(), StoreError> {
    transaction.run("DELETE FROM hold_key WHERE hold = ?1", [hold])?;
    transaction.run("DELETE FROM hold WHERE id = ?1", [hold])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::super::fixtures::{store, write};
    use super::*;

    fn place(sequence: u64, keys: &[&str]) -> Place {
        (sequence, keys.iter().map(ToString::to_string).collect())
    }

    fn trouble(next_at: i64) -> Trouble {
        Trouble { attempts: 1, next_at, parked_at: None, last_error: "HTTP 500".to_owned() }
    }

    /// First event and number of events of each hold.
    fn shown(store: &Store) -> Vec<(u64, u64)> {
        let holds = store.read(|r| list(r, "crm", 0, 99)).unwrap();
        holds.iter().map(|hold| (hold.first, hold.events)).collect()
    }

    #[test]
    fn what_shares_a_key_waits_in_one_hold_in_the_order_of_the_log() {
        let (_directory, store) = store();
        write(&store, |t| {
            begin(t, "crm", &place(3, &["A"]), &[place(5, &["A", "visit 1"])], &trouble(30), 10)?;
            begin(t, "crm", &place(4, &["B"]), &[], &trouble(20), 11)
        });
        assert_eq!(shown(&store), [(3, 2), (4, 1)]);
        // Somebody else, somebody held, a visit of somebody held, and a merge of both that are held.
        let places = [place(6, &["C"]), place(7, &["A"]), place(8, &["D", "visit 1"]), place(9, &["A", "B"])];
        let joined = write(&store, move |t| join(t, "crm", &places));
        assert_eq!(joined.into_iter().collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(shown(&store), [(3, 6)], "all are one now, and the first event's trouble counts");
        let hold = store.read(|r| of_key(r, "crm", "D")).unwrap().unwrap();
        assert_eq!((hold.trouble.next_at, hold.since), (30, 10));
        assert_eq!(store.read(|r| of_key(r, "other", "D")).unwrap(), None, "each consumer for itself");
    }

    #[test]
    fn an_event_that_joins_two_holds_behind_a_failure_makes_them_one() {
        let (_directory, store) = store();
        write(&store, |t| {
            begin(t, "crm", &place(2, &["B"]), &[], &trouble(20), 11)?;
            begin(t, "crm", &place(3, &["A"]), &[place(5, &["A", "B"]), place(6, &["B"])], &trouble(30), 12)
        });
        assert_eq!(shown(&store), [(2, 4)]);
    }

    #[test]
    fn events_go_one_by_one_and_the_hold_with_the_last() {
        let (_directory, store) = store();
        write(&store, |t| begin(t, "crm", &place(3, &["A"]), &[place(5, &["A"])], &trouble(30), 10));
        let due_at = |now: i64| store.read(|r| due(r, "crm", now, 9)).unwrap().len();
        assert_eq!((due_at(29), due_at(30)), (0, 1));
        let parked = Trouble { attempts: 9, parked_at: Some(40), ..trouble(40) };
        let id = store.read(|r| of_key(r, "crm", "A")).unwrap().unwrap().id;
        write(&store, move |t| {
            note(t, id, 5, &trouble(99))?;
            note(t, id, 3, &parked)
        });
        assert_eq!((due_at(i64::MAX), store.read(|r| next_due(r, "crm", 0)).unwrap()), (0, None));
        assert_eq!(store.read(|r| counts(r, "crm")).unwrap(), Counts { events: 2, parked: 1, first: Some(3) });
        assert_eq!(write(&store, |t| release(t, "crm", None, 50)), 1);
        assert_eq!(store.read(|r| of_key(r, "crm", "A")).unwrap().unwrap().trouble.attempts, 0);
        assert!(write(&store, |t| let_go(t, "crm", 3, 60)));
        assert!(!write(&store, |t| let_go(t, "crm", 3, 60)));
        assert_eq!((shown(&store), due_at(60)), (vec![(5, 1)], 1));
        assert!(write(&store, |t| let_go(t, "crm", 5, 60)));
        assert_eq!(store.read(|r| is_held(r, "crm", ["A"])), Ok(false));
        assert_eq!(shown(&store), []);
    }

    #[test]
    fn what_is_put_back_is_due_at_once_also_where_it_was_parked() {
        let (_directory, store) = store();
        write(&store, |t| {
            let parked = Trouble { parked_at: Some(9), ..trouble(9) };
            begin(t, "crm", &place(3, &["A"]), &[], &parked, 9)?;
            put_back(t, "crm", &[place(1, &["A"]), place(2, &["B"])], 20)
        });
        assert_eq!(shown(&store), [(1, 2), (2, 1)]);
        assert_eq!(store.read(|r| due(r, "crm", 20, 9)).unwrap().len(), 2);
        assert_eq!(write(&store, |t| forget(t, "crm")), 3);
        assert_eq!((shown(&store), store.read(consumers).unwrap()), (vec![], vec![]));
    }
}
