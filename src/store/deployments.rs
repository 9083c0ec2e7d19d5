use rusqlite::{Row, params};

use super::{Tables, corrupt, parsed};
use crate::{
    Error, Result, clock,
    model::{Actor, BranchName, CommitId, DeployId, DeployState, Deployment, DeploymentKind, Phase, ReleaseVersion},
};

/// What a deployment is opened with.
#[derive(Clone, Debug)]
pub struct NewDeployment<'a> {
    /// Why.
    pub kind: DeploymentKind,
    /// Who asked for it.
    pub actor: &'a Actor,
    /// The branch pushed.
    pub branch: Option<&'a BranchName>,
    /// The commit to be built.
    pub commit: Option<CommitId>,
}

impl<'a> NewDeployment<'a> {
    /// A deployment of what was built before.
    pub fn without_source(kind: DeploymentKind, actor: &'a Actor) -> NewDeployment<'a> {
        NewDeployment { kind, actor, branch: None, commit: None }
    }
}

const COLUMNS: &str = "deployments.id, deployments.app_id, deployments.kind, deployments.state, deployments.actor, \
                       deployments.branch, deployments.commit_id, releases.version, deployments.error, \
                       deployments.created_at, deployments.finished_at";
const FROM: &str = "FROM deployments LEFT JOIN releases ON releases.id = deployments.release_id";

impl Tables<'_> {
    /// Opens a deployment, queued.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn open_deployment(&self, app_id: i64, new: &NewDeployment<'_>) -> Result<DeployId> {
        let now = clock::now();
        let id = self.insert(
            "INSERT INTO deployments (app_id, kind, state, actor, branch, commit_id, created_at)
             VALUES (?1, ?2, 'queued', ?3, ?4, ?5, ?6)",
            params![
                app_id,
                new.kind.as_str(),
                new.actor.to_string(),
                new.branch.map(BranchName::as_str),
                new.commit.map(|commit| commit.to_string()),
                now,
            ],
        )?;
        self.add_event(id, DeployState::Queued, now)?;
        Ok(id)
    }

    /// Moves a deployment on, with its event. A cancelled one moves to no state but an end.
    ///
    /// # Errors
    /// [`Error::Canceled`], [`Error::Superseded`] where somebody stopped it; [`Error::DeployInterrupted`] where it is
    /// not in the state `from` any more, because recovery took it for dead.
    pub fn move_deployment(&self, id: DeployId, from: DeployState, to: DeployState) -> Result<()> {
        let now = clock::now();
        let moved = self.execute(
            "UPDATE deployments SET state = ?3
             WHERE id = ?1 AND state = ?2 AND canceled_by IS NULL AND superseded_by IS NULL",
            params![id, from.as_str(), to.as_str()],
        )?;
        if moved == 0 {
            return Err(self.stopped_by(id)?.unwrap_or(Error::DeployInterrupted));
        }
        self.add_event(id, to, now)
    }

    /// Removes an app's deployments that are over, beyond the newest `keep`. Returns how many.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn prune_deployments(&self, app_id: i64, keep: u64) -> Result<u64> {
        let removed = self.execute(
            "DELETE FROM deployments
             WHERE app_id = ?1 AND finished_at IS NOT NULL AND id NOT IN (SELECT deployment_id FROM containers)
                   AND id NOT IN (SELECT id FROM deployments WHERE app_id = ?1 ORDER BY id DESC LIMIT ?2)",
            params![app_id, keep as i64],
        )?;
        Ok(removed as u64)
    }

    /// Ends a deployment, whatever state it is in, unless it is over already.
    ///
    /// `error`: why it failed, in one line; none for one that succeeded.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn end_deployment(&self, id: DeployId, end: DeployState, error: Option<&str>) -> Result<()> {
        let now = clock::now();
        let ended = self.execute(
            "UPDATE deployments SET state = ?2, error = ?3, finished_at = coalesce(finished_at, ?4)
             WHERE id = ?1 AND state NOT IN ('succeeded', 'failed', 'canceled', 'superseded')",
            params![id, end.as_str(), error, now],
        )?;
        if ended > 0 {
            self.add_event(id, end, now)?;
        }
        Ok(())
    }

    /// Notes when a deployment became live; its drain goes on after that.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn set_live(&self, id: DeployId) -> Result<()> {
        self.execute("UPDATE deployments SET finished_at = ?2 WHERE id = ?1", params![id, clock::now()]).map(drop)
    }

    /// Notes the release a deployment cut.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn set_deployment_release(&self, id: DeployId, release_id: i64) -> Result<()> {
        self.execute("UPDATE deployments SET release_id = ?2 WHERE id = ?1", params![id, release_id]).map(drop)
    }

    /// The row of the release a deployment cut, if it came that far.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn deployment_release(&self, id: DeployId) -> Result<Option<i64>> {
        self.one("SELECT release_id FROM deployments WHERE id = ?1", [id], |row| row.get(0))
    }

    /// Asks a deployment to stop; the process that runs it does.
    ///
    /// # Errors
    /// [`Error::NotCancelable`] where it is over or past the switch.
    pub fn cancel_deployment(&self, id: DeployId, actor: &Actor) -> Result<()> {
        let deployment = self.deployment(id)?;
        if deployment.state.phase() != Phase::Undoable {
            return Err(Error::NotCancelable { id, state: deployment.state.to_string() });
        }
        self.execute(
            "UPDATE deployments SET canceled_by = coalesce(canceled_by, ?2) WHERE id = ?1",
            params![id, actor.to_string()],
        )
        .map(drop)
    }

    /// Makes a push take the place of those of its app that wait in line before it.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn supersede(&self, app_id: i64, newer: DeployId) -> Result<()> {
        self.execute(
            "UPDATE deployments SET superseded_by = ?2
             WHERE app_id = ?1 AND id < ?2 AND kind = 'push' AND state = 'queued' AND superseded_by IS NULL",
            params![app_id, newer],
        )
        .map(drop)
    }

    /// What stopped a deployment, if anything did: [`Error::Canceled`], [`Error::Superseded`].
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn stopped_by(&self, id: DeployId) -> Result<Option<Error>> {
        self.one("SELECT canceled_by, superseded_by FROM deployments WHERE id = ?1", [id], |row| {
            let canceled: Option<Actor> = row.get::<_, Option<String>>(0)?.map(parsed).transpose()?;
            let superseded: Option<DeployId> = row.get(1)?;
            Ok(canceled.map(Error::Canceled).or(superseded.map(Error::Superseded)))
        })
    }

    /// The deployment of that number.
    ///
    /// # Errors
    /// [`Error::DeploymentNotFound`].
    pub fn deployment(&self, id: DeployId) -> Result<Deployment> {
        self.maybe_one(&format!("SELECT {COLUMNS} {FROM} WHERE deployments.id = ?1"), [id], deployment)?
            .ok_or_else(|| Error::DeploymentNotFound(id.to_string()))
    }

    /// The newest deployment of all apps, if there is one.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn newest_deployment(&self) -> Result<Option<Deployment>> {
        self.maybe_one(&format!("SELECT {COLUMNS} {FROM} ORDER BY deployments.id DESC LIMIT 1"), [], deployment)
    }

    /// An app's newest deployments, newest first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn deployments(&self, app_id: i64, limit: u32) -> Result<Vec<Deployment>> {
        self.all(
            &format!("SELECT {COLUMNS} {FROM} WHERE deployments.app_id = ?1 ORDER BY deployments.id DESC LIMIT ?2"),
            params![app_id, limit],
            deployment,
        )
    }

    /// The deployments that are not over, oldest first; of one app, or of all.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn unfinished_deployments(&self, app_id: Option<i64>) -> Result<Vec<Deployment>> {
        self.all(
            &format!(
                "SELECT {COLUMNS} {FROM}
                 WHERE deployments.state NOT IN ('succeeded', 'failed', 'canceled', 'superseded')
                       AND (?1 IS NULL OR deployments.app_id = ?1)
                 ORDER BY deployments.id"
            ),
            [app_id],
            deployment,
        )
    }

    /// When a deployment came into each of its states, in order.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn deployment_events(&self, id: DeployId) -> Result<Vec<(DeployState, i64)>> {
        self.all("SELECT state, at FROM deployment_events WHERE deployment_id = ?1 ORDER BY rowid", [id], |row| {
            Ok((DeployState::parse(&row.get::<_, String>(0)?).map_err(corrupt)?, row.get(1)?))
        })
    }

    fn add_event(&self, id: DeployId, state: DeployState, at: i64) -> Result<()> {
        self.execute(
            "INSERT INTO deployment_events (deployment_id, state, at) VALUES (?1, ?2, ?3)",
            params![id, state.as_str(), at],
        )
        .map(drop)
    }
}

fn deployment(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    Ok(Deployment {
        id: row.get(0)?,
        app_id: row.get(1)?,
        kind: DeploymentKind::parse(&row.get::<_, String>(2)?).map_err(corrupt)?,
        state: DeployState::parse(&row.get::<_, String>(3)?).map_err(corrupt)?,
        actor: parsed(row.get::<_, String>(4)?)?,
        branch: row.get::<_, Option<String>>(5)?.map(parsed).transpose()?,
        commit: row.get::<_, Option<String>>(6)?.map(parsed).transpose()?,
        release: row.get::<_, Option<u32>>(7)?.map(ReleaseVersion),
        error: row.get(8)?,
        created_at: row.get(9)?,
        finished_at: row.get(10)?,
    })
}
