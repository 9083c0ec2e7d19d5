//! What there is to be known of the buildpacks themselves, for people who ask.

use serde::Serialize;

use super::{Buildpacks, paas_toml::PaasToml};
use crate::{Result, tree::Tree};

/// A buildpack, described.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// Its name, for `[build] buildpack`.
    pub name: String,
    /// What it is called in the log.
    pub title: String,
    /// Where it is from: `paas`, or the folder.
    pub origin: String,
    /// What it looks for in a repository.
    pub looks_for: String,
    /// What it has versions of.
    pub versions: Vec<ShownVersion>,
    /// The names of its base images, for `[build.images]`.
    pub images: Vec<String>,
}

/// What a buildpack has versions of.
#[derive(Clone, Debug, Serialize)]
pub struct ShownVersion {
    /// What, e.g. `Node`.
    pub what: String,
    /// Its name for `[build.versions]`.
    pub name: String,
    /// What it is where nobody says.
    pub default: String,
    /// What gets fixes today, oldest first.
    pub supported: Vec<String>,
    /// What can be had and gets no fixes any more, oldest first, each with the last day it got them.
    pub ended: Vec<(String, String)>,
}

/// Whether a buildpack matches a source.
#[derive(Clone, Debug, Serialize)]
pub struct Detected {
    /// The buildpack's name.
    pub name: String,
    /// Why it matches; nothing where it does not.
    pub reason: Option<String>,
}

impl Buildpacks {
    /// All of them, in the order in which they are tried.
    pub fn show(&self) -> Vec<Shown> {
        let shown = self.list.iter().map(|buildpack| {
            let manifest = &buildpack.manifest;
            let versions = manifest.versions.iter().map(|rule| {
                let supported: Vec<String> = rule.supported(&self.today).into_iter().map(str::to_owned).collect();
                let ended = rule.lines().into_iter().filter(|(version, _)| !supported.iter().any(|s| s == version));
                ShownVersion {
                    what: rule.what.clone(),
                    name: rule.name.clone(),
                    default: rule.default.clone(),
                    ended: ended.map(|(version, end)| (version.to_owned(), end.to_owned())).collect(),
                    supported,
                }
            });
            Shown {
                name: buildpack.name.clone(),
                title: manifest.title.clone(),
                origin: buildpack.origin.clone(),
                looks_for: manifest.looked_for(),
                versions: versions.collect(),
                images: manifest.images.keys().cloned().collect(),
            }
        });
        shown.collect()
    }

    /// Which of them match a source, in the order in which they are tried: the first that does would build it.
    ///
    /// # Errors
    /// `SourceError::File` where a file of the source is malformed.
    pub fn detect(&self, tree: &Tree) -> Result<Vec<Detected>> {
        let paas_toml = PaasToml::default();
        let detected = self.list.iter().map(|buildpack| {
            Ok(Detected { name: buildpack.name.clone(), reason: buildpack.detects(tree, &paas_toml, &self.today)? })
        });
        detected.collect()
    }
}
