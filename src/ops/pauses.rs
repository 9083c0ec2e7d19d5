//! Pauses: the requests of an app are held for a while, and go on in their order.

use std::time::Duration;

use serde::Serialize;

use super::edit::Outcome;
use crate::{
    Result, clock,
    context::Context,
    model::{self, AppName, Change, Subject},
    proxy,
    ui::{Show, Text},
};

/// What became of a pause.
#[derive(Clone, Debug, Serialize)]
pub struct Paused {
    /// The app.
    pub app: AppName,
    /// Whether something changed.
    pub outcome: Outcome,
    /// Until when its requests are held, in RFC 3339; none: they go on.
    pub until_at: Option<String>,
}

impl Show for Paused {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Holds the requests of an app for a while; from now on, if they are held already.
///
/// # Errors
/// [`crate::Error::NotFound`].
pub async fn pause(context: &Context<'_>, app: &AppName, length: Duration) -> Result<Paused> {
    let until = clock::now() + i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 2);
    let change = Change::new("pause", Subject::App(app.clone())).with(format!("for {}", model::seconds(length)));
    context.change(&change, |tables| {
        let app = tables.app(app)?;
        tables.pause(app.id, until, &context.caller.actor)
    })?;
    proxy::tell(context.instance).await;
    Ok(Paused { app: app.clone(), outcome: Outcome::Saved, until_at: Some(clock::rfc3339(until)) })
}

/// Lets the requests of an app go on.
///
/// # Errors
/// [`crate::Error::NotFound`].
pub async fn resume(context: &Context<'_>, app: &AppName) -> Result<Paused> {
    let was_held = context.instance.write(|tables| {
        let was_held = tables.resume(tables.app(app)?.id)?;
        if was_held {
            let change = Change::new("resume", Subject::App(app.clone()));
            context.note(tables, &change, model::Outcome::Done)?;
        }
        Ok(was_held)
    })?;
    proxy::tell(context.instance).await;
    let outcome = if was_held { Outcome::Saved } else { Outcome::Unchanged };
    Ok(Paused { app: app.clone(), outcome, until_at: None })
}
