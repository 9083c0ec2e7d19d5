//! Apps: make, look up, destroy.

use crate::{
    Error, Result, clock, deploy,
    engine::Engine,
    git,
    instance::Instance,
    model::{App, AppName, AppState, DeployId, DeployState, Freeze, Phase, Scope},
    proxy,
};

/// Makes an app and its repository.
///
/// # Errors
/// [`Error::AppExists`], [`Error::AppNameReserved`].
pub async fn create(instance: &Instance, name: &AppName) -> Result<App> {
    name.check_not_reserved()?;
    let app = instance.write(|tables| tables.create_app(name))?;
    git::create_repository(&instance.settings.paths, name)?;
    proxy::nudge(instance).await;
    Ok(app)
}

/// Removes an app with everything that belongs to it: containers, images, repository, logs, releases, config. A
/// running deploy of it is cancelled first.
///
/// Killed in the middle, it leaves a stopped app behind that can be destroyed again.
///
/// # Errors
/// [`Error::AppNotFound`]; what the engine says.
pub async fn destroy(instance: &Instance, name: &AppName, waiting: impl FnMut(&str)) -> Result<()> {
    let app = instance.read(|tables| tables.app(name))?;
    deploy::refuse_frozen(&app)?;
    let engine = Engine::connect(&instance.settings).await?;
    instance.write(|tables| {
        for deployment in tables.unfinished_deployments(Some(app.id))? {
            if deployment.state.phase() == Phase::Undoable {
                tables.cancel_deployment(deployment.id, &instance.actor)?;
            }
        }
        Ok(())
    })?;
    let (app, _lock) = deploy::hold(instance, name, "the end of the app", waiting).await?;
    instance.write(|tables| {
        tables.set_app_state(app.id, AppState::Stopped)?;
        tables.retire_containers(app.id)
    })?;
    // No request may be on its way to a container that goes.
    unless_caddy_is_down(proxy::publish(instance, name).await.map(drop))?;
    for container in instance.read(|tables| tables.containers_of_app(app.id))? {
        engine.remove(&container.name).await?;
        instance.write(|tables| tables.remove_container(container.id))?;
    }
    for image in engine.images(&instance.id).await?.iter().filter(|image| image.app.as_ref() == Some(name)) {
        engine.remove_image_of(image).await?;
    }
    remove_directory(&instance.settings.paths.repository(name))?;
    remove_directory(&instance.settings.paths.app(name))?;
    instance.write(|tables| {
        for deployment in tables.unfinished_deployments(Some(app.id))? {
            tables.end_deployment(deployment.id, DeployState::Canceled, None)?;
        }
        tables.delete_app(app.id)
    })?;
    unless_caddy_is_down(proxy::publish(instance, name).await.map(drop))?;
    unless_caddy_is_down(proxy::sync(instance).await)
}

/// Freezes an app on purpose, so that nothing changes it. Returns the deployment that is running, which goes on.
///
/// # Errors
/// [`Error::AppNotFound`]; [`Error::Frozen`] where it is frozen already.
pub fn freeze(instance: &Instance, name: &AppName, message: Option<String>) -> Result<Option<DeployId>> {
    instance.write(|tables| {
        let app = tables.app(name)?;
        deploy::refuse_frozen(&app)?;
        let freeze = Freeze { actor: instance.actor.to_string(), since: clock::now(), message };
        tables.set_freeze(app.id, Some(&freeze))?;
        let unfinished = tables.unfinished_deployments(Some(app.id))?;
        let running = unfinished
            .iter()
            .find(|deployment| deployment.state.phase() == Phase::Undoable && deployment.state != DeployState::Queued);
        Ok(running.map(|deployment| deployment.id))
    })
}

/// Lets an app be changed again, and returns who had frozen it.
///
/// # Errors
/// [`Error::AppNotFound`].
pub fn thaw(instance: &Instance, name: &AppName) -> Result<Option<Freeze>> {
    instance.write(|tables| {
        let app = tables.app(name)?;
        tables.set_freeze(app.id, None)?;
        Ok(app.freeze)
    })
}

/// Where Caddy does not run there are no requests either, and it starts with what the database says then.
fn unless_caddy_is_down(result: Result<()>) -> Result<()> {
    match result {
        Err(Error::ProxyUnavailable { .. }) => Ok(()),
        other => other,
    }
}

/// Removes an app that a push made and then did not use: one that has no config and was never asked to deploy.
///
/// # Errors
/// [`Error::Database`], [`Error::Io`].
pub async fn remove_unused(instance: &Instance, name: &AppName) -> Result<bool> {
    let removed = instance.write(|tables| {
        let Some(app) = tables.find_app(name)?.filter(|app| app.state == AppState::New) else { return Ok(false) };
        let is_set_up = tables.properties(Some(app.id))?.iter().any(|row| row.set.scope != Scope::Global);
        if is_set_up || !tables.deployments(app.id, 1)?.is_empty() || !tables.config(app.id)?.is_empty() {
            return Ok(false);
        }
        tables.delete_app(app.id)?;
        Ok(true)
    })?;
    if removed {
        remove_directory(&instance.settings.paths.repository(name))?;
        proxy::nudge(instance).await;
    }
    Ok(removed)
}

fn remove_directory(path: &std::path::Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}
