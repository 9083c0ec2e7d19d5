//! Crons: commands of an app that run by time. The daemon runs them; what is here looks at them, changes them, and asks
//! for a run.

use std::time::Duration;

use serde::Serialize;

use super::edit::Outcome;
use crate::{
    Error, Result, clock,
    context::Context,
    deploy,
    error::{CronError, DeployError, Thing},
    instance::Instance,
    model::{self, App, AppName, Change, CronName, CronSpec, JobState, MOST_CRONS, Overlap, Subject},
    store::{CronRun, StoredCron, Tables},
    ui::{Show, Text, escapes, or_dash},
};

/// How often a run that is waited for is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A cron, with its next run and its last.
#[derive(Clone, Debug, Serialize)]
pub struct CronInfo {
    /// Its app.
    pub app: AppName,
    /// Its name.
    pub name: CronName,
    /// When it is due.
    pub schedule: String,
    /// What it runs.
    pub command: String,
    /// Where its hours are; absent: where the server is.
    pub timezone: Option<String>,
    /// What becomes of a run that is due while one before it is under way: allow, forbid, replace.
    pub overlap: Overlap,
    /// How long a run may take.
    pub timeout_seconds: u32,
    /// By how much a run begins after the time of its schedule, at most.
    pub jitter_seconds: u32,
    /// What becomes of times at which nothing could run: skip, run-once.
    pub missed: model::Missed,
    /// What becomes of a run that something else ended: leave, repeat.
    pub interrupted: model::Interrupted,
    /// Whether a command added it; else it is in the source of the release that serves.
    pub added: bool,
    /// Whether it waits until somebody resumes it.
    pub suspended: bool,
    /// When it runs next; absent if it has no next run.
    pub next_at: Option<String>,
    /// Why it has none, if it has none.
    pub waits_because: Option<&'static str>,
    /// Its newest run, or the newest time that had none.
    pub last: Option<RunInfo>,
}

/// A list of crons.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct CronList(pub Vec<CronInfo>);

impl Show for CronList {
    fn text(&self) -> Text {
        Text::table(
            ["APP", "CRON", "SCHEDULE", "NEXT", "LAST", "STATE", "OUTCOME", "FROM", "COMMAND"],
            self.0.iter().map(|cron| {
                let last = cron.last.as_ref();
                let zone = cron.timezone.as_ref().map(|zone| format!(" ({zone})")).unwrap_or_default();
                [
                    cron.app.to_string(),
                    cron.name.to_string(),
                    format!("{}{zone}", cron.schedule),
                    cron.next_at.clone().or(cron.waits_because.map(str::to_owned)).unwrap_or_else(|| "-".to_owned()),
                    or_dash(last.map(|run| run.started_at.as_ref().unwrap_or(&run.due_at))),
                    or_dash(last.map(|run| run.state)),
                    or_dash(last.and_then(|run| run.outcome.as_ref())),
                    if cron.added { "cron:add" } else { "source" }.to_owned(),
                    one_line(&cron.command),
                ]
            }),
        )
    }
}

/// A run of a cron, or a time that had none.
#[derive(Clone, Debug, Serialize)]
pub struct RunInfo {
    /// Its number.
    pub run: i64,
    /// The cron.
    pub name: CronName,
    /// When it was due.
    pub due_at: String,
    /// When it began; absent if it did not.
    pub started_at: Option<String>,
    /// When it ended; absent while it runs, too.
    pub finished_at: Option<String>,
    /// How long it took.
    pub took_seconds: Option<f64>,
    /// How it went: waiting, running, done, failed, interrupted, missed, skipped.
    pub state: JobState,
    /// What came of it, in one line.
    pub outcome: Option<String>,
    /// The exit code of its command; absent if it did not end by itself.
    pub exit_code: Option<i64>,
    /// Who asked for it; absent: its schedule.
    pub asked_by: Option<String>,
    /// Which attempt it is, from 1: more if it is repeated after an interruption.
    pub attempt: u32,
    /// The number of the release that it runs; absent if it did not begin.
    pub release: Option<u32>,
    /// What it runs; absent if it did not begin.
    pub command: Option<String>,
    /// The end of what it printed, without secrets.
    pub output: String,
    /// How much it printed before that.
    pub dropped_bytes: u64,
}

impl From<&CronRun> for RunInfo {
    fn from(run: &CronRun) -> RunInfo {
        let took = run.started_at.zip(run.finished_at).map(|(from, to)| (to - from).max(0));
        RunInfo {
            run: run.id,
            name: run.name.clone(),
            due_at: clock::rfc3339(run.due_at),
            started_at: run.started_at.map(clock::rfc3339),
            finished_at: run.finished_at.map(clock::rfc3339),
            took_seconds: took.map(|took| took as f64 / 1000.0),
            state: run.state,
            outcome: run.outcome.clone(),
            exit_code: run.exit_code,
            asked_by: run.asked_by.as_ref().map(ToString::to_string),
            attempt: run.attempt,
            release: run.release.map(|release| release.0),
            command: run.command.clone(),
            output: run.output.clone(),
            dropped_bytes: run.dropped_bytes,
        }
    }
}

/// Runs of crons, newest first.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct RunList(pub Vec<RunInfo>);

impl Show for RunList {
    fn text(&self) -> Text {
        Text::table(
            ["RUN", "CRON", "DUE", "STARTED", "STATE", "EXIT CODE", "OUTCOME", "ASKED BY", "LAST LINE"],
            self.0.iter().map(|run| {
                let last_line = run.output.lines().rev().find(|line| !line.trim().is_empty());
                [
                    run.run.to_string(),
                    run.name.to_string(),
                    run.due_at.clone(),
                    or_dash(run.started_at.as_ref()),
                    run.state.to_string(),
                    or_dash(run.exit_code),
                    or_dash(run.outcome.as_ref()),
                    or_dash(run.asked_by.as_ref()),
                    or_dash(last_line.map(one_line)),
                ]
            }),
        )
    }
}

/// One run of a cron, with all that is kept of its output.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct WholeRun(pub RunInfo);

impl Show for WholeRun {
    fn text(&self) -> Text {
        let run = &self.0;
        let mut text = format!("run {} of {}: {}", run.run, run.name, run.state);
        if let Some(outcome) = &run.outcome {
            text.push_str(&format!(" ({outcome})"));
        }
        text.push_str(&format!("\ndue {}", run.due_at));
        if let Some(started) = &run.started_at {
            text.push_str(&format!(", started {started}"));
        }
        if let Some(finished) = &run.finished_at {
            text.push_str(&format!(", finished {finished}"));
        }
        if let (Some(command), Some(release)) = (&run.command, run.release) {
            text.push_str(&format!("\nv{release}: {command}"));
        }
        if run.dropped_bytes > 0 {
            text.push_str(&format!("\n[{} before this are not kept]", model::bytes(run.dropped_bytes)));
        }
        if !run.output.is_empty() {
            text.push('\n');
            text.push_str(&run.output);
        }
        Text::Line(escapes::harmless(&text).into_owned())
    }
}

/// One run of a cron, of which people see what it printed.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Printed(pub RunInfo);

impl Show for Printed {
    fn text(&self) -> Text {
        Text::Line(escapes::harmless(&self.0.output).into_owned())
    }
}

/// What became of a cron.
#[derive(Clone, Debug, Serialize)]
pub struct CronChanged {
    /// The app.
    pub app: AppName,
    /// The cron.
    pub name: CronName,
    /// Whether something changed.
    pub outcome: Outcome,
    /// When it runs next; absent if it has no next run.
    pub next_at: Option<String>,
}

impl Show for CronChanged {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// A text in one line, for a table.
fn one_line(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// When a cron runs next, as it is known now; or why it does not.
fn next(cron: &StoredCron) -> (Option<String>, Option<&'static str>) {
    let why = match (cron.suspended, cron.release.is_some(), cron.is_active()) {
        (true, ..) => "suspended",
        (_, false, _) => "the app is not deployed",
        (.., false) => "the app is stopped",
        _ => {
            let next = cron.spec.next_after(&clock::zone(), cron.app_id, clock::now());
            return (next.map(clock::rfc3339), None);
        }
    };
    (None, Some(why))
}

/// The crons of an app, or of each app that the caller sees.
///
/// # Errors
/// [`Error::NotFound`].
pub fn list(context: &Context<'_>, app: Option<&AppName>) -> Result<CronList> {
    context.instance.read(|tables| {
        let app = app.map(|app| tables.app(app)).transpose()?;
        let crons = tables.crons(app.map(|app| app.id))?;
        let infos = crons.iter().filter(|cron| context.sees(&cron.app)).map(|cron| {
            let spec = &cron.spec;
            let (next_at, waits_because) = next(cron);
            Ok(CronInfo {
                app: cron.app.clone(),
                name: spec.name.clone(),
                schedule: spec.schedule.to_string(),
                command: spec.command.as_str().to_owned(),
                timezone: spec.timezone.as_ref().map(ToString::to_string),
                overlap: spec.overlap,
                timeout_seconds: spec.timeout_seconds,
                jitter_seconds: spec.jitter_seconds,
                missed: spec.missed,
                interrupted: spec.interrupted,
                added: cron.added_by.is_some(),
                suspended: cron.suspended,
                next_at,
                waits_because,
                last: tables.cron_history(cron.app_id, Some(&spec.name), 1)?.first().map(RunInfo::from),
            })
        });
        infos.collect::<Result<_>>().map(CronList)
    })
}

/// The names of all crons, for completions.
///
/// # Errors
/// [`Error::Store`].
pub fn names(instance: &Instance) -> Result<Vec<String>> {
    instance.read(|tables| Ok(tables.crons(None)?.into_iter().map(|cron| cron.spec.name.to_string()).collect()))
}

fn find(tables: &Tables<'_>, app: &App, name: &CronName) -> Result<StoredCron> {
    let found = tables.crons(Some(app.id))?.into_iter().find(|cron| cron.spec.name == *name);
    found.ok_or_else(|| Error::NotFound(Thing::Cron(app.name.clone()), name.to_string()))
}

/// Adds a cron to an app, in place of one of its name. It stays over deploys.
///
/// # Errors
/// [`Error::NotFound`], `CronError::TooMany`.
pub fn add(context: &Context<'_>, app: &AppName, spec: &CronSpec) -> Result<CronChanged> {
    let name = &spec.name;
    context.instance.write(|tables| {
        let app = tables.app(app)?;
        deploy::refuse_locked(&app)?;
        let there = tables.crons(Some(app.id))?;
        let former = there.iter().find(|cron| cron.spec.name == *name);
        if former.is_none() && there.len() >= MOST_CRONS {
            return Err(CronError::TooMany { app: app.name }.into());
        }
        let outcome = match former {
            Some(former) if former.added_by.is_some() && former.spec == *spec => Outcome::Unchanged,
            _ => {
                tables.set_cron(app.id, spec, context.actor())?;
                let change = Change::new("cron:add", Subject::App(app.name.clone())).with(name.to_string());
                context.note(tables, &change, model::Outcome::Done)?;
                Outcome::Saved
            }
        };
        changed(tables, &app, name, outcome)
    })
}

/// What became of a cron that is there.
fn changed(tables: &Tables<'_>, app: &App, name: &CronName, outcome: Outcome) -> Result<CronChanged> {
    let (next_at, _) = next(&find(tables, app, name)?);
    Ok(CronChanged { app: app.name.clone(), name: name.clone(), outcome, next_at })
}

/// Removes a cron that a command added. A run that is under way goes on.
///
/// # Errors
/// [`Error::NotFound`], `CronError::OfSource`.
pub fn remove(context: &Context<'_>, app: &AppName, name: &CronName) -> Result<CronChanged> {
    context.instance.write(|tables| {
        let app = tables.app(app)?;
        deploy::refuse_locked(&app)?;
        if find(tables, &app, name)?.added_by.is_none() {
            return Err(CronError::OfSource { app: app.name, name: name.to_string() }.into());
        }
        tables.remove_cron(app.id, name)?;
        let change = Change::new("cron:remove", Subject::App(app.name.clone())).with(name.to_string());
        context.note(tables, &change, model::Outcome::Done)?;
        // One of the same name in the source counts again.
        let next_at = find(tables, &app, name).ok().and_then(|cron| next(&cron).0);
        Ok(CronChanged { app: app.name, name: name.clone(), outcome: Outcome::Saved, next_at })
    })
}

/// Suspends a cron, or resumes it. A run that is under way goes on.
///
/// # Errors
/// [`Error::NotFound`].
pub fn switch(context: &Context<'_>, app: &AppName, name: &CronName, suspended: bool) -> Result<CronChanged> {
    context.instance.write(|tables| {
        let app = tables.app(app)?;
        deploy::refuse_locked(&app)?;
        let is_so = find(tables, &app, name)?.suspended == suspended;
        if !is_so {
            tables.switch_cron(app.id, name, suspended, context.actor())?;
            let action = if suspended { "cron:suspend" } else { "cron:resume" };
            let change = Change::new(action, Subject::App(app.name.clone())).with(name.to_string());
            context.note(tables, &change, model::Outcome::Done)?;
        }
        changed(tables, &app, name, if is_so { Outcome::Unchanged } else { Outcome::Saved })
    })
}

/// Asks for a run of a cron now, beside its schedule, and returns its number.
///
/// # Errors
/// [`Error::NotFound`], `DeployError::NeverDeployed`, `DeployError::NotRunning`, `CronError::UnderWay`,
/// `CronError::NoDaemon`.
pub fn ask(context: &Context<'_>, app: &AppName, name: &CronName) -> Result<i64> {
    let daemon_runs = context.instance.daemon_runs();
    context.instance.write(|tables| {
        let app = tables.app(app)?;
        let cron = find(tables, &app, name)?;
        tables.serving(&app)?;
        if !app.is_running() {
            return Err(DeployError::NotRunning { app: app.name }.into());
        }
        let under_way = tables.running_crons(Some((app.id, name)))?;
        if let (Some(run), Overlap::Forbid) = (under_way.first(), cron.spec.overlap) {
            return Err(CronError::UnderWay { app: app.name, name: name.to_string(), run: run.id }.into());
        }
        if !daemon_runs {
            return Err(CronError::NoDaemon.into());
        }
        let run = tables.ask_for_cron(app.id, name, context.actor(), 1)?;
        let change = Change::new("cron:run", Subject::App(app.name)).with(format!("{name}, run {run}"));
        context.note(tables, &change, model::Outcome::Done)?;
        Ok(run)
    })
}

/// Waits until a run is over. Whoever waits may go away: the run goes on.
///
/// # Errors
/// [`Error::NotFound`] where it is forgotten meanwhile; `CronError::NoDaemon` where nobody would begin it.
pub async fn wait(context: &Context<'_>, app: &AppName, id: i64) -> Result<RunInfo> {
    loop {
        let WholeRun(run) = whole(context, app, id)?;
        match run.state {
            JobState::Waiting if !context.instance.daemon_runs() => return Err(CronError::NoDaemon.into()),
            JobState::Waiting | JobState::Running => tokio::time::sleep(POLL_INTERVAL).await,
            JobState::Done | JobState::Failed | JobState::Interrupted | JobState::Missed | JobState::Skipped => {
                return Ok(run);
            }
        }
    }
}

/// The newest runs of an app's crons, or of one, newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub fn history(context: &Context<'_>, app: &AppName, name: Option<&CronName>, limit: u32) -> Result<RunList> {
    context.instance.read(|tables| {
        let app = tables.app(app)?;
        let runs = tables.cron_history(app.id, name, limit)?;
        // What was removed has its history still.
        if let (Some(name), true) = (name, runs.is_empty()) {
            find(tables, &app, name)?;
        }
        Ok(RunList(runs.iter().map(RunInfo::from).collect()))
    })
}

/// One run of an app's crons.
///
/// # Errors
/// [`Error::NotFound`].
pub fn whole(context: &Context<'_>, app: &AppName, id: i64) -> Result<WholeRun> {
    context.instance.read(|tables| {
        let app = tables.app(app)?;
        let run = tables.cron_run(app.id, id)?;
        let run = run.ok_or_else(|| Error::NotFound(Thing::CronRun(app.name), id.to_string()))?;
        Ok(WholeRun(RunInfo::from(&run)))
    })
}
