//! The container engine: specs as plain values, made by pure functions, and the adapter that sends them. The only
//! module that knows bollard.

mod attach;
mod build;
mod caps;
mod facts;
mod fault;
mod firewall;
#[cfg(fuzzing)]
pub mod fuzzing;
mod helper;
mod image_config;
mod images;
mod layer;
mod listen;
mod log;
mod spec;
mod usage;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

pub use attach::{Attached, Chunk, ExecStatus, Input, Output};
use bollard::{
    Docker,
    exec::StartExecResults,
    models::{ContainerUpdateBody, EndpointIpamConfig, ExecConfig, Ipam, IpamConfig, NetworkCreateRequest},
    query_parameters as query,
};
pub use build::{BuildEvent, BuildSpec, Context};
pub use caps::Capped;
pub use facts::Facts;
use fault::failed;
pub use firewall::Bridge;
use futures_util::{Stream, StreamExt, TryStreamExt};
pub use image_config::ImageFacts;
pub use images::Image;
pub use listen::Listening;
pub use log::LogLine;
pub use spec::{ContainerSpec, Labels, Streams};
pub use usage::Usage;

use crate::{
    Error, Result, clock,
    error::EngineError,
    model::{AppName, ImageId, RestartPolicy, Subnet},
    settings::Settings,
};

/// How much of a command's output in a container is kept, in characters.
const EXEC_OUTPUT: usize = 2000;

/// Where the kernel's cgroups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// A connection to the engine.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
    /// Where it is reached, as in `DOCKER_HOST`.
    address: String,
}

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is none of that name.
    Missing,
    /// Made, not started.
    Created,
    /// Running.
    Running,
    /// Ended and about to be started again by the engine.
    Restarting,
    /// Ended with this exit code.
    Exited(i64),
}

impl Status {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Status::Missing => "gone",
            Status::Created => "not started",
            Status::Running => "running",
            Status::Restarting => "restarting",
            Status::Exited(_) => "ended",
        }
    }
}

/// Where a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whether it runs.
    pub is_running: bool,
    /// The instance of paas whose container it is; none: it is somebody else's.
    pub instance: Option<String>,
    /// The address at which this machine reaches it; none where it is on no network.
    pub addresses: Vec<IpAddr>,
}

/// What the engine says of a container that was started.
#[derive(Clone, Debug)]
pub struct Running {
    /// Whether it runs now.
    pub is_running: bool,
    /// Whether it is frozen, by `docker pause`.
    pub is_paused: bool,
    /// When it was started the last time, in milliseconds since 1970.
    pub started_at: Option<i64>,
    /// How often the engine has started it again.
    pub restarts: u32,
    /// The exit code of its last end.
    pub exit_code: i64,
    /// Whether it was killed because it used more memory than it may.
    pub out_of_memory: bool,
}

impl Running {
    /// Whether it has been up for a minute, so that its former ends do not count any more.
    pub fn is_stable(&self) -> bool {
        self.is_running && self.started_at.is_some_and(|started| clock::since(started) > Duration::from_secs(60))
    }
}

/// Something that happened to a container of ours.
#[derive(Clone, Debug)]
pub struct Event {
    /// The container's name.
    pub container: String,
    /// What happened, in the engine's words: `start`, `die`, `oom`, ...
    pub action: String,
}

/// How long after it was made a container may take to be started.
const START_TIMEOUT: Duration = Duration::from_secs(60);

impl Engine {
    /// Connects, and settles on the newest API version that both sides speak.
    ///
    /// # Errors
    /// `EngineError::Unavailable`.
    pub async fn connect(settings: &Settings) -> Result<Engine> {
        let unavailable = |source: bollard::errors::Error| {
            Error::Engine(EngineError::Unavailable {
                address: settings.docker_address().to_owned(),
                source: source.into(),
            })
        };
        let docker = Docker::connect_with_host(settings.docker_address()).map_err(unavailable)?;
        let docker = docker.negotiate_version().await.map_err(unavailable)?;
        Ok(Engine { docker, address: settings.docker_address().to_owned() })
    }

    /// Connects for a look at how containers are, which is the same in all API versions: to settle on one takes an engine
    /// longer than to answer.
    ///
    /// # Errors
    /// `EngineError::Unavailable` where the address is none.
    pub fn for_a_look(settings: &Settings) -> Result<Engine> {
        let docker = Docker::connect_with_host(settings.docker_address()).map_err(|source| {
            let address = settings.docker_address().to_owned();
            Error::Engine(EngineError::Unavailable { address, source: source.into() })
        })?;
        // A path without a version means the newest.
        let docker = docker.with_request_modifier(|mut request| {
            let mut parts = request.uri().clone().into_parts();
            let path = parts.path_and_query.as_ref().map(ToString::to_string).unwrap_or_default();
            parts.path_and_query = unversioned(&path).parse().ok();
            if let Ok(uri) = parts.try_into() {
                *request.uri_mut() = uri;
            }
            request
        });
        Ok(Engine { docker, address: settings.docker_address().to_owned() })
    }

    /// Where the engine keeps its data, on its own host.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn data_root(&self) -> Result<Option<String>> {
        Ok(self.docker.info().await.map_err(failed("describe itself"))?.docker_root_dir)
    }

    /// Makes the instance's network where it is missing: a bridge with our subnet, on which containers do not reach
    /// each other.
    ///
    /// # Errors
    /// [`Error::Engine`], for example where the subnet overlaps with another network.
    pub async fn ensure_network(&self, instance: &str, subnet: Subnet) -> Result<()> {
        let name = spec::network_name(instance);
        match self.docker.inspect_network(&name, None::<query::InspectNetworkOptions>).await {
            Ok(_) => return Ok(()),
            Err(error) if is_status(&error, 404) => {}
            Err(error) => return Err(failed("inspect the network")(error)),
        }
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(subnet.to_string()),
                    gateway: Some(subnet.gateway().to_string()),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            options: Some(HashMap::from([("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned())])),
            labels: Some(HashMap::from([(spec::INSTANCE_LABEL.to_owned(), instance.to_owned())])),
            ..NetworkCreateRequest::default()
        };
        match self.docker.create_network(request).await {
            Ok(_) => Ok(()),
            // Another process was quicker.
            Err(error) if is_status(&error, 409) => Ok(()),
            Err(error) if error.to_string().contains("overlaps") => {
                Err(Error::Engine(EngineError::SubnetTaken { subnet: subnet.to_string() }))
            }
            Err(error) => Err(failed(format!("make the network {name} with the subnet {subnet} (PAAS_SUBNET)"))(error)),
        }
    }

    /// The instances that have a network with a subnet, each with how many containers it has there.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn instances_in(&self, subnet: Subnet) -> Result<Vec<(String, usize)>> {
        let labelled = HashMap::from([("label".to_owned(), vec![spec::INSTANCE_LABEL.to_owned()])]);
        let options = query::ListNetworksOptions { filters: Some(labelled) };
        let networks = self.docker.list_networks(Some(options)).await.map_err(failed("list networks"))?;
        let subnet = subnet.to_string();
        let mut found = Vec::new();
        for network in networks {
            let configs = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
            let instance = network.labels.and_then(|mut labels| labels.remove(spec::INSTANCE_LABEL));
            if let Some(instance) = instance
                && configs.iter().any(|config| config.subnet.as_ref() == Some(&subnet))
            {
                let containers = self.list(&instance).await?.len();
                found.push((instance, containers));
            }
        }
        Ok(found)
    }

    /// Removes the networks of the instance but for the one that its containers are in: none but a paas of another
    /// version made them. Those that containers use stay. Returns how many are gone.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn remove_stray_networks(&self, instance: &str) -> Result<u64> {
        let options = query::ListNetworksOptions { filters: Some(label_filter(&[(spec::INSTANCE_LABEL, instance)])) };
        let networks = self.docker.list_networks(Some(options)).await.map_err(failed("list networks"))?;
        let own = spec::network_name(instance);
        let mut removed = 0;
        for network in networks.into_iter().filter(|network| network.name.as_ref() != Some(&own)) {
            let id = network.id.unwrap_or_default();
            match self.docker.remove_network(&id).await {
                Ok(()) => removed += 1,
                // It has containers, or somebody else was quicker.
                Err(error) if is_status(&error, 403) || is_status(&error, 404) => {}
                Err(error) => return Err(failed(format!("remove the network {id}"))(error)),
            }
        }
        Ok(removed)
    }

    /// Makes and starts a container.
    ///
    /// # Errors
    /// `EngineError::AddressTaken` where another container has its address; it is made then. [`Error::Engine`].
    pub async fn start_new(&self, spec: &ContainerSpec) -> Result<()> {
        self.make(spec).await?;
        self.start_made(spec).await
    }

    async fn make(&self, spec: &ContainerSpec) -> Result<()> {
        let options = query::CreateContainerOptions { name: Some(spec.name.clone()), ..Default::default() };
        let mut body = spec.body();
        // Else the labels of its image would hold, which say what the repository likes.
        body.labels.get_or_insert_default().entry(spec::ROLE_LABEL.to_owned()).or_default();
        self.docker
            .create_container(Some(options), body)
            .await
            .map_err(failed(format!("make the container {}", spec.name)))
            .map(drop)
    }

    async fn start_made(&self, spec: &ContainerSpec) -> Result<()> {
        match self.docker.start_container(&spec.name, None::<query::StartContainerOptions>).await {
            // It publishes no port, so it is none on the host that is meant.
            Err(error) if error.to_string().contains("Address already in use") => {
                Err(Error::Engine(EngineError::AddressTaken { address: spec.address }))
            }
            other => other.map_err(failed(format!("start the container {}", spec.name))),
        }
    }

    /// Starts a container that ended.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn start_again(&self, name: &str) -> Result<()> {
        self.docker
            .start_container(name, None::<query::StartContainerOptions>)
            .await
            .map_err(failed(format!("start the container {name}")))
    }

    /// How a container is.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn status(&self, name: &str) -> Result<Status> {
        let inspected = match self.docker.inspect_container(name, None::<query::InspectContainerOptions>).await {
            Ok(inspected) => inspected,
            Err(error) if is_status(&error, 404) => return Ok(Status::Missing),
            Err(error) => return Err(failed(format!("inspect the container {name}"))(error)),
        };
        let state = inspected.state.unwrap_or_default();
        let word = state.status.map(|status| status.to_string()).unwrap_or_default();
        Ok(match word.as_str() {
            "created" => Status::Created,
            "restarting" => Status::Restarting,
            "running" | "paused" => Status::Running,
            _ => Status::Exited(state.exit_code.unwrap_or(0)),
        })
    }

    /// What the engine says of a container; nothing where there is none of that name.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn running(&self, name: &str) -> Result<Option<Running>> {
        let inspected = match self.docker.inspect_container(name, None::<query::InspectContainerOptions>).await {
            Ok(inspected) => inspected,
            Err(error) if is_status(&error, 404) => return Ok(None),
            Err(error) => return Err(failed(format!("inspect the container {name}"))(error)),
        };
        let restarts = inspected.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        let state = inspected.state.unwrap_or_default();
        Ok(Some(Running {
            is_running: state.running.unwrap_or(false) && !state.restarting.unwrap_or(false),
            is_paused: state.paused.unwrap_or(false),
            started_at: state.started_at.as_deref().and_then(clock::parse_rfc3339),
            restarts,
            exit_code: state.exit_code.unwrap_or(0),
            out_of_memory: state.oom_killed.unwrap_or(false),
        }))
    }

    /// Where a container is, of whoever; nothing where there is none of that name.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn place_of(&self, name: &str) -> Result<Option<Place>> {
        let inspected = match self.docker.inspect_container(name, None::<query::InspectContainerOptions>).await {
            Ok(inspected) => inspected,
            Err(error) if is_status(&error, 404) => return Ok(None),
            Err(error) => return Err(failed(format!("inspect the container {name}"))(error)),
        };
        let on_host = inspected.host_config.and_then(|config| config.network_mode).is_some_and(|mode| mode == "host");
        let networks = inspected.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let mut addresses: Vec<IpAddr> = networks
            .into_values()
            .filter_map(|network| network.ip_address?.parse().ok())
            .chain(on_host.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)))
            .collect();
        addresses.sort();
        // In several networks it is one container all the same: one address will do.
        addresses.truncate(1);
        Ok(Some(Place {
            is_running: inspected.state.and_then(|state| state.running).unwrap_or(false),
            instance: inspected.config.and_then(|config| config.labels?.remove(spec::INSTANCE_LABEL)),
            addresses,
        }))
    }

    /// The file of the kernel that says whether a running container is frozen; none where this machine does not know the
    /// container, because the engine is on another one.
    pub async fn freezer(&self, name: &str) -> Option<PathBuf> {
        let inspected = self.docker.inspect_container(name, None::<query::InspectContainerOptions>).await.ok()?;
        let process = inspected.state?.pid.filter(|pid| *pid > 0)?;
        let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
        freezer_of(&groups, &inspected.id?)
    }

    /// Waits until a container ends, and returns its exit code.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn wait(&self, name: &str) -> Result<i64> {
        let mut answers = std::pin::pin!(self.docker.wait_container(name, None::<query::WaitContainerOptions>));
        match answers.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(failed(format!("wait for the container {name}"))(error)),
            None => Err(Error::bug(format!("no answer to the wait for {name}"))),
        }
    }

    /// Runs a command in a running container; returns its exit code and the end of what it printed.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn exec(&self, name: &str, arguments: &[String]) -> Result<(i64, String)> {
        let failed = || failed(format!("run a command in the container {name}"));
        let config = ExecConfig {
            cmd: Some(arguments.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let id = self.docker.create_exec(name, config).await.map_err(failed())?.id;
        let mut output = String::new();
        if let StartExecResults::Attached { output: mut lines, .. } =
            self.docker.start_exec(&id, None).await.map_err(failed())?
        {
            while let Some(line) = lines.next().await {
                output.push_str(&String::from_utf8_lossy(&line.map_err(failed())?.into_bytes()));
                if output.len() > 2 * EXEC_OUTPUT {
                    output = output.chars().skip(output.chars().count().saturating_sub(EXEC_OUTPUT)).collect();
                }
            }
        }
        let inspected = self.docker.inspect_exec(&id).await.map_err(failed())?;
        Ok((inspected.exit_code.unwrap_or(-1), output))
    }

    /// Whether the engine has an image.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn has_image(&self, image: &ImageId) -> Result<bool> {
        match self.docker.inspect_image(&image.0).await {
            Ok(_) => Ok(true),
            Err(error) if is_status(&error, 404) => Ok(false),
            Err(error) => Err(failed(format!("inspect the image {image}"))(error)),
        }
    }

    /// What an image says about how it is run.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn image_facts(&self, image: &ImageId) -> Result<ImageFacts> {
        let inspected = self.docker.inspect_image(&image.0).await;
        let inspected = inspected.map_err(failed(format!("inspect the image {image}")))?;
        Ok(image_config::facts(inspected.config.unwrap_or_default()))
    }

    /// The TCP ports that a container says it listens on, by EXPOSE of its image, the lowest first.
    pub async fn exposed(&self, name: &str) -> Vec<u16> {
        let inspected = self.docker.inspect_container(name, None::<query::InspectContainerOptions>).await;
        let config = inspected.ok().and_then(|inspected| inspected.config);
        image_config::tcp_ports(&config.and_then(|config| config.exposed_ports).unwrap_or_default())
    }

    /// Sets whether the engine starts a container again when it ends. One that is gone or going is fine.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn set_restart(&self, name: &str, restart: RestartPolicy) -> Result<()> {
        let body = ContainerUpdateBody {
            restart_policy: Some(spec::restart_policy(restart)),
            ..ContainerUpdateBody::default()
        };
        match self.docker.update_container(name, body).await {
            // A command removes what the daemon retires: the engine calls that its own error.
            Err(error) if !is_status(&error, 404) && !error.to_string().contains("marked for removal") => {
                Err(failed(format!("set the restart policy of {name}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Asks a container to end and kills it after `timeout`. One that is gone or ended is fine.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn stop_container(&self, name: &str, timeout: Duration) -> Result<()> {
        let options = query::StopContainerOptions { t: i32::try_from(timeout.as_secs()).ok(), signal: None };
        match self.docker.stop_container(name, Some(options)).await {
            Err(error) if !is_status(&error, 404) && !is_status(&error, 304) => {
                Err(failed(format!("stop the container {name}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Stops a running container and starts it again.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn restart_container(&self, name: &str, timeout: Duration) -> Result<()> {
        let options = query::RestartContainerOptions { t: i32::try_from(timeout.as_secs()).ok(), signal: None };
        self.docker
            .restart_container(name, Some(options))
            .await
            .map_err(failed(format!("restart the container {name}")))
    }

    /// Removes a container with its anonymous volumes, running or not. One that is gone is fine.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn destroy(&self, name: &str) -> Result<()> {
        let options = query::RemoveContainerOptions { force: true, v: true, ..Default::default() };
        for _ in 0..50 {
            match self.docker.remove_container(name, Some(options.clone())).await {
                Ok(()) => return Ok(()),
                Err(error) if is_status(&error, 404) => return Ok(()),
                // The engine is already at it: wait until it is done.
                Err(error) if is_status(&error, 409) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) => return Err(failed(format!("remove the container {name}"))(error)),
            }
        }
        Err(Error::bug(format!("the container {name} is being removed for ever")))
    }

    /// The names of the instance's containers, running or not, but for those that serve a build.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn list(&self, instance: &str) -> Result<Vec<String>> {
        let options = query::ListContainersOptions {
            all: true,
            filters: Some(label_filter(&[(spec::INSTANCE_LABEL, instance)])),
            ..Default::default()
        };
        let listed = self.docker.list_containers(Some(options)).await.map_err(failed("list containers"))?;
        Ok(listed
            .into_iter()
            .filter(|summary| !is_at_work(summary))
            .filter_map(|summary| summary.names?.into_iter().next())
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect())
    }

    /// The state of each of the instance's containers, or of those of an app, in the engine's word, by name: `running`,
    /// `restarting`, ...
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn states(&self, instance: &str, app: Option<&AppName>) -> Result<HashMap<String, String>> {
        let app = app.map(|app| (spec::APP_LABEL, app.as_str()));
        let labels: Vec<_> = [(spec::INSTANCE_LABEL, instance)].into_iter().chain(app).collect();
        self.states_where(label_filter(&labels)).await
    }

    /// The same of those that do not run.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn states_but_running(&self, instance: &str) -> Result<HashMap<String, String>> {
        let mut filters = label_filter(&[(spec::INSTANCE_LABEL, instance)]);
        let states = ["created", "restarting", "removing", "paused", "exited", "dead"];
        filters.insert("status".to_owned(), states.map(str::to_owned).to_vec());
        self.states_where(filters).await
    }

    async fn states_where(&self, filters: HashMap<String, Vec<String>>) -> Result<HashMap<String, String>> {
        let options = query::ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let listed = self.docker.list_containers(Some(options)).await.map_err(failed("list containers"))?;
        Ok(listed
            .into_iter()
            .filter_map(|summary| {
                let name = summary.names?.into_iter().next()?.trim_start_matches('/').to_owned();
                Some((name, summary.state.map(|state| state.to_string()).unwrap_or_default()))
            })
            .collect())
    }

    /// What happens to the instance's containers from now on, also before the engine has heard of the question.
    pub fn events(&self, instance: &str) -> impl Stream<Item = Result<Event>> + use<> {
        let mut filters = label_filter(&[(spec::INSTANCE_LABEL, instance)]);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        let now = clock::now();
        let since = format!("{}.{:03}000000", now / 1000, now % 1000);
        let options = query::EventsOptions { since: Some(since), filters: Some(filters), ..Default::default() };
        self.docker.events(Some(options)).map_err(failed("report events")).map_ok(|message| Event {
            container: message
                .actor
                .and_then(|actor| actor.attributes)
                .and_then(|mut attributes| attributes.remove("name"))
                .unwrap_or_default(),
            action: message.action.unwrap_or_default(),
        })
    }

    /// The ports a running container listens on, in the words of `listen`; none where the host cannot
    /// tell, because the engine is not on it.
    pub async fn listening(&self, name: &str) -> Option<Listening> {
        let inspected = self.docker.inspect_container(name, None::<query::InspectContainerOptions>).await.ok()?;
        listen::of_process(inspected.state?.pid?)
    }
}

/// Whether a container is one of ours that no deploy knows, and does its work or is about to.
fn is_at_work(summary: &bollard::models::ContainerSummary) -> bool {
    let has_role = summary.labels.as_ref().is_some_and(has_role);
    let made = summary.created.unwrap_or(0) * 1000;
    has_role
        && (summary.state == Some(bollard::models::ContainerSummaryStateEnum::RUNNING)
            || clock::since(made) < START_TIMEOUT)
}

/// Whether something of ours is no app's: its role says what it is for. An app's own has an empty one, or none.
fn has_role(labels: &HashMap<String, String>) -> bool {
    labels.get(spec::ROLE_LABEL).is_some_and(|role| !role.is_empty())
}

/// A path of the engine's without the version that it begins with: `/v1.41/containers/json`.
fn unversioned(path: &str) -> &str {
    let is_version =
        |word: &str| word.strip_prefix('v').is_some_and(|it| it.starts_with(|digit: char| digit.is_ascii_digit()));
    match path.trim_start_matches('/').split_once('/') {
        Some((version, rest)) if is_version(version) => &path[path.len() - rest.len() - 1..],
        _ => path,
    }
}

/// The file that says whether a container is frozen, by the cgroups of its process in the form of `/proc/PID/cgroup`. A
/// process of another container, or of another machine's, has none.
fn freezer_of(groups: &str, container: &str) -> Option<PathBuf> {
    let mut unified = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/');
        if container.is_empty() || !path.contains(container) {
            continue;
        }
        if controllers.split(',').any(|controller| controller == "freezer") {
            return Some(Path::new(CGROUPS).join(controllers).join(path).join("freezer.state"));
        }
        if controllers.is_empty() {
            unified = Some(Path::new(CGROUPS).join(path).join("cgroup.events"));
        }
    }
    unified
}

fn label_filter(labels: &[(&str, &str)]) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), labels.iter().map(|(name, value)| format!("{name}={value}")).collect())])
}

fn is_status(error: &bollard::errors::Error, status: u16) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}

impl ContainerSpec {
    fn endpoint(&self) -> bollard::models::EndpointSettings {
        bollard::models::EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(self.address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_needs_no_version() {
        assert_eq!(unversioned("/v1.41/containers/json?all=true"), "/containers/json?all=true");
        for same in ["/containers/json", "/volumes/x", "/"] {
            assert_eq!(unversioned(same), same);
        }
    }

    #[test]
    fn the_freezer_of_a_container_is_found_in_both_versions_of_cgroups() {
        let of = |groups: &str| freezer_of(groups, "0a1b").map(|path| path.display().to_string());
        let v1 = "9:freezer:/docker/0a1b\n4:memory:/docker/0a1b\n0::/docker/0a1b\n";
        assert_eq!(of(v1).as_deref(), Some("/sys/fs/cgroup/freezer/docker/0a1b/freezer.state"));
        let v2 = "0::/system.slice/docker-0a1b.scope\n";
        assert_eq!(of(v2).as_deref(), Some("/sys/fs/cgroup/system.slice/docker-0a1b.scope/cgroup.events"));
        for other in ["", "0::/system.slice/docker-ffff.scope\n", "9:freezer:/user.slice\n"] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }
}
