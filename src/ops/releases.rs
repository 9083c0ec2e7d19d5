//! Releases: look up.

use crate::{
    Error, Result,
    engine::Engine,
    instance::Instance,
    model::{App, AppName, ConfigMap, Release, ReleaseVersion},
};

/// An app's newest releases, newest first, and whether each one's image is still there; nothing where the engine does
/// not answer.
///
/// # Errors
/// [`Error::AppNotFound`], [`Error::Database`].
pub async fn list(instance: &Instance, name: &AppName, limit: u32) -> Result<(App, Vec<(Release, Option<bool>)>)> {
    let (app, releases) = instance.read(|tables| {
        let app = tables.app(name)?;
        let releases = tables.releases(app.id, limit)?;
        Ok((app, releases))
    })?;
    let images = match Engine::connect(&instance.settings).await {
        Ok(engine) => engine.images(&instance.id).await.ok(),
        Err(_) => None,
    };
    let has_image = |release: &Release| Some(images.as_ref()?.iter().any(|image| image.id == release.image));
    let releases = releases
        .into_iter()
        .map(|release| {
            let has_image = has_image(&release);
            (release, has_image)
        })
        .collect();
    Ok((app, releases))
}

/// A release of an app with its config in clear: that of a number, or the one that serves.
///
/// # Errors
/// [`Error::ReleaseNotFound`], [`Error::NeverDeployed`], [`Error::Unseal`].
pub fn find(instance: &Instance, name: &AppName, version: Option<ReleaseVersion>) -> Result<(App, Release, ConfigMap)> {
    let (app, release, sealed) = instance.read(|tables| {
        let app = tables.app(name)?;
        let release = match version {
            Some(version) => tables
                .find_release(app.id, version)?
                .ok_or_else(|| Error::ReleaseNotFound { app: name.clone(), version })?,
            None => tables.serving(&app)?,
        };
        let sealed = tables.sealed_config(release.id)?;
        Ok((app, release, sealed))
    })?;
    let config = instance.secrets.unseal_config(&sealed)?;
    Ok((app, release, config))
}
