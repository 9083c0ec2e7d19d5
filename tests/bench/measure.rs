//! What the benches measure with.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream, UdpSocket},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RData, RecordType},
};

use crate::harness::{Server, docker, run};

/// How often a new version is asked for.
const POLL: Duration = Duration::from_millis(5);
/// When something that does not come is given up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Seconds since `begun` until an address answers with a text at the end of a line.
pub fn first_answer(address: &str, host: &str, text: &str, begun: Instant) -> f64 {
    while begun.elapsed() < PATIENCE {
        let answer = (|| {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(stream, "GET / HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        })();
        // The version ends the line, so that v1-1 is not found in v1-12.
        if answer.is_ok_and(|answer| answer.lines().any(|line| line.ends_with(text))) {
            return begun.elapsed().as_secs_f64();
        }
        std::thread::sleep(POLL);
    }
    panic!("{text} did not answer at {address} within {PATIENCE:?}");
}

/// Seconds until Caddy, on a port of this machine, answers with a text at the end of a line, and until `work` is done.
pub fn until_live(port: u16, host: &str, text: &str, work: impl FnOnce()) -> (f64, f64) {
    let begun = Instant::now();
    let watcher = std::thread::spawn({
        let (host, text) = (host.to_owned(), text.to_owned());
        move || first_answer(&format!("127.0.0.1:{port}"), &host, &text, begun)
    });
    work();
    let returned = begun.elapsed().as_secs_f64();
    (watcher.join().unwrap(), returned)
}

/// Kills a container; returns the seconds from its death until Caddy is told to send it nothing, and until it is told to
/// send it requests again.
pub fn kill_container(server: &Server, app: &str, container: &str) -> (f64, f64) {
    let format = "{{.State.Pid}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let said = run(docker().args(["inspect", "--format", format, container])).expect_success().stdout;
    let (process, address) = said.trim().split_once(' ').unwrap();
    let address: Ipv4Addr = address.parse().unwrap();
    let mut killing = docker().args(["kill", container]).stdout(Stdio::null()).spawn().unwrap();
    // Nothing more is read of one that is dead, though its parent may not have been told.
    let arguments = format!("/proc/{process}/cmdline");
    while std::fs::read(&arguments).is_ok_and(|arguments| !arguments.is_empty()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let begun = Instant::now();
    let until = |there: bool| {
        while upstreams(server, app).map_or(true, |upstreams| upstreams.contains(&address) != there) {
            assert!(begun.elapsed() < PATIENCE, "{container} is {}there for ever", if there { "not " } else { "" });
            std::thread::sleep(Duration::from_millis(1));
        }
        begun.elapsed().as_secs_f64()
    };
    let times = (until(false), until(true));
    assert!(killing.wait().unwrap().success());
    times
}

/// Where Caddy is told to send the requests of an app now.
fn upstreams(server: &Server, app: &str) -> std::io::Result<Vec<Ipv4Addr>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(format!("web.{app}.paas.")).unwrap(), RecordType::SRV));
    socket.send_to(&question.to_vec().unwrap(), ("127.0.0.1", server.port(2)))?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer)?;
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    let spelled = answer.answers.iter().filter_map(|record| match &record.data {
        RData::SRV(service) => service.target.iter().next().map(|label| String::from_utf8_lossy(label).into_owned()),
        _ => None,
    });
    Ok(spelled.filter_map(|label| label.replace('-', ".").parse().ok()).collect())
}

/// The number in the middle.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// What a process takes of memory, what it shares with others divided among them, in MB.
pub fn proportional_set_size(process: u32) -> f64 {
    let rollup = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("smaps_rollup")).unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
}
