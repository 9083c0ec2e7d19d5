//! What a process listens on, read from the kernel's tables of its network namespace (proc(5), `/proc/PID/net/tcp`):
//! so that an app on the wrong port is told the right one.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::tcp::parse_address;

/// The state `LISTEN` in `/proc/PID/net/tcp`.
const LISTEN: &str = "0A";
/// Where the engine's name server listens in every container of a network of one's own.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

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
    for (address, port) in sockets(tcp).chain(sockets(tcp6)) {
        match address {
            // The engine's, not the app's.
            IpAddr::V4(NAME_SERVER) => false,
            IpAddr::V4(address) if address.is_loopback() => listening.loopback.insert(port),
            IpAddr::V6(Ipv6Addr::LOCALHOST) => listening.loopback.insert(port),
            // `::` takes IPv4 too, unless the socket is made for IPv6 alone, which this table does not tell.
            IpAddr::V4(_) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => listening.reachable.insert(port),
            IpAddr::V6(_) => listening.only_ipv6.insert(port),
        };
    }
    listening
}

/// The listening sockets of a table.
fn sockets(table: &str) -> impl Iterator<Item = (IpAddr, u16)> {
    table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        let _remote = words.next()?;
        (words.next()? == LISTEN).then_some((parse_address(address)?, u16::from_str_radix(port, 16).ok()?))
    })
}

impl Listening {
    /// What to tell somebody whose app does not answer on `port`: what it listens on instead, and what to change.
    /// None where it does listen there.
    pub fn describe(&self, port: u16) -> Option<String> {
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

    /// The same while there is time left: that an app does not listen on `port` yet is no mistake, whatever it has opened
    /// for itself until then.
    pub fn describe_so_far(&self, port: u16) -> Option<String> {
        let is_there = self.loopback.contains(&port) || self.only_ipv6.contains(&port);
        if is_there || self.reachable.contains(&port) {
            self.describe(port)
        } else if !self.reachable.is_empty() {
            Some(format!("it listens on port {}, and not on port {port} yet", list(&self.reachable)))
        } else if !self.loopback.is_empty() || !self.only_ipv6.is_empty() {
            Some(format!("it does not listen on port {port} yet"))
        } else {
            Some("it listens on no port at all yet".to_owned())
        }
    }
}

fn list(ports: &BTreeSet<u16>) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    ports.join(", ")
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

    #[test]
    fn the_engines_name_server_is_not_the_apps() {
        let name_server = format!("{HEADER}   0: 0B00007F:8003 00000000:0000 0A 0:0\n");
        assert_eq!(parse(&name_server, HEADER), Listening::default());
        assert_eq!(parse(&name_server, HEADER).describe(5000).as_deref(), Some("it listens on no port at all"));
        let mapped = "0000000000000000FFFF00000B00007F";
        assert_eq!(parse(HEADER, &format!("{HEADER} 0: {mapped}:8003 0:0 0A 0:0\n")), Listening::default());
        // Any other address of its own is.
        let own = format!("{HEADER} 0: 0C00007F:1388 00000000:0000 0A 0:0\n");
        assert_eq!(parse(&own, HEADER).loopback, BTreeSet::from([5000]));
    }

    #[test]
    fn an_address_of_ipv4_is_one_however_it_is_written() {
        let tcp6 = |address: &str| parse(HEADER, &format!("{HEADER} 0: {address}:1388 0:0 0A 0:0\n"));
        assert_eq!(tcp6("0000000000000000FFFF00000100007F").loopback, BTreeSet::from([5000]));
        assert_eq!(tcp6("0000000000000000FFFF00000200D50A").reachable, BTreeSet::from([5000]));
        assert_eq!(tcp6("00000000000000000000000001000000").loopback, BTreeSet::from([5000]));
        assert_eq!(tcp6("000080FE000000000000000001000000").only_ipv6, BTreeSet::from([5000]));
        assert_eq!(tcp6("xyz"), Listening::default());
    }

    #[test]
    fn while_there_is_time_left_nobody_is_told_to_change_an_address() {
        let so_far = |loopback: &[u16], reachable: &[u16]| {
            let ports = |ports: &[u16]| ports.iter().copied().collect();
            let listening =
                Listening { loopback: ports(loopback), reachable: ports(reachable), only_ipv6: BTreeSet::new() };
            listening.describe_so_far(5000)
        };
        assert_eq!(so_far(&[], &[]).as_deref(), Some("it listens on no port at all yet"));
        assert_eq!(so_far(&[9229], &[]).as_deref(), Some("it does not listen on port 5000 yet"));
        assert_eq!(so_far(&[], &[9090]).as_deref(), Some("it listens on port 9090, and not on port 5000 yet"));
        assert!(so_far(&[5000], &[9090]).is_some_and(|said| said.contains("127.0.0.1:5000 only")));
        assert_eq!(so_far(&[5000], &[5000]), None);
    }
}
