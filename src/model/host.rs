use std::{fmt, net::Ipv4Addr, str::FromStr};

use super::names::checked_string;
use super::{Invalid, Result};

checked_string! {
    /// A DNS name in lower case without a final dot (RFC 1123): letters, digits, dashes, dots.
    Hostname, "host name", |text| {
        let label = |label: &str| super::names::is_dns_label(label);
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(())
        } else {
            Err("it takes labels of lower-case letters, digits and dashes, with dots between them".to_owned())
        }
    }
}

/// An IPv4 network: `10.213.0.0/16`. The prefix is between 8 and 28.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

impl Subnet {
    /// How many addresses containers can have: all but the network's, the gateway's (the first) and the broadcast one.
    pub fn host_count(self) -> u32 {
        (1 << (32 - u32::from(self.prefix))) - 3
    }

    /// The container address number `index`, counted from 0 and taken modulo [`Subnet::host_count`].
    pub fn host(self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 2 + index % self.host_count())
    }

    /// The gateway's address: the first one.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }
}

impl FromStr for Subnet {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let base = u32::from(address.parse::<Ipv4Addr>().ok()?);
            let prefix = prefix.parse::<u8>().ok().filter(|prefix| (8..=28).contains(prefix))?;
            (base.trailing_zeros() >= 32 - u32::from(prefix)).then_some(Subnet { base, prefix })
        });
        parsed.ok_or_else(|| Invalid {
            what: "subnet",
            value: text.to_owned(),
            rule: "it is an IPv4 network such as 10.213.0.0/16, with a prefix from 8 to 28".to_owned(),
        })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_counts_its_hosts() -> Result<()> {
        let subnet: Subnet = "10.1.2.0/24".parse()?;
        assert_eq!(subnet.host_count(), 253);
        assert_eq!(subnet.gateway().to_string(), "10.1.2.1");
        assert_eq!(subnet.host(0).to_string(), "10.1.2.2");
        assert_eq!(subnet.host(252).to_string(), "10.1.2.254");
        assert_eq!(subnet.host(253).to_string(), "10.1.2.2");
        Ok(())
    }

    #[test]
    fn a_subnet_needs_its_own_base_and_a_sane_prefix() {
        for bad in ["10.1.2.3/24", "10.0.0.0", "10.0.0.0/29", "10.0.0.0/4", "x/24", "::/16"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad:?}");
        }
    }
}
