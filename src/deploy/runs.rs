//! Programs that somebody has run in a container of an app's release: their containers, and what is kept of them.

use std::{collections::VecDeque, path::Path, time::Duration};

use futures_util::StreamExt;
use tracing::warn;

use super::container::{self, Program};
use crate::{
    Result,
    engine::{Attached, Engine, ExecStatus},
    files,
    instance::Instance,
    model::{
        ConfigMap, EnvKey, MaskedStream, Masker, Override, Release, RestartPolicy, Run, RunEnd, RunSettings, Scheduler,
    },
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
    pub config: &'a ConfigMap,
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
    let release_id = run.release_id;
    let read =
        instance.reading(move |tables| Ok((tables.release(release_id)?, tables.sealed_config(release_id)?))).await?;
    let (release, sealed) = read;
    let mut secrets = Masker::default();
    secrets.add(instance.secrets.unseal_config(&sealed)?.values().map(String::as_str));
    secrets.add(release.overrides.iter().flat_map(Override::secrets));
    if !run.given.is_empty() {
        let environment = engine.environment(&run.container).await?;
        let is_given = |key: &str| run.given.iter().any(|given| given.as_str() == key);
        secrets.add(environment.iter().filter(|(key, _)| is_given(key)).map(|(_, value)| value.as_str()));
    }
    Ok(secrets)
}

/// Writes the last that a run printed to its file.
async fn keep_output(instance: &Instance, engine: &Engine, run: &Run) -> Result<()> {
    // What cannot be masked is not kept.
    let mut stream = MaskedStream::new(secrets_of_run(instance, engine, run).await?);
    let mut kept = Kept::default();
    let mut lines = std::pin::pin!(engine.logs(&run.container, None, false));
    while let Some(line) = lines.next().await {
        let line = line?;
        kept.push(stream.line(&line.text, line.is_ended));
    }
    let rest = stream.line("", true);
    if !rest.is_empty() {
        kept.push(rest);
    }
    write(&instance.settings.paths.run_log(&run.app, run.id), kept)
}

fn write(path: &Path, kept: Kept) -> Result<()> {
    if let Some(directory) = path.parent() {
        files::make_private_directory(directory)?;
    }
    let text: String = kept.lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect();
    files::write_whole(path, text.as_bytes(), 0o600)
}

/// The last lines, within a bound.
#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    length: usize,
}

impl Kept {
    fn push(&mut self, line: String) {
        self.length += line.len() + 1;
        self.lines.push_back(line);
        while self.length > KEPT_OUTPUT
            && let Some(first) = self.lines.pop_front()
        {
            self.length -= first.len() + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn the_last_lines_are_kept_within_a_bound() -> Result<()> {
        let directory = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let path = directory.path().join("runs/7.log");
        let mut kept = Kept::default();
        for number in 0..10_000 {
            kept.push(format!("{number:04} {}", "x".repeat(1000)));
        }
        write(&path, kept)?;
        let text = std::fs::read_to_string(&path).map_err(Error::io("read"))?;
        assert!(text.len() <= KEPT_OUTPUT && text.len() > KEPT_OUTPUT - 2000, "{}", text.len());
        assert!(text.lines().all(|line| line.len() == 1005) && text.ends_with("x\n"));
        assert!(text.lines().last().is_some_and(|line| line.starts_with("9999 ")));
        Ok(())
    }
}
