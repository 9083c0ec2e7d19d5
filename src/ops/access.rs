//! Who asks, and whether they may: the one place at which every door asks the policy.

use crate::{
    Error, Kind, Result,
    context::Context,
    error::AccessError,
    instance::Instance,
    model::{Access, Actor, Caller, Change, Door, Needed, Outcome, Refusal, Right, Role, Subject, allow},
    settings::{Account, Session},
};

/// Who asks, as far as this process was told: what it was told and cannot be read is refused, never taken for the owner.
///
/// `door`: the way in, where a session does not say more.
///
/// # Errors
/// [`AccessError::Unknown`] for somebody that the instance does not know; [`Error::Store`].
pub fn caller(instance: &Instance, session: &Session, door: Door) -> Result<Caller> {
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
pub fn check_access(context: &Context<'_>, command: &str, access: &Access<'_>) -> Result<()> {
    let needed = match access {
        Access::Here => Needed::Here,
        Access::Inside => Needed::Inside,
        Access::Server(right) => Needed::Server(*right),
        Access::App(app, right) => Needed::App((*app).clone(), *right),
        Access::Operation(target, right) => needed_for_operation(context, *target, *right)?,
    };
    check(context, command, &needed)
}

/// What an operation needs that is named by its number, by its app whose newest it is, or by nothing for the newest of
/// those that the caller sees.
fn needed_for_operation(context: &Context<'_>, target: Option<&str>, right: Right) -> Result<Needed> {
    let Some(target) = target else { return Ok(Needed::Server(right)) };
    let Ok(id) = target.parse() else { return Ok(Needed::App(target.parse()?, right)) };
    match super::operations::app_of(context, id) {
        Ok(Some(app)) => Ok(Needed::App(app, right)),
        // It is about the server, or an app that is gone.
        Ok(None) => Ok(Needed::Server(Right::Administer)),
        // The command itself says that there is none.
        Err(error) if error.kind() == Kind::NotFound => Ok(Needed::Server(right)),
        Err(error) => Err(error),
    }
}

/// Asks the policy, once it is known what is needed.
///
/// # Errors
/// As [`check_access`].
pub fn check(context: &Context<'_>, command: &str, needed: &Needed) -> Result<()> {
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
