//! `install.sh`, really run, on a [`Machine`] of its own.

use std::{net::TcpStream, path::Path};

use crate::{
    harness::{Ran, command, docker, instance_id, run},
    machine::{self, Machine},
    private_engine::{with_private_engine, with_private_network},
};

/// Runs install.sh on a machine, as root.
fn install(machine: &Machine, arguments: &[&str]) -> Ran {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh");
    run(machine.command(script).args(["--prefix"]).arg(machine.directory.path().join("prefix")).args(arguments))
}

/// The files below a directory, on the machine.
fn files(machine: &Machine, directory: &str) -> Vec<String> {
    let ran = run(machine.command("find").args([directory, "-xdev", "(", "-type", "f", "-o", "-type", "l", ")"]));
    ran.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn one_command_installs_pushes_and_shows_an_app_and_another_takes_all_of_it_away() {
    let name = "install::one_command_installs_pushes_and_shows_an_app_and_another_takes_all_of_it_away";
    with_private_engine(name, |_engine| installs_and_goes_away());
}

fn installs_and_goes_away() {
    let machine = Machine::new(&["root"]);
    let path = |name: &str| machine.directory.path().join(name).display().to_string();
    let (root, prefix, binary, public) = (path("root"), path("prefix"), path("paas"), path("key.pub"));
    // What is missing would be installed on the real machine, whose package database has no layer that knows of it.
    for program in ["git", "caddy", "curl", "ssh", "ss", "sysctl"] {
        run(command("which").arg(program)).expect_success();
    }
    let accounts = || ["passwd", "group"].map(|file| run(machine.command("cat").arg(format!("/etc/{file}"))).stdout);
    let before = accounts();

    let flags = ["--demo", "--binary", &binary, "--root", &root, "--key", &public];
    let ports = ["--http-port", "8080", "--https-port", "8443"];
    let first = install(&machine, &[flags.as_slice(), &ports].concat()).expect_success();
    let url = "http://demo.localhost:8080/";
    assert!(first.stdout.starts_with(&format!("{url}\n")), "{first}");
    assert!(first.stdout.contains("Hello from a Dockerfile"), "{first}");
    assert!(first.talk().contains("no systemd here") && first.talk().contains("the key key may push"), "{first}");
    assert_eq!(machine.get(url).status, 200);

    // It runs as the user paas, with nothing more than Caddy needs, and root's commands find it.
    let installed = format!("{prefix}/bin/paas");
    let paas = |arguments: &[&str]| run(machine.command(&installed).args(arguments));
    assert!(paas(&["apps:list"]).expect_success().stdout.contains("http://demo.localhost:8080"));
    let keys = paas(&["ssh-keys:list"]).expect_success().stdout;
    assert!(keys.contains("key ") && !keys.contains("demo"), "the demo's own key stayed: {keys}");
    let daemon = std::fs::read_to_string(machine_file(&machine, "/run/paas.pid")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.trim())).unwrap();
    let field = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(1);
    assert_ne!(field("Uid:"), Some("0"), "{status}");
    assert_eq!((field("CapEff:"), field("NoNewPrivs:")), (Some("0000000000000400"), Some("1")), "{status}");
    let strange = run(command("find").arg(&root).args(["!", "-uid", field("Uid:").unwrap()])).expect_success();
    assert_eq!(strange.stdout, "");
    // A pushed app is served under the usual name, too.
    machine.push("dockerfile", "ssh://paas@127.0.0.1:2222/mine").expect_success();
    assert_eq!(machine.get("http://mine.localhost:8080/").status, 200);

    // Again, with fewer flags: what an earlier run set stays, also what was added by hand.
    let config = "/etc/paas/config.toml";
    let mut add = machine.command("sh");
    run(add.args(["-c", &format!("echo 'create_on_push = false # by hand' >> {config}")])).expect_success();
    let settings = run(machine.command("cat").arg(config)).stdout;
    let second = install(&machine, &["--demo", "--binary", &binary]).expect_success();
    assert!(second.stdout.starts_with(&format!("{url}\n")), "{second}");
    assert_eq!(run(machine.command("cat").arg(config)).stdout, settings);
    assert!(!second.talk().contains("may push"), "the key was added twice: {second}");
    let again = std::fs::read_to_string(machine_file(&machine, "/run/paas.pid")).unwrap();
    assert_ne!(again, daemon, "the daemon was not started anew");
    assert_eq!(machine.get("http://mine.localhost:8080/").status, 200);
    machine.push("dockerfile", "ssh://paas@127.0.0.1:2222/new").expect_failure().says("no app named new");

    // Without --demo it ends with what a user types next.
    let third = install(&machine, &["--binary", &binary]).expect_success();
    let lines: Vec<&str> = third.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "git remote add paas ssh://paas@localhost:2222/myapp",
            "git push paas main",
            "curl http://myapp.localhost:8080/"
        ]
    );

    // Taken away and put back: what was deployed is still there.
    let instance = instance_id(Path::new(&root)).unwrap();
    let silent = || machine::PORTS.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_err());
    install(&machine, &["--uninstall"]).expect_success().says("kept: ");
    assert!(!Path::new(&installed).exists() && silent());
    assert_eq!(run(machine.command("cat").arg(config)).stdout, settings);
    install(&machine, &["--binary", &binary]).expect_success();
    assert!(paas(&["apps:list"]).expect_success().stdout.contains("http://mine.localhost:8080"));

    // And for good.
    install(&machine, &["--uninstall", "--purge"]).expect_success();
    assert!(silent(), "somebody still listens");
    assert_eq!(files(&machine, &prefix), [""; 0]);
    assert!(!Path::new(&root).exists());
    for directory in ["/etc/paas", "/var/log/paas.log", "/run/paas.pid", "/var/lib/paas", "/etc/sysctl.d/60-paas.conf"]
    {
        assert_eq!(files(&machine, directory), [""; 0], "{directory}");
    }
    assert_eq!(accounts(), before);
    let label = format!("label=paas.instance={instance}");
    for list in [["ps", "-aq"].as_slice(), &["network", "ls", "-q"], &["images", "-q"], &["volume", "ls", "-q"]] {
        assert_eq!(run(docker().args(list).args(["--filter", &label])).expect_success().stdout, "", "{list:?}");
    }
    // A second time there is nothing to do, and nothing to complain about.
    install(&machine, &["--uninstall", "--purge"]).expect_success();
}

/// Packs the binary under test as a release, into a directory of the machine, and returns the archive's path.
fn pack_release(machine: &Machine) -> String {
    let out = machine.directory.path().join("release");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/release");
    let packed = run(command(script).arg("--binary").arg(machine.paas()).arg("--out").arg(&out)).expect_success();
    let archive = packed.stdout.trim().to_owned();
    assert!(Path::new(&format!("{archive}.sha256")).is_file(), "{packed}");
    archive
}

#[test]
fn a_packed_release_installs_without_a_clone_and_a_toolchain() {
    let name = "install::a_packed_release_installs_without_a_clone_and_a_toolchain";
    with_private_engine(name, |_engine| {
        let machine = Machine::new(&["root"]);
        let path = |name: &str| machine.directory.path().join(name).display().to_string();
        let archive = pack_release(&machine);
        // The script alone, where no clone is beside it.
        std::fs::create_dir(path("alone")).unwrap();
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh"), path("alone/install.sh")).unwrap();
        let (root, public) = (path("root"), path("key.pub"));
        let install = |script: &str, arguments: &[&str]| {
            let usual = ["--root", &root, "--key", &public, "--http-port", "8080", "--https-port", "8443"];
            run(machine.command(script).args(["--prefix", &path("prefix")]).args(usual).args(arguments))
        };
        let first = install(&path("alone/install.sh"), &["--demo", "--release", &archive]).expect_success();
        assert!(first.stdout.contains("Hello from a Dockerfile"), "{first}");
        let installed = files(&machine, &path("prefix"));
        for file in ["bin/paas", "share/man/man1/paas.1", "share/bash-completion/completions/paas"] {
            assert!(installed.iter().any(|path| path.ends_with(file)), "{file}: {installed:?}");
        }

        // Unpacked by hand, it needs no option.
        run(command("tar").args(["-xzf", &archive, "-C", &path("alone"), "--strip-components=1"])).expect_success();
        install(&path("alone/install.sh"), &["--demo"]).expect_success();
        run(machine.command(path("alone/install.sh")).args(["--prefix", &path("prefix"), "--uninstall", "--purge"]))
            .expect_success();
    });
}

#[test]
fn a_release_that_is_not_what_it_should_be_changes_nothing() {
    with_private_network("install::a_release_that_is_not_what_it_should_be_changes_nothing", || {
        let machine = Machine::new(&[]);
        let archive = pack_release(&machine);
        let refused = |arguments: &[&str], said: &str| {
            let ran = install(&machine, &[&["--root", "/nonexistent/root"], arguments].concat()).expect_code(1);
            ran.says(said).says("hint: ");
            assert_eq!(files(&machine, "/etc/paas"), [""; 0]);
        };
        let checksum = format!("{archive}.sha256");
        refused(&["--release", &archive, "--sha256", &"0".repeat(64)], "does not match its checksum");
        let right = std::fs::read_to_string(&checksum).unwrap();
        std::fs::write(&checksum, right.replace(char::is_numeric, "0")).unwrap();
        refused(&["--release", &archive], "does not match its checksum");
        std::fs::remove_file(&checksum).unwrap();
        refused(&["--release", &archive], "has no checksum beside it");
        refused(&["--release", "http://127.0.0.1:1/paas.tar.gz"], "cannot fetch http://127.0.0.1:1/paas.tar.gz");

        // What is right but not for this machine, or no release at all.
        let pack = |name: &str, directory: &Path| -> Vec<String> {
            let path = machine.directory.path().join(name);
            let mut tar = command("tar");
            run(tar
                .args(["-czf", path.to_str().unwrap(), "-C"])
                .arg(directory.parent().unwrap())
                .arg(directory.file_name().unwrap()))
            .expect_success();
            let sum = run(command("sha256sum").arg(&path)).expect_success().stdout;
            ["--release", path.to_str().unwrap(), "--sha256", &sum[..64]].map(str::to_owned).to_vec()
        };
        let words = |arguments: &[String], said: &str| {
            refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), said);
        };
        run(command("tar").args(["-xzf", &archive, "-C"]).arg(machine.directory.path())).expect_success();
        let unpacked = Path::new(&archive).file_name().unwrap().to_str().unwrap().trim_end_matches(".tar.gz");
        let unpacked = machine.directory.path().join(unpacked);
        std::fs::write(unpacked.join("ARCHITECTURE"), "z80\n").unwrap();
        words(&pack("other.tar.gz", &unpacked), "is for z80, and this machine is");
        std::fs::remove_file(unpacked.join("paas")).unwrap();
        words(&pack("none.tar.gz", &unpacked), "is not a release of paas");
    });
}

#[test]
fn what_install_refuses_it_says_with_what_to_do() {
    with_private_network("install::what_install_refuses_it_says_with_what_to_do", refuses);
}

fn refuses() {
    let machine = Machine::new(&[]);
    let path = |name: &str| machine.directory.path().join(name).display().to_string();
    for (arguments, message) in [
        (["--colour", "blue"], "there is no option --colour"),
        (["--ssh-port", "99999"], "'99999' is not a port"),
        (["--ssh-port", "0"], "'0' is not a port"),
        (["--domain", "no domain"], "'no domain' is not a domain name"),
        (["--root", "relative"], "is not an absolute path"),
        (["--root", "/with\nline"], "is not an absolute path"),
        (["--binary", "/nonexistent"], "there is no file /nonexistent"),
        (["--key", "/nonexistent"], "there is no file /nonexistent"),
        (["--purge", "--demo"], "--purge goes with --uninstall"),
        (["--release", "/nonexistent"], "there is no file /nonexistent"),
        (["--sha256", "abc"], "does not have 64 hexadecimal digits"),
        (["--release=/etc/hostname", "--binary=/etc/hostname"], "--release and --binary exclude each other"),
    ] {
        install(&machine, &arguments).expect_code(2).says(message).says("hint: ");
    }
    install(&machine, &["--help"]).expect_success();

    let binary = path("paas");
    let taken = std::net::TcpListener::bind("0.0.0.0:8080").unwrap();
    let ran = install(&machine, &["--binary", &binary, "--root", &path("root"), "--http-port", "8080"]).expect_code(1);
    ran.says("port 8080 is in use by").says("--http-port PORT");
    drop(taken);
    let ran = install(&machine, &["--binary", "/etc/hostname", "--root", &path("root")]).expect_code(1);
    ran.says("does not run on this machine").says("--binary FILE");
    std::fs::create_dir(path("full")).unwrap();
    std::fs::write(path("full/precious"), "").unwrap();
    let ran = install(&machine, &["--binary", &binary, "--root", &path("full"), "--http-port", "8080"]).expect_code(1);
    ran.says("is not empty and belongs to root").says("--root DIR");
    assert_eq!(files(&machine, "/etc/paas"), [""; 0]);
    machine.add_user("ann");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh"), path("install.sh")).unwrap();
    run(machine.command_of("ann", path("install.sh")).arg("--demo"))
        .expect_code(1)
        .says("must run as root")
        .says("sudo ");
}

/// A file of the machine, as seen from outside.
fn machine_file(machine: &Machine, path: &str) -> std::path::PathBuf {
    Path::new(&format!("/proc/{}/root", machine.holder_id())).join(path.trim_start_matches('/'))
}
