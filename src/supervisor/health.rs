//! Checks of the containers that serve, for as long as they do. One that fails its check so often in a row as it may
//! gets no more requests at once, and is started again, with longer and longer pauses. One that ends is not the matter
//! here: the engine says so, and starts it again, with pauses of its own.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::frozen::{self, Watching};
use crate::{
    Result, clock,
    deploy::{self, Life, Target},
    engine::Engine,
    instance::Instance,
    model::{CheckMode, ContainerId, HttpProbe, Probe, ProcessSpec, Release, ReleaseId, RestartPolicy, Scheduler},
    proxy,
    store::Container,
};

/// How often a container that fails is checked, to see whether it is well again.
const FAILING_EVERY: Duration = Duration::from_secs(1);
/// The pause after the first restart of a failing container; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause between restarts of a failing container.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A container that was silent for so long is started again even if the proxy has requests in flight to it.
const LONGEST_SILENCE: Duration = Duration::from_secs(900);
/// After so long without a failure, a container's former restarts are forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// The containers that are being checked, and how each of them does.
#[derive(Clone, Default)]
pub(super) struct Checking {
    /// Whether they do anything at all.
    pub watching: Watching,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    watches: HashMap<ContainerId, Watch>,
    /// The process types of releases, by the release's row: they never change.
    releases: HashMap<ReleaseId, Vec<Arc<ProcessSpec>>>,
}

/// How a container does.
#[derive(Clone, Copy, Debug)]
struct Watch {
    due: Instant,
    busy: bool,
    failures: u32,
    silent_since: Option<Instant>,
    restarts: u32,
    restarted: Option<Instant>,
}

impl Watch {
    /// The pause after its last restart before there may be another.
    fn pause(&self) -> Duration {
        FIRST_PAUSE.saturating_mul(1 << self.restarts.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
    }
}

impl Checking {
    /// Begins the checks that are due, each in a task of its own.
    pub async fn begin(&self, instance: &Arc<Instance>, engine: &Engine) -> Result<()> {
        let known: HashSet<ReleaseId> = self.lock().releases.keys().copied().collect();
        let read = instance.reading(move |tables| {
            let mut live = tables.containers()?;
            live.retain(|container| container.is_live() && !container.ended);
            let unknown: HashSet<ReleaseId> =
                live.iter().map(|container| container.release_id).filter(|id| !known.contains(id)).collect();
            let releases = unknown.into_iter().map(|id| tables.release(id)).collect::<Result<Vec<Release>>>()?;
            Ok((live, releases))
        });
        let (live, releases) = read.await?;
        let live = self.begin_due(instance, engine, live, releases);
        let restart = {
            let (this, engine) = (self.clone(), engine.clone());
            move |container: Container| {
                let (this, engine) = (this.clone(), engine.clone());
                async move { this.restart_silent(&engine, &container).await }
            }
        };
        self.watching.begin(instance, engine, &live, restart).await
    }

    /// Begins the checks that are due, and returns the containers with how they are run.
    fn begin_due(
        &self,
        instance: &Arc<Instance>,
        engine: &Engine,
        live: Vec<Container>,
        releases: Vec<Release>,
    ) -> Vec<(Container, Arc<ProcessSpec>)> {
        let mut state = self.lock();
        let specs = |release: Release| (release.id, release.processes.into_iter().map(Arc::new).collect());
        state.releases.extend(releases.into_iter().map(specs));
        let ids: HashSet<ContainerId> = live.iter().map(|container| container.id).collect();
        let releases: HashSet<ReleaseId> = live.iter().map(|container| container.release_id).collect();
        state.watches.retain(|id, _| ids.contains(id));
        // One whose headers cannot be opened, because the key is missing, is left in peace until it is back.
        let opens = |specs: &[Arc<ProcessSpec>]| !specs.iter().any(|spec| spec.run.check.is_masked());
        state.releases.retain(|id, specs| releases.contains(id) && opens(specs));
        let now = clock::instant();
        let live: Vec<(Container, Arc<ProcessSpec>)> = live
            .into_iter()
            .filter_map(|container| {
                let specs = state.releases.get(&container.release_id)?;
                let spec = specs.iter().find(|spec| spec.process == container.process)?;
                Some((container, Arc::clone(spec)))
            })
            .collect();
        for (container, spec) in &live {
            // One that is down is not asked: the engine starts it again.
            let check = &spec.run.check;
            let is_checked = check.mode != CheckMode::Skipped && check.probe != Probe::Up;
            if !is_checked || (!container.healthy && container.failing.is_none()) {
                continue;
            }
            let interval = Duration::from_secs(check.interval_seconds.into());
            let watch = state.watches.entry(container.id).or_insert_with(|| Watch {
                // Spread, or all apps of a server would be asked in the same moment after its start.
                due: now + interval.mul_f64((container.id.0 % 10) as f64 / 10.0),
                busy: false,
                failures: 0,
                silent_since: None,
                restarts: 0,
                restarted: None,
            });
            if watch.busy || now < watch.due {
                continue;
            }
            watch.busy = true;
            let (this, instance, engine) = (self.clone(), Arc::clone(instance), engine.clone());
            let (container, spec) = (container.clone(), Arc::clone(spec));
            tokio::spawn(async move {
                if let Err(error) = this.check(&instance, &engine, &container, &spec).await {
                    warn!("checking {} of {}: {}", container.label(), container.app, error.one_line());
                }
                let failing = this.lock().watches.get(&container.id).is_some_and(|watch| watch.failures > 0);
                let pause = if failing { FAILING_EVERY.min(interval) } else { interval };
                if let Some(watch) = this.lock().watches.get_mut(&container.id) {
                    watch.busy = false;
                    watch.due = clock::instant() + pause;
                }
            });
        }
        live
    }

    /// Looks at once at a container of which the engine says that it was frozen, or runs on.
    pub async fn look_at(&self, instance: &Arc<Instance>, engine: &Engine, name: &str) -> Result<()> {
        let containers = instance.reading(|tables| tables.containers()).await?;
        if let Some(container) = containers.iter().find(|container| container.name == name) {
            self.watching.hasten(container.id);
            self.begin(instance, engine).await?;
        }
        Ok(())
    }

    /// Starts a container again that has been silent for long.
    async fn restart_silent(&self, engine: &Engine, container: &Container) {
        let may_restart = self.may_restart(container.id, container.restart);
        if may_restart && let Err(error) = restart(engine, container).await {
            warn!("restarting {} of {}: {}", container.label(), container.app, error.one_line());
        }
    }

    /// Whether a container may be started again now; then it is taken to be.
    fn may_restart(&self, id: ContainerId, policy: RestartPolicy) -> bool {
        let now = clock::instant();
        let mut state = self.lock();
        let Some(watch) = state.watches.get_mut(&id) else { return false };
        let rested = watch.restarted.is_none_or(|restarted| now - restarted > watch.pause());
        let may_restart = rested && policy != RestartPolicy::No;
        if may_restart {
            watch.restarts += 1;
            watch.restarted = Some(now);
            watch.failures = 0;
            watch.silent_since = None;
        }
        may_restart
    }

    async fn check(
        &self,
        instance: &Instance,
        engine: &Engine,
        container: &Container,
        spec: &ProcessSpec,
    ) -> Result<()> {
        let label = format!("{} of {}", container.label(), container.app);
        let check = &spec.run.check;
        let target = Target::of(instance, container);
        let failed = match &check.probe {
            // Where nobody said what a healthy answer is, any will do: an error page may be the fault of a database that a
            // restart would not bring back. And none may be that of a long request: whether there is another container
            // to take over is `frozen`'s to see.
            Probe::Http(HttpProbe { path: None, status: None, text: None, port, headers }) => {
                let target = Target { port: port.unwrap_or(target.port), ..target };
                let patience = Duration::from_secs(check.try_timeout_seconds.into());
                match deploy::life(&target, "/", headers, patience).await {
                    Life::Answers => None,
                    Life::Refused(reason) => Some(reason),
                    Life::Silent => return Ok(()),
                }
            }
            _ => deploy::probe(engine, &target, check).await.err(),
        };
        // The switch, the engine or a stop may have been quicker than the answer.
        let app_id = container.app_id;
        let still = instance.reading(move |tables| tables.containers_of_app(app_id)).await?;
        let Some(container) = still.into_iter().find(|other| other.id == container.id && other.is_live()) else {
            return Ok(());
        };
        // What is frozen says nothing of how it is.
        if container.failing.as_deref() == Some(frozen::PAUSED) {
            return Ok(());
        }
        let now = clock::instant();
        let Some(reason) = failed else {
            if container.failing.is_some() {
                info!("{label} is healthy again");
                instance.writing(move |tables| tables.set_failing(container.id, None)).await?;
                proxy::nudge(instance).await;
            }
            if let Some(watch) = self.lock().watches.get_mut(&container.id) {
                watch.failures = 0;
                watch.silent_since = None;
                if watch.restarted.is_some_and(|restarted| now - restarted > FORGET) {
                    watch.restarts = 0;
                }
            }
            return Ok(());
        };
        let is_silence = deploy::is_silence(&reason);
        let silent_since = {
            let mut state = self.lock();
            let Some(watch) = state.watches.get_mut(&container.id) else { return Ok(()) };
            watch.failures += 1;
            watch.silent_since = if is_silence { Some(watch.silent_since.unwrap_or(now)) } else { None };
            if watch.failures < check.attempts {
                return Ok(());
            }
            watch.silent_since
        };
        if container.failing.as_deref() != Some(&reason) {
            warn!("{label} is unhealthy: {reason}");
            instance.writing(move |tables| tables.set_failing(container.id, Some(&reason))).await?;
            proxy::nudge(instance).await;
        }
        // What is silent may be at a long request.
        let is_at_work = match silent_since {
            Some(since) if now - since < LONGEST_SILENCE => !frozen::is_idle(instance, &container).await,
            _ => false,
        };
        if !is_at_work && self.may_restart(container.id, spec.run.restart) {
            restart(engine, &container).await?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a container again that does not do its work; not one that somebody paused.
async fn restart(engine: &Engine, container: &Container) -> Result<()> {
    if engine.running(&container.name).await?.is_some_and(|running| running.is_paused) {
        return Ok(());
    }
    info!("{} of {} is unhealthy: restarting it", container.label(), container.app);
    Scheduler::Local.restart(engine, container).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_come_slower_and_slower_up_to_a_bound() {
        let mut watch =
            Watch { due: clock::instant(), busy: false, failures: 0, silent_since: None, restarts: 1, restarted: None };
        let mut pauses = Vec::new();
        for restarts in [1, 2, 3, 4, 5, 6, 7, 100] {
            watch.restarts = restarts;
            pauses.push(watch.pause().as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
    }
}
