//! What a buildpack can ask about a source: its files, and what follows from them. Each answer is computed once.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, HashMap},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    document::{in_directory, json, toml},
    extract::Found,
    manifest::Manifest,
    origin::Origin,
    paas_toml::{PAAS_TOML, PaasToml},
    packages::{Dependencies, SystemPackages},
    pattern::Patterns,
    runs::{Line, Lines},
    version::Version,
    wrong_manifest,
};
use crate::{
    Error, Result,
    tree::{Entry, NAMED_LIMIT, Tree},
};

/// The largest file that is read if a pattern finds it, in bytes.
const FOUND_LIMIT: u64 = 1 << 20;

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
    /// All files, for all buildpacks that see this source.
    pub index: Index<'a>,
    /// The files that match a pattern, those nearer to the root first.
    matching: RefCell<HashMap<String, Rc<[&'a Entry]>>>,
    texts: RefCell<HashMap<PathBuf, Text>>,
    jsons: RefCell<HashMap<String, Option<Rc<serde_json::Value>>>>,
    tomls: RefCell<HashMap<String, Option<Rc<toml::Table>>>>,
    /// By name; the inner value is missing while it is being computed.
    facts: RefCell<BTreeMap<&'a str, Option<Answer>>>,
    choices: RefCell<BTreeMap<&'a str, Option<Chosen>>>,
    versions: RefCell<BTreeMap<&'a str, Option<Option<Rc<Version>>>>>,
    values: RefCell<BTreeMap<&'a str, Option<Option<Found>>>>,
    dependencies: OnceCell<Dependencies>,
    lines: OnceCell<Rc<Lines>>,
    /// Those of the source, if this buildpack only builds a part of it for another.
    another: Option<Rc<Lines>>,
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

/// The limit within which a file was read, and what was read.
type Text = (u64, Option<Rc<str>>);

/// The files of a source in order, once they are needed.
pub(super) type Index<'a> = Rc<OnceCell<Files<'a>>>;

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
    pub fn new(tree: &'a Tree, manifest: &'a Manifest, paas_toml: &'a PaasToml, today: &'a str) -> Scope<'a> {
        Scope {
            directory: "",
            within: None,
            tree,
            manifest,
            paas_toml,
            today,
            index: Index::default(),
            matching: RefCell::default(),
            texts: RefCell::default(),
            jsons: RefCell::default(),
            tomls: RefCell::default(),
            facts: RefCell::default(),
            choices: RefCell::default(),
            versions: RefCell::default(),
            values: RefCell::default(),
            dependencies: OnceCell::new(),
            lines: OnceCell::new(),
            another: None,
        }
    }

    /// The files, put in order when a pattern first asks for them: a large source has many, and most buildpacks look at
    /// few of them.
    fn files(&self) -> &Files<'a> {
        self.index.get_or_init(|| Files::new(self.tree.files().iter().collect()))
    }

    /// The same source, seen by a buildpack that builds a part of it for this one.
    pub fn beside<'b>(&self, manifest: &'b Manifest, paas_toml: &'b PaasToml) -> Scope<'b>
    where
        'a: 'b,
    {
        let another = Some(Rc::clone(self.lines()));
        Scope {
            lines: OnceCell::from(Rc::new(Lines::default())),
            another,
            ..Scope::new(self.tree, manifest, paas_toml, self.today)
        }
    }

    /// The command lines that the source sets itself.
    fn lines(&self) -> &Rc<Lines> {
        self.lines.get_or_init(|| Rc::new(Lines::read(self.tree, self.paas_toml)))
    }

    /// Why a command of these lines fulfils a condition: `web`, `processes`, `build` or `another`.
    pub fn command(&self, of: &Patterns, condition: impl Fn(&str) -> bool) -> Option<(String, Origin)> {
        let lines = self.lines();
        let any = |line: &Line| {
            let commands = line.commands(self.tree);
            commands.iter().find(|command| condition(command)).map(|command| line.describe(command))
        };
        of.iter().find_map(|of| match of {
            "web" => lines.web.as_ref().and_then(|line| {
                line.serving(self.tree).filter(|command| condition(command)).map(|command| line.describe(&command))
            }),
            "processes" => lines.processes.iter().find_map(any),
            "build" => lines.build.iter().find_map(any),
            _ => {
                let another = self.another.as_ref()?;
                another.processes.iter().chain(&another.build).find_map(any)
            }
        })
    }

    /// The file that stands for another: itself, if it is there.
    pub fn stand_in<'s>(&'s self, file: &'s str) -> &'s str {
        match self.manifest.instead.get(file) {
            Some(others) if !self.tree.exists(file) => {
                others.iter().map(String::as_str).find(|other| self.tree.exists(other)).unwrap_or(file)
            }
            _ => file,
        }
    }

    /// The files that match: those of the first pattern before those of the second, and within a pattern those nearer
    /// to the root first.
    pub fn matching(&self, patterns: &Patterns) -> Result<Vec<&'a Entry>> {
        let mut ignored = self.manifest.ignored()?.matcher();
        let mut matching: Vec<&Entry> = Vec::new();
        for pattern in patterns.patterns() {
            let path = pattern.as_str();
            if pattern.is_plain() {
                let (files, path) = (self.tree.files(), Path::new(self.stand_in(path)));
                let found = files.binary_search_by(|entry| entry.path.as_path().cmp(path)).ok();
                matching.extend(found.map(|index| &files[index]).filter(|entry| !ignored.excludes(&entry.path)));
                continue;
            }
            let known = self.matching.borrow().get(path).cloned();
            let some = match known {
                Some(some) => some,
                None => {
                    let mut some: Vec<&Entry> = Vec::new();
                    for entry in self.files().candidates(path) {
                        if pattern.matches(&entry.path)? && !ignored.excludes(&entry.path) {
                            some.push(entry);
                        }
                    }
                    some.sort_by_key(|entry| entry.path.components().count());
                    let some: Rc<[&Entry]> = some.into();
                    self.matching.borrow_mut().insert(path.to_owned(), Rc::clone(&some));
                    some
                }
            };
            matching.extend(some.iter());
        }
        let mut seen = std::collections::HashSet::new();
        matching.retain(|entry| seen.insert(&entry.path));
        Ok(matching)
    }

    /// The content of a text file; nothing if there is none. A file that is far too large counts as missing. A file that
    /// stands for a JSON file reads as JSON.
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
        let stands = |name: &&str| self.manifest.instead.values().flatten().any(|other| other == name);
        let text: Option<Rc<str>> = match path.to_str().filter(stands) {
            Some(name) => self.json(name).ok().flatten().map(|document| Rc::from(format!("{document:#}"))),
            None => self.tree.read_text_within(path, limit).ok().flatten().map(Rc::from),
        };
        self.texts.borrow_mut().insert(path.to_owned(), (limit, text.clone()));
        text
    }

    /// The scope that answers for a name of the buildpack: the workspace's root, if the buildpack says that the
    /// members share it.
    pub fn of(&self, name: &str) -> &Scope<'a> {
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

    /// A JSON file; nothing if there is none.
    ///
    /// # Errors
    /// `SourceError::File` if it does not parse.
    pub fn json(&self, file: &str) -> Result<Option<Rc<serde_json::Value>>> {
        let file = self.stand_in(file);
        if let Some(document) = self.jsons.borrow().get(file) {
            return Ok(document.clone());
        }
        let document = json(self.tree, file).map_err(|error| in_directory(error, self.directory))?.map(Rc::new);
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
        let document = toml(self.tree, file).map_err(|error| in_directory(error, self.directory))?.map(Rc::new);
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
            if let Some((option, _)) = self.paas_toml.build.tools.get(&choice.name) {
                let reason = format!("build.tools.{} in {PAAS_TOML}", choice.name);
                return Ok(Chosen { option: option.clone(), reason });
            }
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

/// Files in the order of their paths, and how to find those of a name without a look at each.
pub(super) struct Files<'a> {
    all: Vec<&'a Entry>,
    /// By file name, and by what follows the last dot of it.
    by_name: HashMap<&'a [u8], Vec<&'a Entry>>,
    by_extension: HashMap<&'a [u8], Vec<&'a Entry>>,
    /// By the number of parts of their paths.
    by_depth: HashMap<usize, Vec<&'a Entry>>,
}

impl<'a> Files<'a> {
    fn new(all: Vec<&'a Entry>) -> Files<'a> {
        let (mut by_name, mut by_extension, mut by_depth) = (HashMap::new(), HashMap::new(), HashMap::new());
        for entry in &all {
            let name = entry.path.file_name().unwrap_or_default().as_bytes();
            by_name.entry(name).or_insert_with(Vec::new).push(*entry);
            if let Some(dot) = name.iter().rposition(|byte| *byte == b'.') {
                by_extension.entry(&name[dot + 1..]).or_insert_with(Vec::new).push(*entry);
            }
            by_depth.entry(entry.path.components().count()).or_insert_with(Vec::new).push(*entry);
        }
        Files { all, by_name, by_extension, by_depth }
    }

    /// The files that a pattern can match, and others: the shortest list that its text leads to.
    fn candidates(&self, pattern: &str) -> &[&'a Entry] {
        // Within braces there may be slashes: then neither the name nor the depth is known.
        let in_braces = pattern.split('{').skip(1).any(|rest| rest.split('}').next().unwrap_or(rest).contains('/'));
        if in_braces {
            return &self.all;
        }
        let is_plain = |text: &str| !text.is_empty() && !text.contains(['*', '?', '[', ']', '{', '}', ',', '\\']);
        let name = pattern.rsplit('/').next().unwrap_or(pattern);
        let extension = name.rsplit_once('.').map(|(_, extension)| extension).filter(|text| is_plain(text));
        let mut lists: Vec<Option<&Vec<&Entry>>> = Vec::new();
        if is_plain(name) {
            lists.push(self.by_name.get(name.as_bytes()));
        } else if let Some(extension) = extension {
            lists.push(self.by_extension.get(extension.as_bytes()));
        }
        if !pattern.contains("**") {
            lists.push(self.by_depth.get(&pattern.split('/').count()));
        }
        // A list that there is not has no files.
        let lists = lists.into_iter().map(|list| list.map_or(&[][..], Vec::as_slice));
        lists.min_by_key(|list| list.len()).unwrap_or(&self.all)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildpack::pattern;

    #[test]
    fn no_file_that_a_pattern_matches_is_missed() {
        let paths = [
            ".gitignore",
            "Dockerfile",
            "a.py",
            "a.b.py",
            "package.json",
            "x.json",
            "apps/a/package.json",
            "apps/a/main.py",
            "apps/a/b/package.json",
            "libs/package.json",
            "libs/.npmrc",
            "src/app/[id].ts",
            "src/a,b.ts",
        ];
        let directory = tempfile::tempdir().unwrap();
        for path in paths {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let tree = Tree::directory(directory.path()).unwrap();
        let entries = tree.files();
        let files = Files::new(entries.iter().collect());
        for text in [
            "*.py",
            "**/*.py",
            "*.gitignore",
            "**/package.json",
            "*/package.json",
            "{apps,libs}/**/package.json",
            "{apps/a,libs}/package.json",
            "{apps/*/,}package.json",
            "*",
            "**/*",
            "**",
            "*.{py,json}",
            "**/[[]id].ts",
            "src/app/?id?.ts",
            "apps/*/{main,app}.py",
            "apps/**",
            "**/.npmrc",
            "src/*.ts",
            "*/*.ts",
            "[D]ockerfile",
            "**/Dockerfile",
            "a.*",
            "*.nothing",
            "no/*/where",
        ] {
            let glob = pattern::glob(text).unwrap();
            let all: Vec<_> = entries.iter().filter(|entry| glob.is_match(&entry.path)).collect();
            let found = files.candidates(text).iter().copied().filter(|entry| glob.is_match(&entry.path));
            assert_eq!(found.collect::<Vec<_>>(), all, "{text}");
        }
        assert_eq!(files.candidates("**/package.json").len(), 4);
        assert_eq!(files.candidates("libs/*").len(), 3, "those of this depth");
    }
}
