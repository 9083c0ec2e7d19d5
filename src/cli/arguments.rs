//! Arguments that many commands share, and what is done to a command line before clap reads it.
//!
//! On a server the first word of a command is its app. In a clone whose remote `paas` is an app of the server, or with
//! `--app` or `PAAS_APP`, the app is known: no word is taken for it, but for its very name.

use std::ffi::{OsStr, OsString};

use clap::{Args, Command};
use clap_complete::ArgValueCandidates;

use super::completions::app_names;
use crate::model::AppName;

/// The id of the argument that is an app: of [`AppArgument`] and [`OptionalApp`].
const APP: &str = "app";
/// The id of the argument that is an app, or with `--global` any word: another id, because `--app` has that of [`APP`].
pub(super) const APP_WORD: &str = "app_word";
/// The id of the argument that is an operation: of [`OperationArgument`] and [`OptionalOperation`].
const TARGET: &str = "target";

/// The app that a command is about.
#[derive(Debug, Args)]
pub(super) struct AppArgument {
    /// The app; left out in its clone, with --app, or with PAAS_APP
    #[arg(id = APP, value_name = "APP", add = ArgValueCandidates::new(app_names))]
    pub(super) app: AppName,
}

/// The app that a command is about, or all.
#[derive(Debug, Args)]
pub(super) struct OptionalApp {
    /// The app [default: that of the clone, of --app or of PAAS_APP; else all apps]
    #[arg(id = APP, value_name = "APP", add = ArgValueCandidates::new(app_names))]
    pub(super) app: Option<AppName>,
}

/// The app that a command ends for good: its name is always typed.
#[derive(Debug, Args)]
pub(super) struct NamedApp {
    /// The app, always by its name
    #[arg(id = "named", value_name = "APP", add = ArgValueCandidates::new(app_names))]
    pub(super) app: AppName,
}

/// A deploy that a command is about.
#[derive(Debug, Args)]
pub(super) struct OperationArgument {
    /// Deploy ID, or an app for its latest deploy
    #[arg(id = TARGET, value_name = "ID|APP", add = ArgValueCandidates::new(app_names))]
    pub(super) target: String,
}

/// A deploy that a command is about, or the latest.
#[derive(Debug, Args)]
pub(super) struct OptionalOperation {
    /// Deploy ID, or an app for its latest deploy [default: the latest deploy of any app]
    #[arg(id = TARGET, value_name = "ID|APP", add = ArgValueCandidates::new(app_names))]
    pub(super) target: Option<String>,
}

/// A command line, as far as it can be understood without reading all of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// The place of the command among the arguments.
    command: usize,
    /// The app of `--app`.
    app: Option<String>,
    /// The first words after the command that are not options, and their places.
    positionals: Vec<(usize, String)>,
}

/// Reads a command line as far as needed: `tree` says which options take a value.
pub(super) fn words(tree: &Command, arguments: &[OsString]) -> Option<Words> {
    let takes_value = |command: &Command, option: &str| {
        let found = command.get_arguments().chain(tree.get_arguments()).find(|argument| {
            let long = argument.get_long().map(|long| format!("--{long}"));
            let short = argument.get_short().map(|short| format!("-{short}"));
            long.as_deref() == Some(option) || short.as_deref() == Some(option)
        });
        found.is_some_and(|argument| argument.get_action().takes_values())
    };
    let mut app = None;
    let mut command: Option<(usize, &Command)> = None;
    let mut positionals = Vec::new();
    let mut only_words = false;
    let mut index = 1;
    while index < arguments.len() {
        let word = arguments[index].to_str().unwrap_or_default();
        if !only_words && word == "--" && command.is_some() {
            only_words = true;
        } else if !only_words && word.starts_with('-') && word.len() > 1 {
            let current = command.map_or(tree, |(_, command)| command);
            if let Some(value) = word.strip_prefix("--app=") {
                app = Some(value.to_owned());
            } else if word == "--app" {
                app = arguments.get(index + 1).and_then(|value| value.to_str()).map(str::to_owned);
                index += 1;
            } else if takes_value(current, word) {
                index += 1;
            }
        } else if command.is_none() {
            command = Some((index, tree.find_subcommand(word)?));
        } else {
            positionals.push((index, word.to_owned()));
            // What follows the first word is a program's, but for the app's name before it: no option of ours.
            only_words |= command.is_some_and(|(_, command)| runs_words(command));
        }
        index += 1;
    }
    Some(Words { command: command?.0, app, positionals })
}

/// Whether the words of a command are those of a program.
fn runs_words(command: &Command) -> bool {
    command.get_positionals().any(clap::Arg::is_trailing_var_arg_set)
}

/// Puts the app that is known into a command line that leaves it out, so that clap reads it as on a server.
///
/// `known`: the app of the clone or of `PAAS_APP`; `--app` in the line wins.
pub(super) fn with_app(tree: &Command, arguments: &[OsString], known: Option<&AppName>) -> Vec<OsString> {
    let mut arguments = with_form(tree, arguments);
    let Some(words) = words(tree, &arguments) else { return arguments };
    let Some(app) = words.app.clone().or_else(|| known.map(ToString::to_string)) else { return arguments };
    let command = arguments.get(words.command).and_then(|word| tree.find_subcommand(word));
    let first = command.and_then(|command| command.get_positionals().next());
    let is_left_out = match first.map(|argument| argument.get_id().as_str()) {
        // All apps are meant, and no word is an app.
        Some(APP_WORD) if arguments.iter().any(|word| word == "--global") => false,
        Some(APP | APP_WORD) => words.positionals.first().is_none_or(|(_, word)| *word != app),
        // A number is a deploy, and a name is another app's.
        Some(TARGET) => words.positionals.is_empty(),
        _ => false,
    };
    if is_left_out {
        arguments.insert(words.command + 1, OsString::from(app));
    }
    arguments
}

/// Makes of Dokku's `--format FORMAT`, where it says what form of a config is meant, the option `--as`: `--format` is how
/// any command prints. With `json` it is both.
fn with_form(tree: &Command, arguments: &[OsString]) -> Vec<OsString> {
    let is_meant = words(tree, arguments).is_some_and(|words| {
        let command = arguments.get(words.command).and_then(|word| word.to_str());
        matches!(command, Some("config:export" | "config:import"))
    });
    let mut meant = Vec::new();
    let mut rest = arguments.iter().peekable();
    let is_said = arguments.iter().any(|word| word.to_str().is_some_and(|word| word.split('=').next() == Some("--as")));
    while let Some(word) = rest.next() {
        let text = word.to_str().unwrap_or_default();
        let value = match text.strip_prefix("--format=") {
            Some(value) => Some(value.to_owned()),
            None if text == "--format" => rest.peek().and_then(|value| value.to_str()).map(str::to_owned),
            None => None,
        };
        let Some(value) = value.filter(|_| is_meant) else {
            meant.push(word.clone());
            continue;
        };
        if text == "--format" {
            rest.next();
        }
        if matches!(&*value, "text" | "json") {
            meant.push(OsString::from(format!("--format={value}")));
        }
        if value != "text" && !is_said {
            meant.push(OsString::from(format!("--as={value}")));
        }
    }
    meant
}

/// Whether a command line asks for JSON, told before clap has read it.
pub(super) fn asks_for_json(arguments: &[OsString]) -> bool {
    let json = OsStr::new("json");
    arguments.iter().any(|word| word == "--format=json")
        || arguments.windows(2).any(|pair| pair[0] == "--format" && pair[1] == json)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn completed(line: &str, known: Option<&str>) -> String {
        let tree = super::super::Cli::command();
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let known = known.map(|app| app.parse().unwrap());
        let words = with_app(&tree, &arguments, known.as_ref());
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_app_that_is_known_is_left_out() {
        for (line, meant) in [
            ("paas logs", "paas logs blog"),
            ("paas logs blog", "paas logs blog"),
            ("paas logs -n 5", "paas logs blog -n 5"),
            ("paas logs -p web -f", "paas logs blog -p web -f"),
            ("paas config:set A=1", "paas config:set blog A=1"),
            ("paas config:set blog A=1", "paas config:set blog A=1"),
            ("paas config:get A", "paas config:get blog A"),
            ("paas ps:restart web", "paas ps:restart blog web"),
            ("paas ps:set memory 1g", "paas ps:set blog memory 1g"),
            ("paas ps:set --global memory 1g", "paas ps:set --global memory 1g"),
            ("paas --app shop logs", "paas --app shop logs shop"),
            ("paas logs --app=shop", "paas logs shop --app=shop"),
            ("paas --app shop config:get A", "paas --app shop config:get shop A"),
            ("paas deploys:info", "paas deploys:info blog"),
            ("paas deploys:info 12", "paas deploys:info 12"),
            ("paas --config x logs", "paas --config x logs blog"),
            ("paas config:export --format shell", "paas config:export blog --as=shell"),
            ("paas config:export blog --format=json", "paas config:export blog --format=json --as=json"),
            ("paas config:export blog --format json --as=json", "paas config:export blog --format=json --as=json"),
            ("paas config:export --format text", "paas config:export blog --format=text"),
            ("paas config:import --format envfile -", "paas config:import blog --as=envfile -"),
            ("paas config:show --format json", "paas config:show blog --format json"),
            ("paas config:keys --global", "paas config:keys --global"),
            ("paas config:get --global A", "paas config:get --global A"),
            // A program's words are its own.
            ("paas run ls", "paas run blog ls"),
            ("paas run blog ls", "paas run blog ls"),
            ("paas run -e A=1 ls --app=x", "paas run blog -e A=1 ls --app=x"),
            ("paas run ls --app x", "paas run blog ls --app x"),
            ("paas run blog ls --app x", "paas run blog ls --app x"),
            ("paas --app shop run ls -l", "paas --app shop run shop ls -l"),
            ("paas enter", "paas enter blog"),
            ("paas enter worker.1 ls -l", "paas enter blog worker.1 ls -l"),
            ("paas run:stop 7", "paas run:stop blog 7"),
            // What makes or destroys an app, or is about none, is left as it is.
            ("paas apps:create shop", "paas apps:create shop"),
            ("paas apps:destroy", "paas apps:destroy"),
            ("paas apps:list", "paas apps:list"),
            ("paas nonsense", "paas nonsense"),
            ("paas", "paas"),
        ] {
            assert_eq!(completed(line, Some("blog")), meant, "{line}");
        }
        assert_eq!(completed("paas logs", None), "paas logs");
        assert_eq!(completed("paas --app shop logs", None), "paas --app shop logs shop");
    }
}
