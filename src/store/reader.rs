//! Reading: a bounded pool of read-only connections, one short transaction (one snapshot) for each use.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, Params, Row};

use super::StoreError;
use super::schema::prepare_connection;

/// A consistent view of the store: everything read through one `Reader` is of one moment.
pub struct Reader<'c> {
    connection: &'c Connection,
}

impl<'c> Reader<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection }
    }

    pub(super) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// The first row of `sql`, if there is one.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        rows.next()?.map(read).transpose()
    }

    /// Every row of `sql`; the statement bounds their number.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.connection.prepare_cached(sql)?.query_and_then(values, read)?.collect()
    }
}

pub(super) struct ReaderPool {
    path: PathBuf,
    limit: usize,
    wait: Duration,
    state: Mutex<PoolState>,
    returned: Condvar,
}

#[derive(Default)]
struct PoolState {
    idle: Vec<Connection>,
    open: usize,
}

impl ReaderPool {
    pub(super) fn new(path: PathBuf, limit: usize, wait: Duration) -> Self {
        Self { path, limit, wait, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs `work` on a free connection, in one read transaction; waits for a free one up to the limit.
    pub(super) fn read<T>(&self, work: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let lease = self.take()?;
        let Some(connection) = &lease.connection else {
            return Err(self.exhausted());
        };
        // Deferred: the snapshot is taken by the first statement; the drop ends it whatever happens in between.
        let snapshot = connection.unchecked_transaction()?;
        let result = work(&Reader::new(&snapshot));
        snapshot.finish()?;
        result
    }

    fn take(&self) -> Result<Lease<'_>, StoreError> {
        let deadline = Instant::now() + self.wait;
        let mut state = self.lock();
        loop {
            if let Some(connection) = state.idle.pop() {
                return Ok(Lease { pool: self, connection: Some(connection) });
            }
            if state.open < self.limit {
                state.open += 1;
                drop(state);
                let mut lease = Lease { pool: self, connection: None };
                lease.connection = Some(self.connect()?);
                return Ok(lease);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.exhausted());
            }
            state = self.returned.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        prepare_connection(&mut connection)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    fn exhausted(&self) -> StoreError {
        StoreError::Busy { reason: format!("all {} reading connections are in use", self.limit) }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the pool; gives its connection, or only the place, back when dropped.
struct Lease<'p> {
    pool: &'p ReaderPool,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        match self.connection.take() {
            Some(connection) => state.idle.push(connection),
            None => state.open -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{insert, message, open, store, write};
    use super::super::messages::{self, Page};
    use super::*;

    #[test]
    fn a_reader_sees_one_moment_whatever_is_written_meanwhile() {
        let (_directory, store) = store();
        let count = |reader: &Reader<'_>| {
            Ok(messages::list(reader, &Default::default(), Page::NewestFirst(None), 9)?.messages.len())
        };
        write(&store, |t| insert(t, &message("his", "1", "x")));
        let seen = store.read(|reader| {
            let before = count(reader)?;
            write(&store, |t| insert(t, &message("his", "2", "x")));
            Ok((before, count(reader)?))
        });
        assert_eq!(seen, Ok((1, 1)));
        assert_eq!(store.read(count), Ok(2));
    }

    #[test]
    fn readers_wait_for_a_free_connection_but_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory, |config| {
            config.limits.readers = 1;
            config.limits.reader_wait = Duration::from_millis(20);
        });
        let nested = store.read(|_| Ok(store.read(|_| Ok(()))));
        assert!(matches!(nested, Ok(Err(StoreError::Busy { .. }))));
        assert_eq!(store.read(|_| Ok(())), Ok(()), "the connection came back");
    }

    #[test]
    fn a_reading_connection_refuses_to_write() {
        let (_directory, store) = store();
        let result = store.read(|reader| Ok(reader.connection().execute("DELETE FROM meta", [])?));
        assert!(matches!(result, Err(StoreError::Broken { .. })), "{result:?}");
    }
}
