//! What must be true of the machine before a deploy starts.

use std::path::Path;

use crate::{Error, Result, disk, engine::Engine, error::HostError, instance::Instance};

/// Checks that the disks that a deploy writes to have room.
pub(super) async fn check_machine(instance: &Instance, engine: &Engine) -> Result<()> {
    check_disk(instance)?;
    if let Some(root) = engine.data_root().await? {
        // An engine on another host, or one that hides its directory, looks after its own disk.
        if let Ok(free) = free_mb(Path::new(&root)) {
            require(Path::new(&root), free, instance.settings.min_free_mb)?;
        }
    }
    Ok(())
}

/// Checks that the disk of the root directory has room.
///
/// # Errors
/// `HostError::DiskFull`.
pub fn check_disk(instance: &Instance) -> Result<()> {
    let root = instance.settings.paths.root();
    require(root, free_mb(root)?, instance.settings.min_free_mb)
}

fn require(path: &Path, free: u64, floor: u64) -> Result<()> {
    if free < floor {
        return Err(Error::Host(HostError::DiskFull { path: path.to_owned(), free, floor }));
    }
    Ok(())
}

fn free_mb(path: &Path) -> Result<u64> {
    Ok(disk::space(path)?.free_bytes / 1_000_000)
}
