//! What an app, and a step of a build, cannot do to others and to the machine.

use std::{
    io::Write,
    net::{TcpListener, UdpSocket},
    time::Duration,
};

use crate::{
    harness::{Ran, Repository, Server, command, docker, run},
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

const DOCKERFILE: &str = "FROM busybox:stable\nCOPY index.html /www/\n";

fn repository(server: &Server, app: &str) -> Repository {
    let repository = server.empty_repository(app);
    repository
        .write("Dockerfile", DOCKERFILE)
        .write("index.html", "one")
        .write("Procfile", "web: httpd -f -p $PORT -h /www\nworker: sleep 1000000\n")
        .commit("one");
    repository
}

fn web(server: &Server) -> String {
    server.containers().into_iter().find(|name| name.ends_with("web-1")).unwrap()
}

fn inspect(container: &str, path: &str) -> String {
    run(docker().args(["inspect", "--format", &format!("{{{{json {path}}}}}"), container])).expect_success().stdout
}

fn inside(container: &str, line: &str) -> Ran {
    run(docker().args(["exec", container, "sh", "-c", line]))
}

/// A service of this machine that listens on all its addresses.
fn service(port: u16) {
    let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream.unwrap().write_all(b"a secret of the machine\n"));
        }
    });
}

/// The machine's address on a network of Docker's.
fn gateway(network: &str) -> String {
    let format = "{{(index .IPAM.Config 0).Gateway}}";
    let ran = run(docker().args(["network", "inspect", "--format", format, network]));
    ran.expect_success().stdout.trim().to_owned()
}

/// The address that this machine's connections to others come from.
fn address_of_machine() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent.
    socket.connect("198.51.100.1:9").unwrap();
    socket.local_addr().unwrap().ip().to_string()
}

fn chains(server: &Server) -> usize {
    chains_of(&format!("PAAS-{}-", server.instance_id().unwrap()))
}

fn all_chains() -> usize {
    chains_of("PAAS-")
}

fn chains_of(prefix: &str) -> usize {
    run(command("iptables").args(["-w", "10", "-S"])).expect_success().stdout.matches(&format!("-N {prefix}")).count()
}

#[track_caller]
fn reports(server: &Server, command: &[&str], text: &str) {
    let ran = server.paas(command).expect_success();
    assert!(ran.stdout.contains(text), "{ran}");
}

/// Takes the rules of an instance back, whatever became of the test.
struct Unfenced<'a>(&'a Server);

impl Drop for Unfenced<'_> {
    fn drop(&mut self) {
        self.0.paas(&["settings:set", "contain_network=false"]);
        self.0.wait_for("the rules to be gone", PATIENCE, || chains(self.0) == 0);
    }
}

#[test]
fn services_of_the_machine_are_not_reached_from_apps_and_builds() {
    let server = Server::start_with(&[("PAAS_CONTAIN_NETWORK", "")]);
    server
        .wait_for("rules of other instances to be gone, see iptables -S", PATIENCE, || all_chains() == chains(&server));
    let unfenced = Unfenced(&server);
    let port = server.port(5);
    service(port);
    let repository = repository(&server, "shop");
    repository.push().expect_success();
    wait_until_over(&server, "shop");
    server.wait_for("the rules", PATIENCE, || chains(&server) == 2);
    reports(&server, &["report"], "apps and builds are kept from this machine's services");

    let network = format!("paas-{}", server.instance_id().unwrap());
    let addresses = [gateway(&network), gateway("bridge")];
    let reaches_at = |container: &str, address: &str, port: u16| {
        inside(container, &format!("nc -w 3 {address} {port} </dev/null")).stdout.contains("a secret")
    };
    let reaches = |container: &str, address: &str| reaches_at(container, address, port);
    for address in &addresses {
        assert!(!reaches(&web(&server), address), "{address}");
    }
    assert_eq!(server.get("shop", "/").body, "one", "what the machine asks is answered");

    // A step of a build, which no build of before has cached, and a container of somebody else's on the same network, which
    // is let alone.
    let builds = |commit: &str| {
        let address = &addresses[1];
        let line = format!("RUN nc -w 3 {address} {port} </dev/null; echo {commit} {network} is $((5 + 6)) long\n");
        repository.write("Dockerfile", &format!("{DOCKERFILE}{line}")).commit(commit);
        let pushed = repository.push().expect_success();
        wait_until_over(&server, "shop");
        assert!(pushed.stderr.contains(" is 11 long"), "it ran: {pushed}");
        pushed.stderr.contains("a secret")
    };
    assert!(!builds("fenced"));
    // A container of somebody else's that ends while the step is about to begin may leave it its address: other tests have
    // some. What ended before the build did never leaves it one.
    let other = format!("other-{}", server.instance_id().unwrap());
    let leaks = |attempt: u32| {
        run(docker().args(["run", "-d", "--rm", "--name", &other, "busybox:stable", "sleep", "1000"])).expect_success();
        server.wait_for("the other container to reach it", PATIENCE, || reaches(&other, &addresses[1]));
        run(docker().args(["rm", "-f", &other])).expect_success();
        builds(&format!("right after it, attempt {attempt}"))
    };
    assert!((1..=3).any(|attempt| !leaks(attempt)), "a step that gets its address is none of it");

    // A container of a release of before, by what the database says, keeps what it had until the next release.
    let database = rusqlite::Connection::open(server.root().join("paas.db")).unwrap();
    let strip = "UPDATE releases SET processes =
                 (SELECT json_group_array(json_remove(value, '$.run.containment')) FROM json_each(processes))";
    assert!(database.execute(strip, []).unwrap() > 0);
    drop(database);
    let old = web(&server);
    server.wait_for("the old one to reach it", PATIENCE, || reaches(&old, &addresses[0]));
    reports(&server, &["ps:report", "shop"], "not contained: the next release is");
    reports(&server, &["report"], "are of releases that do not contain them");
    assert_eq!(server.json(&["ps:report", "shop"])["containers"][0]["contained"], false);
    server.paas(&["ps:set", "shop", "stop-timeout=5s"]).expect_success();
    wait_until_over(&server, "shop");
    assert_ne!(web(&server), old, "the next release contains it");
    assert_eq!(server.json(&["ps:report", "shop"])["containers"][0]["contained"], true);
    assert!(!reaches(&web(&server), &addresses[0]));

    // The ports of apps and of routes are open to everybody, so to containers, too: not at the gateway, but at the machine's
    // other addresses.
    let (outside, relayed) = (address_of_machine(), server.port(6));
    server.paas(&["routes:add", &format!("tcp:{relayed}"), &format!("127.0.0.1:{port}")]).expect_success();
    server.wait_for("the port of the route", PATIENCE, || reaches_at(&web(&server), &outside, relayed));
    assert!(!reaches_at(&web(&server), &addresses[0], relayed) && !reaches_at(&web(&server), &outside, port));
    server.paas(&["routes:remove", &format!("tcp:{relayed}")]).expect_success();

    // What an administrator opens is open.
    server.paas(&["settings:set", &format!("host_ports={port}")]).expect_success();
    server.wait_for("the port to be open", PATIENCE, || reaches(&web(&server), &addresses[0]));
    assert!(builds("open"));
    drop(unfenced);
    reports(&server, &["report"], "apps reach this machine's services");
}

#[test]
fn a_container_has_few_rights_and_bounds_on_all_it_takes() {
    let server = Server::start();
    let repository = repository(&server, "shop");
    repository.push().expect_success();
    wait_until_over(&server, "shop");
    let first = web(&server);
    assert_eq!(inspect(&first, ".HostConfig.CapDrop").trim(), r#"["NET_RAW","MKNOD","AUDIT_WRITE","SETFCAP"]"#);
    assert_eq!(inspect(&first, ".HostConfig.PidsLimit").trim(), "1024");
    assert_eq!(inspect(&first, ".HostConfig.SecurityOpt").trim(), r#"["no-new-privileges"]"#);
    inside(&first, "mknod /tmp/device c 1 3").expect_failure();
    assert_eq!(server.json(&["ps:report", "shop"])["containers"][0]["contained"], true);

    server.paas(&["ps:set", "shop", "capabilities=cap_mknod", "pids=200", "read-only=true"]).expect_success();
    wait_until_over(&server, "shop");
    let second = web(&server);
    assert_ne!(first, second);
    assert_eq!(inspect(&second, ".HostConfig.CapDrop").trim(), r#"["NET_RAW","AUDIT_WRITE","SETFCAP"]"#);
    assert_eq!(inspect(&second, ".HostConfig.PidsLimit").trim(), "200");
    inside(&second, "touch /www/x").expect_failure();
    inside(&second, "touch /tmp/x && mknod /tmp/device c 1 3").expect_success();
    assert_eq!(server.get("shop", "/").body, "one");
    server.paas(&["ps:set", "shop", "capabilities=SYS_ADMIN"]).expect_code(2);

    // A repository cannot give its app what an administrator can.
    for (key, value) in [("capabilities", "\"NET_RAW\""), ("pids", "5000")] {
        repository.write("paas.toml", &format!("[processes.web]\n{key} = {value}\n")).commit(key);
        repository.push().expect_failure().says(&format!("{key} = "));
    }
    // A former release neither.
    repository.write("paas.toml", "[processes.web]\nread_only = false\npids = 300\n").commit("fine");
    server.paas(&["ps:set", "shop", "capabilities=", "pids=", "read-only="]).expect_success();
    server.paas(&["releases:rollback", "shop", "v2"]).expect_success();
    wait_until_over(&server, "shop");
    assert_eq!(inspect(&web(&server), ".HostConfig.CapDrop").trim(), r#"["NET_RAW","MKNOD","AUDIT_WRITE","SETFCAP"]"#);
    assert_eq!(inspect(&web(&server), ".HostConfig.PidsLimit").trim(), "200");
    server.paas(&["ps:set", "shop", "pids=", "read-only="]).expect_success();
    repository.push().expect_success();
    wait_until_over(&server, "shop");
    assert_eq!(inspect(&web(&server), ".HostConfig.PidsLimit").trim(), "300");

    // Types and containers.
    let types: String = (0..50).map(|number| format!("type-{number}: true\n")).collect();
    repository.write("Procfile", &format!("web: true\n{types}")).commit("types");
    repository.push().expect_failure().says("the source has 51 process types, and an app may have 50");
    server.paas(&["ps:scale", "shop", "worker=60", "web=41"]).expect_code(2).says("an app may have 100");
    server.paas(&["settings:set", "max_containers=2"]).expect_success();
    server.paas(&["ps:scale", "shop", "worker=2"]).expect_code(2).says("an app may have 2");
    server.paas(&["ps:scale", "shop", "worker=1"]).expect_success();
}

#[test]
fn an_image_is_no_other_apps_to_build_on() {
    let server = Server::start();
    repository(&server, "shop").push().expect_success();
    wait_until_over(&server, "shop");
    let id = server.instance_id().unwrap();
    let images = server.images();
    let is_made_up = |name: &str| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let shop = images.iter().find_map(|tag| tag.strip_prefix(&format!("paas-{id}/shop/")));
    let (name, deploy) = shop.and_then(|rest| rest.split_once(':')).unwrap();
    assert!(is_made_up(name) && deploy == "1", "{images:?}");

    let thief = server.empty_repository("thief");
    for text in [
        format!("FROM paas-{id}/shop:1\n"),
        format!("FROM paas-{id}/shop\n"),
        format!("FROM busybox:stable\nCOPY --from=paas-{id}/shop:1 /www /www\n"),
        format!("# syntax=paas-{id}/shop:1\nFROM busybox:stable\n"),
    ] {
        thief.write("Dockerfile", &text).commit("try");
        thief.push().expect_failure();
    }
    // What a deploy that failed had built goes with it.
    let broken = "FROM busybox:stable\nRUN echo broken > /broken\nCMD [\"false\"]\n";
    thief.write("Dockerfile", broken).commit("broken");
    thief.push().expect_failure();
    assert!(!server.images().iter().any(|tag| tag.contains("/thief/")), "{:?}", server.images());
}
