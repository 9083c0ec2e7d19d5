//! Cutting a release: image, config snapshot, process types. One transaction; never changed after it. And the release
//! command, which runs once for a new image before anything of it starts.

use futures_util::StreamExt;

use super::{
    build::Built,
    container::{self, Program},
    deployment::ActiveDeploy,
    edited::edited,
};
use crate::{
    Error, Result, clock,
    error::{DeployError, Thing},
    model::{
        self, CheckMode, CommitId, ConfigMap, DeployState, Edit, EnvKey, ImageCheck, ImageId, Override, Probe,
        ProcessSettings, ProcessSpec, ProcessType, PropertyChange, Release, ReleaseStatus, ReleaseVersion,
        RestartPolicy, Scope, property,
    },
    store::{NewContainer, NewRelease},
};

/// The port where nothing says another.
pub const DEFAULT_PORT: u16 = 5000;

/// A release that exists, with its config in clear.
pub(super) struct Prepared {
    pub release: Release,
    pub config: ConfigMap,
    pub changes: Changes,
    release_command: Option<String>,
}

/// What changes with the switch, in the same commit, beside the release that serves.
#[derive(Default)]
pub(super) struct Changes {
    /// Variables with their new values; none removes one.
    pub config: Vec<(EnvKey, Option<String>)>,
    /// Properties of the app and of its process types.
    pub properties: Vec<PropertyChange>,
    /// Process types that are scaled.
    pub formation: Vec<(ProcessType, u32)>,
}

/// Cuts a release of a new image, with the app's config as it is now.
pub(super) fn cut(deploy: &ActiveDeploy<'_>, built: Built, commit: CommitId, reason: &str) -> Result<Prepared> {
    let (config, overrides) = pending_config(deploy)?;
    let Built { image, facts, plan } = built;
    let release_command = plan.release_command;
    let mut processes = plan.processes;
    for spec in processes.iter_mut().filter(|spec| spec.process.is_web()) {
        spec.image_check = facts.check.clone();
    }
    let commands = processes.iter().filter_map(|spec| spec.command.as_deref()).chain(release_command.as_deref());
    let command = commands.max_by_key(|command| command.len());
    model::check_environment(&config, facts.environment.iter().map(String::as_str).chain(command))?;
    let from = From { image, processes, declared_port: plan.port, commit: Some(commit) };
    let prepared = write(deploy, &from, config, &overrides, reason)?;
    deploy.log.step(&format!("Releasing {}", prepared.release.version));
    for spec in &prepared.release.processes {
        if let (CheckMode::Enabled | CheckMode::Disabled, Probe::Image(arguments)) =
            (spec.run.check.mode, &spec.run.check.probe)
        {
            let line = ImageCheck::words(arguments);
            deploy.log.detail(&format!("{} is checked by the HEALTHCHECK of its image: {line}", spec.process));
        }
    }
    Ok(Prepared { release_command, ..prepared })
}

/// Cuts a release of the image that serves, with the app's config and settings edited.
///
/// # Errors
/// `DeployError::NotRunning`.
pub(super) fn cut_edited(deploy: &ActiveDeploy<'_>, edit: &Edit) -> Result<Prepared> {
    let current = current(deploy)?;
    if !deploy.app.is_running() {
        return Err(Error::Deploy(DeployError::NotRunning { app: deploy.app.name.clone() }));
    }
    let instance = deploy.instance;
    let (config, overrides) = edited(instance, &deploy.app, edit)?;
    let changes = Changes { config: edit.config.clone(), properties: edit.properties.clone(), formation: Vec::new() };
    let prepared = write(deploy, &From::release(&current), config, &overrides, &edit.reason)?;
    deploy.log.step(&format!("Releasing {} ({})", prepared.release.version, edit.reason));
    Ok(Prepared { changes, ..prepared })
}

/// Cuts a release that is what a former one was; the app's config and properties become what they were then. What is set
/// for all apps is not the app's, and stays.
pub(super) fn cut_copy(deploy: &ActiveDeploy<'_>, target: &Release) -> Result<Prepared> {
    let instance = deploy.instance;
    let sealed = instance.read(|tables| tables.sealed_config(target.id))?;
    let config = instance.secrets.unseal_config(&sealed)?;
    let (config_now, overrides_now) = pending_config(deploy)?;
    let is_own = |entry: &&Override| matches!(entry.scope, Scope::App | Scope::Process(_));
    let for_all = overrides_now.iter().filter(|entry| !is_own(entry));
    let overrides: Vec<Override> = for_all.chain(target.overrides.iter().filter(is_own)).cloned().collect();
    let changes = Changes {
        config: model::edits_between(&config_now, &config),
        properties: property::changes_between(&overrides_now, &overrides),
        formation: Vec::new(),
    };
    let reason = format!("rollback to {}", target.version);
    let prepared = write(deploy, &From::release(target), config, &overrides, &reason)?;
    deploy.log.step(&format!(
        "Releasing {} (rollback to {}: {}, {})",
        prepared.release.version,
        target.version,
        target.reason,
        clock::ago(target.created_at)
    ));
    Ok(Prepared { changes, ..prepared })
}

/// Takes the release that serves, as it is.
pub(super) fn reuse_current(deploy: &ActiveDeploy<'_>, headline: &str, changes: Changes) -> Result<Prepared> {
    let release = current(deploy)?;
    for (process, _) in &changes.formation {
        release.require(&deploy.app.name, process)?;
    }
    deploy.enter(DeployState::Releasing)?;
    let sealed = deploy.instance.write(|tables| {
        tables.set_deployment_release(deploy.id, release.id)?;
        tables.sealed_config(release.id)
    })?;
    let config = deploy.instance.secrets.unseal_config(&sealed)?;
    deploy.log.step(&format!("{headline} ({})", release.version));
    Ok(Prepared { release, config, changes, release_command: None })
}

/// Takes the release that serves, or cuts another where config or settings were changed since.
pub(super) fn reuse_or_cut(deploy: &ActiveDeploy<'_>) -> Result<Prepared> {
    let release = current(deploy)?;
    let (config, overrides) = pending_config(deploy)?;
    let sealed = deploy.instance.read(|tables| tables.sealed_config(release.id))?;
    if config == deploy.instance.secrets.unseal_config(&sealed)? && overrides == release.overrides {
        return reuse_current(deploy, "Restarting", Changes::default());
    }
    let prepared = write(deploy, &From::release(&release), config, &overrides, "restart with what was set since")?;
    deploy.log.step(&format!("Releasing {} (restart with what was set since)", prepared.release.version));
    Ok(prepared)
}

/// The release that a rollback goes to: the one that was asked for, or the one that served before.
///
/// # Errors
/// `DeployError::NoFormerRelease`, [`Error::NotFound`], `DeployError::NoWayBack`.
pub(super) async fn rollback_target(deploy: &ActiveDeploy<'_>, version: Option<ReleaseVersion>) -> Result<Release> {
    let app = &deploy.app;
    let found = deploy.instance.read(|tables| match version {
        Some(version) => tables.find_release(app.id, version),
        None => tables.former_release(app.id),
    })?;
    let target = match (found, version) {
        (Some(target), _) => target,
        (None, Some(version)) => return Err(Error::NotFound(Thing::Release(app.name.clone()), version.to_string())),
        (None, None) => return Err(Error::Deploy(DeployError::NoFormerRelease { app: app.name.clone() })),
    };
    let no_way = |reason: &str| {
        let (app, reason) = (app.name.clone(), reason.to_owned());
        Err(Error::Deploy(DeployError::NoWayBack { app, version: target.version, reason }))
    };
    if target.status != ReleaseStatus::Good {
        return no_way("it never served");
    }
    if app.current_release == Some(target.version) && app.is_running() {
        return no_way("it is the live release");
    }
    if !deploy.engine.has_image(&target.image).await? {
        return no_way("its image is not kept any more");
    }
    Ok(target)
}

/// The release that serves.
fn current(deploy: &ActiveDeploy<'_>) -> Result<Release> {
    deploy.instance.read(|tables| tables.serving(&deploy.app))
}

/// The app's config and settings as they are now.
fn pending_config(deploy: &ActiveDeploy<'_>) -> Result<(ConfigMap, Vec<Override>)> {
    let config = deploy.instance.config(deploy.app.id)?;
    let overrides = deploy.instance.read(|tables| tables.overrides(deploy.app.id))?;
    Ok((config, overrides))
}

/// Runs the release command, if there is one, in a container of its own with the release's config. What it prints goes
/// to the log as it comes.
///
/// # Errors
/// `DeployError::ReleaseCommand` where it exits other than with 0.
pub(super) async fn run_command(deploy: &ActiveDeploy<'_>, prepared: Prepared) -> Result<Prepared> {
    let Some(command) = &prepared.release_command else { return Ok(prepared) };
    deploy.log.step("Running the release command");
    let begun = clock::instant();
    let instance = deploy.instance;
    deploy.engine.ensure_network(&instance.id, instance.settings.subnet).await?;
    let process: ProcessType = ProcessType::RELEASE.parse()?;
    let name = container::name(deploy, &process, 1);
    let run = ProcessSettings::of_overrides(&prepared.release.overrides, &process).resolve(&process)?;
    let container = instance.write(|tables| {
        let new = NewContainer {
            app_id: deploy.app.id,
            release_id: prepared.release.id,
            deployment_id: deploy.id,
            process: &process,
            run: &run,
            position: 1,
            name: &name,
            port: prepared.release.port,
        };
        tables.add_container(instance.settings.subnet, &new)
    })?;
    let program = Program {
        release: &prepared.release,
        config: &prepared.config,
        run: &run,
        arguments: Some(model::shell_arguments(command)),
        restart: RestartPolicy::No,
    };
    let spec = container::spec(instance, &container, &program)?;
    let container = container::start(instance, &deploy.engine, container, spec).await?;
    let mut lines = std::pin::pin!(deploy.engine.logs(&name, None, true));
    while let Some(line) = lines.next().await {
        deploy.log.detail(&line?.text);
    }
    let code = deploy.engine.wait(&name).await?;
    if code != 0 {
        return Err(Error::Deploy(DeployError::ReleaseCommand { code }));
    }
    container::remove(&deploy.engine, &name).await?;
    instance.write(|tables| tables.remove_container(container.id))?;
    deploy.log.detail(&format!("done in {}", model::seconds(begun.elapsed())));
    Ok(prepared)
}

/// What a release is made from, beside config and settings.
struct From {
    image: ImageId,
    processes: Vec<ProcessSpec>,
    declared_port: Option<u16>,
    commit: Option<CommitId>,
}

impl From {
    fn release(release: &Release) -> From {
        From {
            image: release.image.clone(),
            processes: release.processes.clone(),
            declared_port: release.declared_port,
            commit: release.commit,
        }
    }
}

/// Writes the release and notes that this deployment cut it, in one transaction.
fn write(
    deploy: &ActiveDeploy<'_>,
    from: &From,
    config: ConfigMap,
    overrides: &[Override],
    reason: &str,
) -> Result<Prepared> {
    model::check_environment(&config, from.processes.iter().filter_map(|spec| spec.command.as_deref()).max())?;
    deploy.enter(DeployState::Releasing)?;
    let processes: Vec<ProcessSpec> =
        from.processes.iter().map(|spec| spec.with_overrides(overrides)).collect::<Result<_, model::Invalid>>()?;
    let port = model::port_of(&config)?.or(from.declared_port).unwrap_or(DEFAULT_PORT);
    let release = deploy.instance.write(|tables| {
        let new = NewRelease {
            image: &from.image,
            sealed_config: &deploy.instance.secrets.seal_config(tables, &config)?,
            processes: &processes,
            overrides,
            port,
            declared_port: from.declared_port,
            commit: from.commit,
            reason,
            actor: &deploy.caller.actor,
        };
        let release = tables.cut_release(deploy.app.id, &new)?;
        tables.set_deployment_release(deploy.id, release.id)?;
        Ok(release)
    })?;
    Ok(Prepared { release, config, changes: Changes::default(), release_command: None })
}
