use clap::{Args, Subcommand};

use super::arguments::{AppArgument, OptionalApp};
use crate::{
    Result,
    context::Context,
    model::{Access, Network, Right},
    ops::maintenance,
    ui::Ui,
};

/// Maintenance: answer 503 with a page while an app runs on
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "maintenance:on")]
    On(On),
    #[command(name = "maintenance:off")]
    Off(Off),
    #[command(name = "maintenance:report")]
    Report(Report),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::On(it) => Access::App(&it.app.app, Right::Change),
            Command::Off(it) => Access::App(&it.app.app, Right::Change),
            Command::Report(Report { app: OptionalApp { app: Some(app) } }) => Access::App(app, Right::See),
            Command::Report(_) => Access::Server(Right::See),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::On(it) => it.run(context, ui).await,
            Command::Off(it) => it.run(context, ui).await,
            Command::Report(Report { app: OptionalApp { app: Some(app) } }) => {
                ui.show(&maintenance::report(context, &app)?)
            }
            Command::Report(_) => ui.show(&maintenance::report_all(context)?),
        }
    }
}

/// Have requests for an app answered with 503 and a page
///
/// The app runs on, is checked and can be deployed meanwhile. Typed again, it changes the message, the page and the
/// addresses.
#[derive(Debug, Args)]
pub(super) struct On {
    #[command(flatten)]
    app: AppArgument,
    /// What the usual page says
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// A file of the deployed commit that is answered instead of the usual page: at most 256 KiB
    #[arg(long, value_name = "FILE", conflicts_with = "message")]
    page: Option<String>,
    /// An address or a network whose requests reach the app, such as 203.0.113.7; once or several times
    #[arg(long, value_name = "ADDRESS")]
    allow: Vec<Network>,
}

impl On {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let app = self.app.app;
        let changed = maintenance::on(context, &app, self.message, self.page.as_deref(), &self.allow).await?;
        ui.talk(&format!("{app} is under maintenance; `paas maintenance:off {app}` ends it"));
        ui.show(&changed)
    }
}

/// Let requests reach the app again
#[derive(Debug, Args)]
pub(super) struct Off {
    #[command(flatten)]
    app: AppArgument,
}

impl Off {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let app = self.app.app;
        let (changed, ended) = maintenance::off(context, &app).await?;
        ui.talk(&match ended {
            true => format!("{app} is no longer under maintenance"),
            false => format!("{app} was not under maintenance"),
        });
        ui.show(&changed)
    }
}

/// Show whether an app is under maintenance, or which apps are
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    app: OptionalApp,
}
