use std::net::{Ipv4Addr, SocketAddrV4};

use rusqlite::Row;

use super::{Tables, corrupt};
use crate::{
    Result,
    model::{AppName, AppState},
};

/// An app that takes requests, and where they go now. Never without an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The app.
    pub app: AppName,
    /// Its healthy web containers, by position.
    pub upstreams: Vec<SocketAddrV4>,
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

impl Tables<'_> {
    /// Every app that takes requests, by name.
    pub fn routes(&self) -> Result<Vec<Route>> {
        self.routes_where("AND containers.healthy")
    }

    /// Every app that is meant to take requests, by name, with its web containers whether or not they are well now, those
    /// that are first: for what is written down and read when that may have changed.
    pub fn fallbacks(&self) -> Result<Vec<Route>> {
        self.routes_where("")
    }

    fn routes_where(&self, condition: &str) -> Result<Vec<Route>> {
        let rows: Vec<(AppName, SocketAddrV4)> = self.all(
            &format!(
                "SELECT apps.name AS app, containers.address, containers.port
                 FROM containers JOIN apps ON apps.id = containers.app_id
                 WHERE {SERVING} {condition}
                 ORDER BY apps.name, containers.healthy DESC, containers.position, containers.id"
            ),
            [],
            |row| Ok((row.get("app")?, address(row)?)),
        )?;
        let mut routes: Vec<Route> = Vec::new();
        for (app, upstream) in rows {
            match routes.last_mut() {
                Some(route) if route.app == app => route.upstreams.push(upstream),
                _ => routes.push(Route { app, upstreams: vec![upstream] }),
            }
        }
        Ok(routes)
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

    /// Whether an app takes requests, and if not, why; nothing for one that does not exist.
    pub fn standing(&self, app: &AppName) -> Result<Option<Standing>> {
        let Some(found) = self.find_app(app)? else { return Ok(None) };
        let (containers, healthy): (u32, u32) = self.one(
            &format!(
                "SELECT count(*) AS containers, coalesce(sum(containers.healthy), 0) AS healthy
                 FROM containers JOIN apps ON apps.id = containers.app_id
                 WHERE apps.id = ?1 AND {SERVING}"
            ),
            [found.id],
            |row| Ok((row.get("containers")?, row.get("healthy")?)),
        )?;
        Ok(Some(match found.state {
            AppState::New => Standing::New,
            AppState::Stopped => Standing::Stopped,
            AppState::Running if containers == 0 => Standing::WithoutWeb,
            AppState::Running if healthy == 0 => Standing::Unhealthy,
            AppState::Running => Standing::Serving,
        }))
    }
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
                    assert!(tables.routes()?.is_empty());
                    assert!(tables.upstreams(&app)?.is_empty());
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
