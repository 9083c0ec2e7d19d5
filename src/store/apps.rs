use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Error, Result, clock,
    error::Thing,
    model::{App, AppId, AppLock, AppName, AppState},
};

// The one for all apps is looked up once, and that of an app by the index of properties, without sorting.
const COLUMNS: &str = "apps.id, apps.name, apps.state, \
                       coalesce((SELECT value FROM properties WHERE coalesce(app_id, 0) = apps.id AND process = '' AND \
                                        noun = 'apps' AND properties.name = 'deploy-branch'), \
                                (SELECT value FROM properties WHERE coalesce(app_id, 0) = 0 AND process = '' AND \
                                        noun = 'apps' AND properties.name = 'deploy-branch')) AS deploy_branch, \
                       releases.version AS current_release, apps.created_at, apps.freeze";
const FROM: &str = "FROM apps LEFT JOIN releases ON releases.id = apps.current_release_id";

impl Tables<'_> {
    /// Makes an app.
    ///
    /// # Errors
    /// [`Error::Exists`].
    pub fn create_app(&self, name: &AppName) -> Result<App> {
        if self.find_app(name)?.is_some() {
            return Err(Error::Exists(Thing::App, name.to_string()));
        }
        self.execute("INSERT INTO apps (name, state, created_at) VALUES (?1, 'new', ?2)", params![name, clock::now()])?;
        self.app(name)
    }

    /// All apps, by name.
    pub fn apps(&self) -> Result<Vec<App>> {
        self.all(&format!("SELECT {COLUMNS} {FROM} ORDER BY apps.name"), [], app)
    }

    /// The app of that name, if there is one.
    pub fn find_app(&self, name: &AppName) -> Result<Option<App>> {
        self.maybe_one(&format!("SELECT {COLUMNS} {FROM} WHERE apps.name = ?1"), [name], app)
    }

    /// The app of that name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn app(&self, name: &AppName) -> Result<App> {
        self.find_app(name)?.ok_or_else(|| Error::no_app(name))
    }

    /// The app of that number.
    pub fn app_by_id(&self, id: AppId) -> Result<App> {
        self.one(&format!("SELECT {COLUMNS} {FROM} WHERE apps.id = ?1"), [id], app)
    }

    /// Removes an app with all that belongs to it in the database, its containers' rows but for.
    ///
    /// # Errors
    /// [`Error::Store`], also where it still has containers.
    pub fn delete_app(&self, id: AppId) -> Result<()> {
        self.execute("UPDATE apps SET current_release_id = NULL WHERE id = ?1", [id])?;
        // The operation that does this outlives it.
        self.execute("DELETE FROM operations WHERE app_id = ?1 AND kind <> 'destroy'", [id])?;
        self.forget_crons(id)?;
        self.execute("DELETE FROM apps WHERE id = ?1", [id]).map(drop)
    }

    /// Sets whether an app is meant to run.
    pub fn set_app_state(&self, id: AppId, state: AppState) -> Result<()> {
        self.execute("UPDATE apps SET state = ?2 WHERE id = ?1", params![id, state]).map(drop)
    }

    /// Locks an app, or unlocks it.
    pub fn set_lock(&self, id: AppId, lock: Option<&AppLock>) -> Result<()> {
        let lock = lock.map(serde_json::to_string).transpose().map_err(Error::bug)?;
        self.execute("UPDATE apps SET freeze = ?2 WHERE id = ?1", params![id, lock]).map(drop)
    }
}

fn app(row: &Row<'_>) -> rusqlite::Result<App> {
    Ok(App {
        id: row.get("id")?,
        name: row.get("name")?,
        state: row.get("state")?,
        deploy_branch: row.get("deploy_branch")?,
        current_release: row.get("current_release")?,
        created_at: row.get("created_at")?,
        lock: row
            .get::<_, Option<String>>("freeze")?
            .map(|text| serde_json::from_str(&text).map_err(corrupt))
            .transpose()?,
    })
}
