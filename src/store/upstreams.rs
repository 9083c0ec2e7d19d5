use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use rusqlite::Row;

use super::{Tables, corrupt};
use crate::{
    Result,
    model::{AppId, AppName, AppState, Property, property},
};

/// An app that takes requests, and where they go now. Never without an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppUpstreams {
    /// The app.
    pub app: AppName,
    /// Its healthy web containers, by position.
    pub upstreams: Vec<SocketAddrV4>,
}

/// An app that is meant to take requests, and where they go while nobody can say how its containers are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The app.
    pub app: AppName,
    /// Its web containers by position, first those that were well when this was read. Those that failed their checks
    /// are among them only if none was well. Never empty.
    pub upstreams: Vec<SocketAddrV4>,
    /// How many of them were well.
    pub healthy: usize,
}

/// Why an app takes no requests, or that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was never deployed.
    New,
    /// It was stopped on purpose.
    Stopped,
    /// It is meant to run and has no web process.
    WithoutWeb,
    /// It is meant to run and none of its web containers is healthy.
    Unhealthy,
    /// It takes requests.
    Serving,
}

/// What makes a container one that gets requests, as long as it is healthy.
const SERVING: &str =
    "apps.state = 'running' AND containers.state IN ('live', 'suspended') AND containers.process = 'web'";

/// What [`standing`] reads.
const STANDINGS: &str = "SELECT apps.id, apps.name, apps.state, count(containers.id) AS containers,
                                coalesce(sum(containers.healthy), 0) AS healthy
                         FROM apps LEFT JOIN containers ON containers.app_id = apps.id
                              AND apps.state = 'running' AND containers.state IN ('live', 'suspended')
                              AND containers.process = 'web'";

impl Tables<'_> {
    /// Every app that takes requests, by name.
    pub fn all_upstreams(&self) -> Result<Vec<AppUpstreams>> {
        let fallbacks = self.fallbacks()?.into_iter().filter(|fallback| fallback.healthy > 0);
        Ok(fallbacks
            .map(|Fallback { app, mut upstreams, healthy }| {
                upstreams.truncate(healthy);
                AppUpstreams { app, upstreams }
            })
            .collect())
    }

    /// Every app that is meant to take requests, by name, with its web containers whether or not they are well now: for
    /// what is written down and read when that may have changed.
    pub fn fallbacks(&self) -> Result<Vec<Fallback>> {
        let rows: Vec<(AppName, SocketAddrV4, bool, bool)> = self.all(
            &format!(
                "SELECT apps.name AS app, containers.address, containers.port, containers.healthy,
                        containers.failing IS NOT NULL AS failing
                 FROM containers JOIN apps ON apps.id = containers.app_id
                 WHERE {SERVING}
                 ORDER BY apps.name, containers.healthy DESC, failing, containers.position, containers.id"
            ),
            [],
            |row| Ok((row.get("app")?, address(row)?, row.get("healthy")?, row.get("failing")?)),
        )?;
        let mut fallbacks: Vec<Fallback> = Vec::new();
        for (app, upstream, healthy, failing) in rows {
            if fallbacks.last().is_none_or(|last| last.app != app) {
                fallbacks.push(Fallback { app, upstreams: Vec::new(), healthy: 0 });
            }
            let Some(fallback) = fallbacks.last_mut() else { continue };
            // One that is down is passed over by whoever tries it; one that fails takes requests and does not do them.
            if healthy || !failing || fallback.healthy == 0 {
                fallback.upstreams.push(upstream);
            }
            fallback.healthy += usize::from(healthy);
        }
        Ok(fallbacks)
    }

    /// Whether plain HTTP is sent on to HTTPS: for all apps, and for those that it was said of.
    pub fn https_redirects(&self) -> Result<(bool, HashMap<AppId, bool>)> {
        self.switches(&property::HTTPS_REDIRECT)
    }

    /// Whether requests are passed to apps: for all, and for those that it was said of.
    pub fn proxy_switches(&self) -> Result<(bool, HashMap<AppId, bool>)> {
        self.switches(&property::PROXY_ENABLED)
    }

    /// The numbers of all apps, by name.
    pub fn app_ids(&self) -> Result<HashMap<AppName, AppId>> {
        let rows = self.all("SELECT name, id FROM apps", [], |row| Ok((row.get("name")?, row.get("id")?)))?;
        Ok(rows.into_iter().collect())
    }

    /// A switch that is on if nothing is said: for all apps, and for those that it was said of.
    fn switches(&self, property: &'static Property) -> Result<(bool, HashMap<AppId, bool>)> {
        let rows: Vec<(Option<AppId>, String)> = self.all(
            "SELECT app_id, value FROM properties WHERE noun = ?1 AND name = ?2 AND process = ''",
            [property.noun.as_str(), property.name],
            |row| Ok((row.get("app_id")?, row.get("value")?)),
        )?;
        let (mut of_all, mut of_apps) = (true, HashMap::new());
        for (app, value) in rows {
            let is_on = (property.parse)(&value) != Ok(property::Value::Switch(false));
            match app {
                Some(app) => drop(of_apps.insert(app, is_on)),
                None => of_all = is_on,
            }
        }
        Ok((of_all, of_apps))
    }

    /// Where an app's requests go now; empty for one that takes none, or does not exist.
    pub fn upstreams(&self, app: &AppName) -> Result<Vec<SocketAddrV4>> {
        self.all(
            &format!(
                "SELECT containers.address, containers.port
                 FROM containers JOIN apps ON apps.id = containers.app_id
                 WHERE apps.name = ?1 AND {SERVING} AND containers.healthy
                 ORDER BY containers.position, containers.id"
            ),
            [app],
            address,
        )
    }

    /// Every app, with whether it takes requests, and if not, why.
    pub fn standings(&self) -> Result<Vec<(AppId, AppName, Standing)>> {
        self.all(&format!("{STANDINGS} GROUP BY apps.id ORDER BY apps.name"), [], standing)
    }

    /// Whether an app takes requests, and if not, why; nothing for one that does not exist.
    pub fn standing(&self, app: &AppName) -> Result<Option<Standing>> {
        let found = self.maybe_one(&format!("{STANDINGS} WHERE apps.name = ?1 GROUP BY apps.id"), [app], standing)?;
        Ok(found.map(|(.., standing)| standing))
    }
}

/// An app with its standing.
fn standing(row: &Row<'_>) -> rusqlite::Result<(AppId, AppName, Standing)> {
    let (containers, healthy): (u32, u32) = (row.get("containers")?, row.get("healthy")?);
    let standing = match row.get("state")? {
        AppState::New => Standing::New,
        AppState::Stopped => Standing::Stopped,
        AppState::Running if containers == 0 => Standing::WithoutWeb,
        AppState::Running if healthy == 0 => Standing::Unhealthy,
        AppState::Running => Standing::Serving,
    };
    Ok((row.get("id")?, row.get("name")?, standing))
}

fn address(row: &Row<'_>) -> rusqlite::Result<SocketAddrV4> {
    let ip: Ipv4Addr = row.get::<_, String>("address")?.parse().map_err(corrupt)?;
    Ok(SocketAddrV4::new(ip, row.get("port")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn an_app_without_containers_has_a_standing_and_no_route() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let app: AppName = "blog".parse().unwrap();
        let mut standing = |state: Option<AppState>| {
            store
                .write(|tables| {
                    if let Some(state) = state {
                        let id = tables
                            .find_app(&app)?
                            .map_or_else(|| tables.create_app(&app).map(|app| app.id), |app| Ok(app.id))?;
                        tables.set_app_state(id, state)?;
                    }
                    assert!(tables.all_upstreams()?.is_empty());
                    assert!(tables.upstreams(&app)?.is_empty());
                    assert_eq!(tables.standings()?.first().map(|(.., standing)| *standing), tables.standing(&app)?);
                    tables.standing(&app)
                })
                .unwrap()
        };
        assert_eq!(standing(None), None);
        assert_eq!(standing(Some(AppState::New)), Some(Standing::New));
        assert_eq!(standing(Some(AppState::Stopped)), Some(Standing::Stopped));
        assert_eq!(standing(Some(AppState::Running)), Some(Standing::WithoutWeb));
    }
}
