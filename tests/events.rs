//! The audit: each change is one event, with who, by which door, from where, and what became of it.

use serde_json::Value;

use crate::harness::Server;

fn words(event: &Value) -> String {
    let word = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
    ["actor", "door", "address", "action", "subject", "outcome", "detail"].map(word).join(" ")
}

#[test]
fn every_change_is_an_event() {
    let server = Server::start();
    server.ssh("apps:create blog").expect_success();
    server.paas(&["config:set", "blog", "SECRET=canary", "--no-restart"]).expect_success();
    server.paas(&["apps:lock", "blog", "--message", "audit"]).expect_success();
    server.paas(&["apps:unlock", "blog"]).expect_success();
    server.paas(&["apps:destroy", "blog", "--force"]).expect_success();
    // What is refused for another reason than who asks changes nothing, and neither does a look.
    server.paas(&["apps:info", "blog"]).expect_code(3);

    let events = server.json(&["events"]);
    let events = events.as_array().unwrap();
    let me = events[0]["actor"].as_str().unwrap().to_owned();
    assert!(me.starts_with("local:"), "{me}");
    let found: Vec<String> = events.iter().skip(1).map(words).collect();
    assert_eq!(
        found,
        [
            "key:tester ssh 127.0.0.1 apps:create app:blog done -".to_owned(),
            format!("{me} local - config:set app:blog done config: set SECRET"),
            format!("{me} local - apps:lock app:blog done audit"),
            format!("{me} local - apps:unlock app:blog done -"),
            format!("{me} local - apps:destroy app:blog done -"),
        ]
    );
    assert!(words(&events[0]).contains("ssh-keys:add key:tester done SHA256:"), "{:?}", events[0]);
    assert!(!server.paas(&["events"]).expect_success().stdout.contains("canary"));

    // Filters, each by itself and together.
    let count = |arguments: &[&str]| {
        let mut all = vec!["events"];
        all.extend(arguments);
        server.json(&all).as_array().unwrap().len()
    };
    assert_eq!(count(&["--of", "blog"]), 5);
    assert_eq!(count(&["--by", "key:tester"]), 1);
    assert_eq!(count(&["--action", "apps"]), 4);
    assert_eq!(count(&["--action", "apps:lock"]), 1);
    assert_eq!(count(&["--of", "blog", "--action", "config"]), 1);
    assert_eq!((count(&["--since", "1h"]), count(&["-n", "2"])), (6, 2));
    server.paas(&["events", "--since", "soon"]).expect_code(2).says("such as 90s, 15m, 12h or 7d");
    server.paas(&["events", "--outcome", "great"]).expect_code(2).says("done, failed, canceled, denied");
}

#[test]
fn events_are_followed_as_they_come() {
    use std::io::{BufRead, BufReader};
    let server = Server::start();
    let mut command = server.command(crate::harness::PAAS);
    command.args(["events", "--follow", "--action", "apps", "--format", "json"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for app in ["one", "two", "three"] {
        server.paas(&["apps:create", app]).expect_success();
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&line["action"], &line["subject"]), (&"apps:create".into(), &format!("app:{app}").into()));
    }
    // It ends when nobody reads it any more.
    drop(lines);
    server.wait_for("the follower to end", std::time::Duration::from_secs(10), || child.try_wait().unwrap().is_some());
}

#[test]
fn an_event_names_the_command_as_it_was_typed() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    let typed = [
        ["config:set", "blog", "A=1"],
        ["config:unset", "blog", "A"],
        ["config:set", "blog", "B=1"],
        ["checks:set", "blog", "timeout=30s"],
        ["checks:skip", "blog", "--quiet"],
        ["checks:disable", "blog", "--quiet"],
        ["checks:enable", "blog", "--quiet"],
        ["ps:set", "blog", "memory=64m"],
        ["ps:scale", "blog", "web=2"],
        ["ps:restart", "blog", "--quiet"],
        ["ps:stop", "blog", "--quiet"],
        ["ps:start", "blog", "--quiet"],
        ["ps:rebuild", "blog", "--quiet"],
        ["releases:rollback", "blog", "--quiet"],
        ["apps:set", "blog", "deploy-branch=trunk"],
        ["settings:set", "keep.images=7", "--quiet"],
    ];
    for arguments in &typed {
        server.paas(arguments).expect_success();
    }
    let events = server.json(&["events", "-n", "100"]);
    let found: Vec<&str> = events.as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
    let expected: Vec<&str> = typed.iter().map(|arguments| arguments[0]).collect();
    let begin = found.iter().position(|action| *action == "git:push").unwrap() + 1;
    assert_eq!(found[begin..], expected, "{events}");
    // The reason of a release is told where the release was made.
    let scaled = events.as_array().unwrap().iter().find(|event| event["action"] == "ps:scale").unwrap();
    assert!(scaled["detail"].as_str().unwrap().chars().skip(1).all(|digit| digit.is_ascii_digit()), "{scaled}");
}
