use serde::{Deserialize, Serialize};

use super::{DeploymentKind, EnvKey, PropertyChange};

/// A change of what an app is run with: of its config, of its properties.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Edit {
    /// What kind of deployment it makes.
    pub kind: DeploymentKind,
    /// The command that asks for it, which its event names: `config:unset`.
    pub action: String,
    /// Why, for the release that applies it: `config: set A, B`.
    pub reason: String,
    /// Variables with their new values; none removes one.
    pub config: Vec<(EnvKey, Option<String>)>,
    /// Properties of the app and of its process types.
    pub properties: Vec<PropertyChange>,
}
