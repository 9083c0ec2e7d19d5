use std::{fmt, net::IpAddr};

use super::{Actor, AppName, Door, KeyName, OperationId, RouteSource, names::words};

words! {
    /// What became of what somebody asked for.
    Outcome, "outcome", {
        /// It was done.
        Done = "done",
        /// It failed, and nothing has changed.
        Failed = "failed",
        /// Somebody stopped it, or a newer one took its place.
        Canceled = "canceled",
        /// They may not do it.
        Denied = "denied",
    }
}

/// Which events to read. Each condition that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// About this app.
    pub app: Option<AppName>,
    /// By this actor, as stored: `key:ann`.
    pub actor: Option<String>,
    /// This action, or all of a noun: `config:set`, `config`.
    pub action: Option<String>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// At or after this time, in milliseconds since 1970.
    pub since: Option<i64>,
    /// After the event of this number.
    pub after: Option<i64>,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The server as a whole.
    Server,
    /// An app.
    App(AppName),
    /// An SSH key.
    Key(KeyName),
    /// A setting of the server, by its name.
    Setting(String),
    /// A route.
    Route(RouteSource),
}

impl Subject {
    /// The app it is about, if it is one.
    pub fn app(&self) -> Option<&AppName> {
        match self {
            Subject::App(app) => Some(app),
            Subject::Server | Subject::Key(_) | Subject::Setting(_) | Subject::Route(_) => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Server => formatter.write_str("server"),
            Subject::App(app) => write!(formatter, "app:{app}"),
            Subject::Key(key) => write!(formatter, "key:{key}"),
            Subject::Setting(name) => write!(formatter, "setting:{name}"),
            Subject::Route(source) => write!(formatter, "route:{source}"),
        }
    }
}

/// A change that is about to be made, as its event will tell it.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// What, as the command is typed: `config:set`.
    pub action: &'a str,
    /// What it is about.
    pub subject: Subject,
    /// More, for people: never the value of a secret.
    pub detail: Option<String>,
}

impl<'a> Change<'a> {
    /// A change of which there is nothing more to say.
    pub fn new(action: &'a str, subject: Subject) -> Change<'a> {
        Change { action, subject, detail: None }
    }

    /// The same, with more to say.
    #[must_use]
    pub fn with(self, detail: impl Into<String>) -> Change<'a> {
        Change { detail: Some(detail.into()), ..self }
    }
}

/// Something that somebody changed, or was not allowed to: the audit. Never changed once written.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number.
    pub id: i64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Who.
    pub actor: Actor,
    /// By which door.
    pub door: Door,
    /// From where, if the door is one of the network's.
    pub address: Option<IpAddr>,
    /// What, as the command is typed: `config:set`.
    pub action: String,
    /// What it was about: `app:blog`.
    pub subject: String,
    /// The app it was about, if it was one; it may be gone by now.
    pub app: Option<AppName>,
    /// What became of it.
    pub outcome: Outcome,
    /// More, for people: never the value of a secret.
    pub detail: Option<String>,
    /// The operation that did it.
    pub operation: Option<OperationId>,
}
