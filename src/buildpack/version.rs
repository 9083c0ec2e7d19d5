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
    word::Word,
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
    #[serde(default)]
    pub default: String,
    /// What decides the default instead, if it finds something: the version of something else, for example.
    #[serde(default)]
    pub defaults: Vec<Extractor>,
    /// The newest version that a range may stand for, if it finds something: what else was chosen cannot run a newer one.
    #[serde(default)]
    pub at_most: Vec<Extractor>,
    /// The known versions, each with the last day on which it gets fixes, as `2027-04-30`; empty if unknown. Without it,
    /// all that is known comes from the entry of the same name in `shared/versions.toml`.
    #[serde(default)]
    pub known: BTreeMap<String, String>,
    /// The known versions that have long-term support.
    #[serde(default)]
    pub long_term: Vec<String>,
    /// Whether any plain version is used unchanged, known or not.
    #[serde(default)]
    pub exact: bool,
    /// Whether a plain version of three numbers is used unchanged if its line is known: some tools refuse any version
    /// other than the one that a file names, and each has an image.
    #[serde(default)]
    pub patches: bool,
    /// Whether a newer version runs what was written for an older one: then a version between the known ones, or before
    /// them, stands for the next one that gets fixes.
    #[serde(default)]
    pub compatible: bool,
    /// Words that stand for a version, beside those that every language shares (see `word`).
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// What else people write in front of a version, beside `name` and `what`: `NAME-22`, `NAME22`, `NAME@22`.
    #[serde(default)]
    pub names: Vec<String>,
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

/// What is known of the versions of something that several buildpacks use: see [`VersionRule`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct KnownVersions {
    default: String,
    known: BTreeMap<String, String>,
    #[serde(default)]
    long_term: Vec<String>,
    #[serde(default)]
    compatible: bool,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    names: Vec<String>,
    clean: Option<Expression>,
}

/// A version that a source asks for.
struct Request {
    found: Found,
    /// The buildpack concluded it; no file asks for it.
    implied: bool,
    kind: Kind,
}

/// What the text of a version means.
enum Asked {
    /// A version or a range, as it is read.
    Range(String),
    /// The version that a word stands for.
    Word(Word, String),
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
        let default = self.default_for(scope)?;
        for (kind, source) in self.all_sources() {
            let implied = matches!(source, Extractor::Implied { .. });
            let found = self.preferred(source.find_all(scope)?, kind, &default, scope.today);
            said.extend(found.map(|found| Request { found, implied, kind }));
        }
        // What names no version at all decides only if nothing else does.
        said.sort_by_key(|asked| asked.found.file != PAAS_TOML && self.is_open(&asked.found, &default, scope.today));
        let mut version = Version {
            what: self.what.clone(),
            version: default.clone(),
            asked: None,
            source: DEFAULT.to_owned(),
            origin: Origin::default(),
            warnings: Vec::new(),
            name: self.name.clone(),
        };
        let mut said = said.into_iter();
        if let Some(asked) = said.next() {
            let decides = &asked.found;
            let most = first_version(&self.at_most, scope)?;
            version.version = self.choose(&asked, &default, most.as_deref(), scope.today)?;
            version.source = decides.place.clone();
            let text = decides.text.trim();
            let read = self.read(text, &default, scope.today);
            let least = asked.kind == Kind::Minimum && matches!(&read, Some(Asked::Range(text)) if is_version(text));
            let text = if least && text != version.version { format!("{text} or newer") } else { text.to_owned() };
            version.asked = (!asked.implied).then_some(text);
            version.warnings.extend(self.unmet(read, &asked, &version.version));
            version.origin = Origin::found(decides);
            // A version in paas.toml is meant to override the others.
            let others = said.filter(|other| {
                !other.implied && decides.file != PAAS_TOML && other.found.text.trim() != decides.text.trim()
            });
            for other in others {
                let range = match self.read(&other.found.text, &default, scope.today) {
                    Some(Asked::Range(text)) => self.range(&text, other.kind),
                    Some(Asked::Word(word, line)) if !is_open(&word) => Range::parse(&line),
                    Some(Asked::Word(..)) | None => None,
                };
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

    /// The version for a text on its own, for tests.
    ///
    /// # Errors
    /// As [`VersionRule::resolve`].
    #[cfg(any(test, fuzzing))]
    pub fn read_alone(&self, text: &str, today: &str) -> Result<String> {
        let found = Found { text: text.to_owned(), file: "x".to_owned(), line: None, place: "x".to_owned() };
        self.choose(&Request { found, implied: false, kind: Kind::Exactly }, &self.default, None, today)
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
        let line =
            || self.known.iter().find(|(line, _)| (self.patches || self.exact) && is_of(line)).map(|(_, end)| end);
        known.or_else(line).map(String::as_str)
    }

    fn is_over(&self, end: &str, today: &str) -> bool {
        !end.is_empty() && end < today
    }

    fn choose(
        &self,
        Request { found, kind, .. }: &Request,
        default: &str,
        most: Option<&str>,
        today: &str,
    ) -> Result<String> {
        let supported = self.supported(today);
        let refused = |message: String| {
            let hint = format!("write one that paas knows: {} {}", self.what, supported.join(", "));
            refused(&found.file, found.line, message, hint)
        };
        let malformed = || refused(format!("{:?} is not a version of {}", shown(&found.text), self.what));
        let asked = match self.read(&found.text, default, today).ok_or_else(malformed)? {
            Asked::Range(text) => text,
            Asked::Word(_, line) => return Ok(line),
        };
        let range = self.range(&asked, *kind).ok_or_else(malformed)?;
        let minimum = *kind == Kind::Minimum;
        if is_version(&asked) && (self.exact || minimum && !self.knows_newer_than(&asked)) {
            return Ok(if minimum && range.fit(default) != Fit::None { default.to_owned() } else { asked });
        }
        let is_patch = self.patches && is_version(&asked) && asked.matches('.').count() == 2;
        if is_patch && self.line_of(&asked).is_some() {
            return Ok(asked);
        }
        let unknown = || refused(format!("paas does not know {} {}", self.what, shown(&asked)));
        if *kind == Kind::Target && is_version(&asked) {
            return self.next(&range, today).map(str::to_owned).ok_or_else(unknown);
        }
        // Preferred: lines that are not too new, then those that get fixes, then those whose newest version fits, then the default, then the newest.
        let mut best: Option<((bool, bool), Fit, bool, &str)> = None;
        for (line, end) in self.lines() {
            let fit = range.fit(line);
            let too_new = most.is_some_and(|most| compare(line, most) == Ordering::Greater);
            let candidate = ((!too_new, !self.is_over(end, today)), fit, line == default, line);
            let better = best.is_none_or(|best| {
                let order = candidate.0.cmp(&best.0).then(fit.cmp(&best.1)).then(candidate.2.cmp(&best.2));
                order.then(compare(line, best.3)) != Ordering::Less
            });
            if fit != Fit::None && better {
                best = Some(candidate);
            }
        }
        let next = || Range::from(&asked).filter(|_| self.compatible && is_version(&asked));
        let line = best.map(|(_, _, _, line)| line).or_else(|| self.next(&next()?, today));
        line.map(str::to_owned).ok_or_else(unknown)
    }

    /// The first known version in a range that gets fixes, or the first of all.
    fn next(&self, range: &Range, today: &str) -> Option<&str> {
        let fitting: Vec<_> = self.lines().into_iter().filter(|(line, _)| range.fit(line) != Fit::None).collect();
        let good = fitting.iter().find(|(_, end)| !self.is_over(end, today)).or(fitting.first());
        good.map(|(line, _)| *line)
    }

    fn knows_newer_than(&self, version: &str) -> bool {
        self.known.keys().any(|known| compare(known, version) == Ordering::Greater)
    }

    /// The version if nothing sets one.
    fn default_for(&self, scope: &Scope<'_>) -> Result<String> {
        Ok(first_version(&self.defaults, scope)?.unwrap_or_else(|| self.default.clone()))
    }

    /// The first of several texts that names a version; else the first that can be read; else the first.
    fn preferred(&self, mut all: Vec<Found>, kind: Kind, default: &str, today: &str) -> Option<Found> {
        let readable = |found: &Found| match self.read(&found.text, default, today) {
            Some(Asked::Range(text)) => self.range(&text, kind).is_some(),
            Some(Asked::Word(..)) => true,
            None => false,
        };
        let named = all.iter().position(|found| readable(found) && !self.is_open(found, default, today));
        let index = named.or_else(|| all.iter().position(readable)).unwrap_or(0);
        (index < all.len()).then(|| all.swap_remove(index))
    }

    /// Whether a text leaves the version open: `system`, or a path on the developer's machine.
    fn is_open(&self, found: &Found, default: &str, today: &str) -> bool {
        matches!(self.read(&found.text, default, today), Some(Asked::Word(word, _)) if is_open(&word))
    }

    /// The version, word or range in a text. `None` if it has characters that none of them can have. A text that is
    /// not a word may be a range.
    fn read(&self, text: &str, default: &str, today: &str) -> Option<Asked> {
        let text = unquoted(text.trim());
        if text.contains(['\n', '\r', '\0']) {
            return None;
        }
        let text = text.strip_prefix("prefix:").unwrap_or(text);
        if let Some((back, base)) = text.strip_prefix("sub-").and_then(|text| text.split_once(':')) {
            let base = match self.read(base, default, today)? {
                Asked::Range(text) | Asked::Word(_, text) => text,
            };
            return Some(Asked::Range(before(&base, back)?));
        }
        let numbered = |rest: &&str| rest.starts_with(|first: char| first.is_ascii_digit());
        let newest_of = || text.strip_prefix("latest-").or_else(|| text.strip_prefix("next-")).filter(numbered);
        let newest_of = || text.strip_prefix("latest:").or_else(|| text.strip_suffix(":latest")).or_else(newest_of);
        let text = newest_of().unwrap_or(text);
        let alias = |text: &str| self.aliases.get(&text.to_ascii_lowercase()).cloned();
        let word = |text: &str| {
            let word = Word::parse(text)?;
            let supported = self.supported(today);
            let newest = supported.last().copied().or_else(|| self.lines().last().map(|(line, _)| *line));
            let line = match &word {
                Word::Newest | Word::Early => newest.unwrap_or(default).to_owned(),
                Word::LongTerm(back) if self.long_term.is_empty() && *back == 0 => default.to_owned(),
                Word::LongTerm(back) => self.long_term_lines().into_iter().rev().nth(*back)?.to_owned(),
                Word::Named(name) if is_version(name) => name.clone(),
                Word::Named(name) => alias(name)?,
                Word::Default | Word::Elsewhere => default.to_owned(),
            };
            Some(Asked::Word(word, line))
        };
        if let Some(found) = alias(text).map(Asked::Range).or_else(|| word(text)) {
            return Some(found);
        }
        let cleaned = self.clean.as_ref().and_then(|clean| clean.compile().ok()).and_then(|clean| clean.captures(text));
        let text = cleaned.and_then(|captures| captures.get(1)).map_or(text, |group| group.as_str());
        if let Some(found) = alias(text).map(Asked::Range).or_else(|| word(text)) {
            return Some(found);
        }
        let rest = self.without_name(text);
        if rest.is_empty() && !text.is_empty() {
            return alias("latest").map(Asked::Range).or_else(|| word("latest"));
        }
        if let Some(found) = alias(rest).map(Asked::Range).or_else(|| word(rest)) {
            return Some(found);
        }
        let digits = rest.strip_prefix(['v', 'V']).filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()));
        Some(Asked::Range(digits.unwrap_or(rest).to_owned()))
    }

    /// A text without the name of the language or tool in front of the version: `NAME-22`, `NAME22`, `NAME@22`.
    fn without_name<'t>(&self, text: &'t str) -> &'t str {
        let names = self.names.iter().chain([&self.what, &self.name]);
        let rests = names.filter_map(|name| {
            let (start, rest) = text.split_at_checked(name.len())?;
            let trimmed = rest.trim_start_matches(['-', '@', '_', '/', ':', ' ']);
            let whole = rest.is_empty() || trimmed.len() < rest.len();
            let number = rest.trim_start_matches(['v', 'V']).starts_with(|first: char| first.is_ascii_digit());
            (start.eq_ignore_ascii_case(name) && (whole || number)).then_some(trimmed)
        });
        rests.min_by_key(|rest| rest.len()).unwrap_or(text)
    }

    /// The versions with long-term support, oldest first.
    fn long_term_lines(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.long_term.iter().map(String::as_str).collect();
        lines.sort_by(|left, right| compare(left, right));
        lines
    }

    /// The warning if the version that was asked for is not available.
    fn unmet(&self, read: Option<Asked>, Request { found, kind, .. }: &Request, version: &str) -> Option<String> {
        let why = match read {
            Some(Asked::Range(text)) if *kind == Kind::Exactly => {
                self.range(&text, *kind).filter(|range| range.fit(version) == Fit::None)?;
                "which has no image"
            }
            Some(Asked::Word(Word::Early, _)) => "which has no image",
            Some(Asked::Word(Word::Elsewhere, _)) => "which is not in the repository",
            _ => return None,
        };
        let text = shown(&found.text);
        Some(format!("{} asks for {} {text}, {why}: {version} is used instead", found.place, self.what))
    }

    /// Adds what `shared/versions.toml` knows, if the rule has no versions of its own.
    pub fn complete(&mut self, shared: &BTreeMap<String, KnownVersions>) {
        let Some(shared) = shared.get(&self.name).filter(|_| self.known.is_empty()) else { return };
        self.known.clone_from(&shared.known);
        self.long_term.clone_from(&shared.long_term);
        self.compatible |= shared.compatible;
        self.names.extend(shared.names.iter().cloned());
        for (alias, version) in &shared.aliases {
            self.aliases.entry(alias.clone()).or_insert_with(|| version.clone());
        }
        if self.default.is_empty() {
            self.default.clone_from(&shared.default);
        }
        if self.clean.is_none() {
            self.clean.clone_from(&shared.clean);
        }
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
        self.defaults.iter().chain(&self.at_most).for_each(|source| source.visit(visit));
        self.all_sources().for_each(|(_, source)| source.visit(visit));
    }
}

/// The version that the first of these finds.
fn first_version(sources: &[Extractor], scope: &Scope<'_>) -> Result<Option<String>> {
    for source in sources {
        if let Some(found) = source.find(scope)?.filter(|found| is_version(found.text.trim())) {
            return Ok(Some(found.text.trim().to_owned()));
        }
    }
    Ok(None)
}

/// Whether a word leaves the version open.
fn is_open(word: &Word) -> bool {
    matches!(word, Word::Default | Word::Elsewhere)
}

/// A text without the quotes around it.
fn unquoted(text: &str) -> &str {
    let inside = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(text).trim()
}

/// The line that lies so far before another: 1 before `24` is `23`, 0.1 before `3.15` is `3.14`.
fn before(line: &str, back: &str) -> Option<String> {
    let numbers = |text: &str| text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>();
    let (mut line, back) = (numbers(line)?, numbers(back)?);
    line.truncate(back.len());
    let numbers = line.iter().zip(&back).map(|(line, back)| line.checked_sub(*back).map(|n| n.to_string()));
    (line.len() == back.len()).then(|| numbers.collect::<Option<Vec<_>>>()).flatten().map(|parts| parts.join("."))
}

/// A text of a repository, cut to a length that fits a message.
fn shown(text: &str) -> String {
    text.trim().chars().take(60).collect()
}

#[cfg(test)]
mod tests;
