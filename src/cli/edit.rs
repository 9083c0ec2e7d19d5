//! What the commands that edit settings of an app have in common.

use std::str::FromStr;

use clap::Args;

use super::arguments::AppArgument;
use crate::{
    Error, Result,
    context::Context,
    deploy::Edit,
    model::{AppName, DeploymentKind, Invalid, Override, ProcessType, Setting, SettingGroup},
    ops::edit::{Outcome, apply},
    ui::{DeployLog, Ui},
};

/// A setting and its value, as typed: `memory=512m`.
#[derive(Clone, Debug)]
struct Pair {
    name: String,
    value: String,
}

impl FromStr for Pair {
    type Err = Error;

    fn from_str(text: &str) -> Result<Pair> {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Error::Invalid(Invalid {
                what: "setting",
                value: text.to_owned(),
                rule: "it is NAME=VALUE, or NAME= for the default".to_owned(),
            })
        })?;
        Ok(Pair { name: name.to_owned(), value: value.to_owned() })
    }
}

/// The app and the settings that `ps:set` and `checks:set` take.
#[derive(Debug, Args)]
pub(super) struct Setter {
    #[command(flatten)]
    pub(super) app: AppArgument,
    /// Settings and their values; an empty value takes a setting back
    #[arg(required = true, value_name = "NAME=VALUE")]
    pairs: Vec<Pair>,
    /// Leave what runs as it is: the next deploy or restart takes the change up
    #[arg(long)]
    no_restart: bool,
}

impl Setter {
    /// Sets them for a process type, or for all.
    pub(super) async fn run(
        self,
        context: &Context<'_>,
        ui: Ui,
        group: SettingGroup,
        process: Option<ProcessType>,
        kind: DeploymentKind,
    ) -> Result<()> {
        let mut edit = Edit { kind, reason: String::new(), config: Vec::new(), told: Vec::new(), untold: Vec::new() };
        let mut words = Vec::new();
        for Pair { name, value } in &self.pairs {
            let setting = Setting::find(group, name).ok_or_else(|| {
                Error::usage(
                    format!("there is no setting {name:?}"),
                    format!("the settings: {}", Setting::names(group).join(", ")),
                )
            })?;
            if value.is_empty() {
                edit.untold.push((process.clone(), setting));
            } else {
                // Checked here, where what was typed is at hand.
                crate::model::ProcessSettings::default().set(setting, value)?;
                edit.told.push(Override { process: process.clone(), setting, value: value.trim().to_owned() });
            }
            words.push(if setting == Setting::CheckHeaders { "headers".to_owned() } else { format!("{name}={value}") });
        }
        let of = process.map(|process| format!(" of {process}")).unwrap_or_default();
        let noun = match group {
            SettingGroup::Checks => "checks",
            SettingGroup::Processes => "processes",
        };
        edit.reason = format!("{noun}{of}: {}", words.join(" "));
        apply_edit(context, ui, &self.app.app, &edit, !self.no_restart).await
    }
}

/// Makes an edit and says what became of it.
pub(super) async fn apply_edit(context: &Context<'_>, ui: Ui, app: &AppName, edit: &Edit, restart: bool) -> Result<()> {
    let edited = apply(context, app, edit, restart, &DeployLog::to_stderr(ui)).await?;
    match edited.outcome {
        Outcome::Unchanged => ui.talk("nothing to change: these values are already set"),
        Outcome::Saved => ui.talk("saved; the next deploy or restart takes it up"),
        Outcome::Deployed => {}
    }
    ui.show(&edited)
}

/// The settings of a group, for the help of the command that sets them.
pub(super) fn setting_help(group: SettingGroup) -> String {
    let lines = Setting::ALL.into_iter().filter(|setting| setting.group() == group);
    let lines: Vec<String> = lines.map(|setting| format!("  {:<14} {}", setting.name(), setting.about())).collect();
    format!("Settings:\n{}", lines.join("\n"))
}
