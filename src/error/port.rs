use super::{Advice, Kind};
use crate::model::{AppName, PortMapping};

/// Why a port of this machine does not become an app's.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// It is another app's.
    #[error("port {port} is {}", owner.as_ref().map_or_else(|| "another app's".to_owned(), |owner| format!("{owner}'s")))]
    Taken {
        /// The port.
        port: u16,
        /// Whose it is; none: the caller may not know.
        owner: Option<AppName>,
    },
    /// It is that of a route.
    #[error("port {port} is that of a route")]
    OfRoute {
        /// The port.
        port: u16,
    },
    /// A program of this machine listens there.
    #[error("port {port} of this machine is taken by {holder}")]
    InUse {
        /// The port.
        port: u16,
        /// The program, as far as it can be told.
        holder: String,
    },
    /// It is the server's own.
    #[error("port {port} is the server's own: the setting {setting} has it")]
    OfServer {
        /// The port.
        port: u16,
        /// The setting.
        setting: &'static str,
    },
    /// The server's settings do not allow it.
    #[error("port {port} may not be an app's: the setting tcp_ports allows {allowed}")]
    NotAllowed {
        /// The port.
        port: u16,
        /// What they allow.
        allowed: String,
    },
    /// Two mappings name the same port.
    #[error("{one} and {other} name the same port of this machine")]
    Twice {
        /// One of them.
        one: PortMapping,
        /// The other.
        other: PortMapping,
    },
    /// There are as many as there can be.
    #[error("there are {most} ports already, which is the most of all apps together")]
    TooMany {
        /// How many.
        most: usize,
    },
    /// HTTPS at a server that has none.
    #[error("{mapping}: this server has no HTTPS")]
    NoTls {
        /// What was asked for.
        mapping: PortMapping,
    },
    /// It is one of the proxy's own two, which lead to each app already.
    #[error("port {} leads to the port that PORT says, at each app", mapping.host)]
    OfProxy {
        /// What was asked for.
        mapping: PortMapping,
        /// The app.
        app: AppName,
    },
}

impl PortError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            PortError::Taken { port, owner: Some(owner) } => Advice::new(
                Kind::Conflict,
                format!("choose another port, or take it from {owner}: `paas ports:remove {owner} {port}`"),
            ),
            PortError::Taken { .. } => {
                Advice::new(Kind::Conflict, "choose another port; an admin of the server knows which app has this one")
            }
            PortError::OfRoute { port } => Advice::new(
                Kind::Conflict,
                format!("choose another port; `paas routes:remove tcp:{port}` frees this one, if you are an admin"),
            ),
            PortError::InUse { port, .. } => Advice::new(
                Kind::Conflict,
                format!("choose another port, or end that program; `ss -ltnp sport = :{port}` shows it"),
            ),
            PortError::OfServer { .. } => {
                Advice::new(Kind::Conflict, "choose another port; `paas settings:list` shows those of the server")
            }
            PortError::NotAllowed { allowed, .. } => Advice::new(
                Kind::Denied,
                format!("choose one of {allowed}; an admin can allow others: `paas settings:set tcp_ports=RANGES`"),
            ),
            PortError::Twice { .. } => Advice::new(Kind::Usage, "a port leads to one place: leave one of them out"),
            PortError::TooMany { .. } => {
                Advice::new(Kind::Conflict, "`paas ports:list` shows them, and `paas ports:remove` frees one")
            }
            PortError::OfProxy { mapping, app } => Advice::new(
                Kind::Usage,
                format!("if the app listens on port {0}: `paas config:set {app} PORT={0}`", mapping.container),
            ),
            PortError::NoTls { .. } => Advice::new(
                Kind::Usage,
                "with `tls = \"acme\"` or `tls = \"internal\"` in the settings it has; `http:` needs none",
            ),
        }
    }
}
