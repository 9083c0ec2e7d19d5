//! Secrets stay secret: a config value is in the environment of the app's containers, and nowhere else.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    harness::{Server, docker, run},
    processes::processes,
    untouched::wait_until_over,
};

/// Looks at the arguments of all processes, again and again, for a value.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(u64, Option<String>)>,
}

impl Watch {
    fn start(value: &str) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (value, stopped) = (value.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut looks, mut seen) = (0, None);
            while !stopped.load(Ordering::Relaxed) {
                looks += 1;
                processes(|arguments, _| {
                    // The client that was given it has it; that is the user's own machine.
                    if arguments.contains(&value) && !arguments.starts_with("ssh\0") {
                        seen = Some(arguments.to_owned());
                    }
                    false
                });
            }
            (looks, seen)
        });
        Watch { stop, thread }
    }

    /// What had the value among its arguments.
    fn stop(self) -> Option<String> {
        self.stop.store(true, Ordering::Relaxed);
        let (looks, seen) = self.thread.join().unwrap();
        assert!(looks > 0);
        seen
    }
}

/// The files below a directory that contain a text.
pub fn files_with(directory: &Path, text: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files_with(&path, text, found);
        } else if std::fs::read(&path).unwrap_or_default().windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn a_config_value_is_in_the_environment_of_the_app_and_nowhere_else() {
    let server = Server::start_with(&[("PAAS_LOG", "trace")]);
    let repository = server.repository("dockerfile", "blog");
    let (here, remote) = ("value-1f8a2c-set-here", "value-9b3d7e-set-over-ssh");
    // A header of a check is no variable, and as secret.
    let header = "value-5c0e4d-of-a-header";
    server.paas(&["apps:create", "blog"]).expect_success();
    let mut said = String::new();
    let ran = server.paas(&["config:set", "blog", &format!("HERE={here}")]).expect_success();
    said.push_str(&ran.to_string());
    said.push_str(&repository.push().expect_success().to_string());
    let watch = Watch::start(remote);
    said.push_str(&server.ssh(&format!("config:set blog REMOTE={remote}")).expect_success().to_string());
    assert_eq!(watch.stop(), None, "the arguments of a process");
    let set = server.ssh(&format!("checks:set blog 'headers=Authorization: Bearer {header}'")).expect_success();
    said.push_str(&set.to_string());
    said.push_str(&server.paas(&["checks:set", "-p", "web", "blog", &format!("headers=X-Key: {header}")]).to_string());
    wait_until_over(&server, "blog");

    // A deploy that fails with them, and one that builds with them.
    repository.become_fixture("broken-exit").commit("broken");
    said.push_str(&repository.push().expect_code(1).to_string());
    repository.become_fixture("dockerfile").commit("mended");
    said.push_str(&repository.push().expect_success().to_string());
    wait_until_over(&server, "blog");
    for arguments in [
        &["config:show", "blog"][..],
        &["config:show", "blog", "--format", "json"],
        &["apps:info", "blog", "--format", "json"],
        &["deploys:list", "blog", "--format", "json"],
        &["deploys:info", "blog", "--format", "json"],
        &["deploys:output", "blog"],
        &["logs", "blog"],
        &["checks:report", "blog"],
        &["checks:report", "blog", "--format", "json"],
        &["ps:report", "blog", "--format", "json"],
        &["releases:info", "blog", "--format", "json"],
        &["events", "--format", "json"],
        &["operations:list", "--format", "json"],
    ] {
        said.push_str(&server.paas(arguments).expect_success().to_string());
        said.push_str(&server.ssh(&arguments.join(" ")).expect_success().to_string());
    }
    // What is typed wrong may be a secret, too.
    for typed in [format!("1WRONG={here}"), format!("A-KEY={remote}"), here.to_owned()] {
        said.push_str(&server.ssh(&format!("config:set blog '{typed}'")).expect_code(2).to_string());
        said.push_str(&server.ssh(&format!("config:set blog 'GOOD={remote}' '{typed}'")).expect_code(2).to_string());
    }

    let containers = server.containers();
    assert_eq!(containers.len(), 1, "{containers:?}");
    let environment = run(docker().args(["inspect", "-f", "{{json .Config.Env}}", &containers[0]])).stdout;
    for value in [here, remote, header] {
        assert_eq!(environment.contains(value), value != header, "{environment}");
        assert!(!said.contains(value), "{said}");
        assert!(!server.daemon_output().contains(value), "the daemon's log");
        let mut files = Vec::new();
        files_with(&server.root(), value, &mut files);
        assert_eq!(files, Vec::<String>::new());
        for image in server.images() {
            for arguments in [&["history", "--no-trunc", &image][..], &["inspect", &image]] {
                let ran = run(docker().args(arguments)).expect_success();
                assert!(!ran.stdout.contains(value), "{arguments:?}: {ran}");
            }
        }
        let rest =
            run(docker().args(["inspect", "-f", "{{.Path}} {{.Args}} {{.Config.Labels}} {{.Name}}", &containers[0]]));
        assert!(!rest.stdout.contains(value), "{rest}");
    }

    // Who asks for it gets it.
    assert_eq!(server.paas(&["config:get", "blog", "HERE"]).expect_success().stdout, format!("{here}\n"));
    assert_eq!(server.ssh("config:get blog REMOTE").expect_success().stdout, format!("{remote}\n"));
    let masked = server.ssh("config:show blog").expect_success().stdout;
    assert!(masked.contains("HERE") && masked.contains("REMOTE") && masked.contains("********"), "{masked}");
    let revealed = server.ssh("config:show blog --reveal").expect_success().stdout;
    assert!(revealed.contains(here) && revealed.contains(remote), "{revealed}");
    let json = server.json(&["config:show", "blog", "--reveal"]);
    assert_eq!((json["HERE"].as_str(), json["REMOTE"].as_str()), (Some(here), Some(remote)));
}

/// The values of an app's config, and what its releases keep of it.
fn values(server: &Server) -> Vec<serde_json::Value> {
    ["config:show", "releases:info"].map(|command| server.json(&[command, "blog", "--reveal"])).to_vec()
}

#[test]
fn a_rotation_seals_everything_anew_while_the_daemon_and_deploys_go_on() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    server.paas(&["config:set", "blog", "SECRET=hunter2", "OTHER=two words"]).expect_success();
    wait_until_over(&server, "blog");
    let key = server.root().join("secret.key");
    let before = (values(&server), std::fs::read_to_string(&key).unwrap());

    let rotated = server.json(&["secrets:rotate"]);
    assert_eq!(rotated["values"], 2 + 2, "two variables, two releases: {rotated}");
    let after = std::fs::read_to_string(&key).unwrap();
    assert_ne!(after, before.1);
    assert_eq!(after.lines().count(), 1);
    assert_eq!(values(&server), before.0);
    // The daemon has read the former key; what it starts, and it itself, work on.
    repository.write("more", "x").commit("more");
    repository.push().expect_success();
    wait_until_over(&server, "blog");
    let containers = server.containers();
    let environment = run(docker().args(["inspect", "-f", "{{json .Config.Env}}", &containers[0]])).stdout;
    assert!(environment.contains("SECRET=hunter2"), "{environment}");
    // The daemon makes a container that is gone anew, with the config that it opens by the new key.
    run(docker().args(["rm", "-f", &containers[0]])).expect_success();
    server.wait_for("the container to be made anew", std::time::Duration::from_secs(60), || {
        server.try_get("blog.localhost", "/").is_ok_and(|answer| answer.status == 200)
    });
    server.paas(&["releases:rollback", "blog", "v2"]).expect_success();
    wait_until_over(&server, "blog");

    // With the former key nothing opens, and nothing is sealed.
    std::fs::write(&key, before.1).unwrap();
    server.paas(&["config:show", "blog"]).expect_failure();
    server.paas(&["config:set", "blog", "MORE=1"]).expect_failure();
    std::fs::write(&key, after).unwrap();
    assert_eq!(server.paas(&["config:get", "blog", "SECRET"]).expect_success().stdout, "hunter2\n");
}

#[test]
fn a_rotation_that_is_killed_leaves_everything_readable() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    server.paas(&["config:set", "blog", "SECRET=hunter2"]).expect_success();
    server.paas(&["checks:set", "blog", "headers=X-Key: hunter3"]).expect_success();
    wait_until_over(&server, "blog");
    let key = server.root().join("secret.key");
    let before = values(&server);
    for point in ["rotate-both", "rotate-sealed", "rotate-committed"] {
        let mut rotate = server.command(crate::harness::PAAS);
        run(rotate.arg("secrets:rotate").env("PAAS_TEST_DIE_ON", point)).expect_failure();
        assert_eq!(std::fs::read_to_string(&key).unwrap().lines().count(), 2, "{point}");
        assert_eq!(values(&server), before, "{point}");
        // The key that the database names is one of those that the file holds.
        assert!(server.json(&["report"])["secret_key"]["up"].is_string(), "{point}");
        server.paas(&["config:set", "blog", &format!("AT={point}"), "--no-restart"]).expect_success();
        assert_eq!(server.paas(&["config:get", "blog", "AT"]).expect_success().stdout, format!("{point}\n"));
        // What it left is put away by the next sweep, and all opens still.
        server.paas(&["cleanup"]).expect_success();
        assert_eq!(std::fs::read_to_string(&key).unwrap().lines().count(), 1, "{point}");
        assert_eq!(server.paas(&["config:get", "blog", "SECRET"]).expect_success().stdout, "hunter2\n");
        // The header is part of the release, and opens too.
        server.paas(&["checks:run", "blog"]).expect_success();
        server.paas(&["config:unset", "blog", "AT", "--no-restart"]).expect_success();
    }
    server.paas(&["secrets:rotate"]).expect_success();
    assert_eq!(values(&server), before);
}
