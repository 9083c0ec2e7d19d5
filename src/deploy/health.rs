//! Proving a new container healthy, before traffic moves to it.

use std::{collections::HashMap, time::Duration};

use super::{
    deployment::ActiveDeploy,
    probe::{Target, connect, probe},
};
use crate::{
    Error, Result, clock,
    engine::{Engine, Listening},
    error::{DeployError, NeverHealthy},
    model::{self, Check, Probe, ProcessSpec},
    store::Container,
};

/// How long a process that is only asked to stay up must do so.
const STAY_UP: Duration = Duration::from_secs(3);
/// The time between the first tries. Later it is a tenth of the time that has passed, up to [`SLOWEST`]: so nobody waits
/// for much longer than the app takes.
const FASTEST: Duration = Duration::from_millis(10);
/// The longest time between tries.
const SLOWEST: Duration = Duration::from_secs(1);
/// When somebody who waits for a check is told why it does not pass yet.
const EXPLAIN_AFTER: Duration = Duration::from_secs(5);
/// How long a container must have listened on another port than it is asked to, before that is taken for its own.
const OTHER_PORT_AFTER: Duration = Duration::from_secs(10);
/// The most ports of EXPOSE that are looked at.
const PORTS_TRIED: usize = 32;
/// How many of a failed container's last lines are shown.
const OUTPUT_LINES: u32 = 30;

/// What proved a container healthy.
pub(super) struct Proof {
    /// In words.
    pub said: String,
    /// The port that its requests go to, if it is not the one it was told.
    pub port: Option<u16>,
}

/// Waits until a container is healthy, and says what proved it.
///
/// # Errors
/// `DeployError::AppExited` at once where it ends; `DeployError::NeverHealthy` after its check's timeout.
pub(super) async fn prove(deploy: &ActiveDeploy<'_>, container: &Container, process: &ProcessSpec) -> Result<Proof> {
    let begun = clock::instant();
    let check = &process.run.check;
    let proof = async {
        tokio::time::sleep(Duration::from_secs(check.initial_delay_seconds.into())).await;
        if check.probe == Probe::Up {
            tokio::time::sleep(STAY_UP).await;
            return Ok(Proof { said: format!("it stayed up for {}", model::seconds(STAY_UP)), port: None });
        }
        try_until_healthy(deploy, container, check).await
    };
    tokio::select! {
        proof = proof => proof,
        code = deploy.engine.wait(&container.name) => Err(Error::Deploy(DeployError::AppExited {
            container: container.label(),
            code: code?,
            after: model::seconds(begun.elapsed()),
            output: deploy.engine.last_output(&container.name, OUTPUT_LINES).await,
        })),
    }
}

async fn try_until_healthy(deploy: &ActiveDeploy<'_>, container: &Container, check: &Check) -> Result<Proof> {
    let target = Target::of(deploy.instance, container);
    let timeout = Duration::from_secs(check.timeout_seconds.into());
    let begun = clock::instant();
    let mut explained = false;
    let mut others = OtherPorts::new(check, OTHER_PORT_AFTER.min(timeout / 2));
    loop {
        let reason = match probe(&deploy.engine, &target, check).await {
            Ok(said) => return Ok(Proof { said, port: None }),
            Err(reason) => reason,
        };
        if let Some(proof) = others.prove(&deploy.engine, &target, check, begun.elapsed()).await {
            return Ok(proof);
        }
        if begun.elapsed() >= timeout {
            let (reason, hint) = explain(deploy, container, check, reason, Listening::describe).await;
            return Err(Error::Deploy(DeployError::NeverHealthy(Box::new(NeverHealthy {
                container: container.label(),
                timeout: model::seconds(timeout),
                reason,
                hint,
                output: deploy.engine.last_output(&container.name, OUTPUT_LINES).await,
            }))));
        }
        if !explained && begun.elapsed() >= EXPLAIN_AFTER {
            explained = true;
            let (reason, _) = explain(deploy, container, check, reason, Listening::describe_so_far).await;
            deploy.log.detail(&format!(
                "{} is not healthy yet, waiting up to {}: {reason}",
                container.label(),
                model::seconds(timeout)
            ));
        }
        let elapsed = begun.elapsed();
        let pause = (elapsed / 10).clamp(FASTEST, SLOWEST);
        tokio::time::sleep(pause.min(timeout.saturating_sub(elapsed))).await;
    }
}

/// The ports that an image says it listens on, beside the one that its container is told: an app that knows nothing of
/// the variable PORT listens on one of them.
struct OtherPorts {
    /// Whether the check asks for the port that the container was told, and for none of its own.
    is_of_web: bool,
    /// How long one must be listened on, while the port that was told is not.
    patience: Duration,
    /// Those there are, once that is known.
    ports: Option<Vec<u16>>,
    /// Since when each of them is listened on.
    since: HashMap<u16, Duration>,
}

impl OtherPorts {
    fn new(check: &Check, patience: Duration) -> OtherPorts {
        let is_of_web = match &check.probe {
            Probe::Http(question) => question.port.is_none(),
            Probe::Tcp { port } => port.is_none(),
            Probe::Image(_) => true,
            Probe::Command(_) | Probe::Up => false,
        };
        OtherPorts { is_of_web, patience, ports: None, since: HashMap::new() }
    }

    /// Proves a container healthy on another port, if it has listened there for long enough and not on its own.
    async fn prove(&mut self, engine: &Engine, target: &Target, check: &Check, now: Duration) -> Option<Proof> {
        if !self.is_of_web {
            return None;
        }
        let ports = match &self.ports {
            Some(ports) => ports.clone(),
            None => {
                let exposed = engine.exposed(&target.name).await.into_iter();
                let ports: Vec<u16> = exposed.filter(|port| *port != target.port).take(PORTS_TRIED).collect();
                self.ports.insert(ports).clone()
            }
        };
        if ports.is_empty() || listens(target, target.port).await {
            self.since.clear();
            return None;
        }
        for port in ports {
            if !listens(target, port).await {
                self.since.remove(&port);
            } else if now.saturating_sub(*self.since.entry(port).or_insert(now)) >= self.patience {
                let other = Target { port, ..target.clone() };
                if let Ok(said) = probe(engine, &other, check).await {
                    return Some(Proof { said, port: Some(port) });
                }
            }
        }
        None
    }
}

/// Whether a container takes connections on a port.
async fn listens(target: &Target, port: u16) -> bool {
    tokio::time::timeout(SLOWEST, connect(target.address, port)).await.is_ok_and(|connected| connected.is_ok())
}

/// Why a container does not pass, and what to do about it, as far as the host can see.
///
/// `describe`: says what it listens on, in place of a port.
async fn explain(
    deploy: &ActiveDeploy<'_>,
    container: &Container,
    check: &Check,
    reason: String,
    describe: fn(&Listening, u16) -> Option<String>,
) -> (String, String) {
    let port = match &check.probe {
        Probe::Http(question) => question.port.unwrap_or(container.port),
        Probe::Tcp { port } => port.unwrap_or(container.port),
        Probe::Image(_) => container.port,
        Probe::Command(_) | Probe::Up => {
            let hint = "run the check's command in the app's own image to see why; `paas checks:set` changes it";
            return (reason, hint.to_owned());
        }
    };
    let listening = deploy.engine.listening(&container.name).await;
    if let Some(description) = listening.as_ref().and_then(|listening| describe(listening, port)) {
        let other = listening.as_ref().and_then(|listening| listening.reachable.first());
        let hint = match other {
            Some(other) => format!(
                "listen on 0.0.0.0 and on the port in the variable PORT ({port}), or set the port where it listens, with \
                 `port = {other}` in paas.toml or `paas config:set {} PORT={other} --no-restart`, and push again",
                deploy.app.name
            ),
            None => format!("listen on 0.0.0.0 and on the port in the variable PORT ({port})"),
        };
        return (description, hint);
    }
    let hint = match &check.probe {
        Probe::Http(question) if question.path.is_some() => {
            format!("the check asks for {}: see `[checks]` in paas.toml, or `paas checks:set`", question.path())
        }
        Probe::Image(_) => format!(
            "run the HEALTHCHECK of the Dockerfile inside the image to see why, or `paas checks:set {} type=http \
             --no-restart` asks over HTTP instead",
            deploy.app.name
        ),
        _ => "make / answer with a status below 500, or set a path that does: `path` under `[checks]` in paas.toml"
            .to_owned(),
    };
    (reason, hint)
}
