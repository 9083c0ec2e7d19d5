//! Caps on what builds take of a machine's memory and processors, by the kernel's cgroups.
//!
//! BuildKit in an engine knows no caps, but the kernel does. The steps of builds run in cgroups of their own, and
//! where those are depends on the engine's cgroup driver:
//!
//! - `cgroupfs`: in `PARENT/buildkit/STEP`, so a cap on `PARENT/buildkit` holds for all of them, until the machine is
//!   started again.
//! - `systemd`: in `SLICE/SLICE:docker:STEP`, beside the services, with nothing above them to cap. So what comes up
//!   there is moved to a cgroup of ours as long as a build runs. Only cgroup v2 is served so.
//!
//! Only root may write there, so this runs in a container of the engine's (see `engine::caps`), into which the machine's
//! cgroups are mounted. Tried with Docker 20.10 on v1 with `cgroupfs`, and with Docker 28 on v2 with both drivers.

use std::{
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use crate::{Error, Result, error::EngineError, model::BuildCaps};

/// Where the machine's cgroups are mounted in the container.
pub const MOUNT: &str = "/cgroup";
/// What the container says once the caps are in force.
pub const READY: &str = "in force";

/// Our cgroup for steps of builds that have none above them.
const OURS: &str = "paas-builds";
/// How often new steps are looked for: a step can take what it likes for so long.
const LOOK: Duration = Duration::from_millis(20);
/// The time in which a quota of processors is counted, in microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;

/// Puts caps in force, says so by `ready`, and looks after them until `input` ends.
///
/// # Errors
/// `EngineError::Unsupported` where this engine's builds cannot be capped; [`Error::Host`] where the kernel refuses.
pub fn cap(caps: BuildCaps, input: impl Read + Send + 'static, ready: impl FnOnce() -> Result<()>) -> Result<()> {
    let own = std::fs::read_to_string("/proc/self/cgroup").map_err(Error::io("read /proc/self/cgroup"))?;
    let mount = Path::new(MOUNT);
    match Place::of(&own)? {
        Place::Above(groups) => {
            for group in &groups {
                group.make(mount)?;
                group.write(mount, caps)?;
            }
            ready()
        }
        Place::Among => {
            let group = Group { hierarchy: Hierarchy::Unified, path: PathBuf::from(OURS) };
            group.make(mount)?;
            group.write(mount, caps)?;
            ready()?;
            gather(mount, &group, caps, input)
        }
    }
}

/// Where the steps of builds are.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Below a cgroup that is theirs: one in v2, one for each controller in v1.
    Above(Vec<Group>),
    /// Among the services of a systemd with cgroup v2.
    Among,
}

/// A cgroup.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    hierarchy: Hierarchy,
    /// From the root of its hierarchy.
    path: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
enum Hierarchy {
    /// Cgroup v2.
    Unified,
    /// The memory controller of v1, mounted at this name.
    Memory(String),
    /// The processor controller of v1, mounted at this name.
    Processor(String),
}

impl Place {
    /// Concludes it from the cgroups of a container, in the form of `/proc/self/cgroup`: builds are beside it.
    fn of(own: &str) -> Result<Place> {
        let mut unified = None;
        let mut groups = Vec::new();
        for line in own.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let builds = || -> PathBuf {
                let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
                parent.strip_prefix("/").unwrap_or(parent).join("buildkit")
            };
            let has = |controller| controllers.split(',').any(|other| other == controller);
            if controllers.is_empty() {
                unified = Some((path, builds()));
            } else if has("memory") {
                groups.push(Group { hierarchy: Hierarchy::Memory(controllers.to_owned()), path: builds() });
            } else if has("cpu") {
                groups.push(Group { hierarchy: Hierarchy::Processor(controllers.to_owned()), path: builds() });
            }
            if path.ends_with(".scope") && !controllers.is_empty() && has("memory") {
                return Err(Error::Engine(EngineError::Unsupported {
                    reason: "Docker uses cgroup v1 through systemd, which puts the steps of builds in no common cgroup"
                        .to_owned(),
                }));
            }
        }
        match (unified, groups.is_empty()) {
            (_, false) => Ok(Place::Above(groups)),
            (Some((path, _)), true) if path.ends_with(".scope") => Ok(Place::Among),
            (Some((_, path)), true) => Ok(Place::Above(vec![Group { hierarchy: Hierarchy::Unified, path }])),
            (None, true) => Err(Error::Engine(EngineError::Unsupported {
                reason: "the machine has no cgroups of memory and processors".to_owned(),
            })),
        }
    }
}

impl Group {
    fn directory(&self, mount: &Path) -> PathBuf {
        match &self.hierarchy {
            Hierarchy::Unified => mount.join(&self.path),
            Hierarchy::Memory(name) | Hierarchy::Processor(name) => mount.join(name).join(&self.path),
        }
    }

    /// Makes it where it is missing, with the controllers that its caps need.
    fn make(&self, mount: &Path) -> Result<()> {
        let directory = self.directory(mount);
        if self.hierarchy == Hierarchy::Unified {
            // A controller is to be had where all cgroups above hand it down.
            let mut above = mount.to_owned();
            for name in &self.path {
                std::fs::create_dir_all(&above).map_err(Error::io(format!("make {}", above.display())))?;
                // What is not handed down is missed when the caps are written.
                for controller in ["+memory", "+cpu"] {
                    drop(std::fs::write(above.join("cgroup.subtree_control"), controller));
                }
                above.push(name);
            }
        }
        std::fs::create_dir_all(&directory).map_err(Error::io(format!("make {}", directory.display())))
    }

    /// Writes the caps; what has none is freed of one that it had.
    fn write(&self, mount: &Path, caps: BuildCaps) -> Result<()> {
        let directory = self.directory(mount);
        let quota = caps.cpus.map(|cpus| (cpus * PERIOD as f64) as u64);
        let or = |cap: Option<u64>, none: &str| cap.map_or_else(|| none.to_owned(), |cap| cap.to_string());
        let files = match self.hierarchy {
            Hierarchy::Unified => vec![
                ("memory.max", caps.memory.is_some(), or(caps.memory, "max")),
                ("cpu.max", quota.is_some(), format!("{} {PERIOD}", or(quota, "max"))),
            ],
            Hierarchy::Memory(_) => vec![("memory.limit_in_bytes", caps.memory.is_some(), or(caps.memory, "-1"))],
            Hierarchy::Processor(_) => vec![
                ("cpu.cfs_period_us", quota.is_some(), PERIOD.to_string()),
                ("cpu.cfs_quota_us", quota.is_some(), or(quota, "-1")),
            ],
        };
        for (name, is_capped, text) in files {
            let path = directory.join(name);
            match std::fs::write(&path, text) {
                // A controller that is not there caps nothing.
                Err(error) if error.kind() == ErrorKind::NotFound && !is_capped => {}
                written => written.map_err(Error::io(format!("write {}", path.display())))?,
            }
        }
        Ok(())
    }
}

/// Moves the steps of builds to a cgroup of ours as they come up, until `input` ends.
fn gather(mount: &Path, group: &Group, caps: BuildCaps, mut input: impl Read + Send + 'static) -> Result<()> {
    let (sender, ended) = mpsc::channel::<()>();
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            while matches!(input.read(&mut [0; 64]), Ok(1..)) {}
            drop(sender);
        })
        .map_err(Error::io("start a thread"))?;
    let procs = group.directory(mount).join("cgroup.procs");
    while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        for step in steps(mount) {
            let processes = std::fs::read_to_string(step.join("cgroup.procs")).unwrap_or_default();
            for process in processes.lines() {
                match std::fs::write(&procs, process) {
                    // Another build's keeper, which ended, took our cgroup with it.
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        group.make(mount)?;
                        group.write(mount, caps)?;
                    }
                    // It ended meanwhile; or it will be seen again the next time.
                    Ok(()) | Err(_) => {}
                }
            }
        }
    }
    // Where another build has steps in it, it stays.
    drop(std::fs::remove_dir(group.directory(mount)));
    Ok(())
}

/// The cgroups of BuildKit's steps: `system.slice/system.slice:docker:ID`.
fn steps(mount: &Path) -> Vec<PathBuf> {
    let directories = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
    };
    let is_step =
        |path: &Path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains(":docker:"));
    let mut found = Vec::new();
    for path in directories(mount) {
        if is_step(&path) {
            found.push(path);
        } else if path.extension().is_some_and(|extension| extension == "slice") {
            found.extend(directories(&path).into_iter().filter(|path| is_step(path)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(own: &str) -> Place {
        Place::of(own).unwrap()
    }

    #[test]
    fn where_builds_are_follows_from_where_a_container_is() {
        let group = |hierarchy, path: &str| Group { hierarchy, path: PathBuf::from(path) };
        let v1 = "9:name=systemd:/docker/0a\n4:memory:/docker/0a\n3:cpuset:/docker/0a\n2:cpu,cpuacct:/docker/0a\n0::/docker/0a\n";
        let expected = [
            group(Hierarchy::Memory("memory".to_owned()), "docker/buildkit"),
            group(Hierarchy::Processor("cpu,cpuacct".to_owned()), "docker/buildkit"),
        ];
        assert_eq!(place(v1), Place::Above(Vec::from(expected)));
        assert_eq!(place("0::/a/b/0a\n"), Place::Above(vec![group(Hierarchy::Unified, "a/b/buildkit")]));
        assert_eq!(place("0::/system.slice/docker-0a.scope\n"), Place::Among);
        for own in ["", "4:memory:/system.slice/docker-0a.scope\n"] {
            assert!(matches!(Place::of(own), Err(Error::Engine(EngineError::Unsupported { .. }))), "{own}");
        }
    }

    #[test]
    fn caps_are_written_and_taken_back() -> Result<()> {
        let mount = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        let group = Group { hierarchy: Hierarchy::Unified, path: PathBuf::from("docker/buildkit") };
        group.make(mount.path())?;
        let caps = BuildCaps { memory: Some(512_000_000), cpus: Some(1.5) };
        group.write(mount.path(), caps)?;
        let read = |name: &str| std::fs::read_to_string(mount.path().join("docker/buildkit").join(name)).unwrap();
        assert_eq!((read("memory.max"), read("cpu.max")), ("512000000".to_owned(), "150000 100000".to_owned()));
        group.write(mount.path(), BuildCaps::default())?;
        assert_eq!((read("memory.max"), read("cpu.max")), ("max".to_owned(), "max 100000".to_owned()));
        Ok(())
    }

    #[test]
    fn steps_among_the_services_are_found() -> Result<()> {
        let mount = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        for path in ["system.slice/system.slice:docker:0a", "system.slice/docker-1.scope", "user.slice/x:docker:1/deep"]
        {
            std::fs::create_dir_all(mount.path().join(path)).map_err(Error::io("make a directory"))?;
        }
        let mut found = steps(mount.path());
        found.sort();
        let expected =
            ["system.slice/system.slice:docker:0a", "user.slice/x:docker:1"].map(|path| mount.path().join(path));
        assert_eq!(found, expected);
        Ok(())
    }
}
