use std::{collections::BTreeSet, net::Ipv4Addr};

use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Result, clock,
    model::{
        AppId, AppName, AppState, PortMapping, PortScheme, Probe, ProcessSpec, ProcessType, ProxyProtocol, RouteSource,
    },
};

/// A port of this machine that leads to an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPort {
    /// The app.
    pub app_id: AppId,
    /// Its name.
    pub app: AppName,
    /// From where to where it leads.
    pub mapping: PortMapping,
    /// To the containers of which process type.
    pub process: ProcessType,
    /// How they are told who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// When it was added, in milliseconds since 1970.
    pub added_at: i64,
}

/// A port of this machine, and where its connections or requests go now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPort {
    /// The port.
    pub port: StoredPort,
    /// The healthy containers of its process type, by position.
    pub containers: Vec<Ipv4Addr>,
    /// Whether the app is meant to run, so that a container may be there in a moment.
    pub runs: bool,
}

const SELECT: &str = "SELECT ports.app_id, apps.name AS app, ports.scheme, ports.host, ports.container, ports.process,
                             ports.proxy_protocol, ports.added_at
                      FROM ports JOIN apps ON apps.id = ports.app_id";

impl Tables<'_> {
    /// The ports of an app, or of all.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn ports(&self, app: Option<AppId>) -> Result<Vec<StoredPort>> {
        self.all(
            &format!("{SELECT} WHERE ?1 IS NULL OR ports.app_id = ?1 ORDER BY apps.name, ports.host"),
            [app],
            stored_port,
        )
    }

    /// Where a port of this machine leads: to several apps only if it is one of HTTP.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn ports_at(&self, host: u16) -> Result<Vec<StoredPort>> {
        self.all(&format!("{SELECT} WHERE ports.host = ?1 ORDER BY apps.name"), [host], stored_port)
    }

    /// The ports of this machine that are relayed: those that lead to apps, and those of routes that are followed.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn relayed_ports(&self) -> Result<BTreeSet<u16>> {
        let of_apps = self.ports(None)?.into_iter().filter(|stored| stored.mapping.scheme == PortScheme::Tcp);
        let of_routes =
            self.routes()?.into_iter().filter(|route| route.enabled).filter_map(|route| match route.source {
                RouteSource::Tcp(port) => Some(port),
                RouteSource::Http { .. } => None,
            });
        Ok(of_apps.map(|stored| stored.mapping.host).chain(of_routes).collect())
    }

    /// Whether an app has no HTTP to answer: where the proxy would send its requests there is a port that is relayed, and
    /// nothing is asked there over HTTP.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn speaks_no_http(&self, app: AppId) -> Result<bool> {
        let mut ports = self.ports(Some(app))?;
        ports.retain(|stored| stored.mapping.scheme == PortScheme::Tcp && stored.process.is_web());
        if ports.is_empty() {
            return Ok(false);
        }
        Ok(self.current_release(app)?.is_some_and(|release| {
            let asks_over_tcp = |spec: &ProcessSpec| matches!(spec.run.check.probe, Probe::Tcp { port: None });
            release.process(&ProcessType::web()).is_some_and(asks_over_tcp)
                && ports.iter().any(|stored| stored.mapping.container == release.port)
        }))
    }

    /// Has a port of this machine lead to an app, in place of where it led for that app.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn set_port(
        &self,
        app: AppId,
        mapping: PortMapping,
        process: &ProcessType,
        proxy_protocol: Option<ProxyProtocol>,
    ) -> Result<()> {
        self.execute(
            "INSERT INTO ports (host, app_id, scheme, container, process, proxy_protocol, added_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (host, app_id) DO UPDATE SET scheme = excluded.scheme, container = excluded.container,
                                                      process = excluded.process,
                                                      proxy_protocol = excluded.proxy_protocol,
                                                      added_at = excluded.added_at",
            params![mapping.host, app, mapping.scheme, mapping.container, process, proxy_protocol, clock::now()],
        )
        .map(drop)
    }

    /// Takes a port from an app.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn remove_port(&self, app: AppId, host: u16) -> Result<()> {
        self.execute("DELETE FROM ports WHERE app_id = ?1 AND host = ?2", params![app, host]).map(drop)
    }

    /// The ports that lead to apps, with where their connections or requests go now.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn open_ports(&self) -> Result<Vec<OpenPort>> {
        let rows: Vec<(StoredPort, Option<Ipv4Addr>, bool)> = self.all(
            "SELECT ports.app_id, apps.name AS app, ports.scheme, ports.host, ports.container, ports.process,
                    ports.proxy_protocol, ports.added_at, apps.state, containers.address
             FROM ports JOIN apps ON apps.id = ports.app_id
                  LEFT JOIN containers ON containers.app_id = ports.app_id AND containers.process = ports.process
                       AND apps.state = 'running' AND containers.state IN ('live', 'suspended') AND containers.healthy
             ORDER BY ports.host, apps.name, containers.position, containers.id",
            [],
            |row| {
                let address: Option<String> = row.get("address")?;
                let address = address.map(|text| text.parse().map_err(corrupt)).transpose()?;
                let state: AppState = row.get("state")?;
                Ok((stored_port(row)?, address, state == AppState::Running))
            },
        )?;
        let mut all: Vec<OpenPort> = Vec::new();
        for (port, address, runs) in rows {
            if all.last().is_none_or(|last| last.port != port) {
                all.push(OpenPort { port, containers: Vec::new(), runs });
            }
            if let (Some(last), Some(address)) = (all.last_mut(), address) {
                last.containers.push(address);
            }
        }
        Ok(all)
    }
}

fn stored_port(row: &Row<'_>) -> rusqlite::Result<StoredPort> {
    Ok(StoredPort {
        app_id: row.get("app_id")?,
        app: row.get("app")?,
        mapping: PortMapping { scheme: row.get("scheme")?, host: row.get("host")?, container: row.get("container")? },
        process: row.get("process")?,
        proxy_protocol: row.get("proxy_protocol")?,
        added_at: row.get("added_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_port_is_one_apps_and_ends_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let done: Result<()> = store.write(|tables| {
            let blog = tables.create_app(&"blog".parse()?)?.id;
            let shop = tables.create_app(&"shop".parse()?)?.id;
            let (web, broker): (ProcessType, ProcessType) = (ProcessType::web(), "broker".parse()?);
            tables.set_port(blog, "tcp:5432:1".parse()?, &web, None)?;
            tables.set_port(blog, "tcp:5432:5432".parse()?, &web, Some(ProxyProtocol::V2))?;
            tables.set_port(shop, "tcp:1883:1883".parse()?, &broker, None)?;
            let shown: Vec<String> = tables
                .ports(None)?
                .iter()
                .map(|it| format!("{} {} {} {:?}", it.app, it.mapping, it.process, it.proxy_protocol))
                .collect();
            assert_eq!(shown, ["blog tcp:5432:5432 web Some(V2)", "shop tcp:1883:1883 broker None"]);
            assert_eq!(tables.ports_at(1883)?.first().map(|stored| stored.app_id), Some(shop));
            assert_eq!(tables.ports(Some(blog))?.len(), 1);
            let relayed = tables.open_ports()?;
            assert!(relayed.iter().all(|it| it.containers.is_empty() && !it.runs), "{relayed:?}");
            tables.set_app_state(blog, AppState::Running)?;
            assert_eq!(tables.open_ports()?.iter().map(|it| it.runs).collect::<Vec<_>>(), [false, true]);
            // Several apps can be reached at a port of HTTP.
            tables.set_port(blog, "http:8080:1".parse()?, &web, None)?;
            tables.set_port(shop, "http:8080:2".parse()?, &web, None)?;
            assert_eq!((tables.ports_at(8080)?.len(), tables.open_ports()?.len()), (2, 4));
            tables.remove_port(blog, 8080)?;
            tables.remove_port(shop, 8080)?;
            tables.remove_port(shop, 5432)?;
            assert_eq!(tables.ports(None)?.len(), 2, "it is not that app's");
            tables.remove_port(blog, 5432)?;
            tables.delete_app(shop)?;
            assert_eq!(tables.ports(None)?, []);
            Ok(())
        });
        done.unwrap();
    }
}
