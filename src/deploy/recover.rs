//! Undoing a deploy that failed, and putting right what a dead one left. Whoever holds an app's lock knows that no
//! other process is deploying it, so what looks unfinished is dead.

use tracing::warn;

use super::{build::image_tag, retire, rollout};
use crate::{
    Error, Result,
    engine::{Engine, Labels},
    error::DeployError,
    git,
    instance::Instance,
    lock::{self, Holder},
    model::{Actor, AppId, AppName, DeployId, DeployState, Deployment, Phase, RestartPolicy},
    proxy,
    store::{Container, ContainerState},
};

/// Recovers every app whose deploy died: at the start of the daemon, and now and then. An app whose lock is held is
/// left to its holder.
pub async fn recover(instance: &Instance, engine: &Engine) -> Result<()> {
    let unfinished = instance.read(|tables| tables.unfinished_deployments(None))?;
    let claims = instance.settings.paths.deployments_lock();
    let mut apps = Vec::new();
    for deployment in unfinished.iter().filter(|deployment| deployment.state != DeployState::Draining) {
        if !lock::is_claimed(&claims, deployment.id.0)? {
            apps.push(deployment.app_id);
        }
    }
    apps.sort_unstable();
    apps.dedup();
    for app_id in apps {
        let holder = Holder::new("the recovery", &Actor::Daemon);
        if let Ok(_lock) = lock::try_lock(&instance.settings.paths.app_lock(app_id), &holder)?
            && let Err(error) = leftovers(instance, engine, app_id).await
        {
            warn!("recovery of app {app_id}: {}", error.one_line());
        }
    }
    Ok(())
}

/// Undoes or finishes the deploys of an app whose process died. The caller holds the app's lock.
pub(super) async fn leftovers(instance: &Instance, engine: &Engine, app_id: AppId) -> Result<()> {
    let claims = instance.settings.paths.deployments_lock();
    for deployment in instance.read(|tables| tables.unfinished_deployments(Some(app_id)))? {
        // One that lives waits in line: the lock is ours, so it can do nothing else.
        if lock::is_claimed(&claims, deployment.id.0)? {
            continue;
        }
        match deployment.state.phase() {
            Phase::Undoable => {
                let stopped = instance.read(|tables| tables.stopped_by(deployment.id))?;
                let (end, reason) = match stopped {
                    Some(stop) => (stop.end(), stop.to_string()),
                    None => (DeployState::Failed, DeployError::Died.to_string()),
                };
                undo(instance, engine, deployment.id, end, &reason).await;
            }
            Phase::Committed => finish(instance, engine, &deployment).await?,
            Phase::Ended => {}
        }
    }
    Ok(())
}

/// Removes what a deployment made and ends it. Nothing here fails: what cannot be removed now keeps its row, and is
/// removed by the next to come.
pub(super) async fn undo(instance: &Instance, engine: &Engine, id: DeployId, end: DeployState, reason: &str) {
    if let Err(error) = try_undo(instance, engine, id, end, reason).await {
        warn!("undoing deploy {id}: {}", error.one_line());
    }
}

/// Ends a deployment that made nothing yet. Nothing here fails: what cannot be done now is done by the next to come.
pub(super) fn abandon(instance: &Instance, app: &AppName, id: DeployId, end: DeployState, reason: &str) {
    let unpinned = git::unpin(&instance.settings.paths.repository(app), id);
    let ended = unpinned.and_then(|()| instance.write(|tables| tables.end_deployment(id, end, Some(reason))));
    if let Err(error) = ended {
        warn!("ending deploy {id}: {}", error.one_line());
    }
}

async fn try_undo(instance: &Instance, engine: &Engine, id: DeployId, end: DeployState, reason: &str) -> Result<()> {
    let deployment = instance.read(|tables| tables.deployment(id))?;
    let app = instance.read(|tables| tables.app_by_id(deployment.app_id))?;
    for container in instance.read(|tables| tables.containers_of_deployment(id))? {
        engine.remove(&container.name).await?;
        instance.write(|tables| tables.remove_container(container.id))?;
    }
    let mut suspended = instance.read(|tables| tables.containers_of_app(app.id))?;
    suspended.retain(|container| container.state == ContainerState::Suspended);
    for container in &suspended {
        resume(instance, engine, container).await?;
    }
    if !suspended.is_empty() {
        // It may have been written while they did not run.
        proxy::sync(instance).await?;
    }
    // A build that died with its process may have left its image without a release.
    engine.remove_image(&image_tag(&instance.id, app.name.as_str(), id)).await?;
    git::unpin(&instance.settings.paths.repository(&app.name), id)?;
    instance.write(|tables| {
        // A restart works on a release that is good already, which this does not change.
        if let Some(release) = tables.deployment_release(id)? {
            tables.fail_release(release)?;
        }
        tables.end_deployment(id, end, Some(reason))
    })
}

/// Does what follows the commit of a switch, again.
async fn finish(instance: &Instance, engine: &Engine, deployment: &Deployment) -> Result<()> {
    let app = instance.read(|tables| tables.app_by_id(deployment.app_id))?;
    if deployment.state == DeployState::Switching {
        let repository = instance.settings.paths.repository(&app.name);
        if let (Some(branch), Some(commit)) = (&deployment.branch, deployment.commit) {
            git::move_branch(&repository, branch, commit)?;
        }
        git::unpin(&repository, deployment.id)?;
        for container in instance.read(|tables| tables.containers_of_app(app.id))? {
            if container.state == ContainerState::Live {
                engine.set_restart(&container.name, container.restart).await?;
            }
        }
        instance
            .write(|tables| tables.move_deployment(deployment.id, DeployState::Switching, DeployState::Draining))?;
        proxy::publish(instance, &app.name).await?;
    }
    Ok(())
}

/// Stops a container that makes way for a new one, once it has answered what it was asked. It stays as it is, to be
/// started again if the new one fails. Its row says so already.
pub(super) async fn suspend(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    engine.set_restart(&container.name, RestartPolicy::No).await?;
    if container.process.is_web() {
        retire::drain(instance, container).await;
    }
    engine.stop(&container.name, retire::stop_timeout(container)).await
}

/// Starts a container again that made way in vain.
async fn resume(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    start_or_remake(instance, engine, container).await?;
    engine.set_restart(&container.name, container.restart).await?;
    instance.write(|tables| {
        tables.set_container_state(container.id, ContainerState::Live)?;
        tables.set_healthy(container.id, true)
    })?;
    proxy::publish(instance, &container.app).await.map(drop)
}

async fn start_or_remake(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    match engine.start_again(&container.name).await {
        Ok(()) => Ok(()),
        Err(_) => remake(instance, engine, container).await,
    }
}

/// Makes a live container anew that the engine has lost, or cannot start any more: of the same release, with the same
/// name, and with the same address unless that is taken.
///
/// # Errors
/// What the engine says; [`Error::Store`].
pub async fn remake(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    let (release, sealed) = instance
        .read(|tables| Ok((tables.release(container.release_id)?, tables.sealed_config(container.release_id)?)))?;
    let config = instance.secrets.unseal_config(&sealed)?;
    let spec = release
        .process(&container.process)
        .ok_or_else(|| Error::bug(format!("{} has no {}", release.version, container.process)))?;
    let labels = Labels {
        instance: instance.id.clone(),
        app: container.app.clone(),
        release: Some(release.version),
        deployment: container.deployment_id,
        process: Some((container.process.clone(), container.position)),
    };
    let mut made = rollout::container_spec(labels, (&release, &config), container, (&spec.run, spec.arguments()));
    made.restart = container.restart;
    engine.ensure_network(&instance.id, instance.settings.subnet).await?;
    engine.remove(&container.name).await?;
    let started = rollout::start_container(instance, engine, container.clone(), made).await?;
    if started.address != container.address {
        proxy::sync(instance).await?;
    }
    Ok(())
}
