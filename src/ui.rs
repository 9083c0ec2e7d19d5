//! The only code that prints. Data goes to stdout; talk goes to stderr; no cursor is moved where stderr is no terminal.

mod deploy_log;
pub mod escapes;
mod secret;
pub mod streams;
mod table;

use std::{
    borrow::Cow,
    io::{IsTerminal, Write},
};

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

/// What a value looks like to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// Nothing: the talk beside it says enough.
    Nothing,
    /// A line, or several.
    Line(String),
    /// Rows under a header; nothing at all if there are no rows.
    Table {
        /// The names of the columns.
        header: Vec<&'static str>,
        /// The rows, as wide as the header.
        rows: Vec<Vec<String>>,
    },
    /// Names and values, a pair a line.
    Facts(Vec<(Cow<'static, str>, String)>),
    /// One after the other, with a blank line between those that are not empty.
    Parts(Vec<Text>),
}

impl Text {
    /// Rows under a header.
    pub fn table<const N: usize>(header: [&'static str; N], rows: impl IntoIterator<Item = [String; N]>) -> Text {
        Text::Table { header: header.to_vec(), rows: rows.into_iter().map(Vec::from).collect() }
    }

    /// Names and values, a pair a line.
    pub fn facts<N: Into<Cow<'static, str>>>(facts: impl IntoIterator<Item = (N, String)>) -> Text {
        Text::Facts(facts.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// The lines.
    fn render(&self) -> String {
        match self {
            Text::Nothing => String::new(),
            Text::Line(text) => text.clone(),
            // A header over nothing says nothing.
            Text::Table { rows, .. } if rows.is_empty() => String::new(),
            // Errors of apps, messages of other users: what is in them is not for the terminal to obey.
            Text::Table { header, rows } => escapes::harmless(&table::table(header, rows)).into_owned(),
            Text::Facts(facts) => escapes::harmless(&table::facts(facts)).into_owned(),
            Text::Parts(parts) => {
                let parts = parts.iter().map(Text::render).filter(|part| !part.is_empty());
                parts.map(|part| part.trim_end_matches('\n').to_owned()).collect::<Vec<_>>().join("\n\n")
            }
        }
    }
}

/// What a command answers: the same value for programs, as JSON, and for people, as text.
pub trait Show: Serialize {
    /// What people see.
    fn text(&self) -> Text;
}

/// A dash for what is not there, as tables and facts have it.
pub fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

/// Lines, or a dash if there are none.
pub fn lines_or_dash(lines: impl IntoIterator<Item = String>) -> String {
    let lines: Vec<String> = lines.into_iter().collect();
    or_dash((!lines.is_empty()).then(|| lines.join("\n")))
}

/// Where a command's words go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ui {
    /// How data is written, and errors.
    pub format: Format,
    /// Whether only data and errors are written, and no talk.
    pub quiet: bool,
}

impl Ui {
    /// Writes an answer: as text for people, as a JSON document for programs.
    ///
    /// # Errors
    /// [`Error::Host`] where stdout cannot be written.
    pub fn show(self, answer: &impl Show) -> Result<()> {
        match self.format {
            Format::Text => match answer.text().render() {
                text if text.is_empty() => Ok(()),
                text => self.line(&text),
            },
            Format::Json => self.json(answer),
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

    /// Writes a line of a log to stdout. Where it may reach a terminal, it gives that no orders: only a file gets it as
    /// it is.
    ///
    /// # Errors
    /// As [`Ui::raw`].
    pub fn log_line(self, line: &str) -> Result<()> {
        let is_file = rustix::fs::fstat(std::io::stdout())
            .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file());
        let line = if is_file { Cow::Borrowed(line) } else { escapes::harmless(line) };
        self.raw(format!("{line}\n").as_bytes())
    }

    /// Writes a JSON document to stdout, in a line.
    ///
    /// # Errors
    /// As [`Ui::raw`].
    pub fn record(self, record: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(record).map_err(Error::bug)?;
        self.raw(format!("{line}\n").as_bytes())
    }

    /// Looks whether anybody still reads stdout.
    ///
    /// # Errors
    /// A silent one where nobody does, to end what would go on.
    pub fn is_read(self) -> Result<()> {
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

    /// Says something to the user: a line on stderr. A program that reads JSON is not talked to.
    pub fn talk(self, text: &str) {
        if self.talks() {
            to_stderr(text);
        }
    }

    /// Whether somebody is there to be talked to.
    pub fn talks(self) -> bool {
        !self.quiet && self.format == Format::Text
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

    /// Says what went wrong, why, and what to type; as a JSON document for programs.
    pub fn error(self, error: &Error) {
        match self.format {
            // It may have the last lines of an app.
            Format::Text => to_stderr(&escapes::harmless(&error_text(error))),
            Format::Json => to_stderr(&error_json(error)),
        }
    }
}

fn to_stderr(text: &str) {
    // Nobody to talk to is no reason to fail.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// An error for programs: `kind`, `message`, `hint`, `exit_code`, and `detail`: the last lines that an app printed, if it
/// did.
fn error_json(error: &Error) -> String {
    let kind = error.kind();
    let document = serde_json::json!({
        "kind": kind.as_str(),
        "message": error.one_line(),
        "hint": error.hint(),
        "detail": error.detail(),
        "exit_code": kind.exit_code(),
    });
    format!("{document:#}")
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

/// Whether somebody sits at all three streams.
pub fn is_at_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}

fn quiet(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("write to stdout")(error)),
        _ => Ok(()),
    }
}
