use clap::Args;
use serde::Serialize;

use super::{Output, Reporter, Setter};
use crate::{
    Error, Kind, Result, clock,
    instance::Instance,
    model::{App, AppName, BranchName, Freeze, Noun},
    ops,
    store::{Container, ContainerState},
    ui::Ui,
};

/// Create an app
///
/// A push to an app that does not exist creates it too, unless the setting create_on_push is off. Created first, it
/// can be given its config before its first deploy.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// The app's name and subdomain: 1 to 63 lower-case letters, digits and dashes
    app: AppName,
}

impl Create {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let app = ops::apps::create(instance, &self.app).await?;
        let ui = Ui::default();
        ui.line(app.name.as_str())?;
        ui.talk(&format!("it will be at {} after the first push", instance.settings.app_url(&app.name)));
        Ok(())
    }
}

/// List the apps
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct AppRecord {
    name: AppName,
    state: &'static str,
    release: Option<u32>,
    url: String,
    created_at: String,
}

impl AppRecord {
    fn new(instance: &Instance, app: &App) -> AppRecord {
        AppRecord {
            name: app.name.clone(),
            state: app.state.as_str(),
            release: app.current_release.map(|release| release.0),
            url: instance.settings.app_url(&app.name),
            created_at: clock::rfc3339(app.created_at),
        }
    }
}

impl List {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let apps = instance.read(|tables| tables.apps())?;
        let records: Vec<AppRecord> = apps.iter().map(|app| AppRecord::new(instance, app)).collect();
        let rows: Vec<[String; 4]> = records
            .iter()
            .map(|record| {
                let release = record.release.map_or_else(|| "-".to_owned(), |release| format!("v{release}"));
                [record.name.to_string(), record.state.to_owned(), release, record.url.clone()]
            })
            .collect();
        if rows.is_empty() {
            Ui::default().talk("there are no apps yet: `paas apps:create NAME` makes one");
        }
        self.output.ui().table(["NAME", "STATE", "RELEASE", "URL"], &rows, &records)
    }
}

/// Show an app: its address, release, processes and state
#[derive(Debug, Args)]
pub(super) struct Info {
    /// The app
    app: AppName,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct InfoRecord {
    #[serde(flatten)]
    app: AppRecord,
    deploy_branch: Option<BranchName>,
    locked: Option<Freeze>,
    commit: Option<String>,
    port: Option<u16>,
    processes: Vec<ProcessRecord>,
}

#[derive(Serialize)]
struct ProcessRecord {
    process: String,
    state: &'static str,
    address: String,
    command: Option<String>,
}

impl Info {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let (app, release, containers) = instance.read(|tables| {
            let app = tables.app(&self.app)?;
            let release = tables.current_release(app.id)?;
            let containers = tables.containers_of_app(app.id)?;
            Ok((app, release, containers))
        })?;
        let command_of = |container: &Container| {
            let processes = release.iter().flat_map(|release| &release.processes);
            processes.filter(|spec| spec.process == container.process).find_map(|spec| spec.command.clone())
        };
        let processes: Vec<ProcessRecord> = containers
            .iter()
            .map(|container| ProcessRecord {
                process: container.label(),
                state: match container.state {
                    ContainerState::Live if !container.healthy => "unhealthy",
                    ContainerState::Live => "running",
                    state => state.as_str(),
                },
                address: container.address.to_string(),
                command: command_of(container),
            })
            .collect();
        let record = InfoRecord {
            app: AppRecord::new(instance, &app),
            deploy_branch: app.deploy_branch.clone(),
            locked: app.freeze.clone(),
            commit: release.as_ref().and_then(|release| release.commit).map(|commit| commit.to_string()),
            port: release.as_ref().map(|release| release.port),
            processes,
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let processes: Vec<String> = record
            .processes
            .iter()
            .map(|process| {
                let command = process.command.as_deref().unwrap_or("(the image's own command)");
                format!("{} {}  {command}", process.process, process.state)
            })
            .collect();
        let facts = [
            ("app", app.name.to_string()),
            ("url", record.app.url.clone()),
            ("state", app.state.as_str().to_owned()),
            ("release", or_dash(app.current_release.map(|release| release.to_string()))),
            ("commit", or_dash(record.commit.clone())),
            ("deploy branch", or_dash(record.deploy_branch.as_ref().map(ToString::to_string))),
            ("locked", or_dash(app.freeze.as_ref().map(freeze_words))),
            ("port", or_dash(record.port.map(|port| port.to_string()))),
            ("processes", if processes.is_empty() { "-".to_owned() } else { processes.join("\n") }),
            ("created", record.app.created_at.clone()),
        ];
        self.output.ui().facts(&facts, &record)
    }
}

fn freeze_words(freeze: &Freeze) -> String {
    let message = freeze.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("by {}, {}{message}", freeze.actor, clock::ago(freeze.since))
}

/// Tell by the exit code whether an app exists: 0 if it does, 3 if not
#[derive(Debug, Args)]
pub(super) struct Exists {
    /// The app
    app: AppName,
}

impl Exists {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        match instance.read(|tables| tables.find_app(&self.app))? {
            Some(_) => Ok(()),
            None => Err(Error::Silent(Kind::NotFound)),
        }
    }
}

/// Set properties of an app: the branch that deploys, what is kept
///
/// `paas apps:set blog deploy-branch dev`: from now on, pushes of the branch dev deploy the app blog.
#[derive(Debug, Args)]
#[command(after_help = ops::properties::help(Noun::Apps))]
pub(super) struct Set {
    #[command(flatten)]
    setter: Setter,
}

impl Set {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        self.setter.run(instance, Noun::Apps, None).await
    }
}

/// Show the properties of an app: what is set, by whom, and what holds
#[derive(Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    reporter: Reporter,
}

impl Report {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        self.reporter.run(instance, Noun::Apps)
    }
}

/// Freeze an app on purpose: nothing changes it until `apps:unlock`
///
/// Pushes, restarts, config and every other change are refused with your message. What runs goes on running, and is
/// still started again if it ends. A deploy that is running already goes on.
#[derive(Debug, Args)]
pub(super) struct Lock {
    /// The app
    app: AppName,
    /// Why, for those who are refused
    #[arg(short, long)]
    message: Option<String>,
}

impl Lock {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let running = ops::apps::freeze(instance, &self.app, self.message)?;
        let ui = Ui::default();
        ui.talk(&format!("{} is locked; `paas apps:unlock {}` unlocks it", self.app, self.app));
        if let Some(deploy) = running {
            ui.talk(&format!("deploy {deploy} is running and goes on; `paas deploys:cancel {deploy}` stops it"));
        }
        Ok(())
    }
}

/// Let an app that was locked be changed again
#[derive(Debug, Args)]
pub(super) struct Unlock {
    /// The app
    app: AppName,
}

impl Unlock {
    pub(super) fn run(self, instance: &Instance) -> Result<()> {
        let was = ops::apps::thaw(instance, &self.app)?;
        let said = match was {
            Some(freeze) => {
                format!("{} is unlocked; {} had locked it {}", self.app, freeze.actor, clock::ago(freeze.since))
            }
            None => format!("{} was not locked", self.app),
        };
        Ui::default().talk(&said);
        Ok(())
    }
}

/// Remove an app with everything that belongs to it
///
/// Its containers, images, repository, logs, releases and config are gone for good. Asks for the app's name first.
#[derive(Debug, Args)]
pub(super) struct Destroy {
    /// The app
    app: AppName,
    /// Do not ask
    #[arg(long)]
    force: bool,
}

impl Destroy {
    pub(super) async fn run(self, instance: &Instance) -> Result<()> {
        let ui = Ui::default();
        instance.read(|tables| tables.app(&self.app))?;
        if !self.force {
            ui.talk(&format!("This removes {} with its containers, images, repository, logs and config.", self.app));
            let typed = ui.ask("Type the app's name to go on:")?;
            if typed != self.app.as_str() {
                return Err(Error::NotConfirmed { app: self.app, typed });
            }
        }
        ops::apps::destroy(instance, &self.app, |holder| ui.talk(&format!("waiting for {holder}"))).await?;
        ui.talk(&format!("{} is destroyed", self.app));
        Ok(())
    }
}
