use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use tracing::info;

use super::{INSTANCE, TABLES, WRITTEN_BY, backup, database};
use crate::{Error, Result, clock, error::StoreError, files};

/// The migrations, in order: number N brings the database to `user_version` N. Never change one that was released.
const MIGRATIONS: [&str; 18] = [
    include_str!("migrations/001_first.sql"),
    include_str!("migrations/002_callers.sql"),
    include_str!("migrations/003_operations.sql"),
    include_str!("migrations/004_jobs.sql"),
    include_str!("migrations/005_properties.sql"),
    include_str!("migrations/006_sealed.sql"),
    include_str!("migrations/007_given_variables.sql"),
    include_str!("migrations/008_formation.sql"),
    include_str!("migrations/009_domains.sql"),
    include_str!("migrations/010_certificates.sql"),
    include_str!("migrations/011_redirects.sql"),
    include_str!("migrations/012_maintenance.sql"),
    include_str!("migrations/013_pauses.sql"),
    include_str!("migrations/014_ports.sql"),
    include_str!("migrations/015_runs.sql"),
    include_str!("migrations/016_cron.sql"),
    include_str!("migrations/017_rules.sql"),
    include_str!("migrations/018_routes.sql"),
];

/// How many databases of before a migration are kept.
const BACKUPS_KEPT: usize = 3;

/// The version that this binary brings a database to.
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// What a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has no table.
    Empty,
    /// It is of a paas, of this version.
    Ours(i64),
    /// It is of another program.
    Other,
}

/// What a database is.
///
/// # Errors
/// [`Error::Store`].
pub(super) fn standing(connection: &Connection) -> Result<Standing> {
    let (tables, has_meta): (u32, bool) = connection
        .query_row(
            "SELECT count(*), coalesce(max(name = 'meta' AND sql LIKE '%name%' AND sql LIKE '%value%'), 0) FROM sqlite_master",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(database("be read"))?;
    let mut version = version(connection)?;
    if tables == 0 && version == 0 {
        return Ok(Standing::Empty);
    }
    if !has_meta {
        return Ok(Standing::Other);
    }
    let fact = |name: &str| {
        let found = connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional();
        found.map_err(database("be read"))
    };
    if version == 0 {
        version = fact(TABLES)?.and_then(|text: String| text.parse().ok()).unwrap_or(0);
    }
    let is_ours = version > 0 && fact(INSTANCE)?.is_some();
    Ok(if is_ours { Standing::Ours(version) } else { Standing::Other })
}

/// Refuses a database of a version that this binary does not know.
///
/// # Errors
/// `StoreError::TooNew`.
pub(super) fn require_at_most(connection: &Connection, path: &Path, found: i64) -> Result<()> {
    if found <= KNOWN {
        return Ok(());
    }
    let by = connection.query_row("SELECT value FROM meta WHERE name = ?1", [WRITTEN_BY], |row| row.get(0));
    let by = by.optional().map_err(database("be read"))?;
    Err(Error::Store(StoreError::TooNew { path: path.to_owned(), found, known: KNOWN, by }))
}

/// Refuses a database that is not of this binary's version.
///
/// # Errors
/// `StoreError::TooNew`, `StoreError::NotOurs`, `StoreError::Missing` for an empty one; [`Error::Store`].
pub(super) fn require_known(connection: &Connection, path: &Path) -> Result<()> {
    match standing(connection)? {
        Standing::Ours(KNOWN) => Ok(()),
        Standing::Ours(found) if found > KNOWN => require_at_most(connection, path, found),
        Standing::Ours(found) => {
            Err(Error::bug(format!("the database is of version {found}, which nobody has brought to {KNOWN} yet")))
        }
        Standing::Empty => Err(StoreError::Missing { path: path.to_owned() }.into()),
        Standing::Other => Err(StoreError::NotOurs { path: path.to_owned() }.into()),
    }
}

/// Brings the database at `path` to the newest version, and saves it before that if there is something in it.
///
/// # Errors
/// `StoreError::TooNew`, `StoreError::NotOurs`; [`Error::Store`].
pub(super) fn run(connection: &mut Connection, path: &Path) -> Result<()> {
    if standing(connection)? == Standing::Ours(KNOWN) {
        return match version(connection)? {
            KNOWN => Ok(()),
            // It was saved from damage.
            _ => connection.pragma_update(None, "user_version", KNOWN).map_err(database("be written")),
        };
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database("be migrated"))?;
    // Read again: another process may have migrated while this one waited.
    let found = match standing(&transaction)? {
        Standing::Empty => 0,
        Standing::Ours(found) => found,
        Standing::Other => return Err(StoreError::NotOurs { path: path.to_owned() }.into()),
    };
    require_at_most(&transaction, path, found)?;
    if found == KNOWN {
        return Ok(());
    }
    if found > 0 {
        save(path, found)?;
    }
    for migration in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(migration).map_err(database("be migrated"))?;
    }
    if found == 0 {
        transaction
            .execute("INSERT INTO meta (name, value) VALUES (?1, lower(hex(randomblob(4))))", [INSTANCE])
            .map_err(database("be migrated"))?;
    }
    for (fact, value) in [(WRITTEN_BY, env!("CARGO_PKG_VERSION").to_owned()), (TABLES, KNOWN.to_string())] {
        transaction
            .execute(
                "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [fact, &value],
            )
            .map_err(database("be migrated"))?;
    }
    transaction.pragma_update(None, "user_version", KNOWN).map_err(database("be migrated"))?;
    transaction.commit().map_err(database("be migrated"))
}

pub(super) fn version(connection: &Connection) -> Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get("user_version")).map_err(database("be read"))
}

/// Copies the database, of version `found`, to `backups/paas-VERSION-TIME.db` beside it, and removes the oldest copies.
/// Only for who holds up all others who would write.
fn save(path: &Path, found: i64) -> Result<()> {
    let directory = path.with_file_name("backups");
    let action = || format!("save the database in {}", directory.display());
    files::make_private_directory(&directory)?;
    let time = clock::rfc3339(clock::now()).replace([':', '-'], "");
    let copy = directory.join(format!("paas-{found}-{time}.db"));
    let draft = files::draft(&copy);
    files::remove_if_there(&draft)?;
    files::make_private_file(&draft)?;
    // A connection that is about to write cannot be copied from; one that reads can, meanwhile.
    let source = Connection::open(path).map_err(database("be saved"))?;
    let mut target = Connection::open(&draft).map_err(database("be saved"))?;
    backup::copy(&source, &mut target)?;
    target.close().map_err(|(_, error)| database("be saved")(error))?;
    std::fs::rename(&draft, &copy)
        .and_then(|()| std::fs::File::open(&directory)?.sync_all())
        .map_err(Error::io(action()))?;
    info!("upgrading the database from version {found} to {KNOWN}; a copy of the old one is in {}", copy.display());
    for old in oldest(files::entries(&directory)?) {
        files::remove_if_there(&old)?;
    }
    Ok(())
}

/// The copies that are too many, by the times in their names.
fn oldest(found: Vec<PathBuf>) -> Vec<PathBuf> {
    let time = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix("paas-")?.strip_suffix(".db")?;
        name.split_once('-').map(|(_, time)| time.to_owned())
    };
    let mut copies: Vec<(String, PathBuf)> =
        found.into_iter().filter_map(|path| time(&path).map(|time| (time, path))).collect();
    copies.sort();
    let too_many = copies.len().saturating_sub(BACKUPS_KEPT);
    copies.into_iter().take(too_many).map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{AppId, ProcessSettings, ProcessType, Scope, property},
        store::Store,
    };

    /// A database as the first version left it.
    fn first_version(path: &Path) {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.execute("INSERT INTO meta (name, value) VALUES ('instance', '0a1b2c3d')", []).unwrap();
        connection.execute("INSERT INTO apps (name, state, created_at) VALUES ('blog', 'running', 1)", []).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
    }

    #[test]
    fn a_migration_keeps_what_is_there_and_saves_the_database_of_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("paas.db");
        let backups = directory.path().join("backups");
        std::fs::create_dir(&backups).unwrap();
        for old in ["paas-1-20240101T000000Z.db", "paas-0-20250101T000000Z.db", "paas-0-20260101T000000Z.db"] {
            std::fs::write(backups.join(old), "").unwrap();
        }
        std::fs::write(backups.join("notes.txt"), "somebody else's").unwrap();
        first_version(&path);

        let mut store = Store::open(&path).unwrap();
        let (id, apps) = store.read(|tables| Ok((tables.instance_id()?, tables.apps()?))).unwrap();
        assert_eq!((id.as_str(), apps.len()), ("0a1b2c3d", 1));
        drop(Store::open(&path).unwrap());

        let mut names: Vec<String> = files::entries(&backups)
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        let saved = names.iter().find(|name| name.starts_with("paas-1-")).unwrap().clone();
        assert_eq!(
            names,
            ["notes.txt", "paas-0-20250101T000000Z.db", "paas-0-20260101T000000Z.db", &saved],
            "the oldest went, and what is not ours stayed"
        );
        let copy = Connection::open(backups.join(&saved)).unwrap();
        assert_eq!(version(&copy).unwrap(), 1);
        let name: String = copy.query_row("SELECT name FROM apps", [], |row| row.get("name")).unwrap();
        assert_eq!(name, "blog");
    }

    #[test]
    fn a_new_database_is_not_saved_and_one_of_a_newer_paas_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("paas.db");
        drop(Store::open(&path).unwrap());
        assert!(!directory.path().join("backups").exists());

        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", KNOWN + 1).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::TooNew { found, .. }) if found == KNOWN + 1), "{error}");
        assert_eq!(version(&connection).unwrap(), KNOWN + 1);
    }

    #[test]
    fn jobs_and_containers_of_before_crons_are_as_they_were() {
        let connection = Connection::open_in_memory().unwrap();
        for migration in &MIGRATIONS[..13] {
            connection.execute_batch(migration).unwrap();
        }
        connection
            .execute_batch(
                "INSERT INTO apps (id, name, state, created_at) VALUES (7, 'blog', 'running', 1);
                 INSERT INTO releases (id, app_id, version, status, image, sealed_config, processes, overrides, port,
                                       reason, actor, created_at)
                 VALUES (5, 7, 1, 'good', 'sha256:0', x'00', '[]', '[]', 5000, 'test', 'daemon', 1);
                 INSERT INTO containers (id, app_id, release_id, deployment_id, process, position, name, address, port,
                                         state, restart, stop_timeout, drain_timeout, failing, created_at)
                 VALUES (3, 7, 5, 2, 'web', 1, 'c', '10.0.0.2', 5000, 'live', 'always', 10, 30, 'slow', 4);
                 INSERT INTO jobs (id, name, subject, due_at, state, attempt, outcome)
                 VALUES (8, 'checkpoint', '', 100, 'interrupted', 2, 'cut'), (9, 'checkpoint', '', 200, 'waiting', 1, NULL);
                 UPDATE sqlite_sequence SET seq = 40 WHERE name IN ('jobs', 'containers');",
            )
            .unwrap();
        connection.execute_batch(include_str!("migrations/016_cron.sql")).unwrap();
        let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(
            text("SELECT group_concat(concat_ws(' ', id, name, due_at, state, attempt, outcome), '; ') FROM jobs"),
            "8 checkpoint 100 interrupted 2 cut; 9 checkpoint 200 waiting 1"
        );
        assert_eq!(
            text(
                "SELECT concat_ws(' ', id, release_id, name, state, healthy, failing, restart, created_at) FROM containers"
            ),
            "3 5 c live 1 slow always 4"
        );
        assert_eq!(text("SELECT crons FROM releases"), "[]");
        // No number is used twice.
        let sequences = "SELECT group_concat(seq) FROM sqlite_sequence WHERE name IN ('jobs', 'containers')";
        assert_eq!(text(sequences), "40,40");
    }

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
            assert_eq!(tables.config(Some(AppId(7)))?, [("KEY".parse()?, vec![1, 2])]);
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

    #[test]
    fn an_app_that_was_deployed_keeps_the_numbers_that_it_runs() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("db");
        let old = Connection::open(&path).map_err(database("be opened"))?;
        let run =
            serde_json::to_string(&ProcessSettings::default().resolve(&"worker".parse()?)?).map_err(Error::bug)?;
        let spec = |process: &str, quantity: &str| {
            format!(
                r#"{{"process":"{process}","command":"a \"b\" 'c'","quantity":{quantity},"declared":{{}},"run":{run}}}"#
            )
        };
        let releases = [
            (1, "good", vec![spec("web", "null"), spec("clock", "null"), spec("gone", "null"), spec("task", "null")]),
            (2, "good", vec![spec("web", "null"), spec("clock", "2"), spec("task", "null"), spec("worker", "null")]),
            (3, "failed", vec![spec("never", "null")]),
        ];
        for migration in &MIGRATIONS[..5] {
            old.execute_batch(migration).map_err(database("be migrated"))?;
        }
        old.execute_batch(
            "PRAGMA user_version = 5;
            INSERT INTO meta VALUES ('instance', '0a1b2c3d');
            INSERT INTO apps (id, name, state, last_version, created_at)
            VALUES (7, 'blog', 'running', 3, 1), (8, 'shop', 'new', 0, 1);
            INSERT INTO formation VALUES (7, 'task', 0);",
        )
        .map_err(database("be migrated"))?;
        for (version, status, processes) in releases {
            old.execute(
                "INSERT INTO releases (app_id, version, status, image, sealed_config, processes, overrides, port, reason,
                                       actor, created_at)
                 VALUES (7, ?1, ?2, 'sha256:1', x'03', ?3, '[]', 5000, 'push', 'key:ann', 1)",
                rusqlite::params![version, status, format!("[{}]", processes.join(","))],
            )
            .map_err(database("be migrated"))?;
        }
        drop(old);

        let mut store = Store::open(&path)?;
        store.read(|tables| {
            let scaled = tables.formation(AppId(7))?;
            let words: Vec<String> = scaled.iter().map(|(process, count)| format!("{process}={count}")).collect();
            assert_eq!(words, ["gone=1", "task=0", "worker=1"], "a number in the source stays the source's");
            assert!(tables.formation(AppId(8))?.is_empty());
            let counts = |version| -> Result<Vec<String>> {
                let release = tables.find_release(AppId(7), crate::model::ReleaseVersion(version))?;
                let specs = release.into_iter().flat_map(|release| release.processes);
                Ok(specs
                    .inspect(|spec| assert_eq!(spec.command.as_deref(), Some("a \"b\" 'c'")))
                    .map(|spec| format!("{}={}", spec.process, spec.count(&scaled)))
                    .collect())
            };
            assert_eq!(counts(1)?, ["web=1", "clock=1", "gone=1", "task=0"]);
            assert_eq!(counts(2)?, ["web=1", "clock=2", "task=0", "worker=1"]);
            Ok(())
        })
    }
}
