//! Checks of what runs.

use futures_util::future::try_join_all;
use serde::Serialize;

use super::{
    processes::process_types,
    properties::{self, PropertyLines},
};
use crate::{
    Error, Result,
    context::Context,
    deploy::{self, Target},
    engine::Engine,
    error::{DeployError, Thing},
    model::{
        self, AppName, Check, CheckMode, DeploymentKind, Edit, ImageCheck, Noun, Override, Probe, ProcessType,
        PropertyChange, Scope, Which, property,
    },
    store::Container,
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
    /// How each process type of the release that serves is checked. Before the first deploy it is each that can be told
    /// by what is set.
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
        Probe::Image(arguments) => format!("HEALTHCHECK of the image: {}", ImageCheck::words(arguments)),
        Probe::Up => "stays up".to_owned(),
    }
}

/// How an app's containers are checked.
///
/// # Errors
/// [`Error::NotFound`].
pub fn report(context: &Context<'_>, name: &AppName) -> Result<CheckReports> {
    let instance = context.instance;
    let (app, release, containers) = instance.read(|tables| {
        let app = tables.app(name)?;
        Ok((app.clone(), tables.current_release(app.id)?, tables.containers_of_app(app.id)?))
    })?;
    let (types, _) = process_types(instance, &app)?;
    let web_port = match release {
        Some(release) => release.port,
        None => model::port_of(&instance.config(app.id)?.variables())?.unwrap_or(deploy::DEFAULT_PORT),
    };
    let reports = types.iter().map(|spec| CheckReport {
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

/// The edit that sets what part the checks play in a deploy: of some process types, or of all, whatever was set for one
/// of them before.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub fn mode_edit(
    context: &Context<'_>,
    name: &AppName,
    action: &str,
    types: &[ProcessType],
    mode: CheckMode,
) -> Result<Edit> {
    let rows = context.instance.read(|tables| {
        let app = tables.app(name)?;
        tables.overrides(app.id)
    })?;
    if types.iter().any(|process| process.as_str() == ProcessType::RELEASE) {
        return Err(Error::usage(
            "release is a task that each deploy runs once, and is not checked",
            "name process types such as web, or none for all",
        ));
    }
    let mut types = types.to_vec();
    types.sort();
    if types.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::usage("a process type is there twice", "name each process type once"));
    }
    let names: Vec<&str> = types.iter().map(ProcessType::as_str).collect();
    let of = if types.is_empty() { "all process types".to_owned() } else { names.join(", ") };
    let edit = Edit {
        kind: DeploymentKind::Settings,
        action: action.to_owned(),
        reason: format!("checks of {of} {}", mode.as_str()),
        config: Vec::new(),
        replaces_config: false,
        saw_config: None,
        properties: mode_changes(&rows, &types, mode),
        saw: None,
    };
    // Of all types: what is cleared is what was set for one.
    let saw = types.is_empty().then(|| edit.seen(&rows));
    Ok(Edit { saw, ..edit })
}

/// Without a type it is set for the app, and what is set for single types goes: the nearest would win.
fn mode_changes(rows: &[Override], types: &[ProcessType], mode: CheckMode) -> Vec<PropertyChange> {
    let change = |scope, value| PropertyChange { scope, property: &property::CHECK_MODE, value };
    let value = || Some(mode.as_str().to_owned());
    if !types.is_empty() {
        return types.iter().map(|process| change(Scope::Process(process.clone()), value())).collect();
    }
    let own = rows.iter().filter(|row| *row.property == property::CHECK_MODE && row.scope.process().is_some());
    let cleared = own.map(|row| change(row.scope.clone(), None));
    cleared.chain([change(Scope::App, value())]).collect()
}

/// Checks an app's live containers now, each once: those that are named, by their process type or by themselves; else
/// all.
///
/// # Errors
/// [`DeployError::NeverDeployed`], [`DeployError::NotRunning`], `Error::NotFound`, `Error::Engine`.
pub async fn run(context: &Context<'_>, name: &AppName, only: &[Which]) -> Result<Verdicts> {
    let instance = context.instance;
    let (app, release, containers) = instance.read(|tables| {
        let app = tables.app(name)?;
        Ok((app.clone(), tables.serving(&app)?, tables.containers_of_app(app.id)?))
    })?;
    if !app.is_running() {
        return Err(Error::Deploy(DeployError::NotRunning { app: app.name }));
    }
    let live: Vec<&Container> = containers.iter().filter(|container| container.is_live()).collect();
    for which in only {
        release.require(name, &which.process)?;
        if which.position.is_some() && !live.iter().any(|container| which.is(container)) {
            let labels: Vec<String> = live.iter().map(|container| container.label()).collect();
            let known = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
            return Err(Error::NotFound(Thing::Container { app: name.clone(), known }, which.to_string()));
        }
    }
    let engine = Engine::connect(&instance.settings).await?;
    let live = live.into_iter().filter(|container| only.is_empty() || only.iter().any(|which| which.is(container)));
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

impl Which {
    /// Whether a container is meant.
    fn is(&self, container: &Container) -> bool {
        self.process == container.process && self.position.is_none_or(|position| position == container.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_type_the_mode_is_set_for_all_whatever_was_set_for_one() -> Result<()> {
        let (web, worker) = (Scope::Process(ProcessType::web()), Scope::Process("worker".parse()?));
        let row = |scope: &Scope, property, value: &str| {
            let (scope, value) = (scope.clone(), value.to_owned());
            Override { scope, property, value }
        };
        let rows = vec![row(&web, &property::CHECK_MODE, "disabled"), row(&worker, &property::CHECK_PATH, "/up")];
        let all = property::changed(rows.clone(), &mode_changes(&rows, &[], CheckMode::Skipped));
        assert_eq!(
            all,
            [row(&Scope::App, &property::CHECK_MODE, "skipped"), row(&worker, &property::CHECK_PATH, "/up")]
        );
        let one = property::changed(rows.clone(), &mode_changes(&rows, &["worker".parse()?], CheckMode::Skipped));
        assert!(one.contains(&row(&web, &property::CHECK_MODE, "disabled")));
        assert!(one.contains(&row(&worker, &property::CHECK_MODE, "skipped")));
        Ok(())
    }
}
