//! Workspaces: several packages in one repository that share their dependencies. What makes one is data of the
//! buildpacks; here is which members it has, and which of them one member needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Deserialize;

use super::{
    detect::Predicate,
    paas_toml::{PaasToml, is_directory},
    packages::{DependencySource, SystemPackages},
    pattern::{Patterns, Reference, glob},
    scope::Scope,
};
use crate::{Result, tree::Tree};

/// How many members of a workspace are looked at.
const MOST: usize = 500;

/// The `[workspace]` section of a `buildpack.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WorkspaceRule {
    /// Which directories are members: those of all rules that hold.
    pub members: Vec<MemberRule>,
    /// The value that is a member's name. Default: the last word of its directory.
    pub name: Option<String>,
    /// Facts, choices and values that the root answers for its members, and commands that run there. Everything else is
    /// asked in the directory of the member and runs there.
    #[serde(default)]
    pub shared: Vec<String>,
    /// When the root is certainly no app of its own, even if it looks like one.
    pub bare: Option<Predicate>,
    /// Whether a member that another one needs must be built before it.
    pub built: Option<Predicate>,
}

/// Directories that are members of a workspace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct MemberRule {
    /// When it applies, at the root. Default: always.
    pub when: Option<Predicate>,
    /// The directories of these files are members.
    pub files: Patterns,
    /// Lists of patterns: the directory must match at least one, and none with `!` before it.
    pub listed: Option<Vec<DependencySource>>,
    /// Lists of patterns that it must not match.
    #[serde(default)]
    pub excluded: Vec<DependencySource>,
}

/// A member of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its directory, which is a plain word in a command line and in a Dockerfile.
    pub directory: String,
    /// Its name, which is one too.
    pub name: String,
}

impl WorkspaceRule {
    /// The members, by directory; none if the root is not that of a workspace.
    ///
    /// # Errors
    /// `SourceError::File` if a file it reads does not parse.
    pub fn members(&self, root: &Scope<'_>) -> Result<Vec<Member>> {
        let mut directories = BTreeSet::new();
        for rule in &self.members {
            if rule.when.as_ref().map_or(Ok(true), |when| when.holds(root).map(|answer| answer.is_some()))? {
                directories.extend(rule.directories(root)?);
            }
        }
        let mut members = Vec::new();
        for directory in directories.into_iter().take(MOST) {
            let tree = root.tree.below(&directory);
            let scope = Scope::new(&tree, root.manifest, root.paas_toml, root.today);
            // A name that cannot be a plain word is not used.
            let own = match &self.name {
                Some(name) => scope.value(name).ok().flatten().map(|found| found.text).filter(|name| is_name(name)),
                None => None,
            };
            let last = directory.rsplit('/').next().unwrap_or(&directory).to_owned();
            members.push(Member { name: own.unwrap_or(last), directory });
        }
        Ok(members)
    }

    /// The members that one of them needs, each after those that it needs itself: the directories of those that must be
    /// built first, and the system packages of all.
    ///
    /// # Errors
    /// `SourceError::File` if a file it reads does not parse.
    pub fn needs(&self, root: &Scope<'_>, members: &[Member], of: &str) -> Result<(Vec<String>, SystemPackages)> {
        let trees: BTreeMap<&str, Tree> =
            members.iter().map(|member| (member.directory.as_str(), root.tree.below(&member.directory))).collect();
        let (mut done, mut order) = (BTreeSet::from([of]), Vec::new());
        // Each member waits on this stack until all that it needs are done.
        let mut waiting = vec![(of, needed(root, &trees, members, of)?)];
        while let Some((directory, needs)) = waiting.last_mut() {
            match needs.pop() {
                Some(next) if done.insert(next) => waiting.push((next, needed(root, &trees, members, next)?)),
                Some(_) => {}
                None => {
                    if *directory != of {
                        order.push(*directory);
                    }
                    waiting.pop();
                }
            }
        }
        let (mut build, mut packages) = (Vec::new(), SystemPackages::default());
        for directory in order {
            let scope = Scope::new(&trees[directory], root.manifest, root.paas_toml, root.today);
            if let Some(built) = &self.built
                && built.holds(&scope)?.is_some()
            {
                build.push(directory.to_owned());
            }
            packages.add(SystemPackages::find(&scope)?);
        }
        Ok((build, packages))
    }

    /// Calls back with everything inside that can be malformed, to check the buildpack.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(Reference<'a>)) {
        self.bare.iter().chain(&self.built).for_each(|predicate| predicate.visit(visit));
        self.name.iter().for_each(|name| visit(Reference::Value(name)));
        for rule in &self.members {
            rule.when.iter().for_each(|when| when.visit(visit));
            rule.files.iter().for_each(|pattern| visit(Reference::Glob(pattern)));
            for source in rule.listed.iter().flatten().chain(&rule.excluded) {
                if let DependencySource::Regex { regex, .. } = source {
                    visit(Reference::Expression(regex));
                }
            }
        }
    }
}

impl MemberRule {
    fn directories(&self, root: &Scope<'_>) -> Result<BTreeSet<String>> {
        let mut listed = Vec::new();
        let mut excluded = Vec::new();
        for source in self.listed.iter().flatten() {
            source.each(root, &mut |text, _| match text.trim().strip_prefix('!') {
                Some(text) => excluded.push(text.to_owned()),
                None => listed.push(text.trim().to_owned()),
            })?;
        }
        for source in &self.excluded {
            source.each(root, &mut |text, _| excluded.push(text.trim().to_owned()))?;
        }
        // A pattern of the repository that is malformed matches nothing.
        let matchers = |patterns: &[String]| -> Vec<_> {
            let plain = |pattern: &String| pattern.trim_start_matches("./").trim_end_matches('/').to_owned();
            patterns.iter().filter_map(|pattern| glob(&plain(pattern)).ok()).collect()
        };
        let (listed, excluded) = (matchers(&listed), matchers(&excluded));
        let found = root.matching(&self.files)?.into_iter().filter_map(|entry| entry.path.parent()?.to_str());
        let found = found.filter(|directory| {
            let path = Path::new(directory);
            is_directory(directory)
                && (self.listed.is_none() || listed.iter().any(|pattern| pattern.is_match(path)))
                && !excluded.iter().any(|pattern| pattern.is_match(path))
        });
        Ok(found.map(str::to_owned).collect())
    }
}

/// The directories of the members that this one depends on.
fn needed<'a>(
    root: &Scope<'_>,
    trees: &BTreeMap<&str, Tree>,
    members: &'a [Member],
    directory: &str,
) -> Result<Vec<&'a str>> {
    let Some(tree) = trees.get(directory) else { return Ok(Vec::new()) };
    let empty = PaasToml::default();
    let scope = Scope::new(tree, root.manifest, &empty, root.today);
    let dependencies = scope.dependencies()?;
    let needed = members.iter().filter(|member| member.directory != directory && dependencies.has(&member.name));
    // The last is taken first.
    Ok(needed.rev().map(|member| member.directory.as_str()).collect())
}

/// Whether a text can be the name of a member: one plain word in a command line.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@/+-".contains(&byte);
    !text.is_empty() && text.len() <= 200 && !text.starts_with('-') && text.bytes().all(plain)
}
