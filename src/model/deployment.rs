use std::fmt;

use super::{Actor, AppId, BranchName, CommitId, DeployId, ReleaseVersion, names::words};

/// What stopped a deployment before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody canceled it.
    Canceled(Actor),
    /// A newer push of the same app took its place in line.
    Superseded(DeployId),
}

impl Stop {
    /// The state in which it ends the deployment.
    pub fn end(&self) -> DeployState {
        match self {
            Stop::Canceled(_) => DeployState::Canceled,
            Stop::Superseded(_) => DeployState::Superseded,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Canceled(actor) => write!(formatter, "the deploy was canceled by {actor}"),
            Stop::Superseded(id) => write!(formatter, "superseded by deploy {id}, a newer push of the same app"),
        }
    }
}

words! {
    /// The states of a deployment, in the order they are gone through; the last four are ends.
    DeployState, "deploy state", {
        /// Waiting for the app's lock.
        Queued = "queued",
        /// Reading the source.
        Fetching = "fetching",
        /// Building the image.
        Building = "building",
        /// Cutting the release.
        Releasing = "releasing",
        /// Starting containers.
        Starting = "starting",
        /// Waiting until they are healthy.
        Checking = "checking",
        /// Committed to the new release: the point of no return.
        Switching = "switching",
        /// Live; the old containers are being drained.
        Draining = "draining",
        /// Over, and live.
        Succeeded = "succeeded",
        /// Over; what ran before still runs.
        Failed = "failed",
        /// Over, on request; what ran before still runs.
        Canceled = "canceled",
        /// Over; a newer deploy of the same app took its place in line.
        Superseded = "superseded",
    }
}

/// Where in its life a deployment is, as far as what may be done to it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the switch: it can be undone.
    Undoable,
    /// After the switch: it can only be finished.
    Committed,
    /// Over.
    Ended,
}

impl DeployState {
    /// What may be done to a deployment in this state.
    pub fn phase(self) -> Phase {
        match self {
            state if state < DeployState::Switching => Phase::Undoable,
            DeployState::Switching | DeployState::Draining => Phase::Committed,
            _ => Phase::Ended,
        }
    }
}

words! {
    /// Why a deployment was made.
    DeploymentKind, "deployment kind", {
        /// `git push`.
        Push = "push",
        /// A new build of the commit that serves.
        Rebuild = "rebuild",
        /// A change of config.
        Config = "config",
        /// A change of checks, limits or the like.
        Settings = "settings",
        /// Back to a former release.
        Rollback = "rollback",
        /// More or fewer containers.
        Scale = "scale",
        /// A restart, or a start after a stop.
        Restart = "restart",
    }
}

/// A deployment, as the database has it.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Its number.
    pub id: DeployId,
    /// The app it changes.
    pub app_id: AppId,
    /// Why it was made.
    pub kind: DeploymentKind,
    /// Where it stands.
    pub state: DeployState,
    /// Who asked for it.
    pub actor: Actor,
    /// The branch pushed.
    pub branch: Option<BranchName>,
    /// The commit pushed.
    pub commit: Option<CommitId>,
    /// The release it cut.
    pub release: Option<ReleaseVersion>,
    /// Why it failed, in one line.
    pub error: Option<String>,
    /// When it was asked for, in milliseconds since 1970.
    pub created_at: i64,
    /// When it ended, or became live.
    pub finished_at: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_divides_what_can_be_undone_from_what_must_be_finished() {
        assert_eq!(DeployState::Checking.phase(), Phase::Undoable);
        assert_eq!(DeployState::Switching.phase(), Phase::Committed);
        assert_eq!(DeployState::Draining.phase(), Phase::Committed);
        assert_eq!(DeployState::Canceled.phase(), Phase::Ended);
    }

    #[test]
    fn states_are_read_back_as_written() -> crate::Result<()> {
        for state in DeployState::ALL {
            assert_eq!(state.as_str().parse::<DeployState>()?, state);
        }
        assert!("Queued".parse::<DeployState>().is_err());
        Ok(())
    }
}
