//! Secrets at rest: sealed with age (<https://age-encryption.org/v1>) to an identity that only the owner may read.

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use age::{secrecy::ExposeSecret, x25519::Identity};

use crate::{Error, Result, error::StoreError, files, model::ConfigMap, settings, store::Tables};

/// Under which name the database keeps the public half of the identity that everything in it is sealed to.
const SEALED_TO: &str = "sealed_to";

/// Makes up a secret: 64 hexadecimal digits from the kernel's random numbers.
///
/// # Errors
/// [`Error::Host`].
pub fn made_up() -> Result<String> {
    let mut bytes = [0_u8; 32];
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    match filled.map_err(|error| Error::io("get random numbers")(error.into()))? {
        filled if filled == bytes.len() => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        filled => Err(Error::bug(format!("{filled} random bytes"))),
    }
}

/// The instance's identity, which seals and opens. The database says which one seals; the file may hold the next one
/// beside it while it is rotated, and this value keeps those that it knew, so that nothing read before is lost on it.
#[derive(Clone)]
pub struct Secrets {
    path: PathBuf,
    identities: Arc<Mutex<Vec<Identity>>>,
}

impl Secrets {
    /// Reads the identities at `path`; makes one, readable by its owner alone, where there is none.
    ///
    /// # Errors
    /// [`Error::Host`]; `StoreError::Sealed` where the file holds no identity.
    pub fn open(path: &Path) -> Result<Secrets> {
        loop {
            if let Some(text) = files::read_optional(path)? {
                let identities = Arc::new(Mutex::new(parse(path, &text)?));
                return Ok(Secrets { path: path.to_owned(), identities });
            }
            files::write_once(path, lines_of(&[&Identity::generate()]).as_bytes(), 0o600)?;
        }
    }

    /// Seals bytes to the identity that the database names. Within a transaction that writes, so that no rotation comes
    /// between this and the row.
    ///
    /// # Errors
    /// `StoreError::Sealed` where the file does not hold that identity; [`Error::Store`].
    pub fn seal(&self, tables: &Tables<'_>, clear: &[u8]) -> Result<Vec<u8>> {
        let to = match tables.meta(SEALED_TO)? {
            Some(to) => self.find(&to)?.to_public(),
            // Nothing was sealed yet, or 0.1.0 did it: there is one identity.
            None => {
                let identities = self.identities();
                let first = identities.first().ok_or_else(|| Error::bug("there is no identity"))?.to_public();
                tables.set_meta(SEALED_TO, &first.to_string())?;
                first
            }
        };
        age::encrypt(&to, clear).map_err(Error::bug)
    }

    /// Opens what [`Secrets::seal`] made.
    ///
    /// # Errors
    /// `StoreError::Sealed` where it was sealed to another identity or is damaged.
    pub fn unseal(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let opened = open_with(&self.identities(), sealed);
        // The identity may have been rotated since the file was read.
        if opened.is_err() && self.read_again()? { open_with(&self.identities(), sealed) } else { opened }
    }

    /// Puts a new identity in the place of the one that the database names, and seals everything anew. Whatever happens
    /// meanwhile, the file holds the identity that opens what the database holds: both, until [`Secrets::tidy`].
    ///
    /// Within a transaction that writes; it must be committed. Returns how many values were sealed.
    ///
    /// # Errors
    /// `StoreError::Sealed` where a value does not open; [`Error::Host`], [`Error::Store`].
    pub fn rotate(&self, tables: &Tables<'_>) -> Result<u64> {
        let former = match tables.meta(SEALED_TO)? {
            Some(to) => self.find(&to)?,
            None => self.identities().first().cloned().ok_or_else(|| Error::bug("there is no identity"))?,
        };
        let next = Identity::generate();
        self.replace(&[&former, &next])?;
        settings::die_at("rotate-both");
        let public = next.to_public();
        let count = tables.reseal(|sealed| age::encrypt(&public, &self.unseal(sealed)?).map_err(Error::bug))?;
        tables.set_meta(SEALED_TO, &public.to_string())?;
        settings::die_at("rotate-sealed");
        Ok(count)
    }

    /// Removes from the file what a rotation, finished or cut off, left in it beside the identity that the database
    /// names. Within a transaction that writes, so that no rotation runs meanwhile. Returns whether there was anything.
    ///
    /// # Errors
    /// `StoreError::Sealed` where the file does not hold that identity; [`Error::Host`], [`Error::Store`].
    pub fn tidy(&self, tables: &Tables<'_>) -> Result<bool> {
        let held = read(&self.path)?;
        let Some(to) = tables.meta(SEALED_TO)?.filter(|_| held.len() > 1) else { return Ok(false) };
        let current = held.iter().find(|identity| identity.to_public().to_string() == to);
        self.replace(&[current.ok_or_else(|| self.is_not_there())?])?;
        Ok(true)
    }

    /// The public half of the identity that the database names: the fingerprint that it is known by.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn fingerprint(tables: &Tables<'_>) -> Result<Option<String>> {
        tables.meta(SEALED_TO)
    }

    /// The identity of a public half, from memory or else from the file.
    fn find(&self, public: &str) -> Result<Identity> {
        let known = || self.identities().iter().find(|identity| identity.to_public().to_string() == public).cloned();
        if let Some(identity) = known() {
            return Ok(identity);
        }
        self.read_again()?;
        known().ok_or_else(|| self.is_not_there())
    }

    fn is_not_there(&self) -> Error {
        sealed(&format!("{} does not hold the key that the database is sealed to", self.path.display()))
    }

    /// Reads the file once more and keeps what it did not know; returns whether there was anything.
    fn read_again(&self) -> Result<bool> {
        let held = read(&self.path)?;
        let mut known = self.identities();
        let before = known.len();
        for identity in held {
            let public = identity.to_public().to_string();
            if !known.iter().any(|other| other.to_public().to_string() == public) {
                // At the end: the first is the one that seals where the database names none.
                known.push(identity);
            }
        }
        Ok(known.len() > before)
    }

    /// Makes these all that the file holds, and is sure of it before it returns.
    fn replace(&self, identities: &[&Identity]) -> Result<()> {
        files::write_whole(&self.path, lines_of(identities).as_bytes(), 0o600)
    }

    fn identities(&self) -> MutexGuard<'_, Vec<Identity>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals a whole config, for a release's snapshot.
    ///
    /// # Errors
    /// As [`Secrets::seal`].
    pub fn seal_config(&self, tables: &Tables<'_>, config: &ConfigMap) -> Result<Vec<u8>> {
        self.seal(tables, &serde_json::to_vec(config).map_err(Error::bug)?)
    }

    /// Opens a release's snapshot.
    ///
    /// # Errors
    /// `StoreError::Sealed`.
    pub fn unseal_config(&self, bytes: &[u8]) -> Result<ConfigMap> {
        serde_json::from_slice(&self.unseal(bytes)?).map_err(|error| sealed(&error))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secrets")
    }
}

/// The identities in a file, a line each.
fn read(path: &Path) -> Result<Vec<Identity>> {
    parse(path, &std::fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))?)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Identity>> {
    let failed = |reason: &str| sealed(&format!("{}: {reason}", path.display()));
    let identities: Vec<Identity> =
        text.split_whitespace().map(|line| line.parse().map_err(failed)).collect::<Result<_>>()?;
    if identities.is_empty() { Err(failed("it is empty")) } else { Ok(identities) }
}

/// A line for each.
fn lines_of(identities: &[&Identity]) -> String {
    let lines: Vec<String> =
        identities.iter().map(|identity| identity.to_string().expose_secret().to_owned()).collect();
    lines.join("\n")
}

fn sealed(reason: &dyn fmt::Display) -> Error {
    Error::Store(StoreError::Sealed { reason: reason.to_string() })
}

fn open_with(identities: &[Identity], bytes: &[u8]) -> Result<Vec<u8>> {
    let failed = |error: &dyn fmt::Display| sealed(error);
    let decryptor = age::Decryptor::new(bytes).map_err(|error| failed(&error))?;
    let mut clear = Vec::new();
    decryptor
        .decrypt(identities.iter().map(|identity| identity as &dyn age::Identity))
        .map_err(|error| failed(&error))?
        .read_to_end(&mut clear)
        .map_err(|error| failed(&error))?;
    Ok(clear)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{
        model::{Actor, AppId},
        store::{Store, Tables},
    };

    /// A database with an app that has one variable.
    fn store(directory: &Path, secrets: &Secrets) -> Result<(Store, AppId)> {
        let mut store = Store::open(&directory.join("db"))?;
        let app = store.write(|tables| {
            let app = tables.create_app(&"blog".parse()?)?.id;
            let sealed = secrets.seal(tables, b"hunter2")?;
            assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
            tables.set_config(app, &"KEY".parse()?, Some(&sealed), &Actor::Daemon)?;
            Ok(app)
        })?;
        Ok((store, app))
    }

    fn value(store: &mut Store, app: AppId, secrets: &Secrets) -> Result<Vec<u8>> {
        let config = store.read(|tables: &Tables<'_>| tables.config(app))?;
        secrets.unseal(&config[0].1)
    }

    #[test]
    fn what_is_sealed_opens_again_with_the_same_key_only() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let directory = directory.path();
        let (mut store, app) = store(directory, &Secrets::open(&directory.join("one.key"))?)?;
        assert_eq!(value(&mut store, app, &Secrets::open(&directory.join("one.key"))?)?, b"hunter2");
        let other = Secrets::open(&directory.join("two.key"))?;
        let error = value(&mut store, app, &other).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Unavailable, "it is told apart from what exists already");
        let sealed = store.write(|tables| other.seal(tables, b"more"));
        assert!(sealed.is_err_and(|error| error.to_string().contains("two.key does not hold the key")));
        std::fs::write(directory.join("two.key"), "no key").map_err(Error::io("write a file"))?;
        let error = Secrets::open(&directory.join("two.key")).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Unavailable, "{error}");
        Ok(())
    }

    #[test]
    fn a_rotation_leaves_the_values_and_makes_the_old_key_useless() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let directory = directory.path();
        let path = directory.join("secret.key");
        let secrets = Secrets::open(&path)?;
        let (mut store, app) = store(directory, &secrets)?;
        // A process that read the key before, and what it read.
        let stale = Secrets::open(&path)?;
        let read_before = store.read(|tables| tables.config(app))?[0].1.clone();
        std::fs::copy(&path, directory.join("old.key")).map_err(Error::io("copy"))?;
        let before = store.read(Secrets::fingerprint)?;

        assert_eq!(store.write(|tables| secrets.rotate(tables))?, 1);
        assert!(store.write(|tables| secrets.tidy(tables))?);
        assert!(!store.write(|tables| secrets.tidy(tables))?);
        assert_ne!(store.read(Secrets::fingerprint)?, before);
        assert_eq!(read(&path)?.len(), 1);
        assert_eq!(value(&mut store, app, &secrets)?, b"hunter2");
        assert_eq!(value(&mut store, app, &Secrets::open(&path)?)?, b"hunter2");
        assert!(value(&mut store, app, &Secrets::open(&directory.join("old.key"))?).is_err());
        // The stale one opens what it read before and what is there now, and seals to the new key.
        assert_eq!(stale.unseal(&read_before)?, b"hunter2");
        assert_eq!(value(&mut store, app, &stale)?, b"hunter2");
        let sealer = Secrets::open(&directory.join("old.key"))?;
        std::fs::copy(&path, directory.join("old.key")).map_err(Error::io("copy"))?;
        let sealed = store.write(|tables| sealer.seal(tables, b"more"))?;
        assert_eq!(Secrets::open(&path)?.unseal(&sealed)?, b"more");
        Ok(())
    }

    #[test]
    fn a_rotation_that_is_not_committed_changes_nothing() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let directory = directory.path();
        let path = directory.join("secret.key");
        let secrets = Secrets::open(&path)?;
        let (mut store, app) = store(directory, &secrets)?;
        let before = std::fs::read_to_string(&path).map_err(Error::io("read"))?;
        let failed: Result<()> = store.write(|tables| {
            secrets.rotate(tables)?;
            Err(Error::Interrupted)
        });
        assert!(failed.is_err());
        assert_eq!(read(&path)?.len(), 2);
        assert_eq!(value(&mut store, app, &secrets)?, b"hunter2");
        assert_eq!(value(&mut store, app, &Secrets::open(&path)?)?, b"hunter2");
        assert!(store.write(|tables| secrets.tidy(tables))?);
        assert_eq!(std::fs::read_to_string(&path).map_err(Error::io("read"))?, before);
        Ok(())
    }

    #[test]
    fn the_key_is_for_its_owner_alone() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("secret.key");
        let secrets = Secrets::open(&path)?;
        let mode = || std::fs::metadata(&path).map(|metadata| metadata.permissions().mode() & 0o777);
        assert_eq!(mode().map_err(Error::io("stat"))?, 0o600);
        let (mut store, _) = store(directory.path(), &secrets)?;
        store.write(|tables| secrets.rotate(tables))?;
        assert_eq!(mode().map_err(Error::io("stat"))?, 0o600);
        Ok(())
    }
}
