use clap::Args;

use super::Output;
use crate::{Result, instance::Instance, ops};

/// Make a new key for the server's secrets, and seal everything with it
///
/// For a key that others may have seen. Config variables and the config of all releases are sealed anew, in one
/// transaction; the former key opens nothing any more. Nothing restarts, and deploys may run meanwhile. What was sealed
/// before, such as a backup, still needs the former key: keep a copy of ROOT/secret.key with it.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    output: Output,
}

impl Rotate {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let rotated = ops::secrets::rotate(instance)?;
        let facts = [
            ("sealed to", rotated.sealed_to.clone().unwrap_or_else(|| "-".to_owned())),
            ("values", rotated.values.to_string()),
        ];
        self.output.ui().facts(&facts, &rotated)
    }
}
