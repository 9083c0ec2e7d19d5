use rusqlite::{Row, params};

use super::{NewOperation, Tables};
use crate::{
    Error, Result, clock,
    error::{DeployError, Thing},
    model::{
        App, AppId, BranchName, Caller, CommitId, DeployId, DeployState, Deployment, DeploymentKind, ReleaseId, Subject,
    },
};

/// What a deployment is opened with.
#[derive(Clone, Debug)]
pub struct NewDeployment<'a> {
    /// Why.
    pub kind: DeploymentKind,
    /// The command that asks for it, which its event names: `git:push`.
    pub action: &'a str,
    /// Who asked for it, and by which door.
    pub caller: &'a Caller,
    /// The branch pushed.
    pub branch: Option<&'a BranchName>,
    /// The commit to be built.
    pub commit: Option<CommitId>,
}

impl<'a> NewDeployment<'a> {
    /// A deployment of what was built before.
    pub fn without_source(kind: DeploymentKind, action: &'a str, caller: &'a Caller) -> NewDeployment<'a> {
        NewDeployment { kind, action, caller, branch: None, commit: None }
    }
}

const COLUMNS: &str = "deployments.id, deployments.app_id, deployments.kind, deployments.state, deployments.actor, \
                       deployments.branch, deployments.commit_id, releases.version AS release, deployments.error, \
                       deployments.created_at, deployments.finished_at";
const FROM: &str = "FROM deployments LEFT JOIN releases ON releases.id = deployments.release_id";

impl Tables<'_> {
    /// Opens a deployment of an app, queued.
    pub fn open_deployment(&self, app: &App, new: &NewDeployment<'_>) -> Result<DeployId> {
        let subject = Subject::App(app.name.clone());
        let kind = new.kind.as_str().parse()?;
        let id = self.open_operation(&NewOperation {
            kind,
            action: new.action,
            app_id: Some(app.id),
            subject: &subject,
            caller: new.caller,
        })?;
        self.execute(
            "INSERT INTO deployment_details (operation_id, branch, commit_id) VALUES (?1, ?2, ?3)",
            params![id, new.branch, new.commit],
        )?;
        Ok(id)
    }

    /// Moves a deployment on. A canceled one moves to no state but an end.
    ///
    /// # Errors
    /// `DeployError::Stopped` where somebody stopped it; `DeployError::Died` where it is not in the state `from` any
    /// more, because recovery took it for dead.
    pub fn move_deployment(&self, id: DeployId, from: DeployState, to: DeployState) -> Result<()> {
        let moved = self.execute(
            "UPDATE operations SET state = 'running', step = ?3
             WHERE id = ?1 AND CASE state WHEN 'running' THEN step ELSE state END = ?2
                   AND canceled_by IS NULL AND superseded_by IS NULL",
            params![id, from, to],
        )?;
        if moved == 0 {
            return Err(self.stopped_by(id)?.map_or(Error::Deploy(DeployError::Died), Error::from));
        }
        self.add_step(id, to.as_str(), clock::now())
    }

    /// Ends a deployment, whatever state it is in, unless it is over already.
    ///
    /// `error`: why it failed, in one line; none for one that succeeded.
    pub fn end_deployment(&self, id: DeployId, end: DeployState, error: Option<&str>) -> Result<()> {
        self.end_operation(id, end.as_str().parse()?, error, None)
    }

    /// Notes the release a deployment cut.
    pub fn set_deployment_release(&self, id: DeployId, release_id: ReleaseId) -> Result<()> {
        self.execute("UPDATE deployment_details SET release_id = ?2 WHERE operation_id = ?1", params![id, release_id])
            .map(drop)
    }

    /// The row of the release a deployment cut, if it came that far.
    pub fn deployment_release(&self, id: DeployId) -> Result<Option<ReleaseId>> {
        self.one("SELECT release_id FROM deployments WHERE id = ?1", [id], |row| row.get("release_id"))
    }

    /// Makes a push take the place of those of its app that wait in line before it.
    pub fn supersede(&self, app_id: AppId, newer: DeployId) -> Result<()> {
        self.execute(
            "UPDATE operations SET superseded_by = ?2
             WHERE app_id = ?1 AND id < ?2 AND kind = 'push' AND state = 'queued' AND superseded_by IS NULL",
            params![app_id, newer],
        )
        .map(drop)
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
    /// [`Error::Store`].
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

    /// The deployment that cut a release, if it is not forgotten.
    pub fn deployment_of_release(&self, id: ReleaseId) -> Result<Option<DeployId>> {
        // Restarts of the release come later, and may yet be undone.
        self.one("SELECT min(id) AS id FROM deployments WHERE release_id = ?1", [id], |row| row.get("id"))
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
