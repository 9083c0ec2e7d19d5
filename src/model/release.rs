use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Actor, AppName, CommitId, Override, ProcessSpec, ProcessType};
use crate::{Error, Result};

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
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.strip_prefix('v').unwrap_or(text).parse().map(ReleaseVersion).map_err(|_| Error::InvalidValue {
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

/// What became of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseStatus {
    /// It was cut and has not served yet.
    Pending,
    /// It was proven healthy, and serves or served.
    Good,
    /// It never served.
    Failed,
}

impl ReleaseStatus {
    /// The word for it, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            ReleaseStatus::Pending => "pending",
            ReleaseStatus::Good => "good",
            ReleaseStatus::Failed => "failed",
        }
    }

    /// Reads the stored word; anything else is an error of the database.
    ///
    /// # Errors
    /// [`Error::Bug`].
    pub fn parse(word: &str) -> Result<Self> {
        [ReleaseStatus::Pending, ReleaseStatus::Good, ReleaseStatus::Failed]
            .into_iter()
            .find(|status| status.as_str() == word)
            .ok_or_else(|| Error::bug(format!("release status {word}")))
    }
}

/// What runs: an image, a config snapshot (sealed, kept by the store) and process types. Never changed once cut.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its row.
    pub id: i64,
    /// The app it belongs to.
    pub app_id: i64,
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

    /// The process type of that name, of the app that is named in the error.
    ///
    /// # Errors
    /// [`Error::ProcessNotFound`] with the types that there are.
    pub fn require(&self, app: &AppName, process: &ProcessType) -> Result<&ProcessSpec> {
        self.process(process).ok_or_else(|| {
            let names: Vec<&str> = self.processes.iter().map(|spec| spec.process.as_str()).collect();
            Error::ProcessNotFound { app: app.clone(), process: process.clone(), known: names.join(", ") }
        })
    }

    /// The names of its process types, in a list for people.
    pub fn process_names(&self) -> String {
        let names: Vec<&str> = self.processes.iter().map(|spec| spec.process.as_str()).collect();
        names.join(", ")
    }
}

/// How many containers each process type of an app is meant to have: the types of the release that serves, then those
/// that were scaled before the first deploy.
pub fn formation(current: Option<&Release>, scaled: &[(ProcessType, u32)]) -> Vec<(ProcessType, u32)> {
    let Some(current) = current else { return scaled.to_vec() };
    current.processes.iter().map(|spec| (spec.process.clone(), spec.count(scaled))).collect()
}
