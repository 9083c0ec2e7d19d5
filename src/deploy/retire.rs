//! The end of containers that no longer serve: drain, stop, keep their log, remove.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::{
    container::{drain_timeout, stop_timeout},
    deployment::{ActiveDeploy, die_where_told},
    prune,
};
use crate::{
    Result, clock,
    engine::Engine,
    instance::Instance,
    model::{AppId, DeployState, Scheduler},
    proxy,
    store::{Container, ContainerState},
};

/// How much longer than its timeouts say a container may take to go.
const RETIRE_GRACE: Duration = Duration::from_secs(5);
/// How often a deploy that waits for the containers of the one before looks whether they are gone.
const DRAINED_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// After the switch: the daemon drains, and where it is not there, this process does.
pub(super) async fn hand_over(deploy: &ActiveDeploy<'_>) {
    let instance = deploy.instance;
    let moved =
        instance.write(|tables| tables.move_deployment(deploy.id, DeployState::Switching, DeployState::Draining));
    if let Err(error) = moved {
        deploy.log.warn(&error.one_line());
        return;
    }
    deploy.entered(DeployState::Draining);
    if instance.daemon_runs() {
        return;
    }
    if let Err(error) = retire_app(instance, &deploy.engine, deploy.app.id).await {
        deploy.log.warn(&format!("the old containers are left to the next start: {}", error.one_line()));
    }
}

/// Waits until the containers of the deploy before are gone.
pub(super) async fn wait_until_drained(deploy: &ActiveDeploy<'_>) -> Result<()> {
    let instance = deploy.instance;
    let begun = clock::instant();
    let mut told = false;
    loop {
        let containers = instance.read(|tables| tables.containers_of_app(deploy.app.id))?;
        let draining: Vec<&Container> =
            containers.iter().filter(|container| container.state == ContainerState::Draining).collect();
        if draining.is_empty() {
            return Ok(());
        }
        let longest = draining.iter().map(|container| drain_timeout(container) + stop_timeout(container)).max();
        if !told {
            deploy.log.detail("waiting for the containers of the deploy before to drain");
            told = true;
        }
        if begun.elapsed() > longest.unwrap_or_default() + RETIRE_GRACE || !instance.daemon_runs() {
            return retire_app(instance, &deploy.engine, deploy.app.id).await;
        }
        tokio::time::sleep(DRAINED_POLL_INTERVAL).await;
    }
}

/// The apps that have containers on their way out, or a deployment that waits for none.
///
/// # Errors
/// [`crate::Error::Store`].
pub async fn apps_to_retire(instance: &Instance) -> Result<Vec<AppId>> {
    let read = instance.reading(|tables| Ok((tables.containers()?, tables.unfinished_deployments(None)?)));
    let (containers, deployments) = read.await?;
    let containers = containers.iter().filter(|container| container.state == ContainerState::Draining);
    let deployments = deployments.iter().filter(|deployment| deployment.state == DeployState::Draining);
    let mut apps: Vec<AppId> =
        containers.map(|container| container.app_id).chain(deployments.map(|deployment| deployment.app_id)).collect();
    apps.sort_unstable();
    apps.dedup();
    Ok(apps)
}

/// Retires an app's containers that are on their way out, and ends the deployments that waited for it.
///
/// # Errors
/// What the engine or the database says; the next call goes on where this one stopped.
pub async fn retire_app(instance: &Instance, engine: &Engine, app_id: AppId) -> Result<()> {
    let mut draining = instance.reading(move |tables| tables.containers_of_app(app_id)).await?;
    draining.retain(|container| container.state == ContainerState::Draining);
    try_join_all(draining.iter().map(|container| async move {
        Scheduler::Local.retire(instance, engine, container).await?;
        let id = container.id;
        instance.writing(move |tables| tables.remove_container(id)).await
    }))
    .await?;
    let ended = instance.writing(move |tables| {
        let mut waiting = tables.unfinished_deployments(Some(app_id))?;
        waiting.retain(|deployment| deployment.state == DeployState::Draining);
        for deployment in &waiting {
            tables.end_deployment(deployment.id, DeployState::Succeeded, None)?;
        }
        Ok(!waiting.is_empty())
    });
    let ended = ended.await?;
    if ended {
        die_where_told(DeployState::Succeeded);
    }
    if ended || !draining.is_empty() {
        // A Caddy that starts by itself is to find the addresses as they are now.
        proxy::sync(instance).await?;
    }
    if ended {
        prune::after_deploy(instance, engine).await;
    }
    Ok(())
}
