//! How long from `git push` of a one-line change until the new version answers through Caddy, against the bare floor:
//! a push of the same commit to a bare repository, then the same Dockerfile through the engine's build, run and first
//! good answer, by a script that does nothing else. Interleaved, in one run, because machines are shared and noisy:
//! only the ratio means something. Prints as well what the daemon and the edge take of memory, how long
//! `apps:list` of 1,000 apps and a plan of 50,000 files take, and the binary's size.

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
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use harness::{PAAS, Repository, Server, docker, run};
use measure::{PATIENCE, first_answer, median, proportional_set_size, until_live};

/// Rounds, unless the first argument says how many.
const ROUNDS: usize = 10;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    let server = Server::start();
    let repository = server.repository("node-express", "bench");
    println!("{rounds} rounds; a first push warms the caches");
    repository.push().expect_success();
    let floor = Floor::new(&server, &repository);
    floor.run(&repository, "v1");
    let idle = memory(&server);

    let (mut live, mut returned, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let mut version = "v1".to_owned();
    for round in 1..=rounds {
        let next = format!("v1-{round}");
        repository.replace("server.js", &version, &next).commit(&next);
        version = next;
        // Who goes first changes, so that neither profits from what the other left in the page cache.
        if round % 2 == 0 {
            bare.push(floor.run(&repository, &version));
        }
        let (until_live, until_returned) = push(&server, &repository, &version);
        live.push(until_live);
        returned.push(until_returned);
        if round % 2 == 1 {
            bare.push(floor.run(&repository, &version));
        }
        // The old container's end is nobody's wait, and shall not be in the next round's time either.
        server.wait_for("the drain", PATIENCE, || server.deploy_state("bench") == "succeeded");
        println!(
            "round {round:2}: live {:.3} s, push returned {:.3} s, floor {:.3} s",
            live[round - 1],
            returned[round - 1],
            bare[round - 1]
        );
    }
    for round in rounds + 1..=20 {
        let next = format!("v1-{round}");
        repository.replace("server.js", &version, &next).commit(&next);
        version = next;
        push(&server, &repository, &version);
        server.wait_for("the drain", PATIENCE, || server.deploy_state("bench") == "succeeded");
    }
    let after = memory(&server);

    let (live, returned, bare) = (median(live), median(returned), median(bare));
    println!("median: live {live:.3} s, push returned {returned:.3} s, floor {bare:.3} s");
    println!("ratio: {:.2} (live to floor)", live / bare);
    println!("memory (PSS): daemon {:.1} MB idle, {:.1} MB after 20 deploys", idle.0, after.0);
    println!("memory (PSS): edge {:.1} MB idle, {:.1} MB after 20 deploys", idle.1, after.1);
    println!("apps:list with 1,000 apps: {:.1} ms (median of 20, with the start of the process)", apps_list());
    let (took, bare, peak) = large_plan();
    println!(
        "plan of 50,000 files: {took:.2} s, {peak:.0} MB at its peak; {:.1} of a bare walk through them, {bare:.2} s \
         (medians of 5)",
        took / bare
    );
    let size = std::fs::metadata(PAAS).unwrap().len();
    println!("binary: {:.1} MB", size as f64 / 1e6);
}

/// Pushes, and returns the seconds until Caddy answers with the new version and until git returned.
fn push(server: &Server, repository: &Repository, version: &str) -> (f64, f64) {
    until_live(server.port(3), "bench.localhost", version, || drop(repository.push().expect_success()))
}

/// What a deploy cannot do without, done by nothing but git and docker.
struct Floor {
    directory: std::path::PathBuf,
    network: String,
    address: String,
}

impl Floor {
    fn new(server: &Server, repository: &Repository) -> Floor {
        let directory = server.directory.path().join("floor");
        std::fs::create_dir_all(directory.join(".paas")).unwrap();
        run(Command::new("git").args(["init", "-q", "--bare"]).arg(directory.join("bare.git"))).expect_success();
        repository.git(&["remote", "add", "floor", directory.join("bare.git").to_str().unwrap()]).expect_success();
        let plan = server.paas(&["plan", repository.path.to_str().unwrap(), "--dockerfile"]);
        std::fs::write(directory.join("Dockerfile"), plan.expect_success().stdout).unwrap();
        let instance = server.instance_id().unwrap();
        Floor { directory, network: format!("paas-{instance}"), address: format!("10.222.{}.250", server.slot) }
    }

    /// Seconds until a version answers.
    fn run(&self, repository: &Repository, version: &str) -> f64 {
        let begun = Instant::now();
        repository.git(&["push", "-q", "floor", "main"]).expect_success();
        let mut archive = Command::new("git")
            .arg("--git-dir")
            .arg(self.directory.join("bare.git"))
            .args(["archive", "--format=tar", "--add-file"])
            .arg(self.directory.join("Dockerfile"))
            .arg("main")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let tag = format!("{}-floor", self.network);
        let built = docker()
            .env("DOCKER_BUILDKIT", "1")
            .args(["build", "-q", "-t", &tag, "-"])
            .stdin(archive.stdout.take().unwrap())
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        archive.wait().unwrap();
        run(docker()
            .args(["run", "-d", "--init", "--name", &tag, "--network", &self.network, "--ip", &self.address])
            .args(["-e", "PORT=5000", &tag]))
        .expect_success();
        let seconds = first_answer(&format!("{}:5000", self.address), "bench.localhost", version, begun);
        run(docker().args(["rm", "-f", &tag]));
        seconds
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let tag = format!("{}-floor", self.network);
        run(docker().args(["rm", "-f", &tag]));
        run(docker().args(["rmi", "-f", &tag]));
    }
}

/// The proportional set size of the daemon and of the edge, in MB.
fn memory(server: &Server) -> (f64, f64) {
    let lock = std::fs::read_to_string(server.root().join("locks/resolver.lock")).unwrap();
    let holder: serde_json::Value = serde_json::from_str(&lock).unwrap();
    let resolver: u32 = holder["what"].as_str().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    (proportional_set_size(server.daemon_id()), proportional_set_size(resolver))
}

/// The seconds that `paas plan` takes for 50,000 files, those that `find` takes to stat them, and the most memory that
/// the plan held, in MB.
fn large_plan() -> (f64, f64, f64) {
    let directory = tempfile::tempdir().unwrap();
    for part in 0..500 {
        let folder = directory.path().join(format!("src/module-{}/part-{part}", part % 20));
        std::fs::create_dir_all(&folder).unwrap();
        for number in 0..100 {
            let extension = ["ts", "py", "rs", "go", "json", "md"][number % 6];
            std::fs::write(folder.join(format!("file-{number}.{extension}")), "x = 1\n").unwrap();
        }
    }
    let package = r#"{ "scripts": { "start": "node server.js" }, "dependencies": { "express": "4" } }"#;
    std::fs::write(directory.path().join("package.json"), package).unwrap();
    let (mut took, mut bare, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..5 {
        let begun = Instant::now();
        let mut plan = Command::new(PAAS).arg("plan").arg(directory.path()).stdout(Stdio::null()).spawn().unwrap();
        let status = Path::new("/proc").join(plan.id().to_string()).join("status");
        while plan.try_wait().unwrap().is_none() {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("VmHWM:"));
            let kilobytes = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<f64>().ok());
            peak = peak.max(kilobytes.unwrap_or(0.0) * 1024.0 / 1e6);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(plan.wait().unwrap().success());
        took.push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let find = Command::new("find").arg(directory.path()).args(["-type", "f", "-perm", "-111"]).status().unwrap();
        assert!(find.success());
        bare.push(begun.elapsed().as_secs_f64());
    }
    (median(took), median(bare), peak)
}

/// Milliseconds that `paas apps:list` takes where there are 1,000 apps.
fn apps_list() -> f64 {
    let server = Server::prepare(&[]);
    let connection = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    connection.execute_batch("BEGIN").unwrap();
    for number in 0..1000 {
        let name = format!("app-{number:04}");
        connection.execute("INSERT INTO apps (name, state, created_at) VALUES (?1, 'new', 0)", [name]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
    let times = (0..20).map(|_| {
        let begun = Instant::now();
        let listed = server.paas(&["apps:list"]).expect_success();
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        assert_eq!(listed.stdout.lines().count(), 1001);
        took
    });
    median(times.collect())
}
