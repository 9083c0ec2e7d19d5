use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::{
    arguments::{AppArgument, OptionalApp},
    completions::port_mappings,
};
use crate::{
    Result,
    context::Context,
    model::{Access, PortChoice, PortMapping, PortScheme, ProcessType, ProxyProtocol, Right},
    ops::{
        edit::Outcome,
        ports::{self, PortsChanged, Way},
    },
    ui::Ui,
};

/// Ports: ports of this machine that lead to an app, beside those of HTTP and HTTPS
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "ports:list")]
    List(List),
    #[command(name = "ports:add")]
    Add(Add),
    #[command(name = "ports:set")]
    Set(Set),
    #[command(name = "ports:remove")]
    Remove(Remove),
    #[command(name = "ports:clear")]
    Clear(Clear),
    #[command(name = "ports:report")]
    Report(Report),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::List(List { app: OptionalApp { app: Some(app) } })
            | Command::Report(Report { app: OptionalApp { app: Some(app) } }) => Access::App(app, Right::See),
            Command::List(_) | Command::Report(_) => Access::Server(Right::See),
            Command::Add(it) => Access::App(&it.app.app, Right::Change),
            Command::Set(it) => Access::App(&it.app.app, Right::Change),
            Command::Remove(it) => Access::App(&it.app.app, Right::Change),
            Command::Clear(it) => Access::App(&it.app.app, Right::Change),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::List(it) => ui.show(&ports::list(context, it.app.app.as_ref())?),
            Command::Report(Report { app: OptionalApp { app: Some(app) } }) => ui.show(&ports::report(context, &app)?),
            Command::Report(_) => ui.show(&ports::report_all(context)?),
            Command::Add(it) => changed(ui, &ports::add(context, &it.app.app, &it.ports, &Way::from(it.way)).await?),
            Command::Set(it) => changed(ui, &ports::set(context, &it.app.app, &it.ports, &Way::from(it.way)).await?),
            Command::Remove(it) => changed(ui, &ports::remove(context, &it.app.app, &it.ports).await?),
            Command::Clear(it) => changed(ui, &ports::clear(context, &it.app.app).await?),
        }
    }
}

/// Says what became of an app's ports.
fn changed(ui: Ui, changed: &PortsChanged) -> Result<()> {
    if changed.outcome == Outcome::Unchanged {
        ui.talk("nothing to change");
    }
    for port in &changed.ports.0 {
        let protocol = port.proxy_protocol.map(|version| format!(", with the PROXY protocol {version}"));
        let scheme = if port.scheme == PortScheme::Tcp { "" } else { port.scheme.as_str() };
        ui.talk(&format!(
            "{scheme}{}port {} leads to port {} of {}{}",
            if scheme.is_empty() { "" } else { " " },
            port.host,
            port.container,
            port.process,
            protocol.unwrap_or_default()
        ));
    }
    if changed.ports.0.is_empty() {
        ui.talk(&format!("{} has no port but the usual ones of HTTP and HTTPS", changed.app));
    }
    for warning in &changed.warnings {
        ui.talk(&format!(" !     {warning}"));
    }
    ui.show(changed)
}

/// List the ports of an app, or of all apps
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    app: OptionalApp,
}

/// Where ports lead beside what a mapping says.
#[derive(Debug, Args)]
struct WayArguments {
    /// The process type whose containers the ports lead to
    #[arg(short, long, default_value = "web", value_name = "TYPE")]
    process: ProcessType,
    /// With tcp: begin each connection with a header that says who the client is, v1 (a line of text) or v2 (binary). The
    /// app must expect it
    #[arg(long, value_name = "VERSION")]
    proxy_protocol: Option<ProxyProtocol>,
}

impl From<WayArguments> for Way {
    fn from(arguments: WayArguments) -> Way {
        Way { process: arguments.process, proxy_protocol: arguments.proxy_protocol }
    }
}

/// Have ports of this machine lead to an app
///
/// `paas ports:add db tcp:5432:5432` passes each connection to port 5432 of this machine on to port 5432 of a container of
/// the app, as it is. Such a port leads to one app. During a deploy new connections go to the new containers, and the old
/// ones stop when their connections have ended, or after `drain-timeout`.
///
/// `paas ports:add blog http:8080:3000` sends requests for the names of the app to port 3000 of its containers if they come
/// in at port 8080. Several apps can have it. If no app has it yet, the proxy must be reloaded for it, which may lose
/// requests that are under way; those of the setting `http_ports` are open beforehand. `https` is the same with TLS.
///
/// The setting `tcp_ports` says which ports may be used.
#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    app: AppArgument,
    /// tcp, http or https, the port of this machine, and the port of the container
    #[arg(value_name = "SCHEME:HOST:CONTAINER", required = true)]
    ports: Vec<PortMapping>,
    #[command(flatten)]
    way: WayArguments,
}

/// Have these ports lead to an app, and no others
///
/// As `ports:add`; ports of the app that are not named are taken from it.
#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    app: AppArgument,
    /// tcp, http or https, the port of this machine, and the port of the container
    #[arg(value_name = "SCHEME:HOST:CONTAINER", required = true)]
    ports: Vec<PortMapping>,
    #[command(flatten)]
    way: WayArguments,
}

/// Take ports from an app
///
/// They are closed at once. Connections that there are stay until they end.
#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    app: AppArgument,
    /// The port of this machine, or the mapping as it was added
    #[arg(value_name = "PORT", required = true, add = ArgValueCandidates::new(port_mappings))]
    ports: Vec<PortChoice>,
}

/// Take all ports from an app
#[derive(Debug, Args)]
pub(super) struct Clear {
    #[command(flatten)]
    app: AppArgument,
}

/// Show whether ports take connections, and which containers get them
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    app: OptionalApp,
}
