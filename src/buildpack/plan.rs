use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use serde::Serialize;

use super::{
    Buildpack, Buildpacks,
    app_json::{self, APP_JSON, AppJson, Scripts, Variable},
    dockerfile::{self, exposed_ports},
    document::{in_directory, refused},
    generate::{BuildCommand, Generated, generate, versions_of},
    lfs,
    line_ends::{self, FlawedScript},
    origin::{Origin, line_with, of_choice},
    paas_toml::{PAAS_TOML, PaasToml},
    packages::SystemPackages,
    processes::{Processes, candidates, declared, processes},
    procfile::{self, known_words},
    runs::Lines,
    scope::{Index, Scope, Within},
    version::Version,
    workspace::Member,
};
use crate::{
    Error, Result,
    error::SourceError,
    model::{CronSpec, EnvKey, Invalid, MOST_CRONS, ProcessSpec, ProcessType, property},
    tree::{Added, DockerIgnore, Tree},
};

/// The hint for a path in `paas.toml` that does not exist in the source.
const NOT_THERE: &str = "write its path from the root of the repository, and check that it is committed";

/// A variable that what a source is made of reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedVariable {
    /// Its name.
    pub name: EnvKey,
    /// Who reads it, and what it is.
    pub reason: String,
    /// Whether a secret that is made up will do.
    pub is_generated: bool,
}

/// How a source is built and run.
#[derive(Clone, Debug, Serialize)]
pub struct BuildPlan {
    /// The directory of the app, if it is not the root of the repository.
    pub directory: Option<AppDirectory>,
    /// The buildpack's name, e.g. `node`.
    pub buildpack: String,
    /// The title of the buildpack, e.g. `Node`.
    pub title: String,
    /// Why it was chosen, e.g. `package.json found`.
    pub reason: String,
    /// Where that is, and what would change it.
    pub origin: Origin,
    /// The versions it uses.
    pub versions: Vec<Version>,
    /// The tools it chose among several.
    pub choices: Vec<Choice>,
    /// The commands of the build.
    pub commands: Vec<BuildCommand>,
    /// The system packages it installs.
    pub packages: SystemPackages,
    /// Likely problems, in sentences.
    pub warnings: Vec<String>,
    /// Notes, in sentences.
    pub notes: Vec<String>,
    /// The process types, `web` first; `release` is not among them.
    pub processes: Vec<ProcessSpec>,
    /// Where they come from, e.g. `Procfile`.
    pub processes_source: String,
    /// Where each of them comes from, in the same order.
    pub process_sources: Vec<ProcessSource>,
    /// The command line that is run once before a new release starts.
    pub release_command: Option<String>,
    /// The commands that run once around a deploy, from `app.json`.
    pub scripts: Scripts,
    /// The commands that run by time, from `paas.toml` and `app.json`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crons: Vec<CronSpec>,
    /// The variables that `app.json` describes.
    pub variables: Vec<Variable>,
    /// The variables that what it is made of reads, as far as the buildpack knows.
    #[serde(skip)]
    pub wanted: Vec<WantedVariable>,
    /// The file that says how many containers a process type has.
    #[serde(skip)]
    pub quantities_from: BTreeMap<ProcessType, &'static str>,
    /// Scripts that cannot run as their files are written.
    pub flawed_scripts: Vec<FlawedScript>,
    /// The port the web process listens on, if the source sets it.
    pub port: Option<u16>,
    /// Where the port comes from, e.g. `EXPOSE in Dockerfile`.
    pub port_source: Option<String>,
    /// Where that is, and what would change it.
    pub port_origin: Origin,
    /// The Dockerfile's path in the build context.
    pub dockerfile_path: String,
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// Files of the build context that the source does not have, including a generated Dockerfile.
    #[serde(skip)]
    pub extra_files: Vec<(String, Added)>,
    /// Which files of the source are left out of the build context.
    #[serde(skip)]
    pub ignore: DockerIgnore,
    /// The directory that is the build context, if it is not the whole repository.
    #[serde(skip)]
    pub context: Option<String>,
    /// Whether the web process is only a guess.
    #[serde(skip)]
    pub(super) is_guess: bool,
}

/// The directory of an app in a repository of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppDirectory {
    /// Its path from the root of the repository.
    pub path: String,
    /// The name of its package, if it is a member of a workspace.
    pub name: Option<String>,
    /// What chose it.
    pub source: String,
}

/// A tool that was chosen, e.g. a package manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// For what, e.g. `Package manager`.
    pub what: String,
    /// The tool.
    pub option: String,
    /// Why it was chosen.
    pub source: String,
    /// Where that is, and what would change it.
    #[serde(flatten)]
    pub origin: Origin,
}

/// Where the command of a process type comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessSource {
    /// The process type.
    pub process: ProcessType,
    /// In words: `Procfile`, `the start script in package.json`.
    pub source: String,
    /// Where that is, and what would change it.
    #[serde(flatten)]
    pub origin: Origin,
}

impl BuildPlan {
    /// The same, with arguments of the build that what builds the app can read. A Dockerfile of the source declares by
    /// itself which it reads.
    #[must_use]
    pub fn with_arguments(mut self, names: &[EnvKey]) -> BuildPlan {
        let own = self.extra_files.iter_mut().find(|(path, _)| *path == self.dockerfile_path);
        if let Some((_, added)) = own {
            self.dockerfile = dockerfile::with_arguments(&self.dockerfile, names);
            *added = Added::Content(self.dockerfile.clone().into_bytes());
        }
        self
    }

    /// The plan in lines for the log of a push.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {}", self.title, self.reason)];
        if let Some(AppDirectory { path, source, .. }) = &self.directory {
            lines.push(format!("Directory: {path}, {source}"));
        }
        lines.extend(self.versions.iter().map(Version::describe));
        lines.extend(self.choices.iter().map(|Choice { what, option, source, .. }| match source.as_str() {
            "default" => format!("{what}: {option}, the default"),
            _ => format!("{what}: {option}, because of {}", source.replace(" found", "")),
        }));
        lines.extend(self.packages.describe());
        let names: Vec<&str> = self.processes.iter().map(|spec| spec.process.as_str()).collect();
        lines.push(match names.as_slice() {
            [] => "Processes: none, only crons".to_owned(),
            names => format!("Processes: {}, from {}", names.join(", "), self.processes_source),
        });
        if self.release_command.is_some() {
            lines.push("Release command: runs before the new release starts".to_owned());
        }
        let names: Vec<&str> = self.scripts.named().into_iter().map(|(name, _)| name).collect();
        if !names.is_empty() {
            lines.push(format!("Scripts of app.json: {}", names.join(", ")));
        }
        if !self.crons.is_empty() {
            let crons = self.crons.iter().map(|cron| format!("{} ({})", cron.name, cron.schedule));
            lines.push(format!("Crons: {}", crons.collect::<Vec<_>>().join(", ")));
        }
        lines.extend(self.describe_variables().map(|text| format!("Variables of app.json: {text}")));
        if let (Some(port), Some(source)) = (self.port, &self.port_source) {
            lines.push(format!("Port {port}, from {source}"));
        }
        lines.extend(self.notes.iter().cloned());
        lines
    }

    /// The variables that `app.json` describes, and how each gets its value, in a line.
    pub fn describe_variables(&self) -> Option<String> {
        let described = self.variables.iter().map(|variable| {
            let how = match variable {
                Variable { is_synced: true, value: Some(_), .. } => "set by every deploy",
                Variable { value: Some(_), .. } => "has a default",
                Variable { is_generated: true, .. } => "a secret is made up",
                Variable { is_required: true, .. } => "required",
                _ => "optional",
            };
            format!("{} ({how})", variable.name)
        });
        let described: Vec<String> = described.collect();
        (!described.is_empty()).then(|| described.join(", "))
    }
}

/// A part of a repository that can be an app: the root or a directory.
pub(super) struct Part<'a> {
    /// The whole repository.
    pub repository: &'a Tree,
    /// The files of the part.
    pub tree: &'a Tree,
    /// Its directory; empty for the root.
    pub directory: &'a str,
    /// Its settings.
    pub paas_toml: &'a PaasToml,
    /// The workspace of each buildpack that it is a member of.
    pub memberships: Vec<Membership<'a>>,
    /// Its files, put in order once for all buildpacks.
    pub index: Index<'a>,
}

/// That a directory is a member of a workspace.
#[derive(Clone, Copy)]
pub(super) struct Membership<'a> {
    /// The buildpack's name.
    pub buildpack: &'a str,
    /// The member.
    pub member: &'a Member,
    /// All members of this workspace.
    pub all: &'a [Member],
}

/// The roots of workspaces as buildpacks see them, by the buildpack's name: for several members they are the same.
pub(super) type Roots<'a> = RefCell<BTreeMap<String, Rc<Scope<'a>>>>;

impl<'a> Part<'a> {
    /// The part as a buildpack sees it. Which members it needs is not known yet.
    fn scope(&self, buildpack: &'a Buildpack, today: &'a str, roots: &Roots<'a>) -> Scope<'a> {
        let mut scope = Scope::new(self.tree, &buildpack.manifest, self.paas_toml, today);
        (scope.directory, scope.index) = (self.directory, Rc::clone(&self.index));
        if let Some(membership) = self.memberships.iter().find(|membership| membership.buildpack == buildpack.name) {
            let known = roots.borrow().get(&buildpack.name).cloned();
            let root = match known {
                Some(root) => root,
                None => Rc::new(Scope::new(self.repository, &buildpack.manifest, self.paas_toml, today)),
            };
            roots.borrow_mut().insert(buildpack.name.clone(), Rc::clone(&root));
            scope.within = Some(Within {
                root,
                name: membership.member.name.clone(),
                needs: Vec::new(),
                packages: SystemPackages::default(),
            });
        }
        scope
    }
}

/// Decides how a part of a repository is built and run: `paas.toml` first, then `Procfile`, then the buildpack that
/// matches. `chosen`: what chose the directory; nothing if the plan is only to show whether the part can serve, which
/// leaves out what it needs to be built.
///
/// # Errors
/// `SourceError::NothingDetected`, `SourceError::NothingToRun`, `SourceError::File` if a file of the source is
/// malformed, [`Error::Source`] if the buildpack cannot continue.
pub(super) fn plan_part<'a>(
    part: &Part<'a>,
    buildpacks: &'a Buildpacks,
    chosen: Option<&str>,
    roots: &Roots<'a>,
) -> Result<BuildPlan> {
    let own = part.paas_toml.build.buildpack.as_ref().and_then(|(name, line)| Some((folder(name)?, *line)));
    let Some((folder, line)) = own else { return plan_with(part, buildpacks, chosen, roots) };
    let with_own = own_buildpack(part.tree, buildpacks, folder, line)?;
    // The same part, for as long as these buildpacks live.
    let Part { repository, tree, directory, paas_toml, .. } = *part;
    let (memberships, index) = (part.memberships.clone(), Index::default());
    let part = Part { repository, tree, directory, paas_toml, memberships, index };
    plan_with(&part, &with_own, chosen, &Roots::default())
}

fn plan_with<'a>(
    part: &Part<'a>,
    buildpacks: &'a Buildpacks,
    chosen: Option<&str>,
    roots: &Roots<'a>,
) -> Result<BuildPlan> {
    let Part { tree, paas_toml, .. } = part;
    let procfile_path = paas_toml.procfile_path();
    let procfile = tree.read_text(procfile_path)?.map(|text| procfile::parse(procfile_path, &text)).transpose();
    let procfile = procfile.map_err(|error| in_directory(error, part.directory))?.unwrap_or_default();
    let app_json = tree.read_text(APP_JSON)?.map(|text| app_json::parse(&text)).transpose();
    let app_json = app_json.map_err(|error| in_directory(error, part.directory))?.unwrap_or_default();

    let (buildpack, reason) = choose(part, buildpacks, roots)?;
    let manifest = &buildpack.manifest;
    let mut scope = part.scope(buildpack, &buildpacks.today, roots);
    let membership = part.memberships.iter().find(|membership| membership.buildpack == buildpack.name);
    if let (Some(rule), Some(membership), Some(within)) = (&manifest.workspace, membership, &mut scope.within)
        && chosen.is_some()
    {
        (within.needs, within.packages) = rule.needs(&within.root, membership.all, part.directory)?;
    }
    let scope = scope;
    let origin = chosen_at(&scope, &reason)?.changed_by("build", "buildpack", "\"NAME\"");
    check_settings(&scope, buildpacks, buildpack)?;
    for refusal in &manifest.refuse {
        if refusal.when.holds(&scope)?.is_some() {
            let (message, hint) = (refusal.message.clone(), refusal.hint.clone());
            return Err(Error::Source(SourceError::Unbuildable { message, hint }));
        }
    }
    let mut notes = Vec::new();
    for note in &manifest.notes {
        if note.when.holds(&scope)?.is_some() {
            notes.push(note.text.clone());
        }
    }
    let mut wanted = Vec::new();
    for rule in &manifest.config {
        if rule.when.holds(&scope)?.is_some() {
            let (name, reason) = (rule.name.clone(), rule.reason.clone());
            wanted.push(WantedVariable { name, reason, is_generated: rule.generate });
        }
    }
    let mut versions = versions_of(&scope)?;
    let mut choices = Vec::new();
    for rule in &manifest.choices {
        let chosen = scope.choice(&rule.name)?;
        if let Some(what) = rule.what.clone().filter(|_| !chosen.option.is_empty()) {
            let origin = of_choice(&scope, &rule.name)?.unwrap_or_default();
            let origin =
                match rule.options.iter().map(|option| &option.is).find(|is| !is.is_empty() && **is != chosen.option) {
                    Some(other) => origin.changed_by("build.tools", &rule.name, &format!("{other:?}")),
                    None => origin,
                };
            choices.push(Choice { what, option: chosen.option, source: chosen.reason, origin });
        }
    }
    let Processes {
        commands,
        release_command,
        source: processes_source,
        sources: process_sources,
        port: own_port,
        is_guess,
    } = {
        let has_crons = !paas_toml.crons.is_empty() || !app_json.crons.is_empty();
        processes(&scope, buildpack, paas_toml, (&procfile, procfile_path), &app_json.processes, has_crons)?
    };

    let is_whole = scope.within.is_some() || manifest.dockerfile.is_some() && !part.memberships.is_empty();
    let context = match part.directory {
        directory if !directory.is_empty() && !is_whole => (Some(directory.to_owned()), *tree),
        _ => (None, part.repository),
    };
    let (generated, ignore) = match &manifest.dockerfile {
        _ if chosen.is_none() => (Generated::default(), DockerIgnore::none()),
        Some(default) => {
            let (path, text) = own_dockerfile(tree, paas_toml, default)?;
            // The build of a member needs what it shares with the others.
            let path = if part.memberships.is_empty() { path } else { scope.path(&path) };
            let ignore = ignore(context.1, buildpack, &path)?;
            let (extra_files, commands, more_versions, parts) = Default::default();
            let packages = SystemPackages::default();
            (Generated { path, text, extra_files, commands, packages, more_versions, parts }, ignore)
        }
        None => {
            let ignore = ignore(context.1, buildpack, "")?;
            let command = commands.first().and_then(|(_, command)| command.as_deref());
            (generate(&scope, buildpacks, buildpack, &ignore, command)?, ignore)
        }
    };
    if chosen.is_some() {
        notes.extend(lfs::check(context.1, &ignore, paas_toml)?);
    }
    let Generated {
        path: dockerfile_path,
        text: dockerfile,
        extra_files,
        commands: build_commands,
        packages,
        more_versions,
        parts,
    } = generated;
    versions.extend(more_versions);
    choices.extend(parts);
    let mut warnings: Vec<String> = versions.iter().flat_map(|version| version.warnings.iter().cloned()).collect();
    let (port, port_source, port_origin) = match (paas_toml.port, &manifest.dockerfile) {
        (Some(port), _) => {
            let line = line_with(&scope, PAAS_TOML, &["port =", "port="]);
            (Some(port), Some(PAAS_TOML.to_owned()), Origin::of(PAAS_TOML, line))
        }
        (None, Some(_)) => {
            let exposed = exposed_ports(&dockerfile);
            match exposed.first() {
                Some(port) => {
                    let line = line_with(&scope, &dockerfile_path, &["EXPOSE", "expose"]);
                    let origin = Origin::of(dockerfile_path.clone(), line);
                    let which = if exposed.len() > 1 { "the first EXPOSE" } else { "EXPOSE" };
                    (Some(*port), Some(format!("{which} in {dockerfile_path}")), origin)
                }
                None => (None, None, Origin::default()),
            }
        }
        (None, None) => match own_port {
            Some(found) => (found.text.parse().ok(), Some(found.file.replace(" found", "")), Origin::found(&found)),
            None => (None, None, Origin::default()),
        },
    };
    let port_origin = port_origin.changed_by("", "port", "NUMBER");
    let mut quantities_from = BTreeMap::new();
    let processes = commands
        .into_iter()
        .map(|(process, command)| {
            let declared = declared(&process, paas_toml, &app_json.processes);
            if declared.quantity.is_some() {
                let own = paas_toml.processes.get(&process).is_some_and(|own| own.quantity.is_some());
                quantities_from.insert(process.clone(), if own { PAAS_TOML } else { APP_JSON });
            }
            ProcessSpec::new(process, command, declared.quantity, declared.settings)
        })
        .collect::<Result<Vec<_>, Invalid>>()?;
    let AppJson { variables, scripts, crons: of_app_json, warnings: more_warnings, .. } = app_json;
    warnings.extend(more_warnings);
    let mut crons = paas_toml.crons.clone();
    crons.extend(of_app_json.into_iter().filter(|cron| !paas_toml.crons.iter().any(|own| own.name == cron.name)));
    if crons.len() > MOST_CRONS {
        let message = format!("{PAAS_TOML} and {APP_JSON} have more than {MOST_CRONS} crons together");
        return Err(refused(PAAS_TOML, None, message, "remove some".to_owned()));
    }
    // What a server's own setting says is its deploys' to know.
    let usual: usize = property::MAX_PROCESS_TYPES.default.words().parse().unwrap_or(usize::MAX);
    if processes.len() > usual {
        let found = processes.len();
        warnings.push(format!("{found} process types: an app may have {usual}, if the server sets no other number"));
    }
    let release = release_command.as_deref().map(|line| (ProcessType::RELEASE, line));
    let check_scripts = || {
        line_ends::check(
            tree,
            &ignore,
            &line_ends::Commands {
                processes: &processes,
                tasks: release
                    .into_iter()
                    .chain(scripts.named())
                    .chain(crons.iter().map(|cron| (cron.name.as_str(), cron.command.as_str())))
                    .collect(),
                dockerfile: &dockerfile,
                is_own: manifest.dockerfile.is_some(),
            },
        )
    };
    let flawed_scripts = if chosen.is_some() { check_scripts()? } else { Vec::new() };
    warnings.extend(flawed_scripts.iter().filter(|script| !script.used_by.is_empty()).map(FlawedScript::warning));

    let directory = (!part.directory.is_empty()).then(|| AppDirectory {
        path: part.directory.to_owned(),
        name: part.memberships.first().map(|membership| membership.member.name.clone()),
        source: chosen.unwrap_or_default().to_owned(),
    });
    Ok(BuildPlan {
        directory,
        context: context.0,
        is_guess,
        buildpack: buildpack.name.clone(),
        title: manifest.title.clone(),
        reason,
        origin,
        versions,
        choices,
        commands: build_commands,
        packages,
        warnings,
        notes,
        processes,
        processes_source,
        process_sources,
        release_command,
        scripts,
        crons,
        variables,
        wanted,
        quantities_from,
        flawed_scripts,
        port,
        port_source,
        port_origin,
        ignore,
        dockerfile_path,
        dockerfile,
        extra_files,
    })
}

/// The buildpack that `paas.toml` names, or the first that matches; and why.
fn choose<'a>(part: &Part<'a>, buildpacks: &'a Buildpacks, roots: &Roots<'a>) -> Result<(&'a Buildpack, String)> {
    let Part { tree, paas_toml, .. } = part;
    let refused = |line: usize, message: String, hint: String| refused(PAAS_TOML, line, message, hint);
    if let Some((name, line)) = &paas_toml.build.buildpack {
        let own = folder(name).map(|folder| format!("./{folder}"));
        let buildpack = buildpacks.find(own.as_deref().unwrap_or(name)).ok_or_else(|| {
            refused(*line, format!("there is no buildpack {name:?}"), known_words(name, &buildpacks.names()))
        })?;
        if let Some((_, line)) = &paas_toml.build.dockerfile
            && buildpack.manifest.dockerfile.is_none()
        {
            let message = format!("the buildpack {name} makes its own Dockerfile");
            return Err(refused(*line, message, "keep one of the two keys, `buildpack` or `dockerfile`".to_owned()));
        }
        return Ok((buildpack, format!("set in {PAAS_TOML}")));
    }
    if paas_toml.build.dockerfile.is_some() {
        let buildpack = buildpacks.list.iter().find(|buildpack| buildpack.manifest.dockerfile.is_some());
        let buildpack = buildpack.ok_or_else(|| Error::bug("no buildpack builds a Dockerfile"))?;
        return Ok((buildpack, format!("set in {PAAS_TOML}")));
    }
    let has_web = Lines::read(tree, paas_toml).web.is_some();
    if let Some(found) = buildpacks.first_match(has_web, |buildpack| part.scope(buildpack, &buildpacks.today, roots))? {
        return Ok(found);
    }
    let looked_for = buildpacks.list.iter().map(|buildpack| {
        let Buildpack { name, manifest, .. } = &**buildpack;
        format!("    {name:<12}{}", manifest.looked_for())
    });
    let mut found = tree.top_level();
    let more = found.len().saturating_sub(20);
    found.truncate(20);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    Err(Error::Source(SourceError::NothingDetected {
        looked_for: looked_for.collect::<Vec<_>>().join("\n"),
        found: if found.is_empty() { "no files at all".to_owned() } else { found.join(", ") },
    }))
}

impl Buildpacks {
    /// The first that matches, and why. One that matches and whose language the command of the web process is in goes
    /// before all others, but a repository's own Dockerfile stays the first. `web`: whether the source sets that command;
    /// `scope`: the source as a buildpack sees it.
    ///
    /// # Errors
    /// `SourceError::File` if a file of the source does not parse.
    pub(super) fn first_match<'a>(
        &'a self,
        web: bool,
        scope: impl Fn(&'a Buildpack) -> Scope<'a>,
    ) -> Result<Option<(&'a Buildpack, String)>> {
        let mut first = None;
        for buildpack in &self.list {
            let found = match buildpack.detects_and_runs(&scope(buildpack), web) {
                // A file that the first match does not read may be malformed.
                Err(_) if first.is_some() => continue,
                found => found?,
            };
            match (found, &first) {
                (None, _) => {}
                (Some((reason, runs)), None) => {
                    let settled = !web || runs.is_some() || buildpack.manifest.dockerfile.is_some();
                    first = Some((&**buildpack, reason));
                    if settled {
                        break;
                    }
                }
                (Some((_, Some(reason))), Some(_)) => return Ok(Some((buildpack, reason))),
                (Some((_, None)), Some(_)) => {}
            }
        }
        Ok(first)
    }
}

impl Buildpack {
    /// Why it matches a source; nothing if it does not.
    ///
    /// # Errors
    /// `SourceError::File` if a file it reads does not parse.
    pub(super) fn detects(&self, scope: &Scope<'_>) -> Result<Option<String>> {
        Ok(self.detects_and_runs(scope, false)?.map(|(reason, _)| reason))
    }

    /// Why it matches a source, and with `runs` why what the source says to run is of its language.
    fn detects_and_runs(&self, scope: &Scope<'_>, runs: bool) -> Result<Option<(String, Option<String>)>> {
        for predicate in &self.manifest.detect {
            if let Some(reason) = predicate.holds(scope)? {
                let runs = self.manifest.runs.as_ref().filter(|_| runs);
                return Ok(Some((reason, runs.map(|runs| runs.holds(scope)).transpose()?.flatten())));
            }
        }
        Ok(None)
    }
}

/// The folder in the repository, if a buildpack's name in `paas.toml` is one.
fn folder(name: &str) -> Option<&str> {
    name.strip_prefix("./").map(|folder| folder.trim_end_matches('/'))
}

/// The buildpacks and one more, from a folder of the repository.
fn own_buildpack(tree: &Tree, buildpacks: &Buildpacks, folder: &str, line: usize) -> Result<Buildpacks> {
    if !tree.has_directory(folder) {
        let message = format!("there is no folder {folder:?} in the repository");
        return Err(refused(PAAS_TOML, line, message, NOT_THERE));
    }
    buildpacks.with(tree, folder)
}

/// Refuses keys of `[build]` that the buildpack does not support. If they were ignored, users would look for the
/// effect.
fn check_settings(scope: &Scope<'_>, buildpacks: &Buildpacks, buildpack: &Buildpack) -> Result<()> {
    let paas_toml = scope.paas_toml;
    let (build, manifest) = (&paas_toml.build, &buildpack.manifest);
    let refused = |line: usize, message: String, hint: String| Err(refused(PAAS_TOML, line, message, hint));
    if manifest.dockerfile.is_some() {
        let lines = [&build.install, &build.build, &build.static_root, &build.program]
            .into_iter()
            .flatten()
            .map(|(_, line)| *line);
        let lines = lines.chain(build.packages.iter().map(|(_, line)| *line));
        let tables = build.versions.values().chain(build.images.values()).chain(build.tools.values());
        let lines = lines.chain(tables.map(|(_, line)| *line));
        let variables = !build.variables.is_empty() || !paas_toml.variables.is_empty();
        let line = lines.min().or(variables.then_some(build.first_line.unwrap_or(1)));
        let hint = "write it in the Dockerfile, or remove it".to_owned();
        return line.map_or(Ok(()), |line| {
            refused(line, "a Dockerfile is built unchanged, so this has no effect".to_owned(), hint)
        });
    }
    if let Some((program, line)) = &build.program {
        if manifest.candidates.iter().all(|rule| rule.choose.is_some()) {
            let message = format!("the buildpack {} does not choose between programs", buildpack.name);
            return refused(*line, message, "remove `program`, and name the command in a Procfile".to_owned());
        }
        let candidates = candidates(scope)?;
        if !candidates.iter().any(|(name, _)| name == program) {
            let names: Vec<&str> = candidates.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("there is no program {program:?} in the repository");
            return refused(*line, message, known_words(program, &names));
        }
    }
    if let Some((_, line)) = &build.static_root
        && !manifest.serves_static
    {
        let message = format!("the buildpack {} cannot serve a static directory", buildpack.name);
        return refused(*line, message, "remove `static`, or set another buildpack".to_owned());
    }
    let others = manifest.before.iter().filter_map(|rule| buildpacks.find(&rule.buildpack));
    let rules = manifest.versions.iter().chain(others.flat_map(|other| &other.manifest.versions));
    let known: Vec<&str> = rules.map(|rule| rule.name.as_str()).collect();
    for (name, (_, line)) in &build.versions {
        if !known.contains(&name.as_str()) {
            let message = format!("the buildpack {} does not have a version of {name:?}", buildpack.name);
            return refused(*line, message, known_words(name, &known));
        }
    }
    let choices: Vec<_> = std::iter::once(manifest)
        .chain(manifest.before.iter().filter_map(|rule| Some(&buildpacks.find(&rule.buildpack)?.manifest)))
        .flat_map(|manifest| &manifest.choices)
        .filter(|choice| choice.what.is_some())
        .collect();
    for (name, (option, line)) in &build.tools {
        let known: Vec<&str> = choices.iter().map(|choice| choice.name.as_str()).collect();
        let Some(choice) = choices.iter().find(|choice| choice.name == *name) else {
            let message = format!("the buildpack {} does not choose a {name:?}", buildpack.name);
            return refused(*line, message, known_words(name, &known));
        };
        let options: Vec<&str> = choice.options.iter().map(|option| option.is.as_str()).collect();
        if option.is_empty() || !options.contains(&option.as_str()) {
            let options: BTreeSet<&str> = options.into_iter().filter(|option| !option.is_empty()).collect();
            let options: Vec<&str> = options.into_iter().collect();
            let message = format!("there is no {name} {option:?}");
            return refused(*line, message, known_words(option, &options));
        }
    }
    for (name, (_, line)) in &build.images {
        if !manifest.images.contains_key(name) {
            let known: Vec<&str> = manifest.images.keys().map(String::as_str).collect();
            let message = format!("the buildpack {} does not have an image {name:?}", buildpack.name);
            return refused(*line, message, known_words(name, &known));
        }
    }
    Ok(())
}

/// What chose the buildpack: a line of `paas.toml`, what the source runs, or the first rule of it that holds.
fn chosen_at(scope: &Scope<'_>, reason: &str) -> Result<Origin> {
    let build = &scope.paas_toml.build;
    if let Some((_, line)) = build.buildpack.as_ref().or(build.dockerfile.as_ref()) {
        return Ok(Origin::of(PAAS_TOML, *line));
    }
    if let Some(runs) = &scope.manifest.runs
        && runs.holds(scope)?.as_deref() == Some(reason)
    {
        return Ok(runs.origin(scope)?.unwrap_or_default());
    }
    for predicate in &scope.manifest.detect {
        if predicate.holds(scope)?.is_some() {
            return Ok(predicate.origin(scope)?.unwrap_or_default());
        }
    }
    Ok(Origin::default())
}

/// The repository's own Dockerfile: its path and text.
fn own_dockerfile(tree: &Tree, paas_toml: &PaasToml, default: &str) -> Result<(String, String)> {
    let path = paas_toml.build.dockerfile.as_ref().map_or(default, |(path, _)| path);
    let path = path.strip_prefix("./").unwrap_or(path);
    let text = if tree.exists(path) { tree.read_text(path)? } else { None };
    let text = text.ok_or_else(|| match &paas_toml.build.dockerfile {
        Some((_, line)) => refused(PAAS_TOML, *line, format!("there is no file {path:?} in the repository"), NOT_THERE),
        None => Error::Source(SourceError::Unbuildable {
            message: format!("there is no {default} in the repository"),
            hint: format!("add one, or remove `buildpack` from {PAAS_TOML}"),
        }),
    })?;
    Ok((path.to_owned(), text))
}

/// The files left out of the build context: the buildpack's patterns, then the repository's. The Dockerfile always
/// stays.
fn ignore(tree: &Tree, buildpack: &Buildpack, dockerfile_path: &str) -> Result<DockerIgnore> {
    let defaults = buildpack.manifest.ignored()?.clone();
    let own = format!("{dockerfile_path}.dockerignore");
    let file = if tree.exists(&own) { own.as_str() } else { ".dockerignore" };
    let patterns = match tree.read_text(file)? {
        Some(text) => DockerIgnore::parse(file, &text)?,
        None => DockerIgnore::none(),
    };
    Ok(defaults.then(patterns).except(dockerfile_path))
}
