//! Apps: make, look at, lock, destroy.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::{domains, operations::Active, processes::container_status, seen::Seen};

use crate::{
    Error, Kind, Result, clock,
    context::Context,
    deploy,
    engine::Engine,
    error::ProxyError,
    files, git,
    instance::Instance,
    model::{
        App, AppId, AppLock, AppName, AppState, BranchName, Change, DeployId, DeployState, Phase, ReleaseVersion,
        Right, RunEnd, Scheduler, Scope, Status, Subject, app_status,
    },
    proxy,
    store::{Container, Standing},
    ui::{Show, Text, or_dash},
};

/// An app, in short.
#[derive(Clone, Debug, Serialize)]
pub struct AppSummary {
    /// Its name.
    pub app: AppName,
    /// How it is.
    #[serde(flatten)]
    pub status: Status,
    /// The number of the release that serves.
    pub release: Option<u32>,
    /// Its address for people; none if it runs without a web process, or is reached at no name.
    pub url: Option<String>,
    /// When it was made, in RFC 3339.
    pub created_at: String,
}

/// A list of apps.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct AppList(pub Vec<AppSummary>);

impl Show for AppList {
    fn text(&self) -> Text {
        Text::table(
            ["NAME", "STATUS", "RELEASE", "URL"],
            self.0.iter().map(|app| {
                let release = or_dash(app.release.map(|release| format!("v{release}")));
                [app.app.to_string(), app.status.words(), release, or_dash(app.url.as_ref())]
            }),
        )
    }
}

/// The apps that the caller sees, by name.
///
/// # Errors
/// [`Error::Store`].
pub async fn list(context: &Context<'_>) -> Result<AppList> {
    let settings = &context.instance.settings;
    let (apps, containers, with_web, names, with_crons) = context.instance.read(|tables| {
        let mut with_web: HashSet<AppName> = tables.fallbacks()?.into_iter().map(|route| route.app).collect();
        for stored in tables.ports(None)? {
            if with_web.contains(&stored.app) && tables.speaks_no_http(stored.app_id)? {
                with_web.remove(&stored.app);
            }
        }
        let names = tables.all_names(None, &settings.domain)?;
        Ok((tables.apps()?, tables.containers()?, with_web, names, tables.apps_with_crons()?))
    })?;
    let urls: HashMap<&AppName, String> =
        names.iter().filter_map(|names| Some((&names.app, settings.url_of(names.main()?.as_str())))).collect();
    let docker = Seen::in_short(context.instance).await;
    let mut of_app: HashMap<AppId, Vec<&Container>> = HashMap::new();
    for container in &containers {
        of_app.entry(container.app_id).or_default().push(container);
    }
    let seen = apps.iter().filter(|app| context.sees(&app.name));
    Ok(AppList(
        seen.map(|app| {
            let (all, healthy) = docker.health(of_app.get(&app.id).into_iter().flatten().copied());
            let url = urls.get(&app.name).cloned();
            let status = app_status(app.state, all, healthy, with_crons.contains(&app.id));
            summary(app, status, url, with_web.contains(&app.name))
        })
        .collect(),
    ))
}

fn summary(app: &App, status: Status, url: Option<String>, has_web: bool) -> AppSummary {
    AppSummary {
        app: app.name.clone(),
        status,
        release: app.current_release.map(|release| release.0),
        url: url.filter(|_| has_web || !app.is_running()),
        created_at: clock::rfc3339(app.created_at),
    }
}

/// That an app is locked on purpose.
#[derive(Clone, Debug, Serialize)]
pub struct LockInfo {
    /// Who locked it.
    pub actor: String,
    /// When, in RFC 3339.
    pub since_at: String,
    /// Why, in their words.
    pub message: Option<String>,
}

impl LockInfo {
    /// The lock of an app, if it has one.
    pub(super) fn of(app: &App) -> Option<LockInfo> {
        app.lock.as_ref().map(|freeze| LockInfo {
            actor: freeze.actor.clone(),
            since_at: clock::rfc3339(freeze.since),
            message: freeze.message.clone(),
        })
    }

    /// In words: `by key:ann since 2026-11-26T10:00:00Z: holidays`.
    pub(super) fn words(&self) -> String {
        let message = self.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        format!("by {} since {}{message}", self.actor, self.since_at)
    }
}

/// An app with all that belongs to it.
#[derive(Clone, Debug, Serialize)]
pub struct AppInfo {
    /// The app, in short.
    #[serde(flatten)]
    pub app: AppSummary,
    /// The branch whose push deploys.
    pub deploy_branch: Option<BranchName>,
    /// Who locked it on purpose, if somebody did.
    pub lock: Option<LockInfo>,
    /// The commit that serves.
    pub commit: Option<String>,
    /// The port its web process listens on.
    pub port: Option<u16>,
    /// Its containers.
    pub containers: Vec<ContainerInfo>,
}

/// A container of an app.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerInfo {
    /// The container's label: `web.1`.
    pub container: String,
    /// How it is: as Docker says if it says something else than the database.
    #[serde(flatten)]
    pub status: Status,
    /// Its address in the instance's network.
    pub address: String,
    /// The command it runs; none: that of its image.
    pub command: Option<String>,
}

impl Show for AppInfo {
    fn text(&self) -> Text {
        let containers = self.containers.iter().map(|container| {
            let command = container.command.as_deref().unwrap_or(IMAGE_COMMAND);
            format!("{} {}  {command}", container.container, container.status.words())
        });
        Text::facts(vec![
            ("app", self.app.app.to_string()),
            ("url", or_dash(self.app.url.as_ref())),
            ("status", self.app.status.words()),
            ("release", or_dash(self.app.release.map(|release| format!("v{release}")))),
            ("commit", or_dash(self.commit.as_ref())),
            ("deploy branch", or_dash(self.deploy_branch.as_ref())),
            ("lock", or_dash(self.lock.as_ref().map(LockInfo::words))),
            ("port", or_dash(self.port)),
            ("containers", crate::ui::lines_or_dash(containers)),
            ("created", self.app.created_at.clone()),
        ])
    }
}

/// What stands for the command of a process type that has none of its own.
pub const IMAGE_COMMAND: &str = "(the image's own command)";

/// Looks at an app.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn info(context: &Context<'_>, name: &AppName) -> Result<AppInfo> {
    let settings = &context.instance.settings;
    let (app, release, containers, has_url, names, has_crons) = context.instance.read(|tables| {
        let app = tables.app(name)?;
        let names = tables.all_names(Some(app.id), &settings.domain)?;
        let has_url = tables.standing(name)? != Some(Standing::WithoutWeb) && !tables.speaks_no_http(app.id)?;
        let release = tables.current_release(app.id)?;
        let containers = tables.containers_of_app(app.id)?;
        let has_crons = tables.apps_with_crons()?.contains(&app.id);
        Ok((app, release, containers, has_url, names, has_crons))
    })?;
    let url = names.first().and_then(|names| names.main()).map(|name| settings.url_of(name.as_str()));
    let docker = Seen::containers(context.instance, Some(name)).await;
    let health = docker.health(&containers);
    let command_of = |container: &Container| {
        let processes = release.iter().flat_map(|release| &release.processes);
        processes.filter(|spec| spec.process == container.process).find_map(|spec| spec.command.clone())
    };
    let status = app_status(app.state, health.0, health.1, has_crons);
    Ok(AppInfo {
        app: summary(&app, status, url, has_url),
        deploy_branch: app.deploy_branch.clone(),
        lock: LockInfo::of(&app),
        commit: release.as_ref().and_then(|release| release.commit).map(|commit| commit.to_string()),
        port: release.as_ref().map(|release| release.port),
        containers: containers
            .iter()
            .map(|container| ContainerInfo {
                container: container.label(),
                status: docker.differs(container).unwrap_or_else(|| container_status(container, None)),
                address: container.address.to_string(),
                command: command_of(container),
            })
            .collect(),
    })
}

/// Whether there is an app of that name, for a program that asks before it is known who may see it.
///
/// # Errors
/// [`Error::Store`].
pub fn is_there(instance: &Instance, name: &AppName) -> Result<bool> {
    Ok(instance.read(|tables| tables.find_app(name))?.is_some())
}

/// The release that serves; none before the first deploy, and if the database cannot be read.
pub fn current_release(context: &Context<'_>, name: &AppName) -> Option<ReleaseVersion> {
    context.instance.read(|tables| tables.app(name)).ok()?.current_release
}

/// The names of all apps, for completions, which need no more.
///
/// # Errors
/// [`Error::Store`].
pub fn names(instance: &Instance) -> Result<Vec<AppName>> {
    instance.read(|tables| Ok(tables.apps()?.into_iter().map(|app| app.name).collect()))
}

/// Succeeds if there is an app of that name.
///
/// # Errors
/// [`Error::Silent`] with [`Kind::NotFound`] if there is none.
pub fn exists(context: &Context<'_>, name: &AppName) -> Result<()> {
    if is_there(context.instance, name)? { Ok(()) } else { Err(Error::Silent(Kind::NotFound)) }
}

/// An app that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Created {
    /// Its name.
    pub app: AppName,
    /// Where it will be after its first deploy.
    pub url: String,
}

impl Show for Created {
    fn text(&self) -> Text {
        Text::Line(self.app.to_string())
    }
}

/// Makes an app and its repository. Whoever makes one owns it.
///
/// # Errors
/// [`Error::Exists`], [`Error::Invalid`].
pub async fn create(context: &Context<'_>, name: &AppName) -> Result<Created> {
    name.check_not_reserved()?;
    let instance = context.instance;
    let change = Change::new("apps:create", Subject::App(name.clone()));
    context.change(&change, |tables| {
        let app = tables.create_app(name)?;
        domains::check_defaults_free(tables, &instance.settings, name)?;
        if !context.caller.may(Right::Own) {
            tables.grant_ownership(&context.caller.actor, app.id)?;
        }
        Ok(app)
    })?;
    git::create_repository(&instance.settings.paths, name)?;
    proxy::tell(instance).await;
    Ok(Created { app: name.clone(), url: instance.settings.app_url(name) })
}

/// Removes an app with everything that belongs to it: containers, images, repository, logs, releases, config. A
/// running deploy of it is cancelled first.
///
/// Killed in the middle, it leaves a stopped app behind that can be destroyed again.
///
/// # Errors
/// [`Error::NotFound`]; what the engine says.
pub(super) async fn destroy(active: &Active<'_>, name: &AppName) -> Result<Destroyed> {
    let context = active.context;
    let instance = context.instance;
    let app = instance.read(|tables| tables.app(name))?;
    deploy::refuse_locked(&app)?;
    let engine = Engine::connect(&instance.settings).await?;
    instance.write(|tables| {
        for deployment in tables.unfinished_deployments(Some(app.id))? {
            if deployment.state.phase() == Phase::Undoable {
                tables.cancel_operation(deployment.id, context.actor())?;
            }
        }
        Ok(())
    })?;
    let (app, _lock) = deploy::hold(context, name, "the end of the app", |holder| active.waiting(holder)).await?;
    active.enter("removing")?;
    instance.write(|tables| {
        tables.set_app_state(app.id, AppState::Stopped)?;
        tables.retire_containers(app.id)
    })?;
    // No request may be on its way to a container that goes.
    unless_caddy_is_down(proxy::publish(instance, name).await.map(drop))?;
    for container in instance.read(|tables| tables.containers_of_app(app.id))? {
        Scheduler::Local.remove(&engine, &container.name).await?;
        instance.write(|tables| tables.remove_container(container.id))?;
    }
    for run in instance.read(|tables| tables.unfinished_runs(Some(app.id)))? {
        if run.has_container() {
            Scheduler::Local.remove(&engine, &run.container).await?;
        }
        instance.write(|tables| tables.end_run(run.id, None, Some(RunEnd::AppGone)))?;
    }
    for image in engine.images(&instance.id).await?.iter().filter(|image| image.app.as_ref() == Some(name)) {
        engine.remove_image_of(image).await?;
    }
    files::remove_if_there(&instance.settings.paths.repository(name))?;
    files::remove_if_there(&instance.settings.paths.app(name))?;
    instance.write(|tables| {
        for deployment in tables.unfinished_deployments(Some(app.id))? {
            tables.end_deployment(deployment.id, DeployState::Canceled, None)?;
        }
        tables.delete_app(app.id)
    })?;
    unless_caddy_is_down(proxy::publish(instance, name).await.map(drop))?;
    unless_caddy_is_down(proxy::sync(instance).await)?;
    Ok(Destroyed { app: name.clone() })
}

/// An app that is gone.
#[derive(Clone, Debug, Serialize)]
pub struct Destroyed {
    /// Its name.
    pub app: AppName,
}

impl Show for Destroyed {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// What locking an app came to.
#[derive(Clone, Debug, Serialize)]
pub struct Locked {
    /// The app.
    pub app: AppName,
    /// The deploy that is running, which goes on.
    pub running: Option<DeployId>,
}

impl Show for Locked {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// The longest message of a lock, in bytes: who is refused reads it in an error.
const LONGEST_MESSAGE: usize = 1000;

/// Locks an app on purpose, so that nothing changes it.
///
/// # Errors
/// [`Error::NotFound`]; `DeployError::AppLocked` where it is locked already.
pub fn lock(context: &Context<'_>, name: &AppName, message: Option<String>) -> Result<Locked> {
    if let Some(message) = &message
        && (message.trim().is_empty() || message.len() > LONGEST_MESSAGE || message.contains('\0'))
    {
        return Err(Error::usage(
            format!("the message has 1 to {LONGEST_MESSAGE} bytes"),
            "say in a line why the app is locked, or leave --message out",
        ));
    }
    let mut change = Change::new("apps:lock", Subject::App(name.clone()));
    change.detail.clone_from(&message);
    let running = context.change(&change, |tables| {
        let app = tables.app(name)?;
        deploy::refuse_locked(&app)?;
        let freeze = AppLock { actor: context.actor().to_string(), since: clock::now(), message };
        tables.set_lock(app.id, Some(&freeze))?;
        let unfinished = tables.unfinished_deployments(Some(app.id))?;
        let running = unfinished
            .iter()
            .find(|deployment| deployment.state.phase() == Phase::Undoable && deployment.state != DeployState::Queued);
        Ok(running.map(|deployment| deployment.id))
    })?;
    Ok(Locked { app: name.clone(), running })
}

/// What unlocking an app came to.
#[derive(Clone, Debug, Serialize)]
pub struct Unlocked {
    /// The app.
    pub app: AppName,
    /// The lock it had, if it had one.
    pub was: Option<LockInfo>,
}

impl Show for Unlocked {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Lets an app be changed again.
///
/// # Errors
/// [`Error::NotFound`].
pub fn unlock(context: &Context<'_>, name: &AppName) -> Result<Unlocked> {
    let change = Change::new("apps:unlock", Subject::App(name.clone()));
    let was = context.change(&change, |tables| {
        let app = tables.app(name)?;
        tables.set_lock(app.id, None)?;
        Ok(LockInfo::of(&app))
    })?;
    Ok(Unlocked { app: name.clone(), was })
}

/// Where Caddy does not run there are no requests either, and it starts with what the database says then.
fn unless_caddy_is_down(result: Result<()>) -> Result<()> {
    match result {
        Err(Error::Proxy(ProxyError::Unavailable { .. })) => Ok(()),
        other => other,
    }
}

/// Removes an app that a push made and then did not use: one that has no config and was never asked to deploy.
///
/// # Errors
/// [`Error::Store`], [`Error::Host`].
pub async fn remove_unused(context: &Context<'_>, name: &AppName) -> Result<bool> {
    let instance = context.instance;
    let removed = instance.write(|tables| {
        let Some(app) = tables.find_app(name)?.filter(|app| app.state == AppState::New) else { return Ok(false) };
        let is_set_up = tables.properties(Some(app.id))?.iter().any(|row| row.set.scope != Scope::Global);
        let has_names = !tables.domains(Some(app.id))?.is_empty() || !tables.redirects(Some(app.id))?.is_empty();
        let is_set_up = is_set_up || has_names || !tables.ports(Some(app.id))?.is_empty();
        let is_set_up = is_set_up || !tables.maintenance(Some(app.id))?.is_empty();
        if is_set_up || !tables.deployments(app.id, 1)?.is_empty() || !tables.config(Some(app.id))?.is_empty() {
            return Ok(false);
        }
        tables.delete_app(app.id)?;
        let change =
            Change::new("apps:destroy", Subject::App(name.clone())).with("the push that made it brought nothing");
        context.note(tables, &change, crate::model::Outcome::Done)?;
        Ok(true)
    })?;
    if removed {
        files::remove_if_there(&instance.settings.paths.repository(name))?;
        proxy::tell(instance).await;
    }
    Ok(removed)
}
