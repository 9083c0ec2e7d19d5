//! The TCP sockets of this machine, as the kernel lists them (proc(5), `/proc/net/tcp`), and whose they are.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use crate::files;

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// What it is.
    pub state: State,
    /// What its process knows it by; 0: no process has it any more.
    pub inode: u64,
}

/// What a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for connections.
    Listens,
    /// It is a connection of which one side at least may still have something to say, or is about to be one.
    Connected,
    /// It is over, or never began.
    Over,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: i32,
    /// Its name, in a few letters.
    pub name: String,
}

/// The sockets of this machine. What cannot be read is left out.
pub fn sockets() -> Vec<Socket> {
    let read = |table: &str| std::fs::read_to_string(table).unwrap_or_default();
    let mut sockets = parse(&read("/proc/net/tcp"));
    sockets.extend(parse(&read("/proc/net/tcp6")));
    sockets
}

/// The processes that have a socket, as far as the kernel tells us.
pub fn holders(inode: u64) -> Vec<Process> {
    let Ok(entries) = files::entries(Path::new("/proc")) else { return Vec::new() };
    let process = |path: std::path::PathBuf| {
        let id = path.file_name()?.to_str()?.parse().ok()?;
        inodes_of(id).contains(&inode).then_some(())?;
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default().trim().to_owned();
        Some(Process { id, name })
    };
    entries.into_iter().filter_map(process).collect()
}

/// The sockets that a process has; none where the kernel does not tell us.
pub fn inodes_of(process: i32) -> HashSet<u64> {
    let files = files::entries(Path::new(&format!("/proc/{process}/fd"))).unwrap_or_default();
    let inode = |file: std::path::PathBuf| {
        let to = std::fs::read_link(file).ok()?;
        to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    files.into_iter().filter_map(inode).collect()
}

/// Reads a table of the kernel's.
fn parse(table: &str) -> Vec<Socket> {
    let socket = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, remote) = (parse_end(words.next()?)?, parse_end(words.next()?)?);
        let state = match words.next()? {
            "0A" => State::Listens,
            // ESTABLISHED, SYN_SENT, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT.
            "01" | "02" | "04" | "05" | "08" => State::Connected,
            _ => State::Over,
        };
        // Queues, timer, retransmissions, user, timeout.
        let inode = words.nth(5)?.parse().ok()?;
        Some(Socket { local, remote, state, inode })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// Reads an address with its port.
fn parse_end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    Some(SocketAddr::new(parse_address(address)?, u16::from_str_radix(port, 16).ok()?))
}

/// Reads an address: words of eight hexadecimal digits, one for IPv4 and four for IPv6, each in the byte order of the
/// machine. An address of IPv4 that is written as one of IPv6 is what it is.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for start in (0..text.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(text.get(start..start + 8)?, 16).ok()?.to_ne_bytes());
    }
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(IpAddr::V4(bytes.into()));
    }
    let bytes = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
    Some(IpAddr::V6(bytes.into()).to_canonical())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     \x20  0: 00000000:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n\
                     \x20  1: 0100DE0A:9C40 0700DE0A:1538 01 00000000:00000000 02:00000AB4 00000000     0        0 4243 2 0 21 4 28 10 -1\n\
                     \x20  2: 0100DE0A:9C41 0700DE0A:1538 06 00000000:00000000 03:00000AB4 00000000     0        0 0 3 0\n\
                     \x20  nonsense\n";
        let sockets = parse(table);
        let shown: Vec<String> =
            sockets.iter().map(|it| format!("{} {} {:?} {}", it.local, it.remote, it.state, it.inode)).collect();
        assert_eq!(
            shown,
            [
                "0.0.0.0:5432 0.0.0.0:0 Listens 4242",
                "10.222.0.1:40000 10.222.0.7:5432 Connected 4243",
                "10.222.0.1:40001 10.222.0.7:5432 Over 0",
            ]
        );
    }

    #[test]
    fn a_socket_of_ours_is_listed_with_our_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = sockets().into_iter().find(|socket| socket.local == address).unwrap();
        assert_eq!(found.state, State::Listens);
        let own = std::process::id().cast_signed();
        assert!(holders(found.inode).iter().any(|process| process.id == own && !process.name.is_empty()));
    }
}
