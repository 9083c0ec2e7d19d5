//! Commands that nobody types: programs of ours run them. Hidden.

use std::path::PathBuf;

use clap::Subcommand;

use super::{build_caps::BuildCaps, edge::Edge, firewall::Firewall, render::Render};
use crate::{Result, model::Access, settings::Settings, ui::Ui};

/// Run by programs of ours
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    // The resolver of 0.1.0 becomes this by that name.
    #[command(name = "edge", alias = "resolver", hide = true)]
    Edge(Edge),
    #[command(name = "build-caps", hide = true)]
    BuildCaps(BuildCaps),
    #[command(name = "render", hide = true)]
    Render(Render),
    #[command(name = "firewall", hide = true)]
    Firewall(Firewall),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Edge(_) | Command::BuildCaps(_) | Command::Firewall(_) | Command::Render(_) => Access::Inside,
        }
    }

    pub(super) fn run(self, config: Option<PathBuf>, ui: Ui) -> Result<()> {
        match self {
            Command::Edge(it) => it.run(&Settings::load(config)?),
            Command::BuildCaps(it) => it.run(ui),
            Command::Render(it) => it.run(),
            Command::Firewall(it) => it.run(ui),
        }
    }
}
