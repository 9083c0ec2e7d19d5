//! A small machine stays usable: what no app needs goes, what takes space is shown, builds take turns and stay within
//! their bounds.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::{
    harness::{PAAS, Ran, Repository, Server, command, docker, end_processes, locks, run, run_with_input},
    processes::{sleeps, unique_seconds},
    untouched::{assert_locks_are_free, wait_until_over},
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What engines answer that cannot count now: one that counts for somebody else, and one that counted what is gone.
const BUSY: [(&str, &str); 2] = [
    ("500 Internal Server Error", r#"{"message":"a disk usage operation is already running"}"#),
    ("404 Not Found", r#"{"message":"NotFound: snapshot 7da5e20fd930-init-view does not exist: not found"}"#),
];

/// Pushes a version of the fixture `dockerfile` with a page of its own, and waits until it is drained and pruned after.
fn push_page(server: &Server, repository: &Repository, app: &str, page: &str) {
    repository.write("www/index.html", &format!("{page} of {}\n", server.instance_id().unwrap())).commit(page);
    repository.push().expect_success();
    wait_until_over(server, app);
}

/// A tag without what is made up in it.
fn plain(tag: &str) -> String {
    let parts = tag.rsplit_once('/').and_then(|(app, rest)| Some((app, rest.split_once(':')?)));
    match parts {
        Some((app, (made_up, deploy))) if made_up.len() == 32 => format!("{app}:{deploy}"),
        _ => tag.to_owned(),
    }
}

/// The tag of the image that a deploy of an app built, without what is made up in it.
fn tag(server: &Server, app: &str, deploy: u32) -> String {
    format!("paas-{}/{app}:{deploy}", server.instance_id().unwrap())
}

#[test]
fn images_of_the_last_good_releases_are_kept_and_no_container_is_without_bounds() {
    let server = Server::start_with(&[("PAAS_IMAGES_KEPT", "2")]);
    let repository = server.repository("dockerfile", "blog");
    for page in ["v1", "v2", "v3"] {
        push_page(&server, &repository, "blog", page);
    }
    let mut kept = [tag(&server, "blog", 3), tag(&server, "blog", 2)];
    let images = || {
        let mut images: Vec<String> = server.images().iter().map(|tag| plain(tag)).collect();
        images.sort();
        images
    };
    kept.sort();
    server.wait_for("the oldest image to be pruned", PATIENCE, || images() == kept);

    // What only a failed deploy had is not among the last good ones.
    repository.become_fixture("broken-exit").commit("broken");
    repository.push().expect_failure();
    server.paas(&["cleanup"]).expect_success();
    assert_eq!(images(), kept);
    assert!(server.get("blog", "/").body.starts_with("v3"));

    let names = server.containers();
    let format = "{{.HostConfig.PidsLimit}} {{.HostConfig.SecurityOpt}} {{.HostConfig.LogConfig.Type}} \
                  {{index .HostConfig.LogConfig.Config \"max-size\"}} {{index .HostConfig.LogConfig.Config \"max-file\"}}";
    let inspected = run(docker().args(["inspect", "--format", format]).args(&names)).expect_success();
    assert_eq!(inspected.stdout, "1024 [no-new-privileges] json-file 10m 3\n");
}

#[test]
fn cleanup_removes_what_nobody_needs_and_disturbs_no_running_deploy() {
    let mut server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    push_page(&server, &repository, "blog", "v1");
    let id = server.instance_id().unwrap();
    repository.become_fixture("slow-build").write("index.html", &format!("slow of {id}\n")).commit("slow");
    let pushing = repository.begin_push();
    server.wait_for("the slow step", PATIENCE, || {
        server.paas(&["deploys:output", "blog"]).stdout.contains("second 1 of")
    });
    // The daemon removes strays by itself; this is about what the command does.
    server.kill_daemon();

    let label = format!("paas.instance={id}");
    let build = |labels: &[&str], tag: &[&str]| {
        let mut command = docker();
        command.env("DOCKER_BUILDKIT", "1").args(["build", "--quiet"]).args(tag);
        for label in labels {
            command.args(["--label", label]);
        }
        let dockerfile = format!("FROM busybox:stable\nRUN echo {id} {labels:?} > /left\n");
        run_with_input(command.arg("-"), &dockerfile).expect_success().stdout.trim().to_owned()
    };
    let left = build(&[&label, "paas.app=blog", "paas.deployment=1"], &[]);
    let foreign = build(&["paas.instance=another"], &[]);
    // An image that is built, and whose deploy has not come to cut its release.
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let unfinished = "INSERT INTO operations (id, app_id, kind, action, subject, state, step, actor, door, created_at)
                      VALUES (77, 1, 'push', 'push', 'app:blog', 'running', 'building', 'daemon', 'daemon', 0);
                      INSERT INTO deployment_details (operation_id) VALUES (77)";
    database.execute_batch(unfinished).unwrap();
    let building = build(&[&label, "paas.app=blog", "paas.deployment=77"], &["--tag", &tag(&server, "blog", 77)]);
    let stray = format!("paas-{id}-stray");
    run(docker().args(["create", "--label", &label, "--name", &stray, "busybox:stable", "true"])).expect_success();
    let network = format!("paas-{id}-old");
    let subnet = format!("10.223.{}.0/29", server.slot);
    run(docker().args(["network", "create", "--label", &label, "--subnet", &subnet, &network])).expect_success();
    let logs = server.root().join("apps/blog/deploys");
    for number in 1000..1100 {
        std::fs::write(logs.join(format!("{number}.log")), "an old log\n").unwrap();
    }
    let old = server.root().join("repos/blog.git/objects/pack/tmp_pack_x");
    let new = server.root().join("repos/blog.git/objects/pack/tmp_pack_y");
    std::fs::write(&old, vec![1; 100_000]).unwrap();
    std::fs::write(&new, "a push is at it").unwrap();
    run(command("touch").args(["-d", "2 days ago"]).arg(&old)).expect_success();

    let cleaned = server.json(&["cleanup"]);
    for (kind, removed) in
        [("images", 1), ("containers", 1), ("networks", 1), ("deploy_logs", 1), ("temporary_files", 1)]
    {
        assert_eq!(cleaned[kind]["removed"], removed, "{kind} of {cleaned}");
    }
    assert!(cleaned["temporary_files"]["freed_bytes"].as_u64().unwrap() >= 100_000, "{cleaned}");
    assert_eq!(cleaned["build_cache_bytes"], serde_json::Value::Null);
    let exists = |image: &str| run(docker().args(["image", "inspect", image])).code == 0;
    assert!(!exists(&left));
    assert!(exists(&foreign), "an image of another instance");
    assert!(exists(&building), "an image that a deploy is working on");
    assert!(!logs.join("1.log").exists());
    assert!(logs.join("2.log").exists(), "the log of the deploy that runs");
    assert!(!old.exists());
    assert!(new.exists());

    drop(pushing.wait_with_output());
    server.wait_for("the slow build to serve", PATIENCE, || server.get("blog", "/").body.starts_with("slow"));
    server.wait_for("the end of its drain", PATIENCE, || server.json(&["deploys:info", "2"])["state"] == "succeeded");
    database.execute("DELETE FROM operations WHERE id = 77", []).unwrap();
    wait_until_over(&server, "blog");
    // What the deploy does not need any more goes now, if it did not by itself, and then there is nothing left to do.
    let hint = "`paas cleanup --build-cache` also empties Docker's build cache";
    let text = server.paas(&["cleanup"]).expect_success().says(hint);
    assert!(text.stdout.contains("temporary files: nothing to remove\nrows:            "), "{text}");
    assert!(!exists(&building));
    let cleaned = server.json(&["cleanup"]);
    for kind in ["images", "containers", "networks", "deploy_logs", "temporary_files"] {
        assert_eq!(cleaned[kind]["removed"], 0, "{kind} of {cleaned}");
    }
    assert!(server.get("blog", "/").body.starts_with("slow"));
    run(docker().args(["rmi", &foreign])).expect_success();
}

/// The machine's engine, but for its build cache, which the tests share and none of them may prune, for caps on
/// builds, which it does not give, and for what its data takes, which it is busy counting for somebody else at first.
struct Engine {
    directory: TempDir,
    /// What it was asked to prune.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Engine {
    fn start() -> Engine {
        let directory = tempfile::Builder::new().prefix("paas-engine-").tempdir_in("/tmp").unwrap();
        let engine = Engine { directory, asked: Arc::default() };
        let listener = UnixListener::bind(engine.socket()).unwrap();
        let (asked, counts) = (Arc::clone(&engine.asked), Arc::<AtomicUsize>::default());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, real) = (client.unwrap(), UnixStream::connect(real_socket()).unwrap());
                let (to_client, from_real) = (client.try_clone().unwrap(), real.try_clone().unwrap());
                let (asked, counts) = (Arc::clone(&asked), Arc::clone(&counts));
                std::thread::spawn(move || carry(from_real, to_client, |_| None));
                std::thread::spawn(move || {
                    carry(client, real, |piece| {
                        let head = String::from_utf8_lossy(piece);
                        let counting = head.starts_with("GET ") && head.contains("/system/df ");
                        let count = if counting { counts.fetch_add(1, Ordering::Relaxed) } else { BUSY.len() };
                        if let Some(busy) = BUSY.get(count) {
                            return Some(*busy);
                        }
                        let path = head.strip_prefix("POST ")?.split(' ').next()?;
                        if path.contains("/containers/create?") && path.contains("-build-caps-") {
                            return Some(("403 Forbidden", r#"{"message":"this engine gives no caps"}"#));
                        }
                        let (_, question) = path.split_once("/build/prune?")?;
                        asked.lock().unwrap().push(question.to_owned());
                        Some(("200 OK", r#"{"CachesDeleted":["x"],"SpaceReclaimed":1500000}"#))
                    });
                });
            }
        });
        engine
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn real_socket() -> PathBuf {
    let address = std::env::var("DOCKER_HOST").unwrap_or_default();
    PathBuf::from(address.strip_prefix("unix://").unwrap_or("/var/run/docker.sock"))
}

/// Carries bytes from one stream to another until either ends. What `answer` has an answer to goes back with it instead.
fn carry(mut from: UnixStream, mut to: UnixStream, answer: impl Fn(&[u8]) -> Option<(&'static str, &'static str)>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let sent = match answer(&buffer[..count]) {
            Some((status, body)) => {
                let length = body.len();
                write!(
                    from,
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                )
            }
            None => to.write_all(&buffer[..count]),
        };
        if sent.is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}

#[test]
fn the_build_cache_of_the_whole_engine_goes_only_where_that_was_asked_for() {
    let engine = Engine::start();
    let settings = [("DOCKER_HOST", &*engine.address()), ("PAAS_BUILD_CACHE_MAX_GB", "3")];
    let server = Server::start_with(&settings);
    // A setting has it pruned down to a size, by the daemon from time to time.
    let to_size = "all=true&keep-storage=3000000000&max-used-space=3000000000";
    server.wait_for("the daemon to prune the build cache", PATIENCE, || engine.asked().len() == 1);
    server.paas(&["cleanup"]).expect_success();
    assert_eq!(engine.asked(), [to_size]);
    let cleaned = server.paas(&["cleanup", "--build-cache"]).expect_success();
    assert!(cleaned.stdout.contains("build cache:     1.5 MB freed"), "{cleaned}");
    assert_eq!(engine.asked(), [to_size, "all=true&keep-storage=0&max-used-space=0"]);
    assert_eq!(server.json(&["cleanup", "--build-cache"])["build_cache_bytes"], 1_500_000);

    // And after each deploy.
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    server.wait_for("the build cache to be pruned", PATIENCE, || engine.asked().len() == 4);
    assert_eq!(engine.asked()[3], to_size);
}

#[test]
fn disk_shows_who_uses_what_and_what_to_type() {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    let dockerfile = "FROM busybox:stable\nCOPY data www /www/\nEXPOSE 3000\n\
                      CMD [\"sh\", \"-c\", \"cp /www/data /tmp/; echo hello; exec httpd -f -p 3000 -h /www\"]\n";
    let mut data = vec![0; 3_000_000];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut data).unwrap();
    std::fs::write(repository.path.join("data"), data).unwrap();
    repository.write("Dockerfile", dockerfile).commit("data");
    repository.push().expect_success();
    wait_until_over(&server, "blog");
    server.paas(&["apps:create", "empty"]).expect_success();

    let disk = server.json(&["disk"]);
    let blog = &disk["apps"][0];
    assert_eq!((&blog["app"], &blog["images"]), (&"blog".into(), &1.into()), "{disk}");
    for (what, least) in [
        ("images_unique_bytes", 3_000_000),
        ("images_shared_bytes", 1_000_000),
        ("containers_bytes", 3_000_000),
        ("container_logs_bytes", 6),
        ("repository_bytes", 3_000_000),
        ("deploy_logs_bytes", 100),
    ] {
        assert!(blog[what].as_u64().is_some_and(|size| (least..10_000_000).contains(&size)), "{what} of {disk}");
    }
    assert_eq!(
        (&disk["apps"][1]["app"], &disk["apps"][1]["images_unique_bytes"]),
        (&"empty".into(), &0.into()),
        "{disk}"
    );
    assert!(disk["database_bytes"].as_u64().unwrap() > 10_000, "{disk}");
    assert!(disk["engine"]["images_bytes"].as_u64().unwrap() > 3_000_000, "{disk}");
    assert!(disk["engine"]["build_cache_bytes"].is_u64(), "{disk}");
    let root = server.root().display().to_string();
    assert_eq!(disk["disks"][0]["holds"][0], root.as_str());
    assert!(disk["disks"][0]["free_bytes"].as_u64() < disk["disks"][0]["total_bytes"].as_u64(), "{disk}");

    let hint =
        "`paas cleanup` removes what no app needs; `paas cleanup --build-cache` also empties Docker's build cache";
    let text = server.paas(&["disk"]).expect_success().says(hint);
    let columns: Vec<&str> = text.stdout.lines().next().unwrap_or_default().split("  ").map(str::trim).collect();
    let columns: Vec<&str> = columns.into_iter().filter(|column| !column.is_empty()).collect();
    let header = ["APP", "IMAGES", "OWN", "SHARED", "CONTAINERS", "LOGS", "REPOSITORY", "DEPLOY LOGS", "FORMER LOGS"];
    assert_eq!(columns, header, "{text}");
    // An image takes more where the engine also keeps it packed.
    assert!(text.stdout.contains("\nblog   1       ") && text.stdout.contains("  3.0 MB      "), "{text}");
    assert!(text.stdout.contains(&root), "{text}");

    // A full disk may be what the engine died of.
    let nowhere = "unix:///nonexistent/docker.sock";
    let without_engine = |arguments: &[&str]| run(server.command(PAAS).args(arguments).env("DOCKER_HOST", nowhere));
    let disk = without_engine(&["disk"]).expect_success();
    let disk = disk.says(&format!("the size of images and containers is unknown: Docker does not answer at {nowhere}"));
    assert!(disk.stdout.contains("free of "), "{disk}");
    let cleaned = without_engine(&["cleanup"]).expect_code(69).says("Docker does not answer");
    assert!(cleaned.stdout.contains("temporary files: nothing to remove"), "{cleaned}");
}

/// Begins to push an app whose build does not end by itself, and waits until it is at it. Returns the argument of its
/// `sleep`.
fn begin_endless_build(server: &Server, app: &str) -> (Child, String) {
    let seconds = unique_seconds(server);
    let repository = server.repository("slow-build", app);
    repository
        .write("index.html", &seconds)
        .replace("Dockerfile", "$(seq 20)", "1")
        .replace("Dockerfile", "sleep 1;", &format!("sleep {seconds};"))
        .commit("endless");
    let pushing = repository.begin_push();
    server.wait_for("the build's process", PATIENCE, || sleeps(&seconds));
    (pushing, seconds)
}

fn finish(pushing: Child) -> Ran {
    pushing.wait_with_output().unwrap().into()
}

#[test]
fn builds_take_turns_and_who_waits_is_told_for_whom_and_can_be_cancelled() {
    let server = Server::start();
    let (endless, seconds) = begin_endless_build(&server, "blog");
    let repository = server.repository("dockerfile", "shop");
    let waiting = "-----> Waiting for the build of blog, deploy 1, by key:tester, begun ";
    let waits = |deploy: &str| {
        server.wait_for("the second build to wait", PATIENCE, || {
            server.paas(&["deploys:output", deploy]).stdout.contains(waiting)
        });
    };
    let pushing = repository.begin_push();
    waits("2");
    server.paas(&["deploys:cancel", "shop"]).expect_success();
    let canceled = finish(pushing).says("! [remote rejected] main -> main (canceled: nothing was deployed to shop)");
    assert!(!canceled.talk().contains("-----> Building"), "{canceled}");
    assert_eq!(server.deploy_state("blog"), "building");

    let pushing = repository.begin_push();
    waits("3");
    server.paas(&["deploys:cancel", "blog"]).expect_success();
    finish(endless).expect_failure();
    let pushed = finish(pushing).expect_success().says(waiting).says("shop v1 is live");
    assert_eq!(pushed.talk().matches("Waiting for the build").count(), 1, "{pushed}");
    server.wait_for("the end of the build's process", PATIENCE, || !sleeps(&seconds));
    assert_locks_are_free(&server);

    // As many as the setting says.
    let server = Server::start_with(&[("PAAS_BUILD_CONCURRENCY", "2")]);
    let (endless, _) = begin_endless_build(&server, "blog");
    let pushed = server.repository("dockerfile", "shop").push().expect_success();
    assert!(!pushed.talk().contains("Waiting for the build"), "{pushed}");
    assert_eq!(server.deploy_state("blog"), "building");
    server.paas(&["deploys:cancel", "blog"]).expect_success();
    finish(endless).expect_failure();
}

/// What caps the builds of the machine's engine: the contents of a file of its cgroup, wherever that is.
fn cap_of_builds(unified: &str, old: &str) -> Option<String> {
    let mount = Path::new("/sys/fs/cgroup");
    let places =
        [mount.join("docker/buildkit").join(unified), mount.join("paas-builds").join(unified), mount.join(old)];
    places.iter().find_map(|path| std::fs::read_to_string(path).ok()).map(|text| text.trim().to_owned())
}

#[test]
fn builds_are_capped_in_memory_and_processors_and_the_cap_is_taken_back() {
    // The cap is on all builds of the engine: generous, and one such test at a time.
    let turn = std::fs::File::create(locks().join("build-caps.lock")).unwrap();
    flock(&turn, FlockOperation::LockExclusive).unwrap();
    let mut server = Server::prepare(&[]);
    let config = server.directory.path().join("config.toml");
    std::fs::write(&config, "build_memory_mb = 16000\nbuild_cpus = 1.9\n").unwrap();
    server.start_daemon();
    let (endless, _) = begin_endless_build(&server, "blog");
    let memory = || cap_of_builds("memory.max", "memory/docker/buildkit/memory.limit_in_bytes");
    let quota = || cap_of_builds("cpu.max", "cpu/docker/buildkit/cpu.cfs_quota_us");
    let log = || server.paas(&["deploys:output", "blog"]).expect_success().stdout;
    server.wait_for("the cap on memory", PATIENCE, || {
        assert!(!log().contains("not capped"), "{}", log());
        memory().is_some_and(|memory| memory == "16000000000" || memory == "15999995904")
    });
    server.wait_for("the cap on processors", PATIENCE, || {
        quota().is_some_and(|quota| ["190000", "190000 100000"].contains(&quota.as_str()))
    });
    // What keeps the cap serves no app, and is left alone as long as the build runs.
    assert_eq!(server.json(&["cleanup"])["containers"]["removed"], 0);
    let report = server.json(&["report"]);
    assert_eq!(report["builds"]["running"], 1, "{report}");
    assert_eq!(report["builds"]["capped"]["up"], serde_json::Value::Null, "{report}");
    assert!(report["builds"]["capped"].get("down").is_none(), "{report}");
    let text = server.paas(&["report"]).expect_success();
    assert!(text.stdout.contains("capped at 16.0 GB of memory, 1.9 processors: in force"), "{text}");
    server.paas(&["deploys:cancel", "blog"]).expect_success();
    finish(endless).expect_failure();
    server.wait_for("what kept the cap to be gone", PATIENCE, || server.containers().is_empty());

    // Without the setting there is no cap, also on a machine that was not started again.
    server.stop_daemon();
    std::fs::write(&config, "").unwrap();
    server.start_daemon();
    server.repository("dockerfile", "shop").push().expect_success();
    let is_free = |cap: Option<String>| {
        cap.is_none_or(|cap| ["max", "max 100000", "-1", "9223372036854771712"].contains(&cap.as_str()))
    };
    assert!(is_free(cap_of_builds("memory.max", "memory/docker/buildkit/memory.limit_in_bytes")));
    assert!(is_free(cap_of_builds("cpu.max", "cpu/docker/buildkit/cpu.cfs_quota_us")));
}

#[test]
fn a_cap_that_cannot_be_had_is_said_and_a_report_tells_what_is_down() {
    let engine = Engine::start();
    let mut server = Server::start_with(&[("DOCKER_HOST", &engine.address()), ("PAAS_BUILD_MEMORY_MB", "16000")]);
    let repository = server.repository("dockerfile", "blog");
    let pushed = repository.push().expect_success();
    let pushed = pushed.says(" !     this build is not capped (16.0 GB of memory): ").says("this engine gives no caps");
    pushed.says("blog v1 is live");
    wait_until_over(&server, "blog");

    let report = server.json(&["report"]);
    for (what, value) in
        [("/apps/total", 1), ("/apps/running", 1), ("/containers/live", 1), ("/containers/unhealthy", 0)]
    {
        assert_eq!(report.pointer(what), Some(&value.into()), "{what} of {report}");
    }
    assert_eq!((&report["builds"]["concurrency"], &report["builds"]["running"]), (&1.into(), &0.into()), "{report}");
    for what in ["/engine/up/version", "/engine/up/api_version", "/engine/up/image_store", "/engine/up/cgroup_driver"] {
        assert!(report.pointer(what).is_some_and(|text| text.as_str() != Some("")), "{what} of {report}");
    }
    assert!(report["builds"]["capped"]["down"].as_str().unwrap().contains("this engine gives no caps"), "{report}");
    let text = server.ssh("report").expect_success().stdout;
    for line in [
        &format!(
            "paas:       {}, instance {} in {}",
            env!("CARGO_PKG_VERSION"),
            server.instance_id().unwrap(),
            server.root().display()
        ),
        "daemon:     runs since 20",
        "edge:       answers",
        "caddy:      2.",
        ", answers\n",
        "engine:     Docker ",
        "git:        2.",
        "builds:     1 at a time, 0 now\n            capped at 16.0 GB of memory: NOT in force: ",
        "apps:       1, 1 of them running",
        "containers: 1 live (0 unhealthy), 0 starting or stopping",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }

    server.kill_daemon();
    end_processes(&server.root());
    let nowhere = "unix:///nonexistent/docker.sock";
    let report = run(server.command(PAAS).arg("report").env("DOCKER_HOST", nowhere)).expect_success().stdout;
    for line in [
        "daemon:     does not run: nobody can push; `systemctl start paas` or `paas serve` starts it",
        "edge:       does not answer",
        ", does not answer: Caddy does not answer",
        &format!("engine:     not known: Docker does not answer at {nowhere}"),
        "NOT in force: Docker does not answer",
        "git:        2.",
    ] {
        assert!(report.contains(line), "{line:?} is not in\n{report}");
    }
}
