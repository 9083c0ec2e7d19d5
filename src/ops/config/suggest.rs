//! Which variables the source of an app asks for that are not set, and why.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use crate::{
    Result,
    buildpack::{self, BuildPlan, Buildpacks},
    context::Context,
    deploy,
    error::DeployError,
    model::{AppName, EnvKey, example_variables},
    secrets,
    tree::Tree,
    ui::{Show, Text},
};

/// Examples of env files that people commit.
const EXAMPLES: [&str; 6] =
    [".env.example", ".env.sample", ".env.template", ".env.dist", "env.example", ".env.production.example"];
/// Names in them of secrets that only the app itself knows, so that one that is made up will do.
const OWN_SECRETS: [&str; 8] = [
    "SECRET",
    "SECRET_KEY",
    "SECRET_KEY_BASE",
    "APP_SECRET",
    "SESSION_SECRET",
    "JWT_SECRET",
    "COOKIE_SECRET",
    "AUTH_SECRET",
];

/// A variable that is not set, and should perhaps be.
#[derive(Clone, Debug, Serialize)]
pub struct Suggestion {
    /// Its name.
    pub key: EnvKey,
    /// Whether the app cannot be deployed without it.
    pub required: bool,
    /// Whether `--generate` makes it up.
    pub generated: bool,
    /// Who names it, and what it is for.
    pub why: Vec<String>,
}

/// The variables that the source asks for and that are not set.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Suggestions(pub Vec<Suggestion>);

impl Show for Suggestions {
    fn text(&self) -> Text {
        Text::table(
            ["KEY", "REQUIRED", "GENERATE", "WHY"],
            self.0.iter().map(|it| {
                let word = |is: bool| if is { "yes" } else { "-" }.to_owned();
                [it.key.to_string(), word(it.required), word(it.generated), it.why.join("; ")]
            }),
        )
    }
}

impl Suggestions {
    /// A secret for each that can be made up.
    ///
    /// # Errors
    /// [`crate::Error::Host`] without random numbers.
    pub fn made_up(&self) -> Result<Vec<(EnvKey, Option<String>)>> {
        let wanted = self.0.iter().filter(|it| it.generated);
        wanted.map(|it| Ok((it.key.clone(), Some(secrets::made_up()?)))).collect()
    }
}

/// Looks at the source of the release that serves.
///
/// # Errors
/// [`crate::Error::NotFound`]; `DeployError::NeverDeployed`; what reading the source says.
pub async fn suggest(context: &Context<'_>, name: &AppName) -> Result<Suggestions> {
    let instance = context.instance;
    let (app, release) = instance.read(|tables| {
        let app = tables.app(name)?;
        let release = tables.serving(&app)?;
        Ok((app, release))
    })?;
    let commit = release.commit.ok_or_else(|| DeployError::NeverDeployed { app: name.clone() })?;
    let tree = deploy::look_at(instance, name, commit).await?;
    let of_user = instance.settings.paths.buildpacks();
    let work = tree.work().clone();
    let found = work.aside(move || {
        let plan = buildpack::plan(&tree, &Buildpacks::load(Some(&of_user))?);
        tree.work().check()?;
        // What cannot be planned any more has examples all the same.
        asked(&tree, plan.ok().as_ref())
    });
    let mut found = found.await?;
    let config = instance.config(app.id)?.variables();
    // paas sets these itself, or the image does.
    found.retain(|it| {
        let key = it.key.as_str();
        !config.contains_key(&it.key) && key != "PORT" && !key.starts_with("PAAS_")
    });
    found.sort_by(|left, right| right.required.cmp(&left.required).then_with(|| left.key.cmp(&right.key)));
    Ok(Suggestions(found))
}

/// All that a source names.
fn asked(tree: &Tree, plan: Option<&BuildPlan>) -> Result<Vec<Suggestion>> {
    let mut found: BTreeMap<EnvKey, Suggestion> = BTreeMap::new();
    let mut add = |key: &EnvKey, required: bool, generated: bool, why: String| {
        let new = || Suggestion { key: key.clone(), required: false, generated: false, why: Vec::new() };
        let known = found.entry(key.clone()).or_insert_with(new);
        known.required |= required;
        known.generated |= generated;
        known.why.push(why);
    };
    if let Some(plan) = plan {
        for variable in plan.variables.iter().filter(|variable| variable.value.is_none()) {
            let about = variable.description.as_ref().map(|about| format!(": {about}")).unwrap_or_default();
            add(&variable.name, variable.is_required, variable.is_generated, format!("app.json names it{about}"));
        }
        for wanted in &plan.wanted {
            add(&wanted.name, false, wanted.is_generated, wanted.reason.clone());
        }
    }
    let of_app = plan.and_then(|plan| plan.directory.as_ref()).map(|directory| directory.path.clone());
    for directory in [Some(String::new()), of_app].into_iter().flatten() {
        for file in EXAMPLES {
            let path = Path::new(&directory).join(file);
            let Some(text) = tree.read_text(&path)? else { continue };
            for example in example_variables(&text) {
                let about = example.comment.map(|comment| format!(": {comment}")).unwrap_or_default();
                let is_own_secret = OWN_SECRETS.contains(&example.name.as_str());
                add(&example.name, false, is_own_secret, format!("{} names it{about}", path.display()));
            }
        }
    }
    Ok(found.into_values().collect())
}
