use rusqlite::{Row, params};

use super::{NewEvent, Tables, corrupt};
use crate::{
    Error, Result, clock,
    error::Thing,
    model::{
        AppId, AppName, Caller, Change, EnvKey, Outcome, Release, Run, RunEnd, RunId, RunKind, RunState, Subject,
        Subnet,
    },
};

/// What a run's row is made from.
#[derive(Clone, Debug)]
pub struct NewRun<'a> {
    /// Its app.
    pub app_id: AppId,
    /// How it is run.
    pub kind: RunKind,
    /// The release whose image and config it has.
    pub release: &'a Release,
    /// The beginning of its container's name, to which its number is added; of one that is there already, the whole name.
    pub container: &'a str,
    /// The container that it is started in, as people see it; none: one of its own.
    pub inside: Option<&'a str>,
    /// What it runs, for people: without known secrets.
    pub command: &'a str,
    /// The variables that it is given beside the config.
    pub given: &'a [EnvKey],
    /// Who asks for it.
    pub caller: &'a Caller,
    /// Whether it goes on when nobody is there any more who had begun it.
    pub goes_on: bool,
    /// Whether its program has a terminal.
    pub tty: bool,
    /// Seconds that it may take.
    pub time_limit: u32,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout: u32,
}

const SELECT: &str = "SELECT runs.*, apps.name AS app FROM runs JOIN apps ON apps.id = runs.app_id";

impl Tables<'_> {
    /// Writes the row of a run that is about to begin. One with a container of its own gets an address within `subnet`.
    ///
    /// # Errors
    /// [`Error::Store`] where the subnet is used up.
    pub fn open_run(&self, subnet: Subnet, new: &NewRun<'_>) -> Result<Run> {
        let address = match new.inside {
            None => Some(self.next_address(subnet)?.to_string()),
            Some(_) => None,
        };
        let id = self.insert(
            "INSERT INTO runs
                 (app_id, kind, release_id, version, image, container, inside, address, command, given, actor, door,
                  caller_address, goes_on, tty, time_limit, stop_timeout, state, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, 'starting', ?18)",
            params![
                new.app_id,
                new.kind,
                new.release.id,
                new.release.version,
                new.release.image,
                new.container,
                new.inside,
                address,
                new.command,
                serde_json::to_string(new.given).map_err(Error::bug)?,
                new.caller.actor,
                new.caller.door,
                new.caller.address.map(|address| address.to_string()),
                new.goes_on,
                new.tty,
                new.time_limit,
                new.stop_timeout,
                clock::now(),
            ],
        )?;
        if new.inside.is_none() {
            self.execute("UPDATE runs SET container = container || id WHERE id = ?1", [id])?;
        }
        self.run(RunId(id))
    }

    /// How many runs are at work, or about to be.
    pub fn runs_at_work(&self) -> Result<u64> {
        self.one("SELECT count(*) AS count FROM runs WHERE state <> 'ended'", [], |row| {
            Ok(row.get::<_, i64>("count")?.unsigned_abs())
        })
    }

    /// The run of that number.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn run(&self, id: RunId) -> Result<Run> {
        self.maybe_one(&format!("{SELECT} WHERE runs.id = ?1"), [id], run)?
            .ok_or_else(|| Error::NotFound(Thing::Run(None), id.label()))
    }

    /// An app's newest runs, newest first.
    pub fn runs(&self, app_id: AppId, limit: u32) -> Result<Vec<Run>> {
        self.all(
            &format!("{SELECT} WHERE runs.app_id = ?1 ORDER BY runs.id DESC LIMIT ?2"),
            params![app_id, limit],
            run,
        )
    }

    /// The runs that are not over, oldest first; of one app, or of all.
    pub fn unfinished_runs(&self, app_id: Option<AppId>) -> Result<Vec<Run>> {
        self.all(
            &format!("{SELECT} WHERE runs.state <> 'ended' AND (?1 IS NULL OR runs.app_id = ?1) ORDER BY runs.id"),
            params![app_id],
            run,
        )
    }

    /// Gives a run's container another address, because its own is taken.
    ///
    /// # Errors
    /// As [`Tables::open_run`].
    pub fn move_run(&self, id: RunId, subnet: Subnet) -> Result<Run> {
        let address = self.next_address(subnet)?;
        self.execute("UPDATE runs SET address = ?2 WHERE id = ?1", params![id, address.to_string()])?;
        self.run(id)
    }

    /// Notes that a run's program is about to be started. `exec`: the engine's number of it, in a container that is there
    /// already.
    pub fn set_run_running(&self, id: RunId, exec: Option<&str>) -> Result<()> {
        self.execute(
            "UPDATE runs SET state = 'running', exec = ?2 WHERE id = ?1 AND state = 'starting'",
            params![id, exec],
        )
        .map(drop)
    }

    /// Says why a run is about to end: the first reason counts.
    pub fn ask_run_to_end(&self, id: RunId, end: RunEnd) -> Result<()> {
        self.execute("UPDATE runs SET end = coalesce(end, ?2) WHERE id = ?1 AND state <> 'ended'", params![id, end])
            .map(drop)
    }

    /// Ends a run, unless it is over already, with its event, and lets its address rest. `end`: why, if no reason is
    /// known yet.
    pub fn end_run(&self, id: RunId, exit_code: Option<i64>, end: Option<RunEnd>) -> Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO released_addresses (address, released_at)
             SELECT address, ?2 FROM runs WHERE id = ?1 AND address IS NOT NULL",
            params![id, clock::now()],
        )?;
        let ended = self.execute(
            "UPDATE runs SET state = 'ended', exit_code = ?2, end = coalesce(end, ?3), ended_at = ?4, address = NULL
             WHERE id = ?1 AND state <> 'ended'",
            params![id, exit_code, end, clock::now()],
        )?;
        if ended == 0 {
            return Ok(());
        }
        let run = self.run(id)?;
        let outcome = match (run.end, run.exit_code) {
            (Some(RunEnd::Stopped), _) => Outcome::Canceled,
            (None, Some(0)) => Outcome::Done,
            _ => Outcome::Failed,
        };
        let detail = ended_words(&run);
        let change = Change { action: "run:ended", subject: Subject::App(run.app.clone()), detail: Some(detail) };
        let caller = Caller {
            actor: run.actor.clone(),
            door: run.door,
            address: run.caller_address,
            role: None,
            grants: Vec::new(),
        };
        self.add_event(&NewEvent { caller: &caller, change: &change, outcome, operation: None })
    }

    /// Removes an app's runs that are over, beyond the newest `keep`. Returns how many.
    pub fn prune_runs(&self, app_id: AppId, keep: u64) -> Result<u64> {
        let removed = self.execute(
            "DELETE FROM runs WHERE app_id = ?1 AND state = 'ended'
                    AND id NOT IN (SELECT id FROM runs WHERE app_id = ?1 ORDER BY id DESC LIMIT ?2)",
            params![app_id, keep as i64],
        )?;
        Ok(removed as u64)
    }
}

/// How a run ended, for its event: `run.7 ended with exit code 1 after 2.1 s`.
fn ended_words(run: &Run) -> String {
    let mut words = run.label();
    if let Some(end) = run.end {
        words.push(' ');
        words.push_str(end.words());
    }
    if let Some(code) = run.exit_code {
        let joined = if run.end.is_some() { "," } else { " ended" };
        words.push_str(&format!("{joined} with exit code {code}"));
    }
    let took = run.ended_at.unwrap_or(run.created_at) - run.created_at;
    words.push_str(&format!(" after {}", crate::model::seconds(std::time::Duration::from_millis(took.unsigned_abs()))));
    words
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: row.get("id")?,
        kind: row.get("kind")?,
        app_id: row.get("app_id")?,
        app: row.get::<_, AppName>("app")?,
        release_id: row.get("release_id")?,
        release: row.get("version")?,
        container: row.get("container")?,
        inside: row.get("inside")?,
        address: row.get::<_, Option<String>>("address")?.map(|text| text.parse().map_err(corrupt)).transpose()?,
        exec: row.get("exec")?,
        command: row.get("command")?,
        given: serde_json::from_str(&row.get::<_, String>("given")?).map_err(corrupt)?,
        actor: row.get("actor")?,
        door: row.get("door")?,
        caller_address: row
            .get::<_, Option<String>>("caller_address")?
            .map(|text| text.parse().map_err(corrupt))
            .transpose()?,
        goes_on: row.get("goes_on")?,
        tty: row.get("tty")?,
        time_limit: row.get("time_limit")?,
        stop_timeout: row.get("stop_timeout")?,
        state: row.get::<_, RunState>("state")?,
        end: row.get("end")?,
        exit_code: row.get("exit_code")?,
        created_at: row.get("created_at")?,
        ended_at: row.get("ended_at")?,
    })
}
