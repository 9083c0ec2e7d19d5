//! What the benches measure with.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

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

/// The number in the middle.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
