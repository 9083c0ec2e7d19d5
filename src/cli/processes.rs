use std::str::FromStr;

use clap::{Args, Subcommand};

use super::{
    arguments::AppArgument,
    operations::{Detach, operate},
    properties::{OptionalReporter, ReleaseSetter, Reporter},
};
use crate::{
    Error, Result,
    context::Context,
    model::{Access, Invalid, Noun, ProcessType, Right},
    ops::{
        self,
        edit::Outcome,
        operations::{Action, Change, Finished},
        processes,
    },
    ui::{DeployLog, Ui},
};

/// Processes: how many, how they run, start and stop
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "ps:report")]
    Report(Report),
    #[command(name = "ps:scale")]
    Scale(Scale),
    #[command(name = "ps:stop")]
    Stop(Stop),
    #[command(name = "ps:start")]
    Start(Start),
    #[command(name = "ps:restart")]
    Restart(Restart),
    #[command(name = "ps:rebuild")]
    Rebuild(Rebuild),
    #[command(name = "ps:set")]
    Set(Set),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Report(it) => it.reporter.access(),
            Command::Scale(it) if it.quantities.is_empty() => Access::App(&it.app.app, Right::See),
            Command::Scale(it) => Access::App(&it.app.app, Right::Change),
            Command::Stop(it) => Access::App(&it.app.app, Right::Deploy),
            Command::Start(it) => Access::App(&it.app.app, Right::Deploy),
            Command::Restart(it) => Access::App(&it.app.app, Right::Deploy),
            Command::Rebuild(it) => Access::App(&it.app.app, Right::Deploy),
            Command::Set(it) => it.setter.access(Noun::Ps),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Report(it) => it.run(context, ui).await,
            Command::Scale(it) => it.run(context, ui).await,
            Command::Stop(it) => it.run(context, ui).await,
            Command::Start(it) => it.run(context, ui).await,
            Command::Restart(it) => it.run(context, ui).await,
            Command::Rebuild(it) => it.run(context, ui).await,
            Command::Set(it) => it.setter.run(context, ui, Noun::Ps, it.process).await,
        }
    }
}

/// Stop an app
///
/// Its address answers 503 with a page that says so, until `ps:start` or the next deploy.
#[derive(Debug, Args)]
pub(super) struct Stop {
    #[command(flatten)]
    app: AppArgument,
    #[command(flatten)]
    detach: Detach,
}

impl Stop {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let app = self.app.app;
        let action = Action::Stop { app: app.clone() };
        let said = |_: &Finished| Some(format!("{app} is stopped; `paas ps:start {app}` starts it again"));
        operate(context, ui, self.detach, &action, said).await
    }
}

/// Start a stopped app
///
/// One that runs already is left alone; `ps:restart` restarts it.
#[derive(Debug, Args)]
pub(super) struct Start {
    #[command(flatten)]
    app: AppArgument,
}

impl Start {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let app = &self.app.app;
        match processes::start(context, app, &DeployLog::to_stderr(ui)).await? {
            Some(live) => ui.show(&live),
            None => {
                ui.talk(&format!("{app} is running already; `paas ps:restart {app}` restarts it"));
                ui.show(&processes::unchanged(app))
            }
        }
    }
}

/// Restart an app without losing a request
///
/// New containers are started and found healthy before the old ones go. Config and settings that were changed with
/// --no-restart are applied.
#[derive(Debug, Args)]
pub(super) struct Restart {
    #[command(flatten)]
    app: AppArgument,
    /// Only the containers of this process type
    process: Option<ProcessType>,
    #[command(flatten)]
    detach: Detach,
}

impl Restart {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let action = Action::Deploy { app: self.app.app, change: Change::Restart(self.process) };
        operate(context, ui, self.detach, &action, |_| None).await
    }
}

/// Build the commit that serves once more, and deploy it
///
/// For a base image that was updated, or a build that reads something from outside.
#[derive(Debug, Args)]
pub(super) struct Rebuild {
    #[command(flatten)]
    app: AppArgument,
    #[command(flatten)]
    detach: Detach,
}

impl Rebuild {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let action = Action::Deploy { app: self.app.app, change: Change::Rebuild };
        operate(context, ui, self.detach, &action, |_| None).await
    }
}

/// A process type and how many containers it shall have, as typed: `web=2`.
#[derive(Clone, Debug)]
struct Quantity {
    process: ProcessType,
    quantity: u32,
}

impl FromStr for Quantity {
    type Err = Invalid;

    fn from_str(text: &str) -> std::result::Result<Quantity, Invalid> {
        let invalid = || Invalid {
            what: "quantity",
            value: text.to_owned(),
            rule: "it is TYPE=NUMBER, such as web=2, with a number from 0 to 100".to_owned(),
        };
        let (process, quantity) = text.split_once('=').ok_or_else(invalid)?;
        let is_plain = quantity.bytes().all(|byte| byte.is_ascii_digit());
        let quantity = quantity.parse().ok().filter(|quantity| is_plain && *quantity <= 100).ok_or_else(invalid)?;
        let process: ProcessType = process.parse()?;
        if process.as_str() == ProcessType::RELEASE {
            return Err(Invalid::new("process type", process.as_str(), "it is a task that each deploy runs once"));
        }
        Ok(Quantity { process, quantity })
    }
}

/// Set how many containers each process type has, or show it
///
/// Additional containers are found healthy before they get requests; surplus containers finish what they are at. The
/// other containers are left alone. The numbers hold for all later deploys.
#[derive(Debug, Args)]
pub(super) struct Scale {
    #[command(flatten)]
    app: AppArgument,
    /// Process types and their numbers of containers; nothing shows them
    #[arg(value_name = "TYPE=NUMBER")]
    quantities: Vec<Quantity>,
    /// Only save the numbers: the next deploy or restart applies them
    #[arg(long)]
    no_restart: bool,
}

impl Scale {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let app = &self.app.app;
        if self.quantities.is_empty() {
            return ui.show(&processes::formation_of(context, app)?);
        }
        let mut wanted: Vec<(ProcessType, u32)> = Vec::new();
        for Quantity { process, quantity } in self.quantities {
            if wanted.iter().any(|(known, _)| *known == process) {
                return Err(Error::usage(format!("{process} is there twice"), "give each process type one number"));
            }
            wanted.push((process, quantity));
        }
        let scaled = processes::scale(context, app, &wanted, !self.no_restart, &DeployLog::to_stderr(ui)).await?;
        match scaled.outcome {
            Outcome::Unchanged => ui.talk(&format!("nothing to change: {app} already has this scale")),
            Outcome::Saved => ui.talk("saved; the next deploy or restart applies it"),
            Outcome::Deployed => {}
        }
        ui.show(&scaled)
    }
}

/// Set how processes are run: limits, stop timeout, restart policy
///
/// `paas ps:set blog memory=512m stop-timeout=60s`, or `ps:set blog memory 512m`; only a name, or `memory=`, resets it
/// to the value in the source, or to the default. If the app runs, the changed processes are restarted without losing a
/// request, as a new release; if that does not become healthy, nothing has changed.
#[derive(Debug, Args)]
#[command(after_help = ops::properties::help(Noun::Ps))]
pub(super) struct Set {
    #[command(flatten)]
    setter: ReleaseSetter,
    /// Only for this process type, instead of for all
    #[arg(short, long, value_name = "TYPE")]
    process: Option<ProcessType>,
}

/// Show an app's processes: status of containers, how they run, properties
///
/// Without an app: a line for each container of all apps.
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    reporter: OptionalReporter,
}

impl Report {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        if self.reporter.is_of_all() {
            return ui.show(&processes::report_all(context).await?);
        }
        let reporter = Reporter::from(self.reporter);
        match reporter.whole_app()? {
            Some(app) => ui.show(&processes::report(context, &app).await?),
            None => reporter.run(context, ui, Noun::Ps),
        }
    }
}
