//! Process types: how many of each, how they are run, and that only what changed is restarted.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    harness::{Repository, Server, docker, run},
    untouched::{Untouched, wait_until_over},
};

const DOCKERFILE: &str = r#"FROM busybox:stable
COPY index.html /www/
USER 65534
"#;

fn repository(server: &Server) -> Repository {
    let repository = server.empty_repository("shop");
    repository
        .write("Dockerfile", DOCKERFILE)
        .write("index.html", "one")
        .write("Procfile", "web: httpd -f -p $PORT -h /www\nworker: sleep 1000000\nrelease: true\n")
        .commit("one");
    repository
}

/// The containers that serve, by process and position, with their names in the engine.
fn live(server: &Server) -> BTreeMap<String, String> {
    wait_until_over(server, "shop");
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let mut statement = database
        .prepare("SELECT process || '.' || position, name FROM containers WHERE state = 'live' ORDER BY 1")
        .unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

fn labels(server: &Server) -> Vec<String> {
    live(server).into_keys().collect()
}

/// Makes the app, with numbers of containers for its first deploy.
fn scaled_first(server: &Server, numbers: &[&str]) {
    server.paas(&["apps:create", "shop"]).expect_success();
    server.paas(&[&["ps:scale", "shop"], numbers].concat()).expect_success();
}

fn inspect(container: &str, path: &str) -> String {
    let ran = run(docker().args(["inspect", "--format", &format!("{{{{json {path}}}}}"), container]));
    ran.expect_success().stdout.trim().to_owned()
}

fn release(server: &Server) -> u64 {
    server.json(&["apps:info", "shop"])["release"].as_u64().unwrap()
}

#[test]
fn scaling_starts_and_stops_only_what_it_must() {
    let server = Server::start();
    let repository = repository(&server);
    server.paas(&["apps:create", "shop"]).expect_success();
    // Before the first deploy it is noted for it.
    server.paas(&["ps:scale", "shop", "worker=2"]).expect_success().says("saved; the next deploy or restart");
    repository.push().expect_success();
    assert_eq!(labels(&server), ["web.1", "worker.1", "worker.2"]);
    let first = live(&server);

    server.paas(&["ps:scale", "shop", "web=3", "worker=1"]).expect_success().says("Scaling to web=3 worker=1 (v1)");
    let second = live(&server);
    assert_eq!(labels(&server), ["web.1", "web.2", "web.3", "worker.1"]);
    assert_eq!((&first["web.1"], &first["worker.1"]), (&second["web.1"], &second["worker.1"]), "they were restarted");
    assert_eq!(release(&server), 1, "a scale is no release");
    assert_eq!(
        server.json(&["ps:scale", "shop"]),
        json!([{"process": "web", "quantity": 3}, {"process": "worker", "quantity": 1}])
    );
    server.paas(&["ps:scale", "shop", "web=3"]).expect_success().says("nothing to change");
    assert_eq!(live(&server), second);

    // It holds for the next deploy.
    repository.write("index.html", "two").commit("two");
    repository.push().expect_success();
    assert_eq!(labels(&server), ["web.1", "web.2", "web.3", "worker.1"]);
    server.ssh("ps:scale shop web=1 worker=0").expect_success();
    assert_eq!(labels(&server), ["web.1"]);
    assert_eq!(server.get("shop", "/").body, "two");

    // No web process at all: the address says so, and everything can be had back.
    server.paas(&["ps:scale", "shop", "web=0"]).expect_success();
    assert_eq!(labels(&server), Vec::<String>::new());
    assert_eq!(server.get("shop", "/").status, 503);
    server.paas(&["ps:scale", "shop", "web=1"]).expect_success();
    assert_eq!(server.get("shop", "/").body, "two");

    for (word, said) in [
        ("web", "it is TYPE=NUMBER"),
        ("web=x", "it is TYPE=NUMBER"),
        ("web=101", "from 0 to 100"),
        ("web=-1", "it is TYPE=NUMBER"),
    ] {
        server.paas(&["ps:scale", "shop", word]).expect_code(2).says(said);
    }
    let ran = server.paas(&["ps:scale", "shop", "clock=1"]).expect_code(3);
    ran.says("shop has no process type clock").says("process types: web, worker");
}

#[test]
fn at_first_sight_web_alone_runs_and_what_is_set_is_seen_before() {
    let server = Server::start();
    let repository = repository(&server);
    server.paas(&["apps:create", "shop"]).expect_success();
    // What will be, as far as it can be told without the source.
    assert_eq!(server.json(&["ps:scale", "shop"]), json!([{"process": "web", "quantity": 1}]));
    server.paas(&["ps:set", "shop", "restart=on-failure:5", "memory=64m"]).expect_success();
    server.paas(&["checks:set", "shop", "path=/index.html"]).expect_success();
    server.paas(&["checks:skip", "shop", "clock"]).expect_success();
    let report = server.json(&["ps:report", "shop"]);
    let types = report["processes"].as_array().unwrap();
    let seen: Vec<_> = types.iter().map(|it| (&it["process"], &it["quantity"], &it["restart"])).collect();
    let policy = json!("on-failure:5");
    assert_eq!(seen, [(&json!("web"), &json!(1), &policy), (&json!("clock"), &json!(0), &policy)]);
    assert_eq!(types[0]["memory_bytes"], 64 << 20);
    let checks = server.json(&["checks:report", "shop"]);
    assert_eq!(checks["processes"][0]["probe"]["http"]["path"], "/index.html");
    assert_eq!(checks["processes"][1]["mode"], "skipped");
    // What cannot hold is refused now, and not by the first push.
    server.paas(&["checks:set", "shop", "-p", "clock", "type=tcp"]).expect_code(2).says("clock has no port");

    let pushed = repository.push().expect_success();
    pushed.says("worker has no container yet: `paas ps:scale shop worker=1` starts one");
    assert_eq!(labels(&server), ["web.1"]);
    server.paas(&["ps:scale", "shop", "worker=1"]).expect_success();
    // A number that was given stays, through a push and a rollback.
    repository.write("index.html", "two").commit("two");
    let pushed = repository.push().expect_success();
    assert!(!pushed.talk().contains("no container yet"), "{pushed}");
    server.paas(&["releases:rollback", "shop", "v1"]).expect_success();
    assert_eq!(labels(&server), ["web.1", "worker.1"]);
    server.paas(&["ps:scale", "shop", "worker=2"]).expect_success();

    // Checks: lists, single containers, and all.
    let checked = |only: &[&str]| -> Vec<String> {
        let verdicts = server.json(&[&["checks:run", "shop"], only].concat());
        let names = verdicts.as_array().unwrap().iter().map(|it| it["container"].as_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(checked(&[]), ["web.1", "worker.1", "worker.2"]);
    assert_eq!(checked(&["web,worker"]), ["web.1", "worker.1", "worker.2"]);
    assert_eq!(checked(&["worker.2"]), ["worker.2"]);
    assert_eq!(checked(&["-p", "worker"]), ["worker.1", "worker.2"]);
    server.paas(&["checks:run", "shop", "worker.3"]).expect_code(3).says("live containers: web.1, worker.1, worker.2");
    server.paas(&["checks:run", "shop", "clock"]).expect_code(3).says("process types: web, worker");
    server.paas(&["checks:disable", "shop", "web,worker"]).expect_success();
    let modes = || {
        let report = server.json(&["checks:report", "shop"]);
        let modes = report["processes"].as_array().unwrap().iter().map(|it| it["mode"].as_str().unwrap().to_owned());
        modes.collect::<Vec<_>>()
    };
    assert_eq!(modes(), ["disabled", "disabled"]);
    server.paas(&["checks:skip", "shop"]).expect_success();
    assert_eq!(modes(), ["skipped", "skipped"]);
    server.paas(&["checks:enable", "shop", "worker"]).expect_success();
    assert_eq!(modes(), ["skipped", "enabled"]);
    server.paas(&["checks:disable", "shop", "web,clock"]).expect_code(3).says("has no process type clock");
}

#[test]
fn only_what_changed_is_restarted() {
    let server = Server::start();
    let repository = repository(&server);
    scaled_first(&server, &["worker=1"]);
    repository.push().expect_success();
    let first = live(&server);

    // A limit of one type restarts that type; what a running container can be told restarts nothing.
    server.paas(&["ps:set", "shop", "--process", "worker", "memory=64m", "cpus=0.5"]).expect_success();
    let second = live(&server);
    assert_eq!(first["web.1"], second["web.1"]);
    assert_ne!(first["worker.1"], second["worker.1"]);
    assert_eq!(inspect(&second["worker.1"], ".HostConfig.Memory"), (64 << 20).to_string());
    assert_eq!(inspect(&second["worker.1"], ".HostConfig.NanoCpus"), "500000000");
    assert_eq!(release(&server), 2);
    server.paas(&["ps:set", "shop", "stop-timeout=2m", "restart=on-failure:4"]).expect_success();
    assert_eq!(live(&server), second, "a restart policy restarts nothing");
    assert_eq!(
        inspect(&second["web.1"], ".HostConfig.RestartPolicy"),
        r#"{"Name":"on-failure","MaximumRetryCount":4}"#
    );
    server.paas(&["ps:set", "shop", "stop-timeout=120"]).expect_success();
    server.paas(&["ps:set", "shop", "stop-timeout=120"]).expect_success().says("nothing to change");
    assert_eq!(live(&server), second);

    // A restart of one type leaves the other alone; of all, none.
    server.paas(&["ps:restart", "shop", "worker"]).expect_success().says("Restarting worker");
    let third = live(&server);
    assert_eq!((&third["web.1"], third["worker.1"] != second["worker.1"]), (&second["web.1"], true));
    server.paas(&["ps:restart", "shop"]).expect_success();
    assert_ne!(live(&server)["web.1"], third["web.1"]);
    server.paas(&["ps:restart", "shop", "clock"]).expect_code(3).says("process types: web, worker");

    // What the containers were made with, beside that.
    let web = live(&server)["web.1"].clone();
    assert_eq!(inspect(&web, ".HostConfig.Init"), "true");
    assert_eq!(inspect(&web, ".HostConfig.SecurityOpt"), r#"["no-new-privileges"]"#);
    assert_eq!(inspect(&web, ".HostConfig.PidsLimit"), "1024");
    assert!(inspect(&web, ".HostConfig.LogConfig").contains(r#""max-size":"10m""#));

    let before = Untouched::before(&server, &repository, "shop");
    for (setting, said) in [
        ("memory=lots", "it is an amount of memory"),
        ("memory=1m", "at least 6m"),
        ("cpus=0", "it is a number of CPUs"),
        ("restart=sometimes", "it is always, on-failure"),
        ("colour=red", "there is no property \"colour\""),
    ] {
        server.paas(&["ps:set", "shop", setting]).expect_code(2).says(said);
    }
    server.paas(&["ps:set", "shop", "--process", "clock", "memory=64m"]).expect_code(3);
    // A worker that cannot start fails the change of all types: web does not move.
    server.paas(&["ps:set", "shop", "--process", "worker", "memory=6m"]).expect_success();
    drop(before);
}

#[test]
fn a_deploy_is_atomic_over_all_types() {
    let server = Server::start();
    let repository = repository(&server);
    scaled_first(&server, &["worker=1"]);
    repository.push().expect_success();
    let before = Untouched::before(&server, &repository, "shop");
    repository
        .write("index.html", "two")
        .write("Procfile", "web: httpd -f -p $PORT -h /www\nworker: echo no database; exit 4\n")
        .commit("two");
    repository.push().expect_code(1).says("worker.1 exited with code 4").says("no database");
    before.check(&server, &repository);
    assert_eq!(server.get("shop", "/").body, "one");
}

#[test]
fn a_source_says_how_its_processes_run_and_the_server_has_the_last_word() {
    let server = Server::start();
    let repository = repository(&server);
    repository
        .write(
            "app.json",
            r#"{"name": "shop", "formation": {"web": {"quantity": 2}, "worker": {"quantity": 3}},
                "healthchecks": {"web": [{"path": "/index.html", "content": "one"}]}}"#,
        )
        .write("paas.toml", "[processes.worker]\nscale = 1\nmemory = \"32m\"\nstop_timeout = \"1s\"\n")
        .commit("formation");
    repository.push().expect_success().says("GET /index.html answered 200");
    assert_eq!(labels(&server), ["web.1", "web.2", "worker.1"]);
    let report = server.json(&["ps:report", "shop"]);
    let worker = report["processes"].as_array().unwrap().iter().find(|spec| spec["process"] == "worker").unwrap();
    assert_eq!((&worker["memory_bytes"], &worker["stop_timeout_seconds"]), (&json!(32 << 20), &json!(1)));
    server.paas(&["ps:set", "shop", "-p", "worker", "memory=48m"]).expect_success();
    repository.write("paas.toml", "[processes.worker]\nmemory = \"16m\"\n").commit("less");
    repository.push().expect_success();
    assert_eq!(labels(&server), ["web.1", "web.2", "worker.1", "worker.2", "worker.3"]);
    assert_eq!(inspect(&live(&server)["worker.1"], ".HostConfig.Memory"), (48 << 20).to_string());
    server.paas(&["ps:set", "shop", "-p", "worker", "memory="]).expect_success();
    assert_eq!(inspect(&live(&server)["worker.1"], ".HostConfig.Memory"), (16 << 20).to_string());
}

#[test]
fn a_crash_loop_is_shown_as_one_and_the_others_go_on() {
    let server = Server::start();
    let repository = repository(&server);
    // Up for long enough to be proven, and then for no time at all.
    let worker =
        "worker: if [ -e /tmp/old ]; then exit 9; fi; touch /tmp/old; sleep 5; exit 9\nonce: sleep 5; exit 0\n";
    repository.write("Procfile", &format!("web: httpd -f -p $PORT -h /www\n{worker}")).commit("crashing");
    scaled_first(&server, &["worker=1", "once=1"]);
    server.paas(&["ps:set", "shop", "-p", "once", "restart=no"]).expect_success();
    repository.push().expect_success();
    let state = |label: &str| {
        let report = server.json(&["ps:report", "shop"]);
        let containers = report["containers"].as_array().unwrap();
        let found = containers.iter().find(|container| container["container"] == label).cloned();
        found.map_or_else(String::new, |container| {
            container["reason"].as_str().or_else(|| container["status"].as_str()).unwrap().to_owned()
        })
    };
    // While it runs once more there is no exit code.
    server.wait_for("the crash loop to be seen", Duration::from_secs(90), || {
        let state = state("worker.1");
        state.starts_with("crash loop") && state.ends_with("last exit code 9")
    });
    server.wait_for("the end of what runs once", Duration::from_secs(60), || state("once.1") == "ended with code 0");
    assert_eq!((state("web.1").as_str(), server.get("shop", "/").body.as_str()), ("live", "one"));
    let all = server.paas(&["ps:report"]).expect_success().stdout;
    assert!(all.contains("restarting") || all.contains("worker.1"), "{all}");
    let report: Value = server.json(&["ps:report"]);
    assert!(report.as_array().unwrap().iter().any(|line| line["container"] == "web.1" && line["status"] == "live"));
}
