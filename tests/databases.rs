//! The database of each former version (tests/databases), opened by the binary of today: everything in it still means
//! what it did, and the instance goes on.

use std::{fs, path::Path, process::Stdio};

use serde_json::{Value, json};

use crate::{
    harness::{Server, docker, run},
    secrets::files_with,
};

/// An instance with a copy of a version's database, whose daemon does not run yet; and what it held.
fn instances() -> impl Iterator<Item = (Server, Value)> {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/databases")).unwrap().flatten();
    let folders: Vec<_> = folders.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    assert!(folders.iter().any(|path| path.ends_with("0.1.0")));
    folders.into_iter().map(|folder| {
        eprintln!("{}", folder.display());
        let server = Server::prepare(&[]);
        let expected: Value = serde_json::from_str(&fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
        // Their repositories, though without a commit.
        for name in expected["apps"].as_object().unwrap().keys() {
            server.paas(&["apps:create", name]).expect_success();
        }
        // What a machine of that version has not.
        for file in ["paas.db-wal", "instance"] {
            let _ = fs::remove_file(server.root().join(file));
        }
        for file in ["paas.db", "secret.key"] {
            fs::copy(folder.join(file), server.root().join(file)).unwrap();
        }
        // Another run of the tests may have the same database beside the same engine.
        let connection = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
        let id = format!("{:08x}", std::process::id() * 1000 + u32::from(server.slot));
        connection.execute("UPDATE meta SET value = ?1 WHERE name = 'instance'", [id]).unwrap();
        (server, expected)
    })
}

/// What an instance says of itself, in the words of expected.json.
fn facts(server: &Server) -> Value {
    let list = |arguments: &[&str]| server.json(arguments).as_array().unwrap().clone();
    let keys = list(&["ssh-keys:list"]);
    let keys = keys.iter().map(|key| (text(&key["name"]), key["fingerprint"].clone()));
    let apps = list(&["apps:list"]).into_iter().map(|app| {
        let name = text(&app["app"]);
        let info = server.json(&["apps:info", &name]);
        let lock = &info["lock"];
        let processes = server.json(&["ps:report", &name])["processes"].as_array().unwrap().clone();
        let processes = processes.iter().map(|process| {
            let names =
                ["quantity", "memory_bytes", "cpus", "restart", "stop_timeout_seconds", "drain_timeout_seconds"];
            (text(&process["process"]), json!(names.map(|name| &process[name])))
        });
        let checks = server.json(&["checks:report", &name])["processes"].as_array().unwrap().clone();
        let checks = checks.iter().map(|check| {
            let names = ["mode", "probe", "timeout_seconds", "initial_delay_seconds", "interval_seconds", "attempts"];
            (text(&check["process"]), json!(names.map(|name| &check[name])))
        });
        let releases = list(&["releases:list", &name]).into_iter().map(|release| {
            let number = release["release"].as_u64().unwrap();
            let sealed = server.json(&["releases:info", &name, &format!("v{number}")])["config"].clone();
            let keys: Vec<&String> = sealed.as_object().unwrap().keys().collect();
            json!([number, release["state"], short(&release["commit"]), release["actor"], release["reason"], keys])
        });
        let deploys = list(&["deploys:list", &name]).into_iter().map(|deploy| {
            let [id, kind, state, release, actor] =
                ["deploy", "kind", "state", "release", "actor"].map(|name| deploy[name].clone());
            json!([id, kind, state, release, short(&deploy["commit"]), actor])
        });
        let facts = json!({
            // What its containers do, which are not here, is another matter.
            "stopped": app["status"] == "stopped",
            "release": app["release"],
            "deploy_branch": info["deploy_branch"],
            "lock": if lock.is_null() { Value::Null } else { json!([lock["actor"], lock["message"]]) },
            "config": server.json(&["config:show", &name, "--reveal"]),
            "processes": processes.collect::<Value>(),
            "checks": checks.collect::<Value>(),
            "releases": releases.collect::<Value>(),
            "deploys": deploys.collect::<Value>(),
        });
        (name, facts)
    });
    json!({ "keys": keys.collect::<Value>(), "apps": apps.collect::<Value>() })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn short(commit: &Value) -> Option<&str> {
    commit.as_str().map(|commit| &commit[..7])
}

#[test]
fn what_a_former_version_stored_is_there_and_means_the_same() {
    for (server, expected) in instances() {
        let found = facts(&server);
        assert_eq!(found["keys"], expected["keys"]);
        for (name, app) in expected["apps"].as_object().unwrap() {
            for (fact, value) in app.as_object().unwrap() {
                assert_eq!(&found["apps"][name][fact], value, "{fact} of {name}");
            }
        }
        assert_eq!(found["apps"].as_object().unwrap().len(), expected["apps"].as_object().unwrap().len());
        // A header of a check was kept in clear.
        let mut clear = Vec::new();
        files_with(&server.root(), "X-Probe: yes", &mut clear);
        assert!(clear.iter().all(|path| path.contains("/backups/")) && !clear.is_empty(), "{clear:?}");
    }
}

#[test]
fn an_instance_of_a_former_version_goes_on() {
    for (mut server, expected) in instances() {
        let key = server.key().with_extension("pub");
        server.paas(&["ssh-keys:add", "new", &key.display().to_string()]).expect_success();
        server.start_daemon();
        // The deploy that was cut off is undone.
        server.wait_for("the end of the deploy that was cut off", std::time::Duration::from_secs(30), || {
            server.deploy_state("cut") == "failed"
        });
        // An app is frozen for as long as it was.
        server.paas(&["config:set", "shop", "A=1", "--no-restart"]).expect_failure().says("until the sale is over");
        server.paas(&["apps:unlock", "shop"]).expect_success();
        server.paas(&["config:set", "shop", "A=1", "--no-restart"]).expect_success();

        // What was set before a first deploy holds for it.
        let fresh = &expected["apps"]["fresh"];
        let repository = server.empty_repository("fresh");
        repository.become_fixture("dockerfile");
        repository
            .write("paas.toml", "processes.web = 'exec httpd -f -p $PORT -h /www'\nprocesses.worker = 'sleep 9'\n");
        repository.commit("first");
        let branch = text(&fresh["deploy_branch"]);
        run(repository.git_command(&["push", "paas", &format!("HEAD:{branch}")]).stdin(Stdio::null())).expect_success();
        let containers = server.containers();
        assert_eq!(containers.len(), 3, "{containers:?}");
        for container in containers {
            let format = "{{json .Config.Env}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
            let ran = run(docker().args(["inspect", "--format", format, &container])).expect_success();
            let (environment, restart) = ran.stdout.trim().split_once("] ").unwrap();
            assert_eq!(restart, "on-failure 5");
            let environment: Vec<String> = serde_json::from_str(&format!("{environment}]")).unwrap();
            for (key, value) in fresh["config"].as_object().unwrap() {
                assert!(environment.contains(&format!("{key}={}", text(value))), "{key}: {environment:?}");
            }
        }
        assert_eq!(server.get("fresh", "/").status, 200);
    }
}
