//! What an edit makes of an app's config and properties: nothing is written here.

use crate::{
    Error, Result,
    error::{DeployError, Thing},
    instance::Instance,
    model::{self, App, Config, ConfigMap, Edit, EnvKey, Override, ProcessType, PropertyChange, Release, property},
};

/// An app's config, and what is set on the server of the properties that are part of a release, as they are after an
/// edit.
///
/// # Errors
/// `DeployError::ChangedMeanwhile`; [`Error::Invalid`] for a value that cannot be; [`Error::NotFound`] for the removal of a variable that is not set, or
/// a process type that neither the release that serves nor a cron of the app has.
pub fn edited(instance: &Instance, app: &App, edit: &Edit) -> Result<(Config, Vec<Override>)> {
    let (overrides, current, crons) = instance.read(|tables| {
        let crons = tables.crons(Some(app.id))?.into_iter().map(|cron| cron.spec.name.process()).collect::<Vec<_>>();
        Ok((tables.overrides(app.id)?, tables.current_release(app.id)?, crons))
    })?;
    if edit.saw.as_ref().is_some_and(|saw| *saw != edit.seen(&overrides)) {
        let what = "another command set the same properties".to_owned();
        return Err(DeployError::ChangedMeanwhile { app: app.name.clone(), what }.into());
    }
    let before = instance.config(app.id)?;
    if edit.saw_config.as_ref().is_some_and(|saw| *saw != model::config_digest(&before.own)) {
        let what = "somebody else changed its config".to_owned();
        return Err(DeployError::ChangedMeanwhile { app: app.name.clone(), what }.into());
    }
    let config = edited_config(&before, app, edit)?;
    Ok((config, edited_overrides(overrides, app, (current.as_ref(), &crons), &edit.properties)?))
}

fn edited_config(before: &Config, app: &App, edit: &Edit) -> Result<Config> {
    let missing = |key: &EnvKey| Error::NotFound(Thing::ConfigVariable(Some(app.name.clone())), key.to_string());
    let own = edited_variables(before.own.clone(), &edit.config, edit.replaces_config, missing)?;
    let config = Config { own, ..before.clone() };
    // One that is too large already may become smaller step by step.
    let (now, then) = (config.variables(), before.variables());
    if model::size_of(&now) > model::size_of(&then) {
        model::check_environment(&now, [])?;
    }
    Ok(config)
}

/// The variables of one scope, edited. `replaces`: whether no other is left. `missing`: the error of one that is to be
/// removed, and is not there.
///
/// # Errors
/// [`Error::Invalid`] for a variable that cannot be; what `missing` says.
pub fn edited_variables(
    mut variables: ConfigMap,
    edits: &[(EnvKey, Option<String>)],
    replaces: bool,
    missing: impl Fn(&EnvKey) -> Error,
) -> Result<ConfigMap> {
    if replaces {
        variables.retain(|key, _| edits.iter().any(|(edited, _)| edited == key));
    }
    for (key, value) in edits {
        match value {
            Some(value) => {
                model::check_variable(key, value)?;
                variables.insert(key.clone(), value.clone());
            }
            None => {
                variables.remove(key).ok_or_else(|| missing(key))?;
            }
        }
    }
    Ok(variables)
}

fn edited_overrides(
    before: Vec<Override>,
    app: &App,
    (current, crons): (Option<&Release>, &[ProcessType]),
    changes: &[PropertyChange],
) -> Result<Vec<Override>> {
    for change in changes.iter().filter(|change| change.value.is_some()) {
        if let (Some(process), Some(current)) = (change.scope.process(), current)
            && process.as_str() != ProcessType::RELEASE
            && !crons.contains(process)
        {
            current.require(&app.name, process)?;
        }
    }
    let of_release: Vec<PropertyChange> =
        changes.iter().filter(|change| change.property.is_of_release()).cloned().collect();
    let overrides = property::changed(before, &of_release);
    // What does not fit together is refused here, not by the next deploy.
    for spec in model::process_types(current, &[], &overrides)? {
        spec.with_overrides(&overrides)?;
    }
    Ok(overrides)
}
