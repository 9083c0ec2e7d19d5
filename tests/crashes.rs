//! Deploys whose process is killed with -9 as it enters a state: what served before goes on where the switch was not
//! committed, what was deployed serves where it was, and nothing is left of the dead.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::{
    harness::{PAAS, Repository, Server, run},
    sound::{Sound, query},
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

/// An app whose page is its version and its greeting, and that is built in no time.
const DOCKERFILE: &str = r#"FROM busybox:stable
ENV VERSION=v1
CMD ["sh", "-c", "mkdir -p /www && echo \"$VERSION $GREETING\" > /www/index.html && exec httpd -f -p $PORT -h /www"]
"#;

/// How an app changes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Push,
    Rebuild,
    Config,
    Settings,
    Rollback,
    Scale,
    Restart,
}

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

/// What is true of the app: what its users see, and what the database says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    page: String,
    release: u32,
    head: String,
    config: BTreeMap<String, String>,
    settings: Vec<String>,
    web: i64,
}

/// The app, its server, and somebody who looks at its page all the time.
struct Site {
    server: Server,
    repository: Repository,
    sound: Sound,
    visitor: Visitor,
    /// What was true of each release while it served.
    history: BTreeMap<u32, Facts>,
    /// Counts the changes, so that each is another.
    changes: u32,
    daemon_runs: bool,
    /// Whether old containers are stopped before new ones start.
    stops_first: bool,
}

impl Site {
    fn start() -> Site {
        let server = Server::start();
        let repository = server.empty_repository("blog");
        repository.write("Dockerfile", DOCKERFILE).commit("v1");
        repository.push().expect_success();
        let sound = Sound::of(&server);
        let visitor = Visitor::of(&server);
        let mut site = Site {
            server,
            repository,
            sound,
            visitor,
            history: BTreeMap::new(),
            changes: 1,
            daemon_runs: true,
            stops_first: false,
        };
        let facts = site.facts();
        site.history.insert(facts.release, facts);
        site
    }

    /// An app of which two containers never run at once.
    fn start_stopping_first() -> Site {
        let mut site = Site::start();
        site.server.paas(&["checks:disable", "blog"]).expect_success();
        site.stops_first = true;
        site.settle();
        site
    }

    /// Kills a deploy of a kind as it enters each of some states.
    fn dies_in(&mut self, kind: Kind, states: &[&str], recovery: Recovery) {
        for state in states {
            self.dies(kind, state, recovery);
        }
    }

    /// Kills a deploy as it enters a state, and looks at what comes of it.
    fn dies(&mut self, kind: Kind, state: &str, recovery: Recovery) {
        let case = format!("{kind:?} dies on {state}, recovered by {recovery:?}");
        // With the daemon there, the deploy leaves its end to it.
        let recovery = if state == "succeeded" && recovery == Recovery::Daemon { Recovery::NextStart } else { recovery };
        self.run_daemon(recovery == Recovery::Daemon);
        let before = self.facts();
        let containers = self.server.containers();
        let (mut command, after) = self.change(kind, &before);
        let seen = self.visitor.seen();
        let ran = run(command.env("PAAS_TEST_DIE_ON", state));
        assert_ne!(ran.code, 0, "{case}: {ran}");
        let dead = self.newest();
        match recovery {
            Recovery::Daemon => {}
            Recovery::NextStart => {
                assert_eq!(dead.state, state, "{case}: {ran}");
                self.run_daemon(true);
            }
            Recovery::NextDeploy => {
                assert_eq!(dead.state, state, "{case}: {ran}");
                self.server.paas(&["ps:restart", "blog"]).expect_success();
            }
        }
        self.settle();

        let committed = COMMITTED.contains(&state);
        let expected = if committed { &after } else { &before };
        assert_eq!(self.facts(), *expected, "{case}");
        let found = self.deploy(dead.id);
        let events: Vec<&str> = found.events.iter().map(String::as_str).collect();
        if committed {
            assert_eq!((found.state.as_str(), found.error), ("succeeded", None), "{case}");
            assert!(events.ends_with(&["switching", "draining", "succeeded"]), "{case}: {events:?}");
        } else {
            let error = "the deploy was interrupted: the process that ran it died";
            assert_eq!(found.state, "failed", "{case}");
            assert!(found.error.as_deref().is_some_and(|said| said.starts_with(error)), "{case}: {:?}", found.error);
            assert!(events.ends_with(&[state, "failed"]), "{case}: {events:?}");
            if recovery != Recovery::NextDeploy {
                assert_eq!(self.server.containers(), containers, "{case}");
            }
        }
        let pages = [before.page.as_str(), after.page.as_str()];
        if !self.stops_first {
            self.visitor.has_seen_only(&case, seen, &pages);
        }
    }

    /// A command that changes the app, and what is true once it has.
    fn change(&mut self, kind: Kind, now: &Facts) -> (Command, Facts) {
        self.changes += 1;
        let number = self.changes;
        let mut then = now.clone();
        let mut command = self.server.command(PAAS);
        match kind {
            Kind::Push => {
                let line = format!("ENV VERSION=v{number}");
                let dockerfile = DOCKERFILE.replace("ENV VERSION=v1", &line);
                then.head = self.repository.write("Dockerfile", &dockerfile).commit(&line);
                then.page = page(&format!("v{number}"), greeting(&now.page));
                then.release += 1;
                command = self.push();
            }
            Kind::Rebuild => {
                then.release += 1;
                command.args(["ps:rebuild", "blog"]);
            }
            Kind::Config => {
                let value = format!("hello-{number}");
                then.page = page(version(&now.page), &value);
                then.release += 1;
                command.args(["config:set", "blog", &format!("GREETING={value}")]);
                then.config.insert("GREETING".to_owned(), value);
            }
            Kind::Settings => {
                then.settings.retain(|setting| !setting.starts_with(" memory="));
                then.settings.push(format!(" memory={}m", 64 + number));
                then.settings.sort();
                then.release += 1;
                command.args(["ps:set", "blog", &format!("memory={}m", 64 + number)]);
            }
            Kind::Rollback => {
                let (version, target) = self.history.range(..now.release).next_back().expect("a former release");
                then = Facts { release: now.release + 1, head: now.head.clone(), web: now.web, ..target.clone() };
                command.args(["releases:rollback", "blog", &format!("v{version}")]);
            }
            Kind::Scale => {
                then.web = 3 - now.web;
                command.args(["ps:scale", "blog", &format!("web={}", then.web)]);
            }
            Kind::Restart => {
                command.args(["ps:restart", "blog"]);
            }
        }
        // The release that failed before has taken a number.
        if then.release > now.release {
            then.release = self.last_version() + 1;
        }
        (command, then)
    }

    /// A push by a user of the server itself, who needs no SSH: the processes are as always, and have our environment.
    fn push(&self) -> Command {
        let mut git = self.server.command("git");
        git.arg("-C").arg(&self.repository.path).args(["push", "--quiet"]);
        git.arg(self.server.root().join("repos/blog.git")).arg("HEAD:refs/heads/main");
        git
    }

    fn run_daemon(&mut self, runs: bool) {
        if runs && !self.daemon_runs {
            self.server.start_daemon();
        } else if !runs && self.daemon_runs {
            self.server.kill_daemon();
        }
        self.daemon_runs = runs;
    }

    /// Waits until everything is in order.
    #[track_caller]
    fn settle(&mut self) {
        self.sound.wait(&self.server);
        let facts = self.facts();
        self.history.insert(facts.release, facts);
    }

    fn facts(&self) -> Facts {
        let counts = "SELECT version, (SELECT count(*) FROM containers WHERE process = 'web')
                      FROM apps JOIN releases ON releases.id = current_release_id";
        let (release, web) = query(&self.server, counts, |row| Ok((row.get(0)?, row.get(1)?)))[0];
        let settings = "SELECT process || ' ' || setting || '=' || value FROM process_settings ORDER BY 1";
        let config = self.server.json(&["config:show", "blog", "--reveal"]);
        let mut git = self.server.command("git");
        git.arg("-C").arg(self.server.root().join("repos/blog.git")).args(["rev-parse", "refs/heads/main"]);
        Facts {
            page: self.server.get("blog", "/").body,
            release,
            head: run(&mut git).expect_success().stdout.trim().to_owned(),
            config: serde_json::from_value(config).unwrap(),
            settings: query(&self.server, settings, |row| row.get(0)),
            web,
        }
    }

    fn last_version(&self) -> u32 {
        query(&self.server, "SELECT last_version FROM apps", |row| row.get(0))[0]
    }

    fn newest(&self) -> Deploy {
        self.deploy(query(&self.server, "SELECT max(id) FROM deployments", |row| row.get(0))[0])
    }

    fn deploy(&self, id: i64) -> Deploy {
        let sql = format!("SELECT id, state, error FROM deployments WHERE id = {id}");
        let events = format!("SELECT state FROM deployment_events WHERE deployment_id = {id} ORDER BY rowid");
        let events = query(&self.server, &events, |row| row.get(0));
        let found = query(&self.server, &sql, |row| {
            Ok(Deploy { id: row.get(0)?, state: row.get(1)?, error: row.get(2)?, events: Vec::new() })
        });
        Deploy { events, ..found.into_iter().next().unwrap() }
    }
}

/// A deployment, as the database has it.
struct Deploy {
    id: i64,
    state: String,
    error: Option<String>,
    events: Vec<String>,
}

fn page(version: &str, greeting: &str) -> String {
    format!("{version} {greeting}\n")
}

fn version(page: &str) -> &str {
    page.split(' ').next().unwrap()
}

fn greeting(page: &str) -> &str {
    page.trim_end().split_once(' ').map_or("", |(_, greeting)| greeting)
}

/// Somebody who asks for the page again and again, each time over a new connection, and never twice.
struct Visitor {
    seen: Arc<Mutex<Vec<String>>>,
    goes: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Visitor {
    fn of(server: &Server) -> Visitor {
        let (seen, goes) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(false)));
        let port = server.port(3);
        let thread = std::thread::spawn({
            let (seen, goes) = (Arc::clone(&seen), Arc::clone(&goes));
            move || {
                while !goes.load(Ordering::Relaxed) {
                    let answer = crate::harness::try_get(port, "blog.localhost", "/");
                    seen.lock().unwrap().push(match answer {
                        Ok(answer) if answer.status == 200 => answer.body,
                        Ok(answer) => format!("{} {}", answer.status, answer.body),
                        Err(error) => error.to_string(),
                    });
                    std::thread::sleep(Duration::from_millis(30));
                }
            }
        });
        Visitor { seen, goes, thread: Some(thread) }
    }

    /// How much it has seen.
    fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Fails the test where it has seen anything else than some pages since.
    #[track_caller]
    fn has_seen_only(&self, case: &str, since: usize, pages: &[&str]) {
        let seen = self.seen.lock().unwrap();
        assert!(seen.len() > since, "{case}: nothing was asked for");
        for answer in &seen[since..] {
            assert!(pages.contains(&answer.as_str()), "{case}: {answer:?} was answered, not {pages:?}");
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.goes.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[test]
fn a_push_that_dies_in_any_state_is_put_right_by_the_daemon() {
    Site::start().dies_in(Kind::Push, &BUILDING, Recovery::Daemon);
}

#[test]
fn a_push_that_dies_without_a_daemon_is_put_right_at_the_next_start() {
    Site::start().dies_in(Kind::Push, &BUILDING, Recovery::NextStart);
}

#[test]
fn a_push_that_dies_without_a_daemon_is_put_right_by_the_next_deploy() {
    Site::start().dies_in(Kind::Push, &BUILDING, Recovery::NextDeploy);
}

#[test]
fn changes_of_config_and_settings_that_die_in_any_state_are_made_whole_or_not_at_all() {
    let mut site = Site::start();
    site.dies_in(Kind::Config, &BUILT, Recovery::Daemon);
    site.dies_in(Kind::Settings, &BUILT, Recovery::Daemon);
}

#[test]
fn rollbacks_and_rebuilds_that_die_in_any_state_are_made_whole_or_not_at_all() {
    let mut site = Site::start();
    site.dies_in(Kind::Config, &["draining"], Recovery::Daemon);
    site.dies_in(Kind::Rollback, &BUILT, Recovery::Daemon);
    site.dies_in(Kind::Rebuild, &BUILDING, Recovery::Daemon);
}

#[test]
fn scaling_and_restarts_that_die_in_any_state_are_made_whole_or_not_at_all() {
    let mut site = Site::start();
    // Up, where it is undone, and then up and down.
    site.dies_in(Kind::Scale, &BUILT, Recovery::Daemon);
    site.dies_in(Kind::Scale, &BUILT, Recovery::Daemon);
    site.dies_in(Kind::Restart, &BUILT, Recovery::Daemon);
}

#[test]
fn what_was_stopped_to_make_way_runs_again_when_the_deploy_dies() {
    let mut site = Site::start_stopping_first();
    site.dies_in(Kind::Push, &["starting", "checking", "switching", "draining"], Recovery::Daemon);
    site.dies_in(Kind::Restart, &["checking", "switching"], Recovery::NextStart);
    site.dies_in(Kind::Config, &["checking", "switching"], Recovery::NextDeploy);
}

