//! What a deploy needs and does not have: Docker, Caddy, room on the disk. It is said before anything is changed, and
//! all is well again when the thing is back.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    harness::{Ran, Server, command, docker, docker_socket, run, try_get},
    processes::{kill, processes, sleeps, unique_seconds},
    untouched::{Untouched, assert_refused, wait_until_over},
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A Docker of the test's own: a socket before the real one's, which can be shut.
struct Docker {
    directory: TempDir,
    /// The connections that are open.
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Docker {
    fn start() -> Docker {
        Docker::start_with(carry)
    }

    /// With `answer` to carry what the engine says.
    fn start_with(answer: fn(UnixStream, UnixStream)) -> Docker {
        let directory = tempfile::Builder::new().prefix("paas-docker-").tempdir_in("/tmp").unwrap();
        let docker = Docker { directory, streams: Arc::default() };
        let listener = UnixListener::bind(docker.socket()).unwrap();
        let streams = Arc::clone(&docker.streams);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, engine) = (client.unwrap(), UnixStream::connect(docker_socket()).unwrap());
                let again = |stream: &UnixStream| stream.try_clone().unwrap();
                streams.lock().unwrap().extend([again(&client), again(&engine)]);
                let (from_client, to_client) = (again(&client), client);
                let (from_engine, to_engine) = (again(&engine), engine);
                std::thread::spawn(move || carry(from_client, to_engine));
                std::thread::spawn(move || answer(from_engine, to_client));
            }
        });
        docker
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Ends all connections, and takes no more.
    fn shut(&self) {
        std::fs::rename(self.socket(), self.directory.path().join("shut.sock")).unwrap();
        for stream in self.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Takes connections again.
    fn open(&self) {
        std::fs::rename(self.directory.path().join("shut.sock"), self.socket()).unwrap();
    }
}

/// Carries bytes from one stream to another, until either ends.
fn carry(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}

/// As [`carry`], but the end of each line that the engine says about a build arrives by itself.
fn carry_line_ends_apart(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = vec![0; 64 * 1024];
    'carry: while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let end = rest.windows(3).position(|bytes| bytes == b"}\r\n").map_or(rest.len(), |position| position + 1);
            if to.write_all(&rest[..end]).is_err() {
                break 'carry;
            }
            rest = &rest[end..];
            if !rest.is_empty() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    drop(to.shutdown(Shutdown::Write));
}

#[test]
fn what_docker_says_may_arrive_in_any_pieces() {
    let docker = Docker::start_with(carry_line_ends_apart);
    let server = Server::start_with(&[("DOCKER_HOST", &docker.address())]);
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    assert!(server.get("blog", "/").body.contains("v1"));
    let broken = repository.become_fixture("broken-build");
    broken.commit("broken");
    repository.push().expect_code(1).says("build failed: v1 still serves");
}

#[test]
fn without_docker_nothing_is_deployed_and_everything_else_goes_on() {
    let docker = Docker::start();
    let server = Server::start_with(&[("DOCKER_HOST", &docker.address())]);
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    let before = Untouched::before(&server, &repository, "blog");

    docker.shut();
    let said = format!("Docker does not answer at {}", docker.address());
    let hint = "start it with `systemctl start docker`, or set DOCKER_HOST to the address where it listens; a user other than root \
                must be in the docker group";
    repository.replace("www/index.html", "v1", "v2").commit("v2");
    let pushed = repository.push().says(&said);
    assert_refused(pushed, "Docker does not answer: v1 still serves", hint);
    server.ssh("ps:restart blog").expect_code(69).says(&said).says(hint);
    server.paas(&["config:set", "blog", "A=1"]).expect_code(69).says(&said).says(hint);
    before.check(&server, &repository);

    docker.open();
    repository.push().expect_success();
    assert!(server.get("blog", "/").body.contains("v2"));

    // It goes in the middle of a build.
    let before = Untouched::before(&server, &repository, "blog");
    let seconds = unique_seconds(&server);
    repository
        .become_fixture("slow-build")
        .write("index.html", &seconds)
        .replace("Dockerfile", "$(seq 20)", "1")
        .replace("Dockerfile", "sleep 1;", &format!("sleep {seconds};"))
        .commit("slow");
    let pushing = repository.begin_push();
    server.wait_for("the build's process", PATIENCE, || sleeps(&seconds));
    docker.shut();
    let pushed: Ran = pushing.wait_with_output().unwrap().into();
    let release = server.json(&["apps:info", "blog"])["release"].clone();
    let hint = "`systemctl status docker` shows why it ended; once it answers again, do this again";
    let reason = format!("Docker went away when it should build the image: v{release} still serves");
    assert_refused(pushed, &reason, hint);
    assert!(server.get("blog", "/").body.contains("v2"));
    docker.open();
    wait_until_over(&server, "blog");
    assert_eq!(server.deploy_state("blog"), "failed");
    server.wait_for("the end of the build's process", PATIENCE, || !sleeps(&seconds));
    before.check(&server, &repository);
}

#[test]
fn a_caddy_that_dies_is_started_again() {
    let programs = tempfile::tempdir().unwrap();
    let caddy = programs.path().join("caddy");
    let search = std::env::var_os("PATH").unwrap();
    let real = std::env::split_paths(&search).map(|path| path.join("caddy")).find(|path| path.exists()).unwrap();
    std::os::unix::fs::symlink(real, &caddy).unwrap();
    let server = Server::start_with(&[("PAAS_CADDY", caddy.to_str().unwrap())]);
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    let before = Untouched::before(&server, &repository, "blog");
    let caddyfile = server.root().join("caddy/Caddyfile").display().to_string();
    let kill_caddy = || kill(&processes(|arguments, _| arguments.contains("run\0") && arguments.contains(&caddyfile)));
    let answers = || server.try_get("blog.localhost", "/").is_ok_and(|answer| answer.status == 200);

    kill_caddy();
    server.wait_for("Caddy", PATIENCE, answers);
    before.check(&server, &repository);

    // A Caddy that cannot be started.
    std::fs::rename(&caddy, programs.path().join("gone")).unwrap();
    kill_caddy();
    repository.replace("www/index.html", "v1", "v2").commit("v2");
    let pushed = repository.push().says("Caddy does not answer: ");
    let hint = "`paas serve` starts Caddy and keeps it running: check that it runs, with `systemctl status paas`";
    assert_refused(pushed, "Caddy does not answer: v1 still serves", hint);
    server.ssh("ps:restart blog").expect_code(69).says("Caddy does not answer").says(hint);
    let log = server.daemon_output();
    assert!(log.contains("cannot start Caddy"), "{log}");
    assert!(!answers());

    std::fs::rename(programs.path().join("gone"), &caddy).unwrap();
    server.wait_for("Caddy", PATIENCE, answers);
    before.check(&server, &repository);
    repository.push().expect_success();
    assert!(server.get("blog", "/").body.contains("v2"));
}

#[test]
fn a_caddy_of_the_users_own_is_asked_for_by_the_line_that_starts_it() {
    let server = Server::start_with(&[("PAAS_PROXY_MODE", "external")]);
    let repository = server.repository("dockerfile", "blog");
    let caddyfile = server.root().join("caddy/Caddyfile").display().to_string();
    let hint = format!("start your Caddy, or see its log: `caddy run --config {caddyfile} --adapter caddyfile`");
    let pushed = repository.push().says("Caddy does not answer: ");
    assert_refused(pushed, "Caddy does not answer: nothing was deployed to blog", &hint);
    assert_eq!(server.containers(), Vec::<String>::new());

    // What the hint says to type, typed; the server ends it with the rest.
    let mut caddy = server.command("caddy");
    caddy.args(["run", "--config", &caddyfile, "--adapter", "caddyfile"]);
    let mut caddy = caddy.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    server.wait_for("Caddy", PATIENCE, || server.try_get("blog.localhost", "/").is_ok());
    repository.push().expect_success();
    assert!(server.get("blog", "/").body.contains("v1"));

    caddy.kill().unwrap();
    caddy.wait().unwrap();
    repository.replace("www/index.html", "v1", "v2").commit("v2");
    assert_refused(repository.push(), "Caddy does not answer: v1 still serves", &hint);
}

/// A small disk of its own, which only root can have.
struct Disk(TempDir);

impl Disk {
    fn mount(megabytes: u32) -> Disk {
        let disk = Disk(tempfile::Builder::new().prefix("paas-disk-").tempdir_in("/tmp").unwrap());
        let size = format!("size={megabytes}m");
        run(command("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(disk.0.path())).expect_success();
        disk
    }

    fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.0.path()).unwrap();
        disk.f_bavail * disk.f_frsize
    }

    /// Leaves only so much room.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.0.path().join("filler");
        let size = self.free() - left;
        match std::fs::write(&path, vec![0; usize::try_from(size).unwrap()]) {
            // The server may have written something meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull && left == 0 => {}
            written => written.unwrap(),
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(command("umount").arg("--lazy").arg(self.0.path()));
    }
}

#[test]
fn a_full_disk_is_said_before_anything_is_begun() {
    let disk = Disk::mount(100);
    let mut server = Server::prepare_in(disk.0.path(), &[("PAAS_MIN_FREE_MB", "30")]);
    server.start_daemon();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    let before = Untouched::before(&server, &repository, "blog");
    repository.replace("www/index.html", "v1", "v2").commit("v2");
    let hint = "`paas cleanup` removes what no app needs; `paas cleanup --build-cache` also empties Docker's build \
                cache; `paas disk` shows what uses the disk";
    let root = server.root().display().to_string();

    let filler = disk.fill(20_500_000);
    let said = format!("the disk that holds {root} is full: 20 MB free, 30 MB needed");
    assert_refused(repository.push().says(&said), "pre-receive hook declined", hint);
    server.ssh("ps:restart blog").expect_code(69).says(&said).says(hint);
    before.check(&server, &repository);
    std::fs::remove_file(filler).unwrap();

    // Not even git could take anything in.
    let filler = disk.fill(0);
    let said = format!("the disk that holds {root} is full: 0 MB free, 30 MB needed");
    let pushed = repository.push().says(&format!("fatal: remote error: {said}")).says(hint).expect_code(128);
    assert_eq!(pushed.talk().matches(&said).count(), 1, "{pushed}");
    server.ssh("ps:restart blog").expect_code(69).says(&said).says(hint);
    before.check(&server, &repository);

    // What the hint says to type, typed.
    let disk_is = server.ssh("disk").expect_success();
    // What the database had beside it is freed now and then.
    let free = format!("B free of 104.9 MB: {root}");
    assert!(disk_is.stdout.contains(&free) && !disk_is.stdout.contains(&format!("M{free}")), "{disk_is}");
    let left = server.root().join("repos/blog.git/objects/tmp_objdir-incoming-x");
    std::fs::remove_file(filler).unwrap();
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("pack"), vec![1; 40_000_000]).unwrap();
    run(command("touch").args(["-d", "2 days ago"]).arg(left.join("pack")).arg(&left)).expect_success();
    disk.fill(0);
    let cleaned = server.ssh("cleanup").expect_success();
    assert!(cleaned.stdout.contains("temporary files: 1 removed, 40.0 MB freed"), "{cleaned}");
    before.check(&server, &repository);

    repository.push().expect_success();
    assert!(server.get("blog", "/").body.contains("v2"));
}

#[test]
fn a_disk_that_fills_in_the_middle_of_a_deploy_loses_nothing() {
    let disk = Disk::mount(100);
    let mut server = Server::prepare_in(disk.0.path(), &[("PAAS_MIN_FREE_MB", "5")]);
    server.start_daemon();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    let before = Untouched::before(&server, &repository, "blog");
    let id = server.instance_id().unwrap();
    repository
        .become_fixture("slow-build")
        .write("index.html", &format!("slow of {id}\n"))
        .replace("Dockerfile", "$(seq 20)", "$(seq 8)")
        .commit("slow");
    let pushing = repository.begin_push();
    server.wait_for("the slow step", PATIENCE, || {
        server.paas(&["deploys:output", "blog"]).stdout.contains("second 1 of")
    });

    // The database may still have room of its own for what is left to be written: then the deploy is whole. Where it has
    // not, nothing has changed.
    let filler = disk.fill(0);
    let pushed: Ran = pushing.wait_with_output().unwrap().into();
    let page = server.get("blog", "/").body;
    let went_on = pushed.code == 0;
    assert_eq!(page.starts_with("slow of"), went_on, "{page}: {pushed}");
    std::fs::remove_file(filler).unwrap();
    wait_until_over(&server, "blog");
    if !went_on {
        before.check(&server, &repository);
    }
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let whole: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");

    // With room again everything goes on.
    repository.write("index.html", &format!("next of {id}\n")).replace("Dockerfile", "$(seq 8)", "1").commit("next");
    repository.push().expect_success();
    assert!(server.get("blog", "/").body.starts_with("next of"));
    wait_until_over(&server, "blog");
    assert_eq!(server.containers().len(), 1);
}

/// Counts how often it was checked, in a file.
const COUNTING_CHECK: &str = r##"FROM busybox:stable
RUN mkdir -p /www/cgi-bin && printf '#!/bin/sh\necho >> /tmp/checks\nprintf "Content-Type: text/plain\\r\\n\\r\\nok\\n"\n' \
    > /www/cgi-bin/check && chmod 755 /www/cgi-bin/check && echo hello > /www/index.html
CMD ["sh", "-c", "exec httpd -f -p \"$PORT\" -h /www"]
"##;

/// A writer in SQLite has the database for itself. The daemon has something to write meanwhile, and must not wait for its
/// turn on the threads that serve. It waits for 15 s, then it says so and tries again.
#[test]
fn while_another_process_writes_the_daemon_answers_and_checks_go_on() {
    let server = Server::start();
    let repository = server.empty_repository("blog");
    repository
        .write("Dockerfile", COUNTING_CHECK)
        .write("paas.toml", "[checks]\npath = \"/cgi-bin/check\"\ninterval = \"1s\"\n")
        .commit("first");
    repository.push().expect_success();
    server.paas(&["ps:scale", "blog", "web=2"]).expect_success();
    wait_until_over(&server, "blog");
    let mut containers = server.containers();
    containers.sort();
    let [first, second] = &containers[..] else { panic!("{containers:?}") };
    let checks = || {
        let counted = run(docker().args(["exec", second, "wc", "-l", "/tmp/checks"])).expect_success();
        counted.stdout.split_whitespace().next().unwrap().parse::<u32>().unwrap()
    };

    let mut database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let writing = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let since = Instant::now();
    run(docker().args(["stop", "-t", "0", first])).expect_success();
    let is_down = || server.daemon_output().contains("web.1 of blog is down");
    // The daemon wants to write now, and cannot.
    server.wait_for("the daemon to see the end of web.1", PATIENCE, is_down);
    let before = checks();
    for _ in 0..20 {
        let page = try_get(server.port(1), "nothing.localhost", "/").expect("the daemon answers");
        assert!(page.body.contains("There is no app at nothing.localhost"), "{}", page.body);
    }
    server.wait_for("more checks of web.2", PATIENCE, || checks() >= before + 2);
    let gave_up = server.daemon_output().contains("the database cannot");
    assert!(!gave_up || since.elapsed() > Duration::from_secs(15), "it gave up: {}", server.daemon_output());
    drop(writing);
    // In whichever way its end was noticed.
    let is_back = || {
        let said = server.daemon_output();
        said.contains("web.1 of blog is healthy") || said.contains("web.1 of blog gets requests again")
    };
    server.wait_for("web.1 to be back", PATIENCE, is_back);
}
