use std::{fmt, net::IpAddr, str::FromStr};

use super::{Hostname, Invalid, Result};

/// The longest name that the proxy can ask for: a suffix of ours comes after it, and DNS has room for 253 letters.
const MAX: usize = 240;

/// A name that leads to an app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// This very name: `example.com`.
    Exact(Hostname),
    /// All names with one label more than this one: `*.example.com`. An exact name goes before it.
    Below(Hostname),
    /// All names that lead nowhere else: `_`.
    Any,
}

impl Domain {
    /// The name itself, or the one that it is about; none for all names.
    pub fn hostname(&self) -> Option<&Hostname> {
        match self {
            Domain::Exact(name) | Domain::Below(name) => Some(name),
            Domain::Any => None,
        }
    }

    /// The name in the letters of its language, for people.
    pub fn shown(&self) -> String {
        let in_letters = |name: &Hostname| idna::domain_to_unicode(name.as_str()).0;
        match self {
            Domain::Exact(name) => in_letters(name),
            Domain::Below(name) => format!("*.{}", in_letters(name)),
            Domain::Any => "_".to_owned(),
        }
    }
}

/// A host name in any letters and any case, perhaps with a final dot, as DNS has it: in punycode (RFC 5891, by the rules of
/// UTS #46 that browsers go by).
///
/// # Errors
/// [`Invalid`] for what no host can have as its name: an address, an empty label, a space, a name that is too long.
pub fn hostname(typed: &str) -> Result<Hostname> {
    let invalid = |rule: &str| Invalid { what: "domain", value: typed.to_owned(), rule: rule.to_owned() };
    if typed.parse::<IpAddr>().is_ok() {
        return Err(invalid("it is an address; a domain is a name such as example.com"));
    }
    if typed.contains("://") || typed.contains('/') {
        return Err(invalid("it is the name alone, without a scheme and a path"));
    }
    if typed.contains(':') {
        return Err(invalid("it is the name alone, without a port"));
    }
    let without_dot = typed.strip_suffix('.').unwrap_or(typed);
    let ascii = idna::domain_to_ascii_strict(without_dot)
        .map_err(|_| invalid("it takes labels of letters, digits and dashes, with dots between them"))?;
    if ascii.len() > MAX {
        return Err(invalid("it has at most 240 letters"));
    }
    if ascii.parse::<IpAddr>().is_ok() {
        return Err(invalid("it is an address; a domain is a name such as example.com"));
    }
    ascii.parse().map_err(|_| invalid("it takes labels of letters, digits and dashes, with dots between them"))
}

impl FromStr for Domain {
    type Err = Invalid;

    fn from_str(typed: &str) -> Result<Self> {
        if typed == "_" {
            return Ok(Domain::Any);
        }
        match typed.strip_prefix("*.") {
            Some(rest) => hostname(rest).map(Domain::Below),
            None => hostname(typed).map(Domain::Exact),
        }
        .map_err(|invalid| Invalid { value: typed.to_owned(), ..invalid })
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Exact(name) => write!(formatter, "{name}"),
            Domain::Below(name) => write!(formatter, "*.{name}"),
            Domain::Any => formatter.write_str("_"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_kept_as_dns_has_it_and_shown_as_people_read_it() {
        for (typed, kept, shown) in [
            ("example.com", "example.com", "example.com"),
            ("Example.COM.", "example.com", "example.com"),
            ("bücher.example", "xn--bcher-kva.example", "bücher.example"),
            ("BÜCHER.example.", "xn--bcher-kva.example", "bücher.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", "bücher.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah", "例え.テスト"),
            ("*.Example.com", "*.example.com", "*.example.com"),
            ("_", "_", "_"),
            ("intranet", "intranet", "intranet"),
        ] {
            let domain: Domain = typed.parse().unwrap();
            assert_eq!((domain.to_string().as_str(), domain.shown().as_str()), (kept, shown), "{typed}");
            assert_eq!(domain.to_string().parse::<Domain>().unwrap(), domain);
        }
    }

    #[test]
    fn what_no_host_is_called_is_refused() {
        let long = format!("{}.example.com", "a".repeat(64));
        let longer = vec!["a".repeat(60); 4].join(".") + ".com";
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "*",
            "*.",
            "a.*",
            "*.*.a",
            "a b",
            "a_b",
            "-a.com",
            "a-.com",
            "10.0.0.1",
            "::1",
            "[::1]",
            "http://a.com",
            "a.com/x",
            "a.com:80",
            "a.com..",
            "a\nb",
            "xn--a.com",
            "__",
            "{host}",
            "a\u{202e}b.com",
            &long,
            &longer,
        ] {
            assert!(bad.parse::<Domain>().is_err(), "{bad:?}");
        }
    }
}
