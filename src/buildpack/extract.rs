//! How a `buildpack.toml` finds a text in a source. The grammar is recursive, see `detect`: an extractor can depend on
//! a predicate, and a predicate can ask whether an extractor finds something.

use std::path::Path;

use globset::GlobMatcher;
use serde::Deserialize;

use super::{
    detect::Predicate,
    document::{dotted, line_of, line_of_pointer, pointed, toml_key},
    paas_toml::PAAS_TOML,
    pattern::{Expression, Patterns, Reference, glob},
    scope::Scope,
};
use crate::Result;

/// A way to find a text in the files of a source: a closed set. Each knows where it found the text, for messages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Extractor {
    /// The first line of a file that is neither blank nor a `#` comment. Without the comment after it.
    Line(String),
    /// A string or number in a JSON file, by a pointer (see `document::pointed`); with `regex`, its first group. If
    /// `file` is a pattern, it finds nothing unless exactly one of the files has it.
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
        /// Not files that match one of these.
        except: Option<Patterns>,
        /// Only files below a directory in a list of a TOML file; the list can have patterns.
        listed: Option<TomlList>,
        /// Find nothing if the matches differ.
        #[serde(default)]
        unique: bool,
    },
    /// The keys of a table in a TOML file that match. Nothing if there are several.
    Keys { file: String, key: String, regex: Option<Expression> },
    /// The first group in the file that a value of this buildpack names.
    Within { value: String, regex: Expression },
    /// The first group in a value of this buildpack, with all occurrences of one text replaced by another.
    Part { value: String, regex: Expression, replace: Option<(String, String)> },
    /// The first group of the paths that match (with `text`, whose content matches too). Nothing if they differ, unless
    /// `first` is set.
    Path {
        glob: Patterns,
        regex: Expression,
        text: Option<Expression>,
        /// Not those that match one of these.
        except: Option<Patterns>,
        /// Only those below a directory in a list of a TOML file; the list can have patterns.
        listed: Option<TomlList>,
        #[serde(default)]
        first: bool,
        /// Replaces the first text with the second in the result.
        replace: Option<(String, String)>,
    },
    /// A tool's version in the files of version managers (`mise.toml`, `.tool-versions`, `.prototools`), under one of
    /// these names.
    Tool(Patterns),
    /// The value of this key under `[build]` in `paas.toml`: `static`, `program`.
    Setting(String),
    /// A value of this buildpack.
    Value(String),
    /// A choice of this buildpack.
    Choice(String),
    /// A fixed text, if a predicate holds.
    Implied { by: Box<Predicate>, is: String },
    /// What another extractor finds, if a predicate holds.
    Given { that: Box<Predicate>, find: Box<Extractor> },
    /// What another extractor finds at the root of the workspace, if the app is a member of one.
    Root(Box<Extractor>),
}

/// A list of texts in a TOML file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TomlList {
    file: String,
    key: String,
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
/// The files in which mise pins tools, under `tools`, in its order. Those for one machine are not committed, but if
/// they are, they count.
const MISE: [&str; 11] = [
    "mise.local.toml",
    ".mise.local.toml",
    "mise.toml",
    ".mise.toml",
    "mise/config.toml",
    ".mise/config.toml",
    ".config/mise.toml",
    ".config/mise/config.toml",
    ".config/mise/mise.toml",
    ".rtx.toml",
    ".config/rtx/config.toml",
];
/// A directory of more such files.
const MISE_DIRECTORY: &str = ".config/mise/conf.d";
/// The file in which proto pins tools, at its top level.
const PROTO_TOOLS: &str = ".prototools";

impl Extractor {
    /// Looks for the text; nothing if the file, the key or the match is missing or empty.
    ///
    /// # Errors
    /// `SourceError::File` if the file does not parse.
    pub fn find(&self, scope: &Scope<'_>) -> Result<Option<Found>> {
        let found = match self {
            Extractor::Regex { .. } | Extractor::Path { .. } | Extractor::Keys { .. } => {
                let mut all = self.all(scope)?.into_iter();
                let first = all.next();
                first.filter(|first| all.all(|other| other.text == first.text))
            }
            Extractor::Line(file) => lines(scope, file).into_iter().next(),
            Extractor::Json { file, pointer, regex } => {
                let key = dotted(pointer);
                let line = |file: &str| line_of_pointer(&scope.text(Path::new(file))?, pointer);
                let mut found = Vec::new();
                for pattern in file.patterns().iter().filter(|pattern| pattern.is_plain()) {
                    let file = scope.stand_in(pattern.as_str());
                    let document = scope.json(file)?;
                    if let Some(text) = document.as_ref().and_then(|document| json_text(pointed(document, pointer)?)) {
                        found.extend(keyed(file, &key, line(file), text, regex.as_ref())?);
                    }
                }
                for entry in scope.matching(file)? {
                    let is_named = |path: &str| file.iter().any(|word| scope.stand_in(word) == path);
                    let Some(file) = entry.path.to_str().filter(|path| !is_named(path)) else { continue };
                    // A pattern can match files that are not valid JSON.
                    let Ok(Some(document)) = scope.json(file) else { continue };
                    if let Some(text) = pointed(&document, pointer).and_then(json_text) {
                        found.extend(keyed(file, &key, line(file), text, regex.as_ref())?);
                    }
                }
                found.pop().filter(|_| found.is_empty())
            }
            Extractor::Toml { file, key, regex } => {
                let Some(document) = scope.toml(file)? else { return Ok(None) };
                let Some(text) = toml_key(&document, key).and_then(toml_text) else { return Ok(None) };
                let last = key.rsplit('.').next().unwrap_or(key);
                keyed(file, key, line_with(scope, file, last, &text), text, regex.as_ref())?
            }
            Extractor::Within { value, regex } => match scope.value(value)? {
                Some(found) => within(scope, &found.text, regex)?,
                None => None,
            },
            Extractor::Part { value, regex, replace } => match scope.value(value)? {
                Some(found) => {
                    let group = regex.compile()?.captures(&found.text).and_then(|captures| captures.get(1));
                    group.map(|group| Found { text: replaced(group.as_str(), replace.as_ref()), ..found.clone() })
                }
                None => None,
            },
            Extractor::Tool(names) => tools(scope, names)?.into_iter().next(),
            Extractor::Setting(key) => scope.paas_toml.build.text(key).map(|(text, line)| Found {
                text: text.clone(),
                file: PAAS_TOML.to_owned(),
                line: Some(*line),
                place: format!("build.{key} in {PAAS_TOML}"),
            }),
            Extractor::Value(name) => return scope.value(name),
            Extractor::Choice(name) => {
                let chosen = scope.choice(name)?;
                let (file, place) = (chosen.reason.clone(), chosen.reason);
                Some(Found { text: chosen.option, file, line: None, place })
            }
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

    /// All that it finds: a list for those that can find several texts.
    ///
    /// # Errors
    /// As [`Extractor::find`].
    pub fn all(&self, scope: &Scope<'_>) -> Result<Vec<Found>> {
        let mut all: Vec<Found> = Vec::new();
        match self {
            Extractor::Regex { file, regex, beside, except, listed, unique } => {
                let listed = listed.as_ref().map(|list| list.patterns(scope)).transpose()?;
                for entry in scope.matching(file)? {
                    if !unique && !all.is_empty() {
                        break;
                    }
                    if except.as_ref().map_or(Ok(false), |except| except.matches(&entry.path))? {
                        continue;
                    }
                    let directory = entry.path.parent().unwrap_or(Path::new(""));
                    if beside.as_ref().is_some_and(|beside| {
                        !beside.iter().any(|neighbor| scope.tree.exists(directory.join(neighbor)))
                    }) {
                        continue;
                    }
                    if listed.as_ref().is_some_and(|patterns| !is_below(&entry.path, patterns)) {
                        continue;
                    }
                    let Some(text) = scope.text_of(file, &entry.path) else { continue };
                    for group in regex.compile()?.captures_iter(&text).filter_map(|captures| captures.get(1)) {
                        let file = entry.path.display().to_string();
                        let line = Some(line_of(&text, group.start()));
                        all.push(Found { text: group.as_str().to_owned(), place: file.clone(), file, line });
                        if !unique {
                            break;
                        }
                    }
                }
            }
            Extractor::Path { glob, regex, text, except, listed, first, replace } => {
                let listed = listed.as_ref().map(|list| list.patterns(scope)).transpose()?;
                for entry in scope.matching(glob)? {
                    if listed.as_ref().is_some_and(|patterns| !is_below(&entry.path, patterns)) {
                        continue;
                    }
                    if except.as_ref().map_or(Ok(false), |except| except.matches(&entry.path))? {
                        continue;
                    }
                    let Some(path) = entry.path.to_str() else { continue };
                    let captures = regex.compile()?.captures(path);
                    let Some(group) = captures.and_then(|captures| captures.get(1)) else { continue };
                    if let Some(expression) = text
                        && !scope
                            .text_of(glob, &entry.path)
                            .is_some_and(|text| expression.compile().is_ok_and(|e| e.is_match(&text)))
                    {
                        continue;
                    }
                    let text = replaced(group.as_str(), replace.as_ref());
                    all.push(Found { text, file: path.to_owned(), line: None, place: path.to_owned() });
                    if *first {
                        break;
                    }
                }
            }
            Extractor::Keys { file, key, regex } => {
                let Some(document) = scope.toml(file)? else { return Ok(all) };
                let Some(toml::Value::Table(table)) = toml_key(&document, key) else { return Ok(all) };
                let regex = regex.as_ref().map(Expression::compile).transpose()?;
                for name in table.keys().filter(|name| regex.is_none_or(|regex| regex.is_match(name))) {
                    let place = format!("{key} in {file}");
                    all.push(Found { text: name.clone(), file: file.clone(), line: None, place });
                }
            }
            Extractor::Given { that, find } => {
                if that.holds(scope)?.is_some() {
                    all = find.all(scope)?;
                }
            }
            other => all.extend(other.find(scope)?),
        }
        Ok(all)
    }

    /// All that it finds, the preferred first: a file can name several versions.
    ///
    /// # Errors
    /// As [`Extractor::find`].
    pub fn find_all(&self, scope: &Scope<'_>) -> Result<Vec<Found>> {
        let found = match self {
            Extractor::Line(file) => lines(scope, file),
            Extractor::Tool(names) => tools(scope, names)?,
            Extractor::Root(extractor) => {
                return scope.within.as_ref().map_or(Ok(Vec::new()), |within| extractor.find_all(&within.root));
            }
            _ => return Ok(self.find(scope)?.into_iter().collect()),
        };
        let found = found.into_iter().filter(|found| !found.text.trim().is_empty());
        Ok(found.map(|found| scope.placed(found)).collect())
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
            Extractor::Regex { file, regex, except, .. } => {
                except.iter().flat_map(Patterns::iter).for_each(|pattern| visit(Reference::Glob(pattern)));
                visit(Reference::Expression(regex));
                file.iter().for_each(|pattern| visit(Reference::Glob(pattern)));
            }
            Extractor::Path { glob, regex, text, except, .. } => {
                except.iter().flat_map(Patterns::iter).for_each(|pattern| visit(Reference::Glob(pattern)));
                visit(Reference::Expression(regex));
                text.iter().for_each(|regex| visit(Reference::Expression(regex)));
                glob.iter().for_each(|pattern| visit(Reference::Glob(pattern)));
            }
            Extractor::Implied { by, .. } => by.visit(visit),
            Extractor::Given { that, find } => {
                that.visit(visit);
                find.visit(visit);
            }
            Extractor::Keys { regex, .. } => {
                regex.iter().for_each(|regex| visit(Reference::Expression(regex)));
            }
            Extractor::Within { value, regex } | Extractor::Part { value, regex, .. } => {
                visit(Reference::Value(value));
                visit(Reference::Expression(regex));
            }
            Extractor::Root(extractor) => extractor.visit(visit),
            Extractor::Value(name) => visit(Reference::Value(name)),
            Extractor::Choice(name) => visit(Reference::Choice(name, None)),
            Extractor::Line(_) | Extractor::Tool(_) | Extractor::Setting(_) => {}
        }
    }
}

impl TomlList {
    /// The texts of the list as patterns of paths. One that is none is left out: it is the source's.
    fn patterns(&self, scope: &Scope<'_>) -> Result<Vec<GlobMatcher>> {
        let document = scope.toml(&self.file)?;
        let list = document.as_ref().and_then(|document| toml_key(document, &self.key)).and_then(toml::Value::as_array);
        let texts = list.into_iter().flatten().filter_map(toml::Value::as_str);
        Ok(texts.filter_map(|text| glob(text.trim_start_matches("./").trim_end_matches('/')).ok()).collect())
    }
}

/// Whether a file is below a directory that matches one of these.
fn is_below(path: &Path, directories: &[GlobMatcher]) -> bool {
    path.ancestors().skip(1).any(|directory| directories.iter().any(|pattern| pattern.is_match(directory)))
}

/// The first group of the first match in a file.
fn within(scope: &Scope<'_>, file: &str, regex: &Expression) -> Result<Option<Found>> {
    let Some(text) = scope.text(Path::new(file)) else { return Ok(None) };
    let group = regex.compile()?.captures(&text).and_then(|captures| captures.get(1));
    Ok(group.map(|group| Found {
        text: group.as_str().to_owned(),
        file: file.to_owned(),
        line: Some(line_of(&text, group.start())),
        place: file.to_owned(),
    }))
}

fn replaced(text: &str, replace: Option<&(String, String)>) -> String {
    match replace {
        Some((from, to)) => text.replace(from.as_str(), to),
        None => text.to_owned(),
    }
}

/// A text or number of a JSON document.
fn json_text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What was found under a key of a document, cut to a group.
fn keyed(
    file: &str,
    key: &str,
    line: Option<usize>,
    text: String,
    regex: Option<&Expression>,
) -> Result<Option<Found>> {
    let text = match regex {
        None => text,
        Some(regex) => match regex.compile()?.captures(&text).and_then(|captures| captures.get(1)) {
            Some(group) => group.as_str().to_owned(),
            None => return Ok(None),
        },
    };
    Ok(Some(Found { text, file: file.to_owned(), line, place: format!("{key} in {file}") }))
}

/// The line of a TOML file that has a key and its value, or else the key.
fn line_with(scope: &Scope<'_>, file: &str, key: &str, value: &str) -> Option<usize> {
    let text = scope.text(Path::new(file))?;
    let value = value.lines().next().unwrap_or_default();
    let whole = text.lines().position(|line| line.contains(key) && line.contains(value));
    whole.or_else(|| text.lines().position(|line| line.contains(key))).map(|index| index + 1)
}

/// The lines of a file that are neither blank nor comments.
fn lines(scope: &Scope<'_>, file: &str) -> Vec<Found> {
    let Some(text) = scope.text(Path::new(file)) else { return Vec::new() };
    let lines = text.lines().map(without_comment).enumerate().filter(|(_, line)| !line.is_empty());
    let found = |(index, line): (usize, &str)| Found {
        text: line.to_owned(),
        file: file.to_owned(),
        line: Some(index + 1),
        place: file.to_owned(),
    };
    lines.map(found).collect()
}

/// A line up to a `#` that begins a word, trimmed.
fn without_comment(line: &str) -> &str {
    let begins = |(index, _): &(usize, &str)| line[..*index].ends_with(char::is_whitespace) || *index == 0;
    let end = line.match_indices('#').find(begins).map_or(line.len(), |(index, _)| index);
    line[..end].trim()
}

/// The versions of a tool in the files of version managers, the preferred first: those of the first file that has any.
fn tools(scope: &Scope<'_>, names: &Patterns) -> Result<Vec<Found>> {
    let directory = scope.tree.files().iter().filter(|entry| {
        entry.path.parent() == Some(Path::new(MISE_DIRECTORY)) && entry.path.extension().is_some_and(|e| e == "toml")
    });
    let directory = directory.filter_map(|entry| entry.path.to_str().map(str::to_owned));
    for file in MISE.map(str::to_owned).into_iter().chain(directory) {
        let Some(document) = scope.toml(&file)? else { continue };
        let found = in_table(scope, &file, document.get("tools").and_then(toml::Value::as_table), "tools.", names)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let text = scope.text(Path::new(TOOL_VERSIONS));
    for (index, line) in text.iter().flat_map(|text| text.lines().enumerate()) {
        let mut words = without_comment(line).split_whitespace();
        if let Some(name) = words.next().filter(|name| is_tool(name, names)) {
            let place = format!("{name} in {TOOL_VERSIONS}");
            let found = |word: &str| Found {
                text: word.to_owned(),
                file: TOOL_VERSIONS.to_owned(),
                line: Some(index + 1),
                place: place.clone(),
            };
            return Ok(words.map(found).collect());
        }
    }
    let document = scope.toml(PROTO_TOOLS)?;
    in_table(scope, PROTO_TOOLS, document.as_deref(), "", names)
}

/// The versions of a tool in a table of tools.
fn in_table(
    scope: &Scope<'_>,
    file: &str,
    table: Option<&toml::Table>,
    prefix: &str,
    names: &Patterns,
) -> Result<Vec<Found>> {
    let Some((name, value)) = table.and_then(|table| table.iter().find(|(name, _)| is_tool(name, names))) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for text in tool_versions(value) {
        let line = line_with(scope, file, name, &text);
        found.extend(keyed(file, &format!("{prefix}{name}"), line, text, None)?);
    }
    Ok(found)
}

/// Whether a version manager's word for a tool is one of these names. The word can say where the tool is from:
/// `core:NAME`, `aqua:OWNER/NAME`.
fn is_tool(word: &str, names: &Patterns) -> bool {
    let word = word.split('[').next().unwrap_or(word);
    let name = word.rsplit([':', '/']).next().unwrap_or(word);
    names.iter().any(|known| known == name)
}

/// The versions that a version manager's value asks for: of a text, a table or a list of these.
fn tool_versions(value: &toml::Value) -> Vec<String> {
    match value {
        toml::Value::Array(items) => items.iter().flat_map(tool_versions).collect(),
        toml::Value::Table(table) => {
            let prefixed = |key: &str| table.get(key).and_then(toml_text).map(|text| format!("{key}:{text}"));
            let version = table.get("version").and_then(toml_text);
            version.or_else(|| ["prefix", "ref", "path"].into_iter().find_map(prefixed)).into_iter().collect()
        }
        other => toml_text(other)
            .map(|text| if text.starts_with("{{") { format!("template:{text}") } else { text })
            .into_iter()
            .collect(),
    }
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
