//! The command tree: one file a noun, which owns its commands. It has three doors (this machine, SSH, a laptop) and is
//! the same behind each.
//!
//! A command is its arguments, what it does, and who may do it ([`Access`]): `access` has no wildcard arm, so that a
//! command that does not say so does not compile. [`execute`] asks the policy before anything is run.

mod access;
mod apps;
mod arguments;
mod build_caps;
mod buildpacks;
mod certs;
mod checks;
mod completions;
mod config;
mod cron;
mod deploys;
mod domains;
mod edge;
mod exchange;
mod firewall;
#[cfg(fuzzing)]
pub mod fuzzing;
mod git;
mod help;
mod here;
mod hook;
mod inside;
mod jobs;
mod logs;
mod maintenance;
mod manual;
mod operations;
mod pauses;
mod plan;
mod ports;
mod processes;
mod properties;
mod proxy;
mod redirects;
mod releases;
mod remote;
mod render;
mod routes;
mod runs;
mod secrets;
mod serve;
mod server;
mod settings;
mod ssh_keys;

use std::{ffi::OsString, path::PathBuf};

pub use access::{AccessRow, access_table};
use clap::{CommandFactory, Parser, Subcommand};
use exchange::Exchange;

use crate::{
    Error, Kind, Result,
    context::Context,
    error::{AccessError, HostError},
    files,
    instance::Instance,
    model::{Access, AppName, Door},
    ops,
    settings::{Account, Session, Settings},
    ui::{Format, Ui},
};

/// Push to deploy, on a server of your own
///
/// `git push paas main` builds a repository, checks that the new version is healthy and moves the traffic to it. The
/// commands below do the rest. They are the same on the server, over SSH (`ssh -p 2222 paas@HOST apps:list`), and in a
/// clone whose remote `paas` is an app of the server.
#[derive(Debug, Parser)]
#[command(name = "paas", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command, before it or after it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// The app, instead of the first word
    #[arg(id = "other_app", long = "app", global = true, value_name = "APP", add = clap_complete::ArgValueCandidates::new(completions::app_names))]
    app: Option<AppName>,
    /// Do not ask
    #[arg(long, global = true)]
    force: bool,
    /// Print only data and errors
    #[arg(long, global = true)]
    quiet: bool,
    /// Print for people or for programs; with json, errors are JSON too
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// Read the settings from this file instead of /etc/paas/config.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Global {
    fn ui(&self) -> Ui {
        Ui { format: self.format, quiet: self.quiet }
    }

    /// The options that mean something to a server, as they are typed.
    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.format == Format::Json {
            words.push("--format=json".to_owned());
        }
        for (is_set, word) in [(self.quiet, "--quiet"), (self.force, "--force")] {
            words.extend(is_set.then(|| word.to_owned()));
        }
        words
    }
}

/// Every noun there is, and what is not about one.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Apps(apps::Command),
    #[command(flatten)]
    Config(config::Command),
    #[command(flatten)]
    Ps(processes::Command),
    #[command(flatten)]
    Checks(checks::Command),
    #[command(flatten)]
    Cron(cron::Command),
    #[command(flatten)]
    Domains(domains::Command),
    #[command(flatten)]
    Pauses(pauses::Command),
    #[command(flatten)]
    Certs(certs::Command),
    #[command(flatten)]
    Redirects(redirects::Command),
    #[command(flatten)]
    Routes(routes::Command),
    #[command(flatten)]
    Ports(ports::Command),
    #[command(flatten)]
    Maintenance(maintenance::Command),
    #[command(flatten)]
    Proxy(proxy::Command),
    #[command(flatten)]
    Deploys(deploys::Command),
    #[command(flatten)]
    Operations(operations::Command),
    #[command(flatten)]
    Releases(releases::Command),
    #[command(name = "logs")]
    Logs(logs::Logs),
    #[command(flatten)]
    Runs(runs::Command),
    #[command(flatten)]
    SshKeys(ssh_keys::Command),
    #[command(flatten)]
    Settings(settings::Command),
    #[command(flatten)]
    Secrets(secrets::Command),
    #[command(flatten)]
    Jobs(jobs::Command),
    #[command(flatten)]
    Server(server::Command),
    #[command(flatten)]
    Buildpacks(buildpacks::Command),
    #[command(flatten)]
    Here(here::Command),
    #[command(flatten)]
    Inside(inside::Command),
    #[command(name = "hook", hide = true)]
    Hook(hook::Hook),
    #[command(name = "operation", hide = true)]
    Operation(operations::Run),
    #[command(name = "obtain-certificates", hide = true)]
    Obtain(certs::Obtain),
}

impl Command {
    /// Who may run it.
    fn access(&self) -> Access<'_> {
        match self {
            Command::Apps(it) => it.access(),
            Command::Config(it) => it.access(),
            Command::Ps(it) => it.access(),
            Command::Checks(it) => it.access(),
            Command::Cron(it) => it.access(),
            Command::Domains(it) => it.access(),
            Command::Pauses(it) => it.access(),
            Command::Certs(it) => it.access(),
            Command::Redirects(it) => it.access(),
            Command::Routes(it) => it.access(),
            Command::Ports(it) => it.access(),
            Command::Maintenance(it) => it.access(),
            Command::Proxy(it) => it.access(),
            Command::Deploys(it) => it.access(),
            Command::Operations(it) => it.access(),
            Command::Releases(it) => it.access(),
            Command::Logs(it) => it.access(),
            Command::Runs(it) => it.access(),
            Command::SshKeys(it) => it.access(),
            Command::Settings(it) => it.access(),
            Command::Secrets(it) => it.access(),
            Command::Jobs(it) => it.access(),
            Command::Server(it) => it.access(),
            Command::Buildpacks(it) => it.access(),
            Command::Here(it) => it.access(),
            Command::Inside(it) => it.access(),
            Command::Hook(_) | Command::Operation(_) | Command::Obtain(_) => Access::Inside,
        }
    }

    /// What it reads or writes where it was typed.
    fn exchange(&mut self) -> Exchange<'_> {
        match self {
            Command::Config(it) => it.exchange(),
            Command::SshKeys(it) => it.exchange(),
            Command::Server(it) => it.exchange(),
            Command::Certs(it) => it.exchange(),
            Command::Proxy(it) => it.exchange(),
            _ => Exchange::Nothing,
        }
    }

    /// Runs it. Whoever calls has asked [`Command::access`].
    async fn run(self, context: &Context<'_>, ui: Ui, force: bool) -> Result<()> {
        match self {
            Command::Apps(it) => it.run(context, ui, force).await,
            Command::Config(it) => it.run(context, ui).await,
            Command::Ps(it) => it.run(context, ui).await,
            Command::Checks(it) => it.run(context, ui).await,
            Command::Cron(it) => it.run(context, ui).await,
            Command::Domains(it) => it.run(context, ui).await,
            Command::Pauses(it) => it.run(context, ui).await,
            Command::Certs(it) => it.run(context, ui).await,
            Command::Redirects(it) => it.run(context, ui).await,
            Command::Routes(it) => it.run(context, ui).await,
            Command::Ports(it) => it.run(context, ui).await,
            Command::Maintenance(it) => it.run(context, ui).await,
            Command::Proxy(it) => it.run(context, ui).await,
            Command::Deploys(it) => it.run(context, ui).await,
            Command::Operations(it) => it.run(context, ui).await,
            Command::Releases(it) => it.run(context, ui).await,
            Command::Logs(it) => it.run(context, ui).await,
            Command::Runs(it) => it.run(context, ui).await,
            Command::SshKeys(it) => it.run(context, ui).await,
            Command::Settings(it) => it.run(context, ui).await,
            Command::Secrets(it) => it.run(context, ui),
            Command::Jobs(it) => it.run(context, ui),
            Command::Server(it) => it.run(context, ui).await,
            Command::Buildpacks(it) => it.run(context, ui).await,
            Command::Hook(it) => it.run(context).await,
            Command::Operation(it) => it.run(context).await,
            Command::Obtain(it) => it.run(context, ui).await,
            Command::Here(_) | Command::Inside(_) => Err(Error::bug("a command without an instance was given one")),
        }
    }
}

/// What is generated from the command tree and committed: the completion scripts and the pages of the manual, by path,
/// whole; and the parts of docs/reference.md and README.md, by name.
///
/// # Errors
/// [`Error::Bug`], and [`Error::Source`] if a buildpack of the binary is malformed.
pub fn generated() -> Result<Generated> {
    let mut files: Vec<(String, String)> =
        completions::Shell::ALL.iter().map(|shell| (format!("completions/{}", shell.file()), shell.script())).collect();
    files.extend(manual::pages()?.into_iter().map(|(name, text)| (format!("man/{name}"), text)));
    let reference = vec![
        ("commands", manual::command_reference()),
        ("access", access::reference()?),
        ("roles", access::role_reference()),
        ("settings", manual::setting_reference()),
        ("exit codes", manual::exit_code_reference()),
        ("buildpacks", crate::buildpack::Buildpacks::load(None)?.table()),
    ];
    Ok(Generated { files, reference })
}

/// See [`generated`].
#[derive(Debug)]
pub struct Generated {
    /// Files, by path from the root of the source.
    pub files: Vec<(String, String)>,
    /// Parts of docs/reference.md and README.md, by name.
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
        return execute(&["paas", "hook", &program].map(OsString::from), Door::Git);
    }
    let session = Session::from_environment();
    match session.command {
        Some(command) => run_session(&command),
        None => {
            clap_complete::CompleteEnv::with_factory(Cli::command).complete();
            execute(arguments, Door::Local)
        }
    }
}

/// Runs what an SSH client asked for: a git service, or a command of the tree.
fn run_session(command: &str) -> u8 {
    // What was begun goes on without its viewer, whether that had a terminal or pipes.
    crate::exec::outlive_terminal();
    let words = match session_words(command, std::io::stdin().lock()) {
        Ok(words) => words,
        Err(error) => return fail(&error, Ui::default()),
    };
    match Asked::of(&words) {
        Asked::Git(service, path) => {
            let served = in_instance(None, Door::Git, |context| {
                Box::pin(async move { git::serve(context, service, &path).await })
            });
            finish(served, Ui::default())
        }
        Asked::Lfs(refusal) => {
            Ui::default().talk(refusal);
            Kind::Conflict.exit_code()
        }
        Asked::Command(arguments) => execute(&arguments, Door::Ssh),
    }
}

/// What an SSH client asks for.
enum Asked {
    /// A service of git, for the repository of that path.
    Git(git::Service, String),
    /// Large files, which are refused in these words.
    Lfs(&'static str),
    /// A command line of the tree.
    Command(Vec<OsString>),
}

impl Asked {
    fn of(words: &[String]) -> Asked {
        let first = words.first().map_or("", String::as_str);
        if let ([_, path], Some(service)) = (words, git::Service::of(first)) {
            return Asked::Git(service, path.clone());
        }
        if let Some(refusal) = git::lfs_refusal(first) {
            return Asked::Lfs(refusal);
        }
        // Nothing, or `paas ...` as on the server, or the command alone.
        let words = words.strip_prefix(&["paas".to_owned()]).unwrap_or(words);
        let words = if words.is_empty() { &["--help".to_owned()][..] } else { words };
        let arguments = std::iter::once("paas").chain(words.iter().map(String::as_str));
        Asked::Command(arguments.map(OsString::from).collect())
    }
}

/// The words of what an SSH client asked for. A long line comes on standard input.
fn session_words(command: &str, stdin: impl std::io::Read) -> Result<Vec<String>> {
    let split = |line: &str| {
        shell_words::split(line).map_err(|_| {
            Error::usage("a quote is not closed in this command", "`paas --help` lists the commands".to_owned())
        })
    };
    let words = split(command)?;
    match remote::line_on_stdin(&words, stdin)? {
        Some(line) => split(&line),
        None => Ok(words),
    }
}

fn execute(arguments: &[OsString], door: Door) -> u8 {
    let clone = if door == Door::Local { remote::Server::of_this_clone() } else { None };
    let known = match known_app(door, clone.as_ref()) {
        Ok(known) => known,
        Err(error) => return fail(&error, Ui::default()),
    };
    let arguments = arguments::with_app(&Cli::command(), arguments, known.as_ref());
    let Cli { global, command } = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments, known.as_ref()),
    };
    let ui = global.ui();
    if door == Door::Ssh && (global.config.is_some() || matches!(command.access(), Access::Here | Access::Inside)) {
        return fail(&AccessError::OnlyHere.into(), ui);
    }
    match command {
        Command::Here(command) => return finish(command.run(global.config, ui), ui),
        Command::Inside(command) => return finish(command.run(global.config, ui), ui),
        _ => {}
    }
    let mut command = match command {
        Command::Config(config::Command::Edit(it)) if door == Door::Local => {
            let server = if global.config.is_none() { elsewhere(clone) } else { Ok(None) };
            return finish(server.and_then(|server| it.run(server.as_ref(), &global)), ui);
        }
        command => command,
    };
    if door == Door::Local && global.config.is_none() {
        match elsewhere(clone) {
            Ok(None) => {}
            Ok(Some(server)) => return fail(&send(&server, &mut command, arguments, &global), ui),
            Err(error) => return fail(&error, ui),
        }
    }
    if let Err(error) = command.exchange().begin(door, &arguments, &global) {
        return fail(&error, ui);
    }
    let name = command_name(&arguments);
    // What one of ours was asked for came by the door that it was asked for at.
    let asked_at = match &command {
        Command::Operation(it) => it.door,
        _ => door,
    };
    let force = global.force;
    // What looks at the server looks at the rest of it, too, when its database is gone.
    let reports = door == Door::Local
        && matches!(command, Command::Server(server::Command::Report(_)))
        && Session::from_environment().actor.is_none();
    let config = global.config.clone();
    let done = in_instance(global.config, asked_at, |context| {
        Box::pin(async move {
            if !matches!(command, Command::Operation(_)) {
                ops::access::check_access(context, &name, &command.access())?;
            }
            command.run(context, ui, force).await
        })
    });
    match done {
        Err(error) if reports && error.is_of_database() => {
            finish(server::report_without_database(config, &error, ui), ui)
        }
        done => finish(done, ui),
    }
}

/// The name of the command in a command line that clap has read, for events.
fn command_name(arguments: &[OsString]) -> String {
    let tree = Cli::command();
    let words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    words.into_iter().find(|word| tree.find_subcommand(word).is_some()).unwrap_or("paas").to_owned()
}

/// The app that is known without being typed: that of `PAAS_APP`, or of the clone.
///
/// # Errors
/// [`Error::Invalid`] for a `PAAS_APP` that cannot be one.
fn known_app(door: Door, clone: Option<&remote::Server>) -> Result<Option<AppName>> {
    if door != Door::Local {
        return Ok(None);
    }
    match crate::settings::app_variable() {
        Some(app) => Ok(Some(app.parse()?)),
        None => Ok(clone.and_then(|server| server.app.clone())),
    }
}

/// The server that a command line is for, where it is not for this machine: who has no instance here means the one
/// that the clone he is in is pushed to.
///
/// # Errors
/// [`Error::Host`] where there is neither; [`Error::Usage`].
fn elsewhere(clone: Option<remote::Server>) -> Result<Option<remote::Server>> {
    let settings = Settings::load(None)?;
    if settings.names_its_root() || settings.paths.root().exists() {
        return Ok(None);
    }
    match clone {
        Some(server) => Ok(Some(server)),
        None if Account::current().is_server() => Ok(None),
        None => Err(Error::Host(HostError::NoInstance { root: settings.paths.root().to_owned() })),
    }
}

/// Sends a command line to a server, with what it reads here as standard input. Returns only where that fails.
fn send(server: &remote::Server, command: &mut Command, mut arguments: Vec<OsString>, global: &Global) -> Error {
    match command.exchange().send(&mut arguments, global) {
        Ok(file) => server.run(&arguments, file),
        Err(error) => error,
    }
}

/// Opens the instance, as its owner, for whoever asks, and does the work in it.
fn in_instance<F>(config: Option<PathBuf>, door: Door, work: F) -> Result<()>
where
    F: for<'a> FnOnce(&'a Context<'a>) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + 'a>>,
{
    let settings = Settings::load(config)?;
    become_owner(&settings)?;
    let instance = Instance::open(settings)?;
    let caller = ops::access::caller(&instance, &Session::from_environment(), door)?;
    let context = Context { instance: &instance, caller: &caller };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::io("start"))?
        .block_on(work(&context))
}

/// Root becomes the owner of the root directory, so that everything in it stays his; anybody else who is not the
/// owner is told so.
fn become_owner(settings: &Settings) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    files::keep_from_others();
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
    Err(Error::Host(HostError::RootDenied { path: root.to_owned(), owner }))
}

/// Prints what clap has to say, and returns the exit code: 0 for help and version.
fn usage(error: &clap::Error, arguments: &[OsString], known: Option<&AppName>) -> u8 {
    if let Some(answered) = help::answer(error, arguments) {
        let format = if arguments::asks_for_json(arguments) { Format::Json } else { Format::Text };
        return finish(answered, Ui { format, quiet: false });
    }
    if !error.use_stderr() {
        // Where nobody reads it there is nothing more to do.
        drop(error.print());
        return 0;
    }
    // In a clone the app is known, and a word where none is wanted may be another app's name.
    let other = match (error.kind(), known, error.get(clap::error::ContextKind::InvalidArg)) {
        (clap::error::ErrorKind::UnknownArgument, Some(app), Some(clap::error::ContextValue::String(word)))
            if word.parse::<AppName>().is_ok() =>
        {
            Some(format!("the app here is {app}; for another one, add `--app {word}`"))
        }
        _ => None,
    };
    if arguments::asks_for_json(arguments) {
        // Up to the usage: what is missing is on lines of its own.
        let text = error.to_string();
        let said: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let message = said.join(" ").trim_start_matches("error: ").to_owned();
        let hint = other.unwrap_or_else(|| "add `--help` to the command to see its usage".to_owned());
        return fail(&Error::usage(message, hint), Ui { format: Format::Json, quiet: false });
    }
    drop(error.print());
    if let Some(hint) = other {
        Ui::default().talk(&format!("\nhint: {hint}"));
    }
    Kind::Usage.exit_code()
}

fn finish(result: Result<()>, ui: Ui) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => fail(&error, ui),
    }
}

/// Says what went wrong, unless it was said or is only an exit code.
fn fail(error: &Error, ui: Ui) -> u8 {
    let is_silent = matches!(error, Error::Silent(_) | Error::Exited(_));
    // What a deploy's log has said, it has said to people only.
    let was_said = error.is_told() && ui.talks();
    if !is_silent && !was_said {
        ui.error(error);
    }
    error.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
