use std::{path::Path, sync::OnceLock};

use globset::GlobMatcher;
use regex::Regex;
use serde::Deserialize;

use super::{
    detect::{Predicate, glob},
    paas_toml::PAAS_TOML,
    scope::Scope,
};
use crate::{Error, Result, error::SourceError, tree::Tree};

/// How a text is found in the files of a source: a closed set, and each knows its place for a message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Extractor {
    /// The first line of a file that is neither blank nor a `#` comment.
    Line(String),
    /// A string or number in a JSON file, by JSON pointer; with `regex`, its first group. Where the file is a pattern,
    /// nothing unless exactly one of the files has it.
    Json { file: Words, pointer: String, regex: Option<Expression> },
    /// A string or number in a TOML file, by a dotted key; with `regex`, its first group. Of an array it is the first
    /// item, of a table its `version`.
    Toml { file: String, key: String, regex: Option<Expression> },
    /// The first group of the first match in the first of the files that has one; `^` and `$` are a line's.
    Regex {
        file: Words,
        regex: Expression,
        /// Only files that have one of these beside them, as paths from their own directory.
        beside: Option<Words>,
        /// Nothing where the matches of all the files differ.
        #[serde(default)]
        unique: bool,
    },
    /// The first group of the paths that match, and whose text does, if that is asked. Nothing where they differ in
    /// it, unless the first will do.
    Path {
        glob: Words,
        regex: Expression,
        text: Option<Expression>,
        #[serde(default)]
        first: bool,
        /// What is put in the place of what in the result.
        replace: Option<(String, String)>,
    },
    /// A tool's version in `.tool-versions` or `mise.toml`, under one of these names.
    Tool(Words),
    /// What `paas.toml` says under this key below `[build]`: `static`.
    Setting(String),
    /// A value of this buildpack.
    Value(String),
    /// A text of the buildpack's own, where something holds.
    Implied { by: Box<Predicate>, is: String },
    /// What another extractor finds, where something holds.
    Given { that: Box<Predicate>, find: Box<Extractor> },
}

/// One word or several: paths, patterns of paths, names. Patterns are compiled when they are asked.
#[derive(Debug, Deserialize)]
#[serde(from = "OneOrMany")]
pub(super) struct Words {
    words: Vec<String>,
    compiled: OnceLock<Vec<Option<GlobMatcher>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Words {
    fn from(words: OneOrMany) -> Words {
        let words = match words {
            OneOrMany::One(word) => vec![word],
            OneOrMany::Many(words) => words,
        };
        Words { words, compiled: OnceLock::new() }
    }
}

impl Words {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    /// The words for a message: `a, b`.
    pub fn join(&self) -> String {
        self.words.join(", ")
    }

    /// The words as patterns of paths; one that is a plain path has no matcher.
    pub fn patterns(&self) -> Result<impl Iterator<Item = (&str, Option<&GlobMatcher>)>> {
        let compiled = match self.compiled.get() {
            Some(compiled) => compiled,
            None => {
                let plain = |word: &str| !word.contains(['*', '?', '[', '{']);
                let compiled = self.iter().map(|word| if plain(word) { Ok(None) } else { glob(word).map(Some) });
                let compiled = compiled.collect::<Result<_>>()?;
                self.compiled.get_or_init(|| compiled)
            }
        };
        Ok(self.iter().zip(compiled.iter().map(Option::as_ref)))
    }
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

/// A regular expression in a `buildpack.toml`, where `^` and `$` match at lines. It is compiled when it is asked.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(super) struct Expression {
    text: String,
    compiled: OnceLock<Regex>,
}

impl From<String> for Expression {
    fn from(text: String) -> Expression {
        Expression { text, compiled: OnceLock::new() }
    }
}

impl Expression {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn compile(&self) -> Result<&Regex> {
        if let Some(regex) = self.compiled.get() {
            return Ok(regex);
        }
        let regex = regex::RegexBuilder::new(&self.text).multi_line(true).crlf(true).build().map_err(|error| {
            Error::Source(SourceError::Buildpack {
                message: format!("a buildpack has a malformed regular expression: {error}"),
            })
        })?;
        Ok(self.compiled.get_or_init(|| regex))
    }
}

/// Where tools of all kinds have their versions, as a line a tool.
const TOOL_VERSIONS: &str = ".tool-versions";
/// Where they have them in TOML, below `tools`.
const MISE: [&str; 4] = ["mise.toml", ".mise.toml", "mise/config.toml", ".config/mise.toml"];

impl Extractor {
    /// Looks for the text; nothing where the file, the key or the match is missing or empty.
    ///
    /// # Errors
    /// `SourceError::File` where the file does not parse.
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
                    // A file that is only perhaps of interest may be no good JSON.
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
            Extractor::Value(name) => scope.value(name)?,
            Extractor::Implied { by, is } => by.holds(scope)?.map(|reason| Found {
                text: is.clone(),
                file: reason.clone(),
                line: None,
                place: reason,
            }),
            Extractor::Given { that, find } => match that.holds(scope)? {
                Some(_) => find.find(scope)?,
                None => None,
            },
        };
        Ok(found.filter(|found| !found.text.trim().is_empty()))
    }

    /// Calls back with every predicate and expression inside, for a check of the buildpack.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(Part<'a>)) {
        match self {
            Extractor::Json { regex, file, .. } => {
                regex.iter().for_each(|regex| visit(Part::Expression(regex)));
                file.iter().for_each(|pattern| visit(Part::Glob(pattern)));
            }
            Extractor::Toml { regex, .. } => {
                regex.iter().for_each(|regex| visit(Part::Expression(regex)));
            }
            Extractor::Regex { file, regex, .. } => {
                visit(Part::Expression(regex));
                file.iter().for_each(|pattern| visit(Part::Glob(pattern)));
            }
            Extractor::Path { glob, regex, text, .. } => {
                visit(Part::Expression(regex));
                text.iter().for_each(|regex| visit(Part::Expression(regex)));
                glob.iter().for_each(|pattern| visit(Part::Glob(pattern)));
            }
            Extractor::Implied { by, .. } => by.visit(visit),
            Extractor::Given { that, find } => {
                that.visit(visit);
                find.visit(visit);
            }
            Extractor::Value(name) => visit(Part::Value(name)),
            Extractor::Line(_) | Extractor::Tool(_) | Extractor::Setting(_) => {}
        }
    }
}

/// What a buildpack's predicates and extractors are made of, for [`Extractor::visit`].
pub(super) enum Part<'a> {
    Expression(&'a Expression),
    Glob(&'a str),
    Fact(&'a str),
    Choice(&'a str, &'a str),
    Version(&'a str),
    Value(&'a str),
}

/// Whether a path is one of the words itself, and no match of a pattern.
fn self_names(words: &Words, path: &str) -> bool {
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

/// What was found under a key of a document: with its line, where that can be told, and cut to a group.
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

/// A tool's version where tools of all kinds have theirs.
fn tool(scope: &Scope<'_>, names: &Words) -> Result<Option<Found>> {
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

/// A JSON file, or nothing where there is none. One whose name ends in `.jsonc` may have comments.
pub(super) fn json(tree: &Tree, file: &str) -> Result<Option<serde_json::Value>> {
    let Some(mut text) = tree.read_text(file)? else { return Ok(None) };
    if file.ends_with(".jsonc") {
        text = without_comments(&text);
    }
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Error::Source(SourceError::File {
            file: file.to_owned(),
            line: Some(error.line()).filter(|line| *line > 0),
            message: format!("it is not good JSON: {}", without_place(&error)),
            hint: format!("correct {file}, commit and push again"),
        })
    })
}

/// A TOML file, or nothing where there is none.
pub(super) fn toml(tree: &Tree, file: &str) -> Result<Option<toml::Table>> {
    let Some(text) = tree.read_text(file)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error: toml::de::Error| {
        Error::Source(SourceError::File {
            file: file.to_owned(),
            line: error.span().map(|span| line_of(&text, span.start)),
            message: format!("it is not good TOML: {}", error.message()),
            hint: format!("correct {file}, commit and push again"),
        })
    })
}

/// The value at a dotted key.
pub(super) fn toml_key<'a>(document: &'a toml::Table, key: &str) -> Option<&'a toml::Value> {
    let mut keys = key.split('.');
    let mut value = document.get(keys.next()?)?;
    for key in keys {
        value = value.get(key)?;
    }
    Some(value)
}

/// A value as a text; of an array its first item, of a table its `version`.
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

/// The number of the line that a byte is in, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// JSON without `//` and `/* */` comments and without commas before a closing bracket; its lines stay where they are.
fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match (character, rest.peek()) {
            ('"', _) => {
                plain.push('"');
                while let Some(inside) = rest.next() {
                    plain.push(inside);
                    match inside {
                        '\\' => plain.extend(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ('/', Some('/')) => while rest.next_if(|next| *next != '\n').is_some() {},
            ('/', Some('*')) => {
                rest.next();
                let mut before = ' ';
                for inside in rest.by_ref() {
                    if inside == '\n' {
                        plain.push('\n');
                    }
                    if (before, inside) == ('*', '/') {
                        break;
                    }
                    before = inside;
                }
            }
            (']' | '}', _) => {
                let kept = plain.trim_end();
                if kept.ends_with(',') {
                    let comma = kept.len() - 1;
                    plain.replace_range(comma..=comma, "");
                }
                plain.push(character);
            }
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_left_out_of_json() {
        let text = "{ // one\n\"a\": \"// no \\\" /* comment */\", /* two\nlines */ \"b\": [1, 2, ],\n}";
        let document: serde_json::Value = serde_json::from_str(&without_comments(text)).unwrap();
        assert_eq!(document, serde_json::json!({ "a": "// no \" /* comment */", "b": [1, 2] }));
        assert_eq!(without_comments(text).lines().count(), text.lines().count());
    }
}
