use std::{
    fs::File,
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Door, Output};
use crate::{
    Error, Result, clock,
    error::UsageError,
    instance::Instance,
    model::KeyName,
    ops::keys::{self, KeyChoice},
    ssh,
    store::StoredKey,
    ui::Ui,
};

/// More than any public key takes, in bytes: what is longer is the wrong file.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// Let the holder of a public key push and run commands
///
/// Over SSH the key comes on standard input: `ssh -p 2222 paas@HOST ssh-keys:add ann < ann.pub`.
#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// What to call the key, e.g. its owner or the machine it is on
    name: KeyName,
    /// The public key's file; `-`, or nothing, for standard input
    file: Option<PathBuf>,
}

impl Add {
    /// Reads the key, as the user who typed the command: before root becomes the owner of the root directory, who
    /// cannot read root's files.
    pub(super) fn read(self, door: Door) -> Result<AddRead> {
        let text = match self.file.filter(|file| file.as_os_str() != "-") {
            // The client's path means nothing on this machine, and this machine's files are not the client's to read.
            Some(file) if door == Door::Ssh => {
                return Err(Error::usage(
                    format!("{} is a file of your machine, and this command runs on the server", file.display()),
                    format!("give it on standard input: `ssh ... ssh-keys:add {} < {}`", self.name, file.display()),
                ));
            }
            Some(file) => read_file(&file)?,
            None => read_stdin(Ui::default())?,
        };
        Ok(AddRead { name: self.name, text })
    }
}

/// `ssh-keys:add` with the key's text read.
pub(super) struct AddRead {
    name: KeyName,
    text: Vec<u8>,
}

impl AddRead {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let key = ssh::read_public_key(&self.text)?;
        keys::add(instance, &self.name, &key)?;
        Ui::default().talk(&format!("{} may log in: {}", self.name, key.fingerprint));
        Ok(())
    }
}

/// List the public keys that may log in
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let keys = keys::list(instance)?;
        let rows: Vec<[String; 3]> = keys
            .iter()
            .map(|key| [key.name.to_string(), key.fingerprint.clone(), clock::rfc3339(key.created_at)])
            .collect();
        let records: Vec<KeyRecord<'_>> = keys.iter().map(KeyRecord::of).collect();
        self.output.ui().table(["NAME", "FINGERPRINT", "ADDED"], &rows, &records)
    }
}

/// Take a public key's access away, and end its open sessions
#[derive(Debug, clap::Args)]
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
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let choice = match (self.name, self.fingerprint) {
            (Some(name), _) => KeyChoice::Name(name),
            (None, Some(fingerprint)) => KeyChoice::Fingerprint(fingerprint),
            (None, None) => return Err(Error::bug("clap let neither a name nor a fingerprint pass")),
        };
        let key = keys::remove(instance, &choice)?;
        Ui::default().talk(&format!("{} may no longer log in: {}", key.name, key.fingerprint));
        Ok(())
    }
}

/// A key as programs read it.
#[derive(Debug, Serialize)]
struct KeyRecord<'a> {
    name: &'a KeyName,
    fingerprint: &'a str,
    public_key: &'a str,
    added_at: String,
}

impl KeyRecord<'_> {
    fn of(key: &StoredKey) -> KeyRecord<'_> {
        KeyRecord {
            name: &key.name,
            fingerprint: &key.fingerprint,
            public_key: &key.public_key,
            added_at: clock::rfc3339(key.created_at),
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    // A path that was typed wrongly is the user's to mend, not this machine's.
    let refuse = |reason: std::io::Error| {
        Error::usage(
            format!("cannot read {}: {reason}", path.display()),
            "give the path of a public key file, e.g. ~/.ssh/id_ed25519.pub, or `-` for standard input",
        )
    };
    let file = File::open(path).map_err(refuse)?;
    if file.metadata().map_err(refuse)?.is_dir() {
        return Err(refuse(std::io::ErrorKind::IsADirectory.into()));
    }
    read(file, &path.display().to_string())
}

fn read_stdin(ui: Ui) -> Result<Vec<u8>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        ui.talk("Paste the public key, then press Ctrl-D on a line of its own:");
    }
    read(stdin.lock(), "standard input")
}

fn read(source: impl Read, name: &str) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    source.take(MAX_KEY_FILE + 1).read_to_end(&mut text).map_err(Error::io(format!("read {name}")))?;
    if text.len() as u64 > MAX_KEY_FILE {
        return Err(Error::Usage(UsageError::KeyMalformed { reason: format!("{name} is too long for one") }));
    }
    Ok(text)
}
