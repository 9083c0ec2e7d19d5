//! Routes: hosts, paths and ports that lead to no app, through Caddy and the relay, to real servers and containers.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    harness::{Ran, Server, command, docker, run, try_get},
    processes::{edge, kill},
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of HTTP that is no app. It answers with its name and the head of the request, and with 500 at `/up` while it is
/// sick.
struct Upstream {
    port: u16,
    sick: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
}

impl Upstream {
    fn start(name: &'static str) -> Upstream {
        Upstream::on("127.0.0.1:0", name)
    }

    fn on(address: &str, name: &'static str) -> Upstream {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sick, gone) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (is_sick, is_gone) = (Arc::clone(&sick), Arc::clone(&gone));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_gone.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), is_sick) = (stream, Arc::clone(&is_sick)) else { continue };
                std::thread::spawn(move || answer(name, stream, &is_sick));
            }
        });
        Upstream { port, sick, gone }
    }

    fn target(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Listens no more.
    fn end(&self) {
        self.gone.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn answer(name: &str, mut stream: TcpStream, is_sick: &AtomicBool) {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let is_down = is_sick.load(Ordering::Relaxed) && head.starts_with("GET /up ");
    let status = if is_down { "500 Internal Server Error" } else { "200 OK" };
    let body = format!("{name}\n{head}");
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    drop(stream.write_all(answer.as_bytes()));
}

/// The first line of what a host answers, and the status.
fn says(server: &Server, host: &str, path: &str) -> (u16, String) {
    let answer = server.get_host(host, path);
    (answer.status, answer.body.lines().next().unwrap_or_default().to_owned())
}

#[track_caller]
fn comes_to_say(server: &Server, host: &str, path: &str, expected: (u16, &str)) {
    server.wait_for(&format!("{host}{path}: {expected:?}"), PATIENCE, || {
        try_get(server.port(3), host, path)
            .is_ok_and(|answer| (answer.status, answer.body.lines().next().unwrap_or_default()) == expected)
    });
}

/// Waits until a path of a host is answered with a status: Caddy keeps what the edge says for a tenth of a second.
#[track_caller]
fn comes_to_be(server: &Server, host: &str, path: &str, status: u16) {
    server.wait_for(&format!("{host}{path}: {status}"), PATIENCE, || {
        try_get(server.port(3), host, path).is_ok_and(|answer| answer.status == status)
    });
}

fn add(server: &Server, words: &[&str]) -> Ran {
    server.paas(&[&["routes:add"], words].concat())
}

fn loaded(server: &Server) -> Vec<u8> {
    let path = server.root().join("caddy/Caddyfile.loaded");
    server.wait_for("Caddy's file", PATIENCE, || path.exists());
    std::fs::read(path).unwrap()
}

#[test]
fn a_host_leads_to_addresses_as_long_as_they_are_well() {
    let server = Server::start();
    let before = loaded(&server);
    let (one, two) = (Upstream::start("one"), Upstream::start("two"));
    comes_to_be(&server, "out.example", "/", 404);
    add(&server, &["out.example", &one.target()]).says(&format!("out.example leads to {}: well", one.target()));
    comes_to_be(&server, "out.example", "/", 200);
    let answer = server.get_host("out.example", "/a/b?c=d");
    assert!(answer.body.starts_with("one\nGET /a/b?c=d HTTP/1.1\r\n"), "{answer:?}");
    assert!(answer.body.to_lowercase().contains("host: out.example\r\n"), "{answer:?}");
    assert!(answer.body.to_lowercase().contains("x-forwarded-for: 127.0.0.1\r\n"), "{answer:?}");

    // Two of them, one of which falls ill, and is well again.
    let both = format!("targets={},localhost:{}", one.target(), two.port);
    server.paas(&["routes:set", "out.example", &both, "health=/up"]).expect_success();
    server.wait_for("both answer", PATIENCE, || {
        (0..6).map(|_| says(&server, "out.example", "/").1).collect::<std::collections::BTreeSet<_>>().len() == 2
    });
    one.sick.store(true, Ordering::Relaxed);
    let degraded = || server.json(&["routes:info", "out.example"])["state"] == "degraded";
    server.wait_for("the sick one to be seen", PATIENCE, degraded);
    server.wait_for("the other one alone", PATIENCE, || (0..6).all(|_| says(&server, "out.example", "/").1 == "two"));
    let report = server.paas(&["report"]).expect_success().stdout;
    assert!(report.contains(&format!("route out.example: {}: GET /up answered 500", one.target())), "{report}");
    two.end();
    comes_to_say(
        &server,
        "out.example",
        "/",
        (503, "out.example is not answering. No target of its route is healthy. Try again soon."),
    );
    assert!(server.paas(&["routes:list"]).expect_success().stdout.contains("down"));
    one.sick.store(false, Ordering::Relaxed);
    comes_to_say(&server, "out.example", "/", (200, "one"));

    // On and off, and what is said of it.
    server.paas(&["routes:disable", "out.example"]).expect_success();
    comes_to_be(&server, "out.example", "/", 503);
    let tried = || server.paas(&["proxy:test", "http://out.example/x"]).expect_success().stdout;
    assert!(tried().contains("its route is disabled: 503"), "{}", tried());
    server.paas(&["routes:enable", "out.example"]).expect_success();
    comes_to_say(&server, "out.example", "/", (200, "one"));
    assert!(tried().contains("the route out.example leads there"), "{}", tried());
    server.paas(&["routes:set", "out.example", "health="]).expect_success();
    server.paas(&["routes:set", "out.example", "halth="]).expect_code(2).says("option of a route");
    server.paas(&["routes:set", "out.example", "health=/", "health=off"]).expect_code(2).says("health is there twice");
    let events = server.paas(&["events", "--number", "50"]).expect_success().stdout;
    for action in ["routes:add", "routes:set", "routes:disable", "routes:enable"] {
        assert!(events.contains(action), "{events}");
    }
    server.paas(&["routes:remove", "out.example"]).expect_success();
    comes_to_be(&server, "out.example", "/", 404);
    server.paas(&["routes:remove", "out.example"]).expect_code(3).says("`paas routes:list` lists the routes");
    assert_eq!(loaded(&server), before, "nothing was loaded");
}

#[test]
fn a_foreign_container_is_followed_wherever_it_is() {
    let server = Server::start();
    let name = format!("foreign-{}", server.instance_id().unwrap());
    let blocker = format!("{name}-blocker");
    let _removed = Containers(vec![name.clone(), blocker.clone()]);
    let httpd = "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 3000 -h /www";
    let start = |name: &str| {
        run(docker().args(["run", "-d", "--name", name, "--hostname", name, "busybox:stable", "sh", "-c", httpd]))
            .expect_success();
    };
    let target = format!("container:{name}:3000");
    add(&server, &["box.example", &target]).says(&format!("{target}: there is no container {name}"));
    comes_to_be(&server, "box.example", "/", 503);
    start(&name);
    comes_to_say(&server, "box.example", "/", (200, &name));
    let address = || server.json(&["routes:info", "box.example"])["targets"][0]["addresses"][0].clone();
    let first = address();

    // It ends, another one takes its address, and it is back at another.
    run(docker().args(["rm", "-f", &name])).expect_success();
    start(&blocker);
    start(&name);
    comes_to_say(&server, "box.example", "/", (200, &name));
    assert!(!server.paas(&["routes:info", "box.example"]).stdout.contains("does not run"));
    let after = address();
    // Other tests have containers on that network, too: the address may be another one by chance alone.
    assert!(first != after || first.is_string());
    run(docker().args(["stop", "-t", "0", &name])).expect_success();
    comes_to_say(
        &server,
        "box.example",
        "/",
        (503, "box.example is not answering. No target of its route is healthy. Try again soon."),
    );
    run(docker().args(["start", &name])).expect_success();
    comes_to_say(&server, "box.example", "/", (200, &name));

    // A container of an app is no target: the next deploy makes another one.
    server.repository("dockerfile", "blog").push().expect_success();
    wait_until_over(&server, "blog");
    let own = server.containers().into_iter().find(|name| name.ends_with("web-1")).unwrap();
    let refused = add(&server, &["own.example", &format!("container:{own}:5000")]).expect_code(2);
    assert!(refused.talk().contains("paas domains:add APP own.example"), "{refused}");
}

/// Removes containers, whatever became of the test.
struct Containers(Vec<String>);

impl Drop for Containers {
    fn drop(&mut self) {
        drop(docker().args(["rm", "-f"]).args(&self.0).stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

/// A server of HTTPS, with a certificate for a name that nobody vouches for. It answers with the head of the request.
struct Secure(Child, u16);

impl Secure {
    fn start(server: &Server, name: &str) -> Secure {
        let folder = server.directory.path();
        let (key, certificate) = (folder.join("secure.key"), folder.join("secure.crt"));
        run(command("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &format!("/CN={name}")])
            .args(["-addext", &format!("subjectAltName=DNS:{name}"), "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate))
        .expect_success();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = "import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ('secure ' + self.path + ' ' + self.headers['Host'] + ' ' + str(self.connection.server_name)).encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
def note(socket, name, _): socket.server_name = name
context.sni_callback = note
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
";
        let mut python = command("python3");
        python.args(["-c", script, &port.to_string()]).arg(&certificate).arg(&key);
        let child = python.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        server.wait_for("the server of HTTPS", PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Secure(child, port)
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn paths_part_the_requests_of_a_host_and_targets_may_speak_tls() {
    let server = Server::start();
    let before = loaded(&server);
    let (one, two) = (Upstream::start("one"), Upstream::start("two"));
    add(&server, &["a.example/api", &one.target(), "--strip"]).expect_success();
    let answer = server.get_host("a.example", "/api/users?x=1");
    assert!(answer.body.starts_with("one\nGET /users?x=1 "), "{answer:?}");
    assert!(answer.body.to_lowercase().contains("x-forwarded-for: 127.0.0.1\r\n"), "{answer:?}");
    comes_to_be(&server, "a.example", "/apis", 404);
    add(&server, &["a.example", &two.target(), "--host-header", "inside.example"]).expect_success();
    add(&server, &["a.example/api/v2", &two.target()]).expect_success();
    let answer = server.get_host("a.example", "/apis");
    assert!(
        answer.body.starts_with("two\nGET /apis ") && answer.body.contains("Host: inside.example\r\n"),
        "{answer:?}"
    );
    server.wait_for("the longer route", PATIENCE, || {
        server.get_host("a.example", "/api/v2/x").body.starts_with("two\nGET /api/v2/x ")
    });
    assert!(server.get_host("a.example", "/api/v20").body.starts_with("one\nGET /v20 "));
    server.paas(&["routes:disable", "a.example/api/v2"]).expect_success();
    server.wait_for("the shorter route", PATIENCE, || {
        server.get_host("a.example", "/api/v2/x").body.starts_with("one\nGET /v2/x ")
    });

    // Over TLS: the certificate is looked at, unless somebody says that it need not be.
    let secure = Secure::start(&server, "nas.example");
    let target = format!("https://127.0.0.1:{}", secure.1);
    add(&server, &["b.example", &target]).says("TLS fails: invalid peer certificate");
    comes_to_be(&server, "b.example", "/", 503);
    server.paas(&["routes:set", "b.example", "tls-verify=off", "host-header=nas.example"]).says(": well");
    server.wait_for("the other host", PATIENCE, || {
        server.get_host("b.example", "/x?y").body == "secure /x?y nas.example nas.example"
    });
    server.paas(&["routes:set", "b.example", "host-header=keep", "health=/up"]).says(": well");
    // The first Caddy asks again within a tenth of a second.
    server.wait_for("the other host", PATIENCE, || {
        server.get_host("b.example", "/").body.starts_with("secure / b.example ")
    });
    assert_eq!(loaded(&server), before, "nothing was loaded");
    for route in ["a.example", "a.example/api", "a.example/api/v2", "b.example"] {
        server.paas(&["routes:remove", route]).expect_success();
    }
    comes_to_be(&server, "a.example", "/", 404);
}

#[test]
fn a_host_of_a_route_has_certificates_and_is_sent_on_to_https() {
    let server = Server::start_with(&[("PAAS_DOMAIN", "apps.example"), ("PAAS_TLS", "internal")]);
    let one = Upstream::start("one");
    add(&server, &["out.apps.example", &one.target()]).expect_success();
    comes_to_be(&server, "out.apps.example", "/", 308);
    let over_tls = || {
        let mut curl = command("curl");
        let to = format!("out.apps.example:{}:127.0.0.1", server.port(4));
        curl.args(["-sS", "--max-time", "30", "--resolve", &to, "--cacert"]).arg(server.root().join("authority.crt"));
        run(curl.arg(format!("https://out.apps.example:{}/", server.port(4)))).expect_success().stdout
    };
    assert!(over_tls().to_lowercase().contains("x-forwarded-proto: https"), "{}", over_tls());
    server.paas(&["routes:set", "out.apps.example", "https-redirect=off"]).expect_success();
    comes_to_say(&server, "out.apps.example", "/", (200, "one"));
    assert!(over_tls().starts_with("one\n"));
}

#[test]
fn a_name_or_a_port_is_an_apps_or_a_routes() {
    let server = Server::start();
    let one = Upstream::start("one");
    let target = one.target();
    server.repository("dockerfile", "blog").push().expect_success();
    server.paas(&["domains:add", "blog", "blog.example"]).expect_success();
    add(&server, &["blog.example", &target]).expect_code(4).says("paas domains:remove blog blog.example");
    add(&server, &["blog.example/api", &target]).expect_code(4).says("paas proxy:path-add blog /api TARGET");
    add(&server, &["blog.localhost", &target]).expect_code(4).says("blog.localhost leads to the app blog");
    server.paas(&["redirects:add", "blog", "old.example", "blog.example"]).expect_success();
    add(&server, &["old.example", &target]).expect_code(4);
    add(&server, &["paas.localhost", &target]).expect_code(2).says("reserved");

    add(&server, &["free.example", &target]).expect_success();
    add(&server, &["free.example", &target]).expect_code(4).says("already a route free.example");
    for command in
        [&["domains:add", "blog", "free.example"][..], &["redirects:add", "blog", "free.example", "blog.example"]]
    {
        server.paas(command).expect_code(4).says("free.example is a host of a route");
    }
    add(&server, &["shop.localhost", &target]).expect_success();
    server.paas(&["apps:create", "shop"]).expect_code(4).says("shop.localhost is a host of a route");
    server.paas(&["routes:remove", "shop.localhost"]).expect_success();
    server.paas(&["apps:create", "shop"]).expect_success();
    // An exact name goes before a wildcard, whoever has it.
    add(&server, &["*.wild.example", &target]).expect_success();
    server.paas(&["domains:add", "blog", "a.wild.example"]).expect_success();
    let own = server.get_host("a.wild.example", "/");
    assert!(own.body.contains("Hello from a Dockerfile"), "{own:?}");
    comes_to_say(&server, "b.wild.example", "/", (200, "one"));

    let (port, other) = (server.port(5), server.port(6));
    server.paas(&["ports:add", "blog", &format!("tcp:{port}:5000")]).expect_success();
    add(&server, &[&format!("tcp:{port}"), &target]).expect_code(4).says("blog's");
    add(&server, &[&format!("tcp:{other}"), &target]).expect_success();
    server.paas(&["ports:add", "blog", &format!("tcp:{other}:5000")]).expect_code(4).says("is that of a route");
    add(&server, &["tcp:22", &target]).expect_code(5).says("tcp_ports");
    add(&server, &[&format!("tcp:{}", server.port(3)), &target]).expect_code(4);
    // Only an administrator sees or makes them.
    assert!(server.ssh("routes:list").expect_success().stdout.contains("free.example"));
}

#[test]
fn a_port_is_relayed_to_what_is_no_app() {
    let mut server = Server::start();
    let echo = echo(b"hello ");
    let port = server.port(5);
    let route = format!("tcp:{port}");
    add(&server, &[&route, &format!("localhost:{echo}")]).says(": well");
    let talk = |port: u16| -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"world")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said)?;
        Ok(said)
    };
    assert_eq!(talk(port).unwrap(), b"hello world");
    server.paas(&["routes:set", &route, "proxy-protocol=v1"]).expect_success();
    let told = String::from_utf8(talk(port).unwrap()).unwrap();
    assert!(told.starts_with("hello PROXY TCP4 127.0.0.1 127.0.0.1 ") && told.ends_with("\r\nworld"), "{told:?}");
    server.paas(&["routes:set", &route, "proxy-protocol="]).expect_success();

    // The daemon holds the sockets while the edge is away.
    kill(&edge(&server));
    assert_eq!(talk(port).unwrap(), b"hello world");
    server.kill_daemon();
    assert_eq!(talk(port).unwrap(), b"hello world");
    server.start_daemon();

    server.paas(&["routes:disable", &route]).expect_success();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens");
    // Meanwhile another program may have come.
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    server.paas(&["routes:enable", &route]).expect_code(4).says("is taken by");
    drop(taken);
    server.paas(&["routes:enable", &route]).expect_success();
    assert_eq!(talk(port).unwrap(), b"hello world");
    server.paas(&["routes:remove", &route]).expect_success();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens");
}

/// A program that says a word, then all that it hears, and ends when its client does. Returns its port.
fn echo(word: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut heard = Vec::new();
                // One that only looks whether somebody listens says nothing.
                if stream.read_to_end(&mut heard).is_ok() && !heard.is_empty() {
                    drop(stream.write_all(&[word, &heard].concat()));
                }
            });
        }
    });
    port
}

/// Values that mean something to a shell, to Caddy, to HTTP, to a database or to a path.
const HOSTILE: [&str; 24] = [
    "{env.HOME}",
    "{http.request.host}",
    "a.example\n}\nrespond 200",
    "a.example { respond }",
    "$(touch canary)",
    "`touch canary`",
    "; touch canary",
    "| touch canary",
    "../../etc/passwd",
    "/etc/passwd",
    "unix//var/run/docker.sock",
    "file:///etc/passwd",
    "http://user:password@a.example:80",
    "http://a.example:80/path",
    "'; DROP TABLE routes; --",
    "\"a\"",
    "a\u{0}b",
    "a\tb",
    "\u{202e}elpmaxe.a",
    "-x",
    "--format",
    "127.0.0.1",
    "container:../x:80",
    "container:a$b:80",
];

#[test]
fn hostile_words_are_refused_or_are_nothing_but_words() {
    let server = Server::start();
    let one = Upstream::start("one");
    add(&server, &["a.example/x", &one.target()]).expect_success();
    let mut tried = 0;
    let mut refused = |ran: Ran, what: &str| {
        tried += 1;
        assert!((1..=5).contains(&ran.code), "{what}: {ran}");
    };
    for word in HOSTILE.iter().filter(|word| !word.contains('\0')) {
        refused(add(&server, &["--", word, &one.target()]), word);
        refused(add(&server, &["--", "b.example", word]), word);
        for option in ["health", "strip", "host-header", "tls-verify", "https-redirect", "proxy-protocol", "targets"] {
            // A path with odd letters may be asked for, as it is, and any host.
            if (option != "health" || !word.starts_with('/')) && (option != "host-header" || *word != "127.0.0.1") {
                refused(server.paas(&["routes:set", "a.example/x", &format!("{option}={word}")]), word);
            }
        }
        refused(server.paas(&["routes:info", "--", word]), word);
        refused(server.paas(&["routes:remove", "--", word]), word);
    }
    assert!(tried > 200, "{tried}");
    // What may be asked for is asked for as it is, and is no placeholder of Caddy's.
    server.paas(&["routes:set", "a.example/x", "health=/{env.HOME}/$(touch%20canary)?a=`b`"]).expect_success();
    let strange = server.get_host("a.example", "/x/{env.HOME}/$(id)?{http.request.host}");
    assert!(strange.body.starts_with("one\nGET /x/%7Benv.HOME%7D/$%28id%29?{http.request.host} "), "{strange:?}");
    assert_eq!(server.json(&["routes:list"]).as_array().unwrap().len(), 1);
    for place in [server.root(), server.temporary(), server.directory.path().to_owned()] {
        assert!(!place.join("canary").exists());
    }
    server.paas(&["routes:remove", "a.example/x"]).expect_success();
}
