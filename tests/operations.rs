//! Operations: a row for all that takes a while, whoever started it; watched, stopped, and put right after a death.

use std::{
    fs::{File, OpenOptions},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::{
    harness::{PAAS, Server},
    untouched::wait_until_over,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Holds the lock of the first app, as an action would.
fn hold_app(server: &Server) -> File {
    let path = server.root().join("locks/1.lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}

fn operation(server: &Server, id: &str) -> Value {
    server.json(&["operations:info", id])
}

fn steps(info: &Value) -> Vec<&str> {
    info["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect()
}

#[test]
fn what_takes_a_while_is_a_row_with_steps_a_log_and_an_event() {
    let server = Server::start();
    server.repository("dockerfile", "blog").push().expect_success();
    wait_until_over(&server, "blog");
    server.ssh("ps:stop blog").expect_success();
    server.paas(&["cleanup"]).expect_success();
    let list = server.json(&["operations:list"]);
    let found: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|it| ["kind", "subject", "state", "door"].map(|key| it[key].as_str().unwrap().to_owned()).join(" "))
        .collect();
    assert_eq!(found, ["cleanup server succeeded local", "stop app:blog succeeded ssh", "push app:blog succeeded git"]);
    // A deploy is one of them, under the same number.
    assert_eq!(server.json(&["deploys:info", "blog"])["deploy"], list[2]["operation"]);
    assert_eq!(server.json(&["operations:list", "blog"]).as_array().unwrap().len(), 2);

    let cleanup = operation(&server, "3");
    assert_eq!(steps(&cleanup), ["queued", "files", "engine", "rows", "succeeded"]);
    assert!(cleanup["result"]["images"]["removed"].is_u64(), "{cleanup}");
    assert_eq!(steps(&operation(&server, "2")), ["queued", "stopping", "succeeded"]);
    server.paas(&["operations:info", "99"]).expect_code(3).says("there is no operation 99");
    server.paas(&["operations:cancel", "2"]).expect_code(4).says("cannot be canceled");

    let events = server.json(&["events", "--of", "blog"]);
    let actions: Vec<(&str, i64)> = events
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| Some((event["action"].as_str()?, event["operation"].as_i64()?)))
        .collect();
    assert_eq!(actions, [("git:push", 1), ("ps:stop", 2)]);

    // The end of an app outlives it, and takes the rest of its history with it.
    server.paas(&["apps:destroy", "blog", "--force"]).expect_success();
    let list = server.json(&["operations:list"]);
    assert_eq!(
        (&list[0]["kind"], &list[0]["subject"], &list[0]["app"]),
        (&"destroy".into(), &"app:blog".into(), &Value::Null)
    );
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
}

#[test]
fn an_operation_of_its_own_process_is_started_followed_and_outlives_its_door() {
    let server = Server::start();
    server.repository("dockerfile", "blog").push().expect_success();
    let started: Value =
        serde_json::from_str(&server.ssh("ps:restart blog --detach --format json").expect_success().stdout).unwrap();
    let id = started["operation"].to_string();
    server.paas(&["operations:follow", &id]).expect_success();
    server.wait_for("its end", PATIENCE, || operation(&server, &id)["state"] == "succeeded");
    let done = operation(&server, &id);
    assert_eq!(
        (&done["kind"], &done["door"], &done["actor"]),
        (&"restart".into(), &"ssh".into(), &"key:tester".into())
    );
    assert!(server.paas(&["deploys:output", &id]).expect_success().stdout.contains("is live"));

    // What is refused before it has a row is said at once.
    server.paas(&["apps:lock", "blog"]).expect_success();
    server.paas(&["ps:restart", "blog", "--detach"]).expect_code(69).says("blog is locked");
    let text = server.paas(&["cleanup", "--detach"]).expect_success();
    assert!(text.stderr.contains("operations:follow"), "{text}");
    let id = text.stdout.trim();
    server.wait_for("the cleanup", PATIENCE, || operation(&server, id)["state"] == "succeeded");
}

#[test]
fn one_that_waits_is_stopped_and_one_whose_process_dies_is_interrupted() {
    let server = Server::start();
    server.repository("dockerfile", "blog").push().expect_success();
    let held = hold_app(&server);
    let id = server.paas(&["ps:stop", "blog", "--detach"]).expect_success().stdout.trim().to_owned();
    assert_eq!(operation(&server, &id)["state"], "queued");
    server.paas(&["operations:cancel", &id]).expect_success().says("is canceled");
    let mut dying = server.command(PAAS).args(["apps:destroy", "blog", "--force"]).spawn().unwrap();
    let destroy = (id.parse::<u64>().unwrap() + 1).to_string();
    server.wait_for("the end to wait", PATIENCE, || {
        server.paas(&["operations:info", &destroy, "--format", "json"]).code == 0
    });
    dying.kill().unwrap();
    dying.wait().unwrap();
    server.wait_for("the daemon to see it", PATIENCE, || operation(&server, &destroy)["state"] == "interrupted");
    let dead = operation(&server, &destroy);
    assert!(dead["error"].as_str().unwrap().contains("died"), "{dead}");
    drop(held);
    // Nothing has changed.
    assert_eq!(server.get("blog", "/").status, 200);
    let outcomes: Vec<String> = server
        .json(&["events", "--of", "blog", "--since", "1h"])
        .as_array()
        .unwrap()
        .iter()
        .map(|event| format!("{} {}", event["action"].as_str().unwrap(), event["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(
        outcomes,
        ["apps:create done", "git:push done", "operations:cancel done", "ps:stop canceled", "apps:destroy failed"]
    );
    server.paas(&["apps:destroy", "blog", "--force"]).expect_success();
}
