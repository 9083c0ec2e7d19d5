//! The key that secrets are sealed to.

use serde::Serialize;

use crate::{
    Result,
    context::Context,
    model::{Change, Subject},
    secrets::Secrets,
    settings,
    ui::{Show, Text, or_dash},
};

/// What a rotation did.
#[derive(Clone, Debug, Serialize)]
pub struct Rotated {
    /// The public half of the new key.
    pub sealed_to: Option<String>,
    /// How many values were sealed anew, those that releases keep included.
    pub values: u64,
}

impl Show for Rotated {
    fn text(&self) -> Text {
        Text::facts(vec![("sealed to", or_dash(self.sealed_to.as_ref())), ("values", self.values.to_string())])
    }
}

/// Makes a new key and seals everything anew. Deploys and the daemon may run meanwhile; killed at any point, everything
/// opens.
///
/// # Errors
/// `StoreError::Sealed` where a value does not open: nothing has changed then; [`crate::Error::Host`],
/// [`crate::Error::Store`].
pub fn rotate(context: &Context<'_>) -> Result<Rotated> {
    let instance = context.instance;
    let rotated = context.change(&Change::new("secrets:rotate", Subject::Server), |tables| {
        let values = instance.secrets.rotate(tables)?;
        Ok(Rotated { sealed_to: Secrets::fingerprint(tables)?, values })
    });
    settings::die_at("rotate-committed");
    // Also after a failure: the file holds both keys then.
    instance.write(|tables| instance.secrets.tidy(tables))?;
    rotated
}
