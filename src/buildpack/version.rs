use std::{cmp::Ordering, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{
    detect::Predicate,
    document::refused,
    extract::{Extractor, Found},
    origin::Origin,
    paas_toml::PAAS_TOML,
    pattern::{Expression, Reference},
    range::{Fit, Range, compare, is_version},
    scope::Scope,
};
use crate::Result;

/// A version of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Of what, e.g. `Node`.
    pub what: String,
    /// The version, which is also the one in the name of the base image.
    pub version: String,
    /// What the repository asked for, if it did.
    pub asked: Option<String>,
    /// What decided it: a file of the repository, or `default`.
    pub source: String,
    /// Where that is, and what would change it.
    #[serde(flatten)]
    pub origin: Origin,
    /// Problems that do not stop the build: it no longer gets fixes, or another file does not allow it.
    pub warnings: Vec<String>,
    /// Its name in the templates.
    #[serde(skip)]
    pub(super) name: String,
}

impl Version {
    /// Whether nothing in the source decides it.
    pub(super) fn is_default(&self) -> bool {
        self.source == DEFAULT
    }

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

/// What decides a version, and which versions are allowed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct VersionRule {
    /// Of what, e.g. `Node`.
    pub what: String,
    /// Its name in the templates and in `[build.versions]` of `paas.toml`.
    pub name: String,
    /// When it is needed. Default: always.
    pub when: Option<Predicate>,
    /// The version if nothing sets one.
    pub default: String,
    /// The known versions, each with the last day on which it gets fixes, as `2027-04-30`; empty if unknown.
    pub known: BTreeMap<String, String>,
    /// Whether any plain version is used unchanged, known or not.
    #[serde(default)]
    pub exact: bool,
    /// Whether a plain version of three numbers is used unchanged if its line is known: some tools refuse any version
    /// other than the one that a file names, and each has an image.
    #[serde(default)]
    pub patches: bool,
    /// Words that stand for a version.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// Cuts a version to the first group before it is read, if it matches.
    pub clean: Option<Expression>,
    /// What decides, in this order; `paas.toml` comes first.
    #[serde(default)]
    pub sources: Vec<Extractor>,
    /// What decides after these and names the version that the source is written for: that version is used, or the
    /// next one that gets fixes. Any later version is acceptable.
    #[serde(default)]
    pub targets: Vec<Extractor>,
    /// What decides after these and names the oldest acceptable version: the default is used if it is new enough, and
    /// otherwise a newer version, even an unknown one.
    #[serde(default)]
    pub minimums: Vec<Extractor>,
}

/// A version that a source asks for.
struct Request {
    found: Found,
    /// The buildpack concluded it; no file asks for it.
    implied: bool,
    kind: Kind,
}

/// What it means that a file names a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// This one.
    Exactly,
    /// This one, or else the next.
    Target,
    /// This one or any later one.
    Minimum,
}

impl VersionRule {
    /// Decides the version; `None` if it is not needed.
    ///
    /// # Errors
    /// `SourceError::File` if the deciding file does not name a version, or names one without a base image.
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
            said.push(Request { found, implied: false, kind: Kind::Exactly });
        }
        for (kind, source) in self.all_sources() {
            let implied = matches!(source, Extractor::Implied { .. });
            said.extend(source.find(scope)?.map(|found| Request { found, implied, kind }));
        }
        let mut version = Version {
            what: self.what.clone(),
            version: self.default.clone(),
            asked: None,
            source: DEFAULT.to_owned(),
            origin: Origin::default(),
            warnings: Vec::new(),
            name: self.name.clone(),
        };
        let mut said = said.into_iter();
        if let Some(asked) = said.next() {
            let decides = &asked.found;
            version.version = self.choose(&asked, scope.today)?;
            version.asked = (!asked.implied).then(|| decides.text.trim().to_owned());
            version.source = decides.place.clone();
            version.origin = Origin::found(decides);
            // A version in paas.toml is meant to override the others.
            let others = said.filter(|other| {
                !other.implied && decides.file != PAAS_TOML && other.found.text.trim() != decides.text.trim()
            });
            for other in others {
                let range = self.cleaned(&other.found).and_then(|text| self.range(&text, other.kind));
                if range.is_some_and(|range| range.fit(&version.version) == Fit::None) {
                    version.warnings.push(format!(
                        "{} asks for {} {}, but {} decides: {}",
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
                    "{} {} has had no fixes since {end} ({}): set one of {}",
                    self.what,
                    version.version,
                    version.source,
                    self.supported(scope.today).join(", ")
                ),
            );
        }
        // The newest that gets fixes, or else the one before: a line that would change something.
        let supported = self.supported(scope.today);
        let other = supported.iter().rev().find(|other| **other != version.version).copied();
        let value = format!("{:?}", other.unwrap_or(&version.version));
        version.origin = version.origin.changed_by("build.versions", &self.name, &value);
        Ok(Some(version))
    }

    /// The versions that still get fixes on a day, oldest first.
    pub fn supported(&self, today: &str) -> Vec<&str> {
        let supported = self.lines().into_iter().filter(|(_, end)| !self.is_over(end, today));
        supported.map(|(version, _)| version).collect()
    }

    /// All versions with their end of life, oldest first.
    pub fn lines(&self) -> Vec<(&str, &str)> {
        let mut lines: Vec<_> = self.known.iter().map(|(version, end)| (version.as_str(), end.as_str())).collect();
        lines.sort_by(|(left, _), (right, _)| compare(left, right));
        lines
    }

    /// The end of life of a version's line: `3.3.4` belongs to `3.3`, and to `3.3.10` if that names the line.
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

    fn choose(&self, Request { found, kind, .. }: &Request, today: &str) -> Result<String> {
        let supported = self.supported(today);
        let refused = |message: String| {
            let hint = format!("write one that paas knows: {} {}", self.what, supported.join(", "));
            refused(&found.file, found.line, message, hint)
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
        if *kind == Kind::Target && is_version(&asked) {
            let fitting: Vec<_> = self.lines().into_iter().filter(|(line, _)| range.fit(line) != Fit::None).collect();
            let good = fitting.iter().find(|(_, end)| !self.is_over(end, today)).or(fitting.first());
            return match good {
                Some((line, _)) => Ok((*line).to_owned()),
                None => Err(refused(format!("paas does not know {} {}", self.what, shown(&asked)))),
            };
        }
        // Preferred: lines that get fixes, then those whose newest version fits, then the default, then the newest.
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
            None => Err(refused(format!("paas does not know {} {}", self.what, shown(&asked)))),
        }
    }

    fn knows_newer_than(&self, version: &str) -> bool {
        self.known.keys().any(|known| compare(known, version) == Ordering::Greater)
    }

    /// The found text as a version or a range; nothing if it has characters that neither can have.
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

    /// What decides, in order.
    fn all_sources(&self) -> impl Iterator<Item = (Kind, &Extractor)> {
        let exactly = self.sources.iter().map(|source| (Kind::Exactly, source));
        let targets = self.targets.iter().map(|source| (Kind::Target, source));
        exactly.chain(targets).chain(self.minimums.iter().map(|source| (Kind::Minimum, source)))
    }

    /// Calls back with everything inside that can be malformed, to check the buildpack.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(Reference<'a>)) {
        self.when.iter().for_each(|when| when.visit(visit));
        self.clean.iter().for_each(|clean| visit(Reference::Expression(clean)));
        self.all_sources().for_each(|(_, source)| source.visit(visit));
    }
}

/// A text of a repository, cut to a length that fits a message.
fn shown(text: &str) -> String {
    text.trim().chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_that_version_or_the_next_that_gets_fixes() {
        let rule = r#"
what = "Tool"
name = "tool"
default = "21"
known = { "8" = "", "11" = "", "12" = "2020-01-01", "17" = "", "21" = "" }
"#;
        let rule: VersionRule = toml::from_str(rule).unwrap();
        let target = |text: &str| {
            let found = Found { text: text.to_owned(), file: "x".to_owned(), line: None, place: "x".to_owned() };
            rule.choose(&Request { found, implied: false, kind: Kind::Target }, "2026-11-21")
        };
        for (asked, expected) in [("6", "8"), ("8", "8"), ("9", "11"), ("12", "17"), ("17", "17"), ("18", "21")] {
            assert_eq!(target(asked).unwrap(), expected, "{asked}");
        }
        assert!(target("22").is_err());
        assert!(target("seven").is_err());
    }
}
