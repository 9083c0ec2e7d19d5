use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Invalid;

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

    /// The number of a route.
    RouteId

    /// The number of a run within the instance, counted from 1.
    RunId

    /// The number of an operation within the instance, counted from 1. A deployment is an operation.
    OperationId
}

/// The number of a deployment: that of its operation.
pub type DeployId = OperationId;

impl FromStr for OperationId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(OperationId).map_err(|_| Invalid {
            what: "deploy",
            value: text.to_owned(),
            rule: "it is a number such as 7".to_owned(),
        })
    }
}
