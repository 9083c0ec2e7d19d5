//! Config variables: sealed in the database, injected when a container starts.

use crate::{
    Error, Result,
    instance::Instance,
    model::{App, ConfigMap, EnvKey},
    store::Tables,
};

/// The variables that every container has from paas itself, beside `PORT`.
const GIVEN: [&str; 3] = ["PAAS_APP", "PAAS_PROCESS", "PAAS_RELEASE"];

/// An app's config in clear.
///
/// # Errors
/// [`Error::Unseal`].
pub fn show(instance: &Instance, app: &App) -> Result<ConfigMap> {
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
/// [`Error::InvalidValue`] for a `PORT` that is none, a value with a NUL, or a variable that paas sets itself;
/// [`Error::ConfigNotFound`] where one that is not set shall be removed.
pub fn edited(instance: &Instance, app: &App, edits: &[(EnvKey, Option<String>)]) -> Result<ConfigMap> {
    let mut config = show(instance, app)?;
    for (key, value) in edits {
        match value {
            Some(value) => {
                check(key, value)?;
                config.insert(key.clone(), value.clone());
            }
            None => {
                config
                    .remove(key)
                    .ok_or_else(|| Error::ConfigNotFound { app: app.name.clone(), key: key.to_string() })?;
            }
        }
    }
    Ok(config)
}

/// Writes edits to the database, each value sealed.
///
/// # Errors
/// [`Error::Unseal`] where the key is not there; [`Error::Database`].
pub fn write(instance: &Instance, tables: &Tables<'_>, app_id: i64, edits: &[(EnvKey, Option<String>)]) -> Result<()> {
    for (key, value) in edits {
        let sealed = value.as_ref().map(|value| instance.secrets.seal(tables, value.as_bytes())).transpose()?;
        tables.set_config(app_id, key, sealed.as_deref(), &instance.actor)?;
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
        return Err(Error::InvalidValue {
            what: "variable of the config",
            value: key.to_string(),
            rule: "paas sets it itself".to_owned(),
        });
    }
    if value.contains('\0') {
        return Err(Error::InvalidValue {
            what: "value",
            value: format!("of {key}"),
            rule: "an environment variable cannot hold a NUL".to_owned(),
        });
    }
    Ok(())
}

/// Reads a port number as people write it in a variable.
///
/// # Errors
/// [`Error::InvalidValue`].
pub fn parse_port(text: &str) -> Result<u16> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| Error::InvalidValue {
        what: "port",
        value: text.to_owned(),
        rule: "it is a number from 1 to 65535".to_owned(),
    })
}
