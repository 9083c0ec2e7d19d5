use rusqlite::{Row, params};

use super::{Tables, corrupt, parsed};
use crate::{
    Error, Result, clock,
    model::{App, AppName, AppState, Freeze, ReleaseVersion},
};

const COLUMNS: &str = "apps.id, apps.name, apps.state, \
                       (SELECT value FROM properties WHERE coalesce(app_id, 0) IN (apps.id, 0) AND process = '' AND \
                               noun = 'apps' AND properties.name = 'deploy-branch' ORDER BY app_id DESC LIMIT 1), \
                       releases.version, apps.created_at, apps.freeze";
const FROM: &str = "FROM apps LEFT JOIN releases ON releases.id = apps.current_release_id";

impl Tables<'_> {
    /// Makes an app.
    ///
    /// # Errors
    /// [`Error::AppExists`].
    pub fn create_app(&self, name: &AppName) -> Result<App> {
        if self.find_app(name)?.is_some() {
            return Err(Error::AppExists(name.clone()));
        }
        self.execute(
            "INSERT INTO apps (name, state, created_at) VALUES (?1, 'new', ?2)",
            params![name.as_str(), clock::now()],
        )?;
        self.app(name)
    }

    /// All apps, by name.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn apps(&self) -> Result<Vec<App>> {
        self.all(&format!("SELECT {COLUMNS} {FROM} ORDER BY apps.name"), [], app)
    }

    /// The app of that name, if there is one.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn find_app(&self, name: &AppName) -> Result<Option<App>> {
        self.maybe_one(&format!("SELECT {COLUMNS} {FROM} WHERE apps.name = ?1"), [name.as_str()], app)
    }

    /// The app of that name.
    ///
    /// # Errors
    /// [`Error::AppNotFound`].
    pub fn app(&self, name: &AppName) -> Result<App> {
        self.find_app(name)?.ok_or_else(|| Error::AppNotFound(name.clone()))
    }

    /// The app of that number.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn app_by_id(&self, id: i64) -> Result<App> {
        self.one(&format!("SELECT {COLUMNS} {FROM} WHERE apps.id = ?1"), [id], app)
    }

    /// Removes an app with all that belongs to it in the database, its containers' rows but for.
    ///
    /// # Errors
    /// [`Error::Database`], also where it still has containers.
    pub fn delete_app(&self, id: i64) -> Result<()> {
        self.execute("UPDATE apps SET current_release_id = NULL WHERE id = ?1", [id])?;
        self.execute("DELETE FROM apps WHERE id = ?1", [id]).map(drop)
    }

    /// Sets whether an app is meant to run.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn set_app_state(&self, id: i64, state: AppState) -> Result<()> {
        self.execute("UPDATE apps SET state = ?2 WHERE id = ?1", params![id, state.as_str()]).map(drop)
    }

    /// Freezes an app on purpose, or thaws it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn set_freeze(&self, id: i64, freeze: Option<&Freeze>) -> Result<()> {
        let freeze = freeze.map(serde_json::to_string).transpose().map_err(Error::bug)?;
        self.execute("UPDATE apps SET freeze = ?2 WHERE id = ?1", params![id, freeze]).map(drop)
    }
}

fn app(row: &Row<'_>) -> rusqlite::Result<App> {
    Ok(App {
        id: row.get(0)?,
        name: parsed(row.get::<_, String>(1)?)?,
        state: AppState::parse(&row.get::<_, String>(2)?).map_err(corrupt)?,
        deploy_branch: row.get::<_, Option<String>>(3)?.map(parsed).transpose()?,
        current_release: row.get::<_, Option<u32>>(4)?.map(ReleaseVersion),
        created_at: row.get(5)?,
        freeze: row
            .get::<_, Option<String>>(6)?
            .map(|text| serde_json::from_str(&text).map_err(corrupt))
            .transpose()?,
    })
}
