//! Capping what builds take: `cgroup` writes to the machine's cgroups, as root, in a helper container. It ends with the
//! build.

use std::time::Duration;

use super::{
    Engine,
    helper::{Helper, HelperSpec},
};
use crate::{Result, cgroup, model::BuildCaps};

/// The hidden command that caps builds.
const COMMAND: &str = "build-caps";
/// How long the container may take to say that the caps are in force.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Caps that are in force until this is dropped, or this process dies.
pub struct Capped {
    _helper: Helper,
}

impl Engine {
    /// Caps what builds take of the memory and the processors of the engine's machine: all of this engine's, together.
    /// Without caps, takes back those that were set before.
    ///
    /// # Errors
    /// `EngineError::Unsupported` where this engine's builds cannot be capped, with the reason.
    pub async fn cap_builds(&self, instance: &str, caps: BuildCaps) -> Result<Capped> {
        let memory = caps.memory.map(|memory| format!("--memory={memory}"));
        let helper = HelperSpec {
            role: COMMAND,
            arguments: memory.into_iter().chain(caps.cpus.map(|cpus| format!("--cpus={cpus}"))).collect(),
            mounts: vec![format!("/sys/fs/cgroup:{}", cgroup::MOUNT)],
            // The files are root's, and it is root: it needs nothing more than that.
            capabilities: Vec::new(),
            // Paths as the machine has them, and the right to move processes between them.
            sees_cgroups: true,
            sees_network: false,
            ready: cgroup::READY,
            ready_timeout: READY_TIMEOUT,
        };
        Ok(Capped { _helper: self.start_helper(instance, &helper).await? })
    }
}
