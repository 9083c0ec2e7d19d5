//! What an SSH client may ask for, for the fuzz targets.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use super::{Cli, arguments};

/// A command line, as it comes by SSH: it is read as a command, which says who may run it, or refused with a message.
pub fn command_line(text: &str) {
    let Ok(words) = shell_words::split(text) else { return };
    let typed: Vec<OsString> = std::iter::once("paas".to_owned()).chain(words).map(OsString::from).collect();
    let typed = arguments::with_app(&Cli::command(), &typed, None);
    match Cli::try_parse_from(typed) {
        Ok(cli) => drop(cli.command.access()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
