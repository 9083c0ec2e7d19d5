//! Who asks, and whether they may: the one place at which every door asks the policy.

use crate::{
    Error, Result,
    context::Context,
    error::AccessError,
    instance::Instance,
    model::{Access, Actor, AppName, Caller, Change, Door, Needed, Outcome, Refusal, Role, Subject, allow},
    ops,
    settings::{Account, Session},
};

/// Who asks, as far as this process was told: what it was told and cannot be read is refused, never taken for the owner.
///
/// `door`: the way in, where a session does not say more.
///
/// # Errors
/// [`AccessError::Unknown`] for somebody that the instance does not know; [`Error::Store`].
pub(super) fn caller(instance: &Instance, session: &Session, door: Door) -> Result<Caller> {
    let Some(actor) = &session.actor else { return Ok(Caller::owner(Account::current().name)) };
    let address = session.address;
    match actor.parse::<Actor>() {
        Ok(actor @ Actor::Key(_)) => {
            let Actor::Key(name) = &actor else { return Err(unknown(&actor.to_string())) };
            let key = match name.parse() {
                Ok(name) => instance.read(|tables| {
                    let Some(key) = tables.find_key(&name)? else { return Ok(None) };
                    let grants = tables.grants_of_key(key.id)?;
                    Ok(Some((key.role, grants)))
                })?,
                Err(_) => None,
            };
            let Some((role, grants)) = key else { return Err(unknown(&actor.to_string())) };
            Ok(Caller { actor, door, address, role, grants })
        }
        // A hook of git's, run for somebody who pushes on this machine.
        Ok(actor @ Actor::Local(_)) => Ok(Caller { actor, door, address, role: Some(Role::Admin), grants: Vec::new() }),
        Ok(Actor::Daemon) => Ok(Caller { door, ..Caller::daemon() }),
        Ok(Actor::Guest) | Err(_) => Err(unknown(actor)),
    }
}

fn unknown(actor: &str) -> Error {
    AccessError::Unknown { actor: actor.to_owned() }.into()
}

/// Asks the policy whether the caller may run a command. A refusal is an event.
///
/// # Errors
/// [`AccessError::Lacks`]; [`Error::NotFound`] for an app that the caller may not see; what finding an operation says.
pub(super) fn check_access(context: &Context<'_>, command: &str, access: &Access<'_>) -> Result<()> {
    let needed = match access {
        Access::Anybody => Needed::Anybody,
        Access::Here => Needed::Here,
        Access::Inside => Needed::Inside,
        Access::Server(right) => Needed::Server(*right),
        Access::App(app, right) => Needed::App((*app).clone(), *right),
        Access::Operation(target, right) => match app_of(context, *target)? {
            Some(app) => Needed::App(app, *right),
            None => Needed::Server(*right),
        },
    };
    check(context, command, &needed)
}

/// The app of an operation that is named by its number or by the app; none for the newest, which is looked for among
/// those that the caller sees, and for one that does not exist, which the command itself says.
fn app_of(context: &Context<'_>, target: Option<&str>) -> Result<Option<AppName>> {
    let Some(target) = target else { return Ok(None) };
    if target.parse::<i64>().is_err() {
        return Ok(Some(target.parse()?));
    }
    match ops::deploys::app_of(context, target) {
        Ok(app) => Ok(Some(app)),
        Err(error) if error.kind() == crate::Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks the policy, once it is known what is needed.
///
/// # Errors
/// As [`check_access`].
pub(super) fn check(context: &Context<'_>, command: &str, needed: &Needed) -> Result<()> {
    let Err(refusal) = allow(context.caller, needed) else { return Ok(()) };
    let subject = match needed {
        Needed::App(app, _) => Subject::App(app.clone()),
        Needed::Anybody | Needed::Here | Needed::Inside | Needed::Server(_) => Subject::Server,
    };
    let error = match refusal {
        Refusal::OnlyHere => return Err(AccessError::OnlyHere.into()),
        Refusal::Hidden(app) => Error::no_app(&app),
        Refusal::Lacks { right, app } => AccessError::Lacks { actor: context.actor().clone(), right, app }.into(),
    };
    let change = Change::new(command, subject);
    context.instance.write(|tables| context.note(tables, &change, Outcome::Denied))?;
    Err(error)
}
