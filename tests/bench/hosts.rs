//! Requests a second with 1, 20, 200 and 1,000 hosts in rotation: by whole host, as the Caddyfile asks the edge, against the
//! Caddyfile of 0.1.0, which asked by the app's name, in turns. Both ask the same edge for the same apps.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::{
    harness::{Server, command},
    many_apps::Crowd,
    measure::{PATIENCE, median},
};

const HOSTS: [usize; 4] = [1, 20, 200, 1_000];
const CLIENTS: usize = 16;
/// How long each side is measured in a round.
const SPAN: Duration = Duration::from_secs(3);

/// Measures both, and prints it.
pub fn measure(rounds: usize) {
    println!("\n== hosts: requests a second by whole host, and by the app's name");
    let crowd = Crowd::start(HOSTS[HOSTS.len() - 1]);
    let old = Old::start(&crowd.server);
    for hosts in HOSTS {
        let (mut whole, mut label) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            label.push(rate(old.port, hosts));
            whole.push(rate(crowd.server.port(3), hosts));
        }
        let late = |all: &[Rate]| median(all.iter().map(|one| one.p99).collect());
        let many = |all: &[Rate]| median(all.iter().map(|one| one.rate).collect());
        println!(
            "{hosts:5} hosts: {:.0} a second, p99 {:.1} ms; by the app's name {:.0} a second, p99 {:.1} ms; ratio {:.2}",
            many(&whole),
            late(&whole),
            many(&label),
            late(&label),
            many(&whole) / many(&label)
        );
    }
}

/// A Caddy with the Caddyfile of 0.1.0.
struct Old {
    port: u16,
    child: Child,
}

impl Old {
    fn start(server: &Server) -> Old {
        let directory = server.directory.path().join("old");
        std::fs::create_dir_all(directory.join("caddy")).unwrap();
        let port = server.port(6);
        let text = include_str!("../caddyfiles/0.1.0")
            .replace("ROOT", directory.to_str().unwrap())
            .replace("HTTP_PORT", &port.to_string())
            .replace("HTTPS_PORT", &server.port(7).to_string())
            .replace("EDGE", &format!("127.0.0.1:{}", server.port(2)))
            .replace("PAGE", &format!("127.0.0.1:{}", server.port(1)))
            .replace("UPSTREAM", "127.0.0.1:1");
        let path = directory.join("Caddyfile");
        std::fs::write(&path, text).unwrap();
        let mut caddy = command("caddy");
        caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(path).env("HOME", &directory);
        let child = caddy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        server.wait_for("the Caddy of before", PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Old { port, child }
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How requests went.
struct Rate {
    /// How many a second.
    rate: f64,
    /// In milliseconds.
    p99: f64,
}

/// Asks hosts in turns on connections that are kept.
fn rate(port: u16, hosts: usize) -> Rate {
    let begun = Instant::now();
    let mut took: Vec<f64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
                    stream.get_ref().set_nodelay(true).unwrap();
                    let mut took = Vec::new();
                    for number in client * hosts / CLIENTS.. {
                        if begun.elapsed() > SPAN {
                            break;
                        }
                        let at = Instant::now();
                        ask(&mut stream, number % hosts);
                        took.push(1000.0 * at.elapsed().as_secs_f64());
                    }
                    took
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort_by(f64::total_cmp);
    Rate { rate, p99: took[(took.len() - 1) * 99 / 100] }
}

fn ask(stream: &mut BufReader<TcpStream>, app: usize) {
    let request = format!("GET / HTTP/1.1\r\nHost: other-{app}.localhost\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let mut length = 0;
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    assert_eq!(body, b"other\n");
}
