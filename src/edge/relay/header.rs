//! What a container is told of a client before anything that the client says: the PROXY protocol, versions 1 and 2
//! (`proxy-protocol.txt` of HAProxy).

use std::net::{IpAddr, SocketAddr};

use crate::model::ProxyProtocol;

/// How a header of version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, a connection that is relayed.
const VERSION_AND_COMMAND: u8 = 0x21;
/// A stream over IPv4, and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The header of a connection `from` a client `to` an address of this machine.
pub(super) fn header(version: ProxyProtocol, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    // What comes over IPv4 to a socket of IPv6 has an address of IPv6 that says so.
    let ends = (from.ip().to_canonical(), to.ip().to_canonical());
    match version {
        ProxyProtocol::V1 => {
            let family = match ends {
                (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
                (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
                _ => return b"PROXY UNKNOWN\r\n".to_vec(),
            };
            format!("PROXY {family} {} {} {} {}\r\n", ends.0, ends.1, from.port(), to.port()).into_bytes()
        }
        ProxyProtocol::V2 => {
            let (family, addresses) = match ends {
                (IpAddr::V4(from), IpAddr::V4(to)) => (TCP4, [from.octets(), to.octets()].concat()),
                (IpAddr::V6(from), IpAddr::V6(to)) => (TCP6, [from.octets(), to.octets()].concat()),
                _ => return [SIGNATURE, &[VERSION_AND_COMMAND, 0, 0, 0]].concat(),
            };
            let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
            // Twelve or thirty-six.
            let length = ((addresses.len() + ports.len()) as u16).to_be_bytes();
            [SIGNATURE, &[VERSION_AND_COMMAND, family], &length, &addresses, &ports].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(from: &str, to: &str) -> String {
        String::from_utf8(header(ProxyProtocol::V1, from.parse().unwrap(), to.parse().unwrap())).unwrap()
    }

    #[test]
    fn version_1_is_a_line() {
        assert_eq!(v1("203.0.113.7:40000", "198.51.100.1:5432"), "PROXY TCP4 203.0.113.7 198.51.100.1 40000 5432\r\n");
        assert_eq!(
            v1("[::ffff:203.0.113.7]:1", "[::ffff:198.51.100.1]:2"),
            "PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n"
        );
        assert_eq!(v1("[2001:db8::7]:1", "[2001:db8::1]:65535"), "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n");
        assert_eq!(v1("[2001:db8::7]:1", "198.51.100.1:2"), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_is_binary() {
        let v2 = |from: &str, to: &str| header(ProxyProtocol::V2, from.parse().unwrap(), to.parse().unwrap());
        let ipv4 = v2("203.0.113.7:256", "198.51.100.1:5432");
        let expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc6\x33\x64\x01\x01\0\x15\x38";
        assert_eq!(ipv4, expected);
        let ipv6 = v2("[2001:db8::7]:1", "[2001:db8::1]:2");
        assert_eq!((ipv6.len(), &ipv6[12..16]), (16 + 36, &b"\x21\x21\0\x24"[..]));
        assert_eq!(&ipv6[48..], b"\0\x01\0\x02");
        assert_eq!(&v2("[2001:db8::7]:1", "198.51.100.1:2")[12..], b"\x21\0\0\0");
    }
}
