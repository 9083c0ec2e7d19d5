use std::path::Path;

use russh::keys::{Algorithm, PrivateKey, key::safe_rng, ssh_key::LineEnding};

use crate::{Error, Result, error::HostError, files};

/// Reads the host key at `path`; if there is none, makes one that only its owner may read.
///
/// # Errors
/// [`Error::Host`]; `HostError::HostKey` where the file holds something else.
pub(super) fn open(path: &Path) -> Result<PrivateKey> {
    loop {
        if let Some(text) = files::read_kept(path)? {
            return PrivateKey::from_openssh(text.trim())
                .map_err(|error| Error::Host(HostError::HostKey { path: path.to_owned(), reason: error.to_string() }));
        }
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).map_err(Error::bug)?;
        let text = key.to_openssh(LineEnding::LF).map_err(Error::bug)?;
        files::write_once(path, text.as_bytes(), 0o600)?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone_and_ssh_keygen_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ssh_host_ed25519_key");
        let first = open(&path).unwrap();
        assert_eq!(open(&path).unwrap().public_key(), first.public_key());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let output = std::process::Command::new("ssh-keygen").arg("-yf").arg(&path).output().unwrap();
        let public = first.public_key().to_openssh().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), public);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn something_else_in_its_place_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "not a key").unwrap();
        assert!(matches!(open(&path), Err(Error::Host(HostError::HostKey { .. }))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a key");
    }
}
