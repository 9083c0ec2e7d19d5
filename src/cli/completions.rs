//! What Tab does. The scripts know the commands, from the command tree; for the rest they ask the binary, which knows
//! the apps of this machine's instance.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::CompletionCandidate;

use super::{Cli, become_owner};
use crate::{Result, instance::Instance, ops, settings::Settings, ui::Ui};

/// Print a completion script for a shell
///
/// install.sh puts these scripts where the shells find them. By hand, in bash: `source <(paas completions bash)`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells that complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(self, ui: Ui) -> Result<()> {
        ui.line(&self.shell.script())
    }
}

impl Shell {
    pub(super) const ALL: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

    /// The name that the shell finds its script by.
    pub(super) fn file(self) -> &'static str {
        match self {
            Shell::Bash => "paas.bash",
            Shell::Zsh => "_paas",
            Shell::Fish => "paas.fish",
        }
    }

    /// The script, with the commands of the tree.
    pub(super) fn script(self) -> String {
        let (template, command): (&str, fn(&str, &str) -> String) = match self {
            Shell::Bash => (include_str!("../../templates/completions/paas.bash"), |name, _| name.to_owned()),
            Shell::Zsh => (include_str!("../../templates/completions/_paas"), |name, about| {
                format!("\t\t\t'{}:{}'", name.replace(':', "\\:"), about.replace('\'', r"'\''"))
            }),
            Shell::Fish => (include_str!("../../templates/completions/paas.fish"), |name, about| {
                let about = about.replace('\\', r"\\").replace('\'', r"\'");
                format!(
                    "complete --command paas --condition __fish_use_subcommand --arguments {name} --description '{about}'"
                )
            }),
        };
        let tree = Cli::command();
        let lines: Vec<String> = tree
            .get_subcommands()
            .filter(|subcommand| !subcommand.is_hide_set())
            .map(|subcommand| {
                let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
                command(subcommand.get_name(), &about)
            })
            .collect();
        template.replace("@COMMANDS@", &lines.join("\n"))
    }
}

/// The apps of this machine's instance.
pub(super) fn app_names() -> Vec<CompletionCandidate> {
    candidates(|instance| Ok(ops::apps::names(instance)?.iter().map(ToString::to_string).collect()))
}

/// The domains of its apps.
pub(super) fn domain_names() -> Vec<CompletionCandidate> {
    candidates(ops::domains::all_own)
}

/// The names that are sent on.
pub(super) fn redirect_names() -> Vec<CompletionCandidate> {
    candidates(ops::redirects::all)
}

/// What comes in by its routes.
pub(super) fn route_names() -> Vec<CompletionCandidate> {
    candidates(ops::routes::all)
}

/// The ports that lead to its apps.
pub(super) fn port_mappings() -> Vec<CompletionCandidate> {
    candidates(ops::ports::all)
}

/// The names of crons, of all apps.
pub(super) fn cron_names() -> Vec<CompletionCandidate> {
    candidates(ops::crons::names)
}

/// Its global domains.
pub(super) fn global_names() -> Vec<CompletionCandidate> {
    candidates(ops::domains::all_global)
}

/// What this machine's instance has; nothing where there is no instance, or it is not ours to read.
fn candidates(read: fn(&Instance) -> Result<Vec<String>>) -> Vec<CompletionCandidate> {
    read_instance(read).unwrap_or_default().into_iter().map(CompletionCandidate::new).collect()
}

fn read_instance(read: fn(&Instance) -> Result<Vec<String>>) -> Result<Vec<String>> {
    let settings = Settings::load(None)?;
    // To open an instance makes it where there is none, which Tab must not.
    if !settings.paths.database().is_file() {
        return Ok(Vec::new());
    }
    become_owner(&settings)?;
    read(&Instance::open(settings)?)
}
