//! A deployment that is running in this process.

use std::{cell::Cell, time::Duration, time::Instant};

use crate::{
    Error, Result, clock,
    context::Context,
    engine::{Engine, Labels},
    instance::Instance,
    lock::Lock,
    model::{App, Caller, DeployId, DeployState, ProcessType, ReleaseVersion},
    settings,
    ui::DeployLog,
};

/// How often a running deployment looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(200);

/// A deployment that is running, and all its steps need. It holds the app's lock, and the claim on its own number.
pub(super) struct Deploying<'a> {
    pub instance: &'a Instance,
    pub caller: &'a Caller,
    pub engine: Engine,
    pub app: App,
    pub id: DeployId,
    pub log: &'a DeployLog,
    pub started: Instant,
    state: Cell<DeployState>,
    _locks: (Lock, Lock),
}

impl<'a> Deploying<'a> {
    /// A deployment that waited its turn and has it.
    pub fn new(
        context: &Context<'a>,
        engine: Engine,
        app: App,
        id: DeployId,
        log: &'a DeployLog,
        locks: (Lock, Lock),
    ) -> Self {
        let deploying = Deploying {
            instance: context.instance,
            caller: context.caller,
            engine,
            app,
            id,
            log,
            started: clock::instant(),
            state: Cell::new(DeployState::Queued),
            _locks: locks,
        };
        deploying.entered(DeployState::Queued);
        deploying
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
        die_where_told(next);
    }

    /// The state it is in.
    pub fn state(&self) -> DeployState {
        self.state.get()
    }

    /// Does work that can be undone, until it is done, or somebody cancels the deployment or interrupts this process.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let stopped = async {
            loop {
                tokio::time::sleep(CANCEL_POLL).await;
                // A database that cannot be read now will be read the next time.
                if let Ok(Some(stopped)) = self.instance.read(|tables| tables.stopped_by(self.id)) {
                    return stopped;
                }
            }
        };
        tokio::select! {
            result = work => result,
            stop = stopped => Err(stop.into()),
            _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
        }
    }

    /// The labels of what this deployment makes in the engine.
    pub fn labels(&self, release: Option<ReleaseVersion>, process: Option<(ProcessType, u32)>) -> Labels {
        Labels { instance: self.instance.id.clone(), app: self.app.name.clone(), release, deployment: self.id, process }
    }
}

/// Kills this process, as if the plug was pulled: nothing is cleaned up, nobody is told. Only in tests, which say on
/// entering which state.
pub(super) fn die_where_told(state: DeployState) {
    if settings::dies_on(state) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
