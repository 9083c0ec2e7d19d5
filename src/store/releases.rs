use rusqlite::{Row, params};

use super::{Tables, corrupt, parsed};
use crate::{
    Error, Result, clock,
    model::{Actor, CommitId, ImageId, ProcessSpec, Release, ReleaseVersion},
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
    /// The port its web process listens on.
    pub port: u16,
    /// The commit it was built from.
    pub commit: Option<CommitId>,
    /// Why it is cut.
    pub reason: &'a str,
    /// Who asked for it.
    pub actor: &'a Actor,
}

const COLUMNS: &str = "id, app_id, version, image, processes, port, commit_id, reason, created_at";

impl Tables<'_> {
    /// Cuts the next release of an app, pending until it serves.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn cut_release(&self, app_id: i64, new: &NewRelease<'_>) -> Result<Release> {
        self.execute("UPDATE apps SET last_version = last_version + 1 WHERE id = ?1", [app_id])?;
        let processes = serde_json::to_string(new.processes).map_err(Error::bug)?;
        let id = self.insert(
            "INSERT INTO releases
                 (app_id, version, status, image, sealed_config, processes, port, commit_id, reason, actor, created_at)
             VALUES (?1, (SELECT last_version FROM apps WHERE id = ?1), 'pending', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                app_id,
                new.image.0,
                new.sealed_config,
                processes,
                new.port,
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

    /// The images that some app still needs: of the newest `keep` good releases of each app, of the one that serves, of
    /// those that have containers, and of those a deployment is working on.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn needed_images(&self, keep: u32) -> Result<Vec<ImageId>> {
        self.all(
            "SELECT DISTINCT image FROM (
                 SELECT image, id, status,
                        row_number() OVER (PARTITION BY app_id, status = 'good' ORDER BY version DESC) AS age
                 FROM releases
             )
             WHERE status = 'good' AND age <= ?1 OR status = 'pending'
                   OR id IN (SELECT release_id FROM containers)
                   OR id IN (SELECT current_release_id FROM apps)",
            [keep],
            |row| row.get(0).map(ImageId),
        )
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
    })
}
