//! A network of the test's own, for the usual ports, and a Docker engine that it may kill: the test runs again in
//! namespaces of its own, where its engine has a network, firewall rules and process ids that nobody else sees, and from
//! which nothing outlives it. The engine is made of the `containerd` and `dockerd` in the `PATH`; `tests/modern` puts a
//! modern one there.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::harness::{command, docker, docker_socket, run};

/// Where a test finds its directory once it runs in the namespaces.
const DIRECTORY: &str = "PAAS_TEST_PRIVATE_ENGINE";
/// Options of `dockerd`, separated by blanks, for one that is not as it comes.
const OPTIONS: &str = "PAAS_TESTS_DOCKERD_OPTIONS";
/// How long an engine may take to answer on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine with nothing in it but the image `busybox:stable`.
pub struct PrivateEngine {
    directory: PathBuf,
    containerd: Child,
    process: Option<Child>,
}

/// Runs the rest of the test `name` (with its module) in namespaces of its own, beside an engine of its own that
/// `DOCKER_HOST` names. Needs root.
pub fn with_private_engine(name: &str, test: impl FnOnce(PrivateEngine)) {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let engine = PrivateEngine::begin(directory.into());
        let images = engine.directory.join("images.tar");
        run(docker().args(["load", "--quiet", "--input"]).arg(images)).expect_success();
        return test(engine);
    }
    // Short, because a unix socket's path has at most 107 bytes.
    let directory: TempDir = tempfile::Builder::new().prefix("paas-dockerd-").tempdir_in("/tmp").unwrap();
    let images = directory.path().join("images.tar");
    run(docker().args(["save", "busybox:stable", "--output"]).arg(images)).expect_success();
    run_again(name, directory.path(), &format!("unix://{}", socket(directory.path()).display()));
}

/// Runs the rest of the test `name` (with its module) in namespaces of its own: no port is taken there, and no process of
/// this machine is to be seen. The engine is the one that all tests share, whose containers cannot be reached. Needs root.
pub fn with_private_network(name: &str, test: impl FnOnce()) {
    if std::env::var_os(DIRECTORY).is_some() {
        return test();
    }
    run_again(name, Path::new("/dev/null"), &format!("unix://{}", docker_socket().display()));
}

fn run_again(name: &str, directory: &Path, docker_host: &str) {
    assert!(rustix::process::geteuid().is_root(), "only root can make namespaces: run the tests as root");
    let mut inside = command("unshare");
    inside
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"])
        // The first process of a namespace has to wait for those whose parents died, as a shell does.
        .args(["sh", "-c", "ip link set lo up && \"$@\"; exit $?", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DIRECTORY, directory)
        .env("DOCKER_HOST", docker_host);
    for name in [OPTIONS, "PAAS_TEST_SEED"] {
        inside.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let ran = run(&mut inside);
    eprintln!("{ran}");
    assert!(ran.code == 0 && ran.stdout.contains("test result: ok. 1 passed"), "see above");
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("docker.sock")
}

impl PrivateEngine {
    /// Starts what keeps the containers, which is a process beside the engine's on servers too.
    fn begin(directory: PathBuf) -> PrivateEngine {
        let mut command = command("containerd");
        for (option, place) in
            [("--root", "containerd"), ("--state", "run/containerd"), ("--address", "containerd.sock")]
        {
            command.arg(option).arg(directory.join(place));
        }
        command.args(["--config", "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(open_log(&directory));
        let containerd = command.spawn().unwrap_or_else(|error| panic!("containerd: {error}"));
        let mut engine = PrivateEngine { directory, containerd, process: None };
        engine.wait_for("containerd", |engine| engine.directory.join("containerd.sock").exists());
        engine.start();
        engine
    }

    /// Starts the engine, and waits until it answers.
    pub fn start(&mut self) {
        // It mounts what containerd must see.
        let mut command = command("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.containerd.id())).arg("dockerd");
        for (option, place) in [
            ("--data-root", "data"),
            ("--exec-root", "run"),
            ("--pidfile", "dockerd.pid"),
            ("--containerd", "containerd.sock"),
        ] {
            command.arg(option).arg(self.directory.join(place));
        }
        command.arg("--host").arg(format!("unix://{}", socket(&self.directory).display()));
        command.args(std::env::var(OPTIONS).unwrap_or_default().split_whitespace());
        // `container` keeps it from loading AppArmor profiles, which are the whole machine's.
        command.env("container", "tests").stdin(Stdio::null()).stdout(Stdio::null()).stderr(open_log(&self.directory));
        self.process = Some(command.spawn().unwrap_or_else(|error| panic!("dockerd: {error}")));
        self.wait_for("dockerd", |_| run(docker().arg("version")).code == 0);
    }

    fn wait_for(&mut self, what: &str, is_there: impl Fn(&PrivateEngine) -> bool) {
        let begun = Instant::now();
        while !is_there(self) {
            let processes = [Some(&mut self.containerd), self.process.as_mut()];
            let ended = processes.into_iter().flatten().find_map(|process| process.try_wait().unwrap());
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "no {what}: {ended:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills the engine with -9. Its containers run on, and so do the steps of builds.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the engine runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

fn open_log(directory: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(directory.join("log")).unwrap()
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("---- the engine said at last:");
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        if self.process.is_some() {
            self.kill();
        }
        self.containerd.kill().unwrap();
        self.containerd.wait().unwrap();
        // What they have mounted goes with the namespaces, when this process ends.
    }
}
