//! One container on this machine: its name, what it is made from, its start, its end. The only file that has the engine
//! start, stop or remove one.

use std::{net::SocketAddrV4, time::Duration};

use super::deployment::ActiveDeploy;
use crate::{
    Error, Result, clock,
    engine::{ContainerSpec, Engine, Labels},
    error::EngineError,
    instance::Instance,
    model::{AppName, ConfigMap, DeployId, ProcessType, Release, RestartPolicy, RunSettings},
    proxy,
    store::{Container, ContainerState},
};

/// How many addresses a container is tried with.
const ADDRESSES_TRIED: u32 = 20;
/// How long Caddy may go on sending requests to an address after the edge left it out: its refresh, twice.
const REFRESH: Duration = Duration::from_millis(300);
/// How often in a row an address must have nothing in flight.
const IDLE_TIMES: u32 = 3;
/// How often Caddy is asked what is in flight.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What a container runs, and how.
pub(super) struct Program<'a> {
    pub release: &'a Release,
    pub config: &'a ConfigMap,
    pub run: &'a RunSettings,
    /// The arguments that start its command; none: the image's own command.
    pub arguments: Option<[String; 3]>,
    /// Whether the engine starts it again when it ends. What is new is not: that comes with the switch.
    pub restart: RestartPolicy,
}

/// The name of a container in the engine.
pub(super) fn name(deploy: &ActiveDeploy<'_>, process: &ProcessType, position: u32) -> String {
    name_of(&deploy.instance.id, &deploy.app.name, deploy.id, process, position)
}

/// The same of one that no deployment in this process makes.
pub(super) fn name_of(
    instance: &str,
    app: &AppName,
    deployment: DeployId,
    process: &ProcessType,
    position: u32,
) -> String {
    format!("paas-{instance}-{app}-{deployment}-{process}-{position}")
}

/// What a container is made from.
///
/// # Errors
/// [`Error::Invalid`] for what the release says and cannot be.
pub(super) fn spec(instance: &Instance, container: &Container, program: &Program<'_>) -> Result<ContainerSpec> {
    let Program { release, config, run, arguments, restart } = program;
    let commit = release.rev_variables(config)?;
    let mut environment: Vec<(String, String)> =
        config.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    environment.retain(|(key, _)| key != "PORT");
    environment.extend(commit.into_iter().map(|(key, value)| (key.to_string(), value)));
    environment.push(("PORT".to_owned(), release.port.to_string()));
    environment.push(("PAAS_APP".to_owned(), container.app.to_string()));
    environment.push(("PAAS_RELEASE".to_owned(), release.version.to_string()));
    environment.push(("PAAS_PROCESS".to_owned(), container.label()));
    Ok(ContainerSpec {
        name: container.name.clone(),
        labels: Labels {
            instance: instance.id.clone(),
            app: container.app.clone(),
            release: Some(release.version),
            deployment: container.deployment_id,
            process: Some((container.process.clone(), container.position)),
        },
        image: release.image.clone(),
        arguments: arguments.clone(),
        environment,
        address: container.address,
        restart: *restart,
        memory_mib: run.memory_mib,
        cpu_millis: run.cpu_millis,
        containment: run.containment.clone(),
    })
}

/// Makes and starts a container, and returns it as it is then. If its address is taken, by a container that somebody
/// put on our network, it gets another one.
pub(super) async fn start(
    instance: &Instance,
    engine: &Engine,
    mut container: Container,
    mut spec: ContainerSpec,
) -> Result<Container> {
    let (id, subnet) = (container.id, instance.settings.subnet);
    for _ in 0..ADDRESSES_TRIED {
        match engine.start_new(&spec).await {
            Err(Error::Engine(EngineError::AddressTaken { .. })) => engine.destroy(&spec.name).await?,
            other => return other.map(|()| container),
        }
        container.address = instance.writing(move |tables| tables.move_container(id, subnet)).await?;
        spec.address = container.address;
    }
    Err(Error::Engine(EngineError::AddressTaken { address: container.address }))
}

/// Starts a container that ended. An engine that was killed may have lost that it was to be started again whenever it ends.
pub(super) async fn start_again(engine: &Engine, container: &Container) -> Result<()> {
    engine.start_again(&container.name).await?;
    engine.set_restart(&container.name, container.restart).await
}

/// Stops a container that runs and starts it again.
pub(super) async fn restart(engine: &Engine, container: &Container) -> Result<()> {
    engine.restart_container(&container.name, stop_timeout(container)).await
}

/// Has the engine start a container again when it ends, or not.
pub(super) async fn set_restart(engine: &Engine, container: &Container, restart: RestartPolicy) -> Result<()> {
    engine.set_restart(&container.name, restart).await
}

/// Ends a container once it has answered what it was asked. It is still there then, and nobody starts it again,
/// whatever happens to the engine.
pub(super) async fn stop(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    engine.set_restart(&container.name, RestartPolicy::No).await?;
    if container.process.is_web() {
        drain(instance, container).await;
    }
    engine.stop_container(&container.name, stop_timeout(container)).await
}

/// Ends a container that answers no requests. It is still there then.
pub(super) async fn end(engine: &Engine, container: &Container) -> Result<()> {
    engine.stop_container(&container.name, stop_timeout(container)).await
}

/// Removes a container, running or not. One that is gone is fine.
pub(super) async fn remove(engine: &Engine, name: &str) -> Result<()> {
    engine.destroy(name).await
}

/// Starts a container again that was stopped for a deploy which failed, and gives it its requests back.
pub(super) async fn resume(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    if engine.start_again(&container.name).await.is_err() {
        remake(instance, engine, container).await?;
    }
    engine.set_restart(&container.name, container.restart).await?;
    let id = container.id;
    instance
        .writing(move |tables| {
            tables.set_container_state(id, ContainerState::Live)?;
            tables.set_healthy(id, true)
        })
        .await?;
    proxy::publish(instance, &container.app).await.map(drop)
}

/// Makes a live container anew that the engine has lost, or cannot start any more: of the same release, with the same
/// name, and with the same address unless that is taken.
pub(super) async fn remake(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    let release_id = container.release_id;
    let (release, sealed) =
        instance.reading(move |tables| Ok((tables.release(release_id)?, tables.sealed_config(release_id)?))).await?;
    let config = instance.secrets.unseal_config(&sealed)?;
    let process = release
        .process(&container.process)
        .ok_or_else(|| Error::bug(format!("{} has no {}", release.version, container.process)))?;
    let program = Program {
        release: &release,
        config: &config,
        run: &process.run,
        arguments: process.arguments(),
        restart: container.restart,
    };
    let spec = spec(instance, container, &program)?;
    engine.ensure_network(&instance.id, instance.settings.subnet).await?;
    engine.destroy(&container.name).await?;
    let started = start(instance, engine, container.clone(), spec).await?;
    if started.address != container.address {
        proxy::sync(instance).await?;
    }
    Ok(())
}

/// How long requests in flight, streams and WebSockets may take to end by themselves.
pub(super) fn drain_timeout(container: &Container) -> Duration {
    Duration::from_secs(container.drain_timeout.into())
}

/// How long a process has between SIGTERM and SIGKILL.
pub(super) fn stop_timeout(container: &Container) -> Duration {
    Duration::from_secs(container.stop_timeout.into())
}

/// Waits until the proxy has nothing in flight to a container, but not for ever.
async fn drain(instance: &Instance, container: &Container) {
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
        tokio::time::sleep(DRAIN_POLL_INTERVAL).await;
    }
}
