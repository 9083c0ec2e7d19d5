//! Deployments: look up, watch, cancel.

use std::{io::Read, time::Duration};

use crate::{
    Error, Result, files,
    instance::Instance,
    model::{AppName, DeployId, DeployState, Deployment, Phase},
};

/// How often a follower looks for more.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Finds a deployment by what a user typed: its number, the name of an app whose newest it is, or nothing for the
/// newest of all.
///
/// # Errors
/// [`Error::DeploymentNotFound`], [`Error::AppNotFound`], [`Error::NeverDeployed`].
pub fn find(instance: &Instance, target: Option<&str>) -> Result<Deployment> {
    let Some(target) = target else {
        return instance
            .read(|tables| tables.newest_deployment())?
            .ok_or_else(|| Error::DeploymentNotFound("yet".to_owned()));
    };
    if let Ok(id) = target.parse::<DeployId>() {
        return instance.read(|tables| tables.deployment(id));
    }
    let name: AppName = target.parse()?;
    let newest = instance.read(|tables| {
        let app = tables.app(&name)?;
        tables.deployments(app.id, 1)
    })?;
    newest.into_iter().next().ok_or(Error::NeverDeployed(name))
}

/// Gives the log of a deployment to `out`, in pieces; with `follow`, until the deployment is live or over.
///
/// # Errors
/// [`Error::Io`], and what `out` returns.
pub async fn output(
    instance: &Instance,
    deployment: &Deployment,
    follow: bool,
    mut out: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let app = instance.read(|tables| tables.app_by_id(deployment.app_id))?;
    let path = instance.settings.paths.deploy_log(&app.name, deployment.id);
    let action = || format!("read the deploy log {}", path.display());
    let Some(mut file) = files::open_optional(&path)? else { return Ok(()) };
    loop {
        // Its state before its text: what was written before it ended is then read before this ends.
        // The last lines, with the address, come between the switch and the drain.
        let running = instance.read(|tables| tables.deployment(deployment.id))?.state < DeployState::Draining;
        let mut buffer = Vec::new();
        file.read_to_end(&mut buffer).map_err(Error::io(action()))?;
        if !buffer.is_empty() {
            out(&buffer)?;
        }
        if !follow || !running {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Asks a deployment to stop, and waits until it has.
///
/// # Errors
/// [`Error::NotCancelable`].
pub async fn cancel(instance: &Instance, deployment: &Deployment) -> Result<Deployment> {
    instance.write(|tables| tables.cancel_deployment(deployment.id, &instance.actor))?;
    // The process that runs it needs a moment; one that died is recovered by the daemon or the next deploy.
    for _ in 0..300 {
        let now = instance.read(|tables| tables.deployment(deployment.id))?;
        if now.state.phase() == Phase::Ended {
            return Ok(now);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    instance.read(|tables| tables.deployment(deployment.id))
}
