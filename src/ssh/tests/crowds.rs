//! Those who come and do not log in, those who go without a word, and commands that are too long.

use std::{
    cell::Cell,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::{super::Patience, Fixture, eventually, exists, noise, stderr, stdout};
use crate::clock;

/// What a login may take, whoever stands at the door, on a machine on which it takes [`ALONE`] where nobody does.
const SOON: Duration = Duration::from_secs(2);
const ALONE: Duration = Duration::from_millis(100);

/// The same on this machine, which may have other things to do.
fn soon(alone: Duration) -> Duration {
    SOON.mul_f64(alone.div_duration_f64(ALONE).max(1.0))
}

/// Logs in, and returns how long that took.
#[track_caller]
fn log_in(server: &Fixture, what: &str) -> Duration {
    let begun = clock::instant();
    let output = server.run(&[], "true");
    assert!(output.status.success(), "{what}: {}", stderr(&output));
    begun.elapsed()
}

/// Lets this process have as many connections as the machine allows.
fn many_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}

fn is_ended(stream: &TcpStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

/// Connects so many times and says `greeting` each time.
fn crowd(address: SocketAddr, count: usize, greeting: &[u8]) -> Vec<TcpStream> {
    let connect = || {
        let mut stream = TcpStream::connect(address).unwrap();
        // One that was ended already cannot be told.
        drop(stream.write_all(greeting));
        stream
    };
    (0..count).map(|_| connect()).collect()
}

#[test]
fn a_login_is_quick_whatever_crowd_stands_at_the_door() {
    // Both ends of each connection are in this process.
    let most = usize::try_from(many_descriptors() / 3).unwrap_or(usize::MAX);
    let server = Fixture::new();
    // They come from the very address of the one who logs in. The second kind says its name, and no more.
    for (count, greeting) in [(64, ""), (300, ""), (5000, ""), (300, "SSH-2.0-crowd\r\n"), (300, "GET / HTTP/1.1\r\n")]
    {
        let what = format!("{count} {greeting:?}");
        let alone = log_in(&server, &what);
        let crowd = crowd(server.address, count.min(most), greeting.as_bytes());
        let took = log_in(&server, &what);
        assert!(took < soon(alone), "{what}: {took:?}, and {alone:?} alone");
        drop(crowd);
    }
}

#[test]
fn a_login_is_quick_though_each_that_is_sent_away_comes_again() {
    many_descriptors();
    let server = Fixture::new();
    let alone = log_in(&server, "alone");
    let (address, stop, again) = (server.address, Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (told, counter) = (Arc::clone(&stop), Arc::clone(&again));
    let crowd = thread::spawn(move || {
        let mut streams = crowd(address, 300, b"");
        while !told.load(Ordering::Relaxed) {
            for stream in streams.iter_mut().filter(|stream| is_ended(stream)) {
                *stream = TcpStream::connect(address).unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    eventually("they come again", || again.load(Ordering::Relaxed) > 100);
    let before = again.load(Ordering::Relaxed);
    let mut logins = 0;
    while logins < 5 || again.load(Ordering::Relaxed) < before + 300 {
        let took = log_in(&server, "in the crowd");
        assert!(took < soon(alone), "{took:?}, and {alone:?} alone");
        logins += 1;
    }
    stop.store(true, Ordering::Relaxed);
    crowd.join().unwrap();
}

#[test]
fn many_who_log_in_at_once_all_get_in() {
    let server = Fixture::new();
    let clients: Vec<Child> = (0..30).map(|_| server.ssh(&[], "echo in").spawn().unwrap()).collect();
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert_eq!(stdout(&output), "in\n", "{}", stderr(&output));
    }
}

#[test]
fn who_does_not_log_in_is_disconnected() {
    let server = Fixture::with_patience(Patience { login: Duration::from_secs(1), ..super::super::PATIENCE });
    for greeting in ["", "SSH-2.0-crowd\r\n"] {
        let mut stream = crowd(server.address, 1, greeting.as_bytes()).remove(0);
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let begun = clock::instant();
        stream.read_to_end(&mut Vec::new()).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    }
}

/// Starts a client that sends until nothing moves any more, because its command does not read.
fn blocked(server: &Fixture, command: &str) -> Child {
    let mut client = server.ssh(&[], command).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    thread::spawn(move || {
        while input.write_all(&noise(1 << 16)).is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let last = Cell::new((0, clock::instant()));
    eventually("the client can send no more", || {
        let now = sent.load(Ordering::Relaxed);
        if now != last.get().0 {
            last.set((now, clock::instant()));
        }
        now > 16 && last.get().1.elapsed() > Duration::from_millis(300)
    });
    client
}

/// How many connections of a server are open on its side, also those whose client has ended.
fn open_connections(server: &Fixture) -> usize {
    let local = format!(":{:04X}", server.address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_open = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // ESTABLISHED and CLOSE_WAIT.
        fields[1].ends_with(&local) && ["01", "08"].contains(&fields[3])
    };
    table.lines().skip(1).filter(is_open).count()
}

#[test]
fn a_client_that_goes_while_its_upload_waits_is_noticed() {
    let patience = Patience { gone: Duration::from_secs(1), ..super::super::PATIENCE };
    for (says_something, kind) in [(false, Signal::SIGKILL), (true, Signal::SIGKILL), (false, Signal::SIGTERM)] {
        let server = Fixture::with_patience(patience);
        let (release, ended) = (server.path("release"), server.path("ended"));
        let says = if says_something { "while echo x; do sleep 0.02; done 2>/dev/null;" } else { "" };
        let command = format!(
            "trap '' PIPE; {says} while [ -d {2} ] && [ ! -e {0} ]; do sleep 0.05; done; cat > /dev/null; touch {1}",
            release.display(),
            ended.display(),
            server.directory.path().display()
        );
        let mut client = blocked(&server, &command);
        assert_eq!(open_connections(&server), 1);
        signal::kill(Pid::from_raw(i32::try_from(client.id()).unwrap()), kind).unwrap();
        client.wait().unwrap();
        eventually("the connection ends", || open_connections(&server) == 0);
        std::fs::write(&release, "").unwrap();
        eventually("the child finds its input closed", || exists(&ended));
    }
}

#[test]
fn a_client_that_stays_keeps_what_it_waits_for() {
    let server = Fixture::with_patience(Patience { gone: Duration::from_millis(100), ..super::super::PATIENCE });
    let release = server.path("release");
    let command = format!("while [ ! -e {} ]; do sleep 0.05; done; echo done", release.display());
    let client = blocked(&server, &command);
    // Two looks at the connection later.
    thread::sleep(2 * super::super::connection::KEY_CHECK_EVERY);
    std::fs::write(&release, "").unwrap();
    assert_eq!(stdout(&client.wait_with_output().unwrap()), "done\n");
}

#[test]
fn what_a_client_sent_before_it_went_still_arrives_while_it_moves() {
    let server = Fixture::with_patience(Patience { gone: Duration::from_secs(5), ..super::super::PATIENCE });
    let (begun, count) = (server.path("begun"), server.path("count"));
    // Slow at first, so that much waits when the client goes.
    let command = format!(
        "touch {0}; sleep 1; head -c 3000000 | wc -c > {1}.new; mv {1}.new {1}",
        begun.display(),
        count.display()
    );
    let mut client = server.ssh(&[], &command).stdin(Stdio::piped()).spawn().unwrap();
    client.stdin.take().unwrap().write_all(&noise(1_000_000)).unwrap();
    eventually("the command runs", || exists(&begun));
    client.wait().unwrap();
    eventually("all has arrived", || std::fs::read_to_string(&count).is_ok_and(|text| text.trim() == "1000000"));
}

#[test]
fn a_command_that_is_too_long_is_told_so() {
    let server = Fixture::new();
    let (long, rest) = ("x".repeat(100_000), "y".repeat(49_990));
    let output = server.ssh(&[], "echo").args([&long, &long, &rest]).output().unwrap();
    assert!(output.status.success() && output.stdout.len() > 99_000, "{}", stderr(&output));
    let output = server.ssh(&[], "echo").args([&long, &long, &rest, "and some more of it"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("error: the command is too long: it has ") && said.contains("--from-file"), "{said}");
    assert!(!said.contains("xxx"), "{said}");
}
