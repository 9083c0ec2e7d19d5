use rusqlite::{Connection, TransactionBehavior};

use super::database;
use crate::{Error, Result, error::StoreError};

/// The migrations, in order: number N brings the database to `user_version` N. Never change one that was released.
const MIGRATIONS: [&str; 2] = [include_str!("migrations/001_first.sql"), include_str!("migrations/002_callers.sql")];

/// Brings the database to the newest version.
///
/// # Errors
/// `StoreError::TooNew`; [`Error::Store`].
pub(super) fn run(connection: &mut Connection) -> Result<()> {
    let known = MIGRATIONS.len() as i64;
    if version(connection)? == known {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database("be migrated"))?;
    // Read again: another process may have migrated while this one waited.
    let found = version(&transaction)?;
    if found > known {
        return Err(Error::Store(StoreError::TooNew { found, known }));
    }
    for migration in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(migration).map_err(database("be migrated"))?;
    }
    if found == 0 {
        transaction
            .execute("INSERT INTO meta (name, value) VALUES ('instance', lower(hex(randomblob(4))))", [])
            .map_err(database("be migrated"))?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(database("be migrated"))?;
    transaction.commit().map_err(database("be migrated"))
}

fn version(connection: &Connection) -> Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get("user_version")).map_err(database("be read"))
}
