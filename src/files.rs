//! Files that may be missing, and files that are never seen half written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// Opens a file for reading; nothing if it is not there.
///
/// # Errors
/// [`Error::Host`].
pub fn open_optional(path: &Path) -> Result<Option<File>> {
    if_there(File::open(path), || format!("read {}", path.display()))
}

/// Reads a text file; nothing if it is not there.
///
/// # Errors
/// [`Error::Host`].
pub fn read_optional(path: &Path) -> Result<Option<String>> {
    if_there(fs::read_to_string(path), || format!("read {}", path.display()))
}

/// Writes a file so that at any moment, and after any crash, it is whole: the old one or the new one. One process at a
/// time may do this to a path; what a killed one leaves is [`draft`], and the next writes over it.
///
/// # Errors
/// [`Error::Host`].
pub fn write_whole(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let write = || -> io::Result<()> {
        let draft = draft(path);
        write_synced(&draft, content, mode)?;
        fs::rename(draft, path)?;
        sync_directory_of(path)
    };
    write().map_err(Error::io(format!("write {}", path.display())))
}

/// Writes a file that is not there yet, whole. If several processes do this at once, the first one's file stays, and
/// all of them succeed.
///
/// # Errors
/// [`Error::Host`].
pub fn write_once(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut own = draft(path).into_os_string();
    own.push(format!(".{}", std::process::id()));
    let own = PathBuf::from(own);
    let write = || -> io::Result<()> {
        write_synced(&own, content, mode)?;
        match fs::hard_link(&own, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => sync_directory_of(path),
        }
    };
    let written = write();
    remove_if_there(&own)?;
    written.map_err(Error::io(format!("write {}", path.display())))
}

/// Makes an empty file that only its owner may read, whatever the umask, if there is none. A file that is there is not
/// opened, and becomes its owner's alone.
///
/// # Errors
/// [`Error::Host`].
pub fn make_private_file(path: &Path) -> Result<()> {
    let make = || -> io::Result<()> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => keep_private(path),
        }
    };
    make().map_err(Error::io(format!("make {} private", path.display())))
}

/// Takes all rights to a file but its owner's away.
fn keep_private(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.permissions().mode() & 0o777 {
        0o600 => Ok(()),
        _ => fs::set_permissions(path, fs::Permissions::from_mode(0o600)),
    }
}

/// Makes a directory, and those above it, that only its owner may enter, if there is none.
///
/// # Errors
/// [`Error::Host`].
pub fn make_private_directory(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(Error::io(format!("make {}", path.display())))
}

/// What [`write_whole`] writes before it gets its name.
pub fn draft(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    draft.into()
}

/// Removes a file, a link, or a directory with all that is in it, and returns whether it was there.
///
/// # Errors
/// [`Error::Host`].
pub fn remove_if_there(path: &Path) -> Result<bool> {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if_there(removed, || format!("remove {}", path.display())).map(|removed| removed.is_some())
}

/// The paths in a directory, in no order; none if there is no directory.
///
/// # Errors
/// [`Error::Host`].
pub fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let action = || format!("list {}", directory.display());
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(Vec::new()),
        listed => if_there(listed, action)?,
    };
    listed.into_iter().flatten().map(|entry| entry.map(|entry| entry.path()).map_err(Error::io(action()))).collect()
}

/// What an operation gave; nothing if the file was not there.
fn if_there<T>(result: io::Result<T>, action: impl FnOnce() -> String) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(action())(error)),
    }
}

fn write_synced(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A new name is on the disk only once its directory is.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// A file that is in memory only and has no name for others, with its content, to be read from its beginning.
///
/// # Errors
/// [`Error::Host`].
pub fn in_memory(what: &str, content: &[u8]) -> Result<File> {
    let action = || format!("keep the {what} in memory");
    let file = rustix::fs::memfd_create(what, rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(file.map_err(|errno| Error::io(action())(errno.into()))?);
    file.write_all(content).and_then(|()| file.rewind()).map_err(Error::io(action()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_not_there_is_nothing_and_what_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert_eq!(read_optional(&missing).unwrap(), None);
        assert!(open_optional(&missing).unwrap().is_none());
        assert!(entries(&missing).unwrap().is_empty());
        assert!(!remove_if_there(&missing).unwrap());
        assert!(read_optional(directory.path()).is_err());
    }

    #[test]
    fn a_file_is_replaced_whole_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(draft(&path), "what a killed process left, which is longer").unwrap();
        write_whole(&path, b"old", 0o600).unwrap();
        let old = File::open(&path).unwrap();
        write_whole(&path, b"new", 0o600).unwrap();
        assert_eq!(read_optional(&path).unwrap().as_deref(), Some("new"));
        assert_eq!(io::read_to_string(old).unwrap(), "old", "who reads the old file is not disturbed");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(entries(directory.path()).unwrap(), [path]);
    }

    #[test]
    fn a_file_written_once_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write_once(&path, b"first", 0o600).unwrap();
        write_once(&path, b"second", 0o600).unwrap();
        assert_eq!(read_optional(&path).unwrap().as_deref(), Some("first"));
        assert_eq!(entries(directory.path()).unwrap(), [path]);
    }

    #[test]
    fn a_link_is_removed_and_what_it_names_stays() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        let link = directory.path().join("link");
        symlink(&kept, &link).unwrap();
        assert!(remove_if_there(&link).unwrap());
        assert!(kept.join("file").exists() && !link.exists());
        assert!(remove_if_there(&kept).unwrap());
        assert!(!kept.exists());
    }
}
