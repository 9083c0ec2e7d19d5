//! Secrets at rest: sealed with age (<https://age-encryption.org/v1>) to an identity that only the owner may read.

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use age::{secrecy::ExposeSecret, x25519::Identity};

use crate::{
    Error, Result,
    error::StoreError,
    files,
    model::Config,
    settings,
    store::{Store, Tables},
};

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
///
/// It may hold none: while the file is missing or holds something else, all goes on that needs no secret.
#[derive(Clone)]
pub struct Secrets {
    path: PathBuf,
    identities: Arc<Mutex<Vec<Identity>>>,
}

impl Secrets {
    /// Reads the identities at `path`. Only where nothing is sealed yet one is made, readable by its owner alone.
    ///
    /// # Errors
    /// [`Error::Host`], [`Error::Store`].
    pub fn open(path: &Path, store: &mut Store) -> Result<Secrets> {
        let mut found = read(path);
        if found.is_err() && store.read(|tables| tables.one_sealed())?.is_none() {
            // Nothing is lost with it.
            files::move_aside(path).map_err(Error::io(format!("move {} aside", path.display())))?;
            found = Ok(None);
        }
        let secrets = |identities| Secrets { path: path.to_owned(), identities: Arc::new(Mutex::new(identities)) };
        match found {
            Ok(Some(identities)) => Ok(secrets(identities)),
            Ok(None) if store.read(|tables| tables.one_sealed())?.is_none() => {
                // The key that was named before is gone with all that was sealed to it.
                store.write(|tables| match tables.one_sealed()? {
                    None => tables.forget_meta(SEALED_TO),
                    Some(_) => Ok(()),
                })?;
                files::write_once(path, lines_of(&[&Identity::generate()]).as_bytes(), 0o600)?;
                Ok(secrets(read(path)?.unwrap_or_default()))
            }
            Ok(None) | Err(_) => Ok(secrets(Vec::new())),
        }
    }

    /// Those at `path`, read when something is to be opened; nothing is made.
    pub fn at(path: &Path) -> Secrets {
        Secrets { path: path.to_owned(), identities: Arc::default() }
    }

    /// Seals bytes to the identity that the database names. Within a transaction that writes, so that no rotation comes
    /// between this and the row.
    ///
    /// # Errors
    /// `StoreError::NoKey` where the file does not hold that identity; [`Error::Store`].
    pub fn seal(&self, tables: &Tables<'_>, clear: &[u8]) -> Result<Vec<u8>> {
        let to = self.current(tables)?.to_public();
        if tables.meta(SEALED_TO)?.is_none() {
            tables.set_meta(SEALED_TO, &to.to_string())?;
        }
        age::encrypt(&to, clear).map_err(Error::bug)
    }

    /// The identity that the database is sealed to: the one that it names; else, as 0.1.0 named none, the one that opens
    /// what is sealed; else any.
    fn current(&self, tables: &Tables<'_>) -> Result<Identity> {
        if let Some(to) = tables.meta(SEALED_TO)? {
            return self.find(&to);
        }
        let sealed = tables.one_sealed()?;
        let opens = |identity: &&Identity| {
            sealed.as_ref().is_none_or(|sealed| open_with(std::slice::from_ref(*identity), sealed).is_ok())
        };
        let known = || self.identities().iter().find(opens).cloned();
        if let Some(identity) = known() {
            return Ok(identity);
        }
        self.read_again();
        known().ok_or_else(|| self.no_key(None))
    }

    /// Whether it holds the identity that the database is sealed to.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn holds_key(&self, tables: &Tables<'_>) -> Result<bool> {
        match self.current(tables) {
            Ok(_) => Ok(true),
            Err(Error::Store(StoreError::NoKey { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fails where it does not hold the identity that the database is sealed to.
    ///
    /// # Errors
    /// `StoreError::NoKey`; [`Error::Store`].
    pub fn require_key(&self, tables: &Tables<'_>) -> Result<()> {
        self.current(tables).map(drop)
    }

    /// Opens what [`Secrets::seal`] made.
    ///
    /// # Errors
    /// `StoreError::NoKey` where the file holds no identity; `StoreError::Sealed` where it was sealed to another one, or is
    /// damaged.
    pub fn unseal(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let opened = open_with(&self.identities(), sealed);
        // The identity may have been rotated since the file was read, or put back.
        let opened = if opened.is_err() && self.read_again() { open_with(&self.identities(), sealed) } else { opened };
        match opened {
            Err(_) if !is_for_any(&self.identities(), sealed) => Err(self.no_key(None)),
            opened => opened,
        }
    }

    /// Puts a new identity in the place of the one that the database names, and seals everything anew. Whatever happens
    /// meanwhile, the file holds the identity that opens what the database holds: both, until [`Secrets::tidy`].
    ///
    /// Within a transaction that writes; it must be committed. Returns how many values were sealed.
    ///
    /// # Errors
    /// `StoreError::Sealed` where a value does not open; [`Error::Host`], [`Error::Store`].
    pub fn rotate(&self, tables: &Tables<'_>) -> Result<u64> {
        let former = self.current(tables)?;
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
    /// `StoreError::NoKey` where the file does not hold that identity; [`Error::Host`], [`Error::Store`].
    pub fn tidy(&self, tables: &Tables<'_>) -> Result<bool> {
        // What is missing or spoilt is said where it is needed.
        let held = read(&self.path).ok().flatten().unwrap_or_default();
        let Some(to) = tables.meta(SEALED_TO)?.filter(|_| held.len() > 1) else { return Ok(false) };
        let current = held.iter().find(|identity| identity.to_public().to_string() == to);
        self.replace(&[current.ok_or_else(|| self.no_key(Some(&to)))?])?;
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
        self.read_again();
        known().ok_or_else(|| self.no_key(Some(public)))
    }

    /// The error of a key that is not there: what is wrong with the file.
    fn no_key(&self, wanted: Option<&str>) -> Error {
        let reason = match read(&self.path) {
            Ok(None) => "is missing".to_owned(),
            Ok(Some(_)) => "does not hold the key that the database is sealed to".to_owned(),
            Err(error) => format!("holds no key ({})", error.one_line()),
        };
        StoreError::NoKey { path: self.path.clone(), reason, wanted: wanted.map(str::to_owned) }.into()
    }

    /// Reads the file once more and keeps what it did not know; returns whether there was anything.
    fn read_again(&self) -> bool {
        let held = read(&self.path).ok().flatten().unwrap_or_default();
        let mut known = self.identities();
        let before = known.len();
        for identity in held {
            let public = identity.to_public().to_string();
            if !known.iter().any(|other| other.to_public().to_string() == public) {
                // At the end: the first is the one that seals where the database names none.
                known.push(identity);
            }
        }
        known.len() > before
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
    pub fn seal_config(&self, tables: &Tables<'_>, config: &Config) -> Result<Vec<u8>> {
        self.seal(tables, &serde_json::to_vec(config).map_err(Error::bug)?)
    }

    /// Opens a release's snapshot.
    ///
    /// # Errors
    /// `StoreError::Sealed`.
    pub fn unseal_config(&self, bytes: &[u8]) -> Result<Config> {
        serde_json::from_slice(&self.unseal(bytes)?).map_err(|error| sealed(&error))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secrets")
    }
}

/// The identities in a file, a line each; nothing if there is no file.
///
/// # Errors
/// [`Error::Host`]; `StoreError::Sealed` where it holds something else.
fn read(path: &Path) -> Result<Option<Vec<Identity>>> {
    let Some(text) = files::read_kept(path)? else { return Ok(None) };
    let identities: Result<Vec<Identity>> =
        text.split_whitespace().map(|line| line.parse().map_err(|reason: &str| sealed(&reason))).collect();
    match identities?.as_slice() {
        [] => Err(sealed(&"it is empty")),
        identities => Ok(Some(identities.to_vec())),
    }
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

/// Whether sealed bytes are sealed to one of these identities, though they may be damaged behind that.
fn is_for_any(identities: &[Identity], bytes: &[u8]) -> bool {
    let decryptor = age::Decryptor::new(bytes);
    decryptor.map_or(!identities.is_empty(), |decryptor| {
        decryptor.decrypt(identities.iter().map(|identity| identity as &dyn age::Identity)).is_ok()
    })
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
    fn store(directory: &Path, key: &Path) -> Result<(Store, AppId, Secrets)> {
        let mut store = Store::open(&directory.join("db"))?;
        let secrets = Secrets::open(key, &mut store)?;
        let app = store.write(|tables| {
            let app = tables.create_app(&"blog".parse()?)?.id;
            let sealed = secrets.seal(tables, b"hunter2")?;
            assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
            tables.set_config(Some(app), &"KEY".parse()?, Some(&sealed), &Actor::Daemon)?;
            Ok(app)
        })?;
        Ok((store, app, secrets))
    }

    fn value(store: &mut Store, app: AppId, secrets: &Secrets) -> Result<Vec<u8>> {
        let config = store.read(|tables: &Tables<'_>| tables.config(Some(app)))?;
        secrets.unseal(&config[0].1)
    }

    fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
        std::fs::write(path, content).map_err(Error::io("write a file"))
    }

    fn text(path: &Path) -> Result<String> {
        std::fs::read_to_string(path).map_err(Error::io("read"))
    }

    #[test]
    fn what_is_sealed_opens_again_with_the_same_key_only() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let directory = directory.path();
        let (mut store, app, _) = store(directory, &directory.join("one.key"))?;
        let one = Secrets::open(&directory.join("one.key"), &mut store)?;
        assert_eq!(value(&mut store, app, &one)?, b"hunter2");
        write(&directory.join("two.key"), lines_of(&[&Identity::generate()]))?;
        let other = Secrets::open(&directory.join("two.key"), &mut store)?;
        let error = value(&mut store, app, &other).unwrap_err();
        assert!(error.to_string().contains("two.key does not hold the key"), "{error}");
        let sealed = store.write(|tables| other.seal(tables, b"more"));
        assert!(sealed.is_err_and(|error| error.hint().is_some_and(|hint| hint.contains("public half is age1"))));
        Ok(())
    }

    #[test]
    fn a_key_is_never_made_anew_while_anything_is_sealed_to_another() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let directory = directory.path();
        let path = directory.join("secret.key");
        let (mut store, app, _) = store(directory, &path)?;
        let right = text(&path)?;
        let spoil: [(&str, &dyn Fn() -> Result<()>); 5] = [
            ("is missing", &|| Ok(())),
            ("it is empty", &|| write(&path, "")),
            ("holds no key", &|| write(&path, b"\xff\x00no key")),
            ("is a directory", &|| std::fs::create_dir(&path).map_err(Error::io("make"))),
            ("does not hold the key", &|| write(&path, lines_of(&[&Identity::generate()]))),
        ];
        for (said, spoil) in spoil {
            for named in [true, false] {
                // The first version did not name the key.
                let fingerprint = store.read(Secrets::fingerprint)?;
                if !named {
                    store.write(|tables| tables.forget_meta(SEALED_TO))?;
                }
                files::clear(&path)?;
                spoil()?;
                let secrets = Secrets::open(&path, &mut store)?;
                assert!(!store.read(|tables| secrets.holds_key(tables))?, "{said}");
                let error = store.write(|tables| secrets.seal(tables, b"x")).unwrap_err();
                assert!(error.one_line().contains(said), "{said}: {}", error.one_line());
                assert!(matches!(error, Error::Store(StoreError::NoKey { .. })), "{error}");
                assert!(
                    matches!(value(&mut store, app, &secrets), Err(Error::Store(StoreError::NoKey { .. }))),
                    "{said}"
                );
                assert!(store.write(|tables| secrets.rotate(tables)).is_err());
                assert!(!store.write(|tables| secrets.tidy(tables))?);
                // It is put back while this process goes on.
                files::clear(&path)?;
                write(&path, &right)?;
                assert_eq!(value(&mut store, app, &secrets)?, b"hunter2");
                store.write(|tables| secrets.seal(tables, b"x"))?;
                assert_eq!(store.read(Secrets::fingerprint)?, fingerprint, "{said}");
            }
        }
        Ok(())
    }

    #[test]
    fn where_nothing_is_sealed_a_spoilt_key_is_made_anew() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let directory = directory.path();
        let path = directory.join("secret.key");
        let (mut store, app, _) = store(directory, &path)?;
        store.write(|tables| tables.set_config(Some(app), &"KEY".parse()?, None, &Actor::Daemon))?;
        for bytes in [None, Some(&b""[..]), Some(b"\xff\x00")] {
            files::clear(&path)?;
            bytes.map_or(Ok(()), |bytes| write(&path, bytes))?;
            let secrets = Secrets::open(&path, &mut store)?;
            let sealed = store.write(|tables| secrets.seal(tables, b"x"))?;
            assert_eq!(Secrets::open(&path, &mut store)?.unseal(&sealed)?, b"x");
        }
        Ok(())
    }

    #[test]
    fn a_rotation_leaves_the_values_and_makes_the_old_key_useless() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let directory = directory.path();
        let (path, old) = (directory.join("secret.key"), directory.join("old.key"));
        let (mut store, app, secrets) = store(directory, &path)?;
        // A process that read the key before, and what it read.
        let stale = Secrets::open(&path, &mut store)?;
        let read_before = store.read(|tables| tables.config(Some(app)))?[0].1.clone();
        write(&old, text(&path)?)?;
        let before = store.read(Secrets::fingerprint)?;

        assert_eq!(store.write(|tables| secrets.rotate(tables))?, 1);
        assert!(store.write(|tables| secrets.tidy(tables))?);
        assert!(!store.write(|tables| secrets.tidy(tables))?);
        assert_ne!(store.read(Secrets::fingerprint)?, before);
        assert_eq!(text(&path)?.lines().count(), 1);
        assert_eq!(value(&mut store, app, &secrets)?, b"hunter2");
        let now = Secrets::open(&path, &mut store)?;
        assert_eq!(value(&mut store, app, &now)?, b"hunter2");
        let sealer = Secrets::open(&old, &mut store)?;
        assert!(value(&mut store, app, &sealer).is_err());
        // The stale one opens what it read before and what is there now, and seals to the new key.
        assert_eq!(stale.unseal(&read_before)?, b"hunter2");
        assert_eq!(value(&mut store, app, &stale)?, b"hunter2");
        write(&old, text(&path)?)?;
        let sealed = store.write(|tables| sealer.seal(tables, b"more"))?;
        assert_eq!(now.unseal(&sealed)?, b"more");
        Ok(())
    }

    #[test]
    fn a_rotation_that_is_not_committed_changes_nothing() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let directory = directory.path();
        let path = directory.join("secret.key");
        let (mut store, app, secrets) = store(directory, &path)?;
        let before = text(&path)?;
        let fingerprint = store.read(Secrets::fingerprint)?;
        let failed: Result<()> = store.write(|tables| {
            secrets.rotate(tables)?;
            Err(Error::Interrupted)
        });
        assert!(failed.is_err());
        assert_eq!(text(&path)?.lines().count(), 2);
        assert_eq!(store.read(Secrets::fingerprint)?, fingerprint);
        assert_eq!(value(&mut store, app, &secrets)?, b"hunter2");
        let now = Secrets::open(&path, &mut store)?;
        assert_eq!(value(&mut store, app, &now)?, b"hunter2");
        assert!(store.write(|tables| secrets.tidy(tables))?);
        assert_eq!(text(&path)?, before);
        Ok(())
    }

    #[test]
    fn the_key_is_for_its_owner_alone() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("secret.key");
        let (mut store, _, secrets) = store(directory.path(), &path)?;
        let mode = || std::fs::metadata(&path).map(|metadata| metadata.permissions().mode() & 0o777);
        assert_eq!(mode().map_err(Error::io("stat"))?, 0o600);
        store.write(|tables| secrets.rotate(tables))?;
        assert_eq!(mode().map_err(Error::io("stat"))?, 0o600);
        // Somebody opened it to all.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).map_err(Error::io("chmod"))?;
        Secrets::open(&path, &mut store)?;
        assert_eq!(mode().map_err(Error::io("stat"))?, 0o600);
        Ok(())
    }
}
