//! What a `buildpack.toml` can ask about a source. The grammar is recursive: a predicate can ask whether an extractor
//! (`extract`) finds something, and an extractor can depend on a predicate. So these two files refer to each other; the
//! parts that both are made of are in `pattern` and `document`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    document::{dotted, pointed, toml_key},
    extract::Extractor,
    pattern::{Expression, Patterns, Reference},
    range::{Fit, Range},
    scope::{Answer, Scope},
    wrong_manifest,
};
use crate::Result;

/// A question about a source: a closed set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Predicate {
    /// There is a file at one of these paths.
    File(Patterns),
    /// There is a file whose path matches one of these; `*` stays within a directory, `**` does not.
    Glob(Patterns),
    /// A JSON file has a value at this pointer (see `document::pointed`) that is not null, false or empty; with `regex`,
    /// a text that matches.
    Json { file: String, pointer: String, regex: Option<Expression> },
    /// A TOML file has this dotted key; with `regex`, its text matches.
    Toml { file: String, key: String, regex: Option<Expression> },
    /// A file whose path matches one of the globs has a match; `^` and `$` match at line ends.
    Text { glob: Patterns, regex: Expression },
    /// The source depends on one of these.
    Dependency(Patterns),
    /// An extractor finds something.
    Found(Box<Extractor>),
    /// A fact of this buildpack holds.
    Fact(String),
    /// These were chosen, e.g. `{ manager = "pnpm" }`.
    Chosen(BTreeMap<String, Patterns>),
    /// The version of something is in a range, e.g. `{ node = ">=25" }`.
    Version(BTreeMap<String, String>),
    /// `paas.toml` has one of these keys below `[build]`: `install`, `build`, `static`, `program`.
    Set(Patterns),
    /// A command line that the source sets runs a command that matches. `of` says which lines: `web` (its last command,
    /// which stays), `processes` (all of them, and the release command), `build`, or `another`: all lines of a source
    /// of another buildpack, for which this one only builds a part.
    Command { of: Patterns, regex: Expression },
    /// All of these hold.
    All(Vec<Predicate>),
    /// One of these holds.
    Any(Vec<Predicate>),
    /// This does not hold.
    Not(Box<Predicate>),
    /// Whether the app is a member of a workspace and needs others built before it.
    Needs(bool),
    /// The app is a member of a workspace, and this holds at the workspace's root.
    Root(Box<Predicate>),
}

impl Predicate {
    /// Whether it holds, and if so why, e.g. `package.json found`. The reason of a negation is empty.
    ///
    /// # Errors
    /// `SourceError::File` if a file it reads does not parse.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<Answer> {
        Ok(match self {
            Predicate::File(paths) => paths
                .iter()
                .map(|path| scope.stand_in(path))
                .find(|path| scope.tree.exists(path))
                .map(|path| format!("{path} found")),
            Predicate::Glob(patterns) => {
                scope.matching(patterns)?.first().map(|entry| format!("{} found", entry.path.display()))
            }
            Predicate::Json { file, pointer, regex } => {
                let file = scope.stand_in(file);
                let document = scope.json(file)?;
                let value = document.as_ref().and_then(|document| pointed(document, pointer));
                let there = match value {
                    None | Some(serde_json::Value::Null | serde_json::Value::Bool(false)) => false,
                    Some(serde_json::Value::String(text)) => !text.trim().is_empty(),
                    Some(serde_json::Value::Array(items)) => !items.is_empty(),
                    Some(serde_json::Value::Object(members)) => !members.is_empty(),
                    Some(_) => true,
                };
                let text = value.and_then(serde_json::Value::as_str).unwrap_or_default();
                (there && matches(regex.as_ref(), text)?).then(|| format!("{} in {file}", dotted(pointer)))
            }
            Predicate::Toml { file, key, regex } => {
                let document = scope.toml(file)?;
                let value = document.as_ref().and_then(|document| toml_key(document, key));
                let text = value.and_then(toml::Value::as_str).unwrap_or_default();
                (value.is_some() && matches(regex.as_ref(), text)?).then(|| format!("{key} in {file}"))
            }
            Predicate::Text { glob, regex } => {
                let mut reason = None;
                for entry in scope.matching(glob)? {
                    let Some(text) = scope.text_of(glob, &entry.path) else { continue };
                    if let Some(found) = regex.compile()?.find(&text) {
                        let shown = found.as_str().trim().lines().next().unwrap_or_default();
                        reason = Some(format!("{shown} in {}", entry.path.display()));
                        break;
                    }
                }
                reason
            }
            Predicate::Dependency(names) => scope.dependencies()?.first_of(names),
            Predicate::Found(extractor) => extractor.find(scope)?.map(|found| format!("{} found", found.place)),
            Predicate::Fact(name) => scope.fact(name)?,
            Predicate::Chosen(choices) => {
                let mut reasons = Vec::new();
                for (name, wanted) in choices {
                    let chosen = scope.choice(name)?;
                    if !wanted.iter().any(|wanted| wanted == chosen.option) {
                        return Ok(None);
                    }
                    reasons.push(chosen.reason);
                }
                Some(reasons.join(", "))
            }
            Predicate::Version(versions) => {
                let mut reasons = Vec::new();
                for (name, range) in versions {
                    let malformed = || wrong_manifest(format!("a buildpack has a malformed version range: {range}"));
                    let range = Range::parse(range).ok_or_else(malformed)?;
                    let version = scope.version(name)?;
                    match version {
                        Some(version) if range.fit(&version.version) != Fit::None => {
                            reasons.push(format!("{} {}", version.what, version.version));
                        }
                        _ => return Ok(None),
                    }
                }
                Some(reasons.join(", "))
            }
            Predicate::Set(keys) => keys
                .iter()
                .find(|key| scope.paas_toml.build.text(key).is_some())
                .map(|key| format!("build.{key} in paas.toml")),
            Predicate::Command { of, regex } => {
                scope.command(of, |command| regex.holds_for(command)).map(|(reason, _)| reason)
            }
            Predicate::All(predicates) => {
                let mut reasons = Vec::new();
                for predicate in predicates {
                    match predicate.holds(scope)? {
                        Some(reason) => reasons.push(reason),
                        None => return Ok(None),
                    }
                }
                reasons.retain(|reason| !reason.is_empty());
                Some(reasons.join(", "))
            }
            Predicate::Any(predicates) => {
                for predicate in predicates {
                    if let Some(reason) = predicate.holds(scope)? {
                        return Ok(Some(reason));
                    }
                }
                None
            }
            Predicate::Not(predicate) => predicate.holds(scope)?.is_none().then(String::new),
            Predicate::Needs(wanted) => {
                let needs = scope.within.as_ref().is_some_and(|within| !within.needs.is_empty());
                (needs == *wanted).then(|| "what it needs of the workspace".to_owned())
            }
            Predicate::Root(predicate) => match &scope.within {
                Some(within) => predicate.holds(&within.root)?,
                None => None,
            },
        })
    }

    /// What is looked for, in words: `package.json`, `*.go or main.py`.
    pub fn looked_for(&self) -> String {
        let join = |predicates: &[Predicate], word: &str| {
            let words = predicates.iter().map(Predicate::looked_for).filter(|words| !words.is_empty());
            words.collect::<Vec<_>>().join(word)
        };
        match self {
            Predicate::File(words) | Predicate::Glob(words) => words.iter().collect::<Vec<_>>().join(" or "),
            Predicate::Json { file, pointer, .. } => format!("{} in {file}", dotted(pointer)),
            Predicate::Toml { file, key, .. } => format!("{key} in {file}"),
            Predicate::Text { glob, regex } => format!("{} in {}", regex.as_str(), glob.join()),
            Predicate::Dependency(words) => format!("{} among the dependencies", words.join()),
            Predicate::All(predicates) => join(predicates, " with "),
            Predicate::Any(predicates) => join(predicates, " or "),
            Predicate::Fact(name) => name.replace('-', " "),
            Predicate::Not(_)
            | Predicate::Found(_)
            | Predicate::Chosen(_)
            | Predicate::Version(_)
            | Predicate::Command { .. }
            | Predicate::Set(_)
            | Predicate::Needs(_)
            | Predicate::Root(_) => String::new(),
        }
    }

    /// Calls back with everything inside that can be malformed, to check the buildpack.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(Reference<'a>)) {
        match self {
            Predicate::Glob(patterns) => patterns.iter().for_each(|pattern| visit(Reference::Glob(pattern))),
            Predicate::Json { regex, .. } | Predicate::Toml { regex, .. } => {
                regex.iter().for_each(|regex| visit(Reference::Expression(regex)));
            }
            Predicate::Command { regex, .. } => visit(Reference::Expression(regex)),
            Predicate::Text { glob, regex } => {
                visit(Reference::Expression(regex));
                glob.iter().for_each(|pattern| visit(Reference::Glob(pattern)));
            }
            Predicate::Found(extractor) => extractor.visit(visit),
            Predicate::Fact(name) => visit(Reference::Fact(name)),
            Predicate::Chosen(choices) => {
                for (name, wanted) in choices {
                    wanted.iter().for_each(|is| visit(Reference::Choice(name, Some(is))));
                }
            }
            Predicate::Version(versions) => versions.keys().for_each(|name| visit(Reference::Version(name))),
            Predicate::All(predicates) | Predicate::Any(predicates) => {
                predicates.iter().for_each(|predicate| predicate.visit(visit));
            }
            Predicate::Not(predicate) | Predicate::Root(predicate) => predicate.visit(visit),
            Predicate::File(_) | Predicate::Dependency(_) | Predicate::Set(_) | Predicate::Needs(_) => {}
        }
    }
}

fn matches(regex: Option<&Expression>, text: &str) -> Result<bool> {
    Ok(match regex {
        None => true,
        Some(regex) => regex.compile()?.is_match(text),
    })
}
