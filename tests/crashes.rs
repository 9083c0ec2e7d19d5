//! Deploys whose process is killed with -9 as it enters a state: what served before goes on where the switch was not
//! committed, what was deployed serves where it was, and nothing is left of the dead.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    harness::{Ran, run},
    processes::kill,
    site::{Facts, Kind, Site},
    sound::query,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The states of a deploy that builds.
const BUILDING: [&str; 9] =
    ["queued", "fetching", "building", "releasing", "starting", "checking", "switching", "draining", "succeeded"];
/// The states of a deploy of what was built before.
const BUILT: [&str; 7] = ["queued", "releasing", "starting", "checking", "switching", "draining", "succeeded"];
/// The states of a deploy that is committed.
const COMMITTED: [&str; 3] = ["switching", "draining", "succeeded"];
/// Why a deploy failed whose process was killed.
const INTERRUPTED: &str = "the deploy was interrupted: the process that ran it died";

/// Who puts right what the dead left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    /// The daemon, which ran all the time.
    Daemon,
    /// The daemon, when it is started again.
    NextStart,
    /// The next deploy; there is no daemon.
    NextDeploy,
}

/// Kills a deploy of a kind as it enters each of some states.
fn dies_in(site: &mut Site, kind: Kind, states: &[&str], recovery: Recovery) {
    for state in states {
        let (case, since, pages) = dies(site, kind, state, recovery);
        site.visitor.has_seen_only(&case, since, &[&pages[0], &pages[1]]);
    }
}

/// Kills a deploy as it enters a state, and looks at what comes of it. Returns what was done, from when on, and the pages
/// of before and after.
fn dies(site: &mut Site, kind: Kind, state: &str, recovery: Recovery) -> (String, usize, [String; 2]) {
    let case = format!("{kind:?} dies on {state}, recovered by {recovery:?}");
    // With the daemon there, the deploy leaves its end to it.
    let recovery = if state == "succeeded" && recovery == Recovery::Daemon { Recovery::NextStart } else { recovery };
    site.run_daemon(recovery == Recovery::Daemon);
    let (before, containers) = (site.facts(), site.server.containers());
    let (mut command, after) = site.change(kind, &before);
    let since = site.visitor.seen();
    let ran = run(command.env("PAAS_TEST_DIE_ON", state));
    assert_ne!(ran.code, 0, "{case}: {ran}");
    let dead = site.newest();
    match recovery {
        Recovery::Daemon => {}
        Recovery::NextStart => {
            assert_eq!(dead.state, state, "{case}: {ran}");
            site.run_daemon(true);
        }
        Recovery::NextDeploy => {
            assert_eq!(dead.state, state, "{case}: {ran}");
            site.server.paas(&["ps:restart", "blog"]).expect_success();
        }
    }
    site.settle();

    let committed = COMMITTED.contains(&state);
    let expected: &Facts = if committed { &after } else { &before };
    assert_eq!(site.facts(), *expected, "{case}");
    let found = site.deploy(dead.id);
    let events: Vec<&str> = found.events.iter().map(String::as_str).collect();
    if committed {
        assert_eq!((found.state.as_str(), found.error), ("succeeded", None), "{case}");
        assert!(events.ends_with(&["switching", "draining", "succeeded"]), "{case}: {events:?}");
    } else {
        assert_eq!(found.state, "failed", "{case}");
        assert!(found.error.as_deref().is_some_and(|said| said.starts_with(INTERRUPTED)), "{case}: {:?}", found.error);
        assert!(events.ends_with(&[state, "failed"]), "{case}: {events:?}");
        if recovery != Recovery::NextDeploy {
            assert_eq!(site.server.containers(), containers, "{case}");
        }
    }
    (case, since, [before.page, after.page])
}

#[test]
fn a_push_that_dies_in_any_state_is_put_right_by_the_daemon() {
    dies_in(&mut Site::start(), Kind::Push, &BUILDING, Recovery::Daemon);
}

#[test]
fn a_push_that_dies_without_a_daemon_is_put_right_by_the_next_start_or_the_next_deploy() {
    let mut site = Site::start();
    for (number, state) in BUILDING.iter().enumerate() {
        let recovery = if number % 2 == 0 { Recovery::NextStart } else { Recovery::NextDeploy };
        dies_in(&mut site, Kind::Push, &[state], recovery);
    }
}

#[test]
fn changes_of_config_and_settings_that_die_in_any_state_are_made_whole_or_not_at_all() {
    let mut site = Site::start();
    dies_in(&mut site, Kind::Config, &BUILT, Recovery::Daemon);
    dies_in(&mut site, Kind::Settings, &BUILT, Recovery::Daemon);
}

#[test]
fn rollbacks_and_rebuilds_that_die_in_any_state_are_made_whole_or_not_at_all() {
    let mut site = Site::start();
    dies_in(&mut site, Kind::Config, &["draining"], Recovery::Daemon);
    dies_in(&mut site, Kind::Rollback, &BUILT, Recovery::Daemon);
    dies_in(&mut site, Kind::Rebuild, &["building", "releasing", "starting", "switching"], Recovery::Daemon);
}

#[test]
fn scaling_and_restarts_that_die_in_any_state_are_made_whole_or_not_at_all() {
    let mut site = Site::start();
    // Up, which is undone until it is committed; then down; then up.
    dies_in(&mut site, Kind::Scale, &BUILT, Recovery::Daemon);
    // Down.
    dies_in(&mut site, Kind::Scale, &BUILT[..5], Recovery::Daemon);
    dies_in(&mut site, Kind::Restart, &BUILT, Recovery::Daemon);
}

#[test]
fn what_was_stopped_to_make_way_runs_again_when_the_deploy_dies() {
    let mut site = Site::start();
    site.server.paas(&["checks:disable", "blog"]).expect_success();
    site.settle();
    // Its page is away in between.
    for state in ["starting", "checking", "switching", "draining"] {
        dies(&mut site, Kind::Push, state, Recovery::Daemon);
    }
    for state in ["checking", "switching"] {
        dies(&mut site, Kind::Restart, state, Recovery::NextStart);
        dies(&mut site, Kind::Config, state, Recovery::NextDeploy);
    }
}

#[test]
fn what_git_and_the_proxy_were_writing_when_they_died_is_in_nobodys_way() {
    let mut site = Site::start();
    let (repository, caddy) = (site.server.root().join("repos/blog.git"), site.server.root().join("caddy"));
    for state in ["checking", "switching"] {
        site.run_daemon(false);
        let before = site.facts();
        let (mut push, after) = site.change(Kind::Push, &before);
        run(push.env("PAAS_TEST_DIE_ON", state)).expect_failure();
        let pin = format!("refs/paas/deploys/{}.lock", site.newest().id);
        for left in ["HEAD.lock", "refs/heads/main.lock", &pin] {
            std::fs::write(repository.join(left), "").unwrap();
        }
        for left in ["Caddyfile.candidate", "Caddyfile.draft", "Caddyfile.loaded.draft", "Caddyfile.candidate.draft"] {
            std::fs::write(caddy.join(left), "half of it").unwrap();
        }
        if state == "checking" {
            // Without a switch nobody moves a branch, until somebody does.
            for left in ["HEAD.lock", "refs/heads/main.lock"] {
                std::fs::remove_file(repository.join(left)).unwrap();
            }
        }
        site.run_daemon(true);
        site.settle();
        assert_eq!(site.facts(), if state == "checking" { before } else { after });
    }
}

#[test]
fn one_that_dies_in_line_is_passed_over() {
    let mut site = Site::start();
    let before = site.facts();
    // Somebody has the app.
    let lock = std::fs::File::open(site.server.root().join("locks/1.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let begin = |mut command: Command| command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let waits = |site: &Site, count: u32| {
        let queued = "SELECT count(*) FROM deployments WHERE state = 'queued'";
        site.server.wait_for("a deploy in line", PATIENCE, || {
            query(&site.server, queued, |row| row.get::<_, u32>(0)) == [count]
        });
    };
    let mut first = begin(site.change(Kind::Restart, &before).0);
    waits(&site, 1);
    let dead = site.newest().id;
    let (push, after) = site.change(Kind::Push, &before);
    let second = begin(push);
    waits(&site, 2);
    kill(&[first.id()]);
    first.wait().unwrap();
    drop(lock);
    let pushed: Ran = second.wait_with_output().unwrap().into();
    pushed.expect_success();
    site.settle();
    assert_eq!(site.facts(), after);
    let dead = site.deploy(dead);
    assert_eq!(dead.state, "failed");
    assert!(dead.error.unwrap().starts_with(INTERRUPTED));
}

#[test]
fn a_first_deploy_that_dies_leaves_an_app_that_was_never_deployed() {
    let mut site = Site::start();
    site.server.paas(&["apps:create", "shop"]).expect_success();
    let push = |state: &str| {
        let mut git = site.server.command("git");
        git.arg("-C").arg(&site.repository.path).arg("push");
        git.arg(site.server.root().join("repos/shop.git")).arg("HEAD:refs/heads/main");
        run(git.env("PAAS_TEST_DIE_ON", state))
    };
    let state = || {
        query(
            &site.server,
            "SELECT state, (SELECT value FROM properties WHERE app_id = apps.id) FROM apps WHERE name = 'shop'",
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)),
        )
    };
    for died_on in ["building", "checking"] {
        push(died_on).expect_failure();
        site.sound().wait(&site.server);
        assert_eq!(state(), [("new".to_owned(), None)]);
        assert_eq!(
            site.server.get("shop", "/").body,
            "shop is not deployed yet. It answers here after its first deploy.\n"
        );
    }
    push("switching").expect_failure();
    site.sound().wait(&site.server);
    assert_eq!(state(), [("running".to_owned(), Some("main".to_owned()))]);
    assert_eq!(site.server.get("shop", "/").body, "v1 \n");
    // What was pushed is pushed.
    assert!(push("queued").expect_success().stderr.contains("Everything up-to-date"));
    site.settle();
}
