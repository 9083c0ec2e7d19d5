//! Asking for something that nobody else shall see.

use std::io::{IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::Ui;
use crate::{Error, Result};

/// The keys that mean something while a secret is typed: Ctrl-C, Ctrl-D, the two of backspace, Ctrl-U.
const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: [u8; 2] = [8, 127];
const CLEAR: u8 = 21;

impl Ui {
    /// Asks the user to type a secret, on stderr, and reads a line from the terminal without showing it.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is no terminal, and for what is no text; [`Error::Interrupted`].
    pub fn ask_secret(self, question: &str) -> Result<String> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Err(Error::usage(
                "there is no terminal to type the value on",
                "give the value on standard input: `--from-file KEY=-`, or `--stdin` for an env file; over ssh, \
                 `ssh -t` gives a terminal",
            ));
        }
        let _hidden = Hidden::begin().map_err(|error| Error::io("hide what is typed")(error.into()))?;
        let mut err = std::io::stderr().lock();
        drop(write!(err, "{question} ").and_then(|()| err.flush()));
        let mut typed = Vec::new();
        let read = read_line(stdin.lock(), &mut typed);
        drop(writeln!(err));
        read?;
        String::from_utf8(typed).map_err(|_| Error::usage("the value is not valid UTF-8", "type it again"))
    }
}

/// Reads a line that no terminal edits: the keys that edit come as they are.
fn read_line(mut terminal: impl Read, typed: &mut Vec<u8>) -> Result<()> {
    let mut byte = [0; 1];
    loop {
        let count = terminal.read(&mut byte).map_err(Error::io("read the value"))?;
        match byte[0] {
            // Where nobody sits at the terminal any more, nobody has finished.
            _ if count == 0 => return Err(Error::Interrupted),
            b'\n' | b'\r' => return Ok(()),
            END if !typed.is_empty() => return Ok(()),
            INTERRUPT | END => return Err(Error::Interrupted),
            CLEAR => typed.clear(),
            key if BACKSPACE.contains(&key) => {
                // A character may have several bytes; all but its first begin with the bits 10.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            other => typed.push(other),
        }
    }
}

/// A terminal that shows nothing of what is typed, and neither edits a line nor cuts it, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> rustix::io::Result<Hidden> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut hidden = before.clone();
        // Ctrl-C comes as a key too: as a signal it would end us, and the terminal would stay as it is now.
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
        Ok(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> Option<String> {
        let mut typed = Vec::new();
        read_line(keys.as_bytes(), &mut typed).ok()?;
        String::from_utf8(typed).ok()
    }

    #[test]
    fn keys_that_edit_edit_and_all_others_are_the_secret() {
        let long = "x".repeat(100_000);
        for (keys, value) in [
            ("hunter2\n", Some("hunter2")),
            ("hunter2\r", Some("hunter2")),
            (" a b \nrest", Some(" a b ")),
            ("ab\u{7f}c\n", Some("ac")),
            ("aü\u{8}\u{7f}\u{7f}\u{7f}b\n", Some("b")),
            ("wrong\u{15}right\n", Some("right")),
            ("a\u{4}", Some("a")),
            ("\n", Some("")),
            ("\u{4}", None),
            ("a\u{3}", None),
            ("a", None),
            (&format!("{long}\n"), Some(&*long)),
        ] {
            assert_eq!(typed(keys).as_deref(), value, "{keys:?}");
        }
    }
}
