//! Undoing a deploy that failed, and putting right what a dead one left. Whoever holds an app's lock knows that no
//! other process is deploying it, so what looks unfinished is dead.

use tracing::warn;

use super::build::image_tag;
use crate::{
    Error, Result,
    engine::{Engine, Restart},
    git,
    instance::Instance,
    lock::{self, Holder},
    model::{DeployId, DeployState, Deployment, Phase},
    proxy,
    store::ContainerState,
};

/// Recovers every app whose deploy died: at the start of the daemon, and now and then. An app whose lock is held is
/// left to its holder.
///
/// # Errors
/// [`Error::Database`].
pub async fn recover(instance: &Instance, engine: &Engine) -> Result<()> {
    let unfinished = instance.read(|tables| tables.unfinished_deployments(None))?;
    let mut apps: Vec<i64> = unfinished
        .iter()
        .filter(|deployment| deployment.state != DeployState::Draining)
        .map(|deployment| deployment.app_id)
        .collect();
    apps.dedup();
    for app_id in apps {
        let holder = Holder::new("the recovery", &instance.actor);
        if let Ok(_lock) = lock::try_lock(&instance.settings.paths.app_lock(app_id), &holder)?
            && let Err(error) = leftovers(instance, engine, app_id).await
        {
            warn!("recovery of app {app_id}: {}", error.one_line());
        }
    }
    Ok(())
}

/// Undoes or finishes the deploys of an app whose process died. The caller holds the app's lock.
pub(super) async fn leftovers(instance: &Instance, engine: &Engine, app_id: i64) -> Result<()> {
    for deployment in instance.read(|tables| tables.unfinished_deployments(Some(app_id)))? {
        match deployment.state.phase() {
            Phase::Undoable => {
                let (end, error) = match instance.read(|tables| tables.canceled_by(deployment.id))? {
                    Some(actor) => (DeployState::Canceled, Error::Canceled(actor)),
                    None => (DeployState::Failed, Error::DeployInterrupted),
                };
                undo(instance, engine, deployment.id, end, &error.one_line()).await;
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

async fn try_undo(instance: &Instance, engine: &Engine, id: DeployId, end: DeployState, reason: &str) -> Result<()> {
    let deployment = instance.read(|tables| tables.deployment(id))?;
    let app = instance.read(|tables| tables.app_by_id(deployment.app_id))?;
    for container in instance.read(|tables| tables.containers_of_deployment(id))? {
        engine.remove(&container.name).await?;
        instance.write(|tables| tables.remove_container(container.id))?;
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
        if let (Some(branch), Some(commit)) = (&deployment.branch, deployment.commit) {
            let repository = instance.settings.paths.repository(&app.name);
            git::move_branch(&repository, branch, commit)?;
            git::unpin(&repository, deployment.id)?;
        }
        for container in instance.read(|tables| tables.containers_of_app(app.id))? {
            if container.state == ContainerState::Live {
                engine.set_restart(&container.name, Restart::UnlessStopped).await?;
            }
        }
        instance
            .write(|tables| tables.move_deployment(deployment.id, DeployState::Switching, DeployState::Draining))?;
        proxy::publish(instance, &app.name).await?;
    }
    Ok(())
}
