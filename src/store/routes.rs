use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Result, clock,
    model::{Actor, Domain, RouteId, RouteOptions, RouteSource, RouteTarget},
};

/// A route, with where its targets are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoute {
    /// Its number.
    pub id: RouteId,
    /// What comes in by it.
    pub source: RouteSource,
    /// What is set of it, by word.
    pub set: BTreeMap<String, String>,
    /// The same, read.
    pub options: RouteOptions,
    /// Whether it is followed.
    pub enabled: bool,
    /// Who added it.
    pub actor: Actor,
    /// When, in milliseconds since 1970.
    pub added_at: i64,
    /// Where it leads.
    pub targets: Vec<TargetState>,
}

impl StoredRoute {
    /// Where it leads, by what was typed.
    pub fn typed_targets(&self) -> Vec<RouteTarget> {
        self.targets.iter().map(|state| state.target.clone()).collect()
    }

    /// The addresses that are well, in the order of its targets, each once.
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        let mut upstreams = Vec::new();
        for state in &self.targets {
            for address in &state.addresses {
                let upstream = SocketAddr::new(*address, state.target.port);
                if !upstreams.contains(&upstream) {
                    upstreams.push(upstream);
                }
            }
        }
        upstreams
    }
}

/// A target of a route, and where it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetState {
    /// As it was typed.
    pub target: RouteTarget,
    /// Its addresses that are well.
    pub addresses: Vec<IpAddr>,
    /// Why there is none, or not all.
    pub failing: Option<String>,
    /// Since when this is so, in milliseconds since 1970.
    pub since: i64,
}

impl Tables<'_> {
    /// All routes: by host, the longest path first; then by port.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn routes(&self) -> Result<Vec<StoredRoute>> {
        let mut targets: BTreeMap<RouteId, Vec<TargetState>> = BTreeMap::new();
        let rows = self.all("SELECT * FROM route_targets ORDER BY route_id, position", [], |row| {
            Ok((row.get::<_, RouteId>("route_id")?, target_state(row)?))
        })?;
        for (route, state) in rows {
            targets.entry(route).or_default().push(state);
        }
        let mut all = self.all("SELECT * FROM routes ORDER BY id", [], |row| {
            let set: BTreeMap<String, String> =
                serde_json::from_str(&row.get::<_, String>("options")?).map_err(corrupt)?;
            let id = row.get("id")?;
            Ok(StoredRoute {
                id,
                source: row.get::<_, String>("source")?.parse().map_err(corrupt)?,
                options: RouteOptions::of(&set).map_err(corrupt)?,
                set,
                enabled: row.get("enabled")?,
                actor: row.get("actor")?,
                added_at: row.get("added_at")?,
                targets: targets.remove(&id).unwrap_or_default(),
            })
        })?;
        all.sort_by_cached_key(|route| match &route.source {
            RouteSource::Http { host, path } => {
                let path = path.as_ref().map_or("", |path| path.as_str());
                (0, host.to_string(), usize::MAX - path.len(), path.to_owned())
            }
            RouteSource::Tcp(port) => (1, String::new(), usize::from(*port), String::new()),
        });
        Ok(all)
    }

    /// A route by what comes in by it.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn find_route(&self, source: &RouteSource) -> Result<Option<StoredRoute>> {
        Ok(self.routes()?.into_iter().find(|route| route.source == *source))
    }

    /// Whether a host is that of routes.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn is_routed(&self, host: &Domain) -> Result<bool> {
        self.one("SELECT EXISTS (SELECT 1 FROM routes WHERE host = ?1)", [host.to_string()], |row| row.get(0))
    }

    /// Adds a route, or exchanges what there was. Its targets are where they are said to be.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_route(
        &self,
        source: &RouteSource,
        set: &BTreeMap<String, String>,
        targets: &[TargetState],
        actor: &Actor,
    ) -> Result<RouteId> {
        let options = serde_json::to_string(set).map_err(crate::Error::bug)?;
        let host = source.host().map(Domain::to_string);
        let id: RouteId = self.one(
            "INSERT INTO routes (source, host, options, actor, added_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (source) DO UPDATE SET options = excluded.options RETURNING id",
            params![source.to_string(), host, options, actor, clock::now()],
            |row| row.get(0),
        )?;
        self.execute("DELETE FROM route_targets WHERE route_id = ?1", [id])?;
        for (position, state) in (0_i64..).zip(targets) {
            self.execute(
                "INSERT INTO route_targets (route_id, position, target, addresses, failing, since)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![id, position, state.target.to_string(), json(&state.addresses)?, state.failing, state.since],
            )?;
        }
        Ok(id)
    }

    /// Has a route followed, or not; says whether that is a change.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn enable_route(&self, id: RouteId, enabled: bool) -> Result<bool> {
        self.execute("UPDATE routes SET enabled = ?2 WHERE id = ?1 AND enabled <> ?2", params![id, enabled])
            .map(|changed| changed > 0)
    }

    /// Removes a route.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn remove_route(&self, id: RouteId) -> Result<()> {
        self.execute("DELETE FROM routes WHERE id = ?1", [id]).map(drop)
    }

    /// Notes where a target of a route is now; says whether that is a change. One that the route does not have any more is
    /// let be.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn note_target(&self, route: RouteId, state: &TargetState) -> Result<bool> {
        self.execute(
            "UPDATE route_targets SET addresses = ?3, failing = ?4, since = ?5
             WHERE route_id = ?1 AND target = ?2 AND (addresses <> ?3 OR failing IS NOT ?4)",
            params![route, state.target.to_string(), json(&state.addresses)?, state.failing, state.since],
        )
        .map(|changed| changed > 0)
    }
}

fn json(addresses: &[IpAddr]) -> Result<String> {
    serde_json::to_string(addresses).map_err(crate::Error::bug)
}

fn target_state(row: &Row<'_>) -> rusqlite::Result<TargetState> {
    Ok(TargetState {
        target: row.get::<_, String>("target")?.parse().map_err(corrupt)?,
        addresses: serde_json::from_str(&row.get::<_, String>("addresses")?).map_err(corrupt)?,
        failing: row.get("failing")?,
        since: row.get("since")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn routes_have_targets_that_move() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let done: Result<()> = store.write(|tables| {
            let state = |target: &str, addresses: &[&str]| TargetState {
                target: target.parse().unwrap(),
                addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
                failing: addresses.is_empty().then(|| "it is down".to_owned()),
                since: 1,
            };
            let set = BTreeMap::from([("health".to_owned(), "/up".to_owned())]);
            for source in ["tcp:99", "tcp:98", "a.example", "a.example/a", "a.example/a/b"] {
                let targets = [state("b.example:80", &["10.0.0.1", "10.0.0.2"]), state("container:xy:80", &[])];
                let set = if source == "a.example" { &set } else { &BTreeMap::new() };
                tables.set_route(&source.parse()?, set, &targets, &Actor::Daemon)?;
            }
            let all = tables.routes()?;
            let sources: Vec<String> = all.iter().map(|route| route.source.to_string()).collect();
            assert_eq!(sources, ["a.example/a/b", "a.example/a", "a.example", "tcp:98", "tcp:99"]);
            assert_eq!(all[2].upstreams(), ["10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap()]);
            assert!(tables.is_routed(&"a.example".parse()?)? && !tables.is_routed(&"b.example".parse()?)?);
            let id = all[2].id;
            let moved = state("container:xy:80", &["10.0.0.9"]);
            assert!(tables.note_target(id, &moved)? && !tables.note_target(id, &moved)?);
            assert!(!tables.note_target(id, &state("other.example:80", &["10.0.0.9"]))?);
            assert!(tables.enable_route(id, false)? && !tables.enable_route(id, false)?);
            let again = tables.set_route(&"a.example".parse()?, &set, std::slice::from_ref(&moved), &Actor::Daemon)?;
            let route = tables.find_route(&"a.example".parse()?)?.unwrap();
            assert_eq!((again, route.enabled, &route.targets), (id, false, &vec![moved]));
            tables.remove_route(id)?;
            assert_eq!(tables.find_route(&"a.example".parse()?)?, None);
            Ok(())
        });
        done.unwrap();
    }
}
