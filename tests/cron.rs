//! Crons, end to end: real containers, a real daemon, and one real minute.

use std::{
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::{
    harness::{PAAS, Ran, Repository, Server, docker, instance_id, run},
    sound::query,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server, and an app on it that has no process but these crons.
fn with_crons(server: &Server, app: &str, crons: &str) -> Repository {
    let repository = server.repository("dockerfile", app);
    write_crons(&repository, crons);
    repository.push().expect_success();
    repository
}

fn write_crons(repository: &Repository, crons: &str) {
    repository.write("paas.toml", &format!("[processes.web]\nscale = 0\n{crons}"));
    repository.commit("crons");
}

/// One cron in the form of paas.toml.
fn cron(name: &str, schedule: &str, command: &str, more: &str) -> String {
    format!("[[cron]]\nname = {name:?}\nschedule = {schedule:?}\ncommand = {command:?}\n{more}\n")
}

fn history(server: &Server, app: &str) -> Vec<Value> {
    server.json(&["cron:history", app]).as_array().unwrap().clone()
}

/// The newest run of a cron.
fn newest(server: &Server, app: &str, name: &str) -> Value {
    history(server, app).into_iter().find(|run| run["name"] == name).unwrap_or_default()
}

/// The containers of an app that run a cron.
fn containers(server: &Server, app: &str) -> Vec<String> {
    let id = instance_id(&server.root()).unwrap();
    let filter = format!("label=paas.instance={id}");
    let ran = run(docker().args(["ps", "-a", "--format", "{{.Names}}", "--filter", &filter])).expect_success();
    let is_cron = |name: &&str| name.starts_with(&format!("paas-{id}-{app}-")) && name.contains("-cron-");
    ran.stdout.lines().filter(is_cron).map(str::to_owned).collect()
}

/// Waits until nothing of crons is in the engine or in the tables any more.
fn wait_until_clean(server: &Server, app: &str) {
    server.wait_for("the containers to go", PATIENCE, || containers(server, app).is_empty());
    server.wait_for("their rows to go", PATIENCE, || {
        query(server, "SELECT name FROM containers WHERE state = 'once'", |row| row.get::<_, String>(0)).is_empty()
    });
}

fn failures(server: &Server) -> Vec<String> {
    let events = server.json(&["events", "--action", "cron:run", "--outcome", "failed"]);
    events.as_array().unwrap().iter().map(|event| event["detail"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_cron_runs_now_with_the_config_and_its_output_and_exit_code_are_on_record() {
    let server = Server::start();
    let crons = [
        cron("good", "@yearly", "echo \"$GREETING, $PAAS_PROCESS\"; echo \"$SECRET\"; printf 'no newline'", ""),
        cron("bad", "@yearly", "echo trouble >&2; exit 3", ""),
        cron("limit", "@yearly", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; true", ""),
    ];
    let repository = with_crons(&server, "blog", &crons.concat());
    server.paas(&["config:set", "blog", "GREETING=hello there", "SECRET=not-for-the-record"]).expect_success();

    let ran = server.paas(&["cron:run", "blog", "good"]).expect_success();
    let id = newest(&server, "blog", "good")["run"].as_i64().unwrap();
    assert_eq!(ran.stdout, format!("********, cron-good.{id}\n********\nno newline\n"), "{ran}");
    let found = newest(&server, "blog", "good");
    assert_eq!((&found["state"], &found["exit_code"]), (&"done".into(), &0.into()), "{found}");
    assert!(found["asked_by"].is_string() && found["took_seconds"].is_f64(), "{found}");

    let ran = server.paas(&["cron:run", "blog", "bad"]).expect_code(1).says("bad of blog failed: exit code 3");
    assert_eq!(ran.stdout, "trouble\n");
    let bad = newest(&server, "blog", "bad");
    assert_eq!((&bad["state"], &bad["exit_code"], &bad["output"]), (&"failed".into(), &3.into(), &"trouble".into()));
    assert!(failures(&server).iter().any(|detail| detail.starts_with("bad, run ")), "{:?}", failures(&server));
    let one = server.paas(&["cron:history", "blog", "--run", &bad["run"].to_string()]).expect_success();
    assert!(one.stdout.contains("exit 3") && one.stdout.ends_with("trouble\n"), "{one}");
    server.paas(&["cron:run", "blog", "ugly"]).expect_code(3).says("blog has no cron named ugly");
    // It has limits of its own, as any process.
    server.paas(&["ps:set", "blog", "--process", "cron-ugly", "memory=64m"]).expect_code(3);
    server.paas(&["ps:set", "blog", "--process", "cron-limit", "memory=64m"]).expect_success();
    server.paas(&["cron:run", "blog", "limit"]).expect_success();
    let limit = newest(&server, "blog", "limit");
    assert!(limit["output"].as_str().unwrap().lines().any(|line| line == (64 << 20).to_string()), "{limit}");
    wait_until_clean(&server, "blog");

    assert_eq!(server.json(&["apps:list"])[0]["status"], "live");
    // Those of the file are those of the release that serves: of the next, and after a rollback of the one before.
    let names = || {
        let list = server.json(&["cron:list", "blog"]);
        list.as_array().unwrap().iter().map(|cron| cron["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["bad", "good", "limit"]);
    server.paas(&["cron:add", "blog", "own", "30 4 * * *", "true", "--timezone", "europe/berlin"]).expect_success();
    write_crons(&repository, &cron("other", "@daily", "true", ""));
    let push = repository.push().expect_success();
    assert!(push.talk().contains("Crons: other (@daily)"), "{push}");
    assert_eq!(names(), ["other", "own"]);
    server.paas(&["releases:rollback", "blog"]).expect_success();
    assert_eq!(names(), ["bad", "good", "limit", "own"]);
    server.paas(&["cron:remove", "blog", "good"]).expect_code(4).says("good is in the source of blog");
    server.paas(&["cron:remove", "blog", "own"]).expect_success();
    assert_eq!(names(), ["bad", "good", "limit"]);
    server.paas(&["apps:destroy", "blog", "--force"]).expect_success();
    let left = query(&server, "SELECT name FROM jobs WHERE name = 'cron'", |row| row.get::<_, String>(0));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_minute_passes_and_each_time_that_is_due_has_one_run() {
    let mut server = Server::start();
    let crons =
        [cron("minutely", "* * * * *", "date +%s", ""), cron("sleeper", "* * * * *", "sleep 3600", "suspended = true")];
    let repository = with_crons(&server, "blog", &crons.concat());
    let list = server.json(&["cron:list"]);
    let next_at = list[0]["next_at"].as_str().unwrap().to_owned();
    assert!(next_at.ends_with(":00Z") && list[1]["next_at"].is_null(), "{list}");
    assert_eq!(list[1]["waits_because"], "suspended");
    // In the middle of it: a restart of the daemon, and a deploy.
    server.stop_daemon();
    server.start_daemon();
    repository.commit("again");
    repository.push().expect_success();
    server.wait_for("the run", PATIENCE, || newest(&server, "blog", "minutely")["state"] == "done");
    let runs = history(&server, "blog");
    let mut due: Vec<&str> = runs.iter().map(|run| run["due_at"].as_str().unwrap()).collect();
    assert!(due.contains(&next_at.as_str()), "{runs:?}");
    due.dedup();
    assert_eq!(due.len(), runs.len(), "{runs:?}");
    assert!(runs.iter().all(|run| run["name"] == "minutely" && run["asked_by"].is_null()), "{runs:?}");

    // Suspended, it waits for nothing; and what its schedule would have had meanwhile is not made up for.
    server.paas(&["cron:suspend", "blog", "minutely"]).expect_success();
    server.paas(&["cron:suspend", "blog", "minutely"]).expect_success().says("nothing to change");
    server.wait_for("its row to go", PATIENCE, || {
        query(&server, "SELECT id FROM jobs WHERE name = 'cron' AND state = 'waiting'", |row| row.get::<_, i64>(0))
            .is_empty()
    });
    server.paas(&["cron:resume", "blog", "minutely"]).expect_success().says("minutely runs next at ");
    wait_until_clean(&server, "blog");
}

#[test]
fn overlaps_and_time_limits_are_kept() {
    let server = Server::start();
    let crons = [
        cron("one", "@yearly", "sleep 3600", ""),
        cron("many", "@yearly", "sleep 2", "overlap = \"allow\""),
        cron("last", "@yearly", "sleep 3600", "overlap = \"replace\""),
        cron("short", "@yearly", "echo begun; sleep 3600", "timeout = \"1s\""),
    ];
    with_crons(&server, "blog", &crons.concat());
    let detached = |name: &str| -> Ran { server.paas(&["cron:run", "blog", name, "--detach"]) };
    let wait_for_state = |name: &str, state: &str| {
        server.wait_for(&format!("{name} to be {state}"), PATIENCE, || newest(&server, "blog", name)["state"] == state);
    };
    let count =
        |name: &str| containers(&server, "blog").iter().filter(|it| it.contains(&format!("-cron-{name}-"))).count();

    detached("one").expect_success();
    wait_for_state("one", "running");
    detached("one").expect_code(6).says("one of blog runs already");

    detached("many").expect_success();
    detached("many").expect_success();
    server.wait_for("both to run", PATIENCE, || count("many") == 2);

    detached("last").expect_success();
    server.wait_for("the first", PATIENCE, || count("last") == 1);
    let first = newest(&server, "blog", "last")["run"].clone();
    detached("last").expect_success();
    server.wait_for("its successor", PATIENCE, || {
        newest(&server, "blog", "last")["run"] != first && newest(&server, "blog", "last")["state"] == "running"
    });
    server.wait_for("the first to be over", PATIENCE, || {
        history(&server, "blog").iter().any(|run| run["run"] == first && run["state"] == "interrupted")
    });
    let replaced = history(&server, "blog").into_iter().find(|run| run["run"] == first).unwrap();
    assert!(replaced["outcome"].as_str().unwrap().ends_with("took its place"), "{replaced}");

    let begun = Instant::now();
    server.paas(&["cron:run", "blog", "short"]).expect_code(1).says("longer than its limit of 1.0 s");
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(newest(&server, "blog", "short")["output"], "begun");

    // A stopped app has no new runs; an app that goes takes its runs along.
    server.paas(&["ps:stop", "blog"]).expect_success();
    assert_eq!(server.json(&["cron:list", "blog"])[0]["waits_because"], "the app is stopped");
    detached("short").expect_code(4).says("blog does not run");
    assert_eq!(newest(&server, "blog", "one")["state"], "running");
    server.paas(&["apps:destroy", "blog", "--force"]).expect_success();
    wait_until_clean(&server, "blog");
}

#[test]
fn a_run_outlives_the_daemon_and_is_followed_to_its_end_by_the_next() {
    let mut server = Server::start();
    let crons = [
        cron("slow", "@yearly", "echo begun; sleep 8; echo \"over, $GREETING\"; exit 4", ""),
        cron("again", "@yearly", "true", "interrupted = \"repeat\""),
    ];
    with_crons(&server, "blog", &crons.concat());
    server.paas(&["cron:run", "blog", "slow", "--detach"]).expect_success();
    server.wait_for("its container", PATIENCE, || !containers(&server, "blog").is_empty());
    server.kill_daemon();
    server.start_daemon();
    // A deploy meanwhile leaves it alone, with the config that it began with.
    server.paas(&["config:set", "blog", "GREETING=hello"]).expect_success();
    assert_eq!(newest(&server, "blog", "slow")["state"], "running");
    server.wait_for("its end", PATIENCE, || newest(&server, "blog", "slow")["state"] == "failed");
    let slow = newest(&server, "blog", "slow");
    assert_eq!((&slow["exit_code"], &slow["output"]), (&4.into(), &"begun\nover, ".into()), "{slow}");
    assert_eq!(slow["release"], 1);
    assert_eq!(history(&server, "blog").len(), 1);

    // Killed between each step and the next: the run is never begun twice, and nothing is left over.
    for (point, state) in
        [("cron-begun", "interrupted"), ("cron-started", "done"), ("cron-ended", "done"), ("cron-written", "done")]
    {
        server.stop_daemon();
        let mut command = server.command(PAAS);
        command.arg("serve").env("PAAS_TEST_DIE_ON", point);
        let mut dying = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        server.wait_for("the daemon", PATIENCE, || server.paas(&["cron:run", "blog", "again", "--detach"]).code == 0);
        dying.wait().unwrap();
        server.start_daemon();
        let is_of_daemon = |run: &&Value| run["asked_by"] == "daemon";
        let runs = || history(&server, "blog");
        server.wait_for(&format!("the end after {point}"), PATIENCE, || {
            runs().iter().all(|run| run["state"] != "running" && run["state"] != "waiting")
        });
        let own = runs().into_iter().find(|run| run["name"] == "again" && run["asked_by"] != "daemon").unwrap();
        assert_eq!(own["state"], state, "{point}: {own}");
        if point == "cron-begun" {
            server.wait_for("the second attempt", PATIENCE, || runs().iter().any(|run| run["attempt"] == 2));
            server.wait_for("its end", PATIENCE, || runs()[0]["state"] == "done");
            assert_eq!(runs().iter().filter(is_of_daemon).count(), 1);
        }
        wait_until_clean(&server, "blog");
    }
}

#[test]
fn what_is_no_cron_is_refused_and_hostile_words_stay_in_the_container() {
    let server = Server::start();
    let canary = server.directory.path().join("canary");
    let touch = format!("touch {}", canary.display());
    with_crons(
        &server,
        "blog",
        &cron("x", "@daily", &format!("{touch}; printf '\\\\033[2Jgone\\\\n'; echo $(id -un)"), ""),
    );
    for (schedule, why) in [
        ("@reboot", "a container has no boot"),
        ("* * * *", "five fields"),
        ("0 0 30 2 *", "no month that it names has such a day"),
        (&format!("* * * * $({touch})"), "five fields"),
        (&format!("`{touch}` * * * *"), "five fields"),
    ] {
        server.paas(&["cron:add", "blog", "y", schedule, "true"]).expect_code(2).says(why);
    }
    for name in ["../x", "Y", "", &"y".repeat(33), "$(id)"] {
        server.paas(&["cron:add", "blog", name, "@daily", "true"]).expect_code(2);
    }
    server.paas(&["cron:add", "blog", "y", "@daily", "true", "--timezone", "../../etc/passwd"]).expect_code(2);
    let hostile = format!("echo 'a\"b'; {touch}; printf '\\033]0;title\\007'");
    server.paas(&["cron:add", "blog", "y", "@daily", &hostile]).expect_success();
    assert_eq!(server.json(&["cron:list", "blog"])[1]["command"], hostile.as_str());
    for name in ["x", "y"] {
        let ran = server.paas(&["cron:run", "blog", name]);
        assert!(!ran.stdout.contains("\u{1b}[2J") && !ran.stdout.contains("\u{1b}]"), "{ran}");
    }
    for arguments in [&["cron:list", "blog"][..], &["cron:history", "blog"], &["cron:history", "blog", "x"]] {
        let ran = server.paas(arguments).expect_success();
        assert!(!ran.stdout.contains('\u{1b}'), "{ran}");
    }
    server.paas(&["cron:add", "blog", "y", "@daily", &hostile]).expect_success().says("nothing to change");
    server.paas(&["cron:remove", "blog", "y"]).expect_success();
    assert!(!canary.exists());
}

#[test]
fn what_was_due_while_the_server_was_away_is_shown_and_handled_as_its_property_says() {
    let mut server = Server::start();
    // Twelve hours from now, so that no day's time is just over.
    let hours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600;
    let daily = format!("0 {} * * *", (hours + 12) % 24);
    let crons = [
        cron("often", "* * * * *", "true", ""),
        cron("once", &daily, "true", "timezone = \"UTC\"\nmissed = \"run-once\""),
        cron("skipped", &daily, "true", "timezone = \"UTC\""),
    ];
    with_crons(&server, "blog", &crons.concat());
    let waiting = "SELECT id FROM jobs WHERE name = 'cron' AND state = 'waiting'";
    let count = |sql: &str| query(&server, sql, |row| row.get::<_, i64>(0)).len();
    server.wait_for("the plan", PATIENCE, || count(waiting) == 3);
    server.stop_daemon();
    // As if it had been away for three days and ten minutes.
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let day = 24 * 3600 * 1000;
    let of_day = "UPDATE jobs SET due_at = due_at - 4 * ?1 WHERE name = 'cron' AND state = 'waiting' AND subject NOT LIKE '%/often'";
    assert_eq!(database.execute(of_day, [day]).unwrap(), 2);
    let of_minute =
        "UPDATE jobs SET due_at = due_at - 600000 WHERE name = 'cron' AND state = 'waiting' AND subject LIKE '%/often'";
    assert_eq!(database.execute(of_minute, []).unwrap(), 1);
    drop(database);
    server.start_daemon();
    server.wait_for("the run of the newest minute", PATIENCE, || newest(&server, "blog", "often")["state"] == "done");
    server.wait_for("the one run", PATIENCE, || newest(&server, "blog", "once")["state"] == "done");
    let runs = history(&server, "blog");
    let of = |name: &str| runs.iter().filter(|run| run["name"] == name).collect::<Vec<_>>();
    let missed = |name: &str| {
        let missed = of(name).into_iter().find(|run| run["state"] == "missed").unwrap_or_else(|| panic!("{runs:?}"));
        assert!(missed["started_at"].is_null() && missed["output"] == "", "{missed}");
        missed["outcome"].as_str().unwrap().to_owned()
    };
    assert!(missed("often").starts_with("10 times") || missed("often").starts_with("9 times"), "{runs:?}");
    assert!(missed("once").starts_with("3 times"), "{runs:?}");
    assert!(missed("skipped").starts_with("4 times"), "{runs:?}");
    let begun = |name: &str| of(name).iter().filter(|run| !run["started_at"].is_null()).count();
    assert_eq!((begun("once"), begun("skipped")), (1, 0), "{runs:?}");
    let list = server.paas(&["cron:list", "blog"]).expect_success();
    let line = list.stdout.lines().find(|line| line.contains(" skipped ")).unwrap();
    assert!(line.contains("  missed  4 times without a run"), "{list}");
}

#[test]
fn an_app_may_have_crons_alone() {
    let server = Server::start();
    let repository = server.empty_repository("jobs");
    repository.write("package.json", "{}");
    repository.write("app.json", r#"{"cron": [{"command": "node -p 6*7", "schedule": "@daily"}]}"#);
    repository.commit("first");
    let push = repository.push().expect_success();
    assert!(push.talk().contains("Processes: none, only crons"), "{push}");
    assert!(push.talk().contains("jobs has no web process, so it has no URL"), "{push}");
    let list = server.paas(&["apps:list"]).expect_success();
    assert!(list.stdout.contains("jobs  live: no process, only crons  v1"), "{list}");
    assert_eq!(server.paas(&["cron:run", "jobs", "node-p-6-7"]).expect_success().stdout, "42\n");
    server.wait_for("its container to go", PATIENCE, || server.containers().is_empty());
}
