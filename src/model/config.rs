use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CommitId, Invalid, Override, Result, Scope, names::checked_string, property, write_env_file};

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

/// What an app is run with, by scope: the nearest wins.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// What is set for all apps.
    pub global: ConfigMap,
    /// What is set for the app.
    pub own: ConfigMap,
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Config")
    }
}

/// How a release keeps its config: what was made before there were scopes has the app's own variables alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Own(ConfigMap),
    Scopes { global: ConfigMap, own: ConfigMap },
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Own(own) => Config { own, ..Config::default() },
            Stored::Scopes { global, own } => Config { global, own },
        })
    }
}

impl Config {
    /// The variables that hold: of each name the one of the nearest scope.
    pub fn variables(&self) -> ConfigMap {
        let mut variables = self.global.clone();
        variables.extend(self.own.clone());
        variables
    }

    /// The scope that a variable has its value from.
    pub fn scope_of(&self, key: &EnvKey) -> Option<Scope> {
        match (self.own.contains_key(key), self.global.contains_key(key)) {
            (true, _) => Some(Scope::App),
            (false, true) => Some(Scope::Global),
            (false, false) => None,
        }
    }

    /// All values, of any scope: for who hides them.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.global.values().chain(self.own.values()).map(String::as_str)
    }
}

/// The names of variables of which two configs have different values.
pub fn differing(left: &ConfigMap, right: &ConfigMap) -> Vec<EnvKey> {
    edits_between(left, right).into_iter().map(|(key, _)| key).collect()
}

/// What tells one config from another, and says nothing of it.
pub fn config_digest(config: &ConfigMap) -> String {
    let text = write_env_file(config.iter().map(|(key, value)| (key, value.as_str())));
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The port that a config sets, if it does.
///
/// # Errors
/// [`Invalid`].
pub fn port_of(config: &ConfigMap) -> Result<Option<u16>> {
    let key: EnvKey = "PORT".parse()?;
    config.get(&key).map(|text| parse_port(text)).transpose()
}

/// The most bytes of a variable, with its name and the `=` between: more Linux gives to no process (`MAX_ARG_STRLEN` in
/// execve(2), less the NUL at its end).
const LONGEST_VARIABLE: usize = (128 << 10) - 1;
/// The most bytes of a process's variables and arguments together: a quarter of its stack, which has 8 MiB (execve(2)).
const MOST_BYTES: usize = 2 << 20;
/// What each variable and argument takes of that beside its bytes: a NUL, and its place in a list.
const OF_EACH: usize = 1 + 8;
/// What is kept of it for the variables that paas and the engine set, and for the arguments of the engine's init.
const KEPT: usize = 4096;

/// Checks that a process can be started with a config, and with what it gets besides: its arguments, and the variables
/// of its image.
///
/// # Errors
/// [`Invalid`] with the sizes.
pub fn check_environment<'a>(config: &ConfigMap, besides: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let besides: usize = besides.into_iter().map(|text| text.len() + OF_EACH).sum();
    let bytes = size_of(config) + besides;
    let most = MOST_BYTES - KEPT;
    if bytes <= most {
        return Ok(());
    }
    let mut sizes: Vec<(usize, &EnvKey)> = config.iter().map(|(key, value)| (length_of(key, value), key)).collect();
    sizes.sort_by(|left, right| right.cmp(left));
    let largest: Vec<String> = sizes.iter().take(3).map(|(size, key)| format!("{key} with {size}")).collect();
    Err(Invalid::new(
        "environment",
        format!("{bytes} bytes in {} variables", config.len()),
        format!(
            "a process takes {most} at most, {OF_EACH} for each variable included; the largest here: {}",
            largest.join(", ")
        ),
    ))
}

/// What a config takes of the bytes that a process can have.
pub fn size_of(config: &ConfigMap) -> usize {
    config.iter().map(|(key, value)| length_of(key, value) + OF_EACH).sum()
}

/// The bytes of `KEY=VALUE`.
fn length_of(key: &EnvKey, value: &str) -> usize {
    key.as_str().len() + 1 + value.len()
}

/// Checks a variable that is to be set.
///
/// # Errors
/// [`Invalid`] for a `PORT` that is no port, a value with a NUL or one that is too long, or a variable that paas sets
/// itself.
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
    let length = length_of(key, value);
    if length > LONGEST_VARIABLE {
        let rule =
            format!("it has {length} bytes with its name, and {LONGEST_VARIABLE} are the most that a process takes");
        return Err(Invalid::new("variable of the config", key.to_string(), rule));
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

/// Reads names of variables for the commit: a list with commas, or `none`.
///
/// # Errors
/// [`Invalid`] for what is no name, or one that paas needs for something else.
pub fn rev_names(text: &str) -> Result<Vec<EnvKey>> {
    if text.trim() == "none" {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for name in text.split(',') {
        let key: EnvKey = name.trim().parse()?;
        if key.as_str() == "PORT" || GIVEN.contains(&key.as_str()) {
            return Err(Invalid::new("variable", key.to_string(), "paas sets it to something else"));
        }
        if !names.contains(&key) {
            names.push(key);
        }
    }
    Ok(names)
}

/// The variables that hold the commit of an app, by what is set.
///
/// # Errors
/// [`Invalid`] for a value that is stored and cannot be.
pub fn rev_variables<'a>(
    overrides: impl IntoIterator<Item = &'a Override>,
    commit: Option<CommitId>,
) -> Result<Vec<(EnvKey, String)>> {
    let set = property::nearest(overrides, &property::REV_ENV_VAR, None).map(|row| row.value.as_str());
    let names = rev_names(set.unwrap_or_else(|| property::REV_ENV_VAR.default.words()))?;
    let Some(commit) = commit else { return Ok(Vec::new()) };
    Ok(names.into_iter().map(|key| (key, commit.to_string())).collect())
}

/// The edits that make of a config another.
pub fn edits_between(from: &ConfigMap, to: &ConfigMap) -> Vec<(EnvKey, Option<String>)> {
    let removed = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), None));
    let set = to.iter().filter(|(key, value)| from.get(*key) != Some(*value));
    removed.chain(set.map(|(key, value)| (key.clone(), Some(value.clone())))).collect()
}

fn parse_port(text: &str) -> Result<u16> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| Invalid {
        what: "port",
        // A secret may have come under the wrong name.
        value: MASK.to_owned(),
        rule: "it is a number from 1 to 65535".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Scope;

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

    #[test]
    fn the_commit_is_in_the_variables_that_are_named_and_the_nearest_name_counts() -> Result<()> {
        let commit: CommitId = "0123456789abcdef0123456789abcdef01234567".parse()?;
        let set = |scope, value: &str| Override { scope, property: &property::REV_ENV_VAR, value: value.to_owned() };
        let names = |overrides: &[Override]| -> Result<Vec<String>> {
            let variables = rev_variables(overrides, Some(commit))?;
            assert!(variables.iter().all(|(_, value)| *value == commit.to_string()));
            Ok(variables.into_iter().map(|(key, _)| key.to_string()).collect())
        };
        assert_eq!(names(&[])?, ["GIT_REV", "SOURCE_VERSION"]);
        assert_eq!(names(&[set(Scope::Global, "REVISION")])?, ["REVISION"]);
        assert_eq!(names(&[set(Scope::Global, "REVISION"), set(Scope::App, "A, B,A")])?, ["A", "B"]);
        assert_eq!(names(&[set(Scope::App, "none")])?, [""; 0]);
        assert!(rev_variables(&[], None)?.is_empty(), "without a commit there is nothing to say");
        for bad in ["", "1A", "A,,B", "A B", "PORT", "PAAS_APP", "none,A-B"] {
            assert!(rev_names(bad).is_err(), "{bad:?}");
        }
        Ok(())
    }

    #[test]
    fn what_no_process_could_be_started_with_is_refused_with_its_size() {
        let key = |name: &str| name.parse::<EnvKey>().unwrap();
        assert!(check_variable(&key("KEY"), &"x".repeat(131_067)).is_ok());
        let error = check_variable(&key("KEY"), &"x".repeat(131_068)).unwrap_err().to_string();
        assert!(error.contains("it has 131072 bytes with its name, and 131071 are the most"), "{error}");
        assert!(!error.contains("xxx"), "{error}");

        let many = |count: usize| -> ConfigMap {
            (0..count).map(|index| (key(&format!("V{index:02}")), "x".repeat(100_000))).collect()
        };
        assert!(check_environment(&many(20), ["a command"]).is_ok());
        let error = check_environment(&many(21), []).unwrap_err().to_string();
        for said in ["2100273 bytes in 21 variables", "2093056 at most", "V20 with 100004"] {
            assert!(error.contains(said), "{error}");
        }
        let long = "x".repeat(100_000);
        assert!(check_environment(&many(20), [&*long]).is_err(), "a command takes of it too");
        // Many small ones: each has its place in a list.
        let small: ConfigMap = (0..120_000).map(|index| (key(&format!("V{index:06}")), "x".to_owned())).collect();
        assert!(check_environment(&small, []).is_err());
    }
}
