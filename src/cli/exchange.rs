//! What a command reads or writes where it was typed: files of the person who types, standard input, secrets that are asked
//! for. That comes before the instance is opened, because root then becomes the owner of the root directory, who may not be
//! able to read root's files; and it comes on a laptop, which sends what was read as standard input.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{Global, certs, config, server};
use crate::{Error, Result, files, model::Door, ui::Ui};

/// What a command reads or writes where it was typed.
pub(super) enum Exchange<'a> {
    /// Nothing.
    Nothing,
    /// It reads a file, or standard input.
    Input(Wanted<'a>),
    /// It reads values, from any number of places.
    Values(&'a mut config::Set),
    /// It reads an env file, or JSON of variables.
    Config(&'a mut config::Import),
    /// It reads a certificate and its key, from two files or a tar.
    Certificate(&'a mut certs::Add),
    /// It writes a file.
    Output(&'a mut server::BackupDb),
}

impl Exchange<'_> {
    /// Reads what is read, and opens what is written. `arguments`: the command line that it is of.
    ///
    /// # Errors
    /// [`Error::Usage`] for a file that cannot be read or written, is too long, or is on the machine of an SSH client.
    pub(super) fn begin(self, door: Door, arguments: &[OsString], global: &Global) -> Result<()> {
        match self {
            Exchange::Nothing => Ok(()),
            Exchange::Input(wanted) => wanted.read(door, arguments, global.ui()),
            Exchange::Values(set) => set.read(door, global.ui()),
            Exchange::Config(import) => import.read(door, global.ui()),
            Exchange::Certificate(add) => add.read(door, global.ui()),
            Exchange::Output(backup) => backup.open(door, global.force),
        }
    }

    /// Reads what is read, to be sent on to a server as standard input, and makes of the command line the one that the
    /// server understands.
    ///
    /// # Errors
    /// [`Error::Usage`] for a file that cannot be read.
    pub(super) fn send(self, arguments: &mut Vec<OsString>, global: &Global) -> Result<Option<File>> {
        match self {
            Exchange::Input(Wanted { input: Input::Stdin, secret: true, prompt, .. }) if io::stdin().is_terminal() => {
                let typed = global.ui().ask_secret(prompt)?;
                files::in_memory("secret", typed.as_bytes()).map(Some)
            }
            Exchange::Input(wanted) => wanted.input.send(arguments),
            Exchange::Values(set) => {
                let Some((words, input)) = set.packed(global.ui())? else { return Ok(None) };
                *arguments = command_line(words, global);
                files::in_memory("values", input.as_bytes()).map(Some)
            }
            Exchange::Config(import) => {
                let Some((words, input)) = import.packed(global.ui())? else { return Ok(None) };
                *arguments = command_line(words, global);
                files::in_memory("config", &input).map(Some)
            }
            Exchange::Certificate(add) => {
                let Some((words, input)) = add.packed(global.ui())? else { return Ok(None) };
                *arguments = command_line(words, global);
                files::in_memory("certificate", &input).map(Some)
            }
            // The server says that the file is on another machine.
            Exchange::Nothing | Exchange::Output(_) => Ok(None),
        }
    }
}

/// The command line that a server is sent in place of what was typed.
fn command_line(words: Vec<String>, global: &Global) -> Vec<OsString> {
    let words = std::iter::once("paas".to_owned()).chain(words).chain(global.words());
    words.map(OsString::from).collect()
}

/// A file of the person who types, or standard input.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// `-`, or nothing.
    Stdin,
    /// A path on the machine where it was typed.
    File(PathBuf),
    /// What was read.
    Bytes(Vec<u8>),
}

impl FromStr for Input {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(if text == "-" { Input::Stdin } else { Input::File(PathBuf::from(text)) })
    }
}

impl Input {
    /// Opens the file to be sent on to a server, and replaces its path in the command line that goes there by `-`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a file that cannot be read.
    fn send(&self, arguments: &mut [OsString]) -> Result<Option<File>> {
        let Input::File(path) = self else { return Ok(None) };
        let file = open(path).map_err(|reason| cannot_read(path, &reason))?;
        replace_path(path, arguments);
        Ok(Some(file))
    }

    /// What was read; nothing before `read`.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Input::Bytes(bytes) => bytes,
            Input::Stdin | Input::File(_) => &[],
        }
    }
}

/// An input that a command takes, and what is to be known to read it.
pub(super) struct Wanted<'a> {
    /// The input.
    pub(super) input: &'a mut Input,
    /// What it may be.
    pub(super) bounds: Bounds,
    /// What to say if it is to be typed on a terminal.
    pub(super) prompt: &'static str,
    /// Whether it is a line that is not to be seen there.
    pub(super) secret: bool,
}

impl Wanted<'_> {
    /// Reads it. `arguments`: the command line that it is of.
    ///
    /// # Errors
    /// [`Error::Usage`] for a file that cannot be read, is too long, or is on the machine of an SSH client.
    fn read(self, door: Door, arguments: &[OsString], ui: Ui) -> Result<()> {
        let bytes = match self.input {
            Input::Bytes(_) => return Ok(()),
            Input::Stdin if self.secret && io::stdin().is_terminal() => ui.ask_secret(self.prompt)?.into_bytes(),
            Input::Stdin => self.bounds.read_stdin(self.prompt, ui)?,
            // The client's path means nothing on this machine, and this machine's files are not the client's to read.
            Input::File(path) if door != Door::Local => {
                let mut arguments = arguments.to_vec();
                replace_path(path, &mut arguments);
                let words = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
                return Err(Error::usage(
                    format!("{} is a file of your machine, and this command runs on the server", path.display()),
                    format!("give it on standard input: `ssh ... {} < {}`", shell_words::join(words), path.display()),
                ));
            }
            Input::File(path) => {
                let refuse = |reason| cannot_read(path, &reason);
                self.bounds.read_all(open(path).map_err(refuse)?)?
            }
        };
        *self.input = Input::Bytes(bytes);
        Ok(())
    }
}

/// What may be read, and how much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// What it is: `a public key`.
    pub(super) what: &'static str,
    /// The most bytes it may have.
    pub(super) limit: u64,
    /// What to give instead of one that is too long.
    pub(super) hint: &'static str,
}

impl Bounds {
    /// Reads standard input to its end. `prompt`: what to say if it is to be typed on a terminal.
    ///
    /// # Errors
    /// [`Error::Usage`] where it is too long.
    pub(super) fn read_stdin(self, prompt: &str, ui: Ui) -> Result<Vec<u8>> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            ui.talk(prompt);
        }
        self.read_all(stdin.lock())
    }

    /// Reads something to its end.
    ///
    /// # Errors
    /// [`Error::Usage`] where it is too long.
    pub(super) fn read_all(self, source: impl Read) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        source.take(self.limit + 1).read_to_end(&mut bytes).map_err(Error::io(format!("read {}", self.what)))?;
        if bytes.len() as u64 > self.limit {
            let message = format!("this is too long: {} has at most {} bytes", self.what, self.limit);
            return Err(Error::usage(message, self.hint));
        }
        Ok(bytes)
    }
}

fn replace_path(path: &Path, arguments: &mut [OsString]) {
    if let Some(word) = arguments.iter_mut().rev().find(|word| word.as_os_str() == path.as_os_str()) {
        *word = OsString::from("-");
    }
}

/// Opens a file of the person who types.
///
/// # Errors
/// Those of the system, for a directory too.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(file)
}

/// The error of a path that was typed wrongly: the user's to mend, not this machine's.
pub(super) fn cannot_read(path: &Path, reason: &io::Error) -> Error {
    Error::usage(
        format!("cannot read {}: {reason}", path.display()),
        "give the path of a file, or `-` for standard input".to_owned(),
    )
}
