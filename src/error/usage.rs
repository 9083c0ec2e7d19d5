use super::{Advice, Kind};
use crate::model::AppName;

/// What somebody typed or wrote for us, and that we cannot use.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// A command line that clap accepted and we do not.
    #[error("{message}")]
    Command {
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
    /// `apps:destroy` without a matching confirmation.
    #[error("{app} was not destroyed: the name typed was {typed:?}")]
    NotConfirmed {
        /// The app to be destroyed.
        app: AppName,
        /// What was typed instead.
        typed: String,
    },
    /// Text that is not one plain public key.
    #[error("this is not one plain SSH public key: {reason}")]
    KeyMalformed {
        /// Why.
        reason: String,
    },
    /// A private key where a public one belongs.
    #[error("this is a private key")]
    KeyPrivate,
}

impl UsageError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            UsageError::Command { hint, .. } => Advice::new(Kind::Usage, hint),
            UsageError::Settings { .. } => {
                Advice::new(Kind::Usage, "`paas serve --help` lists the settings and their values")
            }
            UsageError::NotConfirmed { app, .. } => {
                Advice::new(Kind::Usage, format!("type the app's name, or use `paas apps:destroy {app} --force`"))
            }
            UsageError::KeyMalformed { .. } => Advice::new(
                Kind::Usage,
                "give the one line of a public key file, e.g. `paas ssh-keys:add laptop ~/.ssh/id_ed25519.pub`",
            ),
            UsageError::KeyPrivate => Advice::new(
                Kind::Usage,
                "give the public half, the file that ends in .pub, and keep this one to yourself",
            ),
        }
    }
}
