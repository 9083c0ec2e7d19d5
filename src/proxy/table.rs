//! What the edge answers with, by host: where requests go, which certificate a handshake gets, what is a redirect or a
//! page. Made of the database in one reading, never changed once made.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr, SocketAddrV4},
    sync::Arc,
};

use super::{
    caddyfile::reachable,
    certificates::{Bundle, Certificates},
    inner,
    routed::{self, RoutedHost},
    trusted,
};
use crate::{
    Result, clock,
    model::{AppId, AppName, Domain, Hostname, Network, PortScheme, ProxyProtocol, RedirectCode, RouteId, RouteSource},
    settings::{Settings, Tls},
    store::{AppUpstreams, OpenPort, Standing, StoredMaintenance, StoredRedirect, Tables},
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

    /// The label of a site of Caddy's, `http` or `http-8080`: the port where it is not the proxy's own.
    pub(super) fn of_site(label: &str) -> Option<(Scheme, Option<u16>)> {
        let (scheme, port) = match label.split_once('-') {
            Some((scheme, port)) => (scheme, Some(port.parse().ok().filter(|port| *port > 0)?)),
            None => (label, None),
        };
        [Scheme::Http, Scheme::Https].into_iter().find(|known| known.label() == scheme).map(|scheme| (scheme, port))
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
    /// What is answered in place of it, while it is under maintenance.
    pub maintenance: Option<StoredMaintenance>,
    /// Until when its requests are held, in milliseconds since 1970.
    pub paused_until: Option<i64>,
    /// Whether requests are passed to it at all.
    pub enabled: bool,
    /// The Caddy behind the first that has its rules.
    pub rules: Option<SocketAddrV4>,
}

impl AppEntry {
    /// Where its requests go: to its containers, or through its rules. Nowhere if none of its containers is healthy.
    pub fn ways(&self) -> &[SocketAddrV4] {
        match &self.rules {
            Some(rules) if !self.upstreams.is_empty() => std::slice::from_ref(rules),
            _ => &self.upstreams,
        }
    }

    /// Whether its requests are held now.
    pub fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| clock::now() < until)
    }
}

/// Where a name sends its requests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The app whose name it is.
    pub app: AppId,
    /// To which host.
    pub to: Hostname,
    /// How.
    pub code: RedirectCode,
}

/// A host whose requests go by routes.
#[derive(Debug)]
pub struct RouteEntry {
    /// Its routes.
    pub host: RoutedHost,
    /// Where its requests go: to its targets, or through rules. Nowhere if none of its targets is well.
    pub ways: Vec<SocketAddr>,
}

/// Where a name leads.
#[derive(Clone, Debug)]
pub enum Lead {
    /// To an app.
    App(Arc<AppEntry>),
    /// To another host.
    Redirect(Arc<Redirect>),
    /// By routes, to what is no app.
    Routes(Arc<RouteEntry>),
}

impl Lead {
    /// The app whose name it is; none: it is that of routes.
    pub fn app(&self) -> Option<AppId> {
        match self {
            Lead::App(entry) => Some(entry.id),
            Lead::Redirect(redirect) => Some(redirect.app),
            Lead::Routes(_) => None,
        }
    }
}

/// Where the connections to a port go that is relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayedPort {
    /// To one of these.
    pub upstreams: Vec<SocketAddr>,
    /// How it is told who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether one may be there in a moment, so that a connection is held for it.
    pub runs: bool,
}

impl RelayedPort {
    fn of(open: OpenPort) -> RelayedPort {
        let port = open.port.mapping.container;
        RelayedPort {
            upstreams: open.containers.into_iter().map(|address| SocketAddrV4::new(address, port).into()).collect(),
            proxy_protocol: open.port.proxy_protocol,
            runs: open.runs,
        }
    }
}

/// Where the requests for a host go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// To these, of which there is at least one.
    Upstreams(&'a [SocketAddrV4]),
    /// To these, which are no containers of ours.
    Foreign(&'a [SocketAddr]),
    /// To the edge itself, which has something to say.
    Edge,
}

/// What the edge answers with.
#[derive(Debug)]
pub struct Table {
    page: SocketAddr,
    http_port: u16,
    /// The port of HTTPS, where there is any.
    https_port: Option<u16>,
    apps: HashMap<AppName, Arc<AppEntry>>,
    exact: HashMap<String, Lead>,
    below: HashMap<String, Lead>,
    any: Option<Lead>,
    /// Those over TCP.
    ports: BTreeMap<u16, RelayedPort>,
    /// Where the targets of routes are that are well.
    routes: HashMap<RouteId, Vec<SocketAddr>>,
    /// Those of HTTP beside the proxy's own, and where the requests for an app go there.
    http_ports: HashMap<(AppId, u16), Vec<SocketAddrV4>>,
    certificates: Certificates,
    challenges: HashMap<String, String>,
    token: String,
    trusted: Vec<Network>,
}

impl Table {
    /// Reads the table. `former`: the one before it, which may have opened keys already.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn read(tables: &Tables<'_>, settings: &Settings, former: Option<&Table>) -> Result<Table> {
        let mut table = Table {
            page: reachable(settings.http_listen),
            http_port: settings.proxy_http_port,
            https_port: (settings.tls != Tls::Off).then_some(settings.proxy_https_port),
            apps: apps(tables)?,
            exact: HashMap::new(),
            below: HashMap::new(),
            any: None,
            ports: BTreeMap::new(),
            routes: HashMap::new(),
            http_ports: HashMap::new(),
            certificates: Certificates::read(tables, settings, former.map(|former| &former.certificates))?,
            challenges: tables.acme_challenges()?.into_iter().collect(),
            token: tables.edge_token()?,
            trusted: trusted::read(tables, settings)?,
        };
        for open in tables.open_ports()? {
            let mapping = open.port.mapping;
            if mapping.scheme == PortScheme::Tcp {
                table.ports.insert(mapping.host, RelayedPort::of(open));
            } else {
                let upstreams = open.containers.iter().map(|ip| SocketAddrV4::new(*ip, mapping.container)).collect();
                table.http_ports.insert((open.port.app_id, mapping.host), upstreams);
            }
        }
        table.add_routes(tables)?;
        for (domain, app) in tables.hosts(&settings.domain)? {
            if let Some(entry) = table.apps.get(&app).map(Arc::clone) {
                table.add(domain, Lead::App(entry));
            }
        }
        // What is sent on does not lead to an app, even where one has the name, too.
        for StoredRedirect { from, app, to, code, .. } in tables.redirects_in_force()? {
            if let Some(app) = table.apps.get(&app).map(|entry| entry.id) {
                table.add(from, Lead::Redirect(Arc::new(Redirect { app, to, code })));
            }
        }
        Ok(table)
    }

    fn add_routes(&mut self, tables: &Tables<'_>) -> Result<()> {
        let routes = tables.routes()?;
        for route in routes.iter().filter(|route| route.enabled) {
            let upstreams = route.upstreams();
            if let RouteSource::Tcp(port) = route.source {
                let proxy_protocol = route.options.proxy_protocol;
                self.ports.insert(port, RelayedPort { upstreams: upstreams.clone(), proxy_protocol, runs: true });
            }
            self.routes.insert(route.id, upstreams);
        }
        let inner = inner::routes(tables)?;
        for host in routed::hosts(routes) {
            let ways = host.ways(inner.as_ref());
            self.add(host.host.clone(), Lead::Routes(Arc::new(RouteEntry { host, ways })));
        }
        Ok(())
    }

    fn add(&mut self, domain: Domain, lead: Lead) {
        match domain {
            Domain::Exact(name) => drop(self.exact.insert(name.to_string(), lead)),
            Domain::Below(name) => drop(self.below.insert(name.to_string(), lead)),
            Domain::Any => self.any = Some(lead),
        }
    }

    /// Whether a token is the one that keeps strangers from answers that are Caddy's alone. Takes the same time for all
    /// of one length.
    pub fn has_token(&self, token: &str) -> bool {
        let differences = self.token.bytes().zip(token.bytes()).fold(0, |all, (is, said)| all | (is ^ said));
        self.token.len() == token.len() && differences == 0
    }

    /// Whether an address is that of a proxy whose word is taken for who a client is.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// The port of plain HTTP.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The port of HTTPS, where there is any.
    pub fn https_port(&self) -> Option<u16> {
        self.https_port
    }

    /// The ports of this machine that are relayed, and where their connections go.
    pub fn ports(&self) -> &BTreeMap<u16, RelayedPort> {
        &self.ports
    }

    /// Where the requests for an app go that come in at a port of HTTP beside the proxy's own; none where it does not have that
    /// port.
    pub fn upstreams_at(&self, app: AppId, port: u16) -> Option<&[SocketAddrV4]> {
        self.http_ports.get(&(app, port)).map(Vec::as_slice)
    }

    /// Where the edge's own pages are.
    pub(super) fn page(&self) -> SocketAddr {
        self.page
    }

    /// An app by its name.
    pub(super) fn app(&self, name: &AppName) -> Option<&AppEntry> {
        self.apps.get(name).map(Arc::as_ref)
    }

    /// Whether the requests of an app are held now.
    pub fn is_paused(&self, app: AppId) -> bool {
        self.apps.values().any(|entry| entry.id == app && entry.is_paused())
    }

    /// Where a host leads: one in lower case, without port and final dot.
    pub fn lead(&self, host: &str) -> Option<&Lead> {
        let below =
            || host.split_once('.').and_then(|(label, rest)| self.below.get(rest).filter(|_| !label.is_empty()));
        self.exact.get(host).or_else(below).or(self.any.as_ref().filter(|_| !host.is_empty()))
    }

    /// The certificate for a host that leads somewhere, in lower case.
    pub fn certificate(&self, host: &str) -> Option<Arc<Bundle>> {
        let name: Hostname = host.parse().ok()?;
        let lead = self.lead(host);
        self.certificates.find(&name, lead.is_some(), lead.and_then(Lead::app))
    }

    /// Whether a host is there by HTTPS.
    pub fn is_secure(&self, host: &str) -> bool {
        let has = |lead: &Lead| host.parse().is_ok_and(|name| self.certificates.has(&name, lead.app()));
        self.https_port.is_some() && self.lead(host).is_some_and(has)
    }

    /// Whether plain HTTP at a host is answered with a redirect to HTTPS.
    pub fn is_redirected_to_https(&self, host: &str) -> bool {
        let is_wanted = match self.lead(host) {
            Some(Lead::App(entry)) => entry.https_redirect,
            Some(Lead::Routes(entry)) => entry.host.https_redirect(),
            Some(Lead::Redirect(_)) | None => false,
        };
        is_wanted && self.is_secure(host)
    }

    /// What an authority is answered at `/.well-known/acme-challenge/TOKEN`.
    pub fn challenge(&self, token: &str) -> Option<&str> {
        self.challenges.get(token).map(String::as_str)
    }

    /// Where the requests of an app go that came in at a port that is not one of the proxy's own two; none if it does not
    /// have that port. The rules of an app are for its own port: at others, they are never passed by.
    pub fn ways_at(&self, entry: &'_ AppEntry, port: u16) -> Option<Vec<SocketAddrV4>> {
        let upstreams = self.upstreams_at(entry.id, port)?;
        Some(match &entry.rules {
            None => upstreams.to_vec(),
            Some(rules) if upstreams == entry.upstreams => vec![*rules],
            Some(_) => Vec::new(),
        })
    }

    /// Where the requests for a host go. `port`: none for the proxy's own.
    pub(super) fn target(&self, host: &str, scheme: Scheme, port: Option<u16>) -> Target<'_> {
        match (self.lead(host), port) {
            (Some(Lead::App(entry)), Some(port)) => match self.upstreams_at(entry.id, port) {
                Some(upstreams @ [_, ..]) if entry.enabled && entry.maintenance.is_none() && !entry.is_paused() => {
                    match entry.rules {
                        None => Target::Upstreams(upstreams),
                        Some(_) if upstreams == entry.upstreams => Target::Upstreams(entry.ways()),
                        Some(_) => Target::Edge,
                    }
                }
                _ => Target::Edge,
            },
            (Some(Lead::App(entry)), None) => {
                let is_here =
                    entry.upstreams.is_empty() || !entry.enabled || entry.maintenance.is_some() || entry.is_paused();
                if is_here || (scheme == Scheme::Http && self.is_redirected_to_https(host)) {
                    Target::Edge
                } else {
                    Target::Upstreams(entry.ways())
                }
            }
            // At other ports, there are apps only.
            (Some(Lead::Routes(entry)), None) if !entry.ways.is_empty() => {
                if scheme == Scheme::Http && self.is_redirected_to_https(host) {
                    Target::Edge
                } else {
                    Target::Foreign(&entry.ways)
                }
            }
            (Some(Lead::Redirect(_) | Lead::Routes(_)) | None, _) => Target::Edge,
        }
    }

    /// Where the targets of a route are that are well; none if there is no such route, or it is not followed.
    pub(super) fn route(&self, id: RouteId) -> Option<&[SocketAddr]> {
        self.routes.get(&id).map(Vec::as_slice)
    }

    /// The same with these ports.
    #[cfg(test)]
    pub fn with_ports(mut self, ports: Vec<(u16, RelayedPort)>) -> Table {
        self.ports = ports.into_iter().collect();
        self
    }

    /// The same with an app's port of HTTP.
    #[cfg(test)]
    pub fn with_http_port(mut self, app: AppId, port: u16, upstreams: Vec<SocketAddrV4>) -> Table {
        self.http_ports.insert((app, port), upstreams);
        self
    }

    /// A table of these alone.
    #[cfg(any(test, fuzzing))]
    pub fn of(hosts: Vec<(Domain, AppName, Vec<SocketAddrV4>)>, page: SocketAddr) -> Table {
        let mut table = Table {
            page,
            http_port: 80,
            https_port: None,
            apps: HashMap::new(),
            exact: HashMap::new(),
            below: HashMap::new(),
            any: None,
            ports: BTreeMap::new(),
            routes: HashMap::new(),
            http_ports: HashMap::new(),
            certificates: Certificates::default(),
            challenges: HashMap::new(),
            token: "token".to_owned(),
            trusted: Vec::new(),
        };
        for (number, (domain, name, upstreams)) in (1..).zip(hosts) {
            let standing = if upstreams.is_empty() { Standing::Unhealthy } else { Standing::Serving };
            let entry = Arc::new(AppEntry {
                id: AppId(number),
                name: name.clone(),
                upstreams,
                standing,
                https_redirect: true,
                maintenance: None,
                paused_until: None,
                enabled: true,
                rules: None,
            });
            let entry = Arc::clone(table.apps.entry(name).or_insert(entry));
            table.add(domain, Lead::App(entry));
        }
        table
    }
}

/// What the edge is to know of each app.
fn apps(tables: &Tables<'_>) -> Result<HashMap<AppName, Arc<AppEntry>>> {
    let mut upstreams: HashMap<AppName, Vec<SocketAddrV4>> =
        tables.all_upstreams()?.into_iter().map(|AppUpstreams { app, upstreams }| (app, upstreams)).collect();
    let mut maintained: HashMap<AppName, StoredMaintenance> =
        tables.maintenance(None)?.into_iter().map(|stored| (stored.app.clone(), stored)).collect();
    let pauses: HashMap<AppId, i64> = tables.pauses()?.into_iter().map(|pause| (pause.app, pause.until)).collect();
    let (redirect_all, redirects) = tables.https_redirects()?;
    let (enabled_all, enabled) = tables.proxy_switches()?;
    let rules = inner::addresses(tables)?;
    let entry = |(id, name, standing): (AppId, AppName, Standing)| {
        let entry = AppEntry {
            id,
            upstreams: upstreams.remove(&name).unwrap_or_default(),
            standing,
            https_redirect: redirects.get(&id).copied().unwrap_or(redirect_all),
            maintenance: maintained.remove(&name),
            paused_until: pauses.get(&id).copied(),
            enabled: enabled.get(&id).copied().unwrap_or(enabled_all),
            rules: rules.get(&id).copied(),
            name: name.clone(),
        };
        (name, Arc::new(entry))
    };
    Ok(tables.standings()?.into_iter().map(entry).collect())
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
        let at = |table: &Table, host: &str| match table.lead(host)? {
            Lead::App(entry) => Some(entry.name.to_string()),
            Lead::Redirect(redirect) => Some(redirect.to.to_string()),
            Lead::Routes(_) => None,
        };
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
