//! Commands that work on this machine, without an instance or as its daemon: they come by no door of the network.

use std::path::PathBuf;

use clap::Subcommand;

use super::{buildpacks::Detect, completions::Completions, plan::Plan, serve::Serve, server::RestoreDb};
use crate::{Result, model::Access, settings::Settings, ui::Ui};

/// This machine: what would be built, the daemon, the shell
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "plan")]
    Plan(Plan),
    #[command(name = "buildpacks:detect")]
    Detect(Detect),
    #[command(name = "serve")]
    Serve(Serve),
    #[command(name = "restore-db")]
    RestoreDb(RestoreDb),
    #[command(name = "completions")]
    Completions(Completions),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Plan(_)
            | Command::Detect(_)
            | Command::Serve(_)
            | Command::RestoreDb(_)
            | Command::Completions(_) => Access::Here,
        }
    }

    pub(super) fn run(self, config: Option<PathBuf>, ui: Ui) -> Result<()> {
        match self {
            Command::Plan(it) => it.run(ui, &Settings::load(config)?),
            Command::Detect(it) => it.run(ui, &Settings::load(config)?),
            Command::Serve(it) => it.run(Settings::load(config)?),
            Command::RestoreDb(it) => it.run(&Settings::load(config)?, ui),
            Command::Completions(it) => it.run(ui),
        }
    }
}
