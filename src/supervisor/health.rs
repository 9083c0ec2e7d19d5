//! Checks of the containers that serve, for as long as they do. One that fails its check so often in a row as it may
//! gets no more requests at once, and is started again, with longer and longer pauses. One that ends is not the matter
//! here: the engine says so, and starts it again, with pauses of its own.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::{
    Result, clock,
    deploy::{self, Target},
    engine::Engine,
    instance::Instance,
    model::{Check, CheckMode, ContainerId, Probe, ProcessSpec, Release, ReleaseId, RestartPolicy, Scheduler},
    proxy,
    store::Container,
};

/// How often a container that fails is checked, to see whether it is well again.
const FAILING_EVERY: Duration = Duration::from_secs(1);
/// The pause after the first restart of a failing container; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause between restarts of a failing container.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// After so long without a failure, a container's former restarts are forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// The containers that are being checked, and how each of them does.
#[derive(Clone, Default)]
pub(super) struct Checking {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    watches: HashMap<ContainerId, Watch>,
    /// The process types of releases, by the release's row: they never change.
    releases: HashMap<ReleaseId, Arc<Vec<ProcessSpec>>>,
}

/// How a container does.
#[derive(Clone, Copy, Debug)]
struct Watch {
    due: Instant,
    busy: bool,
    failures: u32,
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
        let mut state = self.lock();
        state.releases.extend(releases.into_iter().map(|release| (release.id, Arc::new(release.processes))));
        let ids: HashSet<ContainerId> = live.iter().map(|container| container.id).collect();
        let releases: HashSet<ReleaseId> = live.iter().map(|container| container.release_id).collect();
        state.watches.retain(|id, _| ids.contains(id));
        // One whose headers cannot be opened, because the key is missing, is left in peace until it is back.
        let opens = |specs: &[ProcessSpec]| !specs.iter().any(|spec| spec.run.check.is_masked());
        state.releases.retain(|id, specs| releases.contains(id) && opens(specs));
        let now = clock::instant();
        for container in live {
            let Some(specs) = state.releases.get(&container.release_id).map(Arc::clone) else { continue };
            let Some(spec) = specs.iter().find(|spec| spec.process == container.process) else { continue };
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
                restarts: 0,
                restarted: None,
            });
            if watch.busy || now < watch.due {
                continue;
            }
            watch.busy = true;
            let (this, instance, engine) = (self.clone(), Arc::clone(instance), engine.clone());
            let spec = spec.clone();
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
        Ok(())
    }

    async fn check(
        &self,
        instance: &Instance,
        engine: &Engine,
        container: &Container,
        spec: &ProcessSpec,
    ) -> Result<()> {
        let label = format!("{} of {}", container.label(), container.app);
        let check = Check { probe: spec.run.check.probe.while_serving(), ..spec.run.check.clone() };
        let failed = deploy::probe(engine, &Target::of(instance, container), &check).await.err();
        // The switch, the engine or a stop may have been quicker than the answer.
        let app_id = container.app_id;
        let still = instance.reading(move |tables| tables.containers_of_app(app_id)).await?;
        let Some(container) = still.into_iter().find(|other| other.id == container.id && other.is_live()) else {
            return Ok(());
        };
        let now = clock::instant();
        let Some(reason) = failed else {
            if container.failing.is_some() {
                info!("{label} is healthy again");
                instance.writing(move |tables| tables.set_failing(container.id, None)).await?;
                proxy::nudge(instance).await;
            }
            if let Some(watch) = self.lock().watches.get_mut(&container.id) {
                watch.failures = 0;
                if watch.restarted.is_some_and(|restarted| now - restarted > FORGET) {
                    watch.restarts = 0;
                }
            }
            return Ok(());
        };
        let may_restart = {
            let mut state = self.lock();
            let Some(watch) = state.watches.get_mut(&container.id) else { return Ok(()) };
            watch.failures += 1;
            if watch.failures < check.attempts {
                return Ok(());
            }
            let rested = watch.restarted.is_none_or(|restarted| now - restarted > watch.pause());
            let may_restart = rested && spec.run.restart != RestartPolicy::No;
            if may_restart {
                watch.restarts += 1;
                watch.restarted = Some(now);
                watch.failures = 0;
            }
            may_restart
        };
        if container.failing.as_deref() != Some(&reason) {
            warn!("{label} is unhealthy: {reason}");
            instance.writing(move |tables| tables.set_failing(container.id, Some(&reason))).await?;
            proxy::nudge(instance).await;
        }
        if may_restart {
            info!("{label} is unhealthy: restarting it");
            Scheduler::Local.restart(engine, &container).await?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_come_slower_and_slower_up_to_a_bound() {
        let mut watch = Watch { due: clock::instant(), busy: false, failures: 0, restarts: 1, restarted: None };
        let mut pauses = Vec::new();
        for restarts in [1, 2, 3, 4, 5, 6, 7, 100] {
            watch.restarts = restarts;
            pauses.push(watch.pause().as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
    }
}
