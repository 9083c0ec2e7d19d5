//! The database, its copies and its key, and what becomes of an instance that loses one of them.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rusqlite::Connection;

use crate::{
    harness::{PAAS, Ran, Repository, Server, command, docker, run},
    processes::{caddy, kill, resolver},
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The app `blog` with a secret that it shows nobody, and a check whose header is another; and where its database lies.
fn site() -> (Server, Repository, PathBuf) {
    let server = Server::start();
    let repository = server.repository("dockerfile", "blog");
    repository.push().expect_success();
    server.paas(&["config:set", "blog", "SECRET=hunter2"]).expect_success();
    wait_until_over(&server, "blog");
    let database = server.root().join("paas.db");
    (server, repository, database)
}

fn secret(server: &Server) -> Ran {
    server.paas(&["config:get", "blog", "SECRET"])
}

fn serves(server: &Server) -> bool {
    server.try_get("blog.localhost", "/").is_ok_and(|answer| answer.status == 200)
}

/// Removes a database with all that lies beside it.
fn remove_all(database: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let path = PathBuf::from(format!("{}{suffix}", database.display()));
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            drop(fs::remove_file(&path));
        }
    }
}

fn serve(server: &Server) -> Ran {
    run(server.command(PAAS).arg("serve"))
}

/// What is damaged, what is said of it, and with which exit code.
type Case = (&'static str, fn(&Path), &'static str, i32);

#[test]
fn damage_of_the_database_is_told_by_its_cause_and_the_mend_is_typed() {
    let (mut server, repository, database) = site();
    let backup = server.directory.path().join("backup.db");
    server.paas(&["backup-db", &backup.display().to_string()]).expect_success();
    server.stop_daemon();
    let cases: [Case; 8] = [
        ("noise", |path| fs::write(path, [0xa5; 20_000]).unwrap(), "file is not a database", 69),
        ("pages overwritten", spoil_pages, "database disk image is malformed", 69),
        ("half", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(8192).unwrap(), "malformed", 69),
        ("newer", newer, "(written by paas 9.9.9), and this paas knows versions up to", 4),
        ("another program's", |path| others(path), "is a database, but none of paas", 4),
        ("a directory", |path| fs::create_dir(path).unwrap(), "is a directory and should be a file", 4),
        ("missing", |_| {}, "a secret.key and repositories (blog)", 4),
        ("empty", |path| fs::write(path, "").unwrap(), "is missing or empty", 4),
    ];
    for (case, spoil, said, code) in cases {
        eprintln!("{case}");
        if ["noise", "another program's", "a directory", "missing", "empty"].contains(&case) {
            remove_all(&database);
        }
        spoil(&database);
        let ran = server.paas(&["config:set", "blog", "A=1"]).expect_code(code).says(said);
        assert!(ran.stderr.contains("hint: "), "{case}: {ran}");
        let daemon = serve(&server).expect_code(code).says(said);
        assert!(serves(&server), "{case}: the app is down");
        // What looks at the server says all else.
        let report = server.paas(&["report"]).expect_success().stdout;
        for part in [said, "1 in Docker", "Docker ", ", answers", "resolver:", "git:", "disks:", "free"] {
            assert!(report.contains(part), "{case}: {part}: {report}");
        }
        assert_eq!(server.json(&["report"])["apps"], serde_json::Value::Null);

        // The mend, as the hint has it.
        let hint = daemon.stderr.split("hint: ").nth(1).unwrap().to_owned();
        if case == "a directory" {
            let mend = hint.split('`').find(|words| words.starts_with("mv ")).unwrap();
            run(command("sh").args(["-c", mend])).expect_success();
        }
        if case != "a directory" {
            assert!(hint.contains("`paas restore-db FILE`"), "{case}: {hint}");
        }
        let restored = server.paas(&["restore-db", &backup.display().to_string()]).expect_success();
        assert!(restored.stdout.contains("opens what is sealed"), "{case}: {restored}");
        server.start_daemon();
        assert_eq!(secret(&server).expect_success().stdout, "hunter2\n", "{case}");
        server.wait_for(&format!("{case}: the app"), PATIENCE, || serves(&server));
        server.stop_daemon();
    }
    server.start_daemon();
    repository.write("more", "x").commit("more");
    repository.push().expect_success();
}

fn spoil_pages(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    for page in 1..file.metadata().unwrap().len() / 4096 {
        file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
    }
}

fn newer(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "user_version", 999).unwrap();
    connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('written_by', '9.9.9')", []).unwrap();
}

fn others(path: &Path) {
    Connection::open(path).unwrap().execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
}

#[test]
fn what_no_backup_has_is_saved_by_the_tool_that_the_hint_names() {
    let (mut server, _repository, database) = site();
    server.stop_daemon();
    // The last page of an index or a table of old events: the rest can be read.
    let file = fs::OpenOptions::new().write(true).open(&database).unwrap();
    let find =
        "SELECT max(rootpage) FROM sqlite_master WHERE name = 'events_of_deployment' OR name LIKE 'sqlite_autoindex%'";
    let page: u32 = Connection::open(&database).unwrap().query_row(find, [], |row| row.get(0)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 4096], u64::from(page - 1) * 4096).unwrap();
    // The hint of a damaged database, wherever it is met first, typed.
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors.txt")).unwrap();
    let hint = page.split('`').find(|words| words.starts_with("sqlite3 /r/paas.db .dump")).unwrap();
    let hint = hint.replace("/r/paas.db", &database.display().to_string());
    let saved = server.directory.path().join("saved.db");
    let mut shell = server.command("sh");
    run(shell.args(["-c", &hint]).current_dir(server.directory.path())).expect_success();
    server.paas(&["restore-db", &saved.display().to_string()]).expect_success();
    server.start_daemon();
    assert_eq!(secret(&server).expect_success().stdout, "hunter2\n");
    server.wait_for("the app", PATIENCE, || serves(&server));
}

#[test]
fn a_database_that_nobody_may_write_is_told_with_what_makes_it_writable() {
    let (mut server, _repository, database) = site();
    server.stop_daemon();
    let root = server.root().display().to_string();
    run(command("mount").args(["--bind", &root, &root])).expect_success();
    run(command("mount").args(["-o", "remount,bind,ro", &root])).expect_success();
    let ran = server.paas(&["config:set", "blog", "A=1", "--no-restart"]);
    let report = server.paas(&["report"]);
    let mend = run(command("mount").args(["-o", "remount,bind,rw", &root]));
    let written = server.paas(&["config:set", "blog", "A=1", "--no-restart"]);
    let unmounted = run(command("umount").args(["--lazy", &root]));
    ran.expect_code(69)
        .says("the database cannot")
        .says(&format!("`findmnt -T {}`", database.display()))
        .says("remount,rw");
    assert!(report.expect_success().stdout.contains("Docker "));
    mend.expect_success();
    written.expect_success();
    unmounted.expect_success();

    // Put back by root, who has it now: the daemon is somebody else.
    let (user, group) = (65534, 65534);
    let directory = server.directory.path();
    fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    let binary = directory.join("paas");
    fs::copy(PAAS, &binary).unwrap();
    run(command("chown").args(["-R", &format!("{user}:{group}"), &root])).expect_success();
    std::os::unix::fs::chown(&database, Some(0), Some(0)).unwrap();
    let as_owner = || {
        let mut paas = server.command("setpriv");
        paas.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"]);
        run(paas.arg(&binary).args(["apps:exists", "blog"]))
    };
    let ran = as_owner().expect_code(69).says("the database cannot be opened");
    let mend = ran.stderr.split('`').find(|words| words.starts_with("chown ")).unwrap().to_owned();
    run(command("sh").args(["-c", &mend])).expect_success();
    as_owner().expect_success();
    // A file of its own that nobody may read is its own to open.
    fs::set_permissions(server.root().join("secret.key"), PermissionsExt::from_mode(0o000)).unwrap();
    fs::set_permissions(&database, PermissionsExt::from_mode(0o000)).unwrap();
    as_owner().expect_success();
    run(command("chown").args(["-R", "0:0", &root])).expect_success();
    server.start_daemon();
    assert_eq!(secret(&server).expect_success().stdout, "hunter2\n");
}

#[test]
fn a_full_disk_is_told_as_such_when_the_database_is_copied() {
    let (server, _repository, _) = site();
    let disk = tempfile::Builder::new().prefix("paas-disk-").tempdir_in("/tmp").unwrap();
    run(command("mount").args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"]).arg(disk.path())).expect_success();
    let file = disk.path().join("paas.db");
    let ran = server.paas(&["backup-db", &file.display().to_string()]);
    let left = fs::metadata(&file).map(|metadata| metadata.len());
    let is_database = fs::read(&file).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3"));
    run(command("umount").args(["--lazy"]).arg(disk.path())).expect_success();
    ran.expect_code(69).says("cannot write the copy").says("No space left");
    assert!(!is_database, "half a copy looks like one: {left:?}");
}

#[test]
fn a_copy_is_made_while_all_goes_on_and_puts_an_instance_back() {
    let (mut server, repository, database) = site();
    // Copied by accident, without what lies beside it: what was true a while ago is there.
    let accident = server.directory.path().join("accident.db");
    // The job has had its time, and comes again long after this test: each deploy does the same.
    server.wait_for("the job", PATIENCE, || {
        let jobs = server.json(&["jobs:list"]);
        jobs.as_array().unwrap().iter().any(|job| job["job"] == "checkpoint" && job["state"] == "done")
    });
    server.paas(&["config:set", "blog", "LATE=1"]).expect_success();
    server.wait_for("a copy that is not empty", PATIENCE, || {
        fs::copy(&database, &accident).unwrap();
        let connection = Connection::open(&accident).unwrap();
        connection
            .query_row("SELECT count(*) FROM releases", [], |row| row.get::<_, u32>(0))
            .is_ok_and(|count| count >= 3)
    });

    let backup = server.directory.path().join("backup.db");
    let path = backup.display().to_string();
    let saved = server.json(&["backup-db", &path]);
    assert_eq!((saved["apps"].as_u64(), saved["file"].as_str()), (Some(1), Some(path.as_str())));
    let not_in_it: Vec<&str> = saved["not_in_it"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(not_in_it[0].ends_with("secret.key") && not_in_it[2].ends_with("repos"), "{saved}");
    assert_eq!(fs::metadata(&backup).unwrap().mode() & 0o777, 0o600);
    assert_eq!(saved["size_bytes"].as_u64(), Some(fs::metadata(&backup).unwrap().len()));
    // It needs nothing beside it, and nobody's leave to be read.
    let copy = Connection::open(&backup).unwrap();
    let integrity: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let mode: String = copy.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!((integrity.as_str(), mode.as_str()), ("ok", "delete"));
    drop(copy);
    // Over a file only if that is said.
    let before = fs::read(&backup).unwrap();
    server.paas(&["backup-db", &path]).expect_code(4).says("is there already").says("--force");
    assert_eq!(fs::read(&backup).unwrap(), before);
    fs::set_permissions(&backup, PermissionsExt::from_mode(0o644)).unwrap();
    server.paas(&["backup-db", &path, "--force"]).expect_success().says("this is not all of a backup");
    assert_eq!(fs::metadata(&backup).unwrap().mode() & 0o777, 0o600);
    let directory = server.directory.path().display().to_string();
    server.paas(&["backup-db", &directory, "--force"]).expect_code(4);
    server.paas(&["backup-db", "/nowhere/at/all.db"]).expect_failure();
    // From elsewhere it comes on standard output.
    server.ssh("backup-db paas.db").expect_code(2).says("backup-db - > paas.db");
    let ssh = server.ssh_command(&server.key()).arg("backup-db -").output().unwrap();
    assert!(ssh.stdout.starts_with(b"SQLite format 3\0"), "{}", String::from_utf8_lossy(&ssh.stderr));
    let by_ssh = server.directory.path().join("by-ssh.db");
    fs::write(&by_ssh, &ssh.stdout).unwrap();
    assert_eq!(server.json(&["events", "-n", "1", "--action", "backup-db"])[0]["door"], "ssh");

    // What comes after it is lost with it, and what is in it comes back.
    server.paas(&["config:set", "blog", "SECRET=later"]).expect_success();
    wait_until_over(&server, "blog");
    server.paas(&["restore-db", &path]).expect_code(4).says("already running").says("stop it first");
    server.stop_daemon();
    for half in [&before[..before.len() / 2], &[0; 9000][..], b""] {
        let bad = server.directory.path().join("bad.db");
        fs::write(&bad, half).unwrap();
        let ran = server.paas(&["restore-db", &bad.display().to_string()]).expect_code(4);
        ran.says(&format!("{} is not a whole database of paas: ", bad.display())).says("nothing was changed");
        assert_eq!(secret(&server).expect_success().stdout, "later\n", "nothing has changed");
    }
    let restored = server.json(&["restore-db", &by_ssh.display().to_string()]);
    assert_eq!(restored["key_problem"], serde_json::Value::Null, "{restored}");
    assert!(Path::new(restored["former"].as_str().unwrap()).exists());
    server.start_daemon();
    assert_eq!(secret(&server).expect_success().stdout, "hunter2\n");
    server.wait_for("the app", PATIENCE, || serves(&server));

    // The same by hand: stop, put the file back, start.
    server.paas(&["config:set", "blog", "SECRET=later"]).expect_success();
    wait_until_over(&server, "blog");
    server.stop_daemon();
    assert!(!server.root().join("paas.db-wal").exists(), "nobody has the database open");
    fs::copy(&backup, &database).unwrap();
    server.start_daemon();
    assert_eq!(secret(&server).expect_success().stdout, "hunter2\n");
    server.wait_for("the app", PATIENCE, || serves(&server));
    repository.write("more", "x").commit("more");
    repository.push().expect_success();
    assert_eq!(server.get("blog", "/").status, 200);
}

#[test]
fn nothing_of_ours_reads_the_database_for_long() {
    let (server, repository, database) = site();
    let follow = |arguments: &[&str]| {
        let mut paas = server.command(PAAS);
        paas.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut followers = vec![
        follow(&["events", "--follow"]),
        follow(&["logs", "blog", "--follow"]),
        follow(&["deploys:follow", "blog"]),
    ];
    repository.become_fixture("dockerfile");
    repository.replace("Dockerfile", "FROM busybox:stable", "FROM busybox:stable\nRUN sleep 5").commit("slow");
    let mut push = repository.begin_push();
    server.wait_for("a build", PATIENCE, || server.deploy_state("blog") == "building");
    followers.push(follow(&["deploys:follow", "blog"]));
    // Whoever reads keeps the log from being emptied: nobody does for as long as a second.
    let connection = Connection::open(&database).unwrap();
    connection.busy_timeout(Duration::from_secs(1)).unwrap();
    let mut rounds = 0;
    while push.try_wait().unwrap().is_none() {
        let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get("busy")).unwrap();
        assert!(!busy, "somebody has read for a second");
        rounds += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(rounds > 2, "{rounds}");
    for follower in &mut followers {
        drop(follower.kill());
        drop(follower.wait());
    }
}

#[test]
fn without_its_key_an_instance_serves_on_and_nothing_is_sealed_to_another() {
    let (mut server, repository, _) = site();
    server.paas(&["checks:set", "blog", "path=/", "headers=X-Key: hunter3"]).expect_success();
    wait_until_over(&server, "blog");
    let key = server.root().join("secret.key");
    let right = fs::read(&key).unwrap();
    let others: [(&str, &dyn Fn()); 5] = [
        ("is missing", &|| {}),
        ("it is empty", &|| fs::write(&key, "").unwrap()),
        ("holds no key", &|| fs::write(&key, [0xff; 300]).unwrap()),
        ("is a directory", &|| fs::create_dir(&key).unwrap()),
        ("does not hold the key", &|| {
            let other = Server::prepare(&[]);
            fs::copy(other.root().join("secret.key"), &key).unwrap();
        }),
    ];
    for (number, (said, spoil)) in others.into_iter().enumerate() {
        eprintln!("{said}");
        // A daemon that knew the key, and one that never did.
        let restarted = number % 2 == 0;
        fs::remove_file(&key).unwrap();
        spoil();
        if restarted {
            server.stop_daemon();
            kill(&[caddy(&server), resolver(&server)].concat());
            server.start_daemon();
        }
        for arguments in [
            &["config:get", "blog", "SECRET"][..],
            &["config:set", "blog", "SECRET=other"],
            &["ps:restart", "blog"],
            &["secrets:rotate"],
        ] {
            let ran = server.paas(arguments).expect_failure().says(said);
            assert!(ran.stderr.contains(&format!("`cp BACKUP {}`", key.display())), "{said}, {arguments:?}: {ran}");
        }
        repository.write("case", said).commit(said);
        repository.push().expect_failure().says(said);
        assert!(fs::read(&key).map_or(true, |bytes| bytes != right), "{said}: it was replaced");
        server.wait_for(&format!("{said}: the app"), PATIENCE, || serves(&server));
        // What exists is looked after: its process dies, and it is there again.
        let containers = server.containers();
        assert_eq!(containers.len(), 1, "{containers:?}");
        run(docker().args(["kill", &containers[0]])).expect_success();
        server.wait_for(&format!("{said}: the container"), PATIENCE, || {
            run(docker().args(["inspect", "-f", "{{.State.Running}}", &containers[0]])).stdout == "true\n"
                && serves(&server)
        });
        let report = server.json(&["report"]);
        assert!(report["secret_key"]["down"].as_str().is_some_and(|down| down.contains(said)), "{said}: {report}");
        assert_eq!(report["apps"]["running"], 1);

        // The mend, as the hint has it.
        let backup = server.directory.path().join("secret.key");
        fs::write(&backup, &right).unwrap();
        if key.is_dir() {
            fs::remove_dir(&key).unwrap();
        }
        run(command("cp").arg(&backup).arg(&key)).expect_success();
        assert_eq!(secret(&server).expect_success().stdout, "hunter2\n", "{said}");
        server.paas(&["ps:restart", "blog"]).expect_success();
        wait_until_over(&server, "blog");
        assert!(server.json(&["report"])["secret_key"]["up"].is_string());
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_root_that_was_emptied_does_not_begin_beside_its_containers() {
    let (mut server, _repository, _) = site();
    let former = server.instance_id().unwrap();
    let backup = server.directory.path().join("backup");
    fs::create_dir(&backup).unwrap();
    server.paas(&["backup-db", &backup.join("paas.db").display().to_string()]).expect_success();
    for name in ["secret.key", "repos", "ssh_host_ed25519_key"] {
        run(command("cp").arg("-a").arg(server.root().join(name)).arg(&backup)).expect_success();
    }
    server.stop_daemon();
    kill(&[caddy(&server), resolver(&server)].concat());
    fs::remove_dir_all(server.root()).unwrap();

    let refused = serve(&server).expect_code(4).says(&format!("1 containers of the instance {former}"));
    refused.says("`paas restore-db FILE`").says("`paas serve --new-instance`");
    // A backup on an empty machine, in the order of the README.
    let restored = server.paas(&["restore-db", &backup.join("paas.db").display().to_string()]).expect_success();
    assert!(restored.stdout.contains("does not hold the key"), "{restored}");
    for name in ["secret.key", "repos", "ssh_host_ed25519_key"] {
        run(command("cp").args(["-a", "-T"]).arg(backup.join(name)).arg(server.root().join(name))).expect_success();
    }
    server.start_daemon();
    assert_eq!(server.instance_id().unwrap(), former);
    server.wait_for("the app", PATIENCE, || serves(&server));
    assert_eq!(secret(&server).expect_success().stdout, "hunter2\n");

    // One who wants to begin anew says so, and loses nothing.
    server.stop_daemon();
    let database = server.root().join("paas.db");
    serve_new(&server).expect_code(4).says("all is well with its database");
    remove_all(&database);
    symlink("/nowhere/at/all", &database).unwrap();
    serve(&server).expect_code(4).says("a link that leads nowhere");
    let log = fs::File::create(server.directory.path().join("new.log")).unwrap();
    let mut new = server.command(PAAS).args(["serve", "--new-instance"]).stderr(log).spawn().unwrap();
    server.wait_for("the new instance", PATIENCE, || {
        server.try_get("blog.localhost", "/").is_ok_and(|it| it.status == 404)
    });
    let said = fs::read_to_string(server.directory.path().join("new.log")).unwrap();
    let other = server.instance_id().unwrap();
    assert_ne!(other, former);
    assert!(
        said.contains("a new instance begins") && said.contains(&format!("label=paas.instance={former}")),
        "{said}"
    );
    let aside = fs::read_dir(server.root()).unwrap().flatten().map(|entry| entry.path());
    let aside: Vec<_> =
        aside.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("former-")).collect();
    assert!(aside[0].join("secret.key").exists() && aside[0].join("repos/blog.git").exists(), "{aside:?}");
    // The removal that it names, typed.
    let mend = said.split('`').find(|words| words.starts_with("docker rm")).unwrap();
    run(command("sh").args(["-c", mend])).expect_success();
    new.kill().unwrap();
    new.wait().unwrap();
    for image in
        run(docker().args(["images", "-q", "--filter", &format!("label=paas.instance={former}")])).stdout.lines()
    {
        run(docker().args(["rmi", "-f", image]));
    }
}

fn serve_new(server: &Server) -> Ran {
    run(server.command(PAAS).args(["serve", "--new-instance"]))
}
