use std::{collections::BTreeSet, fmt, ops::RangeInclusive, str::FromStr};

use serde::Serialize;

use super::{Invalid, Result, names::digits, words};

/// How a mapping is written.
const FORM: &str = "it is SCHEME:HOST:CONTAINER, such as tcp:5432:5432 or http:8080:3000: http, https or tcp, a port of this \
                    machine, and one of the container";

words! {
    /// What is spoken at a port.
    PortScheme, "scheme of a port", {
        /// HTTP, by the proxy.
        Http = "http",
        /// HTTP over TLS, by the proxy.
        Https = "https",
        /// Anything over TCP.
        Tcp = "tcp",
    }
}

words! {
    /// How a container is told who the client of a relayed connection is (the PROXY protocol of HAProxy).
    ProxyProtocol, "version of the PROXY protocol", {
        /// A line of text.
        V1 = "v1",
        /// A binary header.
        V2 = "v2",
    }
}

/// A port of this machine that leads to a port of containers: `tcp:5432:5432`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortMapping {
    /// What is spoken there.
    pub scheme: PortScheme,
    /// The port of this machine.
    pub host: u16,
    /// The port of the containers.
    pub container: u16,
}

impl fmt::Display for PortMapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.scheme, self.host, self.container)
    }
}

impl FromStr for PortMapping {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<PortMapping> {
        let chosen: PortChoice = text.parse()?;
        match chosen {
            PortChoice { scheme: Some(scheme), host, container: Some(container) } => {
                Ok(PortMapping { scheme, host, container })
            }
            _ => Err(Invalid::new("port", text, FORM)),
        }
    }
}

impl Serialize for PortMapping {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A mapping, or as much of one as names it: `5432`, `tcp:5432` or `tcp:5432:5432`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortChoice {
    /// What is spoken there, where that was said.
    pub scheme: Option<PortScheme>,
    /// The port of this machine.
    pub host: u16,
    /// The port of the containers, where that was said.
    pub container: Option<u16>,
}

impl PortChoice {
    /// Whether it names a mapping.
    pub fn names(&self, mapping: &PortMapping) -> bool {
        self.host == mapping.host
            && self.scheme.is_none_or(|scheme| scheme == mapping.scheme)
            && self.container.is_none_or(|container| container == mapping.container)
    }
}

impl fmt::Display for PortChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(formatter, "{scheme}:")?;
        }
        write!(formatter, "{}", self.host)?;
        self.container.map_or(Ok(()), |container| write!(formatter, ":{container}"))
    }
}

impl FromStr for PortChoice {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<PortChoice> {
        let invalid = |rule: &str| Invalid::new("port", text, rule);
        let form = || invalid(FORM);
        let port = |word: &str| digits::<u16>(word).filter(|port| *port > 0).ok_or_else(form);
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, host, container) = match *parts.as_slice() {
            [host] => (None, host, None),
            [scheme, host] => (Some(scheme), host, None),
            [scheme, host, container] => (Some(scheme), host, Some(container)),
            _ => return Err(form()),
        };
        let scheme = match scheme {
            Some("udp") => return Err(invalid("UDP is not relayed, only TCP is")),
            Some(word) => Some(word.parse().map_err(|_| form())?),
            None => None,
        };
        Ok(PortChoice { scheme, host: port(host)?, container: container.map(port).transpose()? })
    }
}

/// The ports that are open to HTTP whether an app has them or not, from ranges as [`port_ranges`] reads them. Each is a site of
/// the Caddyfile, so there are at most a hundred.
///
/// # Errors
/// What it is to be.
pub fn open_ports(text: &str) -> std::result::Result<BTreeSet<u16>, String> {
    let ports: BTreeSet<u16> = port_ranges(text)?.into_iter().flatten().take(101).collect();
    if ports.len() > 100 { Err("100 ports at most can be open".to_owned()) } else { Ok(ports) }
}

/// Ports in ranges, with commas between, or none: `1024-32767,40000`.
///
/// # Errors
/// What it is to be.
pub fn port_ranges(text: &str) -> std::result::Result<Vec<RangeInclusive<u16>>, String> {
    let rule = || "it is none, or ports and ranges of ports, such as 5432,8000-8100, up to 100".to_owned();
    if text == "none" {
        return Ok(Vec::new());
    }
    let port = |word: &str| digits::<u16>(word.trim()).filter(|port| *port > 0);
    let range = |word: &str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some(port(first)?..=port(last)?).filter(|range| !range.is_empty())
    };
    let ranges: Option<Vec<RangeInclusive<u16>>> = text.split(',').map(range).collect();
    ranges.filter(|ranges| ranges.len() <= 100).ok_or_else(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_a_scheme_and_two_ports() {
        let mapping: PortMapping = "tcp:5432:65535".parse().unwrap();
        let expected = PortMapping { scheme: PortScheme::Tcp, host: 5432, container: 65535 };
        assert_eq!((mapping, mapping.to_string().as_str()), (expected, "tcp:5432:65535"));
        for bad in [
            "",
            "7000",
            "tcp",
            "tcp:",
            "tcp:7000",
            "tcp:7000:",
            "tcp:0:1",
            "tcp:1:0",
            "tcp:1:65536",
            "tcp:+1:1",
            "tcp:1:1:1",
            "tcp:-1:1",
            "tcp: 1:1",
            "TCP:1:1",
            "sctp:1:1",
            "tcp:127.0.0.1:7000",
            "tcp:1:1;id",
            "tcp:1:$(id)",
            "tcp:1:1\n",
            "tcp:7000:{upstream}",
            "tcp:'; DROP TABLE ports; --:1",
            "tcp:1:\u{661}",
            "udp:53:53",
        ] {
            assert!(bad.parse::<PortMapping>().is_err(), "{bad:?}");
        }
        let udp = "udp:53:53".parse::<PortMapping>().unwrap_err().to_string();
        assert!(udp.contains("UDP is not relayed"), "{udp}");
    }

    #[test]
    fn as_much_of_a_mapping_as_is_said_must_fit() {
        let mapping: PortMapping = "tcp:5432:5433".parse().unwrap();
        for (choice, names) in [
            ("5432", true),
            ("tcp:5432", true),
            ("tcp:5432:5433", true),
            ("5433", false),
            ("http:5432", false),
            ("tcp:5432:5432", false),
        ] {
            let choice: PortChoice = choice.parse().unwrap();
            assert_eq!(choice.names(&mapping), names, "{choice}");
        }
        assert_eq!("tcp:5432".parse::<PortChoice>().unwrap().to_string(), "tcp:5432");
    }

    #[test]
    fn at_most_a_hundred_ports_are_open() {
        assert_eq!(open_ports("8000-8001,9000"), Ok(BTreeSet::from([8000, 8001, 9000])));
        assert_eq!(open_ports("1-100").map(|ports| ports.len()), Ok(100));
        assert!(open_ports("1-101").is_err() && open_ports("1-65535").is_err() && open_ports("x").is_err());
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(port_ranges("none"), Ok(vec![]));
        assert_eq!(port_ranges("7, 1024-32767"), Ok(vec![7..=7, 1024..=32767]));
        for bad in ["", "0", "0-7", "7-", "-7", "8-7", "x", "7;8", "65536", "1-2-3", "1,,2", "none,1"] {
            assert!(port_ranges(bad).is_err(), "{bad:?}");
        }
    }
}
