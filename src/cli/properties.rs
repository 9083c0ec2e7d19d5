//! `NOUN:set` and `NOUN:report`, the same for every noun that has properties; and what edits of an app have in common.

use clap::Args;

use super::Output;
use crate::{
    Error, Result,
    deploy::Edit,
    instance::Instance,
    model::{AppName, Noun, ProcessType},
    ops::{
        edit::{Outcome, apply},
        properties::{self, Line, Request},
    },
    ui::{DeployLog, Format, Ui},
};

/// What `NOUN:set` takes.
#[derive(Debug, Args)]
pub(super) struct Setter {
    /// The app
    #[arg(required_unless_present = "global")]
    app: Option<String>,
    /// A property and its value; or KEY=VALUE, once or several times; KEY or KEY= resets a property to its default
    #[arg(value_name = "KEY [VALUE] | KEY=VALUE")]
    words: Vec<String>,
    /// Set it for all apps: each takes it up with its next deploy or restart, unless it has a value of its own
    #[arg(long)]
    global: bool,
    /// Leave what runs as it is: the next deploy or restart takes the change up
    #[arg(long)]
    no_restart: bool,
}

impl Setter {
    /// Sets the properties of a noun.
    pub(super) async fn run(self, instance: &Instance, noun: Noun, process: Option<ProcessType>) -> Result<()> {
        let (app, words) = target(self.app, self.words, self.global)?;
        let request = Request { noun, app, process, words, restart: !self.no_restart };
        say(&properties::set(instance, &request, &DeployLog::to_stderr()).await?);
        Ok(())
    }
}

/// What `NOUN:report` takes.
#[derive(Debug, Args)]
pub(super) struct Reporter {
    /// The app
    pub app: Option<String>,
    /// Only this property
    key: Option<String>,
    /// Show what is set for all apps
    #[arg(long)]
    pub global: bool,
    #[command(flatten)]
    pub output: Output,
}

/// Of what a report is.
#[derive(Debug)]
pub(super) struct Subject {
    /// The app; none: all apps.
    pub app: Option<AppName>,
    /// Only this property.
    pub key: Option<String>,
}

impl Reporter {
    /// What was asked for.
    pub(super) fn subject(self) -> Result<Subject> {
        let (app, words) = target(self.app, self.key.into_iter().collect(), self.global)?;
        let ([] | [_]) = words.as_slice() else {
            return Err(Error::Usage {
                message: "a report is of one property, or of all".to_owned(),
                hint: "leave the second one out".to_owned(),
            });
        };
        Ok(Subject { app, key: words.into_iter().next() })
    }

    /// Reports the properties of a noun, and nothing else.
    pub(super) fn run(self, instance: &Instance, noun: Noun) -> Result<()> {
        let ui = self.output.ui();
        let subject = self.subject()?;
        show(ui, &properties::report(instance, noun, subject.app.as_ref(), subject.key.as_deref())?)
    }
}

/// Prints lines of a report, as a document of their own.
pub(super) fn show(ui: Ui, lines: &[Line]) -> Result<()> {
    let rows: Vec<[String; 8]> = lines.iter().map(properties::row).collect();
    ui.table(properties::HEADER, &rows, &lines)
}

/// Prints lines of a report below what was printed before, for people.
pub(super) fn show_below(ui: Ui, lines: &[Line]) -> Result<()> {
    if ui.format == Format::Text {
        ui.line("\n")?;
    }
    show(ui, lines)
}

/// With `--global` there is no app: the word in its place is the first of the others.
fn target(app: Option<String>, words: Vec<String>, global: bool) -> Result<(Option<AppName>, Vec<String>)> {
    if global {
        return Ok((None, app.into_iter().chain(words).collect()));
    }
    Ok((app.map(|app| app.parse()).transpose()?, words))
}

/// Makes an edit and says what became of it.
pub(super) async fn apply_edit(instance: &Instance, app: &AppName, edit: &Edit, restart: bool) -> Result<()> {
    say(&apply(instance, app, edit, restart, &DeployLog::to_stderr()).await?);
    Ok(())
}

/// Says what became of a change.
pub(super) fn say(outcome: &Outcome) {
    match outcome {
        Outcome::Nothing => Ui::default().talk("nothing to change: it is so already"),
        Outcome::Saved(effect) => Ui::default().talk(properties::saved_words(*effect)),
        Outcome::Deployed(_) => {}
    }
}
