//! From routes to the text of the Caddyfile. Pure: values in, text out.
//!
//! Two sites without a name, one for each scheme, serve every host of every app. Where a request goes, Caddy asks the edge
//! by SRV records of the whole host name, which carry the port too, so that no change of an app, of its domains or of its
//! certificates ever needs a reload; the maps of fallbacks are for the time the edge is away. What is no name goes to the
//! edge's page. The text is valid in Caddy 2.6 and in the newest.
//!
//! Nothing but checked types and our own paths reaches the text: an app's name is a DNS label, an upstream is an
//! address and a port.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
    path::Path,
};

use serde::Serialize;

use super::inner;
use crate::{
    Error, Result,
    error::UsageError,
    model::{AppName, Domain},
    settings::{Settings, Tls},
    store::{Fallback, Tables},
};

const TEMPLATE: &str = include_str!("../../templates/Caddyfile.tera");

/// How Caddy learns where an app lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// From the edge, asked again every 100 ms.
    Dynamic,
    /// From the text itself: for the time the edge is silent, because a Caddy that waits for
    /// it would hold every request for seconds.
    Static,
}

impl Variant {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Variant::Dynamic => "dynamic",
            Variant::Static => "static",
        }
    }

    /// The variant a Caddyfile of ours is, told by its first line; dynamic where it does not say.
    pub fn of(text: &str) -> Variant {
        let first = text.lines().next().unwrap_or_default();
        if first.contains(&format!("({})", Variant::Static.as_str())) { Variant::Static } else { Variant::Dynamic }
    }
}

/// How many containers of an app Caddy knows while the edge is away. It is part of the structure, so it is the same
/// for all apps.
const SLOTS: usize = 8;

/// What the Caddyfile holds of the database.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// The apps that take requests.
    pub fallbacks: Vec<Fallback>,
    /// The names that lead to apps.
    pub hosts: Vec<(Domain, AppName)>,
    /// What keeps strangers from the edge's answers that are Caddy's alone.
    pub token: String,
}

impl Content {
    /// Reads it. `well`: leave out the apps of which no container is well.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn read(tables: &Tables<'_>, settings: &Settings, well: bool) -> Result<Content> {
        let mut fallbacks = tables.fallbacks()?;
        fallbacks.retain(|fallback| !well || fallback.healthy > 0);
        // Nobody gets around the rules of an app, or around what was turned off, because the edge is away.
        let (addresses, apps) = (inner::addresses(tables)?, tables.app_ids()?);
        let (disabled_all, disabled) = tables.proxy_switches()?;
        fallbacks.retain_mut(|fallback| {
            let Some(id) = apps.get(&fallback.app) else { return false };
            if let Some(address) = addresses.get(id) {
                (fallback.upstreams, fallback.healthy) = (vec![*address], fallback.healthy.min(1));
            }
            disabled.get(id).copied().unwrap_or(disabled_all)
        });
        let mut hosts = tables.hosts(&settings.domain)?;
        hosts.retain(|(_, app)| fallbacks.binary_search_by(|fallback| fallback.app.cmp(app)).is_ok());
        Ok(Content { fallbacks, hosts, token: tables.edge_token()? })
    }
}

/// A key of a map: the word `default` means something there; as a pattern it is only itself.
fn key(text: &str) -> String {
    if text == "default" { "~^default$".to_owned() } else { text.to_owned() }
}

/// Writes the Caddyfile.
///
/// # Errors
/// `UsageError::Settings` where the root directory's path cannot be written in a Caddyfile.
pub fn render(settings: &Settings, content: &Content, variant: Variant) -> Result<String> {
    #[derive(Serialize)]
    struct Line {
        key: String,
        upstreams: Vec<SocketAddrV4>,
    }
    #[derive(Serialize)]
    struct HostLine<'a> {
        key: String,
        app: &'a AppName,
    }
    let map: Vec<Line> = content
        .fallbacks
        .iter()
        .map(|fallback| Line { key: key(fallback.app.as_str()), upstreams: slots(fallback) })
        .collect();
    // In the order of the database: exact names, then those one label below, then all others.
    let hosts: Vec<HostLine<'_>> = content
        .hosts
        .iter()
        .map(|(domain, app)| {
            let key = match domain {
                Domain::Exact(name) => key(name.as_str()),
                Domain::Below(name) => format!("~^[^.]+[.]{}$", name.as_str().replace('.', "[.]")),
                Domain::Any => "~.".to_owned(),
            };
            HostLine { key, app }
        })
        .collect();
    let slots: Vec<String> = (1..=SLOTS).map(|slot| format!("{{{FALLBACK}{slot}}}")).collect();
    let https = settings.tls != Tls::Off;
    let caddy = settings.paths.caddy();
    let mut context = tera::Context::new();
    context.insert("variant", variant.as_str());
    context.insert("dynamic", &(variant == Variant::Dynamic));
    context.insert("admin", &quoted("unix/", &settings.paths.caddy_admin())?);
    context.insert("storage", &quoted("", &caddy.join("storage"))?);
    context.insert("log", &quoted("", &caddy.join("caddy.log"))?);
    context.insert("http_port", &settings.proxy_http_port);
    context.insert("https_port", &settings.proxy_https_port);
    context.insert("https", &https);
    context.insert("schemes", if https { &["https", "http"][..] } else { &["http"][..] });
    context.insert("token", &content.token);
    context.insert("host_pattern", HOST_PATTERN);
    context.insert("slots", &slots);
    context.insert("page", &reachable(settings.http_listen).to_string());
    context.insert("edge", &reachable(settings.resolver_listen).to_string());
    context.insert("map", &map);
    context.insert("hosts", &hosts);
    tera::Tera::one_off(TEMPLATE, &context, false).map_err(Error::bug)
}

/// What Caddy calls the upstreams of the fallback: each with a number after it.
pub const FALLBACK: &str = "fallback";

/// The upstreams of an app in the slots of the map. Caddy tries them by chance, so that those which were well take the
/// slots that are left.
fn slots(fallback: &Fallback) -> Vec<SocketAddrV4> {
    let well = match fallback.healthy {
        0 => &fallback.upstreams,
        healthy => &fallback.upstreams[..healthy.min(fallback.upstreams.len())],
    };
    fallback.upstreams.iter().chain(well.iter().cycle()).take(SLOTS).copied().collect()
}

/// The pattern of a host that DNS has a name for: labels of at most 63 letters, digits, dashes and underscores (RFC 1035; the
/// last are in use), in any case, perhaps with a final dot and a port. It captures what is before these.
const HOST_PATTERN: &str =
    "(?i)^([a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:[.][a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*)[.]?(?::[0-9]*)?$";

/// The text with the hosts and addresses in the maps left out: as long as it stays the same, a Caddy that runs with a dynamic
/// Caddyfile need not load the new one.
pub fn structure(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut in_map = false;
    for line in text.lines() {
        let trimmed = line.trim();
        in_map &= trimmed != "}";
        if !in_map {
            kept.push_str(line);
            kept.push('\n');
        }
        in_map |= trimmed.starts_with("map {");
    }
    kept
}

/// The address at which this machine reaches a listener: a loopback one for a listener on all addresses.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A path of ours as one token of a Caddyfile. In it, Caddy would expand `{` and `$`, and has no way to escape some
/// others, so a path with one of them is refused.
fn quoted(prefix: &str, path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) if !text.chars().any(|letter| letter.is_control() || "\"`\\{}$".contains(letter)) => {
            Ok(format!("\"{prefix}{text}\""))
        }
        _ => Err(Error::Usage(UsageError::Settings {
            message: format!("PAAS_ROOT: {path:?} holds one of \" ` \\ {{ }} $, which a Caddyfile cannot carry"),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings of an instance at `/var/lib/paas`, with some more lines of `config.toml`.
    fn settings(more: &str) -> Settings {
        let usual = "root = \"/var/lib/paas\"\nproxy_http_port = 8080\nproxy_https_port = 8443\n";
        Settings::of_text(&format!("{usual}{more}")).unwrap()
    }

    /// Apps with their upstreams, each at its default name.
    fn content(apps: &[(&str, &[&str])]) -> Content {
        let fallback = |(app, upstreams): &(&str, &[&str])| Fallback {
            app: app.parse().unwrap(),
            upstreams: upstreams.iter().map(|upstream| upstream.parse().unwrap()).collect(),
            healthy: 1,
        };
        let host = |(app, _): &(&str, &[&str])| (format!("{app}.localhost").parse().unwrap(), app.parse().unwrap());
        Content {
            fallbacks: apps.iter().map(fallback).collect(),
            hosts: apps.iter().map(host).collect(),
            token: "0a1b".to_owned(),
        }
    }

    #[test]
    fn every_app_is_in_one_site() {
        let mut content =
            content(&[("blog", &["10.213.0.7:5000", "10.213.0.8:5000"]), ("default", &["10.213.0.9:3000"])]);
        for domain in ["default", "*.example.com", "_"] {
            content.hosts.push((domain.parse().unwrap(), "blog".parse().unwrap()));
        }
        insta::assert_snapshot!(render(&settings(""), &content, Variant::Dynamic).unwrap(), @r##"
        # Written by paas (dynamic). Whatever is changed here by hand is lost at the next deploy.
        {
        	admin "unix//var/lib/paas/caddy/admin.sock"
        	http_port 8080
        	https_port 8443
        	storage file_system "/var/lib/paas/caddy/storage"
        	skip_install_trust
        	auto_https disable_redirects
        	log {
        		output file "/var/lib/paas/caddy/caddy.log" {
        			roll_size 8MiB
        			roll_keep 1
        		}
        		level WARN
        	}
        }

        http:// {
        	@name {
        		header_regexp name Host (?i)^([a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:[.][a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*)[.]?(?::[0-9]*)?$
        		vars_regexp {http.request.host} ^.{1,241}$
        	}
        	@small header_regexp Content-Length ^[1-9][0-9]{0,4}$
        	handle @name {
        		map {re.name.1} {app} {
        			blog.localhost blog
        			default.localhost default
        			~^default$ blog
        			~^[^.]+[.]example[.]com$ blog
        			~. blog
        			default -
        		}
        		map {app} {fallback1} {fallback2} {fallback3} {fallback4} {fallback5} {fallback6} {fallback7} {fallback8} {
        			blog 10.213.0.7:5000 10.213.0.8:5000 10.213.0.7:5000 10.213.0.7:5000 10.213.0.7:5000 10.213.0.7:5000 10.213.0.7:5000 10.213.0.7:5000
        			~^default$ 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000
        			default 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0
        		}
        		vars @small body {http.request.body}
        		reverse_proxy {fallback1} {fallback2} {fallback3} {fallback4} {fallback5} {fallback6} {fallback7} {fallback8} {
        			dynamic srv {re.name.1}.http.paas. {
        				refresh 100ms
        				resolvers udp/127.0.0.1:25353
        			}
        			header_up -Forwarded
        			header_up -X-Real-IP
        			lb_try_duration 5s
        			lb_try_interval 50ms
        			transport http {
        				dial_timeout 500ms
        				keepalive 1s
        				keepalive_idle_conns_per_host 1024
        				resolvers udp/127.0.0.1:25353
        			}
        		}
        	}
        	handle {
        		reverse_proxy 127.0.0.1:25080
        	}
        	handle_errors {
        		header Cache-Control no-store
        		respond "{http.error.status_code}: the app did not answer" {http.error.status_code}
        	}
        }
        "##);
    }

    #[test]
    fn without_the_edge_the_map_is_all_there_is() {
        let settings = settings("");
        let content = content(&[("blog", &["10.213.0.7:5000"])]);
        let text = render(&settings, &content, Variant::Static).unwrap();
        assert_eq!(Variant::of(&text), Variant::Static);
        assert!(!text.contains("dynamic"), "{text}");
        assert!(!text.contains("resolvers"), "{text}");
        assert_eq!(Variant::of(&render(&settings, &content, Variant::Dynamic).unwrap()), Variant::Dynamic);
    }

    #[test]
    fn certificates_are_asked_for_at_every_handshake() {
        let settings = settings("domain = \"apps.example.com\"\ntls = \"internal\"\nhttp_listen = \"0.0.0.0:25080\"");
        insta::assert_snapshot!(render(&settings, &content(&[]), Variant::Dynamic).unwrap(), @r##"
        # Written by paas (dynamic). Whatever is changed here by hand is lost at the next deploy.
        {
        	admin "unix//var/lib/paas/caddy/admin.sock"
        	http_port 8080
        	https_port 8443
        	storage file_system "/var/lib/paas/caddy/storage"
        	skip_install_trust
        	auto_https disable_redirects
        	on_demand_tls {
        		ask http://127.0.0.1:25080/-/ask
        	}
        	log {
        		output file "/var/lib/paas/caddy/caddy.log" {
        			roll_size 8MiB
        			roll_keep 1
        		}
        		level WARN
        	}
        }

        https:// {
        	tls {
        		on_demand
        		get_certificate http http://127.0.0.1:8080/-/certificate/0a1b
        	}
        	@name {
        		header_regexp name Host (?i)^([a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:[.][a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*)[.]?(?::[0-9]*)?$
        		vars_regexp {http.request.host} ^.{1,241}$
        	}
        	@small header_regexp Content-Length ^[1-9][0-9]{0,4}$
        	handle @name {
        		map {re.name.1} {app} {
        			default -
        		}
        		map {app} {fallback1} {fallback2} {fallback3} {fallback4} {fallback5} {fallback6} {fallback7} {fallback8} {
        			default 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0
        		}
        		vars @small body {http.request.body}
        		reverse_proxy {fallback1} {fallback2} {fallback3} {fallback4} {fallback5} {fallback6} {fallback7} {fallback8} {
        			dynamic srv {re.name.1}.https.paas. {
        				refresh 100ms
        				resolvers udp/127.0.0.1:25353
        			}
        			header_up -Forwarded
        			header_up -X-Real-IP
        			lb_try_duration 5s
        			lb_try_interval 50ms
        			transport http {
        				dial_timeout 500ms
        				keepalive 1s
        				keepalive_idle_conns_per_host 1024
        				resolvers udp/127.0.0.1:25353
        			}
        		}
        	}
        	handle {
        		reverse_proxy 127.0.0.1:25080
        	}
        	handle_errors {
        		header Cache-Control no-store
        		respond "{http.error.status_code}: the app did not answer" {http.error.status_code}
        	}
        }

        http:// {
        	@certificate {
        		path /-/certificate/0a1b
        		remote_ip 127.0.0.1
        	}
        	handle @certificate {
        		reverse_proxy 127.0.0.1:25080 {
        			header_up -X-Forwarded-*
        			header_up -Via
        			lb_try_duration 5s
        			lb_try_interval 20ms
        		}
        	}
        	@challenge path /.well-known/acme-challenge/*
        	handle @challenge {
        		reverse_proxy 127.0.0.1:25080
        	}
        	@name {
        		header_regexp name Host (?i)^([a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:[.][a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*)[.]?(?::[0-9]*)?$
        		vars_regexp {http.request.host} ^.{1,241}$
        	}
        	@small header_regexp Content-Length ^[1-9][0-9]{0,4}$
        	handle @name {
        		map {re.name.1} {app} {
        			default -
        		}
        		map {app} {fallback1} {fallback2} {fallback3} {fallback4} {fallback5} {fallback6} {fallback7} {fallback8} {
        			default 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0
        		}
        		vars @small body {http.request.body}
        		reverse_proxy {fallback1} {fallback2} {fallback3} {fallback4} {fallback5} {fallback6} {fallback7} {fallback8} {
        			dynamic srv {re.name.1}.http.paas. {
        				refresh 100ms
        				resolvers udp/127.0.0.1:25353
        			}
        			header_up -Forwarded
        			header_up -X-Real-IP
        			lb_try_duration 5s
        			lb_try_interval 50ms
        			transport http {
        				dial_timeout 500ms
        				keepalive 1s
        				keepalive_idle_conns_per_host 1024
        				resolvers udp/127.0.0.1:25353
        			}
        		}
        	}
        	handle {
        		reverse_proxy 127.0.0.1:25080
        	}
        	handle_errors {
        		header Cache-Control no-store
        		respond "{http.error.status_code}: the app did not answer" {http.error.status_code}
        	}
        }
        "##);
    }

    #[test]
    fn addresses_are_no_structure() {
        let settings = settings("");
        let one = render(&settings, &content(&[("blog", &["10.213.0.7:5000"])]), Variant::Dynamic).unwrap();
        let more = content(&[("blog", &["10.213.0.8:3000"]), ("shop", &["10.213.0.9:5000"])]);
        assert_eq!(structure(&one), structure(&render(&settings, &more, Variant::Dynamic).unwrap()));
        let without_edge = render(&settings, &content(&[("blog", &["10.213.0.7:5000"])]), Variant::Static).unwrap();
        assert_ne!(structure(&one), structure(&without_edge));
        assert!(structure(&one).contains("handle_errors"), "{}", structure(&one));
    }

    #[test]
    fn a_root_that_a_caddyfile_cannot_carry_is_refused() {
        for bad in ["/a\"b", "/a{b", "/a\nb", "/a$b", "/a`b"] {
            assert!(quoted("", Path::new(bad)).is_err(), "{bad:?}");
        }
        assert_eq!(quoted("unix/", Path::new("/a b/admin.sock")).unwrap(), "\"unix//a b/admin.sock\"");
    }
}
