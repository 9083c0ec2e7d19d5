//! Processes: how they are, how they are run, stop.

use std::collections::HashSet;

use serde::Serialize;

use super::{
    apps::LockInfo,
    edit::{Edited, Outcome},
    operations::Active,
    properties::{self, PropertyLines},
    seen::Seen,
};
use crate::{
    Result, clock,
    context::Context,
    deploy,
    engine::{Engine, Running},
    error::DeployError,
    instance::Instance,
    model::{
        self, App, AppName, AppState, Change, Condition, Noun, ProcessSpec, ProcessType, Status, Subject, app_status,
        property,
    },
    proxy,
    store::{Container, ContainerState},
    ui::{DeployLog, Show, Text, lines_or_dash, or_dash},
};

/// How often a container that ended was started again before that counts as a crash loop.
const CRASH_LOOP: u32 = 3;

/// Refuses to stop an app that cannot be stopped.
///
/// # Errors
/// `DeployError::NeverDeployed`, `DeployError::AppLocked`.
pub(super) fn check_stop(app: &App) -> Result<()> {
    if app.current_release.is_none() {
        return Err(DeployError::NeverDeployed { app: app.name.clone() }.into());
    }
    deploy::refuse_locked(app)
}

/// Stops an app: its address answers with a page that says so, its requests in flight complete, its containers go.
///
/// # Errors
/// What the engine and the proxy say.
pub(super) async fn stop(active: &Active<'_>, name: &AppName) -> Result<Edited> {
    let (context, instance) = (active.context, active.context.instance);
    let engine = Engine::connect(&instance.settings).await?;
    let (app, _lock) = deploy::hold(context, name, "the stop", |holder| active.waiting(holder)).await?;
    active.enter("stopping")?;
    instance.write(|tables| {
        tables.set_app_state(app.id, AppState::Stopped)?;
        tables.retire_containers(app.id)
    })?;
    proxy::publish(instance, name).await?;
    if !instance.daemon_runs() {
        deploy::retire_app(instance, &engine, app.id).await?;
    }
    Ok(Edited::of(Some(name), Outcome::Saved))
}

/// What starting an app that runs comes to.
pub fn unchanged(app: &AppName) -> Edited {
    Edited::of(Some(app), Outcome::Unchanged)
}

/// Starts a stopped app. Returns nothing for one that runs already.
///
/// # Errors
/// Whatever fails; nothing of it is left then.
pub async fn start(context: &Context<'_>, name: &AppName, log: &DeployLog) -> Result<Option<Edited>> {
    let app = context.instance.read(|tables| tables.app(name))?;
    deploy::refuse_locked(&app)?;
    if app.is_running() {
        return Ok(None);
    }
    let started = deploy::run(context, name, &deploy::Action::Start, log).await?;
    Ok(Some(Edited::deployed(name, &started)))
}

/// Scales process types: at once if the app runs and `restart` is wanted, else for its next start.
///
/// # Errors
/// [`crate::Error::NotFound`]; whatever fails in the deploy.
pub async fn scale(
    context: &Context<'_>,
    name: &AppName,
    wanted: &[(ProcessType, u32)],
    restart: bool,
    log: &DeployLog,
) -> Result<Edited> {
    let app = context.instance.read(|tables| tables.app(name))?;
    let now = formation(context.instance, &app)?;
    let kept = now.iter().filter(|(process, _)| !wanted.iter().any(|(other, _)| other == process));
    let all = kept.chain(wanted).map(|(_, quantity)| u64::from(*quantity)).sum();
    model::check_containers(all, context.instance.number(&property::MAX_CONTAINERS, None)?)?;
    if wanted.iter().all(|entry| now.contains(entry)) {
        deploy::refuse_locked(&app)?;
        // Without a daemon nobody else makes a container again that is gone.
        if !app.is_running() || !restart || context.instance.daemon_runs() || all_are_there(context, &app).await? {
            return Ok(unchanged(name));
        }
    }
    if app.is_running() && restart {
        return Ok(Edited::deployed(
            name,
            &deploy::run(context, name, &deploy::Action::Scale(wanted.to_vec()), log).await?,
        ));
    }
    scale_for_later(context, name, wanted, |holder| log.step(&format!("Waiting for {holder}"))).await?;
    Ok(Edited::of(Some(name), Outcome::Saved))
}

/// Whether Docker has all containers of an app that are meant to run; if it does not answer, they are taken to be there.
async fn all_are_there(context: &Context<'_>, app: &App) -> Result<bool> {
    let containers = context.instance.read(|tables| tables.containers_of_app(app.id))?;
    let seen = Seen::containers(context.instance, Some(&app.name)).await;
    Ok(containers.iter().all(|container| !seen.is_gone(container)))
}

/// How many containers a process type is meant to have.
#[derive(Clone, Debug, Serialize)]
pub struct Quantity {
    /// The process type.
    pub process: ProcessType,
    /// How many.
    pub quantity: u32,
}

/// How many containers each process type is meant to have.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Formation(pub Vec<Quantity>);

impl Show for Formation {
    fn text(&self) -> Text {
        Text::table(
            ["PROCESS", "QUANTITY"],
            self.0.iter().map(|entry| [entry.process.to_string(), entry.quantity.to_string()]),
        )
    }
}

/// How many containers each process type of an app is meant to have: `web` first, then by name.
///
/// # Errors
/// [`crate::Error::NotFound`].
pub fn formation_of(context: &Context<'_>, name: &AppName) -> Result<Formation> {
    let app = context.instance.read(|tables| tables.app(name))?;
    let formation = formation(context.instance, &app)?;
    Ok(Formation(formation.into_iter().map(|(process, quantity)| Quantity { process, quantity }).collect()))
}

/// Scales process types of an app that does not run: for its next start. One that runs is scaled by a deploy.
///
/// # Errors
/// [`crate::Error::NotFound`] where it was deployed and has no such type.
async fn scale_for_later(
    context: &Context<'_>,
    name: &AppName,
    formation: &[(ProcessType, u32)],
    waiting: impl FnMut(&str),
) -> Result<()> {
    let (app, _lock) = deploy::hold(context, name, "the scaling", waiting).await?;
    let words: Vec<String> = formation.iter().map(|(process, quantity)| format!("{process}={quantity}")).collect();
    let change = Change::new("ps:scale", Subject::App(name.clone())).with(words.join(" "));
    context.change(&change, |tables| {
        let current = tables.current_release(app.id)?;
        for (process, quantity) in formation {
            if let Some(current) = &current {
                current.require(name, process)?;
            }
            tables.scale(app.id, process, *quantity)?;
        }
        Ok(())
    })
}

/// How many containers each process type of an app is meant to have: `web` first, then by name.
///
/// # Errors
/// [`crate::Error::NotFound`], [`crate::Error::Store`].
pub fn formation(instance: &Instance, app: &App) -> Result<Vec<(ProcessType, u32)>> {
    let (types, scaled) = process_types(instance, app)?;
    Ok(model::formation(&types, &scaled))
}

/// The numbers of containers that process types are scaled to.
type Scaled = Vec<(ProcessType, u32)>;

/// The process types of an app, and the numbers that they are scaled to. Before the first deploy they are those that can
/// be told by what is set.
///
/// # Errors
/// [`crate::Error::Store`]; [`crate::Error::Invalid`] where settings do not fit together.
pub(super) fn process_types(instance: &Instance, app: &App) -> Result<(Vec<ProcessSpec>, Scaled)> {
    let (release, scaled, overrides) = instance
        .read(|tables| Ok((tables.current_release(app.id)?, tables.formation(app.id)?, tables.overrides(app.id)?)))?;
    Ok((model::process_types(release.as_ref(), &scaled, &overrides)?, scaled))
}

/// An app's processes: how each container is, and how each type is run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The app.
    pub app: AppName,
    /// How it is.
    #[serde(flatten)]
    pub status: Status,
    /// The number of the release that serves.
    pub release: Option<u32>,
    /// Who locked it on purpose, if somebody did.
    pub lock: Option<LockInfo>,
    /// Its process types; before the first deploy those that can be told by what is set.
    pub processes: Vec<TypeReport>,
    /// Its containers.
    pub containers: Vec<ContainerReport>,
    /// What is set about its processes.
    pub properties: PropertyLines,
}

/// How a process type is run, as a release has it.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessRun {
    /// The type.
    pub process: ProcessType,
    /// What it runs; none: the image's own command.
    pub command: Option<String>,
    /// Its memory limit.
    pub memory_bytes: Option<u64>,
    /// Its CPU limit, in CPUs.
    pub cpus: Option<f64>,
    /// Whether a container that ended is started again.
    pub restart: String,
    /// The time between SIGTERM and SIGKILL.
    pub stop_timeout_seconds: u32,
    /// The time for requests in flight before SIGTERM.
    pub drain_timeout_seconds: u32,
}

impl From<&ProcessSpec> for ProcessRun {
    fn from(spec: &ProcessSpec) -> ProcessRun {
        ProcessRun {
            process: spec.process.clone(),
            command: spec.command.clone(),
            memory_bytes: spec.run.memory_mib.map(|mebibytes| u64::from(mebibytes) << 20),
            cpus: spec.run.cpu_millis.map(|millis| f64::from(millis) / 1000.0),
            restart: spec.run.restart.to_string(),
            stop_timeout_seconds: spec.run.stop_timeout_seconds,
            drain_timeout_seconds: spec.run.drain_timeout_seconds,
        }
    }
}

/// A process type of an app.
#[derive(Clone, Debug, Serialize)]
pub struct TypeReport {
    /// How it is run.
    #[serde(flatten)]
    pub run: ProcessRun,
    /// How many containers it is meant to have.
    pub quantity: u32,
}

/// How a container is.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerReport {
    /// The container's label: `web.1`.
    pub container: String,
    /// How it is.
    #[serde(flatten)]
    pub status: Status,
    /// Whether it may get requests.
    pub healthy: bool,
    /// How often it was started again; null if the engine does not answer.
    pub restarts: Option<u32>,
    /// The exit code of its last run, if it does not run.
    pub exit_code: Option<i64>,
    /// Whether it was killed for its use of memory; null if the engine does not answer.
    pub out_of_memory: Option<bool>,
    /// Its address in the instance's network.
    pub address: String,
    /// Whether it is contained as the next release will be; its own may be older than that.
    pub contained: bool,
    #[serde(skip)]
    started: Option<i64>,
}

impl Show for Report {
    fn text(&self) -> Text {
        let containers = self.containers.iter().map(|container| {
            let since = container.started.map(|at| format!(", started {}", clock::ago(at))).unwrap_or_default();
            let memory = if container.out_of_memory == Some(true) {
                ", killed for its use of memory"
            } else {
                Default::default()
            };
            let contained = if container.contained { "" } else { ", not contained: the next release is" };
            format!("{}: {}{memory}{since}{contained}", container.container, container.status.words())
        });
        let types = self.processes.iter().map(|TypeReport { run, quantity }| {
            let mut words = vec![format!("{}={}", run.process, quantity)];
            words.extend(run.memory_bytes.map(|bytes| format!("memory {}m", bytes >> 20)));
            words.extend(run.cpus.map(|cpus| format!("cpus {cpus}")));
            words.push(format!("restart {}", run.restart));
            words.push(format!("stop timeout {} s", run.stop_timeout_seconds));
            words.join(", ")
        });
        let facts = Text::facts(vec![
            ("app", self.app.to_string()),
            ("status", self.status.words()),
            ("release", or_dash(self.release.map(|release| format!("v{release}")))),
            ("lock", or_dash(self.lock.as_ref().map(LockInfo::words))),
            ("processes", lines_or_dash(types)),
            ("containers", lines_or_dash(containers)),
        ]);
        Text::Parts(vec![facts, self.properties.text()])
    }
}

/// Reports on an app. What the engine says is missing where it does not answer.
///
/// # Errors
/// [`crate::Error::NotFound`], [`crate::Error::Store`].
pub async fn report(context: &Context<'_>, name: &AppName) -> Result<Report> {
    let instance = context.instance;
    let (app, containers, contained, has_crons) = instance.read(|tables| {
        let app = tables.app(name)?;
        let containers = tables.containers_of_app(app.id)?;
        let mut contained = HashSet::new();
        for container in &containers {
            let release = tables.release(container.release_id)?;
            let run = release.process(&container.process).map(|spec| &spec.run);
            // A command that runs once has no type of its own, and is always started anew.
            if run.is_none_or(|run| run.containment.is_some()) {
                contained.insert(container.id);
            }
        }
        let has_crons = tables.apps_with_crons()?.contains(&app.id);
        Ok((app, containers, contained, has_crons))
    })?;
    let (types, scaled) = process_types(instance, &app)?;
    let engine = Engine::connect(&instance.settings).await.ok();
    let mut reports = Vec::new();
    let seen = match &engine {
        Some(_) => Seen::containers(instance, Some(name)).await,
        None => Seen::Nothing,
    };
    for container in &containers {
        let running = match &engine {
            Some(engine) => engine.running(&container.name).await.ok().flatten(),
            None => None,
        };
        // What Docker knows has more to say than a word.
        let differs = seen.differs(container).filter(|_| running.is_none());
        reports.push(ContainerReport {
            container: container.label(),
            status: differs.unwrap_or_else(|| container_status(container, running.as_ref())),
            healthy: container.healthy,
            restarts: running.as_ref().map(|running| running.restarts),
            exit_code: running.as_ref().filter(|running| !running.is_running).map(|running| running.exit_code),
            out_of_memory: running.as_ref().map(|running| running.out_of_memory),
            address: container.address.to_string(),
            contained: contained.contains(&container.id),
            started: running.as_ref().and_then(|running| running.started_at),
        });
    }
    let types = types.iter().map(|spec| TypeReport { run: spec.into(), quantity: spec.count(&scaled) });
    let health = seen.health(&containers);
    Ok(Report {
        app: app.name.clone(),
        status: app_status(app.state, health.0, health.1, has_crons),
        release: app.current_release.map(|release| release.0),
        lock: LockInfo::of(&app),
        processes: types.collect(),
        containers: reports,
        properties: properties::report(context, Noun::Ps, Some(name), None)?,
    })
}

/// How a container is, from what the database and the engine say of it; `running` is none if the engine does not answer,
/// or does not know it.
pub(super) fn container_status(container: &Container, running: Option<&Running>) -> Status {
    let failed = |reason: String| Status::of(Condition::Failed).because(reason);
    let stopped = |reason: &str| Status::of(Condition::Stopped).because(reason);
    let code = running.map_or(0, |running| running.exit_code);
    let status = match (container.state, running) {
        (ContainerState::Live, None) if container.ended => stopped("ended"),
        (ContainerState::Live, Some(_)) if container.ended => stopped(&format!("ended with code {code}")),
        (ContainerState::Live, Some(running)) if running.restarts >= CRASH_LOOP && !running.is_stable() => {
            failed(format!("crash loop: started again {} times, last exit code {code}", running.restarts))
        }
        (ContainerState::Live, Some(running)) if running.is_paused => failed("paused".to_owned()),
        (ContainerState::Live, Some(running)) if !running.is_running => failed(format!("down, exit code {code}")),
        (ContainerState::Live, _) if !container.healthy => failed(match &container.failing {
            Some(reason) => format!("unhealthy: {reason}"),
            None => "unhealthy".to_owned(),
        }),
        (ContainerState::Live, _) => Status::of(Condition::Live),
        (ContainerState::Candidate, _) => Status::of(Condition::Starting),
        (ContainerState::Suspended, _) => stopped("it makes way for a deploy"),
        (ContainerState::Draining, _) => stopped("draining"),
        (ContainerState::Once, _) => Status::of(Condition::Live).because("runs a command once"),
    };
    Status { since_at: running.and_then(|running| running.started_at).map(clock::rfc3339), ..status }
}

/// A line of the report of all apps: a container, or an app that has none.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The app.
    pub app: AppName,
    /// The number of the release that serves.
    pub release: Option<u32>,
    /// The container's label, `web.1`; none for an app that has no containers.
    pub container: Option<String>,
    /// How the container is, or the app if it has none.
    #[serde(flatten)]
    pub status: Status,
}

/// The containers of all apps.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Lines(pub Vec<Line>);

impl Show for Lines {
    fn text(&self) -> Text {
        Text::table(
            ["APP", "RELEASE", "CONTAINER", "STATUS"],
            self.0.iter().map(|line| {
                [
                    line.app.to_string(),
                    or_dash(line.release.map(|release| format!("v{release}"))),
                    or_dash(line.container.as_ref()),
                    line.status.words(),
                ]
            }),
        )
    }
}

/// Reports on all apps that the caller sees, in one go: one question to the database, one to the engine.
///
/// # Errors
/// [`crate::Error::Store`].
pub async fn report_all(context: &Context<'_>) -> Result<Lines> {
    let instance = context.instance;
    let (apps, containers, with_crons) =
        instance.read(|tables| Ok((tables.apps()?, tables.containers()?, tables.apps_with_crons()?)))?;
    let seen = Seen::containers(instance, None).await;
    let mut lines = Vec::new();
    for app in apps.iter().filter(|app| context.sees(&app.name)) {
        let line = |container: Option<String>, status: Status| Line {
            app: app.name.clone(),
            release: app.current_release.map(|release| release.0),
            container,
            status,
        };
        let own: Vec<&Container> = containers.iter().filter(|container| container.app_id == app.id).collect();
        if own.is_empty() {
            lines.push(line(None, app_status(app.state, 0, 0, with_crons.contains(&app.id))));
        }
        for container in own {
            let status = match (seen.differs(container), &seen) {
                (Some(differs), _) => differs,
                (None, Seen::Nothing) if container.is_live() => {
                    Status::of(Condition::Unknown).because("Docker does not answer")
                }
                (None, _) => container_status(container, None),
            };
            lines.push(line(Some(container.label()), status));
        }
    }
    Ok(Lines(lines))
}
