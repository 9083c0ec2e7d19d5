//! A machine that goes without a word: its cable is cut, or something on the way drops what it sends. Nothing arrives any
//! more, no end and no reset, and yet all that it held on the server is let go of within a minute.

use std::{
    process::{Child, Stdio},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use crate::{
    harness::{Server, command, run, ssh_options},
    processes::processes,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// How a machine goes.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Its link is down.
    Cable,
    /// What it sends is dropped, and what is sent to it.
    Drop,
}

/// A network of the test's own, with one machine in it.
struct Machine {
    name: String,
    /// The server's address in it.
    server: String,
    clients: Vec<Child>,
}

impl Machine {
    fn new(server: &Server, number: u16) -> Machine {
        let (slot, first) = (server.slot, number * 4);
        let name = format!("paas-{slot}-{number}");
        let machine =
            Machine { name: name.clone(), server: format!("198.18.{slot}.{}", first + 1), clients: Vec::new() };
        let there = format!("198.18.{slot}.{}/30", first + 2);
        let ours = format!("{}/30", machine.server);
        // A former run that was killed may have left it.
        drop(run(command("ip").args(["netns", "del", &name])));
        for words in [
            &["netns", "add", &name][..],
            &["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &name],
            &["address", "add", &ours, "dev", &name],
            &["link", "set", &name, "up"],
            &["-n", &name, "address", "add", &there, "dev", "eth0"],
            &["-n", &name, "link", "set", "eth0", "up"],
        ] {
            run(command("ip").args(words)).expect_success();
        }
        machine
    }

    /// Begins a session of its own: a command, or only a connection.
    fn begin(&mut self, server: &Server, words: &[&str]) -> &mut Child {
        let mut ssh = server.command("ip");
        ssh.args(["netns", "exec", &self.name, "ssh"]).args(ssh_options(&server.key()));
        ssh.args(["-p", &server.port(0).to_string()]).args(words.iter().take_while(|word| word.starts_with('-')));
        ssh.arg(format!("paas@{}", self.server)).args(words.iter().skip_while(|word| word.starts_with('-')));
        self.clients.push(ssh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        self.clients.last_mut().unwrap()
    }

    fn cut(&self, how: Cut) {
        let words: &[&[&str]] = match how {
            Cut::Cable => &[&["ip", "link", "set", "eth0", "down"]],
            Cut::Drop => &[&["iptables", "-I", "OUTPUT", "-j", "DROP"], &["iptables", "-I", "INPUT", "-j", "DROP"]],
        };
        for words in words {
            run(command("ip").args(["netns", "exec", &self.name]).args(*words)).expect_success();
        }
    }

    /// How many connections with it are open on the server's side.
    fn connections(&self, server: &Server) -> usize {
        let address = u32::from_ne_bytes(self.server.parse::<std::net::Ipv4Addr>().unwrap().octets());
        let local = format!("{address:08X}:{:04X}", server.port(0));
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap());
        let is_open = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // ESTABLISHED and CLOSE_WAIT.
            fields[1].ends_with(&local) && ["01", "08"].contains(&fields[3])
        };
        tables.iter().flat_map(|table| table.lines().skip(1)).filter(is_open).count()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for client in &mut self.clients {
            drop(client.kill());
            drop(client.wait());
        }
        drop(run(command("ip").args(["netns", "del", &self.name])));
    }
}

#[test]
fn what_a_machine_held_that_vanished_is_let_go_of_within_a_minute() {
    let mut server = Server::prepare(&[]);
    server.set("PAAS_SSH_LISTEN", &format!("0.0.0.0:{}", server.port(0)));
    server.start_daemon();
    server.repository("dockerfile", "blog").push().expect_success();
    let root = server.root().display().to_string();
    let children = || {
        let is_meant = |arguments: &str, environment: &str| {
            let is_git = arguments.contains("\0receive-pack\0") && arguments.contains(&root);
            is_git || (environment.contains("PAAS_SSH_COMMAND=logs") && environment.contains(&root))
        };
        processes(is_meant).len()
    };
    let mut machines = [(Cut::Cable, Machine::new(&server, 0)), (Cut::Drop, Machine::new(&server, 1))];
    for (_, machine) in &mut machines {
        machine.begin(&server, &["-N"]);
        // A child that waits for its client.
        machine.begin(&server, &["git-receive-pack 'blog'"]);
        // One that reads nothing of all that its client sends.
        let mut input = machine.begin(&server, &["logs blog -f"]).stdin.take().unwrap();
        thread::spawn(move || while std::io::Write::write_all(&mut input, &[b'x'; 1 << 16]).is_ok() {});
        server.wait_for("three connections", PATIENCE, || machine.connections(&server) == 3);
    }
    server.wait_for("their children", PATIENCE, || children() == 4);
    // Until nothing of what is sent is taken any more.
    sleep(Duration::from_secs(2));

    let before = Instant::now();
    for (how, machine) in &machines {
        machine.cut(*how);
    }
    for (how, machine) in &machines {
        server.wait_for(&format!("the end of them ({how:?})"), PATIENCE, || machine.connections(&server) == 0);
    }
    server.wait_for("the end of their children", PATIENCE.saturating_sub(before.elapsed()), || children() == 0);
    assert!(before.elapsed() > Duration::from_secs(10), "they were not cut, but ended");
    server.ssh("apps:list").expect_success();
}
