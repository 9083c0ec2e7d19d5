use std::{cmp::Ordering, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{
    detect::Predicate,
    extract::{Expression, Extractor, Found, Part},
    paas_toml::PAAS_TOML,
    range::{Fit, Range, compare, is_version},
    scope::Scope,
};
use crate::{Error, Result, error::SourceError};

/// A version that a plan settled on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Of what, e.g. `Node`.
    pub what: String,
    /// The version, which is also the one in the name of the base image.
    pub version: String,
    /// What the repository asked for, where it asked.
    pub asked: Option<String>,
    /// Who decided: a file of the repository, or `default`.
    pub source: String,
    /// What is wrong with it, though it can be built: it gets no more fixes, or another file does not allow it.
    pub warnings: Vec<String>,
    /// What the templates call it.
    #[serde(skip)]
    pub(super) name: String,
}

impl Version {
    /// For the log: `Node 22, from .node-version`.
    pub fn describe(&self) -> String {
        let Version { what, version, asked, source, .. } = self;
        match asked {
            None if source == DEFAULT => format!("{what} {version}, the default"),
            None => format!("{what} {version}, from {source}"),
            Some(asked) if asked == version => format!("{what} {version}, from {source}"),
            Some(asked) => format!("{what} {version}, from {source} ({asked})"),
        }
    }
}

const DEFAULT: &str = "default";

/// Who decides a version, and what it may be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct VersionRule {
    /// Of what, e.g. `Node`.
    pub what: String,
    /// What the templates and `[build.versions]` of `paas.toml` call it.
    pub name: String,
    /// When it is needed; always, if not said.
    pub when: Option<Predicate>,
    /// What it is where nobody says.
    pub default: String,
    /// What it can be, each with the last day on which it gets fixes, as `2027-04-30`; empty where that is not known.
    pub known: BTreeMap<String, String>,
    /// Whether a plain version is taken as it is, known or not.
    #[serde(default)]
    pub exact: bool,
    /// Whether a plain version of three numbers is taken as it is where it is of a known line: some tools refuse any
    /// other than the one that is named, and there is an image of each.
    #[serde(default)]
    pub patches: bool,
    /// Words that stand for a version.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// What a version is cut to before it is read: the first group, where it matches.
    pub clean: Option<Expression>,
    /// Who decides, in this order; `paas.toml` comes first.
    #[serde(default)]
    pub sources: Vec<Extractor>,
    /// Who decides after these, and names the version that the source is written for: that or the next one that gets
    /// fixes is taken, and any later one will do.
    #[serde(default)]
    pub levels: Vec<Extractor>,
    /// Who decides after these, and names the oldest version that will do: the default is taken if it is late enough, and
    /// a newer one than we know if need be.
    #[serde(default)]
    pub minimums: Vec<Extractor>,
}

/// A version that a source asks for.
struct Asked {
    found: Found,
    /// It is the buildpack's own conclusion, and nobody's request.
    implied: bool,
    kind: Kind,
}

/// What the naming of a version means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// This one.
    Exactly,
    /// This one, or else the next.
    Level,
    /// Any from this one on.
    Minimum,
}

impl VersionRule {
    /// Settles on a version; nothing where none is needed.
    ///
    /// # Errors
    /// `SourceError::File` where the file that decides names none, or one that there is no base image for.
    pub fn resolve(&self, scope: &Scope<'_>) -> Result<Option<Version>> {
        if let Some(when) = &self.when
            && when.holds(scope)?.is_none()
        {
            return Ok(None);
        }
        let mut said = Vec::new();
        if let Some((text, line)) = scope.paas_toml.build.versions.get(&self.name) {
            let file = PAAS_TOML.to_owned();
            let found = Found { text: text.clone(), file: file.clone(), line: Some(*line), place: file };
            said.push(Asked { found, implied: false, kind: Kind::Exactly });
        }
        for (kind, source) in self.all_sources() {
            let implied = matches!(source, Extractor::Implied { .. });
            said.extend(source.find(scope)?.map(|found| Asked { found, implied, kind }));
        }
        let mut version = Version {
            what: self.what.clone(),
            version: self.default.clone(),
            asked: None,
            source: DEFAULT.to_owned(),
            warnings: Vec::new(),
            name: self.name.clone(),
        };
        let mut said = said.into_iter();
        if let Some(asked) = said.next() {
            let decides = &asked.found;
            version.version = self.choose(&asked, scope.today)?;
            version.asked = (!asked.implied).then(|| decides.text.trim().to_owned());
            version.source = decides.place.clone();
            // Who writes it into paas.toml means to overrule the others.
            let others = said.filter(|other| {
                !other.implied && decides.file != PAAS_TOML && other.found.text.trim() != decides.text.trim()
            });
            for other in others {
                let range = self.cleaned(&other.found).and_then(|text| self.range(&text, other.kind));
                if range.is_some_and(|range| range.fit(&version.version) == Fit::None) {
                    version.warnings.push(format!(
                        "{} asks for {} {}, and {} decides: {}",
                        other.found.place,
                        self.what,
                        shown(&other.found.text),
                        decides.place,
                        version.version
                    ));
                }
            }
        }
        if let Some(end) = self.line_of(&version.version).filter(|end| self.is_over(end, scope.today)) {
            version.warnings.insert(
                0,
                format!(
                    "{} {} gets no fixes since {end} ({}): write one of {}",
                    self.what,
                    version.version,
                    version.source,
                    self.supported(scope.today).join(", ")
                ),
            );
        }
        Ok(Some(version))
    }

    /// What can be asked for and gets fixes on a day, oldest first.
    pub fn supported(&self, today: &str) -> Vec<&str> {
        let supported = self.lines().into_iter().filter(|(_, end)| !self.is_over(end, today));
        supported.map(|(version, _)| version).collect()
    }

    /// All versions with the end of their life, oldest first.
    pub fn lines(&self) -> Vec<(&str, &str)> {
        let mut lines: Vec<_> = self.known.iter().map(|(version, end)| (version.as_str(), end.as_str())).collect();
        lines.sort_by(|(left, _), (right, _)| compare(left, right));
        lines
    }

    /// The end of the life of the line that a version is of: `3.3.4` is of `3.3`, and so it is of `3.3.10`.
    fn line_of(&self, version: &str) -> Option<&str> {
        let is_of = |line: &str| {
            let line = if line.matches('.').count() == 2 {
                line.rsplit_once('.').map_or(line, |(line, _)| line)
            } else {
                line
            };
            version.strip_prefix(line).is_some_and(|rest| rest.starts_with('.'))
        };
        let known = self.known.get(version);
        let line = || self.known.iter().find(|(line, _)| self.patches && is_of(line)).map(|(_, end)| end);
        known.or_else(line).map(String::as_str)
    }

    fn is_over(&self, end: &str, today: &str) -> bool {
        !end.is_empty() && end < today
    }

    fn choose(&self, Asked { found, kind, .. }: &Asked, today: &str) -> Result<String> {
        let supported = self.supported(today);
        let refused = |message: String| {
            Error::Source(SourceError::File {
                file: found.file.clone(),
                line: found.line,
                message,
                hint: format!("paas knows {} {}: write one of these", self.what, supported.join(", ")),
            })
        };
        let malformed = || refused(format!("{:?} is not a version of {}", shown(&found.text), self.what));
        let asked = self.cleaned(found).ok_or_else(malformed)?;
        let range = self.range(&asked, *kind).ok_or_else(malformed)?;
        let minimum = *kind == Kind::Minimum;
        if is_version(&asked) && (self.exact || minimum && !self.knows_newer_than(&asked)) {
            return Ok(if minimum && range.fit(&self.default) != Fit::None { self.default.clone() } else { asked });
        }
        let is_patch = self.patches && is_version(&asked) && asked.matches('.').count() == 2;
        if is_patch && self.line_of(&asked).is_some() {
            return Ok(asked);
        }
        if *kind == Kind::Level && is_version(&asked) {
            let fitting: Vec<_> = self.lines().into_iter().filter(|(line, _)| range.fit(line) != Fit::None).collect();
            let good = fitting.iter().find(|(_, end)| !self.is_over(end, today)).or(fitting.first());
            return match good {
                Some((line, _)) => Ok((*line).to_owned()),
                None => Err(refused(format!("there is no {} {} that paas knows", self.what, shown(&asked)))),
            };
        }
        // Those that get fixes first, then those whose newest version fits, then the default, then the newest.
        let mut best: Option<(bool, Fit, bool, &str)> = None;
        for (line, end) in self.lines() {
            let fit = range.fit(line);
            let candidate = (!self.is_over(end, today), fit, line == self.default, line);
            let better = best.is_none_or(|best| {
                let order = candidate.0.cmp(&best.0).then(fit.cmp(&best.1)).then(candidate.2.cmp(&best.2));
                order.then(compare(line, best.3)) != Ordering::Less
            });
            if fit != Fit::None && better {
                best = Some(candidate);
            }
        }
        match best {
            Some((_, _, _, line)) => Ok(line.to_owned()),
            None => Err(refused(format!("there is no {} {} that paas knows", self.what, shown(&asked)))),
        }
    }

    fn knows_newer_than(&self, version: &str) -> bool {
        self.known.keys().any(|known| compare(known, version) == Ordering::Greater)
    }

    /// What was found, as a version or a range; nothing where the text has characters that neither has.
    fn cleaned(&self, found: &Found) -> Option<String> {
        let text = found.text.trim();
        let text = self.aliases.get(&text.to_ascii_lowercase()).map_or(text, String::as_str);
        let text = match self.clean.as_ref().and_then(|clean| clean.compile().ok()) {
            Some(clean) => {
                clean.captures(text).and_then(|captures| captures.get(1)).map_or(text, |group| group.as_str())
            }
            None => text,
        };
        Some(self.aliases.get(&text.to_ascii_lowercase()).map_or(text, String::as_str).to_owned())
            .filter(|text| !text.contains(['\n', '\r', '\0']))
    }

    fn range(&self, asked: &str, kind: Kind) -> Option<Range> {
        if kind != Kind::Exactly && is_version(asked) { Range::from(asked) } else { Range::parse(asked) }
    }

    /// Who decides, in order.
    fn all_sources(&self) -> impl Iterator<Item = (Kind, &Extractor)> {
        let exactly = self.sources.iter().map(|source| (Kind::Exactly, source));
        let levels = self.levels.iter().map(|source| (Kind::Level, source));
        exactly.chain(levels).chain(self.minimums.iter().map(|source| (Kind::Minimum, source)))
    }

    /// Calls back with everything inside that can be malformed, for a check of the buildpack.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(Part<'a>)) {
        self.when.iter().for_each(|when| when.visit(visit));
        self.clean.iter().for_each(|clean| visit(Part::Expression(clean)));
        self.all_sources().for_each(|(_, source)| source.visit(visit));
    }
}

/// A text of a repository, short enough for a message.
fn shown(text: &str) -> String {
    text.trim().chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_that_version_or_the_next_that_gets_fixes() {
        let rule = r#"
what = "Tool"
name = "tool"
default = "21"
known = { "8" = "", "11" = "", "12" = "2020-01-01", "17" = "", "21" = "" }
"#;
        let rule: VersionRule = toml::from_str(rule).unwrap();
        let level = |text: &str| {
            let found = Found { text: text.to_owned(), file: "x".to_owned(), line: None, place: "x".to_owned() };
            rule.choose(&Asked { found, implied: false, kind: Kind::Level }, "2026-11-21")
        };
        for (asked, expected) in [("6", "8"), ("8", "8"), ("9", "11"), ("12", "17"), ("17", "17"), ("18", "21")] {
            assert_eq!(level(asked).unwrap(), expected, "{asked}");
        }
        assert!(level("22").is_err());
        assert!(level("seven").is_err());
    }
}
