use std::net::IpAddr;

use super::{Actor, AppName, DeployState, Door, OperationId, Phase, names::words};

words! {
    /// What an operation does.
    OperationKind, "kind of operation", {
        /// A deployment of what was pushed.
        Push = "push",
        /// A deployment of a new build of the commit that serves.
        Rebuild = "rebuild",
        /// A deployment of a change of config.
        Config = "config",
        /// A deployment of a change of properties.
        Settings = "settings",
        /// A deployment of a former release.
        Rollback = "rollback",
        /// A deployment of more or fewer containers.
        Scale = "scale",
        /// A deployment of what serves, in new containers.
        Restart = "restart",
        /// The stop of an app.
        Stop = "stop",
        /// The end of an app.
        Destroy = "destroy",
        /// The removal of what no app needs.
        Cleanup = "cleanup",
    }
}

words! {
    /// Where an operation stands.
    OperationState, "state of an operation", {
        /// It waits for its turn.
        Queued = "queued",
        /// It is at work.
        Running = "running",
        /// It is over, and done.
        Succeeded = "succeeded",
        /// It is over; what it changed is undone.
        Failed = "failed",
        /// It is over, on request.
        Canceled = "canceled",
        /// It is over; a newer one took its place.
        Superseded = "superseded",
        /// It is over, because the process that ran it died.
        Interrupted = "interrupted",
    }
}

impl OperationKind {
    /// Whether it is a deployment.
    pub fn is_deployment(self) -> bool {
        match self {
            OperationKind::Push
            | OperationKind::Rebuild
            | OperationKind::Config
            | OperationKind::Settings
            | OperationKind::Rollback
            | OperationKind::Scale
            | OperationKind::Restart => true,
            OperationKind::Stop | OperationKind::Destroy | OperationKind::Cleanup => false,
        }
    }
}

impl OperationState {
    /// Whether it is over.
    pub fn is_end(self) -> bool {
        self > OperationState::Running
    }
}

/// An operation, as the database has it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// What it does.
    pub kind: OperationKind,
    /// The app that it is about; none: the server, or an app that is gone.
    pub app: Option<AppName>,
    /// What it is about: `app:blog`, `server`.
    pub subject: String,
    /// Who asked for it.
    pub actor: Actor,
    /// By which door.
    pub door: Door,
    /// From where, if the door is one of the network's.
    pub address: Option<IpAddr>,
    /// Where it stands.
    pub state: OperationState,
    /// What it is at, if it runs.
    pub step: Option<String>,
    /// What it came to, as JSON.
    pub result: Option<String>,
    /// Why it failed, in one line.
    pub error: Option<String>,
    /// When it was asked for, in milliseconds since 1970.
    pub created_at: i64,
    /// When it ended, or became live.
    pub finished_at: Option<i64>,
}

impl Operation {
    /// Whether it can be stopped now: while it waits for its turn, and at work as long as that can be undone.
    pub fn is_cancelable(&self) -> bool {
        match self.state {
            OperationState::Queued => true,
            OperationState::Running => match self.kind {
                OperationKind::Cleanup => true,
                OperationKind::Stop | OperationKind::Destroy => false,
                _ => self
                    .step
                    .as_deref()
                    .and_then(|step| step.parse::<DeployState>().ok())
                    .is_some_and(|state| state.phase() == Phase::Undoable),
            },
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::DeploymentKind, *};

    #[test]
    fn every_deployment_is_an_operation_of_the_same_word() {
        for kind in DeploymentKind::ALL {
            let operation: OperationKind = kind.as_str().parse().unwrap();
            assert!(operation.is_deployment());
        }
        assert_eq!(
            OperationKind::ALL.into_iter().filter(|kind| kind.is_deployment()).count(),
            DeploymentKind::ALL.len()
        );
    }
}
