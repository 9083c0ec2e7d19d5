use clap::{Args, Subcommand};

use super::arguments::OptionalApp;
use crate::{
    Error, Result,
    context::Context,
    model::{Access, Door, OperationId, Right},
    ops::operations::{self, Action, Finished, Started},
    ui::{DeployLog, Ui},
};

/// Operations: list, watch and stop work that takes a while
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "operations:list")]
    List(List),
    #[command(name = "operations:info")]
    Info(Info),
    #[command(name = "operations:follow")]
    Follow(Follow),
    #[command(name = "operations:cancel")]
    Cancel(Cancel),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::List(it) => match &it.app.app {
                Some(app) => Access::App(app, Right::See),
                None => Access::Server(Right::See),
            },
            Command::Info(it) => Access::Operation(Some(&it.id), Right::See),
            Command::Follow(it) => Access::Operation(Some(&it.id), Right::See),
            Command::Cancel(it) => Access::Operation(Some(&it.id), Right::Deploy),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::List(it) => ui.show(&operations::list(context, it.app.app.as_ref(), it.number)?),
            Command::Info(it) => ui.show(&operations::info(context, operations::parse_id(&it.id)?)?),
            Command::Follow(it) => {
                operations::output(context, operations::parse_id(&it.id)?, true, |bytes| ui.raw(bytes)).await
            }
            Command::Cancel(it) => {
                let canceled = operations::cancel(context, operations::parse_id(&it.id)?).await?;
                let operation = &canceled.operation;
                ui.talk(&format!("operation {} is {}", operation.operation, operation.state));
                if ui.talks() { Ok(()) } else { ui.show(&canceled) }
            }
        }
    }
}

/// List operations, newest first
///
/// Everything that takes longer than a second is an operation: a deploy, a stop, the removal of an app, a cleanup.
/// `deploys:list` shows the deploys among them, with what they deploy.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    app: OptionalApp,
    /// How many
    #[arg(short, long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
}

/// Show an operation: its steps with their times, its outcome
#[derive(Debug, Args)]
pub(super) struct Info {
    /// The operation's number
    #[arg(value_name = "ID")]
    id: String,
}

/// Watch an operation: its log so far, then new lines
#[derive(Debug, Args)]
pub(super) struct Follow {
    /// The operation's number
    #[arg(value_name = "ID")]
    id: String,
}

/// Stop an operation, if it can still be undone
#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The operation's number
    #[arg(value_name = "ID")]
    id: String,
}

/// Whether a command waits for what it starts.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Detach {
    /// Return as soon as it has started; `operations:follow` shows its progress
    #[arg(long)]
    detach: bool,
}

impl Detach {
    /// Whether it does not wait.
    pub(super) fn is_set(self) -> bool {
        self.detach
    }
}

/// Does an action: here, to its end, or in a process of its own. `said` says what it came to.
pub(super) async fn operate(
    context: &Context<'_>,
    ui: Ui,
    Detach { detach }: Detach,
    action: &Action,
    said: impl FnOnce(&Finished) -> Option<String>,
) -> Result<()> {
    if detach {
        let started = operations::start(context, action).await?;
        ui.talk(&format!("operation {0} has started; `paas operations:follow {0}` shows it", started.operation));
        return ui.show(&started);
    }
    let finished = operations::run(context, action, &DeployLog::to_stderr(ui)).await?;
    if let Some(text) = said(&finished) {
        ui.talk(&text);
    }
    ui.show(&finished)?;
    match finished {
        Finished::Cleaned(cleaned) => cleaned.failed.map_or(Ok(()), Err),
        Finished::Edited(_) | Finished::Destroyed(_) => Ok(()),
    }
}

/// Run the action on standard input, as an operation
///
/// Prints the operation's number in a line of JSON, as soon as the operation has one.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The door that the action came by
    #[arg(long)]
    pub(super) door: Door,
}

impl Run {
    pub(super) async fn run(self, context: &Context<'_>) -> Result<()> {
        let action: Action = serde_json::from_reader(std::io::stdin().lock())
            .map_err(|error| Error::usage(format!("this is not an action: {error}"), "a door of paas starts this"))?;
        let log = DeployLog::detached(|id: OperationId| {
            let started = serde_json::to_string(&Started { operation: id }).unwrap_or_default();
            // Nobody to tell is no reason to stop.
            drop(Ui::default().line(&started));
        });
        operations::run(context, &action, &log).await.map(drop)
    }
}
