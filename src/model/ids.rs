use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Writes the number of a row as a type of its own, so that the number of one table cannot be taken for another's.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    )*};
}

ids! {
    /// The number of an app, never used again.
    AppId

    /// The row of a release. People know a release by its [`super::ReleaseVersion`].
    ReleaseId

    /// The row of a container.
    ContainerId

    /// The number of a deployment within the instance, counted from 1.
    DeployId
}

impl FromStr for DeployId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(DeployId).map_err(|_| Error::InvalidValue {
            what: "deploy",
            value: text.to_owned(),
            rule: "it is a number such as 7".to_owned(),
        })
    }
}
