use std::{collections::HashSet, net::Ipv4Addr};

use rusqlite::{Row, params};

use super::{Tables, corrupt, parsed};
use crate::{
    Error, Result, clock,
    model::{AppName, DeployId, ProcessType, Subnet},
};

/// How long an address rests before another container gets it, in milliseconds: connections to the old one must
/// not meet the new one.
const ADDRESS_REST_MS: i64 = 60_000;

/// What a container is to its app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Started by a deployment that has not switched.
    Candidate,
    /// Of the release that serves.
    Live,
    /// Of a former release: it gets no new request and is on its way out.
    Draining,
}

impl ContainerState {
    /// The word for it, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            ContainerState::Candidate => "candidate",
            ContainerState::Live => "live",
            ContainerState::Draining => "draining",
        }
    }

    fn parse(word: &str) -> Result<Self> {
        [ContainerState::Candidate, ContainerState::Live, ContainerState::Draining]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| Error::bug(format!("container state {word}")))
    }
}

/// A container, as the database has it: made, about to be made, or about to be removed.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its row.
    pub id: i64,
    /// Its app.
    pub app_id: i64,
    /// Its app's name.
    pub app: AppName,
    /// Its release.
    pub release_id: i64,
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
    /// When it began to drain, in milliseconds since 1970.
    pub retired_at: Option<i64>,
}

impl Container {
    /// Process type and position, as people see it: `web.1`.
    pub fn label(&self) -> String {
        format!("{}.{}", self.process, self.position)
    }
}

/// What a container's row is made from.
#[derive(Clone, Debug)]
pub struct NewContainer<'a> {
    /// Its app.
    pub app_id: i64,
    /// Its release.
    pub release_id: i64,
    /// The deployment that makes it.
    pub deployment_id: DeployId,
    /// Its process type.
    pub process: &'a ProcessType,
    /// Its place among those of its type, from 1.
    pub position: u32,
    /// Its name in the engine.
    pub name: &'a str,
    /// The port it listens on.
    pub port: u16,
}

const SELECT: &str = "SELECT containers.id, containers.app_id, apps.name, containers.release_id, \
                      containers.deployment_id, containers.process, containers.position, containers.name, \
                      containers.address, containers.port, containers.state, containers.healthy, containers.retired_at \
                      FROM containers JOIN apps ON apps.id = containers.app_id";

impl Tables<'_> {
    /// Writes the row of a container that is about to be made, with an address that no other has or had within the
    /// last minute: round-robin through `subnet`.
    ///
    /// # Errors
    /// [`Error::Database`] where the subnet is used up.
    pub fn add_container(&self, subnet: Subnet, new: &NewContainer<'_>) -> Result<Container> {
        let address = self.next_address(subnet)?;
        let id = self.insert(
            "INSERT INTO containers
                 (app_id, release_id, deployment_id, process, position, name, address, port, state, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'candidate', ?9)",
            params![
                new.app_id,
                new.release_id,
                new.deployment_id,
                new.process.as_str(),
                new.position,
                new.name,
                address.to_string(),
                new.port,
                clock::now(),
            ],
        )?;
        self.one(&format!("{SELECT} WHERE containers.id = ?1"), [id], container)
    }

    /// All containers of all apps.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn containers(&self) -> Result<Vec<Container>> {
        self.all(&format!("{SELECT} ORDER BY containers.id"), [], container)
    }

    /// An app's containers, by process type and position.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn containers_of_app(&self, app_id: i64) -> Result<Vec<Container>> {
        self.all(
            &format!("{SELECT} WHERE containers.app_id = ?1 ORDER BY process, position, containers.id"),
            [app_id],
            container,
        )
    }

    /// The containers a deployment made.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn containers_of_deployment(&self, id: DeployId) -> Result<Vec<Container>> {
        self.all(&format!("{SELECT} WHERE containers.deployment_id = ?1 ORDER BY containers.id"), [id], container)
    }

    /// The switch, as far as containers go: those of the deployment become live, the app's others drain.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn switch_containers(&self, app_id: i64, deployment_id: DeployId) -> Result<()> {
        self.execute(
            "UPDATE containers SET state = 'draining', retired_at = ?3
             WHERE app_id = ?1 AND deployment_id <> ?2 AND state <> 'draining'",
            params![app_id, deployment_id, clock::now()],
        )?;
        self.execute("UPDATE containers SET state = 'live' WHERE deployment_id = ?1", [deployment_id]).map(drop)
    }

    /// Sends all containers of an app on their way out.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn retire_containers(&self, app_id: i64) -> Result<()> {
        self.execute(
            "UPDATE containers SET state = 'draining', retired_at = ?2 WHERE app_id = ?1 AND state <> 'draining'",
            params![app_id, clock::now()],
        )
        .map(drop)
    }

    /// Says whether a container may get requests.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn set_healthy(&self, id: i64, healthy: bool) -> Result<()> {
        self.execute("UPDATE containers SET healthy = ?2 WHERE id = ?1", params![id, healthy]).map(drop)
    }

    /// Deletes the row of a container that is gone, and lets its address rest.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn remove_container(&self, id: i64) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO released_addresses (address, released_at)
             SELECT address, ?2 FROM containers WHERE id = ?1",
            params![id, clock::now()],
        )?;
        self.execute("DELETE FROM containers WHERE id = ?1", [id]).map(drop)
    }

    fn next_address(&self, subnet: Subnet) -> Result<Ipv4Addr> {
        let rested = clock::now() - ADDRESS_REST_MS;
        self.execute("DELETE FROM released_addresses WHERE released_at < ?1", [rested])?;
        let taken: HashSet<String> = self
            .all("SELECT address FROM containers UNION SELECT address FROM released_addresses", [], |row| row.get(0))?
            .into_iter()
            .collect();
        let start: u32 = self.meta("next_address")?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let free = (0..subnet.host_count())
            .map(|offset| (start.wrapping_add(offset)) % subnet.host_count())
            .find(|index| !taken.contains(&subnet.host(*index).to_string()));
        let Some(index) = free else {
            return Err(Error::Settings {
                message: format!("PAAS_SUBNET: all {} addresses of {subnet} are in use", subnet.host_count()),
            });
        };
        self.set_meta("next_address", &((index + 1) % subnet.host_count()).to_string())?;
        Ok(subnet.host(index))
    }
}

fn container(row: &Row<'_>) -> rusqlite::Result<Container> {
    Ok(Container {
        id: row.get(0)?,
        app_id: row.get(1)?,
        app: parsed(row.get::<_, String>(2)?)?,
        release_id: row.get(3)?,
        deployment_id: row.get(4)?,
        process: parsed(row.get::<_, String>(5)?)?,
        position: row.get(6)?,
        name: row.get(7)?,
        address: row.get::<_, String>(8)?.parse().map_err(corrupt)?,
        port: row.get(9)?,
        state: ContainerState::parse(&row.get::<_, String>(10)?).map_err(corrupt)?,
        healthy: row.get(11)?,
        retired_at: row.get(12)?,
    })
}
