//! Undoing a deploy that failed, and putting right what a dead one left. Whoever holds an app's lock knows that no
//! other process is deploying it, so what looks unfinished is dead.

use tracing::warn;

use crate::{
    Result,
    engine::Engine,
    error::DeployError,
    git,
    instance::Instance,
    lock::{self, Holder},
    model::{Actor, App, AppId, DeployId, DeployState, Deployment, Phase, Scheduler},
    proxy,
    store::{ContainerState, Tables},
};

/// Recovers every app whose deploy died: at the start of the daemon, and now and then. An app whose lock is held is
/// left to its holder.
///
/// # Errors
/// [`crate::Error::Store`].
pub async fn recover(instance: &Instance, engine: &Engine) -> Result<()> {
    let unfinished = instance.reading(|tables| tables.unfinished_deployments(None)).await?;
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
    for deployment in instance.reading(move |tables| tables.unfinished_deployments(Some(app_id))).await? {
        // One that lives waits in line: the lock is ours, so it can do nothing else.
        if lock::is_claimed(&claims, deployment.id.0)? {
            continue;
        }
        match deployment.state.phase() {
            Phase::Undoable => {
                let stopped = instance.reading(move |tables| tables.stopped_by(deployment.id)).await?;
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
pub(super) fn abandon(instance: &Instance, id: DeployId, end: DeployState, reason: &str) {
    let abandoned = || {
        let (deployment, app) = instance.read(|tables| with_app(tables, id))?;
        unpin(instance, &deployment, &app)?;
        instance.write(|tables| tables.end_deployment(id, end, Some(reason)))
    };
    if let Err(error) = abandoned() {
        warn!("ending deploy {id}: {}", error.one_line());
    }
}

async fn try_undo(instance: &Instance, engine: &Engine, id: DeployId, end: DeployState, reason: &str) -> Result<()> {
    let (deployment, app) = instance.reading(move |tables| with_app(tables, id)).await?;
    // One that was refused before its first step has made nothing, so its end needs no engine.
    if deployment.state != DeployState::Queued {
        remove_made(instance, engine, id, &app).await?;
    }
    unpin(instance, &deployment, &app)?;
    let reason = reason.to_owned();
    let ended = instance.writing(move |tables| {
        // A restart works on a release that is good already, which this does not change.
        if let Some(release) = tables.deployment_release(id)? {
            tables.fail_release(release)?;
        }
        tables.end_deployment(id, end, Some(&reason))
    });
    ended.await
}

/// A deployment and its app.
fn with_app(tables: &Tables<'_>, id: DeployId) -> Result<(Deployment, App)> {
    let deployment = tables.deployment(id)?;
    let app = tables.app_by_id(deployment.app_id)?;
    Ok((deployment, app))
}

/// Lets go of the commit that was kept for a deployment, if it has one.
fn unpin(instance: &Instance, deployment: &Deployment, app: &App) -> Result<()> {
    match deployment.commit {
        Some(_) => git::unpin(&instance.settings.paths.repository(&app.name), deployment.id),
        None => Ok(()),
    }
}

/// Removes the containers and the image that a deployment made, and starts again what it stopped.
async fn remove_made(instance: &Instance, engine: &Engine, id: DeployId, app: &App) -> Result<()> {
    for container in instance.reading(move |tables| tables.containers_of_deployment(id)).await? {
        Scheduler::Local.remove(engine, &container.name).await?;
        instance.writing(move |tables| tables.remove_container(container.id)).await?;
    }
    let app_id = app.id;
    let mut suspended = instance.reading(move |tables| tables.containers_of_app(app_id)).await?;
    suspended.retain(|container| container.state == ContainerState::Suspended);
    for container in &suspended {
        Scheduler::Local.resume(instance, engine, container).await?;
    }
    if !suspended.is_empty() {
        // It may have been written while they did not run.
        proxy::sync(instance).await?;
    }
    // A build that died with its process may have left its image without a release.
    for image in engine.images(&instance.id).await?.iter().filter(|image| image.deployment == Some(id)) {
        engine.remove_image_of(image).await?;
    }
    Ok(())
}

/// Does what follows the commit of a switch, again.
async fn finish(instance: &Instance, engine: &Engine, deployment: &Deployment) -> Result<()> {
    let (id, app_id) = (deployment.id, deployment.app_id);
    let read = instance.reading(move |tables| Ok((tables.app_by_id(app_id)?, tables.containers_of_app(app_id)?)));
    let (app, containers) = read.await?;
    if deployment.state == DeployState::Switching {
        let repository = instance.settings.paths.repository(&app.name);
        if let (Some(branch), Some(commit)) = (&deployment.branch, deployment.commit) {
            git::move_branch(&repository, branch, commit)?;
        }
        git::unpin(&repository, deployment.id)?;
        // Of a command that was to run after the switch: it is not begun again.
        let begun = containers.iter().filter(|it| it.deployment_id == id && it.state == ContainerState::Candidate);
        for container in begun {
            Scheduler::Local.remove(engine, &container.name).await?;
            let row = container.id;
            instance.writing(move |tables| tables.remove_container(row)).await?;
        }
        for container in containers.iter().filter(|container| container.is_live()) {
            Scheduler::Local.keep_running(engine, container, container.restart).await?;
        }
        instance
            .writing(move |tables| tables.move_deployment(id, DeployState::Switching, DeployState::Draining))
            .await?;
        proxy::publish(instance, &app.name).await?;
    }
    Ok(())
}
