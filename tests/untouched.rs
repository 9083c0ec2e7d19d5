//! What a failure must not change: [`Untouched`] is an app as it serves, taken before the failure and compared after it.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

use crate::harness::{Ran, Repository, Server, docker, run};

/// The states in which a deployment is over.
const ENDS: [&str; 4] = ["succeeded", "failed", "canceled", "superseded"];

/// An app that serves, and everything its instance has in the engine and on disk.
#[derive(Debug)]
pub struct Untouched {
    app: String,
    page: String,
    release: serde_json::Value,
    heads: String,
    containers: BTreeSet<String>,
    images: BTreeSet<String>,
    networks: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
}

impl Untouched {
    /// Looks at an app, once its last deploy is over.
    pub fn before(server: &Server, repository: &Repository, app: &str) -> Untouched {
        wait_until_over(server, app);
        Untouched {
            app: app.to_owned(),
            page: server.get(app, "/").body,
            release: server.json(&["apps:info", app])["release"].clone(),
            heads: heads(repository),
            containers: server.containers().into_iter().collect(),
            images: server.images().into_iter().collect(),
            networks: networks(server),
            files: files(&server.root()),
        }
    }

    /// Fails the test where anything differs: what serves, the branch, the engine, the files, the database, the locks.
    #[track_caller]
    pub fn check(&self, server: &Server, repository: &Repository) {
        let app = self.app.as_str();
        let answer = server.get(app, "/");
        assert_eq!((answer.status, answer.body), (200, self.page.clone()), "what {app} answers");
        let info = server.json(&["apps:info", app]);
        assert_eq!(info["release"], self.release, "the release of {app}");
        assert_eq!(info["status"], "live", "the status of {app}");
        assert_eq!(heads(repository), self.heads, "the branches of {app}");
        self.check_nothing_left(server);
    }

    /// The part of [`Untouched::check`] that asks neither the app nor the SSH server.
    #[track_caller]
    pub fn check_nothing_left(&self, server: &Server) {
        let app = self.app.as_str();
        assert_eq!(
            server.containers().into_iter().collect::<BTreeSet<_>>(),
            self.containers,
            "containers in the engine"
        );
        assert_eq!(rows(server), self.containers, "containers in the database");
        assert_eq!(server.images().into_iter().collect::<BTreeSet<_>>(), self.images, "images");
        assert_eq!(networks(server), self.networks, "networks");
        let unfinished = unfinished(server, app);
        assert!(unfinished.is_empty(), "deploys that never end: {unfinished:?}");
        assert_eq!(files(&server.root()), self.files, "files below the root");
        let pins = pins(server, app);
        assert_eq!(pins, "", "references of deploys that are over");
        assert_locks_are_free(server);
    }
}

/// Checks what git says about a branch that was not moved, and that whoever pushed is told what to do: once.
#[track_caller]
pub fn assert_refused(pushed: Ran, reason: &str, hint: &str) -> Ran {
    let pushed = pushed.expect_code(1).says(&format!("! [remote rejected] main -> main ({reason})"));
    let talk = pushed.talk();
    let hints: Vec<&str> = talk.lines().filter_map(|line| line.split_once("hint: ").map(|(_, hint)| hint)).collect();
    assert_eq!(hints, [hint], "{pushed}");
    pushed
}

/// Waits until all deploys of an app are over.
#[track_caller]
pub fn wait_until_over(server: &Server, app: &str) {
    server.wait_for("the last deploy to be over", Duration::from_secs(60), || unfinished(server, app).is_empty());
}

/// The branches as a client sees them.
pub fn heads(repository: &Repository) -> String {
    repository.git(&["ls-remote", "paas"]).expect_success().stdout
}

/// The references that keep the commits of running deploys.
pub fn pins(server: &Server, app: &str) -> String {
    let repository = server.root().join(format!("repos/{app}.git"));
    let mut git = server.command("git");
    run(git.arg("-C").arg(repository).args(["for-each-ref", "refs/paas"])).expect_success().stdout
}

/// Checks that nobody holds a lock, but for the daemon and the resolver.
#[track_caller]
pub fn assert_locks_are_free(server: &Server) {
    assert_eq!(held_locks(server), Vec::<String>::new(), "locks that are held");
}

/// The locks that somebody holds, but for those of the daemon and the resolver.
pub fn held_locks(server: &Server) -> Vec<String> {
    let mut held = Vec::new();
    for entry in std::fs::read_dir(server.root().join("locks")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.ends_with(".lock"), "{name} is no lock");
        if !["daemon.lock", "resolver.lock"].contains(&name) {
            let file = File::open(&path).unwrap();
            if flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
                held.push(name.to_owned());
            }
        }
    }
    held
}

/// The deploys of an app that are not over.
fn unfinished(server: &Server, app: &str) -> Vec<serde_json::Value> {
    let deploys = server.json(&["deploys:list", app, "-n", "1000"]);
    let deploys = deploys.as_array().unwrap().iter();
    deploys.filter(|deploy| !ENDS.contains(&deploy["state"].as_str().unwrap())).cloned().collect()
}

/// The containers that the database knows.
fn rows(server: &Server) -> BTreeSet<String> {
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let mut statement = database.prepare("SELECT name FROM containers").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The instance's networks in the engine.
pub fn networks(server: &Server) -> BTreeSet<String> {
    let label = format!("label=paas.instance={}", server.instance_id().unwrap());
    let ran = run(docker().args(["network", "ls", "--format", "{{.Name}}", "--filter", &label])).expect_success();
    ran.stdout.lines().map(str::to_owned).collect()
}

/// The files below the root, but for those that may come at any time: git's objects, the logs of deploys and operations, the
/// journal of the database.
pub fn files(root: &Path) -> BTreeSet<PathBuf> {
    files_but(root, |text| {
        (text.starts_with("repos/") && text.ends_with(".git/objects"))
            || (text.starts_with("apps/") && text.ends_with("/deploys"))
            || text == "operations"
            || text.starts_with("paas.db-")
            || text.starts_with("caddy/data")
            || text.starts_with("caddy/config")
    })
}

/// The files below a directory, but for some and those below them.
pub fn files_but(root: &Path, is_left_out: impl Fn(&str) -> bool) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        // What went while it was looked at is not there.
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let below = path.strip_prefix(root).unwrap().to_owned();
            if is_left_out(below.to_str().unwrap()) {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                directories.push(path);
            } else {
                found.insert(below);
            }
        }
    }
    found
}
