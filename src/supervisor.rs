//! The daemon: one loop over a closed set of ticks, beside the doors it opens. Everything it does is idempotent and
//! written down first, so that it may die at any moment.

mod crons;
mod frozen;
mod health;
mod jobs;
mod reconcile;
mod routes;
mod runs;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use tokio::sync::watch;
use tracing::{error, info, warn};
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    Error, Result,
    certificate::Authority,
    deploy, edge,
    engine::{Engine, Event},
    error::HostError,
    files, git,
    instance::Instance,
    lock::{self, Holder},
    model::{Actor, AppId},
    ops::operations,
    proxy,
    settings::{LogFormat, Settings, Tls},
    ssh,
};

/// How often containers on their way out are looked for.
const RETIRE_EVERY: Duration = Duration::from_millis(250);
/// How often dead deploys are looked for.
const RECOVER_EVERY: Duration = Duration::from_secs(2);
/// How often the database is compared with the engine, beside the engine's own events.
const RECONCILE_EVERY: Duration = Duration::from_secs(10);
/// How often runs that are not over are looked at.
const RUNS_EVERY: Duration = Duration::from_secs(1);
/// How often containers whose check is due are looked for.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether other containers are to be kept from the machine.
const FENCE_EVERY: Duration = Duration::from_secs(2);
/// How often at least while that changes all the time.
const FENCE_SLOWEST: Duration = Duration::from_secs(30);
/// How long to wait before that is tried again where it cannot be.
const FENCE_AGAIN: Duration = Duration::from_secs(60);
/// How long to wait before an engine that does not answer is asked again.
const ENGINE_RETRY: Duration = Duration::from_secs(1);
/// How long to wait before the daemon's lock is tried once more.
const LOCK_AGAIN: Duration = Duration::from_millis(300);
/// How long the doors may take to close.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the engine may take to say whose containers it has, when the daemon starts.
const ENGINE_ANSWERS: Duration = Duration::from_secs(5);
/// How often the daemon looks whether its lock says who holds it.
const SAY_AGAIN: Duration = Duration::from_secs(5);
/// Threads of the daemon: it mostly waits.
const THREADS: usize = 2;

/// Begins to write what `tracing` is told to stderr, as far as `PAAS_LOG` wants it.
fn write_log(format: LogFormat) {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(crate::settings::log_filter());
    match format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
}

/// Runs the daemon until it is told to stop (SIGTERM, SIGINT). Caddy and running deploys outlive it.
///
/// `new_instance`: it begins anew where an instance was that has lost its database.
///
/// # Errors
/// `HostError::AlreadyServing`; `HostError::Listen` where a port is taken; whatever keeps it from starting.
pub fn serve(settings: Settings, new_instance: bool) -> Result<()> {
    write_log(settings.log_format);
    let opened = if new_instance {
        let (instance, former) = Instance::begin(settings)?;
        if let Some(former) = former {
            warn!("a new instance begins, {}; what was there is in {}", instance.id, former.display());
        }
        instance
    } else {
        Instance::open(settings)?
    };
    let instance = Arc::new(opened.for_daemon()?);
    let holder = Holder::new("paas serve", &Actor::Daemon);
    let path = instance.settings.paths.daemon_lock();
    let mut lock = lock::try_lock(&path, &holder)?;
    if lock.is_err() {
        // A command that asks whether the daemon runs has the lock for a moment.
        std::thread::sleep(LOCK_AGAIN);
        lock = lock::try_lock(&path, &holder)?;
    }
    let Ok(lock) = lock else {
        return Err(Error::Host(HostError::AlreadyServing { root: instance.settings.paths.root().to_owned() }));
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(8)
        .thread_stack_size(512 * 1024)
        .enable_all()
        .build()
        .map_err(Error::io("start"))?
        .block_on(run(instance, lock, new_instance))
}

async fn run(instance: Arc<Instance>, lock: lock::Lock, new_instance: bool) -> Result<()> {
    refuse_former_containers(&instance, new_instance).await?;
    git::install_hooks(&instance.settings.paths)?;
    let (stop, stopped) = watch::channel(false);
    proxy::check_program(&instance.settings)?;
    proxy::check_ports(&instance).await?;
    // Whoever listens fails here, before anything else is begun.
    let doors = ssh::Server::bind(Arc::clone(&instance)).await?;
    edge::warn_of_port(&instance.settings);
    if instance.settings.tls == Tls::Internal
        && let Err(error) = make_authority(&instance).await
    {
        error!("there are no certificates of the internal authority: {}", error.one_line());
    }
    let keeper = edge::Keeper::start(Arc::clone(&instance)).await?;
    let edge = tokio::spawn(edge::supervise(keeper, stopped.clone()));
    let ssh_address = doors.address();
    let doors = tokio::spawn(doors.run(stopped.clone()));
    let proxy = tokio::spawn(proxy::supervise(Arc::clone(&instance), stopped.clone()));
    let inner = tokio::spawn(proxy::supervise_inner(Arc::clone(&instance), stopped.clone()));
    info!(
        "paas {} serves {}: ssh on {ssh_address}, apps at {}",
        env!("CARGO_PKG_VERSION"),
        instance.settings.paths.root().display(),
        instance.settings.app_url(&"app".parse()?).replace("//app.", "//APP."),
    );
    let supervisor = tokio::spawn(supervise(Arc::clone(&instance)));
    let routes = tokio::spawn(routes::watch(Arc::clone(&instance)));
    let jobs = tokio::spawn(jobs::run(Arc::clone(&instance)));
    let signal = tokio::select! {
        signal = wait_for_signal() => signal?,
        () = say_again(&lock) => return Err(Error::bug("what never ends has ended")),
    };
    info!("{signal}: stopping; Caddy and running deploys keep running");
    supervisor.abort();
    routes.abort();
    jobs.abort();
    // Nobody listens where all have ended already.
    let _ = stop.send(true);
    let ended = async {
        drop(doors.await);
        drop(edge.await);
        drop(inner.await);
        proxy.await
    };
    match tokio::time::timeout(STOP_TIMEOUT, ended).await {
        Ok(Ok(Err(error))) => error!("{}", error.one_line()),
        Ok(Err(error)) => error!("{error}"),
        Ok(Ok(Ok(()))) | Err(_) => {}
    }
    jobs::checkpoint(&instance).await.map(drop)
}

/// Makes the internal authority where there is none, and writes its certificate where clients that are to trust it find it.
async fn make_authority(instance: &Instance) -> Result<()> {
    instance.writing(Authority::make).await?;
    let authority = instance.reading(Authority::read).await?;
    match authority {
        Some(authority) => {
            files::write_whole(&instance.settings.paths.authority(), authority.certificate().as_bytes(), 0o644)
        }
        // The key that opens it is missing, as is said elsewhere.
        None => Ok(()),
    }
}

/// Says in the file of the daemon's lock who holds it, as long as it is held, whatever becomes of the file.
async fn say_again(lock: &lock::Lock) {
    loop {
        tokio::time::sleep(SAY_AGAIN).await;
        lock.say_again();
    }
}

/// Refuses to serve in a root directory that is empty while the containers of an instance that was in it are there still:
/// in the network that ours would have.
async fn refuse_former_containers(instance: &Instance, new_instance: bool) -> Result<()> {
    if !instance.reading(|tables| tables.apps()).await?.is_empty() {
        return Ok(());
    }
    let settings = &instance.settings;
    let asked = async { Engine::connect(settings).await?.instances_in(settings.subnet).await };
    // An engine that does not answer is waited for later.
    let Ok(Ok(others)) = tokio::time::timeout(ENGINE_ANSWERS, asked).await else { return Ok(()) };
    for (other, containers) in others.into_iter().filter(|(other, containers)| *other != instance.id && *containers > 0)
    {
        let what = format!(
            "{containers} containers of the instance {other} are in the network {} (PAAS_SUBNET)",
            settings.subnet
        );
        if !new_instance {
            return Err(Error::Host(HostError::FormerInstance {
                root: settings.paths.root().to_owned(),
                found: what,
                missing: "its database is new".to_owned(),
            }));
        }
        warn!(
            "{what}: `docker rm -f $(docker ps -aq --filter label=paas.instance={other}); docker network rm paas-{other}` \
             removes them"
        );
    }
    Ok(())
}

async fn wait_for_signal() -> Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(Error::io("listen for signals"));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// What the loop wakes up for.
enum Tick {
    /// Containers may be on their way out.
    Retire,
    /// A deploy may have died.
    Recover,
    /// The database and the engine may disagree.
    Reconcile,
    /// Something happened to a container.
    Happened(Event),
    /// The engine went away.
    EngineLost,
}

async fn supervise(instance: Arc<Instance>) {
    let retiring = Retiring::default();
    let checking = health::Checking::default();
    let reviving = reconcile::Reviving::default();
    let watching = runs::Watching::default();
    loop {
        let engine = match Engine::connect(&instance.settings).await {
            Ok(engine) => engine,
            Err(error) => {
                warn!("{}", error.one_line());
                tokio::time::sleep(ENGINE_RETRY).await;
                continue;
            }
        };
        tokio::select! {
            () = with_engine(&instance, &engine, &retiring, &reviving, &checking) => {}
            // Beside the loop, whose steps may have to wait for others: a container that serves is checked all the same.
            () = check(&instance, &engine, &checking) => {}
            () = fence(&instance, &engine) => {}
            () = watch_runs(&instance, &engine, &watching) => {}
        }
        tokio::time::sleep(ENGINE_RETRY).await;
    }
}

/// Looks after the apps as long as the engine answers.
async fn with_engine(
    instance: &Arc<Instance>,
    engine: &Engine,
    retiring: &Retiring,
    reviving: &reconcile::Reviving,
    checking: &health::Checking,
) {
    let mut events = std::pin::pin!(engine.events(&instance.id));
    let mut retire = tokio::time::interval(RETIRE_EVERY);
    let mut recover = tokio::time::interval(RECOVER_EVERY);
    let mut reconcile = tokio::time::interval(RECONCILE_EVERY);
    let mut first = true;
    loop {
        let tick = tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => Tick::Happened(event),
                Some(Err(_)) | None => Tick::EngineLost,
            },
            _ = retire.tick() => Tick::Retire,
            _ = recover.tick() => Tick::Recover,
            _ = reconcile.tick() => Tick::Reconcile,
        };
        let done = match tick {
            Tick::Retire => retiring.begin(instance, engine).await,
            Tick::Recover => put_right(instance, engine).await,
            Tick::Reconcile => reconcile::all(instance, engine, reviving, std::mem::take(&mut first)).await,
            Tick::Happened(event) if matches!(event.action.as_str(), "pause" | "unpause") => {
                checking.look_at(instance, engine, &event.container).await
            }
            Tick::Happened(event) => reconcile::happened(instance, engine, reviving, &event).await,
            Tick::EngineLost => return,
        };
        if let Err(error) = done {
            warn!("{}", error.one_line());
        }
    }
}

/// Begins the checks that are due, for ever.
async fn check(instance: &Arc<Instance>, engine: &Engine, checking: &health::Checking) {
    let mut check = tokio::time::interval(CHECK_EVERY);
    loop {
        check.tick().await;
        if let Err(error) = checking.begin(instance, engine).await {
            warn!("{}", error.one_line());
        }
    }
}

/// Looks at the runs that are not over, for ever.
async fn watch_runs(instance: &Arc<Instance>, engine: &Engine, watching: &runs::Watching) {
    let mut look = tokio::time::interval(RUNS_EVERY);
    loop {
        look.tick().await;
        if let Err(error) = watching.begin(instance, engine).await {
            warn!("{}", error.one_line());
        }
    }
}

/// Keeps containers from the machine's own services, for ever: at the start, after a restart of the engine, and when it
/// changes who is on its networks.
async fn fence(instance: &Arc<Instance>, engine: &Engine) {
    let mut in_force = None;
    let mut former = String::new();
    let mut pause = FENCE_EVERY;
    loop {
        let done = async {
            let rules = deploy::fence(instance, engine).await?;
            if in_force.as_ref() == Some(&rules) {
                return Ok(None);
            }
            let former = deploy::in_force(instance).await?;
            // Rules outlive the setting: they are taken back where there were some.
            if former.is_some_and(|former| !former.fences.is_empty()) || !rules.fences.is_empty() {
                deploy::put_up_fence(instance, engine, &rules).await?;
            }
            Ok::<_, Error>(Some(rules))
        };
        match done.await {
            Ok(None) => pause = FENCE_EVERY,
            // Each change takes a container: where others come and go all the time, it is done less often.
            Ok(Some(rules)) => (in_force, pause) = (Some(rules), (pause * 2).min(FENCE_SLOWEST)),
            Err(error) => {
                let reason = error.one_line();
                if former != reason {
                    warn!("apps and builds are not kept from this machine's services: {reason}");
                    former = reason;
                }
                pause = FENCE_AGAIN;
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// The apps whose old containers are being retired: each in a task of its own, because a drain may take its time.
#[derive(Clone, Default)]
struct Retiring {
    apps: Arc<Mutex<HashSet<AppId>>>,
}

impl Retiring {
    async fn begin(&self, instance: &Arc<Instance>, engine: &Engine) -> Result<()> {
        for app_id in deploy::apps_to_retire(instance).await? {
            if !self.lock().insert(app_id) {
                continue;
            }
            let (this, instance, engine) = (self.clone(), Arc::clone(instance), engine.clone());
            tokio::spawn(async move {
                if let Err(error) = deploy::retire_app(&instance, &engine, app_id).await {
                    warn!("retiring containers of app {app_id}: {}", error.one_line());
                    tokio::time::sleep(ENGINE_RETRY).await;
                }
                this.lock().remove(&app_id);
            });
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<AppId>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts right what dead processes left: deploys, and all other operations.
async fn put_right(instance: &Instance, engine: &Engine) -> Result<()> {
    deploy::recover(instance, engine).await?;
    operations::recover(instance).await
}
