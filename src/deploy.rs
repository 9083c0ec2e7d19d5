//! THE PIPELINE. A deploy reads here from top to bottom; each step is in a file beside this one and takes what the
//! step before it made, so that the compiler checks the order.
//!
//! Before the switch a deploy can be undone, and any failure undoes it: what ran before still runs. The switch is one
//! commit of the database; after it a deploy can only be finished, by whoever comes next.

mod build;
mod deployment;
mod health;
mod preflight;
mod prune;
mod recover;
mod release;
mod retire;
mod rollout;
mod source;

use deployment::Deploying;
pub use preflight::check_disk;
pub use prune::prune_images;
pub use recover::recover;
pub use retire::{apps_to_retire, retire_app};

use crate::{
    Error, Result,
    engine::Engine,
    git,
    instance::Instance,
    lock::{self, Holder, Lock},
    model::{App, AppName, BranchName, CommitId, DeployId, DeployState, DeploymentKind, ReleaseVersion},
    proxy,
    store::NewDeployment,
    ui::DeployLog,
};

/// A commit that somebody pushed to an app's branch.
#[derive(Clone, Debug)]
pub struct Push {
    /// The app.
    pub app: AppName,
    /// The branch.
    pub branch: BranchName,
    /// Where it shall be.
    pub commit: CommitId,
    /// Where it was.
    pub old_commit: Option<CommitId>,
    /// Whether to wait in line where another action holds the app.
    pub wait: bool,
}

/// What a deploy came to.
#[derive(Clone, Debug)]
pub struct Live {
    /// The deployment.
    pub deployment: DeployId,
    /// The release that serves now.
    pub release: ReleaseVersion,
}

/// Deploys a pushed commit: builds it, proves it healthy, moves the traffic to it, and then the branch.
///
/// # Errors
/// Whatever failed; the release before still serves then, and nothing of this deploy is left.
pub async fn push(instance: &Instance, push: &Push, log: &DeployLog) -> Result<Live> {
    let what = format!("the deploy of {} ({})", push.branch, push.commit.short());
    let (engine, app, lock) = take(instance, &push.app, &what, push.wait, log).await?;
    if let Some(deploy_branch) = &app.deploy_branch
        && *deploy_branch != push.branch
    {
        return Err(Error::WrongBranch {
            app: app.name,
            deploy_branch: deploy_branch.to_string(),
            pushed: push.branch.to_string(),
        });
    }
    let repository = instance.settings.paths.repository(&app.name);
    if let Some(now) = git::moved_away(&repository, &push.branch, push.old_commit, push.commit)? {
        return Err(Error::PushRefused {
            message: format!("{} moved to {} while this push waited", push.branch, now.short()),
            hint: format!("`git pull --rebase paas {}`, then push again", push.branch),
        });
    }
    let new = NewDeployment {
        kind: DeploymentKind::Push,
        actor: &instance.actor,
        branch: Some(&push.branch),
        commit: Some(push.commit),
        old_commit: push.old_commit,
    };
    let deploying = Deploying::open(instance, engine, app, lock, log, &new)?;
    let proven = deploying
        .unless_canceled(async {
            let source = source::checkout(&deploying, push).await?;
            let plan = build::plan(&deploying, source)?;
            let image = build::image(&deploying, plan).await?;
            let release = release::cut(&deploying, image, push)?;
            let release = release::run_command(&deploying, release).await?;
            let candidate = rollout::start(&deploying, release).await?;
            rollout::wait_healthy(&deploying, candidate).await
        })
        .await;
    conclude(&deploying, proven).await
}

/// Deploys the release that serves once more, with the config as it is now: without a build.
///
/// Returns nothing where the app does not run, because then there is nothing to change.
///
/// # Errors
/// As [`push`].
pub async fn config_change(instance: &Instance, app: &AppName, reason: &str, log: &DeployLog) -> Result<Option<Live>> {
    let (engine, app, lock) = take(instance, app, &format!("the deploy of {reason}"), true, log).await?;
    let Some(current) = instance.read(|tables| tables.current_release(app.id))?.filter(|_| app.is_running()) else {
        return Ok(None);
    };
    let new = NewDeployment::without_source(DeploymentKind::Config, &instance.actor);
    let deploying = Deploying::open(instance, engine, app, lock, log, &new)?;
    let proven = deploying
        .unless_canceled(async {
            let release = release::cut_again(&deploying, &current, reason)?;
            let candidate = rollout::start(&deploying, release).await?;
            rollout::wait_healthy(&deploying, candidate).await
        })
        .await;
    conclude(&deploying, proven).await.map(Some)
}

/// Starts the release that serves in new containers, proves them healthy, and moves the traffic to them.
///
/// # Errors
/// As [`push`]; [`Error::NeverDeployed`].
pub async fn restart(instance: &Instance, app: &AppName, log: &DeployLog) -> Result<Live> {
    let (engine, app, lock) = take(instance, app, "the restart", true, log).await?;
    let Some(current) = instance.read(|tables| tables.current_release(app.id))? else {
        return Err(Error::NeverDeployed(app.name));
    };
    let new = NewDeployment::without_source(DeploymentKind::Restart, &instance.actor);
    let deploying = Deploying::open(instance, engine, app, lock, log, &new)?;
    let proven = deploying
        .unless_canceled(async {
            let release = release::again(&deploying, current)?;
            let candidate = rollout::start(&deploying, release).await?;
            rollout::wait_healthy(&deploying, candidate).await
        })
        .await;
    conclude(&deploying, proven).await
}

/// Takes the app's lock for an action that changes what runs, and first finishes or undoes what a dead one left.
///
/// # Errors
/// [`Error::DockerUnavailable`], [`Error::DiskFull`], [`Error::Locked`], [`Error::AppNotFound`].
async fn take(
    instance: &Instance,
    name: &AppName,
    what: &str,
    wait: bool,
    log: &DeployLog,
) -> Result<(Engine, App, Lock)> {
    let app = instance.read(|tables| tables.app(name))?;
    let holder = Holder::new(what, &instance.actor);
    let path = instance.settings.paths.app_lock(app.id);
    let lock = if wait {
        lock::lock(&path, &holder, |other| log.step(&format!("Waiting for {other}"))).await?
    } else {
        lock::try_lock(&path, &holder)?.map_err(|other| Error::Locked {
            app: name.clone(),
            holder: other.map_or_else(|| "another action".to_owned(), |other| other.describe()),
        })?
    };
    let engine = Engine::connect(&instance.settings).await?;
    preflight::check_machine(instance, &engine).await?;
    proxy::ready(instance).await?;
    recover::leftovers(instance, &engine, app.id).await?;
    // Read again: what held the lock may have changed the app, or destroyed it.
    let app = instance.read(|tables| tables.app(name))?;
    Ok((engine, app, lock))
}

/// Switches to what was proven, or undoes everything.
async fn conclude(deploying: &Deploying<'_>, proven: Result<rollout::Healthy>) -> Result<Live> {
    let committed = match proven {
        Ok(healthy) => rollout::switch(deploying, healthy).await,
        Err(error) => Err(error),
    };
    match committed {
        Ok(live) => {
            rollout::announce(deploying, &live);
            retire::hand_over(deploying).await;
            Ok(live)
        }
        Err(error) => {
            let end = match error {
                Error::Canceled(_) | Error::Interrupted => DeployState::Canceled,
                _ => DeployState::Failed,
            };
            deploying.log.error(&error);
            recover::undo(deploying.instance, &deploying.engine, deploying.id, end, &error.one_line()).await;
            deploying.log.flush();
            Err(error.told())
        }
    }
}
