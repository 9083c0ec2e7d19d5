use std::time::Duration;

use clap::{Args, Subcommand};

use super::arguments::AppArgument;
use crate::{
    Result,
    context::Context,
    model::{self, Access, Right, property},
    ops::{edit::Outcome, pauses},
    ui::Ui,
};

/// Pauses: requests that are held for a while
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "pause")]
    Pause(Pause),
    #[command(name = "resume")]
    Resume(Resume),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Pause(it) => Access::App(&it.app.app, Right::Change),
            Command::Resume(it) => Access::App(&it.app.app, Right::Change),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Pause(it) => it.run(context, ui).await,
            Command::Resume(it) => it.run(context, ui).await,
        }
    }
}

/// Hold an app's requests for a while
///
/// They wait with their bodies unread, and are passed on in the order in which they came: when `resume` is typed, or when the time is
/// over. Up to 2,000 requests are held, each for 60 seconds; what is more is answered with 503, what waits longer with 504.
/// The app runs on, and so does what it answers already.
#[derive(Debug, Args)]
pub(super) struct Pause {
    #[command(flatten)]
    app: AppArgument,
    /// For how long: `30s`, `2m`; an hour at most
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = length)]
    length: Duration,
}

impl Pause {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let paused = pauses::pause(context, &self.app.app, self.length).await?;
        ui.talk(&format!(
            "requests of {0} are held for {1}; `paas resume {0}` lets them through",
            paused.app,
            model::seconds(self.length)
        ));
        ui.show(&paused)
    }
}

/// Let the requests of a paused app through
#[derive(Debug, Args)]
pub(super) struct Resume {
    #[command(flatten)]
    app: AppArgument,
}

impl Resume {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let resumed = pauses::resume(context, &self.app.app).await?;
        if resumed.outcome == Outcome::Unchanged {
            ui.talk(&format!("nothing to do: the requests of {} are not held", resumed.app));
        }
        ui.show(&resumed)
    }
}

/// A time between a second and an hour.
fn length(text: &str) -> Result<Duration, String> {
    property::duration(text, 1)
}
