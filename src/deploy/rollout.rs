//! The rollout: start the new containers, prove them healthy, switch to them.

use futures_util::future::try_join_all;

use super::{Deploying, Live, health, release::Cut, retire};
use crate::{
    Result, clock,
    engine::{ContainerSpec, Restart},
    git,
    model::{self, DeployState, ProcessSpec, ProcessType, Release},
    proxy,
    store::{Container, NewContainer},
};

/// New containers that are running, not yet proven.
pub(super) struct Candidate {
    release: Release,
    containers: Vec<(Container, ProcessSpec)>,
}

/// New containers that are proven.
pub(super) struct Healthy {
    release: Release,
    containers: Vec<Container>,
}

/// Starts containers of all process types. The old ones are untouched.
pub(super) async fn start(deploying: &Deploying<'_>, cut: Cut) -> Result<Candidate> {
    deploying.enter(DeployState::Starting)?;
    let release = &cut.release;
    let instance = deploying.instance;
    deploying.engine.ensure_network(&instance.id, instance.settings.subnet).await?;
    // The rows first: whatever happens to this process, the next one knows what to remove.
    let containers = instance.write(|tables| {
        let formation = tables.formation(deploying.app.id)?;
        let mut containers = Vec::new();
        for spec in &release.processes {
            let scaled = formation.iter().find(|(process, _)| *process == spec.process);
            for position in 1..=scaled.map_or(1, |(_, quantity)| *quantity) {
                let name = container_name(deploying, &spec.process, position);
                let new = NewContainer {
                    app_id: deploying.app.id,
                    release_id: release.id,
                    deployment_id: deploying.id,
                    process: &spec.process,
                    position,
                    name: &name,
                    port: release.port,
                };
                containers.push((tables.add_container(instance.settings.subnet, &new)?, spec.clone()));
            }
        }
        Ok(containers)
    })?;
    let labels: Vec<String> = containers.iter().map(|(container, _)| container.label()).collect();
    deploying.log.step(&format!("Starting {}", labels.join(", ")));
    try_join_all(containers.iter().map(|(container, process)| {
        let spec = container_spec(deploying, &cut, container, process.arguments());
        async move { deploying.engine.start(&spec).await }
    }))
    .await?;
    Ok(Candidate { release: cut.release, containers })
}

/// Waits until every container is proven: before any traffic moves.
pub(super) async fn wait_healthy(deploying: &Deploying<'_>, candidate: Candidate) -> Result<Healthy> {
    deploying.enter(DeployState::Checking)?;
    let Candidate { release, containers } = candidate;
    try_join_all(containers.iter().map(|(container, process)| async move {
        let begun = clock::instant();
        let proof = health::prove(deploying, container, process).await?;
        let took = model::seconds(begun.elapsed());
        deploying.log.detail(&format!("{} is healthy after {took}: {proof}", container.label()));
        Ok::<_, crate::Error>(())
    }))
    .await?;
    // The switch needs the proxy, and a former deploy's containers must be gone before more are sent after them.
    proxy::ready(deploying.instance).await?;
    retire::wait_until_drained(deploying).await?;
    Ok(Healthy { release, containers: containers.into_iter().map(|(container, _)| container).collect() })
}

/// The point of no return: one commit makes the new containers the ones that serve, and then the proxy is seen to
/// have followed. After the commit nothing here fails: what cannot be done now is done by recovery.
pub(super) async fn switch(deploying: &Deploying<'_>, healthy: Healthy) -> Result<Live> {
    let Healthy { release, containers } = healthy;
    let instance = deploying.instance;
    let begun = clock::instant();
    let deployment = instance.write(|tables| {
        tables.move_deployment(deploying.id, deploying.state(), DeployState::Switching)?;
        tables.switch_containers(deploying.app.id, deploying.id)?;
        tables.set_current_release(deploying.app.id, release.id)?;
        tables.set_live(deploying.id)?;
        let deployment = tables.deployment(deploying.id)?;
        if let (None, Some(branch)) = (&deploying.app.deploy_branch, &deployment.branch) {
            tables.set_deploy_branch(deploying.app.id, branch)?;
        }
        Ok(deployment)
    })?;
    deploying.entered(DeployState::Switching);
    if let (Some(branch), Some(commit)) = (&deployment.branch, deployment.commit) {
        let repository = instance.settings.paths.repository(&deploying.app.name);
        let moved = git::move_branch(&repository, branch, commit).and_then(|()| git::unpin(&repository, deploying.id));
        if let Err(error) = moved {
            deploying.log.warn(&format!("the branch was not moved, the next start will: {}", error.one_line()));
        }
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
    for container in &containers {
        if let Err(error) = deploying.engine.set_restart(&container.name, Restart::UnlessStopped).await {
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

/// The name of a container in the engine.
pub(super) fn container_name(deploying: &Deploying<'_>, process: &ProcessType, position: u32) -> String {
    format!("paas-{}-{}-{}-{process}-{position}", deploying.instance.id, deploying.app.name, deploying.id)
}

/// What a container of a release is made from.
pub(super) fn container_spec(
    deploying: &Deploying<'_>,
    cut: &Cut,
    container: &Container,
    arguments: Option<[String; 3]>,
) -> ContainerSpec {
    let release = &cut.release;
    let mut environment: Vec<(String, String)> =
        cut.config.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    environment.retain(|(key, _)| key != "PORT");
    environment.push(("PORT".to_owned(), release.port.to_string()));
    environment.push(("PAAS_APP".to_owned(), deploying.app.name.to_string()));
    environment.push(("PAAS_RELEASE".to_owned(), release.version.to_string()));
    environment.push(("PAAS_PROCESS".to_owned(), container.label()));
    ContainerSpec {
        name: container.name.clone(),
        labels: deploying.labels(Some(release.version), Some((container.process.clone(), container.position))),
        image: release.image.clone(),
        arguments,
        environment,
        address: container.address,
        restart: Restart::No,
    }
}
