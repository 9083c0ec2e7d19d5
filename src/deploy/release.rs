//! Cutting a release: image, config snapshot, process types. One transaction; never changed after it. And the release
//! command, which runs once for a new image before anything of it starts.

use futures_util::StreamExt;

use super::{Deploying, Edit, build::Built, rollout};
use crate::{
    Error, Result, clock,
    error::{DeployError, Thing},
    model::{
        self, CommitId, ConfigMap, DeployState, EnvKey, ImageId, Override, ProcessSettings, ProcessSpec, ProcessType,
        PropertyChange, Release, ReleaseStatus, ReleaseVersion, Scope, property,
    },
    ops,
    store::{NewContainer, NewRelease},
};

/// The port where nothing says another.
const DEFAULT_PORT: u16 = 5000;

/// A release that exists, with its config in clear.
pub(super) struct Cut {
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
pub(super) fn cut(deploying: &Deploying<'_>, built: Built, commit: CommitId, reason: &str) -> Result<Cut> {
    let (config, overrides) = now(deploying)?;
    let Built { image, plan } = built;
    let release_command = plan.release_command;
    let from = From { image, processes: plan.processes, declared_port: plan.port, commit: Some(commit) };
    let cut = write(deploying, &from, config, &overrides, reason)?;
    deploying.log.step(&format!("Releasing {}", cut.release.version));
    Ok(Cut { release_command, ..cut })
}

/// Cuts a release of the image that serves, with the app's config and settings edited.
///
/// # Errors
/// `DeployError::NotRunning`.
pub(super) fn cut_again(deploying: &Deploying<'_>, edit: &Edit) -> Result<Cut> {
    let current = current(deploying)?;
    if !deploying.app.is_running() {
        return Err(Error::Deploy(DeployError::NotRunning { app: deploying.app.name.clone() }));
    }
    let instance = deploying.instance;
    let config = ops::config::edited(instance, &deploying.app, &edit.config)?;
    let overrides = ops::properties::edited(instance, &deploying.app, &edit.properties)?;
    let changes = Changes { config: edit.config.clone(), properties: edit.properties.clone(), formation: Vec::new() };
    let cut = write(deploying, &From::release(&current), config, &overrides, &edit.reason)?;
    deploying.log.step(&format!("Releasing {} ({})", cut.release.version, edit.reason));
    Ok(Cut { changes, ..cut })
}

/// Cuts a release that is what a former one was; the app's config and properties become what they were then. What is set
/// for all apps is not the app's, and stays.
pub(super) fn cut_from(deploying: &Deploying<'_>, target: &Release) -> Result<Cut> {
    let instance = deploying.instance;
    let sealed = instance.read(|tables| tables.sealed_config(target.id))?;
    let config = instance.secrets.unseal_config(&sealed)?;
    let (config_now, overrides_now) = now(deploying)?;
    let is_own = |entry: &&Override| matches!(entry.scope, Scope::App | Scope::Process(_));
    let for_all = overrides_now.iter().filter(|entry| !is_own(entry));
    let overrides: Vec<Override> = for_all.chain(target.overrides.iter().filter(is_own)).cloned().collect();
    let changes = Changes {
        config: ops::config::edits_between(&config_now, &config),
        properties: property::changes_between(&overrides_now, &overrides),
        formation: Vec::new(),
    };
    let reason = format!("rollback to {}", target.version);
    let cut = write(deploying, &From::release(target), config, &overrides, &reason)?;
    deploying.log.step(&format!(
        "Releasing {} (rollback to {}: {}, {})",
        cut.release.version,
        target.version,
        target.reason,
        clock::ago(target.created_at)
    ));
    Ok(Cut { changes, ..cut })
}

/// Takes the release that serves, as it is.
pub(super) fn again(deploying: &Deploying<'_>, headline: &str, changes: Changes) -> Result<Cut> {
    let release = current(deploying)?;
    for (process, _) in &changes.formation {
        if release.process(process).is_none() {
            return Err(Error::no_process(&deploying.app.name, process, release.process_names()));
        }
    }
    deploying.enter(DeployState::Releasing)?;
    let sealed = deploying.instance.write(|tables| {
        tables.set_deployment_release(deploying.id, release.id)?;
        tables.sealed_config(release.id)
    })?;
    let config = deploying.instance.secrets.unseal_config(&sealed)?;
    deploying.log.step(&format!("{headline} ({})", release.version));
    Ok(Cut { release, config, changes, release_command: None })
}

/// Takes the release that serves, or cuts another where config or settings were changed since.
pub(super) fn again_or_cut(deploying: &Deploying<'_>) -> Result<Cut> {
    let release = current(deploying)?;
    let (config, overrides) = now(deploying)?;
    let sealed = deploying.instance.read(|tables| tables.sealed_config(release.id))?;
    if config == deploying.instance.secrets.unseal_config(&sealed)? && overrides == release.overrides {
        return again(deploying, "Restarting", Changes::default());
    }
    let cut = write(deploying, &From::release(&release), config, &overrides, "restart with what was set since")?;
    deploying.log.step(&format!("Releasing {} (restart with what was set since)", cut.release.version));
    Ok(cut)
}

/// The release that a rollback goes to: the one that was asked for, or the one that served before.
///
/// # Errors
/// `DeployError::NoFormerRelease`, [`Error::NotFound`], `DeployError::NoWayBack`.
pub(super) async fn to_roll_back_to(deploying: &Deploying<'_>, version: Option<ReleaseVersion>) -> Result<Release> {
    let app = &deploying.app;
    let found = deploying.instance.read(|tables| match version {
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
        return no_way("it is the one that serves");
    }
    if !deploying.engine.has_image(&target.image).await? {
        return no_way("its image is not kept any more");
    }
    Ok(target)
}

/// The release that serves.
fn current(deploying: &Deploying<'_>) -> Result<Release> {
    let current = deploying.instance.read(|tables| tables.current_release(deploying.app.id))?;
    current.ok_or_else(|| Error::Deploy(DeployError::NeverDeployed { app: deploying.app.name.clone() }))
}

/// The app's config and settings as they are now.
fn now(deploying: &Deploying<'_>) -> Result<(ConfigMap, Vec<Override>)> {
    let config = ops::config::in_clear(deploying.instance, &deploying.app)?;
    let overrides = deploying.instance.read(|tables| tables.overrides(deploying.app.id))?;
    Ok((config, overrides))
}

/// Runs the release command, if there is one, in a container of its own with the release's config. What it prints goes
/// to the log as it comes.
///
/// # Errors
/// `DeployError::ReleaseCommand` where it exits other than with 0.
pub(super) async fn run_command(deploying: &Deploying<'_>, cut: Cut) -> Result<Cut> {
    let Some(command) = &cut.release_command else { return Ok(cut) };
    deploying.log.step("Running the release command");
    let begun = clock::instant();
    let instance = deploying.instance;
    deploying.engine.ensure_network(&instance.id, instance.settings.subnet).await?;
    let process: ProcessType = ProcessType::RELEASE.parse()?;
    let name = rollout::container_name(deploying, &process, 1);
    let run = ProcessSettings::of_overrides(&cut.release.overrides, &process).resolve(&process)?;
    let container = instance.write(|tables| {
        let new = NewContainer {
            app_id: deploying.app.id,
            release_id: cut.release.id,
            deployment_id: deploying.id,
            process: &process,
            run: &run,
            position: 1,
            name: &name,
            port: cut.release.port,
        };
        tables.add_container(instance.settings.subnet, &new)
    })?;
    let spec = rollout::container_spec(
        deploying.labels(Some(cut.release.version), Some((process, 1))),
        (&cut.release, &cut.config),
        &container,
        (&run, Some(model::shell_arguments(command))),
    );
    let container = rollout::start_container(instance, &deploying.engine, container, spec).await?;
    let mut lines = std::pin::pin!(deploying.engine.logs(&name, None, true));
    while let Some(line) = lines.next().await {
        deploying.log.detail(&line?.text);
    }
    let code = deploying.engine.wait(&name).await?;
    if code != 0 {
        return Err(Error::Deploy(DeployError::ReleaseCommand { code }));
    }
    deploying.engine.remove(&name).await?;
    instance.write(|tables| tables.remove_container(container.id))?;
    deploying.log.detail(&format!("done in {}", model::seconds(begun.elapsed())));
    Ok(cut)
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
    deploying: &Deploying<'_>,
    from: &From,
    config: ConfigMap,
    overrides: &[Override],
    reason: &str,
) -> Result<Cut> {
    deploying.enter(DeployState::Releasing)?;
    let processes: Vec<ProcessSpec> =
        from.processes.iter().map(|spec| spec.with_overrides(overrides)).collect::<Result<_, model::Invalid>>()?;
    let port = port(&config)?.or(from.declared_port).unwrap_or(DEFAULT_PORT);
    let release = deploying.instance.write(|tables| {
        let new = NewRelease {
            image: &from.image,
            sealed_config: &deploying.instance.secrets.seal_config(tables, &config)?,
            processes: &processes,
            overrides,
            port,
            declared_port: from.declared_port,
            commit: from.commit,
            reason,
            actor: &deploying.caller.actor,
        };
        let release = tables.cut_release(deploying.app.id, &new)?;
        tables.set_deployment_release(deploying.id, release.id)?;
        Ok(release)
    })?;
    Ok(Cut { release, config, changes: Changes::default(), release_command: None })
}

/// The port that the config sets.
fn port(config: &ConfigMap) -> Result<Option<u16>> {
    let key: EnvKey = "PORT".parse()?;
    config.get(&key).map(|text| ops::config::parse_port(text)).transpose()
}
