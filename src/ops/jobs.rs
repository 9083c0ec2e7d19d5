//! Jobs: what the daemon does by time.

use serde::Serialize;

use crate::{
    Result, clock,
    context::Context,
    model::{JobName, JobState},
    ui::{Show, Text, or_dash},
};

/// A job, how it last went, and when it is due.
#[derive(Clone, Debug, Serialize)]
pub struct JobInfo {
    /// Its name.
    pub job: JobName,
    /// What of; absent for the server's own jobs.
    pub subject: Option<String>,
    /// When it last began, in RFC 3339; absent if it never did.
    pub started_at: Option<String>,
    /// When it ended; absent while it runs, too.
    pub finished_at: Option<String>,
    /// How that went: running, done, failed, interrupted.
    pub state: Option<JobState>,
    /// Which attempt for its due time it was, from 1.
    pub attempt: Option<u32>,
    /// What came of it, in one line.
    pub outcome: Option<String>,
    /// When it is due next; absent until the daemon has planned it.
    pub due_at: Option<String>,
}

/// A list of jobs.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct JobList(pub Vec<JobInfo>);

impl Show for JobList {
    fn text(&self) -> Text {
        Text::table(
            ["JOB", "SUBJECT", "LAST RUN", "STATE", "OUTCOME", "NEXT"],
            self.0.iter().map(|job| {
                [
                    job.job.to_string(),
                    or_dash(job.subject.as_ref()),
                    or_dash(job.started_at.as_ref()),
                    or_dash(job.state),
                    or_dash(job.outcome.as_ref()),
                    or_dash(job.due_at.as_ref()),
                ]
            }),
        )
    }
}

/// All jobs, with their last run and their next.
///
/// # Errors
/// [`crate::Error::Store`].
pub fn list(context: &Context<'_>) -> Result<JobList> {
    context.instance.read(|tables| {
        let mut jobs = Vec::new();
        for name in JobName::ALL.into_iter().filter(|name| name.schedule().is_some()) {
            let (waiting, last) = tables.job_runs(name, "")?;
            jobs.push(JobInfo {
                job: name,
                subject: None,
                started_at: last.as_ref().and_then(|run| run.started_at).map(clock::rfc3339),
                finished_at: last.as_ref().and_then(|run| run.finished_at).map(clock::rfc3339),
                state: last.as_ref().map(|run| run.state),
                attempt: last.as_ref().map(|run| run.attempt),
                due_at: waiting.map(|run| clock::rfc3339(run.due_at)),
                outcome: last.and_then(|run| run.outcome),
            });
        }
        Ok(JobList(jobs))
    })
}
