//! `NOUN:set` and `NOUN:report`, the same for every noun that has properties; and what edits of an app have in common.

use std::str::FromStr;

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::{arguments::APP_WORD, completions::app_names};
use crate::{
    Error, Result,
    context::Context,
    model::{Access, AppName, Edit, Invalid, Noun, ProcessType, Right, property::right_to_set},
    ops::{
        edit::{Edited, apply},
        properties::{self, Request},
    },
    ui::{DeployLog, Ui},
};

/// The word in the place of the app, which is another one with `--global`.
#[derive(Clone, Debug)]
struct AppWord {
    text: String,
    app: std::result::Result<AppName, Invalid>,
}

impl FromStr for AppWord {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<AppWord, Self::Err> {
        Ok(AppWord { text: text.to_owned(), app: text.parse() })
    }
}

/// An app, or all: what properties are of.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The app; left out with --global, in its clone, with --app, or with PAAS_APP
    #[arg(id = APP_WORD, value_name = "APP", required_unless_present = "global", add = ArgValueCandidates::new(app_names))]
    app: Option<AppWord>,
    /// All apps: what is set there holds for each that has no value of its own
    #[arg(long)]
    global: bool,
}

impl Target {
    /// Who may do what needs a right for the app. What is no app is refused when it is run, so that anybody may try.
    pub(super) fn access(&self, right: Right) -> Access<'_> {
        match &self.app {
            _ if self.global && right == Right::See => Access::Server(Right::See),
            Some(AppWord { app: Ok(app), .. }) if !self.global && right.is_of_an_app() => Access::App(app, right),
            Some(AppWord { app: Err(_), .. }) if !self.global => Access::Server(Right::See),
            _ => Access::Server(Right::Administer),
        }
    }

    /// The app, and the words: with `--global` the one in the place of the app is the first of them.
    pub(super) fn split(&self, words: &[String]) -> Result<(Option<AppName>, Vec<String>)> {
        match &self.app {
            Some(word) if self.global => Ok((None, std::iter::once(&word.text).chain(words).cloned().collect())),
            Some(word) => Ok((Some(word.app.clone()?), words.to_vec())),
            None => Ok((None, words.to_vec())),
        }
    }
}

/// What `NOUN:set` takes.
#[derive(Debug, Args)]
pub(super) struct Setter {
    #[command(flatten)]
    target: Target,
    /// A property and its value, or KEY=VALUE once or several times; KEY or KEY= resets a property to its default
    #[arg(value_name = "KEY [VALUE]|KEY=VALUE")]
    words: Vec<String>,
}

/// What `NOUN:set` takes where some properties are part of a release.
#[derive(Debug, Args)]
pub(super) struct ReleaseSetter {
    #[command(flatten)]
    setter: Setter,
    /// Do not restart now: the next deploy or restart applies the change
    #[arg(long)]
    no_restart: bool,
}

impl ReleaseSetter {
    /// Who may set this.
    pub(super) fn access(&self, noun: Noun) -> Access<'_> {
        self.setter.access(noun)
    }

    /// Sets the properties of a noun.
    pub(super) async fn run(
        self,
        context: &Context<'_>,
        ui: Ui,
        noun: Noun,
        process: Option<ProcessType>,
    ) -> Result<()> {
        self.setter.set(context, ui, noun, process, !self.no_restart).await
    }
}

impl Setter {
    /// Who may set this.
    pub(super) fn access(&self, noun: Noun) -> Access<'_> {
        self.target.access(right_to_set(noun, &self.words))
    }

    /// The words after the app.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no app.
    pub(super) fn words(&self) -> Result<Vec<String>> {
        Ok(self.target.split(&self.words)?.1)
    }

    /// Sets the properties of a noun, none of which is part of a release.
    pub(super) async fn run(self, context: &Context<'_>, ui: Ui, noun: Noun) -> Result<()> {
        self.set(context, ui, noun, None, true).await
    }

    async fn set(
        self,
        context: &Context<'_>,
        ui: Ui,
        noun: Noun,
        process: Option<ProcessType>,
        restart: bool,
    ) -> Result<()> {
        let (app, words) = self.target.split(&self.words)?;
        let request = Request { noun, app, process, words, restart };
        show(ui, &properties::set(context, &request, &DeployLog::to_stderr(ui)).await?)
    }
}

/// What `NOUN:report` takes.
#[derive(Debug, Args)]
pub(super) struct Reporter {
    #[command(flatten)]
    target: Target,
    /// Only this property
    key: Option<String>,
}

impl Reporter {
    /// Who may see this.
    pub(super) fn access(&self) -> Access<'_> {
        self.target.access(Right::See)
    }

    /// The app that is wholly reported on, if it is one: with what is more to say than its properties.
    pub(super) fn whole_app(&self) -> Result<Option<AppName>> {
        let (app, _) = self.target.split(&[])?;
        Ok(app.filter(|_| self.key.is_none() && !self.target.global))
    }

    /// Reports the properties of a noun, and nothing else.
    pub(super) fn run(self, context: &Context<'_>, ui: Ui, noun: Noun) -> Result<()> {
        let key: Vec<String> = self.key.iter().cloned().collect();
        let (app, key) = self.target.split(&key)?;
        if key.len() > 1 {
            return Err(Error::usage("a report is of one property, or of all", "leave the second one out"));
        }
        ui.show(&properties::report(context, noun, app.as_ref(), key.first().map(String::as_str))?)
    }
}

/// What `ps:report` takes: it is also of all apps.
#[derive(Debug, Args)]
pub(super) struct OptionalReporter {
    /// The app [default: that of the clone, of --app or of PAAS_APP; else all apps]
    #[arg(id = APP_WORD, value_name = "APP", add = ArgValueCandidates::new(app_names))]
    app: Option<AppWord>,
    /// Only this property
    key: Option<String>,
    /// Show what is set for all apps
    #[arg(long)]
    global: bool,
}

impl OptionalReporter {
    /// Whether it is of the containers of all apps.
    pub(super) fn is_of_all(&self) -> bool {
        self.app.is_none() && !self.global
    }

    /// Whether it is of the server as a whole.
    pub(super) fn is_of_server(&self) -> bool {
        self.app.is_none() && self.global
    }

    /// Who may see this.
    pub(super) fn access(&self) -> Access<'_> {
        match &self.app {
            Some(AppWord { app: Ok(app), .. }) if !self.global => Access::App(app, Right::See),
            _ => Access::Server(Right::See),
        }
    }
}

impl From<OptionalReporter> for Reporter {
    fn from(it: OptionalReporter) -> Reporter {
        Reporter { target: Target { app: it.app, global: it.global }, key: it.key }
    }
}

/// Makes an edit and says what became of it.
pub(super) async fn apply_edit(context: &Context<'_>, ui: Ui, app: &AppName, edit: &Edit, restart: bool) -> Result<()> {
    show(ui, &apply(context, app, edit, restart, &DeployLog::to_stderr(ui)).await?)
}

fn show(ui: Ui, edited: &Edited) -> Result<()> {
    if let Some(words) = edited.words() {
        ui.talk(words);
    }
    ui.show(edited)
}
