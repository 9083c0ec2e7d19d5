//! Work whose length a stranger decides. What a repository holds is walked, read, parsed and rendered off the async
//! threads, within [`Limits`], and one [`Work`] ends all of it: the deploy that is cancelled drops what waits for it, and
//! whatever still runs finds that out, or is killed. A thread that never looks is left behind. It holds no lock, and ends
//! with its process.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, setrlimit};
use tracing::warn;

use crate::{
    Error, Result, clock,
    error::SourceError,
    model::{
        Property,
        property::{self, Value},
    },
};

/// How long after its time was over a thread may take to say so itself, before it is left.
const GRACE: Duration = Duration::from_millis(500);
/// How readily the kernel ends a process that deploys when memory runs out: rather than the daemon, Caddy or an app.
const OOM_SCORE: u32 = 500;
/// How many bytes a kilobyte has in what we print, and so on.
const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];

/// What may be in a repository, and how much is done with it. Each has a setting, whose default holds where there is no
/// server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files and directories, submodules included.
    pub files: u64,
    /// Directories within each other.
    pub depth: u64,
    /// The length of all paths together, in bytes.
    pub paths: u64,
    /// The largest file, in bytes.
    pub file: u64,
    /// All files of the build context together, in bytes.
    pub size: u64,
    /// What is read to find out how a source is built, in bytes.
    pub read: u64,
    /// How long it may take to walk it, and to find out how it is built, in seconds.
    pub time: u64,
    /// What a template of the repository may write, in bytes.
    pub output: u64,
    /// How long it may take to do so, in seconds of processor time.
    pub rendering: u64,
    /// How much memory it may take, in bytes.
    pub rendering_memory: u64,
    /// How long it may take to fetch a submodule, in seconds.
    pub fetching: u64,
    /// Whether submodules may come from addresses that only this machine or its network reaches.
    pub private_addresses: bool,
}

impl Limits {
    /// The limits as they are written: each by `text` of its property.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is none.
    pub fn read(text: impl Fn(&'static Property) -> String) -> Result<Limits> {
        let value = |property: &'static Property| Ok::<_, Error>(property.value(&text(property))?);
        let number = |property: &'static Property| match value(property)? {
            Value::Number(number) => Ok(number),
            Value::Switch(_) | Value::Text(_) => Err(Error::bug(format!("{property} is not a number"))),
        };
        Ok(Limits {
            files: number(&property::SOURCE_MAX_FILES)?,
            depth: number(&property::SOURCE_MAX_DEPTH)?,
            paths: number(&property::SOURCE_MAX_PATHS)?,
            file: number(&property::SOURCE_MAX_FILE)?,
            size: number(&property::SOURCE_MAX_SIZE)?,
            read: number(&property::SOURCE_MAX_READ)?,
            time: number(&property::SOURCE_MAX_TIME)?,
            output: number(&property::TEMPLATE_MAX_OUTPUT)?,
            rendering: number(&property::TEMPLATE_MAX_TIME)?,
            rendering_memory: number(&property::TEMPLATE_MAX_MEMORY)?,
            fetching: number(&property::SUBMODULE_MAX_TIME)?,
            private_addresses: value(&property::SUBMODULE_PRIVATE_ADDRESSES)? == Value::Switch(true),
        })
    }

    /// The defaults.
    #[cfg(any(test, fuzzing))]
    pub fn usual() -> Result<Limits> {
        Limits::read(|property| property.default.words().to_owned())
    }
}

/// A number of bytes for people, exact where it is round.
pub fn bytes(number: u64) -> String {
    match UNITS.iter().find(|(unit, _)| number >= *unit && number.is_multiple_of(*unit)) {
        Some((unit, word)) => format!("{} {word}", number / unit),
        None => format!("{number} bytes"),
    }
}

/// The refusal of what is over a limit: what met it, the limit, and its setting.
pub fn over(what: impl Into<String>, limit: impl Into<String>, setting: &'static Property) -> Error {
    Error::Source(SourceError::Limit { what: what.into(), limit: limit.into(), setting: setting.name })
}

/// One piece of work, and its end. Clones are the same work.
#[derive(Clone, Debug)]
pub struct Work(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    stopped: AtomicBool,
    begun: Instant,
    /// When what runs now must be done, in milliseconds since `begun`.
    deadline: AtomicU64,
    /// What was read of files, in bytes.
    read: AtomicU64,
    /// The files that were read.
    files: Mutex<HashSet<u64>>,
    /// The leaders of the process groups that end with it.
    children: Mutex<Vec<u32>>,
}

/// Ends the work when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Ends(Work);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A child that is killed, with all that it started, when its work ends.
#[derive(Debug)]
#[must_use]
pub struct Held {
    work: Work,
    child: u32,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.work.children().retain(|child| *child != self.child);
    }
}

impl Work {
    /// Work within limits.
    pub fn new(limits: Limits) -> Work {
        Work(Arc::new(Shared {
            limits,
            stopped: AtomicBool::new(false),
            begun: clock::instant(),
            deadline: AtomicU64::new(u64::MAX),
            read: AtomicU64::new(0),
            files: Mutex::default(),
            children: Mutex::new(Vec::new()),
        }))
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Fails if nobody waits for it any more, or its time is over.
    ///
    /// # Errors
    /// [`Error::Interrupted`], which nobody is told then; `SourceError::Limit`.
    pub fn check(&self) -> Result<()> {
        if self.0.stopped.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let spent = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if spent > self.0.deadline.load(Ordering::Relaxed) {
            return Err(self.out_of_time());
        }
        let limit = self.limits().read;
        if self.0.read.load(Ordering::Relaxed) > limit {
            let what = "the files that say how this repository is built are too large together";
            return Err(over(what, bytes(limit), &property::SOURCE_MAX_READ));
        }
        Ok(())
    }

    /// Begins its time, where it is not done [`Work::aside`].
    pub fn begin(&self) {
        let deadline = self.0.begun.elapsed() + Duration::from_secs(self.limits().time);
        self.0.deadline.store(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts a file that is read to find out how a source is built, once however often it is read. `file` tells it from
    /// all others.
    ///
    /// # Errors
    /// `SourceError::Limit` if that is too much; as [`Work::check`].
    pub fn count_read(&self, file: u64, size: u64) -> Result<()> {
        if self.0.files.lock().unwrap_or_else(PoisonError::into_inner).insert(file) {
            self.0.read.fetch_add(size, Ordering::Relaxed);
        }
        self.check()
    }

    /// Ends it: what looks finds that out, and its children are killed.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
        for child in std::mem::take(&mut *self.children()) {
            if let Some(pid) = i32::try_from(child).ok().and_then(Pid::from_raw) {
                // One that has ended meanwhile needs no signal.
                let _ = kill_process_group(pid, Signal::KILL);
            }
        }
    }

    /// Ends it when the value returned is dropped.
    pub fn until_dropped(&self) -> Ends {
        Ends(self.clone())
    }

    /// Has a child, which leads a process group, killed when the work ends, as long as the value returned lives.
    pub fn hold(&self, child: u32) -> Held {
        self.children().push(child);
        if self.0.stopped.load(Ordering::Relaxed) {
            self.stop();
        }
        Held { work: self.clone(), child }
    }

    /// Does a part of it on a thread of its own, within its time, and ends all of it if this is dropped before.
    ///
    /// # Errors
    /// What `part` returns; `SourceError::Limit` if it takes too long; [`Error::Bug`] if it panics.
    pub async fn aside<T: Send + 'static>(&self, part: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let time = Duration::from_secs(self.limits().time);
        self.begin();
        let ends = self.until_dropped();
        std::thread::Builder::new()
            .name("source".to_owned())
            .spawn(move || drop(sender.send(part())))
            .map_err(Error::io("start a thread"))?;
        let done = tokio::time::timeout(time + GRACE, receiver).await;
        self.0.deadline.store(u64::MAX, Ordering::Relaxed);
        let Ok(done) = done else { return Err(self.out_of_time()) };
        let result = done.map_err(|_| Error::bug("a thread that reads the source panicked"))?;
        std::mem::forget(ends);
        result
    }

    fn out_of_time(&self) -> Error {
        let what = "finding out how this repository is built takes too long";
        over(what, format!("{} seconds", self.limits().time), &property::SOURCE_MAX_TIME)
    }

    fn children(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.0.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bounds this process, and what it starts from now on, because it deals with what a stranger pushed: how much memory it
/// may have, and that it is ended first if the machine runs out of it. Never for the daemon: Caddy and the edge would
/// inherit it.
///
/// The limit is on memory of its own (`RLIMIT_DATA`), not on addresses: git's packs are mapped, and may be larger.
pub fn guard(memory: u64) {
    let limit = getrlimit(Resource::Data);
    let lower = limit.maximum.map_or(memory, |maximum| maximum.min(memory));
    if let Err(error) = setrlimit(Resource::Data, Rlimit { current: Some(lower), maximum: limit.maximum }) {
        warn!("cannot limit the memory of a deploy: {error}");
    }
    let score = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(score).ok().and_then(|text| text.trim().parse::<i64>().ok());
    if now.is_some_and(|now| now < i64::from(OOM_SCORE))
        && let Err(error) = std::fs::write(score, OOM_SCORE.to_string())
    {
        warn!("cannot set what is ended first if memory runs out: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(limits: Limits) -> Work {
        Work::new(limits)
    }

    #[test]
    fn amounts_are_said_as_they_are_written() {
        for (number, said) in [(1 << 20, "1 MiB"), (10 << 30, "10 GiB"), (1025, "1025 bytes"), (0, "0 bytes")] {
            assert_eq!(bytes(number), said);
        }
    }

    #[tokio::test]
    async fn what_is_dropped_ends_its_thread_and_its_children() {
        let work = work(Limits::usual().unwrap());
        let mut command = crate::exec::command("sleep");
        command.arg("1000");
        let mut child = command.spawn().unwrap();
        let _held = work.hold(child.id().unwrap());
        let (sender, ended) = std::sync::mpsc::channel();
        let there = work.clone();
        let endless = work.aside(move || {
            while there.check().is_ok() {
                std::thread::yield_now();
            }
            sender.send(()).map_err(Error::bug)
        });
        tokio::time::timeout(Duration::from_millis(20), endless).await.unwrap_err();
        ended.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(!child.wait().await.unwrap().success());
        assert!(matches!(work.check(), Err(Error::Interrupted)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_never_looks_is_left() {
        let work = work(Limits::usual().unwrap());
        let (release, released) = std::sync::mpsc::channel::<()>();
        let error = work.aside(move || released.recv().map_err(Error::bug)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "finding out how this repository is built takes too long: the limit is 120 seconds"
        );
        assert!(error.hint().unwrap().contains("source_max_time"), "{error}");
        drop(release);
    }

    #[test]
    fn what_is_read_is_counted() {
        let work = work(Limits { read: 10, ..Limits::usual().unwrap() });
        work.count_read(1, 10).unwrap();
        work.count_read(1, 10).unwrap();
        assert!(work.count_read(2, 1).unwrap_err().to_string().ends_with("the limit is 10 bytes"));
    }
}
