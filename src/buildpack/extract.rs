use regex::Regex;
use serde::Deserialize;

use super::detect::glob;
use crate::{Error, Result, tree::Tree};

/// How a text is found in the files of a source: a closed set, and each knows its place for a message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Extractor {
    /// The first line of a file that is neither blank nor a `#` comment.
    Line(String),
    /// A string or number in a JSON file, by JSON pointer.
    Json { file: String, pointer: String },
    /// A string or number in a TOML file, by a dotted key.
    Toml { file: String, key: String },
    /// The first group of the first match in a file; `^` and `$` are a line's.
    Regex { file: String, regex: Expression },
    /// The first group of the paths that match; nothing where they differ in it.
    Path { glob: String, regex: Expression },
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
#[serde(transparent)]
pub(super) struct Expression(String);

impl Expression {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn compile(&self) -> Result<Regex> {
        regex::RegexBuilder::new(&self.0).multi_line(true).crlf(true).build().map_err(|error| {
            Error::Buildpack(
                format!("a buildpack has a malformed regular expression: {error}"),
                "correct its buildpack.toml".to_owned(),
            )
        })
    }
}

impl Extractor {
    /// Looks for the text; nothing where the file, the key or the match is missing or empty.
    ///
    /// # Errors
    /// [`Error::SourceFile`] where the file does not parse.
    pub fn find(&self, tree: &Tree) -> Result<Option<Found>> {
        let found = match self {
            Extractor::Line(file) => tree.read_text(file)?.and_then(|text| {
                let (index, line) = text
                    .lines()
                    .enumerate()
                    .map(|(index, line)| (index, line.trim()))
                    .find(|(_, line)| !line.is_empty() && !line.starts_with('#'))?;
                Some(Found { text: line.to_owned(), file: file.clone(), line: Some(index + 1), place: file.clone() })
            }),
            Extractor::Json { file, pointer } => json(tree, file)?.and_then(|document| {
                let text = match document.pointer(pointer)? {
                    serde_json::Value::String(text) => text.clone(),
                    serde_json::Value::Number(number) => number.to_string(),
                    _ => return None,
                };
                let key = pointer.trim_start_matches('/').replace('/', ".");
                Some(Found { text, file: file.clone(), line: None, place: format!("{key} in {file}") })
            }),
            Extractor::Toml { file, key } => toml(tree, file)?.and_then(|document| {
                let text = match toml_key(&document, key)? {
                    toml::Value::String(text) => text.clone(),
                    toml::Value::Integer(number) => number.to_string(),
                    toml::Value::Float(number) => number.to_string(),
                    _ => return None,
                };
                Some(Found { text, file: file.clone(), line: None, place: format!("{key} in {file}") })
            }),
            Extractor::Regex { file, regex } => {
                let Some(text) = tree.read_text(file)? else { return Ok(None) };
                let regex = regex.compile()?;
                regex.captures(&text).and_then(|captures| captures.get(1)).map(|group| Found {
                    text: group.as_str().to_owned(),
                    file: file.clone(),
                    line: Some(line_of(&text, group.start())),
                    place: file.clone(),
                })
            }
            Extractor::Path { glob: pattern, regex } => {
                let (glob, regex) = (glob(pattern)?, regex.compile()?);
                let mut all = tree.files().iter().filter(|entry| glob.is_match(&entry.path)).filter_map(|entry| {
                    let path = entry.path.to_str()?;
                    let text = regex.captures(path)?.get(1)?.as_str().to_owned();
                    Some(Found { text, file: path.to_owned(), line: None, place: path.to_owned() })
                });
                all.next().filter(|first| all.all(|other| other.text == first.text))
            }
        };
        Ok(found.filter(|found| !found.text.trim().is_empty()))
    }
}

/// A JSON file, or nothing where there is none.
pub(super) fn json(tree: &Tree, file: &str) -> Result<Option<serde_json::Value>> {
    let Some(text) = tree.read_text(file)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| Error::SourceFile {
        file: file.to_owned(),
        line: Some(error.line()).filter(|line| *line > 0),
        message: format!("it is not good JSON: {}", without_place(&error)),
        hint: format!("correct {file}, commit and push again"),
    })
}

/// A TOML file, or nothing where there is none.
pub(super) fn toml(tree: &Tree, file: &str) -> Result<Option<toml::Table>> {
    let Some(text) = tree.read_text(file)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error: toml::de::Error| Error::SourceFile {
        file: file.to_owned(),
        line: error.span().map(|span| line_of(&text, span.start)),
        message: format!("it is not good TOML: {}", error.message()),
        hint: format!("correct {file}, commit and push again"),
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

/// The number of the line that a byte is in, counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}
