//! The state of an instance, in SQLite. Many short-lived processes share it: WAL, full synchronisation, writes in
//! immediate transactions. The only module that knows rusqlite; a file a table.

mod acme;
mod apps;
mod backup;
mod certificates;
mod columns;
mod containers;
mod crons;
mod deployments;
mod domains;
mod events;
mod formation;
mod given_variables;
mod jobs;
mod keys;
mod maintenance;
mod migrate;
mod operations;
mod pauses;
mod ports;
mod properties;
mod redirects;
mod releases;
mod routes;
mod rules;
mod runs;
mod secrets;
mod upstreams;

use std::path::{Path, PathBuf};

pub use acme::{AcmeAccount, AcmeName};
pub use backup::{restore, save_to};
pub use certificates::{NewCertificate, Rank, StoredCertificate, serving};
pub use containers::{Container, ContainerState, NewContainer};
pub use crons::{CronEnd, CronRun, StoredCron};
pub use deployments::NewDeployment;
pub use domains::{AllNames, NamesOfApp, StoredDomain};
pub use events::NewEvent;
pub use jobs::JobRun;
pub use keys::StoredKey;
pub use maintenance::{Maintenance, StoredMaintenance};
pub use operations::NewOperation;
pub use ports::{OpenPort, StoredPort};
pub use redirects::StoredRedirect;
pub use releases::NewRelease;
pub use routes::{StoredRoute, TargetState};
pub use rules::{AppRules, InnerProxy, InnerState, PathRule};
pub use runs::NewRun;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};
pub use upstreams::{AppUpstreams, Fallback, Standing};

use crate::{
    Error, Result,
    error::{BoxError, HostError, StoreError, StoreFault},
    files, lock,
    secrets::Secrets,
};

/// What the table of facts calls the id of the instance and the paas that wrote the database.
const INSTANCE: &str = "instance";
const WRITTEN_BY: &str = "written_by";
/// What it calls the version of the tables: what saves a damaged database does not keep `user_version`.
const TABLES: &str = "tables";

/// How long a process waits for another's write to end, in milliseconds.
const BUSY_TIMEOUT_MS: u32 = 15_000;

/// How long a checkpoint waits for readers, in milliseconds: nobody can write meanwhile.
const CHECKPOINT_TIMEOUT_MS: u32 = 1_000;

/// An open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    secrets: Option<Secrets>,
}

/// How many rows there are of what grows with use.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct RowCounts {
    /// Releases.
    pub releases: u32,
    /// Operations.
    pub operations: u32,
    /// Events.
    pub events: u32,
}

/// The tables, within one transaction: what is read or written through it belongs together.
#[derive(Debug)]
pub struct Tables<'a> {
    connection: &'a Connection,
    secrets: Option<&'a Secrets>,
}

impl Store {
    /// Opens the database at `path`, makes it where there is none, and brings it to this binary's version.
    ///
    /// # Errors
    /// As [`Store::open_or_begin`].
    #[cfg(test)]
    pub fn open(path: &Path) -> Result<Store> {
        Store::open_or_begin(path, || Ok(()))
    }

    /// Opens the database at `path`, and brings it to this binary's version. Where there is none, or an empty one,
    /// `may_begin` says whether one may be made.
    ///
    /// # Errors
    /// [`Error::Store`], which says what is wrong with the file; what `may_begin` returns.
    pub fn open_or_begin(path: &Path, may_begin: impl FnOnce() -> Result<()>) -> Result<Store> {
        let open = || {
            files::require_file(path)?;
            // The change to WAL does not wait for other processes as all else does, so they take turns here.
            let _turn = lock::wait(&beside(path, ".lock")).map_err(denied)?;
            heal_beside(path)?;
            // What SQLite makes beside the database gets the rights of the database.
            if path.exists() {
                files::make_private_file(path).map_err(denied)?;
            }
            if backup::is_missing(path)? {
                may_begin()?;
                files::make_private_file(path).map_err(denied)?;
            }
            let mut connection = Connection::open(path).map_err(database("be opened"))?;
            set_up(&connection)?;
            connection.pragma_update(None, "journal_mode", "WAL").map_err(database("be opened"))?;
            migrate::run(&mut connection, path)?;
            // Those that an earlier version made are there by now, with the rights that they had.
            for suffix in ["-wal", "-shm"] {
                let beside = beside(path, suffix);
                if beside.exists() {
                    files::make_private_file(&beside)?;
                }
            }
            Ok(Store { connection, path: path.to_owned(), secrets: None })
        };
        open().map_err(|error: Error| placed(error, path))
    }

    /// Opens the database at `path`, which is there and of this binary's version, once more.
    ///
    /// # Errors
    /// `StoreError::Missing`; [`Error::Store`].
    pub fn reopen(path: &Path) -> Result<Store> {
        let open = || {
            if !files::require_file(path)? {
                return Err(StoreError::Missing { path: path.to_owned() }.into());
            }
            let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags).map_err(database("be opened"))?;
            set_up(&connection)?;
            migrate::require_known(&connection, path)?;
            Ok(Store { connection, path: path.to_owned(), secrets: None })
        };
        open().map_err(|error: Error| error.in_database(path))
    }

    /// The same store, which opens and seals what its rows hold of secrets. Without them, they are masked.
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Store {
        Store { secrets: Some(secrets), ..self }
    }

    /// Moves what was written into the database itself and empties the log that it was written to first, so that the log
    /// does not stay as large as it once was, and a copy of the one file has everything. Returns whether it could: nobody
    /// must be reading or writing meanwhile.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn checkpoint(path: &Path) -> Result<bool> {
        let store = Store::reopen(path)?;
        store
            .connection
            .execute_batch(&format!("PRAGMA busy_timeout = {CHECKPOINT_TIMEOUT_MS};"))
            .and_then(|()| store.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get("busy")))
            .map(|busy: bool| !busy)
            .map_err(database("be written"))
            .map_err(|error| error.in_database(path))
    }

    /// Moves what was written into the database itself as far as nobody is in the way, and waits for nobody: for a copy of
    /// the one file that somebody makes without knowing of the log.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn move_log(path: &Path) -> Result<()> {
        let store = Store::reopen(path)?;
        store
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .map_err(database("be written"))
            .map_err(|error| error.in_database(path))
    }

    /// Reads, from one snapshot. What reads keeps the log of the database from being emptied, so `work` does nothing else.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::Store`].
    pub fn read<T>(&mut self, work: impl FnOnce(&Tables<'_>) -> Result<T>) -> Result<T> {
        let at = |error: Error| error.in_database(&self.path);
        let transaction = self.connection.transaction().map_err(database("be read")).map_err(at)?;
        work(&Tables { connection: &transaction, secrets: self.secrets.as_ref() }).map_err(at)
    }

    /// Reads and writes in one transaction, which is committed where `work` succeeds and undone where it fails.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::Store`].
    pub fn write<T>(&mut self, work: impl FnOnce(&Tables<'_>) -> Result<T>) -> Result<T> {
        let at = |error: Error| error.in_database(&self.path);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(database("be written"))
            .map_err(at)?;
        let result = work(&Tables { connection: &transaction, secrets: self.secrets.as_ref() }).map_err(at)?;
        transaction.commit().map_err(database("be written")).map_err(at)?;
        Ok(result)
    }
}

/// What holds for every connection.
fn set_up(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(&format!(
            "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS};
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -1000;"
        ))
        .map_err(database("be opened"))
}

/// Makes way for what SQLite keeps beside the database, where something else has its name: then nobody uses it.
fn heal_beside(path: &Path) -> Result<()> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let beside = beside(path, suffix);
        if std::fs::symlink_metadata(&beside).is_ok_and(|metadata| !metadata.is_file()) {
            files::clear(&beside)?;
        }
    }
    Ok(())
}

/// A file that may not be opened is the database's trouble.
fn denied(error: Error) -> Error {
    match error {
        Error::Host(HostError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            failed("be opened", StoreFault::Denied, source)
        }
        Error::Host(HostError::Io { source, .. }) if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            failed("be written", StoreFault::ReadOnly, source)
        }
        other => other,
    }
}

/// Says where the database is that fails, and whether that cannot be written by anybody.
fn placed(error: Error, path: &Path) -> Error {
    let is_read_only = || {
        let of = rustix::fs::statvfs(path.parent().unwrap_or(path));
        of.is_ok_and(|disk| disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    };
    match error.in_database(path) {
        Error::Store(StoreError::Failed { path, action, fault: StoreFault::Denied, source }) if is_read_only() => {
            StoreError::Failed { path, action, fault: StoreFault::ReadOnly, source }.into()
        }
        error => error,
    }
}

/// A failure of the database, whose path whoever knows it adds.
fn failed(action: &'static str, fault: StoreFault, source: impl Into<BoxError>) -> Error {
    StoreError::Failed { path: PathBuf::new(), action, fault, source: source.into() }.into()
}

impl Tables<'_> {
    /// The id of this instance, eight hexadecimal digits chosen when the database was made: it tells this
    /// instance's containers, images and networks from others' on the same engine.
    pub fn instance_id(&self) -> Result<String> {
        self.one("SELECT value FROM meta WHERE name = ?1", [INSTANCE], |row| row.get("value"))
    }

    /// What keeps strangers from those answers of the edge that hold private keys.
    pub fn edge_token(&self) -> Result<String> {
        self.one("SELECT value FROM meta WHERE name = 'edge_token'", [], |row| row.get("value"))
    }

    /// A value kept under a name, if there is one.
    pub(crate) fn meta(&self, name: &str) -> Result<Option<String>> {
        self.maybe_one("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get("value"))
    }

    /// Keeps a value under a name.
    pub(crate) fn set_meta(&self, name: &str, value: &str) -> Result<()> {
        self.execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [name, value],
        )
        .map(drop)
    }

    /// Keeps nothing under a name any more.
    pub(crate) fn forget_meta(&self, name: &str) -> Result<()> {
        self.execute("DELETE FROM meta WHERE name = ?1", [name]).map(drop)
    }

    /// How many rows the tables have that grow with use.
    pub fn row_counts(&self) -> Result<RowCounts> {
        self.one(
            "SELECT (SELECT count(*) FROM releases) AS releases, (SELECT count(*) FROM operations) AS operations,
                    (SELECT count(*) FROM events) AS events",
            [],
            |row| {
                Ok(RowCounts {
                    releases: row.get("releases")?,
                    operations: row.get("operations")?,
                    events: row.get("events")?,
                })
            },
        )
    }

    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<usize> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(parameters))
            .map_err(database("be written"))
    }

    fn insert(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<i64> {
        self.execute(sql, parameters)?;
        Ok(self.connection.last_insert_rowid())
    }

    fn one<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        map: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(parameters, map))
            .map_err(database("be read"))
    }

    fn maybe_one<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        map: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(parameters, map).optional())
            .map_err(database("be read"))
    }

    fn all<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        map: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(parameters, map)?.collect())
            .map_err(database("be read"))
    }
}

/// Makes a database error, with what was tried after "the database cannot".
fn database(action: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
    move |source| failed(action, fault(&source), source)
}

fn fault(error: &rusqlite::Error) -> StoreFault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreFault::Busy,
        Some(ErrorCode::ReadOnly) => StoreFault::ReadOnly,
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => StoreFault::Denied,
        Some(ErrorCode::DiskFull) => StoreFault::DiskFull,
        Some(ErrorCode::SystemIoFailure) => StoreFault::Disk,
        Some(ErrorCode::DatabaseCorrupt) => StoreFault::Damaged,
        Some(ErrorCode::NotADatabase) => StoreFault::NoDatabase,
        _ => StoreFault::Other,
    }
}

/// The path of a file beside the database: its own with something appended.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Turns a stored value that does not parse into an error of the column it is in.
fn corrupt<E: std::error::Error + Send + Sync + 'static>(error: E) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_in_a_transaction_is_undone() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let mut store = Store::open(&directory.path().join("db"))?;
        let name = "blog".parse()?;
        let failed: Result<()> = store.write(|tables| {
            tables.create_app(&name)?;
            Err(Error::Interrupted)
        });
        assert!(failed.is_err());
        assert!(store.read(|tables| tables.apps())?.is_empty());
        Ok(())
    }

    #[test]
    fn the_instance_keeps_its_id() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("db");
        let first = Store::open(&path)?.read(|tables| tables.instance_id())?;
        let second = Store::open(&path)?.read(|tables| tables.instance_id())?;
        assert_eq!(first.len(), 8);
        assert_eq!(first, second);
        Ok(())
    }

    /// Reads and writes with an open database, and returns of what kind the failure is.
    fn fault_of(store: Result<Store>) -> Option<StoreFault> {
        let name = "blog".parse().unwrap();
        match store.and_then(|mut store| store.write(|tables| tables.create_app(&name))) {
            Err(Error::Store(StoreError::Failed { fault, .. })) => Some(fault),
            _ => None,
        }
    }

    #[test]
    fn a_failure_says_of_what_kind_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let other = directory.path().join("other.db");
        std::fs::write(&other, "this is not what SQLite wrote; ".repeat(100)).unwrap();
        assert_eq!(fault_of(Store::open(&other)), Some(StoreFault::NoDatabase));

        let path = directory.path().join("paas.db");
        let full = Store::open(&path).unwrap();
        let pages: i64 = full.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        full.connection.pragma_update(None, "max_page_count", pages).unwrap();
        full.connection.execute_batch("CREATE TABLE big AS SELECT zeroblob(50000000) AS x").unwrap_err();
        let filled = full
            .connection
            .execute_batch("CREATE TABLE big AS SELECT zeroblob(50000000) AS x")
            .map_err(|error| fault(&error));
        assert_eq!(filled, Err(StoreFault::DiskFull));
        drop(full);

        let read_only = Store::open(&path).unwrap();
        read_only.connection.pragma_update(None, "query_only", true).unwrap();
        assert_eq!(fault_of(Ok(read_only)), Some(StoreFault::ReadOnly));

        let (mut first, second) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
        second.connection.execute_batch("PRAGMA busy_timeout = 0").unwrap();
        let held = first.connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        assert_eq!(fault_of(Ok(second)), Some(StoreFault::Busy));
        drop(held);
    }

    #[test]
    fn the_database_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("paas.db");
        // As a version before this one left it.
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let _store = Store::open(&path).unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let mode = std::fs::metadata(beside(&path, suffix)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{suffix}");
        }
    }

    #[test]
    fn many_may_make_it_at_once() {
        for _ in 0..10 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("paas.db");
            let ids: Vec<String> = std::thread::scope(|scope| {
                let openings: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| Store::open(&path).unwrap().read(|tables| tables.instance_id()).unwrap()))
                    .collect();
                openings.into_iter().map(|opening| opening.join().unwrap()).collect()
            });
            assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        }
    }

    #[test]
    fn a_checkpoint_empties_the_log_and_gives_way_to_readers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("paas.db");
        let mut store = Store::open(&path).unwrap();
        store.write(|tables| tables.set_meta("a", &"x".repeat(100_000))).unwrap();
        let log = || std::fs::metadata(beside(&path, "-wal")).unwrap().len();
        assert!(log() > 100_000);
        let mut reader = Store::open(&path).unwrap();
        reader
            .read(|tables| {
                tables.meta("a")?;
                store.write(|tables| tables.set_meta("a", "y"))?;
                assert!(!Store::checkpoint(&path)?, "somebody reads what is in the log");
                Ok(())
            })
            .unwrap();
        assert!(Store::checkpoint(&path).unwrap());
        assert_eq!(log(), 0);
        assert_eq!(store.read(|tables| tables.meta("a")).unwrap().as_deref(), Some("y"));
    }
}
