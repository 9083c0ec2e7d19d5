//! The first step: the files of the pushed commit.

use super::{Deploying, Push};
use crate::{
    Result,
    model::DeployState,
    tree::{self, Tree},
};

/// The files to be built.
pub(super) struct Source {
    pub tree: Tree,
}

/// Opens the commit's tree, straight from git's objects, with its submodules fetched.
pub(super) async fn checkout(deploying: &Deploying<'_>, push: &Push) -> Result<Source> {
    deploying.enter(DeployState::Fetching)?;
    deploying.log.step(&format!(
        "Deploying {} from {} ({}), deploy {}",
        deploying.app.name,
        push.branch,
        push.commit.short(),
        deploying.id
    ));
    let paths = &deploying.instance.settings.paths;
    let repository = paths.repository(&push.app);
    let submodules = tree::fetch(&repository, push.commit, &paths.submodules(&push.app)).await?;
    Ok(Source { tree: Tree::commit(&repository, push.commit, &submodules)? })
}
