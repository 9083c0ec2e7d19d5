//! Containers that take requests and do nothing with them: paused, stopped, deadlocked, or busy with one request alone.
//! The kernel goes on to take connections for them, so each of them would hold its share of the requests.
//!
//! Where an app has several web containers, each is asked for a sign of life every [`EVERY`], over HTTP, and its cgroup is
//! looked at. One that is frozen gets no more requests at once, one that is silent twice in a row neither, as long as
//! another one answers. What it is at goes on, and the first answer brings it back. It is only started again when it has
//! been silent for [`RESTART_AFTER`] and no request is in flight to it: a server that does one thing at a time is silent as
//! long as a long request lasts. The only container of an app is left as it is: nothing could answer in its place.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::{
    Result, clock,
    deploy::{self, Life, Target},
    engine::Engine,
    instance::Instance,
    model::{Check, CheckMode, ContainerId, Probe, ProcessSpec},
    proxy,
    store::Container,
};

/// How often a container is asked that has another one beside it.
const EVERY: Duration = Duration::from_secs(1);
/// How often one is asked that was silent, and how long it may take to answer.
const SILENT_EVERY: Duration = Duration::from_secs(1);
/// How many silences in a row count.
const SILENCES: u32 = 2;
/// An answer that is older says nothing of now.
const RECENT: Duration = Duration::from_secs(5);
/// How long a container must be silent before it is started again, if no request is in flight to it.
pub(super) const RESTART_AFTER: Duration = Duration::from_secs(60);
/// How long one is looked for again whose cgroup is not found, because the engine is elsewhere.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Why a container gets no requests, in words: so that one that failed otherwise is not taken for one of these.
pub(super) const PAUSED: &str = "it is paused or frozen";
const SILENT: &str = "it takes connections and answers nothing";

/// The containers that are watched.
#[derive(Clone, Default)]
pub(super) struct Watching {
    watches: Arc<Mutex<HashMap<ContainerId, Watch>>>,
}

/// What is known of a container.
#[derive(Clone, Debug)]
struct Watch {
    due: Instant,
    busy: bool,
    /// How often in a row it was silent.
    silences: u32,
    silent_since: Option<Instant>,
    answered: Option<Instant>,
    frozen: bool,
    cgroup: Cgroup,
}

/// Where the kernel says whether a container is frozen.
#[derive(Clone, Debug)]
enum Cgroup {
    Unknown,
    At(PathBuf),
    NotSeenAt(Instant),
}

/// What to do about a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Leave,
    /// It has been silent for so long that it may be started again.
    Restart,
}

/// Whether a container was put in its state by this file.
fn is_ours(container: &Container) -> bool {
    matches!(container.failing.as_deref(), Some(PAUSED | SILENT))
}

/// The path that a container is asked for, and the headers; none where its check says that it is not to be asked over HTTP.
fn question(check: &Check) -> Option<(&str, &[(String, String)])> {
    match &check.probe {
        _ if check.mode == CheckMode::Skipped => None,
        Probe::Tcp { .. } | Probe::Up => None,
        // A path of its own port may be none of the app's.
        Probe::Http(probe) if probe.port.is_none() => Some((probe.path(), &probe.headers)),
        Probe::Http(_) | Probe::Command(_) | Probe::Image(_) => Some(("/", &[])),
    }
}

impl Watching {
    /// Looks at those that are due, each in a task of its own. `restart` is told of those that may be started again.
    pub async fn begin<F: Future<Output = ()> + Send + 'static>(
        &self,
        instance: &Arc<Instance>,
        engine: &Engine,
        live: &[(Container, Arc<ProcessSpec>)],
        restart: impl Fn(Container) -> F + Clone + Send + 'static,
    ) -> Result<()> {
        let web = live.iter().filter(|(container, _)| container.process.is_web());
        let mut of_app: HashMap<_, Vec<&(Container, Arc<ProcessSpec>)>> = HashMap::new();
        for entry in web {
            of_app.entry(entry.0.app_id).or_default().push(entry);
        }
        let ids: HashSet<ContainerId> = of_app.values().flatten().map(|(container, _)| container.id).collect();
        self.lock().retain(|id, _| ids.contains(id));
        for containers in of_app.into_values() {
            for (container, spec) in &containers {
                let others: Vec<ContainerId> =
                    containers.iter().map(|(other, _)| other.id).filter(|id| *id != container.id).collect();
                if is_ours(container) && !containers.iter().any(|(other, _)| other.healthy) {
                    // It is the last one now.
                    self.give_back(instance, container).await?;
                    continue;
                }
                // One that is down is not asked: the engine starts it again.
                let is_down = !container.healthy && container.failing.is_none();
                if is_down || others.is_empty() || !self.is_due(container.id) {
                    continue;
                }
                let (this, instance, engine, restart) =
                    (self.clone(), Arc::clone(instance), engine.clone(), restart.clone());
                let (container, spec) = (container.clone(), Arc::clone(spec));
                tokio::spawn(async move {
                    let verdict = this.look(&instance, &engine, &container, &spec, &others).await;
                    this.with(container.id, |watch| {
                        watch.busy = false;
                        let pause = if watch.silences > 0 || watch.frozen { SILENT_EVERY } else { EVERY };
                        watch.due = clock::instant() + pause;
                    });
                    match verdict {
                        Ok(Verdict::Restart) => restart(container).await,
                        Ok(Verdict::Leave) => {}
                        Err(error) => warn!("{} of {}: {}", container.label(), container.app, error.one_line()),
                    }
                });
            }
        }
        Ok(())
    }

    /// Has a container looked at in the next round.
    pub fn hasten(&self, id: ContainerId) {
        if let Some(watch) = self.lock().get_mut(&id) {
            watch.due = clock::instant();
        }
    }

    fn is_due(&self, id: ContainerId) -> bool {
        let now = clock::instant();
        let mut watches = self.lock();
        let watch = watches.entry(id).or_insert_with(|| Watch {
            // Spread, or all would be asked in the same moment.
            due: now + EVERY.mul_f64((id.0 % 10) as f64 / 10.0),
            busy: false,
            silences: 0,
            silent_since: None,
            answered: None,
            frozen: false,
            cgroup: Cgroup::Unknown,
        });
        let is_due = !watch.busy && now >= watch.due;
        watch.busy |= is_due;
        is_due
    }

    /// Looks at a container that has others beside it.
    async fn look(
        &self,
        instance: &Instance,
        engine: &Engine,
        container: &Container,
        spec: &ProcessSpec,
        others: &[ContainerId],
    ) -> Result<Verdict> {
        let id = container.id;
        let is_frozen = self.is_frozen(engine, container).await;
        self.with(id, |watch| watch.frozen = is_frozen);
        if is_frozen {
            if container.failing.is_none() {
                let well: Vec<ContainerId> = self.those(others, |watch| !watch.frozen);
                self.take_out(instance, container, PAUSED, well).await?;
            }
            return Ok(Verdict::Leave);
        }
        let Some((path, headers)) = question(&spec.run.check) else {
            if container.failing.as_deref() == Some(PAUSED) {
                self.give_back(instance, container).await?;
            }
            return Ok(Verdict::Leave);
        };
        let target = Target::of(instance, container);
        // After one silence the next question follows at once: the first has taken a second.
        loop {
            match deploy::life(&target, path, headers, SILENT_EVERY).await {
                Life::Answers => {
                    self.with(id, |watch| {
                        (watch.silences, watch.silent_since) = (0, None);
                        watch.answered = Some(clock::instant());
                    });
                    if is_ours(container) {
                        self.give_back(instance, container).await?;
                    }
                    return Ok(Verdict::Leave);
                }
                // One that takes no connection holds no request: its check and the engine's events are for that.
                Life::Refused(_) => {
                    self.with(id, |watch| (watch.silences, watch.silent_since) = (0, None));
                    return Ok(Verdict::Leave);
                }
                Life::Silent => {
                    let now = clock::instant();
                    let silences = self.with(id, |watch| {
                        watch.silences = watch.silences.saturating_add(1);
                        watch.silent_since.get_or_insert(now);
                        watch.silences
                    });
                    if silences.is_some_and(|silences| silences < SILENCES) {
                        continue;
                    }
                    if container.failing.is_none() {
                        let well = self.those(others, |watch| {
                            watch.silences == 0 && watch.answered.is_some_and(|answered| now - answered < RECENT)
                        });
                        self.take_out(instance, container, SILENT, well).await?;
                        return Ok(Verdict::Leave);
                    }
                    let since = self.with(id, |watch| watch.silent_since).flatten();
                    let is_long = since.is_some_and(|since| now - since > RESTART_AFTER);
                    let may_restart = container.failing.as_deref() == Some(SILENT) && is_long;
                    let restarts = may_restart && is_idle(instance, container).await;
                    return Ok(if restarts { Verdict::Restart } else { Verdict::Leave });
                }
            }
        }
    }

    /// Whether the kernel does not let a container run.
    async fn is_frozen(&self, engine: &Engine, container: &Container) -> bool {
        let known = self.with(container.id, |watch| watch.cgroup.clone());
        let path = match known {
            Some(Cgroup::At(path)) => Some(path),
            Some(Cgroup::NotSeenAt(looked)) if looked.elapsed() < LOOK_AGAIN => None,
            Some(Cgroup::Unknown | Cgroup::NotSeenAt(_)) | None => {
                let found = engine.freezer(&container.name).await;
                let cgroup = found.clone().map_or_else(|| Cgroup::NotSeenAt(clock::instant()), Cgroup::At);
                self.with(container.id, |watch| watch.cgroup = cgroup);
                found
            }
        };
        let Some(path) = path else { return false };
        match std::fs::read_to_string(&path) {
            Ok(text) => says_frozen(&text),
            // It ended. When it comes back it may be another one under its name.
            Err(_) => {
                self.with(container.id, |watch| watch.cgroup = Cgroup::Unknown);
                false
            }
        }
    }

    /// Those among some containers of which that is known.
    fn those(&self, ids: &[ContainerId], is: impl Fn(&Watch) -> bool) -> Vec<ContainerId> {
        let watches = self.lock();
        ids.iter().copied().filter(|id| watches.get(id).is_some_and(&is)).collect()
    }

    /// Takes a container's requests away, if one of those that are well has requests.
    async fn take_out(
        &self,
        instance: &Instance,
        container: &Container,
        reason: &'static str,
        well: Vec<ContainerId>,
    ) -> Result<()> {
        let id = container.id;
        if instance.writing(move |tables| tables.set_failing_beside(id, reason, &well)).await? {
            warn!("{} of {} gets no requests for now: {reason}", container.label(), container.app);
            proxy::nudge(instance).await;
        }
        Ok(())
    }

    /// Gives a container its requests back, unless it was found to fail otherwise meanwhile.
    async fn give_back(&self, instance: &Instance, container: &Container) -> Result<()> {
        let (id, app_id) = (container.id, container.app_id);
        let given = instance.writing(move |tables| {
            let now = tables.containers_of_app(app_id)?;
            let is_still = now.iter().any(|other| other.id == id && other.is_live() && is_ours(other));
            if is_still {
                tables.set_failing(id, None)?;
            }
            Ok(is_still)
        });
        if given.await? {
            info!("{} of {} gets requests again", container.label(), container.app);
            proxy::nudge(instance).await;
        }
        Ok(())
    }

    fn with<T>(&self, id: ContainerId, work: impl FnOnce(&mut Watch) -> T) -> Option<T> {
        self.lock().get_mut(&id).map(work)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the proxy has no request in flight to a container; where it cannot tell, there may be one.
pub(super) async fn is_idle(instance: &Instance, container: &Container) -> bool {
    let upstream = std::net::SocketAddrV4::new(container.address, container.port);
    matches!(proxy::in_flight(instance, upstream).await, Ok(Some(0)))
}

/// Reads the kernel's word: `freezer.state` of cgroup v1, `cgroup.events` of v2.
fn says_frozen(text: &str) -> bool {
    text.lines().any(|line| matches!(line.trim(), "FROZEN" | "FREEZING" | "frozen 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HttpProbe, ProcessSettings, ProcessType};

    #[test]
    fn both_kinds_of_cgroups_say_whether_they_are_frozen() {
        for frozen in ["FROZEN\n", "FREEZING\n", "populated 1\nfrozen 1\n"] {
            assert!(says_frozen(frozen), "{frozen:?}");
        }
        for thawed in ["THAWED\n", "populated 1\nfrozen 0\n", ""] {
            assert!(!says_frozen(thawed), "{thawed:?}");
        }
    }

    #[test]
    fn only_what_speaks_http_is_asked_over_http() -> Result<()> {
        let web = ProcessSettings::default().resolve(&ProcessType::web())?.check;
        let of = |probe: Probe| Check { probe, ..web.clone() };
        let path = |check: &Check| question(check).map(|(path, _)| path.to_owned());
        assert_eq!(path(&web).as_deref(), Some("/"));
        let up = HttpProbe { path: Some("/up".to_owned()), ..HttpProbe::default() };
        assert_eq!(path(&of(Probe::Http(up.clone()))).as_deref(), Some("/up"));
        assert_eq!(path(&of(Probe::Http(HttpProbe { port: Some(9000), ..up }))).as_deref(), Some("/"));
        assert_eq!(path(&of(Probe::Image(vec!["up".to_owned()]))).as_deref(), Some("/"));
        assert_eq!(path(&of(Probe::Command("up".to_owned()))).as_deref(), Some("/"));
        assert_eq!(path(&of(Probe::Tcp { port: None })), None);
        assert_eq!(path(&of(Probe::Up)), None);
        assert_eq!(path(&Check { mode: CheckMode::Skipped, ..web }), None);
        Ok(())
    }
}
