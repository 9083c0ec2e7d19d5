use std::path::PathBuf;

use super::Output;
use crate::{
    Error, Result,
    buildpack::{Buildpacks, Shown},
    error::Thing,
    instance::Instance,
    tree::Tree,
    ui::Format,
};

/// List the buildpacks, in the order in which they are tried
///
/// Those of paas itself, and those of the server: folders in `buildpacks` below its root directory.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let shown = load(instance)?.show();
        let rows: Vec<_> = shown
            .iter()
            .map(|Shown { name, title, looks_for, origin, .. }| {
                [name.clone(), title.clone(), looks_for.clone(), origin.clone()]
            })
            .collect();
        self.output.ui().table(["NAME", "TITLE", "LOOKS FOR", "FROM"], &rows, &shown)
    }
}

/// Show a buildpack: what it looks for, and the versions it knows
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The buildpack's name
    name: String,
    #[command(flatten)]
    output: Output,
}

impl Show {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let all = load(instance)?.show();
        let known = all.iter().map(|shown| shown.name.as_str()).collect::<Vec<_>>().join(", ");
        let shown = all
            .iter()
            .find(|shown| shown.name == self.name)
            .ok_or_else(|| Error::NotFound(Thing::Buildpack { known }, self.name.clone()))?;
        let mut facts = vec![
            ("Name", shown.name.clone()),
            ("Title", shown.title.clone()),
            ("From", shown.origin.clone()),
            ("Looks for", shown.looks_for.clone()),
        ];
        if !shown.images.is_empty() {
            facts.push(("Images", shown.images.join(", ")));
        }
        let ui = self.output.ui();
        ui.facts(&facts, shown)?;
        if ui.format == Format::Text && !shown.versions.is_empty() {
            let rows: Vec<_> = shown
                .versions
                .iter()
                .map(|version| {
                    let ended: Vec<_> = version.ended.iter().map(|(version, _)| version.as_str()).collect();
                    [
                        version.what.clone(),
                        version.name.clone(),
                        version.default.clone(),
                        version.supported.join(", "),
                        ended.join(", "),
                    ]
                })
                .collect();
            ui.line("\n")?;
            ui.table(["VERSION OF", "NAME", "DEFAULT", "SUPPORTED", "WITHOUT FIXES"], &rows, &())?;
        }
        Ok(())
    }
}

/// Show which buildpacks match a directory, and why
///
/// The first that matches would build it, unless paas.toml names another. `paas plan` shows what it would do.
#[derive(Debug, clap::Args)]
pub(super) struct Detect {
    /// The directory; the current one, if not given
    #[arg(value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Detect {
    /// Runs the command; `user_buildpacks` is the directory of the server's own buildpacks, which a laptop does not have.
    pub(super) fn run(self, user_buildpacks: &std::path::Path) -> Result<()> {
        let directory = self.dir.unwrap_or_else(|| PathBuf::from("."));
        if !directory.is_dir() {
            return Err(Error::usage(
                format!("there is no directory {}", directory.display()),
                "`paas buildpacks:detect DIR` takes the directory of a repository",
            ));
        }
        let detected = Buildpacks::load(Some(user_buildpacks))?.detect(&Tree::directory(&directory)?)?;
        let rows: Vec<_> =
            detected.iter().filter_map(|detected| Some([detected.name.clone(), detected.reason.clone()?])).collect();
        self.output.ui().table(["MATCHES", "BECAUSE"], &rows, &detected)
    }
}

fn load(instance: &Instance) -> Result<Buildpacks> {
    Buildpacks::load(Some(&instance.settings.paths.buildpacks()))
}
