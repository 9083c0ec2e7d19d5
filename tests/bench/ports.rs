//! Ports over TCP: how much the relay passes on against a connection to the container itself, in turns; many connections at
//! once; and new connections while the app is deployed again and again.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    harness::{Repository, Server, docker, run},
    measure::{PATIENCE, median},
    processes::edge,
};

/// How much is moved in a round, in bytes.
const ROUND: usize = 2 << 30;
/// How many connections there are at once.
const MANY: usize = 5_000;
/// How many clients connect all the time during the deploys, and how many connections stay meanwhile.
const CLIENTS: usize = 8;
const STAYING: usize = 100;

/// Port 7000 says the version, and then all again that it hears. Port 7001 takes or gives as much as it can.
const PROGRAM: &str = r#"import asyncio, socket, threading

def busy(peer):
    data = memoryview(bytearray(1 << 20))
    try:
        if peer.recv(1) == b"u":
            while peer.recv_into(data): pass
            peer.sendall(b"all")
        else:
            while True: peer.sendall(data)
    except OSError:
        pass
    peer.close()

def take():
    listener = socket.create_server(("0.0.0.0", 7001), backlog=500)
    while True:
        threading.Thread(target=busy, args=(listener.accept()[0],), daemon=True).start()

async def answer(reader, writer):
    writer.write(b"v1\n")
    try:
        while heard := await reader.read(65536):
            writer.write(heard)
            await writer.drain()
    except OSError:
        pass
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "0.0.0.0", 7000, backlog=4096)
    await server.serve_forever()

threading.Thread(target=take, daemon=True).start()
asyncio.run(main())
"#;
const DOCKERFILE: &str = "FROM python:3.13-slim\nCOPY program.py /\nEXPOSE 7000\nCMD [\"python3\", \"/program.py\"]\n";

/// Measures it, and prints it. Returns how many new connections failed.
pub fn measure(rounds: usize, deploys: usize) -> usize {
    println!("\n== ports: the relay");
    let server = Server::start();
    let (answers, busy) = (server.port(5), server.port(6));
    server.paas(&["apps:create", "echo"]).expect_success();
    let ports = [format!("tcp:{answers}:7000"), format!("tcp:{busy}:7001")];
    server.paas(&["ports:add", "echo", &ports[0], &ports[1]]).expect_success();
    server.paas(&["ps:set", "echo", "stop-timeout=1s", "drain-timeout=3s", "--no-restart"]).expect_success();
    let repository = server.empty_repository("echo");
    repository.write("Dockerfile", DOCKERFILE).write("program.py", PROGRAM).commit("one");
    repository.push().expect_success();
    throughput(&server, busy, rounds);
    many(&server, answers);
    deploy_under_load(&server, &repository, answers, deploys)
}

fn throughput(server: &Server, port: u16, rounds: usize) {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let container = server.containers().remove(0);
    let address = run(docker().args(["inspect", "--format", format, &container])).expect_success().stdout;
    let itself = format!("{}:7001", address.trim());
    let relayed = format!("127.0.0.1:{port}");
    for (word, sends) in [("to the app", true), ("from the app", false)] {
        let (mut direct, mut by_relay, mut cost) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            direct.push(rate(&itself, sends));
            let before = processor_time(server);
            by_relay.push(rate(&relayed, sends));
            cost.push((processor_time(server) - before) / (ROUND as f64 / f64::from(1 << 30)));
        }
        let (direct, by_relay) = (median(direct), median(by_relay));
        println!(
            "{word}: {by_relay:.1} Gbit/s by the relay, {direct:.1} Gbit/s to the container itself; ratio {:.2}; {:.2} s of \
             processor time of the edge a GiB",
            by_relay / direct,
            median(cost)
        );
    }
}

/// Gbit/s in one direction.
fn rate(address: &str, sends: bool) -> f64 {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut data = vec![7; 256 << 10];
    let begun = Instant::now();
    if sends {
        stream.write_all(b"u").unwrap();
        for _ in 0..ROUND / data.len() {
            stream.write_all(&data).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "all");
    } else {
        stream.write_all(b"d").unwrap();
        let mut left = ROUND;
        while left > 0 {
            let read = stream.read(&mut data).unwrap();
            assert!(read > 0, "the app said less than it was to say");
            left = left.saturating_sub(read);
        }
    }
    ROUND as f64 * 8.0 / begun.elapsed().as_secs_f64() / 1e9
}

/// The processor time that the edge has had, in seconds.
fn processor_time(server: &Server) -> f64 {
    let ticks = |id: u32| -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let mut words = stat.rsplit_once(") ")?.1.split(' ').skip(11);
        Some(words.next()?.parse::<f64>().ok()? + words.next()?.parse::<f64>().ok()?)
    };
    edge(server).into_iter().filter_map(ticks).sum::<f64>() / 100.0
}

fn memory(server: &Server) -> f64 {
    let of = |id: u32| -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    };
    edge(server).into_iter().filter_map(of).sum::<f64>() / 1024.0
}

fn connect(port: u16) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut stream = BufReader::new(stream);
    let mut version = String::new();
    match stream.read_line(&mut version)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(stream),
    }
}

fn hears_itself(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    stream.get_mut().write_all(b"hello\n")?;
    let mut heard = String::new();
    match stream.read_line(&mut heard)? {
        6 => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn many(server: &Server, port: u16) {
    let before = memory(server);
    let begun = Instant::now();
    let mut connections: Vec<BufReader<TcpStream>> = (0..MANY).map(|_| connect(port).unwrap()).collect();
    let opened = begun.elapsed();
    let begun = Instant::now();
    for connection in &mut connections {
        hears_itself(connection).unwrap();
    }
    println!(
        "{MANY} connections: all opened in {:.1} s, all answer, one after the other, in {:.1} s; the edge has {:.0} MB more \
         for them ({before:.0} MB without)",
        opened.as_secs_f64(),
        begun.elapsed().as_secs_f64(),
        memory(server) - before
    );
}

fn deploy_under_load(server: &Server, repository: &Repository, port: u16, deploys: usize) -> usize {
    server.wait_for("the many connections to end", PATIENCE, || {
        server.json(&["ports:report", "echo"])["ports"][0]["connections"] == 0
    });
    let stop = Arc::new(AtomicBool::new(false));
    let (opened, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let client = || {
        let (stop, opened, failed) = (Arc::clone(&stop), Arc::clone(&opened), Arc::clone(&failed));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match connect(port).and_then(|mut stream| hears_itself(&mut stream)) {
                    Ok(()) => drop(opened.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => {
                        println!("a new connection failed: {error}");
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
    for deploy in 0..deploys {
        let mut staying: Vec<_> = (0..STAYING).map(|_| connect(port).unwrap()).collect();
        repository.write("version", &deploy.to_string()).commit("another");
        repository.push().expect_success();
        // Those that were there go on, for as long as the old container drains.
        let cut = staying.iter_mut().filter_map(|stream| hears_itself(stream).err()).count();
        failed.fetch_add(cut, Ordering::Relaxed);
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    let failed = failed.load(Ordering::Relaxed);
    println!(
        "{deploys} deploys: {} new connections, and {STAYING} that stay in each, of which {failed} failed",
        opened.load(Ordering::Relaxed)
    );
    failed
}
