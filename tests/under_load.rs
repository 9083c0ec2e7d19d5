//! No request is lost, whatever is changed while requests come in: by the load of [`crate::load`], and by requests that
//! last longer than the change.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    harness::{Repository, Server, command, docker, run},
    load::{Clients, Kind, Load, Target},
    pebble::Pebble,
    processes::edge,
    processes::kill,
    routing::{Client, Events, ask_caddy, echo},
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long requests may go on after a switch, where a test waits for the end of it.
const DRAIN: Duration = Duration::from_secs(15);
/// How many requests of each kind there must have been.
const ENOUGH: u64 = 20;

/// An app that serves, its clone, and the load on it.
struct Loaded {
    server: Server,
    repository: Repository,
    load: Option<Load>,
    version: u32,
}

impl Loaded {
    /// Deploys the app with a config, and begins to send it requests of these kinds.
    fn start(settings: &[(&str, &str)], config: &[&str], kinds: &[Kind]) -> Loaded {
        Loaded::on(Server::start_with(settings), "localhost", config, kinds)
    }

    /// The same on a server with apps at names below a domain.
    fn on(server: Server, domain: &str, config: &[&str], kinds: &[Kind]) -> Loaded {
        let repository = server.repository("under-load", "shop");
        server.paas(&["apps:create", "shop"]).expect_success();
        if !config.is_empty() {
            server.paas(&[&["config:set", "shop"], config].concat()).expect_success();
        }
        repository.push().expect_success();
        let tls = kinds.contains(&Kind::Http2);
        let target = Target {
            address: ([127, 0, 0, 1], server.port(if tls { 4 } else { 3 })).into(),
            host: format!("shop.{domain}"),
            authority: tls.then(|| server.root().join("authority.crt")),
        };
        let clients: Vec<Clients> = kinds
            .iter()
            .map(|kind| Clients { kind: *kind, count: clients(*kind), pause: Duration::from_millis(25) })
            .collect();
        let load = Load::start(target, &clients);
        let loaded = Loaded { server, repository, load: Some(load), version: 1 };
        loaded.some_more();
        loaded
    }

    /// Waits until requests that were begun after this are answered.
    fn some_more(&self) {
        let load = self.load.as_ref().unwrap();
        let enough = load.answered() + 50;
        self.server.wait_for("answers", PATIENCE, || load.answered() > enough);
    }

    /// Deploys the next version, and waits until the one before is gone.
    fn push(&mut self) {
        let old = format!("v{}", self.version);
        self.version += 1;
        let new = format!("v{}", self.version);
        self.repository.replace("version", &old, &new).commit(&new);
        self.repository.push().expect_success();
        self.settle();
    }

    /// Runs a command that changes what runs, and waits until what ran before is gone.
    fn paas(&self, arguments: &[&str]) {
        self.server.paas(arguments).expect_success();
        self.settle();
    }

    fn settle(&self) {
        wait_until_over(&self.server, "shop");
        self.some_more();
    }

    /// Ends the load, and fails the test where a request was lost.
    #[track_caller]
    fn expect_nothing_lost(mut self) {
        let report = self.load.take().unwrap().finish();
        if report.lost() > 0 {
            let log = std::fs::read_to_string(self.server.root().join("caddy/caddy.log")).unwrap_or_default();
            eprintln!("---- Caddy said:\n{log}");
        }
        report.expect_nothing_lost(ENOUGH);
    }
}

#[test]
fn what_changes_an_app_loses_no_request_of_any_kind() {
    let mut loaded = Loaded::start(&[("PAAS_TLS", "internal")], &[], &Kind::ALL);
    loaded.push();
    loaded.paas(&["ps:restart", "shop"]);
    loaded.paas(&["config:set", "shop", "A=1"]);
    loaded.paas(&["releases:rollback", "shop", "v1"]);
    loaded.paas(&["ps:scale", "shop", "web=3"]);
    assert_eq!(loaded.server.containers().len(), 3);
    loaded.push();
    loaded.paas(&["ps:scale", "shop", "web=1"]);

    // Another app comes to the same domain, and goes.
    let other = loaded.server.repository("dockerfile", "blog");
    other.push().expect_success();
    loaded.server.paas(&["apps:destroy", "blog", "--force"]).expect_success();
    loaded.some_more();
    loaded.expect_nothing_lost();
}

#[test]
fn an_app_that_exits_at_once_and_a_daemon_that_goes_lose_no_request() {
    let kinds = [Kind::KeepAlive, Kind::NewConnection, Kind::Post, Kind::Slow];
    let mut loaded = Loaded::start(&[], &["ON_SIGTERM=exit"], &kinds);
    loaded.push();
    loaded.paas(&["config:set", "shop", "A=1"]);
    loaded.paas(&["ps:scale", "shop", "web=2"]);
    loaded.paas(&["ps:scale", "shop", "web=1"]);
    loaded.paas(&["releases:rollback", "shop"]);

    // Stopped: what runs goes on, and a command does the daemon's part.
    loaded.server.stop_daemon().expect_success();
    loaded.some_more();
    loaded.paas(&["ps:restart", "shop"]);
    loaded.server.start_daemon();
    loaded.push();

    // Killed.
    loaded.server.kill_daemon();
    loaded.some_more();
    loaded.server.start_daemon();
    loaded.push();

    // The edge alone: Caddy waits for the one that follows.
    kill(&edge(&loaded.server));
    loaded.some_more();
    loaded.push();

    // Upgraded: what the old one left running is of another version.
    loaded.server.stop_daemon().expect_success();
    let lock = loaded.server.root().join("locks/resolver.lock");
    let holder = std::fs::read_to_string(&lock).unwrap();
    let text: serde_json::Value = serde_json::from_str(&holder).unwrap();
    let mark = text["what"].as_str().unwrap().split(' ').nth(2).unwrap();
    assert_eq!(mark.len(), 16, "{holder}");
    std::fs::write(&lock, holder.replace(mark, "of-another-binary")).unwrap();
    loaded.server.start_daemon();
    loaded
        .server
        .wait_for("the edge of this binary", PATIENCE, || std::fs::read_to_string(&lock).unwrap().contains(mark));
    loaded.push();
    loaded.expect_nothing_lost();
}

#[test]
fn new_handshakes_outlive_the_edge_and_the_daemon() {
    let kinds = [Kind::KeepAlive, Kind::NewConnection, Kind::Http2];
    let mut loaded = Loaded::start(&[("PAAS_TLS", "internal")], &[], &kinds);
    for _ in 0..5 {
        kill(&edge(&loaded.server));
        loaded.some_more();
    }
    loaded.server.kill_daemon();
    loaded.some_more();
    loaded.server.start_daemon();
    kill(&edge(&loaded.server));
    loaded.push();
    loaded.expect_nothing_lost();
}

#[test]
fn what_is_said_of_the_names_of_one_app_costs_no_other_a_request() {
    let kinds = [Kind::KeepAlive, Kind::NewConnection, Kind::Post, Kind::Http2];
    let loaded = Loaded::start(&[("PAAS_TLS", "internal")], &[], &kinds);
    let server = &loaded.server;
    server.paas(&["apps:create", "blog"]).expect_success();
    server.paas(&["certs:set", "shop", "https-redirect=off"]).expect_success();
    server.wait_for("plain HTTP", PATIENCE, || server.get("shop", "/").status == 200);
    let mut socket = Client::web_socket(server, "shop.localhost");
    let mut events = Events::open(server, "shop.localhost");
    for _ in 0..2 {
        for line in [
            "domains:add blog a.example *.b.example",
            "certs:generate blog a.example",
            "redirects:add blog old.example a.example",
            "maintenance:on blog",
            "maintenance:off blog",
            "pause blog --for 10s",
            "resume blog",
            "domains:disable blog",
            "domains:enable blog",
            "redirects:remove blog old.example",
            "certs:remove blog",
            "domains:clear blog",
            "domains:reset blog",
        ] {
            server.paas(&line.split(' ').collect::<Vec<_>>()).expect_success();
            assert_eq!(echo(&mut socket, line), line);
            events.goes_on();
        }
        loaded.some_more();
    }
    loaded.expect_nothing_lost();
}

#[test]
fn rules_of_the_proxy_cost_no_request_of_their_app_or_of_another() {
    let kinds = [Kind::KeepAlive, Kind::NewConnection, Kind::Post, Kind::Slow, Kind::Http2];
    let mut loaded = Loaded::start(&[("PAAS_TLS", "internal")], &[], &kinds);
    let server = &loaded.server;
    server.paas(&["apps:create", "blog"]).expect_success();
    server.paas(&["certs:set", "shop", "https-redirect=off"]).expect_success();
    server.wait_for("plain HTTP", PATIENCE, || server.get("shop", "/").status == 200);
    // One to the app itself, and one through the rules of each time.
    let mut sockets = vec![Client::web_socket(server, "shop.localhost")];
    let mut events = Events::open(server, "shop.localhost");
    for line in [
        "proxy:set shop response-headers=X-Rule:1",
        "proxy:set shop body-size=50m read-timeout=60s compression=on",
        "proxy:set blog hsts=on",
        "proxy:path-add shop /other blog --strip",
        "proxy:set shop deny=203.0.113.0/24",
        "proxy:auth-add blog ann --generate",
        "proxy:path-remove shop /other",
        "proxy:set shop compression= body-size= read-timeout= deny=",
        "proxy:set shop response-headers=",
        "proxy:set shop response-headers=X-Rule:2",
    ] {
        server.paas(&line.split(' ').collect::<Vec<_>>()).expect_success();
        sockets.push(Client::web_socket(server, "shop.localhost"));
        for socket in &mut sockets {
            assert_eq!(echo(socket, line), line);
        }
        events.goes_on();
        loaded.some_more();
    }
    // A deploy drains through them, too.
    loaded.push();
    loaded.settle();
    loaded.expect_nothing_lost();
}

#[test]
fn routes_cost_no_request_of_an_app_or_of_another_route() {
    let loaded = Loaded::start(&[("PAAS_TLS", "internal")], &[], &Kind::ALL);
    let server = &loaded.server;
    // The app itself is what routes lead to: to its container, past all that is said of it.
    let container = server.containers().into_iter().find(|name| name.contains("-shop-")).unwrap();
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = run(docker().args(["inspect", "--format", format, &container])).expect_success().stdout;
    let target = format!("{}:5000", address.trim());
    server.paas(&["routes:add", "kept.example", &target]).expect_success();
    server.paas(&["routes:add", "ruled.example", &target, "--host-header", "shop.localhost"]).expect_success();
    let on_route = |host: &str| {
        let target = Target {
            address: ([127, 0, 0, 1], server.port(4)).into(),
            host: host.to_owned(),
            authority: Some(server.root().join("authority.crt")),
        };
        let clients = |kind| Clients { kind, count: 2, pause: Duration::from_millis(25) };
        Load::start(target, &[Kind::KeepAlive, Kind::NewConnection, Kind::Post, Kind::Slow, Kind::Http2].map(clients))
    };
    let loads = [on_route("kept.example"), on_route("ruled.example")];
    loaded.some_more();
    let port = format!("tcp:{}", server.port(5));
    for turn in 0..5 {
        let other = format!("other-{turn}.example");
        for command in [
            &["routes:add", &other, &target][..],
            &["routes:add", &format!("{other}/path"), &target, "--strip"],
            &["routes:set", &other, "health=/"],
            &["routes:disable", &other],
            &["routes:enable", &other],
            &["routes:add", &port, &target],
            &["routes:remove", &other],
            &["routes:remove", &format!("{other}/path")],
            &["routes:remove", &port],
            &["routes:set", "kept.example", "health=/"],
            &["routes:set", "kept.example", "health="],
        ] {
            server.paas(command).expect_success();
        }
    }
    loaded.some_more();
    for load in loads {
        load.finish().expect_nothing_lost(ENOUGH);
    }
    loaded.expect_nothing_lost();
}

#[test]
fn certificates_that_are_obtained_cost_no_request() {
    let mut server = Server::prepare(&Pebble::settings_of_daemon());
    let _pebble = Pebble::start(&server);
    server.start_daemon();
    server.paas(&["certs:set", "--global", "https-redirect=off"]).expect_success();
    let kinds = [Kind::KeepAlive, Kind::NewConnection, Kind::Post];
    let loaded = Loaded::on(server, "apps.example.com", &[], &kinds);
    for number in 1..=20 {
        let app = format!("app-{number}");
        loaded.server.paas(&["apps:create", &app]).expect_success();
        loaded.server.paas(&["certs:renew", &app]).expect_success();
        let report = loaded.server.json(&["certs:report", &app]);
        assert!(!report["names"][0]["certificate"].is_null(), "{report}");
        loaded.some_more();
    }
    loaded.expect_nothing_lost();
}

#[test]
fn a_container_that_dies_costs_no_more_than_what_it_was_sent() {
    let kinds = [Kind::KeepAlive, Kind::NewConnection, Kind::Post, Kind::Slow];
    // The engine starts a dead one again at once, so it would soon be taken for well if it were only asked to run.
    let mut loaded = Loaded::start(&[], &["START_DELAY_MS=1000"], &kinds);
    loaded.paas(&["ps:scale", "shop", "web=2"]);
    let server = &loaded.server;
    let said = |what: &str| server.daemon_output().matches(&format!(" of shop is {what}")).count();
    let containers = server.containers();
    for container in &containers {
        let before = said("down");
        let inspected = run(docker().args(["inspect", "--format", "{{.State.Pid}}", container])).expect_success();
        kill(&[inspected.stdout.trim().parse().unwrap()]);
        // One that starts slowly on a loaded machine may be down again before it is well.
        server.wait_for("it to get no more requests", PATIENCE, || said("down") > before);
        server.wait_for("it to get requests again", PATIENCE, || said("healthy") == said("down"));
        loaded.some_more();
    }
    let report = loaded.load.take().unwrap().finish();
    for (kind, counts) in &report.kinds {
        // Each client has sent one request at a time.
        let sent = clients(*kind) * containers.len();
        assert!(counts.lost.len() <= sent, "{sent} may be lost of {kind:?}\n{report}");
    }
}

#[test]
fn what_is_in_flight_at_a_switch_ends_well() {
    let server = Server::start();
    let repository = server.repository("under-load", "shop");
    repository.push().expect_success();
    server.paas(&["ps:set", "shop", &format!("drain-timeout={}s", DRAIN.as_secs())]).expect_success();

    let mut socket = Client::web_socket(&server, "shop.localhost");
    let mut upload = Client::new(&server);
    upload.write(b"POST /upload HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 2000000\r\n\r\n").unwrap();
    upload.write(&vec![b'x'; 1_000_000]).unwrap();
    let (answered, answer) = mpsc::channel();
    let mut slow = Client::new(&server);
    std::thread::spawn(move || {
        answered.send(slow.send(b"GET /hold HTTP/1.1\r\nHost: shop.localhost\r\n\r\n")).unwrap();
    });
    server.wait_for("the three to be in flight", PATIENCE, || in_flight(&server) == 3);

    let old = server.json(&["apps:info", "shop"])["containers"][0]["address"].as_str().unwrap().to_owned();
    repository.replace("version", "v1", "v2").commit("v2");
    let began = Instant::now();
    repository.push().expect_success();
    server.wait_for("v2", PATIENCE, || server.get("shop", "/").body == "hello v2\n");
    assert_eq!(echo(&mut socket, "after the switch"), "after the switch");

    let mut release = TcpStream::connect((old, 5000)).unwrap();
    release.write_all(b"POST /release HTTP/1.0\r\nContent-Length: 0\r\n\r\n").unwrap();
    let slow = answer.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!((slow.status, slow.body.as_str()), (200, "held v1\n"));
    let uploaded = upload.send(&vec![b'x'; 1_000_000]).unwrap();
    assert_eq!(uploaded.status, 200);
    // What `head -c 2000000 /dev/zero | tr '\0' x | sha256sum` says.
    let sum = "2000000 bytes be8889d3b8893c11d290b8dcf682164c326a90e6998f6bddb25d9a3a02daf666 v1\n";
    assert_eq!(uploaded.body, sum);

    // The socket alone keeps the old container, until the drain's time is over.
    assert_eq!(echo(&mut socket, "still"), "still");
    assert_eq!(server.containers().len(), 2, "{:?}", server.containers());
    let mut rest = Vec::new();
    socket.0.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "the end, and nothing before it");
    assert!(began.elapsed() > DRAIN, "it ended {:?} after the push began", began.elapsed());
    server.wait_for("the old container to go", PATIENCE, || server.containers().len() == 1);
}

/// How many clients send requests of a kind.
fn clients(kind: Kind) -> usize {
    if kind == Kind::Slow { 6 } else { 3 }
}

/// How many requests Caddy is passing to the app now.
fn in_flight(server: &Server) -> u64 {
    let (upstreams, _) = ask_caddy(server, "/reverse_proxy/upstreams");
    let upstreams: Vec<serde_json::Value> = serde_json::from_str(&upstreams).unwrap();
    // There is one app; newer Caddys list an upstream twice.
    upstreams.iter().filter_map(|upstream| upstream["num_requests"].as_u64()).max().unwrap_or(0)
}

#[test]
fn the_step_from_the_caddyfile_of_before_is_one_load() {
    let kinds = [Kind::KeepAlive, Kind::NewConnection];
    let mut loaded = Loaded::start(&[], &[], &kinds);
    let server = &mut loaded.server;
    let upstream = server.json(&["apps:info", "shop"])["containers"][0]["address"].as_str().unwrap().to_owned();
    server.stop_daemon();
    // What 0.1.0 has Caddy run with.
    let caddy = server.root().join("caddy");
    let now = std::fs::read_to_string(caddy.join("Caddyfile")).unwrap();
    let after = |mark: &str| now.split(mark).nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let old = include_str!("caddyfiles/0.1.0")
        .replace("ROOT", server.root().to_str().unwrap())
        .replace("HTTP_PORT", &server.port(3).to_string())
        .replace("HTTPS_PORT", &server.port(4).to_string())
        .replace("EDGE", after("resolvers udp/"))
        .replace("PAGE", after("handle {\n\t\treverse_proxy "))
        .replace("UPSTREAM", &format!("{upstream}:5000"));
    for name in ["Caddyfile", "Caddyfile.loaded"] {
        std::fs::write(caddy.join(name), &old).unwrap();
    }
    let mut load = command("curl");
    load.args(["-sS", "--fail-with-body", "--unix-socket"]).arg(caddy.join("admin.sock"));
    load.args(["-H", "Content-Type: text/caddyfile", "-H", "Host;", "--data-binary"]);
    run(load.arg(format!("@{}", caddy.join("Caddyfile").display())).arg("http://localhost/load")).expect_success();
    assert_eq!(server.get("shop", "/").status, 200);

    let loads = |server: &Server| server.daemon_output().matches("Caddy has loaded another Caddyfile").count();
    assert_eq!(loads(server), 0);
    server.start_daemon();
    server.wait_for("the load", PATIENCE, || loads(server) > 0);
    loaded.some_more();
    loaded.push();
    let report = loaded.load.take().unwrap().finish();
    let server = &loaded.server;
    assert_eq!(loads(server), 1);
    let text = std::fs::read_to_string(server.root().join("caddy/Caddyfile.loaded")).unwrap();
    assert!(text.contains(".http.paas."), "{text}");
    assert!(report.kinds.iter().all(|(kind, counts)| counts.lost.len() <= clients(*kind)), "{report}");
}
