//! What many names cost: 1,000 apps with three domains each, and 200 certificates of their own. Handshakes against a bare
//! Caddy that has the same certificates in files, in turns; how long the edge takes for a question, what it takes of
//! memory, and how long `domains:add` takes.

use std::{
    collections::HashMap,
    io::Write,
    net::{TcpStream, UdpSocket},
    process::{Child, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use rcgen::{CertificateParams, KeyPair};
use rusqlite::Connection;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{
    harness::{Server, command},
    measure::{PATIENCE, median, proportional_set_size},
    processes::edge,
};

const APPS: usize = 1_000;
const DOMAINS: usize = 3;
const CERTIFICATES: usize = 200;
/// Clients that make one handshake after the other.
const CLIENTS: usize = 8;
/// How long each side is measured in a round.
const SPAN: Duration = Duration::from_secs(4);
const QUESTIONS: usize = 10_000;
const ADDED: usize = 20;

/// Measures all of it, and prints it.
pub fn measure(rounds: usize) {
    println!("\n== names: {APPS} apps with {DOMAINS} domains each, {CERTIFICATES} certificates of their own");
    let mut server = Server::start_with(&[("PAAS_DOMAIN", "apps.example"), ("PAAS_TLS", "internal")]);
    server.paas(&["apps:create", "app-0"]).expect_success();
    let of_edge = |server: &Server| proportional_set_size(edge(server)[0]);
    let before = of_edge(&server);
    server.stop_daemon().expect_success();
    add_apps(&server);
    server.start_daemon();
    let bare = add_certificates(&server);
    println!("memory of the edge (PSS): {before:.1} MB with one app, {:.1} MB with all", of_edge(&server));

    let hosts: Vec<String> = (0..CERTIFICATES).map(|number| domain(number, 0)).collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (bare, edge) = (handshakes(bare.port, &hosts), handshakes(server.port(4), &hosts));
        println!("round {round}: bare Caddy {bare}; with the edge {edge}");
        theirs.push(bare);
        ours.push(edge);
    }
    let rate = |all: &[Handshakes]| median(all.iter().map(|one| one.rate).collect());
    let late = |all: &[Handshakes]| median(all.iter().map(|one| one.p99).collect());
    println!(
        "median: {:.0} handshakes a second and p99 {:.1} ms against {:.0} and {:.1} ms: ratio {:.2}",
        rate(&ours),
        late(&ours),
        rate(&theirs),
        late(&theirs),
        rate(&ours) / rate(&theirs)
    );

    let mut took = ask(&server);
    took.sort_by(f64::total_cmp);
    println!("{QUESTIONS} questions, one after the other: p50 {:.3} ms, p99 {:.3} ms", at(&took, 0.5), at(&took, 0.99));

    let added = (0..ADDED).map(|number| {
        let begun = Instant::now();
        server.paas(&["domains:add", "app-7", &format!("added-{number}.example")]).expect_success();
        1000.0 * begun.elapsed().as_secs_f64()
    });
    println!("domains:add: median {:.1} ms (aim: 50 ms)", median(added.collect()));
}

fn domain(app: usize, number: usize) -> String {
    format!("d{number}.app-{app}.example")
}

/// Makes copies of the one app that is there, with domains each.
fn add_apps(server: &Server) {
    let connection = Connection::open(server.root().join("paas.db")).unwrap();
    connection.execute_batch("BEGIN").unwrap();
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info('apps')").unwrap();
    let columns: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let changed: HashMap<&str, &str> = HashMap::from([("id", "?1"), ("name", "?2")]);
    let values: Vec<&str> = columns.iter().map(|name| changed.get(name.as_str()).copied().unwrap_or(name)).collect();
    let copy =
        format!("INSERT INTO apps ({}) SELECT {} FROM apps WHERE name = 'app-0'", columns.join(","), values.join(","));
    for app in 0..APPS {
        let id = 1000 + i64::try_from(app).unwrap();
        if app > 0 {
            connection.execute(&copy, rusqlite::params![id, format!("app-{app}")]).unwrap();
        }
        for number in 0..DOMAINS {
            connection
                .execute(
                    "INSERT INTO domains (name, app_id, typed, position, added_at)
                     SELECT ?1, id, ?1, ?2, 0 FROM apps WHERE name = ?3",
                    rusqlite::params![domain(app, number), i64::try_from(number).unwrap(), format!("app-{app}")],
                )
                .unwrap();
        }
    }
    connection.execute_batch("COMMIT").unwrap();
}

/// A Caddy that has certificates in files, and no edge.
struct Bare {
    port: u16,
    child: Child,
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Gives the first apps certificates, and a bare Caddy the same.
fn add_certificates(server: &Server) -> Bare {
    let directory = server.directory.path().join("certificates");
    std::fs::create_dir(&directory).unwrap();
    let port = server.port(6);
    let mut caddyfile =
        "{\n\tadmin off\n\tauto_https off\n\tskip_install_trust\n\tlog {\n\t\tlevel ERROR\n\t}\n}\n".to_owned();
    for number in 0..CERTIFICATES {
        let host = domain(number, 0);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.clone()]).unwrap().self_signed(&key).unwrap();
        let file = |end: &str| directory.join(format!("{host}.{end}")).display().to_string();
        std::fs::write(file("crt"), certificate.pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        server.paas(&["certs:add", &format!("app-{number}"), &file("crt"), &file("key")]).expect_success();
        caddyfile += &format!("https://{host}:{port} {{\n\ttls {} {}\n\trespond 204\n}}\n", file("crt"), file("key"));
    }
    let path = directory.join("Caddyfile");
    std::fs::write(&path, caddyfile).unwrap();
    let mut caddy = command("caddy");
    caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(path).env("HOME", &directory);
    let child = caddy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    server.wait_for("the bare Caddy", PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Bare { port, child }
}

/// How handshakes went.
struct Handshakes {
    /// How many a second.
    rate: f64,
    /// In milliseconds.
    p50: f64,
    p99: f64,
}

impl std::fmt::Display for Handshakes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.0} a second, p50 {:.1} ms, p99 {:.1} ms", self.rate, self.p50, self.p99)
    }
}

/// Makes whole handshakes with all hosts in turns, by some clients at once.
fn handshakes(port: u16, hosts: &[String]) -> Handshakes {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    let begun = Instant::now();
    let mut took: Vec<f64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let config = Arc::clone(&config);
                scope.spawn(move || {
                    let mut took = Vec::new();
                    for host in hosts.iter().cycle().skip(client * hosts.len() / CLIENTS) {
                        if begun.elapsed() > SPAN {
                            break;
                        }
                        let at = Instant::now();
                        let name = ServerName::try_from(host.clone()).unwrap();
                        let mut tls = ClientConnection::new(Arc::clone(&config), name).unwrap();
                        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                        while tls.is_handshaking() {
                            tls.complete_io(&mut stream).unwrap();
                        }
                        took.push(1000.0 * at.elapsed().as_secs_f64());
                        tls.send_close_notify();
                        drop(tls.write_tls(&mut stream));
                        drop(stream.flush());
                    }
                    took
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort_by(f64::total_cmp);
    Handshakes { rate, p50: at(&took, 0.5), p99: at(&took, 0.99) }
}

fn at(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

/// Asks the edge where hosts lead; returns how long each answer took, in milliseconds.
fn ask(server: &Server) -> Vec<f64> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.connect(("127.0.0.1", server.port(2))).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 4096];
    let mut one = |number: usize| {
        let mut question = Message::query();
        let name = format!("{}.https.paas.", domain(number % APPS, number % DOMAINS));
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::SRV));
        let begun = Instant::now();
        socket.send(&question.to_vec().unwrap()).unwrap();
        socket.recv(&mut answer).unwrap();
        1000.0 * begun.elapsed().as_secs_f64()
    };
    (0..QUESTIONS).map(&mut one).collect()
}

/// Takes every certificate for good: nothing is measured but the server's part.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519, SignatureScheme::RSA_PSS_SHA256]
    }
}
