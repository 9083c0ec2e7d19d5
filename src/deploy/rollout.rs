//! The rollout: start the new containers, prove them healthy, switch to them. What runs as it should already is kept.

use std::collections::{HashMap, hash_map::Entry};

use futures_util::future::try_join_all;

use super::{
    Deploying, Live, health, recover,
    release::{Changes, Cut},
    retire,
};
use crate::{
    Error, Result, clock,
    engine::{ContainerSpec, Engine, Labels},
    error::EngineError,
    git,
    instance::Instance,
    model::{
        self, CheckMode, ConfigMap, ContainerId, DeployState, ProcessSpec, ProcessType, PropertyChange, Release,
        ReleaseId, RestartPolicy, RunSettings, Scope, property,
    },
    ops, proxy,
    store::{Container, ContainerState, NewContainer},
};

/// How many addresses a container is tried with.
const ADDRESSES_TRIED: u32 = 20;

/// Which containers that serve may go on serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// None: whoever asked wants new ones.
    Nothing,
    /// Those that are run just as the release says.
    Same,
    /// Those of every other process type.
    OtherThan(ProcessType),
}

/// New containers that are running, not yet proven.
pub(super) struct Candidate {
    release: Release,
    changes: Changes,
    started: Vec<(Container, ProcessSpec)>,
    kept: Vec<Kept>,
}

/// New containers that are proven.
pub(super) struct Healthy {
    release: Release,
    changes: Changes,
    started: Vec<(Container, ProcessSpec)>,
    kept: Vec<Kept>,
}

/// A container that goes on serving.
struct Kept {
    container: Container,
    spec: ProcessSpec,
    /// Whether it was never proven in the way it is checked now.
    check_changed: bool,
}

/// Starts containers of all process types. The old ones are untouched, but for those that cannot run beside new ones.
pub(super) async fn start(deploying: &Deploying<'_>, cut: Cut, keep: &Keep) -> Result<Candidate> {
    deploying.enter(DeployState::Starting)?;
    let instance = deploying.instance;
    deploying.engine.ensure_network(&instance.id, instance.settings.subnet).await?;
    let wanted = formation(deploying, &cut)?;
    let kept = kept(deploying, &cut, keep, &wanted)?;
    let missing = |process: &ProcessType, position: u32| {
        !kept.iter().any(|kept| kept.container.process == *process && kept.container.position == position)
    };
    make_way(deploying, &cut.release, &kept).await?;

    // The rows first: whatever happens to this process, the next one knows what to remove.
    let started = instance.write(|tables| {
        let mut started = Vec::new();
        for (spec, position) in &wanted {
            if missing(&spec.process, *position) {
                let name = container_name(deploying, &spec.process, *position);
                let new = NewContainer {
                    app_id: deploying.app.id,
                    release_id: cut.release.id,
                    deployment_id: deploying.id,
                    process: &spec.process,
                    run: &spec.run,
                    position: *position,
                    name: &name,
                    port: cut.release.port,
                };
                started.push((tables.add_container(instance.settings.subnet, &new)?, spec.clone()));
            }
        }
        Ok(started)
    })?;
    if !started.is_empty() {
        let labels: Vec<String> = started.iter().map(|(container, _)| container.label()).collect();
        deploying.log.step(&format!("Starting {}", labels.join(", ")));
    }
    let started = try_join_all(started.into_iter().map(|(container, process)| {
        let labels = deploying.labels(Some(cut.release.version), Some((container.process.clone(), container.position)));
        let spec = container_spec(labels, (&cut.release, &cut.config), &container, (&process.run, process.arguments()));
        async move {
            let container = start_container(instance, &deploying.engine, container, spec).await?;
            Ok::<_, Error>((container, process))
        }
    }))
    .await?;
    Ok(Candidate { release: cut.release, changes: cut.changes, started, kept })
}

/// Waits until every container is proven: before any traffic moves.
pub(super) async fn wait_healthy(deploying: &Deploying<'_>, candidate: Candidate) -> Result<Healthy> {
    deploying.enter(DeployState::Checking)?;
    let Candidate { release, changes, started, kept } = candidate;
    let to_prove = kept.iter().filter(|kept| kept.check_changed).map(|kept| (&kept.container, &kept.spec));
    let to_prove = started.iter().map(|(container, spec)| (container, spec)).chain(to_prove);
    try_join_all(to_prove.map(|(container, process)| async move {
        if process.run.check.mode == CheckMode::Skipped {
            deploying.log.detail(&format!("{} is not checked: its checks are skipped", container.label()));
            return Ok(());
        }
        let begun = clock::instant();
        let proof = health::prove(deploying, container, process).await?;
        let took = model::seconds(begun.elapsed());
        deploying.log.detail(&format!("{} is healthy after {took}: {proof}", container.label()));
        Ok::<_, Error>(())
    }))
    .await?;
    // The switch needs the proxy, and a former deploy's containers must be gone before more are sent after them.
    proxy::ready(deploying.instance).await?;
    retire::wait_until_drained(deploying).await?;
    Ok(Healthy { release, changes, started, kept })
}

/// The point of no return: one commit makes the new containers the ones that serve, and then the proxy is seen to
/// have followed. After the commit nothing here fails: what cannot be done now is done by recovery.
pub(super) async fn switch(deploying: &Deploying<'_>, healthy: Healthy) -> Result<Live> {
    let Healthy { release, changes, started, kept } = healthy;
    let instance = deploying.instance;
    let app_id = deploying.app.id;
    let begun = clock::instant();
    let deployment = instance.write(|tables| {
        tables.move_deployment(deploying.id, deploying.state(), DeployState::Switching)?;
        for kept in &kept {
            tables.keep_container(kept.container.id, release.id, &kept.spec.run)?;
        }
        let kept_ids: Vec<ContainerId> = kept.iter().map(|kept| kept.container.id).collect();
        tables.switch_containers(app_id, deploying.id, &kept_ids)?;
        tables.set_current_release(app_id, release.id)?;
        ops::config::write(instance, tables, app_id, &changes.config, &deploying.caller.actor)?;
        tables.change_properties(Some(app_id), &changes.properties, &deploying.caller.actor)?;
        for (process, quantity) in &changes.formation {
            tables.scale(app_id, process, *quantity)?;
        }
        tables.set_live(deploying.id)?;
        let deployment = tables.deployment(deploying.id)?;
        if let (None, Some(branch)) = (&deploying.app.deploy_branch, &deployment.branch) {
            let value = Some(branch.to_string());
            let change = PropertyChange { scope: Scope::App, property: &property::DEPLOY_BRANCH, value };
            tables.change_properties(Some(app_id), &[change], &deploying.caller.actor)?;
        }
        Ok(deployment)
    })?;
    deploying.entered(DeployState::Switching);
    let repository = instance.settings.paths.repository(&deploying.app.name);
    let moved = match (&deployment.branch, deployment.commit) {
        (Some(branch), Some(commit)) => git::move_branch(&repository, branch, commit),
        _ => Ok(()),
    };
    if let Err(error) = moved.and_then(|()| git::unpin(&repository, deploying.id)) {
        deploying.log.warn(&format!("the branch was not moved, the next start will: {}", error.one_line()));
    }
    match proxy::publish(instance, &deploying.app.name).await {
        Ok(proxy::Published::Dynamic) => {}
        Ok(proxy::Published::Static) => {
            deploying.log.warn("paas serve does not answer: the proxy was given the new addresses by a reload");
        }
        Err(error) => {
            deploying.log.warn(&format!("the proxy was not told, the next start will: {}", error.one_line()));
        }
    }
    let started = started.iter().map(|(container, spec)| (container, spec));
    for (container, spec) in started.chain(kept.iter().map(|kept| (&kept.container, &kept.spec))) {
        if let Err(error) = deploying.engine.set_restart(&container.name, spec.run.restart).await {
            deploying.log.warn(&error.one_line());
        }
    }
    deploying.log.detail(&format!("switched in {}", model::seconds(begun.elapsed())));
    Ok(Live { deployment: deploying.id, release: release.version })
}

/// Says where the app is now.
pub(super) fn announce(deploying: &Deploying<'_>, live: &Live) {
    deploying.log.section(&deploying.instance.settings.app_url(&deploying.app.name));
    deploying.log.detail(&format!(
        "{} {} is live, deployed in {}",
        deploying.app.name,
        live.release,
        model::seconds(deploying.started.elapsed())
    ));
    deploying.log.flush();
}

/// The containers that a release shall have: of each process type as many as it is scaled to, as many as its source
/// asks for where nobody scaled it, or one.
fn formation(deploying: &Deploying<'_>, cut: &Cut) -> Result<Vec<(ProcessSpec, u32)>> {
    let scaled = deploying.instance.read(|tables| tables.formation(deploying.app.id))?;
    let quantity = |spec: &ProcessSpec| {
        let scaled = cut.changes.formation.iter().chain(&scaled).find(|(process, _)| *process == spec.process);
        scaled.map(|(_, quantity)| *quantity).or(spec.quantity).unwrap_or(1)
    };
    let release = cut.release.processes.iter();
    Ok(release.flat_map(|spec| (1..=quantity(spec)).map(move |position| (spec.clone(), position))).collect())
}

/// The live containers that go on serving.
fn kept(deploying: &Deploying<'_>, cut: &Cut, keep: &Keep, wanted: &[(ProcessSpec, u32)]) -> Result<Vec<Kept>> {
    if *keep == Keep::Nothing || !deploying.app.is_running() {
        return Ok(Vec::new());
    }
    let instance = deploying.instance;
    let live = instance.read(|tables| tables.containers_of_app(deploying.app.id))?;
    let mut releases: HashMap<ReleaseId, (Release, ConfigMap)> = HashMap::new();
    let mut kept = Vec::new();
    for container in live.into_iter().filter(|container| container.state == ContainerState::Live) {
        let Some((spec, _)) =
            wanted.iter().find(|(spec, position)| spec.process == container.process && *position == container.position)
        else {
            continue;
        };
        if let Keep::OtherThan(process) = keep
            && *process == container.process
        {
            continue;
        }
        let (release, config) = match releases.entry(container.release_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let (release, sealed) = instance.read(|tables| {
                    Ok((tables.release(container.release_id)?, tables.sealed_config(container.release_id)?))
                })?;
                unknown.insert((release, instance.secrets.unseal_config(&sealed)?))
            }
        };
        let Some(former) = release.process(&container.process) else { continue };
        let same = release.image == cut.release.image
            && release.port == cut.release.port
            && *config == cut.config
            && spec.runs_like(former);
        if same {
            let (now, then) = (&spec.run.check, &former.run.check);
            let check_changed = now.probe != then.probe || then.mode == CheckMode::Skipped;
            kept.push(Kept { container, spec: spec.clone(), check_changed });
        }
    }
    Ok(kept)
}

/// Stops the containers of process types of which two cannot run at once. If this deployment fails, they are started
/// again.
async fn make_way(deploying: &Deploying<'_>, release: &Release, kept: &[Kept]) -> Result<()> {
    let instance = deploying.instance;
    let in_the_way: Vec<Container> = instance
        .read(|tables| tables.containers_of_app(deploying.app.id))?
        .into_iter()
        .filter(|container| {
            container.state == ContainerState::Live
                && !kept.iter().any(|kept| kept.container.id == container.id)
                && release.process(&container.process).is_some_and(|spec| spec.run.check.mode == CheckMode::Disabled)
        })
        .collect();
    if in_the_way.is_empty() {
        return Ok(());
    }
    let labels: Vec<String> = in_the_way.iter().map(Container::label).collect();
    deploying.log.step(&format!("Stopping {} first: checks are disabled", labels.join(", ")));
    instance.write(|tables| {
        for container in &in_the_way {
            tables.set_container_state(container.id, ContainerState::Suspended)?;
            tables.set_healthy(container.id, false)?;
        }
        Ok(())
    })?;
    proxy::publish(instance, &deploying.app.name).await?;
    try_join_all(in_the_way.iter().map(|container| recover::suspend(instance, &deploying.engine, container))).await?;
    Ok(())
}

/// The name of a container in the engine.
pub(super) fn container_name(deploying: &Deploying<'_>, process: &ProcessType, position: u32) -> String {
    format!("paas-{}-{}-{}-{process}-{position}", deploying.instance.id, deploying.app.name, deploying.id)
}

/// Makes and starts a container. Where its address is taken, by a container that somebody put on our network, it gets
/// another one.
pub(super) async fn start_container(
    instance: &Instance,
    engine: &Engine,
    mut container: Container,
    mut spec: ContainerSpec,
) -> Result<Container> {
    for _ in 0..ADDRESSES_TRIED {
        match engine.start(&spec).await {
            Err(Error::Engine(EngineError::AddressTaken { .. })) => engine.remove(&spec.name).await?,
            other => return other.map(|()| container),
        }
        container.address = instance.write(|tables| tables.move_container(container.id, instance.settings.subnet))?;
        spec.address = container.address;
    }
    Err(Error::Engine(EngineError::AddressTaken { address: container.address }))
}

/// What a container of a release is made from. It is not started again when it ends: that comes with the switch.
pub(super) fn container_spec(
    labels: Labels,
    (release, config): (&Release, &ConfigMap),
    container: &Container,
    (run, arguments): (&RunSettings, Option<[String; 3]>),
) -> ContainerSpec {
    let mut environment: Vec<(String, String)> =
        config.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    environment.retain(|(key, _)| key != "PORT");
    environment.push(("PORT".to_owned(), release.port.to_string()));
    environment.push(("PAAS_APP".to_owned(), container.app.to_string()));
    environment.push(("PAAS_RELEASE".to_owned(), release.version.to_string()));
    environment.push(("PAAS_PROCESS".to_owned(), container.label()));
    ContainerSpec {
        name: container.name.clone(),
        labels,
        image: release.image.clone(),
        arguments,
        environment,
        address: container.address,
        restart: RestartPolicy::No,
        memory_mib: run.memory_mib,
        cpu_millis: run.cpu_millis,
    }
}
