use super::{Advice, Kind};
use crate::model::{AppName, DeployId, EnvKey, ProcessType, ReleaseVersion, Stop};

/// What the engine's init prints where an environment is larger than the kernel takes (execve(2), E2BIG).
const TOO_LONG: &str = "argument list too long";

/// The likely cause of a failed build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LikelyCause {
    /// What happened.
    pub cause: String,
    /// What to do about it.
    pub hint: String,
}

/// Why a deploy, or another action on a running app, did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The image build failed in one of the user's own steps.
    #[error("build failed: {message}{}", likely.as_ref().map(|it| format!(": {}", it.cause)).unwrap_or_default())]
    Build {
        /// The last error of the builder.
        message: String,
        /// Whether the step was killed, as it is if the machine runs out of memory.
        is_killed: bool,
        /// The likely cause, if the output shows it.
        likely: Option<LikelyCause>,
    },
    /// A container ended while it was being checked.
    #[error("{container} exited with code {code}, {after} after it started")]
    AppExited {
        /// Process and index, e.g. `web.1`.
        container: String,
        /// The container's exit code.
        code: i64,
        /// How long it lived, e.g. `0.2 s`.
        after: String,
        /// Its last log lines.
        output: String,
    },
    /// The release command failed.
    #[error("the release command exited with code {code}")]
    ReleaseCommand {
        /// Its exit code.
        code: i64,
    },
    /// A script of app.json failed.
    #[error("{name} of app.json exited with code {code}")]
    Script {
        /// Its key: `scripts.dokku.predeploy`.
        name: String,
        /// Its exit code.
        code: i64,
    },
    /// Variables that app.json requires have no value.
    #[error("app.json requires variables that have no value: {}", names(missing))]
    VariablesMissing {
        /// The app.
        app: AppName,
        /// Their names, each with what it is for.
        missing: Vec<(EnvKey, Option<String>)>,
    },
    /// Something failed, and a script in the repository is the likely cause.
    #[error("{failure}: {}", likely.cause)]
    Explained {
        /// What failed.
        failure: Box<DeployError>,
        /// Why, and what to do about it.
        likely: LikelyCause,
    },
    /// A container that never became healthy.
    #[error(transparent)]
    NeverHealthy(Box<NeverHealthy>),
    /// Another action holds the app.
    #[error("{app} is busy: {holder}")]
    Busy {
        /// The app.
        app: AppName,
        /// Who holds it, for what, since when.
        holder: String,
    },
    /// What was asked for was meant for what is no more.
    #[error("{app} was changed meanwhile: {what}")]
    ChangedMeanwhile {
        /// The app.
        app: AppName,
        /// What was seen then, and what is so now.
        what: String,
    },
    /// What is set for all apps is no more what somebody edited.
    #[error("the config of all apps was changed meanwhile")]
    GlobalConfigChanged,
    /// Somebody locked the app with `apps:lock`.
    #[error("{app} is locked by {by}")]
    AppLocked {
        /// The app.
        app: AppName,
        /// Who locked it, when and why.
        by: String,
    },
    /// Somebody canceled it, or a newer push took its place.
    #[error("{0}")]
    Stopped(Stop),
    /// The process that ran it died.
    #[error("the deploy was interrupted: the process that ran it died")]
    Died,
    /// A release that cannot be rolled back to.
    #[error("cannot roll {app} back to {version}: {reason}")]
    NoWayBack {
        /// The app.
        app: AppName,
        /// The release.
        version: ReleaseVersion,
        /// Why.
        reason: String,
    },
    /// There is no release before the one that serves.
    #[error("{app} has no release to roll back to")]
    NoFormerRelease {
        /// The app.
        app: AppName,
    },
    /// The app does not run.
    #[error("{app} does not run")]
    NotRunning {
        /// The app.
        app: AppName,
    },
    /// A check of a running app failed.
    #[error("{failed} of {total} checks failed")]
    ChecksFailed {
        /// How many failed.
        failed: usize,
        /// How many there were.
        total: usize,
    },
    /// A deploy that is over, or past the point of no return, cannot be canceled.
    #[error("deploy {id} cannot be canceled: its state is {state}")]
    NotCancelable {
        /// The deploy.
        id: DeployId,
        /// The state it is in.
        state: String,
    },
    /// An operation in a process of its own did not start.
    #[error("it did not start: {reason}")]
    NotStarted {
        /// What that process said.
        reason: String,
    },
    /// The app was never deployed.
    #[error("{app} was never deployed")]
    NeverDeployed {
        /// The app.
        app: AppName,
    },
    /// As many programs run as may at a time.
    #[error("{running} runs are at work, and {most} are the most")]
    TooManyRuns {
        /// How many are at work.
        running: u64,
        /// How many may be.
        most: u64,
    },
    /// A run whose exit code nobody knows.
    #[error("{run} {why}")]
    RunLost {
        /// The run.
        run: String,
        /// What became of it.
        why: &'static str,
    },
    /// No app was ever deployed.
    #[error("nothing was deployed yet")]
    NothingDeployed,
}

fn names(variables: &[(EnvKey, Option<String>)]) -> String {
    variables.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// A container that never became healthy.
#[derive(Debug, thiserror::Error)]
#[error("{container} did not become healthy within {timeout}: {reason}")]
pub struct NeverHealthy {
    /// Process and index, e.g. `web.1`.
    pub container: String,
    /// How long was waited.
    pub timeout: String,
    /// The last answer or error.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
    /// Its last log lines.
    pub output: String,
}

impl DeployError {
    pub(super) fn advice(&self) -> Advice {
        match self {
            DeployError::Build { likely, is_killed, .. } => match likely {
                Some(likely) => Advice::new(Kind::App, &likely.hint),
                None if *is_killed => Advice::new(
                    Kind::App,
                    "the step was killed, probably because it ran out of memory: `paas report` shows how much memory \
                     the machine has, and how much builds may use (build_memory_mb)",
                ),
                None => {
                    Advice::new(Kind::App, "the lines above come from the builder; fix the failed step and push again")
                }
            }
            .short("build failed"),
            DeployError::AppExited { code: 126 | 127, .. } => Advice::new(
                Kind::App,
                "the command is not in the image, or may not be run: see CMD in the Dockerfile, or the Procfile",
            )
            .short("the app exited"),
            DeployError::AppExited { output, .. } if output.contains(TOO_LONG) => Advice::new(
                Kind::App,
                "its variables and its command are together more than a process can take on this machine: \
                 `paas config:show APP` lists the variables",
            )
            .short("the app exited"),
            DeployError::AppExited { container, .. } => {
                let stay = "the process must stay in the foreground; run the same command on your machine, fix it and \
                            push again";
                let hint = match container.rsplit_once('.') {
                    Some((process, _)) if process != ProcessType::WEB => {
                        format!("{stay}; a task that is started by hand is kept out by `paas ps:scale APP {process}=0`")
                    }
                    _ => stay.to_owned(),
                };
                Advice::new(Kind::App, hint).short("the app exited")
            }
            DeployError::ReleaseCommand { .. } => {
                Advice::new(Kind::App, "its output is above; fix it and push again").short("the release command failed")
            }
            DeployError::Script { name, .. } => {
                Advice::new(Kind::App, "its output is above; fix it and push again").short(format!("{name} failed"))
            }
            DeployError::VariablesMissing { app, missing } => {
                let pairs: Vec<String> = missing.iter().map(|(name, _)| format!("{name}=VALUE")).collect();
                Advice::new(Kind::App, format!("`paas config:set {app} {}`, then push again", pairs.join(" ")))
                    .short("variables are missing")
            }
            DeployError::Explained { failure, likely } => {
                let short = failure.advice().short.unwrap_or_else(|| failure.to_string().into());
                Advice::new(Kind::App, &likely.hint).short(short)
            }
            DeployError::NeverHealthy(it) => Advice::new(Kind::App, &it.hint).short("the app is not healthy"),
            DeployError::Busy { app, .. } => Advice::new(
                Kind::Busy,
                format!("`paas deploys:list {app}` shows it; `paas deploys:cancel {app}` stops it; or try again later"),
            )
            .short("the app is busy"),
            DeployError::ChangedMeanwhile { app, .. } => Advice::new(
                Kind::Busy,
                format!(
                    "this command changed nothing: `paas releases:list {app}` shows what was done, and by whom; type it \
                     again if you still mean it"
                ),
            ),
            DeployError::GlobalConfigChanged => {
                Advice::new(Kind::Busy, "this command changed nothing: type it again to edit what is set now")
            }
            DeployError::AppLocked { app, .. } => {
                Advice::new(Kind::Busy, format!("`paas apps:unlock {app}` unlocks it, if it is yours to unlock"))
                    .short("the app is locked")
            }
            DeployError::Stopped(Stop::Canceled(_)) => {
                Advice::new(Kind::Interrupted, "push again to deploy").short("canceled")
            }
            DeployError::Stopped(Stop::Superseded(id)) => {
                Advice::new(Kind::Conflict, format!("`paas deploys:follow {id}` shows that one"))
                    .short(format!("superseded by deploy {id}"))
            }
            DeployError::Died => Advice::new(Kind::Interrupted, "push again"),
            DeployError::NoWayBack { app, .. } => Advice::new(
                Kind::Conflict,
                format!("`paas releases:list {app}` shows the releases, and which can be rolled back to"),
            ),
            DeployError::NoFormerRelease { app } => {
                Advice::new(Kind::NotFound, format!("`paas releases:list {app}` lists its releases"))
            }
            DeployError::NotRunning { app } => Advice::new(Kind::Conflict, format!("`paas ps:start {app}` starts it")),
            DeployError::ChecksFailed { .. } => Advice::new(
                Kind::App,
                "`paas checks:report APP` shows what is checked, `paas logs APP` what the app printed",
            ),
            DeployError::NotCancelable { id, .. } => {
                Advice::new(Kind::Conflict, format!("`paas deploys:info {id}` shows it"))
            }
            DeployError::NotStarted { .. } => {
                Advice::new(Kind::Unavailable, "type the command without --detach to see why")
            }
            DeployError::NeverDeployed { .. } => {
                Advice::new(Kind::NotFound, "`git push paas main` in the app's repository deploys it")
            }
            DeployError::TooManyRuns { .. } => Advice::new(
                Kind::Busy,
                "`paas run:list APP` shows those of an app, and `paas run:stop APP RUN` ends one; \
                 `paas settings:set run_concurrency=NUMBER` allows more",
            ),
            DeployError::RunLost { .. } => {
                Advice::new(Kind::Unavailable, "the machine or Docker may have gone down: run it again")
            }
            DeployError::NothingDeployed => {
                Advice::new(Kind::NotFound, "`git push paas main` in the repository of an app deploys it")
            }
        }
    }

    pub(super) fn with_output(self, f: &dyn Fn(&str) -> String) -> DeployError {
        match self {
            DeployError::Build { message, is_killed, likely } => {
                DeployError::Build { message: f(&message), is_killed, likely }
            }
            DeployError::AppExited { container, code, after, output } => {
                DeployError::AppExited { container, code, after, output: f(&output) }
            }
            DeployError::NeverHealthy(it) => {
                let (reason, output) = (f(&it.reason), f(&it.output));
                DeployError::NeverHealthy(Box::new(NeverHealthy { reason, output, ..*it }))
            }
            DeployError::Explained { failure, likely } => {
                DeployError::Explained { failure: Box::new(failure.with_output(f)), likely }
            }
            other => other,
        }
    }

    pub(super) fn detail(&self) -> Option<String> {
        let output = match self {
            DeployError::AppExited { output, .. } => output,
            DeployError::NeverHealthy(it) => &it.output,
            DeployError::Explained { failure, .. } => return failure.detail(),
            DeployError::VariablesMissing { missing, .. } => {
                let lines = missing.iter().filter_map(|(name, about)| Some(format!("    {name}: {}", about.as_ref()?)));
                return Some(lines.collect::<Vec<_>>().join("\n")).filter(|lines| !lines.is_empty());
            }
            _ => return None,
        };
        let lines: Vec<String> = output.lines().map(|line| format!("    {line}")).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}
