use std::collections::BTreeMap;

use serde::Deserialize;

use super::{detect::Predicate, extract::Extractor, version::VersionRule};
use crate::model::ProcessType;

/// What a `buildpack.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Manifest {
    /// What it is called in the log, e.g. `Node`.
    pub title: String,
    /// Its place among the buildpacks: the lowest number that matches wins.
    pub order: u32,
    /// When it matches: the first rule that holds gives the reason.
    pub detect: Vec<Predicate>,
    /// The repository's own Dockerfile that is built; without it, the template `Dockerfile.tera` is.
    pub dockerfile: Option<String>,
    /// What has a version, and who decides it.
    #[serde(default)]
    pub versions: Vec<VersionRule>,
    /// What the templates can ask about.
    #[serde(default)]
    pub facts: BTreeMap<String, Predicate>,
    /// What the templates can write, as quoted JSON strings: the first extractor that finds something.
    #[serde(default)]
    pub values: BTreeMap<String, Vec<Extractor>>,
    /// Further files for the build, made from templates: name to template.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Patterns of `.dockerignore` that hold before the repository's own.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// What runs where neither `paas.toml` nor `Procfile` says: the first rule that holds for each process type.
    #[serde(default)]
    pub processes: Vec<ProcessRule>,
    /// What to do where nothing says what runs.
    pub no_process: Option<String>,
    /// What cannot be built, and what to do about it.
    #[serde(default)]
    pub refuse: Vec<Refusal>,
    /// What is worth a line in the log.
    #[serde(default)]
    pub notes: Vec<Note>,
}

/// A process that runs by default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessRule {
    /// Its type.
    pub name: ProcessType,
    /// When; always, if not said.
    pub when: Option<Predicate>,
    /// A command line, in which `{}` stands for `argument`. Without it and `scripts`, the image's own command runs.
    pub command: Option<String>,
    /// What `{}` stands for, quoted for the shell; where it is not found the rule does not hold.
    pub argument: Option<Extractor>,
    /// Command lines taken from the repository as they are, run one after another; the rule does not hold where the
    /// last of them is not found.
    #[serde(default)]
    pub scripts: Vec<Extractor>,
    /// What it is called in the log, e.g. `the start script`.
    pub source: String,
}

/// A repository that matches and cannot be built.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusal {
    pub when: Predicate,
    pub message: String,
    pub hint: String,
}

/// A line for the log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub when: Predicate,
    pub text: String,
}

impl Manifest {
    /// Refuses what would fail only when it is used: a missing template, a malformed expression.
    pub fn check(&self, templates: &BTreeMap<String, String>) -> Result<(), String> {
        let needed =
            self.files.values().map(String::as_str).chain(self.dockerfile.is_none().then_some("Dockerfile.tera"));
        for template in needed {
            if !templates.contains_key(template) {
                return Err(format!("it has no {template}"));
            }
        }
        for rule in &self.versions {
            if !rule.default.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-') {
                return Err(format!("{:?} is not a version", rule.default));
            }
        }
        Ok(())
    }
}
