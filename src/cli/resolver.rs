use clap::Args;

use crate::{Result, proxy, settings::Settings};

/// Run the resolver, which tells Caddy where each app lives
///
/// The daemon starts it and keeps it running.
#[derive(Debug, Args)]
pub(super) struct Resolver {}

impl Resolver {
    pub(super) fn run(self, settings: &Settings) -> Result<()> {
        proxy::run_resolver(settings)
    }
}
