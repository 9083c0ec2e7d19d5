//! Cutting a release: image, config snapshot, process types. One transaction; never changed after it. And the release
//! command, which runs once for a new image before anything of it starts.

use futures_util::StreamExt;

use super::{Deploying, Push, build::Built, rollout};
use crate::{
    Error, Result, clock,
    model::{self, ConfigMap, DeployState, EnvKey, ProcessType, Release},
    ops,
    store::{NewContainer, NewRelease},
};

/// The port where nothing says another.
const DEFAULT_PORT: u16 = 5000;

/// A release that exists, with its config in clear.
pub(super) struct Cut {
    pub release: Release,
    pub config: ConfigMap,
    release_command: Option<String>,
}

/// Cuts a release of a new image, with the app's config as it is now.
pub(super) fn cut(deploying: &Deploying<'_>, built: Built, push: &Push) -> Result<Cut> {
    deploying.enter(DeployState::Releasing)?;
    let config = ops::config::show(deploying.instance, &deploying.app)?;
    let port = port(&config)?.or(built.plan.port).unwrap_or(DEFAULT_PORT);
    let sealed = deploying.instance.secrets.seal_config(&config)?;
    let release = write(
        deploying,
        &NewRelease {
            image: &built.image,
            sealed_config: &sealed,
            processes: &built.plan.processes,
            port,
            commit: Some(push.commit),
            reason: &format!("push of {}", push.branch),
            actor: &deploying.instance.actor,
        },
    )?;
    deploying.log.step(&format!("Releasing {}", release.version));
    Ok(Cut { release, config, release_command: built.plan.release_command })
}

/// Cuts a release of the image that serves, with the app's config as it is now.
pub(super) fn cut_again(deploying: &Deploying<'_>, current: &Release, reason: &str) -> Result<Cut> {
    deploying.enter(DeployState::Releasing)?;
    let config = ops::config::show(deploying.instance, &deploying.app)?;
    // A PORT that was taken out of the config leaves the port it set: the image's own is not known any more.
    let port = port(&config)?.unwrap_or(current.port);
    let sealed = deploying.instance.secrets.seal_config(&config)?;
    let release = write(
        deploying,
        &NewRelease {
            image: &current.image,
            sealed_config: &sealed,
            processes: &current.processes,
            port,
            commit: current.commit,
            reason,
            actor: &deploying.instance.actor,
        },
    )?;
    deploying.log.step(&format!("Releasing {} ({reason})", release.version));
    Ok(Cut { release, config, release_command: None })
}

/// Takes the release that serves, as it is.
pub(super) fn again(deploying: &Deploying<'_>, current: Release) -> Result<Cut> {
    deploying.enter(DeployState::Releasing)?;
    let sealed = deploying.instance.read(|tables| tables.sealed_config(current.id))?;
    let config = deploying.instance.secrets.unseal_config(&sealed)?;
    deploying.log.step(&format!("Restarting {}", current.version));
    Ok(Cut { release: current, config, release_command: None })
}

/// Runs the release command, if there is one, in a container of its own with the release's config. What it prints goes
/// to the log as it comes.
///
/// # Errors
/// [`Error::ReleaseCommand`] where it exits other than with 0.
pub(super) async fn run_command(deploying: &Deploying<'_>, cut: Cut) -> Result<Cut> {
    let Some(command) = &cut.release_command else { return Ok(cut) };
    deploying.log.step("Running the release command");
    let begun = clock::instant();
    let instance = deploying.instance;
    deploying.engine.ensure_network(&instance.id, instance.settings.subnet).await?;
    let process: ProcessType = ProcessType::RELEASE.parse()?;
    let name = rollout::container_name(deploying, &process, 1);
    let container = instance.write(|tables| {
        let new = NewContainer {
            app_id: deploying.app.id,
            release_id: cut.release.id,
            deployment_id: deploying.id,
            process: &process,
            position: 1,
            name: &name,
            port: cut.release.port,
        };
        tables.add_container(instance.settings.subnet, &new)
    })?;
    deploying
        .engine
        .start(&rollout::container_spec(deploying, &cut, &container, Some(model::shell_arguments(command))))
        .await?;
    let mut lines = std::pin::pin!(deploying.engine.logs(&name, None, true));
    while let Some(line) = lines.next().await {
        deploying.log.detail(&line?.text);
    }
    let code = deploying.engine.wait(&name).await?;
    if code != 0 {
        return Err(Error::ReleaseCommand { code });
    }
    deploying.engine.remove(&name).await?;
    instance.write(|tables| tables.remove_container(container.id))?;
    deploying.log.detail(&format!("done in {}", model::seconds(begun.elapsed())));
    Ok(cut)
}

/// Writes the release and notes that this deployment cut it, in one transaction.
fn write(deploying: &Deploying<'_>, new: &NewRelease<'_>) -> Result<Release> {
    deploying.instance.write(|tables| {
        let release = tables.cut_release(deploying.app.id, new)?;
        tables.set_deployment_release(deploying.id, release.id)?;
        Ok(release)
    })
}

/// The port that the config sets.
fn port(config: &ConfigMap) -> Result<Option<u16>> {
    let key: EnvKey = "PORT".parse()?;
    config.get(&key).map(|text| ops::config::parse_port(text)).transpose()
}
