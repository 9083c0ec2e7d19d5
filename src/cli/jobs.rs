use clap::{Args, Subcommand};

use crate::{
    Result,
    context::Context,
    model::{Access, Right},
    ops::jobs,
    ui::Ui,
};

/// Jobs: what the daemon does by time
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
/// A job runs once for each due time. One that the end of the daemon cut short is `interrupted`; what can wait for its
/// next time does.
#[derive(Debug, Args)]
pub(super) struct List {}
