//! The container engine: specs as plain values, made by pure functions, and the adapter that sends them. The only
//! module that knows bollard.

mod build;
mod caps;
mod facts;
mod fault;
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

use std::{collections::HashMap, time::Duration};

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
use futures_util::{Stream, StreamExt, TryStreamExt};
pub use image_config::ImageFacts;
pub use images::Image;
pub use listen::Listening;
pub use log::LogLine;
pub use spec::{ContainerSpec, Labels};
pub use usage::Usage;

use crate::{
    Error, Result, clock,
    error::EngineError,
    model::{ImageId, RestartPolicy, Subnet},
    settings::Settings,
};

/// How much of a command's output in a container is kept, in characters.
const EXEC_OUTPUT: usize = 2000;

/// A connection to the engine.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
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

/// What the engine says of a container that was started.
#[derive(Clone, Debug)]
pub struct Running {
    /// Whether it runs now.
    pub is_running: bool,
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
        Ok(Engine { docker })
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
        let options = query::CreateContainerOptions { name: Some(spec.name.clone()), ..Default::default() };
        self.docker
            .create_container(Some(options), spec.body())
            .await
            .map_err(failed(format!("make the container {}", spec.name)))?;
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
            started_at: state.started_at.as_deref().and_then(clock::parse_rfc3339),
            restarts,
            exit_code: state.exit_code.unwrap_or(0),
            out_of_memory: state.oom_killed.unwrap_or(false),
        }))
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

    /// The state of each of the instance's containers in the engine's word, by name: `running`, `restarting`, ...
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub async fn states(&self, instance: &str) -> Result<HashMap<String, String>> {
        let options = query::ListContainersOptions {
            all: true,
            filters: Some(label_filter(&[(spec::INSTANCE_LABEL, instance)])),
            ..Default::default()
        };
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
    let has_role = summary.labels.as_ref().is_some_and(|labels| labels.contains_key(spec::ROLE_LABEL));
    let made = summary.created.unwrap_or(0) * 1000;
    has_role
        && (summary.state == Some(bollard::models::ContainerSummaryStateEnum::RUNNING)
            || clock::since(made) < START_TIMEOUT)
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
