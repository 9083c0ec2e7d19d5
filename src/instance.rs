//! What every action needs, in one value made once: the settings, the database and the secrets.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    Error, Result,
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
