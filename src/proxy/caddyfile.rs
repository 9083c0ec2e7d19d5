//! From routes to the text of the Caddyfile. Pure: values in, text out.
//!
//! One wildcard site serves every app. Where its requests go, Caddy asks the resolver by SRV records, which carry the
//! port too, so that no change of an app ever needs a reload; the map of fallbacks is for the time the resolver is
//! away. Everything else goes to the daemon's page. The text is valid in Caddy 2.6 and in the newest.
//!
//! Nothing but checked types and our own paths reaches the text: an app's name is a DNS label, an upstream is an
//! address and a port.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use serde::Serialize;

use crate::{
    Error, Result,
    settings::{Settings, Tls},
    store::Route,
};

const TEMPLATE: &str = include_str!("../../templates/Caddyfile.tera");

/// How Caddy learns where an app lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// From the resolver, asked again every 100 ms.
    Dynamic,
    /// From the text itself, one upstream an app: for the time the resolver is silent, because a Caddy that waits for
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

/// Writes the Caddyfile: `routes` are the apps that take requests.
///
/// # Errors
/// [`Error::Settings`] where the root directory's path cannot be written in a Caddyfile.
pub fn render(settings: &Settings, routes: &[Route], variant: Variant) -> Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        key: &'a str,
        upstream: String,
    }
    let map: Vec<Line<'_>> = routes
        .iter()
        .filter_map(|route| {
            let upstream = route.upstreams.first()?.to_string();
            // The word `default` means something in a map; as a pattern it is only itself.
            let key = if route.app.as_str() == "default" { "~^default$" } else { route.app.as_str() };
            Some(Line { key, upstream })
        })
        .collect();
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
    context.insert("label", &settings.domain.labels());
    context.insert("page", &reachable(settings.http_listen).to_string());
    context.insert("resolver", &reachable(settings.resolver_listen).to_string());
    context.insert("map", &map);
    tera::Tera::one_off(TEMPLATE, &context, false).map_err(Error::bug)
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
        _ => Err(Error::Settings {
            message: format!("PAAS_ROOT: {path:?} holds one of \" ` \\ {{ }} $, which a Caddyfile cannot carry"),
        }),
    }
}
