//! Every error on one page, tests/errors.txt: what a reviewer reads when a message or a hint changes.

use std::{fmt::Write, fs, io, path::Path};

use super::*;
use crate::model::{Actor, OperationId, Right};

/// Names the variants of an enum. One that is left out does not compile.
macro_rules! variants {
    ($($enum:ident: $($variant:ident)+;)+) => {$(
        impl $enum {
            const VARIANTS: &[&str] = &[$(stringify!($variant)),+];

            fn variant(&self) -> &'static str {
                match self {
                    $($enum::$variant { .. } => stringify!($variant),)+
                }
            }
        }
    )+};
}

variants! {
    Error: NotFound Exists Invalid Usage Access Push Source Deploy Domain Port Cron Engine Proxy Certificate Store Host Bug Interrupted Told Silent Exited;
    Thing: App Key Fingerprint ConfigVariable Release Deploy Operation ProcessType Domain Redirect Port Cron CronRun ProxyPath ProxyUser Route GlobalDomain Container Certificate Run Buildpack;
    UsageError: Command Settings NotConfirmed KeyMalformed KeyPrivate;
    AccessError: Unknown Lacks OnlyHere;
    PushError: WrongBranch Refused NoApp;
    SourceError: Unreadable Submodule Limit File NothingDetected Unbuildable NothingToRun SeveralApps Buildpack
        BuildpackFolder;
    DeployError: Build AppExited ReleaseCommand Script VariablesMissing Explained NeverHealthy Busy ChangedMeanwhile GlobalConfigChanged AppLocked Stopped Died NoWayBack NoFormerRelease
        NotRunning ChecksFailed NotCancelable NotStarted NeverDeployed TooManyRuns RunLost NothingDeployed;
    CronError: Failed NotRun UnderWay OfSource TooMany NoDaemon;
    DomainError: Taken OfRoute OfApp RouteChanged IsDefault OfServer BelowGlobal NameTaken NoUrl Circle NotHere;
    PortError: Taken OfRoute InUse OfServer NotAllowed Twice TooMany NoTls OfProxy;
    EngineError: Unavailable Lost NoSpace Failed SubnetTaken AddressTaken Unsupported ImagePull;
    ProxyError: Unavailable Refused Rules Snippet;
    CertificateError: File KeyEncrypted KeyMismatch Expired NotYetValid OutOfOrder Weak NamesNoHost;
    StoreError: Failed TooNew NotOurs Missing NotWhole Sealed NoKey;
    HostError: DiskFull RootDenied HostKey InTheWay FormerInstance InstanceThere WouldOverwrite NoInstance AlreadyServing Listen ProgramMissing Program Io;
}

fn samples() -> Vec<Error> {
    let mut samples = Vec::new();
    samples.extend(missing_and_there());
    samples.push(Invalid::new("app name", "Blog", "it takes lower-case letters").into());
    samples.extend(of_usage().map(Error::from));
    samples.extend(of_access().map(Error::from));
    samples.extend(of_pushes().map(Error::from));
    samples.extend(of_source().map(Error::from));
    samples.extend(of_deploys().map(Error::from));
    samples.extend(of_domains().map(Error::from));
    samples.extend(of_ports().map(Error::from));
    samples.extend(of_crons().map(Error::from));
    samples.extend(of_engine().map(Error::from));
    samples.extend(of_proxy().map(Error::from));
    samples.extend(of_certificates().map(Error::from));
    samples.extend(of_store().map(Error::from));
    samples.extend(of_host().map(Error::from));
    samples.push(Error::bug("the release has no process"));
    samples.push(Error::Interrupted);
    samples.push(Error::from(DeployError::Died).told());
    samples.push(Error::Silent(Kind::NotFound));
    samples.push(Error::Exited(3));
    samples
}

fn of_access() -> [AccessError; 4] {
    let actor = Actor::Key("ann".to_owned());
    [
        AccessError::Unknown { actor: "key:ann".to_owned() },
        AccessError::Lacks { actor: actor.clone(), right: Right::Deploy, app: Some(app()) },
        AccessError::Lacks { actor, right: Right::Administer, app: None },
        AccessError::OnlyHere,
    ]
}

fn app() -> AppName {
    "blog".parse().unwrap()
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused")
}

fn missing_and_there() -> Vec<Error> {
    let known = "web, worker".to_owned();
    let things = [
        (Thing::App, "blog"),
        (Thing::Key, "laptop"),
        (Thing::Fingerprint, "SHA256:abc"),
        (Thing::ConfigVariable(Some(app())), "SECRET"),
        (Thing::Release(app()), "v3"),
        (Thing::Deploy, "12"),
        (Thing::Operation, "12"),
        (Thing::ProcessType { app: app(), known }, "clock"),
        (Thing::Domain(app()), "example.com"),
        (Thing::Redirect(app()), "old.example"),
        (Thing::Cron(app()), "nightly"),
        (Thing::CronRun(app()), "17"),
        (Thing::ProxyPath(app()), "/api"),
        (Thing::ProxyUser(app()), "ann"),
        (Thing::Port(app()), "tcp:5432"),
        (Thing::Route, "example.com/api"),
        (Thing::GlobalDomain, "apps.example.com"),
        (Thing::Container { app: app(), known: "web.1".to_owned() }, "web.2"),
        (Thing::Certificate(Some(app())), "7"),
        (Thing::Certificate(None), "of the server"),
        (Thing::Run(None), "run.7"),
        (Thing::Run(Some(app())), "run.7"),
        (Thing::Buildpack { known: "go, static".to_owned() }, "cobol"),
    ];
    let there = [
        (Thing::App, "blog"),
        (Thing::Route, "example.com"),
        (Thing::Key, "laptop"),
        (Thing::Fingerprint, "SHA256:abc, named laptop"),
    ];
    let missing = things.map(|(thing, name)| Error::NotFound(thing, name.to_owned()));
    let there = there.map(|(thing, name)| Error::Exists(thing, name.to_owned()));
    missing.into_iter().chain(there).collect()
}

fn of_crons() -> [CronError; 6] {
    let name = "nightly".to_owned();
    [
        CronError::Failed { app: app(), name: name.clone(), run: 17, outcome: "exit code 3, after 1.2 s".into() },
        CronError::NotRun { app: app(), name: name.clone(), run: 17, outcome: "run 16 was still under way".into() },
        CronError::UnderWay { app: app(), name: name.clone(), run: 16 },
        CronError::OfSource { app: app(), name },
        CronError::TooMany { app: app() },
        CronError::NoDaemon,
    ]
}

fn of_domains() -> [DomainError; 13] {
    let shop: AppName = "shop".parse().unwrap();
    let taken = |owner| DomainError::Taken { domain: "example.com".into(), owner, app: app() };
    [
        taken(Some(shop.clone())),
        taken(None),
        DomainError::OfRoute { domain: "example.com".into() },
        DomainError::OfApp { domain: "example.com".into(), owner: app(), path: None },
        DomainError::OfApp { domain: "example.com".into(), owner: app(), path: Some("/api".into()) },
        DomainError::RouteChanged { route: "example.com".into() },
        DomainError::IsDefault { domain: "shop.apps.example.com".into(), owner: shop.clone() },
        DomainError::OfServer { domain: "www.apps.example.com".into(), actor: Actor::Key("ann".into()) },
        DomainError::BelowGlobal { name: "example.com".into(), domain: "www.example.com".into(), owner: shop.clone() },
        DomainError::NameTaken { app: shop, domain: "shop.apps.example.com".into() },
        DomainError::NoUrl { app: app(), why: "is reached at no name" },
        DomainError::Circle { from: "a.example".into(), to: "b.example".into() },
        DomainError::NotHere { failed: 1, total: 2 },
    ]
}

fn of_ports() -> [PortError; 10] {
    let mapping = |text: &str| text.parse().unwrap();
    [
        PortError::Taken { port: 5432, owner: Some("shop".parse().unwrap()) },
        PortError::Taken { port: 5432, owner: None },
        PortError::OfRoute { port: 5432 },
        PortError::InUse { port: 5432, holder: "postgres (process 812)".into() },
        PortError::OfServer { port: 2222, setting: "ssh_listen" },
        PortError::NotAllowed { port: 22, allowed: "1024-32767".into() },
        PortError::Twice { one: mapping("tcp:5432:1"), other: mapping("tcp:5432:2") },
        PortError::TooMany { most: 200 },
        PortError::NoTls { mapping: mapping("https:8443:3000") },
        PortError::OfProxy { mapping: mapping("http:80:3000"), app: app() },
    ]
}

fn of_usage() -> [UsageError; 5] {
    [
        UsageError::Command { message: "there is no directory x".into(), hint: "`paas plan DIR` takes one".into() },
        UsageError::Settings { message: "PAAS_SUBNET: it is not a network".into() },
        UsageError::NotConfirmed { app: app(), typed: "block".into() },
        UsageError::KeyMalformed { reason: "it is not text".into() },
        UsageError::KeyPrivate,
    ]
}

fn of_pushes() -> [PushError; 3] {
    [
        PushError::WrongBranch { app: app(), deploy_branch: "main".into(), pushed: "dev".into() },
        PushError::Refused { message: "two branches were pushed".into(), hint: "push one".into() },
        PushError::NoApp { app: app() },
    ]
}

fn of_source() -> [SourceError; 11] {
    let file = |line| SourceError::File {
        file: "paas.toml".into(),
        line,
        message: "there is no buildpack \"x\"".into(),
        hint: "write one of these".into(),
    };
    [
        SourceError::Unreadable { reason: "object not found".into() },
        SourceError::Submodule {
            path: "lib".into(),
            reason: "it needs a password".into(),
            hint: "use a public address".into(),
        },
        SourceError::Limit {
            what: "the commit has 1000001 files and directories".into(),
            limit: "1000000".into(),
            setting: "source_max_files",
        },
        file(Some(3)),
        file(None),
        SourceError::NothingDetected { looked_for: "    static      index.html".into(), found: "a.txt".into() },
        SourceError::Unbuildable { message: "nothing to run".into(), hint: "write a Procfile".into() },
        SourceError::NothingToRun { why: "package.json has no start script".into() },
        SourceError::SeveralApps {
            message: "several apps can serve, and nothing says which to build".into(),
            apps: "    apps/api    Node, named api\n    apps/web    Node, named web".into(),
            first: "apps/api".into(),
        },
        SourceError::Buildpack { message: "a buildpack has a malformed glob: [".into() },
        SourceError::BuildpackFolder { message: "the buildpack x is malformed: it has no buildpack.toml".into() },
    ]
}

fn of_deploys() -> [DeployError; 27] {
    let build = |is_killed, likely| DeployError::Build { message: "[2/3] RUN x failed".into(), is_killed, likely };
    let exited = |code| DeployError::AppExited {
        container: "web.1".into(),
        code,
        after: "0.2 s".into(),
        output: "first line\nlast line".into(),
    };
    [
        build(false, None),
        build(true, None),
        build(false, Some(LikelyCause { cause: "the library x is missing".into(), hint: "add it".into() })),
        exited(1),
        exited(127),
        DeployError::ReleaseCommand { code: 1 },
        DeployError::Script { name: "scripts.dokku.predeploy".into(), code: 1 },
        DeployError::VariablesMissing {
            app: app(),
            missing: vec![
                ("TOKEN".parse().unwrap(), Some("of the mail service".into())),
                ("URL".parse().unwrap(), None),
            ],
        },
        DeployError::Explained {
            failure: Box::new(exited(127)),
            likely: LikelyCause { cause: "run has Windows line endings".into(), hint: "mend them".into() },
        },
        DeployError::NeverHealthy(Box::new(NeverHealthy {
            container: "web.1".into(),
            timeout: "60 s".into(),
            reason: "it answered 500".into(),
            hint: "make / answer with a status below 500".into(),
            output: String::new(),
        })),
        DeployError::Busy { app: app(), holder: "the deploy of main, 3 s ago".into() },
        DeployError::ChangedMeanwhile { app: app(), what: "it runs v9, and ran v8 when this was asked for".into() },
        DeployError::GlobalConfigChanged,
        DeployError::AppLocked { app: app(), by: "local:root, 1 h ago: not today".into() },
        DeployError::Stopped(Stop::Canceled(Actor::Key("laptop".into()))),
        DeployError::Stopped(Stop::Superseded(OperationId(13))),
        DeployError::Died,
        DeployError::NoWayBack {
            app: app(),
            version: crate::model::ReleaseVersion(2),
            reason: "it never served".into(),
        },
        DeployError::NoFormerRelease { app: app() },
        DeployError::NotRunning { app: app() },
        DeployError::ChecksFailed { failed: 1, total: 2 },
        DeployError::NotCancelable { id: OperationId(12), state: "succeeded".into() },
        DeployError::NotStarted { reason: "blog is locked by local:root".into() },
        DeployError::NeverDeployed { app: app() },
        DeployError::TooManyRuns { running: 20, most: 20 },
        DeployError::RunLost { run: "run.7".to_owned(), why: "is lost: its container went away" },
        DeployError::NothingDeployed,
    ]
}

fn of_engine() -> [EngineError; 8] {
    let action = || "build the image".to_owned();
    [
        EngineError::Unavailable { address: "unix:///var/run/docker.sock".into(), source: refused().into() },
        EngineError::Lost { action: action(), source: "connection closed".into() },
        EngineError::NoSpace { action: action(), source: "no space left on device".into() },
        EngineError::Failed { action: action(), source: "invalid reference".into() },
        EngineError::SubnetTaken { subnet: "10.211.0.0/16".into() },
        EngineError::AddressTaken { address: std::net::Ipv4Addr::new(10, 211, 0, 2) },
        EngineError::Unsupported { reason: "the machine has no cgroups of memory and processors".into() },
        EngineError::ImagePull { image: "busybox:0".into(), source: "manifest unknown".into() },
    ]
}

fn of_proxy() -> [ProxyError; 5] {
    let reason = || "/r/caddy.sock: connection refused".to_owned();
    [
        ProxyError::Unavailable { reason: reason(), caddyfile: None },
        ProxyError::Unavailable { reason: reason(), caddyfile: Some("/r/Caddyfile".into()) },
        ProxyError::Refused { reason: "line 3: unknown directive".into() },
        ProxyError::Rules { reason: "it ended at once (exit status: 1): unknown field".into() },
        ProxyError::Snippet { reason: "line 3: unknown directive".into() },
    ]
}

fn of_certificates() -> [CertificateError; 8] {
    let subject = "www.example.com".to_owned();
    let at = "2026-11-21T11:22:27Z".to_owned();
    [
        CertificateError::File {
            part: "key",
            reason: "it is a public key".to_owned(),
            hint: "give the PEM file of the private key: it begins with -----BEGIN PRIVATE KEY-----".to_owned(),
        },
        CertificateError::KeyEncrypted,
        CertificateError::KeyMismatch { subject: subject.clone() },
        CertificateError::Expired { subject: subject.clone(), at: at.clone() },
        CertificateError::NotYetValid { subject: subject.clone(), at },
        CertificateError::OutOfOrder { right: vec![subject.clone(), "R11".to_owned()] },
        CertificateError::Weak { bits: 1024 },
        CertificateError::NamesNoHost { subject },
    ]
}

fn of_store() -> [StoreError; 16] {
    let failed = |action: &'static str, fault: StoreFault, source: &str| StoreError::Failed {
        path: "/r/paas.db".into(),
        action,
        fault,
        source: source.into(),
    };
    let too_new = |by: Option<&str>| StoreError::TooNew {
        path: "/r/paas.db".into(),
        found: 9,
        known: 1,
        by: by.map(str::to_owned),
    };
    [
        failed("be written", StoreFault::Busy, "database is locked"),
        failed("be written", StoreFault::ReadOnly, "attempt to write a readonly database"),
        failed("be opened", StoreFault::Denied, "unable to open database file"),
        failed("be written", StoreFault::DiskFull, "database or disk is full"),
        failed("be read", StoreFault::Disk, "disk I/O error"),
        failed("be read", StoreFault::Damaged, "database disk image is malformed"),
        failed("be opened", StoreFault::NoDatabase, "file is not a database"),
        failed("be read", StoreFault::Other, "invalid app state \"x\""),
        too_new(None),
        too_new(Some("0.4.0")),
        StoreError::NotOurs { path: "/r/paas.db".into() },
        StoreError::Missing { path: "/r/paas.db".into() },
        StoreError::NotWhole { path: "/b/paas.db".into(), reason: "row 3 missing from index keys".into() },
        StoreError::Sealed { reason: "Header is invalid".into() },
        StoreError::NoKey { path: "/r/secret.key".into(), reason: "is missing".into(), wanted: None },
        StoreError::NoKey {
            path: "/r/secret.key".into(),
            reason: "does not hold the key that the database is sealed to".into(),
            wanted: Some("age1x".into()),
        },
    ]
}

fn of_host() -> [HostError; 17] {
    let listen = |kind: io::ErrorKind| HostError::Listen {
        address: "0.0.0.0:80".into(),
        what: "HTTP",
        setting: "PAAS_HTTP_LISTEN",
        source: io::Error::new(kind, "the system refuses"),
    };
    let file = |kind: io::ErrorKind| HostError::Io {
        action: "read /r/x".into(),
        source: io::Error::new(kind, "the system refuses"),
    };
    [
        HostError::DiskFull { path: "/r".into(), free: 10, floor: 512 },
        HostError::RootDenied { path: "/r".into(), owner: "paas".into() },
        HostError::HostKey { path: "/r/ssh_host_key".into(), reason: "it is empty".into() },
        HostError::InTheWay { path: "/r/secret.key".into(), found: "a directory", wanted: "a file" },
        HostError::InTheWay { path: "/r/repos".into(), found: "a link that leads nowhere", wanted: "a directory" },
        HostError::FormerInstance {
            root: "/r".into(),
            found: "a secret.key and repositories (blog)".into(),
            missing: "its database is missing".into(),
        },
        HostError::InstanceThere { root: "/r".into() },
        HostError::WouldOverwrite { path: "/b/paas.db".into() },
        HostError::NoInstance { root: "/r".into() },
        HostError::AlreadyServing { root: "/r".into() },
        listen(io::ErrorKind::PermissionDenied),
        listen(io::ErrorKind::AddrInUse),
        HostError::ProgramMissing { program: "git".into(), source: io::ErrorKind::NotFound.into() },
        HostError::Program { program: "git fetch".into(), status: "exit status: 128".into(), stderr: "fatal".into() },
        file(io::ErrorKind::StorageFull),
        file(io::ErrorKind::PermissionDenied),
        file(io::ErrorKind::InvalidData),
    ]
}

/// The names of an error's variants, from the outside in: `Deploy`, `Busy`.
fn path_of(error: &Error) -> Vec<&'static str> {
    let inner = match error {
        Error::NotFound(thing, _) | Error::Exists(thing, _) => Some(thing.variant()),
        Error::Usage(error) => Some(error.variant()),
        Error::Access(error) => Some(error.variant()),
        Error::Push(error) => Some(error.variant()),
        Error::Source(error) => Some(error.variant()),
        Error::Deploy(error) => Some(error.variant()),
        Error::Domain(error) => Some(error.variant()),
        Error::Port(error) => Some(error.variant()),
        Error::Cron(error) => Some(error.variant()),
        Error::Engine(error) => Some(error.variant()),
        Error::Proxy(error) => Some(error.variant()),
        Error::Certificate(error) => Some(error.variant()),
        Error::Store(error) => Some(error.variant()),
        Error::Host(error) => Some(error.variant()),
        Error::Invalid(_)
        | Error::Bug(_)
        | Error::Interrupted
        | Error::Told(_)
        | Error::Silent(_)
        | Error::Exited(_) => None,
    };
    [error.variant()].into_iter().chain(inner).collect()
}

#[test]
fn each_variant_has_a_sample() {
    let sampled: Vec<String> = samples().iter().map(|error| path_of(error).join("::")).collect();
    let mut wanted: Vec<String> = Vec::new();
    for (concern, variants) in [
        ("NotFound", Thing::VARIANTS),
        ("Usage", UsageError::VARIANTS),
        ("Access", AccessError::VARIANTS),
        ("Push", PushError::VARIANTS),
        ("Source", SourceError::VARIANTS),
        ("Deploy", DeployError::VARIANTS),
        ("Domain", DomainError::VARIANTS),
        ("Port", PortError::VARIANTS),
        ("Cron", CronError::VARIANTS),
        ("Engine", EngineError::VARIANTS),
        ("Proxy", ProxyError::VARIANTS),
        ("Certificate", CertificateError::VARIANTS),
        ("Store", StoreError::VARIANTS),
        ("Host", HostError::VARIANTS),
    ] {
        wanted.extend(variants.iter().map(|variant| format!("{concern}::{variant}")));
    }
    for variant in Error::VARIANTS {
        let found = sampled.iter().any(|path| path.split("::").next() == Some(variant));
        assert!(found, "{variant} has no sample");
    }
    for path in wanted {
        assert!(sampled.contains(&path), "{path} has no sample");
    }
}

#[test]
fn the_page_of_all_errors_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/errors.txt");
    let page = page(root);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    for (number, (kept, now)) in kept.lines().zip(page.lines()).enumerate() {
        assert_eq!(kept, now, "tests/errors.txt, line {}: UPDATE=1 cargo test errors", number + 1);
    }
    assert!(kept == page, "tests/errors.txt is stale: UPDATE=1 cargo test errors");
}

fn page(root: &Path) -> String {
    let mut page = String::from("Every error: its message, what it means to a program, and its hint.\n");
    for error in samples() {
        let kind = error.kind();
        writeln!(page, "\n{}", path_of(&error).join("::")).unwrap();
        writeln!(page, "  {}", error.one_line()).unwrap();
        writeln!(page, "  {kind:?}, exit code {}, HTTP {}", kind.exit_code(), kind.http_status()).unwrap();
        if error.short() != error.to_string() {
            writeln!(page, "  short: {}", error.short()).unwrap();
        }
        for line in error.detail().iter().flat_map(|detail| detail.lines()) {
            writeln!(page, "  | {line}").unwrap();
        }
        if let Some(hint) = error.hint() {
            writeln!(page, "  hint: {hint}").unwrap();
        }
    }
    page.push_str("\nWhat buildpacks say of a source that they refuse, and of a build that failed.\n");
    let mut folders: Vec<_> =
        fs::read_dir(root.join("buildpacks")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut hints = 0;
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for file in ["buildpack.toml", "failures.toml"] {
            let Ok(text) = fs::read_to_string(folder.join(file)) else { continue };
            let document: toml::Table = text.parse().unwrap();
            for (list, message) in [("refuse", "message"), ("failures", "cause")] {
                for rule in document.get(list).and_then(toml::Value::as_array).into_iter().flatten() {
                    let word = |key: &str| rule[key].as_str().unwrap();
                    let name = folder.file_name().unwrap().display();
                    writeln!(page, "\n{name}: {}\n  hint: {}", word(message), word("hint")).unwrap();
                    hints += 1;
                }
            }
        }
    }
    assert!(hints > 100, "only {hints} hints of buildpacks were found");
    page
}
