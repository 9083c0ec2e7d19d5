use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{
    detect::{Predicate, glob},
    extract::{Extractor, Part, Words},
    packages::{DependencyRules, PackageRule, is_package},
    range::is_version,
    version::VersionRule,
};
use crate::model::ProcessType;

/// What a `buildpack.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Manifest {
    /// What it is called in the log, e.g. `Node`.
    pub title: String,
    /// Its place among the buildpacks: the lowest number that matches wins.
    pub order: u32,
    /// When it matches: the first rule that holds gives the reason.
    pub detect: Vec<Predicate>,
    /// What it looks for, for the message where nothing matches; without it, what `detect` says.
    pub looks_for: Option<String>,
    /// The repository's own Dockerfile that is built; without it, the template `Dockerfile.tera` is.
    pub dockerfile: Option<String>,
    /// The images it builds from, by what the templates call them; each is a template of versions, facts and choices.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// What has a version, and who decides it.
    #[serde(default)]
    pub versions: Vec<VersionRule>,
    /// What there are several tools for, e.g. package managers, and which of them it is.
    #[serde(default)]
    pub choices: Vec<ChoiceRule>,
    /// What the templates can ask about.
    #[serde(default)]
    pub facts: BTreeMap<String, Predicate>,
    /// What the templates can write, as quoted JSON strings, and commands quoted for the shell: the first extractor that
    /// finds something.
    #[serde(default)]
    pub values: BTreeMap<String, Vec<Extractor>>,
    /// Where the names of the dependencies are.
    pub dependencies: Option<DependencyRules>,
    /// System packages that dependencies need.
    #[serde(default)]
    pub packages: Vec<PackageRule>,
    /// Files that the templates can copy before the rest of the source, by what the templates call them.
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
    /// Patterns of `.dockerignore` that hold before the repository's own.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Whether it can serve what `[build] static` names.
    #[serde(default, rename = "static")]
    pub serves_static: bool,
    /// What runs where neither `paas.toml` nor `Procfile` says: the first rule that holds for each process type.
    #[serde(default)]
    pub processes: Vec<ProcessRule>,
    /// What to do where nothing says what runs.
    pub no_process: Option<String>,
    /// What cannot be built, and what to do about it.
    #[serde(default)]
    pub refuse: Vec<Refusal>,
    /// What is worth a line in the log.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// What the output of a failed build means.
    #[serde(default)]
    pub failures: Vec<super::diagnose::FailureRule>,
}

/// A choice among tools.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChoiceRule {
    /// What the templates call it.
    pub name: String,
    /// What the plan calls it, e.g. `Package manager`; without it the plan does not show it.
    pub what: Option<String>,
    /// The options, the first of which that holds is taken.
    pub options: Vec<ChoiceOption>,
}

/// One of the tools.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChoiceOption {
    pub is: String,
    /// When; always, if not said.
    pub when: Option<Predicate>,
}

/// Files to be copied.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CopyRule {
    /// Which.
    pub files: Words,
    /// When; always, if not said.
    pub when: Option<Predicate>,
    /// What the copies have in place of what the files have, so that a change of these is none of theirs. A file that an
    /// earlier rule copies is copied as it is.
    pub content: Option<String>,
}

/// A command of the build.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandRule {
    /// What the templates call it, e.g. `install`.
    pub name: String,
    /// When; always, if not said.
    pub when: Option<Predicate>,
    /// The command line: a template of versions, facts and choices, in which `{NAME}` stands for a value, quoted for the
    /// shell; where that is not found the rule does not hold.
    pub run: String,
}

/// Another buildpack that has its say first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BeforeRule {
    /// The other's name.
    pub buildpack: String,
    /// Its template, whose text the templates of this one can write as `before.BUILDPACK`.
    pub template: String,
    /// When.
    pub when: Predicate,
}

/// A process that runs by default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessRule {
    /// Its type.
    pub name: ProcessType,
    /// When; always, if not said.
    pub when: Option<Predicate>,
    /// A command line, in which `{NAME}` stands for a value, quoted for the shell, and `{script}` for the scripts; where a
    /// value is not found the rule does not hold. Without it and `scripts`, the image's own command runs.
    pub command: Option<String>,
    /// Command lines taken from the repository as they are, run one after another; the rule does not hold where the
    /// last of them is not found.
    #[serde(default)]
    pub scripts: Vec<Extractor>,
    /// What it is called in the log, e.g. `the start script`.
    pub source: String,
}

/// A repository that matches and cannot be built.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusal {
    pub when: Predicate,
    pub message: String,
    pub hint: String,
}

/// A line for the log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    pub when: Predicate,
    pub text: String,
}

impl Manifest {
    /// What it looks for, in words.
    pub fn looked_for(&self) -> String {
        let words = || self.detect.iter().map(Predicate::looked_for).filter(|words| !words.is_empty());
        self.looks_for.clone().unwrap_or_else(|| words().collect::<Vec<_>>().join(", or "))
    }

    /// Refuses what would fail only when it is used: a missing template, a fact that is nowhere, a version that is none.
    /// This compiles all expressions and patterns, which otherwise happens to those that are asked.
    pub fn check(&self, templates: &BTreeMap<String, String>) -> Result<(), String> {
        let needed = self.files.values().filter(|template| !template.contains('/')).map(String::as_str);
        let dockerfile = self.dockerfile.is_none().then_some("Dockerfile.tera");
        for template in needed.chain(dockerfile) {
            if !templates.contains_key(template) {
                return Err(format!("it has no {template}"));
            }
        }
        for rule in &self.versions {
            if let Some(bad) = rule.known.keys().chain([&rule.default]).find(|version| !is_version(version)) {
                return Err(format!("{bad:?} is not a version of {}", rule.what));
            }
        }
        if let Some(bad) = self.packages.iter().flat_map(PackageRule::names).find(|name| !is_package(name)) {
            return Err(format!("{bad:?} is not the name of a Debian package"));
        }
        let mut wrong = BTreeSet::new();
        self.visit(&mut |part| match part {
            Part::Fact(name) if !self.facts.contains_key(name) => {
                wrong.insert(format!("there is no fact {name}"));
            }
            Part::Choice(name, is) if !self.has_option(name, is) => {
                wrong.insert(format!("there is no choice {name} = {is}"));
            }
            Part::Value(name) if !self.values.contains_key(name) => {
                wrong.insert(format!("there is no value {name}"));
            }
            Part::Version(name) if !self.versions.iter().any(|rule| rule.name == name) => {
                wrong.insert(format!("there is no version {name}"));
            }
            Part::Expression(expression) => {
                wrong.extend(expression.compile().err().map(|error| error.to_string()));
            }
            Part::Glob(pattern) => wrong.extend(glob(pattern).err().map(|error| error.to_string())),
            _ => {}
        });
        wrong.into_iter().next().map_or(Ok(()), Err)
    }

    fn has_option(&self, name: &str, is: &str) -> bool {
        let choice = self.choices.iter().find(|choice| choice.name == name);
        choice.is_some_and(|choice| choice.options.iter().any(|option| option.is == is))
    }

    /// Calls back with everything inside that can be malformed.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(Part<'a>)) {
        self.detect.iter().chain(self.facts.values()).for_each(|predicate| predicate.visit(visit));
        self.refuse.iter().for_each(|refusal| refusal.when.visit(visit));
        self.notes.iter().for_each(|note| note.when.visit(visit));
        self.before.iter().for_each(|before| before.when.visit(visit));
        self.versions.iter().for_each(|rule| rule.visit(visit));
        self.packages.iter().for_each(|rule| rule.visit(visit));
        self.values.values().flatten().for_each(|extractor| extractor.visit(visit));
        for option in self.choices.iter().flat_map(|choice| &choice.options) {
            option.when.iter().for_each(|when| when.visit(visit));
        }
        for rule in self.copies.values().flatten() {
            rule.when.iter().for_each(|when| when.visit(visit));
            rule.files.iter().for_each(|pattern| visit(Part::Glob(pattern)));
        }
        for rule in &self.commands {
            rule.when.iter().for_each(|when| when.visit(visit));
        }
        for rule in &self.processes {
            rule.when.iter().for_each(|when| when.visit(visit));
            rule.scripts.iter().for_each(|extractor| extractor.visit(visit));
        }
        self.failures.iter().for_each(|failure| visit(Part::Expression(&failure.output)));
    }
}
