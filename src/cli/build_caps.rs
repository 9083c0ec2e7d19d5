use clap::Args;

use crate::{Result, cgroup, model, ui::Ui};

/// Cap the resources of builds, from within a Docker container
#[derive(Debug, Args)]
pub(super) struct BuildCaps {
    /// Bytes
    #[arg(long)]
    memory: Option<u64>,
    /// Processors
    #[arg(long)]
    cpus: Option<f64>,
}

impl BuildCaps {
    pub(super) fn run(self, ui: Ui) -> Result<()> {
        let caps = model::BuildCaps { memory: self.memory, cpus: self.cpus };
        cgroup::cap(caps, std::io::stdin(), || ui.line(cgroup::READY))
    }
}
