//! From routes to the text of the Caddyfile. Pure: values in, text out.
//!
//! One wildcard site serves every app. Where its requests go, Caddy asks the resolver by SRV records, which carry the
//! port too, so that no change of an app ever needs a reload; the map of fallbacks is for the time the resolver is
//! away. Everything else goes to the daemon's page. The text is valid in Caddy 2.6 and in the newest.
//!
//! Nothing but checked types and our own paths reaches the text: an app's name is a DNS label, an upstream is an
//! address and a port.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
    path::Path,
};

use serde::Serialize;

use crate::{
    Error, Result,
    error::UsageError,
    model::Hostname,
    settings::{Settings, Tls},
    store::Fallback,
};

const TEMPLATE: &str = include_str!("../../templates/Caddyfile.tera");

/// How Caddy learns where an app lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// From the resolver, asked again every 100 ms.
    Dynamic,
    /// From the text itself: for the time the resolver is silent, because a Caddy that waits for
    /// it would hold every request for seconds.
    Static,
}

impl Variant {
    fn as_str(self) -> &'static str {
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

/// How many containers of an app Caddy knows while the resolver is away. It is part of the structure, so it is the same
/// for all apps.
const SLOTS: usize = 8;

/// Writes the Caddyfile: `fallbacks` are the apps that take requests.
///
/// # Errors
/// `UsageError::Settings` where the root directory's path cannot be written in a Caddyfile.
pub fn render(settings: &Settings, fallbacks: &[Fallback], variant: Variant) -> Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        key: &'a str,
        upstreams: Vec<SocketAddrV4>,
    }
    let map: Vec<Line<'_>> = fallbacks
        .iter()
        .map(|fallback| {
            // The word `default` means something in a map; as a pattern it is only itself.
            let key = if fallback.app.as_str() == "default" { "~^default$" } else { fallback.app.as_str() };
            Line { key, upstreams: slots(fallback) }
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
    context.insert("internal", &(settings.tls == Tls::Internal));
    context.insert("scheme", if https { "https" } else { "http" });
    context.insert(
        "https_suffix",
        &match settings.proxy_https_port {
            443 => String::new(),
            port => format!(":{port}"),
        },
    );
    context.insert("domain", settings.domain.as_str());
    context.insert("app_host", &app_host(&settings.domain));
    context.insert("slots", &slots);
    context.insert("page", &reachable(settings.http_listen).to_string());
    context.insert("resolver", &reachable(settings.resolver_listen).to_string());
    context.insert("map", &map);
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

/// The pattern of a host that can be an app's: a label of DNS (RFC 1123) and the domain, in any case, perhaps with a final
/// dot and a port. It captures the label.
fn app_host(domain: &Hostname) -> String {
    format!("(?i)^([a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?)[.]{}[.]?(?::[0-9]*)?$", domain.as_str().replace('.', "[.]"))
}

/// The text with the addresses in the map left out: as long as it stays the same, a Caddy that runs with a dynamic
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

    fn route(app: &str, upstreams: &[&str]) -> Fallback {
        Fallback {
            app: app.parse().unwrap(),
            upstreams: upstreams.iter().map(|upstream| upstream.parse().unwrap()).collect(),
            healthy: 1,
        }
    }

    #[test]
    fn every_app_is_in_one_site() {
        let routes = [route("blog", &["10.213.0.7:5000", "10.213.0.8:5000"]), route("default", &["10.213.0.9:3000"])];
        insta::assert_snapshot!(render(&settings(""), &routes, Variant::Dynamic).unwrap(), @r##"
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
        http://*.localhost, http://*.localhost. {
        	@app header_regexp app Host (?i)^([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)[.]localhost[.]?(?::[0-9]*)?$
        	@small header_regexp Content-Length ^[1-9][0-9]{0,4}$
        	handle @app {
        		map {re.app.1} {fallback1} {fallback2} {fallback3} {fallback4} {fallback5} {fallback6} {fallback7} {fallback8} {
        			blog 10.213.0.7:5000 10.213.0.8:5000 10.213.0.7:5000 10.213.0.7:5000 10.213.0.7:5000 10.213.0.7:5000 10.213.0.7:5000 10.213.0.7:5000
        			~^default$ 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000 10.213.0.9:3000
        			default 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0
        		}
        		vars @small body {http.request.body}
        		reverse_proxy {fallback1} {fallback2} {fallback3} {fallback4} {fallback5} {fallback6} {fallback7} {fallback8} {
        			dynamic srv web.{re.app.1}.paas. {
        				refresh 100ms
        				resolvers udp/127.0.0.1:25353
        			}
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
        	reverse_proxy 127.0.0.1:25080
        	handle_errors {
        		header Cache-Control no-store
        		respond "404: there is no app here" 404
        	}
        }
        "##);
    }

    #[test]
    fn without_the_resolver_the_map_is_all_there_is() {
        let settings = settings("");
        let routes = [route("blog", &["10.213.0.7:5000"])];
        let text = render(&settings, &routes, Variant::Static).unwrap();
        assert_eq!(Variant::of(&text), Variant::Static);
        assert!(!text.contains("dynamic"), "{text}");
        assert!(!text.contains("resolvers"), "{text}");
        assert_eq!(Variant::of(&render(&settings, &routes, Variant::Dynamic).unwrap()), Variant::Dynamic);
    }

    #[test]
    fn a_public_domain_has_certificates_on_demand() {
        let settings = settings("domain = \"apps.example.com\"\ntls = \"internal\"\nhttp_listen = \"0.0.0.0:25080\"");
        insta::assert_snapshot!(render(&settings, &[], Variant::Dynamic).unwrap(), @r##"
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
        https://*.apps.example.com, https://*.apps.example.com. {
        	tls {
        		on_demand
        		issuer internal
        	}
        	@app header_regexp app Host (?i)^([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)[.]apps[.]example[.]com[.]?(?::[0-9]*)?$
        	@small header_regexp Content-Length ^[1-9][0-9]{0,4}$
        	handle @app {
        		map {re.app.1} {fallback1} {fallback2} {fallback3} {fallback4} {fallback5} {fallback6} {fallback7} {fallback8} {
        			default 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0 127.0.0.1:0
        		}
        		vars @small body {http.request.body}
        		reverse_proxy {fallback1} {fallback2} {fallback3} {fallback4} {fallback5} {fallback6} {fallback7} {fallback8} {
        			dynamic srv web.{re.app.1}.paas. {
        				refresh 100ms
        				resolvers udp/127.0.0.1:25353
        			}
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

        http://*.apps.example.com, http://*.apps.example.com. {
        	@app header_regexp app Host (?i)^([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)[.]apps[.]example[.]com[.]?(?::[0-9]*)?$
        	redir @app https://{re.app.1}.apps.example.com:8443{http.request.uri} 308
        	reverse_proxy 127.0.0.1:25080
        }

        http:// {
        	reverse_proxy 127.0.0.1:25080
        	handle_errors {
        		header Cache-Control no-store
        		respond "404: there is no app here" 404
        	}
        }
        "##);
    }

    #[test]
    fn an_acme_authority_needs_no_issuer() {
        let text = render(&settings("domain = \"example.com\""), &[], Variant::Dynamic);
        assert!(!text.unwrap().contains("issuer"));
    }

    #[test]
    fn addresses_are_no_structure() {
        let settings = settings("");
        let one = render(&settings, &[route("blog", &["10.213.0.7:5000"])], Variant::Dynamic).unwrap();
        let other = render(
            &settings,
            &[route("blog", &["10.213.0.8:3000"]), route("shop", &["10.213.0.9:5000"])],
            Variant::Dynamic,
        );
        assert_eq!(structure(&one), structure(&other.unwrap()));
        let without_resolver = render(&settings, &[route("blog", &["10.213.0.7:5000"])], Variant::Static).unwrap();
        assert_ne!(structure(&one), structure(&without_resolver));
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
