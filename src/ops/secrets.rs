//! The key that secrets are sealed to.

use serde::Serialize;

use crate::{Result, instance::Instance, settings};

/// What a rotation did.
#[derive(Clone, Debug, Serialize)]
pub struct Rotated {
    /// The public half of the new key.
    pub sealed_to: Option<String>,
    /// How many values were sealed anew, those that releases keep included.
    pub values: u64,
}

/// Makes a new key and seals everything anew. Deploys and the daemon may run meanwhile; killed at any point, everything
/// opens.
///
/// # Errors
/// [`crate::Error::Unseal`] where a value does not open: nothing has changed then; [`crate::Error::Io`],
/// [`crate::Error::Database`].
pub fn rotate(instance: &Instance) -> Result<Rotated> {
    let rotated = instance.write(|tables| {
        let values = instance.secrets.rotate(tables)?;
        Ok(Rotated { sealed_to: crate::secrets::Secrets::fingerprint(tables)?, values })
    });
    settings::die_at("rotate-committed");
    // Also after a failure: the file holds both keys then.
    instance.write(|tables| instance.secrets.tidy(tables))?;
    rotated
}
