//! Edits of an app: of its config, and of its properties.

use serde::Serialize;

use crate::{
    Result,
    context::Context,
    deploy::{self, Deployed},
    instance::Instance,
    model::{App, AppName, Change, DeployId, Edit, Effect, Override, PropertyChange, Subject, edits_between, property},
    proxy,
    ui::{DeployLog, Show, Text},
};

/// What became of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was so already; nothing was done.
    Unchanged,
    /// It is saved; what it needs to hold, if that is more than nothing, comes later.
    Saved,
    /// The app runs with it.
    Deployed,
}

/// An edit that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Edited {
    /// The app; none: all apps, or the server.
    pub app: Option<AppName>,
    /// What became of it.
    pub outcome: Outcome,
    /// The deploy that brought it out.
    pub deploy: Option<DeployId>,
    /// The number of the release that serves with it.
    pub release: Option<u32>,
    /// What is still needed, so that it holds.
    #[serde(skip)]
    pub effect: Effect,
}

impl Edited {
    /// What a deploy came to.
    pub(super) fn deployed(app: &AppName, live: &Deployed) -> Edited {
        let (deploy, release) = (Some(live.deployment), Some(live.release.0));
        Edited { deploy, release, ..Edited::of(Some(app), Outcome::Deployed) }
    }

    /// What an edit came to that was no deploy.
    pub(super) fn of(app: Option<&AppName>, outcome: Outcome) -> Edited {
        Edited { app: app.cloned(), outcome, deploy: None, release: None, effect: Effect::Restart }
    }

    /// What became of it, for people; none after a deploy, which has said so.
    pub fn words(&self) -> Option<&'static str> {
        match (self.outcome, self.effect) {
            (Outcome::Unchanged, _) => Some("nothing to change: these values are already set"),
            (Outcome::Saved, Effect::Nothing | Effect::Route) => Some("saved"),
            (Outcome::Saved, Effect::Build) => Some("saved; the next build applies it"),
            (Outcome::Saved, Effect::Restart) => Some("saved; the next deploy or restart applies it"),
            (Outcome::Deployed, _) => None,
        }
    }
}

impl Show for Edited {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Makes an edit. One that needs a restart is a deploy where the app runs, and holds only if that succeeds.
///
/// `restart`: whether what runs takes it up now.
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
    let found = instance.read(|tables| tables.app(app))?;
    let Some(effect) = effect(instance, &found, edit)? else {
        deploy::refuse_locked(&found)?;
        return Ok(Edited::of(Some(app), Outcome::Unchanged));
    };
    if effect == Effect::Restart && restart && found.is_running() {
        let deployed = deploy::run(context, app, &deploy::Action::Edit(edit.clone()), log).await?;
        return Ok(Edited::deployed(app, &deployed));
    }
    let waiting = |holder: &str| log.step(&format!("Waiting for {holder}"));
    let (found, _lock) = deploy::hold(context, app, &edit.reason, waiting).await?;
    // Once more: another edit may have come before.
    let (config, _) = deploy::edited(instance, &found, edit)?;
    let edits = edits_between(&instance.config(found.id)?.own, &config.own);
    let change = Change::new(&edit.action, Subject::App(app.clone())).with(&edit.reason);
    context.change(&change, |tables| {
        instance.write_config(tables, Some(found.id), &edits, context.actor())?;
        tables.change_properties(Some(found.id), &edit.properties, context.actor())
    })?;
    if effect == Effect::Route {
        proxy::enforce(instance).await?;
    }
    Ok(Edited { effect, ..Edited::of(Some(app), Outcome::Saved) })
}

/// The most that any of some changes needs.
pub fn effect_of(changes: &[PropertyChange]) -> Effect {
    changes.iter().map(|change| change.property.effect).max().unwrap_or(Effect::Nothing)
}

/// What an edit needs; none where it changes nothing.
fn effect(instance: &Instance, app: &App, edit: &Edit) -> Result<Option<Effect>> {
    let (config, _) = deploy::edited(instance, app, edit)?;
    let before = instance.config(app.id)?;
    let (config_changes, environment_changes) = (config != before, config.variables() != before.variables());
    let set_before: Vec<Override> =
        instance.read(|tables| tables.properties(Some(app.id)))?.into_iter().map(|row| row.set).collect();
    let changes = property::changes_between(&set_before, &property::changed(set_before.clone(), &edit.properties));
    let effect = if environment_changes { Effect::Restart } else { effect_of(&changes) };
    Ok((config_changes || !changes.is_empty()).then_some(effect))
}
