//! Where a decision of a plan comes from, and the line of `paas.toml` that would change it.

use std::path::Path;

use serde::Serialize;

use super::{
    detect::Predicate,
    document::{line_of, line_of_pointer, toml_key},
    extract::Found,
    paas_toml::PAAS_TOML,
    scope::Scope,
};
use crate::Result;

/// The place that decided something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The file of the repository, if one decided.
    pub file: Option<String>,
    /// The line in it, counted from 1, if it is a line.
    pub line: Option<usize>,
    /// The line of `paas.toml` that would change it, after the name of its table: `[build] install = "COMMAND"`.
    pub change: Option<String>,
}

impl Origin {
    pub(super) fn of(file: impl Into<String>, line: impl Into<Option<usize>>) -> Origin {
        Origin { file: Some(file.into()), line: line.into(), change: None }
    }

    pub(super) fn found(found: &Found) -> Origin {
        // Something that was concluded has its reason instead of a file.
        let file = Some(found.file.clone()).filter(|file| *file != found.place || found.line.is_some());
        Origin { file, line: found.line, change: None }
    }

    /// The same with the line that would change it.
    pub(super) fn changed_by(self, table: &str, key: &str, value: &str) -> Origin {
        let table = if table.is_empty() { String::new() } else { format!("[{table}] ") };
        Origin { change: Some(format!("{table}{key} = {value}")), ..self }
    }

    /// A reason with its line, for people: `engines.node in package.json:5`.
    pub fn explain(&self, reason: &str) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) if reason.ends_with(file.as_str()) => format!("{reason}:{line}"),
            (Some(file), Some(line)) => format!("{reason} ({file}:{line})"),
            _ => reason.to_owned(),
        }
    }
}

/// The line of a file of the source that has one of these words, the first word that is found deciding.
pub(super) fn line_with(scope: &Scope<'_>, file: &str, words: &[&str]) -> Option<usize> {
    let text = scope.text(Path::new(file))?;
    words.iter().find_map(|word| text.lines().position(|line| line.contains(word))).map(|index| index + 1)
}

/// What decided a choice: a line of `paas.toml`, or what the option is chosen for.
///
/// # Errors
/// As [`Predicate::holds`].
pub(super) fn of_choice(scope: &Scope<'_>, name: &str) -> Result<Option<Origin>> {
    if let Some((_, line)) = scope.paas_toml.build.tools.get(name) {
        return Ok(Some(Origin::of(PAAS_TOML, *line)));
    }
    let scope = scope.of(name);
    let chosen = scope.choice(name)?;
    let rule = scope.manifest.choices.iter().find(|choice| choice.name == name);
    for option in rule.iter().flat_map(|rule| &rule.options).filter(|option| option.is == chosen.option) {
        if let Some(when) = &option.when
            && when.holds(scope)?.is_some()
        {
            return when.origin(scope);
        }
    }
    Ok(None)
}

impl Predicate {
    /// What makes it hold, for one that does.
    ///
    /// # Errors
    /// As [`Predicate::holds`].
    pub(super) fn origin(&self, scope: &Scope<'_>) -> Result<Option<Origin>> {
        Ok(match self {
            Predicate::File(paths) => {
                let mut paths = paths.iter().map(|path| scope.stand_in(path));
                paths.find(|path| scope.tree.exists(path)).map(|path| Origin::of(scope.path(path), None))
            }
            Predicate::Glob(patterns) => scope
                .matching(patterns)?
                .first()
                .map(|entry| Origin::of(scope.path(&entry.path.display().to_string()), None)),
            Predicate::Json { file, pointer, .. } => {
                let file = scope.stand_in(file);
                let line = scope.text(Path::new(file)).and_then(|text| line_of_pointer(&text, pointer));
                Some(Origin::of(scope.path(file), line))
            }
            Predicate::Toml { file, key, .. } => {
                let last = key.rsplit('.').next().unwrap_or(key);
                let is_table =
                    scope.toml(file)?.is_some_and(|table| toml_key(&table, key).is_some_and(toml::Value::is_table));
                let words = [format!("[{key}]"), format!("{last} ="), format!("{last}="), last.to_owned()];
                let words: Vec<&str> = words.iter().map(String::as_str).skip(usize::from(!is_table)).collect();
                Some(Origin::of(scope.path(file), line_with(scope, file, &words)))
            }
            Predicate::Text { glob, regex } => scope.matching(glob)?.into_iter().find_map(|entry| {
                let text = scope.text_of(glob, &entry.path)?;
                let start = regex.compile().ok()?.find(&text)?.start();
                Some(Origin::of(scope.path(&entry.path.display().to_string()), line_of(&text, start)))
            }),
            Predicate::Dependency(names) => scope.dependencies()?.place_of(names).map(|(name, file)| {
                let line = line_with(scope, &file, &[&format!("\"{name}\""), &name]);
                Origin::of(scope.path(&file), line)
            }),
            Predicate::Found(extractor) => extractor.find(scope)?.map(|found| Origin::found(&found)),
            Predicate::Fact(name) => match scope.manifest.facts.get(name) {
                Some(predicate) => predicate.origin(scope.of(name))?,
                None => None,
            },
            Predicate::Chosen(choices) => {
                let mut origin = None;
                for name in choices.keys() {
                    origin = origin.or(of_choice(scope, name)?);
                }
                origin
            }
            Predicate::Version(versions) => {
                let mut origin = None;
                for name in versions.keys() {
                    origin = origin.or(scope.version(name)?.map(|version| version.origin.clone()));
                }
                origin
            }
            Predicate::Set(keys) => {
                let line = keys.iter().find_map(|key| scope.paas_toml.build.text(key)).map(|(_, line)| *line);
                line.map(|line| Origin::of(PAAS_TOML, line))
            }
            Predicate::Command { of, regex } => {
                scope.command(of, |command| regex.holds_for(command)).map(|(_, origin)| origin)
            }
            // A line says more than a file.
            Predicate::All(predicates) => {
                let mut best: Option<Origin> = None;
                for predicate in predicates {
                    let origin = predicate.origin(scope)?;
                    let is_better = best.as_ref().is_none_or(|best| best.line.is_none());
                    if is_better && origin.as_ref().is_some_and(|origin| best.is_none() || origin.line.is_some()) {
                        best = origin;
                    }
                }
                best
            }
            Predicate::Any(predicates) => {
                for predicate in predicates {
                    if predicate.holds(scope)?.is_some() {
                        return predicate.origin(scope);
                    }
                }
                None
            }
            Predicate::Root(predicate) => match &scope.within {
                Some(within) => predicate.origin(&within.root)?,
                None => None,
            },
            Predicate::Not(_) | Predicate::Needs(_) => None,
        })
    }
}
