//! Who may run what, as a table: for docs/reference.md, and for the test that walks the tree as every role.

use std::ffi::OsString;

use clap::{ArgAction, Command as Tree, CommandFactory, Parser};

use super::{Cli, Command};
use crate::{
    Error, Result,
    model::{Access, Right},
};

/// A command, an example of it, and what that needs.
#[derive(Clone, Debug)]
pub struct AccessRow {
    /// The command, with the option that makes it need more, if there is one: `config:show --reveal`.
    pub command: String,
    /// The words of a command line that clap takes, after `paas`.
    pub example: Vec<String>,
    /// The right that it needs; none: a shell on the machine.
    pub right: Option<Right>,
    /// Whether the right is asked for an app, rather than for the server.
    pub is_of_an_app: bool,
    /// Where it may come from.
    pub place: &'static str,
}

/// Words that make a command need another right than without them, by command.
const OPTIONS: [(&str, &[&str]); 5] = [
    ("config:suggest", &["--generate"]),
    ("certs:show", &["key"]),
    ("config:show", &["--reveal"]),
    ("releases:info", &["--reveal"]),
    ("ps:scale", &["web=2"]),
];

/// Commands whose arguments depend on each other, with words that they take.
const EXAMPLES: [(&str, &[&str]); 28] = [
    ("run:stop", &["blog", "7"]),
    ("certs:add", &["blog"]),
    ("certs:set", &["blog", "acme=off"]),
    ("certs:report", &["blog"]),
    ("certs:show", &["blog"]),
    ("certs:remove", &["blog"]),
    ("proxy:report", &["blog"]),
    ("proxy:set", &["blog", "compression=on"]),
    ("redirects:add", &["blog", "old.example", "example.com"]),
    ("config:set", &["blog", "A=1"]),
    ("config:show", &["blog"]),
    ("config:get", &["blog", "A"]),
    ("config:keys", &["blog"]),
    ("config:unset", &["blog", "A"]),
    ("config:clear", &["blog"]),
    ("config:export", &["blog"]),
    ("config:bundle", &["blog"]),
    ("config:import", &["blog", "-"]),
    ("config:edit", &["blog"]),
    ("apps:set", &["blog", "deploy-branch=main"]),
    ("apps:report", &["blog"]),
    ("ps:set", &["blog", "memory=64m"]),
    ("ps:report", &["blog"]),
    ("checks:set", &["blog", "timeout=30s"]),
    ("checks:report", &["blog"]),
    ("settings:set", &["keep.images", "4"]),
    ("settings:unset", &["keep.images"]),
    ("ssh-keys:remove", &["example"]),
];

/// A value that each argument takes, by the name that help shows.
const VALUES: [(&str, &str); 29] = [
    ("ROUTE", "nas.example"),
    ("TARGET", "10.0.0.7:8080"),
    ("SCHEME:HOST:CONTAINER", "tcp:5432:5432"),
    ("PORT", "5432"),
    ("CRON", "nightly"),
    ("SCHEDULE", "@daily"),
    ("COMMAND", "true"),
    ("FROM-HOST", "old.example"),
    ("DOMAIN", "example.com"),
    ("ID", "1"),
    ("APP", "blog"),
    ("ID|APP", "blog"),
    ("NAME", "example"),
    ("KEY=VALUE", "A=1"),
    ("KEY", "A"),
    ("NAME=VALUE", "timeout=30s"),
    ("TYPE", "web"),
    ("TYPE=NUMBER", "web=1"),
    ("PROPERTY", "deploy-branch"),
    ("VALUE", "main"),
    ("SHELL", "bash"),
    ("SHA256:...", "SHA256:x"),
    ("vN", "v1"),
    ("FILE", "-"),
    ("DIR", "."),
    ("USER", "ann"),
    ("PATH", "/api"),
    ("APP|ADDRESS", "shop"),
    ("URL", "https://blog.example.com/"),
];

/// Every command that is shown, and what it needs.
///
/// # Errors
/// [`Error::Bug`] for a command of which there is no example: its argument wants a line in `VALUES`.
pub fn access_table() -> Result<Vec<AccessRow>> {
    let mut rows = Vec::new();
    for subcommand in Cli::command().get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        let name = subcommand.get_name();
        rows.push(row(subcommand, &[])?);
        for (_, options) in OPTIONS.iter().filter(|(command, _)| *command == name) {
            rows.push(row(subcommand, options)?);
        }
    }
    Ok(rows)
}

fn row(subcommand: &Tree, options: &[&str]) -> Result<AccessRow> {
    let name = subcommand.get_name().to_owned();
    let mut example = vec![name.clone()];
    let given = EXAMPLES.iter().find(|(command, _)| *command == name);
    example.extend(given.iter().flat_map(|(_, words)| *words).map(|word| (*word).to_owned()));
    let is_needed = |argument: &&clap::Arg| argument.is_required_set() && given.is_none();
    for argument in subcommand.get_positionals().filter(is_needed) {
        let shown = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        let shown = shown.unwrap_or_else(|| argument.get_id().to_string().to_uppercase());
        let value = VALUES.iter().find(|(known, _)| *known == shown).map(|(_, value)| *value);
        let value = value.ok_or_else(|| Error::bug(format!("no example of {shown} for {name}")))?;
        example.push(value.to_owned());
    }
    for argument in
        subcommand.get_arguments().filter(|argument| !argument.is_positional() && argument.is_required_set())
    {
        let long = argument.get_long().ok_or_else(|| Error::bug(format!("an option of {name} has no long name")))?;
        example.push(format!("--{long}"));
        if matches!(argument.get_action(), ArgAction::Set | ArgAction::Append) {
            example.push("example".to_owned());
        }
    }
    example.extend(options.iter().map(|option| (*option).to_owned()));
    let words = std::iter::once("paas").chain(example.iter().map(String::as_str)).map(OsString::from);
    let cli = Cli::try_parse_from(words).map_err(|error| Error::bug(format!("the example of {name}: {error}")))?;
    let (right, is_of_an_app, place) = needs(&cli.command);
    let shown = [&[name.as_str()][..], options].concat().join(" ");
    Ok(AccessRow { command: shown, example, right, is_of_an_app, place })
}

fn needs(command: &Command) -> (Option<Right>, bool, &'static str) {
    match command.access() {
        Access::Here | Access::Inside => (None, false, "this machine only"),
        Access::Server(right) => (Some(right), false, "anywhere"),
        Access::App(_, right) => (Some(right), true, "anywhere"),
        Access::Operation(target, right) => (Some(right), target.is_some(), "anywhere"),
    }
}

/// The table for the reference.
///
/// # Errors
/// As [`access_table`].
pub(super) fn reference() -> Result<String> {
    let mut text = "| command | needs | from |\n|---|---|---|\n".to_owned();
    for row in access_table()? {
        let needs = match (row.right, row.is_of_an_app) {
            (Some(right), true) => format!("{right}, for the app"),
            (Some(right), false) => format!("{right}, on the server"),
            (None, _) => "a shell".to_owned(),
        };
        text.push_str(&format!("| `{}` | {needs} | {} |\n", row.command, row.place));
    }
    Ok(text)
}

/// What each role may do, for the reference.
pub(super) fn role_reference() -> String {
    use crate::model::Role;
    let mut text = "| right | what it is | who has it |\n|---|---|---|\n".to_owned();
    for right in Right::ALL {
        let roles: Vec<&str> = Role::ALL.into_iter().filter(|role| role.has(right)).map(Role::as_str).collect();
        text.push_str(&format!("| {right} | {} | {} |\n", right.about(), roles.join(", ")));
    }
    text
}
