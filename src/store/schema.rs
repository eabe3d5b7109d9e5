//! Opening the store's file: settings of every connection, and numbered migrations, forward only.

use std::fs::OpenOptions;
use std::io::ErrorKind;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::lock::DaemonLock;
use super::{Access, StoreError};

/// The schema, step by step: entry N leads from `user_version` N to N + 1. Entries are never changed once released.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
    include_str!("schema/0006.sql"),
    include_str!("schema/0007.sql"),
    include_str!("schema/0008.sql"),
    include_str!("schema/0009.sql"),
    include_str!("schema/0010.sql"),
    include_str!("schema/0011.sql"),
    include_str!("schema/0012.sql"),
    include_str!("schema/0013.sql"),
];

/// `application_id` of a store: the letters HEYI.
const APPLICATION_ID: i64 = 0x4845_5949;

/// SQLite 3.51.3 mends the WAL-reset defect that can corrupt a database with several connections.
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long one process waits for another's write transaction. Commands keep theirs short; a migration is the longest.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Prepared statements kept for each connection: more than there are different statements in this module.
const STATEMENTS: usize = 128;

/// How long a command waits for a daemon that is making or migrating the store at this moment.
const MIGRATION_WAIT: Duration = Duration::from_secs(5);

/// Waits up to [`BUSY_TIMEOUT`] for other processes, looking every millisecond. SQLite's own handler sleeps up to 100 ms, so a
/// process that writes without pause (an import) would hardly ever let the daemon in.
pub(super) fn wait_for_others(connection: &mut Connection) -> Result<(), StoreError> {
    fn look_again(tries: i32) -> bool {
        std::thread::sleep(Duration::from_millis(1));
        u128::try_from(tries).is_ok_and(|tries| tries < BUSY_TIMEOUT.as_millis())
    }
    Ok(connection.busy_handler(Some(look_again))?)
}

/// Settings of every connection, the reading ones too.
pub(super) fn prepare_connection(connection: &mut Connection) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    wait_for_others(connection)?;
    // Plans never depend on bound values: without this, SQLite plans a statement anew for new values (measured: a quarter of
    // the writer's time).
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // FULL: a commit is on disk when it returns; NORMAL may lose acknowledged messages when the power fails.
    // secure_delete: what is deleted is overwritten in its page; pages that become free are given back (`Store::forget`).
    // temp_store: the undo journal of a savepoint stays in memory.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;
         PRAGMA secure_delete = FAST;",
    )?;
    Ok(())
}

/// Opens `path` for writing: makes it, migrates it, refuses what is not a store of this program or of an older one.
pub(super) fn open(path: &Path, access: Access) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(StoreError::OldSqlite { found: rusqlite::version() });
    }
    make_private(path)?;
    let mut connection = Connection::open(path)?;
    refuse_other_files(&connection, path)?;
    if is_backup(&connection) {
        return Err(StoreError::IsBackup { path: path.to_owned() });
    }
    prepare_connection(&mut connection)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    let deadline = Instant::now() + MIGRATION_WAIT;
    while version(&connection, path)? < MIGRATIONS.len() {
        // A migration under the feet of a running daemon would break it.
        let locked = match access {
            Access::Daemon => Ok(None),
            Access::Command => DaemonLock::acquire(path).map(Some),
        };
        match locked {
            Ok(_lock) => migrate(&mut connection, path)?,
            Err(StoreError::DaemonRunning { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error),
        }
    }
    // A restore that was broken off has taken it from the store that it was to replace.
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let reason = format!("the journal mode is {mode}, not wal");
        return Err(StoreError::File { path: path.to_owned(), reason });
    }
    Ok(connection)
}

/// Opens a copy that nobody else knows yet, and migrates it.
pub(super) fn open_copy(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)?;
    prepare_connection(&mut connection)?;
    if version(&connection, path)? < MIGRATIONS.len() {
        migrate(&mut connection, path)?;
    }
    Ok(connection)
}

/// Refuses what is no database; the first statement that reads the file finds out.
fn refuse_other_files(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    connection.pragma_query_value(None, "user_version", |_| Ok(())).map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => StoreError::NotAStore { path: path.to_owned() },
        _ => error.into(),
    })
}

/// Refuses what is no store of this program or of an older one, an empty file too.
pub(super) fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    refuse_other_files(connection, path)?;
    match version(connection, path)? {
        0 => Err(StoreError::NotAStore { path: path.to_owned() }),
        _ => Ok(()),
    }
}

/// Whether the file says of itself that it is a backup; stores of older schemas never are.
fn is_backup(connection: &Connection) -> bool {
    let said = connection.query_row("SELECT backup_at IS NOT NULL FROM meta", [], |row| row.get(0));
    said.unwrap_or(false)
}

/// Makes a missing file readable by its owner only; SQLite gives the write-ahead log the same rights.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(StoreError::File { path: path.to_owned(), reason: error.to_string() })
        }
        _ => Ok(()),
    }
}

/// The schema of the file: how many migrations it has seen.
fn version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application, found, objects) != (0, 0, 0) {
        return Err(StoreError::NotAStore { path: path.to_owned() });
    }
    match usize::try_from(found) {
        Ok(version) if version <= MIGRATIONS.len() => Ok(version),
        _ => {
            let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
            Err(StoreError::NewerStore { path: path.to_owned(), found, known })
        }
    }
}

/// All missing steps in one transaction: a power failure leaves the old schema or the new one.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    // Both only take effect on a file without tables, and cannot be set inside a transaction.
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;")?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let present = version(&transaction, path)?;
    for step in MIGRATIONS.iter().skip(present) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::store;
    use super::super::{Store, StoreConfig, clinical, mappings, records};
    use super::*;

    #[test]
    fn a_second_daemon_is_refused_and_a_command_is_not() {
        let (_directory, store) = store();
        let open = |access| Store::open(&StoreConfig::new(store.path(), access));
        let path = store.path().to_owned();
        assert_eq!(open(Access::Daemon).unwrap_err(), StoreError::DaemonRunning { path });
        open(Access::Command).unwrap().close();
        store.close();
        open(Access::Daemon).unwrap();
    }

    #[test]
    fn missing_directories_are_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/heyi.db");
        Store::open(&StoreConfig::new(&path, Access::Command)).unwrap();
        assert!(path.is_file());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_a_store() {
        use std::os::unix::fs::PermissionsExt;
        let (directory, store) = store();
        for name in ["heyi.db", "heyi.db-wal"] {
            let mode = directory.path().join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        drop(store);
    }

    #[test]
    fn an_older_store_is_brought_up_to_date_with_what_it_holds() {
        let (directory, path) = (tempfile::tempdir().unwrap(), "heyi.db");
        let path = directory.path().join(path);
        let older = Connection::open(&path).unwrap();
        older.execute_batch(MIGRATIONS[0]).unwrap();
        older.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        older.pragma_update(None, "user_version", 1).unwrap();
        let rows = "INSERT INTO person VALUES (1, 'P1', 1, NULL, 5, '{}');
            INSERT INTO patient_record VALUES (1, 'his', 'HIS', '1001', 1, 'P1', 'auto', NULL, 3, '{}');
            INSERT INTO visit VALUES (1, 'V1', 'his', 1, 1, '{}');
            INSERT INTO lab_report VALUES (1, 'F1', 'lis', 1, 'his:V1', 1, '{}');
            INSERT INTO mapping_in_force VALUES ('his', 'v1', 5, 6, 'mappings/his.toml:8:16 error');";
        older.execute_batch(rows).unwrap();
        drop(older);
        let store = Store::open(&StoreConfig::new(&path, Access::Command)).unwrap();
        let found = store.read(|reader| {
            let visit = clinical::visit(reader, "his", "V1")?.map(|visit| (visit.state, visit.mapping));
            let report = clinical::lab_report(reader, "lis", "F1")?.map(|report| (report.state, report.mapping));
            let record = records::get(reader, 1)?.map(|record| (record.state, record.mapping));
            Ok([record, visit, report])
        });
        assert_eq!(found.unwrap(), [(); 3].map(|()| Some(("{}".to_owned(), String::new()))));
        let refused = store.read(mappings::list).unwrap().remove(0).refused.unwrap();
        assert_eq!(refused.problems, ["mappings/his.toml:8:16 error"]);
    }

    #[test]
    fn a_newer_store_is_refused() {
        let (_directory, store) = store();
        store.close();
        Connection::open(store.path()).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Store::open(&StoreConfig::new(store.path(), Access::Daemon)).unwrap_err();
        let path = store.path().to_owned();
        assert_eq!(error, StoreError::NewerStore { path, found: 99, known: MIGRATIONS.len() as i64 });
    }

    #[test]
    fn a_file_that_is_no_store_is_refused_untouched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = Store::open(&StoreConfig::new(&path, Access::Daemon)).unwrap_err();
        assert_eq!(error, StoreError::NotAStore { path: path.clone() });
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::write(&path, "no database at all, only text that is long enough to look at").unwrap();
        let error = Store::open(&StoreConfig::new(&path, Access::Daemon)).unwrap_err();
        assert_eq!(error, StoreError::NotAStore { path });
    }

    #[test]
    fn a_command_waits_while_a_starting_daemon_makes_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("heyi.db");
        let lock = DaemonLock::acquire(&path).unwrap();
        let command = {
            let path = path.clone();
            std::thread::spawn(move || Store::open(&StoreConfig::new(path, Access::Command)))
        };
        std::thread::sleep(Duration::from_millis(60));
        assert!(!command.is_finished());
        drop(lock);
        command.join().unwrap().unwrap();
    }
}
