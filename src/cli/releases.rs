use clap::Args;
use serde::Serialize;

use super::Output;
use crate::{
    Result, clock, deploy,
    instance::Instance,
    model::{App, AppName, MASK, Override, Release, ReleaseStatus, ReleaseVersion, Scope},
    ops,
    ui::DeployLog,
};

/// List an app's releases, newest first
///
/// A release is what runs: an image, the config and the processes of one moment. Every change makes a new one.
#[derive(Debug, Args)]
pub(super) struct List {
    /// The app
    app: AppName,
    /// How many
    #[arg(short, long, default_value_t = 20, value_name = "COUNT")]
    number: u32,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Record {
    version: u32,
    status: &'static str,
    current: bool,
    /// Whether its image is still there; null where the engine does not answer.
    has_image: Option<bool>,
    image: String,
    commit: Option<String>,
    reason: String,
    actor: String,
    created_at: String,
}

impl Record {
    fn new(app: &App, release: &Release, has_image: Option<bool>) -> Record {
        Record {
            version: release.version.0,
            status: release.status.as_str(),
            current: app.current_release == Some(release.version),
            has_image,
            image: release.image.to_string(),
            commit: release.commit.map(|commit| commit.to_string()),
            reason: release.reason.clone(),
            actor: release.actor.to_string(),
            created_at: clock::rfc3339(release.created_at),
        }
    }

    /// What it is, and whether one can go back to it.
    fn standing(&self) -> &'static str {
        match (self.current, self.status, self.has_image) {
            (true, _, _) => "current",
            (_, "good", Some(false)) => "image gone",
            (_, status, _) => status,
        }
    }
}

impl List {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let (app, releases) = ops::releases::list(instance, &self.app, self.number).await?;
        let records: Vec<Record> =
            releases.iter().map(|(release, has_image)| Record::new(&app, release, *has_image)).collect();
        let rows: Vec<[String; 6]> = records
            .iter()
            .zip(&releases)
            .map(|(record, (release, _))| {
                [
                    release.version.to_string(),
                    record.standing().to_owned(),
                    release.commit.map_or_else(|| "-".to_owned(), |commit| commit.short()),
                    record.reason.clone(),
                    record.actor.clone(),
                    clock::ago(release.created_at),
                ]
            })
            .collect();
        self.output.ui().table(["RELEASE", "STATUS", "COMMIT", "WHY", "BY", "CUT"], &rows, &records)
    }
}

/// Show a release: image, commit, processes, config
#[derive(Debug, Args)]
pub(super) struct Info {
    /// The app
    app: AppName,
    /// The release; the one that serves where none is given
    #[arg(value_name = "vN")]
    version: Option<ReleaseVersion>,
    /// Show the values of the config too
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct InfoRecord {
    app: AppName,
    #[serde(flatten)]
    record: Record,
    port: u16,
    processes: Vec<ProcessRecord>,
    config: std::collections::BTreeMap<String, String>,
    overrides: Vec<Override>,
}

#[derive(Serialize)]
struct ProcessRecord {
    process: String,
    command: Option<String>,
    memory_mib: Option<u32>,
    cpu_millis: Option<u32>,
    restart: String,
    stop_timeout_seconds: u32,
    check: crate::model::Check,
}

impl Info {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let (app, release, config) = ops::releases::find(instance, &self.app, self.version)?;
        let shown = |value: String| if self.reveal { value } else { MASK.to_owned() };
        let record = InfoRecord {
            app: app.name.clone(),
            record: Record::new(&app, &release, None),
            port: release.port,
            processes: release
                .processes
                .iter()
                .map(|spec| ProcessRecord {
                    process: spec.process.to_string(),
                    command: spec.command.clone(),
                    memory_mib: spec.run.memory_mib,
                    cpu_millis: spec.run.cpu_millis,
                    restart: spec.run.restart.to_string(),
                    stop_timeout_seconds: spec.run.stop_timeout_seconds,
                    check: spec.run.check.masked(),
                })
                .collect(),
            config: config.into_iter().map(|(key, value)| (key.to_string(), shown(value))).collect(),
            overrides: release.overrides.iter().map(Override::masked).collect(),
        };
        let or_dash = |lines: Vec<String>| if lines.is_empty() { "-".to_owned() } else { lines.join("\n") };
        let processes = record.processes.iter().map(|process| {
            format!("{}: {}", process.process, process.command.as_deref().unwrap_or("(the image's own command)"))
        });
        let overrides = record.overrides.iter().map(|entry| {
            let of = match &entry.scope {
                Scope::Process(process) => format!("{process}: "),
                Scope::App => String::new(),
                scope => format!("{}: ", scope.as_str()),
            };
            format!("{of}{}={}", entry.property, entry.value)
        });
        let status = match (record.record.current, release.status) {
            (true, _) => "current",
            (false, ReleaseStatus::Good) => "good: it served",
            (false, status) => status.as_str(),
        };
        let facts = [
            ("app", app.name.to_string()),
            ("release", release.version.to_string()),
            ("status", status.to_owned()),
            ("why", release.reason.clone()),
            ("by", release.actor.to_string()),
            ("cut", record.record.created_at.clone()),
            ("commit", record.record.commit.clone().unwrap_or_else(|| "-".to_owned())),
            ("image", release.image.to_string()),
            ("port", release.port.to_string()),
            ("processes", or_dash(processes.collect())),
            ("settings", or_dash(overrides.collect())),
            ("config", or_dash(record.config.iter().map(|(key, value)| format!("{key}={value}")).collect())),
        ];
        self.output.ui().facts(&facts, &record)
    }
}

/// Go back to a former release: its image, its config, its settings
///
/// Nothing is built and the release command does not run: a rollback takes seconds. The former release is proven healthy
/// before traffic moves to it, and becomes a new release. The command that undoes it is printed.
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The app
    app: AppName,
    /// The release to go back to; the one that served before where none is given
    #[arg(value_name = "vN")]
    version: Option<ReleaseVersion>,
}

impl Rollback {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        deploy::rollback(instance, &self.app, self.version, &DeployLog::to_stderr()).await.map(drop)
    }
}
