//! Secrets at rest: sealed with age (<https://age-encryption.org/v1>) to an identity that only the owner may read.

use std::{fmt, io::Read, path::Path};

use age::secrecy::ExposeSecret;

use crate::{Error, Result, error::StoreError, files, model::ConfigMap};

/// The instance's identity, which seals and opens.
pub struct Secrets {
    identity: age::x25519::Identity,
}

impl Secrets {
    /// Reads the identity at `path`; makes one, readable by its owner alone, where there is none.
    ///
    /// # Errors
    /// [`Error::Host`]; `StoreError::Sealed` where the file holds no identity.
    pub fn open(path: &Path) -> Result<Secrets> {
        loop {
            if let Some(text) = files::read_optional(path)? {
                let identity = text.trim().parse().map_err(|reason: &str| {
                    Error::Store(StoreError::Sealed { reason: format!("{}: {reason}", path.display()) })
                })?;
                return Ok(Secrets { identity });
            }
            let identity = age::x25519::Identity::generate();
            files::write_once(path, identity.to_string().expose_secret().as_bytes(), 0o600)?;
        }
    }

    /// Seals bytes.
    ///
    /// # Errors
    /// [`Error::Bug`] where age fails.
    pub fn seal(&self, clear: &[u8]) -> Result<Vec<u8>> {
        age::encrypt(&self.identity.to_public(), clear).map_err(Error::bug)
    }

    /// Opens what [`Secrets::seal`] made.
    ///
    /// # Errors
    /// `StoreError::Sealed` where it was sealed to another identity or is damaged.
    pub fn unseal(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let failed = |error: &dyn fmt::Display| Error::Store(StoreError::Sealed { reason: error.to_string() });
        let decryptor = age::Decryptor::new(sealed).map_err(|error| failed(&error))?;
        let mut clear = Vec::new();
        decryptor
            .decrypt(std::iter::once(&self.identity as &dyn age::Identity))
            .map_err(|error| failed(&error))?
            .read_to_end(&mut clear)
            .map_err(|error| failed(&error))?;
        Ok(clear)
    }

    /// Seals a whole config, for a release's snapshot.
    ///
    /// # Errors
    /// [`Error::Bug`].
    pub fn seal_config(&self, config: &ConfigMap) -> Result<Vec<u8>> {
        self.seal(&serde_json::to_vec(config).map_err(Error::bug)?)
    }

    /// Opens a release's snapshot.
    ///
    /// # Errors
    /// `StoreError::Sealed`.
    pub fn unseal_config(&self, sealed: &[u8]) -> Result<ConfigMap> {
        serde_json::from_slice(&self.unseal(sealed)?)
            .map_err(|error| Error::Store(StoreError::Sealed { reason: error.to_string() }))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_sealed_opens_again_with_the_same_key_only() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let secrets = Secrets::open(&directory.path().join("one.key"))?;
        let sealed = secrets.seal(b"hunter2")?;
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(Secrets::open(&directory.path().join("one.key"))?.unseal(&sealed)?, b"hunter2");
        let error = Secrets::open(&directory.path().join("two.key"))?.unseal(&sealed).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Unavailable, "it is told apart from what exists already");
        std::fs::write(directory.path().join("two.key"), "no key").map_err(Error::io("write a file"))?;
        let error = Secrets::open(&directory.path().join("two.key")).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Unavailable, "{error}");
        Ok(())
    }

    #[test]
    fn the_key_is_for_its_owner_alone() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("secret.key");
        Secrets::open(&path)?;
        let mode = std::fs::metadata(&path).map_err(Error::io("stat"))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Ok(())
    }
}
