//! The buildpacks: data in, a plan and the text of a Dockerfile out. Knows no language by name.
//!
//! A buildpack is a folder with a `buildpack.toml` and templates: those in `buildpacks/` are part of the binary, and a
//! folder of the server's own adds one, or takes the place of the one of its name. A `buildpack.toml` speaks in
//! predicates (`detect`) and extractors (`extract`) over the files of a source, and nothing else; what they cannot
//! say is a reason to widen them, never to name a language here.
//!
//! Nothing that a repository says becomes an instruction of a Dockerfile: a version is parsed before it is rendered, and
//! any other value reaches a template only as a quoted JSON string, which cannot hold a line break.

mod app_json;
mod detect;
mod dockerfile;
mod extract;
mod manifest;
mod paas_toml;
mod plan;
mod procfile;
mod range;
mod render;
mod version;

use std::{collections::BTreeMap, fs, path::Path};

use include_dir::{Dir, include_dir};
use manifest::Manifest;
pub use plan::{BuildPlan, plan};
pub use version::Version;

use crate::{Error, Result};

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/buildpacks");

/// The name of the file that describes a buildpack.
const MANIFEST: &str = "buildpack.toml";

/// Every buildpack there is, in the order in which they are tried.
#[derive(Debug)]
pub struct Buildpacks(Vec<Buildpack>);

/// A buildpack: what `buildpack.toml` says, and its templates by file name.
#[derive(Debug)]
struct Buildpack {
    name: String,
    manifest: Manifest,
    templates: BTreeMap<String, String>,
}

impl Buildpacks {
    /// The embedded buildpacks, and those in the folders of `directory`, which may not exist.
    ///
    /// # Errors
    /// [`Error::Buildpack`] where one of the folders holds no good buildpack, [`Error::Io`] where it cannot be read.
    pub fn load(directory: Option<&Path>) -> Result<Buildpacks> {
        let mut buildpacks = BTreeMap::new();
        for folder in EMBEDDED.dirs() {
            let name = folder.path().display().to_string();
            let files = folder.files().filter_map(|file| {
                Some((file.path().file_name()?.to_str()?.to_owned(), file.contents_utf8()?.to_owned()))
            });
            let buildpack = Buildpack::new(&name, files.collect(), &name)?;
            buildpacks.insert(name, buildpack);
        }
        for (name, files) in directory.map(folders).transpose()?.unwrap_or_default() {
            let place = directory.unwrap_or(Path::new("")).join(&name);
            let buildpack = Buildpack::new(&name, files, &place.display().to_string())?;
            buildpacks.insert(name, buildpack);
        }
        let mut buildpacks: Vec<_> = buildpacks.into_values().collect();
        buildpacks.sort_by_key(|buildpack| buildpack.manifest.order);
        Ok(Buildpacks(buildpacks))
    }

    /// The names, in the order in which they are tried.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|buildpack| buildpack.name.as_str()).collect()
    }

    fn find(&self, name: &str) -> Option<&Buildpack> {
        self.0.iter().find(|buildpack| buildpack.name == name)
    }
}

impl Buildpack {
    fn new(name: &str, mut files: BTreeMap<String, String>, place: &str) -> Result<Buildpack> {
        let malformed = |message: String| {
            Error::Buildpack(
                format!("the buildpack {place} is malformed: {message}"),
                format!("correct {MANIFEST} in that folder, or remove the folder"),
            )
        };
        let text = files.remove(MANIFEST).ok_or_else(|| malformed(format!("it has no {MANIFEST}")))?;
        let manifest: Manifest = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        manifest.check(&files).map_err(malformed)?;
        Ok(Buildpack { name: name.to_owned(), manifest, templates: files })
    }
}

/// The folders of a directory, each with its text files; none where there is no such directory.
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

/// The word of `known` that was most likely meant by `word`.
fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| {
        let mut row: Vec<usize> = (0..=other.chars().count()).collect();
        for (line, left) in word.chars().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], line + 1);
            for (column, right) in other.chars().enumerate() {
                let substituted = diagonal + usize::from(left != right);
                diagonal = row[column + 1];
                row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
            }
        }
        row.last().copied().unwrap_or(usize::MAX)
    };
    let limit = ((word.chars().count() + 1) / 3).max(1);
    known
        .into_iter()
        .map(|other| (distance(other), other))
        .filter(|(far, _)| *far <= limit)
        .min()
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests;
