//! Every way a command can fail: what happened, of which kind, and what to type next.
//!
//! The message of an error is its `Display`; the causes below it are its `source` chain; [`Error::hint`] is the
//! command that helps; [`Error::kind`] decides the exit code and the HTTP status. Each concern has its enum, with kind
//! and hint side by side in one match. tests/errors.txt has them all on one page.

mod access;
mod advice;
mod certificate;
mod cron;
mod deploy;
mod domain;
mod engine;
mod host;
mod kind;
mod port;
mod proxy;
mod push;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod thing;
mod usage;

use std::{error::Error as StdError, io};

pub use access::AccessError;
use advice::Advice;
pub use certificate::CertificateError;
pub use cron::CronError;
pub use deploy::{DeployError, LikelyCause, NeverHealthy};
pub use domain::DomainError;
pub use engine::EngineError;
pub use host::HostError;
pub use kind::Kind;
pub use port::PortError;
pub use proxy::ProxyError;
pub use push::PushError;
pub use source::SourceError;
pub use store::{StoreError, StoreFault};
pub use thing::Thing;
pub use usage::UsageError;

use crate::model::{AppName, Invalid, ProcessSpec, ProcessType, Release, Stop, property};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, kept only for its message and causes.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// A failure, with all that is needed to say what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of that name.
    #[error("{}", .0.not_found(.1))]
    NotFound(Thing, String),
    /// There is one of that name already.
    #[error("{}", .0.exists(.1))]
    Exists(Thing, String),
    /// A value that does not have its form, with the rule it broke.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Something typed or written for us that we cannot use.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// Somebody may not do what they asked for.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A push that does not deploy.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The source of an app, or its buildpack.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A deploy, or another action on a running app.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// A name that was to lead to an app.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// A port of this machine that was to lead to an app.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A command of an app that runs by time.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// The container engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Caddy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This machine.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Something that cannot be, was.
    #[error("internal error: {0}")]
    Bug(String),
    /// Interrupted by a signal.
    #[error("interrupted")]
    Interrupted,
    /// An error that the user has seen already.
    #[error("{0}")]
    Told(Box<Error>),
    /// A command whose answer is only its exit code (`apps:exists`): nothing is printed.
    #[error("")]
    Silent(Kind),
    /// The program of a container ended with this exit code, which is ours, too: nothing is printed.
    #[error("")]
    Exited(u8),
}

impl From<property::Refused> for Error {
    fn from(refused: property::Refused) -> Error {
        match refused {
            property::Refused::Words { message, hint } => Error::usage(message, hint),
            property::Refused::Value(invalid) => Error::Invalid(invalid),
        }
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Error {
        DeployError::Stopped(stop).into()
    }
}

impl Release {
    /// The process type of that name, which the app's release must have.
    ///
    /// # Errors
    /// [`Error::NotFound`] with the types that there are.
    pub fn require(&self, app: &AppName, process: &ProcessType) -> Result<&ProcessSpec> {
        self.process(process).ok_or_else(|| {
            let known = Thing::ProcessType { app: app.clone(), known: self.process_names() };
            Error::NotFound(known, process.to_string())
        })
    }
}

impl Error {
    /// Makes an I/O error with what was tried, as a verb phrase: `Error::io("read /etc/x")`.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |source| HostError::Io { action, source }.into()
    }

    /// Makes an internal error from anything that can be shown.
    pub fn bug(what: impl std::fmt::Display) -> Error {
        Error::Bug(what.to_string())
    }

    /// Makes the error of a command line that clap accepted and we do not: what is wrong, and what to type instead.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Error {
        UsageError::Command { message: message.into(), hint: hint.into() }.into()
    }

    /// Makes the error of a missing app.
    pub fn no_app(name: &AppName) -> Error {
        Error::NotFound(Thing::App, name.to_string())
    }

    /// The same with what an app or its build said passed through `f`: it may hold a secret.
    #[must_use]
    pub fn with_output(self, f: &dyn Fn(&str) -> String) -> Error {
        match self {
            Error::Deploy(error) => Error::Deploy(error.with_output(f)),
            other => other,
        }
    }

    fn advice(&self) -> Advice {
        match self {
            Error::NotFound(thing, name) => thing.advice_if_missing(name),
            Error::Exists(thing, name) => thing.advice_if_there(name),
            Error::Invalid(_) => Advice::without_hint(Kind::Usage),
            Error::Usage(error) => error.advice(),
            Error::Access(error) => error.advice(),
            Error::Push(error) => error.advice(),
            Error::Source(error) => error.advice(),
            Error::Deploy(error) => error.advice(),
            Error::Domain(error) => error.advice(),
            Error::Port(error) => error.advice(),
            Error::Cron(error) => error.advice(),
            Error::Engine(error) => error.advice(),
            Error::Proxy(error) => error.advice(),
            Error::Certificate(error) => error.advice(),
            Error::Store(error) => error.advice(),
            Error::Host(error) => error.advice(),
            Error::Bug(_) => Advice::new(Kind::Bug, "this is a bug of paas: please report it with what you did"),
            Error::Interrupted => Advice::without_hint(Kind::Interrupted),
            Error::Told(error) => error.advice(),
            Error::Silent(kind) => Advice::without_hint(*kind),
            Error::Exited(_) => Advice::without_hint(Kind::App),
        }
    }

    /// Which kind of failure this is.
    pub fn kind(&self) -> Kind {
        self.advice().kind
    }

    /// The exit code of a process that fails with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Exited(code) => *code,
            other => other.kind().exit_code(),
        }
    }

    /// What to type or do next, if there is something.
    pub fn hint(&self) -> Option<String> {
        self.advice().hint
    }

    /// What failed, in a few words, for git's line about a rejected branch.
    pub fn short(&self) -> String {
        self.advice().short.map_or_else(|| self.to_string(), |words| words.into_owned())
    }

    /// More lines about it: the last that an app printed before it failed, the files that were looked for.
    pub fn detail(&self) -> Option<String> {
        match self {
            Error::Source(error) => error.detail(),
            Error::Deploy(error) => error.detail(),
            Error::Told(error) => error.detail(),
            _ => None,
        }
    }

    /// Says of a failure of the database where the database is.
    #[must_use]
    pub fn in_database(self, at: &std::path::Path) -> Error {
        match self {
            Error::Store(StoreError::Failed { path, action, fault, source }) if path.as_os_str().is_empty() => {
                StoreError::Failed { path: at.to_owned(), action, fault, source }.into()
            }
            other => other,
        }
    }

    /// Whether it is the database that failed, or is not there.
    pub fn is_of_database(&self) -> bool {
        self.is_lost_database() || matches!(self, Error::Store(StoreError::Failed { .. }))
    }

    /// Whether an instance has lost its database: only a backup has it again.
    pub fn is_lost_database(&self) -> bool {
        match self {
            Error::Store(StoreError::Failed { fault, .. }) => {
                matches!(fault, StoreFault::Damaged | StoreFault::NoDatabase)
            }
            Error::Store(StoreError::TooNew { .. } | StoreError::NotOurs { .. } | StoreError::Missing { .. })
            | Error::Host(HostError::FormerInstance { .. } | HostError::InTheWay { .. }) => true,
            _ => false,
        }
    }

    /// Marks the error as one that the user has seen.
    #[must_use]
    pub fn told(self) -> Error {
        Error::Told(Box::new(self))
    }

    /// Whether there is nothing more to print: the user has seen it, or only the exit code counts.
    pub fn is_told(&self) -> bool {
        matches!(self, Error::Told(_) | Error::Silent(_) | Error::Exited(_))
    }

    /// Whether a full disk is the cause: there may be no room for a row or a log either.
    pub fn is_full_disk(&self) -> bool {
        match self {
            Error::Store(StoreError::Failed { fault, .. }) => *fault == StoreFault::DiskFull,
            Error::Host(HostError::Io { source, .. }) => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
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
