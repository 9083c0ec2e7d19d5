use clap::{Args, Subcommand};

use crate::{
    Result,
    context::Context,
    model::{Access, Right},
    ops::jobs,
    ui::Ui,
};

/// Jobs: what the daemon does on a schedule
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "jobs:list")]
    List(List),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::List(_) => Access::Server(Right::See),
        }
    }

    pub(super) fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::List(List {}) => ui.show(&jobs::list(context)?),
        }
    }
}

/// List the daemon's jobs: how each last went, and when it is due next
///
/// A job runs once for each due time. If the daemon ends during a job, the job is `interrupted`; work that can wait is
/// left to the next due time. `cron:list` lists the crons of apps.
#[derive(Debug, Args)]
pub(super) struct List {}
