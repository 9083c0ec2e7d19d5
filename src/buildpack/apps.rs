//! Which directory of a repository is the app: the root, the one that `paas.toml` names, or the only member of a
//! workspace that can serve.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    Buildpacks, did_you_mean,
    document::{in_directory, refused},
    paas_toml::{self, PAAS_TOML, PaasToml, is_directory},
    plan::{BuildPlan, Membership, Part, Roots, plan_part},
    procfile::PROCFILE,
    scope::{Index, Scope},
    workspace::Member,
};
use crate::{Error, Result, error::SourceError, tree::Tree};

/// Directories that are never taken for an app.
const ASIDE: [&str; 22] = [
    "docs",
    "doc",
    "example",
    "examples",
    "test",
    "tests",
    "fixtures",
    "spec",
    "e2e",
    "scripts",
    "tools",
    "vendor",
    "third_party",
    "node_modules",
    "dist",
    "build",
    "target",
    "public",
    "static",
    "assets",
    "templates",
    "benchmarks",
];
/// How many directories are looked at if there is not a workspace that lists them.
const MOST: usize = 60;

/// An app of a repository and its plan.
#[derive(Clone, Debug, Serialize)]
pub struct AppPlan {
    /// Its directory; empty for the root.
    pub directory: String,
    /// The name of its package, if it is a member of a workspace.
    pub name: Option<String>,
    /// How it is built and run.
    pub plan: BuildPlan,
}

/// Decides how a source is built and run. If the root has nothing to start, the only member of its workspace that can
/// serve is taken.
///
/// # Errors
/// `SourceError::NothingDetected`, `SourceError::NothingToRun`, `SourceError::SeveralApps` if nothing says which,
/// `SourceError::File` if a file of the source is malformed, [`Error::Source`] if the buildpack cannot continue.
pub fn plan(tree: &Tree, buildpacks: &Buildpacks) -> Result<BuildPlan> {
    plan_with_procfile(tree, buildpacks, PROCFILE)
}

/// The same, with another file as the Procfile, by its path from the directory of the app.
///
/// # Errors
/// As [`plan`].
pub fn plan_with_procfile(tree: &Tree, buildpacks: &Buildpacks, procfile: &str) -> Result<BuildPlan> {
    let repository = Repository::read(tree, buildpacks, procfile)?;
    if let Some((directory, line)) = &repository.paas_toml.build.directory {
        let directory = repository.directory(directory, *line)?;
        return repository.plan_in(&directory, "set in paas.toml");
    }
    let root = repository.plan_in("", "");
    if !repository.is_open(&root)? {
        return root;
    }
    let mut members = repository.members_that_serve()?;
    match members.len() {
        0 => {}
        1 => {
            let AppPlan { mut plan, .. } = members.remove(0);
            if let Some(directory) = &mut plan.directory {
                "the only app of the workspace that can serve".clone_into(&mut directory.source);
            }
            return Ok(plan);
        }
        _ => return Err(several("several apps of this repository can serve, and nothing says which", &members)),
    }
    if let Err(error) = &root {
        let directories = repository.directories_that_serve();
        if !directories.is_empty() {
            let message = match error {
                Error::Source(SourceError::NothingToRun { .. }) => error.to_string(),
                _ => "nothing at the root of the repository can be built".to_owned(),
            };
            return Err(several(&message, &directories));
        }
    }
    root
}

/// The plans of all apps of a source: of its root, and of the members of its workspace, or else the directories, that
/// can serve.
///
/// # Errors
/// As [`plan`], if there are none.
pub fn plan_all(tree: &Tree, buildpacks: &Buildpacks) -> Result<Vec<AppPlan>> {
    let repository = Repository::read(tree, buildpacks, PROCFILE)?;
    let root = repository.plan_in("", "");
    let is_open = repository.is_open(&root)?;
    let mut apps = repository.members_that_serve()?;
    if apps.is_empty() && is_open {
        apps = repository.directories_that_serve();
    }
    if apps.is_empty() || !is_open {
        apps.insert(0, AppPlan { directory: String::new(), name: None, plan: root? });
    }
    Ok(apps)
}

/// A repository, and what is known of its parts.
struct Repository<'a> {
    tree: &'a Tree,
    buildpacks: &'a Buildpacks,
    /// The settings at the root.
    paas_toml: PaasToml,
    /// The workspaces at the root: the name of the buildpack, and the members.
    workspaces: Vec<(&'a str, Vec<Member>)>,
}

impl<'a> Repository<'a> {
    fn read(tree: &'a Tree, buildpacks: &'a Buildpacks, procfile: &str) -> Result<Repository<'a>> {
        let paas_toml = tree.read_text(PAAS_TOML)?.map(|text| paas_toml::parse(&text)).transpose()?.unwrap_or_default();
        let paas_toml = PaasToml { procfile: Some(procfile.to_owned()), ..paas_toml };
        let mut workspaces = Vec::new();
        for buildpack in &buildpacks.list {
            let Some(rule) = &buildpack.manifest.workspace else { continue };
            let root = Scope::new(tree, &buildpack.manifest, &paas_toml, &buildpacks.today);
            let members = rule.members(&root)?;
            if !members.is_empty() {
                workspaces.push((buildpack.name.as_str(), members));
            }
        }
        Ok(Repository { tree, buildpacks, paas_toml, workspaces })
    }

    /// The members of all workspaces, by directory.
    fn members(&self) -> Vec<&Member> {
        let mut seen = BTreeSet::new();
        let all = self.workspaces.iter().flat_map(|(_, members)| members);
        let mut all: Vec<&Member> = all.filter(|member| seen.insert(&member.directory)).collect();
        all.sort_by(|left, right| left.directory.cmp(&right.directory));
        all
    }

    /// Whether another part of the repository than the root may be the app: no file sets a process, and the root
    /// cannot be started or only holds a workspace together.
    fn is_open(&self, root: &Result<BuildPlan>) -> Result<bool> {
        let build = &self.paas_toml.build;
        if build.buildpack.is_some() || build.dockerfile.is_some() {
            return Ok(false);
        }
        match root {
            Ok(plan) => {
                let has_command = self.paas_toml.processes.values().any(|declared| declared.command.is_some());
                let Some(buildpack) = self.buildpacks.find(&plan.buildpack) else { return Ok(false) };
                let bare = buildpack.manifest.workspace.as_ref().and_then(|rule| rule.bare.as_ref());
                let Some(bare) = bare.filter(|_| !has_command && !self.tree.exists(self.paas_toml.procfile_path()))
                else {
                    return Ok(false);
                };
                let scope = Scope::new(self.tree, &buildpack.manifest, &self.paas_toml, &self.buildpacks.today);
                Ok(bare.holds(&scope)?.is_some())
            }
            Err(Error::Source(SourceError::NothingDetected { .. } | SourceError::NothingToRun { .. })) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// The directory that `paas.toml` names, by its path or by the name of its package.
    fn directory(&self, asked: &str, line: usize) -> Result<String> {
        let path = asked.strip_prefix("./").unwrap_or(asked).trim_end_matches('/');
        if path == "." || path.is_empty() {
            return Ok(String::new());
        }
        if self.tree.has_directory(path) {
            return Ok(path.to_owned());
        }
        let members = self.members();
        if let Some(member) = members.iter().find(|member| member.name == path) {
            return Ok(member.directory.clone());
        }
        let message = format!("there is no directory {path:?} in the repository, and no package of this name");
        let known = members.iter().flat_map(|member| [member.directory.as_str(), member.name.as_str()]);
        let hint = match did_you_mean(path, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "write its path from the root of the repository; `paas plan --all` shows the apps".to_owned(),
        };
        Err(refused(PAAS_TOML, line, message, hint))
    }

    /// The plan of a directory. `chosen`: what chose it.
    fn plan_in(&self, directory: &str, chosen: &str) -> Result<BuildPlan> {
        let tree = (!directory.is_empty()).then(|| self.tree.below(directory));
        let own = self.own_settings(tree.as_ref(), directory)?;
        let part = self.part(directory, tree.as_ref().unwrap_or(self.tree), own.as_ref());
        plan_part(&part, self.buildpacks, Some(chosen), &Roots::default())
    }

    /// The `paas.toml` of a directory, which replaces the one at the root.
    fn own_settings(&self, tree: Option<&Tree>, directory: &str) -> Result<Option<PaasToml>> {
        let Some(text) = tree.map_or(Ok(None), |tree| tree.read_text(PAAS_TOML))? else { return Ok(None) };
        let own = paas_toml::parse(&text).map_err(|error| in_directory(error, directory))?;
        self.check_both(&own, directory)?;
        Ok(Some(PaasToml { procfile: self.paas_toml.procfile.clone(), ..own }))
    }

    fn part<'s>(&'s self, directory: &'s str, tree: &'s Tree, own: Option<&'s PaasToml>) -> Part<'s> {
        let memberships = self.workspaces.iter().filter_map(|(buildpack, all)| {
            let member = all.iter().find(|member| member.directory == directory)?;
            Some(Membership { buildpack, member, all })
        });
        let memberships = memberships.collect();
        let paas_toml = own.unwrap_or(&self.paas_toml);
        Part { repository: self.tree, tree, directory, paas_toml, memberships, index: Index::default() }
    }

    /// Two files that both set something would leave one of them without effect.
    fn check_both(&self, own: &PaasToml, directory: &str) -> Result<()> {
        if let Some((_, line)) = &own.build.directory {
            let hint = "remove it: only the file at the root of the repository chooses a directory";
            let error = refused(PAAS_TOML, *line, "this file is already that of the directory", hint);
            return Err(in_directory(error, directory));
        }
        let mut root = self.paas_toml.clone();
        (root.build.directory, root.build.first_line, root.procfile) = (None, None, None);
        if root == PaasToml::default() {
            return Ok(());
        }
        let message = format!("{directory} has a {PAAS_TOML} of its own, so only `directory` can be set here");
        Err(refused(PAAS_TOML, None, message, format!("move the other keys to {directory}/{PAAS_TOML}")))
    }

    /// The members of the workspaces that can serve.
    fn members_that_serve(&self) -> Result<Vec<AppPlan>> {
        let members = self.members();
        let directories: Vec<&str> = members.iter().map(|member| member.directory.as_str()).collect();
        let mut serve = Vec::new();
        for (directory, found) in self.which_serve(&directories) {
            serve.extend(found?.map(|is_guess| (directory, is_guess)));
        }
        // A library has a main file too.
        if serve.iter().any(|(_, is_guess)| !is_guess) {
            serve.retain(|(_, is_guess)| !is_guess);
        }
        serve.into_iter().map(|(directory, _)| self.app(directory)).collect()
    }

    /// Which directories can serve, and whether that is only a guess.
    ///
    /// # Errors
    /// For each, if a file in it is malformed: whether it is an app is not known then.
    fn which_serve<'s>(&self, directories: &[&'s str]) -> Vec<(&'s str, Result<Option<bool>>)> {
        let parts = directories.iter().map(|directory| {
            let tree = self.tree.below(directory);
            let own = self.own_settings(Some(&tree), directory);
            (*directory, tree, own)
        });
        let parts: Vec<_> = parts.collect();
        let roots = Roots::default();
        let mut found = Vec::new();
        for (directory, tree, own) in &parts {
            let serves = match own {
                // The roots are for settings that are the same for all.
                Ok(Some(own)) => {
                    plan_part(&self.part(directory, tree, Some(own)), self.buildpacks, None, &Roots::default())
                }
                Ok(None) => plan_part(&self.part(directory, tree, None), self.buildpacks, None, &roots),
                Err(_) => self.plan_in(directory, ""),
            };
            let serves = match serves {
                Ok(plan) => Ok(plan.processes.iter().any(|spec| spec.process.is_web()).then_some(plan.is_guess)),
                Err(error @ Error::Source(SourceError::File { .. })) => Err(error),
                Err(_) => Ok(None),
            };
            found.push((*directory, serves));
        }
        found
    }

    fn app(&self, directory: &str) -> Result<AppPlan> {
        let plan = self.plan_in(directory, "one of several")?;
        let name = plan.directory.as_ref().and_then(|directory| directory.name.clone());
        Ok(AppPlan { directory: directory.to_owned(), name, plan })
    }

    /// Directories near the root that can serve, for a source without a workspace.
    fn directories_that_serve(&self) -> Vec<AppPlan> {
        let mut tried = BTreeSet::new();
        for entry in self.tree.files() {
            let parents: Vec<&str> = entry.path.iter().filter_map(|part| part.to_str()).collect();
            let parents = &parents[..parents.len().saturating_sub(1)];
            let skipped = |part: &&str| part.starts_with('.') || ASIDE.contains(part);
            for depth in 1..=parents.len().min(2) {
                let directory = parents[..depth].join("/");
                if tried.len() < MOST && is_directory(&directory) && !parents[..depth].iter().any(skipped) {
                    tried.insert(directory);
                }
            }
        }
        let tried: Vec<&str> = tried.iter().map(String::as_str).collect();
        let mut apps: Vec<AppPlan> = Vec::new();
        for (directory, serves) in self.which_serve(&tried) {
            // What is below an app belongs to it.
            let is_below = apps.iter().any(|app| directory.starts_with(&format!("{}/", app.directory)));
            if !is_below && matches!(serves, Ok(Some(_))) {
                apps.extend(self.app(directory).ok());
            }
        }
        apps
    }
}

/// The error that lists apps: one must be chosen.
fn several(message: &str, apps: &[AppPlan]) -> Error {
    let width = apps.iter().map(|app| app.directory.chars().count()).max().unwrap_or_default();
    let lines = apps.iter().map(|AppPlan { directory, name, plan }| {
        let framework = plan.choices.iter().find(|choice| choice.what == "Framework");
        let framework = framework.map(|choice| format!(", {}", choice.option)).unwrap_or_default();
        let name = name.as_ref().map(|name| format!(", named {name}")).unwrap_or_default();
        format!("    {directory:<width$}  {}{framework}{name}", plan.title)
    });
    Error::Source(SourceError::SeveralApps {
        message: message.to_owned(),
        apps: format!("apps:\n{}", lines.collect::<Vec<_>>().join("\n")),
        first: apps.first().map(|app| app.directory.clone()).unwrap_or_default(),
    })
}
