use rusqlite::params;

use super::Tables;
use crate::{
    Result,
    model::{AppId, EnvKey},
};

impl Tables<'_> {
    /// The variables that an app's source has given a value once.
    pub fn given_variables(&self, app_id: AppId) -> Result<Vec<EnvKey>> {
        self.all("SELECT name FROM given_variables WHERE app_id = ?1 ORDER BY name", [app_id], |row| row.get("name"))
    }

    /// Notes that an app's source has given a variable a value.
    pub fn give_variable(&self, app_id: AppId, name: &EnvKey) -> Result<()> {
        self.execute("INSERT OR IGNORE INTO given_variables (app_id, name) VALUES (?1, ?2)", params![app_id, name])
            .map(drop)
    }

    /// Forgets that an app's source has given a variable a value, so that it will again.
    pub fn forget_variable(&self, app_id: AppId, name: &EnvKey) -> Result<()> {
        self.execute("DELETE FROM given_variables WHERE app_id = ?1 AND name = ?2", params![app_id, name]).map(drop)
    }
}
