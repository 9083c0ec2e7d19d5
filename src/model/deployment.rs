use std::fmt;

use serde::Serialize;

use super::{Actor, BranchName, CommitId, ReleaseVersion};
use super::{Invalid, Result};

/// The number of a deployment within the instance, counted from 1.
pub type DeployId = OperationId;
/// The number of an operation within the instance, counted from 1.
pub type OperationId = i64;

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

/// The states of a deployment, in the order they are gone through; the last four are ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeployState {
    /// Waiting for the app's lock.
    Queued,
    /// Reading the source.
    Fetching,
    /// Building the image.
    Building,
    /// Cutting the release.
    Releasing,
    /// Starting containers.
    Starting,
    /// Waiting until they are healthy.
    Checking,
    /// Committed to the new release: the point of no return.
    Switching,
    /// Live; the old containers are being drained.
    Draining,
    /// Over, and live.
    Succeeded,
    /// Over; what ran before still runs.
    Failed,
    /// Over, on request; what ran before still runs.
    Canceled,
    /// Over; a newer deploy of the same app took its place in line.
    Superseded,
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
    /// All of them, in order.
    pub const ALL: [DeployState; 12] = [
        DeployState::Queued,
        DeployState::Fetching,
        DeployState::Building,
        DeployState::Releasing,
        DeployState::Starting,
        DeployState::Checking,
        DeployState::Switching,
        DeployState::Draining,
        DeployState::Succeeded,
        DeployState::Failed,
        DeployState::Canceled,
        DeployState::Superseded,
    ];

    /// The word for it, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            DeployState::Queued => "queued",
            DeployState::Fetching => "fetching",
            DeployState::Building => "building",
            DeployState::Releasing => "releasing",
            DeployState::Starting => "starting",
            DeployState::Checking => "checking",
            DeployState::Switching => "switching",
            DeployState::Draining => "draining",
            DeployState::Succeeded => "succeeded",
            DeployState::Failed => "failed",
            DeployState::Canceled => "canceled",
            DeployState::Superseded => "superseded",
        }
    }

    /// Reads the stored word; anything else is an error of the database.
    ///
    /// # Errors
    /// [`Invalid`] where paas does not write such a word.
    pub fn parse(word: &str) -> Result<Self> {
        DeployState::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| Invalid::stored("deploy state", word))
    }

    /// What may be done to a deployment in this state.
    pub fn phase(self) -> Phase {
        match self {
            state if state < DeployState::Switching => Phase::Undoable,
            DeployState::Switching | DeployState::Draining => Phase::Committed,
            _ => Phase::Ended,
        }
    }
}

impl fmt::Display for DeployState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Why a deployment was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentKind {
    /// `git push`.
    Push,
    /// A new build of the commit that serves.
    Rebuild,
    /// A change of config.
    Config,
    /// A change of checks, limits or the like.
    Settings,
    /// Back to a former release.
    Rollback,
    /// More or fewer containers.
    Scale,
    /// A restart, or a start after a stop.
    Restart,
}

impl DeploymentKind {
    /// All of them.
    pub const ALL: [DeploymentKind; 7] = [
        DeploymentKind::Push,
        DeploymentKind::Rebuild,
        DeploymentKind::Config,
        DeploymentKind::Settings,
        DeploymentKind::Rollback,
        DeploymentKind::Scale,
        DeploymentKind::Restart,
    ];

    /// The word for it, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            DeploymentKind::Push => "push",
            DeploymentKind::Rebuild => "rebuild",
            DeploymentKind::Config => "config",
            DeploymentKind::Settings => "settings",
            DeploymentKind::Rollback => "rollback",
            DeploymentKind::Scale => "scale",
            DeploymentKind::Restart => "restart",
        }
    }

    /// What it is in an event: the command, as it is typed.
    pub fn action(self) -> &'static str {
        match self {
            DeploymentKind::Push => "git:push",
            DeploymentKind::Rebuild => "ps:rebuild",
            DeploymentKind::Config => "config:set",
            DeploymentKind::Settings => "ps:set",
            DeploymentKind::Rollback => "releases:rollback",
            DeploymentKind::Scale => "ps:scale",
            DeploymentKind::Restart => "ps:restart",
        }
    }

    /// Reads the stored word; anything else is an error of the database.
    ///
    /// # Errors
    /// [`Invalid`] where paas does not write such a word.
    pub fn parse(word: &str) -> Result<Self> {
        DeploymentKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| Invalid::stored("deployment kind", word))
    }
}

/// A deployment, as the database has it.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Its number.
    pub id: DeployId,
    /// The app it changes.
    pub app_id: i64,
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
    fn states_are_read_back_as_written() -> Result<()> {
        for state in DeployState::ALL {
            assert_eq!(DeployState::parse(state.as_str())?, state);
        }
        Ok(())
    }
}
