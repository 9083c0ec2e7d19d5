//! The command tree: one file a noun, one variant and one arm a command.

pub mod plan;
pub mod ssh_keys;

use clap::{Parser, Subcommand};

use crate::{Result, instance::Instance, ui::Ui};

/// Push to deploy, on a server of your own
#[derive(Debug, Parser)]
#[command(name = "paas", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command there is.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(name = "ssh-keys:add")]
    SshKeysAdd(ssh_keys::Add),
    #[command(name = "ssh-keys:list")]
    SshKeysList(ssh_keys::List),
    #[command(name = "ssh-keys:remove")]
    SshKeysRemove(ssh_keys::Remove),
}

impl Command {
    /// Runs a command on an open instance.
    async fn run(self, instance: &Instance, ui: Ui) -> Result<()> {
        match self {
            Command::SshKeysAdd(command) => command.run(instance, ui),
            Command::SshKeysList(command) => command.run(instance, ui),
            Command::SshKeysRemove(command) => command.run(instance, ui),
        }
    }
}
