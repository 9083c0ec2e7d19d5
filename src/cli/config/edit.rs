//! `config:edit`: the editor runs where it is typed. The config is fetched by `config:export` and brought back by
//! `config:import`, as somebody would by hand: on this machine by this same program, from a laptop over ssh. Both ask what
//! the user may do.

use std::{
    ffi::OsString,
    fs::{OpenOptions, Permissions},
    io::{IsTerminal, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    process::Stdio,
};

use clap::Args;
use tokio::process::Command;

use super::{
    super::{Global, remote},
    Target, When, alone, target_word,
};
use crate::{
    Error, Result, exec, files,
    model::{ConfigMap, config_digest, parse_env_file, write_env_file},
    settings,
    ui::Ui,
};

/// Edit all config variables of an app in your editor
///
/// The editor is `$VISUAL`, `$EDITOR` or `vi`, and runs on the machine where you type, also in a clone. What you save is
/// set, and what you remove is removed, as one change; a text that cannot be read is shown to you again. If somebody else
/// changed the config meanwhile, nothing is changed (exit code 6). The text is in a private directory, in memory where the
/// machine has such a place, and is removed afterwards.
#[derive(Debug, Args)]
pub(in crate::cli) struct Edit {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    when: When,
}

/// What stands above the variables in the editor.
const HEAD: &str = "\
# One KEY=VALUE a line. Quote what has blanks at its ends, several lines, or a # after a blank:
# in single quotes all is as it stands; in double quotes \\n, \\t, \\\", \\$ and \\\\ mean something.
# What you remove is removed. Save and close to set it; leave it as it is to change nothing.
";

impl Edit {
    /// Over ssh the editor would run on the server, as the server.
    pub(super) fn refuse(self) -> Result<()> {
        alone(&self.target)?;
        Err(Error::usage(
            "config:edit works where an editor runs as you: in a clone of the app, or in a shell on the server",
            "over ssh: `ssh ... config:export APP --format envfile > config.env`, edit it, and `ssh ... config:import APP \
             --replace < config.env`",
        ))
    }

    /// Fetches, edits and brings back. `server`: the one that it is on; none: this machine.
    pub(in crate::cli) fn run(self, server: Option<&remote::Server>, global: &Global) -> Result<()> {
        alone(&self.target)?;
        let editor = editor()?;
        let target = target_word(&self.target)?;
        let command = |words: &[&str]| -> Result<Command> {
            let words = words.iter().map(|word| (*word).to_owned()).chain(global.words());
            let words: Vec<OsString> = words.map(OsString::from).collect();
            match server {
                Some(server) => Ok(server.command(&words)),
                None => {
                    let mut command = exec::command_of_user(&exec::own_binary()?.to_string_lossy());
                    command.args(words);
                    if let Some(config) = &global.config {
                        command.arg("--config").arg(config);
                    }
                    Ok(command)
                }
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::io("start"))?;
        runtime.block_on(async {
            let before = exec::captured(command(&["config:export", &target, "--as=envfile"])?).await?;
            let known: ConfigMap = parse_env_file(&before).map_err(Error::bug)?.into_iter().collect();
            let ui = global.ui();
            let Some(edited) = edit(ui, &editor, &before).await?.filter(|edited| *edited != known) else {
                ui.talk("nothing to change: the text is as it was");
                return Ok(());
            };
            let mut input = format!("# {}\n", config_digest(&known));
            input.push_str(&write_env_file(edited.iter().map(|(key, value)| (key, value.as_str()))));
            let when: Vec<String> = self.when.words().collect();
            let mut words = vec!["config:import", &target, "--as=envfile", "--replace", "--edited"];
            words.extend(when.iter().map(String::as_str));
            let input = files::in_memory("config", input.as_bytes())?;
            let status = exec::with_input(command(&words)?, Stdio::from(input)).await?;
            exec::same_end(status)
        })
    }
}

/// The words that start the editor.
fn editor() -> Result<Vec<String>> {
    let Some(line) = settings::editor() else {
        if !crate::ui::is_at_terminal() {
            return Err(Error::usage(
                "there is no terminal for an editor",
                "set EDITOR to one that needs none, or use `config:export` and `config:import --replace`",
            ));
        }
        return Ok(vec!["vi".to_owned()]);
    };
    let words = shell_words::split(&line).ok().filter(|words| !words.is_empty());
    words.ok_or_else(|| Error::usage("a quote is not closed in $EDITOR", "set EDITOR to the command of your editor"))
}

/// Has a text edited until it can be read; none where the user gives up.
async fn edit(ui: Ui, editor: &[String], text: &[u8]) -> Result<Option<ConfigMap>> {
    let (directory, path) = private_file(text)?;
    loop {
        edit_once(editor, &path).await?;
        let edited = std::fs::read(&path).map_err(Error::io("read the edited text"))?;
        match parse_env_file(&edited) {
            Ok(found) => {
                drop(directory);
                return Ok(Some(found.into_iter().collect()));
            }
            Err(error) if !std::io::stdin().is_terminal() => {
                return Err(Error::usage(error.to_string(), "nothing was changed: edit it again"));
            }
            Err(error) => {
                ui.talk(&format!(" !     {error}"));
                if ui.ask("Edit it again? [Y/n]")?.to_lowercase().starts_with('n') {
                    return Ok(None);
                }
            }
        }
    }
}

/// A file that only its owner may read, in a directory that only its owner may enter: in memory, where there is such a
/// place. Both are gone with the first.
fn private_file(text: &[u8]) -> Result<(tempfile::TempDir, std::path::PathBuf)> {
    let bad = || Error::io("make a private file");
    let mut builder = tempfile::Builder::new();
    builder.prefix("paas-edit-").permissions(Permissions::from_mode(0o700));
    let in_memory = builder.tempdir_in("/dev/shm");
    let directory = in_memory.or_else(|_| builder.tempdir()).map_err(bad())?;
    let path = directory.path().join("config.env");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let written = file.and_then(|mut file| file.write_all(HEAD.as_bytes()).and_then(|()| file.write_all(text)));
    written.map_err(bad())?;
    Ok((directory, path))
}

/// Runs the editor once. What ends this process ends the editor, and the text is removed.
async fn edit_once(editor: &[String], path: &Path) -> Result<()> {
    let [program, arguments @ ..] = editor else { return Err(Error::bug("an editor without a name")) };
    let mut command = exec::command_of_user(program);
    command.args(arguments).arg(path).kill_on_drop(true);
    tokio::select! {
        // Listens before the editor is there.
        biased;
        () = exec::hung_up_or_ended() => Err(Error::Interrupted),
        status = exec::attached(command) => match status? {
            status if status.success() => Ok(()),
            status => Err(Error::usage(format!("the editor failed ({status}); nothing was changed"), "edit it again")),
        },
    }
}
