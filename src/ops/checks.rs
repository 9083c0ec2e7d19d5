//! Checks of what runs.

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::{
    Error, Result,
    deploy::{self, Target},
    engine::Engine,
    instance::Instance,
    model::{AppName, Check, ProcessType},
    ops::properties::Line,
};

/// What a check of a container came to.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The container, as people see it: `web.1`.
    pub container: String,
    /// Whether it passed.
    pub passed: bool,
    /// What proves it healthy, or why it is not.
    pub said: String,
}

/// Checks an app's live containers now, each once; of one process type, or all.
///
/// # Errors
/// [`Error::NeverDeployed`], [`Error::NotRunning`], [`Error::ProcessNotFound`], [`Error::DockerUnavailable`].
pub async fn run(instance: &Instance, name: &AppName, process: Option<&ProcessType>) -> Result<Vec<Verdict>> {
    let (app, release, containers) = instance.read(|tables| {
        let app = tables.app(name)?;
        let release = tables.current_release(app.id)?;
        Ok((app.clone(), release, tables.containers_of_app(app.id)?))
    })?;
    let release = release.ok_or_else(|| Error::NeverDeployed(name.clone()))?;
    if !app.is_running() {
        return Err(Error::NotRunning(app.name));
    }
    if let Some(process) = process.filter(|process| release.process(process).is_none()) {
        let known = release.process_names();
        return Err(Error::ProcessNotFound { app: app.name, process: process.clone(), known });
    }
    let engine = Engine::connect(&instance.settings).await?;
    let live = containers
        .iter()
        .filter(|container| container.is_live() && process.is_none_or(|process| container.process == *process));
    try_join_all(live.map(async |container| {
        let spec = release
            .process(&container.process)
            .ok_or_else(|| Error::bug(format!("{} has no {}", release.version, container.process)))?;
        let checked = deploy::probe(&engine, &Target::of(instance, container), &spec.run.check).await;
        let passed = checked.is_ok();
        let said = checked.unwrap_or_else(|reason| reason);
        Ok(Verdict { container: container.label(), passed, said })
    }))
    .await
}

/// How an app's containers are checked, and what is set about it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How each process type of the release that serves is checked; none where the app was never deployed.
    pub processes: Vec<ProcessCheck>,
    /// What is set.
    pub properties: Vec<Line>,
}

/// How the containers of a process type are checked.
#[derive(Debug, Serialize)]
pub struct ProcessCheck {
    /// The process type.
    pub process: ProcessType,
    /// How it is checked; what headers say is masked.
    #[serde(flatten)]
    pub check: Check,
    /// The port its web process listens on, which is asked where no other is set.
    pub web_port: u16,
    /// Its containers.
    pub containers: Vec<ContainerHealth>,
}

/// How a container is.
#[derive(Debug, Serialize)]
pub struct ContainerHealth {
    /// The container, `web.1`.
    pub container: String,
    /// Whether it passes its checks.
    pub healthy: bool,
}

/// Reports how an app's containers are checked, above what is set about it.
///
/// # Errors
/// [`Error::AppNotFound`], [`Error::Database`].
pub fn report(instance: &Instance, app: &AppName, properties: Vec<Line>) -> Result<Report> {
    let (release, containers) = instance.read(|tables| {
        let app = tables.app(app)?;
        Ok((tables.current_release(app.id)?, tables.containers_of_app(app.id)?))
    })?;
    let of_type = |process: &ProcessType| {
        let own = containers.iter().filter(|container| container.is_live() && container.process == *process);
        own.map(|container| ContainerHealth { container: container.label(), healthy: container.healthy }).collect()
    };
    let processes = release.iter().flat_map(|release| {
        release.processes.iter().map(|spec| ProcessCheck {
            process: spec.process.clone(),
            check: spec.run.check.masked(),
            web_port: release.port,
            containers: of_type(&spec.process),
        })
    });
    Ok(Report { processes: processes.collect(), properties })
}
