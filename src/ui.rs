//! The only code that prints. Data goes to stdout; talk goes to stderr; no cursor is moved where stderr is no terminal.

mod deploy_log;
mod table;

use std::io::{IsTerminal, Write};

pub use deploy_log::DeployLog;
use serde::Serialize;

use crate::{Error, Kind, Result};

/// How data is written to stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Where a command's words go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ui {
    /// How data is written.
    pub format: Format,
}

impl Ui {
    /// Writes rows: a table with a header for people (nothing where there are none), `records` as a JSON array for programs.
    ///
    /// # Errors
    /// [`Error::Host`] where stdout cannot be written.
    pub fn table<const N: usize>(
        self,
        header: [&str; N],
        rows: &[[String; N]],
        records: &impl Serialize,
    ) -> Result<()> {
        match self.format {
            // A header over nothing says nothing.
            Format::Text if rows.is_empty() => Ok(()),
            Format::Text => self.line(&table::table(&header, rows)),
            Format::Json => self.json(records),
        }
    }

    /// Writes facts: a line each for people, `record` as a JSON object for programs.
    ///
    /// # Errors
    /// [`Error::Host`] where stdout cannot be written.
    pub fn facts(self, facts: &[(&str, String)], record: &impl Serialize) -> Result<()> {
        match self.format {
            Format::Text => self.line(&table::facts(facts)),
            Format::Json => self.json(record),
        }
    }

    /// Writes lines of data to stdout as they are, with a final newline.
    ///
    /// # Errors
    /// [`Error::Host`] where stdout cannot be written. A closed pipe is no error: who reads has read enough.
    pub fn line(self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        quiet(write!(out, "{text}{newline}").and_then(|()| out.flush()))
    }

    /// Writes bytes of data to stdout as they are.
    ///
    /// # Errors
    /// [`Error::Host`] where stdout cannot be written; a silent one where nobody reads it any more, to end what would go
    /// on.
    pub fn raw(self, bytes: &[u8]) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Error::Silent(Kind::Interrupted),
            _ => Error::io("write to stdout")(error),
        })
    }

    /// Writes a line of a log to stdout; an empty one only looks whether anybody still reads.
    ///
    /// # Errors
    /// As [`Ui::raw`].
    pub fn log_line(self, line: &str) -> Result<()> {
        if !line.is_empty() {
            return self.raw(format!("{line}\n").as_bytes());
        }
        let stdout = std::io::stdout();
        let mut polled = [rustix::event::PollFd::new(&stdout, rustix::event::PollFlags::empty())];
        let gone = rustix::event::PollFlags::ERR | rustix::event::PollFlags::HUP;
        match rustix::event::poll(&mut polled, Some(&rustix::time::Timespec::default())) {
            Ok(_) if polled[0].revents().intersects(gone) => Err(Error::Silent(Kind::Interrupted)),
            _ => Ok(()),
        }
    }

    /// Writes a JSON document to stdout.
    ///
    /// # Errors
    /// [`Error::Host`] where stdout cannot be written.
    pub fn json(self, record: &impl Serialize) -> Result<()> {
        self.line(&serde_json::to_string_pretty(record).map_err(Error::bug)?)
    }

    /// Says something to the user: a line on stderr.
    pub fn talk(self, text: &str) {
        // Nobody to talk to is no reason to fail.
        drop(writeln!(std::io::stderr().lock(), "{text}"));
    }

    /// Asks the user to type something, on stderr, and reads a line from stdin.
    ///
    /// # Errors
    /// [`Error::Host`] where stdin cannot be read.
    pub fn ask(self, question: &str) -> Result<String> {
        let mut err = std::io::stderr().lock();
        drop(write!(err, "{question} ").and_then(|()| err.flush()));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map_err(Error::io("read the answer"))?;
        Ok(answer.trim().to_owned())
    }

    /// Says what went wrong, why, and what to type.
    pub fn error(self, error: &Error) {
        self.talk(&error_text(error));
    }

    /// Whether stderr is a terminal.
    pub fn is_terminal(self) -> bool {
        std::io::stderr().is_terminal()
    }
}

/// An error for people: what, why, the last output, a blank line and the hint.
pub fn error_text(error: &Error) -> String {
    let mut text = format!("error: {}", error.one_line());
    if let Some(detail) = error.detail() {
        text.push_str(&format!(
            "

{detail}"
        ));
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\n\nhint: {hint}"));
    }
    text
}

fn quiet(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("write to stdout")(error)),
        _ => Ok(()),
    }
}
