//! Properties and settings: one grammar, the nearest scope wins, and who set what is known.

use serde_json::{Value, json};

use crate::{
    harness::{Repository, Server, docker, run},
    untouched::wait_until_over,
};

const DOCKERFILE: &str = r#"FROM busybox:stable
COPY index.html /www/
CMD ["sh", "-c", "exec httpd -f -p \"$PORT\" -h /www"]
"#;

fn repository(server: &Server) -> Repository {
    let repository = server.empty_repository("shop");
    repository.write("Dockerfile", DOCKERFILE).write("index.html", "one").commit("one");
    repository
}

/// A line of a report, by the name of the property; that of the app where there are several.
fn line(server: &Server, arguments: &[&str], name: &str) -> Value {
    let report = server.json(arguments);
    let lines = report.as_array().or_else(|| report["properties"].as_array()).unwrap();
    lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name} in {report}")).clone()
}

fn memory(server: &Server) -> String {
    let containers = server.containers();
    run(docker().args(["inspect", "-f", "{{.HostConfig.Memory}}", &containers[0]])).expect_success().stdout
}

#[test]
fn a_property_is_set_in_every_form_reported_and_cleared() {
    let server = Server::start();
    server.paas(&["apps:create", "shop"]).expect_success();
    // An app that was never deployed has properties, too.
    server.paas(&["ps:set", "shop", "memory", "64m"]).expect_success().says("saved; the next deploy or restart");
    server.paas(&["apps:set", "shop", "deploy-branch=trunk", "keep.images=2"]).expect_success().says("saved");
    server.paas(&["checks:set", "shop", "headers", "X-Token: hunter2"]).expect_success();
    server.paas(&["ps:set", "--global", "cpus", "2"]).expect_success();
    server.paas(&["ps:set", "--global", "memory=128m"]).expect_success();

    let memory = line(&server, &["ps:report", "shop"], "memory");
    assert_eq!(
        (&memory["set"], &memory["global"], &memory["effective"]),
        (&json!("64m"), &json!("128m"), &json!("64m"))
    );
    assert_eq!(
        (&memory["project"], &memory["source"], &memory["default"]),
        (&Value::Null, &Value::Null, &json!("unlimited"))
    );
    assert!(memory["by"].as_str().unwrap().starts_with("local:"), "{memory}");
    assert!(memory["set_at"].as_str().unwrap().ends_with('Z'), "{memory}");
    let cpus = line(&server, &["ps:report", "shop", "cpus"], "cpus");
    assert_eq!((&cpus["set"], &cpus["global"], &cpus["effective"]), (&Value::Null, &json!("2"), &json!("2")));
    assert_eq!(line(&server, &["ps:report", "--global", "memory"], "memory")["effective"], "128m");
    assert_eq!(line(&server, &["apps:report", "shop"], "deploy-branch")["effective"], "trunk");
    assert_eq!(server.json(&["apps:info", "shop"])["deploy_branch"], "trunk");
    // What may be a password is shown to nobody.
    for report in [server.paas(&["checks:report", "shop"]), server.paas(&["checks:report", "shop", "--format", "json"])]
    {
        let report = report.expect_success();
        assert!(report.stdout.contains("********") && !report.stdout.contains("hunter2"), "{report}");
    }

    // A name alone clears, and so does an empty value.
    server.paas(&["ps:set", "shop", "memory"]).expect_success();
    server.paas(&["apps:set", "shop", "deploy-branch="]).expect_success();
    assert_eq!(line(&server, &["ps:report", "shop"], "memory")["effective"], "128m");
    assert_eq!(server.json(&["apps:info", "shop"])["deploy_branch"], Value::Null);
    server.ssh("ps:set --global memory").expect_success();
    assert_eq!(line(&server, &["ps:report", "shop"], "memory")["effective"], "unlimited");

    for (words, said) in [
        (&["ps:set", "shop", "memory=1g", "memory="][..], "memory is there twice"),
        (&["ps:set", "shop", "memory", "1g", "2g"], "2 words after memory are not one value"),
        (&["ps:set", "shop", "memory", "much"], "it is an amount of memory"),
        (&["ps:set", "shop", "colour", "red"], "there is no property \"colour\""),
        (&["ps:set", "--global", "-p", "web", "memory", "1g"], "--process is for one app"),
        (&["checks:set", "--global", "path", "/up"], "path cannot be set for all apps"),
        (&["apps:report", "shop", "colour"], "there is no property \"colour\""),
        (&["ps:scale", "shop", "web=2", "web=3"], "web is there twice"),
    ] {
        server.paas(words).expect_code(2).says(said);
    }
    server.paas(&["ps:set", "nowhere", "memory", "1g"]).expect_code(3);
}

#[test]
fn the_nearest_scope_wins_and_a_rollback_brings_back_what_is_the_apps() {
    let server = Server::start();
    let repository = repository(&server);
    server.paas(&["ps:set", "--global", "memory", "128m"]).expect_success();
    repository.write("paas.toml", "[processes.web]\nmemory = \"32m\"\n").commit("limits");
    repository.push().expect_success();
    wait_until_over(&server, "shop");
    // What is set on the server, for all apps too, goes over what the source says.
    assert_eq!(memory(&server), format!("{}\n", 128 << 20));
    server.paas(&["ps:set", "shop", "memory", "64m"]).expect_success().says("Releasing v2 (processes: memory=64m)");
    wait_until_over(&server, "shop");
    assert_eq!(memory(&server), format!("{}\n", 64 << 20));
    server.paas(&["ps:set", "shop", "-p", "web", "memory=96m", "stop-timeout=3s"]).expect_success();
    wait_until_over(&server, "shop");
    assert_eq!(memory(&server), format!("{}\n", 96 << 20));
    let report = server.json(&["ps:report", "shop", "memory"]);
    assert_eq!(
        (&report[1]["process"], &report[1]["set"], &report[1]["source"]),
        (&json!("web"), &json!("96m"), &json!("32m"))
    );

    // What needs no restart makes no release, and a rollback leaves it alone.
    server.paas(&["apps:set", "shop", "keep.images", "3"]).expect_success().says("saved");
    assert_eq!(server.json(&["apps:info", "shop"])["release"], 3);
    server.paas(&["releases:rollback", "shop", "v2"]).expect_success();
    wait_until_over(&server, "shop");
    assert_eq!(memory(&server), format!("{}\n", 64 << 20));
    assert_eq!(line(&server, &["ps:report", "shop"], "memory")["set"], "64m");
    assert_eq!(line(&server, &["ps:report", "shop"], "stop-timeout")["effective"], "10s");
    assert_eq!(line(&server, &["apps:report", "shop"], "keep.images")["set"], "3");

    // A change for all is taken up by the next restart.
    server.paas(&["ps:set", "shop", "memory"]).expect_success();
    server.paas(&["ps:set", "--global", "memory", "192m"]).expect_success().says("the next deploy or restart");
    wait_until_over(&server, "shop");
    assert_eq!(memory(&server), format!("{}\n", 128 << 20));
    server.paas(&["ps:restart", "shop"]).expect_success().says("restart with what was set since");
    wait_until_over(&server, "shop");
    assert_eq!(memory(&server), format!("{}\n", 192 << 20));
}

#[test]
fn a_setting_of_the_server_holds_at_once_and_a_file_wins() {
    let server = Server::start();
    let listed = |name: &str| {
        let list = server.json(&["settings:list"]);
        list.as_array().unwrap().iter().find(|line| line["name"] == name).unwrap().clone()
    };
    assert_eq!(
        (&listed("create_on_push")["value"], &listed("create_on_push")["source"]),
        (&json!("true"), &json!("default"))
    );
    server.paas(&["settings:set", "create_on_push", "false"]).expect_success().says("saved");
    let line = listed("create_on_push");
    assert_eq!((&line["value"], &line["source"]), (&json!("false"), &json!("database")));
    assert!(line["by"].as_str().unwrap().starts_with("local:"), "{line}");
    // The daemon runs, and what it starts reads the new value.
    let repository = repository(&server);
    repository.push().expect_failure();
    server.paas(&["apps:info", "shop"]).expect_code(3);
    server.ssh("settings:unset create_on_push").expect_success();
    repository.push().expect_success();

    // A file wins, and is named.
    let file = server.directory.path().join("config.toml");
    std::fs::write(&file, "images_kept = 7\n").unwrap();
    let source = format!("file {}", file.display());
    server.paas(&["settings:set", "keep.images"]).expect_code(2).says("`paas settings:unset keep.images` resets it");
    let ran = server.paas(&["settings:set", "keep.images", "9"]).expect_success();
    ran.says(&format!("keep.images is also given by the {source}, which wins"));
    let line = listed("keep.images");
    assert_eq!((&line["value"], &line["source"]), (&json!("7"), &json!(source)));
    std::fs::write(&file, "").unwrap();
    assert_eq!((&listed("keep.images")["value"], &listed("keep.images")["source"]), (&json!("9"), &json!("database")));
    let line = listed("subnet");
    assert_eq!((&line["source"], &line["changeable"]), (&json!("variable PAAS_SUBNET"), &json!(false)));

    for (words, said) in [
        (["settings:set", "keep.images", "0"], "it is a number from 1 to 1000"),
        (["settings:set", "create_on_push", "maybe"], "it is true or false"),
        (["settings:set", "colour", "red"], "there is no setting \"colour\""),
        (["settings:set", "domain", "example.com"], "write `domain = \"example.com\"` to "),
    ] {
        server.paas(&words).expect_code(2).says(said);
    }
}

#[test]
fn what_grows_is_kept_as_the_properties_say() {
    let server = Server::start();
    let repository = repository(&server);
    repository.push().expect_success();
    server
        .paas(&["apps:set", "shop", "keep.images=1", "keep.deploy-logs=1", "keep.operations=1", "keep.releases=1"])
        .expect_success();
    for text in ["two", "three"] {
        repository.write("index.html", text).commit(text);
        repository.push().expect_success();
    }
    wait_until_over(&server, "shop");
    server.paas(&["cleanup"]).expect_success();
    assert_eq!(server.images().len(), 1, "{:?}", server.images());
    let logs = std::fs::read_dir(server.root().join("apps/shop/deploys")).unwrap();
    assert_eq!(logs.count(), 1);
    assert_eq!(server.json(&["deploys:list", "shop"]).as_array().unwrap().len(), 1);
    assert_eq!(server.json(&["releases:list", "shop"]).as_array().unwrap().len(), 1);
    let rows = &server.json(&["disk"])["rows"];
    assert_eq!((&rows["releases"], &rows["operations"]), (&json!(1), &json!(2)), "one of the app, and the cleanup");
    assert!(rows["events"].as_u64().unwrap() > 2, "{rows}");
    assert_eq!(server.get("shop", "/").body, "three");
}
