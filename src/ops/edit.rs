//! Edits of what an app is run with: its config, and what the server is told about its process types.

use crate::{
    Result,
    deploy::{self, Deployed, Edit},
    instance::Instance,
    model::{App, AppName},
    ui::DeployLog,
};

/// What became of an edit.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All is so already; nothing was done.
    Nothing,
    /// It is kept, for the next start of the app.
    Kept,
    /// The app runs with it.
    Deployed(Deployed),
}

/// Makes an edit: where the app runs, by a deploy of its own, and only if that succeeds; else for its next start.
///
/// `restart`: whether what runs shall take it up now.
///
/// # Errors
/// Whatever fails; nothing has changed then.
pub async fn apply(instance: &Instance, app: &AppName, edit: &Edit, restart: bool, log: &DeployLog) -> Result<Outcome> {
    let found = instance.read(|tables| tables.app(app))?;
    if !changes(instance, &found, edit)? {
        deploy::refuse_frozen(&found)?;
        return Ok(Outcome::Nothing);
    }
    if restart && found.is_running() {
        return deploy::edit(instance, app, edit, log).await.map(Outcome::Deployed);
    }
    let waiting = |holder: &str| log.step(&format!("Waiting for {holder}"));
    let (found, _lock) = deploy::hold(instance, app, &edit.reason, waiting).await?;
    let (config, overrides) = deploy::edited(instance, &found, edit)?;
    let config = instance.seal(&config)?;
    instance.write(|tables| {
        tables.replace_config(found.id, &config)?;
        tables.set_overrides(found.id, &overrides)
    })?;
    Ok(Outcome::Kept)
}

fn changes(instance: &Instance, app: &App, edit: &Edit) -> Result<bool> {
    let before = instance.read(|tables| tables.overrides(app.id))?;
    Ok(deploy::edited(instance, app, edit)? != (instance.config(app.id)?, before))
}
