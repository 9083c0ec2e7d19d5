use super::{Advice, Kind};
use crate::model::AppName;

/// Why a push does not deploy.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// A push of a branch that is not the deploy branch.
    #[error("{app} deploys from {deploy_branch}, not from {pushed}")]
    WrongBranch {
        /// The app.
        app: AppName,
        /// The branch that deploys.
        deploy_branch: String,
        /// The branch that was pushed.
        pushed: String,
    },
    /// A push that cannot be a deploy: tags alone, two branches, a deletion.
    #[error("{message}")]
    Refused {
        /// What was pushed, and why it does not deploy.
        message: String,
        /// What to push instead.
        hint: String,
    },
    /// A push to an app that does not exist, with creation on push turned off.
    #[error("there is no app named {app}, and this server does not create apps on push")]
    NoApp {
        /// The app.
        app: AppName,
    },
}

impl PushError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            PushError::WrongBranch { app, deploy_branch, pushed } => Advice::new(
                Kind::Conflict,
                format!(
                    "`git push paas HEAD:{deploy_branch}` deploys what you have checked out once; \
                     `paas apps:set {app} deploy-branch {pushed}` makes it the deploy branch"
                ),
            ),
            PushError::Refused { hint, .. } => Advice::new(Kind::Conflict, hint),
            PushError::NoApp { app } => {
                Advice::new(Kind::NotFound, format!("`paas apps:create {app}` first, then push again"))
            }
        }
    }
}
