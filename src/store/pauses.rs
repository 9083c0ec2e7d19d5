use rusqlite::params;

use super::Tables;
use crate::{
    Result, clock,
    model::{Actor, AppId},
};

/// An app whose requests are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The app.
    pub app: AppId,
    /// Who paused it.
    pub actor: Actor,
    /// When, in milliseconds since 1970.
    pub since: i64,
    /// When it goes on by itself.
    pub until: i64,
}

impl Tables<'_> {
    /// The apps whose requests are held now.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn pauses(&self) -> Result<Vec<Pause>> {
        self.all("SELECT * FROM pauses WHERE until > ?1 ORDER BY app_id", [clock::now()], |row| {
            Ok(Pause {
                app: row.get("app_id")?,
                actor: row.get("actor")?,
                since: row.get("since")?,
                until: row.get("until")?,
            })
        })
    }

    /// Holds an app's requests until a time; again, if they are held already.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn pause(&self, app: AppId, until: i64, actor: &Actor) -> Result<()> {
        self.execute(
            "INSERT INTO pauses (app_id, actor, since, until) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (app_id) DO UPDATE SET actor = excluded.actor, until = excluded.until",
            params![app, actor, clock::now(), until],
        )
        .map(drop)
    }

    /// Lets an app's requests go on; says whether they were held.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn resume(&self, app: AppId) -> Result<bool> {
        let held = self.pauses()?.iter().any(|pause| pause.app == app);
        self.execute("DELETE FROM pauses WHERE app_id = ?1", [app])?;
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn a_pause_ends_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(&directory.path().join("db")).unwrap();
        let done: Result<()> = store.write(|tables| {
            let blog = tables.create_app(&"blog".parse()?)?.id;
            let ann = Actor::Key("ann".to_owned());
            tables.pause(blog, clock::now() - 1, &ann)?;
            assert_eq!((tables.pauses()?, tables.resume(blog)?), (Vec::new(), false));
            tables.pause(blog, clock::now() + 60_000, &ann)?;
            assert_eq!(tables.pauses()?.len(), 1);
            assert!(tables.resume(blog)? && !tables.resume(blog)?);
            Ok(())
        });
        done.unwrap();
    }
}
