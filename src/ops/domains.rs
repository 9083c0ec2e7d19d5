//! Domains: the names under which apps are reached.
//!
//! A release knows nothing of them, so a rollback changes none. Each change is one transaction: all names of a command are
//! taken, or none.

use serde::Serialize;

use super::{edit::Outcome, routes};
use crate::{
    Error, Kind, Result, clock,
    context::Context,
    deploy,
    error::{DomainError, Thing},
    instance::Instance,
    model::{
        self, App, AppName, Change, Domain, Hostname, Invalid, Place, Right, ServerNames, Subject, TypedDomain,
        property,
    },
    proxy,
    settings::Settings,
    store::{AllNames, NamesOfApp, StoredDomain, Tables},
    ui::{Show, Text, or_dash},
};

/// How many global domains there may be: each app has a name below each.
const MOST_GLOBAL: usize = 100;

/// What a name of an app is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameKind {
    /// It was given to the app.
    Own,
    /// Each app has one below the server's domain, and below each global domain.
    Default,
}

/// A name that leads to an app.
#[derive(Clone, Debug, Serialize)]
pub struct NameInfo {
    /// The name as DNS has it, in punycode; or `*.NAME`, or `_`.
    pub domain: String,
    /// The name as people read it.
    pub shown: String,
    /// What it is.
    pub kind: NameKind,
    /// Its address for people; none for a wildcard.
    pub url: Option<String>,
    /// When it was added, in RFC 3339; none for a default name.
    pub added_at: Option<String>,
}

/// The names of an app.
#[derive(Clone, Debug, Serialize)]
pub struct AppDomains {
    /// The app.
    pub app: AppName,
    /// Whether it is reached at any of them.
    pub enabled: bool,
    /// Whether it is reached at its default names.
    pub default_names: bool,
    /// Its address for people: that of its first own name, else of its default name.
    pub url: Option<String>,
    /// Its names, its own first.
    pub domains: Vec<NameInfo>,
}

impl AppDomains {
    fn of(settings: &Settings, all: &AllNames) -> AppDomains {
        let own = all.own.iter().map(|stored| NameInfo {
            domain: stored.domain.to_string(),
            shown: stored.typed.clone(),
            kind: NameKind::Own,
            url: match &stored.domain {
                Domain::Exact(name) => Some(settings.url_of(name.as_str())),
                Domain::Below(_) | Domain::Any => None,
            },
            added_at: Some(clock::rfc3339(stored.added_at)),
        });
        let defaults = all.defaults_on().iter().map(|name| NameInfo {
            domain: name.to_string(),
            shown: Domain::Exact(name.clone()).shown(),
            kind: NameKind::Default,
            url: Some(settings.url_of(name.as_str())),
            added_at: None,
        });
        AppDomains {
            app: all.app.clone(),
            enabled: all.names.enabled,
            default_names: all.names.default,
            url: all.main().map(|name| settings.url_of(name.as_str())),
            domains: own.chain(defaults).collect(),
        }
    }
}

impl Show for AppDomains {
    fn text(&self) -> Text {
        let lines = self.domains.iter().map(|name| match name.kind {
            NameKind::Own => name.shown.clone(),
            NameKind::Default => format!("{}  (default)", name.shown),
        });
        let enabled = if self.enabled { "enabled" } else { "disabled: it is reached at none of them" };
        Text::facts(vec![
            ("app", self.app.to_string()),
            ("url", or_dash(self.url.as_ref())),
            ("domains", enabled.to_owned()),
            ("default names", if self.default_names { "on" } else { "off" }.to_owned()),
            ("names", crate::ui::lines_or_dash(lines)),
        ])
    }
}

/// The names of each app.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct AllDomains(pub Vec<AppDomains>);

impl Show for AllDomains {
    fn text(&self) -> Text {
        let row = |app: &AppDomains, name: &NameInfo| {
            let kind = match (app.enabled, name.kind) {
                (false, _) => "disabled",
                (true, NameKind::Own) => "own",
                (true, NameKind::Default) => "default",
            };
            [app.app.to_string(), name.shown.clone(), kind.to_owned()]
        };
        let rows = self.0.iter().flat_map(|app| app.domains.iter().map(move |name| row(app, name)));
        Text::table(["APP", "DOMAIN", "KIND"], rows)
    }
}

/// The names below which each app has a default name.
#[derive(Clone, Debug, Serialize)]
pub struct GlobalDomains {
    /// The server's domain, a setting.
    pub domain: Hostname,
    /// The global domains.
    pub global: Vec<GlobalDomain>,
    /// What became of them; none for a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// A global domain.
#[derive(Clone, Debug, Serialize)]
pub struct GlobalDomain {
    /// The name as DNS has it.
    pub domain: Hostname,
    /// The name as people read it.
    pub shown: String,
}

impl Show for GlobalDomains {
    fn text(&self) -> Text {
        if self.outcome.is_some() {
            return Text::Nothing;
        }
        let global = self.global.iter().map(|name| name.shown.clone());
        Text::facts(vec![("domain", self.domain.to_string()), ("global domains", crate::ui::lines_or_dash(global))])
    }
}

/// What became of the names of an app.
#[derive(Clone, Debug, Serialize)]
pub struct DomainsChanged {
    /// Whether something changed.
    pub outcome: Outcome,
    /// Its names now.
    #[serde(flatten)]
    pub now: AppDomains,
    /// What there is to say of it.
    #[serde(skip)]
    pub said: Vec<String>,
}

impl Show for DomainsChanged {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Makes a change of the edge's table known to the edge. Where nobody listens, it finds out by itself.
pub(super) async fn tell_the_edge(instance: &Instance) {
    proxy::tell(instance).await;
}

/// The names of an app.
///
/// # Errors
/// [`Error::NotFound`].
pub fn report(context: &Context<'_>, app: &AppName) -> Result<AppDomains> {
    let settings = &context.instance.settings;
    context.instance.read(|tables| Ok(AppDomains::of(settings, &names_of(tables, settings, &tables.app(app)?)?)))
}

/// The names of each app that the caller sees.
///
/// # Errors
/// [`Error::Store`].
pub fn report_all(context: &Context<'_>) -> Result<AllDomains> {
    let settings = &context.instance.settings;
    let all = context.instance.read(|tables| tables.all_names(None, &settings.domain))?;
    let seen = all.iter().filter(|names| context.sees(&names.app));
    Ok(AllDomains(seen.map(|names| AppDomains::of(settings, names)).collect()))
}

/// The names below which each app has one.
///
/// # Errors
/// [`Error::Store`].
pub fn report_global(context: &Context<'_>) -> Result<GlobalDomains> {
    context.instance.read(|tables| global_domains(context, tables, None))
}

fn global_domains(context: &Context<'_>, tables: &Tables<'_>, outcome: Option<Outcome>) -> Result<GlobalDomains> {
    let global = tables.global_domains()?.into_iter().map(|(domain, shown)| GlobalDomain { domain, shown });
    Ok(GlobalDomains { domain: context.instance.settings.domain.clone(), global: global.collect(), outcome })
}

fn names_of(tables: &Tables<'_>, settings: &Settings, app: &App) -> Result<AllNames> {
    let mut all = tables.all_names(Some(app.id), &settings.domain)?;
    all.pop().ok_or_else(|| Error::no_app(&app.name))
}

/// The own domains that there are, for completions.
///
/// # Errors
/// [`Error::Store`].
pub fn all_own(instance: &Instance) -> Result<Vec<String>> {
    instance.read(|tables| Ok(tables.domains(None)?.into_iter().map(|stored| stored.typed).collect()))
}

/// The global domains that there are, for completions.
///
/// # Errors
/// [`Error::Store`].
pub fn all_global(instance: &Instance) -> Result<Vec<String>> {
    instance.read(|tables| Ok(tables.global_domains()?.into_iter().map(|(_, typed)| typed).collect()))
}

/// The addresses of an app.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Urls(pub Vec<NameInfo>);

impl Show for Urls {
    fn text(&self) -> Text {
        let urls: Vec<&str> = self.0.iter().filter_map(|name| name.url.as_deref()).collect();
        if urls.is_empty() { Text::Nothing } else { Text::Line(urls.join("\n")) }
    }
}

/// The addresses of an app: those of its exact names, none while its domains are disabled.
///
/// # Errors
/// [`Error::NotFound`].
pub fn urls(context: &Context<'_>, app: &AppName) -> Result<Urls> {
    let names = report(context, app)?;
    let reached = names.domains.into_iter().filter(|name| names.enabled && name.url.is_some());
    Ok(Urls(reached.collect()))
}

/// The one address of an app.
#[derive(Clone, Debug, Serialize)]
pub struct Url {
    /// The app.
    pub app: AppName,
    /// Its address.
    pub url: String,
}

impl Show for Url {
    fn text(&self) -> Text {
        Text::Line(self.url.clone())
    }
}

/// The address of an app for people.
///
/// # Errors
/// [`Error::NotFound`]; [`DomainError::NoUrl`] where it is reached at no single name.
pub fn url(context: &Context<'_>, app: &AppName) -> Result<Url> {
    let names = report(context, app)?;
    match names.url {
        Some(url) => Ok(Url { app: app.clone(), url }),
        None if names.enabled && !names.domains.is_empty() => Err(DomainError::NoUrl {
            app: app.clone(),
            why: "is reached at wildcards only, and so has no single address",
        }
        .into()),
        None => Err(DomainError::NoUrl { app: app.clone(), why: NOWHERE }.into()),
    }
}

const NOWHERE: &str = "is reached at no name";

/// A change of an app's names, within its transaction.
struct Editing<'a> {
    context: &'a Context<'a>,
    tables: &'a Tables<'a>,
    app: App,
    server: ServerNames,
    names: NamesOfApp,
    /// What the event says.
    done: Vec<String>,
    said: Vec<String>,
}

impl Editing<'_> {
    /// Gives the app a name, or turns its default names on, where it is one. `moves`: also from another app.
    fn add(&mut self, wanted: &TypedDomain, moves: bool) -> Result<()> {
        if is_default_of(&self.server, &wanted.domain, &self.app.name) {
            return self.turn_defaults(true);
        }
        let former = claim(self.context, self.tables, &self.server, &self.app, wanted, moves)?;
        let own = self.tables.domains(Some(self.app.id))?;
        if own.iter().any(|stored| stored.domain == wanted.domain) {
            return Ok(());
        }
        let moved = former.is_some_and(|former| former.app != self.app.name);
        self.tables.set_domain(self.app.id, wanted)?;
        self.done.push(wanted.typed.clone());
        if moved {
            self.said.push(format!("{} has moved to {}", wanted.typed, self.app.name));
        }
        Ok(())
    }

    /// Takes a name from the app, or turns its default names off, where it is one.
    fn remove(&mut self, wanted: &TypedDomain) -> Result<()> {
        if self.tables.remove_domain(self.app.id, &wanted.domain)? {
            self.done.push(wanted.typed.clone());
            return Ok(());
        }
        if self.names.default && is_default_of(&self.server, &wanted.domain, &self.app.name) {
            return self.turn_defaults(false);
        }
        Err(Error::NotFound(Thing::Domain(self.app.name.clone()), wanted.typed.clone()))
    }

    /// Takes all own names from the app but some.
    fn remove_own_but(&mut self, kept: &[TypedDomain]) -> Result<()> {
        for stored in self.tables.domains(Some(self.app.id))? {
            if !kept.iter().any(|kept| kept.domain == stored.domain) {
                self.tables.remove_domain(self.app.id, &stored.domain)?;
                self.done.push(format!("not {}", stored.typed));
            }
        }
        Ok(())
    }

    fn turn_defaults(&mut self, on: bool) -> Result<()> {
        if self.names.default == on {
            return Ok(());
        }
        let defaults: Vec<Hostname> = self.server.defaults_of(&self.app.name).collect();
        if on {
            for name in &defaults {
                // Meanwhile an administrator may have given it to another one.
                routes::refuse_routed(self.tables, &Domain::Exact(name.clone()))?;
                let stored = self.tables.find_owner(&Domain::Exact(name.clone()))?;
                if let Some(stored) = stored.filter(|stored| stored.app != self.app.name) {
                    return Err(taken(self.context, &stored, &self.app.name));
                }
            }
        }
        self.names.default = on;
        self.done.push(format!("default names {}", if on { "on" } else { "off" }));
        let names = defaults.iter().map(Hostname::as_str).collect::<Vec<_>>().join(", ");
        self.said.push(match on {
            true => format!("the default names of {} are on: {names}", self.app.name),
            false => format!(
                "the default names of {0} are off: {names}; `paas domains:reset {0}` turns them on",
                self.app.name
            ),
        });
        Ok(())
    }
}

/// Whether a name is one of an app's default names.
pub(super) fn is_default_of(server: &ServerNames, domain: &Domain, app: &AppName) -> bool {
    matches!(domain, Domain::Exact(name) if server.defaults_of(app).any(|default| default == *name))
}

/// Looks whether an app may have a name, and returns whose it is now, if it is somebody's. `moves`: also if it is another
/// app's that the caller may change.
///
/// # Errors
/// [`DomainError`]; [`Invalid`] for a reserved name; that the caller lacks a right.
pub(super) fn claim(
    context: &Context<'_>,
    tables: &Tables<'_>,
    server: &ServerNames,
    app: &App,
    wanted: &TypedDomain,
    moves: bool,
) -> Result<Option<StoredDomain>> {
    let domain = &wanted.domain;
    routes::refuse_routed(tables, domain)?;
    let place = server.place(domain);
    let stored = tables.find_owner(domain)?;
    if stored.as_ref().is_some_and(|stored| stored.app == app.name) {
        return Ok(stored);
    }
    match &place {
        Place::Reserved => {
            return Err(Invalid::new(
                "domain",
                wanted.typed.as_str(),
                "the name is reserved for the server's own pages",
            )
            .into());
        }
        // Whether there is an app of that name is nothing that this tells.
        Place::DefaultOf(_) | Place::OfServer if !context.caller.may(Right::Administer) => {
            let (domain, actor) = (wanted.typed.clone(), context.actor().clone());
            return Err(DomainError::OfServer { domain, actor }.into());
        }
        Place::DefaultOf(owner) => {
            if let Some(owner) = tables.find_app(owner)?
                && tables.names_of_app(owner.id)?.default
            {
                return Err(DomainError::IsDefault { domain: wanted.typed.clone(), owner: owner.name }.into());
            }
        }
        Place::OfServer | Place::Elsewhere => {}
    }
    if let Some(stored) = &stored {
        if !moves || !context.sees(&stored.app) {
            return Err(taken(context, stored, &app.name));
        }
        check_may_change(context, &stored.app)?;
        let former = tables.app(&stored.app)?;
        deploy::refuse_locked(&former)?;
        tables.remove_redirect(former.id, domain)?;
        let change = Change::new("domains:remove", Subject::App(stored.app.clone()))
            .with(format!("{}, which another app gets", wanted.typed));
        context.note(tables, &change, model::Outcome::Done)?;
    } else if let Domain::Exact(name) = domain
        && let Some((_, parent)) = name.as_str().split_once('.')
        && let Some(wildcard) = tables.find_owner(&Domain::Below(parent.parse()?))?
        && wildcard.app != app.name
    {
        // Until now, this name has led to the other app.
        if !context.sees(&wildcard.app) {
            return Err(DomainError::Taken { domain: wanted.typed.clone(), owner: None, app: app.name.clone() }.into());
        }
        check_may_change(context, &wildcard.app)?;
    }
    Ok(stored)
}

/// The error of a name that is another app's, which is named only to those who see it.
pub(super) fn taken(context: &Context<'_>, stored: &StoredDomain, app: &AppName) -> Error {
    let owner = Some(stored.app.clone()).filter(|owner| context.sees(owner));
    DomainError::Taken { domain: stored.typed.clone(), owner, app: app.clone() }.into()
}

fn check_may_change(context: &Context<'_>, app: &AppName) -> Result<()> {
    if context.caller.may_for(app, Right::Change) {
        return Ok(());
    }
    let actor = context.actor().clone();
    Err(crate::error::AccessError::Lacks { actor, right: Right::Change, app: Some(app.clone()) }.into())
}

/// Does work on an app's names in one transaction, with its event, and has the edge read it.
async fn edit(
    context: &Context<'_>,
    app: &AppName,
    action: &'static str,
    work: impl FnOnce(&mut Editing<'_>) -> Result<()>,
) -> Result<DomainsChanged> {
    let instance = context.instance;
    let settings = &instance.settings;
    let most = instance.number(&property::MAX_DOMAINS, None)?;
    let edited = instance.write(|tables| {
        let app = tables.app(app)?;
        deploy::refuse_locked(&app)?;
        let server = tables.server_names(&settings.domain)?;
        let before = tables.names_of_app(app.id)?;
        let (done, said) = (Vec::new(), Vec::new());
        let mut editing = Editing { context, tables, app, server, names: before, done, said };
        work(&mut editing)?;
        let Editing { app, names, done, mut said, .. } = editing;
        if names != before {
            tables.set_names_of_app(app.id, names)?;
        }
        let now = names_of(tables, settings, &app)?;
        if now.own.len() as u64 > most {
            return Err(too_many(now.own.len(), most).into());
        }
        let outcome = if done.is_empty() { Outcome::Unchanged } else { Outcome::Saved };
        if outcome == Outcome::Saved {
            let change = Change::new(action, Subject::App(app.name.clone())).with(done.join(", "));
            context.note(tables, &change, model::Outcome::Done)?;
        }
        if !names.enabled {
            said.push(format!("the domains of {0} are disabled: `paas domains:enable {0}` enables them", app.name));
        } else if now.own.is_empty() && now.defaults_on().is_empty() {
            said.push(format!(
                "{0} {NOWHERE} now: `paas domains:add {0} DOMAIN` gives it one, `paas domains:reset {0}` its default names",
                app.name
            ));
        }
        Ok(DomainsChanged { outcome, now: AppDomains::of(settings, &now), said })
    });
    let edited = note_refusal(context, action, Subject::App(app.clone()), edited)?;
    if edited.outcome == Outcome::Saved {
        tell_the_edge(instance).await;
    }
    Ok(edited)
}

fn too_many(wanted: usize, most: u64) -> Invalid {
    let rule = format!("an app may have {most} of its own (the setting max_domains)");
    Invalid::new("number of domains", wanted.to_string(), rule)
}

/// A refusal for lack of a right is an event, also if it comes in the middle of a transaction, which is undone.
pub(super) fn note_refusal<T>(context: &Context<'_>, action: &str, subject: Subject, result: Result<T>) -> Result<T> {
    if let Err(error) = &result
        && error.kind() == Kind::Denied
    {
        let change = Change::new(action, subject);
        context.instance.write(|tables| context.note(tables, &change, model::Outcome::Denied))?;
    }
    result
}

/// Gives an app domains, beside those that it has. `moves`: also those that are another app's.
///
/// # Errors
/// [`DomainError`], [`Invalid`]; that the caller lacks a right. Nothing has changed then.
pub async fn add(context: &Context<'_>, app: &AppName, domains: &[TypedDomain], moves: bool) -> Result<DomainsChanged> {
    edit(context, app, "domains:add", |editing| domains.iter().try_for_each(|domain| editing.add(domain, moves))).await
}

/// Takes domains from an app.
///
/// # Errors
/// [`Error::NotFound`] for one that it does not have. Nothing has changed then.
pub async fn remove(context: &Context<'_>, app: &AppName, domains: &[TypedDomain]) -> Result<DomainsChanged> {
    edit(context, app, "domains:remove", |editing| domains.iter().try_for_each(|domain| editing.remove(domain))).await
}

/// Makes domains the only names of an app: its other own ones go, and its default names are off unless one of them is
/// among the domains.
///
/// # Errors
/// As [`add`].
pub async fn set(context: &Context<'_>, app: &AppName, domains: &[TypedDomain], moves: bool) -> Result<DomainsChanged> {
    edit(context, app, "domains:set", |editing| {
        editing.remove_own_but(domains)?;
        domains.iter().try_for_each(|domain| editing.add(domain, moves))?;
        let is_default = |wanted: &TypedDomain| is_default_of(&editing.server, &wanted.domain, &editing.app.name);
        if domains.iter().any(is_default) { Ok(()) } else { editing.turn_defaults(false) }
    })
    .await
}

/// Takes all names from an app.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn clear(context: &Context<'_>, app: &AppName) -> Result<DomainsChanged> {
    edit(context, app, "domains:clear", |editing| {
        editing.remove_own_but(&[])?;
        editing.turn_defaults(false)
    })
    .await
}

/// Gives an app its default names and no others.
///
/// # Errors
/// [`Error::NotFound`]; [`DomainError::Taken`] for a default name that is another app's.
pub async fn reset(context: &Context<'_>, app: &AppName) -> Result<DomainsChanged> {
    edit(context, app, "domains:reset", |editing| {
        editing.remove_own_but(&[])?;
        editing.turn_defaults(true)
    })
    .await
}

/// Says whether an app is reached at its names.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn enable(context: &Context<'_>, app: &AppName, enabled: bool) -> Result<DomainsChanged> {
    let action = if enabled { "domains:enable" } else { "domains:disable" };
    edit(context, app, action, |editing| {
        if editing.names.enabled != enabled {
            editing.names.enabled = enabled;
            editing.done.push(if enabled { "enabled" } else { "disabled" }.to_owned());
        }
        Ok(())
    })
    .await
}

/// Changes the global domains in one transaction, with its event, and has the edge read it.
async fn edit_global(
    context: &Context<'_>,
    action: &'static str,
    work: impl FnOnce(&Tables<'_>) -> Result<Vec<String>>,
) -> Result<GlobalDomains> {
    let edited = context.instance.write(|tables| {
        let done = work(tables)?;
        let all = tables.global_domains()?.len();
        if all > MOST_GLOBAL {
            let rule = format!("a server has {MOST_GLOBAL} at most");
            return Err(Invalid::new("number of global domains", all.to_string(), rule).into());
        }
        if done.is_empty() {
            return global_domains(context, tables, Some(Outcome::Unchanged));
        }
        let change = Change::new(action, Subject::Server).with(done.join(", "));
        context.note(tables, &change, model::Outcome::Done)?;
        global_domains(context, tables, Some(Outcome::Saved))
    })?;
    tell_the_edge(context.instance).await;
    Ok(edited)
}

/// Makes a name a global domain; returns what was done, if something was.
fn add_one_global(context: &Context<'_>, tables: &Tables<'_>, wanted: &TypedDomain) -> Result<Option<String>> {
    let name = wanted.exact()?;
    let server = &context.instance.settings.domain;
    if name == server {
        return Err(Error::usage(
            format!("{name} is the server's domain already: each app has a name below it"),
            "leave it out; the setting `domain` is the server's domain",
        ));
    }
    let owned = tables.names_right_below(name)?;
    let of_another = owned.iter().find(|stored| {
        let label = stored.domain.to_string().split('.').next().unwrap_or_default().to_owned();
        // No app has a reserved name.
        label.parse::<AppName>().is_ok_and(|app| app.check_not_reserved().is_ok() && app != stored.app)
    });
    if let Some(StoredDomain { typed, app, .. }) = of_another {
        let (name, domain, owner) = (wanted.typed.clone(), typed.clone(), app.clone());
        return Err(DomainError::BelowGlobal { name, domain, owner }.into());
    }
    Ok(tables.add_global_domain(name, &wanted.typed)?.then(|| wanted.typed.clone()))
}

/// Gives each app a name below some names.
///
/// # Errors
/// [`DomainError::BelowGlobal`], [`Invalid`]. Nothing has changed then.
pub async fn add_global(context: &Context<'_>, names: &[TypedDomain]) -> Result<GlobalDomains> {
    edit_global(context, "domains:add-global", |tables| {
        names.iter().filter_map(|name| add_one_global(context, tables, name).transpose()).collect()
    })
    .await
}

/// Takes from each app its name below some names.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Usage`] for the server's domain. Nothing has changed then.
pub async fn remove_global(context: &Context<'_>, names: &[TypedDomain]) -> Result<GlobalDomains> {
    edit_global(context, "domains:remove-global", |tables| {
        let remove = |wanted: &TypedDomain| {
            let name = wanted.exact()?;
            if *name == context.instance.settings.domain {
                return Err(Error::usage(
                    format!("{name} is the server's domain, which is a setting"),
                    "`paas domains:set APP DOMAIN` takes an app away from it; `paas settings:list` shows the setting `domain`",
                ));
            }
            if tables.remove_global_domain(name)? {
                Ok(wanted.typed.clone())
            } else {
                Err(Error::NotFound(Thing::GlobalDomain, wanted.typed.clone()))
            }
        };
        names.iter().map(remove).collect()
    })
    .await
}

/// Makes names the only global domains; with none, there are none.
///
/// # Errors
/// As [`add_global`].
pub async fn set_global(context: &Context<'_>, names: &[TypedDomain]) -> Result<GlobalDomains> {
    let action = if names.is_empty() { "domains:clear-global" } else { "domains:set-global" };
    edit_global(context, action, |tables| {
        let mut done = Vec::new();
        for (name, typed) in tables.global_domains()? {
            if !names.iter().any(|wanted| wanted.domain == Domain::Exact(name.clone())) {
                tables.remove_global_domain(&name)?;
                done.push(format!("not {typed}"));
            }
        }
        for wanted in names {
            done.extend(add_one_global(context, tables, wanted)?);
        }
        Ok(done)
    })
    .await
}

/// Refuses the name of an app whose default names are not free.
///
/// # Errors
/// [`DomainError::NameTaken`].
pub(super) fn check_defaults_free(tables: &Tables<'_>, settings: &Settings, app: &AppName) -> Result<()> {
    for name in tables.server_names(&settings.domain)?.defaults_of(app) {
        routes::refuse_routed(tables, &Domain::Exact(name.clone()))?;
        if let Some(stored) = tables.find_owner(&Domain::Exact(name))? {
            return Err(DomainError::NameTaken { app: app.clone(), domain: stored.typed }.into());
        }
    }
    Ok(())
}
