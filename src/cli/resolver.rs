use clap::Args;

use crate::{Result, files, proxy, settings::Settings};

/// Run the resolver, which tells Caddy where each app lives
///
/// The daemon starts it and keeps it running.
#[derive(Debug, Args)]
pub(super) struct Resolver {
    /// Answer on the socket that is the standard input: that of the resolver which this one replaces
    #[arg(long)]
    adopt: bool,
}

impl Resolver {
    pub(super) fn run(self, settings: &Settings) -> Result<()> {
        files::keep_from_others();
        proxy::run_resolver(settings, self.adopt)
    }
}
