use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::completions::route_names;
use crate::{
    Error, Result,
    context::Context,
    model::{Access, Right, RouteSource, RouteTarget, route_options},
    ops::{
        edit::Outcome,
        routes::{self, RouteChanged},
    },
    ui::Ui,
};

/// Routes: hosts, paths and ports that lead to no app, but to other addresses
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "routes:list")]
    List(List),
    #[command(name = "routes:info")]
    Info(Info),
    #[command(name = "routes:add")]
    Add(Box<Add>),
    #[command(name = "routes:set", after_help = options())]
    Set(Set),
    #[command(name = "routes:enable")]
    Enable(Enable),
    #[command(name = "routes:disable")]
    Disable(Disable),
    #[command(name = "routes:remove")]
    Remove(Remove),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            // A route shows addresses that only this machine reaches, and may lead to them.
            Command::List(_)
            | Command::Info(_)
            | Command::Add(_)
            | Command::Set(_)
            | Command::Enable(_)
            | Command::Disable(_)
            | Command::Remove(_) => Access::Server(Right::Administer),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::List(_) => ui.show(&routes::list(context)?),
            Command::Info(it) => ui.show(&routes::info(context, &it.route.route)?),
            Command::Add(it) => it.run(context, ui).await,
            Command::Set(it) => it.run(context, ui).await,
            Command::Enable(it) => changed(ui, &routes::enable(context, &it.route.route, true).await?),
            Command::Disable(it) => changed(ui, &routes::enable(context, &it.route.route, false).await?),
            Command::Remove(it) => changed(ui, &routes::remove(context, &it.route.route).await?),
        }
    }
}

/// Says what became of a route.
fn changed(ui: Ui, changed: &RouteChanged) -> Result<()> {
    if changed.outcome == Outcome::Unchanged {
        ui.talk("nothing to change: the route already is like this");
    }
    for warning in &changed.warnings {
        ui.talk(&format!(" !     {warning}"));
    }
    if let Some(route) = &changed.route {
        let targets: Vec<&str> = route.targets.iter().map(|target| target.target.as_str()).collect();
        ui.talk(&format!("{} leads to {}: {}", route.shown, targets.join(", "), route.state));
    }
    ui.show(changed)
}

/// What can be set of a route, for its help.
fn options() -> String {
    let lines = route_options().map(|(word, values, about)| format!("  {word}={values}\n          {about}"));
    let targets = "  targets=TARGET,TARGET...\n          where it leads".to_owned();
    format!("Options:\n{}", std::iter::once(targets).chain(lines).collect::<Vec<_>>().join("\n"))
}

/// List all routes, with how they are
#[derive(Debug, Args)]
pub(super) struct List {}

/// Show a route: its targets, where they are and whether they are well
#[derive(Debug, Args)]
pub(super) struct Info {
    #[command(flatten)]
    route: Route,
}

/// A route.
#[derive(Debug, Args)]
pub(super) struct Route {
    /// The route, as `paas routes:list` shows it: a host, a host with a path, or tcp:PORT
    #[arg(value_name = "ROUTE", add = ArgValueCandidates::new(route_names))]
    route: RouteSource,
}

/// Have a host, a path or a port lead to an address or a container
///
/// `paas routes:add grafana.example.com 10.0.0.7:3000` passes the requests for a host on. A target is an address or a name
/// with a port, with https:// in front if it is spoken to over TLS, or a container that is not one of paas, such as
/// `container:grafana:3000`: it is followed wherever it is after a restart. Several targets share the requests. Each is looked
/// at every two seconds, and gets none while it is not well.
///
/// `paas routes:add example.com/api 10.0.0.8:80 --strip` is for the paths that begin with /api; a host may have several routes.
/// `paas routes:add tcp:5432 10.0.0.9:5432` relays a port of this machine, one that the setting tcp_ports allows.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// What comes in: a host, a host with a path, or tcp:PORT
    #[arg(value_name = "ROUTE")]
    route: RouteSource,
    /// Where it leads
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<RouteTarget>,
    /// How it is known that a target is well: tcp (it takes connections), off, or a path that it answers with 200 to 399
    #[arg(long, value_name = "PATH")]
    health: Option<String>,
    /// Leave out the path of the route in what the target is asked
    #[arg(long)]
    strip: bool,
    /// As which host a target is asked: keep (as the client asked), target (its own name), or a host
    #[arg(long, value_name = "HOST")]
    host_header: Option<String>,
    /// Do not look at the certificate of a target that is spoken to over TLS
    #[arg(long)]
    no_tls_verify: bool,
    /// Serve plain HTTP, too, where the host has a certificate
    #[arg(long)]
    no_https_redirect: bool,
    /// Tell the target of a port who the client is, by the PROXY protocol: v1 or v2
    #[arg(long, value_name = "VERSION")]
    proxy_protocol: Option<String>,
}

impl Add {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let word = |word: &str, value: Option<String>| value.map(|value| (word.to_owned(), value));
        let on = |is_on: bool, value: &str| is_on.then(|| value.to_owned());
        let set: BTreeMap<String, String> = [
            word("health", self.health),
            word("strip", on(self.strip, "on")),
            word("host-header", self.host_header),
            word("tls-verify", on(self.no_tls_verify, "off")),
            word("https-redirect", on(self.no_https_redirect, "off")),
            word("proxy-protocol", self.proxy_protocol),
        ]
        .into_iter()
        .flatten()
        .collect();
        changed(ui, &routes::add(context, &self.route, &self.targets, &set).await?)
    }
}

/// Change where a route leads, or how
///
/// `paas routes:set example.com targets=10.0.0.7:3000,10.0.0.8:3000 health=/up`; an empty value, as in `health=`, resets an
/// option.
#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    route: Route,
    /// What is to be, such as health=/up
    #[arg(value_name = "KEY=VALUE", required = true)]
    pairs: Vec<String>,
}

impl Set {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let pairs = self.pairs.iter().map(|pair| {
            let (word, value) = pair.split_once('=').ok_or_else(|| {
                Error::usage(format!("{pair:?} is not KEY=VALUE"), "`paas routes:set --help` lists the keys")
            })?;
            Ok((word.to_owned(), value.to_owned()))
        });
        let pairs = pairs.collect::<Result<Vec<_>>>()?;
        changed(ui, &routes::set(context, &self.route.route, &pairs).await?)
    }
}

/// Follow a route again
#[derive(Debug, Args)]
pub(super) struct Enable {
    #[command(flatten)]
    route: Route,
}

/// Do not follow a route, but keep it
#[derive(Debug, Args)]
pub(super) struct Disable {
    #[command(flatten)]
    route: Route,
}

/// Remove a route
#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    route: Route,
}
