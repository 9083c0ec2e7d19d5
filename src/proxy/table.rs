//! What the edge answers with, by host: where requests go, which certificate a handshake gets, what is a redirect or a
//! page. Made of the database in one reading, never changed once made.

use std::{
    collections::HashMap,
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
};

use super::{
    caddyfile::reachable,
    certificates::{Bundle, Certificates},
};
use crate::{
    Result,
    model::{AppId, AppName, Domain, Hostname},
    settings::{Settings, Tls},
    store::{Route, Standing, Tables},
};

/// By which of Caddy's two sites a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The label that stands for it in a name that Caddy asks for.
    pub(super) fn label(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// What the edge knows of an app.
#[derive(Clone, Debug)]
pub struct AppEntry {
    /// Its number.
    pub id: AppId,
    /// Its name.
    pub name: AppName,
    /// Its healthy web containers, by position.
    pub upstreams: Vec<SocketAddrV4>,
    /// Whether it takes requests, and if not, why.
    pub standing: Standing,
    /// Whether plain HTTP is answered with a redirect where there is a certificate.
    pub https_redirect: bool,
}

/// Where the requests for a host go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// To these, of which there is at least one.
    Upstreams(&'a [SocketAddrV4]),
    /// To the edge itself, which has something to say.
    Edge,
}

/// What the edge answers with.
#[derive(Debug)]
pub struct Table {
    page: SocketAddr,
    /// The port of HTTPS, where there is any.
    https_port: Option<u16>,
    apps: HashMap<AppName, Arc<AppEntry>>,
    exact: HashMap<String, Arc<AppEntry>>,
    below: HashMap<String, Arc<AppEntry>>,
    any: Option<Arc<AppEntry>>,
    certificates: Certificates,
    challenges: HashMap<String, String>,
    token: String,
}

impl Table {
    /// Reads the table. `former`: the one before it, which may have opened keys already.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn read(tables: &Tables<'_>, settings: &Settings, former: Option<&Table>) -> Result<Table> {
        let mut upstreams: HashMap<AppName, Vec<SocketAddrV4>> =
            tables.routes()?.into_iter().map(|Route { app, upstreams }| (app, upstreams)).collect();
        let apps: HashMap<AppName, Arc<AppEntry>> = tables
            .standings()?
            .into_iter()
            .map(|(id, name, standing)| {
                let upstreams = upstreams.remove(&name).unwrap_or_default();
                (name.clone(), Arc::new(AppEntry { id, name, upstreams, standing, https_redirect: true }))
            })
            .collect();
        let mut table = Table {
            page: reachable(settings.http_listen),
            https_port: (settings.tls != Tls::Off).then_some(settings.proxy_https_port),
            apps,
            exact: HashMap::new(),
            below: HashMap::new(),
            any: None,
            certificates: Certificates::read(tables, settings, former.map(|former| &former.certificates))?,
            challenges: tables.acme_challenges()?.into_iter().collect(),
            token: tables.edge_token()?,
        };
        for (domain, app) in tables.hosts(&settings.domain)? {
            table.add(domain, &app);
        }
        Ok(table)
    }

    fn add(&mut self, domain: Domain, app: &AppName) {
        let Some(entry) = self.apps.get(app).map(Arc::clone) else { return };
        match domain {
            Domain::Exact(name) => drop(self.exact.insert(name.to_string(), entry)),
            Domain::Below(name) => drop(self.below.insert(name.to_string(), entry)),
            Domain::Any => self.any = Some(entry),
        }
    }

    /// Whether a token is the one that keeps strangers from answers that are Caddy's alone. Takes the same time for all
    /// of one length.
    pub fn has_token(&self, token: &str) -> bool {
        let differences = self.token.bytes().zip(token.bytes()).fold(0, |all, (is, said)| all | (is ^ said));
        self.token.len() == token.len() && differences == 0
    }

    /// The port of HTTPS, where there is any.
    pub fn https_port(&self) -> Option<u16> {
        self.https_port
    }

    /// Where the edge's own pages are.
    pub(super) fn page(&self) -> SocketAddr {
        self.page
    }

    /// An app by its name.
    pub(super) fn app(&self, name: &AppName) -> Option<&AppEntry> {
        self.apps.get(name).map(Arc::as_ref)
    }

    /// The app that a host leads to: a host in lower case, without port and final dot.
    pub fn app_at(&self, host: &str) -> Option<&Arc<AppEntry>> {
        let below =
            || host.split_once('.').and_then(|(label, rest)| self.below.get(rest).filter(|_| !label.is_empty()));
        self.exact.get(host).or_else(below).or(self.any.as_ref().filter(|_| !host.is_empty()))
    }

    /// The certificate for a host that leads somewhere, in lower case.
    pub fn certificate(&self, host: &str) -> Option<Arc<Bundle>> {
        let name: Hostname = host.parse().ok()?;
        self.certificates.find(&name, self.app_at(host).map(|entry| entry.id))
    }

    /// Whether plain HTTP at a host is answered with a redirect.
    pub fn is_redirected_to_https(&self, host: &str) -> bool {
        self.https_port.is_some()
            && self.app_at(host).is_some_and(|entry| {
                entry.https_redirect && host.parse().is_ok_and(|name| self.certificates.has(&name, Some(entry.id)))
            })
    }

    /// What an authority is answered at `/.well-known/acme-challenge/TOKEN`.
    pub fn challenge(&self, token: &str) -> Option<&str> {
        self.challenges.get(token).map(String::as_str)
    }

    /// Where the requests for a host go.
    pub(super) fn target(&self, host: &str, scheme: Scheme) -> Target<'_> {
        match self.app_at(host) {
            Some(entry) if !entry.upstreams.is_empty() => {
                if scheme == Scheme::Http && self.is_redirected_to_https(host) {
                    Target::Edge
                } else {
                    Target::Upstreams(&entry.upstreams)
                }
            }
            _ => Target::Edge,
        }
    }

    /// A table of these alone.
    #[cfg(any(test, fuzzing))]
    pub fn of(hosts: Vec<(Domain, AppName, Vec<SocketAddrV4>)>, page: SocketAddr) -> Table {
        let mut table = Table {
            page,
            https_port: None,
            apps: HashMap::new(),
            exact: HashMap::new(),
            below: HashMap::new(),
            any: None,
            certificates: Certificates::default(),
            challenges: HashMap::new(),
            token: "token".to_owned(),
        };
        for (number, (domain, name, upstreams)) in (1..).zip(hosts) {
            let standing = if upstreams.is_empty() { Standing::Unhealthy } else { Standing::Serving };
            let entry = AppEntry { id: AppId(number), name: name.clone(), upstreams, standing, https_redirect: true };
            table.apps.entry(name.clone()).or_insert_with(|| Arc::new(entry));
            table.add(domain, &name);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_leads() {
        let host = |domain: &str, app: &str| {
            (domain.parse().unwrap(), app.parse().unwrap(), vec!["10.213.0.7:5000".parse().unwrap()])
        };
        let page = "127.0.0.1:25080".parse().unwrap();
        let hosts =
            vec![host("www.example.com", "blog"), host("*.example.com", "shop"), host("*.api.example.com", "api")];
        let mut table = Table::of(hosts.clone(), page);
        let at = |table: &Table, host: &str| table.app_at(host).map(|entry| entry.name.to_string());
        for (asked, app) in [
            ("www.example.com", Some("blog")),
            ("any.example.com", Some("shop")),
            ("api.example.com", Some("shop")),
            ("v1.api.example.com", Some("api")),
            ("a.b.example.com", None),
            ("example.com", None),
            (".example.com", None),
            ("", None),
            ("other.org", None),
        ] {
            assert_eq!(at(&table, asked).as_deref(), app, "{asked}");
        }
        table = Table::of(hosts.into_iter().chain([host("_", "rest")]).collect(), page);
        assert_eq!(at(&table, "other.org").as_deref(), Some("rest"));
        assert_eq!(at(&table, "10.0.0.1").as_deref(), Some("rest"));
        assert_eq!(at(&table, "www.example.com").as_deref(), Some("blog"));
        assert_eq!(at(&table, ""), None);
    }
}
