use super::{Advice, Kind};
use crate::model::{Actor, AppName, Right};

/// Why somebody may not do what they asked for.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Somebody whom the instance does not know, or who cannot be read.
    #[error("{actor:?} is not somebody that this server knows")]
    Unknown {
        /// Who they said they are.
        actor: String,
    },
    /// Somebody who lacks a right.
    #[error(
        "{actor} may not do this: it needs the right to {right} for {}",
        app.as_ref().map_or_else(|| "the server".to_owned(), |app| format!("the app {app}"))
    )]
    Lacks {
        /// Who.
        actor: Actor,
        /// The right.
        right: Right,
        /// The app it is about; none: the server.
        app: Option<AppName>,
    },
    /// A command that works on the server itself.
    #[error("this works on the server itself, not over SSH")]
    OnlyHere,
}

impl AccessError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            AccessError::Unknown { .. } => {
                Advice::new(Kind::Denied, "log in again; `paas ssh-keys:list` on the server lists the keys")
            }
            AccessError::Lacks { .. } => {
                Advice::new(Kind::Denied, "an admin of the server can do it, or give you a role that has the right")
            }
            AccessError::OnlyHere => Advice::new(Kind::Usage, "log in to the server and type it there"),
        }
    }
}
