//! The Dockerfile of a buildpack, from its templates and what is known about a source.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path},
};

use serde::Serialize;

use super::{
    Buildpack, Buildpacks,
    origin::Origin,
    paas_toml::{BuildSection, PAAS_TOML, PaasToml},
    packages::SystemPackages,
    plan::Choice,
    render::{chain_form, command_instruction, quoted, quoted_variables, render, shell_form},
    scope::Scope,
    version::Version,
    wrong_manifest,
};
use crate::{
    Error, Result,
    tree::{Added, DockerIgnore},
};

/// A command of the build, for the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuildCommand {
    /// Its name: `install`, `build` or another.
    pub name: String,
    /// The command line.
    pub command: String,
    /// Where it comes from: `paas.toml`, or the buildpack.
    pub source: String,
    /// Where that is, and what would change it.
    #[serde(flatten)]
    pub origin: Origin,
}

/// What a line that sets a command has instead of one.
pub(super) const COMMAND: &str = "\"COMMAND\"";

/// A Dockerfile, and all files that are added to the build context, including itself.
#[derive(Default)]
pub(super) struct Generated {
    pub path: String,
    pub text: String,
    pub extra_files: Vec<(String, Added)>,
    pub commands: Vec<BuildCommand>,
    pub packages: SystemPackages,
    /// The versions of other buildpacks that build a part first.
    pub more_versions: Vec<Version>,
    /// What they build, and why.
    pub parts: Vec<Choice>,
}

/// What a template can write.
#[derive(Serialize)]
struct TemplateContext<'a> {
    /// Versions, by name: digits and dots.
    version: BTreeMap<String, String>,
    /// Facts, by name.
    has: BTreeMap<&'a str, bool>,
    /// What was chosen, by name.
    choice: BTreeMap<&'a str, String>,
    /// Values, by name, as quoted JSON strings; those not found are missing.
    value: BTreeMap<&'a str, String>,
    /// Commands for `RUN`, by name; those that are not run are missing.
    command: BTreeMap<String, String>,
    /// Files for `COPY`, by name, as quoted JSON strings; those not found are missing.
    copy: BTreeMap<&'a str, String>,
    /// Names of system packages.
    packages: BTreeMap<&'static str, Vec<String>>,
    /// Variables for `ENV`, quoted; missing if there are none.
    variables: BTreeMap<&'static str, String>,
    /// The images to build from.
    image: BTreeMap<String, String>,
    /// The texts of other buildpacks, by their names.
    before: BTreeMap<String, String>,
    /// Whether the processes or the build need those languages too.
    beside: BTreeMap<String, bool>,
    /// The directory of the plan's own files in the build context.
    directory: String,
    /// The member of a workspace that is built; missing if the source is not a member of one.
    workspace: Option<WorkspaceContext<'a>>,
    /// The way from the directory in which commands run to the root of the build context: empty, or `../../`.
    up: String,
}

/// What a template can write about a workspace: plain words, which need no quotes.
#[derive(Serialize)]
struct WorkspaceContext<'a> {
    /// The member's directory.
    directory: &'a str,
    /// The member's name.
    name: String,
    /// The directories of the members to build first.
    needs: Vec<String>,
}

/// The Dockerfile of a buildpack: its path, its text and all files that are added to the build context.
///
/// # Errors
/// [`Error::Source`] if a template is malformed, `SourceError::File` if a file of the source is.
pub(super) fn generate(
    scope: &Scope<'_>,
    buildpacks: &Buildpacks,
    buildpack: &Buildpack,
    ignore: &DockerIgnore,
    command: Option<&str>,
) -> Result<Generated> {
    let tree = scope.context().tree;
    // A name that the repository does not use, not even for a link that would redirect these files.
    let directory = (0..)
        .map(|number| if number == 0 { ".paas".to_owned() } else { format!(".paas-{number}") })
        .find(|directory| {
            !tree.exists(directory) && !tree.files().iter().any(|entry| entry.path.starts_with(directory))
        })
        .ok_or_else(|| Error::bug("no free name"))?;
    let path = format!("{directory}/Dockerfile");
    let mut extra_files = vec![(path.clone(), Added::Content(Vec::new()))];
    let mut packages = SystemPackages::find(scope)?;
    if let Some(within) = &scope.within {
        packages.add(SystemPackages::find(&within.root)?);
        packages.add(within.packages.clone());
    }
    let (mut context, commands) = context(scope, &directory, &packages, ignore, &mut extra_files)?;

    let (mut more_versions, mut parts) = (Vec::new(), Vec::new());
    for rule in &scope.manifest.before {
        let missing = || format!("{} needs the buildpack {}, which does not exist", buildpack.name, rule.buildpack);
        let other = buildpacks.find(&rule.buildpack).ok_or_else(|| wrong_manifest(missing()))?;
        // The build settings of paas.toml are for the chosen buildpack; only versions and variables apply to others
        // too.
        let BuildSection { versions, variables, .. } = &scope.paas_toml.build;
        let build = BuildSection { versions: versions.clone(), variables: variables.clone(), ..Default::default() };
        let paas_toml = PaasToml { build, ..PaasToml::default() };
        let scope = scope.context();
        let when = rule.when.holds(scope)?;
        let other_scope = scope.beside(&other.manifest, &paas_toml);
        let needed = other.manifest.beside.as_ref().map_or(Ok(None), |beside| beside.holds(&other_scope))?;
        let title = &other.manifest.title;
        match (&when, &needed) {
            (None, None) => continue,
            (_, Some(reason)) => {
                let origin = other.manifest.beside.as_ref().map_or(Ok(None), |beside| beside.origin(&other_scope))?;
                let (what, source) = ("Beside it".to_owned(), reason.clone());
                parts.push(Choice { what, option: title.clone(), source, origin: origin.unwrap_or_default() });
            }
            _ => {}
        }
        if let (Some(what), Some(source)) = (&rule.what, when) {
            let origin = rule.when.origin(scope)?.unwrap_or_default();
            parts.push(Choice { what: what.clone(), option: title.clone(), source, origin });
        }
        let scope = other_scope;
        let packages = SystemPackages::find(&scope)?;
        let (other_context, _) = self::context(&scope, &directory, &packages, ignore, &mut extra_files)?;
        let text = render(buildpacks, &scope, &format!("{}/{}", other.name, rule.template), &other_context)?;
        context.before.insert(other.name.clone(), text);
        context.beside.insert(other.name.clone(), needed.is_some());
        more_versions.extend(versions_of(&scope)?);
    }

    let mut text = render(buildpacks, scope, &format!("{}/Dockerfile.tera", buildpack.name), &context)?;
    if let Some(command) = command {
        text.push_str(&command_instruction(command));
    }
    for (file, template) in &scope.manifest.files {
        // Some files are only needed by parts of the template that were not rendered.
        if !text.contains(&format!("{directory}/{file}")) {
            continue;
        }
        if Path::new(file).components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(wrong_manifest(format!(
                "the buildpack {} adds the file {file:?}, which is not a path in the build context",
                buildpack.name
            )));
        }
        let template = if template.contains('/') { template.clone() } else { format!("{}/{template}", buildpack.name) };
        extra_files.push((
            format!("{directory}/{file}"),
            Added::Content(render(buildpacks, scope, &template, &context)?.into_bytes()),
        ));
    }
    extra_files[0].1 = Added::Content(text.clone().into_bytes());
    Ok(Generated { path, text, extra_files, commands, packages, more_versions, parts })
}

/// All versions that a source needs.
pub(super) fn versions_of(scope: &Scope<'_>) -> Result<Vec<Version>> {
    let mut versions = Vec::new();
    for rule in &scope.manifest.versions {
        versions.extend(scope.version(&rule.name)?.map(|version| (*version).clone()));
    }
    Ok(versions)
}

fn context<'a>(
    scope: &Scope<'a>,
    directory: &str,
    packages: &SystemPackages,
    ignore: &DockerIgnore,
    extra_files: &mut Vec<(String, Added)>,
) -> Result<(TemplateContext<'a>, Vec<BuildCommand>)> {
    let manifest = scope.manifest;
    let mut version = BTreeMap::new();
    for rule in &manifest.versions {
        if let Some(found) = scope.version(&rule.name)? {
            version.insert(rule.name.clone(), found.version.clone());
        }
    }
    let mut has = BTreeMap::new();
    for fact in manifest.facts.keys() {
        has.insert(fact.as_str(), scope.fact(fact)?.is_some());
    }
    let mut choice = BTreeMap::new();
    for rule in &manifest.choices {
        choice.insert(rule.name.as_str(), scope.choice(&rule.name)?.option);
    }
    let mut value = BTreeMap::new();
    for key in manifest.values.keys() {
        if let Some(found) = scope.value(key)? {
            value.insert(key.as_str(), quoted(found.text.trim()));
        }
    }
    let command = BTreeMap::new();
    let build = &scope.paas_toml.build;
    let all = [("build", &build.variables), ("run", &scope.paas_toml.variables)];
    let variables = all.into_iter().filter(|(_, all)| !all.is_empty());
    let variables = variables.map(|(name, all)| (name, quoted_variables(all))).collect();
    let names = |packages: &BTreeMap<String, String>| packages.keys().cloned().collect();
    let packages = BTreeMap::from([("build", names(&packages.build)), ("run", names(&packages.run))]);
    let copy = copies(scope.context(), directory, ignore, extra_files)?;
    let image = BTreeMap::new();
    let (before, beside, directory) = (BTreeMap::new(), BTreeMap::new(), directory.to_owned());
    let workspace = scope.within.as_ref().map(|within| WorkspaceContext {
        directory: scope.directory,
        name: within.name.clone(),
        needs: within.needs.clone(),
    });
    let up = workspace
        .as_ref()
        .map_or_else(String::new, |workspace| workspace.directory.split('/').map(|_| "../").collect());
    let mut context = TemplateContext {
        version,
        has,
        choice,
        value,
        command,
        copy,
        packages,
        variables,
        image,
        before,
        beside,
        directory,
        workspace,
        up,
    };
    for (name, template) in &manifest.images {
        let image = match build.images.get(name) {
            Some((image, _)) => image.clone(),
            None => super::render::one_off(scope, &format!("images.{name}"), template, &context)?,
        };
        context.image.insert(name.clone(), image);
    }
    let mut run = Vec::new();
    for (instruction, command) in commands(scope, &context)? {
        if !command.command.is_empty() {
            context.command.insert(command.name.clone(), instruction);
            run.push(command);
        }
    }
    Ok((context, run))
}

/// The commands of the build, each as it is written after `RUN`: for each name the first that holds, or the one that
/// `paas.toml` sets instead. A command that is turned off is empty.
fn commands(scope: &Scope<'_>, context: &TemplateContext<'_>) -> Result<Vec<(String, BuildCommand)>> {
    let build = &scope.paas_toml.build;
    // Without a workspace, the directory of the source is the root.
    let runs_at_root = |name: &str| {
        let rule = scope.manifest.workspace.as_ref().filter(|_| scope.within.is_some());
        rule.is_none_or(|rule| rule.shared.iter().any(|shared| shared == name))
    };
    let mut commands: Vec<(String, BuildCommand)> = Vec::new();
    for (name, set) in [("install", &build.install), ("build", &build.build)] {
        if let Some((line, number)) = set {
            let mut line = line.trim().to_owned();
            if !line.is_empty() && !runs_at_root(name) {
                line = format!("cd {}\n{line}", scope.directory);
            }
            let origin = Origin::of(PAAS_TOML, *number).changed_by("build", name, COMMAND);
            let command = BuildCommand { name: name.to_owned(), command: line, source: PAAS_TOML.to_owned(), origin };
            commands.push((shell_form(&command.command), command));
        }
    }
    for rule in &scope.manifest.commands {
        if commands.iter().any(|(_, command)| command.name == rule.name) {
            continue;
        }
        let when = rule.when.as_ref().map_or(Ok(Some(String::new())), |when| when.holds(scope))?;
        let Some(reason) = when else { continue };
        let template = super::render::one_off(scope, &format!("commands.{}", rule.name), &rule.run, context)?;
        if template.trim().is_empty() {
            continue;
        }
        let Some(line) = with_values(scope, template.trim())? else { continue };
        // Without values of the repository, the plain form is safe and easier to read.
        let plain = line == template.trim();
        let line = if runs_at_root(&rule.name) { line } else { in_directory(scope.directory, &line) };
        let instruction = if plain { line.clone() } else { chain_form(&line) };
        let origin = match &rule.when {
            Some(when) => when.origin(scope)?.unwrap_or_default(),
            None => Origin::default(),
        };
        let can_be_set = ["install", "build"].contains(&rule.name.as_str());
        let origin = if can_be_set { origin.changed_by("build", &rule.name, COMMAND) } else { origin };
        commands.push((instruction, BuildCommand { name: rule.name.clone(), command: line, source: reason, origin }));
    }
    Ok(commands)
}

/// A command line that runs in a directory and leaves the next one where it was.
fn in_directory(directory: &str, line: &str) -> String {
    format!("(cd {directory} && {line})")
}

/// A command line with its values, quoted for the shell; nothing if one of them is not found.
pub(super) fn with_values(scope: &Scope<'_>, line: &str) -> Result<Option<String>> {
    let mut filled = String::with_capacity(line.len());
    let mut rest = line;
    // Placeholders inside a value's own text are not replaced.
    while let Some(start) = rest.find('{') {
        let (before, after) = rest.split_at(start);
        filled.push_str(before);
        let name = after[1..].split('}').next().filter(|name| scope.manifest.values.contains_key(*name));
        match name {
            Some(name) => {
                let Some(found) = scope.value(name)? else { return Ok(None) };
                filled.push_str(&shell_words::quote(found.text.trim()));
                rest = &after[name.len() + 2..];
            }
            None => {
                filled.push('{');
                rest = &after[1..];
            }
        }
    }
    filled.push_str(rest);
    Ok(Some(filled))
}

/// The files that templates copy before the rest, so that a change to the source keeps the layers made from them. Files
/// at the root are copied directly. If some are deeper, or have other content, all are gathered with their paths in a
/// directory of the plan, because `COPY` would put them all in one place.
fn copies<'a>(
    scope: &Scope<'a>,
    directory: &str,
    ignore: &DockerIgnore,
    extra_files: &mut Vec<(String, Added)>,
) -> Result<BTreeMap<&'a str, String>> {
    let mut copies = BTreeMap::new();
    for (name, rules) in &scope.manifest.copies {
        let mut paths: BTreeMap<&Path, Option<&str>> = BTreeMap::new();
        for rule in rules {
            if rule.when.as_ref().map_or(Ok(true), |when| when.holds(scope).map(|answer| answer.is_some()))? {
                for entry in scope.matching(&rule.files)? {
                    paths.entry(&entry.path).or_insert(rule.content.as_deref());
                }
            }
        }
        paths.retain(|path, _| !ignore.excludes(path));
        if paths.is_empty() {
            continue;
        }
        let plain = |(path, content): (&&Path, &Option<&str>)| {
            // No separator, and no character that COPY would read as a pattern or a variable.
            let text = path.to_str().unwrap_or("/");
            content.is_none() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte))
        };
        if paths.iter().all(plain) {
            let names: Vec<String> = paths.keys().filter_map(|path| path.to_str()).map(quoted).collect();
            copies.insert(name.as_str(), names.join(", "));
            continue;
        }
        let already: BTreeSet<String> = extra_files.iter().map(|(place, _)| place.clone()).collect();
        for (path, content) in paths {
            let content = match content {
                Some(content) => Some(Added::Content(content.as_bytes().to_vec())),
                // Some tools keep themselves in the repository: files of any size, which only the build reads.
                None => scope.tree.exists(path).then(|| Added::Copy(path.to_owned())),
            };
            if let (Some(text), Some(content)) = (path.to_str(), content) {
                let place = format!("{directory}/{name}/{text}");
                if !already.contains(&place) {
                    extra_files.push((place, content));
                }
            }
        }
        copies.insert(name.as_str(), quoted(&format!("{directory}/{name}/")));
    }
    Ok(copies)
}
