use rusqlite::params;

use super::{Store, Tables, database};
use crate::{
    Error, Result, clock,
    model::{Actor, AppId, EnvKey},
};

/// Under which name the database keeps that nothing in it is clear that should be sealed.
const SEALED: &str = "sealed_properties";

impl Store {
    /// Seals what an earlier version kept in clear. Does nothing, and writes nothing, if that was done.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn seal_what_was_clear(&mut self) -> Result<()> {
        if self.read(|tables| tables.meta(SEALED))?.is_some() {
            return Ok(());
        }
        // Without the key the next who has it does this.
        if let Some(secrets) = self.secrets.clone()
            && !self.read(|tables| secrets.holds_key(tables))?
        {
            return Ok(());
        }
        // What is no longer part of a row must not stay in the file.
        self.connection.pragma_update(None, "secure_delete", true).map_err(database("be written"))?;
        self.write(|tables| {
            tables.seal_properties()?;
            tables.seal_releases()?;
            tables.set_meta(SEALED, "yes")
        })
    }
}

impl Tables<'_> {
    /// Seals a text that a row keeps, if there is what seals it.
    pub(super) fn seal(&self, clear: &str) -> Result<Option<Vec<u8>>> {
        self.secrets.map(|secrets| secrets.seal(self, clear.as_bytes())).transpose()
    }

    /// Opens what [`Tables::seal`] made; nothing if there is nothing, or nothing to open it with: also while the key is
    /// missing, so that what needs no secret goes on.
    pub(super) fn unseal(&self, sealed: Option<&[u8]>) -> Result<Option<String>> {
        let (Some(secrets), Some(sealed)) = (self.secrets, sealed) else { return Ok(None) };
        match secrets.unseal(sealed) {
            Ok(clear) => String::from_utf8(clear).map(Some).map_err(Error::bug),
            Err(_) if !secrets.holds_key(self)? => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Something that is sealed, if anything is: for who looks whether a key opens it.
    pub fn one_sealed(&self) -> Result<Option<Vec<u8>>> {
        self.maybe_one(
            "SELECT sealed FROM secrets
             UNION ALL SELECT sealed FROM properties WHERE sealed IS NOT NULL
             UNION ALL SELECT sealed_run FROM releases WHERE sealed_run IS NOT NULL
             UNION ALL SELECT sealed_config FROM releases LIMIT 1",
            [],
            |row| row.get(0),
        )
    }

    /// The variables that are set for an app, or for all apps, with their sealed values, by name.
    pub fn config(&self, app_id: Option<AppId>) -> Result<Vec<(EnvKey, Vec<u8>)>> {
        self.all(
            "SELECT name, sealed FROM secrets WHERE app_id IS ?1 AND noun = 'config' ORDER BY name",
            [app_id],
            |row| Ok((row.get("name")?, row.get("sealed")?)),
        )
    }

    /// Sets a variable of an app, or of all apps, to a sealed value; none removes it.
    pub fn set_config(&self, app_id: Option<AppId>, key: &EnvKey, sealed: Option<&[u8]>, actor: &Actor) -> Result<()> {
        match sealed {
            Some(sealed) => self.execute(
                "INSERT INTO secrets (scope, app_id, noun, name, sealed, actor, set_at)
                 VALUES (iif(?1 IS NULL, 'global', 'app'), ?1, 'config', ?2, ?3, ?4, ?5)
                 ON CONFLICT (coalesce(app_id, 0), noun, name) DO UPDATE
                 SET sealed = excluded.sealed, actor = excluded.actor, set_at = excluded.set_at",
                params![app_id, key, sealed, actor, clock::now()],
            )?,
            None => self.execute(
                "DELETE FROM secrets WHERE app_id IS ?1 AND noun = 'config' AND name = ?2",
                params![app_id, key],
            )?,
        };
        Ok(())
    }

    /// Puts in the place of every sealed value, those that releases keep included, what `reseal` makes of it. Returns
    /// how many there are.
    ///
    /// # Errors
    /// What `reseal` returns.
    pub fn reseal(&self, mut reseal: impl FnMut(&[u8]) -> Result<Vec<u8>>) -> Result<u64> {
        let mut count = 0;
        for (ids, read, write) in [
            (
                "SELECT id FROM properties WHERE sealed IS NOT NULL",
                "SELECT sealed FROM properties WHERE id = ?1",
                "UPDATE properties SET sealed = ?2 WHERE id = ?1",
            ),
            (
                "SELECT id FROM releases WHERE sealed_run IS NOT NULL",
                "SELECT sealed_run FROM releases WHERE id = ?1",
                "UPDATE releases SET sealed_run = ?2 WHERE id = ?1",
            ),
            (
                "SELECT id FROM secrets",
                "SELECT sealed FROM secrets WHERE id = ?1",
                "UPDATE secrets SET sealed = ?2 WHERE id = ?1",
            ),
            (
                "SELECT id FROM releases",
                "SELECT sealed_config FROM releases WHERE id = ?1",
                "UPDATE releases SET sealed_config = ?2 WHERE id = ?1",
            ),
        ] {
            for id in self.all(ids, [], |row| row.get::<_, i64>(0))? {
                let sealed: Vec<u8> = self.one(read, [id], |row| row.get(0))?;
                self.execute(write, params![id, reseal(&sealed)?])?;
                count += 1;
            }
        }
        Ok(count)
    }
}
