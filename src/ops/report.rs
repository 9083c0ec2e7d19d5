//! The server in one look: what runs, in which version, and how much room there is. What does not answer is said, and
//! the rest is told.

use std::{path::PathBuf, time::Duration};

use serde::Serialize;

use super::{
    database::{self, Database},
    disk::{self, Disk, disk_lines},
};
use crate::{
    Error, Result, clock,
    context::Context,
    deploy,
    engine::{Engine, Facts},
    error::EngineError,
    exec, instance, lock,
    model::{self, AppState, BuildCaps, property},
    proxy,
    secrets::Secrets,
    settings::Settings,
    store::ContainerState,
    ui::{Show, Text, lines_or_dash},
};

/// How long the engine may take to say what it is.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(10);

/// The server. An error where something does not answer is there as its message.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of this program.
    pub paas: &'static str,
    /// The id of the instance, and the label of all it has in the engine; none where nothing says it.
    pub instance: Option<String>,
    /// Its root directory.
    pub root: PathBuf,
    /// The database.
    pub database: Answer<Database>,
    /// Whether what is sealed can be opened: the public half of the key; none where nothing was sealed yet.
    pub secret_key: Answer<Option<String>>,
    /// The engine.
    pub engine: Answer<Facts>,
    /// The version of Caddy's program.
    pub caddy_version: Answer<String>,
    /// Whether the Caddy that runs answers.
    pub caddy: Answer<()>,
    /// The version of git.
    pub git: Answer<String>,
    /// Since when the daemon runs, in RFC 3339; none where it does not.
    pub daemon_since_at: Option<String>,
    /// Whether the edge answers.
    pub edge: bool,
    /// Whether apps and builds are kept from this machine's services; none where that is turned off.
    pub contained: Option<Answer<()>>,
    /// What is to be done.
    pub warnings: Vec<String>,
    /// The disks of ROOT and of the engine.
    pub disks: Vec<Disk>,
    /// Builds; none where the database does not say.
    pub builds: Option<Builds>,
    /// Apps; none where the database does not say.
    pub apps: Option<Apps>,
    /// Containers of the instance, as the database has them; none where it does not say.
    pub containers: Option<Containers>,
    /// How many containers of the instance the engine has; none where it does not say.
    pub containers_in_engine: Option<usize>,
}

/// What something answered, or why it did not.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// It answered this.
    Up(T),
    /// It did not answer, and why.
    Down(String),
}

/// How images are built.
#[derive(Debug, Serialize)]
pub struct Builds {
    /// How many may run at a time.
    pub concurrency: usize,
    /// How many run now.
    pub running: usize,
    /// Bytes of memory that they may take together; none: all there is.
    pub memory_bytes: Option<u64>,
    /// Processors that they may take together; none: all there are.
    pub cpus: Option<f64>,
    /// Whether the caps are in force; none where there are none.
    pub capped: Option<Answer<()>>,
}

/// How many apps there are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Apps {
    /// All of them.
    pub total: usize,
    /// Those that run.
    pub running: usize,
}

/// How many containers there are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Containers {
    /// Those that serve.
    pub live: usize,
    /// Those among them that get no request, because they are down.
    pub unhealthy: usize,
    /// Those of deploys that run, and those on their way out.
    pub others: usize,
}

impl Show for Report {
    fn text(&self) -> Text {
        let engine = self.engine.words(|engine| {
            format!(
                "Docker {}, API {}\nimages in {}, cgroups v{} by {}\n{} processors, {} of memory",
                engine.version,
                engine.api_version,
                engine.image_store,
                engine.cgroup_version,
                engine.cgroup_driver,
                engine.processors,
                model::bytes(engine.memory_bytes),
            )
        });
        let version = self.caddy_version.words(String::clone);
        let caddy = match &self.caddy {
            Answer::Up(()) => format!("{version}, answers"),
            Answer::Down(reason) => format!("{version}, does not answer: {reason}"),
        };
        let daemon = match &self.daemon_since_at {
            Some(since) => format!("runs since {since}"),
            None => "does not run: nobody can push; `systemctl start paas` or `paas serve` starts it".to_owned(),
        };
        let database = self.database.words(|database| {
            format!("{}, and {} in its log", model::bytes(database.file_bytes), model::bytes(database.log_bytes))
        });
        let key = self.secret_key.words(|to| {
            to.as_ref().map_or("nothing is sealed yet".to_owned(), |to| format!("opens what is sealed to {to}"))
        });
        let unknown = || "not known without the database".to_owned();
        let in_engine = self.containers_in_engine.map(|count| format!("{count} in Docker"));
        Text::facts(vec![
            (
                "paas",
                format!(
                    "{}, instance {} in {}",
                    self.paas,
                    self.instance.as_deref().unwrap_or("(not known)"),
                    self.root.display()
                ),
            ),
            ("daemon", daemon),
            ("edge", if self.edge { "answers" } else { "does not answer" }.to_owned()),
            ("caddy", caddy),
            ("engine", engine),
            ("database", database),
            ("secret.key", key),
            ("git", self.git.words(String::clone)),
            (
                "isolation",
                match &self.contained {
                    None => "apps reach this machine's services (contain_network)".to_owned(),
                    Some(Answer::Up(())) => "apps and builds are kept from this machine's services".to_owned(),
                    Some(Answer::Down(reason)) => {
                        format!("apps and builds are NOT kept from this machine's services: {reason}")
                    }
                },
            ),
            ("disks", disk_lines(&self.disks)),
            ("builds", self.builds.as_ref().map_or_else(unknown, Builds::words)),
            (
                "apps",
                self.apps.map_or_else(unknown, |apps| format!("{}, {} of them running", apps.total, apps.running)),
            ),
            (
                "containers",
                self.containers.map_or_else(
                    || in_engine.unwrap_or_else(unknown),
                    |containers| {
                        format!(
                            "{} live ({} unhealthy), {} starting or stopping",
                            containers.live, containers.unhealthy, containers.others
                        )
                    },
                ),
            ),
            ("warnings", lines_or_dash(self.warnings.iter().cloned())),
        ])
    }
}

impl Builds {
    fn words(&self) -> String {
        let caps = BuildCaps { memory: self.memory_bytes, cpus: self.cpus }.describe();
        let caps = match &self.capped {
            None => "no cap on memory and processors (build_memory_mb, build_cpus)".to_owned(),
            Some(Answer::Up(())) => format!("capped at {caps}: in force"),
            Some(Answer::Down(reason)) => format!("capped at {caps}: NOT in force: {reason}"),
        };
        format!("{} at a time, {} now\n{caps}", self.concurrency, self.running)
    }
}

impl<T> Answer<T> {
    fn words(&self, up: impl FnOnce(&T) -> String) -> String {
        match self {
            Answer::Up(answer) => up(answer),
            Answer::Down(reason) => format!("not known: {reason}"),
        }
    }

    fn of(result: Result<T>) -> Answer<T> {
        match result {
            Ok(answer) => Answer::Up(answer),
            Err(error) => Answer::Down(error.one_line()),
        }
    }
}

/// How much memory to recommend for a container that says nothing of it, in MiB: a quarter of the machine's, from 256 to
/// 2,048, in steps of 64.
fn recommended_memory(machine: u64) -> u64 {
    ((machine >> 20) / 4 / 64 * 64).clamp(256, 2048)
}

/// Looks at everything.
///
/// # Errors
/// [`Error::Store`], [`Error::Host`] where not even the instance's own files can be read.
pub async fn report(context: &Context<'_>) -> Result<Report> {
    let instance = context.instance;
    let settings = &instance.settings;
    let (mut report, engine) = look(settings, Some(instance.id.clone())).await?;
    report.secret_key = Answer::of(instance.read(|tables| {
        instance.secrets.require_key(tables)?;
        Secrets::fingerprint(tables)
    }));
    let (apps, containers, uncontained, memory_default) = instance.read(|tables| {
        let memory_default = instance::value_of(settings, tables, &property::MEMORY, None)?;
        Ok((tables.apps()?, tables.containers()?, tables.uncontained_addresses()?, memory_default))
    })?;
    let live = containers.iter().filter(|container| container.state == ContainerState::Live);
    let locks = instance.build_locks()?;
    let caps @ BuildCaps { memory, cpus } = instance.build_caps()?;
    let capped = match &engine {
        _ if caps.is_empty() => None,
        // There is no other way to know than to try, as every build does.
        Some(engine) => Some(Answer::of(engine.cap_builds(&instance.id, caps).await.map(drop))),
        None => Some(Answer::Down("Docker does not answer".to_owned())),
    };
    report.contained = match &engine {
        Some(engine) => {
            let put_up = async {
                let rules = deploy::fence(instance, engine).await?;
                // There is no other way to know than to do it.
                let is_off = rules.fences.is_empty() && !instance.is_on(&property::CONTAIN_NETWORK)?;
                if is_off { Ok(None) } else { deploy::put_up_fence(instance, engine, &rules).await.map(|()| Some(())) }
            };
            put_up.await.map_or_else(|error| Some(Answer::Down(error.one_line())), |done| done.map(Answer::Up))
        }
        None => Some(Answer::Down("Docker does not answer".to_owned())),
    };
    if memory_default.is_none()
        && let Answer::Up(facts) = &report.engine
    {
        let mebibytes = recommended_memory(facts.memory_bytes);
        report.warnings.push(format!(
            "a container without a limit of its own may take all memory: `paas ps:set --global memory={mebibytes}m` \
             limits each from its app's next release on"
        ));
    }
    let old = containers.iter().filter(|container| uncontained.contains(&container.address)).count();
    if old > 0 {
        report.warnings.push(format!(
            "{old} containers are of releases that do not contain them: `paas ps:report APP` names them, and the next \
             release of their app does"
        ));
    }
    report.warnings.extend(instance.read(super::certs::warnings)?);
    report.warnings.extend(instance.read(super::routes::troubles)?);
    report.builds = Some(Builds {
        concurrency: locks.len(),
        running: locks.iter().filter(|path| matches!(lock::holder(path), Ok(Some(_)))).count(),
        memory_bytes: memory,
        cpus,
        capped,
    });
    let running = apps.iter().filter(|app| app.state == AppState::Running).count();
    report.apps = Some(Apps { total: apps.len(), running });
    report.containers = Some(Containers {
        live: live.clone().count(),
        unhealthy: live.clone().filter(|container| !container.healthy).count(),
        others: containers.len() - live.count(),
    });
    Ok(report)
}

/// Looks at what there is to see while the database cannot be read.
///
/// # Errors
/// [`Error::Host`] where not even the disk can be asked.
pub async fn report_without_database(settings: &Settings, error: &Error) -> Result<Report> {
    let (mut report, _) = look(settings, instance::known_id(&settings.paths).ok().flatten()).await?;
    let hint = error.hint().map(|hint| format!("\n{hint}")).unwrap_or_default();
    report.database = Answer::Down(format!("{}{hint}", error.one_line()));
    Ok(report)
}

/// What does not depend on the database; and the engine, if it answers.
async fn look(settings: &Settings, id: Option<String>) -> Result<(Report, Option<Engine>)> {
    let engine = async {
        let asked = async {
            let engine = Engine::connect(settings).await?;
            Ok((engine.facts().await?, engine))
        };
        tokio::time::timeout(ENGINE_TIMEOUT, asked).await.unwrap_or_else(|_| {
            Err(Error::Engine(EngineError::Unsupported {
                reason: format!("no answer within {} s", ENGINE_TIMEOUT.as_secs()),
            }))
        })
    };
    let git = async {
        let mut git = exec::command("git");
        git.arg("--version");
        let said = String::from_utf8_lossy(&exec::output(git).await?).into_owned();
        Ok(said.trim().trim_start_matches("git version ").to_owned())
    };
    let (engine, git, caddy_version, caddy, edge) = tokio::join!(
        engine,
        git,
        proxy::caddy_version(settings),
        proxy::ready(settings),
        proxy::edge_answers(settings),
    );
    let (facts, engine) = match engine {
        Ok((facts, engine)) => (Ok(facts), Some(engine)),
        Err(error) => (Err(error), None),
    };
    let containers_in_engine = match (&engine, &id) {
        (Some(engine), Some(id)) => engine.list(id).await.ok().map(|names| names.len()),
        _ => None,
    };
    let report = Report {
        contained: None,
        warnings: Vec::new(),
        paas: env!("CARGO_PKG_VERSION"),
        instance: id,
        root: settings.paths.root().to_owned(),
        database: Answer::of(database::look(&settings.paths)),
        secret_key: Answer::Down("without the database".to_owned()),
        engine: Answer::of(facts),
        caddy_version: Answer::of(caddy_version),
        caddy: Answer::of(caddy),
        git: Answer::of(git),
        daemon_since_at: lock::holder(&settings.paths.daemon_lock())?.map(|holder| clock::rfc3339(holder.since)),
        edge,
        disks: disk::disks(settings).await?,
        builds: None,
        apps: None,
        containers: None,
        containers_in_engine,
    };
    Ok((report, engine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_that_is_recommended_is_a_part_of_the_machines() {
        let recommended = |gibibytes: u64| recommended_memory(gibibytes << 30);
        assert_eq!([1, 2, 4, 24].map(recommended), [256, 512, 1024, 2048]);
        assert_eq!(recommended_memory(3_900_000_000), 896);
    }
}
