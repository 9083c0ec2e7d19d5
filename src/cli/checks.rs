use clap::{Args, Subcommand};

use super::{
    arguments::AppArgument,
    properties::{ReleaseSetter, Reporter, apply_edit},
};
use crate::{
    Result,
    context::Context,
    error::DeployError,
    model::{Access, CheckMode, Noun, ProcessType, Right, Which},
    ops,
    ui::Ui,
};

/// Checks: how containers are found healthy
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "checks:report")]
    Report(Report),
    #[command(name = "checks:run")]
    Run(Run),
    #[command(name = "checks:set")]
    Set(Set),
    #[command(name = "checks:skip")]
    Skip(Skip),
    #[command(name = "checks:disable")]
    Disable(Disable),
    #[command(name = "checks:enable")]
    Enable(Enable),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Report(it) => it.reporter.access(),
            Command::Run(it) => Access::App(&it.app.app, Right::See),
            Command::Set(it) => it.setter.access(Noun::Checks),
            Command::Skip(it) => Access::App(&it.mode.app.app, Right::Change),
            Command::Disable(it) => Access::App(&it.mode.app.app, Right::Change),
            Command::Enable(it) => Access::App(&it.mode.app.app, Right::Change),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Report(it) => match it.reporter.whole_app()? {
                Some(app) => ui.show(&ops::checks::report(context, &app)?),
                None => it.reporter.run(context, ui, Noun::Checks),
            },
            Command::Run(it) => it.run(context, ui).await,
            Command::Set(it) => it.setter.run(context, ui, Noun::Checks, it.process).await,
            Command::Skip(it) => it.mode.set(context, ui, "checks:skip", CheckMode::Skipped).await,
            Command::Disable(it) => it.mode.set(context, ui, "checks:disable", CheckMode::Disabled).await,
            Command::Enable(it) => it.mode.set(context, ui, "checks:enable", CheckMode::Enabled).await,
        }
    }
}

/// Set how an app's containers are checked
///
/// `paas checks:set blog path=/health timeout=2m`, or `checks:set blog path /health`; only a name, or `path=`, resets
/// it to the value in the source, or to the default. If the app runs, its containers are checked in the new way at once; if
/// they do not pass, nothing has changed. `ps:set` has the settings that are not about checks.
#[derive(Debug, Args)]
#[command(after_help = ops::properties::help(Noun::Checks))]
pub(super) struct Set {
    #[command(flatten)]
    setter: ReleaseSetter,
    /// The process type [default: web]
    #[arg(short, long, value_name = "TYPE")]
    process: Option<ProcessType>,
}

/// What [`Skip`], [`Disable`] and [`Enable`] take.
#[derive(Debug, Args)]
struct Mode {
    #[command(flatten)]
    app: AppArgument,
    /// The process types, such as web,worker; none are all
    #[arg(value_name = "TYPE", value_delimiter = ',')]
    types: Vec<ProcessType>,
    /// The same as an option
    #[arg(short, long, value_name = "TYPE", value_delimiter = ',', conflicts_with = "types")]
    process: Vec<ProcessType>,
}

impl Mode {
    async fn set(self, context: &Context<'_>, ui: Ui, action: &str, mode: CheckMode) -> Result<()> {
        let types = [self.types, self.process].concat();
        let edit = ops::checks::mode_edit(context, &self.app.app, action, &types, mode)?;
        apply_edit(context, ui, &self.app.app, &edit, true).await
    }
}

/// Check nothing: new containers get their traffic as soon as they run
///
/// Of the process types that are named, else of all. A broken release may then reach the app's users, and a container
/// that hangs later is not noticed. `checks:enable` turns the checks on again.
#[derive(Debug, Args)]
pub(super) struct Skip {
    #[command(flatten)]
    mode: Mode,
}

/// Stop old containers before new ones start, for apps that cannot run twice
///
/// Of the process types that are named, else of all. The address of web does not answer in between. The new containers are still checked, and if they fail, the old ones are
/// started again. `checks:enable` undoes this.
#[derive(Debug, Args)]
pub(super) struct Disable {
    #[command(flatten)]
    mode: Mode,
}

/// Check new containers before traffic moves to them, which is the default
///
/// Of the process types that are named, else of all.
#[derive(Debug, Args)]
pub(super) struct Enable {
    #[command(flatten)]
    mode: Mode,
}

/// Show how an app's containers are checked, and what is set about it
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    reporter: Reporter,
}

/// Check an app's containers now
///
/// `checks:run blog` checks all, `checks:run blog web,worker` those of two process types, `checks:run blog worker.1` one.
/// Exits with 1 where one of them does not pass. Nothing is done to them.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    app: AppArgument,
    /// Only these process types and containers, such as web,worker or worker.1
    #[arg(value_name = "TYPE[.NUMBER]", value_delimiter = ',')]
    only: Vec<Which>,
    /// The same as an option
    #[arg(short, long, value_name = "TYPE", value_delimiter = ',', conflicts_with = "only")]
    process: Vec<Which>,
}

impl Run {
    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let results = ops::checks::run(context, &self.app.app, &[self.only, self.process].concat()).await?;
        ui.show(&results)?;
        let failed = results.0.iter().filter(|result| !result.passed).count();
        if failed > 0 {
            return Err(DeployError::ChecksFailed { failed, total: results.0.len() }.into());
        }
        Ok(())
    }
}
