//! One container on this machine: its name, what it is made from, its start, its end. The only file that has the engine
//! start, stop or remove one.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use super::deployment::ActiveDeploy;
use crate::{
    Error, Result, clock,
    engine::{Attached, ContainerSpec, Engine, Labels, Streams},
    error::EngineError,
    instance::Instance,
    model::{AppName, Config, DeployId, EnvKey, PortScheme, ProcessType, Release, RestartPolicy, Run, RunSettings},
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
    pub config: &'a Config,
    pub run: &'a RunSettings,
    /// The arguments that start its command; none: the image's own command.
    pub arguments: Option<Vec<String>>,
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
    let labels = Labels {
        instance: instance.id.clone(),
        app: container.app.clone(),
        release: Some(program.release.version),
        deployment: Some(container.deployment_id),
        process: Some((container.process.clone(), container.position)),
    };
    spec_with(labels, &container.name, container.address, &container.label(), program)
}

/// What a run's container is made from. `given`: variables beside the config, which win.
///
/// # Errors
/// As [`spec`].
pub(super) fn run_spec(
    instance: &Instance,
    run: &Run,
    program: &Program<'_>,
    given: &[(EnvKey, String)],
) -> Result<ContainerSpec> {
    let process: ProcessType = "run".parse()?;
    let labels = Labels {
        instance: instance.id.clone(),
        app: run.app.clone(),
        release: Some(run.release),
        deployment: None,
        process: Some((process, u32::try_from(run.id.0).map_err(Error::bug)?)),
    };
    let address = run.address.ok_or_else(|| Error::bug(format!("{} has no address", run.label())))?;
    let mut spec = spec_with(labels, &run.container, address, &run.label(), program)?;
    spec.environment.retain(|(key, _)| !given.iter().any(|(given, _)| given.as_str() == key));
    spec.environment.extend(given.iter().map(|(key, value)| (key.to_string(), value.clone())));
    spec.attached = (!run.is_detached()).then_some(Streams { tty: run.tty });
    spec.keeps_log = run.keeps_output();
    Ok(spec)
}

fn spec_with(
    labels: Labels,
    name: &str,
    address: Ipv4Addr,
    label: &str,
    program: &Program<'_>,
) -> Result<ContainerSpec> {
    let Program { release, config, run, arguments, restart } = program;
    let variables = config.variables();
    let commit = release.rev_variables(&variables)?;
    let mut environment: Vec<(String, String)> =
        variables.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    environment.retain(|(key, _)| key != "PORT");
    environment.extend(commit.into_iter().map(|(key, value)| (key.to_string(), value)));
    environment.push(("PORT".to_owned(), release.port.to_string()));
    environment.push(("PAAS_APP".to_owned(), labels.app.to_string()));
    environment.push(("PAAS_RELEASE".to_owned(), release.version.to_string()));
    environment.push(("PAAS_PROCESS".to_owned(), label.to_owned()));
    Ok(ContainerSpec {
        name: name.to_owned(),
        labels,
        image: release.image.clone(),
        arguments: arguments.clone(),
        environment,
        address,
        restart: *restart,
        memory_mib: run.memory_mib,
        cpu_millis: run.cpu_millis,
        containment: run.containment.clone(),
        attached: None,
        keeps_log: true,
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

/// Makes and starts a run's container, as [`start`], and attaches to it if the run is not detached.
pub(super) async fn start_run(
    instance: &Instance,
    engine: &Engine,
    run: &Run,
    mut spec: ContainerSpec,
) -> Result<Option<Attached>> {
    let (id, subnet) = (run.id, instance.settings.subnet);
    for _ in 0..ADDRESSES_TRIED {
        let started = match run.is_detached() {
            true => engine.start_new(&spec).await.map(|()| None),
            false => engine.start_attached(&spec, run.tty).await.map(Some),
        };
        match started {
            Err(Error::Engine(EngineError::AddressTaken { .. })) => engine.destroy(&spec.name).await?,
            other => return other,
        }
        let moved = instance.writing(move |tables| tables.move_run(id, subnet)).await?;
        spec.address = moved.address.unwrap_or(spec.address);
    }
    Err(Error::Engine(EngineError::AddressTaken { address: spec.address }))
}

/// Sends a run's program a signal, by its name.
pub(super) async fn signal_run(engine: &Engine, run: &Run, signal: &str) -> Result<()> {
    engine.signal_container(&run.container, signal).await
}

/// Has a run's container end: by SIGTERM, and SIGKILL if it takes longer than it may. An interactive shell, which takes no
/// SIGTERM, is told that its terminal is gone.
pub(super) async fn stop_run(engine: &Engine, run: &Run) -> Result<()> {
    if run.tty {
        engine.signal_container(&run.container, "SIGHUP").await?;
    }
    engine.stop_container(&run.container, Duration::from_secs(run.stop_timeout.into())).await
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
    let ports = Ports::of(instance, container).await?;
    if !ports.http.is_empty() || !ports.relayed.is_empty() {
        drain(instance, container, &ports).await;
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
        arguments: process.arguments().map(Vec::from),
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

/// The ports of a container that something comes in at from outside.
struct Ports {
    /// Those that the proxy sends requests to.
    http: BTreeSet<u16>,
    /// Those to which connections are relayed.
    relayed: BTreeSet<u16>,
}

impl Ports {
    async fn of(instance: &Instance, container: &Container) -> Result<Ports> {
        let app_id = container.app_id;
        let stored = instance.reading(move |tables| tables.ports(Some(app_id))).await?;
        let mut ports = Ports { http: BTreeSet::new(), relayed: BTreeSet::new() };
        if container.process.is_web() {
            ports.http.insert(container.port);
        }
        for stored in stored.iter().filter(|stored| stored.process == container.process) {
            let of_scheme = match stored.mapping.scheme {
                PortScheme::Tcp => &mut ports.relayed,
                PortScheme::Http | PortScheme::Https => &mut ports.http,
            };
            of_scheme.insert(stored.mapping.container);
        }
        Ok(ports)
    }
}

/// Waits until nothing is in flight to a container by the proxy, and no connection is relayed to it, but not for ever.
async fn drain(instance: &Instance, container: &Container, ports: &Ports) {
    let retired_at = container.retired_at.unwrap_or_else(clock::now);
    if !ports.relayed.is_empty() {
        // From then on the relay takes no new connection there.
        proxy::tell(instance).await;
    }
    tokio::time::sleep(REFRESH.saturating_sub(clock::since(retired_at))).await;
    let mut idle = 0;
    while idle < IDLE_TIMES && clock::since(retired_at) < drain_timeout(container) {
        // Without a count there is only the time to go by.
        let is_idle = !is_busy(instance, container, ports).await.unwrap_or(true);
        idle = if is_idle { idle + 1 } else { 0 };
        tokio::time::sleep(DRAIN_POLL_INTERVAL).await;
    }
}

/// Whether something is in flight to a container, or nobody can tell.
async fn is_busy(instance: &Instance, container: &Container, ports: &Ports) -> Result<bool> {
    for port in &ports.http {
        if proxy::in_flight(instance, SocketAddrV4::new(container.address, *port)).await? != Some(0) {
            return Ok(true);
        }
    }
    if ports.relayed.is_empty() {
        return Ok(false);
    }
    let shares_port = !ports.http.is_disjoint(&ports.relayed);
    Ok(proxy::relayed(instance, container.address, ports.relayed.clone(), shares_port).await? > 0)
}
