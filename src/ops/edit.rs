//! Edits of an app: of its config, and of what is set on the server about it and its process types.

use crate::{
    Result,
    deploy::{self, Edit, Live},
    instance::Instance,
    model::{App, AppName, Effect, Override, PropertyChange, property},
    ops, proxy,
    ui::DeployLog,
};

/// What became of an edit.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All is so already; nothing was done.
    Nothing,
    /// It is saved; what it needs to hold, if that is more than nothing, comes later.
    Saved(Effect),
    /// The app runs with it.
    Deployed(Live),
}

/// Makes an edit. One that needs a restart is a deploy where the app runs, and holds only if that succeeds.
///
/// `restart`: whether what runs takes it up now.
///
/// # Errors
/// Whatever fails; nothing has changed then.
pub async fn apply(instance: &Instance, app: &AppName, edit: &Edit, restart: bool, log: &DeployLog) -> Result<Outcome> {
    let found = instance.read(|tables| tables.app(app))?;
    let Some(effect) = effect(instance, &found, edit)? else {
        deploy::refuse_frozen(&found)?;
        return Ok(Outcome::Nothing);
    };
    if effect == Effect::Restart && restart && found.is_running() {
        return deploy::edit(instance, app, edit, log).await.map(Outcome::Deployed);
    }
    let waiting = |holder: &str| log.step(&format!("Waiting for {holder}"));
    let (found, _lock) = deploy::hold(instance, app, &edit.reason, waiting).await?;
    // Both once more: another edit may have come before.
    ops::config::edited(instance, &found, &edit.config)?;
    ops::properties::edited(instance, &found, &edit.properties)?;
    instance.write(|tables| {
        ops::config::write(instance, tables, found.id, &edit.config)?;
        tables.change_properties(Some(found.id), &edit.properties, &instance.actor)
    })?;
    if effect == Effect::Route {
        proxy::publish(instance, app).await?;
    }
    Ok(Outcome::Saved(effect))
}

/// The most that any of some changes needs.
pub fn effect_of(changes: &[PropertyChange]) -> Effect {
    changes.iter().map(|change| change.property.effect).max().unwrap_or(Effect::Nothing)
}

/// What an edit needs; none where it changes nothing.
fn effect(instance: &Instance, app: &App, edit: &Edit) -> Result<Option<Effect>> {
    let config = ops::config::edited(instance, app, &edit.config)? != ops::config::show(instance, app)?;
    ops::properties::edited(instance, app, &edit.properties)?;
    let before: Vec<Override> =
        instance.read(|tables| tables.properties(Some(app.id)))?.into_iter().map(|row| row.set).collect();
    let changes = property::changes_between(&before, &property::changed(before.clone(), &edit.properties));
    let effect = if config { Effect::Restart } else { effect_of(&changes) };
    Ok((config || !changes.is_empty()).then_some(effect))
}
