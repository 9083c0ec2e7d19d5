use crate::{Result, instance::Instance, ui::Ui};

/// Let the holder of a public key push and run commands
#[derive(Debug, clap::Args)]
pub struct Add {}

impl Add {
    /// Runs the command.
    pub(super) fn run(self, _instance: &Instance, _ui: Ui) -> Result<()> {
        Ok(())
    }
}

/// List the public keys that may log in
#[derive(Debug, clap::Args)]
pub struct List {}

impl List {
    /// Runs the command.
    pub(super) fn run(self, _instance: &Instance, _ui: Ui) -> Result<()> {
        Ok(())
    }
}

/// Take a public key's access away
#[derive(Debug, clap::Args)]
pub struct Remove {}

impl Remove {
    /// Runs the command.
    pub(super) fn run(self, _instance: &Instance, _ui: Ui) -> Result<()> {
        Ok(())
    }
}
