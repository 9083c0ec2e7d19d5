//! Help as people look for it: `paas`, `paas help`, `paas help NOUN`, `paas NOUN`, `paas help COMMAND`, and what was
//! probably meant by a word that is no command.
//!
//! clap knows each command and its page, but lists all of them in one column. The pages here are made from its tree: a
//! command is in the group of its noun, and the line of a group is the doc comment of its commands.

use std::{ffi::OsString, fmt::Write};

use clap::{
    Arg, Command as Tree, CommandFactory, Subcommand,
    builder::{StyledStr, Styles},
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Cli;
use crate::{Error, Result};

/// How many commands are suggested in place of one that does not exist.
const SUGGESTIONS: usize = 3;

/// How alike a word and a suggestion have to be: 1 is the same, 0 has nothing in common.
const ALIKE: f64 = 0.55;

/// What a word is worth that is only the second half of a command: `list` for `apps:list`.
const HALF: f64 = 0.9;

/// Commands that are listed together.
struct Group {
    /// What `paas help` takes for it: the noun, or what its commands are about.
    name: &'static str,
    /// What it says of itself.
    about: String,
    /// Its commands.
    commands: Vec<Tree>,
}

/// Answers a command line that asks for help, or whose command does not exist. None: clap's own answer is the right one.
///
/// # Errors
/// [`Error::Usage`] for a word that is no command, no noun, and not `help`.
pub(super) fn answer(error: &clap::Error, arguments: &[OsString]) -> Option<Result<()>> {
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Some(overview()),
        ErrorKind::DisplayHelp if !is_about_a_command(arguments) => Some(overview()),
        ErrorKind::InvalidSubcommand => {
            let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
            let after = arguments.iter().skip_while(|argument| *argument != word.as_str()).nth(1);
            let after = after.and_then(|word| word.to_str()).filter(|word| !word.starts_with('-'));
            Some(match (word.as_str(), after) {
                ("help", None) => overview(),
                ("help", Some(topic)) => about(topic),
                (noun, None) => about(noun),
                // `apps list` is the way of others to say `apps:list`.
                (noun, Some(verb)) if is_noun(noun) => Err(unknown(&format!("{noun}:{verb}"))),
                (word, Some(_)) => Err(unknown(word)),
            })
        }
        _ => None,
    }
}

/// Whether a command stands before the `--help` of a command line.
fn is_about_a_command(arguments: &[OsString]) -> bool {
    let tree = Cli::command();
    let before = arguments.iter().skip(1).take_while(|argument| *argument != "--help" && *argument != "-h");
    before.filter_map(|argument| argument.to_str()).any(|word| tree.find_subcommand(word).is_some())
}

/// Shows all commands.
fn overview() -> Result<()> {
    show(overview_page())
}

/// Shows what there is about a noun or a command.
fn about(topic: &str) -> Result<()> {
    if let Some(group) = groups().into_iter().find(|group| group.name == topic && !is_command(topic)) {
        return show(group_page(&group));
    }
    let mut tree = Cli::command();
    tree.build();
    match tree.find_subcommand_mut(topic).filter(|command| !command.is_hide_set()) {
        Some(command) => {
            // Where nobody reads it there is nothing more to do.
            drop(command.print_long_help());
            Ok(())
        }
        None => Err(unknown(topic)),
    }
}

/// Prints a page as clap prints its own: with colours where they are wanted.
fn show(page: StyledStr) -> Result<()> {
    // As above.
    drop(Cli::command().override_help(page).print_help());
    Ok(())
}

/// The error for a word that is no command.
fn unknown(word: &str) -> Error {
    let meant = suggestions(word);
    let hint = match meant.split_last() {
        None => "`paas help` lists the commands".to_owned(),
        Some((only, [])) => format!("did you mean '{only}'? `paas help` lists the commands"),
        Some((last, rest)) => {
            format!("did you mean '{}' or '{last}'? `paas help` lists the commands", rest.join("', '"))
        }
    };
    Error::usage(format!("there is no command '{}'", word.escape_debug()), hint)
}

/// The commands and nouns that a word was probably meant to be, the likeliest first.
fn suggestions(word: &str) -> Vec<String> {
    let word = word.to_lowercase();
    let groups = groups();
    let commands = groups.iter().flat_map(|group| &group.commands).map(|command| command.get_name().to_owned());
    let nouns = groups.iter().filter(|group| is_noun(group.name)).map(|group| group.name.to_owned());
    let mut scored: Vec<(f64, String)> = nouns.chain(commands).map(|name| (likeness(&word, &name), name)).collect();
    scored.retain(|(score, _)| *score >= ALIKE);
    // Of what is equally alike, the tree's order.
    scored.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    scored.truncate(SUGGESTIONS);
    scored.into_iter().map(|(_, name)| name).collect()
}

/// How alike a word is to a command, or to its second half if it is half a command itself.
fn likeness(word: &str, name: &str) -> f64 {
    let whole = strsim::normalized_damerau_levenshtein(word, name);
    match name.split_once(':') {
        Some((_, verb)) if !word.contains(':') => whole.max(HALF * strsim::normalized_damerau_levenshtein(word, verb)),
        _ => whole,
    }
}

/// Whether a word is what commands begin with: `apps`.
fn is_noun(word: &str) -> bool {
    Cli::command().get_subcommands().any(|command| {
        !command.is_hide_set() && command.get_name().split_once(':').is_some_and(|(noun, _)| noun == word)
    })
}

fn is_command(word: &str) -> bool {
    Cli::command().find_subcommand(word).is_some()
}

/// The commands that are shown, by what they are about.
fn groups() -> Vec<Group> {
    let mut groups = vec![
        group::<super::apps::Command>("apps"),
        group::<super::config::Command>("config"),
        group::<super::processes::Command>("ps"),
        group::<super::checks::Command>("checks"),
        group::<super::certs::Command>("certs"),
        group::<super::domains::Command>("domains"),
        group::<super::pauses::Command>("pauses"),
        group::<super::redirects::Command>("redirects"),
        group::<super::routes::Command>("routes"),
        group::<super::ports::Command>("ports"),
        group::<super::maintenance::Command>("maintenance"),
        group::<super::proxy::Command>("proxy"),
        group::<super::cron::Command>("cron"),
        group::<super::deploys::Command>("deploys"),
        group::<super::releases::Command>("releases"),
        group::<super::operations::Command>("operations"),
        Group { name: "logs", about: "Logs: what processes print".to_owned(), commands: command("logs") },
        group::<super::runs::Command>("run"),
        group::<super::ssh_keys::Command>("ssh-keys"),
        group::<super::buildpacks::Command>("buildpacks"),
        group::<super::server::Command>("server"),
        group::<super::settings::Command>("settings"),
        group::<super::secrets::Command>("secrets"),
        group::<super::jobs::Command>("jobs"),
        group::<super::here::Command>("here"),
    ];
    // A command that works elsewhere than the others of its noun is still of that noun.
    let mut moved = Vec::new();
    for group in &mut groups {
        let (own, other) = std::mem::take(&mut group.commands)
            .into_iter()
            .partition(|command| command.get_name().split_once(':').is_none_or(|(noun, _)| noun == group.name));
        group.commands = own;
        let other: Vec<Tree> = other;
        moved.extend(other);
    }
    for command in moved {
        let noun = command.get_name().split(':').next().unwrap_or_default().to_owned();
        if let Some(group) = groups.iter_mut().find(|group| group.name == noun) {
            group.commands.push(command);
        }
    }
    groups
}

/// The group that an enum of commands makes.
fn group<Commands: Subcommand>(name: &'static str) -> Group {
    let tree = Commands::augment_subcommands(Tree::default());
    let commands = tree.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    Group { name, about: tree.get_about().map(ToString::to_string).unwrap_or_default(), commands }
}

/// One command of the tree, as a list.
fn command(name: &str) -> Vec<Tree> {
    Cli::command().find_subcommand(name).cloned().into_iter().collect()
}

fn overview_page() -> StyledStr {
    let tree = Cli::command();
    let (header, literal) = styles();
    let mut page = StyledStr::new();
    let about = tree.get_about().map(ToString::to_string).unwrap_or_default();
    let groups = groups();
    let width = groups.iter().map(widest).max().unwrap_or_default();
    // Writing to memory does not fail.
    let _ = writeln!(page, "{about}\n\n{header}Usage:{header:#} {literal}paas{literal:#} [OPTIONS] COMMAND");
    for group in &groups {
        list(&mut page, group, width);
    }
    let _ = writeln!(page, "\n{header}Options of every command{header:#}");
    let options: Vec<(String, String)> =
        tree.get_arguments().filter(|option| option.is_global_set()).map(option).collect();
    let width = options.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, about) in options {
        let _ = writeln!(page, "  {literal}{name:width$}{literal:#}  {about}");
    }
    let _ = write!(page, "\n`paas help NOUN` lists the commands of a noun, `paas help COMMAND` explains a command.");
    page
}

fn group_page(group: &Group) -> StyledStr {
    let mut page = StyledStr::new();
    list(&mut page, group, widest(group));
    let _ = write!(page, "\n`paas help COMMAND` explains a command.");
    page
}

/// A group's line, and a line for each of its commands.
fn list(page: &mut StyledStr, group: &Group, width: usize) {
    let (header, literal) = styles();
    let before = if page.to_string().is_empty() { "" } else { "\n" };
    let _ = writeln!(page, "{before}{header}{}{header:#}", group.about);
    for command in &group.commands {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "  {literal}{:width$}{literal:#}  {about}", command.get_name());
    }
}

fn widest(group: &Group) -> usize {
    group.commands.iter().map(|command| command.get_name().len()).max().unwrap_or_default()
}

/// An option as it is typed, and what it does.
pub(super) fn option(option: &Arg) -> (String, String) {
    let name = option.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    let about = option.get_help().map(ToString::to_string).unwrap_or_default();
    if !option.get_action().takes_values() {
        return (name, about);
    }
    let choices: Vec<String> = option.get_possible_values().iter().map(|choice| choice.get_name().to_owned()).collect();
    let names = option.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let value = if choices.is_empty() { names.unwrap_or_default() } else { choices.join("|") };
    (format!("{name} <{value}>"), about)
}

/// clap's own look of a heading, and of what is typed as it is.
fn styles() -> (clap::builder::styling::Style, clap::builder::styling::Style) {
    let styles = Styles::styled();
    (*styles.get_header(), *styles.get_literal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_is_in_the_overview_once() {
        let page = overview_page().to_string();
        for name in super::super::command_names() {
            let lines = page.lines().filter(|line| line.trim_start().split(' ').next() == Some(&name)).count();
            assert_eq!(lines, 1, "{name} in\n{page}");
        }
        for hidden in ["hook", "edge", "build-caps", "firewall"] {
            assert!(!page.contains(&format!("  {hidden} ")), "{hidden}");
        }
        for group in groups() {
            assert!(group.about.len() > 10 && !group.commands.is_empty(), "{}: {:?}", group.name, group.about);
            assert!(page.contains(&group.about), "{}", group.about);
        }
        assert!(page.lines().all(|line| line.len() <= 100), "a line is too long in\n{page}");
    }

    #[test]
    fn the_likeliest_is_suggested_first_and_three_at_most() {
        for (typed, first) in [
            ("app:list", "apps:list"),
            ("apps:crate", "apps:create"),
            ("apps:craete", "apps:create"),
            ("APPS:LIST", "apps:list"),
            ("config:sett", "config:set"),
            ("deploy:list", "deploys:list"),
            ("ssh-key:add", "ssh-keys:add"),
            ("app", "apps"),
            ("release", "releases"),
            ("log", "logs"),
            ("list", "apps:list"),
            ("rollback", "releases:rollback"),
            ("scale", "ps:scale"),
        ] {
            let meant = suggestions(typed);
            assert_eq!(meant.first().map(String::as_str), Some(first), "{typed}: {meant:?}");
            assert!(meant.len() <= 3, "{typed}: {meant:?}");
        }
        for nonsense in ["", "x", "cat", "bash", "qwertyuiop", "\u{1f600}", &"x".repeat(10_000)] {
            assert_eq!(suggestions(nonsense), Vec::<String>::new(), "{nonsense:?}");
        }
        for hidden in ["hook", "edge", "resolve", "build-cap"] {
            let meant = suggestions(hidden);
            assert!(
                !meant.iter().any(|name| ["hook", "edge", "build-caps", "firewall"].contains(&name.as_str())),
                "{meant:?}"
            );
        }
    }
}
