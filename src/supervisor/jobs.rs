//! What is done by time. The rows decide: a job is planned as a row, taken by changing it, and ended there, so whatever
//! dies in between, a due time is begun once, and once more only if its job says so.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::crons::Crons;
use crate::{
    Error, Result, clock,
    engine::Engine,
    instance::{Instance, on_pool},
    model::{self, JobName, JobState},
    ops::certs,
    settings::{self, Settings},
    store::{JobRun, Store, Tables},
    sweep,
};

/// How often the store is asked which crons are due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Each so many looks, it is asked for the other jobs, too.
const LOOKS: u32 = 5;
/// How many jobs run at a time.
const AT_ONCE: usize = 2;
/// How long a job may take that waits for others than this machine's disk.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How long to wait before the end of a job is written again that could not be.
const END_AGAIN: Duration = Duration::from_secs(60);
/// How long after its last run certificates are asked for again, where there is something to ask for.
const CERTIFICATES_AGAIN: i64 = 10_000;
/// The same after a run that failed.
const CERTIFICATES_AFTER_FAILURE: i64 = 300_000;
/// How many runs of each job are remembered.
const RUNS_KEPT: u32 = 50;

/// Does what is due, for as long as the daemon lives.
pub(super) async fn run(instance: Arc<Instance>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    match instance.writing(|tables| tables.interrupt_jobs(clock::now())).await {
        Ok(cut_short) => {
            for run in cut_short {
                warn!("job {} was interrupted {}", run.name, run.started_at.map(clock::ago).unwrap_or_default());
            }
        }
        Err(error) => warn!("jobs: {}", error.one_line()),
    }
    let crons = Crons::new(&instance);
    while let Err(error) = crons.adopt().await {
        warn!("crons: {}", error.one_line());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let mut look = tokio::time::interval(LOOK_EVERY);
    for number in (0..LOOKS).cycle() {
        look.tick().await;
        if let Err(error) = crons.look().await {
            warn!("crons: {}", error.one_line());
        }
        if number == 0
            && let Err(error) = begin(&instance, &turns).await
        {
            warn!("jobs: {}", error.one_line());
        }
    }
}

/// Begins what is due, as far as there are turns.
async fn begin(instance: &Arc<Instance>, turns: &Arc<Semaphore>) -> Result<()> {
    let now = clock::now();
    // Most looks find nothing to change, and write nothing.
    let settings = instance.settings.clone();
    let planned = instance.reading(move |tables| planned(tables, &settings, now)).await?;
    if !planned.is_empty() {
        instance
            .writing(move |tables| planned.iter().try_for_each(|(name, due)| tables.plan_job(*name, "", *due)))
            .await?;
    }
    for run in instance.reading(move |tables| tables.due_jobs(now)).await? {
        let Ok(turn) = Arc::clone(turns).try_acquire_owned() else { return Ok(()) };
        let id = run.id;
        if !instance.writing(move |tables| tables.start_job(id, clock::now())).await? {
            continue;
        }
        let instance = Arc::clone(instance);
        tokio::spawn(async move {
            carry_out(&instance, &run).await;
            drop(turn);
        });
    }
    Ok(())
}

/// The jobs whose next run has to wait for another time than it does, and that time.
fn planned(tables: &Tables<'_>, settings: &Settings, now: i64) -> Result<Vec<(JobName, i64)>> {
    let mut planned = Vec::new();
    for name in JobName::ALL {
        let (waiting, last) = tables.job_runs(name, "")?;
        let waiting = waiting.map(|run| run.due_at);
        let Some(schedule) = name.schedule() else { continue };
        let mut due = schedule.plan(&clock::zone(), last.as_ref().map(|run| run.due_at), waiting, now);
        // A name that is new does not wait for the next time.
        if name == JobName::Certificates
            && let Some(at) = certs::due_at(tables, settings, now)?
        {
            let after = |last: &JobRun| match last.state {
                JobState::Failed => CERTIFICATES_AFTER_FAILURE,
                JobState::Waiting
                | JobState::Running
                | JobState::Done
                | JobState::Interrupted
                | JobState::Missed
                | JobState::Skipped => CERTIFICATES_AGAIN,
            };
            due = due.min(at.max(last.as_ref().map_or(0, |last| last.due_at + after(last))));
        }
        if waiting != Some(due) {
            planned.push((name, due));
        }
    }
    Ok(planned)
}

/// Runs a job that was taken, and writes what came of it.
async fn carry_out(instance: &Arc<Instance>, run: &JobRun) {
    if settings::dies_on(&format!("job:{}", run.name)) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    let begun = clock::instant();
    let (name, for_work) = (run.name, Arc::clone(instance));
    let (state, outcome) = end_of(async move { work(&for_work, name).await }).await;
    let took = model::seconds(begun.elapsed());
    match state {
        JobState::Failed => warn!("job {} failed after {took}: {outcome}", run.name),
        _ => info!("job {}, in {took}: {outcome}", run.name),
    }
    let id = run.id;
    until_written(run.name, || {
        let outcome = outcome.clone();
        instance.writing(move |tables| tables.end_job(id, state, &outcome, clock::now()))
    })
    .await;
}

/// Does the work of a job in a task of its own, so that one that panics ends as failed, too.
async fn end_of(work: impl Future<Output = Result<String>> + Send + 'static) -> (JobState, String) {
    let mut task = tokio::spawn(work);
    match tokio::time::timeout(TIMEOUT, &mut task).await {
        Ok(Ok(Ok(outcome))) => (JobState::Done, outcome),
        Ok(Ok(Err(error))) => (JobState::Failed, error.one_line()),
        Ok(Err(error)) => (JobState::Failed, Error::bug(error).one_line()),
        Err(_) => {
            task.abort();
            (JobState::Failed, format!("it took more than {}", model::seconds(TIMEOUT)))
        }
    }
}

/// Writes the end of a job, again and again until it is written: a job whose end is not written never runs again, and
/// the disk may be full for a while.
async fn until_written<W: Future<Output = Result<()>>>(name: JobName, mut write: impl FnMut() -> W) {
    while let Err(error) = write().await {
        warn!("job {name}: {}", error.one_line());
        tokio::time::sleep(END_AGAIN).await;
    }
}

/// What a job does. Returns what came of it, in one line.
async fn work(instance: &Arc<Instance>, name: JobName) -> Result<String> {
    match name {
        JobName::PruneImages => {
            let engine = Engine::connect(&instance.settings).await?;
            let images = sweep::images(instance, &engine).await?.len();
            let cache = sweep::build_cache(instance, &engine).await?;
            Ok(format!("{images} images removed, {} of build cache freed", model::bytes(cache)))
        }
        JobName::RemoveFiles => {
            let files = sweep::old_files(instance).await?;
            let rows = sweep::rows(instance).await?;
            let (logs, former, temporary) = (files.deploy_logs, files.former_logs, files.temporary_files);
            Ok(format!(
                "{} logs of deploys and {} temporary files removed, {} freed; {} releases, {} operations, {} events forgotten",
                logs.removed,
                temporary.removed,
                model::bytes(logs.freed_bytes + former.freed_bytes + temporary.freed_bytes),
                rows.releases,
                rows.operations,
                rows.events,
            ))
        }
        JobName::Checkpoint => Ok(match checkpoint(instance).await? {
            true => "the log of the database is empty".to_owned(),
            false => "the database was in use; the next run tries again".to_owned(),
        }),
        JobName::Certificates => certs::work(instance).await,
        JobName::Cron => Err(Error::bug("a cron was begun as a job of the daemon")),
        JobName::ForgetJobs => {
            instance.writing(|tables| tables.forget_jobs(RUNS_KEPT)).await.map(|runs| format!("{runs} runs forgotten"))
        }
    }
}

/// Empties the log that SQLite writes to first, and returns whether it could.
pub(super) async fn checkpoint(instance: &Instance) -> Result<bool> {
    let path = instance.settings.paths.database();
    on_pool(move || Store::checkpoint(&path)).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StoreError;

    #[tokio::test(start_paused = true)]
    async fn a_job_that_panics_fails_or_never_ends_is_over() {
        assert_eq!(end_of(async { Ok("well".to_owned()) }).await, (JobState::Done, "well".to_owned()));
        let (state, outcome) = end_of(async { Err(Error::Interrupted) }).await;
        assert_eq!((state, outcome), (JobState::Failed, Error::Interrupted.one_line()));
        let (state, outcome) = end_of(async { panic!("out of range") }).await;
        assert_eq!(state, JobState::Failed);
        assert!(outcome.contains("out of range"), "{outcome}");
        let begun = tokio::time::Instant::now();
        let (state, outcome) = end_of(std::future::pending()).await;
        assert_eq!((state, outcome.as_str()), (JobState::Failed, "it took more than 15 min 0 s"));
        assert_eq!(begun.elapsed().as_secs(), TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_job_is_written_again_until_it_is_written() {
        let (begun, mut tries) = (tokio::time::Instant::now(), 0);
        until_written(JobName::Checkpoint, || {
            tries += 1;
            let written = if tries < 4 { Err(StoreError::Sealed { reason: "full".to_owned() }.into()) } else { Ok(()) };
            async move { written }
        })
        .await;
        assert_eq!((tries, begun.elapsed().as_secs()), (4, 3 * END_AGAIN.as_secs()));
    }
}
