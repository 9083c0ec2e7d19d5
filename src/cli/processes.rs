use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use super::{Output, Reporter, Setter, properties};
use crate::{
    Error, Result, clock, deploy,
    instance::Instance,
    model::{AppName, Noun, ProcessType},
    ops,
    ui::{DeployLog, Format, Ui},
};

/// Stop an app
///
/// Its address answers 503 with a page that says so, until `ps:start` or the next deploy.
#[derive(Debug, Args)]
pub(super) struct Stop {
    /// The app
    app: AppName,
}

impl Stop {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let ui = Ui::default();
        ops::processes::stop(instance, &self.app, |holder| ui.talk(&format!("waiting for {holder}"))).await?;
        ui.talk(&format!("{} is stopped; `paas ps:start {}` starts it again", self.app, self.app));
        Ok(())
    }
}

/// Start a stopped app
///
/// One that runs already is left alone; `ps:restart` restarts it.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// The app
    app: AppName,
}

impl Start {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let app = instance.read(|tables| tables.app(&self.app))?;
        deploy::refuse_frozen(&app)?;
        if app.is_running() {
            Ui::default().talk(&format!("{0} runs already; `paas ps:restart {0}` restarts it", self.app));
            return Ok(());
        }
        deploy::restart(instance, &self.app, None, &DeployLog::to_stderr()).await.map(drop)
    }
}

/// Restart an app without losing a request
///
/// New containers are started and proven healthy before the old ones go. Config and settings that were changed with
/// --no-restart are taken up.
#[derive(Debug, Args)]
pub(super) struct Restart {
    /// The app
    app: AppName,
    /// Only the containers of this process type
    process: Option<ProcessType>,
}

impl Restart {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        deploy::restart(instance, &self.app, self.process.as_ref(), &DeployLog::to_stderr()).await.map(drop)
    }
}

/// Build the commit that serves once more, and deploy it
///
/// For a base image that was updated, or a build that reads something from outside.
#[derive(Debug, Args)]
pub(super) struct Rebuild {
    /// The app
    app: AppName,
}

impl Rebuild {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        deploy::rebuild(instance, &self.app, &DeployLog::to_stderr()).await.map(drop)
    }
}

/// A process type and how many containers it shall have, as typed: `web=2`.
#[derive(Clone, Debug)]
struct Quantity {
    process: ProcessType,
    quantity: u32,
}

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Quantity> {
        let invalid = || Error::InvalidValue {
            what: "quantity",
            value: text.to_owned(),
            rule: "it is TYPE=NUMBER, such as web=2, with a number from 0 to 100".to_owned(),
        };
        let (process, quantity) = text.split_once('=').ok_or_else(invalid)?;
        let quantity = quantity.parse().ok().filter(|quantity| *quantity <= 100).ok_or_else(invalid)?;
        Ok(Quantity { process: process.parse()?, quantity })
    }
}

/// Set how many containers each process type has, or show it
///
/// More containers are proven healthy before they get requests; those that are too many finish what they are at. The
/// other containers are left alone. The numbers hold for all later deploys.
#[derive(Debug, Args)]
pub(super) struct Scale {
    /// The app
    app: AppName,
    /// Process types and their numbers of containers; nothing shows them
    #[arg(value_name = "TYPE=NUMBER")]
    quantities: Vec<Quantity>,
    /// Only note the numbers: the next deploy or restart takes them up
    #[arg(long)]
    no_restart: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct QuantityRecord {
    process: ProcessType,
    quantity: u32,
}

impl Scale {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let app = instance.read(|tables| tables.app(&self.app))?;
        let now = ops::processes::formation(instance, &app)?;
        if self.quantities.is_empty() {
            let rows: Vec<[String; 2]> =
                now.iter().map(|(process, quantity)| [process.to_string(), quantity.to_string()]).collect();
            let records: Vec<QuantityRecord> =
                now.into_iter().map(|(process, quantity)| QuantityRecord { process, quantity }).collect();
            return self.output.ui().table(["PROCESS", "QUANTITY"], &rows, &records);
        }
        let mut wanted: Vec<(ProcessType, u32)> = Vec::new();
        for Quantity { process, quantity } in self.quantities {
            if wanted.iter().any(|(known, _)| *known == process) {
                return Err(Error::Usage {
                    message: format!("{process} is there twice"),
                    hint: "give each process type one number".to_owned(),
                });
            }
            wanted.push((process, quantity));
        }
        if wanted.iter().all(|entry| now.contains(entry)) {
            deploy::refuse_frozen(&app)?;
            Ui::default().talk("nothing to change: that is how it is scaled already");
            return Ok(());
        }
        let log = DeployLog::to_stderr();
        if app.is_running() && !self.no_restart {
            return deploy::scale(instance, &self.app, &wanted, &log).await.map(drop);
        }
        let waiting = |holder: &str| log.step(&format!("Waiting for {holder}"));
        ops::processes::scale_for_later(instance, &self.app, &wanted, waiting).await?;
        Ui::default().talk("saved; the next deploy or restart takes it up");
        Ok(())
    }
}

/// Set how processes are run: limits, stop timeout, restart policy
///
/// `paas ps:set blog memory=512m stop-timeout=60s`, or `ps:set blog memory 512m`; a name alone, or `memory=`, goes back to
/// what the source says, or to the default. Where the app runs, what changed is restarted without losing a request, as a
/// new release; if that does not become healthy, nothing has changed.
#[derive(Debug, Args)]
#[command(after_help = ops::properties::help(Noun::Ps))]
pub(super) struct Set {
    #[command(flatten)]
    setter: Setter,
    /// Only for this process type, instead of for all
    #[arg(short, long, value_name = "TYPE")]
    process: Option<ProcessType>,
}

impl Set {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        self.setter.run(instance, Noun::Ps, self.process).await
    }
}

/// Show an app's processes: how each container is, how each type is run, and what is set
///
/// Without an app: a line for each container of all apps.
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    reporter: Reporter,
}

#[derive(Serialize)]
struct Record {
    app: AppName,
    release: Option<u32>,
    running: bool,
    locked: Option<String>,
    processes: Vec<TypeRecord>,
    containers: Vec<ContainerRecord>,
    properties: Vec<ops::properties::Line>,
}

#[derive(Serialize)]
struct TypeRecord {
    process: ProcessType,
    quantity: u32,
    command: Option<String>,
    memory: Option<String>,
    cpus: Option<String>,
    restart: String,
    stop_timeout_seconds: u32,
    drain_timeout_seconds: u32,
}

#[derive(Serialize)]
struct ContainerRecord {
    name: String,
    state: String,
    healthy: bool,
    restarts: Option<u32>,
    exit_code: Option<i64>,
    out_of_memory: Option<bool>,
    started_at: Option<String>,
    address: String,
}

impl Record {
    fn new(report: &ops::processes::Report, properties: Vec<ops::properties::Line>) -> Record {
        let specs = report.release.iter().flat_map(|release| &release.processes);
        let quantity_of = |process: &ProcessType| {
            let entry = report.formation.iter().find(|(known, _)| known == process);
            entry.map_or(0, |(_, quantity)| *quantity)
        };
        Record {
            app: report.app.name.clone(),
            release: report.app.current_release.map(|release| release.0),
            running: report.app.is_running(),
            locked: report.app.freeze.as_ref().map(|freeze| freeze.message.clone().unwrap_or_default()),
            processes: specs
                .map(|spec| TypeRecord {
                    process: spec.process.clone(),
                    quantity: quantity_of(&spec.process),
                    command: spec.command.clone(),
                    memory: spec.run.memory_mib.map(|mebibytes| format!("{mebibytes}m")),
                    cpus: spec.run.cpu_millis.map(|millis| (f64::from(millis) / 1000.0).to_string()),
                    restart: spec.run.restart.to_string(),
                    stop_timeout_seconds: spec.run.stop_timeout_seconds,
                    drain_timeout_seconds: spec.run.drain_timeout_seconds,
                })
                .collect(),
            containers: report
                .containers
                .iter()
                .map(|(container, running)| ContainerRecord {
                    name: container.label(),
                    state: ops::processes::state_of(container, running.as_ref()),
                    healthy: container.healthy,
                    restarts: running.as_ref().map(|running| running.restarts),
                    exit_code: running.as_ref().filter(|running| !running.is_running).map(|running| running.exit_code),
                    out_of_memory: running.as_ref().map(|running| running.out_of_memory),
                    started_at: running.as_ref().and_then(|running| running.started_at).map(clock::rfc3339),
                    address: container.address.to_string(),
                })
                .collect(),
            properties,
        }
    }

    fn facts(&self, report: &ops::processes::Report) -> Vec<(&'static str, String)> {
        let or_dash = |lines: Vec<String>| if lines.is_empty() { "-".to_owned() } else { lines.join("\n") };
        let containers = self.containers.iter().map(|container| {
            let up = report.containers.iter().find(|(known, _)| known.label() == container.name);
            let since = up.and_then(|(_, running)| running.as_ref()?.started_at);
            let since = since.map(|at| format!(", started {}", clock::ago(at))).unwrap_or_default();
            let memory = if container.out_of_memory == Some(true) {
                ", killed for its use of memory"
            } else {
                Default::default()
            };
            format!("{}: {}{memory}{since}", container.name, container.state)
        });
        let types = self.processes.iter().map(|spec| {
            let mut words = vec![format!("{}={}", spec.process, spec.quantity)];
            words.extend(spec.memory.iter().map(|memory| format!("memory {memory}")));
            words.extend(spec.cpus.iter().map(|cpus| format!("cpus {cpus}")));
            words.push(format!("restart {}", spec.restart));
            words.push(format!("stop timeout {} s", spec.stop_timeout_seconds));
            words.join(", ")
        });
        let state = match (&report.app.freeze, self.running) {
            (Some(freeze), _) => format!("{}, locked by {}", report.app.state.as_str(), freeze.actor),
            (None, _) => report.app.state.as_str().to_owned(),
        };
        vec![
            ("app", self.app.to_string()),
            ("state", state),
            ("release", report.app.current_release.map_or_else(|| "-".to_owned(), |release| release.to_string())),
            ("processes", or_dash(types.collect())),
            ("containers", or_dash(containers.collect())),
        ]
    }
}

impl Report {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let ui = self.reporter.output.ui();
        if self.reporter.global {
            return self.reporter.run(instance, Noun::Ps);
        }
        let subject = self.reporter.subject()?;
        if let Some(app) = &subject.app {
            let lines = ops::properties::report(instance, Noun::Ps, Some(app), subject.key.as_deref())?;
            if subject.key.is_some() {
                return properties::show(ui, &lines);
            }
            let report = ops::processes::report(instance, app).await?;
            let record = Record::new(&report, lines);
            ui.facts(&record.facts(&report), &record)?;
            return if ui.format == Format::Text { properties::show_below(ui, &record.properties) } else { Ok(()) };
        }
        let records = ops::processes::report_all(instance).await?;
        let rows: Vec<[String; 5]> = records
            .iter()
            .map(|line| {
                [
                    line.app.to_string(),
                    line.state.to_owned(),
                    line.release.map_or_else(|| "-".to_owned(), |release| release.to_string()),
                    line.container.clone(),
                    line.is.clone(),
                ]
            })
            .collect();
        ui.table(["APP", "STATE", "RELEASE", "CONTAINER", "IS"], &rows, &records)
    }
}
