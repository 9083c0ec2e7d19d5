//! The one sweeper: what is kept of everything that grows, by the properties `keep.*`, and what nobody needs any more.
//! Deploys, pushes and the daemon may run meanwhile.

use std::{
    collections::HashSet,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use tracing::warn;

use crate::{
    Error, Result, clock,
    engine::{Engine, Image},
    files::{self, entries},
    instance::{Instance, maybe_number_of, number_of, on_pool},
    model::{self, AppName, DeployId, ImageId, RunId, Scheduler, property},
    settings::{Paths, Settings},
    store::{Store, Tables},
};

/// How long after its last change a temporary file has no owner any more: no push and no build takes that long.
const TEMPORARY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How long pruning the build cache may hold up the drain of the app's next deploy. The next deploy goes on where this
/// one was stopped.
const BUILD_CACHE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often, and after which pause, it is tried to move the log of the database while others read.
const MOVE_LOG_TRIES: u32 = 20;
const MOVE_LOG_AGAIN: Duration = Duration::from_millis(100);

/// What was removed of a kind, and what that freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Freed {
    /// How many.
    pub removed: u64,
    /// How many bytes that freed; for images what of their layers nothing else has, the build cache included.
    pub freed_bytes: u64,
}

impl Freed {
    /// What was removed, for people.
    pub fn words(self) -> String {
        match self {
            Freed { removed: 0, .. } => "nothing to remove".to_owned(),
            Freed { removed, freed_bytes: bytes } => format!("{removed} removed, {} freed", model::bytes(bytes)),
        }
    }
}

/// What was removed of the files below ROOT.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Files {
    /// Logs of old deploys.
    pub deploy_logs: Freed,
    /// The older lines of containers that are gone.
    pub former_logs: Freed,
    /// What old detached runs printed.
    pub run_logs: Freed,
    /// Files that a killed push, deploy or daemon left behind.
    pub temporary_files: Freed,
}

/// What was removed in the engine.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct InEngine {
    /// Images that no release in reach needs.
    pub images: Freed,
    /// Containers that no deploy knows.
    pub containers: Freed,
    /// Networks that are not the instance's.
    pub networks: Freed,
    /// Bytes of the engine's build cache; none where it was not asked for.
    pub build_cache_bytes: Option<u64>,
}

/// How many rows were removed from the database.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Rows {
    /// Releases that nobody can go back to.
    pub releases: u64,
    /// Old operations.
    pub operations: u64,
    /// Old events.
    pub events: u64,
    /// Old runs.
    pub runs: u64,
}

/// Sweeps after a deploy, which is over: what fails here is done by the next one.
pub async fn after_deploy(instance: &Instance, engine: &Engine) {
    if let Err(error) = old_files(instance).await {
        warn!("sweeping files: {}", error.one_line());
    }
    if let Err(error) = images(instance, engine).await {
        warn!("pruning images: {}", error.one_line());
    }
    if let Err(error) = rows(instance).await {
        warn!("sweeping the database: {}", error.one_line());
    }
    let pruned = tokio::time::timeout(BUILD_CACHE_TIMEOUT, build_cache(instance, engine)).await;
    if let Ok(Err(error)) = pruned {
        warn!("pruning the build cache: {}", error.one_line());
    }
    if let Err(error) = move_log(instance).await {
        warn!("moving the log into the database: {}", error.one_line());
    }
}

/// Moves what was written into the database itself. Whoever reads just then, as the edge does after each change, keeps it for
/// some milliseconds.
async fn move_log(instance: &Instance) -> Result<()> {
    for _ in 0..MOVE_LOG_TRIES {
        let path = instance.settings.paths.database();
        if on_pool(move || Store::move_log(&path)).await.flatten()? {
            return Ok(());
        }
        tokio::time::sleep(MOVE_LOG_AGAIN).await;
    }
    Ok(())
}

/// Prunes the build cache, if a bound is set. Returns how many bytes that freed.
///
/// # Errors
/// [`Error::Engine`], [`Error::Store`].
pub async fn build_cache(instance: &Instance, engine: &Engine) -> Result<u64> {
    let settings = instance.settings.clone();
    let keep = instance.reading(move |tables| maybe_number_of(&settings, tables, &property::BUILD_CACHE_MAX_GB, None));
    match keep.await? {
        Some(keep) => engine.prune_build_cache(keep * 1_000_000_000).await,
        None => Ok(0),
    }
}

/// How much of an app's files is kept.
struct KeptFiles {
    app: AppName,
    deploy_logs: u64,
    former_log: u64,
    runs: HashSet<RunId>,
}

/// Removes files below ROOT beyond those that are kept, what was killed left behind, and a key that a rotation which was
/// killed left beside the one that is used. Needs no engine.
///
/// # Errors
/// [`Error::Host`], [`Error::Store`].
pub async fn old_files(instance: &Instance) -> Result<Files> {
    let secrets = instance.secrets.clone();
    instance.writing(move |tables| secrets.tidy(tables)).await?;
    let settings = instance.settings.clone();
    let read = instance.reading(move |tables| {
        let unfinished: HashSet<DeployId> =
            tables.unfinished_deployments(None)?.iter().map(|deployment| deployment.id).collect();
        let kept = tables.apps()?.into_iter().map(|app| {
            let number = |property| number_of(&settings, tables, property, Some(app.id));
            let (deploy_logs, former_log) = (number(&property::KEEP_DEPLOY_LOGS)?, number(&property::KEEP_FORMER_LOG)?);
            let keep = u32::try_from(number(&property::KEEP_RUNS)?).unwrap_or(u32::MAX);
            let runs = tables.runs(app.id, keep)?.into_iter().chain(tables.unfinished_runs(Some(app.id))?);
            let runs = runs.map(|run| run.id).collect();
            Ok(KeptFiles { app: app.name, deploy_logs, former_log, runs })
        });
        Ok((kept.collect::<Result<Vec<_>>>()?, unfinished))
    });
    let (kept, unfinished) = read.await?;
    let paths = instance.settings.paths.clone();
    on_pool(move || remove_files(&paths, &kept, &unfinished)).await?
}

fn remove_files(paths: &Paths, kept: &[KeptFiles], unfinished: &HashSet<DeployId>) -> Result<Files> {
    files::keep_all_private(paths.root());
    let mut deploy_logs = Freed::default();
    let mut former_logs = Freed::default();
    let mut run_logs = Freed::default();
    for KeptFiles { app, deploy_logs: keep, former_log, runs } in kept {
        let mut logs: Vec<(DeployId, PathBuf)> = entries(&paths.deploy_logs(app))?
            .into_iter()
            .filter_map(|path| Some((path.file_stem()?.to_str()?.parse().ok()?, path)))
            .collect();
        logs.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        for (id, path) in logs.into_iter().skip(*keep as usize) {
            if !unfinished.contains(&id) {
                remove(&path, &mut deploy_logs)?;
            }
        }
        for path in entries(&paths.run_logs(app))? {
            let id = path.file_stem().and_then(|name| name.to_str()?.parse::<RunId>().ok());
            if id.is_none_or(|id| !runs.contains(&id)) {
                remove(&path, &mut run_logs)?;
            }
        }
        let former = paths.former_logs(app);
        let before = size(&former);
        if shorten(&former, *former_log)? {
            former_logs.removed += 1;
            former_logs.freed_bytes += before.saturating_sub(size(&former));
        }
    }
    let mut temporary_files = Freed::default();
    for path in temporary(paths)? {
        if newest_change(&path).is_some_and(|changed| clock::since(changed) > TEMPORARY_AFTER) {
            remove(&path, &mut temporary_files)?;
        }
    }
    Ok(Files { deploy_logs, former_logs, run_logs, temporary_files })
}

/// Cuts a file of lines to the newer half of a bound, where it is larger than that. Returns whether it was.
///
/// # Errors
/// [`Error::Host`].
pub fn shorten(path: &Path, bound: u64) -> Result<bool> {
    let action = || format!("write {}", path.display());
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > bound => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(action())(error)),
    }
    let text = std::fs::read(path).map_err(Error::io(action()))?;
    let half = text.len().saturating_sub(bound as usize / 2);
    let start = text[half..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |offset| half + offset + 1);
    files::write_whole(path, &text[start..], 0o600)?;
    Ok(true)
}

/// Removes rows of the database beyond those that are kept: releases that nobody can go back to, deploys that are over,
/// events.
///
/// # Errors
/// [`Error::Store`].
pub async fn rows(instance: &Instance) -> Result<Rows> {
    let settings = instance.settings.clone();
    let written = instance.writing(move |tables| {
        let mut removed = Rows::default();
        let kept_images = needed_images(&settings, tables)?;
        for app in tables.apps()? {
            let number = |property| number_of(&settings, tables, property, Some(app.id));
            removed.releases += tables.prune_releases(app.id, number(&property::KEEP_RELEASES)?, &kept_images)?;
            removed.operations += tables.prune_operations(Some(app.id), number(&property::KEEP_OPERATIONS)?)?;
            removed.runs += tables.prune_runs(app.id, number(&property::KEEP_RUNS)?)?;
        }
        let keep = number_of(&settings, tables, &property::KEEP_OPERATIONS, None)?;
        removed.operations += tables.prune_operations(None, keep)?;
        removed.events = tables.prune_events(number_of(&settings, tables, &property::KEEP_EVENTS, None)?)?;
        Ok(removed)
    });
    written.await
}

/// Removes what the instance has in the engine and does not need: images, containers, networks. With `build_cache` also
/// the build cache, which belongs to all users of the engine.
///
/// # Errors
/// [`Error::Engine`], [`Error::Store`].
pub async fn engine(instance: &Instance, engine: &Engine, build_cache: bool) -> Result<InEngine> {
    // The engine first: a container that is made after this has its row already.
    let listed = engine.list(&instance.id).await?;
    let known = instance.read(|tables| {
        let mut known: HashSet<String> = tables.containers()?.into_iter().map(|container| container.name).collect();
        known.extend(tables.unfinished_runs(None)?.into_iter().map(|run| run.container));
        Ok(known)
    })?;
    let before = engine.usage(&instance.id).await?;
    let mut containers = Freed::default();
    for stray in listed.iter().filter(|name| !known.contains(*name)) {
        Scheduler::Local.remove(engine, stray).await?;
        containers.removed += 1;
        let usage = before.containers.iter().find(|container| container.name == *stray);
        containers.freed_bytes += usage.map_or(0, |container| container.written);
    }
    let networks = Freed { removed: engine.remove_stray_networks(&instance.id).await?, freed_bytes: 0 };
    let removed = images(instance, engine).await?.len() as u64;
    let bytes = match removed {
        0 => 0,
        // A build that ran meanwhile may have added more than was freed.
        _ => before.layers.saturating_sub(engine.usage(&instance.id).await?.layers),
    };
    let images = Freed { removed, freed_bytes: bytes };
    let build_cache_bytes = match build_cache {
        true => Some(engine.prune_build_cache(0).await?),
        false => None,
    };
    Ok(InEngine { images, containers, networks, build_cache_bytes })
}

/// Removes the images of the instance that no app needs: those beyond the last good releases that keep theirs, and what
/// builds that were cut off left behind. Returns those that are gone.
///
/// # Errors
/// [`Error::Engine`], [`Error::Store`].
pub async fn images(instance: &Instance, engine: &Engine) -> Result<Vec<Image>> {
    // The images first: one built after this is not looked at, and the deployment of one built before is in the
    // database until a release has taken the image over.
    let images = engine.images(&instance.id).await?;
    let settings = instance.settings.clone();
    let read =
        instance.reading(move |tables| Ok((needed_images(&settings, tables)?, tables.unfinished_deployments(None)?)));
    let (needed, unfinished) = read.await?;
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

fn needed_images(settings: &Settings, tables: &Tables<'_>) -> Result<HashSet<ImageId>> {
    let mut needed = HashSet::new();
    for app in tables.apps()? {
        let keep = number_of(settings, tables, &property::KEEP_IMAGES, Some(app.id))?;
        needed.extend(tables.needed_images(app.id, keep)?);
    }
    Ok(needed)
}

/// Where a process that is killed leaves files behind, and the files that are there, old or in use.
fn temporary(paths: &Paths) -> Result<Vec<PathBuf>> {
    let mut found = entries(&paths.temporary())?;
    let mut in_directory = |directory: &Path, is_temporary: &dyn Fn(&str) -> bool| -> Result<()> {
        let is_temporary = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(is_temporary);
        found.extend(entries(directory)?.into_iter().filter(is_temporary));
        Ok(())
    };
    in_directory(&paths.hooks(), &|name| name.rsplit_once('.').is_some_and(|(_, id)| id.parse::<u32>().is_ok()))?;
    let mut repositories = entries(&paths.repositories())?;
    for app in entries(&paths.root().join("apps"))? {
        repositories.extend(entries(&app.join("submodules"))?);
    }
    for objects in repositories.iter().map(|repository| repository.join("objects")) {
        // What a push brought that was killed before git took it in.
        in_directory(&objects, &|name| name.starts_with("tmp_") || name.starts_with("incoming-"))?;
        in_directory(&objects.join("pack"), &|name| name.starts_with("tmp_") || name.starts_with(".tmp-"))?;
    }
    Ok(found)
}

/// When something was last changed, or anything in it, in milliseconds since 1970; none where it is gone.
fn newest_change(path: &Path) -> Option<i64> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let own = metadata.mtime() * 1000;
    let inner = if metadata.is_dir() { entries(path).ok()? } else { Vec::new() };
    inner.iter().filter_map(|path| newest_change(path)).chain([own]).max()
}

fn remove(path: &Path, freed: &mut Freed) -> Result<()> {
    let bytes = size(path);
    if files::remove_if_there(path)? {
        freed.removed += 1;
        freed.freed_bytes += bytes;
    }
    Ok(())
}

/// What a file, or a directory with all that is in it, takes on its disk, in bytes. What cannot be read counts nothing.
pub fn size(path: &Path) -> u64 {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    let own = metadata.blocks() * 512;
    if !metadata.is_dir() {
        return own;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| size(&entry.path())).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    #[test]
    fn only_temporary_files_that_nobody_changes_any_more_are_removed() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let paths = Paths::new(directory.path().to_owned());
        let left = [
            "tmp/build/part",
            "hooks/pre-receive.4711",
            "repos/blog.git/objects/tmp_objdir-incoming-x/pack/half",
            "repos/blog.git/objects/pack/tmp_pack_x",
            "apps/blog/submodules/0.git/objects/pack/tmp_pack_y",
        ];
        let used = ["caddy/Caddyfile", "repos/blog.git/objects/pack/pack-1.pack", "apps/blog/submodules/0.git/HEAD"];
        for path in left.iter().chain(&used) {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(Error::io("make a directory"))?;
            fs::write(&path, "x").map_err(Error::io("write"))?;
        }
        symlink("/bin/true", directory.path().join("hooks/pre-receive")).map_err(Error::io("link"))?;
        let old = |paths: &[PathBuf]| -> Vec<PathBuf> {
            let is_old = |path: &&PathBuf| newest_change(path).is_some_and(|at| clock::since(at) > TEMPORARY_AFTER);
            paths.iter().filter(is_old).cloned().collect()
        };
        let found = temporary(&paths)?;
        assert_eq!(found.len(), left.len(), "{found:?}");
        assert_eq!(old(&found), Vec::<PathBuf>::new());

        // All are old, but in the one that a push is writing something is new.
        let everything = Command::new("find")
            .arg(directory.path())
            .args(["-exec", "touch", "-h", "-d", "2 days ago", "{}", "+"])
            .status();
        assert!(everything.is_ok_and(|status| status.success()));
        assert_eq!(old(&found).len(), left.len());
        fs::write(directory.path().join(left[3]), "more").map_err(Error::io("write"))?;
        assert_eq!(old(&found).len(), left.len() - 1);
        Ok(())
    }
}
