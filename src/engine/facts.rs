//! What the engine is.

use serde::Serialize;

use super::{Engine, fault::failed};
use crate::Result;

/// What the engine is, in its own words.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Its version.
    pub version: String,
    /// The newest API version it speaks.
    pub api_version: String,
    /// Where its images are: a storage driver of its own, or a snapshotter of containerd's.
    pub image_store: String,
    /// Who makes cgroups: `systemd` or `cgroupfs`.
    pub cgroup_driver: String,
    /// The version of the machine's cgroups.
    pub cgroup_version: String,
    /// How many processors its machine has.
    pub processors: u64,
    /// How much memory its machine has, in bytes.
    pub memory_bytes: u64,
}

impl Engine {
    /// Asks the engine what it is.
    ///
    /// # Errors
    /// [`crate::Error::Engine`].
    pub async fn facts(&self) -> Result<Facts> {
        let failed = || failed("describe itself");
        let (version, info) =
            (self.docker.version().await.map_err(failed())?, self.docker.info().await.map_err(failed())?);
        let driver = info.driver.unwrap_or_default();
        let is_containerd =
            info.driver_status.iter().flatten().flatten().any(|word| word.starts_with("io.containerd.snapshotter"));
        Ok(Facts {
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            image_store: if is_containerd { format!("containerd ({driver})") } else { driver },
            cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default(),
            cgroup_version: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
            processors: u64::try_from(info.ncpu.unwrap_or(0)).unwrap_or(0),
            memory_bytes: u64::try_from(info.mem_total.unwrap_or(0)).unwrap_or(0),
        })
    }
}
