//! Ports: ports of this machine that lead to an app, beside the proxy's own two.
//!
//! A release knows nothing of them, so a rollback changes none. Each change is one transaction: all ports of a command are
//! taken, or none.

use std::{
    collections::{BTreeSet, HashSet},
    net::{Ipv4Addr, TcpListener},
};

use serde::Serialize;

use super::{
    domains::{note_refusal, tell_the_edge},
    edit::Outcome,
};
use crate::{
    Error, Result, clock,
    context::Context,
    deploy,
    error::{PortError, ProxyError, Thing},
    instance::{self, Instance},
    lock,
    model::{
        self, App, AppName, Change, PortChoice, PortMapping, PortScheme, ProcessType, ProxyProtocol, RouteSource,
        Subject, open_ports, port_ranges,
        property::{self, Value},
    },
    proxy,
    settings::{Settings, Tls},
    store::{StoredPort, Tables},
    tcp::{self, Socket, State},
    ui::{Show, Text, lines_or_dash, or_dash},
};

/// The most ports of all apps together: so many sockets pass from one process to another at once.
const MOST: usize = 200;

/// A port that leads to an app.
#[derive(Clone, Debug, Serialize)]
pub struct PortInfo {
    /// The app.
    pub app: AppName,
    /// The mapping as it is typed: `tcp:5432:5432`.
    pub port: PortMapping,
    /// What is spoken there.
    pub scheme: PortScheme,
    /// The port of this machine.
    pub host: u16,
    /// The port of the containers.
    pub container: u16,
    /// Of which process type they are.
    pub process: ProcessType,
    /// How they are told who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// When it was added, in RFC 3339.
    pub added_at: String,
}

impl From<&StoredPort> for PortInfo {
    fn from(stored: &StoredPort) -> PortInfo {
        let mapping = stored.mapping;
        PortInfo {
            app: stored.app.clone(),
            port: mapping,
            scheme: mapping.scheme,
            host: mapping.host,
            container: mapping.container,
            process: stored.process.clone(),
            proxy_protocol: stored.proxy_protocol,
            added_at: clock::rfc3339(stored.added_at),
        }
    }
}

/// A list of ports.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct PortList(pub Vec<PortInfo>);

impl Show for PortList {
    fn text(&self) -> Text {
        Text::table(
            ["APP", "SCHEME", "HOST", "CONTAINER", "PROCESS", "PROXY PROTOCOL"],
            self.0.iter().map(|port| {
                [
                    port.app.to_string(),
                    port.scheme.to_string(),
                    port.host.to_string(),
                    port.container.to_string(),
                    port.process.to_string(),
                    or_dash(port.proxy_protocol.as_ref()),
                ]
            }),
        )
    }
}

/// A port, and what becomes of its connections now.
#[derive(Clone, Debug, Serialize)]
pub struct PortStatus {
    /// The port.
    #[serde(flatten)]
    pub info: PortInfo,
    /// Whether connections are taken there.
    pub listening: bool,
    /// Who listens there instead.
    pub taken_by: Option<String>,
    /// The containers that get new connections.
    pub containers: Vec<String>,
    /// How many connections there are to containers of the app at that port, old and new.
    pub connections: usize,
}

impl PortStatus {
    fn line(&self) -> String {
        let PortInfo { port, process, proxy_protocol, .. } = &self.info;
        let state = match (&self.taken_by, self.listening) {
            (Some(other), _) => format!("taken by {other}"),
            (None, false) => "nothing listens there: is `paas serve` running?".to_owned(),
            (None, true) if self.containers.is_empty() => format!("no {process} container takes connections"),
            (None, true) => format!("{} (connections: {})", self.containers.join(", "), self.connections),
        };
        let protocol = proxy_protocol.map(|version| format!(", PROXY protocol {version}")).unwrap_or_default();
        format!("{port} -> {state}{protocol}")
    }
}

/// The ports of an app, and what becomes of their connections now.
#[derive(Clone, Debug, Serialize)]
pub struct PortReport {
    /// The app.
    pub app: AppName,
    /// Its ports.
    pub ports: Vec<PortStatus>,
}

impl Show for PortReport {
    fn text(&self) -> Text {
        let lines = self.ports.iter().map(PortStatus::line);
        Text::facts(vec![("app", self.app.to_string()), ("ports", lines_or_dash(lines))])
    }
}

/// The ports of each app that has some.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct PortReports(pub Vec<PortReport>);

impl Show for PortReports {
    fn text(&self) -> Text {
        let rows = self.0.iter().flat_map(|report| report.ports.iter()).map(|port| {
            let state = match (&port.taken_by, port.listening) {
                (Some(other), _) => format!("taken by {other}"),
                (None, listening) => if listening { "listening" } else { "closed" }.to_owned(),
            };
            [port.info.app.to_string(), port.info.port.to_string(), state, port.connections.to_string()]
        });
        Text::table(["APP", "PORT", "STATE", "CONNECTIONS"], rows)
    }
}

/// What became of the ports of an app.
#[derive(Clone, Debug, Serialize)]
pub struct PortsChanged {
    /// The app.
    pub app: AppName,
    /// Whether something changed.
    pub outcome: Outcome,
    /// Its ports now.
    pub ports: PortList,
    /// What there is to say of it.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Show for PortsChanged {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Where ports are to lead beside what a mapping says.
#[derive(Clone, Debug)]
pub struct Way {
    /// To the containers of this process type.
    pub process: ProcessType,
    /// How they are told who the client is.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// The ports of an app, or of each app that the caller sees.
///
/// # Errors
/// [`Error::NotFound`].
pub fn list(context: &Context<'_>, app: Option<&AppName>) -> Result<PortList> {
    Ok(PortList(stored(context, app)?.iter().map(PortInfo::from).collect()))
}

fn stored(context: &Context<'_>, app: Option<&AppName>) -> Result<Vec<StoredPort>> {
    let mut all = context.instance.read(|tables| {
        let app = app.map(|app| tables.app(app)).transpose()?;
        tables.ports(app.map(|app| app.id))
    })?;
    all.retain(|stored| context.sees(&stored.app));
    Ok(all)
}

/// The ports of this machine that lead to an app, for completions.
///
/// # Errors
/// [`Error::Store`].
pub fn all(instance: &Instance) -> Result<Vec<String>> {
    instance.read(|tables| Ok(tables.ports(None)?.iter().map(|stored| stored.mapping.to_string()).collect()))
}

/// What becomes of the connections to an app's ports now.
///
/// # Errors
/// [`Error::NotFound`].
pub fn report(context: &Context<'_>, app: &AppName) -> Result<PortReport> {
    let ports = stored(context, Some(app))?;
    Ok(PortReport { app: app.clone(), ports: statuses(context, &ports)? })
}

/// As [`report`], of each app that the caller sees and that has a port.
///
/// # Errors
/// [`Error::Store`].
pub fn report_all(context: &Context<'_>) -> Result<PortReports> {
    let mut reports: Vec<PortReport> = Vec::new();
    for status in statuses(context, &stored(context, None)?)? {
        match reports.last_mut().filter(|report| report.app == status.info.app) {
            Some(report) => report.ports.push(status),
            None => reports.push(PortReport { app: status.info.app.clone(), ports: vec![status] }),
        }
    }
    Ok(PortReports(reports))
}

fn statuses(context: &Context<'_>, ports: &[StoredPort]) -> Result<Vec<PortStatus>> {
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    let (containers, open) = context.instance.read(|tables| Ok((tables.containers()?, tables.open_ports()?)))?;
    let sockets = tcp::sockets();
    let settings = &context.instance.settings;
    let (edge, caddy) = (sockets_of_edge(settings), proxy::sockets_of_caddy(settings));
    let status = |stored: &StoredPort| {
        let at = listener(&sockets, stored.mapping.host).map(|socket| {
            let ours = if stored.mapping.scheme == PortScheme::Tcp { &edge } else { &caddy };
            Listener::of(socket, ours)
        });
        let of_process = containers.iter().filter(|it| it.app_id == stored.app_id && it.process == stored.process);
        let addresses: Vec<Ipv4Addr> = of_process.clone().map(|container| container.address).collect();
        let is_of_it = |socket: &&Socket| {
            socket.state == State::Connected
                && socket.inode != 0
                && socket.remote.port() == stored.mapping.container
                && addresses.iter().any(|address| socket.remote.ip() == *address)
        };
        let leads_to = open.iter().find(|it| it.port == *stored).map(|it| it.containers.as_slice());
        let takes = |address: &Ipv4Addr| leads_to.unwrap_or_default().contains(address);
        PortStatus {
            info: PortInfo::from(stored),
            listening: matches!(at, Some(Listener::Ours)),
            taken_by: match at {
                Some(Listener::Other(holder)) => Some(holder),
                Some(Listener::Ours) | None => None,
            },
            containers: of_process.filter(|it| takes(&it.address)).map(|container| container.label()).collect(),
            connections: sockets.iter().filter(is_of_it).count(),
        }
    };
    Ok(ports.iter().map(status).collect())
}

/// Who listens on a port.
enum Listener {
    /// The edge, or Caddy.
    Ours,
    /// Another program, in words.
    Other(String),
}

impl Listener {
    fn of(socket: &Socket, ours: &HashSet<u64>) -> Listener {
        if ours.contains(&socket.inode) {
            return Listener::Ours;
        }
        Listener::Other(match tcp::holders(socket.inode).first() {
            Some(process) => format!("{} (process {})", process.name, process.id),
            None => "another program".to_owned(),
        })
    }
}

fn listener(sockets: &[Socket], port: u16) -> Option<&Socket> {
    sockets.iter().find(|socket| socket.state == State::Listens && socket.local.port() == port)
}

/// Whether the edge listens on a port.
pub(super) fn is_relayed(settings: &Settings, port: u16) -> bool {
    let ours = sockets_of_edge(settings);
    listener(&tcp::sockets(), port).is_some_and(|socket| ours.contains(&socket.inode))
}

/// The sockets of the edge, if one runs.
fn sockets_of_edge(settings: &Settings) -> HashSet<u64> {
    let holder = lock::holder(&settings.paths.edge_lock()).ok().flatten();
    let id = holder.and_then(|holder| holder.what.split(' ').nth(1)?.parse().ok());
    id.map(tcp::inodes_of).unwrap_or_default()
}

/// Has ports lead to an app, beside those that do; one that leads to it already leads where it is said now.
///
/// # Errors
/// [`PortError`]; [`Error::NotFound`] for a process type that the app does not have. Nothing has changed then.
pub async fn add(context: &Context<'_>, app: &AppName, mappings: &[PortMapping], way: &Way) -> Result<PortsChanged> {
    edit(context, app, "ports:add", |editing| mappings.iter().try_for_each(|mapping| editing.add(mapping, way))).await
}

/// Has these ports lead to an app, and no others.
///
/// # Errors
/// As [`add`].
pub async fn set(context: &Context<'_>, app: &AppName, mappings: &[PortMapping], way: &Way) -> Result<PortsChanged> {
    edit(context, app, "ports:set", |editing| {
        for stored in editing.ports()? {
            if !mappings.iter().any(|mapping| mapping.host == stored.mapping.host) {
                editing.remove(&stored)?;
            }
        }
        mappings.iter().try_for_each(|mapping| editing.add(mapping, way))
    })
    .await
}

/// Takes ports from an app.
///
/// # Errors
/// [`Error::NotFound`] for one that does not lead to it. Nothing has changed then.
pub async fn remove(context: &Context<'_>, app: &AppName, choices: &[PortChoice]) -> Result<PortsChanged> {
    edit(context, app, "ports:remove", |editing| {
        for choice in choices {
            let stored = editing.ports()?.into_iter().find(|stored| choice.names(&stored.mapping));
            let stored =
                stored.ok_or_else(|| Error::NotFound(Thing::Port(editing.app.name.clone()), choice.to_string()))?;
            editing.remove(&stored)?;
        }
        Ok(())
    })
    .await
}

/// Takes all ports from an app.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn clear(context: &Context<'_>, app: &AppName) -> Result<PortsChanged> {
    edit(context, app, "ports:clear", |editing| editing.ports()?.iter().try_for_each(|stored| editing.remove(stored)))
        .await
}

/// Does work on an app's ports in one transaction, with its event, and has the edge listen on what there is then.
async fn edit(
    context: &Context<'_>,
    app: &AppName,
    action: &'static str,
    work: impl FnOnce(&mut Editing<'_>) -> Result<()>,
) -> Result<PortsChanged> {
    let instance = context.instance;
    let listening = |tables: &Tables<'_>| -> Result<BTreeSet<(u16, PortScheme)>> {
        let ports = proxy::http_ports(tables, &instance.settings)?;
        Ok(ports.into_iter().map(|at| (at.port, at.scheme)).collect())
    };
    let edited = instance.write(|tables| {
        let app = tables.app(app)?;
        deploy::refuse_locked(&app)?;
        let before = (tables.ports(Some(app.id))?, listening(tables)?);
        let mut editing = Editing { context, tables, app, done: Vec::new(), taken: Vec::new() };
        work(&mut editing)?;
        let Editing { app, done, .. } = editing;
        if !done.is_empty() {
            let change = Change::new(action, Subject::App(app.name.clone())).with(done.join(", "));
            context.note(tables, &change, model::Outcome::Done)?;
        }
        let ports = tables.ports(Some(app.id))?;
        let outcome = if done.is_empty() { Outcome::Unchanged } else { Outcome::Saved };
        Ok((app.id, outcome, ports, before, listening(tables)?))
    });
    let (app_id, outcome, ports, before, now) = note_refusal(context, action, Subject::App(app.clone()), edited)?;
    tell_the_edge(instance).await;
    let mut warnings = Vec::new();
    let has_http = |ports: &[StoredPort]| ports.iter().any(|stored| stored.mapping.scheme != PortScheme::Tcp);
    if outcome == Outcome::Saved && (has_http(&ports) || has_http(&before.0)) {
        match proxy::sync(instance).await {
            Ok(()) => warnings.extend(reloaded(&before.1, &now)),
            Err(Error::Proxy(ProxyError::Unavailable { .. })) => {}
            Err(refused) => {
                // What Caddy cannot do is no app's.
                instance.write(|tables| {
                    ports.iter().try_for_each(|stored| tables.remove_port(app_id, stored.mapping.host))?;
                    before.0.iter().try_for_each(|stored| {
                        tables.set_port(app_id, stored.mapping, &stored.process, stored.proxy_protocol)
                    })
                })?;
                tell_the_edge(instance).await;
                return Err(refused);
            }
        }
    }
    for status in statuses(context, &ports)? {
        let port = status.info.host;
        match status.taken_by {
            Some(other) => warnings.push(format!("port {port} is taken by {other}: no connection reaches the app")),
            None if !status.listening => {
                warnings.push(format!("nothing listens on port {port} yet: `paas serve` opens it when it runs"));
            }
            None => {}
        }
    }
    Ok(PortsChanged {
        app: app.clone(),
        outcome,
        ports: PortList(ports.iter().map(PortInfo::from).collect()),
        warnings,
    })
}

/// That the proxy was reloaded, if the ports that it listens on have changed.
fn reloaded(before: &BTreeSet<(u16, PortScheme)>, now: &BTreeSet<(u16, PortScheme)>) -> Option<String> {
    let words =
        |ports: Vec<&(u16, PortScheme)>| ports.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(", ");
    let (opened, closed) = (words(now.difference(before).collect()), words(before.difference(now).collect()));
    let what = match (opened.as_str(), closed.as_str()) {
        ("", "") => return None,
        (opened, "") => format!("to listen on port {opened}"),
        ("", closed) => format!("to close port {closed}"),
        (opened, closed) => format!("to listen on port {opened}, and to close port {closed}"),
    };
    Some(format!(
        "the proxy was reloaded {what}: requests of any app that were under way may have been lost. Ports of the setting \
         http_ports need no reload"
    ))
}

/// What is done to the ports of an app, within one transaction.
struct Editing<'a> {
    context: &'a Context<'a>,
    tables: &'a Tables<'a>,
    app: App,
    /// What was changed, in words.
    done: Vec<String>,
    /// The mappings of this command.
    taken: Vec<PortMapping>,
}

impl Editing<'_> {
    fn ports(&self) -> Result<Vec<StoredPort>> {
        self.tables.ports(Some(self.app.id))
    }

    fn add(&mut self, mapping: &PortMapping, way: &Way) -> Result<()> {
        let (app, port) = (&self.app, mapping.host);
        self.check_scheme(mapping, way)?;
        if let Some(one) = self.taken.iter().find(|taken| taken.host == port && *taken != mapping) {
            return Err(PortError::Twice { one: *one, other: *mapping }.into());
        }
        self.taken.push(*mapping);
        if self.tables.find_route(&RouteSource::Tcp(port))?.is_some() {
            return Err(PortError::OfRoute { port }.into());
        }
        let at = self.tables.ports_at(port)?;
        // Apps have different names at a port of HTTP.
        let is_shared =
            |stored: &StoredPort| mapping.scheme != PortScheme::Tcp && stored.mapping.scheme == mapping.scheme;
        if let Some(other) = at.iter().find(|stored| stored.app_id != app.id && !is_shared(stored)) {
            let owner = Some(other.app.clone()).filter(|owner| self.context.sees(owner));
            return Err(PortError::Taken { port, owner }.into());
        }
        self.check_process(&way.process)?;
        let own = at.iter().find(|stored| stored.app_id == app.id);
        let is_there = |stored: &StoredPort| {
            stored.mapping == *mapping && stored.process == way.process && stored.proxy_protocol == way.proxy_protocol
        };
        if own.is_some_and(is_there) {
            return Ok(());
        }
        // What is the app's already stays so, whatever the settings say by now.
        if own.is_none_or(|stored| stored.mapping.scheme != mapping.scheme) {
            check_free(self.context, self.tables, mapping, !at.is_empty())?;
        }
        self.tables.set_port(app.id, *mapping, &way.process, way.proxy_protocol)?;
        if self.tables.ports(None)?.len() > MOST {
            return Err(PortError::TooMany { most: MOST }.into());
        }
        self.done.push(mapping.to_string());
        Ok(())
    }

    fn remove(&mut self, stored: &StoredPort) -> Result<()> {
        self.tables.remove_port(self.app.id, stored.mapping.host)?;
        self.done.push(format!("-{}", stored.mapping));
        Ok(())
    }

    /// That the app has the process type. An app that was never deployed may have any.
    fn check_process(&self, process: &ProcessType) -> Result<()> {
        match self.tables.current_release(self.app.id)? {
            Some(release) => release.require(&self.app.name, process).map(drop),
            None => Ok(()),
        }
    }

    /// That what is spoken at a port can be had, and goes with the rest of what is said of it.
    fn check_scheme(&self, mapping: &PortMapping, way: &Way) -> Result<()> {
        let settings = &self.context.instance.settings;
        if mapping.scheme == PortScheme::Tcp {
            return Ok(());
        }
        if [settings.proxy_http_port, settings.proxy_https_port].contains(&mapping.host) {
            return Err(PortError::OfProxy { mapping: *mapping, app: self.app.name.clone() }.into());
        }
        if way.proxy_protocol.is_some() {
            return Err(Error::usage(
                format!("{mapping}: the PROXY protocol is for tcp"),
                "leave --proxy-protocol out: over HTTP, the header X-Forwarded-For says who the client is",
            ));
        }
        if mapping.scheme == PortScheme::Https && settings.tls == Tls::Off {
            return Err(PortError::NoTls { mapping: *mapping }.into());
        }
        Ok(())
    }
}

/// That a port can be had: the settings allow it, and nobody has it. `is_shared`: apps have it already, and let others have it.
///
/// # Errors
/// [`PortError`].
pub(super) fn check_free(
    context: &Context<'_>,
    tables: &Tables<'_>,
    mapping: &PortMapping,
    is_shared: bool,
) -> Result<()> {
    let settings = &context.instance.settings;
    let port = mapping.host;
    let open = match instance::value_of(settings, tables, &property::HTTP_PORTS, None)? {
        Some(Value::Text(text)) => open_ports(&text).unwrap_or_default(),
        _ => BTreeSet::new(),
    };
    if open.contains(&port) {
        return match mapping.scheme {
            PortScheme::Http => Ok(()),
            PortScheme::Https | PortScheme::Tcp => Err(PortError::OfServer { port, setting: "http_ports" }.into()),
        };
    }
    for (own, setting) in [
        (settings.ssh_listen.port(), "ssh_listen"),
        (settings.http_listen.port(), "http_listen"),
        (settings.resolver_listen.port(), "resolver_listen"),
        (settings.proxy_http_port, "proxy_http_port"),
        (settings.proxy_https_port, "proxy_https_port"),
    ] {
        if own == port {
            return Err(PortError::OfServer { port, setting }.into());
        }
    }
    let allowed = match instance::value_of(settings, tables, &property::TCP_PORTS, None)? {
        Some(Value::Text(text)) => text,
        _ => "none".to_owned(),
    };
    if !port_ranges(&allowed).unwrap_or_default().iter().any(|range| range.contains(&port)) {
        return Err(PortError::NotAllowed { port, allowed }.into());
    }
    if is_shared {
        return Ok(());
    }
    let sockets = tcp::sockets();
    let ours = || match mapping.scheme {
        PortScheme::Tcp => sockets_of_edge(settings),
        PortScheme::Http | PortScheme::Https => proxy::sockets_of_caddy(settings),
    };
    let holder = match listener(&sockets, port).map(|socket| Listener::of(socket, &ours())) {
        Some(Listener::Other(holder)) => Some(holder),
        // A port that was an app's a moment ago.
        Some(Listener::Ours) => None,
        // The kernel has the last word: a port may be taken by what does not listen.
        None => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).err().map(|_| "another program".to_owned()),
    };
    holder.map_or(Ok(()), |holder| Err(PortError::InUse { port, holder }.into()))
}
