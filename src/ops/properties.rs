//! Properties: set, clear and report them, whatever they are of.

use serde::Serialize;

use super::edit::{self, Edited, Outcome};
use crate::{
    Error, Result, clock,
    context::Context,
    instance::Instance,
    model::{
        AppName, Change, DeploymentKind, Edit, Effect, Noun, Override, ProcessSpec, ProcessType, Property,
        PropertyChange, PropertyRow, Scope, Subject, property,
    },
    proxy,
    ui::{DeployLog, Show, Text, or_dash},
};

/// What is to be set, as somebody typed it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whose properties.
    pub noun: Noun,
    /// The app; none: for all apps.
    pub app: Option<AppName>,
    /// The process type, where one was named.
    pub process: Option<ProcessType>,
    /// The words after the app: `KEY VALUE`, `KEY`, or `KEY=VALUE ...`.
    pub words: Vec<String>,
    /// Whether what runs takes the change up at once.
    pub restart: bool,
}

/// Sets and clears properties. Several in one go are one change, and one deploy where they need one.
///
/// # Errors
/// [`Error::Usage`] and [`Error::Invalid`] for what was typed; whatever a deploy fails with. Nothing has changed then.
pub async fn set(context: &Context<'_>, request: &Request, log: &DeployLog) -> Result<Edited> {
    let noun = request.noun;
    let pairs = property::parse_words(noun, &request.words)?;
    let process = request.process.clone().or_else(|| noun.usual_process());
    let mut changes = Vec::new();
    for (property, value) in pairs {
        let scope = match (&request.app, &process) {
            (None, _) if request.process.is_some() => {
                return Err(Error::usage(
                    "--process is for one app, and --global for all",
                    "name the app instead of --global, or leave --process out",
                ));
            }
            (None, _) => Scope::Global,
            (Some(_), Some(process)) => Scope::Process(process.clone()),
            (Some(_), None) => Scope::App,
        };
        property.check_scope(&scope)?;
        if noun == Noun::Checks && scope.process().is_some_and(|process| process.as_str() == ProcessType::RELEASE) {
            return Err(Error::usage(
                "release is a task that each deploy runs once, and is not checked",
                "a deploy whose release command exits with another code than 0 fails, and changes nothing",
            ));
        }
        changes.push(PropertyChange { scope, property, value });
    }
    let Some(app) = &request.app else {
        let words: Vec<String> = changes.iter().map(words_of).collect();
        let change = Change::new(action(noun), Subject::Server).with(words.join(" "));
        let edited = set_for_all(context, &changes, &change)?;
        if edited.effect == Effect::Route {
            proxy::enforce(context.instance).await?;
        }
        return Ok(edited);
    };
    let words: Vec<String> = changes.iter().map(words_of).collect();
    let of = process.map(|process| format!(" of {process}")).unwrap_or_default();
    let reason = format!("{}{of}: {}", words_for(noun), words.join(" "));
    let edit = Edit {
        kind: DeploymentKind::Settings,
        action: action(noun).to_owned(),
        reason,
        config: Vec::new(),
        replaces_config: false,
        saw_config: None,
        properties: changes,
        saw: None,
    };
    edit::apply(context, app, &edit, request.restart, log).await
}

/// A change for people: without the value, where that is secret.
fn words_of(change: &PropertyChange) -> String {
    match &change.value {
        // One line, whatever the value is.
        Some(value) if !change.property.secret => {
            format!("{}={}", change.property.name, value.lines().collect::<Vec<_>>().join(" | "))
        }
        Some(_) => change.property.name.to_owned(),
        None => format!("{}=", change.property.name),
    }
}

fn action(noun: Noun) -> &'static str {
    match noun {
        Noun::Apps => "apps:set",
        Noun::Certs => "certs:set",
        Noun::Checks => "checks:set",
        Noun::Proxy => "proxy:set",
        Noun::Ps => "ps:set",
        Noun::Server => "settings:set",
    }
}

fn words_for(noun: Noun) -> &'static str {
    match noun {
        Noun::Apps => "app",
        Noun::Certs => "certificates",
        Noun::Checks => "checks",
        Noun::Proxy => "proxy",
        Noun::Ps => "processes",
        Noun::Server => "server",
    }
}

/// Changes what holds for all apps, or for the server. Each app takes it up by itself, with its next release.
///
/// # Errors
/// [`Error::Store`].
pub(super) fn set_for_all(context: &Context<'_>, changes: &[PropertyChange], change: &Change<'_>) -> Result<Edited> {
    let rows = context.instance.read(|tables| tables.properties(None))?;
    let before: Vec<Override> = rows.into_iter().map(|row| row.set).collect();
    if property::changed(before.clone(), changes) == before {
        return Ok(Edited::of(None, Outcome::Unchanged));
    }
    context.change(change, |tables| tables.change_properties(None, changes, context.actor()))?;
    let mut edited = Edited::of(None, Outcome::Saved);
    edited.effect = edit::effect_of(changes);
    Ok(edited)
}

/// A property as it is reported: where it is set, and what holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its name.
    pub name: &'static str,
    /// The process type it is reported for; none: the app, or all apps.
    pub process: Option<ProcessType>,
    /// What is set for the app, or for the process type of this line.
    pub set: Option<String>,
    /// What is set for the app's project.
    pub project: Option<String>,
    /// What is set for all apps.
    pub global: Option<String>,
    /// What the source of the app says, in `paas.toml` or `app.json`.
    pub source: Option<String>,
    /// What holds where nothing is set.
    pub default: &'static str,
    /// What holds.
    pub effective: String,
    /// Who set what holds, or the file or variable that gives it.
    pub by: Option<String>,
    /// When it was set.
    pub set_at: Option<String>,
}

/// Reports the properties of a noun, for an app or for all apps. An app may be one that was never deployed.
///
/// `key`: only this property.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Usage`] for an unknown key.
pub fn report(context: &Context<'_>, noun: Noun, app: Option<&AppName>, key: Option<&str>) -> Result<PropertyLines> {
    let instance = context.instance;
    let wanted: Vec<&'static Property> = match key {
        Some(key) => vec![Property::named(noun, key)?],
        None => noun.properties().collect(),
    };
    let (rows, specs) = instance.read(|tables| {
        let Some(app) = app else { return Ok((tables.properties(None)?, Vec::new())) };
        let app = tables.app(app)?;
        let current = tables.current_release(app.id)?;
        Ok((tables.properties(Some(app.id))?, current.map(|release| release.processes).unwrap_or_default()))
    })?;
    let mut lines = Vec::new();
    for property in wanted.into_iter().filter(|property| app.is_some() || property.scopes.global) {
        lines.push(line(instance, &rows, property, None));
        if app.is_none() || !property.scopes.process {
            continue;
        }
        let declares = |spec: &&ProcessSpec| spec.declared.get(property).is_some();
        let mut processes: Vec<&ProcessType> = specs.iter().filter(declares).map(|spec| &spec.process).collect();
        let own = rows.iter().filter(|row| row.set.property == property).filter_map(|row| row.set.scope.process());
        processes.extend(own);
        processes.sort_by_key(|process| (!process.is_web(), (*process).clone()));
        processes.dedup();
        for process in processes {
            lines.push(line(instance, &rows, property, Some((process, &specs))));
        }
    }
    Ok(PropertyLines(lines))
}

fn line(
    instance: &Instance,
    rows: &[PropertyRow],
    property: &'static Property,
    of: Option<(&ProcessType, &[ProcessSpec])>,
) -> Line {
    let process = of.map(|(process, _)| process);
    let here = process.map_or(Scope::App, |process| Scope::Process(process.clone()));
    let at = |scope: &Scope| rows.iter().find(|row| row.set.property == property && row.set.scope == *scope);
    let shown = |row: Option<&PropertyRow>| row.map(|row| property.shown(&row.set.value));
    // A file or a variable wins over what is set for all.
    let given = instance.settings.given(property.name);
    let declared = of.and_then(|(process, specs)| {
        specs.iter().find(|spec| spec.process == *process).and_then(|spec| spec.declared.get(property))
    });
    let nearest = [here.clone(), Scope::App, Scope::Project].iter().find_map(at);
    let (effective, by, set_at) = match (nearest, given, at(&Scope::Global), declared) {
        (Some(row), ..) | (None, None, Some(row), _) => {
            (property.shown(&row.set.value), row.actor.clone(), row.set_at.map(clock::rfc3339))
        }
        (None, Some(given), ..) => (property.shown(&given.value), Some(given.source.to_string()), None),
        (None, None, None, Some(declared)) => (property.shown(declared), None, None),
        (None, None, None, None) => (property.default.words().to_owned(), None, None),
    };
    Line {
        name: property.name,
        process: process.cloned(),
        set: shown(at(&here)),
        project: shown(at(&Scope::Project)),
        global: given.map(|given| property.shown(&given.value)).or_else(|| shown(at(&Scope::Global))),
        source: declared.map(|declared| property.shown(declared)),
        default: property.default.words(),
        effective,
        by,
        set_at,
    }
}

/// The lines of a report.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct PropertyLines(pub Vec<Line>);

impl Show for PropertyLines {
    fn text(&self) -> Text {
        Text::table(
            ["PROPERTY", "PROCESS", "SET", "GLOBAL", "SOURCE", "DEFAULT", "EFFECTIVE", "BY"],
            self.0.iter().map(|line| {
                let by = match (&line.by, &line.set_at) {
                    (Some(by), Some(at)) => format!("{by}, {at}"),
                    (by, _) => or_dash(by.as_ref()),
                };
                [
                    line.name.to_owned(),
                    or_dash(line.process.as_ref()),
                    or_dash(line.set.as_ref()),
                    or_dash(line.global.as_ref()),
                    or_dash(line.source.as_ref()),
                    line.default.to_owned(),
                    line.effective.clone(),
                    by,
                ]
            }),
        )
    }
}

/// The properties of a noun, for the help of the command that sets them.
pub fn help(noun: Noun) -> String {
    let lines: Vec<String> = noun
        .properties()
        .map(|property| {
            let default = property.default.words();
            let global = if property.scopes.global { "" } else { "; not with --global" };
            format!("  {:<18} {} [default: {default}{global}]", property.name, property.about)
        })
        .collect();
    format!("Properties:\n{}", lines.join("\n"))
}
