//! Freeing space: what no app needs any more. Deploys, pushes and the daemon may run meanwhile.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::{disk, operations::Active};
use crate::{
    Error, Result, clock, deploy,
    engine::Engine,
    files::{self, entries},
    instance::Instance,
    model::{self, DeployId, Scheduler},
    settings::Paths,
    ui::{Show, Text},
};

/// How many logs of an app's deploys are kept.
const DEPLOY_LOGS_KEPT: usize = 100;
/// How long after its last change a temporary file has no owner any more: no push and no build takes that long.
const TEMPORARY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What was removed of a kind, and what that freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Freed {
    /// How many.
    pub removed: u64,
    /// How many bytes that freed; for images what of their layers nothing else has, the build cache included.
    pub freed_bytes: u64,
}

impl Freed {
    fn words(self) -> String {
        match self {
            Freed { removed: 0, .. } => "nothing to remove".to_owned(),
            Freed { removed, freed_bytes: bytes } => format!("{removed} removed, {} freed", model::bytes(bytes)),
        }
    }
}

/// What a cleanup came to.
#[derive(Debug, Serialize)]
pub struct Cleaned {
    /// Of the files below ROOT.
    #[serde(flatten)]
    pub files: Files,
    /// In the engine; none where it does not answer.
    #[serde(flatten)]
    pub in_engine: Option<InEngine>,
    /// Why nothing was removed in the engine.
    #[serde(skip)]
    pub failed: Option<Error>,
}

impl Show for Cleaned {
    fn text(&self) -> Text {
        let mut facts = vec![
            ("deploy logs", self.files.deploy_logs.words()),
            ("temporary files", self.files.temporary_files.words()),
        ];
        if let Some(in_engine) = self.in_engine {
            facts.push(("images", in_engine.images.words()));
            facts.push(("containers", in_engine.containers.words()));
            facts.push(("networks", in_engine.networks.words()));
            let cache = in_engine.build_cache_bytes;
            facts.extend(cache.map(|bytes| ("build cache", format!("{} freed", model::bytes(bytes)))));
        }
        Text::facts(facts)
    }
}

/// Removes what no app needs any more, below ROOT and in the engine. With `build_cache` also the build cache, which
/// belongs to all users of the engine.
///
/// # Errors
/// [`Error::Host`], [`Error::Store`]. What the engine says is in the answer, beside what was removed all the same.
pub(super) async fn run(active: &Active<'_>, build_cache: bool) -> Result<Cleaned> {
    let instance = active.context.instance;
    // The files first: a full disk may be what keeps the engine from answering.
    active.enter("files")?;
    let files = files(instance)?;
    active.enter("engine")?;
    let in_engine = async {
        let connected = Engine::connect(&instance.settings).await?;
        engine(instance, &connected, build_cache).await
    };
    let (in_engine, failed) = match in_engine.await {
        Ok(in_engine) => (Some(in_engine), None),
        Err(error) => (None, Some(error)),
    };
    Ok(Cleaned { files, in_engine, failed })
}

/// What was removed of the files below ROOT.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Files {
    /// Logs of old deploys.
    pub deploy_logs: Freed,
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

/// Removes files below ROOT that nobody needs: logs of old deploys, and what was killed left behind. Needs no engine.
///
/// # Errors
/// [`Error::Host`], [`Error::Store`].
pub fn files(instance: &Instance) -> Result<Files> {
    let paths = &instance.settings.paths;
    let (apps, unfinished) = instance.read(|tables| Ok((tables.apps()?, tables.unfinished_deployments(None)?)))?;
    let unfinished: HashSet<DeployId> = unfinished.iter().map(|deployment| deployment.id).collect();
    let mut deploy_logs = Freed::default();
    for app in &apps {
        let mut logs: Vec<(DeployId, PathBuf)> = entries(&paths.deploy_logs(&app.name))?
            .into_iter()
            .filter_map(|path| Some((path.file_stem()?.to_str()?.parse().ok()?, path)))
            .collect();
        logs.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        for (id, path) in logs.into_iter().skip(DEPLOY_LOGS_KEPT) {
            if !unfinished.contains(&id) {
                remove(&path, &mut deploy_logs)?;
            }
        }
    }
    let mut temporary_files = Freed::default();
    for path in temporary(paths)? {
        if newest_change(&path).is_some_and(|changed| clock::since(changed) > TEMPORARY_AFTER) {
            remove(&path, &mut temporary_files)?;
        }
    }
    Ok(Files { deploy_logs, temporary_files })
}

/// Removes what the instance has in the engine and does not need: images, containers, networks. With `build_cache` also
/// the build cache, which belongs to all users of the engine.
///
/// # Errors
/// [`Error::Engine`], [`Error::Store`].
pub async fn engine(instance: &Instance, engine: &Engine, build_cache: bool) -> Result<InEngine> {
    // The engine first: a container that is made after this has its row already.
    let listed = engine.list(&instance.id).await?;
    let known: HashSet<String> =
        instance.read(|tables| tables.containers())?.into_iter().map(|container| container.name).collect();
    let before = engine.usage(&instance.id).await?;
    let mut containers = Freed::default();
    for stray in listed.iter().filter(|name| !known.contains(*name)) {
        Scheduler::Local.remove(engine, stray).await?;
        containers.removed += 1;
        let usage = before.containers.iter().find(|container| container.name == *stray);
        containers.freed_bytes += usage.map_or(0, |container| container.written);
    }
    let networks = Freed { removed: engine.remove_stray_networks(&instance.id).await?, freed_bytes: 0 };
    let removed = deploy::prune_images(instance, engine).await?.len() as u64;
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
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let own = metadata.mtime() * 1000;
    let inner = if metadata.is_dir() { entries(path).ok()? } else { Vec::new() };
    inner.iter().filter_map(|path| newest_change(path)).chain([own]).max()
}

fn remove(path: &Path, freed: &mut Freed) -> Result<()> {
    let bytes = disk::size(path);
    if files::remove_if_there(path)? {
        freed.removed += 1;
        freed.freed_bytes += bytes;
    }
    Ok(())
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
