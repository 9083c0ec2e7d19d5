//! What a source runs: the commands of its processes, and where each of them comes from.

use std::{collections::BTreeMap, path::Path};

use super::{
    Buildpack,
    app_json::APP_JSON,
    document::refused,
    extract::Found,
    generate::{COMMAND, with_values},
    manifest::ProcessRule,
    origin::Origin,
    paas_toml::{Declared, PAAS_TOML, PaasToml},
    plan::ProcessSource,
    procfile::PROCFILE,
    scope::Scope,
};
use crate::{Error, Result, error::SourceError, model::ProcessType};

/// The settings of a process type in the source: `paas.toml` before `app.json`.
pub(super) fn declared(
    process: &ProcessType,
    paas_toml: &PaasToml,
    app_json: &BTreeMap<ProcessType, Declared>,
) -> Declared {
    let mut declared = paas_toml.processes.get(process).cloned().unwrap_or_default();
    if process.is_web() {
        declared.settings = declared.settings.over(&paas_toml.checks);
    }
    if let Some(below) = app_json.get(process) {
        declared.settings = declared.settings.over(&below.settings);
        declared.quantity = declared.quantity.or(below.quantity);
    }
    declared
}

/// The processes of a plan.
pub(super) struct Processes {
    /// `web` first, then by name. Without a command, the image's own runs.
    pub commands: Vec<(ProcessType, Option<String>)>,
    pub release_command: Option<String>,
    pub source: String,
    pub sources: Vec<ProcessSource>,
    /// The port of the web process, if it listens on one of its own.
    pub port: Option<Found>,
    /// Whether the web process is only a guess.
    pub is_guess: bool,
}

/// The processes, by name: `paas.toml` before `Procfile`. If neither names a process, the buildpack's own. What has crons
/// may do without any.
pub(super) fn processes(
    scope: &Scope<'_>,
    buildpack: &Buildpack,
    paas_toml: &PaasToml,
    (procfile, procfile_path): (&BTreeMap<ProcessType, String>, &str),
    app_json: &BTreeMap<ProcessType, Declared>,
    has_crons: bool,
) -> Result<Processes> {
    let of_app_json = app_json.iter().filter_map(|(process, own)| Some((process.clone(), own.command.clone()?)));
    let mut declared: BTreeMap<ProcessType, String> = of_app_json.collect();
    let from_app_json = declared.keys().any(|process| !procfile.contains_key(process));
    declared.extend(procfile.clone());
    let own = paas_toml.processes.iter().filter_map(|(process, own)| Some((process.clone(), own.command.clone()?)));
    let own: BTreeMap<ProcessType, String> = own.collect();
    declared.extend(own.clone());
    let is_release = |process: &ProcessType| process.as_str() == ProcessType::RELEASE;
    let mut sources = Vec::new();
    if own.keys().any(|process| !is_release(process)) {
        sources.push(PAAS_TOML.to_owned());
    }
    if procfile.keys().any(|process| !is_release(process) && !own.contains_key(process)) {
        sources.push(procfile_path.to_owned());
    }
    if from_app_json {
        sources.push(APP_JSON.to_owned());
    }

    let mut port = None;
    let mut origins = BTreeMap::new();
    for process in declared.keys() {
        let file = match process {
            process if own.contains_key(process) => PAAS_TOML,
            process if procfile.contains_key(process) => procfile_path,
            _ => APP_JSON,
        };
        origins.insert(process.clone(), (file.to_owned(), declared_at(scope, file, process)));
    }
    let mut commands: Vec<(ProcessType, Option<String>)> = Vec::new();
    let mut release_command = None;
    let mut is_guess = false;
    for (process, command) in declared {
        if is_release(&process) {
            release_command = Some(command);
        } else {
            commands.push((process, Some(command)));
        }
    }
    if commands.is_empty() {
        for rule in &buildpack.manifest.processes {
            if commands.iter().any(|(process, _)| *process == rule.name) {
                continue;
            }
            if let Some(command) = default_command(scope, rule)? {
                commands.push((rule.name.clone(), command));
                is_guess |= rule.guess && rule.name.is_web();
                sources.push(rule.source.clone());
                origins.insert(rule.name.clone(), (rule.source.clone(), rule_at(scope, rule)?));
                if let Some(name) = &rule.port {
                    port = scope.value(name)?;
                }
            }
        }
    }
    if commands.is_empty() && has_crons {
        sources.push("the crons alone".to_owned());
    } else if commands.is_empty() {
        let candidates = candidates(scope)?;
        if let Some((_, choose)) = candidates.first().filter(|_| candidates.len() > 1) {
            let names: Vec<&str> = candidates.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("several programs could serve the requests: {}", listed(&names));
            return Err(Error::Source(SourceError::Unbuildable { message, hint: format!("choose one: {choose}") }));
        }
        let why = buildpack.manifest.no_process.clone().unwrap_or_else(|| "nothing says what to run".to_owned());
        return Err(Error::Source(SourceError::NothingToRun { why }));
    }
    let without = paas_toml
        .processes
        .keys()
        .find(|process| !is_release(process) && !commands.iter().any(|(known, _)| known == *process));
    if let Some(process) = without {
        let message = format!("[processes.{process}] has no command, and no other file sets one");
        let hint = format!("add `command = \"COMMAND\"` to it, or `{process}: COMMAND` to a Procfile");
        return Err(refused(PAAS_TOML, None, message, hint));
    }
    commands.sort_by_key(|(process, _)| (!process.is_web(), process.clone()));
    sources.dedup();
    let described = commands.iter().map(|(process, _)| {
        let (source, origin) = origins.remove(process).unwrap_or_default();
        let origin = origin.changed_by("processes", process.as_str(), COMMAND);
        ProcessSource { process: process.clone(), source, origin }
    });
    let described = described.collect();
    let source = sources.join(" and ");
    Ok(Processes { commands, release_command, source, sources: described, port, is_guess })
}

/// Where a file names a process type.
fn declared_at(scope: &Scope<'_>, file: &str, process: &ProcessType) -> Origin {
    let text = scope.text(Path::new(file));
    let begins = |line: &str| {
        let line = line.trim_start();
        let rest = line.trim_start_matches('"').strip_prefix(process.as_str());
        let names = rest.is_some_and(|rest| rest.trim_start_matches('"').trim_start().starts_with([':', '=']));
        names || line.starts_with(&format!("[processes.{process}]"))
    };
    let line = text.and_then(|text| text.lines().position(begins)).map(|index| index + 1);
    Origin::of(if file == PROCFILE { scope.path(file) } else { file.to_owned() }, line)
}

/// Where a rule finds the command of a process, or what it holds for.
pub(super) fn rule_at(scope: &Scope<'_>, rule: &ProcessRule) -> Result<Origin> {
    if let Some(main) = rule.scripts.last()
        && let Some(found) = main.find(scope)?
    {
        return Ok(Origin::found(&found));
    }
    // A value that the command has comes from a file.
    for name in rule.command.iter().flat_map(|command| command.split('{').skip(1)) {
        let name = name.split('}').next().unwrap_or_default();
        if scope.manifest.values.contains_key(name)
            && let Some(found) = scope.value(name)?
        {
            return Ok(Origin::found(&found));
        }
    }
    let origin = rule.when.as_ref().map_or(Ok(None), |when| when.origin(scope))?;
    Ok(origin.unwrap_or_default())
}

/// The programs to choose from, each with what chooses it.
pub(super) fn candidates(scope: &Scope<'_>) -> Result<Vec<(String, String)>> {
    let mut candidates: Vec<(String, String)> = Vec::new();
    for rule in &scope.manifest.candidates {
        for found in rule.find.all(scope)? {
            if !candidates.iter().any(|(name, _)| *name == found.text) {
                let choose = match &rule.choose {
                    Some(line) => line.replacen("{}", &found.text, 1),
                    None => format!("add `program = \"{}\"` to [build] in {PAAS_TOML}", found.text),
                };
                candidates.push((found.text, choose));
            }
        }
    }
    Ok(candidates)
}

/// The first words of a list, for a message.
fn listed(words: &[&str]) -> String {
    const SHOWN: usize = 12;
    match words.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", words[..SHOWN].join(", ")),
        _ => words.join(", "),
    }
}

/// The command of a rule, or nothing if the rule does not hold. Without a command, the image's own runs.
fn default_command(scope: &Scope<'_>, rule: &ProcessRule) -> Result<Option<Option<String>>> {
    if let Some(when) = &rule.when
        && when.holds(scope)?.is_none()
    {
        return Ok(None);
    }
    if let Some((main, before)) = rule.scripts.split_last() {
        let Some(main) = main.find(scope)? else { return Ok(None) };
        let mut line = String::new();
        for script in before {
            if let Some(script) = script.find(scope)? {
                line.push_str(&format!("({}) || exit; ", script.text.trim()));
            }
        }
        line.push_str(main.text.trim());
        return match &rule.command {
            // A script is already a command line: it is inserted after the values, so placeholders in it stay.
            Some(command) => {
                Ok(with_values(scope, command)?.map(|command| Some(command.replacen("{script}", &line, 1))))
            }
            None => Ok(Some(Some(line))),
        };
    }
    match &rule.command {
        Some(command) => Ok(with_values(scope, command)?.map(Some)),
        None => Ok(Some(None)),
    }
}
