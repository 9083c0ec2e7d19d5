//! Buildpacks: which there are, and what they make of a directory.

use std::path::Path;

use serde::Serialize;

use crate::{
    Error, Result,
    buildpack::{self, AppDirectory, AppPlan, BuildPlan, Buildpacks, Detected, Origin, ProcessSource, Shown},
    context::Context,
    error::Thing,
    model::{self, property},
    settings::Settings,
    tree::Tree,
    ui::{Show, Text},
    work::{Limits, Work},
};

/// A list of buildpacks.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct BuildpackList(pub Vec<Shown>);

impl Show for BuildpackList {
    fn text(&self) -> Text {
        Text::table(
            ["NAME", "TITLE", "LOOKS FOR", "FROM"],
            self.0.iter().map(|Shown { name, title, looks_for, origin, .. }| {
                [name.clone(), title.clone(), looks_for.clone(), origin.clone()]
            }),
        )
    }
}

/// The buildpacks of the instance, in the order in which they are tried.
///
/// # Errors
/// `Error::Source` for one of the server's own that is not right.
pub fn list(context: &Context<'_>) -> Result<BuildpackList> {
    let buildpacks = Buildpacks::load(Some(&context.instance.settings.paths.buildpacks()))?;
    Ok(BuildpackList(buildpacks.show()))
}

/// A buildpack.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct BuildpackInfo(pub Shown);

impl Show for BuildpackInfo {
    fn text(&self) -> Text {
        let shown = &self.0;
        let mut facts = vec![
            ("Name", shown.name.clone()),
            ("Title", shown.title.clone()),
            ("From", shown.origin.clone()),
            ("Looks for", shown.looks_for.clone()),
        ];
        if !shown.images.is_empty() {
            facts.push(("Images", shown.images.join(", ")));
        }
        let versions = Text::table(
            ["VERSION OF", "NAME", "DEFAULT", "SUPPORTED", "WITHOUT FIXES"],
            shown.versions.iter().map(|version| {
                let ended: Vec<_> = version.ended.iter().map(|(version, _)| version.as_str()).collect();
                [
                    version.what.clone(),
                    version.name.clone(),
                    version.default.clone(),
                    version.supported.join(", "),
                    ended.join(", "),
                ]
            }),
        );
        Text::Parts(vec![Text::facts(facts), versions])
    }
}

/// Looks at a buildpack.
///
/// # Errors
/// [`Error::NotFound`] where there is none of that name.
pub fn show(context: &Context<'_>, name: &str) -> Result<BuildpackInfo> {
    let BuildpackList(mut all) = list(context)?;
    let known = all.iter().map(|shown| shown.name.as_str()).collect::<Vec<_>>().join(", ");
    let place = all
        .iter()
        .position(|shown| shown.name == name)
        .ok_or_else(|| Error::NotFound(Thing::Buildpack { known }, name.to_owned()))?;
    Ok(BuildpackInfo(all.swap_remove(place)))
}

/// Which buildpacks match a directory.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Detection(pub Vec<Detected>);

impl Show for Detection {
    fn text(&self) -> Text {
        Text::table(
            ["MATCHES", "BECAUSE"],
            self.0.iter().filter_map(|detected| Some([detected.name.clone(), detected.reason.clone()?])),
        )
    }
}

/// Asks each buildpack about a directory of this machine. Needs no instance.
///
/// # Errors
/// [`Error::Usage`] where there is no such directory; what reading it says.
pub fn detect(directory: &Path, settings: &Settings) -> Result<Detection> {
    check_directory(directory, "buildpacks:detect")?;
    let limits = limits(settings)?;
    Ok(Detection(
        Buildpacks::load(Some(&settings.paths.buildpacks()))?
            .detect(&Tree::directory(directory, &Work::new(limits))?)?,
    ))
}

/// Plans the build of a directory of this machine. Needs no instance.
///
/// # Errors
/// [`Error::Usage`] where there is no such directory; what reading and planning it says.
pub fn plan(directory: &Path, settings: &Settings) -> Result<BuildPlan> {
    check_directory(directory, "plan")?;
    let buildpacks = Buildpacks::load(Some(&settings.paths.buildpacks()))?;
    let tree = Tree::directory(directory, &Work::new(limits(settings)?))?;
    let plan = buildpack::plan(&tree, &buildpacks);
    // What could not be read counts as missing in places.
    tree.work().check()?;
    let plan = plan?;
    Ok(plan.with_arguments(&model::rev_names(property::REV_ENV_VAR.default.words())?))
}

/// The plans of all apps in a directory.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct AppPlans(pub Vec<AppPlan>);

impl Show for AppPlans {
    fn text(&self) -> Text {
        let table = Text::table(
            ["DIRECTORY", "NAME", "BUILDPACK", "WEB"],
            self.0.iter().map(|AppPlan { directory, name, plan }| {
                let web = plan.processes.iter().find(|spec| spec.process.is_web());
                let command =
                    web.map(|spec| spec.command.clone().unwrap_or_else(|| super::apps::IMAGE_COMMAND.to_owned()));
                [
                    if directory.is_empty() { ".".to_owned() } else { directory.clone() },
                    name.clone().unwrap_or_default(),
                    plan.title.clone(),
                    command.unwrap_or_default(),
                ]
            }),
        );
        let plans = self.0.iter().map(|app| app.plan.text());
        Text::Parts([table].into_iter().chain(plans).collect())
    }
}

/// Plans the builds of all apps in a directory of this machine. Needs no instance.
///
/// # Errors
/// As [`plan`], if there are none.
pub fn plan_all(directory: &Path, settings: &Settings) -> Result<AppPlans> {
    check_directory(directory, "plan --all")?;
    let buildpacks = Buildpacks::load(Some(&settings.paths.buildpacks()))?;
    let tree = Tree::directory(directory, &Work::new(limits(settings)?))?;
    let plans = buildpack::plan_all(&tree, &buildpacks);
    tree.work().check()?;
    Ok(AppPlans(plans?))
}

/// The limits for a directory of this machine: those of the settings file and of variables, without a database.
fn limits(settings: &Settings) -> Result<Limits> {
    Limits::read(|property| match settings.given(property.name) {
        Some(given) => given.value.clone(),
        None => property.default.words().to_owned(),
    })
}

fn check_directory(directory: &Path, command: &str) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    Err(Error::usage(
        format!("there is no directory {}", directory.display()),
        format!("`paas {command} DIR` takes the directory of a repository"),
    ))
}

impl Show for BuildPlan {
    fn text(&self) -> Text {
        let change = |origin: &Origin| origin.change.clone().unwrap_or_default();
        let (port, port_source) = match (self.port, &self.port_source) {
            (Some(port), Some(source)) => (port.to_string(), self.port_origin.explain(source)),
            _ => ("5000".to_owned(), "default; PORT in the app's config changes it too".to_owned()),
        };
        let mut decisions = vec![[
            "Buildpack".to_owned(),
            self.buildpack.clone(),
            self.origin.explain(&self.reason),
            change(&self.origin),
        ]];
        decisions.extend(self.directory.as_ref().map(|directory| {
            let AppDirectory { path, name, source } = directory;
            let name = name.as_ref().filter(|name| *name != path).map(|name| format!(" ({name})")).unwrap_or_default();
            let change = "[build] directory = \"DIRECTORY\"".to_owned();
            ["Directory".to_owned(), format!("{path}{name}"), source.clone(), change]
        }));
        decisions.extend(self.choices.iter().map(|choice| {
            let source = choice.origin.explain(&choice.source);
            [choice.what.clone(), choice.option.clone(), source, change(&choice.origin)]
        }));
        decisions.push(["Port".to_owned(), port, port_source, change(&self.port_origin)]);
        let decisions = Text::table(["WHAT", "IS", "FROM", CHANGE], decisions);
        let versions = Text::table(
            ["VERSION OF", "IS", "FROM", "ASKED FOR", CHANGE],
            self.versions.iter().map(|version| {
                let (asked, origin) = (version.asked.clone().unwrap_or_default(), &version.origin);
                let source = origin.explain(&version.source);
                [version.what.clone(), version.version.clone(), source, asked, change(origin)]
            }),
        );
        let commands = Text::table(
            ["STEP", "COMMAND", CHANGE],
            self.commands
                .iter()
                .map(|command| [command.name.clone(), command.command.replace('\n', "; "), change(&command.origin)]),
        );
        let processes = self.processes.iter().zip(&self.process_sources);
        let processes = Text::table(
            ["PROCESS", "COMMAND", "FROM", CHANGE],
            processes.map(|(spec, ProcessSource { source, origin, .. })| {
                let command = spec.command.clone().unwrap_or_else(|| super::apps::IMAGE_COMMAND.to_owned());
                [spec.process.to_string(), command, origin.explain(source), change(origin)]
            }),
        );
        let mut facts: Vec<(String, String)> = Vec::new();
        facts.extend(self.release_command.iter().map(|command| ("Release".to_owned(), command.clone())));
        facts.extend(self.scripts.named().into_iter().map(|(name, command)| (name.to_owned(), command.to_owned())));
        facts.extend(self.describe_variables().map(|text| ("Variables".to_owned(), text)));
        let packages = self.packages.describe();
        let packages = packages.as_deref().and_then(|text| text.split_once(": "));
        facts.extend(packages.map(|(_, packages)| ("System packages".to_owned(), packages.to_owned())));
        facts.extend(self.notes.iter().map(|note| ("Note".to_owned(), note.clone())));
        facts.extend(self.warnings.iter().map(|warning| ("Warning".to_owned(), warning.clone())));
        let mut parts = vec![decisions, versions, commands, processes];
        if !facts.is_empty() {
            parts.push(Text::facts(facts));
        }
        parts.push(Text::Line(format!("# {}\n{}", self.dockerfile_path, self.dockerfile)));
        Text::Parts(parts)
    }
}

/// The column that says what would change a line of a plan.
const CHANGE: &str = "TO CHANGE IT, IN paas.toml";
