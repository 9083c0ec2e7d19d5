use rusqlite::{Row, params};

use super::Tables;
use crate::{
    Result,
    model::{JobName, JobState},
};

/// A run of a job: planned, under way, or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRun {
    /// Its row.
    pub id: i64,
    /// The job.
    pub name: JobName,
    /// What of; empty for the server's own jobs.
    pub subject: String,
    /// When it is or was due, in milliseconds since 1970.
    pub due_at: i64,
    /// Where it stands.
    pub state: JobState,
    /// Which attempt for this due time it is, from 1.
    pub attempt: u32,
    /// When it began.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// What came of it, in one line.
    pub outcome: Option<String>,
}

const SELECT: &str = "SELECT id, name, subject, due_at, state, attempt, started_at, finished_at, outcome FROM jobs";

/// What a job that was cut short came to.
const INTERRUPTED: &str = "the daemon ended meanwhile";

impl Tables<'_> {
    /// Makes a job's next run wait for `due_at`: the one that waits already, or a new one. Nothing happens if that time
    /// has had its run.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn plan_job(&self, name: JobName, subject: &str, due_at: i64) -> Result<()> {
        self.execute(
            "DELETE FROM jobs WHERE name = ?1 AND subject = ?2 AND state = 'waiting' AND due_at <> ?3
             AND asked_by IS NULL",
            params![name, subject, due_at],
        )?;
        self.execute(
            "INSERT OR IGNORE INTO jobs (name, subject, due_at, state) VALUES (?1, ?2, ?3, 'waiting')",
            params![name, subject, due_at],
        )
        .map(drop)
    }

    /// The run of a job that waits, and the newest that began.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn job_runs(&self, name: JobName, subject: &str) -> Result<(Option<JobRun>, Option<JobRun>)> {
        let find = |which: &str, order: &str| {
            self.maybe_one(
                &format!(
                    "{SELECT} WHERE name = ?1 AND subject = ?2 AND state {which} 'waiting' ORDER BY {order} LIMIT 1"
                ),
                params![name, subject],
                run,
            )
        };
        Ok((find("=", "id")?, find("<>", "started_at DESC, id DESC")?))
    }

    /// The runs that are due, those first that have waited longest, without those whose job still runs. Crons have rules
    /// of their own.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn due_jobs(&self, now: i64) -> Result<Vec<JobRun>> {
        self.all(
            &format!(
                "{SELECT} AS due WHERE state = 'waiting' AND due_at <= ?1 AND name <> 'cron' AND NOT EXISTS (
                     SELECT 1 FROM jobs WHERE state = 'running' AND name = due.name AND subject = due.subject
                 ) ORDER BY due_at, id"
            ),
            [now],
            run,
        )
    }

    /// Takes a run that waits, and returns whether it is ours: of all who try, one gets it.
    ///
    /// # Errors
    /// [`crate::Error::Store`], also where a run of the same job is under way.
    pub fn start_job(&self, id: i64, now: i64) -> Result<bool> {
        self.execute(
            "UPDATE jobs SET state = 'running', started_at = ?2 WHERE id = ?1 AND state = 'waiting'",
            [id, now],
        )
        .map(|started| started > 0)
    }

    /// Ends a run that is under way.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn end_job(&self, id: i64, end: JobState, outcome: &str, now: i64) -> Result<()> {
        self.execute(
            "UPDATE jobs SET state = ?2, outcome = ?3, finished_at = ?4 WHERE id = ?1 AND state = 'running'",
            params![id, end, outcome, now],
        )
        .map(drop)
    }

    /// Marks all runs as interrupted that are under way by their rows, for a daemon that has just started: nobody runs
    /// them. Those whose job is begun several times for a due time wait again, as a run of their own. Crons run in
    /// containers, which outlive the daemon.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn interrupt_jobs(&self, now: i64) -> Result<Vec<JobRun>> {
        let cut_short =
            self.all(&format!("{SELECT} WHERE state = 'running' AND name <> 'cron' ORDER BY id"), [], run)?;
        for run in &cut_short {
            self.end_job(run.id, JobState::Interrupted, INTERRUPTED, now)?;
            if run.attempt < run.name.attempts() {
                self.plan_job(run.name, &run.subject, now)?;
                self.execute(
                    "UPDATE jobs SET attempt = ?3 WHERE name = ?1 AND subject = ?2 AND state = 'waiting'",
                    params![run.name, run.subject, run.attempt + 1],
                )?;
            }
        }
        Ok(cut_short)
    }

    /// Forgets all but the newest `keep` runs that are over, of each job and subject, and returns how many.
    ///
    /// # Errors
    /// [`crate::Error::Store`].
    pub fn forget_jobs(&self, keep: u32) -> Result<usize> {
        self.execute(
            "DELETE FROM jobs WHERE id IN (
                 SELECT id FROM (
                     SELECT id, row_number() OVER (
                         PARTITION BY name, subject ORDER BY coalesce(started_at, finished_at) DESC, id DESC
                     ) AS age
                     FROM jobs WHERE state NOT IN ('waiting', 'running')
                 ) WHERE age > ?1
             )",
            [keep],
        )
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<JobRun> {
    Ok(JobRun {
        id: row.get("id")?,
        name: row.get("name")?,
        subject: row.get("subject")?,
        due_at: row.get("due_at")?,
        state: row.get("state")?,
        attempt: row.get("attempt")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        outcome: row.get("outcome")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("paas.db")).unwrap();
        (directory, store)
    }

    #[test]
    fn a_due_time_is_begun_once_and_one_run_of_a_job_at_a_time() {
        let (_directory, mut store) = store();
        store
            .write(|tables| {
                tables.plan_job(JobName::Checkpoint, "", 100)?;
                tables.plan_job(JobName::Checkpoint, "", 200)?;
                assert!(tables.due_jobs(199)?.is_empty(), "the plan moved");
                let [due] = tables.due_jobs(200)?.try_into().unwrap();
                assert!(tables.start_job(due.id, 201)?);
                assert!(!tables.start_job(due.id, 201)?, "it has been taken");
                tables.plan_job(JobName::Checkpoint, "", 300)?;
                assert!(tables.due_jobs(400)?.is_empty(), "the one before still runs");
                tables.plan_job(JobName::Checkpoint, "other", 300)?;
                assert_eq!(tables.due_jobs(400)?.len(), 1, "another subject");
                tables.end_job(due.id, JobState::Done, "well", 401)?;
                assert_eq!(tables.due_jobs(400)?.len(), 2);

                tables.plan_job(JobName::Checkpoint, "", 200)?;
                let (waiting, last) = tables.job_runs(JobName::Checkpoint, "")?;
                assert_eq!(waiting, None, "that time has had its run");
                let last = last.unwrap();
                assert_eq!((last.state, last.outcome.as_deref()), (JobState::Done, Some("well")));
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn what_was_cut_short_is_repeated_only_as_often_as_its_job_says() {
        let (_directory, mut store) = store();
        for name in JobName::ALL.into_iter().filter(|name| name.schedule().is_some()) {
            store
                .write(|tables| {
                    let mut begun = 0;
                    tables.plan_job(name, "", 100)?;
                    for now in 101..110 {
                        for due in tables.due_jobs(now)? {
                            begun += 1;
                            assert_eq!(due.attempt, begun);
                            assert!(tables.start_job(due.id, now)?);
                        }
                        tables.interrupt_jobs(now)?;
                    }
                    assert_eq!(begun, name.attempts(), "{name}");
                    let (waiting, last) = tables.job_runs(name, "")?;
                    assert_eq!((waiting, last.unwrap().state), (None, JobState::Interrupted));
                    Ok(())
                })
                .unwrap();
        }
    }

    #[test]
    fn old_runs_are_forgotten_and_what_waits_or_runs_is_not() {
        let (_directory, mut store) = store();
        store
            .write(|tables| {
                for due in 0..10 {
                    tables.plan_job(JobName::Checkpoint, "", due)?;
                    let [run] = tables.due_jobs(due)?.try_into().unwrap();
                    tables.start_job(run.id, due)?;
                    tables.end_job(run.id, JobState::Done, "", due)?;
                }
                tables.plan_job(JobName::ForgetJobs, "", 0)?;
                let [run] = tables.due_jobs(0)?.try_into().unwrap();
                tables.start_job(run.id, 0)?;
                tables.plan_job(JobName::Checkpoint, "", 10)?;
                assert_eq!(tables.forget_jobs(3)?, 7);
                let (waiting, last) = tables.job_runs(JobName::Checkpoint, "")?;
                assert_eq!((waiting.unwrap().due_at, last.unwrap().due_at), (10, 9));
                assert_eq!(tables.job_runs(JobName::ForgetJobs, "")?.1.unwrap().state, JobState::Running);
                Ok(())
            })
            .unwrap();
    }
}
