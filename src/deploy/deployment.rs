//! A deployment that is running in this process.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    Error, Result, clock,
    context::Context,
    engine::{Engine, Labels},
    error::DeployError,
    exec,
    instance::Instance,
    lock::Lock,
    model::{App, AppName, Caller, DeployId, DeployState, Scheduler},
    secrets, settings,
    ui::DeployLog,
};

/// How often a running deployment looks whether it was cancelled.
const CANCEL_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How many hexadecimal digits of an image's name are by chance.
const CHANCE: usize = 32;

/// A deployment that is running, and all its steps need. It holds the app's lock, and the claim on its own number.
pub(super) struct ActiveDeploy<'a> {
    pub instance: &'a Instance,
    pub caller: &'a Caller,
    pub engine: Engine,
    pub scheduler: Scheduler,
    pub app: App,
    pub id: DeployId,
    pub log: &'a DeployLog,
    pub started: Instant,
    /// The tag of the image that it makes. No build can name it that was not told it, so that none gets at another app's
    /// files with `FROM`.
    pub image_tag: String,
    state: Mutex<DeployState>,
    _locks: (Lock, Lock),
}

impl<'a> ActiveDeploy<'a> {
    /// A deployment that waited its turn and has it.
    pub fn new(
        context: &Context<'a>,
        engine: Engine,
        app: App,
        id: DeployId,
        log: &'a DeployLog,
        locks: (Lock, Lock),
    ) -> Result<Self> {
        let image_tag = image_tag(&context.instance.id, &app.name, id)?;
        let deploy = ActiveDeploy {
            instance: context.instance,
            caller: context.caller,
            engine,
            scheduler: Scheduler::Local,
            app,
            id,
            log,
            started: clock::instant(),
            image_tag,
            state: Mutex::new(DeployState::Queued),
            _locks: locks,
        };
        deploy.entered(DeployState::Queued);
        Ok(deploy)
    }

    /// Moves on to the next state.
    pub fn enter(&self, next: DeployState) -> Result<()> {
        self.instance.write(|tables| tables.move_deployment(self.id, self.state(), next))?;
        self.entered(next);
        Ok(())
    }

    /// Notes a state that a transaction of the caller's moved to.
    pub fn entered(&self, next: DeployState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = next;
        die_where_told(next);
    }

    /// The state it is in.
    pub fn state(&self) -> DeployState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does work that can be undone, until it is done, or somebody cancels the deployment or interrupts this process.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        unless_stopped(self.instance, self.id, work).await
    }

    /// The labels of the image that this deployment builds.
    pub fn image_labels(&self) -> Labels {
        Labels {
            instance: self.instance.id.clone(),
            app: self.app.name.clone(),
            release: None,
            deployment: Some(self.id),
            process: None,
        }
    }
}

/// Does work of a deployment that can be undone, until it is done, or somebody cancels the deployment, another one
/// supersedes it, or this process is interrupted.
pub(super) async fn unless_stopped<T>(
    instance: &Instance,
    id: DeployId,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let stopped = async {
        loop {
            tokio::time::sleep(CANCEL_POLL_INTERVAL).await;
            // A database that cannot be read now will be read the next time.
            if let Ok(Some(stopped)) = instance.read(|tables| tables.stopped_by(id)) {
                return stopped;
            }
        }
    };
    tokio::select! {
        result = work => result,
        stop = stopped => Err(stop.into()),
        () = exec::asked_to_end() => Err(Error::Interrupted),
    }
}

/// A tag for the image that a deployment builds, of which 128 bits are by chance.
fn image_tag(instance: &str, app: &AppName, deployment: DeployId) -> Result<String> {
    let made_up = secrets::made_up()?;
    Ok(format!("paas-{instance}/{app}/{}:{deployment}", &made_up[..CHANCE]))
}

/// The state in which an error ends a deployment.
pub(super) fn end_of(error: &Error) -> DeployState {
    match error {
        Error::Deploy(DeployError::Stopped(stop)) => stop.end(),
        Error::Interrupted => DeployState::Canceled,
        _ => DeployState::Failed,
    }
}

/// Kills this process, as if the plug was pulled: nothing is cleaned up, nobody is told. Only in tests, which say on
/// entering which state.
pub(super) fn die_where_told(state: DeployState) {
    if settings::dies_on(state.as_str()) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
