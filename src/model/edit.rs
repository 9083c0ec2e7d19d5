use serde::{Deserialize, Serialize};

use super::{DeploymentKind, EnvKey, Override, PropertyChange};

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
    /// Whether these are all that the app is to have: any other variable of its own is removed.
    #[serde(default)]
    pub replaces_config: bool,
    /// The digest of the variables of the same scope from which the edit was made, where it was made from these; it means
    /// nothing else then.
    #[serde(default)]
    pub saw_config: Option<String>,
    /// Properties of the app and of its process types.
    pub properties: Vec<PropertyChange>,
    /// What was set for single process types of the same properties, where the edit was made from that; it means nothing
    /// else then.
    #[serde(default)]
    pub saw: Option<Vec<Override>>,
}

impl Edit {
    /// What of an app's properties the edit is about: of its properties, what is set for single process types.
    pub fn seen(&self, rows: &[Override]) -> Vec<Override> {
        let is_of = |row: &&Override| {
            row.scope.process().is_some() && self.properties.iter().any(|change| change.property == row.property)
        };
        rows.iter().filter(is_of).cloned().collect()
    }
}
