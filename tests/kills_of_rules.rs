//! Commands on ports, rules, routes and names in which anything is killed with -9: what the database says afterwards is what
//! is answered, and nobody else loses a request.

use std::{
    net::TcpStream,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    chance::Chance,
    harness::{Server, command, docker, run, try_get},
    processes::{edge, processes},
    site::Visitor,
    untouched::wait_until_over,
};

/// How long anything here may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// The latest moment in a command at which something is killed, in milliseconds: it is over then, or nearly.
const LATEST: u64 = 600;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The command itself.
    Command,
    Daemon,
    Edge,
    /// The Caddy that has rules.
    Inner,
}

const VICTIMS: [Victim; 4] = [Victim::Command, Victim::Daemon, Victim::Edge, Victim::Inner];

/// What is done, by turns: PORT and TARGET stand for those of the test, NUMBER for that of the round.
const COMMANDS: [&str; 14] = [
    "proxy:set shop response-headers=X-Rule:NUMBER",
    "ports:add shop tcp:PORT:3000",
    "routes:add out.example TARGET",
    "routes:add out.example/path TARGET --strip",
    "domains:add shop shop.example",
    "proxy:auth-add shop ann --generate",
    "routes:disable out.example",
    "routes:enable out.example",
    "proxy:auth-remove shop ann",
    "domains:remove shop shop.example",
    "routes:remove out.example/path",
    "routes:remove out.example",
    "ports:clear shop",
    "proxy:set shop response-headers=",
];

/// What is there, by what the database says, and by what is answered.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    rule: Option<String>,
    password: bool,
    port: bool,
    route: bool,
    path: bool,
    domain: bool,
}

impl Facts {
    fn stored(server: &Server) -> Facts {
        let report = server.json(&["proxy:report", "shop"]);
        let lines = report["properties"].as_array().unwrap();
        let rule = lines.iter().find(|line| line["name"] == "response-headers").unwrap();
        let rule = rule["effective"].as_str().filter(|value| value.contains(':'));
        let password = !report["users"].as_array().unwrap().is_empty();
        // What is refused for lack of a password does not have the headers of an answer.
        let rule = rule.filter(|_| !password);
        let routes = server.json(&["routes:list"]);
        let is_followed = |name: &str| {
            routes.as_array().unwrap().iter().any(|route| route["route"] == name && route["enabled"] == true)
        };
        Facts {
            rule: rule.map(|value| value.split(':').nth(1).unwrap().trim().to_owned()),
            password,
            port: !server.json(&["ports:list", "shop"]).as_array().unwrap().is_empty(),
            route: is_followed("out.example"),
            path: is_followed("out.example/path"),
            domain: server.json(&["domains:report", "shop"]).to_string().contains("\"shop.example\""),
        }
    }

    fn answered(server: &Server) -> std::io::Result<Facts> {
        let status = |host: &str, path: &str| try_get(server.port(3), host, path).map(|answer| answer.status);
        let shop = try_get(server.port(3), "shop.localhost", "/")?;
        let rule = shop.head.lines().find_map(|line| line.strip_prefix("X-Rule: "));
        Ok(Facts {
            rule: rule.map(str::to_owned),
            password: shop.status == 401,
            port: TcpStream::connect(("127.0.0.1", server.port(5))).is_ok(),
            route: status("out.example", "/")? == 200,
            path: status("out.example", "/path/")? == 200,
            domain: status("shop.example", "/")? != 404,
        })
    }
}

#[test]
fn whatever_is_killed_in_a_command_what_it_says_holds_or_is_not_there() {
    let mut server = Server::start();
    for app in ["blog", "shop"] {
        server.repository("dockerfile", app).push().expect_success();
        wait_until_over(&server, app);
    }
    let container = server.containers().into_iter().find(|name| name.contains("-blog-")).unwrap();
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = run(docker().args(["inspect", "--format", format, &container])).expect_success().stdout;
    let target = format!("{}:3000", address.trim());
    // A rule that stays, so that there is a Caddy that has it.
    server.paas(&["apps:create", "kept"]).expect_success();
    server.paas(&["proxy:set", "kept", "hsts=on"]).expect_success();
    let seed = std::env::var("PAAS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1);
    let mut chance = Chance(seed);
    let visitor = Visitor::of(&server);
    let page = server.get("blog", "/").body;
    let since = visitor.seen();
    for (number, line) in (0..VICTIMS.len() * COMMANDS.len()).zip(COMMANDS.iter().cycle()) {
        let line = line
            .replace("PORT", &server.port(5).to_string())
            .replace("TARGET", &target)
            .replace("NUMBER", &number.to_string());
        // Each of them in each command.
        let victim = VICTIMS[(number % COMMANDS.len() + number / COMMANDS.len()) % VICTIMS.len()];
        let after = chance.below(LATEST);
        let case = format!("seed {seed}, round {number}: {line}, {victim:?} killed after {after} ms");
        let mut paas = server.command(crate::harness::PAAS);
        paas.args(line.split(' ')).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut paas = paas.spawn().unwrap();
        sleep(Duration::from_millis(after));
        match victim {
            Victim::Command => drop(paas.kill()),
            Victim::Daemon => server.kill_daemon(),
            Victim::Edge => kill_if_there(&edge(&server)),
            Victim::Inner => {
                let folder = server.root().join("caddy/inner").display().to_string();
                let is_inner = |arguments: &str| arguments.contains("\0run\0") && arguments.contains(&folder);
                kill_if_there(&processes(|arguments, _| is_inner(arguments)));
            }
        }
        drop(paas.wait());
        if victim == Victim::Daemon {
            server.start_daemon();
        }
        let begun = Instant::now();
        loop {
            let (stored, answered) = (Facts::stored(&server), Facts::answered(&server));
            if answered.as_ref().is_ok_and(|answered| *answered == stored) {
                break;
            }
            let said = server.daemon_output();
            assert!(begun.elapsed() < PATIENCE, "{case}: {stored:?} is stored, {answered:?} is answered\n{said}");
            sleep(Duration::from_millis(50));
        }
    }
    visitor.has_seen_only(&format!("seed {seed}"), since, &[&page]);
}

/// Kills processes that may have ended already.
fn kill_if_there(processes: &[u32]) {
    for id in processes {
        drop(command("kill").args(["-9", &id.to_string()]).status());
    }
}
