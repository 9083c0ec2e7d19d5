use clap::{Args, Subcommand};

use super::{
    arguments::AppArgument,
    operations::{Detach, operate},
};
use crate::{
    Result,
    context::Context,
    model::{Access, ReleaseVersion, Right},
    ops::{
        operations::{Action, Change},
        releases,
    },
    ui::Ui,
};

/// Releases: list them, show one, roll back to one
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "releases:list")]
    List(List),
    #[command(name = "releases:info")]
    Info(Info),
    #[command(name = "releases:rollback")]
    Rollback(Rollback),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::List(it) => Access::App(&it.app.app, Right::See),
            Command::Info(it) => Access::App(&it.app.app, if it.reveal { Right::Reveal } else { Right::See }),
            Command::Rollback(it) => Access::App(&it.app.app, Right::Deploy),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::List(it) => ui.show(&releases::list(context, &it.app.app, it.number).await?),
            Command::Info(it) => ui.show(&releases::info(context, &it.app.app, it.version, it.reveal)?),
            Command::Rollback(it) => it.run(context, ui).await,
        }
    }
}

/// List an app's releases, newest first
///
/// A release is an image, a config and process types, frozen at one moment. Every change makes a new one.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    app: AppArgument,
    /// How many
    #[arg(short, long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
}

/// Show a release: image, commit, processes, config
#[derive(Debug, Args)]
pub(super) struct Info {
    #[command(flatten)]
    app: AppArgument,
    /// The release [default: the live release]
    #[arg(value_name = "vN")]
    version: Option<ReleaseVersion>,
    /// Show the values of the config too
    #[arg(long)]
    reveal: bool,
}

/// Roll back to an earlier release: its image, its config, its settings
///
/// Nothing is built and the release command does not run: a rollback takes seconds. The earlier release is checked
/// before traffic moves to it, and becomes a new release. The command that undoes the rollback is printed. A release has
/// no domains: the app stays at those that it has now.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    #[command(flatten)]
    app: AppArgument,
    /// The release to roll back to [default: the previous good release]
    #[arg(value_name = "vN")]
    version: Option<ReleaseVersion>,
    #[command(flatten)]
    detach: Detach,
}

impl Rollback {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let action = Action::Deploy { app: self.app.app, change: Change::Rollback(self.version) };
        operate(context, ui, self.detach, &action, |_| None).await
    }
}
