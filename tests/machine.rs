//! [`Machine`]: a machine of the test's own as far as files go, for what concerns a whole machine: system users,
//! `/etc/paas`, `/var/lib/paas`, the usual ports.
//!
//! It is a mount namespace with layers over `/etc`, `/var/lib` and `/var/log` and a `/run` with nothing but the socket
//! of the tests' engine, at its usual place (so there is no systemd either). What is written there is gone with it, also
//! when the test is killed, and a paas that is installed here is not to be seen. Programs are this machine's own, and so
//! are the ports: where a test needs those, it runs in `private_engine::with_private_engine` or `with_private_network`.

use std::{
    fs::Permissions,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::harness::{
    Answer, PAAS, Ran, Server, clean_engine, command, docker_socket, end_processes, run, ssh_options,
};

/// The ports of an instance that was told none: ssh, the daemon's own HTTP, Caddy's HTTP and HTTPS.
pub const PORTS: [u16; 4] = [2222, 25080, 8080, 8443];

/// Makes the layers, says so, and keeps the namespace until its input ends.
const SCRIPT: &str = r#"
set -eu
layers=$1/layers
mkdir "$layers"
mount -t tmpfs tmpfs "$layers"
for place in etc var/lib var/log; do
	mkdir -p "$layers/$place/upper" "$layers/$place/work"
done
# What a layer says is gone: a paas that is installed here.
for path in etc/:paas etc/:sysctl.d/60-paas.conf etc/:fish/completions/paas.fish var/lib/:paas var/log/:paas.log; do
	hidden=$layers/${path%/:*}/upper/${path#*:}
	mkdir -p "${hidden%/*}"
	mknod "$hidden" c 0 0
done
for place in etc var/lib var/log; do
	mount -t overlay overlay -o "lowerdir=/$place,upperdir=$layers/$place/upper,workdir=$layers/$place/work" "/$place"
done
mkdir "$layers/run"
touch "$layers/run/docker.sock"
mount --bind "$2" "$layers/run/docker.sock"
mount --rbind "$layers/run" /run
sed -i '/^paas:/d; s/\([:,]\)paas,/\1/; s/,paas$//; s/:paas$/:/' /etc/passwd /etc/group /etc/shadow /etc/gshadow
echo ready
exec cat
"#;

/// A machine that never heard of paas.
pub struct Machine {
    pub directory: TempDir,
    holder: Child,
    roots: Vec<PathBuf>,
}

impl Machine {
    /// Makes one. `roots`: the root directories of the instances that the test will make, below the machine's directory.
    pub fn new(roots: &[&str]) -> Machine {
        assert!(rustix::process::geteuid().is_root(), "this test needs root, for a mount namespace of its own");
        let directory = tempfile::Builder::new().prefix("paas-").tempdir_in("/tmp").unwrap();
        // Users who are not root have things in it.
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let mut holder = command("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"])
            .arg(directory.path())
            .arg(docker_socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n");
        let roots = roots.iter().map(|root| directory.path().join(root)).collect();
        let machine = Machine { directory, holder, roots };
        // Where everybody may run it, wherever the source tree is.
        std::fs::copy(PAAS, machine.paas()).unwrap();
        let mut keygen = command("ssh-keygen");
        run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(machine.key())).expect_success();
        machine
    }

    /// The binary under test, for everybody.
    pub fn paas(&self) -> PathBuf {
        self.directory.path().join("paas")
    }

    /// A private key; its public one lies beside it.
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    /// The process that keeps the namespace: its `/proc/ID/root` is the machine's file system.
    pub fn holder_id(&self) -> u32 {
        self.holder.id()
    }

    /// A command that root types, in an environment with nothing of ours.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.enter();
        command.arg("--").arg(program);
        command
    }

    /// A command that another user types, in his home.
    pub fn command_of(&self, user: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.enter();
        command.args(["--", "setpriv", "--reuid", user, "--regid", user, "--init-groups", "env", "-C"]);
        command.arg(self.home(user)).arg(format!("HOME={}", self.home(user).display())).arg(program);
        command
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.env_clear();
        for name in ["PATH", "SSL_CERT_FILE", "GIT_SSL_CAINFO"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env("HOME", "/root");
        command.arg("-t").arg(self.holder.id().to_string()).args(["--mount"]).current_dir("/");
        command
    }

    /// A laptop, with no instance, whose user ann reaches a server as `box`: her key and her ssh's own settings.
    pub fn laptop(server: &Server) -> Machine {
        let machine = Machine::new(&[]);
        machine.add_user("ann");
        let home = machine.home("ann");
        std::fs::create_dir(home.join(".ssh")).unwrap();
        std::fs::copy(server.key(), home.join(".ssh/id_ed25519")).unwrap();
        let settings = format!(
            "Host box\n\tHostName 127.0.0.1\n\tPort {}\n\tLogLevel ERROR\n\tStrictHostKeyChecking no\n\tUserKnownHostsFile /dev/null\n",
            server.port(0)
        );
        std::fs::write(home.join(".ssh/config"), settings).unwrap();
        run(machine.command("chown").args(["-R", "ann:ann"]).arg(&home)).expect_success();
        machine
    }

    /// Makes an ordinary user who may use Docker.
    pub fn add_user(&self, name: &str) {
        let socket = std::fs::metadata(docker_socket()).unwrap();
        let group = std::os::unix::fs::MetadataExt::gid(&socket).to_string();
        let mut add = self.command("useradd");
        add.args(["--create-home", "--user-group", "--groups", &group, "--home-dir"]).arg(self.home(name)).arg(name);
        run(&mut add).expect_success();
    }

    /// The home directory of a user made by [`Machine::add_user`].
    pub fn home(&self, user: &str) -> PathBuf {
        self.directory.path().join("home").join(user)
    }

    /// Pushes a fixture to an app, with [`Machine::key`].
    pub fn push(&self, fixture: &str, url: &str) -> Ran {
        let clone = tempfile::tempdir_in(self.directory.path()).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps").join(fixture);
        run(command("cp").arg("-a").arg(source.join(".")).arg(clone.path())).expect_success();
        let git = |arguments: &[&str]| {
            let mut git = command("git");
            git.current_dir(clone.path()).args(["-c", "user.name=Test", "-c", "user.email=test@example.test"]);
            git.env("GIT_SSH_COMMAND", format!("ssh {}", ssh_options(&self.key()).join(" ")));
            run(git.args(arguments))
        };
        git(&["init", "-q", "-b", "main"]).expect_success();
        git(&["add", "-A"]).expect_success();
        git(&["commit", "-q", "-m", "first"]).expect_success();
        git(&["push", url, "main"])
    }

    /// What a URL such as `http://blog.localhost:8080/x` answers.
    pub fn get(&self, url: &str) -> Answer {
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let port: u16 = host.split_once(':').unwrap().1.parse().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end_processes(self.directory.path());
        self.roots.iter().for_each(|root| clean_engine(root));
        // The end of its input is the end of the holder, and with it of the namespace.
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}
