//! The state of an instance, in SQLite. Many short-lived processes share it: WAL, full synchronisation, writes in
//! immediate transactions. The only module that knows rusqlite; a file a table.

mod apps;
mod columns;
mod containers;
mod deployments;
mod events;
mod formation;
mod keys;
mod migrate;
mod properties;
mod releases;
mod routes;
mod secrets;

use std::path::Path;

pub use containers::{Container, ContainerState, NewContainer};
pub use deployments::NewDeployment;
pub use events::{EventFilter, NewEvent};
pub use keys::StoredKey;
pub use releases::NewRelease;
pub use routes::{Route, Standing};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::{Error, Result, error::StoreError};

/// How long a process waits for another's write to end, in milliseconds.
const BUSY_TIMEOUT_MS: u32 = 15_000;

/// An open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

/// How many rows there are of what grows with use.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct RowCounts {
    /// Releases.
    pub releases: u32,
    /// Deploys.
    pub deploys: u32,
    /// Events.
    pub events: u32,
}

/// The tables, within one transaction: what is read or written through it belongs together.
#[derive(Debug)]
pub struct Tables<'a> {
    connection: &'a Connection,
}

impl Store {
    /// Opens the database at `path`, makes it where there is none, and brings it to this binary's version.
    ///
    /// # Errors
    /// [`Error::Store`] where SQLite fails; `StoreError::TooNew`.
    pub fn open(path: &Path) -> Result<Store> {
        let mut connection = Connection::open(path).map_err(database("be opened"))?;
        connection
            .execute_batch(&format!(
                "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS};
                 PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA foreign_keys = ON;
                 PRAGMA cache_size = -1000;"
            ))
            .map_err(database("be opened"))?;
        migrate::run(&mut connection)?;
        Ok(Store { connection })
    }

    /// Reads, from one snapshot.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::Store`].
    pub fn read<T>(&mut self, work: impl FnOnce(&Tables<'_>) -> Result<T>) -> Result<T> {
        let transaction = self.connection.transaction().map_err(database("be read"))?;
        work(&Tables { connection: &transaction })
    }

    /// Reads and writes in one transaction, which is committed where `work` succeeds and undone where it fails.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::Store`].
    pub fn write<T>(&mut self, work: impl FnOnce(&Tables<'_>) -> Result<T>) -> Result<T> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(database("be written"))?;
        let result = work(&Tables { connection: &transaction })?;
        transaction.commit().map_err(database("be written"))?;
        Ok(result)
    }

    /// A number that changes whenever another connection has written.
    pub fn data_version(&self) -> Result<i64> {
        self.connection.query_row("PRAGMA data_version", [], |row| row.get("data_version")).map_err(database("be read"))
    }
}

impl Tables<'_> {
    /// The id of this instance, eight hexadecimal digits chosen when the database was made: it tells this
    /// instance's containers, images and networks from others' on the same engine.
    pub fn instance_id(&self) -> Result<String> {
        self.one("SELECT value FROM meta WHERE name = 'instance'", [], |row| row.get("value"))
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

    /// How many rows the tables have that grow with use.
    pub fn row_counts(&self) -> Result<RowCounts> {
        self.one(
            "SELECT (SELECT count(*) FROM releases) AS releases, (SELECT count(*) FROM deployments) AS deploys,
                    (SELECT count(*) FROM events) AS events",
            [],
            |row| {
                Ok(RowCounts {
                    releases: row.get("releases")?,
                    deploys: row.get("deploys")?,
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
    move |source| Error::Store(StoreError::Failed { action, source: source.into() })
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
}
