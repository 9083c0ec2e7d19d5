//! The first step: the files of the commit.

use super::{Push, deployment::ActiveDeploy};
use crate::{
    Error, Result,
    error::PushError,
    git,
    instance::Instance,
    model::{AppName, CommitId, DeployState, Override, property},
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
pub(super) async fn check_branch(deploy: &ActiveDeploy<'_>, push: &Push, work: &Work) -> Result<()> {
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
pub(super) async fn checkout(deploy: &ActiveDeploy<'_>, commit: CommitId, from: &str, work: &Work) -> Result<Source> {
    deploy.enter(DeployState::Fetching)?;
    let app = &deploy.app.name;
    deploy.log.step(&format!("Deploying {app} {from} ({}), deploy {}", commit.short(), deploy.id));
    let paths = &deploy.instance.settings.paths;
    let tree = Tree::commit(&paths.repository(app), commit, &paths.submodules(app), work).await?;
    Ok(Source { tree })
}

/// The files of a commit that was deployed before, for who looks at them.
///
/// # Errors
/// What reading them says.
pub async fn look_at(instance: &Instance, app: &AppName, commit: CommitId) -> Result<Tree> {
    let paths = &instance.settings.paths;
    Tree::commit(&paths.repository(app), commit, &paths.submodules(app), &work(instance)?).await
}

/// What is done with what the repository holds, within the limits that the server has set.
pub(super) fn work(instance: &Instance) -> Result<Work> {
    let settings = &instance.settings;
    let rows = instance.read(|tables| tables.properties(None))?;
    let set: Vec<Override> = rows.into_iter().map(|row| row.set).collect();
    let limits = Limits::read(|property| {
        let given = settings.given(property.name).map(|given| given.value.as_str());
        let set = property::nearest(&set, property, None).map(|row| row.value.as_str());
        given.or(set).unwrap_or_else(|| property.default.words()).to_owned()
    });
    Ok(Work::new(limits?))
}
