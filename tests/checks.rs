//! Checks: what proves a container healthy before it gets traffic, and what becomes of one that fails later.

use std::time::Duration;

use serde_json::json;

use crate::{
    harness::{Repository, Server, docker, run},
    untouched::{Untouched, wait_until_over},
};

/// A server of files of which some can be taken away while it runs.
const DOCKERFILE: &str = r#"FROM busybox:stable
RUN mkdir /www && chmod 777 /www
COPY index.html /www/
CMD ["sh", "-c", "[ -e /www/broken ] || cp /www/index.html /www/up; exec httpd -f -p \"$PORT\" -h /www"]
"#;

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn repository(server: &Server) -> Repository {
    let repository = server.empty_repository("shop");
    repository.write("Dockerfile", DOCKERFILE).write("index.html", "all is well").commit("one");
    repository
}

fn in_container(container: &str, line: &str) {
    run(docker().args(["exec", container, "sh", "-c", line])).expect_success();
}

fn healthy(server: &Server) -> Vec<bool> {
    let report = server.json(&["checks:report", "shop"]);
    let containers = report["processes"][0]["containers"].as_array().unwrap();
    containers.iter().map(|standing| standing["healthy"].as_bool().unwrap()).collect()
}

#[test]
fn checks_are_set_shown_run_and_taken_back() {
    let server = Server::start();
    let repository = repository(&server);
    repository.push().expect_success();
    wait_until_over(&server, "shop");
    let containers = server.containers();
    let defaults = server.paas(&["checks:report", "shop"]).expect_success().stdout;
    assert!(defaults.contains("GET / on port 5000: below 500"), "{defaults}");

    let set = ["checks:set", "shop", "path=/up", "text=all is", "headers=X-Probe: 1", "timeout=3s", "interval=1s"];
    server.paas(&set).expect_success().says("web.1 is healthy").says("GET /up answered 200");
    wait_until_over(&server, "shop");
    assert_eq!(server.containers(), containers, "a check restarts nothing");
    let report = server.json(&["checks:report", "shop"]);
    assert_eq!(report["processes"][0]["probe"]["http"]["path"], "/up");
    assert_eq!(report["processes"][0]["timeout_seconds"], 3);
    let ran = server.ssh("checks:run shop").expect_success();
    assert!(ran.stdout.contains("web.1") && ran.stdout.contains("passed"), "{ran}");

    // A check that what runs does not pass is not taken.
    let before = Untouched::before(&server, &repository, "shop");
    let ran = server.paas(&["checks:set", "shop", "text=something else", "timeout=1s"]).expect_code(1);
    ran.says("web.1 did not become healthy within 1.0 s: GET /up answered 200 without \"something else\" in it");
    before.check(&server, &repository);
    assert_eq!(server.json(&["checks:report", "shop"])["processes"][0]["probe"]["http"]["text"], "all is");
    for (setting, said) in [
        ("path=up", "it is a path such as /health"),
        ("status=20", "it is an HTTP status"),
        ("timeout=soon", "it is a time"),
        ("headers=nothing", "a name, a colon and a value"),
        ("memory=1g", "there is no property \"memory\""),
    ] {
        server.paas(&["checks:set", "shop", setting]).expect_code(2).says(said);
    }

    server.paas(&["checks:set", "shop", "path=", "text=", "headers=", "timeout=", "interval="]).expect_success();
    assert_eq!(server.paas(&["checks:report", "shop"]).expect_success().stdout, defaults);

    // A command inside the container, a connection, and a status that is none of the usual ones.
    server.paas(&["checks:set", "shop", "command=test -e /www/up"]).expect_success().says("command exited with 0");
    server
        .paas(&["checks:set", "shop", "command=echo no such thing; exit 3", "timeout=1s"])
        .expect_code(1)
        .says("its check command exited with 3: no such thing");
    server.paas(&["checks:set", "shop", "command=", "type=tcp"]).expect_success().says("port 5000 takes connections");
    server.paas(&["checks:set", "shop", "type=", "path=/nowhere", "status=404"]).expect_success();
    server.paas(&["checks:run", "shop"]).expect_success();
    assert_eq!(server.containers(), containers);
    server.paas(&["ps:stop", "shop"]).expect_success();
    server.paas(&["checks:run", "shop"]).expect_code(4).says("shop does not run").says("paas ps:start shop");
}

#[test]
fn a_container_that_fails_later_gets_no_requests_is_restarted_and_comes_back() {
    let server = Server::start();
    let repository = repository(&server);
    repository
        .write("paas.toml", "[checks]\npath = \"/up\"\ninterval = \"1s\"\nattempts = 2\n")
        .write("app.json", r#"{"formation": {"web": {"quantity": 2}}}"#)
        .commit("checks");
    repository.push().expect_success();
    wait_until_over(&server, "shop");
    let report = server.json(&["ps:report", "shop"]);
    assert_eq!(report["containers"].as_array().unwrap().len(), 2, "{report}");
    let first = server.containers().into_iter().find(|name| name.ends_with("web-1")).unwrap();

    // It goes on answering, wrongly: its neighbour takes the requests, and it is started again, which does not help.
    in_container(&first, "rm /www/up; echo wrong > /www/index.html; touch /www/broken");
    server.wait_for("it to get no requests", PATIENCE, || healthy(&server) == [false, true]);
    // Caddy and the resolver know it a moment later.
    let goes_well = || (0..20).all(|_| server.get("shop", "/").body == "all is well");
    server.wait_for("its requests to go to the other", PATIENCE, goes_well);
    assert!(goes_well());
    server.paas(&["checks:run", "shop"]).expect_code(1).says("1 of 2 checks failed");
    server.wait_for("a restart", PATIENCE, || server.daemon_output().contains("restarting it"));
    // What helps, helps.
    server.wait_for("it to be up", PATIENCE, || {
        run(docker().args(["exec", &first, "sh", "-c", "echo all is well | tee /www/index.html > /www/up"])).code == 0
    });
    server.wait_for("it to get requests again", PATIENCE, || healthy(&server) == [true, true]);

    // All of them at once: the address says so, and comes back.
    server.paas(&["ps:set", "shop", "restart=no"]).expect_success();
    for container in server.containers() {
        in_container(&container, "rm /www/up");
    }
    server.wait_for("the page that says so", PATIENCE, || server.get("shop", "/").status == 503);
    let report = server.json(&["ps:report", "shop"]);
    assert!(
        report["containers"][0]["reason"].as_str().unwrap_or_default().contains("unhealthy: GET /up answered 404"),
        "{report}"
    );
    for container in server.containers() {
        in_container(&container, "cp /www/index.html /www/up");
    }
    server.wait_for("it to serve again", PATIENCE, || server.get("shop", "/").status == 200);
}

#[test]
fn checks_can_be_skipped_and_the_old_stopped_first() {
    let server = Server::start();
    let repository = repository(&server);
    repository.push().expect_success();
    server.paas(&["checks:skip", "shop"]).expect_success();
    repository.write("paas.toml", "[checks]\npath = \"/nowhere\"\n").commit("unproven");
    repository.push().expect_success().says("web.1 is not checked: its checks are skipped");

    // Not proven is not healthy: the checks come back only where what runs passes them.
    server.paas(&["checks:set", "shop", "timeout=1s"]).expect_success();
    server.paas(&["checks:enable", "shop"]).expect_code(1).says("GET /nowhere answered 404");
    server.paas(&["checks:set", "shop", "path=/"]).expect_success();

    // Of this app two cannot run at once: the old one has ended when the new one starts.
    server.paas(&["checks:disable", "shop"]).expect_success();
    wait_until_over(&server, "shop");
    let old = server.containers();
    repository.write("index.html", "two").commit("alone");
    repository.push().expect_success().says("Stopping web.1 first: checks are disabled");
    assert_eq!(server.get("shop", "/").body, "two");
    wait_until_over(&server, "shop");
    assert!(!server.containers().contains(&old[0]), "{:?}", server.containers());

    // Where the new one fails, the old one is started again.
    let before = Untouched::before(&server, &repository, "shop");
    repository.write("Procfile", "web: exit 7\n").commit("broken");
    repository.push().expect_code(1).says("Stopping web.1 first").says("web.1 exited with code 7");
    server.wait_for("the old one to serve", PATIENCE, || {
        server.try_get("shop.localhost", "/").is_ok_and(|answer| answer.body == "two")
    });
    before.check(&server, &repository);
    server.paas(&["checks:enable", "shop"]).expect_success();
    let report = server.json(&["checks:report", "shop"]);
    assert_eq!(report["processes"][0]["mode"], json!("enabled"));
}

#[test]
fn an_app_that_warms_up_is_told_nothing_of_addresses_and_one_that_never_listens_is_told_so() {
    let server = Server::start();
    let repository = server.empty_repository("shop");
    let dockerfile = |command: &str| format!("FROM busybox:stable\nEXPOSE 5000\nCMD {command}\n");
    // A port of its own, on its own address, is no sign of a mistake while there is time left.
    let warm = "(httpd -f -p 127.0.0.1:9229 &); sleep 8; exec httpd -f -p 5000 -h /etc";
    repository.write("Dockerfile", &dockerfile(warm)).commit("warm");
    let pushed = repository.push().expect_success();
    let talk = pushed.talk();
    assert!(
        talk.contains("is not healthy yet, waiting up to 1 min 0 s: it does not listen on port 5000 yet"),
        "{talk}"
    );
    assert!(!talk.contains("it listens on"), "{talk}");

    server.paas(&["checks:set", "shop", "timeout=7s", "--no-restart"]).expect_success();
    repository.write("Dockerfile", &dockerfile("sleep 1000")).commit("never");
    let pushed = repository.push().expect_code(1).says("it listens on no port at all yet");
    pushed.says("did not become healthy within 7.0 s: it listens on no port at all");
}

#[test]
fn an_app_that_knows_nothing_of_port_is_found_where_expose_says() {
    let server = Server::start();
    let repository = server.empty_repository("shop");
    // The first EXPOSE is what it is told.
    let dockerfile = "FROM busybox:stable\nEXPOSE 3003 3000\nCMD exec httpd -f -p 3003 -h /etc\n";
    repository.write("Dockerfile", dockerfile).commit("first");
    let pushed = repository.push().expect_success().says("Port 3003, from the first EXPOSE in Dockerfile");
    assert!(!pushed.talk().contains("requests go there"), "{pushed}");
    assert_eq!(server.get("shop", "/hostname").status, 200);

    // One that listens on another of them is found before the time is over, and the release says so.
    repository.replace("Dockerfile", "-p 3003", "-p 3000").commit("second");
    let begun = std::time::Instant::now();
    let pushed = repository.push().expect_success();
    pushed.says("web.1 does not listen on port 3003").says("EXPOSE names port 3000, so its requests go there");
    assert!(begun.elapsed().as_secs() < 40, "the whole time was waited");
    assert_eq!(server.get("shop", "/hostname").status, 200);
    assert_eq!(server.json(&["releases:info", "shop"])["port"], 3000);
    wait_until_over(&server, "shop");
    let containers = server.containers();
    // What comes after knows it, and keeps what runs.
    server.paas(&["checks:set", "shop", "interval=9s"]).expect_success();
    assert_eq!(server.containers(), containers);
    let ran = server.paas(&["config:set", "shop", "A=1"]).expect_success();
    assert!(!ran.talk().contains("does not listen"), "{}", ran.talk());
    assert_eq!(server.get("shop", "/hostname").status, 200);

    // A config that says another port is no hindrance either; a check that names its port means that one.
    server.paas(&["config:set", "shop", "PORT=4000"]).expect_success().says("EXPOSE names port 3000");
    assert_eq!(server.get("shop", "/hostname").status, 200);
    server.paas(&["checks:set", "shop", "port=4000", "timeout=2s"]).expect_code(1).says("not on port 4000");
}

#[test]
fn the_healthcheck_of_an_image_is_the_check_where_none_is_given() {
    let server = Server::start();
    let repository = server.empty_repository("shop");
    let health = "HEALTHCHECK --interval=7s --retries=2 CMD test -e /tmp/well || { echo not well; exit 1; }";
    let dockerfile = |command: &str| format!("FROM busybox:stable\n{health}\nCMD {command}\n");
    let well = "(sleep 2; touch /tmp/well) & exec httpd -f -p $PORT -h /etc";
    repository.write("Dockerfile", &dockerfile(well)).commit("first");
    let pushed = repository.push().expect_success();
    let line = "test -e /tmp/well || { echo not well; exit 1; }";
    pushed
        .says(&format!("web is checked by the HEALTHCHECK of its image: {line}"))
        .says("the HEALTHCHECK of its image exited with 0, and port 5000 is open");
    let check = || server.json(&["checks:report", "shop"])["processes"][0].clone();
    assert_eq!(check()["probe"]["image"], json!(["/bin/sh", "-c", line]));
    assert_eq!((&check()["interval_seconds"], &check()["attempts"]), (&json!(7), &json!(2)));
    let report = server.paas(&["checks:report", "shop"]).expect_success().stdout;
    assert!(report.contains(&format!("HEALTHCHECK of the image: {line}")), "{report}");
    server.paas(&["checks:run", "shop"]).expect_success();

    // It is asked from the inside, and requests come from the outside: the port counts too.
    let before = Untouched::before(&server, &repository, "shop");
    server.paas(&["checks:set", "shop", "timeout=3s", "--no-restart"]).expect_success();
    repository.write("Dockerfile", &dockerfile("touch /tmp/well; exec httpd -f -p 127.0.0.1:5000")).commit("inside");
    repository.push().expect_code(1).says("it listens on 127.0.0.1:5000 only");
    repository.write("Dockerfile", &dockerfile("exec httpd -f -p $PORT -h /etc")).commit("sick");
    let pushed = repository.push().expect_code(1).says("the HEALTHCHECK of its image exited with 1: not well");
    pushed.says("`paas checks:set shop type=http --no-restart` asks over HTTP instead");
    drop(before);

    // What somebody sets goes before it.
    server.paas(&["checks:set", "shop", "type=http", "--no-restart"]).expect_success();
    repository.push().expect_success().says("answered 404");
    assert_eq!(check()["probe"]["http"]["path"], json!(null));
}
