//! The line in which the actions that change an app wait for each other: one at a time, the oldest first.

use std::time::Duration;

use super::{
    deployment::{ActiveDeploy, end_of, unless_stopped},
    preflight, recover,
};
use crate::{
    Error, Result, clock,
    context::Context,
    engine::Engine,
    error::DeployError,
    git,
    instance::Instance,
    lock::{self, Holder, Lock},
    model::{App, AppName, DeployId, DeployState, DeploymentKind},
    proxy,
    store::NewDeployment,
    ui::DeployLog,
};

/// How often one that waits looks whether it is its turn.
const TURN_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What a deployment is begun with.
pub(super) struct Request<'a> {
    /// The app.
    pub app: &'a AppName,
    /// What for, for those who wait behind it: `the deploy of main (1a2b3c4)`.
    pub what: String,
    /// Whether to wait in line, or fail where another action holds the app.
    pub wait: bool,
    /// Its row.
    pub new: NewDeployment<'a>,
}

/// Opens a deployment, waits for its turn, and first finishes or undoes what a dead one left.
///
/// # Errors
/// `DeployError::AppLocked`; `DeployError::Busy` where it does not wait; `Stop::Superseded`, `Stop::Canceled` while it
/// waits; `EngineError::Unavailable`, `ProxyError::Unavailable`, `HostError::DiskFull` of the machine. The deployment
/// is over then, and its log has been told.
pub(super) async fn begin<'a>(
    context: &Context<'a>,
    request: &Request<'_>,
    log: &'a DeployLog,
) -> Result<ActiveDeploy<'a>> {
    let instance = context.instance;
    let app = instance.read(|tables| tables.app(request.app))?;
    refuse_locked(&app)?;
    // Where there is no room there is none for a deployment's row either.
    preflight::check_disk(instance)?;
    let paths = &instance.settings.paths;
    if !request.wait
        && let Some(holder) = lock::holder(&paths.app_lock(app.id))?
    {
        return Err(Error::Deploy(DeployError::Busy { app: app.name, holder: holder.describe_since() }));
    }
    // Claimed before anybody can see the row, or a recovery could take it for a dead one's.
    let (id, claim) = instance.write(|tables| {
        let id = tables.open_deployment(&app, &request.new)?;
        if request.new.kind == DeploymentKind::Push {
            tables.supersede(app.id, id)?;
        }
        Ok((id, lock::claim(&paths.deployments_lock(), id.0)?))
    })?;
    log.opened(id);
    let turn = async {
        log.open_file(&paths.deploy_log(&app.name, id))?;
        if let Some(commit) = request.new.commit {
            git::pin(&paths.repository(&app.name), id, commit)?;
        }
        let lock = wait_for_turn(context, &app, id, request, log).await?;
        let engine = Engine::connect(&instance.settings).await?;
        preflight::check_machine(instance, &engine).await?;
        proxy::ready(&instance.settings).await?;
        recover::leftovers(instance, &engine, app.id).await?;
        // Read again: what held the lock may have changed the app, or destroyed it.
        let app = instance.read(|tables| tables.app(request.app))?;
        refuse_locked(&app)?;
        // Before the build, to which an app may give what it is configured with; a release hides what it adds.
        log.hide(instance.config(app.id)?.values());
        Ok((engine, app, lock))
    };
    match unless_stopped(instance, id, turn).await {
        Ok((engine, app, lock)) => ActiveDeploy::new(context, engine, app, id, log, (lock, claim)),
        Err(error) => {
            log.error(&error);
            recover::abandon(instance, id, end_of(&error), &error.one_line());
            log.flush();
            Err(error.told())
        }
    }
}

/// Takes the app's lock for a change that is no deployment: a stop, a setting, the end of the app. `waiting` is told
/// for whom it waits. What holds it now is read again, and returned.
///
/// # Errors
/// [`Error::Deploy`] if it is locked, [`Error::NotFound`].
pub async fn hold(context: &Context<'_>, name: &AppName, what: &str, waiting: impl FnMut(&str)) -> Result<(App, Lock)> {
    let instance = context.instance;
    let app = instance.read(|tables| tables.app(name))?;
    refuse_locked(&app)?;
    let holder = Holder::new(what, context.actor());
    let lock = lock::lock(&instance.settings.paths.app_lock(app.id), &holder, waiting).await?;
    // Whoever held it may have changed the app, or destroyed it.
    let app = instance.read(|tables| tables.app(name))?;
    refuse_locked(&app)?;
    Ok((app, lock))
}

/// Refuses to change an app that somebody locked.
///
/// # Errors
/// `DeployError::AppLocked`.
pub fn refuse_locked(app: &App) -> Result<()> {
    match &app.lock {
        Some(lock) => {
            let message = lock.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
            let by = format!("{}, {}{message}", lock.actor, clock::ago(lock.since));
            Err(Error::Deploy(DeployError::AppLocked { app: app.name.clone(), by }))
        }
        None => Ok(()),
    }
}

async fn wait_for_turn(
    context: &Context<'_>,
    app: &App,
    id: DeployId,
    request: &Request<'_>,
    log: &DeployLog,
) -> Result<Lock> {
    let instance = context.instance;
    let holder = Holder::new(request.what.clone(), context.actor());
    let path = instance.settings.paths.app_lock(app.id);
    let mut told = None;
    loop {
        if let Some(stopped) = instance.read(|tables| tables.stopped_by(id))? {
            return Err(stopped.into());
        }
        let obstacle = match before(instance, app, id)? {
            Some(other) => Some(format!("deploy {other}, which is before this one in line")),
            None => match lock::try_lock(&path, &holder)? {
                Ok(lock) => return Ok(lock),
                Err(other) => other.map(|other| other.describe_since()),
            },
        };
        if !request.wait {
            let holder = obstacle.unwrap_or_else(|| "another action".to_owned());
            return Err(Error::Deploy(DeployError::Busy { app: app.name.clone(), holder }));
        }
        if obstacle.is_some() && obstacle != told {
            log.step(&format!("Waiting for {}", obstacle.clone().unwrap_or_default()));
            told = obstacle;
        }
        tokio::time::sleep(TURN_POLL_INTERVAL).await;
    }
}

/// The deployment that waits in line right before this one, and lives.
fn before(instance: &Instance, app: &App, id: DeployId) -> Result<Option<DeployId>> {
    let unfinished = instance.read(|tables| tables.unfinished_deployments(Some(app.id)))?;
    let claims = instance.settings.paths.deployments_lock();
    for deployment in unfinished.iter().rev() {
        if deployment.id < id && deployment.state == DeployState::Queued && lock::is_claimed(&claims, deployment.id.0)?
        {
            return Ok(Some(deployment.id));
        }
    }
    Ok(None)
}
