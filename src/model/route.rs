//! Routes: hosts, paths and ports that lead to no app of ours, but to any address or to somebody else's container.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use super::{Domain, Hostname, Invalid, PathPrefix, ProxyProtocol, Result, TypedDomain, names::digits};

/// The most targets of a route.
const MOST_TARGETS: usize = 32;
/// The longest path that is asked for a sign of health, in bytes.
const LONGEST_HEALTH: usize = 500;

/// What comes in by a route: `example.com`, `*.example.com/api`, `tcp:5432`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteSource {
    /// The requests for a host, or of those the ones for a path.
    Http {
        /// The host.
        host: Domain,
        /// The beginning of the path; none: all that no other route of the host has.
        path: Option<PathPrefix>,
    },
    /// Connections to a port of this machine.
    Tcp(u16),
}

impl RouteSource {
    /// The host, if it is one of HTTP.
    pub fn host(&self) -> Option<&Domain> {
        match self {
            RouteSource::Http { host, .. } => Some(host),
            RouteSource::Tcp(_) => None,
        }
    }

    /// The beginning of the path, if it has one.
    pub fn path(&self) -> Option<&PathPrefix> {
        match self {
            RouteSource::Http { path, .. } => path.as_ref(),
            RouteSource::Tcp(_) => None,
        }
    }

    /// As people read it: international names in their letters.
    pub fn shown(&self) -> String {
        match self {
            RouteSource::Http { host, path } => {
                format!("{}{}", host.shown(), path.as_ref().map_or("", PathPrefix::as_str))
            }
            RouteSource::Tcp(port) => format!("tcp:{port}"),
        }
    }
}

impl FromStr for RouteSource {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        let rule = "it is a host, a host with a path, or a port: example.com, example.com/api, *.example.com, tcp:5432";
        let invalid = || Invalid::new("route", text, rule);
        if let Some(port) = text.strip_prefix("tcp:") {
            return digits::<u16>(port).filter(|port| *port > 0).map(RouteSource::Tcp).ok_or_else(invalid);
        }
        if text.contains("://") || text.contains(':') {
            return Err(invalid());
        }
        let (host, path) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let host: TypedDomain = host.parse()?;
        let path = if path.is_empty() || path == "/" { None } else { Some(path.parse()?) };
        Ok(RouteSource::Http { host: host.domain, path })
    }
}

impl fmt::Display for RouteSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteSource::Http { host, path } => {
                write!(formatter, "{host}{}", path.as_ref().map_or("", PathPrefix::as_str))
            }
            RouteSource::Tcp(port) => write!(formatter, "tcp:{port}"),
        }
    }
}

/// The name of a container, as the engine takes it: letters, digits and `_ . -`, the first one no sign.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerName(String);

impl ContainerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && (2..=200).contains(&text.len()) && text.bytes().all(good) {
            return Ok(ContainerName(text.to_owned()));
        }
        Err(Invalid::new(
            "name of a container",
            text,
            "it has 2 to 200 letters, digits, and _ . -, as `docker ps` shows it",
        ))
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetPlace {
    /// At an address.
    Address(IpAddr),
    /// At a name, which is looked up again and again.
    Name(Hostname),
    /// In a container of somebody else's, wherever that is now.
    Container(ContainerName),
}

/// Where a route leads: `10.0.0.7:8080`, `https://nas.example:8443`, `container:grafana:3000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteTarget {
    /// Whether it is spoken to over TLS.
    pub secure: bool,
    /// Where it is.
    pub place: TargetPlace,
    /// Its port.
    pub port: u16,
}

impl RouteTarget {
    /// What its certificate is to be for, and what it is asked as, if it is to be asked by its own name.
    pub fn own_name(&self) -> Option<String> {
        match &self.place {
            TargetPlace::Address(IpAddr::V6(address)) => Some(format!("[{address}]")),
            TargetPlace::Address(address) => Some(address.to_string()),
            TargetPlace::Name(name) => Some(name.to_string()),
            TargetPlace::Container(_) => None,
        }
    }

    /// Reads several, each once, between commas.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn list(text: &str) -> Result<Vec<RouteTarget>> {
        let targets = text.split(',').map(|word| word.trim().parse()).collect::<Result<Vec<RouteTarget>>>()?;
        RouteTarget::check(&targets)?;
        Ok(targets)
    }

    /// That targets can be those of one route.
    ///
    /// # Errors
    /// The rule that they break.
    pub fn check(targets: &[RouteTarget]) -> Result<()> {
        let all = || targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        if targets.is_empty() || targets.len() > MOST_TARGETS {
            return Err(Invalid::new("list of targets", all(), format!("a route has 1 to {MOST_TARGETS} of them")));
        }
        if targets.iter().enumerate().any(|(at, target)| targets[..at].contains(target)) {
            return Err(Invalid::new("list of targets", all(), "each is named once"));
        }
        if targets.iter().any(|target| target.secure != targets[0].secure) {
            return Err(Invalid::new(
                "list of targets",
                all(),
                "all of them are spoken to over TLS (https://), or none",
            ));
        }
        Ok(())
    }
}

impl FromStr for RouteTarget {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self> {
        let rule = "it is an address or a name with a port, or a container and its port: 10.0.0.7:8080, \
                    https://nas.example, container:grafana:3000";
        let invalid = || Invalid::new("target", text, rule);
        let (rest, scheme) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (rest, Some(false)),
            (_, Some(rest)) => (rest, Some(true)),
            (None, None) => (text, None),
        };
        let rest = if scheme.is_some() { rest.strip_suffix('/').unwrap_or(rest) } else { rest };
        let secure = scheme.unwrap_or(false);
        let port = |word: &str| digits::<u16>(word).filter(|port| *port > 0).ok_or_else(invalid);
        let usual = scheme.map(|secure| if secure { 443 } else { 80 });
        if let Some(rest) = rest.strip_prefix("container:") {
            let (name, word) = rest.rsplit_once(':').ok_or_else(invalid)?;
            return Ok(RouteTarget { secure, place: TargetPlace::Container(name.parse()?), port: port(word)? });
        }
        let (host, word) = match rest.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']').ok_or_else(invalid)?;
                let word = if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(invalid)?) };
                let address: std::net::Ipv6Addr = host.parse().map_err(|_| invalid())?;
                (TargetPlace::Address(IpAddr::V6(address).to_canonical()), word)
            }
            None => {
                let (host, word) = rest.split_once(':').map_or((rest, None), |(host, word)| (host, Some(word)));
                let place = match host.parse::<IpAddr>() {
                    Ok(address) => TargetPlace::Address(address),
                    // What is of digits and dots alone is meant as an address, and is none.
                    Err(_) if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => return Err(invalid()),
                    Err(_) => TargetPlace::Name(host.parse().map_err(|_| invalid())?),
                };
                (place, word)
            }
        };
        if matches!(host, TargetPlace::Address(address) if address.is_unspecified() || address.is_multicast()) {
            return Err(invalid());
        }
        let port = match (word, usual) {
            (Some(word), _) => port(word)?,
            (None, Some(usual)) => usual,
            (None, None) => return Err(invalid()),
        };
        Ok(RouteTarget { secure, place: host, port })
    }
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https://" } else { "" };
        let place = match &self.place {
            TargetPlace::Container(name) => format!("container:{name}"),
            TargetPlace::Name(name) => name.to_string(),
            TargetPlace::Address(IpAddr::V6(address)) => format!("[{address}]"),
            TargetPlace::Address(address) => address.to_string(),
        };
        formatter.pad(&format!("{scheme}{place}:{}", self.port))
    }
}

/// How it is known that a target is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteHealth {
    /// It takes connections.
    Tcp,
    /// It answers a GET of this path with a status from 200 to 399.
    Path(String),
    /// It is never asked.
    Off,
}

/// As which host a target is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// As the one that the client asked for.
    Keep,
    /// As its own name, or its own address.
    Target,
    /// As this one.
    Name(Hostname),
}

/// How requests are passed on by a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteOptions {
    /// How it is known that a target is well.
    pub health: RouteHealth,
    /// Whether the beginning of the path that the route is for is left out.
    pub strip: bool,
    /// As which host a target is asked; none: as its own if that is a name and it is spoken to over TLS, else as the client
    /// asked.
    pub host_header: Option<HostHeader>,
    /// Whether the certificate of a target is looked at.
    pub tls_verify: bool,
    /// Whether plain HTTP is answered with a redirect where there is a certificate.
    pub https_redirect: bool,
    /// How a target is told who the client of a relayed connection is.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// What can be set of a route: the word, the values, what it is for.
const OPTIONS: [(&str, &str, &str); 6] = [
    ("health", "tcp, off or a path", "how it is known that a target is well"),
    ("strip", "on or off", "whether the path of the route is left out of what the target is asked"),
    ("host-header", "keep, target or a host", "as which host a target is asked"),
    ("tls-verify", "on or off", "whether the certificate of a target that is spoken to over TLS is looked at"),
    ("https-redirect", "on or off", "whether plain HTTP is sent on to HTTPS where the host has a certificate"),
    ("proxy-protocol", "v1, v2 or off", "by which version of the PROXY protocol a target learns who the client is"),
];

/// What can be set of a route, for people: a word, its values, what it is for.
pub fn route_options() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    OPTIONS.into_iter()
}

impl RouteOptions {
    /// Reads options by their words.
    ///
    /// # Errors
    /// The word that is none, or the rule that a value breaks.
    pub fn of(set: &BTreeMap<String, String>) -> Result<RouteOptions> {
        let mut options = RouteOptions {
            health: RouteHealth::Tcp,
            strip: false,
            host_header: None,
            tls_verify: true,
            https_redirect: true,
            proxy_protocol: None,
        };
        for (word, value) in set {
            options.set(word, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> Result<()> {
        let invalid = |what, rule: &str| Invalid::new(what, value, rule);
        let switch = |what| match value {
            "on" | "yes" | "true" => Ok(true),
            "off" | "no" | "false" => Ok(false),
            _ => Err(invalid(what, "it is on or off")),
        };
        match word {
            "health" => {
                let good = |byte: u8| byte.is_ascii_graphic();
                self.health = match value {
                    "tcp" => RouteHealth::Tcp,
                    "off" => RouteHealth::Off,
                    path if path.starts_with('/') && path.len() <= LONGEST_HEALTH && path.bytes().all(good) => {
                        RouteHealth::Path(path.to_owned())
                    }
                    _ => return Err(invalid("health", "it is tcp, off, or a path such as /healthz")),
                };
            }
            "strip" => self.strip = switch("strip")?,
            "host-header" => {
                self.host_header = Some(match value {
                    "keep" => HostHeader::Keep,
                    "target" => HostHeader::Target,
                    name => HostHeader::Name(
                        name.parse()
                            .map_err(|_| invalid("host-header", "it is keep, target, or a host such as example.com"))?,
                    ),
                });
            }
            "tls-verify" => self.tls_verify = switch("tls-verify")?,
            "https-redirect" => self.https_redirect = switch("https-redirect")?,
            "proxy-protocol" => {
                self.proxy_protocol = match value {
                    "off" => None,
                    version => Some(version.parse().map_err(|_| invalid("proxy-protocol", "it is v1, v2 or off"))?),
                };
            }
            _ => RouteOptions::check_word(word)?,
        }
        Ok(())
    }

    /// That a word is one of an option.
    ///
    /// # Errors
    /// Those that there are.
    pub fn check_word(word: &str) -> Result<()> {
        let words: Vec<&str> = OPTIONS.iter().map(|(word, ..)| *word).collect();
        if words.contains(&word) {
            return Ok(());
        }
        Err(Invalid::new("option of a route", word, format!("it is targets, {}", words.join(", "))))
    }

    /// That they mean something for a route.
    ///
    /// # Errors
    /// The first one that does not.
    pub fn check(&self, source: &RouteSource, targets: &[RouteTarget], set: &BTreeMap<String, String>) -> Result<()> {
        let is_tcp = matches!(source, RouteSource::Tcp(_));
        let secure = targets.first().is_some_and(|target| target.secure);
        let needs = |word: &str, what: &str| match set.get(word) {
            Some(value) => Err(Invalid::new("option of a route", format!("{word}={value}"), what)),
            None => Ok(()),
        };
        if is_tcp {
            for word in ["strip", "host-header", "https-redirect", "tls-verify"] {
                needs(word, "it is for routes of HTTP")?;
            }
            if matches!(self.health, RouteHealth::Path(_)) {
                needs("health", "a path is for routes of HTTP; for TCP it is tcp or off")?;
            }
            if secure {
                let target = targets.first().map(ToString::to_string).unwrap_or_default();
                return Err(Invalid::new(
                    "target",
                    target,
                    "a route of TCP passes on bytes as they are: leave out https://",
                ));
            }
        } else {
            needs(
                "proxy-protocol",
                "it is for routes of TCP; over HTTP, the header X-Forwarded-For says who the client is",
            )?;
        }
        if self.strip && source.path().is_none() {
            needs("strip", "the route has no path that could be left out")?;
        }
        if !secure && !is_tcp {
            needs("tls-verify", "no target is spoken to over TLS (https://)")?;
        }
        let is_container = |target: &RouteTarget| matches!(target.place, TargetPlace::Container(_));
        let header = self.host_header_of(targets);
        // One name goes out with all requests of a route, and one is what certificates are looked at for.
        if (secure && !matches!(header, HostHeader::Name(_))) || header == HostHeader::Target {
            let mut names: Vec<Option<String>> = targets.iter().map(RouteTarget::own_name).collect();
            names.dedup();
            if names.len() > 1 {
                let all: Vec<String> = targets.iter().map(ToString::to_string).collect();
                let rule = "these are asked by one name: set host-header to it, or make a route for each";
                return Err(Invalid::new("list of targets", all.join(","), rule));
            }
            if secure && self.tls_verify && names.contains(&None) {
                let target = targets.first().map(ToString::to_string).unwrap_or_default();
                let rule = "paas cannot know for which name the certificate of a container is: set host-header to that name, or tls-verify=off";
                return Err(Invalid::new("target", target, rule));
            }
        }
        if self.host_header == Some(HostHeader::Target) && targets.iter().any(is_container) {
            needs("host-header", "a container has no host of its own: give a name")?;
        }
        Ok(())
    }

    /// As which host a target is asked.
    pub fn host_header_of(&self, targets: &[RouteTarget]) -> HostHeader {
        let by_name = |target: &RouteTarget| target.secure && matches!(target.place, TargetPlace::Name(_));
        match &self.host_header {
            Some(header) => header.clone(),
            None if targets.iter().any(by_name) => HostHeader::Target,
            None => HostHeader::Keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_host_a_path_or_a_port() {
        for text in ["example.com", "example.com/api", "*.example.com", "_", "_/a/b", "tcp:5432"] {
            assert_eq!(text.parse::<RouteSource>().unwrap().to_string(), text);
        }
        assert_eq!("Example.COM./".parse::<RouteSource>().unwrap().to_string(), "example.com");
        assert_eq!("b\u{fc}cher.example/a".parse::<RouteSource>().unwrap().shown(), "b\u{fc}cher.example/a");
        for bad in [
            "",
            "/",
            "/api",
            "tcp:",
            "tcp:0",
            "tcp:65536",
            "tcp:+1",
            "tcp:1:2",
            "http://a.example",
            "a.example:80",
            "a.example/..",
            "a.example//b",
            "a.example/{x}",
            "a b",
            "a.example/a?b",
            "udp:1",
        ] {
            assert!(bad.parse::<RouteSource>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_target_is_an_address_a_name_or_a_container() {
        for (text, canonical) in [
            ("10.0.0.7:8080", "10.0.0.7:8080"),
            ("http://10.0.0.7", "10.0.0.7:80"),
            ("https://nas.example/", "https://nas.example:443"),
            ("https://nas.example:8443", "https://nas.example:8443"),
            ("[::1]:80", "[::1]:80"),
            ("[::ffff:10.0.0.7]:80", "10.0.0.7:80"),
            ("localhost:9000", "localhost:9000"),
            ("container:grafana:3000", "container:grafana:3000"),
            ("https://container:my_app.1:8443", "https://container:my_app.1:8443"),
        ] {
            let target: RouteTarget = text.parse().unwrap();
            assert_eq!(target.to_string(), canonical);
            assert_eq!(canonical.parse::<RouteTarget>().unwrap(), target);
        }
        for bad in [
            "",
            "10.0.0.7",
            "nas.example",
            "10.0.0.7:0",
            "10.0.0.7:x",
            "10.0.0.7:80/x",
            "http://a.example/x",
            "1.2.3:80",
            "999.1.1.1:80",
            "0.0.0.0:80",
            "[::]:80",
            "[::1]",
            "[::1]80",
            "[::1",
            "224.0.0.1:80",
            "a..b:80",
            "{env.HOME}:80",
            "unix//x",
            "container:x",
            "container::80",
            "container:-a:80",
            "container:a b:80",
            "container:a:0",
            "a:80:80",
            "a:+80",
            "user@a.example:80",
            "\u{0}:80",
            "http://",
            "https://:80",
        ] {
            assert!(bad.parse::<RouteTarget>().is_err(), "{bad:?}");
        }
        assert_eq!(RouteTarget::list("a.example:80, b.example:80").unwrap().len(), 2);
        for bad in ["", "a.example:80,", "a.example:80,a.example:80", "a.example:80,https://b.example"] {
            assert!(RouteTarget::list(bad).is_err(), "{bad:?}");
        }
        let many: Vec<String> = (1..=33).map(|port| format!("10.0.0.1:{port}")).collect();
        assert!(RouteTarget::list(&many.join(",")).is_err());
    }

    #[test]
    fn options_mean_something_or_are_refused() {
        let check = |source: &str, targets: &str, set: &[(&str, &str)]| -> Result<RouteOptions> {
            let set: BTreeMap<String, String> =
                set.iter().map(|(word, value)| ((*word).to_owned(), (*value).to_owned())).collect();
            let options = RouteOptions::of(&set)?;
            options.check(&source.parse()?, &RouteTarget::list(targets)?, &set)?;
            Ok(options)
        };
        let all = [
            ("health", "/up?x=1"),
            ("strip", "on"),
            ("host-header", "target"),
            ("tls-verify", "off"),
            ("https-redirect", "off"),
        ];
        let options = check("a.example/api", "https://10.0.0.1", &all).unwrap();
        assert_eq!(options.health, RouteHealth::Path("/up?x=1".to_owned()));
        assert!(options.strip && !options.tls_verify && !options.https_redirect);
        let tcp = check("tcp:5432", "10.0.0.1:5432", &[("proxy-protocol", "v2"), ("health", "off")]).unwrap();
        assert_eq!((tcp.proxy_protocol, tcp.health), (Some(ProxyProtocol::V2), RouteHealth::Off));
        for (source, targets, word, value) in [
            ("tcp:1", "10.0.0.1:1", "health", "/x"),
            ("tcp:1", "10.0.0.1:1", "strip", "on"),
            ("tcp:1", "https://10.0.0.1", "health", "tcp"),
            ("a.example", "10.0.0.1:1", "proxy-protocol", "v1"),
            ("a.example", "10.0.0.1:1", "strip", "on"),
            ("a.example", "10.0.0.1:1", "tls-verify", "off"),
            ("a.example", "container:x1:1", "host-header", "target"),
            ("a.example", "10.0.0.1:1", "host-header", "a b"),
            ("a.example", "10.0.0.1:1", "health", "x"),
            ("a.example", "10.0.0.1:1", "health", "/a b"),
            ("a.example", "10.0.0.1:1", "health", "/a\r\nX: y"),
            ("a.example", "10.0.0.1:1", "strip", "perhaps"),
            ("a.example", "10.0.0.1:1", "nothing", "on"),
        ] {
            assert!(check(source, targets, &[(word, value)]).is_err(), "{source} {targets} {word}={value}");
        }
        let by_name: Vec<RouteTarget> = RouteTarget::list("https://nas.example").unwrap();
        assert_eq!(RouteOptions::of(&BTreeMap::new()).unwrap().host_header_of(&by_name), HostHeader::Target);
        let plain: Vec<RouteTarget> = RouteTarget::list("nas.example:80").unwrap();
        assert_eq!(RouteOptions::of(&BTreeMap::new()).unwrap().host_header_of(&plain), HostHeader::Keep);
    }
}
