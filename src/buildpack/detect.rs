use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;

use super::extract::{Expression, json, toml, toml_key};
use crate::{Error, Result, tree::Tree};

/// A question about the files of a source: a closed set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Predicate {
    /// There is a file at this path.
    File(String),
    /// There is a file whose path matches; `*` stays within a directory, `**` does not.
    Glob(String),
    /// A JSON file has something at this pointer that is neither null nor empty.
    Json { file: String, pointer: String },
    /// A TOML file has this dotted key.
    Toml { file: String, key: String },
    /// A file whose path matches the glob has a match; `^` and `$` are a line's.
    Text { glob: String, regex: Expression },
    /// All of these hold.
    All(Vec<Predicate>),
    /// One of these holds.
    Any(Vec<Predicate>),
    /// This does not hold.
    Not(Box<Predicate>),
}

impl Predicate {
    /// Whether it holds, and then why, e.g. `package.json found`. A negation has no words of its own.
    ///
    /// # Errors
    /// [`Error::SourceFile`] where a file that is asked about does not parse.
    pub fn holds(&self, tree: &Tree) -> Result<Option<String>> {
        Ok(match self {
            Predicate::File(path) => tree.exists(path).then(|| format!("{path} found")),
            Predicate::Glob(pattern) => {
                let glob = glob(pattern)?;
                let entry = tree.files().iter().find(|entry| glob.is_match(&entry.path));
                entry.map(|entry| format!("{} found", entry.path.display()))
            }
            Predicate::Json { file, pointer } => {
                let document = json(tree, file)?;
                let there = match document.as_ref().and_then(|document| document.pointer(pointer)) {
                    None | Some(serde_json::Value::Null) => false,
                    Some(serde_json::Value::String(text)) => !text.trim().is_empty(),
                    Some(serde_json::Value::Array(items)) => !items.is_empty(),
                    Some(serde_json::Value::Object(members)) => !members.is_empty(),
                    Some(_) => true,
                };
                there.then(|| format!("{} in {file}", pointer.trim_start_matches('/').replace('/', ".")))
            }
            Predicate::Toml { file, key } => {
                let document = toml(tree, file)?;
                document.is_some_and(|document| toml_key(&document, key).is_some()).then(|| format!("{key} in {file}"))
            }
            Predicate::Text { glob: pattern, regex } => {
                let (glob, regex) = (glob(pattern)?, regex.compile()?);
                let mut reason = None;
                for entry in tree.files().iter().filter(|entry| glob.is_match(&entry.path)) {
                    // A file too large to be read is no manifest.
                    let Ok(Some(text)) = tree.read_text(&entry.path) else { continue };
                    if let Some(found) = regex.find(&text) {
                        reason = Some(format!("{} in {}", found.as_str().trim(), entry.path.display()));
                        break;
                    }
                }
                reason
            }
            Predicate::All(predicates) => {
                let mut reasons = Vec::new();
                for predicate in predicates {
                    match predicate.holds(tree)? {
                        Some(reason) => reasons.push(reason),
                        None => return Ok(None),
                    }
                }
                reasons.retain(|reason| !reason.is_empty());
                Some(reasons.join(", "))
            }
            Predicate::Any(predicates) => {
                for predicate in predicates {
                    if let Some(reason) = predicate.holds(tree)? {
                        return Ok(Some(reason));
                    }
                }
                None
            }
            Predicate::Not(predicate) => predicate.holds(tree)?.is_none().then(String::new),
        })
    }

    /// What is looked for, in words: `package.json`, `*.go or main.py`.
    pub fn looked_for(&self) -> String {
        let join = |predicates: &[Predicate], word: &str| {
            let words = predicates.iter().map(Predicate::looked_for).filter(|words| !words.is_empty());
            words.collect::<Vec<_>>().join(word)
        };
        match self {
            Predicate::File(path) | Predicate::Glob(path) => path.clone(),
            Predicate::Json { file, pointer } => {
                format!("{} in {file}", pointer.trim_start_matches('/').replace('/', "."))
            }
            Predicate::Toml { file, key } => format!("{key} in {file}"),
            Predicate::Text { glob, regex } => format!("{} in {glob}", regex.as_str()),
            Predicate::All(predicates) => join(predicates, " with "),
            Predicate::Any(predicates) => join(predicates, " or "),
            Predicate::Not(_) => String::new(),
        }
    }
}

/// A glob in which `*` does not cross directories.
pub(super) fn glob(pattern: &str) -> Result<GlobMatcher> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| {
        Error::Buildpack(format!("a buildpack has a malformed glob: {error}"), "correct its buildpack.toml".to_owned())
    })
}
