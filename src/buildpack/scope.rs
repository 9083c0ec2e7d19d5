//! What a buildpack can ask about a source: its files, and what follows from them. Each answer is computed once.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    document::{json, toml},
    extract::Found,
    manifest::Manifest,
    paas_toml::{PAAS_TOML, PaasToml},
    packages::{Dependencies, SystemPackages},
    pattern::Patterns,
    version::Version,
    wrong_manifest,
};
use crate::{
    Error, Result,
    error::SourceError,
    tree::{DockerIgnore, Entry, Tree},
};

/// A source as a buildpack sees it.
pub(super) struct Scope<'a> {
    /// The directory of the source in the repository; empty for the root.
    pub directory: &'a str,
    /// The workspace that the source is a member of. The build context is then the whole workspace.
    pub within: Option<Within<'a>>,
    pub tree: &'a Tree,
    pub manifest: &'a Manifest,
    pub paas_toml: &'a PaasToml,
    /// Today's date, as `2026-11-21`: versions reach their end of life.
    pub today: &'a str,
    /// What the buildpack ignores.
    ignore: DockerIgnore,
    /// All other files, once a pattern asks for them.
    files: OnceCell<Vec<&'a Entry>>,
    texts: RefCell<HashMap<PathBuf, Option<Rc<str>>>>,
    jsons: RefCell<HashMap<String, Option<Rc<serde_json::Value>>>>,
    tomls: RefCell<HashMap<String, Option<Rc<toml::Table>>>>,
    /// By name; the inner value is missing while it is being computed.
    facts: RefCell<BTreeMap<&'a str, Option<Answer>>>,
    choices: RefCell<BTreeMap<&'a str, Option<Chosen>>>,
    versions: RefCell<BTreeMap<&'a str, Option<Option<Rc<Version>>>>>,
    values: RefCell<BTreeMap<&'a str, Option<Option<Found>>>>,
    dependencies: OnceCell<Dependencies>,
}

/// A workspace, seen from one of its members.
pub(super) struct Within<'a> {
    /// The workspace's root, seen by the same buildpack.
    pub root: Rc<Scope<'a>>,
    /// The member's name, which is a plain word.
    pub name: String,
    /// The directories of the members that it needs built first, in this order.
    pub needs: Vec<String>,
    /// The system packages of those that it needs.
    pub packages: SystemPackages,
}

/// Why something holds; `None` if it does not.
pub(super) type Answer = Option<String>;

/// The tool chosen among several, e.g. the package manager `pnpm`, and why.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub option: String,
    pub reason: String,
}

impl<'a> Scope<'a> {
    /// A source, seen by a buildpack.
    ///
    /// # Errors
    /// [`Error::Source`] if a pattern in the buildpack's `ignore` is malformed.
    pub fn new(tree: &'a Tree, manifest: &'a Manifest, paas_toml: &'a PaasToml, today: &'a str) -> Result<Scope<'a>> {
        let ignore = DockerIgnore::parse("buildpack.toml", &manifest.ignore.join("\n"))?;
        Ok(Scope {
            directory: "",
            within: None,
            tree,
            manifest,
            paas_toml,
            today,
            ignore,
            files: OnceCell::new(),
            texts: RefCell::default(),
            jsons: RefCell::default(),
            tomls: RefCell::default(),
            facts: RefCell::default(),
            choices: RefCell::default(),
            versions: RefCell::default(),
            values: RefCell::default(),
            dependencies: OnceCell::new(),
        })
    }

    /// All files except those that the buildpack ignores.
    fn files(&self) -> &[&'a Entry] {
        self.files.get_or_init(|| {
            let mut matcher = self.ignore.matcher();
            self.tree.files().iter().filter(|entry| !matcher.excludes(&entry.path)).collect()
        })
    }

    /// The files that match: those of the first pattern before those of the second, and within a pattern those nearer
    /// to the root first.
    pub fn matching(&self, patterns: &Patterns) -> Result<Vec<&'a Entry>> {
        let mut matching: Vec<&Entry> = Vec::new();
        for (path, glob) in patterns.patterns()? {
            let Some(glob) = glob else {
                let files = self.tree.files();
                let found = files.binary_search_by(|entry| entry.path.as_path().cmp(Path::new(path)));
                let found = found.ok().map(|index| &files[index]);
                matching.extend(found.filter(|entry| !self.ignore.excludes(&entry.path)));
                continue;
            };
            let mut some: Vec<&Entry> =
                self.files().iter().copied().filter(|entry| glob.is_match(&entry.path)).collect();
            some.sort_by_key(|entry| entry.path.components().count());
            matching.extend(some);
        }
        let mut seen = std::collections::HashSet::new();
        matching.retain(|entry| seen.insert(&entry.path));
        Ok(matching)
    }

    /// The content of a text file; nothing if there is none. A file that is too large counts as missing.
    pub fn text(&self, path: &Path) -> Option<Rc<str>> {
        if let Some(text) = self.texts.borrow().get(path) {
            return text.clone();
        }
        let text: Option<Rc<str>> = self.tree.read_text(path).ok().flatten().map(Rc::from);
        self.texts.borrow_mut().insert(path.to_owned(), text.clone());
        text
    }

    /// The scope that answers for a name of the buildpack: the workspace's root, if the buildpack says that the
    /// members share it.
    fn of(&self, name: &str) -> &Scope<'a> {
        match (&self.within, &self.manifest.workspace) {
            (Some(within), Some(rule)) if rule.shared.iter().any(|shared| shared == name) => &within.root,
            _ => self,
        }
    }

    /// The files that the build has: those of the whole workspace, if the source is a member of one.
    pub fn context(&self) -> &Scope<'a> {
        self.within.as_ref().map_or(self, |within| &within.root)
    }

    /// The path of a file of this source in the repository.
    pub fn path(&self, file: &str) -> String {
        if self.directory.is_empty() { file.to_owned() } else { format!("{}/{file}", self.directory) }
    }

    /// What was found in this source, with its path in the repository.
    pub fn placed(&self, found: Found) -> Found {
        if self.directory.is_empty() || found.file == PAAS_TOML || !self.tree.exists(&found.file) {
            return found;
        }
        let file = self.path(&found.file);
        let place = found.place.strip_suffix(found.file.as_str()).map(|before| format!("{before}{file}"));
        Found { place: place.unwrap_or(found.place), file, ..found }
    }

    /// An error in a file of this source, with the file's path in the repository.
    pub fn refusal(&self, error: Error) -> Error {
        match error {
            Error::Source(SourceError::File { file, line, message, hint }) => {
                let path = self.path(&file);
                Error::Source(SourceError::File { hint: hint.replace(&file, &path), file: path, line, message })
            }
            other => other,
        }
    }

    /// A JSON file; nothing if there is none.
    ///
    /// # Errors
    /// `SourceError::File` if it does not parse.
    pub fn json(&self, file: &str) -> Result<Option<Rc<serde_json::Value>>> {
        if let Some(document) = self.jsons.borrow().get(file) {
            return Ok(document.clone());
        }
        let document = json(self.tree, file).map_err(|error| self.refusal(error))?.map(Rc::new);
        self.jsons.borrow_mut().insert(file.to_owned(), document.clone());
        Ok(document)
    }

    /// A TOML file; nothing if there is none.
    ///
    /// # Errors
    /// `SourceError::File` if it does not parse.
    pub fn toml(&self, file: &str) -> Result<Option<Rc<toml::Table>>> {
        if let Some(document) = self.tomls.borrow().get(file) {
            return Ok(document.clone());
        }
        let document = toml(self.tree, file).map_err(|error| self.refusal(error))?.map(Rc::new);
        self.tomls.borrow_mut().insert(file.to_owned(), document.clone());
        Ok(document)
    }

    /// Why a fact of the buildpack holds; nothing if it does not.
    pub fn fact(&self, name: &str) -> Result<Answer> {
        let (name, predicate) = self.manifest.facts.get_key_value(name).ok_or_else(|| unknown("fact", name))?;
        let scope = self.of(name);
        once(&scope.facts, "fact", name, || predicate.holds(scope))
    }

    /// The chosen tool: the first option that holds.
    pub fn choice(&self, name: &str) -> Result<Chosen> {
        let choice = self.manifest.choices.iter().find(|choice| choice.name == name);
        let choice = choice.ok_or_else(|| unknown("choice", name))?;
        let scope = self.of(name);
        once(&scope.choices, "choice", &choice.name, || {
            for option in &choice.options {
                let reason = option.when.as_ref().map_or(Ok(Some("default".to_owned())), |when| when.holds(scope))?;
                if let Some(reason) = reason {
                    return Ok(Chosen { option: option.is.clone(), reason });
                }
            }
            Ok(Chosen { option: String::new(), reason: String::new() })
        })
    }

    /// The version of something; nothing if this source needs none.
    pub fn version(&self, name: &str) -> Result<Option<Rc<Version>>> {
        let rule = self.manifest.versions.iter().find(|rule| rule.name == name);
        let rule = rule.ok_or_else(|| unknown("version", name))?;
        once(&self.versions, "version", &rule.name, || {
            let own = rule.resolve(self)?;
            match &self.within {
                // What the member does not say, the workspace does.
                Some(within) if own.as_ref().is_some_and(Version::is_default) => within.root.version(name),
                _ => Ok(own.map(Rc::new)),
            }
        })
    }

    /// A value: from the first of its extractors that finds something.
    pub fn value(&self, name: &str) -> Result<Option<Found>> {
        let (name, extractors) = self.manifest.values.get_key_value(name).ok_or_else(|| unknown("value", name))?;
        let scope = self.of(name);
        once(&scope.values, "value", name, || {
            for extractor in extractors {
                if let Some(found) = extractor.find(scope)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    /// The dependencies of the source.
    pub fn dependencies(&self) -> Result<&Dependencies> {
        if let Some(dependencies) = self.dependencies.get() {
            return Ok(dependencies);
        }
        let found =
            self.manifest.dependencies.as_ref().map_or_else(|| Ok(Dependencies::default()), |d| d.find(self))?;
        Ok(self.dependencies.get_or_init(|| found))
    }
}

/// The known answer under a name, or else a new one. An answer that depends on itself is an error.
fn once<'a, T: Clone>(
    known: &RefCell<BTreeMap<&'a str, Option<T>>>,
    what: &str,
    name: &'a str,
    find: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let before = known.borrow_mut().insert(name, None);
    let answer = match before {
        Some(Some(answer)) => answer,
        Some(None) => return Err(circular(what, name)),
        None => find()?,
    };
    known.borrow_mut().insert(name, Some(answer.clone()));
    Ok(answer)
}

fn unknown(what: &str, name: &str) -> Error {
    wrong_manifest(format!("a buildpack asks for the {what} {name}, but does not define it"))
}

fn circular(what: &str, name: &str) -> Error {
    wrong_manifest(format!("the {what} {name} of a buildpack depends on itself"))
}
