//! What deploys leave in the engine and nobody needs any more.

use std::time::Duration;

use tracing::warn;

use crate::{
    Result,
    engine::{Engine, Image},
    instance::Instance,
};

/// How long pruning the build cache may hold up the drain of the app's next deploy. The next deploy goes on where this
/// one was stopped.
const BUILD_CACHE_TIMEOUT: Duration = Duration::from_secs(10);

/// Prunes after a deploy, which is over: what fails here is done by the next one.
pub(super) async fn after_deploy(instance: &Instance, engine: &Engine) {
    if let Err(error) = prune_images(instance, engine).await {
        warn!("pruning images: {}", error.one_line());
    }
    if let Some(keep) = instance.settings.build_cache_max_gb {
        let pruned = engine.prune_build_cache(keep * 1_000_000_000);
        if let Ok(Err(error)) = tokio::time::timeout(BUILD_CACHE_TIMEOUT, pruned).await {
            warn!("pruning the build cache: {}", error.one_line());
        }
    }
}

/// Removes the images of the instance that no app needs: those beyond the last good releases that keep theirs, and what
/// builds that were cut off left behind. Returns those that are gone.
///
/// Deploys may run meanwhile.
///
/// # Errors
/// [`crate::Error::Engine`], [`crate::Error::Store`].
pub async fn prune_images(instance: &Instance, engine: &Engine) -> Result<Vec<Image>> {
    // The images first: one built after this is not looked at, and the deployment of one built before is in the
    // database until a release has taken the image over.
    let images = engine.images(&instance.id).await?;
    let kept = instance.settings.images_kept;
    let (needed, unfinished) =
        instance.reading(move |tables| Ok((tables.needed_images(kept)?, tables.unfinished_deployments(None)?))).await?;
    let is_needed = |image: &Image| {
        needed.contains(&image.id) || unfinished.iter().any(|deployment| image.deployment == Some(deployment.id))
    };
    let mut removed = Vec::new();
    for image in images.into_iter().filter(|image| !is_needed(image)) {
        if engine.remove_image_of(&image).await? {
            removed.push(image);
        }
    }
    Ok(removed)
}
