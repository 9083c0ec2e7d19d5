mod edit;

use std::{collections::BTreeSet, convert::Infallible, io::IsTerminal, str::FromStr};

use clap::{Args, Subcommand};

use super::{
    arguments::{AppArgument, OptionalApp},
    exchange::{Bounds, Exchange, Input, open},
    properties::{Target, apply_edit},
};
use crate::{
    Error, Result,
    context::Context,
    model::{
        Access, AppName, ConfigFormat, DeploymentKind, Door, Edit, EnvKey, ImportFormat, Invalid, MASK, Right,
        from_base64, parse_env_file, read_config, write_env_file,
    },
    ops::config::{self, Look},
    ui::{DeployLog, Ui},
};

/// Config: an app's environment variables
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "config:show")]
    Show(Show),
    #[command(name = "config:get")]
    Get(Get),
    #[command(name = "config:keys")]
    Keys(Keys),
    #[command(name = "config:set")]
    Set(Set),
    #[command(name = "config:unset")]
    Unset(Unset),
    #[command(name = "config:clear")]
    Clear(Clear),
    #[command(name = "config:export")]
    Export(Export),
    #[command(name = "config:bundle")]
    Bundle(Bundle),
    #[command(name = "config:import")]
    Import(Import),
    #[command(name = "config:edit")]
    Edit(edit::Edit),
    #[command(name = "config:suggest")]
    Suggest(Suggest),
    #[command(name = "config:report")]
    Report(Report),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::Show(it) => it.look.target.access(if it.reveal { Right::Reveal } else { Right::See }),
            Command::Get(it) => it.target.access(Right::Reveal),
            Command::Keys(it) => it.look.target.access(Right::See),
            Command::Set(it) => it.target.access(Right::Change),
            Command::Unset(it) => it.target.access(Right::Change),
            Command::Clear(it) => it.target.access(Right::Change),
            Command::Export(it) => it.look.target.access(Right::Reveal),
            Command::Bundle(it) => it.look.target.access(Right::Reveal),
            Command::Import(it) => it.target.access(Right::Change),
            Command::Edit(it) => it.target.access(Right::Change),
            Command::Suggest(it) => Access::App(&it.app.app, if it.generate { Right::Change } else { Right::Reveal }),
            Command::Report(Report { app: OptionalApp { app: Some(app) } }) => Access::App(app, Right::See),
            Command::Report(_) => Access::Server(Right::See),
        }
    }

    /// What it reads where it was typed.
    pub(super) fn exchange(&mut self) -> Exchange<'_> {
        match self {
            Command::Set(it) => Exchange::Values(it),
            Command::Import(it) => Exchange::Config(it),
            Command::Show(_)
            | Command::Get(_)
            | Command::Keys(_)
            | Command::Unset(_)
            | Command::Clear(_)
            | Command::Export(_)
            | Command::Bundle(_)
            | Command::Edit(_)
            | Command::Suggest(_)
            | Command::Report(_) => Exchange::Nothing,
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Show(it) => it.look.of(|look| ui.show(&config::show(context, look, it.reveal)?)),
            Command::Get(it) => it.run(context, ui),
            Command::Keys(it) => it.look.of(|look| ui.show(&config::keys(context, look)?)),
            Command::Set(it) => it.run(context, ui).await,
            Command::Unset(it) => it.run(context, ui).await,
            Command::Clear(it) => it.run(context, ui).await,
            Command::Export(it) => it.run(context, ui),
            Command::Bundle(it) => it.run(context, ui),
            Command::Import(it) => it.run(context, ui).await,
            Command::Edit(it) => it.refuse(),
            Command::Suggest(it) => it.run(context, ui).await,
            Command::Report(it) => ui.show(&config::report(context, it.app.app.as_ref())?),
        }
    }
}

/// The app, and the words after it: with `--global` the one in the place of the app is the first of them. A word that may
/// hold a value is not repeated.
fn split(target: &Target, words: &[Word]) -> Result<(Option<AppName>, Vec<Word>)> {
    let texts: Vec<String> = words.iter().map(|word| word.0.clone()).collect();
    let (app, texts) = target.split(&texts).map_err(|error| match error {
        Error::Invalid(invalid) if invalid.value.contains('=') => Error::usage(
            "the first word is not the name of an app, and no app is known here",
            "name the app before the variables: `paas config:set APP KEY=VALUE`; `--global` sets them for all apps",
        ),
        other => other,
    })?;
    Ok((app, texts.into_iter().map(Word).collect()))
}

/// The app of a command that takes no other word.
fn alone(target: &Target) -> Result<Option<AppName>> {
    match split(target, &[])? {
        (app, rest) if rest.is_empty() => Ok(app),
        _ => Err(Error::usage("--global is of all apps", "leave the app out, or --global")),
    }
}

/// What is looked at.
#[derive(Debug, Args)]
struct LookArguments {
    #[command(flatten)]
    target: Target,
    /// What the app gets: what is set for all apps, too
    #[arg(long)]
    merged: bool,
}

impl LookArguments {
    fn of<T>(&self, look: impl FnOnce(Look<'_>) -> Result<T>) -> Result<T> {
        look(Look { app: alone(&self.target)?.as_ref(), merged: self.merged })
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

/// List the config variables of an app
///
/// The values are masked, because they may be secrets; --reveal shows them.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    look: LookArguments,
    /// Show the values too
    #[arg(long)]
    reveal: bool,
}

/// Print the value of a config variable
///
/// An end of line is added to it. `--format json` and `--encoded` say it to the byte.
#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    target: Target,
    /// The variable
    #[arg(value_name = "KEY")]
    key: Option<Word>,
    /// Also a value that is set for all apps
    #[arg(long)]
    merged: bool,
    /// Print the value in base64
    #[arg(long)]
    encoded: bool,
}

impl Get {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let (app, words) = split(&self.target, self.key.as_slice())?;
        let [word] = &words[..] else {
            return Err(Error::usage("this takes the name of one variable", "`paas config:get APP KEY`"));
        };
        let look = Look { app: app.as_ref(), merged: self.merged };
        ui.show(&config::get(context, look, &word.name()?, self.encoded)?)
    }
}

/// List the names of config variables, one a line
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(flatten)]
    look: LookArguments,
}

/// Print all config variables for another program
///
/// The formats are those of Dokku, and `--format FORMAT` says the same as `--as FORMAT`: `exports` (lines for a shell, the
/// default), `envfile`, `shell` (words before a command), `docker-args`, `docker-args-keys`, `docker-envfile` (the file of
/// `docker run --env-file`), `json`, `json-list`. All say each value to the byte; `docker-envfile` refuses the values that
/// it cannot say.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    look: LookArguments,
    /// What to write
    #[arg(long = "as", value_name = "FORMAT", default_value = "exports")]
    form: ConfigFormat,
}

impl Export {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let variables = self.look.of(|look| config::variables(context, look))?;
        let text = self.form.write(&variables).map_err(|error| {
            Error::usage(
                error.to_string(),
                "`--format docker-args` can say it: `eval \"docker run $(paas config:export APP --format docker-args) \
                 IMAGE\"`",
            )
        })?;
        ui.raw(text.as_bytes())
    }
}

/// Print all config variables as a tar, a file each
///
/// A file has the name of a variable and holds its value, to the byte: `paas config:bundle blog | tar x -C DIR`.
#[derive(Debug, Args)]
pub(super) struct Bundle {
    #[command(flatten)]
    look: LookArguments,
}

impl Bundle {
    fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let variables = self.look.of(|look| config::variables(context, look))?;
        if std::io::stdout().is_terminal() {
            return Err(Error::usage(
                "a tar is nothing for a terminal",
                "send it to a file or a program: `paas config:bundle APP | tar x -C DIR`",
            ));
        }
        ui.raw(&config::bundle(&variables)?)
    }
}

/// Say which variables the source asks for that are not set
///
/// It reads the commit that serves: `.env.example` and files of similar names, `env` of `app.json`, and the dependencies
/// that the buildpacks know variables of. --generate sets those for which a secret that is made up will do.
#[derive(Debug, Args)]
pub(super) struct Suggest {
    #[command(flatten)]
    app: AppArgument,
    /// Make up the secrets that can be made up, and set them
    #[arg(long)]
    generate: bool,
    /// With --generate: apply the change at the next deploy or restart
    #[arg(long, requires = "generate")]
    no_restart: bool,
}

impl Suggest {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let app = &self.app.app;
        let suggestions = config::suggest::suggest(context, app).await?;
        if !self.generate {
            if suggestions.0.is_empty() {
                ui.talk("every variable that the source asks for is set");
            }
            return ui.show(&suggestions);
        }
        let made_up = suggestions.made_up()?;
        if made_up.is_empty() {
            ui.talk("there is none to make up");
            return ui.show(&suggestions);
        }
        let names: Vec<&str> = made_up.iter().map(|(key, _)| key.as_str()).collect();
        let reason = format!("config: make up {}", names.join(", "));
        ui.talk(&format!("made up: {}", names.join(", ")));
        apply_edit(context, ui, app, &new_edit("config:suggest", reason, made_up), !self.no_restart).await
    }
}

/// Show how the config of apps stands
///
/// PENDING are the variables that changed since the serving release was made: by `--no-restart`, or for all apps. The next
/// deploy or restart applies them.
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    app: OptionalApp,
}

/// The most bytes that are read for a value, or for an env file: more than a process can be given.
const MOST_BYTES: u64 = 4 << 20;
const ENV_FILE: Bounds =
    Bounds { what: "an env file", limit: MOST_BYTES, hint: "all variables of a process together take 2 MiB at most" };

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
    target: Target,
    /// Variables and their values; quote them for your shell, twice over ssh
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<Word>,
    /// The values after KEY= are base64
    #[arg(long)]
    encoded: bool,
    /// Set a variable to what a file holds, to the byte; `-` is standard input
    #[arg(long, value_name = "KEY=PATH")]
    from_file: Vec<Word>,
    /// Set the variables of an env file on standard input
    #[arg(long)]
    stdin: bool,
    /// Ask for the value of a variable, and do not show what is typed
    #[arg(long, value_name = "KEY")]
    prompt: Vec<Word>,
    #[command(flatten)]
    when: When,
    /// What was read of all of these.
    #[arg(skip)]
    read: Vec<(EnvKey, String)>,
}

impl Set {
    /// Reads all values, wherever they are. What was typed wrongly is refused before anything is read or asked.
    pub(super) fn read(&mut self, door: Door, ui: Ui) -> Result<()> {
        let (_, words) = split(&self.target, &self.pairs)?;
        if words.is_empty() && self.from_file.is_empty() && !self.stdin && self.prompt.is_empty() {
            return Err(Error::usage("nothing is to be set", "give KEY=VALUE, or one of the options for values"));
        }
        let mut read = words.iter().map(Word::pair).collect::<Result<Vec<_>>>()?;
        if self.encoded {
            for (key, value) in &mut read {
                *value = decoded(key, value)?;
            }
        }
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
            let text = ENV_FILE.read_stdin("Type KEY=VALUE lines, then press Ctrl-D on a line of its own:", ui)?;
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
        let mut words = vec!["config:set".to_owned(), target_word(&self.target)?, "--stdin".to_owned()];
        words.extend(self.when.words());
        Ok(Some((words, write_env_file(self.read.iter().map(|(key, value)| (key, value.as_str()))))))
    }

    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let (app, _) = split(&self.target, &[])?;
        let keys: Vec<&str> = self.read.iter().map(|(key, _)| key.as_str()).collect();
        let reason = format!("config: set {}", keys.join(", "));
        let config = self.read.into_iter().map(|(key, value)| (key, Some(value))).collect();
        apply(context, ui, app.as_ref(), new_edit("config:set", reason, config), self.when).await
    }
}

/// The word that names the target: the app, or `--global`.
fn target_word(target: &Target) -> Result<String> {
    Ok(target.split(&[])?.0.map_or_else(|| "--global".to_owned(), |app| app.to_string()))
}

/// Reads base64, with or without padding, in lines or not. The value is not repeated.
fn decoded(key: &EnvKey, text: &str) -> Result<String> {
    let hint = "`base64 < FILE` makes it; without --encoded the value is taken as it is";
    let bytes = from_base64(text).ok_or_else(|| Error::usage(format!("the value of {key} is not base64"), hint))?;
    String::from_utf8(bytes).map_err(|_| {
        let hint = "an environment variable is a text: set the base64 itself, without --encoded";
        Error::usage(format!("the value of {key} is not valid UTF-8 in that base64"), hint)
    })
}

/// When a change holds.
#[derive(Clone, Copy, Debug, Args)]
struct When {
    /// Do not restart: apply the change at the next deploy or restart
    #[arg(long, conflicts_with = "restart")]
    no_restart: bool,
    /// With --global: restart the apps that run and have another value
    #[arg(long)]
    restart: bool,
}

impl When {
    /// The options as they are typed.
    fn words(self) -> impl Iterator<Item = String> {
        let options = [(self.no_restart, "--no-restart"), (self.restart, "--restart")];
        options.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word.to_owned())
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
    target: Target,
    /// The variables
    #[arg(value_name = "KEY")]
    keys: Vec<Word>,
    #[command(flatten)]
    when: When,
}

impl Unset {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let (app, words) = split(&self.target, &self.keys)?;
        if words.is_empty() {
            return Err(Error::usage(
                "no variable is named",
                "`paas config:unset APP KEY`; `config:clear` removes all",
            ));
        }
        let keys = words.iter().map(Word::name).collect::<Result<Vec<_>>>()?;
        refuse_twice(keys.iter())?;
        let names: Vec<&str> = keys.iter().map(EnvKey::as_str).collect();
        let reason = format!("config: unset {}", names.join(", "));
        let config = keys.into_iter().map(|key| (key, None)).collect();
        apply(context, ui, app.as_ref(), new_edit("config:unset", reason, config), self.when).await
    }
}

/// Remove all config variables of an app, and restart it without them
///
/// `paas releases:rollback` brings them back.
#[derive(Debug, Args)]
pub(super) struct Clear {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    when: When,
}

impl Clear {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let app = alone(&self.target)?;
        let reason = "config: remove all variables".to_owned();
        let edit = Edit { replaces_config: true, ..new_edit("config:clear", reason, Vec::new()) };
        apply(context, ui, app.as_ref(), edit, self.when).await
    }
}

/// Set config variables from a file, and restart the app with them
///
/// The file is an env file, or JSON as `config:export` writes it; which of both is seen by its first character. Its other
/// variables stay as they are, unless --replace is given.
#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    target: Target,
    /// The file, on the machine where you type; nothing or `-` is standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Vec<Word>,
    /// What the file is: envfile or json
    #[arg(long = "as", value_name = "FORMAT")]
    form: Option<ImportFormat>,
    /// Remove the variables that are not in the file
    #[arg(long)]
    replace: bool,
    /// The first line of the file says from which variables it was made (config:edit)
    #[arg(long, hide = true)]
    edited: bool,
    #[command(flatten)]
    when: When,
    /// What was read.
    #[arg(skip)]
    read: Option<Secret>,
}

/// Bytes that are not printed.
struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(MASK)
    }
}

impl Import {
    fn input(&self) -> Result<Input> {
        let (_, words) = split(&self.target, &self.file)?;
        match &words[..] {
            [] => Ok(Input::Stdin),
            [word] => {
                let Ok(input) = word.0.parse();
                Ok(input)
            }
            _ => Err(Error::usage("this takes one file", "`paas config:import APP FILE`")),
        }
    }

    /// Reads the file, where it is on this machine.
    pub(super) fn read(&mut self, door: Door, ui: Ui) -> Result<()> {
        let bounds = ENV_FILE;
        let bytes = match self.input()? {
            Input::File(path) if door != Door::Local => {
                return Err(Error::usage(
                    format!("{} is a file of your machine, and this command runs on the server", path.display()),
                    format!("give it on standard input: `ssh ... config:import APP < {}`", path.display()),
                ));
            }
            Input::File(path) => {
                let file = open(&path).map_err(|reason| super::exchange::cannot_read(&path, &reason))?;
                bounds.read_all(file)?
            }
            Input::Stdin | Input::Bytes(_) => {
                bounds.read_stdin("Type KEY=VALUE lines, then press Ctrl-D on a line of its own:", ui)?
            }
        };
        self.read = Some(Secret(bytes));
        Ok(())
    }

    /// What is typed on the server instead, with the file as standard input; nothing where that is standard input already.
    pub(super) fn packed(&mut self, ui: Ui) -> Result<Option<(Vec<String>, Vec<u8>)>> {
        if !matches!(self.input()?, Input::File(_)) {
            return Ok(None);
        }
        self.read(Door::Local, ui)?;
        let mut words = vec!["config:import".to_owned(), target_word(&self.target)?];
        words.extend(self.form.map(|form| format!("--as={form}")));
        words.extend(self.replace.then(|| "--replace".to_owned()));
        words.extend(self.when.words());
        Ok(self.read.take().map(|Secret(bytes)| (words, bytes)))
    }

    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let (app, _) = split(&self.target, &[])?;
        let Secret(bytes) = self.read.ok_or_else(|| Error::bug("a config that was not read"))?;
        let found = read_config(&bytes, self.form)
            .map_err(|error| Error::usage(error.to_string(), "docs/reference.md says what an env file may be"))?;
        if found.is_empty() && !self.edited {
            return Err(Error::usage(
                "the file sets nothing",
                "write a KEY=VALUE on each line; `paas config:clear` removes all variables",
            ));
        }
        let saw_config = match bytes.split(|byte| *byte == b'\n').next().and_then(|line| line.strip_prefix(b"# ")) {
            Some(digest) if self.edited => Some(String::from_utf8_lossy(digest).into_owned()),
            _ if self.edited => return Err(Error::usage("this was not edited", "leave --edited out")),
            _ => None,
        };
        let names: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        let how = if self.replace { "replace all by" } else { "import" };
        let (action, reason) = match self.edited {
            true => ("config:edit", "config: edit".to_owned()),
            false => ("config:import", format!("config: {how} {}", names.join(", "))),
        };
        let config = found.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let edit = Edit { replaces_config: self.replace, saw_config, ..new_edit(action, reason, config) };
        apply(context, ui, app.as_ref(), edit, self.when).await
    }
}

fn new_edit(action: &str, reason: String, config: Vec<(EnvKey, Option<String>)>) -> Edit {
    Edit {
        kind: DeploymentKind::Config,
        action: action.to_owned(),
        reason,
        config,
        replaces_config: false,
        saw_config: None,
        properties: Vec::new(),
        saw: None,
    }
}

/// Makes an edit, of an app or of what is set for all, and says what became of it.
async fn apply(context: &Context<'_>, ui: Ui, app: Option<&AppName>, edit: Edit, when: When) -> Result<()> {
    let Some(app) = app else {
        if when.no_restart {
            return Err(Error::usage("--global restarts no app by itself", "leave --no-restart out"));
        }
        let edited = config::edit_global(context, &edit, when.restart, &DeployLog::to_stderr(ui)).await?;
        ui.talk(edited.edited.words().unwrap_or("saved"));
        if !edited.pending.is_empty() {
            let names: Vec<&str> = edited.pending.iter().map(AppName::as_str).collect();
            ui.talk(&format!(
                "the next deploy or restart applies it to {}; `paas config:report` shows what is pending",
                names.join(", ")
            ));
        }
        return ui.show(&edited);
    };
    if when.restart {
        return Err(Error::usage("--restart goes with --global", "leave it out: the app is restarted anyway"));
    }
    apply_edit(context, ui, app, &edit, !when.no_restart).await
}
