//! `paas serve` and what it is told: no settings at all, wrong ones, ports and roots that are not its own.

use std::{
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    harness::{self, PAAS, Ran, Server, command, run, run_with_input},
    machine::{Machine, PORTS},
    private_engine::with_private_engine,
};

/// Another user than the owner of anything: `nobody` on Debian.
const STRANGER: u32 = 65534;
/// One more: `daemon`.
const OTHER: u32 = 1;

/// Runs a command to its end, which must come within a while.
fn ends(server: &Server, command: &mut Command) -> Ran {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it still runs: {}; and: {}", Ran::from(child.wait_with_output().unwrap()), server.daemon_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap().into()
}

/// A command as another user, who is in no group.
fn as_user(user: u32, command: &Command) -> Command {
    let mut other = harness::command("setpriv");
    other.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups");
    other.arg(command.get_program()).args(command.get_args());
    other.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other
}

/// Every path below a directory with its owner.
fn owners(directory: &Path) -> Vec<(std::path::PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let metadata = std::fs::symlink_metadata(entry.path()).unwrap();
        found.push((entry.path(), metadata.uid()));
        if metadata.is_dir() {
            found.extend(owners(&entry.path()));
        }
    }
    found
}

#[test]
fn an_ordinary_user_needs_no_settings_and_no_root() {
    let name = "serve::an_ordinary_user_needs_no_settings_and_no_root";
    with_private_engine(name, |_engine| serves_an_ordinary_user());
}

fn serves_an_ordinary_user() {
    let machine = Machine::new(&["home/ann/.local/share/paas"]);
    machine.add_user("ann");
    let paas = |arguments: &[&str]| run(machine.command_of("ann", machine.paas()).args(arguments));
    paas(&["apps:list"]).expect_code(3).says("there is no paas on this machine yet").says("`paas serve` starts one");

    let log = std::fs::File::create(machine.directory.path().join("log")).unwrap();
    let mut serve = machine.command_of("ann", machine.paas());
    let mut daemon: Child = serve.arg("serve").stdin(Stdio::null()).stderr(log).spawn().unwrap();
    let said = || std::fs::read_to_string(machine.directory.path().join("log")).unwrap();
    let begun = std::time::Instant::now();
    while [PORTS[0], PORTS[2]].iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
        assert!(daemon.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60), "{}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(said().contains("ssh on 0.0.0.0:2222, apps at http://APP.localhost:8080"), "{}", said());

    let public = std::fs::read_to_string(machine.key().with_extension("pub")).unwrap();
    let mut add = machine.command_of("ann", machine.paas());
    run_with_input(add.args(["ssh-keys:add", "laptop"]), &public).expect_success();
    let push = machine.push("dockerfile", "ssh://paas@127.0.0.1:2222/hello").expect_success();
    push.says("http://hello.localhost:8080");
    let answer = machine.get("http://hello.localhost:8080/");
    assert!(answer.status == 200 && answer.body.contains("Hello from a Dockerfile"), "{answer:?}");
    assert_eq!(machine.get("http://nope.localhost:8080/").status, 404);

    // All of it is hers, and closed to others.
    let root = machine.home("ann").join(".local/share/paas");
    let hers = std::fs::metadata(machine.home("ann")).unwrap().uid();
    let strange: Vec<_> = owners(&root).into_iter().filter(|(_, owner)| *owner != hers).collect();
    assert_eq!(strange, []);
    assert_eq!(std::fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);

    paas(&["apps:destroy", "hello", "--force"]).expect_success();
    run(command("kill").arg(daemon.id().to_string())).expect_success();
    assert_eq!(daemon.wait().unwrap().code(), Some(0), "{}", said());
}

#[test]
fn a_root_has_one_daemon_and_a_taken_port_is_named() {
    let server = Server::start();
    let serve = |server: &Server| {
        let mut command = server.command(PAAS);
        command.arg("serve");
        command
    };
    let root = server.root().display().to_string();
    let second = ends(&server, &mut serve(&server)).expect_code(4);
    second.says(&format!("paas serve is already running on {root}")).says("hint: stop it first");
    server.ssh("apps:list").expect_success();

    // The ports of a server whose daemon is not there are free to be taken, one at a time.
    let other = Server::prepare(&[]);
    for (port, setting, what) in
        [(0, "PAAS_SSH_LISTEN", "SSH"), (1, "PAAS_HTTP_LISTEN", "HTTP"), (3, "PAAS_PROXY_HTTP_PORT", "HTTP")]
    {
        let _taken = TcpListener::bind(("127.0.0.1", other.port(port))).unwrap();
        let ran = ends(&other, &mut serve(&other)).expect_code(69);
        let address = format!(":{}", other.port(port));
        ran.says("cannot listen on").says(&address).says(what).says(&format!("set {setting} to a free"));
    }
    let _taken = UdpSocket::bind(("127.0.0.1", other.port(2))).unwrap();
    let ran = ends(&other, &mut serve(&other)).expect_code(69);
    ran.says("cannot listen on").says("edge").says("set PAAS_RESOLVER_LISTEN to a free");
}

#[test]
fn root_works_as_the_owner_of_the_root_and_nobody_else_does() {
    let server = Server::prepare(&[]);
    let directory = server.directory.path();
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    let binary = directory.join("paas");
    std::fs::copy(PAAS, &binary).unwrap();
    run(command("chown").args(["-R", &format!("{STRANGER}:{STRANGER}")]).arg(server.root())).expect_success();

    // Root's own files are read before root becomes somebody else.
    let private = directory.join("root-only");
    run(command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&private)).expect_success();
    let public = private.with_extension("pub");
    std::fs::set_permissions(&public, PermissionsExt::from_mode(0o600)).unwrap();
    server.paas(&["ssh-keys:add", "root", &public.display().to_string()]).expect_success();
    server.paas(&["apps:create", "blog"]).expect_success();
    server.paas(&["config:set", "blog", "A=1"]).expect_success();
    let strange: Vec<_> = owners(&server.root()).into_iter().filter(|(_, owner)| *owner != STRANGER).collect();
    assert_eq!(strange, [], "files that the owner of the root cannot change");
    let list = |user| {
        let mut command = server.command(&binary);
        run(&mut as_user(user, command.arg("apps:list")))
    };
    assert!(list(STRANGER).expect_success().stdout.contains("blog"));

    // Neither an empty instance nor a new one: he is told whose it is.
    let ran = list(OTHER).expect_code(5).says("belongs to nobody").says("hint: run it as root or as nobody");
    assert_eq!(ran.stdout, "");
    let mut serve = server.command(&binary);
    ends(&server, &mut as_user(OTHER, serve.arg("serve"))).expect_code(5).says("belongs to nobody");
    // Also where he cannot even see it.
    let hidden = directory.join("hidden");
    std::fs::create_dir_all(hidden.join("root")).unwrap();
    std::fs::set_permissions(&hidden, PermissionsExt::from_mode(0o700)).unwrap();
    let mut list = server.command(&binary);
    list.env("PAAS_ROOT", hidden.join("root")).arg("apps:list");
    run(&mut as_user(OTHER, &list)).expect_code(5).says("belongs to somebody else").says("hint: ");
}

#[test]
fn commands_work_while_the_daemon_is_down() {
    let mut server = Server::prepare(&[]);
    server.paas(&["apps:create", "blog"]).expect_success();
    server.paas(&["apps:exists", "blog"]).expect_success();
    server.paas(&["config:set", "blog", "A=1"]).expect_success();
    assert_eq!(server.paas(&["config:get", "blog", "A"]).stdout, "1\n");
    assert_eq!(server.json(&["apps:info", "blog"])["app"], "blog");
    assert_eq!(server.json(&["deploys:list", "blog"]), serde_json::json!([]));
    server.paas(&["ssh-keys:list"]).expect_success();
    server.paas(&["apps:create", "shop"]).expect_success();
    server.paas(&["apps:destroy", "shop", "--force"]).expect_success();
    // The daemon finds what was done without it.
    server.start_daemon();
    assert_eq!(server.ssh("apps:list").expect_success().stdout, server.paas(&["apps:list"]).stdout);
    assert_eq!(server.get("blog", "/").status, 503);
    assert_eq!(server.get("shop", "/").status, 404);
}

#[test]
fn settings_are_checked_and_what_is_wrong_is_named() {
    let server = Server::prepare(&[]);
    let file = server.directory.path().join("other.toml");
    let path = file.display().to_string();
    // Without variables, the file says it all.
    let bare = |text: &str, arguments: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let mut command = command(PAAS);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        run(command.args(["--config", &path]).args(arguments))
    };
    let root = format!("root = \"{}\"\n", server.directory.path().join("second").display());
    for (line, name) in [
        ("colour = \"blue\"", "there is no setting colour"),
        ("[section]\na = 1", "there is no setting section"),
        ("domain = example.com", "line 2"),
        ("domain = \"not a domain\"", "toml: domain: "),
        ("domain = \"\"", "toml: domain: "),
        ("tls = \"maybe\"", "it is off, internal or acme"),
        ("ssh_listen = \"2222\"", "toml: ssh_listen: "),
        ("http_listen = \"localhost\"", "toml: http_listen: "),
        ("resolver_listen = \"127.0.0.1:99999\"", "toml: resolver_listen: "),
        ("subnet = \"10.0.0.0\"", "toml: subnet: "),
        ("subnet = \"10.0.0.0/33\"", "toml: subnet: "),
        ("proxy_http_port = 70000", "toml: proxy_http_port: "),
        ("proxy_http_port = 0", "toml: proxy_http_port: "),
        ("proxy_https_port = \"https\"", "toml: proxy_https_port: "),
        ("proxy_mode = \"none\"", "toml: proxy_mode: "),
        ("create_on_push = \"maybe\"", "toml: create_on_push: "),
        ("min_free_mb = -1", "toml: min_free_mb: "),
    ] {
        let ran = bare(&format!("{root}{line}\n"), &["apps:list"]);
        assert_eq!(ran.code, 2, "{line}: {ran}");
        ran.says("cannot read the settings").says(name).says("hint: `paas serve --help` lists the settings");
    }
    assert!(!server.directory.path().join("second").exists());

    bare(&format!("{root}domain = \"example.test\"\ntls = \"off\"\nproxy_http_port = 80\n"), &["apps:create", "blog"])
        .expect_success()
        .says("http://blog.example.test after");
    assert!(server.directory.path().join("second/paas.db").exists());
    // A file that was named and is not there is not the same as no file.
    let missing = server.directory.path().join("missing.toml").display().to_string();
    server.paas(&["--config", &missing, "apps:list"]).expect_code(2).says("missing.toml");
    run(server.command(PAAS).arg("apps:list").env("PAAS_CONFIG", &missing)).expect_code(2).says("missing.toml");
    run(server.command(PAAS).args(["serve", "--config", &missing])).expect_code(2).says("missing.toml");

    // A variable wins over the file; an empty one is none.
    std::fs::write(server.directory.path().join("config.toml"), "domain = \"from-file.test\"\ntls = \"off\"\n")
        .unwrap();
    let url = |variable: &str| {
        let ran = run(server.command(PAAS).args(["apps:list", "--format", "json"]).env("PAAS_DOMAIN", variable));
        let apps: serde_json::Value = serde_json::from_str(&ran.expect_success().stdout).unwrap();
        apps[0]["url"].as_str().unwrap().to_owned()
    };
    server.paas(&["apps:create", "blog"]).expect_success();
    let port = server.port(3);
    assert_eq!(url("from-variable.test"), format!("http://blog.from-variable.test:{port}"));
    assert_eq!(url(""), format!("http://blog.from-file.test:{port}"));
    run(server.command(PAAS).arg("apps:list").env("PAAS_DOMAIN", "-")).expect_code(2).says("PAAS_DOMAIN");

    // All of them are listed where the hint says.
    let help = server.paas(&["serve", "--help"]).expect_success().stdout;
    for key in ["root", "domain", "ssh_listen", "proxy_http_port", "docker_host", "create_on_push", "min_free_mb"] {
        assert!(help.contains(&format!("\n  {key}")), "{key}: {help}");
    }
}
