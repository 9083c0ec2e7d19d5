//! Config variables: sealed in the database, injected when a container starts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Error, Result,
    context::Context,
    error::Thing,
    instance::Instance,
    model::{Actor, App, AppId, AppName, ConfigMap, EnvKey, Invalid, MASK},
    store::Tables,
    ui::{Show, Text},
};

/// The variables that every container has from paas itself, beside `PORT`.
const GIVEN: [&str; 3] = ["PAAS_APP", "PAAS_PROCESS", "PAAS_RELEASE"];

/// An app's variables, as a door shows them: the values are masked unless they were asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct ConfigShown(BTreeMap<String, String>);

impl Show for ConfigShown {
    fn text(&self) -> Text {
        Text::table(["KEY", "VALUE"], self.0.iter().map(|(key, value)| [key.clone(), value.clone()]))
    }
}

/// The variables of an app.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub fn show(context: &Context<'_>, name: &AppName, reveal: bool) -> Result<ConfigShown> {
    let config = in_clear(context.instance, &context.instance.read(|tables| tables.app(name))?)?;
    let shown = |value: String| if reveal { value } else { MASK.to_owned() };
    Ok(ConfigShown(config.into_iter().map(|(key, value)| (key.to_string(), shown(value))).collect()))
}

/// One variable with its value.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Variable(BTreeMap<String, String>);

impl Show for Variable {
    fn text(&self) -> Text {
        // One line, also for an empty value.
        Text::Line(self.0.values().map(|value| format!("{value}\n")).collect())
    }
}

/// The value of a variable of an app.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotFound`], [`Error::Store`].
pub fn get(context: &Context<'_>, name: &AppName, key: &EnvKey) -> Result<Variable> {
    let mut config = in_clear(context.instance, &context.instance.read(|tables| tables.app(name))?)?;
    match config.remove(key) {
        Some(value) => Ok(Variable(BTreeMap::from([(key.to_string(), value)]))),
        None => Err(Error::NotFound(Thing::ConfigVariable(name.clone()), key.to_string())),
    }
}

/// An app's config in clear.
///
/// # Errors
/// [`Error::Store`].
pub fn in_clear(instance: &Instance, app: &App) -> Result<ConfigMap> {
    instance
        .read(|tables| tables.config(app.id))?
        .into_iter()
        .map(|(key, sealed)| {
            let clear = String::from_utf8(instance.secrets.unseal(&sealed)?).map_err(Error::bug)?;
            Ok((key, clear))
        })
        .collect()
}

/// An app's config in clear, as it would be after some edits.
///
/// # Errors
/// [`Error::Invalid`] for a `PORT` that is none, a value with a NUL, or a variable that paas sets itself;
/// [`Error::NotFound`] where one that is not set shall be removed.
pub fn edited(instance: &Instance, app: &App, edits: &[(EnvKey, Option<String>)]) -> Result<ConfigMap> {
    let mut config = in_clear(instance, app)?;
    for (key, value) in edits {
        match value {
            Some(value) => {
                check(key, value)?;
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

/// Writes edits to the database, each value sealed.
///
/// # Errors
/// `StoreError::Sealed` where the key is not there.
pub fn write(
    instance: &Instance,
    tables: &Tables<'_>,
    app_id: AppId,
    edits: &[(EnvKey, Option<String>)],
    actor: &Actor,
) -> Result<()> {
    for (key, value) in edits {
        let sealed = value.as_ref().map(|value| instance.secrets.seal(tables, value.as_bytes())).transpose()?;
        tables.set_config(app_id, key, sealed.as_deref(), actor)?;
    }
    Ok(())
}

/// The edits that make of a config another.
pub fn edits_between(from: &ConfigMap, to: &ConfigMap) -> Vec<(EnvKey, Option<String>)> {
    let removed = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), None));
    let set = to.iter().filter(|(key, value)| from.get(*key) != Some(*value));
    removed.chain(set.map(|(key, value)| (key.clone(), Some(value.clone())))).collect()
}

fn check(key: &EnvKey, value: &str) -> Result<()> {
    if key.as_str() == "PORT" {
        parse_port(value)?;
    }
    if GIVEN.contains(&key.as_str()) {
        return Err(Error::Invalid(Invalid {
            what: "variable of the config",
            value: key.to_string(),
            rule: "paas sets it itself".to_owned(),
        }));
    }
    if value.contains('\0') {
        return Err(Error::Invalid(Invalid {
            what: "value",
            value: format!("of {key}"),
            rule: "an environment variable cannot hold a NUL".to_owned(),
        }));
    }
    Ok(())
}

/// Reads a port number as people write it in a variable.
///
/// # Errors
/// [`Error::Invalid`].
pub fn parse_port(text: &str) -> Result<u16> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        Error::Invalid(Invalid {
            what: "port",
            value: text.to_owned(),
            rule: "it is a number from 1 to 65535".to_owned(),
        })
    })
}
