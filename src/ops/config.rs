//! Config variables: sealed in the database, injected when a container starts.

use crate::{
    Result,
    instance::Instance,
    model::{App, ConfigMap},
};

/// An app's config in clear.
///
/// # Errors
/// [`crate::Error::Unseal`].
pub fn show(instance: &Instance, app: &App) -> Result<ConfigMap> {
    instance.config(app.id)
}
