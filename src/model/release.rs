use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{CommitId, ProcessSpec};
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
    /// The port its web process listens on.
    pub port: u16,
    /// The commit it was built from.
    pub commit: Option<CommitId>,
    /// Why it was cut, e.g. `push of main`.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub created_at: i64,
}
