//! Making the engine agree with the database: what should run runs, what is dead gets no request, what nobody knows
//! goes.

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use tokio::net::TcpStream;
use tracing::{info, warn};

use crate::{
    Result,
    engine::{Engine, Event, Status},
    instance::Instance,
    lock::{self, Holder},
    model::{Actor, AppId, ContainerId, RestartPolicy, Scheduler},
    proxy,
    store::Container,
};

/// How long a container that came back may take to listen on its port.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one try to connect to it may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How many apps are looked after at once.
const APPS_AT_ONCE: usize = 4;
/// How often its port is tried.
const LISTEN_RETRY: Duration = Duration::from_millis(100);

/// The containers that are brought back.
#[derive(Clone, Default)]
pub(super) struct Reviving {
    /// Those that are waited for, until they listen on their port: each in a task of its own, because that may take its
    /// time.
    awaited: Arc<Mutex<HashSet<ContainerId>>>,
    /// Those that ended with the engine, and could not be started yet.
    owed: Arc<Mutex<HashSet<ContainerId>>>,
}

impl Reviving {
    fn begin(&self, instance: &Arc<Instance>, engine: &Engine, container: &Container) {
        if !locked(&self.awaited).insert(container.id) {
            return;
        }
        let (this, instance, engine, container) =
            (self.clone(), Arc::clone(instance), engine.clone(), container.clone());
        tokio::spawn(async move {
            if listens(&container).await
                && let Err(error) = revive(&instance, &engine, &container).await
            {
                warn!("{} of {}: {}", container.label(), container.app, error.one_line());
            }
            locked(&this.awaited).remove(&container.id);
        });
    }

    fn owes(&self, container: &Container) -> bool {
        locked(&self.owed).contains(&container.id)
    }

    fn set_owed(&self, container: &Container, owed: bool) {
        if owed {
            locked(&self.owed).insert(container.id);
        } else {
            locked(&self.owed).remove(&container.id);
        }
    }
}

fn locked(containers: &Mutex<HashSet<ContainerId>>) -> MutexGuard<'_, HashSet<ContainerId>> {
    containers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a container that listens its requests back, unless something else happened to it meanwhile.
async fn revive(instance: &Instance, engine: &Engine, container: &Container) -> Result<()> {
    // Where it is gone, something else may listen at its address.
    if engine.status(&container.name).await? != Status::Running {
        return Ok(());
    }
    let app_id = container.app_id;
    let now = instance.reading(move |tables| tables.containers_of_app(app_id)).await?;
    match now.into_iter().find(|other| other.id == container.id && other.is_live() && other.failing.is_none()) {
        Some(container) => set_healthy(instance, &container, true).await,
        None => Ok(()),
    }
}

/// Takes up what the engine says happened to a container.
pub(super) async fn happened(
    instance: &Arc<Instance>,
    engine: &Engine,
    reviving: &Reviving,
    event: &Event,
) -> Result<()> {
    let look = match event.action.as_str() {
        "start" => Look::Started,
        "die" => Look::Died,
        _ => return Ok(()),
    };
    let containers = instance.reading(|tables| tables.containers()).await?;
    match containers.iter().find(|container| container.name == event.container) {
        Some(container) if container.is_live() => look_after(instance, engine, reviving, container, look).await,
        _ => Ok(()),
    }
}

/// Looks at every container: those that should be there, and those that are.
///
/// `first`: whether the engine has just been connected to.
pub(super) async fn all(instance: &Arc<Instance>, engine: &Engine, reviving: &Reviving, first: bool) -> Result<()> {
    // The engine first: a container that is made after this has its row already.
    let listed = engine.list(&instance.id).await?;
    let containers = instance.reading(|tables| tables.containers()).await?;
    let runs = instance.reading(|tables| tables.unfinished_runs(None)).await?;
    let of_runs = runs.iter().map(|run| run.container.as_str());
    let known: HashSet<&str> = containers.iter().map(|container| container.name.as_str()).chain(of_runs).collect();
    for stray in listed.iter().filter(|name| !known.contains(name.as_str())) {
        warn!("removing the container {stray}, which no deploy knows");
        Scheduler::Local.remove(engine, stray).await?;
    }
    let look = if first { Look::First } else { Look::Round };
    // After a reboot there are many to be started: app by app, because each app's lock is needed for that.
    let mut apps: BTreeMap<AppId, Vec<Container>> = BTreeMap::new();
    for container in containers.into_iter().filter(Container::is_live) {
        apps.entry(container.app_id).or_default().push(container);
    }
    let looks = apps.into_values().map(|containers| async move {
        for container in containers {
            // One that cannot be helped is no reason to leave the others.
            if let Err(error) = look_after(instance, engine, reviving, &container, look).await {
                warn!("{} of {}: {}", container.label(), container.app, error.one_line());
            }
        }
    });
    futures_util::stream::iter(looks).buffer_unordered(APPS_AT_ONCE).collect::<()>().await;
    Ok(())
}

/// Why a container is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// The engine has just been connected to: what ended may have ended with it.
    First,
    /// It said that it started.
    Started,
    /// It said that it ended.
    Died,
    /// It is time.
    Round,
}

/// Sees that a live container runs, and that it gets requests only while it does.
async fn look_after(
    instance: &Arc<Instance>,
    engine: &Engine,
    reviving: &Reviving,
    container: &Container,
    look: Look,
) -> Result<()> {
    let id = container.id;
    let label = format!("{} of {}", container.label(), container.app);
    let look = if look == Look::Round && reviving.owes(container) { Look::First } else { look };
    let status = engine.status(&container.name).await?;
    if status == Status::Running {
        reviving.set_owed(container, false);
    }
    match status {
        // It ended, and the engine was quicker to start it again than we were to look: it may not listen for long.
        Status::Running if container.healthy && look == Look::Died && container.process.is_web() => {
            if !connects(container).await {
                set_healthy(instance, container, false).await?;
                reviving.begin(instance, engine, container);
            }
            Ok(())
        }
        Status::Running if container.healthy => Ok(()),
        Status::Running => {
            if container.ended {
                instance.writing(move |tables| tables.set_ended(id, false)).await?;
            }
            // One that fails its checks is up to these.
            if container.failing.is_some() {
                Ok(())
            } else if container.process.is_web() {
                reviving.begin(instance, engine, container);
                Ok(())
            } else {
                set_healthy(instance, container, true).await
            }
        }
        Status::Restarting => set_healthy(instance, container, false).await,
        Status::Exited(code) => {
            set_healthy(instance, container, false).await?;
            if stays_ended(container.restart, code) {
                // An engine that goes down ends its containers too: what is over is only known when it is still there.
                if look == Look::Round && !container.ended {
                    info!("{label} ended with code {code}, and is not started again: restart is {}", container.restart);
                    return instance.writing(move |tables| tables.set_ended(id, true)).await;
                }
                if matches!(look, Look::Started | Look::Died) || container.ended {
                    return Ok(());
                }
                reviving.set_owed(container, true);
            }
            info!("{label} ended with code {code}: starting it again");
            start(instance, engine, reviving, container).await
        }
        Status::Created => start(instance, engine, reviving, container).await,
        // What ended and stays so has no use for its container.
        Status::Missing if container.ended => Ok(()),
        Status::Missing => {
            set_healthy(instance, container, false).await?;
            warn!("{label} is gone: making it again");
            if remake(instance, engine, container).await? {
                started(instance, engine, reviving, container).await?;
            }
            Ok(())
        }
    }
}

/// Whether a container that ended is meant to stay so.
fn stays_ended(restart: RestartPolicy, code: i64) -> bool {
    match restart {
        RestartPolicy::Always => false,
        RestartPolicy::OnFailure(None) => code == 0,
        // The engine has tried as often as it should.
        RestartPolicy::OnFailure(Some(_)) | RestartPolicy::No => true,
    }
}

/// Starts a container again; one that cannot be started any more, for example because its network is gone, is made
/// anew.
async fn start(instance: &Arc<Instance>, engine: &Engine, reviving: &Reviving, container: &Container) -> Result<()> {
    if let Err(error) = Scheduler::Local.start_again(engine, container).await {
        warn!("{}: making it again", error.one_line());
        if !remake(instance, engine, container).await? {
            return Ok(());
        }
    }
    reviving.set_owed(container, false);
    started(instance, engine, reviving, container).await
}

/// Sees to it that a container that was started gets its requests as soon as it may.
async fn started(instance: &Arc<Instance>, engine: &Engine, reviving: &Reviving, container: &Container) -> Result<()> {
    // Read again: its address may be another.
    let app_id = container.app_id;
    let now = instance.reading(move |tables| tables.containers_of_app(app_id)).await?;
    match now.into_iter().find(|other| other.id == container.id && other.is_live()) {
        Some(container) if container.process.is_web() => reviving.begin(instance, engine, &container),
        // The engine says that it runs, or has ended again.
        _ => {}
    }
    Ok(())
}

/// Makes a container anew, unless an action holds its app, which may be about to end it. Says whether it did.
async fn remake(instance: &Instance, engine: &Engine, container: &Container) -> Result<bool> {
    let holder = Holder::new("making a container again", &Actor::Daemon);
    let Ok(_lock) = lock::try_lock(&instance.settings.paths.app_lock(container.app_id), &holder)? else {
        return Ok(false);
    };
    let (id, app_id) = (container.id, container.app_id);
    let containers = instance.reading(move |tables| tables.containers_of_app(app_id)).await?;
    let still_live = containers.iter().any(|other| other.id == id && other.is_live());
    if still_live {
        Scheduler::Local.remake(instance, engine, container).await?;
    }
    Ok(still_live)
}

async fn set_healthy(instance: &Instance, container: &Container, healthy: bool) -> Result<()> {
    if container.healthy != healthy {
        info!("{} of {} is {}", container.label(), container.app, if healthy { "healthy" } else { "down" });
        let id = container.id;
        instance.writing(move |tables| tables.set_healthy(id, healthy)).await?;
        proxy::nudge(instance).await;
    }
    Ok(())
}

async fn listens(container: &Container) -> bool {
    let tries = async {
        while !connects(container).await {
            tokio::time::sleep(LISTEN_RETRY).await;
        }
    };
    tokio::time::timeout(LISTEN_TIMEOUT, tries).await.is_ok()
}

/// Whether a container takes connections now.
async fn connects(container: &Container) -> bool {
    let connecting = TcpStream::connect(SocketAddr::from((container.address, container.port)));
    tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.is_ok_and(|connected| connected.is_ok())
}
