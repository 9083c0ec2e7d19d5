//! Edits of what an app is run with: its config, and what the server is told about its process types.

use serde::Serialize;

use crate::{
    Result,
    context::Context,
    deploy::{self, Deployed, Edit},
    instance::Instance,
    model::{App, AppName, Change, DeployId, Subject},
    ui::{DeployLog, Show, Text},
};

/// What became of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was so already; nothing was done.
    Unchanged,
    /// It is saved, for the next start of the app.
    Saved,
    /// The app runs with it.
    Deployed,
}

/// An edit that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Edited {
    /// The app.
    pub app: AppName,
    /// What became of it.
    pub outcome: Outcome,
    /// The deploy that brought it out.
    pub deploy: Option<DeployId>,
    /// The number of the release that serves with it.
    pub release: Option<u32>,
}

impl Edited {
    /// What a deploy came to.
    pub(super) fn deployed(app: &AppName, live: &Deployed) -> Edited {
        let (deploy, release) = (Some(live.deployment), Some(live.release.0));
        Edited { app: app.clone(), outcome: Outcome::Deployed, deploy, release }
    }
}

impl Show for Edited {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Makes an edit: where the app runs, by a deploy of its own, and only if that succeeds; else for its next start.
///
/// `restart`: whether what runs shall take it up now.
///
/// # Errors
/// Whatever fails; nothing has changed then.
pub async fn apply(
    context: &Context<'_>,
    app: &AppName,
    edit: &Edit,
    restart: bool,
    log: &DeployLog,
) -> Result<Edited> {
    let instance = context.instance;
    let edited = |outcome| Edited { app: app.clone(), outcome, deploy: None, release: None };
    let found = instance.read(|tables| tables.app(app))?;
    if !changes(instance, &found, edit)? {
        deploy::refuse_locked(&found)?;
        return Ok(edited(Outcome::Unchanged));
    }
    if restart && found.is_running() {
        let deployed = deploy::run(context, app, &deploy::Action::Edit(edit.clone()), log).await?;
        return Ok(Edited::deployed(app, &deployed));
    }
    let waiting = |holder: &str| log.step(&format!("Waiting for {holder}"));
    let (found, _lock) = deploy::hold(context, app, &edit.reason, waiting).await?;
    let (config, overrides) = deploy::edited(instance, &found, edit)?;
    let config = instance.seal(&config)?;
    let change = Change::new(edit.kind.action(), Subject::App(app.clone())).with(&edit.reason);
    context.change(&change, |tables| {
        tables.replace_config(found.id, &config)?;
        tables.set_overrides(found.id, &overrides)
    })?;
    Ok(edited(Outcome::Saved))
}

fn changes(instance: &Instance, app: &App, edit: &Edit) -> Result<bool> {
    let before = instance.read(|tables| tables.overrides(app.id))?;
    Ok(deploy::edited(instance, app, edit)? != (instance.config(app.id)?, before))
}
