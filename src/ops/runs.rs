//! Programs that somebody runs in a container of an app: `run` and `run:detached` in one of their own, `enter` in one that
//! is there.

mod attached;
mod look;

use std::io::Read;

use attached::Seat;
use futures_util::StreamExt;
pub use look::{Seen, look_after};
use serde::Serialize;
use tokio::sync::Notify;

use crate::{
    Error, Result, clock,
    context::Context,
    deploy::{self, RunProgram},
    engine::{Engine, ExecStatus},
    error::{DeployError, Thing},
    files,
    instance::number_of,
    lock::{self, Lock},
    model::{
        self, AppName, Change, Config, EnvKey, MaskedStream, Masker, Override, ProcessSettings, ProcessType, Release,
        Run, RunEnd, RunId, RunKind, RunSettings, RunState, Subject, TypedProgram, Which, check_variable,
        line_with_words, program_of, property, shell_arguments,
    },
    store::{Container, NewRun, Tables},
    ui::{Show, Text, or_dash, streams},
};

/// How much of a command is kept for people, in bytes.
const LONGEST_COMMAND: usize = 300;
/// How often a run that was asked to end is looked at until it has, and how often in all.
const STOP_POLL: std::time::Duration = std::time::Duration::from_millis(200);
const STOP_POLLS: u32 = 400;
/// How often it is looked whether a program in a container that is there has ended, though its output is not at its end.
const EXEC_POLL: std::time::Duration = std::time::Duration::from_secs(1);
/// How long an engine that went away is waited for.
const ENGINE_BACK: std::time::Duration = std::time::Duration::from_secs(60);
/// The usual shell of those that a container may have.
const SHELL: &str = "if [ -x /bin/bash ]; then exec /bin/bash; else exec /bin/sh; fi";

/// What somebody asks to have run.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The words of the command.
    pub words: Vec<String>,
    /// Variables beside the config.
    pub given: Vec<(EnvKey, String)>,
    /// Memory limit in MiB, in place of that of the process type.
    pub memory_mib: Option<u32>,
    /// CPU limit in thousandths of a CPU, in place of that of the process type.
    pub cpu_millis: Option<u32>,
    /// Seconds that it may take, in place of those of the app.
    pub time_limit: Option<u32>,
    /// Whether it goes on when nobody is there any more.
    pub goes_on: bool,
    /// Whether it has a terminal.
    pub tty: bool,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The run.
    pub run: Run,
    /// The exit code of its program; none where it goes on without us.
    pub exit_code: Option<u8>,
}

/// A run that was written down, and what it needs.
struct Opened {
    run: Run,
    /// Held as long as somebody sits at it.
    _claim: Lock,
    release: Release,
    config: Config,
}

/// What is to be written down of a run.
struct Plan<'a> {
    action: &'a str,
    kind: RunKind,
    /// The container that it is started in.
    inside: Option<&'a Container>,
    request: &'a Request,
    settings: &'a RunSettings,
}

fn open(context: &Context<'_>, name: &AppName, release: Release, plan: &Plan<'_>) -> Result<Opened> {
    let Plan { action, kind, inside, request, settings } = plan;
    let instance = context.instance;
    for (key, value) in &request.given {
        check_variable(key, value)?;
    }
    let sealed = instance.read(|tables| tables.sealed_config(release.id))?;
    let config = instance.secrets.unseal_config(&sealed)?;
    let mut secrets = Masker::default();
    secrets.add(config.values());
    secrets.add(release.overrides.iter().flat_map(Override::secrets));
    secrets.add(request.given.iter().map(|(_, value)| value.as_str()));
    let command = shown(&secrets.mask(&shell_words::join(&request.words)));
    let given: Vec<EnvKey> = request.given.iter().map(|(key, _)| key.clone()).collect();
    let label = inside.map(Container::label);
    let beginning = format!("paas-{}-{name}-run.", instance.id);
    // Claimed before anybody can see the row, or the supervisor could take it for a dead one's.
    let (run, claim) = instance.write(|tables| {
        let app = tables.app(name)?;
        let most = number_of(&instance.settings, tables, &property::RUN_CONCURRENCY, None)?;
        let running = tables.runs_at_work()?;
        if running >= most {
            return Err(DeployError::TooManyRuns { running, most }.into());
        }
        let time_limit = match request.time_limit {
            Some(seconds) => seconds,
            None => number_of(&instance.settings, tables, &property::RUN_TIME_LIMIT, Some(app.id))?
                .try_into()
                .map_err(Error::bug)?,
        };
        let run = tables.open_run(
            instance.settings.subnet,
            &NewRun {
                app_id: app.id,
                kind: *kind,
                release: &release,
                container: inside.map_or(beginning.as_str(), |container| container.name.as_str()),
                inside: label.as_deref(),
                command: &command,
                given: &given,
                caller: context.caller,
                goes_on: request.goes_on,
                tty: request.tty,
                time_limit,
                stop_timeout: settings.stop_timeout_seconds,
            },
        )?;
        let at = label.as_ref().map(|label| format!(" in {label}")).unwrap_or_default();
        let change = Change::new(action, Subject::App(name.clone())).with(format!("{run}{at}"));
        context.note(tables, &change, model::Outcome::Done)?;
        let claim = lock::claim(&instance.settings.paths.runs_lock(), run.id.0)?;
        Ok((run, claim))
    })?;
    Ok(Opened { run, _claim: claim, release, config })
}

/// A command for people: in one line, and not too long.
fn shown(command: &str) -> String {
    let mut end = LONGEST_COMMAND.min(command.len());
    while !command.is_char_boundary(end) {
        end -= 1;
    }
    let mut text = command[..end].replace(['\n', '\r'], " ");
    if end < command.len() {
        text.push('\u{2026}');
    }
    text
}

/// What a container of its own runs, and how.
fn program(release: &Release, request: &Request) -> Result<(Option<Vec<String>>, RunSettings)> {
    let process = |word: &str| word.parse().ok().and_then(|process: ProcessType| release.process(&process));
    let (arguments, mut settings) = match program_of(&request.words, |word| process(word).is_some()) {
        TypedProgram::Arguments(arguments) => {
            let own: ProcessType = "run".parse()?;
            (arguments, ProcessSettings::of_overrides(&release.overrides, &own).resolve(&own)?)
        }
        TypedProgram::Process(name, words) => {
            let spec = process(&name).ok_or_else(|| Error::bug("a process type that was there is gone"))?;
            let arguments = match &spec.command {
                Some(line) => Some(line_with_words(line, &name, &words)),
                None if words.is_empty() => None,
                None => {
                    return Err(Error::usage(
                        format!("{name} is the image's own command, which takes no words"),
                        format!("give a program of the image instead, or {name} alone"),
                    ));
                }
            };
            (arguments, spec.run.clone())
        }
    };
    settings.memory_mib = request.memory_mib.or(settings.memory_mib);
    settings.cpu_millis = request.cpu_millis.or(settings.cpu_millis);
    Ok((arguments, settings))
}

/// Runs a program in a container of its own, at our own standard streams, to its end.
///
/// `begun` is told when it has begun.
///
/// # Errors
/// [`Error::NotFound`]; `DeployError::NotDeployed`; `DeployError::TooManyRuns`; what the engine says.
pub async fn run(context: &Context<'_>, name: &AppName, request: &Request, begun: impl FnOnce(&Run)) -> Result<Ended> {
    let instance = context.instance;
    let release = serving(context, name)?;
    let (arguments, settings) = program(&release, request)?;
    let engine = Engine::connect(&instance.settings).await?;
    let plan = Plan { action: "run", kind: RunKind::Attached, inside: None, request, settings: &settings };
    let opened = open(context, name, release, &plan)?;
    let Opened { run, release, config, .. } = &opened;
    let mut given = terminal(request.tty);
    given.extend(request.given.iter().cloned());
    let program = RunProgram { release, config, settings: &settings, arguments, given: &given };
    let attached = deploy::start_run(instance, &engine, run, &program)
        .await?
        .ok_or_else(|| Error::bug("a run that is attached is not"))?;
    begun(run);
    let seat = Seat { instance, engine: &engine, run };
    match seat.sit(attached, async |_: &Notify| engine.wait(&run.container).await).await {
        Ok(None) => Ok(Ended { run: run.clone(), exit_code: None }),
        Ok(Some(code)) => {
            deploy::finish_run(instance, &engine, run, Some(code), None).await?;
            ended_as(context, run.id)
        }
        Err(error) => recovered(context, run, error).await,
    }
}

/// Starts a program in a container of its own, which nobody sits at.
///
/// # Errors
/// As [`run`].
pub async fn detached(context: &Context<'_>, name: &AppName, request: &Request) -> Result<RunInfo> {
    let instance = context.instance;
    let release = serving(context, name)?;
    let (arguments, settings) = program(&release, request)?;
    let engine = Engine::connect(&instance.settings).await?;
    let request = &Request { goes_on: true, tty: false, ..request.clone() };
    let plan = Plan { action: "run:detached", kind: RunKind::Detached, inside: None, request, settings: &settings };
    let opened = open(context, name, release, &plan)?;
    let Opened { run, release, config, .. } = &opened;
    let program = RunProgram { release, config, settings: &settings, arguments, given: &request.given };
    deploy::start_run(instance, &engine, run, &program).await?;
    let id = run.id;
    Ok(RunInfo::of(&instance.read(|tables| tables.run(id))?))
}

/// Runs a program, or a shell, in a container that is there, at our own standard streams, to its end.
///
/// # Errors
/// [`Error::NotFound`]; `DeployError::NotRunning`; `DeployError::TooManyRuns`; what the engine says.
pub async fn enter(
    context: &Context<'_>,
    name: &AppName,
    request: &Request,
    begun: impl FnOnce(&Run),
) -> Result<Ended> {
    let instance = context.instance;
    let mut words = request.words.clone();
    let (container, release) = instance.read(|tables| inhabited(tables, name, &mut words))?;
    if words.is_empty() {
        words = vec!["/bin/sh".to_owned(), "-c".to_owned(), SHELL.to_owned()];
    } else if let [line] = &words[..]
        && line.contains(char::is_whitespace)
    {
        words = shell_arguments(line).to_vec();
    }
    let engine = Engine::connect(&instance.settings).await?;
    let settings = ProcessSettings::default().resolve(&container.process)?;
    let typed = if request.words.is_empty() { vec!["a shell".to_owned()] } else { request.words.clone() };
    let request = &Request { words: typed, ..request.clone() };
    let plan = Plan { action: "enter", kind: RunKind::Enter, inside: Some(&container), request, settings: &settings };
    let Opened { mut run, _claim, .. } = open(context, name, release, &plan)?;
    let mut given = terminal(request.tty);
    given.extend(request.given.iter().cloned());
    let id = run.id;
    let begin = async {
        let exec = deploy::make_entry(&engine, &run, &words, &given).await?;
        let number = exec.clone();
        // Before it begins: who finds it afterwards must know it.
        instance.writing(move |tables| tables.set_run_running(id, Some(&number))).await?;
        let attached = engine.start_exec(&exec, request.tty).await?;
        Ok::<_, Error>((exec, attached))
    };
    let (exec, attached) = match begin.await {
        Ok(begun) => begun,
        Err(error) => {
            instance.writing(move |tables| tables.end_run(id, None, Some(RunEnd::NotStarted))).await?;
            return Err(error);
        }
    };
    run.exec = Some(exec.clone());
    begun(&run);
    let seat = Seat { instance, engine: &engine, run: &run };
    let ended = async |at_end: &Notify| {
        loop {
            // It ends with its output, or was asked to end.
            drop(tokio::time::timeout(EXEC_POLL, at_end.notified()).await);
            match engine.wait_exec(&exec).await? {
                ExecStatus::Running => {}
                ExecStatus::Exited(code) => return Ok(Some(code)),
                ExecStatus::Missing => return Ok(None),
            }
        }
    };
    match seat.sit(attached, ended).await {
        Ok(code) => {
            let code = code.flatten();
            let end = if code.is_none() { Some(RunEnd::Lost) } else { None };
            instance.writing(move |tables| tables.end_run(id, code, end)).await?;
            ended_as(context, id)
        }
        Err(error) => recovered(context, &run, error).await,
    }
}

/// The live container that the first word names, which is taken away then, or the first one; and its release.
fn inhabited(tables: &Tables<'_>, name: &AppName, words: &mut Vec<String>) -> Result<(Container, Release)> {
    let app = tables.app(name)?;
    let mut live = tables.containers_of_app(app.id)?;
    live.retain(Container::is_live);
    let release = tables.serving(&app)?;
    let which = words.first().and_then(|word| word.parse::<Which>().ok());
    let which = which.filter(|which| {
        let is_live = live.iter().any(|container| container.process == which.process);
        which.position.is_some() || is_live || release.process(&which.process).is_some()
    });
    if which.is_some() {
        words.remove(0);
    }
    if live.is_empty() {
        return Err(DeployError::NotRunning { app: name.clone() }.into());
    }
    let is_meant = |container: &&Container| match &which {
        Some(which) => {
            container.process == which.process && which.position.is_none_or(|position| position == container.position)
        }
        None => container.process.is_web(),
    };
    let found = live.iter().find(is_meant).or_else(|| live.first().filter(|_| which.is_none()));
    let Some(found) = found else {
        let known: Vec<String> = live.iter().map(Container::label).collect();
        let thing = Thing::Container { app: name.clone(), known: known.join(", ") };
        return Err(Error::NotFound(thing, which.map(|which| which.to_string()).unwrap_or_default()));
    };
    Ok((found.clone(), tables.release(found.release_id)?))
}

fn serving(context: &Context<'_>, name: &AppName) -> Result<Release> {
    context.instance.read(|tables| tables.serving(&tables.app(name)?))
}

/// What a program on a terminal is told about it.
fn terminal(tty: bool) -> Vec<(EnvKey, String)> {
    let kind = crate::settings::terminal_kind().filter(|_| tty);
    kind.and_then(|kind| Some(("TERM".parse().ok()?, kind))).into_iter().collect()
}

/// How a run that is over ended.
fn ended_as(context: &Context<'_>, id: RunId) -> Result<Ended> {
    let run = context.instance.read(|tables| tables.run(id))?;
    match run.exit_code {
        Some(code) => Ok(Ended { run, exit_code: Some((code & 0xff) as u8) }),
        None => Err(DeployError::RunLost { run: run.label(), why: run.end.unwrap_or(RunEnd::Lost).words() }.into()),
    }
}

/// How a run ended whose engine went away meanwhile: as the engine says when it is back, if that is soon.
async fn recovered(context: &Context<'_>, run: &Run, error: Error) -> Result<Ended> {
    let instance = context.instance;
    let back = async {
        loop {
            if instance.read(|tables| tables.run(run.id)).is_ok_and(|run| run.state == RunState::Ended) {
                return ended_as(context, run.id);
            }
            if let Ok(engine) = Engine::connect(&instance.settings).await {
                // What fails now may work the next time.
                drop(look::settle(instance, &engine, run).await);
            }
            tokio::time::sleep(STOP_POLL).await;
        }
    };
    tokio::time::timeout(ENGINE_BACK, back).await.unwrap_or(Err(error))
}

/// A run, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct RunInfo {
    /// Its number.
    pub run: RunId,
    /// Its app.
    pub app: AppName,
    /// How it is run.
    pub kind: RunKind,
    /// The number of its release.
    pub release: u32,
    /// The container that it was started in; none: one of its own.
    pub inside: Option<String>,
    /// What it runs, without known secrets.
    pub command: String,
    /// Where it stands.
    pub state: RunState,
    /// The exit code of its program.
    pub exit_code: Option<i64>,
    /// Why it ended, other than by itself.
    pub end: Option<RunEnd>,
    /// Who asked for it.
    pub actor: String,
    /// By which door.
    pub door: &'static str,
    /// When it was asked for, in RFC 3339.
    pub created_at: String,
    /// Seconds that it may take.
    pub time_limit_seconds: u32,
    /// How long it took.
    pub took_seconds: Option<f64>,
    #[serde(skip)]
    created: i64,
}

impl RunInfo {
    fn of(run: &Run) -> RunInfo {
        RunInfo {
            run: run.id,
            app: run.app.clone(),
            kind: run.kind,
            release: run.release.0,
            inside: run.inside.clone(),
            command: run.command.clone(),
            state: run.state,
            exit_code: run.exit_code,
            end: run.end,
            actor: run.actor.to_string(),
            door: run.door.as_str(),
            created_at: clock::rfc3339(run.created_at),
            time_limit_seconds: run.time_limit,
            took_seconds: run.ended_at.map(|end| (end - run.created_at) as f64 / 1000.0),
            created: run.created_at,
        }
    }

    fn state_words(&self) -> String {
        match (self.state, self.end) {
            (RunState::Ended, Some(end)) => end.to_string(),
            (state, _) => state.to_string(),
        }
    }
}

impl Show for RunInfo {
    fn text(&self) -> Text {
        Text::Line(self.run.label())
    }
}

/// A list of runs.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct RunList(pub Vec<RunInfo>);

impl Show for RunList {
    fn text(&self) -> Text {
        Text::table(
            ["RUN", "KIND", "RELEASE", "STATE", "EXIT", "BY", "STARTED", "TOOK", "COMMAND"],
            self.0.iter().map(|run| {
                let kind = run.inside.as_ref().map_or_else(|| run.kind.to_string(), |inside| format!("enter {inside}"));
                [
                    run.run.label(),
                    kind,
                    format!("v{}", run.release),
                    run.state_words(),
                    or_dash(run.exit_code),
                    run.actor.clone(),
                    clock::ago(run.created),
                    or_dash(run.took_seconds.map(|seconds| format!("{seconds:.1} s"))),
                    run.command.clone(),
                ]
            }),
        )
    }
}

/// An app's newest runs, newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub fn list(context: &Context<'_>, name: &AppName, limit: u32, only_at_work: bool) -> Result<RunList> {
    let runs = context.instance.read(|tables| {
        let app = tables.app(name)?;
        if only_at_work {
            let mut runs = tables.unfinished_runs(Some(app.id))?;
            runs.reverse();
            return Ok(runs);
        }
        tables.runs(app.id, limit)
    })?;
    Ok(RunList(runs.iter().map(RunInfo::of).collect()))
}

/// An app's run of that number.
fn find(tables: &Tables<'_>, name: &AppName, id: RunId) -> Result<Run> {
    let app = tables.app(name)?;
    match tables.run(id) {
        Ok(run) if run.app_id == app.id => Ok(run),
        Ok(_) | Err(Error::NotFound(..)) => Err(Error::NotFound(Thing::Run(Some(name.clone())), id.label())),
        Err(error) => Err(error),
    }
}

/// Ends runs of an app that are at work: one, or all. Returns those.
///
/// # Errors
/// [`Error::NotFound`]; what the engine says.
pub async fn stop(context: &Context<'_>, name: &AppName, id: Option<RunId>) -> Result<RunList> {
    let instance = context.instance;
    let change =
        Change::new("run:stop", Subject::App(name.clone())).with(id.map_or_else(|| "all".to_owned(), RunId::label));
    let asked = context.change(&change, |tables| {
        let runs = match id {
            Some(id) => vec![find(tables, name, id)?],
            None => tables.unfinished_runs(Some(tables.app(name)?.id))?,
        };
        for run in &runs {
            tables.ask_run_to_end(run.id, RunEnd::Stopped)?;
        }
        Ok(runs)
    })?;
    let engine = Engine::connect(&instance.settings).await?;
    let ends = asked.iter().map(|run| async {
        if run.state != RunState::Ended {
            deploy::stop_run(&engine, run).await?;
        }
        for _ in 0..STOP_POLLS {
            let now = instance.read(|tables| tables.run(run.id))?;
            if now.state == RunState::Ended {
                return Ok(now);
            }
            // Whoever sits at it writes its end down, and the daemon otherwise: and this, where neither is there.
            if !lock::is_claimed(&instance.settings.paths.runs_lock(), run.id.0)? {
                look::settle(instance, &engine, &now).await?;
            }
            tokio::time::sleep(STOP_POLL).await;
        }
        instance.read(|tables| tables.run(run.id))
    });
    let ended = futures_util::future::try_join_all(ends).await?;
    Ok(RunList(ended.iter().map(RunInfo::of).collect()))
}

/// Gives what a detached run printed to `out`, line by line; with `follow`, until it ends. `id`: none for the newest.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Host`]; what the engine says, and what `out` returns.
pub async fn logs(
    context: &Context<'_>,
    name: &AppName,
    id: Option<RunId>,
    follow: bool,
    mut out: impl FnMut(Option<&str>) -> Result<()>,
) -> Result<()> {
    let instance = context.instance;
    let run = instance.read(|tables| match id {
        Some(id) => find(tables, name, id),
        None => {
            let runs = tables.runs(tables.app(name)?.id, u32::MAX)?;
            let newest = runs.into_iter().find(Run::keeps_output);
            newest.ok_or_else(|| Error::NotFound(Thing::Run(Some(name.clone())), "that was detached".to_owned()))
        }
    })?;
    if !run.keeps_output() {
        return Err(Error::usage(
            format!("what {} printed is not kept: somebody sat at it", run.label()),
            format!("`paas run:detached {name} ...` keeps it"),
        ));
    }
    if run.state != RunState::Ended
        && let Some(written) = from_engine(context, &run, follow, &mut out).await?
    {
        return written;
    }
    let path = instance.settings.paths.run_log(name, run.id);
    // It may end in this moment, and its file be written in the next.
    let Some(mut file) = files::open_optional(&path)? else { return Ok(()) };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(Error::io(format!("read {}", path.display())))?;
    String::from_utf8_lossy(&bytes).lines().try_for_each(|line| out(Some(line)))
}

/// Gives what a run prints to `out` as long as the engine has its container; none where it has not.
async fn from_engine(
    context: &Context<'_>,
    run: &Run,
    follow: bool,
    out: &mut impl FnMut(Option<&str>) -> Result<()>,
) -> Result<Option<Result<()>>> {
    let engine = Engine::connect(&context.instance.settings).await?;
    let Ok(secrets) = deploy::secrets_of_run(context.instance, &engine, run).await else { return Ok(None) };
    let mut stream = MaskedStream::new(secrets);
    let mut lines = std::pin::pin!(engine.logs(&run.container, None, follow));
    let mut look = tokio::time::interval(STOP_POLL);
    let mut is_first = true;
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            // Somebody who went away is noticed though the program is silent.
            _ = look.tick() => {
                out(None)?;
                continue;
            }
        };
        match line {
            Some(Ok(line)) => {
                is_first = false;
                let text = stream.line(&line.text, line.is_ended);
                out(Some(&text))?;
            }
            // It was put away before anything was read.
            Some(Err(_)) if is_first => return Ok(None),
            Some(Err(_)) | None => break,
        }
    }
    let rest = stream.line("", true);
    Ok(Some(if rest.is_empty() { Ok(()) } else { out(Some(&rest)) }))
}

/// Whether a program that is run now may have a terminal.
pub fn may_have_terminal() -> bool {
    streams::is_interactive()
}
