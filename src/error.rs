//! Every way a command can fail, in one place: what happened, of which kind, and what to type next.
//!
//! The message of an error is its `Display`; the causes below it are its `source` chain; [`Error::hint`] is the
//! command that helps; [`Error::kind`] decides the exit code. All hints live here, so that they can be read together.

use std::{error::Error as StdError, io, path::PathBuf};

use crate::model::{Actor, AppName, DeployId, ProcessType, ReleaseVersion};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, kept only for its message and causes.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// What to type where a disk is full.
const MAKE_ROOM: &str = "`paas cleanup` removes what no app needs, `paas cleanup --build-cache` also the build cache of \
                         the whole engine; `paas disk` shows what takes how much";

/// What the client of Docker's socket says when the other side is gone: hyper's words, which has no kinds to ask for.
const LOST: [&str; 3] = ["error in the hyper", "error reading a body from connection", "client error ("];

/// What kind of failure it is: this, and nothing else, chooses the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line, a file or a value was malformed.
    Usage,
    /// Something named does not exist.
    NotFound,
    /// Something exists already, or is in a state that forbids the action.
    Conflict,
    /// The actor may not do this.
    Denied,
    /// The user's app failed: its build, its check, its task.
    App,
    /// A deploy holds the app.
    Locked,
    /// Docker or Caddy is not there, or the machine is out of space.
    Unavailable,
    /// A bug of ours.
    Bug,
    /// The action was interrupted or cancelled.
    Interrupted,
}

impl Kind {
    /// All of them, by exit code.
    pub const ALL: [Kind; 9] = [
        Kind::App,
        Kind::Usage,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Denied,
        Kind::Locked,
        Kind::Unavailable,
        Kind::Bug,
        Kind::Interrupted,
    ];

    /// What it means, for docs/reference.md.
    pub fn about(self) -> &'static str {
        match self {
            Kind::App => "the app failed: its build, its health check, its release command, a file of its repository",
            Kind::Usage => "the command line, a setting or a value is malformed",
            Kind::NotFound => "what was named does not exist",
            Kind::Conflict => "it exists already, or its state does not allow this",
            Kind::Denied => "this user may not do it",
            Kind::Locked => "another action holds the app",
            Kind::Unavailable => "Docker, Caddy, the disk or the database is not available",
            Kind::Bug => "a bug of paas",
            Kind::Interrupted => "it was interrupted or canceled",
        }
    }

    /// The process exit code of this kind (docs/reference.md lists them).
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::App => 1,
            Kind::Usage => 2,
            Kind::NotFound => 3,
            Kind::Conflict => 4,
            Kind::Denied => 5,
            Kind::Locked => 6,
            Kind::Unavailable => 69,
            Kind::Bug => 70,
            Kind::Interrupted => 130,
        }
    }
}

/// A failure, with all that is needed to say what happened and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- values -------------------------------------------------------------------------------------------------
    /// A value that is not of its form, with the rule it broke.
    #[error("{value:?} is not a valid {what}: {rule}")]
    InvalidValue {
        /// What the value should have been, e.g. `app name`.
        what: &'static str,
        /// The value as given.
        value: String,
        /// The rule, as a sentence without a period.
        rule: String,
    },
    /// A command line that clap accepted and we do not.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to type instead.
        hint: String,
    },
    /// A settings file or variable that does not parse.
    #[error("cannot read the settings: {message}")]
    Settings {
        /// What is wrong, with the place.
        message: String,
    },

    // ---- apps, keys, config -------------------------------------------------------------------------------------
    /// No app of that name.
    #[error("there is no app named {0}")]
    AppNotFound(AppName),
    /// The name is taken.
    #[error("there is already an app named {0}")]
    AppExists(AppName),
    /// The name cannot be used for an app.
    #[error("{0} is a reserved name")]
    AppNameReserved(AppName),
    /// `apps:destroy` without a matching confirmation.
    #[error("{app} was not destroyed: the name typed was {typed:?}")]
    NotConfirmed {
        /// The app to be destroyed.
        app: AppName,
        /// What was typed instead.
        typed: String,
    },
    /// Pushing to an app that does not exist, with creation on push turned off.
    #[error("there is no app named {0}, and this server does not create apps on push")]
    AppNotCreatedOnPush(AppName),
    /// No key of that name or fingerprint.
    #[error("there is no SSH key {0}")]
    KeyNotFound(String),
    /// The name or the key is taken.
    #[error("{0}")]
    KeyExists(String),
    /// Text that is not one plain public key.
    #[error("this is not one plain SSH public key: {0}")]
    KeyMalformed(String),
    /// A private key where a public one belongs.
    #[error("this is a private key")]
    KeyPrivate,
    /// No such config variable.
    #[error("{app} has no config variable {key}")]
    ConfigNotFound {
        /// The app.
        app: AppName,
        /// The variable.
        key: String,
    },
    /// Sealed data that the secret key does not open.
    #[error("a sealed value cannot be opened: {0}")]
    Unseal(String),

    // ---- pushes -------------------------------------------------------------------------------------------------
    /// A push of a branch that is not the deploy branch.
    #[error("{app} deploys from {deploy_branch}, not from {pushed}")]
    WrongBranch {
        /// The app.
        app: AppName,
        /// The branch that deploys.
        deploy_branch: String,
        /// The branch that was pushed.
        pushed: String,
    },
    /// A push that cannot be a deploy: tags alone, two branches, a deletion.
    #[error("{message}")]
    PushRefused {
        /// What was pushed and why it is no deploy.
        message: String,
        /// What to push instead.
        hint: String,
    },
    /// A submodule that cannot be fetched.
    #[error("cannot fetch the submodule {path}: {reason}")]
    Submodule {
        /// Its path in the repository.
        path: String,
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// The source cannot be read.
    #[error("cannot read the source: {0}")]
    Source(String),
    /// A file of the repository that does not parse.
    #[error("{file}{}: {message}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    SourceFile {
        /// The file's path in the repository.
        file: String,
        /// The line, counted from 1, where it is known.
        line: Option<usize>,
        /// What is wrong with it.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// No buildpack matched.
    #[error("no buildpack matches this repository")]
    NothingDetected {
        /// What was looked for, a line a buildpack.
        looked_for: String,
        /// The files at the top of the repository.
        found: String,
    },
    /// No web process and nothing else to run.
    #[error("{0}")]
    Buildpack(String, String),

    // ---- deployments --------------------------------------------------------------------------------------------
    /// The image build failed in one of the user's own steps.
    #[error("build failed: {message}{}", likely.as_ref().map(|(cause, _)| format!(": {cause}")).unwrap_or_default())]
    Build {
        /// The last error of the builder.
        message: String,
        /// The likely cause and what to do about it, where the output tells.
        likely: Option<(String, String)>,
    },
    /// A container ended while it was being checked.
    #[error("{process} exited with code {code}, {after} after it started")]
    AppExited {
        /// Process and index, e.g. `web.1`.
        process: String,
        /// The container's exit code.
        code: i64,
        /// How long it lived, e.g. `0.2 s`.
        after: String,
        /// Its last log lines.
        output: String,
    },
    /// The release command failed.
    #[error("the release command exited with code {code}")]
    ReleaseCommand {
        /// Its exit code.
        code: i64,
    },
    /// A container that never became healthy.
    #[error("{process} did not become healthy within {timeout}: {reason}")]
    NeverHealthy {
        /// Process and index.
        process: String,
        /// How long was waited.
        timeout: String,
        /// The last answer or error.
        reason: String,
        /// What to do about it.
        hint: String,
        /// Its last log lines.
        output: String,
    },
    /// Another action holds the app.
    #[error("{app} is busy: {holder}")]
    Locked {
        /// The app.
        app: AppName,
        /// Who holds it, for what, since when.
        holder: String,
    },
    /// The app was frozen on purpose.
    #[error("{app} is locked by {by}")]
    Frozen {
        /// The app.
        app: AppName,
        /// Who froze it, when and why.
        by: String,
    },
    /// A newer push of the same app took this one's place in line.
    #[error("superseded by deploy {0}, a newer push of the same app")]
    Superseded(DeployId),
    /// The app has no release of that number.
    #[error("{app} has no release {version}")]
    ReleaseNotFound {
        /// The app.
        app: AppName,
        /// The number.
        version: ReleaseVersion,
    },
    /// A release that cannot be rolled back to.
    #[error("cannot roll {app} back to {version}: {reason}")]
    NoWayBack {
        /// The app.
        app: AppName,
        /// The release.
        version: ReleaseVersion,
        /// Why.
        reason: String,
    },
    /// There is no release before the one that serves.
    #[error("{0} has no release to roll back to")]
    NoFormerRelease(AppName),
    /// The app does not run.
    #[error("{0} does not run")]
    NotRunning(AppName),
    /// A check of a running app failed.
    #[error("{failed} of {total} checks failed")]
    ChecksFailed {
        /// How many failed.
        failed: usize,
        /// How many there were.
        total: usize,
    },
    /// The deployment was cancelled.
    #[error("the deploy was canceled by {0}")]
    Canceled(Actor),
    /// A deployment of an earlier process that died.
    #[error("the deploy was interrupted: the process that ran it died")]
    DeployInterrupted,
    /// No deployment of that number.
    #[error("there is no deploy {0}")]
    DeploymentNotFound(String),
    /// A deployment that is over, or past the point of no return, cannot be cancelled.
    #[error("deploy {id} cannot be canceled: it is {state}")]
    NotCancelable {
        /// The deployment.
        id: DeployId,
        /// The state it is in.
        state: String,
    },
    /// The app was never deployed.
    #[error("{0} was never deployed")]
    NeverDeployed(AppName),
    /// The app has no such process type.
    #[error("{app} has no process type {process}")]
    ProcessNotFound {
        /// The app.
        app: AppName,
        /// The process type.
        process: ProcessType,
        /// The process types there are.
        known: String,
    },

    // ---- the machine --------------------------------------------------------------------------------------------
    /// Docker does not answer.
    #[error("Docker does not answer at {address}")]
    DockerUnavailable {
        /// Where it was looked for.
        address: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The connection to Docker ended in the middle of an answer.
    #[error("Docker went away when it should {action}")]
    DockerLost {
        /// What was asked of it, as a verb phrase.
        action: String,
        /// How the connection ended.
        #[source]
        source: BoxError,
    },
    /// Docker answered with an error.
    #[error("Docker could not {action}")]
    Docker {
        /// What was asked of it, as a verb phrase.
        action: String,
        /// Its answer.
        #[source]
        source: BoxError,
    },
    /// The network of the containers cannot be made, because its addresses are another's.
    #[error("the addresses {subnet} are used by another network of this machine")]
    SubnetTaken {
        /// The subnet that was asked for.
        subnet: String,
    },
    /// A container cannot have its address, because another container of the engine has it.
    #[error("the address {address} is used by a container that is not paas's")]
    AddressTaken {
        /// The address.
        address: std::net::Ipv4Addr,
    },
    /// Something that this engine or this machine cannot do.
    #[error("{0}")]
    Unsupported(String),
    /// An image cannot be pulled.
    #[error("cannot pull the image {image}")]
    ImagePull {
        /// The image.
        image: String,
        /// Docker's answer.
        #[source]
        source: BoxError,
    },
    /// The proxy does not answer.
    #[error("Caddy does not answer: {reason}")]
    ProxyUnavailable {
        /// Why, with the address.
        reason: String,
        /// The Caddyfile to start it with, where that is up to the user.
        caddyfile: Option<PathBuf>,
    },
    /// The proxy refused the Caddyfile; the one before stays.
    #[error("Caddy refused the new Caddyfile, the one before stays in force: {0}")]
    ProxyRefused(String),
    /// The disk is full, or nearly.
    #[error("the disk that holds {path} is full: {free} MB free, {floor} MB needed")]
    DiskFull {
        /// A path on the disk.
        path: PathBuf,
        /// MB (1e6 bytes) free.
        free: u64,
        /// MB (1e6 bytes) that must be free.
        floor: u64,
    },
    /// The root directory belongs to somebody else.
    #[error("{path} belongs to {owner}")]
    RootDenied {
        /// The root directory.
        path: PathBuf,
        /// Its owner.
        owner: String,
    },
    /// The SSH server's host key cannot be used.
    #[error("{path} holds no host key of OpenSSH's format: {reason}")]
    HostKey {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no instance on this machine, and no clone that would name a server.
    #[error("there is no paas on this machine yet: {0} does not exist")]
    NoInstance(PathBuf),
    /// Another daemon runs on this root.
    #[error("paas serve is already running on {0}")]
    AlreadyServing(PathBuf),
    /// A port cannot be listened on.
    #[error("cannot listen on {address} for {what}")]
    Listen {
        /// The address.
        address: String,
        /// What it is for.
        what: &'static str,
        /// The setting that changes it.
        setting: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program that is needed is not there.
    #[error("the program {program} cannot be started")]
    ProgramMissing {
        /// Its name.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A child process failed.
    #[error("{program} failed ({status}): {stderr}")]
    Program {
        /// Its name and first argument.
        program: String,
        /// Its exit status.
        status: String,
        /// The tail of its standard error.
        stderr: String,
    },
    /// A file or socket operation failed.
    #[error("cannot {action}")]
    Io {
        /// What was tried, as a verb phrase with the path.
        action: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error("the database cannot {action}")]
    Database {
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The database was written by a newer paas.
    #[error("the database is of version {found}, this paas knows versions up to {known}")]
    DatabaseTooNew {
        /// Its version.
        found: i64,
        /// The newest this binary knows.
        known: i64,
    },
    /// Something that cannot be, was.
    #[error("internal error: {0}")]
    Bug(String),
    /// Interrupted by a signal.
    #[error("interrupted")]
    Interrupted,
    /// An error that the user has been told of already.
    #[error("{0}")]
    Told(Box<Error>),
    /// A command whose answer is only its exit code (`apps:exists`): nothing is printed.
    #[error("")]
    Silent(Kind),
}

impl Error {
    /// Makes an I/O error with what was tried, as a verb phrase: `Error::io("read /etc/x")`.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |source| Error::Io { action, source }
    }

    /// Makes a Docker error with what was asked, as a verb phrase.
    pub fn docker<E: Into<BoxError>>(action: impl Into<String>) -> impl Fn(E) -> Error {
        let action = action.into();
        move |source| {
            let (action, source) = (action.clone(), source.into());
            match LOST.iter().any(|sign| source.to_string().to_lowercase().contains(sign)) {
                true => Error::DockerLost { action, source },
                false => Error::Docker { action, source },
            }
        }
    }

    /// Makes an internal error from anything that can be shown.
    pub fn bug(what: impl std::fmt::Display) -> Error {
        Error::Bug(what.to_string())
    }

    /// Which kind of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::InvalidValue { .. }
            | Error::Usage { .. }
            | Error::Settings { .. }
            | Error::NotConfirmed { .. }
            | Error::KeyMalformed(_)
            | Error::KeyPrivate
            | Error::AppNameReserved(_) => Kind::Usage,
            Error::AppNotFound(_)
            | Error::AppNotCreatedOnPush(_)
            | Error::KeyNotFound(_)
            | Error::NoInstance(_)
            | Error::ConfigNotFound { .. }
            | Error::DeploymentNotFound(_)
            | Error::NeverDeployed(_)
            | Error::ReleaseNotFound { .. }
            | Error::NoFormerRelease(_)
            | Error::ProcessNotFound { .. } => Kind::NotFound,
            Error::AppExists(_)
            | Error::KeyExists(_)
            | Error::WrongBranch { .. }
            | Error::PushRefused { .. }
            | Error::NotCancelable { .. }
            | Error::NoWayBack { .. }
            | Error::NotRunning(_)
            | Error::Superseded(_)
            | Error::AlreadyServing(_) => Kind::Conflict,
            Error::RootDenied { .. } => Kind::Denied,
            Error::Submodule { .. }
            | Error::Source(_)
            | Error::SourceFile { .. }
            | Error::NothingDetected { .. }
            | Error::Buildpack(..)
            | Error::Build { .. }
            | Error::ReleaseCommand { .. }
            | Error::AppExited { .. }
            | Error::ChecksFailed { .. }
            | Error::NeverHealthy { .. } => Kind::App,
            Error::Locked { .. } | Error::Frozen { .. } => Kind::Locked,
            Error::Canceled(_) | Error::DeployInterrupted | Error::Interrupted => Kind::Interrupted,
            Error::DockerUnavailable { .. }
            | Error::DockerLost { .. }
            | Error::Docker { .. }
            | Error::SubnetTaken { .. }
            | Error::AddressTaken { .. }
            | Error::Unsupported(_)
            | Error::ImagePull { .. }
            | Error::ProxyUnavailable { .. }
            | Error::ProxyRefused(_)
            | Error::DiskFull { .. }
            | Error::Listen { .. }
            | Error::ProgramMissing { .. }
            | Error::Program { .. }
            | Error::Io { .. }
            | Error::Database { .. } => Kind::Unavailable,
            Error::DatabaseTooNew { .. } | Error::Unseal(_) | Error::HostKey { .. } => Kind::Conflict,
            Error::Bug(_) => Kind::Bug,
            Error::Told(error) => error.kind(),
            Error::Silent(kind) => *kind,
        }
    }

    /// The last lines an app or a build printed before it failed, where they belong to the error.
    pub fn output(&self) -> Option<&str> {
        match self {
            Error::AppExited { output, .. } | Error::NeverHealthy { output, .. } if !output.is_empty() => Some(output),
            _ => None,
        }
    }

    /// What to type or do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::InvalidValue { .. } => return None,
            Error::Usage { hint, .. }
            | Error::PushRefused { hint, .. }
            | Error::Submodule { hint, .. }
            | Error::SourceFile { hint, .. }
            | Error::NeverHealthy { hint, .. }
            | Error::Buildpack(_, hint) => hint.clone(),
            Error::Settings { .. } => "the settings and their values are listed by `paas serve --help`".into(),
            Error::AppNotFound(app) => {
                format!("`paas apps:list` shows the apps there are; `paas apps:create {app}` makes this one")
            }
            Error::AppExists(app) => format!("`paas apps:info {app}` shows it"),
            Error::AppNameReserved(_) => "choose another name".into(),
            Error::NotConfirmed { app, .. } => format!("type the app's name, or use `paas apps:destroy {app} --force`"),
            Error::AppNotCreatedOnPush(app) => format!("`paas apps:create {app}` first, then push again"),
            Error::KeyNotFound(_) => "`paas ssh-keys:list` shows the keys there are".into(),
            Error::KeyExists(_) => "`paas ssh-keys:list` shows the keys there are; `paas ssh-keys:remove` removes one".into(),
            Error::KeyMalformed(_) => {
                "give the one line of a public key file, e.g. `paas ssh-keys:add laptop ~/.ssh/id_ed25519.pub`".into()
            }
            Error::KeyPrivate => "give the public half, the file that ends in .pub, and keep this one to yourself".into(),
            Error::ConfigNotFound { app, .. } => format!("`paas config:show {app}` shows the variables there are"),
            Error::Unseal(_) => {
                "secret.key in the root directory is not the one these values were sealed with: restore it from a backup".into()
            }
            Error::WrongBranch { app, deploy_branch, pushed } => format!(
                "`git push paas {pushed}:{deploy_branch}` deploys this branch once; \
                 `paas apps:set {app} deploy-branch {pushed}` makes it the deploy branch"
            ),
            Error::Source(_) => "push again; if it stays, `git fsck` in your repository tells whether it is whole".into(),
            Error::NothingDetected { .. } => {
                "add one of the files above, or a Dockerfile; `paas plan` shows on your machine what would be built".into()
            }
            Error::Build { likely: Some((_, hint)), .. } => hint.clone(),
            Error::Build { message, .. } if message.ends_with("code 137") => {
                "a step that ends with 137 was killed, mostly because it ran out of memory: `paas report` shows how much \
                 the machine has, and what builds may take (build_memory_mb)"
                    .into()
            }
            Error::Build { .. } => "the lines above are the builder's; fix the step that failed and push again".into(),
            Error::ReleaseCommand { .. } => "its output is above; fix it and push again".into(),
            Error::AppExited { code: 126 | 127, .. } => {
                "the command is not in the image, or may not be run: see CMD in the Dockerfile, or the Procfile".into()
            }
            Error::AppExited { .. } => {
                "the process must stay in the foreground; run the same command on your machine, fix it and push again".into()
            }
            Error::Locked { app, .. } => {
                format!("`paas deploys:list {app}` shows it; `paas deploys:cancel {app}` stops it; or try again later")
            }
            Error::Frozen { app, .. } => format!("`paas apps:unlock {app}` unlocks it, if it is yours to unlock"),
            Error::Superseded(id) => format!("`paas deploys:follow {id}` shows that one"),
            Error::ReleaseNotFound { app, .. } => format!("`paas releases:list {app}` shows the releases there are"),
            Error::NoWayBack { app, .. } => {
                format!("`paas releases:list {app}` shows the releases, and which can be rolled back to")
            }
            Error::NoFormerRelease(app) => format!("`paas releases:list {app}` shows the releases there are"),
            Error::NotRunning(app) => format!("`paas ps:start {app}` starts it"),
            Error::ChecksFailed { .. } => "`paas checks:report APP` shows what is checked, `paas logs APP` what it printed".into(),
            Error::Canceled(_) => "push again to deploy".into(),
            Error::DeployInterrupted => "push again".into(),
            Error::DeploymentNotFound(_) => "`paas deploys:list APP` shows the deploys there are".into(),
            Error::NotCancelable { id, .. } => format!("`paas deploys:info {id}` shows it"),
            Error::NeverDeployed(_) => "`git push paas main` in the app's repository deploys it".into(),
            Error::ProcessNotFound { known, .. } => format!("process types: {known}"),
            Error::DockerUnavailable { .. } => {
                "start it with `systemctl start docker`, or set DOCKER_HOST to where it listens; \
                 a user who is not root must be in the docker group"
                    .into()
            }
            Error::DockerLost { .. } => {
                "`systemctl status docker` tells why it ended; once it answers again, do this again".into()
            }
            Error::SubnetTaken { .. } => {
                "set PAAS_SUBNET to a network that is free, e.g. 10.214.0.0/16; `ip route` shows those in use".into()
            }
            Error::AddressTaken { .. } => {
                "`docker network ls` and `docker network inspect NETWORK` show who has it; put it on a network of its own"
                    .into()
            }
            Error::Docker { source, .. } if source.to_string().contains("no space left on device") => MAKE_ROOM.into(),
            Error::Docker { .. } => "`docker info` tells whether the engine is well; its log has more".into(),
            Error::ImagePull { image, .. } => {
                format!("check the image's name, and that this server reaches its registry: `docker pull {image}`")
            }
            Error::ProxyUnavailable { caddyfile: Some(caddyfile), .. } => format!(
                "start your Caddy, or see its log: `caddy run --config {} --adapter caddyfile`",
                caddyfile.display()
            ),
            Error::ProxyUnavailable { caddyfile: None, .. } => {
                "`paas serve` starts Caddy and keeps it running: see that it runs, with `systemctl status paas`".into()
            }
            Error::ProxyRefused(_) => "this is a bug of paas: please report the message above".into(),
            Error::DiskFull { .. } => MAKE_ROOM.into(),
            Error::RootDenied { path, owner } => format!(
                "run it as root or as {owner}, over ssh, or set PAAS_ROOT to a directory of your own instead of {}",
                path.display()
            ),
            Error::HostKey { path, .. } => format!(
                "restore it from a backup; or `rm {}`: a new one is made, and every client will warn that it changed",
                path.display()
            ),
            Error::NoInstance(_) => {
                "`paas serve` starts one for you; for a server's, type it in a clone with a remote named paas: \
                 `git remote add paas ssh://paas@HOST:2222/APP`"
                    .into()
            }
            Error::AlreadyServing(_) => "stop it first, or set PAAS_ROOT to run a second one".into(),
            Error::Listen { setting, source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    format!("ports below 1024 are root's: set {setting} to a higher one")
                }
                _ => format!("something else listens there: set {setting} to a free address"),
            },
            Error::ProgramMissing { program, .. } => format!("install it: `apt-get install {program}`"),
            Error::Program { .. } | Error::Unsupported(_) => return None,
            Error::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull => MAKE_ROOM.into(),
                io::ErrorKind::PermissionDenied => "run it as the owner of the root directory".into(),
                _ => return None,
            },
            Error::Database { .. } => {
                "`df -h` tells whether the disk is full; nothing was changed by this command".into()
            }
            Error::DatabaseTooNew { .. } => "use the newer paas binary that wrote it".into(),
            Error::Bug(_) => "this is a bug of paas: please report it with what you did".into(),
            Error::Told(error) => return error.hint(),
            Error::Interrupted | Error::Silent(_) => return None,
        })
    }

    /// Marks the error as one that the user has been told of.
    #[must_use]
    pub fn told(self) -> Error {
        Error::Told(Box::new(self))
    }

    /// Whether there is nothing more to print: the user was told, or only the exit code counts.
    pub fn is_told(&self) -> bool {
        matches!(self, Error::Told(_) | Error::Silent(_))
    }

    /// What failed, in a few words, for git's line about a rejected branch.
    pub fn short(&self) -> String {
        match self {
            Error::Told(error) => error.short(),
            Error::Build { .. } => "build failed".to_owned(),
            Error::NothingDetected { .. } => "nothing to build".to_owned(),
            Error::AppExited { .. } => "the app exited".to_owned(),
            Error::NeverHealthy { .. } => "the app is not healthy".to_owned(),
            Error::ReleaseCommand { .. } => "the release command failed".to_owned(),
            Error::Locked { .. } => "the app is busy".to_owned(),
            Error::Canceled(_) => "canceled".to_owned(),
            Error::Frozen { .. } => "the app is locked".to_owned(),
            Error::Superseded(id) => format!("superseded by deploy {id}"),
            Error::DiskFull { .. } => "the disk is full".to_owned(),
            Error::DockerUnavailable { .. } => "Docker does not answer".to_owned(),
            Error::ProxyUnavailable { .. } => "Caddy does not answer".to_owned(),
            other => other.to_string(),
        }
    }

    /// The error and its causes in one line: `what: why: why`.
    pub fn one_line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        line
    }
}
