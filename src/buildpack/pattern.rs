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

/// How large a compiled regular expression may be, in bytes.
const COMPILED_LIMIT: usize = 2 << 20;
/// How long all globs may be together, in bytes: a repository can have as many as it likes, and a compiled one takes up to
/// 3 kB of memory for each of its characters.
const GLOBS_LIMIT: usize = 256 << 10;

/// One word or several: paths, patterns of paths, names. Patterns are compiled when they are first used.
#[derive(Debug, Deserialize)]
#[serde(from = "OneOrMany")]
pub(super) struct Patterns {
    words: Vec<String>,
    compiled: OnceLock<Vec<Option<GlobMatcher>>>,
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
        Patterns { words, compiled: OnceLock::new() }
    }
}

impl Patterns {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    /// Whether a path is one of the words, or matches one.
    pub fn matches(&self, path: &Path) -> Result<bool> {
        Ok(self.patterns()?.any(|(word, glob)| match glob {
            Some(glob) => glob.is_match(path),
            None => path == Path::new(word),
        }))
    }

    /// The words for a message: `a, b`.
    pub fn join(&self) -> String {
        self.words.join(", ")
    }

    /// The words as patterns of paths; a plain path has no matcher.
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

    pub fn compile(&self) -> Result<&Regex> {
        if let Some(regex) = self.compiled.get() {
            return Ok(regex);
        }
        static KNOWN: Known<Regex> = Known::new();
        let regex = KNOWN.get_or_compile(&self.text, || {
            let regex = regex::RegexBuilder::new(&self.text).multi_line(true).crlf(true).size_limit(COMPILED_LIMIT).build();
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
        if KNOWN.length() + pattern.len() > GLOBS_LIMIT {
            let message = format!("the globs are longer than {GLOBS_LIMIT} bytes together, the limit for them");
            return Err(wrong_manifest(message));
        }
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

    /// How long all texts are together.
    fn length(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().map(String::len).sum()
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
