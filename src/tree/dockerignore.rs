//! `.dockerignore`, read as Docker reads it: patterns are anchored at the root, `**` crosses directories, the last
//! pattern that matches wins, and a pattern that matches a directory holds for all below it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use regex::Regex;

use crate::{Error, Result, error::SourceError};

/// Up to this many bytes, the expression of a pattern without a class is never too large to be compiled.
const CERTAINLY_COMPILES: usize = 1_000;

/// The patterns of a `.dockerignore`.
#[derive(Clone, Debug, Default)]
pub struct DockerIgnore {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    shape: Shape,
    exception: bool,
}

/// What a pattern matches. To compile an expression takes longer than to plan a small app, so the plain ones have none.
#[derive(Clone, Debug)]
enum Shape {
    /// One path.
    Path(String),
    /// A name in any directory: `**/NAME`.
    Name(String),
    /// All else, compiled when a path is first held against it.
    Expression(Arc<Expression>),
}

#[derive(Debug)]
struct Expression {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Shape {
    /// The shape of a clean pattern; `None` if it is malformed.
    fn parse(pattern: &str) -> Option<Shape> {
        let is_plain = |text: &str| !text.is_empty() && !text.contains(['*', '?', '[', '\\']);
        if is_plain(pattern) {
            return Some(Shape::Path(pattern.to_owned()));
        }
        if let Some(name) = pattern.strip_prefix("**/").filter(|name| is_plain(name)) {
            return Some(Shape::Name(name.to_owned()));
        }
        let expression = Expression { text: expression(pattern)?, compiled: OnceLock::new() };
        // Only a class can be malformed, and only a long pattern can be too large.
        if (pattern.contains('[') || pattern.len() > CERTAINLY_COMPILES) && expression.regex().is_none() {
            return None;
        }
        Some(Shape::Expression(Arc::new(expression)))
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Shape::Path(this) => path == this,
            Shape::Name(name) => {
                path.strip_suffix(name.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('/'))
            }
            Shape::Expression(expression) => expression.regex().is_some_and(|regex| regex.is_match(path)),
        }
    }
}

impl Expression {
    fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref()
    }
}

impl DockerIgnore {
    /// Patterns that do not exclude any file.
    pub fn none() -> DockerIgnore {
        DockerIgnore::default()
    }

    /// Reads patterns, one a line; errors refer to `file`.
    ///
    /// # Errors
    /// `SourceError::File` if a pattern is malformed, with its line.
    pub fn parse(file: &str, text: &str) -> Result<DockerIgnore> {
        let mut patterns = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            // Only a `#` in the first column makes a comment.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let line = line.trim();
            let (exception, text) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let malformed = |message: String| {
                Error::Source(SourceError::File {
                    file: file.to_owned(),
                    line: Some(index + 1),
                    message,
                    hint: "docs.docker.com/build/concepts/context describes the patterns of .dockerignore".to_owned(),
                })
            };
            if text.is_empty() {
                return Err(malformed("`!` without a pattern after it".to_owned()));
            }
            let pattern = clean(text);
            let pattern = pattern.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&pattern);
            let shape = Shape::parse(pattern).ok_or_else(|| malformed(format!("the pattern {line:?} is malformed")))?;
            patterns.push(Pattern { shape, exception });
        }
        Ok(DockerIgnore { patterns })
    }

    /// These patterns, followed by `later`, which take precedence.
    #[must_use]
    pub fn then(mut self, later: DockerIgnore) -> DockerIgnore {
        self.patterns.extend(later.patterns);
        self
    }

    /// These patterns, except that one path is always kept.
    #[must_use]
    pub fn except(mut self, path: &str) -> DockerIgnore {
        self.patterns.push(Pattern { shape: Shape::Path(path.to_owned()), exception: true });
        self
    }

    /// Decides for one path after another whether it is left out; quickest if the paths are sorted.
    pub fn matcher(&self) -> Matcher<'_> {
        Matcher { ignore: self, parent: PathBuf::new(), parent_matches: vec![false; self.patterns.len()] }
    }

    /// Whether a file is left out.
    pub fn excludes(&self, path: &Path) -> bool {
        self.matcher().excludes(path)
    }
}

/// What [`DockerIgnore::matcher`] returns: it remembers what matched the directory of the last path.
#[derive(Debug)]
pub struct Matcher<'a> {
    ignore: &'a DockerIgnore,
    parent: PathBuf,
    parent_matches: Vec<bool>,
}

impl Matcher<'_> {
    /// Whether a file is left out.
    pub fn excludes(&mut self, path: &Path) -> bool {
        let patterns = &self.ignore.patterns;
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent != self.parent {
            self.parent = parent.to_owned();
            let ancestors: Vec<_> = parent
                .ancestors()
                .filter(|ancestor| !ancestor.as_os_str().is_empty())
                .map(Path::to_string_lossy)
                .collect();
            self.parent_matches = patterns
                .iter()
                .map(|pattern| ancestors.iter().any(|ancestor| pattern.shape.matches(ancestor)))
                .collect();
        }
        let path = path.to_string_lossy();
        let mut excluded = false;
        for (pattern, parent_matches) in patterns.iter().zip(&self.parent_matches) {
            // A pattern that would change nothing need not be tried.
            if pattern.exception == excluded && (*parent_matches || pattern.shape.matches(&path)) {
                excluded = !pattern.exception;
            }
        }
        excluded
    }
}

/// A path without `.`, `..`, doubled and trailing slashes: what Go's `path.Clean` does.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => drop(parts.pop()),
                _ if rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

/// The regular expression of a pattern; `None` if it is malformed. The rules are those of moby/patternmatcher.
fn expression(pattern: &str) -> Option<String> {
    let mut expression = String::from("^");
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' if characters.next_if_eq(&'*').is_some() => {
                characters.next_if_eq(&'/');
                // `**` crosses any number of directories, including none; at the end it matches everything.
                expression.push_str(if characters.peek().is_none() { ".*" } else { "(?:.*/)?" });
            }
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' => {
                expression.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    expression.push('^');
                }
                let mut members = 0;
                loop {
                    match characters.next()? {
                        ']' if members > 0 => break,
                        '-' => expression.push('-'),
                        '\\' => expression.push_str(&regex::escape(&characters.next()?.to_string())),
                        member => expression.push_str(&escape_in_class(member)),
                    }
                    members += 1;
                }
                expression.push(']');
            }
            '\\' => expression.push_str(&regex::escape(&characters.next()?.to_string())),
            other => expression.push_str(&regex::escape(&other.to_string())),
        }
    }
    expression.push('$');
    Some(expression)
}

fn escape_in_class(character: char) -> String {
    if character.is_alphanumeric() { character.to_string() } else { regex::escape(&character.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignore(text: &str) -> DockerIgnore {
        DockerIgnore::parse(".dockerignore", text).unwrap()
    }

    /// Which of the paths are left out.
    fn excluded<'a>(text: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignore = ignore(text);
        let mut matcher = ignore.matcher();
        paths.iter().copied().filter(|path| matcher.excludes(Path::new(path))).collect()
    }

    #[test]
    fn patterns_are_anchored_at_the_root() {
        let paths = ["a", "b/a", "b/c/a", "a/x", "ab"];
        assert_eq!(excluded("a", &paths), ["a", "a/x"]);
        assert_eq!(excluded("/a", &paths), ["a", "a/x"]);
        assert_eq!(excluded("a/", &paths), ["a", "a/x"]);
        assert_eq!(excluded("./a", &paths), ["a", "a/x"]);
        assert_eq!(excluded("x/../a", &paths), ["a", "a/x"]);
        assert_eq!(excluded("*/a", &paths), ["b/a"]);
        assert_eq!(excluded("*/*/a", &paths), ["b/c/a"]);
    }

    #[test]
    fn two_stars_cross_directories() {
        let paths = ["a.log", "b/a.log", "b/c/a.log", "a.logs"];
        assert_eq!(excluded("**/*.log", &paths), ["a.log", "b/a.log", "b/c/a.log"]);
        assert_eq!(excluded("*.log", &paths), ["a.log"]);
        assert_eq!(excluded("b/**", &paths), ["b/a.log", "b/c/a.log"]);
        assert_eq!(excluded("**", &paths), paths);
        assert_eq!(excluded("**/c", &paths), ["b/c/a.log"]);
        assert_eq!(excluded("b/**/a.log", &paths), ["b/a.log", "b/c/a.log"]);
    }

    #[test]
    fn the_last_match_wins() {
        let paths = ["README.md", "a.md", "docs/a.md", "docs/b.md"];
        assert_eq!(excluded("*.md\n!README.md", &paths), ["a.md"]);
        assert_eq!(excluded("!README.md\n*.md", &paths), ["README.md", "a.md"]);
        assert_eq!(excluded("*\n!docs", &paths), ["README.md", "a.md"]);
        assert_eq!(excluded("docs\n!docs/a.md", &paths), ["docs/b.md"]);
        assert_eq!(excluded("*\n!docs\ndocs/b.md", &paths), ["README.md", "a.md", "docs/b.md"]);
        assert_eq!(excluded("docs\n! /docs/a.md", &paths), ["docs/b.md"]);
        assert_eq!(excluded("**\n!**/a.md", &paths), ["README.md", "docs/b.md"]);
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        let paths = ["#a", "a", "b"];
        assert_eq!(excluded("#a\n\n   \nb", &paths), ["b"]);
        // A `#` that is not in the first column is part of a pattern.
        assert_eq!(excluded(" #a", &paths), ["#a"]);
        assert_eq!(excluded("\u{feff}a\r\nb  \r\n", &paths), ["a", "b"]);
    }

    #[test]
    fn wildcards_stay_within_a_name() {
        let paths = ["temp1", "tempa", "temp12", "temp/1", "a+b", "a.b", "axb"];
        assert_eq!(excluded("temp?", &paths), ["temp1", "tempa"]);
        assert_eq!(excluded("temp[0-9]", &paths), ["temp1"]);
        assert_eq!(excluded("temp[^0-9]", &paths), ["tempa"]);
        assert_eq!(excluded("temp*", &paths), ["temp1", "tempa", "temp12", "temp/1"]);
        assert_eq!(excluded("a+b", &paths), ["a+b"]);
        assert_eq!(excluded("a.b", &paths), ["a.b"]);
        assert_eq!(excluded(r"a\.b", &paths), ["a.b"]);
        assert_eq!(excluded(r"temp\*", &paths), [""; 0]);
    }

    #[test]
    fn the_root_itself_leaves_nothing_out() {
        for text in [".", "/", "..", "../a", ""] {
            assert_eq!(excluded(text, &["a", "b/c"]), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn malformed_patterns_are_named_with_their_line() {
        for bad in ["!", "a[", "[]", r"a\", "[a-"] {
            let error = DockerIgnore::parse(".dockerignore", &format!("ok\n{bad}")).unwrap_err();
            assert!(matches!(error, Error::Source(SourceError::File { line: Some(2), .. })), "{bad:?}: {error}");
        }
    }

    #[test]
    fn later_patterns_have_the_last_word() {
        let both = ignore("node_modules").then(ignore("!node_modules/keep"));
        assert!(both.excludes(Path::new("node_modules/a")));
        assert!(!both.excludes(Path::new("node_modules/keep")));
    }
}
