//! A machine that reboots: everything is dead, addresses are another's, the network is gone, and all that should run runs
//! again by itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    harness::{Server, docker, run},
    processes::{caddy, edge, kill},
    sound::{Sound, query},
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// An app with process types that end in different ways.
const DOCKERFILE: &str = "FROM busybox:stable\nRUN mkdir /www && echo crew > /www/index.html\n";
const PROCFILE: &str = "web: exec httpd -f -p $PORT -h /www\nworker: exec sleep 1000000\nkeeper: exec sleep 1000000\n\
                        once: until [ -e /tmp/over ]; do sleep 0.2; done\n";
/// How each of them is once all is well.
const WELL: [(&str, &str); 5] =
    [("keeper.1", "live"), ("once.1", "ended with code 0"), ("web.1", "live"), ("web.2", "live"), ("worker.1", "live")];

/// A server with an app of several process types, and one that was stopped.
struct Machine {
    server: Server,
    sound: Sound,
}

impl Machine {
    fn start() -> Machine {
        let server = Server::start();
        let repository = server.empty_repository("idle");
        repository.write("Dockerfile", DOCKERFILE).write("Procfile", "web: exec httpd -f -p $PORT -h /www\n");
        repository.commit("idle");
        repository.push().expect_success();
        server.paas(&["ps:stop", "idle"]).expect_success();
        repository.write("Procfile", PROCFILE).commit("crew");
        server.paas(&["apps:create", "crew"]).expect_success();
        server.paas(&["ps:scale", "crew", "web=2", "worker=1", "keeper=1", "once=1"]).expect_success();
        for process in ["once", "keeper"] {
            server.paas(&["ps:set", "crew", "restart=no", "--process", process]).expect_success();
        }
        let url = format!("ssh://paas@127.0.0.1:{}/crew", server.port(0));
        repository.git(&["push", &url, "main"]).expect_success();
        let once = query(&server, "SELECT name FROM containers WHERE process = 'once'", |row| row.get::<_, String>(0));
        run(docker().args(["exec", &once[0], "touch", "/tmp/over"])).expect_success();
        let sound = Sound::of(&server);
        let machine = Machine { server, sound };
        machine.is_well("the first deploy");
        machine
    }

    /// Ends everything as a machine does that loses its power.
    fn crash(&mut self) {
        let mut ids = vec![self.server.daemon_id()];
        ids.extend(edge(&self.server));
        ids.extend(caddy(&self.server));
        kill(&ids);
        self.server.kill_daemon();
        let running: Vec<String> = self.server.containers().into_iter().filter(|name| self.runs(name)).collect();
        assert_eq!(running.len(), 4, "{running:?}");
        run(docker().arg("kill").args(running)).expect_success();
    }

    fn runs(&self, container: &str) -> bool {
        let ran = run(docker().args(["inspect", "--format", "{{.State.Running}}", container]));
        ran.expect_success().stdout.trim() == "true"
    }

    /// Starts what systemd starts, and waits until all is well.
    fn boot(&mut self, case: &str) {
        let begun = Instant::now();
        self.server.start_daemon();
        self.server.wait_for(case, PATIENCE, || self.answers());
        eprintln!("{case}: the app answered after {:.1} s", begun.elapsed().as_secs_f64());
        self.is_well(case);
        eprintln!("{case}: all was well after {:.1} s", begun.elapsed().as_secs_f64());
    }

    fn answers(&self) -> bool {
        self.server.try_get("crew.localhost", "/").is_ok_and(|answer| answer.body == "crew\n")
    }

    #[track_caller]
    fn is_well(&self, case: &str) {
        let well = BTreeMap::from(WELL.map(|(name, state)| (name.to_owned(), state.to_owned())));
        let mut found = BTreeMap::new();
        let begun = Instant::now();
        while found != well {
            assert!(begun.elapsed() < PATIENCE, "{case}: {found:?}\n{}", self.server.daemon_output());
            let report = self.server.json(&["ps:report", "crew"]);
            let containers = report["containers"].as_array().unwrap().iter();
            let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let status = |container: &serde_json::Value| {
                word(if container["reason"].is_null() { &container["status"] } else { &container["reason"] })
            };
            found = containers.map(|container| (word(&container["container"]), status(container))).collect();
            std::thread::sleep(Duration::from_millis(100));
        }
        self.sound.wait(&self.server);
        assert!(self.answers(), "{case}");
        let page = self.server.get("idle", "/");
        assert_eq!((page.status, page.body.as_str()), (503, "idle is stopped. It was stopped on purpose.\n"), "{case}");
    }

    fn network(&self) -> String {
        format!("paas-{}", self.server.instance_id().unwrap())
    }

    fn containers(&self, process: &str) -> Vec<String> {
        let sql = format!("SELECT name FROM containers WHERE process = '{process}' ORDER BY position");
        query(&self.server, &sql, |row| row.get(0))
    }

    fn addresses(&self) -> Vec<String> {
        query(&self.server, "SELECT address FROM containers ORDER BY id", |row| row.get(0))
    }
}

/// A container that is not paas's.
struct Stranger(String);

impl Stranger {
    fn start(network: &str, address: &str) -> Stranger {
        let stranger = Stranger(format!("{network}-stranger"));
        let name = ["--name", &stranger.0, "--network", network, "--ip", address];
        run(docker().args(["run", "--detach"]).args(name).args(["busybox:stable", "sleep", "600"])).expect_success();
        stranger
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        run(docker().args(["rm", "--force", &self.0]));
    }
}

#[test]
fn after_a_reboot_all_that_should_run_runs_again_and_nothing_else() {
    let mut machine = Machine::start();
    machine.crash();
    machine.boot("after a reboot");

    let network = machine.network();
    machine.crash();
    run(docker().args(["network", "rm", &network])).expect_success();
    machine.boot("without the network");

    machine.crash();
    let subnet = format!("10.222.{}.0/24", machine.server.slot);
    let label = format!("paas.instance={}", machine.server.instance_id().unwrap());
    run(docker().args(["network", "rm", &network])).expect_success();
    let again = ["--subnet", &subnet, "--label", &label, "--opt", "com.docker.network.bridge.enable_icc=false"];
    run(docker().args(["network", "create"]).args(again).arg(&network)).expect_success();
    machine.boot("with another network of the same name");

    machine.crash();
    run(docker().arg("rm").args(machine.containers("web")).args(machine.containers("worker"))).expect_success();
    machine.boot("with containers that were removed");
}

#[test]
fn a_container_whose_address_is_anothers_gets_a_new_one() {
    let mut machine = Machine::start();
    let before = machine.addresses();
    machine.crash();
    let taken = query(&machine.server, "SELECT address FROM containers WHERE process = 'web'", |row| row.get(0));
    let taken: Vec<String> = taken;
    let _stranger = Stranger::start(&machine.network(), &taken[0]);
    machine.boot("with an address taken");
    let after = machine.addresses();
    assert_eq!(
        before.iter().filter(|address| after.contains(address)).count(),
        before.len() - 1,
        "{before:?} {after:?}"
    );
    assert!(!after.contains(&taken[0]));
}

#[test]
fn containers_that_are_removed_by_hand_are_made_anew_and_the_others_serve_meanwhile() {
    let mut machine = Machine::start();
    let (web, worker) = (machine.containers("web"), machine.containers("worker"));
    run(docker().args(["rm", "--force", &web[0], &worker[0]])).expect_success();
    assert!(machine.answers());
    machine.is_well("one of two removed");
    run(docker().args(["rm", "--force"]).args(&web)).expect_success();
    machine.server.wait_for("the app", PATIENCE, || machine.answers());
    machine.is_well("both removed");

    // What ended and is meant to stay so has no use for a container.
    run(docker().args(["rm", "--force", &machine.containers("once")[0], &machine.containers("web")[0]]))
        .expect_success();
    machine.server.kill_daemon();
    machine.server.start_daemon();
    machine.server.wait_for("the container that should run", PATIENCE, || machine.server.containers().len() == 4);
    let report = machine.server.paas(&["ps:report", "crew"]).expect_success();
    assert!(report.stdout.contains("once.1: stopped: ended\n"), "{report}");
    let log = machine.server.daemon_output();
    assert!(!log.contains("once.1 of crew is gone"), "{log}");
}
