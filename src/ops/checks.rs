//! Checks of what runs.

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::{
    Error, Result,
    deploy::{self, Target},
    engine::Engine,
    instance::Instance,
    model::{AppName, ProcessType},
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
        Ok((app.clone(), tables.serving(&app)?, tables.containers_of_app(app.id)?))
    })?;
    if !app.is_running() {
        return Err(Error::NotRunning(app.name));
    }
    if let Some(process) = process {
        release.require(name, process)?;
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
