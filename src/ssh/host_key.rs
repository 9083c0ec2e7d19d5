use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use russh::keys::{Algorithm, PrivateKey, key::safe_rng, ssh_key::LineEnding};

use crate::{Error, Result, error::HostError};

/// Reads the host key at `path`; makes one, readable by its owner alone, where there is none.
///
/// # Errors
/// [`Error::Host`]; `HostError::HostKey` where the file holds something else.
pub(super) fn open(path: &Path) -> Result<PrivateKey> {
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                return PrivateKey::from_openssh(text.trim()).map_err(|error| {
                    Error::Host(HostError::HostKey { path: path.to_owned(), reason: error.to_string() })
                });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => make(path)?,
            Err(error) => return Err(Error::io(format!("read {}", path.display()))(error)),
        }
    }
}

/// Writes a new key beside its place and links it there, so that two processes end up with the same one and none
/// ever sees half of it.
fn make(path: &Path) -> Result<()> {
    let action = || format!("write {}", path.display());
    let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).map_err(Error::bug)?;
    let text = key.to_openssh(LineEnding::LF).map_err(Error::bug)?;
    let draft = path.with_extension(format!("{}", std::process::id()));
    let linked = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::hard_link(&draft, path));
    std::fs::remove_file(&draft).map_err(Error::io(action()))?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(Error::io(action())(error)),
        _ => Ok(()),
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
