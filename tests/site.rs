//! An app that serves, small and quick to deploy, with somebody who looks at its page all the time: to see what comes of
//! it when things die.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    harness::{PAAS, Repository, Server, run, try_get},
    sound::{Sound, query},
};

/// How long an instance may take to be as it was, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An app whose page is its version and its greeting, and that is built in no time.
const DOCKERFILE: &str = r#"FROM busybox:stable
ENV VERSION=v1
CMD ["sh", "-c", "mkdir -p /www && echo \"$VERSION $GREETING\" > /www/index.html && exec httpd -f -p $PORT -h /www"]
"#;

/// How an app changes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Push,
    Rebuild,
    Config,
    Settings,
    Rollback,
    Scale,
    Restart,
}

/// What is true of the app: what its users see, and what the database says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub page: String,
    pub release: u32,
    pub head: String,
    pub config: BTreeMap<String, String>,
    pub settings: Vec<String>,
    pub web: i64,
}

/// A deployment, as the database has it.
#[derive(Debug)]
pub struct Deploy {
    pub id: i64,
    pub state: String,
    pub error: Option<String>,
    pub events: Vec<String>,
}

/// The app `blog`, and its server.
pub struct Site {
    // First, because it is dropped first.
    pub visitor: Visitor,
    pub server: Server,
    pub repository: Repository,
    sound: Sound,
    /// What was true of each release while it served.
    history: BTreeMap<u32, Facts>,
    /// Counts the changes, so that each is another.
    changes: u32,
    daemon_runs: bool,
}

impl Site {
    pub fn start() -> Site {
        Site::start_on(Server::start())
    }

    pub fn start_on(server: Server) -> Site {
        let repository = server.empty_repository("blog");
        repository.write("Dockerfile", DOCKERFILE).commit("v1");
        repository.push().expect_success();
        let sound = Sound::of(&server);
        let visitor = Visitor::of(&server);
        let mut site =
            Site { visitor, server, repository, sound, history: BTreeMap::new(), changes: 1, daemon_runs: true };
        site.settle();
        site
    }

    /// A command that changes the app, and what is true once it has.
    pub fn change(&mut self, kind: Kind, now: &Facts) -> (Command, Facts) {
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
                then.settings.retain(|setting| !setting.starts_with(" ps memory="));
                then.settings.push(format!(" ps memory={}m", 64 + number));
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
    pub fn push(&self) -> Command {
        let mut git = self.server.command("git");
        git.arg("-C").arg(&self.repository.path).args(["push", "--quiet"]);
        git.arg(self.server.root().join("repos/blog.git")).arg("HEAD:refs/heads/main");
        git
    }

    pub fn run_daemon(&mut self, runs: bool) {
        if runs && !self.daemon_runs {
            self.server.start_daemon();
        } else if !runs && self.daemon_runs {
            self.server.kill_daemon();
        }
        self.daemon_runs = runs;
    }

    /// Waits until everything is in order.
    #[track_caller]
    pub fn settle(&mut self) {
        self.sound.wait(&self.server);
        let facts = self.facts();
        self.history.insert(facts.release, facts);
    }

    /// Waits until everything is in order, and is so and no other way: an engine that was killed starts all containers
    /// anew at a time of its own, so that what is in order before may be out of it for a while.
    #[track_caller]
    pub fn settle_as(&mut self, expected: &Facts, case: &str) {
        let begun = Instant::now();
        loop {
            self.settle();
            let facts = self.facts();
            if facts == *expected {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{case}: {facts:?} instead of {expected:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn sound(&self) -> &Sound {
        &self.sound
    }

    pub fn facts(&self) -> Facts {
        let counts = "SELECT version, (SELECT count(*) FROM containers WHERE app_id = apps.id AND process = 'web')
                      FROM apps JOIN releases ON releases.id = current_release_id WHERE apps.name = 'blog'";
        let (release, web) = query(&self.server, counts, |row| Ok((row.get(0)?, row.get(1)?)))[0];
        let settings = "SELECT process || ' ' || noun || ' ' || name || '=' || value FROM properties WHERE noun <> 'apps' ORDER BY 1";
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
        query(&self.server, "SELECT last_version FROM apps WHERE name = 'blog'", |row| row.get(0))[0]
    }

    pub fn newest(&self) -> Deploy {
        self.deploy(query(&self.server, "SELECT max(id) FROM deployments", |row| row.get(0))[0])
    }

    pub fn deploy(&self, id: i64) -> Deploy {
        let sql = format!("SELECT id, state, error FROM deployments WHERE id = {id}");
        let events = format!("SELECT step AS state FROM operation_steps WHERE operation_id = {id} ORDER BY rowid");
        let events = query(&self.server, &events, |row| row.get(0));
        let found = query(&self.server, &sql, |row| {
            Ok(Deploy { id: row.get(0)?, state: row.get(1)?, error: row.get(2)?, events: Vec::new() })
        });
        Deploy { events, ..found.into_iter().next().unwrap() }
    }
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
pub struct Visitor {
    seen: Arc<Mutex<Vec<String>>>,
    goes: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Visitor {
    pub fn of(server: &Server) -> Visitor {
        let (seen, goes) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(false)));
        let port = server.port(3);
        let thread = std::thread::spawn({
            let (seen, goes) = (Arc::clone(&seen), Arc::clone(&goes));
            move || {
                while !goes.load(Ordering::Relaxed) {
                    let answer = try_get(port, "blog.localhost", "/");
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
    pub fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Whether it has asked and seen one of some pages since.
    pub fn sees(&self, since: usize, pages: &[&str]) -> bool {
        // What it was at then may be an answer of before.
        self.seen.lock().unwrap().iter().skip(since + 1).any(|answer| pages.contains(&answer.as_str()))
    }

    /// Fails the test where it has seen anything else than some pages since.
    #[track_caller]
    pub fn has_seen_only(&self, case: &str, since: usize, pages: &[&str]) {
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
