//! One builder for all end-to-end tests: [`Server`] is an instance with its daemon, [`Repository`] a user's clone.
//!
//! A server takes a slot (a lock file), and from its number its ports and its subnet. Dropping it removes everything it
//! made, whether the test passed or not.
//!
//! No test sees an instance that this machine has of its own: whatever a test starts is a [`command`], which has nothing
//! of its environment, its settings or its home.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

/// The binary under test.
pub const PAAS: &str = env!("CARGO_BIN_EXE_paas");

/// An instance of its own, with its daemon running.
pub struct Server {
    pub directory: TempDir,
    pub slot: u16,
    daemon: Option<Child>,
    variables: Vec<(String, String)>,
    _slot: File,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Server {
    /// A server with the usual settings, running.
    pub fn start() -> Server {
        Server::start_with(&[])
    }

    /// A server with some settings of its own (`("PAAS_DOMAIN", "example.test")`), running, with a key that may log in.
    pub fn start_with(settings: &[(&str, &str)]) -> Server {
        let mut server = Server::prepare(settings);
        server.start_daemon();
        server
    }

    /// A server whose daemon does not run yet.
    pub fn prepare(settings: &[(&str, &str)]) -> Server {
        Server::prepare_in(Path::new("/tmp"), settings)
    }

    /// As [`Server::prepare`], with all its files below `parent`.
    pub fn prepare_in(parent: &Path, settings: &[(&str, &str)]) -> Server {
        let (slot, lock) = take_slot();
        // Short, because a unix socket's path has at most 107 bytes.
        let directory = tempfile::Builder::new().prefix("paas-").tempdir_in(parent).unwrap();
        let base = 20_000 + slot * 8;
        let variables = [
            ("PAAS_ROOT", directory.path().join("root").display().to_string()),
            ("PAAS_SSH_LISTEN", format!("127.0.0.1:{base}")),
            ("PAAS_HTTP_LISTEN", format!("127.0.0.1:{}", base + 1)),
            ("PAAS_RESOLVER_LISTEN", format!("127.0.0.1:{}", base + 2)),
            ("PAAS_PROXY_HTTP_PORT", (base + 3).to_string()),
            ("PAAS_PROXY_HTTPS_PORT", (base + 4).to_string()),
            ("PAAS_SUBNET", format!("10.222.{slot}.0/24")),
            ("PAAS_CONFIG", directory.path().join("config.toml").display().to_string()),
            // One packet filter is for all of them: the tests of it turn it on.
            ("PAAS_CONTAIN_NETWORK", "false".to_owned()),
            // The tests of domains have a name server of their own.
            ("PAAS_NAME_SERVERS", "none".to_owned()),
            ("TMPDIR", directory.path().join("tmp").display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        std::fs::write(directory.path().join("config.toml"), "").unwrap();
        std::fs::create_dir(directory.path().join("tmp")).unwrap();
        let mut server = Server { directory, slot, daemon: None, variables, _slot: lock };
        settings.iter().for_each(|(name, value)| server.set(name, value));
        run(command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(server.key()))
            .expect_success();
        server.paas(&["ssh-keys:add", "tester", &format!("{}.pub", server.key().display())]).expect_success();
        server
    }

    /// Changes a setting of this server, for what is started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the daemon, and waits until its doors are open and Caddy answers, if the daemon starts one.
    pub fn start_daemon(&mut self) {
        let log = OpenOptions::new().append(true).create(true).open(self.daemon_log()).unwrap();
        let mut command = self.command(PAAS);
        command.arg("serve").stdout(Stdio::null()).stderr(log).stdin(Stdio::null());
        self.daemon = Some(command.spawn().unwrap());
        let (ssh, http) = (self.port(0), self.port(3));
        let managed = !self.variables.contains(&("PAAS_PROXY_MODE".to_owned(), "external".to_owned()));
        self.wait_for("the daemon and Caddy", Duration::from_secs(20), || {
            let open = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
            open(ssh) && (!managed || open(http))
        });
    }

    /// Kills the daemon with -9. Caddy and deploys go on.
    pub fn kill_daemon(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Ends the daemon as systemd would, and waits for it.
    pub fn stop_daemon(&mut self) -> Ran {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        run(command("kill").arg(daemon.id().to_string())).expect_success();
        let status = daemon.wait().unwrap();
        Ran { code: status.code().unwrap_or(-1), stdout: String::new(), stderr: self.daemon_output() }
    }

    /// The daemon's process id.
    pub fn daemon_id(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// What the daemon has logged.
    pub fn daemon_output(&self) -> String {
        std::fs::read_to_string(self.daemon_log()).unwrap_or_default()
    }

    /// The root directory of the instance.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Where temporary files go.
    pub fn temporary(&self) -> PathBuf {
        self.directory.path().join("tmp")
    }

    /// The private key that may log in.
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    /// A port of this server: 0 ssh, 1 the daemon's HTTP, 2 the resolver, 3 Caddy's HTTP, 4 Caddy's HTTPS; 5 to 7 are
    /// the test's own.
    pub fn port(&self, index: u16) -> u16 {
        20_000 + self.slot * 8 + index
    }

    /// A command with this instance's settings in a clean environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = command(program);
        command.env("HOME", self.directory.path());
        command.envs(self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        command
    }

    /// Runs `paas ARGUMENTS` on this machine.
    pub fn paas(&self, arguments: &[&str]) -> Ran {
        run(self.command(PAAS).args(arguments))
    }

    /// Runs `paas ARGUMENTS` on this machine with something on its standard input.
    pub fn paas_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        run_with_input(self.command(PAAS).args(arguments), input)
    }

    /// Runs a command over SSH, with the key that may log in.
    pub fn ssh(&self, command: &str) -> Ran {
        run(self.ssh_command(&self.key()).arg(command))
    }

    /// An ssh client with a key, up to the host: add what it shall run.
    pub fn ssh_command(&self, key: &Path) -> Command {
        let mut command = self.command("ssh");
        command.args(ssh_options(key)).args(["-p", &self.port(0).to_string(), "paas@127.0.0.1"]);
        command
    }

    /// A user's clone of a fixture app (a folder in `tests/apps`), with the remote `paas` set to the app `app`.
    pub fn repository(&self, fixture: &str, app: &str) -> Repository {
        let repository = self.empty_repository(app);
        repository.become_fixture(fixture).commit("first");
        repository
    }

    /// A user's clone with no commit, with the remote `paas` set to the app `app`.
    pub fn empty_repository(&self, app: &str) -> Repository {
        let directory = tempfile::Builder::new().prefix("clone-").tempdir_in(self.directory.path()).unwrap();
        let path = directory.keep();
        let mut environment: Vec<(String, String)> = vec![
            ("GIT_AUTHOR_NAME".into(), "Test".into()),
            ("GIT_AUTHOR_EMAIL".into(), "test@example.test".into()),
            ("GIT_COMMITTER_NAME".into(), "Test".into()),
            ("GIT_COMMITTER_EMAIL".into(), "test@example.test".into()),
        ];
        environment.push(("GIT_SSH_COMMAND".into(), format!("ssh {}", ssh_options(&self.key()).join(" "))));
        let repository = Repository { path, environment };
        repository.git(&["init", "-q", "-b", "main"]).expect_success();
        let url = format!("ssh://paas@127.0.0.1:{}/{app}", self.port(0));
        repository.git(&["remote", "add", "paas", &url]).expect_success();
        repository
    }

    /// Asks Caddy for a path of an app, over a connection of its own.
    pub fn get(&self, app: &str, path: &str) -> Answer {
        self.get_host(&format!("{app}.localhost"), path)
    }

    /// Asks Caddy for a path of any host.
    pub fn get_host(&self, host: &str, path: &str) -> Answer {
        self.try_get(host, path).unwrap_or_else(|error| panic!("{host}{path}: {error}"))
    }

    /// As [`Server::get_host`], for when it may fail.
    pub fn try_get(&self, host: &str, path: &str) -> std::io::Result<Answer> {
        try_get(self.port(3), host, path)
    }

    /// Waits until something is true, and fails the test with what the daemon logged if it does not become so.
    pub fn wait_for(&self, what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(
                begun.elapsed() < timeout,
                "waited {timeout:?} for {what}; the daemon said:\n{}",
                self.daemon_output()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The JSON a command prints.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--format", "json"]);
        let ran = self.paas(&arguments);
        serde_json::from_str(&ran.expect_success().stdout).unwrap()
    }

    /// The state of the newest deployment of an app: `succeeded`, `failed`, ...
    pub fn deploy_state(&self, app: &str) -> String {
        self.json(&["deploys:info", app])["state"].as_str().unwrap_or_default().to_owned()
    }

    /// The names of this instance's containers, running or not.
    pub fn containers(&self) -> Vec<String> {
        self.docker_list(&["ps", "-a", "--format", "{{.Names}}"])
    }

    /// The tags of this instance's images.
    pub fn images(&self) -> Vec<String> {
        self.docker_list(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
    }

    /// The instance's id, the value of its label in the engine.
    pub fn instance_id(&self) -> Option<String> {
        instance_id(&self.root())
    }

    fn docker_list(&self, arguments: &[&str]) -> Vec<String> {
        self.instance_id().map_or_else(Vec::new, |id| docker_list(&id, arguments))
    }

    fn daemon_log(&self) -> PathBuf {
        self.directory.path().join("daemon.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
        end_processes(&self.root());
        clean_engine(&self.root());
        if std::thread::panicking() {
            eprintln!("---- the daemon said:\n{}", self.daemon_output());
        }
    }
}

/// A user's clone.
pub struct Repository {
    pub path: PathBuf,
    environment: Vec<(String, String)>,
}

impl Repository {
    /// Runs git in the clone.
    pub fn git(&self, arguments: &[&str]) -> Ran {
        run(&mut self.git_command(arguments))
    }

    /// A git command in the clone.
    pub fn git_command(&self, arguments: &[&str]) -> Command {
        let mut command = command("git");
        command
            .current_dir(&self.path)
            .envs(self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .args(arguments);
        command
    }

    /// Writes a file of the clone.
    pub fn write(&self, path: &str, text: &str) -> &Repository {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Replaces text in a file of the clone; the text must be there.
    pub fn replace(&self, path: &str, from: &str, to: &str) -> &Repository {
        let text = std::fs::read_to_string(self.path.join(path)).unwrap();
        assert!(text.contains(from), "{path} does not contain {from:?}");
        self.write(path, &text.replace(from, to))
    }

    /// Replaces all files of the clone with those of a fixture app (a folder in `tests/apps`).
    pub fn become_fixture(&self, fixture: &str) -> &Repository {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps").join(fixture);
        assert!(source.is_dir(), "there is no fixture {fixture}");
        self.git(&["rm", "-qrf", "--ignore-unmatch", "."]).expect_success();
        run(command("cp").arg("-a").arg(source.join(".")).arg(&self.path)).expect_success();
        self
    }

    /// Commits everything and returns the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]).expect_success();
        self.git(&["commit", "-q", "--allow-empty", "-m", message]).expect_success();
        self.git(&["rev-parse", "HEAD"]).expect_success().stdout.trim().to_owned()
    }

    /// `git push paas main`.
    pub fn push(&self) -> Ran {
        self.git(&["push", "paas", "main"])
    }

    /// Begins `git push paas main` and does not wait for it.
    pub fn begin_push(&self) -> Child {
        self.git_command(&["push", "paas", "main"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Answer {
    /// Reads an answer of HTTP/1.0.
    pub fn parse(bytes: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}

impl Ran {
    /// Fails the test unless the command exited with 0.
    #[track_caller]
    pub fn expect_success(self) -> Ran {
        assert_eq!(self.code, 0, "{self}");
        self
    }

    /// Fails the test unless the command exited with `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Fails the test unless the command failed.
    #[track_caller]
    pub fn expect_failure(self) -> Ran {
        assert_ne!(self.code, 0, "{self}");
        self
    }

    /// Fails the test unless standard error has the text. Git's `remote: ` and trailing blanks are left out of it.
    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        let said = self.talk();
        assert!(said.contains(text), "does not say {text:?}:\n{self}");
        self
    }

    /// Standard error, without git's `remote: ` and the blanks it adds.
    pub fn talk(&self) -> String {
        self.stderr
            .lines()
            .map(|line| line.strip_prefix("remote: ").map_or(line, str::trim_end))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "exit {}\n-- stdout\n{}\n-- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// Asks what listens on a port for a path of a host, over a connection of its own.
pub fn try_get(port: u16, host: &str, path: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    // HTTP/1.0: no chunks, and the end of the body is the end of the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(Answer::parse(&bytes))
}

/// A command that finds nothing of this machine but its programs, its engine and whom it trusts: no variable, no
/// settings and no root of an instance, no home.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "DOCKER_HOST", "SSL_CERT_FILE", "GIT_SSL_CAINFO"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.envs([
        ("HOME", "/dev/null"),
        // Docker's own client makes itself a directory.
        ("DOCKER_CONFIG", "/tmp/paas-test-slots/docker"),
        ("PAAS_CONFIG", "/dev/null"),
        ("PAAS_ROOT", "/dev/null/paas"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ]);
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}")).into()
}

/// Runs a command to its end with something on its standard input.
pub fn run_with_input(command: &mut Command, input: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that does not want its input closes it.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap().into()
}

/// The engine's own client, to see what is really there: it asks the engine that `DOCKER_HOST` names, if it is set.
pub fn docker() -> Command {
    let own = Path::new("/usr/bin/docker");
    command(if own.exists() { own } else { Path::new("docker") })
}

/// The socket of the engine that the tests use.
pub fn docker_socket() -> PathBuf {
    let address = std::env::var("DOCKER_HOST").unwrap_or_default();
    PathBuf::from(address.strip_prefix("unix://").unwrap_or("/var/run/docker.sock"))
}

/// What an ssh client is told so that it uses this key alone, asks nothing and remembers nothing.
pub fn ssh_options(key: &Path) -> Vec<String> {
    let mut options = vec!["-F".to_owned(), "none".to_owned(), "-i".to_owned(), key.display().to_string()];
    for option in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "LogLevel=ERROR",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
    ] {
        options.extend(["-o".to_owned(), option.to_owned()]);
    }
    options
}

/// Ends all processes that have a directory in their environment or their arguments: Caddy, the resolver and deploys
/// outlive the daemon on purpose.
pub fn end_processes(directory: &Path) {
    let mentioned = directory.display().to_string();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let mentions = |file: &str| {
            std::fs::read(path.join(file)).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&mentioned))
        };
        if id != std::process::id() && (mentions("cmdline") || mentions("environ")) {
            drop(run(command("kill").args(["-9", &id.to_string()])));
        }
    }
}

/// Removes what the instance in a root directory has in the engine.
pub fn clean_engine(root: &Path) {
    let Some(id) = instance_id(root) else { return };
    // A test that fails while its own engine is away has nothing to clean, and another failure to tell.
    if std::thread::panicking() && run(docker().arg("version")).code != 0 {
        return;
    }
    for container in docker_list(&id, &["ps", "-a", "--format", "{{.Names}}"]) {
        run(docker().args(["rm", "-f", "-v", &container]));
    }
    for image in docker_list(&id, &["images", "--format", "{{.Repository}}:{{.Tag}}"]) {
        run(docker().args(["rmi", "-f", &image]));
    }
    run(docker().args(["network", "rm", &format!("paas-{id}")]));
}

/// The id of the instance in a root directory, if there is one.
pub fn instance_id(root: &Path) -> Option<String> {
    let connection = rusqlite::Connection::open(root.join("paas.db")).ok()?;
    connection.query_row("SELECT value FROM meta WHERE name = 'instance'", [], |row| row.get(0)).ok()
}

fn docker_list(instance: &str, arguments: &[&str]) -> Vec<String> {
    let ran = run(docker().args(arguments).arg("--filter").arg(format!("label=paas.instance={instance}")));
    ran.expect_success().stdout.lines().map(str::to_owned).collect()
}

/// Where tests that run at the same time keep out of each other's way, by locks.
pub fn locks() -> &'static Path {
    let directory = Path::new("/tmp/paas-test-slots");
    std::fs::create_dir_all(directory).unwrap();
    directory
}

/// Takes a number that no other test has at this time.
fn take_slot() -> (u16, File) {
    let directory = locks();
    for slot in 1..=250 {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(format!("{slot}.lock")))
            .unwrap();
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && !is_in_use(slot) {
            return (slot, file);
        }
    }
    panic!("all slots are taken");
}

/// Whether a run of the tests that was killed left something in a slot: its network, whose gateway is an address of this
/// machine, or what listens on its ports. That is not ours to remove.
fn is_in_use(slot: u16) -> bool {
    UdpSocket::bind((Ipv4Addr::new(10, 222, slot.to_be_bytes()[1], 1), 0)).is_ok()
        || (0..8).any(|index| TcpListener::bind(("127.0.0.1", 20_000 + slot * 8 + index)).is_err())
}
