//! Releases: what each change makes, what a rollback brings back, what a release command is run for.

use serde_json::Value;

use crate::{
    harness::{Repository, Server},
    untouched::{Untouched, wait_until_over},
};

/// A page, the app's environment as another, and a release command that counts how often it ran.
const DOCKERFILE: &str = r#"FROM busybox:stable
COPY index.html /www/
RUN mkdir /www/cgi-bin && printf '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\nenv\n' > /www/cgi-bin/env \
    && chmod 755 /www/cgi-bin/env
USER 65534
CMD ["sh", "-c", "[ -z \"$CRASH\" ] || exit 3; exec httpd -f -p \"$PORT\" -h /www"]
"#;

fn repository(server: &Server) -> Repository {
    let repository = server.empty_repository("shop");
    repository.write("Dockerfile", DOCKERFILE).write("index.html", "one").commit("one");
    repository
}

fn page(server: &Server) -> String {
    server.get("shop", "/").body
}

fn environment(server: &Server) -> String {
    server.get("shop", "/cgi-bin/env").body
}

fn releases(server: &Server) -> Vec<Value> {
    server.json(&["releases:list", "shop"]).as_array().unwrap().clone()
}

/// Version, whether it is current, and why, newest first.
fn history(server: &Server) -> Vec<String> {
    releases(server)
        .iter()
        .map(|release| {
            let current = if release["current"] == true { " current" } else { "" };
            format!("v{} {}{current}: {}", release["release"], release["state"].as_str().unwrap(), release["reason"])
        })
        .collect()
}

#[test]
fn a_rollback_brings_back_image_config_and_settings_without_a_build() {
    let server = Server::start();
    let repository = repository(&server);
    repository
        .write("Procfile", "web: [ -z \"$CRASH\" ] || exit 3; exec httpd -f -p $PORT -h /www\nrelease: echo migrating")
        .commit("release command");
    repository.push().expect_success().says("migrating");
    server.paas(&["releases:rollback", "shop"]).expect_code(3).says("shop has no release to roll back to");
    server.paas(&["config:set", "shop", "COLOR=blue", "KEPT=1"]).expect_success().says("Releasing v2");
    server.paas(&["ps:set", "shop", "memory=64m"]).expect_success().says("Releasing v3 (processes: memory=64m)");
    let one = repository.git(&["rev-parse", "HEAD"]).stdout.trim().to_owned();
    repository.write("index.html", "two").commit("two");
    repository.push().expect_success().says("migrating");
    server.paas(&["config:set", "shop", "COLOR=red", "NEW=1"]).expect_success();
    server.paas(&["ps:set", "shop", "memory="]).expect_success();
    assert_eq!(page(&server), "two");
    let images = server.images();

    // One that failed is none to go back to, and no obstacle either.
    server.paas(&["config:set", "shop", "CRASH=1"]).expect_code(1).says("exited with code");
    server
        .paas(&["releases:rollback", "shop", "v7"])
        .expect_code(4)
        .says("cannot roll shop back to v7: it never served");
    server.paas(&["releases:rollback", "shop", "v6"]).expect_code(4).says("v6: it is the one that serves");
    server.paas(&["releases:rollback", "shop", "v99"]).expect_code(3).says("shop has no release v99");
    assert_eq!(page(&server), "two");

    let ran = server.paas(&["releases:rollback", "shop", "v3"]).expect_success();
    assert!(!ran.stderr.contains("migrating") && !ran.stderr.contains("Building"), "{ran}");
    ran.says("rollback to v3: processes: memory=64m").says("to undo this: paas releases:rollback shop v6");
    assert_eq!(page(&server), "one");
    let now = environment(&server);
    assert!(now.contains("COLOR=blue\n") && now.contains("KEPT=1\n") && !now.contains("NEW="), "{now}");
    assert_eq!(server.json(&["config:show", "shop", "--reveal"])["COLOR"], "blue", "the config is back as well");
    let report = server.json(&["ps:report", "shop"]);
    assert_eq!(report["processes"][0]["memory_bytes"], 64 << 20, "and so are the settings");
    let release = server.json(&["releases:info", "shop"]);
    assert_eq!((&release["commit"], &release["current"]), (&Value::from(one), &Value::from(true)));
    assert_eq!(server.images(), images, "an image was built or lost");

    // What was printed, typed; and the default, which is the release that served before.
    server.paas(&["releases:rollback", "shop", "v6"]).expect_success();
    assert_eq!(page(&server), "two");
    server.ssh("releases:rollback shop").expect_success().says("to undo this: paas releases:rollback shop v9");
    assert_eq!(page(&server), "one");
    let history = history(&server);
    assert_eq!(
        history[..4],
        [
            "v10 good current: \"rollback to v8\"",
            "v9 good: \"rollback to v6\"",
            "v8 good: \"rollback to v3\"",
            "v7 failed: \"config: set CRASH\"",
        ],
        "{history:?}"
    );
    let deploy = server.json(&["deploys:info", "shop"]);
    assert_eq!((&deploy["kind"], &deploy["actor"]), (&Value::from("rollback"), &Value::from("key:tester")));
}

#[test]
fn a_rollback_that_is_not_healthy_changes_nothing() {
    let server = Server::start();
    let repository = repository(&server);
    repository.write("paas.toml", "[checks]\npath = \"/index.html\"\ntimeout = \"2s\"\n").commit("check");
    repository.push().expect_success();
    repository.write("paas.toml", "").write("index.html", "two").commit("two");
    repository.push().expect_success();
    server.paas(&["config:set", "shop", "COLOR=red"]).expect_success();
    wait_until_over(&server, "shop");
    let before = Untouched::before(&server, &repository, "shop");
    let config = server.json(&["config:show", "shop", "--reveal"]);

    // What an outside change does to an old release, done to the first: its check does not pass any more.
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let broken = "UPDATE releases SET processes = replace(processes, '/index.html', '/nowhere') WHERE version = 1";
    assert_eq!(database.execute(broken, []).unwrap(), 1);
    drop(database);
    let ran = server.paas(&["releases:rollback", "shop", "v1"]).expect_code(1);
    ran.says("web.1 did not become healthy within 2.0 s: GET /nowhere answered 404");
    before.check(&server, &repository);
    assert_eq!(server.json(&["config:show", "shop", "--reveal"]), config, "the config is as it was");
    assert_eq!(page(&server), "two");
}

#[test]
fn releases_say_what_they_are_and_hide_their_secrets() {
    let server = Server::start();
    let repository = repository(&server);
    repository.push().expect_success();
    server.paas(&["config:set", "shop", "SECRET=correct horse"]).expect_success();
    let listed = server.paas(&["releases:list", "shop"]).expect_success().stdout;
    for word in ["v2", "current", "config: set SECRET", "v1", "push of main", "key:tester"] {
        assert!(listed.contains(word), "no {word:?} in\n{listed}");
    }
    let info = server.paas(&["releases:info", "shop"]).expect_success().stdout;
    assert!(info.contains("SECRET=********") && !info.contains("correct horse"), "{info}");
    let info = server.paas(&["releases:info", "shop", "v1"]).expect_success().stdout;
    assert!(info.contains("good: it served") && !info.contains("SECRET"), "{info}");
    let revealed = server.json(&["releases:info", "shop", "v2", "--reveal"]);
    assert_eq!(revealed["config"]["SECRET"], "correct horse");
    assert!(revealed["image"].as_str().unwrap().starts_with("sha256:"), "{revealed}");
    server.paas(&["releases:info", "shop", "v9"]).expect_code(3).says("paas releases:list shop");
    server.paas(&["releases:list", "nobody"]).expect_code(3);
}

#[test]
fn a_rebuild_builds_the_commit_that_serves_and_not_the_branch_pushed_in_vain() {
    let server = Server::start();
    let repository = repository(&server);
    repository.push().expect_success();
    let serves = server.json(&["releases:info", "shop"])["commit"].clone();
    repository.write("Dockerfile", "FROM busybox:stable\nRUN false\n").commit("broken");
    repository.push().expect_failure();
    server.paas(&["ps:rebuild", "shop"]).expect_success().says("Deploying shop once more").says("Releasing v2");
    assert_eq!(server.json(&["releases:info", "shop"])["commit"], serves);
    assert_eq!(page(&server), "one");
    server.paas(&["ps:rebuild", "nobody"]).expect_code(3);
    server.paas(&["apps:create", "empty"]).expect_success();
    server.paas(&["ps:rebuild", "empty"]).expect_code(3).says("empty was never deployed");
}

/// Also where no daemon runs that would look, and where there is nothing left to be put back: a refused rollback has
/// made nothing.
#[test]
fn a_refused_rollback_is_over_at_once() {
    let mut server = Server::start();
    let repository = repository(&server);
    repository.push().expect_success();
    wait_until_over(&server, "shop");
    let newest = |server: &Server| {
        let deploy = server.json(&["deploys:info", "shop"]);
        format!("{} {}: {}", deploy["kind"], deploy["state"], deploy["error"])
    };
    server.ssh("releases:rollback shop").expect_code(3);
    assert_eq!(newest(&server), r#""rollback" "failed": "shop has no release to roll back to""#);
    server.kill_daemon();
    server.paas(&["releases:rollback", "shop", "v1"]).expect_code(4);
    let refused = r#""rollback" "failed": "cannot roll shop back to v1: it is the one that serves""#;
    assert_eq!(newest(&server), refused);
    std::fs::remove_dir_all(server.root().join("repos/shop.git")).unwrap();
    server.paas(&["releases:rollback", "shop", "v99"]).expect_code(3);
    assert_eq!(newest(&server), r#""rollback" "failed": "shop has no release v99""#);
}
