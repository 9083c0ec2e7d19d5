use std::{collections::BTreeSet, convert::Infallible, str::FromStr};

use clap::{Args, Subcommand};

use super::{
    arguments::AppArgument,
    exchange::{Bounds, Exchange, Input, open},
    properties::apply_edit,
};
use crate::{
    Error, Result,
    context::Context,
    model::{
        Access, AppName, DeploymentKind, Door, Edit, EnvKey, Invalid, MASK, Right, parse_env_file, write_env_file,
    },
    ops::config,
    ui::Ui,
};

/// Config: an app's environment variables
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "config:show")]
    Show(Show),
    #[command(name = "config:get")]
    Get(Get),
    #[command(name = "config:set")]
    Set(Set),
    #[command(name = "config:unset")]
    Unset(Unset),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Show(it) => Access::App(&it.app.app, if it.reveal { Right::Reveal } else { Right::See }),
            Command::Get(it) => Access::App(&it.app.app, Right::Reveal),
            Command::Set(it) => Access::App(&it.app.app, Right::Change),
            Command::Unset(it) => Access::App(&it.app.app, Right::Change),
        }
    }

    /// What it reads where it was typed.
    pub(super) fn exchange(&mut self) -> Exchange<'_> {
        match self {
            Command::Set(it) => Exchange::Values(it),
            Command::Show(_) | Command::Get(_) | Command::Unset(_) => Exchange::Nothing,
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Show(it) => ui.show(&config::show(context, &it.app.app, it.reveal)?),
            Command::Get(it) => ui.show(&config::get(context, &it.app.app, &it.key.name()?)?),
            Command::Set(it) => it.run(context, ui).await,
            Command::Unset(it) => it.run(context, ui).await,
        }
    }
}

/// A word of a command line that may hold a secret: it is parsed by us, because clap repeats in its message what it
/// cannot parse.
#[derive(Clone)]
struct Word(String);

impl FromStr for Word {
    type Err = Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(Word(text.to_owned()))
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(MASK)
    }
}

impl Word {
    /// Reads the name of a variable.
    fn name(&self) -> Result<EnvKey> {
        if self.0.contains('=') {
            return Err(Error::usage("this takes the name of a variable alone", "leave out the = and the value"));
        }
        key(&self.0)
    }

    /// Reads a variable and its value.
    fn pair(&self) -> Result<(EnvKey, String)> {
        let Some((name, value)) = self.0.split_once('=') else {
            return Err(Error::usage(
                "a word here is not KEY=VALUE",
                "to give a value that is not on the command line: `--prompt KEY` asks for it, `--from-file KEY=PATH` \
                 reads it from a file (`-` is standard input), `--stdin` reads an env file",
            ));
        };
        Ok((key(name)?, value.to_owned()))
    }

    /// Reads a variable and the file that its value is in.
    fn file(&self) -> Result<(EnvKey, Input)> {
        let named = self.0.split_once('=').filter(|(_, path)| !path.is_empty());
        let Some((name, path)) = named else {
            return Err(Error::usage(
                "--from-file takes KEY=PATH",
                "such as `--from-file TLS_KEY=key.pem`, or `--from-file TLS_KEY=-` for standard input",
            ));
        };
        let Ok(input) = path.parse();
        Ok((key(name)?, input))
    }
}

/// Reads the name of a variable. It is not repeated in the error: it may be a secret, or the beginning of one.
fn key(name: &str) -> Result<EnvKey> {
    name.parse().map_err(|error: Invalid| Invalid { value: MASK.to_owned(), ..error }.into())
}

/// List an app's config variables
///
/// The values are masked, because they may be secrets; --reveal shows them.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    app: AppArgument,
    /// Show the values too
    #[arg(long)]
    reveal: bool,
}

/// Print the value of a config variable
#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    app: AppArgument,
    /// The variable
    key: Word,
}

/// The most bytes that are read for a value, or for an env file: more than a process can be given.
const MOST_BYTES: u64 = 4 << 20;

/// Set config variables, and restart the app with them
///
/// They are sealed in the database and given to the app's processes as environment variables. A running app gets new
/// containers with them, as a new release and without losing a request; if those do not become healthy, the old ones
/// keep serving, and the config stays as it was. PORT sets the port that the web process must listen on.
///
/// KEY=VALUE is taken as it is, and other users of the machine can see it in the list of processes. The options keep
/// values out of there. They can be mixed, and work over ssh and in a clone; a file is always on the machine where you
/// type.
#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    app: AppArgument,
    /// Variables and their values; quote them for your shell, twice over ssh
    #[arg(required_unless_present_any = ["from_file", "stdin", "prompt"], value_name = "KEY=VALUE")]
    pairs: Vec<Word>,
    /// Set a variable to what a file holds, to the byte; `-` is standard input
    #[arg(long, value_name = "KEY=PATH")]
    from_file: Vec<Word>,
    /// Set the variables of an env file on standard input
    #[arg(long)]
    stdin: bool,
    /// Ask for the value of a variable, and do not show what is typed
    #[arg(long, value_name = "KEY")]
    prompt: Vec<Word>,
    /// Do not restart: apply the change at the next deploy or restart
    #[arg(long)]
    no_restart: bool,
    /// What was read of all of these.
    #[arg(skip)]
    read: Vec<(EnvKey, String)>,
}

impl Set {
    /// Reads all values, wherever they are. What was typed wrongly is refused before anything is read or asked.
    pub(super) fn read(&mut self, door: Door, ui: Ui) -> Result<()> {
        let mut read = self.pairs.iter().map(Word::pair).collect::<Result<Vec<_>>>()?;
        let files = self.from_file.iter().map(Word::file).collect::<Result<Vec<_>>>()?;
        let asked = self.prompt.iter().map(Word::name).collect::<Result<Vec<_>>>()?;
        let stdins = files.iter().filter(|(_, input)| matches!(input, Input::Stdin)).count() + usize::from(self.stdin);
        if stdins > 1 || (stdins == 1 && !asked.is_empty()) {
            return Err(Error::usage(
                "standard input can be used once",
                "of `--stdin`, `--prompt` and `--from-file KEY=-`, use one; other values may come from files",
            ));
        }
        let names = read.iter().map(|(key, _)| key).chain(files.iter().map(|(key, _)| key)).chain(&asked);
        refuse_twice(names)?;
        for (key, input) in files {
            let value = read_input(&key, &input, door, ui)?;
            read.push((key, value));
        }
        if self.stdin {
            let bounds = Bounds {
                what: "an env file",
                limit: MOST_BYTES,
                hint: "all variables of a process together take 2 MiB at most",
            };
            let text = bounds.read_stdin("Type KEY=VALUE lines, then press Ctrl-D on a line of its own:", ui)?;
            let found = parse_env_file(&text)
                .map_err(|error| Error::usage(error.to_string(), "`paas config:set --help` says what a line may be"))?;
            if found.is_empty() && read.is_empty() {
                return Err(Error::usage("the env file sets nothing", "write a KEY=VALUE on each line"));
            }
            read.extend(found);
            refuse_twice(read.iter().map(|(key, _)| key))?;
        }
        for key in asked {
            let value = ui.ask_secret(&format!("Value of {key}:"))?;
            read.push((key, value));
        }
        self.read = read;
        Ok(())
    }

    /// What is typed on the server instead, with an env file as standard input; nothing where the words alone will do.
    pub(super) fn packed(&mut self, ui: Ui) -> Result<Option<(Vec<String>, String)>> {
        if self.from_file.is_empty() && self.prompt.is_empty() && !self.stdin {
            return Ok(None);
        }
        self.read(Door::Local, ui)?;
        let mut words = vec!["config:set".to_owned(), self.app.app.to_string(), "--stdin".to_owned()];
        words.extend(self.no_restart.then(|| "--no-restart".to_owned()));
        Ok(Some((words, write_env_file(self.read.iter().map(|(key, value)| (key, value.as_str()))))))
    }

    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let keys: Vec<&str> = self.read.iter().map(|(key, _)| key.as_str()).collect();
        let reason = format!("config: set {}", keys.join(", "));
        let config = self.read.into_iter().map(|(key, value)| (key, Some(value))).collect();
        apply(context, ui, &self.app.app, "config:set", reason, config, self.no_restart).await
    }
}

/// Reads the file of a variable. Its path is not repeated in an error: a value may have been typed in its place.
fn read_input(key: &EnvKey, input: &Input, door: Door, ui: Ui) -> Result<String> {
    let bounds = Bounds { what: "a value", limit: MOST_BYTES, hint: "a variable has 128 KiB at most" };
    let bytes = match input {
        // The client's path means nothing on this machine, and this machine's files are not the client's to read.
        Input::File(_) if door != Door::Local => {
            return Err(Error::usage(
                format!("the file for {key} is on your machine, and this command runs on the server"),
                format!("give it on standard input: `ssh ... config:set APP --from-file {key}=- < FILE`"),
            ));
        }
        Input::File(path) => {
            let file = open(path).map_err(|reason| {
                let hint = format!("give the path of a file; if this is the value itself, write {key}=VALUE");
                Error::usage(format!("cannot read the file for {key}: {reason}"), hint)
            })?;
            bounds.read_all(file)?
        }
        Input::Stdin => bounds.read_stdin("Type the value, then press Ctrl-D on a line of its own:", ui)?,
        Input::Bytes(bytes) => bytes.clone(),
    };
    String::from_utf8(bytes).map_err(|_| {
        let hint = "an environment variable is a text: encode other data, for example as base64";
        Error::usage(format!("the value of {key} is not valid UTF-8"), hint)
    })
}

/// Refuses a variable that is there twice.
fn refuse_twice<'a>(names: impl Iterator<Item = &'a EnvKey>) -> Result<()> {
    let mut known = BTreeSet::new();
    for name in names {
        if !known.insert(name) {
            return Err(Error::usage(format!("{name} is there twice"), "name each variable once"));
        }
    }
    Ok(())
}

/// Remove config variables, and restart the app without them
#[derive(Debug, Args)]
pub(super) struct Unset {
    #[command(flatten)]
    app: AppArgument,
    /// The variables
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<Word>,
    /// Do not restart: apply the change at the next deploy or restart
    #[arg(long)]
    no_restart: bool,
}

impl Unset {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let keys = self.keys.iter().map(Word::name).collect::<Result<Vec<_>>>()?;
        refuse_twice(keys.iter())?;
        let names: Vec<&str> = keys.iter().map(EnvKey::as_str).collect();
        let reason = format!("config: unset {}", names.join(", "));
        let config = keys.into_iter().map(|key| (key, None)).collect();
        apply(context, ui, &self.app.app, "config:unset", reason, config, self.no_restart).await
    }
}

async fn apply(
    context: &Context<'_>,
    ui: Ui,
    app: &AppName,
    action: &str,
    reason: String,
    config: Vec<(EnvKey, Option<String>)>,
    no_restart: bool,
) -> Result<()> {
    let edit = Edit {
        kind: DeploymentKind::Config,
        action: action.to_owned(),
        reason,
        config,
        properties: Vec::new(),
        saw: None,
    };
    apply_edit(context, ui, app, &edit, !no_restart).await
}
