use clap::Args;

use crate::{Result, settings::Settings, supervisor};

/// Where the lines of the list of settings end.
const LINE: usize = 96;

/// Run the daemon: SSH server, edge, Caddy, and what keeps apps running
///
/// Every setting has a default; a file /etc/paas/config.toml or variables PAAS_... change it. Run by an ordinary user,
/// it serves only that user, with apps at `http://APP.localhost:8080`.
#[derive(Debug, Args)]
#[command(after_help = settings_help())]
pub(super) struct Serve {
    /// Start a new instance where one has lost its database; its files are moved into a directory of their own
    #[arg(long)]
    new_instance: bool,
}

impl Serve {
    pub(super) fn run(self, settings: Settings) -> Result<()> {
        super::become_owner(&settings)?;
        supervisor::serve(settings, self.new_instance)
    }
}

/// The list of settings, from their one place.
fn settings_help() -> String {
    let mut text = "Settings (key in config.toml; the variable is PAAS_ and the key in capitals, with _ \
                    for . and -; for docker_host it is DOCKER_HOST):"
        .to_owned();
    for key in crate::settings::Setting::all() {
        text.push_str(&format!("\n  {}  [default: {}]", key.name, key.default));
        let mut column = LINE;
        for word in key.about.split(' ') {
            if column + word.len() >= LINE {
                text.push_str("\n     ");
                column = 5;
            }
            text.push_str(&format!(" {word}"));
            column += 1 + word.len();
        }
    }
    text
}
