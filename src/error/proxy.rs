use std::path::PathBuf;

use super::{Advice, Kind};

/// What Caddy does not do.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Caddy does not answer.
    #[error("Caddy does not answer: {reason}")]
    Unavailable {
        /// Why, with the address.
        reason: String,
        /// The Caddyfile to start it with, if the user runs it.
        caddyfile: Option<PathBuf>,
    },
    /// Caddy refused the Caddyfile; the one before stays.
    #[error("Caddy refused the new Caddyfile, the one before stays in force: {reason}")]
    Refused {
        /// What Caddy says.
        reason: String,
    },
    /// No Caddy starts with the rules of apps.
    #[error("the rules are saved, but no Caddy starts with them, and those of before stay in force: {reason}")]
    Rules {
        /// What it says.
        reason: String,
    },
    /// A text in Caddy's own words is none.
    #[error("Caddy does not take this snippet: {reason}")]
    Snippet {
        /// What it says.
        reason: String,
    },
}

impl ProxyError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            ProxyError::Unavailable { caddyfile: Some(caddyfile), .. } => Advice::new(
                Kind::Unavailable,
                format!(
                    "start your Caddy, or see its log: `caddy run --config {} --adapter caddyfile`",
                    caddyfile.display()
                ),
            )
            .short("Caddy does not answer"),
            ProxyError::Unavailable { caddyfile: None, .. } => Advice::new(
                Kind::Unavailable,
                "`paas serve` starts Caddy and keeps it running: check that it runs, with `systemctl status paas`",
            )
            .short("Caddy does not answer"),
            ProxyError::Rules { .. } => Advice::new(
                Kind::Unavailable,
                "take the last change back (`paas proxy:snippet-clear APP` if it was a snippet); `paas proxy:show-config APP` \
                 shows its configuration",
            ),
            ProxyError::Snippet { .. } => Advice::new(
                Kind::Usage,
                "give directives of one site, such as `respond /health 200`, without a host and braces around them; nothing \
                 has changed",
            ),
            ProxyError::Refused { .. } => {
                Advice::new(Kind::Unavailable, "this is a bug of paas: please report the message above")
            }
        }
    }
}
