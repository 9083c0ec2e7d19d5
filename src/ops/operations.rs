//! Operations: all that takes longer than a second is a plain [`Action`] and a row, whoever asks for it and by which
//! door. One runner, one way to look at it, to follow it, to stop it, and to put right what a death leaves.

use std::{process::Stdio, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tracing::warn;

pub use crate::deploy::Action as Change;

use super::{apps, cleanup, deploys, edit::Edited, processes};
use crate::{
    Error, Result, clock,
    context::Context,
    deploy,
    error::{DeployError, Thing},
    exec,
    instance::Instance,
    lock,
    model::{self, AppName, Operation, OperationId, OperationKind, OperationState, Right, Subject},
    settings::{ACTOR_VARIABLE, ADDRESS_VARIABLE},
    store::NewOperation,
    ui::{DeployLog, Show, Text, or_dash},
};

/// How often one that runs looks whether it was canceled, and one that follows looks for more.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How many times a canceled operation is looked at until it has ended.
const CANCEL_POLLS: u32 = 150;

/// What is to be done, as a plain value: a door makes it, and the runner does it, in this process or in another.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// Changes what runs of an app.
    Deploy {
        /// The app.
        app: AppName,
        /// What changes.
        change: Change,
    },
    /// Stops an app.
    Stop {
        /// The app.
        app: AppName,
    },
    /// Removes an app with all that belongs to it.
    Destroy {
        /// The app.
        app: AppName,
    },
    /// Removes what no app needs.
    Cleanup {
        /// Whether the build cache of the whole engine goes too.
        build_cache: bool,
    },
}

/// What an action came to.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Finished {
    /// An app was changed.
    Edited(Edited),
    /// An app is gone.
    Destroyed(apps::Destroyed),
    /// Space was freed.
    Cleaned(cleanup::Cleaned),
}

impl Show for Finished {
    fn text(&self) -> Text {
        match self {
            Finished::Edited(it) => it.text(),
            Finished::Destroyed(it) => it.text(),
            Finished::Cleaned(it) => it.text(),
        }
    }
}

/// Does an action in this process, to its end. What it does goes to `log`.
///
/// # Errors
/// Whatever fails; the operation says so too, for those who look later.
pub async fn run(context: &Context<'_>, action: &Action, log: &DeployLog) -> Result<Finished> {
    match action {
        Action::Deploy { app, change } => {
            let deployed = deploy::run(context, app, change, log).await?;
            Ok(Finished::Edited(Edited::deployed(app, &deployed)))
        }
        Action::Stop { app } => {
            let found = context.instance.read(|tables| tables.app(app))?;
            processes::check_stop(&found)?;
            let active = Active::open(context, OperationKind::Stop, "ps:stop", Some(&found.name), log)?;
            active.run(processes::stop(&active, app)).await.map(Finished::Edited)
        }
        Action::Destroy { app } => {
            let found = context.instance.read(|tables| tables.app(app))?;
            deploy::refuse_locked(&found)?;
            let active = Active::open(context, OperationKind::Destroy, "apps:destroy", Some(&found.name), log)?;
            active.run(apps::destroy(&active, app)).await.map(Finished::Destroyed)
        }
        Action::Cleanup { build_cache } => {
            let open = || Active::open(context, OperationKind::Cleanup, "cleanup", None, log);
            let (active, room) = match open() {
                // On a full disk there is not even room for the row.
                Err(error) if error.is_full_disk() => {
                    let room = cleanup::make_room(context.instance, *build_cache, |_| Ok(())).await?;
                    (open()?, Some(room))
                }
                opened => (opened?, None),
            };
            active.run(cleanup::run(&active, *build_cache, room)).await.map(Finished::Cleaned)
        }
    }
}

/// An operation that is no deployment and runs in this process. It holds the claim on its number, so that others know
/// it from one whose process died.
pub(super) struct Active<'a> {
    pub context: &'a Context<'a>,
    pub log: &'a DeployLog,
    id: OperationId,
    _claim: lock::Lock,
}

impl<'a> Active<'a> {
    fn open(
        context: &'a Context<'a>,
        kind: OperationKind,
        action: &str,
        app: Option<&AppName>,
        log: &'a DeployLog,
    ) -> Result<Active<'a>> {
        let paths = &context.instance.settings.paths;
        let subject = app.map_or(Subject::Server, |app| Subject::App(app.clone()));
        // Claimed before anybody can see the row, or a recovery could take it for a dead one's.
        let (id, claim) = context.instance.write(|tables| {
            let app_id = app.map(|app| tables.app(app)).transpose()?.map(|app| app.id);
            let new = NewOperation { kind, action, app_id, subject: &subject, caller: context.caller };
            let id = tables.open_operation(&new)?;
            Ok((id, lock::claim(&paths.deployments_lock(), id.0)?))
        })?;
        log.opened(id);
        let active = Active { context, log, id, _claim: claim };
        match log.open_file(&paths.operation_log(id)) {
            Ok(()) => Ok(active),
            Err(error) => active.end(&Err::<(), _>(error)).and_then(|()| Err(Error::bug("an operation without a log"))),
        }
    }

    /// Moves on to the next step. From the first one on, only what can be undone can be stopped.
    pub fn enter(&self, step: &str) -> Result<()> {
        self.context.instance.write(|tables| tables.enter_step(self.id, step))
    }

    /// Says for whom it waits.
    pub fn waiting(&self, holder: &str) {
        self.log.step(&format!("Waiting for {holder}"));
    }

    /// Does the work, until it is done, or somebody stops it while it can be stopped.
    async fn run<T: Serialize>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let stopped = async {
            loop {
                tokio::time::sleep(POLL_INTERVAL).await;
                // A database that cannot be read now will be read the next time.
                if let Ok(Some(stop)) = self.context.instance.read(|tables| tables.stopped_by(self.id)) {
                    return stop;
                }
            }
        };
        let result = tokio::select! {
            result = work => result,
            stop = stopped => Err(stop.into()),
            () = exec::asked_to_end() => Err(Error::Interrupted),
        };
        self.log.flush();
        self.end(&result)?;
        result
    }

    fn end<T: Serialize>(&self, result: &Result<T>) -> Result<()> {
        let (end, error) = match result {
            Ok(_) => (OperationState::Succeeded, None),
            Err(Error::Interrupted) => (OperationState::Interrupted, Some(Error::Interrupted.to_string())),
            Err(Error::Deploy(DeployError::Stopped(_))) => (OperationState::Canceled, None),
            Err(error) => (OperationState::Failed, Some(error.one_line())),
        };
        let answer = result.as_ref().ok().map(serde_json::to_string).transpose().map_err(Error::bug)?;
        self.context.instance.write(|tables| tables.end_operation(self.id, end, error.as_deref(), answer.as_deref()))
    }
}

/// An operation that was started in a process of its own.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Started {
    /// Its number.
    pub operation: OperationId,
}

impl Show for Started {
    fn text(&self) -> Text {
        Text::Line(self.operation.to_string())
    }
}

/// Does an action in a process of its own, which outlives this one, and returns as soon as its row is there. Secrets go
/// by its standard input.
///
/// # Errors
/// What refuses the action before it has a row; `HostError::ProgramMissing`.
pub async fn start(context: &Context<'_>, action: &Action) -> Result<Started> {
    let mut command = exec::command(exec::own_binary()?);
    command
        .args(["operation", "--door", context.caller.door.as_str()])
        .envs(context.instance.settings.child_environment())
        .env(ACTOR_VARIABLE, context.actor().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(address) = context.caller.address {
        command.env(ADDRESS_VARIABLE, address.to_string());
    }
    let mut child = command.spawn().map_err(|source| exec::missing(&command, source))?;
    let request = serde_json::to_vec(action).map_err(Error::bug)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&request).await.map_err(Error::io("start an operation"))?;
    }
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line).await.map_err(Error::io("start an operation"))?;
    }
    if let Ok(started) = serde_json::from_str::<Started>(&line) {
        // It goes on, and says what becomes of it in its row and its log.
        return Ok(started);
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).await.map_err(Error::io("start an operation"))?;
    }
    drop(child.wait().await);
    Err(DeployError::NotStarted { reason: said.trim().trim_start_matches("error: ").to_owned() }.into())
}

/// Ends the operations whose processes died, but for deployments, which are undone or finished by
/// [`deploy::recover`].
///
/// # Errors
/// [`Error::Store`], [`Error::Host`].
pub async fn recover(instance: &Instance) -> Result<()> {
    let unfinished = instance.reading(|tables| tables.unfinished_operations()).await?;
    let claims = instance.settings.paths.deployments_lock();
    for operation in unfinished.into_iter().filter(|operation| !operation.kind.is_deployment()) {
        if !lock::is_claimed(&claims, operation.id.0)? {
            warn!("operation {} ({}) was interrupted: its process died", operation.id, operation.kind);
            let error = DeployError::Died.to_string();
            let ended = move |tables: &crate::store::Tables<'_>| {
                tables.end_operation(operation.id, OperationState::Interrupted, Some(&error), None)
            };
            instance.writing(ended).await?;
        }
    }
    Ok(())
}

/// An operation, in short.
#[derive(Clone, Debug, Serialize)]
pub struct OperationSummary {
    /// Its number.
    pub operation: OperationId,
    /// What it does.
    pub kind: OperationKind,
    /// The app that it is about; none for the server, and for an app that is gone.
    pub app: Option<AppName>,
    /// What it is about: `app:blog`, `server`.
    pub subject: String,
    /// Where it stands.
    pub state: OperationState,
    /// What it is at, if it runs.
    pub step: Option<String>,
    /// Who asked for it.
    pub actor: String,
    /// By which door.
    pub door: &'static str,
    /// From where, if the door is one of the network's.
    pub address: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for, in RFC 3339.
    pub created_at: String,
    /// How long it took.
    pub took_seconds: Option<f64>,
    #[serde(skip)]
    created: i64,
}

impl OperationSummary {
    fn of(operation: &Operation) -> OperationSummary {
        OperationSummary {
            operation: operation.id,
            kind: operation.kind,
            app: operation.app.clone(),
            subject: operation.subject.clone(),
            state: operation.state,
            step: operation.step.clone(),
            actor: operation.actor.to_string(),
            door: operation.door.as_str(),
            address: operation.address.map(|address| address.to_string()),
            error: operation.error.clone(),
            created_at: clock::rfc3339(operation.created_at),
            took_seconds: operation.finished_at.map(|end| (end - operation.created_at) as f64 / 1000.0),
            created: operation.created_at,
        }
    }

    fn state_words(&self) -> String {
        self.step.clone().unwrap_or_else(|| self.state.to_string())
    }

    fn took(&self) -> String {
        or_dash(self.took_seconds.map(|seconds| format!("{seconds:.1} s")))
    }
}

/// A list of operations.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct OperationList(pub Vec<OperationSummary>);

impl Show for OperationList {
    fn text(&self) -> Text {
        Text::table(
            ["ID", "KIND", "SUBJECT", "STATE", "BY", "STARTED", "TOOK"],
            self.0.iter().map(|operation| {
                [
                    operation.operation.to_string(),
                    operation.kind.to_string(),
                    operation.subject.clone(),
                    operation.state_words(),
                    operation.actor.clone(),
                    clock::ago(operation.created),
                    operation.took(),
                ]
            }),
        )
    }
}

/// The newest operations that the caller sees, newest first; of one app, or of all.
///
/// # Errors
/// [`Error::NotFound`].
pub fn list(context: &Context<'_>, app: Option<&AppName>, limit: u32) -> Result<OperationList> {
    let operations = context.instance.read(|tables| {
        let app_id = app.map(|app| tables.app(app)).transpose()?.map(|app| app.id);
        tables.operations(app_id, limit)
    })?;
    let seen = operations.iter().filter(|operation| sees(context, operation));
    Ok(OperationList(seen.map(OperationSummary::of).collect()))
}

/// Whether the caller sees an operation: one of an app with the app, all others with the server.
fn sees(context: &Context<'_>, operation: &Operation) -> bool {
    match &operation.app {
        Some(app) => context.sees(app),
        None => context.caller.may(Right::Administer),
    }
}

/// An operation with its steps.
#[derive(Clone, Debug, Serialize)]
pub struct OperationInfo {
    /// The operation, in short.
    #[serde(flatten)]
    pub operation: OperationSummary,
    /// What it came to.
    pub result: Option<serde_json::Value>,
    /// Its steps, in order.
    pub steps: Vec<StepInfo>,
}

/// When an operation came to a step.
#[derive(Clone, Debug, Serialize)]
pub struct StepInfo {
    /// The step.
    pub step: String,
    /// When, in RFC 3339.
    pub entered_at: String,
    /// How long after the operation was asked for.
    pub after_seconds: f64,
}

impl Show for OperationInfo {
    fn text(&self) -> Text {
        let operation = &self.operation;
        let steps = self.steps.iter().map(|step| format!("{:<11} +{:.1} s", step.step, step.after_seconds));
        Text::facts(vec![
            ("operation", operation.operation.to_string()),
            ("kind", operation.kind.to_string()),
            ("subject", operation.subject.clone()),
            ("state", operation.state_words()),
            ("by", operation.actor.clone()),
            ("door", operation.door.to_owned()),
            ("address", or_dash(operation.address.as_ref())),
            ("started", operation.created_at.clone()),
            ("took", operation.took()),
            ("error", or_dash(operation.error.as_ref())),
            ("steps", steps.collect::<Vec<_>>().join("\n")),
        ])
    }
}

/// Looks at an operation.
///
/// # Errors
/// [`Error::NotFound`].
pub fn info(context: &Context<'_>, id: OperationId) -> Result<OperationInfo> {
    let (operation, steps) = context.instance.read(|tables| Ok((tables.operation(id)?, tables.steps(id)?)))?;
    let steps = steps.into_iter().map(|(step, at)| StepInfo {
        step,
        entered_at: clock::rfc3339(at),
        after_seconds: (at - operation.created_at) as f64 / 1000.0,
    });
    let result = operation.result.as_deref().map(serde_json::from_str).transpose().map_err(Error::bug)?;
    Ok(OperationInfo { operation: OperationSummary::of(&operation), result, steps: steps.collect() })
}

/// The app that an operation is about, if it is about one that is there.
///
/// # Errors
/// [`Error::NotFound`].
pub fn app_of(context: &Context<'_>, id: OperationId) -> Result<Option<AppName>> {
    Ok(context.instance.read(|tables| tables.operation(id))?.app)
}

/// Gives the log of an operation to `out`, in pieces; with `follow`, until it is live or over.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Host`], and what `out` returns.
pub async fn output(
    context: &Context<'_>,
    id: OperationId,
    follow: bool,
    out: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let operation = context.instance.read(|tables| tables.operation(id))?;
    if operation.kind.is_deployment() {
        return deploys::output(context, Some(&id.to_string()), follow, out).await;
    }
    let path = context.instance.settings.paths.operation_log(id);
    let running = || Ok(!context.instance.read(|tables| tables.operation(id))?.state.is_end());
    deploys::print_file(&path, follow, running, out).await
}

/// Asks an operation to stop, and waits until it has.
///
/// # Errors
/// [`Error::NotFound`]; `DeployError::NotCancelable`.
pub async fn cancel(context: &Context<'_>, id: OperationId) -> Result<OperationInfo> {
    let operation = context.instance.read(|tables| tables.operation(id))?;
    let subject = operation.app.map_or(Subject::Server, Subject::App);
    let change = model::Change::new("operations:cancel", subject).with(format!("operation {id}"));
    context.change(&change, |tables| tables.cancel_operation(id, context.actor()))?;
    for _ in 0..CANCEL_POLLS {
        if context.instance.read(|tables| tables.operation(id))?.state.is_end() {
            break;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    info(context, id)
}

/// Reads the number of an operation.
///
/// # Errors
/// [`Error::NotFound`] for what is none.
pub fn parse_id(text: &str) -> Result<OperationId> {
    text.parse().map_err(|_| Error::NotFound(Thing::Operation, text.to_owned()))
}
