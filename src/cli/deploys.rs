use clap::Args;
use serde::Serialize;

use crate::{
    Result, clock,
    instance::Instance,
    model::{AppName, DeployId, DeployState, Deployment},
    ops,
    ui::Ui,
};

/// List an app's deploys, newest first
#[derive(Debug, Args)]
pub(super) struct List {
    /// The app
    app: AppName,
    /// How many
    #[arg(short, long, default_value_t = 20, value_name = "COUNT")]
    number: u32,
    #[command(flatten)]
    output: super::Output,
}

#[derive(Serialize)]
struct Record {
    id: DeployId,
    app: AppName,
    kind: &'static str,
    state: DeployState,
    branch: Option<String>,
    commit: Option<String>,
    release: Option<u32>,
    actor: String,
    error: Option<String>,
    created_at: String,
    seconds: Option<f64>,
}

impl Record {
    fn new(app: &AppName, deployment: &Deployment) -> Record {
        Record {
            id: deployment.id,
            app: app.clone(),
            kind: deployment.kind.as_str(),
            state: deployment.state,
            branch: deployment.branch.as_ref().map(ToString::to_string),
            commit: deployment.commit.map(|commit| commit.to_string()),
            release: deployment.release.map(|release| release.0),
            actor: deployment.actor.to_string(),
            error: deployment.error.clone(),
            created_at: clock::rfc3339(deployment.created_at),
            seconds: deployment.finished_at.map(|end| (end - deployment.created_at) as f64 / 1000.0),
        }
    }

    fn release(&self) -> String {
        self.release.map_or_else(|| "-".to_owned(), |release| format!("v{release}"))
    }

    fn source(&self) -> String {
        let short: String = self.commit.as_deref().unwrap_or("-").chars().take(7).collect();
        self.branch.as_ref().map_or_else(|| self.kind.to_owned(), |branch| format!("{branch} {short}"))
    }

    fn took(&self) -> String {
        self.seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
    }
}

impl List {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let deployments = instance.read(|tables| {
            let app = tables.app(&self.app)?;
            tables.deployments(app.id, self.number)
        })?;
        let records: Vec<Record> = deployments.iter().map(|deployment| Record::new(&self.app, deployment)).collect();
        let rows: Vec<[String; 7]> = records
            .iter()
            .zip(&deployments)
            .map(|(record, deployment)| {
                [
                    record.id.to_string(),
                    record.state.to_string(),
                    record.release(),
                    record.source(),
                    record.actor.clone(),
                    clock::ago(deployment.created_at),
                    record.took(),
                ]
            })
            .collect();
        self.output.ui().table(["ID", "STATE", "RELEASE", "SOURCE", "BY", "BEGUN", "TOOK"], &rows, &records)
    }
}

/// Show a deploy: its states with their times, its source, its outcome
#[derive(Debug, Args)]
pub(super) struct Info {
    /// The deploy's number, or an app for its newest; the newest of all where nothing is given
    #[arg(value_name = "ID|APP")]
    target: Option<String>,
    #[command(flatten)]
    output: super::Output,
}

#[derive(Serialize)]
struct InfoRecord {
    #[serde(flatten)]
    record: Record,
    states: Vec<StateRecord>,
}

#[derive(Serialize)]
struct StateRecord {
    state: DeployState,
    at: String,
    seconds_after: f64,
}

impl Info {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let deployment = ops::deploys::find(instance, self.target.as_deref())?;
        let (app, events) = instance
            .read(|tables| Ok((tables.app_by_id(deployment.app_id)?, tables.deployment_events(deployment.id)?)))?;
        let record = Record::new(&app.name, &deployment);
        let states: Vec<StateRecord> = events
            .into_iter()
            .map(|(state, at)| StateRecord {
                state,
                at: clock::rfc3339(at),
                seconds_after: (at - deployment.created_at) as f64 / 1000.0,
            })
            .collect();
        let lines: Vec<String> =
            states.iter().map(|state| format!("{:<11} +{:.1} s", state.state, state.seconds_after)).collect();
        let facts = [
            ("deploy", record.id.to_string()),
            ("app", app.name.to_string()),
            ("state", record.state.to_string()),
            ("release", record.release()),
            ("source", record.source()),
            ("by", record.actor.clone()),
            ("begun", record.created_at.clone()),
            ("took", record.took()),
            ("error", record.error.clone().unwrap_or_else(|| "-".to_owned())),
            ("states", lines.join("\n")),
        ];
        self.output.ui().facts(&facts, &InfoRecord { record, states })
    }
}

/// Print the log of a deploy
#[derive(Debug, Args)]
pub(super) struct Output {
    /// The deploy's number, or an app for its newest; the newest of all where nothing is given
    #[arg(value_name = "ID|APP")]
    target: Option<String>,
    /// Go on until the deploy is live or over
    #[arg(short, long)]
    follow: bool,
}

impl Output {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let deployment = ops::deploys::find(instance, self.target.as_deref())?;
        ops::deploys::output(instance, &deployment, self.follow, |bytes| Ui::default().raw(bytes)).await
    }
}

/// Watch a running deploy: its log so far, and what follows
///
/// A push that was interrupted goes on with its deploy; this shows it again.
#[derive(Debug, Args)]
pub(super) struct Follow {
    /// The deploy's number, or an app for its newest; the newest of all where nothing is given
    #[arg(value_name = "ID|APP")]
    target: Option<String>,
}

impl Follow {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        Output { target: self.target, follow: true }.run(instance).await
    }
}

/// Stop a deploy: its build ends, what ran before goes on
///
/// Once the traffic has moved to the new version there is nothing to stop any more.
#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The deploy's number, or an app for its newest
    #[arg(value_name = "ID|APP")]
    target: String,
}

impl Cancel {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let deployment = ops::deploys::find(instance, Some(&self.target))?;
        let deployment = ops::deploys::cancel(instance, &deployment).await?;
        Ui::default().talk(&format!("deploy {} is {}", deployment.id, deployment.state));
        Ok(())
    }
}
