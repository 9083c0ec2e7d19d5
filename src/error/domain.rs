use super::{Advice, Kind};
use crate::model::{Actor, AppName};

/// Why a name does not become an app's, or leads to none.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// It is another app's.
    #[error("{}", taken(domain, owner.as_ref()))]
    Taken {
        /// The name.
        domain: String,
        /// Whose it is; none: the caller may not know.
        owner: Option<AppName>,
        /// The app that was to get it.
        app: AppName,
    },
    /// It is that of a route.
    #[error("{domain} is a host of a route")]
    OfRoute {
        /// The name.
        domain: String,
    },
    /// A route was to have it, and it is an app's.
    #[error("{domain} leads to the app {owner}")]
    OfApp {
        /// The name.
        domain: String,
        /// The app.
        owner: AppName,
        /// The path of the route, if it was to have one.
        path: Option<String>,
    },
    /// Somebody else has changed a route meanwhile.
    #[error("somebody else has just changed the route {route}")]
    RouteChanged {
        /// The route.
        route: String,
    },
    /// It is the default name of another app.
    #[error("{domain} is the default name of {owner}")]
    IsDefault {
        /// The name.
        domain: String,
        /// Whose it is.
        owner: AppName,
    },
    /// It is one of the server's, which an administrator gives.
    #[error("{domain} belongs to the server: {actor} may not give it to an app")]
    OfServer {
        /// The name.
        domain: String,
        /// Who asked.
        actor: Actor,
    },
    /// A name cannot become a global domain, because a domain of an app would be another app's default name.
    #[error("{name} cannot be a global domain: {domain} is a domain of {owner}")]
    BelowGlobal {
        /// The name that was to become a global domain.
        name: String,
        /// The domain of the app.
        domain: String,
        /// The app.
        owner: AppName,
    },
    /// An app cannot be made, because its default name is a domain of another app.
    #[error("the name {app} is not free: {domain} is a domain of another app")]
    NameTaken {
        /// The app that was to be made.
        app: AppName,
        /// The domain of the other app.
        domain: String,
    },
    /// An app that has no address for people.
    #[error("{app} {why}")]
    NoUrl {
        /// The app.
        app: AppName,
        /// Why it has none.
        why: &'static str,
    },
    /// A redirect by which a request would come back to where it began.
    #[error("a redirect from {from} to {to} would come back to where it began")]
    Circle {
        /// The name.
        from: String,
        /// The host.
        to: String,
    },
    /// Domains that do not resolve to this server.
    #[error("{failed} of {total} domains do not resolve to this server alone, or may have no certificate")]
    NotHere {
        /// How many.
        failed: usize,
        /// How many were looked at.
        total: usize,
    },
}

fn taken(domain: &str, owner: Option<&AppName>) -> String {
    match owner {
        Some(owner) => format!("{domain} is a domain of {owner}"),
        None => format!("{domain} is taken"),
    }
}

impl DomainError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            DomainError::Taken { domain, owner: Some(_), app } => {
                Advice::new(Kind::Conflict, format!("`paas domains:add {app} {domain} --move` moves it to {app}"))
            }
            DomainError::Taken { .. } => {
                Advice::new(Kind::Conflict, "choose another name; an admin of the server knows which app has this one")
            }
            DomainError::OfRoute { .. } => {
                Advice::new(Kind::Conflict, "choose another name; an admin sees all routes with `paas routes:list`")
            }
            DomainError::OfApp { owner, path: Some(path), .. } => Advice::new(
                Kind::Conflict,
                format!("`paas proxy:path-add {owner} {path} TARGET` has a path of the app lead elsewhere"),
            ),
            DomainError::OfApp { domain, owner, path: None } => Advice::new(
                Kind::Conflict,
                format!("`paas domains:remove {owner} {domain}` takes the name from the app"),
            ),
            DomainError::RouteChanged { route } => {
                Advice::new(Kind::Busy, format!("`paas routes:info {route}` shows it as it is now"))
            }
            DomainError::IsDefault { owner, .. } => Advice::new(
                Kind::Conflict,
                format!(
                    "`paas domains:report {owner}` shows its names, and `paas domains:set` turns the default ones off"
                ),
            ),
            DomainError::OfServer { .. } => Advice::new(
                Kind::Denied,
                "at and below the names of the server, an app has its default names only; an admin can give it others",
            ),
            DomainError::BelowGlobal { domain, owner, .. } => Advice::new(
                Kind::Conflict,
                format!("`paas domains:remove {owner} {domain}` frees that name, if the app can do without it"),
            ),
            DomainError::NameTaken { .. } => {
                Advice::new(Kind::Conflict, "choose another name for the app; `paas domains:report` lists the domains")
            }
            DomainError::NoUrl { app, .. } => Advice::new(
                Kind::NotFound,
                format!("`paas domains:report {app}` shows its names and how to change them"),
            ),
            DomainError::Circle { .. } => {
                Advice::new(Kind::Conflict, "`paas redirects:list` shows where names are sent")
            }
            DomainError::NotHere { .. } => {
                Advice::new(Kind::App, "set the records that are named above, where the DNS of the domain is managed")
            }
        }
    }
}
