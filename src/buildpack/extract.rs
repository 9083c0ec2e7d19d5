//! How a `buildpack.toml` finds a text in a source. The grammar is recursive, see `detect`: an extractor can depend on
//! a predicate, and a predicate can ask whether an extractor finds something.

use std::path::Path;

use serde::Deserialize;

use super::{
    detect::Predicate,
    document::{line_of, toml_key},
    paas_toml::PAAS_TOML,
    pattern::{Expression, Patterns, Reference},
    scope::Scope,
};
use crate::Result;

/// A way to find a text in the files of a source: a closed set. Each knows where it found the text, for messages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Extractor {
    /// The first line of a file that is neither blank nor a `#` comment.
    Line(String),
    /// A string or number in a JSON file, by JSON pointer; with `regex`, its first group. If `file` is a pattern, it
    /// finds nothing unless exactly one of the files has it.
    Json { file: Patterns, pointer: String, regex: Option<Expression> },
    /// A string or number in a TOML file, by a dotted key; with `regex`, its first group. For an array it is the
    /// first item, for a table its `version`.
    Toml { file: String, key: String, regex: Option<Expression> },
    /// The first group of the first match in the first of the files that has one; `^` and `$` match at line ends.
    Regex {
        file: Patterns,
        regex: Expression,
        /// Only files that have one of these beside them, as paths from their own directory.
        beside: Option<Patterns>,
        /// Find nothing if the matches differ.
        #[serde(default)]
        unique: bool,
    },
    /// The first group of the paths that match (with `text`, whose content matches too). Nothing if they differ, unless
    /// `first` is set.
    Path {
        glob: Patterns,
        regex: Expression,
        text: Option<Expression>,
        #[serde(default)]
        first: bool,
        /// Replaces the first text with the second in the result.
        replace: Option<(String, String)>,
    },
    /// A tool's version in `.tool-versions` or `mise.toml`, under one of these names.
    Tool(Patterns),
    /// The value of this key under `[build]` in `paas.toml`: `static`.
    Setting(String),
    /// A value of this buildpack.
    Value(String),
    /// A fixed text, if a predicate holds.
    Implied { by: Box<Predicate>, is: String },
    /// What another extractor finds, if a predicate holds.
    Given { that: Box<Predicate>, find: Box<Extractor> },
    /// What another extractor finds at the root of the workspace, if the app is a member of one.
    Root(Box<Extractor>),
}

/// A text that was found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub text: String,
    pub file: String,
    pub line: Option<usize>,
    /// The place for the log, e.g. `engines.node in package.json`.
    pub place: String,
}

/// The file in which version managers pin tools, one per line.
const TOOL_VERSIONS: &str = ".tool-versions";
/// The files in which mise pins tools, under `tools`.
const MISE: [&str; 4] = ["mise.toml", ".mise.toml", "mise/config.toml", ".config/mise.toml"];

impl Extractor {
    /// Looks for the text; nothing if the file, the key or the match is missing or empty.
    ///
    /// # Errors
    /// `SourceError::File` if the file does not parse.
    pub fn find(&self, scope: &Scope<'_>) -> Result<Option<Found>> {
        let found = match self {
            Extractor::Line(file) => scope.text(Path::new(file)).and_then(|text| {
                let (index, line) = text
                    .lines()
                    .enumerate()
                    .map(|(index, line)| (index, line.trim()))
                    .find(|(_, line)| !line.is_empty() && !line.starts_with('#'))?;
                Some(Found { text: line.to_owned(), file: file.clone(), line: Some(index + 1), place: file.clone() })
            }),
            Extractor::Json { file, pointer, regex } => {
                let keys: Vec<_> = pointer.split('/').skip(1).map(|key| key.replace("~1", "/")).collect();
                let (key, last) = (keys.join("."), keys.last().map_or("", String::as_str));
                let mut found = Vec::new();
                for (file, glob) in file.patterns()? {
                    if glob.is_none() {
                        let document = scope.json(file)?;
                        if let Some(text) = document.as_ref().and_then(|document| json_text(document.pointer(pointer)?))
                        {
                            found.extend(keyed(scope, file, &key, last, text, regex.as_ref())?);
                        }
                    }
                }
                for entry in scope.matching(file)? {
                    let Some(file) = entry.path.to_str().filter(|path| !self_names(file, path)) else { continue };
                    // A pattern can match files that are not valid JSON.
                    let Ok(Some(document)) = scope.json(file) else { continue };
                    if let Some(text) = document.pointer(pointer).and_then(json_text) {
                        found.extend(keyed(scope, file, &key, last, text, regex.as_ref())?);
                    }
                }
                found.pop().filter(|_| found.is_empty())
            }
            Extractor::Toml { file, key, regex } => {
                let Some(document) = scope.toml(file)? else { return Ok(None) };
                let Some(text) = toml_key(&document, key).and_then(toml_text) else { return Ok(None) };
                let last = key.rsplit('.').next().unwrap_or(key);
                keyed(scope, file, key, last, text, regex.as_ref())?
            }
            Extractor::Regex { file, regex, beside, unique } => {
                let regex = regex.compile()?;
                let mut all: Vec<Found> = Vec::new();
                for entry in scope.matching(file)? {
                    if !unique && !all.is_empty() {
                        break;
                    }
                    let directory = entry.path.parent().unwrap_or(Path::new(""));
                    if beside.as_ref().is_some_and(|beside| {
                        !beside.iter().any(|neighbor| scope.tree.exists(directory.join(neighbor)))
                    }) {
                        continue;
                    }
                    let Some(text) = scope.text(&entry.path) else { continue };
                    for group in regex.captures_iter(&text).filter_map(|captures| captures.get(1)) {
                        let file = entry.path.display().to_string();
                        let line = Some(line_of(&text, group.start()));
                        all.push(Found { text: group.as_str().to_owned(), place: file.clone(), file, line });
                        if !unique {
                            break;
                        }
                    }
                }
                all.iter().all(|other| other.text == all[0].text).then(|| all.into_iter().next()).flatten()
            }
            Extractor::Path { glob, regex, text, first, replace } => {
                let regex = regex.compile()?;
                let mut all: Vec<Found> = Vec::new();
                for entry in scope.matching(glob)? {
                    let Some(path) = entry.path.to_str() else { continue };
                    let Some(group) = regex.captures(path).and_then(|captures| captures.get(1)) else { continue };
                    if let Some(expression) = text
                        && !scope
                            .text(&entry.path)
                            .is_some_and(|text| expression.compile().is_ok_and(|e| e.is_match(&text)))
                    {
                        continue;
                    }
                    let text = match replace {
                        Some((from, to)) => group.as_str().replace(from.as_str(), to),
                        None => group.as_str().to_owned(),
                    };
                    all.push(Found { text, file: path.to_owned(), line: None, place: path.to_owned() });
                    if *first {
                        break;
                    }
                }
                all.iter().all(|other| other.text == all[0].text).then(|| all.into_iter().next()).flatten()
            }
            Extractor::Tool(names) => tool(scope, names)?,
            Extractor::Setting(key) => scope.paas_toml.build.text(key).map(|(text, line)| Found {
                text: text.clone(),
                file: PAAS_TOML.to_owned(),
                line: Some(*line),
                place: format!("build.{key} in {PAAS_TOML}"),
            }),
            Extractor::Value(name) => return scope.value(name),
            Extractor::Implied { by, is } => by.holds(scope)?.map(|reason| Found {
                text: is.clone(),
                file: reason.clone(),
                line: None,
                place: reason,
            }),
            Extractor::Given { that, find } => match that.holds(scope)? {
                Some(_) => return find.find(scope),
                None => None,
            },
            // It is not a file of this directory.
            Extractor::Root(extractor) => {
                return scope.within.as_ref().map_or(Ok(None), |within| extractor.find(&within.root));
            }
        };
        Ok(found.filter(|found| !found.text.trim().is_empty()).map(|found| scope.placed(found)))
    }

    /// Calls back with everything inside that can be malformed, to check the buildpack.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(Reference<'a>)) {
        match self {
            Extractor::Json { regex, file, .. } => {
                regex.iter().for_each(|regex| visit(Reference::Expression(regex)));
                file.iter().for_each(|pattern| visit(Reference::Glob(pattern)));
            }
            Extractor::Toml { regex, .. } => {
                regex.iter().for_each(|regex| visit(Reference::Expression(regex)));
            }
            Extractor::Regex { file, regex, .. } => {
                visit(Reference::Expression(regex));
                file.iter().for_each(|pattern| visit(Reference::Glob(pattern)));
            }
            Extractor::Path { glob, regex, text, .. } => {
                visit(Reference::Expression(regex));
                text.iter().for_each(|regex| visit(Reference::Expression(regex)));
                glob.iter().for_each(|pattern| visit(Reference::Glob(pattern)));
            }
            Extractor::Implied { by, .. } => by.visit(visit),
            Extractor::Given { that, find } => {
                that.visit(visit);
                find.visit(visit);
            }
            Extractor::Root(extractor) => extractor.visit(visit),
            Extractor::Value(name) => visit(Reference::Value(name)),
            Extractor::Line(_) | Extractor::Tool(_) | Extractor::Setting(_) => {}
        }
    }
}

/// Whether a path is one of the words itself, not only a match of a pattern.
fn self_names(words: &Patterns, path: &str) -> bool {
    words.iter().any(|word| word == path)
}

/// A text or number of a JSON document.
fn json_text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What was found under a key of a document: with its line, if it can be found, and cut to a group.
fn keyed(
    scope: &Scope<'_>,
    file: &str,
    key: &str,
    last: &str,
    text: String,
    regex: Option<&Expression>,
) -> Result<Option<Found>> {
    let line = scope.text(Path::new(file)).and_then(|document| {
        let first = text.lines().next().unwrap_or_default();
        document.lines().position(|line| line.contains(last) && line.contains(first)).map(|index| index + 1)
    });
    let text = match regex {
        None => text,
        Some(regex) => match regex.compile()?.captures(&text).and_then(|captures| captures.get(1)) {
            Some(group) => group.as_str().to_owned(),
            None => return Ok(None),
        },
    };
    Ok(Some(Found { text, file: file.to_owned(), line, place: format!("{key} in {file}") }))
}

/// A tool's version from the files of version managers.
fn tool(scope: &Scope<'_>, names: &Patterns) -> Result<Option<Found>> {
    for (index, line) in scope.text(Path::new(TOOL_VERSIONS)).iter().flat_map(|text| text.lines().enumerate()) {
        let line = line.split('#').next().unwrap_or(line);
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next())
            && names.iter().any(|known| known == name)
        {
            let place = format!("{name} in {TOOL_VERSIONS}");
            let file = TOOL_VERSIONS.to_owned();
            return Ok(Some(Found { text: version.to_owned(), file, line: Some(index + 1), place }));
        }
    }
    for file in MISE {
        let Some(document) = scope.toml(file)? else { continue };
        for name in names.iter() {
            if let Some(text) = toml_key(&document, &format!("tools.{name}")).and_then(toml_text) {
                return keyed(scope, file, &format!("tools.{name}"), name, text, None);
            }
        }
    }
    Ok(None)
}

/// A value as a text; for an array its first item, for a table its `version`.
fn toml_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Array(items) => items.first().and_then(toml_text),
        toml::Value::Table(table) => table.get("version").and_then(toml_text),
        _ => None,
    }
}
