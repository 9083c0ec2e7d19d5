use rusqlite::{Connection, TransactionBehavior};

use super::database;
use crate::{Error, Result, error::StoreError};

/// The migrations, in order: number N brings the database to `user_version` N. Never change one that was released.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/001_first.sql"),
    include_str!("migrations/002_callers.sql"),
    include_str!("migrations/003_properties.sql"),
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{AppId, ProcessType, Scope, property},
        store::Store,
    };

    #[test]
    fn what_0_1_0_stored_keeps_its_meaning() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("db");
        let old = Connection::open(&path).map_err(database("be opened"))?;
        old.execute_batch(MIGRATIONS[0]).map_err(database("be migrated"))?;
        old.execute_batch(
            r#"PRAGMA user_version = 1;
            INSERT INTO meta VALUES ('instance', '0a1b2c3d');
            INSERT INTO apps (id, name, state, deploy_branch, last_version, created_at)
            VALUES (7, 'blog', 'running', 'trunk', 1, 1), (8, 'shop', 'new', NULL, 0, 1);
            INSERT INTO config VALUES (7, 'KEY', x'0102');
            INSERT INTO process_settings VALUES
                (7, 'web', 'check-try-timeout', '3s'), (7, '', 'memory', '64m'), (7, 'worker', 'memory', '1g');
            INSERT INTO releases (app_id, version, status, image, sealed_config, processes, overrides, port, reason,
                                  actor, created_at)
            VALUES (7, 1, 'good', 'sha256:1', x'03', '[]',
                    '[{"process":"web","setting":"check-path","value":"/up"},
                      {"process":null,"setting":"stop-timeout","value":"5s"}]', 5000, 'push of trunk', 'key:ann', 1);"#,
        )
        .map_err(database("be migrated"))?;
        drop(old);

        let mut store = Store::open(&path)?;
        store.read(|tables| {
            let blog = tables.app(&"blog".parse()?)?;
            assert_eq!(blog.deploy_branch, Some("trunk".parse()?));
            assert_eq!(tables.app(&"shop".parse()?)?.deploy_branch, None);
            assert_eq!(tables.config(AppId(7))?, [("KEY".parse()?, vec![1, 2])]);
            let overrides: Vec<_> =
                tables.overrides(AppId(7))?.into_iter().map(|set| (set.scope, set.property, set.value)).collect();
            let of = |process: ProcessType| Scope::Process(process);
            let expected = [
                (Scope::App, &property::MEMORY, "64m".to_owned()),
                (of(ProcessType::web()), &property::CHECK_TRY_TIMEOUT, "3s".to_owned()),
                (of("worker".parse()?), &property::MEMORY, "1g".to_owned()),
            ];
            assert_eq!(overrides, expected);
            assert!(tables.properties(Some(AppId(7)))?.iter().all(|row| row.actor.is_none() && row.set_at.is_none()));
            let release = tables.find_release(AppId(7), crate::model::ReleaseVersion(1))?;
            let overrides: Vec<_> = release.into_iter().flat_map(|release| release.overrides).collect();
            assert_eq!(overrides[0].property, &property::CHECK_PATH);
            assert_eq!((&overrides[1].scope, overrides[1].property), (&Scope::App, &property::STOP_TIMEOUT));
            Ok(())
        })
    }
}
