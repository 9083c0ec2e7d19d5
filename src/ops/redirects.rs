//! Redirects: names whose requests are sent on to another host, with their path and query.

use serde::Serialize;

use super::{
    domains::{claim, is_default_of, note_refusal, taken, tell_the_edge},
    edit::Outcome,
};
use crate::{
    Error, Result, clock,
    context::Context,
    deploy,
    error::{DomainError, Thing},
    instance::Instance,
    model::{
        self, AppName, Change, Domain, Hostname, Invalid, RedirectCode, Subject, TypedDomain, circle_of_redirects,
        property,
    },
    store::{StoredRedirect, Tables},
    ui::{Show, Text},
};

/// A name whose requests are sent on.
#[derive(Clone, Debug, Serialize)]
pub struct RedirectInfo {
    /// The app that it belongs to.
    pub app: AppName,
    /// The name as DNS has it.
    pub from: String,
    /// The name as people read it.
    pub shown: String,
    /// Where its requests are sent.
    pub to: Hostname,
    /// The status of the answer.
    pub code: u16,
    /// When it was added, in RFC 3339.
    pub added_at: String,
}

impl From<&StoredRedirect> for RedirectInfo {
    fn from(stored: &StoredRedirect) -> RedirectInfo {
        RedirectInfo {
            app: stored.app.clone(),
            from: stored.from.to_string(),
            shown: stored.typed.clone(),
            to: stored.to.clone(),
            code: stored.code.number(),
            added_at: clock::rfc3339(stored.added_at),
        }
    }
}

/// A list of redirects.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct RedirectList(pub Vec<RedirectInfo>);

impl Show for RedirectList {
    fn text(&self) -> Text {
        Text::table(
            ["APP", "FROM", "TO", "CODE"],
            self.0.iter().map(|redirect| {
                let to = Domain::Exact(redirect.to.clone()).shown();
                [redirect.app.to_string(), redirect.shown.clone(), to, redirect.code.to_string()]
            }),
        )
    }
}

/// What became of the redirects of an app.
#[derive(Clone, Debug, Serialize)]
pub struct RedirectsChanged {
    /// The app.
    pub app: AppName,
    /// Whether something changed.
    pub outcome: Outcome,
    /// Its redirects now.
    pub redirects: RedirectList,
    /// What there is to say of it.
    #[serde(skip)]
    pub said: Vec<String>,
}

impl Show for RedirectsChanged {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Which requests are to be sent where.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// From a name to a host.
    Between(TypedDomain, TypedDomain),
    /// From `www.` and a name to the name, which becomes a domain of the app.
    Bare(TypedDomain),
    /// From a name to `www.` and the name, which becomes a domain of the app.
    Www(TypedDomain),
}

/// The redirects of an app, or of each app that the caller sees.
///
/// # Errors
/// [`Error::NotFound`].
pub fn list(context: &Context<'_>, app: Option<&AppName>) -> Result<RedirectList> {
    let all = context.instance.read(|tables| {
        let app = app.map(|app| tables.app(app)).transpose()?;
        tables.redirects(app.map(|app| app.id))
    })?;
    Ok(RedirectList(all.iter().filter(|stored| context.sees(&stored.app)).map(RedirectInfo::from).collect()))
}

/// The names that are sent on, for completions.
///
/// # Errors
/// [`Error::Store`].
pub fn all(instance: &Instance) -> Result<Vec<String>> {
    instance.read(|tables| Ok(tables.redirects(None)?.into_iter().map(|stored| stored.typed).collect()))
}

/// Sends the requests for a name on to a host, in place of a redirect that it may have.
///
/// # Errors
/// [`DomainError`], [`Invalid`]; that the caller lacks a right. Nothing has changed then.
pub async fn add(
    context: &Context<'_>,
    app: &AppName,
    wanted: &Wanted,
    code: RedirectCode,
) -> Result<RedirectsChanged> {
    let instance = context.instance;
    let most = instance.number(&property::MAX_DOMAINS, None)?;
    let (from, to, gives_target) = match wanted {
        Wanted::Between(from, to) => (from.clone(), to.clone(), false),
        Wanted::Bare(name) => (with_www(name)?, without_www(name)?, true),
        Wanted::Www(name) => (without_www(name)?, with_www(name)?, true),
    };
    let target = to.exact()?.clone();
    let changed = instance.write(|tables| {
        let app = tables.app(app)?;
        deploy::refuse_locked(&app)?;
        let server = tables.server_names(&instance.settings.domain)?;
        let mut said = Vec::new();
        let mut done = Vec::new();
        if is_default_of(&server, &from.domain, &app.name) {
            let owner = tables.find_owner(&from.domain)?;
            if let Some(owner) = owner.filter(|owner| owner.app != app.name) {
                return Err(taken(context, &owner, &app.name));
            }
        } else {
            claim(context, tables, &server, &app, &from, false)?;
        }
        let own = |domain: &Domain| -> Result<bool> {
            let has = tables.domains(Some(app.id))?.iter().any(|stored| stored.domain == *domain);
            Ok(has || is_default_of(&server, domain, &app.name))
        };
        if gives_target && !own(&to.domain)? {
            claim(context, tables, &server, &app, &to, false)?;
            tables.set_domain(app.id, &to)?;
            if tables.domains(Some(app.id))?.len() as u64 > most {
                return Err(too_many(most).into());
            }
            done.push(to.typed.clone());
            said.push(format!("{} is a domain of {} now", to.typed, app.name));
        }
        let there = tables.redirects(None)?;
        let same = |stored: &&StoredRedirect| stored.from == from.domain;
        let unchanged = there.iter().find(same).is_some_and(|stored| stored.to == target && stored.code == code);
        if !unchanged {
            refuse_circle(&there, &from, &target)?;
            tables.set_redirect(app.id, &from, &target, code)?;
            if tables.redirects(Some(app.id))?.len() as u64 > most {
                return Err(too_many(most).into());
            }
            done.push(format!("{} -> {target} ({})", from.typed, code.number()));
        }
        let action = "redirects:add";
        finish(context, tables, action, &app, &done, said)
    });
    let changed = note_refusal(context, "redirects:add", Subject::App(app.clone()), changed)?;
    tell_the_edge(instance).await;
    Ok(changed)
}

/// Sends the requests for some names on no more.
///
/// # Errors
/// [`Error::NotFound`] for one that is not sent on. Nothing has changed then.
pub async fn remove(context: &Context<'_>, app: &AppName, names: &[TypedDomain]) -> Result<RedirectsChanged> {
    let changed = context.instance.write(|tables| {
        let app = tables.app(app)?;
        deploy::refuse_locked(&app)?;
        for name in names {
            if !tables.remove_redirect(app.id, &name.domain)? {
                return Err(Error::NotFound(Thing::Redirect(app.name), name.typed.clone()));
            }
        }
        let done: Vec<String> = names.iter().map(|name| name.typed.clone()).collect();
        finish(context, tables, "redirects:remove", &app, &done, Vec::new())
    })?;
    tell_the_edge(context.instance).await;
    Ok(changed)
}

/// Writes the event of a change, if there is one, and reads what is there now.
fn finish(
    context: &Context<'_>,
    tables: &Tables<'_>,
    action: &'static str,
    app: &model::App,
    done: &[String],
    said: Vec<String>,
) -> Result<RedirectsChanged> {
    let outcome = if done.is_empty() { Outcome::Unchanged } else { Outcome::Saved };
    if outcome == Outcome::Saved {
        let change = Change::new(action, Subject::App(app.name.clone())).with(done.join(", "));
        context.note(tables, &change, model::Outcome::Done)?;
    }
    let redirects = RedirectList(tables.redirects(Some(app.id))?.iter().map(RedirectInfo::from).collect());
    Ok(RedirectsChanged { app: app.name.clone(), outcome, redirects, said })
}

/// Refuses a redirect by which a request would come back to where it began.
fn refuse_circle(there: &[StoredRedirect], from: &TypedDomain, to: &Hostname) -> Result<()> {
    let others: Vec<(Domain, Hostname)> = there
        .iter()
        .filter(|stored| stored.from != from.domain)
        .map(|stored| (stored.from.clone(), stored.to.clone()))
        .collect();
    match circle_of_redirects(&others, &from.domain, to) {
        Some(_) => Err(DomainError::Circle { from: from.typed.clone(), to: to.to_string() }.into()),
        None => Ok(()),
    }
}

fn too_many(most: u64) -> Invalid {
    let rule = format!("an app may have {most} domains of its own, and as many redirects (the setting max_domains)");
    Invalid::new("number of names", (most + 1).to_string(), rule)
}

fn with_www(name: &TypedDomain) -> Result<TypedDomain> {
    Ok(format!("www.{}", without_www(name)?.typed).parse()?)
}

fn without_www(name: &TypedDomain) -> Result<TypedDomain> {
    name.exact()?;
    Ok(name.typed.strip_prefix("www.").unwrap_or(&name.typed).parse()?)
}
