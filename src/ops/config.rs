//! Config variables: sealed in the database, injected when a container starts. Those of an app, and those of all apps: an
//! app's own go before.

pub mod suggest;

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::edit::{Edited, Outcome};
use crate::{
    Error, Result,
    context::Context,
    deploy,
    error::{DeployError, Thing},
    instance::Instance,
    model::{
        App, AppName, Change, Config, ConfigMap, Edit, Effect, EnvKey, MASK, Outcome as Ended, Scope, Subject,
        check_environment, config_digest, differing, edits_between, size_of,
    },
    ui::{DeployLog, Show, Text, or_dash},
};

/// What is looked at: an app, or what is set for all; and whether what is set for all is looked at with the app's own.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The app; none: all apps.
    pub app: Option<&'a AppName>,
    /// Whether it is what the app gets, from whichever scope.
    pub merged: bool,
}

impl Look<'_> {
    /// The variables, with where each is set.
    fn read(self, context: &Context<'_>) -> Result<(ConfigMap, Config)> {
        let instance = context.instance;
        let config = match self.app {
            Some(name) => instance.config(instance.read(|tables| tables.app(name))?.id)?,
            None => Config { global: instance.read(|tables| instance.config_in(tables, None))?, own: ConfigMap::new() },
        };
        let variables = match (self.app, self.merged) {
            (None, _) | (Some(_), true) => config.variables(),
            (Some(_), false) => config.own.clone(),
        };
        Ok((variables, config))
    }
}

/// The variables of an app or of all apps, as a door shows them: the values are masked unless they were asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum ConfigShown {
    /// Of one scope.
    Alone(BTreeMap<String, String>),
    /// With the scope of each.
    Merged(BTreeMap<String, VariableShown>),
}

/// A variable with where it is set.
#[derive(Clone, Debug, Serialize)]
pub struct VariableShown {
    /// Its value, or a mask.
    pub value: String,
    /// `app`, or `global`.
    pub scope: &'static str,
}

impl Show for ConfigShown {
    fn text(&self) -> Text {
        match self {
            ConfigShown::Alone(variables) => {
                Text::table(["KEY", "VALUE"], variables.iter().map(|(key, value)| [key.clone(), value.clone()]))
            }
            ConfigShown::Merged(variables) => Text::table(
                ["KEY", "VALUE", "SCOPE"],
                variables.iter().map(|(key, shown)| [key.clone(), shown.value.clone(), shown.scope.to_owned()]),
            ),
        }
    }
}

/// Shows variables.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub fn show(context: &Context<'_>, look: Look<'_>, reveal: bool) -> Result<ConfigShown> {
    let (variables, config) = look.read(context)?;
    let shown = |value: String| if reveal { value } else { MASK.to_owned() };
    if !look.merged {
        let variables = variables.into_iter().map(|(key, value)| (key.to_string(), shown(value)));
        return Ok(ConfigShown::Alone(variables.collect()));
    }
    let variables = variables.into_iter().map(|(key, value)| {
        let scope = config.scope_of(&key).unwrap_or(Scope::App).as_str();
        (key.to_string(), VariableShown { value: shown(value), scope })
    });
    Ok(ConfigShown::Merged(variables.collect()))
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

/// The value of a variable; `encoded`: in base64.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub fn get(context: &Context<'_>, look: Look<'_>, key: &EnvKey, encoded: bool) -> Result<Variable> {
    let (mut variables, config) = look.read(context)?;
    match variables.remove(key) {
        Some(value) => {
            let value = if encoded { STANDARD.encode(value) } else { value };
            Ok(Variable(BTreeMap::from([(key.to_string(), value)])))
        }
        None => match (look.app, config.scope_of(key)) {
            (Some(app), Some(_)) => Err(Error::usage(
                format!("{app} has no {key} of its own: it is set for all apps"),
                format!("`paas config:get {app} {key} --merged` prints the value that {app} gets"),
            )),
            (app, _) => Err(Error::NotFound(Thing::ConfigVariable(app.cloned()), key.to_string())),
        },
    }
}

/// The names of variables.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Keys(Vec<EnvKey>);

impl Show for Keys {
    fn text(&self) -> Text {
        Text::Line(self.0.iter().map(|key| format!("{key}\n")).collect())
    }
}

/// The names of the variables of an app or of all apps.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub fn keys(context: &Context<'_>, look: Look<'_>) -> Result<Keys> {
    Ok(Keys(look.read(context)?.0.into_keys().collect()))
}

/// The variables of an app or of all apps, in clear.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub fn variables(context: &Context<'_>, look: Look<'_>) -> Result<ConfigMap> {
    Ok(look.read(context)?.0)
}

/// What became of an edit of what is set for all apps.
#[derive(Clone, Debug, Serialize)]
pub struct GlobalEdited {
    /// As of any edit.
    #[serde(flatten)]
    pub edited: Edited,
    /// The apps that run and have it still to come.
    pub pending: Vec<AppName>,
    /// The apps that were restarted with it.
    pub restarted: Vec<AppName>,
}

impl Show for GlobalEdited {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Edits what is set for all apps. `restart`: whether the apps that run take it up now, one after the other; else each does
/// with its next release.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`], [`Error::Store`]: nothing has changed then. That of the first app that could not
/// be restarted: the others were.
pub async fn edit_global(context: &Context<'_>, edit: &Edit, restart: bool, log: &DeployLog) -> Result<GlobalEdited> {
    let instance = context.instance;
    let changed = instance.write(|tables| {
        let before = instance.config_in(tables, None)?;
        if edit.saw_config.as_ref().is_some_and(|saw| *saw != config_digest(&before)) {
            return Err(DeployError::GlobalConfigChanged.into());
        }
        let missing = |key: &EnvKey| Error::NotFound(Thing::ConfigVariable(None), key.to_string());
        let after = deploy::edited_variables(before.clone(), &edit.config, edit.replaces_config, missing)?;
        if size_of(&after) > size_of(&before) {
            check_environment(&after, [])?;
        }
        let edits = edits_between(&before, &after);
        if edits.is_empty() {
            return Ok(false);
        }
        instance.write_config(tables, None, &edits, context.actor())?;
        let change = Change::new(&edit.action, Subject::Server).with(&edit.reason);
        context.note(tables, &change, Ended::Done)?;
        Ok(true)
    })?;
    let outcome = if changed { Outcome::Saved } else { Outcome::Unchanged };
    let edited = Edited { effect: Effect::Nothing, ..Edited::of(None, outcome) };
    let mut pending = Vec::new();
    for app in instance.read(|tables| tables.apps())?.into_iter().filter(App::is_running) {
        if pending_of(instance, &app)?.iter().any(|variable| variable.scope == Scope::Global.as_str()) {
            pending.push(app.name);
        }
    }
    let (mut restarted, mut failed) = (Vec::new(), None);
    if restart {
        for app in std::mem::take(&mut pending) {
            log.step(&format!("Restarting {app}"));
            match deploy::run(context, &app, &deploy::Action::Restart(None), log).await {
                Ok(_) => restarted.push(app),
                Err(error) => {
                    failed.get_or_insert(error);
                    pending.push(app);
                }
            }
        }
    }
    failed.map_or(Ok(GlobalEdited { edited, pending, restarted }), Err)
}

/// A variable of which the serving release has another value than is set now, or which only one of both has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// Its name.
    pub key: EnvKey,
    /// Where it was changed: `app`, or `global`.
    pub scope: &'static str,
}

/// What of an app's config its serving release does not have yet.
///
/// # Errors
/// [`Error::Store`].
fn pending_of(instance: &Instance, app: &App) -> Result<Vec<Pending>> {
    let sealed = instance.read(|tables| {
        let current = tables.current_release(app.id)?;
        current.map(|release| tables.sealed_config(release.id)).transpose()
    })?;
    let Some(sealed) = sealed else { return Ok(Vec::new()) };
    let (then, now) = (instance.secrets.unseal_config(&sealed)?, instance.config(app.id)?);
    let changed = differing(&then.variables(), &now.variables()).into_iter();
    let scope = |key: &EnvKey| if then.own.get(key) == now.own.get(key) { Scope::Global } else { Scope::App };
    let mut pending: Vec<Pending> = changed.map(|key| Pending { scope: scope(&key).as_str(), key }).collect();
    pending.sort_by(|left, right| left.key.cmp(&right.key));
    Ok(pending)
}

/// How an app's config stands.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigReport {
    /// The app.
    pub app: AppName,
    /// The number of the release that serves.
    pub release: Option<u32>,
    /// How many variables it has of its own.
    pub own: usize,
    /// How many it has from what is set for all apps.
    pub global: usize,
    /// What its next release will have otherwise.
    pub pending: Vec<Pending>,
}

/// How the config of apps stands.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct ConfigReports(pub Vec<ConfigReport>);

impl Show for ConfigReports {
    fn text(&self) -> Text {
        Text::table(
            ["APP", "RELEASE", "OWN", "GLOBAL", "PENDING"],
            self.0.iter().map(|report| {
                let pending = report.pending.iter().map(|variable| match variable.scope {
                    "global" => format!("{} (global)", variable.key),
                    _ => variable.key.to_string(),
                });
                let pending: Vec<String> = pending.collect();
                [
                    report.app.to_string(),
                    or_dash(report.release.map(|release| format!("v{release}"))),
                    report.own.to_string(),
                    report.global.to_string(),
                    or_dash((!pending.is_empty()).then(|| pending.join(", "))),
                ]
            }),
        )
    }
}

/// Reports how the config of an app stands, or that of all apps that the caller sees.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Store`].
pub fn report(context: &Context<'_>, name: Option<&AppName>) -> Result<ConfigReports> {
    let instance = context.instance;
    let apps = instance.read(|tables| match name {
        Some(name) => Ok(vec![tables.app(name)?]),
        None => tables.apps(),
    })?;
    let reports = apps.into_iter().filter(|app| context.sees(&app.name)).map(|app| {
        let config = instance.config(app.id)?;
        Ok(ConfigReport {
            release: app.current_release.map(|release| release.0),
            own: config.own.len(),
            global: config.global.keys().filter(|key| !config.own.contains_key(*key)).count(),
            pending: pending_of(instance, &app)?,
            app: app.name,
        })
    });
    reports.collect::<Result<_>>().map(ConfigReports)
}

/// Packs variables into a tar, a file each.
///
/// # Errors
/// [`Error::Bug`].
pub fn bundle(variables: &ConfigMap) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (key, value) in variables {
        let mut header = tar::Header::new_gnu();
        header.set_size(value.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, key.as_str(), value.as_bytes()).map_err(Error::bug)?;
    }
    tar.into_inner().map_err(Error::bug)
}
