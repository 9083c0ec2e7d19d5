//! Programs that somebody has run in a container of an app's release: their containers, and what is kept of them.

use std::time::Duration;

use tracing::warn;

use super::{
    container::{self, Program},
    kept::{Kept, secrets_of},
};
use crate::{
    Result,
    engine::{Attached, Engine, ExecStatus},
    files,
    instance::Instance,
    model::{Config, EnvKey, Masker, Release, RestartPolicy, Run, RunEnd, RunSettings, Scheduler},
};

/// How much is kept of what a run prints, in bytes: its last lines.
const KEPT_OUTPUT: usize = 4 << 20;
/// How often a second it is looked whether a program has ended that was asked to.
const POLLS_A_SECOND: u32 = 5;
/// The variable by which a program is known that was started in a container that is there, with all that it starts: the
/// engine sends signals to containers only.
const MARK: &str = "PAAS_ENTERED";
/// Sends all processes that have a mark a signal. No `grep`: that of small images sees nothing behind a NUL.
const SIGNAL_ENTRY: &str = r#"for it in /proc/[0-9]*; do case "$(cat "$it/environ" 2>/dev/null)" in
*"PAAS_ENTERED=$1"*) kill -"$2" "${it#/proc/}";; esac; done"#;

/// What a run's container runs, and how.
#[derive(Clone, Debug)]
pub struct RunProgram<'a> {
    /// The release whose image it has.
    pub release: &'a Release,
    /// That release's config.
    pub config: &'a Config,
    /// How it is run.
    pub settings: &'a RunSettings,
    /// Its arguments; none: the image's own command.
    pub arguments: Option<Vec<String>>,
    /// The variables that it is given beside the config.
    pub given: &'a [(EnvKey, String)],
}

/// Makes and starts the container of a run, whose row is there, and attaches to it unless it is detached. One that cannot
/// be started leaves nothing behind.
///
/// # Errors
/// What the engine says.
pub async fn start_run(
    instance: &Instance,
    engine: &Engine,
    run: &Run,
    program: &RunProgram<'_>,
) -> Result<Option<Attached>> {
    let RunProgram { release, config, settings, arguments, given } = program;
    let arguments = arguments.clone();
    let program = Program { release, config, run: settings, arguments, restart: RestartPolicy::No };
    let spec = container::run_spec(instance, run, &program, given)?;
    engine.ensure_network(&instance.id, instance.settings.subnet).await?;
    let started = container::start_run(instance, engine, run, spec).await;
    let id = run.id;
    match started {
        Ok(attached) => {
            instance.writing(move |tables| tables.set_run_running(id, None)).await?;
            Ok(attached)
        }
        Err(error) => {
            // The supervisor does it where the engine cannot be reached now.
            if let Err(error) = Scheduler::Local.remove(engine, &run.container).await {
                warn!("{}: {}", run.label(), error.one_line());
            }
            instance.writing(move |tables| tables.end_run(id, None, Some(RunEnd::NotStarted))).await?;
            Err(error)
        }
    }
}

/// Sends the program of a run that has a container of its own a signal, by its name.
///
/// # Errors
/// What the engine says.
pub async fn signal_run(engine: &Engine, run: &Run, signal: &str) -> Result<()> {
    if run.has_container() {
        return container::signal_run(engine, run, signal).await;
    }
    let signal = signal.trim_start_matches("SIG").to_owned();
    let arguments = ["/bin/sh", "-c", SIGNAL_ENTRY, "sh", &mark(run), &signal].map(str::to_owned);
    engine.exec(&run.container, &arguments).await.map(drop)
}

/// Makes a program ready that is to run in a container that is there, and returns the engine's number of it.
///
/// # Errors
/// What the engine says.
pub async fn make_entry(
    engine: &Engine,
    run: &Run,
    arguments: &[String],
    given: &[(EnvKey, String)],
) -> Result<String> {
    let mut environment: Vec<(String, String)> =
        given.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    environment.push((MARK.to_owned(), mark(run)));
    engine.make_exec(&run.container, arguments, &environment, run.tty).await
}

/// What a program that was started in a container has in its environment, as have all that it starts. No other has it.
fn mark(run: &Run) -> String {
    format!("{};", run.label())
}

/// Has the container of a run end, and waits for it.
///
/// # Errors
/// What the engine says.
pub async fn stop_run(engine: &Engine, run: &Run) -> Result<()> {
    if run.has_container() {
        return container::stop_run(engine, run).await;
    }
    let Some(exec) = &run.exec else { return Ok(()) };
    for (signal, seconds) in [("HUP", 1), ("TERM", run.stop_timeout), ("KILL", 5)] {
        if let Err(error) = signal_run(engine, run, signal).await {
            // The container may be gone, and the program with it.
            if engine.exec_status(exec).await? == ExecStatus::Running {
                return Err(error);
            }
        }
        for _ in 0..seconds * POLLS_A_SECOND {
            if engine.exec_status(exec).await? != ExecStatus::Running {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1) / POLLS_A_SECOND).await;
        }
    }
    Ok(())
}

/// Puts a run away whose container has ended, or is gone: keeps what it printed, writes its exit code down, and removes
/// the container. It may be done twice.
///
/// # Errors
/// [`crate::Error::Store`]; what the engine says.
pub async fn finish_run(
    instance: &Instance,
    engine: &Engine,
    run: &Run,
    exit_code: Option<i64>,
    end: Option<RunEnd>,
) -> Result<()> {
    if !run.has_container() {
        let id = run.id;
        return instance.writing(move |tables| tables.end_run(id, exit_code, end)).await;
    }
    if run.keeps_output()
        && exit_code.is_some()
        && let Err(error) = keep_output(instance, engine, run).await
    {
        warn!("what {} of {} printed is lost: {}", run.label(), run.app, error.one_line());
    }
    let id = run.id;
    instance.writing(move |tables| tables.end_run(id, exit_code, end)).await?;
    Scheduler::Local.remove(engine, &run.container).await
}

/// Knows the secrets of a run, as far as the engine has the variables that it was given.
///
/// # Errors
/// [`crate::Error::Store`], [`crate::Error::Host`] where the config cannot be unsealed; what the engine says.
pub async fn secrets_of_run(instance: &Instance, engine: &Engine, run: &Run) -> Result<Masker> {
    let mut secrets = secrets_of(instance, run.release_id).await?;
    if !run.given.is_empty() {
        let environment = engine.environment(&run.container).await?;
        let is_given = |key: &str| run.given.iter().any(|given| given.as_str() == key);
        secrets.add(environment.iter().filter(|(key, _)| is_given(key)).map(|(_, value)| value.as_str()));
    }
    Ok(secrets)
}

/// Writes the last that a run printed to its file.
async fn keep_output(instance: &Instance, engine: &Engine, run: &Run) -> Result<()> {
    let secrets = secrets_of_run(instance, engine, run).await?;
    let mut text = Kept::of(engine, &run.container, secrets, KEPT_OUTPUT).await?.text();
    if !text.is_empty() {
        text.push('\n');
    }
    let path = instance.settings.paths.run_log(&run.app, run.id);
    if let Some(directory) = path.parent() {
        files::make_private_directory(directory)?;
    }
    files::write_whole(&path, text.as_bytes(), 0o600)
}
