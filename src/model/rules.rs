//! Rules of the proxy for one app: what is done with its requests and answers on their way.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use super::{AppName, Hostname, Invalid, Network, Result};

/// The longest headers of an app's rules together, in bytes.
const LONGEST_HEADERS: usize = 16 << 10;
/// The longest prefix of a path, in bytes.
const LONGEST_PREFIX: usize = 500;
/// The longest name of a user, in bytes.
const LONGEST_USER: usize = 100;
/// The most networks of a list.
const MOST_NETWORKS: usize = 500;
/// The most files of networks.
const MOST_FILES: usize = 10;

/// What is done with a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderRule {
    /// It has this value, whatever it had.
    Set(String, String),
    /// It has this value, too.
    Add(String, String),
    /// It is removed.
    Remove(String),
}

/// Reads rules of headers, a line each: `Name: value` sets one, `+Name: value` adds one, `-Name` removes one.
///
/// # Errors
/// The rule that a line breaks.
pub fn header_rules(text: &str) -> std::result::Result<Vec<HeaderRule>, String> {
    if text.len() > LONGEST_HEADERS {
        return Err(format!("they have {} bytes, and {LONGEST_HEADERS} are the most", text.len()));
    }
    let rules: Vec<HeaderRule> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(header_rule)
        .collect::<std::result::Result<_, _>>()?;
    if rules.is_empty() {
        return Err("it is a header in each line: `Name: value` sets it, `+Name: value` adds one, `-Name` removes it"
            .to_owned());
    }
    Ok(rules)
}

fn header_rule(line: &str) -> std::result::Result<HeaderRule, String> {
    let is_name = |name: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.len() <= 200 && name.bytes().all(good) && !name.starts_with(['+', '-'])
    };
    if let Some(name) = line.strip_prefix('-').map(str::trim) {
        return if is_name(name) {
            check_name(name)?;
            Ok(HeaderRule::Remove(name.to_owned()))
        } else {
            Err(format!("{name:?} is not the name of a header; `-Name` removes one"))
        };
    }
    let (rest, adds) = line.strip_prefix('+').map_or((line, false), |rest| (rest, true));
    let (name, value) = rest
        .split_once(':')
        .map(|(name, value)| (name.trim(), value.trim()))
        .filter(|(name, _)| is_name(name))
        .ok_or_else(|| "each line is `Name: value`, `+Name: value` or `-Name`".to_owned())?;
    // Field values of RFC 9110, 5.5, of ASCII: what else there is means different things to different programs.
    if !value.bytes().all(|byte| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic()) {
        return Err(format!("the value of {name} has letters that no header may have"));
    }
    check_name(name)?;
    let (name, value) = (name.to_owned(), value.to_owned());
    Ok(if adds { HeaderRule::Add(name, value) } else { HeaderRule::Set(name, value) })
}

/// Refuses headers by which a proxy and its neighbours understand each other: to change them breaks requests.
fn check_name(name: &str) -> std::result::Result<(), String> {
    const OF_THE_PROXY: [&str; 12] = [
        "connection",
        "content-encoding",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    if OF_THE_PROXY.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("{name} is the proxy's own, and cannot be changed"));
    }
    Ok(())
}

/// Reads networks in a list with commas.
///
/// # Errors
/// The rule that it breaks.
pub fn networks(text: &str) -> std::result::Result<Vec<Network>, String> {
    let all: Vec<Network> = text
        .split(',')
        .map(|word| word.trim().parse::<Network>().map_err(|error| format!("{:?}: {}", word.trim(), error.rule)))
        .collect::<std::result::Result<_, _>>()?;
    if all.len() > MOST_NETWORKS {
        return Err(format!("{} networks are too many: {MOST_NETWORKS} are the most", all.len()));
    }
    Ok(all)
}

/// Reads what speaks for other clients: `none`, networks, and files with a network in each line, as `@/path`.
///
/// # Errors
/// The rule that it breaks.
pub fn trusted_proxies(text: &str) -> std::result::Result<(Vec<Network>, Vec<PathBuf>), String> {
    let (mut listed, mut files) = (Vec::new(), Vec::new());
    if text == "none" {
        return Ok((listed, files));
    }
    for word in text.split(',').map(str::trim) {
        match word.strip_prefix('@') {
            Some(path) if path.starts_with('/') && !path.contains('\0') => files.push(PathBuf::from(path)),
            Some(path) => return Err(format!("{path:?} is not the whole path of a file")),
            None => listed.push(word.parse::<Network>().map_err(|error| format!("{word:?}: {}", error.rule))?),
        }
    }
    if listed.len() > MOST_NETWORKS || files.len() > MOST_FILES {
        return Err(format!("{MOST_NETWORKS} networks and {MOST_FILES} files are the most"));
    }
    Ok((listed, files))
}

/// Reads a file of networks: one in each line, and comments after `#`.
///
/// # Errors
/// The line that is none.
pub fn network_lines(text: &str) -> std::result::Result<Vec<Network>, String> {
    let words =
        text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|word| !word.is_empty());
    let all: Vec<Network> = words
        .map(|word| word.parse::<Network>().map_err(|_| format!("{word:?} is not a network")))
        .collect::<std::result::Result<_, _>>()?;
    if all.len() > MOST_NETWORKS {
        return Err(format!("{} networks are too many: {MOST_NETWORKS} are the most", all.len()));
    }
    Ok(all)
}

/// Strict transport security (RFC 6797): for how long a browser asks by HTTPS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// For how many seconds.
    pub max_age: u32,
    /// For names below, too.
    pub include_subdomains: bool,
    /// Whether browsers may be delivered with it.
    pub preload: bool,
}

/// A year, which is what the lists of browsers ask for.
const YEAR: u32 = 31_536_000;

impl Hsts {
    /// Reads `off`, `on` (a year), or seconds or days with what else is asked for: `180d; includeSubDomains; preload`.
    ///
    /// # Errors
    /// The rule.
    pub fn parse(text: &str) -> std::result::Result<Option<Hsts>, String> {
        let rule =
            || "it is on, off, or a time such as 180d, perhaps with `; includeSubDomains` and `; preload`".to_owned();
        let mut words = text.split([';', ',']).map(str::trim);
        let max_age = match words.next().unwrap_or_default() {
            "off" | "no" | "false" if words.next().is_none() => return Ok(None),
            "on" | "yes" | "true" => YEAR,
            word => {
                let (digits, factor) = word.strip_suffix('d').map_or((word, 1), |days| (days, 86_400));
                let digits = if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits } else { "" };
                digits.parse::<u32>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(rule)?
            }
        };
        let mut hsts = Hsts { max_age, include_subdomains: false, preload: false };
        for word in words {
            match word.to_ascii_lowercase().as_str() {
                "includesubdomains" if !hsts.include_subdomains => hsts.include_subdomains = true,
                "preload" if !hsts.preload => hsts.preload = true,
                _ => return Err(rule()),
            }
        }
        if hsts.preload && !(hsts.include_subdomains && hsts.max_age >= YEAR) {
            return Err("preload needs at least 365d and includeSubDomains (hstspreload.org)".to_owned());
        }
        Ok(Some(hsts))
    }
}

/// The value of the header.
impl fmt::Display for Hsts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "max-age={}", self.max_age)?;
        if self.include_subdomains {
            formatter.write_str("; includeSubDomains")?;
        }
        if self.preload {
            formatter.write_str("; preload")?;
        }
        Ok(())
    }
}

/// The beginning of a path, of whole segments: `/api` is that of `/api` and `/api/users`, not that of `/apis`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// Without a final slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a path begins with it.
    pub fn takes_in(&self, path: &str) -> bool {
        path.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for PathPrefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        let rule = "it is the beginning of a path, such as /api: letters, digits and - . _ ~, without empty segments";
        let path = text.strip_suffix('/').unwrap_or(text);
        let good = |segment: &str| {
            !segment.is_empty()
                && segment != "."
                && segment != ".."
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        };
        match path.strip_prefix('/') {
            Some(rest) if path.len() <= LONGEST_PREFIX && rest.split('/').all(good) => Ok(PathPrefix(path.to_owned())),
            _ => Err(Invalid::new("path", text, rule)),
        }
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Where the requests for a path go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathTarget {
    /// To an app.
    App(AppName),
    /// To an address, by plain HTTP.
    Address(String, u16),
}

impl FromStr for PathTarget {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Invalid::new(
                "target",
                text,
                "it is an app, or an address with a port, such as 10.0.0.7:8080 or host.example:80",
            )
        };
        if let Ok(address) = text.parse::<SocketAddr>() {
            let host = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
            return if address.port() > 0 { Ok(PathTarget::Address(host, address.port())) } else { Err(invalid()) };
        }
        match text.split_once(':') {
            None => text.parse().map(PathTarget::App).map_err(|_| invalid()),
            Some((host, port)) => {
                let host: Hostname = host.parse().map_err(|_| invalid())?;
                let port = if port.bytes().all(|byte| byte.is_ascii_digit()) { port.parse().ok() } else { None };
                let port = port.filter(|port| *port > 0).ok_or_else(invalid)?;
                Ok(PathTarget::Address(host.to_string(), port))
            }
        }
    }
}

impl fmt::Display for PathTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathTarget::App(app) => formatter.pad(app.as_str()),
            PathTarget::Address(host, port) => formatter.pad(&format!("{host}:{port}")),
        }
    }
}

/// A user who may see an app by a password (RFC 7617: no colon, no control characters).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebUser(String);

impl WebUser {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebUser {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        let good = |letter: char| letter.is_ascii_alphanumeric() || "-._@+".contains(letter);
        if !text.is_empty() && text.len() <= LONGEST_USER && text.chars().all(good) {
            return Ok(WebUser(text.to_owned()));
        }
        let rule = format!("it has 1 to {LONGEST_USER} letters, digits, and - . _ @ +");
        Err(Invalid::new("name of a user", text, rule))
    }
}

impl fmt::Display for WebUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_set_added_and_removed() {
        let rules = header_rules("X-Frame-Options: DENY\n+Link: </a>; rel=preload\r\n-Server\n\n X-Empty:").unwrap();
        let set = |name: &str, value: &str| HeaderRule::Set(name.to_owned(), value.to_owned());
        let expected = [
            set("X-Frame-Options", "DENY"),
            HeaderRule::Add("Link".to_owned(), "</a>; rel=preload".to_owned()),
            HeaderRule::Remove("Server".to_owned()),
            set("X-Empty", ""),
        ];
        assert_eq!(rules, expected);
        let long = format!("X: {}", "a".repeat(LONGEST_HEADERS));
        for bad in [
            "",
            "\n",
            "X",
            ": x",
            "X Y: z",
            "X\0: z",
            "X: a\u{7f}",
            "X: \u{e9}",
            "-",
            "--X",
            "+-X: a",
            "-X: a b",
            &long,
        ] {
            assert!(header_rules(bad).is_err(), "{bad:?}");
        }
        for own in
            ["Host: a", "-Content-Length", "+Transfer-Encoding: chunked", "X-FORWARDED-FOR: 127.0.0.1", "connection: x"]
        {
            assert!(header_rules(own).unwrap_err().contains("the proxy's own"), "{own}");
        }
    }

    #[test]
    fn strict_transport_security_is_a_time_and_two_words() {
        for (text, header) in [
            ("on", "max-age=31536000"),
            ("180d", "max-age=15552000"),
            ("0", "max-age=0"),
            ("3600; includesubdomains", "max-age=3600; includeSubDomains"),
            ("365d; includeSubDomains; preload", "max-age=31536000; includeSubDomains; preload"),
        ] {
            assert_eq!(Hsts::parse(text).unwrap().unwrap().to_string(), header);
        }
        assert_eq!(Hsts::parse("off"), Ok(None));
        for bad in
            ["", "forever", "off; preload", "1d; preload", "-1", "+1", "1d; x", "1d; preload; preload", "99999999999"]
        {
            assert!(Hsts::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_of_whole_segments() {
        let prefix: PathPrefix = "/api/v1/".parse().unwrap();
        assert_eq!(prefix.as_str(), "/api/v1");
        for (path, inside) in
            [("/api/v1", true), ("/api/v1/", true), ("/api/v1/x", true), ("/api/v10", false), ("/api", false)]
        {
            assert_eq!(prefix.takes_in(path), inside, "{path}");
        }
        for bad in ["", "/", "api", "//", "/a//b", "/..", "/a/./b", "/a b", "/a{b}", "/*", "/%2e", "/a?b", "/a\n"] {
            assert!(bad.parse::<PathPrefix>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_target_is_an_app_or_an_address() {
        for (text, shown) in [
            ("shop", "shop"),
            ("10.0.0.7:80", "10.0.0.7:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("api.example.com:443", "api.example.com:443"),
        ] {
            assert_eq!(text.parse::<PathTarget>().unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "a b",
            "10.0.0.7:0",
            "10.0.0.7:99999",
            "http://a",
            "a:b",
            "a:80:80",
            "{env.HOME}:80",
            "unix//x",
            "/x",
            "a:+80",
        ] {
            assert!(bad.parse::<PathTarget>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn users_have_plain_names() {
        assert_eq!("ann@example.com".parse::<WebUser>().unwrap().as_str(), "ann@example.com");
        for bad in ["", "a:b", "a b", "a\n", "\u{e9}", "{x}", &"a".repeat(101)] {
            assert!(bad.parse::<WebUser>().is_err(), "{bad:?}");
        }
        let (listed, files) = trusted_proxies("10.0.0.0/8, @/etc/proxies,::1").unwrap();
        assert_eq!((listed.len(), files), (2, vec![PathBuf::from("/etc/proxies")]));
        assert_eq!(trusted_proxies("none"), Ok((Vec::new(), Vec::new())));
        for bad in ["", "x", "@", "@x", "@/a\0", "none,::1"] {
            assert!(trusted_proxies(bad).is_err(), "{bad:?}");
        }
        assert_eq!(network_lines("# all\n10.0.0.0/8 # own\n\n::1\n").unwrap().len(), 2);
        assert!(network_lines("10.0.0.0/8 ::1").is_err());
        assert_eq!(networks("10.0.0.0/8, 203.0.113.7").unwrap().len(), 2);
        for bad in ["", "x", "10.0.0.0/8,", &vec!["10.0.0.1"; 501].join(",")] {
            assert!(networks(bad).is_err(), "{bad:?}");
        }
    }
}
