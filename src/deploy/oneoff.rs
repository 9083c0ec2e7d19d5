//! A command line that runs once in a container of its own, with the image and the config of a release: its start, its
//! end, and the last that it printed. Its row in `containers` is there as long as the container may be, so that nobody
//! takes it for a stranger's, and whoever comes next finds it.

use std::time::Duration;

use tracing::warn;

use super::{
    container::{self, Program},
    kept::{Kept, secrets_of},
};
use crate::{
    Result, clock,
    engine::{Engine, Status},
    error::DeployError,
    instance::Instance,
    model::{self, AppId, DeployId, ProcessSettings, ProcessType, Release, RestartPolicy, Scheduler},
    store::{Container, ContainerState, NewContainer},
};

/// The number of a deployment that there is not: for a release whose own is forgotten.
const NO_DEPLOYMENT: DeployId = model::OperationId(0);
/// How much is kept of what a command prints, in bytes: its last lines.
const KEPT_OUTPUT: usize = 64 * 1024;
/// How long to wait before an engine that does not answer is asked again.
const ENGINE_AGAIN: Duration = Duration::from_secs(1);
/// The exit codes of a command that was ended from outside: by SIGKILL, by SIGTERM, and by the end of its engine.
const CODES_OF_KILLED: [i64; 3] = [137, 143, 255];

/// What is to run once.
#[derive(Clone, Debug)]
pub struct OneOff {
    /// The app.
    pub app_id: AppId,
    /// What it is called among the processes of the app.
    pub process: ProcessType,
    /// Its number, which no other of that name has had.
    pub number: u32,
    /// The command line.
    pub command: String,
}

/// How a command came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Exited(i64),
    /// Its time was up.
    TooLong,
    /// Somebody wanted it to end.
    Stopped,
    /// With its engine or its machine, as far as can be told; with the exit code, if its container is still there.
    CutShort(Option<i64>),
}

/// What a command printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The end of it, without secrets.
    pub text: String,
    /// How much there was before that, in bytes.
    pub dropped_bytes: u64,
}

/// Makes and starts a container of the release that serves, and returns it with that release. What cannot be started
/// leaves nothing behind.
///
/// # Errors
/// `DeployError::NotRunning`, `DeployError::NeverDeployed`; what the engine says.
pub async fn start(instance: &Instance, engine: &Engine, what: &OneOff) -> Result<(Container, Release)> {
    engine.ensure_network(&instance.id, instance.settings.subnet).await?;
    let (id, subnet, task) = (instance.id.clone(), instance.settings.subnet, what.clone());
    // In one transaction: an app that is being destroyed is stopped first, and gets no more containers then.
    let written = instance.writing(move |tables| {
        let app = tables.app_by_id(task.app_id)?;
        if !app.is_running() {
            return Err(DeployError::NotRunning { app: app.name }.into());
        }
        let release = tables.serving(&app)?;
        let run = ProcessSettings::of_overrides(&release.overrides, &task.process).resolve(&task.process)?;
        let deployment_id = tables.deployment_of_release(release.id)?.unwrap_or(NO_DEPLOYMENT);
        let name = container::name_of(&id, &app.name, deployment_id, &task.process, task.number);
        let new = NewContainer {
            app_id: app.id,
            release_id: release.id,
            deployment_id,
            process: &task.process,
            run: &run,
            position: task.number,
            name: &name,
            port: release.port,
        };
        let row = tables.add_container(subnet, &new)?;
        tables.set_container_state(row.id, ContainerState::Once)?;
        let row = Container { state: ContainerState::Once, ..row };
        let sealed = tables.sealed_config(release.id)?;
        Ok((row, release, run, sealed))
    });
    let (row, release, run, sealed) = written.await?;
    let (id, name) = (row.id, row.name.clone());
    let made = async {
        let config = instance.secrets.unseal_config(&sealed)?;
        let arguments = Some(model::shell_arguments(&what.command).to_vec());
        let program = Program { release: &release, config: &config, run: &run, arguments, restart: RestartPolicy::No };
        Scheduler::Local.run_once(instance, engine, row, &program).await
    };
    match made.await {
        Ok(container) => Ok((container, release)),
        Err(error) => {
            // What cannot be removed now keeps its row, for the next look.
            if Scheduler::Local.remove(engine, &name).await.is_ok() {
                instance.writing(move |tables| tables.remove_container(id)).await?;
            }
            Err(error)
        }
    }
}

/// The containers that run something once, of all apps.
///
/// # Errors
/// [`crate::Error::Store`].
pub async fn all(instance: &Instance) -> Result<Vec<Container>> {
    let mut containers = instance.reading(|tables| tables.containers()).await?;
    containers.retain(|container| container.state == ContainerState::Once);
    Ok(containers)
}

/// Waits until a command ends, at most as long as `limit`, or until `stop` says that it is to end. An engine that goes
/// away is waited for.
///
/// # Errors
/// What the engine says.
pub async fn follow(
    engine: &Engine,
    container: &Container,
    limit: Duration,
    stop: impl Future<Output = ()>,
) -> Result<End> {
    let ended = tokio::select! {
        end = ended(engine, container) => return end,
        () = tokio::time::sleep(limit) => End::TooLong,
        () = stop => End::Stopped,
    };
    while let Err(error) = Scheduler::Local.end(engine, container).await {
        warn!("{}: {}", container.name, error.one_line());
        tokio::time::sleep(ENGINE_AGAIN).await;
    }
    Ok(ended)
}

/// Waits until a container has ended, whatever becomes of the engine meanwhile.
async fn ended(engine: &Engine, container: &Container) -> Result<End> {
    loop {
        match engine.status(&container.name).await {
            Ok(Status::Running | Status::Restarting) => {
                match engine.wait(&container.name).await {
                    Ok(code) if CODES_OF_KILLED.contains(&code) => {
                        // An engine that goes down ends its containers, and says so before it goes.
                        tokio::time::sleep(ENGINE_AGAIN).await;
                        let answers = engine.status(&container.name).await.is_ok();
                        return Ok(if answers { End::Exited(code) } else { End::CutShort(Some(code)) });
                    }
                    Ok(code) => return Ok(End::Exited(code)),
                    Err(_) => {}
                }
            }
            // What ended while nobody looked may have been ended by what kept us from looking.
            Ok(Status::Exited(code)) if CODES_OF_KILLED.contains(&code) => return Ok(End::CutShort(Some(code))),
            Ok(Status::Exited(code)) => return Ok(End::Exited(code)),
            // It was made, and whoever was to start it is gone.
            Ok(Status::Created | Status::Missing) => return Ok(End::CutShort(None)),
            Err(_) => {}
        }
        tokio::time::sleep(ENGINE_AGAIN).await;
    }
}

/// The last that a command printed. What cannot be masked is not kept.
///
/// # Errors
/// [`crate::Error::Store`], [`crate::Error::Host`] where the config cannot be unsealed; what the engine says.
pub async fn output(instance: &Instance, engine: &Engine, container: &Container) -> Result<Output> {
    let secrets = secrets_of(instance, container.release_id).await?;
    let kept = Kept::of(engine, &container.name, secrets, KEPT_OUTPUT).await?;
    Ok(Output { text: kept.text(), dropped_bytes: kept.dropped })
}

/// Removes a container with its row.
///
/// # Errors
/// What the engine says; [`crate::Error::Store`].
pub async fn remove(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    Scheduler::Local.remove(engine, &container.name).await?;
    let id = container.id;
    instance.writing(move |tables| tables.remove_container(id)).await
}

/// How much of a time limit is left for a container that began then.
pub fn left_of(limit: Duration, started_at: i64) -> Duration {
    limit.saturating_sub(clock::since(started_at))
}
