//! What changing an app costs its requests.
//!
//! - `load`: all that changes an app or its neighbours, under as much load as this machine bears. No request may be lost.
//! - `rollback`: how long one takes, against a bare `docker run` of the same image.
//! - `dead`: how long a dead container of two goes on getting requests, and how many are lost.
//! - `killed`: how many requests are lost when Caddy is killed, or Caddy, the daemon and the edge.
//! - `rules`: what a second Caddy costs an app with rules of the proxy.
//! - `names`: what 1,000 apps with three domains each and 200 certificates cost the edge, and a handshake.
//! - `hosts`: requests a second with 1 to 1,000 hosts in rotation, against the Caddyfile of before.
//! - `ports`: what ports over TCP pass on, against connections to the container itself, and in deploys.
//! - `many`: how long a deploy takes, and how soon a death is seen, among 1, 100 and 1,000 other apps.
//!
//! Machines are shared and noisy: what is compared is measured in one run, in turns.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may panic, and prints"
)]

#[path = "../harness.rs"]
#[expect(dead_code, reason = "the bench needs only a part of the tests' builder")]
mod harness;
mod hosts;
mod killed;
#[path = "../load.rs"]
#[expect(dead_code, reason = "the bench needs only a part of the tests' load")]
mod load;
mod many_apps;
mod measure;
mod names;
mod ports;
#[path = "../processes.rs"]
#[expect(dead_code, reason = "the bench needs only a part of it")]
mod processes;

use std::{
    collections::HashMap,
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use harness::{PAAS, Repository, Server, docker, run};
use load::{Clients, Kind, Load, Report, Target};
use measure::{PATIENCE, first_answer, kill_container, median, until_live};

/// The clients that keep the machine busy.
const FULL: [(Kind, usize); 5] =
    [(Kind::KeepAlive, 32), (Kind::NewConnection, 4), (Kind::Post, 8), (Kind::Slow, 16), (Kind::Http2, 2)];
/// What is done to the names of an app that is there beside the loaded one.
const NAMES: [&str; 10] = [
    "domains:add names a.example",
    "certs:generate names a.example",
    "redirects:add names old.example a.example",
    "maintenance:on names",
    "maintenance:off names",
    "pause names --for 10s",
    "resume names",
    "redirects:remove names old.example",
    "certs:remove names",
    "domains:remove names a.example",
];
/// Rules of the proxy: of the loaded app itself, and of another.
const RULES: [&str; 10] = [
    "proxy:set shop response-headers=X-Rule:1",
    "proxy:set names hsts=on body-size=5m",
    "proxy:path-add names /shop shop --strip",
    "proxy:set names hsts= body-size=",
    "proxy:auth-add names ann --generate",
    "proxy:disable names",
    "proxy:enable names",
    "proxy:auth-remove names ann",
    "proxy:path-remove names /shop",
    "proxy:set shop response-headers=",
];
/// Ports over TCP of another app, and routes: of a host, of a path, which is the second Caddy's, and of a port.
const ROUTES: [&str; 14] = [
    "ports:add names tcp:PORT:5000",
    "ports:set names tcp:PORT:5001",
    "ports:remove names PORT",
    "ports:add names tcp:PORT:5000",
    "ports:clear names",
    "routes:add out.example TARGET",
    "routes:set out.example health=/",
    "routes:add out.example/path TARGET --strip",
    "routes:disable out.example/path",
    "routes:enable out.example/path",
    "routes:add tcp:PORT TARGET",
    "routes:remove out.example/path",
    "routes:remove out.example",
    "routes:remove tcp:PORT",
];
/// How long each measure of the second Caddy lasts.
const MEASURED: Duration = Duration::from_secs(5);
/// How long the load lasts before anything is changed.
const AT_REST: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let (counts, parts): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).partition(|text| text.contains('='));
    let known = ["load", "rollback", "dead", "killed", "rules", "names", "hosts", "many", "ports"];
    assert!(parts.iter().all(|part| known.contains(&part.as_str())), "the parts are {known:?}");
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let counts = Counts::parse(&counts);
    let mut lost = 0;
    if wanted("load") {
        for on_sigterm in ["finish", "exit"] {
            lost += under_load(&counts, on_sigterm).lost();
        }
    }
    if wanted("rollback") {
        rollback(&counts);
    }
    if wanted("dead") {
        dead(&counts);
    }
    if wanted("killed") {
        println!("\n== killed: Caddy, and all that serves");
        let mut app = App::deploy(&[], &[]);
        let target = app.target(false);
        killed::measure(&mut app.server, &target, counts.of("rounds"));
    }
    if wanted("rules") {
        rules(&counts);
    }
    if wanted("names") {
        names::measure(counts.of("rounds"));
    }
    if wanted("hosts") {
        hosts::measure(counts.of("rounds"));
    }
    if wanted("many") {
        many_apps::measure(counts.of("rounds"));
    }
    if wanted("ports") {
        lost += ports::measure(counts.of("rounds"), counts.of("deploys"));
    }
    if lost > 0 {
        println!("FAILED: {lost} requests were lost in a change");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// How often each thing is done.
struct Counts(HashMap<String, usize>);

impl Counts {
    fn parse(given: &[String]) -> Counts {
        let usual = [
            ("deploys", 20),
            ("rollbacks", 5),
            ("scales", 5),
            ("restarts", 5),
            ("others", 5),
            ("kills", 2),
            ("edges", 2),
            ("names", 20),
            ("rules", 20),
            ("routes", 20),
            ("rounds", 5),
        ];
        let mut counts: HashMap<String, usize> = usual.map(|(name, count)| (name.to_owned(), count)).into();
        for given in given {
            let (name, count) = given.split_once('=').unwrap();
            let known = counts.get_mut(name).unwrap_or_else(|| panic!("the counts are {usual:?}"));
            *known = count.parse().unwrap();
        }
        Counts(counts)
    }

    fn of(&self, name: &str) -> usize {
        self.0[name]
    }
}

/// What is done while requests come in.
#[derive(Clone, Copy, Debug)]
enum Change {
    Deploy,
    Rollback,
    /// To three, or back to one.
    Scale,
    Restart,
    /// Another app is created, deployed for the first time, and destroyed.
    Other,
    /// The daemon is killed in the middle of a restart of the app, and started again.
    Kill,
    /// The edge is killed.
    Edge,
    /// Another app gets a domain, a certificate for it, a redirect, maintenance and a pause, and loses them.
    Names,
    /// The app and another get rules of the proxy, and lose them.
    Rules,
    /// Another app gets a port, and what is no app gets routes, and they lose them.
    Routes,
}

impl Change {
    /// All of them, each kind spread evenly over the whole.
    fn all(counts: &Counts) -> Vec<Change> {
        let kinds = [
            (Change::Deploy, counts.of("deploys")),
            (Change::Rollback, counts.of("rollbacks")),
            // Each is one up and one down.
            (Change::Scale, 2 * counts.of("scales")),
            (Change::Restart, counts.of("restarts")),
            (Change::Other, counts.of("others")),
            (Change::Kill, counts.of("kills")),
            (Change::Edge, counts.of("edges")),
            (Change::Names, counts.of("names")),
            (Change::Rules, counts.of("rules")),
            (Change::Routes, counts.of("routes")),
        ];
        let mut all: Vec<(f64, Change)> = kinds
            .iter()
            .flat_map(|(change, count)| (0..*count).map(|number| ((number as f64 + 0.5) / *count as f64, *change)))
            .collect();
        all.sort_by(|left, right| left.0.total_cmp(&right.0));
        all.into_iter().map(|(_, change)| change).collect()
    }
}

/// Does all that changes an app under full load.
fn under_load(counts: &Counts, on_sigterm: &str) -> Report {
    println!("\n== load: an app that will {on_sigterm} on SIGTERM, five kinds of requests over TLS");
    let mut app = App::deploy(&[("PAAS_TLS", "internal")], &[&format!("ON_SIGTERM={on_sigterm}")]);
    let other = app.server.repository("dockerfile", "other");
    app.server.paas(&["apps:create", "names"]).expect_success();
    let clients = FULL.map(|(kind, count)| Clients { kind, count, pause: Duration::ZERO });

    let load = Load::start(app.target(true), &clients);
    std::thread::sleep(AT_REST);
    println!("the floor: nothing is changed\n{}", load.finish());

    let load = Load::start(app.target(true), &clients);
    let begun = Instant::now();
    for change in Change::all(counts) {
        let at = begun.elapsed().as_secs_f64();
        app.change(change, &other);
        // Until the containers from before are gone: their end is a part of the change.
        app.settle();
        println!("at {at:7.3} s: {change:?}, {:.3} s", begun.elapsed().as_secs_f64() - at);
    }
    let report = load.finish();
    println!("{report}");
    if report.lost() > 0 {
        println!("Caddy said:\n{}", std::fs::read_to_string(app.server.root().join("caddy/caddy.log")).unwrap());
        println!("the daemon said:\n{}", app.server.daemon_output());
    }
    report
}

/// How long a rollback takes.
fn rollback(counts: &Counts) {
    println!("\n== rollback, against `docker run` of the same image until it answers");
    let mut app = App::deploy(&[], &[]);
    app.push();
    let mut serves = 2;
    let (mut live, mut returned, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=counts.of("rounds") {
        app.settle();
        serves = 3 - serves;
        let version = format!("v{serves}");
        let (until_live, until_returned) = until_live(app.server.port(3), "shop.localhost", &version, || {
            app.server.paas(&["releases:rollback", "shop"]).expect_success();
        });
        live.push(until_live);
        returned.push(until_returned);
        app.settle();
        bare.push(app.run_bare());
        println!(
            "round {round:2}: live {until_live:.3} s, returned {until_returned:.3} s, floor {:.3} s",
            bare[round - 1]
        );
    }
    let (live, returned, bare) = (median(live), median(returned), median(bare));
    println!(
        "median: live {live:.3} s (aim: 2 s), returned {returned:.3} s, floor {bare:.3} s, ratio {:.2}",
        live / bare
    );
}

/// What the second Caddy costs, in requests a second and in time: without and with a rule in turns.
fn rules(counts: &Counts) {
    println!("\n== rules: 16 clients with a connection each, plain HTTP, without and with a rule of the proxy");
    let app = App::deploy(&[], &[]);
    let clients = [Clients { kind: Kind::KeepAlive, count: 16, pause: Duration::ZERO }];
    let (mut without, mut with, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=counts.of("rounds") {
        for (rule, rates) in [("", &mut without), ("X-Rule:1", &mut with)] {
            let begun = Instant::now();
            app.server.paas(&["proxy:set", "shop", &format!("response-headers={rule}")]).expect_success();
            took.push(begun.elapsed().as_secs_f64());
            let load = Load::start(app.target(false), &clients);
            std::thread::sleep(MEASURED);
            let report = load.finish();
            rates.push(report.sent() as f64 / report.lasted.as_secs_f64());
            println!("round {round:2}, rule {rule:?}:\n{report}");
        }
    }
    let (without, with) = (median(without), median(with));
    println!(
        "median: {without:.0} requests/s without, {with:.0} with a rule, ratio {:.2}; proxy:set {:.2} s",
        with / without,
        median(took)
    );
}

/// How long a dead container goes on getting requests, and what is lost.
fn dead(counts: &Counts) {
    for delay in ["0", "3000"] {
        println!("\n== dead: one of two containers dies under load, of an app that takes {delay} ms to start");
        let app = App::deploy(&[], &[&format!("START_DELAY_MS={delay}")]);
        app.server.paas(&["ps:scale", "shop", "web=2"]).expect_success();
        app.settle();
        let kinds = [(Kind::KeepAlive, 8), (Kind::NewConnection, 4), (Kind::Post, 4), (Kind::Slow, 8)];
        let clients = kinds.map(|(kind, count)| Clients { kind, count, pause: Duration::from_millis(5) });
        let load = Load::start(app.target(false), &clients);
        let mut gone = Vec::new();
        for round in 1..=counts.of("rounds") {
            let mut containers = app.containers();
            containers.sort();
            let (out, back) = kill_container(&app.server, "shop", &containers[round % 2]);
            gone.push(out);
            println!("round {round:2}: out after {out:.3} s, back after {back:.3} s");
        }
        let report = load.finish();
        let each = report.lost() as f64 / counts.of("rounds") as f64;
        println!(
            "median: out after {:.3} s (aim: 1 s); {each:.1} requests lost for each death\n{report}",
            median(gone)
        );
    }
}

/// The app that is changed.
struct App {
    server: Server,
    repository: Repository,
    version: u32,
}

impl App {
    fn deploy(settings: &[(&str, &str)], config: &[&str]) -> App {
        let server = Server::start_with(settings);
        let repository = server.repository("under-load", "shop");
        server.paas(&["apps:create", "shop"]).expect_success();
        if !config.is_empty() {
            server.paas(&[&["config:set", "shop"], config].concat()).expect_success();
        }
        repository.push().expect_success();
        let app = App { server, repository, version: 1 };
        app.settle();
        app
    }

    fn target(&self, tls: bool) -> Target {
        Target {
            address: ([127, 0, 0, 1], self.server.port(if tls { 4 } else { 3 })).into(),
            host: "shop.localhost".to_owned(),
            authority: tls.then(|| self.server.root().join("authority.crt")),
        }
    }

    /// Types commands, one after the other.
    fn do_all(&self, lines: &[&str]) {
        let (port, target) = (self.server.port(5).to_string(), format!("127.0.0.1:{}", self.server.port(1)));
        for line in lines {
            let line = line.replace("PORT", &port).replace("TARGET", &target);
            let words: Vec<&str> = line.split(' ').collect();
            self.server.paas(&words).expect_success();
        }
    }

    fn change(&mut self, change: Change, other: &Repository) {
        match change {
            Change::Deploy => self.push(),
            Change::Rollback => drop(self.server.paas(&["releases:rollback", "shop"]).expect_success()),
            Change::Scale => {
                let now = self.containers().len();
                let wanted = if now == 1 { "web=3" } else { "web=1" };
                self.server.paas(&["ps:scale", "shop", wanted]).expect_success();
            }
            Change::Restart => drop(self.server.paas(&["ps:restart", "shop"]).expect_success()),
            Change::Other => {
                other.commit("again");
                other.push().expect_success();
                self.server.paas(&["apps:destroy", "other", "--force"]).expect_success();
            }
            Change::Edge => processes::kill(&processes::edge(&self.server)),
            Change::Names => self.do_all(&NAMES),
            Change::Rules => {
                self.do_all(&RULES);
                let snippet = "respond /health 200\n";
                self.server.paas_with_input(&["proxy:snippet-set", "names"], snippet).expect_success();
                self.server.paas(&["proxy:snippet-clear", "names"]).expect_success();
            }
            Change::Routes => self.do_all(&ROUTES),
            Change::Kill => {
                let mut restart = self.server.command(PAAS);
                restart.args(["ps:restart", "shop"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let mut restart = restart.spawn().unwrap();
                self.server.wait_for("the restart to be on its way", PATIENCE, || {
                    self.containers().len() > 1 || self.server.deploy_state("shop") != "succeeded"
                });
                self.server.kill_daemon();
                self.server.start_daemon();
                assert!(restart.wait().unwrap().success(), "the restart went on without the daemon");
            }
        }
    }

    /// Deploys a change of one line.
    fn push(&mut self) {
        let old = format!("v{}", self.version);
        self.version += 1;
        let new = format!("v{}", self.version);
        self.repository.replace("version", &old, &new).commit(&new);
        self.repository.push().expect_success();
    }

    /// Waits until the last deploy is over, drain and all.
    fn settle(&self) {
        self.server
            .wait_for("the last deploy to be over", PATIENCE, || self.server.deploy_state("shop") == "succeeded");
    }

    fn containers(&self) -> Vec<String> {
        self.server.containers().into_iter().filter(|name| name.contains("-shop-")).collect()
    }

    /// Seconds until the newest image of the app answers that is run by nothing but docker.
    fn run_bare(&self) -> f64 {
        let images = self.server.images();
        let image = images.iter().max().unwrap();
        let name = format!("paas-{}-floor", self.server.instance_id().unwrap());
        let network = format!("paas-{}", self.server.instance_id().unwrap());
        let address = format!("10.222.{}.250", self.server.slot);
        let begun = Instant::now();
        let mut docker_run = docker();
        docker_run.args(["run", "-d", "--init", "--name", &name, "--network", &network, "--ip", &address]);
        run(docker_run.args(["-e", "PORT=5000", image])).expect_success();
        // Which of the versions it is makes no difference.
        let seconds = first_answer(&format!("{address}:5000"), "shop.localhost", "", begun);
        run(docker().args(["rm", "-f", &name]));
        seconds
    }
}
