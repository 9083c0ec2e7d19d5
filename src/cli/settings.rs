use clap::{Args, Subcommand};

use crate::{
    Error, Result,
    context::Context,
    model::{Access, Right},
    ops::{
        edit::Outcome,
        settings::{self, Changed},
    },
    ui::Ui,
};

/// Settings of the server
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "settings:list")]
    List(List),
    #[command(name = "settings:set")]
    Set(Set),
    #[command(name = "settings:unset")]
    Unset(Unset),
}

impl Command {
    pub(super) fn access(&self) -> Access<'_> {
        match self {
            Command::List(_) => Access::Server(Right::Administer),
            Command::Set(_) => Access::Server(Right::Administer),
            Command::Unset(_) => Access::Server(Right::Administer),
        }
    }

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::List(List {}) => ui.show(&settings::list(context)?),
            Command::Set(it) => {
                let (name, value) = it.pair()?;
                show(ui, &settings::set(context, name, Some(value)).await?)
            }
            Command::Unset(it) => show(ui, &settings::set(context, &it.name, None).await?),
        }
    }
}

/// List the server's settings, with where each value is from
///
/// A variable wins over the file, and the file over what `settings:set` stored in the database.
#[derive(Debug, Args)]
pub(super) struct List {}

/// Set a setting of the server, in its database
///
/// `paas settings:set keep.images 10`, or `settings:set keep.images=10`.
///
/// It holds at once, for the daemon too. Settings that the daemon reads when it starts, such as the domain, are set in
/// its file: the error says which line.
#[derive(Debug, Args)]
pub(super) struct Set {
    /// The setting, or NAME=VALUE
    name: String,
    /// Its new value
    value: Option<String>,
}

impl Set {
    /// Reads `NAME VALUE` and `NAME=VALUE`, as the properties of apps are typed.
    fn pair(&self) -> Result<(&str, &str)> {
        match (&self.value, self.name.split_once('=')) {
            (Some(value), _) => Ok((&self.name, value)),
            (None, Some(pair)) => Ok(pair),
            (None, None) => Err(Error::usage(
                format!("there is no value for {}", self.name),
                format!("`paas settings:set {0} VALUE` sets it; `paas settings:unset {0}` resets it", self.name),
            )),
        }
    }
}

/// Reset a setting of the server to its default
#[derive(Debug, Args)]
pub(super) struct Unset {
    /// The setting
    name: String,
}

fn show(ui: Ui, changed: &Changed) -> Result<()> {
    ui.talk(match changed.outcome {
        Outcome::Unchanged => "nothing to change: this value is already set",
        Outcome::Saved | Outcome::Deployed => "saved",
    });
    if changed.reloads {
        ui.talk("Caddy has reloaded its Caddyfile: requests that were under way may have been lost");
    }
    if let Some(source) = &changed.hidden_by {
        ui.talk(&format!("note: {} is also given by the {source}, which wins", changed.name));
    }
    ui.show(changed)
}
