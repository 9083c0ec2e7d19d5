use rusqlite::params;

use super::{Tables, parsed};
use crate::{Result, model::ProcessType};

impl Tables<'_> {
    /// How many containers of each process type an app is scaled to. A type that is not in it is not scaled: its
    /// source says how many, or it has one.
    ///
    /// # Errors
    /// [`crate::Error::Database`].
    pub fn formation(&self, app_id: i64) -> Result<Vec<(ProcessType, u32)>> {
        self.all("SELECT process, quantity FROM formation WHERE app_id = ?1 ORDER BY process", [app_id], |row| {
            Ok((parsed(row.get::<_, String>(0)?)?, row.get(1)?))
        })
    }

    /// Scales a process type.
    ///
    /// # Errors
    /// [`crate::Error::Database`].
    pub fn scale(&self, app_id: i64, process: &ProcessType, quantity: u32) -> Result<()> {
        self.execute(
            "INSERT INTO formation (app_id, process, quantity) VALUES (?1, ?2, ?3)
             ON CONFLICT (app_id, process) DO UPDATE SET quantity = excluded.quantity",
            params![app_id, process.as_str(), quantity],
        )
        .map(drop)
    }
}
