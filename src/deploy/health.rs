//! Proving a new container healthy, before traffic moves to it.

use std::time::Duration;

use super::{
    deployment::ActiveDeploy,
    probe::{Target, probe},
};
use crate::{
    Error, Result, clock,
    error::{DeployError, NeverHealthy},
    model::{self, Check, Probe, ProcessSpec},
    store::Container,
};

/// How long a process that is only asked to stay up must do so.
const STAY_UP: Duration = Duration::from_secs(3);
/// The time between the first tries; it grows up to [`SLOWEST`].
const FASTEST: Duration = Duration::from_millis(25);
/// The longest time between tries.
const SLOWEST: Duration = Duration::from_secs(1);
/// When somebody who waits for a check is told why it does not pass yet.
const EXPLAIN_AFTER: Duration = Duration::from_secs(5);
/// How many of a failed container's last lines are shown.
const OUTPUT_LINES: u32 = 30;

/// Waits until a container is healthy, and says what proved it.
///
/// # Errors
/// `DeployError::AppExited` at once where it ends; `DeployError::NeverHealthy` after its check's timeout.
pub(super) async fn prove(deploy: &ActiveDeploy<'_>, container: &Container, process: &ProcessSpec) -> Result<String> {
    let begun = clock::instant();
    let check = &process.run.check;
    let proof = async {
        tokio::time::sleep(Duration::from_secs(check.initial_delay_seconds.into())).await;
        if check.probe == Probe::Up {
            tokio::time::sleep(STAY_UP).await;
            return Ok(format!("it stayed up for {}", model::seconds(STAY_UP)));
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

async fn try_until_healthy(deploy: &ActiveDeploy<'_>, container: &Container, check: &Check) -> Result<String> {
    let target = Target::of(deploy.instance, container);
    let timeout = Duration::from_secs(check.timeout_seconds.into());
    let begun = clock::instant();
    let mut pause = FASTEST;
    let mut explained = false;
    loop {
        let reason = match probe(&deploy.engine, &target, check).await {
            Ok(proof) => return Ok(proof),
            Err(reason) => reason,
        };
        if begun.elapsed() >= timeout {
            let (reason, hint) = explain(deploy, container, check, reason).await;
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
            let (reason, _) = explain(deploy, container, check, reason).await;
            deploy.log.detail(&format!(
                "{} is not healthy yet, waiting up to {}: {reason}",
                container.label(),
                model::seconds(timeout)
            ));
        }
        tokio::time::sleep(pause.min(timeout.saturating_sub(begun.elapsed()))).await;
        pause = (pause * 3 / 2).min(SLOWEST);
    }
}

/// Why a container does not pass, and what to do about it, as far as the host can see.
async fn explain(deploy: &ActiveDeploy<'_>, container: &Container, check: &Check, reason: String) -> (String, String) {
    let port = match &check.probe {
        Probe::Http(question) => question.port.unwrap_or(container.port),
        Probe::Tcp { port } => port.unwrap_or(container.port),
        Probe::Command(_) | Probe::Up => {
            let hint = "run the check's command in the app's own image to see why; `paas checks:set` changes it";
            return (reason, hint.to_owned());
        }
    };
    let listening = deploy.engine.listening(&container.name).await;
    if let Some(description) = listening.as_ref().and_then(|listening| listening.describe(port)) {
        let other = listening.as_ref().and_then(|listening| listening.reachable.first());
        let hint = match other {
            Some(other) => format!(
                "listen on 0.0.0.0 and on the port in the variable PORT ({port}), or say where it does listen, with \
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
        _ => "make / answer with a status below 500, or set a path that does: `path` under `[checks]` in paas.toml"
            .to_owned(),
    };
    (reason, hint)
}
