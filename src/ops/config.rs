//! Config variables: sealed in the database, injected when a container starts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Error, Result,
    context::Context,
    error::Thing,
    model::{AppName, EnvKey, MASK},
    ui::{Show, Text},
};

/// An app's variables, as a door shows them: the values are masked unless they were asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct ConfigShown(BTreeMap<String, String>);

impl Show for ConfigShown {
    fn text(&self) -> Text {
        Text::table(["KEY", "VALUE"], self.0.iter().map(|(key, value)| [key.clone(), value.clone()]))
    }
}

/// The variables of an app.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub fn show(context: &Context<'_>, name: &AppName, reveal: bool) -> Result<ConfigShown> {
    let config = context.instance.config(context.instance.read(|tables| tables.app(name))?.id)?;
    let shown = |value: String| if reveal { value } else { MASK.to_owned() };
    Ok(ConfigShown(config.into_iter().map(|(key, value)| (key.to_string(), shown(value))).collect()))
}

/// One variable with its value.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Variable(BTreeMap<String, String>);

impl Show for Variable {
    fn text(&self) -> Text {
        // One line, also for an empty value.
        Text::Line(self.0.values().map(|value| format!("{value}\n")).collect())
    }
}

/// The value of a variable of an app.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotFound`], [`Error::Store`].
pub fn get(context: &Context<'_>, name: &AppName, key: &EnvKey) -> Result<Variable> {
    let mut config = context.instance.config(context.instance.read(|tables| tables.app(name))?.id)?;
    match config.remove(key) {
        Some(value) => Ok(Variable(BTreeMap::from([(key.to_string(), value)]))),
        None => Err(Error::NotFound(Thing::ConfigVariable(name.clone()), key.to_string())),
    }
}
