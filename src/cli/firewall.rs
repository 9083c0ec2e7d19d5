use clap::Args;

use crate::{
    Error, Result,
    firewall::{self, Rules},
    ui::Ui,
};

/// Keep containers from the machine's services, from within a Docker container
#[derive(Debug, Args)]
pub(super) struct Firewall {
    /// The rules, in JSON
    rules: String,
}

impl Firewall {
    pub(super) fn run(self, ui: Ui) -> Result<()> {
        let rules: Rules = serde_json::from_str(&self.rules).map_err(Error::bug)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("start"))?;
        runtime.block_on(firewall::put_up(&rules, || ui.line(firewall::READY)))
    }
}
