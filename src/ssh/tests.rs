//! The server against the real OpenSSH client, with a shell script in place of paas.

mod crowds;
mod terminals;

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use tokio::{runtime::Runtime, sync::watch};

use super::{Patience, Server};
use crate::{
    context::Context,
    instance::Instance,
    model::{Caller, KeyName},
    ops::keys,
    settings::Settings,
};

const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ssh/tests/stand_in.sh");

/// A running server with one key, `laptop`, that may log in.
struct Fixture {
    directory: tempfile::TempDir,
    instance: Arc<Instance>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    runtime: Runtime,
    server: Option<tokio::task::JoinHandle<()>>,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with_patience(super::PATIENCE)
    }

    fn with_patience(patience: Patience) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let settings = Settings::of_text(&format!("root = {root:?}\nssh_listen = \"127.0.0.1:0\"\n")).unwrap();
        let instance = Arc::new(Instance::open(settings).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server =
            runtime.block_on(Server::bind_with(Arc::clone(&instance), PathBuf::from(STAND_IN), patience)).unwrap();
        let address = server.address();
        let server = Some(runtime.spawn(server.run(stopped)));
        let fixture = Fixture { directory, instance, address, stop, runtime, server };
        fixture.make_key("laptop");
        keys::add(
            &owner(&fixture.instance),
            &name("laptop"),
            &crate::public_key::read(&fixture.public_key("laptop")).unwrap(),
        )
        .unwrap();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn make_key(&self, name: &str) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(self.path(name))
            .status()
            .unwrap();
        assert!(made.success());
    }

    fn public_key(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name).with_extension("pub")).unwrap()
    }

    /// The client, with the key `laptop` unless other options say so; the command line comes last.
    fn ssh(&self, options: &[&str], command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "LogLevel=INFO", "-o", "NumberOfPasswordPrompts=0"])
            .args(["-p", &self.address.port().to_string()])
            .args(options);
        if !options.contains(&"-i") {
            ssh.arg("-i").arg(self.path("laptop"));
        }
        if !options.contains(&"-l") {
            ssh.args(["-l", "paas"]);
        }
        ssh.arg("127.0.0.1").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !command.is_empty() {
            ssh.arg(command);
        }
        ssh
    }

    fn run(&self, options: &[&str], command: &str) -> Output {
        self.ssh(options, command).output().unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server).unwrap();
        }
    }
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits for something to be so, for 10 s.
fn eventually(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came to be: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn exists(path: &Path) -> bool {
    path.exists()
}

/// Bytes that do not repeat within a packet.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Gives bytes to a client's standard input while its output is collected.
fn with_input(mut client: Child, input: Vec<u8>) -> Output {
    let mut stdin = client.stdin.take().unwrap();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = client.wait_with_output().unwrap();
    drop(writing.join().unwrap());
    output
}

#[test]
fn a_command_runs_as_the_key_and_its_exit_code_comes_back() {
    let server = Fixture::new();
    let output = server.run(&[], "echo out; echo err >&2; echo $PAAS_ACTOR; exit 7");
    assert_eq!(stdout(&output), "out\nkey:laptop\n");
    assert!(stderr(&output).ends_with("err\n"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(7));
    assert!(server.run(&["-l", "git"], "true").status.success());
}

#[test]
fn without_a_command_it_is_a_shell_request() {
    let server = Fixture::new();
    let output = server.run(&["-T"], "");
    assert_eq!(stdout(&output), "shell for key:laptop\n", "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_child_killed_by_a_signal_is_reported_as_that() {
    let server = Fixture::new();
    let output = server.run(&["-v"], "kill -9 $$");
    assert_eq!(output.status.code(), Some(255));
    assert!(stderr(&output).contains("rtype exit-signal"), "{}", stderr(&output));
}

#[test]
fn large_input_and_output_arrive_whole() {
    let server = Fixture::new();
    let bytes = noise(64 << 20);
    let sum = sha256(&bytes);
    // In one direction each, then in both at once, with keys exchanged anew on the way.
    let client = server.ssh(&[], "sha256sum").stdin(Stdio::piped()).spawn().unwrap();
    assert_eq!(stdout(&with_input(client, bytes.clone())), format!("{sum}  -\n"));
    let file = server.path("bytes");
    std::fs::write(&file, &bytes).unwrap();
    let output = server.run(&[], &format!("cat {}", file.display()));
    assert_eq!(sha256(&output.stdout), sum);
    let client = server.ssh(&["-o", "RekeyLimit=4M"], "cat").stdin(Stdio::piped()).spawn().unwrap();
    let output = with_input(client, bytes);
    assert_eq!(sha256(&output.stdout), sum, "{}", stderr(&output));
}

#[test]
fn standard_error_is_carried_apart_and_whole() {
    let server = Fixture::new();
    let output = server.run(&["-q"], "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2");
    assert_eq!((output.stdout.len(), output.stderr.len()), (3_000_000, 3_000_000));
}

#[test]
fn a_child_that_reads_nothing_stops_the_client_and_not_the_output() {
    let server = Fixture::new();
    let client = server.ssh(&[], "sleep 1; echo done").stdin(Stdio::piped()).spawn().unwrap();
    let output = with_input(client, noise(32 << 20));
    assert_eq!(stdout(&output), "done\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn output_flows_while_input_waits() {
    // The client's window grants stand behind input that nobody reads until all the output is written.
    let server = Fixture::new();
    let (input, output) = (32 << 20, 64 << 20);
    let command = format!("head -c {output} /dev/zero; wc -c");
    let client = server.ssh(&[], &command).stdin(Stdio::piped()).spawn().unwrap();
    let got = with_input(client, noise(input)).stdout;
    assert_eq!(String::from_utf8_lossy(&got[output..]), format!("{input}\n"));
}

#[test]
fn a_client_that_takes_nothing_stops_the_child() {
    let server = Fixture::new();
    let counted = server.path("counted");
    let command = format!("for i in $(seq 200); do head -c 1000000 /dev/zero; echo $i > {}; done", counted.display());
    let mut client = server.ssh(&[], &command).spawn().unwrap();
    eventually("it wrote", || exists(&counted));
    std::thread::sleep(Duration::from_millis(1500));
    let count: u32 = std::fs::read_to_string(&counted).unwrap().trim().parse().unwrap();
    assert!(count < 40, "{count} MB were taken from the child while nobody read them");
    client.kill().unwrap();
    client.wait().unwrap();
}

#[test]
fn variables_of_the_client_are_refused() {
    let server = Fixture::new();
    let output = server
        .ssh(&["-o", "SendEnv=LC_PAAS GIT_PROTOCOL PAAS_ACTOR", "-o", "SetEnv=PAAS_ROOT=/x"], "env")
        .env("LC_PAAS", "sent")
        .env("GIT_PROTOCOL", "version=2")
        .env("PAAS_ACTOR", "daemon")
        .output()
        .unwrap();
    let variables = stdout(&output);
    assert!(variables.contains("PAAS_ACTOR=key:laptop\n"), "{variables}");
    assert!(variables.contains(&format!("PAAS_ROOT={}\n", server.path("root").display())), "{variables}");
    for refused in ["LC_PAAS", "GIT_PROTOCOL", "daemon", "/x"] {
        assert!(!variables.contains(refused), "{refused}: {variables}");
    }
}

#[test]
fn only_a_known_key_under_a_known_name_logs_in() {
    let server = Fixture::new();
    server.make_key("stranger");
    let stranger = server.path("stranger");
    let password = ["-o", "PreferredAuthentications=password,keyboard-interactive,none"];
    for options in [["-i", stranger.to_str().unwrap()].as_slice(), &["-l", "root"], &password] {
        let output = server.run(options, "echo in");
        assert_eq!((stdout(&output).as_str(), output.status.code()), ("", Some(255)), "{options:?}");
        assert!(stderr(&output).contains("Permission denied (publickey)."), "{options:?}: {}", stderr(&output));
    }
}

#[test]
fn six_keys_may_be_tried_and_no_more() {
    let server = Fixture::new();
    for count in [5, 6] {
        let mut options = Vec::new();
        for number in 0..count {
            let key = server.path(&format!("key{number}"));
            if !key.exists() {
                server.make_key(&format!("key{number}"));
            }
            options.extend(["-i".to_owned(), key.display().to_string()]);
        }
        options.extend(["-i".to_owned(), server.path("laptop").display().to_string()]);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let output = server.run(&options, "echo in");
        assert_eq!(output.status.success(), count == 5, "{}", stderr(&output));
    }
}

#[test]
fn an_rsa_key_logs_in_with_sha2_and_not_with_sha1() {
    let server = Fixture::new();
    let key = server.path("rsa");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    keys::add(&owner(&server.instance), &name("rsa"), &crate::public_key::read(&server.public_key("rsa")).unwrap())
        .unwrap();
    let key = key.display().to_string();
    assert_eq!(stdout(&server.run(&["-i", &key], "echo $PAAS_ACTOR")), "key:rsa\n");
    let sha1 = ["-i", &key, "-o", "PubkeyAcceptedAlgorithms=ssh-rsa"];
    assert_eq!(server.run(&sha1, "true").status.code(), Some(255));
}

#[test]
fn forwarding_is_refused_in_every_direction() {
    let server = Fixture::new();
    let inside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = inside.local_addr().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = taken.local_addr().unwrap().port();
    drop(taken);

    let remote = server.run(&["-o", "ExitOnForwardFailure=yes", "-R", &format!("{free}:{target}")], "true");
    assert_eq!(remote.status.code(), Some(255), "{}", stderr(&remote));
    let socket = server.path("forwarded").display().to_string();
    let remote = server.run(&["-o", "ExitOnForwardFailure=yes", "-R", &format!("{socket}:{target}")], "true");
    assert_eq!(remote.status.code(), Some(255), "{}", stderr(&remote));
    let stdio = server.run(&["-W", &target.to_string()], "");
    assert!(stderr(&stdio).contains("administratively prohibited"), "{}", stderr(&stdio));
    inside.set_nonblocking(true).unwrap();
    assert!(inside.accept().is_err(), "something reached the target");

    let agent = server.path("agent");
    let _listening = std::os::unix::net::UnixListener::bind(&agent).unwrap();
    let output = server
        .ssh(&["-A", "-X", "-o", "IdentityAgent=none"], "env")
        .env("SSH_AUTH_SOCK", &agent)
        .env("DISPLAY", ":0")
        .output()
        .unwrap();
    let variables = stdout(&output);
    assert!(variables.contains("PAAS_ACTOR"), "{}", stderr(&output));
    assert!(!variables.contains("SSH_AUTH_SOCK") && !variables.contains("DISPLAY"), "{variables}");
}

#[test]
fn subsystems_are_refused() {
    let server = Fixture::new();
    let output = server.run(&["-s"], "sftp");
    assert_eq!(output.status.code(), Some(255));
    assert!(stderr(&output).contains("subsystem request failed"), "{}", stderr(&output));
}

#[test]
fn the_sessions_of_a_removed_key_end_and_their_children_go_on() {
    let server = Fixture::new();
    let (begun, ended) = (server.path("begun"), server.path("ended"));
    let command = format!("touch {}; sleep 3; touch {}", begun.display(), ended.display());
    let client = server.ssh(&[], &command).spawn().unwrap();
    eventually("the command runs", || exists(&begun));
    keys::remove(&owner(&server.instance), &keys::KeyChoice::Name(name("laptop"))).unwrap();
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(stderr(&output).contains("paas: its key was removed"), "{}", stderr(&output));
    assert!(!exists(&ended), "the session went on to its end");
    assert_eq!(server.run(&[], "true").status.code(), Some(255));
    eventually("the child goes on", || exists(&ended));
}

#[test]
fn a_child_outlives_its_client_finds_its_pipes_closed_and_leaves_no_zombie() {
    let server = Fixture::new();
    let (pid, ended) = (server.path("pid"), server.path("ended"));
    let command = format!(
        "echo $$ > {pid}.new; mv {pid}.new {pid}; trap '' PIPE; cat > /dev/null; \
         while echo late 2>/dev/null; do sleep 0.05; done; touch {ended}; sleep 0.3",
        pid = pid.display(),
        ended = ended.display()
    );
    let mut client = server.ssh(&[], &command).stdin(Stdio::piped()).spawn().unwrap();
    eventually("the command runs", || exists(&pid));
    client.kill().unwrap();
    client.wait().unwrap();
    eventually("the child sees its input closed and its output broken", || exists(&ended));
    let process = PathBuf::from(format!("/proc/{}", std::fs::read_to_string(&pid).unwrap().trim()));
    eventually("the child is reaped", || !exists(&process));
}

#[test]
fn the_end_of_the_server_ends_connections_and_no_children() {
    let server = Fixture::new();
    let (begun, ended) = (server.path("begun"), server.path("ended"));
    let command = format!("touch {}; sleep 1; touch {}", begun.display(), ended.display());
    let client = server.ssh(&[], &command).spawn().unwrap();
    eventually("the command runs", || exists(&begun));
    server.stop.send_replace(true);
    let output = client.wait_with_output().unwrap();
    assert!(stderr(&output).contains("paas: the server is stopping"), "{}", stderr(&output));
    eventually("the child goes on", || exists(&ended));
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn many_sessions_share_a_connection_up_to_a_limit() {
    let server = Fixture::new();
    let control = server.path("control").display().to_string();
    let path = format!("ControlPath={control}");
    let mut master = server.ssh(&["-M", "-N", "-o", &path], "").spawn().unwrap();
    eventually("the connection is there", || exists(Path::new(&control)));
    let release = server.path("release");
    let begun = server.path("begun");
    let wait =
        // A test that fails removes its directory, and leaves nobody waiting for ever.
        format!("echo x >> {0}; while [ -e {0} ] && [ ! -e {1} ]; do sleep 0.1; done; echo done", begun.display(), release.display());
    let waiting: Vec<Child> = (0..16).map(|_| server.ssh(&["-o", &path], &wait).spawn().unwrap()).collect();
    // All of them first: one that came after the seventeenth would be the one that is refused.
    eventually("all sixteen run", || std::fs::read_to_string(&begun).is_ok_and(|text| text.lines().count() == 16));
    // A client whose channel is refused makes a connection of its own unless it may not.
    eventually("the seventeenth is refused", || {
        let output = server.run(&["-o", &path, "-o", "ProxyCommand=false"], "true");
        stderr(&output).contains("Session open refused by peer")
    });
    std::fs::write(&release, "").unwrap();
    for client in waiting {
        assert_eq!(stdout(&client.wait_with_output().unwrap()), "done\n");
    }
    assert!(server.run(&["-o", &path, "-o", "ProxyCommand=false"], "true").status.success());
    master.kill().unwrap();
    master.wait().unwrap();
}

#[test]
fn a_port_in_use_says_which_setting_changes_it() {
    let server = Fixture::new();
    let root = server.path("second");
    let settings = Settings::of_text(&format!("root = {root:?}\nssh_listen = \"{}\"\n", server.address)).unwrap();
    let instance = Instance::open(settings).unwrap();
    let bound = server.runtime.block_on(Server::bind(Arc::new(instance)));
    let error = bound.map(|_| ()).unwrap_err();
    assert!(error.hint().unwrap().contains("PAAS_SSH_LISTEN"), "{error}");
}

/// What the owner of the machine does in an instance.
fn owner(instance: &Instance) -> Context<'_> {
    static OWNER: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(|| Caller::owner("root"));
    Context { instance, caller: &OWNER }
}
