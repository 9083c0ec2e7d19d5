use std::{fmt, net::IpAddr, str::FromStr};

use super::{AppName, Hostname, Invalid, Result};

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

    /// Whether a host is called so.
    pub fn takes_in(&self, host: &Hostname) -> bool {
        match self {
            Domain::Exact(name) => name == host,
            Domain::Below(name) => is_below(host, name).is_some_and(|before| !before.contains('.')),
            Domain::Any => true,
        }
    }

    /// How many hosts it takes in: of several that take one in, the narrowest leads.
    pub fn breadth(&self) -> u8 {
        match self {
            Domain::Exact(_) => 0,
            Domain::Below(_) => 1,
            Domain::Any => 2,
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
        return Err(invalid("it is only the name, without a scheme and a path"));
    }
    if typed.contains(':') {
        return Err(invalid("it is only the name, without a port"));
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

/// A domain as somebody typed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedDomain {
    /// The name that it is.
    pub domain: Domain,
    /// What people read: as it was typed, but in lower case and without a final dot.
    pub typed: String,
}

impl FromStr for TypedDomain {
    type Err = Invalid;

    fn from_str(typed: &str) -> Result<Self> {
        let domain: Domain = typed.parse()?;
        let typed = if typed.is_ascii() {
            typed.strip_suffix('.').unwrap_or(typed).to_ascii_lowercase()
        } else {
            // Of letters that nobody sees, and of those that stand for others, there are none in it.
            domain.shown()
        };
        Ok(TypedDomain { domain, typed })
    }
}

impl TypedDomain {
    /// The host name that it is, where it is neither a wildcard nor all names.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn exact(&self) -> Result<&Hostname> {
        match &self.domain {
            Domain::Exact(name) => Ok(name),
            Domain::Below(_) | Domain::Any => {
                Err(Invalid::new("host name", self.typed.as_str(), "it is one name, without `*` and not `_`"))
            }
        }
    }
}

/// What a name is because of where it is: at or below the names of the server, or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Elsewhere: the first app that asks gets it.
    Elsewhere,
    /// The default name of an app, whether there is an app of that name or not.
    DefaultOf(AppName),
    /// The server's: an administrator may give it to an app.
    OfServer,
    /// Kept for the server's own pages: no app gets it.
    Reserved,
}

/// The names below which each app has a default name.
#[derive(Clone, Debug)]
pub struct ServerNames {
    /// The server's domain.
    pub domain: Hostname,
    /// The global domains.
    pub global: Vec<Hostname>,
}

impl ServerNames {
    /// All of them, the server's domain first.
    pub fn all(&self) -> impl Iterator<Item = &Hostname> {
        std::iter::once(&self.domain).chain(&self.global)
    }

    /// The names that an app has by default. Those that would be too long are left out.
    pub fn defaults_of(&self, app: &AppName) -> impl Iterator<Item = Hostname> {
        self.all().filter_map(move |name| {
            format!("{app}.{name}").parse().ok().filter(|name: &Hostname| name.as_str().len() <= MAX)
        })
    }

    /// Where a name is. Below the server's names only the default names are the apps'. What takes in names of the
    /// server is the server's too, and so is a whole top-level domain: more than anybody can have.
    pub fn place(&self, domain: &Domain) -> Place {
        match domain {
            Domain::Any => Place::OfServer,
            Domain::Below(name) if !name.as_str().contains('.') => Place::OfServer,
            Domain::Below(name) => {
                let takes_in = |base: &Hostname| {
                    let covers = is_below(base, name).is_some_and(|before| !before.contains('.'));
                    base == name || covers || is_below(name, base).is_some()
                };
                if self.all().any(takes_in) { Place::OfServer } else { Place::Elsewhere }
            }
            Domain::Exact(name) => {
                let labels: Vec<&str> = self.all().filter_map(|base| is_below(name, base)).collect();
                // One server name may be below another: a default name below the inner one is no name of the outer one.
                let app = labels.iter().find_map(|label| label.parse::<AppName>().ok());
                match app {
                    Some(app) if app.check_not_reserved().is_err() => Place::Reserved,
                    Some(app) => Place::DefaultOf(app),
                    None if !labels.is_empty() || self.all().any(|base| base == name) => Place::OfServer,
                    None => Place::Elsewhere,
                }
            }
        }
    }
}

/// What stands before a name in another one that is below it: `www` for `www.example.com` and `example.com`.
fn is_below<'a>(name: &'a Hostname, base: &Hostname) -> Option<&'a str> {
    name.as_str().strip_suffix(base.as_str())?.strip_suffix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_people_read() {
        for (typed, read) in [
            ("Example.COM.", "example.com"),
            ("*.Example.com", "*.example.com"),
            ("_", "_"),
            ("BÜCHER.example.", "bücher.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            // A soft hyphen, and letters of another width.
            ("bü\u{ad}cher.example", "bücher.example"),
            ("ｅxample.com", "example.com"),
        ] {
            assert_eq!(typed.parse::<TypedDomain>().unwrap().typed, read, "{typed}");
        }
        assert!("*.example.com".parse::<TypedDomain>().unwrap().exact().is_err());
    }

    #[test]
    fn below_the_names_of_the_server_only_the_default_names_are_the_apps() {
        let names = ServerNames {
            domain: "apps.example.com".parse().unwrap(),
            global: vec!["more.example".parse().unwrap(), "inner.apps.example.com".parse().unwrap()],
        };
        let app = |name: &str| Place::DefaultOf(name.parse().unwrap());
        for (domain, place) in [
            ("example.com", Place::Elsewhere),
            ("www.example.com", Place::Elsewhere),
            ("badapps.example.com", Place::Elsewhere),
            ("blog.apps.example.com.other.example", Place::Elsewhere),
            ("*.other.example", Place::Elsewhere),
            ("*.a.b.example.com", Place::Elsewhere),
            ("*.xn--p1ai.com", Place::Elsewhere),
            ("blog.apps.example.com", app("blog")),
            ("BLOG.more.example.", app("blog")),
            ("blog.inner.apps.example.com", app("blog")),
            ("inner.apps.example.com", app("inner")),
            ("apps.example.com", Place::OfServer),
            ("more.example", Place::OfServer),
            ("www.blog.apps.example.com", Place::OfServer),
            ("*.apps.example.com", Place::OfServer),
            ("*.blog.apps.example.com", Place::OfServer),
            ("*.example.com", Place::OfServer),
            ("*.com", Place::OfServer),
            ("_", Place::OfServer),
            ("paas.apps.example.com", Place::Reserved),
            ("paas.more.example", Place::Reserved),
            ("unknown.apps.example.com", Place::Reserved),
        ] {
            assert_eq!(names.place(&domain.parse().unwrap()), place, "{domain}");
        }
        let defaults: Vec<_> = names.defaults_of(&"blog".parse().unwrap()).map(|name| name.to_string()).collect();
        assert_eq!(defaults, ["blog.apps.example.com", "blog.more.example", "blog.inner.apps.example.com"]);
    }

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
