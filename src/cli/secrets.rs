use clap::{Args, Subcommand};

use crate::{
    Result,
    context::Context,
    model::{Access, Right},
    ops,
    ui::Ui,
};

/// Secrets: the key that they are sealed with
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "secrets:rotate")]
    Rotate(Rotate),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Rotate(_) => Access::Server(Right::Administer),
        }
    }

    pub(super) fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Rotate(Rotate {}) => ui.show(&ops::secrets::rotate(context)?),
        }
    }
}

/// Make a new key for the server's secrets, and seal everything with it
///
/// For a key that others may have seen. Config variables and the config of all releases are sealed again, in one
/// transaction; the former key opens nothing any more. Nothing restarts, and deploys may run meanwhile. A backup from
/// before still needs the former key: keep a copy of ROOT/secret.key with it.
#[derive(Debug, Args)]
pub(super) struct Rotate {}
