use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::{
    arguments::{AppArgument, OptionalApp},
    completions::cron_names,
};
use crate::{
    Result,
    context::Context,
    error::CronError,
    model::{
        Access, CronCommand, CronName, CronSchedule, CronSpec, Interrupted, JobState, Missed, Overlap, Right, ZoneName,
        cron_jitter, cron_timeout,
    },
    ops::{
        crons::{self, CronChanged},
        edit::Outcome,
    },
    ui::Ui,
};

/// Crons: commands of an app that run by time
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "cron:list")]
    List(List),
    #[command(name = "cron:add")]
    Add(Box<Add>),
    #[command(name = "cron:remove")]
    Remove(Remove),
    #[command(name = "cron:run")]
    Run(Run),
    #[command(name = "cron:history")]
    History(History),
    #[command(name = "cron:suspend")]
    Suspend(Suspend),
    #[command(name = "cron:resume")]
    Resume(Resume),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::List(List { app: OptionalApp { app: Some(app) } }) => Access::App(app, Right::See),
            Command::List(_) => Access::Server(Right::See),
            Command::Add(it) => Access::App(&it.app.app, Right::Change),
            Command::Remove(it) => Access::App(&it.app.app, Right::Change),
            Command::Run(it) => Access::App(&it.app.app, Right::Deploy),
            Command::History(it) => Access::App(&it.app.app, Right::See),
            Command::Suspend(it) => Access::App(&it.app.app, Right::Change),
            Command::Resume(it) => Access::App(&it.app.app, Right::Change),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::List(it) => ui.show(&crons::list(context, it.app.app.as_ref())?),
            Command::Add(it) => it.run(context, ui),
            Command::Remove(it) => it.run(context, ui),
            Command::Run(it) => it.run(context, ui).await,
            Command::History(it) => it.run(context, ui),
            Command::Suspend(it) => it.run(context, ui),
            Command::Resume(it) => it.run(context, ui),
        }
    }
}

/// List crons: when each runs next, and how it last went
///
/// Crons are in `paas.toml` (`[[cron]]`) or `app.json` (`cron`) of the release that serves, or were added with `cron:add`.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    app: OptionalApp,
}

/// Run a command of an app by time
///
/// `paas cron:add blog nightly "30 4 * * *" "node cleanup.js"`. The command runs by `/bin/sh -c` in a container of its
/// own, with the image and the config of the release that serves. A cron that is added here stays over deploys, and goes
/// before one of the same name in the source; one that was added before is replaced.
#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    app: AppArgument,
    /// Its name: letters, digits and dashes
    #[arg(value_name = "CRON")]
    name: CronName,
    /// When: minute, hour, day of the month, month, day of the week; or @hourly, @daily, @weekly, @monthly, @yearly
    #[arg(value_name = "SCHEDULE", allow_hyphen_values = true)]
    schedule: CronSchedule,
    /// The command line, in one word
    #[arg(value_name = "COMMAND", allow_hyphen_values = true)]
    command: CronCommand,
    /// Where its hours are, such as Europe/Berlin [default: the zone of the server]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<ZoneName>,
    /// What becomes of a run that is due while one before it is under way: allow, forbid or replace
    #[arg(long, value_name = "WORD", default_value = "forbid")]
    overlap: Overlap,
    /// How long a run may take: `90s`, `10m`, `2h`; 7d at most
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = cron_timeout)]
    timeout: u32,
    /// By how much its runs begin after their time, at most: always the same for one cron, another for the next
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = cron_jitter)]
    jitter: u32,
    /// What becomes of times at which the server was away: skip or run-once
    #[arg(long, value_name = "WORD", default_value = "skip")]
    missed: Missed,
    /// What becomes of a run that a reboot or a restart of Docker ended: leave or repeat
    #[arg(long, value_name = "WORD", default_value = "leave")]
    interrupted: Interrupted,
}

impl Add {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let mut spec = CronSpec::new(self.name, self.schedule, self.command);
        spec.timezone = self.timezone;
        spec.overlap = self.overlap;
        spec.timeout_seconds = self.timeout;
        spec.jitter_seconds = self.jitter;
        spec.missed = self.missed;
        spec.interrupted = self.interrupted;
        let changed = crons::add(context, &self.app.app, &spec)?;
        say(ui, &changed, "this cron is there already");
        ui.show(&changed)
    }
}

/// Says what became of a cron, and when it runs next.
fn say(ui: Ui, changed: &CronChanged, unchanged: &str) {
    if changed.outcome == Outcome::Unchanged {
        ui.talk(&format!("nothing to change: {unchanged}"));
    }
    ui.talk(&match &changed.next_at {
        Some(next) => format!("{} runs next at {next}", changed.name),
        None => format!("{} has no next run: `paas cron:list {}` says why", changed.name, changed.app),
    });
}

/// Remove a cron that was added with cron:add
///
/// A run that is under way continues. A cron in the source of the app is removed there; until then, `cron:suspend` stops it.
#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    app: AppArgument,
    /// Its name
    #[arg(value_name = "CRON", add = ArgValueCandidates::new(cron_names))]
    name: CronName,
}

impl Remove {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let changed = crons::remove(context, &self.app.app, &self.name)?;
        if let Some(next) = &changed.next_at {
            ui.talk(&format!("the one in the source of the app counts now: it runs next at {next}"));
        }
        ui.show(&changed)
    }
}

/// Run a cron now, beside its schedule
///
/// Prints what the command prints, once it has ended; the exit code is 0 if its own was. Ctrl-C leaves the run alone:
/// `cron:history` shows it.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    app: AppArgument,
    /// Its name
    #[arg(value_name = "CRON", add = ArgValueCandidates::new(cron_names))]
    name: CronName,
    /// Do not wait for its end
    #[arg(long)]
    detach: bool,
}

impl Run {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let app = &self.app.app;
        let id = crons::ask(context, app, &self.name)?;
        ui.talk(&format!("run {id} of {} begins; `paas cron:history {app} --run {id}` shows it", self.name));
        if self.detach {
            return ui.show(&crons::whole(context, app, id)?);
        }
        let run = crons::wait(context, app, id).await?;
        let (state, outcome) = (run.state, run.outcome.clone().unwrap_or_default());
        ui.show(&crons::Printed(run))?;
        let (app, name) = (app.clone(), self.name.to_string());
        match state {
            JobState::Done => {
                ui.talk(&outcome);
                Ok(())
            }
            JobState::Skipped | JobState::Missed => Err(CronError::NotRun { app, name, run: id, outcome }.into()),
            _ => Err(CronError::Failed { app, name, run: id, outcome }.into()),
        }
    }
}

/// Show how the runs of an app's crons went, newest first
///
/// The newest 50 runs of each cron are kept, with the last 64 KiB of what each printed, in which the values of the app's
/// config are masked.
#[derive(Debug, Args)]
pub(super) struct History {
    #[command(flatten)]
    app: AppArgument,
    /// Of this cron alone
    #[arg(value_name = "CRON", add = ArgValueCandidates::new(cron_names))]
    name: Option<CronName>,
    /// One run, with what it printed
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["name", "last"])]
    run: Option<i64>,
    /// How many
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    last: u32,
}

impl History {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self.run {
            Some(id) => ui.show(&crons::whole(context, &self.app.app, id)?),
            None => ui.show(&crons::history(context, &self.app.app, self.name.as_ref(), self.last)?),
        }
    }
}

/// Have a cron not run by its schedule until it is resumed
///
/// It stays so over deploys. A run that is under way continues, and `cron:run` runs it all the same. What would have been due
/// meanwhile is not made up for.
#[derive(Debug, Args)]
pub(super) struct Suspend {
    #[command(flatten)]
    app: AppArgument,
    /// Its name
    #[arg(value_name = "CRON", add = ArgValueCandidates::new(cron_names))]
    name: CronName,
}

impl Suspend {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let changed = crons::switch(context, &self.app.app, &self.name, true)?;
        if changed.outcome == Outcome::Unchanged {
            ui.talk("nothing to change: it is suspended");
        }
        ui.show(&changed)
    }
}

/// Have a cron run by its schedule again
#[derive(Debug, Args)]
pub(super) struct Resume {
    #[command(flatten)]
    app: AppArgument,
    /// Its name
    #[arg(value_name = "CRON", add = ArgValueCandidates::new(cron_names))]
    name: CronName,
}

impl Resume {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let changed = crons::switch(context, &self.app.app, &self.name, false)?;
        say(ui, &changed, "it is not suspended");
        ui.show(&changed)
    }
}
