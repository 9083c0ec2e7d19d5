//! The settings of an instance, and everything else that is read from the environment.
//!
//! Each setting has one entry: those that hold for as long as the daemon runs below, those that may change meanwhile in
//! the table of properties ([`property`]). All have a key of `config.toml` and a variable, the variable winning. The
//! file is `--config`, else `$PAAS_CONFIG`, else `/etc/paas/config.toml` where it exists. All work with no file.

mod paths;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use paths::Paths;
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::{
    Error, Result,
    error::UsageError,
    model::{Hostname, Noun, Property, Subnet, property},
};

/// The file that is read where none is named.
const CONFIG_FILE: &str = "/etc/paas/config.toml";
/// The root directory of a server's instance.
const SERVER_ROOT: &str = "/var/lib/paas";

/// Who looks after Caddy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// The daemon starts it and keeps it running.
    Managed,
    /// Something else does.
    External,
}

/// Where certificates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// None: plain HTTP.
    Off,
    /// Caddy's own authority, for tests and intranets.
    Internal,
    /// A public authority over ACME.
    Acme,
}

/// How the daemon writes its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON document a line.
    Json,
}

/// A setting, as it is listed. Its name is its key in `config.toml`.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// The value where nothing is given, in words.
    pub default: &'static str,
    /// What it sets.
    pub about: &'static str,
    /// The property that it is, where it may change while the daemon runs.
    pub property: Option<&'static Property>,
}

impl Setting {
    /// Every setting there is: first those that need a restart of the daemon.
    pub fn all() -> impl Iterator<Item = Setting> {
        let while_running = run_time().map(|property| Setting {
            name: property.name,
            default: property.default.words(),
            about: property.about,
            property: Some(property),
        });
        START.iter().copied().chain(while_running)
    }

    /// The setting of that name; `-` and `_` are the same.
    pub fn find(name: &str) -> Option<Setting> {
        let plain = |name: &str| name.replace('-', "_");
        let name = FORMER_NAMES.iter().find(|(former, _)| *former == name).map_or(name, |(_, name)| name);
        Setting::all().find(|setting| plain(setting.name) == plain(name))
    }

    /// Its variable: `PAAS_` and its name in capitals, but for Docker's own.
    pub fn variable(&self) -> String {
        match self.name {
            "docker_host" => "DOCKER_HOST".to_owned(),
            name => variable_of(name),
        }
    }
}

/// What settings were called before, and are called now.
const FORMER_NAMES: [(&str, &str); 1] = [("images_kept", "keep.images")];

fn variable_of(name: &str) -> String {
    format!("PAAS_{}", name.replace(['-', '.'], "_").to_uppercase())
}

/// The properties that are settings too: those of the server, and how much is kept.
fn run_time() -> impl Iterator<Item = &'static Property> {
    let is_setting = |property: &&Property| property.noun == Noun::Server || property.name.starts_with("keep.");
    property::ALL.iter().copied().filter(is_setting)
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// By a variable of the environment.
    Variable(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(path) => write!(formatter, "file {}", path.display()),
            Source::Variable(name) => write!(formatter, "variable {name}"),
        }
    }
}

/// A value that was given, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The value, as it stands there.
    pub value: String,
    /// Where.
    pub source: Source,
}

/// What defaults depend on.
struct Basis<'a> {
    account: &'a Account,
    /// Whether apps are at a name of this machine alone.
    local: bool,
    /// Whether this machine has a server's instance.
    has_server: bool,
}

/// What holds where nothing is given.
enum StartDefault {
    /// This value, as it would be written.
    Is(&'static str),
    /// A value that depends, in words and in fact.
    Depends(&'static str, fn(&Basis<'_>) -> PathBuf),
    /// Nothing, which comes to this.
    Nothing(&'static str),
}

impl StartDefault {
    const fn words(&self) -> &'static str {
        match self {
            StartDefault::Is(words) | StartDefault::Depends(words, _) | StartDefault::Nothing(words) => words,
        }
    }
}

/// Makes of each entry a setting: its field, its place in the list, and how it is read.
macro_rules! start_settings {
    ($($(#[$doc:meta])* $name:literal => $field:ident: $type:ty = $default:expr, $read:expr, $about:literal;)*) => {
        /// The settings of an instance, all checked. Those that may change while the daemon runs are not fields:
        /// [`crate::instance::Instance::number`] and its like read them where they are used.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($(#[$doc])* pub $field: $type,)*
            /// What was given, by name.
            given: BTreeMap<&'static str, Given>,
            /// The file, where somebody named one.
            file: Option<PathBuf>,
        }

        const START: &[Setting] = &[
            $(Setting { name: $name, default: $default.words(), about: $about, property: None }),*
        ];

        impl Settings {
            fn of_given(
                given: BTreeMap<&'static str, Given>,
                file: Option<PathBuf>,
                account: &Account,
                has_server: bool,
            ) -> Result<Settings> {
                let domain = given.get("domain").map_or(LOCALHOST, |given| given.value.as_str());
                let basis = Basis { account, local: domain == LOCALHOST || domain.ends_with(".localhost"), has_server };
                $(let $field: $type = read(&given, $name, &$default, &basis, $read)?;)*
                for property in run_time() {
                    if let Some(given) = given.get(property.name) {
                        (property.parse)(&given.value).map_err(|rule| bad(property.name, given, &rule))?;
                    }
                }
                Ok(Settings { $($field,)* given, file })
            }
        }
    };
}

start_settings! {
    /// Where everything is kept.
    "root" => paths: Paths = StartDefault::Depends(
        "/var/lib/paas for root and the paas user, else ~/.local/share/paas",
        |basis| {
            let own = basis.account.home.join(".local/share/paas");
            // On a server, a user who has no instance means the server's, and is told if it is closed to him.
            let of_server = basis.account.is_server() || (!own.exists() && basis.has_server);
            if of_server { PathBuf::from(SERVER_ROOT) } else { own }
        },
    ), |text| {
        let root = std::path::absolute(text.unwrap_or_default()).map_err(|error| error.to_string())?;
        Ok(Paths::new(root))
    }, "directory of the database, the repositories, the keys and the logs";
    /// Apps are at `APP.domain`.
    "domain" => domain: Hostname = StartDefault::Is(LOCALHOST), parsed, "apps are at APP.DOMAIN";
    /// Where certificates come from.
    "tls" => tls: Tls = StartDefault::Depends(
        "off on localhost, else acme",
        |basis| PathBuf::from(if basis.local { "off" } else { "acme" }),
    ), |text| match text {
        Some("off") => Ok(Tls::Off),
        Some("internal") => Ok(Tls::Internal),
        Some("acme") => Ok(Tls::Acme),
        _ => Err("it is off, internal or acme".to_owned()),
    }, "certificates: off (plain HTTP), internal (Caddy's own authority), acme (Let's Encrypt)";
    /// Address of the SSH server.
    "ssh_listen" => ssh_listen: SocketAddr =
        StartDefault::Is("0.0.0.0:2222"), parsed, "address of the SSH server";
    /// HTTP address of the edge.
    "http_listen" => http_listen: SocketAddr = StartDefault::Is("127.0.0.1:25080"), parsed,
        "HTTP address of the edge: certificates for Caddy, redirects, and pages for hosts whose app takes no requests";
    /// UDP address of the edge.
    "resolver_listen" => resolver_listen: SocketAddr = StartDefault::Is("127.0.0.1:25353"), parsed,
        "UDP address at which the edge tells Caddy where hosts lead";
    /// Network of the app containers.
    "subnet" => subnet: Subnet = StartDefault::Is("10.213.0.0/16"), parsed, "IPv4 network of the app containers";
    /// Caddy's HTTP port.
    "proxy_http_port" => proxy_http_port: u16 = StartDefault::Depends(
        "80 for root and the paas user, else 8080",
        |basis| PathBuf::from(if basis.account.is_server() { "80" } else { "8080" }),
    ), port, "Caddy's HTTP port";
    /// Caddy's HTTPS port.
    "proxy_https_port" => proxy_https_port: u16 = StartDefault::Depends(
        "443 for root and the paas user, else 8443",
        |basis| PathBuf::from(if basis.account.is_server() { "443" } else { "8443" }),
    ), port, "Caddy's HTTPS port";
    /// Who looks after Caddy.
    "proxy_mode" => proxy_mode: ProxyMode = StartDefault::Is("managed"), |text| match text {
        Some("managed") => Ok(ProxyMode::Managed),
        Some("external") => Ok(ProxyMode::External),
        _ => Err("it is managed or external".to_owned()),
    }, "managed: the daemon starts Caddy and keeps it running; external: Caddy runs by other means, with the Caddyfile and the admin socket below ROOT/caddy";
    /// The Caddy program.
    "caddy" => caddy: String =
        StartDefault::Is("caddy"), parsed, "the Caddy program: a name to be found in PATH, or a path";
    /// How the daemon writes its log.
    "log_format" => log_format: LogFormat = StartDefault::Is("text"), |text| match text {
        Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        _ => Err("it is text or json".to_owned()),
    }, "how the daemon writes its log: text, or json, a document a line";
    /// Where Docker listens; none: its default.
    "docker_host" => docker_host: Option<String> = StartDefault::Nothing(DOCKER_SOCKET), |text| Ok(text.map(str::to_owned)),
        "where Docker listens";
}

/// The domain of an instance that nobody gave one.
const LOCALHOST: &str = "localhost";
/// Where Docker listens by default.
const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";

/// Reads a setting from what was given, or from its default.
fn read<T>(
    given: &BTreeMap<&'static str, Given>,
    name: &'static str,
    default: &StartDefault,
    basis: &Basis<'_>,
    read: fn(Option<&str>) -> Result<T, String>,
) -> Result<T> {
    if let Some(given) = given.get(name) {
        return read(Some(&given.value)).map_err(|rule| bad(name, given, &rule));
    }
    let value = match default {
        StartDefault::Is(value) => Some(PathBuf::from(value)),
        StartDefault::Depends(_, value) => Some(value(basis)),
        StartDefault::Nothing(_) => None,
    };
    let value = value.as_deref().and_then(Path::to_str);
    read(value).map_err(|rule| Error::bug(format!("the default of {name}: {rule}")))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: Option<&str>) -> Result<T, String> {
    text.unwrap_or_default().parse().map_err(|error: T::Err| error.to_string())
}

/// A port of Caddy's, which apps are reached at: none that the kernel chooses.
fn port(text: Option<&str>) -> Result<u16, String> {
    let port = text.unwrap_or_default().parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| "it is a number from 1 to 65535".to_owned())
}

/// A value that cannot be: the place, which names the setting, the value and the rule.
fn bad(name: &str, given: &Given, rule: &str) -> Error {
    let place = match &given.source {
        Source::File(path) => format!("file {}: {name}", path.display()),
        Source::Variable(variable) => format!("variable {variable}"),
    };
    // Some rules begin with the value.
    let value = format!("{:?}", given.value);
    let said = if rule.starts_with(&value) { rule.to_owned() } else { format!("{value}: {rule}") };
    Error::Usage(UsageError::Settings { message: format!("{place}: {said}") })
}

impl Settings {
    /// Reads the settings from the file and the environment.
    ///
    /// `config`: the path given with `--config`.
    ///
    /// # Errors
    /// `UsageError::Settings` with the file or the variable at fault.
    pub fn load(config: Option<PathBuf>) -> Result<Settings> {
        let named = config.or_else(|| variable("PAAS_CONFIG").map(PathBuf::from));
        let named = named.map(std::path::absolute).transpose().map_err(Error::io("find the settings"))?;
        let file = named.clone().unwrap_or_else(|| PathBuf::from(CONFIG_FILE));
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => String::new(),
            Err(error) => {
                return Err(Error::Usage(UsageError::Settings { message: format!("{}: {error}", file.display()) }));
            }
        };
        let mut given = in_file(&file, &text)?;
        for setting in Setting::all() {
            let former = FORMER_NAMES.iter().filter(|(_, name)| *name == setting.name);
            let names = std::iter::once(setting.variable()).chain(former.map(|(former, _)| variable_of(former)));
            if let Some((name, value)) = names.into_iter().find_map(|name| variable(&name).map(|value| (name, value))) {
                given.insert(setting.name, Given { value, source: Source::Variable(name) });
            }
        }
        Settings::of_given(given, named, &Account::current(), Path::new(SERVER_ROOT).exists())
    }

    /// The settings that a `config.toml` with this text gives. Of this machine they take nothing but the engine's
    /// address: unit tests must not see an instance that runs here.
    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Result<Settings> {
        let mut given = in_file(Path::new("config.toml"), text)?;
        let address = variable("DOCKER_HOST");
        let source = Source::Variable("DOCKER_HOST".to_owned());
        given.extend(address.map(|value| ("docker_host", Given { value, source })));
        Settings::of_given(given, Some(PathBuf::from("/dev/null")), &Account::current(), false)
    }

    /// What was given for a setting, in the file or by a variable, which wins over the database.
    pub fn given(&self, name: &str) -> Option<&Given> {
        self.given.get(name)
    }

    /// The file that a setting would be written to.
    pub fn file(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(CONFIG_FILE))
    }

    /// Whether somebody said which instance is meant.
    pub fn names_its_root(&self) -> bool {
        self.given.contains_key("root")
    }

    /// The environment that makes a child process of ours find the same instance and read the same settings:
    /// `PAAS_ROOT` always, the file that was named, and every variable that was given.
    pub fn child_environment(&self) -> Vec<(String, OsString)> {
        let mut variables: Vec<(String, OsString)> = self
            .given
            .iter()
            .filter(|(name, _)| **name != "root")
            .filter_map(|(_, given)| match &given.source {
                Source::Variable(variable) => Some((variable.clone(), OsString::from(&given.value))),
                Source::File(_) => None,
            })
            .collect();
        variables.push(("PAAS_ROOT".to_owned(), self.paths.root().into()));
        variables.extend(self.file.iter().map(|file| ("PAAS_CONFIG".to_owned(), OsString::from(file))));
        variables
    }

    /// The address of an app at its default name: `http://blog.localhost:8080`, without the port where it is the usual one.
    pub fn app_url(&self, app: &crate::model::AppName) -> String {
        self.url_of(&format!("{app}.{}", self.domain))
    }

    /// The address of a host for people.
    pub fn url_of(&self, host: &str) -> String {
        let (scheme, port, usual) = match self.tls {
            Tls::Off => ("http", self.proxy_http_port, 80),
            Tls::Internal | Tls::Acme => ("https", self.proxy_https_port, 443),
        };
        if port == usual { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
    }

    /// The address of Docker for people.
    pub fn docker_address(&self) -> &str {
        self.docker_host.as_deref().unwrap_or(DOCKER_SOCKET)
    }
}

/// What a file gives, by name.
fn in_file(file: &Path, text: &str) -> Result<BTreeMap<&'static str, Given>> {
    let failed =
        |message: String| Error::Usage(UsageError::Settings { message: format!("{}: {message}", file.display()) });
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| failed(error.to_string()))?;
    // `keep.images = 3`, which TOML takes for a table.
    let mut values: Vec<(String, toml::Value)> = Vec::new();
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => {
                values.extend(inner.into_iter().map(|(inner, value)| (format!("{name}.{inner}"), value)));
            }
            value => values.push((name, value)),
        }
    }
    let mut given = BTreeMap::new();
    for (name, value) in values {
        let setting = Setting::find(&name).ok_or_else(|| failed(format!("there is no setting {name}")))?;
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if given.insert(setting.name, Given { value, source: Source::File(file.to_owned()) }).is_some() {
            return Err(failed(format!("{} is there twice", setting.name)));
        }
    }
    Ok(given)
}

/// A variable of the environment; an empty one counts as not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The account this process runs as.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its user id.
    pub uid: u32,
    /// Its name, or the user id where it has none.
    pub name: String,
    /// Its home directory.
    pub home: PathBuf,
}

impl Account {
    /// The account of this process's effective user id.
    pub fn current() -> Account {
        Account::of(rustix::process::geteuid().as_raw())
    }

    /// The account of a user id.
    pub fn of(uid: u32) -> Account {
        match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)) {
            Ok(Some(user)) => Account { uid, name: user.name, home: user.dir },
            _ => Account { uid, name: uid.to_string(), home: PathBuf::from("/") },
        }
    }

    /// Makes this process the account's: its user, its group, its further groups. Only root can, and only before there
    /// are threads.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn become_this(&self) -> Result<()> {
        use nix::unistd::{Gid, Uid, User, initgroups, setgid, setuid};
        let action = || format!("become the user {}", self.name);
        let uid = Uid::from_raw(self.uid);
        let failed = |errno: nix::errno::Errno| Error::io(action())(errno.into());
        let user = User::from_uid(uid).map_err(failed)?;
        let gid = user.as_ref().map_or(Gid::from_raw(self.uid), |user| user.gid);
        if let Some(user) = &user {
            let name = std::ffi::CString::new(user.name.as_str()).map_err(Error::bug)?;
            initgroups(&name, gid).map_err(failed)?;
        }
        setgid(gid).map_err(failed)?;
        setuid(uid).map_err(failed)
    }

    /// Whether this is an account that runs a server's instance: root, or the system user `paas`.
    pub fn is_server(&self) -> bool {
        self.uid == 0 || self.name == "paas"
    }
}

/// What the daemon tells the child process of an SSH session. It is not read further here: what cannot be read is
/// refused by who opens the instance, and never taken for nothing.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Who is on the other end, as [`crate::model::Actor`] is written; none: a user of this machine started this process.
    pub actor: Option<String>,
    /// From where they come.
    pub address: Option<std::net::IpAddr>,
    /// The command line the client sent. It travels in the environment, not in argv, because it may hold a secret
    /// and argv is for everybody to read. One that is longer than a variable can be is in several.
    pub command: Option<String>,
}

/// The variable of [`Session::actor`].
pub const ACTOR_VARIABLE: &str = "PAAS_ACTOR";
/// The variable of [`Session::address`].
pub const ADDRESS_VARIABLE: &str = "PAAS_ADDRESS";
/// The first variable of [`Session::command`]. The others have a number behind it, from 2.
const COMMAND_VARIABLE: &str = "PAAS_SSH_COMMAND";
/// How much of a command line is in one variable: Linux takes 131,071 bytes with its name (execve(2)).
const COMMAND_PIECE: usize = 100_000;

/// The variables that a command line travels in.
pub fn command_variables(mut command: &str) -> Vec<(String, &str)> {
    let mut variables = Vec::new();
    while variables.is_empty() || !command.is_empty() {
        let mut end = COMMAND_PIECE.min(command.len());
        while !command.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, rest) = command.split_at(end);
        variables.push((command_variable(variables.len()), piece));
        command = rest;
    }
    variables
}

fn command_variable(index: usize) -> String {
    if index == 0 { COMMAND_VARIABLE.to_owned() } else { format!("{COMMAND_VARIABLE}_{}", index + 1) }
}

/// Reads a command line from the variables that it travelled in.
pub fn command(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut command = variable(COMMAND_VARIABLE)?;
    let more = (1..).map_while(|index| variable(&command_variable(index)));
    more.for_each(|piece| command.push_str(&piece));
    Some(command)
}

impl Session {
    /// What the daemon said, if it started this process.
    pub fn from_environment() -> Session {
        Session {
            // An empty one, and one that is no text, says something too: that this is not the owner.
            actor: std::env::var_os(ACTOR_VARIABLE).map(|actor| actor.to_string_lossy().into_owned()),
            address: variable(ADDRESS_VARIABLE).and_then(|text| text.parse().ok()),
            command: command(|name| std::env::var(name).ok()),
        }
    }
}

/// The kind of our terminal, by its name in the terminal database: `TERM`.
pub fn terminal_kind() -> Option<String> {
    variable("TERM").filter(|kind| !kind.is_empty())
}

/// The editor of the user, as they said: `VISUAL`, or `EDITOR`.
pub fn editor() -> Option<String> {
    let said = |name| variable(name).filter(|line| !line.trim().is_empty());
    said("VISUAL").or_else(|| said("EDITOR"))
}

/// The app that the user works on, where they said so: `PAAS_APP`.
pub fn app_variable() -> Option<String> {
    variable("PAAS_APP")
}

/// Where certificates of authorities are, as far as somebody said: variables that OpenSSL and git read.
pub fn certificate_variables() -> Vec<(&'static str, OsString)> {
    let said = |name| std::env::var_os(name).map(|value| (name, value));
    ["SSL_CERT_FILE", "GIT_SSL_CAINFO"].into_iter().filter_map(said).collect()
}

/// The search path for programs.
pub fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())
}

/// Whether this process is to kill itself on entering a state of a deploy, or on beginning a job, which is `job:NAME`:
/// `PAAS_TEST_DIE_ON`, for the tests of what a death leaves behind. A release build does not look.
pub fn dies_on(word: &str) -> bool {
    cfg!(debug_assertions) && variable("PAAS_TEST_DIE_ON").is_some_and(|told| told == word)
}

/// Kills this process where a test said so in `PAAS_TEST_DIE_ON`: as if the plug was pulled, at a point that is no state
/// of a deploy. A release build does not look.
pub fn die_at(point: &str) {
    if dies_on(point) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// What the log of the daemon shows: `PAAS_LOG`, a level or `TARGET=LEVEL` with commas between; `info` where it is not
/// set, or cannot be read.
///
/// tracing's `EnvFilter` knows more, but its dependencies turn on a feature of `regex` with which each expression takes
/// twice as long to compile, in every part of the program.
pub fn log_filter() -> Targets {
    let asked = variable("PAAS_LOG").and_then(|filter| filter.parse().ok());
    asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(uid: u32, name: &str) -> Account {
        Account { uid, name: name.to_owned(), home: PathBuf::from("/home/x") }
    }

    fn settings(variables: &[(&'static str, &str)], account: &Account) -> Result<Settings> {
        let given = variables.iter().map(|(name, value)| {
            let setting = Setting::find(name).unwrap();
            let source = Source::Variable(setting.variable());
            (setting.name, Given { value: (*value).to_owned(), source })
        });
        Settings::of_given(given.collect(), None, account, false)
    }

    #[test]
    fn a_user_gets_high_ports_and_a_root_of_its_own() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let own = directory.path().join(".local/share/paas");
        std::fs::create_dir_all(&own).map_err(Error::io("make a directory"))?;
        let ann = Account { home: directory.path().to_owned(), ..account(1000, "ann") };
        let settings = settings(&[], &ann)?;
        assert_eq!(settings.paths.root(), own);
        assert_eq!(settings.app_url(&"blog".parse()?), "http://blog.localhost:8080");
        Ok(())
    }

    #[test]
    fn the_paas_user_gets_the_usual_ports() -> Result<()> {
        let settings = settings(&[("domain", "example.com")], &account(999, "paas"))?;
        assert_eq!(settings.paths.root(), "/var/lib/paas");
        assert_eq!(settings.tls, Tls::Acme);
        assert_eq!(settings.app_url(&"blog".parse()?), "https://blog.example.com");
        Ok(())
    }

    #[test]
    fn a_bad_value_is_refused_with_where_it_stands_and_the_rule() -> Result<()> {
        for (name, value, said) in [
            ("ssh_listen", "nowhere", "variable PAAS_SSH_LISTEN: \"nowhere\": "),
            ("tls", "on", "variable PAAS_TLS: \"on\": it is off, internal or acme"),
            ("images_kept", "0", "variable PAAS_KEEP_IMAGES: \"0\": it is a number from 1 to 1000"),
            ("build_concurrency", "17", "variable PAAS_BUILD_CONCURRENCY: \"17\": it is a number from 1 to 16"),
            ("build_cache_max_gb", "-1", "it is a number from 0 to 1000000"),
        ] {
            let error = settings(&[(name, value)], &account(0, "root")).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        let settings = settings(&[("images_kept", "1")], &account(0, "root"))?;
        assert_eq!(settings.given("keep.images").map(|given| &*given.value), Some("1"));
        Ok(())
    }

    #[test]
    fn a_child_process_reads_the_file_that_was_named_and_no_other() -> Result<()> {
        let environment = Settings::of_text("root = \"/r\"\ndomain = \"example.com\"")?.child_environment();
        for (name, value) in [("PAAS_CONFIG", "/dev/null"), ("PAAS_ROOT", "/r")] {
            assert!(environment.contains(&(name.to_owned(), value.into())), "{name}: {environment:?}");
        }
        Ok(())
    }

    #[test]
    fn a_file_gives_settings_by_their_names_of_today_and_before() -> Result<()> {
        let file = Path::new("/x/config.toml");
        let text = "domain = \"example.com\"\nimages_kept = 7\nkeep.deploy-logs = 3\ncreate_on_push = false\n";
        let given = in_file(file, text)?;
        let values: Vec<_> = given.iter().map(|(name, given)| (*name, given.value.as_str())).collect();
        let expected =
            [("create_on_push", "false"), ("domain", "example.com"), ("keep.deploy-logs", "3"), ("keep.images", "7")];
        assert_eq!(values, expected);
        assert_eq!(given["domain"].source, Source::File(file.to_owned()));
        for bad in ["colour = 1", "images_kept = 1\nkeep.images = 2", "domain = "] {
            assert!(in_file(file, bad).is_err(), "{bad}");
        }
        Ok(())
    }

    #[test]
    fn every_setting_is_found_by_its_name_and_has_a_variable_of_its_own() {
        let mut variables: Vec<String> = Setting::all().map(|setting| setting.variable()).collect();
        for setting in Setting::all() {
            assert_eq!(Setting::find(setting.name).map(|found| found.name), Some(setting.name));
        }
        let all = variables.len();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), all);
        assert!(variables.contains(&"DOCKER_HOST".to_owned()) && variables.contains(&"PAAS_KEEP_IMAGES".to_owned()));
    }

    #[test]
    fn a_command_line_of_any_length_travels_in_variables_that_each_can_be() {
        for text in ["", "apps:list", &"x".repeat(COMMAND_PIECE), &"ü\u{1f680}a".repeat(COMMAND_PIECE / 3)] {
            let variables = command_variables(text);
            assert!(variables.iter().all(|(_, piece)| piece.len() <= COMMAND_PIECE));
            let find = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, it)| (*it).to_owned());
            assert_eq!(command(find).as_deref(), Some(text));
        }
        assert_eq!(command(|_| None), None);
    }
}
