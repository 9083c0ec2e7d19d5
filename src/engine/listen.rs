//! What a process listens on, read from the kernel's tables of its network namespace (proc(5), `/proc/PID/net/tcp`):
//! so that an app on the wrong port is told the right one.

use std::collections::BTreeSet;

/// The state `LISTEN` in `/proc/PID/net/tcp`.
const LISTEN: &str = "0A";

/// The TCP ports a process and its neighbours in the same network namespace listen on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// Those that others can reach over IPv4.
    pub reachable: BTreeSet<u16>,
    /// Those on 127.0.0.1 or ::1 alone.
    pub loopback: BTreeSet<u16>,
    /// Those on an IPv6 address alone.
    pub only_ipv6: BTreeSet<u16>,
}

/// What the network namespace of a process listens on; none where this host does not know the process.
pub(super) fn of_process(pid: i64) -> Option<Listening> {
    if pid <= 0 {
        return None;
    }
    let tcp = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    let tcp6 = std::fs::read_to_string(format!("/proc/{pid}/net/tcp6")).unwrap_or_default();
    Some(parse(&tcp, &tcp6))
}

fn parse(tcp: &str, tcp6: &str) -> Listening {
    let mut listening = Listening::default();
    for (address, port) in sockets(tcp) {
        // Addresses are words in the byte order of the machine: the last two digits are the first byte.
        if address.ends_with("7F") {
            listening.loopback.insert(port);
        } else {
            listening.reachable.insert(port);
        }
    }
    for (address, port) in sockets(tcp6) {
        match address {
            // `::` takes IPv4 too, unless the socket is made for IPv6 alone, which this table does not tell.
            "00000000000000000000000000000000" => listening.reachable.insert(port),
            "00000000000000000000000001000000" => listening.loopback.insert(port),
            _ => listening.only_ipv6.insert(port),
        };
    }
    listening
}

/// The listening sockets of a table: address in hexadecimal, and port.
fn sockets(table: &str) -> impl Iterator<Item = (&str, u16)> {
    table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let _remote = words.next()?;
        (words.next()? == LISTEN).then_some((address, u16::from_str_radix(port, 16).ok()?))
    })
}

impl Listening {
    /// What to tell somebody whose app does not answer on `port`: what it listens on instead, and what to change.
    /// None where it does listen there.
    pub fn describe(&self, port: u16) -> Option<String> {
        let list = |ports: &BTreeSet<u16>| {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            ports.join(", ")
        };
        if self.reachable.contains(&port) {
            None
        } else if self.loopback.contains(&port) {
            Some(format!("it listens on 127.0.0.1:{port} only, which cannot be reached from outside its container"))
        } else if self.only_ipv6.contains(&port) {
            Some(format!("it listens on port {port} over IPv6 only"))
        } else if !self.reachable.is_empty() {
            Some(format!("it listens on port {}, not on port {port}", list(&self.reachable)))
        } else if !self.loopback.is_empty() {
            Some(format!("it listens on 127.0.0.1 port {} only, not on 0.0.0.0 port {port}", list(&self.loopback)))
        } else {
            Some("it listens on no port at all".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";

    #[test]
    fn the_kernels_table_is_read() {
        let tcp = format!(
            "{HEADER}   0: 0100007F:1388 00000000:0000 0A 00000000:00000000\n   1: 00000000:0BB8 00000000:0000 0A 0:0\n   2: 00000000:0BB9 0100007F:1234 01 0:0\n"
        );
        let listening = parse(&tcp, HEADER);
        assert_eq!(listening.loopback, BTreeSet::from([5000]));
        assert_eq!(listening.reachable, BTreeSet::from([3000]));
        assert_eq!(listening.describe(3000), None);
        assert_eq!(
            listening.describe(5000).as_deref(),
            Some("it listens on 127.0.0.1:5000 only, which cannot be reached from outside its container")
        );
        assert_eq!(listening.describe(8080).as_deref(), Some("it listens on port 3000, not on port 8080"));
    }

    #[test]
    fn a_wildcard_ipv6_socket_takes_ipv4_too() {
        let tcp6 = format!("{HEADER}   0: 00000000000000000000000000000000:1388 0:0000 0A 0:0\n");
        assert_eq!(parse(HEADER, &tcp6).describe(5000), None);
        assert_eq!(parse(HEADER, HEADER).describe(5000).as_deref(), Some("it listens on no port at all"));
    }
}
