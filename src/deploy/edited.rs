//! What an edit makes of an app's config and settings: nothing is written here.

use super::Edit;
use crate::{
    Error, Result,
    error::Thing,
    instance::Instance,
    model::{self, App, ConfigMap, EnvKey, Override, ProcessType, Release},
};

/// An app's config and what the server is told about its process types, as they are after an edit.
///
/// # Errors
/// [`Error::Invalid`] for a value that cannot be; [`Error::NotFound`] for the removal of a variable that is not set, or
/// a process type that the release that serves does not have.
pub fn edited(instance: &Instance, app: &App, edit: &Edit) -> Result<(ConfigMap, Vec<Override>)> {
    let (overrides, current) =
        instance.read(|tables| Ok((tables.overrides(app.id)?, tables.current_release(app.id)?)))?;
    let config = edited_config(instance.config(app.id)?, app, &edit.config)?;
    Ok((config, edited_overrides(overrides, app, current.as_ref(), edit)?))
}

fn edited_config(mut config: ConfigMap, app: &App, edits: &[(EnvKey, Option<String>)]) -> Result<ConfigMap> {
    for (key, value) in edits {
        match value {
            Some(value) => {
                model::check_variable(key, value)?;
                config.insert(key.clone(), value.clone());
            }
            None => {
                config
                    .remove(key)
                    .ok_or_else(|| Error::NotFound(Thing::ConfigVariable(app.name.clone()), key.to_string()))?;
            }
        }
    }
    Ok(config)
}

/// By process type and setting.
fn edited_overrides(
    mut overrides: Vec<Override>,
    app: &App,
    current: Option<&Release>,
    edit: &Edit,
) -> Result<Vec<Override>> {
    for entry in &edit.told {
        if let (Some(process), Some(current)) = (&entry.process, current)
            && process.as_str() != ProcessType::RELEASE
        {
            current.require(&app.name, process)?;
        }
        overrides.retain(|other| (&other.process, other.setting) != (&entry.process, entry.setting));
        overrides.push(entry.clone());
    }
    overrides.retain(|entry| !edit.untold.contains(&(entry.process.clone(), entry.setting)));
    overrides.sort_by_key(|entry| (entry.process.clone(), entry.setting.stored()));
    // What does not fit together is refused here, not by the next deploy.
    for spec in current.iter().flat_map(|current| &current.processes) {
        spec.with_overrides(&overrides)?;
    }
    Ok(overrides)
}
