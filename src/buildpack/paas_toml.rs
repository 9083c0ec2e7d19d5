use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{
    extract::line_of,
    packages::is_package,
    procfile::{known_words, process_type},
};
use crate::{
    Error, Result,
    model::{Check, CheckKind, EnvKey, ProcessType},
};

/// The file's name.
pub(super) const PAAS_TOML: &str = "paas.toml";

/// What `paas.toml` says: everything in it is optional, and nothing else is allowed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaasToml {
    /// How it is built.
    pub build: BuildSection,
    /// Variables of the image that runs, which the app's config overrides.
    pub variables: BTreeMap<EnvKey, String>,
    /// What runs.
    pub processes: BTreeMap<ProcessType, String>,
    /// The port that the web process listens on.
    pub port: Option<u16>,
    /// How the web process is checked.
    pub check: Check,
}

/// What `[build]` says: each value with the line that says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BuildSection {
    /// The buildpack to use: its name, or a folder of the repository that begins with `./`.
    pub buildpack: Option<(String, usize)>,
    /// The Dockerfile to build.
    pub dockerfile: Option<(String, usize)>,
    /// Versions, by name.
    pub versions: BTreeMap<String, (String, usize)>,
    /// What installs the dependencies; empty: nothing does.
    pub install: Option<(String, usize)>,
    /// What builds; empty: nothing does.
    pub build: Option<(String, usize)>,
    /// More system packages.
    pub packages: Vec<(String, usize)>,
    /// Variables of the build.
    pub variables: BTreeMap<EnvKey, String>,
    /// Base images, by the buildpack's names for them.
    pub images: BTreeMap<String, (String, usize)>,
    /// The directory that is served as it is once the build is done.
    pub static_root: Option<(String, usize)>,
    /// The first line of the table that is more than the choice of a buildpack or Dockerfile.
    pub first_line: Option<usize>,
}

impl BuildSection {
    /// What is said under a key, and where, for predicates and extractors.
    pub fn text(&self, key: &str) -> Option<&(String, usize)> {
        match key {
            "install" => self.install.as_ref(),
            "build" => self.build.as_ref(),
            "static" => self.static_root.as_ref(),
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
    processes: BTreeMap<Spanned<String>, Spanned<String>>,
    port: Option<Spanned<i64>>,
    #[serde(default)]
    checks: Checks,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    buildpack: Option<Spanned<String>>,
    dockerfile: Option<Spanned<String>>,
    #[serde(default)]
    versions: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
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
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checks {
    #[serde(rename = "type")]
    kind: Option<CheckKind>,
    path: Option<Spanned<String>>,
    status: Option<Spanned<i64>>,
    timeout: Option<Spanned<Seconds>>,
}

/// A time: a number of seconds, or `30s`, `2m`.
struct Seconds(Option<u32>);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Seconds;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a time such as 30 or \"30s\"")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Seconds, E> {
                Ok(Seconds(u32::try_from(seconds).ok()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
                let (number, unit) = match text.trim().strip_suffix('m') {
                    Some(minutes) => (minutes, 60),
                    None => (text.trim().trim_end_matches('s'), 1),
                };
                Ok(Seconds(number.trim().parse::<u32>().ok().and_then(|number| number.checked_mul(unit))))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Reads a `paas.toml`.
///
/// # Errors
/// [`Error::SourceFile`] with the line, and the key that was probably meant.
pub(super) fn parse(text: &str) -> Result<PaasToml> {
    let document: Document = toml::from_str(text).map_err(|error| {
        let message = error.message();
        let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let hint = match words.split_first() {
            Some((unknown, known)) if message.starts_with("unknown") => known_words(unknown, known),
            _ => "`paas plan` reads the file on your machine; docs/reference.md describes it".to_owned(),
        };
        Error::SourceFile {
            file: PAAS_TOML.to_owned(),
            line: error.span().map(|span| line_of(text, span.start)),
            message: message.lines().collect::<Vec<_>>().join(" ").replace("i64", "a number"),
            hint,
        }
    })?;
    let refused = |offset: usize, message: String, hint: &str| Error::SourceFile {
        file: PAAS_TOML.to_owned(),
        line: Some(line_of(text, offset)),
        message,
        hint: hint.to_owned(),
    };

    let mut processes = BTreeMap::new();
    for (name, command) in document.processes {
        let offset = name.span().start;
        let process = process_type(name.get_ref()).map_err(|(message, hint)| refused(offset, message, &hint))?;
        let line = command.get_ref().trim();
        if line.is_empty() || line.contains('\0') {
            return Err(refused(
                offset,
                format!("{process} has no command"),
                &format!("write `{process} = \"COMMAND\"`"),
            ));
        }
        processes.insert(process, line.to_owned());
    }

    let port = match document.port {
        None => None,
        Some(port) => match u16::try_from(*port.get_ref()) {
            Ok(number) if number > 0 => Some(number),
            _ => {
                let message = format!("{} is not a port", port.get_ref());
                return Err(refused(port.span().start, message, "write a number from 1 to 65535, or leave it out"));
            }
        },
    };

    let mut check = Check { kind: document.checks.kind.unwrap_or(CheckKind::Http), ..Check::default() };
    if let Some(path) = document.checks.path {
        let good = path.get_ref().starts_with('/') && path.get_ref().bytes().all(|byte| byte.is_ascii_graphic());
        if !good {
            let message = format!("{:?} is not a path", path.get_ref());
            return Err(refused(path.span().start, message, "write a path such as \"/health\""));
        }
        check.path = Some(path.into_inner());
    }
    if let Some(status) = document.checks.status {
        check.status = match u16::try_from(*status.get_ref()) {
            Ok(number @ 100..=599) => Some(number),
            _ => {
                let message = format!("{} is not an HTTP status", status.get_ref());
                return Err(refused(status.span().start, message, "write a number such as 200"));
            }
        };
    }
    if let Some(timeout) = document.checks.timeout {
        check.timeout_seconds = match timeout.get_ref().0 {
            Some(seconds @ 1..=3600) => seconds,
            _ => {
                let message = "timeout is not a time from 1 second to 1 hour".to_owned();
                return Err(refused(timeout.span().start, message, "write a time such as \"90s\""));
            }
        };
    }

    let variables = variables(text, document.variables)?;
    Ok(PaasToml { build: build_section(text, document.build)?, variables, processes, port, check })
}

/// Checks `[build]`: what it says becomes part of a Dockerfile.
fn build_section(text: &str, build: Build) -> Result<BuildSection> {
    let refused = |offset: usize, message: String, hint: &str| Error::SourceFile {
        file: PAAS_TOML.to_owned(),
        line: Some(line_of(text, offset)),
        message,
        hint: hint.to_owned(),
    };
    let placed = |text_at: Spanned<String>| {
        let line = line_of(text, text_at.span().start);
        (text_at.into_inner(), line)
    };
    let mut versions = BTreeMap::new();
    for (name, version) in build.versions {
        let offset = version.span().start;
        let version = match version.into_inner() {
            toml::Value::String(version) => version,
            toml::Value::Integer(version) => version.to_string(),
            _ => return Err(refused(offset, format!("the version of {} is no text", name.get_ref()), "write it in quotes")),
        };
        versions.insert(name.into_inner(), (version, line_of(text, offset)));
    }
    for line in build.install.iter().chain(&build.build) {
        if line.get_ref().contains('\0') {
            return Err(refused(line.span().start, "a command has a NUL in it".to_owned(), "take it out"));
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
        let good = image.get_ref().bytes().all(allowed) && image.get_ref().starts_with(|c: char| c.is_ascii_alphanumeric());
        if !good {
            let message = format!("{:?} is not the name of an image", image.get_ref());
            return Err(refused(image.span().start, message, "write a name such as \"node:22-bookworm\""));
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
    let variables = variables(text, build.variables)?;
    let first_line = text.lines().position(|line| line.trim_start().starts_with("[build")).map(|index| index + 1);
    Ok(BuildSection {
        buildpack: build.buildpack.map(placed),
        dockerfile: build.dockerfile.map(placed),
        versions,
        install: build.install.map(placed),
        build: build.build.map(placed),
        packages: build.packages.into_iter().map(placed).collect(),
        variables,
        images,
        static_root: build.static_root.map(placed),
        first_line,
    })
}

/// Checks a table of variables: they become `ENV` of a Dockerfile, which takes one line.
fn variables(text: &str, table: BTreeMap<Spanned<String>, Spanned<toml::Value>>) -> Result<BTreeMap<EnvKey, String>> {
    let refused = |offset: usize, message: String, hint: &str| Error::SourceFile {
        file: PAAS_TOML.to_owned(),
        line: Some(line_of(text, offset)),
        message,
        hint: hint.to_owned(),
    };
    let mut variables = BTreeMap::new();
    for (name, value) in table {
        let offset = name.span().start;
        let hint = "write a name such as `NODE_OPTIONS`";
        let key: EnvKey = name.get_ref().parse().map_err(|error: Error| refused(offset, error.to_string(), hint))?;
        let value = match value.into_inner() {
            toml::Value::String(value) => value,
            toml::Value::Integer(value) => value.to_string(),
            toml::Value::Boolean(value) => value.to_string(),
            _ => return Err(refused(offset, format!("the value of {key} is no text"), "write it in quotes")),
        };
        if value.chars().any(char::is_control) {
            let message = format!("the value of {key} has more than one line");
            return Err(refused(offset, message, "set it in the app's config: `paas config:set APP NAME=VALUE`"));
        }
        variables.insert(key, value);
    }
    Ok(variables)
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
        let check =
            Check { kind: CheckKind::Tcp, path: Some("/health".to_owned()), status: Some(204), timeout_seconds: 120 };
        assert_eq!(paas_toml.check, check);
        Ok(())
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
            "[build.images]\nrun = \"node:22\\nRUN x\"",
            "[build.variables]\nA-B = \"x\"",
            "[variables]\nKEY = \"one\\ntwo\"",
        ] {
            let error = parse(text).unwrap_err();
            said.push_str(&format!("{error}\n  {}\n", error.hint().unwrap()));
        }
        insta::assert_snapshot!(said, @r#"
        paas.toml, line 2: unknown field `biuld`, expected one of `build`, `variables`, `processes`, `port`, `checks`
          did you mean `build`?
        paas.toml, line 2: unknown field `buildpak`, expected one of `buildpack`, `dockerfile`, `versions`, `install`, `build`, `packages`, `variables`, `images`, `static`
          did you mean `buildpack`?
        paas.toml, line 2: unknown field `speed`, expected one of `buildpack`, `dockerfile`, `versions`, `install`, `build`, `packages`, `variables`, `images`, `static`
          known here: buildpack, dockerfile, versions, install, build, packages, variables, images, static
        paas.toml, line 2: invalid basic string, expected `"`
          `paas plan` reads the file on your machine; docs/reference.md describes it
        paas.toml, line 2: "My_Worker" is not a valid process type: it takes 1 to 40 lower-case letters, digits and dashes, and begins and ends with no dash
          call it `my-worker`
        paas.toml, line 2: web has no command
          write `web = "COMMAND"`
        paas.toml, line 2: invalid type: integer `3`, expected a string
          `paas plan` reads the file on your machine; docs/reference.md describes it
        paas.toml, line 1: 70000 is not a port
          write a number from 1 to 65535, or leave it out
        paas.toml, line 1: invalid type: string "x", expected a number
          `paas plan` reads the file on your machine; docs/reference.md describes it
        paas.toml, line 2: unknown variant `htp`, expected `http` or `tcp`
          did you mean `http`?
        paas.toml, line 2: "health" is not a path
          write a path such as "/health"
        paas.toml, line 2: 20 is not an HTTP status
          write a number such as 200
        paas.toml, line 2: timeout is not a time from 1 second to 1 hour
          write a time such as "90s"
        paas.toml, line 3: the version of node is no text
          write it in quotes
        paas.toml, line 2: "x; rm -rf /" is not the name of a Debian package
          write names such as "ffmpeg" and "libpq-dev"
        paas.toml, line 2: "../.." is not a directory of the repository
          write its path from the root, such as "dist"
        paas.toml, line 2: "node:22\nRUN x" is not the name of an image
          write a name such as "node:22-bookworm"
        paas.toml, line 2: "A-B" is not a valid variable name: it takes letters, digits and underscores, and does not begin with a digit
          write a name such as `NODE_OPTIONS`
        paas.toml, line 2: the value of KEY has more than one line
          set it in the app's config: `paas config:set APP NAME=VALUE`
        "#);
    }
}
