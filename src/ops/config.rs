//! Config variables: sealed in the database, injected when a container starts.

use crate::{
    Error, Result,
    error::Thing,
    instance::Instance,
    model::{App, ConfigMap, EnvKey, Invalid},
};

/// The variables that every container has from paas itself, beside `PORT`.
const GIVEN: [&str; 3] = ["PAAS_APP", "PAAS_PROCESS", "PAAS_RELEASE"];

/// An app's config in clear.
///
/// # Errors
/// `StoreError::Sealed`.
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
/// [`Error::Invalid`] for a `PORT` that is none, a value with a NUL, or a variable that paas sets itself;
/// [`Error::NotFound`] where one that is not set shall be removed.
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
                    .ok_or_else(|| Error::NotFound(Thing::ConfigVariable(app.name.clone()), key.to_string()))?;
            }
        }
    }
    Ok(config)
}

/// A config with its values sealed one by one, as an app's is kept.
///
/// # Errors
/// [`Error::Bug`].
pub fn seal(instance: &Instance, config: &ConfigMap) -> Result<Vec<(EnvKey, Vec<u8>)>> {
    config.iter().map(|(key, value)| Ok((key.clone(), instance.secrets.seal(value.as_bytes())?))).collect()
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
