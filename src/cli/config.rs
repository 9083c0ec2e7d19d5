use std::{convert::Infallible, str::FromStr};

use clap::Args;
use serde_json::json;

use super::Output;
use crate::{
    Error, Result,
    deploy::Edit,
    instance::Instance,
    model::{AppName, DeploymentKind, EnvKey, MASK},
    ops,
};

/// A variable and its value, as typed: `KEY=VALUE`. Parsed by us, because clap repeats in its message what it cannot
/// parse, and that may be a secret.
#[derive(Clone)]
struct Pair(String);

impl Pair {
    fn parse(&self) -> Result<(EnvKey, String)> {
        let Some((key, value)) = self.0.split_once('=') else {
            return Err(Error::InvalidValue {
                what: "setting",
                // What stands there may be a secret that lost its key.
                value: MASK.to_owned(),
                rule: "it is KEY=VALUE".to_owned(),
            });
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
    /// The app
    app: AppName,
    /// Show the values too
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    output: Output,
}

impl Show {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let app = instance.read(|tables| tables.app(&self.app))?;
        let mut config = ops::config::show(instance, &app)?;
        if !self.reveal {
            config.values_mut().for_each(|value| *value = MASK.to_owned());
        }
        let rows: Vec<[String; 2]> = config.iter().map(|(key, value)| [key.to_string(), value.clone()]).collect();
        self.output.ui().table(["KEY", "VALUE"], &rows, &config)
    }
}

/// Print the value of a config variable
#[derive(Debug, Args)]
pub(super) struct Get {
    /// The app
    app: AppName,
    /// The variable
    key: EnvKey,
    #[command(flatten)]
    output: Output,
}

impl Get {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let app = instance.read(|tables| tables.app(&self.app))?;
        let config = ops::config::show(instance, &app)?;
        let Some(value) = config.get(&self.key) else {
            return Err(Error::ConfigNotFound { app: self.app, key: self.key.to_string() });
        };
        let ui = self.output.ui();
        match ui.format {
            crate::ui::Format::Text => ui.line(value),
            crate::ui::Format::Json => ui.json(&json!({ self.key.as_str(): value })),
        }
    }
}

/// Set config variables, and restart the app with them
///
/// They are sealed in the database and given to the app's processes as environment variables. Where the app runs, it
/// gets new containers with them, as a new release and without losing a request; if those do not become healthy, the
/// old ones go on, and the config stays as it was. PORT sets the port that the web process is told to listen on.
#[derive(Debug, Args)]
pub(super) struct Set {
    /// The app
    app: AppName,
    /// Variables and their values; quote them for your shell, twice over ssh
    #[arg(required = true, value_name = "KEY=VALUE")]
    pairs: Vec<Pair>,
    /// Leave what runs as it is: the next deploy or restart takes the change up
    #[arg(long)]
    no_restart: bool,
}

impl Set {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let pairs = self.pairs.iter().map(Pair::parse).collect::<Result<Vec<_>>>()?;
        let keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        let reason = format!("config: set {}", keys.join(", "));
        let config = pairs.into_iter().map(|(key, value)| (key, Some(value))).collect();
        apply(instance, &self.app, reason, config, self.no_restart).await
    }
}

/// Remove config variables, and restart the app without them
#[derive(Debug, Args)]
pub(super) struct Unset {
    /// The app
    app: AppName,
    /// The variables
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<EnvKey>,
    /// Leave what runs as it is: the next deploy or restart takes the change up
    #[arg(long)]
    no_restart: bool,
}

impl Unset {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let keys: Vec<&str> = self.keys.iter().map(EnvKey::as_str).collect();
        let reason = format!("config: unset {}", keys.join(", "));
        let config = self.keys.into_iter().map(|key| (key, None)).collect();
        apply(instance, &self.app, reason, config, self.no_restart).await
    }
}

async fn apply(
    instance: &Instance,
    app: &AppName,
    reason: String,
    config: Vec<(EnvKey, Option<String>)>,
    no_restart: bool,
) -> Result<()> {
    let edit = Edit { kind: DeploymentKind::Config, reason, config, properties: Vec::new() };
    super::apply_edit(instance, app, &edit, !no_restart).await
}
