use clap::{Args, Subcommand};

use super::arguments::{AppArgument, OperationArgument, OptionalOperation};
use crate::{
    Result,
    context::Context,
    model::{Access, Right},
    ops::deploys,
    ui::Ui,
};

/// Deploys: list, follow and stop them
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "deploys:list")]
    List(List),
    #[command(name = "deploys:info")]
    Info(Info),
    #[command(name = "deploys:output")]
    Output(Output),
    #[command(name = "deploys:follow")]
    Follow(Follow),
    #[command(name = "deploys:cancel")]
    Cancel(Cancel),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::List(it) => Access::App(&it.app.app, Right::See),
            Command::Info(it) => Access::Operation(it.deploy.target.as_deref(), Right::See),
            Command::Output(it) => Access::Operation(it.deploy.target.as_deref(), Right::See),
            Command::Follow(it) => Access::Operation(it.deploy.target.as_deref(), Right::See),
            Command::Cancel(it) => Access::Operation(Some(&it.deploy.target), Right::Deploy),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::List(it) => ui.show(&deploys::list(context, &it.app.app, it.number)?),
            Command::Info(it) => ui.show(&deploys::info(context, it.deploy.target.as_deref())?),
            Command::Output(it) => output(context, ui, it.deploy, it.follow).await,
            Command::Follow(it) => output(context, ui, it.deploy, true).await,
            Command::Cancel(it) => it.run(context, ui).await,
        }
    }
}

/// List an app's deploys, newest first
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    app: AppArgument,
    /// How many
    #[arg(short, long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
}

/// Show a deploy: its states with their times, its source, its outcome
#[derive(Debug, Args)]
pub(super) struct Info {
    #[command(flatten)]
    deploy: OptionalOperation,
}

/// Print the log of a deploy
#[derive(Debug, Args)]
pub(super) struct Output {
    #[command(flatten)]
    deploy: OptionalOperation,
    /// Follow the log until the deploy ends
    #[arg(short, long)]
    follow: bool,
}

/// Watch a running deploy: its log so far, then new lines
///
/// An interrupted push does not stop its deploy; this shows it again.
#[derive(Debug, Args)]
pub(super) struct Follow {
    #[command(flatten)]
    deploy: OptionalOperation,
}

async fn output(context: &Context<'_>, ui: Ui, deploy: OptionalOperation, follow: bool) -> Result<()> {
    deploys::output(context, deploy.target.as_deref(), follow, |bytes| ui.raw(bytes)).await
}

/// Stop a deploy: its build ends; the previous version keeps running
///
/// Once the traffic has moved to the new version, the deploy can no longer be stopped.
#[derive(Debug, Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    deploy: OperationArgument,
}

impl Cancel {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let canceled = deploys::cancel(context, &self.deploy.target).await?;
        ui.talk(&format!("deploy {} is {}", canceled.0.deploy, canceled.0.state));
        ui.show(&canceled)
    }
}
