//! Whether domains resolve to this server, and which records to set where they do not.

use std::{net::IpAddr, time::Duration};

use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::domains::{AppDomains, NameInfo};
use crate::{
    Error, Result, clock,
    context::Context,
    dns::{self, Resolver},
    error::Thing,
    instance,
    model::{
        Answer, AppName, DnsRecord, Domain, Finding, Hostname, Judged, LookedUp, OwnAddresses, Property, TypedDomain,
        is_public_name, judge,
        property::{self, Value},
    },
    settings::Tls,
    ui::{Show, Text},
};

/// How long all looking up of a command may take.
const ALL: Duration = Duration::from_secs(3);
/// How many names are looked up at a time.
const AT_A_TIME: usize = 32;
/// Authorities as CAA records name them (RFC 8659), by the host of their ACME directory, as each says in its own
/// documentation. What another one is called is not known, so that no record of a name is taken to keep it out.
const AUTHORITIES: [(&str, &str); 5] = [
    ("acme-v02.api.letsencrypt.org", "letsencrypt.org"),
    ("acme-staging-v02.api.letsencrypt.org", "letsencrypt.org"),
    ("acme.zerossl.com", "sectigo.com"),
    ("dv.acme-v02.api.pki.goog", "pki.goog"),
    ("api.buypass.com", "buypass.com"),
];

/// Where a name leads.
#[derive(Clone, Debug, Serialize)]
pub struct Resolution {
    /// The name as DNS has it.
    pub domain: String,
    /// The name as people read it.
    pub shown: String,
    /// Whether requests for it come to this server.
    pub finding: Finding,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Where its CNAME record points to, if it has one.
    pub alias: Option<String>,
    /// The authorities that CAA records let issue certificates for it; none: all may.
    pub issuers: Option<Vec<String>>,
    /// Whether the authority of this server may issue a certificate for it.
    pub may_issue: bool,
    /// The records to be set.
    pub records: Vec<DnsRecord>,
    /// What was found, and what to do.
    pub said: Vec<String>,
}

impl Resolution {
    /// Whether there is nothing to be done.
    pub fn is_good(&self) -> bool {
        matches!(self.finding, Finding::Here | Finding::NotLookedUp) && self.may_issue
    }
}

/// Where the names of an app lead.
#[derive(Clone, Debug, Serialize)]
pub struct Resolutions {
    /// The app.
    pub app: AppName,
    /// The addresses of this server that the internet reaches.
    pub public_addresses: Vec<IpAddr>,
    /// Its names.
    pub domains: Vec<Resolution>,
}

impl Show for Resolutions {
    fn text(&self) -> Text {
        let rows = self.domains.iter().flat_map(|domain| {
            let row = |(index, said): (usize, &String)| {
                let first = if index == 0 { domain.shown.clone() } else { String::new() };
                let finding = if index == 0 { domain.finding.as_str().replace('_', " ") } else { String::new() };
                [first, finding, said.clone()]
            };
            domain.said.iter().enumerate().map(row)
        });
        Text::table(["DOMAIN", "LEADS", "WHAT WAS FOUND"], rows)
    }
}

/// Looks where the names of an app lead: all, or some of them.
///
/// # Errors
/// [`Error::NotFound`] for a name that is not the app's; [`Error::Store`]. What cannot be looked up is no error.
pub async fn check(context: &Context<'_>, app: &AppName, only: &[TypedDomain]) -> Result<Resolutions> {
    let report = super::domains::report(context, app)?;
    for wanted in only {
        if !report.domains.iter().any(|name| name.domain == wanted.domain.to_string()) {
            return Err(Error::NotFound(Thing::Domain(app.clone()), wanted.typed.clone()));
        }
    }
    look_up(context, &report, |name| only.is_empty() || only.iter().any(|it| it.domain.to_string() == name.domain))
        .await
}

/// Looks where some names of an app lead.
///
/// # Errors
/// [`Error::Store`].
pub async fn look_up(
    context: &Context<'_>,
    app: &AppDomains,
    wanted: impl Fn(&NameInfo) -> bool,
) -> Result<Resolutions> {
    let settings = &context.instance.settings;
    let value = |property: &'static Property| {
        let text = context.instance.read(|tables| instance::value_of(settings, tables, property, None))?;
        Ok::<_, Error>(match text {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        })
    };
    let own = match value(&property::PUBLIC_ADDRESSES)? {
        Some(text) => OwnAddresses { public: property::addresses(&text).unwrap_or_default(), private: Vec::new() },
        // Where they cannot be read, they are not known.
        None => dns::own_addresses().unwrap_or_default(),
    };
    let servers = value(&property::NAME_SERVERS)?.map(|text| property::name_servers(&text).unwrap_or_default());
    let resolver = match &servers {
        Some(servers) if servers.is_empty() => Err("the setting name_servers is none".to_owned()),
        servers => Resolver::new(servers.as_deref().unwrap_or_default()).map_err(|error| error.one_line()),
    };
    let directory = value(&property::ACME_DIRECTORY)?.filter(|_| settings.tls == Tls::Acme);
    let authority = directory.as_deref().and_then(authority_at);
    let deadline = tokio::time::Instant::from_std(clock::instant() + ALL);
    let names = app.domains.iter().filter(|name| wanted(name));
    let domains = stream::iter(names)
        .map(|name| async {
            match name.domain.parse::<Domain>() {
                Ok(Domain::Exact(host)) if is_public_name(&host) && !is_none(&resolver, servers.as_deref()) => {
                    let looked_up = match &resolver {
                        Ok(resolver) => tokio::time::timeout_at(deadline, resolver.look_up(&host)).await.ok(),
                        Err(reason) => Some(silent(reason)),
                    };
                    let looked_up = looked_up.unwrap_or_else(|| silent("not within 3 seconds"));
                    resolution(name, &host, looked_up, &own, authority)
                }
                Ok(Domain::Exact(_)) if is_none(&resolver, servers.as_deref()) => {
                    not_looked_up(name, "the setting name_servers says to look nothing up")
                }
                Ok(Domain::Exact(_)) => not_looked_up(name, "the public DNS does not have such names"),
                Ok(Domain::Below(_) | Domain::Any) | Err(_) => {
                    not_looked_up(name, "this takes in many names, and each may lead elsewhere")
                }
            }
        })
        .buffered(AT_A_TIME)
        .collect()
        .await;
    Ok(Resolutions { app: app.app.clone(), public_addresses: own.public, domains })
}

/// What CAA records call the authority that has this ACME directory.
fn authority_at(directory: &str) -> Option<&'static str> {
    let host = directory.strip_prefix("https://")?.split(['/', ':']).next()?;
    AUTHORITIES.iter().find(|(its, _)| *its == host).map(|(_, name)| *name)
}

/// Whether nothing is to be looked up.
fn is_none<T>(resolver: &std::result::Result<T, String>, servers: Option<&[std::net::SocketAddr]>) -> bool {
    resolver.is_err() && servers.is_some_and(<[_]>::is_empty)
}

fn silent(reason: &str) -> LookedUp {
    LookedUp { answer: Answer::Silent(reason.to_owned()), alias: None, issuers: None }
}

fn resolution(
    name: &NameInfo,
    host: &Hostname,
    looked_up: LookedUp,
    own: &OwnAddresses,
    authority: Option<&str>,
) -> Resolution {
    let Judged { finding, said, records, may_issue } = judge(&name.shown, host, &looked_up, own, authority);
    let addresses = match looked_up.answer {
        Answer::Addresses(addresses) => addresses,
        Answer::NoAddress | Answer::NoSuchName | Answer::Silent(_) => Vec::new(),
    };
    Resolution {
        finding,
        addresses,
        alias: looked_up.alias,
        issuers: looked_up.issuers,
        may_issue,
        records,
        said,
        ..not_looked_up(name, "")
    }
}

fn not_looked_up(name: &NameInfo, why: &str) -> Resolution {
    Resolution {
        domain: name.domain.clone(),
        shown: name.shown.clone(),
        finding: Finding::NotLookedUp,
        addresses: Vec::new(),
        alias: None,
        issuers: None,
        may_issue: true,
        records: Vec::new(),
        said: vec![why.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_known_by_its_directory_or_not_at_all() {
        for (directory, name) in [
            ("https://acme-v02.api.letsencrypt.org/directory", Some("letsencrypt.org")),
            ("https://acme.zerossl.com/v2/DV90", Some("sectigo.com")),
            ("https://localhost:14000/dir", None),
            ("https://acme-v02.api.letsencrypt.org.example/directory", None),
        ] {
            assert_eq!(authority_at(directory), name, "{directory}");
        }
    }
}
