//! What the engine's data takes on its disk, and freeing what is only there to be quick.

use std::{collections::HashMap, time::Duration};

use bollard::query_parameters as query;
use futures_util::TryStreamExt;
use serde::Deserialize;

use super::{Engine, fault::failed, spec};
use crate::{Result, model::AppName};

/// What the engine says that its data takes, in bytes: all of the engine's layers and cache, and the instance's own
/// images and containers.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// The layers of all images of the engine, and of its build cache as far as images share them, each counted once.
    pub layers: u64,
    /// The build cache, which all users of the engine share, without what images share with it.
    pub build_cache: u64,
    /// The instance's images.
    pub images: Vec<ImageUsage>,
    /// The instance's containers.
    pub containers: Vec<ContainerUsage>,
}

/// What an image takes.
#[derive(Clone, Debug)]
pub struct ImageUsage {
    /// The app it was built for.
    pub app: Option<AppName>,
    /// All of it.
    pub size: u64,
    /// What other images have too; none where the engine does not tell.
    pub shared: Option<u64>,
}

/// What a container takes.
#[derive(Clone, Debug)]
pub struct ContainerUsage {
    /// Its name.
    pub name: String,
    /// Its app.
    pub app: Option<AppName>,
    /// What it has written outside of volumes.
    pub written: u64,
}

/// The engine's answer, in the form it had up to API 1.51.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    layers_size: i64,
    images: Option<Vec<AnswerImage>>,
    containers: Option<Vec<AnswerContainer>>,
    build_cache: Option<Vec<AnswerCache>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AnswerImage {
    #[serde(default)]
    size: i64,
    #[serde(default = "unknown")]
    shared_size: i64,
    labels: Option<HashMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AnswerContainer {
    names: Option<Vec<String>>,
    #[serde(default)]
    size_rw: i64,
    labels: Option<HashMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AnswerCache {
    #[serde(default)]
    size: i64,
    #[serde(default)]
    shared: bool,
}

/// The newest API version that answers in the form of [`Answer`]; 1.52 answers in another, which bollard reads, but no
/// engine before it speaks.
const LAST_VERSION: (usize, usize) = (1, 51);

/// How often the engine is asked again, and after how long, while it cannot count for what others do.
const USAGE_ATTEMPTS: usize = 240;
const USAGE_RETRY: Duration = Duration::from_millis(250);

impl Engine {
    /// Asks the engine what its data takes. It adds up for this, which may take seconds.
    ///
    /// # Errors
    /// [`crate::Error::Engine`].
    pub async fn usage(&self, instance: &str) -> Result<Usage> {
        let negotiated = self.docker.client_version();
        let (major, minor) = LAST_VERSION.min((negotiated.major_version, negotiated.minor_version));
        // bollard has no way to ask for a path of one's own. This takes one of its questions that returns bytes, and
        // puts the path that is meant into it.
        let asking = self.docker.clone().with_request_modifier(move |mut request| {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = format!("/v{major}.{minor}/system/df").parse().ok();
            if let Ok(uri) = parts.try_into() {
                *request.uri_mut() = uri;
            }
            request
        });
        let mut attempts = 1..=USAGE_ATTEMPTS;
        let bytes: Vec<u8> = loop {
            let all = asking.export_image("usage").try_fold(Vec::new(), |mut all, piece| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            });
            match all.await {
                // Docker before 23 adds up for one client at a time and turns the others away; with the containerd
                // image store, 28 gives up when something that it counts is removed meanwhile.
                Err(bollard::errors::Error::DockerResponseServerError { status_code, message })
                    if (message.contains("already running") || status_code == 404) && attempts.next().is_some() =>
                {
                    tokio::time::sleep(USAGE_RETRY).await;
                }
                answer => break answer.map_err(failed("report how much its data uses"))?,
            }
        };
        let answer = serde_json::from_slice(&bytes).map_err(failed("report how much its data uses"))?;
        Ok(usage(&answer, instance))
    }

    /// What the log of a container takes, with its older parts; none where that cannot be seen from here, because it is
    /// root's, on another host, or kept by another log driver.
    pub async fn log_size(&self, name: &str) -> Option<u64> {
        let inspected = self.docker.inspect_container(name, None::<query::InspectContainerOptions>).await.ok()?;
        let path = inspected.log_path.filter(|path| !path.is_empty())?;
        let newest = std::fs::metadata(&path).ok()?.len();
        let older = (1..spec::LOG_FILES).map(|number| std::fs::metadata(format!("{path}.{number}")));
        Some(newest + older.flatten().map(|metadata| metadata.len()).sum::<u64>())
    }

    /// Prunes the build cache, of all users of the engine, down to `keep` bytes, and returns how many it freed. What
    /// running builds use stays.
    ///
    /// # Errors
    /// [`crate::Error::Engine`].
    pub async fn prune_build_cache(&self, keep: u64) -> Result<u64> {
        // Old engines know `keep-storage` alone; 1.48 and up say it in three, of which this is the upper bound.
        let options = query::PruneBuildOptions { all: Some(true), ..Default::default() };
        let asking = self.docker.clone().with_request_modifier(move |mut request| {
            let mut parts = request.uri().clone().into_parts();
            let path = parts.path_and_query.as_ref().map(ToString::to_string).unwrap_or_default();
            parts.path_and_query = format!("{path}&keep-storage={keep}&max-used-space={keep}").parse().ok();
            if let Ok(uri) = parts.try_into() {
                *request.uri_mut() = uri;
            }
            request
        });
        let answer = asking.prune_build(Some(options)).await.map_err(failed("prune its build cache"))?;
        Ok(whole(answer.space_reclaimed.unwrap_or(0)))
    }
}

fn usage(answer: &Answer, instance: &str) -> Usage {
    let label = |labels: &Option<HashMap<String, String>>, name: &str| {
        labels.as_ref().and_then(|labels| labels.get(name)).cloned()
    };
    let is_ours = |labels| label(labels, spec::INSTANCE_LABEL).as_deref() == Some(instance);
    let app = |labels| label(labels, spec::APP_LABEL).and_then(|app| app.parse().ok());
    Usage {
        layers: whole(answer.layers_size),
        build_cache: answer
            .build_cache
            .iter()
            .flatten()
            .filter(|cache| !cache.shared)
            .map(|cache| whole(cache.size))
            .sum(),
        images: (answer.images.iter().flatten())
            .filter(|image| is_ours(&image.labels))
            .map(|image| ImageUsage {
                app: app(&image.labels),
                size: whole(image.size),
                shared: u64::try_from(image.shared_size).ok(),
            })
            .collect(),
        containers: (answer.containers.iter().flatten())
            .filter(|container| is_ours(&container.labels))
            .map(|container| ContainerUsage {
                name: container
                    .names
                    .iter()
                    .flatten()
                    .next()
                    .map_or("", |name| name.trim_start_matches('/'))
                    .to_owned(),
                app: app(&container.labels),
                written: whole(container.size_rw),
            })
            .collect(),
    }
}

/// A size of the engine's, which says -1 where it does not know.
fn whole(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}

fn unknown() -> i64 {
    -1
}
