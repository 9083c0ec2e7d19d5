//! The images that the instance's builds made, and what of them can go.

use bollard::query_parameters as query;

use super::{Engine, fault::failed, has_role, is_status, label_filter, spec};
use crate::{
    Result,
    model::{AppName, DeployId, ImageId},
};

/// What the list of an old engine calls the tag of an image that has none.
const NO_TAG: &str = "<none>:<none>";

/// An image that a build of the instance made.
#[derive(Clone, Debug)]
pub struct Image {
    /// What it is.
    pub id: ImageId,
    /// Its tags; none where a build that was cut off left it behind.
    pub tags: Vec<String>,
    /// The app it was built for.
    pub app: Option<AppName>,
    /// The deployment that built it.
    pub deployment: Option<DeployId>,
}

impl Engine {
    /// The images of the instance, of all apps, and what builds of a Dockerfile left of them.
    ///
    /// # Errors
    /// [`crate::Error::Engine`].
    pub async fn images(&self, instance: &str) -> Result<Vec<Image>> {
        let options = query::ListImagesOptions {
            filters: Some(label_filter(&[(spec::INSTANCE_LABEL, instance)])),
            ..Default::default()
        };
        let images = self.docker.list_images(Some(options)).await.map_err(failed("list images"))?;
        Ok(images
            .into_iter()
            .filter(|image| !has_role(&image.labels))
            .map(|image| Image {
                id: ImageId(image.id),
                tags: image.repo_tags.into_iter().filter(|tag| tag != NO_TAG).collect(),
                app: image.labels.get(spec::APP_LABEL).and_then(|app| app.parse().ok()),
                deployment: image.labels.get(spec::DEPLOYMENT_LABEL).and_then(|id| id.parse().ok()),
            })
            .collect())
    }

    /// Removes an image with all its tags, and says whether it is gone. One that a container uses stays.
    ///
    /// # Errors
    /// [`crate::Error::Engine`].
    pub async fn remove_image_of(&self, image: &Image) -> Result<bool> {
        let mut removed = true;
        let by_id = [image.id.0.clone()];
        for name in if image.tags.is_empty() { &by_id[..] } else { &image.tags[..] } {
            removed &= self.remove_image(name).await?;
        }
        Ok(removed)
    }

    /// Removes an image's tag, and the image with its last tag. Says whether it is gone: one that a container uses
    /// stays.
    ///
    /// # Errors
    /// [`crate::Error::Engine`].
    pub async fn remove_image(&self, tag: &str) -> Result<bool> {
        match self.docker.remove_image(tag, None::<query::RemoveImageOptions>, None).await {
            Ok(_) => Ok(true),
            Err(error) if is_status(&error, 404) => Ok(true),
            Err(error) if is_status(&error, 409) => Ok(false),
            Err(error) => Err(failed(format!("remove the image {tag}"))(error)),
        }
    }
}
