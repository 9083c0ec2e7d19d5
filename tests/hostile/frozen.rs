//! A container that takes requests and does nothing loses them to its neighbour, and gets them back when it goes on. One that
//! is only busy is left to it, and nobody is restarted for either.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    harness::{Answer, Server, command, docker, run, try_get},
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a frozen container may have its share of requests, from the moment when it is frozen to the last request that
/// it got: 5 s, and twice that on a machine that has more to do than it has time for.
fn out_within() -> Duration {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let load: f64 = load.split(' ').next().unwrap().parse().unwrap();
    let processors = std::thread::available_parallelism().unwrap().get() as f64;
    Duration::from_secs(if load > 2.0 * processors { 10 } else { 5 })
}
/// How long Caddy keeps what it was told before.
const KEPT: Duration = Duration::from_millis(300);

/// A server that does one thing at a time, and all that can be asked of one.
const PYTHON: &str = r#"
import http.server, os, socket, sys, time
port = int(os.environ["PORT"])
if os.environ.get("RAW"):
    listener = socket.create_server(("", port))
    held = []
    while True:
        connection, _ = listener.accept()
        held.append(connection)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/sleep/"):
            time.sleep(int(self.path.split("/")[2]))
        body = os.environ["PAAS_PROCESS"].encode()
        self.send_response(500 if self.path == "/wrong" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("", port), Handler).serve_forever()
"#;

const DOCKERFILE: &str =
    "FROM python:3.13-slim\nCOPY server.py /server.py\nCMD [\"python3\", \"-u\", \"/server.py\"]\n";

struct App {
    server: Server,
}

impl App {
    fn start(config: &[&str], checks: &[&str]) -> App {
        let server = Server::start();
        let repository = server.empty_repository("shop");
        repository.write("server.py", PYTHON).write("Dockerfile", DOCKERFILE).commit("one");
        server.paas(&["apps:create", "shop"]).expect_success();
        server.paas(&["ps:scale", "shop", "web=2"]).expect_success();
        if !config.is_empty() {
            server.paas(&[&["config:set", "shop"], config].concat()).expect_success();
        }
        if !checks.is_empty() {
            server.paas(&[&["checks:set", "shop"], checks].concat()).expect_success();
        }
        repository.push().expect_success();
        wait_until_over(&server, "shop");
        App { server }
    }

    fn container(&self, position: usize) -> String {
        self.server.containers().into_iter().find(|name| name.ends_with(&format!("web-{position}"))).unwrap()
    }

    fn healthy(&self) -> Vec<bool> {
        let report = self.server.json(&["ps:report", "shop"]);
        let containers = report["containers"].as_array().unwrap().iter();
        containers.map(|container| container["healthy"] == true).collect()
    }

    fn reason(&self, position: u16) -> String {
        let database = rusqlite::Connection::open(self.server.root().join("paas.db")).unwrap();
        let sql = "SELECT coalesce(failing, '') FROM containers WHERE state = 'live' AND position = ?1";
        database.query_row(sql, [position], |row| row.get(0)).unwrap()
    }

    fn restarts(&self) -> Vec<String> {
        let state = |position| {
            let path = "{{.RestartCount}} {{.State.StartedAt}}";
            run(docker().args(["inspect", "--format", path, &self.container(position)])).expect_success().stdout
        };
        vec![state(1), state(2)]
    }

    /// Waits until the first container gets no requests, and sees that all are answered by the second.
    fn first_is_out(&self, because: &str) {
        let frozen = Instant::now();
        self.server.wait_for("it to get no requests", PATIENCE, || !self.reason(1).is_empty());
        let out = frozen.elapsed() + KEPT;
        assert!(out < out_within(), "{because}: {out:?}");
        assert_eq!((self.healthy().as_slice(), self.reason(1).as_str()), (&[false, true][..], because));
        std::thread::sleep(KEPT);
        for _ in 0..30 {
            assert_eq!(self.server.get("shop", "/").body, "web.2");
        }
    }

    fn both_are_in(&self) {
        self.server.wait_for("it to get requests again", PATIENCE, || self.healthy() == [true, true]);
        self.server.wait_for("both to answer", PATIENCE, || self.server.get("shop", "/").body == "web.1");
    }

    /// Begins a request to the first container itself.
    fn begin(&self, path: &str) -> TcpStream {
        let report = self.server.json(&["ps:report", "shop"]);
        let address = report["containers"][0]["address"].as_str().unwrap();
        let mut stream = TcpStream::connect(format!("{address}:5000")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        stream
    }

    /// The process of the app in the first container, as this machine knows it.
    fn process(&self) -> String {
        let top = run(docker().args(["top", &self.container(1), "-eo", "pid,comm"])).expect_success().stdout;
        let line = top.lines().find(|line| line.contains("python3")).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    }
}

fn rest(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Answer::parse(&bytes)
}

fn signal(signal: &str, process: &str) {
    run(command("kill").args([signal, process])).expect_success();
}

/// The file by which the kernel freezes a container, with the words for it.
fn freezer(container: &str) -> (PathBuf, &'static str, &'static str) {
    let inspected = run(docker().args(["inspect", "--format", "{{.State.Pid}}", container])).expect_success().stdout;
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", inspected.trim())).unwrap();
    let path = |controller: &str| {
        let line = groups.lines().find(|line| line.split(':').nth(1) == Some(controller))?;
        Some(line.split(':').nth(2)?.trim_start_matches('/').to_owned())
    };
    match path("freezer") {
        Some(path) => (Path::new("/sys/fs/cgroup/freezer").join(path).join("freezer.state"), "FROZEN", "THAWED"),
        None => (Path::new("/sys/fs/cgroup").join(path("").unwrap()).join("cgroup.freeze"), "1", "0"),
    }
}

#[test]
fn one_that_is_frozen_in_any_way_loses_its_requests_to_the_other_and_gets_them_back() {
    let app = App::start(&[], &[]);
    app.both_are_in();
    let restarts = app.restarts();
    let first = app.container(1);

    run(docker().args(["pause", &first])).expect_success();
    app.first_is_out("it is paused or frozen");
    run(docker().args(["unpause", &first])).expect_success();
    app.both_are_in();

    // Without a word of Docker's.
    let (file, frozen, thawed) = freezer(&first);
    std::fs::write(&file, frozen).unwrap();
    app.first_is_out("it is paused or frozen");
    std::fs::write(&file, thawed).unwrap();
    app.both_are_in();

    let process = app.process();
    signal("-STOP", &process);
    app.first_is_out("it takes connections and answers nothing");
    signal("-CONT", &process);
    app.both_are_in();

    // It does one thing at a time, and that takes its time: what was begun comes to its end.
    let long = app.begin("/sleep/12");
    app.first_is_out("it takes connections and answers nothing");
    let answer = rest(long);
    assert_eq!((answer.status, answer.body.as_str()), (200, "web.1"));
    app.both_are_in();
    assert_eq!(app.restarts(), restarts, "nobody was started again");

    // Both at once: nothing could take over, so that at most one of them is out.
    let second = app.container(2);
    run(docker().args(["pause", &first, &second])).expect_success();
    std::thread::sleep(Duration::from_secs(6));
    assert!(app.healthy().contains(&true), "{:?}", app.healthy());
    run(docker().args(["unpause", &first, &second])).expect_success();
    app.both_are_in();

    // The only one is left as it is, busy or frozen; whoever asks has to wait.
    app.server.paas(&["ps:scale", "shop", "web=1"]).expect_success();
    wait_until_over(&app.server, "shop");
    let busy = app.begin("/sleep/10");
    let asked = app.server.get("shop", "/");
    assert_eq!((asked.status, asked.body.as_str()), (200, "web.1"));
    assert_eq!(rest(busy).status, 200);
    run(docker().args(["pause", &first])).expect_success();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(app.healthy(), [true]);
    run(docker().args(["unpause", &first])).expect_success();
    assert_eq!(app.server.get("shop", "/").status, 200);
    let said = app.server.daemon_output();
    assert!(!said.contains("restarting it"), "{said}");
}

/// Requests that come in all the time, each on a connection of its own. Those that the frozen one has begun wait for it, and
/// are answered when it goes on; once it is out, nobody meets it.
#[test]
fn under_load_nobody_meets_a_frozen_one_once_it_is_out() {
    let app = App::start(&[], &[]);
    app.both_are_in();
    let first = app.container(1);
    let process = app.process();
    for (freeze, thaw) in
        [(["pause", first.as_str()], ["unpause", first.as_str()]), (["-STOP", &process], ["-CONT", &process])]
    {
        let change = |[word, whom]: [&str; 2]| {
            if word.starts_with('-') {
                signal(word, whom);
            } else {
                run(docker().args([word, whom])).expect_success();
            }
        };
        change(freeze);
        let frozen = Instant::now();
        let mut thawed = false;
        let mut asked = Vec::new();
        while frozen.elapsed() < Duration::from_secs(14) {
            let port = app.server.port(3);
            asked.push(std::thread::spawn(move || {
                let begun = Instant::now();
                (begun, try_get(port, "shop.localhost", "/"), begun.elapsed())
            }));
            std::thread::sleep(Duration::from_millis(40));
            if !thawed && frozen.elapsed() > Duration::from_secs(12) {
                change(thaw);
                thawed = true;
            }
        }
        let (mut waited, mut last, mut after) = (0, Duration::ZERO, 0);
        for asked in asked {
            let (begun, answer, took) = asked.join().unwrap();
            let answer = answer.unwrap_or_else(|error| panic!("{freeze:?}: lost after {took:?}: {error}"));
            assert_eq!(answer.status, 200, "{freeze:?}");
            let begun = begun - frozen;
            // It was frozen when it got these, and answered them when it went on.
            if answer.body == "web.1" && begun < Duration::from_secs(11) {
                waited += 1;
                last = last.max(begun);
            }
            after += usize::from(begun > out_within());
        }
        eprintln!("{freeze:?}: {waited} waited for it, the last of them after {last:?}; {after} came later");
        assert!(last < out_within(), "{freeze:?}: one met it after {last:?}");
        assert!(after > 20, "{freeze:?}: {after} came later");
        app.both_are_in();
    }
}

/// Its check is a connection, because it speaks no HTTP: that it says nothing is no sign of anything.
#[test]
fn one_that_speaks_no_http_is_not_taken_for_frozen() {
    let app = App::start(&["RAW=1"], &["type=tcp", "interval=1s"]);
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(app.healthy(), [true, true]);
    let said = app.server.daemon_output();
    assert!(!said.contains("gets no requests") && !said.contains("restarting"), "{said}");
    // What Docker says of it holds all the same.
    let first = app.container(1);
    run(docker().args(["pause", &first])).expect_success();
    app.server.wait_for("it to get no requests", PATIENCE, || app.healthy() == [false, true]);
    run(docker().args(["unpause", &first])).expect_success();
    app.server.wait_for("it to get requests again", PATIENCE, || app.healthy() == [true, true]);
}
