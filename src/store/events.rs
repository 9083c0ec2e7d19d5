use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Result, clock,
    model::{Caller, Change, Event, EventFilter, OperationId, Outcome},
};

/// What an event's row is made from.
#[derive(Clone, Debug)]
pub struct NewEvent<'a> {
    /// Who asked, and by which door.
    pub caller: &'a Caller,
    /// What, and what it is about.
    pub change: &'a Change<'a>,
    /// What became of it.
    pub outcome: Outcome,
    /// The operation that did it.
    pub operation: Option<OperationId>,
}

impl Tables<'_> {
    /// Removes events beyond the newest `keep`. Returns how many.
    pub fn prune_events(&self, keep: u64) -> Result<u64> {
        let newest = "SELECT id FROM events ORDER BY id DESC LIMIT ?1";
        let removed = self.execute(&format!("DELETE FROM events WHERE id NOT IN ({newest})"), [keep as i64])?;
        Ok(removed as u64)
    }

    /// Writes an event, in the transaction of the change that it is about.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn add_event(&self, new: &NewEvent<'_>) -> Result<()> {
        self.execute(
            "INSERT INTO events (at, actor, door, address, action, subject, app, outcome, detail, operation_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                clock::now(),
                new.caller.actor,
                new.caller.door,
                new.caller.address.map(|address| address.to_string()),
                new.change.action,
                new.change.subject.to_string(),
                new.change.subject.app(),
                new.outcome,
                new.change.detail,
                new.operation,
            ],
        )
        .map(drop)
    }

    /// The newest events that the filter lets pass, oldest first.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn events(&self, filter: &EventFilter, limit: u32) -> Result<Vec<Event>> {
        let mut events = self.all(
            "SELECT id, at, actor, door, address, action, subject, app, outcome, detail, operation_id FROM events
             WHERE (?1 IS NULL OR app = ?1) AND (?2 IS NULL OR actor = ?2)
                   AND (?3 IS NULL OR action = ?3 OR substr(action, 1, length(?3) + 1) = ?3 || ':')
                   AND (?4 IS NULL OR outcome = ?4) AND (?5 IS NULL OR at >= ?5) AND (?6 IS NULL OR id > ?6)
             ORDER BY id DESC LIMIT ?7",
            params![filter.app, filter.actor, filter.action, filter.outcome, filter.since, filter.after, limit,],
            event,
        )?;
        events.reverse();
        Ok(events)
    }

    /// The number of the newest event, if there is one.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn newest_event(&self) -> Result<Option<i64>> {
        self.one("SELECT max(id) AS newest FROM events", [], |row| row.get("newest"))
    }
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: row.get("id")?,
        at: row.get("at")?,
        actor: row.get("actor")?,
        door: row.get("door")?,
        address: row.get::<_, Option<String>>("address")?.map(|text| text.parse().map_err(corrupt)).transpose()?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        app: row.get("app")?,
        outcome: row.get("outcome")?,
        detail: row.get("detail")?,
        operation: row.get("operation_id")?,
    })
}
