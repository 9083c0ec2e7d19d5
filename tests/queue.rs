//! The line: pushes that take each other's place, an app that somebody locked.

use std::time::Duration;

use serde_json::Value;

use crate::{
    harness::{Ran, Repository, Server},
    untouched::{Untouched, assert_locks_are_free, assert_refused, pins, wait_until_over},
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Commits a version whose build takes `seconds`, in a step that no other build has run.
fn commit_slow_build(server: &Server, repository: &Repository, page: &str, seconds: &str) -> String {
    repository
        .become_fixture("slow-build")
        .write("index.html", &format!("{page} of {}\n", server.instance_id().unwrap()))
        .replace("Dockerfile", "$(seq 20)", "1")
        .replace("Dockerfile", "sleep 1;", &format!("sleep {seconds};"))
        .commit(page)
}

fn deploys(server: &Server) -> Vec<Value> {
    server.json(&["deploys:list", "blog"]).as_array().unwrap().clone()
}

fn wait_for_state(server: &Server, id: u64, state: &str) {
    server.wait_for(state, PATIENCE, || {
        deploys(server).iter().any(|deploy| deploy["deploy"] == id && deploy["state"] == state)
    });
}

#[test]
fn a_newer_push_takes_the_place_of_those_that_wait_and_a_waiting_one_can_be_cancelled() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    commit_slow_build(&server, &repository, "one", "12");
    let first = repository.begin_push();
    wait_for_state(&server, 2, "building");

    commit_slow_build(&server, &repository, "two", "1");
    let second = repository.begin_push();
    wait_for_state(&server, 3, "queued");
    // Everything that changes the app waits in the same line, and says for whom.
    let restart = server
        .command(crate::harness::PAAS)
        .args(["ps:restart", "blog"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_state(&server, 4, "queued");
    let three = commit_slow_build(&server, &repository, "three", "1");
    let third = repository.begin_push();
    let second: Ran = second.wait_with_output().unwrap().into();
    let second = second.expect_code(1).says("superseded by deploy 5, a newer push of the same app");
    second.says("-----> Waiting for the deploy of main").says("(superseded by deploy 5: v1 still serves)");
    server.paas(&["deploys:cancel", "4"]).expect_success().says("deploy 4 is canceled");
    let restart: Ran = restart.wait_with_output().unwrap().into();
    restart.expect_code(130).says("Waiting for deploy 3, which is before this one in line");

    let first: Ran = first.wait_with_output().unwrap().into();
    first.expect_success();
    let third: Ran = third.wait_with_output().unwrap().into();
    third.expect_success().says("blog v3 is live");
    wait_until_over(&server, "blog");
    let states: Vec<&str> =
        deploys(&server).iter().map(|deploy| deploy["state"].as_str().unwrap().to_owned().leak() as &str).collect();
    assert_eq!(states, ["succeeded", "canceled", "superseded", "succeeded", "succeeded"]);
    assert!(server.get("blog", "/").body.starts_with("three"));
    assert_eq!(server.json(&["apps:info", "blog"])["commit"], three.as_str());
    assert_eq!((pins(&server, "blog").as_str(), server.images().len()), ("", 3));
    assert_locks_are_free(&server);
}

#[test]
fn a_locked_app_is_changed_by_nothing_and_nobody() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    let before = Untouched::before(&server, &repository, "blog");
    let page = server.get("blog", "/").body;
    server.ssh("apps:lock blog --message 'audit until Monday'").expect_success().says("paas apps:unlock blog");
    server.paas(&["apps:lock", "blog"]).expect_code(6).says("audit until Monday");
    let hint = "`paas apps:unlock blog` unlocks it, if it is yours to unlock";

    repository.replace("www/index.html", "v1", "v2").commit("two");
    assert_refused(repository.push().says("audit until Monday"), "pre-receive hook declined", hint);
    for command in [
        &["ps:restart", "blog"][..],
        &["ps:stop", "blog"],
        &["ps:start", "blog"],
        &["ps:rebuild", "blog"],
        &["ps:scale", "blog", "web=2"],
        &["ps:scale", "blog", "web=2", "--no-restart"],
        &["ps:set", "blog", "memory=64m"],
        &["checks:set", "blog", "path=/up"],
        &["checks:skip", "blog"],
        &["config:set", "blog", "A=1"],
        &["config:set", "blog", "A=1", "--no-restart"],
        &["releases:rollback", "blog", "v1"],
        &["apps:set", "blog", "deploy-branch", "dev"],
        &["apps:destroy", "blog", "--force"],
    ] {
        let ran = server.paas(command).expect_code(6);
        ran.says("blog is locked by key:tester").says("audit until Monday").says(hint);
    }
    before.check(&server, &repository);
    let info = server.json(&["apps:info", "blog"]);
    assert_eq!((&info["lock"]["message"], &info["deploy_branch"]), (&"audit until Monday".into(), &"main".into()));
    assert_eq!(server.json(&["config:show", "blog"]), serde_json::json!({}));

    // One that waits in line when it is locked is refused when its turn comes.
    server.paas(&["apps:unlock", "blog"]).expect_success().says("key:tester had locked it");
    server.paas(&["apps:unlock", "blog"]).expect_success().says("blog was not locked");
    commit_slow_build(&server, &repository, "slow", "6");
    let pushing = repository.begin_push();
    server.wait_for("the build", PATIENCE, || server.deploy_state("blog") == "building");
    let restart = server
        .command(crate::harness::PAAS)
        .args(["ps:restart", "blog"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    server.wait_for("the restart to wait", PATIENCE, || server.deploy_state("blog") == "queued");
    server.paas(&["apps:lock", "blog", "-m", "now"]).expect_success().says("continues; `paas deploys:cancel");
    let pushed: Ran = pushing.wait_with_output().unwrap().into();
    pushed.expect_success();
    let restart: Ran = restart.wait_with_output().unwrap().into();
    restart.expect_code(6).says("locked by local:");
    server.paas(&["apps:unlock", "blog"]).expect_success();
    server.paas(&["ps:restart", "blog"]).expect_success();
    assert_ne!(server.get("blog", "/").body, page);
}
