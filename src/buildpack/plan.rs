use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Buildpack, Buildpacks,
    app_json::{self, APP_JSON},
    dockerfile::exposed_ports,
    manifest::ProcessRule,
    paas_toml::{self, Declared, PAAS_TOML, PaasToml},
    procfile::{self, PROCFILE, known_words},
    render::{command_instruction, quoted, render},
    version::Version,
};
use crate::{
    Error, Result,
    model::{ProcessSpec, ProcessType},
    tree::{DockerIgnore, Tree},
};

/// Everything that a source says about how it is built and run.
#[derive(Clone, Debug, Serialize)]
pub struct BuildPlan {
    /// The buildpack's name, e.g. `node`.
    pub buildpack: String,
    /// What the buildpack calls itself, e.g. `Node`.
    pub title: String,
    /// Why it was chosen, e.g. `package.json found`.
    pub reason: String,
    /// The versions it settled on.
    pub versions: Vec<Version>,
    /// What is worth knowing, in sentences.
    pub notes: Vec<String>,
    /// The process types, `web` first; `release` is not among them.
    pub processes: Vec<ProcessSpec>,
    /// Who said so, e.g. `Procfile`.
    pub processes_source: String,
    /// The command line that is run once before a new release starts.
    pub release_command: Option<String>,
    /// The port the web process listens on, where the source says.
    pub port: Option<u16>,
    /// Who said so, e.g. `EXPOSE in Dockerfile`.
    pub port_source: Option<String>,
    /// The Dockerfile's path in the build context.
    pub dockerfile_path: String,
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// Files of the build context that the source does not have, a generated Dockerfile among them.
    #[serde(skip)]
    pub extra_files: Vec<(String, Vec<u8>)>,
    /// What of the source is left out of the build context.
    #[serde(skip)]
    pub ignore: DockerIgnore,
}

impl BuildPlan {
    /// The plan in lines for the log of a push.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {}", self.title, self.reason)];
        lines.extend(self.versions.iter().map(Version::describe));
        let names: Vec<&str> = self.processes.iter().map(|spec| spec.process.as_str()).collect();
        lines.push(format!("Processes: {}, from {}", names.join(", "), self.processes_source));
        if self.release_command.is_some() {
            lines.push("Release command: runs before the new release starts".to_owned());
        }
        if let (Some(port), Some(source)) = (self.port, &self.port_source) {
            lines.push(format!("Port {port}, from {source}"));
        }
        lines.extend(self.notes.iter().cloned());
        lines
    }
}

/// Decides how a source is built and run: `paas.toml` first, then `Procfile`, then the buildpack that matches.
///
/// # Errors
/// [`Error::NothingDetected`], [`Error::SourceFile`] where a file of the source is malformed, [`Error::Buildpack`] where
/// the buildpack cannot go on.
pub fn plan(tree: &Tree, buildpacks: &Buildpacks) -> Result<BuildPlan> {
    let paas_toml =
        tree.read_text(PAAS_TOML)?.map_or_else(|| Ok(PaasToml::default()), |text| paas_toml::parse(&text))?;
    let procfile = tree.read_text(PROCFILE)?.map(|text| procfile::parse(&text)).transpose()?.unwrap_or_default();
    let app_json = tree.read_text(APP_JSON)?.map(|text| app_json::parse(&text)).transpose()?.unwrap_or_default();

    let (buildpack, reason) = choose(tree, buildpacks, &paas_toml)?;
    let manifest = &buildpack.manifest;
    for refusal in &manifest.refuse {
        if refusal.when.holds(tree)?.is_some() {
            return Err(Error::Buildpack(refusal.message.clone(), refusal.hint.clone()));
        }
    }
    let mut notes = Vec::new();
    for note in &manifest.notes {
        if note.when.holds(tree)?.is_some() {
            notes.push(note.text.clone());
        }
    }
    let versions: Vec<Version> = manifest.versions.iter().map(|rule| rule.resolve(tree)).collect::<Result<_>>()?;
    let Processes { commands, release_command, source: processes_source } =
        processes(tree, buildpack, &paas_toml, &procfile)?;

    let Generated { path: dockerfile_path, text: dockerfile, extra_files } = match &manifest.dockerfile {
        Some(default) => {
            let (path, text) = own_dockerfile(tree, &paas_toml, default)?;
            Generated { path, text, extra_files: Vec::new() }
        }
        None => generate(tree, buildpack, &versions, commands.first().and_then(|(_, command)| command.as_deref()))?,
    };
    let (port, port_source) = match (paas_toml.port, &manifest.dockerfile) {
        (Some(port), _) => (Some(port), Some(PAAS_TOML.to_owned())),
        (None, Some(_)) => match exposed_ports(&dockerfile).into_iter().collect::<Vec<_>>().as_slice() {
            [port] => (Some(*port), Some(format!("EXPOSE in {dockerfile_path}"))),
            _ => (None, None),
        },
        (None, None) => (None, None),
    };
    let processes = commands
        .into_iter()
        .map(|(process, command)| {
            let declared = declared(&process, &paas_toml, &app_json);
            ProcessSpec::new(process, command, declared.quantity, declared.settings)
        })
        .collect::<Result<_>>()?;

    Ok(BuildPlan {
        buildpack: buildpack.name.clone(),
        title: manifest.title.clone(),
        reason,
        versions,
        notes,
        processes,
        processes_source,
        release_command,
        port,
        port_source,
        ignore: ignore(tree, buildpack, &dockerfile_path)?,
        dockerfile_path,
        dockerfile,
        extra_files,
    })
}

/// The buildpack that `paas.toml` names, or the first that matches; and why.
fn choose<'a>(tree: &Tree, buildpacks: &'a Buildpacks, paas_toml: &PaasToml) -> Result<(&'a Buildpack, String)> {
    let refused = |line: usize, message: String, hint: String| Error::SourceFile {
        file: PAAS_TOML.to_owned(),
        line: Some(line),
        message,
        hint,
    };
    if let Some((name, line)) = &paas_toml.buildpack {
        let buildpack = buildpacks.find(name).ok_or_else(|| {
            refused(*line, format!("there is no buildpack {name:?}"), known_words(name, &buildpacks.names()))
        })?;
        if let Some((_, line)) = &paas_toml.dockerfile
            && buildpack.manifest.dockerfile.is_none()
        {
            let message = format!("the buildpack {name} makes its own Dockerfile");
            return Err(refused(*line, message, "keep one of the two keys, `buildpack` or `dockerfile`".to_owned()));
        }
        return Ok((buildpack, format!("set in {PAAS_TOML}")));
    }
    if paas_toml.dockerfile.is_some() {
        let buildpack = buildpacks.0.iter().find(|buildpack| buildpack.manifest.dockerfile.is_some());
        let buildpack = buildpack.ok_or_else(|| Error::bug("no buildpack builds a Dockerfile"))?;
        return Ok((buildpack, format!("set in {PAAS_TOML}")));
    }
    for buildpack in &buildpacks.0 {
        for predicate in &buildpack.manifest.detect {
            if let Some(reason) = predicate.holds(tree)? {
                return Ok((buildpack, reason));
            }
        }
    }
    let looked_for = buildpacks.0.iter().map(|Buildpack { name, manifest, .. }| {
        let words: Vec<String> = manifest.detect.iter().map(super::detect::Predicate::looked_for).collect();
        format!("    {name:<12}{}", words.join(", or "))
    });
    let mut found = tree.top_level();
    let more = found.len().saturating_sub(20);
    found.truncate(20);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    Err(Error::NothingDetected {
        looked_for: looked_for.collect::<Vec<_>>().join("\n"),
        found: if found.is_empty() { "no files at all".to_owned() } else { found.join(", ") },
    })
}

/// What the source says about a process type: `paas.toml` before `app.json`.
fn declared(process: &ProcessType, paas_toml: &PaasToml, app_json: &BTreeMap<ProcessType, Declared>) -> Declared {
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

struct Processes {
    /// `web` first, then by name; nothing: the image's own command.
    commands: Vec<(ProcessType, Option<String>)>,
    release_command: Option<String>,
    source: String,
}

/// What runs: by name, `paas.toml` before `Procfile`; where neither names a process, the buildpack's own.
fn processes(
    tree: &Tree,
    buildpack: &Buildpack,
    paas_toml: &PaasToml,
    procfile: &BTreeMap<ProcessType, String>,
) -> Result<Processes> {
    let mut declared = procfile.clone();
    let own = paas_toml.processes.iter().filter_map(|(process, own)| Some((process.clone(), own.command.clone()?)));
    let own: BTreeMap<ProcessType, String> = own.collect();
    declared.extend(own.clone());
    let is_release = |process: &ProcessType| process.as_str() == ProcessType::RELEASE;
    let mut sources = Vec::new();
    if own.keys().any(|process| !is_release(process)) {
        sources.push(PAAS_TOML.to_owned());
    }
    if procfile.keys().any(|process| !is_release(process) && !own.contains_key(process)) {
        sources.push(PROCFILE.to_owned());
    }

    let mut commands: Vec<(ProcessType, Option<String>)> = Vec::new();
    let mut release_command = None;
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
            if let Some(command) = default_command(tree, rule)? {
                commands.push((rule.name.clone(), command));
                sources.push(rule.source.clone());
            }
        }
    }
    if commands.is_empty() {
        let why = buildpack.manifest.no_process.clone().unwrap_or_else(|| "nothing says what to run".to_owned());
        return Err(Error::Buildpack(
            format!("nothing to run: {why}"),
            "write a file named Procfile with a line such as `web: COMMAND`, where COMMAND listens on $PORT".to_owned(),
        ));
    }
    let without = paas_toml
        .processes
        .keys()
        .find(|process| !is_release(process) && !commands.iter().any(|(known, _)| known == *process));
    if let Some(process) = without {
        return Err(Error::SourceFile {
            file: PAAS_TOML.to_owned(),
            line: None,
            message: format!("[processes.{process}] has no command, and nothing else says one"),
            hint: format!("write `command = \"COMMAND\"` in it, or `{process}: COMMAND` in a Procfile"),
        });
    }
    commands.sort_by_key(|(process, _)| (!process.is_web(), process.clone()));
    sources.dedup();
    Ok(Processes { commands, release_command, source: sources.join(" and ") })
}

/// The command of a rule, or nothing where the rule does not hold. No command: the image's own.
fn default_command(tree: &Tree, rule: &ProcessRule) -> Result<Option<Option<String>>> {
    if let Some(when) = &rule.when
        && when.holds(tree)?.is_none()
    {
        return Ok(None);
    }
    if let Some((main, before)) = rule.scripts.split_last() {
        let Some(main) = main.find(tree)? else { return Ok(None) };
        let mut line = String::new();
        for script in before {
            if let Some(script) = script.find(tree)? {
                line.push_str(&format!("({}) || exit; ", script.text.trim()));
            }
        }
        line.push_str(main.text.trim());
        return Ok(Some(Some(line)));
    }
    match (&rule.command, &rule.argument) {
        (Some(command), Some(argument)) => {
            let found = argument.find(tree)?;
            Ok(found.map(|found| Some(command.replace("{}", &shell_words::quote(&found.text)))))
        }
        (command, _) => Ok(Some(command.clone())),
    }
}

/// The repository's own Dockerfile: its path and text.
fn own_dockerfile(tree: &Tree, paas_toml: &PaasToml, default: &str) -> Result<(String, String)> {
    let path = paas_toml.dockerfile.as_ref().map_or(default, |(path, _)| path);
    let path = path.strip_prefix("./").unwrap_or(path);
    let text = if tree.exists(path) { tree.read_text(path)? } else { None };
    let text = text.ok_or_else(|| match &paas_toml.dockerfile {
        Some((_, line)) => Error::SourceFile {
            file: PAAS_TOML.to_owned(),
            line: Some(*line),
            message: format!("there is no file {path:?} in the repository"),
            hint: "write its path from the root of the repository, and see that it is committed".to_owned(),
        },
        None => Error::Buildpack(
            format!("there is no {default} in the repository"),
            format!("add one, or take `buildpack` out of {PAAS_TOML}"),
        ),
    })?;
    Ok((path.to_owned(), text))
}

/// What a template can write.
#[derive(Serialize)]
struct TemplateContext<'a> {
    /// Versions, by name: digits, letters, dots and dashes.
    version: BTreeMap<&'a str, &'a str>,
    /// Facts, by name.
    has: BTreeMap<&'a str, bool>,
    /// Values, by name, as quoted JSON strings; those not found are missing.
    value: BTreeMap<&'a str, String>,
    /// The directory of the plan's own files in the build context.
    directory: &'a str,
}

/// A Dockerfile, and all files that are added to the build context, itself among them.
struct Generated {
    path: String,
    text: String,
    extra_files: Vec<(String, Vec<u8>)>,
}

/// The Dockerfile of a buildpack: its path, its text and all files that are added to the build context.
fn generate(tree: &Tree, buildpack: &Buildpack, versions: &[Version], command: Option<&str>) -> Result<Generated> {
    let Buildpack { name, manifest, templates } = buildpack;
    let mut has = BTreeMap::new();
    for (fact, predicate) in &manifest.facts {
        has.insert(fact.as_str(), predicate.holds(tree)?.is_some());
    }
    let mut value = BTreeMap::new();
    for (key, extractors) in &manifest.values {
        for extractor in extractors {
            if let Some(found) = extractor.find(tree)? {
                value.insert(key.as_str(), quoted(found.text.trim()));
                break;
            }
        }
    }
    // A name that the repository does not use, not even for a link that would lead these files elsewhere.
    let directory = (0..)
        .map(|number| if number == 0 { ".paas".to_owned() } else { format!(".paas-{number}") })
        .find(|directory| {
            !tree.exists(directory) && !tree.files().iter().any(|entry| entry.path.starts_with(directory))
        })
        .ok_or_else(|| Error::bug("no free name"))?;
    let version = versions.iter().map(|version| (version.name.as_str(), version.version.as_str())).collect();
    let context = TemplateContext { version, has, value, directory: &directory };

    let template = |file: &str| {
        let text = templates.get(file).ok_or_else(|| Error::bug(format!("{name} has no {file}")))?;
        render(&format!("{name}/{file}"), text, &context)
    };
    let mut dockerfile = template("Dockerfile.tera")?;
    if let Some(command) = command {
        dockerfile.push_str(&command_instruction(command));
    }
    let path = format!("{directory}/Dockerfile");
    let mut extra_files = vec![(path.clone(), dockerfile.clone().into_bytes())];
    for (file, source) in &manifest.files {
        extra_files.push((format!("{directory}/{file}"), template(source)?.into_bytes()));
    }
    Ok(Generated { path, text: dockerfile, extra_files })
}

/// What stays out of the build context: the buildpack's patterns, then the repository's own. The Dockerfile never does.
fn ignore(tree: &Tree, buildpack: &Buildpack, dockerfile_path: &str) -> Result<DockerIgnore> {
    let defaults = DockerIgnore::parse("buildpack.toml", &buildpack.manifest.ignore.join("\n"))?;
    let own = format!("{dockerfile_path}.dockerignore");
    let file = if tree.exists(&own) { own.as_str() } else { ".dockerignore" };
    let patterns = match tree.read_text(file)? {
        Some(text) => DockerIgnore::parse(file, &text)?,
        None => DockerIgnore::none(),
    };
    Ok(defaults.then(patterns).except(dockerfile_path))
}
