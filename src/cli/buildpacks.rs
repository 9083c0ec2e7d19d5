use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{
    Result,
    context::Context,
    model::{Access, Right},
    ops::buildpacks,
    ui::Ui,
};

/// Buildpacks: how a repository becomes an image
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "buildpacks:list")]
    List(List),
    #[command(name = "buildpacks:show")]
    Show(Show),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::List(_) | Command::Show(_) => Access::Server(Right::See),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::List(List {}) => ui.show(&buildpacks::list(context)?),
            Command::Show(it) => ui.show(&buildpacks::show(context, &it.name)?),
        }
    }
}

/// List the buildpacks, in the order in which they are tried
///
/// Those of paas itself, and those of the server: folders in `buildpacks` below its root directory.
#[derive(Debug, Args)]
pub(super) struct List {}

/// Show a buildpack: what it looks for, and the versions it knows
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The buildpack's name
    name: String,
}

/// Show which buildpacks match a directory, and why
///
/// The first that matches would build it, unless paas.toml names another. `paas plan` shows what it would do.
#[derive(Debug, Args)]
pub(super) struct Detect {
    /// The directory [default: the current one]
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

impl Detect {
    /// Runs the command. The settings say where the server's own buildpacks are, which a laptop does not have.
    pub(super) fn run(self, ui: Ui, settings: &crate::settings::Settings) -> Result<()> {
        let directory = self.dir.unwrap_or_else(|| PathBuf::from("."));
        ui.show(&buildpacks::detect(&directory, settings)?)
    }
}
