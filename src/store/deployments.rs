use rusqlite::{Row, params};

use super::Tables;
use crate::{
    Error, Result, clock,
    error::{DeployError, Thing},
    model::{
        Actor, AppId, BranchName, CommitId, DeployId, DeployState, Deployment, DeploymentKind, OperationId, Phase,
        ReleaseId, Stop,
    },
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
                       deployments.branch, deployments.commit_id, releases.version AS release, deployments.error, \
                       deployments.created_at, deployments.finished_at";
const FROM: &str = "FROM deployments LEFT JOIN releases ON releases.id = deployments.release_id";

impl Tables<'_> {
    /// Opens a deployment, queued.
    pub fn open_deployment(&self, app_id: AppId, new: &NewDeployment<'_>) -> Result<DeployId> {
        let now = clock::now();
        let id = OperationId(self.insert(
            "INSERT INTO deployments (app_id, kind, state, actor, branch, commit_id, created_at)
             VALUES (?1, ?2, 'queued', ?3, ?4, ?5, ?6)",
            params![app_id, new.kind, new.actor, new.branch, new.commit, now,],
        )?);
        self.add_step(id, DeployState::Queued, now)?;
        Ok(id)
    }

    /// Moves a deployment on, with its event. A cancelled one moves to no state but an end.
    ///
    /// # Errors
    /// `Stop::Canceled`, `Stop::Superseded` where somebody stopped it; `DeployError::Died` where it is
    /// not in the state `from` any more, because recovery took it for dead.
    pub fn move_deployment(&self, id: DeployId, from: DeployState, to: DeployState) -> Result<()> {
        let now = clock::now();
        let moved = self.execute(
            "UPDATE deployments SET state = ?3
             WHERE id = ?1 AND state = ?2 AND canceled_by IS NULL AND superseded_by IS NULL",
            params![id, from, to],
        )?;
        if moved == 0 {
            return Err(self.stopped_by(id)?.map_or(Error::Deploy(DeployError::Died), Error::from));
        }
        self.add_step(id, to, now)
    }

    /// Removes an app's deployments that are over, beyond the newest `keep`. Returns how many.
    pub fn prune_deployments(&self, app_id: AppId, keep: u64) -> Result<u64> {
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
    pub fn end_deployment(&self, id: DeployId, end: DeployState, error: Option<&str>) -> Result<()> {
        let now = clock::now();
        let ended = self.execute(
            "UPDATE deployments SET state = ?2, error = ?3, finished_at = coalesce(finished_at, ?4)
             WHERE id = ?1 AND state NOT IN ('succeeded', 'failed', 'canceled', 'superseded')",
            params![id, end, error, now],
        )?;
        if ended > 0 {
            self.add_step(id, end, now)?;
        }
        Ok(())
    }

    /// Notes when a deployment became live; its drain goes on after that.
    pub fn set_live(&self, id: DeployId) -> Result<()> {
        self.execute("UPDATE deployments SET finished_at = ?2 WHERE id = ?1", params![id, clock::now()]).map(drop)
    }

    /// Notes the release a deployment cut.
    pub fn set_deployment_release(&self, id: DeployId, release_id: ReleaseId) -> Result<()> {
        self.execute("UPDATE deployments SET release_id = ?2 WHERE id = ?1", params![id, release_id]).map(drop)
    }

    /// The row of the release a deployment cut, if it came that far.
    pub fn deployment_release(&self, id: DeployId) -> Result<Option<ReleaseId>> {
        self.one("SELECT release_id FROM deployments WHERE id = ?1", [id], |row| row.get("release_id"))
    }

    /// Asks a deployment to stop; the process that runs it does.
    ///
    /// # Errors
    /// `DeployError::NotCancelable` where it is over or past the switch.
    pub fn cancel_deployment(&self, id: DeployId, actor: &Actor) -> Result<()> {
        let deployment = self.deployment(id)?;
        if deployment.state.phase() != Phase::Undoable {
            return Err(Error::Deploy(DeployError::NotCancelable { id, state: deployment.state.to_string() }));
        }
        self.execute("UPDATE deployments SET canceled_by = coalesce(canceled_by, ?2) WHERE id = ?1", params![id, actor])
            .map(drop)
    }

    /// Makes a push take the place of those of its app that wait in line before it.
    pub fn supersede(&self, app_id: AppId, newer: DeployId) -> Result<()> {
        self.execute(
            "UPDATE deployments SET superseded_by = ?2
             WHERE app_id = ?1 AND id < ?2 AND kind = 'push' AND state = 'queued' AND superseded_by IS NULL",
            params![app_id, newer],
        )
        .map(drop)
    }

    /// What stopped a deployment, if anything did.
    pub fn stopped_by(&self, id: DeployId) -> Result<Option<Stop>> {
        self.one("SELECT canceled_by, superseded_by FROM deployments WHERE id = ?1", [id], |row| {
            let canceled: Option<Actor> = row.get("canceled_by")?;
            let superseded: Option<DeployId> = row.get("superseded_by")?;
            Ok(canceled.map(Stop::Canceled).or(superseded.map(Stop::Superseded)))
        })
    }

    /// The deployment of that number.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn deployment(&self, id: DeployId) -> Result<Deployment> {
        self.maybe_one(&format!("SELECT {COLUMNS} {FROM} WHERE deployments.id = ?1"), [id], deployment)?
            .ok_or_else(|| Error::NotFound(Thing::Deploy, id.to_string()))
    }

    /// The newest deployment of these apps, if there is one.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn newest_deployment(&self, apps: &[AppId]) -> Result<Option<Deployment>> {
        let apps = serde_json::to_string(apps).map_err(Error::bug)?;
        self.maybe_one(
            &format!(
                "SELECT {COLUMNS} {FROM} WHERE deployments.app_id IN (SELECT value FROM json_each(?1))
                 ORDER BY deployments.id DESC LIMIT 1"
            ),
            [apps],
            deployment,
        )
    }

    /// An app's newest deployments, newest first.
    pub fn deployments(&self, app_id: AppId, limit: u32) -> Result<Vec<Deployment>> {
        self.all(
            &format!("SELECT {COLUMNS} {FROM} WHERE deployments.app_id = ?1 ORDER BY deployments.id DESC LIMIT ?2"),
            params![app_id, limit],
            deployment,
        )
    }

    /// The deployments that are not over, oldest first; of one app, or of all.
    pub fn unfinished_deployments(&self, app_id: Option<AppId>) -> Result<Vec<Deployment>> {
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
    pub fn deployment_events(&self, id: DeployId) -> Result<Vec<(DeployState, i64)>> {
        self.all("SELECT state, at FROM deployment_events WHERE deployment_id = ?1 ORDER BY rowid", [id], |row| {
            Ok((row.get("state")?, row.get("at")?))
        })
    }

    fn add_step(&self, id: DeployId, state: DeployState, at: i64) -> Result<()> {
        self.execute(
            "INSERT INTO deployment_events (deployment_id, state, at) VALUES (?1, ?2, ?3)",
            params![id, state, at],
        )
        .map(drop)
    }
}

fn deployment(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    Ok(Deployment {
        id: row.get("id")?,
        app_id: row.get("app_id")?,
        kind: row.get("kind")?,
        state: row.get("state")?,
        actor: row.get("actor")?,
        branch: row.get("branch")?,
        commit: row.get("commit_id")?,
        release: row.get("release")?,
        error: row.get("error")?,
        created_at: row.get("created_at")?,
        finished_at: row.get("finished_at")?,
    })
}
