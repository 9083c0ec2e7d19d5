//! Hosts whose requests go by routes: to no app of ours, but to addresses and to containers of somebody else's.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::inner;
use crate::{
    model::{Domain, HostHeader, RouteId, RouteSource},
    store::StoredRoute,
};

/// A host with its routes.
#[derive(Clone, Debug)]
pub struct RoutedHost {
    /// The host.
    pub host: Domain,
    /// Its routes, the longest path first. There is at least one.
    pub routes: Vec<StoredRoute>,
}

impl RoutedHost {
    /// Those that are followed.
    pub fn enabled(&self) -> impl Iterator<Item = &StoredRoute> {
        self.routes.iter().filter(|route| route.enabled)
    }

    /// The one that a path is for.
    pub fn route(&self, path: &str) -> Option<&StoredRoute> {
        self.enabled().find(|route| route.source.path().is_none_or(|prefix| prefix.takes_in(path)))
    }

    /// Whether the first Caddy cannot pass its requests on by itself, because they are to be changed or parted by path.
    pub fn needs_rules(&self) -> bool {
        let is_plain = |route: &StoredRoute| {
            let targets = route.typed_targets();
            route.source.path().is_none()
                && !targets.iter().any(|target| target.secure)
                && route.options.host_header_of(&targets) == HostHeader::Keep
        };
        !self.enabled().all(is_plain)
    }

    /// Whether plain HTTP is answered with a redirect where there is a certificate: if none of its routes says no.
    pub fn https_redirect(&self) -> bool {
        self.routes.iter().all(|route| route.options.https_redirect)
    }

    /// Where its requests go now: to its targets, or through rules. Nowhere if no target of a route is well.
    ///
    /// `inner`: the port of the Caddy that has rules, and the routes that it has them of.
    pub(super) fn ways(&self, inner: Option<&(u16, BTreeSet<RouteId>)>) -> Vec<SocketAddr> {
        let upstreams: Vec<SocketAddr> = self.enabled().flat_map(StoredRoute::upstreams).collect();
        if upstreams.is_empty() || !self.needs_rules() {
            return upstreams;
        }
        let Some((port, known)) = inner else { return Vec::new() };
        let address = |id: RouteId| SocketAddr::new(IpAddr::V4(inner::address_of_route(id)), *port);
        self.number().filter(|id| known.contains(id)).map(address).into_iter().collect()
    }

    /// What stands for it among all hosts with rules: the least number of its routes that are followed.
    pub(super) fn number(&self) -> Option<RouteId> {
        self.enabled().map(|route| route.id).min()
    }
}

/// The hosts of routes, which come in the order of [`crate::store::Tables::routes`].
pub(super) fn hosts(routes: impl IntoIterator<Item = StoredRoute>) -> Vec<RoutedHost> {
    let mut hosts: Vec<RoutedHost> = Vec::new();
    for route in routes {
        let RouteSource::Http { host, .. } = &route.source else { continue };
        match hosts.last_mut().filter(|last| last.host == *host) {
            Some(last) => last.routes.push(route),
            None => hosts.push(RoutedHost { host: host.clone(), routes: vec![route] }),
        }
    }
    hosts
}

/// The label by which an address is spelled in a name: `10-213-0-7`, or `v6-` and 32 hexadecimal digits.
pub(super) fn spelled(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        IpAddr::V6(address) => format!("v6-{:032x}", u128::from(address)),
    }
}

/// The address that a label spells.
pub(super) fn unspelled(label: &str) -> Option<IpAddr> {
    match label.strip_prefix("v6-") {
        Some(digits) if digits.len() == 32 => u128::from_str_radix(digits, 16).ok().map(|bits| IpAddr::V6(bits.into())),
        Some(_) => None,
        None => label.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        model::{Actor, RouteOptions},
        store::TargetState,
    };

    fn route(id: i64, source: &str, target: &str, set: &[(&str, &str)]) -> StoredRoute {
        let set: BTreeMap<String, String> =
            set.iter().map(|(word, value)| ((*word).to_owned(), (*value).to_owned())).collect();
        let target = TargetState {
            target: target.parse().unwrap(),
            addresses: vec!["::1".parse().unwrap()],
            failing: None,
            since: 0,
        };
        StoredRoute {
            id: RouteId(id),
            source: source.parse().unwrap(),
            options: RouteOptions::of(&set).unwrap(),
            set,
            enabled: true,
            actor: Actor::Daemon,
            added_at: 0,
            targets: vec![target],
        }
    }

    fn host(routes: &[StoredRoute]) -> RoutedHost {
        RoutedHost { host: "a.example".parse().unwrap(), routes: routes.to_vec() }
    }

    #[test]
    fn a_route_needs_rules_where_requests_are_changed_or_parted() {
        let plain = host(&[route(7, "a.example", "10.0.0.1:80", &[("health", "/up")])]);
        assert!(!plain.needs_rules());
        assert_eq!(plain.ways(None), ["[::1]:80".parse().unwrap()]);
        for (source, target, set) in [
            ("a.example/api", "10.0.0.1:80", &[][..]),
            ("a.example", "https://10.0.0.1", &[]),
            ("a.example", "10.0.0.1:80", &[("host-header", "b.example")]),
        ] {
            let ruled = host(&[route(258, source, target, set)]);
            assert!(ruled.needs_rules(), "{source} {target}");
            assert!(ruled.ways(None).is_empty() && ruled.ways(Some(&(4000, BTreeSet::new()))).is_empty());
            let known = (4000, BTreeSet::from([RouteId(258)]));
            assert_eq!(ruled.ways(Some(&known)), ["127.32.1.2:4000".parse().unwrap()]);
        }
    }

    #[test]
    fn a_path_is_that_of_the_longest_route_that_is_followed() {
        let mut all = host(&[
            route(3, "a.example/api/v2", "10.0.0.1:80", &[]),
            route(2, "a.example/api", "10.0.0.1:80", &[]),
            route(1, "a.example", "10.0.0.1:80", &[]),
        ]);
        let number = |host: &RoutedHost, path: &str| host.route(path).map(|route| route.id.0);
        assert_eq!(number(&all, "/api/v2/x"), Some(3));
        assert_eq!(number(&all, "/api/v20"), Some(2));
        assert_eq!(number(&all, "/apis"), Some(1));
        all.routes[0].enabled = false;
        all.routes[2].enabled = false;
        assert_eq!(number(&all, "/api/v2/x"), Some(2));
        assert_eq!(number(&all, "/"), None);
        assert_eq!(all.number(), Some(RouteId(2)));
    }

    #[test]
    fn an_address_is_spelled_as_a_label() {
        for address in ["10.213.0.7", "::1", "2001:db8::ffff:1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(unspelled(&spelled(address)), Some(address));
            assert!(spelled(address).len() <= 63);
        }
        for bad in ["", "v6-", "v6-1", "1-2-3", "v6-zz000000000000000000000000000000", "page"] {
            assert_eq!(unspelled(bad), None, "{bad}");
        }
    }
}
