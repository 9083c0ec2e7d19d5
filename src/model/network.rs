use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::{Invalid, Result};

/// Addresses that begin alike: `203.0.113.7`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address is one of them. An IPv4 address may be written as one of IPv6.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && begin(address, self.prefix) == self.base
    }
}

/// The first address of a network.
fn begin(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

impl FromStr for Network {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
            let canonical = address.to_canonical();
            let longest = if canonical.is_ipv4() { 32 } else { 128 };
            // What is written as IPv6 has a prefix of IPv6.
            let more = if canonical.is_ipv4() && address.is_ipv6() { 96 } else { 0 };
            let prefix = match prefix {
                None => longest,
                Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                    prefix.parse::<u8>().ok()?.checked_sub(more).filter(|prefix| *prefix <= longest)?
                }
                Some(_) => return None,
            };
            Some(Network { base: begin(canonical, prefix), prefix })
        });
        parsed.ok_or_else(|| {
            Invalid::new("address", text, "it is an address such as 203.0.113.7, or a network such as 10.0.0.0/8")
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = if self.base.is_ipv4() { 32 } else { 128 };
        if self.prefix == longest {
            write!(formatter, "{}", self.base)
        } else {
            write!(formatter, "{}/{}", self.base, self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (text, kept, inside, outside) in [
            ("203.0.113.7", "203.0.113.7", "203.0.113.7", "203.0.113.8"),
            ("203.0.113.7/32", "203.0.113.7", "::ffff:203.0.113.7", "::203.0.113.7"),
            ("10.1.2.3/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("0.0.0.0/0", "0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::/0", "::/0", "2001:db8::1", "10.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", "10.1.1.1", "11.1.1.1"),
            ("::1", "::1", "::1", "::2"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), kept, "{text}");
            assert_eq!(kept.parse::<Network>().unwrap(), network);
            assert!(network.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{text} {outside}");
        }
        for bad in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "::/129",
            "10.0.0/8",
            "::ffff:10.0.0.0/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
