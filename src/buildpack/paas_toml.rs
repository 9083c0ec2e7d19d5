use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use super::{
    document::{line_of, refused},
    packages::is_package,
    procfile::{PROCFILE, known_words, process_type},
};
use crate::{
    Error, Result,
    model::{
        CronCommand, CronName, CronSchedule, CronSpec, EnvKey, Interrupted, Invalid, MOST_CRONS, Missed, Noun, Overlap,
        ProcessSettings, ProcessType, Property, Right, ZoneName, cron_jitter, cron_timeout, property,
    },
};

/// The file's name.
pub(super) const PAAS_TOML: &str = "paas.toml";

/// The content of a `paas.toml`: all keys are optional, and unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PaasToml {
    /// How it is built.
    pub build: BuildSection,
    /// Variables of the image that runs, which the app's config overrides.
    pub variables: BTreeMap<EnvKey, String>,
    /// The processes and their settings.
    pub processes: BTreeMap<ProcessType, Declared>,
    /// The port that the web process listens on.
    pub port: Option<u16>,
    /// How the web process is checked.
    pub checks: ProcessSettings,
    /// The commands that run by time.
    pub crons: Vec<CronSpec>,
    /// The path of the Procfile, if a setting of the app names one: not of this file, but read along with it.
    pub procfile: Option<String>,
}

impl PaasToml {
    /// The path of the Procfile.
    pub fn procfile_path(&self) -> &str {
        self.procfile.as_deref().unwrap_or(PROCFILE)
    }
}

/// The settings of a process type in a file of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    /// Its command line.
    pub command: Option<String>,
    /// How many containers it has, unless it is scaled.
    pub quantity: Option<u32>,
    /// How it runs.
    pub settings: ProcessSettings,
}

/// The `[build]` section: each value with its line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BuildSection {
    /// The directory of the app in the repository, or the name of its package in a workspace. Default: the root.
    pub directory: Option<(String, usize)>,
    /// The buildpack to use: its name, or a folder of the repository that begins with `./`.
    pub buildpack: Option<(String, usize)>,
    /// The Dockerfile to build.
    pub dockerfile: Option<(String, usize)>,
    /// Versions, by name.
    pub versions: BTreeMap<String, (String, usize)>,
    /// Tools instead of those that the buildpack would choose, by the name of the choice.
    pub tools: BTreeMap<String, (String, usize)>,
    /// The command that installs the dependencies; empty turns it off.
    pub install: Option<(String, usize)>,
    /// The command that builds; empty turns it off.
    pub build: Option<(String, usize)>,
    /// More system packages.
    pub packages: Vec<(String, usize)>,
    /// Variables of the build.
    pub variables: BTreeMap<EnvKey, String>,
    /// Base images, by the buildpack's names for them.
    pub images: BTreeMap<String, (String, usize)>,
    /// The directory that is served as static files after the build.
    pub static_root: Option<(String, usize)>,
    /// Whether pointers of Git LFS are deployed as they are.
    pub ignores_lfs: bool,
    /// The program that serves requests, where the repository has several.
    pub program: Option<(String, usize)>,
    /// The first line of the table.
    pub first_line: Option<usize>,
}

impl BuildSection {
    /// The value of a key and its line, for predicates and extractors.
    pub fn text(&self, key: &str) -> Option<&(String, usize)> {
        match key {
            "install" => self.install.as_ref(),
            "build" => self.build.as_ref(),
            "static" => self.static_root.as_ref(),
            "program" => self.program.as_ref(),
            _ => None,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    build: Build,
    #[serde(default)]
    variables: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    #[serde(default)]
    processes: BTreeMap<Spanned<String>, toml::Value>,
    port: Option<Spanned<i64>>,
    #[serde(default)]
    checks: BTreeMap<Spanned<String>, toml::Value>,
    #[serde(default)]
    cron: Vec<Spanned<Cron>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cron {
    name: Option<String>,
    schedule: String,
    command: String,
    timezone: Option<String>,
    overlap: Option<String>,
    timeout: Option<toml::Value>,
    jitter: Option<toml::Value>,
    missed: Option<String>,
    interrupted: Option<String>,
    suspended: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    directory: Option<Spanned<String>>,
    buildpack: Option<Spanned<String>>,
    dockerfile: Option<Spanned<String>>,
    #[serde(default)]
    versions: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    #[serde(default)]
    tools: BTreeMap<Spanned<String>, Spanned<String>>,
    install: Option<Spanned<String>>,
    build: Option<Spanned<String>>,
    #[serde(default)]
    packages: Vec<Spanned<String>>,
    #[serde(default)]
    variables: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    #[serde(default)]
    images: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(rename = "static")]
    static_root: Option<Spanned<String>>,
    lfs: Option<Spanned<String>>,
    program: Option<Spanned<String>>,
}

/// Reads a `paas.toml`.
///
/// # Errors
/// `SourceError::File` with the line and, for an unknown key, the key that was probably meant.
pub(super) fn parse(text: &str) -> Result<PaasToml> {
    let document: Document = toml::from_str(text).map_err(|error| {
        let message = error.message();
        let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let hint = match words.split_first() {
            Some((unknown, known)) if message.starts_with("unknown") => known_words(unknown, known),
            _ if message.contains("expected a sequence") => "a cron begins with `[[cron]]`, in two brackets".to_owned(),
            _ => "docs/reference.md describes the file; check it on your machine with `paas plan`".to_owned(),
        };
        let line = error.span().map(|span| line_of(text, span.start));
        refused(PAAS_TOML, line, message.lines().collect::<Vec<_>>().join(" ").replace("i64", "a number"), hint)
    })?;
    let refused = |offset: usize, message: String, hint: &str| refused_at(text, offset, message, hint);

    let mut processes = BTreeMap::new();
    for (name, value) in document.processes {
        let offset = name.span().start;
        let process = process_type(name.get_ref()).map_err(|(message, hint)| refused(offset, message, &hint))?;
        let declared = declared(&process, value).map_err(|(message, hint)| refused(offset, message, &hint))?;
        processes.insert(process, declared);
    }
    let mut checks = ProcessSettings::default();
    for (name, value) in document.checks {
        let offset = name.span().start;
        set(&mut checks, Noun::Checks, name.get_ref(), &value)
            .map_err(|(message, hint)| refused(offset, message, &hint))?;
    }

    let port = match document.port {
        None => None,
        Some(port) => match u16::try_from(*port.get_ref()) {
            Ok(number) if number > 0 => Some(number),
            _ => {
                let message = format!("{} is not a port", port.get_ref());
                return Err(refused(port.span().start, message, "write a number from 1 to 65535, or remove the key"));
            }
        },
    };

    let mut crons: Vec<CronSpec> = Vec::new();
    let named = document.cron.iter().filter_map(|cron| cron.get_ref().name.as_ref()?.parse().ok());
    let mut taken: BTreeSet<CronName> = named.collect();
    for entry in document.cron {
        let offset = entry.span().start;
        let spec = cron(entry.into_inner(), &mut taken).map_err(|(message, hint)| refused(offset, message, &hint))?;
        if crons.iter().any(|other| other.name == spec.name) {
            let message = format!("there are two crons named {}", spec.name);
            return Err(refused(offset, message, "give each a name of its own"));
        }
        if crons.len() == MOST_CRONS {
            return Err(refused(offset, format!("there are more than {MOST_CRONS} crons"), "remove some"));
        }
        crons.push(spec);
    }

    let variables = variables(text, document.variables)?;
    let build = build_section(text, document.build)?;
    Ok(PaasToml { build, variables, processes, port, checks, crons, procfile: None })
}

/// An error in this file, at a byte of it.
fn refused_at(text: &str, offset: usize, message: String, hint: &str) -> Error {
    refused(PAAS_TOML, line_of(text, offset), message, hint)
}

/// Checks `[build]`: its values become part of a Dockerfile.
fn build_section(text: &str, build: Build) -> Result<BuildSection> {
    let refused = |offset: usize, message: String, hint: &str| refused_at(text, offset, message, hint);
    let placed = |text_at: Spanned<String>| {
        let line = line_of(text, text_at.span().start);
        (text_at.into_inner(), line)
    };
    if let Some(directory) = &build.directory
        && !is_directory(directory.get_ref().trim_end_matches('/'))
    {
        let message = format!("{:?} is not a directory of the repository", directory.get_ref());
        let hint =
            "write its path from the root, such as \"apps/web\", with letters, digits and `.`, `_`, `@`, `+` and `-`";
        return Err(refused(directory.span().start, message, hint));
    }
    let mut versions = BTreeMap::new();
    for (name, version) in build.versions {
        let offset = version.span().start;
        let version = match version.into_inner() {
            toml::Value::String(version) => version,
            toml::Value::Integer(version) => version.to_string(),
            _ => {
                return Err(refused(
                    offset,
                    format!("the version of {} must be a string", name.get_ref()),
                    "write it in quotes",
                ));
            }
        };
        versions.insert(name.into_inner(), (version, line_of(text, offset)));
    }
    for line in build.install.iter().chain(&build.build) {
        if line.get_ref().contains('\0') {
            return Err(refused(line.span().start, "a command contains a NUL character".to_owned(), "remove it"));
        }
    }
    for package in &build.packages {
        if !is_package(package.get_ref()) {
            let message = format!("{:?} is not the name of a Debian package", package.get_ref());
            return Err(refused(package.span().start, message, "write names such as \"ffmpeg\" and \"libpq-dev\""));
        }
    }
    let mut images = BTreeMap::new();
    for (name, image) in build.images {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._/:@-".contains(&byte);
        let good =
            image.get_ref().bytes().all(allowed) && image.get_ref().starts_with(|c: char| c.is_ascii_alphanumeric());
        if !good {
            let message = format!("{:?} is not the name of an image", image.get_ref());
            return Err(refused(image.span().start, message, "write a name such as \"debian:bookworm-slim\""));
        }
        images.insert(name.into_inner(), placed(image));
    }
    if let Some(root) = &build.static_root {
        let path = root.get_ref();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-+@ ".contains(&byte);
        let climbs = path.split('/').any(|part| part == "..");
        if path.is_empty() || path.starts_with('/') || climbs || !path.bytes().all(allowed) {
            let message = format!("{path:?} is not a directory of the repository");
            return Err(refused(root.span().start, message, "write its path from the root, such as \"dist\""));
        }
    }
    if let Some(lfs) = &build.lfs
        && lfs.get_ref() != "ignore"
    {
        let message = format!("{:?} is not a way to deploy files of Git LFS", lfs.get_ref());
        return Err(refused(lfs.span().start, message, "write `lfs = \"ignore\"`, or remove the key"));
    }
    let variables = variables(text, build.variables)?;
    let first_line = text.lines().position(|line| line.trim_start().starts_with("[build")).map(|index| index + 1);
    Ok(BuildSection {
        directory: build.directory.map(placed),
        buildpack: build.buildpack.map(placed),
        dockerfile: build.dockerfile.map(placed),
        versions,
        tools: build.tools.into_iter().map(|(name, option)| (name.into_inner(), placed(option))).collect(),
        install: build.install.map(placed),
        build: build.build.map(placed),
        packages: build.packages.into_iter().map(placed).collect(),
        variables,
        images,
        static_root: build.static_root.map(placed),
        ignores_lfs: build.lfs.is_some(),
        program: build.program.map(placed),
        first_line,
    })
}

/// Whether a text can be the directory of an app: it becomes part of a Dockerfile and of command lines, so it must be
/// one plain word in both.
pub(super) fn is_directory(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    path.strip_prefix("./")
        .unwrap_or(path)
        .split('/')
        .all(|part| !part.is_empty() && part != ".." && !part.starts_with('-') && part.bytes().all(plain))
}

/// Checks a table of variables: they become `ENV` of a Dockerfile, which takes one line.
fn variables(text: &str, table: BTreeMap<Spanned<String>, Spanned<toml::Value>>) -> Result<BTreeMap<EnvKey, String>> {
    let refused = |offset: usize, message: String, hint: &str| refused_at(text, offset, message, hint);
    let mut variables = BTreeMap::new();
    for (name, value) in table {
        let offset = name.span().start;
        let hint = "write a name such as `NODE_OPTIONS`";
        let key: EnvKey = name.get_ref().parse().map_err(|error: Invalid| refused(offset, error.to_string(), hint))?;
        let value = match value.into_inner() {
            toml::Value::String(value) => value,
            toml::Value::Integer(value) => value.to_string(),
            toml::Value::Boolean(value) => value.to_string(),
            _ => {
                return Err(refused(
                    offset,
                    format!("the value of {key} must be a string, a number or a boolean"),
                    "write it in quotes",
                ));
            }
        };
        if value.chars().any(char::is_control) {
            let message = format!("the value of {key} has more than one line");
            return Err(refused(offset, message, "set it in the app's config: `paas config:set APP NAME=VALUE`"));
        }
        variables.insert(key, value);
    }
    Ok(variables)
}

/// Reads an entry of `[[cron]]`. The error is a message and a hint.
fn cron(entry: Cron, taken: &mut BTreeSet<CronName>) -> Result<CronSpec, (String, String)> {
    let invalid = |error: Invalid| (error.to_string(), "docs/guide/cron.md describes crons".to_owned());
    let command: CronCommand = entry.command.parse().map_err(invalid)?;
    let name = match entry.name {
        Some(name) => name.parse().map_err(invalid)?,
        None => CronName::of_command(command.as_str(), taken),
    };
    taken.insert(name.clone());
    let schedule: CronSchedule = entry.schedule.parse().map_err(invalid)?;
    let mut spec = CronSpec::new(name, schedule, command);
    let time = |key: &str, value: &toml::Value, read: fn(&str) -> Result<u32, String>| {
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            other => return Err((format!("{key} is {}", article(other)), format!("write `{key} = \"10m\"`"))),
        };
        read(&text)
            .map_err(|rule| (format!("{text:?} is not a valid {key}: {rule}"), format!("write `{key} = \"10m\"`")))
    };
    if let Some(zone) = entry.timezone {
        spec.timezone = Some(zone.parse::<ZoneName>().map_err(invalid)?);
    }
    if let Some(word) = entry.overlap {
        spec.overlap = word.parse::<Overlap>().map_err(invalid)?;
    }
    if let Some(value) = entry.timeout {
        spec.timeout_seconds = time("timeout", &value, cron_timeout)?;
    }
    if let Some(value) = entry.jitter {
        spec.jitter_seconds = time("jitter", &value, cron_jitter)?;
    }
    if let Some(word) = entry.missed {
        spec.missed = word.parse::<Missed>().map_err(invalid)?;
    }
    if let Some(word) = entry.interrupted {
        spec.interrupted = word.parse::<Interrupted>().map_err(invalid)?;
    }
    spec.suspended = entry.suspended.unwrap_or(false);
    Ok(spec)
}

/// Reads the value of a process type: its command, or a table.
fn declared(process: &ProcessType, value: toml::Value) -> Result<Declared, (String, String)> {
    let mut declared = Declared::default();
    let table = match value {
        toml::Value::String(line) => {
            declared.command = Some(command(process, &line)?);
            return Ok(declared);
        }
        toml::Value::Table(table) => table,
        other => {
            let hint = format!("write `{process} = \"COMMAND\"`, or a table [processes.{process}]");
            return Err((format!("{process} must be a command, not {}", article(&other)), hint));
        }
    };
    for (name, value) in table {
        match (name.as_str(), &value) {
            ("command", toml::Value::String(line)) => declared.command = Some(command(process, line)?),
            ("scale", toml::Value::Integer(number)) => {
                declared.quantity =
                    Some(u32::try_from(*number).ok().filter(|quantity| *quantity <= 100).ok_or_else(|| {
                        (
                            format!("{process} cannot have {number} containers"),
                            "write a number from 0 to 100".to_owned(),
                        )
                    })?);
            }
            ("checks", toml::Value::Table(checks)) => {
                for (name, value) in checks {
                    set(&mut declared.settings, Noun::Checks, name, value)?;
                }
            }
            ("command" | "scale" | "checks", other) => {
                let hint = "command is a string, scale a number, checks a table".to_owned();
                return Err((format!("{name} of {process} is {}", article(other)), hint));
            }
            _ => set(&mut declared.settings, Noun::Ps, &name, &value)?,
        }
    }
    declared.settings.resolve(process).map_err(|error| (error.to_string(), "see docs/reference.md".to_owned()))?;
    Ok(declared)
}

fn command(process: &ProcessType, line: &str) -> Result<String, (String, String)> {
    let line = line.trim();
    if line.is_empty() || line.contains('\0') {
        return Err((format!("{process} has no command"), format!("write `{process} = \"COMMAND\"`")));
    }
    Ok(line.to_owned())
}

/// Sets a setting to a value of a TOML file. The error is a message and a hint.
fn set(settings: &mut ProcessSettings, noun: Noun, name: &str, value: &toml::Value) -> Result<(), (String, String)> {
    let of_a_process = |property: &&'static Property| property.scopes.process;
    let Some(property) = Property::find(noun, name).filter(of_a_process) else {
        let mut known = noun.properties().filter(of_a_process).map(|property| property.name).collect::<Vec<_>>();
        if noun == Noun::Ps {
            known.extend(["command", "scale", "checks"]);
        }
        let known: Vec<String> = known.into_iter().map(|name| name.replace('-', "_")).collect();
        let words: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err((format!("unknown key {name:?}"), known_words(name, &words)));
    };
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(switch) => switch.to_string(),
        toml::Value::Table(headers) if *property == property::CHECK_HEADERS => {
            let pair = |(name, value): (&String, &toml::Value)| Some(format!("{name}: {}", value.as_str()?));
            let pairs: Option<Vec<String>> = headers.iter().map(pair).collect();
            pairs
                .ok_or_else(|| {
                    ("a header must be a string".to_owned(), "write `headers = { Name = \"value\" }`".to_owned())
                })?
                .join("; ")
        }
        other => return Err((format!("{name} is {}", article(other)), format!("{name}: {}", property.about))),
    };
    if (property.right)(&text) == Right::Administer {
        let hint = format!("have an administrator set it: `paas ps:set APP {}={text}`", property.name);
        return Err((format!("{name} = {text} cannot be set by a repository"), hint));
    }
    settings.set(property, &text).map_err(|error| (error.to_string(), format!("{name}: {}", property.about)))
}

/// The kind of a value, for messages.
fn article(value: &toml::Value) -> String {
    match value.type_str() {
        kind @ ("array" | "integer") => format!("an {kind}"),
        kind => format!("a {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_optional_and_everything_is_read() -> Result<()> {
        assert_eq!(parse("")?, PaasToml::default());
        let paas_toml = parse(
            r#"
port = 3000
[build]
buildpack = "dockerfile"
dockerfile = "deploy/Dockerfile"
[processes]
web = "node web.js"
worker = "node worker.js"
[checks]
type = "tcp"
path = "/health"
status = 204
timeout = "2m"
"#,
        )?;
        assert_eq!(paas_toml.build.buildpack, Some(("dockerfile".to_owned(), 4)));
        assert_eq!(paas_toml.build.dockerfile, Some(("deploy/Dockerfile".to_owned(), 5)));
        assert_eq!(paas_toml.processes.len(), 2);
        assert_eq!(paas_toml.port, Some(3000));
        for (property, value) in [
            (&property::CHECK_PATH, "/health"),
            (&property::CHECK_STATUS, "204"),
            (&property::CHECK_TIMEOUT, "2m"),
            (&property::CHECK_TYPE, "tcp"),
        ] {
            assert_eq!(paas_toml.checks.get(property), Some(value));
        }
        Ok(())
    }

    #[test]
    fn a_process_type_has_a_table_where_a_command_is_not_enough() -> Result<()> {
        let paas_toml = parse(
            r#"
[processes.worker]
command = "node worker.js"
scale = 2
memory = "256m"
cpus = 0.5
stop_timeout = "90s"
restart = "on-failure:5"
[processes.worker.checks]
command = "test -f /tmp/alive"
interval = 30
"#,
        )?;
        let worker = &paas_toml.processes[&"worker".parse()?];
        assert_eq!((worker.command.as_deref(), worker.quantity), (Some("node worker.js"), Some(2)));
        let run = worker.settings.resolve(&"worker".parse()?)?;
        assert_eq!((run.memory_mib, run.cpu_millis, run.stop_timeout_seconds), (Some(256), Some(500), 90));
        assert_eq!(run.check.interval_seconds, 30);
        Ok(())
    }

    #[test]
    fn a_cron_needs_a_schedule_and_a_command_and_the_rest_has_defaults() -> Result<()> {
        let crons = parse(
            r#"
[[cron]]
schedule = "@daily"
command = "node cleanup.js"
[[cron]]
name = "node-cleanup-js"
schedule = "*/5 8-17 * * mon-fri"
command = "node cleanup.js --all"
timezone = "Europe/Berlin"
overlap = "replace"
timeout = "90m"
jitter = 30
missed = "run-once"
interrupted = "repeat"
suspended = true
"#,
        )?
        .crons;
        let said: Vec<String> = crons.iter().map(|cron| serde_json::to_string(cron).unwrap()).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        {"name":"node-cleanup-js-2","schedule":"@daily","command":"node cleanup.js","overlap":"forbid","timeout_seconds":86400,"jitter_seconds":0,"missed":"skip","interrupted":"leave","suspended":false}
        {"name":"node-cleanup-js","schedule":"*/5 8-17 * * mon-fri","command":"node cleanup.js --all","timezone":"Europe/Berlin","overlap":"replace","timeout_seconds":5400,"jitter_seconds":30,"missed":"run-once","interrupted":"repeat","suspended":true}
        "#);
        Ok(())
    }

    #[test]
    fn mistakes_of_crons_are_named_with_line_and_remedy() {
        let cron = |rest: &str| format!("port = 1\n[[cron]]\nschedule = \"@daily\"\ncommand = \"x\"\n{rest}");
        let mut said = String::new();
        for text in [
            "[cron]\nschedule = \"@daily\"".to_owned(),
            "[[cron]]\nschedule = \"@daily\"".to_owned(),
            "[[cron]]\ncommand = \"x\"".to_owned(),
            "[[cron]]\nschedule = \"@reboot\"\ncommand = \"x\"".to_owned(),
            "[[cron]]\nschedule = \"@daily\"\ncommand = \" \"".to_owned(),
            cron("timezon = \"UTC\""),
            cron("timezone = \"Mars/Olympus\""),
            cron("name = \"A b\""),
            cron("overlap = \"sometimes\""),
            cron("timeout = \"0s\""),
            cron("timeout = true"),
            cron("jitter = \"2h\""),
            cron("missed = \"twice\""),
            cron("interrupted = 3"),
            cron("name = \"a\"\n[[cron]]\nname = \"a\"\nschedule = \"@daily\"\ncommand = \"x\""),
        ] {
            let error = parse(&text).unwrap_err();
            said.push_str(&format!("{error}\n  {}\n", error.hint().unwrap()));
        }
        insta::assert_snapshot!(said, @r#"
        paas.toml, line 1: invalid type: map, expected a sequence
          a cron begins with `[[cron]]`, in two brackets
        paas.toml, line 1: missing field `command`
          docs/reference.md describes the file; check it on your machine with `paas plan`
        paas.toml, line 1: missing field `schedule`
          docs/reference.md describes the file; check it on your machine with `paas plan`
        paas.toml, line 1: "@reboot" is not a valid schedule: a container has no boot: let a process of the app do what is to be done at its start
          docs/guide/cron.md describes crons
        paas.toml, line 1: " " is not a valid command: it is empty
          docs/guide/cron.md describes crons
        paas.toml, line 5: unknown field `timezon`, expected one of `name`, `schedule`, `command`, `timezone`, `overlap`, `timeout`, `jitter`, `missed`, `interrupted`, `suspended`
          did you mean `timezone`?
        paas.toml, line 2: "Mars/Olympus" is not a valid time zone: it is a name of the IANA list, such as Europe/Berlin or UTC
          docs/guide/cron.md describes crons
        paas.toml, line 2: "A b" is not a valid name of a cron: it takes 1 to 32 lower-case letters, digits and dashes, and begins and ends with no dash
          docs/guide/cron.md describes crons
        paas.toml, line 2: "sometimes" is not a valid overlap: it is one of allow, forbid, replace
          docs/guide/cron.md describes crons
        paas.toml, line 2: "0s" is not a valid timeout: it is a time from 1s to 7d, such as 90s, 10m or 2h
          write `timeout = "10m"`
        paas.toml, line 2: timeout is a boolean
          write `timeout = "10m"`
        paas.toml, line 2: "2h" is not a valid jitter: it is a time up to 1h, such as 30s or 5m
          write `jitter = "10m"`
        paas.toml, line 2: "twice" is not a valid missed: it is one of skip, run-once
          docs/guide/cron.md describes crons
        paas.toml, line 5: invalid type: integer `3`, expected a string
          docs/reference.md describes the file; check it on your machine with `paas plan`
        paas.toml, line 6: there are two crons named a
          give each a name of its own
        "#);
    }

    #[test]
    fn mistakes_are_named_with_line_and_remedy() {
        let mut said = String::new();
        for text in [
            "\n[biuld]",
            "[build]\nbuildpak = \"node\"",
            "[build]\nspeed = 3",
            "[processes]\nweb = \"httpd -f",
            "[processes]\nMy_Worker = \"x\"",
            "[processes]\nweb = \"\"",
            "[processes]\nweb = 3",
            "port = 70000",
            "port = \"x\"",
            "[checks]\ntype = \"htp\"",
            "[checks]\npath = \"health\"",
            "[checks]\nstatus = 20",
            "[checks]\ntimeout = \"soon\"",
            "[build.versions]\n\nnode = 3.1",
            "[build]\npackages = [\"ffmpeg\", \"x; rm -rf /\"]",
            "[build]\nstatic = \"../..\"",
            "[build]\nlfs = \"fetch\"",
            "[build.images]\nrun = \"node:22\\nRUN x\"",
            "[build.variables]\nA-B = \"x\"",
            "[variables]\nKEY = \"one\\ntwo\"",
        ] {
            let error = parse(text).unwrap_err();
            said.push_str(&format!("{error}\n  {}\n", error.hint().unwrap()));
        }
        insta::assert_snapshot!(said, @r#"
        paas.toml, line 2: unknown field `biuld`, expected one of `build`, `variables`, `processes`, `port`, `checks`, `cron`
          did you mean `build`?
        paas.toml, line 2: unknown field `buildpak`, expected one of `directory`, `buildpack`, `dockerfile`, `versions`, `tools`, `install`, `build`, `packages`, `variables`, `images`, `static`, `lfs`, `program`
          did you mean `buildpack`?
        paas.toml, line 2: unknown field `speed`, expected one of `directory`, `buildpack`, `dockerfile`, `versions`, `tools`, `install`, `build`, `packages`, `variables`, `images`, `static`, `lfs`, `program`
          known here: directory, buildpack, dockerfile, versions, tools, install, build, packages, variables, images, static, lfs, program
        paas.toml, line 2: invalid basic string, expected `"`
          docs/reference.md describes the file; check it on your machine with `paas plan`
        paas.toml, line 2: "My_Worker" is not a valid process type: it takes 1 to 40 lower-case letters, digits and dashes, and begins and ends with no dash
          call it `my-worker`
        paas.toml, line 2: web has no command
          write `web = "COMMAND"`
        paas.toml, line 2: web must be a command, not an integer
          write `web = "COMMAND"`, or a table [processes.web]
        paas.toml, line 1: 70000 is not a port
          write a number from 1 to 65535, or remove the key
        paas.toml, line 1: invalid type: string "x", expected a number
          docs/reference.md describes the file; check it on your machine with `paas plan`
        paas.toml, line 2: "htp" is not a valid type: it is http, tcp, command or up
          type: what is asked: http, tcp (a connection), command, or up (that it stays up)
        paas.toml, line 2: "health" is not a valid path: it is a path such as /health, without blanks and # and what else no URL has
          path: the path requested over HTTP; one that is set must answer 2xx
        paas.toml, line 2: "20" is not a valid status: it is an HTTP status such as 200, from 200 to 599
          status: the HTTP status that is healthy, such as 401
        paas.toml, line 2: "soon" is not a valid timeout: it is a time from 1s to 1h, such as 90s or 2m
          timeout: how long a new container may take to become healthy
        paas.toml, line 3: the version of node must be a string
          write it in quotes
        paas.toml, line 2: "x; rm -rf /" is not the name of a Debian package
          write names such as "ffmpeg" and "libpq-dev"
        paas.toml, line 2: "../.." is not a directory of the repository
          write its path from the root, such as "dist"
        paas.toml, line 2: "fetch" is not a way to deploy files of Git LFS
          write `lfs = "ignore"`, or remove the key
        paas.toml, line 2: "node:22\nRUN x" is not the name of an image
          write a name such as "debian:bookworm-slim"
        paas.toml, line 2: "A-B" is not a valid variable name: it takes letters, digits and underscores, and does not begin with a digit
          write a name such as `NODE_OPTIONS`
        paas.toml, line 2: the value of KEY has more than one line
          set it in the app's config: `paas config:set APP NAME=VALUE`
        "#);
    }
}
