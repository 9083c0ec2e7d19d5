//! The end of containers that no longer serve: drain, stop, keep their log, remove.

use std::{net::SocketAddrV4, time::Duration};

use futures_util::StreamExt;
use tracing::warn;

use super::{Deploying, deployment::die_where_told};
use crate::{
    Result, clock,
    engine::Engine,
    instance::Instance,
    model::{AppId, AppName, DeployState, RestartPolicy, property},
    ops, proxy,
    store::{Container, ContainerState},
    sweep,
};

/// How long Caddy may go on sending requests to an address after the resolver left it out: its refresh, twice.
const REFRESH: Duration = Duration::from_millis(300);
/// How much longer than its timeouts say a container may take to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often in a row an address must have nothing in flight.
const IDLE_TIMES: u32 = 3;

/// After the switch: the daemon drains, and where it is not there, this process does.
pub(super) async fn hand_over(deploying: &Deploying<'_>) {
    let instance = deploying.instance;
    let moved =
        instance.write(|tables| tables.move_deployment(deploying.id, DeployState::Switching, DeployState::Draining));
    if let Err(error) = moved {
        deploying.log.warn(&error.one_line());
        return;
    }
    deploying.entered(DeployState::Draining);
    if instance.daemon_runs() {
        return;
    }
    if let Err(error) = retire_app(instance, &deploying.engine, deploying.app.id).await {
        deploying.log.warn(&format!("the old containers are left to the next start: {}", error.one_line()));
    }
}

/// Waits until the containers of the deploy before are gone.
pub(super) async fn wait_until_drained(deploying: &Deploying<'_>) -> Result<()> {
    let instance = deploying.instance;
    let begun = clock::instant();
    let mut told = false;
    loop {
        let containers = instance.read(|tables| tables.containers_of_app(deploying.app.id))?;
        let draining: Vec<&Container> =
            containers.iter().filter(|container| container.state == ContainerState::Draining).collect();
        if draining.is_empty() {
            return Ok(());
        }
        let longest = draining.iter().map(|container| drain_timeout(container) + stop_timeout(container)).max();
        if !told {
            deploying.log.detail("waiting for the containers of the deploy before to drain");
            told = true;
        }
        if begun.elapsed() > longest.unwrap_or_default() + PATIENCE || !instance.daemon_runs() {
            return retire_app(instance, &deploying.engine, deploying.app.id).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The apps that have containers on their way out, or a deployment that waits for none.
pub fn apps_to_retire(instance: &Instance) -> Result<Vec<AppId>> {
    instance.read(|tables| {
        let containers = tables.containers()?.into_iter();
        let containers = containers.filter(|container| container.state == ContainerState::Draining);
        let deployments = tables.unfinished_deployments(None)?.into_iter();
        let deployments = deployments.filter(|deployment| deployment.state == DeployState::Draining);
        let mut apps: Vec<AppId> = containers
            .map(|container| container.app_id)
            .chain(deployments.map(|deployment| deployment.app_id))
            .collect();
        apps.sort_unstable();
        apps.dedup();
        Ok(apps)
    })
}

/// Retires an app's containers that are on their way out, and ends the deployments that waited for it.
///
/// # Errors
/// What the engine or the database says; the next call goes on where this one stopped.
pub async fn retire_app(instance: &Instance, engine: &Engine, app_id: AppId) -> Result<()> {
    let draining = instance.read(|tables| {
        let containers = tables.containers_of_app(app_id)?;
        Ok(containers.into_iter().filter(|container| container.state == ContainerState::Draining).collect::<Vec<_>>())
    })?;
    futures_util::future::try_join_all(draining.iter().map(|container| retire_container(instance, engine, container)))
        .await?;
    let ended = instance.write(|tables| {
        let waiting: Vec<_> = tables
            .unfinished_deployments(Some(app_id))?
            .into_iter()
            .filter(|deployment| deployment.state == DeployState::Draining)
            .collect();
        for deployment in &waiting {
            tables.end_deployment(deployment.id, DeployState::Succeeded, None)?;
        }
        Ok(!waiting.is_empty())
    })?;
    if ended {
        die_where_told(DeployState::Succeeded);
    }
    if ended || !draining.is_empty() {
        // A Caddy that starts by itself shall find the addresses as they are now.
        proxy::sync(instance).await?;
    }
    if ended {
        sweep::after_deploy(instance, engine).await;
    }
    Ok(())
}

async fn retire_container(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    // From here on nobody starts it again, whatever happens to the engine.
    engine.set_restart(&container.name, RestartPolicy::No).await?;
    if container.process.is_web() {
        drain(instance, container).await;
    }
    engine.stop(&container.name, stop_timeout(container)).await?;
    keep_log(instance, engine, &container.app, container).await;
    engine.remove(&container.name).await?;
    instance.write(|tables| tables.remove_container(container.id))
}

/// How long requests in flight, streams and WebSockets may take to end by themselves.
fn drain_timeout(container: &Container) -> Duration {
    Duration::from_secs(container.drain_timeout.into())
}

/// How long a process has between SIGTERM and SIGKILL.
pub(super) fn stop_timeout(container: &Container) -> Duration {
    Duration::from_secs(container.stop_timeout.into())
}

/// Waits until the proxy has nothing in flight to a container, but not for ever.
pub(super) async fn drain(instance: &Instance, container: &Container) {
    let retired_at = container.retired_at.unwrap_or_else(clock::now);
    tokio::time::sleep(REFRESH.saturating_sub(clock::since(retired_at))).await;
    let mut idle = 0;
    while idle < IDLE_TIMES && clock::since(retired_at) < drain_timeout(container) {
        let upstream = SocketAddrV4::new(container.address, container.port);
        match proxy::in_flight(instance, upstream).await {
            Ok(Some(0)) => idle += 1,
            // Without a count there is only the time to go by.
            Ok(_) | Err(_) => idle = 0,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Keeps the last lines of a container that goes, for `paas logs`. A log that cannot be kept is no reason to keep the
/// container.
async fn keep_log(instance: &Instance, engine: &Engine, app: &AppName, container: &Container) {
    let kept = async {
        let lines = instance.number(&property::KEEP_FORMER_LINES, Some(container.app_id))?;
        let bound = instance.number(&property::KEEP_FORMER_LOG, Some(container.app_id))?;
        let lines = engine.logs(&container.name, Some(u32::try_from(lines).unwrap_or(u32::MAX)), false);
        let lines: Vec<_> = lines.filter_map(|line| async { line.ok() }).collect().await;
        ops::logs::keep(&instance.settings.paths.former_logs(app), &container.label(), &lines, bound)
    };
    if let Err(error) = kept.await {
        warn!("the log of {} is lost: {}", container.name, error.one_line());
    }
}
