use clap::{Args, Subcommand};

use super::exchange::{Bounds, Exchange, Input, Wanted};
use crate::{
    Error, Result,
    context::Context,
    model::{Access, KeyName, Right},
    ops::keys::{self, KeyChoice},
    public_key,
    ui::Ui,
};

/// More than any public key takes, in bytes: what is longer is the wrong file.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// SSH keys: who may log in
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "ssh-keys:add")]
    Add(Add),
    #[command(name = "ssh-keys:list")]
    List(List),
    #[command(name = "ssh-keys:remove")]
    Remove(Remove),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Add(_) | Command::List(_) | Command::Remove(_) => Access::Server(Right::Administer),
        }
    }

    /// What it reads where it was typed.
    pub(super) fn exchange(&mut self) -> Exchange<'_> {
        match self {
            Command::Add(it) => Exchange::Input(Wanted {
                input: it.file.get_or_insert(Input::Stdin),
                bounds: Bounds {
                    what: "a public key",
                    limit: MAX_KEY_FILE,
                    hint: "give the one line of a public key file, e.g. `paas ssh-keys:add laptop ~/.ssh/id_ed25519.pub`",
                },
                prompt: "Paste the public key, then press Ctrl-D on a line of its own:",
                secret: false,
            }),
            Command::List(_) | Command::Remove(_) => Exchange::Nothing,
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Add(it) => it.run(context, ui),
            Command::List(List {}) => ui.show(&keys::list(context)?),
            Command::Remove(it) => it.run(context, ui),
        }
    }
}

/// Let the holder of a public key push and run commands
///
/// The file is on your machine, wherever you type this; `-`, or nothing, is standard input:
/// `ssh -p 2222 paas@HOST ssh-keys:add ann < ann.pub`.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// What to call the key, e.g. its owner or the machine it is on
    name: KeyName,
    /// The public key's file; `-`, or nothing, for standard input
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: Option<Input>,
}

impl Add {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let key = public_key::read(self.file.as_ref().map(Input::bytes).unwrap_or_default())?;
        let added = keys::add(context, &self.name, &key)?;
        ui.talk(&format!("{} may log in: {}", added.0.name, added.0.fingerprint));
        ui.show(&added)
    }
}

/// List the public keys that may log in
#[derive(Debug, Args)]
pub(super) struct List {}

/// Remove a public key, and end its open sessions
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub(super) struct Remove {
    /// The key's name
    #[arg(group = "which")]
    name: Option<KeyName>,
    /// The key's fingerprint, as `ssh-keys:list` and `ssh-keygen -l` show it
    #[arg(long, group = "which", value_name = "SHA256:...")]
    fingerprint: Option<String>,
}

impl Remove {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let choice = match (self.name, self.fingerprint) {
            (Some(name), _) => KeyChoice::Name(name),
            (None, Some(fingerprint)) => KeyChoice::Fingerprint(fingerprint),
            (None, None) => return Err(Error::bug("clap let neither a name nor a fingerprint pass")),
        };
        let removed = keys::remove(context, &choice)?;
        ui.talk(&format!("{} may no longer log in: {}", removed.0.name, removed.0.fingerprint));
        ui.show(&removed)
    }
}
