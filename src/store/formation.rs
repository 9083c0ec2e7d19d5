use rusqlite::params;

use super::Tables;
use crate::{
    Result,
    model::{AppId, ProcessType},
};

impl Tables<'_> {
    /// How many containers of each process type an app is scaled to. A type that is not in it is not scaled: its
    /// source says how many, or it has the usual number.
    pub fn formation(&self, app_id: AppId) -> Result<Vec<(ProcessType, u32)>> {
        self.all("SELECT process, quantity FROM formation WHERE app_id = ?1 ORDER BY process", [app_id], |row| {
            Ok((row.get("process")?, row.get("quantity")?))
        })
    }

    /// Scales a process type.
    pub fn scale(&self, app_id: AppId, process: &ProcessType, quantity: u32) -> Result<()> {
        self.execute(
            "INSERT INTO formation (app_id, process, quantity) VALUES (?1, ?2, ?3)
             ON CONFLICT (app_id, process) DO UPDATE SET quantity = excluded.quantity",
            params![app_id, process, quantity],
        )
        .map(drop)
    }
}
