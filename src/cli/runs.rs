use std::str::FromStr;

use clap::{Args, Subcommand};

use super::arguments::AppArgument;
use crate::{
    Error, Result,
    context::Context,
    model::{Access, EnvKey, Invalid, Property, Right, Run, RunId, property},
    ops::runs::{self, Ended, Request},
    ui::Ui,
};

/// Programs of your own in an app's containers: a console, a migration, a task
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "run")]
    Run(Attached),
    #[command(name = "run:detached")]
    Detached(Detached),
    #[command(name = "run:list")]
    List(List),
    #[command(name = "run:logs")]
    Logs(Logs),
    #[command(name = "run:stop")]
    Stop(Stop),
    #[command(name = "enter")]
    Enter(Enter),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            // Whoever runs a program with the config can read all of it.
            Command::Run(it) => Access::App(&it.app.app, Right::Reveal),
            Command::Detached(it) => Access::App(&it.app.app, Right::Reveal),
            Command::Enter(it) => Access::App(&it.app.app, Right::Reveal),
            Command::Logs(it) => Access::App(&it.app.app, Right::Reveal),
            Command::List(it) => Access::App(&it.app.app, Right::See),
            Command::Stop(it) => Access::App(&it.app.app, Right::Deploy),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Run(it) => it.run(context, ui).await,
            Command::Detached(it) => it.run(context, ui).await,
            Command::Enter(it) => it.run(context, ui).await,
            Command::List(it) => it.run(context, ui),
            Command::Logs(it) => it.run(context, ui).await,
            Command::Stop(it) => it.run(context, ui).await,
        }
    }
}

/// A variable and its value, as typed: `KEY=VALUE`.
#[derive(Clone, Debug)]
struct Variable(EnvKey, String);

impl FromStr for Variable {
    type Err = Invalid;

    fn from_str(text: &str) -> std::result::Result<Variable, Invalid> {
        let pair = text.split_once('=').ok_or_else(|| Invalid {
            what: "variable",
            value: text.to_owned(),
            rule: "it is KEY=VALUE".to_owned(),
        })?;
        Ok(Variable(pair.0.parse()?, pair.1.to_owned()))
    }
}

/// A number that is written as the value of a property.
fn number(property: &'static Property) -> impl Fn(&str) -> std::result::Result<u32, Invalid> + Clone + Send + Sync {
    move |text| match property.value(text)? {
        property::Value::Number(number) => {
            u32::try_from(number).map_err(|_| Invalid::new("number", text.to_owned(), "it is too large"))
        }
        property::Value::Switch(_) | property::Value::Text(_) => {
            Err(Invalid::new("number", text.to_owned(), "it is not a number"))
        }
    }
}

/// How a program is run in a container of its own.
#[derive(Debug, Args)]
struct Limits {
    /// A variable beside the config, or instead of one of it; may be given more than once
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    env: Vec<Variable>,
    /// The memory it may use, such as 512m or 2g [default: that of the process type, of `ps:set`]
    #[arg(long, visible_alias = "size", value_name = "MEMORY", value_parser = number(&property::MEMORY))]
    memory: Option<u32>,
    /// The CPUs it may use, such as 0.5 or 2 [default: those of the process type, of `ps:set`]
    #[arg(long, value_name = "CPUS", value_parser = number(&property::CPUS))]
    cpus: Option<u32>,
    /// How long it may take, such as 30m or 2d [default: `run-time-limit` of `apps:set`, 24h]
    #[arg(long, value_name = "TIME", value_parser = number(&property::RUN_TIME_LIMIT))]
    time_limit: Option<u32>,
}

impl Limits {
    fn request(self, words: Vec<String>) -> Request {
        Request {
            words,
            given: self.env.into_iter().map(|Variable(key, value)| (key, value)).collect(),
            memory_mib: self.memory,
            cpu_millis: self.cpus,
            time_limit: self.time_limit,
            ..Request::default()
        }
    }
}

/// Run a program in a new container of the app
///
/// It has the image and the config of the release that serves, reads what is typed or piped in, and prints here; its exit
/// code is the exit code of this command. On a terminal it has a terminal. It ends when the connection is lost.
///
/// `paas run blog bin/console`, `paas run blog 'echo $PORT | wc -c'`, `paas run blog worker`. The words after the app
/// are the program and its arguments, as they are. A single word with blanks in it is a line for /bin/sh in the
/// container. The name of a process type is its line of the Procfile, with any words that follow.
#[derive(Debug, Args)]
pub(super) struct Attached {
    #[command(flatten)]
    app: AppArgument,
    #[command(flatten)]
    limits: Limits,
    /// Give it pipes even on a terminal
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Let it continue if the connection is lost; `run:logs` shows what it printed
    #[arg(long)]
    keep_running: bool,
    /// The program and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Attached {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let tty = runs::may_have_terminal() && !self.no_tty;
        let request = Request { tty, goes_on: self.keep_running, ..self.limits.request(self.command) };
        let app = &self.app.app;
        let ended = runs::run(context, app, &request, |run| begun(ui, run, "run")).await?;
        finish(ui, &ended)
    }
}

/// Run a program in a new container of the app, by itself
///
/// Prints its number, such as run.7, and returns. `run:logs` shows what it prints, `run:list` whether it is at work and
/// its exit code, `run:stop` ends it. It needs no connection, and has no input.
#[derive(Debug, Args)]
pub(super) struct Detached {
    #[command(flatten)]
    app: AppArgument,
    #[command(flatten)]
    limits: Limits,
    /// The program and its arguments, as for `run`
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Detached {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let app = &self.app.app;
        let started = runs::detached(context, app, &self.limits.request(self.command)).await?;
        ui.talk(&format!(
            "{} has started; `paas run:logs {app} {} -f` shows what it prints",
            started.run.label(),
            started.run
        ));
        ui.show(&started)
    }
}

/// Enter a container of the app that is running
///
/// Opens a shell there (/bin/bash, or /bin/sh), or runs a program, as `run` does. A container is TYPE.NUMBER, such as
/// worker.2, or TYPE for the first one; without it, web.1. Changes in a container are gone with the next deploy.
#[derive(Debug, Args)]
pub(super) struct Enter {
    #[command(flatten)]
    app: AppArgument,
    /// A variable beside those of the container; may be given more than once
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    env: Vec<Variable>,
    /// How long it may take, such as 30m or 2d [default: `run-time-limit` of `apps:set`, 24h]
    #[arg(long, value_name = "TIME", value_parser = number(&property::RUN_TIME_LIMIT))]
    time_limit: Option<u32>,
    /// Give it pipes even on a terminal
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// The container, and the program with its arguments
    #[arg(value_name = "CONTAINER|COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Enter {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let request = Request {
            words: self.words,
            given: self.env.into_iter().map(|Variable(key, value)| (key, value)).collect(),
            time_limit: self.time_limit,
            tty: runs::may_have_terminal() && !self.no_tty,
            ..Request::default()
        };
        let ended = runs::enter(context, &self.app.app, &request, |run| begun(ui, run, "enter")).await?;
        finish(ui, &ended)
    }
}

/// Tells somebody at a terminal where they are. A program's own pipes get nothing of ours.
fn begun(ui: Ui, run: &Run, verb: &str) {
    if run.tty {
        let at = run.inside.as_ref().map(|inside| format!(" {inside}")).unwrap_or_default();
        ui.talk(&format!("-----> {verb}{at} of {} {} ({})\r", run.app, run.release, run.label()));
    }
}

/// Ends with the exit code of the program, and says what ended it if it did not end by itself.
fn finish(ui: Ui, ended: &Ended) -> Result<()> {
    if let Some(end) = ended.run.end {
        ui.talk(&format!(" !     {} {}", ended.run.label(), end.words()));
    }
    match ended.exit_code {
        Some(0) | None => Ok(()),
        Some(code) => Err(Error::Exited(code)),
    }
}

/// List an app's runs: those at work and former ones, with their exit codes
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    app: AppArgument,
    /// Only those at work
    #[arg(long)]
    running: bool,
    /// How many
    #[arg(short = 'n', long = "number", default_value_t = 20, value_name = "RUNS")]
    limit: u32,
}

impl List {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        ui.show(&runs::list(context, &self.app.app, self.limit, self.running)?)
    }
}

/// Print what a detached run printed
///
/// The last 4 MiB are kept. Values of the config, and those given with -e, are replaced by asterisks.
#[derive(Debug, Args)]
pub(super) struct Logs {
    #[command(flatten)]
    app: AppArgument,
    /// The run, such as run.7 or 7 [default: the newest detached one]
    #[arg(value_name = "RUN")]
    run: Option<RunId>,
    /// Follow new output until it ends
    #[arg(short, long)]
    follow: bool,
}

impl Logs {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let print = |line: Option<&str>| line.map_or_else(|| ui.is_read(), |line| ui.log_line(line));
        runs::logs(context, &self.app.app, self.run, self.follow, print).await
    }
}

/// End a run of an app, or all of them
///
/// The program gets SIGTERM, and SIGKILL if it does not end within its stop timeout.
#[derive(Debug, Args)]
pub(super) struct Stop {
    #[command(flatten)]
    app: AppArgument,
    /// The run, such as run.7 or 7
    #[arg(value_name = "RUN", required_unless_present = "all", conflicts_with = "all")]
    run: Option<RunId>,
    /// All runs of the app that are at work
    #[arg(long)]
    all: bool,
}

impl Stop {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        ui.show(&runs::stop(context, &self.app.app, self.run).await?)
    }
}
