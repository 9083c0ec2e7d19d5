//! Cutting a release: image, config snapshot, process types. One transaction; never changed after it.

use super::{
    build::Built,
    deployment::ActiveDeploy,
    edited::edited,
    given::{self, Given},
};
use crate::{
    Error, Result, clock,
    error::{DeployError, Thing},
    model::{
        self, CheckMode, CommitId, Config, CronSpec, DeployState, Edit, EnvKey, ImageCheck, ImageId, Override,
        PortMapping, PortScheme, Probe, ProcessSpec, ProcessType, PropertyChange, Release, ReleaseStatus,
        ReleaseVersion, Right, Scope, property,
    },
    store::NewRelease,
};

/// The port where nothing says another.
pub const DEFAULT_PORT: u16 = 5000;

/// A release that exists, with its config in clear.
pub(super) struct Prepared {
    pub release: Release,
    pub config: Config,
    pub changes: Changes,
    pub release_command: Option<String>,
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
    /// Variables that the source has given their values once.
    pub given: Vec<EnvKey>,
    /// Variables that the source may give a value again.
    pub forgotten: Vec<EnvKey>,
}

/// Cuts a release of a new image, with the app's config as it is now and what its source gives it.
pub(super) fn cut(
    deploy: &ActiveDeploy<'_>,
    built: Built,
    commit: CommitId,
    reason: &str,
    given: Given,
) -> Result<Prepared> {
    let (mut config, overrides) = pending_config(deploy)?;
    let Built { image, facts, plan } = built;
    let changes = Changes {
        config: given.values.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect(),
        formation: given::formation(deploy, &plan.processes, &plan.quantities_from)?,
        given: given.once,
        ..Changes::default()
    };
    config.own.extend(given.values);
    let release_command = plan.release_command;
    let mut processes = plan.processes;
    for spec in processes.iter_mut().filter(|spec| spec.process.is_web()) {
        spec.image_check = facts.check.clone();
    }
    let commands = processes.iter().filter_map(|spec| spec.command.as_deref()).chain(release_command.as_deref());
    let command = commands.max_by_key(|command| command.len());
    model::check_environment(&config.variables(), facts.environment.iter().map(String::as_str).chain(command))?;
    let from = From { image, processes, crons: plan.crons, declared_port: plan.port, commit: Some(commit) };
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
    Ok(Prepared { release_command, changes, ..prepared })
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
    let before = instance.config(deploy.app.id)?.own;
    let edits = model::edits_between(&before, &config.own);
    let changes = Changes { config: edits, properties: edit.properties.clone(), ..Changes::default() };
    let prepared = write(deploy, &From::release(&current), config, &overrides, &edit.reason)?;
    deploy.log.step(&format!("Releasing {} ({})", prepared.release.version, edit.reason));
    Ok(Prepared { changes, ..prepared })
}

/// Cuts a release that is what a former one was; the app's config and properties become what they were then. What is set
/// for all apps is not the app's, and stays.
pub(super) fn cut_copy(deploy: &ActiveDeploy<'_>, target: &Release) -> Result<Prepared> {
    let instance = deploy.instance;
    let sealed = instance.read(|tables| tables.sealed_config(target.id))?;
    let former = instance.secrets.unseal_config(&sealed)?;
    let (config_now, overrides_now) = pending_config(deploy)?;
    let config = Config { own: former.own, ..config_now.clone() };
    let is_own = |entry: &&Override| matches!(entry.scope, Scope::App | Scope::Process(_));
    // What only an administrator may set is no former release's to bring back.
    let is_granted = |entry: &&Override| (entry.property.right)(&entry.value) == Right::Administer;
    let stays = overrides_now.iter().filter(|entry| !is_own(entry) || is_granted(entry));
    let mut overrides: Vec<Override> = stays.cloned().collect();
    for entry in target.overrides.iter().filter(is_own).filter(|entry| !is_granted(entry)) {
        if !overrides.iter().any(|other| other.scope == entry.scope && other.property == entry.property) {
            overrides.push(entry.clone());
        }
    }
    let edits = model::edits_between(&config_now.own, &config.own);
    let changes = Changes {
        // What the release did not have yet, its source will give again when it does.
        forgotten: edits.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.clone()).collect(),
        config: edits,
        properties: property::changes_between(&overrides_now, &overrides),
        ..Changes::default()
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
    hide(deploy, &config, &release.overrides);
    deploy.log.step(&format!("{headline} ({})", release.version));
    Ok(Prepared { release, config, changes, release_command: None })
}

/// Takes the release that serves, or cuts another where config or settings were changed since.
pub(super) fn reuse_or_cut(deploy: &ActiveDeploy<'_>) -> Result<Prepared> {
    let release = current(deploy)?;
    let (config, overrides) = pending_config(deploy)?;
    let sealed = deploy.instance.read(|tables| tables.sealed_config(release.id))?;
    let served = deploy.instance.secrets.unseal_config(&sealed)?;
    if config.variables() == served.variables() && overrides == release.overrides {
        return reuse_current(deploy, "Restarting", Changes::default());
    }
    let prepared = write(deploy, &From::release(&release), config, &overrides, "restart with what was set since")?;
    deploy.log.step(&format!("Releasing {} (restart with what was set since)", prepared.release.version));
    Ok(prepared)
}

/// The release that a rollback goes to, if it can go there. `version`: none where no release served before.
///
/// # Errors
/// `DeployError::NoFormerRelease`, [`Error::NotFound`], `DeployError::NoWayBack`.
pub(super) async fn rollback_target(deploy: &ActiveDeploy<'_>, version: Option<ReleaseVersion>) -> Result<Release> {
    let app = &deploy.app;
    let version = version.ok_or_else(|| DeployError::NoFormerRelease { app: app.name.clone() })?;
    let target = deploy
        .instance
        .read(|tables| tables.find_release(app.id, version))?
        .ok_or_else(|| Error::NotFound(Thing::Release(app.name.clone()), version.to_string()))?;
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

/// Hides from the log what a release knows that is secret, before anything of it runs.
fn hide(deploy: &ActiveDeploy<'_>, config: &Config, overrides: &[Override]) {
    deploy.log.hide(config.values());
    deploy.log.hide(overrides.iter().flat_map(Override::secrets));
}

/// The app's config and settings as they are now.
fn pending_config(deploy: &ActiveDeploy<'_>) -> Result<(Config, Vec<Override>)> {
    let config = deploy.instance.config(deploy.app.id)?;
    let overrides = deploy.instance.read(|tables| tables.overrides(deploy.app.id))?;
    Ok((config, overrides))
}

/// What a release is made from, beside config and settings.
struct From {
    image: ImageId,
    processes: Vec<ProcessSpec>,
    crons: Vec<CronSpec>,
    declared_port: Option<u16>,
    commit: Option<CommitId>,
}

impl From {
    fn release(release: &Release) -> From {
        From {
            image: release.image.clone(),
            processes: release.processes.clone(),
            crons: release.crons.clone(),
            declared_port: release.declared_port,
            commit: release.commit,
        }
    }
}

/// Writes the release and notes that this deployment cut it, in one transaction.
fn write(
    deploy: &ActiveDeploy<'_>,
    from: &From,
    config: Config,
    overrides: &[Override],
    reason: &str,
) -> Result<Prepared> {
    hide(deploy, &config, overrides);
    let variables = config.variables();
    model::check_environment(&variables, from.processes.iter().filter_map(|spec| spec.command.as_deref()).max())?;
    deploy.enter(DeployState::Releasing)?;
    let mut processes: Vec<ProcessSpec> =
        from.processes.iter().map(|spec| spec.with_overrides(overrides)).collect::<Result<_, model::Invalid>>()?;
    let port = model::port_of(&variables)?.or(from.declared_port).unwrap_or(DEFAULT_PORT);
    let ports = deploy.instance.read(|tables| tables.ports(Some(deploy.app.id)))?;
    for stored in ports.iter().rev() {
        let PortMapping { scheme, container, .. } = stored.mapping;
        for spec in processes.iter_mut().filter(|spec| spec.process == stored.process) {
            match spec.process.is_web() {
                true if container == port && scheme == PortScheme::Tcp => spec.check_connections(None, overrides),
                // What answers HTTP beside it is asked over HTTP.
                true => {}
                false => spec.check_connections(Some(container), overrides),
            }
        }
    }
    let release = deploy.instance.write(|tables| {
        let new = NewRelease {
            image: &from.image,
            sealed_config: &deploy.instance.secrets.seal_config(tables, &config)?,
            processes: &processes,
            crons: &from.crons,
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
