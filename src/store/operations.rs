use rusqlite::{Row, params};

use super::{Tables, corrupt};
use crate::{
    Error, Result, clock,
    error::{DeployError, Thing},
    model::{
        Actor, AppId, Caller, DeployId, Operation, OperationId, OperationKind, OperationState, Outcome, Stop, Subject,
    },
};

/// What an operation is opened with.
#[derive(Clone, Debug)]
pub struct NewOperation<'a> {
    /// What it does.
    pub kind: OperationKind,
    /// The command that asks for it, which its event names: `ps:stop`.
    pub action: &'a str,
    /// The app that it is about; none: the server.
    pub app_id: Option<AppId>,
    /// What it is about.
    pub subject: &'a Subject,
    /// Who asked for it, and by which door.
    pub caller: &'a Caller,
}

const SELECT: &str = "SELECT operations.id, operations.kind, apps.name AS app, operations.subject, \
                      operations.actor, operations.door, operations.address, operations.state, operations.step, \
                      operations.result, operations.error, operations.created_at, operations.finished_at \
                      FROM operations LEFT JOIN apps ON apps.id = operations.app_id";

impl Tables<'_> {
    /// Opens an operation, queued.
    pub fn open_operation(&self, new: &NewOperation<'_>) -> Result<OperationId> {
        let now = clock::now();
        let id = OperationId(self.insert(
            "INSERT INTO operations (kind, action, app_id, subject, actor, door, address, state, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued', ?8)",
            params![
                new.kind,
                new.action,
                new.app_id,
                new.subject.to_string(),
                new.caller.actor,
                new.caller.door,
                new.caller.address.map(|address| address.to_string()),
                now,
            ],
        )?);
        self.add_step(id, OperationState::Queued.as_str(), now)?;
        Ok(id)
    }

    /// Moves an operation that is no deployment on to a step of its work.
    ///
    /// # Errors
    /// `DeployError::Stopped` if somebody canceled it; `DeployError::Died` if it is over, because recovery took it for
    /// dead.
    pub fn enter_step(&self, id: OperationId, step: &str) -> Result<()> {
        let moved = self.execute(
            "UPDATE operations SET state = 'running', step = ?2
             WHERE id = ?1 AND state IN ('queued', 'running') AND canceled_by IS NULL",
            params![id, step],
        )?;
        if moved == 0 {
            return Err(self.stopped_by(id)?.map_or(Error::Deploy(DeployError::Died), Error::from));
        }
        self.add_step(id, step, clock::now())
    }

    /// Removes the operations of an app, or of the server, that are over, beyond the newest `keep`. Returns how many.
    pub fn prune_operations(&self, app_id: Option<AppId>, keep: u64) -> Result<u64> {
        let removed = self.execute(
            "DELETE FROM operations
             WHERE app_id IS ?1 AND state NOT IN ('queued', 'running')
                   AND id NOT IN (SELECT deployment_id FROM containers)
                   AND id NOT IN (SELECT id FROM operations WHERE app_id IS ?1 ORDER BY id DESC LIMIT ?2)",
            params![app_id, keep as i64],
        )?;
        Ok(removed as u64)
    }

    /// Ends an operation, unless it is over already, and writes the event of it.
    ///
    /// `error`: why it failed, in one line. `result`: what it came to, as JSON without secrets.
    pub fn end_operation(
        &self,
        id: OperationId,
        end: OperationState,
        error: Option<&str>,
        result: Option<&str>,
    ) -> Result<()> {
        let now = clock::now();
        let ended = self.execute(
            "UPDATE operations SET state = ?2, step = NULL, error = ?3, result = coalesce(?4, result),
                                   finished_at = coalesce(finished_at, ?5)
             WHERE id = ?1 AND state IN ('queued', 'running')",
            params![id, end, error, result, now],
        )?;
        if ended > 0 {
            self.add_step(id, end.as_str(), now)?;
            // A deployment that succeeds has had its event when it became live.
            let operation = self.operation(id)?;
            if end != OperationState::Succeeded || !operation.kind.is_deployment() {
                self.note_operation(&operation, end, error)?;
            }
        }
        Ok(())
    }

    /// Notes that a deployment became live, with its event; its drain goes on after that.
    pub fn set_live(&self, id: DeployId) -> Result<()> {
        self.execute("UPDATE operations SET finished_at = ?2 WHERE id = ?1", params![id, clock::now()])?;
        let reason: Option<String> = self.one(
            "SELECT 'v' || releases.version
                    || CASE WHEN releases.created_at >= deployments.created_at THEN ': ' || releases.reason ELSE '' END
                    AS reason
             FROM deployments LEFT JOIN releases ON releases.id = deployments.release_id WHERE deployments.id = ?1",
            [id],
            |row| row.get("reason"),
        )?;
        self.note_operation(&self.operation(id)?, OperationState::Succeeded, reason.as_deref())
    }

    fn note_operation(&self, operation: &Operation, end: OperationState, detail: Option<&str>) -> Result<()> {
        let outcome = match end {
            OperationState::Succeeded => Outcome::Done,
            OperationState::Canceled | OperationState::Superseded => Outcome::Canceled,
            OperationState::Queued | OperationState::Running | OperationState::Failed | OperationState::Interrupted => {
                Outcome::Failed
            }
        };
        self.execute(
            "INSERT INTO events (at, actor, door, address, action, subject, app, outcome, detail, operation_id)
             SELECT ?2, actor, door, address, action, subject, CASE WHEN subject LIKE 'app:%' THEN substr(subject, 5) END,
                    ?3, ?4, id
             FROM operations WHERE id = ?1",
            params![operation.id, clock::now(), outcome, detail],
        )
        .map(drop)
    }

    /// Asks an operation to stop; the process that runs it does.
    ///
    /// # Errors
    /// `DeployError::NotCancelable` if it is over or past the point of no return.
    pub fn cancel_operation(&self, id: OperationId, actor: &Actor) -> Result<()> {
        let operation = self.operation(id)?;
        if !operation.is_cancelable() {
            let state = operation.step.unwrap_or_else(|| operation.state.to_string());
            return Err(Error::Deploy(DeployError::NotCancelable { id, state }));
        }
        self.execute("UPDATE operations SET canceled_by = coalesce(canceled_by, ?2) WHERE id = ?1", params![id, actor])
            .map(drop)
    }

    /// What stopped an operation, if anything did.
    pub fn stopped_by(&self, id: OperationId) -> Result<Option<Stop>> {
        self.one("SELECT canceled_by, superseded_by FROM operations WHERE id = ?1", [id], |row| {
            let canceled: Option<Actor> = row.get("canceled_by")?;
            let superseded: Option<DeployId> = row.get("superseded_by")?;
            Ok(canceled.map(Stop::Canceled).or(superseded.map(Stop::Superseded)))
        })
    }

    /// The operation of that number.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn operation(&self, id: OperationId) -> Result<Operation> {
        self.maybe_one(&format!("{SELECT} WHERE operations.id = ?1"), [id], operation)?
            .ok_or_else(|| Error::NotFound(Thing::Operation, id.to_string()))
    }

    /// The newest operations, newest first; of one app, or of all.
    pub fn operations(&self, app_id: Option<AppId>, limit: u32) -> Result<Vec<Operation>> {
        self.all(
            &format!("{SELECT} WHERE ?1 IS NULL OR operations.app_id = ?1 ORDER BY operations.id DESC LIMIT ?2"),
            params![app_id, limit],
            operation,
        )
    }

    /// The operations that are not over, oldest first.
    pub fn unfinished_operations(&self) -> Result<Vec<Operation>> {
        self.all(
            &format!("{SELECT} WHERE operations.state IN ('queued', 'running') ORDER BY operations.id"),
            [],
            operation,
        )
    }

    /// When an operation came to each of its steps, in order.
    pub fn steps(&self, id: OperationId) -> Result<Vec<(String, i64)>> {
        self.all("SELECT step, at FROM operation_steps WHERE operation_id = ?1 ORDER BY rowid", [id], |row| {
            Ok((row.get("step")?, row.get("at")?))
        })
    }

    pub(super) fn add_step(&self, id: OperationId, step: &str, at: i64) -> Result<()> {
        self.execute("INSERT INTO operation_steps (operation_id, step, at) VALUES (?1, ?2, ?3)", params![id, step, at])
            .map(drop)
    }
}

fn operation(row: &Row<'_>) -> rusqlite::Result<Operation> {
    Ok(Operation {
        id: row.get("id")?,
        kind: row.get("kind")?,
        app: row.get("app")?,
        subject: row.get("subject")?,
        actor: row.get("actor")?,
        door: row.get("door")?,
        address: row.get::<_, Option<String>>("address")?.map(|text| text.parse().map_err(corrupt)).transpose()?,
        state: row.get("state")?,
        step: row.get("step")?,
        result: row.get("result")?,
        error: row.get("error")?,
        created_at: row.get("created_at")?,
        finished_at: row.get("finished_at")?,
    })
}
