//! Who asks for what is done, and where it is done: what every action takes.

use crate::{
    Result,
    instance::Instance,
    model::{Actor, AppName, Caller, Change, Outcome, Right},
    store::{NewEvent, Tables},
};

/// An instance, and who asks.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// Who asks.
    pub caller: &'a Caller,
}

impl<'a> Context<'a> {
    /// Who asks, in one word.
    pub fn actor(&self) -> &'a Actor {
        &self.caller.actor
    }

    /// Whether the caller may see an app: for them there is no other.
    pub fn sees(&self, app: &AppName) -> bool {
        self.caller.may_for(app, Right::See)
    }

    /// Changes the database in one transaction, and writes the event of it in the same.
    ///
    /// # Errors
    /// What `work` returns; nothing is changed then, and no event is written.
    pub fn change<T>(&self, change: &Change<'_>, work: impl FnOnce(&Tables<'_>) -> Result<T>) -> Result<T> {
        self.instance.write(|tables| {
            let value = work(tables)?;
            self.note(tables, change, Outcome::Done)?;
            Ok(value)
        })
    }

    /// Writes an event within a transaction.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn note(&self, tables: &Tables<'_>, change: &Change<'_>, outcome: Outcome) -> Result<()> {
        tables.add_event(&NewEvent { caller: self.caller, change, outcome, operation: None })
    }
}
