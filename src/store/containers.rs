use std::{
    collections::{BTreeSet, HashSet},
    net::Ipv4Addr,
};

use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Error, Result, clock,
    error::UsageError,
    model::{AppId, AppName, ContainerId, DeployId, ProcessType, ReleaseId, RestartPolicy, RunSettings, Subnet, words},
};

/// How long an address rests before another container gets it, in milliseconds: connections to the old one must
/// not meet the new one.
const ADDRESS_REST_MS: i64 = 60_000;

words! {
    /// What a container is to its app.
    ContainerState, "container state", {
        /// Started by a deployment that has not switched.
        Candidate = "candidate",
        /// Of the release that serves.
        Live = "live",
        /// Of the release that serves, stopped to make way for a deployment that has not switched.
        Suspended = "suspended",
        /// Of a former release: it gets no new request and is on its way out.
        Draining = "draining",
        /// Runs a command once, and is no part of what serves.
        Once = "once",
    }
}

/// A container, as the database has it: made, about to be made, or about to be removed.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its row.
    pub id: ContainerId,
    /// Its app.
    pub app_id: AppId,
    /// Its app's name.
    pub app: AppName,
    /// Its release.
    pub release_id: ReleaseId,
    /// The deployment that made it.
    pub deployment_id: DeployId,
    /// Its process type.
    pub process: ProcessType,
    /// Its place among those of its type, from 1.
    pub position: u32,
    /// Its name in the engine.
    pub name: String,
    /// Its address in the instance's network.
    pub address: Ipv4Addr,
    /// The port it listens on, if it is a web process.
    pub port: u16,
    /// What it is to its app.
    pub state: ContainerState,
    /// Whether it may get requests.
    pub healthy: bool,
    /// Why it fails its checks, though it runs.
    pub failing: Option<String>,
    /// Whether it ended and is meant to stay so.
    pub ended: bool,
    /// Whether it is started again when it ends.
    pub restart: RestartPolicy,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout: u32,
    /// Seconds that requests in flight may go on before SIGTERM.
    pub drain_timeout: u32,
    /// When it began to drain, in milliseconds since 1970.
    pub retired_at: Option<i64>,
}

impl Container {
    /// Whether it is of the release that serves, and meant to run.
    pub fn is_live(&self) -> bool {
        self.state == ContainerState::Live
    }

    /// Process type and position, as people see it: `web.1`.
    pub fn label(&self) -> String {
        format!("{}.{}", self.process, self.position)
    }
}

/// What a container's row is made from.
#[derive(Clone, Debug)]
pub struct NewContainer<'a> {
    /// Its app.
    pub app_id: AppId,
    /// Its release.
    pub release_id: ReleaseId,
    /// The deployment that makes it.
    pub deployment_id: DeployId,
    /// Its process type.
    pub process: &'a ProcessType,
    /// How it runs.
    pub run: &'a RunSettings,
    /// Its place among those of its type, from 1.
    pub position: u32,
    /// Its name in the engine.
    pub name: &'a str,
    /// The port it listens on.
    pub port: u16,
}

const SELECT: &str = "SELECT containers.id, containers.app_id, apps.name AS app, containers.release_id, \
                      containers.deployment_id, containers.process, containers.position, containers.name, \
                      containers.address, containers.port, containers.state, containers.healthy, containers.retired_at, \
                      containers.restart, containers.stop_timeout, containers.drain_timeout, containers.ended, \
                      containers.failing \
                      FROM containers JOIN apps ON apps.id = containers.app_id";

impl Tables<'_> {
    /// Writes the row of a container that is about to be made, with an address that no other has or had within the
    /// last minute: round-robin through `subnet`.
    ///
    /// # Errors
    /// [`Error::Store`] where the subnet is used up.
    pub fn add_container(&self, subnet: Subnet, new: &NewContainer<'_>) -> Result<Container> {
        let address = self.next_address(subnet)?;
        let id = self.insert(
            "INSERT INTO containers
                 (app_id, release_id, deployment_id, process, position, name, address, port, state, created_at,
                  restart, stop_timeout, drain_timeout)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'candidate', ?9, ?10, ?11, ?12)",
            params![
                new.app_id,
                new.release_id,
                new.deployment_id,
                new.process,
                new.position,
                new.name,
                address.to_string(),
                new.port,
                clock::now(),
                new.run.restart,
                new.run.stop_timeout_seconds,
                new.run.drain_timeout_seconds,
            ],
        )?;
        self.one(&format!("{SELECT} WHERE containers.id = ?1"), [id], container)
    }

    /// All containers of all apps.
    pub fn containers(&self) -> Result<Vec<Container>> {
        self.all(&format!("{SELECT} ORDER BY containers.id"), [], container)
    }

    /// The addresses of the containers of releases that were made before containers were contained.
    pub fn uncontained_addresses(&self) -> Result<BTreeSet<Ipv4Addr>> {
        let rows = self.all(
            "SELECT users.address FROM (
                 SELECT address, release_id FROM containers
                 UNION ALL SELECT address, release_id FROM runs WHERE address IS NOT NULL
             ) AS users JOIN releases ON releases.id = users.release_id
             WHERE releases.processes NOT LIKE '%\"containment\":{%'",
            [],
            |row| row.get::<_, String>("address")?.parse::<Ipv4Addr>().map_err(corrupt),
        )?;
        Ok(rows.into_iter().collect())
    }

    /// An app's containers, by process type and position.
    pub fn containers_of_app(&self, app_id: AppId) -> Result<Vec<Container>> {
        self.all(
            &format!("{SELECT} WHERE containers.app_id = ?1 ORDER BY process, position, containers.id"),
            [app_id],
            container,
        )
    }

    /// The containers a deployment made.
    pub fn containers_of_deployment(&self, id: DeployId) -> Result<Vec<Container>> {
        self.all(&format!("{SELECT} WHERE containers.deployment_id = ?1 ORDER BY containers.id"), [id], container)
    }

    /// The switch, as far as containers go: the app's others drain, but for those of the deployment, which become
    /// live, and those that are kept, which [`Tables::keep_container`] deals with.
    pub fn switch_containers(&self, app_id: AppId, deployment_id: DeployId, kept: &[ContainerId]) -> Result<()> {
        for container in self.containers_of_app(app_id)? {
            let stays = container.deployment_id == deployment_id || kept.contains(&container.id);
            if !stays && !matches!(container.state, ContainerState::Draining | ContainerState::Once) {
                self.execute(
                    "UPDATE containers SET state = 'draining', retired_at = ?2 WHERE id = ?1",
                    params![container.id, clock::now()],
                )?;
            }
        }
        self.execute(
            "UPDATE containers SET state = 'live' WHERE deployment_id = ?1 AND state = 'candidate'",
            [deployment_id],
        )
        .map(drop)
    }

    /// Makes a live container one of another release, which runs it in the same way but for these settings.
    pub fn keep_container(&self, id: ContainerId, release_id: ReleaseId, run: &RunSettings) -> Result<()> {
        self.execute(
            "UPDATE containers SET release_id = ?2, restart = ?3, stop_timeout = ?4, drain_timeout = ?5 WHERE id = ?1",
            params![id, release_id, run.restart, run.stop_timeout_seconds, run.drain_timeout_seconds],
        )
        .map(drop)
    }

    /// Gives a container another address, because its own is taken.
    ///
    /// # Errors
    /// As [`Tables::add_container`].
    pub fn move_container(&self, id: ContainerId, subnet: Subnet) -> Result<Ipv4Addr> {
        let address = self.next_address(subnet)?;
        self.execute("UPDATE containers SET address = ?2 WHERE id = ?1", params![id, address.to_string()])?;
        Ok(address)
    }

    /// Says what a container is to its app.
    pub fn set_container_state(&self, id: ContainerId, state: ContainerState) -> Result<()> {
        self.execute("UPDATE containers SET state = ?2 WHERE id = ?1", params![id, state]).map(drop)
    }

    /// Says why a container fails its checks, if it does: that decides whether it may get requests.
    pub fn set_failing(&self, id: ContainerId, failing: Option<&str>) -> Result<()> {
        self.execute("UPDATE containers SET failing = ?2, healthy = ?2 IS NULL WHERE id = ?1", params![id, failing])
            .map(drop)
    }

    /// Says why a container gets no requests though it runs, if one of these others gets some. Returns whether that is so.
    pub fn set_failing_beside(&self, id: ContainerId, failing: &str, others: &[ContainerId]) -> Result<bool> {
        for other in others {
            let serves = "SELECT id FROM containers WHERE id = ?1 AND state = 'live' AND healthy";
            if self.maybe_one(serves, [other], |row| row.get::<_, ContainerId>("id"))?.is_some() {
                self.set_failing(id, Some(failing))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says whether a container ended and is meant to stay so.
    pub fn set_ended(&self, id: ContainerId, ended: bool) -> Result<()> {
        self.execute("UPDATE containers SET ended = ?2 WHERE id = ?1", params![id, ended]).map(drop)
    }

    /// Sends all containers of an app on their way out, but for those that run a command once.
    pub fn retire_containers(&self, app_id: AppId) -> Result<()> {
        self.execute(
            "UPDATE containers SET state = 'draining', retired_at = ?2 WHERE app_id = ?1
                 AND state NOT IN ('draining', 'once')",
            params![app_id, clock::now()],
        )
        .map(drop)
    }

    /// Sends a container its requests on another port.
    pub fn set_container_port(&self, id: ContainerId, port: u16) -> Result<()> {
        self.execute("UPDATE containers SET port = ?2 WHERE id = ?1", params![id, port]).map(drop)
    }

    /// Says whether a container may get requests.
    pub fn set_healthy(&self, id: ContainerId, healthy: bool) -> Result<()> {
        self.execute("UPDATE containers SET healthy = ?2 WHERE id = ?1", params![id, healthy]).map(drop)
    }

    /// Deletes the row of a container that is gone, and lets its address rest.
    pub fn remove_container(&self, id: ContainerId) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO released_addresses (address, released_at)
             SELECT address, ?2 FROM containers WHERE id = ?1",
            params![id, clock::now()],
        )?;
        self.execute("DELETE FROM containers WHERE id = ?1", [id]).map(drop)
    }

    pub(super) fn next_address(&self, subnet: Subnet) -> Result<Ipv4Addr> {
        let rested = clock::now() - ADDRESS_REST_MS;
        self.execute("DELETE FROM released_addresses WHERE released_at < ?1", [rested])?;
        let taken: HashSet<String> = self
            .all(
                "SELECT address FROM containers UNION SELECT address FROM released_addresses
                  UNION SELECT address FROM runs WHERE address IS NOT NULL",
                [],
                |row| row.get("address"),
            )?
            .into_iter()
            .collect();
        let start: u32 = self.meta("next_address")?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let free = (0..subnet.host_count())
            .map(|offset| (start.wrapping_add(offset)) % subnet.host_count())
            .find(|index| !taken.contains(&subnet.host(*index).to_string()));
        let Some(index) = free else {
            return Err(Error::Usage(UsageError::Settings {
                message: format!("PAAS_SUBNET: all {} addresses of {subnet} are in use", subnet.host_count()),
            }));
        };
        self.set_meta("next_address", &((index + 1) % subnet.host_count()).to_string())?;
        Ok(subnet.host(index))
    }
}

fn container(row: &Row<'_>) -> rusqlite::Result<Container> {
    Ok(Container {
        id: row.get("id")?,
        app_id: row.get("app_id")?,
        app: row.get("app")?,
        release_id: row.get("release_id")?,
        deployment_id: row.get("deployment_id")?,
        process: row.get("process")?,
        position: row.get("position")?,
        name: row.get("name")?,
        address: row.get::<_, String>("address")?.parse().map_err(corrupt)?,
        port: row.get("port")?,
        state: row.get("state")?,
        healthy: row.get("healthy")?,
        failing: row.get("failing")?,
        ended: row.get("ended")?,
        restart: row.get("restart")?,
        stop_timeout: row.get("stop_timeout")?,
        drain_timeout: row.get("drain_timeout")?,
        retired_at: row.get("retired_at")?,
    })
}
