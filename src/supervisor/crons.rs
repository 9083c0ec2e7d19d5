//! Crons. Their rows decide, as those of other jobs: the row of a due time comes first, so whatever dies in between, the
//! time is begun once. What runs is a container, which outlives the daemon: the next one follows it to its end.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use crate::{
    Error, Result, clock,
    deploy::oneoff::{self, End, OneOff, Output},
    engine::Engine,
    error::EngineError,
    instance::Instance,
    model::{
        self, Actor, AppId, Caller, Change, CronName, CronSpec, CronTimes, Interrupted, JobState, Outcome, Overlap,
        Subject, Turn, counted,
    },
    settings,
    store::{Container, CronEnd, CronRun, NewEvent, StoredCron},
};

/// How many crons run at a time.
const AT_ONCE: usize = 16;
/// How often a run is begun that something else ended, if it is to be repeated.
const ATTEMPTS: u32 = 3;
/// How long a run waits for an engine that does not answer.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait before something is tried again that must come to its end.
const AGAIN: Duration = Duration::from_secs(1);

/// The crons, and those of their runs that are under way in this process.
#[derive(Clone)]
pub(super) struct Crons {
    instance: Arc<Instance>,
    turns: Arc<Semaphore>,
    running: Arc<Mutex<HashMap<i64, UnderWay>>>,
    decided: Arc<Mutex<HashMap<(AppId, CronName), Decided>>>,
    /// Those that there were at the last look.
    names: Arc<Mutex<Option<Names>>>,
}

/// Names of crons, each with its app.
type Names = HashSet<(AppId, CronName)>;

/// A run that is under way.
struct UnderWay {
    /// Says by which other run it is to be replaced.
    stop: watch::Sender<Option<i64>>,
}

/// What was decided of a cron, which holds until one of these changes or its time has come.
#[derive(PartialEq)]
struct Decided {
    spec: CronSpec,
    times: CronTimes,
    at: i64,
}

/// A cron with what is known of its times.
struct Known {
    cron: StoredCron,
    times: CronTimes,
}

impl Crons {
    pub(super) fn new(instance: &Arc<Instance>) -> Crons {
        let (running, decided, names) = Default::default();
        Crons { instance: Arc::clone(instance), turns: Arc::new(Semaphore::new(AT_ONCE)), running, decided, names }
    }

    /// Takes over what a daemon before this one began: follows what runs, and removes what nobody waits for.
    pub(super) async fn adopt(&self) -> Result<()> {
        let runs = self.instance.reading(|tables| tables.running_crons(None)).await?;
        let mut containers = oneoff::all(&self.instance).await?;
        for run in runs {
            let own = |container: &Container| {
                container.app_id == run.app_id
                    && container.process == run.name.process()
                    && i64::from(container.position) == run.id
            };
            let container = containers.iter().position(own).map(|place| containers.remove(place));
            self.spawn(run, Begin::Adopted(container));
        }
        // The run of such a container is over by its row.
        let strays: Vec<Container> =
            containers.into_iter().filter(|container| container.process.as_str().starts_with("cron-")).collect();
        if !strays.is_empty() {
            let this = self.clone();
            tokio::spawn(async move {
                for container in &strays {
                    this.clear(container).await;
                }
            });
        }
        Ok(())
    }

    /// Looks what is due, and begins it.
    pub(super) async fn look(&self) -> Result<()> {
        let read = self.instance.reading(|tables| {
            let crons = tables.crons(None)?;
            let known = crons.into_iter().map(|cron| {
                let times = tables.cron_times(cron.app_id, &cron.spec.name)?;
                Ok(Known { cron, times })
            });
            Ok((known.collect::<Result<Vec<Known>>>()?, tables.asked_crons()?))
        });
        let (known, asked) = read.await?;
        self.forget(&known).await?;
        for known in &known {
            if let Err(error) = self.take_turn(known).await {
                warn!("cron {} of {}: {}", known.cron.spec.name, known.cron.app, error.one_line());
            }
        }
        for run in asked {
            let cron = known.iter().find(|it| it.cron.app_id == run.app_id && it.cron.spec.name == run.name);
            self.begin_asked(run, cron.map(|known| &known.cron)).await?;
        }
        Ok(())
    }

    /// Forgets what waits for crons that there are no more.
    async fn forget(&self, known: &[Known]) -> Result<()> {
        let names: HashSet<(AppId, CronName)> =
            known.iter().map(|known| (known.cron.app_id, known.cron.spec.name.clone())).collect();
        locked(&self.decided).retain(|key, _| names.contains(key));
        // Most looks find nothing to forget, and write nothing.
        let are_all_there = locked(&self.names).as_ref().is_some_and(|former| former.is_subset(&names));
        if !are_all_there {
            let crons: Vec<StoredCron> = known.iter().map(|known| known.cron.clone()).collect();
            self.instance.writing(move |tables| tables.forget_strange_crons(&crons)).await?;
        }
        *locked(&self.names) = Some(names);
        Ok(())
    }

    /// Does about a cron what it is time for.
    async fn take_turn(&self, known: &Known) -> Result<()> {
        let Known { cron, times } = known;
        let now = clock::now();
        let (app_id, name) = (cron.app_id, cron.spec.name.clone());
        let key = (app_id, name.clone());
        if !cron.is_active() {
            locked(&self.decided).remove(&key);
            if times.waiting.is_some() {
                self.instance.writing(move |tables| tables.plan_cron(app_id, &name, None)).await?;
            }
            return Ok(());
        }
        let holds = |decided: &Decided| {
            decided.spec == cron.spec
                && decided.times == *times
                && decided.at <= now
                && times.waiting.is_none_or(|waiting| now < waiting)
        };
        if times.waiting.is_some() && locked(&self.decided).get(&key).is_some_and(holds) {
            return Ok(());
        }
        let turn = cron.spec.turn(&clock::zone(), app_id, *times, now);
        locked(&self.decided).insert(key, Decided { spec: cron.spec.clone(), times: *times, at: now });
        match turn {
            Turn::Wait(at) if times.waiting == Some(at) => Ok(()),
            Turn::Wait(at) => self.instance.writing(move |tables| tables.plan_cron(app_id, &name, Some(at))).await,
            Turn::Never if times.waiting.is_none() => Ok(()),
            Turn::Never => self.instance.writing(move |tables| tables.plan_cron(app_id, &name, None)).await,
            Turn::Miss { last, count } => {
                warn!("cron {name} of {}: {} missed", cron.app, counted(count));
                self.leave_out(cron, last, JobState::Missed, missed(count)).await
            }
            Turn::Begin { due, missed: before } => self.begin_due(cron, due, before).await,
        }
    }

    async fn leave_out(&self, cron: &StoredCron, due: i64, state: JobState, outcome: String) -> Result<()> {
        let cron = cron.clone();
        self.instance.writing(move |tables| tables.leave_out_cron(&cron, due, state, &outcome)).await
    }

    /// Begins the run for a due time. Without a place it waits for the next look.
    async fn begin_due(&self, cron: &StoredCron, due: i64, before: u32) -> Result<()> {
        let under_way = self.under_way(cron).await?;
        if let (Some(other), Overlap::Forbid) = (under_way.first(), cron.spec.overlap) {
            let outcome = format!("run {} was still under way", other.id);
            info!("cron {} of {}: left out, because {outcome}", cron.spec.name, cron.app);
            return self.leave_out(cron, due, JobState::Skipped, outcome).await;
        }
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else { return Ok(()) };
        let taken = cron.clone();
        let begun = self.instance.writing(move |tables| {
            let waiting = tables.cron_times(taken.app_id, &taken.spec.name)?.waiting;
            // What was missed before it has a row, too.
            if let (Some(first), true) = (waiting.filter(|first| *first < due), before > 0) {
                tables.leave_out_cron(&taken, first, JobState::Missed, &missed(before))?;
            }
            let id = tables.begin_cron(&taken, due)?;
            id.map(|id| tables.cron_run(taken.app_id, id)).transpose().map(Option::flatten)
        });
        // That time has had its run.
        let Some(run) = begun.await? else { return Ok(()) };
        self.spawn(run, Begin::New { turn, cron: cron.clone(), before: under_way });
        Ok(())
    }

    /// Begins a run that somebody asked for.
    async fn begin_asked(&self, run: CronRun, cron: Option<&StoredCron>) -> Result<()> {
        let (id, refuse) = (run.id, |state: JobState, outcome: String| {
            let id = run.id;
            self.instance.writing(move |tables| tables.refuse_asked_cron(id, state, &outcome))
        });
        let Some(cron) = cron else {
            return refuse(JobState::Failed, "there is no such cron any more".to_owned()).await;
        };
        let under_way = self.under_way(cron).await?;
        if let (Some(other), Overlap::Forbid) = (under_way.first(), cron.spec.overlap) {
            return refuse(JobState::Skipped, format!("run {} was still under way", other.id)).await;
        }
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else { return Ok(()) };
        let (taken, app_id) = (cron.clone(), run.app_id);
        let begun = self.instance.writing(move |tables| match tables.take_asked_cron(&taken, id)? {
            true => tables.cron_run(app_id, id),
            false => Ok(None),
        });
        if let Some(run) = begun.await? {
            self.spawn(run, Begin::New { turn, cron: cron.clone(), before: under_way });
        }
        Ok(())
    }

    async fn under_way(&self, cron: &StoredCron) -> Result<Vec<CronRun>> {
        let (app_id, name) = (cron.app_id, cron.spec.name.clone());
        self.instance.reading(move |tables| tables.running_crons(Some((app_id, &name)))).await
    }

    /// Follows a run to its end, in a task of its own.
    fn spawn(&self, run: CronRun, begin: Begin) {
        let (stop, stopped) = watch::channel(None);
        locked(&self.running).insert(run.id, UnderWay { stop });
        let this = self.clone();
        tokio::spawn(async move {
            this.carry_out(&run, begin, stopped).await;
            locked(&this.running).remove(&run.id);
        });
    }

    async fn carry_out(&self, run: &CronRun, begin: Begin, stopped: watch::Receiver<Option<i64>>) {
        settings::die_at("cron-begun");
        let ran = self.run(run, begin, stopped).await;
        let Ended { end, container, is_cut_short } = ran.unwrap_or_else(|error| {
            let end = CronEnd::of(JobState::Failed, error.one_line());
            Ended { end, container: None, is_cut_short: false }
        });
        info!("cron {} of app {}, run {}: {}", run.name, run.app_id, run.id, end.outcome);
        settings::die_at("cron-ended");
        // A run whose end is not written looks as if it went on, and the disk may be full for a while.
        while let Err(error) = self.write_end(run, &end, is_cut_short).await {
            warn!("cron {}: {}", run.name, error.one_line());
            tokio::time::sleep(AGAIN).await;
        }
        settings::die_at("cron-written");
        if let Some(container) = container {
            self.clear(&container).await;
        }
    }

    /// Runs it, and says what came of it; with its container, as long as that is there.
    async fn run(&self, run: &CronRun, begin: Begin, mut stopped: watch::Receiver<Option<i64>>) -> Result<Ended> {
        let spec = self.spec_of(run).await?;
        let (engine, container, _turn) = match begin {
            Begin::New { turn, cron, before } => {
                if cron.spec.overlap == Overlap::Replace {
                    self.replace(&before, run.id).await;
                }
                let engine = self.engine(ENGINE_TIMEOUT).await?;
                let what = OneOff {
                    app_id: run.app_id,
                    process: run.name.process(),
                    number: u32::try_from(run.id).map_err(Error::bug)?,
                    command: cron.spec.command.as_str().to_owned(),
                };
                let (container, _) = oneoff::start(&self.instance, &engine, &what).await?;
                settings::die_at("cron-started");
                (engine, container, Some(turn))
            }
            Begin::Adopted(None) => {
                let end = CronEnd::of(JobState::Interrupted, "the daemon ended before its container was there");
                return Ok(Ended { end, container: None, is_cut_short: true });
            }
            // An engine that is away has its containers still.
            Begin::Adopted(Some(container)) => (self.engine(Duration::MAX).await?, container, None),
        };
        // It may have been removed from its source meanwhile: then its limit is the usual one.
        let limit = spec.as_ref().map_or_else(CronSpec::usual_timeout, CronSpec::timeout);
        let left = oneoff::left_of(limit, run.started_at.unwrap_or_else(clock::now));
        let stop = async {
            if stopped.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let ended = oneoff::follow(&engine, &container, left, stop).await?;
        let replaced_by = *stopped.borrow();
        let output = match oneoff::output(&self.instance, &engine, &container).await {
            Ok(output) => output,
            Err(error) => {
                warn!("what run {} of the cron {} printed is lost: {}", run.id, run.name, error.one_line());
                Output::default()
            }
        };
        let took = model::seconds(clock::since(run.started_at.unwrap_or_else(clock::now)));
        let (state, outcome, exit_code) = match ended {
            End::Exited(0) => (JobState::Done, format!("done in {took}"), Some(0)),
            End::Exited(code) => (JobState::Failed, format!("exit code {code}, after {took}"), Some(code)),
            End::TooLong => {
                let limit = model::seconds(limit);
                (JobState::Failed, format!("ended, because it took longer than its limit of {limit}"), None)
            }
            End::Stopped => {
                let by = replaced_by.map(|by| format!("run {by} took its place")).unwrap_or_default();
                (JobState::Interrupted, by, None)
            }
            End::CutShort(code) => {
                let what = "it ended with Docker or the machine".to_owned();
                (JobState::Interrupted, what, code)
            }
        };
        let Output { text, dropped_bytes } = output;
        let is_cut_short = matches!(ended, End::CutShort(_));
        let end = CronEnd { state, outcome, exit_code, output: text, dropped_bytes };
        Ok(Ended { end, container: Some(container), is_cut_short })
    }

    /// What a run is of, as it is now.
    async fn spec_of(&self, run: &CronRun) -> Result<Option<CronSpec>> {
        let (app_id, name) = (run.app_id, run.name.clone());
        let crons = self.instance.reading(move |tables| tables.crons(Some(app_id))).await?;
        Ok(crons.into_iter().map(|cron| cron.spec).find(|spec| spec.name == name))
    }

    /// Ends runs in whose place another comes, and waits for it.
    async fn replace(&self, before: &[CronRun], by: i64) {
        for run in before {
            if let Some(under_way) = locked(&self.running).get(&run.id) {
                under_way.stop.send_replace(Some(by));
            }
        }
        while before.iter().any(|run| locked(&self.running).contains_key(&run.id)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Writes what came of a run, with the event of one that failed.
    async fn write_end(&self, run: &CronRun, end: &CronEnd, is_cut_short: bool) -> Result<()> {
        let (run, end) = (run.clone(), end.clone());
        let repeats = is_cut_short
            && run.attempt < ATTEMPTS
            && self.spec_of(&run).await?.is_some_and(|spec| spec.interrupted == Interrupted::Repeat);
        self.instance
            .writing(move |tables| {
                if !tables.end_cron(run.id, &end)? {
                    return Ok(());
                }
                if matches!(end.state, JobState::Failed | JobState::Interrupted) {
                    let app = tables.app_by_id(run.app_id)?.name;
                    let detail = format!("{}, run {}: {}", run.name, run.id, end.outcome);
                    let change = Change::new("cron:run", Subject::App(app)).with(detail);
                    let caller = Caller::daemon();
                    let (change, outcome) = (&change, Outcome::Failed);
                    tables.add_event(&NewEvent { caller: &caller, change, outcome, operation: None })?;
                }
                if repeats {
                    tables.ask_for_cron(run.app_id, &run.name, &Actor::Daemon, run.attempt + 1)?;
                }
                Ok(())
            })
            .await
    }

    /// Removes a container whose run is over by its row.
    async fn clear(&self, container: &Container) {
        loop {
            let removed = async {
                let engine = self.engine(Duration::MAX).await?;
                oneoff::remove(&self.instance, &engine, container).await
            };
            match removed.await {
                Ok(()) => return,
                Err(error) => warn!("{}: {}", container.name, error.one_line()),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The engine, as soon as it answers.
    async fn engine(&self, patience: Duration) -> Result<Engine> {
        let begun = clock::instant();
        loop {
            match Engine::connect(&self.instance.settings).await {
                Err(Error::Engine(EngineError::Unavailable { .. })) if begun.elapsed() < patience => {}
                other => return other,
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// What a run came to.
struct Ended {
    end: CronEnd,
    /// Its container, if there may be one still.
    container: Option<Container>,
    /// Whether something else ended it than itself, its limit and its successor.
    is_cut_short: bool,
}

/// How a run comes to its container.
enum Begin {
    /// It is to be made.
    New {
        turn: tokio::sync::OwnedSemaphorePermit,
        cron: StoredCron,
        /// The runs of the same cron that are under way.
        before: Vec<CronRun>,
    },
    /// A daemon before this one made it; none: it did not come to that.
    Adopted(Option<Container>),
}

/// What is said of times that had no run.
fn missed(count: u32) -> String {
    format!("{} without a run: the daemon was away, or had no place for it", counted(count))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
