//! Properties: everything that can be set about the server, an app or a process type, in one table (`table`). `NOUN:set`
//! and `NOUN:report` know no property by name; what runs reads its own by the statics of the table.

mod overrides;
mod table;
mod words;

use std::{cmp::Ordering, fmt};

pub use overrides::{Override, PropertyChange, PropertyRow, changed, changes_between, nearest};
use serde::{Deserialize, Serialize};
pub use table::*;
pub use words::{parse_words, right_to_set};

pub use super::value::{addresses, duration, name_servers, ports};

use super::{Invalid, MASK, ProcessType, Right};

/// A value, or the rule that it breaks.
type Parsed = Result<Value, String>;

/// What a property belongs to: the noun of the commands that set and show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Noun {
    /// `apps:set`.
    Apps,
    /// `certs:set`.
    Certs,
    /// `checks:set`, and `[checks]` of `paas.toml`.
    Checks,
    /// `proxy:set`.
    Proxy,
    /// `ps:set`, and `[processes.TYPE]` of `paas.toml`.
    Ps,
    /// `settings:set`.
    Server,
}

impl Noun {
    /// All of them.
    pub const ALL: [Noun; 6] = [Noun::Apps, Noun::Certs, Noun::Checks, Noun::Proxy, Noun::Ps, Noun::Server];

    /// The word for it, as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Noun::Apps => "apps",
            Noun::Certs => "certs",
            Noun::Checks => "checks",
            Noun::Proxy => "proxy",
            Noun::Ps => "ps",
            Noun::Server => "server",
        }
    }

    /// The process type that is meant where a command names none: checks are those of `web`.
    pub fn usual_process(self) -> Option<ProcessType> {
        match self {
            Noun::Checks => Some(ProcessType::web()),
            Noun::Apps | Noun::Certs | Noun::Proxy | Noun::Ps | Noun::Server => None,
        }
    }

    /// Its properties, in the order of the table.
    pub fn properties(self) -> impl Iterator<Item = &'static Property> {
        ALL.iter().copied().filter(move |property| property.noun == self)
    }
}

/// Where a value was set, seen from a process of an app. Ordered: the nearest is the greatest, and wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// For all apps, or for the server itself.
    Global,
    /// For the apps of the app's project.
    Project,
    /// For the app.
    App,
    /// For one of its process types.
    Process(ProcessType),
}

impl Scope {
    /// The word for its kind, as stored and shown.
    pub fn as_str(&self) -> &'static str {
        match self {
            Scope::Global => "global",
            Scope::Project => "project",
            Scope::App => "app",
            Scope::Process(_) => "process",
        }
    }

    /// Reads it as it is stored.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse(word: &str, process: Option<ProcessType>) -> Result<Scope, Invalid> {
        match (word, process) {
            ("global", None) => Ok(Scope::Global),
            ("project", None) => Ok(Scope::Project),
            ("app", None) => Ok(Scope::App),
            ("process", Some(process)) => Ok(Scope::Process(process)),
            (word, _) => Err(Invalid::stored("scope", word)),
        }
    }

    /// The process type, where it is one's.
    pub fn process(&self) -> Option<&ProcessType> {
        match self {
            Scope::Process(process) => Some(process),
            Scope::Global | Scope::Project | Scope::App => None,
        }
    }

    /// Whether what is set here holds for a process type; for none: for an app as a whole.
    fn covers(&self, process: Option<&ProcessType>) -> bool {
        self.process().is_none_or(|own| process == Some(own))
    }
}

/// Where a property may be set.
#[derive(Clone, Copy, Debug)]
pub struct Scopes {
    /// With `--global`, for all apps.
    pub global: bool,
    /// For one app.
    pub app: bool,
    /// With `--process`, for one process type.
    pub process: bool,
}

/// What holds where nothing is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This value, as it would be typed.
    Is(&'static str),
    /// No value, or one that depends: in words.
    Depends(&'static str),
}

impl Default {
    /// The default for people.
    pub fn words(self) -> &'static str {
        match self {
            Default::Is(words) | Default::Depends(words) => words,
        }
    }
}

/// What a change of a property needs, so that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: it is read when it is used.
    Nothing,
    /// The proxy is told; no container is touched.
    Route,
    /// The next build takes it up.
    Build,
    /// A release of its own: containers that would be started differently are replaced. It is part of every release.
    Restart,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number, in the unit of the property: seconds, MiB, thousandths of a CPU.
    Number(u64),
    /// Yes or no.
    Switch(bool),
    /// Anything else.
    Text(String),
}

/// A row of the table.
#[derive(Debug)]
pub struct Property {
    /// What it belongs to.
    pub noun: Noun,
    /// Its name within the noun, as typed; `_` is taken for `-` too.
    pub name: &'static str,
    /// Where it may be set.
    pub scopes: Scopes,
    /// What holds where nothing is set.
    pub default: Default,
    /// What it means and what it takes, for help and reference.
    pub about: &'static str,
    /// Reads a value, or returns the rule that it breaks.
    pub parse: fn(&str) -> Parsed,
    /// What a change of it needs.
    pub effect: Effect,
    /// Who may set it to a value for an app; for all apps it is always the right to administer.
    pub right: fn(&str) -> Right,
    /// Whether its value is shown to nobody: it may hold a password.
    pub secret: bool,
}

impl Property {
    /// The property of a noun by its name.
    pub fn find(noun: Noun, name: &str) -> Option<&'static Property> {
        let name = plain(name);
        noun.properties().find(|property| plain(property.name) == name)
    }

    /// The property of a noun by its name, as typed.
    ///
    /// # Errors
    /// [`Refused`] with the names there are.
    pub fn named(noun: Noun, name: &str) -> Result<&'static Property, Refused> {
        Property::find(noun, name).ok_or_else(|| {
            let known: Vec<&str> = noun.properties().map(|property| property.name).collect();
            Refused::Words {
                message: format!("there is no property {name:?}"),
                hint: format!("the properties: {}", known.join(", ")),
            }
        })
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`Invalid`] with the rule.
    pub fn value(&self, text: &str) -> Result<Value, Invalid> {
        (self.parse)(text).map_err(|rule| Invalid {
            what: self.name,
            value: if self.secret { MASK.to_owned() } else { text.to_owned() },
            rule,
        })
    }

    /// A value for people: masked where it is secret.
    pub fn shown(&self, value: &str) -> String {
        if self.secret { MASK.to_owned() } else { value.to_owned() }
    }

    /// Whether its values are part of every release, and are brought back by a rollback.
    pub fn is_of_release(&self) -> bool {
        self.effect == Effect::Restart
    }

    /// Refuses a scope that it cannot be set for.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check_scope(&self, scope: &Scope) -> Result<(), Refused> {
        let Scopes { global, app, process } = self.scopes;
        let (allowed, hint) = match scope {
            Scope::Global | Scope::Project => (global, "set it for an app: name the app instead of --global"),
            Scope::App => (app, "set it for the server: `paas settings:set`"),
            Scope::Process(_) => (process, "set it for the whole app: leave --process out"),
        };
        if allowed {
            return Ok(());
        }
        Err(Refused::Words {
            message: format!(
                "{} cannot be set for {}",
                self.name,
                match scope {
                    Scope::Global => "all apps",
                    Scope::Project => "a project",
                    Scope::App => "an app",
                    Scope::Process(_) => "one process type",
                }
            ),
            hint: hint.to_owned(),
        })
    }
}

/// Why what was typed is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The words are of no form, or name what is not there.
    #[error("{message}")]
    Words {
        /// What is wrong.
        message: String,
        /// What to type.
        hint: String,
    },
    /// A value breaks its rule.
    #[error(transparent)]
    Value(#[from] Invalid),
}

fn plain(name: &str) -> String {
    name.replace('_', "-")
}

impl PartialEq for Property {
    fn eq(&self, other: &Property) -> bool {
        (self.noun, self.name) == (other.noun, other.name)
    }
}

impl Eq for Property {}

impl PartialOrd for Property {
    fn partial_cmp(&self, other: &Property) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Property {
    fn cmp(&self, other: &Property) -> Ordering {
        (self.noun, self.name).cmp(&(other.noun, other.name))
    }
}

/// As it is stored in a release: `checks.path`.
impl fmt::Display for Property {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{}.{}", self.noun.as_str(), self.name))
    }
}

impl Serialize for Property {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for &'static Property {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<&'static Property, D::Error> {
        let word = String::deserialize(deserializer)?;
        let split = word.split_once('.').and_then(|(noun, name)| {
            let noun = Noun::ALL.into_iter().find(|known| known.as_str() == noun)?;
            Property::find(noun, name)
        });
        // Releases of 0.1.0 say `check-path` and `memory`.
        let found = split.or_else(|| match word.strip_prefix("check-") {
            Some(name) => Property::find(Noun::Checks, name),
            None => Property::find(Noun::Ps, &word),
        });
        found.ok_or_else(|| serde::de::Error::custom(format!("there is no property {word}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Result};

    fn at(scope: Scope, value: &str) -> Override {
        Override { scope, property: &MEMORY, value: value.to_owned() }
    }

    #[test]
    fn the_nearest_scope_wins() -> Result<()> {
        let worker: ProcessType = "worker".parse()?;
        let rows = [
            at(Scope::Process(ProcessType::web()), "4g"),
            at(Scope::App, "3g"),
            at(Scope::Global, "1g"),
            at(Scope::Project, "2g"),
        ];
        let value = |rows: &[Override], process: Option<&ProcessType>| {
            nearest(rows, &MEMORY, process).map(|row| row.value.clone())
        };
        assert_eq!(value(&rows, Some(&ProcessType::web())).as_deref(), Some("4g"));
        assert_eq!(value(&rows, Some(&worker)).as_deref(), Some("3g"));
        assert_eq!(value(&rows, None).as_deref(), Some("3g"));
        assert_eq!(value(&rows[2..], Some(&worker)).as_deref(), Some("2g"));
        assert_eq!(value(&rows[2..3], Some(&worker)).as_deref(), Some("1g"));
        assert_eq!(nearest(&rows, &CPUS, None), None);
        Ok(())
    }

    #[test]
    fn the_first_word_decides_what_the_others_are() -> Result<()> {
        let words = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            parse_words(Noun::Ps, &words)
        };
        let set = |name, value: Option<&str>| (Property::find(Noun::Ps, name).unwrap(), value.map(str::to_owned));
        assert_eq!(words(&["memory", "1g"])?, [set("memory", Some("1g"))]);
        assert_eq!(words(&["memory"])?, [set("memory", None)]);
        assert_eq!(words(&["memory", ""])?, [set("memory", None)]);
        assert_eq!(words(&["memory="])?, [set("memory", None)]);
        assert_eq!(words(&["memory=1g", "stop_timeout="])?, [set("memory", Some("1g")), set("stop-timeout", None)]);
        let command = parse_words(Noun::Checks, &["command".to_owned(), "test a=b".to_owned()])?;
        assert_eq!(command, [(&CHECK_COMMAND, Some("test a=b".to_owned()))]);
        for bad in [
            &[][..],
            &["memory", "1g", "cpus"],
            &["memory=1g", "cpus"],
            &["memory=1g", "memory="],
            &["stop-timeout=1s", "stop_timeout=2s"],
            &["memory", "lots"],
            &["nothing=1"],
            &["=1"],
        ] {
            assert!(words(bad).is_err(), "{bad:?}");
        }
        let twice = words(&["memory=", "memory=1g"]).unwrap_err().to_string();
        assert!(twice.contains("memory is there twice"), "{twice}");
        Ok(())
    }

    #[test]
    fn a_secret_value_is_in_no_error() {
        let error = parse_words(Noun::Checks, &["headers=X-Token hunter2".to_owned()]).unwrap_err().to_string();
        assert!(error.contains(MASK) && !error.contains("hunter2"), "{error}");
        let error = parse_words(Noun::Checks, &["headers=X: 1".to_owned(), "hunter2".to_owned()]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn every_property_is_found_by_what_is_typed_and_by_what_is_stored() -> Result<()> {
        for property in ALL {
            assert_eq!(Property::find(property.noun, &property.name.replace('-', "_")), Some(*property));
            let stored = serde_json::to_string(property).map_err(Error::bug)?;
            let read: &'static Property = serde_json::from_str(&stored).map_err(Error::bug)?;
            assert_eq!(read, *property);
            if let Default::Is(value) = property.default {
                property.value(value)?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_release_of_0_1_0_is_understood() -> Result<()> {
        let stored = r#"[{"process":"web","setting":"check-try-timeout","value":"3s"},
                         {"process":null,"setting":"stop-timeout","value":"5s"}]"#;
        let read: Vec<Override> = serde_json::from_str(stored).map_err(Error::bug)?;
        let web = Scope::Process(ProcessType::web());
        let expected = [
            Override { scope: web, property: &CHECK_TRY_TIMEOUT, value: "3s".to_owned() },
            Override { scope: Scope::App, property: &STOP_TIMEOUT, value: "5s".to_owned() },
        ];
        assert_eq!(read, expected);
        let again = serde_json::to_string(&read).map_err(Error::bug)?;
        assert_eq!(serde_json::from_str::<Vec<Override>>(&again).map_err(Error::bug)?, expected);
        Ok(())
    }

    #[test]
    fn the_changes_between_two_states_make_the_one_of_the_other() {
        let (web, app) = (Scope::Process(ProcessType::web()), Scope::App);
        let from = vec![at(app.clone(), "1g"), at(web.clone(), "2g")];
        let to = vec![at(app, "3g"), Override { scope: web, property: &CPUS, value: "2".to_owned() }];
        let changes = changes_between(&from, &to);
        assert_eq!(changes.len(), 3, "{changes:?}");
        assert_eq!(changed(from, &changes), to);
        assert!(changes_between(&to, &to).is_empty());
    }
}
