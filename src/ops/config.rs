//! Config variables: sealed in the database, injected when a container starts.

use crate::{
    Error, Result,
    instance::Instance,
    model::{App, ConfigMap, EnvKey},
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

/// Sets variables, all or none. Says whether anything changed.
///
/// # Errors
/// [`Error::InvalidValue`] for a `PORT` that is none, a value with a NUL, or a variable that paas sets itself.
pub fn set(instance: &Instance, app: &App, pairs: &[(EnvKey, String)]) -> Result<bool> {
    let before = show(instance, app)?;
    let mut sealed = Vec::new();
    for (key, value) in pairs {
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
        if before.get(key) != Some(value) {
            sealed.push((key, instance.secrets.seal(value.as_bytes())?));
        }
    }
    if sealed.is_empty() {
        return Ok(false);
    }
    instance.write(|tables| {
        for (key, sealed) in &sealed {
            tables.set_config(app.id, key, sealed)?;
        }
        Ok(())
    })?;
    Ok(true)
}

/// Removes variables, all or none.
///
/// # Errors
/// [`Error::ConfigNotFound`] where one of them is not set.
pub fn unset(instance: &Instance, app: &App, keys: &[EnvKey]) -> Result<()> {
    instance.write(|tables| {
        for key in keys {
            if !tables.unset_config(app.id, key)? {
                return Err(Error::ConfigNotFound { app: app.name.clone(), key: key.to_string() });
            }
        }
        Ok(())
    })
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
