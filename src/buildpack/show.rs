//! Descriptions of the buildpacks, for `buildpacks:list`, `buildpacks:show` and `buildpacks:detect`.

use serde::Serialize;

use super::{Buildpacks, manifest::Manifest, paas_toml::PaasToml, runs::Lines, scope::Scope};
use crate::{Result, tree::Tree};

/// The names of the choices between tools and frameworks; other choices are details of a build.
const TOOLS: [&str; 3] = ["manager", "tool", "framework"];

/// A buildpack, described.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// Its name, for `[build] buildpack`.
    pub name: String,
    /// Its name in the log.
    pub title: String,
    /// Where it is from: `paas`, or the folder.
    pub origin: String,
    /// What it looks for in a repository.
    pub looks_for: String,
    /// The versions of its languages and tools.
    pub versions: Vec<ShownVersion>,
    /// The names of its base images, for `[build.images]`.
    pub images: Vec<String>,
}

/// The versions of a language or tool.
#[derive(Clone, Debug, Serialize)]
pub struct ShownVersion {
    /// What, e.g. `Node`.
    pub what: String,
    /// Its name for `[build.versions]`.
    pub name: String,
    /// The version if nothing sets one.
    pub default: String,
    /// The versions that still get fixes, oldest first.
    pub supported: Vec<String>,
    /// The versions that no longer get fixes, oldest first, each with the last day it got them.
    pub ended: Vec<(String, String)>,
}

/// Whether a buildpack matches a source.
#[derive(Clone, Debug, Serialize)]
pub struct Detected {
    /// The buildpack's name.
    pub name: String,
    /// Why it matches; nothing if it does not.
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

    /// All of them as a Markdown table for README.md, with the tools and frameworks that they choose between.
    pub fn table(&self) -> String {
        let mut table = "| buildpack | language | looks for | tools and frameworks |\n|---|---|---|---|".to_owned();
        for buildpack in &self.list {
            let Manifest { title, choices, .. } = &buildpack.manifest;
            let mut tools: Vec<&str> = Vec::new();
            for choice in choices.iter().filter(|choice| TOOLS.contains(&choice.name.as_str())) {
                for option in choice.options.iter().map(|option| option.is.as_str()) {
                    if !option.is_empty() && !tools.contains(&option) {
                        tools.push(option);
                    }
                }
            }
            // An option such as `x-2` beside `x` is a variant of the same tool.
            let all = tools.clone();
            tools.retain(|tool| !tool.rsplit_once('-').is_some_and(|(base, _)| all.contains(&base)));
            let looks_for = buildpack.manifest.looked_for().replace('*', r"\*");
            table.push_str(&format!("\n| `{}` | {title} | {looks_for} | {} |", buildpack.name, tools.join(", ")));
        }
        table
    }

    /// Which of them match a source, in the order in which they are tried: the first that does would build it. One that
    /// goes before others for what the source runs is the first of all.
    ///
    /// # Errors
    /// `SourceError::File` if a file of the source is malformed.
    pub fn detect(&self, tree: &Tree) -> Result<Vec<Detected>> {
        let paas_toml = PaasToml::default();
        let detected = self.list.iter().map(|buildpack| {
            let scope = Scope::new(tree, &buildpack.manifest, &paas_toml, &self.today);
            Ok(Detected { name: buildpack.name.clone(), reason: buildpack.detects(&scope)? })
        });
        let mut detected: Vec<Detected> = detected.collect::<Result<_>>()?;
        let web = Lines::read(tree, &paas_toml).web.is_some();
        let first =
            self.first_match(web, |buildpack| Scope::new(tree, &buildpack.manifest, &paas_toml, &self.today))?;
        if let Some((first, reason)) = first
            && let Some(place) = detected.iter().position(|detected| detected.name == first.name)
        {
            let chosen = detected.remove(place);
            detected.insert(0, Detected { reason: Some(reason), ..chosen });
        }
        Ok(detected)
    }
}
