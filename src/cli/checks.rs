use clap::Args;
use serde::Serialize;

use super::{Output, Setter, apply_edit};
use crate::{
    Error, Result,
    deploy::Edit,
    error::DeployError,
    instance::Instance,
    model::{AppName, Check, CheckMode, DeploymentKind, Override, Probe, ProcessType, Setting, SettingGroup},
    ops,
};

/// Set how an app's containers are checked
///
/// `paas checks:set blog path=/health timeout=2m`; an empty value, `path=`, goes back to what the source says, or to the
/// default. Where the app runs, its containers are checked in the new way at once; if they do not pass, nothing has
/// changed. Other settings than checks are those of `ps:set`.
#[derive(Debug, Args)]
#[command(after_help = super::setting_help(SettingGroup::Checks))]
pub(super) struct Set {
    #[command(flatten)]
    setter: Setter,
    /// The process type
    #[arg(short, long, value_name = "TYPE", default_value = ProcessType::WEB)]
    process: ProcessType,
}

impl Set {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        self.setter.run(instance, SettingGroup::Checks, Some(self.process), DeploymentKind::Settings).await
    }
}

/// What [`Skip`], [`Disable`] and [`Enable`] take.
#[derive(Debug, Args)]
struct Mode {
    /// The app
    app: AppName,
    /// The process type
    #[arg(short, long, value_name = "TYPE", default_value = ProcessType::WEB)]
    process: ProcessType,
}

impl Mode {
    async fn set(self, instance: &Instance, mode: CheckMode) -> Result<()> {
        let (process, setting) = (Some(self.process.clone()), Setting::CheckMode);
        let edit = Edit {
            kind: DeploymentKind::Settings,
            reason: format!("checks of {} {}", self.process, mode.as_str()),
            config: Vec::new(),
            told: vec![Override { process, setting, value: mode.as_str().to_owned() }],
            untold: Vec::new(),
        };
        apply_edit(instance, &self.app, &edit, true).await
    }
}

/// Check nothing: new containers get their traffic as soon as they run, unproven
///
/// What is deployed may then fail for its users, and one that hangs later is not noticed. `checks:enable` goes back.
#[derive(Debug, Args)]
pub(super) struct Skip {
    #[command(flatten)]
    mode: Mode,
}

impl Skip {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        self.mode.set(instance, CheckMode::Skipped).await
    }
}

/// Stop the old containers before the new ones start, for an app of which two cannot run at once
///
/// Its address does not answer in between. The new containers are still proven, and the old ones started again where
/// they fail. `checks:enable` goes back.
#[derive(Debug, Args)]
pub(super) struct Disable {
    #[command(flatten)]
    mode: Mode,
}

impl Disable {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        self.mode.set(instance, CheckMode::Disabled).await
    }
}

/// Prove new containers healthy before traffic moves to them, as at first
#[derive(Debug, Args)]
pub(super) struct Enable {
    #[command(flatten)]
    mode: Mode,
}

impl Enable {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        self.mode.set(instance, CheckMode::Enabled).await
    }
}

/// Show how an app's containers are checked
#[derive(Debug, Args)]
pub(super) struct Report {
    /// The app
    app: AppName,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Record {
    process: ProcessType,
    #[serde(flatten)]
    check: Check,
    containers: Vec<Standing>,
}

#[derive(Serialize)]
struct Standing {
    container: String,
    healthy: bool,
}

impl Report {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let (release, containers) = instance.read(|tables| {
            let app = tables.app(&self.app)?;
            Ok((tables.current_release(app.id)?, tables.containers_of_app(app.id)?))
        })?;
        let release = release.ok_or_else(|| Error::Deploy(DeployError::NeverDeployed { app: self.app.clone() }))?;
        let records: Vec<Record> = release
            .processes
            .iter()
            .map(|spec| Record {
                process: spec.process.clone(),
                check: spec.run.check.clone(),
                containers: containers
                    .iter()
                    .filter(|container| container.is_live() && container.process == spec.process)
                    .map(|container| Standing { container: container.label(), healthy: container.healthy })
                    .collect(),
            })
            .collect();
        let rows: Vec<[String; 6]> = records
            .iter()
            .map(|record| {
                let healthy = record.containers.iter().filter(|standing| standing.healthy).count();
                [
                    record.process.to_string(),
                    record.check.mode.as_str().to_owned(),
                    describe(&record.check.probe, release.port),
                    format!("{} s", record.check.timeout_seconds),
                    format!("every {} s, {} times", record.check.interval_seconds, record.check.attempts),
                    format!("{healthy} of {}", record.containers.len()),
                ]
            })
            .collect();
        self.output.ui().table(["PROCESS", "MODE", "CHECK", "TIMEOUT", "LATER", "HEALTHY"], &rows, &records)
    }
}

/// What is asked, in words.
fn describe(probe: &Probe, web_port: u16) -> String {
    match probe {
        Probe::Http(question) => {
            let port = question.port.unwrap_or(web_port);
            let expected = match (question.status, &question.path) {
                (Some(status), _) => status.to_string(),
                (None, Some(_)) => "2xx".to_owned(),
                (None, None) => "below 500".to_owned(),
            };
            let text = question.text.as_ref().map(|text| format!(" with {text:?}")).unwrap_or_default();
            format!("GET {} on port {port}: {expected}{text}", question.path())
        }
        Probe::Tcp { port } => format!("port {} takes connections", port.unwrap_or(web_port)),
        Probe::Command(line) => format!("command: {line}"),
        Probe::Up => "stays up".to_owned(),
    }
}

/// Check an app's containers now
///
/// Exits with 1 where one of them does not pass. Nothing is done to them.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The app
    app: AppName,
    /// Only the containers of this process type
    #[arg(short, long, value_name = "TYPE")]
    process: Option<ProcessType>,
    #[command(flatten)]
    output: Output,
}

impl Run {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let results = ops::checks::run(instance, &self.app, self.process.as_ref()).await?;
        let rows: Vec<[String; 3]> = results
            .iter()
            .map(|result| {
                let verdict = if result.passed { "passed" } else { "failed" };
                [result.container.clone(), verdict.to_owned(), result.said.clone()]
            })
            .collect();
        self.output.ui().table(["CONTAINER", "CHECK", "SAID"], &rows, &results)?;
        let failed = results.iter().filter(|result| !result.passed).count();
        if failed > 0 {
            return Err(Error::Deploy(DeployError::ChecksFailed { failed, total: results.len() }));
        }
        Ok(())
    }
}
