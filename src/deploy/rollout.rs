//! The rollout: start the new containers, prove them healthy, switch to them. What runs as it should already is kept.

use std::collections::{HashMap, hash_map::Entry};

use futures_util::future::try_join_all;

use super::{
    Deployed, container,
    deployment::ActiveDeploy,
    health::Proof,
    release::{Changes, Prepared},
    retire,
};
use crate::{
    Error, Result, acme, clock, git,
    model::{
        self, AppName, CheckMode, ConfigMap, ContainerId, DeployState, ProcessSpec, ProcessType, PropertyChange,
        Release, ReleaseId, Scope, property,
    },
    proxy,
    store::{Container, ContainerState, NewContainer, Standing, StoredPort},
};

/// Which containers that serve may go on serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// None: all containers are new.
    None,
    /// Those that are run just as the release says.
    Unchanged,
    /// Those of every other process type, if they are run just as the release says.
    Except(ProcessType),
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
pub(super) async fn start(deploy: &ActiveDeploy<'_>, prepared: Prepared, reuse: &Reuse) -> Result<Candidate> {
    deploy.enter(DeployState::Starting)?;
    let instance = deploy.instance;
    deploy.scheduler.prepare(deploy).await?;
    let wanted = formation(deploy, &prepared)?;
    let kept = kept(deploy, &prepared, reuse, &wanted).await?;
    let missing = |process: &ProcessType, position: u32| {
        !kept.iter().any(|kept| kept.container.process == *process && kept.container.position == position)
    };
    stop_for_recreate(deploy, &prepared.release, &kept).await?;

    // The rows first: whatever happens to this process, the next one knows what to remove.
    let started = instance.write(|tables| {
        let mut started = Vec::new();
        for (spec, position) in &wanted {
            if missing(&spec.process, *position) {
                let name = container::name(deploy, &spec.process, *position);
                let new = NewContainer {
                    app_id: deploy.app.id,
                    release_id: prepared.release.id,
                    deployment_id: deploy.id,
                    process: &spec.process,
                    run: &spec.run,
                    position: *position,
                    name: &name,
                    port: prepared.release.port,
                };
                started.push((tables.add_container(instance.settings.subnet, &new)?, spec.clone()));
            }
        }
        Ok(started)
    })?;
    if !started.is_empty() {
        let labels: Vec<String> = started.iter().map(|(container, _)| container.label()).collect();
        deploy.log.step(&format!("Starting {}", labels.join(", ")));
    }
    let Prepared { release, config, changes, .. } = prepared;
    let started = deploy.scheduler.start(deploy, (&release, &config), started).await?;
    Ok(Candidate { release, changes, started, kept })
}

/// Waits until every container is proven: before any traffic moves.
pub(super) async fn wait_healthy(deploy: &ActiveDeploy<'_>, candidate: Candidate) -> Result<Healthy> {
    deploy.enter(DeployState::Checking)?;
    let Candidate { release, changes, started, kept } = candidate;
    let to_prove = kept.iter().filter(|kept| kept.check_changed).map(|kept| (&kept.container, &kept.spec));
    let to_prove = started.iter().map(|(container, spec)| (container, spec)).chain(to_prove);
    try_join_all(to_prove.map(|(container, process)| async move {
        if process.run.check.mode == CheckMode::Skipped {
            deploy.log.detail(&format!("{} is not checked: its checks are skipped", container.label()));
            return Ok(());
        }
        let begun = clock::instant();
        let Proof { said, port } = deploy.scheduler.prove(deploy, container, process).await?;
        let took = model::seconds(begun.elapsed());
        deploy.log.detail(&format!("{} is healthy after {took}: {said}", container.label()));
        if let Some(port) = port {
            listen_on(deploy, container, port)?;
        }
        Ok::<_, Error>(())
    }))
    .await?;
    // The switch needs the proxy, and a former deploy's containers must be gone before more are sent after them.
    proxy::ready(&deploy.instance.settings).await?;
    retire::wait_until_drained(deploy).await?;
    Ok(Healthy { release, changes, started, kept })
}

/// Sends a container its requests on a port that it was not told, and that it listens on. Its release, which is not yet
/// one that served, says so from now on.
fn listen_on(deploy: &ActiveDeploy<'_>, container: &Container, port: u16) -> Result<()> {
    deploy.instance.write(|tables| {
        tables.set_container_port(container.id, port)?;
        tables.set_pending_port(container.release_id, port)
    })?;
    deploy.log.detail(&format!(
        "{} does not listen on port {}, which the variable PORT says; EXPOSE names port {port}, so its requests go there. \
         `port = {port}` in paas.toml makes the next deploy quicker",
        container.label(),
        container.port
    ));
    Ok(())
}

/// The point of no return: one commit makes the new containers the ones that serve, and then the proxy is seen to
/// have followed. After the commit nothing here fails: what cannot be done now is done by recovery.
pub(super) async fn switch(deploy: &ActiveDeploy<'_>, healthy: Healthy) -> Result<Deployed> {
    let Healthy { release, changes, started, kept } = healthy;
    let instance = deploy.instance;
    let app_id = deploy.app.id;
    let begun = clock::instant();
    let deployment = instance.write(|tables| {
        tables.move_deployment(deploy.id, deploy.state(), DeployState::Switching)?;
        for kept in &kept {
            tables.keep_container(kept.container.id, release.id, &kept.spec.run)?;
        }
        let kept_ids: Vec<ContainerId> = kept.iter().map(|kept| kept.container.id).collect();
        tables.switch_containers(app_id, deploy.id, &kept_ids)?;
        tables.set_current_release(app_id, release.id)?;
        instance.write_config(tables, Some(app_id), &changes.config, &deploy.caller.actor)?;
        tables.change_properties(Some(app_id), &changes.properties, &deploy.caller.actor)?;
        for (process, quantity) in &changes.formation {
            tables.scale(app_id, process, *quantity)?;
        }
        for name in &changes.forgotten {
            tables.forget_variable(app_id, name)?;
        }
        for name in &changes.given {
            tables.give_variable(app_id, name)?;
        }
        tables.set_live(deploy.id)?;
        let deployment = tables.deployment(deploy.id)?;
        if let (None, Some(branch)) = (&deploy.app.deploy_branch, &deployment.branch) {
            let value = Some(branch.to_string());
            let change = PropertyChange { scope: Scope::App, property: &property::DEPLOY_BRANCH, value };
            tables.change_properties(Some(app_id), &[change], &deploy.caller.actor)?;
        }
        Ok(deployment)
    })?;
    deploy.entered(DeployState::Switching);
    let repository = instance.settings.paths.repository(&deploy.app.name);
    let moved = match (&deployment.branch, deployment.commit) {
        (Some(branch), Some(commit)) => git::move_branch(&repository, branch, commit),
        _ => Ok(()),
    };
    if let Err(error) = moved.and_then(|()| git::unpin(&repository, deploy.id)) {
        deploy.log.warn(&format!("the branch was not moved; the next start moves it: {}", error.one_line()));
    }
    match proxy::publish(instance, &deploy.app.name).await {
        Ok(proxy::Published::Dynamic) => {}
        Ok(proxy::Published::Static) => {
            deploy.log.warn("paas serve does not answer: the proxy was given the new addresses by a reload");
        }
        Err(error) => {
            deploy.log.warn(&format!(
                "the proxy does not have the new addresses; the next start sends them: {}",
                error.one_line()
            ));
        }
    }
    let started = started.iter().map(|(container, spec)| (container, spec));
    for (container, spec) in started.chain(kept.iter().map(|kept| (&kept.container, &kept.spec))) {
        if let Err(error) = deploy.scheduler.keep_running(&deploy.engine, container, spec.run.restart).await {
            deploy.log.warn(&error.one_line());
        }
    }
    deploy.log.detail(&format!("switched in {}", model::seconds(begun.elapsed())));
    Ok(Deployed { deployment: deploy.id, release: release.version })
}

/// Says where the app is now, if it is anywhere.
pub(super) fn announce(deploy: &ActiveDeploy<'_>, live: &Deployed) {
    let (app, log) = (&deploy.app.name, &deploy.log);
    let took = model::seconds(deploy.started.elapsed());
    let (speaks_no_http, addresses) = addresses(deploy).unwrap_or_default();
    match url(deploy) {
        // What speaks no HTTP has no page to look at.
        _ if speaks_no_http => {}
        Ok(Ok(url)) => log.section(&url),
        Ok(Err(why)) => log.section(&why),
        // What cannot be read is no reason to doubt the usual.
        Err(_) => log.section(&deploy.instance.settings.app_url(app)),
    }
    addresses.iter().for_each(|address| log.section(address));
    let settings = &deploy.instance.settings;
    if !speaks_no_http
        && let Ok(Some(why)) = deploy.instance.read(|tables| acme::why_none(tables, settings, &deploy.app))
    {
        log.warn(&why);
    }
    log.detail(&format!("{app} {} is live, deployed in {took}", live.release));
    log.flush();
}

/// Whether the app speaks no HTTP; and where it is reached at ports of its own, as `tcp://HOST:PORT`.
fn addresses(deploy: &ActiveDeploy<'_>) -> Result<(bool, Vec<String>)> {
    let (app, settings) = (&deploy.app, &deploy.instance.settings);
    let (speaks_no_http, ports, names) = deploy.instance.read(|tables| {
        let names = tables.all_names(Some(app.id), &settings.domain)?;
        Ok((tables.speaks_no_http(app.id)?, tables.ports(Some(app.id))?, names))
    })?;
    let main = names.first().and_then(|names| names.main()).map(ToString::to_string);
    let host = main.unwrap_or_else(|| settings.domain.to_string());
    let address = |stored: &StoredPort| format!("{}://{host}:{}", stored.mapping.scheme, stored.mapping.host);
    Ok((speaks_no_http, ports.iter().map(address).collect()))
}

/// The URL of the app; or why nothing of it answers at one, and what to type.
fn url(deploy: &ActiveDeploy<'_>) -> Result<std::result::Result<String, String>> {
    let (app, settings) = (&deploy.app, &deploy.instance.settings);
    let (standing, release, containers, names) = deploy.instance.read(|tables| {
        Ok((
            tables.standing(&app.name)?,
            tables.current_release(app.id)?,
            tables.containers_of_app(app.id)?,
            tables.all_names(Some(app.id), &settings.domain)?,
        ))
    })?;
    let main = names.first().and_then(|names| names.main()).map(|name| settings.url_of(name.as_str()));
    if standing != Some(Standing::WithoutWeb) {
        return Ok(main
            .ok_or_else(|| format!("{0} has no URL of its own: `paas domains:report {0}` shows its names", app.name)));
    }
    let url = main.unwrap_or_else(|| settings.app_url(&app.name));
    let mut processes = release.iter().flat_map(|release| &release.processes).map(|spec| &spec.process);
    let scale = |process: &ProcessType| format!("`paas ps:scale {} {process}=1` starts one", app.name);
    if let Some(web) = processes.clone().find(|process| process.is_web()) {
        return Ok(Err(format!("no web process runs, so nothing answers at {url}: {}", scale(web))));
    }
    let runs = containers.iter().any(|container| container.state == ContainerState::Live);
    Ok(Err(match processes.next().filter(|_| !runs) {
        Some(process) => format!("{} has no web process, and no other runs: {}", app.name, scale(process)),
        None => format!("{} has no web process, so it has no URL", app.name),
    }))
}

/// The containers that a release is to have. What this deploy scales counts before what was scaled earlier.
fn formation(deploy: &ActiveDeploy<'_>, prepared: &Prepared) -> Result<Vec<(ProcessSpec, u32)>> {
    let mut scaled = prepared.changes.formation.clone();
    scaled.extend(deploy.instance.read(|tables| tables.formation(deploy.app.id))?);
    let specs = prepared.release.processes.iter();
    let all = specs.clone().map(|spec| u64::from(spec.count(&scaled))).sum();
    model::check_containers(all, deploy.instance.number(&property::MAX_CONTAINERS, None)?)?;
    Ok(specs.flat_map(|spec| (1..=spec.count(&scaled)).map(move |position| (spec.clone(), position))).collect())
}

/// Says which process types have no container because nobody asked for one: they may be meant to run.
pub(super) fn say_what_waits(deploy: &ActiveDeploy<'_>, prepared: &Prepared) -> Result<()> {
    let scaled = deploy.instance.read(|tables| tables.formation(deploy.app.id))?;
    let types = prepared.release.processes.iter();
    let waits = types.filter(|spec| spec.asked(&scaled).is_none() && spec.process.usual_count() == 0);
    let waits: Vec<&str> = waits.map(|spec| spec.process.as_str()).collect();
    if let Some(words) = unscaled(&deploy.app.name, &waits) {
        deploy.log.detail(&words);
    }
    Ok(())
}

/// What to say about process types that have no container because nobody asked for one.
fn unscaled(app: &AppName, types: &[&str]) -> Option<String> {
    let command = types.iter().map(|process| format!("{process}=1")).collect::<Vec<_>>().join(" ");
    let (verb, object) = match types {
        [] => return None,
        [_] => ("has", "one"),
        [..] => ("have", "one of each"),
    };
    let names = types.join(", ");
    Some(format!("{names} {verb} no container yet: `paas ps:scale {app} {command}` starts {object}"))
}

/// The live containers that go on serving: those that are run as the release says, and are there.
async fn kept(
    deploy: &ActiveDeploy<'_>,
    prepared: &Prepared,
    reuse: &Reuse,
    wanted: &[(ProcessSpec, u32)],
) -> Result<Vec<Kept>> {
    if *reuse == Reuse::None || !deploy.app.is_running() {
        return Ok(Vec::new());
    }
    let instance = deploy.instance;
    let live = instance.read(|tables| tables.containers_of_app(deploy.app.id))?;
    let mut releases: HashMap<ReleaseId, (Release, ConfigMap)> = HashMap::new();
    let now = prepared.config.variables();
    let mut kept = Vec::new();
    for container in live.into_iter().filter(|container| container.state == ContainerState::Live) {
        let Some((spec, _)) =
            wanted.iter().find(|(spec, position)| spec.process == container.process && *position == container.position)
        else {
            continue;
        };
        if let Reuse::Except(process) = reuse
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
                unknown.insert((release, instance.secrets.unseal_config(&sealed)?.variables()))
            }
        };
        let Some(former) = release.process(&container.process) else { continue };
        let same = release.image == prepared.release.image
            && release.port == prepared.release.port
            && *config == now
            && release.rev_variables(config)? == prepared.release.rev_variables(config)?
            && spec.runs_like(former);
        if same {
            let (now, then) = (&spec.run.check, &former.run.check);
            let check_changed = now.probe != then.probe || then.mode == CheckMode::Skipped;
            kept.push(Kept { container, spec: spec.clone(), check_changed });
        }
    }
    if kept.is_empty() {
        return Ok(kept);
    }
    let states = deploy.engine.states(&instance.id, Some(&deploy.app.name)).await?;
    kept.retain(|Kept { container, .. }| {
        let state = states.get(&container.name).map(String::as_str);
        let stays = can_stay(container.ended, state);
        if !stays {
            let state = state.unwrap_or("gone");
            deploy.log.warn(&format!("{} is {state} in Docker, so a new one takes its place", container.label()));
        }
        stays
    });
    Ok(kept)
}

/// Whether a container goes on serving that is run as the release says. What Docker is starting again is there, and what
/// ended and is meant to stay so needs no container.
fn can_stay(ended: bool, state: Option<&str>) -> bool {
    ended || matches!(state, Some("running" | "restarting"))
}

/// Stops the containers of process types of which two cannot run at once. If this deployment fails, they are started
/// again.
async fn stop_for_recreate(deploy: &ActiveDeploy<'_>, release: &Release, kept: &[Kept]) -> Result<()> {
    let instance = deploy.instance;
    let in_the_way: Vec<Container> = instance
        .read(|tables| tables.containers_of_app(deploy.app.id))?
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
    deploy.log.step(&format!("Stopping {} first: checks are disabled", labels.join(", ")));
    instance.write(|tables| {
        for container in &in_the_way {
            tables.set_container_state(container.id, ContainerState::Suspended)?;
            tables.set_healthy(container.id, false)?;
        }
        Ok(())
    })?;
    proxy::publish(instance, &deploy.app.name).await?;
    try_join_all(in_the_way.iter().map(|container| deploy.scheduler.suspend(instance, &deploy.engine, container)))
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_can_stay() {
        for state in ["running", "restarting"] {
            assert!(can_stay(false, Some(state)), "{state}");
        }
        for state in [None, Some("created"), Some("exited"), Some("paused"), Some("dead"), Some("removing")] {
            assert!(!can_stay(false, state), "{state:?}");
            assert!(can_stay(true, state), "{state:?}");
        }
    }

    #[test]
    fn types_that_nobody_asked_for_are_named_with_the_command_that_starts_them() -> Result<()> {
        let app = "blog".parse()?;
        assert_eq!(unscaled(&app, &[]), None);
        let one = "worker has no container yet: `paas ps:scale blog worker=1` starts one";
        assert_eq!(unscaled(&app, &["worker"]).as_deref(), Some(one));
        let two = "clock, worker have no container yet: `paas ps:scale blog clock=1 worker=1` starts one of each";
        assert_eq!(unscaled(&app, &["clock", "worker"]).as_deref(), Some(two));
        Ok(())
    }
}
