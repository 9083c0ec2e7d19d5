use serde::Serialize;

use super::names::words;

words! {
    /// How something is that is meant to run: an app, a container; later a service, a certificate, a node.
    Condition, "status", {
        /// It does what it is there for.
        Live = "live",
        /// It does, but a part of it is down.
        Degraded = "degraded",
        /// It is coming up.
        Starting = "starting",
        /// It was stopped on purpose, or was never started.
        Stopped = "stopped",
        /// It is meant to run and does not.
        Failed = "failed",
        /// What would know does not answer.
        Unknown = "unknown",
    }
}

/// How something is, why, and since when: the one notion of it in all reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// How it is.
    #[serde(rename = "status")]
    pub condition: Condition,
    /// Why, if there is more to say.
    pub reason: Option<String>,
    /// Since when, in RFC 3339, if that is known.
    pub since_at: Option<String>,
}

impl Status {
    /// A status of which there is nothing more to say.
    pub fn of(condition: Condition) -> Status {
        Status { condition, reason: None, since_at: None }
    }

    /// The same, and why.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Status {
        Status { reason: Some(reason.into()), ..self }
    }

    /// In words: `live`, `failed: exit code 1`.
    pub fn words(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}: {reason}", self.condition),
            None => self.condition.to_string(),
        }
    }
}

/// The status of an app, from its live containers.
///
/// `all` of them are meant to serve, `healthy` of them do. `has_crons`: it has something to do without any.
pub fn app_status(state: super::AppState, all: u32, healthy: u32, has_crons: bool) -> Status {
    use super::AppState;
    match state {
        AppState::New => Status::of(Condition::Stopped).because("never deployed"),
        AppState::Stopped => Status::of(Condition::Stopped),
        AppState::Running if all == 0 && has_crons => Status::of(Condition::Live).because("no process, only crons"),
        AppState::Running if all == 0 => Status::of(Condition::Stopped).because("scaled to no container"),
        AppState::Running if healthy == 0 => {
            Status::of(Condition::Failed).because(format!("none of {all} containers is healthy"))
        }
        AppState::Running if healthy < all => {
            Status::of(Condition::Degraded).because(format!("{healthy} of {all} containers are healthy"))
        }
        AppState::Running => Status::of(Condition::Live),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::AppState, *};

    #[test]
    fn an_app_is_as_well_as_its_containers() {
        let words = |state, all, healthy| app_status(state, all, healthy, false).words();
        assert_eq!(words(AppState::New, 0, 0), "stopped: never deployed");
        assert_eq!(words(AppState::Running, 2, 2), "live");
        assert_eq!(words(AppState::Running, 2, 1), "degraded: 1 of 2 containers are healthy");
        assert_eq!(words(AppState::Running, 2, 0), "failed: none of 2 containers is healthy");
        assert_eq!(words(AppState::Stopped, 0, 0), "stopped");
        assert_eq!(words(AppState::Running, 0, 0), "stopped: scaled to no container");
        assert_eq!(app_status(AppState::Running, 0, 0, true).words(), "live: no process, only crons");
        assert_eq!(app_status(AppState::Stopped, 0, 0, true).words(), "stopped");
    }
}
