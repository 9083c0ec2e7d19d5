//! The parts of `app.json` that say how processes run: Heroku's `formation`, Dokku's `healthchecks`
//! (<https://devcenter.heroku.com/articles/app-json-schema>,
//! <https://dokku.com/docs/appendices/file-formats/app-json/>). Other tools also use a file of this name, so any other
//! key in it is ignored.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{document::refused, paas_toml::Declared, procfile::process_type};
use crate::{
    Result,
    model::{ProcessSettings, ProcessType, Property, property},
};

/// The file's name.
pub(super) const APP_JSON: &str = "app.json";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    formation: BTreeMap<String, Formation>,
    healthchecks: BTreeMap<String, Vec<HealthCheck>>,
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

/// Reads how processes run from an `app.json`. All other keys are ignored.
///
/// # Errors
/// `SourceError::File` if one of these keys has an invalid value.
pub(super) fn parse(text: &str) -> Result<BTreeMap<ProcessType, Declared>> {
    let document: Document = serde_json::from_str(text).map_err(|error| {
        let hint = "paas reads `formation` and `healthchecks` from it: write them as for Dokku, or remove them";
        refused(APP_JSON, error.line(), error.to_string(), hint)
    })?;
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
        // The startup check proves a new container. One that only runs after the deploy is second choice.
        let startup = checks.iter().find(|check| check.kind.as_deref().unwrap_or("startup") == "startup");
        let Some(check) = startup.or_else(|| checks.first()) else { continue };
        let settings = settings(check)
            .and_then(|settings| Ok(settings.resolve(&process).map(|_| settings)?))
            .map_err(|error| refused(format!("the health check of {process}: {error}"), "correct it, or remove it"))?;
        processes.entry(process).or_default().settings = settings;
    }
    Ok(processes)
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
        let processes = parse(
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
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
