use std::path::{Path, PathBuf};

use crate::{Result, ops::buildpacks, ui::Ui};

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
    /// What is printed: the plan for people or for programs, or the Dockerfile alone
    #[arg(long, value_enum, default_value_t)]
    format: PlanFormat,
}

/// What `paas plan` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum PlanFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// The Dockerfile alone
    Dockerfile,
}

impl Plan {
    /// Runs the command; `user_buildpacks` is the directory of the server's own buildpacks, which a laptop does not have.
    pub(super) fn run(self, ui: Ui, user_buildpacks: &Path) -> Result<()> {
        let plan = buildpacks::plan(&self.dir.unwrap_or_else(|| PathBuf::from(".")), user_buildpacks)?;
        match self.format {
            PlanFormat::Text => ui.show(&plan),
            PlanFormat::Json => ui.json(&plan),
            PlanFormat::Dockerfile => ui.line(&plan.dockerfile),
        }
    }
}
