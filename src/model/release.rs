use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Actor, CommitId, ConfigMap, CronSpec, EnvKey, Invalid, Override, ProcessSettings, ProcessSpec, ProcessType,
    ReleaseId, Result, config,
    names::{digits, words},
};

/// The number of a release within its app, counted from 1 and shown as `v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseVersion(pub u32);

impl fmt::Display for ReleaseVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{}", self.0)
    }
}

impl FromStr for ReleaseVersion {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        let number = digits(text.strip_prefix('v').unwrap_or(text)).filter(|number| *number > 0);
        number.map(ReleaseVersion).ok_or_else(|| Invalid {
            what: "release",
            value: text.to_owned(),
            rule: "it is a number such as v12".to_owned(),
        })
    }
}

/// The content address of an image in the engine: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub String);

impl fmt::Display for ImageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

words! {
    /// What became of a release.
    ReleaseStatus, "release status", {
        /// It was cut and has not served yet.
        Pending = "pending",
        /// It was proven healthy, and serves or served.
        Good = "good",
        /// It never served.
        Failed = "failed",
    }
}

/// What runs: an image, a config snapshot (sealed, kept by the store) and process types. Never changed once cut.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its row.
    pub id: ReleaseId,
    /// Its number within the app.
    pub version: ReleaseVersion,
    /// The image it runs.
    pub image: ImageId,
    /// The process types it has.
    pub processes: Vec<ProcessSpec>,
    /// The commands of its source that run by time.
    pub crons: Vec<CronSpec>,
    /// What the server was told about how they run, when it was cut.
    pub overrides: Vec<Override>,
    /// The port its web process listens on.
    pub port: u16,
    /// The port that its source says, where it says one.
    pub declared_port: Option<u16>,
    /// The commit it was built from.
    pub commit: Option<CommitId>,
    /// Why it was cut, e.g. `push of main`.
    pub reason: String,
    /// Who asked for it.
    pub actor: Actor,
    /// What became of it.
    pub status: ReleaseStatus,
    /// When, in milliseconds since 1970.
    pub created_at: i64,
}

impl Release {
    /// The process type of that name, if the release has it.
    pub fn process(&self, process: &ProcessType) -> Option<&ProcessSpec> {
        self.processes.iter().find(|spec| spec.process == *process)
    }

    /// The variables that hold its commit, but for those that its config sets to something else.
    ///
    /// # Errors
    /// [`Invalid`] for a name that is stored and cannot be.
    pub fn rev_variables(&self, config: &ConfigMap) -> Result<Vec<(EnvKey, String)>> {
        let mut variables = config::rev_variables(&self.overrides, self.commit)?;
        variables.retain(|(key, _)| !config.contains_key(key));
        Ok(variables)
    }

    /// The names of its process types, in a list for people.
    pub fn process_names(&self) -> String {
        let names: Vec<&str> = self.processes.iter().map(|spec| spec.process.as_str()).collect();
        names.join(", ")
    }
}

/// How many containers each of some process types is meant to have.
pub fn formation(processes: &[ProcessSpec], scaled: &[(ProcessType, u32)]) -> Vec<(ProcessType, u32)> {
    processes.iter().map(|spec| (spec.process.clone(), spec.count(scaled))).collect()
}

/// Refuses more containers for an app than it may have.
///
/// # Errors
/// [`Invalid`].
pub fn check_containers(wanted: u64, most: u64) -> Result<()> {
    if wanted <= most {
        return Ok(());
    }
    Err(Invalid {
        what: "number of containers",
        value: wanted.to_string(),
        rule: format!("an app may have {most}, of all its process types together (the setting max_containers)"),
    })
}

/// The process types of an app: those of the release that serves. Before the first deploy they are `web` and each type
/// that something was set for, as far as it can be told without the source.
///
/// # Errors
/// [`Invalid`] where settings do not fit together.
pub fn process_types(
    current: Option<&Release>,
    scaled: &[(ProcessType, u32)],
    overrides: &[Override],
) -> Result<Vec<ProcessSpec>> {
    if let Some(current) = current {
        return Ok(current.processes.clone());
    }
    let set = overrides.iter().filter_map(|entry| entry.scope.process());
    let mut types: Vec<&ProcessType> = scaled.iter().map(|(process, _)| process).chain(set).collect();
    let web = ProcessType::web();
    types.push(&web);
    types.retain(|process| process.as_str() != ProcessType::RELEASE);
    types.sort_by_key(|process| (!process.is_web(), process.as_str()));
    types.dedup();
    let spec = |process: &ProcessType| {
        ProcessSpec::new(process.clone(), None, None, ProcessSettings::default())?.with_overrides(overrides)
    };
    types.into_iter().map(spec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Scope, property};

    #[test]
    fn before_the_first_deploy_the_types_are_web_and_those_that_something_was_set_for() -> Result<()> {
        let of = |process: &str| process.parse::<ProcessType>();
        let memory = |scope, value: &str| Override { scope, property: &property::MEMORY, value: value.to_owned() };
        let overrides = [
            memory(Scope::App, "64m"),
            memory(Scope::Process(of("worker")?), "128m"),
            memory(Scope::Process(of("release")?), "1g"),
        ];
        let scaled = [(of("clock")?, 2)];
        let types = process_types(None, &scaled, &overrides)?;
        let memory: Vec<_> = types.iter().map(|spec| (spec.process.as_str(), spec.run.memory_mib)).collect();
        assert_eq!(memory, [("web", Some(64)), ("clock", Some(64)), ("worker", Some(128))]);
        let counts: Vec<u32> = formation(&types, &scaled).into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 0]);
        assert_eq!(process_types(None, &[], &[])?.len(), 1);
        Ok(())
    }
}
