//! What the DNS says of a name, by the name servers of this machine or those that a setting names; and the addresses of this
//! machine.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::join_all;
use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RData, RecordType},
    system_conf,
};

use crate::{
    Error, Result,
    model::{Answer, Hostname, LookedUp, OwnAddresses, is_public},
};

/// How long one name server is waited for, and how often it is asked.
const TRY: Duration = Duration::from_millis(1200);
const TRIES: usize = 2;

/// The addresses of a name as this machine's programs find them, `/etc/hosts` included; those of IPv4 first. Never on a
/// thread that waits, as the C library would: many names may be without an answer.
///
/// # Errors
/// Why there is none, in words.
pub async fn addresses_of(name: &Hostname) -> std::result::Result<Vec<IpAddr>, String> {
    let resolver = resolver(&[], ResolveHosts::Always).map_err(|error| error.one_line())?;
    let found = resolver.lookup_ip(name.as_str()).await.map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = found.iter().map(|address| address.to_canonical()).collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

/// Makes one that asks these name servers; none: those of `/etc/resolv.conf`. `hosts`: whether `/etc/hosts` counts.
fn resolver(servers: &[SocketAddr], hosts: ResolveHosts) -> Result<TokioResolver> {
    let failed = |error: NetError| Error::io("read the name servers in /etc/resolv.conf")(std::io::Error::other(error));
    let config = if servers.is_empty() {
        let (system, _) = system_conf::read_system_conf().map_err(failed)?;
        // Names are whole, whatever the domain of this machine is.
        ResolverConfig::from_parts(None, Vec::new(), system.name_servers().to_vec())
    } else {
        ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(name_server).collect())
    };
    let mut options = ResolverOpts::default();
    options.timeout = TRY;
    options.attempts = TRIES;
    options.cache_size = 0;
    options.use_hosts_file = hosts;
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.with_options(options).build().map_err(failed)
}

/// Asks name servers.
pub struct Resolver(TokioResolver);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Resolver")
    }
}

impl Resolver {
    /// One that asks these name servers; none: those of `/etc/resolv.conf`.
    ///
    /// # Errors
    /// [`Error::Host`] where that file cannot be read or names none.
    pub fn new(servers: &[SocketAddr]) -> Result<Resolver> {
        // What this machine calls itself says nothing about what others see.
        resolver(servers, ResolveHosts::Never).map(Resolver)
    }

    /// Looks a name up: A, AAAA and CAA at once.
    pub async fn look_up(&self, name: &Hostname) -> LookedUp {
        let (v4, v6, issuers) = futures_util::join!(
            self.ask(name.as_str(), RecordType::A),
            self.ask(name.as_str(), RecordType::AAAA),
            self.issuers(name)
        );
        let mut addresses = Vec::new();
        let mut alias = None;
        let mut faults = Vec::new();
        for answered in [v4, v6] {
            match answered {
                Ok(records) => {
                    for record in records {
                        match record {
                            RData::A(address) => addresses.push(IpAddr::V4(address.0)),
                            RData::AAAA(address) => addresses.push(IpAddr::V6(address.0)),
                            RData::CNAME(target) => alias = Some(target.0.to_ascii().trim_end_matches('.').to_owned()),
                            _ => {}
                        }
                    }
                }
                Err(fault) => faults.push(fault),
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        let answer = if !addresses.is_empty() {
            Answer::Addresses(addresses)
        } else if let Some(Fault::Silent(reason)) = faults.iter().find(|fault| matches!(fault, Fault::Silent(_))) {
            Answer::Silent(reason.clone())
        } else if faults.contains(&Fault::NoSuchName) {
            Answer::NoSuchName
        } else {
            Answer::NoAddress
        };
        LookedUp { answer, alias, issuers }
    }

    /// The authorities that may issue for a name: by the CAA records of it, or of the nearest name above that has some
    /// (RFC 8659). What cannot be told forbids nothing here.
    async fn issuers(&self, name: &Hostname) -> Option<Vec<String>> {
        let name = name.as_str();
        let above = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
        let names = std::iter::once(name).chain(above);
        let answers = join_all(names.map(|name| self.ask(name, RecordType::CAA))).await;
        let records = answers.into_iter().find_map(|answered| {
            let records: Vec<RData> = answered.ok()?.into_iter().filter(|data| matches!(data, RData::CAA(_))).collect();
            (!records.is_empty()).then_some(records)
        })?;
        let issue: Vec<String> = records
            .iter()
            .filter_map(|data| match data {
                RData::CAA(caa) if caa.tag.eq_ignore_ascii_case("issue") => {
                    let value = String::from_utf8_lossy(&caa.value).into_owned();
                    Some(value.split(';').next().unwrap_or_default().trim().to_owned())
                }
                _ => None,
            })
            .collect();
        // Others, such as `iodef`, restrict nobody; an empty one is for nobody.
        (!issue.is_empty()).then(|| issue.into_iter().filter(|issuer| !issuer.is_empty()).collect())
    }

    /// Whether a TXT record of a name has a value. The name may end with a dot.
    pub async fn has_text(&self, name: &str, value: &str) -> bool {
        let is_it = |data: &RData| match data {
            RData::TXT(text) => text.txt_data.concat() == value.as_bytes(),
            _ => false,
        };
        self.ask(name, RecordType::TXT).await.is_ok_and(|found| found.iter().any(is_it))
    }

    async fn ask(&self, name: &str, kind: RecordType) -> std::result::Result<Vec<RData>, Fault> {
        let mut whole = Name::from_ascii(name).map_err(|error| Fault::Silent(error.to_string()))?;
        whole.set_fqdn(true);
        match self.0.lookup(whole, kind).await {
            Ok(found) => Ok(found.answers().iter().map(|record| record.data.clone()).collect()),
            Err(error) if error.is_nx_domain() => Err(Fault::NoSuchName),
            Err(error) if error.is_no_records_found() => Err(Fault::NoRecord),
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Err(Fault::Silent(code.to_str().to_owned())),
            Err(error) => Err(Fault::Silent(error.to_string())),
        }
    }
}

/// Why there is no record.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    NoSuchName,
    NoRecord,
    Silent(String),
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

/// The addresses of this machine's interfaces, but for those that nobody else can mean: loopback and link-local ones.
///
/// # Errors
/// [`Error::Host`].
pub fn own_addresses() -> Result<OwnAddresses> {
    let interfaces =
        nix::ifaddrs::getifaddrs().map_err(|errno| Error::io("read the addresses of this machine")(errno.into()))?;
    let mut own = OwnAddresses::default();
    for address in interfaces.filter_map(|interface| interface.address) {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let v6 = address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        let Some(address) = v4.or(v6) else { continue };
        let nobody_else_means = match address {
            IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
            IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
        };
        let list = if is_public(address) { &mut own.public } else { &mut own.private };
        if !nobody_else_means && !list.contains(&address) {
            list.push(address);
        }
    }
    Ok(own)
}
