//! How much room there is on a disk.

use std::path::Path;

use serde::Serialize;

use crate::{Error, Result};

/// How much room a disk has, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Space {
    /// What can still be written.
    pub free_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
}

/// How much room there is on the disk of a path.
///
/// # Errors
/// [`Error::Host`].
pub fn space(path: &Path) -> Result<Space> {
    let status = rustix::fs::statvfs(path)
        .map_err(|error| Error::io(format!("ask how full the disk of {} is", path.display()))(error.into()))?;
    Ok(Space { free_bytes: status.f_bavail * status.f_frsize, total_bytes: status.f_blocks * status.f_frsize })
}
