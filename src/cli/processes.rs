use clap::Args;

use crate::{
    Result,
    instance::Instance,
    model::AppName,
    ops,
    ui::{DeployLog, Ui},
};

/// Stop an app
///
/// Its address answers 503 with a page that says so, until `ps:start` or the next deploy.
#[derive(Debug, Args)]
pub(super) struct Stop {
    /// The app
    app: AppName,
}

impl Stop {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let ui = Ui::default();
        ops::processes::stop(instance, &self.app, |holder| ui.talk(&format!("waiting for {holder}"))).await?;
        ui.talk(&format!("{} is stopped; `paas ps:start {}` starts it again", self.app, self.app));
        Ok(())
    }
}

/// Start a stopped app
#[derive(Debug, Args)]
pub(super) struct Start {
    /// The app
    app: AppName,
}

impl Start {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        ops::processes::start(instance, &self.app, &DeployLog::to_stderr()).await.map(drop)
    }
}

/// Restart an app without losing a request
///
/// New containers are started and proven healthy before the old ones go.
#[derive(Debug, Args)]
pub(super) struct Restart {
    /// The app
    app: AppName,
}

impl Restart {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        ops::processes::start(instance, &self.app, &DeployLog::to_stderr()).await.map(drop)
    }
}
