//! Certificates from an authority that speaks ACME (RFC 8555), such as Let's Encrypt. One process at a time asks it, for
//! all names that are due: a child of the daemon's, or the command of somebody who does not want to wait.
//!
//! Authorities count what they are asked in vain. So a name is looked at from here first ([`reach`]), pauses grow
//! ([`plan`]), and one name that fails does not take others with it.

mod dns;
mod failure;
mod plan;
mod reach;
mod session;

use std::{collections::BTreeSet, time::Duration};

use failure::Failure;
use futures_util::StreamExt;

use self::{
    plan::{Basis, Challenge, Wanted},
    reach::Here,
    session::{Failed, Session, Terms},
};
use crate::{
    Error, Result, clock,
    context::Context,
    instance::on_pool,
    lock,
    model::{App, AppName, Change, Domain, Outcome, Subject, Trouble},
    proxy, secrets,
    settings::Settings,
    store::{AcmeName, StoredCertificate, Tables, serving},
};

/// How many names are looked at side by side.
const AT_ONCE: usize = 16;
/// After how long no further order is begun: who asked for this does not wait for ever.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// How long a certificate stays that a newer one has replaced, or that is over, in milliseconds.
const STAYS: i64 = 2 * 24 * 3_600_000;

/// What came of asking an authority.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The names that have a new certificate.
    pub obtained: Vec<Domain>,
    /// Those that have none, with what is wrong and what was said of it.
    pub failed: Vec<(Domain, Trouble, String)>,
    /// Those that may not be tried before a time, in milliseconds since 1970.
    pub held: Vec<(Domain, i64)>,
}

/// When there is something to ask the authority for: now, later, or never.
///
/// # Errors
/// [`Error::Store`].
pub fn due_at(tables: &Tables<'_>, settings: &Settings, now: i64) -> Result<Option<i64>> {
    let Some(basis) = Basis::read(tables, settings)? else { return Ok(None) };
    let plan = basis.plan(now, None);
    let at = if plan.due.is_empty() { plan.next_at } else { Some(now) };
    let Some(at) = at else { return Ok(None) };
    let directory = directory(tables, settings)?;
    Ok(Some(at.max(tables.acme_account(&directory)?.next_at)))
}

/// The names of apps that are to have a certificate of the authority's.
///
/// # Errors
/// [`Error::Store`].
pub fn wanted(tables: &Tables<'_>, settings: &Settings) -> Result<BTreeSet<Domain>> {
    let basis = Basis::read(tables, settings)?;
    Ok(basis
        .map(|basis| basis.wanted(clock::now()))
        .unwrap_or_default()
        .into_iter()
        .map(|wanted| wanted.name)
        .collect())
}

/// Why an app has no certificate at one of its names yet, in one line for who has just pushed it; none where it has them
/// all, and where none is asked for.
///
/// # Errors
/// [`Error::Store`].
pub fn why_none(tables: &Tables<'_>, settings: &Settings, app: &App) -> Result<Option<String>> {
    let Some(basis) = Basis::read(tables, settings)? else { return Ok(None) };
    let now = clock::now();
    let wanted = basis.wanted(now);
    let lacks = |(domain, owner): &&(Domain, Option<AppName>)| match domain {
        Domain::Exact(host) if owner.as_ref() == Some(&app.name) => {
            wanted.iter().any(|wanted| wanted.name.covers(host))
                && serving(&basis.certificates, Some(app.id), host, now).is_none()
        }
        Domain::Exact(_) | Domain::Below(_) | Domain::Any => false,
    };
    let lacking: Vec<&Domain> = basis.hosts.iter().filter(lacks).map(|(domain, _)| domain).collect();
    // Of one that was tried there is more to say.
    let tried = |name: &&&Domain| basis.tried.contains_key(**name);
    let Some(name) = lacking.iter().find(tried).or(lacking.first()) else { return Ok(None) };
    let account = tables.acme_account(&directory(tables, settings)?)?;
    let of_account = account.reason.filter(|_| account.next_at > now);
    let reason = basis.tried.get(*name).and_then(|tried| tried.reason.clone()).or(of_account);
    let reason = reason.unwrap_or_else(|| "it is being asked for".to_owned());
    Ok(Some(format!(
        "{name} has no certificate yet, and is served over plain HTTP: {reason} (`paas certs:report {}`)",
        app.name
    )))
}

/// The URL of the authority.
///
/// # Errors
/// [`Error::Store`].
pub fn directory(tables: &Tables<'_>, settings: &Settings) -> Result<String> {
    use crate::model::property::{ACME_DIRECTORY, Value};
    match crate::instance::value_of(settings, tables, &ACME_DIRECTORY, None)? {
        Some(Value::Text(text)) => Ok(text),
        _ => Err(Error::bug("acme_directory has no default")),
    }
}

/// Obtains what is due, one order after the other; `only`: for the names of this app, and also those whose pause is not
/// over. Waits for another process that does so, of which `waiting` is told.
///
/// # Errors
/// [`Error::Store`], [`Error::Host`]. What the authority or a name does is no error, but part of the answer.
pub async fn ask(context: &Context<'_>, only: Option<&AppName>, waiting: impl FnOnce()) -> Result<Asked> {
    let instance = context.instance;
    let path = instance.settings.paths.acme_lock();
    let holder = lock::Holder::new("certificates", context.actor());
    let _turn = match lock::try_lock(&path, &holder)? {
        Ok(turn) => turn,
        Err(_) => {
            waiting();
            on_pool(move || lock::wait(&path)).await??
        }
    };
    let mut asked = Asked::default();
    let Some(basis) = instance.read(|tables| Basis::read(tables, &instance.settings))? else { return Ok(asked) };
    tidy(context, &basis)?;
    let terms = Terms::read(context)?;
    let here = Here::read(instance)?;
    let plan = basis.plan(clock::now(), only);
    asked.held = plan.held;
    let has_orders = !instance.read(|tables| tables.acme_orders(&terms.directory))?.is_empty();
    if plan.due.is_empty() && !has_orders {
        return Ok(asked);
    }
    let account = instance.read(|tables| tables.acme_account(&terms.directory))?;
    if only.is_none() && account.next_at > clock::now() {
        return Ok(asked);
    }
    // Whatever died left its questions behind.
    instance.write(|tables| tables.forget_acme_challenges())?;
    let done = ask_for(context, &terms, &here, plan.due, &mut asked).await;
    instance.write(|tables| tables.forget_acme_challenges())?;
    proxy::nudge(instance).await;
    done?;
    Ok(asked)
}

async fn ask_for(context: &Context<'_>, terms: &Terms, here: &Here, due: Vec<Wanted>, asked: &mut Asked) -> Result<()> {
    let due = look(context, here, due, asked).await?;
    let mut session = match Session::open(context, terms, here).await {
        Ok(session) => session,
        Err(failed) => return fail_all(context, terms, failed, &due, asked),
    };
    match session.take_up().await {
        Ok(ids) => {
            let all = context.instance.read(|tables| tables.certificates())?;
            asked.obtained.extend(all.into_iter().filter(|one| ids.contains(&one.id)).flat_map(|one| one.names));
        }
        Err(failed) => return fail_all(context, terms, failed, &due, asked),
    }
    let due = due.into_iter().filter(|wanted| !asked.obtained.contains(&wanted.name)).collect();
    let mut groups = plan::groups(due);
    groups.reverse();
    let deadline = clock::instant() + LONGEST;
    let mut is_new = false;
    while let Some(group) = groups.pop() {
        // What is left is due still.
        if clock::instant() >= deadline {
            break;
        }
        let names: Vec<Domain> = group.iter().map(|wanted| wanted.name.clone()).collect();
        let (by, app) = (group[0].by, group[0].app.as_ref());
        match session.obtain(&names, by, app).await {
            Ok(_) => {
                succeed(context, terms)?;
                asked.obtained.extend(names);
                proxy::nudge(context.instance).await;
            }
            Err(Failed::Names(failed)) => {
                for (name, failure) in &failed {
                    fail(context, name, app, failure, asked)?;
                }
                let is_well = |wanted: &Wanted| failed.iter().all(|(name, _)| *name != wanted.name);
                let rest: Vec<Wanted> = group.into_iter().filter(is_well).collect();
                if !rest.is_empty() {
                    groups.push(rest);
                }
            }
            Err(Failed::Order(failure)) if !failure.of_all && group.len() > 1 => {
                // It does not say whose fault it is: the halves tell.
                let mut first = group;
                let second = first.split_off(first.len() / 2);
                groups.extend([second, first]);
            }
            Err(Failed::Order(failure)) if !failure.of_all => fail(context, &names[0], app, &failure, asked)?,
            Err(failed) => {
                groups.push(group);
                let is_gone = matches!(&failed, Failed::Order(failure) if failure.is_of_unknown_account());
                let failed = if is_gone && !is_new {
                    is_new = true;
                    Session::forget(context, terms)?;
                    match Session::open(context, terms, here).await {
                        Ok(opened) => {
                            session = opened;
                            continue;
                        }
                        Err(failed) => failed,
                    }
                } else {
                    failed
                };
                let rest: Vec<Wanted> = groups.into_iter().flatten().collect();
                return fail_all(context, terms, failed, &rest, asked);
            }
        }
    }
    Ok(())
}

/// Looks from here whether names lead here, and leaves out those that do not.
async fn look(context: &Context<'_>, here: &Here, due: Vec<Wanted>, asked: &mut Asked) -> Result<Vec<Wanted>> {
    let (token, answer) = (format!("paas-{}", &secrets::made_up()?[..32]), secrets::made_up()?);
    context.instance.write(|tables| tables.add_acme_challenge(&token, &answer))?;
    proxy::nudge(context.instance).await;
    let (token, answer) = (&token, &answer);
    let looks = due.into_iter().map(|wanted| async move {
        let led = match &wanted.name {
            Domain::Exact(host) if wanted.by == Challenge::Http => here.leads_here(host, token, answer).await,
            _ => Ok(()),
        };
        (wanted, led)
    });
    let looked: Vec<(Wanted, Result<(), Failure>)> =
        futures_util::stream::iter(looks).buffered(AT_ONCE).collect().await;
    let mut well = Vec::new();
    for (wanted, led) in looked {
        match led {
            Ok(()) => well.push(wanted),
            Err(failure) => fail(context, &wanted.name, wanted.app.as_ref(), &failure, asked)?,
        }
    }
    Ok(well)
}

/// Writes down why a name has no certificate.
fn fail(
    context: &Context<'_>,
    name: &Domain,
    app: Option<&AppName>,
    failure: &Failure,
    asked: &mut Asked,
) -> Result<()> {
    let now = clock::now();
    asked.failed.push((name.clone(), failure.trouble, failure.reason.clone()));
    context.instance.write(|tables| {
        let before = tables.acme_names()?.into_iter().find(|known| known.name == *name);
        let failures = before.as_ref().map_or(0, |before| before.failures) + 1;
        let next_at = now + plan::again(failure.trouble, failure.counted, failures);
        let (refused_at, refused_before) = match (&before, failure.counted) {
            (before, true) => (Some(now), before.as_ref().and_then(|before| before.refused_at)),
            (Some(before), false) => (before.refused_at, before.refused_before),
            (None, false) => (None, None),
        };
        tables.set_acme_name(&AcmeName {
            name: name.clone(),
            failures,
            tried_at: now,
            next_at: failure.until.map_or(next_at, |until| until.max(next_at)),
            refused_at,
            refused_before,
            trouble: Some(failure.trouble),
            reason: Some(failure.reason.clone()),
        })?;
        // Once for each trouble, not for each try.
        if before.is_some_and(|before| before.trouble == Some(failure.trouble)) {
            return Ok(());
        }
        let subject = app.map_or(Subject::Server, |app| Subject::App(app.clone()));
        let change = Change::new("certs:obtain", subject).with(format!("{name}: {}", failure.reason));
        context.note(tables, &change, Outcome::Failed)
    })
}

/// Writes down that the authority or the account is the trouble, for which no name is to blame.
fn fail_all(context: &Context<'_>, terms: &Terms, failed: Failed, due: &[Wanted], asked: &mut Asked) -> Result<()> {
    let failure = match failed {
        Failed::Own(error) => return Err(error),
        Failed::Order(failure) => failure,
        Failed::Names(names) => {
            for (name, failure) in &names {
                fail(context, name, None, failure, asked)?;
            }
            return Ok(());
        }
    };
    let now = clock::now();
    asked.failed.extend(due.iter().map(|wanted| (wanted.name.clone(), failure.trouble, failure.reason.clone())));
    context.instance.write(|tables| {
        let mut account = tables.acme_account(&terms.directory)?;
        let is_new = account.trouble != Some(failure.trouble);
        account.failures += 1;
        let next_at = now + plan::again(failure.trouble, false, account.failures);
        account.next_at = failure.until.map_or(next_at, |until| until.max(next_at));
        account.trouble = Some(failure.trouble);
        account.reason = Some(failure.reason.clone());
        tables.set_acme_account(&terms.directory, &account)?;
        if !is_new {
            return Ok(());
        }
        let change = Change::new("certs:obtain", Subject::Server).with(failure.reason.clone());
        context.note(tables, &change, Outcome::Failed)
    })
}

/// Writes down that all is well with the authority.
fn succeed(context: &Context<'_>, terms: &Terms) -> Result<()> {
    let account = context.instance.read(|tables| tables.acme_account(&terms.directory))?;
    if account.trouble.is_none() {
        return Ok(());
    }
    context.instance.write(|tables| {
        let account =
            crate::store::AcmeAccount { contact: account.contact.clone(), ..crate::store::AcmeAccount::default() };
        tables.set_acme_account(&terms.directory, &account)
    })
}

/// Forgets what nobody asks for any more: tries for names that are gone, certificates that a newer one has replaced.
fn tidy(context: &Context<'_>, basis: &Basis) -> Result<()> {
    let now = clock::now();
    let wanted: BTreeSet<Domain> = basis.wanted(now).into_iter().map(|wanted| wanted.name).collect();
    let gone = basis.tried.keys().filter(|name| !wanted.contains(name));
    let is_replaced = |old: &StoredCertificate| {
        let replaces = |new: &StoredCertificate| {
            new.id > old.id
                && !new.is_chosen()
                && old.names.iter().all(|name| new.names.contains(name))
                && new.created_at + STAYS < now
        };
        !old.is_chosen() && (old.not_after + STAYS < now || basis.certificates.iter().any(replaces))
    };
    let replaced: Vec<i64> = basis.certificates.iter().filter(|one| is_replaced(one)).map(|one| one.id).collect();
    let gone: Vec<&Domain> = gone.collect();
    if gone.is_empty() && replaced.is_empty() {
        return Ok(());
    }
    context.instance.write(|tables| {
        gone.iter().try_for_each(|name| tables.forget_acme_name(name))?;
        replaced.iter().try_for_each(|id| tables.remove_certificate(*id).map(drop))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::CertificateKind,
        secrets::Secrets,
        store::{NewCertificate, Store},
    };

    #[test]
    fn a_push_says_why_there_is_no_certificate_yet() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let secrets = Secrets::open(&directory.path().join("key"), &mut store).unwrap();
        let mut store = store.with_secrets(secrets);
        let settings = Settings::of_text("domain = \"apps.example.com\"\ntls = \"acme\"").unwrap();
        let done = store.write(|tables| {
            let app = tables.create_app(&"blog".parse()?)?;
            let name: Domain = "blog.apps.example.com".parse()?;
            let why = |tables: &Tables<'_>| why_none(tables, &settings, &app);
            assert_eq!(
                why(tables)?.unwrap_or_default(),
                "blog.apps.example.com has no certificate yet, and is served over plain HTTP: it is being asked for \
                 (`paas certs:report blog`)"
            );
            tables.set_acme_name(&AcmeName {
                name: name.clone(),
                failures: 1,
                tried_at: 1,
                next_at: i64::MAX,
                refused_at: None,
                refused_before: None,
                trouble: Some(Trouble::Unresolved),
                reason: Some("blog.apps.example.com is not known in DNS".to_owned()),
            })?;
            assert!(why(tables)?.is_some_and(|why| why.contains("HTTP: blog.apps.example.com is not known in DNS (")));
            let now = clock::now();
            let new = NewCertificate {
                kind: CertificateKind::Acme,
                app: None,
                names: &[name],
                chain: "",
                key: "",
                not_before: now - 1000,
                not_after: now + 1_000_000,
            };
            tables.add_certificate(new, &crate::model::Actor::Daemon)?;
            assert_eq!(why(tables)?, None);
            let off = Settings::of_text("domain = \"apps.example.com\"\ntls = \"internal\"")?;
            assert_eq!(why_none(tables, &off, &app)?, None);
            Ok(())
        });
        done.unwrap();
    }
}
