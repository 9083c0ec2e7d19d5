//! Work on what a stranger pushed ends within a second, whatever it is and whoever ends it: a cancel, the end of the app,
//! a newer push, the machine that shuts down.

use std::{
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::bounds::{ENDLESS, bomb, own_buildpack, renders, write};
use crate::{
    harness::{PAAS, Ran, Repository, Server, command, run},
    processes::{deploying, processes, sleeps, unique_seconds},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end.
const LIMIT: Duration = Duration::from_secs(1);
/// How often it is tried, of which once must be within the limit: a loaded machine may be slow, a wait of ours is always
/// there.
const TRIES: u32 = 4;

/// All limits are so high that only somebody can end it.
const SETTINGS: [(&str, &str); 7] = [
    ("PAAS_TEMPLATE_MAX_TIME", "10m"),
    ("PAAS_SOURCE_MAX_TIME", "10m"),
    ("PAAS_SOURCE_MAX_FILES", "100000000"),
    ("PAAS_SOURCE_MAX_PATHS", "100g"),
    ("PAAS_DEPLOY_MEMORY_MB", "6000"),
    ("PAAS_BUILD_CONCURRENCY", "4"),
    ("PAAS_SUBMODULE_PRIVATE_ADDRESSES", "true"),
];

/// What takes long, the state in which it does, and how it is made.
type Case = (&'static str, &'static str, fn(&Server, &Repository));

const CASES: [Case; 6] = [
    // Eleven million paths.
    ("walk", "fetching", |_, it| bomb(it, 7)),
    ("template", "fetching", |_, it| {
        own_buildpack(&|path, text| write(it, path, text), "", ENDLESS);
        it.commit("x");
    }),
    // An expression that is at thousands of places at once, for each letter.
    ("expression", "fetching", |_, it| {
        let regex = "runs = { text = { glob = \"letters\", regex = \"[ab]*a[ab]{2000}c\" } }\n\
                     facts = { slow = { text = { glob = \"letters\", regex = \"[ab]*a[ab]{2000}c\" } } }";
        own_buildpack(&|path, text| write(it, path, text), regex, "FROM busybox:stable\n{% if slow %}# {% endif %}\n");
        let letters: String = (0..400_000_u32).map(|at| if at.count_ones() % 2 == 0 { 'a' } else { 'b' }).collect();
        it.write("letters", &letters).commit("x");
    }),
    // Nine thousand patterns, each for thousands of files.
    ("ignore", "fetching", |_, it| {
        let lines: String = (0..9_000).map(|line| format!("*x*y*z{line}\n")).collect();
        it.write(".dockerignore", &lines).write("package.json", "{\"scripts\": {\"start\": \"node .\"}}");
        for directory in 0..60 {
            for file in 0..60 {
                it.write(&format!("{directory}/{file}-xxxxyyyyzzzz"), "");
            }
        }
        it.commit("x");
    }),
    ("build", "building", |server, it| {
        let step = format!("FROM busybox:stable\nRUN sleep {}\n", unique_seconds(server));
        it.write("Dockerfile", &step).commit("x");
    }),
    ("release", "releasing", |server, it| {
        let procfile = format!("web: sleep 1\nrelease: sleep {}\n", unique_seconds(server));
        it.write("Dockerfile", "FROM busybox:stable\n").write("Procfile", &procfile).commit("x");
    }),
];

/// A deploy in the middle of its work.
fn begin(server: &Server, repository: &Repository, app: &str, state: &str) -> Child {
    let pushed = repository.begin_push();
    let newest = || {
        let newest = server.json(&["deploys:list", app, "-n", "1"]);
        newest[0]["state"].as_str().unwrap_or_default().to_owned()
    };
    server.wait_for(&format!("{state} of {app}"), PATIENCE, || newest() == state);
    sleep(Duration::from_millis(300));
    assert_eq!(newest(), state, "{app} did not take long");
    pushed
}

/// How long it takes from `ask` until no process deploys, and none of their children runs.
fn until_over(server: &Server, ask: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    ask();
    server.wait_for("the end", PATIENCE, || deploying(server).is_empty() && !renders(server));
    begun.elapsed()
}

fn over(pushed: Child) -> Ran {
    Ran::from(pushed.wait_with_output().unwrap()).expect_failure()
}

/// The states of all deploys of the app blog.
fn states(server: &Server) -> Vec<String> {
    let all = server.json(&["deploys:list", "blog"]);
    all.as_array().unwrap().iter().map(|deploy| deploy["state"].as_str().unwrap().to_owned()).collect()
}

/// Tries until it took less than the limit once.
#[track_caller]
fn in_time(what: &str, mut once: impl FnMut() -> Duration) {
    let mut took = Vec::new();
    while took.len() < TRIES as usize && took.iter().all(|took| *took >= LIMIT) {
        took.push(once());
    }
    assert!(took.iter().any(|took| *took < LIMIT), "{what}: {took:?}");
}

#[test]
fn work_on_a_push_ends_within_a_second_however_it_is_ended() {
    let server = Server::start_with(&SETTINGS);
    let seconds = unique_seconds(&server);
    for (app, state, make) in CASES {
        server.paas(&["apps:create", app]).expect_success();
        let repository = server.empty_repository(app);
        make(&server, &repository);
        in_time(&format!("{app} on SIGTERM"), || {
            let pushed = begin(&server, &repository, app, state);
            let ids = deploying(&server);
            assert!(!ids.is_empty(), "{app}: nothing deploys");
            let took = until_over(&server, || {
                let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
                run(command("kill").arg("-TERM").args(ids)).expect_success();
            });
            over(pushed).says("interrupted");
            assert_eq!(server.deploy_state(app), "canceled");
            took
        });
        in_time(&format!("{app} canceled"), || {
            let pushed = begin(&server, &repository, app, state);
            let took = until_over(&server, || {
                server.paas(&["deploys:cancel", app]).expect_success();
            });
            over(pushed).says("canceled by");
            assert_eq!(server.deploy_state(app), "canceled");
            took
        });
        let pushed = begin(&server, &repository, app, state);
        server.paas(&["apps:destroy", app, "--force"]).expect_success();
        over(pushed);
        assert!(deploying(&server).is_empty(), "{app}: something deploys a destroyed app");
        server.wait_for("the end of the step", PATIENCE, || !sleeps(&seconds));
    }
    assert!(server.containers().is_empty() && server.images().is_empty());
}

#[test]
fn a_push_that_waits_behind_such_work_ends_within_a_second_of_a_newer_one() {
    let mut server = Server::start_with(&SETTINGS);
    server.paas(&["apps:create", "blog"]).expect_success();
    let repository = server.empty_repository("blog");
    own_buildpack(&|path, text| write(&repository, path, text), "", ENDLESS);
    repository.commit("endless");
    let first = begin(&server, &repository, "blog", "fetching");
    let push = |version: &str, queued: usize| {
        repository.write("version", version).commit(version);
        let pushed = repository.begin_push();
        server.wait_for("its place in line", PATIENCE, || {
            states(&server).iter().filter(|state| *state == "queued" || *state == "superseded").count() == queued
        });
        pushed
    };
    let mut waits = push("0", 1);
    let mut tries = 0;
    in_time("a superseded push", || {
        tries += 1;
        let newer = push(&tries.to_string(), tries + 1);
        let begun = Instant::now();
        let before = std::mem::replace(&mut waits, newer);
        over(before).says("superseded by");
        begun.elapsed()
    });
    // And what all wait for is still at it.
    assert!(renders(&server));

    // The daemon ends at once, too, and the work of the push with its process.
    let stop = Instant::now();
    server.stop_daemon();
    assert!(stop.elapsed() < Duration::from_secs(5), "the daemon took {:?} to stop", stop.elapsed());
    assert!(renders(&server), "a push outlives the daemon");
    let ids = deploying(&server);
    assert_eq!(ids.len(), 2);
    let took = until_over(&server, || {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        run(command("kill").arg("-TERM").args(ids)).expect_success();
    });
    assert!(took < PATIENCE);
    server.start_daemon();
    server.wait_for("the end of all deploys", PATIENCE, || {
        states(&server).iter().all(|state| ["canceled", "superseded"].contains(&state.as_str()))
    });
    drop((first, waits));
}

/// Who only asks for a plan has no server, and ends it as any command.
#[test]
fn a_plan_on_this_machine_ends_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    own_buildpack(&write, "", ENDLESS);
    for signal in ["-TERM", "-INT", "-KILL"] {
        // Where the tests run in the background of a shell, that had them ignore an interrupt.
        let mut plan = command("env");
        plan.args(["--default-signal=INT", PAAS, "plan"]).arg(directory.path()).env("PAAS_TEMPLATE_MAX_TIME", "10m");
        let mut plan = plan.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let parent = plan.id();
        let renders = || {
            let mine = |id: &u32| {
                let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
                status.lines().any(|line| line == format!("PPid:\t{parent}"))
            };
            processes(|arguments, _| arguments.ends_with("\0render\0")).into_iter().find(mine)
        };
        let begun = Instant::now();
        let child = loop {
            assert!(begun.elapsed() < PATIENCE, "nothing is rendered");
            match renders() {
                Some(child) => break child,
                None => sleep(Duration::from_millis(10)),
            }
        };
        run(command("kill").args([signal, &parent.to_string()])).expect_success();
        plan.wait().unwrap();
        let is_gone = || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        while !is_gone() {
            assert!(begun.elapsed() < PATIENCE, "{signal}: the template is still rendered");
            sleep(Duration::from_millis(10));
        }
    }
}
