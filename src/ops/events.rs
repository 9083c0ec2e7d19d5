//! Events: who changed what, when, by which door.

use std::time::Duration;

use serde::Serialize;

use crate::{
    Result, clock,
    context::Context,
    model::{Event, EventFilter, OperationId, Outcome, Right},
    ui::{Show, Text, or_dash},
};

/// How often a follower looks for more.
const FOLLOW_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How many events are read at once by a follower.
const FOLLOW_BATCH: u32 = 200;

/// An event, as a door shows it.
#[derive(Clone, Debug, Serialize)]
pub struct EventInfo {
    /// Its number.
    pub event: i64,
    /// When, in RFC 3339.
    pub created_at: String,
    /// Who.
    pub actor: String,
    /// By which door.
    pub door: &'static str,
    /// From where, if the door is one of the network's.
    pub address: Option<String>,
    /// What, as the command is typed.
    pub action: String,
    /// What it was about: `app:blog`.
    pub subject: String,
    /// What became of it.
    pub outcome: Outcome,
    /// More, for people.
    pub detail: Option<String>,
    /// The operation that did it.
    pub operation: Option<OperationId>,
}

impl EventInfo {
    fn of(event: &Event) -> EventInfo {
        EventInfo {
            event: event.id,
            created_at: clock::rfc3339(event.at),
            actor: event.actor.to_string(),
            door: event.door.as_str(),
            address: event.address.map(|address| address.to_string()),
            action: event.action.clone(),
            subject: event.subject.clone(),
            outcome: event.outcome,
            detail: event.detail.clone(),
            operation: event.operation,
        }
    }

    /// In one line, as a follower prints it.
    pub fn line(&self) -> String {
        let from = self.address.as_ref().map(|address| format!(" from {address}")).unwrap_or_default();
        let detail = self.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        format!(
            "{} {} ({}{from}) {} {} {}{detail}",
            self.created_at, self.actor, self.door, self.action, self.subject, self.outcome
        )
    }
}

/// A list of events.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct EventList(pub Vec<EventInfo>);

impl Show for EventList {
    fn text(&self) -> Text {
        Text::table(
            ["ID", "TIME", "BY", "DOOR", "ADDRESS", "ACTION", "SUBJECT", "OUTCOME", "DETAIL"],
            self.0.iter().map(|event| {
                [
                    event.event.to_string(),
                    event.created_at.clone(),
                    event.actor.clone(),
                    event.door.to_owned(),
                    or_dash(event.address.as_ref()),
                    event.action.clone(),
                    event.subject.clone(),
                    event.outcome.to_string(),
                    or_dash(event.detail.as_ref()),
                ]
            }),
        )
    }
}

/// The newest events that the caller sees, oldest first. An event of an app is seen by those who see the app, all
/// others by those who run the server.
///
/// # Errors
/// [`crate::Error::Store`].
pub fn list(context: &Context<'_>, filter: &EventFilter, limit: u32) -> Result<EventList> {
    let events = context.instance.read(|tables| tables.events(filter, limit))?;
    let seen = events.iter().filter(|event| match &event.app {
        Some(app) => context.sees(app),
        None => context.caller.may(Right::Administer),
    });
    Ok(EventList(seen.map(EventInfo::of).collect()))
}

/// Gives events to `out` as they come, beginning with the newest `limit`, until `out` fails. `idle` is called in between.
///
/// # Errors
/// [`crate::Error::Store`], and what `out` and `idle` return.
pub async fn follow(
    context: &Context<'_>,
    filter: &EventFilter,
    limit: u32,
    mut out: impl FnMut(&EventInfo) -> Result<()>,
    mut idle: impl FnMut() -> Result<()>,
) -> Result<()> {
    let mut filter = filter.clone();
    let mut limit = limit;
    loop {
        let EventList(events) = list(context, &filter, limit)?;
        for event in &events {
            out(event)?;
        }
        // What the filter leaves out is passed over, not asked for again.
        let newest = events.last().map(|event| event.event);
        let newest = newest.max(filter.after).or(context.instance.read(|tables| tables.newest_event())?);
        filter.after = Some(newest.unwrap_or(0));
        limit = FOLLOW_BATCH;
        idle()?;
        tokio::time::sleep(FOLLOW_POLL_INTERVAL).await;
    }
}
