//! From the rules of apps to what Caddy is told, in JSON. Pure: values in, text out.
//!
//! JSON and not a Caddyfile, because a value in it cannot become anything else. What is in braces means something in a value,
//! too (`{env.HOME}`), so they are escaped.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::{
    routed::RoutedHost,
    trusted::{is_at_least, tells_them_apart},
};
use crate::{
    Error, Result,
    model::{
        AppId, HeaderRule, HostHeader, Hsts, Network, Override, PathTarget, Property, RouteId, RouteTarget,
        header_rules, networks,
        property::{self, nearest},
    },
    store::{AppRules, StoredRoute},
};

/// Answers that are worth compressing. Event streams are not among them: each event is to arrive at once.
const COMPRESSED: [&str; 12] = [
    "application/javascript*",
    "application/json*",
    "application/ld+json*",
    "application/manifest+json*",
    "application/rss+xml*",
    "application/wasm*",
    "application/xhtml+xml*",
    "application/xml*",
    "image/svg+xml*",
    "text/css*",
    "text/html*",
    "text/plain*",
];
/// Answers smaller than this are not.
const LEAST_COMPRESSED: u32 = 512;

/// The rules that an app's requests are to go through; none where there are none.
#[derive(Clone, Debug)]
pub struct Rules {
    app: AppRules,
    body_size: Option<u64>,
    read_timeout: Option<u64>,
    compression: bool,
    hsts: Option<Hsts>,
    request_headers: Vec<HeaderRule>,
    response_headers: Vec<HeaderRule>,
    allow: Vec<Network>,
    deny: Vec<Network>,
}

impl Rules {
    /// Reads them; none where what is set changes nothing.
    pub fn of(app: AppRules) -> Option<Rules> {
        let rows = app.properties.clone();
        let text = |property: &'static Property| text_of(&rows, property);
        let number = |property: &'static Property| match value_of(&rows, property) {
            Some(property::Value::Number(number)) => Some(number),
            _ => None,
        };
        let headers = |property| text(property).and_then(|text| header_rules(text).ok()).unwrap_or_default();
        let list = |property| text(property).and_then(|text| networks(text).ok()).unwrap_or_default();
        let rules = Rules {
            body_size: number(&property::PROXY_BODY_SIZE),
            read_timeout: number(&property::PROXY_READ_TIMEOUT),
            compression: value_of(&rows, &property::PROXY_COMPRESSION) == Some(property::Value::Switch(true)),
            hsts: text(&property::PROXY_HSTS).and_then(|text| Hsts::parse(text).ok().flatten()),
            request_headers: headers(&property::PROXY_REQUEST_HEADERS),
            response_headers: headers(&property::PROXY_RESPONSE_HEADERS),
            allow: list(&property::PROXY_ALLOW),
            deny: list(&property::PROXY_DENY),
            app,
        };
        let some = rules.body_size.is_some()
            || rules.read_timeout.is_some()
            || rules.compression
            || rules.hsts.is_some()
            || !rules.request_headers.is_empty()
            || !rules.response_headers.is_empty()
            || !rules.allow.is_empty()
            || !rules.deny.is_empty()
            || !rules.app.users.is_empty()
            || !rules.app.paths.is_empty()
            || rules.app.snippet.is_some();
        some.then_some(rules)
    }

    /// The app.
    pub fn app(&self) -> &AppRules {
        &self.app
    }
}

/// All that a Caddy behind the first is to do.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The rules of apps.
    pub rules: Vec<Rules>,
    /// The hosts whose routes are more than the first Caddy can follow.
    pub hosts: Vec<RoutedHost>,
}

impl Wanted {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.hosts.is_empty()
    }

    /// The apps that there are rules of.
    pub fn apps(&self) -> BTreeSet<AppId> {
        self.rules.iter().map(|rules| rules.app.id).collect()
    }

    /// The routes.
    pub fn routes(&self) -> BTreeSet<RouteId> {
        self.hosts.iter().flat_map(RoutedHost::enabled).map(|route| route.id).collect()
    }
}

/// The value of a property of an app as it is set; none where it is not.
fn text_of<'a>(rows: &'a [Override], property: &'static Property) -> Option<&'a str> {
    nearest(rows, property, None).map(|row| row.value.as_str())
}

fn value_of(rows: &[Override], property: &'static Property) -> Option<property::Value> {
    text_of(rows, property).and_then(|text| (property.parse)(text).ok())
}

/// Whether the requests for an app's names are passed to it, by what is set.
pub fn is_enabled(rows: &[Override]) -> bool {
    value_of(rows, &property::PROXY_ENABLED) != Some(property::Value::Switch(false))
}

/// What the configuration depends on beside the rules.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// Where the edge answers DNS.
    pub edge: SocketAddr,
    /// The directory of the Caddys behind the first.
    pub directory: &'a Path,
    /// The version of the program, such as `2.6.2`.
    pub version: &'a str,
    /// Other proxies in front of the first Caddy.
    pub trusted: &'a [Network],
}

impl Surroundings<'_> {
    /// Whether the program knows who a client is that other proxies speak for (`client_ip`, from 2.6.3 on; later ones do not know
    /// what was there before it).
    fn knows_clients(&self) -> bool {
        is_at_least(self.version, [2, 6, 3])
    }

    /// Whether it can be told who a client is.
    fn tells_clients_apart(&self) -> bool {
        self.trusted.is_empty() || tells_them_apart(self.version)
    }
}

/// The address at which a Caddy behind the first has the rules of an app.
pub fn address(app: AppId) -> Ipv4Addr {
    let number = app.0.unsigned_abs();
    let [high, middle, low] = [number >> 16, number >> 8, number].map(|part| (part & 0xff) as u8);
    Ipv4Addr::new(127, 64 | (high & 0x3f), middle, low)
}

/// The address at which a Caddy behind the first has the routes of a host, by the number that stands for it.
pub fn address_of_route(number: RouteId) -> Ipv4Addr {
    let number = number.0.unsigned_abs();
    let [high, middle, low] = [number >> 16, number >> 8, number].map(|part| (part & 0xff) as u8);
    Ipv4Addr::new(127, 32 | (high & 0x1f), middle, low)
}

/// What the configuration is made of, as a hash: another one needs another Caddy.
///
/// # Errors
/// A routes text of a snippet that is no JSON.
pub fn digest(all: &Wanted, around: &Surroundings<'_>) -> Result<String> {
    let text = render(all, around, 0, 0)?;
    Ok(Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes the configuration of the Caddy with a number, on a port.
///
/// # Errors
/// A routes text of a snippet that is no JSON.
pub fn render(all: &Wanted, around: &Surroundings<'_>, id: i64, port: u16) -> Result<String> {
    let mut servers = serde_json::Map::new();
    for rules in &all.rules {
        let listen = SocketAddrV4::new(address(rules.app.id), port);
        servers.insert(format!("app-{}", rules.app.id), server(listen, &routes(rules, around)?, around));
    }
    for host in &all.hosts {
        if let Some(number) = host.number() {
            let listen = SocketAddrV4::new(address_of_route(number), port);
            servers.insert(format!("route-{number}"), server(listen, &routes_of(host, around), around));
        }
    }
    let config = json!({
        "admin": { "listen": format!("unix/{}", admin_socket(around.directory, id).display()), "config": { "persist": false } },
        "logging": { "logs": { "default": {
            "level": "WARN",
            "writer": {
                "output": "file",
                "filename": around.directory.join("log"),
                "roll_size_mb": 8,
                "roll_keep": 1,
            },
        } } },
        "apps": { "http": { "grace_period": "10s", "servers": servers } },
    });
    serde_json::to_string_pretty(&config).map_err(Error::bug)
}

/// The admin socket of one.
pub fn admin_socket(directory: &Path, id: i64) -> std::path::PathBuf {
    directory.join(format!("{id}.sock"))
}

/// What listens for one app, or one host.
fn server(listen: SocketAddrV4, routes: &[Value], around: &Surroundings<'_>) -> Value {
    let mut server = json!({
        "listen": [listen.to_string()],
        // The first Caddy speaks it with apps, too.
        "protocols": ["h1"],
        "automatic_https": { "disable": true },
        "routes": routes,
        "errors": { "routes": [{ "handle": [{
            "handler": "static_response",
            "status_code": "{http.error.status_code}",
            "headers": { "Cache-Control": ["no-store"] },
            "body": "{http.error.status_code} {http.error.status_text}\n",
        }] }] },
    });
    if around.knows_clients() {
        let others = around.trusted.iter().map(Network::to_string);
        let ranges: Vec<String> = std::iter::once("127.0.0.0/8".to_owned()).chain(others).collect();
        server["trusted_proxies"] = json!({ "source": "static", "ranges": ranges });
        if tells_them_apart(around.version) {
            server["trusted_proxies_strict"] = json!(1);
        }
    }
    server
}

/// What is done with a request of an app, in this order.
fn routes(rules: &Rules, around: &Surroundings<'_>) -> Result<Vec<Value>> {
    let mut routes = Vec::new();
    let refuse = |status: u16| json!([{ "handler": "error", "status_code": status.to_string() }]);
    let from = |networks: &[Network]| {
        let ranges: Vec<String> = networks.iter().map(Network::to_string).collect();
        if around.knows_clients() {
            json!({ "client_ip": { "ranges": ranges } })
        } else {
            json!({ "remote_ip": { "forwarded": true, "ranges": ranges } })
        }
    };
    // First, so that answers of ours have them, too.
    if !rules.response_headers.is_empty() {
        let mut changes = changes(&rules.response_headers);
        changes["deferred"] = json!(true);
        routes.push(json!({ "handle": [{ "handler": "headers", "response": changes }] }));
    }
    if let Some(hsts) = rules.hsts {
        let set = json!({ "deferred": true, "set": { "Strict-Transport-Security": [hsts.to_string()] } });
        routes.push(json!({
            "match": [{ "header": { "X-Forwarded-Proto": ["https"] } }],
            "handle": [{ "handler": "headers", "response": set }],
        }));
    }
    // Nobody gets in because it cannot be told who they are; this is refused when it is set, too.
    if !(rules.deny.is_empty() && rules.allow.is_empty() || around.tells_clients_apart()) {
        routes.push(json!({ "handle": refuse(403) }));
    }
    if !rules.deny.is_empty() {
        routes.push(json!({ "match": [from(&rules.deny)], "handle": refuse(403) }));
    }
    if !rules.allow.is_empty() {
        routes.push(json!({ "match": [{ "not": [from(&rules.allow)] }], "handle": refuse(403) }));
    }
    if !rules.app.users.is_empty() {
        let accounts: Vec<Value> = rules
            .app
            .users
            .iter()
            .map(|(name, hash)| json!({ "username": name.as_str(), "password": STANDARD.encode(hash) }))
            .collect();
        routes.push(json!({ "handle": [{
            "handler": "authentication",
            "providers": { "http_basic": {
                "hash": { "algorithm": "bcrypt" },
                "accounts": accounts,
                "realm": rules.app.name.as_str(),
                // So that not each request costs what a password is to cost.
                "hash_cache": {},
            } },
        }] }));
    }
    if let Some(size) = rules.body_size {
        let is_larger = format!(
            "{{http.request.header.Content-Length}} != '' && int({{http.request.header.Content-Length}}) > {size}"
        );
        routes.push(json!({ "match": [{ "expression": is_larger }], "handle": refuse(413) }));
        routes.push(json!({ "handle": [{ "handler": "request_body", "max_size": size }] }));
    }
    if !rules.request_headers.is_empty() {
        routes.push(json!({ "handle": [{ "handler": "headers", "request": changes(&rules.request_headers) }] }));
    }
    if rules.compression {
        routes.push(json!({ "handle": [{
            "handler": "encode",
            "encodings": { "zstd": {}, "gzip": {} },
            "prefer": ["zstd", "gzip"],
            "minimum_length": LEAST_COMPRESSED,
            "match": { "headers": { "Content-Type": COMPRESSED } },
        }] }));
    }
    routes.push(small_bodies());
    if let Some(snippet) = &rules.app.snippet {
        let own: Value = serde_json::from_str(snippet).map_err(Error::bug)?;
        routes.push(json!({ "handle": [{ "handler": "subroute", "routes": own }] }));
    }
    for path in &rules.app.paths {
        let prefix = path.prefix.as_str();
        routes.push(at_path(prefix, path.strip, proxy(&path.target, rules, around)));
    }
    routes.push(json!({ "handle": [proxy(&PathTarget::App(rules.app.name.clone()), rules, around)] }));
    Ok(routes)
}

/// As in the Caddyfile: without it, Caddy 2.6 loses a POST that first meets a dead container.
fn small_bodies() -> Value {
    json!({
        "match": [{ "header_regexp": { "Content-Length": { "pattern": "^[1-9][0-9]{0,4}$" } } }],
        "handle": [{ "handler": "vars", "body": "{http.request.body}" }],
    })
}

/// Has the requests whose path begins so passed on.
fn at_path(prefix: &str, strip: bool, proxy: Value) -> Value {
    let mut handle = Vec::new();
    if strip {
        handle.push(json!({ "handler": "rewrite", "strip_path_prefix": prefix }));
    }
    handle.push(proxy);
    json!({ "match": [{ "path": [prefix, format!("{prefix}/*")] }], "handle": handle, "terminal": true })
}

/// What is done with a request for a host that has routes.
fn routes_of(host: &RoutedHost, around: &Surroundings<'_>) -> Vec<Value> {
    let mut routes = vec![small_bodies()];
    let mut takes_all = false;
    for route in host.enabled() {
        let proxy = proxy_by(route, around);
        match route.source.path() {
            Some(path) => routes.push(at_path(path.as_str(), route.options.strip, proxy)),
            None => {
                takes_all = true;
                routes.push(json!({ "handle": [proxy] }));
            }
        }
    }
    if !takes_all {
        routes.push(json!({ "handle": [{ "handler": "error", "status_code": "404" }] }));
    }
    routes
}

/// Passes requests on by a route.
fn proxy_by(route: &StoredRoute, around: &Surroundings<'_>) -> Value {
    let targets = route.typed_targets();
    let resolver = json!({ "addresses": [format!("udp/{}", around.edge)] });
    let mut transport = json!({
        "protocol": "http",
        "dial_timeout": "3s",
        "keep_alive": { "enabled": true, "idle_timeout": "1s", "max_idle_conns_per_host": 1024 },
        "resolver": resolver,
    });
    let own_name = || targets.first().and_then(RouteTarget::own_name);
    let name = match route.options.host_header_of(&targets) {
        HostHeader::Name(name) => Some(name.to_string()),
        HostHeader::Target => own_name(),
        HostHeader::Keep => None,
    };
    if targets.first().is_some_and(|target| target.secure) {
        let mut tls = json!({});
        let server_name = name.clone().or_else(own_name);
        if let Some(server_name) = server_name {
            tls["server_name"] = json!(server_name.trim_start_matches('[').trim_end_matches(']'));
        }
        if !route.options.tls_verify {
            tls["insecure_skip_verify"] = json!(true);
        }
        transport["tls"] = tls;
    }
    let mut set = json!({ "X-Forwarded-For": ["{http.request.header.X-Forwarded-For}"] });
    if let Some(name) = name {
        set["Host"] = json!([name]);
    }
    json!({
        "handler": "reverse_proxy",
        "load_balancing": { "try_duration": "5s", "try_interval": "50ms" },
        "trusted_proxies": ["127.0.0.0/8"],
        "headers": { "request": { "set": set, "delete": ["Via"] } },
        "dynamic_upstreams": { "source": "srv", "name": format!("{}.route.paas.", route.id), "refresh": "100ms", "resolver": resolver },
        "transport": transport,
    })
}

/// Changes of headers, in Caddy's words.
fn changes(rules: &[HeaderRule]) -> Value {
    let (mut set, mut add, mut delete) = (serde_json::Map::new(), serde_json::Map::new(), Vec::new());
    let push = |map: &mut serde_json::Map<String, Value>, name: &str, value: &str| {
        let values = map.entry(canonical(name)).or_insert_with(|| json!([]));
        if let Some(values) = values.as_array_mut() {
            values.push(json!(literal(value)));
        }
    };
    for rule in rules {
        match rule {
            HeaderRule::Set(name, value) => {
                set.remove(&canonical(name));
                push(&mut set, name, value);
            }
            HeaderRule::Add(name, value) => push(&mut add, name, value),
            HeaderRule::Remove(name) => delete.push(canonical(name)),
        }
    }
    json!({ "set": set, "add": add, "delete": delete })
}

/// The name of a header as Go writes it, so that two spellings are one.
fn canonical(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters.map(|letter| letter.to_ascii_lowercase())).collect()
        })
        .collect::<Vec<String>>()
        .join("-")
}

/// A text that Caddy takes as it is: a brace would begin one of its placeholders. Older ones look for escapes only where there
/// is an opening one, so where an escape is needed and there is none, a variable that nobody sets comes after it.
fn literal(text: &str) -> String {
    if !text.contains('{') && !text.contains("\\}") {
        return text.to_owned();
    }
    let unset = if text.contains('{') { "" } else { "{http.vars.unset}" };
    format!("{}{unset}", text.replace('{', "\\{").replace('}', "\\}"))
}

/// Passes requests on.
fn proxy(target: &PathTarget, rules: &Rules, around: &Surroundings<'_>) -> Value {
    let resolver = json!({ "addresses": [format!("udp/{}", around.edge)] });
    let mut transport = json!({
        "protocol": "http",
        "dial_timeout": "500ms",
        "keep_alive": { "enabled": true, "idle_timeout": "1s", "max_idle_conns_per_host": 1024 },
    });
    if let Some(seconds) = rules.read_timeout {
        let limit = format!("{seconds}s");
        transport["read_timeout"] = json!(limit);
        transport["response_header_timeout"] = json!(limit);
    }
    let mut proxy = json!({
        "handler": "reverse_proxy",
        "load_balancing": { "try_duration": "5s", "try_interval": "50ms" },
        // The first Caddy has said who the client is, and is none itself.
        "trusted_proxies": ["127.0.0.0/8"],
        "headers": { "request": {
            "set": { "X-Forwarded-For": ["{http.request.header.X-Forwarded-For}"] },
            "delete": ["Via"],
        } },
    });
    match target {
        PathTarget::App(app) => {
            transport["resolver"] = resolver.clone();
            proxy["dynamic_upstreams"] = json!({ "source": "srv", "name": format!("web.{app}.paas."), "refresh": "100ms", "resolver": resolver });
        }
        PathTarget::Address(host, port) => {
            proxy["upstreams"] = json!([{ "dial": format!("{host}:{port}") }]);
        }
    }
    proxy["transport"] = transport;
    proxy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Scope, store::PathRule};

    fn rules(properties: &[(&'static Property, &str)]) -> AppRules {
        let set = |(property, value): &(&'static Property, &str)| Override {
            scope: Scope::App,
            property,
            value: (*value).to_owned(),
        };
        AppRules {
            id: AppId(258),
            name: "blog".parse().unwrap(),
            properties: properties.iter().map(set).collect(),
            users: Vec::new(),
            paths: Vec::new(),
            snippet: None,
        }
    }

    fn around(version: &str) -> Surroundings<'_> {
        Surroundings {
            edge: "127.0.0.1:25353".parse().unwrap(),
            directory: Path::new("/var/lib/paas/caddy/inner"),
            version,
            trusted: &[],
        }
    }

    #[test]
    fn what_changes_nothing_is_no_rule() {
        assert!(Rules::of(rules(&[])).is_none());
        let nothing =
            [(&property::PROXY_COMPRESSION, "off"), (&property::PROXY_HSTS, "off"), (&property::PROXY_ENABLED, "no")];
        assert!(Rules::of(rules(&nothing)).is_none());
        assert!(!is_enabled(&rules(&nothing).properties));
        assert!(is_enabled(&[]));
        assert!(Rules::of(rules(&[(&property::PROXY_COMPRESSION, "on")])).is_some());
    }

    #[test]
    fn each_app_has_an_address_of_its_own() {
        assert_eq!(address(AppId(258)), Ipv4Addr::new(127, 64, 1, 2));
        assert_eq!(address(AppId(65_536)), Ipv4Addr::new(127, 65, 0, 0));
    }

    #[test]
    fn rules_are_routes_in_their_order() {
        let mut app = rules(&[
            (&property::PROXY_BODY_SIZE, "2m"),
            (&property::PROXY_READ_TIMEOUT, "90s"),
            (&property::PROXY_COMPRESSION, "on"),
            (&property::PROXY_HSTS, "on"),
            (&property::PROXY_REQUEST_HEADERS, "X-A: {env.HOME}"),
            (&property::PROXY_RESPONSE_HEADERS, "x-frame-options: DENY\n+Link: <a>\n+link: <b>\n-server"),
            (&property::PROXY_ALLOW, "10.0.0.0/8"),
            (&property::PROXY_DENY, "10.0.0.7"),
        ]);
        app.users.push(("ann".parse().unwrap(), "$2b$05$x".to_owned()));
        app.paths.push(PathRule {
            prefix: "/api".parse().unwrap(),
            target: "10.0.0.9:80".parse().unwrap(),
            strip: true,
        });
        app.snippet = Some("[{\"handle\":[]}]".to_owned());
        let all = Wanted { rules: vec![Rules::of(app).unwrap()], hosts: Vec::new() };
        let lines: Vec<String> =
            routes(&all.rules[0], &around("2.6.2")).unwrap().iter().map(Value::to_string).collect();
        insta::assert_snapshot!(lines.join("\n"), @r##"
        {"handle":[{"handler":"headers","response":{"add":{"Link":["<a>","<b>"]},"deferred":true,"delete":["Server"],"set":{"X-Frame-Options":["DENY"]}}}]}
        {"handle":[{"handler":"headers","response":{"deferred":true,"set":{"Strict-Transport-Security":["max-age=31536000"]}}}],"match":[{"header":{"X-Forwarded-Proto":["https"]}}]}
        {"handle":[{"handler":"error","status_code":"403"}],"match":[{"remote_ip":{"forwarded":true,"ranges":["10.0.0.7"]}}]}
        {"handle":[{"handler":"error","status_code":"403"}],"match":[{"not":[{"remote_ip":{"forwarded":true,"ranges":["10.0.0.0/8"]}}]}]}
        {"handle":[{"handler":"authentication","providers":{"http_basic":{"accounts":[{"password":"JDJiJDA1JHg=","username":"ann"}],"hash":{"algorithm":"bcrypt"},"hash_cache":{},"realm":"blog"}}}]}
        {"handle":[{"handler":"error","status_code":"413"}],"match":[{"expression":"{http.request.header.Content-Length} != '' && int({http.request.header.Content-Length}) > 2097152"}]}
        {"handle":[{"handler":"request_body","max_size":2097152}]}
        {"handle":[{"handler":"headers","request":{"add":{},"delete":[],"set":{"X-A":["\\{env.HOME\\}"]}}}]}
        {"handle":[{"encodings":{"gzip":{},"zstd":{}},"handler":"encode","match":{"headers":{"Content-Type":["application/javascript*","application/json*","application/ld+json*","application/manifest+json*","application/rss+xml*","application/wasm*","application/xhtml+xml*","application/xml*","image/svg+xml*","text/css*","text/html*","text/plain*"]}},"minimum_length":512,"prefer":["zstd","gzip"]}]}
        {"handle":[{"body":"{http.request.body}","handler":"vars"}],"match":[{"header_regexp":{"Content-Length":{"pattern":"^[1-9][0-9]{0,4}$"}}}]}
        {"handle":[{"handler":"subroute","routes":[{"handle":[]}]}]}
        {"handle":[{"handler":"rewrite","strip_path_prefix":"/api"},{"handler":"reverse_proxy","headers":{"request":{"delete":["Via"],"set":{"X-Forwarded-For":["{http.request.header.X-Forwarded-For}"]}}},"load_balancing":{"try_duration":"5s","try_interval":"50ms"},"transport":{"dial_timeout":"500ms","keep_alive":{"enabled":true,"idle_timeout":"1s","max_idle_conns_per_host":1024},"protocol":"http","read_timeout":"90s","response_header_timeout":"90s"},"trusted_proxies":["127.0.0.0/8"],"upstreams":[{"dial":"10.0.0.9:80"}]}],"match":[{"path":["/api","/api/*"]}],"terminal":true}
        {"handle":[{"dynamic_upstreams":{"name":"web.blog.paas.","refresh":"100ms","resolver":{"addresses":["udp/127.0.0.1:25353"]},"source":"srv"},"handler":"reverse_proxy","headers":{"request":{"delete":["Via"],"set":{"X-Forwarded-For":["{http.request.header.X-Forwarded-For}"]}}},"load_balancing":{"try_duration":"5s","try_interval":"50ms"},"transport":{"dial_timeout":"500ms","keep_alive":{"enabled":true,"idle_timeout":"1s","max_idle_conns_per_host":1024},"protocol":"http","read_timeout":"90s","resolver":{"addresses":["udp/127.0.0.1:25353"]},"response_header_timeout":"90s"},"trusted_proxies":["127.0.0.0/8"]}]}
        "##);
        let modern = render(&all, &around("2.11.7"), 7, 4000).unwrap();
        assert!(modern.contains("client_ip") && !modern.contains("\"forwarded\""), "{modern}");
        let trusted: [Network; 1] = ["198.51.100.0/24".parse().unwrap()];
        let behind = |version| render(&all, &Surroundings { trusted: &trusted, ..around(version) }, 7, 4000).unwrap();
        assert!(behind("2.11.7").contains("trusted_proxies_strict") && behind("2.11.7").contains("198.51.100.0/24"));
        let refused = routes(&all.rules[0], &Surroundings { trusted: &trusted, ..around("2.6.2") }).unwrap();
        assert!(refused.contains(&json!({ "handle": [{ "handler": "error", "status_code": "403" }] })), "{refused:?}");
        assert_eq!(digest(&all, &around("2.6.2")).unwrap().len(), 64);
        assert_ne!(digest(&all, &around("2.6.2")).unwrap(), digest(&Wanted::default(), &around("2.6.2")).unwrap());
    }
}
