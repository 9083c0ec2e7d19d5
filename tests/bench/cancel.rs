//! How long it takes from `paas deploys:cancel` until the app's lock is free, in each state of a deploy that can be undone.
//! The time has the start of the command itself in it. The aim is a second.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may panic, and prints"
)]

#[path = "../harness.rs"]
#[expect(dead_code, reason = "the bench needs only a part of the tests' builder")]
mod harness;

use std::{
    fs::{File, OpenOptions},
    net::TcpListener,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use harness::{PAAS, Repository, Server};
use rustix::fs::{FlockOperation, flock};

/// Rounds, unless the first argument says how many.
const ROUNDS: usize = 5;
/// What each should be below, in seconds.
const AIM: f64 = 1.0;
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the lock is tried.
const POLL: Duration = Duration::from_millis(2);

/// A state that a deploy is held in: what is done there, how the state is called, how the repository does it.
struct Case {
    name: &'static str,
    state: &'static str,
    make: fn(&Server, &Repository),
}

const CASES: [Case; 8] = [
    Case { name: "waits for the app's lock", state: "queued", make: |_, it| serves(it) },
    Case { name: "renders an endless template", state: "fetching", make: |_, it| endless(it) },
    Case { name: "fetches a silent submodule", state: "fetching", make: silent_submodule },
    Case { name: "runs a build step", state: "building", make: |_, it| dockerfile(it, "RUN sleep 600\n") },
    Case {
        name: "runs the release command",
        state: "releasing",
        make: |_, it| {
            serves(it);
            it.write("Procfile", "web: httpd -f -p 3000 -h /www\nrelease: sleep 600\n").commit("x");
        },
    },
    Case {
        name: "runs the predeploy script",
        state: "releasing",
        make: |_, it| {
            serves(it);
            it.write("app.json", r#"{"scripts": {"dokku": {"predeploy": "sleep 600"}}}"#).commit("x");
        },
    },
    Case { name: "ends what is in the way", state: "starting", make: in_the_way },
    Case {
        name: "waits for a healthy answer",
        state: "checking",
        make: |_, it| dockerfile(it, "EXPOSE 3000\nCMD sleep 600\n"),
    },
];

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    let settings = [
        ("PAAS_TEMPLATE_MAX_TIME", "10m"),
        ("PAAS_SUBMODULE_PRIVATE_ADDRESSES", "true"),
        ("PAAS_BUILD_CONCURRENCY", "4"),
    ];
    let server = Server::start_with(&settings);
    println!("{rounds} rounds each, after which the app's lock must be free; seconds");
    println!("{:<32} {:<10} {:>7} {:>7}", "what the deploy does", "state", "median", "longest");
    for (index, case) in CASES.iter().enumerate() {
        let app = format!("app-{index}");
        server.paas(&["apps:create", &app]).expect_success();
        let lock = server.root().join(format!("locks/{}.lock", index + 1));
        let repository = server.empty_repository(&app);
        (case.make)(&server, &repository);
        let mut took = Vec::new();
        for round in 0..rounds {
            repository.write("round", &round.to_string()).commit("round");
            let held = (case.state == "queued").then(|| hold(&lock));
            let pushed = repository.begin_push();
            wait_for_state(&server, &app, case.state);
            // Into the middle of it.
            std::thread::sleep(Duration::from_millis(700));
            let begun = Instant::now();
            let canceling = cancel(&server, &app);
            match held {
                // The lock is ours, so what counts is the end of who waits for it.
                Some(_) => wait_for_state(&server, &app, "canceled"),
                None => drop(hold(&lock)),
            }
            took.push(begun.elapsed().as_secs_f64());
            assert!(canceling.wait_with_output().unwrap().status.success());
            assert_eq!(server.deploy_state(&app), "canceled");
            drop(pushed.wait_with_output().unwrap());
        }
        took.sort_by(f64::total_cmp);
        let longest = took[took.len() - 1];
        let remark = if longest > AIM { "  above the aim" } else { "" };
        println!("{:<32} {:<10} {:>7.2} {longest:>7.2}{remark}", case.name, case.state, took[took.len() / 2]);
        server.paas(&["apps:destroy", &app, "--force"]).expect_success();
    }
}

/// Waits until nobody holds a lock, and holds it.
fn hold(path: &std::path::Path) -> File {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    let begun = Instant::now();
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        assert!(begun.elapsed() < PATIENCE, "{} is never free", path.display());
        std::thread::sleep(POLL);
    }
    file
}

fn cancel(server: &Server, app: &str) -> Child {
    server.command(PAAS).args(["deploys:cancel", app]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Looks into the database, which costs less than a command.
fn wait_for_state(server: &Server, app: &str, state: &str) {
    let connection = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let newest = "SELECT deployments.state FROM deployments JOIN apps ON apps.id = deployments.app_id
                  WHERE apps.name = ?1 ORDER BY deployments.id DESC LIMIT 1";
    let begun = Instant::now();
    loop {
        let now: Option<String> = connection.query_row(newest, [app], |row| row.get(0)).ok();
        if now.as_deref() == Some(state) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{app} is {now:?} and never {state}");
        std::thread::sleep(POLL);
    }
}

fn dockerfile(repository: &Repository, rest: &str) {
    repository.write("Dockerfile", &format!("FROM busybox:stable\nCOPY . /www\n{rest}")).commit("x");
}

fn serves(repository: &Repository) {
    repository.write("index.html", "it serves");
    dockerfile(repository, "EXPOSE 3000\nCMD [\"httpd\", \"-f\", \"-p\", \"3000\", \"-h\", \"/www\"]\n");
}

fn endless(repository: &Repository) {
    repository.write("paas.toml", "[build]\nbuildpack = \"./bp\"\n");
    let buildpack =
        "title = \"Own\"\norder = 1\ndetect = []\n[[processes]]\nname = \"web\"\ncommand = \"x\"\nsource = \"x\"\n";
    repository.write("bp/buildpack.toml", buildpack);
    let open = "{% for i in range(end=100000) %}".repeat(3);
    repository.write("bp/Dockerfile.tera", &format!("{open}{}", "{% endfor %}".repeat(3))).commit("x");
}

/// A server that takes connections, and never says anything.
fn silent_submodule(_: &Server, repository: &Repository) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    let modules = format!("[submodule \"m\"]\n\tpath = m\n\turl = http://{address}/m\n");
    repository.write("Dockerfile", "FROM busybox:stable\n").write(".gitmodules", &modules).commit("x");
    // A link to a commit in the index only, whose directory is there, so that `git add` leaves it alone.
    std::fs::create_dir(repository.path.join("m")).unwrap();
    let link = format!("160000,{},m", "1".repeat(40));
    repository.git(&["update-index", "--add", "--cacheinfo", &link]).expect_success();
    repository.git(&["commit", "-q", "-m", "link"]).expect_success();
}

/// An app whose old container must be gone before the new one starts, and does not go when it is asked.
fn in_the_way(server: &Server, repository: &Repository) {
    let app = "app-6";
    repository.write("index.html", "it serves");
    dockerfile(
        repository,
        "EXPOSE 3000\nCMD [\"sh\", \"-c\", \"trap '' TERM; httpd -f -p 3000 -h /www & wait; wait\"]\n",
    );
    server.paas(&["checks:set", app, "mode=disabled"]).expect_success();
    server.paas(&["ps:set", app, "stop-timeout=30s"]).expect_success();
    repository.push().expect_success();
}
