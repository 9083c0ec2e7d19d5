use std::collections::BTreeMap;

use super::{AppName, names::checked_string};
use crate::{Error, Result};

/// The variables that every container has from paas itself, beside `PORT`.
const GIVEN: [&str; 3] = ["PAAS_APP", "PAAS_PROCESS", "PAAS_RELEASE"];

checked_string! {
    /// The name of an environment variable: `^[A-Za-z_][A-Za-z0-9_]*$` (POSIX, XBD 8.1), at most 256 bytes.
    EnvKey, "variable name", |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let digit_first = text.as_bytes().first().is_none_or(u8::is_ascii_digit);
        if text.len() <= 256 && !digit_first && text.bytes().all(allowed) {
            Ok(())
        } else {
            Err("it takes letters, digits and underscores, and does not begin with a digit".to_owned())
        }
    }
}

/// An app's config: variables and their values in clear. Never printed or logged as a whole.
pub type ConfigMap = BTreeMap<EnvKey, String>;

/// An app's config as it is after some edits: variables with their new values; none removes one.
///
/// # Errors
/// [`Error::InvalidValue`] for a `PORT` that is no port, a value with a NUL, or a variable that paas sets itself;
/// [`Error::ConfigNotFound`] for the removal of a variable that is not set.
pub fn edit_config(mut config: ConfigMap, app: &AppName, edits: &[(EnvKey, Option<String>)]) -> Result<ConfigMap> {
    for (key, value) in edits {
        match value {
            Some(value) => {
                check(key, value)?;
                config.insert(key.clone(), value.clone());
            }
            None => {
                config.remove(key).ok_or_else(|| Error::ConfigNotFound { app: app.clone(), key: key.to_string() })?;
            }
        }
    }
    Ok(config)
}

/// The port that a config sets, if it does.
///
/// # Errors
/// [`Error::InvalidValue`].
pub fn port_of(config: &ConfigMap) -> Result<Option<u16>> {
    let key: EnvKey = "PORT".parse()?;
    config.get(&key).map(|text| parse_port(text)).transpose()
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

fn parse_port(text: &str) -> Result<u16> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| Error::InvalidValue {
        what: "port",
        value: text.to_owned(),
        rule: "it is a number from 1 to 65535".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_set_and_remove_variables_and_refuse_what_paas_sets_itself() {
        let app: AppName = "blog".parse().unwrap();
        let key = |name: &str| name.parse::<EnvKey>().unwrap();
        let set = |name: &str, value: &str| (key(name), Some(value.to_owned()));
        let before = ConfigMap::from([(key("A"), "1".to_owned()), (key("B"), "2".to_owned())]);
        let after = edit_config(before.clone(), &app, &[set("PORT", "8080"), (key("A"), None)]).unwrap();
        assert_eq!(after, ConfigMap::from([(key("B"), "2".to_owned()), (key("PORT"), "8080".to_owned())]));
        assert_eq!((port_of(&before).unwrap(), port_of(&after).unwrap()), (None, Some(8080)));
        let refused = |edit: (EnvKey, Option<String>)| edit_config(before.clone(), &app, &[edit]).unwrap_err();
        for edit in [set("PORT", "0"), set("PORT", "x"), set("PAAS_APP", "x"), set("C", "a\0b")] {
            assert!(matches!(refused(edit), Error::InvalidValue { .. }));
        }
        assert!(matches!(refused((key("C"), None)), Error::ConfigNotFound { .. }));
    }

    #[test]
    fn keys_are_names_of_variables() {
        for good in ["A", "_x", "DATABASE_URL", "a1"] {
            assert!(good.parse::<EnvKey>().is_ok(), "{good:?}");
        }
        for bad in ["", "1A", "A-B", "A B", "A=B", "A\n"] {
            assert!(bad.parse::<EnvKey>().is_err(), "{bad:?}");
        }
    }
}
