//! The buildpacks: data in, a plan and the text of a Dockerfile out. Knows no language by name.
//!
//! A buildpack is a folder with a `buildpack.toml` and templates: those in `buildpacks/` are part of the binary, and a
//! folder on the server adds one or replaces the one of the same name. A `buildpack.toml` consists of predicates
//! (`detect`) and extractors (`extract`) over the files of a source, and nothing else. If they cannot express
//! something, extend them; never name a language here.
//!
//! No text of a repository becomes an instruction of a Dockerfile: a version is parsed before it is rendered, and any
//! other value reaches a template only as a quoted JSON string, which cannot contain a line break.

mod app_json;
mod apps;
mod detect;
mod diagnose;
mod dockerfile;
mod document;
mod extract;
#[cfg(fuzzing)]
pub mod fuzzing;
mod generate;
mod lfs;
mod line_ends;
mod manifest;
mod origin;
mod paas_toml;
mod packages;
mod pattern;
mod plan;
mod processes;
mod procfile;
mod range;
mod render;
mod runs;
mod scope;
mod show;
mod version;
mod word;
mod workspace;

use std::{collections::BTreeMap, fs, num::NonZero, panic, path::Path, sync::Arc, thread};

pub use app_json::{Scripts, Variable};
pub use apps::{AppPlan, plan, plan_all, plan_with_procfile};
use diagnose::FailureRule;
pub use diagnose::diagnose_start;
#[cfg(not(test))]
use include_dir::{Dir, include_dir};
pub use line_ends::{FlawedScript, culprit};
use manifest::Manifest;
pub use origin::Origin;
pub use plan::{AppDirectory, BuildPlan, ProcessSource};
pub use render::serve as render;
use serde::Deserialize;
pub use show::{Detected, Shown};
use version::KnownVersions;

use crate::{Error, Result, clock, error::SourceError, tree::Tree};

/// The name of the file that describes a buildpack.
const MANIFEST: &str = "buildpack.toml";
/// The folder that all buildpacks share: templates to include, and what failures mean. It is not a buildpack.
const SHARED: &str = "shared";
/// The origin of the buildpacks in the binary.
const OWN: &str = "paas";
/// The origin of a buildpack in the repository that is built.
const REPOSITORY: &str = "the repository";
/// What failures mean, in the shared folder.
const FAILURES: &str = "failures.toml";
/// What it means when a program ends right after its start, in the shared folder.
const STARTS: &str = "starts.toml";
/// What is known of versions that several buildpacks use, in the shared folder.
const VERSIONS: &str = "versions.toml";

/// All buildpacks, in the order in which they are tried.
#[derive(Debug)]
pub struct Buildpacks {
    list: Vec<Arc<Buildpack>>,
    shared: Arc<BTreeMap<String, String>>,
    failures: Arc<Vec<FailureRule>>,
    versions: Arc<BTreeMap<String, KnownVersions>>,
    today: String,
}

/// A buildpack: what `buildpack.toml` says, and its templates by file name.
#[derive(Debug)]
struct Buildpack {
    name: String,
    /// Where it is from: the binary, a folder of the server, a folder of the repository.
    origin: String,
    manifest: Manifest,
    templates: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failures {
    failures: Vec<FailureRule>,
}

impl Buildpacks {
    /// The embedded buildpacks, and those in the folders of `directory`, which may not exist.
    ///
    /// # Errors
    /// [`Error::Source`] if a folder holds an invalid buildpack, [`Error::Host`] if it cannot be read.
    pub fn load(directory: Option<&Path>) -> Result<Buildpacks> {
        let mut embedded = embedded()?;
        let mut shared = embedded.remove(SHARED).unwrap_or_default();
        let failures = shared.remove(FAILURES).unwrap_or_default();
        let Failures { failures } = toml::from_str(&failures).map_err(Error::bug)?;
        let versions = toml::from_str(&shared.remove(VERSIONS).unwrap_or_default()).map_err(Error::bug)?;
        let embedded = embedded.into_iter().map(|(name, files)| (name.clone(), files, name, OWN.to_owned()));
        let of_server = directory.map(folders).transpose()?.unwrap_or_default().into_iter().map(|(name, files)| {
            let place = directory.unwrap_or(Path::new("")).join(&name).display().to_string();
            (name, files, place.clone(), place)
        });
        // A push waits for it, so all processors read.
        let read = side_by_side(embedded.chain(of_server).collect(), |(name, files, place, origin)| {
            Ok((name.clone(), Buildpack::new(&name, files, &place, &origin, &versions)?))
        });
        // One of the server replaces ours of the same name.
        let buildpacks: BTreeMap<String, Buildpack> = read.into_iter().collect::<Result<_>>()?;
        let today = clock::rfc3339(clock::now()).chars().take(10).collect();
        let list = buildpacks.into_values().map(Arc::new).collect();
        let (shared, failures, versions) = (Arc::new(shared), Arc::new(failures), Arc::new(versions));
        Buildpacks { list, shared, failures, versions, today }.sorted()
    }

    /// The same buildpacks and one more, from a folder of a repository.
    ///
    /// # Errors
    /// [`Error::Source`] if it is invalid.
    fn with(&self, tree: &Tree, folder: &str) -> Result<Buildpacks> {
        let mut files = BTreeMap::new();
        for entry in tree.files().iter().filter(|entry| entry.path.parent() == Some(Path::new(folder))) {
            if let (Some(name), Some(text)) =
                (entry.path.file_name().and_then(|name| name.to_str()), tree.read_text(&entry.path)?)
            {
                files.insert(name.to_owned(), text);
            }
        }
        let name = format!("./{folder}");
        let buildpack = Buildpack::new(&name, files, &name, REPOSITORY, &self.versions)?;
        let mut list = self.list.clone();
        list.push(Arc::new(buildpack));
        let Buildpacks { shared, failures, versions, today, .. } = self;
        let (shared, failures, versions) = (Arc::clone(shared), Arc::clone(failures), Arc::clone(versions));
        Buildpacks { list, shared, failures, versions, today: today.clone() }.sorted()
    }

    fn sorted(mut self) -> Result<Buildpacks> {
        self.list.sort_by_key(|buildpack| buildpack.manifest.order);
        // A test reads those of the binary.
        if cfg!(test) || self.list.iter().any(|buildpack| buildpack.origin != OWN) {
            render::parse(self.templates())
                .map_err(|message| wrong_folder(format!("a template of the buildpacks is malformed: {message}")))?;
        }
        Ok(self)
    }

    /// All templates, by their names: `python/Dockerfile.tera`.
    fn templates(&self) -> impl Iterator<Item = (String, &str)> {
        let of_all = self.list.iter().map(|buildpack| (buildpack.name.as_str(), &buildpack.templates));
        of_all.chain([(SHARED, &*self.shared)]).flat_map(|(folder, templates)| {
            templates.iter().map(move |(file, text)| (format!("{folder}/{file}"), text.as_str()))
        })
    }

    /// The names, in the order in which they are tried.
    pub fn names(&self) -> Vec<&str> {
        self.list.iter().map(|buildpack| buildpack.name.as_str()).collect()
    }

    fn find(&self, name: &str) -> Option<&Buildpack> {
        self.list.iter().find(|buildpack| buildpack.name == name).map(|buildpack| &**buildpack)
    }
}

impl Buildpack {
    fn new(
        name: &str,
        mut files: BTreeMap<String, String>,
        place: &str,
        origin: &str,
        versions: &BTreeMap<String, KnownVersions>,
    ) -> Result<Buildpack> {
        let malformed = |message: String| wrong_folder(format!("the buildpack {place} is malformed: {message}"));
        let text = files.remove(MANIFEST).ok_or_else(|| malformed(format!("it has no {MANIFEST}")))?;
        let mut manifest: Manifest = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        manifest.is_own = origin == REPOSITORY;
        manifest.versions.iter_mut().for_each(|rule| rule.complete(versions));
        // A test checks those of the binary: compiling all their patterns would take longer than a plan.
        if origin != OWN {
            manifest.check(&files).map_err(malformed)?;
        }
        files.retain(|file, _| file.ends_with(".tera"));
        Ok(Buildpack { name: name.to_owned(), origin: origin.to_owned(), manifest, templates: files })
    }
}

/// What comes of each item, in their order, worked out on as many threads as there are processors.
fn side_by_side<T: Send, U: Send>(items: Vec<T>, of: impl Fn(T) -> U + Sync) -> Vec<U> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(items.len().max(1));
    let mut shares: Vec<Vec<(usize, T)>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, item) in items.into_iter().enumerate() {
        shares[index % threads].push((index, item));
    }
    let of_share =
        |share: Vec<(usize, T)>| share.into_iter().map(|(index, item)| (index, of(item))).collect::<Vec<_>>();
    let mut results: Vec<(usize, U)> = thread::scope(|scope| {
        let last = shares.pop().unwrap_or_default();
        let threads: Vec<_> = shares.into_iter().map(|share| scope.spawn(|| of_share(share))).collect();
        let mut results = of_share(last);
        for thread in threads {
            results.extend(thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
        }
        results
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The folders of the binary, each with its text files.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "the tests read them from the source, which can fail")]
fn embedded() -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/buildpacks");
    let folders = EMBEDDED.dirs().map(|folder| {
        let files = folder
            .files()
            .filter_map(|file| Some((file.path().file_name()?.to_str()?.to_owned(), file.contents_utf8()?.to_owned())));
        (folder.path().display().to_string(), files.collect())
    });
    Ok(folders.collect())
}

/// The folders that are built into the binary, as they are on disk.
#[cfg(test)]
fn embedded() -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("buildpacks"))
}

/// The folders of a directory, each with its text files; none if there is no such directory.
fn folders(directory: &Path) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let failed = |path: &Path| Error::io(format!("read {}", path.display()));
    let mut folders = BTreeMap::new();
    if !directory.is_dir() {
        return Ok(folders);
    }
    for folder in fs::read_dir(directory).map_err(failed(directory))? {
        let folder = folder.map_err(failed(directory))?.path();
        let Some(name) = folder.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if !folder.is_dir() {
            continue;
        }
        let mut files = BTreeMap::new();
        for file in fs::read_dir(&folder).map_err(failed(&folder))? {
            let file = file.map_err(failed(&folder))?.path();
            if let Some(name) = file.file_name().and_then(|name| name.to_str())
                && file.is_file()
            {
                files.insert(name.to_owned(), fs::read_to_string(&file).map_err(failed(&file))?);
            }
        }
        folders.insert(name.to_owned(), files);
    }
    Ok(folders)
}

/// The error for a `buildpack.toml` that cannot mean what it says.
fn wrong_manifest(message: String) -> Error {
    Error::Source(SourceError::Buildpack { message })
}

/// The error for a folder that is not a buildpack, or whose templates cannot be rendered.
fn wrong_folder(message: String) -> Error {
    Error::Source(SourceError::BuildpackFolder { message })
}

/// The known word that was most likely meant.
fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = ((word.chars().count() + 1) / 3).max(1);
    known
        .into_iter()
        .map(|other| (strsim::levenshtein(word, other), other))
        .filter(|(far, _)| *far <= limit)
        .min()
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests;
