use std::collections::BTreeMap;

use super::{Invalid, Result, names::checked_string};

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

/// What is shown in place of a secret value.
pub const MASK: &str = "********";

/// An app's config: variables and their values in clear. Never printed or logged as a whole.
pub type ConfigMap = BTreeMap<EnvKey, String>;

/// The port that a config sets, if it does.
///
/// # Errors
/// [`Invalid`].
pub fn port_of(config: &ConfigMap) -> Result<Option<u16>> {
    let key: EnvKey = "PORT".parse()?;
    config.get(&key).map(|text| parse_port(text)).transpose()
}

/// Checks a variable that is to be set.
///
/// # Errors
/// [`Invalid`] for a `PORT` that is no port, a value with a NUL, or a variable that paas sets itself.
pub fn check_variable(key: &EnvKey, value: &str) -> Result<()> {
    if key.as_str() == "PORT" {
        parse_port(value)?;
    }
    if GIVEN.contains(&key.as_str()) {
        return Err(Invalid {
            what: "variable of the config",
            value: key.to_string(),
            rule: "paas sets it itself".to_owned(),
        });
    }
    if value.contains('\0') {
        return Err(Invalid {
            what: "value",
            value: format!("of {key}"),
            rule: "an environment variable cannot hold a NUL".to_owned(),
        });
    }
    Ok(())
}

fn parse_port(text: &str) -> Result<u16> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| Invalid {
        what: "port",
        value: text.to_owned(),
        rule: "it is a number from 1 to 65535".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_no_port_out_of_range_and_none_that_paas_sets_itself() {
        let key = |name: &str| name.parse::<EnvKey>().unwrap();
        assert!(check_variable(&key("PORT"), "8080").is_ok());
        for (name, value) in [("PORT", "0"), ("PORT", "x"), ("PAAS_APP", "x"), ("C", "a\0b")] {
            assert!(check_variable(&key(name), value).is_err(), "{name}");
        }
        let config = ConfigMap::from([(key("PORT"), "8080".to_owned())]);
        assert_eq!((port_of(&ConfigMap::new()).unwrap(), port_of(&config).unwrap()), (None, Some(8080)));
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
