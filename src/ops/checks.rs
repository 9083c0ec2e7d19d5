//! Checks of what runs.

use futures_util::future::try_join_all;
use serde::Serialize;

use super::properties::{self, PropertyLines};
use crate::{
    Error, Result,
    context::Context,
    deploy::{self, Target},
    engine::Engine,
    error::DeployError,
    model::{AppName, Check, Noun, Probe, ProcessType},
    ui::{Show, Text},
};

/// What a check of a container came to.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The container, as people see it: `web.1`.
    pub container: String,
    /// Whether it passed.
    pub passed: bool,
    /// What proves it healthy, or why it is not.
    pub answer: String,
}

/// What a check of several containers came to.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Verdicts(pub Vec<Verdict>);

impl Show for Verdicts {
    fn text(&self) -> Text {
        Text::table(
            ["CONTAINER", "CHECK", "RESULT"],
            self.0.iter().map(|verdict| {
                let word = if verdict.passed { "passed" } else { "failed" };
                [verdict.container.clone(), word.to_owned(), verdict.answer.clone()]
            }),
        )
    }
}

/// How a process type is checked, and which of its containers are healthy.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// The process type.
    pub process: ProcessType,
    /// How it is checked.
    #[serde(flatten)]
    pub check: Check,
    /// Its live containers.
    pub containers: Vec<ContainerHealth>,
    #[serde(skip)]
    web_port: u16,
}

/// Whether a container is healthy.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerHealth {
    /// The container's label: `web.1`.
    pub container: String,
    /// Whether it is.
    pub healthy: bool,
}

/// How the process types of an app are checked, and what is set about it.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReports {
    /// How each process type of the release that serves is checked; none where the app was never deployed.
    pub processes: Vec<CheckReport>,
    /// What is set.
    pub properties: PropertyLines,
}

impl Show for CheckReports {
    fn text(&self) -> Text {
        let processes = Text::table(
            ["PROCESS", "MODE", "CHECK", "TIMEOUT", "WHILE SERVING", "HEALTHY"],
            self.processes.iter().map(|report| {
                let healthy = report.containers.iter().filter(|container| container.healthy).count();
                [
                    report.process.to_string(),
                    report.check.mode.as_str().to_owned(),
                    describe(&report.check.probe, report.web_port),
                    format!("{} s", report.check.timeout_seconds),
                    format!("every {} s, {} times", report.check.interval_seconds, report.check.attempts),
                    format!("{healthy} of {}", report.containers.len()),
                ]
            }),
        );
        Text::Parts(vec![processes, self.properties.text()])
    }
}

/// What is asked, in words.
fn describe(probe: &Probe, web_port: u16) -> String {
    match probe {
        Probe::Http(request) => {
            let port = request.port.unwrap_or(web_port);
            let expected = match (request.status, &request.path) {
                (Some(status), _) => status.to_string(),
                (None, Some(_)) => "2xx".to_owned(),
                (None, None) => "below 500".to_owned(),
            };
            let text = request.text.as_ref().map(|text| format!(" with {text:?}")).unwrap_or_default();
            format!("GET {} on port {port}: {expected}{text}", request.path())
        }
        Probe::Tcp { port } => format!("port {} takes connections", port.unwrap_or(web_port)),
        Probe::Command(line) => format!("command: {line}"),
        Probe::Up => "stays up".to_owned(),
    }
}

/// How an app's containers are checked.
///
/// # Errors
/// [`Error::NotFound`].
pub fn report(context: &Context<'_>, name: &AppName) -> Result<CheckReports> {
    let (release, containers) = context.instance.read(|tables| {
        let app = tables.app(name)?;
        Ok((tables.current_release(app.id)?, tables.containers_of_app(app.id)?))
    })?;
    let specs = release.iter().flat_map(|release| release.processes.iter().map(|spec| (spec, release.port)));
    let reports = specs.map(|(spec, web_port)| CheckReport {
        process: spec.process.clone(),
        check: spec.run.check.masked(),
        containers: containers
            .iter()
            .filter(|container| container.is_live() && container.process == spec.process)
            .map(|container| ContainerHealth { container: container.label(), healthy: container.healthy })
            .collect(),
        web_port,
    });
    let properties = properties::report(context, Noun::Checks, Some(name), None)?;
    Ok(CheckReports { processes: reports.collect(), properties })
}

/// Checks an app's live containers now, each once; of one process type, or all.
///
/// # Errors
/// [`DeployError::NeverDeployed`], [`DeployError::NotRunning`], `Error::NotFound`, `Error::Engine`.
pub async fn run(context: &Context<'_>, name: &AppName, process: Option<&ProcessType>) -> Result<Verdicts> {
    let instance = context.instance;
    let (app, release, containers) = instance.read(|tables| {
        let app = tables.app(name)?;
        Ok((app.clone(), tables.serving(&app)?, tables.containers_of_app(app.id)?))
    })?;
    if !app.is_running() {
        return Err(Error::Deploy(DeployError::NotRunning { app: app.name }));
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
        let answer = checked.unwrap_or_else(|reason| reason);
        Ok(Verdict { container: container.label(), passed, answer })
    }))
    .await
    .map(Verdicts)
}
