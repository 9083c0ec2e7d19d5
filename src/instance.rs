//! What every action needs, in one value made once: the settings, the database and the secrets.

use std::{
    cell::Cell,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

use crate::{
    Error, Result, clock,
    error::HostError,
    files,
    model::{
        Actor, AppId, BuildCaps, Config, ConfigMap, EnvKey, Override, Property, Scope,
        property::{self, Value},
    },
    secrets::Secrets,
    settings::{Paths, Settings},
    store::{Store, Tables},
};

/// How many repositories are named that were found without a database.
const NAMED: usize = 5;

/// An instance, opened by one process.
#[derive(Debug)]
pub struct Instance {
    /// Its settings.
    pub settings: Settings,
    /// Its id, eight hexadecimal digits: the label of its containers, images and networks.
    pub id: String,
    /// What seals and opens secrets.
    pub secrets: Secrets,
    store: Arc<Mutex<Store>>,
    pool: Option<Pool>,
}

/// The daemon's connections. What reads has one of its own, because what writes may have to wait for another process.
#[derive(Debug)]
struct Pool {
    reader: Connection,
    writer: Connection,
}

/// A connection to the database that is used on the blocking pool, by one at a time: what waits for its turn holds no
/// thread of the pool.
#[derive(Clone, Debug)]
struct Connection {
    store: Arc<Mutex<Store>>,
    turn: Arc<Semaphore>,
}

impl Connection {
    fn new(store: Arc<Mutex<Store>>) -> Connection {
        Connection { store, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Does work with the connection. Work that has begun is done to its end, also if nobody waits for it any more.
    async fn use_on_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(Error::bug)?;
        let store = Arc::clone(&self.store);
        on_pool(move || {
            let _turn = turn;
            work(&mut locked(&store))
        })
        .await?
    }
}

thread_local! {
    /// Whether this thread is one of the blocking pool's, where the database may be waited for.
    static ON_POOL: Cell<bool> = const { Cell::new(false) };
}

/// Does work that waits, beside the threads that serve: there, the daemon's instance can be read and written in place.
///
/// # Errors
/// [`Error::Bug`] if the work panics.
pub async fn on_pool<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let marked = || {
        ON_POOL.set(true);
        let result = work();
        ON_POOL.set(false);
        result
    };
    tokio::task::spawn_blocking(marked).await.map_err(Error::bug)
}

impl Instance {
    /// Opens the instance that the settings name, and makes it where there is none.
    ///
    /// # Errors
    /// [`Error::Host`] where its root cannot be made; `HostError::FormerInstance` where an instance was there whose database
    /// is missing, or is another's; [`Error::Store`].
    pub fn open(settings: Settings) -> Result<Instance> {
        let paths = &settings.paths;
        make_directories(paths)?;
        let mut store = Store::open_or_begin(&paths.database(), || refuse_to_begin_beside_former(paths))?;
        let id = store.read(|tables| tables.instance_id())?;
        remember_id(paths, &id)?;
        let secrets = Secrets::open(&paths.secret_key(), &mut store)?;
        let mut store = store.with_secrets(secrets.clone());
        store.seal_what_was_clear()?;
        Ok(Instance { settings, id, secrets, store: Arc::new(Mutex::new(store)), pool: None })
    }

    /// Opens an instance that begins anew, where the one that was there has lost its database: what it left is moved into
    /// a directory of its own, which is returned, if there was anything.
    ///
    /// # Errors
    /// `HostError::InstanceThere` where all is well with the one that is there; what has nothing to do with its database.
    pub fn begin(settings: Settings) -> Result<(Instance, Option<PathBuf>)> {
        let refused = match Instance::open(settings.clone()) {
            Ok(instance) if instance.read(|tables| tables.apps())?.is_empty() => return Ok((instance, None)),
            Ok(_) => return Err(Error::Host(HostError::InstanceThere { root: settings.paths.root().to_owned() })),
            Err(error) => error,
        };
        if !refused.is_lost_database() {
            return Err(refused);
        }
        let root = settings.paths.root();
        let time = clock::rfc3339(clock::now()).replace([':', '-'], "");
        let former = root.join(format!("former-{time}"));
        files::make_private_directory(&former)?;
        // The key last: with it a start that was killed in between is refused again.
        let names = ["paas.db-wal", "paas.db-shm", "paas.db", "repos", "apps", "operations", "backups", "instance"];
        for name in names.into_iter().chain(["secret.key"]) {
            match std::fs::rename(root.join(name), former.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("move {name} to {}", former.display()))(error));
                }
                _ => {}
            }
        }
        Ok((Instance::open(settings)?, Some(former)))
    }

    /// Makes it the daemon's, whose async threads never wait for the database: [`Instance::reading`] and
    /// [`Instance::writing`] do their work on the blocking pool, and [`Instance::read`] and [`Instance::write`] are
    /// for [`on_pool`] only.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn for_daemon(self) -> Result<Instance> {
        let reader = Store::reopen(&self.settings.paths.database())?.with_secrets(self.secrets.clone());
        let reader = Arc::new(Mutex::new(reader));
        let pool = Pool { reader: Connection::new(reader), writer: Connection::new(Arc::clone(&self.store)) };
        Ok(Instance { pool: Some(pool), ..self })
    }

    /// Reads the database, from one snapshot. It may have to wait.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::Store`].
    pub fn read<T>(&self, work: impl FnOnce(&Tables<'_>) -> Result<T>) -> Result<T> {
        self.check_thread();
        match &self.pool {
            None => locked(&self.store).read(work),
            Some(pool) => locked(&pool.reader.store).read(work),
        }
    }

    /// Reads and writes the database in one transaction. It may have to wait for other processes.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::Store`].
    pub fn write<T>(&self, work: impl FnOnce(&Tables<'_>) -> Result<T>) -> Result<T> {
        self.check_thread();
        locked(&self.store).write(work)
    }

    /// [`Instance::read`] for code that the daemon runs: there on the blocking pool.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::Store`].
    pub async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tables<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match &self.pool {
            Some(pool) if !ON_POOL.get() => pool.reader.use_on_pool(|store| store.read(work)).await,
            _ => self.read(work),
        }
    }

    /// [`Instance::write`] for code that the daemon runs: there on the blocking pool. A command writes in place, so
    /// that nothing of it is written after it was stopped.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::Store`].
    pub async fn writing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tables<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match &self.pool {
            Some(pool) if !ON_POOL.get() => pool.writer.use_on_pool(|store| store.write(work)).await,
            _ => self.write(work),
        }
    }

    /// An app's config in clear, as it is set now.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn config(&self, app_id: AppId) -> Result<Config> {
        self.read(|tables| {
            Ok(Config { global: self.config_in(tables, None)?, own: self.config_in(tables, Some(app_id))? })
        })
    }

    /// What is set for an app itself, or for all apps, in clear.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn config_in(&self, tables: &Tables<'_>, app_id: Option<AppId>) -> Result<ConfigMap> {
        let unsealed = tables.config(app_id)?.into_iter().map(|(key, sealed)| {
            let clear = String::from_utf8(self.secrets.unseal(&sealed)?).map_err(Error::bug)?;
            Ok((key, clear))
        });
        unsealed.collect()
    }

    /// Writes edits of the config of an app, or of all apps, each value sealed.
    ///
    /// # Errors
    /// `StoreError::Sealed` if the key is not there; [`Error::Store`].
    pub fn write_config(
        &self,
        tables: &Tables<'_>,
        app_id: Option<AppId>,
        edits: &[(EnvKey, Option<String>)],
        actor: &Actor,
    ) -> Result<()> {
        for (key, value) in edits {
            let sealed = value.as_ref().map(|value| self.secrets.seal(tables, value.as_bytes())).transpose()?;
            tables.set_config(app_id, key, sealed.as_deref(), actor)?;
        }
        Ok(())
    }

    /// The value of a property that is a number and has a default.
    ///
    /// # Errors
    /// As [`value_of`].
    pub fn number(&self, property: &'static Property, app_id: Option<AppId>) -> Result<u64> {
        self.read(|tables| number_of(&self.settings, tables, property, app_id))
    }

    /// The value of a property of the server that is a number; none where none is set and there is no default.
    ///
    /// # Errors
    /// As [`value_of`].
    pub fn maybe_number(&self, property: &'static Property) -> Result<Option<u64>> {
        self.read(|tables| maybe_number_of(&self.settings, tables, property, None))
    }

    /// Whether a property of the server that is yes or no is yes.
    ///
    /// # Errors
    /// As [`value_of`].
    pub fn is_on(&self, property: &'static Property) -> Result<bool> {
        Ok(self.read(|tables| value_of(&self.settings, tables, property, None))? == Some(Value::Switch(true)))
    }

    /// The locks of those who build: as many as may do it at a time.
    ///
    /// # Errors
    /// As [`value_of`].
    pub fn build_locks(&self) -> Result<Vec<PathBuf>> {
        let builds = self.number(&property::BUILD_CONCURRENCY, None)?;
        Ok(self.settings.paths.build_locks(u16::try_from(builds).unwrap_or(1)))
    }

    /// What builds may take of the machine.
    ///
    /// # Errors
    /// As [`value_of`].
    pub fn build_caps(&self) -> Result<BuildCaps> {
        let memory = self.maybe_number(&property::BUILD_MEMORY_MB)?;
        let cpus = self.maybe_number(&property::BUILD_CPUS)?;
        Ok(BuildCaps {
            memory: memory.map(|megabytes| megabytes * 1_000_000),
            cpus: cpus.map(|millis| millis as f64 / 1000.0),
        })
    }

    /// Whether a daemon looks after this instance; where that cannot be told, none does.
    pub fn daemon_runs(&self) -> bool {
        matches!(crate::lock::holder(&self.settings.paths.daemon_lock()), Ok(Some(_)))
    }

    /// Fails, in a debug build, if this would keep the daemon from serving.
    fn check_thread(&self) {
        debug_assert!(
            self.pool.is_none() || ON_POOL.get(),
            "the daemon waits for its database on a thread that serves: use Instance::reading or Instance::writing"
        );
    }
}

/// Makes the directories of an instance that are missing. What is in the place of one is moved aside, but for those that
/// only a backup has again.
///
/// # Errors
/// [`Error::Host`].
pub fn make_directories(paths: &Paths) -> Result<()> {
    for kept in [paths.root().to_owned(), paths.repositories(), paths.root().join("apps")] {
        files::make_kept_directory(&kept)?;
    }
    for ours in [paths.hooks(), paths.root().join("locks"), paths.caddy()] {
        files::make_private_directory(&ours)?;
    }
    // Only where the daemon was told to have one.
    if std::fs::symlink_metadata(paths.temporary()).is_ok() {
        files::make_private_directory(&paths.temporary())?;
    }
    Ok(())
}

/// Refuses to begin where an instance was: its database is made before all else, so what there is without one is left of
/// an instance that has lost it.
fn refuse_to_begin_beside_former(paths: &Paths) -> Result<()> {
    let names = |directory: &std::path::Path| -> Result<Vec<String>> {
        let names = files::entries(directory)?.into_iter();
        let mut names: Vec<_> =
            names.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
        names.sort();
        Ok(names)
    };
    let mut found = Vec::new();
    if std::fs::symlink_metadata(paths.secret_key()).is_ok() {
        found.push("a secret.key".to_owned());
    }
    for (what, directory) in [("repositories", paths.repositories()), ("files of apps", paths.root().join("apps"))] {
        let names = names(&directory)?;
        if !names.is_empty() {
            let more = if names.len() > NAMED { ", ..." } else { "" };
            found.push(format!("{what} ({}{more})", names[..names.len().min(NAMED)].join(", ")));
        }
    }
    if let Some(id) = known_id(paths)? {
        found.push(format!("the id ({id})"));
    }
    if found.is_empty() {
        return Ok(());
    }
    let missing = format!("{} is missing or empty", paths.database().display());
    Err(Error::Host(HostError::FormerInstance { root: paths.root().to_owned(), found: found.join(" and "), missing }))
}

/// The id of the instance that the root directory is of, as far as that is written there.
///
/// # Errors
/// [`Error::Host`].
pub fn known_id(paths: &Paths) -> Result<Option<String>> {
    let is_id = |text: &String| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(files::read_ours(&paths.instance_id())?.map(|text| text.trim().to_owned()).filter(is_id))
}

/// Writes the id of the instance down beside its database, and refuses the database of another one.
fn remember_id(paths: &Paths, id: &str) -> Result<()> {
    match known_id(paths)? {
        Some(known) if known == id => Ok(()),
        Some(known) => Err(Error::Host(HostError::FormerInstance {
            root: paths.root().to_owned(),
            found: format!("the id ({known})"),
            missing: format!(
                "{} is of the instance {id} (if it is meant to be here, `rm {}`)",
                paths.database().display(),
                paths.instance_id().display()
            ),
        })),
        None => files::write_whole(&paths.instance_id(), format!("{id}\n").as_bytes(), 0o600),
    }
}

/// The value of a property that is no process type's: the one that is set for the app, else the one that the settings
/// file or a variable gives, else the one for all apps, else the default; none where that depends.
///
/// # Errors
/// [`Error::Store`]; [`Error::Invalid`] where what is stored is none.
pub fn value_of(
    settings: &Settings,
    tables: &Tables<'_>,
    property: &'static Property,
    app_id: Option<AppId>,
) -> Result<Option<Value>> {
    let rows: Vec<Override> = tables.properties(app_id)?.into_iter().map(|row| row.set).collect();
    let set = property::nearest(&rows, property, None);
    let given = settings.given(property.name).filter(|_| set.is_none_or(|set| set.scope == Scope::Global));
    let default = match property.default {
        property::Default::Is(value) => Some(value),
        property::Default::Depends(_) => None,
    };
    let text = given.map(|given| given.value.as_str()).or(set.map(|set| set.value.as_str())).or(default);
    Ok(text.map(|text| property.value(text)).transpose()?)
}

/// [`value_of`] a property that is a number; none where none is set and there is no default.
///
/// # Errors
/// As [`value_of`].
pub fn maybe_number_of(
    settings: &Settings,
    tables: &Tables<'_>,
    property: &'static Property,
    app_id: Option<AppId>,
) -> Result<Option<u64>> {
    match value_of(settings, tables, property, app_id)? {
        Some(Value::Number(number)) => Ok(Some(number)),
        Some(Value::Switch(_) | Value::Text(_)) => Err(Error::bug(format!("{property} is not a number"))),
        None => Ok(None),
    }
}

/// [`value_of`] a property that is a number and has a default.
///
/// # Errors
/// As [`value_of`].
pub fn number_of(
    settings: &Settings,
    tables: &Tables<'_>,
    property: &'static Property,
    app_id: Option<AppId>,
) -> Result<u64> {
    maybe_number_of(settings, tables, property, app_id)?.ok_or_else(|| Error::bug(format!("{property} has no default")))
}

fn locked(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    // A panic inside a transaction rolls it back, so the store is whole after one.
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc};

    use super::*;
    use crate::error::StoreError;

    fn daemon(directory: &std::path::Path) -> Instance {
        let settings = Settings::of_text(&format!("root = {:?}", directory.join("root"))).unwrap();
        Instance::open(settings).unwrap().for_daemon().unwrap()
    }

    fn open(root: &std::path::Path) -> Result<Instance> {
        Instance::open(Settings::of_text(&format!("root = {root:?}"))?)
    }

    fn begin(root: &std::path::Path) -> Result<(Instance, Option<PathBuf>)> {
        Instance::begin(Settings::of_text(&format!("root = {root:?}"))?)
    }

    /// What says that an instance was here, each alone.
    #[test]
    fn where_an_instance_was_none_begins_anew_unless_that_is_asked_for() {
        let secret = |root: &std::path::Path| fs::write(root.join("secret.key"), "x").unwrap();
        let repository = |root: &std::path::Path| fs::create_dir_all(root.join("repos/blog.git")).unwrap();
        let app = |root: &std::path::Path| fs::create_dir_all(root.join("apps/blog/deploys")).unwrap();
        let id = |root: &std::path::Path| fs::write(root.join("instance"), "0a1b2c3d\n").unwrap();
        type Leave<'a> = &'a dyn Fn(&std::path::Path);
        let left: [(&str, Leave<'_>); 4] = [
            ("a secret.key", &secret),
            ("repositories (blog)", &repository),
            ("files of apps (blog)", &app),
            ("0a1b2c3d", &id),
        ];
        let nothing = |_: &std::path::Path| {};
        let empty = |root: &std::path::Path| fs::write(root.join("paas.db"), "").unwrap();
        let tables_gone = |root: &std::path::Path| {
            // As a copy of one file of a database whose log had all.
            let other = root.with_file_name("other");
            open(&other).unwrap();
            rusqlite_file_without_tables(&other.join("paas.db"));
            fs::copy(other.join("paas.db"), root.join("paas.db")).unwrap();
        };
        let databases: [Leave<'_>; 3] = [&nothing, &empty, &tables_gone];
        for (said, leave) in left {
            for database in databases {
                let directory = tempfile::tempdir().unwrap();
                let root = directory.path().join("root");
                fs::create_dir(&root).unwrap();
                leave(&root);
                database(&root);
                let before = fs::read(root.join("paas.db")).ok();
                let error = open(&root).unwrap_err();
                assert!(matches!(error, Error::Host(HostError::FormerInstance { .. })), "{said}: {error}");
                assert!(error.to_string().contains(said), "{said}: {error}");
                assert!(error.hint().is_some_and(|hint| hint.contains("restore-db FILE")), "{error}");
                assert_eq!(fs::read(root.join("paas.db")).ok(), before, "nothing is changed");
                let (instance, former) = begin(&root).unwrap();
                let former = former.unwrap();
                assert!(
                    ["secret.key", "repos/blog.git", "apps/blog", "instance"]
                        .iter()
                        .any(|name| former.join(name).exists())
                );
                assert_eq!(open(&root).unwrap().id, instance.id);
            }
        }
    }

    fn rusqlite_file_without_tables(path: &std::path::Path) {
        let bytes = std::process::Command::new("sqlite3").arg(path.with_extension("empty")).arg("VACUUM").output();
        assert!(bytes.is_ok_and(|output| output.status.success()), "sqlite3 is needed");
        fs::rename(path.with_extension("empty"), path).unwrap();
    }

    #[test]
    fn a_database_of_another_instance_is_refused_and_a_spoilt_id_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        let (first, second) = (open(&one).unwrap().id, open(&two).unwrap().id);
        for spoilt in ["", "\0\0\0", "nonsense"] {
            fs::write(one.join("instance"), spoilt).unwrap();
            open(&one).unwrap();
            assert_eq!(fs::read_to_string(one.join("instance")).unwrap(), format!("{first}\n"));
        }
        fs::copy(two.join("paas.db"), one.join("paas.db")).unwrap();
        let error = open(&one).unwrap_err();
        assert!(error.to_string().contains(&first) && error.to_string().contains(&second), "{error}");
        // What the message says to type.
        fs::remove_file(one.join("instance")).unwrap();
        assert_eq!(open(&one).unwrap().id, second);
    }

    #[test]
    fn an_instance_that_is_well_does_not_begin_anew() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        assert!(begin(&root).unwrap().1.is_none(), "there was none");
        open(&root).unwrap().write(|tables| tables.create_app(&"blog".parse()?)).unwrap();
        assert!(matches!(begin(&root), Err(Error::Host(HostError::InstanceThere { .. }))));
        // Damage of which there may be a backup is said, and begins anew only where that is asked for.
        for (bytes, is_expected) in [
            (&b"this is no database, and longer than a header of one, which has a hundred bytes, each of them of some meaning"[..], true),
        ] {
            for suffix in ["-wal", "-shm"] {
                let _ = fs::remove_file(root.join(format!("paas.db{suffix}")));
            }
            fs::write(root.join("paas.db"), bytes).unwrap();
            assert_eq!(matches!(open(&root), Err(Error::Store(StoreError::Failed { .. }))), is_expected);
        }
        let (instance, former) = begin(&root).unwrap();
        assert!(instance.read(|tables| tables.apps()).unwrap().is_empty());
        assert!(former.unwrap().join("paas.db").exists());
    }

    /// The runtime has one thread: if anything waited on it, nothing else would go on.
    #[tokio::test]
    async fn the_daemon_goes_on_and_reads_while_another_process_writes() {
        let directory = tempfile::tempdir().unwrap();
        let instance = daemon(directory.path());
        let path = instance.settings.paths.database();
        let (begun, has_begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            Store::reopen(&path).unwrap().write(|_| {
                begun.send(()).unwrap();
                let _ = released.recv();
                Ok(())
            })
        });
        has_begun.recv().unwrap();
        let write = |name: &'static str| instance.writing(move |tables| tables.set_meta(name, "written"));
        let mut writes = std::pin::pin!(async { tokio::join!(write("a"), write("b")) });
        for _ in 0..20 {
            tokio::select! {
                biased;
                _ = &mut writes => panic!("nobody else can write now"),
                read = instance.reading(|tables| tables.meta("a")) => assert_eq!(read.unwrap(), None),
            }
        }
        release.send(()).unwrap();
        let (first, second) = writes.await;
        first.and(second).unwrap();
        assert_eq!(instance.reading(|tables| tables.meta("b")).await.unwrap().as_deref(), Some("written"));
        other.join().unwrap().unwrap();
    }

    #[tokio::test]
    #[should_panic(expected = "on a thread that serves")]
    async fn the_daemon_does_not_wait_for_the_database_on_its_own_threads() {
        let directory = tempfile::tempdir().unwrap();
        let _ = daemon(directory.path()).read(|tables| tables.instance_id());
    }

    #[tokio::test]
    async fn work_on_the_pool_reads_and_writes_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let instance = Arc::new(daemon(directory.path()));
        let there = Arc::clone(&instance);
        let work = move || {
            there.write(|tables| tables.set_meta("a", "1"))?;
            there.read(|tables| tables.meta("a"))
        };
        assert_eq!(on_pool(work).await.unwrap().unwrap().as_deref(), Some("1"));
    }
}
