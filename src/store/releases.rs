use std::collections::HashSet;

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::{Tables, corrupt};
use crate::{
    Error, Result, clock,
    error::DeployError,
    model::{
        Actor, App, AppId, CommitId, CronSpec, ImageId, Override, ProcessSpec, Release, ReleaseId, ReleaseVersion,
    },
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
    /// Its commands that run by time.
    pub crons: &'a [CronSpec],
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

const COLUMNS: &str = "id, version, image, processes, port, commit_id, reason, created_at, overrides, \
                       declared_port, actor, status, sealed_run, crons";

/// How a release runs, as its row keeps it.
struct Kept {
    processes: String,
    overrides: String,
    /// Both, if they hold a secret: then they are masked.
    sealed: Option<Vec<u8>>,
}

/// How a release runs, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Run {
    processes: Vec<ProcessSpec>,
    overrides: Vec<Override>,
}

impl Tables<'_> {
    /// Cuts the next release of an app, pending until it serves.
    pub fn cut_release(&self, app_id: AppId, new: &NewRelease<'_>) -> Result<Release> {
        self.execute("UPDATE apps SET last_version = last_version + 1 WHERE id = ?1", [app_id])?;
        let how = self.kept(new.processes, new.overrides)?;
        let id = ReleaseId(self.insert(
            "INSERT INTO releases
                 (app_id, version, status, image, sealed_config, processes, overrides, port, declared_port, commit_id,
                  reason, actor, created_at, sealed_run, crons)
             VALUES (?1, (SELECT last_version FROM apps WHERE id = ?1), 'pending', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
                     ?11, ?12, ?13)",
            params![
                app_id,
                new.image,
                new.sealed_config,
                how.processes,
                how.overrides,
                new.port,
                new.declared_port,
                new.commit,
                new.reason,
                new.actor,
                clock::now(),
                how.sealed,
                serde_json::to_string(new.crons).map_err(Error::bug)?,
            ],
        )?);
        self.release(id)
    }

    /// The release of that row.
    pub fn release(&self, id: ReleaseId) -> Result<Release> {
        self.one(&format!("SELECT {COLUMNS} FROM releases WHERE id = ?1"), [id], |row| self.release_of(row))
    }

    /// The release that serves an app, if one does.
    pub fn current_release(&self, app_id: AppId) -> Result<Option<Release>> {
        self.maybe_one(
            &format!("SELECT {COLUMNS} FROM releases WHERE id = (SELECT current_release_id FROM apps WHERE id = ?1)"),
            [app_id],
            |row| self.release_of(row),
        )
    }

    /// The release that serves an app.
    ///
    /// # Errors
    /// `DeployError::NeverDeployed` if none does.
    pub fn serving(&self, app: &App) -> Result<Release> {
        let never = || Error::Deploy(DeployError::NeverDeployed { app: app.name.clone() });
        self.current_release(app.id)?.ok_or_else(never)
    }

    /// An app's newest releases, newest first.
    pub fn releases(&self, app_id: AppId, limit: u32) -> Result<Vec<Release>> {
        self.all(
            &format!("SELECT {COLUMNS} FROM releases WHERE app_id = ?1 ORDER BY version DESC LIMIT ?2"),
            params![app_id, limit],
            |row| self.release_of(row),
        )
    }

    /// An app's release of that number, if there is one.
    pub fn find_release(&self, app_id: AppId, version: ReleaseVersion) -> Result<Option<Release>> {
        self.maybe_one(
            &format!("SELECT {COLUMNS} FROM releases WHERE app_id = ?1 AND version = ?2"),
            params![app_id, version],
            |row| self.release_of(row),
        )
    }

    /// The release that served before the current one, if one did.
    pub fn former_release(&self, app_id: AppId) -> Result<Option<Release>> {
        self.maybe_one(
            &format!(
                "SELECT {COLUMNS} FROM releases
                 WHERE app_id = ?1 AND status = 'good'
                       AND id <> (SELECT current_release_id FROM apps WHERE id = ?1)
                 ORDER BY version DESC LIMIT 1"
            ),
            [app_id],
            |row| self.release_of(row),
        )
    }

    /// Gives a release that has not served yet another image: what was done to its own before anything of it started.
    pub fn set_release_image(&self, id: ReleaseId, image: &ImageId) -> Result<Release> {
        self.execute("UPDATE releases SET image = ?2 WHERE id = ?1 AND status = 'pending'", params![id, image])?;
        self.release(id)
    }

    /// The sealed config of a release.
    pub fn sealed_config(&self, release_id: ReleaseId) -> Result<Vec<u8>> {
        self.one("SELECT sealed_config FROM releases WHERE id = ?1", [release_id], |row| row.get("sealed_config"))
    }

    /// Changes the port of a release that has not served yet, to the one that its containers were found to listen on.
    pub fn set_pending_port(&self, release_id: ReleaseId, port: u16) -> Result<()> {
        self.execute(
            "UPDATE releases SET port = ?2, declared_port = ?2 WHERE id = ?1 AND status = 'pending'",
            params![release_id, port],
        )
        .map(drop)
    }

    /// Marks a release as one that never served.
    pub fn fail_release(&self, release_id: ReleaseId) -> Result<()> {
        self.execute("UPDATE releases SET status = 'failed' WHERE id = ?1 AND status = 'pending'", [release_id])
            .map(drop)
    }

    /// Makes a release the one that serves.
    pub fn set_current_release(&self, app_id: AppId, release_id: ReleaseId) -> Result<()> {
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
    pub fn needed_images(&self, app_id: AppId, keep: u64) -> Result<Vec<ImageId>> {
        self.all(
            "SELECT image FROM (
                 SELECT image FROM releases WHERE app_id = ?1 AND status = 'good'
                 GROUP BY image ORDER BY max(version) DESC LIMIT ?2
             )
             UNION
             SELECT image FROM releases
             WHERE app_id = ?1
                   AND (status = 'pending' OR id IN (SELECT release_id FROM containers)
                        OR id IN (SELECT current_release_id FROM apps))
             UNION
             SELECT image FROM runs WHERE app_id = ?1 AND state <> 'ended'",
            params![app_id, keep as i64],
            |row| row.get("image"),
        )
    }

    /// Removes an app's releases beyond the newest `keep`, but for those whose image is kept and those that are used.
    /// Returns how many.
    pub fn prune_releases(&self, app_id: AppId, keep: u64, kept_images: &HashSet<ImageId>) -> Result<u64> {
        let old = self.all(
            "SELECT id, image FROM releases
             WHERE app_id = ?1 AND status <> 'pending'
                   AND id NOT IN (SELECT release_id FROM containers)
                   AND id NOT IN (SELECT release_id FROM runs WHERE state <> 'ended')
                   AND id IS NOT (SELECT current_release_id FROM apps WHERE id = ?1)
                   AND id NOT IN (SELECT id FROM releases WHERE app_id = ?1 ORDER BY version DESC LIMIT ?2)",
            params![app_id, keep as i64],
            |row| Ok((row.get::<_, ReleaseId>("id")?, row.get::<_, ImageId>("image")?)),
        )?;
        let mut removed = 0;
        for (id, _) in old.iter().filter(|(_, image)| !kept_images.contains(image)) {
            removed += self.execute("DELETE FROM releases WHERE id = ?1", [id])? as u64;
        }
        Ok(removed)
    }
}

impl Tables<'_> {
    fn kept(&self, processes: &[ProcessSpec], overrides: &[Override]) -> Result<Kept> {
        let masked = Run {
            processes: processes.iter().map(ProcessSpec::masked).collect(),
            overrides: overrides.iter().map(Override::masked).collect(),
        };
        let sealed = if masked.processes == processes && masked.overrides == overrides {
            None
        } else {
            let run = Run { processes: processes.to_vec(), overrides: overrides.to_vec() };
            self.seal(&serde_json::to_string(&run).map_err(Error::bug)?)?
        };
        Ok(Kept {
            processes: serde_json::to_string(&masked.processes).map_err(Error::bug)?,
            overrides: serde_json::to_string(&masked.overrides).map_err(Error::bug)?,
            sealed,
        })
    }

    /// Seals how releases run that hold a secret in clear.
    pub(super) fn seal_releases(&self) -> Result<()> {
        let clear = self
            .all(&format!("SELECT {COLUMNS} FROM releases WHERE sealed_run IS NULL"), [], |row| self.release_of(row))?;
        for release in clear {
            let how = self.kept(&release.processes, &release.overrides)?;
            if how.sealed.is_some() {
                self.execute(
                    "UPDATE releases SET processes = ?2, overrides = ?3, sealed_run = ?4 WHERE id = ?1",
                    params![release.id, how.processes, how.overrides, how.sealed],
                )?;
            }
        }
        Ok(())
    }

    fn release_of(&self, row: &Row<'_>) -> rusqlite::Result<Release> {
        let release = release(row)?;
        let sealed: Option<Vec<u8>> = row.get("sealed_run")?;
        let Some(run) = self.unseal(sealed.as_deref()).map_err(corrupt)? else { return Ok(release) };
        let Run { processes, overrides } = serde_json::from_str(&run).map_err(corrupt)?;
        Ok(Release { processes, overrides, ..release })
    }
}

fn release(row: &Row<'_>) -> rusqlite::Result<Release> {
    Ok(Release {
        id: row.get("id")?,
        version: row.get("version")?,
        image: row.get("image")?,
        processes: serde_json::from_str(&row.get::<_, String>("processes")?).map_err(corrupt)?,
        crons: serde_json::from_str(&row.get::<_, String>("crons")?).map_err(corrupt)?,
        overrides: serde_json::from_str(&row.get::<_, String>("overrides")?).map_err(corrupt)?,
        port: row.get("port")?,
        declared_port: row.get("declared_port")?,
        commit: row.get("commit_id")?,
        reason: row.get("reason")?,
        actor: row.get("actor")?,
        status: row.get("status")?,
        created_at: row.get("created_at")?,
    })
}
