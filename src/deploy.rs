//! THE PIPELINE. A deploy reads here from top to bottom; each step is in a file beside this one and takes what the
//! step before it made, so that the compiler checks the order.
//!
//! Before the switch a deploy can be undone, and any failure undoes it: what ran before still runs. The switch is one
//! commit of the database; after it a deploy can only be finished, by whoever comes next.

mod build;
mod container;
mod deployment;
mod edited;
mod fence;
mod former_log;
mod given;
mod health;
mod kept;
pub mod oneoff;
mod preflight;
mod probe;
mod queue;
mod recover;
mod release;
mod retire;
mod rollout;
mod runs;
mod scheduler;
mod source;
mod tasks;
#[cfg(test)]
mod tests;

use deployment::{ActiveDeploy, end_of};
pub use edited::{edited, edited_variables};
pub use fence::{fence, in_force, put_up as put_up_fence};
pub use preflight::check_disk;
pub use probe::{Life, Target, is_silence, life, probe};
use queue::{Request, begin};
pub use queue::{hold, refuse_locked};
pub use recover::recover;
use release::Changes;
pub use release::DEFAULT_PORT;
pub use retire::{apps_to_retire, retire_app};
use rollout::Reuse;
pub use runs::{RunProgram, finish_run, make_entry, secrets_of_run, signal_run, start_run, stop_run};
pub use source::look_at;
use tasks::{After, Tasks};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    context::Context,
    error::DeployError,
    exec,
    model::{AppName, BranchName, CommitId, DeployId, DeploymentKind, Edit, ProcessType, ReleaseVersion, property},
    store::NewDeployment,
    ui::DeployLog,
    work::guard,
};

/// A commit that somebody pushed to an app's branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Push {
    /// The branch.
    pub branch: BranchName,
    /// Where it shall be.
    pub commit: CommitId,
    /// Where it was.
    pub old_commit: Option<CommitId>,
    /// Whether to wait in line where another action holds the app.
    pub wait: bool,
}

/// What changes the app that runs, as a plain value: what was asked for, not how it is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Deploys a pushed commit: builds it, proves it healthy, moves the traffic to it, and then the branch.
    Push(Push),
    /// Builds the commit that serves once more, and deploys what comes out.
    Rebuild,
    /// Deploys the image that serves with a config or settings that differ, without a build. What already runs as it
    /// should is left alone. The edit is kept with the switch: if the new containers do not become healthy, nothing has
    /// changed.
    Edit(Edit),
    /// Goes back to a former release, with its image, its config and its settings, as a new release: without a build,
    /// and without its release command. Without a number it is the release that served before the one that serves when
    /// this is asked for.
    Rollback(Option<ReleaseVersion>),
    /// Runs this many containers of each of these process types: what is new is proven healthy before it gets traffic,
    /// surplus containers are drained.
    Scale(Vec<(ProcessType, u32)>),
    /// Starts the release that serves in new containers, proves them healthy, and moves the traffic to them; of one
    /// process type, or of all. Changes that were made without a restart are taken up then, as a new release.
    Restart(Option<ProcessType>),
    /// Starts a stopped app: as a restart of all its types.
    Start,
}

impl Action {
    /// The command that asks for it, as it is typed, which its event names.
    pub fn command(&self) -> &str {
        match self {
            Action::Push(_) => "git:push",
            Action::Rebuild => "ps:rebuild",
            Action::Edit(edit) => &edit.action,
            Action::Rollback(_) => "releases:rollback",
            Action::Scale(_) => "ps:scale",
            Action::Restart(_) => "ps:restart",
            Action::Start => "ps:start",
        }
    }
}

/// What a deploy came to.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The deployment.
    pub deployment: DeployId,
    /// The release that serves now.
    pub release: ReleaseVersion,
}

/// Does what changes an app that runs: waits for its turn, makes the new containers and proves them, switches to them
/// and ends the old ones; or undoes everything.
///
/// # Errors
/// Whatever failed; the release before still serves then, and nothing of this deploy is left. Before it begins:
/// `DeployError::NeverDeployed`, [`crate::Error::NotFound`].
pub async fn run(context: &Context<'_>, app: &AppName, action: &Action, log: &DeployLog) -> Result<Deployed> {
    let (request, asked) = request(context, app, action)?;
    guard(context.instance.number(&property::DEPLOY_MEMORY_MB, None)?.saturating_mul(1_000_000));
    let deploy = begin(context, &request, log).await?;
    let proven = deploy.unless_stopped(prove(&deploy, action, &asked)).await;
    let deployed = conclude(&deploy, proven).await?;
    if let (Action::Rollback(_), Some(former)) = (action, deploy.app.current_release) {
        log.detail(&format!("to undo this: paas releases:rollback {app} {former}"));
        log.flush();
    }
    Ok(deployed)
}

/// What an action means that is relative to what runs: settled when it is asked for, because something else may run when
/// its turn comes. What an action means by itself is not in here.
#[derive(Debug, Default)]
struct Asked {
    /// What is built.
    commit: Option<CommitId>,
    /// What is gone back to.
    target: Option<ReleaseVersion>,
    /// What ran then, and must still run.
    saw: Option<ReleaseVersion>,
}

impl Asked {
    /// Refuses to do what somebody asked for who saw something else than what runs now.
    ///
    /// # Errors
    /// `DeployError::ChangedMeanwhile`.
    fn check(&self, deploy: &ActiveDeploy<'_>) -> Result<()> {
        let now = deploy.app.current_release;
        let Some(saw) = self.saw.filter(|saw| now != Some(*saw)) else { return Ok(()) };
        // A build is of a commit: another config of the same one is the config to build it with.
        if self.commit.is_some() && deploy.instance.read(|tables| tables.serving(&deploy.app))?.commit == self.commit {
            return Ok(());
        }
        let now = now.map_or_else(|| "nothing".to_owned(), |now| now.to_string());
        let what = format!("it runs {now}, and ran {saw} when this was asked for");
        Err(DeployError::ChangedMeanwhile { app: deploy.app.name.clone(), what }.into())
    }
}

/// What a deployment is begun with, and what it was asked for with. What can be refused at once is refused here.
fn request<'a>(context: &Context<'a>, app: &'a AppName, action: &'a Action) -> Result<(Request<'a>, Asked)> {
    let current = || context.instance.read(|tables| tables.serving(&tables.app(app)?));
    let mut asked = Asked::default();
    let new = |kind| NewDeployment::without_source(kind, action.command(), context.caller);
    let (what, wait, new) = match action {
        Action::Push(push) => (
            format!("the deploy of {} ({})", push.branch, push.commit.short()),
            push.wait,
            NewDeployment { branch: Some(&push.branch), commit: Some(push.commit), ..new(DeploymentKind::Push) },
        ),
        Action::Rebuild => {
            let current = current()?;
            let commit = current.commit.ok_or_else(|| DeployError::NeverDeployed { app: app.clone() })?;
            asked.saw = Some(current.version);
            let new = NewDeployment { commit: Some(commit), ..new(DeploymentKind::Rebuild) };
            (format!("the rebuild of {}", commit.short()), true, new)
        }
        Action::Edit(edit) => (format!("the deploy of {}", edit.reason), true, new(edit.kind)),
        Action::Rollback(version) => {
            asked.target = *version;
            if version.is_none() {
                (asked.saw, asked.target) = context.instance.read(|tables| {
                    let app = tables.app(app)?;
                    Ok((app.current_release, tables.former_release(app.id)?.map(|release| release.version)))
                })?;
            }
            let to = asked.target.map(|version| format!(" to {version}")).unwrap_or_default();
            (format!("the rollback{to}"), true, new(DeploymentKind::Rollback))
        }
        Action::Scale(formation) => (format!("the scaling to {}", words(formation)), true, new(DeploymentKind::Scale)),
        Action::Restart(process) => {
            let current = current()?;
            if let Some(process) = process {
                current.require(app, process)?;
            }
            ("the restart".to_owned(), true, new(DeploymentKind::Restart))
        }
        Action::Start => ("the start".to_owned(), true, new(DeploymentKind::Restart)),
    };
    asked.commit = new.commit;
    Ok((Request { app, what, wait, new }, asked))
}

/// Makes the new containers and proves them healthy: all that can be undone.
async fn prove(deploy: &ActiveDeploy<'_>, action: &Action, asked: &Asked) -> Result<Proven> {
    asked.check(deploy)?;
    let mut after = None;
    let (release, reuse) = match action {
        Action::Push(_) | Action::Rebuild => {
            let commit = asked.commit.ok_or_else(|| Error::bug("a build without a commit"))?;
            let (origin, reason) = match action {
                Action::Push(push) => (format!("from {}", push.branch), format!("push of {}", push.branch)),
                _ => ("once more".to_owned(), "rebuild".to_owned()),
            };
            let buildpacks = build::buildpacks(deploy)?;
            let work = source::work(deploy.instance)?;
            if let Action::Push(push) = action {
                source::check_branch(deploy, push, &work).await?;
            }
            let source = source::checkout(deploy, commit, &origin, &work).await?;
            let planned = build::plan(deploy, source, buildpacks, commit).await?;
            let given = given::variables(deploy, &planned.plan.variables)?;
            let mut built = build::image(deploy, planned).await?;
            let tasks = Tasks {
                scripts: std::mem::take(&mut built.plan.scripts),
                flawed: std::mem::take(&mut built.plan.flawed_scripts),
            };
            let release = release::cut(deploy, built, commit, &reason, given)?;
            let release = tasks::predeploy(deploy, release, &tasks).await?;
            let release = tasks::release_command(deploy, release, &tasks).await?;
            rollout::say_what_waits(deploy, &release)?;
            after = Some(After::new(&release, tasks));
            (release, Reuse::None)
        }
        Action::Edit(edit) => (release::cut_edited(deploy, edit)?, Reuse::Unchanged),
        Action::Rollback(_) => {
            let target = release::rollback_target(deploy, asked.target).await?;
            (release::cut_copy(deploy, &target)?, Reuse::Unchanged)
        }
        Action::Scale(formation) => {
            let changes = Changes { formation: formation.clone(), ..Changes::default() };
            let headline = format!("Scaling to {}", words(formation));
            (release::reuse_current(deploy, &headline, changes)?, Reuse::Unchanged)
        }
        Action::Restart(Some(process)) => {
            let headline = format!("Restarting {process}");
            (release::reuse_current(deploy, &headline, Changes::default())?, Reuse::Except(process.clone()))
        }
        // Another start came before.
        Action::Start if deploy.app.is_running() => {
            (release::reuse_current(deploy, "It runs already", Changes::default())?, Reuse::Unchanged)
        }
        Action::Restart(None) | Action::Start => (release::reuse_or_cut(deploy)?, Reuse::None),
    };
    let candidate = rollout::start(deploy, release, &reuse).await?;
    match rollout::wait_healthy(deploy, candidate).await {
        Ok(healthy) => Ok(Proven { healthy, after }),
        Err(error) => Err(after.as_ref().map_or(&Tasks::default(), After::tasks).why(&deploy.app.name, error)),
    }
}

/// What is ready for the switch, and what runs after it.
struct Proven {
    healthy: rollout::Healthy,
    after: Option<After>,
}

/// A formation as it is typed: `web=2 worker=1`.
fn words(formation: &[(ProcessType, u32)]) -> String {
    let words = formation.iter().map(|(process, quantity)| format!("{process}={quantity}"));
    words.collect::<Vec<_>>().join(" ")
}

/// Switches to what was proven, or undoes everything.
async fn conclude(deploy: &ActiveDeploy<'_>, proven: Result<Proven>) -> Result<Deployed> {
    let committed = match proven {
        Ok(Proven { healthy, after }) => {
            exec::end_when_asked();
            rollout::switch(deploy, healthy).await.map(|live| (live, after))
        }
        Err(error) => Err(error),
    };
    match committed {
        Ok((live, after)) => {
            if let Some(after) = after {
                tasks::after_switch(deploy, &after).await;
            }
            rollout::announce(deploy, &live);
            retire::hand_over(deploy).await;
            Ok(live)
        }
        Err(error) => {
            let end = end_of(&error);
            // It is kept in the row, and shown to whoever looks.
            let error = error.with_output(&|text| deploy.log.masked(text));
            deploy.log.error(&error);
            recover::undo(deploy.instance, &deploy.engine, deploy.id, end, &error.one_line()).await;
            deploy.log.flush();
            Err(error.told())
        }
    }
}
