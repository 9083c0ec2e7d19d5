use clap::Args;

use super::{
    Output, Reporter, Setter, apply_edit,
    properties::{self, Subject},
};
use crate::{
    Error, Result,
    deploy::Edit,
    instance::Instance,
    model::{AppName, CheckMode, DeploymentKind, Noun, Probe, ProcessType, PropertyChange, Scope, property},
    ops,
    ui::Format,
};

/// Set how an app's containers are checked
///
/// `paas checks:set blog path=/health timeout=2m`, or `checks:set blog path /health`; a name alone, or `path=`, goes back
/// to what the source says, or to the default. Where the app runs, its containers are checked in the new way at once; if
/// they do not pass, nothing has changed. Other settings than checks are those of `ps:set`.
#[derive(Debug, Args)]
#[command(after_help = ops::properties::help(Noun::Checks))]
pub(super) struct Set {
    #[command(flatten)]
    setter: Setter,
    /// The process type [default: web]
    #[arg(short, long, value_name = "TYPE")]
    process: Option<ProcessType>,
}

impl Set {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        self.setter.run(instance, Noun::Checks, self.process).await
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
        let change = PropertyChange {
            scope: Scope::Process(self.process.clone()),
            property: &property::CHECK_MODE,
            value: Some(mode.as_str().to_owned()),
        };
        let edit = Edit {
            kind: DeploymentKind::Settings,
            reason: format!("checks of {} {}", self.process, mode.as_str()),
            config: Vec::new(),
            properties: vec![change],
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

/// Show how an app's containers are checked, and what is set about it
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    reporter: Reporter,
}

impl Report {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let ui = self.reporter.output.ui();
        let global = self.reporter.global;
        let Subject { app, key } = self.reporter.subject()?;
        let lines = ops::properties::report(instance, Noun::Checks, app.as_ref(), key.as_deref())?;
        let app = match app {
            Some(app) if key.is_none() => app,
            None if !global => {
                return Err(Error::Usage {
                    message: "the report is of an app, or with --global of all".to_owned(),
                    hint: "`paas apps:list` lists the apps".to_owned(),
                });
            }
            _ => return properties::show(ui, &lines),
        };
        let report = ops::checks::report(instance, &app, lines)?;
        if ui.format == Format::Json {
            return ui.json(&report);
        }
        let rows: Vec<[String; 6]> = report
            .processes
            .iter()
            .map(|record| {
                let healthy = record.containers.iter().filter(|container| container.healthy).count();
                [
                    record.process.to_string(),
                    record.check.mode.as_str().to_owned(),
                    describe(&record.check.probe, record.web_port),
                    format!("{} s", record.check.timeout_seconds),
                    format!("every {} s, {} times", record.check.interval_seconds, record.check.attempts),
                    format!("{healthy} of {}", record.containers.len()),
                ]
            })
            .collect();
        ui.table(["PROCESS", "MODE", "CHECK", "TIMEOUT", "WHILE SERVING", "HEALTHY"], &rows, &report.processes)?;
        if rows.is_empty() {
            return properties::show(ui, &report.properties);
        }
        properties::show_below(ui, &report.properties)
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
            return Err(Error::ChecksFailed { failed, total: results.len() });
        }
        Ok(())
    }
}
