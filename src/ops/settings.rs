//! The settings of the server: what is given in its file or by a variable, and what is set in the database.

use serde::Serialize;

use super::{edit::Outcome, properties};
use crate::{
    Error, Result, clock,
    context::Context,
    error::ProxyError,
    model::{Change, Effect, PropertyChange, Scope, Subject},
    proxy,
    settings::{Given, Setting},
    ui::{Show, Text, or_dash},
};

/// A setting as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its name.
    pub name: &'static str,
    /// Its value; none where its default is none.
    pub value: String,
    /// Where the value is from: `default`, `database`, `file PATH` or `variable NAME`.
    pub source: String,
    /// Who set it in the database.
    pub by: Option<String>,
    /// When it was set in the database.
    pub set_at: Option<String>,
    /// Whether it may change while the daemon runs: `settings:set`.
    pub changeable: bool,
    /// What it sets.
    pub about: &'static str,
}

/// All settings.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Settings(pub Vec<Line>);

impl Show for Settings {
    fn text(&self) -> Text {
        Text::table(
            ["SETTING", "VALUE", "SOURCE", "BY"],
            self.0.iter().map(|line| {
                let by = line.by.as_ref().zip(line.set_at.as_ref()).map(|(by, at)| format!("{by}, {at}"));
                [line.name.to_owned(), line.value.clone(), line.source.clone(), or_dash(by)]
            }),
        )
    }
}

/// All settings, with their values and where these are from.
///
/// # Errors
/// [`Error::Store`].
pub fn list(context: &Context<'_>) -> Result<Settings> {
    let instance = context.instance;
    let rows = instance.read(|tables| tables.properties(None))?;
    let line = |setting: Setting| {
        let given = instance.settings.given(setting.name);
        let row = rows.iter().find(|row| setting.property == Some(row.set.property));
        let (value, source) = match (given, row) {
            (Some(Given { value, source }), _) => (value.clone(), source.to_string()),
            (None, Some(row)) => (row.set.value.clone(), "database".to_owned()),
            (None, None) => (setting.default.to_owned(), "default".to_owned()),
        };
        let row = row.filter(|_| given.is_none());
        Line {
            name: setting.name,
            value,
            source,
            by: row.and_then(|row| row.actor.clone()),
            set_at: row.and_then(|row| row.set_at).map(clock::rfc3339),
            changeable: setting.property.is_some(),
            about: setting.about,
        }
    };
    Ok(Settings(Setting::all().map(line).collect()))
}

/// What became of a change of a setting.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// The setting's name.
    pub name: &'static str,
    /// What became of it in the database.
    pub outcome: Outcome,
    /// What wins over the database, where the setting is given elsewhere too.
    pub hidden_by: Option<String>,
    /// Whether Caddy loaded its Caddyfile anew for it.
    pub reloads: bool,
}

impl Show for Changed {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Sets a setting in the database, where every process reads it when it needs it; none clears it.
///
/// # Errors
/// [`Error::Usage`] for an unknown setting, and for one that needs a restart, with the line for the file;
/// [`Error::Invalid`].
pub async fn set(context: &Context<'_>, name: &str, value: Option<&str>) -> Result<Changed> {
    let instance = context.instance;
    let setting = Setting::find(name).ok_or_else(|| {
        let known: Vec<&str> =
            Setting::all().filter(|setting| setting.property.is_some()).map(|setting| setting.name).collect();
        Error::usage(
            format!("there is no setting {name:?}"),
            format!("those that can be set: {}; `paas settings:list` lists all", known.join(", ")),
        )
    })?;
    let Some(property) = setting.property else {
        let file = instance.settings.file().display();
        let change = match value {
            Some(value) => {
                let value = toml::Value::String(value.to_owned());
                format!("write `{} = {value}` to {file}", setting.name)
            }
            None => format!("take {} out of {file}", setting.name),
        };
        return Err(Error::usage(
            format!("{} cannot change while the daemon runs", setting.name),
            format!("{change} and restart the daemon: `systemctl restart paas`"),
        ));
    };
    let value = value.map(str::trim).filter(|value| !value.is_empty());
    if let Some(value) = value {
        property.value(value)?;
    }
    let is_of_proxy = property.effect == Effect::Route;
    if is_of_proxy {
        super::proxy::check_trusted(context, value).await?;
    }
    let action = if value.is_some() { "settings:set" } else { "settings:unset" };
    let event = Change::new(action, Subject::Setting(setting.name.to_owned())).with(value.unwrap_or_default());
    let change = PropertyChange { scope: Scope::Global, property, value: value.map(str::to_owned) };
    let outcome = properties::set_for_all(context, &[change], &event)?.outcome;
    let reloads = is_of_proxy && outcome == Outcome::Saved;
    if reloads {
        match proxy::sync(instance).await {
            // It starts with what is set then.
            Ok(()) | Err(Error::Proxy(ProxyError::Unavailable { .. })) => {}
            Err(error) => return Err(error),
        }
        proxy::enforce(instance).await?;
    }
    let hidden_by = instance.settings.given(setting.name).map(|given| given.source.to_string());
    Ok(Changed { name: setting.name, outcome, hidden_by, reloads })
}
