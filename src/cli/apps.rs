use clap::{Args, Subcommand};

use super::{
    arguments::{AppArgument, NamedApp},
    operations::{Detach, operate},
    properties::{ReleaseSetter, Reporter},
};
use crate::{
    Result,
    context::Context,
    error::UsageError,
    model::{Access, AppName, Noun, Right},
    ops::{apps, operations::Action, properties},
    ui::Ui,
};

/// Apps: make, look at, lock, destroy
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "apps:create")]
    Create(Create),
    #[command(name = "apps:list")]
    List(List),
    #[command(name = "apps:info")]
    Info(Info),
    #[command(name = "apps:exists")]
    Exists(Exists),
    #[command(name = "apps:set")]
    Set(Set),
    #[command(name = "apps:report")]
    Report(Report),
    #[command(name = "apps:lock")]
    Lock(Lock),
    #[command(name = "apps:unlock")]
    Unlock(Unlock),
    #[command(name = "apps:destroy")]
    Destroy(Destroy),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Create(_) => Access::Server(Right::Create),
            Command::List(_) => Access::Server(Right::See),
            Command::Info(it) => Access::App(&it.app.app, Right::See),
            Command::Exists(it) => Access::App(&it.name, Right::See),
            Command::Set(it) => it.setter.access(Noun::Apps),
            Command::Report(it) => it.reporter.access(),
            Command::Lock(it) => Access::App(&it.app.app, Right::Change),
            Command::Unlock(it) => Access::App(&it.app.app, Right::Change),
            Command::Destroy(it) => Access::App(&it.app.app, Right::Own),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui, force: bool) -> Result<()> {
        match self {
            Command::Create(it) => it.run(context, ui).await,
            Command::List(List {}) => list(context, ui).await,
            Command::Info(it) => ui.show(&apps::info(context, &it.app.app).await?),
            Command::Exists(it) => apps::exists(context, &it.name),
            Command::Set(it) => it.setter.run(context, ui, Noun::Apps, None).await,
            Command::Report(it) => it.reporter.run(context, ui, Noun::Apps),
            Command::Lock(it) => it.run(context, ui),
            Command::Unlock(it) => it.run(context, ui),
            Command::Destroy(it) => it.run(context, ui, force).await,
        }
    }
}

/// Create an app
///
/// A push to an app that does not exist creates it too, unless the setting create_on_push is off. Created first, it
/// can be given its config before its first deploy.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The app's name and subdomain: 1 to 63 lower-case letters, digits and dashes
    name: AppName,
}

impl Create {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let created = apps::create(context, &self.name).await?;
        ui.talk(&format!("it will be at {} after the first push", created.url));
        ui.show(&created)
    }
}

/// List the apps
#[derive(Debug, Args)]
pub(super) struct List {}

async fn list(context: &Context<'_>, ui: Ui) -> Result<()> {
    let list = apps::list(context).await?;
    if list.0.is_empty() {
        ui.talk("there are no apps yet: `paas apps:create NAME` makes one");
    }
    ui.show(&list)
}

/// Show an app: its address, release, containers and status
#[derive(Debug, Args)]
pub(super) struct Info {
    #[command(flatten)]
    app: AppArgument,
}

/// Tell by the exit code whether an app exists: 0 if it does, 3 if not
#[derive(Debug, Args)]
pub(super) struct Exists {
    /// The app
    #[arg(value_name = "APP", add = clap_complete::ArgValueCandidates::new(super::completions::app_names))]
    name: AppName,
}

/// Set properties of an app: the branch that deploys, what is kept
///
/// `paas apps:set blog deploy-branch dev`: from now on, pushes of the branch dev deploy the app blog.
#[derive(Debug, Args)]
#[command(after_help = properties::help(Noun::Apps))]
pub(super) struct Set {
    #[command(flatten)]
    setter: ReleaseSetter,
}

/// Show the properties of an app: what is set, by whom, and what holds
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    reporter: Reporter,
}

/// Lock an app on purpose: nothing changes it until `apps:unlock`
///
/// Pushes, restarts, config and every other change are refused with your message. Its containers keep running, and
/// are still started again if they end. A deploy that has already begun continues.
#[derive(Debug, Args)]
pub(super) struct Lock {
    #[command(flatten)]
    app: AppArgument,
    /// Why, for those who are refused
    #[arg(short, long)]
    message: Option<String>,
}

impl Lock {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let locked = apps::lock(context, &self.app.app, self.message)?;
        let app = &locked.app;
        ui.talk(&format!("{app} is locked; `paas apps:unlock {app}` unlocks it"));
        if let Some(deploy) = locked.running {
            ui.talk(&format!("deploy {deploy} is running and continues; `paas deploys:cancel {deploy}` stops it"));
        }
        ui.show(&locked)
    }
}

/// Let an app that was locked be changed again
#[derive(Debug, Args)]
pub(super) struct Unlock {
    #[command(flatten)]
    app: AppArgument,
}

impl Unlock {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let unlocked = apps::unlock(context, &self.app.app)?;
        let app = &unlocked.app;
        ui.talk(&match &unlocked.was {
            Some(lock) => format!("{app} is unlocked; {} had locked it at {}", lock.actor, lock.since_at),
            None => format!("{app} was not locked"),
        });
        ui.show(&unlocked)
    }
}

/// Remove an app with everything that belongs to it
///
/// Its containers, images, repository, logs, releases and config are gone for good. Asks for the app's name first;
/// --force does not ask.
#[derive(Debug, Args)]
pub(super) struct Destroy {
    #[command(flatten)]
    app: NamedApp,
    #[command(flatten)]
    detach: Detach,
}

impl Destroy {
    async fn run(self, context: &Context<'_>, ui: Ui, force: bool) -> Result<()> {
        let app = self.app.app;
        apps::info(context, &app).await?;
        if !force {
            ui.talk(&format!("This removes {app} with its containers, images, repository, logs and config."));
            let typed = ui.ask("Type the app's name to continue:")?;
            if typed != app.as_str() {
                return Err(UsageError::NotConfirmed { app, typed }.into());
            }
        }
        let action = Action::Destroy { app: app.clone() };
        operate(context, ui, self.detach, &action, |_| Some(format!("{app} is destroyed"))).await
    }
}
