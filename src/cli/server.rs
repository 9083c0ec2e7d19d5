//! Commands about the server as a whole.

use clap::{Args, Subcommand};

use super::operations::{Detach, operate};
use crate::{
    Result, clock,
    context::Context,
    model::{Access, Age, AppName, EventFilter, Outcome, Right},
    ops::{self, operations::Action},
    ui::{Format, Ui},
};

/// The server: its state, its disk, who changed what
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "report")]
    Report(Report),
    #[command(name = "events")]
    Events(Events),
    #[command(name = "disk")]
    Disk(Disk),
    #[command(name = "cleanup")]
    Cleanup(Cleanup),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Report(_) => Access::Server(Right::See),
            Command::Events(_) => Access::Server(Right::See),
            Command::Disk(_) => Access::Server(Right::See),
            Command::Cleanup(_) => Access::Server(Right::Administer),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Report(Report {}) => ui.show(&ops::report::report(context).await?),
            Command::Events(it) => it.run(context, ui).await,
            Command::Disk(Disk {}) => disk(context, ui).await,
            Command::Cleanup(it) => it.run(context, ui).await,
        }
    }
}

/// Show the server at a glance: versions, services, free space, builds
///
/// Parts that do not answer are listed as down; the rest is still shown.
#[derive(Debug, Args)]
pub(super) struct Report {}

/// Show who changed what, when, and by which door
///
/// Lists every change and every refusal: what was done, to what, by whom, by which door (local, ssh, git, daemon), from
/// which address, and the outcome.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Only events of this app
    #[arg(long = "of", value_name = "APP")]
    of: Option<AppName>,
    /// Only what this actor did, as the list shows it: key:ann, local:root
    #[arg(long, value_name = "ACTOR")]
    by: Option<String>,
    /// Only this action, or all of a noun: config:set, config
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only events with this outcome: done, failed, canceled, denied
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<Outcome>,
    /// Only events newer than this: 90s, 15m, 12h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Age>,
    /// How many
    #[arg(short, long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    /// Follow new events
    #[arg(short, long)]
    follow: bool,
}

impl Events {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let filter = EventFilter {
            app: self.of,
            actor: self.by,
            action: self.action,
            outcome: self.outcome,
            since: self.since.map(|Age(since)| clock::now() - i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            after: None,
        };
        if !self.follow {
            return ui.show(&ops::events::list(context, &filter, self.number)?);
        }
        let print = |event: &ops::events::EventInfo| match ui.format {
            Format::Text => ui.log_line(&event.line()),
            Format::Json => ui.record(event),
        };
        ops::events::follow(context, &filter, self.number, print, || ui.is_read()).await
    }
}

/// Show what takes space on the server, and how much is left
///
/// By app: its images (space unique to its images, and layers shared with others, stored once), what its containers have
/// written, their logs, its repository, the logs of its deploys and of its former containers. The build cache is shared
/// by everybody who builds on this Docker engine.
#[derive(Debug, Args)]
pub(super) struct Disk {}

async fn disk(context: &Context<'_>, ui: Ui) -> Result<()> {
    let report = ops::disk::report(context).await?;
    ui.show(&report)?;
    if let Some(error) = &report.engine_error {
        ui.talk(&format!("the size of images and containers is unknown: {}", error.one_line()));
    }
    ui.talk("`paas cleanup` removes what no app needs; `paas cleanup --build-cache` also empties Docker's build cache");
    Ok(())
}

/// Free space: remove what no app needs any more
///
/// Removes what exceeds the `keep.*` properties (images of former releases, logs of deploys and of former containers, old
/// releases, deploys and events), leftovers of interrupted builds, containers and networks that no deploy knows, and
/// temporary files more than a day old. Most of this also happens after each deploy. Other instances and programs are
/// not touched, and deploys may run meanwhile.
///
/// The build cache makes the next builds quick and is shared by everybody who builds on this Docker engine, so it is
/// emptied only with --build-cache.
#[derive(Debug, Args)]
pub(super) struct Cleanup {
    /// Also empty Docker's build cache, shared by all users of this Docker engine: their next builds start from nothing
    #[arg(long)]
    build_cache: bool,
    #[command(flatten)]
    detach: Detach,
}

impl Cleanup {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let action = Action::Cleanup { build_cache: self.build_cache };
        operate(context, ui, self.detach, &action, |_| None).await?;
        if !self.build_cache && !self.detach.is_set() {
            ui.talk(
                "`paas cleanup --build-cache` also empties Docker's build cache; \
                 `paas disk` shows what uses the disk",
            );
        }
        Ok(())
    }
}
