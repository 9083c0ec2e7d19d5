use std::collections::HashSet;

use rusqlite::{Row, params};

use super::{Tables, corrupt, parsed};
use crate::{
    Error, Result, clock,
    model::{Actor, CommitId, ImageId, Override, ProcessSpec, Release, ReleaseStatus, ReleaseVersion},
};

/// What a release is cut from.
#[derive(Clone, Debug)]
pub struct NewRelease<'a> {
    /// The image it runs.
    pub image: &'a ImageId,
    /// Its config, sealed.
    pub sealed_config: &'a [u8],
    /// Its process types.
    pub processes: &'a [ProcessSpec],
    /// What the server was told about how they run.
    pub overrides: &'a [Override],
    /// The port its web process listens on.
    pub port: u16,
    /// The port that its source says.
    pub declared_port: Option<u16>,
    /// The commit it was built from.
    pub commit: Option<CommitId>,
    /// Why it is cut.
    pub reason: &'a str,
    /// Who asked for it.
    pub actor: &'a Actor,
}

const COLUMNS: &str = "id, app_id, version, image, processes, port, commit_id, reason, created_at, overrides, \
                       declared_port, actor, status";

impl Tables<'_> {
    /// Cuts the next release of an app, pending until it serves.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn cut_release(&self, app_id: i64, new: &NewRelease<'_>) -> Result<Release> {
        self.execute("UPDATE apps SET last_version = last_version + 1 WHERE id = ?1", [app_id])?;
        let processes = serde_json::to_string(new.processes).map_err(Error::bug)?;
        let overrides = serde_json::to_string(new.overrides).map_err(Error::bug)?;
        let id = self.insert(
            "INSERT INTO releases
                 (app_id, version, status, image, sealed_config, processes, overrides, port, declared_port, commit_id,
                  reason, actor, created_at)
             VALUES (?1, (SELECT last_version FROM apps WHERE id = ?1), 'pending', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
                     ?11)",
            params![
                app_id,
                new.image.0,
                new.sealed_config,
                processes,
                overrides,
                new.port,
                new.declared_port,
                new.commit.map(|commit| commit.to_string()),
                new.reason,
                new.actor.to_string(),
                clock::now(),
            ],
        )?;
        self.release(id)
    }

    /// The release of that row.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn release(&self, id: i64) -> Result<Release> {
        self.one(&format!("SELECT {COLUMNS} FROM releases WHERE id = ?1"), [id], release)
    }

    /// The release that serves an app, if one does.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn current_release(&self, app_id: i64) -> Result<Option<Release>> {
        self.maybe_one(
            &format!("SELECT {COLUMNS} FROM releases WHERE id = (SELECT current_release_id FROM apps WHERE id = ?1)"),
            [app_id],
            release,
        )
    }

    /// An app's newest releases, newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn releases(&self, app_id: i64, limit: u32) -> Result<Vec<Release>> {
        self.all(
            &format!("SELECT {COLUMNS} FROM releases WHERE app_id = ?1 ORDER BY version DESC LIMIT ?2"),
            params![app_id, limit],
            release,
        )
    }

    /// An app's release of that number, if there is one.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn find_release(&self, app_id: i64, version: ReleaseVersion) -> Result<Option<Release>> {
        self.maybe_one(
            &format!("SELECT {COLUMNS} FROM releases WHERE app_id = ?1 AND version = ?2"),
            params![app_id, version.0],
            release,
        )
    }

    /// The release that served before the current one, if one did.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn former_release(&self, app_id: i64) -> Result<Option<Release>> {
        self.maybe_one(
            &format!(
                "SELECT {COLUMNS} FROM releases
                 WHERE app_id = ?1 AND status = 'good'
                       AND id <> (SELECT current_release_id FROM apps WHERE id = ?1)
                 ORDER BY version DESC LIMIT 1"
            ),
            [app_id],
            release,
        )
    }

    /// The sealed config of a release.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn sealed_config(&self, release_id: i64) -> Result<Vec<u8>> {
        self.one("SELECT sealed_config FROM releases WHERE id = ?1", [release_id], |row| row.get(0))
    }

    /// Marks a release as one that never served.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn fail_release(&self, release_id: i64) -> Result<()> {
        self.execute("UPDATE releases SET status = 'failed' WHERE id = ?1 AND status = 'pending'", [release_id])
            .map(drop)
    }

    /// Makes a release the one that serves.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn set_current_release(&self, app_id: i64, release_id: i64) -> Result<()> {
        self.execute("UPDATE releases SET status = 'good' WHERE id = ?1", [release_id])?;
        self.execute(
            "UPDATE apps SET current_release_id = ?2, state = 'running' WHERE id = ?1",
            params![app_id, release_id],
        )
        .map(drop)
    }

    /// The images that an app still needs: the newest `keep` that served, of the releases that have containers, and of
    /// those a deployment is working on.
    ///
    /// Images are counted, not releases: five changes of config must not cost the way back to the code before.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn needed_images(&self, app_id: i64, keep: u64) -> Result<Vec<ImageId>> {
        self.all(
            "SELECT image FROM (
                 SELECT image FROM releases WHERE app_id = ?1 AND status = 'good'
                 GROUP BY image ORDER BY max(version) DESC LIMIT ?2
             )
             UNION
             SELECT image FROM releases
             WHERE app_id = ?1
                   AND (status = 'pending' OR id IN (SELECT release_id FROM containers)
                        OR id IN (SELECT current_release_id FROM apps))",
            params![app_id, keep as i64],
            |row| row.get(0).map(ImageId),
        )
    }

    /// Removes an app's releases beyond the newest `keep`, but for those whose image is kept and those that are used.
    /// Returns how many.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn prune_releases(&self, app_id: i64, keep: u64, kept_images: &HashSet<ImageId>) -> Result<u64> {
        let old = self.all(
            "SELECT id, image FROM releases
             WHERE app_id = ?1 AND status <> 'pending'
                   AND id NOT IN (SELECT release_id FROM containers)
                   AND id IS NOT (SELECT current_release_id FROM apps WHERE id = ?1)
                   AND id NOT IN (SELECT id FROM releases WHERE app_id = ?1 ORDER BY version DESC LIMIT ?2)",
            params![app_id, keep as i64],
            |row| Ok((row.get::<_, i64>("id")?, ImageId(row.get("image")?))),
        )?;
        let mut removed = 0;
        for (id, _) in old.iter().filter(|(_, image)| !kept_images.contains(image)) {
            removed += self.execute("DELETE FROM releases WHERE id = ?1", [id])? as u64;
        }
        Ok(removed)
    }
}

fn release(row: &Row<'_>) -> rusqlite::Result<Release> {
    Ok(Release {
        id: row.get(0)?,
        app_id: row.get(1)?,
        version: ReleaseVersion(row.get(2)?),
        image: ImageId(row.get(3)?),
        processes: serde_json::from_str(&row.get::<_, String>(4)?).map_err(corrupt)?,
        port: row.get(5)?,
        commit: row.get::<_, Option<String>>(6)?.map(parsed).transpose()?,
        reason: row.get(7)?,
        created_at: row.get(8)?,
        overrides: serde_json::from_str(&row.get::<_, String>(9)?).map_err(corrupt)?,
        declared_port: row.get(10)?,
        actor: parsed(row.get::<_, String>(11)?)?,
        status: ReleaseStatus::parse(&row.get::<_, String>(12)?).map_err(corrupt)?,
    })
}
