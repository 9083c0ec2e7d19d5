//! Ports: TCP ports of the server that lead to an app, with a real TCP program behind them.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    harness::{Answer, Repository, Server, command, run, try_get},
    processes::{caddy, edge, kill},
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a connection may take to say something.
const SILENCE: Duration = Duration::from_secs(20);

/// A server that says its version to each connection, and then says all again that it hears. It speaks no HTTP.
const ANSWER: &str = r#"import socketserver, sys

class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"v1\n")
        while heard := self.request.recv(65536):
            self.request.sendall(heard)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 500

Server(("0.0.0.0", int(sys.argv[1])), Answer).serve_forever()
"#;
const DOCKERFILE: &str = r#"FROM python:3.13-slim
COPY answer.py /
EXPOSE 7000
CMD ["python3", "/answer.py", "7000"]
"#;

fn repository(server: &Server, app: &str) -> Repository {
    let repository = server.empty_repository(app);
    repository.write("Dockerfile", DOCKERFILE).write("answer.py", ANSWER).commit("one");
    repository
}

/// An app of a repository that was pushed and has the port.
fn start(settings: &[(&str, &str)]) -> (Server, Repository, u16) {
    let server = Server::start_with(settings);
    let port = server.port(5);
    server.paas(&["apps:create", "echo"]).expect_success();
    server.paas(&["ports:add", "echo", &format!("tcp:{port}:7000")]).expect_success();
    server.paas(&["ps:set", "echo", "stop-timeout=1s", "--no-restart"]).expect_success();
    let repository = repository(&server, "echo");
    repository.push().expect_success();
    (server, repository, port)
}

/// A connection to the app.
struct Client {
    stream: BufReader<TcpStream>,
    /// What the app said first.
    version: String,
}

impl Client {
    fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(SILENCE))?;
        let mut client = Client { stream: BufReader::new(stream), version: String::new() };
        client.version = client.line()?;
        Ok(client)
    }

    /// The next line; an error where there is none.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn echo(&mut self, text: &str) -> io::Result<String> {
        self.stream.get_mut().write_all(format!("{text}\n").as_bytes())?;
        self.line()
    }
}

/// Clients that connect all the time, and the versions that they saw; the first failure ends them.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<io::Result<Vec<String>>>>,
}

impl Load {
    fn start(port: u16) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let client = || {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut seen: Vec<String> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Client::connect(port)?;
                    assert_eq!(client.echo("hello")?, "hello");
                    if seen.last() != Some(&client.version) {
                        seen.push(client.version);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(seen)
            })
        };
        let threads = (0..4).map(|_| client()).collect();
        Load { stop, threads }
    }

    fn stop(self) -> Vec<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap().expect("a new connection was lost")).collect()
    }
}

fn listening(server: &Server, app: &str) -> bool {
    let report = server.json(&["ports:report", app]);
    report["ports"].as_array().unwrap().iter().all(|port| port["listening"] == true)
}

#[test]
fn an_app_that_speaks_no_http_is_deployed_while_connections_run() {
    let server = Server::start();
    let port = server.port(5);
    server.paas(&["apps:create", "echo"]).expect_success();
    let mapping = format!("tcp:{port}:7000");
    let ran = server.paas(&["ports:add", "echo", &mapping]).expect_success();
    let ran = ran.says(&format!("port {port} leads to port 7000 of web"));
    assert!(!ran.stderr.contains(" !     "), "{ran}");
    assert!(listening(&server, "echo"));
    // It is taken, and nobody is there to answer.
    assert_eq!(Client::connect(port).err().map(|error| error.kind()), Some(ErrorKind::UnexpectedEof));

    server.paas(&["ps:set", "echo", "stop-timeout=1s", "--no-restart"]).expect_success();
    let repository = repository(&server, "echo");
    let pushed = repository.push().expect_success();
    let pushed = pushed.says("port 7000 takes connections").says(&format!("=====> tcp://echo.localhost:{port}"));
    assert!(!pushed.stderr.contains("http://echo"), "{pushed}");
    let mut old = Client::connect(port).unwrap();
    assert_eq!(old.version, "v1");
    assert_eq!(old.echo("hello").unwrap(), "hello");
    let report = server.json(&["ports:report", "echo"]);
    assert_eq!((&report["ports"][0]["connections"], &report["ports"][0]["taken_by"]), (&1.into(), &().into()));
    assert_eq!(report["ports"][0]["containers"].as_array().unwrap().len(), 1, "{report}");

    // A new release gets the new connections, and the old one keeps its own.
    let load = Load::start(port);
    let containers = server.containers();
    repository.replace("answer.py", "v1", "v2").commit("two");
    repository.push().expect_success();
    server.wait_for("v2", PATIENCE, || Client::connect(port).unwrap().version == "v2");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(old.echo("still here").unwrap(), "still here");
    assert!(server.containers().contains(&containers[0]), "the old container waits for its connection");
    drop(old);
    server.wait_for("the old container to go", PATIENCE, || !server.containers().contains(&containers[0]));
    assert_eq!(server.deploy_state("echo"), "succeeded");

    // Again and again, with as much as there is on the way.
    for _ in 0..4 {
        server.paas(&["ps:restart", "echo"]).expect_success();
    }
    server.paas(&["ps:scale", "echo", "web=2"]).expect_success();
    server.paas(&["ps:restart", "echo"]).expect_success();
    server.paas(&["ps:scale", "echo", "web=1"]).expect_success();
    wait_until_over(&server, "echo");
    for seen in load.stop() {
        assert_eq!(seen, ["v1", "v2"], "each in its time, and none comes back");
    }

    // What never ends is ended when its time is over.
    server.paas(&["ps:set", "echo", "drain-timeout=2s"]).expect_success();
    let mut endless = Client::connect(port).unwrap();
    server.paas(&["ps:restart", "echo"]).expect_success();
    assert!(endless.line().is_err(), "the old container is gone");
    wait_until_over(&server, "echo");

    // A stopped app has its port, and takes nothing.
    server.paas(&["ps:stop", "echo"]).expect_success();
    assert!(Client::connect(port).is_err() && listening(&server, "echo"));
    server.paas(&["ps:start", "echo"]).expect_success();
    assert_eq!(Client::connect(port).unwrap().version, "v2");
    server.paas(&["apps:destroy", "echo", "--force"]).expect_success();
    server.wait_for("the port to be closed", PATIENCE, || {
        Client::connect(port).err().map(|error| error.kind()) == Some(ErrorKind::ConnectionRefused)
    });
}

#[test]
fn the_death_of_the_daemon_and_of_the_edge_refuses_no_connection() {
    let (mut server, _, port) = start(&[]);
    let mut held = Client::connect(port).unwrap();
    server.kill_daemon();
    assert_eq!(held.echo("no daemon").unwrap(), "no daemon");
    assert_eq!(Client::connect(port).unwrap().version, "v1");
    server.start_daemon();
    assert_eq!(held.echo("another daemon").unwrap(), "another daemon");
    // The sockets are with the daemon in a moment: also those that it was not started with.
    let second = server.port(6);
    server.paas(&["ports:add", "echo", &format!("tcp:{second}:7000")]).expect_success();
    assert_eq!(Client::connect(second).unwrap().version, "v1");
    std::thread::sleep(Duration::from_secs(2));
    for _ in 0..3 {
        let former = edge(&server);
        kill(&former);
        // At once: no edge listens now.
        for port in [port, second] {
            assert_eq!(Client::connect(port).unwrap().version, "v1");
        }
        server.wait_for("another edge", PATIENCE, || edge(&server).iter().any(|id| !former.contains(id)));
    }
    assert!(held.echo("gone").is_err(), "it went with the edge that relayed it");

    // A port that is removed is closed though the daemon has it too, and can be another program's at once.
    server.paas(&["ports:remove", "echo", &second.to_string()]).expect_success();
    assert!(TcpStream::connect(("127.0.0.1", second)).is_err());
    let other = TcpListener::bind(("127.0.0.1", second)).unwrap();
    drop(other);
    server.paas(&["ports:add", "echo", &format!("tcp:{second}:7000")]).expect_success();
    assert_eq!(Client::connect(second).unwrap().version, "v1");
}

#[test]
fn connections_go_on_when_the_edge_is_upgraded() {
    let (mut server, _, port) = start(&[]);
    let mut held = Client::connect(port).unwrap();
    let former = edge(&server);
    server.stop_daemon();
    // Settings that it goes by have it become another one, as another binary does.
    server.set("PAAS_DOMAIN", "apps.localhost");
    server.start_daemon();
    server.wait_for("another edge", PATIENCE, || edge(&server).iter().any(|id| !former.contains(id)));
    assert_eq!(held.echo("the former edge relays it").unwrap(), "the former edge relays it");
    assert_eq!(Client::connect(port).unwrap().version, "v1");

    // A deploy waits for it, whichever edge has it.
    let containers = server.containers();
    server.paas(&["ps:restart", "echo"]).expect_success();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(held.echo("and a deploy waits").unwrap(), "and a deploy waits");
    assert!(server.containers().contains(&containers[0]));
    drop(held);
    server.wait_for("the former edge to end", PATIENCE, || former.iter().all(|id| !edge(&server).contains(id)));
    server.wait_for("the old container to go", PATIENCE, || !server.containers().contains(&containers[0]));
    assert_eq!(Client::connect(port).unwrap().version, "v1");
}

#[test]
fn the_app_learns_who_its_clients_are_and_any_process_type_may_have_a_port() {
    let (server, repository, port) = start(&[]);
    let mapping = format!("tcp:{port}:7000");
    server.paas(&["ports:add", "echo", &mapping, "--proxy-protocol", "v1"]).expect_success().says("PROXY protocol v1");
    let mut client = Client::connect(port).unwrap();
    let own = client.stream.get_ref().local_addr().unwrap().port();
    // The app says again what it hears, and hears that first.
    assert_eq!(client.line().unwrap(), format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}"));
    assert_eq!(client.echo("hello").unwrap(), "hello");

    server.paas(&["ports:set", "echo", &mapping, "--proxy-protocol", "v2"]).expect_success();
    let mut client = Client::connect(port).unwrap();
    let own = client.stream.get_ref().local_addr().unwrap().port();
    let mut header = [0; 28];
    client.stream.read_exact(&mut header).unwrap();
    assert_eq!(&header[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    assert_eq!(&header[16..24], [127, 0, 0, 1, 127, 0, 0, 1]);
    assert_eq!(&header[24..], [own.to_be_bytes(), port.to_be_bytes()].concat());
    assert_eq!(client.echo("hello").unwrap(), "hello");

    // One side may have said its last word before the other.
    server.paas(&["ports:set", "echo", &mapping]).expect_success();
    let mut client = Client::connect(port).unwrap();
    let data = "0123456789abcdef".repeat(1 << 16);
    let (mut writer, sent) = (client.stream.get_ref().try_clone().unwrap(), data.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(sent.as_bytes()).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut back = String::new();
    client.stream.read_to_string(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == data, "{} of {} bytes came back", back.len(), data.len());

    let worker = server.port(6);
    let of_worker = format!("tcp:{worker}:7001");
    server.paas(&["ports:add", "echo", &of_worker, "--process", "broker"]).expect_code(3).says("process type broker");
    repository
        .write("paas.toml", "[processes.broker]\ncommand = \"exec python3 /answer.py 7001\"\nscale = 1\n")
        .commit("with a broker");
    repository.push().expect_success();
    server.paas(&["ports:add", "echo", &of_worker, "--process", "broker"]).expect_success();
    let mut held = Client::connect(worker).unwrap();
    let old: Vec<String> = server.containers().into_iter().filter(|name| name.contains("-broker-")).collect();
    wait_until_over(&server, "echo");
    server.paas(&["ps:restart", "echo", "broker"]).expect_success();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(held.echo("drained as web is").unwrap(), "drained as web is");
    assert_eq!(Client::connect(worker).unwrap().version, "v1");
    assert!(server.containers().contains(&old[0]));
    drop(held);
    server.wait_for("the old container to go", PATIENCE, || !server.containers().contains(&old[0]));
}

#[test]
fn ports_are_one_apps_and_no_value_is_taken_that_is_none() {
    let server = Server::start();
    for app in ["blog", "shop"] {
        server.paas(&["apps:create", app]).expect_success();
    }
    let (first, second) = (server.port(5), server.port(6));
    let port = |host: u16| format!("tcp:{host}:5432");
    server.paas(&["ports:list", "nobody"]).expect_code(3);
    assert_eq!(server.json(&["ports:list"]), serde_json::json!([]));
    server.paas(&["ports:add", "blog", &port(first)]).expect_success();
    server.paas(&["ports:add", "blog", &port(first)]).expect_success().says("nothing to change");

    // Of another app, with its name for those who may know it.
    let taken = server.paas(&["ports:add", "shop", &port(first)]).expect_code(4);
    taken.says(&format!("port {first} is blog's"));
    let key = server.directory.path().join("ann");
    run(command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).expect_success();
    server.paas(&["ssh-keys:add", "ann", &format!("{}.pub", key.display())]).expect_success();
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    database.execute("UPDATE ssh_keys SET role = NULL WHERE name = 'ann'", []).unwrap();
    let grant =
        "INSERT INTO key_grants (key_id, app_id, role) SELECT ssh_keys.id, apps.id, 'deployer' FROM ssh_keys, apps
                 WHERE ssh_keys.name = 'ann' AND apps.name = 'shop'";
    database.execute(grant, []).unwrap();
    drop(database);
    let as_ann = |words: &str| run(server.ssh_command(&key).arg(words));
    let hidden = as_ann(&format!("ports:add shop {}", port(first))).expect_code(4);
    assert!(hidden.stderr.contains("another app's") && !hidden.stderr.contains("blog"), "{hidden}");
    assert!(!as_ann("ports:list").expect_success().stdout.contains("blog"));

    // Of another program, with its name.
    let other = TcpListener::bind(("127.0.0.1", second)).unwrap();
    let ran = server.paas(&["ports:add", "shop", &port(second)]).expect_code(4);
    ran.says(&format!("port {second} of this machine is taken by ")).says(&format!("(process {})", std::process::id()));
    drop(other);

    // The server's own, and those that no app may have.
    for (index, setting) in
        ["ssh_listen", "http_listen", "resolver_listen", "proxy_http_port", "proxy_https_port"].into_iter().enumerate()
    {
        let own = server.port(u16::try_from(index).unwrap());
        server.paas(&["ports:add", "shop", &port(own)]).expect_code(4).says(setting);
    }
    let ran = as_ann("ports:add shop tcp:22:22").expect_code(5);
    ran.says("port 22 may not be an app's: the setting tcp_ports allows 1024-32767");
    server.paas(&["settings:set", &format!("tcp_ports=7,{second}-{second}")]).expect_success();
    server.paas(&["ports:add", "shop", &port(server.port(7))]).expect_code(5);
    server.paas(&["ports:add", "shop", &port(second)]).expect_success();
    server.paas(&["settings:set", "tcp_ports=none"]).expect_success();
    server.paas(&["ports:add", "shop", &port(server.port(7))]).expect_code(5).says("allows none");
    // What is an app's stays so.
    server.paas(&["ports:set", "shop", &format!("tcp:{second}:1")]).expect_success();
    for bad in ["0-7", "7-", "8-7", "x", "7;8", "65536"] {
        server.paas(&["settings:set", &format!("tcp_ports={bad}")]).expect_code(2);
    }
    server.paas(&["settings:unset", "tcp_ports"]).expect_success();

    for (bad, said) in [
        ("https:8443:443", "this server has no HTTPS"),
        ("udp:53:53", "UDP is not relayed"),
        ("7000", "SCHEME:HOST:CONTAINER"),
        ("tcp:7000", "SCHEME:HOST:CONTAINER"),
        ("tcp:0:1", "SCHEME:HOST:CONTAINER"),
        ("tcp:1:65536", "SCHEME:HOST:CONTAINER"),
        ("tcp:7000:1;id", "SCHEME:HOST:CONTAINER"),
        ("tcp:7000:1\nlisten 9", "SCHEME:HOST:CONTAINER"),
        ("", "SCHEME:HOST:CONTAINER"),
    ] {
        server.paas(&["ports:add", "blog", bad]).expect_code(2).says(said);
        server.paas(&["ports:set", "blog", bad]).expect_code(2);
    }
    server.paas(&["ports:add", "blog", "tcp:7000:1", "tcp:7000:2"]).expect_code(2).says("name the same port");
    server.paas(&["ports:add", "blog", "tcp:7000:1", "--proxy-protocol", "v3"]).expect_code(2);
    server.paas(&["ports:add", "blog", "tcp:7000:1", "--process", "../x"]).expect_code(2);
    let names = |app: &str| -> Vec<String> {
        let list = server.json(&["ports:list", app]);
        list.as_array().unwrap().iter().map(|port| port["port"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("blog"), [port(first)], "nothing of all that has changed anything");

    // All, or none.
    server.paas(&["ports:remove", "blog", &first.to_string(), "7"]).expect_code(3).says("blog has no port 7");
    server.paas(&["ports:remove", "blog", &format!("tcp:{first}:1")]).expect_code(3);
    assert_eq!(names("blog"), [port(first)]);
    server.paas(&["ports:set", "blog", &port(server.port(7))]).expect_success();
    assert_eq!(names("blog"), [port(server.port(7))]);
    assert!(
        TcpStream::connect(("127.0.0.1", first)).is_err() && TcpStream::connect(("127.0.0.1", server.port(7))).is_ok()
    );
    server.paas(&["apps:lock", "blog"]).expect_success();
    server.paas(&["ports:clear", "blog"]).expect_code(6);
    server.paas(&["apps:unlock", "blog"]).expect_success();
    server.paas(&["ports:clear", "blog"]).expect_success().says("blog has no port but the usual ones");
    assert!(names("blog").is_empty() && TcpStream::connect(("127.0.0.1", server.port(7))).is_err());
    server.paas(&["ports:remove", "shop", &format!("tcp:{second}")]).expect_success();
    assert!(names("shop").is_empty());
    let event = server.json(&["events", "--action", "ports:clear"]);
    assert_eq!(event[0]["subject"], "app:blog", "{event}");
}

#[test]
fn without_a_server_a_port_is_kept_and_opened_when_it_is_back() {
    let mut server = Server::prepare(&[]);
    let port = server.port(5);
    server.paas(&["apps:create", "echo"]).expect_success();
    let ran = server.paas(&["ports:add", "echo", &format!("tcp:{port}:7000")]).expect_success();
    ran.says(&format!("nothing listens on port {port} yet"));
    // Somebody else is quicker.
    let other = TcpListener::bind(("127.0.0.1", port)).unwrap();
    server.start_daemon();
    let report = server.json(&["ports:report", "echo"]);
    assert_eq!(report["ports"][0]["listening"], false);
    assert!(report["ports"][0]["taken_by"].as_str().unwrap().contains(&std::process::id().to_string()), "{report}");
    drop(other);
    server.wait_for("the port", PATIENCE, || listening(&server, "echo"));
}

/// A server of HTTP at two ports, which says at which it was asked.
const TWO_PORTS: &str = r#"import http.server, threading

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"port %d" % self.server.server_port)

serve = lambda port: http.server.ThreadingHTTPServer(("0.0.0.0", port), Answer).serve_forever()
threading.Thread(target=serve, args=(3000,), daemon=True).start()
serve(5000)
"#;

/// An app that serves HTTP at its ports 5000 and 3000.
fn two_ports(server: &Server, app: &str) {
    let repository = server.empty_repository(app);
    repository.write("answer.py", TWO_PORTS);
    let dockerfile = "FROM python:3.13-slim\nCOPY answer.py /\nCMD [\"python3\", \"/answer.py\"]\n";
    repository.write("Dockerfile", dockerfile).commit("one");
    repository.push().expect_success();
}

#[test]
fn an_app_answers_http_at_other_ports_too() {
    let server = Server::start();
    let (first, second) = (server.port(5), server.port(6));
    let at = |port: u16, app: &str| -> Answer { try_get(port, &format!("{app}.localhost:{port}"), "/").unwrap() };
    two_ports(&server, "blog");
    two_ports(&server, "shop");
    assert_eq!(server.get("blog", "/").body, "port 5000");
    let reload = "the proxy was reloaded";
    let ran = server.paas(&["ports:add", "blog", &format!("http:{first}:3000")]).expect_success();
    ran.says(&format!("{reload} to listen on port {first}"))
        .says(&format!("http port {first} leads to port 3000 of web"));
    assert_eq!((at(first, "blog").body.as_str(), server.get("blog", "/").body.as_str()), ("port 3000", "port 5000"));
    assert!(listening(&server, "blog"));
    // It is not an app's that was not given it, though Caddy listens there.
    assert_eq!((at(first, "shop").status, at(first, "nobody").status), (404, 404));
    let ran = server.paas(&["ports:add", "shop", &format!("http:{first}:5000")]).expect_success();
    assert!(!ran.stderr.contains(reload), "{ran}");
    server.wait_for("the port of the other app", PATIENCE, || at(first, "shop").body == "port 5000");
    assert_eq!(at(first, "blog").body, "port 3000");
    server.paas(&["ports:add", "shop", &format!("tcp:{first}:5000")]).expect_code(4).says("is blog's");

    // No request is lost by a restart, at that port as at the usual one.
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let answer = try_get(first, &format!("blog.localhost:{first}"), "/").unwrap();
                    assert_eq!((answer.status, answer.body.as_str()), (200, "port 3000"));
                }
            })
        })
        .collect();
    for _ in 0..2 {
        server.paas(&["ps:restart", "blog"]).expect_success();
    }
    wait_until_over(&server, "blog");
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());

    // Maintenance is everywhere, and who is let in gets what that port leads to.
    server.paas(&["maintenance:on", "blog"]).expect_success();
    server.wait_for("maintenance", PATIENCE, || at(first, "blog").status == 503);
    server.paas(&["maintenance:on", "blog", "--allow", "127.0.0.1"]).expect_success();
    server.wait_for("being let in", PATIENCE, || at(first, "blog").body == "port 3000");
    server.paas(&["maintenance:off", "blog"]).expect_success();

    // A port that is open beforehand needs no reload, and is nobody's until then.
    server.paas(&["settings:set", &format!("http_ports={second}")]).expect_success();
    server.wait_for("the open port", PATIENCE, || TcpStream::connect(("127.0.0.1", second)).is_ok());
    assert_eq!(at(second, "blog").status, 404);
    let ran = server.paas(&["ports:add", "blog", &format!("http:{second}:3000")]).expect_success();
    assert!(!ran.stderr.contains(reload), "{ran}");
    server.wait_for("the port", PATIENCE, || at(second, "blog").body == "port 3000");
    server.paas(&["ports:remove", "blog", &second.to_string()]).expect_success();
    server.wait_for("the port to be nobody's", PATIENCE, || at(second, "blog").status == 404);
    server.paas(&["ports:add", "blog", &format!("tcp:{second}:3000")]).expect_code(4).says("http_ports");

    // Whose port it is last closes it.
    let ran = server.paas(&["ports:clear", "shop"]).expect_success();
    assert!(!ran.stderr.contains(reload), "{ran}");
    server.paas(&["ports:clear", "blog"]).expect_success().says(&format!("{reload} to close port {first}"));
    server.wait_for("the port to be closed", PATIENCE, || TcpStream::connect(("127.0.0.1", first)).is_err());
    assert_eq!(server.get("blog", "/").body, "port 5000");

    let own = server.port(3);
    server.paas(&["ports:add", "blog", &format!("http:{own}:3000")]).expect_code(2).says("PORT=3000");
    let with_header = ["ports:add", "blog", &format!("http:{first}:3000"), "--proxy-protocol", "v1"];
    server.paas(&with_header).expect_code(2).says("the PROXY protocol is for tcp");
}

#[test]
fn a_port_of_https_has_the_certificates_of_the_app_and_a_taken_one_stops_no_other() {
    let mut server = Server::start_with(&[("PAAS_TLS", "internal")]);
    let (first, second) = (server.port(5), server.port(6));
    two_ports(&server, "blog");
    server
        .paas(&["ports:add", "blog", &format!("https:{first}:3000"), &format!("http:{second}:3000")])
        .expect_success();
    let secure = |port: u16| {
        let url = format!("https://blog.localhost:{port}/");
        let authority = server.root().join("authority.crt");
        let mut curl = command("curl");
        curl.args(["-sS", "--max-time", "20", "--connect-to", &format!("::127.0.0.1:{port}"), "--cacert"])
            .arg(authority);
        run(curl.arg(url)).expect_success().stdout
    };
    assert_eq!((secure(first).as_str(), secure(server.port(4)).as_str()), ("port 3000", "port 5000"));
    // Plain HTTP at a port of its own is not sent to HTTPS.
    assert_eq!(try_get(second, "blog.localhost", "/").unwrap().body, "port 3000");

    // Caddy starts with what it can have.
    server.stop_daemon();
    kill(&caddy(&server));
    let mut other = None;
    server.wait_for("the port", PATIENCE, || {
        other = TcpListener::bind(("127.0.0.1", second)).ok();
        other.is_some()
    });
    server.start_daemon();
    server.wait_for("Caddy", PATIENCE, || server.try_get("blog.localhost", "/").is_ok());
    let report = server.json(&["ports:report", "blog"]);
    let of_port = |port: u16| report["ports"].as_array().unwrap().iter().find(|it| it["host"] == port).unwrap().clone();
    assert_eq!(of_port(first)["listening"], true, "{report}");
    assert!(of_port(second)["taken_by"].is_string(), "{report}");
    // It has the rest when it can.
    drop(other);
    server.wait_for("the port that was taken", PATIENCE, || listening(&server, "blog"));
}
