//! Deploys that are interrupted: by another push, by their pusher's end, by a cancel, by the death of any process.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    harness::{Ran, Repository, Server},
    processes::{deploying, edge, kill, processes, sleeps, unique_seconds},
    untouched::{Untouched, assert_locks_are_free, assert_refused, heads, pins, wait_until_over},
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// An app of which v1 serves, and the clone it came from.
struct Served {
    server: Server,
    repository: Repository,
    before: Untouched,
}

impl Served {
    fn start() -> Served {
        let server = Server::start();
        let repository = server.repository("dockerfile", "blog");
        repository.push().expect_success();
        let before = Untouched::before(&server, &repository, "blog");
        Served { server, repository, before }
    }

    /// Commits a version whose build takes `seconds`, in a step that no other build has run.
    fn commit_slow_build(&self, page: &str, seconds: &str) -> String {
        self.repository
            .become_fixture("slow-build")
            .write("index.html", &format!("{page} of {}\n", self.server.instance_id().unwrap()))
            .replace("Dockerfile", "$(seq 20)", "1")
            .replace("Dockerfile", "sleep 1;", &format!("sleep {seconds};"))
            .commit(page)
    }

    /// Commits a version that never becomes healthy, and waits for long that it does.
    fn commit_slow_check(&self) -> String {
        let toml = "[checks]\ntimeout = \"10m\"\n";
        self.repository.become_fixture("broken-health").write("paas.toml", toml).commit("slow check")
    }

    /// Commits a version that takes its time to become healthy.
    fn commit_slow_start(&self, page: &str) -> String {
        let dockerfile = format!(
            "FROM busybox:stable\nRUN mkdir /www && echo {page} > /www/index.html\nEXPOSE 3000\n\
             CMD [\"sh\", \"-c\", \"sleep 6; exec httpd -f -p 3000 -h /www\"]\n"
        );
        self.repository.become_fixture("dockerfile").write("Dockerfile", &dockerfile).commit(page)
    }

    /// Waits until the newest deploy is in a state, and in what it does there.
    fn wait_until(&self, state: &str) {
        self.server.wait_for(state, PATIENCE, || self.server.deploy_state("blog") == state);
        if state == "building" {
            self.server.wait_for("the slow step", PATIENCE, || self.output().contains("second 1 of"));
        }
        if state == "checking" {
            let before = 1;
            self.server.wait_for("the candidate", PATIENCE, || self.server.containers().len() > before);
        }
    }

    /// The log of the newest deploy.
    fn output(&self) -> String {
        self.server.paas(&["deploys:output", "blog"]).expect_success().stdout
    }

    /// The newest deploy.
    fn newest(&self) -> serde_json::Value {
        self.server.json(&["deploys:info", "blog"])
    }

    /// The next push finds everything as it should be.
    #[track_caller]
    fn next_push_works(&self) {
        let commit = self.commit_slow_build("next", "0");
        self.repository.push().expect_success();
        self.settles_at("next", &commit);
    }

    /// Waits until a version serves, the branch is at its commit, and all before it is gone.
    #[track_caller]
    fn settles_at(&self, page: &str, commit: &str) {
        let server = &self.server;
        server.wait_for(page, PATIENCE, || {
            server.try_get("blog.localhost", "/").is_ok_and(|answer| answer.body.starts_with(page))
        });
        wait_until_over(server, "blog");
        assert_eq!(self.newest()["state"], "succeeded", "{}", self.newest());
        assert!(heads(&self.repository).contains(&format!("{commit}\trefs/heads/main")), "{}", heads(&self.repository));
        assert_eq!(server.containers().len(), 1, "{:?}", server.containers());
        assert_eq!(pins(server, "blog"), "");
        assert_locks_are_free(server);
        assert_eq!(server.json(&["apps:info", "blog"])["release"], self.newest()["release"]);
    }
}

/// Waits for a command that was begun.
fn finish(child: Child) -> Ran {
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_second_push_waits_and_says_for_whom_or_fails_at_once() {
    let served = Served::start();
    let Served { server, repository, .. } = &served;
    let first = served.commit_slow_build("one", "8");
    let pushing =
        repository.git_command(&["push", "-o", "no-wait", "paas", "main"]).stderr(Stdio::piped()).spawn().unwrap();
    served.wait_until("building");

    let second = served.commit_slow_build("two", "1");
    let refused = repository.git(&["push", "-o", "no-wait", "paas", "main"]);
    let holder = format!("blog is busy: the deploy of main ({}) by key:tester, begun at ", &first[..7]);
    let hint = "`paas deploys:list blog` shows it; `paas deploys:cancel blog` stops it; or try again later";
    assert_refused(refused.says(&holder), "the app is busy: v1 still serves", hint);
    assert_eq!(served.newest()["commit"], first.as_str(), "the refused push left no deploy");

    let waited = repository.push().expect_success();
    let waited = waited.says(&format!("-----> Waiting for the deploy of main ({}) by key:tester, begun ", &first[..7]));
    assert_eq!(waited.talk().matches("Waiting for").count(), 1, "{waited}");
    finish(pushing).expect_success().says("blog v2 is live");
    served.settles_at("two", &second);
    let states: Vec<String> = server
        .json(&["deploys:list", "blog"])
        .as_array()
        .unwrap()
        .iter()
        .map(|deploy| format!("{} {}", deploy["release"], deploy["state"]))
        .collect();
    assert_eq!(states, ["3 \"succeeded\"", "2 \"succeeded\"", "1 \"succeeded\""]);
}

#[test]
fn a_push_that_waited_does_not_undo_what_it_does_not_know() {
    let served = Served::start();
    let Served { server, repository, .. } = &served;
    let other = server.empty_repository("blog");
    other.git(&["pull", "-q", "paas", "main"]).expect_success();
    other.write("www/more.html", "more").commit("another change");

    let first = served.commit_slow_build("one", "5");
    let pushing = repository.begin_push();
    served.wait_until("building");
    let refused = other.push();
    finish(pushing).expect_success();
    let hint = "`git pull --rebase paas main`, then push again";
    let reason = format!("main moved to {} while this push waited: v2 still serves", &first[..7]);
    assert_refused(refused, &reason, hint);
    assert_eq!(served.newest()["error"], reason.strip_suffix(": v2 still serves").unwrap());

    // What the hint says to type, typed.
    other.git(&["pull", "-q", "--rebase", "paas", "main"]).expect_success();
    other.push().expect_success();
    let both = other.git(&["rev-parse", "HEAD"]).stdout;
    served.settles_at("one", both.trim());
}

#[test]
fn a_pusher_who_goes_away_ends_nothing() {
    let served = Served::start();
    let Served { server, repository, .. } = &served;
    let commit = served.commit_slow_build("gone", "6");
    let mut pushing = repository.begin_push();
    served.wait_until("building");

    // Others see it run, each from a session of their own.
    let follow = |mut command: Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut over_ssh = server.ssh_command(&server.key());
    over_ssh.arg("deploys:follow blog");
    let mut here = server.command(crate::harness::PAAS);
    here.args(["deploys:output", "-f"]);
    let followers = [follow(over_ssh), follow(here)];

    let client = pushing.id();
    let parents = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let mut ids = processes(|_, _| true);
    ids.retain(|id| parents(Path::new(&format!("/proc/{id}/status"))).contains(&format!("PPid:\t{client}\n")));
    assert!(!ids.is_empty(), "git has an ssh client");
    ids.push(client);
    kill(&ids);
    assert!(!pushing.wait().unwrap().success());
    assert_eq!(server.deploy_state("blog"), "building");

    for follower in followers {
        let followed = finish(follower).expect_success();
        assert!(followed.stdout.contains("second 1 of"), "{followed}");
        assert!(followed.stdout.contains("blog v2 is live"), "{followed}");
    }
    served.settles_at("gone", &commit);
    // What was pushed is pushed.
    let again = repository.push().expect_success();
    assert!(again.stderr.contains("Everything up-to-date"), "{again}");
}

#[test]
fn a_cancelled_deploy_stops_where_it_is_and_leaves_nothing() {
    let served = Served::start();
    let Served { server, repository, before } = &served;
    let refusal = |pushed: Ran, by: &str| {
        let pushed = pushed.says(&format!("the deploy was canceled by {by}"));
        assert_refused(pushed, "canceled: v1 still serves", "push again to deploy");
    };

    // In the middle of a build, by app, on the server.
    let seconds = unique_seconds(server);
    served.commit_slow_build("never", &seconds);
    let pushing = repository.begin_push();
    served.wait_until("building");
    server.wait_for("the build's process", PATIENCE, || sleeps(&seconds));
    let canceled = server.paas(&["deploys:cancel", "blog"]).expect_success();
    assert!(canceled.talk().contains("is canceled"), "{canceled}");
    refusal(finish(pushing), "local:");
    server.wait_for("the end of the build's process", PATIENCE, || !sleeps(&seconds));
    before.check(server, repository);
    assert_eq!(server.deploy_state("blog"), "canceled");

    // In the middle of a check, by number, over SSH.
    served.commit_slow_check();
    let pushing = repository.begin_push();
    served.wait_until("checking");
    let id = served.newest()["deploy"].to_string();
    server.ssh(&format!("deploys:cancel {id}")).expect_success();
    refusal(finish(pushing), "key:tester");
    before.check(server, repository);
    assert_eq!(server.deploy_state("blog"), "canceled");

    // What is over cannot be cancelled.
    let hint = format!("hint: `paas deploys:info {id}` shows it");
    server
        .ssh(&format!("deploys:cancel {id}"))
        .expect_code(4)
        .says("cannot be canceled: its state is canceled")
        .says(&hint);
    server.paas(&["deploys:cancel", "1"]).expect_code(4).says("deploy 1 cannot be canceled: its state is succeeded");
    server.paas(&["deploys:cancel", "999"]).expect_code(3).says("there is no deploy 999");
}

#[test]
fn a_deploy_goes_on_when_the_daemon_is_killed_in_its_build() {
    let mut served = Served::start();
    let commit = served.commit_slow_build("orphan", "5");
    let pushing = served.repository.begin_push();
    served.wait_until("building");
    served.server.kill_daemon();
    assert!(served.server.get("blog", "/").body.contains("v1"), "the app serves without a daemon");
    finish(pushing).expect_failure();
    // There is nobody to move the traffic, the branch, or to drain, but the deploy itself.
    let server = &served.server;
    server.wait_for("the new version", PATIENCE, || server.get("blog", "/").body.starts_with("orphan"));
    wait_until_over(server, "blog");
    assert_eq!(server.deploy_state("blog"), "succeeded");
    assert_eq!(server.containers().len(), 1, "{:?}", server.containers());
    served.server.start_daemon();
    served.settles_at("orphan", &commit);
    served.next_push_works();
}

#[test]
fn a_deploy_goes_on_when_the_daemon_and_the_resolver_are_killed_in_its_check() {
    let mut served = Served::start();
    let commit = served.commit_slow_start("alone");
    let pushing = served.repository.begin_push();
    served.wait_until("checking");
    served.server.kill_daemon();
    kill(&edge(&served.server));
    finish(pushing).expect_failure();
    // Caddy is told by a reload.
    let server = &served.server;
    server.wait_for("the new version", PATIENCE, || server.get("blog", "/").body.starts_with("alone"));
    assert!(served.output().contains("does not answer: the proxy was given the new addresses by a reload"));
    served.server.start_daemon();
    served.settles_at("alone", &commit);
    served.next_push_works();
}

#[test]
fn a_deploy_goes_on_when_the_daemon_is_ended_and_started_again_in_its_check() {
    let mut served = Served::start();
    let commit = served.commit_slow_start("patient");
    let pushing = served.repository.begin_push();
    served.wait_until("checking");
    served.server.stop_daemon().expect_success();
    assert!(served.server.get("blog", "/").body.contains("v1"));
    served.server.start_daemon();
    served.settles_at("patient", &commit);
    finish(pushing).expect_failure();
    served.next_push_works();
}

#[test]
fn a_deploy_whose_process_is_killed_is_undone() {
    let served = Served::start();
    let Served { server, repository, before } = &served;
    let killed_in = |state: &str| {
        let pushing = repository.begin_push();
        served.wait_until(state);
        kill(&deploying(server));
        let pushed = finish(pushing).expect_code(1);
        assert!(pushed.stderr.contains("! [remote rejected] main -> main"), "{pushed}");
        server.wait_for("the recovery", PATIENCE, || server.deploy_state("blog") == "failed");
        let error = served.newest()["error"].to_string();
        assert!(error.contains("the deploy was interrupted: the process that ran it died"), "{error}");
        before.check(server, repository);
    };
    let seconds = unique_seconds(server);
    served.commit_slow_build("never", &seconds);
    killed_in("building");
    server.wait_for("the end of the build's process", PATIENCE, || !sleeps(&seconds));
    served.commit_slow_check();
    killed_in("checking");

    served.next_push_works();
}

#[test]
fn a_deploy_and_the_daemon_killed_together_are_recovered_at_the_next_start() {
    let mut served = Served::start();
    served.commit_slow_check();
    let pushing = served.repository.begin_push();
    served.wait_until("checking");
    let mut ids = deploying(&served.server);
    ids.push(served.server.daemon_id());
    kill(&ids);
    served.server.kill_daemon();
    finish(pushing).expect_failure();
    assert!(served.server.get("blog", "/").body.contains("v1"));
    served.server.start_daemon();
    served.server.wait_for("the recovery", PATIENCE, || served.server.deploy_state("blog") == "failed");
    served.before.check(&served.server, &served.repository);
}
