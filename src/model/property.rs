//! Properties: everything that can be set about the server, an app or a process type, in one table. `NOUN:set` and
//! `NOUN:report` know no property by name; what runs reads its own by the statics below.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

use super::{Invalid, MASK, ProcessType, Right, value};

/// A value, or the rule that it breaks.
type Parsed = Result<Value, String>;

/// What a property belongs to: the noun of the commands that set and show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Noun {
    /// `apps:set`.
    Apps,
    /// `checks:set`, and `[checks]` of `paas.toml`.
    Checks,
    /// `ps:set`, and `[processes.TYPE]` of `paas.toml`.
    Ps,
    /// `settings:set`.
    Server,
}

impl Noun {
    /// All of them.
    pub const ALL: [Noun; 4] = [Noun::Apps, Noun::Checks, Noun::Ps, Noun::Server];

    /// The word for it, as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Noun::Apps => "apps",
            Noun::Checks => "checks",
            Noun::Ps => "ps",
            Noun::Server => "server",
        }
    }

    /// The process type that is meant where a command names none: checks are those of `web`.
    pub fn usual_process(self) -> Option<ProcessType> {
        match self {
            Noun::Checks => Some(ProcessType::web()),
            Noun::Apps | Noun::Ps | Noun::Server => None,
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

const SERVER: Scopes = Scopes { global: true, app: false, process: false };
const APPS: Scopes = Scopes { global: true, app: true, process: false };
const PROCESSES: Scopes = Scopes { global: true, app: true, process: true };
/// What fits one program, so that it cannot be meant for all apps.
const OWN: Scopes = Scopes { global: false, app: true, process: true };

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

/// A property of the server that may change while it runs.
const OF_SERVER: Property = Property {
    noun: Noun::Server,
    name: "",
    scopes: SERVER,
    default: Default::Depends(""),
    about: "",
    parse: value::text,
    effect: Effect::Nothing,
    right: |_| Right::Administer,
    secret: false,
};
const OF_APP: Property = Property { noun: Noun::Apps, scopes: APPS, right: |_| Right::Change, ..OF_SERVER };
const OF_CHECK: Property = Property { noun: Noun::Checks, scopes: OWN, effect: Effect::Restart, ..OF_APP };
const OF_PROCESS: Property = Property { noun: Noun::Ps, scopes: PROCESSES, effect: Effect::Restart, ..OF_APP };

/// Makes each property a static of its own, for the code that reads it, and all of them a list.
macro_rules! properties {
    ($($(#[$doc:meta])* $name:ident = $property:expr;)*) => {
        $($(#[$doc])* pub static $name: Property = $property;)*

        /// Every property there is.
        pub static ALL: &[&Property] = &[$(&$name),*];
    };
}

properties! {
    /// The branch that deploys.
    DEPLOY_BRANCH = Property {
        name: "deploy-branch",
        default: Default::Depends("the branch of the first push"),
        about: "the branch whose push deploys",
        parse: value::branch,
        ..OF_APP
    };
    /// The variables that hold the commit.
    REV_ENV_VAR = Property {
        name: "rev-env-var",
        default: Default::Is("GIT_REV,SOURCE_VERSION"),
        about: "the variables that hold the commit while an app is built and while it runs; or none",
        parse: value::variables,
        effect: Effect::Restart,
        ..OF_APP
    };
    /// Releases that keep their image.
    KEEP_IMAGES = Property {
        name: "keep.images",
        default: Default::Is("5"),
        about: "how many good releases of an app keep their image, so that it can be rolled back to: at least 1",
        parse: |text| value::number(text, 1..=1000),
        ..OF_APP
    };
    /// Release rows.
    KEEP_RELEASES = Property {
        name: "keep.releases",
        default: Default::Is("1000"),
        about: "how many releases of an app stay listed; those that can be rolled back to always do",
        parse: |text| value::number(text, 1..=1_000_000),
        ..OF_APP
    };
    /// Deploys.
    KEEP_OPERATIONS = Property {
        name: "keep.operations",
        default: Default::Is("1000"),
        about: "how many operations of an app, such as deploys, stay listed",
        parse: |text| value::number(text, 1..=1_000_000),
        ..OF_APP
    };
    /// Logs of deploys.
    KEEP_DEPLOY_LOGS = Property {
        name: "keep.deploy-logs",
        default: Default::Is("100"),
        about: "how many deploys of an app keep their log",
        parse: |text| value::number(text, 1..=1_000_000),
        ..OF_APP
    };
    /// The last lines of a container.
    KEEP_FORMER_LINES = Property {
        name: "keep.former-lines",
        default: Default::Is("2000"),
        about: "how many of its last lines a container leaves behind for `paas logs`",
        parse: |text| value::number(text, 0..=1_000_000),
        ..OF_APP
    };
    /// The log of containers that are gone.
    KEEP_FORMER_LOG = Property {
        name: "keep.former-log",
        default: Default::Is("4m"),
        about: "how much of the logs of an app's former containers is kept, such as 4m or 1g",
        parse: |text| value::bytes(text, 1 << 16),
        ..OF_APP
    };

    /// What is asked.
    CHECK_TYPE = Property {
        name: "type",
        default: Default::Depends("command if one is set, http for web or with a port, else up"),
        about: "what is asked: http, tcp (a connection), command, or up (that it stays up)",
        parse: |text| value::one_of(text, &["http", "tcp", "command", "up"]),
        ..OF_CHECK
    };
    /// The path asked for over HTTP.
    CHECK_PATH = Property {
        name: "path",
        default: Default::Depends("/, and any answer below 500"),
        about: "the path requested over HTTP; one that is set must answer 2xx",
        parse: value::path,
        ..OF_CHECK
    };
    /// The port asked.
    CHECK_PORT = Property {
        name: "port",
        default: Default::Depends("the port of the web process"),
        about: "the port to connect to",
        parse: |text| value::number(text, 1..=65_535),
        ..OF_CHECK
    };
    /// The status that is healthy.
    CHECK_STATUS = Property {
        name: "status",
        default: Default::Depends("2xx of a path that is set, else below 500"),
        about: "the HTTP status that is healthy, such as 401",
        parse: value::status,
        ..OF_CHECK
    };
    /// What the answer must contain.
    CHECK_TEXT = Property {
        name: "text",
        default: Default::Depends("any"),
        about: "a text that the answer must contain",
        ..OF_CHECK
    };
    /// Headers of the request.
    CHECK_HEADERS = Property {
        name: "headers",
        default: Default::Depends("none"),
        about: "headers of the request: `Name: value; Other: value`",
        parse: |text| value::headers(text).map(|_| Value::Text(text.to_owned())),
        secret: true,
        ..OF_CHECK
    };
    /// A command inside the container.
    CHECK_COMMAND = Property {
        name: "command",
        default: Default::Depends("none"),
        about: "a command line run inside the container that exits with 0",
        ..OF_CHECK
    };
    /// Time to become healthy.
    CHECK_TIMEOUT = Property {
        name: "timeout",
        scopes: PROCESSES,
        default: Default::Is("60s"),
        about: "how long a new container may take to become healthy",
        parse: |text| value::seconds(text, 1),
        ..OF_CHECK
    };
    /// Time of one try.
    CHECK_TRY_TIMEOUT = Property {
        name: "try-timeout",
        scopes: PROCESSES,
        default: Default::Is("5s"),
        about: "how long one try may take",
        parse: |text| value::seconds(text, 1),
        ..OF_CHECK
    };
    /// Time before the first try.
    CHECK_INITIAL_DELAY = Property {
        name: "initial-delay",
        scopes: PROCESSES,
        default: Default::Is("0s"),
        about: "how long a new container is left alone before the first try",
        parse: |text| value::seconds(text, 0),
        ..OF_CHECK
    };
    /// Time between checks of a container that serves.
    CHECK_INTERVAL = Property {
        name: "interval",
        scopes: PROCESSES,
        default: Default::Is("10s"),
        about: "the time between checks of a container that serves",
        parse: |text| value::seconds(text, 1),
        ..OF_CHECK
    };
    /// Failures in a row that make one unhealthy.
    CHECK_ATTEMPTS = Property {
        name: "attempts",
        scopes: PROCESSES,
        default: Default::Is("3"),
        about: "how many checks in a row fail before it is unhealthy",
        parse: |text| value::number(text, 1..=100),
        ..OF_CHECK
    };
    /// Enabled, skipped or disabled.
    CHECK_MODE = Property {
        name: "mode",
        default: Default::Is("enabled"),
        about: "enabled; skipped: new containers get traffic unchecked; disabled: the old are stopped before the new start",
        parse: |text| value::one_of(text, &["enabled", "skipped", "disabled"]),
        ..OF_CHECK
    };

    /// The file that names the process types.
    PROCFILE_PATH = Property {
        name: "procfile-path",
        scopes: APPS,
        default: Default::Is("Procfile"),
        about: "the file of the repository that is read as its Procfile",
        parse: value::file,
        effect: Effect::Build,
        ..OF_PROCESS
    };
    /// Time between SIGTERM and SIGKILL.
    STOP_TIMEOUT = Property {
        name: "stop-timeout",
        default: Default::Is("10s"),
        about: "the time between SIGTERM and SIGKILL",
        parse: |text| value::seconds(text, 0),
        ..OF_PROCESS
    };
    /// Time for requests in flight.
    DRAIN_TIMEOUT = Property {
        name: "drain-timeout",
        default: Default::Is("30s"),
        about: "how long requests in flight and streams may continue before SIGTERM",
        parse: |text| value::seconds(text, 0),
        ..OF_PROCESS
    };
    /// Whether a container that ended is started again.
    RESTART = Property {
        name: "restart",
        default: Default::Is("always"),
        about: "whether a container that ended is started again: always, on-failure[:TIMES], no",
        parse: value::restart,
        ..OF_PROCESS
    };
    /// Memory limit.
    MEMORY = Property {
        name: "memory",
        default: Default::Depends("unlimited"),
        about: "the memory a container may use, such as 512m or 2g",
        parse: value::memory,
        ..OF_PROCESS
    };
    /// CPU limit.
    CPUS = Property {
        name: "cpus",
        default: Default::Depends("unlimited"),
        about: "the CPUs a container may use, such as 0.5 or 2",
        parse: |text| value::cpus(text, 0.01),
        ..OF_PROCESS
    };

    /// Whether a push makes an app.
    CREATE_ON_PUSH = Property {
        name: "create_on_push",
        default: Default::Is("true"),
        about: "whether a push to an unknown app creates it",
        parse: value::switch,
        ..OF_SERVER
    };
    /// Room for a deploy.
    MIN_FREE_MB = Property {
        name: "min_free_mb",
        default: Default::Is("200"),
        about: "MB that must be free on the disks of ROOT and Docker for a deploy to start",
        parse: |text| value::number(text, 0..=u64::MAX),
        ..OF_SERVER
    };
    /// How far the build cache is pruned.
    BUILD_CACHE_MAX_GB = Property {
        name: "build_cache_max_gb",
        default: Default::Depends("no limit but Docker's own"),
        about: "GB that Docker's build cache is pruned to after a deploy, for all users of Docker",
        parse: |text| value::number(text, 0..=1_000_000),
        ..OF_SERVER
    };
    /// Builds at a time.
    BUILD_CONCURRENCY = Property {
        name: "build_concurrency",
        default: Default::Is("1"),
        about: "how many images are built at a time: 1 to 16",
        parse: |text| value::number(text, 1..=16),
        ..OF_SERVER
    };
    /// Memory of builds.
    BUILD_MEMORY_MB = Property {
        name: "build_memory_mb",
        default: Default::Depends("no cap"),
        about: "memory limit in MB for all builds on this Docker engine together, other users' builds included",
        parse: |text| value::number(text, 64..=100_000_000),
        ..OF_SERVER
    };
    /// Processors of builds.
    BUILD_CPUS = Property {
        name: "build_cpus",
        default: Default::Depends("no cap"),
        about: "CPU limit for all builds on this Docker engine together, other users' builds included: 0.1 to 1024",
        parse: |text| value::cpus(text, 0.1),
        ..OF_SERVER
    };
    /// Events.
    KEEP_EVENTS = Property {
        name: "keep.events",
        default: Default::Is("100000"),
        about: "how many events are kept",
        parse: |text| value::number(text, 1000..=100_000_000),
        ..OF_SERVER
    };
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

/// A value that was set on the server, over what the source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StoredOverride", try_from = "StoredOverride")]
pub struct Override {
    /// Where it was set.
    pub scope: Scope,
    /// The property.
    pub property: &'static Property,
    /// Its value, as typed.
    pub value: String,
}

impl Override {
    /// The same for people: masked where it is secret.
    #[must_use]
    pub fn masked(&self) -> Override {
        Override { value: self.property.shown(&self.value), ..self.clone() }
    }
}

/// An [`Override`] as a release keeps it. Releases of 0.1.0 have no scope, and `setting` for `property`.
#[derive(Serialize, Deserialize)]
struct StoredOverride {
    #[serde(default)]
    scope: Option<String>,
    process: Option<ProcessType>,
    #[serde(alias = "setting")]
    property: &'static Property,
    value: String,
}

impl From<Override> for StoredOverride {
    fn from(entry: Override) -> StoredOverride {
        StoredOverride {
            scope: Some(entry.scope.as_str().to_owned()),
            process: entry.scope.process().cloned(),
            property: entry.property,
            value: entry.value,
        }
    }
}

impl TryFrom<StoredOverride> for Override {
    type Error = Invalid;

    fn try_from(stored: StoredOverride) -> Result<Override, Invalid> {
        let scope = match (stored.scope, stored.process) {
            (Some(word), process) => Scope::parse(&word, process)?,
            (None, None) => Scope::App,
            (None, Some(process)) => Scope::Process(process),
        };
        Ok(Override { scope, property: stored.property, value: stored.value })
    }
}

/// A row of the database: a value, who set it, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyRow {
    /// The value, and where it was set.
    pub set: Override,
    /// Who set it; none: it was set before this was kept.
    pub actor: Option<String>,
    /// When, in milliseconds since 1970.
    pub set_at: Option<i64>,
}

/// A change: a value to be set, or a property to be cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyChange {
    /// Where.
    pub scope: Scope,
    /// The property.
    pub property: &'static Property,
    /// Its new value; none clears it.
    pub value: Option<String>,
}

/// The value that holds for a process type, or for an app as a whole: the nearest one.
pub fn nearest<'a>(
    rows: impl IntoIterator<Item = &'a Override>,
    property: &Property,
    process: Option<&ProcessType>,
) -> Option<&'a Override> {
    let meant = rows.into_iter().filter(|row| *row.property == *property && row.scope.covers(process));
    meant.max_by(|left, right| left.scope.cmp(&right.scope))
}

/// What is set after some changes.
pub fn changed(mut rows: Vec<Override>, changes: &[PropertyChange]) -> Vec<Override> {
    for PropertyChange { scope, property, value } in changes {
        rows.retain(|row| (&row.scope, row.property) != (scope, property));
        if let Some(value) = value {
            rows.push(Override { scope: scope.clone(), property, value: value.clone() });
        }
    }
    rows.sort_by(|left, right| (&left.scope, left.property).cmp(&(&right.scope, right.property)));
    rows
}

/// The changes that make of some rows others.
pub fn changes_between(from: &[Override], to: &[Override]) -> Vec<PropertyChange> {
    let cleared = from.iter().filter(|row| !to.iter().any(|other| same_place(row, other)));
    let cleared = cleared.map(|row| PropertyChange { scope: row.scope.clone(), property: row.property, value: None });
    let set = to.iter().filter(|row| !from.contains(row)).map(|row| PropertyChange {
        scope: row.scope.clone(),
        property: row.property,
        value: Some(row.value.clone()),
    });
    cleared.chain(set).collect()
}

fn same_place(left: &Override, right: &Override) -> bool {
    (&left.scope, left.property) == (&right.scope, right.property)
}

/// Reads what is typed after `NOUN:set APP`. The first word decides: with `=` in it all are KEY=VALUE; without it two
/// words are KEY VALUE, and one clears KEY. An empty value clears too.
///
/// # Errors
/// [`Refused`] for an unknown key, one that is there twice, words of neither form, and a value that breaks its rule.
pub fn parse_words(noun: Noun, words: &[String]) -> Result<Vec<(&'static Property, Option<String>)>, Refused> {
    let pairs: Vec<(&str, &str)> = match words {
        [] => return Err(neither("there is nothing to set")),
        [key] if !key.contains('=') => vec![(key, "")],
        [key, value] if !key.contains('=') => vec![(key, value)],
        [key, ..] if !key.contains('=') => {
            return Err(neither(&format!("{} words after {key} are not one value", words.len() - 1)));
        }
        pairs => pairs
            .iter()
            // A word that is no pair may be a part of a secret value: it is not repeated.
            .map(|word| word.split_once('=').ok_or_else(|| neither("a word after the first is not KEY=VALUE")))
            .collect::<Result<_, _>>()?,
    };
    let mut found: Vec<(&'static Property, Option<String>)> = Vec::new();
    for (key, value) in pairs {
        let property = Property::named(noun, key)?;
        if found.iter().any(|(known, _)| *known == property) {
            return Err(neither(&format!("{} is there twice", property.name)));
        }
        let value = value.trim();
        if !value.is_empty() {
            property.value(value)?;
        }
        found.push((property, (!value.is_empty()).then(|| value.to_owned())));
    }
    Ok(found)
}

/// What it takes to set this for an app: the most that any of the values needs.
pub fn right_to_set(noun: Noun, words: &[String]) -> Right {
    let pairs = parse_words(noun, words).unwrap_or_default();
    let rights = pairs.iter().map(|(property, value)| (property.right)(value.as_deref().unwrap_or_default()));
    let administer = rights.into_iter().any(|right| right == Right::Administer);
    if administer { Right::Administer } else { Right::Change }
}

fn neither(message: &str) -> Refused {
    Refused::Words {
        message: message.to_owned(),
        hint: "write KEY VALUE, or KEY=VALUE for one or several; KEY alone clears it; quote a value with spaces"
            .to_owned(),
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
