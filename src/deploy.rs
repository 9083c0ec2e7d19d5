//! THE PIPELINE. A deploy reads here from top to bottom; each step is in a file beside this one and takes what the
//! step before it made, so that the compiler checks the order.
//!
//! Before the switch a deploy can be undone, and any failure undoes it: what ran before still runs. The switch is one
//! commit of the database; after it a deploy can only be finished, by whoever comes next.

mod build;
mod deployment;
mod health;
mod preflight;
mod probe;
mod queue;
mod recover;
mod release;
mod retire;
mod rollout;
mod source;

use deployment::Deploying;
pub use preflight::check_disk;
pub use probe::{Target, probe};
use queue::{Request, begin};
pub use queue::{hold, refuse_locked};
pub use recover::{recover, remake};
use release::Changes;
pub use retire::{apps_to_retire, retire_app};
use rollout::Keep;

use crate::{
    Error, Result,
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
pub async fn push(context: &Context<'_>, push: &Push, log: &DeployLog) -> Result<Live> {
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
    let deploying = begin(context, &request, log).await?;
    let proven = deploying.unless_stopped(async {
        source::check_branch(&deploying, push)?;
        let source = source::checkout(&deploying, push.commit, &format!("from {}", push.branch)).await?;
        let plan = build::plan(&deploying, source)?;
        let image = build::image(&deploying, plan).await?;
        let release = release::cut(&deploying, image, push.commit, &format!("push of {}", push.branch))?;
        let release = release::run_command(&deploying, release).await?;
        let candidate = rollout::start(&deploying, release, &Keep::Nothing).await?;
        rollout::wait_healthy(&deploying, candidate).await
    });
    conclude(&deploying, proven.await).await
}

/// Builds the commit that serves once more, and deploys what comes out.
///
/// # Errors
/// As [`push`]; [`Error::NeverDeployed`].
pub async fn rebuild(context: &Context<'_>, app: &AppName, log: &DeployLog) -> Result<Live> {
    let current = current_release(context.instance, app)?;
    let commit = current.commit.ok_or_else(|| DeployError::NeverDeployed { app: app.clone() })?;
    let mut new = NewDeployment::without_source(DeploymentKind::Rebuild, context.actor());
    new.commit = Some(commit);
    let request = Request { app, what: format!("the rebuild of {}", commit.short()), wait: true, new };
    let deploying = begin(context, &request, log).await?;
    let proven = deploying.unless_stopped(async {
        let source = source::checkout(&deploying, commit, "once more").await?;
        let plan = build::plan(&deploying, source)?;
        let image = build::image(&deploying, plan).await?;
        let release = release::cut(&deploying, image, commit, "rebuild")?;
        let release = release::run_command(&deploying, release).await?;
        let candidate = rollout::start(&deploying, release, &Keep::Nothing).await?;
        rollout::wait_healthy(&deploying, candidate).await
    });
    conclude(&deploying, proven.await).await
}

/// Deploys the image that serves with a config or settings that differ, without a build. What runs as it should
/// already is left alone. The edit is kept with the switch: if the new containers do not become healthy, nothing has
/// changed.
///
/// # Errors
/// As [`push`]; [`Error::NotRunning`].
pub async fn edit(context: &Context<'_>, app: &AppName, edit: &Edit, log: &DeployLog) -> Result<Live> {
    let new = NewDeployment::without_source(edit.kind, context.actor());
    let request = Request { app, what: format!("the deploy of {}", edit.reason), wait: true, new };
    let deploying = begin(context, &request, log).await?;
    let proven = deploying.unless_stopped(async {
        let release = release::cut_again(&deploying, edit)?;
        let candidate = rollout::start(&deploying, release, &Keep::Same).await?;
        rollout::wait_healthy(&deploying, candidate).await
    });
    conclude(&deploying, proven.await).await
}

/// Goes back to a former release, with its image, its config and its settings, as a new release: without a build, and
/// without its release command.
///
/// `version`: none takes the release that served before the current one.
///
/// # Errors
/// As [`push`]; `DeployError::NoFormerRelease`, [`Error::NotFound`], `DeployError::NoWayBack`.
pub async fn rollback(
    context: &Context<'_>,
    app: &AppName,
    version: Option<ReleaseVersion>,
    log: &DeployLog,
) -> Result<Live> {
    let what = version.map_or_else(|| "the rollback".to_owned(), |version| format!("the rollback to {version}"));
    let new = NewDeployment::without_source(DeploymentKind::Rollback, context.actor());
    let request = Request { app, what, wait: true, new };
    let deploying = begin(context, &request, log).await?;
    let proven = deploying.unless_stopped(async {
        let target = release::to_roll_back_to(&deploying, version).await?;
        let release = release::cut_from(&deploying, &target)?;
        let candidate = rollout::start(&deploying, release, &Keep::Same).await?;
        rollout::wait_healthy(&deploying, candidate).await
    });
    let live = conclude(&deploying, proven.await).await?;
    if let Some(former) = deploying.app.current_release {
        log.detail(&format!("to undo this: paas releases:rollback {app} {former}"));
        log.flush();
    }
    Ok(live)
}

/// Runs so many containers of each of these process types: what is new is proven healthy before it gets traffic, what
/// is too many is drained.
///
/// # Errors
/// As [`push`]; [`Error::NotFound`], `DeployError::NeverDeployed`.
pub async fn scale(
    context: &Context<'_>,
    app: &AppName,
    formation: &[(ProcessType, u32)],
    log: &DeployLog,
) -> Result<Live> {
    let words: Vec<String> = formation.iter().map(|(process, quantity)| format!("{process}={quantity}")).collect();
    let new = NewDeployment::without_source(DeploymentKind::Scale, context.actor());
    let request = Request { app, what: format!("the scaling to {}", words.join(" ")), wait: true, new };
    let deploying = begin(context, &request, log).await?;
    let proven = deploying.unless_stopped(async {
        let changes = Changes { formation: formation.to_vec(), ..Changes::default() };
        let release = release::again(&deploying, &format!("Scaling to {}", words.join(" ")), changes)?;
        let candidate = rollout::start(&deploying, release, &Keep::Same).await?;
        rollout::wait_healthy(&deploying, candidate).await
    });
    conclude(&deploying, proven.await).await
}

/// Starts the release that serves in new containers, proves them healthy, and moves the traffic to them. Where config
/// or settings were changed since without a restart, this takes them up, as a new release.
///
/// `process`: only the containers of this type; none for all.
///
/// # Errors
/// As [`push`]; `DeployError::NeverDeployed`, [`Error::NotFound`].
pub async fn restart(
    context: &Context<'_>,
    app: &AppName,
    process: Option<&ProcessType>,
    log: &DeployLog,
) -> Result<Live> {
    let current = current_release(context.instance, app)?;
    if let Some(process) = process.filter(|process| current.process(process).is_none()) {
        let known = current.process_names();
        return Err(Error::no_process(app, process, known));
    }
    let new = NewDeployment::without_source(DeploymentKind::Restart, context.actor());
    let deploying = begin(context, &Request { app, what: "the restart".to_owned(), wait: true, new }, log).await?;
    let proven = deploying.unless_stopped(async {
        let (release, keep) = match process {
            Some(process) => {
                let headline = format!("Restarting {process}");
                (release::again(&deploying, &headline, Changes::default())?, Keep::OtherThan(process.clone()))
            }
            None => (release::again_or_cut(&deploying)?, Keep::Nothing),
        };
        let candidate = rollout::start(&deploying, release, &keep).await?;
        rollout::wait_healthy(&deploying, candidate).await
    });
    conclude(&deploying, proven.await).await
}

/// The release that serves an app.
///
/// # Errors
/// `DeployError::NeverDeployed`, [`Error::NotFound`].
fn current_release(instance: &Instance, app: &AppName) -> Result<Release> {
    let current = instance.read(|tables| {
        let app = tables.app(app)?;
        tables.current_release(app.id)
    })?;
    current.ok_or_else(|| Error::Deploy(DeployError::NeverDeployed { app: app.clone() }))
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
            let end = queue::end_of(&error);
            deploying.log.error(&error);
            recover::undo(deploying.instance, &deploying.engine, deploying.id, end, &error.one_line()).await;
            deploying.log.flush();
            Err(error.told())
        }
    }
}
