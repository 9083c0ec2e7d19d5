//! The leaves of the grammar of a `buildpack.toml`: words, patterns of paths and regular expressions, each compiled
//! when it is first used.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
};

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;
use serde::Deserialize;

use super::wrong_manifest;
use crate::Result;

/// One word or several: paths, patterns of paths, names.
#[derive(Debug, Deserialize)]
#[serde(from = "OneOrMany")]
pub(super) struct Patterns(Vec<Pattern>);

/// A path, or a pattern of paths. A pattern is compiled when a path is first held against it: that takes far longer
/// than the comparison, and most buildpacks never see a file that could match.
#[derive(Debug)]
pub(super) struct Pattern {
    word: String,
    compiled: OnceLock<GlobMatcher>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Patterns {
    fn from(words: OneOrMany) -> Patterns {
        let words = match words {
            OneOrMany::One(word) => vec![word],
            OneOrMany::Many(words) => words,
        };
        Patterns(words.into_iter().map(|word| Pattern { word, compiled: OnceLock::new() }).collect())
    }
}

impl Patterns {
    /// The words as they are written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Pattern::as_str)
    }

    /// The words as patterns.
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// Whether a path is one of the words, or matches one.
    pub fn matches(&self, path: &Path) -> Result<bool> {
        for pattern in &self.0 {
            if pattern.matches(path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The words for a message: `a, b`.
    pub fn join(&self) -> String {
        self.iter().collect::<Vec<_>>().join(", ")
    }
}

impl Pattern {
    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.word
    }

    /// Whether it is the path of one file.
    pub fn is_plain(&self) -> bool {
        !self.word.contains(['*', '?', '[', '{'])
    }

    /// Whether a path is this one, or matches.
    pub fn matches(&self, path: &Path) -> Result<bool> {
        if self.is_plain() {
            return Ok(path == Path::new(&self.word));
        }
        let compiled = match self.compiled.get() {
            Some(compiled) => compiled,
            None => {
                let compiled = glob(&self.word)?;
                self.compiled.get_or_init(|| compiled)
            }
        };
        Ok(compiled.is_match(path))
    }
}

/// A regular expression in a `buildpack.toml`, where `^` and `$` match at lines. It is compiled when it is first used.
#[derive(Clone, Debug, Deserialize)]
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

    /// Whether it matches a text. One that does not compile matches none: a buildpack that has such a one is refused.
    pub fn holds_for(&self, text: &str) -> bool {
        self.compile().is_ok_and(|regex| regex.is_match(text))
    }

    /// The expression itself. Ask for it only when there is a text: to compile it takes longer than to look through most
    /// files.
    ///
    /// # Errors
    /// That of a wrong manifest if it is malformed.
    pub fn compile(&self) -> Result<&Regex> {
        if let Some(regex) = self.compiled.get() {
            return Ok(regex);
        }
        static KNOWN: Known<Regex> = Known::new();
        let regex = KNOWN.get_or_compile(&self.text, || {
            let regex = regex::RegexBuilder::new(&self.text).multi_line(true).crlf(true).build();
            regex.map_err(|error| wrong_manifest(format!("a buildpack has a malformed regular expression: {error}")))
        })?;
        Ok(self.compiled.get_or_init(|| regex))
    }
}

/// A part of a predicate or an extractor that can be malformed, for their `visit`.
pub(super) enum Reference<'a> {
    Expression(&'a Expression),
    Glob(&'a str),
    Fact(&'a str),
    /// A choice, and one of its options.
    Choice(&'a str, Option<&'a str>),
    Version(&'a str),
    Value(&'a str),
}

/// A glob in which `*` does not cross directories.
pub(super) fn glob(pattern: &str) -> Result<GlobMatcher> {
    static KNOWN: Known<GlobMatcher> = Known::new();
    KNOWN.get_or_compile(pattern, || {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        glob.map(|glob| glob.compile_matcher())
            .map_err(|error| wrong_manifest(format!("a buildpack has a malformed glob: {error}")))
    })
}

/// What was compiled, by its text. Buildpacks repeat their patterns, and compiling one takes as long as looking through
/// hundreds of files with it.
struct Known<T>(Mutex<BTreeMap<String, T>>);

impl<T: Clone> Known<T> {
    const fn new() -> Known<T> {
        Known(Mutex::new(BTreeMap::new()))
    }

    fn get_or_compile(&self, text: &str, compile: impl FnOnce() -> Result<T>) -> Result<T> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = known().get(text) {
            return Ok(compiled.clone());
        }
        let compiled = compile()?;
        known().insert(text.to_owned(), compiled.clone());
        Ok(compiled)
    }
}
