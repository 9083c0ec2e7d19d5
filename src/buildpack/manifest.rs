use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use serde::Deserialize;

use super::{
    detect::Predicate,
    extract::Extractor,
    packages::{DependencyRules, PackageRule, is_package},
    pattern::{Patterns, Reference, glob},
    range::is_version,
    version::VersionRule,
    workspace::WorkspaceRule,
};
use crate::{
    Result,
    model::{EnvKey, ProcessType},
    tree::DockerIgnore,
};

/// How many regular expressions and globs it may have.
const PATTERN_LIMIT: usize = 1000;

/// The content of a `buildpack.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Manifest {
    /// Whether it is one of the repository's own, so that its templates can be anything.
    #[serde(skip)]
    pub is_own: bool,
    /// Its name in the log, e.g. `Node`.
    pub title: String,
    /// Its place among the buildpacks: the lowest number that matches wins.
    pub order: u32,
    /// When it matches: the first rule that holds gives the reason.
    pub detect: Vec<Predicate>,
    /// Whether what the source says to run is of this language: then it goes before those that come first otherwise.
    pub runs: Option<Predicate>,
    /// Whether a source that another buildpack builds needs this language as well, when it is built and when it runs.
    pub beside: Option<Predicate>,
    /// JSON files, each with the files of other formats that stand for it where it is missing.
    #[serde(default)]
    pub instead: BTreeMap<String, Vec<String>>,
    /// What it looks for, for the message when nothing matches. Default: derived from `detect`.
    pub looks_for: Option<String>,
    /// The Dockerfile of the repository to build. Default: the template `Dockerfile.tera`.
    pub dockerfile: Option<String>,
    /// The images it builds from, by their names in the templates; each is a template of versions, facts and choices.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// What has a version, and what decides it.
    #[serde(default)]
    pub versions: Vec<VersionRule>,
    /// Choices between tools, e.g. package managers.
    #[serde(default)]
    pub choices: Vec<ChoiceRule>,
    /// Facts that the templates can test.
    #[serde(default)]
    pub facts: BTreeMap<String, Predicate>,
    /// Values that templates can write as quoted JSON strings, and commands quoted for the shell: from the first
    /// extractor that finds something.
    #[serde(default)]
    pub values: BTreeMap<String, Vec<Extractor>>,
    /// Where the names of the dependencies are.
    pub dependencies: Option<DependencyRules>,
    /// System packages that dependencies need.
    #[serde(default)]
    pub packages: Vec<PackageRule>,
    /// Files that the templates can copy before the rest of the source, by their names in the templates.
    #[serde(default)]
    pub copies: BTreeMap<String, Vec<CopyRule>>,
    /// Commands of the build: for each name the first that holds. `paas.toml` overrides `install` and `build`.
    #[serde(default)]
    pub commands: Vec<CommandRule>,
    /// Other buildpacks that build a part of the source first, e.g. its front end.
    #[serde(default)]
    pub before: Vec<BeforeRule>,
    /// Further files for the build, made from templates: name to template.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Patterns of `.dockerignore` that come before the repository's own.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// These patterns, read once.
    #[serde(skip)]
    ignored: OnceLock<DockerIgnore>,
    /// What a workspace of several packages is, and what its members share.
    pub workspace: Option<WorkspaceRule>,
    /// Whether it can serve the directory that `[build] static` names.
    #[serde(default, rename = "static")]
    pub serves_static: bool,
    /// The processes if neither `paas.toml` nor `Procfile` sets any: the first rule that holds for each process type.
    #[serde(default)]
    pub processes: Vec<ProcessRule>,
    /// Why no process was found.
    pub no_process: Option<String>,
    /// The programs to choose from.
    #[serde(default)]
    pub candidates: Vec<CandidateRule>,
    /// Repositories that cannot be built, and what to do about it.
    #[serde(default)]
    pub refuse: Vec<Refusal>,
    /// Notes for the log.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// Variables that the app reads, for `config:suggest`.
    #[serde(default)]
    pub config: Vec<ConfigRule>,
    /// What the output of a failed build means.
    #[serde(default)]
    pub failures: Vec<super::diagnose::FailureRule>,
}

/// A choice among tools.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChoiceRule {
    /// Its name in the templates.
    pub name: String,
    /// Its name in the plan, e.g. `Package manager`. Without it the plan does not show it.
    pub what: Option<String>,
    /// The options; the first that holds is taken.
    pub options: Vec<ChoiceOption>,
}

/// One of the tools.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChoiceOption {
    pub is: String,
    /// When it applies. Default: always.
    pub when: Option<Predicate>,
}

/// Files to be copied.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CopyRule {
    /// The files.
    pub files: Patterns,
    /// When it applies. Default: always.
    pub when: Option<Predicate>,
    /// Fixed content for the copies, so that they do not change when the files do. A file that an earlier rule copies
    /// keeps its own content.
    pub content: Option<String>,
}

/// A command of the build.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandRule {
    /// Its name in the templates, e.g. `install`.
    pub name: String,
    /// When it applies. Default: always.
    pub when: Option<Predicate>,
    /// The command line: a template of versions, facts and choices. `{NAME}` stands for a value, quoted for the shell;
    /// if the value is not found, the rule does not hold.
    pub run: String,
}

/// Another buildpack that builds a part first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BeforeRule {
    /// Its name.
    pub buildpack: String,
    /// Its template. The templates of this buildpack can insert the text as `before.BUILDPACK`.
    pub template: String,
    /// When it applies.
    pub when: Predicate,
    /// What it builds, for the plan, e.g. `Front end`. Without it the plan does not show it.
    pub what: Option<String>,
}

/// Programs that could serve the requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CandidateRule {
    /// Finds all of them.
    pub find: Extractor,
    /// The line that chooses one, with `{}` for it. Default: the key `program` of `paas.toml`.
    pub choose: Option<String>,
}

/// A process that runs by default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessRule {
    /// Its type.
    pub name: ProcessType,
    /// When it applies. Default: always.
    pub when: Option<Predicate>,
    /// A command line. `{NAME}` stands for a value, quoted for the shell, and `{script}` for the scripts; if a value is
    /// not found, the rule does not hold. Without `command` and `scripts`, the image's own command runs.
    pub command: Option<String>,
    /// Command lines taken unchanged from the repository and run one after another. If the last of them is not found,
    /// the rule does not hold.
    #[serde(default)]
    pub scripts: Vec<Extractor>,
    /// Its name in the log, e.g. `the start script`.
    pub source: String,
    /// The value that holds the port, if the program listens on one of its own.
    pub port: Option<String>,
    /// Whether it is a guess: a member of a workspace that only this rule can start is taken for a library.
    #[serde(default)]
    pub guess: bool,
}

/// A repository that matches but cannot be built.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusal {
    pub when: Predicate,
    pub message: String,
    pub hint: String,
}

/// A variable that an app reads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigRule {
    pub name: EnvKey,
    pub when: Predicate,
    /// Who reads it, and what it is.
    pub reason: String,
    /// Whether a secret that is made up will do.
    #[serde(default)]
    pub generate: bool,
}

/// A line for the log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub when: Predicate,
    pub text: String,
}

impl Manifest {
    /// What it ignores.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source) if a pattern is malformed.
    pub fn ignored(&self) -> Result<&DockerIgnore> {
        if let Some(ignored) = self.ignored.get() {
            return Ok(ignored);
        }
        let ignored = DockerIgnore::parse("buildpack.toml", &self.ignore.join("\n"))?;
        Ok(self.ignored.get_or_init(|| ignored))
    }

    /// What it looks for, in words.
    pub fn looked_for(&self) -> String {
        let words = || self.detect.iter().map(Predicate::looked_for).filter(|words| !words.is_empty());
        self.looks_for.clone().unwrap_or_else(|| words().collect::<Vec<_>>().join(", or "))
    }

    /// Refuses mistakes that would otherwise fail only when they are used: a missing template, an undefined fact, an
    /// invalid version. This compiles all expressions and patterns, which otherwise happens only when one is needed.
    pub fn check(&self, templates: &BTreeMap<String, String>) -> Result<(), String> {
        let needed = self.files.values().filter(|template| !template.contains('/')).map(String::as_str);
        let dockerfile = self.dockerfile.is_none().then_some("Dockerfile.tera");
        for template in needed.chain(dockerfile) {
            if !templates.contains_key(template) {
                return Err(format!("it has no {template}"));
            }
        }
        for rule in &self.versions {
            if let Some(bad) =
                rule.known.keys().chain(&rule.long_term).chain([&rule.default]).find(|version| !is_version(version))
            {
                return Err(format!("{bad:?} is not a version of {}", rule.what));
            }
        }
        if let Some(bad) = self.packages.iter().flat_map(PackageRule::names).find(|name| !is_package(name)) {
            return Err(format!("{bad:?} is not the name of a Debian package"));
        }
        let mut patterns = 0;
        self.visit(&mut |part| patterns += usize::from(matches!(part, Reference::Expression(_) | Reference::Glob(_))));
        if patterns > PATTERN_LIMIT {
            return Err(format!(
                "it has {patterns} regular expressions and globs, more than the limit of {PATTERN_LIMIT}"
            ));
        }
        let mut wrong = BTreeSet::new();
        self.visit(&mut |part| match part {
            Reference::Fact(name) if !self.facts.contains_key(name) => {
                wrong.insert(format!("there is no fact {name}"));
            }
            Reference::Choice(name, is) if !self.has_option(name, is) => {
                let is = is.map_or_else(String::new, |is| format!(" = {is}"));
                wrong.insert(format!("there is no choice {name}{is}"));
            }
            Reference::Value(name) if !self.values.contains_key(name) => {
                wrong.insert(format!("there is no value {name}"));
            }
            Reference::Version(name) if !self.versions.iter().any(|rule| rule.name == name) => {
                wrong.insert(format!("there is no version {name}"));
            }
            Reference::Expression(expression) => {
                wrong.extend(expression.compile().err().map(|error| error.to_string()));
            }
            Reference::Glob(pattern) => wrong.extend(glob(pattern).err().map(|error| error.to_string())),
            _ => {}
        });
        wrong.into_iter().next().map_or(Ok(()), Err)
    }

    fn has_option(&self, name: &str, is: Option<&str>) -> bool {
        let choice = self.choices.iter().find(|choice| choice.name == name);
        choice.is_some_and(|choice| is.is_none_or(|is| choice.options.iter().any(|option| option.is == is)))
    }

    /// Calls back with everything inside that can be malformed.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(Reference<'a>)) {
        self.detect.iter().chain(self.facts.values()).for_each(|predicate| predicate.visit(visit));
        self.refuse.iter().for_each(|refusal| refusal.when.visit(visit));
        self.notes.iter().for_each(|note| note.when.visit(visit));
        self.config.iter().for_each(|rule| rule.when.visit(visit));
        self.before.iter().for_each(|before| before.when.visit(visit));
        self.runs.iter().chain(&self.beside).for_each(|predicate| predicate.visit(visit));
        self.candidates.iter().for_each(|candidate| candidate.find.visit(visit));
        self.versions.iter().for_each(|rule| rule.visit(visit));
        self.packages.iter().for_each(|rule| rule.visit(visit));
        self.values.values().flatten().for_each(|extractor| extractor.visit(visit));
        for option in self.choices.iter().flat_map(|choice| &choice.options) {
            option.when.iter().for_each(|when| when.visit(visit));
        }
        for rule in self.copies.values().flatten() {
            rule.when.iter().for_each(|when| when.visit(visit));
            rule.files.iter().for_each(|pattern| visit(Reference::Glob(pattern)));
        }
        self.workspace.iter().for_each(|rule| rule.visit(visit));
        for rule in &self.commands {
            rule.when.iter().for_each(|when| when.visit(visit));
        }
        for rule in &self.processes {
            rule.when.iter().for_each(|when| when.visit(visit));
            rule.scripts.iter().for_each(|extractor| extractor.visit(visit));
            rule.port.iter().for_each(|name| visit(Reference::Value(name)));
        }
        for failure in &self.failures {
            [&failure.output].into_iter().chain(&failure.also).for_each(|it| visit(Reference::Expression(it)));
        }
    }
}
