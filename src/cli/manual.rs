//! The manual, from the command tree: a page a command for man(1), and the parts of docs/reference.md that would go
//! stale if they were written by hand.

use std::io::Write;

use clap::{Command, CommandFactory};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::Cli;
use crate::{Error, Kind, Result, settings};

/// The width of the help in the reference.
const WIDTH: usize = 100;

/// The pages for man(1), by file name: `paas.1`, and `paas-apps-create.1` for `paas apps:create`.
///
/// # Errors
/// [`Error::Bug`].
pub(super) fn pages() -> Result<Vec<(String, String)>> {
    let mut tree = Cli::command();
    tree.build();
    let mut pages = vec![("paas.1".to_owned(), overview(&tree)?)];
    for subcommand in commands(&tree) {
        let name = page_name(subcommand.get_name());
        let mut page = page(subcommand, &name)?;
        if subcommand.get_name() == "serve" {
            page.push_str(&list("SETTINGS", settings()));
        }
        page.push_str(&see_also(&["paas".to_owned()]));
        pages.push((format!("{name}.1"), page));
    }
    Ok(pages)
}

/// The page of the program itself, which names all others.
fn overview(tree: &Command) -> Result<String> {
    let about = |subcommand: &Command| subcommand.get_about().map(ToString::to_string).unwrap_or_default();
    let abouts = commands(tree).map(|subcommand| (subcommand.get_name().to_owned(), about(subcommand)));
    let names: Vec<String> = commands(tree).map(|subcommand| page_name(subcommand.get_name())).collect();
    let files = [
        ("/etc/paas/config.toml", "The settings. paas-serve(1) lists them, and says what else sets them."),
        ("/var/lib/paas", "What a server keeps: the database, the repositories, the keys, the logs."),
    ];
    let mut page = page(tree, "paas")?;
    page.push_str(&list("COMMANDS", abouts));
    page.push_str(&list("EXIT STATUS", exit_codes()));
    page.push_str(&list("FILES", files.map(|(path, about)| (path.to_owned(), about.to_owned()))));
    page.push_str(&see_also(&names));
    Ok(page)
}

/// What every page begins with. The name of a page is a file's, and what is typed has a colon.
fn page(command: &Command, name: &str) -> Result<String> {
    let usage = command.clone().render_usage().to_string();
    let man = Man::new(command.clone().display_name(name))
        .title(name)
        .source(format!("paas {}", env!("CARGO_PKG_VERSION")))
        .date(" ")
        .manual("paas");
    let render = |render: fn(&Man, &mut dyn Write) -> std::io::Result<()>| {
        let mut text = Vec::new();
        render(&man, &mut text).map_err(Error::bug)?;
        String::from_utf8(text).map_err(Error::bug)
    };
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]).text([roman(usage.trim_start_matches("Usage: "))]);
    Ok([
        render(Man::render_title)?,
        without_preamble(&render(Man::render_name_section)?),
        without_preamble(&synopsis.render()),
        without_preamble(&render(Man::render_description_section)?),
        without_preamble(&render(Man::render_options_section)?),
    ]
    .concat())
}

/// A section that is a list of words and what they mean.
fn list(title: &str, entries: impl IntoIterator<Item = (String, String)>) -> String {
    let mut section = Roff::new();
    section.control("SH", [title]);
    for (word, about) in entries {
        section.control("TP", []).text([bold(word)]).text([roman(about)]);
    }
    without_preamble(&section.render())
}

fn see_also(pages: &[String]) -> String {
    let pages: Vec<String> = pages.iter().map(|name| format!("{name}(1)")).collect();
    let mut section = Roff::new();
    section.control("SH", ["SEE ALSO"]).text([roman(pages.join(", "))]);
    without_preamble(&section.render())
}

/// A section as it is after another: each has the definition of the apostrophe before it that a page needs once.
fn without_preamble(section: &str) -> String {
    section.find(".SH").map_or(section, |start| &section[start..]).to_owned()
}

/// The commands with their help, for the reference.
pub(super) fn command_reference() -> String {
    let mut tree = Cli::command().term_width(WIDTH);
    tree.build();
    let mut text = format!("Options of every command, before it or after it:\n\n{}\n", global_options(&tree));
    let names: Vec<String> = commands(&tree).map(|subcommand| subcommand.get_name().to_owned()).collect();
    for name in names {
        if let Some(subcommand) = tree.find_subcommand_mut(&name) {
            // What every command has is said once.
            let own = subcommand.clone().mut_args(|argument| {
                let is_common = argument.is_global_set() || argument.get_id() == "help";
                let is_hidden = is_common || argument.is_hide_set();
                argument.hide(is_hidden)
            });
            let help = own.term_width(WIDTH).render_long_help().to_string();
            text.push_str(&format!("### paas {name}\n\n```text\n{}\n```\n\n", lines_without_trailing_blanks(&help)));
        }
    }
    text
}

/// The options of every command, for the reference.
fn global_options(tree: &Command) -> String {
    let mut table = "| option | what it does |\n|---|---|\n".to_owned();
    for option in tree.get_arguments().filter(|argument| argument.is_global_set()) {
        let (typed, about) = super::help::option(option);
        table.push_str(&format!("| `{typed}` | {about} |\n"));
    }
    table.push_str("| `-h`, `--help` | Print help: `-h` in short, `--help` in full |\n");
    table
}

/// The settings, for the reference.
pub(super) fn setting_reference() -> String {
    let mut text = "| key | variable | default | what it sets |\n|---|---|---|---|\n".to_owned();
    for key in &settings::KEYS {
        let variable = settings::variable_of(key);
        text.push_str(&format!("| `{}` | `{variable}` | {} | {} |\n", key.name, key.default, key.about));
    }
    text
}

/// The exit codes, for the reference.
pub(super) fn exit_code_reference() -> String {
    let rows = exit_codes().map(|(code, about)| format!("| {code} | {about} |\n"));
    format!("| exit code | what it says |\n|---|---|\n{}", rows.collect::<String>())
}

fn settings() -> impl Iterator<Item = (String, String)> {
    settings::KEYS.iter().map(|key| {
        let variable = settings::variable_of(key);
        (key.name.to_owned(), format!("{}. Default: {}. Variable: {variable}.", key.about, key.default))
    })
}

fn exit_codes() -> impl Iterator<Item = (String, String)> {
    let kinds = Kind::ALL.iter().map(|kind| (kind.exit_code().to_string(), kind.about().to_owned()));
    std::iter::once(("0".to_owned(), "it is done".to_owned())).chain(kinds)
}

/// The commands that are shown.
fn commands(tree: &Command) -> impl Iterator<Item = &Command> {
    tree.get_subcommands().filter(|subcommand| !subcommand.is_hide_set())
}

fn page_name(command: &str) -> String {
    format!("paas-{}", command.replace(':', "-"))
}

fn lines_without_trailing_blanks(text: &str) -> String {
    text.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
