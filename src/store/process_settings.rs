use rusqlite::params;

use super::{Tables, corrupt, parsed};
use crate::{
    Result,
    model::{AppId, Override, ProcessType, Setting},
};

impl Tables<'_> {
    /// What the server was told about an app's process types, by process type and setting.
    pub fn overrides(&self, app_id: AppId) -> Result<Vec<Override>> {
        self.all(
            "SELECT process, setting, value FROM process_settings WHERE app_id = ?1 ORDER BY process, setting",
            [app_id],
            |row| {
                let process: String = row.get("process")?;
                Ok(Override {
                    process: if process.is_empty() { None } else { Some(parsed(process)?) },
                    setting: Setting::parse_stored(&row.get::<_, String>("setting")?).map_err(corrupt)?,
                    value: row.get("value")?,
                })
            },
        )
    }

    /// Makes these all that the server was told.
    pub fn set_overrides(&self, app_id: AppId, overrides: &[Override]) -> Result<()> {
        self.execute("DELETE FROM process_settings WHERE app_id = ?1", [app_id])?;
        for entry in overrides {
            self.execute(
                "INSERT INTO process_settings (app_id, process, setting, value) VALUES (?1, ?2, ?3, ?4)",
                params![
                    app_id,
                    entry.process.as_ref().map_or("", ProcessType::as_str),
                    entry.setting.stored(),
                    entry.value,
                ],
            )?;
        }
        Ok(())
    }

    /// How many containers of each process type an app is scaled to. A type that is not in it is not scaled: its
    /// source says how many, or it has one.
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
