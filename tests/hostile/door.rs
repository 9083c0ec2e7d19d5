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
    let log_in = || {
        let begun = Instant::now();
        server.ssh("apps:list").expect_success();
        begun.elapsed()
    };
    for count in [64, 300] {
        let alone = log_in();
        let crowd: Vec<TcpStream> =
            (0..count).map(|_| TcpStream::connect(("127.0.0.1", server.port(0))).unwrap()).collect();
        let took = log_in();
        assert!(took < alone + Duration::from_secs(2), "{count}: {took:?}, and {alone:?} alone");
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

/// What is set is set whatever came before, so that two at once are as one after the other; and what runs afterwards is
/// what the settings say.
#[test]
fn two_who_change_the_checks_at_once_are_as_one_after_the_other() {
    let server = Server::start();
    deployed(&server, "shop");
    let check = |name: &str| server.json(&["checks:report", "shop"])["processes"][0][name].clone();
    let codes = |ran: &[Ran]| ran.iter().map(|ran| ran.code).collect::<Vec<_>>();
    let restart = &["ps:restart", "shop"][..];
    server.paas(&["checks:set", "shop", "initial-delay=3s", "timeout=8s"]).expect_success();

    // Of two values for one setting the later one holds; of two settings both; one that cannot work takes nothing with it.
    let ran = meanwhile(
        &server,
        "shop",
        restart,
        &[
            &["checks:set", "shop", "attempts=4"],
            &["checks:set", "shop", "path=/missing"],
            &["checks:set", "shop", "attempts=5"],
            &["checks:set", "shop", "interval=7s"],
        ],
    );
    assert_eq!(codes(&ran), [0, 1, 0, 0], "{}\n{}\n{}\n{}", ran[0], ran[1], ran[2], ran[3]);
    assert_eq!((check("attempts"), check("interval_seconds")), (5.into(), 7.into()));
    assert_eq!(server.json(&["checks:report", "shop"]).to_string().find("missing"), None);

    // To go back is relative to what runs, and the checks are a part of that.
    let rollback = &["releases:rollback", "shop"][..];
    let ran = meanwhile(&server, "shop", restart, &[&["checks:set", "shop", "attempts=6"], rollback]);
    assert_eq!(codes(&ran), [0, 6], "{}\n{}", ran[0], ran[1]);
    assert_eq!(check("attempts"), 6);

    // All types are those that somebody saw: not one that another command means otherwise since then.
    let all = &["checks:disable", "shop"][..];
    let ran = meanwhile(&server, "shop", restart, &[&["checks:skip", "shop", "web"], all]);
    assert_eq!(codes(&ran), [0, 6], "{}\n{}", ran[0], ran[1]);
    assert_eq!(check("mode"), "skipped");
    server.paas(all).expect_success();
    assert_eq!(check("mode"), "disabled");
    server.paas(&["checks:enable", "shop"]).expect_success();
    assert_eq!(check("mode"), "enabled");
    wait_until_over(&server, "shop");
    assert_eq!((server.get("shop", "/").body.as_str(), server.containers().len()), ("one", 1));
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

#[test]
fn what_can_never_work_is_refused_when_it_is_typed() {
    let server = Server::prepare(&[]);
    server.paas(&["apps:create", "k"]).expect_success();
    server.paas(&["config:set", "k", "A=1"]).expect_success();
    let (long, name) = ("a".repeat(70_000), "b".repeat(300));
    let path = format!("path=/{long}");
    let refused: &[(&[&str], &str)] = &[
        (&["checks:set", "k", &path], "8000 are the most"),
        (&["checks:set", "k", "path=/a b"], "it is a path such as /health"),
        (&["checks:set", "k", "path=/a#b"], "it is a path such as /health"),
        (&["checks:set", "k", "path=/<a>"], "it is a path such as /health"),
        (&["checks:set", "k", "path=health"], "it is a path such as /health"),
        (&["checks:set", "k", "path=/a\nb"], "it is a path such as /health"),
        (&["checks:set", "k", "port=0"], "from 1 to 65535"),
        (&["checks:set", "k", "port=65536"], "from 1 to 65535"),
        (&["checks:set", "k", "port=+80"], "from 1 to 65535"),
        (&["checks:set", "k", "status=101"], "from 200 to 599"),
        (&["checks:set", "k", "status=600"], "from 200 to 599"),
        (&["checks:set", "k", "attempts=0"], "from 1 to 100"),
        (&["checks:set", "k", "timeout=0s"], "a time from 1s to 1h"),
        (&["checks:set", "k", "timeout=-1s"], "a time from 1s to 1h"),
        (&["checks:set", "k", "timeout=+5s"], "a time from 1s to 1h"),
        (&["checks:set", "k", "timeout=99999999999999999999h"], "a time from 1s to 1h"),
        (&["checks:set", "k", "headers=;"], "a name, a colon and a value"),
        (&["checks:set", "k", "headers=X: \u{1}"], "a name, a colon and a value"),
        (&["checks:set", "k", "type=http", "type=tcp"], "type is there twice"),
        (&["checks:set", "k", "--process", "release", "path=/x"], "is not checked"),
        (&["checks:skip", "k", "web,web"], "there twice"),
        (&["checks:disable", "k", "release"], "is not checked"),
        (&["apps:set", "k", "deploy-branch", "refs/heads/main"], "write the name of the branch alone: main"),
        (&["apps:set", "k", "deploy-branch", "refs/tags/v1"], "only branches deploy"),
        (&["apps:set", "k", "deploy-branch", &name], "too long for a file"),
        (&["apps:set", "k", "deploy-branch", "HEAD"], "git has HEAD for something else"),
        (&["apps:set", "k", "deploy-branch", "a..b"], "it is a branch name"),
        (&["apps:set", "k", "rev-env-var", "A,B,A"], "one of the names is there twice"),
        (&["apps:set", "k", "rev-env-var", "A,,B"], "names of variables"),
        (&["apps:set", "k", "keep.images=0"], "from 1 to 1000"),
        (&["apps:set", "k", "keep.former-log=0m"], "at least 1m"),
        (&["ps:scale", "k", "web=2", "web=3"], "web is there twice"),
        (&["ps:scale", "k", "release=1"], "a task that each deploy runs once"),
        (&["ps:scale", "k", "web=101"], "a number from 0 to 100"),
        (&["ps:scale", "k", "web=-1"], "a number from 0 to 100"),
        (&["ps:scale", "k", "web=+1"], "a number from 0 to 100"),
        (&["ps:scale", "k", "web=4294967297"], "a number from 0 to 100"),
        (&["ps:scale", "k", "web="], "a number from 0 to 100"),
        (&["ps:scale", "k", "Web=1"], "process type"),
        (&["ps:set", "k", "memory=5m"], "at least 6m"),
        (&["ps:set", "k", "memory=1e3m"], "an amount of memory"),
        (&["ps:set", "k", "memory=-1g"], "an amount of memory"),
        (&["ps:set", "k", "memory=99999999999999g"], "an amount of memory"),
        (&["ps:set", "k", "cpus=0"], "from 0.01 to 1024"),
        (&["ps:set", "k", "cpus=nan"], "from 0.01 to 1024"),
        (&["ps:set", "k", "cpus=1e2"], "from 0.01 to 1024"),
        (&["ps:set", "k", "restart=on-failure:0"], "on-failure:TIMES"),
        (&["ps:set", "k", "restart=on-failure:+1"], "on-failure:TIMES"),
        (&["ps:set", "k", "procfile-path=../x"], "the path of a file"),
        (&["ps:set", "k", "procfile-path", &name], "the path of a file"),
        (&["ps:restart", "k", "web.1"], "process type"),
        (&["config:unset", "k", "A", "A"], "A is there twice"),
        (&["config:set", "k", "B=1", "B=2"], "B is there twice"),
        (&["settings:set", "min_free_mb=18446744073709551615"], "from 0 to 1000000000"),
        (&["settings:set", "build_concurrency=0"], "from 1 to 16"),
        (&["apps:create", &name], "1 to 63 lower-case letters"),
        (&["apps:create", "paas"], "the name is reserved"),
        (&["apps:lock", "k", "-m", &long], "the message has 1 to 1000 bytes"),
        (&["apps:lock", "k", "-m", " "], "the message has 1 to 1000 bytes"),
        (&["releases:rollback", "k", "v0"], "a number such as v12"),
        (&["releases:rollback", "k", "v+1"], "a number such as v12"),
        (&["releases:rollback", "k", "v99999999999"], "a number such as v12"),
        (&["releases:list", "k", "-n", "0"], "0"),
        (&["deploys:list", "k", "-n", "0"], "0"),
        (&["operations:list", "-n", "0"], "0"),
        (&["events", "-n", "0"], "0"),
        (&["events", "--since", "+5m"], "such as 90s"),
        (&["events", "--since", "99999999999d"], "such as 90s"),
        (&["checks:run", "k", "web.0"], "TYPE.NUMBER"),
        (&["checks:run", "k", "web.+1"], "TYPE.NUMBER"),
        (&["ssh-keys:add", "a\nb", "/dev/null"], "key name"),
        (&["ssh-keys:add", &name, "/dev/null"], "key name"),
    ];
    for (words, said) in refused {
        let ran = server.paas(words).expect_code(2).says(said);
        assert!(ran.stderr.len() < 2000, "{words:.40?} answers with {} bytes", ran.stderr.len());
    }
    // Nothing of it was kept, and what is right is still taken.
    assert_eq!(server.paas(&["config:get", "k", "A"]).expect_success().stdout, "1\n");
    for words in [
        &["checks:set", "k", "path=/health?deep=1&x=%20", "status=401", "headers=X-A: b; X-C: d"][..],
        &["apps:set", "k", "deploy-branch", "feature/refs"],
        &["apps:set", "k", "rev-env-var", "none"],
        &["ps:set", "k", "memory=1.5g", "cpus=0.5", "restart=on-failure:3"],
        &["ps:set", "k", "--process", "release", "memory=64m"],
        &["ps:scale", "k", "web=0", "worker=100"],
        &["config:unset", "k", "A"],
        &["settings:set", "min_free_mb=0"],
        &["events", "-n", "1", "--since", "7d"],
    ] {
        server.paas(words).expect_success();
    }
}
