//! What takes space on this machine, and how much is left.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    Error, Result,
    engine::{Engine, Usage},
    instance::Instance,
    model::{App, AppName},
    store::RowCounts,
    sweep::size,
};

/// What takes space, in bytes.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Who uses what.
    pub apps: Vec<AppUsage>,
    /// The database, with its journal.
    pub database: u64,
    /// How many rows of what grows the database has.
    pub rows: RowCounts,
    /// What the whole engine has, whoever made it; none where it does not answer.
    pub engine: Option<EngineUsage>,
    /// The disks of ROOT and of the engine.
    pub disks: Vec<Disk>,
    /// Why nothing is known of the engine.
    #[serde(skip)]
    pub engine_error: Option<Error>,
}

/// What an app uses, in bytes. What only the engine knows is 0 or none where it does not answer.
#[derive(Clone, Debug, Serialize)]
pub struct AppUsage {
    /// The app.
    pub app: AppName,
    /// How many images it has.
    pub images: u64,
    /// What its images have for themselves; none where the engine does not tell.
    pub images_unique: Option<u64>,
    /// The most that one of its images has in common with others, such as the base image, which is on the disk once.
    pub images_shared: Option<u64>,
    /// What its containers have written outside of volumes.
    pub containers: u64,
    /// The logs of its containers; none where they cannot be seen: they are root's.
    pub container_logs: Option<u64>,
    /// Its repository, and the submodules fetched for it.
    pub repository: u64,
    /// The logs of its deploys.
    pub deploy_logs: u64,
    /// The logs of its former containers.
    pub former_logs: u64,
}

/// What the whole engine has, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EngineUsage {
    /// The layers of all images.
    pub images: u64,
    /// The build cache, without what images have too.
    pub build_cache: u64,
}

/// A disk and what is on it.
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    /// ROOT, the engine's directory, or both.
    pub holds: Vec<PathBuf>,
    /// How much room it has.
    #[serde(flatten)]
    pub space: Space,
}

/// How much room a disk has, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Space {
    /// What can still be written.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// Finds out who uses what. Where the engine does not answer, the rest is told.
///
/// # Errors
/// [`Error::Database`], [`Error::Io`].
pub async fn report(instance: &Instance) -> Result<Report> {
    let paths = &instance.settings.paths;
    let asked = async {
        let engine = Engine::connect(&instance.settings).await?;
        let usage = engine.usage(&instance.id).await?;
        let mut logs = Vec::new();
        for container in &usage.containers {
            logs.push((container.app.clone(), engine.log_size(&container.name).await));
        }
        Ok((usage, logs))
    };
    let (usage, logs, engine_error) = match asked.await {
        Ok((usage, logs)) => (Some(usage), logs, None),
        Err(error) => (None, Vec::new(), Some(error)),
    };
    let apps = instance.read(|tables| tables.apps())?;
    let apps = apps.iter().map(|app| app_usage(instance, app, usage.as_ref(), &logs)).collect();
    let database = ["", "-wal", "-shm"].map(|end| size(&PathBuf::from(format!("{}{end}", paths.database().display()))));
    Ok(Report {
        apps,
        database: database.iter().sum(),
        rows: instance.read(|tables| tables.row_counts())?,
        engine: usage.map(|usage| EngineUsage { images: usage.layers, build_cache: usage.build_cache }),
        disks: disks(instance).await?,
        engine_error,
    })
}

/// The disks of ROOT and, where it is on this machine, of the engine.
///
/// # Errors
/// [`Error::Io`] where not even ROOT's can be asked.
pub async fn disks(instance: &Instance) -> Result<Vec<Disk>> {
    let root = instance.settings.paths.root();
    let mut disks = vec![Disk { holds: vec![root.to_owned()], space: space(root)? }];
    let data_root = match Engine::connect(&instance.settings).await {
        Ok(engine) => engine.data_root().await.ok().flatten().map(PathBuf::from),
        Err(_) => None,
    };
    // An engine on another host, or one that hides its directory, looks after its own disk.
    if let Some(data_root) = data_root
        && let Ok(space) = space(&data_root)
    {
        let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
        if device(root) == device(&data_root) {
            disks[0].holds.push(data_root);
        } else {
            disks.push(Disk { holds: vec![data_root], space });
        }
    }
    Ok(disks)
}

fn app_usage(
    instance: &Instance,
    app: &App,
    usage: Option<&Usage>,
    logs: &[(Option<AppName>, Option<u64>)],
) -> AppUsage {
    let paths = &instance.settings.paths;
    let is_its = |of: &Option<AppName>| of.as_ref() == Some(&app.name);
    let images: Vec<_> = usage.iter().flat_map(|usage| &usage.images).filter(|image| is_its(&image.app)).collect();
    let containers = usage.iter().flat_map(|usage| &usage.containers).filter(|container| is_its(&container.app));
    AppUsage {
        app: app.name.clone(),
        images: images.len() as u64,
        images_unique: images.iter().map(|image| Some(image.size.saturating_sub(image.shared?))).sum(),
        images_shared: images.iter().map(|image| image.shared).max().unwrap_or(Some(0)),
        containers: containers.map(|container| container.written).sum(),
        container_logs: logs.iter().filter(|(of, _)| is_its(of)).map(|(_, size)| *size).sum(),
        repository: size(&paths.repository(&app.name)) + size(&paths.submodules(&app.name)),
        deploy_logs: size(&paths.deploy_logs(&app.name)),
        former_logs: size(&paths.former_logs(&app.name)),
    }
}

/// How much room there is on the disk of a path.
///
/// # Errors
/// [`Error::Io`].
pub fn space(path: &Path) -> Result<Space> {
    let status = rustix::fs::statvfs(path)
        .map_err(|error| Error::io(format!("ask how full the disk of {} is", path.display()))(error.into()))?;
    Ok(Space { free: status.f_bavail * status.f_frsize, total: status.f_blocks * status.f_frsize })
}
