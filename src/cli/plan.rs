use std::path::PathBuf;

use crate::{Result, ops::buildpacks, settings::Settings, ui::Ui};

/// Show how a directory would be built and run
///
/// Prints which buildpack matches and why, the versions it takes and which file decides them, the processes, the port,
/// and the Dockerfile that a push of the directory would build. Nothing is built, and no server is needed: run it in
/// your repository before you push. Files that a .gitignore names are left out, as in a push.
#[derive(Debug, clap::Args)]
pub(super) struct Plan {
    /// The directory [default: the current one]
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Print only the Dockerfile
    #[arg(long)]
    dockerfile: bool,
    /// Show each app of a repository of several
    ///
    /// Shows the plan of each member of a workspace that can serve or, without a workspace, of each directory. `[build]
    /// directory` in paas.toml chooses one.
    #[arg(long, conflicts_with = "dockerfile")]
    all: bool,
}

impl Plan {
    /// Runs the command. The settings say where the server's own buildpacks are, which a laptop does not have.
    pub(super) fn run(self, ui: Ui, settings: &Settings) -> Result<()> {
        let directory = self.dir.unwrap_or_else(|| PathBuf::from("."));
        if self.all {
            return ui.show(&buildpacks::plan_all(&directory, settings)?);
        }
        let plan = buildpacks::plan(&directory, settings)?;
        if self.dockerfile { ui.line(&plan.dockerfile) } else { ui.show(&plan) }
    }
}
