//! What Docker says of containers, beside what the database says: reports tell where the two differ.

use std::{collections::HashMap, time::Duration};

use crate::{
    engine::Engine,
    instance::Instance,
    model::{AppName, Condition, Status},
    store::Container,
};

/// How long Docker may take to say how containers are, in a report that is complete without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What Docker says of containers.
pub(super) enum Seen {
    /// It does not answer.
    Nothing,
    /// How each of them is, by name.
    All(HashMap<String, String>),
    /// How those are that do not run, by name. That one is gone is not in it.
    NotRunning(HashMap<String, String>),
}

impl Seen {
    /// Asks how the containers of an app are, or those of all apps.
    pub async fn containers(instance: &Instance, app: Option<&AppName>) -> Seen {
        let asked = async { Engine::for_a_look(&instance.settings)?.states(&instance.id, app).await };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(states)) => Seen::All(states),
            Ok(Err(_)) | Err(_) => Seen::Nothing,
        }
    }

    /// Asks how the containers of all apps are, in the shortest way. A daemon that runs notices at once that one is gone, so
    /// that Docker need not list all that are there.
    pub async fn in_short(instance: &Instance) -> Seen {
        if !instance.daemon_runs() {
            return Seen::containers(instance, None).await;
        }
        let asked = async { Engine::for_a_look(&instance.settings)?.states_but_running(&instance.id).await };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(states)) => Seen::NotRunning(states),
            Ok(Err(_)) | Err(_) => Seen::Nothing,
        }
    }

    /// What Docker says of a container that is meant to run, if that is something else.
    pub fn differs(&self, container: &Container) -> Option<Status> {
        if !container.is_live() || container.ended {
            return None;
        }
        let failed = |reason: &str| Some(Status::of(Condition::Failed).because(reason));
        match self {
            Seen::Nothing => None,
            Seen::All(states) | Seen::NotRunning(states) => match states.get(&container.name).map(String::as_str) {
                Some("running") => None,
                Some(word) => failed(word),
                None if matches!(self, Seen::All(_)) => failed(GONE),
                None => None,
            },
        }
    }

    /// Whether Docker says that it has no such container.
    pub fn is_gone(&self, container: &Container) -> bool {
        self.differs(container).is_some_and(|status| status.reason.as_deref() == Some(GONE))
    }

    /// How many of some containers are meant to run, and how many of these do it well.
    pub fn health<'a>(&self, containers: impl IntoIterator<Item = &'a Container>) -> (u32, u32) {
        let meant = containers.into_iter().filter(|container| container.is_live() && !container.ended);
        meant.fold((0, 0), |(all, healthy), container| {
            (all + 1, healthy + u32::from(container.healthy && self.differs(container).is_none()))
        })
    }
}

/// What is said of a container that Docker does not have.
const GONE: &str = "gone: Docker has no such container";
