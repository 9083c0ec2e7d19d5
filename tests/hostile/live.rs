//! Nothing is called live that is not there: what the database says is held against what Docker says.

use std::time::Duration;

use crate::{
    harness::{Server, docker, run},
    processes::{edge, kill},
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The status and the reason of each container, as a report has it.
fn containers(server: &Server, command: &str) -> Vec<String> {
    let report = server.json(&[command, "shop"]);
    let words = report["containers"].as_array().unwrap().iter().map(|container| {
        let word = |key: &str| container[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", word("container"), word("status"), word("reason")).trim().to_owned()
    });
    words.collect()
}

/// The first status in a list.
fn says(server: &Server, command: &[&str]) -> String {
    server.json(command)[0]["status"].as_str().unwrap_or_default().to_owned()
}

fn named(server: &Server, end: &str) -> String {
    server.containers().into_iter().find(|name| name.ends_with(end)).unwrap()
}

fn answers(server: &Server, times: usize) {
    for _ in 0..times {
        assert_eq!(server.get("shop", "/").status, 200);
    }
}

#[test]
fn a_container_that_is_gone_is_said_to_be_and_made_again_while_nobody_looks_after_it() {
    let mut server = Server::start();
    server.repository("dockerfile", "shop").push().expect_success();
    wait_until_over(&server, "shop");
    assert_eq!(containers(&server, "apps:info"), ["web.1 live"]);
    server.kill_daemon();
    kill(&edge(&server));
    run(docker().args(["rm", "-f", &named(&server, "web-1")])).expect_success();

    let gone = "web.1 failed gone: Docker has no such container";
    assert_eq!(containers(&server, "apps:info"), [gone]);
    assert_eq!(containers(&server, "ps:report"), [gone]);
    assert_eq!(says(&server, &["apps:list"]), "failed");
    assert_eq!(says(&server, &["ps:report"]), "failed");
    assert_eq!(server.json(&["apps:info", "shop"])["reason"], "none of 1 containers is healthy");

    // What is gone is not kept.
    let scaled = server.paas(&["ps:scale", "shop", "web=2"]).expect_success();
    scaled.says("web.1 is gone in Docker, so a new one takes its place");
    wait_until_over(&server, "shop");
    assert_eq!(server.containers().len(), 2, "{:?}", server.containers());
    assert_eq!(containers(&server, "apps:info"), ["web.1 live", "web.2 live"]);
    answers(&server, 20);

    // One of two goes, and nobody notices but those who ask: the proxy knows the other.
    run(docker().args(["rm", "-f", &named(&server, "web-1")])).expect_success();
    answers(&server, 20);
    assert_eq!(containers(&server, "apps:info"), [gone, "web.2 live"]);
    assert_eq!(says(&server, &["apps:list"]), "degraded");
    server.paas(&["ps:scale", "shop", "web=2"]).expect_success().says("web.1 is gone in Docker");
    answers(&server, 20);
    assert_eq!(containers(&server, "ps:report"), ["web.1 live", "web.2 live"]);

    // One that somebody ended by hand; what is still there stays as it is.
    let (first, second) = (named(&server, "web-1"), named(&server, "web-2"));
    run(docker().args(["stop", "-t", "0", &second])).expect_success();
    assert!(
        containers(&server, "ps:report")[1].starts_with("web.2 failed down"),
        "{:?}",
        containers(&server, "ps:report")
    );
    assert_eq!(containers(&server, "apps:info"), ["web.1 live", "web.2 failed exited"]);
    server.paas(&["config:set", "shop", "--no-restart", "A=1"]).expect_success();
    server.paas(&["config:unset", "shop", "--no-restart", "A"]).expect_success();
    server.paas(&["ps:set", "shop", "stop-timeout=11s"]).expect_success().says("web.2 is exited in Docker");
    wait_until_over(&server, "shop");
    assert!(server.containers().contains(&first) && !server.containers().contains(&second));
    answers(&server, 10);

    // With a daemon, the same words, for as long as they are true.
    server.start_daemon();
    run(docker().args(["pause", &first])).expect_success();
    assert_eq!(containers(&server, "apps:info")[0], "web.1 failed paused");
    assert_eq!(containers(&server, "ps:report")[0], "web.1 failed paused");
    assert_eq!(says(&server, &["apps:list"]), "degraded");
    run(docker().args(["unpause", &first])).expect_success();
    server.wait_for("both to be live", PATIENCE, || says(&server, &["apps:list"]) == "live");
}
