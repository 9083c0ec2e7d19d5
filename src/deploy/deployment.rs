//! A deployment that is running in this process.

use std::{cell::Cell, time::Duration, time::Instant};

use crate::{
    Error, Result, clock,
    engine::{Engine, Labels},
    git,
    instance::Instance,
    lock::Lock,
    model::{App, DeployId, DeployState, ProcessType, ReleaseVersion},
    store::NewDeployment,
    ui::DeployLog,
};

/// How often a running deployment looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(200);

/// A deployment that is running, and all its steps need. It holds the app's lock.
pub(super) struct Deploying<'a> {
    pub instance: &'a Instance,
    pub engine: Engine,
    pub app: App,
    pub id: DeployId,
    pub log: &'a DeployLog,
    pub started: Instant,
    state: Cell<DeployState>,
    _lock: Lock,
}

impl<'a> Deploying<'a> {
    /// Opens the deployment's row and its log, and pins its commit.
    pub fn open(
        instance: &'a Instance,
        engine: Engine,
        app: App,
        lock: Lock,
        log: &'a DeployLog,
        new: &NewDeployment<'_>,
    ) -> Result<Self> {
        let id = instance.write(|tables| tables.open_deployment(app.id, new))?;
        log.open_file(&instance.settings.paths.deploy_log(&app.name, id))?;
        if let Some(commit) = new.commit {
            git::pin(&instance.settings.paths.repository(&app.name), id, commit)?;
        }
        Ok(Deploying {
            instance,
            engine,
            app,
            id,
            log,
            started: clock::instant(),
            state: Cell::new(DeployState::Queued),
            _lock: lock,
        })
    }

    /// Moves on to the next state.
    pub fn enter(&self, next: DeployState) -> Result<()> {
        self.instance.write(|tables| tables.move_deployment(self.id, self.state.get(), next))?;
        self.entered(next);
        Ok(())
    }

    /// Notes a state that a transaction of the caller's moved to.
    pub fn entered(&self, next: DeployState) {
        self.state.set(next);
    }

    /// The state it is in.
    pub fn state(&self) -> DeployState {
        self.state.get()
    }

    /// Does work that can be undone, until it is done, or somebody cancels the deployment or interrupts this process.
    pub async fn unless_canceled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let canceled = async {
            loop {
                tokio::time::sleep(CANCEL_POLL).await;
                // A database that cannot be read now will be read the next time.
                if let Ok(Some(actor)) = self.instance.read(|tables| tables.canceled_by(self.id)) {
                    return Error::Canceled(actor);
                }
            }
        };
        tokio::select! {
            result = work => result,
            error = canceled => Err(error),
            _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
        }
    }

    /// The labels of what this deployment makes in the engine.
    pub fn labels(&self, release: Option<ReleaseVersion>, process: Option<(ProcessType, u32)>) -> Labels {
        Labels { instance: self.instance.id.clone(), app: self.app.name.clone(), release, deployment: self.id, process }
    }
}
