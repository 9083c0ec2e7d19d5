//! What takes space on this machine, and how much is left.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    Error, Result,
    context::Context,
    disk::{Space, space},
    engine::{Engine, Usage},
    instance::Instance,
    model::{self, App, AppName},
    settings::Settings,
    store::RowCounts,
    sweep::size,
    ui::{Show, Text, or_dash},
};

/// What takes space, in bytes.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Who uses what.
    pub apps: Vec<AppUsage>,
    /// The database, with its journal.
    pub database_bytes: u64,
    /// How many rows the database has of what grows with use.
    pub rows: RowCounts,
    /// What the whole engine has, whoever made it; none where it does not answer.
    pub engine: Option<EngineUsage>,
    /// The disks of ROOT and of the engine.
    pub disks: Vec<Disk>,
    /// Why nothing is known of the engine.
    #[serde(skip)]
    pub engine_error: Option<Error>,
}

impl Show for Report {
    fn text(&self) -> Text {
        let known = |size: Option<u64>| or_dash(size.map(model::bytes));
        let apps = Text::table(
            ["APP", "IMAGES", "OWN", "SHARED", "CONTAINERS", "LOGS", "REPOSITORY", "DEPLOY LOGS", "FORMER LOGS"],
            self.apps.iter().map(|app| {
                [
                    app.app.to_string(),
                    app.images.to_string(),
                    known(app.images_unique_bytes),
                    known(app.images_shared_bytes),
                    model::bytes(app.containers_bytes),
                    known(app.container_logs_bytes),
                    model::bytes(app.repository_bytes),
                    model::bytes(app.deploy_logs_bytes),
                    model::bytes(app.former_logs_bytes),
                ]
            }),
        );
        let RowCounts { releases, operations, events } = self.rows;
        let rows = format!("{releases} releases, {operations} operations, {events} events");
        let mut facts = vec![("database", format!("{}: {rows}", model::bytes(self.database_bytes)))];
        if let Some(engine) = self.engine {
            facts.push(("images", format!("{} in Docker, shared by all its users", model::bytes(engine.images_bytes))));
            facts.push((
                "build cache",
                format!("{} in Docker, shared by all its users", model::bytes(engine.build_cache_bytes)),
            ));
        }
        facts.push(("disks", disk_lines(&self.disks)));
        Text::Parts(vec![apps, Text::facts(facts)])
    }
}

/// A line a disk: how much is free, and what is on it.
pub(super) fn disk_lines(disks: &[Disk]) -> String {
    let lines = disks.iter().map(|disk| {
        let holds: Vec<String> = disk.holds.iter().map(|path| path.display().to_string()).collect();
        let (free, total) = (model::bytes(disk.space.free_bytes), model::bytes(disk.space.total_bytes));
        format!("{free} free of {total}: {}", holds.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What an app uses, in bytes. What only the engine knows is 0 or none where it does not answer.
#[derive(Clone, Debug, Serialize)]
pub struct AppUsage {
    /// The app.
    pub app: AppName,
    /// How many images it has.
    pub images: u64,
    /// What its images have for themselves; none where the engine does not tell.
    pub images_unique_bytes: Option<u64>,
    /// The most that one of its images has in common with others, such as the base image, which is on the disk once.
    pub images_shared_bytes: Option<u64>,
    /// What its containers have written outside of volumes.
    pub containers_bytes: u64,
    /// The logs of its containers; none where they cannot be seen: they are root's.
    pub container_logs_bytes: Option<u64>,
    /// Its repository, and the submodules fetched for it.
    pub repository_bytes: u64,
    /// The logs of its deploys.
    pub deploy_logs_bytes: u64,
    /// The logs of its former containers.
    pub former_logs_bytes: u64,
}

/// What the whole engine has, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EngineUsage {
    /// The layers of all images.
    pub images_bytes: u64,
    /// The build cache, without what images have too.
    pub build_cache_bytes: u64,
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

/// Finds out who uses what. Where the engine does not answer, the rest is told.
///
/// # Errors
/// [`Error::Store`], [`Error::Host`].
pub async fn report(context: &Context<'_>) -> Result<Report> {
    let instance = context.instance;
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
    let seen = apps.iter().filter(|app| context.sees(&app.name));
    let apps = seen.map(|app| app_usage(instance, app, usage.as_ref(), &logs)).collect();
    let database = ["", "-wal", "-shm"].map(|end| size(&PathBuf::from(format!("{}{end}", paths.database().display()))));
    Ok(Report {
        apps,
        database_bytes: database.iter().sum(),
        rows: instance.read(|tables| tables.row_counts())?,
        engine: usage.map(|usage| EngineUsage { images_bytes: usage.layers, build_cache_bytes: usage.build_cache }),
        disks: disks(&instance.settings).await?,
        engine_error,
    })
}

/// The disks of ROOT and, where it is on this machine, of the engine.
///
/// # Errors
/// [`Error::Host`] where not even ROOT's can be asked.
pub async fn disks(settings: &Settings) -> Result<Vec<Disk>> {
    let root = settings.paths.root();
    let mut disks = vec![Disk { holds: vec![root.to_owned()], space: space(root)? }];
    let data_root = match Engine::connect(settings).await {
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
        images_unique_bytes: images.iter().map(|image| Some(image.size.saturating_sub(image.shared?))).sum(),
        images_shared_bytes: images.iter().map(|image| image.shared).max().unwrap_or(Some(0)),
        containers_bytes: containers.map(|container| container.written).sum(),
        container_logs_bytes: logs.iter().filter(|(of, _)| is_its(of)).map(|(_, size)| *size).sum(),
        repository_bytes: size(&paths.repository(&app.name)) + size(&paths.submodules(&app.name)),
        deploy_logs_bytes: size(&paths.deploy_logs(&app.name)),
        former_logs_bytes: size(&paths.former_logs(&app.name)),
    }
}
