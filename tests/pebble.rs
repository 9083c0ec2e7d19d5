//! A real ACME server, Pebble, with a DNS server beside it; and what answers its questions in place of the proxy.

use std::{
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::harness::{self, Answer, Server, run};

/// A Pebble of its own for a server of a test.
pub struct Pebble {
    directory: PathBuf,
    programs: PathBuf,
    port: u16,
    dns: u16,
    management: u16,
    http: u16,
    children: Vec<Child>,
}

impl Pebble {
    /// The settings of a server that is to ask the Pebble that [`Pebble::start`] starts for it, through its own proxy.
    pub fn settings_of_daemon() -> [(&'static str, &'static str); 3] {
        [("PAAS_DOMAIN", "apps.example.com"), ("PAAS_TLS", "acme"), ("PAAS_NAME_SERVERS", "")]
    }

    /// The settings of one for which [`Answering`] stands in place of the proxy.
    pub fn settings() -> [(&'static str, &'static str); 4] {
        let [domain, tls, name_servers] = Pebble::settings_of_daemon();
        [domain, tls, name_servers, ("PAAS_PROXY_MODE", "external")]
    }

    /// Starts Pebble and its DNS server, in which each name leads here, and tells the server of it.
    pub fn start(server: &Server) -> Pebble {
        let programs =
            run(harness::command(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pebble")).env("HOME", "/var/tmp"))
                .expect_success();
        let directory = server.directory.path().join("pebble");
        std::fs::create_dir(&directory).unwrap();
        write_certificate(&directory);
        let mut pebble = Pebble {
            directory,
            programs: PathBuf::from(programs.stdout.trim()),
            port: server.port(5),
            dns: server.port(6),
            management: server.port(7),
            http: server.port(3),
            children: Vec::new(),
        };
        pebble.start_dns();
        pebble.start_pebble();
        let directory = format!("acme_directory=https://localhost:{}/dir", pebble.port);
        let root = format!("acme_root={}", pebble.directory.join("root.pem").display());
        let dns = format!("name_servers=127.0.0.1:{}", pebble.dns);
        for setting in [&directory, &root, &dns, "acme_contact=ops@example.com"] {
            server.paas(&["settings:set", setting]).expect_success();
        }
        pebble
    }

    fn start_dns(&mut self) {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let mut command = self.command("pebble-challtestsrv");
        command.args(["-dnsserver", &address(self.dns), "-management", &address(self.management)]);
        for off in ["-doh", "-http01", "-https01", "-tlsalpn01"] {
            command.args([off, ""]);
        }
        self.children.push(command.spawn().unwrap());
        wait_for_port(self.management);
        self.tell("set-default-ipv6", &json!({ "ip": "" }));
    }

    fn start_pebble(&mut self) {
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": "",
            "certificate": self.directory.join("pebble.pem"),
            "privateKey": self.directory.join("pebble.key"),
            "httpPort": self.http,
            "tlsPort": 1,
            "domainBlocklist": ["blocked.example.com"],
            "retryAfter": { "authz": 1, "order": 1 },
            "keyAlgorithm": "ecdsa",
            "profiles": { "default": { "description": "", "validityPeriod": 7_776_000 } },
        }});
        let path = self.directory.join("config.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let mut command = self.command("pebble");
        command.arg("-config").arg(path).args(["-dnsserver", &format!("127.0.0.1:{}", self.dns)]);
        command.envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "5")]);
        self.children.push(command.spawn().unwrap());
        wait_for_port(self.port);
    }

    fn command(&self, program: &str) -> Command {
        let mut command = harness::command(self.programs.join(program));
        let log = File::options().append(true).create(true).open(self.directory.join("log")).unwrap();
        command.env_clear().stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        command
    }

    /// Has an authority in its place that knows no account and signs with another key.
    pub fn forget_everything(&mut self) {
        let mut pebble = self.children.pop().unwrap();
        pebble.kill().unwrap();
        pebble.wait().unwrap();
        self.start_pebble();
    }

    /// Ends the authority; its DNS server goes on.
    pub fn stop(&mut self) {
        let mut pebble = self.children.pop().unwrap();
        pebble.kill().unwrap();
        pebble.wait().unwrap();
    }

    /// Starts the authority again.
    pub fn start_again(&mut self) {
        self.start_pebble();
    }

    /// Has a name lead to these addresses.
    pub fn lead(&self, host: &str, addresses: &[&str]) {
        let (six, four): (Vec<&str>, Vec<&str>) = addresses.iter().partition(|address| address.contains(':'));
        let host = format!("{host}.");
        self.tell("clear-a", &json!({ "host": host }));
        self.tell("add-a", &json!({ "host": host, "addresses": four }));
        if !six.is_empty() {
            self.tell("add-aaaa", &json!({ "host": host, "addresses": six }));
        }
    }

    /// Has names that were not named lead nowhere.
    pub fn lead_others_nowhere(&self) {
        self.tell("set-default-ipv4", &json!({ "ip": "" }));
    }

    /// Has DNS fail for a name.
    pub fn fail(&self, host: &str) {
        self.tell("set-servfail", &json!({ "host": format!("{host}.") }));
    }

    /// The address of what sets records in DNS.
    pub fn management(&self) -> String {
        format!("http://127.0.0.1:{}", self.management)
    }

    fn tell(&self, path: &str, what: &serde_json::Value) {
        let body = what.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.management)).unwrap();
        write!(stream, "POST /{path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(Answer::parse(&bytes).status, 200, "{path} {body}");
    }

    /// What Pebble has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("---- Pebble said:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

fn wait_for_port(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing listens on {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes the certificate of Pebble's own address, and what it is trusted by.
fn write_certificate(directory: &Path) {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(directory.join("root.pem"), root.self_signed(&root_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let own = own.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
    std::fs::write(directory.join("pebble.pem"), own.pem()).unwrap();
    std::fs::write(directory.join("pebble.key"), key.serialize_pem()).unwrap();
}

/// Answers the questions of an authority with what the database says, as the proxy does.
pub struct Answering {
    stop: Arc<AtomicBool>,
    address: (Ipv4Addr, u16),
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    /// On the server's HTTP port, of an address of this machine.
    pub fn start(server: &Server) -> Answering {
        Answering::start_at(server, Ipv4Addr::LOCALHOST, true)
    }

    /// `knows`: whether it answers with what the database says; else it is another server, which knows nothing.
    pub fn start_at(server: &Server, address: Ipv4Addr, knows: bool) -> Answering {
        let address = (address, server.port(3));
        let listener = TcpListener::bind(address).unwrap();
        let database = server.root().join("paas.db");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let database = database.clone();
                let stream = stream.unwrap();
                std::thread::spawn(move || answer(stream, knows.then_some(database.as_path())));
            }
        });
        Answering { stop, address, thread: Some(thread) }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn answer(mut stream: TcpStream, database: Option<&Path>) {
    let mut question = Vec::new();
    let mut buffer = [0; 4096];
    while !question.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => question.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let question = String::from_utf8_lossy(&question).into_owned();
    let token = question.split(' ').nth(1).and_then(|path| path.strip_prefix("/.well-known/acme-challenge/"));
    let found = database.and_then(|database| {
        let connection = rusqlite::Connection::open(database).ok()?;
        connection.busy_timeout(Duration::from_secs(10)).ok()?;
        let row = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        connection.query_row("SELECT answer FROM acme_challenges WHERE token = ?1", [token?], row).ok()
    });
    let (status, body) = found.map_or(("404 Not Found", "another server".to_owned()), |answer| ("200 OK", answer));
    drop(write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()));
}
