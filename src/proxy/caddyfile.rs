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
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
    path::Path,
};

use serde::Serialize;

use super::{inner, trusted};
use crate::{
    Error, Result,
    error::UsageError,
    instance::value_of,
    model::{
        AppName, Domain, Network, PortScheme, open_ports,
        property::{self, Value},
    },
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
    /// Other proxies, whose word is taken for who a client is.
    pub trusted: Vec<Network>,
    /// The ports of HTTP and HTTPS beside the proxy's own.
    pub ports: Vec<HttpPort>,
}

/// A port of HTTP or HTTPS beside the proxy's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpPort {
    /// What is spoken there.
    pub scheme: PortScheme,
    /// The port.
    pub port: u16,
    /// The apps that have it, with where their requests go.
    pub fallbacks: Vec<Fallback>,
}

/// The ports of HTTP and HTTPS beside the proxy's own: those of apps, and those that are open beforehand.
///
/// # Errors
/// [`Error::Store`].
pub fn http_ports(tables: &Tables<'_>, settings: &Settings) -> Result<Vec<HttpPort>> {
    let mut ports: BTreeMap<u16, HttpPort> = BTreeMap::new();
    let new = |scheme, port| HttpPort { scheme, port, fallbacks: Vec::new() };
    if let Some(Value::Text(text)) = value_of(settings, tables, &property::HTTP_PORTS, None)? {
        let open = open_ports(&text).unwrap_or_default();
        ports.extend(open.into_iter().map(|port| (port, new(PortScheme::Http, port))));
    }
    for open in tables.open_ports()? {
        let mapping = open.port.mapping;
        match mapping.scheme {
            // One that is an app's over TCP was so before it was to be open to HTTP.
            PortScheme::Tcp => drop(ports.remove(&mapping.host)),
            PortScheme::Https if settings.tls == Tls::Off => {}
            scheme => {
                let at = ports.entry(mapping.host).or_insert_with(|| new(scheme, mapping.host));
                at.scheme = scheme;
                let upstreams: Vec<SocketAddrV4> =
                    open.containers.iter().map(|address| SocketAddrV4::new(*address, mapping.container)).collect();
                if !upstreams.is_empty() {
                    at.fallbacks.push(Fallback { app: open.port.app, healthy: upstreams.len(), upstreams });
                }
            }
        }
    }
    for own in [settings.proxy_http_port, settings.proxy_https_port] {
        ports.remove(&own);
    }
    Ok(ports.into_values().collect())
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
        let mut ports = http_ports(tables, settings)?;
        for port in &mut ports {
            port.fallbacks.retain(|fallback| {
                let id = apps.get(&fallback.app);
                id.is_some_and(|id| !addresses.contains_key(id) && disabled.get(id).copied().unwrap_or(disabled_all))
            });
        }
        let (token, trusted) = (tables.edge_token()?, trusted::read(tables, settings)?);
        Ok(Content { fallbacks, hosts, token, trusted, ports })
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
    #[derive(Clone, Serialize)]
    struct HostLine<'a> {
        key: String,
        app: &'a AppName,
    }
    #[derive(Serialize)]
    struct Site<'a> {
        scheme: &'a str,
        /// What it is called in Caddy's questions to the edge.
        name: String,
        /// The port, where it is not the proxy's own.
        port: Option<u16>,
        map: Vec<Line>,
        hosts: Vec<HostLine<'a>>,
    }
    let map = |fallbacks: &[Fallback]| -> Vec<Line> {
        fallbacks.iter().map(|fallback| Line { key: key(fallback.app.as_str()), upstreams: slots(fallback) }).collect()
    };
    // In the order of the database: exact names, then those one label below, then all others.
    let mut hosts: Vec<HostLine<'_>> = Vec::new();
    for (domain, app) in &content.hosts {
        let key = match domain {
            Domain::Exact(name) => key(name.as_str()),
            Domain::Below(name) => format!("~^[^.]+[.]{}$", name.as_str().replace('.', "[.]")),
            Domain::Any => "~.".to_owned(),
        };
        hosts.push(HostLine { key, app });
    }
    let of_port = |at: &HttpPort| {
        let has = |line: &&HostLine<'_>| at.fallbacks.iter().any(|fallback| fallback.app == *line.app);
        Site {
            scheme: at.scheme.as_str(),
            name: format!("{}-{}", at.scheme, at.port),
            port: Some(at.port),
            map: map(&at.fallbacks),
            hosts: hosts.iter().filter(has).cloned().collect(),
        }
    };
    let of_proxy = |scheme: &'static str| Site {
        scheme,
        name: scheme.to_owned(),
        port: None,
        map: map(&content.fallbacks),
        hosts: hosts.clone(),
    };
    let slots: Vec<String> = (1..=SLOTS).map(|slot| format!("{{{FALLBACK}{slot}}}")).collect();
    let https = settings.tls != Tls::Off;
    let mut sites: Vec<Site<'_>> = https.then(|| of_proxy("https")).into_iter().collect();
    sites.push(of_proxy("http"));
    sites.extend(content.ports.iter().map(of_port));
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
    context.insert("sites", &sites);
    context.insert("token", &content.token);
    context.insert("trusted", &content.trusted.iter().map(Network::to_string).collect::<Vec<_>>());
    context.insert("host_pattern", HOST_PATTERN);
    context.insert("slots", &slots);
    context.insert("page", &reachable(settings.http_listen).to_string());
    context.insert("edge", &reachable(settings.resolver_listen).to_string());
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
            trusted: Vec::new(),
            ports: Vec::new(),
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
        	map {http.request.header.X-Request-Id} {request_id} {
        		~^[A-Za-z0-9._-]{8,128}$ ${0}
        		default {http.request.uuid}
        	}
        	header X-Request-Id {request_id}
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
        			header_up X-Request-Id {request_id}
        			header_down -X-Request-Id
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
        	map {http.request.header.X-Request-Id} {request_id} {
        		~^[A-Za-z0-9._-]{8,128}$ ${0}
        		default {http.request.uuid}
        	}
        	header X-Request-Id {request_id}
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
        			header_up X-Request-Id {request_id}
        			header_down -X-Request-Id
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
        	map {http.request.header.X-Request-Id} {request_id} {
        		~^[A-Za-z0-9._-]{8,128}$ ${0}
        		default {http.request.uuid}
        	}
        	header X-Request-Id {request_id}
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
        			header_up X-Request-Id {request_id}
        			header_down -X-Request-Id
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
    fn a_port_of_http_is_a_site_and_which_apps_have_it_is_no_structure() {
        let settings = settings("");
        let mut content = content(&[("blog", &["10.213.0.7:5000"]), ("shop", &["10.213.0.8:5000"])]);
        let without = render(&settings, &content, Variant::Dynamic).unwrap();
        content.ports.push(HttpPort { scheme: PortScheme::Http, port: 8081, fallbacks: Vec::new() });
        let open = render(&settings, &content, Variant::Dynamic).unwrap();
        assert_ne!(structure(&without), structure(&open));
        content.ports[0].fallbacks.push(Fallback {
            app: "shop".parse().unwrap(),
            upstreams: vec!["10.213.0.8:3000".parse().unwrap()],
            healthy: 1,
        });
        let text = render(&settings, &content, Variant::Dynamic).unwrap();
        assert_eq!(structure(&text), structure(&open));
        let site = text.split("http://:8081 {").nth(1).unwrap();
        assert!(site.contains("{re.name.1}.http-8081.paas.") && site.contains("header_up X-Paas-Port 8081"), "{site}");
        assert!(site.contains("shop 10.213.0.8:3000") && !site.contains("blog"), "{site}");

        content.ports[0].scheme = PortScheme::Https;
        let text = render(&settings, &content, Variant::Static).unwrap();
        let site = text.split("https://:8081 {").nth(1).unwrap();
        assert!(site.contains("get_certificate http") && !site.contains("handle @certificate"), "{site}");
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
