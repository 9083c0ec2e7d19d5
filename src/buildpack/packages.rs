//! What a source depends on, and the system packages that follow from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    detect::Predicate,
    document::toml_key,
    pattern::{Expression, Patterns, Reference},
    scope::Scope,
};
use crate::Result;

/// Where to find the names of dependencies.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DependencyRules {
    /// Whether case, `-`, `_` and `.` make no difference in a name.
    #[serde(default)]
    pub fold: bool,
    /// The files.
    pub from: Vec<DependencySource>,
}

/// A list of names in the files of a source: a closed set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum DependencySource {
    /// The keys of an object, or the items of an array, in a JSON file.
    Json { file: String, pointer: String },
    /// The keys of a table, or the items of an array up to the first character that a name cannot have, in a TOML file.
    Toml { file: String, key: String },
    /// The first group of each match.
    Regex { file: Patterns, regex: Expression },
}

/// System packages that are needed under a condition: both, if both are set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PackageRule {
    /// The source depends on one of these.
    pub dependency: Option<Patterns>,
    /// This holds.
    pub when: Option<Predicate>,
    /// Packages for the build.
    #[serde(default)]
    pub build: Vec<String>,
    /// Packages for the image that runs.
    #[serde(default)]
    pub run: Vec<String>,
}

/// The names of the dependencies of a source, each with the file that lists it.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    fold: bool,
    names: BTreeMap<String, String>,
}

/// The system packages of a plan, by name, each with its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SystemPackages {
    /// Those that the build needs.
    pub build: BTreeMap<String, String>,
    /// Those that the image that runs needs.
    pub run: BTreeMap<String, String>,
}

impl DependencyRules {
    /// Reads the names.
    ///
    /// # Errors
    /// `SourceError::File` if a file does not parse.
    pub fn find(&self, scope: &Scope<'_>) -> Result<Dependencies> {
        let mut dependencies = Dependencies { fold: self.fold, names: BTreeMap::new() };
        let mut add = |name: &str, file: &str| {
            let end = name.find(|character: char| !(character.is_alphanumeric() || "@/._-:".contains(character)));
            let name = fold(self.fold, &name[..end.unwrap_or(name.len())]);
            dependencies.names.entry(name).or_insert_with(|| file.to_owned());
        };
        for names in &self.from {
            names.each(scope, &mut add)?;
        }
        Ok(dependencies)
    }
}

impl DependencySource {
    /// Calls back with each text, and the file that it is in.
    ///
    /// # Errors
    /// `SourceError::File` if the file does not parse.
    pub fn each(&self, scope: &Scope<'_>, add: &mut dyn FnMut(&str, &str)) -> Result<()> {
        match self {
            DependencySource::Json { file, pointer } => {
                let document = scope.json(file)?;
                match document.as_ref().and_then(|document| document.pointer(pointer)) {
                    Some(serde_json::Value::Object(members)) => members.keys().for_each(|key| add(key, file)),
                    Some(serde_json::Value::Array(items)) => {
                        items.iter().filter_map(serde_json::Value::as_str).for_each(|item| add(item, file));
                    }
                    _ => {}
                }
            }
            DependencySource::Toml { file, key } => {
                let document = scope.toml(file)?;
                match document.as_ref().and_then(|document| toml_key(document, key)) {
                    Some(toml::Value::Table(table)) => table.keys().for_each(|key| add(key, file)),
                    Some(toml::Value::Array(items)) => {
                        items.iter().filter_map(toml::Value::as_str).for_each(|item| add(item, file));
                    }
                    _ => {}
                }
            }
            DependencySource::Regex { file, regex } => {
                for entry in scope.matching(file)? {
                    let Some(text) = scope.text_of(file, &entry.path) else { continue };
                    let place = entry.path.display().to_string();
                    for captures in regex.compile()?.captures_iter(&text) {
                        if let Some(group) = captures.get(1) {
                            add(group.as_str(), &place);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Dependencies {
    /// Whether this name is a dependency.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains_key(&fold(self.fold, name))
    }

    /// The first of these names that is a dependency, and where: `sharp in package.json`.
    pub fn first_of(&self, names: &Patterns) -> Option<String> {
        self.place_of(names).map(|(name, file)| format!("{name} in {file}"))
    }

    /// The same in two parts: the name and the file.
    pub fn place_of(&self, names: &Patterns) -> Option<(String, String)> {
        names.iter().find_map(|name| Some((name.to_owned(), self.names.get(&fold(self.fold, name))?.clone())))
    }
}

impl SystemPackages {
    /// The packages of the buildpack's rules and of `[build] packages`.
    ///
    /// # Errors
    /// `SourceError::File` if a file it reads does not parse.
    pub(super) fn find(scope: &Scope<'_>) -> Result<SystemPackages> {
        let mut packages = SystemPackages::default();
        for rule in &scope.manifest.packages {
            let dependency = match &rule.dependency {
                Some(names) => scope.dependencies()?.first_of(names),
                None => Some(String::new()),
            };
            let when = match &rule.when {
                Some(when) => when.holds(scope)?,
                None => Some(String::new()),
            };
            let (Some(dependency), Some(when)) = (dependency, when) else { continue };
            let reason = if dependency.is_empty() { when } else { dependency };
            for name in &rule.build {
                packages.build.entry(name.clone()).or_insert_with(|| reason.clone());
            }
            for name in &rule.run {
                packages.run.entry(name.clone()).or_insert_with(|| reason.clone());
            }
        }
        for (name, _) in &scope.paas_toml.build.packages {
            packages.build.insert(name.clone(), "paas.toml".to_owned());
            packages.run.insert(name.clone(), "paas.toml".to_owned());
        }
        Ok(packages)
    }

    /// Adds those of another source.
    pub(super) fn add(&mut self, other: SystemPackages) {
        for (name, reason) in other.build {
            self.build.entry(name).or_insert(reason);
        }
        for (name, reason) in other.run {
            self.run.entry(name).or_insert(reason);
        }
    }

    /// Their names and why, in a line for the log: `libpq-dev, libpq5 (psycopg2 in requirements.txt)`.
    pub fn describe(&self) -> Option<String> {
        let mut by_reason: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, reason) in self.build.iter().chain(&self.run) {
            by_reason.entry(reason).or_default().insert(name);
        }
        let words = by_reason.into_iter().map(|(reason, names)| {
            format!("{} ({})", names.into_iter().collect::<Vec<_>>().join(", "), reason.replace(" found", ""))
        });
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| format!("System packages: {}", words.join("; ")))
    }
}

impl PackageRule {
    /// Calls back with everything inside that can be malformed, to check the buildpack.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(Reference<'a>)) {
        self.when.iter().for_each(|when| when.visit(visit));
    }

    /// The names of its packages.
    pub fn names(&self) -> BTreeSet<&str> {
        self.build.iter().chain(&self.run).map(String::as_str).collect()
    }
}

/// Whether a text can be the name of a Debian package.
pub(super) fn is_package(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+.-".contains(&byte);
    text.len() >= 2
        && text.len() <= 100
        && text.bytes().all(allowed)
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        // apt reads a trailing `+` or `-` as an order to install or to remove.
        && !text.ends_with(['-', '+'])
        || text == "g++"
}

fn fold(fold: bool, name: &str) -> String {
    if fold { name.to_lowercase().replace(['_', '.'], "-") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_have_names() {
        for good in ["libpq5", "ffmpeg", "g++", "libstdc++6", "python3.11-dev"] {
            assert!(is_package(good), "{good}");
        }
        for bad in ["", "a", "-y", "Lib", "a b", "a;b", "git-", "vim+", "a\nRUN x", "$(id)", "--option"] {
            assert!(!is_package(bad), "{bad}");
        }
    }
}
