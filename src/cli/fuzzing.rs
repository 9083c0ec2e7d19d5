//! What an SSH client may ask for, for the fuzz targets.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use super::{Asked, Cli, arguments, session_words};

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

/// What a session is asked for: the command, a line break, and standard input. It is a service of git, or a command line,
/// and what is asked for over standard input is the same as if it had come directly.
pub fn session(bytes: &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == b'\n');
    let Ok(command) = std::str::from_utf8(halves.next().unwrap_or_default()) else { return };
    let stdin = halves.next().unwrap_or_default();
    let Ok(words) = session_words(command, stdin) else { return };
    match Asked::of(&words) {
        Asked::Git(_, path) => assert_eq!(words.last(), Some(&path)),
        Asked::Lfs(refusal) => assert!(!refusal.contains('\n')),
        Asked::Command(arguments) => {
            assert!(arguments.len() >= 2);
            let line = shell_words::join(words);
            let on_stdin = session_words(&format!("line-on-stdin {}", line.len()), line.as_bytes());
            let Ok(again) = on_stdin else { panic!("{line:?} cannot come on standard input") };
            let Asked::Command(same) = Asked::of(&again) else { panic!("{line:?} is something else now") };
            assert_eq!(same, arguments);
        }
    }
}
