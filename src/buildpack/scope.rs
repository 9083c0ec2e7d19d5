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
    packages::Dependencies,
    pattern::Patterns,
    version::Version,
    wrong_manifest,
};
use crate::{
    Error, Result,
    tree::{DockerIgnore, Entry, NAMED_LIMIT, Tree},
};

/// The largest file that is read if a pattern finds it, in bytes.
const FOUND_LIMIT: u64 = 1 << 20;

/// A source as a buildpack sees it.
pub(super) struct Scope<'a> {
    pub tree: &'a Tree,
    pub manifest: &'a Manifest,
    pub paas_toml: &'a PaasToml,
    /// Today's date, as `2026-11-21`: versions reach their end of life.
    pub today: &'a str,
    /// All files except those that the buildpack ignores.
    files: Vec<&'a Entry>,
    /// Each with the limit within which it was read.
    texts: RefCell<HashMap<PathBuf, (u64, Option<Rc<str>>)>>,
    jsons: RefCell<HashMap<String, Option<Rc<serde_json::Value>>>>,
    tomls: RefCell<HashMap<String, Option<Rc<toml::Table>>>>,
    /// By name; the inner value is missing while it is being computed.
    facts: RefCell<BTreeMap<&'a str, Option<Answer>>>,
    choices: RefCell<BTreeMap<&'a str, Option<Chosen>>>,
    versions: RefCell<BTreeMap<&'a str, Option<Option<Rc<Version>>>>>,
    values: RefCell<BTreeMap<&'a str, Option<Option<Found>>>>,
    dependencies: OnceCell<Dependencies>,
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
        let mut matcher = ignore.matcher();
        let files = tree.files().iter().filter(|entry| !matcher.excludes(&entry.path)).collect();
        Ok(Scope {
            tree,
            manifest,
            paas_toml,
            today,
            files,
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

    /// The files that match: those of the first pattern before those of the second, and within a pattern those nearer
    /// to the root first.
    pub fn matching(&self, patterns: &Patterns) -> Result<Vec<&'a Entry>> {
        let mut matching: Vec<&Entry> = Vec::new();
        for (path, glob) in patterns.patterns()? {
            let Some(glob) = glob else {
                let found = self.files.binary_search_by(|entry| entry.path.as_path().cmp(Path::new(path)));
                matching.extend(found.ok().map(|index| self.files[index]));
                continue;
            };
            let mut some: Vec<&Entry> = self.files.iter().copied().filter(|entry| glob.is_match(&entry.path)).collect();
            some.sort_by_key(|entry| entry.path.components().count());
            matching.extend(some);
        }
        let mut seen = std::collections::HashSet::new();
        matching.retain(|entry| seen.insert(&entry.path));
        Ok(matching)
    }

    /// The content of a text file; nothing if there is none. A file that is far too large counts as missing.
    pub fn text(&self, path: &Path) -> Option<Rc<str>> {
        self.text_within(path, NAMED_LIMIT)
    }

    /// The content of a text file that these patterns match. One that no pattern names as it is can be anything, a
    /// tool of 2 MB for example, so it counts as missing if it is large.
    pub fn text_of(&self, patterns: &Patterns, path: &Path) -> Option<Rc<str>> {
        let named = patterns.iter().any(|word| Path::new(word) == path);
        self.text_within(path, if named { NAMED_LIMIT } else { FOUND_LIMIT })
    }

    fn text_within(&self, path: &Path, limit: u64) -> Option<Rc<str>> {
        if let Some((read_within, text)) = self.texts.borrow().get(path)
            && (text.is_some() || *read_within >= limit)
        {
            return text.clone();
        }
        let text: Option<Rc<str>> = self.tree.read_text_within(path, limit).ok().flatten().map(Rc::from);
        self.texts.borrow_mut().insert(path.to_owned(), (limit, text.clone()));
        text
    }

    /// A JSON file; nothing if there is none.
    ///
    /// # Errors
    /// `SourceError::File` if it does not parse.
    pub fn json(&self, file: &str) -> Result<Option<Rc<serde_json::Value>>> {
        if let Some(document) = self.jsons.borrow().get(file) {
            return Ok(document.clone());
        }
        let document = json(self.tree, file)?.map(Rc::new);
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
        let document = toml(self.tree, file)?.map(Rc::new);
        self.tomls.borrow_mut().insert(file.to_owned(), document.clone());
        Ok(document)
    }

    /// Why a fact of the buildpack holds; nothing if it does not.
    pub fn fact(&self, name: &str) -> Result<Answer> {
        let (name, predicate) = self.manifest.facts.get_key_value(name).ok_or_else(|| unknown("fact", name))?;
        once(&self.facts, "fact", name, || predicate.holds(self))
    }

    /// The chosen tool: the first option that holds.
    pub fn choice(&self, name: &str) -> Result<Chosen> {
        let choice = self.manifest.choices.iter().find(|choice| choice.name == name);
        let choice = choice.ok_or_else(|| unknown("choice", name))?;
        once(&self.choices, "choice", &choice.name, || {
            if let Some((option, _)) = self.paas_toml.build.tools.get(&choice.name) {
                let reason = format!("build.tools.{} in {PAAS_TOML}", choice.name);
                return Ok(Chosen { option: option.clone(), reason });
            }
            for option in &choice.options {
                let reason = option.when.as_ref().map_or(Ok(Some("default".to_owned())), |when| when.holds(self))?;
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
        once(&self.versions, "version", &rule.name, || Ok(rule.resolve(self)?.map(Rc::new)))
    }

    /// A value: from the first of its extractors that finds something.
    pub fn value(&self, name: &str) -> Result<Option<Found>> {
        let (name, extractors) = self.manifest.values.get_key_value(name).ok_or_else(|| unknown("value", name))?;
        once(&self.values, "value", name, || {
            for extractor in extractors {
                if let Some(found) = extractor.find(self)? {
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
