use std::{convert::Infallible, str::FromStr};

use clap::{Args, Subcommand};

use super::{arguments::AppArgument, properties::apply_edit};
use crate::{
    Result,
    context::Context,
    model::{Access, AppName, DeploymentKind, Edit, EnvKey, Invalid, MASK, Right},
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

    pub(super) async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        match self {
            Command::Show(it) => ui.show(&config::show(context, &it.app.app, it.reveal)?),
            Command::Get(it) => ui.show(&config::get(context, &it.app.app, &it.key)?),
            Command::Set(it) => it.run(context, ui).await,
            Command::Unset(it) => it.run(context, ui).await,
        }
    }
}

/// A variable and its value, as typed: `KEY=VALUE`. Parsed by us, because clap repeats in its message what it cannot
/// parse, and that may be a secret.
#[derive(Clone)]
struct Pair(String);

impl Pair {
    fn parse(&self) -> Result<(EnvKey, String)> {
        let Some((key, value)) = self.0.split_once('=') else {
            return Err(Invalid {
                what: "variable",
                // What stands there may be a secret that lost its key.
                value: MASK.to_owned(),
                rule: "it is KEY=VALUE".to_owned(),
            }
            .into());
        };
        Ok((key.parse()?, value.to_owned()))
    }
}

impl FromStr for Pair {
    type Err = Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(Pair(text.to_owned()))
    }
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(MASK)
    }
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
    key: EnvKey,
}

/// Set config variables, and restart the app with them
///
/// They are sealed in the database and given to the app's processes as environment variables. A running app gets new
/// containers with them, as a new release and without losing a request; if those do not become healthy, the old ones
/// keep serving, and the config stays as it was. PORT sets the port that the web process must listen on.
#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    app: AppArgument,
    /// Variables and their values; quote them for your shell, twice over ssh
    #[arg(required = true, value_name = "KEY=VALUE")]
    pairs: Vec<Pair>,
    /// Do not restart: apply the change at the next deploy or restart
    #[arg(long)]
    no_restart: bool,
}

impl Set {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let pairs = self.pairs.iter().map(Pair::parse).collect::<Result<Vec<_>>>()?;
        let keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        let reason = format!("config: set {}", keys.join(", "));
        let config = pairs.into_iter().map(|(key, value)| (key, Some(value))).collect();
        apply(context, ui, &self.app.app, "config:set", reason, config, self.no_restart).await
    }
}

/// Remove config variables, and restart the app without them
#[derive(Debug, Args)]
pub(super) struct Unset {
    #[command(flatten)]
    app: AppArgument,
    /// The variables
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<EnvKey>,
    /// Do not restart: apply the change at the next deploy or restart
    #[arg(long)]
    no_restart: bool,
}

impl Unset {
    async fn run(self, context: &Context<'_>, ui: Ui) -> Result<()> {
        let keys: Vec<&str> = self.keys.iter().map(EnvKey::as_str).collect();
        let reason = format!("config: unset {}", keys.join(", "));
        let config = self.keys.into_iter().map(|key| (key, None)).collect();
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
    let edit = Edit { kind: DeploymentKind::Config, action: action.to_owned(), reason, config, properties: Vec::new() };
    apply_edit(context, ui, app, &edit, !no_restart).await
}
