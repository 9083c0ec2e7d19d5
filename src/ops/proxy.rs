//! The rules of the proxy for one app: who may see it, what is done with its requests and answers, where its paths lead.

use serde::Serialize;

use super::{domains::note_refusal, edit::Outcome, properties};
use crate::{
    Error, Result, clock,
    context::Context,
    deploy,
    error::{AccessError, Thing},
    instance::Instance,
    model::{
        self, App, AppName, Change, Hostname, Noun, PathPrefix, PathTarget, Property, Right, Scope, Subject, WebUser,
        property,
    },
    proxy::{self, Lead, RouteEntry, Table},
    secrets,
    store::{AppRules, PathRule, Tables, serving},
    ui::{Show, Text, lines_or_dash, or_dash},
};

/// How many users, and how many paths, an app may have.
const MOST_USERS: usize = 200;
const MOST_PATHS: usize = 100;
/// The longest password, in bytes: bcrypt looks at no more.
pub const LONGEST_PASSWORD: usize = 72;
/// How much work it is to try a password, as a power of two (bcrypt).
const COST: u32 = 10;
/// The longest text in Caddy's own words, in bytes.
pub const LONGEST_SNIPPET: usize = 64 << 10;

/// A path that leads elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct PathInfo {
    /// The beginning of the path.
    pub prefix: String,
    /// Where its requests go.
    pub target: String,
    /// Whether the beginning is left out.
    pub strip: bool,
}

impl From<&PathRule> for PathInfo {
    fn from(rule: &PathRule) -> PathInfo {
        PathInfo { prefix: rule.prefix.to_string(), target: rule.target.to_string(), strip: rule.strip }
    }
}

impl std::fmt::Display for PathInfo {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let without = if self.strip { format!(", without {}", self.prefix) } else { String::new() };
        write!(formatter, "{} to {}{without}", self.prefix, self.target)
    }
}

/// The rules of an app.
#[derive(Clone, Debug, Serialize)]
pub struct ProxyReport {
    /// The app.
    pub app: AppName,
    /// Whether requests are passed to it.
    pub enabled: bool,
    /// Whether its requests go through rules now.
    pub ruled: bool,
    /// The users who may see it by a password; everybody where there is none.
    pub users: Vec<String>,
    /// The paths that lead elsewhere.
    pub paths: Vec<PathInfo>,
    /// Who set a text in Caddy's own words, if there is one.
    pub snippet_by: Option<String>,
    /// The properties.
    pub properties: properties::PropertyLines,
}

impl Show for ProxyReport {
    fn text(&self) -> Text {
        let mut facts = vec![
            ("app", self.app.to_string()),
            ("users", lines_or_dash(self.users.iter().cloned())),
            ("paths", lines_or_dash(self.paths.iter().map(PathInfo::to_string))),
            ("snippet by", or_dash(self.snippet_by.as_ref())),
        ];
        for line in &self.properties.0 {
            let lines: Vec<String> = line.effective.lines().map(str::to_owned).collect();
            facts.push((line.name, lines_or_dash(lines)));
        }
        facts.push(("rules in force", if self.ruled { "yes" } else { "none" }.to_owned()));
        Text::facts(facts)
    }
}

/// Reports the rules of an app.
///
/// # Errors
/// [`Error::NotFound`].
pub fn report(context: &Context<'_>, app: &AppName) -> Result<ProxyReport> {
    let lines = properties::report(context, Noun::Proxy, Some(app), None)?;
    context.instance.read(|tables| {
        let app = tables.app(app)?;
        let rules = tables.rules(app.id, &app.name)?;
        let serving = tables.serving_inner_proxy()?;
        Ok(ProxyReport {
            enabled: proxy::is_enabled(&rules.properties),
            ruled: serving.is_some_and(|serving| serving.apps.contains(&app.id)),
            users: rules.users.iter().map(|(name, _)| name.to_string()).collect(),
            paths: rules.paths.iter().map(PathInfo::from).collect(),
            snippet_by: tables
                .proxy_snippet(app.id)?
                .map(|snippet| format!("{}, {}", snippet.actor, clock::ago(snippet.set_at))),
            properties: lines,
            app: app.name,
        })
    })
}

/// An app with rules.
#[derive(Clone, Debug, Serialize)]
pub struct RuledApp {
    /// The app.
    pub app: AppName,
    /// Whether requests are passed to it.
    pub enabled: bool,
    /// What is set for it.
    pub set: Vec<&'static str>,
    /// How many users may see it by a password.
    pub users: usize,
    /// How many paths lead elsewhere.
    pub paths: usize,
}

/// The apps with rules.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct RuledApps(pub Vec<RuledApp>);

impl Show for RuledApps {
    fn text(&self) -> Text {
        Text::table(
            ["APP", "ENABLED", "USERS", "PATHS", "SET"],
            self.0.iter().map(|it| {
                let enabled = if it.enabled { "yes" } else { "no" }.to_owned();
                [it.app.to_string(), enabled, it.users.to_string(), it.paths.to_string(), it.set.join(", ")]
            }),
        )
    }
}

/// The apps with rules that the caller sees.
///
/// # Errors
/// [`Error::Store`].
pub fn report_all(context: &Context<'_>) -> Result<RuledApps> {
    let all = context.instance.read(|tables| tables.all_rules())?;
    let seen = all.into_iter().filter(|rules| context.sees(&rules.name));
    Ok(RuledApps(
        seen.map(|AppRules { name, properties, users, paths, snippet, .. }| {
            let mut set: Vec<&str> = properties.iter().map(|set| set.property.name).collect();
            set.extend(snippet.map(|_| "snippet"));
            set.dedup();
            let enabled = proxy::is_enabled(&properties);
            RuledApp { app: name, enabled, set, users: users.len(), paths: paths.len() }
        })
        .collect(),
    ))
}

/// What became of a change of an app's rules.
#[derive(Clone, Debug, Serialize)]
pub struct RulesChanged {
    /// The app.
    pub app: AppName,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether the change holds; if not, it does when the daemon runs.
    pub in_force: bool,
}

impl Show for RulesChanged {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Changes something about an app, unless it is so already, and waits until it holds.
async fn change(
    context: &Context<'_>,
    app: &AppName,
    action: &'static str,
    detail: String,
    work: impl FnOnce(&Tables<'_>, &App) -> Result<bool>,
) -> Result<RulesChanged> {
    let changed = context.instance.write(|tables| {
        let app = tables.app(app)?;
        deploy::refuse_locked(&app)?;
        let changed = work(tables, &app)?;
        if changed {
            context.note(
                tables,
                &Change::new(action, Subject::App(app.name.clone())).with(detail),
                model::Outcome::Done,
            )?;
        }
        Ok(changed)
    })?;
    let outcome = if changed { Outcome::Saved } else { Outcome::Unchanged };
    Ok(RulesChanged { app: app.clone(), outcome, in_force: proxy::enforce(context.instance).await? })
}

/// Refuses to trust other proxies where the Caddy of this machine could then not tell who a client is, and that is asked of it.
///
/// # Errors
/// [`Error::Usage`] with the version that can; [`Error::Store`].
pub async fn check_trusted(context: &Context<'_>, wanted: Option<&str>) -> Result<()> {
    let (networks, lists) = wanted.and_then(|text| model::trusted_proxies(text).ok()).unwrap_or_default();
    for path in &lists {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        text.and_then(|text| model::network_lines(&text)).map_err(|reason| {
            Error::usage(
                format!("{} is not a list of proxies: {reason}", path.display()),
                "write a network in each line, such as 203.0.113.0/24, and let the user of `paas serve` read the file",
            )
        })?;
    }
    if networks.is_empty() && lists.is_empty() {
        return Ok(());
    }
    let by_address = context.instance.read(|tables| tables.all_rules())?.into_iter().find(|rules| {
        let set = |property: &'static Property| property::nearest(&rules.properties, property, None).is_some();
        set(&property::PROXY_ALLOW) || set(&property::PROXY_DENY)
    });
    match by_address {
        Some(rules) => refuse_old_caddy(context, &format!("allow and deny of {}", rules.name)).await,
        None => Ok(()),
    }
}

/// Refuses rules about addresses that the Caddy of this machine could not keep.
///
/// # Errors
/// [`Error::Usage`] with the version that can.
pub async fn check_addresses(context: &Context<'_>, words: &[String]) -> Result<()> {
    let changes = property::parse_words(Noun::Proxy, words)?;
    let is_set =
        |property: &'static Property| changes.iter().any(|(found, value)| *found == property && value.is_some());
    let settings = &context.instance.settings;
    if (is_set(&property::PROXY_ALLOW) || is_set(&property::PROXY_DENY))
        && !context.instance.read(|tables| proxy::trusted_proxies(tables, settings))?.is_empty()
    {
        return refuse_old_caddy(context, "allow and deny").await;
    }
    Ok(())
}

async fn refuse_old_caddy(context: &Context<'_>, what: &str) -> Result<()> {
    let version = proxy::caddy_version(&context.instance.settings).await?;
    if proxy::tells_them_apart(&version) {
        return Ok(());
    }
    Err(Error::usage(
        format!(
            "{what} cannot be kept behind trusted_proxies by Caddy {version}: it cannot tell what a client says of itself from what they say"
        ),
        "install Caddy 2.8 or newer, or do without one of both",
    ))
}

/// Has requests passed to an app, or not.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn enable(context: &Context<'_>, app: &AppName, enabled: bool) -> Result<RulesChanged> {
    let action = if enabled { "proxy:enable" } else { "proxy:disable" };
    change(context, app, action, String::new(), |tables, app| {
        let before = proxy::is_enabled(&tables.rules(app.id, &app.name)?.properties);
        let value = Some(enabled.to_string());
        let set = model::PropertyChange { scope: Scope::App, property: &property::PROXY_ENABLED, value };
        tables.change_properties(Some(app.id), &[set], context.actor())?;
        Ok(before != enabled)
    })
    .await
}

/// Lets a user see an app by a password, or gives one another password.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Usage`] for a password that cannot be one.
pub async fn add_user(context: &Context<'_>, app: &AppName, user: &WebUser, password: &str) -> Result<RulesChanged> {
    if password.is_empty() || password.len() > LONGEST_PASSWORD || password.chars().any(char::is_control) {
        return Err(Error::usage(
            format!("a password has 1 to {LONGEST_PASSWORD} bytes in one line, without control characters"),
            format!("`paas proxy:auth-add {app} {user} --generate` makes one up"),
        ));
    }
    let hash = bcrypt::hash(password, COST).map_err(Error::bug)?;
    change(context, app, "proxy:auth-add", user.to_string(), |tables, app| {
        let before = tables.rules(app.id, &app.name)?.users;
        if before.len() >= MOST_USERS && !before.iter().any(|(name, _)| name == user) {
            return Err(Error::usage(
                format!("{} has {MOST_USERS} users already, and may not have more", app.name),
                "let several people share a name, or have the app itself ask who they are",
            ));
        }
        tables.set_proxy_user(app.id, user, &hash)?;
        Ok(true)
    })
    .await
}

/// A password that nobody knows yet.
///
/// # Errors
/// [`Error::Host`].
pub fn made_up_password() -> Result<String> {
    Ok(secrets::made_up()?.chars().take(24).collect())
}

/// A password that was made up.
#[derive(Clone, Debug, Serialize)]
pub struct Generated {
    /// The app.
    pub app: AppName,
    /// Whose it is.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Show for Generated {
    fn text(&self) -> Text {
        Text::Line(self.password.clone())
    }
}

/// Takes a user from an app. When the last one is gone, everybody may see it.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn remove_user(context: &Context<'_>, app: &AppName, user: &WebUser) -> Result<RulesChanged> {
    change(context, app, "proxy:auth-remove", user.to_string(), |tables, app| {
        if tables.remove_proxy_user(app.id, user)? {
            return Ok(true);
        }
        Err(Error::NotFound(Thing::ProxyUser(app.name.clone()), user.to_string()))
    })
    .await
}

/// Has the requests for a path of an app go to another app, or to an address.
///
/// # Errors
/// [`Error::NotFound`]; that the caller lacks a right: to the other app, or for an address, which may be one that only this
/// machine reaches.
pub async fn add_path(
    context: &Context<'_>,
    app: &AppName,
    prefix: &PathPrefix,
    target: &PathTarget,
    strip: bool,
) -> Result<RulesChanged> {
    let lacks = |right, app| AccessError::Lacks { actor: context.actor().clone(), right, app }.into();
    let allowed = match target {
        PathTarget::App(other) if !context.sees(other) => Err(Error::NotFound(Thing::App, other.to_string())),
        PathTarget::App(other) if !context.caller.may_for(other, Right::Change) => {
            Err(lacks(Right::Change, Some(other.clone())))
        }
        PathTarget::Address(..) if !context.caller.may(Right::Administer) => Err(lacks(Right::Administer, None)),
        _ => Ok(()),
    };
    note_refusal(context, "proxy:path-add", Subject::App(app.clone()), allowed)?;
    let rule = PathRule { prefix: prefix.clone(), target: target.clone(), strip };
    change(context, app, "proxy:path-add", PathInfo::from(&rule).to_string(), |tables, app| {
        if let PathTarget::App(other) = target {
            let other = tables.app(other)?;
            if other.id == app.id {
                return Err(Error::usage(
                    format!("{} has the requests for this path already", app.name),
                    "name another app, or an address such as 10.0.0.7:8080",
                ));
            }
        }
        let before = tables.rules(app.id, &app.name)?.paths;
        if before.contains(&rule) {
            return Ok(false);
        }
        if before.len() >= MOST_PATHS && !before.iter().any(|path| path.prefix == *prefix) {
            return Err(Error::usage(
                format!("{} has {MOST_PATHS} paths already, and may not have more", app.name),
                "have one shorter path take in several",
            ));
        }
        tables.set_proxy_path(app.id, &rule)?;
        Ok(true)
    })
    .await
}

/// Has the requests for a path go to the app itself again.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn remove_path(context: &Context<'_>, app: &AppName, prefix: &PathPrefix) -> Result<RulesChanged> {
    change(context, app, "proxy:path-remove", prefix.to_string(), |tables, app| {
        if tables.remove_proxy_path(app.id, prefix)? {
            return Ok(true);
        }
        Err(Error::NotFound(Thing::ProxyPath(app.name.clone()), prefix.to_string()))
    })
    .await
}

/// Puts a text in Caddy's own words among the rules of an app. It is read by Caddy alone first, and tried.
///
/// # Errors
/// `ProxyError::Refused` with Caddy's reason; [`Error::NotFound`], [`Error::Usage`].
pub async fn set_snippet(context: &Context<'_>, app: &AppName, text: &str) -> Result<RulesChanged> {
    if text.trim().is_empty() || text.len() > LONGEST_SNIPPET || text.contains('\0') {
        return Err(Error::usage(
            format!("a snippet has 1 to {LONGEST_SNIPPET} bytes of text"),
            "give directives of a Caddyfile on standard input, such as `respond /health 200`",
        ));
    }
    let routes = proxy::adapted(context.instance, text).await?;
    change(context, app, "proxy:snippet-set", String::new(), |tables, app| {
        let before = tables.proxy_snippet(app.id)?.map(|snippet| snippet.text);
        tables.set_proxy_snippet(app.id, text, &routes, context.actor())?;
        Ok(before.as_deref() != Some(text))
    })
    .await
}

/// Removes it.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn clear_snippet(context: &Context<'_>, app: &AppName) -> Result<RulesChanged> {
    change(context, app, "proxy:snippet-clear", String::new(), |tables, app| tables.clear_proxy_snippet(app.id)).await
}

/// A text of a configuration, as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// What it is of: the app, or the whole server.
    pub app: Option<AppName>,
    /// The text.
    pub text: String,
}

impl Show for Shown {
    fn text(&self) -> Text {
        Text::Line(self.text.trim_end().to_owned())
    }
}

/// The text in Caddy's own words of an app.
///
/// # Errors
/// [`Error::NotFound`].
pub fn snippet(context: &Context<'_>, app: &AppName) -> Result<Shown> {
    context.instance.read(|tables| {
        let app = tables.app(app)?;
        let text = tables.proxy_snippet(app.id)?.map(|snippet| snippet.text).unwrap_or_default();
        Ok(Shown { app: Some(app.name), text })
    })
}

/// What Caddy is told: of an app, its rules; else the Caddyfile.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn configuration(context: &Context<'_>, app: Option<&AppName>) -> Result<Shown> {
    let Some(app) = app else {
        let text = proxy::caddyfile_without_secrets(context.instance)?;
        return Ok(Shown { app: None, text });
    };
    let id = context.instance.read(|tables| tables.app(app))?.id;
    Ok(Shown { app: Some(app.clone()), text: proxy::inner_configuration(context.instance, Some(id)).await? })
}

/// What would answer a URL, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// The URL.
    pub url: String,
    /// The app whose name the host is.
    pub app: Option<AppName>,
    /// Who answers: `app`, `path`, `redirect`, `page`.
    pub answered_by: &'static str,
    /// Why, and what comes on the way.
    pub why: Vec<String>,
    /// The path that leads elsewhere, if one takes it in.
    pub path: Option<PathInfo>,
    /// The number of the release.
    pub release: Option<u32>,
    /// The containers that may answer.
    pub containers: Vec<String>,
    /// The certificate of the handshake, in words.
    pub certificate: Option<String>,
}

impl Show for Tried {
    fn text(&self) -> Text {
        Text::facts(vec![
            ("url", self.url.clone()),
            ("app", or_dash(self.app.as_ref())),
            ("answered by", self.answered_by.to_owned()),
            ("why", lines_or_dash(self.why.iter().cloned())),
            ("path", or_dash(self.path.as_ref())),
            ("release", or_dash(self.release.map(|release| format!("v{release}")).as_ref())),
            ("containers", lines_or_dash(self.containers.iter().cloned())),
            ("certificate", or_dash(self.certificate.as_ref())),
        ])
    }
}

/// Says what would answer a URL, by the same table that the edge answers with. Nothing is asked.
///
/// # Errors
/// [`Error::Usage`] for what is no URL of the web; [`Error::Store`].
pub fn test(context: &Context<'_>, url: &str) -> Result<Tried> {
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let parsed = url::Url::parse(&with_scheme).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some((parsed, host)) = parsed.and_then(|url| Some((url.clone(), url.host_str()?.to_ascii_lowercase()))) else {
        return Err(Error::usage(
            format!("{url:?} is no URL of the web"),
            "give one such as https://blog.example.com/path",
        ));
    };
    let host = host.trim_end_matches('.').to_owned();
    let instance = context.instance;
    instance.read(|tables| {
        let table = Table::read(tables, &instance.settings, None)?;
        let mut tried = Tried {
            url: parsed.to_string(),
            app: None,
            answered_by: "page",
            why: Vec::new(),
            path: None,
            release: None,
            containers: Vec::new(),
            certificate: None,
        };
        // What one may not see does not exist.
        let names = tables.app_ids()?;
        let owner = |id| names.iter().find(|(_, known)| **known == id).map(|(name, _)| name.clone());
        let sees = |lead: &&Lead| match lead.app() {
            Some(app) => owner(app).is_some_and(|app| context.sees(&app)),
            None => context.caller.may(Right::See),
        };
        let Some(lead) = table.lead(&host).filter(sees) else {
            tried.why.push(format!("{host} is not the name of an app: 404"));
            return Ok(tried);
        };
        tried.app = lead.app().and_then(owner);
        let is_secure = parsed.scheme() == "https";
        if is_secure {
            tried.certificate = Some(certificate(instance, tables, &table, &host, lead)?);
        }
        trace(tables, &table, &host, &parsed, lead, &mut tried)?;
        Ok(tried)
    })
}

/// Follows a request.
fn trace(tables: &Tables<'_>, table: &Table, host: &str, url: &url::Url, lead: &Lead, tried: &mut Tried) -> Result<()> {
    let why = &mut tried.why;
    let entry = match lead {
        Lead::Redirect(redirect) => {
            why.push(format!("{host} is sent on to {} ({})", redirect.to, redirect.code.number()));
            tried.answered_by = "redirect";
            return Ok(());
        }
        Lead::Routes(entry) => {
            trace_routes(table, host, url, entry, tried);
            return Ok(());
        }
        Lead::App(entry) => entry,
    };
    why.push(format!("{host} is a name of {}", entry.name));
    if url.scheme() == "http" && table.is_redirected_to_https(host) {
        why.push("plain HTTP is sent on to HTTPS (308)".to_owned());
        tried.answered_by = "redirect";
        return Ok(());
    }
    if !entry.enabled {
        why.push(format!("the proxy is disabled: 503; `paas proxy:enable {}` enables it", entry.name));
        return Ok(());
    }
    if entry.maintenance.is_some() {
        why.push("it is under maintenance: 503, except for addresses that are allowed and its health check".to_owned());
        return Ok(());
    }
    if entry.is_paused() {
        why.push("it is paused: requests are held".to_owned());
    }
    let rules = tables.rules(entry.id, &entry.name)?;
    let set = |property: &'static Property| property::nearest(&rules.properties, property, None).is_some();
    if entry.upstreams.is_empty() {
        why.push("it has no healthy web container: 503".to_owned());
        return Ok(());
    }
    if let Some(at) = entry.rules {
        why.push(format!("it has rules, which the Caddy at {at} has"));
    }
    if !rules.users.is_empty() {
        why.push("visitors need the name and the password of a user".to_owned());
    }
    if set(&property::PROXY_ALLOW) || set(&property::PROXY_DENY) {
        why.push("only some addresses are let in".to_owned());
    }
    if rules.snippet.is_some() {
        why.push("a snippet may answer before the app".to_owned());
    }
    if let Some(path) = rules.paths.iter().find(|path| path.prefix.takes_in(url.path())) {
        why.push(format!("{} begins with {}, which goes to {}", url.path(), path.prefix, path.target));
        tried.answered_by = "path";
        tried.path = Some(path.into());
        if let PathTarget::App(other) = &path.target {
            tried.containers = tables.upstreams(other)?.iter().map(ToString::to_string).collect();
        }
        return Ok(());
    }
    tried.answered_by = "app";
    tried.release = tables.current_release(entry.id)?.map(|release| release.version.0);
    tried.containers = entry.upstreams.iter().map(ToString::to_string).collect();
    Ok(())
}

/// Follows a request to a host that has routes.
fn trace_routes(table: &Table, host: &str, url: &url::Url, entry: &RouteEntry, tried: &mut Tried) {
    let why = &mut tried.why;
    if url.scheme() == "http" && table.is_redirected_to_https(host) {
        why.push("plain HTTP is sent on to HTTPS (308)".to_owned());
        tried.answered_by = "redirect";
        return;
    }
    let Some(route) = entry.host.route(url.path()) else {
        why.push(match entry.host.enabled().next() {
            None => "its route is disabled: 503".to_owned(),
            Some(_) => format!("{host} has routes, and none for {}: 404", url.path()),
        });
        return;
    };
    why.push(format!("the route {} leads there", route.source.shown()));
    let upstreams = route.upstreams();
    if upstreams.is_empty() {
        why.push("none of its targets is well: 503".to_owned());
        return;
    }
    if let (true, Some(at)) = (entry.host.needs_rules(), entry.ways.first()) {
        why.push(format!("the Caddy at {at} passes requests on"));
    }
    tried.answered_by = "route";
    tried.containers = upstreams.iter().map(ToString::to_string).collect();
}

/// The certificate of a handshake, in words.
fn certificate(instance: &Instance, tables: &Tables<'_>, table: &Table, host: &str, lead: &Lead) -> Result<String> {
    if table.https_port().is_none() {
        return Ok("none: HTTPS is off (the setting tls)".to_owned());
    }
    let name: Hostname = host.parse()?;
    let all = tables.certificates()?;
    Ok(match serving(&all, lead.app(), &name, clock::now()) {
        Some(found) => format!("number {} ({}), until {}", found.id, found.kind, clock::rfc3339(found.not_after)),
        None if table.is_secure(host) => "one of the internal authority, made when it is asked for".to_owned(),
        None => {
            let of = if instance.settings.tls == crate::settings::Tls::Acme {
                "`paas certs:report` says why"
            } else {
                "`paas certs:add` adds one"
            };
            format!("none: the handshake fails; {of}")
        }
    })
}
