//! What takes space on this machine, and how much is left.

use std::path::Path;

use crate::{Error, Result};

/// How much room a disk has, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// What can still be written.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// How much room there is on the disk of a path.
///
/// # Errors
/// [`Error::Io`].
pub fn space(path: &Path) -> Result<Space> {
    let status = rustix::fs::statvfs(path)
        .map_err(|error| Error::io(format!("ask how full the disk of {} is", path.display()))(error.into()))?;
    Ok(Space { free: status.f_bavail * status.f_frsize, total: status.f_blocks * status.f_frsize })
}

/// What a file, or a directory with all that is in it, takes on its disk, in bytes. What cannot be read counts nothing.
pub(super) fn size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    let own = metadata.blocks() * 512;
    if !metadata.is_dir() {
        return own;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| size(&entry.path())).sum::<u64>()
}
