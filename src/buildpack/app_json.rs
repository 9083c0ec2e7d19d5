//! `app.json`: Heroku's `env`, `formation` and `scripts`, Dokku's `cron`, `healthchecks` and `scripts.dokku`
//! (<https://devcenter.heroku.com/articles/app-json-schema>,
//! <https://dokku.com/docs/appendices/file-formats/app-json/>). What else these two read in it is named, because users
//! would look for the effect. Other tools also have a file of this name: their keys are passed over.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{did_you_mean, document::refused, paas_toml::Declared, procfile::process_type};
use crate::{
    Result,
    model::{
        CronCommand, CronName, CronSpec, EnvKey, Invalid, MOST_CRONS, Overlap, ProcessSettings, ProcessType, Property,
        check_variable, property,
    },
};

/// The file's name.
pub(super) const APP_JSON: &str = "app.json";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    formation: BTreeMap<String, Formation>,
    healthchecks: BTreeMap<String, Vec<HealthCheck>>,
    env: BTreeMap<String, Value>,
    scripts: Value,
    cron: Vec<Cron>,
}

/// A cron in Dokku's words.
#[derive(Deserialize)]
struct Cron {
    command: String,
    schedule: String,
    concurrency_policy: Option<String>,
    #[serde(default)]
    maintenance: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Formation {
    quantity: Option<u32>,
    command: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HealthCheck {
    #[serde(rename = "type")]
    kind: Option<String>,
    path: Option<String>,
    port: Option<u16>,
    content: Option<String>,
    command: Option<Vec<String>>,
    attempts: Option<u32>,
    timeout: Option<u32>,
    wait: Option<u32>,
    #[serde(rename = "initialDelay")]
    initial_delay: Option<u32>,
    #[serde(rename = "httpHeaders")]
    headers: Vec<Header>,
    listening: bool,
    uptime: Option<u32>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

/// What an `app.json` says.
#[derive(Default)]
pub(super) struct AppJson {
    /// How processes run.
    pub processes: BTreeMap<ProcessType, Declared>,
    /// The variables of the app's config.
    pub variables: Vec<Variable>,
    /// The commands that run around a deploy.
    pub scripts: Scripts,
    /// The commands that run by time.
    pub crons: Vec<CronSpec>,
    /// What of it has no effect, in sentences.
    pub warnings: Vec<String>,
}

/// A variable of the app's config, as `env` of an `app.json` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its name.
    pub name: EnvKey,
    /// What it is for.
    pub description: Option<String>,
    /// The value that it gets once. It becomes config, so nothing shows it.
    #[serde(skip)]
    pub value: Option<String>,
    /// Whether it gets a secret that is made up once.
    pub is_generated: bool,
    /// Whether the app cannot be deployed without it.
    pub is_required: bool,
    /// Whether every deploy sets it to its value (Dokku's `sync`).
    pub is_synced: bool,
}

/// The commands that run once around a deploy, each in a container of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scripts {
    /// `scripts.dokku.predeploy`: in the image that was built. The files that it writes become a part of the image.
    pub predeploy: Option<String>,
    /// `scripts.dokku.postdeploy`: after the switch.
    pub postdeploy: Option<String>,
    /// `scripts.postdeploy`: after the switch of the first deploy alone.
    pub first_postdeploy: Option<String>,
}

impl Scripts {
    /// Those that there are, in the order in which they run, with their keys.
    pub fn named(&self) -> Vec<(&'static str, &str)> {
        let Scripts { predeploy, postdeploy, first_postdeploy } = self;
        let all = [
            ("scripts.dokku.predeploy", predeploy),
            ("scripts.dokku.postdeploy", postdeploy),
            ("scripts.postdeploy", first_postdeploy),
        ];
        all.into_iter().filter_map(|(name, line)| Some((name, line.as_deref()?))).collect()
    }
}

/// The keys of this file that Heroku or Dokku act on.
const KEYS: [&str; 10] =
    ["addons", "buildpacks", "cron", "env", "environments", "formation", "healthchecks", "image", "scripts", "stack"];
/// Those that only describe the app.
const DESCRIPTIVE: [&str; 8] =
    ["$schema", "name", "description", "keywords", "website", "repository", "logo", "success_url"];
/// What is read of a health check.
const OF_CHECKS: [&str; 14] = [
    "type",
    "name",
    "description",
    "path",
    "port",
    "content",
    "command",
    "attempts",
    "timeout",
    "wait",
    "initialDelay",
    "httpHeaders",
    "listening",
    "uptime",
];
/// What is read of a cron.
const OF_CRONS: [&str; 4] = ["command", "schedule", "concurrency_policy", "maintenance"];
/// What is read of a variable.
const OF_VARIABLES: [&str; 5] = ["description", "value", "required", "generator", "sync"];

/// Reads an `app.json`.
///
/// # Errors
/// `SourceError::File` if a key that is read has an invalid value.
pub(super) fn parse(text: &str) -> Result<AppJson> {
    let malformed = |error: serde_json::Error| {
        let hint = "paas reads `cron`, `env`, `formation`, `healthchecks` and `scripts` from it: write them as for Heroku \
                    or Dokku, or remove them";
        refused(APP_JSON, Some(error.line()).filter(|line| *line > 0), error.to_string(), hint)
    };
    let document: Document = serde_json::from_str(text).map_err(malformed)?;
    let whole: Map<String, Value> = serde_json::from_str(text).map_err(malformed)?;
    let refused = |message: String, hint: &str| refused(APP_JSON, None, message, hint);
    let mut processes: BTreeMap<ProcessType, Declared> = BTreeMap::new();
    let named = |name: &str| process_type(name).map_err(|(message, hint)| refused(message, &hint));
    for (name, formation) in document.formation {
        if let Some(quantity) = formation.quantity {
            if quantity > 100 {
                return Err(refused(
                    format!("{name} cannot have {quantity} containers"),
                    "write a number from 0 to 100",
                ));
            }
            processes.entry(named(&name)?).or_default().quantity = Some(quantity);
        }
        let command = formation.command.as_deref().map(str::trim).filter(|command| !command.is_empty());
        if let Some(command) = command {
            if command.contains('\0') {
                return Err(refused(format!("the command of {name} contains a NUL character"), "remove it"));
            }
            processes.entry(named(&name)?).or_default().command = Some(command.to_owned());
        }
    }
    for (name, checks) in document.healthchecks {
        let process = named(&name)?;
        let Some(check) = startup(&checks).and_then(|place| checks.get(place)) else { continue };
        let settings = settings(check)
            .and_then(|settings| Ok(settings.resolve(&process).map(|_| settings)?))
            .map_err(|error| refused(format!("the health check of {process}: {error}"), "correct it, or remove it"))?;
        processes.entry(process).or_default().settings = settings;
    }
    let variables = document.env.into_iter().map(|(name, value)| variable(&name, &value)).collect::<Result<_>>()?;
    let scripts = scripts(&document.scripts)?;
    let crons = crons(document.cron)?;
    let mut warnings = Vec::new();
    let idle = without_effect(&whole);
    if !idle.is_empty() {
        warnings.push(format!("app.json: paas does nothing about {}", idle.join(", ")));
    }
    Ok(AppJson { processes, variables, scripts, crons, warnings })
}

/// The place of the check that counts. The startup check proves a new container; one that only runs after the deploy is
/// second choice.
fn startup(checks: &[HealthCheck]) -> Option<usize> {
    let startup = checks.iter().position(|check| check.kind.as_deref().unwrap_or("startup") == "startup");
    startup.or((!checks.is_empty()).then_some(0))
}

/// Reads an entry of `env`: a value, or a table about it.
fn variable(name: &str, value: &Value) -> Result<Variable> {
    let refused = |message: String, hint: &str| refused(APP_JSON, None, message, hint);
    let key: EnvKey =
        name.parse().map_err(|error: Invalid| refused(format!("env: {error}"), "write a name such as `SECRET_KEY`"))?;
    let hint = "write a text, or a table with `value`, `generator`, `required` and `description`";
    let text_of = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(refused(format!("env: the value of {key} is not a text"), hint)),
    };
    let flag = |table: &Map<String, Value>, word: &str, default: bool| match table.get(word) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(refused(format!("env: `{word}` of {key} is neither true nor false"), hint)),
    };
    let variable = match value {
        Value::Object(table) => {
            let given = table.get("value").filter(|value| !value.is_null());
            Variable {
                description: table.get("description").and_then(Value::as_str).map(str::to_owned),
                value: given.map(text_of).transpose()?,
                is_generated: table.get("generator").and_then(Value::as_str) == Some("secret"),
                is_required: flag(table, "required", true)?,
                is_synced: flag(table, "sync", false)?,
                name: key.clone(),
            }
        }
        text => Variable {
            description: None,
            value: Some(text_of(text)?),
            is_generated: false,
            is_required: true,
            is_synced: false,
            name: key.clone(),
        },
    };
    if let Some(value) = &variable.value {
        check_variable(&key, value).map_err(|error| refused(format!("env: {error}"), "correct it, or remove it"))?;
    }
    Ok(variable)
}

/// Reads `cron`. An entry has no name in Dokku's format, so it gets one of its command.
fn crons(entries: Vec<Cron>) -> Result<Vec<CronSpec>> {
    let mut taken = BTreeSet::new();
    let mut crons = Vec::new();
    for (place, entry) in entries.into_iter().enumerate() {
        let refused = |error: Invalid| {
            let hint = "write `{\"command\": \"COMMAND\", \"schedule\": \"30 4 * * *\"}`";
            refused(APP_JSON, None, format!("cron[{place}]: {error}"), hint)
        };
        let command: CronCommand = entry.command.parse().map_err(refused)?;
        let name = CronName::of_command(command.as_str(), &taken);
        taken.insert(name.clone());
        let mut spec = CronSpec::new(name, entry.schedule.parse().map_err(refused)?, command);
        if let Some(policy) = entry.concurrency_policy {
            spec.overlap = policy.parse::<Overlap>().map_err(refused)?;
        }
        spec.suspended = entry.maintenance;
        crons.push(spec);
    }
    if crons.len() > MOST_CRONS {
        return Err(refused(APP_JSON, None, format!("it has more than {MOST_CRONS} crons"), "remove some"));
    }
    Ok(crons)
}

fn scripts(scripts: &Value) -> Result<Scripts> {
    let script = |path: &str| match scripts.pointer(path) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(line)) if !line.contains('\0') => {
            Ok(Some(line.trim().to_owned()).filter(|line| !line.is_empty()))
        }
        Some(_) => {
            let name = path.replace('/', ".");
            Err(refused(APP_JSON, None, format!("scripts{name} is not a command"), "write it as one line of text"))
        }
    };
    Ok(Scripts {
        predeploy: script("/dokku/predeploy")?,
        postdeploy: script("/dokku/postdeploy")?,
        first_postdeploy: script("/postdeploy")?,
    })
}

/// The keys that have no effect here, though Heroku or Dokku may act on them; with those nobody knows, unless the file is
/// another tool's.
fn without_effect(whole: &Map<String, Value>) -> Vec<String> {
    let is_known = |key: &str| KEYS.contains(&key);
    let is_ours = whole.keys().any(|key| is_known(key));
    let mut idle = Vec::new();
    for (key, value) in whole {
        match key.as_str() {
            "formation" => {
                idle.extend(others(value, 1, &["quantity", "command"]).map(|name| format!("formation.{name}")));
            }
            "env" => idle.extend(others(value, 1, &OF_VARIABLES).map(|name| format!("env.{name}"))),
            "scripts" => {
                let all = others(value, 0, &["dokku", "postdeploy"]).map(|name| format!("scripts.{name}"));
                idle.extend(all);
                let of_dokku = value.get("dokku").unwrap_or(&Value::Null);
                idle.extend(
                    others(of_dokku, 0, &["predeploy", "postdeploy"]).map(|name| format!("scripts.dokku.{name}")),
                );
            }
            "healthchecks" => {
                for (process, checks) in value.as_object().into_iter().flatten() {
                    let counts = Vec::deserialize(checks).ok().and_then(|checks: Vec<HealthCheck>| startup(&checks));
                    for (place, check) in checks.as_array().into_iter().flatten().enumerate() {
                        let name = format!("healthchecks.{process}[{place}]");
                        if Some(place) == counts {
                            idle.extend(others(check, 0, &OF_CHECKS).map(|key| format!("{name}.{key}")));
                        } else {
                            idle.push(name);
                        }
                    }
                }
            }
            "cron" => {
                for (place, cron) in value.as_array().into_iter().flatten().enumerate() {
                    idle.extend(others(cron, 0, &OF_CRONS).map(|key| format!("cron[{place}].{key}")));
                }
            }
            _ if DESCRIPTIVE.contains(&key.as_str()) => {}
            _ if is_ours || did_you_mean(key, KEYS).is_some() => idle.push(key.clone()),
            _ => {}
        }
    }
    // A generator that only Heroku's own platform had.
    for (name, variable) in whole.get("env").and_then(Value::as_object).into_iter().flatten() {
        if variable.get("generator").is_some_and(|generator| generator != "secret") {
            idle.push(format!("env.{name}.generator"));
        }
    }
    idle
}

/// The keys of a table that are none of `known`; or, at a depth, those of the tables in it, with their places.
fn others<'a>(value: &'a Value, depth: usize, known: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    let mut found = Vec::new();
    let mut pending = vec![(String::new(), value, depth)];
    while let Some((place, value, depth)) = pending.pop() {
        for (key, value) in value.as_object().into_iter().flatten() {
            if depth > 0 {
                pending.push((format!("{place}{key}."), value, depth - 1));
            } else if !known.contains(&key.as_str()) {
                found.push(format!("{place}{key}"));
            }
        }
    }
    found.sort();
    found.into_iter()
}

fn settings(check: &HealthCheck) -> Result<ProcessSettings> {
    let mut settings = ProcessSettings::default();
    let mut set = |property: &'static Property, value: Option<String>| match value {
        Some(value) => settings.set(property, &value),
        None => Ok(()),
    };
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    set(&property::CHECK_COMMAND, check.command.as_ref().map(shell_words::join))?;
    set(&property::CHECK_PATH, check.path.clone())?;
    set(&property::CHECK_PORT, number(check.port.map(u32::from)))?;
    set(&property::CHECK_TEXT, check.content.clone())?;
    set(&property::CHECK_INITIAL_DELAY, number(check.initial_delay))?;
    set(&property::CHECK_TRY_TIMEOUT, number(check.timeout))?;
    let headers: Vec<String> =
        check.headers.iter().map(|header| format!("{}: {}", header.name, header.value)).collect();
    set(&property::CHECK_HEADERS, (!headers.is_empty()).then(|| headers.join("; ")))?;
    // Dokku makes that many attempts with a pause between them: together, they are our timeout.
    if let Some(attempts) = check.attempts {
        let each = check.timeout.unwrap_or(5).saturating_add(check.wait.unwrap_or(5)).max(1);
        let together = attempts.saturating_mul(each).clamp(1, 3600);
        set(&property::CHECK_TIMEOUT, Some(together.to_string()))?;
    }
    let asks = check.path.is_some() || check.command.is_some();
    let kind = match (asks, check.listening, check.uptime) {
        (false, true, _) => Some("tcp".to_owned()),
        (false, false, Some(_)) => Some("up".to_owned()),
        _ => None,
    };
    set(&property::CHECK_TYPE, kind)?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Probe;

    #[test]
    fn formation_and_checks_are_read_and_all_else_is_left_alone() -> Result<()> {
        let AppJson { processes, .. } = parse(
            r#"{
                "name": "x", "expo": {"slug": "y"}, "scripts": {"postdeploy": "z"},
                "formation": {"web": {"quantity": 2, "max_parallel": 1}, "worker": {"quantity": 0}},
                "healthchecks": {"web": [
                    {"type": "liveness", "path": "/live"},
                    {"type": "startup", "path": "/up", "attempts": 4, "wait": 2, "timeout": 3, "content": "ok",
                     "httpHeaders": [{"name": "X-Probe", "value": "1"}]}
                ]}
            }"#,
        )?;
        let web = &processes[&ProcessType::web()];
        assert_eq!(web.quantity, Some(2));
        let run = web.settings.resolve(&ProcessType::web())?;
        let Probe::Http(probe) = run.check.probe else { panic!("no HTTP") };
        assert_eq!((probe.path.as_deref(), probe.text.as_deref(), probe.headers.len()), (Some("/up"), Some("ok"), 1));
        assert_eq!(run.check.timeout_seconds, 20);
        assert_eq!(processes[&"worker".parse()?].quantity, Some(0));
        Ok(())
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "[",
            r#"{"formation": {"web": {"quantity": 1000}}}"#,
            r#"{"formation": {"My_Web": {"quantity": 1}}}"#,
            r#"{"healthchecks": {"web": [{"path": "up"}]}}"#,
            r#"{"healthchecks": {"worker": [{"path": "/up"}]}}"#,
            r#"{"env": {"A-B": "x"}}"#,
            r#"{"env": {"A": []}}"#,
            r#"{"env": {"A": {"value": {}}}}"#,
            r#"{"env": {"A": {"required": "yes"}}}"#,
            r#"{"env": {"PAAS_APP": "x"}}"#,
            r#"{"env": {"PORT": "x"}}"#,
            r#"{"scripts": {"dokku": {"predeploy": ["x"]}}}"#,
            r#"{"cron": {"command": "x", "schedule": "@daily"}}"#,
            r#"{"cron": [{"command": "x"}]}"#,
            r#"{"cron": [{"schedule": "@daily"}]}"#,
            r#"{"cron": [{"command": "x", "schedule": "@reboot"}]}"#,
            r#"{"cron": [{"command": " ", "schedule": "@daily"}]}"#,
            r#"{"cron": [{"command": "x", "schedule": "@daily", "concurrency_policy": "maybe"}]}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn variables_are_values_or_tables() -> Result<()> {
        let json = parse(
            r#"{"env": {
                "A": "x", "B": 5, "C": true, "D": {"value": ""}, "E": {"generator": "secret"},
                "F": {"description": "what it is for"}, "G": {"required": false}, "H": {"value": "y", "sync": true}
            }}"#,
        )?;
        let told: Vec<String> = json
            .variables
            .iter()
            .map(|it| {
                let flags = [(it.is_generated, "generated"), (it.is_required, "required"), (it.is_synced, "synced")];
                let flags: Vec<&str> = flags.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
                format!("{}={:?} {}", it.name, it.value, flags.join(" "))
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        A=Some("x") required
        B=Some("5") required
        C=Some("true") required
        D=Some("") required
        E=None generated required
        F=None required
        G=None 
        H=Some("y") required synced
        "#);
        assert_eq!(json.variables[5].description.as_deref(), Some("what it is for"));
        Ok(())
    }

    #[test]
    fn crons_of_dokku_get_names_of_their_commands() -> Result<()> {
        let crons = parse(
            r#"{"cron": [
                {"command": "node cleanup.js", "schedule": "@daily"},
                {"command": "node cleanup.js", "schedule": "0 9 * * 1", "concurrency_policy": "allow", "maintenance": true}
            ]}"#,
        )?
        .crons;
        let told: Vec<String> = crons
            .iter()
            .map(|it| format!("{} {} {} {} {}", it.name, it.schedule, it.command, it.overlap, it.suspended))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @"
        node-cleanup-js @daily node cleanup.js forbid false
        node-cleanup-js-2 0 9 * * 1 node cleanup.js allow true
        ");
        Ok(())
    }

    #[test]
    fn what_has_no_effect_is_named() -> Result<()> {
        let warnings = |text: &str| Ok::<_, crate::Error>(parse(text)?.warnings.join("\n"));
        insta::assert_snapshot!(warnings(
            r#"{
                "name": "x", "keywords": ["y"], "addons": ["postgres"], "stack": "heroku-24", "own": 1,
                "cron": [{"command": "a", "schedule": "@daily"}, {"command": "b", "schedule": "@daily", "task": 1}],
                "env": {"A": {"value": "x", "secret": true}, "B": {"generator": "echo 5"}},
                "formation": {"web": {"quantity": 1, "size": "standard-1x"}, "worker": {"max_parallel": 2}},
                "scripts": {"test": "x", "postdeploy": "y", "dokku": {"predeploy": "z", "other": "w"}},
                "healthchecks": {"web": [{"type": "liveness", "path": "/a"}, {"path": "/b", "warn": true}]}
            }"#
        )?, @r"
        app.json: paas does nothing about addons, cron[1].task, env.A.secret, formation.web.size, formation.worker.max_parallel, healthchecks.web[0], healthchecks.web[1].warn, own, scripts.test, scripts.dokku.other, stack, env.B.generator
        ");
        // Another tool's file of the same name, and what is almost a key of this one.
        assert_eq!(warnings(r#"{"expo": {"name": "x"}, "displayName": "x"}"#)?, "");
        assert_eq!(warnings(r#"{"formatoin": {}}"#)?, "app.json: paas does nothing about formatoin");
        Ok(())
    }
}
