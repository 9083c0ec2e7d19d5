use super::{Advice, Kind};
use crate::model::AppName;

/// What can be named and then not be there, or be there already. The message and the hint of both come from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// An app, by its name.
    App,
    /// An SSH key, by its name.
    Key,
    /// An SSH key, by its fingerprint.
    Fingerprint,
    /// A config variable of an app, or of all apps.
    ConfigVariable(Option<AppName>),
    /// A release of an app.
    Release(AppName),
    /// A deploy, by its number.
    Deploy,
    /// An operation, by its number.
    Operation,
    /// A process type of an app.
    ProcessType {
        /// The app.
        app: AppName,
        /// The process types that it has.
        known: String,
    },
    /// A domain of an app.
    Domain(AppName),
    /// A redirect of an app.
    Redirect(AppName),
    /// A cron of an app.
    Cron(AppName),
    /// A run of an app's crons, by its number.
    CronRun(AppName),
    /// A path of an app that leads elsewhere.
    ProxyPath(AppName),
    /// A user who may see an app by a password.
    ProxyUser(AppName),
    /// A port of an app.
    Port(AppName),
    /// A route, by what comes in by it.
    Route,
    /// A global domain.
    GlobalDomain,
    /// A live container of an app.
    Container {
        /// The app.
        app: AppName,
        /// The containers that it has.
        known: String,
    },
    /// A certificate of an app, or of the server, by its number.
    Certificate(Option<AppName>),
    /// A run, of an app where that is known.
    Run(Option<AppName>),
    /// A buildpack.
    Buildpack {
        /// The buildpacks there are.
        known: String,
    },
}

impl Thing {
    /// The word for it, to be followed by a name.
    fn word(&self) -> &'static str {
        match self {
            Thing::App => "app named",
            Thing::Key => "SSH key named",
            Thing::Fingerprint => "SSH key with the fingerprint",
            Thing::ConfigVariable(_) => "config variable",
            Thing::Release(_) => "release",
            Thing::Deploy => "deploy",
            Thing::Operation => "operation",
            Thing::ProcessType { .. } => "process type",
            Thing::Domain(_) => "domain",
            Thing::Redirect(_) => "redirect from",
            Thing::Cron(_) => "cron named",
            Thing::CronRun(_) => "cron run",
            Thing::ProxyPath(_) => "path",
            Thing::ProxyUser(_) => "user",
            Thing::Port(_) => "port",
            Thing::Route => "route",
            Thing::GlobalDomain => "global domain",
            Thing::Container { .. } => "live container",
            Thing::Certificate(_) => "certificate",
            Thing::Run(_) => "run",
            Thing::Buildpack { .. } => "buildpack",
        }
    }

    /// What lists those there are.
    fn list(&self) -> String {
        match self {
            Thing::App => "`paas apps:list` lists the apps".into(),
            Thing::Key | Thing::Fingerprint => "`paas ssh-keys:list` lists the keys".into(),
            Thing::ConfigVariable(Some(app)) => format!("`paas config:show {app}` lists its variables"),
            Thing::ConfigVariable(None) => "`paas config:show --global` lists the variables of all apps".into(),
            Thing::Release(app) => format!("`paas releases:list {app}` lists its releases"),
            Thing::Deploy => "`paas deploys:list APP` lists the deploys of an app".into(),
            Thing::Operation => "`paas operations:list` lists the operations".into(),
            Thing::ProcessType { known, .. } => format!("process types: {known}"),
            Thing::Domain(app) => format!("`paas domains:report {app}` lists its domains"),
            Thing::Redirect(app) => format!("`paas redirects:list {app}` lists its redirects"),
            Thing::Cron(app) => format!("`paas cron:list {app}` lists its crons"),
            Thing::CronRun(app) => format!("`paas cron:history {app}` lists the runs"),
            Thing::ProxyPath(app) | Thing::ProxyUser(app) => format!("`paas proxy:report {app}` lists what there is"),
            Thing::Port(app) => format!("`paas ports:list {app}` lists its ports"),
            Thing::Route => "`paas routes:list` lists the routes".into(),
            Thing::GlobalDomain => "`paas domains:report --global` lists them".into(),
            Thing::Container { known, .. } => format!("live containers: {known}"),
            Thing::Certificate(Some(app)) => format!("`paas certs:report {app}` lists its certificates"),
            Thing::Certificate(None) => "`paas certs:report --global` lists those of the server".into(),
            Thing::Run(Some(app)) => format!("`paas run:list {app}` lists its runs"),
            Thing::Run(None) => "`paas run:list APP` lists the runs of an app".into(),
            Thing::Buildpack { known } => format!("buildpacks: {known}"),
        }
    }

    /// The app that it belongs to.
    fn app(&self) -> Option<&AppName> {
        match self {
            Thing::Release(app)
            | Thing::Domain(app)
            | Thing::Redirect(app)
            | Thing::Cron(app)
            | Thing::CronRun(app)
            | Thing::ProxyPath(app)
            | Thing::ProxyUser(app)
            | Thing::Port(app)
            | Thing::ProcessType { app, .. }
            | Thing::Container { app, .. } => Some(app),
            Thing::ConfigVariable(app) | Thing::Certificate(app) | Thing::Run(app) => app.as_ref(),
            Thing::App
            | Thing::Key
            | Thing::Fingerprint
            | Thing::Deploy
            | Thing::Operation
            | Thing::Route
            | Thing::GlobalDomain
            | Thing::Buildpack { .. } => None,
        }
    }

    /// That there is none of that name.
    pub(super) fn not_found(&self, name: &str) -> String {
        match self.app() {
            Some(app) => format!("{app} has no {} {name}", self.word()),
            None => format!("there is no {} {name}", self.word()),
        }
    }

    /// That there is one of that name already.
    pub(super) fn exists(&self, name: &str) -> String {
        let word = self.word();
        let article = if word.starts_with(['a', 'o', 'S']) { "an" } else { "a" };
        match self.app() {
            Some(app) => format!("{app} already has {article} {word} {name}"),
            None => format!("there is already {article} {word} {name}"),
        }
    }

    /// What to do if there is none of that name.
    pub(super) fn advice_if_missing(&self, name: &str) -> Advice {
        let list = self.list();
        Advice::new(
            Kind::NotFound,
            match self {
                Thing::App => format!("{list}; `paas apps:create {name}` makes this one"),
                _ => list,
            },
        )
    }

    /// What to do if there is one of that name already.
    pub(super) fn advice_if_there(&self, name: &str) -> Advice {
        let list = self.list();
        Advice::new(
            Kind::Conflict,
            match self {
                Thing::App => format!("`paas apps:info {name}` shows it"),
                Thing::Key | Thing::Fingerprint => format!("{list}; `paas ssh-keys:remove` removes one"),
                _ => list,
            },
        )
    }
}
