//! Processes: how they are, how they are run, stop.

use std::collections::HashMap;

use serde::Serialize;

use crate::{
    Error, Result, deploy,
    engine::{Engine, Running},
    instance::Instance,
    model::{App, AppName, AppState, ProcessSpec, ProcessType, Release, ReleaseVersion},
    proxy,
    store::{Container, ContainerState},
};

/// How often a container that ended was started again before that counts as a crash loop.
const CRASH_LOOP: u32 = 3;

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
    let (app, _lock) = deploy::hold(instance, name, "the stop", waiting).await?;
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

/// Scales process types of an app that does not run: for its next start. One that runs is scaled by a deploy.
///
/// # Errors
/// [`Error::ProcessNotFound`] where it was deployed and has no such type.
pub async fn scale_for_later(
    instance: &Instance,
    name: &AppName,
    formation: &[(ProcessType, u32)],
    waiting: impl FnMut(&str),
) -> Result<()> {
    let (app, _lock) = deploy::hold(instance, name, "the scaling", waiting).await?;
    instance.write(|tables| {
        let current = tables.current_release(app.id)?;
        for (process, quantity) in formation {
            if let Some(current) = current.as_ref().filter(|current| current.process(process).is_none()) {
                let (app, known) = (name.clone(), current.process_names());
                return Err(Error::ProcessNotFound { app, process: process.clone(), known });
            }
            tables.scale(app.id, process, *quantity)?;
        }
        Ok(())
    })
}

/// How many containers each process type of an app is meant to have: `web` first, then by name.
///
/// # Errors
/// [`Error::AppNotFound`], [`Error::Database`].
pub fn formation(instance: &Instance, app: &App) -> Result<Vec<(ProcessType, u32)>> {
    let (release, scaled) = instance.read(|tables| Ok((tables.current_release(app.id)?, tables.formation(app.id)?)))?;
    let specs = release.map(|release| release.processes).unwrap_or_default();
    let known = |process: &ProcessType| specs.iter().any(|spec| spec.process == *process);
    let mut formation: Vec<(ProcessType, u32)> =
        specs.iter().map(|spec| (spec.process.clone(), quantity(spec, &scaled))).collect();
    formation.extend(scaled.iter().filter(|(process, _)| specs.is_empty() && !known(process)).cloned());
    Ok(formation)
}

fn quantity(spec: &ProcessSpec, scaled: &[(ProcessType, u32)]) -> u32 {
    let scaled = scaled.iter().find(|(process, _)| *process == spec.process);
    scaled.map(|(_, quantity)| *quantity).or(spec.quantity).unwrap_or(1)
}

/// An app's containers and how each of them is.
#[derive(Debug)]
pub struct Report {
    /// The app.
    pub app: App,
    /// The release that serves.
    pub release: Option<Release>,
    /// How many containers each process type is meant to have.
    pub formation: Vec<(ProcessType, u32)>,
    /// Its containers, with what the engine says of them.
    pub containers: Vec<(Container, Option<Running>)>,
}

/// Reports on an app. What the engine says is missing where it does not answer.
///
/// # Errors
/// [`Error::AppNotFound`], [`Error::Database`].
pub async fn report(instance: &Instance, name: &AppName) -> Result<Report> {
    let (app, release, containers) = instance.read(|tables| {
        let app = tables.app(name)?;
        let release = tables.current_release(app.id)?;
        let containers = tables.containers_of_app(app.id)?;
        Ok((app, release, containers))
    })?;
    let formation = formation(instance, &app)?;
    let engine = Engine::connect(&instance.settings).await.ok();
    let mut report = Vec::new();
    for container in containers {
        let running = match &engine {
            Some(engine) => engine.running(&container.name).await.ok().flatten(),
            None => None,
        };
        report.push((container, running));
    }
    Ok(Report { app, release, formation, containers: report })
}

/// How a container is, in words.
pub fn state_of(container: &Container, running: Option<&Running>) -> String {
    let code = running.map_or(0, |running| running.exit_code);
    match (container.state, running) {
        (ContainerState::Live, None) if container.ended => "ended".to_owned(),
        (ContainerState::Live, Some(running)) if container.ended => format!("ended with code {}", running.exit_code),
        (ContainerState::Live, Some(running)) if running.restarts >= CRASH_LOOP && !running.is_stable() => {
            format!("crash loop: started again {} times, last exit code {code}", running.restarts)
        }
        (ContainerState::Live, Some(running)) if !running.is_running => format!("down, exit code {code}"),
        (ContainerState::Live, _) if !container.healthy => match &container.failing {
            Some(reason) => format!("unhealthy: {reason}"),
            None => "unhealthy".to_owned(),
        },
        (ContainerState::Live, _) => "running".to_owned(),
        (state, _) => state.as_str().to_owned(),
    }
}

/// A line of the report of all apps: a container, or an app that has none.
#[derive(Debug, Serialize)]
pub struct Line {
    /// The app.
    pub app: AppName,
    /// Whether it is meant to run.
    pub state: &'static str,
    /// The release that serves.
    pub release: Option<ReleaseVersion>,
    /// The container, `web.1`.
    pub container: String,
    /// How it is, in words.
    pub is: String,
}

/// Reports on all apps in one go: one question to the database, one to the engine.
///
/// # Errors
/// [`Error::Database`].
pub async fn report_all(instance: &Instance) -> Result<Vec<Line>> {
    let (apps, containers) = instance.read(|tables| Ok((tables.apps()?, tables.containers()?)))?;
    let states = match Engine::connect(&instance.settings).await {
        Ok(engine) => engine.states(&instance.id).await.unwrap_or_default(),
        Err(_) => HashMap::new(),
    };
    let mut lines = Vec::new();
    for app in apps {
        let line = |container: String, is: String| Line {
            app: app.name.clone(),
            state: app.state.as_str(),
            release: app.current_release,
            container,
            is,
        };
        let own: Vec<&Container> = containers.iter().filter(|container| container.app_id == app.id).collect();
        if own.is_empty() {
            lines.push(line("-".to_owned(), "-".to_owned()));
        }
        for container in own {
            let engine_says = states.get(&container.name).map(String::as_str);
            let is = match (container.state, engine_says) {
                (ContainerState::Live, Some("running")) if !container.healthy => "unhealthy",
                (ContainerState::Live, Some(word)) => word,
                (ContainerState::Live, None) => "unknown",
                (state, _) => state.as_str(),
            };
            lines.push(line(container.label(), is.to_owned()));
        }
    }
    Ok(lines)
}
