use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Actor, AppId, CommitId, Invalid, Override, ProcessSpec, ProcessType, ReleaseId, Result, names::words};

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
        text.strip_prefix('v').unwrap_or(text).parse().map(ReleaseVersion).map_err(|_| Invalid {
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
    /// The app it belongs to.
    pub app_id: AppId,
    /// Its number within the app.
    pub version: ReleaseVersion,
    /// The image it runs.
    pub image: ImageId,
    /// The process types it has.
    pub processes: Vec<ProcessSpec>,
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

    /// The names of its process types, in a list for people.
    pub fn process_names(&self) -> String {
        let names: Vec<&str> = self.processes.iter().map(|spec| spec.process.as_str()).collect();
        names.join(", ")
    }
}

/// How many containers each process type of an app is meant to have: the types of the release that serves, or those
/// that were scaled before the first deploy.
pub fn formation(current: Option<&Release>, scaled: &[(ProcessType, u32)]) -> Vec<(ProcessType, u32)> {
    let Some(current) = current else { return scaled.to_vec() };
    current.processes.iter().map(|spec| (spec.process.clone(), spec.count(scaled))).collect()
}
