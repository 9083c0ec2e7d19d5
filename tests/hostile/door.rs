//! Crowds at the doors, two who mean different things at once, what cannot be meant, and secrets that slip out.

use std::{
    net::TcpStream,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::{
    harness::{PAAS, Ran, Server, command, run},
    untouched::wait_until_over,
};

/// An app that says its environment and ends, where it is told to; else a page.
const TALKER: &str = r#"FROM busybox:stable
COPY index.html /www/
USER 65534
CMD ["sh", "-c", "[ -z \"$CRASH\" ] || { env; echo \"$KEY\"; exit 3; }; env; exec httpd -f -p \"$PORT\" -h /www"]
"#;

fn deployed(server: &Server, app: &str) {
    let repository = server.empty_repository(app);
    repository.write("Dockerfile", TALKER).write("index.html", "one").commit("one");
    repository.push().expect_success();
    wait_until_over(server, app);
}

/// Begins a command and does not wait for it.
fn begin(server: &Server, arguments: &[&str]) -> Child {
    server.command(PAAS).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Ran {
    child.wait_with_output().unwrap().into()
}

/// Begins some commands while the app is held, one after the other, and returns what became of them.
fn meanwhile(server: &Server, app: &str, holder: &[&str], commands: &[&[&str]]) -> Vec<Ran> {
    let waiting = |state: &str| {
        let deploys = server.json(&["deploys:list", app]);
        deploys.as_array().unwrap().iter().filter(|deploy| deploy["state"] == state).count()
    };
    let holder = begin(server, holder);
    server.wait_for("the app to be held", Duration::from_secs(30), || waiting("checking") == 1);
    let mut begun = Vec::new();
    for command in commands {
        begun.push(begin(server, command));
        server.wait_for("it to wait", Duration::from_secs(30), || waiting("queued") == begun.len());
    }
    end(holder).expect_success();
    begun.into_iter().map(end).collect()
}

#[test]
fn a_silent_crowd_keeps_nobody_from_the_daemon() {
    let server = Server::start();
    for count in [64, 300] {
        let crowd: Vec<TcpStream> =
            (0..count).map(|_| TcpStream::connect(("127.0.0.1", server.port(0))).unwrap()).collect();
        let begun = Instant::now();
        server.ssh("apps:list").expect_success();
        assert!(begun.elapsed() < Duration::from_secs(2), "{count}: {:?}", begun.elapsed());
        drop(crowd);
    }
}

#[test]
fn two_who_mean_what_runs_now_do_not_undo_each_other() {
    let server = Server::start();
    deployed(&server, "shop");
    for value in ["1", "2", "3"] {
        server.paas(&["config:set", "shop", &format!("A={value}")]).expect_success();
    }
    let rollback = &["releases:rollback", "shop"][..];
    let current = || server.json(&["apps:info", "shop"])["release"].as_u64().unwrap();
    let value = || server.json(&["config:get", "shop", "A"])["A"].as_str().unwrap().to_owned();
    server.paas(&["checks:set", "shop", "initial-delay", "4s"]).expect_success();
    let saw = current();

    // A restart changes no release; then one of two goes back, and the other is told.
    let ran = meanwhile(&server, "shop", &["ps:restart", "shop"], &[rollback, rollback]);
    let mut codes: Vec<i32> = ran.iter().map(|ran| ran.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 6], "{}\n{}", ran[0], ran[1]);
    let told = ran.into_iter().find(|ran| ran.code == 6).unwrap();
    told.says(&format!("it runs v{}, and ran v{saw} when this was asked for", saw + 1)).says("hint: ");
    assert_eq!(current(), saw + 1);

    // A number means the same whatever came before; so do a value and a quantity.
    server.paas(&["checks:set", "shop", "initial-delay", "4s"]).expect_success();
    let set = ["config:set", "shop", "A=4"];
    let ran = meanwhile(
        &server,
        "shop",
        &set,
        &[rollback, &["releases:rollback", "shop", "v2"], &["ps:scale", "shop", "web=2"], &["ps:restart", "shop"]],
    );
    let codes: Vec<i32> = ran.iter().map(|ran| ran.code).collect();
    assert_eq!(codes, [6, 0, 0, 0], "{}", ran[1]);
    assert_eq!(value(), "1");
}

#[test]
fn a_rebuild_of_what_ran_does_not_bring_back_an_older_commit() {
    let server = Server::start();
    let repository = server.empty_repository("shop");
    repository.write("Dockerfile", TALKER).write("index.html", "one").commit("one");
    repository.push().expect_success();
    server.paas(&["checks:set", "shop", "initial-delay", "4s"]).expect_success();
    let rebuild = &["ps:rebuild", "shop"][..];
    // Of the same commit with another config it is still meant.
    let ran = meanwhile(&server, "shop", &["config:set", "shop", "A=1"], &[rebuild]);
    assert_eq!(ran[0].code, 0, "{}", ran[0]);
    repository.write("index.html", "two").commit("two");
    let push = repository.begin_push();
    server.wait_for("the push to be checked", Duration::from_secs(60), || server.deploy_state("shop") == "checking");
    let late = server.paas(rebuild);
    assert!(push.wait_with_output().unwrap().status.success());
    late.expect_code(6).says("shop was changed meanwhile");
    assert_eq!(server.get("shop", "/").body, "two");
}

#[test]
fn two_starts_are_one() {
    let server = Server::start();
    deployed(&server, "shop");
    server.paas(&["checks:set", "shop", "initial-delay", "3s"]).expect_success();
    server.paas(&["ps:stop", "shop"]).expect_success();
    let ran = meanwhile(&server, "shop", &["ps:start", "shop"], &[&["ps:start", "shop"]]);
    assert_eq!(ran[0].code, 0, "{}", ran[0]);
    assert!(!ran[0].stderr.contains("Starting web"), "{}", ran[0]);
}

#[test]
fn what_an_app_prints_of_its_config_is_kept_nowhere_in_the_clear() {
    let server = Server::start();
    let (secret, key) = ("correct horse \"battery\"", "--BEGIN canary one--\ncanary line two\n--END canary one--\n");
    server.paas(&["apps:create", "shop"]).expect_success();
    let pairs = [format!("SECRET={secret}"), format!("KEY={key}"), "CRASH=1".to_owned()];
    server.paas(&["config:set", "shop", &pairs[0], &pairs[1], &pairs[2]]).expect_success();
    let repository = server.empty_repository("shop");
    repository.write("Dockerfile", TALKER).write("index.html", "one");
    repository
        .write("Procfile", "release: env; echo \"{\\\"k\\\": \\\"$SECRET\\\"}\"\nweb: env; exit 3\n")
        .commit("one");
    let pushed = repository.push().expect_failure().says("SECRET=********");
    let as_json = server.paas(&["deploys:output", "shop"]).expect_success();
    server.paas(&["config:unset", "shop", "CRASH"]).expect_success();
    repository.write("Procfile", "web: env; exec httpd -f -p $PORT -h /www\n").commit("two");
    repository.push().expect_success();
    // An edit that fails, in JSON too; and a container that goes leaves its last lines.
    let failed = server.paas(&["ps:set", "shop", "restart", "no"]);
    let crash = ["config:set", "shop", "PORT=99", "OTHER=canary of another kind", "--format", "json"];
    let failed_json = server.paas(&crash);
    server.paas(&["ps:restart", "shop"]).expect_success();
    wait_until_over(&server, "shop");
    server.wait_for("former lines", Duration::from_secs(30), || {
        server.paas(&["logs", "shop"]).stdout.contains("SECRET=*")
    });

    for text in [secret, "canary one", "canary line two", "canary of another kind"] {
        for ran in [&pushed, &as_json, &failed, &failed_json] {
            assert!(!ran.stdout.contains(text) && !ran.stderr.contains(text), "{text}: {ran}");
        }
        let found = run(command("grep").args(["-raFl", text]).arg(server.root()));
        assert_eq!((found.code, found.stdout.as_str()), (1, ""), "{text}: {found}");
    }
}
