//! Routes: hosts, paths and ports that lead to no app of ours.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{domains::is_default_of, edit::Outcome, ports};
use crate::{
    Error, Result, clock,
    context::Context,
    engine::Engine,
    error::{DomainError, PortError, Thing},
    instance::Instance,
    model::{
        self, Change, Domain, Invalid, Place, PortMapping, PortScheme, RouteOptions, RouteSource, RouteTarget, Subject,
        TargetPlace,
    },
    proxy,
    store::{StoredRoute, Tables, TargetState},
    ui::{Show, Text, lines_or_dash},
};

/// How many routes there may be.
const MOST_ROUTES: usize = 1000;

/// A target of a route.
#[derive(Clone, Debug, Serialize)]
pub struct TargetInfo {
    /// Where it leads.
    pub target: String,
    /// Its addresses that get requests.
    pub addresses: Vec<String>,
    /// Why there is none, or not all.
    pub failing: Option<String>,
    /// Since when this is so, as RFC 3339.
    pub since_at: String,
}

impl From<&TargetState> for TargetInfo {
    fn from(state: &TargetState) -> TargetInfo {
        TargetInfo {
            target: state.target.to_string(),
            addresses: state.addresses.iter().map(ToString::to_string).collect(),
            failing: state.failing.clone(),
            since_at: clock::rfc3339(state.since),
        }
    }
}

impl std::fmt::Display for TargetInfo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = if self.target.contains(&self.addresses.join(",")) {
            String::new()
        } else {
            format!(" (at {})", self.addresses.join(", "))
        };
        match &self.failing {
            Some(reason) if self.addresses.is_empty() => write!(formatter, "{}: {reason}", self.target),
            Some(reason) => write!(formatter, "{}{at}: {reason}", self.target),
            None => write!(formatter, "{}{at}", self.target),
        }
    }
}

/// A route.
#[derive(Clone, Debug, Serialize)]
pub struct RouteInfo {
    /// What comes in by it: a host, a host with a path, or a port.
    pub route: String,
    /// The same in the letters of people.
    pub shown: String,
    /// Whether it is followed.
    pub enabled: bool,
    /// How it is: disabled, well, degraded, down.
    pub state: &'static str,
    /// Where it leads.
    pub targets: Vec<TargetInfo>,
    /// What is set of it.
    pub options: BTreeMap<String, String>,
    /// Who added it.
    pub added_by: String,
    /// When, as RFC 3339.
    pub added_at: String,
}

impl From<&StoredRoute> for RouteInfo {
    fn from(stored: &StoredRoute) -> RouteInfo {
        let state = match (stored.enabled, stored.upstreams().is_empty()) {
            (false, _) => "disabled",
            (true, true) => "down",
            (true, false) if stored.targets.iter().any(|state| state.failing.is_some()) => "degraded",
            (true, false) => "well",
        };
        RouteInfo {
            route: stored.source.to_string(),
            shown: stored.source.shown(),
            enabled: stored.enabled,
            state,
            targets: stored.targets.iter().map(TargetInfo::from).collect(),
            options: stored.set.clone(),
            added_by: stored.actor.to_string(),
            added_at: clock::rfc3339(stored.added_at),
        }
    }
}

impl Show for RouteInfo {
    fn text(&self) -> Text {
        Text::facts(vec![
            ("route", self.shown.clone()),
            ("state", self.state.to_owned()),
            ("targets", lines_or_dash(self.targets.iter().map(ToString::to_string))),
            ("options", lines_or_dash(self.options.iter().map(|(word, value)| format!("{word}={value}")))),
            ("added by", format!("{}, {}", self.added_by, self.added_at)),
        ])
    }
}

/// All routes.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct RouteList(pub Vec<RouteInfo>);

impl Show for RouteList {
    fn text(&self) -> Text {
        Text::table(
            ["ROUTE", "STATE", "TO"],
            self.0.iter().map(|it| {
                let targets: Vec<&str> = it.targets.iter().map(|target| target.target.as_str()).collect();
                [it.shown.clone(), it.state.to_owned(), targets.join(", ")]
            }),
        )
    }
}

/// What became of a change of a route.
#[derive(Clone, Debug, Serialize)]
pub struct RouteChanged {
    /// What became of it.
    pub outcome: Outcome,
    /// The route; none: it is gone.
    pub route: Option<RouteInfo>,
    /// What is to be known of it, in words.
    pub warnings: Vec<String>,
}

impl Show for RouteChanged {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// All routes.
///
/// # Errors
/// [`Error::Store`].
pub fn list(context: &Context<'_>) -> Result<RouteList> {
    Ok(RouteList(context.instance.read(|tables| tables.routes())?.iter().map(RouteInfo::from).collect()))
}

/// A route.
///
/// # Errors
/// [`Error::NotFound`].
pub fn info(context: &Context<'_>, source: &RouteSource) -> Result<RouteInfo> {
    Ok(RouteInfo::from(&context.instance.read(|tables| find(tables, source))?))
}

/// What comes in by routes, for completions.
///
/// # Errors
/// [`Error::Store`].
pub fn all(instance: &Instance) -> Result<Vec<String>> {
    instance.read(|tables| Ok(tables.routes()?.iter().map(|route| route.source.to_string()).collect()))
}

fn find(tables: &Tables<'_>, source: &RouteSource) -> Result<StoredRoute> {
    tables.find_route(source)?.ok_or_else(|| Error::NotFound(Thing::Route, source.to_string()))
}

/// Adds a route.
///
/// # Errors
/// [`Error::Exists`]; [`DomainError`] or [`PortError`] for a host or a port that is an app's, or cannot be had;
/// [`Invalid`] for options that mean nothing here. A target that is not well is no error.
pub async fn add(
    context: &Context<'_>,
    source: &RouteSource,
    targets: &[RouteTarget],
    set: &BTreeMap<String, String>,
) -> Result<RouteChanged> {
    RouteTarget::check(targets)?;
    let options = RouteOptions::of(set)?;
    options.check(source, targets, set)?;
    let states = look(context, source, &options, targets).await?;
    context.change(&change("routes:add", source, targets), |tables| {
        if tables.find_route(source)?.is_some() {
            return Err(Error::Exists(Thing::Route, source.to_string()));
        }
        check_free(context, tables, source)?;
        tables.set_route(source, set, &states, context.actor())?;
        if tables.routes()?.len() > MOST_ROUTES {
            let rule = format!("there may be {MOST_ROUTES}");
            return Err(Invalid::new("number of routes", (MOST_ROUTES + 1).to_string(), rule).into());
        }
        Ok(())
    })?;
    finish(context, source, Outcome::Saved).await
}

/// Changes a route: what is not named stays.
///
/// `pairs`: words with their values; `targets` is one of them. An empty value means that nothing is set of it.
///
/// # Errors
/// [`Error::NotFound`], [`Invalid`]. Nothing has changed then.
pub async fn set(context: &Context<'_>, source: &RouteSource, pairs: &[(String, String)]) -> Result<RouteChanged> {
    let stored = context.instance.read(|tables| find(tables, source))?;
    let mut set = stored.set.clone();
    let mut targets = stored.typed_targets();
    for (at, (word, value)) in pairs.iter().enumerate() {
        if pairs[..at].iter().any(|(other, _)| other == word) {
            return Err(Error::usage(format!("{word} is there twice"), "name each option once"));
        }
        match (word.as_str(), value.as_str()) {
            ("targets", list) => targets = RouteTarget::list(list)?,
            (word, "") => {
                RouteOptions::check_word(word)?;
                set.remove(word);
            }
            (word, value) => drop(set.insert(word.to_owned(), value.to_owned())),
        }
    }
    let options = RouteOptions::of(&set)?;
    options.check(source, &targets, &set)?;
    if set == stored.set && targets == stored.typed_targets() {
        return finish(context, source, Outcome::Unchanged).await;
    }
    let states = look(context, source, &options, &targets).await?;
    context.change(&change("routes:set", source, &targets), |tables| {
        let now = find(tables, source)?;
        if now.set != stored.set || now.typed_targets() != stored.typed_targets() {
            return Err(Error::Domain(DomainError::RouteChanged { route: source.to_string() }));
        }
        tables.set_route(source, &set, &states, context.actor()).map(drop)
    })?;
    finish(context, source, Outcome::Saved).await
}

/// Has a route followed, or not.
///
/// # Errors
/// [`Error::NotFound`]; [`PortError`] for a port that somebody else has by now.
pub async fn enable(context: &Context<'_>, source: &RouteSource, enabled: bool) -> Result<RouteChanged> {
    let action = if enabled { "routes:enable" } else { "routes:disable" };
    let changed = context.instance.write(|tables| {
        let stored = find(tables, source)?;
        if stored.enabled == enabled {
            return Ok(false);
        }
        if let (RouteSource::Tcp(_), true) = (source, enabled) {
            check_free(context, tables, source)?;
        }
        tables.enable_route(stored.id, enabled)?;
        context.note(tables, &Change::new(action, Subject::Route(source.clone())), model::Outcome::Done)?;
        Ok(true)
    })?;
    finish(context, source, if changed { Outcome::Saved } else { Outcome::Unchanged }).await
}

/// Removes a route.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn remove(context: &Context<'_>, source: &RouteSource) -> Result<RouteChanged> {
    context.change(&Change::new("routes:remove", Subject::Route(source.clone())), |tables| {
        tables.remove_route(find(tables, source)?.id)
    })?;
    let warnings = in_force(context).await?.into_iter().collect();
    Ok(RouteChanged { outcome: Outcome::Saved, route: None, warnings })
}

fn change(action: &'static str, source: &RouteSource, targets: &[RouteTarget]) -> Change<'static> {
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    Change::new(action, Subject::Route(source.clone())).with(format!("to {}", targets.join(", ")))
}

/// Has the edge read what there is now, and returns it when it holds.
async fn finish(context: &Context<'_>, source: &RouteSource, outcome: Outcome) -> Result<RouteChanged> {
    let mut warnings: Vec<String> = in_force(context).await?.into_iter().collect();
    let stored = context.instance.read(|tables| find(tables, source))?;
    if let (RouteSource::Tcp(port), true) = (source, stored.enabled)
        && !ports::is_relayed(&context.instance.settings, *port)
    {
        warnings.push(format!("nothing listens on port {port} yet: `paas serve` opens it when it runs"));
    }
    for state in stored.targets.iter().filter(|_| stored.enabled) {
        if let Some(reason) = &state.failing {
            warnings.push(format!("{}: {reason}", state.target));
        }
    }
    Ok(RouteChanged { outcome, route: Some(RouteInfo::from(&stored)), warnings })
}

/// Waits until the edge answers with what was committed, and the Caddy behind the first has what the first cannot do; says so
/// if that is not yet so.
async fn in_force(context: &Context<'_>) -> Result<Option<String>> {
    let holds = proxy::enforce(context.instance).await?;
    Ok((!holds).then(|| "it holds as soon as `paas serve` runs".to_owned()))
}

/// Looks at the targets of a route that is about to be.
async fn look(
    context: &Context<'_>,
    source: &RouteSource,
    options: &RouteOptions,
    targets: &[RouteTarget],
) -> Result<Vec<TargetState>> {
    let is_container = |target: &RouteTarget| matches!(target.place, TargetPlace::Container(_));
    let engine = if targets.iter().any(is_container) {
        let engine = Engine::connect(&context.instance.settings).await?;
        for target in targets {
            refuse_own(context, &engine, source, target).await?;
        }
        Some(engine)
    } else {
        None
    };
    let looks = targets.iter().map(|target| {
        let engine = engine.as_ref();
        async move {
            let look = proxy::look_at_target(engine, source, options, targets, target).await;
            let (addresses, failing) = match look {
                Some(look) => (look.addresses, look.failing),
                None => (Vec::new(), Some("the container engine does not answer".to_owned())),
            };
            TargetState { target: target.clone(), addresses, failing, since: clock::now() }
        }
    });
    Ok(futures_util::future::join_all(looks).await)
}

/// Refuses a container of ours: an app has names of its own, by which a deploy is followed.
async fn refuse_own(context: &Context<'_>, engine: &Engine, source: &RouteSource, target: &RouteTarget) -> Result<()> {
    let TargetPlace::Container(name) = &target.place else { return Ok(()) };
    let place = engine.place_of(name.as_str()).await?;
    if place.is_none_or(|place| place.instance.as_deref() != Some(&context.instance.id)) {
        return Ok(());
    }
    let hint = match source {
        RouteSource::Http { host, .. } => format!("`paas domains:add APP {host}` has the host lead to the app"),
        RouteSource::Tcp(port) => format!("`paas ports:add APP tcp:{port}:PORT` has the port lead to the app"),
    };
    Err(Error::usage(format!("{name} is a container of an app here, and each deploy makes another one"), hint))
}

/// That a host or a port is nobody's.
fn check_free(context: &Context<'_>, tables: &Tables<'_>, source: &RouteSource) -> Result<()> {
    let settings = &context.instance.settings;
    match source {
        RouteSource::Tcp(port) => {
            if let Some(stored) = tables.ports_at(*port)?.into_iter().next() {
                return Err(PortError::Taken { port: *port, owner: Some(stored.app) }.into());
            }
            let mapping = PortMapping { scheme: PortScheme::Tcp, host: *port, container: *port };
            ports::check_free(context, tables, &mapping, false)
        }
        RouteSource::Http { host, path } => {
            let typed = host.shown();
            let taken = |owner: model::AppName| DomainError::OfApp {
                domain: typed.clone(),
                owner,
                path: path.as_ref().map(ToString::to_string),
            };
            if let Some(stored) = tables.find_owner(host)? {
                return Err(taken(stored.app).into());
            }
            let server = tables.server_names(&settings.domain)?;
            match server.place(host) {
                Place::Reserved => {
                    let rule = "the name is reserved for the server's own pages";
                    return Err(Invalid::new("route", source.to_string(), rule).into());
                }
                Place::DefaultOf(owner) => {
                    if let Some(app) = tables.find_app(&owner)?
                        && tables.names_of_app(app.id)?.default
                        && is_default_of(&server, host, &app.name)
                    {
                        return Err(taken(app.name).into());
                    }
                }
                Place::OfServer | Place::Elsewhere => {}
            }
            Ok(())
        }
    }
}

/// Refuses a name for an app that is that of a route.
///
/// # Errors
/// [`DomainError`].
pub(super) fn refuse_routed(tables: &Tables<'_>, domain: &Domain) -> Result<()> {
    if tables.is_routed(domain)? {
        return Err(DomainError::OfRoute { domain: domain.shown() }.into());
    }
    Ok(())
}

/// Targets that a report has to say something of.
///
/// # Errors
/// [`Error::Store`].
pub fn troubles(tables: &Tables<'_>) -> Result<Vec<String>> {
    let routes = tables.routes()?;
    let of = |route: &StoredRoute| {
        let source = route.source.shown();
        let failing = route.targets.iter().filter_map(|state| Some((state.target.to_string(), state.failing.clone()?)));
        failing.map(move |(target, reason)| format!("route {source}: {target}: {reason}")).collect::<Vec<_>>()
    };
    Ok(routes.iter().filter(|route| route.enabled).flat_map(of).collect())
}
