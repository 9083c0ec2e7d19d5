//! The first step: the files of the commit.

use super::{Push, deployment::ActiveDeploy};
use crate::{
    Error, Result,
    error::PushError,
    git,
    model::{CommitId, DeployState},
    tree::Tree,
    work::{Limits, Work},
};

/// The files to be built.
pub(super) struct Source {
    pub tree: Tree,
}

/// Checks that the branch still deploys the app, and is still where the push found it.
///
/// # Errors
/// `PushError::WrongBranch`, `PushError::Refused`.
pub(super) async fn check_branch(deploy: &ActiveDeploy<'_>, push: &Push) -> Result<()> {
    let app = &deploy.app;
    if let Some(deploy_branch) = &app.deploy_branch
        && *deploy_branch != push.branch
    {
        return Err(Error::Push(PushError::WrongBranch {
            app: app.name.clone(),
            deploy_branch: deploy_branch.to_string(),
            pushed: push.branch.to_string(),
        }));
    }
    let repository = deploy.instance.settings.paths.repository(&app.name);
    let Push { branch, commit, old_commit, .. } = push.clone();
    // It may have to look through the whole history.
    let work = Work::new(limits(deploy)?);
    let moved = work.aside(move || git::moved_away(&repository, &branch, old_commit, commit)).await?;
    if let Some(now) = moved {
        return Err(Error::Push(PushError::Refused {
            message: format!("{} moved to {} while this push waited", push.branch, now.short()),
            hint: format!("`git pull --rebase paas {}`, then push again", push.branch),
        }));
    }
    Ok(())
}

/// Opens the commit's tree, straight from git's objects, with its submodules fetched.
///
/// `from`: where the commit comes from, for the log.
pub(super) async fn checkout(deploy: &ActiveDeploy<'_>, commit: CommitId, from: &str) -> Result<Source> {
    deploy.enter(DeployState::Fetching)?;
    let app = &deploy.app.name;
    deploy.log.step(&format!("Deploying {app} {from} ({}), deploy {}", commit.short(), deploy.id));
    let paths = &deploy.instance.settings.paths;
    let repository = paths.repository(app);
    let work = Work::new(limits(deploy)?);
    let tree = Tree::commit(&repository, commit, &paths.submodules(app), &work).await?;
    Ok(Source { tree })
}

/// The limits that the server has set.
fn limits(deploy: &ActiveDeploy<'_>) -> Result<Limits> {
    let instance = deploy.instance;
    Limits::of(|property| instance.number(property, None), |property| instance.is_on(property))
}
