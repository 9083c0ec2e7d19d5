use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    extract::{Extractor, Found},
    range::{Fit, Range, is_version},
};
use crate::{Error, Result, tree::Tree};

/// A version that a plan settled on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Of what, e.g. `Node`.
    pub what: String,
    /// The version, which is also the one in the name of the base image.
    pub version: String,
    /// What the repository asked for, where it asked.
    pub asked: Option<String>,
    /// Who decided: a file of the repository, or `default`.
    pub source: String,
    /// What the templates call it.
    #[serde(skip)]
    pub(super) name: String,
}

impl Version {
    /// For the log: `Node 22, from .node-version`.
    pub fn describe(&self) -> String {
        let Version { what, version, asked, source, .. } = self;
        match asked {
            None => format!("{what} {version}, the default"),
            Some(asked) if asked == version => format!("{what} {version}, from {source}"),
            Some(asked) => format!("{what} {version}, from {source} ({asked})"),
        }
    }
}

/// Who decides a version, and what it may be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct VersionRule {
    /// Of what, e.g. `Node`.
    pub what: String,
    /// What the templates call it.
    pub name: String,
    /// What it is where nobody says.
    pub default: String,
    /// What it can be, oldest first.
    pub supported: Vec<String>,
    /// What a bare version in a file means.
    #[serde(default)]
    pub bare: Bare,
    /// Words that stand for a version.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// Who decides, in this order.
    pub sources: Vec<Extractor>,
}

/// What a bare version in a file means.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bare {
    /// The versions that begin with it.
    #[default]
    Prefix,
    /// That version or a later one: the default if it is late enough, and a newer one than we know if need be.
    Minimum,
}

impl VersionRule {
    /// Settles on a version.
    ///
    /// # Errors
    /// [`Error::SourceFile`] where the file that decides names none, or one that there is no base image for.
    pub fn resolve(&self, tree: &Tree) -> Result<Version> {
        for source in &self.sources {
            if let Some(found) = source.find(tree)? {
                return Ok(Version {
                    what: self.what.clone(),
                    version: self.choose(&found)?,
                    asked: Some(found.text.trim().to_owned()),
                    source: found.place,
                    name: self.name.clone(),
                });
            }
        }
        Ok(Version {
            what: self.what.clone(),
            version: self.default.clone(),
            asked: None,
            source: "default".to_owned(),
            name: self.name.clone(),
        })
    }

    fn choose(&self, found: &Found) -> Result<String> {
        let asked = found.text.trim();
        let asked = self.aliases.get(&asked.to_ascii_lowercase()).map_or(asked, String::as_str);
        let refused = |message: String| Error::SourceFile {
            file: found.file.clone(),
            line: found.line,
            message,
            hint: format!("paas knows {} {}: write one of these", self.what, self.supported.join(", ")),
        };
        let range = match self.bare {
            Bare::Prefix => Range::parse(asked),
            Bare::Minimum => Range::from(asked),
        };
        let range = range.ok_or_else(|| {
            let shown: String = found.text.trim().chars().take(60).collect();
            refused(format!("{shown:?} is not a version of {}", self.what))
        })?;
        match self.bare {
            Bare::Minimum if range.fit(&self.default) != Fit::None => return Ok(self.default.clone()),
            Bare::Minimum if is_version(asked) => return Ok(asked.to_owned()),
            _ => {}
        }
        let best = self.supported.iter().map(|line| range.fit(line)).max().unwrap_or(Fit::None);
        if best == Fit::None {
            return Err(refused(format!("there is no base image for {} {asked}", self.what)));
        }
        let newest = self.supported.iter().rev().find(|line| range.fit(line) == best);
        newest.cloned().ok_or_else(|| Error::bug("the best version is no version"))
    }
}
