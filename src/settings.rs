//! The settings of an instance, and everything else that is read from the environment.
//!
//! Each setting has one entry in [`KEYS`]: a key of `config.toml` and a variable, the variable winning. The file is
//! `--config`, else `$PAAS_CONFIG`, else `/etc/paas/config.toml` where it exists. All work with no file.

mod paths;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use paths::Paths;

use crate::{
    Error, Result,
    error::UsageError,
    model::{BuildCaps, Hostname, Subnet},
};

/// A setting: its key in `config.toml`, and what it means. Its variable is `PAAS_` and the key in capitals, but for
/// `docker_host`, which is Docker's own `DOCKER_HOST`.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key in `config.toml`.
    pub name: &'static str,
    /// The value where nothing is said, in words.
    pub default: &'static str,
    /// What it sets.
    pub about: &'static str,
}

/// Every setting there is.
pub const KEYS: [Key; 19] = [
    Key {
        name: "root",
        default: "/var/lib/paas for root and the paas user, else ~/.local/share/paas",
        about: "directory of the database, the repositories, the keys and the logs",
    },
    Key { name: "domain", default: "localhost", about: "apps are at APP.DOMAIN" },
    Key {
        name: "tls",
        default: "off on localhost, else acme",
        about: "certificates: off (plain HTTP), internal (Caddy's own authority), acme (Let's Encrypt)",
    },
    Key { name: "ssh_listen", default: "0.0.0.0:2222", about: "address of the SSH server" },
    Key {
        name: "http_listen",
        default: "127.0.0.1:25080",
        about: "address of the daemon's own HTTP: the pages for apps that are unknown or stopped, and the certificate question",
    },
    Key {
        name: "resolver_listen",
        default: "127.0.0.1:25353",
        about: "UDP address of the resolver that tells Caddy where apps live",
    },
    Key { name: "subnet", default: "10.213.0.0/16", about: "IPv4 network of the app containers" },
    Key { name: "proxy_http_port", default: "80 for root and the paas user, else 8080", about: "Caddy's HTTP port" },
    Key { name: "proxy_https_port", default: "443 for root and the paas user, else 8443", about: "Caddy's HTTPS port" },
    Key {
        name: "proxy_mode",
        default: "managed",
        about: "managed: the daemon starts Caddy and keeps it running; external: Caddy runs by other means, with the Caddyfile and the admin socket below ROOT/caddy",
    },
    Key { name: "caddy", default: "caddy", about: "the Caddy program: a name to be found in PATH, or a path" },
    Key { name: "docker_host", default: "unix:///var/run/docker.sock", about: "where Docker listens" },
    Key { name: "create_on_push", default: "true", about: "whether a push to an unknown app creates it" },
    Key {
        name: "min_free_mb",
        default: "200",
        about: "MB that must be free on the disks of ROOT and Docker for a deploy to start",
    },
    Key {
        name: "images_kept",
        default: "5",
        about: "how many good releases of an app keep their image, to be rolled back to: at least 1",
    },
    Key {
        name: "build_cache_max_gb",
        default: "no limit but Docker's own",
        about: "GB that Docker's build cache is pruned to after a deploy: that of the whole engine, whoever built",
    },
    Key { name: "build_concurrency", default: "1", about: "how many images are built at a time: 1 to 16" },
    Key {
        name: "build_memory_mb",
        default: "no cap",
        about: "MB of memory that the steps of all builds may take together, those of other users of the engine included",
    },
    Key {
        name: "build_cpus",
        default: "no cap",
        about: "processors that the steps of all builds may take together, those of other users of the engine included: 0.1 to 1024",
    },
];

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

/// The settings of an instance, all checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything is kept.
    pub paths: Paths,
    /// Apps are at `APP.domain`.
    pub domain: Hostname,
    /// Where certificates come from.
    pub tls: Tls,
    /// Address of the SSH server.
    pub ssh_listen: SocketAddr,
    /// Address of the daemon's own HTTP.
    pub http_listen: SocketAddr,
    /// UDP address of the resolver.
    pub resolver_listen: SocketAddr,
    /// Network of the app containers.
    pub subnet: Subnet,
    /// Caddy's HTTP port.
    pub proxy_http_port: u16,
    /// Caddy's HTTPS port.
    pub proxy_https_port: u16,
    /// Who looks after Caddy.
    pub proxy_mode: ProxyMode,
    /// The Caddy program.
    pub caddy: String,
    /// Where Docker listens; none: its default.
    pub docker_host: Option<String>,
    /// Whether a push to an unknown app creates it.
    pub create_on_push: bool,
    /// MB that must be free for a deploy to start.
    pub min_free_mb: u64,
    /// How many good releases of an app keep their image.
    pub images_kept: u32,
    /// GB that the engine's build cache is pruned to after a deploy; none: it is not.
    pub build_cache_max_gb: Option<u64>,
    /// How many images are built at a time.
    pub build_concurrency: u16,
    /// What builds may take of the machine.
    pub build_caps: BuildCaps,
    /// Every setting that was given, by variable: what a child process of ours must be told.
    given: BTreeMap<&'static str, String>,
    /// The file that was named, if one was.
    config: Option<PathBuf>,
}

impl Settings {
    /// Reads the settings from the file and the environment.
    ///
    /// `config`: the path given with `--config`.
    ///
    /// # Errors
    /// `UsageError::Settings` with the key or the variable at fault.
    pub fn load(config: Option<PathBuf>) -> Result<Settings> {
        let named = config.or_else(|| variable("PAAS_CONFIG").map(PathBuf::from));
        let file = named.clone().unwrap_or_else(|| PathBuf::from("/etc/paas/config.toml"));
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => String::new(),
            Err(error) => {
                return Err(Error::Usage(UsageError::Settings { message: format!("{}: {error}", file.display()) }));
            }
        };
        let mut given = given_in(&file, &text)?;
        for key in &KEYS {
            if let Some(value) = variable(variable_of(key)) {
                given.insert(variable_of(key), value);
            }
        }
        let config = named.map(std::path::absolute).transpose().map_err(Error::io("make a path absolute"))?;
        Ok(Settings { config, ..Settings::from_given(given, &Account::current())? })
    }

    /// The settings that a `config.toml` with this text gives. Of this machine they take nothing but the engine's
    /// address: unit tests must not see an instance that runs here.
    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Result<Settings> {
        let mut given = given_in(Path::new("config.toml"), text)?;
        given.extend(variable("DOCKER_HOST").map(|address| ("DOCKER_HOST", address)));
        let config = Some(PathBuf::from("/dev/null"));
        Ok(Settings { config, ..Settings::from_given(given, &Account::current())? })
    }

    fn from_given(given: BTreeMap<&'static str, String>, account: &Account) -> Result<Settings> {
        let get = |name: &'static str, default: &str| given.get(name).cloned().unwrap_or_else(|| default.to_owned());
        let server = account.is_server();
        let root = match given.get("PAAS_ROOT") {
            Some(root) => PathBuf::from(root),
            None if server => PathBuf::from(SERVER_ROOT),
            None => {
                let own = account.home.join(".local/share/paas");
                // On a server, a user who has no instance means the server's, and is told if it is closed to him.
                if !own.exists() && Path::new(SERVER_ROOT).exists() { PathBuf::from(SERVER_ROOT) } else { own }
            }
        };
        let root = std::path::absolute(&root).map_err(Error::io(format!("make {} absolute", root.display())))?;
        let domain: Hostname = parse("PAAS_DOMAIN", &get("PAAS_DOMAIN", "localhost"))?;
        let local = domain.as_str() == "localhost" || domain.as_str().ends_with(".localhost");
        let tls = match get("PAAS_TLS", if local { "off" } else { "acme" }).as_str() {
            "off" => Tls::Off,
            "internal" => Tls::Internal,
            "acme" => Tls::Acme,
            other => return Err(bad("PAAS_TLS", &format!("{other:?} is none of off, internal, acme"))),
        };
        let proxy_mode = match get("PAAS_PROXY_MODE", "managed").as_str() {
            "managed" => ProxyMode::Managed,
            "external" => ProxyMode::External,
            other => return Err(bad("PAAS_PROXY_MODE", &format!("{other:?} is none of managed, external"))),
        };
        let build_memory_mb: Option<u64> = given
            .get("PAAS_BUILD_MEMORY_MB")
            .map(|text| parse_within("PAAS_BUILD_MEMORY_MB", text, 64..=100_000_000))
            .transpose()?;
        let build_cpus =
            given.get("PAAS_BUILD_CPUS").map(|text| parse_within("PAAS_BUILD_CPUS", text, 0.1..=1024.0)).transpose()?;
        Ok(Settings {
            paths: Paths::new(root),
            domain,
            tls,
            ssh_listen: parse("PAAS_SSH_LISTEN", &get("PAAS_SSH_LISTEN", "0.0.0.0:2222"))?,
            http_listen: parse("PAAS_HTTP_LISTEN", &get("PAAS_HTTP_LISTEN", "127.0.0.1:25080"))?,
            resolver_listen: parse("PAAS_RESOLVER_LISTEN", &get("PAAS_RESOLVER_LISTEN", "127.0.0.1:25353"))?,
            subnet: parse("PAAS_SUBNET", &get("PAAS_SUBNET", "10.213.0.0/16"))?,
            proxy_http_port: parse_port(
                "PAAS_PROXY_HTTP_PORT",
                &get("PAAS_PROXY_HTTP_PORT", if server { "80" } else { "8080" }),
            )?,
            proxy_https_port: parse_port(
                "PAAS_PROXY_HTTPS_PORT",
                &get("PAAS_PROXY_HTTPS_PORT", if server { "443" } else { "8443" }),
            )?,
            proxy_mode,
            caddy: get("PAAS_CADDY", "caddy"),
            docker_host: given.get("DOCKER_HOST").cloned(),
            create_on_push: parse("PAAS_CREATE_ON_PUSH", &get("PAAS_CREATE_ON_PUSH", "true"))?,
            min_free_mb: parse("PAAS_MIN_FREE_MB", &get("PAAS_MIN_FREE_MB", "200"))?,
            images_kept: parse_within("PAAS_IMAGES_KEPT", &get("PAAS_IMAGES_KEPT", "5"), 1..=1000)?,
            build_cache_max_gb: given
                .get("PAAS_BUILD_CACHE_MAX_GB")
                .map(|text| parse_within("PAAS_BUILD_CACHE_MAX_GB", text, 0..=1_000_000))
                .transpose()?,
            build_concurrency: parse_within("PAAS_BUILD_CONCURRENCY", &get("PAAS_BUILD_CONCURRENCY", "1"), 1..=16)?,
            build_caps: BuildCaps { memory: build_memory_mb.map(|megabytes| megabytes * 1_000_000), cpus: build_cpus },
            given,
            config: None,
        })
    }

    /// Whether somebody said which instance is meant.
    pub fn names_its_root(&self) -> bool {
        self.given.contains_key("PAAS_ROOT")
    }

    /// The environment that makes a child process of ours find the same instance: `PAAS_ROOT` always, and every
    /// other setting that was given.
    pub fn child_environment(&self) -> Vec<(String, OsString)> {
        let mut variables: Vec<(String, OsString)> = self
            .given
            .iter()
            .filter(|(name, _)| **name != "PAAS_ROOT")
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect();
        variables.push(("PAAS_ROOT".to_owned(), self.paths.root().into()));
        if let Some(config) = &self.config {
            variables.push(("PAAS_CONFIG".to_owned(), config.into()));
        }
        variables
    }

    /// The address of an app for people: `http://blog.localhost:8080`, without the port where it is the usual one.
    pub fn app_url(&self, app: &crate::model::AppName) -> String {
        let (scheme, port, usual) = match self.tls {
            Tls::Off => ("http", self.proxy_http_port, 80),
            Tls::Internal | Tls::Acme => ("https", self.proxy_https_port, 443),
        };
        if port == usual {
            format!("{scheme}://{app}.{}", self.domain)
        } else {
            format!("{scheme}://{app}.{}:{port}", self.domain)
        }
    }

    /// The address of Docker for people.
    pub fn docker_address(&self) -> &str {
        self.docker_host.as_deref().unwrap_or("unix:///var/run/docker.sock")
    }
}

/// What a `config.toml` gives, by variable.
fn given_in(file: &Path, text: &str) -> Result<BTreeMap<&'static str, String>> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        Error::Usage(UsageError::Settings { message: format!("{}: {error}", file.display()) })
    })?;
    let mut given = BTreeMap::new();
    for (name, value) in &table {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(Error::Usage(UsageError::Settings {
                message: format!("{}: there is no setting {name}", file.display()),
            }));
        };
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        given.insert(variable_of(key), value);
    }
    Ok(given)
}

/// The variable of a setting.
pub fn variable_of(key: &Key) -> &'static str {
    match key.name {
        "root" => "PAAS_ROOT",
        "domain" => "PAAS_DOMAIN",
        "tls" => "PAAS_TLS",
        "ssh_listen" => "PAAS_SSH_LISTEN",
        "http_listen" => "PAAS_HTTP_LISTEN",
        "resolver_listen" => "PAAS_RESOLVER_LISTEN",
        "subnet" => "PAAS_SUBNET",
        "proxy_http_port" => "PAAS_PROXY_HTTP_PORT",
        "proxy_https_port" => "PAAS_PROXY_HTTPS_PORT",
        "proxy_mode" => "PAAS_PROXY_MODE",
        "caddy" => "PAAS_CADDY",
        "docker_host" => "DOCKER_HOST",
        "create_on_push" => "PAAS_CREATE_ON_PUSH",
        "min_free_mb" => "PAAS_MIN_FREE_MB",
        "images_kept" => "PAAS_IMAGES_KEPT",
        "build_cache_max_gb" => "PAAS_BUILD_CACHE_MAX_GB",
        "build_concurrency" => "PAAS_BUILD_CONCURRENCY",
        "build_memory_mb" => "PAAS_BUILD_MEMORY_MB",
        "build_cpus" => "PAAS_BUILD_CPUS",
        other => unreachable!("{other} has a variable"),
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error: T::Err| bad(name, &format!("{text:?}: {error}")))
}

/// A port of Caddy's, which apps are reached at: none that the kernel chooses.
fn parse_port(name: &str, text: &str) -> Result<u16> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| bad(name, &format!("{text:?}: it is a number from 1 to 65535")))
}

/// A number that makes sense only within bounds.
fn parse_within<T>(name: &str, text: &str, bounds: std::ops::RangeInclusive<T>) -> Result<T>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| bad(name, &format!("{text:?}: it is a number from {} to {}", bounds.start(), bounds.end())))
}

fn bad(name: &str, message: &str) -> Error {
    Error::Usage(UsageError::Settings { message: format!("{name}: {message}") })
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
    /// and argv is for everybody to read.
    pub command: Option<String>,
}

/// The variable of [`Session::actor`].
pub const ACTOR_VARIABLE: &str = "PAAS_ACTOR";
/// The variable of [`Session::address`].
pub const ADDRESS_VARIABLE: &str = "PAAS_ADDRESS";
/// The variable of [`Session::command`].
pub const COMMAND_VARIABLE: &str = "PAAS_SSH_COMMAND";

impl Session {
    /// What the daemon said, if it started this process.
    pub fn from_environment() -> Session {
        Session {
            // An empty one, and one that is no text, says something too: that this is not the owner.
            actor: std::env::var_os(ACTOR_VARIABLE).map(|actor| actor.to_string_lossy().into_owned()),
            address: variable(ADDRESS_VARIABLE).and_then(|text| text.parse().ok()),
            command: std::env::var(COMMAND_VARIABLE).ok(),
        }
    }
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

/// What the log of the daemon shows: `PAAS_LOG`, in the syntax of tracing's `EnvFilter`; `info` where it is not set.
pub fn log_filter() -> String {
    variable("PAAS_LOG").unwrap_or_else(|| "info".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(uid: u32, name: &str) -> Account {
        Account { uid, name: name.to_owned(), home: PathBuf::from("/home/x") }
    }

    fn settings(given: &[(&'static str, &str)], account: &Account) -> Result<Settings> {
        Settings::from_given(given.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), account)
    }

    #[test]
    fn a_user_gets_high_ports_and_a_root_of_its_own() -> Result<()> {
        let settings = settings(&[], &account(1000, "ann"))?;
        assert_eq!(settings.paths.root(), "/home/x/.local/share/paas");
        assert_eq!(settings.app_url(&"blog".parse()?), "http://blog.localhost:8080");
        Ok(())
    }

    #[test]
    fn the_paas_user_gets_the_usual_ports() -> Result<()> {
        let settings = settings(&[("PAAS_DOMAIN", "example.com")], &account(999, "paas"))?;
        assert_eq!(settings.paths.root(), "/var/lib/paas");
        assert_eq!(settings.tls, Tls::Acme);
        assert_eq!(settings.app_url(&"blog".parse()?), "https://blog.example.com");
        Ok(())
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        let error = settings(&[("PAAS_SSH_LISTEN", "nowhere")], &account(0, "root")).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("PAAS_SSH_LISTEN"), "{error}");
    }

    #[test]
    fn a_number_out_of_its_bounds_is_refused() -> Result<()> {
        for (name, value) in
            [("PAAS_IMAGES_KEPT", "0"), ("PAAS_BUILD_CONCURRENCY", "17"), ("PAAS_BUILD_CACHE_MAX_GB", "-1")]
        {
            let error = settings(&[(name, value)], &account(0, "root")).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(&format!("{name}: {value:?}: it is a number from ")), "{error}");
        }
        assert_eq!(settings(&[("PAAS_IMAGES_KEPT", "1")], &account(0, "root"))?.images_kept, 1);
        Ok(())
    }

    #[test]
    fn a_child_process_reads_the_file_that_was_named_and_no_other() -> Result<()> {
        let environment = Settings::of_text("root = \"/r\"\ndomain = \"example.com\"")?.child_environment();
        for (name, value) in [("PAAS_CONFIG", "/dev/null"), ("PAAS_ROOT", "/r"), ("PAAS_DOMAIN", "example.com")] {
            assert!(environment.contains(&(name.to_owned(), value.into())), "{name}: {environment:?}");
        }
        Ok(())
    }

    #[test]
    fn every_key_has_a_variable() {
        for key in &KEYS {
            assert!(!variable_of(key).is_empty());
        }
    }
}
