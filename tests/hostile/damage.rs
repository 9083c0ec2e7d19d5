//! Files of an instance that somebody spoils: what paas wrote it writes anew, and its apps serve on.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use crate::{
    harness::{PAAS, Repository, Server, command, docker, run},
    processes::{caddy, kill, resolver},
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is done to a file, and how that is called.
pub type Way = (&'static str, fn(&Path));

/// The ways that leave a file in its place, which others may have open.
const CONTENT: [Way; 5] = [
    ("emptied", |path| fs::write(path, "").unwrap()),
    ("zeros", |path| fs::write(path, [0; 4000]).unwrap()),
    ("noise", |path| fs::write(path, (0..=255).rev().cycle().take(3000).collect::<Vec<u8>>()).unwrap()),
    ("half", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("open to all", |path| fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap()),
];

/// The ways that put something else in its place.
const PLACE: [Way; 7] = [
    ("removed", |path| remove(path)),
    ("a directory", |path| in_place(path, |path| fs::create_dir(path))),
    ("a full directory", |path| {
        in_place(path, |path| {
            fs::create_dir(path)?;
            fs::write(path.join("somebody's"), "x")
        });
    }),
    ("a pipe", |path| in_place(path, |path| Ok(nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU)?))),
    ("a socket", |path| in_place(path, |path| std::os::unix::net::UnixListener::bind(path).map(drop))),
    ("a link to nowhere", |path| in_place(path, |path| symlink("/nowhere/at/all", path))),
    ("a link in a circle", |path| in_place(path, |path| symlink(path, path))),
];

fn remove(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
        fs::remove_dir_all(path).unwrap();
    } else {
        drop(fs::remove_file(path));
    }
}

/// Removes what is there and makes something else, again where the server was faster.
fn in_place(path: &Path, make: impl Fn(&Path) -> std::io::Result<()>) {
    let mut again = 0;
    loop {
        remove(path);
        match make(path) {
            Ok(()) => return,
            Err(error) => assert!(error.kind() == std::io::ErrorKind::AlreadyExists && again < 100, "{error}"),
        }
        again += 1;
    }
}

/// The app `blog` with a secret, and its newest deploy.
fn site() -> (Server, Repository) {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    server.paas(&["config:set", "blog", "SECRET=hunter2"]).expect_success();
    wait_until_over(&server, "blog");
    (server, repository)
}

/// What paas can write again, of the files that a running process has open: a lock, or a log.
fn held(server: &Server) -> Vec<PathBuf> {
    let names = ["daemon.lock", "resolver.lock", "proxy.lock", "deployments.lock", "1.lock", "build.1.lock"];
    let mut held: Vec<PathBuf> = names.map(|name| server.root().join("locks").join(name)).to_vec();
    held.extend([server.root().join("paas.db.lock"), server.root().join("caddy/caddy.log")]);
    held
}

/// What else paas can write again.
fn ours(server: &Server) -> Vec<PathBuf> {
    let newest = server.json(&["deploys:info", "blog"])["deploy"].as_u64().unwrap();
    let mut ours: Vec<PathBuf> = [
        "caddy/Caddyfile",
        "caddy/Caddyfile.loaded",
        "caddy/Caddyfile.draft",
        "caddy/Caddyfile.candidate",
        "caddy/Caddyfile.loaded.draft",
        "caddy/start.log",
        "instance",
        "instance.draft",
        "repos/blog.git/HEAD",
        "repos/blog.git/config",
        "apps/blog/former.log",
    ]
    .map(|name| server.root().join(name))
    .to_vec();
    // The log that the next deploy will have.
    ours.push(server.root().join(format!("apps/blog/deploys/{}.log", newest + 1)));
    ours
}

/// What is no file, and is made anew too.
fn no_files(server: &Server) -> Vec<PathBuf> {
    ["caddy/admin.sock", "nudge.sock", "hooks/pre-receive", "hooks/proc-receive"]
        .map(|name| server.root().join(name))
        .to_vec()
}

/// Spoils what is there; a draft or a log that is not there yet is made first.
fn spoil(paths: &[PathBuf], (_, spoil): Way) {
    for path in paths {
        if !path.exists() {
            fs::write(path, "x").unwrap();
        }
        spoil(path);
    }
}

/// The text of what is a file: a pipe would keep the test waiting for ever.
fn read_if_file(path: &Path) -> Option<String> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).and_then(|_| fs::read_to_string(path).ok())
}

/// Sees that all is as if nobody had done anything.
fn is_well(server: &Server, repository: &Repository, case: &str) {
    server.wait_for(&format!("{case}: the app"), PATIENCE, || {
        server.try_get("blog.localhost", "/").is_ok_and(|answer| answer.status == 200)
    });
    repository.write("case", case).commit(case);
    let pushed = repository.push();
    assert_eq!(pushed.code, 0, "{case}: {pushed}");
    wait_until_over(server, "blog");
    assert_eq!(server.get("blog", "/").status, 200, "{case}");
    let newest = server.paas(&["deploys:output", "blog"]).expect_success().stdout;
    assert!(newest.contains("blog.localhost"), "{case}: {newest}");
    assert_eq!(server.paas(&["config:get", "blog", "SECRET"]).expect_success().stdout, "hunter2\n", "{case}");
    server.paas(&["logs", "blog"]).expect_success();
    let report = server.json(&["report"]);
    assert!(report["daemon_since_at"].is_string() && report["resolver"] == true, "{case}: {report}");
    assert!(report["caddy"]["up"].is_null() && report["caddy"]["down"].is_null(), "{case}: {report}");
    // What is left of a process that died, and what only the start of Caddy writes, may wait for its time.
    let waits = |path: &&PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".draft") || name.ends_with(".candidate") || name == "start.log"
    };
    for path in ours(server).iter().chain(&held(server)).filter(|path| path.exists()) {
        let metadata = fs::symlink_metadata(path).unwrap();
        assert!(metadata.is_file() || waits(&path), "{case}: {} is no file", path.display());
        // The sweep comes after the deploy.
        server.wait_for(&format!("{case}: the rights of {}", path.display()), PATIENCE, || {
            !path.is_file() || fs::symlink_metadata(path).unwrap().mode() & 0o077 == 0
        });
    }
    let caddyfile = fs::read_to_string(server.root().join("caddy/Caddyfile")).unwrap();
    assert!(caddyfile.contains("blog") && caddyfile.contains("reverse_proxy"), "{case}: {caddyfile}");
    for socket in ["caddy/admin.sock", "nudge.sock"] {
        let metadata = fs::symlink_metadata(server.root().join(socket)).unwrap();
        assert!(metadata.file_type().is_socket(), "{case}: {socket}");
    }
    let aside = run(command("find").arg(server.root()).args(["-name", "somebody's"])).expect_success().stdout;
    assert_eq!(!aside.is_empty(), case.contains("full directory"), "{case}: what somebody has is kept: {aside}");
    for left in run(command("find").arg(server.root()).args(["-name", "*.aside"])).expect_success().stdout.lines() {
        remove(Path::new(left));
    }
}

#[test]
fn what_is_spoilt_while_nothing_runs_is_written_anew_at_the_next_start() {
    let (mut server, repository) = site();
    for way in CONTENT.into_iter().chain(PLACE) {
        server.kill_daemon();
        kill(&[caddy(&server), resolver(&server)].concat());
        let mut paths = [ours(&server), held(&server)].concat();
        // A socket has no content, and what writes to a link writes to what it names.
        if PLACE.iter().any(|(name, _)| *name == way.0) {
            paths.extend(no_files(&server));
        }
        spoil(&paths, way);
        server.start_daemon();
        is_well(&server, &repository, &format!("{} while nothing ran", way.0));
    }
}

#[test]
fn what_is_spoilt_under_a_running_instance_is_written_anew() {
    let (server, repository) = site();
    for way in CONTENT.into_iter().chain(PLACE) {
        let mut paths = ours(&server);
        if PLACE.iter().any(|(name, _)| *name == way.0) {
            // The locks that somebody holds are left: who replaces a lock has taken it.
            paths.extend(no_files(&server));
            paths.extend(["1.lock", "build.1.lock", "proxy.lock"].map(|name| server.root().join("locks").join(name)));
        } else {
            paths.extend(held(&server));
        }
        spoil(&paths, way);
        assert_eq!(server.get("blog", "/").status, 200, "{}", way.0);
        let caddyfile = server.root().join("caddy/Caddyfile");
        server.wait_for(&format!("{}: the Caddyfile, the sockets and the locks", way.0), PATIENCE, || {
            let is_socket = |name: &str| {
                fs::symlink_metadata(server.root().join(name)).is_ok_and(|found| found.file_type().is_socket())
            };
            read_if_file(&caddyfile).is_some_and(|text| text.contains("reverse_proxy") && text.ends_with("}\n"))
                && is_socket("nudge.sock")
                && server.json(&["report"])["daemon_since_at"].is_string()
                && server.paas(&["report"]).stdout.contains(", answers\n")
        });
        is_well(&server, &repository, &format!("{} under a running instance", way.0));
    }
}

#[test]
fn a_directory_that_is_spoilt_is_made_anew_unless_only_a_backup_has_it() {
    let (mut server, repository) = site();
    for (name, way) in [
        ("locks", "file"),
        ("hooks", "file"),
        ("caddy", "file"),
        ("hooks", "link"),
        ("locks", "missing"),
        ("tmp", "file"),
    ] {
        server.kill_daemon();
        kill(&[caddy(&server), resolver(&server)].concat());
        let path = server.root().join(name);
        remove(&path);
        match way {
            "file" => fs::write(&path, "x").unwrap(),
            "link" => symlink("/nowhere/at/all", &path).unwrap(),
            _ => {}
        }
        server.start_daemon();
        assert!(path.is_dir() || name == "tmp", "{name}, {way}");
        for left in run(command("find").arg(server.root()).args(["-name", "*.aside"])).expect_success().stdout.lines() {
            fs::remove_file(left).unwrap();
        }
        is_well(&server, &repository, &format!("{name} is a {way}"));
    }
    // Their content is nobody's to make up.
    for name in ["repos", "apps"] {
        let (path, aside) = (server.root().join(name), server.root().join("elsewhere"));
        fs::rename(&path, &aside).unwrap();
        symlink(server.root().join("not-mounted"), &path).unwrap();
        let shown = path.display().to_string();
        let said = format!("{shown} is a link that leads nowhere and should be a directory");
        server.paas(&["apps:list"]).expect_code(4).says(&said).says("mount what it leads to");
        fs::rename(&aside, server.root().join("not-mounted")).unwrap();
        server.paas(&["apps:list"]).expect_success();
        fs::remove_file(&path).unwrap();
        fs::rename(server.root().join("not-mounted"), &path).unwrap();
        fs::rename(&path, &aside).unwrap();
        fs::write(&path, "x").unwrap();
        let ran = server.paas(&["apps:list"]).expect_code(4).says("is a file and should be a directory");
        // What the hint says to type, typed.
        let mend = ran.stderr.split('`').find(|words| words.starts_with("mv ")).unwrap().to_owned();
        run(command("sh").args(["-c", &mend])).expect_success();
        fs::rename(&aside, &path).unwrap();
        server.paas(&["apps:list"]).expect_success();
    }
    is_well(&server, &repository, "all is back");
}

#[test]
fn the_host_key_is_never_made_anew_in_place_of_something_else() {
    let mut server = Server::start();
    let key = server.root().join("ssh_host_ed25519_key");
    let right = fs::read(&key).unwrap();
    for (way, spoil) in CONTENT.into_iter().chain(PLACE).filter(|(way, _)| *way != "removed") {
        server.stop_daemon();
        spoil(&key);
        if way == "open to all" {
            server.start_daemon();
            assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
            continue;
        }
        let mut serve = server.command(PAAS);
        let ran = run(serve.arg("serve")).expect_code(4).says("ssh_host_ed25519_key");
        assert!(ran.stderr.contains("backup"), "{way}: {ran}");
        let is_replaced = || key.is_file() && fs::read(&key).unwrap() == right;
        assert!(!is_replaced(), "{way}: it was replaced");
        remove(&key);
        fs::write(&key, &right).unwrap();
        server.start_daemon();
    }
}

#[test]
fn all_files_are_their_owners_alone_whatever_the_umask() {
    let server = Server::prepare(&[]);
    let root = server.root();
    let open_to_all = |arguments: &[&str]| {
        let mut shell = server.command("sh");
        shell.args(["-c", "umask 000; exec \"$@\"", "sh", PAAS]).args(arguments);
        shell
    };
    // Made by hand, and open.
    fs::remove_dir_all(&root).unwrap();
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).unwrap();
    let key = server.key().with_extension("pub").display().to_string();
    run(&mut open_to_all(&["ssh-keys:add", "tester", &key])).expect_success();
    let log = fs::File::create(server.directory.path().join("daemon.log")).unwrap();
    let mut serve = open_to_all(&["serve"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    server.wait_for("the daemon and Caddy", PATIENCE, || {
        server.try_get("blog.localhost", "/").is_ok() && server.ssh("apps:list").code == 0
    });
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    run(&mut open_to_all(&["config:set", "blog", "SECRET=hunter2"])).expect_success();
    run(&mut open_to_all(&["ps:restart", "blog"])).expect_success();
    run(&mut open_to_all(&["cleanup"])).expect_success();
    wait_until_over(&server, "blog");
    let backup = server.directory.path().join("backup.db");
    run(&mut open_to_all(&["backup-db", &backup.display().to_string()])).expect_success();
    assert_eq!(fs::metadata(&backup).unwrap().mode() & 0o777, 0o600);
    let mut seen = Vec::new();
    walk(&root, &mut |path, metadata| {
        // Only its owner may enter it, or read it; git's objects are read-only for him.
        assert!(metadata.is_symlink() || metadata.mode() & 0o077 == 0, "{}: {:o}", path.display(), metadata.mode());
        seen.push(path.strip_prefix(&root).unwrap().display().to_string());
    });
    for name in [
        "paas.db",
        "paas.db-wal",
        "paas.db-shm",
        "secret.key",
        "instance",
        "caddy/Caddyfile",
        "locks/1.lock",
        "apps/blog/deploys/1.log",
        "caddy/caddy.log",
        "nudge.sock",
        "operations/4.log",
    ] {
        assert!(seen.iter().any(|path| path == name), "{name} is not there: {seen:?}");
    }
    serve.kill().unwrap();
    serve.wait().unwrap();
}

fn walk(directory: &Path, look: &mut impl FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        // It may be gone by now.
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        look(&entry.path(), &metadata);
        if metadata.is_dir() {
            walk(&entry.path(), look);
        }
    }
}

#[test]
fn a_port_of_the_resolver_that_is_taken_for_a_moment_is_waited_for() {
    // A port that this machine takes for questions of its own, and that nobody has now.
    let taken = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let mut server = Server::prepare(&[("PAAS_RESOLVER_LISTEN", &address.to_string())]);
    let freed = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        drop(taken);
    });
    server.start_daemon();
    freed.join().unwrap();
    let said = server.daemon_output();
    assert!(said.contains(&format!("PAAS_RESOLVER_LISTEN has the port {}", address.port())), "{said}");
    assert!(server.json(&["report"])["resolver"] == true);
    assert_eq!(run(docker().arg("version")).code, 0);
}
