use clap::Args;

use crate::{Result, settings::Settings, supervisor};

/// Run the daemon: the SSH server, the resolver, Caddy, and what keeps the apps running
///
/// Everything has a default; a file /etc/paas/config.toml or variables PAAS_... change it. Run by an ordinary user it
/// serves that user alone, with apps at http://APP.localhost:8080.
#[derive(Debug, Args)]
#[command(after_help = settings_help())]
pub(super) struct Serve {}

impl Serve {
    pub(super) fn run(self, settings: Settings) -> Result<()> {
        super::become_owner(&settings)?;
        supervisor::serve(settings)
    }
}

/// The list of settings, from their one place.
fn settings_help() -> String {
    let lines: Vec<String> = crate::settings::KEYS
        .iter()
        .map(|key| format!("  {:<17} {}\n  {:<17} default: {}", key.name, key.about, "", key.default))
        .collect();
    format!(
        "Settings (key in config.toml; the variable is PAAS_ and the key in capitals, for docker_host DOCKER_HOST):\n{}",
        lines.join("\n")
    )
}
