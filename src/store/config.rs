use rusqlite::params;

use super::Tables;
use crate::{
    Result,
    model::{AppId, EnvKey},
};

impl Tables<'_> {
    /// An app's variables with their sealed values, by name.
    pub fn config(&self, app_id: AppId) -> Result<Vec<(EnvKey, Vec<u8>)>> {
        self.all("SELECT key, sealed FROM config WHERE app_id = ?1 ORDER BY key", [app_id], |row| {
            Ok((row.get("key")?, row.get("sealed")?))
        })
    }

    /// Makes these an app's variables, with their sealed values.
    pub fn replace_config(&self, app_id: AppId, config: &[(EnvKey, Vec<u8>)]) -> Result<()> {
        self.execute("DELETE FROM config WHERE app_id = ?1", [app_id])?;
        for (key, sealed) in config {
            self.set_config(app_id, key, sealed)?;
        }
        Ok(())
    }

    /// Sets a variable to a sealed value.
    fn set_config(&self, app_id: AppId, key: &EnvKey, sealed: &[u8]) -> Result<()> {
        self.execute(
            "INSERT INTO config (app_id, key, sealed) VALUES (?1, ?2, ?3)
             ON CONFLICT (app_id, key) DO UPDATE SET sealed = excluded.sealed",
            params![app_id, key, sealed],
        )
        .map(drop)
    }
}
