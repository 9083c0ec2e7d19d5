//! Making the engine agree with the database: what should run runs, what is dead gets no request, what nobody knows
//! goes.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use tokio::net::TcpStream;
use tracing::{info, warn};

use crate::{
    Result,
    engine::{Engine, Event, Status},
    instance::Instance,
    proxy,
    store::{Container, ContainerState},
};

/// How long a container that came back may take to listen on its port.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(60);
/// How often its port is tried.
const LISTEN_RETRY: Duration = Duration::from_millis(100);

/// Takes up what the engine says happened to a container.
pub(super) async fn happened(instance: &Instance, engine: &Engine, event: &Event) -> Result<()> {
    if !matches!(event.action.as_str(), "start" | "die") {
        return Ok(());
    }
    let containers = instance.read(|tables| tables.containers())?;
    match containers.iter().find(|container| container.name == event.container) {
        Some(container) if container.state == ContainerState::Live => look_after(instance, engine, container).await,
        _ => Ok(()),
    }
}

/// Looks at every container: those that should be there, and those that are.
pub(super) async fn all(instance: &Instance, engine: &Engine) -> Result<()> {
    // The engine first: a container that is made after this has its row already.
    let listed = engine.list(&instance.id).await?;
    let containers = instance.read(|tables| tables.containers())?;
    let known: HashSet<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    for stray in listed.iter().filter(|name| !known.contains(name.as_str())) {
        warn!("removing the container {stray}, which no deploy knows");
        engine.remove(stray).await?;
    }
    for container in containers.iter().filter(|container| container.state == ContainerState::Live) {
        look_after(instance, engine, container).await?;
    }
    Ok(())
}

/// Sees that a live container runs, and that it gets requests only while it does.
async fn look_after(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    match engine.status(&container.name).await? {
        Status::Running if container.healthy => Ok(()),
        Status::Running => {
            if !container.process.is_web() || listens(container).await {
                set_healthy(instance, container, true).await?;
            }
            Ok(())
        }
        Status::Restarting => set_healthy(instance, container, false).await,
        Status::Exited(code) => {
            set_healthy(instance, container, false).await?;
            info!("{} of {} ended with code {code}: starting it again", container.label(), container.app);
            engine.start_again(&container.name).await
        }
        Status::Created => engine.start_again(&container.name).await,
        Status::Missing => {
            warn!(
                "{} of {} is gone: `paas ps:restart {}` makes it anew",
                container.label(),
                container.app,
                container.app
            );
            set_healthy(instance, container, false).await
        }
    }
}

async fn set_healthy(instance: &Instance, container: &Container, healthy: bool) -> Result<()> {
    if container.healthy != healthy {
        info!("{} of {} is {}", container.label(), container.app, if healthy { "healthy" } else { "down" });
        instance.write(|tables| tables.set_healthy(container.id, healthy))?;
        proxy::nudge(instance).await;
    }
    Ok(())
}

async fn listens(container: &Container) -> bool {
    let address = SocketAddr::from((container.address, container.port));
    let tries = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(LISTEN_RETRY).await;
        }
    };
    tokio::time::timeout(LISTEN_TIMEOUT, tries).await.is_ok()
}
