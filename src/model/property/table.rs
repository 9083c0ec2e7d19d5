//! Every property there is: a row each.

use super::{Default, Effect, Noun, Property, Scopes, Value};
use crate::model::{Capability, Right, containment, open_ports, port_ranges, rules, value};

/// How many bytes of an answer are looked through for the text of a check.
pub const CHECKED_BODY: usize = 1 << 20;

/// The longest text: what can be one argument of a process in the end (execve(2)), with room for what is put around it.
const LONGEST_TEXT: usize = 128_000;

const SERVER: Scopes = Scopes { global: true, app: false, process: false };
const APPS: Scopes = Scopes { global: true, app: true, process: false };
const PROCESSES: Scopes = Scopes { global: true, app: true, process: true };
/// What fits one program, so that it cannot be meant for all apps.
const OWN: Scopes = Scopes { global: false, app: true, process: true };

/// A property of the server that may change while it runs.
const OF_SERVER: Property = Property {
    noun: Noun::Server,
    name: "",
    scopes: SERVER,
    default: Default::Depends(""),
    about: "",
    parse: |text| value::text(text, LONGEST_TEXT),
    effect: Effect::Nothing,
    right: |_| Right::Administer,
    secret: false,
};
const OF_APP: Property = Property { noun: Noun::Apps, scopes: APPS, right: |_| Right::Change, ..OF_SERVER };
const OF_CHECK: Property = Property { noun: Noun::Checks, scopes: OWN, effect: Effect::Restart, ..OF_APP };
const OF_PROXY: Property = Property { noun: Noun::Proxy, effect: Effect::Route, ..OF_APP };
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
    /// Runs.
    KEEP_RUNS = Property {
        name: "keep.runs",
        default: Default::Is("100"),
        about: "how many runs of an app (`run`, `enter`) stay listed, with what the detached ones printed",
        parse: |text| value::number(text, 1..=100_000),
        ..OF_APP
    };
    /// How long a run may take.
    RUN_TIME_LIMIT = Property {
        name: "run-time-limit",
        default: Default::Is("24h"),
        about: "how long a run (`run`, `run:detached`, `enter`) may take before it is ended, such as 90s, 30m or 2d",
        parse: value::run_time,
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

    /// Whether an authority is asked for certificates.
    CERTS_ACME = Property {
        noun: Noun::Certs,
        name: "acme",
        default: Default::Is("true"),
        about: "whether certificates are obtained for the app's names",
        parse: value::switch,
        ..OF_APP
    };
    /// Whether plain HTTP is answered with the address of HTTPS.
    HTTPS_REDIRECT = Property {
        noun: Noun::Certs,
        name: "https-redirect",
        default: Default::Is("true"),
        about: "whether plain HTTP is sent on to HTTPS (308) at names that have a certificate",
        parse: value::switch,
        ..OF_APP
    };

    /// Whether requests are passed on.
    PROXY_ENABLED = Property {
        name: "enabled",
        default: Default::Is("true"),
        about: "whether the requests for an app's names are passed to it",
        parse: value::switch,
        ..OF_PROXY
    };
    /// The largest body of a request.
    PROXY_BODY_SIZE = Property {
        name: "body-size",
        default: Default::Depends("no limit"),
        about: "the largest body of a request, such as 20m; larger ones are answered with 413",
        parse: |text| value::bytes(text, 1 << 20),
        ..OF_PROXY
    };
    /// How long an app may be silent.
    PROXY_READ_TIMEOUT = Property {
        name: "read-timeout",
        default: Default::Depends("no limit"),
        about: "how long the app may take until it begins to answer, and between two parts of an answer; then 504",
        parse: |text| value::seconds(text, 1),
        ..OF_PROXY
    };
    /// Whether answers are compressed.
    PROXY_COMPRESSION = Property {
        name: "compression",
        default: Default::Is("false"),
        about: "whether answers of text are compressed (zstd, gzip) if the app has not done so",
        parse: value::switch,
        ..OF_PROXY
    };
    /// Strict transport security.
    PROXY_HSTS = Property {
        name: "hsts",
        default: Default::Is("off"),
        about: "for how long browsers ask by HTTPS only: on (a year), or such as `180d; includeSubDomains; preload`",
        parse: |text| rules::Hsts::parse(text).map(|_| Value::Text(text.to_owned())),
        ..OF_PROXY
    };
    /// Changes of requests' headers.
    PROXY_REQUEST_HEADERS = Property {
        name: "request-headers",
        default: Default::Depends("none"),
        about: "headers of requests, a line each: `Name: value` sets one, `+Name: value` adds, `-Name` removes",
        parse: |text| rules::header_rules(text).map(|_| Value::Text(text.to_owned())),
        secret: true,
        ..OF_PROXY
    };
    /// Changes of answers' headers.
    PROXY_RESPONSE_HEADERS = Property {
        name: "response-headers",
        default: Default::Depends("none"),
        about: "headers of answers, a line each: `Name: value` sets one, `+Name: value` adds, `-Name` removes",
        parse: |text| rules::header_rules(text).map(|_| Value::Text(text.to_owned())),
        ..OF_PROXY
    };
    /// Who is let in.
    PROXY_ALLOW = Property {
        name: "allow",
        default: Default::Depends("all"),
        about: "the only addresses whose requests are taken, such as 10.0.0.0/8,203.0.113.7; others get 403",
        parse: |text| rules::networks(text).map(|_| Value::Text(text.to_owned())),
        ..OF_PROXY
    };
    /// Who is not let in.
    PROXY_DENY = Property {
        name: "deny",
        default: Default::Depends("none"),
        about: "addresses whose requests get 403, also if they are allowed",
        parse: |text| rules::networks(text).map(|_| Value::Text(text.to_owned())),
        ..OF_PROXY
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
        parse: |text| value::text(text, CHECKED_BODY),
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

    /// Rights of root's that a container has all the same.
    CAPABILITIES = Property {
        name: "capabilities",
        default: Default::Is("none"),
        about: "which of the capabilities NET_RAW, MKNOD, AUDIT_WRITE and SETFCAP its containers have; or none",
        parse: |text| {
            let list = Capability::parse_list(text).map_err(|invalid| invalid.rule)?;
            let words: Vec<&str> = list.into_iter().map(Capability::as_str).collect();
            Ok(Value::Text(words.join(",")))
        },
        right: |text| if text.is_empty() || text == "none" { Right::Change } else { Right::Administer },
        ..OF_PROCESS
    };
    /// Processes and threads.
    PIDS = Property {
        name: "pids",
        default: Default::Is("1024"),
        about: "how many processes and threads a container may have: 16 to 1024, or more if an administrator says so",
        parse: |text| value::number(text, 16..=1_000_000),
        right: |text| {
            let is_usual = text.is_empty() || text.parse().is_ok_and(|pids: u64| pids <= u64::from(containment::PIDS));
            if is_usual { Right::Change } else { Right::Administer }
        },
        ..OF_PROCESS
    };
    /// Whether a container can write.
    READ_ONLY = Property {
        name: "read-only",
        default: Default::Is("false"),
        about: "whether a container can write to /tmp only, which is in memory",
        parse: value::switch,
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
        parse: |text| value::number(text, 0..=value::LARGEST),
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
    /// Runs at a time.
    RUN_CONCURRENCY = Property {
        name: "run_concurrency",
        default: Default::Is("20"),
        about: "how many runs (`run`, `run:detached`, `enter`) may be at work at a time, of all apps: 1 to 1000",
        parse: |text| value::number(text, 1..=1000),
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
    /// Memory of a process that deploys.
    DEPLOY_MEMORY_MB = Property {
        name: "deploy_memory_mb",
        default: Default::Is("2048"),
        about: "MB that a process may use to receive a push and to deploy it, outside any container",
        parse: |text| value::number(text, 256..=100_000_000),
        ..OF_SERVER
    };
    /// Files of a commit.
    SOURCE_MAX_FILES = Property {
        name: "source_max_files",
        default: Default::Is("1000000"),
        about: "how many files and directories a commit may have, with its submodules",
        parse: |text| value::number(text, 1..=100_000_000),
        ..OF_SERVER
    };
    /// Directories of a commit.
    SOURCE_MAX_DEPTH = Property {
        name: "source_max_depth",
        default: Default::Is("200"),
        about: "how deeply the directories of a commit may be nested",
        parse: |text| value::number(text, 1..=10_000),
        ..OF_SERVER
    };
    /// Paths of a commit.
    SOURCE_MAX_PATHS = Property {
        name: "source_max_paths",
        default: Default::Is("256m"),
        about: "how long all paths of a commit may be together",
        parse: |text| value::bytes(text, 1 << 20),
        ..OF_SERVER
    };
    /// Its largest file.
    SOURCE_MAX_FILE = Property {
        name: "source_max_file",
        default: Default::Is("4g"),
        about: "how large a file of a commit may be",
        parse: |text| value::bytes(text, 1 << 20),
        ..OF_SERVER
    };
    /// All its files.
    SOURCE_MAX_SIZE = Property {
        name: "source_max_size",
        default: Default::Is("20g"),
        about: "how large the files of a build context may be together, and what is fetched of a submodule",
        parse: |text| value::bytes(text, 1 << 20),
        ..OF_SERVER
    };
    /// What is read of it.
    SOURCE_MAX_READ = Property {
        name: "source_max_read",
        default: Default::Is("128m"),
        about: "how much of a commit is read to find out how it is built",
        parse: |text| value::bytes(text, 1 << 20),
        ..OF_SERVER
    };
    /// The time for it.
    SOURCE_MAX_TIME = Property {
        name: "source_max_time",
        default: Default::Is("120s"),
        about: "how long it may take to read a commit, and to find out how it is built",
        parse: |text| value::seconds(text, 1),
        ..OF_SERVER
    };
    /// The time to fetch a submodule.
    SUBMODULE_MAX_TIME = Property {
        name: "submodule_max_time",
        default: Default::Is("10m"),
        about: "how long it may take to fetch a submodule",
        parse: |text| value::seconds(text, 1),
        ..OF_SERVER
    };
    /// Where submodules may come from.
    SUBMODULE_PRIVATE_ADDRESSES = Property {
        name: "submodule_private_addresses",
        default: Default::Is("false"),
        about: "whether submodules may come from this machine, and from addresses that are private or link-local",
        parse: value::switch,
        ..OF_SERVER
    };
    /// Output of a template.
    TEMPLATE_MAX_OUTPUT = Property {
        name: "template_max_output",
        default: Default::Is("1m"),
        about: "how much a template of a repository's own buildpack may write",
        parse: |text| value::bytes(text, 1 << 20),
        ..OF_SERVER
    };
    /// The time for it.
    TEMPLATE_MAX_TIME = Property {
        name: "template_max_time",
        default: Default::Is("10s"),
        about: "how much processor time a template of a repository's own buildpack may take",
        parse: |text| value::seconds(text, 1),
        ..OF_SERVER
    };
    /// The memory for it.
    TEMPLATE_MAX_MEMORY = Property {
        name: "template_max_memory",
        default: Default::Is("256m"),
        about: "how much memory a template of a repository's own buildpack may take",
        parse: |text| value::bytes(text, 64 << 20),
        ..OF_SERVER
    };
    /// Whether containers are kept from the machine.
    CONTAIN_NETWORK = Property {
        name: "contain_network",
        default: Default::Is("true"),
        about: "whether apps and build steps are kept from services of this machine that listen on all addresses",
        parse: value::switch,
        ..OF_SERVER
    };
    /// Ports of the machine that containers reach.
    HOST_PORTS = Property {
        name: "host_ports",
        default: Default::Is("none"),
        about: "ports of this machine that apps and build steps may reach all the same, such as 5432,6379; or none",
        parse: |text| super::ports(text).map(|_| Value::Text(text.to_owned())),
        ..OF_SERVER
    };
    /// Ports of the machine that may be an app's.
    TCP_PORTS = Property {
        name: "tcp_ports",
        default: Default::Is("1024-32767"),
        about: "which ports of this machine may lead to an app, such as 5432,8000-8100; or none",
        parse: |text| port_ranges(text).map(|_| Value::Text(text.to_owned())),
        ..OF_SERVER
    };
    /// Ports that are open to HTTP beforehand.
    HTTP_PORTS = Property {
        name: "http_ports",
        default: Default::Is("none"),
        about: "ports at which the proxy takes HTTP before an app has them, so that it need not be reloaded for one, such as \
                8000-8010; or none",
        parse: |text| open_ports(text).map(|_| Value::Text(text.to_owned())),
        effect: Effect::Route,
        ..OF_SERVER
    };
    /// Process types of a source.
    MAX_PROCESS_TYPES = Property {
        name: "max_process_types",
        default: Default::Is("50"),
        about: "how many process types an app may have",
        parse: |text| value::number(text, 1..=1000),
        ..OF_SERVER
    };
    /// Containers of an app.
    MAX_CONTAINERS = Property {
        name: "max_containers",
        default: Default::Is("100"),
        about: "how many containers an app may have, of all its process types together",
        parse: |text| value::number(text, 1..=10_000),
        ..OF_SERVER
    };
    /// Domains of an app.
    MAX_DOMAINS = Property {
        name: "max_domains",
        default: Default::Is("100"),
        about: "how many domains of its own an app may have",
        parse: |text| value::number(text, 1..=10_000),
        ..OF_SERVER
    };
    /// The authority.
    ACME_DIRECTORY = Property {
        name: "acme_directory",
        default: Default::Is("https://acme-v02.api.letsencrypt.org/directory"),
        about: "the authority that certificates are obtained from: the URL of its ACME directory",
        parse: value::https_url,
        ..OF_SERVER
    };
    /// Whom the authority writes to.
    ACME_CONTACT = Property {
        name: "acme_contact",
        default: Default::Depends("nobody"),
        about: "whom the authority writes to if something is wrong: a mail address",
        parse: value::mail_address,
        ..OF_SERVER
    };
    /// Whether the authority's terms are agreed to.
    ACME_AGREE = Property {
        name: "acme_agree",
        default: Default::Is("true"),
        about: "whether you agree to the terms of service of the authority; without, it gives out nothing",
        parse: value::switch,
        ..OF_SERVER
    };
    /// What the authority's own address is trusted by.
    ACME_ROOT = Property {
        name: "acme_root",
        default: Default::Depends("what this machine trusts"),
        about: "for an authority of your own: the PEM file of the certificate that its address is trusted by",
        ..OF_SERVER
    };
    /// What sets records in DNS.
    ACME_DNS_COMMAND = Property {
        name: "acme_dns_command",
        default: Default::Depends("none"),
        about: "a program, with its arguments, that sets and removes TXT records, for wildcard certificates: it is \
                called with `present` or `cleanup`, the name and the value (the contract of lego's exec provider)",
        parse: value::program,
        ..OF_SERVER
    };
    /// How long such a record may take.
    ACME_DNS_WAIT = Property {
        name: "acme_dns_wait",
        default: Default::Is("2m"),
        about: "how long a TXT record may take until it is seen",
        parse: |text| value::seconds(text, 0),
        ..OF_SERVER
    };
    /// Where the internet reaches this server.
    PUBLIC_ADDRESSES = Property {
        name: "public_addresses",
        default: Default::Depends("those of its network interfaces"),
        about: "the addresses at which the internet reaches this server, if these are others, such as 203.0.113.7,2001:db8::7",
        parse: |text| super::addresses(text).map(|_| Value::Text(text.to_owned())),
        ..OF_SERVER
    };
    /// Who speaks for clients.
    TRUSTED_PROXIES = Property {
        name: "trusted_proxies",
        default: Default::Is("none"),
        about: "other proxies in front, whose word is taken for who a client is: networks, and files of them as @/path; a \
                change reloads Caddy once",
        parse: |text| rules::trusted_proxies(text).map(|_| Value::Text(text.to_owned())),
        effect: Effect::Route,
        ..OF_SERVER
    };
    /// Who is asked about domains.
    NAME_SERVERS = Property {
        name: "name_servers",
        default: Default::Depends("those of /etc/resolv.conf"),
        about: "the name servers that say where domains lead, such as 9.9.9.9,1.1.1.1:53; or none, to look nothing up",
        parse: |text| super::name_servers(text).map(|_| Value::Text(text.to_owned())),
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
