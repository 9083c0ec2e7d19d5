//! The command tree: one file a noun, one variant and one arm a command. It has three doors (this machine, SSH, a
//! laptop) and is the same behind each.

mod apps;
mod build_caps;
mod buildpacks;
mod checks;
mod cleanup;
mod completions;
mod config;
mod deploys;
mod disk;
mod git;
mod hook;
mod logs;
mod manual;
mod plan;
mod processes;
mod properties;
mod releases;
mod remote;
mod report;
mod resolver;
mod secrets;
mod serve;
mod settings;
mod ssh_keys;

use std::{ffi::OsString, path::PathBuf};

use clap::{CommandFactory, Parser, Subcommand};
use properties::{Reporter, Setter, apply_edit};

use crate::{
    Error, Kind, Result,
    instance::Instance,
    model::Actor,
    settings::{Account, Session, Settings},
    ui::{Format, Ui},
};

/// Push to deploy, on a server of your own
///
/// `git push paas main` builds a repository, proves the new version healthy and moves the traffic to it. The commands
/// below do the rest. They are the same on the server, over SSH (`ssh -p 2222 paas@HOST apps:list`), and in a clone
/// whose remote `paas` is an app of the server.
#[derive(Debug, Parser)]
#[command(name = "paas", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// Read the settings from this file instead of /etc/paas/config.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// How a command that prints data prints it.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Output {
    /// Print for people or for programs
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

impl Output {
    fn ui(self) -> Ui {
        Ui { format: self.format }
    }
}

/// Every command there is. Hidden ones are run by git and by the shell.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(name = "apps:create")]
    AppsCreate(apps::Create),
    #[command(name = "apps:list")]
    AppsList(apps::List),
    #[command(name = "apps:info")]
    AppsInfo(apps::Info),
    #[command(name = "apps:exists")]
    AppsExists(apps::Exists),
    #[command(name = "apps:set")]
    AppsSet(apps::Set),
    #[command(name = "apps:report")]
    AppsReport(apps::Report),
    #[command(name = "apps:destroy")]
    AppsDestroy(apps::Destroy),
    #[command(name = "apps:lock")]
    AppsLock(apps::Lock),
    #[command(name = "apps:unlock")]
    AppsUnlock(apps::Unlock),
    #[command(name = "checks:report")]
    ChecksReport(checks::Report),
    #[command(name = "checks:run")]
    ChecksRun(checks::Run),
    #[command(name = "checks:set")]
    ChecksSet(checks::Set),
    #[command(name = "checks:skip")]
    ChecksSkip(checks::Skip),
    #[command(name = "checks:disable")]
    ChecksDisable(checks::Disable),
    #[command(name = "checks:enable")]
    ChecksEnable(checks::Enable),
    #[command(name = "config:show")]
    ConfigShow(config::Show),
    #[command(name = "config:get")]
    ConfigGet(config::Get),
    #[command(name = "config:set")]
    ConfigSet(config::Set),
    #[command(name = "config:unset")]
    ConfigUnset(config::Unset),
    #[command(name = "deploys:list")]
    DeploysList(deploys::List),
    #[command(name = "deploys:info")]
    DeploysInfo(deploys::Info),
    #[command(name = "deploys:output")]
    DeploysOutput(deploys::Output),
    #[command(name = "deploys:follow")]
    DeploysFollow(deploys::Follow),
    #[command(name = "deploys:cancel")]
    DeploysCancel(deploys::Cancel),
    #[command(name = "logs")]
    Logs(logs::Logs),
    #[command(name = "ps:report")]
    PsReport(processes::Report),
    #[command(name = "ps:scale")]
    PsScale(processes::Scale),
    #[command(name = "ps:stop")]
    PsStop(processes::Stop),
    #[command(name = "ps:start")]
    PsStart(processes::Start),
    #[command(name = "ps:restart")]
    PsRestart(processes::Restart),
    #[command(name = "ps:rebuild")]
    PsRebuild(processes::Rebuild),
    #[command(name = "ps:set")]
    PsSet(processes::Set),
    #[command(name = "releases:list")]
    ReleasesList(releases::List),
    #[command(name = "releases:info")]
    ReleasesInfo(releases::Info),
    #[command(name = "releases:rollback")]
    ReleasesRollback(releases::Rollback),
    #[command(name = "ssh-keys:add")]
    SshKeysAdd(ssh_keys::Add),
    #[command(name = "ssh-keys:list")]
    SshKeysList(ssh_keys::List),
    #[command(name = "ssh-keys:remove")]
    SshKeysRemove(ssh_keys::Remove),
    #[command(name = "settings:list")]
    SettingsList(settings::List),
    #[command(name = "settings:set")]
    SettingsSet(settings::Set),
    #[command(name = "settings:unset")]
    SettingsUnset(settings::Unset),
    #[command(name = "secrets:rotate")]
    SecretsRotate(secrets::Rotate),
    #[command(name = "report")]
    Report(report::Report),
    #[command(name = "disk")]
    Disk(disk::Disk),
    #[command(name = "cleanup")]
    Cleanup(cleanup::Cleanup),
    #[command(name = "plan")]
    Plan(plan::Plan),
    #[command(name = "buildpacks:list")]
    BuildpacksList(buildpacks::List),
    #[command(name = "buildpacks:show")]
    BuildpacksShow(buildpacks::Show),
    #[command(name = "buildpacks:detect")]
    BuildpacksDetect(buildpacks::Detect),
    #[command(name = "serve")]
    Serve(serve::Serve),
    #[command(name = "completions")]
    Completions(completions::Completions),
    #[command(name = "resolver", hide = true)]
    Resolver(resolver::Resolver),
    #[command(name = "build-caps", hide = true)]
    BuildCaps(build_caps::BuildCaps),
    #[command(name = "hook", hide = true)]
    Hook(hook::Hook),
}

/// Where a command line came from, and who may therefore run what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// This machine's own command line.
    Local,
    /// An SSH session.
    Ssh,
}

impl Command {
    /// Runs on an open instance.
    async fn run(self, instance: &Instance) -> Result<()> {
        match self {
            Command::AppsCreate(command) => command.run(instance).await,
            Command::AppsList(command) => command.run(instance),
            Command::AppsInfo(command) => command.run(instance),
            Command::AppsExists(command) => command.run(instance),
            Command::AppsSet(command) => command.run(instance).await,
            Command::AppsReport(command) => command.run(instance),
            Command::SettingsList(command) => command.run(instance),
            Command::SettingsSet(command) => command.run(instance),
            Command::SettingsUnset(command) => command.run(instance),
            Command::SecretsRotate(command) => command.run(instance),
            Command::AppsLock(command) => command.run(instance).await,
            Command::AppsUnlock(command) => command.run(instance),
            Command::ChecksReport(command) => command.run(instance),
            Command::ChecksRun(command) => command.run(instance).await,
            Command::ChecksSet(command) => command.run(instance).await,
            Command::ChecksSkip(command) => command.run(instance).await,
            Command::ChecksDisable(command) => command.run(instance).await,
            Command::ChecksEnable(command) => command.run(instance).await,
            Command::AppsDestroy(command) => command.run(instance).await,
            Command::ConfigShow(command) => command.run(instance),
            Command::ConfigGet(command) => command.run(instance),
            Command::ConfigSet(command) => command.run(instance).await,
            Command::ConfigUnset(command) => command.run(instance).await,
            Command::DeploysList(command) => command.run(instance),
            Command::DeploysInfo(command) => command.run(instance),
            Command::DeploysOutput(command) => command.run(instance).await,
            Command::DeploysFollow(command) => command.run(instance).await,
            Command::DeploysCancel(command) => command.run(instance).await,
            Command::Logs(command) => command.run(instance).await,
            Command::PsReport(command) => command.run(instance).await,
            Command::PsScale(command) => command.run(instance).await,
            Command::PsStop(command) => command.run(instance).await,
            Command::PsStart(command) => command.run(instance).await,
            Command::PsRestart(command) => command.run(instance).await,
            Command::PsRebuild(command) => command.run(instance).await,
            Command::PsSet(command) => command.run(instance).await,
            Command::ReleasesList(command) => command.run(instance).await,
            Command::ReleasesInfo(command) => command.run(instance),
            Command::ReleasesRollback(command) => command.run(instance).await,
            Command::SshKeysList(command) => command.run(instance),
            Command::SshKeysRemove(command) => command.run(instance),
            Command::Report(command) => command.run(instance).await,
            Command::Disk(command) => command.run(instance).await,
            Command::Cleanup(command) => command.run(instance).await,
            Command::BuildpacksList(command) => command.run(instance),
            Command::BuildpacksShow(command) => command.run(instance),
            Command::Hook(command) => command.run(instance).await,
            Command::SshKeysAdd(_)
            | Command::Plan(_)
            | Command::BuildpacksDetect(_)
            | Command::Serve(_)
            | Command::Resolver(_)
            | Command::BuildCaps(_)
            | Command::Completions(_) => Err(Error::bug("a command without an instance was given one")),
        }
    }

    /// Whether the command may come over SSH: what reads this machine's files or runs the daemon may not.
    fn is_remote(&self) -> bool {
        !matches!(
            self,
            Command::Plan(_)
                | Command::BuildpacksDetect(_)
                | Command::Serve(_)
                | Command::Resolver(_)
                | Command::BuildCaps(_)
                | Command::Hook(_)
                | Command::Completions(_)
        )
    }
}

/// What is generated from the command tree and committed: the completion scripts and the pages of the manual, by path,
/// whole; and the parts of docs/reference.md, by name.
///
/// # Errors
/// [`Error::Bug`].
pub fn generated() -> Result<Generated> {
    let mut files: Vec<(String, String)> =
        completions::Shell::ALL.iter().map(|shell| (format!("completions/{}", shell.file()), shell.script())).collect();
    files.extend(manual::pages()?.into_iter().map(|(name, text)| (format!("man/{name}"), text)));
    let reference = vec![
        ("commands", manual::command_reference()),
        ("settings", manual::setting_reference()),
        ("exit codes", manual::exit_code_reference()),
    ];
    Ok(Generated { files, reference })
}

/// See [`generated`].
#[derive(Debug)]
pub struct Generated {
    /// Files, by path from the root of the source.
    pub files: Vec<(String, String)>,
    /// Parts of docs/reference.md, by name.
    pub reference: Vec<(&'static str, String)>,
}

/// The commands that are shown, as they are typed: `apps:create`.
pub fn command_names() -> Vec<String> {
    let tree = Cli::command();
    let shown = tree.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    shown.map(|subcommand| subcommand.get_name().to_owned()).collect()
}

/// Runs the command line of this process, or that of the SSH session it was started for; returns its exit code.
pub fn run(arguments: &[OsString]) -> u8 {
    let program = arguments.first().map(PathBuf::from).unwrap_or_default();
    let program = program.file_name().and_then(|name| name.to_str()).unwrap_or("paas").to_owned();
    if crate::git::HOOKS.contains(&program.as_str()) {
        return execute(&["paas", "hook", &program].map(OsString::from), Door::Local);
    }
    let session = Session::from_environment();
    match session.command {
        Some(command) => run_session(&command),
        None => {
            clap_complete::CompleteEnv::with_factory(completions::tree).complete();
            execute(arguments, Door::Local)
        }
    }
}

/// Runs what an SSH client asked for: a git service, or a command of the tree.
fn run_session(command: &str) -> u8 {
    let words = match shell_words::split(command) {
        Ok(words) => words,
        Err(_) => {
            return fail(&Error::Usage {
                message: "a quote is not closed in this command".to_owned(),
                hint: "`paas --help` lists the commands".to_owned(),
            });
        }
    };
    match words.split_first() {
        Some((service, [path])) if git::is_service(service) => {
            let (service, path) = (service.clone(), path.clone());
            finish(in_instance(None, |instance| Box::pin(async move { git::serve(instance, &service, &path).await })))
        }
        // Nothing, or `paas ...` as on the server, or the command alone.
        _ => {
            let words = words.strip_prefix(&["paas".to_owned()]).unwrap_or(&words);
            let words = if words.is_empty() { &["--help".to_owned()][..] } else { words };
            let arguments = std::iter::once("paas").chain(words.iter().map(String::as_str)).map(OsString::from);
            execute(&arguments.collect::<Vec<_>>(), Door::Ssh)
        }
    }
}

fn execute(arguments: &[OsString], door: Door) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if door == Door::Ssh && (cli.config.is_some() || !cli.command.is_remote()) {
        return fail(&Error::Usage {
            message: "this works on the server itself, not over SSH".to_owned(),
            hint: "log in to the server and type it there".to_owned(),
        });
    }
    if door == Door::Local && cli.command.is_remote() && cli.config.is_none() {
        match elsewhere() {
            Ok(None) => {}
            Ok(Some(server)) => return fail(&server.run(arguments)),
            Err(error) => return fail(&error),
        }
    }
    finish(match cli.command {
        Command::Completions(command) => command.run(),
        Command::BuildCaps(command) => command.run(),
        Command::Plan(command) => {
            Settings::load(cli.config).and_then(|settings| command.run(Ui::default(), &settings.paths.buildpacks()))
        }
        Command::BuildpacksDetect(command) => {
            Settings::load(cli.config).and_then(|settings| command.run(&settings.paths.buildpacks()))
        }
        Command::Serve(command) => Settings::load(cli.config).and_then(|settings| command.run(settings)),
        Command::Resolver(command) => Settings::load(cli.config).and_then(|settings| command.run(&settings)),
        Command::SshKeysAdd(command) => command
            .read(door)
            .and_then(|command| in_instance(cli.config, |instance| Box::pin(async move { command.run(instance) }))),
        command => in_instance(cli.config, |instance| Box::pin(command.run(instance))),
    })
}

/// The server that a command line is for, where it is not for this machine: who has no instance here means the one
/// that the clone he is in is pushed to.
///
/// # Errors
/// [`Error::NoInstance`] where there is neither; [`Error::Settings`].
fn elsewhere() -> Result<Option<remote::Server>> {
    let settings = Settings::load(None)?;
    if settings.names_its_root() || settings.paths.root().exists() {
        return Ok(None);
    }
    match remote::Server::of_this_clone() {
        Some(server) => Ok(Some(server)),
        None if Account::current().is_server() => Ok(None),
        None => Err(Error::NoInstance(settings.paths.root().to_owned())),
    }
}

/// Opens the instance, as its owner, and does the work in it.
fn in_instance<F>(config: Option<PathBuf>, work: F) -> Result<()>
where
    F: for<'a> FnOnce(&'a Instance) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + 'a>>,
{
    let settings = Settings::load(config)?;
    become_owner(&settings)?;
    let actor = Session::from_environment().actor.unwrap_or_else(|| Actor::Local(Account::current().name));
    let instance = Instance::open(settings, actor)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start"))?
        .block_on(work(&instance))
}

/// Root becomes the owner of the root directory, so that everything in it stays his; anybody else who is not the
/// owner is told so.
fn become_owner(settings: &Settings) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let root = settings.paths.root();
    let owner = match std::fs::metadata(root) {
        Ok(metadata) => metadata.uid(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(_) => u32::MAX,
    };
    let ours = rustix::process::geteuid().as_raw();
    if owner == ours {
        return Ok(());
    }
    if ours == 0 && owner != u32::MAX {
        return Account::of(owner).become_this();
    }
    let owner = if owner == u32::MAX { "somebody else".to_owned() } else { Account::of(owner).name };
    Err(Error::RootDenied { path: root.to_owned(), owner })
}

/// Prints what clap has to say, and returns the exit code: 0 for help and version.
fn usage(error: &clap::Error) -> u8 {
    // Where nobody reads it there is nothing more to do.
    drop(error.print());
    if error.use_stderr() { Kind::Usage.exit_code() } else { 0 }
}

fn finish(result: Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => fail(&error),
    }
}

/// Says what went wrong, unless it was said or is only an exit code.
fn fail(error: &Error) -> u8 {
    if !error.is_told() {
        Ui::default().error(error);
    }
    error.kind().exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
