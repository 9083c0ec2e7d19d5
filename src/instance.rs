//! What every action needs, in one value made once: the settings, the database and the secrets.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    Error, Result,
    model::{
        AppId, BuildCaps, Override, Property, Scope,
        property::{self, Default, Value},
    },
    secrets::Secrets,
    settings::Settings,
    store::{Store, Tables},
};

/// An instance, opened by one process.
#[derive(Debug)]
pub struct Instance {
    /// Its settings.
    pub settings: Settings,
    /// Its id, eight hexadecimal digits: the label of its containers, images and networks.
    pub id: String,
    /// What seals and opens secrets.
    pub secrets: Secrets,
    store: Mutex<Store>,
}

impl Instance {
    /// Opens the instance that the settings name, and makes it where there is none.
    ///
    /// # Errors
    /// [`Error::Io`] where its root cannot be made, [`Error::Database`], [`Error::Unseal`].
    pub fn open(settings: Settings) -> Result<Instance> {
        let paths = &settings.paths;
        for directory in [
            paths.root().to_owned(),
            paths.repositories(),
            paths.hooks(),
            paths.root().join("apps"),
            paths.root().join("locks"),
            paths.caddy(),
        ] {
            if !directory.is_dir() {
                make_private(&directory)?;
            }
        }
        let mut store = Store::open(&paths.database())?;
        let id = store.read(|tables| tables.instance_id())?;
        let secrets = Secrets::open(&paths.secret_key())?;
        Ok(Instance { settings, id, secrets, store: Mutex::new(store) })
    }

    /// Reads the database, from one snapshot.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::Store`].
    pub fn read<T>(&self, work: impl FnOnce(&Tables<'_>) -> Result<T>) -> Result<T> {
        self.store().read(work)
    }

    /// Reads and writes the database in one transaction.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::Store`].
    pub fn write<T>(&self, work: impl FnOnce(&Tables<'_>) -> Result<T>) -> Result<T> {
        self.store().write(work)
    }

    /// The value of a property that is no process type's: the one that is set for the app, else the one that the
    /// settings file or a variable gives, else the one for all apps, else the default; none where that depends.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Invalid`] where what is stored is none.
    pub fn value(&self, property: &'static Property, app_id: Option<AppId>) -> Result<Option<Value>> {
        let rows: Vec<Override> =
            self.read(|tables| tables.properties(app_id))?.into_iter().map(|row| row.set).collect();
        let set = property::nearest(&rows, property, None);
        let given = self.settings.given(property.name).filter(|_| set.is_none_or(|set| set.scope == Scope::Global));
        let default = match property.default {
            Default::Is(value) => Some(value),
            Default::Depends(_) => None,
        };
        let text = given.map(|given| given.value.as_str()).or(set.map(|set| set.value.as_str())).or(default);
        Ok(text.map(|text| property.value(text)).transpose()?)
    }

    /// The value of a property that is a number; none where none is set and there is no default.
    ///
    /// # Errors
    /// As [`Instance::value`].
    pub fn maybe_number(&self, property: &'static Property, app_id: Option<AppId>) -> Result<Option<u64>> {
        match self.value(property, app_id)? {
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(Value::Switch(_) | Value::Text(_)) => Err(Error::bug(format!("{property} is no number"))),
            None => Ok(None),
        }
    }

    /// The value of a property that is a number and has a default.
    ///
    /// # Errors
    /// As [`Instance::value`].
    pub fn number(&self, property: &'static Property, app_id: Option<AppId>) -> Result<u64> {
        self.maybe_number(property, app_id)?.ok_or_else(|| Error::bug(format!("{property} has no default")))
    }

    /// Whether a property of the server that is yes or no is yes.
    ///
    /// # Errors
    /// As [`Instance::value`].
    pub fn is_on(&self, property: &'static Property) -> Result<bool> {
        Ok(self.value(property, None)? == Some(Value::Switch(true)))
    }

    /// The locks of those who build: as many as may do it at a time.
    ///
    /// # Errors
    /// As [`Instance::value`].
    pub fn build_locks(&self) -> Result<Vec<std::path::PathBuf>> {
        let builds = self.number(&property::BUILD_CONCURRENCY, None)?;
        Ok(self.settings.paths.build_locks(u16::try_from(builds).unwrap_or(1)))
    }

    /// What builds may take of the machine.
    ///
    /// # Errors
    /// As [`Instance::value`].
    pub fn build_caps(&self) -> Result<BuildCaps> {
        let memory = self.maybe_number(&property::BUILD_MEMORY_MB, None)?;
        let cpus = self.maybe_number(&property::BUILD_CPUS, None)?;
        Ok(BuildCaps {
            memory: memory.map(|megabytes| megabytes * 1_000_000),
            cpus: cpus.map(|millis| millis as f64 / 1000.0),
        })
    }

    /// Whether a daemon looks after this instance; where that cannot be told, none does.
    pub fn daemon_runs(&self) -> bool {
        matches!(crate::lock::holder(&self.settings.paths.daemon_lock()), Ok(Some(_)))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // A panic inside a transaction rolls it back, so the store is whole after one.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a directory, and those above it, that only its owner may enter.
fn make_private(path: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::io(format!("make the directory {}", path.display())))
}
