//! How long the build of a one-line change takes, by language, against a plain Dockerfile of the kind people write by
//! hand: dependencies in a layer of their own, before the source. Both build the same commits of the same app on the
//! same engine, interleaved, because machines are shared and noisy: only the ratio means something.
//!
//! The folder `by_hand` has a Dockerfile for each language, named after the app in tests/apps; its first line
//! names the file that changes, which says `v1`.

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
#[expect(dead_code, reason = "the bench needs only a part of it")]
mod measure;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use harness::{Repository, Server, docker, run};
use measure::{PATIENCE, median};

/// Rounds, unless the first argument says how many.
const ROUNDS: usize = 5;
/// What the ratio should be below.
const AIM: f64 = 1.1;

/// An app that is built both ways.
struct App {
    name: String,
    /// The file that changes.
    file: String,
    dockerfile: PathBuf,
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let rounds = match arguments.first().and_then(|argument| argument.parse().ok()) {
        Some(rounds) => {
            arguments.remove(0);
            rounds
        }
        None => ROUNDS,
    };
    let apps: Vec<App> =
        apps().into_iter().filter(|app| arguments.is_empty() || arguments.contains(&app.name)).collect();
    assert!(!apps.is_empty(), "there is no such app: {arguments:?}");
    println!("{rounds} rounds each, after a first build; seconds, medians");
    println!("{:<24} {:>8} {:>8} {:>6}", "app", "paas", "by hand", "ratio");
    let mut ratios = Vec::new();
    for app in &apps {
        let (ours, theirs) = measure(app, rounds);
        let ratio = ours / theirs;
        let remark = if ratio > AIM { "  above the aim" } else { "" };
        println!("{:<24} {ours:>8.2} {theirs:>8.2} {ratio:>6.2}{remark}", app.name);
        ratios.push(ratio);
    }
    println!("ratios: median {:.2}, {} of {} above {AIM}", median(ratios.clone()), above(&ratios), ratios.len());
}

fn above(ratios: &[f64]) -> usize {
    ratios.iter().filter(|ratio| **ratio > AIM).count()
}

fn apps() -> Vec<App> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/by_hand");
    let mut apps: Vec<App> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let dockerfile = entry.unwrap().path();
            let text = std::fs::read_to_string(&dockerfile).unwrap();
            let first = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a first line");
            let name = dockerfile.file_stem().unwrap().to_str().unwrap().to_owned();
            App { name, file: first.to_owned(), dockerfile }
        })
        .collect();
    apps.sort_by(|one, other| one.name.cmp(&other.name));
    apps
}

/// The seconds that the builds of a change take, ours and by hand: the medians of some rounds.
fn measure(app: &App, rounds: usize) -> (f64, f64) {
    let server = Server::start();
    server.paas(&["apps:create", "bench"]).expect_success();
    server.paas(&["config:set", "bench", "SECRET_KEY=secret"]).expect_success();
    let repository = server.repository(&app.name, "bench");
    let byhand = ByHand { dockerfile: app.dockerfile.clone(), tag: format!("paas-bench-by-hand-{}", server.slot) };
    build(&server, &repository);
    byhand.build(&repository);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut version = "v1".to_owned();
    for round in 1..=rounds {
        // No run before has built this.
        let next = format!("v1-{}-{round}", std::process::id());
        repository.replace(&app.file, &version, &next).commit(&next);
        version = next;
        // Who goes first changes, so that neither profits from what the other left in the page cache.
        if round % 2 == 0 {
            theirs.push(byhand.build(&repository));
        }
        ours.push(build(&server, &repository));
        if round % 2 == 1 {
            theirs.push(byhand.build(&repository));
        }
    }
    (median(ours), median(theirs))
}

/// Pushes, and returns the seconds that the deploy was building: from what is in the repository to an image.
fn build(server: &Server, repository: &Repository) -> f64 {
    repository.push().expect_success();
    server.wait_for("the drain", PATIENCE, || server.deploy_state("bench") == "succeeded");
    let connection = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let building = "SELECT (SELECT min(at) FROM operation_steps AS later
                            WHERE later.operation_id = steps.operation_id AND later.rowid > steps.rowid) - at
                    FROM operation_steps AS steps WHERE step = 'building' ORDER BY rowid DESC LIMIT 1";
    connection.query_row(building, [], |row| row.get::<_, f64>(0)).unwrap() / 1000.0
}

/// A plain build, by Docker's own client.
struct ByHand {
    dockerfile: PathBuf,
    tag: String,
}

impl ByHand {
    /// The seconds until the newest commit is an image.
    fn build(&self, repository: &Repository) -> f64 {
        let begun = Instant::now();
        let mut archive = Command::new("git")
            .arg("-C")
            .arg(&repository.path)
            .args(["archive", "--format=tar", "main"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let files = tempfile::tempdir().unwrap();
        let mut unpack = Command::new("tar");
        unpack.arg("-x").arg("-C").arg(files.path()).stdin(archive.stdout.take().unwrap());
        assert!(unpack.status().unwrap().success() && archive.wait().unwrap().success());
        let mut build = docker();
        build.env("DOCKER_BUILDKIT", "1").args(["build", "-q", "-t", &self.tag, "-f"]);
        run(build.arg(&self.dockerfile).arg(files.path())).expect_success();
        begun.elapsed().as_secs_f64()
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        run(docker().args(["rmi", "-f", &self.tag]));
    }
}
