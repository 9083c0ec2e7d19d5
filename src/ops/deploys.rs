//! Deployments: look up, watch, cancel.

use std::{io::Read, time::Duration};

use serde::Serialize;

use crate::{
    Error, Result, clock,
    context::Context,
    error::DeployError,
    files,
    model::{AppName, Change, DeployId, DeployState, Deployment, Phase, Subject},
    ui::{Show, Text, or_dash},
};

/// How often a follower looks for more.
const FOLLOW_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often, and how many times, a canceled deploy is looked at until it has ended.
const CANCEL_POLLS: u32 = 300;

/// A deploy, in short.
#[derive(Clone, Debug, Serialize)]
pub struct DeploySummary {
    /// Its number.
    pub deploy: DeployId,
    /// Its app.
    pub app: AppName,
    /// Why it was made.
    pub kind: &'static str,
    /// Where it stands.
    pub state: DeployState,
    /// The branch pushed.
    pub branch: Option<String>,
    /// The commit it deploys.
    pub commit: Option<String>,
    /// The number of the release it cut.
    pub release: Option<u32>,
    /// Who asked for it.
    pub actor: String,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for, in RFC 3339.
    pub created_at: String,
    /// How long it took until it was live or over.
    pub took_seconds: Option<f64>,
    #[serde(skip)]
    created: i64,
}

impl DeploySummary {
    fn of(app: &AppName, deployment: &Deployment) -> DeploySummary {
        DeploySummary {
            deploy: deployment.id,
            app: app.clone(),
            kind: deployment.kind.as_str(),
            state: deployment.state,
            branch: deployment.branch.as_ref().map(ToString::to_string),
            commit: deployment.commit.map(|commit| commit.to_string()),
            release: deployment.release.map(|release| release.0),
            actor: deployment.actor.to_string(),
            error: deployment.error.clone(),
            created_at: clock::rfc3339(deployment.created_at),
            took_seconds: deployment.finished_at.map(|end| (end - deployment.created_at) as f64 / 1000.0),
            created: deployment.created_at,
        }
    }

    fn release(&self) -> String {
        or_dash(self.release.map(|release| format!("v{release}")))
    }

    fn source(&self) -> String {
        let short: String = self.commit.as_deref().unwrap_or("-").chars().take(7).collect();
        self.branch.as_ref().map_or_else(|| self.kind.to_owned(), |branch| format!("{branch} {short}"))
    }

    fn took(&self) -> String {
        or_dash(self.took_seconds.map(|seconds| format!("{seconds:.1} s")))
    }
}

/// A list of deploys.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct DeployList(pub Vec<DeploySummary>);

impl Show for DeployList {
    fn text(&self) -> Text {
        Text::table(
            ["ID", "STATE", "RELEASE", "SOURCE", "BY", "STARTED", "TOOK"],
            self.0.iter().map(|deploy| {
                [
                    deploy.deploy.to_string(),
                    deploy.state.to_string(),
                    deploy.release(),
                    deploy.source(),
                    deploy.actor.clone(),
                    clock::ago(deploy.created),
                    deploy.took(),
                ]
            }),
        )
    }
}

/// An app's newest deploys, newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub fn list(context: &Context<'_>, app: &AppName, limit: u32) -> Result<DeployList> {
    let deployments = context.instance.read(|tables| {
        let app = tables.app(app)?;
        tables.deployments(app.id, limit)
    })?;
    Ok(DeployList(deployments.iter().map(|deployment| DeploySummary::of(app, deployment)).collect()))
}

/// A deploy with the history of its states.
#[derive(Clone, Debug, Serialize)]
pub struct DeployInfo {
    /// The deploy, in short.
    #[serde(flatten)]
    pub deploy: DeploySummary,
    /// Its states, in order.
    pub states: Vec<StateInfo>,
}

/// When a deploy came into a state.
#[derive(Clone, Debug, Serialize)]
pub struct StateInfo {
    /// The state.
    pub state: DeployState,
    /// When, in RFC 3339.
    pub entered_at: String,
    /// How long after the deploy was asked for.
    pub after_seconds: f64,
}

impl Show for DeployInfo {
    fn text(&self) -> Text {
        let deploy = &self.deploy;
        let states = self.states.iter().map(|state| format!("{:<11} +{:.1} s", state.state, state.after_seconds));
        Text::facts(vec![
            ("deploy", deploy.deploy.to_string()),
            ("app", deploy.app.to_string()),
            ("state", deploy.state.to_string()),
            ("release", deploy.release()),
            ("source", deploy.source()),
            ("by", deploy.actor.clone()),
            ("started", deploy.created_at.clone()),
            ("took", deploy.took()),
            ("error", or_dash(deploy.error.as_ref())),
            ("states", states.collect::<Vec<_>>().join("\n")),
        ])
    }
}

/// Looks at a deploy.
///
/// # Errors
/// As [`find`].
pub fn info(context: &Context<'_>, target: Option<&str>) -> Result<DeployInfo> {
    let deployment = find(context, target)?;
    let (app, events) =
        context.instance.read(|tables| Ok((tables.app_by_id(deployment.app_id)?, tables.steps(deployment.id)?)))?;
    let states = events.into_iter().map(|(state, at)| {
        Ok(StateInfo {
            state: state.parse()?,
            entered_at: clock::rfc3339(at),
            after_seconds: (at - deployment.created_at) as f64 / 1000.0,
        })
    });
    Ok(DeployInfo { deploy: DeploySummary::of(&app.name, &deployment), states: states.collect::<Result<_>>()? })
}

/// Finds a deployment by what a user typed: its number, the name of an app whose newest it is, or nothing for the
/// newest that the caller sees.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotFound`], [`DeployError::NeverDeployed`].
pub fn find(context: &Context<'_>, target: Option<&str>) -> Result<Deployment> {
    let Some(target) = target else {
        let newest = context.instance.read(|tables| {
            let apps: Vec<_> = tables.apps()?.into_iter().filter(|app| context.sees(&app.name)).collect();
            tables.newest_deployment(&apps.iter().map(|app| app.id).collect::<Vec<_>>())
        })?;
        return newest.ok_or_else(|| DeployError::NothingDeployed.into());
    };
    if let Ok(id) = target.parse::<DeployId>() {
        return context.instance.read(|tables| tables.deployment(id));
    }
    let name: AppName = target.parse()?;
    let newest = context.instance.read(|tables| {
        let app = tables.app(&name)?;
        tables.deployments(app.id, 1)
    })?;
    newest.into_iter().next().ok_or_else(|| DeployError::NeverDeployed { app: name }.into())
}

/// Gives the log of a deployment to `out`, in pieces; with `follow`, until the deployment is live or over.
///
/// # Errors
/// As [`find`]; [`Error::Host`], and what `out` returns.
pub async fn output(
    context: &Context<'_>,
    target: Option<&str>,
    follow: bool,
    out: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let deployment = find(context, target)?;
    let instance = context.instance;
    let app = instance.read(|tables| tables.app_by_id(deployment.app_id))?;
    let path = instance.settings.paths.deploy_log(&app.name, deployment.id);
    // Its state before its text: what was written before it ended is then read before this ends.
    // The last lines, with the address, come between the switch and the drain.
    let running = || Ok(instance.read(|tables| tables.deployment(deployment.id))?.state < DeployState::Draining);
    print_file(&path, follow, running, out).await
}

/// Gives a log to `out`, in pieces; with `follow`, for as long as what writes it is `running`. No log is an empty one.
///
/// # Errors
/// [`Error::Host`], and what `running` and `out` return.
pub(super) async fn print_file(
    path: &std::path::Path,
    follow: bool,
    running: impl Fn() -> Result<bool>,
    mut out: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let action = || format!("read the log {}", path.display());
    let Some(mut file) = files::open_optional(path)? else { return Ok(()) };
    loop {
        let running = running()?;
        let mut buffer = Vec::new();
        file.read_to_end(&mut buffer).map_err(Error::io(action()))?;
        if !buffer.is_empty() {
            out(&buffer)?;
        }
        if !follow || !running {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_POLL_INTERVAL).await;
    }
}

/// What a cancel came to.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Canceled(pub DeploySummary);

impl Show for Canceled {
    fn text(&self) -> Text {
        Text::Nothing
    }
}

/// Asks a deployment to stop, and waits until it has.
///
/// # Errors
/// As [`find`]; [`DeployError::NotCancelable`].
pub async fn cancel(context: &Context<'_>, target: &str) -> Result<Canceled> {
    let deployment = find(context, Some(target))?;
    let instance = context.instance;
    let app = instance.read(|tables| tables.app_by_id(deployment.app_id))?;
    let change =
        Change::new("deploys:cancel", Subject::App(app.name.clone())).with(format!("deploy {}", deployment.id));
    context.change(&change, |tables| tables.cancel_operation(deployment.id, context.actor()))?;
    // The process that runs it needs a moment; one that died is recovered by the daemon or the next deploy.
    for _ in 0..CANCEL_POLLS {
        let now = instance.read(|tables| tables.deployment(deployment.id))?;
        if now.state.phase() == Phase::Ended {
            return Ok(Canceled(DeploySummary::of(&app.name, &now)));
        }
        tokio::time::sleep(FOLLOW_POLL_INTERVAL).await;
    }
    let now = instance.read(|tables| tables.deployment(deployment.id))?;
    Ok(Canceled(DeploySummary::of(&app.name, &now)))
}
