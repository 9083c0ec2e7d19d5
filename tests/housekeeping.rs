//! A small machine stays usable: what no app needs goes, what takes space is shown, builds take turns and stay within
//! their bounds.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Child, Command},
    sync::{Arc, Mutex},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    harness::{PAAS, Ran, Repository, Server, docker, run, run_with_input},
    processes::{sleeps, unique_seconds},
    untouched::{assert_locks_are_free, wait_until_over},
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Pushes a version of the fixture `dockerfile` with a page of its own, and waits until it is drained and pruned after.
fn push_page(server: &Server, repository: &Repository, app: &str, page: &str) {
    repository.write("www/index.html", &format!("{page} of {}\n", server.instance_id().unwrap())).commit(page);
    repository.push().expect_success();
    wait_until_over(server, app);
}

/// The tag of the image that a deploy of an app built.
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
        let mut images = server.images();
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
    assert_eq!(inspected.stdout, "4096 [no-new-privileges] json-file 10m 3\n");
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
    let unfinished = "INSERT INTO deployments (id, app_id, kind, state, actor, created_at)
                      VALUES (77, 1, 'push', 'building', 'daemon', 0)";
    database.execute(unfinished, []).unwrap();
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
    run(Command::new("touch").args(["-d", "2 days ago"]).arg(&old)).expect_success();

    let cleaned = server.json(&["cleanup"]);
    for (kind, removed) in
        [("images", 1), ("containers", 1), ("networks", 1), ("deploy_logs", 1), ("temporary_files", 1)]
    {
        assert_eq!(cleaned[kind]["removed"], removed, "{kind} of {cleaned}");
    }
    assert!(cleaned["temporary_files"]["bytes"].as_u64().unwrap() >= 100_000, "{cleaned}");
    assert_eq!(cleaned["build_cache"], serde_json::Value::Null);
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
    database.execute("DELETE FROM deployments WHERE id = 77", []).unwrap();
    wait_until_over(&server, "blog");
    // What the deploy does not need any more goes now, and then there is nothing left to do.
    let text = server.paas(&["cleanup"]).expect_success();
    assert!(text.stdout.contains("images:          1 removed"), "{text}");
    let text = text.says("`paas cleanup --build-cache` also empties the build cache, of the whole engine");
    drop(text);
    let cleaned = server.json(&["cleanup"]);
    for kind in ["images", "containers", "networks", "deploy_logs", "temporary_files"] {
        assert_eq!(cleaned[kind]["removed"], 0, "{kind} of {cleaned}");
    }
    assert!(server.get("blog", "/").body.starts_with("slow"));
    run(docker().args(["rmi", &foreign])).expect_success();
}

/// The machine's engine, but for its build cache, which the tests share and none of them may prune.
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
        let asked = Arc::clone(&engine.asked);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, real) = (client.unwrap(), UnixStream::connect(real_socket()).unwrap());
                let (to_client, from_real) = (client.try_clone().unwrap(), real.try_clone().unwrap());
                let asked = Arc::clone(&asked);
                std::thread::spawn(move || carry(from_real, to_client, |_| None));
                std::thread::spawn(move || {
                    carry(client, real, |piece| {
                        let head = String::from_utf8_lossy(piece);
                        let path = head.strip_prefix("POST ")?.split(' ').next()?;
                        let (_, question) = path.split_once("/build/prune?")?;
                        asked.lock().unwrap().push(question.to_owned());
                        Some(r#"{"CachesDeleted":["x"],"SpaceReclaimed":1500000}"#)
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
fn carry(mut from: UnixStream, mut to: UnixStream, answer: impl Fn(&[u8]) -> Option<&'static str>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let sent = match answer(&buffer[..count]) {
            Some(body) => {
                let length = body.len();
                write!(
                    from,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
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
    server.paas(&["cleanup"]).expect_success();
    assert_eq!(engine.asked(), Vec::<String>::new());
    let cleaned = server.paas(&["cleanup", "--build-cache"]).expect_success();
    assert!(cleaned.stdout.contains("build cache:     1.5 MB freed"), "{cleaned}");
    assert_eq!(engine.asked(), ["all=true&keep-storage=0&max-used-space=0"]);
    assert_eq!(server.json(&["cleanup", "--build-cache"])["build_cache"], 1_500_000);

    // A setting has it pruned after each deploy, down to a size.
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    server.wait_for("the build cache to be pruned", PATIENCE, || engine.asked().len() == 3);
    assert_eq!(engine.asked()[2], "all=true&keep-storage=3000000000&max-used-space=3000000000");
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
        ("images_unique", 3_000_000),
        ("images_shared", 1_000_000),
        ("containers", 3_000_000),
        ("container_logs", 6),
        ("repository", 3_000_000),
        ("deploy_logs", 100),
    ] {
        assert!(blog[what].as_u64().is_some_and(|size| (least..10_000_000).contains(&size)), "{what} of {disk}");
    }
    assert_eq!((&disk["apps"][1]["app"], &disk["apps"][1]["images_unique"]), (&"empty".into(), &0.into()), "{disk}");
    assert!(disk["database"].as_u64().unwrap() > 10_000, "{disk}");
    assert!(disk["engine"]["images"].as_u64().unwrap() > 3_000_000, "{disk}");
    assert!(disk["engine"]["build_cache"].is_u64(), "{disk}");
    let root = server.root().display().to_string();
    assert_eq!(disk["disks"][0]["holds"][0], root.as_str());
    assert!(disk["disks"][0]["free"].as_u64() < disk["disks"][0]["total"].as_u64(), "{disk}");

    let hint = "`paas cleanup` frees what no app needs; `paas cleanup --build-cache` also the build cache, of the whole \
                engine";
    let text = server.paas(&["disk"]).expect_success().says(hint);
    assert!(text.stdout.starts_with("APP    IMAGES  OWN     SHARED  CONTAINERS  LOGS "), "{text}");
    assert!(text.stdout.contains("\nblog   1       3.0 MB  "), "{text}");
    assert!(text.stdout.contains(&root), "{text}");

    // A full disk may be what the engine died of.
    let nowhere = "unix:///nonexistent/docker.sock";
    let without_engine = |arguments: &[&str]| run(server.command(PAAS).args(arguments).env("DOCKER_HOST", nowhere));
    let disk = without_engine(&["disk"]).expect_success();
    let disk = disk.says(&format!("what images and containers take is not known: Docker does not answer at {nowhere}"));
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
    let canceled = finish(pushing).says("! [remote rejected] main -> main (canceled: nothing was deployed)");
    assert!(!canceled.talk().contains("-----> Building"), "{canceled}");
    assert_eq!(server.deploy_state("blog"), "building");

    let pushing = repository.begin_push();
    waits("3");
    server.paas(&["deploys:cancel", "blog"]).expect_success();
    finish(endless).expect_failure();
    let pushed = finish(pushing).expect_success().says(waiting).says("shop v1 is live");
    assert_eq!(pushed.talk().matches("Waiting for").count(), 1, "{pushed}");
    server.wait_for("the end of the build's process", PATIENCE, || !sleeps(&seconds));
    assert_locks_are_free(&server);

    // As many as the setting says.
    let server = Server::start_with(&[("PAAS_BUILD_CONCURRENCY", "2")]);
    let (endless, _) = begin_endless_build(&server, "blog");
    let pushed = server.repository("dockerfile", "shop").push().expect_success();
    assert!(!pushed.talk().contains("Waiting for"), "{pushed}");
    assert_eq!(server.deploy_state("blog"), "building");
    server.paas(&["deploys:cancel", "blog"]).expect_success();
    finish(endless).expect_failure();
}
