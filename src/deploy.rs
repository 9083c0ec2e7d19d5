//! THE PIPELINE. A deploy reads here from top to bottom; each step is in a file beside this one and takes what the
//! step before it made, so that the compiler checks the order.
//!
//! Before the switch a deploy can be undone, and any failure undoes it: what ran before still runs. The switch is one
//! commit of the database; after it a deploy can only be finished, by whoever comes next.

mod build;
mod container;
mod deployment;
mod edited;
mod former_log;
mod health;
mod preflight;
mod probe;
mod queue;
mod recover;
mod release;
mod retire;
mod rollout;
mod scheduler;
mod source;
#[cfg(test)]
mod tests;

use deployment::{ActiveDeploy, end_of};
pub use edited::edited;
pub use preflight::check_disk;
pub use probe::{Target, probe};
use queue::{Request, begin};
pub use queue::{hold, refuse_locked};
pub use recover::recover;
use release::Changes;
pub use retire::{apps_to_retire, retire_app};
use rollout::Reuse;

use crate::{
    Result,
    context::Context,
    error::DeployError,
    instance::Instance,
    model::{
        AppName, BranchName, CommitId, DeployId, DeploymentKind, EnvKey, ProcessType, PropertyChange, Release,
        ReleaseVersion,
    },
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

/// A change of what an app is run with: of its config, of its properties.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What kind of deployment it makes.
    pub kind: DeploymentKind,
    /// Why, for the release that takes it up: `config: set A, B`.
    pub reason: String,
    /// Variables with their new values; none removes one.
    pub config: Vec<(EnvKey, Option<String>)>,
    /// Properties of the app and of its process types.
    pub properties: Vec<PropertyChange>,
}

/// What a deploy came to.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The deployment.
    pub deployment: DeployId,
    /// The release that serves now.
    pub release: ReleaseVersion,
}

/// Deploys a pushed commit: builds it, proves it healthy, moves the traffic to it, and then the branch.
///
/// # Errors
/// Whatever failed; the release before still serves then, and nothing of this deploy is left.
pub async fn push(context: &Context<'_>, push: &Push, log: &DeployLog) -> Result<Deployed> {
    let request = Request {
        app: &push.app,
        what: format!("the deploy of {} ({})", push.branch, push.commit.short()),
        wait: push.wait,
        new: NewDeployment {
            kind: DeploymentKind::Push,
            actor: context.actor(),
            branch: Some(&push.branch),
            commit: Some(push.commit),
        },
    };
    let deploy = begin(context, &request, log).await?;
    let proven = deploy.unless_stopped(async {
        source::check_branch(&deploy, push)?;
        let source = source::checkout(&deploy, push.commit, &format!("from {}", push.branch)).await?;
        let plan = build::plan(&deploy, source)?;
        let image = build::image(&deploy, plan).await?;
        let release = release::cut(&deploy, image, push.commit, &format!("push of {}", push.branch))?;
        let release = release::run_command(&deploy, release).await?;
        let candidate = rollout::start(&deploy, release, &Reuse::None).await?;
        rollout::wait_healthy(&deploy, candidate).await
    });
    conclude(&deploy, proven.await).await
}

/// Builds the commit that serves once more, and deploys what comes out.
///
/// # Errors
/// As [`push`]; [`crate::Error::NeverDeployed`].
pub async fn rebuild(context: &Context<'_>, app: &AppName, log: &DeployLog) -> Result<Deployed> {
    let current = current_release(context.instance, app)?;
    let commit = current.commit.ok_or_else(|| DeployError::NeverDeployed { app: app.clone() })?;
    let mut new = NewDeployment::without_source(DeploymentKind::Rebuild, context.actor());
    new.commit = Some(commit);
    let request = Request { app, what: format!("the rebuild of {}", commit.short()), wait: true, new };
    let deploy = begin(context, &request, log).await?;
    let proven = deploy.unless_stopped(async {
        let source = source::checkout(&deploy, commit, "once more").await?;
        let plan = build::plan(&deploy, source)?;
        let image = build::image(&deploy, plan).await?;
        let release = release::cut(&deploy, image, commit, "rebuild")?;
        let release = release::run_command(&deploy, release).await?;
        let candidate = rollout::start(&deploy, release, &Reuse::None).await?;
        rollout::wait_healthy(&deploy, candidate).await
    });
    conclude(&deploy, proven.await).await
}

/// Deploys the image that serves with a config or settings that differ, without a build. What runs as it should
/// already is left alone. The edit is kept with the switch: if the new containers do not become healthy, nothing has
/// changed.
///
/// # Errors
/// As [`push`]; [`crate::Error::NotRunning`].
pub async fn edit(context: &Context<'_>, app: &AppName, edit: &Edit, log: &DeployLog) -> Result<Deployed> {
    let new = NewDeployment::without_source(edit.kind, context.actor());
    let request = Request { app, what: format!("the deploy of {}", edit.reason), wait: true, new };
    let deploy = begin(context, &request, log).await?;
    let proven = deploy.unless_stopped(async {
        let release = release::cut_edited(&deploy, edit)?;
        let candidate = rollout::start(&deploy, release, &Reuse::Unchanged).await?;
        rollout::wait_healthy(&deploy, candidate).await
    });
    conclude(&deploy, proven.await).await
}

/// Goes back to a former release, with its image, its config and its settings, as a new release: without a build, and
/// without its release command.
///
/// `version`: none takes the release that served before the current one.
///
/// # Errors
/// As [`push`]; `DeployError::NoFormerRelease`, [`crate::Error::NotFound`], `DeployError::NoWayBack`.
pub async fn rollback(
    context: &Context<'_>,
    app: &AppName,
    version: Option<ReleaseVersion>,
    log: &DeployLog,
) -> Result<Deployed> {
    let what = version.map_or_else(|| "the rollback".to_owned(), |version| format!("the rollback to {version}"));
    let new = NewDeployment::without_source(DeploymentKind::Rollback, context.actor());
    let request = Request { app, what, wait: true, new };
    let deploy = begin(context, &request, log).await?;
    let proven = deploy.unless_stopped(async {
        let target = release::rollback_target(&deploy, version).await?;
        let release = release::cut_copy(&deploy, &target)?;
        let candidate = rollout::start(&deploy, release, &Reuse::Unchanged).await?;
        rollout::wait_healthy(&deploy, candidate).await
    });
    let live = conclude(&deploy, proven.await).await?;
    if let Some(former) = deploy.app.current_release {
        log.detail(&format!("to undo this: paas releases:rollback {app} {former}"));
        log.flush();
    }
    Ok(live)
}

/// Runs so many containers of each of these process types: what is new is proven healthy before it gets traffic, what
/// is too many is drained.
///
/// # Errors
/// As [`push`]; [`crate::Error::NotFound`], `DeployError::NeverDeployed`.
pub async fn scale(
    context: &Context<'_>,
    app: &AppName,
    formation: &[(ProcessType, u32)],
    log: &DeployLog,
) -> Result<Deployed> {
    let words: Vec<String> = formation.iter().map(|(process, quantity)| format!("{process}={quantity}")).collect();
    let new = NewDeployment::without_source(DeploymentKind::Scale, context.actor());
    let request = Request { app, what: format!("the scaling to {}", words.join(" ")), wait: true, new };
    let deploy = begin(context, &request, log).await?;
    let proven = deploy.unless_stopped(async {
        let changes = Changes { formation: formation.to_vec(), ..Changes::default() };
        let release = release::reuse_current(&deploy, &format!("Scaling to {}", words.join(" ")), changes)?;
        let candidate = rollout::start(&deploy, release, &Reuse::Unchanged).await?;
        rollout::wait_healthy(&deploy, candidate).await
    });
    conclude(&deploy, proven.await).await
}

/// Starts the release that serves in new containers, proves them healthy, and moves the traffic to them. Where config
/// or settings were changed since without a restart, this takes them up, as a new release.
///
/// `process`: only the containers of this type; none for all.
///
/// # Errors
/// As [`push`]; `DeployError::NeverDeployed`, [`crate::Error::NotFound`].
pub async fn restart(
    context: &Context<'_>,
    app: &AppName,
    process: Option<&ProcessType>,
    log: &DeployLog,
) -> Result<Deployed> {
    let current = current_release(context.instance, app)?;
    if let Some(process) = process {
        current.require(app, process)?;
    }
    let new = NewDeployment::without_source(DeploymentKind::Restart, context.actor());
    let deploy = begin(context, &Request { app, what: "the restart".to_owned(), wait: true, new }, log).await?;
    let proven = deploy.unless_stopped(async {
        let (release, reuse) = match process {
            Some(process) => {
                let headline = format!("Restarting {process}");
                (release::reuse_current(&deploy, &headline, Changes::default())?, Reuse::Except(process.clone()))
            }
            None => (release::reuse_or_cut(&deploy)?, Reuse::None),
        };
        let candidate = rollout::start(&deploy, release, &reuse).await?;
        rollout::wait_healthy(&deploy, candidate).await
    });
    conclude(&deploy, proven.await).await
}

/// The release that serves an app.
///
/// # Errors
/// `DeployError::NeverDeployed`, [`crate::Error::NotFound`].
fn current_release(instance: &Instance, app: &AppName) -> Result<Release> {
    instance.read(|tables| tables.serving(&tables.app(app)?))
}

/// Switches to what was proven, or undoes everything.
async fn conclude(deploy: &ActiveDeploy<'_>, proven: Result<rollout::Healthy>) -> Result<Deployed> {
    let committed = match proven {
        Ok(healthy) => rollout::switch(deploy, healthy).await,
        Err(error) => Err(error),
    };
    match committed {
        Ok(live) => {
            rollout::announce(deploy, &live);
            retire::hand_over(deploy).await;
            Ok(live)
        }
        Err(error) => {
            let end = end_of(&error);
            deploy.log.error(&error);
            recover::undo(deploy.instance, &deploy.engine, deploy.id, end, &error.one_line()).await;
            deploy.log.flush();
            Err(error.told())
        }
    }
}
