//! What becomes of runs, whoever began them and whatever died meanwhile: their limits are held, their exit codes written
//! down.

use crate::{
    Result, clock, deploy,
    engine::{Engine, ExecStatus, Status},
    instance::Instance,
    lock,
    model::{Run, RunEnd, RunState},
};

/// Looks at a run that is not over, and does what is due: ends one whose time is over or that nobody sits at any more,
/// and puts one away that has ended.
///
/// `patient`: whether whoever sits at it may still put it away.
///
/// # Errors
/// [`crate::Error::Store`]; what the engine says.
pub async fn look_after(instance: &Instance, engine: &Engine, run: &Run, patient: bool) -> Result<Seen> {
    let is_claimed = lock::is_claimed(&instance.settings.paths.runs_lock(), run.id.0)?;
    let standing = standing(engine, run).await?;
    match standing {
        Standing::Running => {}
        Standing::Exited(_) | Standing::Missing | Standing::Made if is_claimed && patient => {
            let is_over = standing != Standing::Made && run.state == RunState::Running;
            return Ok(if is_over { Seen::Over } else { Seen::AtWork });
        }
        // It is being made.
        Standing::Missing | Standing::Made if is_claimed && run.state == RunState::Starting => return Ok(Seen::AtWork),
        Standing::Exited(_) | Standing::Missing | Standing::Made => {
            return put_away(instance, engine, run, standing).await.map(|()| Seen::Over);
        }
    }
    let id = run.id;
    if run.state == RunState::Starting && !is_claimed {
        // Whoever began it died before it could write that down.
        instance.writing(move |tables| tables.set_run_running(id, None)).await?;
    }
    let end = match run.end {
        Some(end) => end,
        None if clock::now() >= run.deadline() => RunEnd::TimeLimit,
        None if !run.goes_on && !is_claimed => RunEnd::ClientGone,
        None => return Ok(Seen::AtWork),
    };
    instance.writing(move |tables| tables.ask_run_to_end(id, end)).await?;
    deploy::stop_run(engine, run).await?;
    // Who sits at it has had it stopped; the rest is theirs, if they are still alive.
    if !is_claimed {
        settle(instance, engine, run).await?;
    }
    Ok(Seen::Over)
}

/// What was seen of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is at work, or about to be.
    AtWork,
    /// It is over, or as good as.
    Over,
}

/// How a run's program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Made,
    Running,
    Exited(i64),
    Missing,
}

async fn standing(engine: &Engine, run: &Run) -> Result<Standing> {
    if run.has_container() {
        return Ok(match engine.status(&run.container).await? {
            Status::Missing => Standing::Missing,
            Status::Created => Standing::Made,
            Status::Running | Status::Restarting => Standing::Running,
            Status::Exited(code) => Standing::Exited(code),
        });
    }
    let Some(exec) = &run.exec else { return Ok(Standing::Missing) };
    Ok(match engine.exec_status(exec).await? {
        ExecStatus::Running => Standing::Running,
        ExecStatus::Exited(code) => Standing::Exited(code),
        ExecStatus::Missing => Standing::Missing,
    })
}

/// Puts a run away, if it has ended.
///
/// # Errors
/// As [`look_after`].
pub(super) async fn settle(instance: &Instance, engine: &Engine, run: &Run) -> Result<()> {
    match standing(engine, run).await? {
        Standing::Running | Standing::Made => Ok(()),
        standing => put_away(instance, engine, run, standing).await,
    }
}

async fn put_away(instance: &Instance, engine: &Engine, run: &Run, standing: Standing) -> Result<()> {
    let (exit_code, end) = match standing {
        Standing::Exited(code) => (Some(code), None),
        Standing::Made => (None, Some(RunEnd::NotStarted)),
        Standing::Missing | Standing::Running if run.state == RunState::Starting => (None, Some(RunEnd::NotStarted)),
        Standing::Missing | Standing::Running => (None, Some(RunEnd::Lost)),
    };
    deploy::finish_run(instance, engine, run, exit_code, end).await
}
