//! One set of names in all that programs read, whatever the command.

use paas::{Condition, Right, access_table};
use regex::Regex;
use serde_json::Value;

use crate::harness::{Server, run_with_input};

/// Checks the names and values of a document, and counts its keys.
fn check(command: &str, value: &Value, keys: &mut usize) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| check(command, item, keys)),
        Value::Object(fields) => {
            for (key, value) in fields {
                *keys += 1;
                check_field(command, key, value);
                check(command, value, keys);
            }
        }
        _ => {}
    }
}

fn check_field(command: &str, key: &str, value: &Value) {
    let case = format!("{command}: {key}: {value}");
    let text = |pattern: &str| value.as_str().is_some_and(|text| Regex::new(pattern).unwrap().is_match(text));
    let number = value.is_number();
    let good = value.is_null()
        || match key {
            _ if key.ends_with("_at") => text(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"),
            _ if key.ends_with("_seconds") || key.ends_with("_bytes") => number,
            "release" | "deploy" | "operation" => value.is_u64(),
            "process" => text("^[a-z0-9-]+$"),
            "container" => text(r"^[a-z0-9-]+\.\d+$"),
            "app" => text("^[a-z0-9-]+$"),
            "status" => Condition::ALL.iter().any(|condition| value == condition.as_str()),
            _ => true,
        };
    assert!(good, "{case}");
    // Variables are the user's to name.
    if key.chars().any(|character| character.is_ascii_uppercase()) || command.starts_with("config:") {
        return;
    }
    assert!(Regex::new("^[a-z][a-z0-9_]*$").unwrap().is_match(key), "{case}");
    let unit = Regex::new("(^|_)(at|time|date|since|seconds|bytes|ms|millis|mb|mib|kb|size|memory)$").unwrap();
    let has_unit = ["_at", "_seconds", "_bytes"].iter().any(|end| key.ends_with(end));
    assert!(!unit.is_match(key) || has_unit || value.is_boolean(), "{case} has no unit in its name");
}

#[test]
fn every_document_has_the_same_names_for_the_same_things() {
    let server = Server::start();
    server.repository("web-worker", "blog").push().expect_success();
    server.paas(&["ps:set", "blog", "memory=64m", "--no-restart"]).expect_success();
    server.paas(&["config:set", "blog", "A=1", "--no-restart"]).expect_success();
    server.paas(&["apps:create", "shop"]).expect_success();
    server.paas(&["apps:lock", "shop", "--message", "audit"]).expect_success();
    let (mut keys, mut documents) = (0, 0);
    for row in access_table().unwrap() {
        // The log of a deploy is text, whoever reads it, what a program prints is its own, that of an app a document a line; copies of the database and of the config are files.
        let texts = [
            "logs",
            "run",
            "run:detached",
            "run:logs",
            "enter",
            "deploys:output",
            "deploys:follow",
            "operations:follow",
            "backup-db",
            "config:bundle",
            "config:export",
        ];
        let is_text = texts.contains(&row.command.as_str());
        let reads = matches!(row.right, Some(Right::See | Right::Reveal)) || row.right == Some(Right::Administer);
        if is_text || !reads {
            continue;
        }
        let mut command = server.command(crate::harness::PAAS);
        command.args(&row.example).args(["--format", "json"]);
        let ran = run_with_input(&mut command, "");
        if ran.code == 0 && !ran.stdout.is_empty() {
            let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"));
            check(&row.command, &document, &mut keys);
            documents += 1;
        } else if ran.code != 0 {
            let error: Value = serde_json::from_str(&ran.stderr).unwrap_or_else(|error| panic!("{error}: {ran}"));
            assert_eq!(error["exit_code"], ran.code, "{ran}");
            assert!(error["kind"].is_string() && error["message"].is_string(), "{ran}");
        }
    }
    assert!(keys > 150 && documents > 12, "{keys} keys in {documents} documents");
}

#[test]
fn a_change_answers_in_json_too_and_so_does_an_error() {
    let server = Server::start();
    let json = |arguments: &[&str]| server.json(arguments);
    assert_eq!(json(&["apps:create", "blog"])["app"], "blog");
    server.repository("dockerfile", "blog").push().expect_success();
    let set = json(&["config:set", "blog", "A=1"]);
    assert_eq!((&set["outcome"], &set["release"]), (&"deployed".into(), &2.into()), "{set}");
    assert_eq!(json(&["config:set", "blog", "A=1"])["outcome"], "unchanged");
    assert_eq!(json(&["config:set", "blog", "B=1", "--no-restart"])["outcome"], "saved");
    let rolled_back = json(&["releases:rollback", "blog"]);
    assert_eq!((&rolled_back["app"], &rolled_back["release"]), (&"blog".into(), &3.into()), "{rolled_back}");
    assert_eq!(json(&["ps:scale", "blog", "web=2"])["outcome"], "deployed");
    assert_eq!(json(&["ps:restart", "blog"])["outcome"], "deployed");
    // What fails inside a deploy is in the document, not in lines before it.
    let ran = server.paas(&["checks:set", "blog", "path=/missing", "timeout=2s", "--format", "json"]).expect_code(1);
    let error: Value = serde_json::from_str(&ran.stderr).unwrap_or_else(|error| panic!("{error}: {ran}"));
    assert_eq!((&error["kind"], ran.stdout.as_str()), (&"app".into(), ""), "{ran}");
    assert_eq!(json(&["ps:stop", "blog"])["app"], "blog");
    assert_eq!(json(&["apps:lock", "blog"])["running"], Value::Null);

    // Nothing but the document is on standard error, and nothing on standard output.
    for (arguments, code, kind) in [
        (&["apps:info", "none"][..], 3, "not_found"),
        (&["apps:create", "blog"], 4, "conflict"),
        (&["apps:info", "Not_A_Name"], 2, "usage"),
        (&["ps:restart", "blog"], 6, "busy"),
        (&["nonsense"], 2, "usage"),
    ] {
        let mut with_format = arguments.to_vec();
        with_format.extend(["--format", "json"]);
        let ran = server.paas(&with_format).expect_code(code);
        let error: Value = serde_json::from_str(&ran.stderr).unwrap_or_else(|error| panic!("{error}: {ran}"));
        assert_eq!((&error["kind"], &error["exit_code"]), (&kind.into(), &code.into()), "{ran}");
        assert_eq!(ran.stdout, "", "{ran}");
    }
    server.paas(&["apps:unlock", "blog"]).expect_success();
    let missing = "the following required arguments were not provided: <APP>";
    server.paas(&["apps:info", "--format", "json"]).expect_code(2).says(missing).says("\"kind\": \"usage\"");
    // Quiet is quiet, but for data and errors.
    let quiet = server.paas(&["ps:start", "blog", "--quiet"]).expect_success();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    server.paas(&["--quiet", "apps:info", "none"]).expect_code(3).says("there is no app named none");
}
