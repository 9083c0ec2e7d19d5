//! Processes: stop, start.

use crate::{
    Error, Result,
    deploy::{self, Live},
    engine::Engine,
    instance::Instance,
    lock::{self, Holder},
    model::{AppName, AppState},
    proxy,
    ui::DeployLog,
};

/// Stops an app: its address answers with a page that says so, its requests in flight complete, its containers go.
///
/// # Errors
/// [`Error::NeverDeployed`].
pub async fn stop(instance: &Instance, name: &AppName, waiting: impl FnMut(&str)) -> Result<()> {
    let app = instance.read(|tables| tables.app(name))?;
    if app.current_release.is_none() {
        return Err(Error::NeverDeployed(app.name));
    }
    let engine = Engine::connect(&instance.settings).await?;
    let holder = Holder::new("the stop", &instance.actor);
    let _lock = lock::lock(&instance.settings.paths.app_lock(app.id), &holder, waiting).await?;
    instance.write(|tables| {
        tables.set_app_state(app.id, AppState::Stopped)?;
        tables.retire_containers(app.id)
    })?;
    proxy::publish(instance, name).await?;
    if !instance.daemon_runs() {
        deploy::retire_app(instance, &engine, app.id).await?;
    }
    Ok(())
}

/// Starts the current release of an app again, in new containers.
///
/// # Errors
/// [`Error::NeverDeployed`]; whatever fails in the start.
pub async fn start(instance: &Instance, name: &AppName, log: &DeployLog) -> Result<Live> {
    deploy::restart(instance, name, log).await
}
