use std::path::{Path, PathBuf};

use crate::{
    Error, Result,
    buildpack::{self, BuildPlan, Buildpacks},
    tree::Tree,
    ui::{Format, Ui},
};

/// Show how a directory would be built and run
///
/// Prints which buildpack matches and why, the versions it takes and which file decides them, the processes, the port,
/// and the Dockerfile that a push of the directory would build. Nothing is built, and no server is needed: run it in
/// your repository before you push. Files that a .gitignore names are left out, as in a push.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// The directory; the current one, if not given
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
    pub(crate) fn run(self, ui: Ui, user_buildpacks: &Path) -> Result<()> {
        let directory = self.dir.unwrap_or_else(|| PathBuf::from("."));
        if !directory.is_dir() {
            return Err(Error::Usage {
                message: format!("there is no directory {}", directory.display()),
                hint: "`paas plan DIR` takes the directory of a repository".to_owned(),
            });
        }
        let plan = buildpack::plan(&Tree::directory(&directory)?, &Buildpacks::load(Some(user_buildpacks))?)?;
        match self.format {
            PlanFormat::Text => print(&plan),
            PlanFormat::Json => ui.json(&plan),
            PlanFormat::Dockerfile => ui.line(&plan.dockerfile),
        }
    }
}

fn print(plan: &BuildPlan) -> Result<()> {
    let ui = Ui { format: Format::Text };
    let port = match (plan.port, &plan.port_source) {
        (Some(port), Some(source)) => format!("{port}, from {source}"),
        _ => "5000, the default; PORT in the app's config changes it".to_owned(),
    };
    let mut facts = vec![("Buildpack", plan.buildpack.clone()), ("Reason", plan.reason.clone()), ("Port", port)];
    facts.extend(plan.release_command.iter().map(|command| ("Release", command.clone())));
    facts.extend(
        plan.choices.iter().map(|choice| (choice.what.as_str(), format!("{}, {}", choice.option, choice.source))),
    );
    facts.extend(
        plan.packages
            .describe()
            .and_then(|text| text.split_once(": ").map(|(_, packages)| ("System packages", packages.to_owned()))),
    );
    facts.extend(plan.notes.iter().map(|note| ("Note", note.clone())));
    facts.extend(plan.warnings.iter().map(|warning| ("Warning", warning.clone())));
    ui.facts(&facts, &())?;
    if !plan.versions.is_empty() {
        let rows: Vec<_> = plan
            .versions
            .iter()
            .map(|version| {
                let asked = version.asked.clone().unwrap_or_default();
                [version.what.clone(), version.version.clone(), version.source.clone(), asked]
            })
            .collect();
        ui.line("\n")?;
        ui.table(["VERSION OF", "IS", "FROM", "ASKED FOR"], &rows, &())?;
    }
    if !plan.commands.is_empty() {
        let rows: Vec<_> =
            plan.commands.iter().map(|command| [command.name.clone(), command.command.replace('\n', "; ")]).collect();
        ui.line("\n")?;
        ui.table(["STEP", "COMMAND"], &rows, &())?;
    }
    let rows: Vec<_> = plan
        .processes
        .iter()
        .map(|spec| {
            let command = spec.command.clone().unwrap_or_else(|| "(the image's own command)".to_owned());
            [spec.process.to_string(), command, plan.processes_source.clone()]
        })
        .collect();
    ui.line("\n")?;
    ui.table(["PROCESS", "COMMAND", "FROM"], &rows, &())?;
    ui.line(&format!("\n# {}\n{}", plan.dockerfile_path, plan.dockerfile))
}
