use clap::Args;

use crate::{Result, edge, files, settings::Settings};

/// Run the edge, which answers what Caddy asks: where each app lives, which certificate a host has
///
/// The daemon starts it and keeps it running.
#[derive(Debug, Args)]
pub(super) struct Edge {
    /// Answer on the sockets that come over the standard input: those of the edge which this one replaces
    #[arg(long)]
    adopt: bool,
    /// What the lock says of it
    #[arg(long)]
    mark: Option<String>,
}

impl Edge {
    pub(super) fn run(self, settings: &Settings) -> Result<()> {
        files::keep_from_others();
        edge::run(settings, self.adopt, self.mark.as_deref())
    }
}
